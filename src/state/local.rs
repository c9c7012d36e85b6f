//! Files of this machine: `.infra/` of the project.

use std::{
    fs::{self, File, OpenOptions},
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use async_trait::async_trait;
use sha2::{Digest, Sha256};

use super::backend::{Backend, Expect, Tag};
use crate::{
    encoding,
    error::{Context, Error, Result},
};

/// The files of a folder.
#[derive(Clone, Debug)]
pub struct LocalBackend {
    root: PathBuf,
}

impl LocalBackend {
    /// The store in a folder, which is made when something is written.
    #[must_use]
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    fn path(&self, key: &str) -> PathBuf {
        self.root.join(key)
    }

    /// Keeps other processes of this machine from writing in between a comparison and a write.
    fn guard(&self, path: &Path) -> Result<File> {
        let folder = path.parent().unwrap_or(&self.root);
        prepare(&self.root, folder)?;
        let guard = folder.join(".guard");
        let cannot = || format!("cannot lock `{}`", guard.display());
        let file = OpenOptions::new().create(true).write(true).truncate(false).open(&guard).context(cannot)?;
        file.lock().context(cannot)?;
        Ok(file)
    }

    /// Writes a text, when what is there is what is expected.
    fn write(&self, key: &str, text: &str, expect: &Expect) -> Result<Option<Tag>> {
        let path = self.path(key);
        let _guard = self.guard(&path)?;
        let there = self.read(key)?.map(|(_, tag)| tag);
        let expected = match expect {
            Expect::Absent => None,
            Expect::Tag(tag) => Some(tag.clone()),
        };
        if there != expected {
            return Ok(None);
        }
        if there.is_some() {
            let previous = PathBuf::from(format!("{}.previous", path.display()));
            let _ = fs::remove_file(&previous);
            // Without the previous text there is one safety net less, which is no reason to stop.
            let _ = fs::hard_link(&path, &previous);
        }
        write_atomically(&path, text.as_bytes())
            .context(|| format!("cannot write `{}`; what was there before is unharmed", path.display()))?;
        Ok(Some(tag(text)))
    }

    fn read(&self, key: &str) -> Result<Option<(String, Tag)>> {
        let path = self.path(key);
        match fs::read_to_string(&path) {
            Ok(text) => {
                let tag = tag(&text);
                Ok(Some((text, tag)))
            }
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
            Err(error) => Err(Error::from(error).context(format!("cannot read `{}`", path.display()))),
        }
    }
}

/// The version of a text is what it says.
fn tag(text: &str) -> Tag {
    Tag(encoding::hex(&Sha256::digest(text)[..16]))
}

/// Makes a folder, which only its owner may read and which git leaves alone.
pub(super) fn prepare(root: &Path, folder: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    let cannot = || format!("cannot make `{}`", folder.display());
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).context(cannot)?;
    let ignore = root.join(".gitignore");
    if !ignore.exists() {
        fs::write(&ignore, "*\n").context(cannot)?;
    }
    Ok(())
}

/// Writes a file under another name first, forces it to the disk, then renames it.
fn write_atomically(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    File::open(folder)?.sync_all()
}

#[async_trait]
impl Backend for LocalBackend {
    fn place(&self) -> String {
        self.root.display().to_string()
    }

    async fn get(&self, key: &str) -> Result<Option<(String, Tag)>> {
        self.read(key)
    }

    async fn put(&self, key: &str, text: &str, expect: &Expect) -> Result<Option<Tag>> {
        // Disks are slow: others go on meanwhile, and what they change is written together with the next write.
        let (backend, key, text, expect) = (self.clone(), key.to_owned(), text.to_owned(), expect.clone());
        let written = tokio::task::spawn_blocking(move || backend.write(&key, &text, &expect)).await;
        written.map_err(|error| Error::new(format!("a write was given up: {error}")))?
    }

    async fn delete(&self, key: &str, tag: &Tag) -> Result<bool> {
        let path = self.path(key);
        let _guard = self.guard(&path)?;
        if self.read(key)?.is_none_or(|(_, there)| there != *tag) {
            return Ok(false);
        }
        for path in [path.clone(), PathBuf::from(format!("{}.previous", path.display()))] {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(Error::from(error).context(format!("cannot remove `{}`", path.display())));
                }
                _ => {}
            }
        }
        Ok(true)
    }

    async fn list(&self, name: &str) -> Result<Vec<String>> {
        let entries = match fs::read_dir(&self.root) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Error::from(error).context(format!("cannot read `{}`", self.root.display()))),
        };
        let folders = entries.filter_map(std::result::Result::ok).filter(|entry| entry.path().join(name).is_file());
        let mut keys: Vec<String> =
            folders.map(|entry| format!("{}/{name}", entry.file_name().to_string_lossy())).collect();
        keys.sort();
        Ok(keys)
    }

    async fn probe(&self) -> Result<()> {
        Ok(())
    }

    fn poll(&self) -> Duration {
        Duration::from_millis(50)
    }
}
