//! A private network of the environment: nothing from outside reaches it but what is opened.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Field, FieldChange, Kind, Rules};

/// What a network should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkSpec {
    /// Its name at the provider.
    pub name: String,
    /// The address ranges of its subnets; the machines in them reach each other.
    pub cidrs: Vec<String>,
    /// Its own address range, where the provider wants one that covers them.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cidr: Option<String>,
}

const RULES: Rules = Rules {
    fields: &[
        Field::seen("name", FieldChange::Replace),
        Field::seen("cidrs", FieldChange::InPlace),
        Field::seen("cidr", FieldChange::InPlace),
    ],
    links: &[],
};

pub(super) struct Network;

impl Kind for Network {
    fn name(&self) -> &'static str {
        "network"
    }

    fn level(&self) -> u8 {
        0
    }

    fn rules(&self) -> Rules {
        RULES
    }

    fn summary(&self, spec: &Map<String, Value>) -> String {
        spec.get("name").and_then(Value::as_str).unwrap_or_default().to_owned()
    }
}
