//! Checks a YAML tree against the JSON Schema that is derived from the types of [`super::file`], and finds every mistake in
//! one pass. Serde would stop at the first one and would not know the others' places.

use serde_json::{Map, Value};

use super::units::SCALAR_PARSERS;
use crate::{
    error::{Diagnostic, did_you_mean},
    name::Name,
    yaml::{Content, Node},
};

/// What a schema without `additionalProperties` says of unknown keys.
static ANYTHING: Value = Value::Bool(true);

/// The checker of one schema document.
pub(super) struct Checker<'a> {
    pub(super) schema: &'a Value,
    pub(super) found: Vec<Diagnostic>,
}

impl<'a> Checker<'a> {
    /// Checks a node against a schema, `what` being its name in messages.
    pub(super) fn check(&mut self, node: &Node, schema: &'a Value, what: &str) {
        let schema = self.resolve(schema);
        if schema == &Value::Bool(true) {
            return;
        }
        if let Some(branches) = schema.get("anyOf").or_else(|| schema.get("oneOf")).and_then(Value::as_array) {
            self.check_branches(node, branches, what);
            return;
        }
        if let Some(allowed) = schema.get("enum").and_then(Value::as_array) {
            self.check_enum(node, allowed, what);
            return;
        }
        if let Some(parser) = schema.get("x-parse").and_then(Value::as_str) {
            self.check_scalar(node, parser, what);
            return;
        }
        if !accepts(schema, &node.content) {
            let expected = expected(schema);
            self.found.push(node.error(format!("`{what}` must be {expected}, this is {}", node.kind())));
            return;
        }
        match &node.content {
            Content::Mapping(_) => self.check_mapping(node, schema, what),
            Content::Sequence(items) => {
                if let Some(schema) = schema.get("items") {
                    for item in items {
                        self.check(item, schema, what);
                    }
                }
            }
            Content::String(text) => {
                if schema.get("pattern").and_then(Value::as_str) == Some(Name::PATTERN)
                    && let Err(message) = text.parse::<Name>()
                {
                    self.found.push(node.error(message));
                }
            }
            Content::Number(number) => {
                let bound = |name: &str| schema.get(name).and_then(Value::as_f64);
                let value = number.as_f64().unwrap_or(0.0);
                let (low, high) = (bound("minimum"), bound("maximum"));
                if low.is_some_and(|low| value < low) || high.is_some_and(|high| value > high) {
                    let range = match (low, high) {
                        (Some(low), Some(high)) => format!("between {low} and {high}"),
                        (Some(low), None) => format!("at least {low}"),
                        (None, high) => format!("at most {}", high.unwrap_or_default()),
                    };
                    self.found.push(node.error(format!("`{what}` must be {range}, this is {number}")));
                }
            }
            Content::Null | Content::Bool(_) => {}
        }
    }

    fn resolve(&self, schema: &'a Value) -> &'a Value {
        match schema.get("$ref").and_then(Value::as_str) {
            Some(reference) => self.schema.pointer(reference.trim_start_matches('#')).unwrap_or(&ANYTHING),
            None => schema,
        }
    }

    /// Checks against the branch that takes this kind of content; the branches of our types never take the same kind
    /// twice, but for constants and objects of one key.
    fn check_branches(&mut self, node: &Node, branches: &'a [Value], what: &str) {
        let branches: Vec<&'a Value> = branches.iter().map(|branch| self.resolve(branch)).collect();
        let constants: Vec<Value> = branches.iter().filter_map(|branch| branch.get("const").cloned()).collect();
        if !constants.is_empty() && constants.len() == branches.len() {
            self.check_enum(node, &constants, what);
            return;
        }
        let takes = |branch: &&&'a Value| {
            let key_fits = match (branch.get("required").and_then(Value::as_array), node.entries()) {
                (Some(required), Some(entries)) if branches.len() > 2 => {
                    required.iter().all(|key| entries.iter().any(|(k, _)| Some(k.name.as_str()) == key.as_str()))
                }
                _ => true,
            };
            accepts(branch, &node.content) && key_fits
        };
        match branches.iter().find(takes) {
            Some(branch) => self.check(node, branch, what),
            None => {
                let keys: Vec<String> = branches
                    .iter()
                    .filter_map(|branch| branch.get("required")?.as_array()?.first()?.as_str())
                    .map(|key| format!("`{key}`"))
                    .collect();
                let expected = if keys.is_empty() {
                    let mut kinds: Vec<String> =
                        branches.iter().map(|branch| expected(branch)).filter(|e| e != "nothing").collect();
                    kinds.dedup();
                    kinds.join(" or ")
                } else {
                    format!("a mapping with one of the keys {}", keys.join(", "))
                };
                self.found.push(node.error(format!("`{what}` must be {expected}")));
            }
        }
    }

