//! The rules of requests, from the service descriptors (`tests/golden/yandex/*.json`): unknown fields, wrong types, missing
//! fields, patterns, ranges, and what `oneof` allows.

use std::sync::LazyLock;

use serde_json::{Map, Value};

/// The descriptors.
pub(crate) static REST: LazyLock<Value> = LazyLock::new(|| {
    let mut all: Value = serde_json::from_str(include_str!("../../golden/yandex/rest.json")).unwrap();
    // Those of the images in registries are in a file of their own.
    let images: Value = serde_json::from_str(include_str!("../../golden/yandex/images.json")).unwrap();
    all["services"].as_array_mut().unwrap().extend(images["services"].as_array().unwrap().iter().cloned());
    all["messages"].as_object_mut().unwrap().extend(images["messages"].as_object().unwrap().clone());
    all
});

/// A call that the API knows.
pub(crate) struct Method {
    pub(crate) rpc: String,
    pub(crate) service: String,
    pub(crate) request: String,
    pub(crate) takes_body: bool,
    /// The values of the path's placeholders.
    pub(crate) parts: Vec<(String, String)>,
}

/// The method of a verb and a path.
pub(crate) fn find(verb: &str, path: &str) -> Option<Method> {
    for service in REST["services"].as_array().unwrap() {
        for method in service["methods"].as_array().unwrap() {
            if method["http"] == verb
                && let Some(parts) = matches(method["path"].as_str().unwrap(), path)
            {
                return Some(Method {
                    rpc: method["rpc"].as_str().unwrap().to_owned(),
                    service: service["service"].as_str().unwrap().to_owned(),
                    request: method["request"].as_str().unwrap().to_owned(),
                    takes_body: method["body"] == "*",
                    parts,
                });
            }
        }
    }
    None
}

fn matches(template: &str, path: &str) -> Option<Vec<(String, String)>> {
    let (template, path): (Vec<&str>, Vec<&str>) = (template.split('/').collect(), path.split('/').collect());
    if template.len() != path.len() {
        return None;
    }
    let mut parts = Vec::new();
    for (pattern, given) in template.iter().zip(path) {
        // `{id}` or `{id}:verb`: an id itself has no colon.
        match pattern.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
            Some((name, verb)) => {
                let value = given.strip_suffix(verb)?;
                if value.is_empty() || value.contains(':') {
                    return None;
                }
                parts.push((camel(name), value.to_owned()));
            }
            None if *pattern == given => {}
            None => return None,
        }
    }
    Some(parts)
}

pub(crate) fn camel(name: &str) -> String {
    let mut text = String::new();
    for (at, part) in name.split('_').enumerate() {
        let mut letters = part.chars();
        match letters.next() {
            Some(first) if at > 0 => text.extend(first.to_uppercase().chain(letters)),
            _ => text.push_str(part),
        }
    }
    text
}

/// Checks a message against its rules; every mistake with the path of its field. In an update only the fields of the mask
/// are required to be there.
pub(crate) fn check(message: &str, value: &Map<String, Value>, update: bool) -> Vec<String> {
    let mut found = Vec::new();
    fields(message, value, "", update, &mut found);
    found
}

fn fields(message: &str, value: &Map<String, Value>, at: &str, update: bool, found: &mut Vec<String>) {
    let Some(known) = REST["messages"].get(message) else { return };
    let rules = known["fields"].as_object().unwrap();
    for (name, given) in value {
        let path = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
        match rules.get(name) {
            None => found.push(format!("{path}: unknown field")),
            // Nothing: in an update the field is cleared.
            Some(_) if given.is_null() => {}
            Some(rule) => field(rule, given, &path, found),
        }
    }
    for (name, rule) in rules {
        let mask = update && at.is_empty();
        if rule["required"] == true && !mask && value.get(name).is_none_or(is_default) {
            found.push(format!("{at}.{name}: the field is required"));
        }
    }
    for (group, settings) in known["oneofs"].as_object().into_iter().flatten() {
        let members = rules.iter().filter(|(_, rule)| rule["oneof"] == group.as_str());
        let set: Vec<&String> = members.map(|(name, _)| name).filter(|name| value.contains_key(*name)).collect();
        if set.len() > 1 {
            found.push(format!("{at}: only one of {set:?} may be set"));
        }
        if set.is_empty() && settings["exactlyOne"] == true && !update {
            found.push(format!("{at}: one of `{group}` must be set"));
        }
    }
}

