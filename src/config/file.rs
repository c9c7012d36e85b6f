//! The environment file as it is written: every section, every key, and what each means. The JSON Schema, the check of
//! unknown keys and types, and the reference page are all derived from these types, and from the sections of the providers
//! ([`crate::cloud::PROVIDERS`]).

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    state::StateSection,
    units::{Cidr, Cron, Size, Span},
};
use crate::{
    cloud::{ProviderName, Sections},
    name::Name,
};

/// An environment file, with the sections of the providers read by themselves.
pub(super) struct Written {
    /// Where the machines run.
    pub provider: ProviderName,
    /// The sections of the providers.
    pub sections: Sections,
    /// The rest.
    pub file: File,
}

/// One environment: `envs/<name>/config.yaml`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct File {
    /// Where the machines run. Without it a `folder_id` means `yandex`, and nothing means `docker`.
    pub provider: Option<ProviderName>,
    /// Where `apply` writes an inventory that Ansible can read, relative to this file.
    pub inventory_file: Option<String>,
    /// The private network.
    pub network: Network,
    /// Single machines, by name.
    pub instances: IndexMap<Name, Instance>,
    /// Groups of equal machines, by name: the machines are called `<name>-1`, `<name>-2`, ...
    pub instance_groups: IndexMap<Name, InstanceGroup>,
    /// PostgreSQL databases, by name.
    pub postgres: IndexMap<Name, Postgres>,
    /// HTTP(S) fronts, by name.
    pub nginx: IndexMap<Name, Nginx>,
    /// Identities that machines use to call the cloud's API.
    pub service_accounts: IndexMap<Name, ServiceAccount>,
    /// Public addresses that stay the same, by name; `network.address` of a machine uses one.
    pub addresses: IndexMap<Name, ReservedAddress>,
    /// Zones of names, by name.
    pub dns: IndexMap<Name, DnsZone>,
    /// Registries of container images, by name.
    pub registries: IndexMap<Name, Registry>,
    /// Playbooks that configure the machines, in order: beside this file, in the project's `playbooks/`, or built in.
    pub playbooks: Vec<String>,
    /// Variables of all playbooks and templates.
    pub vars: Map<String, Value>,
    /// Values that are never printed, by name: generated once and kept, or read from outside.
    pub secrets: IndexMap<String, SecretSource>,
    /// Templates that are printed after `apply` and by `infra output`.
    pub outputs: IndexMap<String, String>,
    /// Refuse to destroy this environment.
    pub protect: bool,
    /// How long it lives, from its first apply on: `infra gc` sweeps it away after that.
    pub ttl: Option<Span>,
    /// Warm copies of it, which `infra pool fill` keeps ready and `infra apply --name` takes over.
    pub pool: Option<Pool>,
    /// Where what is known of the environment is kept, for a team or a pipeline to share.
    pub state: StateSection,
}

/// A pool of warm environments.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Pool {
    /// How many are kept ready.
    pub min: u32,
}

/// The private network.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Network {
    /// Its name; without it the environment's.
    pub name: Option<Name>,
    /// Its subnets, by name; without any there is one called `main`.
    pub subnets: IndexMap<Name, Subnet>,
    /// What the world may reach, by name. Everything else is closed; only machines with `nat: true`, and fronts of several machines, can be reached at all.
    pub firewall: IndexMap<Name, FirewallRule>,
    /// Where port 22 of the bastion may be reached from, as address ranges; without it from everywhere. Other machines are
    /// reached through it. The bastion is the first machine with `nat: true` of the group `bastion`, or the first one.
    pub ssh_from: Option<Vec<Cidr>>,
}

/// A subnet.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Subnet {
    /// Its address ranges: one, or in Yandex Cloud several. They are added and removed while the subnet is in use; a range that something has an address in is not removed.
    pub v4_cidr_blocks: Vec<Cidr>,
    /// The availability zone.
    pub zone: Option<String>,
}

