//! The resolved environment: what everything else knows of an environment file.

use std::{collections::BTreeMap, path::PathBuf};

use indexmap::IndexMap;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{Cidr, SecretSource, StateSettings};
use crate::{
    cloud::{ProviderName, Section, Sections},
    error::Diagnostic,
    name::Name,
    resource::{HealthCheck, KindName, Resource, VmSpec},
    yaml::{self, Node},
};

/// A resolved environment: the only thing that is made from an environment file, and immutable.
#[derive(Clone, Debug)]
pub struct Environment {
    /// Its name, unique per provider account or engine.
    pub name: Name,
    /// The folder of its file.
    pub folder: PathBuf,
    /// The folder that holds `envs/`, where state and shared playbooks lie.
    pub project: PathBuf,
    /// Where its machines run.
    pub provider: ProviderName,
    /// Settings of the providers.
    pub sections: Sections,
    /// The network's name, when the file gives it one.
    pub network: Option<Name>,
    /// Where the file names its subnets.
    pub subnet_marks: BTreeMap<Name, yaml::Mark>,
    /// Where port 22 of the bastion may be reached from.
    pub ssh_from: Vec<Cidr>,
    /// Subnets, disks and machines. What else a provider needs for them is the provider's own affair.
    pub resources: Vec<Resource>,
    /// Groups of equal machines.
    pub groups: IndexMap<Name, Group>,
    /// Service accounts and their roles, each with its place.
    pub service_accounts: IndexMap<Name, (Vec<String>, yaml::Mark)>,
    /// Zones of names, with what their records point to.
    pub dns: IndexMap<Name, Zone>,
    /// Its machines, in the order of the file.
    pub hosts: IndexMap<Name, Host>,
    /// Its databases.
    pub postgres: IndexMap<Name, PostgresService>,
    /// Its HTTP(S) fronts.
    pub nginx: IndexMap<Name, Front>,
    /// The playbooks, as the file names them, each with its place.
    pub playbooks: Vec<(String, yaml::Mark)>,
    /// Variables of all hosts, `--var` over those of the file.
    pub vars: Map<String, Value>,
    /// Variables of groups, from `group_vars/`.
    pub group_vars: IndexMap<String, Map<String, Value>>,
    /// Variables of hosts, from `host_vars/`.
    pub host_vars: IndexMap<String, Map<String, Value>>,
    /// Variables from `--var`, which win over all others.
    pub extra_vars: Map<String, Value>,
    /// Secrets, by name, and where they come from.
    pub secrets: IndexMap<String, SecretSource>,
    /// Where the file asks for each of them.
    pub secret_marks: IndexMap<String, yaml::Mark>,
    /// Templates of the outputs.
    pub outputs: IndexMap<String, String>,
    /// The templates of the outputs, each with its place.
    pub output_marks: Vec<(String, yaml::Mark)>,
    /// The variables of the file and of `group_vars/` and `host_vars/`, as they are written.
    pub written_vars: Vec<yaml::Node>,
    /// Where an Ansible inventory is written after `apply`.
    pub inventory_file: Option<PathBuf>,
    /// Whether `destroy` is refused.
    pub protect: bool,
    /// How many warm copies of it are kept ready, when there is a pool.
    pub pool: Option<usize>,
    /// Where its state is kept.
    pub state: StateSettings,
    /// Where the section `state` says so, by the names of its keys: `key_file`, `recipients[0]`.
    pub state_marks: IndexMap<String, yaml::Mark>,
    /// How long it lives, from its first apply on.
    pub ttl: Option<std::time::Duration>,
    /// The kinds of things that the file asks a provider for, beside machines, subnets and disks.
    pub asked: Vec<AskedKind>,
    /// Settings of the file that mean something in a cloud only, with their places.
    pub cloud_only: Vec<(String, yaml::Mark)>,
    /// What the user should know about the file.
    pub warnings: Vec<Diagnostic>,
    /// The file as it is written.
    pub text: Node,
}

impl Environment {
    /// The settings of a provider.
    #[must_use]
    pub fn section<T: Section>(&self) -> &T {
        self.sections.of()
    }

    /// The way in: the first public machine of the group `bastion`, or the first public machine.
    #[must_use]
    pub fn bastion(&self) -> Option<&Name> {
        bastion_of(&self.hosts, |_, host| host.public)
    }

    /// The way in if these machines had a public address, and no others.
    #[must_use]
    pub fn bastion_among(&self, is_public: impl Fn(&Name) -> bool) -> Option<&Name> {
        bastion_of(&self.hosts, |name, _| is_public(name))
    }

    /// Where its port 22 may be reached from; nothing when there is no way in.
    #[must_use]
    pub fn ssh_ranges(&self) -> Vec<String> {
        let mut ranges: Vec<String> = self.ssh_from.iter().map(Cidr::to_string).collect();
        ranges.sort();
        if self.bastion().is_some() { ranges } else { Vec::new() }
    }
}

