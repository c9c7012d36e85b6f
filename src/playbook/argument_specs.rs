//! The arguments that a role declares in `meta/argument_specs.yml`: whether the values that it is given fit.

use serde_json::{Map, Value};

use crate::template::{is_true, text_of};

/// What is wrong with values. `value` gives the value of an option, when it has one.
pub(super) fn mistakes(options: &Value, value: impl Fn(&str) -> Option<Value>) -> Vec<String> {
    let mut values = Map::new();
    for name in options.as_object().into_iter().flat_map(Map::keys) {
        values.extend(value(name).map(|value| (name.clone(), value)));
    }
    let mut found = Vec::new();
    check(options, &values, "", &mut found);
    found
}

fn check(options: &Value, values: &Map<String, Value>, prefix: &str, found: &mut Vec<String>) {
    let mut missing = Vec::new();
    for (name, spec) in options.as_object().into_iter().flatten() {
        let path = format!("{prefix}{name}");
        match values.get(name) {
            Some(Value::Null) | None if spec.get("required").is_some_and(is_true) => missing.push(path),
            Some(Value::Null) | None => {}
            Some(value) => option(spec, value, &path, found),
        }
    }
    if !missing.is_empty() {
        found.push(format!("missing required arguments: {}", missing.join(", ")));
    }
}

/// One value of an option.
fn option(spec: &Value, value: &Value, path: &str, found: &mut Vec<String>) {
    let kind = spec.get("type").and_then(Value::as_str).unwrap_or("str");
    let Some(value) = converted(kind, value) else {
        found.push(format!("argument `{path}` is `{}`, which is no {kind}", text_of(value)));
        return;
    };
    let elements = spec.get("elements").and_then(Value::as_str).filter(|_| value.is_array());
    let parts: Vec<Value> = match elements {
        None => vec![value],
        Some(kind) => {
            let all = value.as_array().cloned().unwrap_or_default();
            let mut fitting = Vec::new();
            for (at, element) in all.iter().enumerate() {
                match converted(kind, element) {
                    Some(element) => fitting.push(element),
                    None => {
                        found.push(format!("argument `{path}[{at}]` is `{}`, which is no {kind}", text_of(element)));
                    }
                }
            }
            fitting
        }
    };
    if let Some(choices) = spec.get("choices").and_then(Value::as_array) {
        let known: Vec<String> = choices.iter().map(text_of).collect();
        let given = parts.iter().flat_map(|part| part.as_array().cloned().unwrap_or_else(|| vec![part.clone()]));
        for one in given.filter(|one| !known.contains(&text_of(one))) {
            found.push(format!("value of {path} must be one of: {}, got: {}", known.join(", "), text_of(&one)));
        }
    }
    if let Some(inner) = spec.get("options") {
        for part in parts.iter().filter_map(Value::as_object) {
            unknown(inner, part, path, found);
            check(inner, part, &format!("{path}."), found);
            together(spec, part, path, found);
        }
    }
}

fn unknown(options: &Value, values: &Map<String, Value>, path: &str, found: &mut Vec<String>) {
    let Some(options) = options.as_object() else { return };
    // An option may be given by another of its names.
    let aliases = |name: &String| {
        options.values().any(|spec| names(spec.get("aliases")).contains(name)) || options.contains_key(name)
    };
    let known: Vec<&str> = options.keys().map(String::as_str).collect();
    for name in values.keys().filter(|name| !aliases(name)) {
        found.push(format!("`{path}.{name}` is no argument; supported are: {}", known.join(", ")));
    }
}

/// What options of one mapping say about each other.
fn together(spec: &Value, values: &Map<String, Value>, path: &str, found: &mut Vec<String>) {
    let given = |name: &String| values.get(name).is_some_and(|value| !value.is_null());
    let groups = |key: &str| -> Vec<Vec<String>> {
        let all = spec.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
        // One group may be written without its list.
        if all.first().is_some_and(Value::is_string) {
            return vec![names(spec.get(key))];
        }
        all.iter().map(|group| names(Some(group))).collect()
    };
    for group in groups("mutually_exclusive") {
        if group.iter().filter(|name| given(name)).count() > 1 {
            found.push(format!("parameters are mutually exclusive: {} found in {path}", group.join("|")));
        }
    }
    for group in groups("required_together") {
        let count = group.iter().filter(|name| given(name)).count();
        if count > 0 && count < group.len() {
            found.push(format!("parameters are required together: {} found in {path}", group.join(", ")));
        }
    }
    for group in groups("required_one_of") {
        if !group.iter().any(given) {
            found.push(format!("one of the following is required: {} found in {path}", group.join(", ")));
        }
    }
    for rule in spec.get("required_if").and_then(Value::as_array).into_iter().flatten() {
        let Some([name, wanted, needed, any @ ..]) = rule.as_array().map(Vec::as_slice) else { continue };
        let holds = values.get(&text_of(name)).is_some_and(|value| text_of(value) == text_of(wanted));
        let needed = names(Some(needed));
        let missing: Vec<&str> = needed.iter().filter(|name| !given(name)).map(String::as_str).collect();
        let one_is_enough = any.first().is_some_and(is_true);
        let wrong = if one_is_enough { missing.len() == needed.len() } else { !missing.is_empty() };
        if holds && wrong {
            let (name, wanted) = (text_of(name), text_of(wanted));
            found.push(format!("{name} is {wanted} but these are missing: {} found in {path}", missing.join(", ")));
        }
    }
    for (name, needed) in spec.get("required_by").and_then(Value::as_object).into_iter().flatten() {
        let missing: Vec<String> = names(Some(needed)).into_iter().filter(|name| !given(name)).collect();
        if given(name) && !missing.is_empty() {
            found.push(format!("missing parameters required by {name}: {} found in {path}", missing.join(", ")));
        }
    }
}

