//! Edits of text files: what `lineinfile` and `blockinfile` share.

use serde::Deserialize;

use super::{
    Decision, Flag, Operation, Text,
    attributes::{self, Attributes, Mode, Present, Seen},
    content::NewContent,
    entry, probe_failed,
};
use crate::{
    error::{Error, Result},
    remote::{Output, quote},
};

/// Whether something shall be there.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum Presence {
    #[default]
    Present,
    Absent,
}

/// The file, and how it is written.
#[derive(Clone, Deserialize)]
pub(super) struct EditArguments {
    #[serde(alias = "dest", alias = "name", alias = "destfile")]
    path: Text,
    #[serde(default)]
    pub(super) state: Presence,
    #[serde(default)]
    create: Flag,
    #[serde(default)]
    backup: Flag,
    validate: Option<Text>,
    mode: Option<Mode>,
    owner: Option<Text>,
    group: Option<Text>,
}

impl EditArguments {
    /// The edit that a function makes of the file's text.
    pub(super) fn edit(self, edit: impl Fn(&str) -> Result<String> + Send + Sync + 'static) -> Edit {
        Edit {
            path: self.path.0,
            create: self.create.0,
            backup: self.backup.0,
            validate: self.validate.map(|text| text.0),
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
type EditText = dyn Fn(&str) -> Result<String> + Send + Sync;

/// An edit of a text file.
pub(super) struct Edit {
    path: String,
    create: bool,
    backup: bool,
    validate: Option<String>,
    attributes: Attributes,
    absent_is_fine: bool,
    edit: Box<EditText>,
}

impl Operation for Edit {
    fn probe(&self) -> Option<String> {
        let path = quote(&self.path);
        Some(format!("{}; [ -f {path} ] && cat {path} || :", attributes::probe(&self.path, true)))
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
        let after = (self.edit)(&before)?;
        let result = entry("path", self.path.as_str());
        if after == before && present.is_some() {
            let commands = self.attributes.commands(&self.path, present);
            return Ok(if commands.is_empty() { Decision::unchanged(result) } else { Decision::run(commands, result) });
        }
        let new = NewContent {
            path: &self.path,
            bytes: after.into(),
            attributes: &self.attributes,
            validate: self.validate.as_deref(),
            backup: self.backup,
        };
        Ok(Decision { changed: true, steps: new.steps(present), result, diffs: vec![new.diff()] })
    }
}
