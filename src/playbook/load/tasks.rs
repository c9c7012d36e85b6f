//! Tasks and blocks: their keywords, loops, conditions, and the files that they import.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::Value;

use super::{Collect, Loader, keywords::Place, list, texts};
use crate::{
    error::{Diagnostic, Error, Result},
    files,
    playbook::{
        calls, connection,
        directives::{Directive, Meta},
        model::{Block, Common, Entry, Loop, Task},
    },
    template::{Authored, is_template},
    yaml::{Content, Key, Node},
};

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

    /// The entries of a list of handlers.
    pub(super) fn handlers(
        &self, node: &Node, common: &Common, folder: &Path, collect: &mut Collect,
    ) -> Result<Vec<Entry>> {
        let before = std::mem::replace(&mut collect.handling, true);
        let entries = self.entries(node, common, folder, collect);
        collect.handling = before;
        entries
    }

    pub(super) fn entry(
        &self, node: &Node, fields: &[(Key, Node)], outer: &Common, folder: &Path, collect: &mut Collect,
    ) -> Result<Vec<Entry>> {
        if let Some(body) = node.get("block") {
            if collect.handling {
                fields.iter().filter(|(key, _)| key.name == "block").for_each(|(key, _)| {
                    self.is_keyword(key, Place::Handler);
                });
                return Ok(Vec::new());
            }
            self.allow(fields, Place::Block);
            let own = self.common(fields, outer);
            let part = |key: &str, collect: &mut Collect| {
                node.get(key).map_or_else(|| Ok(Vec::new()), |node| self.entries(node, &own, folder, collect))
            };
            let body = self.entries(body, &own, folder, collect)?;
            let (rescue, always) = (part("rescue", collect)?, part("always", collect)?);
            return Ok(vec![Entry::Block(Arc::new(Block { body, rescue, always }))]);
        }
        let (place, module) = self.place_of(node, fields, collect.handling);
        let Some((key, value)) = module else { return Ok(Vec::new()) };
        let Some(mut task) = self.task(node, fields, (key, value), self.common(fields, outer), folder) else {
            return Ok(Vec::new());
        };
        if matches!(place, Place::IncludeTasks | Place::IncludeRole) {
            task.inside = Some(Box::new(self.inside(fields, value, outer)));
        }
        match calls::directive(&task) {
            Some(Directive::ImportTasks) => return self.import_tasks(&task, node, collect),
            Some(Directive::ImportRole) => return self.import_role(&task, node, folder, collect),
            Some(Directive::IncludeTasks) => self.check_include(&task, node, collect)?,
            Some(Directive::IncludeRole) => self.check_include_role(&task, node, folder, collect)?,
            Some(Directive::Meta) | None => {}
        }
        Ok(vec![Entry::Task(Arc::new(task))])
    }

    pub(super) fn import_tasks(&self, task: &Task, node: &Node, collect: &mut Collect) -> Result<Vec<Entry>> {
        let name = include_name(task);
        if is_template(&name) {
            self.mistake(node.error("`import_tasks` is read before any variable is known; use `include_tasks`"));
            return Ok(Vec::new());
        }
        let Some(path) = find_tasks(task, &name) else {
            self.lacks(place_of_include(task, node).error(format!("there is no task file `{name}`")));
            return Ok(Vec::new());
        };
        collect.depth += 1;
        if collect.depth > 32 {
            self.mistake(node.error(format!("`{name}` imports itself")));
            return Ok(Vec::new());
        }
        let inner = self.read(&path);
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
            None => self.lacks(place_of_include(task, node).error(format!("there is no task file `{name}`"))),
            Some(path) => {
                let inner = self.read(&path);
                let mut aside = Collect {
                    depth: collect.depth + 1,
                    stack: collect.stack.clone(),
                    handling: collect.handling,
                    ..Collect::default()
                };
                let common = task.inside.as_deref().unwrap_or(&task.common);
                self.entries(&inner, common, path.parent().unwrap_or(Path::new(".")), &mut aside)?;
            }
        }
        Ok(())
    }

    /// What a task or block says about how it runs, over what is around it.
    pub(super) fn common(&self, fields: &[(Key, Node)], outer: &Common) -> Common {
        let mut common = outer.clone();
        let conditional = !outer.when.is_empty() || fields.iter().any(|(key, _)| key.name == "when");
        for (key, node) in fields {
            let value = || Some(Authored::node(node));
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
                        self.variables(node);
                        self.defines(entries.iter().map(|(key, _)| &key.name));
                        common.vars.extend(Authored::entries(entries).into());
                    }
                }
                "become" => common.r#become = self.flag(key, node),
                "become_user" => {
                    self.uses(node, false, conditional);
                    common.become_user = value();
                }
                "become_method" => self.check_value(node, connection::check_become_method),
                "environment" => {
                    self.uses(node, false, conditional);
                    common.environment.extend(list(node));
                }
                "connection" => {
                    self.check_value(node, |text| connection::is_local(text).map(drop));
                    common.connection = value();
                }
                "delegate_to" => {
                    self.uses(node, false, conditional);
                    self.delegates(node, conditional);
                    common.delegate_to = value();
                }
                "run_once" => common.run_once = self.flag(key, node),
                "ignore_errors" => common.ignore_errors = self.flag(key, node),
                "ignore_unreachable" => common.ignore_unreachable = self.flag(key, node),
                "any_errors_fatal" => common.any_errors_fatal = self.flag(key, node),
                "throttle" => {
                    self.check_value(node, |text| count("throttle", text).map(drop));
                    common.throttle = value();
                }
                "timeout" => {
                    self.check_value(node, |text| count("timeout", text).map(drop));
                    common.timeout = value();
                }
                "no_log" => common.no_log = self.flag(key, node),
                "check_mode" => common.check_mode = self.flag(key, node),
                "diff" => common.diff = self.flag(key, node),
                "delegate_facts" => common.delegate_facts = self.flag(key, node),
                "notify" => {
                    self.notifies(node);
                    common.notify = list(node);
                }
                _ => {}
            }
        }
        common
    }

    /// A keyword that is true or false, or a template that says so.
    fn flag(&self, key: &Key, node: &Node) -> Option<Authored> {
        const WORDS: &[&str] =
            &["true", "false", "yes", "no", "on", "off", "1", "0", "y", "n", "t", "f", "1.0", "0.0", "null", ""];
        self.check_value(node, |text| {
            if WORDS.contains(&text.trim().to_ascii_lowercase().as_str()) {
                return Ok(());
            }
            Err(Error::usage(format!("`{}: {text}` is neither true nor false", key.name))
                .hint("a variable is written as `\"{{ name }}\"`"))
        });
        Some(Authored::node(node))
    }

    /// A value that is known now must be one that we have.
    pub(super) fn check_value(&self, node: &Node, check: impl FnOnce(&str) -> Result<()>) {
        let text = node.as_str().map_or_else(|| node.to_value().to_string(), str::to_owned);
        if !is_template(&text)
            && let Err(error) = check(&text)
        {
            let diagnostic = node.error(error.message());
            self.mistake(error.hints().iter().fold(diagnostic, Diagnostic::hint));
        }
    }

    pub(super) fn check_condition(&self, condition: &Value, node: &Node) {
        if let Value::String(text) = condition
            && let Err(error) = self.engine.check_condition(text)
        {
            self.mistake(node.error(error.to_string()));
        }
    }

    /// What the tasks inside a dynamic include inherit: what is around it, its `apply` and its variables; its other keywords
    /// are for the include itself.
    fn inside(&self, fields: &[(Key, Node)], value: &Node, outer: &Common) -> Common {
        let mut inside = Common { depth: outer.depth + 1, ..outer.clone() };
        let field = |name: &str| fields.iter().find(|(key, _)| key.name == name).map(|(_, node)| node);
        if let Some(vars) = field("vars").and_then(Node::entries) {
            inside.params.extend(Authored::entries(vars).into());
        }
        match value.get("apply").or_else(|| field("args")?.get("apply")) {
            None => {}
            Some(apply) => match apply.entries() {
                Some(entries) => {
                    self.allow(entries, Place::Apply);
                    inside = self.common(entries, &inside);
                }
                None => {
                    self.mistake(apply.error(format!("`apply` is a mapping of keywords, this is {}", apply.kind())));
                }
            },
        }
        inside
    }

    pub(super) fn task(
        &self, node: &Node, fields: &[(Key, Node)], (key, value): (&Key, &Node), common: Common, folder: &Path,
    ) -> Option<Task> {
        let mut task = Task::blank(common, folder.to_owned(), node.mark.clone());
        task.notify.clone_from(&task.common.notify);
        let mut control: Option<&Node> = None;
        for (key, value) in fields {
            match key.name.as_str() {
                "name" => task.name = value.as_str().map_or_else(|| value.to_value().to_string(), str::to_owned),
                "register" => task.register = self.variable_name(value),
                "changed_when" | "failed_when" | "until" => {
                    let condition = Authored::node(value);
                    for one in list(value) {
                        self.check_condition(&one, value);
                    }
                    match key.name.as_str() {
                        "changed_when" => task.changed_when = Some(condition),
                        "failed_when" => task.failed_when = Some(condition),
                        _ => task.until = Some(condition),
                    }
                }
                "retries" => {
                    self.check_value(value, |text| count("retries", text).map(drop));
                    task.retries = Some(Authored::node(value));
                }
                "delay" => {
                    self.check_value(value, |text| count("delay", text).map(drop));
                    task.delay = Some(Authored::node(value));
                }
                "listen" => task.listen = texts(value),
                "loop" => {
                    let template = value.as_str().is_some_and(is_template);
                    if !template && !matches!(value.content, Content::Sequence(_)) {
                        let diagnostic = value.error(format!("a loop needs a list, this is {}", value.kind()));
                        self.mistake(match value.content {
                            Content::String(_) => diagnostic.hint("a variable is written as `\"{{ name }}\"`"),
                            _ => diagnostic,
                        });
                    }
                    task.r#loop = Some(Loop::new("loop", Authored::node(value)));
                }
                "loop_control" => control = Some(value),
                "args" => {
                    if let Some(entries) = value.entries() {
                        task.arguments.extend(Authored::entries(entries));
                    }
                }
                name if name.starts_with("with_") => {
                    task.r#loop = Some(Loop::new(name, Authored::node(value)));
                }
                _ => {}
            }
        }
        if let (Some(control), Some(r#loop)) = (control, &mut task.r#loop) {
            self.loop_control(control, r#loop);
        }
        if self.module(key, value, node.get("args"), &mut task).is_none() {
            self.keeps(task.register.as_ref());
            return None;
        }
        if let (Some(what), Some(Directive::Meta)) = (&task.free_form, calls::directive(&task))
            && Meta::of(what).is_none()
        {
            self.mistake(value.error(format!("`meta: {}` is not supported", what.trim())));
        }
        self.symbols_of_task(&task, node);
        if task.name.is_empty() {
            task.name.clone_from(&task.module);
        }
        Some(task)
    }

    pub(super) fn loop_control(&self, control: &Node, r#loop: &mut Loop) {
        self.allow(control.entries().unwrap_or_default(), Place::LoopControl);
        for (key, value) in control.entries().unwrap_or_default() {
            match key.name.as_str() {
                "loop_var" => r#loop.var = self.variable_name(value).unwrap_or_else(|| "item".to_owned()),
                "index_var" => r#loop.index_var = self.variable_name(value),
                "label" => {
                    self.uses(value, false, true);
                    r#loop.label = Some(Authored::node(value));
                }
                "pause" => r#loop.pause = value.to_value().as_f64(),
                "extended" => r#loop.extended = crate::template::is_true(&value.to_value()),
                "break_when" => {
                    for condition in list(value) {
                        self.check_condition(&condition, value);
                        r#loop.break_when.push(condition);
                    }
                    self.uses(value, true, true);
                }
                "extended_allitems" => r#loop.all_items = crate::template::is_true(&value.to_value()),
                _ => {}
            }
        }
    }

    /// A name that a variable can have.
    fn variable_name(&self, node: &Node) -> Option<String> {
        let name = node.as_str().map_or_else(|| node.to_value().to_string(), str::to_owned);
        let valid = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !valid && !is_template(&name) {
            let close: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
            let diagnostic = node.error(format!("`{name}` is not a name that a variable can have"));
            self.mistake(diagnostic.hint(format!("letters, digits and `_`, such as `{close}`")));
            return None;
        }
        Some(name)
    }
}

impl Loop {
    fn new(keyword: &str, source: Authored) -> Self {
        Self {
            keyword: keyword.to_owned(),
            source,
            var: "item".to_owned(),
            index_var: None,
            label: None,
            pause: None,
            extended: false,
            break_when: Vec::new(),
            all_items: true,
        }
    }
}

/// A number of attempts or seconds.
///
/// # Errors
/// When it is none.
pub(crate) fn count(keyword: &str, text: &str) -> Result<u64> {
    let number = text.trim().parse::<f64>().ok().filter(|number| (0.0..=1e9).contains(number) && number.fract() == 0.0);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is a small whole number")]
    let number = number.map(|number| number as u64);
    number.ok_or_else(|| Error::usage(format!("`{keyword}: {text}` is not a whole number")))
}

/// Where a task names the file that it includes.
fn place_of_include<'a>(task: &Task, node: &'a Node) -> &'a Node {
    let call = calls::call(task);
    let named = node.entries().into_iter().flatten().find(|(key, _)| call.is_some_and(|call| call.is_named(&key.name)));
    named.map_or(node, |(_, value)| value.get("file").unwrap_or(value))
}

/// The file that an include or import names.
pub(crate) fn include_name(task: &Task) -> String {
    let named = task.arguments.get("file").and_then(Value::as_str);
    named.or(task.free_form.as_deref().map(String::as_str)).unwrap_or_default().to_owned()
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
