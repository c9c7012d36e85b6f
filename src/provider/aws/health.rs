//! Whether the machines of an instance group work. Only a balancer asks machines anything in this cloud: a group with a health
//! check has one inside the network, which no one else needs to use.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Account, Health, Object, Request, balancer::Balancing, explain, group::subnets_of, if_there, tag, wait};
use crate::{
    cloud::aws::{
        autoscaling::AutoScalingGroup,
        ec2::Tags,
        elb::{TargetGroup, TargetHealthDescription},
    },
    error::{Error, Result},
    resource::{HealthCheck, InstanceGroupSpec, KindName, Resource},
};

/// The part of a group that asks its machines: the balancer and its target group.
const PART: &str = "health-check";
/// The tag of a group whose machines were healthy once they were configured.
pub(super) const CHECKED: &str = "infra-checked";
/// After how many answers a machine is healthy.
const HEALTHY: u32 = 2;

/// Whether a resource is a group that has a balancer of its own, which asks its machines.
pub(super) fn is_checked(resource: &Resource) -> bool {
    resource.address.kind == KindName::INSTANCE_GROUP
        && resource.spec::<InstanceGroupSpec>().is_ok_and(|group| group.health_check.is_some())
}

/// What shows of a health check that no group of machines has passed since it was begun.
const BEGUN: &str = "not passed yet";

/// The name of the balancer and of the target group of a group.
fn check_name(group: &str) -> String {
    format!("{group}-check")
}

/// A health check in the form of the API.
fn fields(check: &HealthCheck) -> Value {
    let mut fields = json!({
        "HealthCheckPort": check.port.to_string(), "HealthCheckProtocol": "TCP",
        "HealthCheckIntervalSeconds": check.interval, "HealthCheckTimeoutSeconds": check.timeout,
        "HealthyThresholdCount": HEALTHY, "UnhealthyThresholdCount": check.failures,
    });
    if let Some(path) = &check.path {
        fields["HealthCheckProtocol"] = "HTTP".into();
        fields["HealthCheckPath"] = path.as_str().into();
    }
    fields
}

/// The health check that a target group has; nothing when no balancer asks its machines.
fn shown(target_group: &TargetGroup, patience: &str) -> Option<HealthCheck> {
    if target_group.load_balancer_arns.is_empty() {
        return None;
    }
    let http = target_group.health_check_protocol == "HTTP";
    Some(HealthCheck {
        port: target_group.health_check_port.parse().ok()?,
        path: http.then(|| target_group.health_check_path.clone()),
        interval: target_group.health_check_interval_seconds.parse().ok()?,
        timeout: target_group.health_check_timeout_seconds.parse().ok()?,
        failures: target_group.unhealthy_threshold_count.parse().ok()?,
        patience: patience.parse().ok()?,
    })
}

/// How the machines that do not answer are, for people.
fn states(all: &[TargetHealthDescription]) -> String {
    let others = all.iter().filter(|one| one.target_health.state != "healthy");
    let state = |one: &TargetHealthDescription| {
        format!("{} is {} {}", one.target.id, one.target_health.state, one.target_health.description)
            .trim_end()
            .to_owned()
    };
    others.map(state).collect::<Vec<_>>().join("; ")
}

