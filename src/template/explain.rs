//! Errors of the template engine in our words, with the text or the file that they are about.

use minijinja::ErrorKind;

use crate::error::Error;

/// Whether an error is about a variable that is not defined.
pub(super) fn is_undefined(error: &minijinja::Error) -> bool {
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

pub(super) fn explain(error: &minijinja::Error, text: &str) -> Error {
    Error::new(format!("{} in `{}`", message(error), text.trim()))
}

pub(super) fn explain_file(error: &minijinja::Error, name: &str, lines: usize) -> Error {
    let line = error.line().unwrap_or(1) + lines;
    let file = error.name().unwrap_or(name);
    Error::new(format!("{file}:{line}: {}", message(error)))
}
