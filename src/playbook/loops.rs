//! The items of a loop.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{calls, model::Loop, vars::TaskScope};
use crate::{
    error::{Error, Result},
    files,
    modules::Reads,
    template::{Authored, Engine, Scope, first_found as first_found_file, is_template, text_of},
};

/// The items that a loop goes through.
pub(super) fn items(r#loop: &Loop, engine: &Engine, scope: &TaskScope) -> Result<Vec<Value>> {
    let shared = scope.shared();
    let source = resolve(&r#loop.source, engine, &shared)?;
    match r#loop.lookup.as_str() {
        "fileglob" => Ok(as_list(source).iter().flat_map(|pattern| glob(&text_of(pattern), scope)).collect()),
        "first_found" => first_found(&source, scope),
        lookup => of_value(lookup, source),
    }
}

/// The items of a loop that looks at nothing but its value.
pub(super) fn of_value(lookup: &str, source: Value) -> Result<Vec<Value>> {
    match lookup {
        "loop" | "list" => match source {
            Value::Array(items) => Ok(items),
            other => Err(Error::new(format!("a loop needs a list, this is `{}`", text_of(&other)))
                .hint("a mapping becomes a list with `| dict2items`")),
        },
        "items" => Ok(as_list(source).into_iter().flat_map(as_list_or).collect()),
        "flattened" => {
            let mut flat = Vec::new();
            flatten(source, &mut flat);
            Ok(flat)
        }
        "dict" => match source {
            Value::Object(map) => {
                Ok(map.into_iter().map(|(key, value)| json!({ "key": key, "value": value })).collect())
            }
            _ => Err(Error::new("with_dict needs a mapping")),
        },
        "nested" => {
            let mut rows: Vec<Vec<Value>> = vec![Vec::new()];
            for list in as_list(source) {
                let list = as_list(list);
                let longer = |row: &Vec<Value>| {
                    list.iter()
                        .map(|item| row.iter().cloned().chain([item.clone()]).collect())
                        .collect::<Vec<Vec<Value>>>()
                };
                rows = rows.iter().flat_map(longer).collect();
            }
            Ok(rows.into_iter().map(Value::Array).collect())
        }
        "together" => {
            let lists: Vec<Vec<Value>> = as_list(source).into_iter().map(as_list).collect();
            let length = lists.iter().map(Vec::len).max().unwrap_or(0);
            let row = |at: usize| lists.iter().map(|list| list.get(at).cloned().unwrap_or(Value::Null)).collect();
            Ok((0..length).map(|at| Value::Array(row(at))).collect())
        }
        "indexed_items" => {
            let flat = as_list(source).into_iter().flat_map(as_list_or);
            Ok(flat.enumerate().map(|(at, item)| json!([at, item])).collect())
        }
        "subelements" => subelements(source),
        "sequence" => sequence(&text_of(&source)),
        other => Err(Error::new(format!("the loop `with_{other}` is not supported"))),
    }
}

/// The items may be written as a list, as a template, or as the bare name of a variable.
fn resolve(source: &Authored, engine: &Engine, scope: &Arc<dyn Scope>) -> Result<Value> {
    match source.text() {
        Some(text) if !is_template(&text) && scope.get(&text).is_some() => engine.evaluate(&text, scope),
        _ => engine.resolve(source, scope),
    }
}

fn as_list(value: Value) -> Vec<Value> {
    match value {
        Value::Array(items) => items,
        Value::Null => Vec::new(),
        other => vec![other],
    }
}

/// `with_items` flattens one level.
fn as_list_or(value: Value) -> Vec<Value> {
    match value {
        Value::Array(items) => items,
        other => vec![other],
    }
}

fn flatten(value: Value, into: &mut Vec<Value>) {
    match value {
        Value::Array(items) => items.into_iter().for_each(|item| flatten(item, into)),
        Value::Null => {}
        other => into.push(other),
    }
}

