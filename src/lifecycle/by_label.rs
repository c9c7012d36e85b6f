//! Removes what carries an environment's labels, although its state cannot be read: broken, or its key is lost.

use std::{path::PathBuf, sync::Arc, time::Duration};

use super::{DestroyOptions, destroy::check_protection, ownership::Ownership, stores};
use crate::{
    apply,
    clock::Clock,
    config::Environment,
    error::{Error, Result},
    event::Events,
    plan::{Change, DataPolicy, Listed},
    provider::{Owner, Provider},
    state::{Deed, State, Store},
};

/// An environment of which only the labels of its objects are believed.
pub struct Labelled {
    environment: Environment,
    provider: Arc<dyn Provider>,
    store: Store,
    clock: Clock,
}

/// What is about to be removed.
pub struct Removal {
    owner: Owner,
    changes: Vec<Change>,
}

impl Removal {
    /// The removals.
    #[must_use]
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// The data that goes.
    #[must_use]
    pub fn lost(&self) -> Vec<String> {
        self.changes.iter().flat_map(|change| change.data.clone()).collect()
    }
}

/// What came of it.
pub struct Removed {
    /// How many objects were removed.
    pub count: usize,
    /// Where the state is kept that could not be read; nothing when there was none.
    pub aside: Option<PathBuf>,
}

impl Labelled {
    /// An environment that was loaded without its state.
    ///
    /// # Errors
    /// When the place of its state cannot be opened.
    pub fn new(environment: Environment, provider: Arc<dyn Provider>) -> Result<Self> {
        let store = Store::open(&environment.project, &environment.name, &environment.state)?;
        Ok(Self { environment, provider, store, clock: Clock::System })
    }

    /// Removes everything of it under its lease, once `accept` agrees to what that is. Its state, which need not be one that
    /// can be read, is put aside.
    ///
    /// # Errors
    /// When another command holds the lease, when the environment is protected or the labels are those of another one, when it
    /// was not agreed to, and when something is left.
    pub async fn destroy(
        &self, options: &DestroyOptions, wait: Duration, events: &Events, accept: impl FnOnce(&Removal) -> Result<()>,
    ) -> Result<Removed> {
        let name = &self.environment.name;
        let lease = self.store.lease_blindly(&format!("infra destroy {name} --by-label"), wait, events).await?;
        let begun = std::time::Instant::now();
        let removed = async {
            let removal = self.look(options, events).await?;
            accept(&removal)?;
            let data = DataPolicy::of_removal(options.allow_data_loss);
            let (provider, changes) = (self.provider.as_ref(), &removal.changes);
            apply::sweep(provider, &removal.owner, changes, data, Some(&self.store), events).await?;
            let aside = self.store.put_aside().await?;
            let lines = changes.iter().map(|change| format!("- {}", change.address)).collect();
            let deed = Deed::begin("destroy", &self.environment.project, "", lines);
            let seconds = begun.elapsed().as_secs_f64();
            self.store.remember(&Deed { seconds, outcome: "done".to_owned(), ..deed }).await?;
            Ok(Removed { count: changes.len(), aside })
        }
        .await;
        self.store.release(lease).await;
        removed
    }

    /// All that the provider lists of the environment of this project.
    async fn look(&self, options: &DestroyOptions, events: &Events) -> Result<Removal> {
        let (environment, name) = (&self.environment, &self.environment.name);
        let provider = self.provider.as_ref();
        let scope = Ownership::of(&environment.project, provider)?.scope;
        let read = self.store.read().await;
        let is_unreadable = read.is_err();
        let state = read.ok().flatten();
        if let Some(state) = &state {
            scope.check_project(state)?;
            scope.check_account(state, None)?;
            scope.check_account(state, Some(&provider.account().await?))?;
        }
        let label = state.as_ref().map_or(name, State::label);
        let mut objects = provider.labelled(Some(label)).await?;
        let owner = scope.owner(label, scope.kept_label(state.as_ref(), &objects).as_deref());
        objects.retain(|object| owner.owns(object));
        check_protection(environment, state.as_ref(), &objects, options.force_protected.as_ref())?;
        if !options.forget {
            scope.check_not_all_gone(state.as_ref(), &objects, self.clock.now())?;
            if is_unreadable && objects.is_empty() {
                return Err(Error::usage(format!(
                    "the state of `{name}` cannot be read, and nothing that carries its labels exists in {} ({}); nothing was \
                     changed",
                    scope.provider, scope.place
                ))
                .hint("if this is not the account that it was created in, use the right one")
                .hint("if it was removed already, `--forget` puts the state aside"));
            }
        }
        let (states, failures) = stores::states(&environment.project).await;
        failures.iter().for_each(|error| events.warn(error.to_string()));
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
        Ok(Removal { owner, changes })
    }
}
