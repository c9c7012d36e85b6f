//! Network load balancers, each with a target group for each of its ports.

use std::collections::BTreeSet;

use async_trait::async_trait;
use serde_json::Value;
use tokio::sync::OnceCell;

use super::{
    Account, Driver, Health, Object, PART, POLL, PREFIX, READY, Request, dns::ALIAS_ZONE, explain, if_there, needed,
    not_made, object, rested, unique_name,
};
use crate::{
    cloud::aws::{
        AwsError,
        ec2::{Tag, Tags},
        elb::{Action, Listener, LoadBalancer, TagDescription, TargetGroup},
    },
    error::{Error, Result},
    name::Name,
    resource::{Address, KindName, LoadBalancerSpec},
};

/// The part of a balancer that is a target group.
const GROUP_PART: &str = "target-group";

/// The balancers and the target groups of the account: listed once for all that look at them.
#[derive(Default)]
pub(super) struct Balancing(OnceCell<(Vec<LoadBalancer>, Vec<TargetGroup>)>);

impl Balancing {
    pub(super) async fn of(&self, account: &Account) -> Result<&(Vec<LoadBalancer>, Vec<TargetGroup>)> {
        let ask = async || Ok(tokio::try_join!(account.client.load_balancers(), account.client.target_groups())?);
        self.0.get_or_try_init(ask).await
    }
}

/// Load balancers.
pub(super) struct LoadBalancerDriver(pub(super) Account);

/// A balancer as its tags and its state show it.
fn describe(one: &LoadBalancer, tags: &[Tag]) -> Option<Object> {
    let mut object = object(tags, KindName::LOAD_BALANCER, &one.load_balancer_arn, &one.created_time)?;
    match one.state.code.as_str() {
        "failed" => object.health = Health::Broken,
        "provisioning" if object.health == Health::Ready => object.health = Health::Transient,
        "active_impaired" if object.health == Health::Ready => object.health = Health::Unhealthy,
        _ => {}
    }
    object.attributes.insert("public_address".to_owned(), one.d_n_s_name.as_str().into());
    object.attributes.insert(ALIAS_ZONE.to_owned(), one.canonical_hosted_zone_id.as_str().into());
    Some(object)
}

/// Whether a listener leads to a group and nowhere else.
fn forwards(listener: &Listener, group: &str) -> bool {
    let to = |action: &Action| action.r#type == "forward" && action.target_group_arn == group;
    listener.protocol == "TCP" && !listener.default_actions.is_empty() && listener.default_actions.iter().all(to)
}

/// The ports that a balancer listens on as its specification has them; in words when they do not lead to the same port of machines
/// that are asked whether they answer.
fn shown(listeners: &[Listener], groups: &[TargetGroup]) -> Value {
    let mut ports: Vec<(Option<u16>, Value)> = listeners
        .iter()
        .map(|listener| {
            let of_port =
                |group: &&TargetGroup| group.port == listener.port && forwards(listener, &group.target_group_arn);
            match (groups.iter().find(of_port), listener.port.parse::<u16>().ok()) {
                (Some(group), Some(port)) if group.is_checked() => (Some(port), port.into()),
                (Some(_), _) => (None, format!("{}, with another health check", listener.port).into()),
                (None, _) => (None, format!("{}, leading elsewhere", listener.port).into()),
            }
        })
        .collect();
    ports.sort_by_key(|(port, _)| (port.is_none(), *port));
    ports.into_iter().map(|(_, port)| port).collect()
}

/// The machines of all groups; one that is in some of them only is told by another name.
fn pointed(groups: &[Vec<String>]) -> BTreeSet<String> {
    let everywhere = |id: &String| groups.iter().all(|group| group.contains(id));
    let name = |id: &String| if everywhere(id) { id.clone() } else { format!("{id} (for some ports)") };
    groups.iter().flatten().map(name).collect()
}

/// Whether a target group is a part of a balancer: its name begins with the balancer's. Someone may have added others, which are
/// theirs.
fn is_part(group: &TargetGroup, balancer: &str) -> bool {
    let name = balancer.rsplit('/').nth(1).unwrap_or_default();
    let ours = group.target_group_name.strip_prefix(name).is_some_and(|port| port.starts_with('-'));
    ours && group.load_balancer_arns.iter().any(|arn| arn == balancer)
}

fn tags_of<'a>(all: &'a [TagDescription], arn: &str) -> &'a [Tag] {
    all.iter().find(|one| one.resource_arn == arn).map_or(&[], |one| one.tags.as_slice())
}

/// The ids of the machines that are balanced.
fn members<'a>(request: &'a Request<'_>) -> Result<Vec<&'a str>> {
    let spec: LoadBalancerSpec = request.resource.spec()?;
    let machine = |member: &Name| needed(request, &Address::vm(member)).map(|machine| machine.id.as_str());
    spec.members.iter().map(machine).collect()
}

