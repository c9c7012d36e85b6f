//! What says until when an environment lives, where the labels of objects cannot be changed: it carries the terms that an
//! environment was given after its objects were made, and outlives them all.

use serde_json::{Map, Value};

use super::{Kind, Rules};

pub(super) struct Expiry;

impl Kind for Expiry {
    fn name(&self) -> &'static str {
        "expiry"
    }

    fn level(&self) -> u8 {
        0
    }

    fn rules(&self) -> Rules {
        Rules::NONE
    }

    fn summary(&self, _spec: &Map<String, Value>) -> String {
        "until when it lives".to_owned()
    }
}
