//! The keys that secrets are encrypted with (age, <https://age-encryption.org/v1>): from the variable `INFRA_AGE_KEY`, from a
//! file that the environment names, or from `.infra/key.txt` of the project, which is made on first use.
//!
//! A file may hold several keys: the first one encrypts, all of them decrypt, so that a key can be replaced without a moment in
//! which nothing can be read. Replaced keys of the project's own file are kept beside it, in `key.txt.old`, and decrypt too. An SSH key of the kind Ed25519 serves too: as an X25519 key, by the same conversion as that of
//! ssh-to-age (<https://github.com/Mic92/ssh-to-age>), so that age itself opens what was encrypted with it.

use std::{
    io::{Read, Write},
    path::{Path, PathBuf},
    str::FromStr,
};

use age::{
    Decryptor, Encryptor, Recipient,
    armor::{ArmoredReader, ArmoredWriter, Format},
    secrecy::ExposeSecret,
    x25519::{self, Identity},
};
use bech32::{ToBase32, Variant};
use russh::keys::ssh_key::{PrivateKey, private::KeypairData};
use sha2::{Digest, Sha512};

use super::local::prepare;
use crate::{
    config::{Environment, StateSettings},
    error::{Context, Error, Result},
};

/// Where keys come from.
#[derive(Clone, Debug)]
pub struct Keys {
    root: PathBuf,
    file: Option<PathBuf>,
    recipients: Vec<String>,
    /// Whether what is encrypted is kept elsewhere than on this machine.
    shared: bool,
}

/// Whether the program runs in a pipeline, whose machine and checkout go with it.
#[must_use]
pub fn is_pipeline() -> bool {
    #[expect(clippy::disallowed_methods, reason = "what pipelines set to say that they are one")]
    let says = std::env::var("CI");
    says.is_ok_and(|value| !matches!(value.as_str(), "" | "false" | "0"))
}

impl Keys {
    pub(super) fn new(root: &Path, settings: &StateSettings) -> Self {
        Self {
            root: root.to_owned(),
            file: settings.key_file.clone(),
            recipients: settings.recipients.clone(),
            shared: settings.is_shared(),
        }
    }

    /// The keys of an environment.
    #[must_use]
    pub fn of(environment: &Environment) -> Self {
        Self::new(&environment.project.join(".infra"), &environment.state)
    }

    /// The keys of a project without settings of its own.
    #[must_use]
    pub fn of_project(project: &Path) -> Self {
        Self::new(&project.join(".infra"), &StateSettings::default())
    }

    /// The project's own key file.
    #[must_use]
    pub fn own_file(&self) -> PathBuf {
        self.root.join("key.txt")
    }

    /// The keys that were replaced by those of the own file.
    #[must_use]
    pub fn old_file(&self) -> PathBuf {
        self.root.join("key.txt.old")
    }

