//! Networks and what belongs to them.

use async_trait::async_trait;
use serde_json::{Value, json};

use super::{Account, Driver, Object, PART, Request, explain, needed, object, or_there, tag};
use crate::{
    cloud::aws::{
        AwsError,
        ec2::{
            Address as PublicAddress, InternetGateway, NatGateway, Permission, RouteTable, SecurityGroup, Subnet, Vpc,
        },
    },
    error::{Error, Result},
    name::Name,
    provider::{Health, LABEL_TOKEN},
    resource::{KindName, NetworkSpec, RouteTableSpec, SecurityGroupSpec, SubnetSpec},
};

/// The world.
pub(super) const ANYWHERE: &str = "0.0.0.0/0";
/// The attribute of a network: the security group that all of its machines have.
pub(super) const DEFAULT_GROUP: &str = "security_group";
/// The part of a network that is its security group.
pub(super) const GROUP_PART: &str = "network-group";
/// The part of a network that is its gateway to the world.
pub(super) const GATEWAY_PART: &str = "internet-gateway";
/// The part of a gateway that is its public address.
const ADDRESS_PART: &str = "gateway-address";

fn tcp(port: u16, cidr: &str) -> Value {
    json!({ "IpProtocol": "tcp", "FromPort": port, "ToPort": port, "IpRanges": [{ "CidrIp": cidr }] })
}

/// What a network's own group lets in: its machines, and SSH.
fn inward(spec: &NetworkSpec) -> Vec<Value> {
    let ranges = spec.cidrs.iter().map(|cidr| json!({ "IpProtocol": "-1", "IpRanges": [{ "CidrIp": cidr }] }));
    ranges.chain([tcp(22, ANYWHERE)]).collect()
}

/// What a rule lets in, beside SSH and the group itself: address ranges, with the ports when it names some.
fn inward_ranges(rule: &Permission) -> Vec<String> {
    let ranges = rule.ip_ranges.iter().map(|range| range.cidr_ip.as_str());
    match (rule.from_port.as_str(), rule.to_port.as_str()) {
        ("22", "22") => ranges.filter(|range| *range != ANYWHERE).map(|range| format!("{range}:22-22")).collect(),
        ("" | "-1" | "0", _) => ranges.map(str::to_owned).collect(),
        (from, to) => ranges.map(|range| format!("{range}:{from}-{to}")).collect(),
    }
}

/// Networks: a VPC with its gateway to the world, which machines with a public address use, and with a security group that
/// every machine is in. That lets the machines reach each other, and the world reach port 22; nothing else comes in.
pub(super) struct NetworkDriver(pub(super) Account);

impl NetworkDriver {
    /// What a network has beside itself, each step such that doing it twice does nothing more.
    async fn furnish(&self, request: &Request<'_>, vpc: &str, spec: &NetworkSpec) -> Result<(), AwsError> {
        let client = &self.0.client;
        let on = json!({ "Value": true });
        client.modify_vpc_attribute().vpc_id(vpc).enable_dns_hostnames(on).send().await?;
        let tags = Account::part_tags(request, GATEWAY_PART);
        let call = client.create_internet_gateway().tags("internet-gateway", &tags);
        let token = request.token;
        let find = || async move {
            let found = client.list::<InternetGateway>(&[(&format!("tag:{LABEL_TOKEN}"), token)]).await?;
            Ok(found.into_iter().next().map(|gateway| gateway.internet_gateway_id))
        };
        let gateway = self.0.make(|| call.clone().send(), "/internetGateway/internetGatewayId", find).await?;
        or_there(client.attach_internet_gateway().internet_gateway_id(&gateway).vpc_id(vpc).send().await)?;
        let main = client.list::<RouteTable>(&[("vpc-id", vpc), ("association.main", "true")]).await?;
        let main = main.first().ok_or_else(|| Error::new("aws: the network has no main route table"))?;
        let route = client.create_route().route_table_id(&main.route_table_id).destination_cidr_block(ANYWHERE);
        or_there(route.gateway_id(&gateway).send().await)?;
        let group = client.list::<SecurityGroup>(&[("vpc-id", vpc), ("group-name", "default")]).await?;
        let group = &group.first().ok_or_else(|| Error::new("aws: the network has no security group"))?.group_id;
        for rule in inward(spec) {
            or_there(client.authorize_ingress().group_id(group).ip_permissions(vec![rule]).send().await)?;
        }
        self.0.put_tags(vec![group], Account::part_tags(request, GROUP_PART)).await
    }
}

