//! What was done to a managed PostgreSQL cluster beside infra, and what of its settings differs from the file.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{
    postgres::config_field,
    postgres_settings::{self, is_known},
};
use crate::{
    cloud::yandex::{Cluster, ClusterDatabase, ClusterHost, ClusterUser},
    provider::Object,
    resource::{BackupSpec, DatabaseSpec, PostgresSpec, spec_fields},
};

/// What the service shows, before it is compared with a specification.
const SERVICE: &str = "service";

/// The attribute of a cluster: the server settings that were set by us, by the names of the API. Only these are cleared when the
/// file has them no more: the service fills in others by itself, and shows them in the same place.
pub(super) const SETTINGS: &str = "settings";

/// What is in a cluster.
pub(super) struct Inside<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) users: &'a [ClusterUser],
    pub(super) databases: &'a [ClusterDatabase],
    pub(super) hosts: &'a [ClusterHost],
}

/// The server settings of a cluster, by the names of the API: those that hold, and over them those that it was given.
fn shown(cluster: &Cluster) -> Map<String, Value> {
    let version = cluster.config.version.parse().unwrap_or(0);
    let config = cluster.config.others.get(&config_field(version));
    let part = |name: &str| config.and_then(|config| config.get(name)?.as_object()).cloned().unwrap_or_default();
    let all = part("effectiveConfig").into_iter().chain(part("userConfig"));
    all.filter(|(name, value)| is_known(name) && !value.is_null()).collect()
}

/// The names of the server settings that a service is given, for [`SETTINGS`].
pub(super) fn named(spec: &PostgresSpec) -> Value {
    postgres_settings::config(&spec.settings).keys().cloned().collect()
}

/// Notes what the service shows of a cluster.
pub(super) fn note(inside: &Inside<'_>, object: &mut Object) {
    let cluster = inside.cluster;
    let users: Map<String, Value> = (inside.users.iter())
        .map(|user| {
            let databases: Vec<&str> = user.permissions.iter().map(|one| one.database_name.as_str()).collect();
            (user.name.clone(), json!(databases))
        })
        .collect();
    let databases: Map<String, Value> = (inside.databases.iter())
        .map(|one| {
            let extensions: Vec<&str> = one.extensions.iter().map(|extension| extension.name.as_str()).collect();
            (one.name.clone(), json!({ "owner": one.owner, "extensions": extensions }))
        })
        .collect();
    let start = &cluster.config.backup_window_start;
    let noted = json!({
        "settings": shown(cluster), "users": users, "databases": databases,
        "public": inside.hosts.iter().any(|host| host.assign_public_ip),
        "backup": {
            "hour": start.hours, "minute": start.minutes, "keep_days": cluster.config.backup_retain_period_days,
        },
    });
    object.actual.insert(SERVICE.to_owned(), noted);
}

/// Whether two settings are the same: numbers of 64 bits travel as texts.
fn same(one: &Value, other: &Value) -> bool {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    one == other || text(one) == text(other) || one.as_f64().is_some_and(|number| Some(number) == other.as_f64())
}

/// The server settings of a cluster that must be changed, with `null` for those of the former ones that the file no longer has.
pub(super) fn changed_settings(spec: &PostgresSpec, present: &Cluster, former: &Value) -> Map<String, Value> {
    let (wanted, shown) = (postgres_settings::config(&spec.settings), shown(present));
    let set = wanted.iter().filter(|(name, value)| shown.get(*name).is_none_or(|shown| !same(shown, value)));
    let former = former.as_array().into_iter().flatten().filter_map(Value::as_str);
    let gone = former
        .filter(|name| !wanted.contains_key(*name) && shown.contains_key(*name))
        .map(|name| (name.to_owned(), Value::Null));
    set.map(|(name, value)| (name.clone(), value.clone())).chain(gone).collect()
}

/// Turns what was noted into fields of the specification, where they differ from it.
pub(super) fn compare(spec: &Map<String, Value>, object: &mut Object) {
    let Some(noted) = object.actual.remove(SERVICE) else { return };
    let Ok(believed) = serde_json::from_value::<PostgresSpec>(Value::Object(spec.clone())) else { return };
    object.attributes.insert(SETTINGS.to_owned(), named(&believed));
    let mut seen = believed.clone();
    seen.public = noted["public"] == true;
    seen.settings = settings(&believed, noted["settings"].as_object().unwrap_or(&Map::new()));
    if believed.backup.is_some() {
        seen.backup = serde_json::from_value::<BackupSpec>(noted["backup"].clone()).ok();
    }
    let names = |list: &Value| -> BTreeSet<String> { serde_json::from_value(list.clone()).unwrap_or_default() };
    seen.databases.retain(|name, _| noted["databases"].get(name).is_some());
    for (name, database) in &mut seen.databases {
        let there = &noted["databases"][name];
        let extensions = names(&there["extensions"]);
        if extensions != database.extensions.iter().cloned().collect() {
            *database = DatabaseSpec { extensions: extensions.into_iter().collect(), ..database.clone() };
        }
        there["owner"].as_str().unwrap_or_default().clone_into(&mut database.owner);
    }
    seen.users.retain(|name, _| noted["users"].get(name).is_some());
    for (name, allowed) in noted["users"].as_object().into_iter().flatten() {
        let allowed = names(allowed);
        let lacks: Vec<&str> =
            believed.databases.keys().filter(|database| !allowed.contains(*database)).map(String::as_str).collect();
        match seen.users.get_mut(name) {
            None => drop(seen.users.insert(name.clone(), "not of this environment".to_owned())),
            Some(secret) if !lacks.is_empty() => *secret = format!("may not use {}", lacks.join(", ")),
            Some(_) => {}
        }
    }
    for (field, value) in spec_fields(&seen) {
        if ["public", "settings", "backup", "databases", "users"].contains(&field.as_str())
            && spec.get(&field).is_some_and(|known| *known != value)
        {
            object.actual.insert(field, value);
        }
    }
}

/// The server settings that the file names: as it writes them, where they are what it says; otherwise as the service shows them.
fn settings(believed: &PostgresSpec, there: &Map<String, Value>) -> Map<String, Value> {
    let mut shown = Map::new();
    for (name, value) in &believed.settings {
        let single = Map::from_iter([(name.clone(), value.clone())]);
        let Some((field, wanted)) = postgres_settings::config(&single).into_iter().next() else {
            // What the service sets by itself is left out.
            shown.insert(name.clone(), value.clone());
            continue;
        };
        match there.get(&field) {
            Some(there) if same(there, &wanted) => drop(shown.insert(name.clone(), value.clone())),
            Some(there) => drop(shown.insert(name.clone(), there.clone())),
            None => {}
        }
    }
    shown
}
