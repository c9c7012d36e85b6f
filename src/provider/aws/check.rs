//! What of an environment this cloud does not sell, found without a call.

use std::collections::BTreeMap;

use super::{
    compute,
    layout::{class, needs_second_zone, resources, subnets},
    postgres, ranges,
};
use crate::{
    cloud::aws::AwsSettings,
    config::{Cidr, Environment, Group},
    error::{Diagnostic, Location, did_you_mean},
    name::Name,
    provider::{asked, layout::subnet_in, managed_postgres, second_disks},
    resource::{KindName, PostgresSpec, Resource, SubnetSpec, VmSpec},
};

/// The types of volumes. The cloud has no list of them.
const VOLUME_TYPES: &[&str] = &["gp2", "gp3", "io1", "io2", "sc1", "st1", "standard"];
/// Logins and databases that the service keeps for itself.
const RESERVED: &[&str] = &["admin", "db", "rdsadmin", "rdstopmgr", "rdsrepladmin"];

/// What of an environment this cloud does not sell, and what is done otherwise than in other clouds.
pub(super) fn check(environment: &Environment, usual_zone: &str) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for one in environment.resources.iter().filter(|one| one.address.kind == KindName::VM) {
        if let Ok(spec) = one.spec::<VmSpec>()
            && class(&spec).is_none()
        {
            let message = format!("no class of machines has {} cores and {} MB", spec.cores, spec.memory_mb);
            let place = asked_at(environment, one, spec.class.as_deref().unwrap_or("resources"));
            found.push(Diagnostic::error(place, message).hint("take fewer cores or less memory"));
        }
    }
    found.extend(unknown_images(environment));
    found.extend(check_devices(environment));
    found.extend(check_volumes(environment, usual_zone));
    found.extend(check_ranges(environment, usual_zone));
    for (name, group) in &environment.groups {
        found.extend(check_group(environment, usual_zone, name, group));
    }
    found.extend(second_disks(environment));
    for (name, address) in environment.nginx.iter().filter_map(|(name, front)| Some((name, front.address.as_ref()?))) {
        let place = environment.place_of(&["nginx", name.as_str(), "network", "address"]);
        let message = format!("the balancer of the front `{name}` cannot have the reserved address `{address}` here");
        let hint = "let a `CNAME` record lead to its name, which stays the same: `infra output ENV` shows it";
        found.push(Diagnostic::error(place, message).hint(hint));
    }
    for one in environment.resources.iter().filter(|one| one.address.kind == KindName::POSTGRES) {
        if let Ok(spec) = one.spec::<PostgresSpec>() {
            check_postgres(environment, one, &spec, &mut found);
        }
    }
    found
}

/// Where the file asks for something of a resource, by its key or its value.
fn asked_at(environment: &Environment, one: &Resource, what: &str) -> Option<Location> {
    environment.places_of(&[one.origin.clone()].into(), what).into_iter().next()
}

/// Image families that no vendor publishes and for which the file names no image; the members of a group have one place.
fn unknown_images(environment: &Environment) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for one in environment.resources.iter().filter(|one| one.address.kind == KindName::VM) {
        let Ok(VmSpec { image: family, .. }) = one.spec::<VmSpec>() else { continue };
        if environment.section::<AwsSettings>().images.contains_key(&family) || compute::parameter(&family).is_some() {
            continue;
        }
        let place = asked_at(environment, one, &family);
        let mistake = Diagnostic::error(place, format!("provider `aws` knows no image of the family `{family}`"))
            .hint(compute::name_the_image(&family));
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
    let at = |path: &[&str]| managed_postgres::place(environment, one, path);
    let mut completed = spec.clone();
    postgres::complete(&mut completed);
    found.extend(managed_postgres::adjusted(environment, one, spec, &completed));
    // The service's API makes one login and one database; all else is SQL.
    let extensions = spec.databases.values().any(|database| !database.extensions.is_empty());
    if spec.users.len() != 1 || spec.databases.len() > 1 || extensions {
        let message = "a managed database has one login here, at most one database, and no extensions from the start";
        found.push(
            Diagnostic::error(at(&[]), message).hint(
                "`managed: false` runs it on a machine; or make the rest with `community.postgresql` in a playbook",
            ),
        );
    }
    let logins = spec.users.keys().map(|name| ("users", "login", name));
    for (key, what, name) in logins.chain(spec.databases.keys().map(|name| ("databases", "database", name))) {
        if let Some(why) = wrong_name(name) {
            found.push(Diagnostic::error(at(&[key, name]), format!("the {what} `{name}`: {why}")));
        }
    }
    for (name, value) in &spec.settings {
        if let Err(why) = postgres::setting(name, value) {
            found.push(Diagnostic::error(at(&["settings", name]), format!("the setting `{name}`: {why}")));
        }
    }
    found.extend(managed_postgres::unknown_settings(environment, one, spec, &[]));
}

