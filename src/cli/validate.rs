//! `infra validate`: every mistake of an environment, without touching anything.

use clap::Args;

use super::session::{self, EnvironmentArgs};
use crate::{configure, error::Result, provider, template::Engine, ui::Ui};

/// Find every mistake of an environment file and its playbooks, without touching anything
#[derive(Args, Debug)]
pub(super) struct Validate {
    #[command(flatten)]
    environment: EnvironmentArgs,
}

impl Validate {
    pub(super) async fn run(&self, ui: &Ui) -> Result<u8> {
        let environment = self.environment.load().await?;
        ui.warnings(&environment.warnings);
        // A provider that this version cannot provision on has nothing to say about the file.
        if let Ok(provider) = provider::open(&environment) {
            session::check(&environment, provider.as_ref(), ui)?;
        }
        let engine = Engine::default();
        let plays = configure::load_plays(&environment, &configure::loader(&environment, &engine), &engine)?;
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
