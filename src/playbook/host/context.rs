//! What an action may use: its arguments as they are written, variables, files of this machine, its host, and the run around it.

use std::{path::PathBuf, sync::Arc};

use serde_json::{Map, Value};

use super::{HostRun, Place, TaskEnd, TaskScope};
use crate::{
    error::{Error, Result},
    modules::{Operation, Probe},
    playbook::{model::Task, world::World},
    remote::{Output, ReadOnly, Script, Transport},
    template::Authored,
};

/// A task on a host, as its action sees it.
pub(in crate::playbook) struct Context<'c, 'r> {
    pub(super) run: &'c mut HostRun<'r>,
    pub(super) task: &'c Arc<Task>,
    pub(super) scope: &'c TaskScope,
}

/// Why an action ends before its end.
#[derive(Debug)]
pub(in crate::playbook) enum Stop {
    /// The task has failed.
    Failed(Error),
    /// The host cannot be reached.
    Unreachable(Error),
}

impl Stop {
    /// The error itself.
    pub(in crate::playbook) fn into_error(self) -> Error {
        match self {
            Self::Failed(error) | Self::Unreachable(error) => error,
        }
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// Arguments and variables.
impl Context<'_, '_> {
    /// An argument as it is written.
    pub(in crate::playbook) fn written(&self, name: &str) -> Option<Authored> {
        self.task.arguments.authored(name)
    }

    /// The value of something that is written.
    pub(in crate::playbook) fn resolve(&self, value: &Authored) -> Result<Value> {
        self.run.engine().resolve(value, &self.scope.shared())
    }

    /// The value of an argument.
    pub(in crate::playbook) fn resolved(&self, name: &str) -> Result<Option<Value>> {
        self.written(name).map(|value| self.resolve(&value)).transpose()
    }

    /// Whether a condition holds.
    pub(in crate::playbook) fn condition(&self, condition: &Authored) -> Result<bool> {
        self.run.engine().condition(condition, &self.scope.shared())
    }

    /// The value of an expression that is the author's.
    pub(in crate::playbook) fn evaluate(&self, expression: &Authored<String>) -> Result<Value> {
        self.run.engine().evaluate(expression, &self.scope.shared())
    }

    /// The value of a variable; `None` when there is none of this name.
    pub(in crate::playbook) fn variable(&self, name: &str) -> Result<Option<Value>> {
        self.run.engine().variable(name, &self.scope.shared())
    }
}

/// The run.
impl Context<'_, '_> {
    /// The hosts of the run and what is known of them.
    pub(in crate::playbook) fn world(&self) -> &World {
        &self.run.shared.world
    }

    /// The host that the task is for, whatever it is delegated to.
    pub(in crate::playbook) fn host(&self) -> &str {
        &self.run.host
    }
}

/// Files of this machine.
impl Context<'_, '_> {
    /// The folders in which the task looks for files of a kind.
    pub(in crate::playbook) fn folders(&self, kind: &str) -> Vec<PathBuf> {
        self.scope.folders(kind)
    }
}

/// The host.
impl Context<'_, '_> {
    /// Where the task runs, and as whom.
    pub(in crate::playbook) fn place(&self) -> Result<Place> {
        self.run.place(self.task, self.scope)
    }

    /// Whether the task may only find out what it would change.
    pub(in crate::playbook) fn checks_only(&self) -> bool {
        self.run.checks_only(self.task, self.scope)
    }

    /// The answer to one question.
    pub(in crate::playbook) async fn ask(&self, place: &Place, question: ReadOnly) -> Result<Output, Stop> {
        Ok(self.exec(place, &[Script::probe(question)]).await?.into_iter().next().unwrap_or_default())
    }

    /// Runs scripts in one request.
    pub(in crate::playbook) async fn exec(&self, place: &Place, scripts: &[Script]) -> Result<Vec<Output>, Stop> {
        self.run.exec(place, scripts).await.map_err(Stop::Unreachable)
    }

    /// The answer of a probe, perhaps from before.
    pub(in crate::playbook) async fn look(&mut self, place: &Place, probe: &Probe) -> Result<Output, Stop> {
        self.run.look(place, "", probe, &[], self.task).await.map_err(Stop::Unreachable)
    }

    /// Does what a module would do.
    pub(in crate::playbook) async fn operate(
        &mut self, operation: &dyn Operation, place: &Place,
    ) -> Result<TaskEnd, Stop> {
        self.run.operate(operation, "", place, &[], self.task, self.scope).await.map_err(Stop::Unreachable)
    }

    /// The connection itself, for streams and other machines behind the host.
    pub(in crate::playbook) async fn connection(&self, place: &Place) -> Result<Arc<dyn Transport>, Stop> {
        self.run.connection(place).await.map_err(Stop::Unreachable)
    }

    /// Waits for work on the host, which is named when it does not answer.
    pub(in crate::playbook) async fn attend<T>(
        &self, place: &Place, connection: &dyn Transport, work: impl Future<Output = T>,
    ) -> T {
        self.run.attend(place, connection, work).await
    }

    /// Keeps the handlers that a change of this task will notify, before the change is made by other means than steps.
    pub(in crate::playbook) async fn keep_before(&self, place: &Place) -> Result<(), Stop> {
        self.run.keep_before(self.task, self.scope, place).await.map_err(Stop::Unreachable)
    }

    /// The facts of the host, asked for again, or why it does not say them.
    pub(in crate::playbook) async fn gather(
        &mut self,
    ) -> Result<std::result::Result<Map<String, Value>, String>, Stop> {
        // A place that cannot be is the task's mistake.
        self.place()?;
        if let Some(why) = self.run.gather(self.task, self.scope).await.map_err(Stop::Unreachable)? {
            return Ok(Err(why));
        }
        let memory = self.run.memory_of(self.task, self.scope)?;
        let facts = memory.facts.read().expect("no task panics while it holds a host's memory");
        Ok(Ok(facts.clone()))
    }
}

/// The run.
impl Context<'_, '_> {
    /// Shows a text.
    pub(in crate::playbook) fn note(&self, text: String) {
        self.run.shared.events.note(text);
    }

    /// What the person at the terminal answers; `None` without one.
    pub(in crate::playbook) async fn question(&self, question: &str, echo: bool) -> Option<String> {
        match &self.run.shared.options.asker {
            Some(asker) => asker.ask(question, echo).await,
            None => None,
        }
    }
}

/// Why a file could not be written, when it could not.
pub(in crate::playbook) fn not_written(output: &Output, path: &str) -> Option<String> {
    let said = output.err();
    let why = if said.trim().is_empty() { "the machine did not say why" } else { said.trim() };
    (!output.succeeded()).then(|| format!("cannot write `{path}`: {}", output.failure.as_deref().unwrap_or(why)))
}
