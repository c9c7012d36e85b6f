//! Ansible's filters, and those of Jinja that mean something else in minijinja. Each is also known by its full name.

mod collections;
mod comment;
mod encodings;
mod formats;
mod numbers_and_texts;
mod paths;
mod regex;

use minijinja::{
    Environment, Error, ErrorKind, Value,
    value::{Kwargs, ValueKind},
};
use serde_json::Value as Json;

pub(super) use self::regex::regex;
pub(crate) use self::{formats::python_json, regex::expand};
use super::{Named, chain, lazy};

type Answer = Result<Value, Error>;

fn wrong(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, message.into())
}

/// Declares filters: name, function, and what it does.
macro_rules! filters {
    ($($name:literal => $function:expr, $about:literal;)+) => {
        &[$(Named {
            name: $name,
            about: $about,
            add: |jinja| {
                jinja.add_filter($name, $function);
                jinja.add_filter(concat!("ansible.builtin.", $name), $function);
            },
        }),+]
    };
}

/// Ansible's filters, and those of Jinja that mean something else in minijinja.
pub const FILTERS: &[Named] = filters! {
    "b64decode" => encodings::b64decode, "Decodes base64.";
    "b64encode" => encodings::b64encode, "Encodes in base64.";
    "basename" => paths::basename, "The last part of a path.";
    "bool" => numbers_and_texts::bool, "A boolean, from any of Ansible's words for one.";
    "checksum" => encodings::checksum, "The SHA-1 of a text.";
    "combine" => collections::combine, "One mapping of several; the last one wins. `recursive` and `list_merge` say how deep.";
    "comment" => comment::comment, "A text as a comment.";
    "dict2items" => collections::dict2items, "The entries of a mapping, as a list of `key` and `value`.";
    "difference" => collections::difference, "The items of a list that are not in another one.";
    "dirname" => paths::dirname, "A path without its last part.";
    "expanduser" => |text: String| text, "The text as it is: the host replaces `~`.";
    "extract" => collections::extract, "The value of a container under a key.";
    "flatten" => collections::flatten, "A list without lists in it, down to `levels`.";
    "float" => numbers_and_texts::float, "A number with a fraction.";
    "from_json" => formats::from_json, "The value of a JSON text.";
    "from_yaml" => formats::from_yaml, "The value of a YAML text.";
    "hash" => encodings::hash, "A digest of a text, SHA-1 where no other is named.";
    "int" => numbers_and_texts::int, "A whole number.";
    "intersect" => collections::intersect, "The items that are in both lists.";
    "items2dict" => collections::items2dict, "A mapping of a list of `key` and `value`.";
    "join" => numbers_and_texts::join, "The items of a list as one text.";
    "mandatory" => numbers_and_texts::mandatory, "The value, or a failure when it is undefined.";
    "path_join" => paths::path_join, "One path of several.";
    "product" => collections::product, "Every combination of the items of lists.";
    "quote" => encodings::quote, "A text as one word of a shell.";
    "regex_escape" => regex::regex_escape, "A text as a regular expression that matches it.";
    "regex_findall" => regex::regex_findall, "Every match of a regular expression.";
    "regex_replace" => regex::regex_replace, "A text with its matches replaced.";
    "regex_search" => regex::regex_search, "The first match of a regular expression, or its groups.";
    "replace" => numbers_and_texts::replace, "A text with a part of it replaced.";
    "splitext" => paths::splitext, "A path without its extension, and the extension.";
    "string" => numbers_and_texts::string, "The value as a text.";
    "subelements" => collections::subelements, "The items of a list, each with one of a list within it.";
    "symmetric_difference" => collections::symmetric_difference, "The items that are in one of two lists only.";
    "ternary" => numbers_and_texts::ternary, "One value when this is true, another one when it is not.";
    "to_json" => formats::to_json, "The value as JSON.";
    "to_nice_json" => formats::to_nice_json, "The value as JSON with line breaks.";
    "to_nice_yaml" => formats::to_nice_yaml, "The value as YAML with line breaks.";
    "to_yaml" => formats::to_yaml, "The value as YAML.";
    "type_debug" => numbers_and_texts::type_debug, "The name of the value's type in Python.";
    "union" => collections::union, "The items of both lists, each once.";
    "urlencode" => paths::urlencode, "A text or a mapping as a part of an address.";
    "urlsplit" => paths::urlsplit, "The parts of an address.";
    "zip" => collections::zip, "The items of several lists side by side.";
};

/// The filters of minijinja that mean what they mean in Jinja.
pub const JINJA_FILTERS: &[(&str, &str)] = &[
    ("abs", "The absolute value of a number."),
    ("attr", "The attribute of a value."),
    ("batch", "The items in lists of this many."),
    ("chain", "The items of several lists, one after the other."),
    ("capitalize", "A text with a capital at its beginning."),
    ("count", "The same as `length`."),
    ("d", "The same as `default`."),
    ("default", "Another value when this one is undefined, or false with `true` behind it."),
    ("dictsort", "The entries of a mapping in order."),
    ("e", "The same as `escape`."),
    ("escape", "A text as HTML."),
    ("first", "The first item."),
    ("format", "A text with values in the places of `%s`."),
    ("groupby", "The items by the value of an attribute."),
    ("indent", "A text with its lines further in."),
    ("items", "The entries of a mapping as pairs."),
    ("last", "The last item."),
    ("length", "How many items, entries or characters there are."),
    ("lines", "The lines of a text."),
    ("list", "The items as a list."),
    ("lower", "A text in small letters."),
    ("map", "A filter or an attribute of each item."),
    ("max", "The greatest item."),
    ("min", "The smallest item."),
    ("pprint", "The value as it is shown to people who debug."),
    ("reject", "The items for which a test does not hold."),
    ("rejectattr", "The items for whose attribute a test does not hold."),
    ("reverse", "The items or characters from the last to the first."),
    ("round", "A rounded number."),
    ("safe", "The text as it is."),
    ("select", "The items for which a test holds."),
    ("selectattr", "The items for whose attribute a test holds."),
    ("slice", "The items in this many lists."),
    ("sort", "The items in order."),
    ("split", "The parts of a text."),
    ("sum", "The sum of the items."),
    ("title", "A text with a capital at the beginning of each word."),
    ("tojson", "The value as JSON for HTML."),
    ("trim", "A text without the white space around it."),
    ("unique", "The items, each once."),
    ("upper", "A text in capitals."),
];

pub(super) fn register(jinja: &mut Environment<'static>) {
    jinja.add_filter(chain::STEP, step);
    for filter in FILTERS {
        (filter.add)(jinja);
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

/// A number of columns that a text may be moved by.
fn bounded(columns: usize, name: &str) -> Result<usize, Error> {
    if columns > 1000 {
        return Err(wrong(format!("{name}: {columns} is more than 1000")));
    }
    Ok(columns)
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
