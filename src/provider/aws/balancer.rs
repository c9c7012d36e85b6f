//! Network load balancers, each with a target group for each of its ports.

use async_trait::async_trait;

use super::{Account, Driver, Health, Object, PART, PREFIX, READY, Request, explain, needed, object, unique_name};
use crate::{
    cloud::aws::{
        ec2::{Tag, Tags},
        elb::{TagDescription, TargetGroup},
    },
    error::{Error, Result},
    name::Name,
    resource::{Address, KindName, LoadBalancerSpec},
};

/// The part of a balancer that is a target group.
const GROUP_PART: &str = "target-group";

/// Load balancers.
pub(super) struct LoadBalancerDriver(pub(super) Account);

fn tags_of<'a>(all: &'a [TagDescription], arn: &str) -> &'a [Tag] {
    all.iter().find(|one| one.resource_arn == arn).map_or(&[], |one| one.tags.as_slice())
}

/// The ids of the machines that are balanced.
fn members<'a>(request: &'a Request<'_>) -> Result<Vec<&'a str>> {
    let spec: LoadBalancerSpec = request.resource.spec()?;
    let machine = |member: &Name| needed(request, &Address::vm(member)).map(|machine| machine.id.as_str());
    spec.members.iter().map(machine).collect()
}

impl LoadBalancerDriver {
    async fn groups_of(&self, balancer: &str) -> Result<Vec<TargetGroup>> {
        let mut groups = self.0.client.target_groups().await?;
        groups.retain(|group| group.load_balancer_arns.iter().any(|arn| arn == balancer));
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

#[async_trait]
impl Driver for LoadBalancerDriver {
    async fn list(&self, environment: Option<&Name>) -> Result<Vec<Object>> {
        let client = &self.0.client;
        let (mut balancers, mut groups) = tokio::try_join!(client.load_balancers(), client.target_groups())?;
        balancers.retain(|one| one.load_balancer_name.starts_with(PREFIX));
        // Groups of balancers go with them; one without was left behind.
        groups.retain(|one| one.target_group_name.starts_with(PREFIX) && one.load_balancer_arns.is_empty());
        let arns: Vec<&str> = balancers.iter().map(|one| one.load_balancer_arn.as_str()).collect();
        let lonely: Vec<&str> = groups.iter().map(|one| one.target_group_arn.as_str()).collect();
        let tags = client.balancing_tags(&[arns, lonely].concat()).await?;
        let kind = KindName::LOAD_BALANCER;
        let made = balancers.iter().filter_map(|one| {
            let tags = tags_of(&tags, &one.load_balancer_arn);
            let mut object = object(tags, kind, &one.load_balancer_arn, &one.created_time)?;
            object.attributes.insert("public_address".to_owned(), one.d_n_s_name.as_str().into());
            Some(object)
        });
        let left = groups.iter().filter_map(|one| {
            let tags = tags_of(&tags, &one.target_group_arn);
            let object = object(tags, kind, &one.target_group_arn, "")?;
            Some(Object { health: Health::Broken, ..object })
        });
        let ours = |object: &Object| environment.is_none_or(|name| object.environment == name.as_str());
        Ok(made.chain(left).filter(ours).collect())
    }

    async fn create(&self, request: &Request<'_>) -> Result<Object> {
        let spec: LoadBalancerSpec = request.resource.spec()?;
        let wrong = |error| explain(error, request.resource);
        let client = &self.0.client;
        let of = |kind: KindName| {
            request.needs.iter().filter(move |(address, _)| address.kind == kind).map(|(_, need)| need)
        };
        let network = of(KindName::NETWORK).next().ok_or_else(|| Error::new("the balancer has no network"))?;
        let subnets: Vec<&str> = of(KindName::SUBNET).map(|subnet| subnet.id.as_str()).collect();
        let machines = members(request)?;
        let tags = Account::tags(request);
        let mut group_tags = tags.clone();
        group_tags.insert(PART.to_owned(), GROUP_PART.to_owned());
        let name = unique_name(request.token, None);
        let balancer = client.create_load_balancer(&name, &subnets, &tags).await.map_err(wrong)?;
        for port in &spec.ports {
            let name = unique_name(request.token, Some(*port));
            let group = client.create_target_group(&name, *port, &network.id, &group_tags).await.map_err(wrong)?;
            self.fill(&group, &machines).await?;
            match client.create_listener(&balancer, *port, &group).await {
                Err(error) if error.code() != "DuplicateListener" => return Err(wrong(error)),
                _ => {}
            }
        }
        let active = self.0.settle("the balancer", || async {
            let all = client.load_balancers().await?;
            let state = all.into_iter().find(|one| one.load_balancer_arn == balancer).map(|one| one.state.code);
            Ok(state.filter(|state| state == "active").map(drop))
        });
        active.await?;
        client.tag_balancing(&balancer, &Tags::from([(READY.to_owned(), "yes".to_owned())])).await?;
        self.0.made(self, request).await
    }

    async fn update(&self, object: &Object, request: &Request<'_>) -> Result<Object> {
        let machines = members(request)?;
        for group in self.groups_of(&object.id).await? {
            self.fill(&group.target_group_arn, &machines).await?;
        }
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