/// Zones of a group in which it has no subnet, and a health check that the service does not make.
fn check_group(environment: &Environment, usual_zone: &str, name: &Name, group: &Group) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    let zone = |subnet: &Resource| subnet.spec::<SubnetSpec>().ok()?.zone;
    let zones: BTreeMap<Name, String> = subnets(environment)
        .map(|(one, _)| (one.address.name.clone(), zone(one).unwrap_or_else(|| usual_zone.to_owned())))
        .collect();
    let sections = [group.mark.to_string()].into();
    for zone in group.zones.iter().filter(|zone| subnet_in(zone, &group.machine.subnet, &zones).is_none()) {
        let message = format!("the group `{name}` has machines in zone `{zone}`, and no subnet is there");
        let hint = format!("add one: `network.subnets.NAME: {{zone: {zone}, v4_cidr_blocks: [...]}}`");
        let places = environment.places_of(&sections, zone).into_iter();
        found.extend(places.map(|place| Diagnostic::error(place, message.clone()).hint(hint.clone())));
    }
    let Some(check) = &group.health_check else { return found };
    let limits = [
        ("interval", check.interval, 5, 300),
        ("timeout", check.timeout, 2, 120),
        ("patience", check.patience, 1, 48 * 3600),
    ];
    for (field, value, least, most) in
        limits.into_iter().filter(|(_, value, least, most)| value < least || value > most)
    {
        let message = format!("`health_check`: `{field}` is {value} seconds, and is from {least} to {most} here");
        let place = environment.place_of(&["instance_groups", name.as_str(), "health_check", field]);
        found.push(Diagnostic::error(place, message));
    }
    found
}

/// Machines with further disks that could not tell one from another: a wrong one would be mounted at the folder of the data.
fn check_devices(environment: &Environment) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for one in environment.resources.iter().filter(|one| one.address.kind == KindName::VM) {
        let Ok(VmSpec { class: Some(class), disks, .. }) = one.spec::<VmSpec>() else { continue };
        if disks.is_empty() || !compute::has_nameless_volumes(&class) {
            continue;
        }
        let message = format!(
            "a machine of the class `{class}` cannot have second disks here: it sees volumes as `/dev/xvdf` and so on, which does \
             not say which volume it is"
        );
        let hint = "take a class of a later generation, such as `t3`, `m6i` or `r6i`, or only a larger first disk: `disk_size`";
        let places = environment.places_of(&[one.origin.clone()].into(), &class).into_iter();
        for place in places {
            let mistake = Diagnostic::error(place, message.clone()).hint(hint);
            if !found.contains(&mistake) {
                found.push(mistake);
            }
        }
    }
    found
}

