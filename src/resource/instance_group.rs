//! A group of equal machines that the provider keeps alive by itself.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Field, FieldChange, Kind, MachinesOf, Rules, VmSpec};
use crate::name::Name;

/// What a group should be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InstanceGroupSpec {
    /// How many machines.
    pub count: u32,
    /// The zones that they are spread over.
    pub zones: Vec<String>,
    /// How many may be missing while the group is changed.
    pub max_unavailable: u32,
    /// How many may be surplus while the group is changed.
    pub max_expansion: u32,
    /// The service account that they have.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub service_account: Option<Name>,
    /// How the provider finds out that a machine works, beside that it runs; one that does not is restarted or created again.
    #[serde(default)]
    pub health_check: Option<HealthCheck>,
    /// What each of them is.
    pub machine: VmSpec,
}

/// How a machine is asked whether it works.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheck {
    /// The TCP port.
    pub port: u16,
    /// The path of an HTTP request that is answered with 200; without it a connection is enough.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub path: Option<String>,
    /// How often, in seconds.
    pub interval: u64,
    /// How long an answer may take, in seconds.
    pub timeout: u64,
    /// After how many failures a machine is recreated.
    pub failures: u32,
    /// How long a machine may take after its first boot, in seconds.
    pub patience: u64,
}

const RULES: Rules = Rules {
    fields: &[
        Field::seen("count", FieldChange::InPlace),
        Field::seen("zones", FieldChange::InPlace),
        Field::seen("max_unavailable", FieldChange::InPlace),
        Field::seen("max_expansion", FieldChange::InPlace),
        Field::seen("service_account", FieldChange::Replace),
        Field::seen("health_check", FieldChange::InPlace),
        Field::seen("machine", FieldChange::InPlace),
    ],
    links: &[],
};

pub(super) struct InstanceGroup;

impl Kind for InstanceGroup {
    fn name(&self) -> &'static str {
        "instance_group"
    }

    fn level(&self) -> u8 {
        4
    }

    fn machines(&self) -> Option<MachinesOf> {
        Some(|one| one.spec::<InstanceGroupSpec>().map(|group| (group.machine, group.count)))
    }

    fn rules(&self) -> Rules {
        RULES
    }

    fn confidential(&self) -> &'static [&'static str] {
        &["machine.user_data", "machine.compose"]
    }

    fn summary(&self, spec: &Map<String, Value>) -> String {
        let machine = spec.get("machine").and_then(Value::as_object).cloned().unwrap_or_default();
        format!("{} of {}", spec.get("count").unwrap_or(&Value::Null), super::vm::Vm.summary(&machine))
    }
}
