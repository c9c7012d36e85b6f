//! Backends of states: the same tests on all of them. The bucket is moto's; the database is one that the program itself has
//! set up on a machine of its own.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use infra::{
    clock::Clock,
    config::{PostgresSettings, S3Settings, StateSettings},
    event::Events,
    name::Name,
    resource::Terms,
    state::{
        Backend, Expect, HistoryEntry, Intent, Lease, LocalBackend, PostgresBackend, State, Store, Term, is_readable,
        look, unlock,
    },
};
use tokio::task::JoinSet;

use crate::{
    e2e::Dev,
    support::{
        bucket::{Bucket, Store as Conditions},
        moto::{Moto, REGION},
    },
};

/// Leases that end while a test waits.
const SHORT: Term = Term { lease: Duration::from_secs(5), heartbeat: Duration::from_millis(500) };
/// Longer than anything here takes.
const PATIENT: Duration = Duration::from_mins(1);

fn state(name: &Name) -> State {
    let intent = Intent { token: "t".into(), spec: serde_json::Map::new(), needs: Vec::new() };
    State {
        provider: "fake".into(),
        folder: "envs/dev".into(),
        terms: Terms { owner: "Ännchen".into(), ..Terms::default() },
        serial: 1,
        pending: BTreeMap::from([("vm.a".parse().unwrap(), intent)]),
        ..State::of_name(name.clone())
    }
}

fn store(backend: &Arc<dyn Backend>, project: &Path, name: &str) -> Store {
    Store::over(Arc::clone(backend), project, &name.parse().unwrap(), &StateSettings::default()).with_term(SHORT)
}

async fn conforms(backend: Arc<dyn Backend>) {
    backend.probe().await.unwrap();
    conditions(backend.as_ref()).await;
    let folder = tempfile::tempdir().unwrap();
    let project = folder.path();
    // Each has environments of its own. Most of them wait for a lease to run out, which they do side by side.
    Box::pin(async {
        tokio::join!(
            nothing_is_lost_when_many_write(&backend),
            states_and_history(&backend, project),
            first_come_first_served(&backend),
            the_dead_are_not_waited_for(&backend),
            the_beat_decides_and_no_clock(&backend),
            late_writes_are_refused(&backend, project),
            the_fence_moves_wherever_a_state_comes_from(&backend, project),
            what_another_has_taken_is_left_alone(&backend, project),
            what_is_empty_or_garbled_is_said(&backend, project),
        );
    })
    .await;
}

/// A write happens when what is there is what is expected, and only then.
async fn conditions(backend: &dyn Backend) {
    let key = "conditions/state.json";
    assert_eq!(backend.get(key).await.unwrap(), None);
    let first = backend.put(key, "one ü", &Expect::Absent).await.unwrap().unwrap();
    assert_eq!(backend.get(key).await.unwrap(), Some(("one ü".to_owned(), first.clone())));
    assert_eq!(backend.put(key, "two", &Expect::Absent).await.unwrap(), None);
    let second = backend.put(key, "two", &Expect::Tag(first.clone())).await.unwrap().unwrap();
    assert_ne!(first, second);
    assert_eq!(backend.put(key, "three", &Expect::Tag(first.clone())).await.unwrap(), None);
    assert!(!backend.delete(key, &first).await.unwrap());
    assert_eq!(backend.get(key).await.unwrap().unwrap().0, "two");
    assert!(backend.list("state.json").await.unwrap().contains(&key.to_owned()));
    assert!(backend.delete(key, &second).await.unwrap());
    assert_eq!(backend.get(key).await.unwrap(), None);
    assert_eq!(backend.put(key, "late", &Expect::Tag(second.clone())).await.unwrap(), None);
    assert!(!backend.delete(key, &second).await.unwrap());
    assert!(!backend.list("state.json").await.unwrap().contains(&key.to_owned()));
}

