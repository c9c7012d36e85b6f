//! What an environment is made of in this cloud. A subnet of the file becomes two: the lower half of its range is private, and
//! reaches the world through the gateway; the upper half is for machines with a public address, and for the gateway itself.

use std::collections::{BTreeMap, BTreeSet};

use super::{iam, postgres, ranges};
use crate::{
    cloud::aws::AwsSettings,
    config::{Cidr, Environment},
    name::Name,
    provider::{
        dns,
        layout::{accounts, balanced, group, member, name, network_of, opening, resource, single, subnet_in},
        openings,
    },
    resource::{
        Address, DiskSpec, GatewaySpec, KindName, LoadBalancerSpec, NetworkSpec, PostgresSpec, Resource,
        RouteTableSpec, SubnetSpec, VmSpec,
    },
};

/// The name of the gateway and of the route table that leads to it.
const EGRESS: &str = "egress";
/// The name of the subnet in another zone that a managed database may move to.
const SPARE: &str = "second-zone";

/// Classes of machines, the cheapest first: name, processors, memory in MB.
const CLASSES: &[(&str, u32, u64)] = &[
    ("t3.nano", 2, 512),
    ("t3.micro", 2, 1024),
    ("t3.small", 2, 2048),
    ("t3.medium", 2, 4096),
    ("t3.large", 2, 8192),
    ("r6i.large", 2, 16 * 1024),
    ("t3.xlarge", 4, 16 * 1024),
    ("r6i.xlarge", 4, 32 * 1024),
    ("t3.2xlarge", 8, 32 * 1024),
    ("r6i.2xlarge", 8, 64 * 1024),
    ("m6i.4xlarge", 16, 64 * 1024),
    ("r6i.4xlarge", 16, 128 * 1024),
    ("m6i.8xlarge", 32, 128 * 1024),
    ("r6i.8xlarge", 32, 256 * 1024),
    ("m6i.16xlarge", 64, 256 * 1024),
    ("r6i.16xlarge", 64, 512 * 1024),
];

/// The names of the classes that infra chooses from.
pub(super) fn class_names() -> impl Iterator<Item = &'static str> {
    CLASSES.iter().map(|(name, ..)| *name)
}

/// The cheapest class that has as many processors and as much memory, in MB.
pub(super) fn class_of(cores: u32, memory_mb: u64) -> Option<&'static str> {
    let fits = |(_, has, memory): &&(&str, u32, u64)| *has >= cores && *memory >= memory_mb;
    CLASSES.iter().find(fits).map(|(name, ..)| *name)
}

/// The processors of a class; of one that is not in the table, the least that machines have.
pub(super) fn cores_of(class: &str) -> u32 {
    CLASSES.iter().find(|(name, ..)| *name == class).map_or(2, |(_, cores, _)| *cores)
}

/// The cheapest class that has what a machine asks for.
pub(super) fn class(spec: &VmSpec) -> Option<&'static str> {
    class_of(spec.cores, spec.memory_mb)
}

/// The subnet for machines with a public address, of a subnet of the file.
fn public(subnet: &Name) -> Name {
    let text = format!("{subnet}-public");
    text.parse().unwrap_or_else(|_| name(&format!("{}-public", subnet.as_str()[..50].trim_end_matches('-'))))
}

/// Another zone of the same region: every region has an `a` and a `b`.
fn other_zone(zone: &str) -> String {
    let (region, letter) = zone.split_at(zone.len().saturating_sub(1));
    format!("{region}{}", if letter == "a" { "b" } else { "a" })
}

/// The subnets of the file, with their ranges.
pub(super) fn subnets(environment: &Environment) -> impl Iterator<Item = (&Resource, Cidr)> {
    let subnets = environment.resources.iter().filter(|one| one.address.kind == KindName::SUBNET);
    subnets.filter_map(|subnet| Some((subnet, subnet.spec::<SubnetSpec>().ok()?.cidr.parse().ok()?)))
}

/// The zones of the subnets of the file.
fn zones_named(environment: &Environment, usual_zone: &str) -> BTreeSet<String> {
    let zone = |subnet: &Resource| subnet.spec::<SubnetSpec>().ok()?.zone;
    subnets(environment).map(|(subnet, _)| zone(subnet).unwrap_or_else(|| usual_zone.to_owned())).collect()
}

/// Whether a small subnet in another zone is needed: a managed database must be able to be in two zones, and the file names one.
pub(super) fn needs_second_zone(environment: &Environment, usual_zone: &str) -> bool {
    let managed = environment.resources.iter().any(|one| one.address.kind == KindName::POSTGRES);
    managed && zones_named(environment, usual_zone).len() < 2
}

