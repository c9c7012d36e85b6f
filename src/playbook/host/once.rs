//! Tasks that run on one host for all hosts of the batch: `run_once`, and the parts of `meta` that are about all of them.

use std::sync::Arc;

use super::{Failure, HostRun, HostTally, TaskEnd, TaskScope};
use crate::playbook::{
    batch::Once,
    calls::{self, Way},
    directives::{Directive, Meta},
    model::Task,
};

/// Who runs a task that runs once.
pub(super) enum Share {
    /// This host.
    Mine(Arc<Once>),
    /// Another host, whose result this one takes, unless it passes the task on.
    Another(Arc<Once>),
}

/// The turn of the first host: when it leaves without having claimed the task, the others do not wait for it.
pub(super) struct First(Arc<Once>);

impl Drop for First {
    fn drop(&mut self) {
        self.0.pass();
    }
}

impl HostRun<'_> {
    /// The turn of this host at a task that may run once, when it is the first of those that begin it together.
    pub(super) fn first(&self, task: &Task, key: &str, together: &[String]) -> Option<First> {
        let may = task.common.run_once.is_some() || is_for_all(task);
        (may && together.first() == Some(&self.host)).then(|| First(self.batch.once(key)))
    }

    /// Who runs a task: nothing when each host does it by itself. In a linear play it is the first of the hosts that begin it
    /// together, in a free play the first that comes.
    pub(super) fn share(&self, task: &Task, scope: &TaskScope, key: &str, together: &[String]) -> Option<Share> {
        let linear = self.batch.lockstep.is_some();
        let once = self.holds(task.common.run_once.as_ref(), scope) || (linear && is_for_all(task));
        if !once {
            return None;
        }
        let once = self.batch.once(key);
        let mine = together.first().is_none_or(|first| *first == self.host);
        Some(if mine && once.claim() { Share::Mine(once) } else { Share::Another(once) })
    }

    /// The result of a task that another host has run: its registered result and its facts are those of this host too.
    pub(super) fn take_result(
        &mut self, task: &Task, scope: &TaskScope, end: Result<TaskEnd, String>, tally: &mut HostTally,
    ) {
        let end = end.unwrap_or_else(TaskEnd::failed);
        self.register(task, &end);
        self.take_definitions(&end);
        if end.failure.is_some() && !self.holds(task.common.ignore_errors.as_ref(), scope) {
            self.fail(Failure { end, own: false }, tally);
        }
    }
}

/// Whether a task is an action that runs once for all hosts, or a `meta` that is about all of them.
fn is_for_all(task: &Task) -> bool {
    match calls::way(task) {
        Some(Way::Action(action)) => action.runs_once(),
        Some(Way::Directive(Directive::Meta, _)) => {
            task.free_form.as_deref().and_then(|what| Meta::of(what)).is_some_and(Meta::is_for_all)
        }
        _ => false,
    }
}
