//! Disks and machines.

use std::{collections::BTreeSet, time::Duration};

use async_trait::async_trait;
use serde_json::{Map, Value, json};

use super::{
    account::{Account, explain, if_there, needed, object, object_name},
    interface::{addresses, public_address, security_groups},
    observe::Around,
    wait::Asked,
};
use crate::{
    cloud::yandex::{Disk, Instance, Labels},
    error::{Error, Result},
    event,
    name::Name,
    provider::{Boot, Driver, Health, Object, Request, cloud_init},
    resource::{Address, DiskSpec, KindName, SSH_GROUP, VmSpec},
};

/// Bytes of a GiB.
pub(super) const GIB: u64 = 1 << 30;
/// How long a machine may take to come to rest.
const SETTLE: Duration = Duration::from_mins(10);
/// The states of a machine that passes to another one by itself, and has not all that it will have.
const IN_TRANSITION: [&str; 4] = ["PROVISIONING", "STARTING", "RESTARTING", "UPDATING"];

/// The name of the user-data in the metadata of a machine.
const USER_DATA: &str = "user-data";
/// What is wrong with the user-data that earlier versions gave to machines with second disks.
const FORMATS: &str =
    "its user-data would format its second disk if cloud-init ran as at a first boot again; it is rewritten";

/// The label of machines whose user-data formats nothing: lists show labels, and no metadata.
const LABEL_USER_DATA: &str = "infra-user-data";
/// Its value: the version of what infra writes there.
const USER_DATA_VERSION: &str = "2";

/// Disks beside a machine's first one.
pub(super) struct DiskDriver(pub(super) Account);

pub(super) fn show_disk(disk: &Disk, environment: Option<&Name>) -> Option<Object> {
    let mut object = object(&disk.labels, KindName::DISK, environment, &disk.id, &disk.created_at)?;
    object.health = match disk.status.as_str() {
        "ERROR" => Health::Broken,
        "DELETING" => Health::Leaving,
        _ => Health::Ready,
    };
    let size = u64::try_from(disk.size).unwrap_or(0);
    object.actual.insert("size_gb".to_owned(), (size / GIB).into());
    Some(object)
}

#[async_trait]
impl Driver for DiskDriver {
    async fn list(&self, environment: Option<&Name>) -> Result<Vec<Object>> {
        let all = self.0.client.list::<Disk>(&self.0.folder).await?;
        Ok(all.iter().filter_map(|disk| show_disk(disk, environment)).collect())
    }

    async fn read(&self, id: &str) -> Result<Option<Object>> {
        Ok(self.0.found::<Disk>(id).await?.and_then(|disk| show_disk(&disk, None)))
    }

    async fn create(&self, request: &Request<'_>) -> Result<Object> {
        let spec: DiskSpec = request.resource.spec()?;
        let name = object_name(request);
        let labels = Account::labels(request);
        let settings = &self.0.settings;
        let call = self.0.client.create_disk().folder_id(&self.0.folder);
        let call = call.name(&name).labels(&labels).zone_id(spec.zone.as_deref().unwrap_or(&settings.zone));
        let call = call.type_id(spec.disk_type.as_deref().unwrap_or(&settings.disk_type));
        let call = call.size((spec.size_gb * GIB).to_string());
        self.0.create(self, request, call.send(request.token)).await
    }

    async fn update(&self, object: &Object, request: &Request<'_>) -> Result<Object> {
        let spec: DiskSpec = request.resource.spec()?;
        self.0.grow(&object.id, spec.size_gb, request).await?;
        Ok(object.clone())
    }

    async fn delete(&self, id: &str) -> Result<()> {
        // A disk that is replaced leaves its machine, which gets the new one.
        for machine in self.0.found::<Disk>(id).await?.map(|disk| disk.instance_ids).unwrap_or_default() {
            if_there(self.0.client.detach_disk(&machine).disk_id(id).send(id).await)?;
        }
        self.0.remove(|| self.0.client.delete_disk(id).send(id)).await
    }
}

