//! The environment's secrets: encrypted with age (<https://age-encryption.org/v1>) in the state, plain in memory only.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::key::Keys;
use crate::{
    error::{Context, Result},
    identity::{self, Certificate, SshKey},
    secret::{Redactor, Secret},
};

/// Secrets by name, and the redactor that knows them all.
#[derive(Clone, Debug, Default)]
pub struct Vault {
    values: BTreeMap<String, Kept>,
    redactor: Redactor,
}

/// What a vault keeps under a name. Who keeps it says which kind it is; its name says nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
enum Kept {
    /// It is never printed.
    Confidential(Secret),
    /// What is kept beside a secret and may be printed: a public key, a certificate.
    Public { public: Secret },
}

impl Kept {
    fn value(&self) -> &Secret {
        match self {
            Self::Confidential(value) | Self::Public { public: value } => value,
        }
    }
}

/// Earlier versions kept the kind in the name, for what they made themselves: a secret of the user's is confidential whatever
/// its name is.
fn was_public(name: &str) -> bool {
    let (owner, field) = name.rsplit_once('/').unwrap_or_default();
    match field {
        "public" => owner == "ssh" || owner.starts_with("host/"),
        "certificate" | "subject" => owner == "ca" || owner.starts_with("front/"),
        _ => false,
    }
}

impl Vault {
    /// Decrypts the secrets of a state; an empty text is an empty vault.
    ///
    /// # Errors
    /// When the key is another one than they were encrypted with.
    pub fn open(sealed: &str, keys: &Keys, redactor: Redactor) -> Result<Self> {
        let mut values: BTreeMap<String, Kept> = if sealed.is_empty() {
            BTreeMap::new()
        } else {
            let plain = keys
                .decrypt(sealed, "what this environment keeps secret")
                .map_err(|error| error.hint("when the key is lost for good, `infra destroy` works without it"))?;
            serde_json::from_slice(&plain).context(|| "the decrypted secrets cannot be read")?
        };
        for (name, kept) in &mut values {
            if let Kept::Confidential(value) = kept {
                if was_public(name) {
                    *kept = Kept::Public { public: value.clone() };
                } else {
                    redactor.learn(value.expose());
                }
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
        self.values.get(name).map(Kept::value)
    }

    /// Keeps a secret.
    pub fn put(&mut self, name: &str, value: Secret) {
        self.redactor.learn(value.expose());
        self.values.insert(name.to_owned(), Kept::Confidential(value));
    }

    /// Keeps what may be printed beside the secret that it belongs to.
    pub fn put_public(&mut self, name: &str, value: &str) {
        self.values.insert(name.to_owned(), Kept::Public { public: Secret::new(value) });
    }

    /// Forgets a secret, and everything below its name.
    pub fn forget(&mut self, name: &str) {
        let below = |known: &str| known.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        self.values.retain(|known, _| !below(known));
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
        if let Some(value) = self.get(name) {
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
        self.put_public(&format!("{name}/public"), &key.public);
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
        self.put_public(&field("certificate"), &made.certificate);
        self.put(&field("key"), made.key.clone());
        self.put_public(&field("subject"), subject);
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

#[cfg(test)]
mod tests {
    use super::{Keys, Vault};
    use crate::secret::{Redactor, Secret};

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

    #[test]
    fn what_is_confidential_does_not_depend_on_its_name() {
        let redactor = Redactor::default();
        let mut vault =
            Vault::open("", &Keys::of_project(tempfile::tempdir().unwrap().path()), redactor.clone()).unwrap();
        for (name, value) in [
            ("secret/certificate", "a-secret-certificate"),
            ("secret/public", "a-secret-public"),
            ("secret/subject", "a-secret-subject"),
            ("secret/host/public", "a-secret-below"),
        ] {
            vault.put(name, Secret::new(value));
            assert_eq!(redactor.redact(value), "[secret]", "{name}");
        }
        let key = vault.ssh_key("host/a", "a").unwrap();
        assert_eq!(redactor.redact(&key.public), key.public);
        vault.forget("host/a");
        assert!(!vault.has_ssh_key("host/a") && vault.get("secret/public").is_some());
    }

    #[test]
    fn a_vault_of_an_earlier_version_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let keys = Keys::of_project(folder.path());
        let old = serde_json::json!({
            "ssh/private": "PRIVATE-KEY", "ssh/public": "ssh-ed25519 AAAA", "host/a/public": "ssh-ed25519 BBBB",
            "ca/certificate": "CERTIFICATE", "front/main/subject": "localhost 2026", "secret/certificate": "user-secret",
        });
        let sealed = keys.encrypt(old.to_string().as_bytes()).unwrap();
        let redactor = Redactor::default();
        let vault = Vault::open(&sealed, &keys, redactor.clone()).unwrap();
        assert_eq!(vault.get("ssh/public").unwrap().expose(), "ssh-ed25519 AAAA");
        for public in ["ssh-ed25519 AAAA", "ssh-ed25519 BBBB", "CERTIFICATE", "localhost 2026"] {
            assert_eq!(redactor.redact(public), public);
        }
        assert_eq!(redactor.redact("PRIVATE-KEY user-secret"), "[secret] [secret]");
        let again = Vault::open(&vault.seal(&keys).unwrap(), &keys, Redactor::default()).unwrap();
        assert!(again.same_as(&vault));
    }
}
