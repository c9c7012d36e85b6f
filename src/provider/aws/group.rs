//! Instance groups: an Auto Scaling group, which makes the machines and heals them, and the template that they are made from.

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::{
    Account, Driver, Health, LABEL_ENV, LABEL_PROJECT, Object, POLL, READY, Request, balancer::Balancing,
    compute::machine_fields, explain, health::CHECKED, needed, not_made, object, or_there, tag, unique_name,
};
use crate::{
    cloud::{
        aws::{
            AwsError,
            autoscaling::{AutoScalingGroup, Refresh},
            ec2::{Instance, LaunchTemplate, Tags, TemplateData},
        },
        retry::Attempts,
    },
    encoding,
    error::{Error, Result},
    name::Name,
    provider::{MEMBERS, shared::Awaiting},
    resource::{InstanceGroupSpec, KindName, LABEL_TEMPLATE},
};

/// How long a machine of a group may take to be exchanged for another one.
const EXCHANGE: Duration = Duration::from_mins(15);

/// The tag of a member that names its group.
const LABEL_GROUP: &str = "infra-group";
/// The tag of a member with its number.
const NUMBER: &str = "infra-number";

/// The tag of a group with a digest of what its machines are.
const DIGEST: &str = "infra-digest";
/// The tag of a group with the version of the template that its machines are made from.
const VERSION: &str = "infra-version";
/// What replaces a machine that nothing asks yet: it does so only when that does not run.
const UNJUDGED: &str = "EC2";
/// For how many seconds a new machine is not judged, where the file does not say it.
const GRACE: u64 = 60;
/// The tag that earlier versions wrote the digest into, although it names the environment's file.
const OLD_DIGEST: &str = LABEL_TEMPLATE;

/// The digest that a group was made with.
fn digest_of(group: &AutoScalingGroup) -> Option<&str> {
    tag(&group.tags, DIGEST).or_else(|| tag(&group.tags, OLD_DIGEST))
}

/// A role is known everywhere a few seconds after it was made.
fn is_young_profile(error: &AwsError) -> bool {
    error.code() == "ValidationError" && error.to_string().contains("Invalid IamInstanceProfile")
}

/// A digest of what the machines of a group are.
fn digest(spec: &InstanceGroupSpec) -> Result<String> {
    let text = serde_json::to_string(&(&spec.machine, &spec.service_account))?;
    Ok(encoding::hex(&Sha256::digest(text)[..10]))
}

/// Whether a template names other security groups, or another profile, than its machines are to have.
fn points_elsewhere(present: &TemplateData, data: &Value) -> bool {
    let mut groups: Vec<&str> =
        present.network_interface_set.iter().flat_map(|one| &one.group_set).map(String::as_str).collect();
    let wanted = data.pointer("/NetworkInterface/0/SecurityGroupId").and_then(Value::as_array);
    let mut wanted: Vec<&str> = wanted.into_iter().flatten().filter_map(Value::as_str).collect();
    groups.sort_unstable();
    wanted.sort_unstable();
    let profile = data.pointer("/IamInstanceProfile/Name").and_then(Value::as_str).unwrap_or_default();
    groups != wanted || present.iam_instance_profile.name != profile
}

/// Instance groups.
pub(super) struct InstanceGroupDriver(pub(super) Account);

/// The machines of a group in the order of their numbers: one that has none yet, because the cloud has made it in the place of
/// a lost one, gets the first that is free.
fn numbered<'a>(group: &AutoScalingGroup, instances: &'a [Instance]) -> BTreeMap<u32, &'a Instance> {
    let ours = |instance: &&Instance| group.instances.iter().any(|member| member.instance_id == instance.instance_id);
    let running = |instance: &&Instance| matches!(instance.instance_state.name.as_str(), "pending" | "running");
    let mut members: Vec<&Instance> = instances.iter().filter(ours).filter(running).collect();
    members.sort_by(|a, b| (&a.launch_time, &a.instance_id).cmp(&(&b.launch_time, &b.instance_id)));
    let mut order: BTreeMap<u32, &Instance> = BTreeMap::new();
    let number = |instance: &Instance| tag(&instance.tag_set, NUMBER).and_then(|number| number.parse().ok());
    let mut fresh = Vec::new();
    for instance in members {
        match number(instance) {
            Some(number) if !order.contains_key(&number) => drop(order.insert(number, instance)),
            _ => fresh.push(instance),
        }
    }
    for instance in fresh {
        let mut free = 1;
        while order.contains_key(&free) {
            free += 1;
        }
        order.insert(free, instance);
    }
    order
}

