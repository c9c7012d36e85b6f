//! Conditions: a variable may hold one when the author wrote it, and texts in them may still have braces.

use std::sync::Arc;

use minijinja::machinery::{ast::Expr, parse_expr};
use serde_json::Value;

use super::{Authored, Scope, Var};
use crate::error::{Error, Result};

/// The text that the author wrote at a plain path of variables (`enabled`, `limits.strict`); `None` for everything else, as
/// for what a host has answered.
pub(super) fn authored_text(path: &str, scope: &Arc<dyn Scope>) -> Option<Authored<String>> {
    let plain = |c: char| c.is_alphanumeric() || "_.[]'\" ".contains(c);
    if !path.chars().all(plain) || super::bounds::check(path, true).is_err() {
        return None;
    }
    authored(&parse_expr(path).ok()?, scope)?.text()
}

fn authored(path: &Expr<'_>, scope: &Arc<dyn Scope>) -> Option<Authored> {
    let mut keys: Vec<String> = Vec::new();
    let mut at = path;
    let root = loop {
        match at {
            Expr::Var(var) => break var.id,
            Expr::GetAttr(attr) => {
                keys.push(attr.name.to_owned());
                at = &attr.expr;
            }
            Expr::GetItem(item) => {
                let Expr::Const(key) = &item.subscript_expr else { return None };
                keys.push(key.value.as_str()?.to_owned());
                at = &item.expr;
            }
            _ => return None,
        }
    };
    let Some(Var::Template(value)) = scope.get(root) else { return None };
    let found = keys.iter().rev().try_fold(&**value, |value: &Value, key| value.get(key))?;
    Some(Authored::written(found.clone()))
}

/// Whether a condition is one template that gives true or false.
pub(super) fn is_whole(text: &str) -> bool {
    super::evaluate::single_expression(text).is_some() || text.contains("{%")
}

/// Whether what a template with blocks has given is true. It is data: anything but a plain yes or no is refused, for it would
/// have been an expression once.
pub(super) fn truth(value: &Value, text: &str) -> Result<bool> {
    match value {
        Value::String(word) => match word.trim().to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => Ok(true),
            "false" | "no" | "off" | "0" | "" => Ok(false),
            _ => Err(Error::new(format!(
                "the condition `{text}` gives the text `{word}`, which is neither true nor false"
            ))
            .hint("a condition is an expression: write it without `{% %}`")),
        },
        other => Ok(super::is_true(other)),
    }
}

/// Whether the text of a variable is a condition, and not just a text that is true or false.
pub(super) fn is_expression(text: &str) -> bool {
    [" == ", " != ", " is ", " in ", " and ", " or ", "not ", " > ", " < ", " >= ", " <= "]
        .iter()
        .any(|word| text.contains(word))
}

/// A condition with `{{ }}` in its quoted texts, as an expression without: `'{{ a }}' == 'x'` is `(a) == 'x'`. What is within
/// the braces is never evaluated twice.
pub(super) fn without_braces(text: &str) -> Result<String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['\'', '"', '{']) {
        out.push_str(&rest[..at]);
        let (quote, after) = (&rest[at..=at], &rest[at + 1..]);
        if quote == "{" {
            if after.starts_with(['{', '%', '#']) {
                return Err(Error::usage(format!("the condition `{text}` has `{{{}` in it", &after[..1]))
                    .hint("a condition is an expression already: write `a == 1`, not `{{ a }} == 1`"));
            }
            out.push('{');
            rest = after;
            continue;
        }
        let end = end_of_text(after, quote)
            .ok_or_else(|| Error::usage(format!("the condition `{text}` has a text that does not end")))?;
        out.push_str(&embedded(&after[..end], quote));
        rest = &after[end + 1..];
    }
    out.push_str(rest);
    Ok(out)
}

/// Where a quoted text ends: braces in it may hold its quote.
fn end_of_text(text: &str, quote: &str) -> Option<usize> {
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        if rest.starts_with(quote) {
            return Some(at);
        }
        let skipped = match rest.as_bytes()[0] {
            b'\\' => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
            _ => rest.chars().next().map_or(1, char::len_utf8),
        };
        at += skipped;
    }
    None
}

/// A quoted text as an expression: what its braces hold joined with what is around them.
fn embedded(text: &str, quote: &str) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut rest = text;
    while let Some((before, inner, after)) = rest
        .split_once("{{")
        .and_then(|(before, tail)| tail.split_once("}}").map(|(inner, after)| (before, inner, after)))
    {
        if !before.is_empty() {
            parts.push(format!("{quote}{before}{quote}"));
        }
        parts.push(format!("({})", inner.trim().trim_matches('-')));
        rest = after;
    }
    if parts.is_empty() || !rest.is_empty() {
        parts.push(format!("{quote}{rest}{quote}"));
    }
    if parts.len() == 1 { parts.remove(0) } else { format!("({})", parts.join(" ~ ")) }
}

#[cfg(test)]
mod tests {
    use super::without_braces;

    #[test]
    fn braces_in_texts_become_expressions() {
        for (text, expected) in [
            ("'{{ a }}' == 'x'", "(a) == 'x'"),
            ("\"{{ a }}/{{ b }}\" in c", "((a) ~ \"/\" ~ (b)) in c"),
            ("'x-{{ a }}-y' != {'k': 'v'}['k']", "('x-' ~ (a) ~ '-y') != {'k': 'v'}['k']"),
        ] {
            assert_eq!(without_braces(text).unwrap(), expected);
        }
        assert!(without_braces("{{ a }} == 1").is_err());
        assert!(without_braces("'{{ a }} == 1").is_err());
    }
}
