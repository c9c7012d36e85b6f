//! The kinds of things that an environment is made of: one file each, with its specification, what it needs and how
//! its fields are changed. This module knows no cloud. It may import the vocabulary only.

mod address;
mod disk;
mod dns_zone;
mod expiry;
mod gateway;
mod instance_group;
mod load_balancer;
mod network;
mod postgres;
mod registry;
mod role_binding;
mod route_table;
mod rules;
mod security_group;
mod service_account;
mod subnet;
mod terms;
mod vm;

use std::{collections::BTreeMap, fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use self::{
    address::AddressSpec,
    disk::DiskSpec,
    dns_zone::{DnsZoneSpec, RecordSpec},
    gateway::GatewaySpec,
    instance_group::{HealthCheck, InstanceGroupSpec},
    load_balancer::LoadBalancerSpec,
    network::{NetworkSpec, SSH_GROUP},
    postgres::{BackupSpec, DatabaseSpec, PostgresSpec, databases_of},
    registry::RegistrySpec,
    role_binding::RoleBindingSpec,
    route_table::RouteTableSpec,
    rules::{Drift, Field, FieldChange, Link, LinkChange, Rules},
    security_group::SecurityGroupSpec,
    service_account::ServiceAccountSpec,
    subnet::SubnetSpec,
    terms::{LABEL_EXPIRES, LABEL_PROTECT, LABEL_TEMPLATE, Terms},
    vm::VmSpec,
};
use crate::{error::Result, name::Name};

/// What reads the machines of a resource, and how many there are.
pub type MachinesOf = fn(&Resource) -> Result<(VmSpec, u32)>;
/// What reads the logins of a resource, each with the name of its secret.
pub type LoginsOf = fn(&Resource) -> Result<BTreeMap<String, String>>;

/// One kind of resource.
pub trait Kind: Sync {
    /// Its name, the first half of an address.
    fn name(&self) -> &'static str;

    /// Its level: it may need things of lower levels only.
    fn level(&self) -> u8;

    /// How a provider without rules of its own treats the kind.
    fn rules(&self) -> Rules;

    /// The fields of a specification, as `field` or `field.field`, that may hold passwords and tokens: they are encrypted in a state and
    /// never shown.
    fn confidential(&self) -> &'static [&'static str] {
        &[]
    }

    /// A few words that distinguish one specification from another, for a line of the plan.
    fn summary(&self, spec: &Map<String, Value>) -> String;

    /// The machines that it boots: what each of them is, and how many there are; `None` for kinds without machines.
    fn machines(&self) -> Option<MachinesOf> {
        None
    }

    /// The logins whose passwords are secrets of the environment, each with the name of its secret; `None` for kinds without.
    fn logins(&self) -> Option<LoginsOf> {
        None
    }

    /// What of an object is data that goes with it and cannot be made again from the file, in words; `None` for kinds without.
    /// What machines keep is said by what puts it there: [`Resource::data`].
    fn data(&self, _spec: &Map<String, Value>) -> Option<String> {
        None
    }
}

/// How a provider treats the kinds. Plain functions: plans know no provider.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// What can be done with each field of a kind, and with what it points to.
    pub rules: fn(KindName) -> Rules,
    /// The level of a kind: what it needs has lower levels, so that it goes first when nothing else is known.
    pub level: fn(KindName) -> u8,
}

impl Default for Policy {
    fn default() -> Self {
        Self { rules: |kind| kind.kind().rules(), level: |kind| kind.kind().level() }
    }
}

/// Does something to each confidential field that a specification has.
///
/// # Errors
/// The first error of the work.
pub fn each_confidential<E>(
    kind: KindName, spec: &mut Map<String, Value>, mut work: impl FnMut(&mut Value) -> std::result::Result<(), E>,
) -> std::result::Result<(), E> {
    for path in kind.kind().confidential() {
        let mut names = path.split('.');
        let first = names.next().and_then(|name| spec.get_mut(name));
        if let Some(value) = names.fold(first, |value, name| value?.get_mut(name)) {
            work(value)?;
        }
    }
    Ok(())
}

/// The specification as it may be shown.
#[must_use]
pub fn shown(kind: KindName, spec: &Map<String, Value>) -> Map<String, Value> {
    let mut spec = spec.clone();
    let hidden: std::result::Result<(), std::convert::Infallible> = each_confidential(kind, &mut spec, |value| {
        *value = crate::secret::REDACTED.into();
        Ok(())
    });
    match hidden {
        Ok(()) => spec,
    }
}

/// All kinds.
pub const KINDS: &[&dyn Kind] = &[
    &address::ReservedAddress,
    &disk::Disk,
    &dns_zone::DnsZone,
    &expiry::Expiry,
    &gateway::Gateway,
    &instance_group::InstanceGroup,
    &load_balancer::LoadBalancer,
    &network::Network,
    &postgres::Postgres,
    &registry::Registry,
    &role_binding::RoleBinding,
    &route_table::RouteTable,
    &security_group::SecurityGroup,
    &service_account::ServiceAccount,
    &subnet::Subnet,
    &vm::Vm,
];

/// The name of a registered kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct KindName(&'static str);

