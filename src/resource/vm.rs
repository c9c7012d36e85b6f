//! A machine.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Field, FieldChange, Kind, MachinesOf, Rules};
use crate::{error::count, name::Name};

/// What a machine should be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VmSpec {
    /// The image family that it boots.
    pub image: String,
    /// Virtual processors.
    pub cores: u32,
    /// The share of each processor that is its own, in percent.
    pub core_fraction: u32,
    /// Memory in MiB.
    pub memory_mb: u64,
    /// The first disk's size in GiB.
    pub disk_gb: u64,
    /// The subnet that it is in.
    pub subnet: Name,
    /// Whether it has a public address.
    pub public: bool,
    /// The TCP ports that the world may reach, when it is public.
    pub ports: Vec<u16>,
    /// The login that is created on it.
    pub login: String,
    /// Public keys that may log in, beside the environment's own.
    pub authorized_keys: Vec<String>,
    /// Disks attached beside the first.
    pub disks: Vec<Name>,
    /// A script that runs at the first boot, as cloud images run user-data.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub user_data: Option<String>,
    /// A Compose file that it runs: its text.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub compose: Option<String>,
    /// The availability zone, where the provider has zones.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub zone: Option<String>,
    /// The provider's type of the first disk.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub disk_type: Option<String>,
    /// The provider's class of machines, as `standard-v3` or `t3.small`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub class: Option<String>,
    /// The reserved public address that it has.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reserved_address: Option<Name>,
    /// The security groups that open its ports, beside that of the network.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub security_groups: Vec<Name>,
}

const RULES: Rules = Rules {
    fields: &[
        Field::seen("image", FieldChange::Replace),
        Field::seen("cores", FieldChange::InPlace),
        Field::seen("core_fraction", FieldChange::InPlace),
        Field::seen("memory_mb", FieldChange::InPlace),
        Field::seen("disk_gb", FieldChange::Replace),
        Field::seen("subnet", FieldChange::Replace),
        Field::seen("public", FieldChange::Replace),
        Field::seen("ports", FieldChange::Replace),
        Field::seen("login", FieldChange::Replace),
        Field::seen("authorized_keys", FieldChange::Replace),
        Field::seen("disks", FieldChange::Replace),
        Field::seen("user_data", FieldChange::Replace),
        Field::seen("compose", FieldChange::Replace),
        Field::seen("zone", FieldChange::Replace),
        Field::seen("disk_type", FieldChange::Replace),
        Field::seen("class", FieldChange::Replace),
        Field::seen("reserved_address", FieldChange::Replace),
        Field::seen("security_groups", FieldChange::Replace),
    ],
    links: &[],
};

pub(super) struct Vm;

impl Kind for Vm {
    fn name(&self) -> &'static str {
        "vm"
    }

    fn level(&self) -> u8 {
        4
    }

    fn machines(&self) -> Option<MachinesOf> {
        Some(|one| Ok((one.spec()?, 1)))
    }

    fn rules(&self) -> Rules {
        RULES
    }

    fn confidential(&self) -> &'static [&'static str] {
        &["user_data", "compose"]
    }

    fn summary(&self, spec: &Map<String, Value>) -> String {
        let number = |field: &str| spec.get(field).and_then(Value::as_u64).unwrap_or(0);
        let image = spec.get("image").and_then(Value::as_str).unwrap_or_default();
        let public = if spec.get("public") == Some(&Value::Bool(true)) { ", public" } else { "" };
        format!("{image}, {}, {} MB{public}", count(number("cores"), "core"), number("memory_mb"))
    }
}