fn describe(group: &AutoScalingGroup, instances: &[Instance]) -> Option<Object> {
    let mut object = object(&group.tags, KindName::INSTANCE_GROUP, &group.name, &group.created_time)?;
    if group.status.starts_with("Delete") {
        // Its template is there until someone removes it.
        object.health = Health::Leaving;
        return Some(object);
    }
    if tag(&group.tags, DIGEST).is_none() {
        // What stands there is the digest of an earlier version.
        object.terms.template.clear();
    }
    let members = numbered(group, instances).into_values().map(|instance| {
        let mut attributes = Map::from_iter([
            ("id".to_owned(), instance.instance_id.as_str().into()),
            ("address".to_owned(), instance.private_ip_address.as_str().into()),
        ]);
        if !instance.ip_address.is_empty() {
            attributes.insert("public_address".to_owned(), instance.ip_address.as_str().into());
        }
        Value::Object(attributes)
    });
    object.attributes.insert(MEMBERS.to_owned(), members.collect());
    let count = group.desired_capacity.parse::<u32>().unwrap_or(0);
    let fixed = [&group.min_size, &group.max_size].iter().all(|size| **size == group.desired_capacity);
    let range = || format!("{count}, from {} to {}", group.min_size, group.max_size).into();
    object.actual.insert("count".to_owned(), if fixed { count.into() } else { range() });
    if tag(&group.tags, VERSION).is_some_and(|version| version != group.launch_template.version) {
        let other = format!("version {} of the template", group.launch_template.version);
        object.actual.insert("machine".to_owned(), other.into());
    }
    let subnets = group.subnets.split(',').map(str::trim).filter(|subnet| !subnet.is_empty());
    object.links = Some(subnets.map(str::to_owned).collect());
    Some(object)
}

/// The group of machines of the account, with what was left of others.
pub(super) async fn groups(
    account: &Account, environment: Option<&Name>, instances: &[Instance], balancing: &Balancing,
) -> Result<Vec<Object>> {
    let client = &account.client;
    let (name, value) = Account::filter(environment);
    let ours = [(name.as_str(), value.as_str())];
    let (groups, templates) = tokio::try_join!(client.auto_scaling_groups(None), client.list::<LaunchTemplate>(&ours))?;
    let mut objects: Vec<Object> = groups.iter().filter_map(|group| describe(group, instances)).collect();
    objects.retain(|object| environment.is_none_or(|name| object.environment == name.as_str()));
    account.with_health(&groups, balancing, &mut objects).await?;
    // A template whose group was never made, or is gone already.
    let lonely = templates.iter().filter(|one| !groups.iter().any(|group| group.name == one.launch_template_name));
    objects.extend(lonely.filter_map(|one| {
        let object = object(&one.tag_set, KindName::INSTANCE_GROUP, &one.launch_template_name, &one.create_time)?;
        Some(Object { health: Health::Broken, ..object })
    }));
    Ok(objects)
}

/// The subnets that the machines of a group may be in: one in each of its zones.
pub(super) fn subnets_of<'a>(request: &'a Request<'_>) -> Vec<&'a str> {
    let subnets = request.needs.iter().filter(|(address, _)| address.kind == KindName::SUBNET);
    let mut subnets: Vec<&str> = subnets.map(|(_, subnet)| subnet.id.as_str()).collect();
    subnets.sort_unstable();
    subnets
}

impl Account {
    /// A group that is waited for, as it was at most an interval ago.
    pub(super) async fn recent_group(
        &self, awaiting: &Awaiting<'_, AutoScalingGroup>, name: &str,
    ) -> Result<Option<AutoScalingGroup>> {
        let all = awaiting.recent(POLL, async |names| self.client.auto_scaling_groups_of(&names).await).await?;
        Ok(all.iter().find(|group| group.name == name).cloned())
    }
}

impl InstanceGroupDriver {
    async fn instances(&self, environment: &str) -> Result<Vec<Instance>> {
        Ok(self.0.client.instances(&[(&format!("tag:{LABEL_ENV}"), environment)]).await?)
    }

