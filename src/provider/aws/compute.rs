//! Volumes and machines.

use std::collections::BTreeSet;

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde_json::{Map, Value, json};

use super::{
    Account, Driver, Health, LABEL_ENV, Object, POLL, Request, explain, leftovers, needed, not_made, object, rested,
    tag,
};
use crate::{
    cloud::aws::ec2::{Address as PublicAddress, Image, Instance, Volume},
    error::{Error, Result},
    name::Name,
    provider::{cloud_init, shared::Awaiting},
    resource::{Address, DiskSpec, KindName, SSH_GROUP, VmSpec},
};

/// The part of a machine that is its first disk.
const DISK_PART: &str = "first-disk";
/// The part of a machine that connects it.
const INTERFACE_PART: &str = "network-interface";
/// Where volumes are attached, one after the other.
const DEVICES: &str = "fghijklmnop";

/// Volumes beside a machine's first one.
pub(super) struct DiskDriver(pub(super) Account);

pub(super) fn describe_disk(volume: &Volume) -> Option<Object> {
    let mut object = object(&volume.tag_set, KindName::DISK, &volume.volume_id, &volume.create_time)?;
    // One call makes it, so it is never half made.
    object.health = match volume.status.as_str() {
        "creating" => Health::Transient,
        "error" => Health::Broken,
        "deleting" => Health::Leaving,
        "deleted" => return None,
        _ => Health::Ready,
    };
    object.actual.insert("disk_type".to_owned(), volume.volume_type.as_str().into());
    Some(object)
}

#[async_trait]
impl Driver for DiskDriver {
    async fn list(&self, environment: Option<&Name>) -> Result<Vec<Object>> {
        let (name, value) = Account::filter(environment);
        let all = self.0.client.list::<Volume>(&[(&name, &value)]).await?;
        let left = all.iter().filter_map(leftovers::volume);
        Ok(all.iter().filter_map(describe_disk).chain(left).collect())
    }

    async fn create(&self, request: &Request<'_>) -> Result<Object> {
        let spec: DiskSpec = request.resource.spec()?;
        let tags = Account::tags(request);
        let call = self.0.client.create_volume().size(spec.size_gb).client_token(request.token).tags("volume", &tags);
        let call = call.availability_zone(spec.zone.as_deref().unwrap_or(&self.0.zone)).encrypted(true);
        let call = call.volume_type(spec.disk_type.as_deref().unwrap_or(&self.0.settings.disk_type));
        let made = call.send().await.map_err(|error| not_made(error, request.resource))?;
        let id = made.get("volumeId").and_then(Value::as_str).unwrap_or_default().to_owned();
        self.0.volume_at_rest(&id).await?;
        self.0.made(self, request).await
    }

    async fn settled(&self, object: &Object) -> Result<Object> {
        rested(object, describe_disk(&self.0.volume_at_rest(&object.id).await?))
    }

    async fn update(&self, object: &Object, request: &Request<'_>) -> Result<Object> {
        let spec: DiskSpec = request.resource.spec()?;
        self.0.reshape(&object.id, spec.size_gb, spec.disk_type.as_deref(), request).await?;
        Ok(object.clone())
    }

    async fn delete(&self, id: &str) -> Result<()> {
        let delete = || self.0.client.delete_volume().volume_id(id).send();
        match delete().await {
            Err(error) if error.is_in_use() => {
                // A volume that is replaced leaves its machine, which gets the new one.
                for machine in self.0.volume(id).await?.attachment_set {
                    let call =
                        self.0.client.detach_volume().volume_id(id).instance_id(&machine.instance_id).force(true);
                    match call.send().await {
                        // It is leaving already.
                        Err(error) if !error.is_in_use() && !error.is_not_found() => return Err(error.into()),
                        _ => {}
                    }
                }
                self.0.remove(delete).await?;
            }
            Err(error) if !error.is_not_found() => return Err(error.into()),
            _ => {}
        }
        let gone = || async {
            match self.0.client.list::<Volume>(&[("volume-id", id)]).await {
                Ok(found) => Ok(found.iter().all(|volume| volume.status == "deleted").then_some(())),
                Err(error) if error.is_not_found() => Ok(Some(())),
                Err(error) => Err(error.into()),
            }
        };
        self.0.settle(&format!("the end of the volume `{id}`"), gone).await
    }
}

