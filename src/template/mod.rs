//! Jinja templates with Ansible's meaning: lazy variables, native results, strict yet chainable undefined values, Ansible's
//! filters and tests. May import `yaml` and the vocabulary.

mod authored;
mod bounds;
mod calls;
mod chain;
mod checks;
mod condition;
mod depth;
mod emitted;
mod evaluate;
mod explain;
mod fill;
mod filters;
mod first_found;
mod lazy;
mod lookups;
mod names;
mod render;
mod tests_of_values;
mod values;
mod versions;

use std::{fmt, sync::Arc};

use minijinja::{Environment, ErrorKind, UndefinedBehavior, syntax::SyntaxConfig};
use serde_json::Value;

pub(crate) use self::filters::{expand, python_json};
pub(crate) use self::names::root as name_root;
pub use self::{
    authored::{Authored, Vars},
    filters::{FILTERS, JINJA_FILTERS},
    first_found::first_found,
    lookups::{LOOKUPS, LookupKind, Lookups},
    names::{Lookup, Names},
    render::Layout,
    tests_of_values::{JINJA_TESTS, TESTS},
    values::{is_template, is_true, text_of},
};
use self::{
    explain::{explain, explain_file, is_undefined},
    render::header,
};
use crate::error::Result;

/// A filter or a test of templates. Each is also known by its full name.
#[derive(Clone, Copy)]
pub struct Named {
    /// Its name.
    pub name: &'static str,
    /// What it gives, or when it holds.
    pub about: &'static str,
    add: fn(&mut Environment<'static>),
}

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

/// How white space around blocks is treated.
fn syntax(trim_blocks: bool, lstrip_blocks: bool) -> SyntaxConfig {
    SyntaxConfig::builder().trim_blocks(trim_blocks).lstrip_blocks(lstrip_blocks).build().expect("the usual delimiters")
}

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
