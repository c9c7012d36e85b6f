//! A run: its plays in their order, their batches, and what happened on the hosts.
//!
//! `order` says which plays wait for which. A play takes its hosts in the batches of `serial`; in each of them the hosts begin
//! a task together, but for plays with `strategy: free`, in which each host goes at its own pace. The run ends with a play
//! whose hosts have all failed, or more of them than it allows.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, RwLock, atomic::Ordering},
};

use tokio_util::sync::CancellationToken;

use super::{
    batch::{Batch, Ended as BatchEnded, Serial, batches},
    connection::Connections,
    host::{Finish, HostRun},
    load::Loader,
    model::{Common, Play, Task},
    order::{Placed, order},
    patterns::{self, Matched},
    recap::{HostTally, Recap},
    roster::Ending,
    shared::{Options, PlayRun, Shared},
    vars::{PlayScope, TaskScope},
    world::World,
};
use crate::{
    error::{Error, Result},
    event::{Ended, Event, Events},
    files,
    template::{Authored, Scope, Vars, is_template, is_true, text_of},
    yaml,
};

/// Runs plays on the hosts of a world.
///
/// # Errors
/// When something is wrong with the plays themselves; failures of hosts are in the recap.
pub async fn run(
    world: Arc<World>, loader: Arc<Loader>, plays: Vec<Play>, connections: Arc<dyn Connections>, options: Options,
    events: &Events, cancel: CancellationToken,
) -> Result<Recap> {
    let shared = Shared {
        world: Arc::clone(&world),
        loader,
        connections,
        options,
        events: events.clone(),
        cancel,
        roster: Arc::default(),
        left: Mutex::default(),
    };
    let adds_hosts = plays.iter().any(|play| play.symbols.adds_hosts);
    let mut is_after = false;
    let mut found = Vec::new();
    for play in plays {
        let adds = play.symbols.adds_hosts;
        found.push(Resolved::new(play, &world, is_after)?);
        is_after |= adds;
    }
    let turns = turns(found, &world, adds_hosts);
    let recaps = futures::future::join_all(turns.into_iter().map(|turn| one_play(&shared, turn))).await;
    let mut recap = Recap::default();
    for one in recaps {
        recap.add(&one?);
    }
    Ok(recap)
}

/// A play with all that is known of it before the run.
struct Resolved {
    play: Play,
    /// The hosts that it is for, as far as they are known.
    matched: Matched,
    /// Whether earlier plays may add hosts to it.
    is_after_added_hosts: bool,
    vars_files: Vars,
    serial: Vec<Serial>,
    max_fail_percentage: Option<f64>,
    force_handlers: bool,
}

/// A play and its place in the run.
struct Turn {
    play: Resolved,
    ending: Arc<Ending>,
    before: Vec<Arc<Ending>>,
    beside: Vec<Arc<Ending>>,
    plays: Arc<BTreeMap<String, BTreeSet<String>>>,
    last: BTreeSet<String>,
}

/// The plays in their order, each with what its earlier ones are to it.
fn turns(found: Vec<Resolved>, world: &World, adds_hosts: bool) -> Vec<Turn> {
    let placed: Vec<Placed<'_>> = (found.iter())
        .map(|found| Placed {
            play: &found.play,
            hosts: &found.matched.hosts,
            is_late: found.is_after_added_hosts || !found.matched.unknown.is_empty(),
        })
        .collect();
    let order = order(&placed);
    let mut plays: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for found in &found {
        // One whose hosts are not known yet may be for any of them.
        let all = if found.is_after_added_hosts { world.inventory().hosts.clone() } else { Vec::new() };
        plays.entry(found.play.name.clone()).or_default().extend(found.matched.hosts.iter().cloned().chain(all));
    }
    let plays = Arc::new(plays);
    let ending = |(number, found): (usize, &Resolved)| {
        Arc::new(Ending::new(number, found.play.name.clone(), found.matched.hosts.clone()))
    };
    let endings: Vec<Arc<Ending>> = found.iter().enumerate().map(ending).collect();
    let these = |numbers: &[usize]| numbers.iter().map(|number| Arc::clone(&endings[*number])).collect();
    let mut later: BTreeSet<String> = BTreeSet::new();
    let mut turns: Vec<Turn> = Vec::new();
    for (number, (found, before)) in found.into_iter().zip(order).enumerate().rev() {
        // Where hosts are added no one knows before which play is the last one of a host.
        let hosts = found.matched.hosts.iter().filter(|_| !adds_hosts);
        let last = hosts.filter(|host| later.insert((*host).clone())).cloned().collect();
        turns.push(Turn {
            ending: Arc::clone(&endings[number]),
            before: these(&before.ended),
            beside: these(&before.beside),
            plays: Arc::clone(&plays),
            last,
            play: found,
        });
    }
    turns.reverse();
    turns
}

