//! The JSON Schema of environment files: that of the types in [`super::file`], and of the sections of the providers.

use serde_json::Value;

use super::file;
use crate::cloud::{self, ProviderName};

/// The JSON Schema of environment files.
///
/// # Panics
/// Never: the schema of our own types is an object.
#[must_use]
pub fn schema() -> Value {
    let mut schema = plain_schema();
    schema["title"] = "infra environment".into();
    let definitions = schema["$defs"].clone();
    accept_nothing(&mut schema, &definitions);
    schema
}

/// The schema as the types have it, which the loader's own check follows.
pub(super) fn plain_schema() -> Value {
    let mut generator = schemars::SchemaGenerator::default();
    generator.subschema_for::<ProviderName>();
    let mut sections = cloud::section_properties(&mut generator);
    let mut schema = generator.into_root_schema_for::<file::File>().to_value();
    // The sections of providers come after the key that names one of them.
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        for (key, property) in std::mem::take(properties) {
            let is_provider = key == "provider";
            properties.insert(key, property);
            let after = sections.drain(..if is_provider { sections.len() } else { 0 });
            properties.extend(after.map(|(key, property)| (key.to_owned(), property)));
        }
    }
    schema
}

/// `key:` with nothing behind it means the defaults of that key, as the loader has it: the schema of every key that may be left out,
/// and of every mapping that a user names, also accepts `null`.
fn accept_nothing(schema: &mut Value, definitions: &Value) {
    match schema {
        Value::Object(map) => {
            let required = map.get("required").cloned().unwrap_or_default();
            let is_required = |key: &str| required.as_array().is_some_and(|keys| keys.iter().any(|name| name == key));
            for (keyword, inner) in map.iter_mut() {
                accept_nothing(inner, definitions);
                match (keyword.as_str(), inner) {
                    ("properties", Value::Object(properties)) => {
                        for (_, property) in properties.iter_mut().filter(|(key, _)| !is_required(key)) {
                            or_null(property);
                        }
                    }
                    ("patternProperties", Value::Object(patterns)) => {
                        patterns.values_mut().filter(|value| is_mapping(value, definitions)).for_each(or_null);
                    }
                    ("additionalProperties", value) if is_mapping(value, definitions) => or_null(value),
                    _ => {}
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| accept_nothing(item, definitions)),
        _ => {}
    }
}

/// Whether a schema, or the definition that it refers to, is that of a mapping.
fn is_mapping(schema: &Value, definitions: &Value) -> bool {
    let name = schema["$ref"].as_str().and_then(|reference| reference.rsplit('/').next());
    let schema = name.map_or(schema, |name| &definitions[name]);
    schema["type"] == "object"
}

fn or_null(schema: &mut Value) {
    let null = Value::String("null".to_owned());
    match schema.get_mut("type") {
        Some(Value::Array(types)) if types.contains(&null) => return,
        Some(Value::Array(types)) => return types.push(null),
        Some(one) => return *one = Value::Array(vec![one.take(), null]),
        None => {}
    }
    let has_null = schema["anyOf"].as_array().is_some_and(|any| any.iter().any(|one| one["type"] == null));
    if let Value::Object(map) = schema
        && !map.is_empty()
        && !has_null
    {
        // What is said of the key stays where editors look for it.
        let said: Vec<(String, Value)> =
            ["description", "default"].iter().filter_map(|word| map.remove_entry(*word)).collect();
        *schema = serde_json::json!({ "anyOf": [schema.take(), { "type": "null" }] });
        for (word, value) in said {
            schema[word] = value;
        }
    }
}
