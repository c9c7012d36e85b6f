//! `lookup('name', ...)` and `query('name', ...)`: values from outside the variables.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use minijinja::{
    Error, ErrorKind, Value,
    value::{Kwargs, Rest, ValueKind},
};

use super::{
    Scope, Var,
    lazy::{self, Resolver},
};
use crate::files;

/// A lookup.
pub struct LookupKind {
    /// Its name.
    pub name: &'static str,
    /// What it gives.
    pub about: &'static str,
    /// What it takes beside its terms, `errors` and `wantlist`.
    pub options: &'static [&'static str],
    /// Whether its terms are files that must be there.
    pub(super) names_files: bool,
    find: Find,
}

/// How a lookup finds its values.
enum Find {
    /// One for each term.
    Each(fn(&Resolver, &str, &Kwargs) -> Result<Value, Error>),
    /// Its terms are one search, which may find nothing.
    Search(fn(&Resolver, &[Value], &Kwargs, bool) -> Result<Value, Error>),
}

/// All lookups.
pub const LOOKUPS: &[LookupKind] = &[
    LookupKind {
        name: "env",
        about: "A variable of the environment of `infra` itself.",
        options: &["default"],
        names_files: false,
        find: Find::Each(env),
    },
    LookupKind {
        name: "file",
        about: "The text of a file beside the playbook.",
        options: &["lstrip", "rstrip"],
        names_files: true,
        find: Find::Each(file),
    },
    LookupKind {
        name: "first_found",
        about: "The first of several files beside the playbook that is there.",
        options: &["files", "paths", "skip"],
        names_files: false,
        find: Find::Search(first_found),
    },
    LookupKind {
        name: "template",
        about: "A template beside the playbook, rendered.",
        options: &["template_vars"],
        names_files: true,
        find: Find::Each(template),
    },
    LookupKind {
        name: "vars",
        about: "The value of a variable whose name is computed.",
        options: &["default"],
        names_files: false,
        find: Find::Each(variable),
    },
];

/// The lookup of a name, with or without its collection.
pub(super) fn kind(name: &str) -> Option<&'static LookupKind> {
    let short = name.trim_start_matches("ansible.builtin.");
    LOOKUPS.iter().find(|lookup| lookup.name == short)
}

/// The names of all lookups.
pub(super) fn known() -> Vec<&'static str> {
    LOOKUPS.iter().map(|lookup| lookup.name).collect()
}

/// Where lookups look for files.
#[derive(Clone, Debug, Default)]
pub struct Lookups {
    /// Folders of `file` and `fileglob`.
    pub files: Vec<PathBuf>,
    /// Folders of `template` and of `{% include %}`.
    pub templates: Vec<PathBuf>,
}

impl Lookups {
    pub(super) fn read_template(&self, name: &str) -> Option<String> {
        let path = files::find(&self.templates, Path::new(name))?;
        files::read_text(&path).ok()
    }
}

/// The function; `list` is `query`, which always gives a list.
pub(super) fn function(resolver: Resolver, list: bool) -> Value {
    Value::from_function(move |name: &str, args: Rest<Value>, kwargs: Kwargs| -> Result<Value, Error> {
        let lookup =
            kind(name).ok_or_else(|| wrong(format!("lookup `{name}` is not supported; known: {}", known().join(", "))));
        let list = kwargs.get::<Option<bool>>("wantlist")?.unwrap_or(list);
        let errors = kwargs.get::<Option<String>>("errors")?.unwrap_or_else(|| "strict".to_owned());
        let found = lookup.and_then(|lookup| match lookup.find {
            Find::Search(find) => find(&resolver, &args, &kwargs, list && errors == "strict").map(Found::All),
            Find::Each(find) => {
                let values = args.iter().map(|arg| find(&resolver, &term(lookup.name, arg)?, &kwargs));
                values.collect::<Result<Vec<_>, _>>().map(Found::Each)
            }
        });
        let found = match found {
            Ok(Found::All(value)) if errors == "strict" => {
                kwargs.assert_all_used()?;
                return Ok(value);
            }
            Ok(Found::All(value)) => Ok(vec![value]),
            Ok(Found::Each(values)) => Ok(values),
            Err(error) => Err(error),
        };
        let mut values = match (found, errors.as_str()) {
            (Ok(values), _) => {
                kwargs.assert_all_used()?;
                values
            }
            (Err(error), "strict") => return Err(error),
            (Err(_), "ignore") if list => Vec::new(),
            (Err(_), "ignore") => return Ok(Value::from(())),
            (Err(_), other) => {
                return Err(wrong(format!("lookup: `errors={other}` is not supported; known: strict, ignore")));
            }
        };
        Ok(if values.len() == 1 && !list { values.remove(0) } else { Value::from(values) })
    })
}

