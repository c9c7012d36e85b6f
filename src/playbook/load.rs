//! Reads playbooks, roles and task files, and checks everything that can be checked before any host is touched: keywords,
//! modules, their arguments, conditions and templates. Every mistake is found in one run.

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use serde_json::{Map, Value};

use super::{
    actions,
    arguments::split_pairs,
    model::{Block, Common, Entry, Loop, Play, Role, Task},
};
use crate::{
    error::{Diagnostic, Error, Result, did_you_mean},
    files, modules,
    template::{Engine, is_template},
    yaml::{self, Content, Key, Node, Source},
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
}

/// Keywords of tasks and blocks that say something about how they run.
const TASK_KEYWORDS: &[&str] = &[
    "action",
    "always",
    "any_errors_fatal",
    "args",
    "become",
    "become_exe",
    "become_flags",
    "become_method",
    "become_user",
    "block",
    "changed_when",
    "check_mode",
    "collections",
    "connection",
    "delay",
    "delegate_facts",
    "delegate_to",
    "diff",
    "environment",
    "failed_when",
    "ignore_errors",
    "ignore_unreachable",
    "listen",
    "local_action",
    "loop",
    "loop_control",
    "name",
    "no_log",
    "notify",
    "register",
    "remote_user",
    "rescue",
    "retries",
    "run_once",
    "tags",
    "throttle",
    "timeout",
    "until",
    "vars",
    "when",
];

const PLAY_KEYWORDS: &[&str] = &[
    "any_errors_fatal",
    "become",
    "become_method",
    "become_user",
    "collections",
    "connection",
    "environment",
    "force_handlers",
    "gather_facts",
    "gather_subset",
    "handlers",
    "hosts",
    "ignore_errors",
    "max_fail_percentage",
    "name",
    "no_log",
    "post_tasks",
    "pre_tasks",
    "remote_user",
    "roles",
    "run_once",
    "serial",
    "strategy",
    "tags",
    "tasks",
    "vars",
    "vars_files",
];

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

/// Known keywords that would change what happens and that we do not follow: an error, not a silent difference.
const UNSUPPORTED: &[&str] = &["async", "poll", "debugger", "module_defaults", "vars_prompt", "fact_path", "order"];

/// Loops by their look-up.
const LOOPS: &[&str] = &[
    "items",
    "list",
    "dict",
    "nested",
    "together",
    "indexed_items",
    "flattened",
    "fileglob",
    "first_found",
    "sequence",
    "subelements",
];

