//! Writes YAML as `PyYAML`'s `dump` does with Ansible's options: the filters `to_yaml` and `to_nice_yaml`. `scalar_style` says
//! how a text is written; here stands where it goes.

use serde_json::Value;

use super::scalar_style::{Analysis, escaped, is_break};

/// How a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// Block style throughout; otherwise collections of plain values are in flow style.
    pub nice: bool,
    /// Spaces a level.
    pub indent: usize,
    /// The column after which lines are folded.
    pub width: usize,
    /// Whether keys are sorted.
    pub sort: bool,
}

impl Default for Style {
    fn default() -> Self {
        Self { nice: true, indent: 4, width: 80, sort: true }
    }
}

/// `to_nice_yaml`: block style throughout, `indent` spaces a level, keys sorted.
#[must_use]
pub fn emit_nice(value: &Value, indent: usize) -> String {
    dump(value, &Style { indent, ..Style::default() })
}

/// A value as YAML.
#[must_use]
pub fn dump(value: &Value, style: &Style) -> String {
    let indent = if (2..10).contains(&style.indent) { style.indent } else { 2 };
    let width = if style.width > indent * 2 { style.width } else { 80 };
    let mut writer = Writer {
        out: String::new(),
        style: Style { indent, width, ..*style },
        column: 0,
        indent: None,
        flow: 0,
        whitespace: true,
        indention: true,
    };
    writer.node(value, Context::default());
    writer.indent = None;
    writer.write_indent();
    writer.out
}

/// Where a node is.
#[derive(Clone, Copy, Default)]
struct Context {
    in_mapping: bool,
    simple_key: bool,
}

const VALUE: Context = Context { in_mapping: true, simple_key: false };
const KEY: Context = Context { in_mapping: true, simple_key: true };

/// `PyYAML`'s emitter, with its names.
struct Writer {
    out: String,
    style: Style,
    column: usize,
    indent: Option<usize>,
    flow: usize,
    /// Whether white space was written last.
    whitespace: bool,
    /// Whether the line holds nothing but indentation.
    indention: bool,
}

impl Writer {
    fn write(&mut self, text: &str) {
        self.out.push_str(text);
        self.column += text.chars().count();
    }

    fn line_break(&mut self) {
        self.out.push('\n');
        self.whitespace = true;
        self.indention = true;
        self.column = 0;
    }

    fn write_indent(&mut self) {
        let indent = self.indent.unwrap_or(0);
        if !self.indention || self.column > indent || (self.column == indent && !self.whitespace) {
            self.line_break();
        }
        if self.column < indent {
            self.whitespace = true;
            self.write(&" ".repeat(indent - self.column));
        }
    }

    fn indicator(&mut self, sign: &str, need_whitespace: bool, whitespace: bool, indention: bool) {
        if need_whitespace && !self.whitespace {
            self.write(" ");
        }
        self.whitespace = whitespace;
        self.indention = self.indention && indention;
        self.write(sign);
    }

    /// Runs with a deeper indentation.
    fn deeper(&mut self, flow: bool, indentless: bool, inside: impl FnOnce(&mut Self)) {
        let before = self.indent;
        self.indent = match before {
            None => Some(if flow { self.style.indent } else { 0 }),
            Some(indent) if indentless => Some(indent),
            Some(indent) => Some(indent + self.style.indent),
        };
        inside(self);
        self.indent = before;
    }

    fn in_flow(&self, value: &Value) -> bool {
        let plain = |value: &Value| !value.is_array() && !value.is_object();
        let (empty, leaf) = match value {
            Value::Array(items) => (items.is_empty(), items.iter().all(plain)),
            Value::Object(map) => (map.is_empty(), map.values().all(plain)),
            _ => (false, false),
        };
        self.flow > 0 || empty || (!self.style.nice && leaf)
    }

    fn node(&mut self, value: &Value, context: Context) {
        match value {
            Value::Array(items) if self.in_flow(value) => self.flow_of('[', ']', items, |writer, item| {
                writer.node(item, Context::default());
            }),
            Value::Object(map) if self.in_flow(value) => {
                let pairs = self.pairs(map);
                self.flow_of('{', '}', &pairs, |writer, (key, value)| writer.pair(key, value));
            }
            Value::Array(items) => {
                let indentless = context.in_mapping && !self.indention;
                self.deeper(false, indentless, |writer| {
                    for item in items {
                        writer.write_indent();
                        writer.indicator("-", true, false, true);
                        writer.node(item, Context::default());
                    }
                });
            }
            Value::Object(map) => {
                let pairs = self.pairs(map);
                self.deeper(false, false, |writer| {
                    for (key, value) in pairs {
                        writer.write_indent();
                        writer.pair(key, value);
                    }
                });
            }
            Value::String(text) => self.scalar(text, false, context),
            Value::Null => self.scalar("null", true, context),
            Value::Bool(flag) => self.scalar(&flag.to_string(), true, context),
            Value::Number(number) => self.scalar(&python_number(number), true, context),
        }
    }

