//! What a play speaks of and what it defines, gathered while it is read: so that a variable which nobody defines, a handler that
//! is not there and a template that does not compile are found before any host is touched.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
};

use super::Loader;
use crate::{
    playbook::{circles::Written, literal, model::Task, sources::Places},
    template::is_template,
    yaml::{Content, Mark, Node},
};

/// A text that is a template or an expression.
#[derive(Clone, Debug)]
pub struct Use {
    /// The text.
    pub text: String,
    /// Whether all of it is an expression, as in `when`.
    pub expression: bool,
    /// Whether it may never be asked for: a variable that nobody uses, a task under a condition.
    pub conditional: bool,
    /// Where it stands.
    pub mark: Mark,
}

/// What a play speaks of and what it defines.
#[derive(Clone, Debug, Default)]
pub struct Words {
    /// Its templates and expressions.
    pub uses: Vec<Use>,
    /// Template files that it renders, and whether that is under a condition.
    pub templates: BTreeMap<PathBuf, bool>,
    /// The variables that it defines, wherever that is.
    pub defined: BTreeSet<String>,
    /// The values of those that are written as such.
    pub written: Vec<Written>,
    /// Variables that may be missing: somebody asks whether they are there.
    pub optional: BTreeSet<String>,
    /// Those that outlive the play: results and facts.
    pub kept: BTreeSet<String>,
    /// Whether there are more of these, whose names are known only when the play runs.
    pub keeps_more: bool,
    /// Whether it also defines some whose names are known only when it runs.
    pub open: bool,
    /// Its tasks, also those of included files whose names are known.
    pub tasks: Vec<Arc<Task>>,
    /// Whether some of them run on this machine, where they may make files that later ones copy.
    pub local: bool,
    /// The handlers that it notifies, and where.
    pub notified: Vec<(String, Mark)>,
    /// The hosts that tasks are delegated to by name, where, and whether that is under a condition.
    pub delegates: Vec<(String, Mark, bool)>,
}

impl Words {
    /// What later plays may use of an earlier one.
    pub fn keep(&mut self, earlier: &Self) {
        self.defined.extend(earlier.kept.iter().cloned());
        self.open |= earlier.keeps_more;
        self.local |= earlier.local;
    }
}

/// The arguments that are expressions without braces.
fn is_expression(module: &str, argument: &str) -> bool {
    matches!((module, argument), ("assert", "that") | ("debug", "var"))
}

impl Loader {
    fn word(&self, note: impl FnOnce(&mut Words)) {
        note(&mut self.words.lock().expect("no thread panics while it holds the words"));
    }

    /// What was gathered since this was asked last.
    pub(super) fn take_words(&self) -> Words {
        std::mem::take(&mut *self.words.lock().expect("no thread panics while it holds the words"))
    }

