//! The only place that prints. Results go to standard output, everything else to standard error; every text passes the
//! redactor first, before it is escaped for the format it goes into. May import `plan`, `playbook::Recap`, `event` and the vocabulary.

mod annotation;
mod ask;
mod diagram;
mod escape;
mod json;
mod plan;
mod progress;
mod report;

use std::{
    io::{BufRead, IsTerminal, Write},
    path::PathBuf,
};

use indicatif::MultiProgress;
use serde_json::Value;

pub use self::{
    diagram::{Diagram, Node},
    plan::{plan_json, plan_text},
    progress::Progress,
    report::{Report, Summary},
};
use crate::{
    error::{Diagnostic, Error, Result},
    secret::Redactor,
};

/// How progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Lines that move, for a terminal.
    Terminal,
    /// One line an event.
    Plain,
    /// One JSON object an event, on standard output.
    Json,
}

/// The printer of a command.
#[derive(Clone, Debug)]
pub struct Ui {
    mode: Mode,
    color: bool,
    diff: bool,
    annotate: bool,
    junit: Option<PathBuf>,
    redactor: Redactor,
    bars: MultiProgress,
}

impl Ui {
    /// A printer: JSON when asked for, otherwise as standard error is a terminal or not.
    #[must_use]
    pub fn new(json: bool, no_color: bool, diff: bool, redactor: Redactor) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let mode = match (json, terminal) {
            (true, _) => Mode::Json,
            (false, true) => Mode::Terminal,
            (false, false) => Mode::Plain,
        };
        #[expect(clippy::disallowed_methods, reason = "https://no-color.org")]
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            mode,
            color: !no_color && !refused && terminal && std::io::stdout().is_terminal(),
            diff,
            annotate: annotation::is_wanted(),
            junit: None,
            redactor,
            bars: MultiProgress::new(),
        }
    }

    /// The same printer, which also writes what was done as JUnit's XML.
    #[must_use]
    pub fn with_junit(self, junit: Option<PathBuf>) -> Self {
        Self { junit, ..self }
    }

    /// How progress is shown.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Prints a result: what a pipe would want.
    pub fn result(&self, text: &str) {
        let text = self.redactor.redact(text);
        write(&mut std::io::stdout(), &text);
    }

    /// Prints a value that the user asked for by name, secrets included. A terminal shows a warning; a script is not
    /// disturbed.
    pub fn reveal(&self, text: &str) {
        print(&mut std::io::stdout(), text);
        if std::io::stdout().is_terminal() && self.redactor.redact(text) != text {
            self.say(&format!("{} this shows a secret as it is", self.paint(YELLOW, "warning:")));
        }
    }

    /// Prints a JSON value, in many lines.
    pub fn json(&self, value: &Value) {
        write(&mut std::io::stdout(), &format!("{:#}\n", self.redactor.value(value)));
    }

    /// Prints a JSON value, in one line.
    pub fn json_line(&self, value: &Value) {
        write(&mut std::io::stdout(), &format!("{}\n", self.redactor.value(value)));
    }

    /// Prints an event of the stream that `--json` asks for.
    pub fn event(&self, value: &Value) {
        let mut value = value.clone();
        value["v"] = EVENTS_VERSION.into();
        self.json_line(&value);
    }

    /// A value without its secrets, for a text that shows it.
    fn redacted(&self, value: &Value) -> Value {
        self.redactor.value(value)
    }

    /// Prints a line for the eye only.
    pub fn say(&self, text: &str) {
        if self.mode != Mode::Json {
            write(&mut std::io::stderr(), &format!("{}\n", self.redactor.redact(text)));
        }
    }

    /// Prints warnings about files, each once.
    pub fn warnings(&self, warnings: &[Diagnostic]) {
        let mut shown: Vec<&Diagnostic> = Vec::new();
        for warning in warnings {
            if !shown.contains(&warning) {
                shown.push(warning);
                if self.mode == Mode::Json {
                    let message = &warning.message;
                    let diagnostics = json::diagnostics(std::slice::from_ref(warning));
                    self.event(&serde_json::json!({
                        "event": "warning", "message": message, "diagnostics": diagnostics,
                    }));
                }
                self.say(&format!("{}\n", self.paint(YELLOW, &warning.to_string())));
            }
        }
    }

    /// Prints an error with its causes, places and hints.
    pub fn error(&self, error: &Error) {
        let error = &error.map_texts(|text| self.redactor.redact(text));
        if self.annotate {
            command(&annotation::of_error(error));
        }
        if self.mode == Mode::Json {
            self.event(&serde_json::json!({
                "event": "error", "message": error.to_string(), "hints": error.hints(), "exit_code": error.exit_code(),
                "diagnostics": json::diagnostics(error.diagnostics()),
            }));
            return;
        }
        let mut text = format!("{} {}\n", self.paint(RED, "error:"), error.message());
        for cause in error.causes() {
            text += &format!("  caused by: {cause}\n");
        }
        let (shown, more) = error.shown_diagnostics();
        for diagnostic in shown {
            text += &format!("\n{diagnostic}\n");
        }
        if more > 0 {
            text += &format!("\nand {more} more\n");
        }
        for hint in error.hints() {
            text += &format!("{} {hint}\n", self.paint(CYAN, "hint:"));
        }
        write(&mut std::io::stderr(), &self.redactor.redact(&text));
    }

    /// Whether someone is there who can answer.
    #[must_use]
    pub fn can_ask(&self) -> bool {
        std::io::stdin().is_terminal() && self.mode != Mode::Json
    }

    /// Asks for a `yes`.
    ///
    /// # Errors
    /// When there is no one to answer.
    pub fn confirm(&self, question: &str) -> Result<bool> {
        if !self.can_ask() {
            return Err(Error::usage("there is no terminal to ask at").hint("give `--yes` to go on without a question"));
        }
        let question = self.redactor.redact(question);
        write(&mut std::io::stderr(), &format!("{question} Only `yes` goes on: "));
        let mut answer = String::new();
        std::io::stdin().lock().read_line(&mut answer)?;
        Ok(answer.trim() == "yes")
    }

    fn paint(&self, color: &str, text: &str) -> String {
        if self.color { escape::painted(color, text) } else { text.to_owned() }
    }
}