/// Ports that are open to the world.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct FirewallRule {
    /// The groups of machines whose ports are opened.
    pub groups: Vec<String>,
    /// TCP ports.
    #[schemars(inner(range(min = 1)))]
    pub ports: Vec<u16>,
}

/// What a machine is made of.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Resources {
    /// The provider's own class of machines, such as `standard-v3` or `m6i.large`; without it one that fits.
    pub class: Option<String>,
    /// Virtual processors.
    #[schemars(range(min = 1, max = 512))]
    pub cores: u32,
    /// The share of each processor that is the machine's own, in percent.
    #[schemars(range(min = 1, max = 100))]
    pub core_fraction: u32,
    /// Memory: a number is in GB.
    pub memory: Size,
    /// The first disk: a number is in GB.
    pub disk_size: Size,
    /// The provider's type of disk.
    pub disk_type: Option<String>,
    /// A second disk, which is kept when the machine is replaced: a number is in GB. It is mounted at `/mnt/<machine>-data`; a
    /// database keeps its data and its dumps there.
    pub secondary_disk_size: Option<Size>,
}

impl Default for Resources {
    fn default() -> Self {
        Self {
            class: None,
            cores: 2,
            core_fraction: 100,
            memory: Size { mb: 1024 },
            disk_size: Size { mb: 10 * 1024 },
            disk_type: None,
            secondary_disk_size: None,
        }
    }
}

/// How a machine is connected.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Nic {
    /// The subnet; may be left out where there is only one.
    pub subnet: Option<Name>,
    /// Whether the machine has a public address.
    pub nat: bool,
    /// The reserved address that it has, one of `addresses`; it needs `nat: true`.
    pub address: Option<Name>,
}

/// What the first boot of a machine gets.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(super) struct Metadata {
    /// The login that is created, and a public key that may use it beside the environment's own.
    pub ssh_keys: Option<SshKeys>,
    /// A Compose file that the machine runs.
    pub docker_compose: Option<FileRef>,
    /// A script that runs at the first boot.
    pub user_data: Option<String>,
}

/// A login and its public key.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SshKeys {
    /// The login.
    pub username: String,
    /// The file of a public key.
    pub file: Option<String>,
}

/// A file that is named in the environment file.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct FileRef {
    /// Its path, relative to the folder that `--files-root` names, or to this file.
    pub file: String,
}

/// A single machine.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Instance {
    /// What it is made of.
    pub resources: Resources,
    /// The image family that it boots.
    pub image_family: Option<String>,
    /// How it is connected.
    pub network: Nic,
    /// Its groups in playbooks, beside `all` and those its section gives it.
    pub ansible_groups: Vec<String>,
    /// What its first boot gets.
    pub metadata: Metadata,
    /// Where it is put.
    pub placement: Placement,
}

/// Where a machine is put.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Placement {
    /// The availability zone; without it that of the subnet.
    pub zone: Option<String>,
}

/// A group of equal machines.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct InstanceGroup {
    /// What each is made of.
    pub resources: Resources,
    /// The image family that each boots.
    pub image_family: Option<String>,
    /// How each is connected.
    pub network: Nic,
    /// Their groups in playbooks, beside `all` and the group of this name.
    pub ansible_groups: Vec<String>,
    /// What the first boot of each gets.
    pub metadata: Metadata,
    /// How many there are.
    #[schemars(range(min = 0, max = 1000))]
    pub node_count: u32,
    /// The service account that its machines have.
    pub service_account: Option<Name>,
    /// The zones that the machines are spread over.
    pub allocation_policy: Vec<String>,
    /// How many may be missing or surplus while the group is changed.
    pub deploy_policy: DeployPolicy,
    /// How the cloud checks that a machine works; one that does not is restarted or recreated. Without it a machine works while it runs.
    pub health_check: Option<HealthCheck>,
}

