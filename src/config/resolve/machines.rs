//! The machines of all sections, with the network that they are in.

use std::{collections::BTreeSet, path::PathBuf};

use super::{Resolver, group_name};
use crate::{
    config::{
        Host,
        file::{File, Metadata, Nic, Resources},
        units::Cidr,
    },
    error::Diagnostic,
    name::Name,
    resource::{Address, DiskSpec, KindName, SubnetSpec, VmSpec},
};

/// The login of a machine whose section names none.
const LOGIN: &str = "infra";
/// The subnet's range where the file gives none.
const DEFAULT_CIDR: &str = "10.5.0.0/24";
/// The image family of a machine whose section names none.
pub(super) const DEFAULT_IMAGE: &str = "debian-12";

/// One machine before its defaults are filled in.
pub(super) struct Machine<'a> {
    pub(super) name: Name,
    pub(super) section: [&'a str; 2],
    pub(super) resources: &'a Resources,
    pub(super) image_family: Option<&'a str>,
    pub(super) network: &'a Nic,
    pub(super) metadata: &'a Metadata,
    pub(super) groups: Vec<String>,
    pub(super) zone: Option<&'a str>,
    pub(super) ports: Vec<u16>,
    /// Whether a balancer brings the world to its ports, without a public address of its own.
    pub(super) balanced: bool,
}

