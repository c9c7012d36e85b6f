//! What texts and values are to templates: whether a text holds one, a value as a text, and whether it is true.

use serde_json::Value;

use super::lazy;

/// Whether a text holds a template at all.
#[must_use]
pub fn is_template(text: &str) -> bool {
    text.contains("{{") || text.contains("{%") || text.contains("{#")
}

/// Python's text of a value, as templates print it.
#[must_use]
pub fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => lazy::from_json(other).to_string(),
    }
}

/// What Ansible takes for true: booleans, and texts and numbers that mean one.
#[must_use]
pub fn is_true(value: &Value) -> bool {
    match value {
        Value::Bool(flag) => *flag,
        Value::Null => false,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => {
            !matches!(text.to_ascii_lowercase().as_str(), "" | "no" | "false" | "off" | "0" | "n" | "f")
        }
        Value::Array(items) => !items.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}
