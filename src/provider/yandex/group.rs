//! Instance groups: the cloud makes the machines, heals them, and changes them a few at a time.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::{
    Account, Driver, Health, LABEL_ENV, Object, Request,
    compute::{addresses, security_groups},
    explain, needed, object, object_name,
};
use crate::{
    cloud::yandex::{InstanceGroup, Labels, ManagedInstance, idempotency_key},
    error::{Error, Result},
    name::Name,
    provider::MEMBERS,
    resource::{Address, InstanceGroupSpec, KindName},
};

/// The label of a member that names its group.
const LABEL_GROUP: &str = "infra-group";
/// How long the members of a group may take to run.
const RUNNING: Duration = Duration::from_mins(20);

/// Instance groups.
pub(super) struct InstanceGroupDriver(pub(super) Account);

/// What a template refers to, by id.
struct References<'a> {
    subnet: &'a str,
    zone: &'a str,
    security_groups: Vec<&'a str>,
    service_account: &'a str,
    image: &'a str,
    metadata: &'a Labels,
}

impl InstanceGroupDriver {
    fn template(&self, environment: &Name, name: &Name, spec: &InstanceGroupSpec, ids: &References<'_>) -> Value {
        let machine = &spec.machine;
        let settings = &self.0.settings;
        let disk_type = machine.disk_type.as_ref().unwrap_or(&settings.disk_type);
        let mut address = json!({});
        if machine.public {
            address["oneToOneNatSpec"] = json!({ "ipVersion": "IPV4" });
        }
        json!({
            "name": format!("{}-{{instance.index}}", object_name(environment, name)),
            "hostname": format!("{name}-{{instance.index}}"),
            "labels": { LABEL_ENV: environment, LABEL_GROUP: name },
            "platformId": machine.class.as_ref().unwrap_or(&settings.platform),
            "resourcesSpec": Account::resources(machine),
            "metadata": ids.metadata,
            "bootDiskSpec": {
                "mode": "READ_WRITE",
                "diskSpec": { "typeId": disk_type, "imageId": ids.image, "size": (machine.disk_gb << 30).to_string() },
            },
            "networkInterfaceSpecs": [{
                "subnetIds": [ids.subnet], "primaryV4AddressSpec": address, "securityGroupIds": ids.security_groups,
            }],
        })
    }

    fn policies(spec: &InstanceGroupSpec, zone: &str) -> [Value; 3] {
        let zones: Vec<&str> = match spec.zones.as_slice() {
            [] => vec![zone],
            zones => zones.iter().map(String::as_str).collect(),
        };
        // A group that may neither miss a machine nor have one more could never be changed.
        let unavailable = if spec.max_unavailable + spec.max_expansion == 0 { 1 } else { spec.max_unavailable };
        [
            json!({ "fixedScale": { "size": spec.count.to_string() } }),
            json!({ "maxUnavailable": unavailable.to_string(), "maxExpansion": spec.max_expansion.to_string() }),
            json!({ "zones": zones.iter().map(|zone| json!({ "zoneId": zone })).collect::<Vec<_>>() }),
        ]
    }

