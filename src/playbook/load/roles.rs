//! Roles: where they are found, and what they bring along.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::{Map, Value};

use super::{Collect, Loader, find_yaml, flatten, merge_vars, strip_yaml};
use crate::{
    error::{Result, did_you_mean},
    files,
    modules::Call,
    playbook::{
        actions::ValidateArgumentSpec,
        model::{Common, Entry, Role, Task},
    },
    template::{Authored, Vars, is_template, is_true},
    yaml::{Content, Node},
};

/// How a play, a task or another role uses a role.
pub(super) struct RoleUse<'a> {
    pub(super) name: &'a str,
    pub(super) node: &'a Node,
    pub(super) params: Vars,
    pub(super) from: Parts,
    pub(super) parent: Option<Arc<Role>>,
    /// Whether it runs although it has run before; otherwise the role itself says so.
    pub(super) duplicates: Option<bool>,
    /// Whether the arguments that it declares are checked.
    pub(super) validate: bool,
}

impl<'a> RoleUse<'a> {
    /// A role that is called by `import_role` or `include_role` with these arguments.
    pub(super) fn called(arguments: &'a Map<String, Value>, node: &'a Node, parent: Option<Arc<Role>>) -> Self {
        Self {
            name: role_name(arguments),
            node,
            params: Vars::default(),
            from: Parts::of(arguments),
            parent,
            duplicates: Some(flag(arguments, "allow_duplicates", true)),
            validate: flag(arguments, "rolespec_validate", true),
        }
    }
}

/// Which files of a role are taken instead of `main`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::playbook) struct Parts {
    tasks: String,
    vars: String,
    defaults: String,
    handlers: String,
}

impl Parts {
    /// What the arguments of an import or include say.
    pub(in crate::playbook) fn of(arguments: &Map<String, Value>) -> Self {
        let file = |name: &str| {
            let text = arguments.get(name).and_then(Value::as_str).unwrap_or("main");
            strip_yaml(text).to_owned()
        };
        Self {
            tasks: file("tasks_from"),
            vars: file("vars_from"),
            defaults: file("defaults_from"),
            handlers: file("handlers_from"),
        }
    }

    fn is_known(&self) -> bool {
        [&self.tasks, &self.vars, &self.defaults, &self.handlers].iter().all(|name| !is_template(name))
    }
}

/// Whether an argument of an import or include is true.
pub(in crate::playbook) fn flag(arguments: &Map<String, Value>, name: &str, usual: bool) -> bool {
    arguments.get(name).map_or(usual, is_true)
}

/// The role that an import or include names.
pub(in crate::playbook) fn role_name(arguments: &Map<String, Value>) -> &str {
    arguments.get("name").or_else(|| arguments.get("role")).and_then(Value::as_str).unwrap_or_default()
}

impl Loader {
    /// An entry of `roles:`: a name, or a mapping with a name, keywords and parameters.
    pub(super) fn role_entry(
        &self, node: &Node, common: &Common, folder: &Path, collect: &mut Collect,
    ) -> Result<Vec<Entry>> {
        let (name, own, params) = match (&node.content, node.entries()) {
            (Content::String(name), _) => (name.clone(), common.clone(), Vars::default()),
            (_, Some(entries)) => {
                let name = node.get("role").or_else(|| node.get("name")).and_then(Node::as_str).unwrap_or_default();
                // What is no keyword is a parameter.
                let (keywords, free): (Vec<_>, Vec<_>) =
                    entries.iter().cloned().partition(|(key, _)| self.is_role_keyword(key));
                let mut params: Authored<Map<String, Value>> =
                    node.get("vars").and_then(Node::entries).map(Authored::entries).unwrap_or_default();
                for (key, node) in &free {
                    self.uses(node, false, true);
                    params.insert(key.name.clone(), Authored::node(node));
                }
                (name.to_owned(), self.common(&keywords, common), params.into())
            }
            _ => {
                self.mistake(node.error("a role is a name, or a mapping with `role`"));
                return Ok(Vec::new());
            }
        };
        let own = Common { vars: common.vars.clone(), ..own };
        let wanted = RoleUse {
            name: &name,
            node,
            params,
            from: Parts::of(&Map::new()),
            parent: None,
            duplicates: None,
            validate: true,
        };
        self.role(&wanted, &own, folder, collect)
    }

    /// The tasks of `import_role`, in its place.
    pub(super) fn import_role(
        &self, task: &Task, node: &Node, folder: &Path, collect: &mut Collect,
    ) -> Result<Vec<Entry>> {
        let name = role_name(&task.arguments);
        let from = Parts::of(&task.arguments);
        if is_template(name) || !from.is_known() {
            self.mistake(node.error("`import_role` is read before any variable is known; use `include_role`"));
            return Ok(Vec::new());
        }
        let wanted = RoleUse::called(&task.arguments, node, task.common.role.clone());
        self.role(&wanted, &task.common, folder, collect)
    }

