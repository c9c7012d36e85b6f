//! `infra history`: what was done to an environment, by whom and when.

use clap::Args;

use super::{arguments::current_dir, context::Context};
use crate::{
    config,
    error::{Error, Result},
    lifecycle::stores,
    name::Name,
    ui::{self, Mode},
};

/// Show every apply and destroy of an environment: who, when, what, how long, from which commit
#[derive(Args, Debug)]
pub(super) struct History {
    /// The environment's name; it may be gone already
    environment: Name,
}

impl History {
    pub(super) async fn run(&self, context: &Context) -> Result<u8> {
        let ui = &context.ui;
        let deeds = stores::history(&config::project_of(&current_dir()?), &self.environment).await?;
        if ui.mode() == Mode::Json {
            ui.json(&serde_json::to_value(&deeds)?);
            return Ok(0);
        }
        if deeds.is_empty() {
            let error = Error::usage(format!("nothing was done to an environment `{}` here", self.environment));
            return Err(error.hint("the history is in `.infra/` of the project that applied it"));
        }
        let mut rows = vec![["when", "what", "who", "took", "commit", "changes", "ended"].map(str::to_owned).to_vec()];
        for deed in &deeds {
            let commit = deed.commit.as_deref().unwrap_or("-");
            let changes = match deed.changes.len() {
                0 => "none".to_owned(),
                1..=3 => deed.changes.join(", "),
                many => format!("{}, and {} more", deed.changes[..2].join(", "), many - 2),
            };
            rows.push(vec![
                deed.at.strftime("%Y-%m-%d %H:%M:%S").to_string(),
                deed.command.clone(),
                deed.who.clone(),
                ui::duration(deed.seconds),
                commit.chars().take(8).collect(),
                changes,
                deed.outcome.lines().next().unwrap_or_default().to_owned(),
            ]);
        }
        ui.result(&ui::table(&rows));
        Ok(0)
    }
}
