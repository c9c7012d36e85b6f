//! Subnets are bridge networks.

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::{Driver, Object, Owner, address, env_label, epoch, object, object_name, removal::until_gone};
use crate::{
    cloud::docker::{Client, DockerError, Network},
    config::Cidr,
    error::{Error, Result},
    name::Name,
    provider::Request,
    resource::{Address, KindName, Resource, SubnetSpec},
};

pub(super) struct SubnetDriver {
    pub(super) client: Client,
}

/// How often a range is chosen again when another process takes it in the same moment.
const RACES: usize = 20;

#[async_trait]
impl Driver for SubnetDriver {
    async fn list(&self, environment: Option<&Name>) -> Result<Vec<Object>> {
        let networks = self.client.list_networks(Some(&env_label(environment))).await?;
        Ok(networks
            .into_iter()
            .filter_map(|network| {
                let mut object = object(network.labels.as_ref()?, network.id.clone(), epoch(&network.created))?;
                object.attributes.insert("cidr".to_owned(), network.cidr()?.into());
                object.attributes.insert("network".to_owned(), network.name.into());
                Some(object)
            })
            .collect())
    }

    async fn create(&self, request: &Request<'_>) -> Result<Object> {
        let spec: SubnetSpec = request.resource.spec()?;
        let wanted: Cidr = spec.cidr.parse().map_err(Error::usage)?;
        let name = object_name(&request.owner(), &request.resource.address.name);
        let labels = request.labels();
        // A network that another process is just making is not listed yet: the engine's refusal says so.
        let mut refused: Vec<Cidr> = Vec::new();
        for _ in 0..RACES {
            let mut used = self.used_ranges(&[]).await?;
            used.extend(&refused);
            let range = free_range(&request.owner(), request.resource, wanted, &used)?;
            let mut create = self.client.create_network(&name).cidr(&range.to_string()).labels(&labels);
            if let Some(mtu) = address::uplink_mtu() {
                create = create.mtu(mtu);
            }
            match create.send().await {
                Ok(_) => break,
                Err(error) if error.says("overlap") => refused.push(range),
                Err(error) if error.is_conflict() => break,
                Err(error) => return Err(explain(error)),
            }
        }
        let found = self.only(request).await?;
        if found.is_none() && refused.len() == RACES {
            let message =
                format!("docker: {RACES} ranges were taken by others just before the network `{name}` was made");
            return Err(Error::new(message).hint("run the same command again"));
        }
        found.ok_or_else(|| {
            Error::new(format!("docker: a network `{name}` exists that this environment did not make"))
                .hint(format!("remove it: `docker network rm {name}`"))
        })
    }

    async fn delete(&self, id: &str) -> Result<()> {
        until_gone(|| self.client.remove_network(id)).await
    }
}

impl SubnetDriver {
    /// The network of a request. The engine lets two calls at the same time make two networks of one name, as when a
    /// killed command's call is still being carried out: the oldest one stays.
    async fn only(&self, request: &Request<'_>) -> Result<Option<Object>> {
        let mut same: Vec<Object> = self.list(Some(request.environment)).await?;
        let owner = request.owner();
        same.retain(|object| owner.owns(object) && object.address == request.resource.address);
        same.sort_by(|a, b| (a.created, &a.id).cmp(&(b.created, &b.id)));
        let mut same = same.into_iter();
        let oldest = same.next();
        for other in same {
            self.delete(&other.id).await?;
        }
        Ok(oldest)
    }

    /// The ranges that subnets would get if they were created now, one after the other.
    pub(super) async fn choose(
        &self, owner: &Owner, wanted: &[(&Resource, Option<&Object>)],
    ) -> Result<BTreeMap<Address, Map<String, Value>>> {
        let mut chosen = BTreeMap::new();
        let (mut subnets, mut replaced): (Vec<&Resource>, Vec<&str>) = (Vec::new(), Vec::new());
        for (resource, object) in wanted {
            if resource.address.kind == KindName::SUBNET {
                subnets.push(resource);
                replaced.extend(object.map(|object| object.id.as_str()));
            }
        }
        if subnets.is_empty() {
            return Ok(chosen);
        }
        let mut used = self.used_ranges(&replaced).await?;
        for resource in subnets {
            let spec: SubnetSpec = resource.spec()?;
            let cidr: Cidr = spec.cidr.parse().map_err(Error::usage)?;
            let range = free_range(owner, resource, cidr, &used)?;
            used.push(range);
            let field = Map::from_iter([("cidr".to_owned(), Value::from(range.to_string()))]);
            chosen.insert(resource.address.clone(), field);
        }
        Ok(chosen)
    }

    /// The ranges that are in use on the engine and on this machine, without those of networks that are replaced.
    async fn used_ranges(&self, replaced: &[&str]) -> Result<Vec<Cidr>> {
        let mut networks = self.client.list_networks(None).await?;
        let ranges = |networks: &[Network]| -> Vec<Cidr> {
            networks.iter().filter_map(|network| network.cidr()?.parse().ok()).collect()
        };
        let before = ranges(&networks);
        networks.retain(|network| !replaced.contains(&network.id.as_str()));
        let mut used = ranges(&networks);
        // The route of a network that is replaced goes with it.
        let mut routed = address::routed_ranges();
        routed.retain(|range| used.contains(range) || !before.contains(range));
        used.extend(routed);
        Ok(used)
    }
}

/// The range that a subnet gets: the wanted one, or a free one. The search begins at a place that follows from the names of the
/// environment and the subnet, so that a plan and its apply find the same one, and different environments different ones.
fn free_range(owner: &Owner, resource: &Resource, wanted: Cidr, used: &[Cidr]) -> Result<Cidr> {
    let digest = Sha256::digest(format!("{}/{}", owner.environment, resource.address.name));
    let seed = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]);
    address::free_range(wanted, used, seed)
        .ok_or_else(|| Error::new(format!("no free address range of the size of `{wanted}` is left on this machine")))
}

fn explain(error: DockerError) -> Error {
    let pools = error.says("address pools");
    let error = Error::from(error);
    if pools { error.hint("remove unused networks: `docker network prune`") } else { error }
}
