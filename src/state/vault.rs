//! The environment's secrets: encrypted with age (<https://age-encryption.org/v1>) in the state, plain in memory only.

use std::collections::BTreeMap;

use super::key::Keys;
use crate::{
    error::{Context, Result},
    identity::{self, Certificate, SshKey},
    secret::{Redactor, Secret},
};

/// Secrets by name, and the redactor that knows them all.
#[derive(Clone, Debug, Default)]
pub struct Vault {
    values: BTreeMap<String, Secret>,
    redactor: Redactor,
}

impl Vault {
    /// Decrypts the secrets of a state; an empty text is an empty vault.
    ///
    /// # Errors
    /// When the key is another one than they were encrypted with.
    pub fn open(sealed: &str, keys: &Keys, redactor: Redactor) -> Result<Self> {
        let values: BTreeMap<String, Secret> = if sealed.is_empty() {
            BTreeMap::new()
        } else {
            let plain = keys.decrypt(sealed, "what this environment keeps secret")?;
            serde_json::from_slice(&plain).context(|| "the decrypted secrets cannot be read")?
        };
        for (name, value) in &values {
            if is_confidential(name) {
                redactor.learn(value.expose());
            }
        }
        Ok(Self { values, redactor })
    }

    /// Encrypts the secrets for the state.
    ///
    /// # Errors
    /// When the machine has no random numbers.
    pub fn seal(&self, keys: &Keys) -> Result<String> {
        keys.encrypt(&serde_json::to_vec(&self.values)?)
    }

    /// A secret by name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Secret> {
        self.values.get(name)
    }

    /// Keeps a secret.
    pub fn put(&mut self, name: &str, value: Secret) {
        if is_confidential(name) {
            self.redactor.learn(value.expose());
        }
        self.values.insert(name.to_owned(), value);
    }

    /// Gives everything below a name another one.
    pub fn rename(&mut self, from: &str, to: &str) {
        let below = |name: &str| name.strip_prefix(from).filter(|rest| rest.starts_with('/')).map(str::to_owned);
        let found: Vec<(String, String)> =
            self.values.keys().filter_map(|name| Some((name.clone(), below(name)?))).collect();
        for (name, rest) in found {
            if let Some(value) = self.values.remove(&name) {
                self.values.insert(format!("{to}{rest}"), value);
            }
        }
    }

    /// A secret by name, generated on first use.
    ///
    /// # Errors
    /// When it cannot be generated.
    pub fn ensure(&mut self, name: &str, generate: impl FnOnce() -> Result<String>) -> Result<Secret> {
        if let Some(value) = self.values.get(name) {
            return Ok(value.clone());
        }
        let value = Secret::new(generate()?);
        self.put(name, value.clone());
        Ok(value)
    }

    /// The SSH key pair of this name, generated on first use.
    ///
    /// # Errors
    /// When it cannot be generated.
    pub fn ssh_key(&mut self, name: &str, comment: &str) -> Result<SshKey> {
        let (private, public) = (format!("{name}/private"), format!("{name}/public"));
        if let (Some(private), Some(public)) = (self.get(&private), self.get(&public)) {
            return Ok(SshKey { private: private.clone(), public: public.expose().to_owned() });
        }
        let key = identity::ssh_key(comment)?;
        self.keep_ssh_key(name, &key);
        Ok(key)
    }

    /// Whether it holds an SSH key pair of this name.
    #[must_use]
    pub fn has_ssh_key(&self, name: &str) -> bool {
        self.get(&format!("{name}/public")).is_some()
    }

    /// Keeps an SSH key pair under this name.
    pub fn keep_ssh_key(&mut self, name: &str, key: &SshKey) {
        self.put(&format!("{name}/private"), key.private.clone());
        self.put(&format!("{name}/public"), Secret::new(key.public.clone()));
    }

    /// The certificate of this name, made on first use and whenever `subject` (what it is for) has changed.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn certificate(
        &mut self, name: &str, subject: &str, make: impl FnOnce() -> Result<Certificate>,
    ) -> Result<Certificate> {
        let field = |field: &str| format!("{name}/{field}");
        let same = self.get(&field("subject")).is_some_and(|known| known.expose() == subject);
        if let (true, Some(certificate), Some(key)) = (same, self.get(&field("certificate")), self.get(&field("key"))) {
            return Ok(Certificate { certificate: certificate.expose().to_owned(), key: key.clone() });
        }
        let made = make()?;
        self.put(&field("certificate"), Secret::new(made.certificate.clone()));
        self.put(&field("key"), made.key.clone());
        self.put(&field("subject"), Secret::new(subject));
        Ok(made)
    }

    /// Whether two vaults hold the same secrets.
    #[must_use]
    pub fn same_as(&self, other: &Self) -> bool {
        self.values == other.values
    }

    /// The redactor that knows every secret of this vault.
    #[must_use]
    pub fn redactor(&self) -> &Redactor {
        &self.redactor
    }
}

/// Public keys and certificates are kept beside their secrets, and may be printed.
fn is_confidential(name: &str) -> bool {
    !["/public", "/certificate", "/subject"].iter().any(|end| name.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::{Keys, Vault};
    use crate::secret::Redactor;

    #[test]
    fn secrets_are_sealed_and_opened_with_their_key_only() {
        let folder = tempfile::tempdir().unwrap();
        let keys = Keys::of_project(folder.path());
        let mut vault = Vault::default();
        vault.ensure("password", || Ok("correct horse".into())).unwrap();
        vault.ssh_key("ssh", "dev").unwrap();
        let sealed = vault.seal(&keys).unwrap();
        assert!(!sealed.contains("correct horse"));

        let redactor = Redactor::default();
        let opened = Vault::open(&sealed, &Keys::of_project(folder.path()), redactor.clone()).unwrap();
        assert_eq!(opened.get("password").unwrap().expose(), "correct horse");
        assert_eq!(redactor.redact("a correct horse"), "a [secret]");
        let other = tempfile::tempdir().unwrap();
        let error = Vault::open(&sealed, &Keys::of_project(other.path()), Redactor::default()).unwrap_err();
        assert!(!error.hints().is_empty());
    }
}
