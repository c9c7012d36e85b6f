//! Reads playbooks, roles and task files, and checks everything that can be checked before any host is touched: keywords,
//! modules, their arguments, conditions and templates. Every mistake is found in one run.
//!
//! `keywords` is the table of what may be written where, `allow` checks entries against it. `plays` reads plays, `beside` the variables beside them, `roles` finds
//! roles and reads them, `tasks` reads tasks and blocks, `calls` checks what a task calls.

mod allow;
mod beside;
mod calls;
pub mod keywords;
mod plays;
mod roles;
mod symbols;
mod tasks;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use serde_json::{Map, Value};

pub use self::plays::{STRATEGIES, Strategy};
use self::{plays::Imported, roles::RoleUse};
pub(super) use self::{
    roles::{flag, role_name},
    tasks::{count, find_tasks, include_name},
};
use super::model::{Common, Entry, Play, Role, Symbols, Task};
use crate::{
    error::{Diagnostic, Error, Result},
    files,
    template::{Authored, Engine, Vars, is_template},
    yaml::{self, Content, Node, Source},
};

/// Where playbooks, roles and templates are looked for.
#[derive(Clone, Debug, Default)]
pub struct SearchPath {
    /// Folders of playbooks, the environment's own first.
    pub playbooks: Vec<PathBuf>,
    /// Folders of roles beside those of a playbook.
    pub roles: Vec<PathBuf>,
    /// The environment's folder, where its files lie.
    pub environment: Option<PathBuf>,
    /// Folders of templates that replace those of built-in roles.
    pub templates: Vec<PathBuf>,
}

impl SearchPath {
    /// The folders of an environment: its own, the project's, and those within the binary.
    #[must_use]
    pub fn of(environment: &Path, project: &Path) -> Self {
        let builtin = files::builtin("playbooks");
        Self {
            environment: Some(environment.to_owned()),
            playbooks: vec![
                environment.to_owned(),
                environment.join("playbooks"),
                project.join("playbooks"),
                project.to_owned(),
                builtin.clone(),
            ],
            roles: vec![
                environment.join("roles"),
                environment.join("playbooks/roles"),
                project.join("playbooks/roles"),
                project.join("roles"),
                builtin.join("roles"),
            ],
            templates: vec![environment.join("templates"), project.join("templates"), files::builtin("templates")],
        }
    }

    /// The path of a playbook.
    ///
    /// # Errors
    /// When no folder has it.
    pub fn playbook(&self, name: &str) -> Result<PathBuf> {
        files::find(&self.playbooks, Path::new(name)).ok_or_else(|| {
            let folders =
                self.playbooks.iter().map(|folder| folder.display().to_string()).collect::<Vec<_>>().join(", ");
            Error::usage(format!("there is no playbook `{name}`")).hint(format!("looked in: {folders}"))
        })
    }
}

/// The loader: keeps what it has read, and the mistakes it has found.
pub struct Loader {
    search: SearchPath,
    engine: Engine,
    texts: Mutex<HashMap<PathBuf, Node>>,
    found: Mutex<Vec<Diagnostic>>,
    symbols: Mutex<Symbols>,
    /// Whether plays that say nothing about it run as root.
    r#become: bool,
}

/// What a dynamic include brings.
#[derive(Default)]
pub(super) struct Included {
    pub(super) entries: Vec<Entry>,
    pub(super) handlers: Vec<Arc<Task>>,
    /// Roles whose variables the rest of the play sees.
    pub(super) public: Vec<Arc<Role>>,
}

/// What is gathered while the entries of a play are read.
#[derive(Default)]
struct Collect {
    handlers: Vec<Arc<Task>>,
    roles: Vec<Arc<Role>>,
    seen: Vec<(String, String, String)>,
    stack: Vec<String>,
    depth: usize,
    once: bool,
    /// Whether handlers are read, not tasks.
    handling: bool,
}

impl Loader {
    /// A loader that looks in these places.
    #[must_use]
    pub fn new(search: SearchPath, engine: Engine) -> Self {
        Self {
            search,
            engine,
            texts: Mutex::default(),
            found: Mutex::default(),
            symbols: Mutex::default(),
            r#become: false,
        }
    }