    /// The keys that there are, and where they were found.
    fn identities(&self) -> Result<(Vec<Identity>, String)> {
        #[expect(clippy::disallowed_methods, reason = "the documented way to hand the key to a pipeline")]
        if let Ok(text) = std::env::var("INFRA_AGE_KEY") {
            let keys = parse(&text).map_err(|error| Error::usage(format!("`INFRA_AGE_KEY` is not a key: {error}")))?;
            return Ok((keys, "`INFRA_AGE_KEY`".to_owned()));
        }
        let path = self.file.clone().unwrap_or_else(|| self.own_file());
        let name = format!("`{}`", path.display());
        match std::fs::read_to_string(&path) {
            Ok(text) => {
                let keys = parse(&text).map_err(|error| {
                    Error::new(format!("{name} is not a key: {error}"))
                        .hint("put the key back that the state was encrypted with")
                })?;
                Ok((keys, name))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok((Vec::new(), name)),
            Err(error) => Err(Error::from(error).context(format!("cannot read the key {name}"))),
        }
    }

    /// The keys that were replaced.
    fn replaced(&self) -> Result<Vec<Identity>> {
        let path = self.old_file();
        match std::fs::read_to_string(&path) {
            Ok(text) => parse(&text).map_err(|error| Error::new(format!("`{}` is not a key: {error}", path.display()))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(Error::from(error).context(format!("cannot read `{}`", path.display()))),
        }
    }

    /// What is wrong with the settings, by the names of their keys in the section `state`: found before anything has to be
    /// encrypted.
    #[must_use]
    pub fn mistakes(&self) -> Vec<(String, Error)> {
        let mut found = Vec::new();
        if self.file.is_some() {
            match self.identities() {
                Ok((keys, place)) if keys.is_empty() => found.push(("key_file".to_owned(), no_key(&place))),
                Ok(_) => {}
                Err(error) => found.push(("key_file".to_owned(), error)),
            }
        }
        for (at, text) in self.recipients.iter().enumerate() {
            found.extend(recipient(text).err().map(|error| (format!("recipients[{at}]"), error)));
        }
        found
    }

    /// Decrypts what was encrypted with one of the keys.
    ///
    /// # Errors
    /// When there is no key, or another one; `what` is named.
    pub fn decrypt(&self, sealed: &str, what: &str) -> Result<Vec<u8>> {
        let (mut identities, place) = self.identities()?;
        identities.extend(self.replaced()?);
        let hint = "put the key back that it was encrypted with: `.infra/key.txt` of the project that made it, the file that \
                    `state: {key_file: ...}` names, or the variable `INFRA_AGE_KEY`";
        if identities.is_empty() {
            return Err(Error::new(format!("{what} is encrypted, and there is no key in {place}")).hint(hint));
        }
        let attempt = || -> Result<Vec<u8>, String> {
            let decryptor = Decryptor::new(ArmoredReader::new(sealed.as_bytes())).map_err(|error| error.to_string())?;
            let identities = identities.iter().map(|identity| identity as &dyn age::Identity);
            let mut reader = decryptor.decrypt(identities).map_err(|error| error.to_string())?;
            let mut plain = Vec::new();
            reader.read_to_end(&mut plain).map_err(|error| error.to_string())?;
            Ok(plain)
        };
        attempt().map_err(|error| {
            Error::new(format!("{what} cannot be decrypted with the key in {place}: {error}")).hint(hint)
        })
    }

    /// Encrypts for the first key, and for those who are named beside it.
    ///
    /// # Errors
    /// When a key cannot be read, or a first one cannot be made.
    pub fn encrypt(&self, plain: &[u8]) -> Result<String> {
        let (identities, place) = self.identities()?;
        let own = match identities.into_iter().next() {
            Some(identity) => identity.to_public(),
            None if self.file.is_some() => {
                return Err(no_key(&place));
            }
            None => self.create()?.to_public(),
        };
        let others = self.recipients.iter().map(|text| recipient(text));
        let mut recipients = vec![own];
        recipients.extend(others.collect::<Result<Vec<_>>>()?);
        let wrong = |error: String| Error::new(format!("the secrets cannot be encrypted: {error}"));
        let recipients = recipients.iter().map(|recipient| recipient as &dyn Recipient);
        let encryptor = Encryptor::with_recipients(recipients).map_err(|error| wrong(error.to_string()))?;
        let attempt = || -> std::io::Result<Vec<u8>> {
            let armor = ArmoredWriter::wrap_output(Vec::new(), Format::AsciiArmor)?;
            let mut writer = encryptor.wrap_output(armor)?;
            writer.write_all(plain)?;
            writer.finish()?.finish()
        };
        let bytes = attempt().map_err(|error| wrong(error.to_string()))?;
        String::from_utf8(bytes).map_err(|error| wrong(error.to_string()))
    }

    /// Makes the project's key, unless another command makes it in the same moment.
    fn create(&self) -> Result<Identity> {
        self.refuse_to_be_lost(is_pipeline())?;
        let path = self.own_file();
        let cannot = || format!("cannot write `{}`", path.display());
        prepare(&self.root, &self.root)?;
        let identity = Identity::generate();
        let mut file = tempfile::Builder::new().prefix(".key").tempfile_in(&self.root).context(cannot)?;
        file.write_all(text(OWN, &[&identity]).as_bytes()).context(cannot)?;
        file.as_file().sync_all().context(cannot)?;
        match file.persist_noclobber(&path) {
            Ok(_) => Ok(identity),
            Err(error) if error.error.kind() == std::io::ErrorKind::AlreadyExists => {
                let found = self.identities()?.0.into_iter().next();
                found.ok_or_else(|| Error::new(format!("`{}` holds no key", path.display())))
            }
            Err(error) => Err(Error::from(error.error).context(cannot())),
        }
    }

    /// A key that a pipeline makes goes with its machine, and the state, which stays, could never be decrypted again.
    fn refuse_to_be_lost(&self, pipeline: bool) -> Result<()> {
        if !(self.shared && pipeline) {
            return Ok(());
        }
        Err(Error::usage(format!(
            "there is no key in `{}`, and one that is made in a pipeline is lost with its machine",
            self.own_file().display()
        ))
        .hint("make one, `age-keygen`, keep it among the secrets of the pipeline and hand it over as `INFRA_AGE_KEY`")
        .hint("or name a file that the pipeline has: `state: {key_file: ...}`"))
    }

    /// Puts a new key before those of the project's own file: it encrypts from now on, and the old ones still decrypt.
    ///
    /// # Errors
    /// When the key does not lie in that file.
    pub fn rotate(&self) -> Result<()> {
        let (old, place) = self.identities()?;
        if place != format!("`{}`", self.own_file().display()) {
            return Err(Error::usage(format!("the key comes from {place}, which only its owner can replace"))
                .hint("put the new key there, before the old one, on a line of its own; then run this again with `--keep-key`"));
        }
        let new = Identity::generate();
        let all: Vec<&Identity> = std::iter::once(&new).chain(&old).collect();
        self.write(&self.own_file(), &text(OWN, &all))
    }

    /// Keeps only the first key in the project's own file. The others are kept beside it: what was not seen when the key was
    /// replaced can still be decrypted.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn retire(&self) -> Result<()> {
        let (keys, _) = self.identities()?;
        let Some((first, others)) = keys.split_first() else { return Ok(()) };
        let old = self.replaced()?;
        let all: Vec<&Identity> = others.iter().chain(&old).collect();
        if !all.is_empty() {
            self.write(&self.old_file(), &text("Keys of this project that were replaced.", &all))?;
        }
        self.write(&self.own_file(), &text(OWN, &[first]))
    }

    fn write(&self, path: &Path, text: &str) -> Result<()> {
        let cannot = || format!("cannot write `{}`", path.display());
        let mut file = tempfile::Builder::new().prefix(".key").tempfile_in(&self.root).context(cannot)?;
        file.write_all(text.as_bytes()).context(cannot)?;
        file.as_file().sync_all().context(cannot)?;
        file.persist(path).map_err(|error| Error::from(error.error).context(cannot()))?;
        Ok(())
    }
}

fn no_key(place: &str) -> Error {
    Error::usage(format!("there is no key in {place}"))
        .hint("make one: `age-keygen -o FILE`, or name an SSH key of the kind Ed25519")
}

/// Someone else who can decrypt.
fn recipient(text: &str) -> Result<x25519::Recipient> {
    x25519::Recipient::from_str(text).map_err(|error| {
        Error::usage(format!("`{text}` in `state.recipients` is not an age recipient: {error}"))
            .hint("a recipient is the public key of `age-keygen`: `age1...`")
    })
}

/// What the project's own key file says of itself.
const OWN: &str = "The key to the secrets of this project's environments. Keep it; never commit it.";

/// A key file.
fn text(title: &str, keys: &[&Identity]) -> String {
    let lines = keys.iter().map(|key| format!("{}\n", key.to_string().expose_secret()));
    format!("# {title}\n") + &lines.collect::<String>()
}

/// The keys in a text: age's own, one a line, or a private SSH key.
fn parse(text: &str) -> Result<Vec<Identity>, String> {
    if text.contains("-----BEGIN OPENSSH PRIVATE KEY-----") {
        return of_ssh(text).map(|key| vec![key]);
    }
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let keys = lines.map(|line| Identity::from_str(line).map_err(str::to_owned)).collect::<Result<Vec<_>, _>>()?;
    if keys.is_empty() { Err("it holds no key".to_owned()) } else { Ok(keys) }
}

/// The X25519 key of an Ed25519 key: the first half of the SHA-512 digest of its seed (RFC 8032, section 5.1.5).
fn of_ssh(text: &str) -> Result<Identity, String> {
    let key = PrivateKey::from_openssh(text).map_err(|error| error.to_string())?;
    if key.is_encrypted() {
        return Err("the SSH key has a passphrase: use one without, or a key of age".to_owned());
    }
    let KeypairData::Ed25519(pair) = key.key_data() else {
        return Err("only SSH keys of the kind Ed25519 can be used: `ssh-keygen -t ed25519`".to_owned());
    };
    let seed = pair.private.to_bytes();
    let digest = Sha512::digest(seed);
    let encoded = bech32::encode("age-secret-key-", (&digest[..32]).to_base32(), Variant::Bech32);
    let encoded = encoded.map_err(|error| error.to_string())?.to_uppercase();
    Identity::from_str(&encoded).map_err(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::{Keys, StateSettings, of_ssh};

    fn keys(folder: &std::path::Path, file: Option<&str>) -> Keys {
        let settings = StateSettings { key_file: file.map(|file| folder.join(file)), ..StateSettings::default() };
        Keys::new(&folder.join(".infra"), &settings)
    }

    #[test]
    fn what_a_key_has_encrypted_no_other_opens() {
        let folder = tempfile::tempdir().unwrap();
        let own = keys(folder.path(), None);
        let sealed = own.encrypt(b"correct horse").unwrap();
        assert!(!sealed.contains("horse"));
        assert_eq!(own.decrypt(&sealed, "it").unwrap(), b"correct horse");
        let other = tempfile::tempdir().unwrap();
        let error = keys(other.path(), None).decrypt(&sealed, "the state").unwrap_err();
        assert!(error.to_string().contains("the state is encrypted, and there is no key"), "{error}");
        keys(other.path(), None).encrypt(b"").unwrap();
        let error = keys(other.path(), None).decrypt(&sealed, "the state").unwrap_err();
        assert!(error.to_string().contains("cannot be decrypted") && !error.hints().is_empty(), "{error}");
    }

    #[test]
    fn a_key_is_replaced_without_a_gap() {
        let folder = tempfile::tempdir().unwrap();
        let keys = keys(folder.path(), None);
        let old = keys.encrypt(b"a").unwrap();
        keys.rotate().unwrap();
        let new = keys.encrypt(b"b").unwrap();
        assert_eq!(
            (keys.decrypt(&old, "it").unwrap(), keys.decrypt(&new, "it").unwrap()),
            (b"a".to_vec(), b"b".to_vec())
        );
        keys.retire().unwrap();
        // What was encrypted with the old key in that moment, or was not seen, is not lost.
        assert_eq!(keys.decrypt(&old, "it").unwrap(), b"a");
        keys.rotate().unwrap();
        keys.retire().unwrap();
        assert_eq!(keys.decrypt(&old, "it").unwrap(), b"a");
        assert_eq!(keys.decrypt(&new, "it").unwrap(), b"b");
        // Until someone says that it is not needed any more.
        std::fs::remove_file(keys.old_file()).unwrap();
        assert!(keys.decrypt(&old, "it").is_err() && keys.decrypt(&new, "it").is_err());
        assert_eq!(std::fs::read_to_string(keys.own_file()).unwrap().lines().count(), 2);
    }

    #[test]
    fn a_pipeline_makes_no_key_for_a_state_that_outlives_it() {
        let folder = tempfile::tempdir().unwrap();
        let local = keys(folder.path(), None);
        assert!(local.refuse_to_be_lost(true).is_ok());
        let shared = Keys { shared: true, ..local };
        assert!(shared.refuse_to_be_lost(false).is_ok());
        let error = shared.refuse_to_be_lost(true).unwrap_err();
        assert!(error.hints()[0].contains("INFRA_AGE_KEY"), "{error:?}");
    }

    #[test]
    fn an_ssh_key_serves_as_ssh_to_age_converts_it() {
        let folder = tempfile::tempdir().unwrap();
        let key = crate::identity::ssh_key("test").unwrap();
        std::fs::write(folder.path().join("id"), key.private.expose()).unwrap();
        let keys = keys(folder.path(), Some("id"));
        let sealed = keys.encrypt(b"a").unwrap();
        assert_eq!(keys.decrypt(&sealed, "it").unwrap(), b"a");
        assert!(keys.rotate().is_err(), "it is its owner's to replace");
        assert!(of_ssh("-----BEGIN OPENSSH PRIVATE KEY-----\nx\n-----END OPENSSH PRIVATE KEY-----").is_err());
    }
}