    /// `include_role` of a role whose name is known is checked now, and read again when its turn comes.
    pub(super) fn check_include_role(&self, task: &Task, node: &Node, folder: &Path, collect: &Collect) -> Result<()> {
        let (name, from) = (role_name(&task.arguments), Parts::of(&task.arguments));
        if is_template(name) || !from.is_known() || collect.depth >= 8 || collect.stack.iter().any(|one| one == name) {
            return Ok(());
        }
        let mut aside = Collect { depth: collect.depth + 1, stack: collect.stack.clone(), ..Collect::default() };
        let wanted = RoleUse::called(&task.arguments, node, task.common.role.clone());
        let common = task.inside.as_deref().unwrap_or(&task.common);
        self.role(&wanted, common, folder, &mut aside).map(drop)
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
            self.lacks(diagnostic);
            return Ok(Vec::new());
        };
        let name = wanted.name.rsplit('/').next().unwrap_or(wanted.name).to_owned();
        if collect.stack.contains(&name) {
            self.mistake(wanted.node.error(format!("the role `{name}` depends on itself")));
            return Ok(Vec::new());
        }
        let meta = find_yaml(&path.join("meta"), "main").map(|meta| self.read(&meta));
        let meta = meta.as_ref();
        let role = Arc::new(Role {
            name: name.clone(),
            defaults: self.role_vars(wanted, &path, "defaults", &wanted.from.defaults)?,
            vars: self.role_vars(wanted, &path, "vars", &wanted.from.vars)?,
            params: wanted.params.clone(),
            parent: wanted.parent.clone(),
            path,
        });
        // The same role with the same parameters runs once a play, unless it says otherwise.
        let own = meta.and_then(|meta| meta.get("allow_duplicates")).is_some_and(|node| is_true(&node.to_value()));
        let when: Vec<&Value> = common.when.iter().map(|condition| &**condition).collect();
        let key = (
            name.clone(),
            format!("{:?}", wanted.from),
            serde_json::json!([role.params.to_map(), when, common.tags]).to_string(),
        );
        if collect.once && collect.seen.contains(&key) && !wanted.duplicates.unwrap_or(own) {
            return Ok(Vec::new());
        }
        collect.seen.push(key);
        collect.stack.push(name);
        let mut entries = Vec::new();
        for dependency in meta.and_then(|meta| meta.get("dependencies")).and_then(Node::items).unwrap_or_default() {
            let plain = Common { role: None, ..common.clone() };
            entries.extend(self.role_entry(dependency, &plain, folder, collect)?);
        }
        self.defines(role.defaults.keys().chain(role.vars.keys()).chain(role.params.keys()));
        collect.roles.push(Arc::clone(&role));
        let own = Common { role: Some(Arc::clone(&role)), ..common.clone() };
        match find_yaml(&role.path.join("handlers"), &wanted.from.handlers) {
            Some(handlers) => {
                let node = self.read(&handlers);
                let loaded = self.handlers(&node, &own, &role.path.join("handlers"), collect)?;
                flatten(&loaded, &mut collect.handlers);
            }
            None => self.missing_part(wanted, "handlers", &wanted.from.handlers),
        }
        if wanted.validate {
            entries.extend(self.validation(&role, &wanted.from.tasks, meta, &own));
        }
        let handling = std::mem::replace(&mut collect.handling, false);
        match find_yaml(&role.path.join("tasks"), &wanted.from.tasks) {
            Some(tasks) => {
                let node = self.read(&tasks);
                entries.extend(self.entries(&node, &own, &role.path.join("tasks"), collect)?);
            }
            None => self.missing_part(wanted, "tasks", &wanted.from.tasks),
        }
        collect.handling = handling;
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
    fn role_vars(&self, wanted: &RoleUse<'_>, role: &Path, part: &str, name: &str) -> Result<Vars> {
        let mut vars = Vars::default();
        let folder = role.join(part);
        if let Some(path) = find_yaml(&folder, name) {
            let node = self.read(&path);
            self.variables(&node);
            merge_vars(&node, &mut vars);
        } else if files::is_dir(&folder.join(name)) {
            for file in files::walk(&folder.join(name))? {
                let node = self.read(&folder.join(name).join(file));
                self.variables(&node);
                merge_vars(&node, &mut vars);
            }
        } else {
            self.missing_part(wanted, part, name);
        }
        Ok(vars)
    }

    /// The task that checks the arguments of a role before its other tasks, when it declares some for this file of tasks.
    fn validation(&self, role: &Arc<Role>, entry: &str, meta: Option<&Node>, own: &Common) -> Option<Entry> {
        let file = find_yaml(&role.path.join("meta"), "argument_specs").map(|path| self.read(&path));
        let spec = file.as_ref().or(meta)?.get("argument_specs")?.get(entry)?;
        let mut common = own.clone();
        common.tags.push("always".to_owned());
        let mut task = Task::blank(common, role.path.join("tasks"), spec.mark.clone());
        task.module = ValidateArgumentSpec.name().to_owned();
        let about = spec.get("short_description").and_then(Node::as_str).map(|text| format!(" - {text}"));
        task.name = format!("Validating arguments against arg spec '{entry}'{}", about.unwrap_or_default());
        let options = spec.get("options").map(Authored::node).unwrap_or_default();
        task.arguments.insert("argument_spec".to_owned(), options);
        Some(Entry::Task(Arc::new(task)))
    }

    /// A file of a role that someone asks for by name must be there; `main` need not.
    fn missing_part(&self, wanted: &RoleUse<'_>, part: &str, name: &str) {
        if name != "main" {
            let message = format!("the role `{}` has no {part} `{name}`", wanted.name);
            self.lacks(wanted.node.error(message));
        }
    }
}
