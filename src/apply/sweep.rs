//! Removes what a provider lists, without a state: for environments whose time is over, wherever they were made.

use std::collections::BTreeMap;

use super::{driver, finish_removals, left, left_over};
use crate::{
    error::Result,
    event::Events,
    graph::Graph,
    plan::Change,
    provider::{Owner, Provider},
    resource::Address,
};

/// Carries out a plan of removals, then proves that nothing is left.
///
/// # Errors
/// When a removal fails, or the provider still lists objects; each is named.
pub async fn sweep(provider: &dyn Provider, owner: &Owner, changes: &[Change], events: &Events) -> Result<usize> {
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
                let driver = driver(provider, &address)?;
                for object in changes.iter().filter_map(|change| change.object.as_ref()) {
                    let subject = format!("{}/{address}", owner.environment);
                    events.watch(&subject, "removing", "removed", driver.delete(&object.id)).await?;
                }
                Ok(())
            }
        })
        .await;
    let count = outcomes.len();
    finish_removals(outcomes)?;
    let left = left(provider, owner, |_| true).await?;
    if left.is_empty() { Ok(count) } else { Err(left_over(&left).hint("run the same command again")) }
}