/// Its terms are one search, which may find nothing.
fn first_found(resolver: &Resolver, args: &[Value], kwargs: &Kwargs, list: bool) -> Result<Value, Error> {
    let mut terms = args.iter().map(lazy::to_json).collect::<Result<Vec<_>, _>>()?;
    let mut options = serde_json::Map::new();
    for name in ["files", "paths", "skip"] {
        if let Some(value) = kwargs.get::<Option<Value>>(name)? {
            options.insert(name.to_owned(), lazy::to_json(&value)?);
        }
    }
    if !options.is_empty() {
        terms.push(options.into());
    }
    let found = super::first_found(&terms, &resolver.scope.lookups().files)
        .map_err(|error| wrong(format!("lookup: {error}")))?;
    let found = found.map(|path| path.display().to_string());
    Ok(if list { Value::from_iter(found) } else { Value::from(found.unwrap_or_default()) })
}

fn wrong(message: String) -> Error {
    Error::new(ErrorKind::InvalidOperation, message)
}

/// The variables of a template, with those that `template_vars` gives it over them.
struct Over {
    vars: Value,
    inner: Arc<dyn Scope>,
}

impl Scope for Over {
    fn get(&self, name: &str) -> Option<Var> {
        let own = self.vars.get_attr(name).ok().filter(|value| !value.is_undefined());
        own.map(Var::Native).or_else(|| self.inner.get(name))
    }

    fn names(&self) -> Vec<String> {
        self.inner.names()
    }

    fn lookups(&self) -> Lookups {
        self.inner.lookups()
    }
}

/// What a lookup has found.
enum Found {
    Each(Vec<Value>),
    All(Value),
}

/// A term as a text.
fn term(name: &str, arg: &Value) -> Result<String, Error> {
    if arg.is_undefined() {
        return Err(Error::new(ErrorKind::UndefinedError, format!("lookup `{name}`: the value is undefined")));
    }
    Ok(arg.as_str().map_or_else(|| arg.to_string(), str::to_owned))
}

fn env(_: &Resolver, name: &str, kwargs: &Kwargs) -> Result<Value, Error> {
    #[expect(clippy::disallowed_methods, reason = "this lookup reads the caller's environment")]
    let value = std::env::var(name).ok();
    let fallback = kwargs.get::<Option<Value>>("default")?.unwrap_or_else(|| Value::from(""));
    Ok(value.map_or(fallback, Value::from))
}

fn file(resolver: &Resolver, name: &str, kwargs: &Kwargs) -> Result<Value, Error> {
    let (left, right) = (kwargs.get::<Option<bool>>("lstrip")?, kwargs.get::<Option<bool>>("rstrip")?);
    let path = files::find(&resolver.scope.lookups().files, Path::new(name))
        .ok_or_else(|| wrong(format!("lookup: there is no file `{name}`")))?;
    let content = files::read_text(&path).map_err(|error| wrong(error.to_string()))?;
    let content = if right.unwrap_or(true) { content.trim_end() } else { content.as_str() };
    Ok(Value::from(if left.unwrap_or(false) { content.trim_start() } else { content }))
}

fn template(resolver: &Resolver, name: &str, kwargs: &Kwargs) -> Result<Value, Error> {
    let vars = kwargs.get::<Option<Value>>("template_vars")?;
    let path = files::find(&resolver.scope.lookups().templates, Path::new(name))
        .ok_or_else(|| wrong(format!("lookup: there is no template `{name}`")))?;
    let source = files::read_text(&path).map_err(|error| wrong(error.to_string()))?;
    let scope = match vars {
        Some(vars) if vars.kind() != ValueKind::Map => {
            return Err(wrong("template_vars is not a mapping".to_owned()));
        }
        Some(vars) => Arc::new(Over { vars, inner: Arc::clone(&resolver.scope) }) as Arc<dyn Scope>,
        None => Arc::clone(&resolver.scope),
    };
    let rendered = resolver.engine.render_file(&path, &source, &scope);
    rendered.map(Value::from).map_err(|error| wrong(error.to_string()))
}

fn variable(resolver: &Resolver, name: &str, kwargs: &Kwargs) -> Result<Value, Error> {
    let fallback = kwargs.get::<Option<Value>>("default")?;
    let value = lazy::context(&resolver.engine, &resolver.scope).get_attr(name)?;
    match (value.is_undefined(), fallback) {
        (false, _) => Ok(value),
        (true, Some(default)) => Ok(default),
        (true, None) => Err(wrong(format!("lookup: `{name}` is undefined"))),
    }
}
