//! What a task calls: a module or an action that exists, with arguments that it knows and templates that can be read.

use super::Loader;
use crate::{
    error::{Diagnostic, did_you_mean},
    playbook::{
        arguments::split_pairs,
        calls::{self, Way},
        model::Task,
    },
    template::{Authored, is_template},
    yaml::{Content, Key, Node},
};

impl Loader {
    /// The module of a task and its arguments, in any of the ways in which they can be written.
    pub(super) fn module(&self, key: &Key, value: &Node, args: Option<&Node>, task: &mut Task) -> Option<()> {
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
        let Some(known) = calls::find(&name).map(Way::call) else {
            self.mistake(unknown_module(&name, key));
            return None;
        };
        task.module = known.name().to_owned();
        task.places.insert(String::new(), key.mark.clone());
        let names = known.argument_names();
        match (text, fields) {
            (_, Some(entries)) => {
                for (key, node) in entries {
                    // A name that is a template cannot be checked now; a text of arguments likewise.
                    let fits = known.takes(&key.name) || is_template(&key.name);
                    if !fits {
                        let mut diagnostic = Diagnostic::error(
                            key.mark.location(),
                            format!("`{}` has no argument `{}`", task.module, key.name),
                        );
                        if let Some(close) = did_you_mean(&key.name, names.iter().copied()) {
                            diagnostic = diagnostic.hint(format!("did you mean `{close}`?"));
                        }
                        self.mistake(diagnostic);
                    }
                    self.check_templates(node);
                    task.places.insert(key.name.clone(), node.mark.clone());
                    task.arguments.insert(key.name.clone(), Authored::node(node));
                }
            }
            (Some(text), None) => {
                if let Err(error) = self.engine.check(&text) {
                    self.mistake(value.error(error.to_string()));
                }
                let (pairs, free) = split_pairs(&text, &names, known.free_form());
                task.arguments.extend(Authored::written(pairs));
                task.free_form = free.map(Authored::written);
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
        for (key, node) in args.and_then(Node::entries).into_iter().flatten() {
            task.places.entry(key.name.clone()).or_insert_with(|| node.mark.clone());
        }
        // Those that came by `args:` have not been looked at yet.
        let direct = |name: &str| fields.is_some_and(|fields| fields.iter().any(|(key, _)| key.name == name));
        let fits = |name: &str| known.takes(name) || is_template(name);
        for name in task.arguments.keys().filter(|name| !direct(name) && !fits(name)) {
            let given = args.and_then(Node::entries).into_iter().flatten();
            let place = given.map(|(key, _)| key).find(|key| key.name == *name).map_or(&task.mark, |key| &key.mark);
            self.mistake(Diagnostic::error(place.location(), format!("`{}` has no argument `{name}`", task.module)));
        }
        Some(())
    }

    pub(super) fn check_templates(&self, node: &Node) {
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

fn unknown_module(name: &str, key: &Key) -> Diagnostic {
    let known: Vec<&str> = calls::calls().iter().map(|call| call.name()).collect();
    let diagnostic = Diagnostic::error(key.mark.location(), format!("the module `{name}` is not supported"));
    let short = name.rsplit('.').next().unwrap_or(name);
    match did_you_mean(short, known) {
        Some(close) if close != short => diagnostic.hint(format!("did you mean `{close}`?")),
        _ => diagnostic,
    }
}
