//! What modules do on a host: arguments resolved, probes sent, decisions made, steps run.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::{HostRun, Place, TaskEnd, TaskScope};
use crate::{
    error::{Error, Result},
    files,
    modules::{self, Arguments, Decision, FileChange, FileCopy, Operation, Step},
    playbook::model::Task,
    remote::{Output, Script, quote},
    template::{is_true, text_of},
};

impl HostRun<'_> {
    /// The arguments of a task, resolved.
    pub(super) fn arguments(&self, task: &Task, scope: &TaskScope) -> Result<(Map<String, Value>, Option<String>)> {
        let shared = scope.shared();
        let mut named = match self.engine().resolve(&Value::Object(task.arguments.clone()), &shared)? {
            Value::Object(map) => map,
            _ => Map::new(),
        };
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
        if task.module == "template" {
            return self.template(named, scope);
        }
        let module =
            modules::find(&task.module).ok_or_else(|| Error::new(format!("`{}` is no module", task.module)))?;
        module.prepare(&Arguments { named: &named, free_form: free.as_deref(), sources: scope })
    }

    fn template(&self, mut named: Map<String, Value>, scope: &TaskScope) -> Result<Box<dyn Operation>> {
        let mut take = |name: &str| named.remove(name).map(|value| text_of(&value));
        let src = take("src").ok_or_else(|| Error::usage("`src` is missing"))?;
        let dest = take("dest").ok_or_else(|| Error::usage("`dest` is missing"))?;
        for ignored in ["newline_sequence", "output_encoding", "follow", "trim_blocks", "lstrip_blocks"] {
            take(ignored);
        }
        let path = scope.find_template(&src)?;
        let text = self.engine().render_file(&path, &files::read_text(&path)?, &scope.shared())?;
        let file: FileCopy = modules::read(&named)?;
        let name = src.rsplit('/').next().unwrap_or_default().trim_end_matches(".j2").to_owned();
        Ok(modules::write_file(&dest, Some(name), text.into(), &file))
    }

    /// Variables of the task's environment, as shell text before its scripts.
    pub(super) fn exports(&self, task: &Task, scope: &TaskScope) -> Result<String> {
        let mut exports = String::new();
        for environment in &task.common.environment {
            if let Value::Object(map) = self.engine().resolve(environment, &scope.shared())? {
                for (name, value) in map {
                    exports += &format!("export {name}={}\n", quote(&text_of(&value)));
                }
            }
        }
        Ok(exports)
    }

    /// A module: probe, decide, and run its steps if there are any.
    pub(super) async fn module(&mut self, task: &Arc<Task>, scope: &TaskScope, rest: &[TaskScope]) -> Result<TaskEnd> {
        let prepared = self
            .operation(task, scope)
            .and_then(|operation| Ok((operation, self.exports(task, scope)?, self.place(task, scope)?)));
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
        let seen = match operation.probe() {
            None => Output { status: Some(0), ..Output::default() },
            Some(probe) => self.look(place, format!("{exports}{probe}"), rest, task).await?,
        };
        let decision = match operation.decide(&seen) {
            Ok(decision) => decision,
            Err(error) => return Ok(TaskEnd::failed(error.to_string())),
        };
        let check =
            self.shared.options.check
                || task.common.check_mode.as_ref().is_some_and(|value| {
                    self.engine().resolve(value, &scope.shared()).is_ok_and(|value| is_true(&value))
                });
        if check {
            let diffs = self.diffs(place, &decision.diffs).await?;
            // A command that only looks cannot be told from one that changes: it is skipped, as in Ansible.
            let skipped = matches!(task.module.as_str(), "command" | "shell") && decision.changed;
            return Ok(TaskEnd {
                changed: decision.changed && !skipped,
                skipped,
                result: decision.result,
                diffs,
                ..TaskEnd::default()
            });
        }
        if decision.steps.is_empty() {
            let outcome = operation.conclude(decision, &[]);
            return Ok(TaskEnd::of(outcome, Vec::new()));
        }
        self.steps(operation, decision, exports, place, rest, task).await
    }

    /// The answer of a probe: a true one that is known, or one that is asked for together with those that will be needed.
    pub(super) async fn look(
        &mut self, place: &Place, probe: String, rest: &[TaskScope], task: &Arc<Task>,
    ) -> Result<Output> {
        if let Some(output) = self.seen.remove(&(place.clone(), probe.clone())) {
            return Ok(output);
        }
        let mut probes = vec![probe];
        self.look_ahead(place, rest, task, &mut probes);
        let scripts: Vec<Script> = probes.iter().map(Script::probe).collect();
        let mut outputs = self.exec(place, &scripts).await?.into_iter();
        let first = outputs.next().unwrap_or_default();
        for (probe, output) in probes.into_iter().skip(1).zip(outputs) {
            self.seen.insert((place.clone(), probe), output);
        }
        Ok(first)
    }

    /// Runs the steps of a decision; fresh probes of what comes next travel along.
    async fn steps(
        &mut self, operation: &dyn Operation, decision: Decision, exports: &str, place: &Place, rest: &[TaskScope],
        task: &Arc<Task>,
    ) -> Result<TaskEnd> {
        let connection = self.connection(place).await?;
        let wanted: Vec<&FileChange> =
            if self.shared.options.diff { decision.diffs.iter().collect() } else { Vec::new() };
        let mut scripts: Vec<Script> = wanted.iter().map(|change| Script::probe(read_text(&change.path))).collect();
        let mut count = 0;
        for step in &decision.steps {
            match step {
                Step::Put { bytes, path } => connection.put(place.user.as_deref(), bytes.clone(), path).await?,
                Step::Run(text) => {
                    scripts.push(Script::step(format!("{exports}{text}")));
                    count += 1;
                }
            }
        }
        // Whatever was seen before is not true any more, on this host and on any other that shares something with it.
        self.seen.clear();
        let mut probes = Vec::new();
        self.look_ahead(place, rest, task, &mut probes);
        scripts.extend(probes.iter().map(Script::probe));
        let mut outputs = self.exec(place, &scripts).await?;
        let ahead = outputs.split_off(outputs.len() - probes.len());
        let steps = outputs.split_off(outputs.len() - count);
        for (probe, output) in probes.into_iter().zip(ahead) {
            if output.status.is_some() {
                self.seen.insert((place.clone(), probe), output);
            }
        }
        let diffs = wanted.iter().zip(&outputs).filter_map(|(change, before)| unified(change, &before.out())).collect();
        Ok(TaskEnd::of(operation.conclude(decision, &steps), diffs))
    }

    async fn diffs(&self, place: &Place, changes: &[FileChange]) -> Result<Vec<String>> {
        if changes.is_empty() || !self.shared.options.diff {
            return Ok(Vec::new());
        }
        let scripts: Vec<Script> = changes.iter().map(|change| Script::probe(read_text(&change.path))).collect();
        let outputs = self.exec(place, &scripts).await?;
        Ok(changes.iter().zip(&outputs).filter_map(|(change, before)| unified(change, &before.out())).collect())
    }
}

/// A script that prints a text file, unless it is large.
fn read_text(path: &str) -> String {
    let path = quote(path);
    format!("[ -f {path} ] && [ $(stat -c %s {path}) -lt 262144 ] && cat {path} || :")
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
