//! The figures of the clouds: how long, how much memory. Those of real time are printed, never asserted: `make bench` runs them,
//! built for release.

use std::{
    process::Stdio,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use infra::{
    apply::Tally,
    cloud::yandex::noticed,
    config::Environment,
    event::Events,
    name::Name,
    provider::{
        Provider as _,
        fake::{Call, Fake, Hook},
    },
    state::{Backend, Lease, LocalBackend, Term, look},
};
use tokio::sync::Semaphore;

use crate::{
    support::{
        Sandbox,
        commands::{PROJECT, command, environment},
        repository,
        yandex::{Cloud, FOLDER},
    },
    yandex::{apply, load},
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

/// Forty machines, their network and a balancer, with operations of 1.1 s, and of 2.2 s for machines. The critical path: the
/// network and its rules, the routes, the subnet; the machines, fifteen at a time. The two that are balanced come first, and their
/// targets and the balancer meanwhile.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a figure"]
async fn figures_forty_machines() {
    let (folder, cloud) = (tempfile::tempdir().unwrap(), Cloud::start().await);
    let operation = Duration::from_millis(1100);
    cloud.answers_in_its_own_time(operation);
    cloud.limit("compute.instances.count", 100);
    let begun = Instant::now();
    apply(folder.path(), &cloud, &many(40, "ENDPOINT", "KEY")).await;
    let path = operation * (4 + 2 * 40_u32.div_ceil(15));
    let wall = begun.elapsed();
    let share = wall.as_secs_f64() / path.as_secs_f64();
    println!(
        "40 machines, network and balancer at {operation:?} an operation, {:?} for machines: {wall:.2?}, {share:.2} of the \
         critical path, {} requests",
        operation * 2,
        cloud.calls().len(),
    );
}

/// The same in a time of its own, where calls take as long as they are made to take: what makes an apply longer than its critical
/// path is the order of the calls, and how late the end of an operation is noticed.
#[tokio::test(start_paused = true)]
async fn figures_forty_machines_take_little_more_than_the_critical_path() {
    let (folder, cloud) = (tempfile::tempdir().unwrap(), Cloud::start().await);
    let (environment, layout) = load(folder.path(), &cloud, &many(40, "ENDPOINT", "KEY"));
    let environment = Environment { resources: layout.resources(&environment), ..environment };
    let (operation, turns) = (Duration::from_millis(1100), Arc::new(Semaphore::new(15)));
    let (begun, ends) = (tokio::time::Instant::now(), Arc::new(Mutex::new(Vec::new())));
    let ended = Arc::clone(&ends);
    let hook: Hook = Arc::new(move |call: Call| {
        let (turns, ended) = (Arc::clone(&turns), Arc::clone(&ended));
        Box::pin(async move {
            if !call.done && call.verb == "create" {
                let is_machine = call.subject.starts_with("vm.");
                let _turn = if is_machine { turns.acquire_owned().await.ok() } else { None };
                tokio::time::sleep(noticed(if is_machine { operation * 2 } else { operation })).await;
                ended.lock().unwrap().push((call.subject, begun.elapsed()));
            }
            Ok(())
        })
    });
    let fake = Arc::new(Fake::default().with_concurrency(layout.concurrency()).with_hook(hook));
    let tally = command(folder.path(), &environment, &fake, false).await.unwrap();
    assert_eq!(tally.created, environment.resources.len());
    // The network, the routes, the subnet; then the machines, fifteen at a time. What stands before them comes meanwhile.
    let path = operation * (3 + 2 * 40_u32.div_ceil(15));
    let share = begun.elapsed().as_secs_f64() / path.as_secs_f64();
    assert!((1.0..=1.1).contains(&share), "{share:.2} of the critical path: {:?}", ends.lock().unwrap());
}

/// `infra plan` where a thousand machines exist already: the program itself, with its peak of memory.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a figure"]
async fn figures_a_plan_of_a_thousand_machines() {
    let (sandbox, cloud) = (Sandbox::new(), Cloud::start().await);
    let key = repository().join("tests/golden/yandex/authorized-key.json");
    let file = many(1000, &cloud.endpoint(), &key.display().to_string());
    apply(&sandbox.path("."), &cloud, &file).await;
    let sandbox = sandbox.file("envs/dev/config.yaml", &file).file(infra::project::FILE, PROJECT);
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

/// A file with this many machines in ten subnets.
fn plain(machines: usize) -> String {
    let mut text = String::from("network: {subnets: {");
    for subnet in 0..10 {
        text += &format!("s{subnet}: {{v4_cidr_blocks: [10.{subnet}.0.0/16]}}, ");
    }
    text += "}}\ninstances:\n";
    for number in 0..machines {
        text += &format!("  m{number}: {{network: {{subnet: s{}}}}}\n", number % 10);
    }
    text
}

/// The largest resident set of this process so far, in MB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}

/// A plan of three thousand resources that are as they should be: state from the disk, list, plan, nothing to do.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a figure"]
async fn figures_a_plan_of_three_thousand_resources() {
    let folder = tempfile::tempdir().unwrap();
    let environment = environment(folder.path(), &plain(2990));
    let cloud = Arc::new(Fake::default().with_concurrency(500));
    command(folder.path(), &environment, &cloud, false).await.unwrap();
    let begun = Instant::now();
    let tally = command(folder.path(), &environment, &cloud, false).await.unwrap();
    assert_eq!(tally, Tally::default());
    println!("a plan of 3,000 resources with no change: {:.2?}, {} MB with the cloud itself", begun.elapsed(), peak());
}

/// An apply of a thousand resources at 50 ms a call, fifty at a time: how much longer than the calls themselves.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a figure"]
async fn figures_an_apply_of_a_thousand_resources() {
    let folder = tempfile::tempdir().unwrap();
    let environment = environment(folder.path(), &plain(990));
    let call = Duration::from_millis(50);
    let hook: Hook = Arc::new(move |one: Call| {
        Box::pin(async move {
            if !one.done && one.verb != "list" {
                // A timer fires at the first whole millisecond after its time, which is half of one late on average.
                tokio::time::sleep(Duration::from_micros(49_500)).await;
            }
            Ok(())
        })
    });
    let cloud = Arc::new(Fake::default().with_concurrency(50).with_hook(hook));
    let begun = Instant::now();
    let tally = command(folder.path(), &environment, &cloud, false).await.unwrap();
    assert_eq!(tally.created, 1000);
    // The subnets, then the machines, fifty at a time.
    let bound = call + call * 990_u32.div_ceil(50);
    let wall = begun.elapsed();
    println!(
        "an apply of 1,000 resources at {call:?} a call: {wall:.2?}, {:.2} of the bound of {bound:?}",
        wall.as_secs_f64() / bound.as_secs_f64()
    );
}

/// How long one who waits waits after a lease was given back.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a figure"]
async fn figures_the_hand_over_of_a_lease() {
    let folder = tempfile::tempdir().unwrap();
    let backend: Arc<dyn Backend> = Arc::new(LocalBackend::new(folder.path().join(".infra")));
    let name: Name = "dev".parse().unwrap();
    let acquire = |backend: Arc<dyn Backend>, name: Name| async move {
        let wait = Duration::from_mins(1);
        Lease::acquire(&backend, &name, "figures", wait, Term::default(), &Events::ignored()).await.unwrap()
    };
    let mut longest = Duration::ZERO;
    for _ in 0..20 {
        let held = acquire(Arc::clone(&backend), name.clone()).await;
        let waiter = tokio::spawn(acquire(Arc::clone(&backend), name.clone()));
        while look(backend.as_ref(), &name).await.unwrap().queue.is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let begun = Instant::now();
        held.release().await;
        let next = waiter.await.unwrap();
        longest = longest.max(begun.elapsed());
        next.release().await;
    }
    println!("a lease changes hands within {longest:.2?}");
}
