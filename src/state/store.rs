//! The state of one environment in a backend.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::{
    State, VERSION,
    backend::{Backend, Expect, Tag},
    key::Keys,
    lease::{Lease, Proof, Term},
    local::{LocalBackend, prepare},
    pending,
    sealed::Sealer,
};
use crate::{
    clock::Clock,
    config::StateSettings,
    error::{Context, Error, Result},
    event::Events,
    name::Name,
};

/// Where the state of one environment is kept.
#[derive(Debug)]
pub struct Store {
    backend: Arc<dyn Backend>,
    environment: Name,
    /// `.infra/` of the project: keys, and files of this machine.
    root: PathBuf,
    keys: Keys,
    /// Whether all of the state is encrypted, and not its secrets only.
    sealed: bool,
    sealer: Sealer,
    /// Whether what was read has confidential fields in clear, as earlier versions wrote them.
    in_clear: AtomicBool,
    term: Term,
    fence: AtomicU64,
    /// What shows that the lease is still held; nothing where none was taken.
    proof: std::sync::Mutex<Option<Proof>>,
    /// The version that was read or written last: the next write expects it.
    tag: Mutex<Option<Tag>>,
}

/// Where the files lie that OpenSSH reads.
#[derive(Clone, Debug)]
pub struct LoginFiles {
    /// The private key of the environment's login.
    pub key: PathBuf,
    /// The host keys of its machines.
    pub known_hosts: PathBuf,
    /// The configuration.
    pub config: PathBuf,
}

impl Store {
    /// The place of an environment's state in a project, in files of this machine.
    #[must_use]
    pub fn new(project: &Path, environment: &Name) -> Self {
        let root = project.join(".infra");
        Self::over(Arc::new(LocalBackend::new(root)), project, environment, &StateSettings::default())
    }

    /// The place that a file's settings name.
    ///
    /// # Errors
    /// When they cannot be used.
    pub fn open(project: &Path, environment: &Name, settings: &StateSettings) -> Result<Self> {
        Ok(Self::over(super::open(project, settings)?, project, environment, settings))
    }

    /// The state of an environment in a backend.
    #[must_use]
    pub fn over(backend: Arc<dyn Backend>, project: &Path, environment: &Name, settings: &StateSettings) -> Self {
        let root = project.join(".infra");
        Self {
            backend,
            environment: environment.clone(),
            keys: Keys::new(&root, settings),
            root,
            sealed: settings.encrypt_all,
            sealer: Sealer::default(),
            in_clear: AtomicBool::new(false),
            term: Term::default(),
            fence: AtomicU64::new(0),
            proof: std::sync::Mutex::default(),
            tag: Mutex::new(None),
        }
    }

    /// The same with leases of another length.
    #[must_use]
    pub fn with_term(self, term: Term) -> Self {
        Self { term, ..self }
    }

    /// The backend.
    #[must_use]
    pub fn backend(&self) -> &Arc<dyn Backend> {
        &self.backend
    }

