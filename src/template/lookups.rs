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

/// All lookups.
pub(super) const KNOWN: &[&str] = &["env", "file", "first_found", "template", "vars"];

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
        let name = name.trim_start_matches("ansible.builtin.");
        let list = kwargs.get::<Option<bool>>("wantlist")?.unwrap_or(list);
        let errors = kwargs.get::<Option<String>>("errors")?.unwrap_or_else(|| "strict".to_owned());
        if name == "first_found" && errors == "strict" {
            let found = first_found(&resolver, &args, &kwargs, list)?;
            kwargs.assert_all_used()?;
            return Ok(found);
        }
        let found = match name {
            "first_found" => first_found(&resolver, &args, &kwargs, false).map(|found| vec![found]),
            _ => args.iter().map(|arg| one(&resolver, name, arg, &kwargs)).collect::<Result<Vec<_>, _>>(),
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

fn one(resolver: &Resolver, name: &str, arg: &Value, kwargs: &Kwargs) -> Result<Value, Error> {
    if arg.is_undefined() {
        return Err(Error::new(ErrorKind::UndefinedError, format!("lookup `{name}`: the value is undefined")));
    }
    let text = arg.as_str().map_or_else(|| arg.to_string(), str::to_owned);
    match name {
        "env" => {
            #[expect(clippy::disallowed_methods, reason = "this lookup reads the caller's environment")]
            let value = std::env::var(&text).ok();
            let fallback = kwargs.get::<Option<Value>>("default")?.unwrap_or_else(|| Value::from(""));
            Ok(value.map_or(fallback, Value::from))
        }
        "file" => {
            let (left, right) = (kwargs.get::<Option<bool>>("lstrip")?, kwargs.get::<Option<bool>>("rstrip")?);
            let path = files::find(&resolver.scope.lookups().files, Path::new(&text))
                .ok_or_else(|| wrong(format!("lookup: there is no file `{text}`")))?;
            let content = files::read_text(&path).map_err(|error| wrong(error.to_string()))?;
            let content = if right.unwrap_or(true) { content.trim_end() } else { content.as_str() };
            Ok(Value::from(if left.unwrap_or(false) { content.trim_start() } else { content }))
        }
        "template" => {
            let vars = kwargs.get::<Option<Value>>("template_vars")?;
            let path = files::find(&resolver.scope.lookups().templates, Path::new(&text))
                .ok_or_else(|| wrong(format!("lookup: there is no template `{text}`")))?;
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
        "vars" => {
            let fallback = kwargs.get::<Option<Value>>("default")?;
            let value = lazy::context(&resolver.engine, &resolver.scope).get_attr(&text)?;
            match (value.is_undefined(), fallback) {
                (false, _) => Ok(value),
                (true, Some(default)) => Ok(default),
                (true, None) => Err(wrong(format!("lookup: `{text}` is undefined"))),
            }
        }
        other => Err(wrong(format!("lookup `{other}` is not supported; known: {}", KNOWN.join(", ")))),
    }
}
