//! Jinja templates with Ansible's meaning: lazy variables, native results, strict yet chainable undefined values, Ansible's
//! filters and tests. May import `yaml` and the vocabulary.

mod authored;
mod bounds;
mod calls;
mod chain;
mod condition;
mod depth;
mod emitted;
mod fill;
mod filters;
mod first_found;
mod lazy;
mod lookups;
mod names;
mod tests_of_values;
mod versions;

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use minijinja::{Environment, ErrorKind, UndefinedBehavior, machinery, syntax::SyntaxConfig};
use serde_json::{Map, Value};

use self::depth::Level;
pub(crate) use self::filters::{expand, python_json};
pub(crate) use self::names::root as name_root;
pub use self::{
    authored::{Authored, Vars},
    first_found::first_found,
    lookups::Lookups,
    names::{Lookup, Names},
};
use crate::error::{Error, Result};

/// How many instructions one template may take: a run-away loop ends.
const FUEL: u64 = 10_000_000;

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
    /// As the author wrote it: texts in it may be templates, which are resolved at each use.
    Template(Arc<Authored>),
    /// As a host or a module answered: never a template, whatever it looks like.
    Data(Arc<Value>),
    /// A function, or a value that is computed when it is looked into.
    Native(minijinja::Value),
}

impl Var {
    /// A variable whose texts may be templates.
    #[must_use]
    pub fn template(value: Authored) -> Self {
        Self::Template(Arc::new(value))
    }

    /// The variables of another scope as one value, resolved there when they are looked at.
    #[must_use]
    pub fn scope(engine: &Engine, scope: &Arc<dyn Scope>) -> Self {
        Self::Native(lazy::context(engine, scope))
    }

