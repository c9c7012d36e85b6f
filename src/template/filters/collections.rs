//! Filters of lists and mappings.

use minijinja::{
    Error, Value,
    value::{Kwargs, Rest, ValueKind},
};
use serde_json::Value as Json;

use super::{Answer, defined, json, list, no_more, text, wrong};
use crate::template::lazy;

/// How `combine` joins two lists of one key.
#[derive(Clone, Copy)]
enum Lists {
    Replace,
    Keep,
    Append { unique: bool },
    Prepend { unique: bool },
}

pub(super) fn combine(value: &Value, others: Rest<Value>, kwargs: Kwargs) -> Answer {
    let recursive = kwargs.get::<Option<bool>>("recursive")?.unwrap_or(false);
    let lists = match kwargs.get::<Option<String>>("list_merge")?.as_deref() {
        None | Some("replace") => Lists::Replace,
        Some("keep") => Lists::Keep,
        Some("append") => Lists::Append { unique: false },
        Some("append_rp") => Lists::Append { unique: true },
        Some("prepend") => Lists::Prepend { unique: false },
        Some("prepend_rp") => Lists::Prepend { unique: true },
        Some(other) => return Err(wrong(format!("combine: there is no list_merge `{other}`"))),
    };
    no_more(&kwargs)?;
    // A list of mappings is taken as its mappings.
    let mut parts = Vec::new();
    for part in std::iter::once(value).chain(others.iter()) {
        match defined(part)?.kind() {
            ValueKind::Seq | ValueKind::Iterable => parts.extend(list(part)?),
            _ => parts.push(part.clone()),
        }
    }
    parts
        .iter()
        .try_fold(Value::from_pairs(Vec::<(Value, Value)>::new()), |all, part| merge(&all, part, recursive, lists))
}

/// The values stay what they are: lazy, omitted, or of the host.
fn merge(into: &Value, from: &Value, recursive: bool, lists: Lists) -> Answer {
    let mut merged: indexmap::IndexMap<Value, Value> = indexmap::IndexMap::new();
    for map in [into, from] {
        if map.kind() != ValueKind::Map {
            return Err(wrong("combine: every argument must be a mapping"));
        }
        for key in map.try_iter()? {
            let value = map.get_item(&key)?;
            let is = |value: &Value, kind: ValueKind| value.kind() == kind;
            let value = match merged.get(&key) {
                Some(present) if recursive && is(present, ValueKind::Map) && is(&value, ValueKind::Map) => {
                    merge(present, &value, true, lists)?
                }
                Some(present) if is(present, ValueKind::Seq) && is(&value, ValueKind::Seq) => {
                    let (old, new) = (list(present)?, list(&value)?);
                    let without = |from: Vec<Value>, other: &[Value], unique: bool| {
                        from.into_iter().filter(|item| !unique || !other.contains(item)).collect::<Vec<_>>()
                    };
                    match lists {
                        Lists::Replace => value,
                        Lists::Keep => present.clone(),
                        Lists::Append { unique } => Value::from([without(old, &new, unique), new].concat()),
                        Lists::Prepend { unique } => {
                            let old = without(old, &new, unique);
                            Value::from([new, old].concat())
                        }
                    }
                }
                _ => value,
            };
            merged.insert(key, value);
        }
    }
    Ok(Value::from_pairs(merged))
}

/// The element of a container, and of what it holds by further keys: `groups.app | map('extract', hostvars, 'ansible_host')`.
pub(super) fn extract(item: &Value, container: &Value, further: Option<Value>) -> Answer {
    let found = container.get_item(item)?;
    match further {
        None => Ok(found),
        Some(keys) if keys.kind() == ValueKind::Seq => {
            keys.try_iter()?.try_fold(found, |inner, key| inner.get_item(&key))
        }
        Some(key) => found.get_item(&key),
    }
}

pub(super) fn dict2items(value: &Value, kwargs: Kwargs) -> Answer {
    let key_name = kwargs.get::<Option<String>>("key_name")?.unwrap_or_else(|| "key".into());
    let value_name = kwargs.get::<Option<String>>("value_name")?.unwrap_or_else(|| "value".into());
    no_more(&kwargs)?;
    if defined(value)?.kind() != ValueKind::Map {
        return Err(wrong("dict2items needs a mapping"));
    }
    let mut items: Vec<Json> = Vec::new();
    for key in value.try_iter()? {
        let item = json(&value.get_item(&key)?)?;
        items.push(Json::Object([(key_name.clone(), json(&key)?), (value_name.clone(), item)].into_iter().collect()));
    }
    Ok(lazy::from_json(&Json::Array(items)))
}

