//! Runs playbooks over an applied environment: what `apply` and `run` share.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::{preflight, session::Session};
use crate::{
    configure::{self, Configuration, Pool},
    error::{Diagnostic, Result, Severity},
    event::Events,
    plan::Plan,
    playbook::{Loader, Notified, Options, Play, Recap},
    state::{State, Vault},
    template::Engine,
    ui::Ui,
};

/// Playbooks that are read and checked, before anything is done.
pub(super) struct Prepared {
    pub(super) engine: Engine,
    pub(super) loader: Arc<Loader>,
    pub(super) plays: Vec<Play>,
    /// Whether these are the environment's own playbooks, all of them.
    pub(super) complete: bool,
}

impl Prepared {
    /// The environment's own playbooks, for an apply: what it needs of this machine is there, too.
    pub(super) fn of_apply(session: &Session, ui: &Ui) -> Result<Self> {
        Self::checked(session, preflight::surroundings(&session.environment, Severity::Error), ui)
    }

    /// The environment's own playbooks.
    pub(super) fn of(session: &Session, ui: &Ui) -> Result<Self> {
        Self::checked(session, Vec::new(), ui)
    }

    fn checked(session: &Session, found: Vec<Diagnostic>, ui: &Ui) -> Result<Self> {
        let engine = Engine::default();
        let loader = Arc::new(configure::loader(&session.environment, &engine));
        let provider = Some(session.provider.as_ref());
        let plays = preflight::files(&session.environment, provider, &loader, &engine, found, ui)?;
        Ok(Self { engine, loader, plays, complete: true })
    }

    /// Adds to the plan of an apply which secrets it makes or changes, and leaves only those machines that a play is for.
    pub(super) fn complete(&self, session: &Session, plan: &mut Plan) {
        plan.add_secrets(configure::review_secrets(&session.environment, &session.vault).0, &session.vault);
        let reached = configure::reached(&session.environment, &self.plays);
        plan.configure.hosts.retain(|host| reached.contains(host.as_str()));
    }

    /// Runs them on machines as they stand in this state.
    pub(super) async fn run(
        self, session: &Session, state: &State, vault: &Vault, pool: Arc<Pool>, options: Options, events: &Events,
        cancel: CancellationToken,
    ) -> Result<Recap> {
        let project = state.project.as_ref().map(ToString::to_string);
        let notified = Notified::of(project.as_deref(), state.label().as_str());
        let options = Options { notified: Some(notified), complete: self.complete, ..options };
        let inventory = configure::inventory(&session.environment, state, vault);
        let world = configure::world(inventory, self.loader.search().clone(), &self.engine, options.check);
        Configuration { world, loader: self.loader, plays: self.plays, pool, options }.run(events, cancel).await
    }
}
