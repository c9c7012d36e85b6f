//! Runs playbooks or a module on the machines of an applied environment.

use std::sync::Arc;

use super::{Playbooks, Site, Stop, apply::connections, locked::phase};
use crate::{
    error::Result,
    event::Events,
    playbook::{Options, Recap},
};

/// Runs playbooks on the machines of a locked environment as they are in its state.
///
/// # Errors
/// When the environment was not applied, or is in another account; failures of machines are in the recap.
pub async fn run(
    site: &mut Site, playbooks: Playbooks, options: Options, events: &Events, stop: &Stop,
) -> Result<Recap> {
    site.reach().await?;
    let state = site.applied()?.clone();
    let pool = connections(site, &state, &site.vault, events)?.until(stop.token().clone());
    let work = playbooks.run(site, &state, &site.vault, Arc::new(pool), options, events, stop);
    phase(events, "run", work).await
}
