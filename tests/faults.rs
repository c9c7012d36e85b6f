//! Every failure point of an apply and a destroy, injected by a loop on the strict in-memory cloud: at each call the call
//! fails, takes effect and then fails, or the process is gone before or after it. Afterwards one plain apply converges, one
//! destroy leaves nothing, and no object was made twice.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use infra::{
    apply::Tally,
    config::Environment,
    error::Error,
    plan::{Action, Known, diff},
    provider::fake::{Call, Fake, Hook},
    state::Store,
};
use tokio::sync::Notify;

use crate::support::commands::{command, environment};

const FILE: &str = "
network: {subnets: {a: {v4_cidr_blocks: [10.1.0.0/24]}, b: {v4_cidr_blocks: [10.2.0.0/24]}}}
instances:
  bastion: {network: {subnet: a, nat: true}}
  db: {network: {subnet: b}, resources: {secondary_disk_size: 5}}
instance_groups:
  app: {node_count: 2, network: {subnet: a}}
";

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    FailsBefore,
    FailsAfter,
    KilledBefore,
    KilledAfter,
}

/// A hook that strikes at the nth call that changes something.
fn strike(nth: usize, fault: Fault, killed: Arc<Notify>, struck: Arc<AtomicUsize>) -> Hook {
    let count = Arc::new(AtomicUsize::new(0));
    Arc::new(move |call: Call| {
        let (killed, struck, count) = (Arc::clone(&killed), Arc::clone(&struck), Arc::clone(&count));
        Box::pin(async move {
            let after = matches!(fault, Fault::FailsAfter | Fault::KilledAfter);
            if call.verb == "list" || call.done != after || count.fetch_add(1, Ordering::SeqCst) != nth {
                return Ok(());
            }
            struck.fetch_add(1, Ordering::SeqCst);
            match fault {
                Fault::FailsBefore | Fault::FailsAfter => Err(Error::new("the cloud is out of order")),
                Fault::KilledBefore | Fault::KilledAfter => {
                    killed.notify_one();
                    std::future::pending().await
                }
            }
        })
    })
}

/// Runs a command with a fault in it; `false` when there are fewer calls than that.
async fn with_fault(
    project: &Path, environment: &Environment, cloud: &Fake, destroy: bool, nth: usize, fault: Fault,
) -> bool {
    let (killed, struck) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
    let faulty = cloud.with_hook(strike(nth, fault, Arc::clone(&killed), Arc::clone(&struck)));
    tokio::select! {
        result = command(project, environment, &faulty, destroy) => {
            let hit = struck.load(Ordering::SeqCst) > 0;
            assert_eq!(result.is_err(), hit, "{fault:?} at {nth}: {result:?}");
            hit
        }
        // The future is dropped where it stands: nothing after the call happens, as after `kill -9`.
        () = killed.notified() => true,
    }
}

async fn assert_matches(project: &Path, environment: &Environment, cloud: &Fake, what: &str) {
    let objects = cloud.objects();
    let mut addresses: Vec<_> = objects.iter().map(|object| object.address.clone()).collect();
    addresses.sort();
    let mut wanted: Vec<_> = environment.resources.iter().map(|resource| resource.address.clone()).collect();
    wanted.sort();
    assert_eq!(addresses, wanted, "{what}");
    let state = Store::new(project, &environment.name).read().await.unwrap().unwrap();
    for object in objects {
        assert_eq!(
            state.resources[&object.address].id, object.id,
            "{what}: the state knows another `{}`",
            object.address
        );
    }
}

