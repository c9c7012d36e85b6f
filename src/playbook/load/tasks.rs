//! Tasks and blocks: their keywords, loops, conditions, and the files that they import.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::{Map, Value};

use super::{Collect, Loader, RoleUse, UNSUPPORTED, list, strip_yaml, texts};
use crate::{
    error::{Diagnostic, Result},
    files,
    playbook::model::{Block, Common, Entry, Loop, Task},
    template::is_template,
    yaml::{self, Content, Key, Node},
};

/// Keywords of tasks and blocks that say something about how they run.
pub(super) const TASK_KEYWORDS: &[&str] = &[
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

/// Loops by their look-up.
pub(super) const LOOPS: &[&str] = &[
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
    pub(super) fn entries(
        &self, node: &Node, common: &Common, folder: &Path, collect: &mut Collect,
    ) -> Result<Vec<Entry>> {
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

    pub(super) fn entry(
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

    pub(super) fn import_tasks(&self, task: &Task, node: &Node, collect: &mut Collect) -> Result<Vec<Entry>> {
        let name = include_name(task);
        if is_template(&name) {
            self.mistake(node.error("`import_tasks` is read before any variable is known; use `include_tasks`"));
            return Ok(Vec::new());
        }
        let Some(path) = find_tasks(task, &name) else {
            self.mistake(place_of_include(task, node).error(format!("there is no task file `{name}`")));
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
    pub(super) fn check_include(&self, task: &Task, node: &Node, collect: &Collect) -> Result<()> {
        let name = include_name(task);
        if is_template(&name) || collect.depth >= 8 {
            return Ok(());
        }
        match find_tasks(task, &name) {
            None => self.mistake(place_of_include(task, node).error(format!("there is no task file `{name}`"))),
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
    pub(super) fn common(&self, fields: &[(Key, Node)], outer: &Common) -> Common {
        let mut common = outer.clone();
        let conditional = !outer.when.is_empty() || fields.iter().any(|(key, _)| key.name == "when");
        for (key, node) in fields {
            let value = || Some(node.to_value());
            match key.name.as_str() {
                "when" => {
                    for condition in list(node) {
                        self.check_condition(&condition, node);
                        common.when.push(condition);
                    }
                    self.uses(node, true, !outer.when.is_empty());
                }
                "tags" => common.tags.extend(texts(node)),
                "vars" => {
                    if let Some(entries) = node.entries() {
                        // What nobody asks for may be undefined.
                        self.uses(node, false, true);
                        self.defines(entries.iter().map(|(key, _)| &key.name));
                        common.vars.extend(yaml::entries_to_map(entries));
                    }
                }
                "become" => common.r#become = value(),
                "become_user" => {
                    self.uses(node, false, conditional);
                    common.become_user = value();
                }
                "become_method" if node.as_str().is_some_and(|method| method != "sudo") => {
                    self.mistake(node.error("only `become_method: sudo` is supported"));
                }
                "environment" => {
                    self.uses(node, false, conditional);
                    common.environment.extend(list(node));
                }
                "connection" => common.connection = node.as_str().map(str::to_owned),
                "delegate_to" => {
                    self.uses(node, false, conditional);
                    common.delegate_to = value();
                }
                "run_once" => common.run_once = value(),
                "ignore_errors" => common.ignore_errors = value(),
                "no_log" => common.no_log = value(),
                "check_mode" => common.check_mode = value(),
                _ => {}
            }
        }
        common
    }

    pub(super) fn check_condition(&self, condition: &Value, node: &Node) {
        if let Value::String(text) = condition {
            let checked = if is_template(text) { self.engine.check(text) } else { self.engine.check_expression(text) };
            if let Err(error) = checked {
                self.mistake(node.error(error.to_string()));
            }
        }
    }

    pub(super) fn task(&self, node: &Node, fields: &[(Key, Node)], common: Common, folder: &Path) -> Option<Task> {
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
        self.module(key, value, node.get("args"), &mut task)?;
        self.words_of_task(&task, node);
        if task.name.is_empty() {
            task.name.clone_from(&task.module);
        }
        Some(task)
    }

    pub(super) fn loop_control(&self, control: &Node, r#loop: &mut Loop) {
        for (key, value) in control.entries().unwrap_or_default() {
            match key.name.as_str() {
                "loop_var" => r#loop.var = value.as_str().unwrap_or("item").to_owned(),
                "index_var" => r#loop.index_var = value.as_str().map(str::to_owned),
                "label" => {
                    self.uses(value, false, true);
                    r#loop.label = Some(value.to_value());
                }
                "pause" => r#loop.pause = value.to_value().as_f64(),
                "extended" => r#loop.extended = crate::template::is_true(&value.to_value()),
                "extended_allitems" | "break_when" => {}
                name => {
                    self.mistake(Diagnostic::error(key.mark.location(), format!("unknown keyword `{name}` of a loop")));
                }
            }
        }
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

/// Where a task names the file that it includes.
fn place_of_include<'a>(task: &Task, node: &'a Node) -> &'a Node {
    let named = node.entries().into_iter().flatten().find(|(key, _)| key.name.rsplit('.').next() == Some(&task.module));
    named.map_or(node, |(_, value)| value.get("file").unwrap_or(value))
}

/// The file that an include or import names.
pub(crate) fn include_name(task: &Task) -> String {
    let named = task.arguments.get("file").and_then(Value::as_str);
    named.or(task.free_form.as_deref()).unwrap_or_default().to_owned()
}

/// Where a task file may lie: beside the present one, or in the role's `tasks`.
pub(crate) fn find_tasks(task: &Task, name: &str) -> Option<PathBuf> {
    let mut folders = vec![task.folder.clone()];
    let mut role = task.common.role.as_ref();
    while let Some(present) = role {
        folders.push(present.path.join("tasks"));
        role = present.parent.as_ref();
    }
    files::find(&folders, Path::new(name))
}