impl KindName {
    /// The kind of machines.
    pub const VM: Self = Self("vm");
    /// The kind of subnets.
    pub const SUBNET: Self = Self("subnet");
    /// The kind of disks beside a machine's first one.
    pub const DISK: Self = Self("disk");
    /// The kind of networks.
    pub const NETWORK: Self = Self("network");
    /// The kind of gateways.
    pub const GATEWAY: Self = Self("gateway");
    /// The kind of route tables.
    pub const ROUTE_TABLE: Self = Self("route_table");
    /// The kind of security groups.
    pub const SECURITY_GROUP: Self = Self("security_group");
    /// The kind of service accounts.
    pub const SERVICE_ACCOUNT: Self = Self("service_account");
    /// The kind of role bindings.
    pub const ROLE_BINDING: Self = Self("role_binding");
    /// The kind of network load balancers.
    pub const LOAD_BALANCER: Self = Self("load_balancer");
    /// The kind of reserved public addresses.
    pub const ADDRESS: Self = Self("address");
    /// The kind of zones of names.
    pub const DNS_ZONE: Self = Self("dns_zone");
    /// The kind of registries of container images.
    pub const REGISTRY: Self = Self("registry");
    /// The kind of managed PostgreSQL services.
    pub const POSTGRES: Self = Self("postgres");
    /// The kind of what carries later terms of an environment, where labels cannot be changed.
    pub const EXPIRY: Self = Self("expiry");
    /// The kind of instance groups.
    pub const INSTANCE_GROUP: Self = Self("instance_group");

    /// Whether machines are made with it, so that it needs their keys.
    #[must_use]
    pub fn boots(self) -> bool {
        self.kind().machines().is_some()
    }

    /// The address of the resource of this kind and name.
    #[must_use]
    pub fn named(self, name: &Name) -> Address {
        Address { kind: self, name: name.clone() }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.0
    }

    /// The names of all kinds.
    pub fn all() -> impl Iterator<Item = Self> {
        KINDS.iter().map(|kind| Self(kind.name()))
    }

    /// The kind of this name.
    ///
    /// # Panics
    /// Never: a name can only be made from a registered kind.
    #[must_use]
    pub fn kind(self) -> &'static dyn Kind {
        *KINDS.iter().find(|kind| kind.name() == self.0).expect("kind names come from the registry")
    }
}

/// The address of a resource within its environment: `vm.app-1`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Address {
    /// Its kind.
    pub kind: KindName,
    /// Its name, unique within the kind.
    pub name: Name,
}

impl Address {
    /// The address of a machine.
    #[must_use]
    pub fn vm(name: &Name) -> Self {
        Self { kind: KindName::VM, name: name.clone() }
    }

    /// The address of a subnet.
    #[must_use]
    pub fn subnet(name: &Name) -> Self {
        Self { kind: KindName::SUBNET, name: name.clone() }
    }

    /// The address of a disk.
    #[must_use]
    pub fn disk(name: &Name) -> Self {
        Self { kind: KindName::DISK, name: name.clone() }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}.{}", self.kind.0, self.name))
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let (kind, name) = text.split_once('.').ok_or_else(|| format!("`{text}` is not an address like `vm.app-1`"))?;
        let kind = KINDS.iter().find(|k| k.name() == kind).ok_or_else(|| format!("`{kind}` is not a known kind"))?;
        Ok(Self { kind: KindName(kind.name()), name: name.parse()? })
    }
}

impl TryFrom<String> for Address {
    type Error = String;

    fn try_from(text: String) -> std::result::Result<Self, String> {
        text.parse()
    }
}

impl From<Address> for String {
    fn from(address: Address) -> Self {
        address.to_string()
    }
}

/// One thing that an environment wants.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Resource {
    /// Its address.
    pub address: Address,
    /// The fields of its kind's specification.
    pub spec: Map<String, Value>,
    /// What must exist before it.
    pub needs: Vec<Address>,
    /// Where the environment file asks for it, as `file:line:column`.
    pub origin: String,
    /// The data that other sections of the file keep on it, as `postgres.main (database app)`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub data: Vec<String>,
}

impl Resource {
    /// The machines that it boots: what each of them is, and how many there are; nothing for kinds without machines.
    ///
    /// # Errors
    /// As [`Self::spec`].
    pub fn machines(&self) -> Result<Option<(VmSpec, u32)>> {
        self.address.kind.kind().machines().map(|machines| machines(self)).transpose()
    }

    /// The logins whose passwords are secrets of the environment, each with the name of its secret; nothing for kinds without.
    ///
    /// # Errors
    /// As [`Self::spec`].
    pub fn logins(&self) -> Result<Option<BTreeMap<String, String>>> {
        self.address.kind.kind().logins().map(|logins| logins(self)).transpose()
    }

    /// The typed specification.
    ///
    /// # Errors
    /// When the fields are not those of `T`, as in a plan file that was edited.
    pub fn spec<T: serde::de::DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_value(Value::Object(self.spec.clone())).map_err(|error| {
            crate::error::Error::new(format!("`{}` has a specification of another form: {error}", self.address))
        })
    }
}

/// The fields of a typed specification.
///
/// # Panics
/// Never: every specification is a struct of plain values.
pub fn spec_fields<T: Serialize>(spec: &T) -> Map<String, Value> {
    match serde_json::to_value(spec) {
        Ok(Value::Object(fields)) => fields,
        other => panic!("a specification is a struct of plain values, not {other:?}"),
    }
}