/// The objects of a kind that a request needs.
fn of<'a>(request: &'a Request<'_>, kind: KindName) -> impl Iterator<Item = &'a Object> {
    request.needs.iter().filter(move |(address, _)| address.kind == kind).map(|(_, need)| need)
}

impl LoadBalancerDriver {
    /// Makes the ports of a balancer, and their target groups, those that are wanted. Their names are made of the balancer's token.
    async fn settle(&self, balancer: &str, token: &str, request: &Request<'_>) -> Result<()> {
        let spec: LoadBalancerSpec = request.resource.spec()?;
        let (client, wrong) = (&self.0.client, |error| explain(error, request.resource));
        let network = of(request, KindName::NETWORK).next().ok_or_else(|| Error::new("the balancer has no network"))?;
        let machines = members(request)?;
        let mut tags = Account::tags(&Request { token, ..request.clone() });
        tags.insert(PART.to_owned(), GROUP_PART.to_owned());
        let present = self.groups_of(balancer).await?;
        let listeners = client.listeners(balancer).await.map_err(wrong)?;
        let mut kept = Vec::new();
        for port in &spec.ports {
            let name = unique_name(token, Some(*port));
            let there = present.iter().find(|group| group.target_group_name == name);
            let group = match there {
                Some(group) => group.target_group_arn.clone(),
                None => client.create_target_group(&name, *port, &network.id, &tags).await.map_err(wrong)?,
            };
            if there.is_some_and(|group| !group.is_checked()) {
                client.restore_health_check(&group).await.map_err(wrong)?;
            }
            self.fill(&group, &machines).await?;
            match listeners.iter().find(|listener| listener.port == port.to_string()) {
                Some(listener) if !forwards(listener, &group) => {
                    client.modify_listener(&listener.listener_arn, &group).await.map_err(wrong)?;
                }
                Some(_) => {}
                None => match client.create_listener(balancer, *port, &group).await {
                    Err(error) if error.code() != "DuplicateListener" => return Err(wrong(error)),
                    _ => {}
                },
            }
            kept.push(group);
        }
        let wanted = |listener: &&Listener| spec.ports.iter().any(|port| listener.port == port.to_string());
        for listener in listeners.iter().filter(|listener| !wanted(listener)) {
            self.0.remove(|| client.delete_listener(&listener.listener_arn)).await?;
        }
        for group in present.iter().filter(|group| !kept.contains(&group.target_group_arn)) {
            self.0.remove(|| client.delete_target_group(&group.target_group_arn)).await?;
        }
        Ok(())
    }

    /// A balancer with its ports, and the tag that says so.
    async fn complete(&self, balancer: &str, request: &Request<'_>) -> Result<Object> {
        self.settle(balancer, request.token, request).await?;
        self.at_rest(balancer).await?;
        self.0.client.tag_balancing(balancer, &Tags::from([(READY.to_owned(), "yes".to_owned())])).await?;
        self.0.made(self, request).await
    }

    /// A balancer that works. One that does not show yet was made just now.
    async fn at_rest(&self, balancer: &str) -> Result<LoadBalancer> {
        let awaiting = self.0.awaited.balancers.awaiting(balancer);
        let look = || async {
            let all = awaiting.recent(POLL, async |_| self.0.client.load_balancers().await).await?;
            let found = all.iter().find(|one| one.load_balancer_arn == balancer).cloned();
            let Some(found) = found else { return Ok(None) };
            match found.state.code.as_str() {
                "provisioning" => Ok(None),
                // That is how it ends: another one is created next time.
                "failed" => {
                    let message =
                        format!("aws: the balancer `{}` has failed: {}", found.load_balancer_name, found.state.reason);
                    Err(Error::new(message).settled())
                }
                _ => Ok(Some(found)),
            }
        };
        self.0.settle("the balancer", look).await
    }

