//! Network load balancers, each with the target group that names its machines.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};

use super::{
    Account, Driver, Health, LABEL_KIND, LABEL_TOKEN, Object, Request, explain, needed, object, object_name,
    wait::{Asked, until},
};
use crate::{
    cloud::yandex::{Instance, LoadBalancer, TargetGroup},
    error::{Error, Result},
    name::Name,
    resource::{Address, KindName, LoadBalancerSpec},
};

/// The kind in the label of a target group: it is a part of its balancer, no resource of its own.
const TARGET_GROUP: &str = "target_group";

/// How long a balancer may take to come to rest.
const SETTLE: Duration = Duration::from_mins(5);

/// Load balancers.
pub(super) struct LoadBalancerDriver(pub(super) Account);

fn listeners(spec: &LoadBalancerSpec) -> Vec<Value> {
    let listener = |port: &u16| {
        json!({
            "name": format!("tcp-{port}"), "port": port.to_string(), "targetPort": port.to_string(), "protocol": "TCP",
            "externalAddressSpec": { "ipVersion": "IPV4" },
        })
    };
    spec.ports.iter().map(listener).collect()
}

fn attached(group: &str, spec: &LoadBalancerSpec) -> Vec<Value> {
    let port = spec.ports.first().copied().unwrap_or_default().to_string();
    vec![json!({
        "targetGroupId": group,
        "healthChecks": [{
            "name": "answers", "interval": "2s", "timeout": "1s", "unhealthyThreshold": "2", "healthyThreshold": "2",
            "tcpOptions": { "port": port },
        }],
    })]
}

fn show(one: &LoadBalancer, environment: Option<&Name>) -> Option<Object> {
    let mut object = object(&one.labels, KindName::LOAD_BALANCER, environment, &one.id, &one.created_at)?;
    object.health = match one.status.as_str() {
        "CREATING" | "STARTING" => Health::Transient,
        "DELETING" => Health::Leaving,
        _ => Health::Ready,
    };
    let address = one.listeners.first().map(|listener| listener.address.clone()).unwrap_or_default();
    object.attributes.insert("public_address".to_owned(), address.into());
    Some(object)
}

impl LoadBalancerDriver {
    /// The region of the zone that machines are in unless they name another one: all zones are in one region.
    fn region(&self) -> &str {
        let zone = self.0.settings.zone.as_str();
        zone.rsplit_once('-').map_or(zone, |(region, _)| region)
    }

    /// Where machines are, as a target group names them.
    async fn targets(&self, request: &Request<'_>, spec: &LoadBalancerSpec) -> Result<Vec<Value>> {
        let mut targets = Vec::new();
        for member in &spec.members {
            let instance: Instance = self.0.client.describe(&needed(request, &Address::vm(member))?.id).await?;
            targets.extend(instance.network_interfaces.first().map(
                |interface| json!({ "subnetId": interface.subnet_id, "address": interface.primary_v4_address.address }),
            ));
        }
        Ok(targets)
    }

    /// The target group of a request: the one that the same intent has made before, or a new one.
    async fn group(&self, request: &Request<'_>, spec: &LoadBalancerSpec) -> Result<String> {
        let present = self.0.client.list::<TargetGroup>(&self.0.folder).await?;
        let ours = |group: &&TargetGroup| group.labels.get(LABEL_TOKEN).is_some_and(|token| token == request.token);
        if let Some(group) = present.iter().find(ours) {
            return Ok(group.id.clone());
        }
        let mut labels = Account::labels(request);
        labels.insert(LABEL_KIND.to_owned(), TARGET_GROUP.to_owned());
        let name = object_name(request);
        let call = self.0.client.create_target_group().folder_id(&self.0.folder).name(&name).labels(&labels);
        let call = call.region_id(self.region()).targets(self.targets(request, spec).await?);
        let made = call.send(request.token).await;
        let made = made.map_err(|error| explain(error, request.resource))?;
        Ok(made.object_id().to_owned())
    }
}

