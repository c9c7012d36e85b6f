//! `meta`: the end of a play, a batch, a host or a role, handlers, facts, failures and connections.

use std::sync::Arc;

use super::{HostRun, Item, TaskEnd, TaskScope};
use crate::{
    error::{Error, Result},
    playbook::{
        batch::Ended,
        directives::Meta,
        model::{Entry, Role, Task},
    },
};

impl HostRun<'_> {
    pub(super) async fn meta(&mut self, task: &Task, scope: &TaskScope) -> Result<TaskEnd> {
        let what = self.arguments(task, scope)?.1.unwrap_or_default();
        let what = what.trim();
        let Some(meta) = Meta::of(what) else {
            return Err(Error::usage(format!("`meta: {what}` is not supported")));
        };
        match meta {
            Meta::FlushHandlers => self.work.push_front(Item::Flush(0)),
            Meta::EndHost => {
                self.work.clear();
                self.cut_short();
                self.play.scope.end(std::slice::from_ref(&self.host));
            }
            Meta::EndBatch => self.end(Ended::Batch),
            Meta::EndPlay => self.end(Ended::Play),
            Meta::EndRole => {
                let role = task.common.role.as_ref();
                let role = role.ok_or_else(|| Error::usage("`meta: end_role` is for tasks of a role"))?;
                while self.work.front().is_some_and(|item| item.is_in(role)) {
                    self.work.pop_front();
                }
            }
            Meta::ClearFacts => {
                for host in self.hosts_of_meta() {
                    let memory = self.shared.world.memory_of(&host)?;
                    memory.facts.write().expect("no task panics while it holds a host's memory").clear();
                }
            }
            Meta::ClearHostErrors => {
                self.shared.roster.readmit(&self.play.scope.hosts);
                self.batch.clear_failures();
            }
            Meta::ResetConnection => {
                let place = self.place(task, scope)?;
                self.shared.connections.reset(&place.host).await;
                self.forget_seen();
            }
            // The inventory is what the environment file and the state say: it stays the same while a run lasts.
            Meta::RefreshInventory | Meta::Noop => {}
        }
        Ok(TaskEnd::default())
    }

    /// Ends the play for all hosts of the batch, or all hosts.
    fn end(&mut self, ended: Ended) {
        self.work.clear();
        self.cut_short();
        self.batch.end(ended);
        self.play.scope.end(&self.batch.hosts);
    }

    /// In a linear play a `meta` that is about all hosts runs once for all of them; in a free play each host runs its own.
    fn hosts_of_meta(&self) -> Vec<String> {
        if self.batch.lockstep.is_some() { self.batch.hosts.clone() } else { vec![self.host.clone()] }
    }
}

impl Item {
    /// Whether it is a part of a role, at whatever depth.
    fn is_in(&self, role: &Arc<Role>) -> bool {
        match self {
            Self::Entry(entry) => is_in(entry, role),
            Self::Guard(block, ..) => block.body.first().is_some_and(|entry| is_in(entry, role)),
            _ => false,
        }
    }
}

fn is_in(entry: &Entry, role: &Arc<Role>) -> bool {
    match entry {
        Entry::Task(task) => std::iter::successors(task.common.role.as_ref(), |role| role.parent.as_ref())
            .any(|present| Arc::ptr_eq(present, role)),
        Entry::Block(block) => block.body.first().is_some_and(|entry| is_in(entry, role)),
    }
}
