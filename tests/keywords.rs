//! The table of keywords, against what happens: `golden/keywords/<keyword>.yml` holds what a keyword does, and it must do that
//! in every place where the table says that it is done. A row without a case fails.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use infra::{
    configure::world,
    error::Result,
    event::Events,
    playbook::{
        Connections, Inventory, Loader, Options, Reach, SearchPath,
        keywords::{self, Place, Support},
        run,
    },
    remote::{Local, Output, Script, Source, Stream, Transport},
    template::{Authored, Engine},
    yaml,
};
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use crate::support::repository;

/// What happened, line by line.
type Trace = Arc<Mutex<Vec<String>>>;

/// This machine as a host, which notes as whom it is asked.
struct Noted {
    host: String,
    local: Local,
    trace: Trace,
}

#[async_trait]
impl Transport for Noted {
    async fn exec(&self, user: Option<&str>, scripts: &[Script]) -> Result<Vec<Output>> {
        self.trace.lock().unwrap().push(format!("exec on {} as {}", self.host, user.unwrap_or("the login")));
        self.local.exec(None, scripts).await
    }

    async fn pour(&self, _: Option<&str>, script: &Script, source: &mut Source<'_>) -> Result<Output> {
        self.local.pour(None, script, source).await
    }

    async fn dial(&self, host: &str, port: u16) -> Result<Box<dyn Stream>> {
        self.local.dial(host, port).await
    }
}

struct Fleet(Trace);

#[async_trait]
impl Connections for Fleet {
    async fn reach(&self, host: &str, reach: &Reach) -> Result<Arc<dyn Transport>> {
        let login = reach.login.as_deref().unwrap_or("the login");
        let port = reach.port.map(|port| format!(" at port {port}")).unwrap_or_default();
        self.0.lock().unwrap().push(format!("reach {host} as {login}{port}"));
        self.connect(host).await
    }

    async fn connect(&self, host: &str) -> Result<Arc<dyn Transport>> {
        if host == "gone" {
            return Err(infra::error::Error::new("no answer"));
        }
        Ok(Arc::new(Noted { host: host.to_owned(), local: Local::default(), trace: Arc::clone(&self.0) }))
    }
}

/// Runs a playbook in a folder on hosts that are this machine, and says what happened.
async fn play(folder: &Path, playbook: &Value, case: &Value) -> Result<String> {
    let text = playbook.to_string().replace("$DIR", &folder.display().to_string());
    std::fs::write(folder.join("play.yml"), text).unwrap();
    let engine = Engine::default();
    let loader = Arc::new(Loader::new(SearchPath::default(), engine.clone()));
    let plays = loader.playbooks(&[folder.join("play.yml")])?;
    let options = options(case);
    let mut hosts = texts(case, "hosts");
    if hosts.is_empty() {
        hosts.push("a".to_owned());
    }
    let mut groups: BTreeMap<String, Vec<String>> = [("all".to_owned(), hosts.clone())].into();
    for name in case["groups"].as_object().into_iter().flat_map(Map::keys) {
        groups.insert(name.clone(), texts(&case["groups"], name));
    }
    let vars = |name: &str| {
        let all = case[name].as_object().cloned().unwrap_or_default();
        all.into_iter()
            .map(|(name, vars)| (name, Authored::written(vars.as_object().unwrap().clone()).into()))
            .collect()
    };
    let (group_vars, host_vars) = (vars("group_vars"), vars("host_vars"));
    let inventory = Inventory { hosts, groups, group_vars, host_vars, ..Inventory::default() };
    let world = world(inventory, SearchPath::default(), &engine, options.check);
    let trace = Trace::default();
    let fleet = Arc::new(Fleet(Arc::clone(&trace)));
    let (events, mut seen) = Events::channel();
    let recap = run(world, loader, plays, fleet, options, &events, CancellationToken::new()).await?;
    drop(events);
    let mut lines = std::mem::take(&mut *trace.lock().unwrap());
    while let Ok(event) = seen.try_recv() {
        let event = serde_json::to_value(&event).unwrap();
        if event["event"] == "task_ended" {
            let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
            lines.push(format!("{}: {}: {}: {}", text("host"), text("task"), text("ended"), text("detail")));
            let diffs = event["diffs"].as_array().into_iter().flatten().filter_map(Value::as_str);
            lines.extend(diffs.map(|diff| format!("diff: {diff}")));
        }
    }
    for (host, tally) in &recap.hosts {
        lines.push(format!("recap {host}: failed={} changed={}", tally.failed, tally.changed));
    }
    Ok(lines.join("\n") + "\n")
}

/// The places where the table says that a keyword is done.
fn places(keyword: &str) -> Vec<Place> {
    let uses = keywords::all().filter(|one| one.name == keyword).flat_map(|one| one.uses);
    uses.filter(|(_, support)| *support == Support::Done).flat_map(|(places, _)| places.iter().copied()).collect()
}

fn merged(task: &Value, with: &Map<String, Value>) -> Value {
    let mut task = task.as_object().unwrap().clone();
    task.extend(with.clone());
    Value::Object(task)
}