    fn check_enum(&mut self, node: &Node, allowed: &[Value], what: &str) {
        let value = node.to_value();
        if allowed.contains(&value) {
            return;
        }
        let names: Vec<String> =
            allowed.iter().map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_owned)).collect();
        let list = names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let mut diagnostic = node.error(format!("`{what}` must be one of {list}"));
        if let Some(close) = node.as_str().and_then(|text| did_you_mean(text, names.iter().map(String::as_str))) {
            diagnostic = diagnostic.hint(format!("did you mean `{close}`?"));
        }
        self.found.push(diagnostic);
    }

    fn check_scalar(&mut self, node: &Node, parser: &str, what: &str) {
        let parser = SCALAR_PARSERS.iter().find(|p| p.name == parser).expect("the schema names a registered parser");
        let result = match &node.content {
            Content::String(text) => (parser.check)(text),
            Content::Number(number) if parser.numbers => (parser.check)(&number.to_string()),
            _ => Err(format!("`{what}` must be a {}, this is {}", parser.name, node.kind())),
        };
        if let Err(message) = result {
            self.found.push(node.error(message));
        }
    }

    fn check_mapping(&mut self, node: &Node, schema: &'a Value, what: &str) {
        let entries = node.entries().unwrap_or_default();
        let properties = schema.get("properties").and_then(Value::as_object);
        let pattern = schema.get("patternProperties").and_then(Value::as_object).and_then(|map| map.iter().next());
        let additional = schema.get("additionalProperties").unwrap_or(&ANYTHING);
        let required: Vec<&str> = (schema.get("required").and_then(Value::as_array).into_iter().flatten())
            .filter_map(Value::as_str)
            .collect();
        for (key, value) in entries {
            if let Some(property) = properties.and_then(|known| known.get(&key.name)) {
                // `key:` with nothing behind it means its default.
                if required.contains(&key.name.as_str()) || !matches!(value.content, Content::Null) {
                    self.check(value, property, &key.name);
                }
            } else if let Some((_, property)) = pattern {
                if let Err(message) = key.name.parse::<Name>() {
                    self.found.push(Diagnostic::error(key.mark.location(), message));
                }
                self.check_named(value, property, &key.name);
            } else if additional == &Value::Bool(false) {
                let message = format!("unknown key `{}` in `{what}`", key.name);
                let mut diagnostic = Diagnostic::error(key.mark.location(), message);
                let known = properties.into_iter().flat_map(Map::keys).map(String::as_str);
                diagnostic = match did_you_mean(&key.name, known.clone()) {
                    Some(close) => diagnostic.hint(format!("did you mean `{close}`?")),
                    None => diagnostic.hint(format!("known keys: {}", known.collect::<Vec<_>>().join(", "))),
                };
                self.found.push(diagnostic);
            } else {
                self.check_named(value, additional, &key.name);
            }
        }
        for name in required {
            if !entries.iter().any(|(key, _)| key.name == name) {
                self.found.push(node.error(format!("`{what}` lacks the key `{name}`")));
            }
        }
    }

    /// Checks the value of a key that the user chose. `name:` with nothing behind it means a section of defaults.
    fn check_named(&mut self, value: &Node, schema: &'a Value, name: &str) {
        let takes_mapping = self.resolve(schema).get("type").and_then(Value::as_str) == Some("object");
        if !(takes_mapping && matches!(value.content, Content::Null)) {
            self.check(value, schema, name);
        }
    }
}

fn types(schema: &Value) -> Vec<&str> {
    match schema.get("type") {
        Some(Value::String(name)) => vec![name],
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

fn accepts(schema: &Value, content: &Content) -> bool {
    let types = types(schema);
    if types.is_empty() {
        return schema.get("const").is_none();
    }
    types.iter().any(|name| match content {
        Content::Null => *name == "null",
        Content::Bool(_) => *name == "boolean",
        Content::Number(number) => *name == "number" || (*name == "integer" && !number.is_f64()),
        Content::String(_) => *name == "string",
        Content::Sequence(_) => *name == "array",
        Content::Mapping(_) => *name == "object",
    })
}

fn expected(schema: &Value) -> String {
    let words: Vec<&str> = types(schema)
        .into_iter()
        .filter_map(|name| match name {
            "boolean" => Some("a boolean"),
            "number" => Some("a number"),
            "integer" => Some("a whole number"),
            "string" => Some("a text"),
            "array" => Some("a list"),
            "object" => Some("a mapping"),
            _ => None,
        })
        .collect();
    if words.is_empty() { "nothing".to_owned() } else { words.join(" or ") }
}
