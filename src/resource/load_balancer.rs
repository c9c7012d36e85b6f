//! A network load balancer: it spreads the connections to its ports over machines that answer.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Field, FieldChange, Kind, KindName, Link, LinkChange, Rules};
use crate::name::Name;

/// What a load balancer should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadBalancerSpec {
    /// The machines.
    pub members: Vec<Name>,
    /// The TCP ports, which the machines listen on too. The first one is asked whether a machine answers.
    pub ports: Vec<u16>,
}

const RULES: Rules = Rules {
    fields: &[Field::seen("members", FieldChange::InPlace), Field::seen("ports", FieldChange::InPlace)],
    links: &[Link::seen(KindName::VM, LinkChange::InPlace)],
};

pub(super) struct LoadBalancer;

impl Kind for LoadBalancer {
    fn name(&self) -> &'static str {
        "load_balancer"
    }

    fn level(&self) -> u8 {
        5
    }

    fn rules(&self) -> Rules {
        RULES
    }

    fn summary(&self, spec: &Map<String, Value>) -> String {
        let count = |field: &str| spec.get(field).and_then(Value::as_array).map_or(0, Vec::len);
        let ports: Vec<String> =
            spec.get("ports").and_then(Value::as_array).into_iter().flatten().map(ToString::to_string).collect();
        format!("ports {} over {} machines", ports.join(", "), count("members"))
    }
}
