//! What an environment is made of in this cloud: its machines, and the network, the gateway, the identities and the openings
//! that they need.

use std::collections::{BTreeMap, BTreeSet};

use super::postgres;
use crate::{
    cloud::yandex::YandexSettings,
    config::{Environment, Front},
    name::Name,
    provider::{
        dns,
        layout::{accounts, balanced, group, member, name, network_of, opening, resource, single, subnet_in},
        openings,
    },
    resource::{
        Address, AddressSpec, GatewaySpec, KindName, LoadBalancerSpec, NetworkSpec, PostgresSpec, Resource,
        RouteTableSpec, SSH_GROUP, SubnetSpec, VmSpec, spec_fields,
    },
};

/// The name of the gateway and of the route table that leads to it.
const EGRESS: &str = "egress";

/// Ports of some machines that are opened: to the world, or to what checks them.
struct Opening {
    ports: Vec<u16>,
    checked: Vec<u16>,
}

impl Opening {
    fn is_empty(&self) -> bool {
        self.ports.is_empty() && self.checked.is_empty()
    }

    /// The security group that opens them, by the ports.
    fn group(&self) -> Name {
        let (kind, ports) = if self.checked.is_empty() { ("ports", &self.ports) } else { ("checks", &self.checked) };
        openings::group(kind, ports)
    }
}

/// Everything that must exist.
pub(super) fn resources(environment: &Environment) -> Vec<Resource> {
    let network = network_of(environment);
    let mut all = Vec::new();
    let subnets = environment.resources.iter().filter(|one| one.address.kind == KindName::SUBNET);
    let specs = subnets.clone().filter_map(|subnet| subnet.spec::<SubnetSpec>().ok());
    let mut cidrs: Vec<String> = specs.flat_map(|spec| [vec![spec.cidr], spec.more_cidrs].concat()).collect();
    cidrs.sort();
    let origin = subnets.clone().next().map_or_else(String::new, |subnet| subnet.origin.clone());
    // A network that the file names has that name in the cloud; another copy of the environment has one of its own.
    let cloud_name = match &environment.network {
        Some(named) => super::plain_name(&environment.name, named),
        None => environment.name.to_string(),
    };
    let spec = NetworkSpec { name: cloud_name, cidrs, ssh_from: environment.ssh_ranges(), cidr: None };
    all.push(resource(KindName::NETWORK.named(&network), &spec, Vec::new(), &origin));
    all.push(resource(KindName::GATEWAY.named(&name(EGRESS)), &GatewaySpec {}, Vec::new(), &origin));
    let table = KindName::ROUTE_TABLE.named(&name(EGRESS));
    let needs = vec![KindName::NETWORK.named(&network), KindName::GATEWAY.named(&name(EGRESS))];
    let spec = RouteTableSpec { network: network.clone(), gateway: name(EGRESS) };
    all.push(resource(table.clone(), &spec, needs, &origin));
    let mut zones = BTreeMap::new();
    for subnet in subnets {
        let mut subnet = subnet.clone();
        let Ok(mut spec) = subnet.spec::<SubnetSpec>() else { continue };
        let zone = spec.zone.get_or_insert_with(|| environment.section::<YandexSettings>().zone.clone()).clone();
        zones.insert(subnet.address.name.clone(), zone);
        subnet.spec = spec_fields(&spec);
        subnet.needs = vec![KindName::NETWORK.named(&network), table.clone()];
        all.push(subnet);
    }
    all.extend(accounts(environment, str::to_owned));
    machines(environment, &network, &zones, &mut all);
    front_addresses(environment, &mut all);
    // A front of several machines is reached through a balancer before them.
    for (name, front) in balanced(environment) {
        let mut needs: Vec<Address> = front.nodes.iter().map(Address::vm).collect();
        let origin =
            all.iter().find(|one| needs.contains(&one.address)).map_or_else(String::new, |one| one.origin.clone());
        needs
            .extend(front.address.as_ref().or(own_address(environment, front)).map(|one| KindName::ADDRESS.named(one)));
        let spec = LoadBalancerSpec { members: front.nodes.clone(), ports: vec![front.http_port, front.https_port] };
        all.push(resource(KindName::LOAD_BALANCER.named(name), &spec, needs, &origin));
    }
    all.extend(dns::zones(environment, &network));
    all
}

