//! What the keywords of a task say on a host: flags that may be templates.

use std::sync::Arc;

use super::HostRun;
use crate::{
    error::Result,
    playbook::{model::Task, vars::TaskScope, world::HostMemory},
    template::{Authored, is_true},
};

impl HostRun<'_> {
    /// A flag that may be a template; `None` when the keyword is not written.
    pub(super) fn flag(&self, keyword: Option<&Authored>, scope: &TaskScope) -> Result<Option<bool>> {
        let value = keyword.map(|value| self.engine().resolve(value, &scope.shared())).transpose()?;
        Ok(value.as_ref().map(is_true))
    }

    /// Whether a task changes nothing: `check_mode` comes before `--check`.
    pub(super) fn is_check(&self, task: &Task, scope: &TaskScope) -> Result<bool> {
        Ok(self.flag(task.common.check_mode.as_ref(), scope)?.unwrap_or(self.shared.options.check))
    }

    /// Whether the changes of files are shown: `diff` comes before `--diff`, and hidden results have none.
    pub(super) fn shows_diff(&self, task: &Task, scope: &TaskScope) -> Result<bool> {
        let wanted = self.flag(task.common.diff.as_ref(), scope)?.unwrap_or(self.shared.options.diff);
        Ok(wanted && !self.is_hidden(task, scope))
    }

    /// The host that facts of a task are about: with `delegate_facts` the delegate.
    pub(super) fn memory_of(&self, task: &Task, scope: &TaskScope) -> Result<Arc<HostMemory>> {
        let delegated = self.flag(task.common.delegate_facts.as_ref(), scope)?.unwrap_or(false);
        let delegate = if delegated { self.delegate(task, scope)? } else { None };
        delegate.map_or_else(|| Ok(Arc::clone(&self.memory)), |host| self.shared.world.memory_of(&host))
    }
}
