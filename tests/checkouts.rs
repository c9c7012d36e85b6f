//! What a second checkout, a renamed folder, a command that waited and one that was answered with no leave of an environment.

use std::{process::Stdio, sync::Arc, time::Duration};

use infra::{
    event::Events,
    provider::fake::Fake,
    state::{Entry, Intent, State, Store},
};
use jiff::Timestamp;

use crate::{
    e2e::eventually,
    ownership::Project,
    support::{commands, stub_engine::StubEngine},
};

const FILE: &str = "network: {subnets: {a: {v4_cidr_blocks: [10.91.0.0/24]}, b: {v4_cidr_blocks: [10.92.0.0/24]}}}\n";

#[tokio::test(flavor = "multi_thread")]
async fn checkouts_destroy_removes_nothing_that_no_state_here_knows() {
    let engine = StubEngine::start("A").await;
    let (here, there) = (Project::new(FILE), Project::new(FILE));
    here.run(&engine, &["apply", "dev", "--yes"], 0).silent();
    there.sandbox.write(".infra-project", &here.id());
    let changes = engine.changes();
    let said = there.run(&engine, &["destroy", "dev", "--yes"], 2).err;
    for says in ["`dev` exists already (2 objects: subnet.a, subnet.b), and there is no state of it in", "--by-label"] {
        assert!(said.contains(says), "{says}\n{said}");
    }
    let planned = there.run(&engine, &["plan", "dev", "--destroy"], 0).err;
    assert!(planned.contains("`infra destroy` would be refused: `dev` exists already"), "{planned}");
    let hint = there.run(&engine, &["output", "dev"], 2).err;
    assert!(hint.contains("if it was applied from another checkout, its state is there"), "{hint}");
    assert_eq!(engine.changes(), changes);
    there.run(&engine, &["destroy", "dev", "--yes", "--by-label"], 0).silent();
    assert_eq!(engine.names(), Vec::<String>::new());
    // What is gone for everybody: the plan says that an apply would not believe it.
    let planned = here.run(&engine, &["plan", "dev"], 0).err;
    assert!(planned.contains("`infra apply` would be refused") && planned.contains("none of them exists"), "{planned}");
}

