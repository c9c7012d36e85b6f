//! The order of plays and hosts.
//!
//! A play begins on a host when all hosts of the earlier plays have ended theirs, and its hosts begin each task together, but
//! for plays with `strategy: free`: nobody waits for those, and in them each host goes at its own pace. `serial` batches
//! follow each other, and `run_once` tasks are run by one host while the others wait for its result.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use serde::Serialize;
use serde_json::Map;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    connection::Reach,
    host::{HostRun, TaskEnd},
    load::{Loader, match_hosts},
    lockstep::Lockstep,
    model::Play,
    vars::{PlayScope, TaskScope, World},
};
use crate::{
    error::{Error, Result},
    event::{Ended, Event, Events},
    files,
    remote::Transport,
    template::text_of,
    yaml,
};

/// How a run goes.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Nothing is changed.
    pub check: bool,
    /// The changes of files are told.
    pub diff: bool,
    /// Only tasks with one of these tags, when there are any.
    pub tags: Vec<String>,
    /// No tasks with one of these tags.
    pub skip_tags: Vec<String>,
}

/// Where connections come from.
#[async_trait]
pub trait Connections: Send + Sync {
    /// The connection of a host, opened on first use.
    async fn connect(&self, host: &str) -> Result<Arc<dyn Transport>>;

    /// The connection of a host that variables say to reach in another way than the inventory does.
    async fn reach(&self, host: &str, _reach: &Reach) -> Result<Arc<dyn Transport>> {
        self.connect(host).await
    }
}

/// What happened on a host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct HostTally {
    /// Tasks that had nothing to do, or did it.
    pub ok: usize,
    /// Tasks that changed something.
    pub changed: usize,
    /// Tasks that were not for the host.
    pub skipped: usize,
    /// Tasks that failed.
    pub failed: usize,
    /// Failures that were ignored.
    pub ignored: usize,
    /// Whether the host was lost.
    pub unreachable: usize,
    /// Requests that were sent to hosts: what a play costs in round trips.
    pub execs: usize,
}

/// What happened on all hosts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Recap {
    /// By host.
    pub hosts: BTreeMap<String, HostTally>,
}

impl Recap {
    /// Whether no host failed or was lost.
    #[must_use]
    pub fn succeeded(&self) -> bool {
        self.hosts.values().all(|tally| tally.failed == 0 && tally.unreachable == 0)
    }

    /// Adds the counts of another run.
    pub fn add(&mut self, other: &Self) {
        for (host, tally) in &other.hosts {
            let mine = self.hosts.entry(host.clone()).or_default();
            mine.ok += tally.ok;
            mine.changed += tally.changed;
            mine.skipped += tally.skipped;
            mine.failed += tally.failed;
            mine.ignored += tally.ignored;
            mine.unreachable += tally.unreachable;
            mine.execs += tally.execs;
        }
    }
}

/// What the hosts of a run share.
pub(super) struct Shared {
    pub(super) world: Arc<World>,
    pub(super) loader: Arc<Loader>,
    pub(super) connections: Arc<dyn Connections>,
    pub(super) options: Options,
    pub(super) events: Events,
    pub(super) cancel: CancellationToken,
    /// Results of `run_once` tasks, by play and place; the lock is held while the task runs.
    pub(super) once: Mutex<HashMap<String, Arc<tokio::sync::Mutex<Option<TaskEnd>>>>>,
}

/// One play of a run.
pub(super) struct PlayRun {
    pub(super) number: usize,
    pub(super) scope: Arc<PlayScope>,
    /// Batches of `serial`, each with what keeps its hosts together.
    batches: Vec<(Vec<String>, Lockstep)>,
    /// How many hosts have ended the play, and in which batch they are.
    ended: watch::Sender<Vec<String>>,
    /// Whether a failure ends the play for all.
    pub(super) aborted: AtomicBool,
}