/// Everything that must exist.
pub(super) fn resources(environment: &Environment, usual_zone: &str) -> Vec<Resource> {
    let network = network_of(environment);
    let network_address = KindName::NETWORK.named(&network);
    let mut all = Vec::new();
    let subnets: Vec<(&Resource, Cidr)> = subnets(environment).collect();
    let Some((first, first_range)) = subnets.first().copied() else { return all };
    let mut inside: Vec<String> = subnets.iter().map(|(_, cidr)| cidr.to_string()).collect();
    inside.sort();
    let spec = NetworkSpec {
        name: environment.name.to_string(),
        cidrs: inside,
        ssh_from: environment.ssh_ranges(),
        cidr: None,
    };
    all.push(resource(network_address.clone(), &spec, Vec::new(), &first.origin));
    let gateway = KindName::GATEWAY.named(&name(EGRESS));
    let needs = vec![Address::subnet(&public(&first.address.name))];
    all.push(resource(gateway.clone(), &GatewaySpec {}, needs, &first.origin));
    let table = KindName::ROUTE_TABLE.named(&name(EGRESS));
    let spec = RouteTableSpec { network: network.clone(), gateway: name(EGRESS) };
    all.push(resource(table.clone(), &spec, vec![network_address.clone(), gateway], &first.origin));
    let mut zones = BTreeMap::new();
    for (subnet, cidr) in subnets {
        let Ok(spec) = subnet.spec::<SubnetSpec>() else { continue };
        let zone = spec.zone.unwrap_or_else(|| usual_zone.to_owned());
        let (lower, upper) = ranges::halves(cidr);
        let half = |cidr: Cidr, prefix| SubnetSpec {
            cidr: cidr.to_string(),
            more_cidrs: Vec::new(),
            prefix,
            zone: Some(zone.clone()),
        };
        let inner = vec![network_address.clone(), table.clone()];
        all.push(resource(subnet.address.clone(), &half(lower, None), inner, &subnet.origin));
        let outer = Address::subnet(&public(&subnet.address.name));
        let prefix = Some((upper.prefix + 1).min(ranges::SMALLEST));
        all.push(resource(outer, &half(upper, prefix), vec![network_address.clone()], &subnet.origin));
        zones.insert(subnet.address.name.clone(), zone);
    }
    if needs_second_zone(environment, usual_zone) {
        let (_, upper) = ranges::halves(first_range);
        let zone = zones_named(environment, usual_zone).first().map(|zone| other_zone(zone));
        let spec = SubnetSpec { cidr: upper.to_string(), more_cidrs: Vec::new(), prefix: Some(ranges::SMALLEST), zone };
        let needs = vec![network_address.clone(), table.clone()];
        all.push(resource(Address::subnet(&name(SPARE)), &spec, needs, &first.origin));
    }
    all.extend(accounts(environment, iam::policy));
    machines(environment, &network, &zones, &mut all);
    databases(environment, &network, &zones, &mut all);
    // A front of several machines is reached through a balancer before them.
    for (name, front) in balanced(environment) {
        let mut needs: Vec<Address> = front.nodes.iter().map(Address::vm).collect();
        let machines = all.iter().filter(|one| needs.contains(&one.address));
        let origin = machines.clone().next().map_or_else(String::new, |one| one.origin.clone());
        // The balancer itself stands where the world comes in: in the public halves of its machines' subnets.
        let mut subnets: Vec<Address> = machines
            .filter_map(|one| one.spec::<VmSpec>().ok())
            .map(|spec| Address::subnet(&if spec.public { spec.subnet } else { public(&spec.subnet) }))
            .collect();
        subnets.sort();
        subnets.dedup();
        needs.extend(subnets);
        needs.push(network_address.clone());
        let mut ports = vec![front.http_port, front.https_port];
        ports.sort_unstable();
        let spec = LoadBalancerSpec { members: front.nodes.clone(), ports };
        all.push(resource(KindName::LOAD_BALANCER.named(name), &spec, needs, &origin));
    }
    all.extend(environment.resources.iter().filter(|one| one.address.kind == KindName::ADDRESS).cloned());
    all.extend(dns::zones(environment, &network));
    all
}

/// Managed databases: each may be in its own subnet, and in those of other zones.
fn databases(environment: &Environment, network: &Name, zones: &BTreeMap<Name, String>, all: &mut Vec<Resource>) {
    let mut made = Vec::new();
    for one in environment.resources.iter().filter(|one| one.address.kind == KindName::POSTGRES) {
        let Ok(mut spec) = one.spec::<PostgresSpec>() else { continue };
        postgres::complete(&mut spec);
        if spec.public {
            spec.subnet = public(&spec.subnet);
        }
        let own = zones.get(&spec.subnet).or_else(|| zones.values().next()).cloned();
        let zone = spec.zone.get_or_insert_with(|| own.unwrap_or_default()).clone();
        // The world reaches a server in the subnets for that only, whichever zone it is in.
        let others = all.iter().filter(|other| other.address.kind == KindName::SUBNET).filter(|other| {
            let is_public = other.address.name.as_str().ends_with("-public");
            let is_elsewhere =
                || other.spec::<SubnetSpec>().is_ok_and(|subnet| subnet.zone.as_deref() != Some(zone.as_str()));
            let is_spare = other.address.name.as_str() == SPARE;
            if spec.public { is_public || is_spare } else { !is_public && is_elsewhere() }
        });
        let mut needs = vec![Address::subnet(&spec.subnet), KindName::NETWORK.named(network)];
        needs.extend(others.map(|other| other.address.clone()).filter(|other| *other != needs[0]).collect::<Vec<_>>());
        if spec.public {
            let opens = openings::group("ports", &[postgres::PORT]);
            let opens = opening(&opens, network, vec![postgres::PORT], Vec::new(), &one.origin);
            needs.push(opens.address.clone());
            if !all.iter().chain(&made).any(|other| other.address == opens.address) {
                made.push(opens);
            }
        }
        made.push(resource(one.address.clone(), &spec, needs, &one.origin));
    }
    all.extend(made);
}

