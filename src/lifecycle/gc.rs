//! Removes environments whose time is over, by what the providers list: their state may be lost.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::{
    Stop,
    accounts::Account,
    by_label::{ended, unwritten},
    pool, stores,
};
use crate::{
    apply::{self, Swept},
    clock::Clock,
    config,
    error::{Error, Result},
    event::Events,
    name::Name,
    plan::{Change, DataPolicy, Listed},
    project::{self, ProjectId},
    provider::{Owner, Provider},
    state::{self, HistoryEntry, Lease, State, Store, pool::Pool},
};

/// The project that environments are removed from.
pub struct Sweeper {
    /// Its folder.
    pub folder: PathBuf,
    /// Its id; none before its first apply.
    pub id: Option<ProjectId>,
    /// Whether a state that cannot be read is put aside.
    pub by_label: bool,
    /// What becomes of data.
    pub data: DataPolicy,
    /// The time of day.
    pub clock: Clock,
}

/// A store whose lease is held.
struct Leased {
    store: Store,
    lease: Lease,
    state: Option<State>,
    /// Whether there is a state that cannot be read.
    is_unreadable: bool,
}

impl Leased {
    /// Writes down what is about to be removed: what is gone later was removed by this command.
    async fn begin(&self, home: &Path, changes: &[Change]) -> Result<HistoryEntry> {
        if let Some(state) = &self.state {
            let removing = state.resources.keys().cloned().collect();
            self.store.write(&State { removing, serial: state.serial + 1, ..state.clone() }).await?;
        }
        let entry =
            HistoryEntry::begin("gc", home, "", changes.iter().map(|change| format!("- {}", change.address)).collect());
        self.store.begin(&entry).await?;
        Ok(entry)
    }

    /// Removes the state when all is gone. Otherwise it says what is left.
    async fn end(&self, swept: &Swept) -> Result<()> {
        match (&swept.ended, &self.state) {
            (Ok(()), _) if self.is_unreadable => self.store.put_aside().await.map(drop),
            (Ok(()), _) => self.store.remove().await,
            (Err(_), None) => Ok(()),
            (Err(_), Some(state)) => {
                let mut left = state.clone();
                for address in &swept.removed {
                    left.remove(address);
                    left.pending.remove(address);
                }
                left.removing = left.resources.keys().cloned().collect();
                left.serial += 2;
                self.store.write(&left).await
            }
        }
    }
}

impl Sweeper {
    /// Ends the claims on members of pools whose commands were killed; why some could not be looked at.
    pub async fn settle_pools(&self, events: &Events) -> Vec<Error> {
        let mut failures = Vec::new();
        for settings in stores::places(&self.folder) {
            let settled = async {
                let backend = state::open(&self.folder, &settings)?;
                pool::settle(&Pool::new(backend, &self.folder, &settings, self.id.clone()), events).await
            };
            failures.extend(settled.await.err());
        }
        failures
    }

    /// Destroys one environment and says how many objects that were. Where its state is at hand it is locked, so that no
    /// command works on it meanwhile, and removed; it says what is left when the command was asked to stop.
    ///
    /// # Errors
    /// When another command works on it or has prolonged it, when something is left, and when the command was asked to stop.
    pub async fn sweep(&self, account: &Account, listed: &Listed, events: &Events, stop: &Stop) -> Result<usize> {
        if stop.is_over() {
            return Err(Error::interrupted("not begun, because you asked to stop"));
        }
        let name: Name = listed.environment.parse().map_err(Error::new)?;
        let owner = Owner { environment: name.clone(), project: listed.project.clone() };
        let home = self.home(account, listed);
        let leased = match &home {
            Some(home) => tokio::select! {
                leased = self.lease(home, &name, listed, events) => leased?,
                () = stop.requested() => return Err(Error::interrupted("not begun, because you asked to stop")),
                () = stop.time_is_up() => return Err(Error::interrupted("not begun: the time is up")),
            },
            None => None,
        };
        // A lease that is lost ends this sweep, and not those of other environments.
        let stop = &stop.part();
        let lost = leased.as_ref().map(|leased| leased.lease.lost().clone());
        let sweep = self.sweep_leased(account, listed, &owner, home.as_deref(), leased.as_ref(), events, stop);
        let removed = Box::pin(stop.watched("infra gc", lost, events, sweep)).await;
        if let Some(leased) = leased {
            stop.ending(leased.store.release(leased.lease)).await;
        }
        removed
    }