/// The first public machine of the group `bastion`, or the first public machine.
pub(super) fn bastion_of(hosts: &IndexMap<Name, Host>, is_public: impl Fn(&Name, &Host) -> bool) -> Option<&Name> {
    let public = || hosts.iter().filter(|(name, host)| is_public(name, host));
    let named = public().find(|(_, host)| host.groups.iter().any(|group| group == "bastion"));
    named.or_else(|| public().next()).map(|(name, _)| name)
}

/// Something that a file asks for, and that a provider may not have.
#[derive(Clone, Debug)]
pub struct AskedKind {
    /// Its kind.
    pub kind: KindName,
    /// What it is, as in "the registry `images`".
    pub what: String,
    /// Where the file asks for it.
    pub mark: yaml::Mark,
    /// How to do without it, where the environment does not work otherwise.
    pub instead: Option<String>,
}

/// A machine, as playbooks see it.
#[derive(Clone, Debug)]
pub struct Host {
    /// Its groups, without `all`.
    pub groups: Vec<String>,
    /// Whether it has a public address.
    pub public: bool,
    /// The login on it.
    pub login: String,
    /// Where the file asks for it.
    pub mark: yaml::Mark,
}

/// A group of equal machines, which some providers keep alive by themselves.
#[derive(Clone, Debug)]
pub struct Group {
    /// Its machines.
    pub members: Vec<Name>,
    /// What each of them is.
    pub machine: VmSpec,
    /// The zones that they are spread over.
    pub zones: Vec<String>,
    /// How many may be missing while the group is changed.
    pub max_unavailable: u32,
    /// How many may be surplus while the group is changed.
    pub max_expansion: u32,
    /// The service account that manages them.
    pub service_account: Option<Name>,
    /// How the provider finds out that one of them works.
    pub health_check: Option<HealthCheck>,
    /// Where the file asks for it.
    pub mark: yaml::Mark,
}

/// A zone of names.
#[derive(Clone, Debug)]
pub struct Zone {
    /// Its name, with a dot at the end.
    pub zone: String,
    /// Whether only the machines of the environment see it.
    pub private: bool,
    /// Its records.
    pub records: Vec<Record>,
    /// Where the file asks for it.
    pub mark: yaml::Mark,
}

/// A record of a zone.
#[derive(Clone, Debug)]
pub struct Record {
    /// The whole name, with a dot at the end.
    pub name: String,
    /// `A`, `CNAME`, ...
    pub kind: String,
    /// How long others may remember it, in seconds.
    pub ttl: u64,
    /// What it says.
    pub values: Vec<String>,
    /// What it points to, instead.
    pub to: Option<Target>,
}

/// What a record may point to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A machine.
    Host(Name),
    /// An HTTP(S) front.
    Front(Name),
    /// A reserved address.
    Address(Name),
}

/// A database service: on a machine of the environment, or managed by the provider.
#[derive(Clone, Debug)]
pub struct PostgresService {
    /// The machine; none when the provider manages the service.
    pub node: Option<Name>,
    /// The major version.
    pub version: u32,
    /// The TCP port on its machine.
    pub port: u16,
    /// Server settings.
    pub settings: IndexMap<String, Value>,
    /// Logins and the secrets that hold their passwords.
    pub users: IndexMap<String, String>,
    /// Databases.
    pub databases: IndexMap<String, Database>,
    /// Dumps, when they are made.
    pub backup: Option<BackupPolicy>,
    /// Where the file asks for it.
    pub mark: yaml::Mark,
}

/// A database of a service.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct Database {
    /// Its owner.
    pub owner: Option<String>,
    /// Its extensions.
    pub extensions: Vec<String>,
}

/// When dumps are made and how long they are kept.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct BackupPolicy {
    /// In the five fields of crontab(5).
    pub schedule: String,
    /// In minutes.
    pub keep_minutes: u64,
}

/// An HTTP(S) front.
#[derive(Clone, Debug)]
pub struct Front {
    /// Its machines.
    pub nodes: Vec<Name>,
    /// Whether the world can reach it.
    pub public: bool,
    /// The reserved address of the balancer before several machines; a single machine has its own.
    pub address: Option<Name>,
    /// The HTTP port on the machine.
    pub http_port: u16,
    /// The HTTPS port on the machine.
    pub https_port: u16,
    /// Host names of its certificate.
    pub names: Vec<String>,
    /// What it balances.
    pub upstreams: IndexMap<String, FrontUpstream>,
    /// Where requests go.
    pub locations: Vec<FrontLocation>,
}

/// What a front balances.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct FrontUpstream {
    /// The group of machines.
    pub group: String,
    /// Their port.
    pub port: u16,
    /// How many failures take a machine out.
    pub max_fails: u32,
    /// For how many seconds.
    pub fail_timeout: u64,
}

/// Where requests of one path go.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct FrontLocation {
    /// The path.
    pub path: String,
    /// The upstream.
    pub upstream: String,
    /// How long answers are kept, in seconds.
    pub cache: Option<u64>,
}