/// Runs plays on the hosts of a world.
///
/// # Errors
/// When something is wrong with the plays themselves; failures of hosts are in the recap.
pub async fn run(
    world: Arc<World>, loader: Arc<Loader>, plays: Vec<Play>, connections: Arc<dyn Connections>, options: Options,
    events: &Events, cancel: CancellationToken,
) -> Result<Recap> {
    let shared = Arc::new(Shared {
        world: Arc::clone(&world),
        loader,
        connections,
        options,
        events: events.clone(),
        cancel,
        once: Mutex::default(),
    });
    let mut runs = Vec::new();
    for (number, play) in plays.into_iter().enumerate() {
        runs.push(prepare(number, play, &world)?);
    }
    let runs = Arc::new(runs);
    let mut hosts: Vec<String> = world.inventory.hosts.clone();
    if runs.iter().any(|run| run.scope.hosts.contains(&"localhost".to_owned())) {
        hosts.push("localhost".to_owned());
    }
    let through = hosts.into_iter().map(|host| {
        let (shared, runs) = (Arc::clone(&shared), Arc::clone(&runs));
        async move {
            let tally = one_host(&shared, &runs, &host).await;
            (host, tally)
        }
    });
    let hosts = futures::future::join_all(through).await;
    let hosts = hosts.into_iter().filter_map(|(host, tally)| Some((host, tally?))).collect();
    Ok(Recap { hosts })
}

fn prepare(number: usize, play: Play, world: &Arc<World>) -> Result<PlayRun> {
    let scope = TaskScope {
        world: Arc::clone(world),
        host: String::new(),
        play: None,
        beside: None,
        task: None,
        locals: Arc::default(),
    };
    let shared = scope.with(play.vars.clone()).shared();
    let mut patterns = Vec::new();
    for pattern in &play.hosts {
        let resolved = world.engine.resolve_text(pattern, &shared)?;
        match resolved {
            serde_json::Value::Array(items) => patterns.extend(items.iter().map(text_of)),
            other => patterns.push(text_of(&other)),
        }
    }
    let mut hosts = match_hosts(&patterns, &world.inventory.hosts, &world.inventory.groups);
    if hosts.is_empty() && patterns.iter().any(|pattern| matches!(pattern.as_str(), "localhost" | "127.0.0.1")) {
        hosts.push("localhost".to_owned());
    }
    let mut vars_files = Map::new();
    for file in &play.vars_files {
        // A list names candidates: the first that exists is taken.
        let names = match world.engine.resolve(file, &shared)? {
            serde_json::Value::Array(items) => items.iter().map(text_of).collect(),
            other => vec![text_of(&other)],
        };
        let found =
            names.iter().find_map(|name| files::find(std::slice::from_ref(&play.folder), std::path::Path::new(name)));
        let path = found.ok_or_else(|| {
            Error::usage(format!("{}: there is no variables file `{}`", play.mark, names.join("` or `")))
        })?;
        let (node, _) = yaml::parse(&yaml::Source::new(path.clone(), files::read_text(&path)?))?;
        if let serde_json::Value::Object(map) = node.to_value() {
            vars_files.extend(map);
        }
    }
    let batches = batches(&hosts, &play.serial).into_iter().map(|batch| {
        let lockstep = Lockstep::new(&batch);
        (batch, lockstep)
    });
    let batches = batches.collect();
    Ok(PlayRun {
        number,
        scope: Arc::new(PlayScope { play, vars_files, hosts, public: RwLock::default() }),
        batches,
        ended: watch::Sender::new(Vec::new()),
        aborted: AtomicBool::new(false),
    })
}

/// `serial: [1, 25%, 5]`: the last one repeats.
fn batches(hosts: &[String], serial: &[String]) -> Vec<Vec<String>> {
    let size = |text: &str| match text.strip_suffix('%').map(str::parse::<usize>) {
        Some(Ok(percent)) => (hosts.len() * percent / 100).max(1),
        _ => text.parse().unwrap_or(hosts.len()).max(1),
    };
    let mut sizes: Vec<usize> = serial.iter().map(|text| size(text)).collect();
    if sizes.is_empty() {
        sizes.push(hosts.len().max(1));
    }
    let mut rest = hosts;
    let mut all = Vec::new();
    for at in 0.. {
        if rest.is_empty() {
            break;
        }
        let (batch, after) = rest.split_at(sizes[at.min(sizes.len() - 1)].min(rest.len()));
        all.push(batch.to_vec());
        rest = after;
    }
    all
}

