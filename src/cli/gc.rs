//! `infra gc`: removes the environments whose time is over.

use clap::Args;
use serde_json::json;

use super::{arguments::current_dir, context::Context};
use crate::{
    clock::Clock,
    config::{self, ProviderName},
    error::{Result, count},
    event::Events,
    lifecycle::{Sweeper, accounts},
    plan::DataPolicy,
    project,
    ui::{self, Mode},
};

/// Destroy the environments whose time is over, by what the providers list: their state may be lost
#[derive(Args, Debug)]
pub(super) struct Gc {
    /// Only show what would be destroyed
    #[arg(long)]
    dry_run: bool,
    /// Do not ask; without a terminal nothing is asked
    #[arg(long, short)]
    yes: bool,
    #[arg(long, value_name = "PROVIDER", help = format!("Only accounts of this provider: {}", ProviderName::choices()))]
    provider: Option<ProviderName>,
    /// Also environments whose state is here and cannot be read: broken, or its key is lost
    #[arg(long)]
    by_label: bool,
    /// Make no last copy of managed databases, where the provider makes one
    #[arg(long)]
    allow_data_loss: bool,
}

impl Gc {
    pub(super) async fn run(&self, context: &Context) -> Result<u8> {
        let ui = &context.ui;
        let project = config::project_of(&current_dir()?);
        let sweeper = Sweeper {
            id: project::read(&project)?,
            folder: project,
            by_label: self.by_label,
            data: DataPolicy::of_removal(self.allow_data_loss),
            clock: Clock::System,
        };
        let (mut swept, mut declined) = (Vec::new(), 0_u64);
        let accounts = accounts::open(&sweeper.folder, self.provider).await?;
        accounts.warnings.iter().for_each(|warning| context.warn(warning));
        let (accounts, mut failures) = (accounts.open, accounts.failures);
        if !self.dry_run {
            failures.extend(context.shown(async |events| sweeper.settle_pools(events).await).await.0);
        }
        'accounts: for account in accounts {
            if context.stop.is_over() {
                break;
            }
            let environments = match account.environments().await {
                Ok(environments) => environments,
                Err(error) => {
                    failures.push(error);
                    continue;
                }
            };
            let now = sweeper.clock.now();
            for listed in environments.into_iter().filter(|listed| listed.has_expired(now)) {
                let expired = listed.terms.expires.map_or(0, |expires| now.as_second() - expires.as_second());
                #[expect(clippy::cast_precision_loss, reason = "an age in seconds")]
                let expired = ui::duration(expired as f64);
                let of = if listed.project.is_empty() {
                    "no project".to_owned()
                } else {
                    format!("project `{}`", listed.project)
                };
                let owner = if listed.terms.owner.is_empty() {
                    String::new()
                } else {
                    format!(", made by {}", listed.terms.owner)
                };
                let what = format!("`{}` ({of}{owner}) in {account}", listed.environment);
                let objects = count(listed.objects.len() as u64, "object");
                let is_asked = !self.dry_run && !self.yes && ui.can_ask();
                if is_asked && !ui.confirm(&format!("Destroy {what}, {objects}? It expired {expired} ago."))? {
                    declined += 1;
                    continue;
                }
                if self.dry_run {
                    ui.say(&format!("{what}: expired {expired} ago, {objects}"));
                } else {
                    let _signals = context.watch_signals();
                    let work = async |events: &Events| sweeper.sweep(&account, &listed, events, &context.stop).await;
                    match context.shown(work).await.0 {
                        Ok(removed) => ui.say(&format!(
                            "{what}: expired {expired} ago, {} removed",
                            count(removed as u64, "object")
                        )),
                        Err(error) => {
                            failures.push(error.context(what));
                            if context.stop.is_over() {
                                break 'accounts;
                            }
                            continue;
                        }
                    }
                }
                swept.push(json!({
                    "environment": listed.environment, "provider": account.provider.name(), "account": account.id,
                    "project": listed.project, "expired": listed.terms.expires, "objects": listed.objects.len(),
                    "destroyed": !self.dry_run,
                }));
            }
        }
        if declined > 0 {
            ui.say(&format!("{} left as it was", count(declined, "expired environment")));
        } else if swept.is_empty() && failures.is_empty() {
            ui.say("nothing has expired");
        }
        if ui.mode() == Mode::Json {
            ui.json(&json!({ "swept": swept }));
        }
        let count = failures.len();
        match failures.into_iter().next() {
            None => Ok(0),
            Some(first) if count == 1 => Err(first),
            Some(first) => Err(first.hint(format!("{} more failed", count - 1))),
        }
    }
}
