//! The figures of the clouds: how long, how much memory. They are printed, never asserted: `make bench` runs them, built for
//! release.

use std::{
    process::Stdio,
    time::{Duration, Instant},
};

use infra::identity;
use sha2::{Digest, Sha256};

use crate::{
    support::{
        Sandbox, repository,
        yandex::{Cloud, FOLDER},
    },
    yandex::apply,
};

/// A file with this many machines, of which two are balanced.
fn many(machines: usize, endpoint: &str, key: &str) -> String {
    let mut text = format!(
        "provider: yandex\nyandex: {{folder_id: {FOLDER}, endpoint: '{endpoint}', service_account_key_file: {key}}}\n\
         nginx:\n  front: {{nodes: 2, resources: {{memory: 2}}, upstreams: {{}}, locations: {{}}}}\ninstances:\n"
    );
    for number in 2..machines {
        text += &format!("  m{number}: {{resources: {{memory: 2}}}}\n");
    }
    text
}

/// Forty machines, their network and a balancer, with operations of two seconds. The critical path: the network and its rules,
/// the routes, the subnet; the machines, fifteen at a time; the targets and the balancer.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a figure"]
async fn figures_forty_machines() {
    let (folder, cloud) = (tempfile::tempdir().unwrap(), Cloud::start().await);
    let operation = Duration::from_secs(2);
    cloud.delay(operation);
    let begun = Instant::now();
    apply(folder.path(), &cloud, &many(40, "ENDPOINT", "KEY")).await;
    let path = operation * (4 + 40_u32.div_ceil(15) + 2);
    let wall = begun.elapsed();
    let share = wall.as_secs_f64() / path.as_secs_f64();
    println!(
        "40 machines, network and balancer at {operation:?} an operation: {wall:.2?}, {share:.2} of the critical path"
    );
}

/// `infra plan` where a thousand machines exist already: the program itself, with its peak of memory.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a figure"]
async fn figures_a_plan_of_a_thousand_machines() {
    let (sandbox, cloud) = (Sandbox::new(), Cloud::start().await);
    let key = repository().join("tests/golden/yandex/authorized-key.json");
    let file = many(1000, &cloud.endpoint(), &key.display().to_string());
    apply(&sandbox.path("."), &cloud, &file).await;
    // The command line names the project after its folder.
    let project = std::fs::canonicalize(sandbox.path(".")).unwrap().display().to_string();
    let label = identity::hex(&Sha256::digest(project)[..10]);
    cloud.edit_all(|object| {
        if object["labels"]["infra-project"].is_string() {
            object["labels"]["infra-project"] = label.as_str().into();
        }
    });
    let sandbox = sandbox.file("envs/dev/config.yaml", &file);
    let begun = Instant::now();
    let mut child = sandbox.command(&["plan", "dev"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut peak = 0_u64;
    while child.try_wait().unwrap().is_none() {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes = line.and_then(|text| text.trim().trim_end_matches(" kB").parse::<u64>().ok());
        peak = peak.max(kilobytes.unwrap_or(0));
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let wall = begun.elapsed();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("resources: nothing to do"), "{text} {}", String::from_utf8_lossy(&output.stderr));
    println!("a plan of 1,000 machines that exist: {wall:.2?}, {} MB", peak / 1024);
}
