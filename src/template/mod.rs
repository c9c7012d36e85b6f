//! Jinja templates with Ansible's meaning: lazy variables, native results, strict yet chainable undefined values, Ansible's
//! filters and tests. May import `yaml` and the vocabulary.

mod chain;
mod filters;
mod first_found;
mod lazy;
mod lookups;
mod names;
mod tests_of_values;

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use minijinja::{Environment, ErrorKind, UndefinedBehavior, machinery, syntax::SyntaxConfig};
use serde_json::{Map, Value};

pub(crate) use self::filters::{checksum_of as checksum, expand, python_json};
pub(crate) use self::names::root as name_root;
pub use self::{first_found::first_found, lookups::Lookups, names::Names};
use crate::error::{Error, Result};

/// What an argument is set to that shall be left out: `default(omit)`.
pub const OMIT: &str = "__omit_place_holder__";
/// How many instructions one template may take: a run-away loop ends.
const FUEL: u64 = 50_000_000;
/// How deep variables may refer to variables.
const MAX_DEPTH: usize = 64;

/// The variables that a template sees.
pub trait Scope: Send + Sync {
    /// A variable, when there is one of this name.
    fn get(&self, name: &str) -> Option<Var>;

    /// The names of all variables, for `hostvars[host]` as a whole.
    fn names(&self) -> Vec<String> {
        Vec::new()
    }

    /// Where `lookup` and `include` look for files.
    fn lookups(&self) -> Lookups {
        Lookups::default()
    }
}

/// A variable.
#[derive(Clone, Debug)]
pub enum Var {
    /// As somebody wrote it: texts in it may be templates, which are resolved at each use.
    Template(Arc<Value>),
    /// As a host or a module told it: never a template, whatever it looks like.
    Data(Arc<Value>),
    /// A function, or a value that is computed when it is looked into.
    Native(minijinja::Value),
}

impl Var {
    /// A variable whose texts may be templates.
    #[must_use]
    pub fn template(value: Value) -> Self {
        Self::Template(Arc::new(value))
    }

    /// The variables of another scope as one value, resolved there when they are looked at.
    #[must_use]
    pub fn scope(engine: &Engine, scope: &Arc<dyn Scope>) -> Self {
        Self::Native(lazy::context(engine, scope, 0))
    }

    /// Values by key, computed when they are looked at.
    pub fn map(keys: Vec<String>, get: impl Fn(&str) -> Option<Self> + Send + Sync + 'static) -> Self {
        Self::Native(minijinja::Value::from_object(lazy::Computed { keys, get: Box::new(get) }))
    }

    /// A function of one text.
    pub fn function(call: impl Fn(&str) -> Result<String> + Send + Sync + 'static) -> Self {
        Self::Native(minijinja::Value::from_function(move |argument: &str| {
            call(argument).map_err(|error| minijinja::Error::new(ErrorKind::InvalidOperation, error.to_string()))
        }))
    }

    /// A variable that is data.
    #[must_use]
    pub fn data(value: Value) -> Self {
        Self::Data(Arc::new(value))
    }
}

/// The template engine. Clones share it.
#[derive(Clone)]
pub struct Engine {
    jinja: Arc<Environment<'static>>,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Engine")
    }
}

impl Default for Engine {
    fn default() -> Self {
        let mut jinja = Environment::new();
        jinja.set_undefined_behavior(UndefinedBehavior::Strict);
        jinja.set_syntax(syntax(true, false));
        jinja.set_fuel(Some(FUEL));
        jinja.set_debug(true);
        jinja.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        jinja.set_unknown_method_callback(lazy::unknown_method);
        jinja.set_formatter(|out, state, value| {
            // Ansible prints nothing for `None` on its own.
            if value.is_none() { Ok(()) } else { minijinja::escape_formatter(out, state, value) }
        });
        filters::register(&mut jinja);
        tests_of_values::register(&mut jinja);
        Self { jinja: Arc::new(jinja) }
    }
}

