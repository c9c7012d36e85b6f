//! An environment with everything that is known of it.

use std::{sync::Arc, time::Duration};

use super::{Target, owner::Ownership, recorder::Record, rename};
use crate::{
    clock::Clock,
    config::Environment,
    error::{Error, Result},
    event::Events,
    name::Name,
    plan,
    provider::{self, Object, Provider},
    resource::{Resource, Terms},
    secret::Redactor,
    state::{self, Lease, Overlay, State, Store, Vault},
};

/// An environment, its provider, its state and its secrets: what every command works on. It knows nothing of command lines and
/// terminals, and several may be open in one process.
pub struct Site {
    /// What the file says.
    pub environment: Environment,
    /// Where its objects are.
    pub provider: Arc<dyn Provider>,
    /// Where its state is.
    pub store: Store,
    /// What is known to exist; nothing before the first apply.
    pub state: Option<State>,
    /// Its secrets.
    pub vault: Vault,
    /// The time of day.
    pub clock: Clock,
    pub(super) ownership: Ownership,
    pub(super) redactor: Redactor,
    pub(super) lease: Option<Lease>,
    /// What the command that runs will leave in the history.
    pub(super) record: Option<Record>,
    /// What an earlier apply set over the file when it was loaded; nothing where the target says it.
    loaded_with: Option<Overlay>,
    /// What the target sets over the file; nothing where an earlier apply does.
    given: Option<Overlay>,
    secrets: Secrets,
}

/// Whether a command can do without secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secrets {
    /// It cannot.
    Needed,
    /// It only removes things, so that it works when their key is lost, too.
    Optional,
}

impl Site {
    /// Loads an environment, its provider, its state and its secrets.
    ///
    /// # Errors
    /// All mistakes of the file are one error; when the state or its secrets cannot be read, or it belongs to another project.
    pub async fn open(target: &Target, redactor: &Redactor, secrets: Secrets) -> Result<Self> {
        let loaded = target.load().await?;
        let provider: Arc<dyn Provider> = Arc::from(provider::open(&loaded.environment)?);
        let site = Self::with(loaded.environment, provider, redactor, secrets).await?;
        Ok(Self { loaded_with: loaded.remembered, given: target.overlay()?, ..site })
    }

    /// An environment that is loaded already, at this provider.
    ///
    /// # Errors
    /// When the state or its secrets cannot be read, or it belongs to another project.
    pub async fn with(
        environment: Environment, provider: Arc<dyn Provider>, redactor: &Redactor, secrets: Secrets,
    ) -> Result<Self> {
        let store = Store::open(&environment.project, &environment.name, &environment.state)?;
        let ownership = Ownership::of(&environment.project, provider.as_ref())?;
        let mut site = Self {
            environment,
            provider,
            store,
            state: None,
            vault: Vault::default(),
            clock: Clock::System,
            ownership,
            redactor: redactor.clone(),
            lease: None,
            record: None,
            loaded_with: None,
            given: None,
            secrets,
        };
        let state = site.store.read().await?;
        site.know(state)?;
        Ok(site)
    }

    /// Takes over a state that was read.
    fn know(&mut self, mut state: Option<State>) -> Result<()> {
        self.ownership.recognise(state.as_ref())?;
        let sealed = state.as_ref().map(|state| state.secrets.as_str()).unwrap_or_default();
        let mut vault = match Vault::open(sealed, self.store.keys(), self.redactor.clone()) {
            Err(_) if self.secrets == Secrets::Optional => Vault::default(),
            opened => opened?,
        };
        rename::first_nodes(&self.environment, state.as_mut(), &mut vault)?;
        (self.state, self.vault) = (state, vault);
        Ok(())
    }

    /// The state, or the error that there is none.
    ///
    /// # Errors
    /// When there is none.
    pub fn applied(&self) -> Result<&State> {
        self.state.as_ref().ok_or_else(|| {
            Error::usage(format!("the environment `{}` has not been applied here", self.environment.name))
                .hint(format!("`infra apply {}` creates it", self.environment.name))
                .hint("if it was applied from another checkout, its state is there: share it with `state:` in the file")
        })
    }

