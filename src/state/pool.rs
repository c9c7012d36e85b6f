//! Warm environments that nobody has asked for yet. Whoever needs one takes it over, and runs only what is still to be done.
//!
//! A member of a pool is an environment like any other, with a state of its own. It is handed out under its own lease: its
//! state first says to whom, then the new environment's state is written, then the member's is removed. Whoever is killed in
//! between is given the same member again; nobody else is.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use super::{Backend, State, Store, Terms};
use crate::{config::StateSettings, error::Result, event::Events, name::Name};

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

/// The members of a template's pool, by name.
///
/// # Errors
/// When the backend does not answer.
pub async fn members(
    backend: &Arc<dyn Backend>, project: &std::path::Path, settings: &StateSettings, template: &str,
) -> Result<Vec<State>> {
    let mut found = Vec::new();
    for name in Store::list(backend.as_ref()).await? {
        // A state that cannot be read is no member that could be handed out.
        if let Ok(Some(state)) = Store::over(Arc::clone(backend), project, &name, settings).read().await
            && state.pool.as_ref().is_some_and(|member| member.template == template)
        {
            found.push(state);
        }
    }
    Ok(found)
}

/// Hands a member of this digest to an environment that has no state yet and whose lease is held; `None` when there is none.
///
/// # Errors
/// When the backend does not answer, or somebody else has taken over the environment.
pub async fn claim(
    store: &Store, project: &std::path::Path, settings: &StateSettings, name: &Name, template: &str, digest: &str,
) -> Result<Option<State>> {
    let mut candidates = members(store.backend(), project, settings, template).await?;
    // The one that was about to be handed out when somebody was killed comes first.
    let ours = |state: &State| state.pool.as_ref().is_some_and(|member| member.claimed_by.as_ref() == Some(name));
    candidates.sort_by_key(|state| (!ours(state), state.created));
    for candidate in candidates {
        let source = Store::over(Arc::clone(store.backend()), project, &candidate.environment, settings);
        let lease = source.lease(&format!("infra apply {name}"), Duration::ZERO, &Events::ignored()).await;
        // Somebody else is just taking this one, or it is being made or removed.
        let Ok((lease, state)) = lease else { continue };
        let claimed = take(&source, state, store, name, digest).await;
        source.release(lease).await;
        if let Some(state) = claimed? {
            return Ok(Some(state));
        }
    }
    Ok(None)
}

async fn take(
    source: &Store, state: Option<State>, target: &Store, name: &Name, digest: &str,
) -> Result<Option<State>> {
    let Some(state) = state else { return Ok(None) };
    let Some(member) = state.pool.clone() else { return Ok(None) };
    let free = member.claimed_by.as_ref().is_none_or(|other| other == name);
    if !free || member.digest != digest {
        return Ok(None);
    }
    let marked = Member { claimed_by: Some(name.clone()), ..member };
    source.write(&State { pool: Some(marked), serial: state.serial + 1, ..state.clone() }).await?;
    let taken = State {
        environment: name.clone(),
        labelled: Some(state.label().clone()),
        pool: None,
        terms: Terms { expires: None, ..state.terms.clone() },
        serial: state.serial + 2,
        ..state
    };
    target.write(&taken).await?;
    source.remove().await?;
    Ok(Some(taken))
}
