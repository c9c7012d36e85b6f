//! Failures as GitHub Actions shows them beside the lines that caused them.
//!
//! Source: "Workflow commands for GitHub Actions",
//! <https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands>.

use std::borrow::Cow;

use crate::{
    error::{Diagnostic, Error, Severity},
    event::{Ended, Event},
};

/// Whether this is a job of GitHub Actions.
pub(super) fn is_wanted() -> bool {
    #[expect(clippy::disallowed_methods, reason = "how GitHub Actions says that it is there")]
    let set = std::env::var_os("GITHUB_ACTIONS");
    set.is_some_and(|value| value == "true")
}

/// A text in which GitHub finds no command. It looks for `::name ...::` at the beginning of a line, behind white space, and for the
/// older `##[name]` anywhere in it: what machines, files and clouds say may hold either. Both become visible escapes, of which the
/// second, which may be within JSON, is the same text there.
pub(super) fn disarmed(text: &str) -> Cow<'_, str> {
    if !text.contains("::") && !text.contains("##[") {
        return text.into();
    }
    let line = |line: &str| {
        let (space, rest) = line.split_at(line.len() - line.trim_start().len());
        match rest.strip_prefix("::").filter(|rest| rest.contains("::")) {
            Some(rest) => format!("{space}\\u003a:{rest}"),
            None => line.to_owned(),
        }
    };
    let text: String = text.split_inclusive(['\n', '\r']).map(line).collect();
    text.replace("##[", "#\\u0023[").into()
}

/// A text within a command.
fn escaped(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// A value of a command's property.
fn property(text: &str) -> String {
    escaped(text).replace(':', "%3A").replace(',', "%2C")
}

fn of_diagnostic(diagnostic: &Diagnostic) -> String {
    let level = if diagnostic.severity == Severity::Error { "error" } else { "warning" };
    let place = diagnostic.location.as_ref().map_or_else(String::new, |location| {
        // GitHub knows files by their paths in the repository.
        let here = std::env::current_dir().unwrap_or_default();
        let file = location.file.strip_prefix(&here).unwrap_or(&location.file);
        let file = property(&file.display().to_string());
        format!(" file={file},line={},col={}", location.line, location.column)
    });
    let hint = diagnostic.hint.as_ref().map_or_else(String::new, |hint| format!("\n{hint}"));
    format!("::{level}{place}::{}\n", escaped(&format!("{}{hint}", diagnostic.message)))
}

/// The commands that report an error.
pub(super) fn of_error(error: &Error) -> String {
    if !error.diagnostics().is_empty() {
        return error.diagnostics().iter().map(of_diagnostic).collect();
    }
    let hints: String = error.hints().iter().map(|hint| format!("\n{hint}")).collect();
    format!("::error title=infra::{}\n", escaped(&format!("{error}{hints}")))
}

/// The command that reports a step that failed.
pub(super) fn of_event(event: &Event) -> Option<String> {
    let (title, detail) = match event {
        Event::TaskEnded { host, task, ended: Ended::Failed | Ended::Unreachable, detail, .. } => {
            (format!("{host}: {task}"), detail)
        }
        // An image that no registry has is built instead.
        Event::Finished { subject, ended: Ended::Failed, detail, .. } if subject != "image" => {
            (subject.clone(), detail)
        }
        _ => return None,
    };
    Some(format!("::error title={}::{}\n", property(&title), escaped(detail.as_deref().unwrap_or("it failed"))))
}

#[cfg(test)]
mod tests {
    use super::{disarmed, of_error, of_event};
    use crate::{
        error::{Diagnostic, Error, Location},
        event::{Ended, Event},
    };

    #[test]
    fn what_others_say_is_no_command() {
        let said = "a ::b::\n  ::error title=x::y\r::add-mask::a\n::1 and ::2\nfe80::1\n::1\nx ##[add-mask]e\n";
        let shown = "a ::b::\n  \\u003a:error title=x::y\r\\u003a:add-mask::a\n\\u003a:1 and ::2\nfe80::1\n::1\nx #\\u0023[add-mask]e\n";
        assert_eq!(disarmed(said), shown);
        let json = serde_json::json!({"a": "##[error]x"});
        let shown = disarmed(&json.to_string()).into_owned();
        assert!(!shown.contains("##["), "{shown}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), json);
    }

    #[test]
    fn failures_point_at_their_lines() {
        let location =
            Location { file: "envs/dev/config.yaml".into(), line: 3, column: 5, width: 1, text: "    x: 1".into() };
        let diagnostic = Diagnostic::error(location, "unknown key `x`").hint("did you mean `y`?");
        let error = Error::from_diagnostics("1 mistake", vec![diagnostic]);
        assert_eq!(
            of_error(&error),
            "::error file=envs/dev/config.yaml,line=3,col=5::unknown key `x`%0Adid you mean `y`?\n"
        );
        let event = Event::TaskEnded {
            host: "a".into(),
            task: "app : it runs".into(),
            ended: Ended::Failed,
            seconds: 1.0,
            detail: Some("100% broken\nreally".into()),
            diffs: Vec::new(),
        };
        assert_eq!(of_event(&event).unwrap(), "::error title=a%3A app %3A it runs::100%25 broken%0Areally\n");
    }
}
