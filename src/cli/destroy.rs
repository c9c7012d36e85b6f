//! `infra destroy`: removes everything of an environment and proves it.

use std::time::{Duration, Instant};

use clap::Args;

use super::{
    accounts,
    ownership::Ownership,
    plan,
    session::{EnvironmentArgs, Interrupt, Session, phase},
};
use crate::{
    apply::{self, Tally},
    clock::Clock,
    config::{self, Environment},
    error::{Error, Result},
    event::Events,
    name::Name,
    plan::{Action, Change, DataPolicy, Listed, Selection, terms},
    playbook::Recap,
    provider::{self, Object, Provider},
    secret::Redactor,
    state::{Deed, State, Store},
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
    /// Make no last copy of managed databases, where the provider makes one
    #[arg(long)]
    allow_data_loss: bool,
    /// Remove what carries the environment's labels, although its state cannot be read: broken, or its key is lost
    #[arg(long)]
    by_label: bool,
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
            // No one has used it.
            allow_data_loss: true,
            by_label: false,
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
        if self.by_label {
            return self.by_label(ui).await.map(|()| true);
        }
        let mut session = Session::open_for_removal(&self.environment, redactor).await?;
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
            session.check_known(&plan)?;
            plan.data = DataPolicy::of_removal(self.allow_data_loss);
            ui.say(ui::plan_text(ui, &plan).trim_end());
            self.confirm(ui, &name, &plan.lost())?;
            let begun = Deed::begin("destroy", &session.environment.project, "", plan::lines(&plan));
            session.begin(&begun, &events).await;
            deed = Some(begun);
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
        self.check_protection(&session.environment, session.state.as_ref(), observed)
    }

    fn check_protection(&self, environment: &Environment, state: Option<&State>, observed: &[Object]) -> Result<()> {
        let name = &environment.name;
        let by = if environment.protect {
            "its file"
        } else if state.is_some_and(|state| state.terms.protect) {
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

    /// Asks, and names the data that goes.
    fn confirm(&self, ui: &Ui, name: &Name, lost: &[String]) -> Result<()> {
        let data = match lost {
            [] => "Its data cannot be brought back.".to_owned(),
            lost => format!("This data cannot be brought back: {}.", lost.join(", ")),
        };
        if self.yes || ui.confirm(&format!("Destroy `{name}`? {data}"))? {
            return Ok(());
        }
        Err(Error::interrupted("nothing was changed"))
    }

    /// Removes what carries the environment's labels. Its state, which need not be one that can be read, is put aside.
    async fn by_label(&self, ui: &Ui) -> Result<()> {
        let begun = Instant::now();
        let environment = self.environment.load_or_warn(ui).await?;
        let provider = provider::open(&environment)?;
        let (name, project) = (&environment.name, &environment.project);
        let store = Store::open(project, name, &environment.state)?;
        let (events, progress) = Progress::start(ui);
        let result = async {
            let what = format!("infra destroy {name} --by-label");
            let lease = store.lease_blindly(&what, self.lock_timeout, &events).await?;
            let removed = async {
                let changes = self.sweep(&environment, provider.as_ref(), &store, ui, &events).await?;
                let aside = store.put_aside().await?;
                let lines = changes.iter().map(|change| format!("- {}", change.address)).collect();
                let deed = Deed::begin("destroy", project, "", lines);
                let seconds = begun.elapsed().as_secs_f64();
                store.remember(&Deed { seconds, outcome: "done".to_owned(), ..deed }).await?;
                Ok::<_, Error>((changes.len(), aside))
            }
            .await;
            store.release(lease).await;
            removed
        }
        .await;
        drop(events);
        progress.finish().await;
        let (count, aside) = result?;
        ui.say(&format!("{count} objects removed; nothing that carries the labels of `{name}` is left"));
        if let Some(aside) = aside {
            ui.say(&format!("its state is kept as `{}`", aside.display()));
        }
        Ok(())
    }

    /// Removes all that a provider lists of an environment of this project, and returns what that was.
    async fn sweep(
        &self, environment: &Environment, provider: &dyn Provider, store: &Store, ui: &Ui, events: &Events,
    ) -> Result<Vec<Change>> {
        let name = &environment.name;
        let site = Ownership::of(&environment.project, provider)?.site;
        let read = store.read().await;
        let is_unreadable = read.is_err();
        let state = read.ok().flatten();
        if let Some(state) = &state {
            site.check_project(state)?;
            site.check_account(state, None)?;
            site.check_account(state, Some(&provider.account().await?))?;
        }
        let label = state.as_ref().map_or(name, State::label);
        let mut objects = provider.labelled(Some(label)).await?;
        let owner = site.owner(label, site.kept_label(state.as_ref(), &objects).as_deref());
        objects.retain(|object| owner.owns(object));
        self.check_protection(environment, state.as_ref(), &objects)?;
        if !self.forget {
            site.check_not_all_gone(state.as_ref(), &objects, Clock::System.now())?;
            if is_unreadable && objects.is_empty() {
                return Err(Error::usage(format!(
                    "the state of `{name}` cannot be read, and nothing that carries its labels exists in {} ({}); nothing was \
                     changed",
                    site.provider, site.place
                ))
                .hint("if this is not the account that it was created in, use the right one")
                .hint("if it was removed already, `--forget` puts the state aside"));
            }
        }
        let states = accounts::states(&environment.project, ui).await;
        let taker = states.iter().find(|state| state.environment != *name && state.label() == label);
        if let Some(taker) = taker.map(|state| &state.environment) {
            return Err(Error::usage(format!(
                "what is labelled `{name}` belongs to `{taker}`, which has taken it over from a pool; nothing was changed"
            ))
            .hint(format!("use its new name: `infra destroy {taker}`")));
        }
        let mut changes = Vec::new();
        for listed in Listed::of(objects) {
            changes.extend(listed.removal(provider.policy())?);
        }
        for change in &changes {
            ui.say(&format!("{} {}", change.action.sign(), change.address));
        }
        let lost: Vec<String> = changes.iter().flat_map(|change| change.data.clone()).collect();
        self.confirm(ui, name, &lost)?;
        let data = DataPolicy::of_removal(self.allow_data_loss);
        apply::sweep(provider, &owner, &changes, data, Some(store), events).await?;
        Ok(changes)
    }
}