    /// Waits until as many members run as are wanted, and gives them.
    async fn members(&self, group: &str, count: usize) -> Result<Vec<ManagedInstance>> {
        let end = Instant::now() + RUNNING;
        loop {
            let members = self.0.client.group_instances(group).await?;
            let running = members.iter().filter(|member| member.status == "RUNNING_ACTUAL").count();
            if running == count && members.len() == count {
                return Ok(members);
            }
            if Instant::now() > end {
                let states: Vec<String> =
                    members.iter().map(|m| format!("{} {} {}", m.name, m.status, m.status_message)).collect();
                return Err(Error::new(format!(
                    "yandex: {running} of {count} machines of the group run: {}",
                    states.join("; ")
                )));
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    async fn observe(&self, mut object: Object, group: &InstanceGroup) -> Result<Object> {
        object.health = match group.status.as_str() {
            "STOPPED" | "STOPPING" => Health::Stopped,
            _ => Health::Ready,
        };
        let count = group.managed_instances_state.target_size;
        let members = match (object.health, group.status.as_str()) {
            (Health::Ready, "ACTIVE" | "STARTING") => {
                self.members(&group.id, usize::try_from(count).unwrap_or(0)).await?
            }
            _ => self.0.client.group_instances(&group.id).await?,
        };
        object.attributes = attributes(&members);
        object.actual.insert("count".to_owned(), count.into());
        Ok(object)
    }

    async fn read(&self, id: &str) -> Result<Object> {
        let group: InstanceGroup = self.0.client.describe(id).await?;
        let object = object(&group.labels, KindName::INSTANCE_GROUP, None, &group.id, &group.created_at);
        let object = object.ok_or_else(|| Error::new("yandex: the group lost its labels while it was worked on"))?;
        self.observe(object, &group).await
    }
}

/// The addresses of the members, in the order of their numbers.
fn attributes(members: &[ManagedInstance]) -> Map<String, Value> {
    let number = |member: &ManagedInstance| -> u64 {
        let digits: String = member.name.chars().rev().take_while(char::is_ascii_digit).collect();
        digits.chars().rev().collect::<String>().parse().unwrap_or(u64::MAX)
    };
    let mut sorted: Vec<&ManagedInstance> = members.iter().collect();
    sorted.sort_by(|a, b| (number(a), &a.id).cmp(&(number(b), &b.id)));
    let members = sorted.iter().map(|member| {
        let mut attributes = member.network_interfaces.first().map(addresses).unwrap_or_default();
        attributes.insert("id".to_owned(), member.instance_id.as_str().into());
        Value::Object(attributes)
    });
    Map::from_iter([(MEMBERS.to_owned(), members.collect())])
}

#[async_trait]
impl Driver for InstanceGroupDriver {
    async fn list(&self, environment: Option<&Name>) -> Result<Vec<Object>> {
        let mut objects = Vec::new();
        for group in self.0.client.list::<InstanceGroup>(&self.0.folder).await? {
            let kind = KindName::INSTANCE_GROUP;
            let Some(object) = object(&group.labels, kind, environment, &group.id, &group.created_at) else { continue };
            objects.push(self.observe(object, &group).await?);
        }
        Ok(objects)
    }

    async fn create(&self, request: &Request<'_>) -> Result<Object> {
        let spec: InstanceGroupSpec = request.resource.spec()?;
        let boot = request.boot.as_ref().ok_or_else(|| Error::new("machines cannot be made without their keys"))?;
        let name = &request.resource.address.name;
        let subnet = needed(request, &Address::subnet(&spec.machine.subnet))?;
        let account = spec.service_account.as_ref().ok_or_else(|| Error::new("the group has no service account"))?;
        let account = &needed(request, &KindName::SERVICE_ACCOUNT.named(account))?.id;
        let image = self.0.image(&spec.machine.image).await?;
        let metadata = Account::metadata(&spec.machine, boot, &[]);
        let zone = subnet.attribute("zone").unwrap_or(&self.0.settings.zone);
        let ids = References {
            subnet: &subnet.id,
            zone,
            security_groups: security_groups(request, &spec.machine)?,
            service_account: account,
            image: &image,
            metadata: &metadata,
        };
        let [scale, deploy, allocation] = Self::policies(&spec, ids.zone);
        let labels = Account::labels(request);
        let call = self.0.client.create_instance_group();
        let call = call.folder_id(&self.0.folder).labels(&labels).service_account_id(ids.service_account);
        let full_name = object_name(request.environment, name);
        let call = call.name(&full_name).instance_template(self.template(request.environment, name, &spec, &ids));
        let call = call.scale_policy(scale).deploy_policy(deploy).allocation_policy(allocation);
        self.0.create(self, request, |key| call.clone().send(key)).await
    }

    async fn update(&self, object: &Object, request: &Request<'_>) -> Result<Object> {
        let spec: InstanceGroupSpec = request.resource.spec()?;
        // The service wants the whole template whenever anything changes: what is not to change is read from it.
        let present: Value = self.0.client.group_as_it_is(&object.id).await?;
        let mut template = present["instanceTemplate"].clone();
        let machine = &spec.machine;
        template["resourcesSpec"] = Account::resources(machine);
        template["platformId"] = machine.class.as_deref().unwrap_or(&self.0.settings.platform).into();
        template["bootDiskSpec"]["diskSpec"]["size"] = (machine.disk_gb << 30).to_string().into();
        let zone =
            present["allocationPolicy"]["zones"][0]["zoneId"].as_str().unwrap_or(&self.0.settings.zone).to_owned();
        let [scale, deploy, allocation] = Self::policies(&spec, &zone);
        let key = idempotency_key(request.token, "update");
        let account = present["serviceAccountId"].as_str().unwrap_or_default();
        let call = self.0.client.update_instance_group(&object.id).service_account_id(account);
        let call = call.instance_template(template).scale_policy(scale).deploy_policy(deploy);
        call.allocation_policy(allocation).send(key).await.map_err(|error| explain(error, request.resource))?;
        if object.health == Health::Stopped {
            let key = idempotency_key(request.token, "start");
            self.0.client.start_instance_group(&object.id).send(key).await?;
        }
        self.read(&object.id).await
    }

    async fn delete(&self, id: &str) -> Result<()> {
        let key = idempotency_key(id, "delete");
        self.0.remove(|| self.0.client.delete_instance_group(id).send(key.clone())).await
    }
}