fn subelements(source: Value) -> Result<Vec<Value>> {
    let parts = as_list(source);
    let [list, path, ..] = parts.as_slice() else { return Err(Error::new("with_subelements needs a list and a key")) };
    let skip = parts.get(2).and_then(|flags| flags.get("skip_missing")).is_some_and(crate::template::is_true);
    let mut pairs = Vec::new();
    for item in as_list(list.clone()) {
        match text_of(path).split('.').try_fold(&item, |value, part| value.get(part)) {
            Some(inner) => pairs.extend(as_list(inner.clone()).into_iter().map(|element| json!([item, element]))),
            None if skip => {}
            None => return Err(Error::new(format!("with_subelements: an item has no `{}`", text_of(path)))),
        }
    }
    Ok(pairs)
}

/// Files of a folder whose names match `*`; the folder itself is no pattern.
fn glob(pattern: &str, scope: &TaskScope) -> Vec<Value> {
    let (folder, name) = pattern.rsplit_once('/').unwrap_or(("", pattern));
    let (head, tail) = name.split_once('*').unwrap_or((name, ""));
    let folders: Vec<std::path::PathBuf> = if pattern.starts_with('/') {
        vec![folder.into()]
    } else {
        scope.lookups().files.iter().map(|base| base.join(folder)).collect()
    };
    let Some(found) = folders.iter().find(|folder| files::is_dir(folder)) else { return Vec::new() };
    let names = files::walk(found).unwrap_or_default();
    names
        .into_iter()
        .filter(|path| path.components().count() == 1)
        .filter(|path| {
            let name = path.to_string_lossy();
            if pattern.contains('*') { name.starts_with(head) && name.ends_with(tail) } else { name == head }
        })
        .map(|path| found.join(path).display().to_string().into())
        .collect()
}

/// A loop looks where its task does: for variables in `vars`, for templates in `templates`.
fn first_found(source: &Value, scope: &TaskScope) -> Result<Vec<Value>> {
    let folders = match scope.task.as_deref().and_then(calls::call).and_then(|call| call.reads()) {
        Some(Reads::Vars(_)) => scope.folders("vars"),
        Some(Reads::Template(_)) => scope.template_folders(),
        None => scope.folders("files"),
    };
    let found = first_found_file(&as_list(source.clone()), &folders)?;
    Ok(found.map(|path| path.display().to_string().into()).into_iter().collect())
}

/// `start=1 end=5 stride=2 format=web%02d`, or `5`.
fn sequence(text: &str) -> Result<Vec<Value>> {
    let pairs: Map<String, Value> = text
        .split_whitespace()
        .filter_map(|word| word.split_once('='))
        .map(|(k, v)| (k.to_owned(), v.into()))
        .collect();
    let number = |key: &str| pairs.get(key).and_then(Value::as_str).and_then(|text| text.parse::<i64>().ok());
    let start = number("start").unwrap_or(1);
    let end = number("end").or_else(|| Some(start + number("count")? - 1)).or_else(|| text.trim().parse().ok());
    let end = end.ok_or_else(|| Error::new(format!("with_sequence: `{text}` has no end")))?;
    let stride = number("stride").unwrap_or(1).max(1);
    let step = usize::try_from(stride).unwrap_or(1);
    let format = pairs.get("format").and_then(Value::as_str).unwrap_or("%d");
    Ok((start..=end).step_by(step).map(|n| formatted(format, n).into()).collect())
}

/// printf's `%d` and `%02d`.
fn formatted(format: &str, number: i64) -> String {
    let Some((head, tail)) = format.split_once('%') else { return format.to_owned() };
    let Some(end) = tail.find('d') else { return format.to_owned() };
    let (width, rest) = (&tail[..end], &tail[end + 1..]);
    let size = width.parse::<usize>().unwrap_or(0);
    let digits = if width.starts_with('0') { format!("{number:0size$}") } else { format!("{number:size$}") };
    format!("{head}{digits}{rest}")
}