/// Types of volumes that there are not, or that infra cannot create.
fn check_volumes(environment: &Environment, usual_zone: &str) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for (name, sections) in asked::disk_types(&resources(environment, usual_zone)) {
        let (message, hint) = match name.as_str() {
            "io1" | "io2" => (
                format!(
                    "disks of type `{name}` are bought with a number of operations a second, which infra does not set"
                ),
                "take `gp3`, which has 3,000 of them".to_owned(),
            ),
            "sc1" | "st1" => {
                (format!("machines do not boot from disks of type `{name}`"), "take `gp3`, or `standard`".to_owned())
            }
            known if VOLUME_TYPES.contains(&known) => continue,
            _ => (format!("there is no type of disks `{name}` here"), {
                let close = did_you_mean(&name, VOLUME_TYPES.iter().copied());
                let all = || format!("there are: {}", VOLUME_TYPES.join(", "));
                close.map_or_else(all, |close| format!("did you mean `{close}`?"))
            }),
        };
        let places = environment.places_of(&sections, &name).into_iter();
        found.extend(places.map(|place| Diagnostic::error(place, message.clone()).hint(hint.clone())));
    }
    found
}

/// What is wrong with the name of a login or of a database.
fn wrong_name(name: &str) -> Option<&'static str> {
    let mut letters = name.chars();
    if !letters.next().is_some_and(|first| first.is_ascii_alphabetic()) {
        return Some("it begins with a letter here");
    }
    if name.len() > 63 || !letters.all(|letter| letter.is_ascii_alphanumeric() || letter == '_') {
        return Some("it has at most 63 letters, digits and `_` here");
    }
    let lower = name.to_ascii_lowercase();
    let is_reserved =
        RESERVED.contains(&lower.as_str()) || ["pg_", "rds_"].iter().any(|begin| lower.starts_with(begin));
    is_reserved.then_some("the service keeps it for itself")
}

#[cfg(test)]
mod tests {
    use super::{check, unknown_images, wrong_name};
    use crate::{
        config::{LoadOptions, load_source},
        provider::aws::compute::has_nameless_volumes,
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
    fn second_disks_are_those_of_machines_that_can_tell_them_apart() {
        let text = "provider: aws\naws: {region: eu-central-1}\ninstances:\n  \
                    old: {resources: {class: t2.small, secondary_disk_size: 9}}\n  \
                    plain: {resources: {class: t2.small}}\n  new: {resources: {class: t3.small, secondary_disk_size: 9}}\n";
        let environment = load_source(&Source::new("/p/envs/dev/config.yaml", text), &LoadOptions::default()).unwrap();
        let found: Vec<String> = check(&environment, "eu-central-1a").iter().map(ToString::to_string).collect();
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0].contains("config.yaml:4:") && found[0].contains("`t2.small` cannot have second disks"),
            "{found:?}"
        );
        assert!(
            !has_nameless_volumes("i3.metal")
                && !has_nameless_volumes("p3dn.24xlarge")
                && has_nameless_volumes("i3.large")
        );
    }

    #[test]
    fn disks_and_logins_are_those_that_the_cloud_sells() {
        let text = "provider: aws\naws: {region: eu-central-1, disk_type: io2}\n\
                    network: {subnets: {a: {v4_cidr_blocks: [10.0.0.0/24]}}}\ninstances:\n  \
                    a: {resources: {disk_type: gp33}}\n  b: {resources: {disk_type: st1, secondary_disk_size: 9}}\n  c: {}\n\
                    postgres:\n  main:\n    managed: true\n    users: {admin: }\n    databases: {my-app: {owner: admin}}\n";
        let environment = load_source(&Source::new("/p/envs/dev/config.yaml", text), &LoadOptions::default()).unwrap();
        let mut found: Vec<String> = check(&environment, "eu-central-1a").iter().map(ToString::to_string).collect();
        found.sort();
        let expected = [
            ("config.yaml:11:13", "the login `admin`: the service keeps it for itself"),
            ("config.yaml:12:17", "the database `my-app`: it has at most 63 letters, digits and `_` here"),
            ("config.yaml:2:40", "which infra does not set"),
            ("config.yaml:5:30", "did you mean `gp3`?"),
            ("config.yaml:6:30", "machines do not boot from disks of type `st1`"),
        ];
        for (place, message) in expected {
            let is = |one: &&String| one.contains(place) && one.contains(message);
            assert_eq!(found.iter().filter(is).count(), 1, "{place}: {message}: {found:#?}");
        }
        assert!(wrong_name("app_1").is_none() && wrong_name("1app").is_some());
    }
}