impl Resolver<'_> {
    pub(super) fn network(&mut self, file: &File) {
        self.firewall = file.network.firewall.values().map(|rule| (rule.groups.clone(), rule.ports.clone())).collect();
        let mut ranges: Vec<(Name, Cidr)> = Vec::new();
        if file.network.subnets.is_empty() {
            let main: Name = "main".parse().expect("a valid name");
            let spec = SubnetSpec { cidr: DEFAULT_CIDR.to_owned(), more_cidrs: Vec::new(), prefix: None, zone: None };
            self.add(Address::subnet(&main), &spec, Vec::new(), &["network"]);
            self.subnets.push(main);
        }
        for (name, subnet) in &file.network.subnets {
            let path = ["network", "subnets", name.as_str(), "v4_cidr_blocks"];
            let default = [DEFAULT_CIDR.parse().expect("a valid range")];
            let asked = match subnet.v4_cidr_blocks.as_slice() {
                [] => &default[..],
                [_, _, ..] if !self.provider.capabilities().several_ranges => {
                    let called = self.provider.as_str();
                    let message = format!("a subnet has exactly one address range with provider `{called}`");
                    let hint = "name another subnet for each range: `network.subnets.NAME.v4_cidr_blocks`";
                    self.mistake(&path, message).hint = Some(hint.to_owned());
                    continue;
                }
                asked => asked,
            };
            for cidr in asked {
                if cidr.prefix > 28 {
                    let message = format!("`{cidr}` is too small: a subnet needs at least 16 addresses (`/28`)");
                    self.mistake(&path, message);
                }
                if let Some((other, range)) = ranges.iter().find(|(_, range)| range.overlaps(*cidr)).cloned() {
                    self.mistake(&path, format!("`{cidr}` overlaps `{range}` of the subnet `{other}`"));
                }
                ranges.push((name.clone(), *cidr));
            }
            let mut cidrs = asked.iter().map(Cidr::to_string);
            let cidr = cidrs.next().unwrap_or_default();
            let spec = SubnetSpec { cidr, more_cidrs: cidrs.collect(), prefix: None, zone: subnet.zone.clone() };
            self.add(Address::subnet(name), &spec, Vec::new(), &["network", "subnets", name.as_str()]);
            self.subnets.push(name.clone());
        }
    }

    pub(super) fn machines(&mut self, file: &File) {
        for (name, instance) in &file.instances {
            self.machine(Machine {
                name: name.clone(),
                section: ["instances", name.as_str()],
                resources: &instance.resources,
                image_family: instance.image_family.as_deref(),
                network: &instance.network,
                metadata: &instance.metadata,
                groups: instance.ansible_groups.clone(),
                zone: instance.placement.zone.as_deref(),
                ports: Vec::new(),
                balanced: false,
            });
        }
        for (name, group) in &file.instance_groups {
            let mut groups = vec![group_name(name)];
            groups
                .extend(group.ansible_groups.iter().filter(|other| **other != groups[0]).cloned().collect::<Vec<_>>());
            let section = ["instance_groups", name.as_str()];
            if let Some(account) = &group.service_account
                && !file.service_accounts.contains_key(account)
            {
                let known: Vec<String> = file.service_accounts.keys().map(Name::to_string).collect();
                self.unknown(&[section[0], section[1], "service_account"], "service account", account.as_str(), &known);
            }
            for number in 1..=group.node_count {
                let Some(name) = self.numbered(name, number, &section) else { break };
                self.machine(Machine {
                    name,
                    section,
                    resources: &group.resources,
                    image_family: group.image_family.as_deref(),
                    network: &group.network,
                    metadata: &group.metadata,
                    groups: groups.clone(),
                    zone: None,
                    ports: Vec::new(),
                    balanced: false,
                });
            }
            self.check_group(name, group);
            self.group(name, group);
        }
    }

    pub(super) fn numbered(&mut self, name: &Name, number: u32, section: &[&str]) -> Option<Name> {
        match format!("{name}-{number}").parse() {
            Ok(name) => Some(name),
            Err(message) => {
                self.mistake(section, message);
                None
            }
        }
    }

    pub(super) fn machine(&mut self, machine: Machine<'_>) {
        let section = machine.section;
        let mark = self.mark(&section);
        if let Some(other) = self.hosts.get(&machine.name).map(|host| host.mark.to_string()) {
            self.mistake(&section, format!("two machines are called `{}`; the other one is at {other}", machine.name));
            return;
        }
        if matches!(machine.name.as_str(), "all" | "ungrouped" | "localhost") {
            let message = format!("a machine cannot be called `{}`", machine.name);
            let means = if machine.name.as_str() == "localhost" {
                "playbooks mean the machine that runs infra by it"
            } else {
                "playbooks mean a group by it"
            };
            self.mistake(&section, message).hint = Some(means.to_owned());
        }
        let Some(subnet) = self.subnet_of(&machine) else { return };
        let mut needs = vec![Address::subnet(&subnet)];
        let mut disks = Vec::new();
        if let Some(size) = machine.resources.secondary_disk_size {
            match format!("{}-data", machine.name).parse::<Name>() {
                Ok(name) => {
                    let spec =
                        DiskSpec { size_gb: size.gb(), disk_type: machine.resources.disk_type.clone(), zone: None };
                    self.add(Address::disk(&name), &spec, Vec::new(), &section);
                    needs.push(Address::disk(&name));
                    disks.push(name);
                }
                Err(message) => drop(self.mistake(&section, message)),
            }
        }
        if let Some(reserved) = self.reserved(&machine) {
            needs.push(KindName::ADDRESS.named(&reserved));
        }
        let (login, authorized_keys) = self.login(&machine);
        let spec = VmSpec {
            image: machine.image_family.unwrap_or(DEFAULT_IMAGE).to_owned(),
            cores: machine.resources.cores,
            core_fraction: machine.resources.core_fraction,
            memory_mb: machine.resources.memory.mb,
            disk_gb: machine.resources.disk_size.gb(),
            subnet,
            public: machine.network.nat,
            ports: self.open_ports(&machine),
            login: login.clone(),
            authorized_keys,
            disks,
            user_data: machine.metadata.user_data.clone(),
            compose: machine
                .metadata
                .docker_compose
                .as_ref()
                .and_then(|compose| std::fs::read_to_string(self.path(&compose.file)).ok()),
            zone: machine.zone.map(str::to_owned),
            disk_type: machine.resources.disk_type.clone(),
            class: machine.resources.class.clone(),
            reserved_address: machine.network.address.clone(),
            security_groups: Vec::new(),
        };
        self.add(Address::vm(&machine.name), &spec, needs, &section);
        self.hosts.insert(machine.name, Host { groups: machine.groups, public: spec.public, login, mark });
    }

    /// The reserved address of a machine, when it exists and nothing else has it.
    fn reserved(&mut self, machine: &Machine<'_>) -> Option<Name> {
        let wanted = machine.network.address.clone()?;
        let section = machine.section;
        let path = [section[0], section[1], "network", "address"];
        if !self.check_address(&path, &wanted) {
            return None;
        }
        if !machine.network.nat {
            self.mistake(&path, format!("`{}` has a reserved address, but no `nat: true`", machine.name));
        }
        Some(wanted)
    }

    /// Whether a reserved address exists; that something else has it already is a mistake.
    pub(super) fn check_address(&mut self, path: &[&str], wanted: &Name) -> bool {
        let addresses = self.resources.iter().filter(|one| one.address.kind == KindName::ADDRESS);
        let known: Vec<String> = addresses.map(|one| one.address.name.to_string()).collect();
        if !known.contains(&wanted.to_string()) {
            self.unknown(path, "address", wanted.as_str(), &known);
            return false;
        }
        let taken = self.resources.iter().find(|one| one.needs.contains(&KindName::ADDRESS.named(wanted)));
        let taken = taken.map(|one| one.address.to_string());
        let before = self.balanced.iter().find(|(address, _)| address == wanted);
        let before = before.map(|(_, front)| KindName::LOAD_BALANCER.named(front).to_string());
        if let Some(other) = taken.or(before) {
            self.mistake(path, format!("`{wanted}` is the address of `{other}` already"));
        }
        true
    }

    pub(super) fn subnet_of(&mut self, machine: &Machine<'_>) -> Option<Name> {
        let section = machine.section;
        let path = [section[0], section[1], "network", "subnet"];
        match &machine.network.subnet {
            Some(subnet) if self.subnets.contains(subnet) => Some(subnet.clone()),
            Some(subnet) => {
                let known: Vec<String> = self.subnets.iter().map(Name::to_string).collect();
                self.unknown(&path, "subnet", subnet.as_str(), &known);
                None
            }
            None if self.subnets.len() == 1 => Some(self.subnets[0].clone()),
            None => {
                let known = self.subnets.iter().map(Name::to_string).collect::<Vec<_>>().join(", ");
                self.mistake(&section, format!("`{}` names no subnet, and there are several: {known}", machine.name));
                None
            }
        }
    }

    /// Warns of ports that are opened on machines that nothing outside can reach.
    pub(super) fn firewall(&mut self, file: &File) {
        for (name, rule) in &file.network.firewall {
            let opened = |host: &Host| {
                host.public && rule.groups.iter().any(|group| group == "all" || host.groups.contains(group))
            };
            if !self.hosts.values().any(opened) {
                let location = self.mark(&["network", "firewall", name.as_str()]).location();
                let groups = rule.groups.join("`, `");
                let message =
                    format!("the firewall rule `{name}` opens nothing: no machine of `{groups}` has a public address");
                let warning =
                    Diagnostic::warning(location, message).hint("give one a public address: `network: {nat: true}`");
                self.found.push(warning);
            }
        }
    }

    /// The login of a machine and the user's own keys for it. A key file that is not there is a warning: the
    /// environment's own key opens the machine in any case.
    fn login(&mut self, machine: &Machine<'_>) -> (String, Vec<String>) {
        let section = machine.section;
        if let Some(compose) = &machine.metadata.docker_compose {
            let path = self.path(&compose.file);
            if !path.is_file() {
                let at = [section[0], section[1], "metadata", "docker-compose", "file"];
                let hint = "paths start in the folder of the file; `--files-root DIR` names another one";
                self.mistake(&at, format!("there is no file `{}`", path.display())).hint = Some(hint.to_owned());
            }
        }
        let Some(keys) = &machine.metadata.ssh_keys else { return (LOGIN.to_owned(), Vec::new()) };
        let Some(file) = &keys.file else { return (keys.username.clone(), Vec::new()) };
        let path = self.path(file);
        let text = std::fs::read_to_string(&path);
        let location = self.mark(&[section[0], section[1], "metadata", "ssh-keys", "file"]).location();
        let authorized = match text {
            Ok(text) if text.contains("PRIVATE KEY") => {
                self.found
                    .push(Diagnostic::error(location, format!("`{file}` is a private key; name its `.pub` file")));
                Vec::new()
            }
            Ok(text) => text
                .lines()
                .map(str::trim)
                .filter(|l| !l.is_empty() && !l.starts_with('#'))
                .map(str::to_owned)
                .collect(),
            Err(error) => {
                let message = format!("`{file}` is not installed as a key: {error}");
                let hint = "the environment's own key opens the machine: use `infra ssh`";
                self.found.push(Diagnostic::warning(location, message).hint(hint));
                Vec::new()
            }
        };
        (keys.username.clone(), authorized)
    }

    fn path(&self, path: &str) -> PathBuf {
        match (path.strip_prefix("~/"), std::env::home_dir()) {
            (Some(rest), Some(home)) => home.join(rest),
            _ => self.files_root.join(path),
        }
    }

    fn open_ports(&self, machine: &Machine<'_>) -> Vec<u16> {
        let mut ports: BTreeSet<u16> = machine.ports.iter().copied().collect();
        if machine.network.nat {
            for (groups, opened) in &self.firewall {
                if groups.iter().any(|group| machine.groups.contains(group) || group == "all") {
                    ports.extend(opened);
                }
            }
            ports.insert(22);
        } else if !machine.balanced {
            ports.clear();
        }
        ports.into_iter().collect()
    }
}
