//! Ports of machines that are open to the world.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Field, FieldChange, Kind, Rules};
use crate::name::Name;

/// What a security group should open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecurityGroupSpec {
    /// The network.
    pub network: Name,
    /// TCP ports that the world may reach.
    pub ports: Vec<u16>,
    /// TCP ports that the provider's health checkers may reach.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub checked: Vec<u16>,
}

const RULES: Rules = Rules {
    fields: &[
        Field::seen("network", FieldChange::Replace),
        Field::seen("ports", FieldChange::InPlace),
        Field::seen("checked", FieldChange::InPlace),
    ],
    links: &[],
};

pub(super) struct SecurityGroup;

impl Kind for SecurityGroup {
    fn name(&self) -> &'static str {
        "security_group"
    }

    fn level(&self) -> u8 {
        1
    }

    fn rules(&self) -> Rules {
        RULES
    }

    fn summary(&self, spec: &Map<String, Value>) -> String {
        let ports = spec.get("ports").and_then(Value::as_array);
        let ports: Vec<String> = ports.into_iter().flatten().map(ToString::to_string).collect();
        let checked = spec.get("checked").and_then(Value::as_array);
        let checked = checked.into_iter().flatten().map(|port| format!("{port} to health checks"));
        format!("opens {}", ports.into_iter().chain(checked).collect::<Vec<_>>().join(", "))
    }
}
