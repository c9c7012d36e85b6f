//! `infra validate`: every mistake of an environment, without touching anything.

use clap::Args;
use serde_json::json;

use super::{arguments::EnvironmentArgs, context::Context};
use crate::{
    error::{Result, Severity, count},
    lifecycle::{Playbooks, preflight},
    provider,
    ui::Mode,
};

/// Find every mistake of an environment file and its playbooks, without touching anything
#[derive(Args, Debug)]
pub(super) struct Validate {
    #[command(flatten)]
    environment: EnvironmentArgs,
}

impl Validate {
    pub(super) async fn run(&self, context: &Context) -> Result<u8> {
        let ui = &context.ui;
        let environment = self.environment.target()?.environment().await?;
        ui.warnings(&environment.warnings);
        // A provider that cannot be set up here has nothing to say about the file.
        let provider = provider::open(&environment).ok();
        // What an apply needs beside the files may be there only where it runs: a pipeline validates without secrets.
        let found = preflight::surroundings(&environment, Severity::Warning);
        let playbooks = Playbooks::load(&environment, provider.as_deref(), found)?;
        ui.warnings(&playbooks.warnings);
        // What the provider makes of the file, as a plan counts it.
        let resources = provider.map_or(environment.resources.len(), |provider| provider.resources(&environment).len());
        let numbers = [(environment.hosts.len(), "machine"), (resources, "resource"), (playbooks.plays.len(), "play")];
        if ui.mode() == Mode::Json {
            let mut value = json!({ "event": "valid", "environment": environment.name });
            for (number, what) in numbers {
                value[format!("{what}s")] = number.into();
            }
            ui.event(&value);
        } else {
            let numbers = numbers.map(|(number, what)| count(number as u64, what)).join(", ");
            ui.result(&format!("`{}` is valid: {numbers}\n", environment.name));
        }
        Ok(0)
    }
}
