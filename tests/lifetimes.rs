//! Environments that live for a while: who is swept away, and who never is.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Stdio,
    sync::Arc,
    time::Instant,
};

use infra::{
    apply::sweep,
    clock::Clock,
    config::Environment,
    event::Events,
    name::Name,
    plan::{Action, DataPolicy, Listed},
    provider::{Driver, Object, Owner, Provider, Request, fake::Fake},
    resource::{Address, Policy, Resource, Terms},
    state::{State, Vault},
};
use jiff::Timestamp;
use proptest::{collection::vec, prelude::*, sample::select};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::{
    e2e::{Dev, eventually, left},
    support::commands::environment,
};

const NOW: i64 = 1_800_000_000;

/// An object of the random clouds: whose it is, what it is, and what its labels say.
#[derive(Clone, Debug)]
struct Seed {
    environment: &'static str,
    project: &'static str,
    address: &'static str,
    /// Seconds from now.
    expires: Option<i64>,
    protect: bool,
}

fn seeds() -> impl Strategy<Value = Vec<Seed>> {
    let addresses = ["network.main", "subnet.a", "vm.app-1", "vm.app-2", "disk.db-data", "service_account.robots"];
    let seed = (
        select(vec!["dev", "pr-1", "pr-2"]),
        select(vec!["/one", "/two"]),
        select(addresses.to_vec()),
        proptest::option::of(-100_000_i64..100_000),
        proptest::bool::weighted(0.1),
    );
    vec(seed, 0..25).prop_map(|seeds| {
        let seeds = seeds.into_iter().map(|(environment, project, address, expires, protect)| Seed {
            environment,
            project,
            address,
            expires,
            protect,
        });
        // Clouds keep names apart: one object of an address in each environment.
        seeds.map(|seed| ((seed.environment, seed.address), seed)).collect::<BTreeMap<_, _>>().into_values().collect()
    })
}