#[async_trait]
impl Driver for LoadBalancerDriver {
    async fn list(&self, environment: Option<&Name>) -> Result<Vec<Object>> {
        let (client, folder) = (&self.0.client, &self.0.folder);
        let (balancers, groups) =
            tokio::try_join!(client.list::<LoadBalancer>(folder), client.list::<TargetGroup>(folder))?;
        let kind = KindName::LOAD_BALANCER;
        let mut objects: Vec<Object> = balancers.iter().filter_map(|one| show(one, environment)).collect();
        // A group whose balancer was never made, or is gone already.
        let lonely = groups.iter().filter(|group| {
            let used = balancers.iter().flat_map(|one| &one.attached_target_groups);
            group.labels.get(LABEL_KIND).is_some_and(|kind| kind == TARGET_GROUP)
                && !used.into_iter().any(|used| used.target_group_id == group.id)
        });
        objects.extend(lonely.filter_map(|group| {
            let mut labels = group.labels.clone();
            labels.insert(LABEL_KIND.to_owned(), kind.as_str().to_owned());
            let object = object(&labels, kind, environment, &group.id, &group.created_at)?;
            Some(Object { health: Health::Broken, ..object })
        }));
        Ok(objects)
    }

    async fn read(&self, id: &str) -> Result<Option<Object>> {
        Ok(self.0.found::<LoadBalancer>(id).await?.and_then(|one| show(&one, None)))
    }

    async fn settled(&self, object: &Object) -> Result<Object> {
        until(&format!("`{}`", object.address), SETTLE, async || {
            let found = self.0.found::<LoadBalancer>(&object.id).await?;
            let found = found.ok_or_else(|| Error::new(format!("yandex: `{}` is gone", object.address)))?;
            Ok(match show(&found, None) {
                Some(shown) if shown.health != Health::Transient => Asked::Done(shown),
                _ => Asked::NotYet(found.status),
            })
        })
        .await
    }

    async fn create(&self, request: &Request<'_>) -> Result<Object> {
        let spec: LoadBalancerSpec = request.resource.spec()?;
        let group = self.group(request, &spec).await?;
        let name = object_name(request);
        let labels = Account::labels(request);
        let call = self.0.client.create_load_balancer().folder_id(&self.0.folder).name(&name).labels(&labels);
        let call = call.region_id(self.region()).r#type("EXTERNAL").listener_specs(listeners(&spec));
        let call = call.attached_target_groups(attached(&group, &spec));
        self.0.create(self, request, call.send(request.token)).await
    }

    async fn update(&self, object: &Object, request: &Request<'_>) -> Result<Object> {
        let spec: LoadBalancerSpec = request.resource.spec()?;
        let wrong = |error| explain(error, request.resource);
        let client = &self.0.client;
        let balancer: LoadBalancer = client.describe(&object.id).await?;
        let group = balancer.attached_target_groups.first().map(|group| group.target_group_id.clone());
        let group = group.ok_or_else(|| Error::new("yandex: the balancer has no target group"))?;
        let call = client.update_target_group(&group).targets(self.targets(request, &spec).await?);
        call.send(request.token).await.map_err(wrong)?;
        let call = client.update_load_balancer(&object.id).listener_specs(listeners(&spec));
        let call = call.attached_target_groups(attached(&group, &spec));
        call.send(request.token).await.map_err(wrong)?;
        Ok(object.clone())
    }

    async fn delete(&self, id: &str) -> Result<()> {
        let client = &self.0.client;
        let groups = match client.describe::<LoadBalancer>(id).await {
            Ok(balancer) => balancer.attached_target_groups.into_iter().map(|group| group.target_group_id).collect(),
            // What is removed may be the target group of a balancer that was never made.
            Err(error) if error.is_not_found() => vec![id.to_owned()],
            Err(error) => return Err(error.into()),
        };
        self.0.remove(|| client.delete_load_balancer(id).send(id)).await?;
        for group in groups {
            self.0.remove(|| client.delete_target_group(&group).send(&group)).await?;
        }
        Ok(())
    }
}
