//! What belongs to networks: gateways and route tables.

use async_trait::async_trait;
use serde_json::{Value, json};

use super::account::{Account, explain, needed, object, object_name};
use crate::{
    cloud::yandex::{Gateway, RouteTable},
    error::Result,
    name::Name,
    provider::{Driver, Object, Request},
    resource::{KindName, RouteTableSpec},
};

/// The world.
pub(super) const ANYWHERE: &str = "0.0.0.0/0";

/// Gateways: the shared egress gateway, which lets machines without a public address reach the world.
pub(super) struct GatewayDriver(pub(super) Account);

pub(super) fn show_gateway(one: &Gateway, environment: Option<&Name>) -> Option<Object> {
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

/// A route table. Routes beside the one through the gateway show instead of its name.
pub(super) fn show_table(one: &RouteTable, environment: Option<&Name>) -> Option<Object> {
    let mut object = object(&one.labels, KindName::ROUTE_TABLE, environment, &one.id, &one.created_at)?;
    let gateways = one.static_routes.iter().map(|route| route.gateway_id.clone()).filter(|id| !id.is_empty());
    object.links = Some(gateways.collect());
    let usual = |route: &&crate::cloud::yandex::StaticRoute| {
        route.destination_prefix == ANYWHERE && !route.gateway_id.is_empty()
    };
    if one.static_routes.iter().filter(usual).count() != 1 || one.static_routes.len() != 1 {
        let routes = one.static_routes.iter().map(|route| {
            format!("{} through {}{}", route.destination_prefix, route.gateway_id, route.next_hop_address)
        });
        object.actual.insert("gateway".to_owned(), routes.collect::<Vec<_>>().join(", ").into());
    }
    Some(object)
}

/// Everything goes through the gateway.
fn routes(request: &Request<'_>) -> Result<Vec<Value>> {
    let spec: RouteTableSpec = request.resource.spec()?;
    let gateway = &needed(request, &KindName::GATEWAY.named(&spec.gateway))?.id;
    Ok(vec![json!({ "destinationPrefix": ANYWHERE, "gatewayId": gateway })])
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
        let call = self.0.client.create_route_table();
        let call = call.folder_id(&self.0.folder).name(&name).labels(&labels).network_id(network);
        self.0.create(self, request, call.static_routes(routes(request)?).send(request.token)).await
    }

    async fn update(&self, object: &Object, request: &Request<'_>) -> Result<Object> {
        let call = self.0.client.update_route_table(&object.id).static_routes(routes(request)?);
        call.send(request.token).await.map_err(|error| explain(error, request.resource))?;
        Ok(object.clone())
    }

    async fn delete(&self, id: &str) -> Result<()> {
        self.0.remove(|| self.0.client.delete_route_table(id).send(id)).await
    }
}