async fn cloud(seeds: &[Seed]) -> Arc<Fake> {
    let cloud = Arc::new(Fake::default());
    for (number, seed) in seeds.iter().enumerate() {
        let environment: Name = seed.environment.parse().unwrap();
        let address: Address = seed.address.parse().unwrap();
        let resource = Resource {
            address,
            spec: serde_json::Map::new(),
            needs: Vec::new(),
            origin: String::new(),
            data: Vec::new(),
        };
        let terms = Terms {
            expires: seed.expires.map(|seconds| Timestamp::from_second(NOW + seconds).unwrap()),
            protect: seed.protect,
            ..Terms::default()
        };
        let boot = resource.address.kind.boots().then(|| infra::provider::Boot {
            authorized_keys: Vec::new(),
            host_key: infra::secret::Secret::new("key".to_owned()),
            host_key_public: String::new(),
        });
        let request = Request {
            environment: &environment,
            project: seed.project,
            token: &format!("token-{number}"),
            resource: &resource,
            needs: BTreeMap::new(),
            boot,
            terms: &terms,
            secrets: BTreeMap::new(),
            unset: BTreeSet::new(),
        };
        cloud.create(&request).await.unwrap();
    }
    cloud
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Of any set of objects, those go whose environment has no younger and no protected object, and no others. The oracle
    /// asks each object for itself.
    #[test]
    fn only_what_has_expired_as_a_whole_is_swept(seeds in seeds()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let cloud = cloud(&seeds).await;
            let now = Timestamp::from_second(NOW).unwrap();
            let objects = cloud.labelled(None).await.unwrap();
            let stays = |object: &Object| {
                let same = |seed: &&Seed| seed.environment == object.environment && seed.project == object.project;
                let own: Vec<&Seed> = seeds.iter().filter(same).collect();
                let younger = own.iter().any(|seed| seed.expires.is_some_and(|expires| expires > 0));
                let dated = own.iter().any(|seed| seed.expires.is_some());
                younger || !dated || own.iter().any(|seed| seed.protect)
            };
            let mut expected: Vec<String> =
                objects.iter().filter(|object| stays(object)).map(|object| object.id.clone()).collect();
            expected.sort();
            for listed in Listed::of(objects).into_iter().filter(|listed| listed.has_expired(now)) {
                let changes = listed.removal(Policy::default()).unwrap();
                prop_assert!(changes.iter().all(|change| change.action == Action::Delete));
                let ids: Vec<&str> =
                    changes.iter().map(|change| change.object.as_ref().unwrap().id.as_str()).collect();
                for id in ids {
                    Driver::delete(cloud.as_ref(), id).await.unwrap();
                }
            }
            let mut left: Vec<String> = cloud.objects().into_iter().map(|object| object.id).collect();
            left.sort();
            prop_assert_eq!(left, expected);
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn a_sweep_removes_an_environment_and_proves_it() {
    let seed = |environment, address, expires| Seed { environment, project: "/one", address, expires, protect: false };
    let seeds =
        [seed("pr-1", "network.main", Some(-5)), seed("pr-1", "vm.app-1", Some(-5)), seed("pr-2", "vm.app-1", Some(5))];
    let cloud = cloud(&seeds).await;
    let listed = Listed::of(cloud.objects());
    let expired: Vec<&Listed> =
        listed.iter().filter(|listed| listed.has_expired(Timestamp::from_second(NOW).unwrap())).collect();
    assert_eq!(expired.len(), 1);
    let changes = expired[0].removal(Policy::default()).unwrap();
    let owner = Owner { environment: "pr-1".parse().unwrap(), project: "/one".into() };
    let (events, cancel) = (Events::ignored(), CancellationToken::new());
    let stopped = CancellationToken::new();
    stopped.cancel();
    let swept = sweep(cloud.as_ref(), &owner, &changes, DataPolicy::Lose, None, &events, &stopped).await;
    assert!(swept.removed.is_empty() && swept.ended.unwrap_err().to_string().contains("asked to stop"));
    assert_eq!(cloud.objects().len(), 3);
    let swept = sweep(cloud.as_ref(), &owner, &changes, DataPolicy::Lose, None, &events, &cancel).await;
    swept.ended.unwrap();
    assert_eq!(swept.removed.len(), 2);
    assert_eq!(cloud.objects().len(), 1);
    let deletes: Vec<String> =
        cloud.calls().into_iter().filter(|call| call.verb == "delete").map(|call| call.subject).collect();
    assert_eq!(deletes, ["vm.app-1", "network.main"], "what stands highest goes first");
}

#[tokio::test(flavor = "multi_thread")]
async fn e2e_an_environment_expires_and_is_swept_without_its_state() {
    let dev = Dev::small("expiring");
    let template = dev.name.clone();
    let child = format!("{template}-pr");
    let run = |arguments: &[&str], code: i32| dev.sandbox.run(arguments, code);
    let listed = |name: &str| -> Value {
        let all: Value = serde_json::from_str(&run(&["ls", "--json"], 0).out).unwrap();
        let found = all.as_array().unwrap().iter().find(|line| line["environment"] == name);
        found.unwrap_or_else(|| panic!("`{name}` is not in {all}")).clone()
    };
    let made = run(&["apply", &template, "--name", &child, "--ttl", "1h", "--yes"], 0);
    assert!(made.err.contains("4 created"), "{}", made.err);
    let line = listed(&child);
    assert_eq!(line["template"], template.as_str());
    assert!((3300..=3600).contains(&line["seconds_left"].as_i64().unwrap()), "{line}");
    assert_eq!(line["hosts"], serde_json::json!(["a", "b"]));
    assert!(line["owner"].as_str().unwrap().contains('@'), "{line}");

    // It is named by its own name from now on, and given more time; what is young is left alone.
    assert!(run(&["extend", &child, "3h"], 0).out.contains("expires at"));
    assert!(listed(&child)["seconds_left"].as_i64().unwrap() > 10_000);
    assert!(!run(&["gc", "--provider", "docker"], 0).err.contains(&child));
    let again = run(&["apply", &child, "--yes"], 0);
    assert!(again.err.contains("0 created, 0 changed, 0 destroyed"), "{}", again.err);
    assert!(listed(&child)["seconds_left"].as_i64().unwrap() > 10_000, "an apply changes no expiry by itself");

    // Its time is over, and its state is lost.
    let _ = run(&["apply", &child, "--yes", "--ttl", "1"], 0);
    eventually("its time is over", 10, || async { listed(&child)["seconds_left"].as_i64().unwrap() <= 0 }).await;
    std::fs::remove_dir_all(dev.sandbox.path(&format!(".infra/{child}"))).unwrap();
    let dry = run(&["gc", "--dry-run"], 0).err;
    assert!(dry.contains(&child) && dry.contains("5 objects"), "{dry}");
    assert_eq!(left(&child).await.len(), 5, "a dry run removes nothing");
    let swept = run(&["gc"], 0).err;
    assert!(swept.contains(&format!("`{child}` (project `")) && swept.contains("5 objects removed"), "{swept}");
    assert_eq!(left(&child).await, Vec::<String>::new());
}

#[test]
fn who_is_taken_over_from_a_pool_keeps_its_authority() {
    let folder = tempfile::tempdir().unwrap();
    let file = "nginx: {front: {nodes: 1, upstreams: {}, locations: {}}}\n";
    let member = environment(folder.path(), file);
    let mut vault = Vault::default();
    let state = State::nothing(&member);
    infra::configure::prepare_certificates(&member, &state, &mut vault, Clock::System).unwrap();
    let before = vault.clone();
    let claimed = Environment { name: "pr-1".parse().unwrap(), ..member.clone() };
    let state = State { labelled: Some(member.name), ..State::nothing(&claimed) };
    infra::configure::prepare_certificates(&claimed, &state, &mut vault, Clock::System).unwrap();
    assert!(vault.same_as(&before), "the fronts' certificates are signed by it");
}

/// A template of one machine with something to configure.
fn template(suffix: &str, more: &str) -> Dev {
    let dev = Dev::with_file(
        suffix,
        &format!(
            "{more}instances:\n  a: {{network: {{nat: true}}, resources: {{memory: 128M}}}}\nplaybooks: [site.yml]\n\
             outputs: {{name: '{{{{ env.name }}}}'}}\n"
        ),
    );
    let play = "- hosts: all\n  become: true\n  tasks:\n    - copy: {content: '{{ env.name }}', dest: /etc/name}\n    \
                - copy: {content: x, dest: /etc/other}\n    - apt: {name: rsync, update_cache: true}\n";
    dev.sandbox.write(&format!("envs/{}/site.yml", dev.name), play);
    dev
}

/// The environments of a template, as `infra ls` tells of them.
fn listed(dev: &Dev) -> Vec<Value> {
    let all: Vec<Value> = serde_json::from_str(&dev.sandbox.run(&["ls", "--json"], 0).out).unwrap();
    all.into_iter().filter(|line| line["template"] == dev.name.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn e2e_a_pool_is_filled_and_each_member_is_handed_out_once() {
    let dev = template("pool", "pool: {min: 2}\nttl: 1h\n");
    let run = |arguments: &[&str], code: i32| dev.sandbox.run(arguments, code);
    let begun = Instant::now();
    let filled = run(&["pool", "fill", &dev.name], 0).err;
    let cold = begun.elapsed() / 2;
    assert!(filled.contains("2 made, 0 removed, 2 are ready"), "{filled}");
    assert!(run(&["pool", "fill", &dev.name], 0).err.contains("0 made, 0 removed, 2 are ready"));
    assert!(listed(&dev).iter().all(|line| line["in_pool"] == true && line["expires"].is_null()));

    // Five want one at the same moment; there are two.
    let names: Vec<String> = (1..=5).map(|number| format!("{}-{number}", dev.name)).collect();
    let start = |name: &String| {
        let mut command = dev.sandbox.command(&["apply", &dev.name, "--name", name, "--yes"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let children: Vec<_> = names.iter().map(start).collect();
    let mut taken = Vec::new();
    for child in children {
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        taken.extend(said.lines().filter(|line| line.contains("is taken over from the pool")).map(str::to_owned));
    }
    taken.sort();
    taken.dedup();
    assert_eq!(taken.len(), 2, "{taken:?}");
    let lines = listed(&dev);
    assert!(lines.len() == 5 && lines.iter().all(|line| line["in_pool"] == false), "{lines:?}");
    assert!(
        lines.iter().all(|line| line["seconds_left"].as_i64().unwrap() > 3000),
        "the time of each has begun: {lines:?}"
    );
    for name in &names {
        // Each is itself, with keys of its own.
        assert_eq!(run(&["ssh", name, "a", "--", "cat /etc/name"], 0).out, *name);
        assert_eq!(run(&["output", name, "name"], 0).out.trim(), name);
    }

    // Taking one over runs what is still to be done, and nothing else.
    run(&["pool", "fill", &dev.name], 0).silent();
    let begun = Instant::now();
    let name = format!("{}-quick", dev.name);
    let quick = run(&["apply", &dev.name, "--name", &name, "--yes"], 0);
    println!("cold {cold:?}, from the pool {:?}", begun.elapsed());
    assert!(quick.err.contains("resources: 0 created, 0 changed, 0 destroyed"), "{}", quick.err);
    assert_eq!(crate::e2e::changed(&quick), [("a".to_owned(), 1)], "{}", quick.err);

    // Other files are another environment: what is ready is not what is wanted.
    dev.edit("config.yaml", "memory: 128M", "memory: 192M");
    let other = format!("{}-other", dev.name);
    assert!(!run(&["apply", &dev.name, "--name", &other, "--yes"], 0).err.contains("taken over"));
    assert!(run(&["pool", "fill", &dev.name], 0).err.contains("2 made, 1 removed, 2 are ready"));
    assert!(run(&["pool", "drain", &dev.name], 0).err.contains("0 made, 2 removed"));
    for name in names.iter().chain([&name, &other]) {
        run(&["destroy", name, "--yes"], 0).silent();
    }
    assert_eq!(listed(&dev), Vec::<Value>::new());
}

/// The largest resident set that a process had, in kB, as its last line in `/proc` told; it is asked until it ends.
fn peak(child: &mut std::process::Child) -> u64 {
    let path = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        peak = line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0).max(peak);
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    peak
}

/// Starts this many applies of a two-machine template at once, and looks at what came of them.
async fn many_at_once(count: usize) -> (std::time::Duration, u64) {
    let dev = Dev::with_file(
        "many",
        "instances:\n  a: {network: {nat: true}, resources: {cores: 1, memory: 64M}}\n  \
         b: {resources: {cores: 1, memory: 64M}}\n",
    );
    let names: Vec<String> = (1..=count).map(|number| format!("{}-{number}", dev.name)).collect();
    let begun = Instant::now();
    let logs = dev.sandbox.path("logs");
    std::fs::create_dir_all(&logs).unwrap();
    let watchers: Vec<_> = names
        .iter()
        .map(|name| {
            let mut command = dev.sandbox.command(&["apply", &dev.name, "--name", name, "--yes"]);
            let log = std::fs::File::create(logs.join(name)).unwrap();
            let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap();
            std::thread::spawn(move || {
                let peak = peak(&mut child);
                (child.wait().unwrap().success(), peak)
            })
        })
        .collect();
    let mut most = 0;
    for (name, watcher) in names.iter().zip(watchers) {
        let (success, peak) = tokio::task::spawn_blocking(move || watcher.join().unwrap()).await.unwrap();
        assert!(success, "{name}: {}", std::fs::read_to_string(logs.join(name)).unwrap());
        most = most.max(peak);
    }
    let took = begun.elapsed();
    // Nothing of one is visible in another: ranges, ports and keys are its own.
    let (mut ranges, mut ports, mut keys) = (Vec::new(), Vec::new(), Vec::new());
    for name in &names {
        let state = std::fs::read_to_string(dev.sandbox.path(&format!(".infra/{name}/state.json"))).unwrap();
        let state: Value = serde_json::from_str(&state).unwrap();
        ranges.push(state["resources"]["subnet.main"]["attributes"]["cidr"].as_str().unwrap().to_owned());
        ports.push(state["resources"]["vm.a"]["attributes"]["ports"]["22"].to_string());
        keys.push(state["secrets"].as_str().unwrap().to_owned());
        assert_eq!(left(name).await.len(), 3, "{name}");
    }
    for list in [&mut ranges, &mut ports, &mut keys] {
        list.sort();
        list.dedup();
        assert_eq!(list.len(), count, "{list:?}");
    }
    let inside = dev.sandbox.run(&["ssh", &names[0], "b", "--", "ip -4 -brief address show scope global"], 0).out;
    assert_eq!(inside.lines().count(), 1, "a machine is in the network of its environment only: {inside}");
    let mut destroys: Vec<_> = names
        .iter()
        .map(|name| {
            let mut command = dev.sandbox.command(&["destroy", name, "--yes"]);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
        })
        .collect();
    for destroy in &mut destroys {
        assert!(destroy.wait().unwrap().success());
    }
    for name in &names {
        assert_eq!(left(name).await, Vec::<String>::new());
    }
    (took, most)
}

#[tokio::test(flavor = "multi_thread")]
async fn e2e_twenty_applies_at_once_all_succeed() {
    let (took, most) = many_at_once(20).await;
    println!("20 environments at once: {took:?}, {} MB at most in a process", most / 1024);
    assert!(most < 60 * 1024, "{most} kB in one process");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a hundred machines: run it by itself, `cargo test fifty -- --ignored`"]
async fn e2e_fifty_environments_live_at_once() {
    let (took, most) = many_at_once(50).await;
    println!("50 environments at once: {took:?}, {} MB at most in a process", most / 1024);
    assert!(most < 60 * 1024, "{most} kB in one process");
}
