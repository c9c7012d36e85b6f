//! A part of a network, with its ranges of addresses.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Field, FieldChange, Kind, Rules};

/// What a subnet should be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SubnetSpec {
    /// Its first IPv4 range, as `10.5.0.0/24`.
    pub cidr: String,
    /// The ranges beside it, where a subnet may have several.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub more_cidrs: Vec<String>,
    /// The length of its prefix, when the provider takes a part of the range.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub prefix: Option<u8>,
    /// The availability zone, where the provider has zones.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub zone: Option<String>,
}

const RULES: Rules = Rules {
    fields: &[
        Field::seen("cidr", FieldChange::Replace),
        Field::seen("more_cidrs", FieldChange::InPlace),
        Field::seen("zone", FieldChange::Replace),
    ],
    links: &[],
};

pub(super) struct Subnet;

impl Kind for Subnet {
    fn name(&self) -> &'static str {
        "subnet"
    }

    fn level(&self) -> u8 {
        2
    }

    fn rules(&self) -> Rules {
        RULES
    }

    fn summary(&self, spec: &Map<String, Value>) -> String {
        let more = spec.get("more_cidrs").and_then(Value::as_array).into_iter().flatten();
        let all = spec.get("cidr").into_iter().chain(more).filter_map(Value::as_str);
        all.collect::<Vec<_>>().join(", ")
    }
}
