//! What modules do on a host: arguments resolved, probes sent, decisions made, steps run.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{HostRun, Place, TaskEnd, TaskScope};
use crate::{
    error::{Error, Result},
    modules::{self, Arguments, Decision, FileChange, Operation, Prediction, Probe, Step},
    playbook::{model::Task, notified::Notification},
    remote::{Locale, Output, Script, Sh, sh},
    template::text_of,
};

impl HostRun<'_> {
    /// The arguments of a task, resolved.
    pub(super) fn arguments(&self, task: &Task, scope: &TaskScope) -> Result<(Map<String, Value>, Option<String>)> {
        let shared = scope.shared();
        let mut named = self.engine().resolve_map(&task.arguments, &shared)?;
        let free = match &task.free_form {
            Some(text) => match self.engine().resolve_text(text, &shared)? {
                Value::Object(map) => {
                    named.extend(map);
                    None
                }
                other => Some(text_of(&other)),
            },
            None => None,
        };
        Ok((named, free))
    }

    /// The operation of a task, when its arguments can be resolved.
    pub(super) fn operation(&self, task: &Task, scope: &TaskScope) -> Result<Box<dyn Operation>> {
        let (named, free) = self.arguments(task, scope)?;
        let module =
            modules::find(&task.module).ok_or_else(|| Error::new(format!("`{}` is no module", task.module)))?;
        module.prepare(&Arguments { named: &named, free_form: free.as_deref(), sources: scope })
    }

    /// Variables of the task's environment, as shell text before its scripts.
    pub(super) fn exports(&self, task: &Task, scope: &TaskScope, locale: Locale) -> Result<String> {
        let mut exports = String::new();
        for environment in &task.common.environment {
            if let Value::Object(map) = self.engine().resolve(environment, &scope.shared())? {
                for (name, value) in map {
                    if !is_variable(&name) {
                        return Err(Error::usage(format!(
                            "`environment` has `{name}`, which is not the name of a variable"
                        )));
                    }
                    // What we read ourselves is in one language; what a command prints is for the author.
                    if name == "LC_ALL" && locale == Locale::C {
                        continue;
                    }
                    exports += sh!("export {0}={1}\n", name, text_of(&value)).text();
                }
            }
        }
        Ok(exports)
    }

    /// A module: probe, decide, and run its steps if there are any.
    pub(super) async fn module(&mut self, task: &Arc<Task>, scope: &TaskScope, rest: &[TaskScope]) -> Result<TaskEnd> {
        let prepared = self.operation(task, scope).and_then(|operation| {
            let exports = self.exports(task, scope, operation.locale())?;
            Ok((operation, exports, self.place(task, scope)?))
        });
        let (operation, exports, place) = match prepared {
            Ok(prepared) => prepared,
            Err(error) => return Ok(TaskEnd::failed(format!("{}: {error}", task.mark))),
        };
        self.operate(operation.as_ref(), &exports, &place, rest, task, scope).await
    }

    pub(super) async fn operate(
        &mut self, operation: &dyn Operation, exports: &str, place: &Place, rest: &[TaskScope], task: &Arc<Task>,
        scope: &TaskScope,
    ) -> Result<TaskEnd> {
        let check = self.checks_only(task, scope);
        let seen = match self.probe_of(operation, task, scope) {
            None => Output { status: Some(0), ..Output::default() },
            Some(probe) => self.look(place, exports, &probe, rest, task).await?,
        };
        if let Some(why) = seen.failure {
            return Ok(TaskEnd::failed(why));
        }
        let decision = match operation.decide(&seen) {
            Ok(decision) => decision,
            Err(error) => return Ok(TaskEnd::failed(error.to_string())),
        };
        let diff = match self.shows_diff(task, scope) {
            Ok(diff) => diff,
            Err(error) => return Ok(TaskEnd::failed(format!("{}: {error}", task.mark))),
        };
        if check {
            let diffs = self.diffs(place, if diff { &decision.diffs } else { &[] }).await?;
            let Prediction { changed, skipped, result } = operation.predict(decision);
            return Ok(TaskEnd { changed, skipped, result, diffs, ..TaskEnd::default() });
        }
        if decision.steps.is_empty() {
            let outcome = operation.conclude(decision, &[]);
            return Ok(TaskEnd::of(outcome, Vec::new()));
        }
        let kept = self.before_steps(task, scope);
        let begun = Timestamp::now();
        let mut end = self.steps(operation, decision, diff, exports, place, rest, task, kept).await?;
        if operation.is_timed() {
            times(&mut end, begun, Timestamp::now());
        }
        Ok(end)
    }

    /// Whether a task may only find out what it would change.
    pub(super) fn checks_only(&self, task: &Task, scope: &TaskScope) -> bool {
        // What cannot be resolved changes nothing.
        self.is_check(task, scope).unwrap_or(true)
    }

    /// What a host is asked for a task.
    pub(super) fn probe_of(&self, operation: &dyn Operation, task: &Task, scope: &TaskScope) -> Option<Probe> {
        if self.checks_only(task, scope) { operation.check_probe() } else { operation.probe() }
    }

    /// The answer of a probe: a true one that is known, or one that is asked for together with those that will be needed.
    pub(super) async fn look(
        &mut self, place: &Place, exports: &str, probe: &Probe, rest: &[TaskScope], task: &Arc<Task>,
    ) -> Result<Output> {
        let question = probe.read_only().with_environment(exports);
        if let Some(input) = probe.input() {
            return self.send(place, &Script::probe(question), input.clone()).await;
        }
        let asked = (place.clone(), question);
        if let Some(output) = self.seen.remove(&asked) {
            return Ok(output);
        }
        let mut probes = vec![asked.1];
        self.look_ahead(place, rest, task, &mut probes);
        let scripts: Vec<Script> = probes.iter().cloned().map(Script::probe).collect();
        let mut outputs = self.exec(place, &scripts).await?.into_iter();
        let mut first = outputs.next().unwrap_or_default();
        if first.status.is_none() && first.failure.is_none() {
            // Another answer of the same request was too long; alone this one has room.
            first = self.exec(place, &scripts[..1]).await?.into_iter().next().unwrap_or_default();
        }
        for (probe, output) in probes.into_iter().skip(1).zip(outputs) {
            // One that was not asked, because an earlier one printed too much, is asked again when its turn comes.
            if output.status.is_some() {
                self.seen.insert((place.clone(), probe), output);
            }
        }
        Ok(first)
    }

    /// Runs the steps of a decision, behind what is kept of the handlers that they notify; fresh probes of what comes next
    /// travel along.
    async fn steps(
        &mut self, operation: &dyn Operation, decision: Decision, diff: bool, exports: &str, place: &Place,
        rest: &[TaskScope], task: &Arc<Task>, kept: Option<(Sh, Vec<Notification>)>,
    ) -> Result<TaskEnd> {
        let wanted: Vec<&FileChange> = if diff { decision.diffs.iter().collect() } else { Vec::new() };
        let (mut keep, kept) = kept.unzip();
        let mut scripts: Vec<Script> =
            wanted.iter().map(|change| Script::probe(Probe::small_text(&change.path).read_only())).collect();
        let mut outputs = Vec::new();
        for step in &decision.steps {
            match step {
                Step::Run(script) => {
                    let text = format!("{}{exports}{script}", keep.take().unwrap_or_default());
                    scripts.push(Script::step(text).in_locale(operation.locale()));
                }
                Step::Send { input, script } => {
                    // What comes before it must have succeeded: it has a channel of its own.
                    if !scripts.is_empty() {
                        outputs.extend(self.exec(place, &std::mem::take(&mut scripts)).await?);
                    }
                    if outputs.iter().skip(wanted.len()).all(Output::succeeded) {
                        let script = format!("{}{exports}{script}", keep.take().unwrap_or_default());
                        outputs.push(self.send(place, &Script::step(script), input.clone()).await?);
                    }
                }
            }
        }
        // Whatever was seen before is not true any more, on this host and on any other that shares something with it.
        self.forget_seen();
        if !scripts.is_empty() && outputs.iter().skip(wanted.len()).all(Output::succeeded) {
            let mut probes = Vec::new();
            self.look_ahead(place, rest, task, &mut probes);
            scripts.extend(probes.iter().cloned().map(Script::probe));
            let mut last = self.exec(place, &scripts).await?;
            let ahead = last.split_off(last.len() - probes.len());
            outputs.append(&mut last);
            for (probe, output) in probes.into_iter().zip(ahead) {
                if output.status.is_some() {
                    self.seen.insert((place.clone(), probe), output);
                }
            }
        }
        let failure = outputs.iter().find_map(|output| output.failure.clone());
        let mut steps = outputs.split_off(wanted.len().min(outputs.len()));
        if let (Some(kept), Some(first)) = (kept, steps.first_mut()) {
            self.is_kept(place, kept, first);
        }
        let diffs = wanted.iter().zip(&outputs).filter_map(|(change, before)| unified(change, &before.out())).collect();
        let end = TaskEnd::of(operation.conclude(decision, &steps), diffs);
        Ok(TaskEnd { failure: failure.or(end.failure), ..end })
    }

    /// Runs a script with bytes as its standard input.
    async fn send(&self, place: &Place, script: &Script, input: bytes::Bytes) -> Result<Output> {
        let connection = self.connection(place).await?;
        self.attend(place, connection.as_ref(), connection.send(place.user.as_deref(), script, input)).await
    }

    async fn diffs(&self, place: &Place, changes: &[FileChange]) -> Result<Vec<String>> {
        if changes.is_empty() {
            return Ok(Vec::new());
        }
        let scripts: Vec<Script> =
            changes.iter().map(|change| Script::probe(Probe::small_text(&change.path).read_only())).collect();
        let outputs = self.exec(place, &scripts).await?;
        Ok(changes.iter().zip(&outputs).filter_map(|(change, before)| unified(change, &before.out())).collect())
    }
}

/// When a command began and ended, as Ansible says it.
fn times(end: &mut TaskEnd, begun: Timestamp, ended: Timestamp) {
    let show = |moment: Timestamp| moment.strftime("%Y-%m-%d %H:%M:%S.%6f").to_string();
    let micros = ended.as_microsecond() - begun.as_microsecond();
    let (seconds, rest) = (micros / 1_000_000, micros % 1_000_000);
    let delta = format!("{}:{:02}:{:02}.{rest:06}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    for (name, value) in [("start", show(begun)), ("end", show(ended)), ("delta", delta)] {
        end.result.insert(name.to_owned(), value.into());
    }
    if end.failure.is_none() {
        end.result.entry("msg").or_insert_with(|| "".into());
    }
}

/// Whether a text is the name of an environment variable.
fn is_variable(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn unified(change: &FileChange, before: &str) -> Option<String> {
    let after = change.after.as_deref()?;
    if before == after || before.contains('\0') {
        return None;
    }
    let diff = similar::TextDiff::from_lines(before, after);
    let text = diff.unified_diff().context_radius(3).header(&change.path, &change.path).to_string();
    Some(text)
}
