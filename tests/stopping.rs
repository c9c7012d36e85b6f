//! A command that is asked to stop while a call runs at the provider: it ends, and what the call does is found later.

use std::{
    process::{Child, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{e2e::eventually, yandex::Project};

const FILE: &str = "provider: yandex
folder_id: b1gsimulated0folder00
network: {subnets: {a: {v4_cidr_blocks: [10.1.0.0/24]}}}
";

/// Begins an apply whose first operation never ends.
async fn stuck(project: &Project, arguments: &[&str]) -> Child {
    project.cloud.delay(Duration::from_hours(1));
    let mut command = project.command(arguments);
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let begun = || async { project.cloud.names().iter().any(|name| name.starts_with("networks ")) };
    eventually("the network is being created", 60, begun).await;
    child
}

/// How the command ended, and what it printed.
pub(crate) async fn end(child: Child) -> (Option<i32>, String) {
    let wait = tokio::task::spawn_blocking(|| child.wait_with_output().unwrap());
    let printed = tokio::time::timeout(Duration::from_mins(1), wait).await.expect("it ends").unwrap();
    (printed.status.code(), String::from_utf8_lossy(&printed.stderr).into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_ends_a_command_whose_call_does_not_end() {
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let project = Project::new(FILE).await;
        let child = stuck(&project, &["apply", "dev", "--yes"]).await;
        kill_process(Pid::from_child(&child), signal).unwrap();
        let (ended, said) = end(child).await;
        assert_eq!(ended, Some(code), "{said}");
        assert!(said.contains("it goes on at the provider; the next command finds how it ended"), "{said}");
    }
    let project = Project::new(FILE).await;
    let (ended, said) = end(stuck(&project, &["apply", "dev", "--yes", "--timeout", "2s"]).await).await;
    assert_eq!(ended, Some(1), "{said}");
    // The call was carried out meanwhile: its object is taken over, and there is one of it.
    project.cloud.delay(Duration::ZERO);
    project.run(&["apply", "dev", "--yes"], 0).silent();
    let networks = project.cloud.names().iter().filter(|name| name.starts_with("networks ")).count();
    assert_eq!(networks, 1, "{:?}", project.cloud.names());
    project.run(&["destroy", "dev", "--yes"], 0).silent();
    assert_eq!(project.cloud.names(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_ends_the_wait_for_a_machine_that_cannot_be_reached() {
    let machine = "instances: {gate: {network: {nat: true}, resources: {memory: 2}}}";
    for playbooks in ["", "playbooks: [site.yml]\n"] {
        let project = Project::new(&format!("{FILE}{machine}\n{playbooks}")).await;
        project.sandbox.write("envs/dev/site.yml", "- hosts: all\n  tasks:\n    - ping:\n");
        let mut command = project.command(&["apply", "dev", "--yes"]);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let there = || async { project.cloud.names().iter().any(|name| name.contains("dev-gate")) };
        eventually("the machine is created", 60, there).await;
        kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
        let (ended, said) = end(child).await;
        assert_eq!(ended, Some(143), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_ends_the_wait_for_what_does_not_come_to_rest() {
    let database = "postgres: {main: {resources: {cores: 2, memory: 8, disk_size: 20}, users: {app: }, databases: {app: {owner: app}}}}";
    let project = Project::new(&format!("{FILE}{database}\n")).await;
    project.run(&["apply", "dev", "--yes"], 0).silent();
    project.cloud.edit("dev-main", |cluster| cluster["status"] = "UPDATING".into());
    let mut command = project.command(&["apply", "dev", "--yes", "--timeout", "2s"]);
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let (ended, said) = end(child).await;
    assert_eq!(ended, Some(1), "{said}");
    assert!(said.contains("the next command finds how it ended"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_ends_removals_by_label_and_the_next_one_goes_on() {
    let file = format!("{FILE}instances: {{a: {{network: {{subnet: a}}, resources: {{memory: 2}}}}}}\n");
    for arguments in [&["destroy", "dev", "--by-label", "--yes"][..], &["gc", "--provider", "yandex"]] {
        let project = Project::new(&file).await;
        project.run(&["apply", "dev", "--yes", "--no-configure", "--ttl", "1s"], 0).silent();
        let expired = || async { project.run(&["gc", "--provider", "yandex", "--dry-run"], 0).err.contains("`dev`") };
        eventually("its time is over", 10, expired).await;
        let timed = [arguments, &["--timeout", "5s"]].concat();
        for (arguments, signal, code) in [(arguments, Some(Signal::TERM), 143), (&timed, None, 1)] {
            project.cloud.delay(Duration::from_hours(1));
            project.cloud.forget_calls();
            let mut command = project.command(arguments);
            let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
            let begun = || async { project.cloud.calls().iter().any(|call| call.method == "DELETE") };
            eventually("something is being removed", 60, begun).await;
            if let Some(signal) = signal {
                kill_process(Pid::from_child(&child), signal).unwrap();
            }
            let (ended, said) = end(child).await;
            assert_eq!(ended, Some(code), "{said}");
            assert!(said.contains("the next command finds how it ended"), "{said}");
            // Its lease was given back, and what it was about to remove is in the state.
            let state = std::fs::read_to_string(project.sandbox.path(".infra/dev/state.json")).unwrap();
            let state: serde_json::Value = serde_json::from_str(&state).unwrap();
            assert!(arguments[0] != "gc" || !state["removing"].as_array().unwrap().is_empty(), "{state}");
        }
        project.cloud.delay(Duration::ZERO);
        project.run(arguments, 0).silent();
        assert_eq!(project.cloud.names(), Vec::<String>::new());
        assert!(!project.sandbox.path(".infra/dev/state.json").exists());
    }
}
