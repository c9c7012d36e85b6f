//! What of a specification is confidential, as user-data and Compose files are: encrypted in the document of a state, and plain
//! in memory only.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

use serde_json::{Map, Value, json};

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
pub(super) struct Sealer(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    /// What was encrypted, by what it is in clear.
    sealed: BTreeMap<String, String>,
    /// What was decrypted, so that it was encrypted for us.
    opened: BTreeSet<String>,
}

impl Sealer {
    /// Encrypts what is confidential. What was encrypted before keeps its bytes, so that a state that did not change is the same
    /// text again. Where these keys do not decrypt the secrets of the document, what an earlier version wrote in clear stays so:
    /// encrypted with another key, those who have the right one could not read it any more.
    pub(super) fn seal(&self, document: &mut Value, keys: &Keys) -> Result<()> {
        let secrets = document.get("secrets").and_then(Value::as_str).unwrap_or_default().to_owned();
        let mut are_right = None;
        each(document, &mut |value| {
            let Some(plain) = value.as_str() else { return Ok(()) };
            let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let sealed = match known.sealed.get(plain) {
                Some(sealed) => sealed.clone(),
                None => {
                    let check = || secrets.is_empty() || keys.decrypt(&secrets, "the state").is_ok();
                    if !known.opened.contains(plain) && !*are_right.get_or_insert_with(check) {
                        return Ok(());
                    }
                    let sealed = keys.encrypt(plain.as_bytes())?;
                    known.sealed.insert(plain.to_owned(), sealed.clone());
                    sealed
                }
            };
            *value = json!({ SEALED: sealed });
            Ok(())
        })
    }

    /// Decrypts what is confidential; whether something of it was not encrypted, as earlier versions wrote it. Without the key it
    /// stays as it is: lists and removals need nothing of it, and plans refuse it.
    pub(super) fn open(&self, document: &mut Value, keys: &Keys, place: &str) -> Result<bool> {
        let mut plain = false;
        each(document, &mut |value| {
            plain |= value.is_string();
            if let Some(sealed) = value.get(SEALED).and_then(Value::as_str)
                && let Ok(text) = keys.decrypt(sealed, &format!("the state `{place}`"))
            {
                let text = String::from_utf8_lossy(&text).into_owned();
                self.0.lock().unwrap_or_else(PoisonError::into_inner).opened.insert(text.clone());
                *value = text.into();
            }
            Ok(())
        })?;
        Ok(plain)
    }
}

/// Whether something of a specification is still encrypted.
pub(super) fn is_sealed(address: &Address, spec: &Map<String, Value>) -> bool {
    let mut is_sealed = false;
    let looked: Result<()> = each_confidential(address.kind, &mut spec.clone(), |value| {
        is_sealed |= value.get(SEALED).is_some();
        Ok(())
    });
    looked.is_err() || is_sealed
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

    use super::{Sealer, is_sealed};
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
        assert!(!sealer.open(&mut document, &keys, "here").unwrap());
        assert_eq!(document, plain);
        assert!(sealer.open(&mut document, &keys, "here").unwrap(), "a document of an earlier version is plain");
        let other = tempfile::tempdir().unwrap();
        let kept = again.clone();
        assert!(!Sealer::default().open(&mut again, &Keys::of_project(other.path()), "here").unwrap());
        assert_eq!(again, kept, "without the key it stays encrypted");
        let spec = |document: &serde_json::Value| document["resources"]["vm.a"]["spec"].as_object().unwrap().clone();
        let address = "vm.a".parse().unwrap();
        assert!(is_sealed(&address, &spec(&again)) && !is_sealed(&address, &spec(&plain)));
    }

    #[test]
    fn what_is_in_clear_stays_so_where_the_key_is_another_one() {
        let folder = tempfile::tempdir().unwrap();
        let keys = Keys::of_project(folder.path());
        let secrets = keys.encrypt(b"{}").unwrap();
        let legacy = json!({ "resources": { "vm.a": { "spec": { "user_data": "hunter22" } } }, "secrets": secrets });
        let other = tempfile::tempdir().unwrap();
        let mut document = legacy.clone();
        Sealer::default().seal(&mut document, &Keys::of_project(other.path())).unwrap();
        assert_eq!(document, legacy);
        assert!(!other.path().join("key.txt").exists(), "no key is made for it");
        Sealer::default().seal(&mut document, &keys).unwrap();
        assert!(!document.to_string().contains("hunter22"));
    }
}
