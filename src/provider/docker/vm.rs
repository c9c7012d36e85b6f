//! Machines are containers that run systemd and sshd.

use std::{collections::BTreeMap, net::Ipv4Addr, path::Path, sync::Arc};

use async_trait::async_trait;
use serde_json::{Map, Value};

use super::{
    Driver, Health, Object, Shared, address, adopt, drift, env_label, image, object, object_name, removal::until_gone,
};
use crate::{
    cloud::docker::{Client, Container, CreateContainer, DockerSettings, Info},
    config::Cidr,
    error::{Context, Error, Result},
    event::Events,
    name::Name,
    provider::{Boot, Request},
    resource::{Address, VmSpec},
};

/// The volume with the package downloads of all environments.
const PACKAGE_CACHE: &str = "infra-package-cache";
/// Where the kernel says how many inotify instances a user may have: systemd needs a handful in every machine.
const INOTIFY_LIMIT: &str = "/proc/sys/fs/inotify/max_user_instances";
/// Enough for some two hundred machines.
const INOTIFY_WANTED: u32 = 1024;
/// How often a port is chosen again when another process takes it in the same moment.
const RACES: usize = 10;

pub(super) struct VmDriver {
    client: Client,
    settings: DockerSettings,
    /// Addresses given away by this process whose containers the engine may not list yet.
    reserved: Shared<Vec<Ipv4Addr>>,
}

impl VmDriver {
    pub(super) fn new(client: Client, settings: DockerSettings) -> Self {
        Self { client, settings, reserved: Shared::default() }
    }
}

#[async_trait]
impl Driver for VmDriver {
    fn compare(&self, spec: &Map<String, Value>, attributes: &Map<String, Value>, object: &mut Object) {
        drift::compare(spec, attributes, object);
    }

    async fn list(&self, environment: Option<&Name>) -> Result<Vec<Object>> {
        let containers = self.client.list_containers(&env_label(environment)).await?;
        Ok(containers.iter().filter_map(describe).collect())
    }

