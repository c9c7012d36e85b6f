//! `slurp`: the content of a file, in base64.

use serde_json::json;

use super::{
    Argument, Arguments, Call, Decision, Declared, Module, Operation, Text, declaration::arguments, probe::Probe,
    probe_failed,
};
use crate::{error::Result, remote::Output};

pub(super) struct Slurp;

arguments! {
    struct SlurpArguments {
        /// The file of the host.
        #[serde(alias = "path")]
        src: Text,
    }
}

impl Call for Slurp {
    fn name(&self) -> &'static str {
        "slurp"
    }

    fn about(&self) -> &'static str {
        "Reads a file of the host, in base64."
    }

    fn arguments(&self) -> &'static [Argument] {
        SlurpArguments::ARGUMENTS
    }
}

impl Module for Slurp {
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