    /// The folder of this environment's files on this machine.
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        self.root.join(self.environment.as_str())
    }

    /// The keys that secrets are encrypted with.
    #[must_use]
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Makes the folder of this environment's files.
    ///
    /// # Errors
    /// When that cannot be done.
    pub fn prepare(&self) -> Result<PathBuf> {
        let folder = self.folder();
        prepare(&self.root, &folder)?;
        Ok(folder)
    }

    pub(super) fn key(&self, name: &str) -> String {
        format!("{}/{name}", self.environment)
    }

    /// The environments that a backend has states of.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn list(backend: &dyn Backend) -> Result<Vec<Name>> {
        let keys = backend.list("state.json").await?;
        let names = keys.iter().filter_map(|key| key.strip_suffix("/state.json")?.parse().ok());
        Ok(names.collect())
    }

    fn place(&self) -> String {
        format!("{}/{}", self.backend.place(), self.key("state.json"))
    }

    /// Reads the state; `None` when there is none yet.
    ///
    /// # Errors
    /// When it is there but cannot be used; it is never overwritten then.
    pub async fn read(&self) -> Result<Option<State>> {
        let held = self.fence.load(Ordering::SeqCst);
        let (state, fence) = self.read_fenced().await?;
        if held > 0 && fence > held {
            // What is read now is a later holder's, and must not be what this one's next write expects.
            *self.tag.lock().await = None;
            return Err(self.taken_over());
        }
        Ok(state)
    }

    /// The state, and the number under which it was written, which is there without a state too.
    async fn read_fenced(&self) -> Result<(Option<State>, u64)> {
        let (text, tag) = self.backend.get(&self.key("state.json")).await?.unzip();
        let (state, fence) = match text {
            None => (None, 0),
            Some(text) => (self.parse(&text)?, fence_of(&text)),
        };
        *self.tag.lock().await = tag;
        let state = state.map(|mut state| {
            pending::of_earlier_versions(&self.folder(), &mut state);
            state
        });
        Ok((state, fence))
    }

    /// Reads a text that is a state.
    ///
    /// # Errors
    /// When it is none of a version that is known here, or cannot be decrypted.
    pub fn parse(&self, text: &str) -> Result<Option<State>> {
        let place = self.place();
        let broken = |error: String| {
            let name = &self.environment;
            Error::new(format!("the state `{place}` cannot be read: {error}"))
                .hint(
                    "nothing was changed. The state before the last write is beside it as `.previous`, or an earlier version \
                     of the object: put it back",
                )
                .hint(format!(
                    "without it, what exists is found by its labels: `infra state rm {name}` forgets the state, and \
                     `infra destroy {name} --by-label` removes the environment"
                ))
        };
        if text.trim().is_empty() {
            // What was never written is not there at all: an empty text is one that was lost.
            return Err(broken("it is empty".to_owned()));
        }
        let broken = |error: serde_json::Error| broken(error.to_string());
        let mut value: Value = serde_json::from_str(text).map_err(broken)?;
        let version = value.get("version").and_then(Value::as_u64).unwrap_or(0);
        if version > u64::from(VERSION) {
            return Err(Error::new(format!(
                "the state `{place}` was written by a later version of infra (format {version}, this one knows {VERSION})"
            ))
            .hint("use that version; nothing was changed"));
        }
        if let Some(sealed) = value.get("encrypted").and_then(Value::as_str) {
            let plain = self.keys.decrypt(sealed, &format!("the state `{place}`")).map_err(|error| {
                error.hint(format!(
                    "when the key is lost for good, `infra destroy {} --by-label` removes the environment",
                    self.environment
                ))
            })?;
            value = serde_json::from_slice(&plain).map_err(broken)?;
        }
        if value.get("environment").is_none() && value.get("fence").is_some() {
            // A lease was taken, and nothing has been made yet.
            return Ok(None);
        }
        if self.sealer.open(&mut value, &self.keys, &place)? {
            self.in_clear.store(true, Ordering::SeqCst);
        }
        serde_json::from_value(value).map(Some).map_err(broken)
    }

    /// The document of a state, whose confidential fields are encrypted and whose other fields people can read.
    ///
    /// # Errors
    /// When they cannot be encrypted.
    pub fn document(&self, state: &State) -> Result<Value> {
        document(state, &self.keys, &self.sealer)
    }

    /// The text of a state.
    ///
    /// # Errors
    /// When it cannot be encrypted.
    pub fn text(&self, state: &State) -> Result<String> {
        text(state, &self.keys, &self.sealer, self.sealed)
    }

    /// Takes the environment's lease, waiting at most `wait` for others, and reads the state. From now on the writes of
    /// earlier holders are refused.
    ///
    /// # Errors
    /// When others hold it for longer, or the state cannot be used.
    pub async fn lease(&self, what: &str, wait: Duration, events: &Events) -> Result<(Lease, Option<State>)> {
        let lease = Lease::acquire(&self.backend, &self.environment, what, wait, self.term, events).await?;
        *self.proof() = Some(lease.proof());
        match self.claim(lease.fence()).await {
            Ok(state) => Ok((lease, state)),
            Err(error) => {
                lease.release().await;
                Err(error)
            }
        }
    }

    /// Takes the environment's lease without a look at its state, which may be one that cannot be read.
    ///
    /// # Errors
    /// When others hold it for longer.
    pub async fn lease_blindly(&self, what: &str, wait: Duration, events: &Events) -> Result<Lease> {
        let lease = Lease::acquire(&self.backend, &self.environment, what, wait, self.term, events).await?;
        *self.proof() = Some(lease.proof());
        Ok(lease)
    }

    /// Removes the state, which may be one that cannot be read, and keeps it as a file of this machine; where that is, when
    /// there was one.
    ///
    /// # Errors
    /// When the file cannot be written, or the state was written in just this moment.
    pub async fn put_aside(&self) -> Result<Option<PathBuf>> {
        let key = self.key("state.json");
        let Some((text, tag)) = self.backend.get(&key).await? else { return Ok(None) };
        let time = Clock::System.now().strftime("%Y%m%dT%H%M%SZ");
        let aside = self.prepare()?.join(format!("state-{time}.json"));
        std::fs::write(&aside, &text).context(|| format!("cannot write `{}`", aside.display()))?;
        if !self.backend.delete(&key, &tag).await? {
            return Err(Error::new(format!("the state `{}` was written in just this moment", self.place()))
                .hint("run the same command again"));
        }
        pending::forget_earlier_versions(&self.folder());
        self.forget_login_files();
        Ok(Some(aside))
    }

    fn proof(&self) -> std::sync::MutexGuard<'_, Option<Proof>> {
        self.proof.lock().expect("no task panics while it holds the proof")
    }

    /// Refuses to go on when another command has taken over the environment. Writes of the state are refused by their
    /// condition; whatever else cannot be taken back, such as a removal, asks here first.
    ///
    /// # Errors
    /// When the lease is not held any more, or the backend does not answer.
    pub async fn confirm(&self) -> Result<()> {
        let proof = self.proof().clone();
        match proof {
            Some(proof) if !proof.holds().await? => Err(self.taken_over()),
            _ => Ok(()),
        }
    }

    /// Rewrites the state with this holder's number, so that its version is another one than earlier holders know: a number
    /// above that of the lease and that of the state, since a state may have come from elsewhere. An earlier holder may write
    /// in just this moment: then what it wrote is read and rewritten.
    async fn claim(&self, lease: u64) -> Result<Option<State>> {
        loop {
            let (state, fence) = self.read_fenced().await?;
            self.fence.store(lease.max(fence + 1), Ordering::SeqCst);
            let text = match &state {
                Some(state) => self.text(&self.stamped(state))?,
                None => json!({ "version": VERSION, "fence": self.fence.load(Ordering::SeqCst) }).to_string(),
            };
            if self.try_put(&text).await? {
                return Ok(state);
            }
        }
    }

    fn stamped(&self, state: &State) -> State {
        if self.fence.load(Ordering::SeqCst) > 0 {
            // A state that came from elsewhere has the number that was given there: this holder goes on with that.
            self.fence.fetch_max(state.fence, Ordering::SeqCst);
        }
        State { version: VERSION, fence: self.fence.load(Ordering::SeqCst).max(state.fence), ..state.clone() }
    }

    /// Writes the state as it is at the time of the call: all of it or nothing.
    ///
    /// # Errors
    /// When it cannot be written, or another command has written it since; the old state is kept.
    pub fn write<'s>(&'s self, state: &State) -> impl Future<Output = Result<()>> + use<'s> {
        let stamped = self.stamped(state);
        let (keys, sealer, sealed) = (self.keys.clone(), self.sealer.clone(), self.sealed);
        async move {
            // A state of a thousand resources is a megabyte: others go on while it becomes a text.
            let written = tokio::task::spawn_blocking(move || text(&stamped, &keys, &sealer, sealed)).await;
            let text = written.map_err(|error| Error::new(format!("a state was not written: {error}")))??;
            self.put(&text).await?;
            pending::forget_earlier_versions(&self.folder());
            Ok(())
        }
    }

    async fn put(&self, text: &str) -> Result<()> {
        if self.try_put(text).await? {
            return Ok(());
        }
        Err(self.taken_over())
    }

    fn taken_over(&self) -> Error {
        Error::new(format!("another command has taken over the environment `{}`", self.environment))
            .hint("this one was silent for longer than its lease lasts; it has changed nothing since, and stops")
            .hint(format!("`infra history {}` shows who works on it", self.environment))
    }

    /// Writes a text over the version that was read or written last; `false` when another one is there.
    async fn try_put(&self, text: &str) -> Result<bool> {
        let key = self.key("state.json");
        let mut tag = self.tag.lock().await;
        let expect = tag.clone().map_or(Expect::Absent, Expect::Tag);
        let written = self.backend.put(&key, text, &expect).await;
        let cannot = || format!("cannot write the state `{}`; the one before it is unharmed", self.place());
        let written = match written.context(cannot)? {
            Some(written) => Some(written),
            // The answer of an earlier attempt may have been lost, although it was carried out.
            None => self.backend.get(&key).await?.filter(|(there, _)| there == text).map(|(_, tag)| tag),
        };
        if written.is_none() {
            return Ok(false);
        }
        *tag = written;
        if self.in_clear.swap(false, Ordering::SeqCst) {
            // The document before this one holds in clear what is encrypted now.
            self.forget_previous();
        }
        Ok(true)
    }

    /// Removes everything that is known of the environment, when nothing of it is left; its history stays.
    ///
    /// # Errors
    /// When it cannot be removed, or another command has written it since.
    pub async fn remove(&self) -> Result<()> {
        let key = self.key("state.json");
        let mut tag = self.tag.lock().await;
        if let Some(held) = tag.take()
            && !self.backend.delete(&key, &held).await?
            // An earlier attempt whose answer was lost may have removed it.
            && self.backend.get(&key).await?.is_some()
        {
            return Err(self.taken_over());
        }
        pending::forget_earlier_versions(&self.folder());
        self.forget_login_files();
        Ok(())
    }

    /// The files that OpenSSH reads on this machine, in clear: the key that opens all machines, their host keys, and the
    /// configuration that names both. They are written by `infra ssh-config`, `infra inventory` and `inventory_file`, and go with
    /// the environment.
    #[must_use]
    pub fn login_files(&self) -> LoginFiles {
        let folder = self.folder();
        LoginFiles {
            key: folder.join("ssh-key"),
            known_hosts: folder.join("known_hosts"),
            config: folder.join("ssh-config"),
        }
    }

    fn forget_login_files(&self) {
        let LoginFiles { key, known_hosts, config } = self.login_files();
        for path in [key, known_hosts, config] {
            // Most environments never had them.
            let _ = std::fs::remove_file(path);
        }
    }

    /// Removes what was done to the environment, when it was written down elsewhere.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub async fn forget_history(&self) -> Result<()> {
        let key = self.key("history.jsonl");
        if let Some((_, tag)) = self.backend.get(&key).await? {
            self.backend.delete(&key, &tag).await?;
        }
        Ok(())
    }

    /// Removes the state before the last write, which may be encrypted with a key that is no more.
    pub fn forget_previous(&self) {
        // There is none in most backends.
        let _ = std::fs::remove_file(self.folder().join("state.json.previous"));
    }

    /// Gives the lease back. Where nothing came of it, nothing is left of it either.
    pub async fn release(&self, lease: Lease) {
        *self.proof() = None;
        // What another command has claimed since is that command's.
        if let Ok((None, fence)) = self.read_fenced().await
            && fence == self.fence.load(Ordering::SeqCst)
        {
            let _ = self.remove().await;
        }
        lease.release().await;
    }
}