pub(super) fn items2dict(value: &Value, kwargs: Kwargs) -> Answer {
    let key_name = kwargs.get::<Option<String>>("key_name")?.unwrap_or_else(|| "key".into());
    let value_name = kwargs.get::<Option<String>>("value_name")?.unwrap_or_else(|| "value".into());
    no_more(&kwargs)?;
    let pairs = list(value)?;
    let pairs = pairs.iter().map(|item| Ok((text(&item.get_attr(&key_name)?)?, json(&item.get_attr(&value_name)?)?)));
    Ok(lazy::from_json(&Json::Object(pairs.collect::<Result<_, Error>>()?)))
}

pub(super) fn flatten(value: &Value, kwargs: Kwargs) -> Answer {
    fn go(value: &Value, levels: Option<i64>, out: &mut Vec<Value>) -> Result<(), Error> {
        for item in list(value)? {
            let is_list = matches!(item.kind(), ValueKind::Seq | ValueKind::Iterable);
            if is_list && levels.is_none_or(|levels| levels > 0) {
                go(&item, levels.map(|levels| levels - 1), out)?;
            } else if !item.is_none() {
                out.push(item);
            }
        }
        Ok(())
    }
    let levels = kwargs.get("levels")?;
    no_more(&kwargs)?;
    let mut out = Vec::new();
    go(value, levels, &mut out)?;
    Ok(Value::from(out))
}

pub(super) fn union(a: &Value, b: &Value) -> Answer {
    unique(list(a)?.into_iter().chain(list(b)?))
}

pub(super) fn intersect(a: &Value, b: &Value) -> Answer {
    let b = list(b)?;
    unique(list(a)?.into_iter().filter(|item| b.contains(item)))
}

pub(super) fn difference(a: &Value, b: &Value) -> Answer {
    let b = list(b)?;
    unique(list(a)?.into_iter().filter(|item| !b.contains(item)))
}

pub(super) fn symmetric_difference(a: &Value, b: &Value) -> Answer {
    let (a, b) = (list(a)?, list(b)?);
    let only =
        |one: &[Value], other: &[Value]| one.iter().filter(|item| !other.contains(item)).cloned().collect::<Vec<_>>();
    unique(only(&a, &b).into_iter().chain(only(&b, &a)))
}

fn unique(items: impl Iterator<Item = Value>) -> Answer {
    let mut seen = Vec::new();
    for item in items {
        if !seen.contains(&item) {
            seen.push(item);
        }
    }
    Ok(Value::from(seen))
}

pub(super) fn product(a: &Value, others: Rest<Value>) -> Answer {
    let mut rows: Vec<Vec<Value>> = list(a)?.into_iter().map(|item| vec![item]).collect();
    for other in others.iter() {
        let items = list(other)?;
        let longer = |row: &Vec<Value>| {
            let row = row.clone();
            items
                .iter()
                .map(move |item| row.iter().cloned().chain([item.clone()]).collect())
                .collect::<Vec<Vec<Value>>>()
        };
        rows = rows.iter().flat_map(longer).collect();
    }
    Ok(rows.into_iter().map(Value::from).collect())
}

pub(super) fn zip(a: &Value, others: Rest<Value>) -> Answer {
    let mut lists = vec![list(a)?];
    for other in others.iter() {
        lists.push(list(other)?);
    }
    let length = lists.iter().map(Vec::len).min().unwrap_or(0);
    Ok((0..length).map(|at| lists.iter().map(|list| list[at].clone()).collect::<Value>()).collect())
}

pub(super) fn subelements(value: &Value, path: String, kwargs: Kwargs) -> Answer {
    let skip = kwargs.get::<Option<bool>>("skip_missing")?.unwrap_or(false);
    no_more(&kwargs)?;
    let mut pairs = Vec::new();
    for item in list(value)? {
        let inner = path.split('.').try_fold(item.clone(), |value, part| value.get_attr(part))?;
        if inner.is_undefined() {
            if skip {
                continue;
            }
            return Err(wrong(format!("subelements: an item has no `{path}`")));
        }
        pairs.extend(inner.try_iter()?.map(|element| Value::from(vec![item.clone(), element])));
    }
    Ok(Value::from(pairs))
}
