//! What an environment is made of in this cloud. A subnet of the file becomes two: the lower half of its range is private, and
//! reaches the world through the gateway; the upper half is for machines with a public address, and for the gateway itself.

use std::collections::BTreeMap;

use crate::{
    config::{Cidr, Environment},
    error::Diagnostic,
    name::Name,
    resource::{
        Address, DiskSpec, GatewaySpec, KindName, LoadBalancerSpec, NetworkSpec, Resource, RouteTableSpec,
        SecurityGroupSpec, SubnetSpec, VmSpec, spec_fields,
    },
};

/// The name of the gateway and of the route table that leads to it.
const EGRESS: &str = "egress";

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

/// The cheapest class that has what a machine asks for.
fn class(spec: &VmSpec) -> Option<&'static str> {
    let fits = |(_, cores, memory): &&(&str, u32, u64)| *cores >= spec.cores && *memory >= spec.memory_mb;
    CLASSES.iter().find(fits).map(|(name, ..)| *name)
}

fn name(text: &str) -> Name {
    text.parse().expect("a valid name")
}

/// The subnet for machines with a public address, of a subnet of the file.
fn public(subnet: &Name) -> Name {
    let text = format!("{subnet}-public");
    text.parse().unwrap_or_else(|_| name(&format!("{}-public", subnet.as_str()[..50].trim_end_matches('-'))))
}

/// Both halves of a range.
fn halves(cidr: Cidr) -> (String, String) {
    let prefix = cidr.prefix + 1;
    let (low, _) = cidr.bounds();
    let upper = std::net::Ipv4Addr::from(low + (1_u32 << (32 - prefix)));
    (format!("{}/{prefix}", std::net::Ipv4Addr::from(low)), format!("{upper}/{prefix}"))
}

/// The smallest range that covers all of these.
fn cover(cidrs: &[Cidr]) -> Option<Cidr> {
    let mut whole = *cidrs.first()?;
    while !cidrs.iter().all(|cidr| whole.prefix <= cidr.prefix && whole.overlaps(*cidr)) {
        whole.prefix = whole.prefix.checked_sub(1)?;
        let mask = u32::MAX.checked_shl(32 - u32::from(whole.prefix)).unwrap_or(0);
        whole.base = std::net::Ipv4Addr::from(u32::from(whole.base) & mask);
    }
    Some(whole)
}

fn ranges(environment: &Environment) -> Vec<Cidr> {
    let subnets = environment.resources.iter().filter(|one| one.address.kind == KindName::SUBNET);
    subnets.filter_map(|subnet| subnet.spec::<SubnetSpec>().ok()?.cidr.parse().ok()).collect()
}

fn resource<T: serde::Serialize>(address: Address, spec: &T, needs: Vec<Address>, origin: &str) -> Resource {
    Resource { address, spec: spec_fields(spec), needs, origin: origin.to_owned() }
}

/// Everything that must exist.
pub(super) fn resources(environment: &Environment, usual_zone: &str) -> Vec<Resource> {
    let network = environment.network.clone().unwrap_or_else(|| name("main"));
    let network_address = KindName::NETWORK.named(&network);
    let mut all = Vec::new();
    let subnets: Vec<&Resource> =
        environment.resources.iter().filter(|one| one.address.kind == KindName::SUBNET).collect();
    let Some(first) = subnets.first() else { return all };
    let cidrs = ranges(environment);
    let whole = cover(&cidrs).map(|cidr| cidr.to_string());
    let inside = cidrs.iter().map(Cidr::to_string).collect();
    let spec = NetworkSpec { name: environment.name.to_string(), cidrs: inside, cidr: whole };
    all.push(resource(network_address.clone(), &spec, Vec::new(), &first.origin));
    let gateway = KindName::GATEWAY.named(&name(EGRESS));
    let needs = vec![Address::subnet(&public(&first.address.name))];
    all.push(resource(gateway.clone(), &GatewaySpec {}, needs, &first.origin));
    let table = KindName::ROUTE_TABLE.named(&name(EGRESS));
    let spec = RouteTableSpec { network: network.clone(), gateway: name(EGRESS) };
    all.push(resource(table.clone(), &spec, vec![network_address.clone(), gateway], &first.origin));
    let mut zones = BTreeMap::new();
    for subnet in subnets {
        let Ok(spec) = subnet.spec::<SubnetSpec>() else { continue };
        let Ok(cidr) = spec.cidr.parse::<Cidr>() else { continue };
        let zone = spec.zone.unwrap_or_else(|| usual_zone.to_owned());
        let (lower, upper) = halves(cidr);
        let half = |cidr: String| SubnetSpec { cidr, zone: Some(zone.clone()) };
        let inner = vec![network_address.clone(), table.clone()];
        all.push(resource(subnet.address.clone(), &half(lower), inner, &subnet.origin));
        let outer = Address::subnet(&public(&subnet.address.name));
        all.push(resource(outer, &half(upper), vec![network_address.clone()], &subnet.origin));
        zones.insert(subnet.address.name.clone(), zone);
    }
    machines(environment, &network, &zones, &mut all);
    // A front of several machines is reached through a balancer before them.
    for (name, front) in environment.nginx.iter().filter(|(_, front)| front.nodes.len() > 1) {
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
        let spec = LoadBalancerSpec { members: front.nodes.clone(), ports: vec![front.http_port, front.https_port] };
        all.push(resource(KindName::LOAD_BALANCER.named(name), &spec, needs, &origin));
    }
    all
}