impl Account {
    async fn volume(&self, id: &str) -> Result<Volume> {
        let found = self.client.list::<Volume>(&[("volume-id", id)]).await?;
        found.into_iter().next().ok_or_else(|| Error::new(format!("aws: the volume `{id}` is gone")))
    }

    /// A volume that is there to be used.
    async fn volume_at_rest(&self, id: &str) -> Result<Volume> {
        let look = || async {
            let volume = self.volume(id).await?;
            match volume.status.as_str() {
                "creating" => Ok(None),
                "available" | "in-use" => Ok(Some(volume)),
                // That is how it ends: another one is created next time.
                status => Err(Error::new(format!("aws: the volume `{id}` is in the state `{status}`")).settled()),
            }
        };
        self.settle(&format!("the volume `{id}`"), look).await
    }

    /// Makes a volume larger and of another type.
    async fn reshape(&self, id: &str, size_gb: u64, disk_type: Option<&str>, request: &Request<'_>) -> Result<()> {
        let volume = self.volume(id).await?;
        let present: u64 = volume.size.parse().unwrap_or(0);
        let disk_type = disk_type.unwrap_or(&self.settings.disk_type);
        // It may have grown, and never becomes smaller.
        let size_gb = size_gb.max(present);
        if size_gb > present || disk_type != volume.volume_type {
            let call = self.client.modify_volume().volume_id(id).size(size_gb).volume_type(disk_type);
            call.send().await.map_err(|error| explain(error, request.resource))?;
        }
        Ok(())
    }

    /// The image of a family: pinned by the file, or the newest one, as the vendor's public parameter says.
    pub(super) async fn image(&self, family: &str) -> Result<String> {
        if let Some(id) = self.settings.images.get(family) {
            return Ok(id.clone());
        }
        let parameter = parameter(family).ok_or_else(|| {
            Error::usage(format!("aws: the image family `{family}` is not known")).hint(name_the_image(family))
        })?;
        let found = self.client.parameter(&parameter).await;
        found.map_err(|error| Error::from(error).context(format!("aws: the image family `{family}` (`{parameter}`)")))
    }
}

/// Where the vendors of images publish the id of the newest one.
pub(super) fn parameter(family: &str) -> Option<String> {
    let (vendor, version) = family.split_once('-')?;
    match vendor {
        "debian" => Some(format!("/aws/service/debian/release/{version}/latest/amd64")),
        // `ubuntu-2204-lts` is 22.04.
        "ubuntu" => {
            let digits: String = version.chars().take_while(char::is_ascii_digit).collect();
            let (year, month) = digits.split_at_checked(2).filter(|(_, month)| month.len() == 2)?;
            let volumes = if year < "24" { "ebs-gp2" } else { "ebs-gp3" };
            Some(format!(
                "/aws/service/canonical/ubuntu/server/{year}.{month}/stable/current/amd64/hvm/{volumes}/ami-id"
            ))
        }
        _ => None,
    }
}

/// What to do about a family that no vendor publishes.
pub(super) fn name_the_image(family: &str) -> String {
    format!("name the image's id: `aws: {{images: {{{family}: ami-...}}}}`")
}

/// Machines.
pub(super) struct VmDriver(pub(super) Account);

