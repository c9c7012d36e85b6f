//! A PostgreSQL service that the provider runs by itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Field, FieldChange, Kind, LoginsOf, Rules};
use crate::name::Name;

/// What a service should be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PostgresSpec {
    /// The major version.
    pub version: u32,
    /// Virtual processors.
    pub cores: u32,
    /// Memory in MiB.
    pub memory_mb: u64,
    /// The provider's class of machines, as `s3-c2-m8` or `db.t3.small`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub class: Option<String>,
    /// The size of its data in GiB.
    pub disk_gb: u64,
    /// The provider's type of its disk.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub disk_type: Option<String>,
    /// The subnet that it is in.
    pub subnet: Name,
    /// The availability zone, where the provider has zones.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub zone: Option<String>,
    /// Whether the world may reach it.
    pub public: bool,
    /// Server settings, as in `postgresql.conf`.
    pub settings: Map<String, Value>,
    /// Logins, each with the name of the secret that holds its password.
    pub users: BTreeMap<String, String>,
    /// Databases, by name.
    pub databases: BTreeMap<String, DatabaseSpec>,
    /// When backups are made, and how long they are kept; without it the provider's own habit.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub backup: Option<BackupSpec>,
}

/// A database of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseSpec {
    /// Its owner, one of the logins.
    pub owner: String,
    /// Its extensions.
    pub extensions: Vec<String>,
}

/// When backups are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupSpec {
    /// The hour at which they begin, in UTC.
    pub hour: u32,
    /// The minute of that hour.
    pub minute: u32,
    /// For how many days they are kept.
    pub keep_days: u64,
}

/// The databases of a service, in words.
pub fn databases_of<'a>(names: impl Iterator<Item = &'a String>) -> String {
    let names: Vec<&str> = names.map(String::as_str).collect();
    match names.as_slice() {
        [] => "the whole server".to_owned(),
        [one] => format!("database {one}"),
        several => format!("databases {}", several.join(", ")),
    }
}

const RULES: Rules = Rules {
    fields: &[
        Field::seen("version", FieldChange::InPlace),
        Field::seen("cores", FieldChange::InPlace),
        Field::seen("memory_mb", FieldChange::InPlace),
        Field::seen("class", FieldChange::InPlace),
        Field::seen("disk_gb", FieldChange::InPlace),
        Field::seen("disk_type", FieldChange::Replace),
        Field::seen("subnet", FieldChange::Replace),
        Field::seen("zone", FieldChange::Replace),
        Field::seen("public", FieldChange::InPlace),
        Field::seen("settings", FieldChange::InPlace),
        Field::seen("users", FieldChange::InPlace),
        Field::seen("databases", FieldChange::InPlace),
        Field::seen("backup", FieldChange::InPlace),
    ],
    links: &[],
};

pub(super) struct Postgres;

impl Kind for Postgres {
    fn name(&self) -> &'static str {
        "postgres"
    }

    fn level(&self) -> u8 {
        4
    }

    fn logins(&self) -> Option<LoginsOf> {
        Some(|one| one.spec::<PostgresSpec>().map(|spec| spec.users))
    }

    fn rules(&self) -> Rules {
        RULES
    }

    fn summary(&self, spec: &Map<String, Value>) -> String {
        let text = |field: &str| spec.get(field).and_then(Value::as_str).unwrap_or_default();
        let number = |field: &str| spec.get(field).and_then(Value::as_u64).unwrap_or(0);
        format!("PostgreSQL {}, {}, {} GB", number("version"), text("class"), number("disk_gb"))
    }

    fn data(&self, spec: &Map<String, Value>) -> Option<String> {
        let databases = spec.get("databases").and_then(Value::as_object);
        Some(databases.map_or_else(|| "all of it".to_owned(), |databases| databases_of(databases.keys())))
    }
}
