//! An identity that machines and groups use to call the cloud's API.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Kind, Rules};

/// What a service account should be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceAccountSpec {}

pub(super) struct ServiceAccount;

impl Kind for ServiceAccount {
    fn name(&self) -> &'static str {
        "service_account"
    }

    fn level(&self) -> u8 {
        0
    }

    fn rules(&self) -> Rules {
        Rules::NONE
    }

    fn summary(&self, _spec: &Map<String, Value>) -> String {
        String::new()
    }
}