impl Engine {
    /// Resolves every template in a value, keeping native types; omitted arguments are gone.
    ///
    /// # Errors
    /// When a template is wrong, or uses a variable that is not defined.
    pub fn resolve(&self, value: &Value, scope: &Arc<dyn Scope>) -> Result<Value> {
        Ok(match value {
            Value::String(text) => self.resolve_text(text, scope)?,
            Value::Array(items) => {
                let mut resolved = Vec::with_capacity(items.len());
                for item in items {
                    let item = self.resolve(item, scope)?;
                    if item != Value::String(OMIT.to_owned()) {
                        resolved.push(item);
                    }
                }
                Value::Array(resolved)
            }
            Value::Object(map) => {
                let mut resolved = Map::with_capacity(map.len());
                for (key, item) in map {
                    let item = self.resolve(item, scope)?;
                    if item != Value::String(OMIT.to_owned()) {
                        let key = if is_template(key) { text_of(&self.resolve_text(key, scope)?) } else { key.clone() };
                        resolved.insert(key, item);
                    }
                }
                Value::Object(resolved)
            }
            other => other.clone(),
        })
    }

    /// Resolves a text: a single expression keeps its type, anything else becomes a text.
    ///
    /// # Errors
    /// As [`Self::resolve`].
    pub fn resolve_text(&self, text: &str, scope: &Arc<dyn Scope>) -> Result<Value> {
        if !is_template(text) {
            return Ok(Value::String(text.to_owned()));
        }
        let value = self.native(text, scope, 0).map_err(|error| explain(&error, text))?;
        lazy::to_json(&value).map_err(|error| explain(&error, text))
    }

    /// Resolves a text to a text.
    ///
    /// # Errors
    /// As [`Self::resolve`].
    pub fn text(&self, text: &str, scope: &Arc<dyn Scope>) -> Result<String> {
        Ok(text_of(&self.resolve_text(text, scope)?))
    }

    /// The value of a bare expression, as in `until` or `that`.
    ///
    /// # Errors
    /// As [`Self::resolve`].
    pub fn evaluate(&self, expression: &str, scope: &Arc<dyn Scope>) -> Result<Value> {
        let value = self.expression(expression, scope, 0).map_err(|error| explain(&error, expression))?;
        lazy::to_json(&value).map_err(|error| explain(&error, expression))
    }

