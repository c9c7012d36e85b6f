//! Warm environments that are ready to be taken over.

use super::{Site, Target, review::digest};
use crate::{
    error::{Error, Result},
    event::Events,
    identity,
    name::Name,
    state::{
        State,
        pool::{self, Settled},
    },
};

/// What a pool lacks.
pub struct Shortage {
    /// The folder of the pool's file.
    pub template: String,
    /// The members that were made from other files than there are now, or are not wanted any more.
    pub outdated: Vec<Name>,
    /// How many are still to be made.
    pub missing: usize,
}

/// What a pool lacks to have as many free members of the present files as `wanted`.
///
/// # Errors
/// When the place of its states does not answer.
pub async fn shortage(site: &Site, wanted: usize, events: &Events) -> Result<Shortage> {
    let (digest, template) = (digest(&site.environment)?, site.template());
    let pool = site.pool()?;
    settle(&pool, events).await?;
    let members = pool.members(Some(&template)).await?;
    let is_current = |state: &State| state.pool.as_ref().is_some_and(|member| member.digest == digest);
    let is_free = |state: &State| state.pool.as_ref().is_some_and(|member| member.claimed_by.is_none());
    let (keep, outdated): (Vec<&State>, Vec<&State>) =
        members.iter().filter(|state| is_free(state)).partition(|state| wanted > 0 && is_current(state));
    let outdated = outdated.iter().map(|state| state.environment.clone()).collect();
    Ok(Shortage { missing: wanted.saturating_sub(keep.len()), template, outdated })
}

/// A new member of the pool of a file.
///
/// # Errors
/// When the machine has no random numbers.
pub fn new_member(of: &Target, template: &str) -> Result<Target> {
    let name = format!("{template}-pool-{}", identity::random_text(8)?.to_ascii_lowercase());
    Ok(Target { name: Some(name.parse().map_err(Error::usage)?), ..of.clone() })
}

/// Why a locked environment is no member of a pool that may be removed; `None` when it is one.
#[must_use]
pub fn why_not_free(site: &Site) -> Option<String> {
    match site.state.as_ref().map(|state| &state.pool) {
        Some(Some(member)) => member.claimed_by.as_ref().map(|by| format!("`{by}` is taking it over from the pool")),
        Some(None) => Some("it is no member of a pool".to_owned()),
        None => Some("it was taken over from the pool, or removed, just now".to_owned()),
    }
}

/// Ends the claims of commands that were killed, and says so.
pub(super) async fn settle(pool: &pool::Pool, events: &Events) -> Result<()> {
    for settled in pool.settle().await? {
        events.note(match settled {
            Settled::Taken { member, by } => format!("`{member}` was taken over by `{by}`: it is no member any more"),
            Settled::Freed { member } => {
                format!("`{member}` is free again: the command that was taking it over did not finish")
            }
        });
    }
    Ok(())
}
