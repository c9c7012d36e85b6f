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
    patterns,
    recap::{HostTally, Recap},
    roster::Ending,
    shared::{Options, PlayRun, Shared},
    vars::{PlayScope, TaskScope, World},
};
use crate::{
    error::{Error, Result},
    event::{Ended, Event, Events},
    files,
    template::{Authored, Vars, is_template, is_true, text_of},
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
    let mut found = Vec::new();
    for play in plays {
        found.push(resolve(play, &shared)?);
    }
    let placed: Vec<Placed<'_>> =
        found.iter().map(|found| Placed { play: &found.scope.play, hosts: &found.scope.hosts }).collect();
    let order = order(&placed);
    let mut plays: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for found in &found {
        plays.entry(found.scope.play.name.clone()).or_default().extend(found.scope.hosts.iter().cloned());
    }
    let plays = Arc::new(plays);
    let ending = |(number, found): (usize, &Resolved)| {
        Arc::new(Ending::new(number, found.scope.play.name.clone(), found.scope.hosts.clone()))
    };
    let endings: Vec<Arc<Ending>> = found.iter().enumerate().map(ending).collect();
    let these = |numbers: &[usize]| numbers.iter().map(|number| Arc::clone(&endings[*number])).collect();
    let runs = found.into_iter().zip(order).enumerate().map(|(number, (found, before))| PlayRun {
        scope: found.scope,
        max_fail_percentage: found.max_fail_percentage,
        force_handlers: found.force_handlers,
        ending: Arc::clone(&endings[number]),
        before: these(&before.ended),
        beside: these(&before.beside),
        plays: Arc::clone(&plays),
        last: BTreeSet::new(),
    });
    let mut runs: Vec<PlayRun> = runs.collect();
    let mut later: BTreeSet<String> = BTreeSet::new();
    for run in runs.iter_mut().rev() {
        run.last = run.scope.hosts.iter().filter(|host| later.insert((*host).clone())).cloned().collect();
    }
    let recaps = futures::future::join_all(runs.iter().map(|run| one_play(&shared, run))).await;
    let mut recap = Recap::default();
    for one in &recaps {
        recap.add(one);
    }
    Ok(recap)
}

/// A play of which everything is known that is known before a run.
struct Resolved {
    scope: Arc<PlayScope>,
    max_fail_percentage: Option<f64>,
    force_handlers: bool,
}

fn resolve(play: Play, run: &Shared) -> Result<Resolved> {
    let (world, events) = (&run.world, &run.events);
    // The variables of the play are known, those of no host.
    let common = Common { vars: play.vars.clone(), ..Common::default() };
    let task = Task::blank(common, play.folder.clone(), play.mark.clone());
    let shared = TaskScope::without_host(Arc::clone(world), Some(task)).shared();
    let texts = |value: &Authored| -> Result<Vec<String>> {
        Ok(match world.engine.resolve(value, &shared)? {
            serde_json::Value::Array(items) => items.iter().map(text_of).collect(),
            other => vec![text_of(&other)],
        })
    };
    let mut names = Vec::new();
    for pattern in &play.hosts {
        names.extend(texts(&Authored::written(pattern.as_str().into()))?);
    }
    let matched = patterns::matched(&names, &world.inventory.hosts, &world.inventory.groups)?;
    // What a complete run names without a template has been found by the check before it.
    let checked = run.options.complete && !play.hosts.iter().any(|pattern| is_template(pattern));
    for pattern in matched.unknown.iter().filter(|_| !checked) {
        events.warn(format!(
            "{}: the pattern `{pattern}` of the play `{}` matches no host and no group",
            play.mark, play.name
        ));
    }
    if matched.hosts.is_empty() {
        events.note(format!("the play `{}` is skipped: no hosts match `{}`", play.name, names.join(",")));
    }
    let mut vars_files = Vars::default();
    for file in &play.vars_files {
        // A list names candidates: the first that exists is taken.
        let names = texts(file)?;
        let found =
            names.iter().find_map(|name| files::find(std::slice::from_ref(&play.folder), std::path::Path::new(name)));
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
        for text in texts(&Authored::written(text.as_str().into()))? {
            serial.push(Serial::parse(&text).ok_or_else(|| wrong("serial", &text))?);
        }
    }
    let percentage = |value: &Authored| -> Result<f64> {
        let text = text_of(&world.engine.resolve(value, &shared)?);
        text.trim_end_matches('%').trim().parse().map_err(|_| wrong("max_fail_percentage", &text))
    };
    let max_fail_percentage = play.max_fail_percentage.as_ref().map(percentage).transpose()?;
    let force_handlers = match &play.force_handlers {
        Some(value) => is_true(&world.engine.resolve(value, &shared)?),
        None => false,
    };
    let batches = batches(&matched.hosts, &serial);
    let scope = PlayScope {
        play,
        vars_files,
        hosts: matched.hosts,
        batches,
        roster: Arc::clone(&run.roster),
        ended: Mutex::default(),
        public: RwLock::default(),
    };
    Ok(Resolved { scope: Arc::new(scope), max_fail_percentage, force_handlers })
}

/// Takes the hosts of a play through it, when its turn has come.
async fn one_play(shared: &Shared, run: &PlayRun) -> Recap {
    for earlier in &run.before {
        earlier.wait().await;
    }
    let mut recap = Recap::default();
    let mut goes_on = shared.roster.ended().is_none();
    if goes_on {
        for members in &run.scope.batches {
            let hosts = shared.roster.remaining(members);
            if hosts.is_empty() || shared.cancel.is_cancelled() {
                continue;
            }
            let batch = Batch::new(hosts, members.len(), run.max_fail_percentage, run.scope.play.free);
            let through = batch.hosts.iter().map(|host| one_host(shared, run, &batch, host));
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
    run.ending.set(goes_on);
    recap
}

/// Takes a host through a play.
async fn one_host(shared: &Shared, run: &PlayRun, batch: &Batch, host: &str) -> HostTally {
    let begun = std::time::Instant::now();
    let mut tally = HostTally::default();
    let mut host_run = HostRun::new(shared, run, batch, host);
    let finish = tokio::select! {
        finish = host_run.play(&mut tally) => finish,
        // A script that waits for something must not hold up a user who wants to stop; running it again goes on.
        () = shared.cancel.cancelled() => Ok(Finish::Stopped),
    };
    tally.execs += host_run.execs.load(Ordering::Relaxed);
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
