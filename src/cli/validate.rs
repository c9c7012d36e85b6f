//! `infra validate`: every mistake of an environment, without touching anything.

use clap::Args;
use serde_json::json;

use super::{preflight, session::EnvironmentArgs};
use crate::{
    configure,
    error::{Result, Severity, count},
    provider,
    template::Engine,
    ui::{Mode, Ui},
};

/// Find every mistake of an environment file and its playbooks, without touching anything
#[derive(Args, Debug)]
pub(super) struct Validate {
    #[command(flatten)]
    environment: EnvironmentArgs,
}

impl Validate {
    pub(super) async fn run(&self, ui: &Ui) -> Result<u8> {
        let environment = self.environment.load_or_warn(ui).await?;
        ui.warnings(&environment.warnings);
        // A provider that cannot be set up here has nothing to say about the file.
        let provider = provider::open(&environment).ok();
        let engine = Engine::default();
        let loader = configure::loader(&environment, &engine);
        // What an apply needs beside the files may be there only where it runs: a pipeline validates without secrets.
        let found = preflight::surroundings(&environment, Severity::Warning);
        let plays = preflight::files(&environment, provider.as_deref(), &loader, &engine, found, ui)?;
        // What the provider makes of the file, as a plan counts it.
        let resources = provider.map_or(environment.resources.len(), |provider| provider.resources(&environment).len());
        let numbers = [(environment.hosts.len(), "machine"), (resources, "resource"), (plays.len(), "play")];
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
