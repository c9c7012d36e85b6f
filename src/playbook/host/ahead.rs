//! The look-ahead: which probes will be needed next, as far as that can be guessed now. A wrong guess costs a few bytes.

use std::{collections::VecDeque, sync::Arc};

use serde_json::{Map, Value};

use super::{AHEAD, BATCH, Entry, HostRun, Item, Part, Place, TaskScope, is_include, item_vars};
use crate::{
    error::{Error, Result},
    modules::Defines,
    playbook::{
        calls::{self, Way},
        directives::Directive,
        load::{Included, find_tasks, flag, include_name, role_name},
        loops,
        model::Task,
    },
    remote::ReadOnly,
    template::text_of,
};

/// How many dynamic includes may be in each other: more is an include of itself.
const DEPTH: usize = 200;

impl HostRun<'_> {
    /// The probes that will be needed next, as far as they can be guessed now: of the items behind this one, then of the
    /// tasks behind this one. `set_fact` is followed, includes are opened, everything that cannot be known is left out.
    pub(super) fn look_ahead(&self, place: &Place, rest: &[TaskScope], task: &Arc<Task>, probes: &mut Vec<ReadOnly>) {
        for scope in rest {
            self.guess(place, task, scope, probes);
        }
        let mut facts: Map<String, Value> = Map::new();
        let mut ahead: VecDeque<Entry> = VecDeque::new();
        let mut later = self.work.iter();
        for _ in 0..AHEAD {
            if probes.len() >= BATCH {
                return;
            }
            let entry = match ahead.pop_front() {
                Some(entry) => entry,
                None => match later.next() {
                    Some(Item::Entry(entry)) => entry.clone(),
                    Some(Item::Guard(block, Part::Body | Part::Rescue, _)) => {
                        ahead.extend(block.always.iter().cloned());
                        continue;
                    }
                    Some(_) => continue,
                    None => return,
                },
            };
            match entry {
                Entry::Block(block) => {
                    block.body.iter().chain(&block.always).rev().for_each(|entry| ahead.push_front(entry.clone()));
                }
                Entry::Task(task) => {
                    if self.has_wanted_tags(&task.common.tags) {
                        let scope = self.scope(&task).with(facts.clone());
                        let Some(inside) = self.foresee(place, &task, &scope, probes, &mut facts) else { return };
                        for entry in inside.into_iter().rev() {
                            ahead.push_front(entry);
                        }
                    }
                }
            }
        }
    }

    /// What a task will need, and what is inside it; `None` for one after which no answer is true any more.
    fn foresee(
        &self, place: &Place, task: &Arc<Task>, scope: &TaskScope, probes: &mut Vec<ReadOnly>,
        facts: &mut Map<String, Value>,
    ) -> Option<Vec<Entry>> {
        let scopes = match &task.r#loop {
            None => vec![scope.clone()],
            Some(r#loop) => match loops::items(r#loop, self.engine(), scope) {
                Ok(items) => (0..items.len()).map(|at| scope.with(item_vars(r#loop, &items, at))).collect(),
                Err(_) => return Some(Vec::new()),
            },
        };
        if is_include(task) {
            let mut entries = Vec::new();
            for scope in scopes {
                if matches!(self.condition(task, &scope), Ok(true))
                    && let Ok(more) = self.open(task, &scope)
                {
                    entries.extend(more.entries);
                }
            }
            return Some(entries);
        }
        if calls::call(task).is_some_and(|call| call.defines() == Defines::Arguments)
            && matches!(self.condition(task, scope), Ok(true))
        {
            if let Ok((named, _)) = self.arguments(task, scope) {
                facts.extend(named);
            }
            return Some(Vec::new());
        }
        if let Some(Way::Action(action)) = calls::way(task) {
            let runs = || scopes.iter().any(|scope| !matches!(self.condition(task, scope), Ok(false)));
            return (action.keeps_answers() || !runs()).then(Vec::new);
        }
        for scope in scopes {
            self.guess(place, task, &scope, probes);
        }
        Some(Vec::new())
    }

    pub(super) fn guess(&self, place: &Place, task: &Arc<Task>, scope: &TaskScope, probes: &mut Vec<ReadOnly>) {
        if !matches!(calls::way(task), Some(Way::Module(_)))
            || probes.len() >= BATCH
            || !matches!(self.condition(task, scope), Ok(true))
        {
            return;
        }
        if !self.place(task, scope).is_ok_and(|other| other == *place) {
            return;
        }
        let Ok(operation) = self.operation(task, scope) else { return };
        if let (true, Some(probe), Ok(exports)) = (
            operation.may_prefetch(),
            self.probe_of(operation.as_ref(), task, scope),
            self.exports(task, scope, operation.locale()),
        ) && probe.input().is_none()
        {
            let question = probe.read_only().with_environment(&exports);
            if !probes.contains(&question) {
                probes.push(question);
            }
        }
    }

    /// Opens a dynamic include.
    pub(super) fn open(&self, task: &Task, scope: &TaskScope) -> Result<Included> {
        let mut common = task.inside.as_deref().cloned().unwrap_or_else(|| task.common.clone());
        if common.depth > DEPTH {
            let name = include_name(task);
            return Err(Error::new(format!(
                "`{name}` is included by itself: more than {DEPTH} includes are in each other"
            ))
            .hint("an include of its own file needs a condition that ends it"));
        }
        // Items of the include's own loop are seen by the tasks inside.
        for (name, value) in scope.locals.iter() {
            common.params.insert_data(name, value.clone());
        }
        let (named, free) = self.arguments(task, scope)?;
        let text = |name: &str| named.get(name).map(text_of);
        if calls::directive(task) == Some(Directive::IncludeRole) {
            if role_name(&named).is_empty() {
                return Err(Error::usage("`name` is missing"));
            }
            if !flag(&named, "allow_duplicates", true) && self.roles.contains(role_name(&named)) {
                return Ok(Included::default());
            }
            return self.shared.loader.include_role(&named, &common, task);
        }
        let name = text("file").or(free).unwrap_or_else(|| include_name(task));
        let path = find_tasks(task, &name).ok_or_else(|| Error::new(format!("there is no task file `{name}`")))?;
        self.shared.loader.include_tasks(&path, &common)
    }
}
