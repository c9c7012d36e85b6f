//! What an environment is made of in this cloud. A subnet of the file becomes two: the lower half of its range is private, and
//! reaches the world through the gateway; the upper half is for machines with a public address, and for the gateway itself.

use std::collections::{BTreeMap, BTreeSet};

use super::{iam, postgres, ranges};
use crate::{
    config::{Cidr, Environment},
    error::Diagnostic,
    name::Name,
    provider::{dns, managed_postgres, openings, second_disks},
    resource::{
        Address, DiskSpec, GatewaySpec, InstanceGroupSpec, KindName, LoadBalancerSpec, NetworkSpec, PostgresSpec,
        Resource, RoleBindingSpec, RouteTableSpec, SecurityGroupSpec, ServiceAccountSpec, SubnetSpec, VmSpec,
        spec_fields,
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

/// Another zone of the same region: every region has an `a` and a `b`.
fn other_zone(zone: &str) -> String {
    let (region, letter) = zone.split_at(zone.len().saturating_sub(1));
    format!("{region}{}", if letter == "a" { "b" } else { "a" })
}

/// The subnets of the file, with their ranges.
fn subnets(environment: &Environment) -> impl Iterator<Item = (&Resource, Cidr)> {
    let subnets = environment.resources.iter().filter(|one| one.address.kind == KindName::SUBNET);
    subnets.filter_map(|subnet| Some((subnet, subnet.spec::<SubnetSpec>().ok()?.cidr.parse().ok()?)))
}

/// The zones of the subnets of the file.
fn zones_named(environment: &Environment, usual_zone: &str) -> BTreeSet<String> {
    let zone = |subnet: &Resource| subnet.spec::<SubnetSpec>().ok()?.zone;
    subnets(environment).map(|(subnet, _)| zone(subnet).unwrap_or_else(|| usual_zone.to_owned())).collect()
}

/// Whether a small subnet in another zone is needed: a managed database must be able to be in two zones, and the file names one.
fn needs_second_zone(environment: &Environment, usual_zone: &str) -> bool {
    let managed = environment.resources.iter().any(|one| one.address.kind == KindName::POSTGRES);
    managed && zones_named(environment, usual_zone).len() < 2
}

fn resource<T: serde::Serialize>(address: Address, spec: &T, needs: Vec<Address>, origin: &str) -> Resource {
    Resource { address, spec: spec_fields(spec), needs, origin: origin.to_owned(), data: Vec::new() }
}

/// Everything that must exist.
pub(super) fn resources(environment: &Environment, usual_zone: &str) -> Vec<Resource> {
    let network = environment.network.clone().unwrap_or_else(|| name("main"));
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
        let half = |cidr: Cidr, prefix| SubnetSpec { cidr: cidr.to_string(), prefix, zone: Some(zone.clone()) };
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
        let spec = SubnetSpec { cidr: upper.to_string(), prefix: Some(ranges::SMALLEST), zone };
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
        let mut ports = vec![front.http_port, front.https_port];
        ports.sort_unstable();
        let spec = LoadBalancerSpec { members: front.nodes.clone(), ports };
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
    let mut finished = |machines: &[Name], spec: &mut VmSpec, origin: &str| {
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
        if let Some(group) = openings::open(environment, machines, spec) {
            needs.push(KindName::SECURITY_GROUP.named(&group));
            let ports = spec.ports.iter().copied().filter(|port| *port != 22).collect();
            openings.entry(group).or_insert_with(|| (ports, origin.to_owned()));
        }
        needs
    };
    let mut made = Vec::new();
    let single = |one: &&Resource| one.address.kind == KindName::VM && !grouped.contains(&one.address);
    for one in environment.resources.iter().filter(single) {
        let Ok(mut spec) = one.spec::<VmSpec>() else { continue };
        let needs = finished(std::slice::from_ref(&one.address.name), &mut spec, &one.origin);
        made.push(resource(one.address.clone(), &spec, needs, &one.origin));
    }
    for (group, settings) in &environment.groups {
        let mut machine = settings.machine.clone();
        machine.disks.clear();
        let origin = settings.mark.to_string();
        let mut needs = finished(&settings.members, &mut machine, &origin);
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
pub(super) fn check(environment: &Environment, usual_zone: &str) -> Vec<Diagnostic> {
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
    found.extend(check_ranges(environment, usual_zone));
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

/// Whether a network of this cloud can have the ranges of the subnets.
fn check_ranges(environment: &Environment, usual_zone: &str) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    let all: Vec<(&Resource, Cidr)> = subnets(environment).collect();
    let Some((_, first)) = all.first().copied() else { return found };
    let second_zone = needs_second_zone(environment, usual_zone);
    for (number, (subnet, cidr)) in all.iter().enumerate() {
        let mut wrong = |message: String, hint: &str| {
            let place = environment.subnet_marks.get(&subnet.address.name).map(crate::yaml::Mark::location);
            found.push(Diagnostic::error(place, message).hint(hint));
        };
        let smallest = if second_zone && number == 0 { ranges::SMALLEST - 2 } else { ranges::SMALLEST - 1 };
        if cidr.prefix < ranges::LARGEST {
            let message =
                format!("`{cidr}` is too large: a network has ranges of at most 65,536 addresses here (`/16`)");
            wrong(message, "divide it into several subnets");
        } else if cidr.prefix > smallest {
            let message =
                format!("`{cidr}` is too small: its parts have at least 16 addresses each here (`/{smallest}`)");
            let hint = if smallest == ranges::SMALLEST - 1 {
                "one half is for private machines, one for public ones"
            } else {
                "one half is for private machines, one for public ones, and the database needs a part of it in another \
                 zone; or name a second subnet, in another zone"
            };
            wrong(message, hint);
        } else if ranges::family(*cidr) != ranges::family(first) {
            let message = format!("a network has not both `{first}` and `{cidr}` here");
            wrong(message, "choose all ranges from 10.0.0.0/8, or all from 172.16.0.0/12, or all from 192.168.0.0/16");
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
    use super::{other_zone, unknown_images};
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

    #[test]
    fn the_second_zone_is_another_one() {
        assert_eq!(
            (other_zone("eu-central-1a"), other_zone("eu-central-1c")),
            ("eu-central-1b".into(), "eu-central-1a".into())
        );
    }
}
