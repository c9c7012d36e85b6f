//! Filters of single values: numbers, texts, and a choice between values.

use minijinja::{
    Error, ErrorKind, Value,
    value::{Kwargs, ValueKind},
};

use super::{Answer, defined, list, no_more, text, wrong};

pub(super) fn bool(value: &Value) -> Answer {
    // Ansible knows yes, on, true and 1; every other text is false.
    Ok(Value::from(match value.as_str() {
        Some(text) => matches!(text.to_ascii_lowercase().as_str(), "yes" | "on" | "true" | "1" | "y" | "t"),
        None => defined(value)?.is_true(),
    }))
}

/// Python's `int`: texts with the prefix of their base and with `_` between digits, otherwise what is before the point.
pub(super) fn int(value: &Value, fallback: Option<Value>, base: Option<u32>, kwargs: Kwargs) -> Answer {
    let base = kwargs.get::<Option<u32>>("base")?.or(base).unwrap_or(10);
    let fallback = kwargs.get::<Option<Value>>("default")?.or(fallback).unwrap_or_else(|| Value::from(0));
    no_more(&kwargs)?;
    if base == 1 || base > 36 {
        return Err(wrong(format!("int: the base {base} is not 0 or from 2 to 36")));
    }
    let value = defined(value)?;
    let number = match value.as_str() {
        Some(text) => integer(text.trim(), base).or_else(|| text.trim().parse().ok().and_then(truncated)),
        None if value.kind() == ValueKind::Number => i128::try_from(value.clone())
            .ok()
            .filter(|_| value.is_integer())
            .or_else(|| truncated(f64::try_from(value.clone()).ok()?)),
        None if value.kind() == ValueKind::Bool => Some(i128::from(value.is_true())),
        None => None,
    };
    Ok(number.map_or(fallback, whole_number))
}

fn integer(text: &str, base: u32) -> Option<i128> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let prefixed = |of: u32, small: &str, large: &str| {
        let rest = digits.strip_prefix(small).or_else(|| digits.strip_prefix(large))?;
        (base == of || base == 0).then_some((rest, of))
    };
    let (digits, base) = prefixed(16, "0x", "0X")
        .or_else(|| prefixed(8, "0o", "0O"))
        .or_else(|| prefixed(2, "0b", "0B"))
        .unwrap_or((digits, if base == 0 { 10 } else { base }));
    let well_formed = !digits.starts_with(['_', '+', '-']) && !digits.ends_with('_') && !digits.contains("__");
    i128::from_str_radix(&digits.replace('_', ""), base).ok().filter(|_| well_formed).map(|number| sign * number)
}

#[expect(clippy::cast_possible_truncation, reason = "that is what `int` does")]
fn truncated(float: f64) -> Option<i128> {
    (float.is_finite() && float.abs() < 1e38).then_some(float.trunc() as i128)
}

fn whole_number(number: i128) -> Value {
    i64::try_from(number).map_or_else(|_| Value::from(number), Value::from)
}

pub(super) fn float(value: &Value, fallback: Option<Value>, kwargs: Kwargs) -> Answer {
    let fallback = kwargs.get::<Option<Value>>("default")?.or(fallback);
    no_more(&kwargs)?;
    let value = defined(value)?;
    let number = match value.as_str() {
        Some(text) => text.trim().replace('_', "").parse::<f64>().ok(),
        None => f64::try_from(value.clone()).ok(),
    };
    Ok(number.map(Value::from).or(fallback).unwrap_or_else(|| Value::from(0.0)))
}

/// Jinja's `join`, with the texts that Python prints.
pub(super) fn join(value: &Value, between: Option<Value>, attribute: Option<Value>, kwargs: Kwargs) -> Answer {
    let between = kwargs.get::<Option<Value>>("d")?.or(between);
    let attribute = kwargs.get::<Option<Value>>("attribute")?.or(attribute);
    no_more(&kwargs)?;
    let between =
        between.filter(|between| !between.is_none()).map_or_else(|| Ok(String::new()), |between| text(&between))?;
    let mut parts = Vec::new();
    for item in list(value)? {
        let item = match attribute.as_ref().filter(|attribute| !attribute.is_none()) {
            Some(attribute) => item.get_item(attribute)?,
            None => item,
        };
        parts.push(if item.is_none() { "None".to_owned() } else { text(&item)? });
    }
    Ok(Value::from(parts.join(&between)))
}

pub(super) fn string(value: &Value) -> Answer {
    Ok(Value::from(if value.is_none() { "None".to_owned() } else { text(value)? }))
}

pub(super) fn replace(value: &Value, old: String, new: String, count: Option<usize>) -> Result<String, Error> {
    let text = text(value)?;
    Ok(match count {
        Some(count) => text.replacen(&old, &new, count),
        None => text.replace(&old, &new),
    })
}

pub(super) fn ternary(value: &Value, yes: Value, no: Value, none: Option<Value>) -> Answer {
    defined(value)?;
    Ok(match none {
        Some(none) if value.is_none() => none,
        _ if value.is_true() => yes,
        _ => no,
    })
}

pub(super) fn mandatory(value: &Value, message: Option<String>) -> Answer {
    if value.is_undefined() {
        return Err(Error::new(
            ErrorKind::UndefinedError,
            message.unwrap_or_else(|| "a mandatory variable is undefined".into()),
        ));
    }
    Ok(value.clone())
}

pub(super) fn type_debug(value: &Value) -> &'static str {
    match value.kind() {
        ValueKind::Undefined => "AnsibleUndefined",
        ValueKind::None => "NoneType",
        ValueKind::Bool => "bool",
        ValueKind::Number if value.is_integer() => "int",
        ValueKind::Number => "float",
        ValueKind::String => "str",
        ValueKind::Map => "dict",
        _ => "list",
    }
}
