//! `infra refresh`: what the provider shows, written into the state.

use std::time::Duration;

use clap::Args;

use super::{arguments::EnvironmentArgs, context::Context};
use crate::{
    config,
    error::Result,
    lifecycle::{self, Refreshed},
    ui::Mode,
};

/// Let the state know what exists now: addresses that have moved, objects that are gone. Nothing is made or changed
#[derive(Args, Debug)]
pub(super) struct Refresh {
    #[command(flatten)]
    environment: EnvironmentArgs,
    /// Go on although every object that the state knows is gone
    #[arg(long)]
    forget: bool,
    /// How long to wait for another command that holds the environment, as `90s` or `10m`
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = config::duration)]
    lock_timeout: Duration,
}

impl Refresh {
    pub(super) async fn run(&self, context: &Context) -> Result<u8> {
        let ui = &context.ui;
        let mut site = context.open(&self.environment.target()?).await?;
        site.applied()?;
        let work = async |site: &mut _| lifecycle::refresh(site, self.forget).await;
        let Refreshed { gone, moved } = context.quietly(&mut site, "refresh", self.lock_timeout, work).await?;
        if ui.mode() == Mode::Json {
            ui.json(&serde_json::json!({ "environment": site.environment.name, "gone": gone, "changed": moved }));
            return Ok(0);
        }
        let lines = gone.iter().map(|address| format!("- {address} is gone\n"));
        let lines = lines.chain(moved.iter().map(|address| format!("~ {address} shows other addresses or ports\n")));
        ui.result(&lines.collect::<String>());
        if gone.is_empty() && moved.is_empty() {
            ui.say("the state is up to date");
        }
        Ok(0)
    }
}
