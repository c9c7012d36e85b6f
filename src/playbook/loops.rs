//! The items of a loop.

use std::sync::Arc;

use serde_json::Value;

use super::{
    calls,
    loop_kinds::{self, Items, as_list},
    model::Loop,
    vars::TaskScope,
};
use crate::{
    error::{Error, Result},
    files,
    modules::{Call, Reads},
    template::{Authored, Engine, Scope, first_found as first_found_file, is_template, text_of},
};

/// The items that a loop goes through.
pub(super) fn items(r#loop: &Loop, engine: &Engine, scope: &TaskScope) -> Result<Vec<Value>> {
    let source = resolve(&r#loop.source, engine, &scope.shared())?;
    match items_of(r#loop)? {
        Items::OfValue(items) => items(source),
        Items::Files => Ok(as_list(source).iter().flat_map(|pattern| glob(&text_of(pattern), scope)).collect()),
        Items::FirstFile => first_found(&source, scope),
    }
}

/// The items of a loop over a value that is known, where they follow from it alone.
pub(super) fn of_value(r#loop: &Loop, source: Value) -> Result<Option<Vec<Value>>> {
    match items_of(r#loop)? {
        Items::OfValue(items) => items(source).map(Some),
        Items::Files | Items::FirstFile => Ok(None),
    }
}

fn items_of(r#loop: &Loop) -> Result<Items> {
    let kind = loop_kinds::find(&r#loop.keyword);
    kind.map(|kind| kind.items).ok_or_else(|| Error::new(format!("the loop `{}` is not supported", r#loop.keyword)))
}

/// The items may be written as a list, as a template, or as the bare name of a variable.
fn resolve(source: &Authored, engine: &Engine, scope: &Arc<dyn Scope>) -> Result<Value> {
    match source.text() {
        Some(text) if !is_template(&text) && scope.get(&text).is_some() => engine.evaluate(&text, scope),
        _ => engine.resolve(source, scope),
    }
}

/// Files of a folder whose names match `*`; the folder itself is no pattern.
fn glob(pattern: &str, scope: &TaskScope) -> Vec<Value> {
    let (folder, name) = pattern.rsplit_once('/').unwrap_or(("", pattern));
    let (head, tail) = name.split_once('*').unwrap_or((name, ""));
    let folders: Vec<std::path::PathBuf> = if pattern.starts_with('/') {
        vec![folder.into()]
    } else {
        scope.lookups().files.iter().map(|base| base.join(folder)).collect()
    };
    let Some(found) = folders.iter().find(|folder| files::is_dir(folder)) else { return Vec::new() };
    let names = files::walk(found).unwrap_or_default();
    names
        .into_iter()
        .filter(|path| path.components().count() == 1)
        .filter(|path| {
            let name = path.to_string_lossy();
            if pattern.contains('*') { name.starts_with(head) && name.ends_with(tail) } else { name == head }
        })
        .map(|path| found.join(path).display().to_string().into())
        .collect()
}

/// A loop looks where its task does: for variables in `vars`, for templates in `templates`.
fn first_found(source: &Value, scope: &TaskScope) -> Result<Vec<Value>> {
    let folders = match scope.task.as_deref().and_then(calls::call).and_then(Call::reads) {
        Some(Reads::Vars(_)) => scope.folders("vars"),
        Some(Reads::Template(_)) => scope.template_folders(),
        None => scope.folders("files"),
    };
    let found = first_found_file(&as_list(source.clone()), &folders)?;
    Ok(found.map(|path| path.display().to_string().into()).into_iter().collect())
}