/// How a cloud checks that a machine of a group works.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct HealthCheck {
    /// The TCP port that is asked.
    #[schemars(range(min = 1))]
    pub port: u16,
    /// The path of an HTTP request that is answered with 200; without it a connection is enough.
    #[serde(default)]
    pub path: Option<String>,
    /// How often.
    #[serde(default = "ten_seconds")]
    pub interval: Span,
    /// How long an answer may take.
    #[serde(default = "two_seconds")]
    pub timeout: Span,
    /// After how many failures the machine is restarted or created again, as the cloud does.
    #[serde(default = "three")]
    #[schemars(range(min = 2, max = 10))]
    pub failures: u32,
    /// How long a machine may take from its first boot until it works.
    #[serde(default = "ten_minutes")]
    pub patience: Span,
}

fn three() -> u32 {
    3
}

fn ten_seconds() -> Span {
    Span(std::time::Duration::from_secs(10))
}

fn ten_minutes() -> Span {
    Span(std::time::Duration::from_mins(10))
}

/// How a group is changed.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct DeployPolicy {
    /// How many machines may be missing.
    pub max_unavailable: u32,
    /// How many machines may be surplus.
    pub max_expansion: u32,
}

/// A PostgreSQL database service.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Postgres {
    /// The major version.
    #[schemars(range(min = 11, max = 20))]
    pub version: u32,
    /// Whether the cloud's managed service is used, where it exists.
    pub managed: Managed,
    /// What its machine is made of.
    pub resources: Resources,
    /// The image family of its machine.
    pub image_family: Option<String>,
    /// How its machine is connected. With `nat: true` a managed one has a public address, and the world reaches its port (5432 on AWS, 6432 on Yandex
    /// Cloud).
    pub network: Nic,
    /// Groups of its machine in playbooks, beside `postgres` and the service's name.
    pub ansible_groups: Vec<String>,
    /// Server settings, as in `postgresql.conf`.
    pub settings: IndexMap<String, Value>,
    /// Logins, by name.
    pub users: IndexMap<String, PostgresUser>,
    /// Databases, by name.
    pub databases: IndexMap<String, PostgresDatabase>,
    /// Dumps of all databases, kept on the machine's second disk if it has one (`resources.secondary_disk_size`).
    pub backup: Option<Backup>,
}

impl Default for Postgres {
    fn default() -> Self {
        Self {
            version: 15,
            managed: Managed::Auto,
            resources: Resources::default(),
            image_family: None,
            network: Nic::default(),
            ansible_groups: Vec::new(),
            settings: IndexMap::new(),
            users: IndexMap::new(),
            databases: IndexMap::new(),
            backup: None,
        }
    }
}

/// Whether a managed service is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Managed {
    /// Where the provider has one.
    Auto,
    /// Always; an error where the provider has none.
    Always,
    /// Never: the database runs on a machine of the environment.
    Never,
}

impl<'de> Deserialize<'de> for Managed {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::String(text) if text == "auto" => Ok(Self::Auto),
            Value::Bool(true) => Ok(Self::Always),
            Value::Bool(false) => Ok(Self::Never),
            other => Err(serde::de::Error::custom(format!("expected `auto`, `true` or `false`, found {other}"))),
        }
    }
}

impl JsonSchema for Managed {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Managed".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "enum": ["auto", true, false] })
    }
}

/// A login of the database.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct PostgresUser {
    /// The secret that holds its password, one of `secrets`. One that is not declared there is generated, with 24 characters; so is
    /// `postgres_<service>_<login>`, which holds the password where nothing is said.
    pub password: Option<String>,
}

/// A database.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct PostgresDatabase {
    /// Its owner, one of `users`.
    pub owner: Option<String>,
    /// Its extensions.
    pub extensions: Vec<String>,
}

/// When dumps are made and how long they are kept.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Backup {
    /// When, in the five fields of crontab(5).
    pub schedule: Cron,
    /// How long a dump is kept.
    pub keep: Span,
}

