//! Which environment a command is about, and what is set over its file.

use std::path::{Path, PathBuf};

use super::stores;
use crate::{
    config::{self, Environment, LoadOptions},
    error::{Diagnostic, Result},
    name::Name,
    state::{self, Store},
};

/// An environment by the words that a user names it with.
#[derive(Clone, Debug, Default)]
pub struct Target {
    /// A folder of `envs/`, a path to one, or the name of an environment that was made from it.
    pub environment: String,
    /// The folder that paths and the project are looked for from.
    pub start: PathBuf,
    /// Another name, for an independent environment from the same file.
    pub name: Option<Name>,
    /// Values set over those of the file, as `instances.app.resources.cores=4`.
    pub set: Vec<String>,
    /// Whether the file is used as it is, without the values of earlier applies.
    pub unset: bool,
    /// Variables of playbooks and templates, over all others, as `name=value`.
    pub vars: Vec<String>,
    /// Where relative paths in the file start, instead of its own folder.
    pub files_root: Option<PathBuf>,
}

/// An environment as it was loaded.
pub(super) struct Loaded {
    pub(super) environment: Environment,
    /// What an earlier apply set over the file and was used again; nothing where the target itself says it.
    pub(super) remembered: Option<state::Overlay>,
}

impl Target {
    /// What the target sets over the file, if it says anything about that.
    ///
    /// # Errors
    /// When the folder of files cannot be made absolute.
    pub(super) fn overlay(&self) -> Result<Option<state::Overlay>> {
        if self.set.is_empty() && self.files_root.is_none() && !self.unset {
            return Ok(None);
        }
        let files_root = self.files_root.as_ref().map(|root| std::path::absolute(self.start.join(root))).transpose()?;
        Ok(Some(state::Overlay { set: self.set.clone(), files_root }))
    }

    /// Loads the environment file, with what an earlier apply set over it unless the target says otherwise.
    pub(super) async fn load(&self) -> Result<Loaded> {
        let (folder, name) = self.locate().await?;
        let remembered = self.remembered(&folder, name.as_ref()).await?;
        Ok(Loaded { environment: self.load_with(&folder, name, remembered.clone())?, remembered })
    }

    /// The same for commands that look at the file only: where the state cannot be read, the file is looked at as it is, and a
    /// warning says so.
    ///
    /// # Errors
    /// When there is no such environment, or its file has mistakes: all of them are one error.
    pub async fn environment(&self) -> Result<Environment> {
        let (folder, name) = self.locate().await?;
        let (overlay, warning) = match self.remembered(&folder, name.as_ref()).await {
            Ok(overlay) => (overlay, None),
            Err(error) => (None, Some(error)),
        };
        let mut environment = self.load_with(&folder, name, overlay)?;
        environment.warnings.extend(warning.map(|error| {
            Diagnostic::warning(None, format!("{error}; the file is checked without the values of an earlier `--set`"))
        }));
        Ok(environment)
    }

    /// The folder of the environment's file, and the environment's name. The target names a file, or an environment that was
    /// made from one under another name.
    async fn locate(&self) -> Result<(PathBuf, Option<Name>)> {
        let project = config::project_of(&self.start);
        let error = match config::find(&self.environment, &self.start) {
            Ok(folder) => return Ok((folder, self.name.clone())),
            Err(error) => error,
        };
        let Ok(name) = self.environment.parse::<Name>() else { return Err(error) };
        if self.name.is_none()
            && let Some(folder) = stores::folder_of(&project, &name).await?
        {
            return Ok((folder, Some(name)));
        }
        let Some(gone) = stores::recorded_folder(&project, &name).await? else { return Err(error) };
        Err(error
            .hint(format!(
                "`{name}` exists, and was made from `{}`, which is gone: put that folder back",
                gone.display()
            ))
            .hint(format!("or name the file that it is made from now: `envs/OTHER --name {name}`")))
    }

    fn load_with(&self, folder: &Path, name: Option<Name>, remembered: Option<state::Overlay>) -> Result<Environment> {
        let given = state::Overlay { set: self.set.clone(), files_root: self.files_root.clone() };
        let earlier: Vec<Diagnostic> = (remembered.iter().flat_map(|overlay| &overlay.set))
            .map(|value| {
                Diagnostic::warning(None, format!("`--set {value}` of an earlier apply is used"))
                    .hint("`--unset` uses the file as it is")
            })
            .collect();
        let state::Overlay { set, files_root } = remembered.unwrap_or(given);
        let loaded = config::load(folder, &LoadOptions { name, set, vars: self.vars.clone(), files_root })?;
        Ok(Environment { warnings: earlier.into_iter().chain(loaded.warnings).collect(), ..loaded })
    }

    /// What an earlier apply set over the file; `None` where the target says it.
    ///
    /// # Errors
    /// When the state cannot be read: without what it says, the file would mean something else.
    async fn remembered(&self, folder: &Path, name: Option<&Name>) -> Result<Option<state::Overlay>> {
        if self.overlay()?.is_some() {
            return Ok(None);
        }
        let own = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let Some(name) = name.cloned().or_else(|| own.parse().ok()) else { return Ok(None) };
        let project = config::project_of(&std::path::absolute(folder)?);
        let store = Store::open(&project, &name, &config::state_settings(folder))?;
        Ok(store.read().await?.map(|state| state.overlay))
    }
}
