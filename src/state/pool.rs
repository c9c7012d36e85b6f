//! Warm environments that no one has asked for yet. Who needs one takes it over, and runs only what is still to be done.
//!
//! A member of a pool is an environment like any other, with a state of its own. It is handed out under its own lease: its
//! state first says to whom, then the new environment's state is written, then the member's is removed. A command that is killed
//! in between leaves a claim, which [`Pool::settle`] ends.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{Backend, State, Store, Terms};
use crate::{
    config::StateSettings,
    error::{Error, Result},
    event::Events,
    name::Name,
    project::ProjectId,
};

/// What makes an environment a member of a pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The folder of its file.
    pub template: String,
    /// The digest of the files that it was made from.
    pub digest: String,
    /// The environment that it is being handed to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claimed_by: Option<Name>,
}

/// The pools of a project in one backend.
#[derive(Clone, Debug)]
pub struct Pool {
    backend: Arc<dyn Backend>,
    folder: PathBuf,
    settings: StateSettings,
    project: Option<ProjectId>,
}

/// How a claim ended whose command was killed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled {
    /// The environment had its state already: the member is its own now.
    Taken {
        /// The member.
        member: Name,
        /// The environment.
        by: Name,
    },
    /// Nothing had come of it: the member is free again.
    Freed {
        /// The member.
        member: Name,
    },
}

impl Pool {
    /// The pools of the project in this folder.
    #[must_use]
    pub fn new(backend: Arc<dyn Backend>, folder: &Path, settings: &StateSettings, project: Option<ProjectId>) -> Self {
        Self { backend, folder: folder.to_owned(), settings: settings.clone(), project }
    }

    fn store(&self, name: &Name) -> Store {
        Store::over(Arc::clone(&self.backend), &self.folder, name, &self.settings)
    }

    /// The members of this project's pools, of one template or of all.
    ///
    /// # Errors
    /// When the backend does not answer.
    pub async fn members(&self, template: Option<&str>) -> Result<Vec<State>> {
        let mut found = Vec::new();
        for name in Store::list(self.backend.as_ref()).await? {
            // A state that cannot be read is no member that could be handed out.
            let Ok(Some(state)) = self.store(&name).read().await else { continue };
            // Those of earlier versions do not say whose they are.
            let ours = state.project.is_none() || state.project == self.project;
            let wanted = |member: &Member| template.is_none_or(|template| member.template == template);
            if ours && state.pool.as_ref().is_some_and(wanted) {
                found.push(state);
            }
        }
        Ok(found)
    }

    /// Hands a member of this template and digest, in this account, to the environment of a store, which has no state yet and whose
    /// lease is held; `None` when there is none.
    ///
    /// # Errors
    /// When the backend does not answer, or another command has taken over the environment.
    pub async fn claim(
        &self, store: &Store, name: &Name, template: &str, digest: &str, account: &str,
    ) -> Result<Option<State>> {
        let mut candidates = self.members(Some(template)).await?;
        candidates.retain(|state| state.account.as_ref().is_none_or(|known| known == account));
        // The one that was about to be handed out when a command was killed comes first.
        let ours = |state: &State| state.pool.as_ref().is_some_and(|member| member.claimed_by.as_ref() == Some(name));
        candidates.sort_by_key(|state| (!ours(state), state.created));
        for candidate in candidates {
            let source = self.store(&candidate.environment);
            let lease = source.lease(&format!("infra apply {name}"), Duration::ZERO, &Events::ignored()).await;
            // Another command is just taking this one, or it is being made or removed.
            let Ok((lease, state)) = lease else { continue };
            let claimed = self.take(&source, state, store, name, digest).await;
            source.release(lease).await;
            if let Some(state) = claimed? {
                return Ok(Some(state));
            }
        }
        Ok(None)
    }

    /// Ends the claims of commands that were killed: what was handed over is the other environment's, what was not is free again.
    ///
    /// # Errors
    /// When the backend does not answer.
    pub async fn settle(&self) -> Result<Vec<Settled>> {
        let mut settled = Vec::new();
        for member in self.members(None).await? {
            if member.pool.as_ref().is_none_or(|member| member.claimed_by.is_none()) {
                continue;
            }
            let source = self.store(&member.environment);
            let lease = source.lease("infra pool", Duration::ZERO, &Events::ignored()).await;
            // It is being handed out at this moment.
            let Ok((lease, state)) = lease else { continue };
            let ended = self.settle_one(&source, state).await;
            source.release(lease).await;
            settled.extend(ended?);
        }
        Ok(settled)
    }

    /// Ends the claim of a member whose lease is held.
    async fn settle_one(&self, source: &Store, state: Option<State>) -> Result<Option<Settled>> {
        let Some(state) = state else { return Ok(None) };
        let Some(Member { claimed_by: Some(by), .. }) = state.pool.clone() else { return Ok(None) };
        let member = state.environment.clone();
        // What cannot be read may be the state that was just written.
        if self.store(&by).read().await?.is_some_and(|taken| taken.labelled.as_ref() == Some(state.label())) {
            source.remove().await?;
            return Ok(Some(Settled::Taken { member, by }));
        }
        let free = state.pool.map(|member| Member { claimed_by: None, ..member });
        source.write(&State { pool: free, serial: state.serial + 1, ..state }).await?;
        Ok(Some(Settled::Freed { member }))
    }

    /// Whether an environment of another name has what carries this label.
    async fn has_another(&self, label: &Name, name: &Name) -> Result<bool> {
        for other in Store::list(self.backend.as_ref()).await? {
            // As everywhere here, a state that cannot be read is none that was just written.
            let Ok(Some(state)) = self.store(&other).read().await else { continue };
            if other != *name && state.label() == label {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Hands a member whose lease is held over to the environment of `target`.
    async fn take(
        &self, source: &Store, state: Option<State>, target: &Store, name: &Name, digest: &str,
    ) -> Result<Option<State>> {
        let Some(state) = state else { return Ok(None) };
        let Some(member) = state.pool.clone() else { return Ok(None) };
        let free = member.claimed_by.as_ref().is_none_or(|other| other == name);
        if !free || member.digest != digest {
            return Ok(None);
        }
        let marked = Member { claimed_by: Some(name.clone()), ..member };
        let member_name = state.environment.clone();
        source.write(&State { pool: Some(marked), serial: state.serial + 1, ..state.clone() }).await?;
        let taken = State {
            environment: name.clone(),
            labelled: Some(state.label().clone()),
            pool: None,
            // Its time begins with the apply that takes it over, if that gets so far.
            awaits_ttl: true,
            terms: Terms { expires: None, ..state.terms.clone() },
            serial: state.serial + 2,
            ..state
        };
        target.write(&taken).await?;
        let is_ours = |state: State| state.pool.is_some_and(|member| member.claimed_by.as_ref() == Some(name));
        // What is still marked for us is removed as it is, or not at all. It is read aside: `source` removes the version that it wrote.
        let was_ours = self.store(&member_name).read().await?.is_some_and(is_ours);
        let removed = source.remove().await;
        let there = source.read().await?;
        if there.clone().is_some_and(is_ours) {
            removed?;
            return Err(Error::new(format!("the state of `{}` could not be removed", taken.label()))
                .hint("run the same command again: it goes on with this member"));
        }
        // A command that was stopped for longer than its lease lasts may find that the member was freed and handed to another
        // environment meanwhile: then it has nothing.
        if there.is_some() || (!was_ours && self.has_another(taken.label(), name).await?) {
            target.remove().await?;
            return Ok(None);
        }
        Ok(Some(taken))
    }
}
