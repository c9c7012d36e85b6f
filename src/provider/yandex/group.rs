//! Instance groups: the cloud makes the machines, heals them, and changes them a few at a time.

use std::{collections::BTreeSet, time::Duration};

use async_trait::async_trait;
use serde_json::{Map, Value, json};

use super::{
    account::{Account, explain, if_there, object, object_name},
    group_drift,
    group_template::{self, LABEL_IMAGE, Template, health_checks, is_as_wanted, max_unavailable},
    iam::Manager,
    interface::addresses,
    observe::Around,
    wait::Asked,
};
use crate::{
    cloud::yandex::{InstanceGroup, ManagedInstance},
    error::{Error, Result},
    name::Name,
    provider::{Driver, Health, MEMBERS, Object, Request},
    resource::{Address, InstanceGroupSpec, KindName},
};

/// How long the machines of a group may take to run.
const SETTLE: Duration = Duration::from_mins(20);
/// The state of a machine that runs and is asked whether it works.
const CHECKED: &str = "CHECKING_HEALTH";
/// The states of machines that run, whether they work or not.
const RUNS: [&str; 5] = ["RUNNING_ACTUAL", "RUNNING_OUTDATED", "OPENING_TRAFFIC", "AWAITING_WARMUP_DURATION", CHECKED];

/// Instance groups.
pub(super) struct InstanceGroupDriver(pub(super) Account);

/// What a group is asked to be.
struct Wanted {
    manager: Manager,
    template: Template,
    scale: Value,
    deploy: Value,
    allocation: Value,
}

impl InstanceGroupDriver {
    /// What a group should be; its machines keep the image that they have while the file asks for the same family: a newer
    /// image is no reason to recreate all of them.
    async fn wanted(&self, request: &Request<'_>, spec: &InstanceGroupSpec, present: Option<&Value>) -> Result<Wanted> {
        let manager = self.0.manager(request, spec).await?;
        let subnet = request.needs.get(&Address::subnet(&spec.machine.subnet));
        let usual = subnet.and_then(|subnet| subnet.attribute("zone")).unwrap_or(&self.0.settings.zone);
        let zones: Vec<&str> = match spec.zones.as_slice() {
            [] => vec![usual],
            zones => zones.iter().map(String::as_str).collect(),
        };
        let family = |template: &Value| template["labels"][LABEL_IMAGE].as_str().map(str::to_owned);
        let known = present.map(|group| &group["instanceTemplate"]);
        let known = known.filter(|template| family(template).as_deref() == Some(&spec.machine.image));
        let image = known.and_then(|template| template.pointer("/bootDiskSpec/diskSpec/imageId")?.as_str());
        let image = match image {
            Some(image) => image.to_owned(),
            None => self.0.image(&spec.machine.image).await?,
        };
        let present = present.map_or(&Value::Null, |group| &group["instanceTemplate"]);
        Ok(Wanted {
            manager,
            template: group_template::wanted(&self.0, request, spec, &image, present)?,
            scale: json!({ "fixedScale": { "size": spec.count.to_string() } }),
            deploy: json!({
                "maxUnavailable": max_unavailable(spec).to_string(), "maxExpansion": spec.max_expansion.to_string(),
            }),
            allocation: json!({ "zones": zones.iter().map(|zone| json!({ "zoneId": zone })).collect::<Vec<_>>() }),
        })
    }

    /// A group with its machines as they are; nothing when it has just vanished.
    pub(super) async fn show(
        &self, group: &InstanceGroup, around: Option<&Around<'_>>, environment: Option<&Name>,
    ) -> Result<Option<Object>> {
        if shown(group, &[], around, environment).is_none() {
            return Ok(None);
        }
        let members = if_there(self.0.client.group_instances(&group.id).await)?;
        Ok(members.and_then(|members| shown(group, &members, around, environment)))
    }

    /// A group with its machines, once these are as they should be.
    async fn until(&self, object: &Object, time: Duration, rests: impl Fn(Health) -> bool) -> Result<Object> {
        let address = &object.address;
        let look = async |group: InstanceGroup| {
            let gone = || Error::new(format!("yandex: `{address}` is gone"));
            // No list has the machines of several groups as those are in their groups.
            let members = if_there(self.0.client.group_instances(&group.id).await)?.ok_or_else(gone)?;
            Ok(match shown(&group, &members, None, None).filter(|shown| rests(shown.health)) {
                Some(shown) => Asked::Done(shown),
                None => Asked::NotYet(states(&group, &members)),
            })
        };
        self.0.until_rest(&format!("`{address}`"), time, &self.0.groups, &object.id, look).await
    }
}