    /// Whether a condition holds: a boolean, an expression, or a list of them that must all hold.
    ///
    /// # Errors
    /// As [`Self::resolve`].
    pub fn condition(&self, condition: &Value, scope: &Arc<dyn Scope>) -> Result<bool> {
        match condition {
            Value::Bool(flag) => Ok(*flag),
            Value::Null => Ok(true),
            Value::Array(all) => {
                for one in all {
                    if !self.condition(one, scope)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Value::String(text) => {
                // A condition may be a template that gives an expression, and a variable may hold one.
                let value =
                    if is_template(text) { self.resolve_text(text, scope)? } else { self.evaluate(text, scope)? };
                Ok(match &value {
                    Value::String(inner) if inner != text && looks_like_condition(inner) => {
                        self.condition(&value, scope)?
                    }
                    other => is_true(other),
                })
            }
            other => Ok(is_true(other)),
        }
    }

    /// Renders a template file.
    ///
    /// # Errors
    /// When the template is wrong, or uses a variable that is not defined; the message names file and line.
    pub fn render_file(&self, path: &Path, source: &str, scope: &Arc<dyn Scope>) -> Result<String> {
        self.render_file_in(path, source, Layout::default(), scope)
    }

    /// Renders a template file that is read in a layout, as far as the file itself does not name another one.
    ///
    /// # Errors
    /// As [`Self::render_file`].
    pub fn render_file_in(&self, path: &Path, source: &str, layout: Layout, scope: &Arc<dyn Scope>) -> Result<String> {
        let name = path.display().to_string();
        let (options, body) = header(source, layout).map_err(|error| error.context(format!("in `{name}`")))?;
        let text = chain::rewrite_template(body).map_err(|error| explain_file(&error, &name, options.lines))?;
        let mut jinja = (*self.jinja).clone();
        jinja.set_syntax(syntax(options.layout.trim_blocks, options.layout.lstrip_blocks));
        let lookups = scope.lookups();
        jinja.set_path_join_callback(|name, _| name.into());
        jinja.set_loader(move |name| {
            Ok(lookups.read_template(name).and_then(|text| chain::rewrite_template(&text).ok()))
        });
        let context = lazy::context(self, scope, 0);
        let rendered = jinja.template_from_named_str(&name, &text).and_then(|template| template.render(context));
        rendered.map_err(|error| explain_file(&error, &name, options.lines))
    }

    /// Checks that a text compiles as a template.
    ///
    /// # Errors
    /// When it does not.
    pub fn check(&self, text: &str) -> Result<()> {
        if !is_template(text) {
            return Ok(());
        }
        let checked = self.jinja.template_from_str(text).map(drop);
        checked.map_err(|error| explain(&error, text))
    }

    /// Checks that a text compiles as an expression.
    ///
    /// # Errors
    /// When it does not.
    pub fn check_expression(&self, text: &str) -> Result<()> {
        self.jinja.compile_expression(text).map(drop).map_err(|error| explain(&error, text))
    }

    fn native(&self, text: &str, scope: &Arc<dyn Scope>, depth: usize) -> Result<minijinja::Value, minijinja::Error> {
        if depth > MAX_DEPTH {
            let message = format!("variables refer to each other in a circle: `{text}`");
            return Err(minijinja::Error::new(ErrorKind::InvalidOperation, message));
        }
        let text = literal_backslashes(text);
        if let Some(expression) = single_expression(&text) {
            return self.expression(expression, scope, depth);
        }
        let text = chain::rewrite_template(&text)?;
        let rendered = self.jinja.template_from_str(&text)?.render(lazy::context(self, scope, depth))?;
        Ok(minijinja::Value::from(rendered))
    }

    fn expression(
        &self, text: &str, scope: &Arc<dyn Scope>, depth: usize,
    ) -> Result<minijinja::Value, minijinja::Error> {
        let text = chain::rewrite_expression(text)?;
        self.jinja.compile_expression(&text)?.eval(lazy::context(self, scope, depth))
    }
}

/// How white space around blocks is treated; the last line break of a file is always kept.
fn syntax(trim_blocks: bool, lstrip_blocks: bool) -> SyntaxConfig {
    SyntaxConfig::builder()
        .trim_blocks(trim_blocks)
        .lstrip_blocks(lstrip_blocks)
        .keep_trailing_newline(true)
        .build()
        .expect("the usual delimiters")
}

/// Whether a text holds a template at all.
#[must_use]
pub fn is_template(text: &str) -> bool {
    text.contains("{{") || text.contains("{%") || text.contains("{#")
}

/// In the texts of playbooks a backslash within `{{ }}` is itself, as Ansible has it; in bare expressions and in template
/// files Jinja's own escapes count.
fn literal_backslashes(text: &str) -> std::borrow::Cow<'_, str> {
    if !text.contains('\\') {
        return text.into();
    }
    let mut out = String::with_capacity(text.len() + 8);
    let (mut inside, mut quote, mut before) = (false, None, ' ');
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let next = chars.peek().copied();
        match (inside, quote, c) {
            (false, _, '{') if before == '{' => inside = true,
            (true, None, '}') if before == '}' => inside = false,
            (true, None, '\'' | '"') => quote = Some(c),
            (true, Some(open), _) if c == open => quote = None,
            (true, Some(open), '\\') => {
                out.push('\\');
                if next == Some(open) {
                    out.extend(chars.next());
                    before = ' ';
                    continue;
                }
            }
            _ => {}
        }
        out.push(c);
        before = c;
    }
    out.into()
}

/// The expression of a text that is `{{ expression }}` and nothing else.
fn single_expression(text: &str) -> Option<&str> {
    let inner = text.strip_prefix("{{")?.strip_suffix("}}")?;
    if !inner.contains("}}") {
        return Some(inner.trim_matches('-'));
    }
    // `{{ a }} {{ b }}` also begins and ends so; `{{ '}}' }}` is one expression all the same.
    let parsed = machinery::parse(text, "", SyntaxConfig::default()).ok()?;
    match parsed {
        machinery::ast::Stmt::Template(template) => match template.children.as_slice() {
            [machinery::ast::Stmt::EmitExpr(_)] => Some(inner),
            _ => None,
        },
        _ => None,
    }
}

/// Python's text of a value, as templates print it.
#[must_use]
pub fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => lazy::from_json(other).to_string(),
    }
}