async fn nothing_is_lost_when_many_write(backend: &Arc<dyn Backend>) {
    let (writers, times, key) = (6, 5, "counter/state.json");
    let mut tasks = JoinSet::new();
    for _ in 0..writers {
        let backend = Arc::clone(backend);
        tasks.spawn(async move {
            for _ in 0..times {
                loop {
                    let (count, expect) = match backend.get(key).await.unwrap() {
                        Some((text, tag)) => (text.parse::<usize>().unwrap(), Expect::Tag(tag)),
                        None => (0, Expect::Absent),
                    };
                    if backend.put(key, &(count + 1).to_string(), &expect).await.unwrap().is_some() {
                        break;
                    }
                }
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    assert_eq!(backend.get(key).await.unwrap().unwrap().0, (writers * times).to_string());
}

async fn states_and_history(backend: &Arc<dyn Backend>, project: &Path) {
    let store = store(backend, project, "kept");
    let state = state(&"kept".parse().unwrap());
    assert!(store.read().await.unwrap().is_none());
    store.write(&state).await.unwrap();
    store.write(&State { serial: 2, ..state.clone() }).await.unwrap();
    let read = self::store(backend, project, "kept").read().await.unwrap().unwrap();
    assert_eq!(read, State { serial: 2, ..state });
    assert!(Store::list(backend.as_ref()).await.unwrap().contains(&"kept".parse().unwrap()));
    let mut tasks = JoinSet::new();
    for number in 0..5 {
        let store = self::store(backend, project, "kept");
        tasks.spawn(async move {
            store
                .remember(&HistoryEntry::begin("apply", Path::new("/"), &number.to_string(), Vec::new()))
                .await
                .unwrap();
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    let mut digests: Vec<String> = store.history().await.unwrap().into_iter().map(|entry| entry.digest).collect();
    digests.sort();
    assert_eq!(digests, ["0", "1", "2", "3", "4"]);
    store.remove().await.unwrap();
    assert!(self::store(backend, project, "kept").read().await.unwrap().is_none());
    assert_eq!(store.history().await.unwrap().len(), 5, "what was done outlives the environment");
}

async fn acquire(backend: &Arc<dyn Backend>, name: &str, what: &str, wait: Duration) -> infra::error::Result<Lease> {
    Lease::acquire(backend, &name.parse().unwrap(), what, wait, SHORT, &Events::ignored()).await
}

async fn first_come_first_served(backend: &Arc<dyn Backend>) {
    let name: Name = "queue".parse().unwrap();
    let first = acquire(backend, "queue", "first", Duration::ZERO).await.unwrap();
    let (order, mut tasks) = (Arc::new(std::sync::Mutex::new(Vec::new())), JoinSet::new());
    for number in 1..=3 {
        let (backend, order) = (Arc::clone(backend), Arc::clone(&order));
        let waiting = Arc::clone(&backend);
        tasks.spawn(async move {
            let lease = acquire(&waiting, "queue", &format!("waiter {number}"), PATIENT).await.unwrap();
            order.lock().unwrap().push((number, lease.fence()));
            lease.release().await;
        });
        // The next one comes when this one stands in the queue.
        let deadline = Instant::now() + PATIENT;
        while look(backend.as_ref(), &name).await.unwrap().queue.len() < number {
            assert!(Instant::now() < deadline, "waiter {number} does not stand in the queue");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    // Whoever does not want to wait is told for whom, and leaves no trace in the queue.
    let refused = acquire(backend, "queue", "hasty", Duration::ZERO).await.unwrap_err().to_string();
    assert!(refused.contains("is held by `first` of ") && refused.contains("and 3 more wait for it"), "{refused}");
    assert_eq!(look(backend.as_ref(), &name).await.unwrap().queue.len(), 3);
    let fence = first.fence();
    let begun = Instant::now();
    first.release().await;
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    println!("{}: three hand-overs in {:?}", backend.place(), begun.elapsed());
    let order = order.lock().unwrap().clone();
    assert_eq!(order, [(1, fence + 1), (2, fence + 2), (3, fence + 3)]);
}

async fn the_dead_are_not_waited_for(backend: &Arc<dyn Backend>) {
    // It is dropped, and its heart stands still, as when its machine is gone.
    drop(acquire(backend, "dead", "killed", Duration::ZERO).await.unwrap());
    let begun = Instant::now();
    let next = acquire(backend, "dead", "next", PATIENT).await.unwrap();
    let waited = begun.elapsed();
    assert!(waited >= SHORT.lease / 2 && waited < SHORT.lease * 4, "{waited:?}");
    // One that lives is waited for, however long that takes.
    let held = acquire(backend, "dead", "patient", SHORT.lease * 2).await.unwrap_err();
    assert!(held.to_string().contains("is held by `next`"), "{held}");
    assert!(!next.lost().is_cancelled());
    // Until someone who knows better takes it away.
    let taken = unlock(backend.as_ref(), &"dead".parse().unwrap()).await.unwrap().unwrap();
    assert_eq!(taken.what, "next");
    tokio::time::timeout(PATIENT, next.lost().cancelled()).await.expect("the holder hears of it");
}

/// A holder elsewhere that renews its lease, with a clock that is behind or ahead: changes its document as its heart would.
async fn beats_elsewhere(backend: Arc<dyn Backend>, name: &'static str, clock: i64) {
    let key = format!("{name}/lease.json");
    loop {
        let (text, tag) = backend.get(&key).await.unwrap().unwrap();
        let mut book: serde_json::Value = serde_json::from_str(&text).unwrap();
        let beat = book["holder"]["beat"].as_u64().unwrap() + 1;
        book["holder"]["beat"] = beat.into();
        book["holder"]["renewed"] = at(clock);
        // Whoever joins the queue in the same moment is not overwritten.
        backend.put(&key, &book.to_string(), &Expect::Tag(tag)).await.unwrap();
        tokio::time::sleep(SHORT.heartbeat).await;
    }
}

fn at(seconds: i64) -> serde_json::Value {
    let time = Clock::System.now().checked_add(jiff::SignedDuration::from_secs(seconds)).unwrap();
    serde_json::to_value(time).unwrap()
}

/// A lease that is held by a process elsewhere whose clock differs by so many seconds.
async fn held_elsewhere(backend: &Arc<dyn Backend>, name: &str, clock: i64) {
    let process = serde_json::json!({ "id": 1, "started": 1, "boot": "elsewhere", "namespace": "" });
    let holder = serde_json::json!({
        "id": name, "what": "infra apply", "who": "me@elsewhere", "process": process, "since": at(clock), "renewed": at(clock), "beat": 7,
    });
    let book = serde_json::json!({ "fence": 3, "holder": holder }).to_string();
    backend.put(&format!("{name}/lease.json"), &book, &Expect::Absent).await.unwrap().unwrap();
}

async fn the_beat_decides_and_no_clock(backend: &Arc<dyn Backend>) {
    for (name, clock) in [("behind", -90), ("ahead", 90)] {
        held_elsewhere(backend, name, clock).await;
        let heart = tokio::spawn(beats_elsewhere(Arc::clone(backend), name, clock));
        let refused = acquire(backend, name, "hasty", Duration::ZERO).await.unwrap_err().to_string();
        assert!(refused.contains("is held by `infra apply` of me@elsewhere"), "{refused}");
        heart.abort();
        let _ = heart.await;
        // It stops. Whoever does not want to wait still watches one that seems dead, and takes its place.
        let begun = Instant::now();
        acquire(backend, name, "next", Duration::ZERO).await.unwrap().release().await;
        assert!(begun.elapsed() >= SHORT.lease, "{:?}", begun.elapsed());
    }
}

async fn the_fence_moves_wherever_a_state_comes_from(backend: &Arc<dyn Backend>, project: &Path) {
    // As after a move from another backend: the lease begins again, and the state has a number of its own.
    let state = State { fence: 50, ..state(&"came".parse().unwrap()) };
    store(backend, project, "came").write(&state).await.unwrap();
    let (paused, next) = (store(backend, project, "came"), store(backend, project, "came"));
    let mut fences = Vec::new();
    let (lease, _) = paused.lease("paused", Duration::ZERO, &Events::ignored()).await.unwrap();
    fences.push(paused.read().await.unwrap().unwrap().fence);
    unlock(backend.as_ref(), &"came".parse().unwrap()).await.unwrap();
    drop(lease);
    let (lease, _) = next.lease("next", PATIENT, &Events::ignored()).await.unwrap();
    assert!(paused.write(&state).await.unwrap_err().to_string().contains("has taken over"));
    fences.push(next.read().await.unwrap().unwrap().fence);
    next.write(&state).await.expect("the lawful holder writes");
    next.release(lease).await;
    assert_eq!(fences, [51, 52]);
}

async fn what_another_has_taken_is_left_alone(backend: &Arc<dyn Backend>, project: &Path) {
    for exists in [true, false] {
        let name = if exists { "taken" } else { "taken-new" };
        if exists {
            store(backend, project, name).write(&state(&name.parse().unwrap())).await.unwrap();
        }
        let (paused, next) = (store(backend, project, name), store(backend, project, name));
        let (lost, _) = paused.lease("paused", Duration::ZERO, &Events::ignored()).await.unwrap();
        paused.confirm().await.unwrap();
        unlock(backend.as_ref(), &name.parse().unwrap()).await.unwrap();
        assert!(paused.confirm().await.is_err(), "whoever lost the lease removes nothing");
        let (held, _) = next.lease("next", PATIENT, &Events::ignored()).await.unwrap();
        assert!(paused.confirm().await.unwrap_err().to_string().contains("has taken over"));
        if exists {
            assert!(paused.remove().await.unwrap_err().to_string().contains("has taken over"));
        }
        paused.release(lost).await;
        next.confirm().await.unwrap();
        next.write(&state(&name.parse().unwrap())).await.expect("its claim is still there");
        next.release(held).await;
        assert!(store(backend, project, name).read().await.unwrap().is_some());
    }
}

async fn what_is_empty_or_garbled_is_said(backend: &Arc<dyn Backend>, project: &Path) {
    let store = store(backend, project, "empty");
    backend.put("empty/state.json", "", &Expect::Absent).await.unwrap().unwrap();
    let error = store.read().await.unwrap_err();
    assert!(error.to_string().contains("it is empty") && !error.hints().is_empty(), "{error:?}");
    assert!(store.lease("any", Duration::ZERO, &Events::ignored()).await.is_err());
    assert_eq!(backend.get("empty/state.json").await.unwrap().unwrap().0, "", "nothing is written over it");

    for (name, text) in [("garbled", "{\"fence\": 7, \"hol"), ("emptied", "")] {
        backend.put(&format!("{name}/lease.json"), text, &Expect::Absent).await.unwrap().unwrap();
        let error = acquire(backend, name, "any", Duration::ZERO).await.unwrap_err();
        assert!(error.to_string().contains("cannot be read"), "{error}");
        assert!(error.hints().iter().any(|hint| hint.contains(&format!("infra state unlock {name}"))), "{error:?}");
        assert!(look(backend.as_ref(), &name.parse().unwrap()).await.is_err());
        assert!(!is_readable(backend.as_ref(), &name.parse().unwrap()).await.unwrap());
        assert_eq!(unlock(backend.as_ref(), &name.parse().unwrap()).await.unwrap(), None);
        acquire(backend, name, "any", Duration::ZERO).await.unwrap().release().await;
    }
}

async fn late_writes_are_refused(backend: &Arc<dyn Backend>, project: &Path) {
    for exists in [false, true] {
        let name = if exists { "fenced" } else { "fenced-new" };
        let state = state(&name.parse().unwrap());
        if exists {
            store(backend, project, name).write(&state).await.unwrap();
        }
        let (paused, next) = (store(backend, project, name), store(backend, project, name));
        let (lease, found) = paused.lease("paused", Duration::ZERO, &Events::ignored()).await.unwrap();
        assert_eq!(found.is_some(), exists);
        drop(lease);
        let (lease, found) = next.lease("next", PATIENT, &Events::ignored()).await.unwrap();
        assert_eq!(found.is_some(), exists);
        // It wakes up and goes on, before the new holder has written anything of its own.
        let refused = paused.write(&State { provider: "late".into(), ..state.clone() }).await.unwrap_err();
        assert!(refused.to_string().contains("has taken over"), "{refused}");
        next.write(&State { provider: "next".into(), ..state.clone() }).await.unwrap();
        assert!(paused.write(&state).await.is_err());
        let read = store(backend, project, name).read().await.unwrap().unwrap();
        assert_eq!((read.provider.as_str(), read.fence), ("next", lease.fence()));
        next.release(lease).await;
        assert!(store(backend, project, name).read().await.unwrap().is_some());
    }
    // A lease under which nothing was made leaves nothing behind.
    let idle = store(backend, project, "idle");
    let (lease, _) = idle.lease("idle", Duration::ZERO, &Events::ignored()).await.unwrap();
    idle.release(lease).await;
    assert_eq!(backend.get("idle/state.json").await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn state_in_files_conforms() {
    let folder = tempfile::tempdir().unwrap();
    conforms(Arc::new(LocalBackend::new(folder.path().join(".infra")))).await;
}

/// A bucket of moto.
pub(crate) async fn bucket(moto: &Moto, folder: &Path) -> S3Settings {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let credentials = folder.join("credentials");
    std::fs::write(&credentials, "[test]\naws_access_key_id = test\naws_secret_access_key = test\n").unwrap();
    let made = reqwest::Client::new().put(format!("{}/states", moto.direct())).send().await.unwrap();
    assert!(made.status().is_success(), "{made:?}");
    S3Settings {
        bucket: "states".into(),
        prefix: "team/infra".into(),
        region: Some(REGION.into()),
        endpoint: Some(moto.endpoint.clone()),
        profile: Some("test".into()),
        shared_credentials_file: Some(credentials),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn state_in_a_bucket_conforms() {
    let (folder, moto) = (tempfile::tempdir().unwrap(), Moto::start().await);
    let settings = bucket(&moto, folder.path()).await;
    conforms(Arc::new(infra::state::S3Backend::open(&settings).unwrap())).await;
    let missing = infra::state::S3Backend::open(&S3Settings { bucket: "other".into(), ..settings }).unwrap();
    let error = missing.get("a/state.json").await.unwrap_err();
    assert!(error.hints().iter().any(|hint| hint.contains("make the bucket first")), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn state_in_buckets_of_many_kinds_conforms() {
    for store in [Conditions::Strict, Conditions::Conflicts, Conditions::PlainRemovals] {
        let folder = tempfile::tempdir().unwrap();
        let bucket = Bucket::start(store, folder.path()).await;
        let backend = bucket.backend();
        backend.probe().await.unwrap_or_else(|error| panic!("{store:?}: {error}"));
        conditions(&backend).await;
        assert_eq!(bucket.objects(), BTreeMap::new(), "{store:?}: probes and removals leave nothing");
        // A removal that was interrupted half-way counts as one.
        let first = backend.put("half/state.json", "one", &Expect::Absent).await.unwrap().unwrap();
        bucket.put("team/half/state.json", "{\"removed\": true}");
        assert_eq!(backend.get("half/state.json").await.unwrap(), None);
        assert!(!backend.delete("half/state.json", &first).await.unwrap());
        assert!(backend.put("half/state.json", "two", &Expect::Absent).await.unwrap().is_some());
        assert_eq!(bucket.objects()["team/half/state.json"], "two");
    }
    let folder = tempfile::tempdir().unwrap();
    conforms(Arc::new(Bucket::start(Conditions::Strict, folder.path()).await.backend())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_ignores_conditions_is_refused() {
    for (store, says) in [
        (Conditions::IgnoresIfMatch, "it ignores `If-Match`"),
        (Conditions::IgnoresAll, "it ignores `If-None-Match: *`"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let bucket = Bucket::start(store, folder.path()).await;
        let error = bucket.backend().probe().await.unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
        assert_eq!(bucket.objects(), BTreeMap::new());
        let backend: Arc<dyn Backend> = Arc::new(bucket.backend());
        assert!(acquire(&backend, "dev", "any", Duration::ZERO).await.is_err(), "no lease is taken there");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn e2e_state_in_a_database_conforms() {
    let dev = Dev::with_file(
        "state",
        "postgres: {main: {resources: {memory: 512M}, users: {infra: }, databases: {infra: {owner: infra}}}}\nplaybooks: [site.yml]\n\
         outputs: {url: \"postgres://infra:{{ secret('postgres_main_infra') }}@{{ postgres.main.host }}:{{ postgres.main.port }}/infra?sslmode=disable\"}\n",
    );
    dev.apply();
    // The role lets in the machines of the environment only; this one comes from outside.
    dev.ssh(
        "postgres-main",
        "echo 'host all all all scram-sha-256' | sudo tee -a /etc/postgresql/15/main/pg_hba.conf && sudo systemctl reload postgresql",
    );
    let url = dev.output("url");
    conforms(Arc::new(PostgresBackend::open(&PostgresSettings { url, ca_file: None }).unwrap())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn e2e_state_is_looked_at_put_right_and_moved() {
    let moto = Moto::start().await;
    let dev = Dev::small("moved");
    let name = dev.name.clone();
    let bucket = bucket(&moto, dev.sandbox.folder.path()).await;
    let run = |arguments: &[&str], code: i32| dev.sandbox.run(arguments, code);
    dev.apply();
    let listed = run(&["state", "list", &name], 0).out;
    assert!(listed.contains("vm.a") && listed.contains("disk.b-data") && listed.lines().count() == 5, "{listed}");
    assert!(run(&["state", "show", &name, "vm.a"], 0).out.contains("\"memory_mb\": 128"));
    assert!(run(&["state", "show", &name, "vm.aa"], 2).err.contains("did you mean `vm.a`?"));

    // A machine under another name is the same machine.
    run(&["state", "mv", &name, "vm.a", "vm.z"], 0).silent();
    dev.edit("config.yaml", "  a: {", "  z: {");
    let plan = dev.run(&["plan"], 0).out;
    assert!(!plan.contains("vm.z") && !plan.contains("vm.a"), "{plan}");
    assert_eq!(dev.ssh("z", "echo here").trim(), "here");
    run(&["state", "mv", &name, "vm.z", "vm.a"], 0).silent();
    dev.edit("config.yaml", "  z: {", "  a: {");

    // What is forgotten is found by its label; a subnet has no keys that one would need.
    run(&["state", "rm", &name, "subnet.main", "--yes"], 0).silent();
    assert!(dev.run(&["plan"], 0).out.contains("= subnet.main"));
    assert!(dev.apply().err.contains("resources: 0 created, 0 changed, 0 destroyed"));

    // A machine whose keys are still known comes back by its id, or by its label; one that is gone is forgotten.
    let shown = run(&["state", "show", &name, "vm.b"], 0).out;
    let id = serde_json::from_str::<serde_json::Value>(&shown).unwrap()["id"].as_str().unwrap().to_owned();
    run(&["state", "rm", &name, "vm.b", "--yes"], 0).silent();
    assert!(dev.run(&["plan"], 0).out.contains("its keys are not known here"));
    assert!(dev.run(&["import", "vm.b", "nowhere"], 2).err.contains(&id), "the ids that there are, are named");
    dev.run(&["import", "vm.b", &id], 0).silent();
    run(&["state", "rm", &name, "vm.b", "disk.b-data", "--yes"], 0).silent();
    let scanned = dev.run(&["import", "--scan"], 0).err;
    assert!(scanned.contains("`vm.b` is in the state now") && scanned.contains("`disk.b-data`"), "{scanned}");
    assert!(dev.apply().err.contains("resources: 0 created, 0 changed, 0 destroyed"));
    crate::e2e::engine().remove_container(&id).await.unwrap();
    assert!(!dev.run(&["plan", "--refresh=false"], 0).out.contains("vm.b"), "the state believes in it still");
    assert!(dev.run(&["refresh"], 0).out.contains("- vm.b is gone"));
    assert!(dev.run(&["plan", "--refresh=false"], 0).out.contains("+ vm.b"));
    dev.apply();

    // To and fro: nothing is lost, and the secrets still open.
    let settings = |more: &str| format!("{more}\ninstances:");
    let s3 = format!(
        "state: {{s3: {{bucket: {}, prefix: p, region: {}, endpoint: '{}', profile: test, shared_credentials_file: {}}}}}",
        bucket.bucket,
        REGION,
        bucket.endpoint.as_ref().unwrap(),
        bucket.shared_credentials_file.as_ref().unwrap().display()
    );
    dev.edit("config.yaml", "instances:", &settings(&s3));
    let history = dev.run(&["history", "--json"], 0).out;
    let moved = run(&["state", "mv-backend", &name, "--from", "local"], 0).err;
    assert!(moved.contains("moved to s3://states/p: 4 resources"), "{moved}");
    assert!(!dev.sandbox.path(&format!(".infra/{name}/state.json")).exists());
    assert!(run(&["state", "mv-backend", &name, "--from", "local"], 2).err.contains("nothing is known"));
    assert_eq!(dev.run(&["history", "--json"], 0).out, history);
    assert_eq!(dev.ssh("b", "hostname").trim(), "b");
    assert!(dev.apply().err.contains("resources: 0 created, 0 changed, 0 destroyed"));
    // Another machine has neither the key nor a way to guess it.
    let key = dev.sandbox.path(".infra/key.txt");
    let kept = std::fs::read_to_string(&key).unwrap();
    std::fs::remove_file(&key).unwrap();
    let without = dev.run(&["plan"], 1).err;
    assert!(without.contains("is encrypted, and there is no key") && without.contains("INFRA_AGE_KEY"), "{without}");
    std::fs::write(&key, &kept).unwrap();
    let exported = kept.lines().last().unwrap().to_owned();

    // All of it encrypted, under a new key.
    dev.edit("config.yaml", "state: {s3", "state: {encrypt: all, s3");
    run(&["state", "rekey"], 0).silent();
    assert_ne!(std::fs::read_to_string(&key).unwrap(), kept);
    let raw = infra::state::S3Backend::open(&S3Settings { prefix: "p".into(), ..bucket }).unwrap();
    let (text, _) = raw.get(&format!("{name}/state.json")).await.unwrap().unwrap();
    assert!(text.contains("BEGIN AGE ENCRYPTED FILE") && !text.contains("vm.a"), "{text}");
    assert_eq!(dev.ssh("b", "hostname").trim(), "b");
    let mut old = dev.sandbox.command(&["plan", &name]);
    old.env("INFRA_AGE_KEY", exported);
    assert!(dev.sandbox.finish(old, &["plan"], 1).err.contains("cannot be decrypted with the key in `INFRA_AGE_KEY`"));

    // Out and in again; what is older is refused.
    let pulled = run(&["state", "pull", &name], 0).out;
    dev.sandbox.write("pulled.json", &pulled);
    dev.run(&["extend", "2h", "--shorten"], 0).silent();
    let older = run(&["state", "push", &name, "pulled.json"], 2).err;
    assert!(older.contains("what is there is newer"), "{older}");
    run(&["state", "push", &name, "pulled.json", "--force"], 0).silent();
    assert_eq!(dev.ssh("b", "hostname").trim(), "b");
    assert!(run(&["state", "unlock", &name], 0).err.contains("no one holds"));
    dev.run(&["destroy", "--yes"], 0).silent();
    assert_eq!(dev.left().await, Vec::<String>::new());
}

#[test]
fn a_state_that_cannot_be_used_is_told_of_and_kept() {
    let sandbox = crate::support::Sandbox::new().file("envs/dev/config.yaml", "instances: {a: {}}\n");
    let good = serde_json::to_string(&state(&"dev".parse().unwrap())).unwrap();
    let half = &good[..good.len() / 2];
    for (text, says, hint) in [
        (half, "cannot be read", ".previous"),
        ("{\"version\": 99}", "was written by a later version of infra", "use that version"),
        ("not json", "cannot be read", "infra state rm dev"),
    ] {
        sandbox.write(".infra/dev/state.json", text);
        for command in ["plan", "apply", "destroy"] {
            let said = sandbox.run(&[command, "dev"], 1).err;
            assert!(said.contains(says) && said.contains(hint), "{command}: {said}");
            assert_eq!(std::fs::read_to_string(sandbox.path(".infra/dev/state.json")).unwrap(), text);
        }
    }
    // What cannot be read can be put aside.
    sandbox.run(&["state", "rm", "dev", "--yes"], 0).silent();
    assert!(!sandbox.path(".infra/dev/state.json").exists());
    // A folder that cannot be written is told of before anything is done.
    std::fs::remove_dir_all(sandbox.path(".infra")).unwrap();
    sandbox.write(".infra", "a file where the folder should be");
    let said = sandbox.run(&["apply", "dev", "--yes"], 1).err;
    assert!(said.contains("cannot make `$PROJECT/.infra/dev`"), "{said}");
}

#[test]
fn a_key_is_not_replaced_when_a_state_may_be_overlooked() {
    let sandbox = crate::support::Sandbox::new()
        .file("envs/dev/config.yaml", "instances: {a: {}}\n")
        .file("envs/other/config.yaml", "state: {s33: {bucket: b}}\ninstances: {a: {}}\n");
    let keys = infra::state::Keys::of_project(sandbox.folder.path());
    let secrets = infra::state::Vault::default().seal(&keys).unwrap();
    let good = State { secrets, ..state(&"dev".parse().unwrap()) };
    sandbox.write(".infra/dev/state.json", &serde_json::to_string(&good).unwrap());
    let key = || std::fs::read_to_string(sandbox.path(".infra/key.txt")).unwrap();
    let before = key();
    let refused = sandbox.run(&["state", "rekey"], 2).err;
    assert!(
        refused.contains("envs/other") && refused.contains("s33") && refused.contains("nothing was changed"),
        "{refused}"
    );
    assert_eq!(key(), before);
    // One that cannot be parsed at all, and a state that is there and cannot be read.
    sandbox.write("envs/other/config.yaml", "state: {s3: [\n");
    sandbox.run(&["state", "rekey"], 2).silent();
    sandbox.write("envs/other/config.yaml", "instances: {a: {}}\n");
    sandbox.write(".infra/other/state.json", "");
    assert!(sandbox.run(&["state", "rekey"], 1).err.contains("it is empty"));
    assert_eq!(key(), before);
    // Nothing is overlooked: the key is replaced, and the one before it is kept.
    std::fs::remove_dir_all(sandbox.path(".infra/other")).unwrap();
    let said = sandbox.run(&["state", "rekey"], 0).err;
    assert!(said.contains("`dev`") && said.contains(".infra/key.txt.old"), "{said}");
    assert_ne!(key(), before);
    let old = before.lines().last().unwrap();
    assert!(!key().contains(old) && std::fs::read_to_string(sandbox.path(".infra/key.txt.old")).unwrap().contains(old));
    // A state of another branch is still decrypted.
    assert!(infra::state::Vault::open(&good.secrets, &keys, infra::secret::Redactor::default()).is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn e2e_without_the_key_an_environment_is_destroyed() {
    let dev = Dev::small("keyless");
    let key = dev.sandbox.path(".infra/key.txt");
    // Its secrets alone are encrypted: what there is to remove can be read.
    dev.apply();
    std::fs::remove_file(&key).unwrap();
    dev.run(&["apply", "--yes"], 1).silent();
    let destroyed = dev.run(&["destroy", "--yes"], 0).err;
    assert!(destroyed.contains("nothing of"), "{destroyed}");
    assert_eq!(dev.left().await, Vec::<String>::new());
    // All of it is encrypted: what there is to remove carries labels.
    dev.edit("config.yaml", "instances:", "state: {encrypt: all}\ninstances:");
    dev.apply();
    std::fs::remove_file(&key).unwrap();
    let refused = dev.run(&["destroy", "--yes"], 1).err;
    assert!(refused.contains("--by-label"), "{refused}");
    dev.edit("config.yaml", "instances:", "protect: true\ninstances:");
    assert!(dev.run(&["destroy", "--yes", "--by-label"], 2).err.contains("is protected"));
    dev.edit("config.yaml", "protect: true\n", "");
    let destroyed = dev.run(&["destroy", "--yes", "--by-label"], 0).err;
    assert!(destroyed.contains("4 objects removed") && destroyed.contains("its state is kept as"), "{destroyed}");
    assert_eq!(dev.left().await, Vec::<String>::new());
    assert!(!dev.sandbox.path(&format!(".infra/{}/state.json", dev.name)).exists());
    // One whose time is over, with a state that is broken.
    dev.edit("config.yaml", "state: {encrypt: all}\n", "");
    dev.run(&["apply", "--yes", "--ttl", "1s"], 0).silent();
    dev.sandbox.write(&format!(".infra/{}/state.json", dev.name), "{");
    let refused = dev.sandbox.run(&["gc", "--provider", "docker"], 1).err;
    assert!(refused.contains("gc --by-label"), "{refused}");
    dev.sandbox.run(&["gc", "--provider", "docker", "--by-label"], 0).silent();
    assert_eq!(dev.left().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn e2e_a_full_disk_loses_nothing() {
    let dev = Dev::small("full");
    dev.apply();
    dev.run(&["destroy", "--yes"], 0).silent();
    let mut stopped = 0;
    // Files cannot grow beyond this many blocks of 512 bytes: the state does not fit at its first write, or at a later one.
    for blocks in [0, 2, 6, 10, 14, 18] {
        let program = env!("CARGO_BIN_EXE_infra");
        let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec {program} apply {} --yes", dev.name);
        let mut command = std::process::Command::new("sh");
        command.args(["-c", &script]).current_dir(dev.sandbox.folder.path()).env("NO_COLOR", "1");
        let output = command.stdin(std::process::Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() {
            continue;
        }
        stopped += 1;
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("cannot write") && said.contains("File too large"), "{said}");
        if let Ok(text) = std::fs::read_to_string(dev.sandbox.path(&format!(".infra/{}/state.json", dev.name))) {
            serde_json::from_str::<serde_json::Value>(&text).expect("the state before is whole");
        }
        // With room again it goes on: nothing is made twice.
        dev.apply();
        assert_eq!(dev.left().await.len(), 4, "{blocks}");
        assert!(dev.apply().err.contains("resources: 0 created, 0 changed, 0 destroyed"));
        dev.run(&["destroy", "--yes"], 0).silent();
        assert_eq!(dev.left().await, Vec::<String>::new());
    }
    assert!(stopped >= 3, "the disk was full {stopped} times only");
}
