//! The one error type, and the diagnostics that point into a file.
//!
//! Messages are lower-case and name their object in backticks; a hint says what to do next and shows the command.

use std::{fmt, path::PathBuf};

/// The result of nearly every function of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What an error means for the caller and for the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The command line or a configuration file is wrong; nothing was changed. Exit code 2.
    Usage,
    /// Something outside this program refused or failed. Exit code 1.
    Failed,
    /// The user asked us to stop. Exit code 130.
    Interrupted,
}

/// An error: a message, what caused it, what to do about it.
#[derive(Clone, Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    causes: Vec<String>,
    hints: Vec<String>,
    diagnostics: Vec<Diagnostic>,
    settled: bool,
}

impl Error {
    /// An error of the outside world: a refused call, a failed command.
    pub fn new(message: impl Into<String>) -> Self {
        Self::of(ErrorKind::Failed, message)
    }

    /// An error in what the user wrote.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::of(ErrorKind::Usage, message)
    }

    /// The user interrupted the program.
    pub fn interrupted(message: impl Into<String>) -> Self {
        Self::of(ErrorKind::Interrupted, message)
    }

    fn of(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            causes: Vec::new(),
            hints: Vec::new(),
            diagnostics: Vec::new(),
            settled: false,
        }
    }

    /// All mistakes found in a set of files, as one usage error.
    #[must_use]
    pub fn from_diagnostics(summary: impl Into<String>, diagnostics: Vec<Diagnostic>) -> Self {
        Self { diagnostics, ..Self::usage(summary) }
    }

    /// The same error of a command that has begun: something may have been changed, and the exit code must not deny that.
    #[must_use]
    pub fn begun(self) -> Self {
        let kind = if self.kind == ErrorKind::Usage { ErrorKind::Failed } else { self.kind };
        Self { kind, ..self }
    }

    /// Adds a sentence that says what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Marks the end of an intent: the service has undone what it had begun, so that the next attempt is another one.
    #[must_use]
    pub fn settled(mut self) -> Self {
        self.settled = true;
        self
    }

    /// Takes that back: something is left of it.
    #[must_use]
    pub fn unsettled(mut self) -> Self {
        self.settled = false;
        self
    }

    /// Whether the service has undone what it had begun.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.settled
    }

    /// The same kind of error with the same hints and another message.
    #[must_use]
    pub fn renamed(self, message: impl Into<String>) -> Self {
        Self { message: message.into(), causes: Vec::new(), ..self }
    }

    /// Puts a place before the message.
    #[must_use]
    pub fn at(mut self, place: &str) -> Self {
        self.message = format!("{place}: {}", self.message);
        self
    }

    /// Puts `message` before this error; the present message becomes its first cause.
    #[must_use]
    pub fn context(mut self, message: impl Into<String>) -> Self {
        let inner = std::mem::replace(&mut self.message, message.into());
        self.causes.insert(0, inner);
        self
    }

    /// The same error with other texts: what a redactor makes of each, before any of them is escaped.
    #[must_use]
    pub fn map_texts(&self, change: impl Fn(&str) -> String) -> Self {
        let all = |texts: &[String]| texts.iter().map(|text| change(text)).collect();
        Self {
            message: change(&self.message),
            causes: all(&self.causes),
            hints: all(&self.hints),
            diagnostics: self.diagnostics.iter().map(|diagnostic| diagnostic.map_texts(&change)).collect(),
            ..*self
        }
    }

    /// What the error means for the exit code.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The message without its causes.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What led to the error, outermost first.
    #[must_use]
    pub fn causes(&self) -> &[String] {
        &self.causes
    }

    /// What the user can do.
    #[must_use]
    pub fn hints(&self) -> &[String] {
        &self.hints
    }

    /// The places in files that the error speaks of.
    #[must_use]
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }

    /// The first of [`Self::diagnostics`], as many as are shown at once, and how many more there are.
    #[must_use]
    pub fn shown_diagnostics(&self) -> (&[Diagnostic], usize) {
        let shown = self.diagnostics.len().min(DIAGNOSTICS);
        (&self.diagnostics[..shown], self.diagnostics.len() - shown)
    }

    /// Whether it says that the command was asked to stop.
    #[must_use]
    pub fn is_interrupted(&self) -> bool {
        matches!(self.kind, ErrorKind::Interrupted)
    }

    /// The exit code of a command that ends with this.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self.kind {
            ErrorKind::Failed => 1,
            ErrorKind::Usage => 2,
            ErrorKind::Interrupted => 130,
        }
    }
}

/// How many mistakes of one file are shown: no one reads more at once.
const DIAGNOSTICS: usize = 100;

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        for cause in &self.causes {
            write!(f, ": {cause}")?;
        }
        let (shown, more) = self.shown_diagnostics();
        for diagnostic in shown {
            write!(f, "\n{diagnostic}")?;
        }
        if more == 0 { Ok(()) } else { write!(f, "\nand {more} more") }
    }
}

