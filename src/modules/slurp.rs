//! `slurp`: the content of a file, in base64.

use serde::Deserialize;
use serde_json::json;

use super::{Arguments, Decision, Module, Operation, Text, probe::Probe, probe_failed};
use crate::{error::Result, remote::Output};

pub(super) struct Slurp;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SlurpArguments {
    #[serde(alias = "path")]
    src: Text,
}

impl Module for Slurp {
    fn name(&self) -> &'static str {
        "slurp"
    }

    fn arguments(&self) -> &'static [&'static str] {
        &["src", "path"]
    }

    fn operation(&self, task: &Arguments<'_>) -> Result<Box<dyn Operation>> {
        let arguments: SlurpArguments = super::read(task.named)?;
        Ok(Box::new(Read { path: arguments.src.0 }))
    }
}

struct Read {
    path: String,
}

impl Operation for Read {
    fn probe(&self) -> Option<Probe> {
        Some(Probe::base64(&self.path))
    }

    fn decide(&self, seen: &Output) -> Result<Decision> {
        if !seen.succeeded() {
            return Err(probe_failed(seen));
        }
        let result = json!({ "content": seen.out().trim(), "encoding": "base64", "source": self.path });
        Ok(Decision::unchanged(result.as_object().cloned().unwrap_or_default()))
    }
}
