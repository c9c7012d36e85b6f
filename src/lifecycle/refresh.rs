//! Writes what the provider shows into the state. Nothing is made or changed.

use super::Site;
use crate::{error::Result, resource::Address};

/// What has changed since the state was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refreshed {
    /// What does not exist any more.
    pub gone: Vec<Address>,
    /// What has other addresses or ports.
    pub moved: Vec<Address>,
}

/// Lets the state of a locked environment know what exists now.
///
/// # Errors
/// When the provider does not answer, or all that the state knows is gone and `forget` does not say that this may be so.
pub async fn refresh(site: &mut Site, forget: bool) -> Result<Refreshed> {
    let observed = site.observe().await?;
    site.check_not_all_gone(&observed, forget)?;
    let mut state = site.applied()?.clone();
    let Refreshed { mut gone, mut moved } = Refreshed::default();
    state.resources.retain(|address, entry| {
        let same = observed.iter().find(|object| object.address.kind == address.kind && object.id == entry.id);
        let Some(object) = same else {
            gone.push(address.clone());
            return false;
        };
        if entry.attributes != object.attributes {
            entry.attributes = object.attributes.clone();
            moved.push(address.clone());
        }
        true
    });
    if !gone.is_empty() || !moved.is_empty() {
        for address in &gone {
            state.remove(address);
        }
        state.serial += 1;
        site.store.write(&state).await?;
    }
    Ok(Refreshed { gone, moved })
}