#[tokio::test(flavor = "multi_thread")]
async fn checkouts_a_renamed_folder_leaves_an_environment_that_is_named_and_can_be_destroyed() {
    let (engine, project) = (StubEngine::start("A").await, Project::new(FILE));
    let run = |arguments: &[&str], code: i32| project.run(&engine, arguments, code);
    run(&["apply", "dev", "--yes"], 0).silent();
    project.rename("envs/dev", "envs/shop");
    let said = run(&["apply", "shop", "--yes"], 0).err;
    assert!(said.contains("warning: `dev` exists and the folder that it was made from is gone"), "{said}");
    let said = run(&["destroy", "dev", "--yes"], 2).err;
    assert!(said.contains("`dev` exists, and was made from") && said.contains("envs/OTHER --name dev"), "{said}");
    run(&["destroy", "shop", "--name", "dev", "--yes"], 0).silent();
    assert_eq!(engine.names().len(), 2, "{:?}", engine.names());
    run(&["destroy", "shop", "--yes"], 0).silent();
    assert_eq!(engine.names(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn checkouts_a_plan_is_written_over_plans_only() {
    let (engine, project) = (StubEngine::start("A").await, Project::new(FILE));
    let run = |arguments: &[&str], code: i32| project.run(&engine, arguments, code);
    let said = run(&["plan", "dev", "--out", "envs/dev/config.yaml"], 2).err;
    assert!(said.contains("exists and is not a plan; nothing was written"), "{said}");
    assert_eq!(std::fs::read_to_string(project.sandbox.path("envs/dev/config.yaml")).unwrap(), FILE);
    for _ in 0..2 {
        run(&["plan", "dev", "--out", "reviewed"], 0).silent();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn checkouts_a_time_that_comes_too_late_is_said() {
    let (engine, project) = (StubEngine::start("A").await, Project::new(FILE));
    let run = |arguments: &[&str], code: i32| project.run(&engine, arguments, code);
    run(&["apply", "dev", "--yes"], 0).silent();
    project.sandbox.write("envs/dev/config.yaml", &format!("ttl: 2h\n{FILE}"));
    for command in [&["plan", "dev"][..], &["apply", "dev", "--yes"]] {
        let said = run(command, 0).err;
        assert!(said.contains("`dev` was created without one: it never expires"), "{said}");
    }
    run(&["extend", "dev", "7200s", "--shorten"], 0).silent();
    assert!(!run(&["plan", "dev"], 0).err.contains("never expires"));
}

#[tokio::test(flavor = "multi_thread")]
async fn checkouts_an_apply_keeps_the_time_that_labels_were_given_elsewhere() {
    let engine = StubEngine::start("A").await;
    let (here, there) = (Project::new(FILE), Project::new(FILE));
    here.run(&engine, &["apply", "dev", "--yes", "--ttl", "1h"], 0).silent();
    there.sandbox.write(".infra-project", &here.id());
    there.run(&engine, &["extend", "dev", "9h"], 0).silent();
    here.sandbox.write("envs/dev/config.yaml", &format!("protect: true\n{FILE}"));
    here.run(&engine, &["apply", "dev", "--yes"], 0).silent();
    let expires: Timestamp = here.state("dev")["terms"]["expires"].as_str().unwrap().parse().unwrap();
    assert!(expires.as_second() - Timestamp::now().as_second() > 8 * 3600, "{expires}");
}

#[tokio::test(flavor = "multi_thread")]
async fn checkouts_a_member_of_a_pool_has_an_end_even_when_the_answer_is_no() {
    let (engine, project) = (StubEngine::start("A").await, Project::new(&format!("ttl: 2h\npool: {{min: 1}}\n{FILE}")));
    let run = |arguments: &[&str], code: i32| project.run(&engine, arguments, code);
    run(&["pool", "fill", "dev"], 0).silent();
    project.run(&engine, &["apply", "dev", "--name", "pr-1"], 2).silent();
    let taken = project.state("pr-1");
    assert!(taken["terms"]["expires"].is_string(), "{taken}");
    run(&["destroy", "pr-1", "--yes"], 0).silent();
}

#[tokio::test(flavor = "multi_thread")]
async fn checkouts_values_of_an_earlier_apply_are_said_and_can_be_left_out() {
    let (engine, project) = (StubEngine::start("A").await, Project::new(FILE));
    let set = ["apply", "dev", "--yes", "--set", "network.subnets.c.v4_cidr_blocks=[10.93.0.0/24]"];
    project.run(&engine, &set, 0).silent();
    let planned = project.run(&engine, &["plan", "dev"], 0);
    let says = "warning: `--set network.subnets.c.v4_cidr_blocks=[10.93.0.0/24]` of an earlier apply is used";
    assert!(planned.err.contains(says) && planned.err.contains("`--unset` uses the file as it is"), "{}", planned.err);
    assert!(planned.out.contains("nothing to do"), "{}", planned.out);
    project.run(&engine, &["apply", "dev", "--yes", "--unset"], 0).silent();
    let planned = project.run(&engine, &["plan", "dev"], 0);
    assert!(!planned.err.contains("--set"), "{}", planned.err);
    assert_eq!(engine.names().len(), 2, "{:?}", engine.names());
}

#[tokio::test(flavor = "multi_thread")]
async fn checkouts_who_waited_plans_with_the_values_that_hold_now() {
    let (engine, project) = (StubEngine::start("A").await, Project::new(FILE));
    project.run(&engine, &["apply", "dev", "--yes"], 0).silent();
    let store = Store::new(project.sandbox.folder.path(), &"dev".parse().unwrap());
    let (lease, state) = store.lease("another apply", Duration::ZERO, &Events::ignored()).await.unwrap();
    let mut waiting = project.sandbox.command(&["apply", "dev", "--yes", "--lock-timeout", "60s"]);
    waiting.env("DOCKER_HOST", &engine.host).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let waiting = waiting.spawn().unwrap();
    let book = project.sandbox.path(".infra/dev/lease.json");
    let queued = || async { std::fs::read_to_string(&book).is_ok_and(|text| text.contains("infra apply dev")) };
    eventually("it waits", 30, queued).await;
    let mut state = state.unwrap();
    state.overlay.set = vec!["network.subnets.a.v4_cidr_blocks=[10.93.0.0/24]".to_owned()];
    store.write(&State { serial: state.serial + 1, ..state }).await.unwrap();
    store.release(lease).await;
    let printed = tokio::task::spawn_blocking(|| waiting.wait_with_output()).await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&printed.stderr);
    assert!(!printed.status.success(), "{said}");
    assert!(said.contains("with other `--set` or `--files-root` values meanwhile; nothing was changed"), "{said}");
}

#[tokio::test]
async fn checkouts_what_was_renamed_in_the_state_is_no_twin() {
    let folder = tempfile::tempdir().unwrap();
    let file = "network: {subnets: {a: {v4_cidr_blocks: [10.91.0.0/24]}, c: {v4_cidr_blocks: [10.92.0.0/24]}}}\n";
    let environment = commands::environment(folder.path(), file);
    let cloud = Arc::new(Fake::default());
    commands::command(folder.path(), &environment, &cloud, false).await.unwrap();
    // `infra state mv dev subnet.c subnet.b`; then `c` is wanted again, and its create call was interrupted.
    let store = Store::new(folder.path(), &environment.name);
    let mut state = store.read().await.unwrap().unwrap();
    let (old, new) = ("subnet.c".parse().unwrap(), "subnet.b".parse().unwrap());
    let entry: Entry = state.resources.remove(&old).unwrap();
    let kept = entry.id.clone();
    state.resources.insert(new, entry.clone());
    let pending = Intent { token: "t".into(), spec: entry.spec.clone(), needs: Vec::new() };
    state.pending.insert(old.clone(), pending);
    store.write(&State { serial: state.serial + 1, ..state }).await.unwrap();
    // Objects have no names in such a cloud, only labels.
    cloud.rename("subnet.c", "subnet.z");
    let file = "network: {subnets: {a: {v4_cidr_blocks: [10.91.0.0/24]}, b: {v4_cidr_blocks: [10.92.0.0/24]}, c: {v4_cidr_blocks: [10.93.0.0/24]}}}\n";
    let environment = commands::environment(folder.path(), file);
    commands::command(folder.path(), &environment, &cloud, false).await.unwrap();
    assert!(cloud.objects().iter().any(|object| object.id == kept), "{:?}", cloud.objects());
}
