//! Networks and what belongs to them.

use async_trait::async_trait;
use serde_json::{Value, json};

use super::{Account, Driver, Object, Request, explain, needed, object, object_name, unique_name};
use crate::{
    cloud::yandex::{Address, Gateway, Network, RouteTable, SecurityGroup, SecurityRule, Subnet},
    error::{Error, Result},
    name::Name,
    resource::{AddressSpec, KindName, NetworkSpec, RouteTableSpec, SecurityGroupSpec, SubnetSpec},
};

/// The world.
const ANYWHERE: &str = "0.0.0.0/0";
/// The attribute of a network: the security group that all of its machines have.
pub(super) const DEFAULT_GROUP: &str = "security_group";

/// Networks. Each has a security group of its own, which every machine is in: it lets the machines reach each other and the
/// world, and lets the world reach port 22 of machines with a public address; nothing else comes in.
pub(super) struct NetworkDriver(pub(super) Account);

fn rule(direction: &str, protocol: &str, ports: Option<u16>, cidrs: &[String]) -> Value {
    let mut rule = json!({
        "direction": direction, "protocolName": protocol, "cidrBlocks": { "v4CidrBlocks": cidrs },
    });
    if let Some(port) = ports {
        rule["ports"] = json!({ "fromPort": port.to_string(), "toPort": port.to_string() });
    }
    rule
}

fn network_rules(spec: &NetworkSpec) -> Vec<Value> {
    let anywhere = [ANYWHERE.to_owned()];
    vec![
        rule("EGRESS", "ANY", None, &anywhere),
        rule("INGRESS", "ANY", None, &spec.cidrs),
        rule("INGRESS", "TCP", Some(22), &anywhere),
    ]
}

/// The networks, each with the ranges that its own group lets in. A rule that we did not make shows among them, so that the
/// group is closed again.
fn network_objects(networks: &[Network], groups: &[SecurityGroup], environment: Option<&Name>) -> Vec<Object> {
    let describe = |network: &Network| {
        let mut object = object(&network.labels, KindName::NETWORK, environment, &network.id, &network.created_at)?;
        object.attributes.insert(DEFAULT_GROUP.to_owned(), network.default_security_group_id.as_str().into());
        if let Some(group) = groups.iter().find(|group| group.id == network.default_security_group_id) {
            let mut inward: Vec<String> = group.rules.iter().filter_map(inward_ranges).flatten().collect();
            inward.sort();
            object.actual.insert("cidrs".to_owned(), json!(inward));
        }
        Some(object)
    };
    networks.iter().filter_map(describe).collect()
}

/// What a rule lets in, beside SSH: address ranges, with the ports when it names some.
fn inward_ranges(rule: &SecurityRule) -> Option<Vec<String>> {
    if rule.direction != "INGRESS" {
        return None;
    }
    let ranges = rule.cidr_blocks.as_ref().map(|blocks| blocks.v4_cidr_blocks.clone()).unwrap_or_default();
    match &rule.ports {
        None => Some(ranges),
        Some(ports) if ports.from_port == 22 && ports.to_port == 22 && ranges == [ANYWHERE] => None,
        Some(ports) => {
            Some(ranges.iter().map(|range| format!("{range}:{}-{}", ports.from_port, ports.to_port)).collect())
        }
    }
}

/// The security groups beside those of networks.
fn group_objects(groups: &[SecurityGroup], environment: Option<&Name>) -> Vec<Object> {
    let describe = |one: &SecurityGroup| {
        let mut object = object(&one.labels, KindName::SECURITY_GROUP, environment, &one.id, &one.created_at)?;
        let mut ports: Vec<i64> = one.rules.iter().filter_map(|rule| Some(rule.ports.as_ref()?.from_port)).collect();
        ports.sort_unstable();
        object.actual.insert("ports".to_owned(), json!(ports));
        Some(object)
    };
    groups.iter().filter_map(describe).collect()
}

/// Networks and security groups: one list of the groups serves both.
pub(super) async fn networks_and_groups(account: &Account, environment: Option<&Name>) -> Result<Vec<Object>> {
    let (client, folder) = (&account.client, &account.folder);
    let (networks, groups) = tokio::try_join!(client.list::<Network>(folder), client.list::<SecurityGroup>(folder))?;
    let mut objects = network_objects(&networks, &groups, environment);
    objects.extend(group_objects(&groups, environment));
    Ok(objects)
}

impl NetworkDriver {
    async fn close(&self, group: &str, spec: &NetworkSpec, token: &str) -> Result<()> {
        let rules = network_rules(spec);
        self.0.client.update_security_group(group).rule_specs(rules).send(token).await?;
        Ok(())
    }
}

#[async_trait]
impl Driver for NetworkDriver {
    async fn list(&self, environment: Option<&Name>) -> Result<Vec<Object>> {
        let (client, folder) = (&self.0.client, &self.0.folder);
        let (networks, groups) =
            tokio::try_join!(client.list::<Network>(folder), client.list::<SecurityGroup>(folder))?;
        Ok(network_objects(&networks, &groups, environment))
    }

