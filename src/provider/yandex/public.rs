//! Reserved public addresses: which machine or balancer has one, and how it moves from one to another.

use async_trait::async_trait;
use serde_json::json;

use super::{
    account::{Account, if_there, object, object_name},
    balancer, compute,
    interface::INTERFACE,
};
use crate::{
    cloud::yandex::{Address, Instance, LoadBalancer, YandexError},
    error::Result,
    name::Name,
    provider::{Driver, Object, Request},
    resource::{self, AddressSpec, KindName},
};

/// The label of an address that is a front's own: the front's name.
const LABEL_FRONT: &str = "infra-front";

/// Reserved public addresses.
pub(super) struct AddressDriver(pub(super) Account);

pub(super) fn show_address(one: &Address, environment: Option<&Name>) -> Option<Object> {
    let mut object = object(&one.labels, KindName::ADDRESS, environment, &one.id, &one.created_at)?;
    let address = one.external_ipv4_address.address.as_str();
    object.attributes.insert("public_address".to_owned(), address.into());
    object.actual.insert("zone".to_owned(), one.external_ipv4_address.zone_id.as_str().into());
    Some(object)
}

/// Whether an address is a front's own, of the environment that a request is about.
pub(super) fn is_of_front(one: &Address, request: &Request<'_>) -> bool {
    one.labels.contains_key(LABEL_FRONT)
        && show_address(one, Some(request.environment)).is_some_and(|object| object.project == request.project)
}

/// The machines and the balancers of a folder.
async fn users(account: &Account) -> Result<(Vec<Instance>, Vec<LoadBalancer>), YandexError> {
    let (client, folder) = (&account.client, account.folder.as_str());
    tokio::try_join!(client.list::<Instance>(folder), client.list::<LoadBalancer>(folder))
}

impl Account {
    /// Takes a reserved address from what has it, unless that is the one that is to have it: a machine loses its public
    /// address, a balancer its listeners. Only then can it be given to something else, or be removed.
    pub(super) async fn free(&self, address: &str, keeper: &str, token: &str) -> Result<(), YandexError> {
        let found: Address = match self.client.describe(address).await {
            Err(error) if error.is_not_found() => return Ok(()),
            found => found?,
        };
        if !found.used {
            return Ok(());
        }
        let public = found.external_ipv4_address.address.as_str();
        let (machines, balancers) = users(self).await?;
        for machine in machines.iter().filter(|machine| machine.id != keeper) {
            let mut nats =
                machine.network_interfaces.iter().filter_map(|one| one.primary_v4_address.one_to_one_nat.as_ref());
            if nats.any(|nat| nat.address == public) {
                let call = self.client.remove_one_to_one_nat(&machine.id).network_interface_index(INTERFACE);
                gone_is_free(call.send(token).await)?;
            }
        }
        for balancer in balancers.iter().filter(|balancer| balancer.id != keeper) {
            for listener in balancer.listeners.iter().filter(|listener| listener.address == public) {
                let call = self.client.remove_listener(&balancer.id).listener_name(&listener.name);
                gone_is_free(call.send(token).await)?;
            }
        }
        Ok(())
    }
}

/// What is gone has no address any more.
fn gone_is_free<T>(answer: Result<T, YandexError>) -> Result<(), YandexError> {
    match answer {
        Err(error) if !error.is_not_found() => Err(error),
        _ => Ok(()),
    }
}

impl AddressDriver {
    /// The address that the machine or the balancer of a front has already, which is no one's own yet. An earlier version did
    /// not reserve it.
    async fn present(&self, request: &Request<'_>, front: &Name) -> Result<Option<Address>> {
        let (machines, balancers) = users(&self.0).await?;
        let machine = resource::Address::vm(&request.resource.address.name);
        let balancer = KindName::LOAD_BALANCER.named(front);
        let environment = Some(request.environment);
        let shown = (balancers.iter().filter_map(|one| balancer::show(one, None, environment)))
            .chain(machines.iter().filter_map(|one| compute::show(one, None, environment)));
        let public = shown
            .filter(|object| object.project == request.project)
            .filter(|object| object.address == balancer || object.address == machine)
            .find_map(|object| object.attribute("public_address").filter(|one| !one.is_empty()).map(str::to_owned));
        let Some(public) = public else { return Ok(None) };
        let all = self.0.client.list::<Address>(&self.0.folder).await?;
        let mut dynamic = all.into_iter().filter(|one| !one.reserved && one.labels.is_empty());
        Ok(dynamic.find(|one| one.external_ipv4_address.address == public))
    }
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
        let mut labels = Account::labels(request);
        labels.extend(spec.front.iter().map(|front| (LABEL_FRONT.to_owned(), front.to_string())));
        let present = match &spec.front {
            Some(front) => self.present(request, front).await?,
            None => None,
        };
        if let Some(present) = present {
            let call = self.0.client.update_address(&present.id).name(&name).labels(&labels).reserved(true);
            return self.0.create(self, request, call.send(request.token)).await;
        }
        let zone = spec.zone.as_deref().unwrap_or(&self.0.settings.zone);
        let call = self.0.client.create_address().folder_id(&self.0.folder).name(&name).labels(&labels);
        let call = call.external_ipv4_address_spec(json!({ "zoneId": zone }));
        self.0.create(self, request, call.send(request.token)).await
    }

    async fn delete(&self, id: &str) -> Result<()> {
        // One that is replaced leaves what has it, which gets the new one.
        if_there(self.0.free(id, "", id).await)?;
        self.0.remove(|| self.0.client.delete_address(id).send(id)).await
    }
}
