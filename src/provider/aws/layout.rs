//! What an environment is made of in this cloud. A subnet of the file becomes two: the lower half of its range is private, and
//! reaches the world through the gateway; the upper half is for machines with a public address, and for the gateway itself.

use std::collections::{BTreeMap, BTreeSet};

use super::{iam, postgres};
use crate::{
    config::{Cidr, Environment},
    error::Diagnostic,
    name::Name,
    provider::{dns, managed_postgres, second_disks},
    resource::{
        Address, DiskSpec, GatewaySpec, InstanceGroupSpec, KindName, LoadBalancerSpec, NetworkSpec, PostgresSpec,
        Resource, RoleBindingSpec, RouteTableSpec, SecurityGroupSpec, ServiceAccountSpec, SubnetSpec, VmSpec,
        spec_fields,
    },
};

/// The name of the gateway and of the route table that leads to it.
const EGRESS: &str = "egress";
/// The name of the subnet in another zone that a managed database may move to.
const SPARE: &str = "other-zone";

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

/// The versions of PostgreSQL that there may be settings for.
pub(super) const POSTGRES_VERSIONS: std::ops::RangeInclusive<u32> = 11..=20;

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
fn class(spec: &VmSpec) -> Option<&'static str> {
    class_of(spec.cores, spec.memory_mb)
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

/// A small range beside another one, and the range that covers both.
fn beside(cidr: Cidr) -> (Cidr, Cidr) {
    let (low, _) = cidr.bounds();
    let size = 1_u32 << (32 - cidr.prefix);
    let other = Cidr { base: std::net::Ipv4Addr::from(low ^ size), prefix: 28 };
    let whole = Cidr { base: std::net::Ipv4Addr::from(low & !size), prefix: cidr.prefix - 1 };
    (other, whole)
}

/// Another zone of the same region: every region has an `a` and a `b`.
fn other_zone(zone: &str) -> String {
    let (region, letter) = zone.split_at(zone.len().saturating_sub(1));
    format!("{region}{}", if letter == "a" { "b" } else { "a" })
}

/// The smallest range that covers all of these.
fn cover(cidrs: &[Cidr]) -> Option<Cidr> {
    let mut whole = *cidrs.first()?;
    while !cidrs.iter().all(|cidr| whole.covers(*cidr)) {
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
    Resource { address, spec: spec_fields(spec), needs, origin: origin.to_owned(), data: Vec::new() }
}

/// Everything that must exist.
pub(super) fn resources(environment: &Environment, usual_zone: &str) -> Vec<Resource> {
    let network = environment.network.clone().unwrap_or_else(|| name("main"));
    let network_address = KindName::NETWORK.named(&network);
    let mut all = Vec::new();
    let subnets: Vec<&Resource> =
        environment.resources.iter().filter(|one| one.address.kind == KindName::SUBNET).collect();
    let Some(first) = subnets.first().copied() else { return all };
    let cidrs = ranges(environment);
    let covered = cover(&cidrs);
    // A managed database must be able to stand in two zones: where the file names one, a small subnet beside it is the other.
    let of_zone = |subnet: &Resource| subnet.spec::<SubnetSpec>().ok()?.zone;
    let named: BTreeSet<String> =
        subnets.iter().map(|one| of_zone(one).unwrap_or_else(|| usual_zone.to_owned())).collect();
    let managed = environment.resources.iter().any(|one| one.address.kind == KindName::POSTGRES);
    let spare = covered.filter(|_| managed && named.len() < 2).map(beside);
    let whole = match (&spare, covered) {
        (Some((_, whole)), _) => Some(whole.to_string()),
        (None, covered) => covered.map(|cidr| cidr.to_string()),
    };
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
    if let Some((cidr, _)) = spare {
        let spec = SubnetSpec { cidr: cidr.to_string(), zone: named.first().map(|zone| other_zone(zone)) };
        let needs = vec![network_address.clone(), table.clone()];
        all.push(resource(Address::subnet(&name(SPARE)), &spec, needs, &first.origin));
    }
    accounts(environment, &mut all);
    machines(environment, &network, &zones, &mut all);
    databases(environment, &network, &zones, &mut all);
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
    all.extend(environment.resources.iter().filter(|one| one.address.kind == KindName::ADDRESS).cloned());
    all.extend(dns::zones(environment, &network));
    all
}

/// Roles of machines and their policies.
fn accounts(environment: &Environment, all: &mut Vec<Resource>) {
    for (account, (roles, mark)) in &environment.service_accounts {
        let (address, origin) = (KindName::SERVICE_ACCOUNT.named(account), mark.to_string());
        all.push(resource(address.clone(), &ServiceAccountSpec {}, Vec::new(), &origin));
        if !roles.is_empty() {
            let mut roles: Vec<String> = roles.iter().map(|role| iam::policy(role)).collect();
            roles.sort();
            let spec = RoleBindingSpec { service_account: account.clone(), roles };
            all.push(resource(KindName::ROLE_BINDING.named(account), &spec, vec![address], &origin));
        }
    }
}

/// Managed databases: each may stand in its own subnet, and in those of other zones.
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
        let others = all.iter().filter(|other| other.address.kind == KindName::SUBNET).filter(|other| {
            let private = !other.address.name.as_str().ends_with("-public");
            private && other.spec::<SubnetSpec>().is_ok_and(|subnet| subnet.zone.as_deref() != Some(zone.as_str()))
        });
        let mut needs = vec![Address::subnet(&spec.subnet), KindName::NETWORK.named(network)];
        needs.extend(others.map(|other| other.address.clone()));
        made.push(resource(one.address.clone(), &spec, needs, &one.origin));
    }
    all.extend(made);
}

