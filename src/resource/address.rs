//! A public address that stays the same, no matter what uses it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Field, FieldChange, Kind, Rules};
use crate::name::Name;

/// What an address should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressSpec {
    /// The availability zone, where addresses belong to one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub zone: Option<String>,
    /// The front whose address it is. One that its machine or its balancer has already is kept: it is only reserved.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub front: Option<Name>,
}

const RULES: Rules = Rules {
    fields: &[Field::seen("zone", FieldChange::Replace), Field::seen("front", FieldChange::InPlace)],
    links: &[],
};

pub(super) struct ReservedAddress;

impl Kind for ReservedAddress {
    fn name(&self) -> &'static str {
        "address"
    }

    fn level(&self) -> u8 {
        0
    }

    fn rules(&self) -> Rules {
        RULES
    }

    fn summary(&self, _spec: &Map<String, Value>) -> String {
        "public, reserved".to_owned()
    }
}