    pub(super) fn defines<'a>(&self, names: impl IntoIterator<Item = &'a String>) {
        self.word(|words| words.defined.extend(names.into_iter().cloned()));
    }

    pub(super) fn is_open(&self) {
        self.word(|words| words.open = true);
    }

    /// The values of variables, which may never be asked for, and whether they are ones that we have.
    pub(super) fn variables(&self, node: &Node) {
        self.uses(node, false, true);
        self.check_vars(node);
        self.word(|words| words.written.extend(Written::all(node)));
    }

    pub(super) fn keeps<'a>(&self, names: impl IntoIterator<Item = &'a String>) {
        let names: Vec<String> = names.into_iter().cloned().collect();
        self.defines(&names);
        self.word(|words| words.kept.extend(names));
    }

    fn keeps_more(&self) {
        self.word(|words| (words.open, words.keeps_more) = (true, true));
    }

    /// Notes every text of a value.
    pub(super) fn uses(&self, node: &Node, expression: bool, conditional: bool) {
        match &node.content {
            Content::String(text) if expression && !is_template(text) => {
                let one = Use { text: text.clone(), expression: true, conditional, mark: node.mark.clone() };
                self.word(|words| words.uses.push(one));
            }
            Content::String(text) if is_template(text) => {
                let one = Use { text: text.clone(), expression: false, conditional, mark: node.mark.clone() };
                self.word(|words| words.uses.push(one));
            }
            Content::Sequence(items) => items.iter().for_each(|item| self.uses(item, expression, conditional)),
            Content::Mapping(entries) => entries.iter().for_each(|(_, node)| self.uses(node, expression, conditional)),
            _ => {}
        }
    }

    /// Notes the handlers that a task or block notifies.
    pub(super) fn notifies(&self, node: &Node) {
        for name in node.items().unwrap_or(std::slice::from_ref(node)) {
            if let Some(text) = name.as_str().filter(|text| !is_template(text)) {
                self.word(|words| words.notified.push((text.to_owned(), name.mark.clone())));
            }
        }
    }

    /// Notes the host that a task or block is delegated to.
    pub(super) fn delegates(&self, node: &Node, conditional: bool) {
        if let Some(name) = node.as_str().filter(|text| !is_template(text)) {
            self.word(|words| words.delegates.push((name.to_owned(), node.mark.clone(), conditional)));
        }
    }

    /// Notes what a task uses and defines, beside what every block can say.
    pub(super) fn words_of_task(&self, task: &Task, node: &Node) {
        let conditional = !task.common.when.is_empty();
        let local = task.common.delegate_to.is_some() || task.common.connection.is_some();
        self.word(|words| {
            words.local |= local;
            words.tasks.push(Arc::new(task.clone()));
        });
        for (key, value) in node.entries().unwrap_or_default() {
            match key.name.as_str() {
                "changed_when" | "failed_when" | "until" => self.uses(value, true, conditional),
                "register" => self.keeps(task.register.as_ref()),
                "loop" | "args" | "retries" | "delay" => self.uses(value, false, conditional),
                name if name.starts_with("with_") => self.uses(value, false, conditional),
                name if name.rsplit('.').next() == Some(task.module.as_str()) => {
                    match value.entries() {
                        Some(entries) => entries.iter().for_each(|(key, value)| {
                            self.uses(value, is_expression(&task.module, &key.name), conditional);
                        }),
                        None => self.uses(value, false, conditional),
                    }
                    if task.module == "template" {
                        self.templates_of(task);
                    }
                }
                _ => {}
            }
        }
        if let Some(r#loop) = &task.r#loop {
            self.defines([&r#loop.var].into_iter().chain(&r#loop.index_var));
        }
        match task.module.as_str() {
            "set_fact" => {
                self.keeps(task.arguments.keys());
                if task.arguments.keys().any(|name| is_template(name)) || task.free_form.is_some() {
                    self.keeps_more();
                }
            }
            "include_vars" | "set_stats" | "setup" | "add_host" | "group_by" => self.keeps_more(),
            // Facts that such modules tell are variables too.
            name if name.ends_with("_facts") || name == "getent" => self.keeps_more(),
            "include_tasks" | "include_role"
                if !task.arguments.values().all(|value| !is_template(&value.to_string())) =>
            {
                self.keeps_more();
            }
            "include_tasks" if task.free_form.as_deref().is_some_and(|text| is_template(text)) => self.keeps_more(),
            _ => {}
        }
    }

    /// The files that a task renders, as far as their names are known.
    fn templates_of(&self, task: &Task) {
        let conditional = !task.common.when.is_empty();
        for one in literal::items(task, &self.engine) {
            let name = one.arguments.get("src").and_then(|value| value.as_str()).filter(|name| !is_template(name));
            let places = Places { task: Some(&one), playbook: None, search: &self.search };
            if let Some(path) = name.and_then(|name| places.find_template(name).ok()) {
                self.word(|words| {
                    let known = words.templates.entry(path).or_insert(true);
                    *known = *known && conditional;
                });
            }
        }
    }
}
