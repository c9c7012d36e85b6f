//! What of an environment this cloud does not sell, or does otherwise than the file asks: said before anything is created.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    layout::{fraction, own_address},
    postgres, postgres_extensions, postgres_settings,
};
use crate::{
    cloud::yandex::YandexSettings,
    config::Environment,
    error::{Diagnostic, Location, did_you_mean},
    name::Name,
    provider::{layout::subnet_in, managed_postgres, second_disks},
    resource::{AddressSpec, KindName, PostgresSpec, Resource, SubnetSpec, VmSpec},
};

/// Platforms of machines (<https://yandex.cloud/en/docs/compute/concepts/vm-platforms>).
const PLATFORMS: &[&str] = &[
    "standard-v1",
    "standard-v2",
    "standard-v3",
    "standard-v4a",
    "highfreq-v3",
    "highfreq-v4a",
    "amd-v1",
    "gpu-standard-v1",
    "gpu-standard-v2",
    "gpu-standard-v3",
    "gpu-standard-v3i",
    "standard-v3-t4",
    "standard-v3-t4i",
];

/// Shares of a processor that a platform sells, in percent.
fn fractions(platform: &str) -> &'static [u32] {
    match platform {
        "standard-v1" => &[5, 20, 100],
        "standard-v2" => &[5, 20, 50, 100],
        "highfreq-v3" => &[100],
        _ => &[20, 50, 100],
    }
}

/// Where the file asks for a machine.
fn place(environment: &Environment, machine: &Name) -> Option<Location> {
    environment.hosts.get(machine).map(|host| host.mark.location())
}

/// What of an environment this cloud does not sell, as far as its documentation says.
pub(super) fn check(environment: &Environment) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    let mut warnings = Vec::new();
    let platform = &environment.section::<YandexSettings>().platform;
    let mut mistake = |name: &Name, message: String, hint: String| {
        found.push(Diagnostic::error(place(environment, name), message).hint(hint));
    };
    let mut seen: BTreeSet<String> = BTreeSet::new();
    for one in environment.resources.iter().filter(|one| one.address.kind == KindName::VM) {
        let Ok(spec) = one.spec::<VmSpec>() else { continue };
        if !seen.insert(one.origin.clone()) {
            continue;
        }
        let platform = spec.class.as_ref().unwrap_or(platform);
        if !PLATFORMS.contains(&platform.as_str()) {
            let close = did_you_mean(platform, PLATFORMS.iter().copied());
            let hint = close.map_or_else(|| PLATFORMS.join(", "), |close| format!("did you mean `{close}`?"));
            mistake(&one.address.name, format!("Yandex Cloud has no platform `{platform}`"), hint);
            continue;
        }
        let allowed = fractions(platform);
        if !allowed.contains(&spec.core_fraction) {
            let known = allowed.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
            mistake(
                &one.address.name,
                format!("`{platform}` has no machines with `core_fraction: {}`", spec.core_fraction),
                format!("choose one of {known}"),
            );
        }
        if spec.cores < 2 || spec.cores % 2 != 0 {
            mistake(
                &one.address.name,
                format!("Yandex Cloud has no machines with {} cores", spec.cores),
                "choose 2, 4, 6, ...".to_owned(),
            );
        } else if spec.core_fraction < 100 && spec.cores > 4 {
            let message = format!("a machine with `core_fraction: {}` has 2 or 4 cores", spec.core_fraction);
            mistake(&one.address.name, message, "take fewer cores, or all of them: `core_fraction: 100`".to_owned());
        }
        let per_core = spec.memory_mb / u64::from(spec.cores.max(1));
        let fraction = fraction(&spec);
        if fraction != spec.core_fraction {
            let message = format!(
                "{} whole processors go with at least {} GB in this cloud: the machine gets `core_fraction: {fraction}`",
                spec.cores, spec.cores
            );
            warnings.push(Diagnostic::warning(place(environment, &one.address.name), message));
        }
        let (least, most) = if fraction == 100 { (1024, 16 * 1024) } else { (512, 4 * 1024) };
        if per_core < least || per_core > most {
            mistake(
                &one.address.name,
                format!("{} MB of memory do not go with {} cores", spec.memory_mb, spec.cores),
                format!("from {} MB to {} MB", least * u64::from(spec.cores), most * u64::from(spec.cores)),
            );
        }
    }
    found.extend(warnings);
    found.extend(check_zones(environment));
    found.extend(check_addresses(environment));
    found.extend(second_disks(environment));
    let services = environment.resources.iter().filter_map(|one| Some((one, one.spec::<PostgresSpec>().ok()?)));
    for (one, spec) in services.filter(|(one, _)| one.address.kind == KindName::POSTGRES) {
        check_postgres(environment, one, &spec, &mut found);
    }
    found
}

