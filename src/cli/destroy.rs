//! `infra destroy`: removes everything of an environment and proves it.

use std::time::{Duration, Instant};

use clap::Args;

use super::{
    plan,
    session::{EnvironmentArgs, Interrupt, Session, phase},
};
use crate::{
    apply, config,
    error::{Error, Result},
    name::Name,
    plan::{Action, Selection},
    playbook::Recap,
    secret::Redactor,
    state::Deed,
    ui::{self, Progress, Summary, Ui},
};

/// Remove everything of an environment, and prove that nothing is left
#[derive(Args, Debug)]
pub(super) struct Destroy {
    #[command(flatten)]
    environment: EnvironmentArgs,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    /// Destroy an environment with `protect: true`: repeat its name
    #[arg(long, value_name = "NAME")]
    force_protected: Option<Name>,
    /// How long to wait for another command that holds the environment, as `90s` or `10m`
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = config::duration)]
    lock_timeout: Duration,
}

impl Destroy {
    /// The destruction of an environment that nobody uses.
    pub(super) fn of(name: &Name) -> Self {
        let environment = EnvironmentArgs::named(name.as_str());
        Self { environment, yes: true, force_protected: None, lock_timeout: Duration::ZERO }
    }

    pub(super) async fn run(&self, ui: &Ui, redactor: &Redactor) -> Result<u8> {
        let begun = Instant::now();
        let mut session = Session::open(&self.environment, redactor).await?;
        let name = session.environment.name.clone();
        // Whoever means it repeats the name.
        if session.environment.protect && self.force_protected.as_ref() != Some(&name) {
            return Err(Error::usage(format!("the environment `{name}` is protected"))
                .hint(format!("set `protect: false` in its file first, or say `--force-protected {name}`")));
        }
        let (events, progress) = Progress::start(ui);
        let mut deed = None;
        let result = async {
            let lost = session.lock(&format!("infra destroy {name}"), self.lock_timeout, redactor, &events).await?;
            let observed = session.observe().await?;
            let mut plan = session.plan(&observed, true, &Selection::default())?;
            for change in plan.changes.iter_mut().filter(|change| change.action == Action::Delete) {
                "the environment is destroyed".clone_into(&mut change.reason);
            }
            if plan.changes.is_empty() {
                session.store.remove().await?;
                return Ok(None);
            }
            ui.say(ui::plan_text(ui, &plan).trim_end());
            if !self.yes && !ui.confirm(&format!("Destroy `{name}`? Its data cannot be brought back."))? {
                return Err(Error::interrupted("nothing was changed"));
            }
            deed = Some(Deed::begin("destroy", &session.environment.project, "", plan::lines(&plan)));
            let interrupt = Interrupt::watch(&events, lost);
            let overlay = session.state.as_ref().map(|state| state.overlay.clone()).unwrap_or_default();
            let run = apply::Run::new(
                session.provider.as_ref(),
                &session.store,
                session.initial_state(overlay, &plan.terms),
                session.vault.clone(),
                &events,
                interrupt.token.clone(),
            );
            let tally = phase(&events, "remove", run.remove(&plan)).await?;
            phase(&events, "prove", run.prove_gone(&plan)).await?;
            Ok(Some(tally))
        }
        .await;
        drop(events);
        let report = progress.finish().await;
        session.remember(deed, &report, begun.elapsed().as_secs_f64(), result.as_ref().err(), redactor, ui).await;
        session.unlock().await;
        match result? {
            None => ui.say(&format!("`{name}` does not exist: nothing to destroy")),
            Some(tally) => {
                let summary = Summary {
                    environment: name.to_string(),
                    tally,
                    recap: Recap::default(),
                    outputs: Vec::new(),
                    seconds: begun.elapsed().as_secs_f64(),
                };
                summary.print(ui, &report);
                ui.say(&format!("nothing of `{name}` is left"));
            }
        }
        Ok(0)
    }
}
