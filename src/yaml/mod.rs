//! YAML as Ansible reads it (YAML 1.1 scalars, `PyYAML`'s rules), with the place of every node in its file.
//!
//! One loader serves the environment file, playbooks and variable files, so that all mistakes point into the text and a
//! value means the same thing wherever it is written.

mod emit;
mod load;
mod scalar;
mod scalar_style;

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use serde_json::{Map, Number, Value};

pub use self::{
    emit::{Style, dump, emit_nice},
    load::{MAX_DEPTH, load_documents, parse, read},
};
use crate::error::{Diagnostic, Location};

/// A text file and its name: what a [`Mark`] points into.
#[derive(Debug)]
pub struct Source {
    /// The file as the user would name it.
    pub file: PathBuf,
    text: String,
    /// Where each line begins, once a place was asked for: a large file may have many mistakes.
    lines: OnceLock<Vec<usize>>,
}

impl Source {
    /// A source of this name and text.
    pub fn new(file: impl Into<PathBuf>, text: impl Into<String>) -> Arc<Self> {
        Arc::new(Self { file: file.into(), text: text.into(), lines: OnceLock::new() })
    }

    /// The whole text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The text of a line without its end, counted from 1; empty when there is no such line.
    fn line(&self, number: usize) -> &str {
        let starts = self.lines.get_or_init(|| {
            let breaks = self.text.match_indices('\n').map(|(at, _)| at + 1);
            std::iter::once(0).chain(breaks).collect()
        });
        let Some(start) = number.checked_sub(1).and_then(|index| starts.get(index)) else { return "" };
        let end = starts.get(number).map_or(self.text.len(), |next| next - 1);
        let line = &self.text[*start..end];
        line.strip_suffix('\r').unwrap_or(line)
    }

    /// Where it begins.
    #[must_use]
    pub fn start(self: &Arc<Self>) -> Mark {
        Mark { source: Arc::clone(self), line: 1, column: 1, width: 1 }
    }

    /// The folder of the file.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.file.parent().unwrap_or_else(|| Path::new("."))
    }
}

/// The place of a node: line and column counted from 1, width in characters.
#[derive(Clone)]
pub struct Mark {
    source: Arc<Source>,
    line: usize,
    column: usize,
    width: usize,
}

impl Mark {
    /// The place with the text of its line, ready to be shown.
    #[must_use]
    pub fn location(&self) -> Location {
        let text = self.source.line(self.line).to_owned();
        let room = text.chars().count().saturating_sub(self.column - 1);
        Location {
            file: self.source.file.clone(),
            line: self.line,
            column: self.column,
            width: self.width.clamp(1, room.max(1)),
            text,
        }
    }

    /// The place of a word in a text that begins here and may go on over several lines; the text's own place when the word is not
    /// found.
    #[must_use]
    pub fn within(&self, text: &str, word: &str) -> Location {
        let begin = self.location();
        let lines = self.source.text().lines().enumerate().skip(begin.line - 1).take(text.lines().count() + 1);
        // What is before the text in its first line is another one's.
        let from = |number: usize, line: &str| match line.char_indices().nth(begin.column - 1) {
            Some((at, _)) if number + 1 == begin.line => at,
            _ => 0,
        };
        let found = lines.into_iter().find_map(|(number, line)| {
            let from = from(number, line);
            Some((number, line, from + line[from..].find(word)?))
        });
        let Some((number, line, at)) = found else { return begin };
        Location {
            line: number + 1,
            column: line[..at].chars().count() + 1,
            width: word.chars().count(),
            text: line.to_owned(),
            ..begin
        }
    }

    /// The file that the place is in.
    #[must_use]
    pub fn source(&self) -> &Arc<Source> {
        &self.source
    }
}

impl fmt::Debug for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.source.file.display(), self.line, self.column)
    }
}

