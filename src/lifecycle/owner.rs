//! What is known of whose an environment is.

use std::{collections::BTreeSet, path::Path};

use crate::{error::Result, plan::Scope, project, provider::Provider, state::State};

/// Where a command works, and what it has found out about that.
pub(super) struct Ownership {
    pub(super) scope: Scope,
    /// The account, once the provider was asked.
    pub(super) account: Option<String>,
    /// What the project label of the environment's objects says, where that is not the project's id.
    pub(super) kept_label: Option<String>,
    /// The projects that have an environment of the same name in this account.
    pub(super) others: BTreeSet<String>,
}

impl Ownership {
    /// What is known before the provider is asked.
    ///
    /// # Errors
    /// When the file with the project's id cannot be read.
    pub(super) fn of(folder: &Path, provider: &dyn Provider) -> Result<Self> {
        let scope = Scope {
            folder: folder.to_owned(),
            project: project::read(folder)?,
            path_label: provider.path_label(&folder.display().to_string()),
            provider: provider.name(),
            place: provider.place(),
        };
        Ok(Self { scope, account: None, kept_label: None, others: BTreeSet::new() })
    }

    /// Looks at a state that was read.
    ///
    /// # Errors
    /// When it belongs to another project.
    pub(super) fn recognise(&mut self, state: Option<&State>) -> Result<()> {
        let Some(state) = state else { return Ok(()) };
        self.kept_label.clone_from(&state.project_label);
        self.scope.check_project(state)
    }
}