/// Addresses of the file that are called as a front's own.
fn check_addresses(environment: &Environment) -> Vec<Diagnostic> {
    let own = environment.nginx.iter().filter_map(|(name, front)| Some((name, own_address(environment, front)?)));
    let same = |own: &Name| environment.resources.iter().any(|one| one.address == KindName::ADDRESS.named(own));
    let mistake = |(front, own): (&Name, &Name)| {
        let message =
            format!("the front `{front}` has an address of its own that is called `{own}`, as one of `addresses`");
        let hint = format!("give the front that one: `nginx.{front}.network.address: {own}`, or call it otherwise");
        Diagnostic::error(place(environment, own), message).hint(hint)
    };
    own.filter(|(_, own)| same(own)).map(mistake).collect()
}

/// Zones that do not go together: those of a group without a subnet there, and that of a reserved address of another zone than
/// its machine's.
fn check_zones(environment: &Environment) -> Vec<Diagnostic> {
    let own = &environment.section::<YandexSettings>().zone;
    let of_kind = |kind: KindName| environment.resources.iter().filter(move |one| one.address.kind == kind);
    let zones: BTreeMap<Name, String> = of_kind(KindName::SUBNET)
        .filter_map(|one| {
            let zone = one.spec::<SubnetSpec>().ok()?.zone;
            Some((one.address.name.clone(), zone.unwrap_or_else(|| own.clone())))
        })
        .collect();
    let mut found = Vec::new();
    for (name, group) in &environment.groups {
        for zone in group.zones.iter().filter(|zone| subnet_in(zone, &group.machine.subnet, &zones).is_none()) {
            let message = format!("the group `{name}` has machines in zone `{zone}`, and no subnet is there");
            let hint = format!("add one: `network.subnets.NAME: {{zone: {zone}, v4_cidr_blocks: [...]}}`");
            found.push(Diagnostic::error(group.mark.location(), message).hint(hint));
        }
    }
    for one in of_kind(KindName::VM) {
        let Ok(spec) = one.spec::<VmSpec>() else { continue };
        let (name, subnet) = (&one.address.name, zones.get(&spec.subnet).unwrap_or(own));
        if let Some(zone) = spec.zone.as_ref().filter(|zone| *zone != subnet) {
            let message = format!("`{name}` is in zone `{zone}`, and its subnet `{}` is in `{subnet}`", spec.subnet);
            let hint = "name a subnet of that zone: `network: {subnet: NAME}`";
            found.push(Diagnostic::error(place(environment, name), message).hint(hint));
        }
        let reserved = spec.reserved_address.as_ref().map(|address| KindName::ADDRESS.named(address));
        let reserved = reserved.and_then(|address| of_kind(KindName::ADDRESS).find(|one| one.address == address));
        let Some(zone) = reserved.and_then(|one| Some(one.spec::<AddressSpec>().ok()?.zone)) else { continue };
        let zone = zone.as_ref().unwrap_or(own);
        if zone != spec.zone.as_ref().unwrap_or(subnet) {
            let address = spec.reserved_address.as_ref().map(Name::to_string).unwrap_or_default();
            let message = format!("`{name}` is in zone `{subnet}`, and its address `{address}` is in `{zone}`");
            let hint = format!("an address goes with machines of its zone: `addresses.{address}.zone: {subnet}`");
            found.push(Diagnostic::error(place(environment, name), message).hint(hint));
        }
    }
    found
}

/// Logins that the service has of its own
/// (<https://yandex.cloud/en/docs/managed-postgresql/operations/cluster-users>).
const RESERVED: &[&str] = &["admin", "mdb_admin", "mdb_monitor", "mdb_replication", "monitor", "postgres", "repl"];

/// What of a managed database this cloud does otherwise than the file asks.
fn check_postgres(environment: &Environment, one: &Resource, spec: &PostgresSpec, found: &mut Vec<Diagnostic>) {
    let at = |path: &[&str]| managed_postgres::place(environment, one, path);
    let mut completed = spec.clone();
    postgres::complete(&mut completed);
    found.extend(managed_postgres::adjusted(environment, one, spec, &completed));
    let unknown = managed_postgres::unknown_settings(environment, one, spec, &postgres_settings::known());
    for (name, value) in &spec.settings {
        let place = at(&["settings", name]);
        if unknown.iter().any(|mistake| mistake.location.as_ref() == Some(&place)) {
            continue;
        }
        match postgres_settings::convert(name, value) {
            Ok(_) => {}
            Err(postgres_settings::Wrong::Value(why)) => {
                found.push(Diagnostic::error(place, format!("the setting `{name}`: {why}")));
            }
            Err(postgres_settings::Wrong::NotOurs) => {
                let message = format!("the setting `{name}` cannot be changed in the managed service: it is left out");
                found.push(Diagnostic::warning(place, message));
            }
        }
    }
    found.extend(unknown);
    for login in spec.users.keys().filter(|login| RESERVED.contains(&login.as_str()) || login.starts_with("pg_")) {
        let message = format!("the login `{login}`: the service keeps it for itself");
        found.push(Diagnostic::error(at(&["users", login]), message).hint("choose another name"));
    }
    for (database, settings) in &spec.databases {
        for name in &settings.extensions {
            if let Some(unknown) = postgres_extensions::unknown(name, spec.version) {
                let place = at(&["databases", database, "extensions", name]);
                found.push(Diagnostic { location: Some(place), ..unknown });
            }
        }
    }
}