pub(super) fn describe(instance: &Instance) -> Option<Object> {
    let mut object = object(&instance.tag_set, KindName::VM, &instance.instance_id, &instance.launch_time)?;
    let finished = object.health == Health::Ready;
    match instance.instance_state.name.as_str() {
        "terminated" => return None,
        "shutting-down" => object.health = Health::Leaving,
        "stopped" | "stopping" if finished => object.health = Health::Stopped,
        "pending" if finished => object.health = Health::Transient,
        _ => {}
    }
    object.attributes.insert("address".to_owned(), instance.private_ip_address.as_str().into());
    if !instance.ip_address.is_empty() {
        object.attributes.insert("public_address".to_owned(), instance.ip_address.as_str().into());
    }
    object.actual.insert("class".to_owned(), instance.instance_type.as_str().into());
    Some(object)
}

impl VmDriver {
    /// A machine that is waited for, as it was at most an interval ago.
    async fn recent(&self, awaiting: &Awaiting<'_, Instance>, id: &str) -> Result<Option<Instance>> {
        let all = awaiting.recent(POLL, async |ids| self.0.client.instances_of(&ids).await).await?;
        Ok(all.iter().find(|instance| instance.instance_id == id).cloned())
    }

    /// A machine in this state, once it is.
    async fn state_is(&self, id: &str, wanted: &str) -> Result<Instance> {
        self.wait(id, |state| state == wanted).await
    }

    /// A machine that is neither about to start nor about to stop.
    async fn at_rest(&self, id: &str) -> Result<Instance> {
        self.wait(id, |state| !matches!(state, "pending" | "stopping")).await
    }

    /// A machine whose state is one of those that are waited for. One that does not show yet was made just now.
    async fn wait(&self, id: &str, is_there: impl Fn(&str) -> bool) -> Result<Instance> {
        let awaiting = self.0.awaited.machines.awaiting(id);
        let look = || async {
            let Some(instance) = self.recent(&awaiting, id).await? else { return Ok(None) };
            match instance.instance_state.name.as_str() {
                state @ ("shutting-down" | "terminated") => {
                    let reason = instance.state_reason.message.as_str();
                    let reason = if reason.is_empty() { "the cloud does not say why" } else { reason };
                    // The same call would find the same machine again: the next attempt is another one.
                    Err(Error::new(format!("aws: the machine `{id}` is {state}: {reason}")).settled())
                }
                state => Ok(is_there(state).then_some(instance)),
            }
        };
        self.0.settle(&format!("the machine `{id}`"), look).await
    }
}

/// What a machine is made from, in the parameters that single machines and templates share; `volumes` are the ids of its
/// further volumes.
pub(super) async fn machine_fields(
    account: &Account, request: &Request<'_>, spec: &VmSpec, volumes: &[&str],
) -> Result<Map<String, Value>> {
    let wrong = |error| explain(error, request.resource);
    let boot = request.boot.as_ref().ok_or_else(|| Error::new("a machine cannot be made without its keys"))?;
    let subnet = needed(request, &Address::subnet(&spec.subnet))?;
    let image = account.image(&spec.image).await?;
    let images = account.client.list::<Image>(&[("image-id", &image)]).await.map_err(wrong)?;
    let found = images.first().ok_or_else(|| {
        Error::new(format!("aws: there is no image `{image}` in this region")).hint("image ids differ between regions")
    })?;
    let disk_type = spec.disk_type.as_ref().unwrap_or(&account.settings.disk_type);
    let fields = json!({
        "ImageId": image,
        "InstanceType": spec.class,
        "UserData": BASE64.encode(cloud_init::user_data(spec, boot, &devices(volumes))),
        "NetworkInterface": [{
            "DeviceIndex": 0, "SubnetId": subnet.id, "AssociatePublicIpAddress": spec.public,
            "SecurityGroupId": security_groups(request, spec)?, "DeleteOnTermination": true,
        }],
        "BlockDeviceMapping": [{
            "DeviceName": found.root_device_name,
            "Ebs": { "VolumeSize": spec.disk_gb, "VolumeType": disk_type, "DeleteOnTermination": true, "Encrypted": true },
        }],
        // Whoever gets a machine to fetch a page for him must not get its credentials that way.
        "MetadataOptions": { "HttpTokens": "required", "HttpPutResponseHopLimit": 1 },
    });
    Ok(fields.as_object().cloned().unwrap_or_default())
}