/// A playbook in which these keywords are written in a place, around or on these tasks.
fn written(place: Place, with: &Map<String, Value>, tasks: &Value, folder: &Path) -> Value {
    let (tasks, text) = (tasks.clone(), tasks.to_string().replace("$DIR", &folder.display().to_string()));
    let role = folder.join("roles/inner/tasks");
    std::fs::create_dir_all(&role).unwrap();
    std::fs::write(role.join("main.yml"), &text).unwrap();
    std::fs::write(folder.join("inner.yml"), &text).unwrap();
    let first = |with: &Map<String, Value>| {
        let mut tasks = tasks.as_array().unwrap().clone();
        tasks[0] = merged(&tasks[0], with);
        Value::Array(tasks)
    };
    let entry = match place {
        Place::Play => return json!([merged(&json!({"hosts": "all", "gather_facts": false, "tasks": tasks}), with)]),
        Place::Role => {
            let role = merged(&json!({"role": "inner"}), with);
            return json!([{"hosts": "all", "gather_facts": false, "roles": [role]}]);
        }
        Place::Handler => {
            let mut handlers = first(with);
            let rest = handlers.as_array_mut().unwrap().split_off(1);
            let handler = merged(&handlers[0], &json!({"listen": "go"}).as_object().unwrap().clone());
            let notify = json!({"debug": {"msg": "go"}, "changed_when": true, "notify": "go", "tags": "always"});
            let mut tasks = vec![notify, json!({"meta": "flush_handlers", "tags": "always"})];
            tasks.extend(rest);
            return json!([{"hosts": "all", "gather_facts": false, "tasks": tasks, "handlers": [handler]}]);
        }
        Place::ImportPlaybook => {
            let inner = json!([{"hosts": "all", "gather_facts": false, "tasks": tasks}]).to_string();
            let inner = inner.replace("$DIR", &folder.display().to_string());
            std::fs::write(folder.join("inner-play.yml"), inner).unwrap();
            return json!([merged(&json!({"import_playbook": "inner-play.yml"}), with)]);
        }
        Place::Block => json!([merged(&json!({"block": tasks}), with)]),
        Place::Task => first(with),
        Place::ImportTasks => json!([merged(&json!({"import_tasks": "inner.yml"}), with)]),
        Place::ImportRole => json!([merged(&json!({"import_role": {"name": "inner"}}), with)]),
        Place::IncludeTasks => json!([merged(&json!({"include_tasks": "inner.yml"}), with)]),
        Place::IncludeRole => json!([merged(&json!({"include_role": {"name": "inner"}}), with)]),
        // What it does for the tasks of a file it does for those of a role.
        Place::Apply => json!([
            {"include_tasks": {"file": "inner.yml", "apply": with}, "tags": "always"},
            {"include_role": {"name": "inner", "apply": with}, "tags": "always"},
        ]),
        Place::LoopControl => first(json!({"loop_control": with}).as_object().unwrap()),
    };
    json!([{"hosts": "all", "gather_facts": false, "tasks": entry}])
}

fn texts(case: &Value, name: &str) -> Vec<String> {
    let list = case[name].as_array().into_iter().flatten().filter_map(Value::as_str);
    list.map(str::to_owned).collect()
}

fn options(case: &Value) -> Options {
    let flag = |name: &str| case["options"][name].as_bool().unwrap_or(false);
    Options {
        check: flag("check"),
        diff: flag("diff"),
        tags: texts(&case["options"], "tags"),
        skip_tags: texts(&case["options"], "skip_tags"),
        ..Options::default()
    }
}

/// What a case expects and does not see.
async fn judge(case: &Value, playbook: &Value, folder: &Path) -> std::result::Result<(), String> {
    for (name, text) in case["files"].as_object().into_iter().flatten() {
        std::fs::create_dir_all(folder.join(name).parent().unwrap()).unwrap();
        std::fs::write(folder.join(name), text.as_str().unwrap()).unwrap();
    }
    let begun = Instant::now();
    let trace = match (play(folder, playbook, case).await, case["error"].as_str()) {
        (Ok(trace), None) => trace,
        (Ok(trace), Some(_)) => return Err(format!("no error, but\n{trace}")),
        (Err(error), Some(text)) if error.to_string().contains(text) => return Ok(()),
        (Err(error), _) => return Err(error.to_string()),
    };
    let took = begun.elapsed();
    for text in texts(case, "sees") {
        // `3x text` is seen three times.
        let (count, text) = match text.split_once("x ").and_then(|(count, rest)| Some((count.parse().ok()?, rest))) {
            Some((count, rest)) => (Some(count), rest.to_owned()),
            None => (None, text),
        };
        let found: usize = trace.matches(&text).count();
        if count.map_or(found == 0, |count: usize| found != count) {
            return Err(format!("`{text}` is seen {found} times in\n{trace}"));
        }
    }
    if let Some(text) = texts(case, "lacks").into_iter().find(|text| trace.contains(text)) {
        return Err(format!("`{text}` is seen in\n{trace}"));
    }
    let seconds = |name: &str| case[name].as_f64().map(Duration::from_secs_f64);
    if seconds("at_least").is_some_and(|limit| took < limit) || seconds("at_most").is_some_and(|limit| took > limit) {
        return Err(format!("it took {took:?}"));
    }
    Ok(())
}

