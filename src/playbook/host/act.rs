//! Actions on a host: their arguments are resolved, and what they define is kept.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::{
    HostRun, TaskEnd, TaskScope,
    context::{Context, Stop},
};
use crate::{
    error::Result,
    modules::Call,
    playbook::{
        actions::{Action, Given},
        model::Task,
        task_end::Defined,
        world::HostMemory,
    },
};

const HELD: &str = "no task panics while it holds a host's memory";

impl HostRun<'_> {
    /// An action. An error means that the host cannot be reached.
    pub(super) async fn action(
        &mut self, action: &'static dyn Action, task: &Arc<Task>, scope: &TaskScope,
    ) -> Result<TaskEnd> {
        let given = if action.is_lazy() { Ok((Map::new(), None)) } else { self.arguments(task, scope) };
        let given = given.and_then(|(named, free_form)| {
            (action as &dyn Call).check_names(&named, free_form.is_some())?;
            Ok(Given { named, free_form })
        });
        let end = match given {
            Ok(given) => {
                let end = action.run(&mut Context { run: self, task, scope }, given).await;
                if !action.keeps_answers() {
                    self.forget_seen();
                }
                end
            }
            Err(error) => Err(Stop::Failed(error)),
        };
        let end = match end {
            Err(Stop::Unreachable(error)) => return Err(error),
            Err(Stop::Failed(error)) => Err(error),
            Ok(end) if end.defined.is_empty() => Ok(end),
            Ok(end) => self.memory_of(task, scope).map(|memory| {
                keep(&memory, &end.defined);
                end
            }),
        };
        Ok(end.unwrap_or_else(|error| TaskEnd::failed(format!("{}: {error}", task.mark))))
    }

    /// Keeps what a task has defined that another host has run.
    pub(super) fn take_definitions(&self, end: &TaskEnd) {
        keep(&self.memory, &end.defined);
    }
}

/// Keeps definitions in the memory of a host.
fn keep(memory: &HostMemory, defined: &[Defined]) {
    let extend = |to: &std::sync::RwLock<Map<String, Value>>, map: &Map<String, Value>| {
        to.write().expect(HELD).extend(map.clone());
    };
    for one in defined {
        match one {
            Defined::Set(map) => extend(&memory.set, map),
            Defined::Facts(map) => extend(&memory.facts, map),
            Defined::Included(vars) => memory.included.write().expect(HELD).extend(vars.clone().into()),
        }
    }
}
