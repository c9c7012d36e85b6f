//! Arguments that are known before any host is: modules read them as they will when the task runs, so that what cannot work and
//! files that are not there are found at their places.

use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
};

use bytes::Bytes;
use serde_json::{Map, Value};

use super::{
    calls::{self, Way},
    loops,
    model::{Loop, Task},
    sources::Places,
};
use crate::{
    error::{Diagnostic, Error, Location, Result, Severity},
    files,
    modules::{Arguments, Call, Folder, Reads, Rendered, Sources},
    template::{Engine, Layout, Lookup, is_template},
};

/// What is wrong with the arguments of a task as far as they are known. Where files may be made before it runs, or the task may
/// not run at all, a missing one is a warning.
pub(super) fn task(task: &Task, places: Places<'_>, local: bool, engine: &Engine) -> Vec<Diagnostic> {
    let common = &task.common;
    let uncertain = local || !common.when.is_empty() || common.ignore_errors.is_some() || task.failed_when.is_some();
    let missing = if uncertain { Severity::Warning } else { Severity::Error };
    let mut found: Vec<Diagnostic> = Vec::new();
    for one in items(task, engine) {
        let more = item(&one, Places { task: Some(&one), ..places }, missing, engine);
        for diagnostic in more {
            if !found.contains(&diagnostic) {
                found.push(diagnostic);
            }
        }
    }
    found
}

/// How many items of a loop are looked at.
const ITEMS: usize = 200;

