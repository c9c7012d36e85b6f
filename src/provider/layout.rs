//! What the layouts of clouds share: which machines and disks are single ones, what groups are, identities and the security
//! groups that open ports.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    config::{Environment, Front, Group},
    name::Name,
    resource::{
        Address, InstanceGroupSpec, KindName, Resource, RoleBindingSpec, SecurityGroupSpec, ServiceAccountSpec, VmSpec,
        spec_fields,
    },
};

/// A name that is known to be one.
pub(super) fn name(text: &str) -> Name {
    text.parse().expect("a valid name")
}

/// A resource, in a few words.
pub(super) fn resource<T: serde::Serialize>(address: Address, spec: &T, needs: Vec<Address>, origin: &str) -> Resource {
    Resource { address, spec: spec_fields(spec), needs, origin: origin.to_owned(), data: Vec::new() }
}

/// The name of an environment's network within the environment.
pub(super) fn network_of(environment: &Environment) -> Name {
    environment.network.clone().unwrap_or_else(|| name("main"))
}

/// The machines and disks of a file that are resources of their own, in its order: those of groups belong to their groups, and
/// a group in a cloud has no second disks.
pub(super) fn single(environment: &Environment) -> impl Iterator<Item = &Resource> {
    let groups = || environment.groups.values();
    let members: BTreeSet<Address> = groups().flat_map(|group| group.members.iter().map(Address::vm)).collect();
    let disks: BTreeSet<Address> = groups().flat_map(|group| group.machine.disks.iter().map(Address::disk)).collect();
    environment.resources.iter().filter(move |one| !members.contains(&one.address) && !disks.contains(&one.address))
}

/// A machine of a group, before its cloud completes it.
pub(super) fn member(group: &Group) -> VmSpec {
    VmSpec { disks: Vec::new(), ..group.machine.clone() }
}

/// A group whose machines are completed.
pub(super) fn group(settings: &Group, machine: VmSpec) -> InstanceGroupSpec {
    InstanceGroupSpec {
        count: u32::try_from(settings.members.len()).unwrap_or(u32::MAX),
        zones: settings.zones.clone(),
        max_unavailable: settings.max_unavailable,
        max_expansion: settings.max_expansion,
        health_check: settings.health_check.clone(),
        service_account: settings.service_account.clone(),
        machine,
    }
}

/// The subnet of a group's machines in a zone: the one that the file names, or another one that is there.
pub(super) fn subnet_in<'a>(zone: &str, named: &'a Name, zones: &'a BTreeMap<Name, String>) -> Option<&'a Name> {
    if zones.get(named).is_some_and(|own| own == zone) {
        return Some(named);
    }
    zones.iter().find(|(_, own)| *own == zone).map(|(subnet, _)| subnet)
}

/// Identities, and what each may do; `role` is what the cloud calls a role of the file.
pub(super) fn accounts(environment: &Environment, role: fn(&str) -> String) -> Vec<Resource> {
    let mut all = Vec::new();
    for (account, (roles, mark)) in &environment.service_accounts {
        let (address, origin) = (KindName::SERVICE_ACCOUNT.named(account), mark.to_string());
        all.push(resource(address.clone(), &ServiceAccountSpec {}, Vec::new(), &origin));
        if !roles.is_empty() {
            let mut roles: Vec<String> = roles.iter().map(|name| role(name)).collect();
            roles.sort();
            let spec = RoleBindingSpec { service_account: account.clone(), roles };
            all.push(resource(KindName::ROLE_BINDING.named(account), &spec, vec![address], &origin));
        }
    }
    all
}

/// A security group of a network that opens ports to the world, and others to what checks machines.
pub(super) fn opening(group: &Name, network: &Name, ports: Vec<u16>, checked: Vec<u16>, origin: &str) -> Resource {
    let spec = SecurityGroupSpec { network: network.clone(), ports, checked };
    resource(KindName::SECURITY_GROUP.named(group), &spec, vec![KindName::NETWORK.named(network)], origin)
}

/// The fronts that are reached through a balancer before their several machines.
pub(super) fn balanced(environment: &Environment) -> impl Iterator<Item = (&Name, &Front)> {
    environment.nginx.iter().filter(|(_, front)| front.nodes.len() > 1)
}
