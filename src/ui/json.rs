//! Mistakes and warnings of files, as programs read them.

use serde_json::{Value, json};

use crate::error::{Diagnostic, Severity};

/// The diagnostics of an error or a warning, each with its place.
pub(super) fn diagnostics(found: &[Diagnostic]) -> Vec<Value> {
    found.iter().map(diagnostic).collect()
}

fn diagnostic(one: &Diagnostic) -> Value {
    let severity = match one.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let mut value = json!({ "severity": severity, "message": one.message, "hint": one.hint });
    if let Some(place) = &one.location {
        value["file"] = place.file.display().to_string().into();
        value["line"] = place.line.into();
        value["column"] = place.column.into();
        value["width"] = place.width.into();
    }
    value
}
