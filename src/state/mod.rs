//! What we believe exists, the journal of what we are about to do, who may write, and the environment's secrets.
//! Everything of an environment lies in `.infra/<environment>/` of its project. May import `resource`, `identity` and the
//! vocabulary.

mod history;
mod journal;
mod lock;
mod vault;

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use self::{
    history::Deed,
    journal::{Intent, Journal},
    lock::{Lock, Owner, whoami},
    vault::Vault,
};
use crate::{
    error::{Context, Error, Result},
    name::Name,
    resource::{Address, Terms},
};

/// The version of the format that this program writes. It reads all earlier ones.
pub const VERSION: u32 = 1;

/// What we believe exists.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// The format.
    pub version: u32,
    /// The environment.
    pub environment: Name,
    /// The provider that the objects live on.
    pub provider: String,
    /// The environment folder that it was made from.
    pub folder: PathBuf,
    /// What was laid over its file.
    #[serde(default, skip_serializing_if = "Overlay::is_empty")]
    pub overlay: Overlay,
    /// The terms under which it lives.
    #[serde(default)]
    pub terms: Terms,
    /// Counts the writes.
    pub serial: u64,
    /// When the environment was first applied.
    pub created: Timestamp,
    /// The objects, by address.
    pub resources: BTreeMap<Address, Entry>,
    /// The secrets, encrypted with age.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub secrets: String,
}

/// What a command line laid over the environment file, so that later commands need not repeat it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overlay {
    /// `--set`.
    #[serde(default)]
    pub set: Vec<String>,
    /// `--files-root`, absolute.
    #[serde(default)]
    pub files_root: Option<PathBuf>,
}

impl Overlay {
    fn is_empty(&self) -> bool {
        self.set.is_empty() && self.files_root.is_none()
    }
}

/// One object that we made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The provider's id.
    pub id: String,
    /// The client token of the create call.
    pub token: String,
    /// The specification that it was made from, or changed to.
    pub spec: Map<String, Value>,
    /// What it needs.
    pub needs: Vec<Address>,
    /// What the provider told of it.
    pub attributes: Map<String, Value>,
    /// When it was made.
    pub created: Timestamp,
}

/// Where the state of one environment lies.
#[derive(Clone, Debug)]
pub struct Store {
    folder: PathBuf,
    root: PathBuf,
}

impl Store {
    /// The place of an environment's state in a project.
    #[must_use]
    pub fn new(project: &Path, environment: &Name) -> Self {
        let root = project.join(".infra");
        Self { folder: root.join(environment.as_str()), root }
    }

    /// The folder of this environment's state.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The environments that a project has state of.
    #[must_use]
    pub fn list(project: &Path) -> Vec<Name> {
        let Ok(entries) = fs::read_dir(project.join(".infra")) else { return Vec::new() };
        let mut names: Vec<Name> = entries
            .filter_map(std::result::Result::ok)
            .filter(|entry| entry.path().join("state.json").is_file())
            .filter_map(|entry| entry.file_name().to_string_lossy().parse().ok())
            .collect();
        names.sort();
        names
    }