    /// The same, for plays that run as root where they do not say otherwise.
    #[must_use]
    pub fn becoming(self, r#become: bool) -> Self {
        Self { r#become, ..self }
    }

    /// Where it looks.
    #[must_use]
    pub fn search(&self) -> &SearchPath {
        &self.search
    }

    /// Reads playbooks and everything that they can reach.
    ///
    /// # Errors
    /// One usage error with all mistakes.
    pub fn playbooks(&self, paths: &[PathBuf]) -> Result<Vec<Play>> {
        let (plays, found) = self.read_playbooks(paths)?;
        if found.is_empty() { Ok(plays) } else { Err(crate::config::mistakes(&paths[0], found)) }
    }

    /// The plays of playbooks as far as they can be read, and every mistake in them.
    ///
    /// # Errors
    /// When a folder cannot be read.
    pub fn read_playbooks(&self, paths: &[PathBuf]) -> Result<(Vec<Play>, Vec<Diagnostic>)> {
        let mut plays = Vec::new();
        for path in paths {
            self.playbook(path, &Imported::outermost(self.r#become), &mut plays)?;
        }
        let found = std::mem::take(&mut *self.found.lock().expect("no thread panics while it holds the list"));
        Ok((plays, found))
    }

    /// A play of one task, for `infra run -m`.
    ///
    /// # Errors
    /// When the module or its arguments are wrong.
    pub fn ad_hoc(&self, module: &str, arguments: &str, r#become: bool) -> Result<Vec<Play>> {
        let quoted = |text: &str| Value::String(text.to_owned()).to_string();
        let text = format!(
            "- hosts: all\n  gather_facts: false\n  become: {become}\n  tasks:\n    - name: {name}\n      register: result\n      \
             {module}: {arguments}\n    - name: result\n      debug: {{ msg: \"{{{{ result.stdout | default(result.msg | default('')) }}}}\" }}\n      \
             when: result.stdout | default(result.msg | default('')) | length > 0\n",
            name = quoted(module),
            arguments = quoted(arguments),
        );
        let path = PathBuf::from("<command line>");
        let (node, _) = yaml::parse(&Source::new(path.clone(), text))?;
        self.texts.lock().expect("no thread panics while it holds the texts").insert(path.clone(), node);
        self.playbooks(&[path])
    }

    /// The entries of a dynamic include, when its turn has come: mistakes are errors of that task.
    ///
    /// # Errors
    /// When the file is missing or wrong.
    pub(super) fn include_tasks(&self, path: &Path, common: &Common) -> Result<Included> {
        let node = self.read(path);
        let mut collect = Collect::default();
        let folder = path.parent().unwrap_or(Path::new("."));
        let entries = self.entries(&node, common, folder, &mut collect)?;
        self.take_mistakes(path)?;
        Ok(Included { entries, handlers: collect.handlers, public: Vec::new() })
    }

    /// The entries of a role that is included when its turn has come.
    ///
    /// # Errors
    /// When the role is missing or wrong.
    pub(super) fn include_role(
        &self, arguments: &Map<String, Value>, common: &Common, task: &Task,
    ) -> Result<Included> {
        let mut collect = Collect::default();
        let node = Node { content: Content::Null, mark: task.mark.clone() };
        let wanted = RoleUse::called(arguments, &node, common.role.clone());
        let entries = self.role(&wanted, common, &task.folder, &mut collect)?;
        self.take_mistakes(task.mark.source().file.as_path())?;
        let public = if flag(arguments, "public", false) { collect.roles } else { Vec::new() };
        Ok(Included { entries, handlers: collect.handlers, public })
    }

    fn take_mistakes(&self, path: &Path) -> Result<()> {
        // What a play speaks of is checked before it runs.
        drop(self.take_symbols());
        let found = std::mem::take(&mut *self.found.lock().expect("no thread panics while it holds the list"));
        if found.is_empty() { Ok(()) } else { Err(crate::config::mistakes(path, found)) }
    }

    fn mistake(&self, diagnostic: Diagnostic) {
        let mut found = self.found.lock().expect("no thread panics while it holds the list");
        if !found.contains(&diagnostic) {
            found.push(diagnostic);
        }
    }

    /// What a file holds. One that cannot be read is a mistake and holds nothing; what it would have defined is not known then.
    fn read(&self, path: &Path) -> Node {
        if let Some(node) = self.texts.lock().expect("no thread panics while it holds the texts").get(path) {
            return node.clone();
        }
        let text = files::read_text(path);
        // Duplicate keys are a warning in Ansible, and the last one wins.
        match text.and_then(|text| yaml::parse(&Source::new(path, text))) {
            Ok((node, _)) => {
                let mut texts = self.texts.lock().expect("no thread panics while it holds the texts");
                texts.insert(path.to_owned(), node.clone());
                node
            }
            Err(error) => {
                let unread = || vec![Diagnostic::error(None, error.to_string())];
                let found = if error.diagnostics().is_empty() { unread() } else { error.diagnostics().to_vec() };
                for diagnostic in found {
                    self.mistake(diagnostic);
                }
                self.is_open();
                Node { content: Content::Null, mark: Source::new(path, "").start() }
            }
        }
    }

    /// A mistake for which something is not read: what it would have defined is not known.
    fn lacks(&self, diagnostic: Diagnostic) {
        self.mistake(diagnostic);
        self.is_open();
    }
}

fn flatten(entries: &[Entry], into: &mut Vec<Arc<Task>>) {
    for entry in entries {
        match entry {
            Entry::Task(task) => into.push(Arc::clone(task)),
            Entry::Block(block) => flatten(&block.body, into),
        }
    }
}

fn merge_vars(node: &Node, vars: &mut Vars) {
    if let Some(entries) = node.entries() {
        vars.extend(Authored::entries(entries).into());
    }
}

fn find_yaml(folder: &Path, name: &str) -> Option<PathBuf> {
    ["yml", "yaml", "json"]
        .iter()
        .map(|extension| folder.join(format!("{name}.{extension}")))
        .find(|path| files::is_file(path))
}

fn strip_yaml(name: &str) -> &str {
    name.trim_end_matches(".yml").trim_end_matches(".yaml")
}

fn list(node: &Node) -> Vec<Authored> {
    match &node.content {
        Content::Sequence(items) => items.iter().map(Authored::node).collect(),
        Content::Null => Vec::new(),
        _ => vec![Authored::node(node)],
    }
}

/// A text, or a list of texts; a text is split at its commas.
fn texts(node: &Node) -> Vec<String> {
    let values = list(node);
    let split = |value: Authored| match value.into_inner() {
        Value::String(text) if !is_template(&text) => text.split(',').map(|part| part.trim().to_owned()).collect(),
        Value::String(text) => vec![text],
        other => vec![other.to_string()],
    };
    values.into_iter().flat_map(split).filter(|text| !text.is_empty()).collect()
}
