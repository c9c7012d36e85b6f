//! Several environments are worked on at once in one process, as a server does: nothing of one command is known to another.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use infra::{
    apply::Tally,
    error::Result,
    event::Events,
    lifecycle::{self, ApplyOptions, DestroyOptions, Playbooks, Reason, Site, Stop},
    provider::fake::{Call, Fake, Hook},
};
use tokio::sync::Notify;

use crate::support::commands::{command, environment, site};

const FILE: &str = "instances: {app: {}, db: {}}";

async fn apply(site: &mut Site, stop: &Stop) -> Result<Tally> {
    site.locked("infra apply", Duration::ZERO, &Events::ignored(), stop, async |site, events, stop| {
        let options = ApplyOptions { configure: false, ..ApplyOptions::default() };
        let playbooks = Playbooks::for_apply(site)?;
        let proposal = lifecycle::propose(site, &playbooks, &options, true, events).await?;
        proposal.check(site, &options)?;
        Ok(lifecycle::apply(site, playbooks, proposal, &options, events, stop).await?.tally)
    })
    .await
}

async fn destroy(site: &mut Site, stop: &Stop) -> Result<Tally> {
    site.locked("infra destroy", Duration::ZERO, &Events::ignored(), stop, async |site, events, stop| {
        let plan = lifecycle::propose_destroy(site, &DestroyOptions::default()).await?.expect("it exists");
        lifecycle::destroy(site, &plan, events, stop).await
    })
    .await
}

/// A cloud in which no call that changes something ends before `released`; `waiting` counts them.
fn held_back(cloud: &Fake, released: Arc<Notify>, waiting: Arc<AtomicUsize>) -> Arc<Fake> {
    let hook: Hook = Arc::new(move |call: Call| {
        let (released, waiting) = (Arc::clone(&released), Arc::clone(&waiting));
        Box::pin(async move {
            if call.verb == "create" && !call.done {
                waiting.fetch_add(1, Ordering::SeqCst);
                released.notified().await;
            }
            Ok(())
        })
    });
    Arc::new(cloud.with_hook(hook))
}

#[tokio::test]
async fn three_applies_and_a_destroy_live_in_one_process() {
    let folder = tempfile::tempdir().unwrap();
    let (cloud, project) = (Arc::new(Fake::default()), folder.path());
    let named = |name: &str| {
        let loaded = environment(project, FILE);
        infra::config::Environment { name: name.parse().unwrap(), ..loaded }
    };
    command(project, &named("old"), &cloud, false).await.unwrap();
    // The calls of this one never end: only its deadline does.
    let (released, waiting) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
    let stuck_cloud = held_back(&cloud, released, Arc::clone(&waiting));
    let (mut first, mut second) =
        (site(project, &named("first"), &cloud).await, site(project, &named("second"), &cloud).await);
    let mut stuck = site(project, &named("stuck"), &stuck_cloud).await;
    let mut old = site(project, &named("old"), &cloud).await;
    let (endless, long) = (Stop::default(), Stop::within(Some(Duration::from_mins(10))));
    let short = Stop::within(Some(Duration::from_millis(300)));
    let (first, second, stuck, old) = tokio::join!(
        apply(&mut first, &endless),
        apply(&mut second, &long),
        apply(&mut stuck, &short),
        destroy(&mut old, &endless),
    );
    assert!(first.unwrap().created > 0 && second.unwrap().created > 0 && old.unwrap().destroyed > 0);
    let error = stuck.unwrap_err();
    assert_eq!(error.exit_code(), 130, "{error}");
    assert!(waiting.load(Ordering::SeqCst) > 0);
    assert_eq!(short.reason(), Some(Reason::TimedOut));
    assert!(!endless.is_requested() && !long.is_requested());
    let names: std::collections::BTreeSet<String> =
        cloud.objects().into_iter().map(|object| object.environment).collect();
    assert!(names.contains("first") && names.contains("second") && !names.contains("old"), "{names:?}");
    // What was stopped is gone on from.
    assert!(command(project, &named("stuck"), &cloud, false).await.unwrap().created > 0);
}

#[tokio::test]
async fn a_lease_is_given_back_and_the_history_is_written_however_a_command_ends() {
    let folder = tempfile::tempdir().unwrap();
    let cloud = Arc::new(Fake::default());
    let refusing: Hook = Arc::new(|call: Call| {
        Box::pin(async move {
            if call.verb == "create" { Err(infra::error::Error::new("429: too many requests")) } else { Ok(()) }
        })
    });
    let file = environment(folder.path(), FILE);
    let mut failing = site(folder.path(), &file, &Arc::new(cloud.with_hook(refusing))).await;
    apply(&mut failing, &Stop::default()).await.unwrap_err();
    // It is not waited for: the lease is free.
    let mut working = site(folder.path(), &file, &cloud).await;
    apply(&mut working, &Stop::default()).await.unwrap();
    let stopped = Stop::default();
    stopped.request(Reason::Interrupted);
    let mut again = site(folder.path(), &file, &cloud).await;
    assert_eq!(apply(&mut again, &stopped).await.unwrap_err().exit_code(), 130);
    let outcomes: Vec<String> = working.store.history().await.unwrap().into_iter().map(|entry| entry.outcome).collect();
    // What had to stop before it began is not in the history.
    assert_eq!(outcomes.len(), 2, "{outcomes:?}");
    assert!(outcomes[0].contains("too many requests"), "{outcomes:?}");
    assert_eq!(outcomes[1], "done");
    assert!(working.store.trace().await.unwrap().is_some());
}