    async fn read(&self, id: &str) -> Result<Option<Object>> {
        let Some(network) = self.0.found::<Network>(id).await? else { return Ok(None) };
        let group: Option<SecurityGroup> = self.0.found(&network.default_security_group_id).await?;
        Ok(network_objects(&[network], &group.into_iter().collect::<Vec<_>>(), None).pop())
    }

    async fn create(&self, request: &Request<'_>) -> Result<Object> {
        let spec: NetworkSpec = request.resource.spec()?;
        let call = self.0.client.create_network();
        let labels = Account::labels(request);
        let call = call.folder_id(&self.0.folder).name(&unique_name(&spec.name, &request.owner())).labels(&labels);
        let object = self.0.create(self, request, call.send(request.token)).await?;
        // The group's first rules let everything in: they are replaced before there is a machine. After a crash in between the
        // rules do not show as wanted, and `update` replaces them.
        let group = object.attribute(DEFAULT_GROUP).unwrap_or_default().to_owned();
        self.close(&group, &spec, request.token).await?;
        Ok(object)
    }

    async fn update(&self, object: &Object, request: &Request<'_>) -> Result<Object> {
        let spec: NetworkSpec = request.resource.spec()?;
        self.close(object.attribute(DEFAULT_GROUP).unwrap_or_default(), &spec, request.token).await?;
        Ok(object.clone())
    }

    async fn delete(&self, id: &str) -> Result<()> {
        self.0.remove(|| self.0.client.delete_network(id).send(id)).await
    }
}

/// Gateways: the shared egress gateway, which lets machines without a public address reach the world.
pub(super) struct GatewayDriver(pub(super) Account);

fn show_gateway(one: &Gateway, environment: Option<&Name>) -> Option<Object> {
    object(&one.labels, KindName::GATEWAY, environment, &one.id, &one.created_at)
}

#[async_trait]
impl Driver for GatewayDriver {
    async fn list(&self, environment: Option<&Name>) -> Result<Vec<Object>> {
        let all = self.0.client.list::<Gateway>(&self.0.folder).await?;
        Ok(all.iter().filter_map(|one| show_gateway(one, environment)).collect())
    }

    async fn read(&self, id: &str) -> Result<Option<Object>> {
        Ok(self.0.found::<Gateway>(id).await?.and_then(|one| show_gateway(&one, None)))
    }

    async fn create(&self, request: &Request<'_>) -> Result<Object> {
        let name = object_name(request);
        let labels = Account::labels(request);
        let call = self.0.client.create_gateway().folder_id(&self.0.folder);
        let call = call.name(&name).labels(&labels).shared_egress_gateway_spec(json!({}));
        self.0.create(self, request, call.send(request.token)).await
    }

    async fn delete(&self, id: &str) -> Result<()> {
        self.0.remove(|| self.0.client.delete_gateway(id).send(id)).await
    }
}

/// Route tables: everything goes through the gateway.
pub(super) struct RouteTableDriver(pub(super) Account);

fn show_table(one: &RouteTable, environment: Option<&Name>) -> Option<Object> {
    object(&one.labels, KindName::ROUTE_TABLE, environment, &one.id, &one.created_at)
}

#[async_trait]
impl Driver for RouteTableDriver {
    async fn list(&self, environment: Option<&Name>) -> Result<Vec<Object>> {
        let all = self.0.client.list::<RouteTable>(&self.0.folder).await?;
        Ok(all.iter().filter_map(|one| show_table(one, environment)).collect())
    }

    async fn read(&self, id: &str) -> Result<Option<Object>> {
        Ok(self.0.found::<RouteTable>(id).await?.and_then(|one| show_table(&one, None)))
    }

    async fn create(&self, request: &Request<'_>) -> Result<Object> {
        let spec: RouteTableSpec = request.resource.spec()?;
        let name = object_name(request);
        let labels = Account::labels(request);
        let network = &needed(request, &KindName::NETWORK.named(&spec.network))?.id;
        let gateway = &needed(request, &KindName::GATEWAY.named(&spec.gateway))?.id;
        let call = self.0.client.create_route_table();
        let call = call.folder_id(&self.0.folder).name(&name).labels(&labels).network_id(network);
        let call = call.static_routes(vec![json!({ "destinationPrefix": ANYWHERE, "gatewayId": gateway })]);
        self.0.create(self, request, call.send(request.token)).await
    }

    async fn delete(&self, id: &str) -> Result<()> {
        self.0.remove(|| self.0.client.delete_route_table(id).send(id)).await
    }
}

/// Subnets.
pub(super) struct SubnetDriver(pub(super) Account);

fn show_subnet(one: &Subnet, environment: Option<&Name>) -> Option<Object> {
    let mut object = object(&one.labels, KindName::SUBNET, environment, &one.id, &one.created_at)?;
    for (field, value) in [("cidr", one.v4_cidr_blocks.first()?), ("zone", &one.zone_id)] {
        object.attributes.insert(field.to_owned(), value.as_str().into());
        object.actual.insert(field.to_owned(), value.as_str().into());
    }
    Some(object)
}