    async fn template(&self, name: &str) -> Result<Option<LaunchTemplate>> {
        match self.0.client.list::<LaunchTemplate>(&[("launch-template-name", name)]).await {
            Ok(found) => Ok(found.into_iter().next()),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// What the machines of a group are made from.
    async fn template_data(&self, request: &Request<'_>, spec: &InstanceGroupSpec) -> Result<Value> {
        let mut data = Value::Object(machine_fields(&self.0, request, &spec.machine, &[]).await?);
        if let Some(account) = &spec.service_account {
            let role = &needed(request, &KindName::SERVICE_ACCOUNT.named(account))?.id;
            data["IamInstanceProfile"] = json!({ "Name": role });
        }
        let name = &request.resource.address.name;
        let tags = [
            ("Name", format!("{}-{name}", request.environment)),
            (LABEL_ENV, request.environment.to_string()),
            (LABEL_PROJECT, request.project.to_owned()),
            (LABEL_GROUP, name.to_string()),
        ];
        let tags: Vec<Value> = tags.iter().map(|(key, value)| json!({ "Key": key, "Value": value })).collect();
        let kinds = ["instance", "volume", "network-interface"];
        data["TagSpecification"] = kinds.iter().map(|kind| json!({ "ResourceType": kind, "Tag": tags })).collect();
        // The subnets are the group's: they decide about the zones.
        if let Some(interface) = data.pointer_mut("/NetworkInterface/0").and_then(Value::as_object_mut) {
            interface.remove("SubnetId");
        }
        Ok(data)
    }

    /// How many machines a group has, where, and from what. A new one is not judged by whether they answer until they are
    /// configured: [`Driver::finish`] says so.
    fn size(request: &Request<'_>, spec: &InstanceGroupSpec, template: &str, version: &str, judge: &str) -> Value {
        let grace = spec.health_check.as_ref().map_or(GRACE, |check| check.patience);
        json!({
            "LaunchTemplate": { "LaunchTemplateId": template, "Version": version },
            "MinSize": spec.count, "MaxSize": spec.count, "DesiredCapacity": spec.count,
            "VPCZoneIdentifier": subnets_of(request).join(","),
            "HealthCheckType": judge, "HealthCheckGracePeriod": grace,
        })
    }

    /// Waits until as many machines are in service as are wanted, and gives each its number.
    async fn settled(&self, name: &str, environment: &str) -> Result<Object> {
        let awaiting = self.0.awaited.groups.awaiting(name);
        let look = || async {
            let group = self.0.recent_group(&awaiting, name).await?;
            let group = group.ok_or_else(|| Error::new(format!("aws: the group `{name}` is gone")))?;
            let wanted: usize = group.desired_capacity.parse().unwrap_or(0);
            let ready = group.instances.iter().filter(|member| member.lifecycle_state == "InService").count();
            Ok((ready == wanted && group.instances.len() == wanted).then_some(group))
        };
        let group = self.0.settle(&format!("the group `{name}`"), look).await?;
        let instances = self.instances(environment).await?;
        for (number, instance) in numbered(&group, &instances) {
            if tag(&instance.tag_set, NUMBER) != Some(number.to_string().as_str()) {
                let tags = Tags::from([(NUMBER.to_owned(), number.to_string())]);
                self.0.put_tags(vec![&instance.instance_id], tags).await?;
            }
        }
        let gone = || Error::new("aws: the group lost its tags while it was worked on");
        describe(&group, &instances).ok_or_else(gone)
    }

    /// Exchanges the machines of a group for new ones, as many at a time as the file allows.
    async fn refresh(&self, name: &str, version: &str, spec: &InstanceGroupSpec) -> Result<()> {
        let share = |machines: u32| (machines * 100).div_ceil(spec.count.max(1)).min(100);
        // A group that may neither miss a machine nor have one more could never be changed.
        let missing = if spec.max_unavailable + spec.max_expansion == 0 { 1 } else { spec.max_unavailable };
        let least = 100 - share(missing);
        // The service allows a hundred between the two.
        let most = (100 + share(spec.max_expansion)).min(least + 100);
        let warmup = self.0.warmup(spec.health_check.as_ref());
        let limit = (EXCHANGE + Duration::from_secs(warmup)) * spec.count.max(1);
        let id = match self.0.client.start_instance_refresh(name, least, most, warmup).await {
            // One that runs already was begun for an earlier version, by hand, or by the same call whose answer was lost.
            Err(error) if error.code() == "InstanceRefreshInProgress" => {
                self.refreshed(name, None, limit).await?;
                if self.is_of(name, version).await? {
                    return Ok(());
                }
                self.0.client.start_instance_refresh(name, least, most, warmup).await?
            }
            begun => begun?,
        };
        self.refreshed(name, Some(&id), limit).await
    }

    /// Waits for the end of an exchange, which must be a good one, or of all that run, however they end.
    async fn refreshed(&self, name: &str, id: Option<&str>, limit: Duration) -> Result<()> {
        let look = || async {
            let all = self.0.client.instance_refreshes(name).await?;
            let Some(id) = id else { return Ok((!all.iter().any(Refresh::runs)).then_some(())) };
            let Some(refresh) = all.iter().find(|refresh| refresh.instance_refresh_id == id) else { return Ok(None) };
            match refresh.status.as_str() {
                "Successful" => Ok(Some(())),
                _ if refresh.runs() => Ok(None),
                status => Err(Error::new(format!(
                    "aws: the exchange of the machines of `{name}` is {status}: {}",
                    refresh.status_reason
                ))),
            }
        };
        self.0.settle_within(limit, &format!("the exchange of the machines of `{name}`"), look).await
    }

    /// Whether all machines of a group are made from this version of its template.
    async fn is_of(&self, name: &str, version: &str) -> Result<bool> {
        let groups = self.0.client.auto_scaling_groups(Some(name)).await?;
        let mut members = groups.iter().flat_map(|group| &group.instances);
        Ok(members.all(|member| member.launch_template.version == version))
    }

    /// Whether the machines of a template are to have other security groups, or another role, than it says: what it names may have
    /// been created again.
    async fn points_elsewhere(&self, template: &str, version: &str, data: &Value) -> Result<bool> {
        Ok(points_elsewhere(&self.0.client.template_version(template, version).await?.launch_template_data, data))
    }
}

#[async_trait]
impl Driver for InstanceGroupDriver {
    async fn list(&self, environment: Option<&Name>) -> Result<Vec<Object>> {
        let (name, value) = Account::filter(environment);
        let instances = self.0.client.instances(&[(&name, &value)]).await?;
        groups(&self.0, environment, &instances, &Balancing::default()).await
    }

    async fn create(&self, request: &Request<'_>) -> Result<Object> {
        let spec: InstanceGroupSpec = request.resource.spec()?;
        let (client, wrong) = (&self.0.client, |error| explain(error, request.resource));
        let name = unique_name(request.token, None);
        let mut tags = Account::tags(request);
        let data = self.template_data(request, &spec).await?;
        let template = if let Some(template) = self.template(&name).await? {
            template.launch_template_id
        } else {
            let call = client.create_launch_template().launch_template_name(&name).client_token(request.token);
            // Its name is made of the token: what is there already was made by this intent, whose answer was lost.
            let made = call.launch_template_data(data).tags("launch-template", &tags).send().await;
            or_there(made).map_err(|error| not_made(error, request.resource))?;
            let template = super::shown(|| self.template(&name)).await?;
            let gone = || Error::new(format!("aws: the template of the group `{name}` vanished while it was made"));
            template.ok_or_else(gone)?.launch_template_id
        };
        let size = Self::size(request, &spec, &template, "1", UNJUDGED);
        // It is whole from the moment in which it is made: what is missing are machines, and those come by themselves.
        tags.insert(READY.to_owned(), "yes".to_owned());
        tags.insert(DIGEST.to_owned(), digest(&spec)?);
        tags.insert(VERSION.to_owned(), "1".to_owned());
        let mut attempts = Attempts::within(super::IN_USE);
        loop {
            match client.create_auto_scaling_group(&name, size.clone(), &tags).await {
                Err(error) if is_young_profile(&error) => {
                    if !attempts.pause(format!("its profile to be known ({error})"), None).await {
                        return Err(wrong(error));
                    }
                }
                Err(error) if error.code() != "AlreadyExists" => return Err(wrong(error)),
                _ => break,
            }
        }
        self.settled(&name, request.environment.as_str()).await
    }

    async fn update(&self, object: &Object, request: &Request<'_>) -> Result<Object> {
        let spec: InstanceGroupSpec = request.resource.spec()?;
        let (client, wrong) = (&self.0.client, |error| explain(error, request.resource));
        let name = object.id.as_str();
        let template = self.template(name).await?;
        let template =
            template.ok_or_else(|| Error::new(format!("aws: the template of the group `{name}` is gone")))?;
        let template = template.launch_template_id;
        let call = client.create_launch_template_version().launch_template_id(&template).client_token(request.token);
        let digest = digest(&spec)?;
        let group = client.auto_scaling_groups(Some(name)).await.map_err(wrong)?.into_iter().next().unwrap_or_default();
        let strayed = tag(&group.tags, VERSION).is_some_and(|version| version != group.launch_template.version);
        let data = self.template_data(request, &spec).await?;
        let changed = strayed
            || digest_of(&group) != Some(digest.as_str())
            || self.points_elsewhere(&template, &group.launch_template.version, &data).await?;
        let version = if changed {
            let made = call.launch_template_data(data).send().await.map_err(wrong)?;
            let version = made.pointer("/launchTemplateVersion/versionNumber").and_then(Value::as_str);
            version.ok_or_else(|| Error::new("aws: a version of a template without a number"))?.to_owned()
        } else {
            group.launch_template.version.clone()
        };
        // A new machine counts when it answers, where it can: `deploy_policy` holds while machines are exchanged. As long as one
        // machine answers, an exchange must not take that one down for new ones that do not.
        let keeps_check = self.0.keeps_check(&group, spec.health_check.as_ref()).await?;
        let judge = if keeps_check { self.0.judge() } else { UNJUDGED };
        let size = Self::size(request, &spec, &template, &version, judge);
        client.update_auto_scaling_group(name, size).await.map_err(wrong)?;
        if spec.health_check.is_none() {
            self.0.uncheck(name, &group.target_groups).await?;
        } else if !keeps_check {
            let tags = Tags::from([(CHECKED.to_owned(), "no".to_owned())]);
            client.tag_auto_scaling_group(name, &tags).await.map_err(wrong)?;
        }
        let object = self.settled(name, request.environment.as_str()).await?;
        if !changed {
            return Ok(object);
        }
        self.refresh(name, &version, &spec).await?;
        // Only now: after a crash the exchange is begun once more.
        let mut tags = Tags::from([(DIGEST.to_owned(), digest), (VERSION.to_owned(), version)]);
        tags.extend(Account::tags(request).remove_entry(LABEL_TEMPLATE));
        client.tag_auto_scaling_group(name, &tags).await.map_err(wrong)?;
        self.settled(name, request.environment.as_str()).await
    }

    fn checks_machines(&self) -> bool {
        true
    }

    async fn finish(&self, object: &Object, request: &Request<'_>) -> Result<Object> {
        let spec: InstanceGroupSpec = request.resource.spec()?;
        if let Some(check) = &spec.health_check {
            self.0.check_health(&object.id, check, request).await?;
        }
        Ok(object.clone())
    }

    async fn delete(&self, id: &str) -> Result<()> {
        let client = &self.0.client;
        // The template goes last: as long as it is there, the group is listed with all that it may still have.
        self.0.uncheck(id, &[]).await?;
        // What is removed may be the template of a group that was never made.
        let groups = client.auto_scaling_groups(Some(id)).await?;
        if groups.iter().any(|group| !group.status.starts_with("Delete")) {
            self.0.remove(|| client.delete_auto_scaling_group(id)).await?;
        }
        let awaiting = self.0.awaited.groups.awaiting(id);
        let gone = || async { Ok(self.0.recent_group(&awaiting, id).await?.is_none().then_some(())) };
        self.0.settle(&format!("the end of the group `{id}`"), gone).await?;
        if let Some(template) = self.template(id).await? {
            let id = template.launch_template_id;
            self.0.remove(|| client.delete_launch_template().launch_template_id(&id).send()).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{TemplateData, points_elsewhere};

    #[test]
    fn a_template_that_names_what_was_created_again_is_written_again() {
        let present: TemplateData = serde_json::from_value(json!({
            "instanceType": "t3.small",
            "networkInterfaceSet": [{ "groupSet": ["sg-network", "sg-ports"] }],
            "iamInstanceProfile": { "name": "infra-role" },
        }))
        .unwrap();
        let wanted = |groups: &[&str], profile: Option<&str>| {
            let mut data = json!({ "NetworkInterface": [{ "SecurityGroupId": groups }] });
            if let Some(profile) = profile {
                data["IamInstanceProfile"] = json!({ "Name": profile });
            }
            data
        };
        let role = Some("infra-role");
        // The order of groups means nothing.
        assert!(!points_elsewhere(&present, &wanted(&["sg-ports", "sg-network"], role)));
        assert!(points_elsewhere(&present, &wanted(&["sg-network", "sg-ports-again"], role)), "it was created again");
        assert!(points_elsewhere(&present, &wanted(&["sg-network"], role)), "its ports are closed");
        assert!(points_elsewhere(&present, &wanted(&["sg-network", "sg-ports"], Some("infra-other"))));
        assert!(points_elsewhere(&present, &wanted(&["sg-network", "sg-ports"], None)), "it has no account any more");
        assert!(!points_elsewhere(&TemplateData::default(), &json!({})));
    }
}