#[async_trait]
impl Driver for NetworkDriver {
    async fn list(&self, environment: Option<&Name>) -> Result<Vec<Object>> {
        let (name, value) = Account::filter(environment);
        let part = format!("tag:{PART}");
        let ours = [(name.as_str(), value.as_str())];
        let groups = [ours[0], (part.as_str(), GROUP_PART)];
        let (networks, groups) =
            tokio::try_join!(self.0.client.list::<Vpc>(&ours), self.0.client.list::<SecurityGroup>(&groups))?;
        let objects = networks.iter().filter_map(|vpc| {
            let mut object = object(&vpc.tag_set, KindName::NETWORK, &vpc.vpc_id, "")?;
            // Without the group the network is half made, and is made anew.
            let Some(group) = groups.iter().find(|group| group.vpc_id == vpc.vpc_id) else { return Some(object) };
            object.attributes.insert(DEFAULT_GROUP.to_owned(), group.group_id.as_str().into());
            // A rule that we did not make shows among the ranges, so that the group is closed again.
            let mut inward: Vec<String> = group.ip_permissions.iter().flat_map(inward_ranges).collect();
            inward.sort();
            object.actual.insert("cidrs".to_owned(), json!(inward));
            Some(object)
        });
        Ok(objects.collect())
    }

    async fn create(&self, request: &Request<'_>) -> Result<Object> {
        let spec: NetworkSpec = request.resource.spec()?;
        let wrong = |error| explain(error, request.resource);
        let whole = spec.cidr.as_deref().ok_or_else(|| Error::new("the network has no address range"))?;
        let tags = Account::tags(request);
        let call = self.0.client.create_vpc().cidr_block(whole).tags("vpc", &tags);
        let find = || self.0.id_of(self, request);
        let vpc = self.0.make(|| call.clone().send(), "/vpc/vpcId", find).await.map_err(wrong)?;
        self.furnish(request, &vpc, &spec).await.map_err(wrong)?;
        self.0.finish(&vpc).await?;
        self.0.made(self, request).await
    }

    async fn update(&self, object: &Object, request: &Request<'_>) -> Result<Object> {
        let spec: NetworkSpec = request.resource.spec()?;
        let (client, wrong) = (&self.0.client, |error| explain(error, request.resource));
        let group = object.attribute(DEFAULT_GROUP).unwrap_or_default();
        let present = client.list::<SecurityGroup>(&[("group-id", group)]).await.map_err(wrong)?;
        for rule in inward(&spec) {
            or_there(client.authorize_ingress().group_id(group).ip_permissions(vec![rule]).send().await)
                .map_err(wrong)?;
        }
        for permission in present.iter().flat_map(|group| &group.ip_permissions) {
            if inward_ranges(permission).iter().any(|range| !spec.cidrs.contains(range)) {
                let ranges: Vec<Value> = (permission.ip_ranges.iter())
                    .filter(|range| permission.ip_protocol != "-1" || !spec.cidrs.contains(&range.cidr_ip))
                    .map(|range| json!({ "CidrIp": range.cidr_ip }))
                    .collect();
                let mut rule = json!({ "IpProtocol": permission.ip_protocol, "IpRanges": ranges });
                if !permission.from_port.is_empty() {
                    rule["FromPort"] = permission.from_port.as_str().into();
                    rule["ToPort"] = permission.to_port.as_str().into();
                }
                let call = client.revoke_ingress().group_id(group).ip_permissions(vec![rule]);
                call.send().await.map_err(wrong)?;
            }
        }
        Ok(object.clone())
    }

    async fn delete(&self, id: &str) -> Result<()> {
        let client = &self.0.client;
        for gateway in client.list::<InternetGateway>(&[("attachment.vpc-id", id)]).await? {
            let gateway = gateway.internet_gateway_id.as_str();
            self.0.remove(|| client.detach_internet_gateway().internet_gateway_id(gateway).vpc_id(id).send()).await?;
            self.0.remove(|| client.delete_internet_gateway().internet_gateway_id(gateway).send()).await?;
        }
        // One that was made, but not attached before the program was gone, has the token of its network.
        let networks = client
            .list::<Vpc>(&[("vpc-id", id)])
            .await
            .or_else(|error| if error.is_not_found() { Ok(Vec::new()) } else { Err(error) })?;
        let token = networks.first().and_then(|vpc| tag(&vpc.tag_set, LABEL_TOKEN)).unwrap_or_default().to_owned();
        if !token.is_empty() {
            for gateway in client.list::<InternetGateway>(&[(&format!("tag:{LABEL_TOKEN}"), &token)]).await? {
                let gateway = gateway.internet_gateway_id.as_str();
                self.0.remove(|| client.delete_internet_gateway().internet_gateway_id(gateway).send()).await?;
            }
        }
        self.0.remove(|| client.delete_vpc().vpc_id(id).send()).await
    }
}

