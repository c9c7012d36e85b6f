//! Writes YAML as `PyYAML`'s `safe_dump` does with Ansible's options: the filters `to_yaml` and `to_nice_yaml`.

use serde_json::Value;

use super::{Content, scalar};

/// `to_yaml`: collections of plain values in flow style, others in block style, keys sorted.
#[must_use]
pub fn emit(value: &Value) -> String {
    if is_leaf_collection(value) || !is_collection(value) {
        return format!("{}\n", flow(value));
    }
    let mut out = String::new();
    block(value, 0, 2, true, &mut out);
    out
}

/// `to_nice_yaml`: block style throughout, `indent` spaces a level, keys sorted.
#[must_use]
pub fn emit_nice(value: &Value, indent: usize) -> String {
    if !is_collection(value) || is_empty(value) {
        return format!("{}\n", flow(value));
    }
    let mut out = String::new();
    block(value, 0, indent, false, &mut out);
    out
}

fn is_collection(value: &Value) -> bool {
    matches!(value, Value::Array(_) | Value::Object(_))
}

fn is_empty(value: &Value) -> bool {
    value.as_array().is_some_and(Vec::is_empty) || value.as_object().is_some_and(serde_json::Map::is_empty)
}

fn is_leaf_collection(value: &Value) -> bool {
    match value {
        Value::Array(items) => !items.iter().any(is_collection),
        Value::Object(map) => !map.values().any(is_collection),
        _ => false,
    }
}

fn block(value: &Value, depth: usize, indent: usize, leaves_flow: bool, out: &mut String) {
    let pad = " ".repeat(depth);
    let inline = |value: &Value| !is_collection(value) || is_empty(value) || (leaves_flow && is_leaf_collection(value));
    match value {
        Value::Object(map) => {
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort();
            for key in keys {
                let item = &map[key.as_str()];
                out.push_str(&format!("{pad}{}:", text(key, depth + indent)));
                if inline(item) {
                    out.push_str(&format!(" {}\n", scalar_or_flow(item, depth + indent)));
                } else {
                    out.push('\n');
                    // Lists are not indented under their key, as PyYAML writes them.
                    let deeper = if item.is_array() { depth } else { depth + indent };
                    block(item, deeper, indent, leaves_flow, out);
                }
            }
        }
        Value::Array(items) => {
            let dash = format!("-{}", " ".repeat(indent.max(2) - 1));
            for item in items {
                if inline(item) {
                    out.push_str(&format!("{pad}{dash}{}\n", scalar_or_flow(item, depth + indent)));
                } else {
                    let mut inner = String::new();
                    block(item, depth + indent.max(2), indent, leaves_flow, &mut inner);
                    out.push_str(&format!("{pad}{dash}{}", &inner[depth + indent.max(2)..]));
                }
            }
        }
        scalar => out.push_str(&format!("{pad}{}\n", scalar_or_flow(scalar, depth))),
    }
}

fn scalar_or_flow(value: &Value, depth: usize) -> String {
    match value {
        Value::String(string) => text(string, depth),
        other => flow(other),
    }
}

fn flow(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(string) => text(string, 0),
        Value::Array(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Value::Object(map) => {
            let mut pairs: Vec<String> = map.iter().map(|(k, v)| format!("{}: {}", text(k, 0), flow(v))).collect();
            pairs.sort();
            format!("{{{}}}", pairs.join(", "))
        }
    }
}

/// A scalar text, quoted where a reader would take it for something else.
fn text(string: &str, depth: usize) -> String {
    let special = |c: char| c.is_control() && c != '\n';
    if string.chars().any(special) {
        return serde_json::to_string(string).unwrap_or_default();
    }
    if string.contains('\n') {
        // PyYAML folds single-quoted lines: every line break becomes an empty line.
        let pad = " ".repeat(depth.max(2));
        let lines: Vec<String> = string.split('\n').map(|line| line.replace('\'', "''")).collect();
        return format!("'{}'", lines.join(&format!("\n\n{pad}")));
    }
    let indicator = string.starts_with(|c| "-?:,[]{}#&*!|>'\"%@`".contains(c))
        && !(string.starts_with(['-', '?', ':'])
            && string.chars().nth(1).is_some_and(|c| c != ' ' && string.len() > 1));
    let quoted = indicator
        || string.contains(": ")
        || string.contains(" #")
        || string.ends_with(':')
        || string.starts_with(' ')
        || string.ends_with(' ')
        || string == "="
        || !matches!(scalar::resolve(string), Content::String(_));
    if quoted { format!("'{}'", string.replace('\'', "''")) } else { string.to_owned() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{emit, emit_nice};

    #[test]
    fn nice_is_block_style_with_sorted_keys() {
        let value = json!({"b": [1, {"k": "yes"}], "a": {"z": "012", "e": []}});
        assert_eq!(emit_nice(&value, 4), "a:\n    e: []\n    z: '012'\nb:\n-   1\n-   k: 'yes'\n");
        assert_eq!(emit_nice(&value, 2), "a:\n  e: []\n  z: '012'\nb:\n- 1\n- k: 'yes'\n");
    }

    #[test]
    fn plain_leaves_are_flow_style() {
        assert_eq!(emit(&json!({"a": [1, 2], "b": "x"})), "a: [1, 2]\nb: x\n");
        assert_eq!(emit(&json!({"b": 1, "a": true})), "{a: true, b: 1}\n");
    }
}