/// The object of a group.
fn shown(
    group: &InstanceGroup, members: &[ManagedInstance], around: Option<&Around<'_>>, environment: Option<&Name>,
) -> Option<Object> {
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
    group_drift::note(group, &mut object);
    if let Some(around) = around {
        let interface = &group.instance_template["networkInterfaceSpecs"][0];
        let ids = |list: &Value| -> Vec<String> {
            list.as_array().into_iter().flatten().filter_map(|id| Some(id.as_str()?.to_owned())).collect()
        };
        let mut links: BTreeSet<String> = ids(&interface["subnetIds"]).into_iter().collect();
        links.extend(around.networks_of(&ids(&interface["securityGroupIds"])));
        links.extend(group.instance_template["serviceAccountId"].as_str().map(str::to_owned));
        links.remove("");
        object.links = Some(links);
    }
    Some(object)
}

/// How the machines of a group are, for people.
fn states(group: &InstanceGroup, members: &[ManagedInstance]) -> String {
    let runs = members.iter().filter(|member| RUNS.contains(&member.status.as_str())).count();
    let others = members.iter().filter(|member| member.status != RUNS[0]);
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
    fn compare(&self, spec: &Map<String, Value>, attributes: &Map<String, Value>, object: &mut Object) {
        group_drift::compare(spec, attributes, object);
    }

    async fn list(&self, environment: Option<&Name>) -> Result<Vec<Object>> {
        let groups = self.0.client.list::<InstanceGroup>(&self.0.folder).await?;
        let shown = groups.iter().map(|group| self.show(group, None, environment));
        Ok(futures::future::try_join_all(shown).await?.into_iter().flatten().collect())
    }

    async fn read(&self, id: &str) -> Result<Option<Object>> {
        match self.0.found::<InstanceGroup>(id).await? {
            Some(group) => self.show(&group, None, None).await,
            None => Ok(None),
        }
    }

    async fn settled(&self, object: &Object) -> Result<Object> {
        self.until(object, SETTLE, |health| health != Health::Transient).await
    }

    fn updates_in_transition(&self) -> bool {
        // The service takes another template or size at any time: machines that cannot start are given up for it.
        true
    }

    /// A group is made without its health check: the cloud would wait until machines answer that nothing is installed on yet.
    /// [`Self::finish`] sets it once they are configured.
    async fn create(&self, request: &Request<'_>) -> Result<Object> {
        let spec: InstanceGroupSpec = request.resource.spec()?;
        let wanted = self.wanted(request, &spec, None).await?;
        let (labels, name) = (Account::labels(request), object_name(request));
        let call = self.0.client.create_instance_group().folder_id(&self.0.folder).labels(&labels);
        let call = call.service_account_id(&wanted.manager.id).name(&name).instance_template(wanted.template.sent());
        let call = call.scale_policy(wanted.scale).deploy_policy(wanted.deploy).allocation_policy(wanted.allocation);
        let made = wanted.manager.permitted(|| call.clone().send(request.token));
        self.0.create(self, request, made).await
    }

    async fn update(&self, object: &Object, request: &Request<'_>) -> Result<Object> {
        let spec: InstanceGroupSpec = request.resource.spec()?;
        let wrong = |error| explain(error, request.resource);
        let (client, id) = (&self.0.client, object.id.as_str());
        let present: Value = client.group_as_it_is(id).await?;
        let wanted = self.wanted(request, &spec, Some(&present)).await?;
        // New machines may have nothing installed: their group is not judged before they are configured.
        let size = present.pointer("/scalePolicy/fixedScale/size").and_then(|size| size.as_str()?.parse().ok());
        // What was added to the metadata outside of infra goes again; what the service adds by itself was noted with the rest.
        let known = object.attribute(group_drift::METADATA);
        let strayed = known.is_some_and(|known| known != group_drift::mark(&present["instanceTemplate"]["metadata"]));
        let new_machines = strayed
            || wanted.template.differs()
            || size.unwrap_or(0) < spec.count
            || !is_as_wanted(&wanted.allocation, &present["allocationPolicy"]);
        // Where nothing has to be installed on them first, the check that the others pass decides when a new machine counts:
        // `deploy_policy` holds. A group that does not pass it would wait for ever.
        let may_judge = !new_machines || !self.0.configured && object.health == Health::Ready;
        let checks = spec.health_check.as_ref().map(health_checks);
        let keeps_checks =
            checks.is_some_and(|checks| may_judge && is_as_wanted(&checks, &present["healthChecksSpec"]));
        let clears = !keeps_checks && !present["healthChecksSpec"].is_null();
        let same = !new_machines
            && is_as_wanted(&wanted.scale, &present["scalePolicy"])
            && is_as_wanted(&wanted.deploy, &present["deployPolicy"])
            && present["serviceAccountId"] == wanted.manager.id.as_str();
        if !same || clears {
            let call = client.update_instance_group(id).service_account_id(&wanted.manager.id);
            let call = call.instance_template(wanted.template.sent()).scale_policy(wanted.scale);
            let mut call = call.deploy_policy(wanted.deploy).allocation_policy(wanted.allocation);
            if clears {
                call = call.health_checks_spec(Value::Null);
            }
            wanted.manager.permitted(|| call.clone().send(request.token)).await.map_err(wrong)?;
        }
        match object.health {
            Health::Stopped => drop(client.start_instance_group(id).send(request.token).await.map_err(wrong)?),
            Health::Paused => drop(client.resume_instance_group(id).send(request.token).await.map_err(wrong)?),
            _ => {}
        }
        let settled = self.settled(object).await?;
        // What the machines of before needed is taken away once they are gone.
        let before = present.pointer("/instanceTemplate/serviceAccountId").and_then(Value::as_str);
        self.0.limit_manager(&wanted.manager.id, request, &spec, before.unwrap_or_default()).await?;
        Ok(settled)
    }

    fn checks_machines(&self) -> bool {
        true
    }

    async fn finish(&self, object: &Object, request: &Request<'_>) -> Result<Object> {
        let spec: InstanceGroupSpec = request.resource.spec()?;
        let Some(check) = &spec.health_check else { return Ok(object.clone()) };
        let client = &self.0.client;
        let present: Value = client.group_as_it_is(&object.id).await?;
        let checks = health_checks(check);
        // A machine is healthy after two answers.
        let patience = Duration::from_secs(check.patience.max(3 * check.interval));
        if !is_as_wanted(&checks, &present["healthChecksSpec"]) {
            let wanted = self.wanted(request, &spec, Some(&present)).await?;
            let call = client.update_instance_group(&object.id).service_account_id(&wanted.manager.id);
            let call = call.instance_template(wanted.template.sent()).scale_policy(wanted.scale);
            let call =
                call.deploy_policy(wanted.deploy).allocation_policy(wanted.allocation).health_checks_spec(checks);
            // A machine that fails is restarted: one that is created again would have nothing installed.
            let call = call.auto_healing_policy(json!({ "autoHealingAction": "RESTART" })).within(patience);
            if let Err(error) = call.send(request.token).await
                && !error.is_late()
            {
                return Err(explain(error, request.resource));
            }
        }
        let question = match &check.path {
            Some(path) => format!("GET :{}{path}", check.port),
            None => format!("TCP :{}", check.port),
        };
        let healthy = self.until(object, patience, |health| health == Health::Ready).await;
        healthy.map_err(|error| {
            let (address, origin) = (&request.resource.address, &request.resource.origin);
            error
                .context(format!("{address} ({origin}): its machines do not pass the health check ({question})"))
                .hint("look at the service on one of them: `infra ssh ENV HOST`; then apply again")
        })
    }

    async fn delete(&self, id: &str) -> Result<()> {
        // What is removed may be the account of a group that was never created.
        let account = match self.0.found::<InstanceGroup>(id).await? {
            Some(group) => {
                self.0.remove(|| self.0.client.delete_instance_group(id).send(id)).await?;
                group.service_account_id
            }
            None => id.to_owned(),
        };
        self.0.remove_manager(&account).await
    }
}