/// The name of the address that a front has of its own: it moves between the front's first machine and its balancer, so that
/// names at a registrar stay right when the front grows or shrinks. None where the file names an address, or the world does not
/// reach the front.
pub(super) fn own_address<'a>(environment: &Environment, front: &'a Front) -> Option<&'a Name> {
    let first = front.nodes.first()?;
    let named = |one: &Resource| one.spec::<VmSpec>().is_ok_and(|spec| spec.reserved_address.is_some());
    let mut machines = environment.resources.iter().filter(|one| one.address == Address::vm(first));
    let has_another = front.address.is_some() || front.nodes.len() == 1 && machines.any(named);
    (front.public && !has_another).then_some(first)
}

/// The address that each front has of its own; a front of one machine gives it to that.
fn front_addresses(environment: &Environment, all: &mut Vec<Resource>) {
    for (name, front) in &environment.nginx {
        let Some(own) = own_address(environment, front) else { continue };
        let Some(machine) = all.iter_mut().find(|one| one.address == Address::vm(own)) else { continue };
        let Ok(mut spec) = machine.spec::<VmSpec>() else { continue };
        let (address, origin) = (KindName::ADDRESS.named(own), machine.origin.clone());
        let reserved = AddressSpec { zone: spec.zone.clone(), front: Some(name.clone()) };
        if front.nodes.len() == 1 {
            spec.reserved_address = Some(own.clone());
            machine.spec = spec_fields(&spec);
            machine.needs.push(address.clone());
        }
        all.push(resource(address, &reserved, Vec::new(), &origin));
    }
}

fn machines(environment: &Environment, network: &Name, zones: &BTreeMap<Name, String>, all: &mut Vec<Resource>) {
    let mut openings: BTreeMap<Name, (Opening, String)> = BTreeMap::new();
    let mut finished =
        |machines: &[Name], spec: &mut VmSpec, origin: &str, needs: &mut Vec<Address>, opening: Opening| {
            spec.zone.get_or_insert_with(|| zones.get(&spec.subnet).cloned().unwrap_or_default());
            spec.core_fraction = fraction(spec);
            spec.class.get_or_insert_with(|| environment.section::<YandexSettings>().platform.clone());
            spec.disk_type.get_or_insert_with(|| environment.section::<YandexSettings>().disk_type.clone());
            needs.push(KindName::NETWORK.named(network));
            // Port 22 is open on the bastion only, by a group that belongs to the network.
            let is_bastion = environment.bastion().is_some_and(|bastion| machines.contains(bastion));
            spec.ports.retain(|port| *port != 22 || is_bastion);
            let mut ports: BTreeSet<u16> = spec.ports.iter().copied().filter(|port| *port != 22).collect();
            ports.extend(opening.ports);
            let opened = Opening { ports: ports.into_iter().collect(), checked: Vec::new() };
            // What is open to the world is open to checkers, too.
            let checked: Vec<u16> = opening.checked.into_iter().filter(|port| !opened.ports.contains(port)).collect();
            for opening in [opened, Opening { ports: Vec::new(), checked }].into_iter().filter(|one| !one.is_empty()) {
                let group = opening.group();
                needs.push(KindName::SECURITY_GROUP.named(&group));
                spec.security_groups.push(group.clone());
                openings.entry(group).or_insert_with(|| (opening, origin.to_owned()));
            }
            if is_bastion {
                spec.security_groups.push(name(SSH_GROUP));
            }
        };
    // Behind a balancer the world reaches machines at their inner addresses.
    let balanced: BTreeMap<&Name, [u16; 2]> = balanced(environment)
        .flat_map(|(_, front)| front.nodes.iter().map(|node| (node, [front.http_port, front.https_port])))
        .collect();
    let mut made = Vec::new();
    for one in single(environment) {
        let mut one = one.clone();
        match one.address.kind {
            KindName::VM => {
                let Ok(mut spec) = one.spec::<VmSpec>() else { continue };
                let ports = balanced.get(&one.address.name).map(|ports| ports.to_vec()).unwrap_or_default();
                finished(
                    std::slice::from_ref(&one.address.name),
                    &mut spec,
                    &one.origin,
                    &mut one.needs,
                    Opening { ports, checked: Vec::new() },
                );
                one.spec = spec_fields(&spec);
                made.push(one);
            }
            KindName::DISK => {
                let zone = disk_zone(environment, zones, &one.address.name);
                if let Ok(mut spec) = one.spec::<crate::resource::DiskSpec>() {
                    spec.zone = Some(zone.unwrap_or_else(|| environment.section::<YandexSettings>().zone.clone()));
                    spec.disk_type.get_or_insert_with(|| environment.section::<YandexSettings>().disk_type.clone());
                    one.spec = spec_fields(&spec);
                }
                made.push(one);
            }
            KindName::ADDRESS | KindName::REGISTRY => made.push(one),
            _ => {}
        }
    }
    for (name, settings) in &environment.groups {
        let mut machine = member(settings);
        let origin = settings.mark.to_string();
        let mut needs = vec![Address::subnet(&machine.subnet)];
        let subnets = settings.zones.iter().filter_map(|zone| subnet_in(zone, &machine.subnet, zones));
        needs.extend(subnets.map(Address::subnet).filter(|subnet| *subnet != needs[0]).collect::<Vec<_>>());
        if !settings.zones.is_empty() && zones.get(&machine.subnet).is_some_and(|zone| !settings.zones.contains(zone)) {
            // None of its machines is in the zone of the subnet that the file names.
            needs.remove(0);
        }
        needs.extend(settings.service_account.as_ref().map(|account| KindName::SERVICE_ACCOUNT.named(account)));
        let checked = settings.health_check.iter().map(|check| check.port).collect();
        finished(&settings.members, &mut machine, &origin, &mut needs, Opening { ports: Vec::new(), checked });
        made.push(resource(KindName::INSTANCE_GROUP.named(name), &group(settings, machine), needs, &origin));
    }
    made.extend(databases(environment, network, zones, &mut openings));
    for (group, (Opening { ports, checked }, origin)) in openings {
        all.push(opening(&group, network, ports, checked, &origin));
    }
    all.extend(made);
}

