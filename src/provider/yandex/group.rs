//! Instance groups: the cloud makes the machines, heals them, and changes them a few at a time.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::{
    Account, Driver, Health, LABEL_ENV, LABEL_PROJECT, Object, Request,
    compute::{addresses, security_groups},
    explain, needed, object, object_name,
};
use crate::{
    cloud::yandex::{InstanceGroup, ManagedInstance},
    error::{Error, Result},
    name::Name,
    provider::MEMBERS,
    resource::{Address, HealthCheck, InstanceGroupSpec, KindName},
};

/// The label of a member that names its group.
const LABEL_GROUP: &str = "infra-group";
/// The label of a member with its image family.
const LABEL_IMAGE: &str = "infra-image";
/// How long the members of a group may take to run.
const RUNNING: Duration = Duration::from_mins(20);

/// Instance groups.
pub(super) struct InstanceGroupDriver(pub(super) Account);

impl InstanceGroupDriver {
    /// What the machines of a group are made from, and the zone that they stand in.
    async fn template(&self, request: &Request<'_>, spec: &InstanceGroupSpec) -> Result<(Value, String)> {
        let (machine, settings) = (&spec.machine, &self.0.settings);
        let (environment, name) = (request.environment, &request.resource.address.name);
        let boot = request.boot.as_ref().ok_or_else(|| Error::new("machines cannot be made without their keys"))?;
        let subnet = needed(request, &Address::subnet(&machine.subnet))?;
        let zone = subnet.attribute("zone").unwrap_or(&settings.zone).to_owned();
        let image = self.0.image(&machine.image).await?;
        let disk_type = machine.disk_type.as_ref().unwrap_or(&settings.disk_type);
        let mut address = json!({});
        if machine.public {
            address["oneToOneNatSpec"] = json!({ "ipVersion": "IPV4" });
        }
        let mut labels = json!({ LABEL_ENV: environment, LABEL_GROUP: name, LABEL_IMAGE: machine.image });
        if !request.owner().is_of_earlier_version() {
            labels[LABEL_PROJECT] = request.project.into();
        }
        let template = json!({
            "name": format!("{}-{{instance.index}}", object_name(request)),
            "hostname": format!("{name}-{{instance.index}}"),
            "labels": labels,
            "platformId": machine.class.as_ref().unwrap_or(&settings.platform),
            "resourcesSpec": Account::resources(machine),
            "metadata": Account::metadata(machine, boot, &[]),
            "bootDiskSpec": {
                "mode": "READ_WRITE",
                "diskSpec": { "typeId": disk_type, "imageId": image, "size": (machine.disk_gb << 30).to_string() },
            },
            "networkInterfaceSpecs": [{
                "subnetIds": [subnet.id], "primaryV4AddressSpec": address,
                "securityGroupIds": security_groups(request, machine)?,
            }],
        });
        Ok((template, zone))
    }

    /// How a machine is asked whether it works, in the form of the API.
    fn health_checks(check: &HealthCheck) -> Value {
        let mut spec = json!({
            "interval": format!("{}s", check.interval), "timeout": format!("{}s", check.timeout),
            "unhealthyThreshold": check.failures.to_string(), "healthyThreshold": "2",
        });
        let port = check.port.to_string();
        match &check.path {
            Some(path) => spec["httpOptions"] = json!({ "port": port, "path": path }),
            None => spec["tcpOptions"] = json!({ "port": port }),
        }
        json!({ "healthCheckSpecs": [spec], "maxCheckingHealthDuration": format!("{}s", check.patience) })
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
        let account = spec.service_account.as_ref().ok_or_else(|| Error::new("the group has no service account"))?;
        let account = &needed(request, &KindName::SERVICE_ACCOUNT.named(account))?.id;
        let (template, zone) = self.template(request, &spec).await?;
        let [scale, deploy, allocation] = Self::policies(&spec, &zone);
        let labels = Account::labels(request);
        let full_name = object_name(request);
        let call = self.0.client.create_instance_group().folder_id(&self.0.folder).labels(&labels);
        let call = call.service_account_id(account).name(&full_name).instance_template(template);
        let mut call = call.scale_policy(scale).deploy_policy(deploy).allocation_policy(allocation);
        if let Some(check) = &spec.health_check {
            call = call.health_checks_spec(Self::health_checks(check));
        }
        self.0.create(self, request, call.send(request.token)).await
    }

    async fn update(&self, object: &Object, request: &Request<'_>) -> Result<Object> {
        let spec: InstanceGroupSpec = request.resource.spec()?;
        let account = spec.service_account.as_ref().ok_or_else(|| Error::new("the group has no service account"))?;
        let account = &needed(request, &KindName::SERVICE_ACCOUNT.named(account))?.id;
        // The service wants the whole template whenever anything changes. The image is the one that the group has, unless the
        // file asks for another family: a newer image of the same family is no reason to make all machines anew.
        let (mut template, zone) = self.template(request, &spec).await?;
        let present: Value = self.0.client.group_as_it_is(&object.id).await?;
        let family = |template: &Value| template["labels"][LABEL_IMAGE].clone();
        if family(&present["instanceTemplate"]) == family(&template) {
            let image = present.pointer("/instanceTemplate/bootDiskSpec/diskSpec/imageId").cloned();
            template["bootDiskSpec"]["diskSpec"]["imageId"] = image.unwrap_or_default();
        }
        let [scale, deploy, allocation] = Self::policies(&spec, &zone);
        let call = self.0.client.update_instance_group(&object.id).service_account_id(account);
        let call = call.instance_template(template).scale_policy(scale).deploy_policy(deploy);
        let mut call = call.allocation_policy(allocation);
        if let Some(check) = &spec.health_check {
            call = call.health_checks_spec(Self::health_checks(check));
        }
        call.send(request.token).await.map_err(|error| explain(error, request.resource))?;
        if object.health == Health::Stopped {
            self.0.client.start_instance_group(&object.id).send(request.token).await?;
        }
        self.read(&object.id).await
    }

    async fn delete(&self, id: &str) -> Result<()> {
        self.0.remove(|| self.0.client.delete_instance_group(id).send(id)).await
    }
}
