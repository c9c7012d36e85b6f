//! A disk beside a machine's first one; it outlives the machine that uses it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Kind;

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

pub(super) struct Disk;

impl Kind for Disk {
    fn name(&self) -> &'static str {
        "disk"
    }

    fn level(&self) -> u8 {
        0
    }

    fn forces_replacement(&self, field: &str) -> bool {
        matches!(field, "disk_type" | "zone")
    }

    fn summary(&self, spec: &Map<String, Value>) -> String {
        format!("{} GB", spec.get("size_gb").unwrap_or(&Value::Null))
    }

    fn data(&self, spec: &Map<String, Value>) -> Option<String> {
        Some(spec.get("size_gb").map_or_else(|| "all of it".to_owned(), |size| format!("{size} GB")))
    }
}