/// Managed databases. The port of one that the world may reach is opened by a group of its own.
fn databases(
    environment: &Environment, network: &Name, zones: &BTreeMap<Name, String>,
    openings: &mut BTreeMap<Name, (Opening, String)>,
) -> Vec<Resource> {
    let mut made = Vec::new();
    for one in environment.resources.iter().filter(|one| one.address.kind == KindName::POSTGRES) {
        let Ok(mut spec) = one.spec::<PostgresSpec>() else { continue };
        let mut one = one.clone();
        postgres::complete(&mut spec);
        spec.zone.get_or_insert_with(|| zones.get(&spec.subnet).cloned().unwrap_or_default());
        one.needs.push(KindName::NETWORK.named(network));
        if spec.public {
            let opening = Opening { ports: vec![postgres::PORT], checked: Vec::new() };
            let group = opening.group();
            one.needs.push(KindName::SECURITY_GROUP.named(&group));
            openings.entry(group).or_insert_with(|| (opening, one.origin.clone()));
        }
        one.spec = spec_fields(&spec);
        made.push(one);
    }
    made
}

/// A disk stands in the zone of its machine.
fn disk_zone(environment: &Environment, zones: &BTreeMap<Name, String>, disk: &Name) -> Option<String> {
    let machines = environment.resources.iter().filter_map(|one| one.spec::<VmSpec>().ok());
    let owner = machines.into_iter().find(|machine| machine.disks.contains(disk))?;
    owner.zone.or_else(|| zones.get(&owner.subnet).cloned())
}

/// The share of its processors that a machine gets: a GB of memory a processor is the least that goes with whole ones.
pub(super) fn fraction(spec: &VmSpec) -> u32 {
    let little = spec.memory_mb / u64::from(spec.cores.max(1)) < 1024;
    if spec.core_fraction == 100 && little { 50 } else { spec.core_fraction }
}
