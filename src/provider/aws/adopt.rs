//! Taking over what someone else made: our tags are added to it beside its own, and what it shows of itself is returned.

use serde_json::{Map, Value};

use super::{
    Account, LABEL_ENV, LABEL_PROJECT, READY, Request, needed,
    network::{ANYWHERE, GATEWAY_PART, GROUP_PART},
    tag,
};
use crate::{
    cloud::aws::ec2::{Address, InternetGateway, NatGateway, RouteTable, SecurityGroup, Subnet, Tagged, Volume, Vpc},
    config::Cidr,
    error::{Error, Result},
    provider::adopt::{SEVERAL, Seen, belongs, not_adopted, stands_in},
    resource::{KindName, RouteTableSpec, SubnetSpec},
};

impl Account {
    /// Adds the tags of a request to an object, and returns what it shows of the specification that it should have.
    pub(super) async fn adopt(&self, id: &str, request: &Request<'_>) -> Result<Map<String, Value>> {
        let mut seen = Seen::of(id, request);
        let differs = |reason: &str| Err(not_adopted(id, request, reason));
        match request.resource.address.kind {
            KindName::NETWORK => {
                self.foreign::<Vpc>(id, request).await?;
                self.adopt_parts(id, request).await?;
            }
            KindName::GATEWAY => {
                let gateway: NatGateway = self.foreign(id, request).await?;
                if !request.needs.values().any(|need| need.id == gateway.subnet_id) {
                    return differs(&format!("it is in the subnet `{}`", gateway.subnet_id));
                }
            }
            KindName::ROUTE_TABLE => {
                let table: RouteTable = self.foreign(id, request).await?;
                stands_in(id, request, &table.vpc_id)?;
                let spec: RouteTableSpec = request.resource.spec()?;
                let gateway = &needed(request, &KindName::GATEWAY.named(&spec.gateway))?.id;
                let mut out = table.route_set.iter().filter(|route| route.destination_cidr_block == ANYWHERE);
                if !out.any(|route| route.nat_gateway_id == *gateway) {
                    return differs(&format!("it does not lead to the world through `{gateway}`"));
                }
            }
            KindName::SUBNET => {
                let subnet: Subnet = self.foreign(id, request).await?;
                stands_in(id, request, &subnet.vpc_id)?;
                let spec: SubnetSpec = request.resource.spec()?;
                let (wanted, there) = (spec.cidr.parse::<Cidr>(), subnet.cidr_block.parse::<Cidr>());
                let fits = wanted.is_ok_and(|wanted| {
                    there.is_ok_and(|there| there == wanted || spec.prefix.is_some() && wanted.covers(there))
                });
                if !fits {
                    return differs(&format!("its range is {}, not {}", subnet.cidr_block, spec.cidr));
                }
                seen.or_usual("zone", &subnet.availability_zone, &self.zone)?;
                let wanted = request.need(KindName::ROUTE_TABLE).map(|table| table.id.as_str());
                let tables = self.client.list::<RouteTable>(&[("association.subnet-id", id)]).await?;
                let own = tables.first().map(|table| table.route_table_id.as_str());
                if own != wanted {
                    let name = |table: Option<&str>| table.map_or_else(|| "none".to_owned(), |id| format!("`{id}`"));
                    return differs(&format!("its own route table is {}, not {}", name(own), name(wanted)));
                }
            }
            KindName::SECURITY_GROUP => {
                let group: SecurityGroup = self.foreign(id, request).await?;
                stands_in(id, request, &group.vpc_id)?;
            }
            KindName::ADDRESS => {
                self.foreign::<Address>(id, request).await?;
            }
            KindName::DISK => {
                let volume: Volume = self.foreign(id, request).await?;
                seen.or_usual("zone", &volume.availability_zone, &self.zone)?;
            }
            KindName::DNS_ZONE => return differs("it says whose it is in a reference that never changes"),
            _ => return differs(SEVERAL),
        }
        let ready = (READY.to_owned(), "yes".to_owned());
        self.put_tags(vec![id], request.labels().into_iter().chain([ready])).await?;
        Ok(seen.fields)
    }

    /// The object of this id, when it is in no environment.
    async fn foreign<T: Tagged>(&self, id: &str, request: &Request<'_>) -> Result<T> {
        let kind = request.resource.address.kind.as_str();
        let all = self.client.list::<T>(&[(T::ID, id)]).await?;
        let found = all.into_iter().next().ok_or_else(|| {
            Error::usage(format!("aws: there is no {kind} `{id}` in the region {}", self.client.region()))
        })?;
        match tag(found.tags(), LABEL_ENV) {
            Some(owner) => {
                let project = tag(found.tags(), LABEL_PROJECT).unwrap_or_default();
                Err(belongs("aws", kind, id, owner, project))
            }
            None => Ok(found),
        }
    }

    /// What a network of ours has beside itself is taken over with it: its gateway to the world, which its main route table
    /// must lead to, and the security group of its machines.
    async fn adopt_parts(&self, vpc: &str, request: &Request<'_>) -> Result<()> {
        let gateways = self.client.list::<InternetGateway>(&[("attachment.vpc-id", vpc)]).await?;
        let tables = self.client.list::<RouteTable>(&[("vpc-id", vpc), ("association.main", "true")]).await?;
        let groups = self.client.list::<SecurityGroup>(&[("vpc-id", vpc), ("group-name", "default")]).await?;
        let leads = |gateway: &&InternetGateway| {
            let mut routes = tables.iter().flat_map(|table| &table.route_set);
            routes.any(|one| one.destination_cidr_block == ANYWHERE && one.gateway_id == gateway.internet_gateway_id)
        };
        let Some((gateway, group)) = gateways.iter().find(leads).zip(groups.first()) else {
            let reason = "its main route table does not lead to the world through an internet gateway";
            return Err(not_adopted(vpc, request, reason));
        };
        for (id, part) in [(&gateway.internet_gateway_id, GATEWAY_PART), (&group.group_id, GROUP_PART)] {
            let mut tags = Self::part_tags(request, part);
            tags.remove("Name");
            self.put_tags(vec![id], tags).await?;
        }
        Ok(())
    }
}