/// The values of a keyword of a play, as texts: its own variables are known, those of no host.
fn texts(play: &Play, world: &Arc<World>, value: &Authored) -> Result<Vec<String>> {
    Ok(match world.engine.resolve(value, &of_play(play, world))? {
        serde_json::Value::Array(items) => items.iter().map(text_of).collect(),
        other => vec![text_of(&other)],
    })
}

fn of_play(play: &Play, world: &Arc<World>) -> Arc<dyn Scope> {
    let common = Common { vars: play.vars.clone(), ..Common::default() };
    let task = Task::blank(common, play.folder.clone(), play.mark.clone());
    TaskScope::without_host(Arc::clone(world), Some(task)).shared()
}

/// The hosts that a play is for, as they are now.
fn hosts(play: &Play, world: &Arc<World>) -> Result<(Vec<String>, Matched)> {
    let mut names = Vec::new();
    for pattern in &play.hosts {
        names.extend(texts(play, world, &Authored::written(pattern.as_str().into()))?);
    }
    let inventory = world.inventory();
    let matched = patterns::matched(&names, &inventory.hosts, &inventory.groups)?;
    Ok((names, matched))
}

impl Resolved {
    fn new(play: Play, world: &Arc<World>, is_after_added_hosts: bool) -> Result<Self> {
        let matched = match hosts(&play, world) {
            Ok((_, matched)) => matched,
            // Its hosts may come from what is added before it: what is wrong with them is said when its turn comes.
            Err(_) if is_after_added_hosts => Matched::default(),
            Err(error) => return Err(error),
        };
        let mut vars_files = Vars::default();
        for file in &play.vars_files {
            // A list names candidates: the first that exists is taken.
            let names = texts(&play, world, file)?;
            let found = names
                .iter()
                .find_map(|name| files::find(std::slice::from_ref(&play.folder), std::path::Path::new(name)));
            let path = found.ok_or_else(|| {
                Error::usage(format!("{}: there is no variables file `{}`", play.mark, names.join("` or `")))
            })?;
            let (node, _) = yaml::parse(&yaml::Source::new(path.clone(), files::read_text(&path)?))?;
            if let Some(entries) = node.entries() {
                vars_files.extend(Authored::entries(entries).into());
            }
        }
        let wrong = |keyword: &str, text: &str| {
            Error::usage(format!("{}: `{keyword}: {text}` of the play `{}` is not a number", play.mark, play.name))
        };
        let mut serial = Vec::new();
        for text in &play.serial {
            for text in texts(&play, world, &Authored::written(text.as_str().into()))? {
                serial.push(Serial::parse(&text).ok_or_else(|| wrong("serial", &text))?);
            }
        }
        let scope = of_play(&play, world);
        let percentage = |value: &Authored| -> Result<f64> {
            let text = text_of(&world.engine.resolve(value, &scope)?);
            text.trim_end_matches('%').trim().parse().map_err(|_| wrong("max_fail_percentage", &text))
        };
        let max_fail_percentage = play.max_fail_percentage.as_ref().map(percentage).transpose()?;
        let force_handlers = match &play.force_handlers {
            Some(value) => is_true(&world.engine.resolve(value, &scope)?),
            None => false,
        };
        Ok(Self { play, matched, is_after_added_hosts, vars_files, serial, max_fail_percentage, force_handlers })
    }
}