    /// The same, whatever is leased: the lease is given back by the caller.
    async fn sweep_leased(
        &self, account: &Account, listed: &Listed, owner: &Owner, home: Option<&Path>, leased: Option<&Leased>,
        events: &Events, stop: &Stop,
    ) -> Result<usize> {
        let begun = Instant::now();
        // A state of this name may be that of other objects, in another account.
        let state = leased.and_then(|leased| leased.state.as_ref());
        let id = home.map(project::read).transpose()?.flatten();
        let is_its = state.zip(home).is_none_or(|(state, home)| account.has(listed, state, id.as_ref(), home));
        let held = leased.map(|leased| &leased.store);
        let Some(changes) = removal(account.provider.as_ref(), owner, self.clock).await? else { return Ok(0) };
        let its = leased.zip(home).filter(|_| is_its);
        let entry = match its {
            Some((leased, home)) => Some(leased.begin(home, &changes).await?),
            None => None,
        };
        let provider = account.provider.as_ref();
        let swept = apply::sweep(provider, owner, &changes, self.data, held, events, stop.token()).await;
        if let (Some((leased, _)), Some(entry)) = (its, entry) {
            let noted = stop.ending(async {
                leased.end(&swept).await?;
                leased.store.remember(&ended(entry, &swept, begun)).await
            });
            let noted = noted.await.unwrap_or_else(unwritten);
            if swept.ended.is_ok() {
                noted?;
            }
        }
        swept.ended.map(|()| swept.removed.len())
    }

    /// Takes the lease of an environment, when something of it is known in a project.
    async fn lease(&self, home: &Path, name: &Name, listed: &Listed, events: &Events) -> Result<Option<Leased>> {
        let what = "infra gc";
        let known = async {
            let Some(store) = stores::store_of(home, name, &listed.terms.template).await? else { return Ok(None) };
            let (lease, state) = store.lease(what, Duration::ZERO, events).await?;
            Ok(Some(Leased { store, lease, state, is_unreadable: false }))
        };
        match known.await {
            Err(_) if self.by_label => {
                let settings = config::state_settings(&home.join("envs").join(&listed.terms.template));
                let store = Store::open(home, name, &settings)?;
                let lease = store.lease_blindly(what, Duration::ZERO, events).await?;
                let read = store.read().await;
                let is_unreadable = read.is_err();
                Ok(Some(Leased { store, lease, state: read.ok().flatten(), is_unreadable }))
            }
            known => known.map_err(|error: Error| {
                error.hint("`infra gc --by-label` also sweeps environments whose state cannot be read")
            }),
        }
    }

    /// The project folder of an environment, when it is known on this machine: this one, or the one that an earlier version wrote
    /// into its labels.
    fn home(&self, account: &Account, listed: &Listed) -> Option<PathBuf> {
        let by_path = account.provider.path_label(&self.folder.display().to_string());
        if self.id.as_ref().is_some_and(|id| id.as_str() == listed.project) || listed.project == by_path {
            return Some(self.folder.clone());
        }
        Some(PathBuf::from(&listed.project)).filter(|path| path.is_absolute() && path.is_dir())
    }
}

/// Looks once more, as another command may have prolonged it since: what is to be removed, if there is still something.
async fn removal(provider: &dyn Provider, owner: &Owner, clock: Clock) -> Result<Option<Vec<Change>>> {
    let now = Listed::of(provider.labelled(Some(&owner.environment)).await?);
    let Some(now) = now.into_iter().find(|other| other.project == owner.project) else { return Ok(None) };
    if !now.has_expired(clock.now()) {
        return Err(Error::new("it was prolonged just now; it is left alone"));
    }
    now.removal(provider.policy()).map(Some)
}
