//! What of a specification is confidential, as user-data and Compose files are: encrypted in the document of a state, and plain
//! in memory only.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use serde_json::{Value, json};

use super::key::Keys;
use crate::{
    error::Result,
    resource::{Address, each_confidential},
};

/// The sections of a document whose entries have a specification.
const SECTIONS: [&str; 2] = ["resources", "pending"];
/// The field of an encrypted value.
const SEALED: &str = "sealed";

/// Encrypts and decrypts the confidential fields of a state's document.
#[derive(Clone, Debug, Default)]
pub(super) struct Sealer(Arc<Mutex<BTreeMap<String, String>>>);

impl Sealer {
    /// Encrypts what is confidential. What was encrypted before keeps its bytes, so that a state that did not change is the same
    /// text again.
    pub(super) fn seal(&self, document: &mut Value, keys: &Keys) -> Result<()> {
        each(document, &mut |value| {
            let Some(plain) = value.as_str() else { return Ok(()) };
            let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let sealed = match known.get(plain) {
                Some(sealed) => sealed.clone(),
                None => {
                    let sealed = keys.encrypt(plain.as_bytes())?;
                    known.insert(plain.to_owned(), sealed.clone());
                    sealed
                }
            };
            *value = json!({ SEALED: sealed });
            Ok(())
        })
    }
}

/// Decrypts what is confidential; whether something of it was not encrypted, as earlier versions wrote it. Without the key it
/// stays as it is: lists and removals need nothing of it, and whoever plans needs the key for the secrets too.
pub(super) fn open(document: &mut Value, keys: &Keys, place: &str) -> Result<bool> {
    let mut plain = false;
    each(document, &mut |value| {
        plain |= value.is_string();
        if let Some(sealed) = value.get(SEALED).and_then(Value::as_str)
            && let Ok(text) = keys.decrypt(sealed, &format!("the state `{place}`"))
        {
            *value = String::from_utf8_lossy(&text).into_owned().into();
        }
        Ok(())
    })?;
    Ok(plain)
}

/// The confidential values of all entries of a document.
fn each(document: &mut Value, work: &mut impl FnMut(&mut Value) -> Result<()>) -> Result<()> {
    for section in SECTIONS {
        let entries = document.get_mut(section).and_then(Value::as_object_mut);
        for (address, entry) in entries.into_iter().flatten() {
            let Ok(address) = address.parse::<Address>() else { continue };
            if let Some(spec) = entry.get_mut("spec").and_then(Value::as_object_mut) {
                each_confidential(address.kind, spec, &mut *work)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Sealer, open};
    use crate::state::Keys;

    #[test]
    fn user_data_and_compose_files_are_encrypted_in_a_document() {
        let folder = tempfile::tempdir().unwrap();
        let keys = Keys::of_project(folder.path());
        let mut document = json!({
            "resources": {
                "vm.a": { "spec": { "cores": 2, "user_data": "#!/bin/sh\ntoken=hunter22\n" } },
                "instance_group.g": { "spec": { "machine": { "compose": "services: {x: hunter22}" } } },
                "subnet.s": { "spec": { "user_data": "of another kind" } },
            },
            "pending": { "vm.b": { "spec": { "user_data": "#!/bin/sh\ntoken=hunter22\n" } } },
        });
        let plain = document.clone();
        let sealer = Sealer::default();
        sealer.seal(&mut document, &keys).unwrap();
        let text = document.to_string();
        assert!(!text.contains("hunter22") && text.contains("of another kind"), "{text}");
        let mut again = plain.clone();
        sealer.seal(&mut again, &keys).unwrap();
        assert_eq!(again, document, "the same state is the same text");
        assert!(!open(&mut document, &keys, "here").unwrap());
        assert_eq!(document, plain);
        assert!(open(&mut document, &keys, "here").unwrap(), "a document of an earlier version is plain");
        let other = tempfile::tempdir().unwrap();
        let kept = again.clone();
        assert!(!open(&mut again, &Keys::of_project(other.path()), "here").unwrap());
        assert_eq!(again, kept, "without the key it stays encrypted");
    }
}
