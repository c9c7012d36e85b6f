//! Which passwords the logins of managed databases have, as far as this environment has set them: kept with the secrets, so that a
//! password that was saved and did not reach the database is set by the next apply.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};

use super::Vault;
use crate::{encoding, secret::Secret};

/// The vault's name for a secret of the environment file.
#[must_use]
pub fn secret_name(name: &str) -> String {
    format!("secret/{name}")
}

impl Vault {
    /// The logins of a database (login -> secret) whose password is not known to be that of the secret.
    #[must_use]
    pub fn unset_passwords(&self, id: &str, users: &BTreeMap<String, String>) -> BTreeSet<String> {
        let is_set = |login: &str, secret: &str| {
            let set = self.get(&entry(id, login)).map(Secret::expose);
            set.is_some() && set == self.digest(secret).as_deref()
        };
        users.iter().filter(|(login, secret)| !is_set(login, secret)).map(|(login, _)| login.clone()).collect()
    }

    /// The logins of a database that are known to have another password than that of their secret.
    #[must_use]
    pub fn outdated_passwords(&self, id: &str, users: &BTreeMap<String, String>) -> BTreeSet<String> {
        let mut unset = self.unset_passwords(id, users);
        // What an earlier version has set is not known, and mostly right.
        unset.retain(|login| self.get(&entry(id, login)).is_some());
        unset
    }

    /// Notes that all logins of a database have the passwords of their secrets now.
    pub fn passwords_are_set(&mut self, id: &str, users: &BTreeMap<String, String>) {
        self.forget_passwords(id);
        for (login, secret) in users {
            if let Some(digest) = self.digest(secret) {
                self.put(&entry(id, login), Secret::new(digest));
            }
        }
    }

    /// Forgets the logins of a database that is gone.
    pub fn forget_passwords(&mut self, id: &str) {
        self.forget(&format!("password/{id}"));
    }

    fn digest(&self, secret: &str) -> Option<String> {
        let value = self.get(&secret_name(secret))?;
        Some(encoding::hex(&Sha256::digest(value.expose())))
    }
}

fn entry(id: &str, login: &str) -> String {
    format!("password/{id}/{login}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{super::Vault, secret_name};
    use crate::secret::Secret;

    #[test]
    fn a_password_that_was_not_set_is_known() {
        let (mut vault, id) = (Vault::default(), "cluster-1");
        let users = BTreeMap::from([("app".to_owned(), "app_password".to_owned())]);
        vault.put(&secret_name("app_password"), Secret::new("first".to_owned()));
        assert_eq!((vault.unset_passwords(id, &users).len(), vault.outdated_passwords(id, &users).len()), (1, 0));
        vault.passwords_are_set(id, &users);
        assert!(vault.unset_passwords(id, &users).is_empty());
        vault.put(&secret_name("app_password"), Secret::new("second".to_owned()));
        assert_eq!((vault.unset_passwords(id, &users).len(), vault.outdated_passwords(id, &users).len()), (1, 1));
        vault.forget_passwords(id);
        assert!(vault.outdated_passwords(id, &users).is_empty());
    }
}