    /// A balancer is in the subnets of its machines; it stays in those that it has.
    async fn reach(&self, balancer: &str, request: &Request<'_>) -> Result<(), AwsError> {
        let wanted: Vec<&str> = of(request, KindName::SUBNET).map(|subnet| subnet.id.as_str()).collect();
        let all = self.0.client.load_balancers().await?;
        let there = all.iter().find(|one| one.load_balancer_arn == balancer);
        let there = there.map_or(&[][..], |one| &one.availability_zones);
        let mut all: Vec<&str> = there.iter().map(|zone| zone.subnet_id.as_str()).collect();
        let missing: Vec<&str> = wanted.into_iter().filter(|subnet| !all.contains(subnet)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        all.extend(missing);
        self.0.client.set_subnets(balancer, &all).await
    }

    async fn groups_of(&self, balancer: &str) -> Result<Vec<TargetGroup>> {
        let mut groups = self.0.client.target_groups().await?;
        groups.retain(|group| is_part(group, balancer));
        Ok(groups)
    }

    /// Makes the machines of a group those that are wanted.
    async fn fill(&self, group: &str, wanted: &[&str]) -> Result<()> {
        let present = self.0.client.targets(group).await?;
        let missing: Vec<&str> =
            wanted.iter().filter(|id| !present.iter().any(|there| there == *id)).copied().collect();
        self.0.client.register_targets(group, &missing).await?;
        let surplus: Vec<&str> = present.iter().map(String::as_str).filter(|id| !wanted.contains(id)).collect();
        self.0.client.deregister_targets(group, &surplus).await?;
        Ok(())
    }
}

impl LoadBalancerDriver {
    /// Those of an environment, or of all.
    pub(super) async fn seen(&self, balancing: &Balancing, environment: Option<&Name>) -> Result<Vec<Object>> {
        let client = &self.0.client;
        let (balancers, all) = balancing.of(&self.0).await?;
        let balancers: Vec<&LoadBalancer> =
            balancers.iter().filter(|one| one.load_balancer_name.starts_with(PREFIX)).collect();
        // Groups of balancers go with them; one without was left behind.
        let is_lonely =
            |one: &&TargetGroup| one.target_group_name.starts_with(PREFIX) && one.load_balancer_arns.is_empty();
        let groups: Vec<&TargetGroup> = all.iter().filter(is_lonely).collect();
        let arns: Vec<&str> = balancers.iter().map(|one| one.load_balancer_arn.as_str()).collect();
        let lonely: Vec<&str> = groups.iter().map(|one| one.target_group_arn.as_str()).collect();
        let tags = client.balancing_tags(&[arns, lonely].concat()).await?;
        let kind = KindName::LOAD_BALANCER;
        let ours = |object: &Object| environment.is_none_or(|name| object.environment == name.as_str());
        let found = balancers.iter().filter_map(|one| describe(one, tags_of(&tags, &one.load_balancer_arn)));
        let listened = found.filter(ours).map(async |mut object| {
            let Some(listeners) = if_there(client.listeners(&object.id).await)? else { return Ok(None) };
            object.actual.insert("ports".to_owned(), shown(&listeners, all));
            let own = all.iter().filter(|group| is_part(group, &object.id));
            let own = own.map(async |group| if_there(client.targets(&group.target_group_arn).await));
            let targets = futures::future::try_join_all(own).await?;
            object.links = Some(pointed(&targets.into_iter().flatten().collect::<Vec<_>>()));
            Ok::<_, Error>(Some(object))
        });
        let made = futures::future::try_join_all(listened).await?.into_iter().flatten();
        let left = groups.iter().filter_map(|one| {
            let tags = tags_of(&tags, &one.target_group_arn);
            let object = object(tags, kind, &one.target_group_arn, "")?;
            Some(Object { health: Health::Broken, ..object })
        });
        Ok(made.chain(left.filter(ours)).collect())
    }
}

#[async_trait]
impl Driver for LoadBalancerDriver {
    async fn list(&self, environment: Option<&Name>) -> Result<Vec<Object>> {
        self.seen(&Balancing::default(), environment).await
    }

    async fn create(&self, request: &Request<'_>) -> Result<Object> {
        let subnets: Vec<&str> = of(request, KindName::SUBNET).map(|subnet| subnet.id.as_str()).collect();
        let tags = Account::tags(request);
        let name = unique_name(request.token, None);
        let balancer = self.0.client.create_load_balancer(&name, "internet-facing", &subnets, &tags).await;
        let balancer = balancer.map_err(|error| not_made(error, request.resource))?;
        self.complete(&balancer, request).await
    }

    async fn resume(&self, object: &Object, request: &Request<'_>) -> Result<Object> {
        self.complete(&object.id, request).await
    }

    async fn settled(&self, object: &Object) -> Result<Object> {
        let now = self.at_rest(&object.id).await?;
        let tags = self.0.client.balancing_tags(&[&object.id]).await?;
        rested(object, describe(&now, tags_of(&tags, &object.id)))
    }

    async fn update(&self, object: &Object, request: &Request<'_>) -> Result<Object> {
        self.reach(&object.id, request).await.map_err(|error| explain(error, request.resource))?;
        self.settle(&object.id, &object.token, request).await?;
        Ok(object.clone())
    }

    async fn delete(&self, id: &str) -> Result<()> {
        let client = &self.0.client;
        let mut groups = vec![id.to_owned()];
        if id.contains(":loadbalancer/") {
            groups = self.groups_of(id).await?.into_iter().map(|group| group.target_group_arn).collect();
            self.0.remove(|| client.delete_load_balancer(id)).await?;
        }
        for group in groups {
            self.0.remove(|| client.delete_target_group(&group)).await?;
        }
        Ok(())
    }
}
