//! The intent journal: what we are about to make is on disk before the call, and what came of it right after.
//!
//! One JSON object a line. A line that a crash cut off is ignored: its call had not begun.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io::Write,
    path::PathBuf,
};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    error::{Context, Result},
    resource::Address,
};

/// What we are about to make.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Intent {
    /// The client token of the call.
    pub token: String,
    /// The specification of the object.
    pub spec: Map<String, Value>,
    /// What it needs.
    pub needs: Vec<Address>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Creating { address: Address, intent: Intent },
    Deleting { address: Address, id: String },
    Done { address: Address },
}

/// An open journal.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    pending: BTreeMap<Address, Intent>,
}

impl Journal {
    pub(super) fn open(path: PathBuf) -> Result<Self> {
        let cannot = || format!("cannot open the journal `{}`", path.display());
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let mut pending = BTreeMap::new();
        for line in text.lines() {
            match serde_json::from_str(line) {
                Ok(Line::Creating { address, intent }) => drop(pending.insert(address, intent)),
                Ok(Line::Done { address } | Line::Deleting { address, .. }) => drop(pending.remove(&address)),
                Err(_) => {}
            }
        }
        let mut file = OpenOptions::new().create(true).append(true).open(&path).context(cannot)?;
        if !text.is_empty() && !text.ends_with('\n') {
            file.write_all(b"\n").context(cannot)?;
        }
        Ok(Self { path, file, pending })
    }

    /// Intents of an earlier run of which we do not know what came.
    #[must_use]
    pub fn pending(&self) -> &BTreeMap<Address, Intent> {
        &self.pending
    }

    /// Notes what is about to be made.
    ///
    /// # Errors
    /// When the disk is full; the call must not be made then.
    pub fn creating(&mut self, address: &Address, intent: &Intent) -> Result<()> {
        self.append(&Line::Creating { address: address.clone(), intent: intent.clone() })?;
        self.pending.insert(address.clone(), intent.clone());
        Ok(())
    }

    /// Notes what is about to be removed.
    ///
    /// # Errors
    /// When the disk is full.
    pub fn deleting(&mut self, address: &Address, id: &str) -> Result<()> {
        self.append(&Line::Deleting { address: address.clone(), id: id.to_owned() })
    }

    /// Notes that the state knows what came of it.
    ///
    /// # Errors
    /// When the disk is full.
    pub fn done(&mut self, address: &Address) -> Result<()> {
        self.append(&Line::Done { address: address.clone() })?;
        self.pending.remove(address);
        Ok(())
    }

    /// Empties the journal when nothing is pending: the state says everything.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn compact(&mut self) -> Result<()> {
        if self.pending.is_empty() {
            self.file.set_len(0).context(|| format!("cannot empty the journal `{}`", self.path.display()))?;
        }
        Ok(())
    }

    fn append(&mut self, line: &Line) -> Result<()> {
        let mut text = serde_json::to_string(line)?;
        text.push('\n');
        let cannot = || format!("cannot write the journal `{}`; the call was not made", self.path.display());
        self.file.write_all(text.as_bytes()).context(cannot)?;
        self.file.sync_data().context(cannot)
    }
}

#[cfg(test)]
mod tests {
    use super::{Intent, Journal};

    #[test]
    fn what_was_begun_and_not_ended_is_pending() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.jsonl");
        let intent = |token: &str| Intent { token: token.into(), spec: serde_json::Map::new(), needs: Vec::new() };
        let (a, b) = ("vm.a".parse().unwrap(), "vm.b".parse().unwrap());
        let mut journal = Journal::open(path.clone()).unwrap();
        journal.creating(&a, &intent("1")).unwrap();
        journal.creating(&b, &intent("2")).unwrap();
        journal.done(&a).unwrap();
        drop(journal);
        // A line that was cut off does not count, and the next one starts on a line of its own.
        let mut text = std::fs::read_to_string(&path).unwrap();
        text.push_str("{\"done\":{\"addr");
        std::fs::write(&path, text).unwrap();
        let mut journal = Journal::open(path.clone()).unwrap();
        assert_eq!(journal.pending().keys().collect::<Vec<_>>(), [&b]);
        journal.done(&b).unwrap();
        let mut journal = Journal::open(path.clone()).unwrap();
        assert!(journal.pending().is_empty());
        journal.compact().unwrap();
        assert_eq!(std::fs::metadata(path).unwrap().len(), 0);
    }
}
