//! Roles: where they are found, and what they bring along.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::{Map, Value};

use super::{Collect, Loader, find_yaml, flatten, merge_vars};
use crate::{
    error::{Result, did_you_mean},
    files,
    playbook::model::{Common, Entry, Role},
    yaml::{self, Content, Key, Node},
};

const ROLE_KEYWORDS: &[&str] = &[
    "role",
    "name",
    "when",
    "tags",
    "vars",
    "become",
    "become_user",
    "become_method",
    "delegate_to",
    "environment",
    "ignore_errors",
    "no_log",
    "run_once",
    "connection",
];

/// How a play, a task or another role uses a role.
pub(super) struct RoleUse<'a> {
    pub(super) name: &'a str,
    pub(super) node: &'a Node,
    pub(super) params: Map<String, Value>,
    pub(super) tasks_from: &'a str,
    pub(super) parent: Option<Arc<Role>>,
}

impl Loader {
    /// An entry of `roles:`: a name, or a mapping with a name, keywords and parameters.
    pub(super) fn role_entry(
        &self, node: &Node, common: &Common, folder: &Path, collect: &mut Collect,
    ) -> Result<Vec<Entry>> {
        let (name, own, params) = match (&node.content, node.entries()) {
            (Content::String(name), _) => (name.clone(), common.clone(), Map::new()),
            (_, Some(entries)) => {
                let name = node.get("role").or_else(|| node.get("name")).and_then(Node::as_str).unwrap_or_default();
                let keywords: Vec<(Key, Node)> =
                    entries.iter().filter(|(key, _)| ROLE_KEYWORDS.contains(&key.name.as_str())).cloned().collect();
                let mut params: Map<String, Value> =
                    node.get("vars").and_then(Node::entries).map(yaml::entries_to_map).unwrap_or_default();
                let free = entries.iter().filter(|(key, _)| !ROLE_KEYWORDS.contains(&key.name.as_str()));
                params.extend(free.map(|(key, node)| (key.name.clone(), node.to_value())));
                (name.to_owned(), self.common(&keywords, common), params)
            }
            _ => {
                self.mistake(node.error("a role is a name, or a mapping with `role`"));
                return Ok(Vec::new());
            }
        };
        let own = Common { vars: common.vars.clone(), ..own };
        self.role(&RoleUse { name: &name, node, params, tasks_from: "main", parent: None }, &own, folder, collect)
    }

    /// A role with its dependencies before it.
    pub(super) fn role(
        &self, wanted: &RoleUse<'_>, common: &Common, folder: &Path, collect: &mut Collect,
    ) -> Result<Vec<Entry>> {
        let Some(path) = self.role_path(wanted.name, folder) else {
            let known = self.known_roles(folder);
            let mut diagnostic = wanted.node.error(format!("there is no role `{}`", wanted.name));
            if let Some(close) = did_you_mean(wanted.name, known.iter().map(String::as_str)) {
                diagnostic = diagnostic.hint(format!("did you mean `{close}`?"));
            }
            self.mistake(diagnostic);
            return Ok(Vec::new());
        };
        let name = wanted.name.rsplit('/').next().unwrap_or(wanted.name).to_owned();
        if collect.stack.contains(&name) {
            self.mistake(wanted.node.error(format!("the role `{name}` depends on itself")));
            return Ok(Vec::new());
        }
        let role = Arc::new(Role {
            name: name.clone(),
            defaults: self.role_vars(&path, "defaults")?,
            vars: self.role_vars(&path, "vars")?,
            params: wanted.params.clone(),
            parent: wanted.parent.clone(),
            path,
        });
        // The same role with the same parameters runs once a play.
        let key = (name.clone(), wanted.tasks_from.to_owned(), Value::Object(role.params.clone()).to_string());
        if collect.once && collect.seen.contains(&key) {
            return Ok(Vec::new());
        }
        collect.seen.push(key);
        collect.stack.push(name);
        let mut entries = Vec::new();
        if let Some(meta) = find_yaml(&role.path.join("meta"), "main") {
            let meta = self.read(&meta)?;
            for dependency in meta.get("dependencies").and_then(Node::items).unwrap_or_default() {
                let plain = Common { role: None, ..common.clone() };
                entries.extend(self.role_entry(dependency, &plain, folder, collect)?);
            }
        }
        self.defines(role.defaults.keys().chain(role.vars.keys()).chain(role.params.keys()));
        collect.roles.push(Arc::clone(&role));
        let own = Common { role: Some(Arc::clone(&role)), ..common.clone() };
        if let Some(handlers) = find_yaml(&role.path.join("handlers"), "main") {
            let node = self.read(&handlers)?;
            let loaded = self.entries(&node, &own, &role.path.join("handlers"), collect)?;
            flatten(&loaded, &mut collect.handlers);
        }
        match find_yaml(&role.path.join("tasks"), wanted.tasks_from) {
            Some(tasks) => {
                let node = self.read(&tasks)?;
                entries.extend(self.entries(&node, &own, &role.path.join("tasks"), collect)?);
            }
            None if wanted.tasks_from != "main" => {
                self.mistake(
                    wanted.node.error(format!("the role `{}` has no tasks `{}`", role.name, wanted.tasks_from)),
                );
            }
            None => {}
        }
        collect.stack.pop();
        Ok(entries)
    }

    pub(super) fn role_folders(&self, folder: &Path) -> Vec<PathBuf> {
        let mut folders = vec![folder.join("roles")];
        folders.extend(self.search.roles.iter().cloned());
        // Roles of a project that is a role itself, as in its own tests.
        folders.push(folder.to_owned());
        folders
    }

    pub(super) fn role_path(&self, name: &str, folder: &Path) -> Option<PathBuf> {
        let candidates = self.role_folders(folder).into_iter().map(|folder| folder.join(name));
        candidates.into_iter().find(|path| {
            ["tasks", "meta", "defaults", "vars", "handlers"].iter().any(|part| files::is_dir(&path.join(part)))
        })
    }

    pub(super) fn known_roles(&self, folder: &Path) -> Vec<String> {
        let folders = self.role_folders(folder);
        let mut names: Vec<String> = folders
            .iter()
            .filter_map(|folder| files::walk(folder).ok())
            .flatten()
            .filter_map(|path| Some(path.components().next()?.as_os_str().to_string_lossy().into_owned()))
            .collect();
        names.sort();
        names.dedup();
        names
    }

    /// `defaults/main.yml`, or every file of `defaults/main/`.
    pub(super) fn role_vars(&self, role: &Path, part: &str) -> Result<Map<String, Value>> {
        let mut vars = Map::new();
        let folder = role.join(part);
        if let Some(path) = find_yaml(&folder, "main") {
            let node = self.read(&path)?;
            self.uses(&node, false, true);
            merge_vars(&node, &mut vars);
        } else if files::is_dir(&folder.join("main")) {
            for file in files::walk(&folder.join("main"))? {
                merge_vars(&self.read(&folder.join("main").join(file))?, &mut vars);
            }
        }
        Ok(vars)
    }
}
