//! Instance groups: the cloud makes the machines, heals them, and changes them a few at a time.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Map, Value, json};

use super::{
    Account, Driver, Health, LABEL_ENV, LABEL_PROJECT, Object, Request,
    compute::{addresses, security_groups},
    explain, if_there, needed, object, object_name,
    wait::{Asked, until},
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
/// How long the machines of a group may take to run.
const SETTLE: Duration = Duration::from_mins(20);

/// The state of a machine that runs and is asked whether it works.
const CHECKED: &str = "CHECKING_HEALTH";
/// The states of machines that run, whether they work or not.
const RUNS: [&str; 5] = ["RUNNING_ACTUAL", "RUNNING_OUTDATED", "OPENING_TRAFFIC", "AWAITING_WARMUP_DURATION", CHECKED];

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

    /// A group with its machines as they are; nothing when it has just vanished.
    async fn show(&self, group: &InstanceGroup, environment: Option<&Name>) -> Result<Option<Object>> {
        if shown(group, &[], environment).is_none() {
            return Ok(None);
        }
        let members = if_there(self.0.client.group_instances(&group.id).await)?;
        Ok(members.and_then(|members| shown(group, &members, environment)))
    }
}

/// The object of a group.
fn shown(group: &InstanceGroup, members: &[ManagedInstance], environment: Option<&Name>) -> Option<Object> {
    let kind = KindName::INSTANCE_GROUP;
    let mut object = object(&group.labels, kind, environment, &group.id, &group.created_at)?;
    // The size that the group was given: how many machines it has is known a while later.
    let size = group.scale_policy.fixed_scale.size;
    let runs = |member: &ManagedInstance| RUNS.contains(&member.status.as_str());
    let all_run = usize::try_from(size) == Ok(members.len()) && members.iter().all(runs);
    object.health = match group.status.as_str() {
        "STOPPED" | "STOPPING" => Health::Stopped,
        "PAUSED" => Health::Paused,
        "DELETING" => Health::Leaving,
        _ if !all_run => Health::Transient,
        _ if members.iter().any(|member| member.status == CHECKED) => Health::Unhealthy,
        _ => Health::Ready,
    };
    object.attributes = attributes(members);
    object.actual.insert("count".to_owned(), size.into());
    Some(object)
}

/// How the machines of a group are, for people.
fn states(group: &InstanceGroup, members: &[ManagedInstance]) -> String {
    let runs = members.iter().filter(|member| RUNS.contains(&member.status.as_str())).count();
    let others = members.iter().filter(|member| !RUNS.contains(&member.status.as_str()));
    let others = others.map(|m| format!("; {} {} {}", m.name, m.status, m.status_message).trim_end().to_owned());
    format!("{runs} of {} machines run{}", group.scale_policy.fixed_scale.size, others.collect::<String>())
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
        let groups = self.0.client.list::<InstanceGroup>(&self.0.folder).await?;
        let shown = futures::future::try_join_all(groups.iter().map(|group| self.show(group, environment))).await?;
        Ok(shown.into_iter().flatten().collect())
    }

    async fn read(&self, id: &str) -> Result<Option<Object>> {
        match self.0.found::<InstanceGroup>(id).await? {
            Some(group) => self.show(&group, None).await,
            None => Ok(None),
        }
    }

    async fn settled(&self, object: &Object) -> Result<Object> {
        let address = &object.address;
        until(&format!("`{address}`"), SETTLE, async || {
            let gone = || Error::new(format!("yandex: `{address}` is gone"));
            let group = self.0.found::<InstanceGroup>(&object.id).await?.ok_or_else(gone)?;
            let members = if_there(self.0.client.group_instances(&group.id).await)?.ok_or_else(gone)?;
            let shown = shown(&group, &members, None);
            Ok(match shown.filter(|shown| shown.health != Health::Transient) {
                Some(shown) => Asked::Done(shown),
                None => Asked::NotYet(states(&group, &members)),
            })
        })
        .await
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
        self.settled(object).await
    }

    async fn delete(&self, id: &str) -> Result<()> {
        self.0.remove(|| self.0.client.delete_instance_group(id).send(id)).await
    }
}