/// The number under which a text was written.
fn fence_of(text: &str) -> u64 {
    #[derive(serde::Deserialize)]
    struct Fenced {
        #[serde(default)]
        fence: u64,
    }
    serde_json::from_str(text).map_or(0, |fenced: Fenced| fenced.fence)
}

/// The document of a state.
fn document(state: &State, keys: &Keys, sealer: &Sealer) -> Result<Value> {
    let mut document = serde_json::to_value(state)?;
    sealer.seal(&mut document, keys)?;
    Ok(document)
}

/// The text of a state; encrypted where all of it is.
fn text(state: &State, keys: &Keys, sealer: &Sealer, sealed: bool) -> Result<String> {
    if !sealed {
        return Ok(serde_json::to_string_pretty(&document(state, keys, sealer)?)?);
    }
    let encrypted = keys.encrypt(serde_json::to_string_pretty(state)?.as_bytes())?;
    let (version, fence) = (VERSION, state.fence);
    Ok(serde_json::to_string_pretty(&json!({ "version": version, "fence": fence, "encrypted": encrypted }))?)
}

#[cfg(test)]
mod tests {
    use super::Store;
    use crate::state::{State, tests::state};

    fn store() -> (tempfile::TempDir, Store, State) {
        let folder = tempfile::tempdir().unwrap();
        let state = state("dev");
        let store = Store::new(folder.path(), &state.environment);
        (folder, store, state)
    }

