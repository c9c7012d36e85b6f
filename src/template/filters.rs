//! Ansible's filters, and those of Jinja that mean something else in minijinja. Each is also known by its full name.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use fancy_regex::Regex;
use minijinja::{
    Environment, Error, ErrorKind, Value,
    value::{Kwargs, Rest, ValueKind},
};
use serde_json::Value as Json;
use sha1::Digest;

use super::{chain, lazy};
use crate::{identity::hex, yaml};

type Answer = Result<Value, Error>;

fn wrong(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, message.into())
}

pub(super) fn register(jinja: &mut Environment<'static>) {
    jinja.add_filter(chain::STEP, step);
    macro_rules! filters {
        ($($name:literal => $function:expr),+ $(,)?) => {
            $(jinja.add_filter($name, $function);
              jinja.add_filter(concat!("ansible.builtin.", $name), $function);)+
        };
    }
    filters! {
        "b64decode" => b64decode, "b64encode" => b64encode, "basename" => basename, "bool" => bool, "checksum" => checksum,
        "combine" => combine, "comment" => comment, "dict2items" => dict2items, "difference" => difference,
        "dirname" => dirname, "expanduser" => |text: String| text, "extract" => extract, "float" => float, "from_json" => from_json,
        "from_yaml" => from_yaml, "flatten" => flatten, "hash" => hash, "int" => int, "intersect" => intersect,
        "items2dict" => items2dict, "join" => join, "mandatory" => mandatory, "path_join" => path_join, "product" => product,
        "quote" => quote, "regex_escape" => regex_escape, "regex_findall" => regex_findall,
        "regex_replace" => regex_replace, "regex_search" => regex_search, "replace" => replace,
        "splitext" => splitext, "string" => string, "subelements" => subelements,
        "symmetric_difference" => symmetric_difference, "ternary" => ternary, "to_json" => to_json,
        "to_nice_json" => to_nice_json, "to_nice_yaml" => to_nice_yaml, "to_yaml" => to_yaml, "type_debug" => type_debug,
        "union" => union, "urlencode" => urlencode, "urlsplit" => urlsplit, "zip" => zip,
    }
}

/// One step of a chain that may be undefined.
fn step(value: &Value, key: &Value) -> Value {
    // `get_item` of a text or a number is an error, of a map a miss: both mean that the chain is undefined.
    if value.is_undefined() { Value::UNDEFINED } else { value.get_item(key).unwrap_or(Value::UNDEFINED) }
}

fn json(value: &Value) -> Result<Json, Error> {
    lazy::to_json(value)
}

/// A value that is defined: what is not is never taken for nothing.
fn defined(value: &Value) -> Result<&Value, Error> {
    match value.kind() {
        ValueKind::Undefined => Err(Error::new(ErrorKind::UndefinedError, "the value is undefined")),
        ValueKind::Invalid => Err(lazy::invalid(value)),
        _ => Ok(value),
    }
}

fn list(value: &Value) -> Result<Vec<Value>, Error> {
    let items: Vec<Value> = defined(value)?.try_iter()?.collect();
    for item in &items {
        defined(item)?;
    }
    Ok(items)
}

fn text(value: &Value) -> Result<String, Error> {
    defined(value).map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
}

/// Refuses arguments that a filter does not know.
fn no_more(kwargs: &Kwargs) -> Result<(), Error> {
    kwargs.assert_all_used()
}

fn bool(value: &Value) -> Answer {
    // Ansible knows yes, on, true and 1; every other text is false.
    Ok(Value::from(match value.as_str() {
        Some(text) => matches!(text.to_ascii_lowercase().as_str(), "yes" | "on" | "true" | "1" | "y" | "t"),
        None => defined(value)?.is_true(),
    }))
}