/// What Ansible takes for true: booleans, and texts and numbers that mean one.
#[must_use]
pub fn is_true(value: &Value) -> bool {
    match value {
        Value::Bool(flag) => *flag,
        Value::Null => false,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => {
            !matches!(text.to_ascii_lowercase().as_str(), "" | "no" | "false" | "off" | "0" | "n" | "f")
        }
        Value::Array(items) => !items.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}

/// A variable of `when: my_condition` may hold an expression itself.
fn looks_like_condition(text: &str) -> bool {
    [" == ", " != ", " is ", " in ", " and ", " or ", "not ", " > ", " < "].iter().any(|word| text.contains(word))
}

/// How white space around the blocks of a template file is treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Whether the line break after a block goes.
    pub trim_blocks: bool,
    /// Whether the white space before a block goes.
    pub lstrip_blocks: bool,
}

impl Default for Layout {
    fn default() -> Self {
        Self { trim_blocks: true, lstrip_blocks: false }
    }
}

impl Layout {
    /// The layout that arguments name.
    #[must_use]
    pub fn of(trim_blocks: Option<&str>, lstrip_blocks: Option<&str>) -> Self {
        let usual = Self::default();
        let flag = |text: Option<&str>, usual| text.map_or(usual, |text| is_true(&Value::String(text.to_owned())));
        Self {
            trim_blocks: flag(trim_blocks, usual.trim_blocks),
            lstrip_blocks: flag(lstrip_blocks, usual.lstrip_blocks),
        }
    }
}

/// The options of a template file's `#jinja2:` line, and how many lines that line takes.
struct Header {
    layout: Layout,
    lines: usize,
}

fn header(source: &str, layout: Layout) -> Result<(Header, &str)> {
    let Some(rest) = source.strip_prefix("#jinja2:") else { return Ok((Header { layout, lines: 0 }, source)) };
    let (line, body) = rest.split_once('\n').unwrap_or((rest, ""));
    let mut options = Header { layout, lines: 1 };
    for pair in line.split(',').filter(|pair| !pair.trim().is_empty()) {
        let (name, value) = pair.split_once(':').unwrap_or((pair, ""));
        let on = value.trim().eq_ignore_ascii_case("true");
        match name.trim() {
            "trim_blocks" => options.layout.trim_blocks = on,
            "lstrip_blocks" => options.layout.lstrip_blocks = on,
            // The last line break of a file is kept in any case.
            "keep_trailing_newline" if on => {}
            other => return Err(Error::usage(format!("`#jinja2:` has `{other}`, which is not supported"))),
        }
    }
    Ok((options, body))
}

/// Whether an error is about a variable that is not defined.
fn is_undefined(error: &minijinja::Error) -> bool {
    error.kind() == ErrorKind::UndefinedError
}

fn message(error: &minijinja::Error) -> String {
    let mut text = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        text = inner.downcast_ref::<minijinja::Error>().map_or_else(|| inner.to_string(), message);
        source = None;
    }
    text
}

fn explain(error: &minijinja::Error, text: &str) -> Error {
    Error::new(format!("{} in `{}`", message(error), text.trim()))
}

fn explain_file(error: &minijinja::Error, name: &str, lines: usize) -> Error {
    let line = error.line().unwrap_or(1) + lines;
    let file = error.name().unwrap_or(name);
    Error::new(format!("{file}:{line}: {}", message(error)))
}

