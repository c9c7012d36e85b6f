//! The files that a task may name: those of its role, those beside its own file and the playbook, and the environment's.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;

use super::{
    load::SearchPath,
    model::{Role, Task},
};
use crate::{
    error::{Error, Result},
    files,
    modules::{Folder, Rendered, Sources},
    template::{Layout, Lookups},
};

/// Roles from the innermost to the outermost.
pub(super) fn chain(role: Option<&Arc<Role>>) -> impl Iterator<Item = &Arc<Role>> {
    std::iter::successors(role, |role| role.parent.as_ref())
}

/// Where a task looks for files.
#[derive(Clone, Copy)]
pub(super) struct Places<'a> {
    /// The task, when there is one.
    pub(super) task: Option<&'a Task>,
    /// The folder of the playbook.
    pub(super) playbook: Option<&'a Path>,
    /// The folders of the environment and the project.
    pub(super) search: &'a SearchPath,
}

impl Places<'_> {
    fn role(&self) -> Option<&Arc<Role>> {
        self.task?.common.role.as_ref()
    }

    /// The folders for files of a kind: of its role, of its own folder, of the playbook.
    pub(super) fn folders(&self, kind: &str) -> Vec<PathBuf> {
        let mut folders = Vec::new();
        for role in chain(self.role()) {
            folders.extend([role.path.join(kind), role.path.clone(), role.path.join("tasks")]);
        }
        let own = self.task.map(|task| task.folder.as_path());
        // The environment's own files, whatever playbook the task is in.
        for folder in own.into_iter().chain(self.playbook).chain(self.search.environment.as_deref()) {
            folders.extend([folder.join(kind), folder.to_owned()]);
        }
        folders
    }

    /// The folders of templates: what the environment has in place of those of built-in roles comes first for them.
    pub(super) fn template_folders(&self) -> Vec<PathBuf> {
        let builtin = self.role().is_some_and(|role| role.path.starts_with(files::BUILTIN) || is_shipped(role));
        let mut folders = if builtin { self.search.templates.clone() } else { Vec::new() };
        folders.extend(self.folders("templates"));
        if !builtin {
            folders.extend(self.search.templates.iter().cloned());
        }
        folders
    }

    /// Where its lookups look.
    pub(super) fn lookups(&self) -> Lookups {
        Lookups { files: self.folders("files"), templates: self.template_folders() }
    }

    fn find(&self, name: &str) -> Result<PathBuf> {
        let name = match (name.strip_prefix("~/"), std::env::home_dir()) {
            (Some(rest), Some(home)) => home.join(rest),
            _ => PathBuf::from(name),
        };
        let folders = self.folders("files");
        files::find(&folders, &name).ok_or_else(|| missing("file", &name.display().to_string(), &folders))
    }

    /// The path of a template.
    pub(super) fn find_template(&self, name: &str) -> Result<PathBuf> {
        let folders = self.template_folders();
        files::find(&folders, Path::new(name)).ok_or_else(|| missing("template", name, &folders))
    }
}

/// A role of the project that is also built in, as in this project itself.
fn is_shipped(role: &Role) -> bool {
    files::is_dir(&files::builtin("playbooks/roles").join(&role.name))
}

fn missing(what: &str, name: &str, folders: &[PathBuf]) -> Error {
    let looked = folders.iter().map(|folder| folder.display().to_string()).collect::<Vec<_>>().join(", ");
    Error::new(format!("there is no {what} `{name}`")).hint(format!("looked in: {looked}"))
}

impl Sources for Places<'_> {
    fn file(&self, name: &str) -> Result<Bytes> {
        let path = self.find(name)?;
        Ok(files::read(&path)?.into_owned().into())
    }

    fn mode(&self, name: &str) -> Result<Option<u32>> {
        Ok(files::mode(&self.find(name)?))
    }

    /// Not every variable is known here: nothing is rendered. Whether the file is there is looked at by itself.
    fn template(&self, _: &str, _: Layout) -> Result<Rendered> {
        Ok(Rendered::default())
    }

    fn folder(&self, name: &str) -> Result<Option<Folder>> {
        let plain = name.trim_end_matches('/');
        let candidates = self.folders("files").into_iter().map(|folder| folder.join(plain));
        match candidates.into_iter().find(|path| files::is_dir(path)) {
            Some(path) if !files::is_file(&path) => {
                let names = |paths: &[PathBuf]| paths.iter().map(|path| path.to_string_lossy().into_owned()).collect();
                let tree = files::tree(&path)?;
                Ok(Some(Folder { files: names(&tree.files), folders: names(&tree.folders) }))
            }
            _ => Ok(None),
        }
    }
}
