//! What templates see of an environment: the types are the documentation (`docs/reference/templates.md`).

use std::collections::BTreeMap;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::{
    config::{BackupPolicy, Database, FrontLocation, FrontUpstream},
    name::Name,
};

/// Variables of every environment, beside those of Ansible (`groups`, `hostvars`, `inventory_hostname`, facts, ...).
#[derive(Serialize, JsonSchema)]
pub(super) struct EnvironmentValues {
    /// The environment itself.
    pub(super) env: EnvironmentValue,
    /// The machines, by name: `hosts['bingo-1'].address`, or `hosts[inventory_hostname]` for the machine at hand.
    pub(super) hosts: IndexMap<Name, HostValue>,
    /// The databases of `postgres:`, by name: `postgres.main.dsn`.
    pub(super) postgres: IndexMap<Name, PostgresValue>,
    /// The fronts of `nginx:`, by name: `nginx.front.url`.
    pub(super) nginx: IndexMap<Name, FrontValue>,
    /// What clients trust.
    pub(super) tls: TlsValue,
}

/// The environment itself.
#[derive(Serialize, JsonSchema)]
pub(super) struct EnvironmentValue {
    /// Its name.
    pub(super) name: Name,
    /// `docker`, `yandex` or `aws`.
    pub(super) provider: String,
}

/// A machine.
#[derive(Serialize, JsonSchema)]
pub(super) struct HostValue {
    /// Its name.
    pub(super) name: Name,
    /// The address at which other machines of the environment reach it; nothing before it exists.
    pub(super) address: Option<String>,
    /// The address at which the world reaches it, where it has one.
    pub(super) public_address: Option<String>,
    /// For each published port of the machine the port outside: the same number in a cloud, another one on Docker.
    #[schemars(with = "Option<BTreeMap<String, u16>>")]
    pub(super) ports: Value,
    /// The folders at which its further disks are mounted, such as `/mnt/postgres-main-data`.
    pub(super) disks: Vec<String>,
    /// The groups of the inventory that it is in.
    pub(super) groups: Vec<String>,
}

/// A database service.
#[derive(Serialize, JsonSchema)]
pub(super) struct PostgresValue {
    /// Its machine; nothing where the cloud manages the database.
    pub(super) node: Option<Name>,
    /// Whether the cloud manages it.
    pub(super) managed: bool,
    /// The major version.
    pub(super) version: u32,
    /// Its address; nothing before it exists.
    pub(super) host: Option<String>,
    /// Its TCP port.
    pub(super) port: u16,
    /// The first database.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) database: Option<String>,
    /// The owner of the first database, or else the first user.
    pub(super) user: Option<String>,
    /// That user's password.
    pub(super) password: Option<String>,
    /// How that user connects to the first database: `postgres://user:password@host:port/database`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) dsn: Option<String>,
    /// All users, by name.
    pub(super) users: IndexMap<String, UserValue>,
    /// All databases, by name.
    pub(super) databases: IndexMap<String, Database>,
    /// The settings of the server.
    pub(super) settings: IndexMap<String, Value>,
    /// When dumps are made; nothing where none are.
    pub(super) backup: Option<BackupPolicy>,
}

/// A user of a database service.
#[derive(Clone, Serialize, JsonSchema)]
pub(super) struct UserValue {
    /// The password.
    pub(super) password: Option<String>,
}

/// An HTTP(S) front.
#[derive(Serialize, JsonSchema)]
pub(super) struct FrontValue {
    /// Its machines.
    pub(super) nodes: Vec<Name>,
    /// Where it is reached by HTTPS.
    pub(super) url: String,
    /// Where it is reached by HTTP.
    pub(super) http_url: String,
    /// The HTTP port on its machines.
    pub(super) http_port: u16,
    /// The HTTPS port on its machines.
    pub(super) https_port: u16,
    /// The host names of its certificate.
    pub(super) names: Vec<String>,
    /// Its certificate, in PEM.
    pub(super) certificate: Option<String>,
    /// The key of its certificate, in PEM.
    pub(super) private_key: Option<String>,
    /// What it balances, by name.
    pub(super) upstreams: IndexMap<String, FrontUpstream>,
    /// Where requests go.
    pub(super) locations: Vec<FrontLocation>,
}

/// What clients trust.
#[derive(Serialize, JsonSchema)]
pub(super) struct TlsValue {
    /// The certificate of the environment's own authority, in PEM: what `infra output ENV ca` prints.
    pub(super) ca: Option<String>,
}

/// The JSON Schema of what templates see of an environment.
#[must_use]
pub fn schema() -> Value {
    schemars::schema_for!(EnvironmentValues).to_value()
}
