//! Removes what a provider lists, without a state: for environments whose time is over, wherever they were made.

use std::{collections::BTreeMap, sync::Mutex};

use tokio_util::sync::CancellationToken;

use super::{check_not_stopped, delete, finish_removals, left, left_over, twins::may_hold_data, until_stopped};
use crate::{
    error::Result,
    event::Events,
    graph::Graph,
    plan::{Change, DataPolicy},
    provider::{Owner, Provider},
    resource::Address,
    state::Store,
};

/// What came of a removal, however it ended.
#[derive(Debug)]
pub struct Swept {
    /// What was removed, an address for each object.
    pub removed: Vec<Address>,
    /// Why not all was: a removal failed, the lease was lost, the command was asked to stop, or the provider still lists
    /// objects; each is named.
    pub ended: Result<()>,
}

/// Carries out a plan of removals, then proves that nothing is left. Where the environment's lease is held, through a store,
/// that is looked at before each removal. Soon after `cancel` calls that run are given up, and nothing new is begun.
pub async fn sweep(
    provider: &dyn Provider, owner: &Owner, changes: &[Change], data: DataPolicy, held: Option<&Store>,
    events: &Events, cancel: &CancellationToken,
) -> Swept {
    let removed = Mutex::new(Vec::new());
    let ended = async {
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
                let (changes, removed) = (&by_address[&address], &removed);
                async move {
                    for change in changes {
                        check_not_stopped(cancel)?;
                        if let Some(store) = held {
                            store.confirm().await?;
                        }
                        let subject = format!("{}/{address}", owner.environment);
                        until_stopped(cancel, delete(provider, change, data, &subject, events)).await?;
                    }
                    let all = changes.iter().map(|_| address.clone());
                    removed.lock().expect("no task panics while it notes a removal").extend(all);
                    Ok(())
                }
            })
            .await;
        finish_removals(outcomes)?;
        check_not_stopped(cancel)?;
        if let Some(store) = held {
            store.confirm().await?;
        }
        // What may hold data is removed by a plan that names it.
        let left = until_stopped(cancel, left(provider, owner, |object| !may_hold_data(object))).await?;
        if left.is_empty() { Ok(()) } else { Err(left_over(&left).hint("run the same command again")) }
    }
    .await;
    Swept { removed: removed.into_inner().expect("no task panics while it notes a removal"), ended }
}
