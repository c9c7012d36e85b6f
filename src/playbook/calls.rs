//! Everything that a task can call: modules, actions and directives, each with the way in which it runs.

use super::{
    actions::{ACTIONS, Action},
    directives::{DIRECTIVES, Directive},
    model::Task,
};
use crate::modules::{Call, MODULES, Module};

/// How a call runs.
#[derive(Clone, Copy)]
pub(super) enum Way {
    /// A host is asked, and steps follow from its answer.
    Module(&'static dyn Module),
    /// With more than a host's answer.
    Action(&'static dyn Action),
    /// The interpreter does it.
    Directive(Directive, &'static dyn Call),
}

impl Way {
    /// What the call says of itself.
    pub(super) fn call(self) -> &'static dyn Call {
        match self {
            Self::Module(module) => module,
            Self::Action(action) => action,
            Self::Directive(_, call) => call,
        }
    }
}

/// All calls with their ways.
fn ways() -> impl Iterator<Item = Way> {
    let modules = MODULES.iter().copied().map(Way::Module);
    let actions = ACTIONS.iter().copied().map(Way::Action);
    let directives = DIRECTIVES.iter().copied().map(|named| Way::Directive(named.directive, named));
    modules.chain(actions).chain(directives)
}

/// All calls, in the order of their names.
#[must_use]
pub fn calls() -> Vec<&'static dyn Call> {
    let mut all: Vec<_> = ways().map(Way::call).collect();
    all.sort_unstable_by_key(|call| call.name());
    all
}

/// The call of a name, with or without its collection.
pub(super) fn find(name: &str) -> Option<Way> {
    ways().find(|way| way.call().is_named(name))
}

/// How a task runs; `None` for one that calls nothing.
pub(super) fn way(task: &Task) -> Option<Way> {
    find(&task.module)
}

/// What a task calls.
pub(super) fn call(task: &Task) -> Option<&'static dyn Call> {
    way(task).map(Way::call)
}

/// The directive that a task is.
pub(super) fn directive(task: &Task) -> Option<Directive> {
    match way(task) {
        Some(Way::Directive(directive, _)) => Some(directive),
        _ => None,
    }
}
