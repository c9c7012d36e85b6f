//! What a play uses and what it defines, gathered while it is read: so that a variable that nothing defines, a handler that
//! is not there and a template that does not compile are found before any host is touched.

use std::sync::Arc;

use super::Loader;
use crate::{
    modules::{Defines, Form, Reads},
    playbook::{
        calls,
        circles::Written,
        directives::Directive,
        literal,
        model::{Symbols, Task, Use},
        sources::Places,
    },
    template::is_template,
    yaml::{Content, Node},
};

impl Loader {
    fn note(&self, note: impl FnOnce(&mut Symbols)) {
        note(&mut self.symbols.lock().expect("no thread panics while it holds the symbols"));
    }

    /// What was gathered since this was asked last.
    pub(super) fn take_symbols(&self) -> Symbols {
        std::mem::take(&mut *self.symbols.lock().expect("no thread panics while it holds the symbols"))
    }

    pub(super) fn defines<'a>(&self, names: impl IntoIterator<Item = &'a String>) {
        self.note(|symbols| symbols.defined.extend(names.into_iter().cloned()));
    }

    pub(super) fn is_open(&self) {
        self.note(|symbols| symbols.open = true);
    }

    /// The values of variables, which may never be asked for, and whether they are ones that we have.
    pub(super) fn variables(&self, node: &Node) {
        self.uses(node, false, true);
        self.check_vars(node);
        self.note(|symbols| symbols.written.extend(Written::all(node)));
    }

    pub(super) fn keeps<'a>(&self, names: impl IntoIterator<Item = &'a String>) {
        let names: Vec<String> = names.into_iter().cloned().collect();
        self.defines(&names);
        self.note(|symbols| symbols.kept.extend(names));
    }

    fn keeps_more(&self) {
        self.note(|symbols| (symbols.open, symbols.keeps_more) = (true, true));
    }

    /// Notes every text of a value.
    pub(super) fn uses(&self, node: &Node, expression: bool, conditional: bool) {
        match &node.content {
            Content::String(text) if expression && !is_template(text) => {
                let one = Use { text: text.clone(), expression: true, conditional, mark: node.mark.clone() };
                self.note(|symbols| symbols.uses.push(one));
            }
            Content::String(text) if is_template(text) => {
                let one = Use { text: text.clone(), expression: false, conditional, mark: node.mark.clone() };
                self.note(|symbols| symbols.uses.push(one));
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
                self.note(|symbols| symbols.notified.push((text.to_owned(), name.mark.clone())));
            }
        }
    }

    /// Notes the host that a task or block is delegated to.
    pub(super) fn delegates(&self, node: &Node, conditional: bool) {
        if let Some(name) = node.as_str().filter(|text| !is_template(text)) {
            self.note(|symbols| symbols.delegates.push((name.to_owned(), node.mark.clone(), conditional)));
        }
    }

    /// Notes what a task uses and defines, beside what every block can say.
    pub(super) fn symbols_of_task(&self, task: &Task, node: &Node) {
        let Some(call) = calls::call(task) else { return };
        let is_expression = |name: &str| {
            let form = call.argument(name).map(|argument| argument.form);
            matches!(form, Some(Form::Conditions | Form::Expression))
        };
        let conditional = !task.common.when.is_empty();
        let local = task.common.delegate_to.is_some() || task.common.connection.is_some();
        self.note(|symbols| {
            symbols.local |= local;
            symbols.tasks.push(Arc::new(task.clone()));
        });
        for (key, value) in node.entries().unwrap_or_default() {
            match key.name.as_str() {
                "changed_when" | "failed_when" | "until" => self.uses(value, true, conditional),
                "register" => self.keeps(task.register.as_ref()),
                "loop" | "args" | "retries" | "delay" => self.uses(value, false, conditional),
                name if name.starts_with("with_") => self.uses(value, false, conditional),
                name if call.is_named(name) => {
                    match value.entries() {
                        Some(entries) => entries.iter().for_each(|(key, value)| {
                            self.uses(value, is_expression(&key.name), conditional);
                        }),
                        None => self.uses(value, false, conditional),
                    }
                    if let Some(Reads::Template(argument)) = call.reads() {
                        self.templates_of(task, argument);
                    }
                }
                _ => {}
            }
        }
        if let Some(r#loop) = &task.r#loop {
            self.defines([&r#loop.var].into_iter().chain(&r#loop.index_var));
        }
        match call.defines() {
            Defines::Nothing => {}
            Defines::Arguments => {
                self.keeps(task.arguments.keys());
                if task.arguments.keys().any(|name| is_template(name)) || task.free_form.is_some() {
                    self.keeps_more();
                }
            }
            Defines::Unknown => self.keeps_more(),
            Defines::Hosts => {
                self.keeps(task.arguments.keys());
                self.note(|symbols| symbols.adds_hosts = true);
            }
        }
        let is_open = || {
            let arguments = task.arguments.values().any(|value| is_template(&value.to_string()));
            arguments || task.free_form.as_deref().is_some_and(|text| is_template(text))
        };
        if calls::directive(task).is_some_and(Directive::is_include) && is_open() {
            self.keeps_more();
        }
    }

    /// The files that a task renders, which this argument names, as far as their names are known.
    fn templates_of(&self, task: &Task, argument: &str) {
        let conditional = !task.common.when.is_empty();
        for one in literal::items(task, &self.engine) {
            let name = one.arguments.get(argument).and_then(|value| value.as_str()).filter(|name| !is_template(name));
            let places = Places { task: Some(&one), playbook: None, search: &self.search };
            if let Some(path) = name.and_then(|name| places.find_template(name).ok()) {
                self.note(|symbols| {
                    let known = symbols.templates.entry(path).or_insert(true);
                    *known = *known && conditional;
                });
            }
        }
    }
}
