//! Files that come over the network: `uri` and `get_url` write them as `copy` would.

use super::{
    FileCopy, Flag, Operation, Text,
    attributes::{Attributes, Mode},
    declaration::arguments,
    file::with_attributes,
};

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
