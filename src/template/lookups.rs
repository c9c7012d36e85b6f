//! `lookup('name', ...)` and `query('name', ...)`: values from outside the variables.

use std::path::{Path, PathBuf};

use minijinja::{
    Error, ErrorKind, Value,
    value::{Kwargs, Rest},
};

use super::lazy::{self, Resolver};
use crate::files;

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

/// The function; `list` tells `query`, which always gives a list.
pub(super) fn function(resolver: Resolver, list: bool) -> Value {
    Value::from_function(move |name: &str, args: Rest<Value>, kwargs: Kwargs| -> Result<Value, Error> {
        let name = name.trim_start_matches("ansible.builtin.");
        if name == "first_found" {
            return first_found(&resolver, &args, &kwargs, list);
        }
        let values = args.iter().map(|arg| one(&resolver, name, arg, &kwargs)).collect::<Result<Vec<_>, _>>()?;
        if list {
            return Ok(Value::from(values));
        }
        let mut values = values;
        Ok(if values.len() == 1 { values.remove(0) } else { Value::from(values) })
    })
}

/// Its terms are one search, which may find nothing.
fn first_found(resolver: &Resolver, args: &[Value], kwargs: &Kwargs, list: bool) -> Result<Value, Error> {
    let wrong = |error: crate::error::Error| Error::new(ErrorKind::InvalidOperation, format!("lookup: {error}"));
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
    let found = super::first_found(&terms, &resolver.scope.lookups().files).map_err(wrong)?;
    let found = found.map(|path| path.display().to_string());
    Ok(if list { Value::from_iter(found) } else { Value::from(found.unwrap_or_default()) })
}

fn one(resolver: &Resolver, name: &str, arg: &Value, kwargs: &Kwargs) -> Result<Value, Error> {
    let wrong = |message: String| Error::new(ErrorKind::InvalidOperation, message);
    let text = arg.as_str().map_or_else(|| arg.to_string(), str::to_owned);
    match name {
        "env" => {
            #[expect(clippy::disallowed_methods, reason = "this lookup reads the caller's environment")]
            let value = std::env::var(&text).ok();
            let fallback = kwargs.get::<Option<Value>>("default")?.unwrap_or_else(|| Value::from(""));
            Ok(value.map_or(fallback, Value::from))
        }
        "file" => {
            let path = files::find(&resolver.scope.lookups().files, Path::new(&text))
                .ok_or_else(|| wrong(format!("lookup: there is no file `{text}`")))?;
            let content = files::read_text(&path).map_err(|error| wrong(error.to_string()))?;
            Ok(Value::from(content.trim_end_matches('\n')))
        }
        "template" => {
            let path = files::find(&resolver.scope.lookups().templates, Path::new(&text))
                .ok_or_else(|| wrong(format!("lookup: there is no template `{text}`")))?;
            let source = files::read_text(&path).map_err(|error| wrong(error.to_string()))?;
            let rendered = resolver.engine.render_file(&path, &source, &resolver.scope);
            rendered.map(Value::from).map_err(|error| wrong(error.to_string()))
        }
        "vars" => {
            let value = lazy::context(&resolver.engine, &resolver.scope, resolver.depth + 1).get_attr(&text)?;
            match (value.is_undefined(), kwargs.get::<Option<Value>>("default")?) {
                (false, _) => Ok(value),
                (true, Some(default)) => Ok(default),
                (true, None) => Err(wrong(format!("lookup: `{text}` is undefined"))),
            }
        }
        other => {
            Err(wrong(format!("lookup `{other}` is not supported; known: env, file, template, vars, first_found")))
        }
    }
}
