//! `infra destroy`: removes everything of an environment and proves it.

use std::time::{Duration, Instant};

use clap::Args;

use super::{
    plan,
    session::{EnvironmentArgs, Interrupt, Session, phase},
};
use crate::{
    apply::{self, Tally},
    config,
    error::{Error, Result},
    name::Name,
    plan::{Action, Selection, terms},
    playbook::Recap,
    provider::Object,
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
    /// Go on although every object that the state knows is gone: the state and its keys are removed
    #[arg(long)]
    forget: bool,
    /// How long to wait for another command that holds the environment, as `90s` or `10m`
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = config::duration)]
    lock_timeout: Duration,
    /// Whether only a member of a pool is meant that no environment has taken over.
    #[arg(skip)]
    member: bool,
}

/// What came of a destruction.
enum Outcome {
    Destroyed(Tally),
    /// There was nothing.
    Nothing,
    /// It is no free member of a pool any more.
    LeftAlone(String),
}

impl Destroy {
    /// Destroys a member of a pool, if it still is a free one; says whether it was.
    pub(super) async fn member(name: &Name, ui: &Ui, redactor: &Redactor) -> Result<bool> {
        let environment = EnvironmentArgs::named(name.as_str());
        let yes = Self {
            environment,
            yes: true,
            force_protected: None,
            forget: false,
            lock_timeout: Duration::ZERO,
            member: true,
        };
        yes.execute(ui, redactor).await
    }

    pub(super) async fn run(&self, ui: &Ui, redactor: &Redactor) -> Result<u8> {
        self.execute(ui, redactor).await.map(|_| 0)
    }

    async fn execute(&self, ui: &Ui, redactor: &Redactor) -> Result<bool> {
        let begun = Instant::now();
        let mut session = Session::open(&self.environment, redactor).await?;
        let name = session.environment.name.clone();
        self.check_protected(&session, &[])?;
        let (events, progress) = Progress::start(ui);
        let mut deed = None;
        let result = async {
            let locked = session.lock(&format!("infra destroy {name}"), self.lock_timeout, redactor, &events).await;
            let lost = match locked {
                Err(error) if self.member => return Ok(Outcome::LeftAlone(error.to_string())),
                locked => locked?,
            };
            if let Some(why) = self.why_not(&session) {
                return Ok(Outcome::LeftAlone(why));
            }
            let observed = session.observe().await?;
            self.check_protected(&session, &observed)?;
            session.check_not_all_gone(&observed, self.forget)?;
            let mut plan = session.plan(&observed, true, &Selection::default())?;
            for change in plan.changes.iter_mut().filter(|change| change.action == Action::Delete) {
                "the environment is destroyed".clone_into(&mut change.reason);
            }
            if plan.changes.is_empty() {
                session.store.remove().await?;
                return Ok(Outcome::Nothing);
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
            Ok(Outcome::Destroyed(tally))
        }
        .await;
        drop(events);
        let report = progress.finish().await;
        session.remember(deed, &report, begun.elapsed().as_secs_f64(), result.as_ref().err(), redactor, ui).await;
        session.unlock().await;
        match result? {
            Outcome::Nothing => {
                ui.say(&format!("`{name}` does not exist: nothing to destroy"));
                if let Some(namesakes) = session.namesakes() {
                    ui.say(&namesakes);
                }
            }
            Outcome::LeftAlone(why) => {
                ui.say(&format!("`{name}` is left alone: {why}"));
                return Ok(false);
            }
            Outcome::Destroyed(tally) => {
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
        Ok(true)
    }

    /// Whether it is protected: by its file here, by the file that it was last applied from, or by what its labels say. Whoever
    /// means it repeats the name.
    fn check_protected(&self, session: &Session, observed: &[Object]) -> Result<()> {
        let name = &session.environment.name;
        let by = if session.environment.protect {
            "its file"
        } else if session.state.as_ref().is_some_and(|state| state.terms.protect) {
            "its state: the file that it was last applied from says `protect: true`"
        } else if terms(observed).protect {
            "the labels of its objects"
        } else {
            return Ok(());
        };
        if self.force_protected.as_ref() == Some(name) {
            return Ok(());
        }
        Err(Error::usage(format!("the environment `{name}` is protected by {by}")).hint(format!(
            "write `protect: false` into its file and run `infra apply {name}` first, or say `--force-protected {name}`"
        )))
    }

    /// Why this is no member of a pool that may be destroyed; looked at under its lease.
    fn why_not(&self, session: &Session) -> Option<String> {
        if !self.member {
            return None;
        }
        match session.state.as_ref().map(|state| &state.pool) {
            Some(Some(member)) => {
                member.claimed_by.as_ref().map(|by| format!("`{by}` is taking it over from the pool"))
            }
            Some(None) => Some("it is no member of a pool".to_owned()),
            None => Some("it was taken over from the pool, or removed, just now".to_owned()),
        }
    }
}
