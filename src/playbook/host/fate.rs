//! A task in its turn: when it may begin, how it is counted, and what a failure means for the host and for the others.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{Failure, HostRun, HostTally, Item, Part, TaskEnd, TaskScope, once::Share};
use crate::{
    error::{Error, Result},
    event::{Ended, Event},
    modules::{Call, Form},
    playbook::{
        batch,
        calls::{self, Way},
        directives::Directive,
        loops,
        model::{Block, Task},
        shared::PlayRun,
    },
    remote::Locale,
    template::{Authored, is_template, text_of},
};

/// How a host has ended a play.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::playbook) enum Finish {
    /// It is through.
    Done,
    /// It has failed, and nothing made up for it.
    Failed,
    /// It was stopped: by the user, or because a play that it needs has failed.
    Stopped,
}

/// The plays beside a play that have ended.
pub(super) fn ended(play: &PlayRun) -> BTreeSet<usize> {
    play.beside.iter().filter(|other| other.has_ended()).map(|other| other.number).collect()
}

impl HostRun<'_> {
    /// A task, when its turn has come. `false` means that the host stops here.
    pub(super) async fn in_turn(&mut self, task: &Arc<Task>, tally: &mut HostTally) -> Result<bool> {
        let (left, key) = (self.left(), self.visit(task));
        let batch = self.batch;
        let together = match &batch.lockstep {
            Some(lockstep) => Some(lockstep.turn(&self.host, left, &key).await),
            None => None,
        };
        let hosts = together.as_ref().map_or(&[][..], |together| &together.hosts);
        let first = self.first(task, &key, hosts);
        if self.is_overtaken(together.as_ref().map(|together| together.noted), tally) {
            return Ok(true);
        }
        if !self.needed_plays(task).await {
            return Ok(false);
        }
        let scope = self.scope(task);
        let fatal = self.holds(task.common.any_errors_fatal.as_ref(), &scope);
        let share = self.share(task, &scope, &key, hosts);
        drop(first);
        let ended = self.one(task, &scope, share, fatal, tally).await;
        if let Err(error) = &ended
            && fatal
        {
            self.fail_others(task, &error.to_string());
        }
        ended?;
        // A failure on one host is one of all: no one goes on before all of them have ended the task.
        if fatal && let Some(lockstep) = &batch.lockstep {
            let together = lockstep.turn(&self.host, left, &format!("{key} has ended")).await;
            self.is_overtaken(Some(together.noted), tally);
        }
        Ok(true)
    }

    /// The place of a task in the play: a file that is included twice has its tasks twice.
    fn visit(&mut self, task: &Task) -> String {
        let place = task.mark.to_string();
        let visit = self.visits.entry(place.clone()).or_default();
        *visit += 1;
        format!("{place}/{visit}")
    }

    /// Whether the play has been ended for this host by another one, as far as it may know of it.
    fn is_overtaken(&mut self, noted: Option<usize>, tally: &mut HostTally) -> bool {
        if self.batch.ended() > batch::Ended::Not {
            self.work.clear();
            self.cut_short();
            return true;
        }
        let fatals = self.batch.fatals(self.fatals, noted);
        self.fatals += fatals.len();
        let mut overtaken = false;
        for fatal in fatals {
            if fatal.by == self.host {
                continue;
            }
            overtaken = true;
            if !fatal.rescued {
                self.work.clear();
            }
            self.fail(Failure { end: TaskEnd::failed(fatal.why), own: false }, tally);
        }
        overtaken
    }

    fn fail_others(&self, task: &Task, why: &str) {
        let why = format!("`{}` has failed on `{}`, which is a failure of all hosts: {why}", task.title(), self.host);
        self.batch.fail_all(&self.host, why);
    }

    /// Waits for the plays beside this one that a task needs. `false` when one of them has failed.
    async fn needed_plays(&mut self, task: &Arc<Task>) -> bool {
        let play = self.play;
        if play.beside.is_empty() {
            return true;
        }
        let hosts = self.looked_at(task);
        let needed: Vec<_> =
            play.beside.iter().filter(|other| other.hosts.iter().any(|host| hosts.contains(host))).collect();
        for other in &needed {
            if !other.wait().await {
                self.shared.events.warn(format!(
                    "{}: `{}` needs the play `{}`, which has failed: the play `{}` stops here",
                    self.host,
                    task.title(),
                    other.name,
                    play.scope.play.name
                ));
                return false;
            }
        }
        // What another machine was asked before those plays had ended may be different now.
        let scope = self.scope(task);
        if !needed.iter().all(|other| self.seen_after.contains(&other.number))
            && self.operation(task, &scope).is_ok_and(|operation| operation.asks_elsewhere())
        {
            self.forget_seen();
        }
        true
    }

    /// The hosts that a task looks at, by its variables.
    fn looked_at(&self, task: &Arc<Task>) -> BTreeSet<String> {
        let (scope, looked) = self.scope(task).noting();
        // What cannot be resolved yet fails when its turn has come; here it only counts what is looked at.
        let _ = self.condition(task, &scope);
        let scopes = match &task.r#loop {
            None => vec![scope],
            Some(r#loop) => match loops::items(r#loop, self.engine(), &scope) {
                Ok(items) => (0..items.len()).map(|at| scope.with(super::item_vars(r#loop, &items, at))).collect(),
                Err(_) => vec![scope],
            },
        };
        for scope in &scopes {
            if !matches!(self.condition(task, scope), Ok(true)) {
                continue;
            }
            let _ = self.place(task, scope);
            let _ = self.exports(task, scope, Locale::default());
            if matches!(calls::way(task), Some(Way::Module(_))) {
                let _ = self.operation(task, scope);
            } else {
                let _ = self.arguments(task, scope);
            }
            let arguments = calls::call(task).map(<dyn Call>::all_arguments).unwrap_or_default();
            let conditions = arguments.iter().filter(|argument| matches!(argument.form, Form::Conditions));
            let conditions = conditions.filter_map(|argument| task.arguments.authored(argument.name));
            for condition in conditions.flat_map(|conditions| conditions.items()) {
                let _ = self.engine().condition(&condition, &scope.shared());
            }
        }
        let looked = looked.lock().expect("no task panics while it notes what it looks at");
        looked.clone()
    }

    /// One task: run once or by itself, reported and counted.
    async fn one(
        &mut self, task: &Arc<Task>, scope: &TaskScope, mut share: Option<Share>, fatal: bool, tally: &mut HostTally,
    ) -> Result<()> {
        self.roles.extend(task.common.role.iter().map(|role| role.name.clone()));
        if let Some(Share::Another(once)) = &share {
            if let Some(end) = once.wait().await {
                self.take_result(task, scope, end, tally);
                return Ok(());
            }
            share = Some(Share::Mine(Arc::clone(once)));
        }
        let begun = Instant::now();
        let (host, title) = (self.host.clone(), self.title(task, scope));
        self.current.clone_from(&title);
        self.shared.events.emit(Event::TaskStarted { host: host.clone(), task: title.clone() });
        let ran = match self.throttle(task, scope) {
            Ok(most) => {
                let permit = match most {
                    Some(most) if share.is_none() => {
                        self.batch.throttle(&task.mark.to_string(), most).acquire_owned().await.ok()
                    }
                    _ => None,
                };
                let ran = self.run(task, scope).await;
                drop(permit);
                ran
            }
            Err(error) => Ok(TaskEnd::failed(error.to_string())),
        };
        let mut unreachable = false;
        let mut end = match ran {
            Ok(end) => end,
            Err(error) if self.holds(task.common.ignore_unreachable.as_ref(), scope) => {
                unreachable = true;
                self.unreachable(task, scope, &error).await
            }
            Err(error) => {
                if let Some(Share::Mine(once)) = &share {
                    once.set(Err(format!("`{host}` cannot be reached: {error}")));
                }
                return Err(error);
            }
        };
        if end.changed
            && end.failure.is_none()
            && let Err(error) = self.notify(task, scope)
        {
            end.failure = Some(error.to_string());
        }
        self.register(task, &end);
        let ignored = unreachable || (end.failure.is_some() && self.holds(task.common.ignore_errors.as_ref(), scope));
        self.confirm(end.changed && end.failure.is_none(), end.failure.is_some() && !ignored);
        if let Some(Share::Mine(once)) = &share {
            once.set(Ok(TaskEnd { diffs: Vec::new(), ..end.clone() }));
        }
        let how = match (&end.failure, end.skipped) {
            (Some(_), _) if ignored => Ended::Ignored,
            (Some(_), _) => Ended::Failed,
            (None, true) => Ended::Skipped,
            (None, false) if end.changed => Ended::Changed,
            (None, false) => Ended::Ok,
        };
        match how {
            // As in Ansible, `meta` is not counted.
            Ended::Ok | Ended::Skipped if calls::directive(task) == Some(Directive::Meta) => {}
            Ended::Ok => tally.ok += 1,
            Ended::Changed => {
                tally.ok += 1;
                tally.changed += 1;
            }
            Ended::Skipped => tally.skipped += 1,
            Ended::Ignored => {
                tally.ok += 1;
                tally.ignored += 1;
                tally.changed += usize::from(end.changed);
            }
            // Counted when nothing makes up for it.
            Ended::Failed | Ended::Unreachable => {}
        }
        let hidden = self.is_hidden(task, scope);
        let detail = if hidden && end.failure.is_some() {
            Some("the result is hidden, because the task says `no_log: true`".to_owned())
        } else if hidden {
            None
        } else {
            end.detail(task)
        };
        self.shared.events.emit(Event::TaskEnded {
            host,
            task: title,
            ended: how,
            seconds: begun.elapsed().as_secs_f64(),
            detail,
            diffs: if hidden { Vec::new() } else { std::mem::take(&mut end.diffs) },
        });
        if how == Ended::Failed {
            if fatal {
                self.fail_others(task, end.failure.as_deref().unwrap_or_default());
            }
            end.result.insert("_task".to_owned(), task.describe());
            self.fail(Failure { end, own: true }, tally);
        }
        Ok(())
    }

    /// What `register` keeps of a task.
    pub(super) fn register(&self, task: &Task, end: &TaskEnd) {
        if let Some(name) = &task.register {
            self.memory
                .set
                .write()
                .expect("no task panics while it holds a host's memory")
                .insert(name.clone(), end.registered());
        }
    }

    /// The name of a task as it is shown, with its templates resolved.
    fn title(&self, task: &Task, scope: &TaskScope) -> String {
        let title = task.title();
        if !is_template(&title) {
            return title;
        }
        // A name that cannot be resolved is shown as it is written, as in Ansible.
        let name = Authored::written(Value::String(title.clone()));
        self.engine().resolve(&name, &scope.shared()).map_or(title, |title| text_of(&title))
    }

    /// On how many hosts a task runs at the same time; on all of them without a number, or with 0.
    fn throttle(&self, task: &Task, scope: &TaskScope) -> Result<Option<usize>> {
        let Some(value) = &task.common.throttle else { return Ok(None) };
        let text = text_of(&self.engine().resolve(value, &scope.shared())?);
        let most: usize = text
            .parse()
            .map_err(|_| Error::usage(format!("{}: `throttle: {text}` is not a number of hosts", task.mark)))?;
        Ok((most > 0).then_some(most))
    }

    /// How long a task may take.
    pub(super) fn seconds(&self, task: &Task, scope: &TaskScope) -> Result<Option<Duration>> {
        let Some(value) = &task.common.timeout else { return Ok(None) };
        let text = text_of(&self.engine().resolve(value, &scope.shared())?);
        let seconds: u64 = text
            .parse()
            .map_err(|_| Error::usage(format!("{}: `timeout: {text}` is not a number of seconds", task.mark)))?;
        Ok((seconds > 0).then(|| Duration::from_secs(seconds)))
    }

    /// The end of a task that took too long. Its script may still run: the next one gets a shell of its own.
    pub(super) async fn timed_out(&mut self, task: &Task, scope: &TaskScope, limit: Duration) -> TaskEnd {
        if let Ok(place) = self.place(task, scope) {
            self.shared.connections.reset(&place.host).await;
        }
        self.forget_seen();
        let mut end = TaskEnd::failed(format!("timed out after {} seconds", limit.as_secs()));
        end.result.insert("timedout".to_owned(), json!({ "period": limit.as_secs() }));
        end
    }

    /// The end of a task on a host that cannot be reached, where the play goes on all the same.
    async fn unreachable(&mut self, task: &Task, scope: &TaskScope, error: &Error) -> TaskEnd {
        if let Ok(place) = self.place(task, scope) {
            self.shared.connections.reset(&place.host).await;
        }
        self.forget_seen();
        let mut end = TaskEnd::failed(error.to_string());
        end.result.insert("unreachable".to_owned(), true.into());
        end
    }

    /// The facts of a host at the beginning of a play.
    pub(super) async fn gather_first(&mut self, tally: &mut HostTally) -> Result<()> {
        let play = &self.play.scope.play;
        let task = Arc::new(Task::blank(play.common.clone(), play.folder.clone(), play.mark.clone()));
        let scope = self.scope(&task);
        // A play that is imported under a condition that does not hold asks for nothing.
        if matches!(self.condition(&task, &scope), Ok(false)) {
            return Ok(());
        }
        let begun = Instant::now();
        let error = match self.gather(&task, &scope).await {
            Ok(None) => return Ok(()),
            Ok(Some(why)) => {
                self.shared.events.emit(Event::TaskEnded {
                    host: self.host.clone(),
                    task: self.current.clone(),
                    ended: Ended::Failed,
                    seconds: begun.elapsed().as_secs_f64(),
                    detail: Some(why.clone()),
                    diffs: Vec::new(),
                });
                if self.holds(task.common.any_errors_fatal.as_ref(), &scope) {
                    self.fail_others(&task, &why);
                }
                self.fail(Failure { end: TaskEnd::failed(why), own: true }, tally);
                return Ok(());
            }
            Err(error) => error,
        };
        if self.holds(task.common.ignore_unreachable.as_ref(), &scope) {
            self.unreachable(&task, &scope, &error).await;
            tally.ignored += 1;
            return Ok(());
        }
        if self.holds(task.common.any_errors_fatal.as_ref(), &scope) {
            self.batch.fail_all(&self.host, format!("`{}` cannot be reached: {error}", self.host));
        }
        Err(error)
    }

    /// The end of a part of a block is reached without a failure.
    pub(super) fn leave(
        &mut self, block: &Arc<Block>, part: Part, failure: Option<Box<Failure>>, tally: &mut HostTally,
    ) {
        match part {
            Part::Body | Part::Rescue => {
                self.push_front(&block.always, Item::Guard(Arc::clone(block), Part::Always, None));
            }
            Part::Always => {
                if let Some(failure) = failure {
                    self.fail(*failure, tally);
                }
            }
        }
    }

    /// A task has failed: the nearest block that makes up for it goes on, otherwise the host has failed.
    pub(super) fn fail(&mut self, failure: Failure, tally: &mut HostTally) {
        while let Some(item) = self.work.pop_front() {
            match item {
                Item::Guard(block, Part::Body, _) if !block.rescue.is_empty() => {
                    self.rescued.insert("ansible_failed_result".to_owned(), failure.end.registered());
                    let task = failure.end.result.get("_task").cloned().unwrap_or(Value::Null);
                    self.rescued.insert("ansible_failed_task".to_owned(), task);
                    self.push_front(&block.rescue, Item::Guard(Arc::clone(&block), Part::Rescue, None));
                    self.made_up_for();
                    return;
                }
                Item::Guard(block, Part::Body | Part::Rescue, _) if !block.always.is_empty() => {
                    self.keep_tentative();
                    let failure = Some(Box::new(failure));
                    self.push_front(&block.always, Item::Guard(Arc::clone(&block), Part::Always, failure));
                    return;
                }
                // The end of a section: what was notified runs also on a host that has failed.
                Item::Flush(0) if self.play.force_handlers => {
                    self.keep_tentative();
                    self.work.clear();
                    self.work.push_front(Item::Failed(Box::new(failure)));
                    self.work.push_front(Item::Flush(0));
                    return;
                }
                _ => {}
            }
        }
        self.keep_tentative();
        self.has_failed(&failure, tally);
    }

    /// Nothing makes up for a failure.
    pub(super) fn has_failed(&mut self, failure: &Failure, tally: &mut HostTally) {
        tally.failed += usize::from(failure.own);
        self.failed = true;
    }
}