fn machines(environment: &Environment, network: &Name, zones: &BTreeMap<Name, String>, all: &mut Vec<Resource>) {
    let grouped: BTreeSet<Address> =
        environment.groups.values().flat_map(|group| group.members.iter().map(Address::vm)).collect();
    // A member's own second disk belongs to its group's template; a group in this cloud has none.
    let members_disks: BTreeSet<Name> =
        environment.groups.values().flat_map(|group| group.machine.disks.iter().cloned()).collect();
    let mut openings: BTreeMap<Name, (Vec<u16>, String)> = BTreeMap::new();
    let mut disk_zones: BTreeMap<Name, String> = BTreeMap::new();
    let mut finished = |spec: &mut VmSpec, origin: &str| {
        let zone = zones.get(&spec.subnet).cloned().unwrap_or_default();
        disk_zones.extend(spec.disks.iter().map(|disk| (disk.clone(), zone.clone())));
        spec.zone = Some(zone);
        if spec.class.is_none() {
            spec.class = class(spec).map(str::to_owned);
        }
        spec.disk_type.get_or_insert_with(|| environment.aws.disk_type.clone());
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
        let ports: Vec<u16> = spec.ports.iter().copied().filter(|port| *port != 22).collect();
        if !ports.is_empty() {
            let list = ports.iter().map(u16::to_string).collect::<Vec<_>>().join("-");
            let group = name(&format!("ports-{}", list.chars().take(50).collect::<String>().trim_end_matches('-')));
            needs.push(KindName::SECURITY_GROUP.named(&group));
            spec.security_groups = vec![group.clone()];
            openings.entry(group).or_insert_with(|| (ports, origin.to_owned()));
        }
        needs
    };
    let mut made = Vec::new();
    let single = |one: &&Resource| one.address.kind == KindName::VM && !grouped.contains(&one.address);
    for one in environment.resources.iter().filter(single) {
        let Ok(mut spec) = one.spec::<VmSpec>() else { continue };
        let needs = finished(&mut spec, &one.origin);
        made.push(resource(one.address.clone(), &spec, needs, &one.origin));
    }
    for (group, settings) in &environment.groups {
        let mut machine = settings.machine.clone();
        machine.disks.clear();
        let origin = settings.mark.to_string();
        let mut needs = finished(&mut machine, &origin);
        if let Some(account) = &settings.service_account {
            needs.extend([KindName::SERVICE_ACCOUNT.named(account), KindName::ROLE_BINDING.named(account)]);
            needs.retain(|need| need.kind != KindName::ROLE_BINDING || all.iter().any(|other| other.address == *need));
        }
        let spec = InstanceGroupSpec {
            count: u32::try_from(settings.members.len()).unwrap_or(u32::MAX),
            zones: settings.zones.clone(),
            max_unavailable: settings.max_unavailable,
            max_expansion: settings.max_expansion,
            health_check: settings.health_check.clone(),
            service_account: settings.service_account.clone(),
            machine,
        };
        made.push(resource(KindName::INSTANCE_GROUP.named(group), &spec, needs, &origin));
    }
    let disk = |one: &&Resource| one.address.kind == KindName::DISK && !members_disks.contains(&one.address.name);
    for one in environment.resources.iter().filter(disk) {
        let Ok(mut spec) = one.spec::<DiskSpec>() else { continue };
        spec.zone = disk_zones.get(&one.address.name).cloned();
        spec.disk_type.get_or_insert_with(|| environment.aws.disk_type.clone());
        made.push(resource(one.address.clone(), &spec, one.needs.clone(), &one.origin));
    }
    for (group, (ports, origin)) in openings {
        let spec = SecurityGroupSpec { network: network.clone(), ports, checked: Vec::new() };
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
    found.extend(unknown_images(environment));
    if cover(&ranges(environment)).is_some_and(|whole| whole.prefix < 16) {
        let message = "the ranges of the subnets are too far apart: a network holds 65,536 addresses here (`/16`)";
        found.push(
            Diagnostic::error(None, message).hint("choose ranges that begin alike, as 10.5.0.0/24 and 10.5.1.0/24"),
        );
    }
    for subnet in ranges(environment).iter().filter(|cidr| cidr.prefix > 27) {
        let message = format!("`{subnet}` is too small: this cloud needs two halves of at least 16 addresses (`/27`)");
        found.push(Diagnostic::error(None, message));
    }
    for (name, group) in &environment.groups {
        let warn = |message: String| Diagnostic::warning(group.mark.location(), message);
        if !group.zones.is_empty() {
            found.push(warn(format!("`{name}` is in the zone of its subnet: `allocation_policy` does nothing here")));
        }
        if group.health_check.is_some() {
            found.push(warn(format!(
                "`{name}` is healed when a machine does not run: `health_check` does nothing here"
            )));
        }
    }
    found.extend(second_disks(environment));
    for one in environment.resources.iter().filter(|one| one.address.kind == KindName::REGISTRY) {
        let message = format!("`{}` at {}: provider `aws` makes no registries", one.address, one.origin);
        found.push(Diagnostic::error(None, message).hint("make one by hand, or take `provider: yandex`"));
    }
    for one in environment.resources.iter().filter(|one| one.address.kind == KindName::POSTGRES) {
        if let Ok(spec) = one.spec::<PostgresSpec>() {
            check_postgres(environment, one, &spec, &mut found);
        }
    }
    found
}

/// Image families that no vendor publishes and for which the file names no image; the members of a group have one place.
fn unknown_images(environment: &Environment) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for one in environment.resources.iter().filter(|one| one.address.kind == KindName::VM) {
        let Ok(VmSpec { image: family, .. }) = one.spec::<VmSpec>() else { continue };
        if environment.aws.images.contains_key(&family) || super::compute::parameter(&family).is_some() {
            continue;
        }
        let place = environment.hosts.get(&one.address.name).map(|host| host.mark.location());
        let mistake = Diagnostic::error(place, format!("provider `aws` knows no image of the family `{family}`"))
            .hint(super::compute::name_the_image(&family));
        if !found.contains(&mistake) {
            found.push(mistake);
        }
    }
    found
}