/// A task for each item of its loop that is known, with what the item says in its arguments; the task itself, where there is no
/// loop, or other items.
pub(super) fn items(task: &Task, engine: &Engine) -> Vec<Task> {
    let source = |r#loop: &Loop| matches!(*r#loop.source, Value::Array(_) | Value::Object(_));
    let Some(r#loop) = task.r#loop.as_ref().filter(|r#loop| source(r#loop)) else { return vec![task.clone()] };
    let Ok(Some(items)) = loops::of_value(r#loop, (*r#loop.source).clone()) else { return vec![task.clone()] };
    let (open, known): (Vec<Value>, Vec<Value>) = items.into_iter().partition(is_open);
    let of_item = |item: Value| Task {
        arguments: engine.fill_map(&task.arguments, &r#loop.var, &item),
        free_form: task.free_form.as_ref().map(|text| engine.fill_text(text, &r#loop.var, &item)),
        ..task.clone()
    };
    let own = (!open.is_empty()).then(|| task.clone());
    own.into_iter().chain(known.into_iter().take(ITEMS).map(of_item)).collect()
}

/// What is wrong with the arguments of a task for one item.
fn item(task: &Task, places: Places<'_>, missing: Severity, engine: &Engine) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    let sources = Noting { places, missing: AtomicBool::new(false) };
    if let Some((error, argument)) = wrong(task, &sources) {
        let severity = if sources.missing.into_inner() { missing } else { Severity::Error };
        found.push(at_argument(task, argument.as_deref(), &error, severity));
    }
    if let Some((argument, error)) = missing_file(task, &places) {
        found.push(at_argument(task, argument, &error, missing));
    }
    if let Some((argument, error)) = unreadable_template(task, &places) {
        found.push(at_argument(task, Some(argument), &error, Severity::Error));
    }
    for (name, value) in task.arguments.iter() {
        let Some(mark) = task.places.get(name).or_else(|| task.places.get("")) else { continue };
        for text in texts(value) {
            for file in looked_up(text, engine) {
                let (severity, message) = match find(&file, &places) {
                    None => (missing, format!("there is no {} `{}`", file.kind, file.name)),
                    Some(path) => match files::read_text(&path) {
                        Ok(_) => continue,
                        Err(error) => (Severity::Error, error.message().to_owned()),
                    },
                };
                let place = mark.within(text, &file.name);
                found.push(Diagnostic { severity, ..Diagnostic::error(place, message) });
            }
        }
    }
    found
}

/// The file that an action names and that is not there, with the argument that names it.
fn missing_file(task: &Task, places: &Places<'_>) -> Option<(Option<&'static str>, Error)> {
    let known = |name: &str| task.arguments.get(name).and_then(Value::as_str).filter(|text| !is_template(text));
    match calls::call(task)?.reads()? {
        Reads::Template(argument) => Some((Some(argument), places.find_template(known(argument)?).err()?)),
        Reads::Vars(argument) => {
            let written = task.free_form.as_deref().map(String::as_str).filter(|text| !is_template(text));
            let file = known(argument).or(written)?;
            let found = files::find(&places.folders("vars"), std::path::Path::new(file)).is_some();
            let error = (!found).then(|| Error::usage(format!("there is no variables file `{file}`")))?;
            Some((known(argument).map(|_| argument), error))
        }
    }
}

/// What is wrong with a template that is there, and the argument that names it: only a text can be rendered.
fn unreadable_template(task: &Task, places: &Places<'_>) -> Option<(&'static str, Error)> {
    let Reads::Template(argument) = calls::call(task)?.reads()? else { return None };
    let name = task.arguments.get(argument).and_then(Value::as_str).filter(|name| !is_template(name));
    files::read_text(&places.find_template(name?).ok()?).err().map(|error| (argument, error))
}

/// The files of a role, of the playbook and of the environment; it is noted when one of them is missing.
struct Noting<'a> {
    places: Places<'a>,
    missing: AtomicBool,
}

impl Noting<'_> {
    fn noted<T>(&self, found: Result<T>) -> Result<T> {
        self.missing.store(found.is_err(), Ordering::Relaxed);
        found
    }
}

impl Sources for Noting<'_> {
    fn file(&self, name: &str) -> Result<Bytes> {
        self.noted(self.places.file(name))
    }

    fn folder(&self, name: &str) -> Result<Option<Folder>> {
        self.noted(self.places.folder(name))
    }

    fn mode(&self, name: &str) -> Result<Option<u32>> {
        self.noted(self.places.mode(name))
    }

    fn template(&self, name: &str, layout: Layout) -> Result<Rendered> {
        self.places.template(name, layout)
    }
}

/// What the module or action of a task says of its arguments, and the argument that it speaks of. What it says of one whose value
/// is not known yet does not count.
fn wrong(task: &Task, sources: &Noting<'_>) -> Option<(Error, Option<String>)> {
    let free_form = task.free_form.as_deref().map(String::as_str);
    if free_form.is_some_and(is_template) || task.arguments.keys().any(|name| is_template(name)) {
        return None;
    }
    let way = calls::way(task)?;
    let attempt = |named: &Map<String, Value>| {
        let checked = match way {
            Way::Module(module) => module.prepare(&Arguments { named, free_form, sources }).map(drop),
            Way::Action(action) => {
                (action as &dyn Call).check_names(named, free_form.is_some()).and_then(|()| action.check(named))
            }
            Way::Directive(_, call) => call.check_names(named, free_form.is_some()),
        };
        checked.err()
    };
    let mut named: Map<String, Value> = (*task.arguments).clone();
    // An unknown name has been found when the file was loaded.
    named.retain(|name, _| way.call().takes(name));
    let open: BTreeSet<String> =
        named.iter().filter(|(_, value)| is_open(value)).map(|(name, _)| name.clone()).collect();
    let mut replaced = BTreeSet::new();
    loop {
        sources.missing.store(false, Ordering::Relaxed);
        let error = attempt(&named)?;
        let missing = sources.missing.load(Ordering::Relaxed);
        let concerned = concerned(&named, &error, &attempt);
        sources.missing.store(missing, Ordering::Relaxed);
        // A value that is not known yet may be a number or a flag, which this one is both.
        match concerned.iter().find(|name| open.contains(*name)).cloned() {
            Some(name) if replaced.insert(name.clone()) => drop(named.insert(name, "1".into())),
            Some(_) => return None,
            None if concerned.is_empty() && !open.is_empty() && !error.message().ends_with("` is missing") => {
                return None;
            }
            None => return Some((error, concerned.into_iter().next())),
        }
    }
}

/// The arguments that an error is about: without them there is none, or another one. The one that it names comes first.
fn concerned(
    named: &Map<String, Value>, error: &Error, attempt: &dyn Fn(&Map<String, Value>) -> Option<Error>,
) -> Vec<String> {
    let mut concerned = Vec::new();
    let mut required = Vec::new();
    for name in named.keys() {
        let mut less = named.clone();
        less.remove(name);
        match attempt(&less) {
            Some(other) if other.message() == error.message() => {}
            Some(other) if other.message() == format!("`{name}` is missing") => required.push(name.clone()),
            _ => concerned.push(name.clone()),
        }
    }
    let says = |text: &str| error.message().contains(&format!("`{text}`"));
    let of_value = |name: &String| named.get(name).and_then(Value::as_str).is_some_and(says);
    if concerned.is_empty() {
        // Without them something else is wrong first: only what the error says can tell which one it is about.
        let said: Vec<String> = required.iter().filter(|name| of_value(name) || says(name)).cloned().collect();
        concerned = if said.is_empty() && !error.message().ends_with("` is missing") { required } else { said };
    }
    concerned.sort_by_key(|name| (!of_value(name), !says(name)));
    concerned
}

/// Whether a value is not known before the task runs.
fn is_open(value: &Value) -> bool {
    match value {
        Value::String(text) => is_template(text),
        Value::Array(items) => items.iter().any(is_open),
        Value::Object(map) => map.iter().any(|(key, value)| is_template(key) || is_open(value)),
        _ => false,
    }
}

fn at_argument(task: &Task, argument: Option<&str>, error: &Error, severity: Severity) -> Diagnostic {
    let mark = argument.and_then(|name| task.places.get(name)).or_else(|| task.places.get(""));
    let place: Location = mark.unwrap_or(&task.mark).location();
    let message = match argument {
        Some(name) => format!("`{name}` of `{}`: {}", task.module, error.message()),
        None => format!("`{}`: {}", task.module, error.message()),
    };
    let diagnostic = Diagnostic { severity, ..Diagnostic::error(place, message) };
    error.hints().iter().fold(diagnostic, Diagnostic::hint)
}

/// The texts of a value.
fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        Value::Array(items) => items.iter().flat_map(texts).collect(),
        Value::Object(map) => map.values().flat_map(texts).collect(),
        _ => Vec::new(),
    }
}

/// The files that a text looks up in any case.
fn looked_up(text: &str, engine: &Engine) -> impl Iterator<Item = Lookup> {
    let asks = ["{% if", "{%- if", " if ", " and ", " or "].iter().any(|word| text.contains(word));
    let names = if asks || !is_template(text) { None } else { engine.names(text).ok() };
    names.into_iter().flat_map(|names| names.files)
}

fn find(file: &Lookup, places: &Places<'_>) -> Option<PathBuf> {
    let lookups = places.lookups();
    let folders = if file.kind == "template" { lookups.templates } else { lookups.files };
    files::find(&folders, std::path::Path::new(&file.name))
}
