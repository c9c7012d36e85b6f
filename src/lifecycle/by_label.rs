//! Removes what carries an environment's labels, although its state cannot be read: broken, or its key is lost.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{DestroyOptions, Stop, destroy::check_protection, owner::Ownership, stores};
use crate::{
    apply::{self, Swept},
    clock::Clock,
    config::Environment,
    error::{Error, Result},
    event::Events,
    plan::{Change, DataPolicy, Listed},
    provider::{Owner, Provider},
    resource::Address,
    state::{HistoryEntry, State, Store},
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

/// Whether the last command of a history has destroyed the environment, and proved it, or has been about to remove everything
/// that was seen in this account.
fn was_destroyed(history: &[HistoryEntry], account: &str) -> bool {
    history.last().is_some_and(|entry| {
        entry.command == "destroy" && (entry.outcome == DONE || entry.account.as_deref() == Some(account))
    })
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
        &self, options: &DestroyOptions, wait: Duration, events: &Events, stop: &Stop,
        accept: impl FnOnce(&Removal) -> Result<()>,
    ) -> Result<Removed> {
        let what = format!("infra destroy {} --by-label", self.environment.name);
        let lease = self.store.lease_blindly(&what, wait, events).await?;
        let begun = Instant::now();
        let removed = stop.watched(&what, Some(lease.lost().clone()), events, async {
            let removal = self.look(options, events).await?;
            accept(&removal)?;
            if stop.is_over() {
                return Err(Error::interrupted("nothing was changed"));
            }
            let data = DataPolicy::of_removal(options.allow_data_loss);
            let (provider, changes) = (self.provider.as_ref(), &removal.changes);
            let lines = changes.iter().map(|change| format!("- {}", change.address)).collect();
            let entry = HistoryEntry::begin("destroy", &self.environment.project, "", lines);
            // What this command was about to remove may be gone when it is killed, whatever it could still write.
            let account = Some(provider.account().await?);
            let entry = HistoryEntry { account, ..entry };
            self.store.begin(&entry).await?;
            let (store, cancel) = (&self.store, stop.token());
            let swept = apply::sweep(provider, &removal.owner, changes, data, Some(store), events, cancel).await;
            // The history says that all is gone before the state goes: a command that is killed between the two is run again.
            let noted = stop.ending(store.remember(&ended(entry, &swept, begun))).await;
            swept.ended?;
            noted.unwrap_or_else(unwritten)?;
            let aside = store.put_aside().await?;
            Ok(Removed { count: swept.removed.len(), aside })
        });
        let removed = Box::pin(removed).await;
        stop.ending(self.store.release(lease)).await;
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
            let is_destroyed = was_destroyed(&self.store.history().await?, &provider.account().await?);
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

/// What is said when the place of states did not answer at the end of a command.
pub(super) fn unwritten<T>() -> Result<T> {
    Err(Error::new("the place of the state does not answer").hint("run the same command again"))
}

/// The entry of a removal that has ended.
pub(super) fn ended(entry: HistoryEntry, swept: &Swept, begun: Instant) -> HistoryEntry {
    let line = |address: &Address| format!("- {address}");
    let done: Vec<String> = swept.removed.iter().map(line).collect();
    let outcome = swept.ended.as_ref().map_or_else(ToString::to_string, |()| DONE.to_owned());
    let failed = entry.changes.iter().filter(|line| !done.contains(line)).cloned().collect();
    HistoryEntry { seconds: begun.elapsed().as_secs_f64(), done: Some(done), failed, outcome, ..entry }
}

#[cfg(test)]
mod tests {
    use super::{DONE, HistoryEntry, was_destroyed};

    #[test]
    fn an_environment_that_was_destroyed_is_gone_until_it_is_applied_again() {
        let folder = tempfile::tempdir().unwrap();
        let entry = |command: &str, outcome: &str| HistoryEntry {
            outcome: outcome.into(),
            ..HistoryEntry::begin(command, folder.path(), "", Vec::new())
        };
        let was_destroyed = |history: &[&HistoryEntry]| {
            let history: Vec<HistoryEntry> = history.iter().map(|&entry| entry.clone()).collect();
            was_destroyed(&history, "engine A")
        };
        let (applied, destroyed) = (entry("apply", DONE), entry("destroy", DONE));
        assert!(!was_destroyed(&[]) && !was_destroyed(&[&applied]));
        assert!(was_destroyed(&[&applied, &destroyed]));
        assert!(!was_destroyed(&[&destroyed, &applied]));
        let failed = entry("destroy", "no answer");
        assert!(!was_destroyed(&[&destroyed, &failed]));
        // One that was killed has seen in this account what it was about to remove.
        let killed = |account: &str| HistoryEntry { account: Some(account.to_owned()), ..failed.clone() };
        assert!(was_destroyed(&[&applied, &killed("engine A")]));
        assert!(!was_destroyed(&[&applied, &killed("engine B")]));
        assert!(!was_destroyed(&[&killed("engine A"), &applied]));
    }
}