/// One node of a YAML tree.
#[derive(Clone, Debug)]
pub struct Node {
    /// What the node holds.
    pub content: Content,
    /// Where it begins.
    pub mark: Mark,
}

/// What a node holds.
#[derive(Clone, Debug)]
pub enum Content {
    /// `null`, `~` or nothing.
    Null,
    /// A boolean.
    Bool(bool),
    /// An integer, a float.
    Number(Number),
    /// A text.
    String(String),
    /// A list.
    Sequence(Vec<Node>),
    /// Keys and values in the order of the file; keys are texts, each once.
    Mapping(Vec<(Key, Node)>),
}

/// The key of a mapping entry.
#[derive(Clone, Debug)]
pub struct Key {
    /// The key as text; other scalars are written as Python's `str` would.
    pub name: String,
    /// Where it is.
    pub mark: Mark,
}

impl Node {
    /// Says that the tree was read from another text, in which the first line has one character less after a column.
    pub fn relocate(&mut self, source: &Arc<Source>, after: usize) {
        let moved = |mark: &mut Mark| {
            mark.column -= usize::from(mark.line == 1 && mark.column > after);
            mark.source = Arc::clone(source);
        };
        moved(&mut self.mark);
        match &mut self.content {
            Content::Sequence(items) => items.iter_mut().for_each(|item| item.relocate(source, after)),
            Content::Mapping(entries) => {
                for (key, value) in entries {
                    moved(&mut key.mark);
                    value.relocate(source, after);
                }
            }
            _ => {}
        }
    }

    /// The tree without places.
    #[must_use]
    pub fn to_value(&self) -> Value {
        match &self.content {
            Content::Null => Value::Null,
            Content::Bool(flag) => Value::Bool(*flag),
            Content::Number(number) => Value::Number(number.clone()),
            Content::String(text) => Value::String(text.clone()),
            Content::Sequence(items) => Value::Array(items.iter().map(Self::to_value).collect()),
            Content::Mapping(entries) => Value::Object(entries_to_map(entries)),
        }
    }

    /// The value under a key, when the node is a mapping that has it.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Self> {
        self.entries()?.iter().find(|(key, _)| key.name == name).map(|(_, node)| node)
    }

    /// The entries of a mapping.
    #[must_use]
    pub fn entries(&self) -> Option<&[(Key, Self)]> {
        match &self.content {
            Content::Mapping(entries) => Some(entries),
            _ => None,
        }
    }

    /// Every text in it, with its place.
    #[must_use]
    pub fn texts(&self) -> Vec<(String, Mark)> {
        if let Some(text) = self.as_str() {
            return vec![(text.to_owned(), self.mark.clone())];
        }
        let items = self.items().unwrap_or_default().iter();
        let values = self.entries().unwrap_or_default().iter().map(|(_, value)| value);
        items.chain(values).flat_map(Self::texts).collect()
    }

    /// The items of a list.
    #[must_use]
    pub fn items(&self) -> Option<&[Self]> {
        match &self.content {
            Content::Sequence(items) => Some(items),
            _ => None,
        }
    }

    /// The text of a string node.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match &self.content {
            Content::String(text) => Some(text),
            _ => None,
        }
    }

    /// What kind of value this is, in the words of an error message.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match &self.content {
            Content::Null => "nothing",
            Content::Bool(_) => "a boolean",
            Content::Number(number) if number.is_f64() => "a fraction",
            Content::Number(_) => "a number",
            Content::String(_) => "a text",
            Content::Sequence(_) => "a list",
            Content::Mapping(_) => "a mapping",
        }
    }

    /// A mistake at this node.
    pub fn error(&self, message: impl Into<String>) -> Diagnostic {
        Diagnostic::error(self.mark.location(), message)
    }
}

/// The entries of a mapping as a JSON object.
#[must_use]
pub fn entries_to_map(entries: &[(Key, Node)]) -> Map<String, Value> {
    entries.iter().map(|(key, node)| (key.name.clone(), node.to_value())).collect()
}
