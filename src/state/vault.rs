//! The environment's secrets: encrypted with age (<https://age-encryption.org/v1>) in the state, plain in memory only.

use std::{collections::BTreeMap, io::Write, path::Path, str::FromStr};

use age::{secrecy::ExposeSecret, x25519};

use crate::{
    error::{Context, Error, Result},
    identity::{self, Certificate, SshKey},
    secret::{Redactor, Secret},
};

/// The key that a project's secrets are encrypted with.
pub struct VaultKey(x25519::Identity);

impl VaultKey {
    /// Reads the key file of a project, or makes it. `INFRA_AGE_KEY` holds the key itself where files are unwelcome.
    ///
    /// # Errors
    /// When the file or the variable holds no age key.
    pub(super) fn load_or_create(path: &Path) -> Result<Self> {
        #[expect(clippy::disallowed_methods, reason = "the documented way to hand the key to a pipeline")]
        if let Ok(text) = std::env::var("INFRA_AGE_KEY") {
            return Self::parse(&text)
                .map_err(|error| Error::usage(format!("`INFRA_AGE_KEY` is not an age key: {error}")));
        }
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(&text).map_err(|error| {
                Error::new(format!("`{}` is not an age key: {error}", path.display()))
                    .hint("put the key back that the state was encrypted with")
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Self::create(path),
            Err(error) => Err(Error::from(error).context(format!("cannot read `{}`", path.display()))),
        }
    }

    fn parse(text: &str) -> Result<Self, &'static str> {
        let key = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'));
        x25519::Identity::from_str(key.unwrap_or_default()).map(Self)
    }

    fn create(path: &Path) -> Result<Self> {
        let identity = x25519::Identity::generate();
        let text = format!(
            "# The key to the secrets of this project's environments. Keep it; never commit it.\n{}\n",
            identity.to_string().expose_secret()
        );
        let cannot = || format!("cannot write `{}`", path.display());
        let folder = path.parent().unwrap_or(Path::new("."));
        // Two commands may make the key in the same moment: whoever links it first has made it, the other one reads it.
        let mut file = tempfile::Builder::new().prefix(".key").tempfile_in(folder).context(cannot)?;
        file.write_all(text.as_bytes()).context(cannot)?;
        file.as_file().sync_all().context(cannot)?;
        match file.persist_noclobber(path) {
            Ok(_) => Ok(Self(identity)),
            Err(error) if error.error.kind() == std::io::ErrorKind::AlreadyExists => Self::load_or_create(path),
            Err(error) => Err(Error::from(error.error).context(cannot())),
        }
    }
}

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
    pub fn open(sealed: &str, key: &VaultKey, redactor: Redactor) -> Result<Self> {
        let values: BTreeMap<String, Secret> = if sealed.is_empty() {
            BTreeMap::new()
        } else {
            let plain = age::decrypt(&key.0, sealed.as_bytes()).map_err(|error| {
                Error::new(format!("the secrets of this environment cannot be decrypted: {error}"))
                    .hint("put the key back that they were encrypted with: `.infra/key.txt`, or `INFRA_AGE_KEY`")
            })?;
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
    pub fn seal(&self, key: &VaultKey) -> Result<String> {
        let plain = serde_json::to_vec(&self.values)?;
        age::encrypt_and_armor(&key.0.to_public(), &plain)
            .map_err(|error| Error::new(format!("the secrets cannot be encrypted: {error}")))
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
        self.put(&private, key.private.clone());
        self.put(&public, Secret::new(key.public.clone()));
        Ok(key)
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
    use super::{Vault, VaultKey};
    use crate::secret::Redactor;

    #[test]
    fn secrets_are_sealed_and_opened_with_their_key_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.txt");
        let key = VaultKey::load_or_create(&path).unwrap();
        let mut vault = Vault::default();
        vault.ensure("password", || Ok("correct horse".into())).unwrap();
        vault.ssh_key("ssh", "dev").unwrap();
        let sealed = vault.seal(&key).unwrap();
        assert!(!sealed.contains("correct horse"));

        let again = VaultKey::load_or_create(&path).unwrap();
        let redactor = Redactor::default();
        let opened = Vault::open(&sealed, &again, redactor.clone()).unwrap();
        assert_eq!(opened.get("password").unwrap().expose(), "correct horse");
        assert_eq!(redactor.redact("a correct horse"), "a [secret]");

        let other = VaultKey::load_or_create(&folder.path().join("other.txt")).unwrap();
        let error = Vault::open(&sealed, &other, Redactor::default()).unwrap_err();
        assert!(!error.hints().is_empty());
    }
}
