//! `infra apply`: from the file to running, configured machines.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use clap::Args;

use super::{
    configured::Prepared,
    life,
    plan::{self, SavedPlan},
    preflight,
    session::{EnvironmentArgs, Interrupt, OverlayArgs, SelectionArgs, Session, phase},
};
use crate::{
    apply,
    clock::Clock,
    config, configure,
    error::{Error, Result},
    event::Events,
    name::Name,
    plan::{DataPolicy, Plan, Selection},
    playbook::{Options, Recap},
    secret::Redactor,
    state::{Deed, Overlay, pool::Member},
    template::Engine,
    ui::{self, Progress, Summary, Ui},
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
    /// Carry out a plan that deletes or replaces something that holds data; no copy is kept. A plan file must have been made
    /// with it
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
    /// Wait until no service of a machine has failed and every front answers, at most this long (5m without a value)
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true, default_missing_value = "5m", value_parser = config::duration)]
    wait_healthy: Option<Duration>,
    /// Whether a member of a pool is made, which nobody has asked for yet.
    #[arg(skip)]
    pool: bool,
}

impl Apply {
    /// The apply that makes a member of a pool.
    pub(super) fn member(template: &EnvironmentArgs, name: &Name) -> Self {
        Self {
            environment: template.environment.clone(),
            overlay: OverlayArgs { name: Some(name.clone()), ..template.overlay.clone() },
            selection: SelectionArgs::default(),
            yes: true,
            allow_data_loss: false,
            tags: Vec::new(),
            skip_tags: Vec::new(),
            ttl: None,
            forget: false,
            lock_timeout: Duration::ZERO,
            wait_healthy: None,
            pool: true,
        }
    }

    pub(super) async fn run(&self, ui: &Ui, redactor: &Redactor, diff: bool) -> Result<u8> {
        let begun = Instant::now();
        let saved = SavedPlan::read(&self.environment)?;
        let arguments = match &saved {
            Some(saved) => saved.arguments(),
            None => EnvironmentArgs { environment: self.environment.clone(), overlay: self.overlay.clone() },
        };
        let selection = saved.as_ref().map_or_else(|| self.selection.selection(), |saved| saved.selection.clone());
        let mut session = Session::review(&arguments, ui, redactor).await?;
        let prepared = Prepared::of_apply(&session, ui)?;
        for warning in life::late_ttl(&session).into_iter().chain(session.orphans().await) {
            ui.say(&warning);
        }
        let (events, progress) = Progress::start(ui);
        let wait = self.lock_timeout;
        let mut deed = None;
        let result = async {
            let lost =
                session.lock(&format!("infra apply {}", session.environment.name), wait, redactor, &events).await?;
            let digest = plan::digest(&session.environment)?;
            let mut ttl = self.ttl;
            let may_claim = session.state.is_none() && saved.is_none() && !self.pool;
            let mut claimed = false;
            if may_claim
                && session.environment.pool.is_some()
                && let Some(member) = session.claim(&digest, redactor).await?
            {
                events.note(format!("`{member}` is taken over from the pool"));
                claimed = true;
            }
            let observed = session.observe().await?;
            session.check_not_all_gone(&observed, self.forget)?;
            if !self.pool {
                ttl = life::begins(&session, &observed, ttl)?;
            }
            if claimed {
                // Its time begins now, whatever becomes of this command: `infra gc` finds it.
                let terms = session.terms(&observed, ttl.take())?;
                session.settle(&terms, &observed).await?;
            }
            let mut plan = session.plan(&observed, false, &selection)?;
            session.choose(&mut plan).await?;
            prepared.complete(&session, &mut plan);
            plan.digest = digest;
            plan.data = saved.as_ref().map_or_else(|| DataPolicy::of_apply(self.allow_data_loss), SavedPlan::data);
            if let Some(saved) = &saved {
                saved.check(&plan)?;
            }
            if !plan.is_empty() || !plan.secrets.is_empty() || !self.yes {
                ui.say(ui::plan_text(ui, &plan).trim_end());
            }
            session.check_not_unknown(&plan, self.forget)?;
            plan.check_losses().map_err(|error| match &saved {
                Some(_) => error.hint("the flag belongs to the review: `infra plan --out FILE --allow-data-loss`"),
                None => error,
            })?;
            if saved.is_none() && !self.yes && !ui.confirm(&format!("Apply this to `{}`?", plan.environment))? {
                return Err(Error::interrupted("nothing was changed"));
            }
            session.establish(ui).await?;
            plan.project = session.owner().project;
            preflight::account(&session, &plan).await?;
            let overlay = session.overlay(&arguments)?;
            plan.terms = if self.pool { session.terms_without_end()? } else { session.terms(&observed, ttl)? };
            if session.state.is_some() {
                session.settle(&plan.terms, &observed).await?;
            }
            let begun = Deed::begin("apply", &session.environment.project, &plan.digest, plan::lines(&plan));
            session.begin(&begun, &events).await;
            deed = Some(begun);
            let interrupt = Interrupt::watch(&events, lost);
            let done = self
                .carry_out(&session, prepared, &plan, &selection, overlay, &events, &interrupt, diff, ui)
                .await
                .map_err(Error::begun)?;
            if self.pool && done.recap.succeeded() {
                session.join_pool(&plan.digest).await?;
            }
            Ok(done)
        }
        .await;
        drop(events);
        let report = progress.finish().await;
        let failed = match &result {
            Ok(summary) if !summary.recap.succeeded() => Some(Error::new("machines could not be configured")),
            _ => None,
        };
        let failure = result.as_ref().err().or(failed.as_ref());
        session.remember(deed, &report, begun.elapsed().as_secs_f64(), failure, redactor, ui).await;
        session.unlock().await;
        let summary = match result {
            Ok(done) => done,
            Err(error) => return Err(error),
        };
        let summary = Summary { seconds: begun.elapsed().as_secs_f64(), ..summary };
        summary.print(ui, &report);
        Ok(u8::from(!summary.recap.succeeded()))
    }