    fn pairs<'a>(&self, map: &'a serde_json::Map<String, Value>) -> Vec<(&'a String, &'a Value)> {
        let mut pairs: Vec<_> = map.iter().collect();
        if self.style.sort {
            pairs.sort_by_key(|(key, _)| key.as_str());
        }
        pairs
    }

    fn pair(&mut self, key: &str, value: &Value) {
        let flow = self.flow > 0;
        if key.chars().count() < 128 && !key.is_empty() && !key.contains(is_break) {
            self.scalar(key, false, KEY);
            self.indicator(":", false, false, false);
        } else {
            self.indicator("?", true, false, !flow);
            self.scalar(key, false, VALUE);
            if !flow {
                self.write_indent();
            }
            self.indicator(":", true, false, !flow);
        }
        self.node(value, VALUE);
    }

    fn flow_of<T>(&mut self, open: char, close: char, items: &[T], mut write: impl FnMut(&mut Self, &T)) {
        self.indicator(&open.to_string(), true, true, false);
        self.flow += 1;
        self.deeper(true, false, |writer| {
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    writer.indicator(",", false, false, false);
                }
                if writer.column > writer.style.width {
                    writer.write_indent();
                }
                write(writer, item);
            }
        });
        self.flow -= 1;
        self.indicator(&close.to_string(), false, false, false);
    }

    fn scalar(&mut self, text: &str, plain: bool, context: Context) {
        let split = !context.simple_key;
        let analysis = Analysis::of(text);
        let fits = if self.flow > 0 { analysis.flow_plain } else { analysis.block_plain };
        let empty_or_long = context.simple_key && (text.is_empty() || analysis.multiline);
        self.deeper(true, false, |writer| {
            if plain || (analysis.is_text && fits && !empty_or_long) {
                writer.plain(text, split);
            } else if analysis.single_quoted && !(context.simple_key && analysis.multiline) {
                writer.single_quoted(text, split);
            } else {
                writer.double_quoted(text, split);
            }
        });
    }

    fn plain(&mut self, text: &str, split: bool) {
        if text.is_empty() {
            return;
        }
        if !self.whitespace {
            self.write(" ");
        }
        self.whitespace = false;
        self.indention = false;
        self.folded(text, split, |_| true);
    }

    /// Writes words and the spaces between them; a single space after the last column becomes a new line where it may.
    fn folded(&mut self, text: &str, split: bool, may: impl Fn((usize, usize)) -> bool) {
        let mut at = 0;
        while at < text.len() {
            let rest = &text[at..];
            let spaces = rest.len() - rest.trim_start_matches(' ').len();
            if spaces > 0 {
                if spaces == 1 && self.column > self.style.width && split && may((at, at + 1)) {
                    self.write_indent();
                    self.whitespace = false;
                    self.indention = false;
                } else {
                    self.write(&rest[..spaces]);
                }
                at += spaces;
            } else {
                let end = rest.find(' ').unwrap_or(rest.len());
                self.write(&rest[..end]);
                at += end;
            }
        }
    }

    fn single_quoted(&mut self, text: &str, split: bool) {
        self.indicator("'", true, false, false);
        let mut rest = text;
        while !rest.is_empty() {
            let breaks: usize = rest.chars().take_while(|c| is_break(*c)).map(char::len_utf8).sum();
            if breaks > 0 {
                if rest.starts_with('\n') {
                    self.line_break();
                }
                for _ in rest[..breaks].chars() {
                    self.line_break();
                }
                self.write_indent();
                self.whitespace = false;
                self.indention = false;
                rest = &rest[breaks..];
                continue;
            }
            let end = rest.find(is_break).unwrap_or(rest.len());
            let line = rest[..end].replace('\'', "''");
            let (first, last) = (rest.len() == text.len(), end == rest.len());
            let length = line.len();
            self.folded(&line, split, |(from, to)| !((first && from == 0) || (last && to == length)));
            rest = &rest[end..];
        }
        self.indicator("'", false, false, false);
    }

    fn double_quoted(&mut self, text: &str, split: bool) {
        self.indicator("\"", true, false, false);
        let chars: Vec<char> = text.chars().collect();
        let (mut start, mut end) = (0, 0);
        while end <= chars.len() {
            let c = chars.get(end).copied();
            let escape = c.map_or(Some(String::new()), escaped);
            if let Some(escape) = escape {
                if start < end {
                    self.write(&chars[start..end].iter().collect::<String>());
                    start = end;
                }
                if c.is_some() {
                    self.write(&escape);
                    start = end + 1;
                }
            }
            let long = self.column + end.saturating_sub(start) > self.style.width;
            if 0 < end && end + 1 < chars.len() && (c == Some(' ') || start >= end) && long && split {
                if start < end {
                    self.write(&chars[start..end].iter().collect::<String>());
                    start = end;
                }
                self.write("\\");
                self.write_indent();
                self.whitespace = false;
                self.indention = false;
                if chars.get(start) == Some(&' ') {
                    self.write("\\");
                }
            }
            end += 1;
        }
        self.indicator("\"", false, false, false);
    }
}

