//! A disk beside a machine's first one; it outlives the machine that uses it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Field, FieldChange, Kind, Rules};

/// What a disk should be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DiskSpec {
    /// Its size in GiB.
    pub size_gb: u64,
    /// The provider's type of disk, as `network-hdd`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub disk_type: Option<String>,
    /// The availability zone, where the provider has zones.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub zone: Option<String>,
}

const RULES: Rules = Rules {
    fields: &[
        Field::seen("size_gb", FieldChange::InPlace),
        Field::seen("disk_type", FieldChange::Replace),
        Field::seen("zone", FieldChange::Replace),
    ],
    links: &[],
};

pub(super) struct Disk;

impl Kind for Disk {
    fn name(&self) -> &'static str {
        "disk"
    }

    fn level(&self) -> u8 {
        0
    }

    fn rules(&self) -> Rules {
        RULES
    }

    fn summary(&self, spec: &Map<String, Value>) -> String {
        format!("{} GB", spec.get("size_gb").unwrap_or(&Value::Null))
    }

    fn data(&self, spec: &Map<String, Value>) -> Option<String> {
        Some(spec.get("size_gb").map_or_else(|| "all of it".to_owned(), |size| format!("{size} GB")))
    }
}
