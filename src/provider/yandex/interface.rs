//! How machines are connected: their public addresses and their security groups.

use serde_json::{Map, Value, json};

use super::{
    account::{explain, needed},
    compute::VmDriver,
    public,
};
use crate::{
    cloud::yandex::{Address as ReservedAddress, Instance, NetworkInterface},
    error::Result,
    provider::Request,
    resource::{KindName, SSH_GROUP, VmSpec},
};

/// A machine's one network interface.
pub(super) const INTERFACE: &str = "0";

/// The public address of a machine, as it is asked for: any, or the reserved one.
pub(super) fn public_address(request: &Request<'_>, spec: &VmSpec) -> Result<Value> {
    let mut asked = json!({ "ipVersion": "IPV4" });
    if let Some(reserved) = &spec.reserved_address {
        let address = needed(request, &KindName::ADDRESS.named(reserved))?;
        asked["address"] = address.attribute("public_address").unwrap_or_default().into();
    }
    Ok(asked)
}

/// The security groups of a machine: that of the network, then those that open its ports.
pub(super) fn security_groups<'a>(request: &'a Request<'_>, spec: &VmSpec) -> Result<Vec<&'a str>> {
    let network = request.need(KindName::NETWORK);
    let mut groups = vec![request.default_group()?];
    for name in &spec.security_groups {
        // The bastion's group is a part of the network.
        let own = network.filter(|_| name.as_str() == SSH_GROUP).and_then(|network| network.attribute(SSH_GROUP));
        groups.push(match own {
            Some(own) => own,
            None => &needed(request, &KindName::SECURITY_GROUP.named(name))?.id,
        });
    }
    Ok(groups)
}

/// The addresses of a machine, as attributes of its object.
pub(super) fn addresses(interface: &NetworkInterface) -> Map<String, Value> {
    let inner = &interface.primary_v4_address;
    let mut attributes = Map::from_iter([("address".to_owned(), inner.address.as_str().into())]);
    if let Some(public) = inner.one_to_one_nat.as_ref().filter(|nat| !nat.address.is_empty()) {
        attributes.insert("public_address".to_owned(), public.address.as_str().into());
    }
    attributes
}

impl VmDriver {
    /// Takes the reserved address of a machine from what else has it.
    pub(super) async fn take(&self, request: &Request<'_>, spec: &VmSpec, machine: &str) -> Result<()> {
        let Some(reserved) = &spec.reserved_address else { return Ok(()) };
        let address = &needed(request, &KindName::ADDRESS.named(reserved))?.id;
        let freed = self.0.free(address, machine, request.token).await;
        freed.map_err(|error| explain(error, request.resource))
    }

    /// Gives a machine the public address that it should have, or none.
    pub(super) async fn readdress(&self, instance: &Instance, spec: &VmSpec, request: &Request<'_>) -> Result<()> {
        let (client, id) = (&self.0.client, instance.id.as_str());
        let wrong = |error| explain(error, request.resource);
        let interface = instance.network_interfaces.first();
        let present = interface.and_then(|interface| interface.primary_v4_address.one_to_one_nat.as_ref());
        let wanted = public_address(request, spec)?;
        // A reserved address takes the place of another one; and one that is not to be the machine's any more is given back.
        let (other, waits) = match (present, wanted["address"].as_str()) {
            (Some(present), Some(wanted)) => (present.address != wanted, false),
            (Some(present), None) => {
                let all = client.list::<ReservedAddress>(&self.0.folder).await.map_err(wrong)?;
                let reserved =
                    all.iter().find(|one| one.reserved && one.external_ipv4_address.address == present.address);
                // A front's address is taken by its balancer once that is created, so that something answers at it until then.
                (reserved.is_some(), !spec.public && reserved.is_some_and(|one| public::is_of_front(one, request)))
            }
            (None, _) => (false, false),
        };
        let leaves = present.filter(|_| (!spec.public || other) && !waits);
        if leaves.is_some() {
            let call = client.remove_one_to_one_nat(id).network_interface_index(INTERFACE);
            call.send(request.token).await.map_err(wrong)?;
        }
        if spec.public && (present.is_none() || other) {
            self.take(request, spec, id).await?;
            let call = client.add_one_to_one_nat(id).network_interface_index(INTERFACE);
            if let Err(error) = call.one_to_one_nat_spec(wanted).send(request.token).await {
                // A machine is not left without an address because it cannot have another one.
                if let Some(before) = leaves {
                    let reserved = client.list::<ReservedAddress>(&self.0.folder).await.map_err(wrong)?;
                    let is_reserved =
                        |one: &ReservedAddress| one.reserved && one.external_ipv4_address.address == before.address;
                    let mut spec = json!({ "ipVersion": "IPV4" });
                    if reserved.iter().any(is_reserved) {
                        spec["address"] = before.address.as_str().into();
                    }
                    let call = client.add_one_to_one_nat(id).network_interface_index(INTERFACE);
                    call.one_to_one_nat_spec(spec).send(request.token).await.map_err(wrong)?;
                }
                return Err(wrong(error));
            }
        }
        Ok(())
    }

    /// Puts a machine into the security groups that its ports ask for.
    pub(super) async fn regroup(&self, instance: &Instance, spec: &VmSpec, request: &Request<'_>) -> Result<()> {
        let wanted = security_groups(request, spec)?;
        let mut present: Vec<&str> =
            instance.network_interfaces.iter().flat_map(|i| &i.security_group_ids).map(String::as_str).collect();
        present.sort_unstable();
        let mut sorted = wanted.clone();
        sorted.sort_unstable();
        if present != sorted {
            let call = self.0.client.update_network_interface(&instance.id);
            let index = Map::from_iter([("networkInterfaceIndex".to_owned(), INTERFACE.into())]);
            let sent = call.security_group_ids(wanted).also(index).send(request.token).await;
            sent.map_err(|error| explain(error, request.resource))?;
        }
        Ok(())
    }
}