/// An HTTP(S) front.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Nginx {
    /// How many machines; more than one get a network load balancer before them.
    #[schemars(range(min = 1, max = 16))]
    pub nodes: u32,
    /// What each is made of.
    pub resources: Resources,
    /// The image family of each.
    pub image_family: Option<String>,
    /// How each is connected. One machine has a public address with `nat: true`. Several are reached through their balancer: the file asks for
    /// that with `nodes`, it is always public and has the `address`, and `nat` is about the machines behind it.
    pub network: Option<Nic>,
    /// Groups of its machines in playbooks, beside `nginx` and the front's name.
    pub ansible_groups: Vec<String>,
    /// The ports it listens on.
    pub listen: Listen,
    /// The certificate.
    pub tls: Tls,
    /// What it balances, by name.
    pub upstreams: IndexMap<Name, Upstream>,
    /// Which path goes where.
    pub locations: IndexMap<String, NginxLocation>,
}

impl Default for Nginx {
    fn default() -> Self {
        Self {
            nodes: 1,
            resources: Resources::default(),
            image_family: None,
            network: None,
            ansible_groups: Vec::new(),
            listen: Listen::default(),
            tls: Tls::default(),
            upstreams: IndexMap::new(),
            locations: IndexMap::new(),
        }
    }
}

/// The ports of a front.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Listen {
    /// HTTP.
    #[schemars(range(min = 1))]
    pub http: u16,
    /// HTTPS.
    #[schemars(range(min = 1))]
    pub https: u16,
}

impl Default for Listen {
    fn default() -> Self {
        Self { http: 80, https: 443 }
    }
}

/// The certificate of a front, signed by the environment's own authority.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Tls {
    /// Host names that it is valid for, beside `localhost` and the front's addresses.
    pub names: Vec<String>,
}

/// What a front balances.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Upstream {
    /// The group of machines that answer.
    pub group: String,
    /// Their port.
    #[schemars(range(min = 1))]
    pub port: u16,
    /// How many failures take a machine out of the balance.
    #[serde(default = "one")]
    pub max_fails: u32,
    /// For how long.
    #[serde(default = "two_seconds")]
    pub fail_timeout: Span,
}

fn one() -> u32 {
    1
}

fn two_seconds() -> Span {
    Span(std::time::Duration::from_secs(2))
}

/// Where requests of a path go.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NginxLocation {
    /// One of `upstreams`.
    pub upstream: Name,
    /// For how long answers are kept.
    #[serde(default)]
    pub cache: Option<Span>,
}

/// An identity that calls the cloud's API.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ServiceAccount {
    /// Its roles in the folder.
    pub roles: Vec<String>,
}

/// A public address that stays the same.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ReservedAddress {
    /// The availability zone, where addresses belong to one; without it the usual one.
    pub zone: Option<String>,
}

/// A registry of container images.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Registry {}

/// A zone of names.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DnsZone {
    /// The domain, as `example.org`.
    pub zone: String,
    /// Whether only the machines of this environment see it.
    #[serde(default)]
    pub private: bool,
    /// Its records.
    #[serde(default)]
    pub records: Vec<DnsRecord>,
}

/// A record of a zone: what it says, or whose address it says.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DnsRecord {
    /// The name within the zone; `@` is the zone itself.
    pub name: String,
    /// The type: `A`, `AAAA`, `CNAME`, `MX`, `TXT`, ...
    #[serde(rename = "type", default = "type_a")]
    pub kind: String,
    /// How long others may remember it.
    #[serde(default = "ten_minutes")]
    pub ttl: Span,
    /// What it says.
    #[serde(default)]
    pub values: Vec<String>,
    /// The machine, the HTTP(S) front or the reserved address that it points to.
    #[serde(default)]
    pub to: Option<Name>,
}

fn type_a() -> String {
    "A".to_owned()
}

/// Where a secret comes from.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum SecretSource {
    /// Generated at the first apply, this many characters long, and kept in the state. Another length makes a new one.
    Generate(#[schemars(range(min = 8, max = 256))] u32),
    /// Read from this environment variable.
    Env(String),
    /// Read from this file, without its last line break.
    File(String),
}
