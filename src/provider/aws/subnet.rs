//! Subnets.

use async_trait::async_trait;

use super::{Account, Driver, Object, Request, explain, not_made, object, or_there, ranges};
use crate::{
    cloud::aws::{
        AwsError,
        ec2::{RouteTable, Subnet, Vpc},
    },
    config::Cidr,
    error::{Error, Result},
    name::Name,
    resource::{KindName, SubnetSpec},
};

/// How often a range is looked for that nothing else takes at the same time.
const ATTEMPTS: u32 = 5;

/// Subnets. One with a route table of its own is private; the others go the network's way to the world.
pub(super) struct SubnetDriver(pub(super) Account);

pub(super) fn describe(one: &Subnet) -> Option<Object> {
    let mut object = object(&one.tag_set, KindName::SUBNET, &one.subnet_id, "")?;
    for (field, value) in [("cidr", &one.cidr_block), ("zone", &one.availability_zone)] {
        object.attributes.insert(field.to_owned(), value.as_str().into());
    }
    Some(object)
}

impl SubnetDriver {
    /// The ranges that a subnet may get, the best one first.
    async fn ranges(&self, spec: &SubnetSpec, private: bool, network: &str) -> Result<Vec<Cidr>, AwsError> {
        let within: Cidr = spec.cidr.parse().map_err(Error::new)?;
        let Some(prefix) = spec.prefix else { return Ok(vec![within]) };
        let client = &self.0.client;
        let inside = [("vpc-id", network)];
        let (vpcs, subnets) = tokio::try_join!(client.list::<Vpc>(&inside), client.list::<Subnet>(&inside))?;
        // Networks of earlier versions have room beside the ranges that the file names.
        let blocks = vpcs.iter().map(|vpc| &vpc.cidr_block).filter_map(|block| block.parse::<Cidr>().ok());
        let mut free: Vec<Cidr> = if private {
            let beside = blocks.flat_map(|block| ranges::parts(block, prefix).rev());
            ranges::parts(within, prefix).rev().chain(beside).collect()
        } else {
            ranges::parts(within, prefix).collect()
        };
        let taken: Vec<Cidr> = subnets.iter().filter_map(|subnet| subnet.cidr_block.parse().ok()).collect();
        free.retain(|range| !taken.iter().any(|taken| taken.overlaps(*range)));
        Ok(free)
    }

    async fn make(&self, request: &Request<'_>, spec: &SubnetSpec, network: &str) -> Result<String, AwsError> {
        let tags = Account::tags(request);
        let find = || self.0.id_of(self, request);
        let private = request.need(KindName::ROUTE_TABLE).is_some();
        let mut refused = None;
        // Another subnet may just be getting the same range.
        for _ in 0..ATTEMPTS {
            let Some(range) = self.ranges(spec, private, network).await?.first().map(Cidr::to_string) else { break };
            let call = self.0.client.create_subnet().vpc_id(network).cidr_block(&range).tags("subnet", &tags);
            let call = call.availability_zone(spec.zone.as_deref().unwrap_or(&self.0.zone));
            match self.0.make(|| call.clone().send(), "/subnet/subnetId", find).await {
                Err(error) if error.code() == "InvalidSubnet.Conflict" && spec.prefix.is_some() => {
                    refused = Some(error);
                }
                made => return made,
            }
        }
        Err(refused.unwrap_or_else(|| {
            let message = format!(
                "aws: no range of {} addresses is free in {}",
                1 << (32 - spec.prefix.unwrap_or(32)),
                spec.cidr
            );
            Error::new(message).hint("name one more subnet, in another zone, in the file").into()
        }))
    }

    /// Gives a subnet its route table; without one of its own it has that of the network.
    async fn join(&self, id: &str, table: Option<&Object>) -> Result<(), AwsError> {
        let client = &self.0.client;
        let tables = client.list::<RouteTable>(&[("association.subnet-id", id)]).await?;
        let own = tables.iter().flat_map(|table| &table.association_set).find(|one| one.subnet_id == id);
        let present = tables.first().map(|table| table.route_table_id.as_str());
        match (own, table) {
            (_, Some(table)) if present == Some(table.id.as_str()) => Ok(()),
            (Some(own), Some(table)) => {
                let call = client.replace_route_table_association().association_id(&own.route_table_association_id);
                call.route_table_id(&table.id).send().await.map(drop)
            }
            (None, Some(table)) => {
                or_there(client.associate_route_table().route_table_id(&table.id).subnet_id(id).send().await)
            }
            (Some(own), None) => {
                let call = client.disassociate_route_table().association_id(&own.route_table_association_id);
                call.send().await.map(drop)
            }
            (None, None) => Ok(()),
        }
    }
}

impl SubnetDriver {
    /// A subnet with its route table, and the tag that says so.
    async fn complete(&self, id: &str, request: &Request<'_>) -> Result<Object> {
        let joined = self.join(id, request.need(KindName::ROUTE_TABLE)).await;
        joined.map_err(|error| explain(error, request.resource))?;
        self.0.finish(id).await?;
        self.0.made(self, request).await
    }
}

#[async_trait]
impl Driver for SubnetDriver {
    async fn list(&self, environment: Option<&Name>) -> Result<Vec<Object>> {
        let (name, value) = Account::filter(environment);
        let all = self.0.client.list::<Subnet>(&[(&name, &value)]).await?;
        Ok(all.iter().filter_map(describe).collect())
    }

    async fn create(&self, request: &Request<'_>) -> Result<Object> {
        let spec: SubnetSpec = request.resource.spec()?;
        let network = &request.need(KindName::NETWORK).ok_or_else(|| Error::new("the subnet has no network"))?.id;
        let id = self.make(request, &spec, network).await.map_err(|error| not_made(error, request.resource))?;
        self.complete(&id, request).await
    }

    async fn resume(&self, object: &Object, request: &Request<'_>) -> Result<Object> {
        self.complete(&object.id, request).await
    }

    async fn update(&self, object: &Object, request: &Request<'_>) -> Result<Object> {
        let joined = self.join(&object.id, request.need(KindName::ROUTE_TABLE)).await;
        joined.map_err(|error| explain(error, request.resource))?;
        Ok(object.clone())
    }

    async fn delete(&self, id: &str) -> Result<()> {
        self.0.remove(|| self.0.client.delete_subnet().subnet_id(id).send()).await
    }
}