/// The paths under which a machine sees volumes: the id of a volume is the serial number of its device.
pub(super) fn devices(volumes: &[&str]) -> Vec<String> {
    let path = |volume: &&str| format!("/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_{}", volume.replace('-', ""));
    volumes.iter().map(path).collect()
}

/// The families of classes that run on Xen, an earlier hypervisor. There will be no more of them.
const ON_XEN: &[&str] = &[
    "c1", "c3", "c4", "d2", "f1", "g2", "g3", "g3s", "h1", "hs1", "i2", "i3", "m1", "m2", "m3", "m4", "p2", "p3", "r3",
    "r4", "t1", "t2", "x1", "x1e",
];

/// Whether machines of a class see volumes under the names of their devices. Those of later classes name the volume itself.
pub(super) fn has_nameless_volumes(class: &str) -> bool {
    class.split_once('.').is_some_and(|(family, size)| ON_XEN.contains(&family) && size != "metal")
}

/// The security groups of a machine: that of the network, then those that open its ports.
pub(super) fn security_groups<'a>(request: &'a Request<'_>, spec: &VmSpec) -> Result<Vec<&'a str>> {
    let network = request.need(KindName::NETWORK);
    let mut groups = vec![request.default_group()?];
    for group in &spec.security_groups {
        let own = network.filter(|_| group.as_str() == SSH_GROUP).and_then(|network| network.attribute(SSH_GROUP));
        groups.push(match own {
            Some(own) => own,
            None => &needed(request, &KindName::SECURITY_GROUP.named(group))?.id,
        });
    }
    Ok(groups)
}

/// The volumes that a machine should have beside its first one.
fn volumes<'a>(request: &'a Request<'_>, spec: &VmSpec) -> Result<Vec<&'a str>> {
    spec.disks.iter().map(|disk| needed(request, &Address::disk(disk)).map(|disk| disk.id.as_str())).collect()
}

/// The name of a device.
fn device(letter: char) -> String {
    format!("/dev/sd{letter}")
}

impl VmDriver {
    /// Attaches a volume; one that another machine has is waited for.
    async fn attach(&self, id: &str, volume: &str, device: &str, request: &Request<'_>) -> Result<()> {
        let look = || async {
            let present = self.0.volume_at_rest(volume).await?;
            if present.attachment_set.iter().any(|one| one.instance_id == id && one.status != "detaching") {
                return Ok(Some(()));
            }
            if present.status != "available" {
                return Ok(None);
            }
            let call = self.0.client.attach_volume().volume_id(volume).instance_id(id).device(device);
            match call.send().await {
                Ok(_) => Ok(Some(())),
                Err(error) if error.code() == "VolumeInUse" => Ok(None),
                Err(error) => Err(explain(error, request.resource)),
            }
        };
        self.0.settle(&format!("the volume `{volume}`, which is attached elsewhere,"), look).await
    }

    /// Gives a machine those of its volumes that it lacks, and takes away those of this environment that are not its own.
    async fn exchange_volumes(&self, instance: &Instance, wanted: &[&str], request: &Request<'_>) -> Result<()> {
        let (id, client) = (instance.instance_id.as_str(), &self.0.client);
        let devices = &instance.block_device_mapping;
        let mut taken: BTreeSet<&str> = devices.iter().map(|mapping| mapping.device_name.as_str()).collect();
        for mapping in devices.iter().filter(|mapping| mapping.device_name != instance.root_device_name) {
            let volume = mapping.ebs.volume_id.as_str();
            if wanted.contains(&volume)
                || tag(&self.0.volume(volume).await?.tag_set, LABEL_ENV) != Some(request.environment.as_str())
            {
                continue;
            }
            match client.detach_volume().volume_id(volume).instance_id(id).send().await {
                // It is being detached already.
                Err(error) if error.code() != "IncorrectState" => return Err(explain(error, request.resource)),
                _ => {}
            }
            let free = || async {
                let attached = self.0.volume(volume).await?.attachment_set.iter().any(|one| one.instance_id == id);
                Ok((!attached).then_some(()))
            };
            self.0
                .settle(&format!("the volume `{volume}`, which leaves the machine `{id}` when it is unmounted,"), free)
                .await?;
            taken.remove(mapping.device_name.as_str());
        }
        let missing = wanted.iter().filter(|volume| !devices.iter().any(|mapping| mapping.ebs.volume_id == **volume));
        let free = DEVICES.chars().map(device).filter(|device| !taken.contains(device.as_str()));
        for (volume, device) in missing.zip(free) {
            self.attach(id, volume, &device, request).await?;
        }
        Ok(())
    }

