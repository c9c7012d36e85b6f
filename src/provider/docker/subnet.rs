//! Subnets are bridge networks.

use async_trait::async_trait;

use super::{Driver, Object, address, env_label, epoch, object, object_name, removal::until_gone};
use crate::{
    cloud::docker::{Client, DockerError},
    config::Cidr,
    error::{Error, Result},
    name::Name,
    provider::Request,
    resource::SubnetSpec,
};

pub(super) struct SubnetDriver {
    pub(super) client: Client,
}

/// How often a range is chosen anew when another process takes it in the same moment.
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
        // A network that another process is just making is not listed yet: the engine's refusal tells of it.
        let mut refused: Vec<Cidr> = Vec::new();
        for _ in 0..RACES {
            let seed = getrandom::u32().unwrap_or(0);
            let range = self.free_range(wanted, &refused, seed).await?;
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

    async fn free_range(&self, wanted: Cidr, refused: &[Cidr], seed: u32) -> Result<Cidr> {
        let networks = self.client.list_networks(None).await?;
        let mut used: Vec<Cidr> = networks.iter().filter_map(|network| network.cidr()?.parse().ok()).collect();
        used.extend(address::routed_ranges());
        used.extend(refused);
        address::free_range(wanted, &used, seed).ok_or_else(|| {
            Error::new(format!("no free address range of the size of `{wanted}` is left on this machine"))
        })
    }
}

fn explain(error: DockerError) -> Error {
    let pools = error.says("address pools");
    let error = Error::from(error);
    if pools { error.hint("remove networks that nobody uses: `docker network prune`") } else { error }
}
