//! Where packets go that leave a subnet.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Field, FieldChange, Kind, Rules};
use crate::name::Name;

/// What a route table should be: everything goes through a gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteTableSpec {
    /// The network.
    pub network: Name,
    /// The gateway.
    pub gateway: Name,
}

const RULES: Rules = Rules {
    fields: &[Field::seen("network", FieldChange::Replace), Field::seen("gateway", FieldChange::Replace)],
    links: &[],
};

pub(super) struct RouteTable;

impl Kind for RouteTable {
    fn name(&self) -> &'static str {
        "route_table"
    }

    fn level(&self) -> u8 {
        1
    }

    fn rules(&self) -> Rules {
        RULES
    }

    fn summary(&self, spec: &Map<String, Value>) -> String {
        format!("0.0.0.0/0 through {}", spec.get("gateway").and_then(Value::as_str).unwrap_or_default())
    }
}