fn machines(environment: &Environment, network: &Name, zones: &BTreeMap<Name, String>, all: &mut Vec<Resource>) {
    let mut openings: BTreeMap<Name, (Vec<u16>, String)> = BTreeMap::new();
    let mut disk_zones: BTreeMap<Name, String> = BTreeMap::new();
    let mut finished = |machines: &[Name], spec: &mut VmSpec, origin: &str| {
        let zone = zones.get(&spec.subnet).cloned().unwrap_or_default();
        disk_zones.extend(spec.disks.iter().map(|disk| (disk.clone(), zone.clone())));
        spec.zone = Some(zone);
        if spec.class.is_none() {
            spec.class = class(spec).map(str::to_owned);
        }
        spec.disk_type.get_or_insert_with(|| environment.section::<AwsSettings>().disk_type.clone());
        let mut needs: Vec<Address> = spec.disks.iter().map(Address::disk).collect();
        if spec.public {
            spec.subnet = public(&spec.subnet);
        }
        needs.extend(spec.reserved_address.iter().map(|name| KindName::ADDRESS.named(name)));
        needs.extend([Address::subnet(&spec.subnet), KindName::NETWORK.named(network)]);
        if !spec.public {
            // A machine that cannot reach the world at its first boot has missed its packages.
            needs.push(KindName::ROUTE_TABLE.named(&name(EGRESS)));
        }
        if let Some(group) = openings::open(environment, machines, spec) {
            needs.push(KindName::SECURITY_GROUP.named(&group));
            let ports = spec.ports.iter().copied().filter(|port| *port != 22).collect();
            openings.entry(group).or_insert_with(|| (ports, origin.to_owned()));
        }
        needs
    };
    let mut made = Vec::new();
    for one in single(environment).filter(|one| one.address.kind == KindName::VM) {
        let Ok(mut spec) = one.spec::<VmSpec>() else { continue };
        let needs = finished(std::slice::from_ref(&one.address.name), &mut spec, &one.origin);
        made.push(resource(one.address.clone(), &spec, needs, &one.origin));
    }
    for (name, settings) in &environment.groups {
        let mut machine = member(settings);
        let origin = settings.mark.to_string();
        // One subnet a zone: that which the file names is the first.
        let mut subnets: Vec<Name> =
            settings.zones.iter().filter_map(|zone| subnet_in(zone, &machine.subnet, zones)).cloned().collect();
        if let Some(first) = subnets.first().filter(|_| !subnets.contains(&machine.subnet)) {
            machine.subnet = first.clone();
        }
        subnets.retain(|subnet| *subnet != machine.subnet);
        let mut needs = finished(&settings.members, &mut machine, &origin);
        needs
            .extend(subnets.iter().map(|own| Address::subnet(&if machine.public { public(own) } else { own.clone() })));
        if let Some(account) = &settings.service_account {
            needs.extend([KindName::SERVICE_ACCOUNT.named(account), KindName::ROLE_BINDING.named(account)]);
            needs.retain(|need| need.kind != KindName::ROLE_BINDING || all.iter().any(|other| other.address == *need));
        }
        made.push(resource(KindName::INSTANCE_GROUP.named(name), &group(settings, machine), needs, &origin));
    }
    for one in single(environment).filter(|one| one.address.kind == KindName::DISK) {
        let Ok(mut spec) = one.spec::<DiskSpec>() else { continue };
        spec.zone = disk_zones.get(&one.address.name).cloned();
        spec.disk_type.get_or_insert_with(|| environment.section::<AwsSettings>().disk_type.clone());
        made.push(resource(one.address.clone(), &spec, one.needs.clone(), &one.origin));
    }
    for (group, (ports, origin)) in openings {
        all.push(opening(&group, network, ports, Vec::new(), &origin));
    }
    all.extend(made);
}

#[cfg(test)]
mod tests {
    use super::other_zone;

    #[test]
    fn the_second_zone_is_another_one() {
        assert_eq!(
            (other_zone("eu-central-1a"), other_zone("eu-central-1c")),
            ("eu-central-1b".into(), "eu-central-1a".into())
        );
    }
}