impl Account {
    /// Makes a disk larger. One that is larger already stays so: a plan says that disks cannot shrink.
    async fn grow(&self, id: &str, size_gb: u64, request: &Request<'_>) -> Result<()> {
        let disk: Disk = self.client.describe(id).await?;
        if u64::try_from(disk.size).unwrap_or(0) < size_gb * GIB {
            let call = self.client.update_disk(id).size((size_gb * GIB).to_string());
            call.send(request.token).await.map_err(|error| explain(error, request.resource))?;
        }
        Ok(())
    }

    /// The image of a family: pinned by the file, or the newest one.
    pub(super) async fn image(&self, family: &str) -> Result<String> {
        if let Some(id) = self.settings.images.get(family) {
            return Ok(id.clone());
        }
        let found = self.client.latest_image(&self.settings.image_folder, family).await;
        let image = found.map_err(|error| {
            let unknown = error.is_not_found();
            let error = Error::from(error).context(format!("the image family `{family}`"));
            if unknown {
                error.hint("`yc compute image list --folder-id standard-images` lists the families")
            } else {
                error
            }
        })?;
        Ok(image.id)
    }

    /// What a machine or a member of a group is made of, in the fields that both calls share.
    pub(super) fn resources(spec: &VmSpec) -> Value {
        json!({
            "memory": (spec.memory_mb << 20).to_string(), "cores": spec.cores.to_string(),
            "coreFraction": spec.core_fraction.to_string(),
        })
    }