    async fn create(&self, request: &Request<'_>) -> Result<Object> {
        let spec: VmSpec = request.resource.spec()?;
        let boot = request.boot.as_ref().ok_or_else(|| Error::new("a machine cannot be made without its keys"))?;
        let info = self.client.info().await?;
        for _ in 0..RACES {
            // A container of this name without our token is an earlier, unfinished one: the plan has said that it goes.
            let id = match self.container(request, &spec, &info).await?.send().await {
                Ok(id) => id,
                Err(error) if error.is_conflict() => {
                    let name = object_name(&request.owner(), &request.resource.address.name);
                    let found = adopt(self, request.environment, request.token).await?;
                    found.map(|object| object.id).ok_or_else(|| {
                        Error::new(format!("docker: a container `{name}` exists that this environment did not make"))
                            .hint(format!("remove it: `docker rm --force {name}`"))
                    })?
                }
                Err(error) if error.says("is ambiguous") => {
                    self.remove_twins(request, &spec).await?;
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            self.client.put_archive(&id, "/", boot_archive(&spec, boot)?).await?;
            match self.client.start_container(&id).await {
                Ok(()) => {
                    let found = adopt(self, request.environment, request.token).await?;
                    return found.ok_or_else(|| Error::new("docker: the container vanished while it was started"));
                }
                Err(error) if error.says("already allocated") || error.says("Address already in use") => {
                    self.client.remove_container(&id).await?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::new("docker: no free port or address could be kept long enough to start the container"))
    }

    async fn update(&self, object: &Object, request: &Request<'_>) -> Result<Object> {
        let spec: VmSpec = request.resource.spec()?;
        let details = self.client.inspect_container(&object.id).await?;
        if details.state.paused {
            self.client.unpause_container(&object.id).await?;
        }
        let wanted = object_name(&request.owner(), &request.resource.address.name);
        if object.health == Health::Renamed && details.name.trim_start_matches('/') != wanted {
            self.client.rename_container(&object.id, &wanted).await?;
        }
        let (nano_cpus, memory) = limits(&spec, holds(&self.client.info().await?));
        self.client.update_container(&object.id, nano_cpus, memory).await?;
        self.client.start_container(&object.id).await?;
        let name: Name = object.environment.parse().map_err(Error::new)?;
        let found = adopt(self, &name, &object.token).await?;
        found.ok_or_else(|| Error::new("docker: the container vanished while it was changed"))
    }

    async fn delete(&self, id: &str) -> Result<()> {
        until_gone(|| self.client.remove_container(id)).await
    }
}

impl VmDriver {
    async fn container(&self, request: &Request<'_>, spec: &VmSpec, info: &Info) -> Result<CreateContainer<'_>> {
        let host = request.resource.address.name.as_str();
        let subnet = request
            .needs
            .get(&Address::subnet(&spec.subnet))
            .ok_or_else(|| Error::new(format!("the subnet `{}` does not exist", spec.subnet)))?;
        let network = subnet.attribute("network").unwrap_or_default();
        let address = self.free_address(subnet).await?.to_string();
        let (nano_cpus, memory) = limits(spec, holds(info));
        let mut create = self
            .client
            .create_container(
                &object_name(&request.owner(), &request.resource.address.name),
                &image::reference(&self.settings, &spec.image)?,
            )
            .hostname(host)
            .labels(&request.labels())
            .network(network, &address, &[host])
            .nano_cpus(nano_cpus)
            .memory(memory)
            .restart_policy("unless-stopped")
            .stop_signal("SIGRTMIN+3")
            .tmpfs("/run", "exec,mode=755")
            .tmpfs("/run/lock", "mode=1777")
            .tmpfs("/tmp", "exec,mode=1777")
            .cap_add("SYS_ADMIN")
            .cap_add("NET_ADMIN")
            .security_opt("seccomp=unconfined")
            .bind(&format!("{PACKAGE_CACHE}:{}", image::PACKAGE_CACHE_PATH));
        create = cgroups(create, info);
        for disk in &spec.disks {
            let volume = request.needs.get(&Address::disk(disk)).map_or("", |disk| disk.id.as_str());
            create = create.bind(&format!("{volume}:/mnt/{disk}"));
        }
        if spec.public {
            for port in &spec.ports {
                let free = address::free_port().context(|| "no free port on 127.0.0.1")?;
                create = create.publish(*port, free);
            }
        }
        Ok(create)
    }

    /// Removes networks of the subnet's name that are not the one we know: a killed command's call, which the engine
    /// carried out after we had looked.
    async fn remove_twins(&self, request: &Request<'_>, spec: &VmSpec) -> Result<()> {
        let address = Address::subnet(&spec.subnet);
        let known = request.needs.get(&address).map_or("", |subnet| subnet.id.as_str());
        let owner = request.owner();
        let drivers = super::subnet::SubnetDriver { client: self.client.clone() };
        for twin in drivers.list(Some(request.environment)).await? {
            if owner.owns(&twin) && twin.address == address && twin.id != known {
                drivers.delete(&twin.id).await?;
            }
        }
        Ok(())
    }

    async fn free_address(&self, subnet: &Object) -> Result<Ipv4Addr> {
        let mut reserved = Arc::clone(&self.reserved).lock_owned().await;
        let network = subnet.attribute("network").unwrap_or_default();
        let range: Cidr = subnet.attribute("cidr").unwrap_or_default().parse().map_err(Error::new)?;
        let containers = self.client.list_containers_of_network(network).await?;
        let mut used = reserved.clone();
        used.extend(containers.iter().filter_map(|container| own_address(container)?.parse::<Ipv4Addr>().ok()));
        let address = address::free_address(range, &used)
            .ok_or_else(|| Error::new(format!("the subnet `{network}` ({range}) has no free address left")))?;
        reserved.push(address);
        Ok(address)
    }
}

/// systemd wants to write to its cgroups. With version 1 it works in the host's namespace, with the tree itself read-only;
/// version 2 gives each container its own tree, which the first process makes writable before it becomes systemd.
/// `AppArmor` forbids that mount, where it is on.
fn cgroups<'a>(create: CreateContainer<'a>, info: &Info) -> CreateContainer<'a> {
    if info.cgroup_version == "2" {
        let command = "mount -o remount,rw /sys/fs/cgroup && exec /sbin/init";
        let create = create.cgroup_namespace("private").command(&["/bin/sh", "-c", command]);
        if info.security_options.iter().any(|option| option.contains("apparmor")) {
            create.security_opt("apparmor=unconfined")
        } else {
            create
        }
    } else {
        create.cgroup_namespace("host").bind("/sys/fs/cgroup:/sys/fs/cgroup:ro").command(&["/sbin/init"])
    }
}

/// Billionths of a processor and bytes of memory; no machine gets more processors than there are, and 0 means no limit,
/// where the engine cannot set one.
pub(super) fn limits(spec: &VmSpec, (ncpu, can_cpu, can_memory): (u32, bool, bool)) -> (u64, u64) {
    let cores = spec.cores.min(ncpu.max(1));
    let cpu = if can_cpu { u64::from(cores) * u64::from(spec.core_fraction) * 10_000_000 } else { 0 };
    (cpu, if can_memory { spec.memory_mb * 1024 * 1024 } else { 0 })
}

/// The processors of an engine, and whether it can limit them and memory.
fn holds(info: &Info) -> (u32, bool, bool) {
    (info.ncpu, info.cpu_cfs_quota, info.memory_limit)
}

/// Says which limits of machines this engine cannot hold.
pub(super) fn warn_of_limits(info: &Info, events: &Events) {
    let missing: Vec<&str> = [("processors", info.cpu_cfs_quota), ("memory", info.memory_limit)]
        .into_iter()
        .filter_map(|(what, can)| (!can).then_some(what))
        .collect();
    if !missing.is_empty() {
        events.warn(format!(
            "this engine cannot limit the {} of machines: its cgroup controllers are not delegated to it",
            missing.join(" and the ")
        ));
    }
}

fn own_address(container: &Container) -> Option<&str> {
    let attachment = container.network_settings.networks.values().next()?;
    let asked = attachment.ipam_config.as_ref().map(|ipam| ipam.ipv4_address.as_str()).filter(|a| !a.is_empty());
    asked.or(Some(attachment.ip_address.as_str()).filter(|a| !a.is_empty()))
}

fn describe(container: &Container) -> Option<Object> {
    let mut object = object(&container.labels, container.id.clone(), container.created)?;
    object.health = match container.state.as_str() {
        // One that is being removed is waited for, and made again.
        "created" | "removing" | "dead" => Health::Broken,
        "paused" => Health::Paused,
        "running" | "restarting" => Health::Ready,
        _ => Health::Stopped,
    };
    object.attributes.insert("address".to_owned(), own_address(container)?.into());
    if let Some(name) = container.names.first() {
        object.attributes.insert(drift::CONTAINER.to_owned(), name.trim_start_matches('/').into());
    }
    let ports: BTreeMap<u16, u16> =
        container.ports.iter().filter_map(|port| Some((port.private_port, port.public_port?))).collect();
    if !ports.is_empty() {
        object.attributes.insert("public_address".to_owned(), "127.0.0.1".into());
        let ports: Map<String, Value> =
            ports.iter().map(|(inner, outer)| (inner.to_string(), (*outer).into())).collect();
        object.attributes.insert("ports".to_owned(), Value::Object(ports));
    }
    Some(object)
}

/// The files that a machine finds at its first boot: its host key, and a script that makes the login.
fn boot_archive(spec: &VmSpec, boot: &Boot) -> Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    let keys: Vec<&str> = boot.authorized_keys.iter().chain(&spec.authorized_keys).map(|key| key.trim()).collect();
    let mut add = |path: &str, mode: u32, text: &str| {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(mode);
        header.set_entry_type(tar::EntryType::Regular);
        archive.append_data(&mut header, path, text.as_bytes()).context(|| "cannot write a tar archive")
    };
    add("etc/ssh/ssh_host_ed25519_key", 0o600, boot.host_key.expose())?;
    add("etc/ssh/ssh_host_ed25519_key.pub", 0o644, &format!("{}\n", boot.host_key_public.trim()))?;
    add("etc/infra/authorized_keys", 0o644, &format!("{}\n", keys.join("\n")))?;
    add("etc/infra/login", 0o644, &format!("{}\n", spec.login))?;
    add("etc/infra/boot.sh", 0o755, include_str!("boot.sh"))?;
    if let Some(user_data) = &spec.user_data {
        // Scripts hold passwords and tokens.
        add("etc/infra/user-data", 0o700, user_data)?;
    }
    archive.into_inner().context(|| "cannot write a tar archive")
}

/// Raises the kernel's limit of inotify instances where it is low and we may; otherwise says so.
pub(super) fn raise_inotify_limit(events: &Events) {
    let Ok(text) = std::fs::read_to_string(INOTIFY_LIMIT) else { return };
    let limit: u32 = text.trim().parse().unwrap_or(INOTIFY_WANTED);
    if limit >= INOTIFY_WANTED || std::fs::write(Path::new(INOTIFY_LIMIT), INOTIFY_WANTED.to_string()).is_ok() {
        return;
    }
    // Each machine takes about five of a user's instances.
    events.warn(format!(
        "the kernel allows {limit} inotify instances, enough for about {} machines: \
         `sudo sysctl fs.inotify.max_user_instances={INOTIFY_WANTED}` allows more",
        limit / 5
    ));
}

/// What the engine knows about a container that does not answer.
pub(super) async fn why_down(client: &Client, id: &str) -> Option<Error> {
    let details = match client.inspect_container(id).await {
        Ok(details) => details,
        Err(error) if error.is_not_found() => return Some(Error::new("the container is gone")),
        Err(_) => return None,
    };
    if details.state.paused {
        return Some(Error::new("the container is paused").hint("`infra apply` lets it go on"));
    }
    if details.state.running {
        return None;
    }
    let logs = client.container_logs(id, 10).await.unwrap_or_default();
    let error = Error::new(format!("the container ended with exit code {}: {}", details.state.exit_code, logs.trim()));
    Some(if details.state.oom_killed {
        error.hint("it ran out of memory: raise `resources.memory`")
    } else if details.state.exit_code == 255 {
        error.hint(format!(
            "systemd could not start; too few inotify instances do that: \
             `sudo sysctl fs.inotify.max_user_instances={INOTIFY_WANTED}`"
        ))
    } else {
        error
    })
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use serde_json::json;

    use super::{Boot, VmSpec, boot_archive};
    use crate::secret::Secret;

    #[test]
    fn what_a_machine_finds_at_its_first_boot_is_for_root_and_needs_no_quoting() {
        let spec: VmSpec = serde_json::from_value(json!({
            "image": "debian-12", "cores": 1, "core_fraction": 100, "memory_mb": 128, "disk_gb": 1, "subnet": "main",
            "public": false, "ports": [], "login": "o'brien", "authorized_keys": [], "disks": [],
            "user_data": "#!/bin/sh\necho token\n",
        }))
        .unwrap();
        let boot = Boot {
            authorized_keys: vec!["ssh-ed25519 AAAA infra".to_owned()],
            host_key: Secret::new("PRIVATE"),
            host_key_public: "ssh-ed25519 BBBB a".to_owned(),
        };
        let archive = boot_archive(&spec, &boot).unwrap();
        let mut files = std::collections::BTreeMap::new();
        for entry in tar::Archive::new(archive.as_slice()).entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            let path = entry.path().unwrap().display().to_string();
            files.insert(path, (entry.header().mode().unwrap(), text));
        }
        assert_eq!(files["etc/infra/user-data"], (0o700, "#!/bin/sh\necho token\n".to_owned()));
        assert_eq!(files["etc/ssh/ssh_host_ed25519_key"].0, 0o600);
        assert_eq!(files["etc/infra/login"].1, "o'brien\n");
        assert!(!files["etc/infra/boot.sh"].1.contains("brien"), "the login is data");
    }
}