impl std::error::Error for Error {}

macro_rules! from_errors {
    ($($source:ty),+ $(,)?) => {
        $(impl From<$source> for Error {
            fn from(error: $source) -> Self {
                let mut causes = Vec::new();
                let mut source = std::error::Error::source(&error);
                while let Some(inner) = source {
                    causes.push(inner.to_string());
                    source = inner.source();
                }
                Self { causes, ..Self::new(error.to_string()) }
            }
        })+
    };
}

from_errors!(
    std::io::Error,
    serde_json::Error,
    reqwest::Error,
    russh::Error,
    russh::keys::Error,
    rcgen::Error,
    tokio_postgres::Error
);

/// Adds context to the error of any result whose error becomes an [`Error`].
pub trait Context<T> {
    /// Puts a message before the error, computed only when there is one.
    ///
    /// # Errors
    /// The same error, with the message before it.
    fn context<M: Into<String>>(self, message: impl FnOnce() -> M) -> Result<T>;
}

impl<T, E: Into<Error>> Context<T> for std::result::Result<T, E> {
    fn context<M: Into<String>>(self, message: impl FnOnce() -> M) -> Result<T> {
        self.map_err(|error| error.into().context(message()))
    }
}

/// A place in a text file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Location {
    /// The file as the user would name it.
    pub file: PathBuf,
    /// The line, counted from 1.
    pub line: usize,
    /// The column in characters, counted from 1.
    pub column: usize,
    /// How many characters the place covers; at least 1.
    pub width: usize,
    /// The text of the line, without its end.
    pub text: String,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file.display(), self.line, self.column)
    }
}

/// How bad a diagnostic is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The file cannot be used.
    Error,
    /// The file can be used, but the user should know.
    Warning,
}

/// One mistake in one place of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Error or warning.
    pub severity: Severity,
    /// What is wrong, lower-case, without a final period.
    pub message: String,
    /// Where; `None` for a mistake of the whole file.
    pub location: Option<Location>,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Diagnostic {
    /// A mistake at a place.
    pub fn error(location: impl Into<Option<Location>>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, message: message.into(), location: location.into(), hint: None }
    }

    /// A warning at a place.
    pub fn warning(location: impl Into<Option<Location>>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(location, message) }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same diagnostic with other texts.
    #[must_use]
    pub fn map_texts(&self, change: impl Fn(&str) -> String) -> Self {
        let location = self.location.clone().map(|place| Location { text: change(&place.text), ..place });
        Self {
            severity: self.severity,
            message: change(&self.message),
            location,
            hint: self.hint.as_deref().map(change),
        }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        match &self.location {
            None => write!(f, "{severity}: {}", self.message)?,
            Some(location) => {
                writeln!(f, "{location}: {severity}: {}", self.message)?;
                let number = location.line.to_string();
                let margin = " ".repeat(number.len());
                let (text, before) = excerpt(&location.text, location.column - 1);
                // Tabs are kept before the caret, so that it is under the same column in any terminal.
                let indent: String = text.chars().take(before).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
                let room = text.chars().count().saturating_sub(before);
                writeln!(f, " {margin} |")?;
                writeln!(f, " {number} | {text}")?;
                write!(f, " {margin} | {indent}{}", "^".repeat(location.width.clamp(1, room.max(1))))?;
            }
        }
        match &self.hint {
            Some(hint) => write!(f, "\n  = hint: {hint}"),
            None => Ok(()),
        }
    }
}

/// How many characters of a line are shown.
const EXCERPT: usize = 160;

/// The part of a line around a column that is shown, and how many characters of it come before that column. The column is counted
/// from 0.
fn excerpt(line: &str, column: usize) -> (std::borrow::Cow<'_, str>, usize) {
    if line.len() <= EXCERPT {
        return (line.into(), column);
    }
    let from = column.saturating_sub(EXCERPT / 2);
    let shown: String = line.chars().skip(from).take(EXCERPT).collect();
    let more = line.chars().nth(from + EXCERPT).is_some();
    let (begin, end) = (if from > 0 { "..." } else { "" }, if more { "..." } else { "" });
    (format!("{begin}{shown}{end}").into(), column - from + begin.len())
}

/// A number of things, as people say it: `1 machine`, `2 machines`.
#[must_use]
pub fn count(number: u64, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

/// How many letters two words differ by.
#[must_use]
pub fn distance(one: &str, other: &str) -> usize {
    strsim::damerau_levenshtein(one, other)
}

/// The candidate that is closest to a misspelt word, if one is close enough to be meant.
pub fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        // Words whose lengths differ by more cannot be closer than that; a very long one need not be compared.
        .filter(|candidate| candidate.len().abs_diff(word.len()) <= candidate.len().max(word.len()) / 3)
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.len().max(word.len()) / 3)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}
