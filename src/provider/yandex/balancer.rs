//! Network load balancers, each with the target group that names its machines.

use std::{collections::BTreeSet, time::Duration};

use async_trait::async_trait;
use serde_json::{Map, Value, json};

use super::{
    LABEL_KIND, LABEL_NAME,
    account::{Account, explain, needed, object, object_name},
    observe::Around,
    wait::Asked,
};
use crate::{
    cloud::yandex::{Instance, LoadBalancer, TargetGroup},
    error::{Error, Result},
    name::Name,
    provider::{Driver, Health, LABEL_ENV, LABEL_PROJECT, Object, Request},
    resource::{Address, KindName, LoadBalancerSpec},
};

/// The kind in the label of a target group: it is a part of its balancer, no resource of its own.
const TARGET_GROUP: &str = "target_group";
/// How long a balancer may take to come to rest.
const SETTLE: Duration = Duration::from_mins(5);

/// Load balancers.
pub(super) struct LoadBalancerDriver(pub(super) Account);

/// The listeners of a balancer at its address.
fn listeners(spec: &LoadBalancerSpec, address: &str) -> Vec<Value> {
    let listener = |port: &u16| {
        json!({
            "name": format!("tcp-{port}"), "port": port.to_string(), "targetPort": port.to_string(), "protocol": "TCP",
            "externalAddressSpec": { "ipVersion": "IPV4", "address": address },
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

/// The ports of a balancer, the one that machines are asked on first. What is not as we make it shows as a text.
fn ports(one: &LoadBalancer) -> Vec<Value> {
    let asked = one.attached_target_groups.first().and_then(|group| {
        let check = group.health_checks.first()?;
        let port = &check.get("tcpOptions")?["port"];
        port.as_u64().or_else(|| port.as_str()?.parse().ok())
    });
    let mut ports: Vec<Value> = one
        .listeners
        .iter()
        .map(|listener| match listener.port.parse::<u64>() {
            Ok(port) if listener.target_port == listener.port && listener.protocol == "TCP" => port.into(),
            _ => format!("{} {} to {}", listener.protocol, listener.port, listener.target_port).into(),
        })
        .collect();
    ports.sort_by_key(|port| (port.as_u64() != asked, port.as_u64()));
    if !ports.iter().any(|port| port.as_u64() == asked) {
        ports.insert(0, asked.map_or_else(|| "no TCP check".into(), |port| format!("checked on {port}").into()));
    }
    ports
}

/// The object of a balancer, with the machines that it points to where these are known.
pub(super) fn show(one: &LoadBalancer, around: Option<&Around<'_>>, environment: Option<&Name>) -> Option<Object> {
    let mut object = object(&one.labels, KindName::LOAD_BALANCER, environment, &one.id, &one.created_at)?;
    object.health = match one.status.as_str() {
        "CREATING" | "STARTING" => Health::Transient,
        "STOPPED" | "STOPPING" => Health::Stopped,
        "DELETING" => Health::Leaving,
        _ => Health::Ready,
    };
    let address = one.listeners.first().map(|listener| listener.address.clone()).unwrap_or_default();
    object.attributes.insert("public_address".to_owned(), address.into());
    object.actual.insert("ports".to_owned(), ports(one).into());
    if let Some(around) = around {
        let mut links = BTreeSet::new();
        for attached in &one.attached_target_groups {
            let group = around.target_groups.iter().find(|group| group.id == attached.target_group_id);
            match group.filter(|group| group.labels.get(LABEL_KIND).is_some_and(|kind| kind == TARGET_GROUP)) {
                Some(group) => links.extend(group.targets.iter().map(|target| {
                    let at = |machine: &&Instance| {
                        let mut interfaces = machine.network_interfaces.iter();
                        interfaces.any(|one| {
                            one.subnet_id == target.subnet_id && one.primary_v4_address.address == target.address
                        })
                    };
                    around.machines.iter().find(at).map_or(&target.address, |machine| &machine.id).clone()
                })),
                None => drop(links.insert(attached.target_group_id.clone())),
            }
        }
        links.extend(one.listeners.iter().flat_map(|listener| around.reserved(&listener.address)));
        object.links = Some(links);
    }
    Some(object)
}

/// The order of ports means nothing but which one is asked.
fn compare(spec: &Map<String, Value>, object: &mut Object) {
    let Some(wanted) = spec.get("ports").and_then(Value::as_array) else { return };
    let Some(seen) = object.actual.get("ports").and_then(Value::as_array) else { return };
    let same =
        wanted.len() == seen.len() && wanted.first() == seen.first() && wanted.iter().all(|port| seen.contains(port));
    if same {
        object.actual.insert("ports".to_owned(), wanted.clone().into());
    }
}

/// Target groups whose balancer was never made, or is gone already.
pub(super) fn lonely<'a>(
    groups: &'a [TargetGroup], balancers: &'a [LoadBalancer], environment: Option<&'a Name>,
) -> impl Iterator<Item = Object> + 'a {
    let is_lonely = |group: &&TargetGroup| {
        let used = balancers.iter().flat_map(|one| &one.attached_target_groups);
        group.labels.get(LABEL_KIND).is_some_and(|kind| kind == TARGET_GROUP)
            && !used.into_iter().any(|used| used.target_group_id == group.id)
    };
    groups.iter().filter(is_lonely).filter_map(move |group| {
        let mut labels = group.labels.clone();
        labels.insert(LABEL_KIND.to_owned(), KindName::LOAD_BALANCER.as_str().to_owned());
        let object = object(&labels, KindName::LOAD_BALANCER, environment, &group.id, &group.created_at)?;
        Some(Object { health: Health::Broken, ..object })
    })
}

impl LoadBalancerDriver {
    /// The region of the zone that machines are in unless they name another one: all zones are in one region.
    fn region(&self) -> &str {
        let zone = self.0.settings.zone.as_str();
        zone.rsplit_once('-').map_or(zone, |(region, _)| region)
    }

    /// The address that the listeners are to have: what else has it now gives it away.
    async fn address(&self, request: &Request<'_>, balancer: &str) -> Result<String> {
        let address = request.need(KindName::ADDRESS).ok_or_else(|| Error::new("the balancer has no address"))?;
        let freed = self.0.free(&address.id, balancer, request.token).await;
        freed.map_err(|error| explain(error, request.resource))?;
        Ok(address.attribute("public_address").unwrap_or_default().to_owned())
    }

    /// Where machines are, as a target group names them.
    async fn targets(&self, request: &Request<'_>, spec: &LoadBalancerSpec) -> Result<Vec<Value>> {
        let machines = spec.members.iter().map(async |member| {
            let machine = &needed(request, &Address::vm(member))?.id;
            let instance: Instance = self.0.client.describe(machine).await?;
            Ok::<_, Error>(instance.network_interfaces.into_iter().next())
        });
        let interfaces = futures::future::try_join_all(machines).await?;
        let target = |interface: crate::cloud::yandex::NetworkInterface| json!({ "subnetId": interface.subnet_id, "address": interface.primary_v4_address.address });
        Ok(interfaces.into_iter().flatten().map(target).collect())
    }

    /// The target group of a request: the one that is there, or a new one.
    async fn group(&self, request: &Request<'_>, spec: &LoadBalancerSpec) -> Result<String> {
        let mut labels = Account::labels(request);
        labels.insert(LABEL_KIND.to_owned(), TARGET_GROUP.to_owned());
        let present = self.0.client.list::<TargetGroup>(&self.0.folder).await?;
        let ours = |group: &&TargetGroup| {
            let same = |label: &str| group.labels.get(label) == labels.get(label);
            [LABEL_ENV, LABEL_KIND, LABEL_NAME, LABEL_PROJECT].into_iter().all(same)
        };
        let wrong = |error| explain(error, request.resource);
        let targets = self.targets(request, spec).await?;
        if let Some(group) = present.iter().find(ours) {
            let there: Vec<Value> = (group.targets.iter())
                .map(|target| json!({ "subnetId": target.subnet_id, "address": target.address }))
                .collect();
            if there.len() != targets.len() || !targets.iter().all(|target| there.contains(target)) {
                let call = self.0.client.update_target_group(&group.id).targets(targets);
                call.send(request.token).await.map_err(wrong)?;
            }
            return Ok(group.id.clone());
        }
        let name = object_name(request);
        let call = self.0.client.create_target_group().folder_id(&self.0.folder).name(&name).labels(&labels);
        let made = call.region_id(self.region()).targets(targets).send(request.token).await.map_err(wrong)?;
        Ok(made.object_id().to_owned())
    }
}

#[async_trait]
impl Driver for LoadBalancerDriver {
    fn compare(&self, spec: &Map<String, Value>, _attributes: &Map<String, Value>, object: &mut Object) {
        compare(spec, object);
    }

    async fn list(&self, environment: Option<&Name>) -> Result<Vec<Object>> {
        let (client, folder) = (&self.0.client, &self.0.folder);
        let (balancers, groups) =
            tokio::try_join!(client.list::<LoadBalancer>(folder), client.list::<TargetGroup>(folder))?;
        let mut objects: Vec<Object> = balancers.iter().filter_map(|one| show(one, None, environment)).collect();
        objects.extend(lonely(&groups, &balancers, environment));
        Ok(objects)
    }

    async fn read(&self, id: &str) -> Result<Option<Object>> {
        Ok(self.0.found::<LoadBalancer>(id).await?.and_then(|one| show(&one, None, None)))
    }

    async fn settled(&self, object: &Object) -> Result<Object> {
        let look = async |found: LoadBalancer| {
            Ok(match show(&found, None, None) {
                Some(shown) if shown.health != Health::Transient => Asked::Done(shown),
                _ => Asked::NotYet(found.status),
            })
        };
        self.0.until_rest(&format!("`{}`", object.address), SETTLE, &self.0.balancers, &object.id, look).await
    }

    async fn create(&self, request: &Request<'_>) -> Result<Object> {
        let spec: LoadBalancerSpec = request.resource.spec()?;
        let group = self.group(request, &spec).await?;
        let name = object_name(request);
        let labels = Account::labels(request);
        let address = self.address(request, "").await?;
        let call = self.0.client.create_load_balancer().folder_id(&self.0.folder).name(&name).labels(&labels);
        let call = call.region_id(self.region()).r#type("EXTERNAL").listener_specs(listeners(&spec, &address));
        let call = call.attached_target_groups(attached(&group, &spec));
        self.0.create(self, request, call.send(request.token)).await
    }

    async fn update(&self, object: &Object, request: &Request<'_>) -> Result<Object> {
        let spec: LoadBalancerSpec = request.resource.spec()?;
        let wrong = |error| explain(error, request.resource);
        let client = &self.0.client;
        let balancer: LoadBalancer = client.describe(&object.id).await?;
        let group = self.group(request, &spec).await?;
        let mut shown = show(&balancer, None, None).unwrap_or_else(|| object.clone());
        compare(&request.resource.spec, &mut shown);
        let groups: Vec<&str> =
            balancer.attached_target_groups.iter().map(|one| one.target_group_id.as_str()).collect();
        let address = self.address(request, &object.id).await?;
        if shown.actual.get("ports") != request.resource.spec.get("ports")
            || groups != [group.as_str()]
            || balancer.listeners.iter().any(|listener| listener.address != address)
        {
            let call = client.update_load_balancer(&object.id).listener_specs(listeners(&spec, &address));
            let call = call.attached_target_groups(attached(&group, &spec));
            call.send(request.token).await.map_err(wrong)?;
        }
        if shown.health == Health::Stopped {
            client.start_load_balancer(&object.id).send(request.token).await.map_err(wrong)?;
        }
        let found = self.read(&object.id).await?;
        found.ok_or_else(|| Error::new(format!("yandex: `{}` is gone", object.address)))
    }

    async fn delete(&self, id: &str) -> Result<()> {
        let client = &self.0.client;
        let groups = match self.0.found::<LoadBalancer>(id).await? {
            Some(balancer) => {
                self.0.remove(|| client.delete_load_balancer(id).send(id)).await?;
                balancer.attached_target_groups.into_iter().map(|group| group.target_group_id).collect()
            }
            // What is removed may be the target group of a balancer that was never made.
            None => vec![id.to_owned()],
        };
        for group in &groups {
            // Another group that was attached to it is not ours.
            let found: Option<TargetGroup> = self.0.found(group).await?;
            if found.is_some_and(|found| found.labels.get(LABEL_KIND).is_some_and(|kind| kind == TARGET_GROUP)) {
                self.0.remove(|| client.delete_target_group(group).send(group)).await?;
            }
        }
        Ok(())
    }
}
