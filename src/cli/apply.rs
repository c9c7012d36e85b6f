//! `infra apply`: from the file to running, configured machines.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use clap::Args;

use super::{
    arguments::{OverlayArgs, SelectionArgs},
    context::Context,
};
use crate::{
    config,
    error::{Error, Result},
    event::Events,
    lifecycle::{self, ApplyOptions, PlanOptions, Playbooks, SavedPlan, Target},
    ui::Summary,
};

/// Make an environment what its file says: create, change and configure
#[derive(Args, Debug)]
pub(super) struct Apply {
    /// The environment, or a plan file of `infra plan --out`
    environment: String,
    #[command(flatten)]
    overlay: OverlayArgs,
    #[command(flatten)]
    selection: SelectionArgs,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    /// Carry out a plan that deletes or replaces something that holds data; only of managed databases a last copy is kept,
    /// where the provider makes one. A plan file must have been made with it
    #[arg(long)]
    allow_data_loss: bool,
    /// Only tasks with these tags
    #[arg(long, value_delimiter = ',')]
    tags: Vec<String>,
    /// No tasks with these tags
    #[arg(long, value_delimiter = ',')]
    skip_tags: Vec<String>,
    /// How long the environment lives from now on, as `2h`: `infra gc` removes it after that
    #[arg(long, value_name = "TIME", value_parser = config::lifetime)]
    ttl: Option<Duration>,
    /// Go on although every object that the state knows is gone, or no state knows what exists: what cannot be taken over is
    /// recreated
    #[arg(long)]
    forget: bool,
    /// How long to wait for another command that holds the environment, as `90s` or `10m`
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = config::duration)]
    lock_timeout: Duration,
    /// Create, change and remove resources only: machines are neither connected to nor configured
    #[arg(long, conflicts_with_all = ["tags", "skip_tags", "wait_healthy"])]
    no_configure: bool,
    /// Wait until no service of a machine has failed and every front answers, at most this long (5m without a value)
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true, default_missing_value = "5m", value_parser = config::duration)]
    wait_healthy: Option<Duration>,
}

impl Apply {
    pub(super) async fn run(&self, context: &Context) -> Result<u8> {
        let saved = SavedPlan::read(&self.environment)?;
        let (target, plan) = match &saved {
            Some(saved) => {
                let selection = saved.selection().clone();
                (saved.target(), PlanOptions { selection, allow_data_loss: saved.allows_data_loss() })
            }
            None => {
                let selection = self.selection.selection();
                let plan = PlanOptions { selection, allow_data_loss: self.allow_data_loss };
                (self.overlay.over(&self.environment)?, plan)
            }
        };
        let options = ApplyOptions {
            plan,
            ttl: self.ttl,
            forget: self.forget,
            configure: !self.no_configure,
            tags: self.tags.clone(),
            skip_tags: self.skip_tags.clone(),
            wait_healthy: self.wait_healthy,
            ..ApplyOptions::default()
        };
        apply(context, &target, options, saved.as_ref(), self.yes, self.lock_timeout).await
    }
}

/// Makes a member of a pool, which no one is asked about.
pub(super) async fn apply_member(context: &Context, target: &Target) -> Result<u8> {
    let options = ApplyOptions { member: true, ..ApplyOptions::default() };
    apply(context, target, options, None, true, Duration::ZERO).await
}

async fn apply(
    context: &Context, target: &Target, options: ApplyOptions, saved: Option<&SavedPlan>, yes: bool, wait: Duration,
) -> Result<u8> {
    let (begun, ui) = (Instant::now(), &context.ui);
    let options = ApplyOptions { diff: context.diff, asker: Some(Arc::new(ui.clone())), ..options };
    let mut site = context.review(target).await?;
    let playbooks = Playbooks::for_apply(&site)?;
    ui.warnings(&playbooks.warnings);
    for warning in site.late_ttl().into_iter().chain(site.orphans().await) {
        context.warn(warning);
    }
    let work = async |site: &mut lifecycle::Site, events: &Events, stop: &_| {
        let proposal = lifecycle::propose(site, &playbooks, &options, saved.is_none(), events).await?;
        if let Some(saved) = saved {
            saved.check(&proposal.plan)?;
        }
        let environment = &proposal.plan.environment;
        let with_claim = |error: Error| {
            match &proposal.claimed {
            Some(member) => error.hint(format!(
                "`{member}` of the pool is `{environment}` now, whatever became of this plan: `infra destroy {environment}` removes it"
            )),
            None => error,
        }
        };
        let is_shown = !proposal.plan.is_empty() || !proposal.plan.secrets.is_empty() || !yes;
        context.show(&proposal.plan, is_shown, events);
        proposal.plan.check_losses().map_err(|error| match saved {
            Some(_) => error.hint("the flag belongs to the review: `infra plan --out FILE --allow-data-loss`"),
            None => with_claim(error),
        })?;
        proposal.check(site, &options).map_err(with_claim)?;
        if saved.is_none() && !yes && !ui.confirm(&format!("Apply this to `{environment}`?"))? {
            return Err(with_claim(Error::interrupted("nothing was changed")));
        }
        let _signals = context.watch_signals();
        lifecycle::apply(site, playbooks, proposal, &options, events, stop).await
    };
    let (applied, report) = context.locked(&mut site, "apply", wait, work).await;
    let applied = applied?;
    let summary = Summary {
        environment: site.environment.name.to_string(),
        tally: applied.tally,
        recap: applied.recap,
        outputs: applied.outputs,
        seconds: begun.elapsed().as_secs_f64(),
    };
    summary.print(ui, &report);
    Ok(u8::from(!summary.recap.succeeded()))
}
