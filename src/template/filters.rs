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
        "items2dict" => items2dict, "mandatory" => mandatory, "path_join" => path_join, "product" => product,
        "quote" => quote, "regex_escape" => regex_escape, "regex_findall" => regex_findall,
        "regex_replace" => regex_replace, "regex_search" => regex_search, "replace" => replace,
        "splitext" => splitext, "string" => string, "subelements" => subelements,
        "symmetric_difference" => symmetric_difference, "ternary" => ternary, "to_json" => to_json,
        "to_nice_json" => to_nice_json, "to_nice_yaml" => to_nice_yaml, "to_yaml" => to_yaml, "type_debug" => type_debug,
        "union" => union, "urlsplit" => urlsplit, "zip" => zip,
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

fn list(value: &Value) -> Result<Vec<Value>, Error> {
    Ok(value.try_iter()?.collect())
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn bool(value: &Value) -> Answer {
    // Ansible knows yes, on, true and 1; every other text is false.
    Ok(Value::from(match value.as_str() {
        Some(text) => matches!(text.to_ascii_lowercase().as_str(), "yes" | "on" | "true" | "1" | "y" | "t"),
        None if value.is_undefined() => return Err(Error::new(ErrorKind::UndefinedError, "the value is undefined")),
        None => value.is_true(),
    }))
}

fn int(value: &Value, fallback: Option<i64>, kwargs: Kwargs) -> Answer {
    let base = u32::try_from(kwargs.get::<Option<i64>>("base")?.unwrap_or(10)).unwrap_or(10);
    let fallback = kwargs.get::<Option<i64>>("default")?.or(fallback).unwrap_or(0);
    #[expect(clippy::cast_possible_truncation, reason = "that is what `int` does")]
    let number = match (value.as_str(), value.kind()) {
        (Some(text), _) => {
            let text = text.trim().replace('_', "");
            i64::from_str_radix(&text, base).or_else(|_| text.parse::<f64>().map(|float| float.trunc() as i64)).ok()
        }
        (None, ValueKind::Number) => {
            value.as_i64().or_else(|| f64::try_from(value.clone()).ok().map(|float| float.trunc() as i64))
        }
        (None, ValueKind::Bool) => Some(i64::from(value.is_true())),
        _ => None,
    };
    Ok(Value::from(number.unwrap_or(fallback)))
}

fn float(value: &Value, fallback: Option<f64>) -> Answer {
    let number = match value.as_str() {
        Some(text) => text.trim().parse().ok(),
        None => f64::try_from(value.clone()).ok(),
    };
    Ok(Value::from(number.or(fallback).unwrap_or(0.0)))
}

fn string(value: &Value) -> Answer {
    if value.is_undefined() {
        return Err(Error::new(ErrorKind::UndefinedError, "the value is undefined"));
    }
    Ok(Value::from(if value.is_none() { "None".to_owned() } else { text(value) }))
}

fn replace(value: &Value, old: String, new: String, count: Option<usize>) -> String {
    match count {
        Some(count) => text(value).replacen(&old, &new, count),
        None => text(value).replace(&old, &new),
    }
}

fn ternary(value: &Value, yes: Value, no: Value, none: Option<Value>) -> Answer {
    if value.is_undefined() {
        return Err(Error::new(ErrorKind::UndefinedError, "the value is undefined"));
    }
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

/// A pattern as Python's `re` reads it.
pub(super) fn regex(pattern: &str, kwargs: &Kwargs) -> Result<Regex, Error> {
    let ignorecase = kwargs.get::<Option<bool>>("ignorecase")?.unwrap_or(false);
    let multiline = kwargs.get::<Option<bool>>("multiline")?.unwrap_or(false);
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
    let replacement = replacement.unwrap_or_default();
    let count = kwargs.get::<Option<usize>>("count")?.unwrap_or(0);
    let regex = regex(&pattern, &kwargs)?;
    let replaced = regex
        .try_replacen(&text(value), count, |captures: &fancy_regex::Captures<'_>| expand(&replacement, captures))
        .map(std::borrow::Cow::into_owned);
    replaced.map(Value::from).map_err(|error| wrong(error.to_string()))
}

fn regex_search(value: &Value, pattern: String, groups: Rest<Value>, kwargs: Kwargs) -> Answer {
    let subject = text(value);
    let found = regex(&pattern, &kwargs)?.captures(&subject).map_err(|error| wrong(error.to_string()))?;
    let Some(found) = found else { return Ok(Value::from(())) };
    if groups.is_empty() {
        return Ok(Value::from(found.get(0).map_or("", |whole| whole.as_str())));
    }
    let named = groups.iter().map(|group| Value::from(expand(&text(group), &found)));
    Ok(named.collect())
}

fn regex_findall(value: &Value, pattern: String, kwargs: Kwargs) -> Answer {
    let subject = text(value);
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
    let _ = kwargs.get::<Option<bool>>("ensure_ascii")?;
    match kwargs.get::<Option<usize>>("indent")? {
        Some(indent) => pretty(&json(value)?, indent),
        None => Ok(Value::from(python_json(&json(value)?))),
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
    pretty(&sorted(json(value)?), kwargs.get::<Option<usize>>("indent")?.unwrap_or(4))
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
    let spaces = " ".repeat(indent);
    let formatter = serde_json::ser::PrettyFormatter::with_indent(spaces.as_bytes());
    let mut out = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, formatter);
    serde::Serialize::serialize(value, &mut serializer).map_err(|error| wrong(error.to_string()))?;
    Ok(Value::from(String::from_utf8_lossy(&out).into_owned()))
}

fn to_yaml(value: &Value) -> Answer {
    Ok(Value::from(yaml::emit(&json(value)?)))
}

fn to_nice_yaml(value: &Value, kwargs: Kwargs) -> Answer {
    let _ = (kwargs.get::<Option<Value>>("width")?, kwargs.get::<Option<bool>>("sort_keys")?);
    Ok(Value::from(yaml::emit_nice(&json(value)?, kwargs.get::<Option<usize>>("indent")?.unwrap_or(4))))
}

fn from_json(value: &Value) -> Answer {
    let parsed: Json = serde_json::from_str(&text(value)).map_err(|error| wrong(format!("not JSON: {error}")))?;
    Ok(lazy::from_json(&parsed))
}

fn from_yaml(value: &Value) -> Answer {
    let source = yaml::Source::new("<from_yaml>", text(value));
    let (node, _) = yaml::parse(&source).map_err(|error| wrong(error.to_string()))?;
    Ok(lazy::from_json(&node.to_value()))
}

fn combine(value: &Value, others: Rest<Value>, kwargs: Kwargs) -> Answer {
    let recursive = kwargs.get::<Option<bool>>("recursive")?.unwrap_or(false);
    let mut result = json(value)?;
    for other in others.iter() {
        merge(&mut result, json(other)?, recursive)?;
    }
    Ok(lazy::from_json(&result))
}

fn merge(into: &mut Json, from: Json, recursive: bool) -> Result<(), Error> {
    let (Json::Object(target), Json::Object(source)) = (into, from) else {
        return Err(wrong("combine: every argument must be a mapping"));
    };
    for (key, value) in source {
        match target.get_mut(&key) {
            Some(present) if recursive && present.is_object() && value.is_object() => merge(present, value, true)?,
            _ => drop(target.insert(key, value)),
        }
    }
    Ok(())
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
    let pairs =
        value.try_iter()?.map(|item| Ok((text(&item.get_attr(&key_name)?), json(&item.get_attr(&value_name)?)?)));
    Ok(lazy::from_json(&Json::Object(pairs.collect::<Result<_, Error>>()?)))
}

fn flatten(value: &Value, kwargs: Kwargs) -> Answer {
    fn go(value: &Value, levels: Option<i64>, out: &mut Vec<Value>) -> Result<(), Error> {
        for item in value.try_iter()? {
            let is_list = matches!(item.kind(), ValueKind::Seq | ValueKind::Iterable);
            if is_list && levels.is_none_or(|levels| levels > 0) {
                go(&item, levels.map(|levels| levels - 1), out)?;
            } else if !item.is_none() {
                out.push(item);
            }
        }
        Ok(())
    }
    let mut out = Vec::new();
    go(value, kwargs.get("levels")?, &mut out)?;
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
    let mut pairs = Vec::new();
    for item in value.try_iter()? {
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

fn quote(value: &Value) -> String {
    shell_quote(&text(value))
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

fn b64encode(value: &Value) -> String {
    STANDARD.encode(text(value))
}

fn b64decode(value: &Value) -> Answer {
    let bytes = STANDARD.decode(text(value).trim()).map_err(|error| wrong(format!("not base64: {error}")))?;
    String::from_utf8(bytes).map(Value::from).map_err(|_| wrong("b64decode: not UTF-8 text"))
}

fn hash(value: &Value, algorithm: Option<String>) -> Answer {
    let text = text(value);
    let algorithm = algorithm.as_deref().unwrap_or("sha1");
    let sum = checksum_of(algorithm, text.as_bytes());
    sum.map(Value::from).ok_or_else(|| {
        wrong(format!("hash: `{algorithm}` is not known; use md5, sha1, sha224, sha256, sha384 or sha512"))
    })
}

/// The checksum of bytes in hexadecimal; `None` for an algorithm that we do not have.
pub(crate) fn checksum_of(algorithm: &str, bytes: &[u8]) -> Option<String> {
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

fn path_join(value: &Value) -> Answer {
    let parts = list(value)?;
    let joined = parts.iter().fold(std::path::PathBuf::new(), |path, part| path.join(text(part)));
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

fn comment(text: String, style: Option<String>, kwargs: Kwargs) -> Answer {
    let mark = match style.as_deref().unwrap_or("plain") {
        "plain" => "# ",
        "c" => "// ",
        "erlang" => "% ",
        "cblock" | "xml" => return Err(wrong("comment: only the styles plain, c and erlang are supported")),
        other => return Err(wrong(format!("comment: `{other}` is not a style"))),
    };
    let decoration = kwargs.get::<Option<String>>("decoration")?.unwrap_or_else(|| mark.to_owned());
    let frame = decoration.trim_end();
    let lines: Vec<String> = text.lines().map(|line| format!("{decoration}{line}").trim_end().to_owned()).collect();
    Ok(Value::from(format!("{frame}\n{}\n{frame}", lines.join("\n"))))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use crate::template::{Engine, Scope, Var};

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
            let value = engine.evaluate(expression, &scope).unwrap_or_else(|error| panic!("{expression}: {error}"));
            assert_eq!(value, *expected, "{expression}");
        }
    }
}