    /// Values by key, computed when they are looked at.
    pub fn map(keys: Vec<String>, get: impl Fn(&str) -> Option<Self> + Send + Sync + 'static) -> Self {
        Self::Native(minijinja::Value::from_object(lazy::Computed {
            keys,
            get: Box::new(get),
            depth: depth::current(),
        }))
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
            emitted::note(value)?;
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
    pub fn resolve(&self, value: &Authored, scope: &Arc<dyn Scope>) -> Result<Value> {
        Ok(self.value(value, scope)?.unwrap_or_default())
    }

    /// Resolves every template in a mapping, its keys too.
    ///
    /// # Errors
    /// As [`Self::resolve`].
    pub fn resolve_map(
        &self, map: &Authored<Map<String, Value>>, scope: &Arc<dyn Scope>,
    ) -> Result<Map<String, Value>> {
        self.map(map, scope)
    }

    /// Resolves a text: a single expression keeps its type, anything else becomes a text.
    ///
    /// # Errors
    /// As [`Self::resolve`].
    pub fn resolve_text(&self, text: &Authored<String>, scope: &Arc<dyn Scope>) -> Result<Value> {
        Ok(self.rendered(text, scope)?.unwrap_or_default())
    }

    /// Resolves a text to a text.
    ///
    /// # Errors
    /// As [`Self::resolve`].
    pub fn text(&self, text: &Authored<String>, scope: &Arc<dyn Scope>) -> Result<String> {
        Ok(text_of(&self.resolve_text(text, scope)?))
    }

    /// The value of a bare expression, as in `until` or `that`.
    ///
    /// # Errors
    /// As [`Self::resolve`].
    pub fn evaluate(&self, expression: &Authored<String>, scope: &Arc<dyn Scope>) -> Result<Value> {
        self.evaluated(expression, scope)
    }

    /// The value of a variable; `None` when there is none.
    ///
    /// # Errors
    /// As [`Self::resolve`].
    pub fn variable(&self, name: &str, scope: &Arc<dyn Scope>) -> Result<Option<Value>> {
        match scope.get(name) {
            None => Ok(None),
            Some(Var::Data(value)) => Ok(Some((*value).clone())),
            Some(Var::Template(value)) => self.resolve(&value, scope).map(Some),
            Some(Var::Native(value)) => lazy::to_json(&value).map(Some).map_err(|error| explain(&error, name)),
        }
    }

    /// A value resolved; `None` when it is omitted.
    fn value(&self, value: &Value, scope: &Arc<dyn Scope>) -> Result<Option<Value>> {
        Ok(Some(match value {
            Value::String(text) => return self.rendered(text, scope),
            Value::Array(items) => {
                let mut resolved = Vec::with_capacity(items.len());
                for item in items {
                    resolved.extend(self.value(item, scope)?);
                }
                Value::Array(resolved)
            }
            Value::Object(map) => Value::Object(self.map(map, scope)?),
            other => other.clone(),
        }))
    }

    fn map(&self, map: &Map<String, Value>, scope: &Arc<dyn Scope>) -> Result<Map<String, Value>> {
        let mut resolved = Map::with_capacity(map.len());
        for (key, item) in map {
            let Some(item) = self.value(item, scope)? else { continue };
            let key =
                if is_template(key) { text_of(&self.rendered(key, scope)?.unwrap_or_default()) } else { key.clone() };
            resolved.insert(key, item);
        }
        Ok(resolved)
    }

    fn rendered(&self, text: &str, scope: &Arc<dyn Scope>) -> Result<Option<Value>> {
        if !is_template(text) {
            return Ok(Some(Value::String(text.to_owned())));
        }
        let value = self.native(text, scope).and_then(|value| lazy::finalized(&value));
        value.map_err(|error| explain(&error, text))
    }

    fn evaluated(&self, expression: &str, scope: &Arc<dyn Scope>) -> Result<Value> {
        let value = self.expression(expression, scope).and_then(|value| lazy::to_json(&value));
        value.map_err(|error| explain(&error, expression))
    }

    /// Whether a condition holds: a boolean, an expression, or a list of them that must all hold.
    ///
    /// # Errors
    /// As [`Self::resolve`].
    pub fn condition(&self, condition: &Authored, scope: &Arc<dyn Scope>) -> Result<bool> {
        self.holds(condition, scope)
    }

    fn holds(&self, condition: &Value, scope: &Arc<dyn Scope>) -> Result<bool> {
        match condition {
            Value::Bool(flag) => Ok(*flag),
            Value::Null => Ok(true),
            Value::Array(all) => {
                for one in all {
                    if !self.holds(one, scope)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Value::String(text) => {
                let text = text.trim();
                let whole = single_expression(text);
                // A variable may hold the condition, when the author wrote that variable; what a host says is only true
                // or false.
                let _level = Level::enter(text).map_err(|error| explain(&error, text))?;
                if let Some(inner) = condition::authored_text(whole.unwrap_or(text), scope)
                    && (is_template(&inner) || condition::is_expression(&inner))
                {
                    return self.holds(&Value::String(inner.into_inner()), scope);
                }
                if whole.is_some() {
                    return Ok(is_true(&self.rendered(text, scope)?.unwrap_or_default()));
                }
                if text.contains("{%") {
                    return condition::truth(&self.rendered(text, scope)?.unwrap_or_default(), text);
                }
                let expression = condition::without_braces(text)?;
                Ok(is_true(&self.evaluated(&expression, scope)?))
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
        let explain = |error: minijinja::Error| explain_file(&error, &name, options.lines);
        let _level = Level::enter(&name).map_err(explain)?;
        bounds::check(body, false).map_err(explain)?;
        let text = chain::rewrite_template(body).map_err(explain)?;
        let mut jinja = (*self.jinja).clone();
        jinja.set_syntax(syntax(options.layout.trim_blocks, options.layout.lstrip_blocks));
        let mut lookups = scope.lookups();
        // What a template includes may lie beside it.
        lookups.templates.extend(path.parent().map(Path::to_owned));
        jinja.set_path_join_callback(|name, _| name.into());
        jinja.set_loader(move |name| {
            let Some(text) = lookups.read_template(name) else { return Ok(None) };
            bounds::check(&text, false)?;
            chain::rewrite_template(&text).map(Some)
        });
        let context = lazy::context(self, scope);
        let template = jinja.template_from_named_str(&name, &text).map_err(explain)?;
        let rendered = emitted::text(|| template.render(context)).map_err(explain)?;
        Ok(with_last_newlines(rendered, body))
    }

    /// Checks that a text compiles as a template.
    ///
    /// # Errors
    /// When it does not.
    pub fn check(&self, text: &str) -> Result<()> {
        if !is_template(text) {
            return Ok(());
        }
        let checked = bounds::check(text, false).and_then(|()| self.jinja.template_from_str(text).map(drop));
        checked.map_err(|error| explain(&error, text))
    }

    /// Checks that a text compiles as a condition: an expression, or a template that gives true or false.
    ///
    /// # Errors
    /// When it does not.
    pub fn check_condition(&self, text: &str) -> Result<()> {
        let text = text.trim();
        if is_template(text) && !condition::is_whole(text) {
            return self.check_expression(&condition::without_braces(text)?);
        }
        if is_template(text) { self.check(text) } else { self.check_expression(text) }
    }

    /// Checks that a text compiles as an expression.
    ///
    /// # Errors
    /// When it does not.
    pub fn check_expression(&self, text: &str) -> Result<()> {
        let checked = bounds::check(text, true).and_then(|()| self.jinja.compile_expression(text).map(drop));
        checked.map_err(|error| explain(&error, text))
    }

    /// The value of a text with templates. A single expression keeps its type, also one in a block; a text ends with the
    /// line breaks that it is written with.
    fn native(&self, text: &str, scope: &Arc<dyn Scope>) -> Result<minijinja::Value, minijinja::Error> {
        let _level = Level::enter(text)?;
        bounds::check(text, false)?;
        let text = literal_backslashes(text);
        let value = match single_expression(text.strip_suffix('\n').unwrap_or(&text)) {
            Some(expression) => self.computed(expression, scope)?,
            None => {
                let source = chain::rewrite_template(&text)?;
                let template = self.jinja.template_from_str(&source)?;
                emitted::native(|| template.render(lazy::context(self, scope)))?
            }
        };
        Ok(match value.as_str() {
            Some(result) if text.ends_with('\n') => with_last_newlines(result.to_owned(), &text).into(),
            _ => value,
        })
    }

    fn expression(&self, text: &str, scope: &Arc<dyn Scope>) -> Result<minijinja::Value, minijinja::Error> {
        let _level = Level::enter(text)?;
        bounds::check(text, true)?;
        self.computed(text, scope)
    }

    fn computed(&self, text: &str, scope: &Arc<dyn Scope>) -> Result<minijinja::Value, minijinja::Error> {
        let text = chain::rewrite_expression(text)?;
        self.jinja.compile_expression(&text)?.eval(lazy::context(self, scope))
    }
}

/// Jinja takes one line break from the end of a template; Ansible adds those that the result lacks then.
fn with_last_newlines(mut result: String, source: &str) -> String {
    let count = |text: &str| text.len() - text.trim_end_matches('\n').len();
    let missing = count(source).saturating_sub(count(&result));
    result.extend(std::iter::repeat_n('\n', missing));
    result
}

/// How white space around blocks is treated.
fn syntax(trim_blocks: bool, lstrip_blocks: bool) -> SyntaxConfig {
    SyntaxConfig::builder().trim_blocks(trim_blocks).lstrip_blocks(lstrip_blocks).build().expect("the usual delimiters")
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
    if bounds::check(text, false).is_err() {
        return None;
    }
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

    use super::{Authored, Engine, Scope, Var};

    fn written(text: &str) -> Authored<String> {
        Authored::written(text.to_owned())
    }

    struct Vars(HashMap<&'static str, Var>);

    impl Scope for Vars {
        fn get(&self, name: &str) -> Option<Var> {
            self.0.get(name).cloned()
        }
    }

    fn scope(values: &[(&'static str, Value)]) -> Arc<dyn Scope> {
        Arc::new(Vars(
            values.iter().map(|(name, value)| (*name, Var::template(Authored::written(value.clone())))).collect(),
        ))
    }

    fn check(values: &[(&'static str, Value)], cases: &[(&str, Value)]) {
        let (engine, scope) = (Engine::default(), scope(values));
        for (text, expected) in cases {
            match engine.resolve_text(&written(text), &scope) {
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
            let error = engine.resolve_text(&written(text), &scope).unwrap_err().to_string();
            assert!(error.contains("undefined"), "{text}: {error}");
        }
        assert!(engine.condition(&Authored::written(json!("typo_var")), &scope).is_err());
        assert!(engine.condition(&Authored::written(json!(["a.b == 1", "nope is not defined"])), &scope).unwrap());
    }

    #[test]
    fn circles_end() {
        let values = [("a", json!("{{ b }}")), ("b", json!("{{ a }}"))];
        let error = Engine::default().resolve_text(&written("{{ a }}"), &scope(&values)).unwrap_err().to_string();
        assert!(error.contains("refers to itself"), "{error}");
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

    #[test]
    fn only_what_the_author_wrote_is_evaluated_again() {
        let engine = Engine::default();
        let mut vars = HashMap::new();
        for (name, value) in [
            ("one", json!(1)),
            ("wanted", json!("one == 1")),
            ("unwanted", json!("one == 2")),
            ("nested", json!({"wanted": "{{ one == 1 }}", "by_name": "{{ wanted }}"})),
            ("looks", json!("{{ said }}")),
        ] {
            vars.insert(name, Var::template(Authored::written(value)));
        }
        vars.insert("said", Var::data(json!("one == 2")));
        vars.insert("told", Var::data(json!({"stdout": "{{ nope }}", "flag": "no"})));
        let scope: Arc<dyn Scope> = Arc::new(Vars(vars));
        for (condition, expected) in [
            ("wanted", true),
            ("unwanted", false),
            ("{{ unwanted }}", false),
            ("nested.wanted", true),
            ("nested['by_name']", true),
            ("'{{ one }}' == 1", true),
            // What a host says is true or false, and never an expression.
            ("said", true),
            ("{{ said }}", true),
            ("looks", true),
            ("told.stdout", true),
            ("told.flag", false),
            ("told['stdout'] == '{' ~ '{ nope }}'", true),
        ] {
            let holds = engine.condition(&Authored::written(json!(condition)), &scope);
            assert_eq!(holds.unwrap_or_else(|error| panic!("{condition}: {error}")), expected, "{condition}");
        }
        assert!(engine.condition(&Authored::written(json!("{{ one }} == 1")), &scope).is_err());
        assert!(engine.check_condition("{{ one }} == 1").is_err());
        assert!(engine.check_condition("'{{ one }}' == 1").is_ok());
    }

    #[test]
    fn a_template_that_prints_one_value_gives_it() {
        let values = [
            ("l", json!([1, 2])),
            ("b", json!(true)),
            ("s", json!("x")),
            ("block", json!("{{ l }}\n")),
            ("line", json!("x {{ s }}\n")),
        ];
        check(
            &values,
            &[
                ("{% if b %}{{ l }}{% endif %}", json!([1, 2])),
                ("{% if b %}{{ none }}{% endif %}", json!(null)),
                ("{% if b %}{{ l }} {% endif %}", json!("[1, 2] ")),
                ("{{ l }}{{ '' }}", json!("[1, 2]")),
                ("{{ block }}", json!([1, 2])),
                ("{{ line }}", json!("x x\n")),
                ("{{ s }}\n", json!("x\n")),
                ("x{{ omit }}", json!("x")),
                ("{{ omit }}", json!(null)),
            ],
        );
        let engine = Engine::default();
        let omitted = json!({"a": "{{ omit }}", "b": ["{{ omit }}", "{{ s | default(omit) }}"]});
        let resolved = engine.resolve(&Authored::written(omitted), &scope(&values)).unwrap();
        assert_eq!(resolved, json!({"b": ["x"]}));
    }

    #[test]
    fn files_end_as_ansible_ends_them() {
        let engine = Engine::default();
        let scope = scope(&[("empty", json!("")), ("line", json!("x\n"))]);
        let path = std::path::Path::new("a.j2");
        for (text, expected) in [
            ("a\n", "a\n"),
            ("a", "a"),
            ("a\n\n", "a\n\n"),
            ("a\n{{ line }}\n", "a\nx\n"),
            ("a\n{{ empty }}\n", "a\n"),
            ("{% if true %}\na\n{% endif %}\n", "a\n"),
        ] {
            assert_eq!(engine.render_file(path, text, &scope).unwrap(), expected, "{text:?}");
        }
    }

    /// Every way in which something may refer to itself ends with an error, on a thread with the stack that tokio gives.
    #[test]
    fn what_refers_to_itself_ends() {
        struct Myself(std::path::PathBuf);
        impl Scope for Myself {
            fn get(&self, name: &str) -> Option<Var> {
                let own = || Arc::new(Self(self.0.clone())) as Arc<dyn Scope>;
                match name {
                    "vars" => Some(Var::scope(&Engine::default(), &own())),
                    "hostvars" => {
                        let scope = own();
                        Some(Var::map(vec!["h".to_owned()], move |_| Some(Var::scope(&Engine::default(), &scope))))
                    }
                    name => Some(Var::template(Authored::written(json!(match name {
                        "through_vars" => "{{ vars['through_vars'] }}",
                        "through_hostvars" => "{{ hostvars['h'].through_hostvars }}",
                        "through_lookup" => "{{ lookup('vars', 'through_lookup') }}",
                        "through_template" => "{{ lookup('template', 'self.j2') }}",
                        "in_a_list" => "{{ [in_a_list] | map('string') | list }}",
                        "condition" => "condition and true",
                        "braces" => "{{ braces }}",
                        "twice" => "{{ twice }}{{ twice }}",
                        "multiplied" => "{{ m1 }}{{ m1 }}",
                        "m30" => "x",
                        name => {
                            let n: usize = name.strip_prefix('m')?.parse().ok()?;
                            let text = format!("{{{{ m{0} }}}}{{{{ m{0} }}}}", n + 1);
                            return Some(Var::template(Authored::written(json!(text))));
                        }
                    })))),
                }
            }
            fn lookups(&self) -> super::Lookups {
                super::Lookups { files: Vec::new(), templates: vec![self.0.clone()] }
            }
        }
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("self.j2"), "{{ lookup('template', 'self.j2') }}").unwrap();
        std::fs::write(folder.path().join("inc.j2"), "{% include 'inc.j2' %}").unwrap();
        let at = folder.path().to_owned();
        let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(move || {
            let engine = Engine::default();
            let scope: Arc<dyn Scope> = Arc::new(Myself(at.clone()));
            for name in [
                "through_vars",
                "through_hostvars",
                "through_lookup",
                "through_template",
                "in_a_list",
                "braces",
                "twice",
            ] {
                let error =
                    engine.resolve_text(&written(&format!("{{{{ {name} }}}}")), &scope).unwrap_err().to_string();
                assert!(error.contains("refers to itself"), "{name}: {error}");
                assert!(engine.condition(&Authored::written(json!(name)), &scope).is_err(), "{name}");
            }
            assert!(engine.condition(&Authored::written(json!("condition")), &scope).is_ok());
            let error = engine.resolve_text(&written("{{ multiplied }}"), &scope).unwrap_err().to_string();
            assert!(error.contains("multiply"), "{error}");
            let path = at.join("inc.j2");
            assert!(engine.render_file(&path, "{% include 'inc.j2' %}", &scope).is_err());
            let forever = "{% macro m(n) %}{{ m(n + 1) }}{% endmacro %}{{ m(1) }}";
            assert!(engine.render_file(&path, forever, &scope).is_err());
        });
        thread.unwrap().join().expect("no overflow");
    }
}