/// Gateways: a NAT gateway with a public address of its own, in a public subnet.
pub(super) struct GatewayDriver(pub(super) Account);

impl GatewayDriver {
    async fn address(&self, request: &Request<'_>) -> Result<String, AwsError> {
        let client = &self.0.client;
        let token = request.token;
        let find = || async move {
            let found = client.list::<PublicAddress>(&[(&format!("tag:{LABEL_TOKEN}"), token)]).await?;
            Ok(found.into_iter().next().map(|address| address.allocation_id))
        };
        if let Some(address) = find().await? {
            return Ok(address);
        }
        let mut tags = Account::tags(request);
        tags.insert(PART.to_owned(), ADDRESS_PART.to_owned());
        let call = client.allocate_address().domain("vpc").tags("elastic-ip", &tags);
        self.0.make(|| call.clone().send(), "/allocationId", find).await
    }

    async fn state(&self, id: &str) -> Result<Option<NatGateway>> {
        match self.0.client.list::<NatGateway>(&[("nat-gateway-id", id)]).await {
            Ok(found) => Ok(found.into_iter().next()),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

#[async_trait]
impl Driver for GatewayDriver {
    async fn list(&self, environment: Option<&Name>) -> Result<Vec<Object>> {
        let (name, value) = Account::filter(environment);
        let part = format!("tag:{PART}");
        let ours = [(name.as_str(), value.as_str())];
        let addresses = [ours[0], (part.as_str(), ADDRESS_PART)];
        let (gateways, addresses) =
            tokio::try_join!(self.0.client.list::<NatGateway>(&ours), self.0.client.list::<PublicAddress>(&addresses))?;
        let alive: Vec<&NatGateway> = gateways
            .iter()
            .filter(|gateway| !matches!(gateway.state.as_str(), "deleted" | "deleting" | "failed"))
            .collect();
        let mut objects: Vec<Object> = alive
            .iter()
            .filter_map(|one| object(&one.tag_set, KindName::GATEWAY, &one.nat_gateway_id, &one.create_time))
            .collect();
        // An address whose gateway was never made, or is gone already, costs money all the same.
        let used = |address: &PublicAddress| {
            alive
                .iter()
                .flat_map(|one| &one.nat_gateway_address_set)
                .any(|used| used.allocation_id == address.allocation_id)
        };
        objects.extend(addresses.iter().filter(|address| !used(address)).filter_map(|address| {
            let object = object(&address.tag_set, KindName::GATEWAY, &address.allocation_id, "")?;
            Some(Object { health: Health::Broken, ..object })
        }));
        Ok(objects)
    }

    async fn create(&self, request: &Request<'_>) -> Result<Object> {
        let wrong = |error| explain(error, request.resource);
        let subnet = request.need(KindName::SUBNET);
        let subnet = &subnet.ok_or_else(|| Error::new("the gateway has no subnet"))?.id;
        let address = self.address(request).await.map_err(wrong)?;
        let tags = Account::tags(request);
        let call = self.0.client.create_nat_gateway().subnet_id(subnet).allocation_id(&address);
        let made = call.client_token(request.token).tags("natgateway", &tags).send().await.map_err(wrong)?;
        let id = made.pointer("/natGateway/natGatewayId").and_then(Value::as_str).unwrap_or_default().to_owned();
        let state = self.0.settle("the gateway", || async {
            let state = self.state(&id).await?.map(|gateway| gateway.state).unwrap_or_default();
            Ok((state != "pending").then_some(state))
        });
        let state = state.await?;
        if state != "available" {
            return Err(Error::new(format!("aws: the gateway `{id}` is {state}")));
        }
        self.0.finish(&id).await?;
        self.0.made(self, request).await
    }

    async fn delete(&self, id: &str) -> Result<()> {
        let client = &self.0.client;
        let mut addresses = Vec::new();
        if id.starts_with("eipalloc-") {
            addresses.push(id.to_owned());
        } else if let Some(gateway) = self.state(id).await? {
            addresses.extend(gateway.nat_gateway_address_set.into_iter().map(|address| address.allocation_id));
            self.0.remove(|| client.delete_nat_gateway().nat_gateway_id(id).send()).await?;
            let gone = self.0.settle("the removal of the gateway", || async {
                let state = self.state(id).await?.map_or_else(|| "deleted".to_owned(), |gateway| gateway.state);
                Ok((state == "deleted").then_some(()))
            });
            gone.await?;
        }
        for address in addresses {
            self.0.remove(|| client.release_address().allocation_id(&address).send()).await?;
        }
        Ok(())
    }
}

/// Reserved public addresses.
pub(super) struct AddressDriver(pub(super) Account);

#[async_trait]
impl Driver for AddressDriver {
    async fn list(&self, environment: Option<&Name>) -> Result<Vec<Object>> {
        let (name, value) = Account::filter(environment);
        let all = self.0.client.list::<PublicAddress>(&[(&name, &value)]).await?;
        let objects = all.iter().filter_map(|one| {
            let mut object = object(&one.tag_set, KindName::ADDRESS, &one.allocation_id, "")?;
            // One call makes it, so it is never half made.
            object.health = Health::Ready;
            object.attributes.insert("public_address".to_owned(), one.public_ip.as_str().into());
            Some(object)
        });
        Ok(objects.collect())
    }

    async fn create(&self, request: &Request<'_>) -> Result<Object> {
        let find = || self.0.id_of(self, request);
        let tags = Account::tags(request);
        let call = self.0.client.allocate_address().domain("vpc").tags("elastic-ip", &tags);
        let made = self.0.make(|| call.clone().send(), "/allocationId", find).await;
        made.map_err(|error| explain(error, request.resource))?;
        self.0.made(self, request).await
    }

    async fn delete(&self, id: &str) -> Result<()> {
        self.0.remove(|| self.0.client.release_address().allocation_id(id).send()).await
    }
}

/// Route tables: everything goes through the gateway.
pub(super) struct RouteTableDriver(pub(super) Account);

#[async_trait]
impl Driver for RouteTableDriver {
    async fn list(&self, environment: Option<&Name>) -> Result<Vec<Object>> {
        let (name, value) = Account::filter(environment);
        let all = self.0.client.list::<RouteTable>(&[(&name, &value)]).await?;
        Ok(all.iter().filter_map(|one| object(&one.tag_set, KindName::ROUTE_TABLE, &one.route_table_id, "")).collect())
    }

    async fn create(&self, request: &Request<'_>) -> Result<Object> {
        let spec: RouteTableSpec = request.resource.spec()?;
        let wrong = |error| explain(error, request.resource);
        let network = &needed(request, &KindName::NETWORK.named(&spec.network))?.id;
        let gateway = &needed(request, &KindName::GATEWAY.named(&spec.gateway))?.id;
        let tags = Account::tags(request);
        let call = self.0.client.create_route_table().vpc_id(network).client_token(request.token);
        let made = call.tags("route-table", &tags).send().await.map_err(wrong)?;
        let id = made.pointer("/routeTable/routeTableId").and_then(Value::as_str).unwrap_or_default().to_owned();
        let route = self.0.client.create_route().route_table_id(&id).destination_cidr_block(ANYWHERE);
        or_there(route.nat_gateway_id(gateway).send().await).map_err(wrong)?;
        self.0.finish(&id).await?;
        self.0.made(self, request).await
    }

    async fn delete(&self, id: &str) -> Result<()> {
        let client = &self.0.client;
        let tables = client.list::<RouteTable>(&[("route-table-id", id)]).await;
        let tables = tables.or_else(|error| if error.is_not_found() { Ok(Vec::new()) } else { Err(error) })?;
        let associations = tables.iter().flat_map(|table| &table.association_set);
        for association in associations.filter(|association| association.main != "true") {
            let id = association.route_table_association_id.as_str();
            self.0.remove(|| client.disassociate_route_table().association_id(id).send()).await?;
        }
        self.0.remove(|| client.delete_route_table().route_table_id(id).send()).await
    }
}

/// Subnets. One with a route table of its own is private; the others go the network's way to the world.
pub(super) struct SubnetDriver(pub(super) Account);

#[async_trait]
impl Driver for SubnetDriver {
    async fn list(&self, environment: Option<&Name>) -> Result<Vec<Object>> {
        let (name, value) = Account::filter(environment);
        let all = self.0.client.list::<Subnet>(&[(&name, &value)]).await?;
        let objects = all.iter().filter_map(|one| {
            let mut object = object(&one.tag_set, KindName::SUBNET, &one.subnet_id, "")?;
            for (field, value) in [("cidr", &one.cidr_block), ("zone", &one.availability_zone)] {
                object.attributes.insert(field.to_owned(), value.as_str().into());
                object.actual.insert(field.to_owned(), value.as_str().into());
            }
            Some(object)
        });
        Ok(objects.collect())
    }

    async fn create(&self, request: &Request<'_>) -> Result<Object> {
        let spec: SubnetSpec = request.resource.spec()?;
        let wrong = |error| explain(error, request.resource);
        let network = &request.need(KindName::NETWORK).ok_or_else(|| Error::new("the subnet has no network"))?.id;
        let tags = Account::tags(request);
        let call = self.0.client.create_subnet().vpc_id(network).cidr_block(&spec.cidr).tags("subnet", &tags);
        let call = call.availability_zone(spec.zone.as_deref().unwrap_or(&self.0.zone));
        let find = || self.0.id_of(self, request);
        let id = self.0.make(|| call.clone().send(), "/subnet/subnetId", find).await.map_err(wrong)?;
        if let Some(table) = request.need(KindName::ROUTE_TABLE) {
            let call = self.0.client.associate_route_table().route_table_id(&table.id).subnet_id(&id);
            or_there(call.send().await).map_err(wrong)?;
        }
        self.0.finish(&id).await?;
        self.0.made(self, request).await
    }

    async fn delete(&self, id: &str) -> Result<()> {
        self.0.remove(|| self.0.client.delete_subnet().subnet_id(id).send()).await
    }
}

/// Security groups beside that of the network: they open ports of some machines to the world.
pub(super) struct SecurityGroupDriver(pub(super) Account);

#[async_trait]
impl Driver for SecurityGroupDriver {
    async fn list(&self, environment: Option<&Name>) -> Result<Vec<Object>> {
        let (name, value) = Account::filter(environment);
        let all = self.0.client.list::<SecurityGroup>(&[(&name, &value)]).await?;
        let objects = all.iter().filter_map(|one| {
            let mut object = object(&one.tag_set, KindName::SECURITY_GROUP, &one.group_id, "")?;
            let mut ports: Vec<u16> =
                one.ip_permissions.iter().filter_map(|rule| rule.from_port.parse().ok()).collect();
            ports.sort_unstable();
            object.actual.insert("ports".to_owned(), json!(ports));
            Some(object)
        });
        Ok(objects.collect())
    }

    async fn create(&self, request: &Request<'_>) -> Result<Object> {
        let spec: SecurityGroupSpec = request.resource.spec()?;
        let wrong = |error| explain(error, request.resource);
        let network = &needed(request, &KindName::NETWORK.named(&spec.network))?.id;
        let tags = Account::tags(request);
        // The name must be free in the network: the token makes it so.
        let group_name = format!("{}-{}", request.resource.address.name, request.token);
        let call = self.0.client.create_security_group().group_name(&group_name).vpc_id(network);
        let call = call.group_description("ports that infra opens to the world").tags("security-group", &tags);
        let find = || self.0.id_of(self, request);
        let id = self.0.make(|| call.clone().send(), "/groupId", find).await.map_err(wrong)?;
        for port in &spec.ports {
            let call = self.0.client.authorize_ingress().group_id(&id).ip_permissions(vec![tcp(*port, ANYWHERE)]);
            or_there(call.send().await).map_err(wrong)?;
        }
        self.0.finish(&id).await?;
        self.0.made(self, request).await
    }

    async fn update(&self, object: &Object, request: &Request<'_>) -> Result<Object> {
        let spec: SecurityGroupSpec = request.resource.spec()?;
        let wrong = |error| explain(error, request.resource);
        let present = self.0.client.list::<SecurityGroup>(&[("group-id", &object.id)]).await?;
        let rules = present.iter().flat_map(|group| &group.ip_permissions);
        let present: Vec<u16> = rules.filter_map(|rule| rule.from_port.parse().ok()).collect();
        for port in spec.ports.iter().filter(|port| !present.contains(port)) {
            let call =
                self.0.client.authorize_ingress().group_id(&object.id).ip_permissions(vec![tcp(*port, ANYWHERE)]);
            or_there(call.send().await).map_err(wrong)?;
        }
        for port in present.iter().filter(|port| !spec.ports.contains(port)) {
            let call = self.0.client.revoke_ingress().group_id(&object.id).ip_permissions(vec![tcp(*port, ANYWHERE)]);
            call.send().await.map_err(wrong)?;
        }
        Ok(object.clone())
    }

    async fn delete(&self, id: &str) -> Result<()> {
        self.0.remove(|| self.0.client.delete_security_group().group_id(id).send()).await
    }
}