/// The version of the stream of events: it counts up when a field goes or means something else.
pub const EVENTS_VERSION: u32 = 1;

const RED: &str = "\x1b[1;31m";
const GREEN: &str = "\x1b[32m";
const YELLOW: &str = "\x1b[33m";
const CYAN: &str = "\x1b[36m";
const DIM: &str = "\x1b[2m";

/// Where texts go.
trait Target: Write {
    /// Whether someone reads it with their eyes, and not a program.
    fn is_for_eyes(&self) -> bool;
}

impl Target for std::io::Stdout {
    fn is_for_eyes(&self) -> bool {
        self.is_terminal()
    }
}

impl Target for std::io::Stderr {
    fn is_for_eyes(&self) -> bool {
        true
    }
}

/// The one place from which texts go to a terminal. A reader that has gone away, as `head` does, is no error.
fn write(to: &mut impl Target, text: &str) {
    let text = if to.is_for_eyes() { escape::printable(text) } else { text.to_owned() };
    print(to, &if annotation::is_wanted() { annotation::disarmed(&text) } else { text.into() });
}

/// Writes a command for GitHub Actions.
fn command(text: &str) {
    print(&mut std::io::stdout(), text);
}

fn print(to: &mut impl Write, text: &str) {
    let _ = to.write_all(text.as_bytes()).and_then(|()| to.flush());
}

/// Rows as columns, two spaces apart.
#[must_use]
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width =
        |at: usize| rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        text += &format!("{}\n", cells.join("  ").trim_end());
    }
    text
}

/// A duration as people say it: `0.4s`, `12s`, `3m 5s`, `2h 10m`, `4d 3h`.
#[must_use]
pub fn duration(seconds: f64) -> String {
    if seconds < 10.0 {
        return format!("{seconds:.1}s");
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a positive number of seconds")]
    let whole = seconds.round() as u64;
    match whole {
        0..60 => format!("{whole}s"),
        60..3600 => format!("{}m {}s", whole / 60, whole % 60),
        3600..86_400 => format!("{}h {}m", whole / 3600, whole % 3600 / 60),
        _ => format!("{}d {}h", whole / 86_400, whole % 86_400 / 3600),
    }
}
