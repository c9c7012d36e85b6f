//! Plans that lose data: named, refused unless they were made for it, and with a last copy where an environment ends.

use std::sync::Arc;

use infra::{
    config::Environment,
    error::Result,
    event::Events,
    plan::{Configure, DataPolicy, Known, Plan, VERSION, diff},
    provider::{Provider, fake::Fake},
    resource::Terms,
    secret::Redactor,
    state::{State, Store, Vault},
};
use tokio_util::sync::CancellationToken;

use crate::{
    e2e::Dev,
    support::commands::{command, environment, owner},
};

const FILE: &str = "
network: {subnets: {a: {v4_cidr_blocks: [10.1.0.0/24]}}}
instances: {web: {network: {subnet: a}, resources: {secondary_disk_size: 5}}}
postgres: {main: {users: {app: }, databases: {app: }, network: {subnet: a}}}
";

/// The plan from what there is to an environment, or to nothing.
async fn plan(store: &Store, wanted: Option<&Environment>, name: &Environment, cloud: &Fake, data: DataPolicy) -> Plan {
    let state = store.read().await.unwrap();
    let observed = cloud.list(&owner(name)).await.unwrap();
    let pending = state.as_ref().map(|state| state.pending.clone()).unwrap_or_default();
    let known = Known { state: state.as_ref(), pending: &pending, observed: &observed, policy: cloud.policy() };
    let desired = wanted.map(|wanted| cloud.resources(wanted)).unwrap_or_default();
    Plan {
        version: VERSION,
        environment: name.name.clone(),
        labelled: name.name.clone(),
        project: owner(name).project,
        serial: 0,
        terms: Terms::default(),
        digest: String::new(),
        changes: diff(&desired, known).unwrap(),
        secrets: Vec::new(),
        configure: Configure::default(),
        data,
        warnings: Vec::new(),
    }
}

async fn carry_out(store: &Store, plan: &Plan, cloud: &Fake) -> Result<()> {
    let state = store.read().await?.expect("it was applied");
    let vault = Vault::open(&state.secrets, store.keys(), Redactor::default())?;
    let events = Events::ignored();
    let run = infra::apply::Run::new(cloud, store, state, vault, &events, CancellationToken::new());
    run.build(plan).await?;
    run.remove(plan).await.map(drop)
}

/// Everything of the file is there.
async fn applied(folder: &std::path::Path) -> (Environment, Arc<Fake>, Store) {
    let environment = environment(folder, FILE);
    let cloud = Arc::new(Fake::default());
    command(folder, &environment, &cloud, false).await.unwrap();
    let store = Store::new(folder, &environment.name);
    (environment, cloud, store)
}

fn verbs(cloud: &Fake, verb: &str) -> Vec<String> {
    cloud.calls().into_iter().filter(|call| call.verb == verb).map(|call| call.subject).collect()
}

#[tokio::test]
async fn a_plan_that_loses_data_is_refused_before_anything_is_done() {
    let folder = tempfile::tempdir().unwrap();
    let (file, cloud, store) = applied(folder.path()).await;
    let without = environment(
        folder.path(),
        "network: {subnets: {a: {v4_cidr_blocks: [10.1.0.0/24]}}}\ninstances: {web: {network: {subnet: a}}}\n",
    );
    // The state knows what the machine of a database holds, although the file does not say so any more.
    let refused = plan(&store, Some(&without), &file, &cloud, DataPolicy::Refuse).await;
    assert_eq!(refused.lost(), ["disk.web-data (5 GB)", "postgres.main (database app)"]);
    let error = carry_out(&store, &refused, &cloud).await.unwrap_err();
    assert!(error.to_string().contains("postgres.main (database app)"), "{error}");
    assert!(error.hints().iter().any(|hint| hint.contains("--allow-data-loss")), "{error:?}");
    assert_eq!(verbs(&cloud, "delete"), Vec::<String>::new());
    // A subnet that cannot be changed in place takes along what it carries.
    let moved = environment(folder.path(), &FILE.replace("10.1.0.0", "10.2.0.0"));
    let moved = plan(&store, Some(&moved), &file, &cloud, DataPolicy::Refuse).await;
    assert_eq!(moved.lost(), ["postgres.main (database app)"]);
    assert!(carry_out(&store, &moved, &cloud).await.is_err());
    assert_eq!(verbs(&cloud, "delete"), Vec::<String>::new());
    // Made for it, it is done. Whether a copy is kept is the plan's.
    carry_out(&store, &Plan { data: DataPolicy::Lose, ..refused }, &cloud).await.unwrap();
    assert!(verbs(&cloud, "delete").contains(&"vm.postgres-main".to_owned()));
    assert_eq!(verbs(&cloud, "copy"), Vec::<String>::new());
}

#[test]
fn a_database_is_where_its_data_is() {
    let folder = tempfile::tempdir().unwrap();
    let kept = |resources: &str| {
        let file = FILE.replace("postgres: {main: {", &format!("postgres: {{main: {{resources: {{{resources}}}, "));
        let environment = environment(folder.path(), &file);
        let resources = environment.resources.iter().filter(|resource| !resource.data.is_empty());
        resources.map(|resource| (resource.address.to_string(), resource.data.clone())).collect::<Vec<_>>()
    };
    let data = vec!["postgres.main (database app)".to_owned()];
    assert_eq!(kept("memory: 1G"), [("vm.postgres-main".to_owned(), data.clone())]);
    assert_eq!(kept("secondary_disk_size: 5"), [("disk.postgres-main-data".to_owned(), data)]);
}