impl Account {
    /// What replaces a machine that runs and does not answer. Where playbooks configure machines the cloud cannot create one that
    /// works: it would replace them for ever, and all of them while something else fails. There `apply` configures it again.
    pub(super) fn judge(&self) -> &'static str {
        if self.configured { "EC2" } else { "ELB" }
    }

    /// Adds to groups what is known of their machines' health. What was begun of a health check shows too: it is paid for, and the
    /// file may ask for none any more.
    pub(super) async fn with_health(
        &self, groups: &[AutoScalingGroup], balancing: &Balancing, objects: &mut [Object],
    ) -> Result<()> {
        if objects.is_empty() {
            return Ok(());
        }
        let (balancers, target_groups) = balancing.of(self).await?;
        for object in objects.iter_mut().filter(|object| object.health != Health::Broken) {
            let Some(group) = groups.iter().find(|group| group.name == object.id) else { continue };
            let name = check_name(&group.name);
            let own = target_groups.iter().find(|one| one.target_group_name == name);
            let is_begun = own.is_some() || balancers.iter().any(|one| one.load_balancer_name == name);
            let mut seen = if is_begun { Value::from(BEGUN) } else { Value::Null };
            if let Some(own) = own.filter(|own| group.target_groups.contains(&own.target_group_arn)) {
                let targets = if_there(self.client.target_health(&own.target_group_arn).await)?.unwrap_or_default();
                if object.health == Health::Ready && targets.iter().any(|one| one.target_health.state == "unhealthy") {
                    object.health = Health::Unhealthy;
                }
                let judged = tag(&group.tags, CHECKED) == Some("yes") && group.health_check_type == self.judge();
                if let Some(check) = shown(own, &group.health_check_grace_period).filter(|_| judged) {
                    seen = serde_json::to_value(check)?;
                }
            }
            object.actual.insert("health_check".to_owned(), seen);
        }
        Ok(())
    }

    /// Whether the machines of a group go on to be judged while they are exchanged: by the check that the file asks for, which
    /// they have passed and one of them still passes, and where nothing has to be installed on new ones first.
    pub(super) async fn keeps_check(&self, group: &AutoScalingGroup, check: Option<&HealthCheck>) -> Result<bool> {
        let passed = tag(&group.tags, CHECKED) == Some("yes") && !group.target_groups.is_empty();
        let Some(check) = check.filter(|_| passed && !self.configured) else { return Ok(false) };
        let arns: Vec<&str> = group.target_groups.iter().map(String::as_str).collect();
        let found = self.client.target_groups_of(&arns).await?;
        let own = found.iter().find(|one| one.target_group_name == check_name(&group.name));
        let Some(own) = own.filter(|own| shown(own, &group.health_check_grace_period).as_ref() == Some(check)) else {
            return Ok(false);
        };
        let targets = if_there(self.client.target_health(&own.target_group_arn).await)?.unwrap_or_default();
        Ok(targets.iter().any(|one| one.target_health.state == "healthy"))
    }

    /// How many seconds a new machine has until it counts as one that works: nothing asks those that playbooks configure.
    pub(super) fn warmup(&self, check: Option<&HealthCheck>) -> u64 {
        check.filter(|_| !self.configured).map_or(0, |check| check.patience)
    }

    /// Lets the machines of a group be asked, and waits until all of them answer.
    pub(super) async fn check_health(&self, name: &str, check: &HealthCheck, request: &Request<'_>) -> Result<()> {
        let (client, wrong) = (&self.client, |error| explain(error, request.resource));
        let target_group = self.settle_check(name, check, request).await?;
        let patience = Duration::from_secs(check.patience);
        let address = &request.resource.address;
        let awaited = format!("the machines of `{address}` to be healthy");
        let awaiting = self.awaited.groups.awaiting(name);
        let healthy = wait::until(&awaited, super::POLL, patience, || async {
            let group = self.recent_group(&awaiting, name).await?;
            let group = group.ok_or_else(|| Error::new(format!("aws: the group `{name}` is gone")))?;
            let targets = client.target_health(&target_group).await?;
            let answers =
                |id: &str| targets.iter().any(|one| one.target.id == id && one.target_health.state == "healthy");
            Ok(group.instances.iter().all(|member| answers(&member.instance_id)).then_some(()))
        });
        if let Err(error) = healthy.await {
            let origin = &request.resource.origin;
            let question = match &check.path {
                Some(path) => format!("GET :{}{path}", check.port),
                None => format!("TCP :{}", check.port),
            };
            let targets = client.target_health(&target_group).await?;
            let about = format!(
                "{address} ({origin}): its machines do not pass the health check ({question}): {}",
                states(&targets)
            );
            let hint = "look at the service on one of them: `infra ssh ENV HOST`; then apply again";
            return Err(error.context(about).hint(hint));
        }
        let fields = json!({ "HealthCheckType": self.judge(), "HealthCheckGracePeriod": check.patience });
        client.update_auto_scaling_group(name, fields).await.map_err(wrong)?;
        let tags = Tags::from([(CHECKED.to_owned(), "yes".to_owned())]);
        client.tag_auto_scaling_group(name, &tags).await.map(drop).map_err(wrong)
    }

    /// The balancer that asks the machines of a group and its target group, as the check says.
    async fn settle_check(&self, name: &str, check: &HealthCheck, request: &Request<'_>) -> Result<String> {
        let (client, wrong) = (&self.client, |error| explain(error, request.resource));
        let (own, tags) = (check_name(name), Self::part_tags(request, PART));
        let network = request.need(KindName::NETWORK).ok_or_else(|| Error::new("the group has no network"))?;
        let there = client.target_groups().await.map_err(wrong)?.into_iter().find(|one| one.target_group_name == own);
        let target_group = match there {
            Some(there) => {
                if shown(&there, &check.patience.to_string()).as_ref() != Some(check) {
                    client.modify_health_check(&there.target_group_arn, fields(check)).await.map_err(wrong)?;
                }
                there.target_group_arn
            }
            None => {
                let made = client.create_checked_group(&own, check.port, &network.id, fields(check), &tags);
                made.await.map_err(wrong)?
            }
        };
        let subnets = subnets_of(request);
        let there = client.load_balancers().await.map_err(wrong)?.into_iter().find(|one| one.load_balancer_name == own);
        let balancer = match there {
            Some(there) => {
                let mut present: Vec<&str> =
                    there.availability_zones.iter().map(|zone| zone.subnet_id.as_str()).collect();
                present.sort_unstable();
                if present != subnets {
                    client.set_subnets(&there.load_balancer_arn, &subnets).await.map_err(wrong)?;
                }
                there.load_balancer_arn
            }
            None => client.create_load_balancer(&own, "internal", &subnets, &tags).await.map_err(wrong)?,
        };
        // A target group is asked for no other reason than that a listener leads to it.
        let listeners = client.listeners(&balancer).await.map_err(wrong)?;
        let leads = |arn: &str| {
            listeners.iter().any(|one| one.default_actions.iter().any(|action| action.target_group_arn == arn))
        };
        if !leads(&target_group) {
            for listener in &listeners {
                client.delete_listener(&listener.listener_arn).await.map_err(wrong)?;
            }
            client.create_listener(&balancer, check.port, &target_group).await.map_err(wrong)?;
        }
        client.attach_target_group(name, &target_group).await.map_err(wrong)?;
        let awaiting = self.awaited.balancers.awaiting(&balancer);
        self.settle(&format!("the health checks of `{}`", request.resource.address), || async {
            let all = awaiting.recent(super::POLL, async |_| client.load_balancers().await).await?;
            let state = all.iter().find(|one| one.load_balancer_arn == balancer).map(|one| one.state.code.clone());
            Ok(state.filter(|state| state == "active").map(drop))
        })
        .await?;
        Ok(target_group)
    }

    /// Removes what asks the machines of a group. "Already gone" is success.
    pub(super) async fn uncheck(&self, name: &str, attached: &[String]) -> Result<()> {
        let (client, own) = (&self.client, check_name(name));
        let (balancers, target_groups) = tokio::try_join!(client.load_balancers(), client.target_groups())?;
        for one in balancers.iter().filter(|one| one.load_balancer_name == own) {
            self.remove(|| client.delete_load_balancer(&one.load_balancer_arn)).await?;
        }
        for one in target_groups.iter().filter(|one| one.target_group_name == own) {
            if attached.contains(&one.target_group_arn) {
                client.detach_target_group(name, &one.target_group_arn).await?;
            }
            self.remove(|| client.delete_target_group(&one.target_group_arn)).await?;
        }
        Ok(())
    }
}