/// Where relative files of a scope are looked for, in order.
pub type SearchPath = Vec<PathBuf>;

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, sync::Arc};

    use serde_json::{Value, json};

    use super::{Engine, Scope, Var};

    struct Vars(HashMap<&'static str, Var>);

    impl Scope for Vars {
        fn get(&self, name: &str) -> Option<Var> {
            self.0.get(name).cloned()
        }
    }

    fn scope(values: &[(&'static str, Value)]) -> Arc<dyn Scope> {
        Arc::new(Vars(values.iter().map(|(name, value)| (*name, Var::template(value.clone()))).collect()))
    }

    fn check(values: &[(&'static str, Value)], cases: &[(&str, Value)]) {
        let (engine, scope) = (Engine::default(), scope(values));
        for (text, expected) in cases {
            match engine.resolve_text(text, &scope) {
                Ok(value) => assert_eq!(value, *expected, "{text}"),
                Err(error) => panic!("{text}: {error}"),
            }
        }
    }

    #[test]
    fn a_single_expression_keeps_its_type() {
        let values = [("l", json!([1, 2])), ("n", json!(5)), ("s", json!("01"))];
        check(
            &values,
            &[
                ("{{ l }}", json!([1, 2])),
                ("{{ n }}", json!(5)),
                ("{{ s }}", json!("01")),
                ("{{ n }}{{ n }}", json!("55")),
                (" {{ n }}", json!(" 5")),
                ("{{ '[1, 2]' }}", json!("[1, 2]")),
                ("{{ '}}' }}", json!("}}")),
                ("a {{ l }} {{ none }} {{ true }}", json!("a [1, 2]  True")),
                ("{{ 7 / 2 }}", json!(3.5)),
                ("{{ [none, 'x', 1.0] }}!", json!("[None, 'x', 1.0]!")),
                ("{{ 'a\\tb' | length }}", json!(4)),
                ("{{ 'a.b' | regex_replace('(a)\\.(b)', '\\2\\1') }} \\t", json!("ba \\t")),
            ],
        );
    }

    #[test]
    fn variables_are_lazy_and_look_through() {
        let values = [
            ("a", json!("{{ b }}")),
            ("b", json!("{{ c.d }}")),
            ("c", json!({"d": "{{ e }}", "f": ["{{ e }}", 2]})),
            ("e", json!(7)),
            ("broken", json!("{{ nowhere }}")),
        ];
        check(
            &values,
            &[
                ("{{ a }}", json!(7)),
                ("{{ c }}", json!({"d": 7, "f": [7, 2]})),
                ("{{ c.f[0] + 1 }}", json!(8)),
                ("{{ broken | default('x') }}", json!("x")),
                ("{{ broken is defined }}", json!(false)),
                ("{{ c.items() | list | length }}", json!(2)),
                ("{% for k, v in c.items() %}{{ k }}={{ v }};{% endfor %}", json!("d=7;f=[7, 2];")),
            ],
        );
    }

    #[test]
    fn undefined_is_chainable_but_strict() {
        let values = [("a", json!({"b": 1}))];
        check(
            &values,
            &[
                ("{{ a.x.y.z | default('d') }}", json!("d")),
                ("{{ nope.x['y'].z | default('d') }}", json!("d")),
                ("{{ (nope.x | default({})).y | default(3) }}", json!(3)),
                ("{{ a.x.y is defined }}", json!(false)),
                ("{{ a.b is defined and nope.c is not defined }}", json!(true)),
            ],
        );
        let (engine, scope) = (Engine::default(), scope(&values));
        for text in ["{{ nope }}", "{{ a.x }}", "{{ a.x.y }}", "{{ 'x' if nope else 'y' }}"] {
            let error = engine.resolve_text(text, &scope).unwrap_err().to_string();
            assert!(error.contains("undefined"), "{text}: {error}");
        }
        assert!(engine.condition(&json!("typo_var"), &scope).is_err());
        assert!(engine.condition(&json!(["a.b == 1", "nope is not defined"]), &scope).unwrap());
    }

    #[test]
    fn circles_end() {
        let values = [("a", json!("{{ b }}")), ("b", json!("{{ a }}"))];
        let error = Engine::default().resolve_text("{{ a }}", &scope(&values)).unwrap_err().to_string();
        assert!(error.contains("circle"), "{error}");
    }

    #[test]
    fn files_trim_blocks_and_name_the_line() {
        let engine = Engine::default();
        let scope = scope(&[("x", json!([1, 2]))]);
        let path = std::path::Path::new("a.j2");
        let text = "{% for n in x %}\n  n={{ n }}\n{% endfor %}\nend\n";
        assert_eq!(engine.render_file(path, text, &scope).unwrap(), "  n=1\n  n=2\nend\n");
        let stripped = "#jinja2: trim_blocks: True, lstrip_blocks: True\n  {% if true %}\nyes\n  {% endif %}\n";
        assert_eq!(engine.render_file(path, stripped, &scope).unwrap(), "yes\n");
        let error = engine.render_file(path, "a\nb {{ nope.x }}\n", &scope).unwrap_err().to_string();
        assert!(error.starts_with("a.j2:2: "), "{error}");
    }
}
