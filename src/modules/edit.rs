//! Edits of text files: what `lineinfile` and `blockinfile` share.

use serde::Deserialize;

use super::{
    Decision, Flag, Operation, Outcome, Text,
    attributes::{self, Attributes, Mode, Present, Seen},
    conclude,
    content::{Acceptance, NewContent, Source, reported},
    declaration::{arguments, choices},
    entry,
    probe::{Links, Probe},
    probe_failed,
};
use crate::{
    error::{Error, Result},
    remote::Output,
};

/// Whether something shall be there.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum Presence {
    #[default]
    Present,
    Absent,
}

choices!(default Presence);

arguments! {
    /// The file, and how it is written.
    #[derive(Clone)]
    pub(super) struct EditArguments {
        #[serde(alias = "dest", alias = "name", alias = "destfile")]
        path: Text,
        #[serde(default)]
        pub(super) state: Presence,
        /// Whether a file that is not there is created.
        #[serde(default)]
        create: Flag,
        /// Whether the old file is kept under another name.
        #[serde(default)]
        backup: Flag,
        /// A command that must accept the new file.
        validate: Option<Acceptance>,
        mode: Option<Mode>,
        owner: Option<Text>,
        group: Option<Text>,
    }
}

impl EditArguments {
    /// The edit that a function makes of the file's text.
    pub(super) fn edit(self, edit: impl Fn(&str) -> String + Send + Sync + 'static) -> Edit {
        Edit {
            path: self.path.0,
            create: self.create.0,
            backup: self.backup.0,
            validate: self.validate,
            attributes: Attributes {
                mode: self.mode,
                owner: self.owner.map(|owner| owner.0),
                group: self.group.map(|group| group.0),
            },
            absent_is_fine: self.state == Presence::Absent,
            edit: Box::new(edit),
        }
    }
}

/// A function from a text to the text that it shall be.
type EditText = dyn Fn(&str) -> String + Send + Sync;

/// An edit of a text file.
pub(super) struct Edit {
    path: String,
    create: bool,
    backup: bool,
    validate: Option<Acceptance>,
    attributes: Attributes,
    absent_is_fine: bool,
    edit: Box<EditText>,
}

impl Operation for Edit {
    fn probe(&self) -> Option<Probe> {
        Some(Probe::all([Probe::path(&self.path, Links::Followed), Probe::content(&self.path)]))
    }

    fn decide(&self, seen: &Output) -> Result<Decision> {
        let end = seen.stdout.iter().position(|byte| *byte == b'\n').ok_or_else(|| probe_failed(seen))?;
        let state = attributes::parse(&String::from_utf8_lossy(&seen.stdout[..end]))?;
        let before = String::from_utf8(seen.stdout[end + 1..].to_vec())
            .map_err(|_| Error::new(format!("`{}` is not UTF-8 text", self.path)))?;
        let present: Option<&Present> = match &state {
            Seen::Present(present) if present.is_folder() => {
                return Err(Error::new(format!("`{}` is a folder", self.path)));
            }
            Seen::Present(present) => Some(present),
            Seen::Absent if self.absent_is_fine => return Ok(Decision::unchanged(entry("path", self.path.as_str()))),
            Seen::Absent if !self.create => {
                return Err(Error::new(format!("`{}` does not exist; `create: true` makes it", self.path)));
            }
            Seen::Absent => None,
        };
        let after = (self.edit)(&before);
        let mut result = entry("path", self.path.as_str());
        if let Some(present) = present {
            attributes::describe(present, &mut result);
        }
        if after == before
            && let Some(present) = present
        {
            let change = self.attributes.change(&self.path, true, present);
            return Ok(match change {
                Some(script) => Decision::run([script], result),
                None => Decision::unchanged(result),
            });
        }
        let bytes = after.into();
        let new = NewContent {
            path: &self.path,
            source: Source::Bytes(&bytes),
            attributes: &self.attributes,
            validate: self.validate.as_ref(),
            backup: self.backup,
            follow: true,
        };
        Ok(Decision { changed: true, steps: vec![new.step(present)], result, diffs: vec![new.diff()] })
    }

    fn conclude(&self, decision: Decision, outputs: &[Output]) -> Outcome {
        let mut outcome = conclude(decision, outputs);
        reported(&mut outcome, outputs);
        outcome
    }
}

/// How the lines of a text end: as the first one does.
pub(super) fn ending(text: &str) -> &'static str {
    match text.split_inclusive('\n').next() {
        Some(line) if line.ends_with("\r\n") => "\r\n",
        _ => "\n",
    }
}

/// The lines of a text with their ends; the last one gets an end where it has none.
pub(super) fn lines(text: &str) -> Vec<String> {
    let end = ending(text);
    text.split_inclusive('\n')
        .map(|line| if line.ends_with('\n') { line.to_owned() } else { format!("{line}{end}") })
        .collect()
}

/// A line without its end.
pub(super) fn bare(line: &str) -> &str {
    let line = line.strip_suffix('\n').unwrap_or(line);
    line.strip_suffix('\r').unwrap_or(line)
}

/// Lines as a text; one that is the text before but for the end of its last line is the text before.
pub(super) fn join(lines: &[String], before: &str) -> String {
    let after = lines.concat();
    if lines.last().is_some_and(|last| after.strip_suffix(&last[bare(last).len()..]) == Some(before)) {
        before.to_owned()
    } else {
        after
    }
}
