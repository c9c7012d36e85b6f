//! Removes what a provider lists, without a state: for environments whose time is over, wherever they were made.

use std::collections::BTreeMap;

use super::{delete, finish_removals, left, left_over, twins::may_hold_data};
use crate::{
    error::Result,
    event::Events,
    graph::Graph,
    plan::{Change, DataPolicy},
    provider::{Owner, Provider},
    resource::Address,
    state::Store,
};

/// Carries out a plan of removals, then proves that nothing is left. Where the environment's lease is held, through a store,
/// that is looked at before each removal.
///
/// # Errors
/// When a removal fails, when the lease is lost, or the provider still lists objects; each is named.
pub async fn sweep(
    provider: &dyn Provider, owner: &Owner, changes: &[Change], data: DataPolicy, held: Option<&Store>, events: &Events,
) -> Result<usize> {
    // An address may have several objects here: twins that a killed command left.
    let mut by_address: BTreeMap<&Address, Vec<&Change>> = BTreeMap::new();
    for change in changes {
        by_address.entry(&change.address).or_default().push(change);
    }
    let needs = |changes: &Vec<&Change>| changes.iter().flat_map(|change| change.needs.clone()).collect();
    let graph =
        Graph::new(by_address.iter().map(|(address, changes)| ((*address).clone(), needs(changes))))?.reversed();
    let outcomes = graph
        .walk(provider.concurrency(), |address| {
            let changes = &by_address[&address];
            async move {
                for change in changes {
                    if let Some(store) = held {
                        store.confirm().await?;
                    }
                    let subject = format!("{}/{address}", owner.environment);
                    delete(provider, change, data, &subject, events).await?;
                }
                Ok(())
            }
        })
        .await;
    finish_removals(outcomes)?;
    if let Some(store) = held {
        store.confirm().await?;
    }
    // What may hold data is removed by a plan that names it.
    let left = left(provider, owner, |object| !may_hold_data(object)).await?;
    if left.is_empty() { Ok(changes.len()) } else { Err(left_over(&left).hint("run the same command again")) }
}