/// A value that is left out when it travels.
fn is_default(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

fn field(rule: &Value, given: &Value, path: &str, found: &mut Vec<String>) {
    let kind = rule["type"].as_str().unwrap();
    if let Some(item) = kind.strip_suffix("[]") {
        let Some(items) = given.as_array() else { return found.push(format!("{path}: a list is expected")) };
        if let Some(size) = rule["size"].as_str()
            && !in_range(size, count(items.len()))
        {
            found.push(format!("{path}: {} elements are not {size}", items.len()));
        }
        for (at, one) in items.iter().enumerate() {
            scalar(rule, item, one, &format!("{path}[{at}]"), found);
        }
    } else if kind.starts_with("map<") {
        let Some(entries) = given.as_object() else { return found.push(format!("{path}: a map is expected")) };
        for (key, one) in entries {
            if let Some(pattern) = rule["mapKey"]["pattern"].as_str() {
                pattern_holds(pattern, key, &format!("{path} (key)"), found);
            }
            scalar(rule, "string", one, &format!("{path}.{key}"), found);
        }
    } else {
        scalar(rule, kind, given, path, found);
    }
}

fn scalar(rule: &Value, kind: &str, given: &Value, path: &str, found: &mut Vec<String>) {
    match kind {
        "string" | "google.protobuf.StringValue" => {
            let Some(text) = given.as_str() else {
                return found.push(format!("{path}: a text is expected, not {given}"));
            };
            if let Some(pattern) = rule["pattern"].as_str() {
                pattern_holds(pattern, text, path, found);
            }
            if let Some(length) = rule["length"].as_str()
                && !text.is_empty()
                && !in_range(length, count(text.chars().count()))
            {
                found.push(format!("{path}: the length {} is not {length}", text.chars().count()));
            }
        }
        "int64" | "google.protobuf.Int64Value" | "double" | "google.protobuf.DoubleValue" => {
            let number = given.as_f64().or_else(|| given.as_str()?.parse().ok());
            let Some(number) = number else { return found.push(format!("{path}: a number is expected, not {given}")) };
            if let Some(range) = rule["value"].as_str()
                && !in_range(range, number)
            {
                found.push(format!("{path}: {number} is not {range}"));
            }
        }
        "bool" | "google.protobuf.BoolValue" => {
            if !given.is_boolean() {
                found.push(format!("{path}: true or false is expected, not {given}"));
            }
        }
        "google.protobuf.FieldMask" | "google.protobuf.Timestamp" => {
            if !given.is_string() {
                found.push(format!("{path}: a text is expected, not {given}"));
            }
        }
        "google.protobuf.Duration" => {
            if !given.as_str().is_some_and(|text| text.ends_with('s')) {
                found.push(format!("{path}: a duration such as `1.5s` is expected, not {given}"));
            }
        }
        _ => {
            if let Some(names) = REST["enums"].get(kind).and_then(Value::as_array) {
                if !names.contains(given) {
                    found.push(format!("{path}: {given} is none of {names:?}"));
                }
            } else if let Some(inner) = given.as_object() {
                fields(kind, inner, path, false, found);
            } else {
                found.push(format!("{path}: an object is expected, not {given}"));
            }
        }
    }
}

fn pattern_holds(pattern: &str, text: &str, path: &str, found: &mut Vec<String>) {
    // The descriptors are written for another engine, which takes `{,19}` for `{0,19}`.
    let pattern = format!("^(?:{})$", pattern.replace("{,", "{0,").replace("[a-z0-9-_]", "[a-z0-9_-]"));
    if !fancy_regex::Regex::new(&pattern).unwrap().is_match(text).unwrap() {
        found.push(format!("{path}: `{text}` does not match {pattern}"));
    }
}

fn count(number: usize) -> f64 {
    f64::from(u32::try_from(number).unwrap())
}

/// `<=50`, `>0`, `3-63`, `2,4,6` or one number.
fn in_range(rule: &str, number: f64) -> bool {
    let parse = |text: &str| text.parse::<f64>().ok();
    if let Some(most) = rule.strip_prefix("<=").and_then(parse) {
        return number <= most;
    }
    if let Some(least) = rule.strip_prefix(">=").and_then(parse) {
        return number >= least;
    }
    if let Some(least) = rule.strip_prefix('>').and_then(parse) {
        return number > least;
    }
    if rule.contains(',') {
        return rule.split(',').any(|one| parse(one) == Some(number));
    }
    match rule.char_indices().skip(1).find(|(_, c)| *c == '-') {
        Some((at, _)) => match (parse(&rule[..at]), parse(&rule[at + 1..])) {
            (Some(low), Some(high)) => (low..=high).contains(&number),
            // Durations are checked by their form only.
            _ => true,
        },
        None => parse(rule).is_none_or(|only| (only - number).abs() < f64::EPSILON),
    }
}
