//! Route tables of private subnets.

use async_trait::async_trait;
use serde_json::Value;

use super::{Account, Driver, Object, Request, explain, needed, network::ANYWHERE, not_made, object, or_there};
use crate::{
    cloud::aws::{
        AwsError,
        ec2::{Route, RouteTable},
    },
    error::{Error, Result},
    name::Name,
    resource::{KindName, RouteTableSpec},
};

/// How the world is reached.
#[derive(Clone, Copy)]
pub(super) enum Way<'a> {
    /// Through a network's own gateway, by machines with a public address.
    Internet(&'a str),
    /// Through a NAT gateway.
    Nat(&'a str),
}

impl Way<'_> {
    /// Whether a table leads to the world by this way.
    pub(super) fn is_of(self, table: &RouteTable) -> bool {
        let mut routes = table.route_set.iter().filter(|route| route.destination_cidr_block == ANYWHERE);
        routes.any(|route| {
            let same = match self {
                Way::Internet(gateway) => route.gateway_id == gateway,
                Way::Nat(gateway) => route.nat_gateway_id == gateway,
            };
            same && route.state != "blackhole"
        })
    }
}

/// Whether a route is neither that to the world nor one of the network's own. Gateways to services add routes by lists of prefixes.
fn is_surplus(route: &Route) -> bool {
    let named = !route.destination_cidr_block.is_empty() || !route.destination_ipv6_cidr_block.is_empty();
    named && route.destination_cidr_block != ANYWHERE && route.gateway_id != "local"
}

/// A table, with where it leads to; a route that is none of ours is told by its range.
pub(super) fn describe(table: &RouteTable) -> Option<Object> {
    let mut object = object(&table.tag_set, KindName::ROUTE_TABLE, &table.route_table_id, "")?;
    let to_the_world = table.route_set.iter().filter(|route| route.destination_cidr_block == ANYWHERE);
    let ways = to_the_world.map(|route| match (route.state.as_str(), route.nat_gateway_id.as_str()) {
        ("blackhole", gateway) => format!("{gateway} (gone)"),
        (_, "") => route.gateway_id.clone(),
        (_, gateway) => gateway.to_owned(),
    });
    let surplus = table.route_set.iter().filter(|route| is_surplus(route));
    let surplus = surplus.map(|route| match route.destination_cidr_block.as_str() {
        "" => route.destination_ipv6_cidr_block.clone(),
        range => range.to_owned(),
    });
    object.links = Some(ways.chain(surplus).collect());
    Some(object)
}

impl Account {
    /// Lets a table lead to the world by this way.
    pub(super) async fn lead(&self, table: &RouteTable, way: Way<'_>) -> Result<(), AwsError> {
        let (client, id) = (&self.client, table.route_table_id.as_str());
        if way.is_of(table) {
            return Ok(());
        }
        if table.route_set.iter().any(|route| route.destination_cidr_block == ANYWHERE) {
            let call = client.replace_route().route_table_id(id).destination_cidr_block(ANYWHERE);
            let call = match way {
                Way::Internet(gateway) => call.gateway_id(gateway),
                Way::Nat(gateway) => call.nat_gateway_id(gateway),
            };
            return call.send().await.map(drop);
        }
        let call = client.create_route().route_table_id(id).destination_cidr_block(ANYWHERE);
        let call = match way {
            Way::Internet(gateway) => call.gateway_id(gateway),
            Way::Nat(gateway) => call.nat_gateway_id(gateway),
        };
        or_there(call.send().await)
    }
}

/// Route tables: everything goes through the gateway.
pub(super) struct RouteTableDriver(pub(super) Account);

impl RouteTableDriver {
    /// A table with its way to the world, and the tag that says so.
    async fn complete(&self, table: &RouteTable, request: &Request<'_>) -> Result<Object> {
        let spec: RouteTableSpec = request.resource.spec()?;
        let gateway = &needed(request, &KindName::GATEWAY.named(&spec.gateway))?.id;
        let led = self.0.lead(table, Way::Nat(gateway)).await;
        led.map_err(|error| explain(error, request.resource))?;
        self.0.finish(&table.route_table_id).await?;
        self.0.made(self, request).await
    }
}

#[async_trait]
impl Driver for RouteTableDriver {
    async fn list(&self, environment: Option<&Name>) -> Result<Vec<Object>> {
        let (name, value) = Account::filter(environment);
        let all = self.0.client.list::<RouteTable>(&[(&name, &value)]).await?;
        Ok(all.iter().filter_map(describe).collect())
    }

    async fn create(&self, request: &Request<'_>) -> Result<Object> {
        let spec: RouteTableSpec = request.resource.spec()?;
        let network = &needed(request, &KindName::NETWORK.named(&spec.network))?.id;
        let tags = Account::tags(request);
        let call = self.0.client.create_route_table().vpc_id(network).client_token(request.token);
        let made = call.tags("route-table", &tags).send().await;
        let made = made.map_err(|error| not_made(error, request.resource))?;
        let id = made.pointer("/routeTable/routeTableId").and_then(Value::as_str).unwrap_or_default().to_owned();
        self.complete(&RouteTable { route_table_id: id, ..RouteTable::default() }, request).await
    }

    async fn resume(&self, object: &Object, request: &Request<'_>) -> Result<Object> {
        let found = self.0.client.list::<RouteTable>(&[("route-table-id", &object.id)]).await?;
        let table = found.first().ok_or_else(|| Error::new(format!("aws: `{}` is gone", object.address)))?;
        self.complete(table, request).await
    }

    async fn update(&self, object: &Object, request: &Request<'_>) -> Result<Object> {
        let spec: RouteTableSpec = request.resource.spec()?;
        let (client, wrong) = (&self.0.client, |error| explain(error, request.resource));
        let gateway = &needed(request, &KindName::GATEWAY.named(&spec.gateway))?.id;
        for table in client.list::<RouteTable>(&[("route-table-id", &object.id)]).await.map_err(wrong)? {
            self.0.lead(&table, Way::Nat(gateway)).await.map_err(wrong)?;
            for route in table.route_set.iter().filter(|route| is_surplus(route)) {
                let mut call = client.delete_route().route_table_id(&object.id);
                if route.destination_cidr_block.is_empty() {
                    call = call.destination_ipv6_cidr_block(&route.destination_ipv6_cidr_block);
                } else {
                    call = call.destination_cidr_block(&route.destination_cidr_block);
                }
                self.0.remove(|| call.clone().send()).await?;
            }
        }
        Ok(object.clone())
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