    /// Whether the user-data of a machine formats its further disks; `None` when it may not be read.
    async fn formats_disks(&self, machine: &str) -> Result<Option<bool>> {
        match self.client.metadata(machine).await {
            Ok(metadata) => Ok(Some(metadata.get(USER_DATA).is_some_and(|text| cloud_init::formats(text)))),
            Err(error) if error.is_not_found() || error.is_not_permitted() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The metadata of a machine; `devices` are the names of its further disks.
    pub(super) fn metadata(spec: &VmSpec, boot: &Boot, devices: &[String]) -> Labels {
        let paths: Vec<String> = devices.iter().map(|name| path(name)).collect();
        Labels::from([
            (USER_DATA.to_owned(), cloud_init::user_data(spec, boot, &paths)),
            ("serial-port-enable".to_owned(), "0".to_owned()),
        ])
    }
}

/// Machines.
pub(super) struct VmDriver(pub(super) Account);

/// The object of a machine, with what it points to where that is known.
pub(super) fn show(instance: &Instance, around: Option<&Around<'_>>, environment: Option<&Name>) -> Option<Object> {
    let mut object = object(&instance.labels, KindName::VM, environment, &instance.id, &instance.created_at)?;
    object.health = match instance.status.as_str() {
        "STOPPED" | "STOPPING" | "CRASHED" => Health::Stopped,
        "ERROR" => Health::Broken,
        "PROVISIONING" | "STARTING" | "RESTARTING" | "UPDATING" => Health::Transient,
        "DELETING" => Health::Leaving,
        _ => Health::Ready,
    };
    if let Some(interface) = instance.network_interfaces.first() {
        object.attributes = addresses(interface);
    }
    object.attributes.insert("boot_disk".to_owned(), instance.boot_disk.disk_id.as_str().into());
    let number = |number: i64| Value::from(u64::try_from(number).unwrap_or(0));
    object.actual = Map::from_iter([
        ("cores".to_owned(), number(instance.resources.cores)),
        ("memory_mb".to_owned(), number(instance.resources.memory >> 20)),
        ("core_fraction".to_owned(), number(instance.resources.core_fraction)),
        ("class".to_owned(), instance.platform_id.as_str().into()),
        // A machine that is starting has not got its address yet.
        (
            "public".to_owned(),
            instance.network_interfaces.iter().any(|one| one.primary_v4_address.one_to_one_nat.is_some()).into(),
        ),
    ]);
    if let Some(around) = around {
        let boot = around.disks.iter().find(|disk| disk.id == instance.boot_disk.disk_id);
        if let Some(size) = boot.and_then(|disk| u64::try_from(disk.size).ok()) {
            object.actual.insert("disk_gb".to_owned(), (size / GIB).into());
        }
        let mut links: BTreeSet<String> = instance.secondary_disks.iter().map(|disk| disk.disk_id.clone()).collect();
        links.extend(instance.network_interfaces.iter().flat_map(|one| around.networks_of(&one.security_group_ids)));
        let public = object.attribute("public_address").unwrap_or_default();
        links.extend(around.reserved(public));
        object.links = Some(links);
        let mut groups = instance.network_interfaces.iter().flat_map(|one| &one.security_group_ids);
        object.actual.insert("security_groups".to_owned(), groups.any(|id| around.is_of_bastion(id)).into());
    }
    Some(object)
}

/// The object of a machine, with what a list does not show of it.
pub(super) async fn observe(
    account: &Account, instance: &Instance, around: &Around<'_>, environment: Option<&Name>,
) -> Result<Option<Object>> {
    let Some(mut object) = show(instance, Some(around), environment) else { return Ok(None) };
    let may_format = !instance.labels.contains_key(LABEL_USER_DATA) && !instance.secondary_disks.is_empty();
    if may_format && account.formats_disks(&instance.id).await? == Some(true) {
        object.outdated = Some(FORMATS.to_owned());
    }
    Ok(Some(object))
}

/// Turns what is seen of the bastion's group into a field of the specification, where it differs. The other groups of a machine
/// are things of their own, and seen as what it points to.
fn compare(spec: &Map<String, Value>, object: &mut Object) {
    let Some(seen) = object.actual.remove("security_groups").and_then(|seen| seen.as_bool()) else { return };
    let wanted = spec.get("security_groups").and_then(Value::as_array).cloned().unwrap_or_default();
    if seen != wanted.iter().any(|name| name == SSH_GROUP) {
        let mut groups = wanted;
        if seen {
            groups.push(SSH_GROUP.into());
        } else {
            groups.retain(|name| name != SSH_GROUP);
        }
        object.actual.insert("security_groups".to_owned(), groups.into());
    }
}

impl VmDriver {
    /// A machine once it is in none of these states. It is asked for by itself first; who has to wait shares a list with all
    /// others that wait.
    async fn at_rest(&self, id: &str, address: &Address, unrest: &[&str]) -> Result<Instance> {
        let gone = || Error::new(format!("yandex: `{address}` is gone"));
        let first = self.0.found::<Instance>(id).await?.ok_or_else(gone)?;
        if !unrest.contains(&first.status.as_str()) {
            return Ok(first);
        }
        let look = async |found: Instance| {
            let is_at_rest = !unrest.contains(&found.status.as_str());
            Ok(if is_at_rest { Asked::Done(found) } else { Asked::NotYet(found.status) })
        };
        self.0.until_rest(&format!("`{address}`"), SETTLE, &self.0.machines, id, look).await
    }
}

#[async_trait]
impl Driver for VmDriver {
    fn compare(&self, spec: &Map<String, Value>, _attributes: &Map<String, Value>, object: &mut Object) {
        compare(spec, object);
    }

    async fn list(&self, environment: Option<&Name>) -> Result<Vec<Object>> {
        let all = self.0.client.list::<Instance>(&self.0.folder).await?;
        Ok(all.iter().filter_map(|instance| show(instance, None, environment)).collect())
    }

    async fn read(&self, id: &str) -> Result<Option<Object>> {
        Ok(self.0.found::<Instance>(id).await?.and_then(|instance| show(&instance, None, None)))
    }

    async fn settled(&self, object: &Object) -> Result<Object> {
        let instance = self.at_rest(&object.id, &object.address, &IN_TRANSITION).await?;
        show(&instance, None, None)
            .ok_or_else(|| Error::new(format!("yandex: `{}` has lost its labels", object.address)))
    }

    async fn create(&self, request: &Request<'_>) -> Result<Object> {
        let spec: VmSpec = request.resource.spec()?;
        let boot = request.boot.as_ref().ok_or_else(|| Error::new("a machine cannot be made without its keys"))?;
        let name = object_name(request);
        let subnet = needed(request, &Address::subnet(&spec.subnet))?;
        let settings = &self.0.settings;
        let image = self.0.image(&spec.image).await?;
        let mut labels = Account::labels(request);
        labels.insert(LABEL_USER_DATA.to_owned(), USER_DATA_VERSION.to_owned());
        let devices = device_names(&spec);
        let disks = spec.disks.iter().zip(&devices);
        let disks = disks.map(|(disk, device)| Ok(attached(device, &needed(request, &Address::disk(disk))?.id)));
        let mut address = json!({});
        if spec.public {
            address["oneToOneNatSpec"] = public_address(request, &spec)?;
            self.take(request, &spec, "").await?;
        }
        let metadata = Account::metadata(&spec, boot, &devices);
        let zone = spec.zone.as_deref().or(subnet.attribute("zone")).unwrap_or(&settings.zone);
        let call = self.0.client.create_instance().folder_id(&self.0.folder);
        let call = call.name(&name).hostname(request.resource.address.name.as_str()).labels(&labels).zone_id(zone);
        let call = call.platform_id(spec.class.as_deref().unwrap_or(&settings.platform));
        let call = call.resources_spec(Account::resources(&spec)).metadata(&metadata);
        let call = call.boot_disk_spec(json!({
            "mode": "READ_WRITE", "autoDelete": true,
            "diskSpec": {
                "typeId": spec.disk_type.as_ref().unwrap_or(&settings.disk_type), "imageId": image,
                "size": (spec.disk_gb * GIB).to_string(),
            },
        }));
        let call = call.secondary_disk_specs(disks.collect::<Result<_>>()?);
        let call = call.network_interface_specs(vec![json!({
            "subnetId": subnet.id, "primaryV4AddressSpec": address, "securityGroupIds": security_groups(request, &spec)?,
        })]);
        let mut object = self.0.create(self, request, call.send(request.token)).await?;
        object.attributes.insert("image".to_owned(), image.into());
        Ok(object)
    }

    async fn update(&self, object: &Object, request: &Request<'_>) -> Result<Object> {
        let spec: VmSpec = request.resource.spec()?;
        let (id, client) = (object.id.as_str(), &self.0.client);
        let mut unrest = IN_TRANSITION.to_vec();
        unrest.push("STOPPING");
        let instance = self.at_rest(id, &object.address, &unrest).await?;
        let wrong = |error| explain(error, request.resource);
        let platform = spec.class.as_deref().unwrap_or(&self.0.settings.platform);
        let number = |number: i64| u64::try_from(number).unwrap_or(0);
        let resized = number(instance.resources.cores) != u64::from(spec.cores)
            || number(instance.resources.memory) != spec.memory_mb << 20
            || number(instance.resources.core_fraction) != u64::from(spec.core_fraction)
            || instance.platform_id != platform;
        let disks = Disks::of(&instance, request, &spec)?;
        let may_format = !spec.disks.is_empty() && !instance.labels.contains_key(LABEL_USER_DATA);
        let formats = if may_format { self.0.formats_disks(id).await? } else { None };
        if formats == Some(true) {
            let boot =
                request.boot.as_ref().ok_or_else(|| Error::new("a machine cannot be changed without its keys"))?;
            let mut metadata = Account::metadata(&spec, boot, &device_names(&spec));
            metadata.retain(|name, _| name == USER_DATA);
            client.update_instance_metadata(id).upsert(&metadata).send(request.token).await.map_err(wrong)?;
        }
        // What was not seen is looked at again.
        if formats.is_some() {
            let mut labels = instance.labels.clone();
            labels.insert(LABEL_USER_DATA.to_owned(), USER_DATA_VERSION.to_owned());
            client.update_instance(id).labels(&labels).send(request.token).await.map_err(wrong)?;
        }
        let running = instance.status == "RUNNING";
        let restarts = resized || disks.differ();
        if restarts && running {
            client.stop_instance(id).send(request.token).await.map_err(wrong)?;
        }
        let changed = async {
            if resized {
                let call = client.update_instance(id).platform_id(platform);
                call.resources_spec(Account::resources(&spec)).send(request.token).await.map_err(wrong)?;
            }
            if !instance.boot_disk.disk_id.is_empty() {
                self.0.grow(&instance.boot_disk.disk_id, spec.disk_gb, request).await?;
            }
            disks.change(&self.0, request, id).await?;
            self.readdress(&instance, &spec, request).await?;
            self.regroup(&instance, &spec, request).await
        };
        let changed = changed.await;
        if changed.is_ok() && !running || restarts {
            // A machine that was stopped to be changed runs again, whatever became of the change: that is what is reported.
            let started = client.start_instance(id).send(request.token).await.map_err(wrong);
            match (&changed, started) {
                (Err(_), Err(error)) => event::warn(format!("`{}` is stopped: {error}", object.address)),
                (_, started) => drop(started?),
            }
        }
        changed?;
        let instance = self.at_rest(id, &object.address, &IN_TRANSITION).await?;
        show(&instance, None, None)
            .ok_or_else(|| Error::new(format!("yandex: `{}` has lost its labels", object.address)))
    }

    async fn delete(&self, id: &str) -> Result<()> {
        self.0.remove(|| self.0.client.delete_instance(id).send(id)).await
    }
}

/// The further disks of a machine: those that it has and should not, and those that it lacks, with their device names.
struct Disks {
    extra: Vec<String>,
    missing: Vec<(String, String)>,
}

impl Disks {
    fn of(instance: &Instance, request: &Request<'_>, spec: &VmSpec) -> Result<Self> {
        let named =
            |(number, disk): (usize, &Name)| Ok((device(number), needed(request, &Address::disk(disk))?.id.clone()));
        let wanted: Vec<(String, String)> = spec.disks.iter().enumerate().map(named).collect::<Result<_>>()?;
        let present = |id: &str| instance.secondary_disks.iter().any(|disk| disk.disk_id == id);
        let is_wanted = |id: &str| wanted.iter().any(|(_, wanted)| wanted == id);
        let extra = instance.secondary_disks.iter().map(|disk| disk.disk_id.clone()).filter(|id| !is_wanted(id));
        Ok(Self { extra: extra.collect(), missing: wanted.iter().filter(|(_, id)| !present(id)).cloned().collect() })
    }

    fn differ(&self) -> bool {
        !self.extra.is_empty() || !self.missing.is_empty()
    }

    async fn change(&self, account: &Account, request: &Request<'_>, machine: &str) -> Result<()> {
        let wrong = |error| explain(error, request.resource);
        for disk in &self.extra {
            account.client.detach_disk(machine).disk_id(disk).send(request.token).await.map_err(wrong)?;
        }
        for (device, disk) in &self.missing {
            let call = account.client.attach_disk(machine).attached_disk_spec(attached(device, disk));
            call.send(request.token).await.map_err(wrong)?;
        }
        Ok(())
    }
}

/// The paths under which a machine sees its further disks.
pub(super) fn devices(disks: &[&str]) -> Vec<String> {
    (0..disks.len()).map(|number| path(&device(number))).collect()
}

fn path(device: &str) -> String {
    format!("/dev/disk/by-id/virtio-{device}")
}

/// The device names of a machine's further disks.
fn device_names(spec: &VmSpec) -> Vec<String> {
    (0..spec.disks.len()).map(device).collect()
}

/// The device name of a further disk.
fn device(number: usize) -> String {
    format!("data{number}")
}

fn attached(device: &str, disk: &str) -> Value {
    json!({ "mode": "READ_WRITE", "deviceName": device, "autoDelete": false, "diskId": disk })
}
