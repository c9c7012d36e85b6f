//! What machines without a public address reach the world through.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Kind, Rules};

/// What a gateway should be: they are all alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatewaySpec {}

pub(super) struct Gateway;

impl Kind for Gateway {
    fn name(&self) -> &'static str {
        "gateway"
    }

    fn level(&self) -> u8 {
        0
    }

    fn rules(&self) -> Rules {
        Rules::NONE
    }

    fn summary(&self, _spec: &Map<String, Value>) -> String {
        "shared egress".to_owned()
    }
}