fn machines(environment: &Environment, network: &Name, zones: &BTreeMap<Name, String>, all: &mut Vec<Resource>) {
    let mut openings: BTreeMap<Name, (Vec<u16>, String)> = BTreeMap::new();
    let mut disk_zones: BTreeMap<Name, String> = BTreeMap::new();
    let mut made = Vec::new();
    for one in environment.resources.iter().filter(|one| one.address.kind == KindName::VM) {
        let mut one = one.clone();
        let Ok(mut spec) = one.spec::<VmSpec>() else { continue };
        let zone = zones.get(&spec.subnet).cloned().unwrap_or_default();
        disk_zones.extend(spec.disks.iter().map(|disk| (disk.clone(), zone.clone())));
        spec.zone = Some(zone);
        if spec.class.is_none() {
            spec.class = class(&spec).map(str::to_owned);
        }
        spec.disk_type.get_or_insert_with(|| environment.aws.disk_type.clone());
        one.needs = spec.disks.iter().map(Address::disk).collect();
        if spec.public {
            spec.subnet = public(&spec.subnet);
        }
        one.needs.extend([Address::subnet(&spec.subnet), KindName::NETWORK.named(network)]);
        if !spec.public {
            // A machine that cannot reach the world at its first boot has missed its packages.
            one.needs.push(KindName::ROUTE_TABLE.named(&name(EGRESS)));
        }
        let ports: Vec<u16> = spec.ports.iter().copied().filter(|port| *port != 22).collect();
        if !ports.is_empty() {
            let list = ports.iter().map(u16::to_string).collect::<Vec<_>>().join("-");
            let group = name(&format!("ports-{}", list.chars().take(50).collect::<String>().trim_end_matches('-')));
            one.needs.push(KindName::SECURITY_GROUP.named(&group));
            spec.security_groups = vec![group.clone()];
            openings.entry(group).or_insert_with(|| (ports, one.origin.clone()));
        }
        one.spec = spec_fields(&spec);
        made.push(one);
    }
    for one in environment.resources.iter().filter(|one| one.address.kind == KindName::DISK) {
        let mut one = one.clone();
        if let Ok(mut spec) = one.spec::<DiskSpec>() {
            spec.zone = disk_zones.get(&one.address.name).cloned();
            spec.disk_type.get_or_insert_with(|| environment.aws.disk_type.clone());
            one.spec = spec_fields(&spec);
        }
        made.push(one);
    }
    for (group, (ports, origin)) in openings {
        let spec = SecurityGroupSpec { network: network.clone(), ports };
        let needs = vec![KindName::NETWORK.named(network)];
        all.push(resource(KindName::SECURITY_GROUP.named(&group), &spec, needs, &origin));
    }
    all.extend(made);
}

/// What of an environment this cloud does not sell, and what is done otherwise than in other clouds.
pub(super) fn check(environment: &Environment) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for one in environment.resources.iter().filter(|one| one.address.kind == KindName::VM) {
        if let Ok(spec) = one.spec::<VmSpec>()
            && class(&spec).is_none()
        {
            let message = format!("no class of machines has {} cores and {} MB", spec.cores, spec.memory_mb);
            let place = environment.hosts.get(&one.address.name).map(|host| host.mark.location());
            found.push(Diagnostic::error(place, message).hint("take fewer cores or less memory"));
        }
    }
    if cover(&ranges(environment)).is_some_and(|whole| whole.prefix < 16) {
        let message = "the ranges of the subnets lie too far apart: a network holds 65,536 addresses here (`/16`)";
        found.push(
            Diagnostic::error(None, message).hint("choose ranges that begin alike, as 10.5.0.0/24 and 10.5.1.0/24"),
        );
    }
    for subnet in ranges(environment).iter().filter(|cidr| cidr.prefix > 27) {
        let message = format!("`{subnet}` is too small: this cloud needs two halves of at least 16 addresses (`/27`)");
        found.push(Diagnostic::error(None, message));
    }
    for (name, (_, mark)) in &environment.service_accounts {
        let message = format!("the service account `{name}` means nothing to provider `aws` yet");
        found.push(Diagnostic::warning(mark.location(), message));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{Cidr, cover, halves};

    fn cidr(text: &str) -> Cidr {
        text.parse().unwrap()
    }

    #[test]
    fn a_subnet_has_two_halves() {
        assert_eq!(halves(cidr("10.5.0.0/24")), ("10.5.0.0/25".to_owned(), "10.5.0.128/25".to_owned()));
    }

    #[test]
    fn a_network_covers_its_subnets() {
        assert_eq!(cover(&[cidr("10.5.0.0/24"), cidr("10.5.3.0/24")]).unwrap(), cidr("10.5.0.0/22"));
        assert_eq!(cover(&[cidr("10.5.0.0/24")]).unwrap(), cidr("10.5.0.0/24"));
    }
}
