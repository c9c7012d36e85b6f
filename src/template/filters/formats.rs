//! JSON and YAML.

use minijinja::{Error, Value, value::Kwargs};
use serde_json::Value as Json;

use super::{Answer, bounded, defined, json, no_more, text, wrong};
use crate::template::lazy;
use crate::yaml;

pub(super) fn to_json(value: &Value, kwargs: Kwargs) -> Answer {
    let value = json_options(value, &kwargs, false)?;
    let indent = kwargs.get::<Option<usize>>("indent")?;
    no_more(&kwargs)?;
    match indent {
        Some(indent) => pretty(&value, indent),
        None => Ok(Value::from(python_json(&value))),
    }
}

/// Python's `json.dumps`: a space after every comma and colon.
pub(crate) fn python_json(value: &Json) -> String {
    match value {
        Json::Array(items) => format!("[{}]", items.iter().map(python_json).collect::<Vec<_>>().join(", ")),
        Json::Object(map) => {
            let pairs: Vec<String> = map
                .iter()
                .map(|(key, value)| format!("{}: {}", Json::from(key.as_str()), python_json(value)))
                .collect();
            format!("{{{}}}", pairs.join(", "))
        }
        other => other.to_string(),
    }
}

pub(super) fn to_nice_json(value: &Value, kwargs: Kwargs) -> Answer {
    let value = json_options(value, &kwargs, true)?;
    let indent = kwargs.get::<Option<usize>>("indent")?.unwrap_or(4);
    no_more(&kwargs)?;
    pretty(&value, indent)
}

/// A value as JSON, sorted when that is asked for. Texts are never escaped beyond what JSON needs.
fn json_options(value: &Value, kwargs: &Kwargs, sort: bool) -> Result<Json, Error> {
    if kwargs.get::<Option<bool>>("ensure_ascii")? == Some(true) {
        return Err(wrong("`ensure_ascii: true` is not supported"));
    }
    let value = json(defined(value)?)?;
    Ok(if kwargs.get::<Option<bool>>("sort_keys")?.unwrap_or(sort) { sorted(value) } else { value })
}

fn sorted(value: Json) -> Json {
    match value {
        Json::Object(map) => {
            let mut pairs: Vec<(String, Json)> = map.into_iter().map(|(key, value)| (key, sorted(value))).collect();
            pairs.sort_by(|a, b| a.0.cmp(&b.0));
            Json::Object(pairs.into_iter().collect())
        }
        Json::Array(items) => Json::Array(items.into_iter().map(sorted).collect()),
        other => other,
    }
}

fn pretty(value: &Json, indent: usize) -> Answer {
    let indent = bounded(indent, "indent")?;
    let spaces = " ".repeat(indent);
    let formatter = serde_json::ser::PrettyFormatter::with_indent(spaces.as_bytes());
    let mut out = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, formatter);
    serde::Serialize::serialize(value, &mut serializer).map_err(|error| wrong(error.to_string()))?;
    Ok(Value::from(String::from_utf8_lossy(&out).into_owned()))
}

pub(super) fn to_yaml(value: &Value, kwargs: Kwargs) -> Answer {
    yaml_text(value, &kwargs, yaml::Style { nice: false, indent: 2, ..yaml::Style::default() })
}

pub(super) fn to_nice_yaml(value: &Value, kwargs: Kwargs) -> Answer {
    yaml_text(value, &kwargs, yaml::Style::default())
}

fn yaml_text(value: &Value, kwargs: &Kwargs, usual: yaml::Style) -> Answer {
    let width = kwargs.get::<Option<Value>>("width")?.map(|width| {
        let endless = width.as_str().is_some() || f64::try_from(width.clone()).is_ok_and(f64::is_infinite);
        width
            .as_usize()
            .or(endless.then_some(usize::MAX))
            .ok_or_else(|| wrong(format!("width: `{width}` is no number")))
    });
    let style = yaml::Style {
        width: width.transpose()?.unwrap_or(usual.width),
        indent: bounded(kwargs.get::<Option<usize>>("indent")?.unwrap_or(usual.indent), "indent")?,
        sort: kwargs.get::<Option<bool>>("sort_keys")?.unwrap_or(usual.sort),
        ..usual
    };
    no_more(kwargs)?;
    Ok(Value::from(yaml::dump(&json(defined(value)?)?, &style)))
}

pub(super) fn from_json(value: &Value) -> Answer {
    let parsed: Json = serde_json::from_str(&text(value)?).map_err(|error| wrong(format!("not JSON: {error}")))?;
    Ok(lazy::from_json(&parsed))
}

pub(super) fn from_yaml(value: &Value) -> Answer {
    let source = yaml::Source::new("<from_yaml>", text(value)?);
    let (node, _) = yaml::parse(&source).map_err(|error| wrong(error.to_string()))?;
    Ok(lazy::from_json(&node.to_value()))
}