    async fn carry_out(
        &self, session: &Session, prepared: Prepared, plan: &Plan, selection: &Selection, overlay: Overlay,
        events: &Events, interrupt: &Interrupt, diff: bool, ui: &Ui,
    ) -> Result<Summary> {
        let cancel = interrupt.token.clone();
        let mut state = session.initial_state(overlay, &plan.terms);
        if self.pool {
            // It is ready when it has its digest.
            let template = super::pool::template(session);
            state.pool = Some(Member { template, digest: String::new(), claimed_by: None });
        }
        let run = apply::Run::new(
            session.provider.as_ref(),
            &session.store,
            state,
            session.vault.clone(),
            events,
            cancel.clone(),
        );
        let warnings = run.with_vault(|vault| configure::prepare_secrets(&session.environment, vault)).await?;
        for warning in warnings {
            events.warn(warning);
        }
        let mut tally = phase(events, "resources", run.build(plan)).await?;
        let state = run.state();
        let vault = run
            .with_vault(|vault| {
                configure::prepare_certificates(&session.environment, &state, vault, Clock::System)?;
                Ok(vault.clone())
            })
            .await?;
        let mut recap = Recap::default();
        if selection.is_partial() {
            events.warn("only a part was applied: machines are configured when all of it is");
        } else {
            let provider = Arc::clone(&session.provider);
            let (keeper, notes) = apply::keeper();
            let pool = configure::Pool::new(&session.environment, &state, &vault, provider, events)?;
            let pool = Arc::new(pool.with_keeper(Some(keeper)).until(cancel.clone()));
            let disks = configure::disks(&session.environment, &state, session.provider.as_ref())?;
            let options = Options {
                check: false,
                diff,
                tags: self.tags.clone(),
                skip_tags: self.skip_tags.clone(),
                asker: Some(Arc::new(ui.clone())),
                ..Options::default()
            };
            let work = async {
                // What playbooks write belongs on the disks.
                run.disks_are_settled(&disks.settle(&pool, events).await?).await?;
                if plan.configure.playbooks.is_empty() {
                    // A machine that was made is one that can be logged in to, whether it is configured or not.
                    return pool.connect_all().await.map(|()| Recap::default());
                }
                prepared.run(session, &state, &vault, Arc::clone(&pool), options, events, cancel.clone()).await
            };
            let name = if plan.configure.playbooks.is_empty() { "connect" } else { "configure" };
            recap = phase(events, name, run.keeping(notes, work)).await?;
        }
        if cancel.is_cancelled() {
            return Err(Error::interrupted("stopped before the end; what was done is in the state")
                .hint(format!("`infra apply {}` goes on where this one stopped", session.environment.name)));
        }
        // Machines that nothing configures are judged at once; others when all is installed.
        if recap.succeeded() {
            let has_playbooks = !session.environment.playbooks.is_empty();
            let former = selection.is_partial() && has_playbooks;
            let configured = if former { apply::Configured::Former } else { apply::Configured::All };
            phase(events, "health", run.finish(plan, configured)).await?;
        }
        // What is not wanted any more goes last: the machines that used it have just been told.
        if recap.succeeded() {
            tally = tally.plus(phase(events, "remove", run.remove(plan)).await?);
        }
        let (state, vault) = (run.state(), run.vault());
        if selection.is_partial() {
            let environment = session.environment.name.to_string();
            return Ok(Summary { environment, tally, recap, outputs: Vec::new(), seconds: 0.0 });
        }
        if let Some(path) = &session.environment.inventory_file {
            super::inventory::write(path, &session.environment, &state, &vault, &session.store.login_files())?;
        }
        let inventory = configure::inventory(&session.environment, &state, &vault);
        if let Some(time) = self.wait_healthy.filter(|_| recap.succeeded()) {
            let provider = Arc::clone(&session.provider);
            let pool = configure::Pool::new(&session.environment, &state, &vault, provider, events)?;
            let waiting = async {
                tokio::select! {
                    healthy = configure::wait_until_healthy(&session.environment, &inventory, &pool, time, events) => healthy,
                    () = cancel.cancelled() => Err(Error::interrupted("stopped before all machines were healthy")),
                }
            };
            phase(events, "health", waiting).await?;
        }
        let outputs = configure::outputs(&session.environment, inventory, &Engine::default())?;
        Ok(Summary { environment: session.environment.name.to_string(), tally, recap, outputs, seconds: 0.0 })
    }
}

/// The path of a plan file, for [`SavedPlan`].
pub(super) fn plan_path(argument: &str) -> Option<PathBuf> {
    let path = PathBuf::from(argument);
    (path.is_file() && path.extension().is_none_or(|extension| extension != "yaml")).then_some(path)
}