async fn every_fault(prepare: Option<&str>, file: &str, destroy: bool) -> (usize, usize) {
    let (mut tried, mut steps) = (0, 0);
    for fault in [Fault::FailsBefore, Fault::FailsAfter, Fault::KilledBefore, Fault::KilledAfter] {
        for nth in 0.. {
            let folder = tempfile::tempdir().unwrap();
            let project = folder.path();
            let cloud = Fake::default();
            if let Some(first) = prepare {
                command(project, &environment(project, first), &cloud, false).await.unwrap();
            }
            let environment = environment(project, file);
            if !with_fault(project, &environment, &cloud, destroy, nth, fault).await {
                steps = steps.max(nth);
                break;
            }
            tried += 1;
            let what = format!("{fault:?} at call {nth}");
            if !destroy {
                command(project, &environment, &cloud, false).await.unwrap_or_else(|error| panic!("{what}: {error}"));
                assert_matches(project, &environment, &cloud, &what).await;
                let again = command(project, &environment, &cloud, false).await.unwrap();
                assert_eq!(again, Tally::default(), "{what}: the second apply changed something");
            }
            command(project, &environment, &cloud, true).await.unwrap_or_else(|error| panic!("{what}: {error}"));
            assert!(cloud.objects().is_empty(), "{what}: orphans {:?}", cloud.objects());
            assert!(Store::new(project, &environment.name).read().await.unwrap().is_none());
        }
    }
    (steps, tried)
}

#[tokio::test]
async fn an_apply_survives_every_fault() {
    let (steps, tried) = every_fault(None, FILE, false).await;
    println!("apply from nothing: {steps} calls, {tried} faults, 0 orphans, 0 doubles");
    assert_eq!((steps, tried), (7, 28));
}

#[tokio::test]
async fn a_change_survives_every_fault() {
    let changed = FILE.replace("node_count: 2", "node_count: 3, resources: {cores: 4}").replace("10.2.0.0", "10.3.0.0");
    let (steps, tried) = every_fault(Some(FILE), &changed, false).await;
    println!("a change with updates and replacements: {steps} calls, {tried} faults, 0 orphans, 0 doubles");
    assert!(steps >= 7, "{steps}");
}

#[tokio::test]
async fn a_destroy_survives_every_fault() {
    let (steps, tried) = every_fault(Some(FILE), FILE, true).await;
    println!("destroy: {steps} calls, {tried} faults, 0 orphans");
    assert_eq!(steps, 7);
}

#[tokio::test]
async fn what_is_lost_behind_our_back_is_made_anew_and_reads_are_few() {
    let folder = tempfile::tempdir().unwrap();
    let environment = environment(folder.path(), FILE);
    let cloud = Fake::default();
    command(folder.path(), &environment, &cloud, false).await.unwrap();
    cloud.lose("vm.app-2");
    let before = cloud.calls().len();
    let tally = command(folder.path(), &environment, &cloud, false).await.unwrap();
    assert_eq!(tally, Tally { created: 1, ..Tally::default() });
    let calls: Vec<_> = cloud.calls()[before..].iter().map(|call| format!("{} {}", call.verb, call.subject)).collect();
    assert_eq!(calls, ["list all", "create vm.app-2"]);
    assert_matches(folder.path(), &environment, &cloud, "after a loss").await;
}

#[tokio::test]
async fn a_lost_state_leaves_nothing_that_destroy_does_not_find() {
    let folder = tempfile::tempdir().unwrap();
    let environment = environment(folder.path(), FILE);
    let cloud = Fake::default();
    command(folder.path(), &environment, &cloud, false).await.unwrap();
    std::fs::remove_dir_all(folder.path().join(".infra")).unwrap();
    command(folder.path(), &environment, &cloud, true).await.unwrap();
    assert!(cloud.objects().is_empty());
}

#[tokio::test]
async fn a_plan_says_everything() {
    let folder = tempfile::tempdir().unwrap();
    let environment = environment(folder.path(), FILE);
    let known =
        Known { state: None, pending: &BTreeMap::new(), observed: &[], policy: infra::resource::Policy::default() };
    let changes = diff(&environment.resources, known).unwrap();
    assert!(changes.iter().all(|change| change.action == Action::Create && change.after.is_some()));
    let text = serde_json::to_string(&changes).unwrap();
    assert_eq!(serde_json::from_str::<Vec<infra::plan::Change>>(&text).unwrap(), changes);
}