impl Loader {
    /// A loader that looks in these places.
    #[must_use]
    pub fn new(search: SearchPath, engine: Engine) -> Self {
        Self { search, engine, texts: Mutex::default(), found: Mutex::default() }
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
        let mut plays = Vec::new();
        for path in paths {
            self.playbook(path, &mut plays)?;
        }
        let found = std::mem::take(&mut *self.found.lock().expect("no thread panics while it holds the list"));
        if found.is_empty() { Ok(plays) } else { Err(crate::config::mistakes(&paths[0], found)) }
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

    fn mistake(&self, diagnostic: Diagnostic) {
        let mut found = self.found.lock().expect("no thread panics while it holds the list");
        if !found.contains(&diagnostic) {
            found.push(diagnostic);
        }
    }

    fn read(&self, path: &Path) -> Result<Node> {
        if let Some(node) = self.texts.lock().expect("no thread panics while it holds the texts").get(path) {
            return Ok(node.clone());
        }
        let source = Source::new(path, files::read_text(path)?);
        // Duplicate keys are a warning in Ansible, and the last one wins.
        let (node, _) = yaml::parse(&source)?;
        self.texts.lock().expect("no thread panics while it holds the texts").insert(path.to_owned(), node.clone());
        Ok(node)
    }

    fn playbook(&self, path: &Path, plays: &mut Vec<Play>) -> Result<()> {
        let node = self.read(path)?;
        let folder = path.parent().unwrap_or(Path::new(".")).to_owned();
        let Some(items) = node.items() else {
            self.mistake(node.error("a playbook is a list of plays"));
            return Ok(());
        };
        for item in items {
            if let Some(import) = item.get("import_playbook").or_else(|| item.get("ansible.builtin.import_playbook")) {
                let name = import.as_str().unwrap_or_default();
                let mut folders = vec![folder.clone()];
                folders.extend(self.search.playbooks.iter().cloned());
                match files::find(&folders, Path::new(name)) {
                    Some(path) => self.playbook(&path, plays)?,
                    None => self.mistake(import.error(format!("there is no playbook `{name}`"))),
                }
                continue;
            }
            if let Some(play) = self.play(item, &folder)? {
                plays.push(play);
            }
        }
        Ok(())
    }

    fn keywords(&self, entries: &[(Key, Node)], known: &[&str], what: &str) {
        for (key, _) in entries {
            if UNSUPPORTED.contains(&key.name.as_str()) {
                let message = format!("the keyword `{}` is not supported", key.name);
                self.mistake(Diagnostic::error(key.mark.location(), message));
            } else if !known.contains(&key.name.as_str()) {
                let mut diagnostic =
                    Diagnostic::error(key.mark.location(), format!("unknown keyword `{}` of a {what}", key.name));
                if let Some(close) = did_you_mean(&key.name, known.iter().copied()) {
                    diagnostic = diagnostic.hint(format!("did you mean `{close}`?"));
                }
                self.mistake(diagnostic);
            }
        }
    }

    fn play(&self, node: &Node, folder: &Path) -> Result<Option<Play>> {
        let Some(entries) = node.entries() else {
            self.mistake(node.error(format!("a play is a mapping, this is {}", node.kind())));
            return Ok(None);
        };
        self.keywords(entries, PLAY_KEYWORDS, "play");
        let hosts = node.get("hosts").map(texts).unwrap_or_default();
        if hosts.is_empty() {
            self.mistake(node.error("a play needs `hosts`"));
        }
        let mut play = Play {
            name: node.get("name").and_then(Node::as_str).map_or_else(|| hosts.join(","), str::to_owned),
            hosts,
            gather_facts: node.get("gather_facts").is_none_or(|node| crate::template::is_true(&node.to_value())),
            free: node.get("strategy").and_then(Node::as_str).is_some_and(|name| name.ends_with("free")),
            serial: node.get("serial").map(texts).unwrap_or_default(),
            any_errors_fatal: node
                .get("any_errors_fatal")
                .is_some_and(|node| crate::template::is_true(&node.to_value())),
            vars: node.get("vars").and_then(Node::entries).map(yaml::entries_to_map).unwrap_or_default(),
            vars_files: node.get("vars_files").map(list).unwrap_or_default(),
            sections: Vec::new(),
            handlers: Vec::new(),
            roles: Vec::new(),
            common: Common::default(),
            folder: folder.to_owned(),
            mark: node.mark.clone(),
        };
        let common = self.common(entries, &Common::default());
        let common = Common { vars: Map::new(), ..common };
        let mut collect = Collect { once: true, ..Collect::default() };
        let mut section = |key: &str| -> Result<Vec<Entry>> {
            node.get(key).map_or_else(|| Ok(Vec::new()), |node| self.entries(node, &common, folder, &mut collect))
        };
        let (before, after, tasks) = (section("pre_tasks")?, section("post_tasks")?, section("tasks")?);
        let mut middle = Vec::new();
        for item in node.get("roles").and_then(Node::items).unwrap_or_default() {
            middle.extend(self.role_entry(item, &common, folder, &mut collect)?);
        }
        middle.extend(tasks);
        play.sections = vec![before, middle, after];
        if let Some(handlers) = node.get("handlers") {
            let entries = self.entries(handlers, &common, folder, &mut collect)?;
            flatten(&entries, &mut collect.handlers);
        }
        play.common = common;
        play.handlers = collect.handlers;
        play.roles = collect.roles;
        Ok(Some(play))
    }

    /// An entry of `roles:`: a name, or a mapping with a name, keywords and parameters.
    fn role_entry(&self, node: &Node, common: &Common, folder: &Path, collect: &mut Collect) -> Result<Vec<Entry>> {
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
    fn role(&self, wanted: &RoleUse<'_>, common: &Common, folder: &Path, collect: &mut Collect) -> Result<Vec<Entry>> {
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

    fn role_folders(&self, folder: &Path) -> Vec<PathBuf> {
        let mut folders = vec![folder.join("roles")];
        folders.extend(self.search.roles.iter().cloned());
        // Roles of a project that is a role itself, as in its own tests.
        folders.push(folder.to_owned());
        folders
    }

    fn role_path(&self, name: &str, folder: &Path) -> Option<PathBuf> {
        let candidates = self.role_folders(folder).into_iter().map(|folder| folder.join(name));
        candidates.into_iter().find(|path| {
            ["tasks", "meta", "defaults", "vars", "handlers"].iter().any(|part| files::is_dir(&path.join(part)))
        })
    }

    fn known_roles(&self, folder: &Path) -> Vec<String> {
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
    fn role_vars(&self, role: &Path, part: &str) -> Result<Map<String, Value>> {
        let mut vars = Map::new();
        let folder = role.join(part);
        if let Some(path) = find_yaml(&folder, "main") {
            merge_vars(&self.read(&path)?, &mut vars);
        } else if files::is_dir(&folder.join("main")) {
            for file in files::walk(&folder.join("main"))? {
                merge_vars(&self.read(&folder.join("main").join(file))?, &mut vars);
            }
        }
        Ok(vars)
    }

    /// The entries of a dynamic include, when its turn has come: mistakes are errors of that task.
    ///
    /// # Errors
    /// When the file is missing or wrong.
    pub fn include_tasks(&self, path: &Path, common: &Common) -> Result<(Vec<Entry>, Vec<Arc<Task>>)> {
        let node = self.read(path)?;
        let mut collect = Collect::default();
        let folder = path.parent().unwrap_or(Path::new("."));
        let entries = self.entries(&node, common, folder, &mut collect)?;
        self.take_mistakes(path)?;
        Ok((entries, collect.handlers))
    }

    /// The entries of a role that is included when its turn has come.
    ///
    /// # Errors
    /// When the role is missing or wrong.
    pub fn include_role(
        &self, name: &str, tasks_from: &str, common: &Common, task: &Task,
    ) -> Result<(Vec<Entry>, Vec<Arc<Task>>)> {
        let mut collect = Collect::default();
        let node = Node { content: Content::Null, mark: task.mark.clone() };
        let params = common.vars.clone();
        let wanted =
            RoleUse { name, node: &node, params, tasks_from: strip_yaml(tasks_from), parent: common.role.clone() };
        let entries = self.role(&wanted, common, &task.folder, &mut collect)?;
        self.take_mistakes(task.mark.source().file.as_path())?;
        Ok((entries, collect.handlers))
    }

    fn take_mistakes(&self, path: &Path) -> Result<()> {
        let found = std::mem::take(&mut *self.found.lock().expect("no thread panics while it holds the list"));
        if found.is_empty() { Ok(()) } else { Err(crate::config::mistakes(path, found)) }
    }

    fn entries(&self, node: &Node, common: &Common, folder: &Path, collect: &mut Collect) -> Result<Vec<Entry>> {
        if matches!(node.content, Content::Null) {
            return Ok(Vec::new());
        }
        let Some(items) = node.items() else {
            self.mistake(node.error(format!("a list of tasks is expected, this is {}", node.kind())));
            return Ok(Vec::new());
        };
        let mut entries = Vec::new();
        for item in items {
            match item.entries() {
                Some(fields) => entries.extend(self.entry(item, fields, common, folder, collect)?),
                None => self.mistake(item.error(format!("a task is a mapping, this is {}", item.kind()))),
            }
        }
        Ok(entries)
    }

    fn entry(
        &self, node: &Node, fields: &[(Key, Node)], common: &Common, folder: &Path, collect: &mut Collect,
    ) -> Result<Vec<Entry>> {
        let own = self.common(fields, common);
        if let Some(body) = node.get("block") {
            self.keywords(fields, TASK_KEYWORDS, "block");
            let part = |key: &str, collect: &mut Collect| {
                node.get(key).map_or_else(|| Ok(Vec::new()), |node| self.entries(node, &own, folder, collect))
            };
            let body = self.entries(body, &own, folder, collect)?;
            let (rescue, always) = (part("rescue", collect)?, part("always", collect)?);
            return Ok(vec![Entry::Block(Arc::new(Block { body, rescue, always }))]);
        }
        let Some(task) = self.task(node, fields, own, folder) else { return Ok(Vec::new()) };
        match task.module.as_str() {
            "import_tasks" | "include" => self.import_tasks(&task, node, collect),
            "import_role" => {
                let text = |name: &str| task.arguments.get(name).and_then(Value::as_str);
                let name = text("name").or_else(|| text("role")).unwrap_or_default().to_owned();
                let tasks_from = text("tasks_from").unwrap_or("main").to_owned();
                let params = task.common.vars.clone();
                let parent = task.common.role.clone();
                let wanted = RoleUse { name: &name, node, params, tasks_from: strip_yaml(&tasks_from), parent };
                self.role(&wanted, &task.common, folder, collect)
            }
            "include_tasks" => {
                self.check_include(&task, node, collect)?;
                Ok(vec![Entry::Task(Arc::new(task))])
            }
            "include_role" => {
                let text = |name: &str| task.arguments.get(name).and_then(Value::as_str);
                let name = text("name").or_else(|| text("role")).unwrap_or_default().to_owned();
                if !is_template(&name) && collect.depth < 8 {
                    let tasks_from = text("tasks_from").unwrap_or("main").to_owned();
                    let mut aside =
                        Collect { depth: collect.depth + 1, stack: collect.stack.clone(), ..Collect::default() };
                    let wanted = RoleUse {
                        name: &name,
                        node,
                        params: Map::new(),
                        tasks_from: strip_yaml(&tasks_from),
                        parent: None,
                    };
                    if !is_template(&tasks_from) && !aside.stack.contains(&name) {
                        self.role(&wanted, &task.common, folder, &mut aside)?;
                    }
                }
                Ok(vec![Entry::Task(Arc::new(task))])
            }
            _ => Ok(vec![Entry::Task(Arc::new(task))]),
        }
    }

    fn import_tasks(&self, task: &Task, node: &Node, collect: &mut Collect) -> Result<Vec<Entry>> {
        let name = include_name(task);
        if is_template(&name) {
            self.mistake(node.error("`import_tasks` is read before any variable is known; use `include_tasks`"));
            return Ok(Vec::new());
        }
        let Some(path) = find_tasks(task, &name) else {
            self.mistake(node.error(format!("there is no task file `{name}`")));
            return Ok(Vec::new());
        };
        collect.depth += 1;
        if collect.depth > 32 {
            self.mistake(node.error(format!("`{name}` imports itself")));
            return Ok(Vec::new());
        }
        let inner = self.read(&path)?;
        let folder = path.parent().unwrap_or(Path::new(".")).to_owned();
        let entries = self.entries(&inner, &task.common, &folder, collect)?;
        collect.depth -= 1;
        Ok(entries)
    }

    /// A dynamic include whose name is known is checked now, and read again when its turn comes.
    fn check_include(&self, task: &Task, node: &Node, collect: &Collect) -> Result<()> {
        let name = include_name(task);
        if is_template(&name) || collect.depth >= 8 {
            return Ok(());
        }
        match find_tasks(task, &name) {
            None => self.mistake(node.error(format!("there is no task file `{name}`"))),
            Some(path) => {
                let inner = self.read(&path)?;
                let mut aside =
                    Collect { depth: collect.depth + 1, stack: collect.stack.clone(), ..Collect::default() };
                self.entries(&inner, &task.common, path.parent().unwrap_or(Path::new(".")), &mut aside)?;
            }
        }
        Ok(())
    }

    /// What a task or block says about how it runs, over what is around it.
    fn common(&self, fields: &[(Key, Node)], outer: &Common) -> Common {
        let mut common = outer.clone();
        for (key, node) in fields {
            let value = || Some(node.to_value());
            match key.name.as_str() {
                "when" => {
                    for condition in list(node) {
                        self.check_condition(&condition, node);
                        common.when.push(condition);
                    }
                }
                "tags" => common.tags.extend(texts(node)),
                "vars" => {
                    if let Some(entries) = node.entries() {
                        common.vars.extend(yaml::entries_to_map(entries));
                    }
                }
                "become" => common.r#become = value(),
                "become_user" => common.become_user = value(),
                "become_method" if node.as_str().is_some_and(|method| method != "sudo") => {
                    self.mistake(node.error("only `become_method: sudo` is supported"));
                }
                "environment" => common.environment.extend(list(node)),
                "connection" => common.connection = node.as_str().map(str::to_owned),
                "delegate_to" => common.delegate_to = value(),
                "run_once" => common.run_once = value(),
                "ignore_errors" => common.ignore_errors = value(),
                "no_log" => common.no_log = value(),
                "check_mode" => common.check_mode = value(),
                _ => {}
            }
        }
        common
    }

    fn check_condition(&self, condition: &Value, node: &Node) {
        if let Value::String(text) = condition {
            let checked = if is_template(text) { self.engine.check(text) } else { self.engine.check_expression(text) };
            if let Err(error) = checked {
                self.mistake(node.error(error.to_string()));
            }
        }
    }

    fn task(&self, node: &Node, fields: &[(Key, Node)], common: Common, folder: &Path) -> Option<Task> {
        let mut module: Option<(&Key, &Node)> = None;
        let mut task = Task::blank(common, folder.to_owned(), node.mark.clone());
        let mut control: Option<&Node> = None;
        for (key, value) in fields {
            match key.name.as_str() {
                "name" => task.name = value.as_str().map_or_else(|| value.to_value().to_string(), str::to_owned),
                "register" => task.register = value.as_str().map(str::to_owned),
                "changed_when" | "failed_when" | "until" => {
                    let condition = value.to_value();
                    for one in list(value) {
                        self.check_condition(&one, value);
                    }
                    match key.name.as_str() {
                        "changed_when" => task.changed_when = Some(condition),
                        "failed_when" => task.failed_when = Some(condition),
                        _ => task.until = Some(condition),
                    }
                }
                "retries" => task.retries = Some(value.to_value()),
                "delay" => task.delay = Some(value.to_value()),
                "notify" => task.notify = list(value),
                "listen" => task.listen = texts(value),
                "delegate_facts" => task.delegate_facts = crate::template::is_true(&value.to_value()),
                "loop" => task.r#loop = Some(Loop::new("loop", value.to_value())),
                "loop_control" => control = Some(value),
                "args" => {
                    if let Some(entries) = value.entries() {
                        task.arguments.extend(yaml::entries_to_map(entries));
                    }
                }
                name if name.starts_with("with_") => {
                    let lookup = &name[5..];
                    if !LOOPS.contains(&lookup) {
                        self.mistake(Diagnostic::error(
                            key.mark.location(),
                            format!("the loop `{name}` is not supported"),
                        ));
                    }
                    task.r#loop = Some(Loop::new(lookup, value.to_value()));
                }
                name if UNSUPPORTED.contains(&name) => {
                    self.mistake(Diagnostic::error(
                        key.mark.location(),
                        format!("the keyword `{name}` is not supported"),
                    ));
                }
                name if TASK_KEYWORDS.contains(&name) && !matches!(name, "action" | "local_action") => {}
                _ if module.is_none() => module = Some((key, value)),
                name => {
                    let first = module.map(|(key, _)| key.name.clone()).unwrap_or_default();
                    let message = format!("a task has one module, this one has `{first}` and `{name}`");
                    self.mistake(Diagnostic::error(key.mark.location(), message));
                }
            }
        }
        if let (Some(control), Some(r#loop)) = (control, &mut task.r#loop) {
            self.loop_control(control, r#loop);
        }
        let Some((key, value)) = module else {
            self.mistake(node.error("this task names no module"));
            return None;
        };
        self.module(key, value, &mut task)?;
        if task.name.is_empty() {
            task.name.clone_from(&task.module);
        }
        Some(task)
    }

    fn loop_control(&self, control: &Node, r#loop: &mut Loop) {
        for (key, value) in control.entries().unwrap_or_default() {
            match key.name.as_str() {
                "loop_var" => r#loop.var = value.as_str().unwrap_or("item").to_owned(),
                "index_var" => r#loop.index_var = value.as_str().map(str::to_owned),
                "label" => r#loop.label = Some(value.to_value()),
                "pause" => r#loop.pause = value.to_value().as_f64(),
                "extended" => r#loop.extended = crate::template::is_true(&value.to_value()),
                "extended_allitems" | "break_when" => {}
                name => {
                    self.mistake(Diagnostic::error(key.mark.location(), format!("unknown keyword `{name}` of a loop")));
                }
            }
        }
    }

    /// The module of a task and its arguments, in any of the ways in which they can be written.
    fn module(&self, key: &Key, value: &Node, task: &mut Task) -> Option<()> {
        let mut name = key.name.clone();
        let mut text = value.as_str().map(str::to_owned);
        let mut fields = value.entries();
        let mut rest;
        if matches!(name.as_str(), "action" | "local_action") {
            if name == "local_action" {
                task.common.delegate_to = Some("localhost".into());
            }
            match (&text, fields) {
                (Some(words), _) => {
                    let (first, after) = words.trim().split_once(char::is_whitespace).unwrap_or((words.trim(), ""));
                    name = first.to_owned();
                    text = Some(after.to_owned());
                }
                (None, Some(entries)) => {
                    name = value.get("module").and_then(Node::as_str).unwrap_or_default().to_owned();
                    rest = entries.to_vec();
                    rest.retain(|(key, _)| key.name != "module");
                    fields = Some(&rest);
                }
                _ => {}
            }
        }
        let Some(known) = modules::short_name(&name).and_then(Known::find) else {
            self.mistake(unknown_module(&name, key));
            return None;
        };
        task.module = known.name().to_owned();
        let allowed = known.arguments();
        match (text, fields) {
            (_, Some(entries)) => {
                for (key, node) in entries {
                    // A name that is a template cannot be checked now; a text of arguments likewise.
                    let fits = allowed.is_empty() || allowed.contains(&key.name.as_str()) || is_template(&key.name);
                    if !fits {
                        let mut diagnostic = Diagnostic::error(
                            key.mark.location(),
                            format!("`{}` has no argument `{}`", task.module, key.name),
                        );
                        if let Some(close) = did_you_mean(&key.name, allowed.iter().copied()) {
                            diagnostic = diagnostic.hint(format!("did you mean `{close}`?"));
                        }
                        self.mistake(diagnostic);
                    }
                    self.check_templates(node);
                    task.arguments.insert(key.name.clone(), node.to_value());
                }
            }
            (Some(text), None) => {
                if let Err(error) = self.engine.check(&text) {
                    self.mistake(value.error(error.to_string()));
                }
                let (pairs, free) = split_pairs(&text, allowed, known.free_form());
                task.arguments.extend(pairs);
                task.free_form = free;
                if task.free_form.is_some() && !known.free_form() {
                    self.mistake(value.error(format!("`{}` takes named arguments, not a text", task.module)));
                }
            }
            (None, None) => {
                if let Content::Sequence(_) = value.content {
                    self.mistake(value.error(format!("`{}` takes named arguments, not a list", task.module)));
                }
            }
        }
        // Those that came by `args:` have not been looked at yet.
        let direct = |name: &str| fields.is_some_and(|fields| fields.iter().any(|(key, _)| key.name == name));
        let fits = |name: &str| allowed.is_empty() || allowed.contains(&name) || is_template(name);
        for name in task.arguments.keys().filter(|name| !direct(name) && !fits(name)) {
            self.mistake(Diagnostic::error(
                task.mark.location(),
                format!("`{}` has no argument `{name}`", task.module),
            ));
        }
        if let Some(Value::Object(_)) = task.arguments.get("apply")
            && let Some(node) = value.get("apply").and_then(Node::entries)
        {
            task.apply = Some(Box::new(self.common(node, &Common::default())));
        }
        Some(())
    }

    fn check_templates(&self, node: &Node) {
        match &node.content {
            Content::String(text) => {
                if let Err(error) = self.engine.check(text) {
                    self.mistake(node.error(error.to_string()));
                }
            }
            Content::Sequence(items) => items.iter().for_each(|item| self.check_templates(item)),
            Content::Mapping(entries) => entries.iter().for_each(|(_, node)| self.check_templates(node)),
            _ => {}
        }
    }
}

/// A module or an action.
enum Known {
    Module(&'static dyn modules::Module),
    Action(&'static actions::Action),
}

impl Known {
    fn find(name: &str) -> Option<Self> {
        modules::find(name).map(Self::Module).or_else(|| actions::find(name).map(Self::Action))
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Module(module) => module.name(),
            Self::Action(action) => action.name,
        }
    }

    fn arguments(&self) -> &'static [&'static str] {
        match self {
            Self::Module(module) => module.arguments(),
            Self::Action(action) => action.arguments,
        }
    }

    fn free_form(&self) -> bool {
        match self {
            Self::Module(module) => module.free_form(),
            Self::Action(action) => action.free_form,
        }
    }
}

fn unknown_module(name: &str, key: &Key) -> Diagnostic {
    let known =
        modules::MODULES.iter().map(|module| module.name()).chain(actions::ACTIONS.iter().map(|action| action.name));
    let diagnostic = Diagnostic::error(key.mark.location(), format!("the module `{name}` is not supported"));
    let short = name.rsplit('.').next().unwrap_or(name);
    match did_you_mean(short, known) {
        Some(close) if close != short => diagnostic.hint(format!("did you mean `{close}`?")),
        _ => diagnostic,
    }
}

impl Loop {
    fn new(lookup: &str, source: Value) -> Self {
        Self {
            lookup: lookup.to_owned(),
            source,
            var: "item".to_owned(),
            index_var: None,
            label: None,
            pause: None,
            extended: false,
        }
    }
}

struct RoleUse<'a> {
    name: &'a str,
    node: &'a Node,
    params: Map<String, Value>,
    tasks_from: &'a str,
    parent: Option<Arc<Role>>,
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
}

fn flatten(entries: &[Entry], into: &mut Vec<Arc<Task>>) {
    for entry in entries {
        match entry {
            Entry::Task(task) => into.push(Arc::clone(task)),
            Entry::Block(block) => flatten(&block.body, into),
        }
    }
}

fn merge_vars(node: &Node, vars: &mut Map<String, Value>) {
    if let Some(entries) = node.entries() {
        vars.extend(yaml::entries_to_map(entries));
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

/// The file that an include or import names.
pub(super) fn include_name(task: &Task) -> String {
    let named = task.arguments.get("file").and_then(Value::as_str);
    named.or(task.free_form.as_deref()).unwrap_or_default().to_owned()
}

/// Where a task file may lie: beside the present one, or in the role's `tasks`.
pub(super) fn find_tasks(task: &Task, name: &str) -> Option<PathBuf> {
    let mut folders = vec![task.folder.clone()];
    let mut role = task.common.role.as_ref();
    while let Some(present) = role {
        folders.push(present.path.join("tasks"));
        role = present.parent.as_ref();
    }
    files::find(&folders, Path::new(name))
}

fn list(node: &Node) -> Vec<Value> {
    match &node.content {
        Content::Sequence(items) => items.iter().map(Node::to_value).collect(),
        Content::Null => Vec::new(),
        _ => vec![node.to_value()],
    }
}

/// A text, or a list of texts; a text is split at its commas.
fn texts(node: &Node) -> Vec<String> {
    let values = list(node);
    let split = |value: Value| match value {
        Value::String(text) if !is_template(&text) => text.split(',').map(|part| part.trim().to_owned()).collect(),
        Value::String(text) => vec![text],
        other => vec![other.to_string()],
    };
    values.into_iter().flat_map(split).filter(|text| !text.is_empty()).collect()
}

/// The hosts that match the patterns of a play, in the order of the inventory.
#[must_use]
pub fn match_hosts(patterns: &[String], hosts: &[String], groups: &BTreeMap<String, Vec<String>>) -> Vec<String> {
    let mut chosen: Vec<String> = Vec::new();
    let patterns = patterns.iter().flat_map(|pattern| pattern.split([',', ':']));
    for pattern in patterns.map(str::trim).filter(|pattern| !pattern.is_empty()) {
        let (operator, name) = match pattern.chars().next() {
            Some(sign @ ('!' | '&')) => (sign, &pattern[1..]),
            _ => ('+', pattern),
        };
        let members = |host: &String| {
            name == "all"
                || wildcard(name, host)
                || groups.iter().any(|(group, members)| wildcard(name, group) && members.contains(host))
        };
        match operator {
            '!' => chosen.retain(|host| !members(host)),
            '&' => chosen.retain(members),
            _ => chosen.extend(hosts.iter().filter(|host| members(host)).cloned()),
        }
    }
    hosts.iter().filter(|host| chosen.contains(host)).cloned().collect()
}

/// `*` stands for any text.
fn wildcard(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((head, tail)) => text.strip_prefix(head).is_some_and(|rest| {
            (0..=rest.len()).filter(|at| rest.is_char_boundary(*at)).any(|at| wildcard(tail, &rest[at..]))
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::match_hosts;

    #[test]
    fn patterns_add_remove_and_intersect() {
        let hosts: Vec<String> = ["a", "b", "web-1", "web-2"].map(String::from).into();
        let groups = BTreeMap::from([("web".to_owned(), vec!["web-1".to_owned(), "web-2".to_owned()])]);
        let matched = |pattern: &str| match_hosts(&[pattern.to_owned()], &hosts, &groups).join(" ");
        assert_eq!(matched("all"), "a b web-1 web-2");
        assert_eq!(matched("web"), "web-1 web-2");
        assert_eq!(matched("all:!web"), "a b");
        assert_eq!(matched("web,a"), "a web-1 web-2");
        assert_eq!(matched("all:&web:!web-1"), "web-2");
        assert_eq!(matched("*-2"), "web-2");
        assert_eq!(matched("nobody"), "");
    }
}
