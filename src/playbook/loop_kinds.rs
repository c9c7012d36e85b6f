//! The ways to repeat a task: `loop`, and what begins with `with_`.

use serde_json::{Map, Value, json};

use crate::{
    error::{Error, Result},
    template::text_of,
};

/// A way to repeat a task.
#[derive(Clone, Copy, Debug)]
pub struct LoopKind {
    /// Its keyword.
    pub keyword: &'static str,
    /// Over what it goes.
    pub about: &'static str,
    pub(super) items: Items,
}

/// Where the items of a loop come from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Items {
    /// From its value alone.
    OfValue(fn(Value) -> Result<Vec<Value>>),
    /// They are the files that match patterns.
    Files,
    /// The first of several files that is there.
    FirstFile,
}

/// All of them.
pub const LOOPS: &[LoopKind] = &[
    kind("loop", "A list.", Items::OfValue(of_list)),
    kind("with_dict", "The entries of a mapping, each as `key` and `value`.", Items::OfValue(of_dict)),
    kind("with_fileglob", "The files beside the playbook that match a pattern.", Items::Files),
    kind("with_first_found", "The first of several files beside the playbook that is there.", Items::FirstFile),
    kind("with_flattened", "The items of lists, at whatever depth.", Items::OfValue(flattened)),
    kind("with_indexed_items", "The items of lists, each with its number.", Items::OfValue(indexed)),
    kind("with_items", "The items of lists, and what is no list.", Items::OfValue(of_items)),
    kind("with_list", "A list.", Items::OfValue(of_list)),
    kind("with_nested", "Every combination of the items of lists.", Items::OfValue(nested)),
    kind("with_sequence", "Numbers: `start=1 end=5 stride=2 format=web%02d`, or `5`.", Items::OfValue(in_sequence)),
    kind("with_subelements", "The items of a list, each with one of a list within it.", Items::OfValue(subelements)),
    kind("with_together", "The items of several lists side by side.", Items::OfValue(together)),
];

const fn kind(keyword: &'static str, about: &'static str, items: Items) -> LoopKind {
    LoopKind { keyword, about, items }
}

/// The way that a keyword names.
pub(super) fn find(keyword: &str) -> Option<&'static LoopKind> {
    LOOPS.iter().find(|kind| kind.keyword == keyword)
}

fn of_list(source: Value) -> Result<Vec<Value>> {
    match source {
        Value::Array(items) => Ok(items),
        other => Err(Error::new(format!("a loop needs a list, this is `{}`", text_of(&other)))
            .hint("a mapping becomes a list with `| dict2items`")),
    }
}

fn of_items(source: Value) -> Result<Vec<Value>> {
    Ok(as_list(source).into_iter().flat_map(as_list_or).collect())
}

fn flattened(source: Value) -> Result<Vec<Value>> {
    let mut flat = Vec::new();
    flatten(source, &mut flat);
    Ok(flat)
}

fn of_dict(source: Value) -> Result<Vec<Value>> {
    match source {
        Value::Object(map) => Ok(map.into_iter().map(|(key, value)| json!({ "key": key, "value": value })).collect()),
        _ => Err(Error::new("with_dict needs a mapping")),
    }
}

fn nested(source: Value) -> Result<Vec<Value>> {
    let mut rows: Vec<Vec<Value>> = vec![Vec::new()];
    for list in as_list(source) {
        let list = as_list(list);
        let longer = |row: &Vec<Value>| {
            list.iter().map(|item| row.iter().cloned().chain([item.clone()]).collect()).collect::<Vec<Vec<Value>>>()
        };
        rows = rows.iter().flat_map(longer).collect();
    }
    Ok(rows.into_iter().map(Value::Array).collect())
}

fn together(source: Value) -> Result<Vec<Value>> {
    let lists: Vec<Vec<Value>> = as_list(source).into_iter().map(as_list).collect();
    let length = lists.iter().map(Vec::len).max().unwrap_or(0);
    let row = |at: usize| lists.iter().map(|list| list.get(at).cloned().unwrap_or(Value::Null)).collect();
    Ok((0..length).map(|at| Value::Array(row(at))).collect())
}

fn indexed(source: Value) -> Result<Vec<Value>> {
    let flat = as_list(source).into_iter().flat_map(as_list_or);
    Ok(flat.enumerate().map(|(at, item)| json!([at, item])).collect())
}

fn in_sequence(source: Value) -> Result<Vec<Value>> {
    sequence(&text_of(&source))
}

pub(super) fn as_list(value: Value) -> Vec<Value> {
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
