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
    /// Where port 22 of the way in may be reached from; nothing when there is no way in.
    #[serde(default)]
    pub ssh_from: Vec<String>,
    /// What earlier versions wrote: one range that covers those of the subnets.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cidr: Option<String>,
}

/// The name of the security group that a network has for its way in, as machines name it among theirs.
pub const SSH_GROUP: &str = "ssh";

const RULES: Rules = Rules {
    fields: &[
        Field::seen("name", FieldChange::Replace),
        Field::seen("cidrs", FieldChange::InPlace),
        Field::seen("ssh_from", FieldChange::InPlace),
        Field::unseen("cidr", FieldChange::InPlace, "it is not used any more"),
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