fn names(value: Option<&Value>) -> Vec<String> {
    match value {
        Some(Value::Array(items)) => items.iter().map(text_of).collect(),
        Some(Value::Null) | None => Vec::new(),
        Some(other) => vec![text_of(other)],
    }
}

/// A value as one of a type, by Ansible's rules; `None` when it cannot be one.
fn converted(kind: &str, value: &Value) -> Option<Value> {
    let text = || value.as_str().map(str::trim);
    match kind {
        "bool" => {
            let word = text_of(value).to_ascii_lowercase();
            let truth = ["y", "yes", "on", "1", "true", "t", "1.0"];
            let falsehood = ["n", "no", "off", "0", "false", "f", "0.0"];
            let known = truth.contains(&word.as_str()) || falsehood.contains(&word.as_str());
            (known && !value.is_array() && !value.is_object()).then(|| truth.contains(&word.as_str()).into())
        }
        "int" => match value {
            Value::Number(number) if number.is_i64() || number.is_u64() => Some(value.clone()),
            Value::Number(number) => number.as_f64().filter(|number| number.fract() == 0.0).map(|_| value.clone()),
            _ => text()?.parse::<i64>().ok().map(Into::into),
        },
        "float" => match value {
            Value::Number(_) => Some(value.clone()),
            _ => text()?.parse::<f64>().ok().map(Into::into),
        },
        "list" => match value {
            Value::Array(_) => Some(value.clone()),
            Value::String(text) => Some(text.split(',').map(|part| Value::from(part.trim())).collect()),
            Value::Number(_) => Some(Value::Array(vec![text_of(value).into()])),
            _ => None,
        },
        "dict" => match value {
            Value::Object(_) => Some(value.clone()),
            Value::String(text) if text.trim_start().starts_with('{') => {
                serde_json::from_str::<Value>(text).ok().filter(Value::is_object)
            }
            Value::String(text) if text.contains('=') => {
                let pairs = text.split([',', ' ']).filter_map(|pair| pair.split_once('='));
                Some(pairs.map(|(name, value)| (name.trim().to_owned(), Value::from(value.trim()))).collect())
            }
            _ => None,
        },
        "bytes" | "bits" => {
            let size = text_of(value);
            let size = size.trim().trim_end_matches(|c: char| c.is_ascii_alphabetic());
            size.trim().parse::<f64>().ok().map(|_| value.clone())
        }
        // Everything has a text, and is itself: `str`, `path`, `json`, `jsonarg` and `raw`.
        _ => Some(value.clone()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::mistakes;

    #[test]
    fn values_fit_what_a_role_declares() {
        let spec = json!({
            "name": {"required": true},
            "port": {"type": "int"},
            "state": {"choices": ["present", "absent"]},
            "flag": {"type": "bool"},
            "names": {"type": "list", "elements": "str", "choices": ["a", "b"]},
            "users": {"type": "list", "elements": "dict", "options": {
                "login": {"required": true},
                "uid": {"type": "int"},
                "shell": {},
            }, "required_together": [["uid", "shell"]]},
        });
        let said = |values: Value| mistakes(&spec, |name| values.get(name).cloned()).join("; ");
        assert_eq!(said(json!({"name": "x", "port": "80", "flag": "yes", "names": "a,b"})), "");
        assert_eq!(said(json!({})), "missing required arguments: name");
        assert_eq!(said(json!({"name": "x", "port": "http"})), "argument `port` is `http`, which is no int");
        let wrong = json!({"name": "x", "state": "gone"});
        assert_eq!(said(wrong), "value of state must be one of: present, absent, got: gone");
        let wrong = json!({"name": "x", "users": [{"login": "l", "uid": 1}, {"colour": 1}]});
        assert_eq!(
            said(wrong),
            "parameters are required together: uid, shell found in users; `users.colour` is no argument; supported are: \
             login, uid, shell; missing required arguments: users.login"
        );
    }
}
