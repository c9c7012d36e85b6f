//! Removes what carries an environment's labels, although its state cannot be read: broken, or its key is lost.

use std::{path::PathBuf, sync::Arc, time::Duration};

use super::{DestroyOptions, destroy::check_protection, owner::Ownership, stores};
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

/// How a command ended that did all that it should.
const DONE: &str = "done";

/// Whether the last command of a history has destroyed the environment, and proved it.
fn was_destroyed(history: &[Deed]) -> bool {
    history.last().is_some_and(|deed| deed.command == "destroy" && deed.outcome == DONE)
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
            let lines: Vec<String> = changes.iter().map(|change| format!("- {}", change.address)).collect();
            let deed = Deed::begin("destroy", &self.environment.project, "", lines.clone());
            let seconds = begun.elapsed().as_secs_f64();
            // The history says that all is gone before the state goes: a command that is killed between the two is run again.
            let deed = Deed { seconds, done: Some(lines), outcome: DONE.to_owned(), ..deed };
            self.store.remember(&deed).await?;
            let aside = self.store.put_aside().await?;
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
            // What this command has removed before, up to the state itself, may be gone.
            let is_destroyed = was_destroyed(&self.store.history().await?);
            if !is_destroyed {
                scope.check_not_all_gone(state.as_ref(), &objects, self.clock.now())?;
            }
            if is_unreadable && objects.is_empty() && !is_destroyed {
                return Err(Error::usage(format!(
                    "the state of `{name}` cannot be read, and nothing that carries its labels exists in {} ({}); nothing was \
                     changed",
                    scope.provider, scope.place
                ))
                .hint("if this is not the account that it was created in, use the right one")
                .hint("if it was removed already, `--forget` puts the state aside"));
            }
        }
        let (states, failures) = stores::states_beside(&environment.project, Some(name)).await;
        for error in failures {
            if !options.forget {
                return Err(error
                    .context("it is not known whether another environment has taken this one over from a pool")
                    .hint("put that state right first, or run the command with `--forget`; nothing was changed"));
            }
            events.warn(error.to_string());
        }
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

#[cfg(test)]
mod tests {
    use super::{DONE, Deed, was_destroyed};

    #[test]
    fn an_environment_that_was_destroyed_is_gone_until_it_is_applied_again() {
        let folder = tempfile::tempdir().unwrap();
        let deed = |command: &str, outcome: &str| Deed {
            outcome: outcome.into(),
            ..Deed::begin(command, folder.path(), "", Vec::new())
        };
        let (applied, destroyed) = (deed("apply", DONE), deed("destroy", DONE));
        assert!(!was_destroyed(&[]) && !was_destroyed(std::slice::from_ref(&applied)));
        assert!(was_destroyed(&[applied.clone(), destroyed.clone()]));
        assert!(!was_destroyed(&[destroyed.clone(), applied]));
        assert!(!was_destroyed(&[destroyed, deed("destroy", "no answer")]));
    }
}