#[tokio::test]
async fn an_apply_that_may_lose_data_keeps_a_last_copy_where_one_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let (file, cloud, store) = applied(folder.path()).await;
    let moved = environment(folder.path(), &FILE.replace("10.1.0.0", "10.2.0.0"));
    let moved = plan(&store, Some(&moved), &file, &cloud, DataPolicy::of_apply(true)).await;
    carry_out(&store, &moved, &cloud).await.unwrap();
    assert_eq!(verbs(&cloud, "copy"), ["vm.postgres-main"], "what is replaced and holds data");
    let without = environment(folder.path(), "network: {subnets: {a: {v4_cidr_blocks: [10.2.0.0/24]}}}\n");
    let without = plan(&store, Some(&without), &file, &cloud, DataPolicy::of_apply(true)).await;
    carry_out(&store, &without, &cloud).await.unwrap();
    let mut copied = verbs(&cloud, "copy");
    copied.sort();
    assert_eq!(copied, ["disk.web-data", "vm.postgres-main", "vm.postgres-main"], "what is deleted, too");
}

#[tokio::test]
async fn the_end_of_an_environment_keeps_a_last_copy_of_what_holds_data() {
    let folder = tempfile::tempdir().unwrap();
    let (file, cloud, store) = applied(folder.path()).await;
    let end = plan(&store, None, &file, &cloud, DataPolicy::of_removal(false)).await;
    carry_out(&store, &end, &cloud).await.unwrap();
    let mut copied = verbs(&cloud, "copy");
    copied.sort();
    assert_eq!(copied, ["disk.web-data", "vm.postgres-main"]);
    assert!(cloud.objects().is_empty());
}

#[tokio::test]
async fn a_state_of_an_earlier_version_learns_what_is_where() {
    let folder = tempfile::tempdir().unwrap();
    let (file, cloud, store) = applied(folder.path()).await;
    let known = |state: &State| state.resources[&"vm.postgres-main".parse().unwrap()].data.clone();
    let mut state = store.read().await.unwrap().unwrap();
    assert_eq!(known(&state), ["postgres.main (database app)"]);
    state.resources.values_mut().for_each(|entry| entry.data.clear());
    store.write(&state).await.unwrap();
    command(folder.path(), &file, &cloud, false).await.unwrap();
    assert_eq!(known(&store.read().await.unwrap().unwrap()), ["postgres.main (database app)"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_lost_the_lease_removes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (file, cloud, store) = applied(folder.path()).await;
    let (lease, _) = store.lease("paused", std::time::Duration::ZERO, &Events::ignored()).await.unwrap();
    let end = plan(&store, None, &file, &cloud, DataPolicy::Lose).await;
    // It is paused; another command takes the environment, and has written nothing yet.
    infra::state::unlock(store.backend().as_ref(), &file.name).await.unwrap();
    let error = carry_out(&store, &end, &cloud).await.unwrap_err().to_string();
    assert!(error.contains("has taken over"), "{error}");
    let swept = infra::apply::sweep(
        cloud.as_ref(),
        &owner(&file),
        &end.changes,
        DataPolicy::Lose,
        Some(&store),
        &Events::ignored(),
        &CancellationToken::new(),
    )
    .await;
    assert!(swept.ended.is_err());
    assert_eq!(verbs(&cloud, "delete"), Vec::<String>::new());
    store.release(lease).await;
}

#[test]
fn a_plan_names_the_data_that_it_loses() {
    let file = "instances: {b: {resources: {memory: 128M, secondary_disk_size: 1}}}\n";
    let sandbox = crate::support::Sandbox::new().file("envs/dev/config.yaml", file);
    let disk = serde_json::json!({
        "id": "x", "token": "t", "spec": {"size_gb": 20}, "needs": [], "attributes": {}, "created": "2026-01-01T00:00:00Z",
    });
    let state = serde_json::json!({
        "version": 2, "environment": "dev", "provider": "docker", "folder": sandbox.path("envs/dev"), "serial": 1,
        "created": "2026-01-01T00:00:00Z", "resources": {"disk.old": disk},
    });
    sandbox.write(".infra/dev/state.json", &state.to_string());
    let shown = sandbox.run(&["plan", "dev", "--refresh=false"], 0).out;
    assert!(shown.contains("data:      disk.old (20 GB), lost when `disk.old` is destroyed"), "{shown}");
    assert!(shown.contains("refused without `--allow-data-loss`"), "{shown}");
    let shown = sandbox.run(&["plan", "dev", "--refresh=false", "--json", "--allow-data-loss"], 0).out;
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["data_loss"], serde_json::json!([{ "address": "disk.old", "data": ["disk.old (20 GB)"] }]));
    assert_eq!(shown["data"], "copy_if_possible");
}

#[tokio::test(flavor = "multi_thread")]
async fn e2e_an_apply_loses_data_when_it_is_allowed_to() {
    let dev = Dev::small("loses");
    dev.apply();
    dev.edit("config.yaml", ", secondary_disk_size: 1", "");
    let refused = dev.run(&["apply", "--yes"], 2).err;
    assert!(
        refused.contains("this plan loses data: disk.b-data (1 GB)") && refused.contains("--allow-data-loss"),
        "{refused}"
    );
    let path = dev.sandbox.path("plan");
    let saved = path.to_str().unwrap();
    dev.run(&["plan", "--out", saved], 0).silent();
    let refused = dev.sandbox.run(&["apply", saved, "--allow-data-loss"], 2).err;
    assert!(refused.contains("infra plan --out FILE --allow-data-loss"), "{refused}");
    assert_eq!(dev.left().await.len(), 4, "nothing was touched");
    dev.run(&["plan", "--out", saved, "--allow-data-loss"], 0).silent();
    dev.sandbox.run(&["apply", saved], 0).silent();
    assert_eq!(dev.left().await.len(), 3);
    dev.run(&["destroy", "--yes"], 0).silent();
    assert_eq!(dev.left().await, Vec::<String>::new());
}