#[async_trait]
impl Driver for SubnetDriver {
    async fn list(&self, environment: Option<&Name>) -> Result<Vec<Object>> {
        let all = self.0.client.list::<Subnet>(&self.0.folder).await?;
        Ok(all.iter().filter_map(|one| show_subnet(one, environment)).collect())
    }

    async fn read(&self, id: &str) -> Result<Option<Object>> {
        Ok(self.0.found::<Subnet>(id).await?.and_then(|one| show_subnet(&one, None)))
    }

    async fn create(&self, request: &Request<'_>) -> Result<Object> {
        let spec: SubnetSpec = request.resource.spec()?;
        let name = object_name(request);
        let labels = Account::labels(request);
        let network = request.need(KindName::NETWORK).ok_or_else(|| Error::new("the subnet has no network"))?;
        let zone = spec.zone.as_deref().unwrap_or(&self.0.settings.zone);
        let mut call = self.0.client.create_subnet();
        call = call.folder_id(&self.0.folder).name(&name).labels(&labels).network_id(&network.id).zone_id(zone);
        call = call.v4_cidr_blocks(vec![&spec.cidr]);
        if let Some(table) = request.need(KindName::ROUTE_TABLE) {
            call = call.route_table_id(&table.id);
        }
        self.0.create(self, request, call.send(request.token)).await
    }

    async fn delete(&self, id: &str) -> Result<()> {
        self.0.remove(|| self.0.client.delete_subnet(id).send(id)).await
    }
}

/// Reserved public addresses.
pub(super) struct AddressDriver(pub(super) Account);

fn show_address(one: &Address, environment: Option<&Name>) -> Option<Object> {
    let mut object = object(&one.labels, KindName::ADDRESS, environment, &one.id, &one.created_at)?;
    let address = one.external_ipv4_address.address.as_str();
    object.attributes.insert("public_address".to_owned(), address.into());
    Some(object)
}

#[async_trait]
impl Driver for AddressDriver {
    async fn list(&self, environment: Option<&Name>) -> Result<Vec<Object>> {
        let all = self.0.client.list::<Address>(&self.0.folder).await?;
        Ok(all.iter().filter_map(|one| show_address(one, environment)).collect())
    }

    async fn read(&self, id: &str) -> Result<Option<Object>> {
        Ok(self.0.found::<Address>(id).await?.and_then(|one| show_address(&one, None)))
    }

    async fn create(&self, request: &Request<'_>) -> Result<Object> {
        let spec: AddressSpec = request.resource.spec()?;
        let name = object_name(request);
        let labels = Account::labels(request);
        let zone = spec.zone.as_deref().unwrap_or(&self.0.settings.zone);
        let call = self.0.client.create_address().folder_id(&self.0.folder).name(&name).labels(&labels);
        let call = call.external_ipv4_address_spec(json!({ "zoneId": zone }));
        self.0.create(self, request, call.send(request.token)).await
    }

    async fn delete(&self, id: &str) -> Result<()> {
        self.0.remove(|| self.0.client.delete_address(id).send(id)).await
    }
}

/// Security groups beside that of the network: they open ports of some machines to the world.
pub(super) struct SecurityGroupDriver(pub(super) Account);

fn open_ports(spec: &SecurityGroupSpec) -> Vec<Value> {
    let anywhere = [ANYWHERE.to_owned()];
    spec.ports.iter().map(|port| rule("INGRESS", "TCP", Some(*port), &anywhere)).collect()
}

#[async_trait]
impl Driver for SecurityGroupDriver {
    async fn list(&self, environment: Option<&Name>) -> Result<Vec<Object>> {
        let all = self.0.client.list::<SecurityGroup>(&self.0.folder).await?;
        Ok(group_objects(&all, environment))
    }

    async fn read(&self, id: &str) -> Result<Option<Object>> {
        let found: Option<SecurityGroup> = self.0.found(id).await?;
        Ok(found.and_then(|one| group_objects(&[one], None).pop()))
    }

    async fn create(&self, request: &Request<'_>) -> Result<Object> {
        let spec: SecurityGroupSpec = request.resource.spec()?;
        let name = object_name(request);
        let labels = Account::labels(request);
        let network = &needed(request, &KindName::NETWORK.named(&spec.network))?.id;
        let call = self.0.client.create_security_group();
        let call = call.folder_id(&self.0.folder).name(&name).labels(&labels).network_id(network);
        let call = call.rule_specs(open_ports(&spec));
        self.0.create(self, request, call.send(request.token)).await
    }

    async fn update(&self, object: &Object, request: &Request<'_>) -> Result<Object> {
        let rules = open_ports(&request.resource.spec()?);
        let sent = self.0.client.update_security_group(&object.id).rule_specs(rules).send(request.token).await;
        sent.map_err(|error| explain(error, request.resource))?;
        Ok(object.clone())
    }

    async fn delete(&self, id: &str) -> Result<()> {
        self.0.remove(|| self.0.client.delete_security_group(id).send(id)).await
    }
}