impl PlayRun {
    async fn wait_for(&self, hosts: &[String]) {
        let mut ended = self.ended.subscribe();
        // The sender lives as long as the run, so this only ends when the hosts have.
        let _ = ended.wait_for(|ended| hosts.iter().all(|host| ended.contains(host))).await;
    }

    /// Waits for the hosts of earlier `serial` batches.
    async fn wait_for_turn(&self, host: &str) {
        for (batch, _) in self.batches.iter().take_while(|(batch, _)| !batch.iter().any(|member| member == host)) {
            self.wait_for(batch).await;
        }
    }

    /// What keeps a host together with the others of its batch: nothing in a free play.
    pub(super) fn lockstep(&self, host: &str) -> Option<&Lockstep> {
        let batch = self.batches.iter().find(|(batch, _)| batch.iter().any(|member| member == host));
        batch.map(|(_, lockstep)| lockstep).filter(|_| !self.scope.play.free)
    }
}

/// Takes one host through all of its plays; `None` when it is in none.
async fn one_host(shared: &Arc<Shared>, runs: &[PlayRun], host: &str) -> Option<HostTally> {
    let mut tally = HostTally::default();
    let mut any = false;
    let mut lost = false;
    for run in runs.iter().filter(|run| run.scope.hosts.iter().any(|member| member == host)) {
        any = true;
        for earlier in runs.iter().take(run.number).filter(|earlier| !earlier.scope.play.free) {
            earlier.wait_for(&earlier.scope.hosts).await;
        }
        run.wait_for_turn(host).await;
        if !lost && !run.aborted.load(Ordering::Relaxed) && !shared.cancel.is_cancelled() {
            lost = !one_play(shared, run, host, &mut tally).await;
            if lost && run.scope.play.any_errors_fatal {
                run.aborted.store(true, Ordering::Relaxed);
            }
        }
        if let Some(lockstep) = run.lockstep(host) {
            lockstep.leave(host);
        }
        run.ended.send_modify(|ended| ended.push(host.to_owned()));
    }
    any.then_some(tally)
}

/// Runs a play on a host and tells whether the host can go on.
async fn one_play(shared: &Arc<Shared>, run: &PlayRun, host: &str, tally: &mut HostTally) -> bool {
    let begun = std::time::Instant::now();
    let mut host_run = HostRun::new(shared, run, host);
    let ended = tokio::select! {
        ended = host_run.play(tally) => ended,
        // A script that waits for something must not hold up a user who wants to stop; running it again goes on.
        () = shared.cancel.cancelled() => return false,
    };
    tally.execs += host_run.execs.load(Ordering::Relaxed);
    match ended {
        Ok(()) => tally.failed == 0,
        Err(error) => {
            tally.unreachable += 1;
            shared.events.tell(Event::TaskEnded {
                host: host.to_owned(),
                task: "connection".to_owned(),
                ended: Ended::Unreachable,
                seconds: begun.elapsed().as_secs_f64(),
                detail: Some(error.to_string()),
                diffs: Vec::new(),
            });
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::batches;

    #[test]
    fn serial_batches() {
        let hosts: Vec<String> = (0..5).map(|n| n.to_string()).collect();
        let sizes = |serial: &[&str]| {
            let serial: Vec<String> = serial.iter().map(|text| (*text).to_owned()).collect();
            batches(&hosts, &serial).iter().map(Vec::len).collect::<Vec<_>>()
        };
        assert_eq!(sizes(&[]), [5]);
        assert_eq!(sizes(&["1", "2"]), [1, 2, 2]);
        assert_eq!(sizes(&["40%"]), [2, 2, 1]);
    }
}