impl Turn {
    /// The play as it runs: its hosts are those that match now.
    fn begin(self, shared: &Shared) -> Result<PlayRun> {
        let Resolved { play, is_after_added_hosts, vars_files, serial, max_fail_percentage, force_handlers, .. } =
            self.play;
        let (names, matched) = hosts(&play, &shared.world)?;
        // What a complete run names without a template has been found by the check before it.
        let is_open = is_after_added_hosts || play.hosts.iter().any(|pattern| is_template(pattern));
        let checked = shared.options.complete && !is_open;
        for pattern in matched.unknown.iter().filter(|_| !checked) {
            shared.events.warn(format!(
                "{}: the pattern `{pattern}` of the play `{}` matches no host and no group",
                play.mark, play.name
            ));
        }
        if matched.hosts.is_empty() {
            let names = names.join(",");
            shared.events.note(format!("the play `{}` is skipped: no hosts match `{names}`", play.name));
        }
        let batches = batches(&matched.hosts, &serial);
        let scope = PlayScope {
            play,
            vars_files,
            hosts: matched.hosts,
            batches,
            roster: Arc::clone(&shared.roster),
            ended: Mutex::default(),
            public: RwLock::default(),
        };
        Ok(PlayRun {
            scope: Arc::new(scope),
            max_fail_percentage,
            force_handlers,
            beside: self.beside,
            plays: self.plays,
            last: self.last,
        })
    }
}

/// Takes the hosts of a play through it, when its turn has come.
async fn one_play(shared: &Shared, turn: Turn) -> Result<Recap> {
    for earlier in &turn.before {
        earlier.wait().await;
    }
    let mut recap = Recap::default();
    let ending = Arc::clone(&turn.ending);
    let mut goes_on = shared.roster.ended().is_none();
    if goes_on {
        let run = match turn.begin(shared) {
            Ok(run) => run,
            Err(error) => {
                shared.roster.end("a play could not begin".to_owned());
                ending.set(false);
                return Err(error);
            }
        };
        for members in &run.scope.batches {
            let hosts = shared.roster.remaining(members);
            if hosts.is_empty() || shared.cancel.is_cancelled() {
                continue;
            }
            let batch = Batch::new(hosts, members.len(), run.max_fail_percentage, run.scope.play.free);
            let through = batch.hosts.iter().map(|host| one_host(shared, &run, &batch, host));
            for (host, tally) in batch.hosts.iter().zip(futures::future::join_all(through).await) {
                recap.add(&Recap { hosts: [(host.clone(), tally)].into() });
            }
            if let Some(why) = batch.broken().filter(|_| !shared.cancel.is_cancelled()) {
                shared.events.warn(format!("the run ends with the play `{}`: {why}", run.scope.play.name));
                shared.roster.end(format!("the play `{}` has failed", run.scope.play.name));
                goes_on = false;
                break;
            }
            if batch.ended() == BatchEnded::Play {
                break;
            }
        }
    }
    ending.set(goes_on);
    Ok(recap)
}

/// Takes a host through a play.
async fn one_host(shared: &Shared, run: &PlayRun, batch: &Batch, host: &str) -> HostTally {
    let begun = std::time::Instant::now();
    let mut tally = HostTally::default();
    let finish = match HostRun::new(shared, run, batch, host) {
        Ok(mut host_run) => {
            let finish = tokio::select! {
                finish = host_run.play(&mut tally) => finish,
                // A script that waits for something must not hold up a user who wants to stop; running it again goes on.
                () = shared.cancel.cancelled() => Ok(Finish::Stopped),
            };
            tally.execs += host_run.execs.load(Ordering::Relaxed);
            finish
        }
        Err(error) => Err(error),
    };
    match finish {
        Ok(Finish::Done) => {}
        Ok(Finish::Failed) => {
            shared.roster.leave(host);
            // `meta: clear_host_errors` brings it back for later plays, not for this one.
            run.scope.end(&[host.to_owned()]);
            batch.fail(host);
        }
        Ok(Finish::Stopped) => shared.roster.leave(host),
        Err(error) => {
            tally.unreachable += 1;
            shared.roster.leave(host);
            run.scope.end(&[host.to_owned()]);
            batch.lose(host);
            shared.events.emit(Event::TaskEnded {
                host: host.to_owned(),
                task: "connection".to_owned(),
                ended: Ended::Unreachable,
                seconds: begun.elapsed().as_secs_f64(),
                detail: Some(error.to_string()),
                diffs: Vec::new(),
            });
        }
    }
    if let Some(lockstep) = &batch.lockstep {
        lockstep.leave(host);
    }
    tally
}
