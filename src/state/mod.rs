//! What we believe exists and what we are about to make, who may write it, and the environment's secrets.
//!
//! A state is one document in a [`Backend`]: files of this machine, objects in a bucket, or rows of a table. May import `cloud`,
//! `config`, `resource`, `identity` and the vocabulary.

mod backend;
mod history;
mod key;
mod lease;
mod local;
mod passwords;
mod pending;
pub mod pool;
mod postgres;
mod process;
mod s3;
mod sealed;
mod store;
mod vault;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use self::{
    backend::{Backend, Expect, Tag},
    history::HistoryEntry,
    key::{Keys, is_pipeline},
    lease::{Book, Claimant, Lease, Term, is_readable, look, unlock},
    local::LocalBackend,
    passwords::secret_name,
    pending::Intent,
    postgres::PostgresBackend,
    process::whoami,
    s3::S3Backend,
    store::{LoginFiles, Store},
    vault::Vault,
};
use crate::{
    clock::Clock,
    config::{Environment, StateSettings},
    error::{Error, Result},
    name::Name,
    project::ProjectId,
    resource::{Address, KindName, Terms},
};

/// The backend that the settings of a project's file name.
///
/// # Errors
/// When they cannot be used.
pub fn open(project: &Path, settings: &StateSettings) -> Result<Arc<dyn Backend>> {
    Ok(match (&settings.s3, &settings.postgres) {
        (Some(s3), _) => Arc::new(S3Backend::open(s3)?),
        (None, Some(database)) => Arc::new(PostgresBackend::open(database)?),
        (None, None) => Arc::new(LocalBackend::new(project.join(".infra"))),
    })
}

/// The version of the format that this program writes. It reads all earlier ones.
pub const VERSION: u32 = 2;

/// What we believe exists.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// The format.
    pub version: u32,
    /// The environment.
    pub environment: Name,
    /// The project that it belongs to; states of earlier versions do not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<ProjectId>,
    /// What the project label of its objects says, where that is not the project's id: an earlier version made them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project_label: Option<String>,
    /// The provider that the objects live on.
    pub provider: String,
    /// The account of the provider, as that identifies it; states of earlier versions do not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The environment folder that it was made from.
    pub folder: PathBuf,
    /// The name that the labels of its objects have, when it was taken over from a pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labelled: Option<Name>,
    /// What makes it a member of a pool, until an environment takes it over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<pool::Member>,
    /// Whether it was taken over from a pool, and no apply has given it the time of its file yet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub awaits_ttl: bool,
    /// What was set over its file.
    #[serde(default, skip_serializing_if = "Overlay::is_empty")]
    pub overlay: Overlay,
    /// The terms under which it lives.
    #[serde(default)]
    pub terms: Terms,
    /// Counts the changes.
    pub serial: u64,
    /// When the environment was first applied.
    pub created: Timestamp,
    /// The objects, by address.
    pub resources: BTreeMap<Address, Entry>,
    /// What we were about to make when this was written.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub pending: BTreeMap<Address, Intent>,
    /// The objects whose removal has begun: that they are gone is no surprise.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub removing: BTreeSet<Address>,
    /// The objects whose change has begun, and has not ended well: what of them differs was not done yet.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub changing: BTreeSet<Address>,
    /// The machines whose first disk was made larger, until their file system is known to be as large.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub grown: BTreeSet<Address>,
    /// The number of the lease under which it was written.
    #[serde(default)]
    pub fence: u64,
    /// The secrets, encrypted with age.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub secrets: String,
}

impl State {
    /// Takes an object out, with what was noted about it.
    pub fn remove(&mut self, address: &Address) {
        self.resources.remove(address);
        for noted in [&mut self.removing, &mut self.changing, &mut self.grown] {
            noted.remove(address);
        }
    }

    /// The state of an environment of which nothing exists.
    #[must_use]
    pub fn nothing(environment: &Environment) -> Self {
        Self {
            provider: environment.provider.as_str().to_owned(),
            folder: environment.folder.clone(),
            ..Self::of_name(environment.name.clone())
        }
    }

    /// The state of an environment of this name, of which nothing else is known.
    #[must_use]
    pub fn of_name(environment: Name) -> Self {
        Self {
            version: VERSION,
            environment,
            project: None,
            project_label: None,
            labelled: None,
            pool: None,
            awaits_ttl: false,
            provider: String::new(),
            account: None,
            folder: PathBuf::new(),
            overlay: Overlay::default(),
            terms: Terms::default(),
            serial: 0,
            created: Clock::System.now(),
            resources: BTreeMap::new(),
            pending: BTreeMap::new(),
            removing: BTreeSet::new(),
            changing: BTreeSet::new(),
            grown: BTreeSet::new(),
            fence: 0,
            secrets: String::new(),
        }
    }

    /// What is known of the object of this kind and id, and under which address: `infra state mv` changes that, and labels
    /// keep the first one. Ids alone do not decide: those of two kinds may be equal.
    #[must_use]
    pub fn known(&self, kind: KindName, id: &str) -> Option<(&Address, &Entry)> {
        self.resources.iter().find(|(address, entry)| address.kind == kind && entry.id == id)
    }

    /// The name that the labels of its objects have.
    #[must_use]
    pub fn label(&self) -> &Name {
        self.labelled.as_ref().unwrap_or(&self.environment)
    }

    /// Refuses a state of which something is still encrypted: compared with a file, it would differ from anything.
    ///
    /// # Errors
    /// When the specification of an object could not be decrypted with the keys here.
    pub fn check_decrypted(&self) -> Result<()> {
        let known = self.resources.iter().map(|(address, entry)| (address, &entry.spec));
        let intended = self.pending.iter().map(|(address, intent)| (address, &intent.spec));
        let Some((address, _)) = known.chain(intended).find(|(address, spec)| sealed::is_sealed(address, spec)) else {
            return Ok(());
        };
        Err(Error::new(format!(
            "what the state of `{}` says of `{address}` cannot be decrypted with the key here; nothing was changed",
            self.environment
        ))
        .hint("put the key back that it was encrypted with; `.infra/key.txt` and `INFRA_AGE_KEY` may hold several"))
    }
}

/// What a command line set over the environment file, so that later commands need not repeat it.
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
    /// What the provider reported of it.
    pub attributes: Map<String, Value>,
    /// When it was made.
    pub created: Timestamp,
    /// The data that other sections of the file keep on it, as `postgres.main (database app)`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub data: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::State;

    pub(super) fn state(name: &str) -> State {
        State { provider: "fake".into(), folder: "envs/dev".into(), serial: 1, ..State::of_name(name.parse().unwrap()) }
    }
}