    /// The state, for commands that use what it knows without asking the provider.
    ///
    /// # Errors
    /// When there is none, or its objects are at another provider than the file names now.
    pub fn applied_here(&self) -> Result<&State> {
        let state = self.applied()?;
        self.ownership.scope.check_account(state, None)?;
        Ok(state)
    }

    /// Takes the environment's lease, then reads the state again: another command may have written it meanwhile.
    pub(super) async fn lock(&mut self, what: &str, wait: Duration, events: &Events) -> Result<()> {
        let (lease, state) = self.store.lease(what, wait, events).await?;
        self.lease = Some(lease);
        let overlay = state.as_ref().map(|state| &state.overlay);
        let before = self.loaded_with.as_ref();
        let changed = overlay.zip(before).is_some_and(|(now, before)| now != before);
        self.know(state)?;
        if changed {
            let name = &self.environment.name;
            return Err(Error::new(format!(
                "another command has applied `{name}` with other `--set` or `--files-root` values meanwhile; nothing was changed"
            ))
            .hint("run the same command again: it takes them over"));
        }
        Ok(())
    }

    /// Gives the lease back, if it is held.
    pub(super) async fn unlock(&mut self) {
        if let Some(lease) = self.lease.take() {
            self.store.release(lease).await;
        }
    }

    /// What is set over the file from now on.
    fn overlay(&self) -> Overlay {
        let earlier = || self.state.as_ref().map(|state| state.overlay.clone()).unwrap_or_default();
        self.given.clone().unwrap_or_else(earlier)
    }

    /// The state that a command begins with: the one that is known, or a new one.
    pub(super) fn initial_state(&self, terms: &Terms) -> State {
        let overlay = self.overlay();
        match &self.state {
            Some(state) => State { overlay, ..state.clone() },
            None => self.owned(State { overlay, terms: terms.clone(), ..State::nothing(&self.environment) }),
        }
    }

    /// What the provider makes of the environment. Names of objects follow its label.
    #[must_use]
    pub fn resources(&self) -> Vec<Resource> {
        self.provider.resources(&Environment { name: self.label(), ..self.environment.clone() })
    }

    /// What exists as far as the state knows: the provider is not asked.
    #[must_use]
    pub fn remembered(&self) -> Vec<Object> {
        let Some(state) = &self.state else { return Vec::new() };
        let project = self.owner().project;
        state.resources.keys().filter_map(|address| plan::believed(state, &project, address)).collect()
    }

    /// The folder of the environment's file.
    #[must_use]
    pub fn template(&self) -> String {
        let name = self.environment.folder.file_name();
        name.map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    }

    /// Takes an environment over from the pool of this file, when there is one that was made from the same files.
    pub(super) async fn claim(&mut self, digest: &str) -> Result<Option<Name>> {
        let account = self.reach().await?;
        let (name, template) = (&self.environment.name, self.template());
        let claimed = self.pool()?.claim(&self.store, name, &template, digest, &account).await?;
        let Some(state) = claimed else { return Ok(None) };
        let label = state.label().clone();
        self.know(Some(state))?;
        Ok(Some(label))
    }

    /// The pools of its project.
    pub(super) fn pool(&self) -> Result<state::pool::Pool> {
        let environment = &self.environment;
        let backend = state::open(&environment.project, &environment.state)?;
        let project = self.ownership.scope.project.clone();
        Ok(state::pool::Pool::new(backend, &environment.project, &environment.state, project))
    }
}

/// Changes the state of a locked environment and its secrets by hand.
///
/// # Errors
/// Those of the change, and when the state cannot be written.
pub async fn edit(site: &mut Site, change: impl FnOnce(&mut State, &mut Vault) -> Result<()>) -> Result<()> {
    let mut state = site.applied()?.clone();
    let before = site.vault.clone();
    change(&mut state, &mut site.vault)?;
    if !site.vault.same_as(&before) {
        state.secrets = site.vault.seal(site.store.keys())?;
    }
    state.serial += 1;
    site.store.write(&state).await
}
