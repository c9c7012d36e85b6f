//! Ansible's tests: `is version(...)`, `is failed`, `is match(...)` and their like.

use std::cmp::Ordering;

use minijinja::{Environment, Error, ErrorKind, Value, value::Kwargs};

use super::{filters, versions};

pub(super) fn register(jinja: &mut Environment<'static>) {
    macro_rules! tests {
        ($($name:literal => $function:expr),+ $(,)?) => {
            $(jinja.add_test($name, $function);
              jinja.add_test(concat!("ansible.builtin.", $name), $function);)+
        };
    }
    tests! {
        "all" => all, "any" => any, "changed" => |value: &Value| flag(value, "changed"), "contains" => contains,
        "change" => |value: &Value| flag(value, "changed"), "failed" => |value: &Value| flag(value, "failed"),
        "failure" => |value: &Value| flag(value, "failed"), "falsy" => |value: &Value| !value.is_true(),
        "match" => is_match, "regex" => search, "search" => search,
        "skip" => |value: &Value| flag(value, "skipped"), "skipped" => |value: &Value| flag(value, "skipped"),
        "subset" => subset, "succeeded" => |value: &Value| Ok::<_, Error>(!flag(value, "failed")?),
        "success" => |value: &Value| Ok::<_, Error>(!flag(value, "failed")?), "superset" => |a: &Value, b: &Value| subset(b, a),
        "truthy" => Value::is_true, "version" => version, "version_compare" => version,
    }
}

/// A flag of a registered result; a loop's result carries it when one of its items does.
fn flag(value: &Value, name: &str) -> Result<bool, Error> {
    if value.is_undefined() {
        return Err(Error::new(ErrorKind::UndefinedError, "the registered result is undefined"));
    }
    Ok(value.get_attr(name)?.is_true())
}

fn any(value: &Value) -> Result<bool, Error> {
    Ok(value.try_iter()?.any(|item| item.is_true()))
}

fn all(value: &Value) -> Result<bool, Error> {
    Ok(value.try_iter()?.all(|item| item.is_true()))
}

fn contains(value: &Value, item: &Value) -> Result<bool, Error> {
    match (value.as_str(), item.as_str()) {
        (Some(text), Some(part)) => Ok(text.contains(part)),
        _ => Ok(value.try_iter()?.any(|other| other == *item)),
    }
}

fn subset(a: &Value, b: &Value) -> Result<bool, Error> {
    let b: Vec<Value> = b.try_iter()?.collect();
    Ok(a.try_iter()?.all(|item| b.contains(&item)))
}

fn found(value: &Value, pattern: &str, kwargs: &Kwargs) -> Result<Option<usize>, Error> {
    if value.is_undefined() {
        return Err(Error::new(ErrorKind::UndefinedError, "the value is undefined"));
    }
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let found = filters::regex(pattern, kwargs)?.find(&text).map(|found| found.map(|found| found.start()));
    found.map_err(|error| Error::new(ErrorKind::InvalidOperation, error.to_string()))
}

fn is_match(value: &Value, pattern: String, kwargs: Kwargs) -> Result<bool, Error> {
    // Python's `match` is anchored at the start only.
    found(value, &format!("\\A(?:{pattern})"), &kwargs).map(|at| at == Some(0))
}

fn search(value: &Value, pattern: String, kwargs: Kwargs) -> Result<bool, Error> {
    found(value, &pattern, &kwargs).map(|at| at.is_some())
}

fn version(
    value: &Value, other: &Value, operator: Option<String>, strict: Option<bool>, kwargs: Kwargs,
) -> Result<bool, Error> {
    let wrong = |message: String| Error::new(ErrorKind::InvalidOperation, message);
    let operator = kwargs.get::<Option<String>>("operator")?.or(operator);
    let strict = kwargs.get::<Option<bool>>("strict")?.or(strict);
    let kind = kwargs.get::<Option<String>>("version_type")?;
    kwargs.assert_all_used()?;
    if strict.is_some() && kind.is_some() {
        return Err(wrong("version: `strict` and `version_type` exclude each other".to_owned()));
    }
    let kind = kind.unwrap_or_else(|| if strict == Some(true) { "strict" } else { "loose" }.to_owned());
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    if value.is_undefined() || other.is_undefined() {
        return Err(Error::new(ErrorKind::UndefinedError, "version: the value is undefined"));
    }
    let order = versions::compare(&text(value), &text(other), &kind).map_err(wrong)?;
    Ok(match operator.as_deref().unwrap_or("==") {
        "==" | "=" | "eq" => order == Ordering::Equal,
        "!=" | "<>" | "ne" => order != Ordering::Equal,
        ">" | "gt" => order == Ordering::Greater,
        ">=" | "ge" => order != Ordering::Less,
        "<" | "lt" => order == Ordering::Less,
        "<=" | "le" => order != Ordering::Greater,
        operator => return Err(wrong(format!("version: `{operator}` is no operator"))),
    })
}
