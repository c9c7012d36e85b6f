//! Regular expressions as Python's `re` has them.

use fancy_regex::Regex;
use minijinja::{
    Error, Value,
    value::{Kwargs, Rest},
};

use super::{Answer, no_more, text, wrong};

/// A pattern as Python's `re` reads it. It takes the last of the arguments: others are refused.
pub(in crate::template) fn regex(pattern: &str, kwargs: &Kwargs) -> Result<Regex, Error> {
    let ignorecase = kwargs.get::<Option<bool>>("ignorecase")?.unwrap_or(false);
    let multiline = kwargs.get::<Option<bool>>("multiline")?.unwrap_or(false);
    no_more(kwargs)?;
    let flags = match (ignorecase, multiline) {
        (true, true) => "(?im)",
        (true, false) => "(?i)",
        (false, true) => "(?m)",
        (false, false) => "",
    };
    let pattern = pattern.replace("\\Z", "\\z").replace("(?P=", "\\k<").replace("(?P<", "(?<");
    Regex::new(&format!("{flags}{pattern}"))
        .map_err(|error| wrong(format!("`{pattern}` is not a regular expression: {error}")))
}

/// Python's replacement text (`\1`, `\g<name>`) for one match.
pub(crate) fn expand(replacement: &str, captures: &fancy_regex::Captures<'_>) -> String {
    let group = |name: &str| {
        let found = name.parse().map_or_else(|_| captures.name(name), |number: usize| captures.get(number));
        found.map_or("", |found| found.as_str())
    };
    let mut out = String::new();
    let mut rest = replacement;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some((name, after)) = rest.strip_prefix("g<").and_then(|inner| inner.split_once('>')) {
            out.push_str(group(name));
            rest = after;
            continue;
        }
        let digits = rest.bytes().take(2).take_while(u8::is_ascii_digit).count();
        if digits > 0 {
            out.push_str(group(&rest[..digits]));
            rest = &rest[digits..];
            continue;
        }
        let mut after = rest.chars();
        match after.next() {
            Some('n') => out.push('\n'),
            Some('t') => out.push('\t'),
            Some('r') => out.push('\r'),
            Some('\\') | None => out.push('\\'),
            Some(other) => out.extend(['\\', other]),
        }
        rest = after.as_str();
    }
    out + rest
}

pub(super) fn regex_replace(value: &Value, pattern: String, replacement: Option<String>, kwargs: Kwargs) -> Answer {
    let replacement = match kwargs.get::<Option<String>>("replacement")? {
        Some(replacement) => replacement,
        None => replacement.unwrap_or_default(),
    };
    let count = kwargs.get::<Option<usize>>("count")?.unwrap_or(0);
    let regex = regex(&pattern, &kwargs)?;
    let replaced = regex
        .try_replacen(&text(value)?, count, |captures: &fancy_regex::Captures<'_>| expand(&replacement, captures))
        .map(std::borrow::Cow::into_owned);
    replaced.map(Value::from).map_err(|error| wrong(error.to_string()))
}

pub(super) fn regex_search(value: &Value, pattern: String, groups: Rest<Value>, kwargs: Kwargs) -> Answer {
    let subject = text(value)?;
    let found = regex(&pattern, &kwargs)?.captures(&subject).map_err(|error| wrong(error.to_string()))?;
    let Some(found) = found else { return Ok(Value::from(())) };
    if groups.is_empty() {
        return Ok(Value::from(found.get(0).map_or("", |whole| whole.as_str())));
    }
    let named = groups.iter().map(|group| Ok(Value::from(expand(&text(group)?, &found))));
    named.collect::<Result<Vec<_>, Error>>().map(Value::from)
}

pub(super) fn regex_findall(value: &Value, pattern: String, kwargs: Kwargs) -> Answer {
    let subject = text(value)?;
    let regex = regex(&pattern, &kwargs)?;
    let mut all = Vec::new();
    for found in regex.captures_iter(&subject) {
        let found = found.map_err(|error| wrong(error.to_string()))?;
        let group = |at: usize| Value::from(found.get(at).map_or("", |group| group.as_str()));
        all.push(match found.len() {
            1 => group(0),
            2 => group(1),
            more => (1..more).map(group).collect(),
        });
    }
    Ok(Value::from(all))
}

pub(super) fn regex_escape(text: String) -> String {
    fancy_regex::escape(&text).into_owned()
}