    #[tokio::test]
    async fn a_state_comes_back_as_it_was() {
        let (_folder, store, state) = store();
        assert!(store.read().await.unwrap().is_none());
        store.write(&state).await.unwrap();
        store.write(&State { serial: 2, ..state.clone() }).await.unwrap();
        assert_eq!(store.read().await.unwrap().unwrap().serial, 2);
        store.remove().await.unwrap();
        assert!(store.read().await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_broken_or_future_state_is_left_alone() {
        let (_folder, store, state) = store();
        store.write(&state).await.unwrap();
        let path = store.folder().join("state.json");
        for (text, says) in [("{\"version\": 1", "cannot be read"), ("{\"version\": 99}", "later version")] {
            std::fs::write(&path, text).unwrap();
            let error = store.read().await.unwrap_err();
            assert!(error.to_string().contains(says), "{error}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
    }

    #[tokio::test]
    async fn what_an_earlier_version_wrote_is_read() {
        let (_folder, store, state) = store();
        store.prepare().unwrap();
        let mut value = serde_json::to_value(&state).unwrap();
        value["version"] = 1.into();
        for field in ["fence", "terms", "pending"] {
            value.as_object_mut().unwrap().remove(field);
        }
        std::fs::write(store.folder().join("state.json"), value.to_string()).unwrap();
        let lines = [
            r#"{"creating":{"address":"vm.a","intent":{"token":"t","spec":{},"needs":[]}}}"#,
            r#"{"creating":{"address":"vm.b","intent":{"token":"u","spec":{},"needs":[]}}}"#,
            r#"{"done":{"address":"vm.a"}}"#,
            r#"{"creating":{"addr"#,
        ];
        std::fs::write(store.folder().join("journal.jsonl"), lines.join("\n")).unwrap();
        let read = store.read().await.unwrap().unwrap();
        let pending: Vec<String> = read.pending.keys().map(ToString::to_string).collect();
        assert_eq!(pending, ["vm.b"]);
        store.write(&read).await.unwrap();
        assert!(!store.folder().join("journal.jsonl").exists());
        assert_eq!(store.read().await.unwrap().unwrap().pending.len(), 1);
    }

    #[tokio::test]
    async fn a_state_that_was_written_in_clear_is_encrypted_by_the_next_write() {
        let (_folder, store, mut state) = store();
        let spec = serde_json::json!({ "user_data": "token=hunter22" }).as_object().unwrap().clone();
        let intent = crate::state::Intent { token: "t".into(), spec, needs: Vec::new() };
        state.pending.insert("vm.a".parse().unwrap(), intent);
        store.prepare().unwrap();
        let path = store.folder().join("state.json");
        std::fs::write(&path, serde_json::to_string_pretty(&state).unwrap()).unwrap();
        let read = store.read().await.unwrap().unwrap();
        assert_eq!(read.pending, state.pending);
        store.write(&read).await.unwrap();
        for file in std::fs::read_dir(store.folder()).unwrap() {
            let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
            assert!(!text.contains("hunter22"), "{text}");
        }
        assert_eq!(store.read().await.unwrap().unwrap().pending, state.pending);
        assert!(!store.document(&read).unwrap().to_string().contains("hunter22"));
    }

    #[tokio::test]
    async fn the_key_that_openssh_reads_goes_with_the_state() {
        let (_folder, store, state) = store();
        store.write(&state).await.unwrap();
        let files = store.login_files();
        for path in [&files.key, &files.known_hosts, &files.config] {
            std::fs::write(path, "secret").unwrap();
        }
        store.remove().await.unwrap();
        assert!(!files.key.exists() && !files.known_hosts.exists() && !files.config.exists());
    }
}