/// A number as Python's representer writes it: an exponent has a point before it and a sign.
fn python_number(number: &serde_json::Number) -> String {
    let text = number.to_string();
    let Some((mantissa, exponent)) = text.split_once(['e', 'E']) else { return text };
    let point = if mantissa.contains('.') { "" } else { ".0" };
    let sign = if exponent.starts_with(['-', '+']) { "" } else { "+" };
    format!("{mantissa}{point}e{sign}{exponent}")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Style, dump, emit_nice};

    fn flow(value: &Value) -> String {
        dump(value, &Style { nice: false, indent: 2, ..Style::default() })
    }

    #[test]
    fn nice_is_block_style_with_sorted_keys() {
        let value = json!({"b": [1, {"k": "yes"}], "a": {"z": "012", "e": []}});
        assert_eq!(emit_nice(&value, 4), "a:\n    e: []\n    z: '012'\nb:\n- 1\n-   k: 'yes'\n");
        assert_eq!(emit_nice(&value, 2), "a:\n  e: []\n  z: '012'\nb:\n- 1\n- k: 'yes'\n");
        assert_eq!(emit_nice(&json!([[1, 2], [3]]), 4), "-   - 1\n    - 2\n-   - 3\n");
        assert_eq!(emit_nice(&json!({"a": {}, "b": [[]]}), 2), "a: {}\nb:\n- []\n");
    }

    #[test]
    fn plain_leaves_are_flow_style() {
        assert_eq!(flow(&json!({"a": [1, 2], "b": "x"})), "a: [1, 2]\nb: x\n");
        assert_eq!(flow(&json!({"b": 1, "a": true})), "{a: true, b: 1}\n");
        assert_eq!(flow(&json!("x")), "x\n");
    }

    /// What ansible-core 2.19 writes for the same values.
    #[test]
    fn long_lines_are_folded_as_pyyaml_does() {
        let long = ["word"; 30].join(" ");
        let quoted = format!("{}x", ": word it's ".repeat(12));
        let quoted = quoted.trim_end_matches('x').trim();
        let value = json!({
            "long": long, "q": quoted, "nl": "a\n\nb: c\nd", "sb": "a \nb", "bs": "a\n b \u{7} ü", "l": [long, {"k": long}],
        });
        let line = |count: usize| ["word"; 30][..count].join(" ");
        let expected = format!(
            "bs: \"a\\n b \\a ü\"\nl:\n- {}\n    {}\n-   k: {}\n        {}\nlong: {}\n    {}\nnl: 'a\n\n\n    b: c\n\n    d'\nq: '{}\n    {}'\nsb: \"a \\nb\"\n",
            line(16),
            line(14),
            line(15),
            line(15),
            line(16),
            line(14),
            [": word it''s"; 6].join(" "),
            [": word it''s"; 6].join(" "),
        );
        let found = emit_nice(&value, 4);
        assert_eq!(found, expected, "{found}");
        let narrow = dump(&json!({"long": long}), &Style { width: 40, indent: 2, ..Style::default() });
        assert_eq!(narrow, format!("long: {}\n  {}\n  {}\n  {}\n", line(8), line(8), line(8), line(6)));
        let numbers: Vec<u32> = (0..40).collect();
        let text = flow(&json!(numbers));
        assert!(text.starts_with("[0, 1, 2, 3,") && text.contains(" 21, 22,\n  23, 24,"), "{text}");
        let endless = dump(&json!({"long": long}), &Style { width: usize::MAX, ..Style::default() });
        assert_eq!(endless, format!("long: {long}\n"));
    }

    #[test]
    fn what_would_be_read_as_something_else_is_quoted() {
        for (text, written) in [
            ("2024-01-02", "'2024-01-02'\n"),
            (".inf", "'.inf'\n"),
            ("=", "'='\n"),
            ("<<", "'<<'\n"),
            ("", "''\n"),
            ("2001-12-14 21:59:43", "'2001-12-14 21:59:43'\n"),
            ("- a", "'- a'\n"),
            ("a: b", "'a: b'\n"),
            ("a:b", "a:b\n"),
            ("a #b", "'a #b'\n"),
            ("tab\there", "\"tab\\there\"\n"),
        ] {
            assert_eq!(emit_nice(&json!(text), 2), written);
        }
    }
}