/// Python's `int`: texts with the prefix of their base and with `_` between digits, otherwise what stands before the point.
fn int(value: &Value, fallback: Option<Value>, base: Option<u32>, kwargs: Kwargs) -> Answer {
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

fn float(value: &Value, fallback: Option<Value>, kwargs: Kwargs) -> Answer {
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
fn join(value: &Value, between: Option<Value>, attribute: Option<Value>, kwargs: Kwargs) -> Answer {
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

fn string(value: &Value) -> Answer {
    Ok(Value::from(if value.is_none() { "None".to_owned() } else { text(value)? }))
}

fn replace(value: &Value, old: String, new: String, count: Option<usize>) -> Result<String, Error> {
    let text = text(value)?;
    Ok(match count {
        Some(count) => text.replacen(&old, &new, count),
        None => text.replace(&old, &new),
    })
}

fn ternary(value: &Value, yes: Value, no: Value, none: Option<Value>) -> Answer {
    defined(value)?;
    Ok(match none {
        Some(none) if value.is_none() => none,
        _ if value.is_true() => yes,
        _ => no,
    })
}

fn mandatory(value: &Value, message: Option<String>) -> Answer {
    if value.is_undefined() {
        return Err(Error::new(
            ErrorKind::UndefinedError,
            message.unwrap_or_else(|| "a mandatory variable is undefined".into()),
        ));
    }
    Ok(value.clone())
}

/// A pattern as Python's `re` reads it. It takes the last of the arguments: others are refused.
pub(super) fn regex(pattern: &str, kwargs: &Kwargs) -> Result<Regex, Error> {
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

fn regex_replace(value: &Value, pattern: String, replacement: Option<String>, kwargs: Kwargs) -> Answer {
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

fn regex_search(value: &Value, pattern: String, groups: Rest<Value>, kwargs: Kwargs) -> Answer {
    let subject = text(value)?;
    let found = regex(&pattern, &kwargs)?.captures(&subject).map_err(|error| wrong(error.to_string()))?;
    let Some(found) = found else { return Ok(Value::from(())) };
    if groups.is_empty() {
        return Ok(Value::from(found.get(0).map_or("", |whole| whole.as_str())));
    }
    let named = groups.iter().map(|group| Ok(Value::from(expand(&text(group)?, &found))));
    named.collect::<Result<Vec<_>, Error>>().map(Value::from)
}

fn regex_findall(value: &Value, pattern: String, kwargs: Kwargs) -> Answer {
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

fn regex_escape(text: String) -> String {
    fancy_regex::escape(&text).into_owned()
}

fn to_json(value: &Value, kwargs: Kwargs) -> Answer {
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

fn to_nice_json(value: &Value, kwargs: Kwargs) -> Answer {
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

/// A number of columns that a text may be moved by.
fn bounded(columns: usize, name: &str) -> Result<usize, Error> {
    if columns > 1000 {
        return Err(wrong(format!("{name}: {columns} is more than 1000")));
    }
    Ok(columns)
}

fn to_yaml(value: &Value, kwargs: Kwargs) -> Answer {
    yaml_text(value, &kwargs, yaml::Style { nice: false, indent: 2, ..yaml::Style::default() })
}

fn to_nice_yaml(value: &Value, kwargs: Kwargs) -> Answer {
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

fn from_json(value: &Value) -> Answer {
    let parsed: Json = serde_json::from_str(&text(value)?).map_err(|error| wrong(format!("not JSON: {error}")))?;
    Ok(lazy::from_json(&parsed))
}

fn from_yaml(value: &Value) -> Answer {
    let source = yaml::Source::new("<from_yaml>", text(value)?);
    let (node, _) = yaml::parse(&source).map_err(|error| wrong(error.to_string()))?;
    Ok(lazy::from_json(&node.to_value()))
}

/// How `combine` joins two lists of one key.
#[derive(Clone, Copy)]
enum Lists {
    Replace,
    Keep,
    Append { unique: bool },
    Prepend { unique: bool },
}

fn combine(value: &Value, others: Rest<Value>, kwargs: Kwargs) -> Answer {
    let recursive = kwargs.get::<Option<bool>>("recursive")?.unwrap_or(false);
    let lists = match kwargs.get::<Option<String>>("list_merge")?.as_deref() {
        None | Some("replace") => Lists::Replace,
        Some("keep") => Lists::Keep,
        Some("append") => Lists::Append { unique: false },
        Some("append_rp") => Lists::Append { unique: true },
        Some("prepend") => Lists::Prepend { unique: false },
        Some("prepend_rp") => Lists::Prepend { unique: true },
        Some(other) => return Err(wrong(format!("combine: there is no list_merge `{other}`"))),
    };
    no_more(&kwargs)?;
    // A list of mappings stands for its mappings.
    let mut parts = Vec::new();
    for part in std::iter::once(value).chain(others.iter()) {
        match defined(part)?.kind() {
            ValueKind::Seq | ValueKind::Iterable => parts.extend(list(part)?),
            _ => parts.push(part.clone()),
        }
    }
    parts
        .iter()
        .try_fold(Value::from_pairs(Vec::<(Value, Value)>::new()), |all, part| merge(&all, part, recursive, lists))
}

/// The values stay what they are: lazy, omitted, or of the host.
fn merge(into: &Value, from: &Value, recursive: bool, lists: Lists) -> Answer {
    let mut merged: indexmap::IndexMap<Value, Value> = indexmap::IndexMap::new();
    for map in [into, from] {
        if map.kind() != ValueKind::Map {
            return Err(wrong("combine: every argument must be a mapping"));
        }
        for key in map.try_iter()? {
            let value = map.get_item(&key)?;
            let is = |value: &Value, kind: ValueKind| value.kind() == kind;
            let value = match merged.get(&key) {
                Some(present) if recursive && is(present, ValueKind::Map) && is(&value, ValueKind::Map) => {
                    merge(present, &value, true, lists)?
                }
                Some(present) if is(present, ValueKind::Seq) && is(&value, ValueKind::Seq) => {
                    let (old, new) = (list(present)?, list(&value)?);
                    let without = |from: Vec<Value>, other: &[Value], unique: bool| {
                        from.into_iter().filter(|item| !unique || !other.contains(item)).collect::<Vec<_>>()
                    };
                    match lists {
                        Lists::Replace => value,
                        Lists::Keep => present.clone(),
                        Lists::Append { unique } => Value::from([without(old, &new, unique), new].concat()),
                        Lists::Prepend { unique } => {
                            let old = without(old, &new, unique);
                            Value::from([new, old].concat())
                        }
                    }
                }
                _ => value,
            };
            merged.insert(key, value);
        }
    }
    Ok(Value::from_pairs(merged))
}

/// The element of a container, and of what it holds by further keys: `groups.app | map('extract', hostvars, 'ansible_host')`.
fn extract(item: &Value, container: &Value, further: Option<Value>) -> Answer {
    let found = container.get_item(item)?;
    match further {
        None => Ok(found),
        Some(keys) if keys.kind() == ValueKind::Seq => {
            keys.try_iter()?.try_fold(found, |inner, key| inner.get_item(&key))
        }
        Some(key) => found.get_item(&key),
    }
}

fn dict2items(value: &Value, kwargs: Kwargs) -> Answer {
    let key_name = kwargs.get::<Option<String>>("key_name")?.unwrap_or_else(|| "key".into());
    let value_name = kwargs.get::<Option<String>>("value_name")?.unwrap_or_else(|| "value".into());
    no_more(&kwargs)?;
    if defined(value)?.kind() != ValueKind::Map {
        return Err(wrong("dict2items needs a mapping"));
    }
    let mut items: Vec<Json> = Vec::new();
    for key in value.try_iter()? {
        let item = json(&value.get_item(&key)?)?;
        items.push(Json::Object([(key_name.clone(), json(&key)?), (value_name.clone(), item)].into_iter().collect()));
    }
    Ok(lazy::from_json(&Json::Array(items)))
}

fn items2dict(value: &Value, kwargs: Kwargs) -> Answer {
    let key_name = kwargs.get::<Option<String>>("key_name")?.unwrap_or_else(|| "key".into());
    let value_name = kwargs.get::<Option<String>>("value_name")?.unwrap_or_else(|| "value".into());
    no_more(&kwargs)?;
    let pairs = list(value)?;
    let pairs = pairs.iter().map(|item| Ok((text(&item.get_attr(&key_name)?)?, json(&item.get_attr(&value_name)?)?)));
    Ok(lazy::from_json(&Json::Object(pairs.collect::<Result<_, Error>>()?)))
}

fn flatten(value: &Value, kwargs: Kwargs) -> Answer {
    fn go(value: &Value, levels: Option<i64>, out: &mut Vec<Value>) -> Result<(), Error> {
        for item in list(value)? {
            let is_list = matches!(item.kind(), ValueKind::Seq | ValueKind::Iterable);
            if is_list && levels.is_none_or(|levels| levels > 0) {
                go(&item, levels.map(|levels| levels - 1), out)?;
            } else if !item.is_none() {
                out.push(item);
            }
        }
        Ok(())
    }
    let levels = kwargs.get("levels")?;
    no_more(&kwargs)?;
    let mut out = Vec::new();
    go(value, levels, &mut out)?;
    Ok(Value::from(out))
}

fn union(a: &Value, b: &Value) -> Answer {
    unique(list(a)?.into_iter().chain(list(b)?))
}

fn intersect(a: &Value, b: &Value) -> Answer {
    let b = list(b)?;
    unique(list(a)?.into_iter().filter(|item| b.contains(item)))
}

fn difference(a: &Value, b: &Value) -> Answer {
    let b = list(b)?;
    unique(list(a)?.into_iter().filter(|item| !b.contains(item)))
}

fn symmetric_difference(a: &Value, b: &Value) -> Answer {
    let (a, b) = (list(a)?, list(b)?);
    let only =
        |one: &[Value], other: &[Value]| one.iter().filter(|item| !other.contains(item)).cloned().collect::<Vec<_>>();
    unique(only(&a, &b).into_iter().chain(only(&b, &a)))
}

fn unique(items: impl Iterator<Item = Value>) -> Answer {
    let mut seen = Vec::new();
    for item in items {
        if !seen.contains(&item) {
            seen.push(item);
        }
    }
    Ok(Value::from(seen))
}

fn product(a: &Value, others: Rest<Value>) -> Answer {
    let mut rows: Vec<Vec<Value>> = list(a)?.into_iter().map(|item| vec![item]).collect();
    for other in others.iter() {
        let items = list(other)?;
        let longer = |row: &Vec<Value>| {
            let row = row.clone();
            items
                .iter()
                .map(move |item| row.iter().cloned().chain([item.clone()]).collect())
                .collect::<Vec<Vec<Value>>>()
        };
        rows = rows.iter().flat_map(longer).collect();
    }
    Ok(rows.into_iter().map(Value::from).collect())
}

fn zip(a: &Value, others: Rest<Value>) -> Answer {
    let mut lists = vec![list(a)?];
    for other in others.iter() {
        lists.push(list(other)?);
    }
    let length = lists.iter().map(Vec::len).min().unwrap_or(0);
    Ok((0..length).map(|at| lists.iter().map(|list| list[at].clone()).collect::<Value>()).collect())
}

fn subelements(value: &Value, path: String, kwargs: Kwargs) -> Answer {
    let skip = kwargs.get::<Option<bool>>("skip_missing")?.unwrap_or(false);
    no_more(&kwargs)?;
    let mut pairs = Vec::new();
    for item in list(value)? {
        let inner = path.split('.').try_fold(item.clone(), |value, part| value.get_attr(part))?;
        if inner.is_undefined() {
            if skip {
                continue;
            }
            return Err(wrong(format!("subelements: an item has no `{path}`")));
        }
        pairs.extend(inner.try_iter()?.map(|element| Value::from(vec![item.clone(), element])));
    }
    Ok(Value::from(pairs))
}

fn quote(value: &Value) -> Result<String, Error> {
    text(value).map(|text| shell_quote(&text))
}

/// A text as one word of a POSIX shell, as Python's `shlex.quote` writes it.
pub(crate) fn shell_quote(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "@%+=:,./-_".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r#"'"'"'"#))
    }
}

fn b64encode(value: &Value) -> Result<String, Error> {
    text(value).map(|text| STANDARD.encode(text))
}

fn b64decode(value: &Value) -> Answer {
    let bytes = STANDARD.decode(text(value)?.trim()).map_err(|error| wrong(format!("not base64: {error}")))?;
    String::from_utf8(bytes).map(Value::from).map_err(|_| wrong("b64decode: not UTF-8 text"))
}

fn hash(value: &Value, algorithm: Option<String>) -> Answer {
    let text = text(value)?;
    let algorithm = algorithm.as_deref().unwrap_or("sha1");
    let sum = checksum_of(algorithm, text.as_bytes());
    sum.map(Value::from).ok_or_else(|| {
        wrong(format!("hash: `{algorithm}` is not known; use md5, sha1, sha224, sha256, sha384 or sha512"))
    })
}

/// The checksum of bytes in hexadecimal; `None` for an algorithm that we do not have.
fn checksum_of(algorithm: &str, bytes: &[u8]) -> Option<String> {
    Some(match algorithm {
        "md5" => hex(&md5::Md5::digest(bytes)),
        "sha1" => hex(&sha1::Sha1::digest(bytes)),
        "sha224" => hex(&sha2::Sha224::digest(bytes)),
        "sha256" => hex(&sha2::Sha256::digest(bytes)),
        "sha384" => hex(&sha2::Sha384::digest(bytes)),
        "sha512" => hex(&sha2::Sha512::digest(bytes)),
        _ => return None,
    })
}

fn checksum(value: &Value) -> Answer {
    hash(value, None)
}

fn type_debug(value: &Value) -> &'static str {
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

fn basename(path: String) -> String {
    path.rsplit('/').next().unwrap_or_default().to_owned()
}

fn dirname(path: String) -> String {
    match path.rsplit_once('/') {
        Some(("", _)) => "/".to_owned(),
        Some((folder, _)) => folder.to_owned(),
        None => String::new(),
    }
}

fn splitext(path: String) -> Value {
    let name = path.rsplit('/').next().unwrap_or_default();
    let dot = name.rfind('.').filter(|at| !name[..*at].trim_start_matches('.').is_empty());
    let at = dot.map_or(path.len(), |at| path.len() - name.len() + at);
    Value::from(vec![path[..at].to_owned(), path[at..].to_owned()])
}

fn urlencode(value: &Value) -> Result<String, Error> {
    minijinja::filters::urlencode(defined(value)?)
}

fn path_join(value: &Value) -> Answer {
    let parts = list(value)?;
    let mut joined = std::path::PathBuf::new();
    for part in &parts {
        joined.push(text(part)?);
    }
    Ok(Value::from(joined.display().to_string()))
}

fn urlsplit(url: String, part: Option<String>) -> Answer {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", &url));
    let (rest, fragment) = rest.split_once('#').unwrap_or((rest, ""));
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (netloc, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    let (user, host) = netloc.rsplit_once('@').unwrap_or(("", netloc));
    let (hostname, port) = host.rsplit_once(':').map_or((host, None), |(name, port)| (name, port.parse::<u16>().ok()));
    let parts = serde_json::json!({
        "scheme": scheme, "netloc": netloc, "path": path, "query": query, "fragment": fragment,
        "username": user.split(':').next(), "hostname": hostname, "port": port,
    });
    match part {
        None => Ok(lazy::from_json(&parts)),
        Some(name) => parts.get(&name).map(lazy::from_json).ok_or_else(|| wrong(format!("urlsplit: no part `{name}`"))),
    }
}

/// Ansible's `comment`: the text with a sign before each line, between a line before and a line after it.
fn comment(value: &Value, style: Option<String>, kwargs: Kwargs) -> Answer {
    let style = kwargs.get::<Option<String>>("style")?.or(style).unwrap_or_else(|| "plain".to_owned());
    let (beginning, usual, end) = match style.as_str() {
        "plain" => ("", "# ", ""),
        "erlang" => ("", "% ", ""),
        "c" => ("", "// ", ""),
        "cblock" => ("/*", " * ", " */"),
        "xml" => ("<!--", " - ", "-->"),
        other => return Err(wrong(format!("comment: `{other}` is not a style"))),
    };
    let named = |name: &str, usual: &str| {
        kwargs.get::<Option<String>>(name).map(|text| text.unwrap_or_else(|| usual.to_owned()))
    };
    let count = |name: &str| kwargs.get::<Option<usize>>(name).and_then(|count| bounded(count.unwrap_or(1), name));
    let newline = named("newline", "\n")?;
    let (beginning, end) = (named("beginning", beginning)?, named("end", end)?);
    let decoration = named("decoration", usual)?;
    let (prefix, postfix) = (named("prefix", decoration.trim_end())?, named("postfix", decoration.trim_end())?);
    let (prefixes, postfixes) = (count("prefix_count")?, count("postfix_count")?);
    no_more(&kwargs)?;
    let mut out = if beginning.is_empty() { String::new() } else { format!("{beginning}{newline}") };
    if !prefix.is_empty() {
        let line = if prefix == newline { newline.clone() } else { format!("{prefix}{newline}") };
        out += &line.repeat(prefixes);
    }
    let lines = format!("{decoration}{}", text(value)?.replace(&newline, &format!("{newline}{decoration}")));
    out += &lines.replace(&format!("{decoration}{newline}"), &format!("{}{newline}", decoration.trim_end()));
    out += &format!("{newline}{postfix}").repeat(postfixes);
    if !end.is_empty() {
        out += &format!("{newline}{end}");
    }
    Ok(Value::from(out))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use crate::template::{Authored, Engine, Scope, Var};

    struct Empty;

    impl Scope for Empty {
        fn get(&self, _: &str) -> Option<Var> {
            None
        }
    }

    /// What ansible-core 2.19 answers to the same expressions.
    #[test]
    fn answers_as_ansible_does() {
        let scope: Arc<dyn Scope> = Arc::new(Empty);
        let engine = Engine::default();
        let cases: &[(&str, Value)] = &[
            ("'no' | bool", json!(false)),
            ("'x' | int", json!(0)),
            ("'12' | int + 1", json!(13)),
            ("'a.b.c' | regex_replace('\\\\.', '-')", json!("a-b-c")),
            ("'foo123' | regex_replace('([a-z]+)(\\\\d+)', '\\\\2\\\\1')", json!("123foo")),
            ("'v1.2' | regex_search('(\\\\d)\\\\.(\\\\d)', '\\\\1', '\\\\2')", json!(["1", "2"])),
            ("'abc' | regex_search('x')", json!(null)),
            ("{'a': 1} | combine({'b': 2})", json!({"a": 1, "b": 2})),
            ("{'a': {'x': 1}} | combine({'a': {'y': 2}}, recursive=true)", json!({"a": {"x": 1, "y": 2}})),
            ("{'a': 1} | dict2items", json!([{"key": "a", "value": 1}])),
            ("[{'key': 'a', 'value': 1}] | items2dict", json!({"a": 1})),
            ("[1, [2, [3]]] | flatten", json!([1, 2, 3])),
            ("[1, [2, [3]]] | flatten(levels=1)", json!([1, 2, [3]])),
            ("\"it's\" | quote", json!("'it'\"'\"'s'")),
            ("'hi' | b64encode | b64decode", json!("hi")),
            ("{'a': [1, 'x']} | to_json", json!("{\"a\": [1, \"x\"]}")),
            ("true | ternary('y', 'n')", json!("y")),
            ("[1, 2, 2] | union([3])", json!([1, 2, 3])),
            ("[1, 2] | difference([2])", json!([1])),
            ("'0x1f' | int(base=16)", json!(31)),
            ("'1f' | int(0, 16)", json!(31)),
            ("'0b11' | int(base=2)", json!(3)),
            ("'zz' | int(7)", json!(7)),
            ("'12.7' | int", json!(12)),
            ("'0x1f' | int", json!(0)),
            ("'077' | int(base=8)", json!(63)),
            ("'0o17' | int(base=8)", json!(15)),
            ("'1_0' | int", json!(10)),
            ("'a\\nb' | comment(prefix='P', postfix='Q')", json!("P\n# a\n# b\nQ")),
            ("'a\\nb' | comment('c')", json!("//\n// a\n// b\n//")),
            ("'a\\nb' | comment('cblock')", json!("/*\n *\n * a\n * b\n *\n */")),
            ("'a' | comment('xml')", json!("<!--\n -\n - a\n -\n-->")),
            ("'a' | comment(decoration='! ')", json!("!\n! a\n!")),
            ("'a' | comment(prefix_count=2, postfix_count=0, newline='~')", json!("#~#~# a")),
            ("'a' | comment('plain', prefix='#######', postfix='##')", json!("#######\n# a\n##")),
            ("'a\\n\\nb' | comment(beginning='B', end='E')", json!("B\n#\n# a\n#\n# b\n#\nE")),
            ("{'a': 1} | combine({'a': omit})", json!({})),
            ("{'a': [1]} | combine({'a': [2, 1]}, list_merge='append_rp')", json!({"a": [2, 1]})),
            ("{'a': [1]} | combine([{'a': [2]}, {'b': 3}], list_merge='prepend')", json!({"a": [2, 1], "b": 3})),
            ("{'a': omit, 'b': [omit, 1]}", json!({"b": [1]})),
            ("'x' ~ omit", json!("x")),
            ("[none, true, 1.0] | join('-')", json!("None-True-1.0")),
            ("'1.0.0-rc1' is version('1.0.0', '<', version_type='semver')", json!(true)),
            ("'1.0.0+b' is version('1.0.0', '==', version_type='semver')", json!(true)),
            ("'1.0.0-rc1' is version('1.0.0-rc.2', '<', version_type='semver')", json!(false)),
            ("'1.0' is version('1.0', '==', strict=true)", json!(true)),
            ("'1.0a1' is version('1.0b1', '<', strict=true)", json!(true)),
            ("'1.0' is version('1.0.0', '==', version_type='strict')", json!(true)),
            ("{'b': 1, 'a': 2} | to_nice_yaml(sort_keys=false)", json!("b: 1\na: 2\n")),
            ("'/a/b.txt' | basename", json!("b.txt")),
            ("'/a/b.txt' | dirname", json!("/a")),
            ("'test' | hash('sha1')", json!("a94a8fe5ccb19ba61c4c0873d391e987982fbbd3")),
            ("'http://u@h:80/p?q=1' | urlsplit('hostname')", json!("h")),
            ("[1, 2] | zip(['a', 'b']) | list", json!([[1, "a"], [2, "b"]])),
            ("'a' | ansible.builtin.b64encode", json!("YQ==")),
            ("[3, 1] | sort | join(',')", json!("1,3")),
            ("[{'n': 'a', 'v': 1}] | selectattr('v', 'equalto', 1) | map(attribute='n') | list", json!(["a"])),
            ("'a-b'.split('-') | last", json!("b")),
            ("'8.9p1' is version('8.10', '<')", json!(true)),
            ("'12' is version('9', '>=')", json!(true)),
            ("'abc' is match('b')", json!(false)),
            ("'abc' is search('b')", json!(true)),
            ("[1] is subset([1, 2])", json!(true)),
        ];
        for (expression, expected) in cases {
            let written = Authored::written((*expression).to_owned());
            let value = engine.evaluate(&written, &scope).unwrap_or_else(|error| panic!("{expression}: {error}"));
            assert_eq!(value, *expected, "{expression}");
        }
    }

    #[test]
    fn what_is_undefined_is_an_error_in_every_filter() {
        let scope: Arc<dyn Scope> = Arc::new(Empty);
        let engine = Engine::default();
        for call in [
            "join(',')",
            "int",
            "float",
            "replace('a', 'b')",
            "regex_replace('a', 'b')",
            "regex_search('a')",
            "regex_findall('a')",
            "quote",
            "b64encode",
            "b64decode",
            "hash",
            "checksum",
            "union([1])",
            "intersect([1])",
            "difference([1])",
            "symmetric_difference([1])",
            "dict2items",
            "items2dict",
            "flatten",
            "combine({})",
            "to_json",
            "to_nice_json",
            "to_yaml",
            "to_nice_yaml",
            "from_json",
            "from_yaml",
            "basename",
            "dirname",
            "splitext",
            "path_join",
            "product([1])",
            "zip([1])",
            "subelements('a')",
            "comment",
            "bool",
            "string",
            "ternary(1, 2)",
            "urlsplit",
            "upper",
            "lower",
            "trim",
            "length",
            "first",
            "last",
            "list",
            "sort",
            "unique",
            "max",
            "min",
            "sum",
            "map('upper') | list",
            "select | list",
            "selectattr('a') | list",
            "reject | list",
            "reverse",
            "items",
            "dictsort",
            "capitalize",
            "title",
            "indent",
            "abs",
            "round",
            "split(',')",
            "urlencode",
            "batch(2) | list",
            "lines",
        ] {
            let text = format!("port={{{{ ({{'d': {{}}}}).d.prot | {call} }}}}");
            let found = engine.resolve_text(&Authored::written(text.clone()), &scope);
            assert!(found.is_err(), "{text}: {found:?}");
        }
        for text in ["[({}).x]", "{'a': ({}).x}", "port={{ [({}).x] }}", "{{ {'a': [({}).x]} }}"] {
            let text = if text.contains("{{") { text.to_owned() } else { format!("{{{{ {text} }}}}") };
            let found = engine.resolve_text(&Authored::written(text.clone()), &scope);
            assert!(found.is_err(), "{text}: {found:?}");
        }
    }

    #[test]
    fn no_filter_ignores_an_argument() {
        let scope: Arc<dyn Scope> = Arc::new(Empty);
        let engine = Engine::default();
        for call in [
            "'a' | int(zzz=1)",
            "'a' | float(zzz=1)",
            "[1] | join(zzz=1)",
            "'a' | regex_replace('a', 'b', zzz=1)",
            "'a' | regex_search('a', zzz=1)",
            "'a' | regex_findall('a', zzz=1)",
            "1 | to_json(zzz=1)",
            "1 | to_nice_json(zzz=1)",
            "1 | to_yaml(zzz=1)",
            "1 | to_nice_yaml(zzz=1)",
            "{} | combine({}, zzz=1)",
            "{} | dict2items(zzz=1)",
            "[] | items2dict(zzz=1)",
            "[] | flatten(zzz=1)",
            "[] | subelements('a', zzz=1)",
            "'a' | comment(zzz=1)",
            "'a' | bool(zzz=1)",
            "'a' | quote(zzz=1)",
            "'a' | hash(zzz=1)",
            "'a' | b64encode(zzz=1)",
            "[] | union([], zzz=1)",
            "'1' is version('1', zzz=1)",
            "'1' is match('1', zzz=1)",
            "'1' is search('1', zzz=1)",
            "lookup('env', 'A', zzz=1)",
            "lookup('file', '/etc/hostname', zzz=1)",
            "'1' is version('1', '<', strict=true, version_type='semver')",
            "'1.x' is version('1.1', '<')",
            "'1.0.0.0' is version('1', '<', strict=true)",
        ] {
            let found = engine.evaluate(&Authored::written(call.to_owned()), &scope);
            assert!(found.is_err(), "{call}: {found:?}");
        }
    }
}
