//! Ansible's tests: `is version(...)`, `is failed`, `is match(...)` and their like.

use std::cmp::Ordering;

use minijinja::{Environment, Error, ErrorKind, Value, value::Kwargs};

use super::{Named, filters, versions};

/// Declares tests: name, function, and when it holds.
macro_rules! tests {
    ($($name:literal => $function:expr, $about:literal;)+) => {
        &[$(Named {
            name: $name,
            about: $about,
            add: |jinja| {
                jinja.add_test($name, $function);
                jinja.add_test(concat!("ansible.builtin.", $name), $function);
            },
        }),+]
    };
}

/// Ansible's tests.
pub const TESTS: &[Named] = tests! {
    "all" => all, "Every item is true.";
    "any" => any, "One of the items is true.";
    "change" => |value: &Value| flag(value, "changed"), "The same as `changed`.";
    "changed" => |value: &Value| flag(value, "changed"), "The result says that something was changed.";
    "contains" => contains, "A list or a text has this in it.";
    "failed" => |value: &Value| flag(value, "failed"), "The result says that the task failed.";
    "failure" => |value: &Value| flag(value, "failed"), "The same as `failed`.";
    "falsy" => |value: &Value| !value.is_true(), "The value counts as false in Python.";
    "match" => is_match, "A regular expression matches at the beginning of the text.";
    "regex" => search, "The same as `search`.";
    "search" => search, "A regular expression matches somewhere in the text.";
    "skip" => |value: &Value| flag(value, "skipped"), "The same as `skipped`.";
    "skipped" => |value: &Value| flag(value, "skipped"), "The result says that the task was skipped.";
    "subset" => subset, "Every item is in another list.";
    "succeeded" => |value: &Value| Ok::<_, Error>(!flag(value, "failed")?), "The result says that the task did not fail.";
    "success" => |value: &Value| Ok::<_, Error>(!flag(value, "failed")?), "The same as `succeeded`.";
    "superset" => |a: &Value, b: &Value| subset(b, a), "Every item of another list is in this one.";
    "truthy" => Value::is_true, "The value counts as true in Python.";
    "version" => version, "The version compares like this with another one.";
    "version_compare" => version, "The same as `version`.";
};

/// The tests of minijinja that mean what they mean in Jinja.
pub const JINJA_TESTS: &[(&str, &str)] = &[
    ("boolean", "It is true or false."),
    ("defined", "There is such a value."),
    ("divisibleby", "It is a multiple of a number."),
    ("endingwith", "A text ends with this."),
    ("eq", "It is equal, also `==` and `equalto`."),
    ("escaped", "The same as `safe`."),
    ("even", "It is an even number."),
    ("false", "It is false."),
    ("filter", "There is a filter of this name."),
    ("float", "It is a number with a fraction."),
    ("ge", "It is greater or equal, also `>=`."),
    ("gt", "It is greater, also `>` and `greaterthan`."),
    ("in", "It is an item or a part of this."),
    ("integer", "It is a whole number."),
    ("iterable", "It has items."),
    ("le", "It is smaller or equal, also `<=`."),
    ("lower", "The text is in small letters."),
    ("lt", "It is smaller, also `<` and `lessthan`."),
    ("mapping", "It is a mapping."),
    ("ne", "It is not equal, also `!=`."),
    ("none", "It is nothing."),
    ("number", "It is a number."),
    ("odd", "It is an odd number."),
    ("safe", "The text is HTML already."),
    ("sameas", "It is the same value."),
    ("sequence", "It is a list."),
    ("startingwith", "A text begins with this."),
    ("string", "It is a text."),
    ("test", "There is a test of this name."),
    ("true", "It is true."),
    ("undefined", "There is no such value."),
    ("upper", "The text is in capitals."),
];

pub(super) fn register(jinja: &mut Environment<'static>) {
    for test in TESTS {
        (test.add)(jinja);
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
