//! Files that come over the network: `uri` and `get_url` write them as `copy` would.

use super::{
    FileCopy, Flag, Operation, Text,
    attributes::{Attributes, Mode},
    declaration::arguments,
    file::with_attributes,
};
use crate::error::{Error, Result};

arguments! {
    /// Who may use a file that is fetched, and whether the one before is kept.
    #[derive(Clone, Debug)]
    pub struct FetchedFile {
        mode: Option<Mode>,
        owner: Option<Text>,
        group: Option<Text>,
        #[serde(default)]
        backup: Flag,
    }
}

impl FetchedFile {
    /// Refuses what only a source on this machine can have.
    ///
    /// # Errors
    /// When the mode is that of the source.
    pub fn check(&self) -> Result<()> {
        match self.mode {
            Some(Mode::Preserve) => Err(Error::usage("`mode: preserve` is for `copy` and `template`")),
            _ => Ok(()),
        }
    }

    /// How it is written.
    #[must_use]
    pub fn copy(&self) -> FileCopy {
        let Self { mode, owner, group, backup } = self.clone();
        FileCopy::with(mode, owner, group, backup)
    }

    /// What is changed of a file that is there already; nothing where nothing is asked for.
    #[must_use]
    pub fn change(&self, path: &str) -> Option<Box<dyn Operation>> {
        let attributes = self.copy().attributes();
        (attributes != Attributes::default()).then(|| with_attributes(path, attributes))
    }
}
