//! `infra validate`: every mistake of an environment, without touching anything.

use clap::Args;

use super::{preflight, session::EnvironmentArgs};
use crate::{configure, error::Result, provider, template::Engine, ui::Ui};

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
        let plays = preflight::files(&environment, provider.as_deref(), &loader, &engine, ui)?;
        ui.result(&format!(
            "`{}` is valid: {} machines, {} resources, {} plays\n",
            environment.name,
            environment.hosts.len(),
            environment.resources.len(),
            plays.len()
        ));
        Ok(0)
    }
}
