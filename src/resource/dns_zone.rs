//! A zone of names with its records.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Address, Field, FieldChange, Kind, KindName, Link, LinkChange, Rules};
use crate::name::Name;

/// What a zone should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsZoneSpec {
    /// Its name, with a dot at the end: `example.org.`
    pub zone: String,
    /// The network that alone can see it; without it the world can.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub network: Option<Name>,
    /// Its records, beside those that every zone has.
    pub records: Vec<RecordSpec>,
}

/// A record of a zone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordSpec {
    /// The whole name, with a dot at the end.
    pub name: String,
    /// `A`, `CNAME`, `TXT`, ...
    #[serde(rename = "type")]
    pub kind: String,
    /// How long others may remember it, in seconds.
    pub ttl: u64,
    /// What it says.
    pub values: Vec<String>,
    /// The resource whose address it says, instead of values.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub to: Option<Address>,
}

const RULES: Rules = Rules {
    fields: &[
        Field::seen("zone", FieldChange::Replace),
        Field::seen("network", FieldChange::Replace),
        Field::seen("records", FieldChange::InPlace),
    ],
    links: &[
        Link::seen(KindName::VM, LinkChange::InPlace),
        Link::seen(KindName::INSTANCE_GROUP, LinkChange::InPlace),
        Link::seen(KindName::ADDRESS, LinkChange::InPlace),
        Link::seen(KindName::LOAD_BALANCER, LinkChange::InPlace),
        Link::seen(KindName::POSTGRES, LinkChange::InPlace),
    ],
};

pub(super) struct DnsZone;

impl Kind for DnsZone {
    fn name(&self) -> &'static str {
        "dns_zone"
    }

    fn level(&self) -> u8 {
        6
    }

    fn rules(&self) -> Rules {
        RULES
    }

    fn summary(&self, spec: &Map<String, Value>) -> String {
        let records = spec.get("records").and_then(Value::as_array).map_or(0, Vec::len);
        format!("{}, {records} records", spec.get("zone").and_then(Value::as_str).unwrap_or_default())
    }
}