fn cases(keyword: &str) -> Vec<Value> {
    let path = repository().join(format!("tests/golden/keywords/{keyword}.yml"));
    let Ok(source) = yaml::read(&path) else { panic!("`{keyword}` is done and has no case `{}`", path.display()) };
    let (node, duplicates) = yaml::parse(&source).unwrap();
    assert!(duplicates.is_empty(), "{keyword}");
    node.to_value().as_array().unwrap().clone()
}

/// Every keyword that is done does in each of its places what its cases say, and does not happen without it.
#[tokio::test(flavor = "multi_thread")]
async fn every_keyword_that_is_done_has_a_case_in_each_place() {
    let names: BTreeSet<&str> =
        keywords::all().map(|keyword| keyword.name).filter(|name| !places(name).is_empty()).collect();
    let mut work = tokio::task::JoinSet::new();
    let turns = Arc::new(tokio::sync::Semaphore::new(8));
    for keyword in names {
        let mut left: BTreeSet<Place> = places(keyword).into_iter().collect();
        for case in cases(keyword) {
            let at = texts(&case, "at");
            let chosen = places(keyword).into_iter().filter(|place| {
                if at.is_empty() { left.contains(place) } else { at.iter().any(|name| name == place.name()) }
            });
            let chosen: Vec<Place> = chosen.collect();
            assert!(!chosen.is_empty(), "a case of `{keyword}` is for no place");
            left.retain(|place| !chosen.contains(place));
            for place in chosen {
                let (case, turns) = (case.clone(), Arc::clone(&turns));
                work.spawn(async move {
                    let _turn = turns.acquire_owned().await.unwrap();
                    let what = format!("`{keyword}` on {}", place.name());
                    let folder = tempfile::tempdir().unwrap();
                    if !case["play"].is_null() {
                        return judge(&case, &case["play"], folder.path())
                            .await
                            .map_err(|why| format!("{what}: {why}"));
                    }
                    let with = case["with"].as_object().unwrap_or_else(|| panic!("{what}: no `with`"));
                    let playbook = written(place, with, &case["tasks"], folder.path());
                    judge(&case, &playbook, folder.path()).await.map_err(|why| format!("{what}: {why}"))?;
                    if case["alone"] == true {
                        return Ok(());
                    }
                    let folder = tempfile::tempdir().unwrap();
                    let without = case["without"].as_object().cloned().unwrap_or_default();
                    let playbook = written(place, &without, &case["tasks"], folder.path());
                    let same = judge(&case, &playbook, folder.path()).await.is_ok();
                    if same { Err(format!("{what}: the same happens without it")) } else { Ok(()) }
                });
            }
        }
        assert!(left.is_empty(), "`{keyword}` has no case on {}", left.iter().next().unwrap().name());
    }
    let wrong: Vec<String> = work.join_all().await.into_iter().filter_map(std::result::Result::err).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// `golden/playbooks/<subject>.yml`: what playbooks do, and which are refused. A new case is a new entry.
#[tokio::test(flavor = "multi_thread")]
async fn playbooks_do_what_their_cases_say() {
    let root = repository().join("tests/golden/playbooks");
    let mut wrong = Vec::new();
    for file in infra::files::walk(&root).unwrap() {
        let (node, duplicates) = yaml::parse(&yaml::read(&root.join(&file)).unwrap()).unwrap();
        assert!(duplicates.is_empty());
        for (at, case) in node.to_value().as_array().unwrap().iter().enumerate() {
            let folder = tempfile::tempdir().unwrap();
            if let Err(why) = judge(case, &case["play"], folder.path()).await {
                wrong.push(format!("{}, case {}: {why}", file.display(), at + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A keyword that is refused is an error with a place and a hint, before any host is touched.
#[tokio::test]
async fn every_keyword_that_is_refused_is_an_error_with_its_place() {
    let tasks = json!([{"debug": {"msg": "hi"}, "loop": [1]}]);
    let uses = keywords::all()
        .flat_map(|keyword| keyword.uses.iter().map(move |(places, support)| (keyword, *places, *support)));
    for (keyword, places, support) in uses {
        let Support::Refused(instead) = support else { continue };
        for place in places {
            let folder = tempfile::tempdir().unwrap();
            let with = Map::from_iter([(keyword.name.to_owned(), json!([{"debug": {"msg": "x"}}]))]);
            let playbook = written(*place, &with, &tasks, folder.path());
            let error = play(folder.path(), &playbook, &Value::Null).await.unwrap_err().to_string();
            assert!(
                error.contains(keyword.name) && error.contains(instead),
                "{} on {}: {error}",
                keyword.name,
                place.name()
            );
            assert!(error.contains(".yml:"), "{} on {} has no place: {error}", keyword.name, place.name());
        }
    }
}