    /// Gives a machine its reserved address, or takes away the one that is not to be its any more.
    async fn readdress(&self, id: &str, request: &Request<'_>, spec: &VmSpec) -> Result<()> {
        let (client, wrong) = (&self.0.client, |error| explain(error, request.resource));
        let present = client.list::<PublicAddress>(&[("instance-id", id)]).await.map_err(wrong)?.into_iter().next();
        let wanted = match &spec.reserved_address {
            Some(name) => Some(needed(request, &KindName::ADDRESS.named(name))?.id.as_str()),
            None => None,
        };
        match (present, wanted) {
            (Some(present), Some(address)) if present.allocation_id == address => {}
            (_, Some(address)) => {
                let call = client.associate_address().allocation_id(address).instance_id(id).allow_reassociation(true);
                call.send().await.map_err(wrong)?;
            }
            // An address that someone else has given it is theirs.
            (Some(present), None) if tag(&present.tag_set, LABEL_ENV).is_some() => {
                let call = client.disassociate_address().association_id(&present.association_id);
                call.send().await.map_err(wrong)?;
            }
            _ => {}
        }
        Ok(())
    }
}

impl VmDriver {
    /// What a machine that was just made has beside itself, each step such that doing it twice does nothing more.
    async fn complete(&self, id: &str, request: &Request<'_>, spec: &VmSpec) -> Result<Object> {
        let instance = self.state_is(id, "running").await?;
        for (volume, letter) in volumes(request, spec)?.into_iter().zip(DEVICES.chars()) {
            self.attach(id, volume, &device(letter), request).await?;
        }
        self.readdress(id, request, spec).await?;
        self.0.finish(id).await?;
        let mut object = self.0.made(self, request).await?;
        object.attributes.insert("image".to_owned(), instance.image_id.into());
        Ok(object)
    }

    async fn start(&self, id: &str, request: &Request<'_>) -> Result<()> {
        let call = self.0.client.start_instances().instance_id(vec![id]);
        call.send().await.map_err(|error| explain(error, request.resource))?;
        self.state_is(id, "running").await.map(drop)
    }

    /// Changes what a machine is: its class while it is stopped, its volumes and its security groups.
    async fn change(&self, instance: &Instance, request: &Request<'_>, spec: &VmSpec) -> Result<()> {
        let (id, client) = (instance.instance_id.as_str(), &self.0.client);
        let wrong = |error| explain(error, request.resource);
        let class = spec.class.as_deref().unwrap_or_default();
        if instance.instance_type != class {
            self.state_is(id, "stopped").await?;
            let call = client.modify_instance_attribute().instance_id(id).instance_type(json!({ "Value": class }));
            call.send().await.map_err(wrong)?;
        }
        if let Some(root) = instance.root_volume() {
            self.0.reshape(root, spec.disk_gb, spec.disk_type.as_deref(), request).await?;
        }
        self.exchange_volumes(instance, &volumes(request, spec)?, request).await?;
        let mut wanted = security_groups(request, spec)?;
        let mut present = instance.groups();
        wanted.sort_unstable();
        present.sort_unstable();
        if wanted != present {
            client.modify_instance_attribute().instance_id(id).group_id(wanted).send().await.map_err(wrong)?;
        }
        Ok(())
    }
}

