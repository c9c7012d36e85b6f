//! What we are about to make: it is in the state before the call, and gone from it when the object is. Earlier versions kept a
//! journal beside the state: one JSON object a line.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::State;
use crate::resource::Address;

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

/// The journal of earlier versions.
const JOURNAL: &str = "journal.jsonl";

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Creating { address: Address, intent: Intent },
    Deleting { address: Address },
    Done { address: Address },
}

/// Takes over what the journal of an earlier version says. A line that a crash cut off is passed by: its call had not begun.
pub(super) fn of_earlier_versions(folder: &Path, state: &mut State) {
    let Ok(text) = std::fs::read_to_string(folder.join(JOURNAL)) else { return };
    for line in text.lines() {
        match serde_json::from_str(line) {
            Ok(Line::Creating { address, intent }) => drop(state.pending.insert(address, intent)),
            Ok(Line::Done { address } | Line::Deleting { address }) => drop(state.pending.remove(&address)),
            Err(_) => {}
        }
    }
}

/// Removes that journal: the state says it all.
pub(super) fn forget_earlier_versions(folder: &Path) {
    // What is left of it is taken over once more, which changes nothing.
    let _ = std::fs::remove_file(folder.join(JOURNAL));
}