/// What of a managed database this cloud does otherwise than the file asks.
fn check_postgres(environment: &Environment, one: &Resource, spec: &PostgresSpec, found: &mut Vec<Diagnostic>) {
    let place = managed_postgres::place(environment, one);
    let mut completed = spec.clone();
    postgres::complete(&mut completed);
    found.extend(managed_postgres::adjusted(place.as_ref(), spec, &completed));
    // The service's API makes one login and one database; all else is SQL.
    let extensions = spec.databases.values().any(|database| !database.extensions.is_empty());
    if spec.users.len() != 1 || spec.databases.len() > 1 || extensions {
        let message = "a managed database has one login here, at most one database, and no extensions from the start";
        found.push(
            Diagnostic::error(place.clone(), message).hint(
                "`managed: false` runs it on a machine; or make the rest with `community.postgresql` in a playbook",
            ),
        );
    }
    for (name, value) in &spec.settings {
        if let Err(why) = postgres::setting(name, value) {
            found.push(Diagnostic::error(place.clone(), format!("the setting `{name}`: {why}")));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Cidr, beside, cover, halves, other_zone, unknown_images};
    use crate::{
        config::{LoadOptions, load_source},
        yaml::Source,
    };

    #[test]
    fn an_image_family_has_an_image() {
        let text = "provider: aws\ninstances:\n  a: {image_family: windows-11}\n  b: {image_family: mine}\n  c: {}\n\
                    instance_groups:\n  d: {node_count: 2, image_family: fedora-44}\naws: {images: {mine: ami-1}}\n";
        let environment = load_source(&Source::new("/p/envs/dev/config.yaml", text), &LoadOptions::default()).unwrap();
        let found: Vec<String> = unknown_images(&environment).iter().map(ToString::to_string).collect();
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(
            found[0].contains("config.yaml:3:") && found[0].contains("no image of the family `windows-11`"),
            "{found:?}"
        );
        assert!(found[0].contains("aws: {images: {windows-11: ami-...}}"), "{found:?}");
        assert!(found[1].contains("config.yaml:7:") && found[1].contains("`fedora-44`"), "{found:?}");
    }

    fn cidr(text: &str) -> Cidr {
        text.parse().unwrap()
    }

    #[test]
    fn a_subnet_has_two_halves() {
        assert_eq!(halves(cidr("10.5.0.0/24")), ("10.5.0.0/25".to_owned(), "10.5.0.128/25".to_owned()));
    }

    #[test]
    fn a_spare_subnet_stands_beside_the_others_in_another_zone() {
        assert_eq!(beside(cidr("10.5.0.0/24")), (cidr("10.5.1.0/28"), cidr("10.5.0.0/23")));
        assert_eq!(beside(cidr("10.5.1.0/24")), (cidr("10.5.0.0/28"), cidr("10.5.0.0/23")));
        assert_eq!(
            (other_zone("eu-central-1a"), other_zone("eu-central-1c")),
            ("eu-central-1b".into(), "eu-central-1a".into())
        );
    }

    #[test]
    fn a_network_covers_its_subnets() {
        assert_eq!(cover(&[cidr("10.5.0.0/24"), cidr("10.5.3.0/24")]).unwrap(), cidr("10.5.0.0/22"));
        assert_eq!(cover(&[cidr("10.5.0.0/24")]).unwrap(), cidr("10.5.0.0/24"));
    }
}
