//! A registry of container images.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Kind, Rules};

/// What a registry should be: it has no settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistrySpec {}

pub(super) struct Registry;

impl Kind for Registry {
    fn name(&self) -> &'static str {
        "registry"
    }

    fn level(&self) -> u8 {
        0
    }

    fn rules(&self) -> Rules {
        Rules::NONE
    }

    fn summary(&self, _spec: &Map<String, Value>) -> String {
        "container images".to_owned()
    }

    /// What was pushed is nowhere else, as far as is known.
    fn data(&self, _spec: &Map<String, Value>) -> Option<String> {
        Some("the images in it".to_owned())
    }
}