#[async_trait]
impl Driver for VmDriver {
    async fn list(&self, environment: Option<&Name>) -> Result<Vec<Object>> {
        let (name, value) = Account::filter(environment);
        let filter = [(name.as_str(), value.as_str())];
        let (all, left) = tokio::try_join!(self.0.client.instances(&filter), self.0.interfaces(environment))?;
        Ok(all.iter().filter_map(describe).chain(left).collect())
    }

    async fn create(&self, request: &Request<'_>) -> Result<Object> {
        let spec: VmSpec = request.resource.spec()?;
        let fields = machine_fields(&self.0, request, &spec, &volumes(request, &spec)?).await?;
        let tags = Account::tags(request);
        let call = self.0.client.run_instances().min_count(1).max_count(1).client_token(request.token);
        let disk_tags = Account::part_tags(request, DISK_PART);
        let interface_tags = Account::part_tags(request, INTERFACE_PART);
        let call = call.parameters(fields).tags("instance", &tags).tags("volume", &disk_tags);
        let call = call.tags("network-interface", &interface_tags);
        let made = call.send().await.map_err(|error| not_made(error, request.resource))?;
        let id = made.pointer("/instancesSet/0/instanceId").and_then(Value::as_str).unwrap_or_default();
        self.complete(id, request, &spec).await
    }

    async fn resume(&self, object: &Object, request: &Request<'_>) -> Result<Object> {
        let id = object.id.as_str();
        if self.at_rest(id).await?.instance_state.name == "stopped" {
            self.0.client.start_instances().instance_id(vec![id]).send().await?;
        }
        self.complete(id, request, &request.resource.spec()?).await
    }

    async fn settled(&self, object: &Object) -> Result<Object> {
        rested(object, describe(&self.at_rest(&object.id).await?))
    }

    async fn update(&self, object: &Object, request: &Request<'_>) -> Result<Object> {
        let spec: VmSpec = request.resource.spec()?;
        let wrong = |error| explain(error, request.resource);
        let (id, client) = (object.id.as_str(), &self.0.client);
        let instance = self.at_rest(id).await?;
        let running = instance.instance_state.name == "running";
        let resized = Some(instance.instance_type.as_str()) != spec.class.as_deref();
        if resized && running {
            client.stop_instances().instance_id(vec![id]).send().await.map_err(wrong)?;
        }
        let changed = self.change(&instance, request, &spec).await;
        // A machine that ran runs again, whatever could not be changed.
        let started =
            if running && !resized || !running && changed.is_err() { Ok(()) } else { self.start(id, request).await };
        changed.and(started)?;
        self.readdress(id, request, &spec).await?;
        let instance = self.at_rest(id).await?;
        describe(&instance).ok_or_else(|| Error::new("aws: the machine lost its tags while it was worked on"))
    }

    async fn delete(&self, id: &str) -> Result<()> {
        if id.starts_with("eni-") {
            return self.0.remove(|| self.0.client.delete_network_interface().network_interface_id(id).send()).await;
        }
        self.0.remove(|| self.0.client.terminate_instances().instance_id(vec![id]).send()).await?;
        let awaiting = self.0.awaited.machines.awaiting(id);
        let look = || async {
            let state =
                self.recent(&awaiting, id).await?.map_or_else(|| "terminated".to_owned(), |i| i.instance_state.name);
            Ok((state == "terminated").then_some(()))
        };
        self.0.settle(&format!("the end of the machine `{id}`"), look).await
    }
}

#[cfg(test)]
mod tests {
    use super::parameter;

    #[test]
    fn vendors_publish_the_newest_image() {
        assert_eq!(parameter("debian-12").unwrap(), "/aws/service/debian/release/12/latest/amd64");
        assert!(parameter("ubuntu-2204-lts").unwrap().contains("/22.04/stable/current/amd64/hvm/ebs-gp2/"));
        assert!(parameter("ubuntu-2404-lts").unwrap().contains("ebs-gp3"));
        assert_eq!(parameter("windows-11"), None);
    }
}
