//! NAT gateways, through which machines without a public address reach the world.

use async_trait::async_trait;
use serde_json::Value;

use super::{Account, Driver, Health, LABEL_TOKEN, Object, PART, Request, explain, object, rested, tag};
use crate::{
    cloud::aws::{
        AwsError,
        ec2::{Address as PublicAddress, NatGateway},
    },
    error::{Error, Result},
    name::Name,
    resource::KindName,
};

/// The part of a gateway that is its public address.
const ADDRESS_PART: &str = "gateway-address";

fn describe(gateway: &NatGateway) -> Option<Object> {
    let object = object(&gateway.tag_set, KindName::GATEWAY, &gateway.nat_gateway_id, &gateway.create_time)?;
    let starts = gateway.state == "pending" && object.health == Health::Ready;
    Some(if starts { Object { health: Health::Transient, ..object } } else { object })
}

/// The gateways, and the addresses that are left of others.
pub(super) fn describe_all(gateways: &[NatGateway], addresses: &[PublicAddress]) -> Vec<Object> {
    let addresses = addresses.iter().filter(|address| tag(&address.tag_set, PART) == Some(ADDRESS_PART));
    let alive: Vec<&NatGateway> = gateways
        .iter()
        .filter(|gateway| !matches!(gateway.state.as_str(), "deleted" | "deleting" | "failed"))
        .collect();
    let mut objects: Vec<Object> = alive.iter().filter_map(|gateway| describe(gateway)).collect();
    // An address whose gateway was never made, or is gone, costs money all the same; the next gateway gets it.
    let used = |address: &PublicAddress| {
        alive
            .iter()
            .flat_map(|one| &one.nat_gateway_address_set)
            .any(|used| used.allocation_id == address.allocation_id)
    };
    objects.extend(addresses.filter(|address| !used(address)).filter_map(|address| {
        let object = object(&address.tag_set, KindName::GATEWAY, &address.allocation_id, "")?;
        Some(Object { health: Health::Incomplete, ..object })
    }));
    objects
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
        Ok(describe_all(&gateways, &addresses))
    }

    async fn create(&self, request: &Request<'_>) -> Result<Object> {
        let address = self.address(request).await.map_err(|error| explain(error, request.resource))?;
        self.create_on(&address, request).await
    }

    async fn resume(&self, object: &Object, request: &Request<'_>) -> Result<Object> {
        self.complete(&object.id, request).await
    }

    async fn settled(&self, object: &Object) -> Result<Object> {
        rested(object, describe(&self.at_rest(&object.id).await?))
    }

    /// What is left of a gateway is its address: machines behind the next one are known by the same.
    async fn update(&self, object: &Object, request: &Request<'_>) -> Result<Object> {
        if object.health == Health::Incomplete {
            return self.create_on(&object.id, request).await;
        }
        Ok(object.clone())
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

impl GatewayDriver {
    /// Makes the gateway of an address.
    async fn create_on(&self, address: &str, request: &Request<'_>) -> Result<Object> {
        let wrong = |error| explain(error, request.resource);
        let subnet = request.need(KindName::SUBNET);
        let subnet = &subnet.ok_or_else(|| Error::new("the gateway has no subnet"))?.id;
        let tags = Account::tags(request);
        // The gateway before may still be on its way out.
        let free = || async {
            let all = self.0.client.list::<NatGateway>(&[("state", "deleting")]).await?;
            let mut used = all.iter().flat_map(|gateway| &gateway.nat_gateway_address_set);
            Ok((!used.any(|used| used.allocation_id == address)).then_some(()))
        };
        self.0.settle("the removal of the gateway before", free).await?;
        let call = self.0.client.create_nat_gateway().subnet_id(subnet).allocation_id(address);
        let made = call.client_token(request.token).tags("natgateway", &tags).send().await.map_err(wrong)?;
        let id = made.pointer("/natGateway/natGatewayId").and_then(Value::as_str).unwrap_or_default();
        self.complete(id, request).await
    }

    async fn complete(&self, id: &str, request: &Request<'_>) -> Result<Object> {
        self.at_rest(id).await?;
        self.0.finish(id).await?;
        self.0.made(self, request).await
    }

    /// A gateway that works. One that does not show yet was made just now.
    async fn at_rest(&self, id: &str) -> Result<NatGateway> {
        let look = || async {
            let Some(gateway) = self.state(id).await? else { return Ok(None) };
            match gateway.state.as_str() {
                "available" => Ok(Some(gateway)),
                "pending" => Ok(None),
                // That is how it ends: another one is created next time.
                state => {
                    let message = gateway.failure_message.as_str();
                    let why = if message.is_empty() { String::new() } else { format!(": {message}") };
                    Err(Error::new(format!("aws: the gateway `{id}` is {state}{why}")).settled())
                }
            }
        };
        self.0.settle(&format!("the gateway `{id}`"), look).await
    }
}