    /// Reads the state; `None` when there is none yet.
    ///
    /// # Errors
    /// When the file is there but cannot be used; it is never overwritten then.
    pub fn read(&self) -> Result<Option<State>> {
        let path = self.folder.join("state.json");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::from(error).context(format!("cannot read the state `{}`", path.display()))),
        };
        let broken = |error: serde_json::Error| {
            Error::new(format!("the state `{}` cannot be read: {error}", path.display())).hint(format!(
                "nothing was changed. The state before the last write is `{}`; \
                 what exists is found by its labels all the same if you move both files away",
                path.with_extension("json.previous").display()
            ))
        };
        let value: Value = serde_json::from_str(&text).map_err(broken)?;
        let version = value.get("version").and_then(Value::as_u64).unwrap_or(0);
        if version > u64::from(VERSION) {
            return Err(Error::new(format!(
                "the state `{}` was written by a later version of infra (format {version}, this one knows {VERSION})",
                path.display()
            ))
            .hint("use that version; nothing was changed"));
        }
        serde_json::from_value(value).map(Some).map_err(broken)
    }

    /// Writes the state so that a crash leaves the old or the new one, never half of either.
    ///
    /// # Errors
    /// When the disk is full or the folder cannot be written; the old state is kept.
    pub fn write(&self, state: &mut State) -> Result<()> {
        state.serial += 1;
        let path = self.folder.join("state.json");
        let text = serde_json::to_string_pretty(state)?;
        self.prepare()?;
        if path.exists() {
            let previous = path.with_extension("json.previous");
            let _ = fs::remove_file(&previous);
            // Without a previous state there is one safety net less, which is no reason to stop.
            let _ = fs::hard_link(&path, &previous);
        }
        write_atomically(&path, text.as_bytes())
            .context(|| format!("cannot write the state `{}`; the one before it is unharmed", path.display()))
    }

    /// Removes everything that is known of the environment, when nothing of it is left.
    ///
    /// # Errors
    /// When the files cannot be removed.
    pub fn remove(&self) -> Result<()> {
        for name in ["state.json", "state.json.previous", "journal.jsonl"] {
            match fs::remove_file(self.folder.join(name)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(
                        Error::from(error).context(format!("cannot remove `{}`", self.folder.join(name).display()))
                    );
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The journal of this environment.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn journal(&self) -> Result<Journal> {
        self.prepare()?;
        Journal::open(self.folder.join("journal.jsonl"))
    }

    /// The key that the project's secrets are encrypted with, made on first use.
    ///
    /// # Errors
    /// When it cannot be read, or a new one cannot be written.
    pub fn vault_key(&self) -> Result<vault::VaultKey> {
        self.prepare()?;
        vault::VaultKey::load_or_create(&self.root.join("key.txt"))
    }

    /// Makes the folder, which only its owner may read and which git leaves alone.
    fn prepare(&self) -> Result<()> {
        use std::os::unix::fs::DirBuilderExt;
        let cannot = || format!("cannot make `{}`", self.folder.display());
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder).context(cannot)?;
        let ignore = self.root.join(".gitignore");
        if !ignore.exists() {
            fs::write(&ignore, "*\n").context(cannot)?;
        }
        Ok(())
    }
}

/// Writes a file under another name first, forces it to the disk, then renames it.
fn write_atomically(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::{State, Store, VERSION};
    use crate::clock::Clock;

    fn store() -> (tempfile::TempDir, Store, State) {
        let folder = tempfile::tempdir().unwrap();
        let name: crate::name::Name = "dev".parse().unwrap();
        let store = Store::new(folder.path(), &name);
        let state = State {
            version: VERSION,
            environment: name,
            provider: "fake".into(),
            folder: "envs/dev".into(),
            overlay: super::Overlay::default(),
            terms: super::Terms::default(),
            serial: 0,
            created: Clock::System.now(),
            resources: std::collections::BTreeMap::new(),
            secrets: String::new(),
        };
        (folder, store, state)
    }

    #[test]
    fn a_state_comes_back_as_it_was() {
        let (_folder, store, mut state) = store();
        assert!(store.read().unwrap().is_none());
        store.write(&mut state).unwrap();
        store.write(&mut state).unwrap();
        assert_eq!(store.read().unwrap().unwrap(), state);
        assert_eq!(state.serial, 2);
        store.remove().unwrap();
        assert!(store.read().unwrap().is_none());
    }

    #[test]
    fn a_broken_or_future_state_is_left_alone() {
        let (_folder, store, mut state) = store();
        store.write(&mut state).unwrap();
        let path = store.folder().join("state.json");
        for (text, says) in [("{\"version\": 1", "cannot be read"), ("{\"version\": 99}", "later version")] {
            std::fs::write(&path, text).unwrap();
            let error = store.read().unwrap_err();
            assert!(error.to_string().contains(says), "{error}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
    }
}
