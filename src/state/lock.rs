//! One writer: a lock on a file, with its owner's name in it.
//!
//! The kernel gives the lock back when its holder ends, however it ends, so a killed command blocks nobody. The owner
//! renews a heartbeat in the file, so that one who waits can say for whom and since when.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{Read, Seek, SeekFrom, Write},
    path::Path,
    time::Duration,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Store;
use crate::{
    clock::Clock,
    error::{Context, Error, Result},
    event::Events,
};

/// How often the owner says that it is alive.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// How often one who waits looks again.
const POLL: Duration = Duration::from_millis(100);

/// Who holds the lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The command.
    pub what: String,
    /// `user@machine`.
    pub who: String,
    /// Its process.
    pub pid: u32,
    /// Since when.
    pub since: Timestamp,
    /// When it last said that it is alive.
    pub heartbeat: Timestamp,
}

/// A held lock; given back when dropped.
#[derive(Debug)]
pub struct Lock {
    _file: File,
    heart: tokio::task::JoinHandle<()>,
}

impl Drop for Lock {
    fn drop(&mut self) {
        self.heart.abort();
    }
}

impl Lock {
    /// Takes the lock of an environment, waiting at most `wait` for another holder.
    ///
    /// # Errors
    /// When another command holds it for longer; it is named.
    pub async fn acquire(store: &Store, what: &str, wait: Duration, events: &Events) -> Result<Self> {
        store.prepare()?;
        let path = store.folder().join("lock");
        let cannot = || format!("cannot lock `{}`", path.display());
        let deadline = tokio::time::Instant::now() + wait;
        let mut told = false;
        let mut file =
            OpenOptions::new().create(true).read(true).write(true).truncate(false).open(&path).context(cannot)?;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::Error(error)) => return Err(Error::from(error).context(cannot())),
                Err(TryLockError::WouldBlock) => {}
            }
            let holder = describe(&path);
            if tokio::time::Instant::now() >= deadline {
                return Err(Error::new(format!("the environment is locked by {holder}"))
                    .hint("wait for it to end, or give `--lock-timeout 10m` to wait longer"));
            }
            if !told {
                events.warn(format!("waiting for {holder}"));
                told = true;
            }
            tokio::time::sleep(POLL).await;
        }
        let now = Clock::System.now();
        let owner = Owner { what: what.to_owned(), who: whoami(), pid: std::process::id(), since: now, heartbeat: now };
        write(&mut file, &owner).context(cannot)?;
        let writer = file.try_clone().context(cannot)?;
        Ok(Self { _file: file, heart: tokio::spawn(beat(writer, owner)) })
    }
}

async fn beat(mut file: File, mut owner: Owner) {
    loop {
        tokio::time::sleep(HEARTBEAT).await;
        owner.heartbeat = Clock::System.now();
        // The kernel's lock is what counts; a heartbeat that cannot be written only makes the waiting text older.
        let _ = write(&mut file, &owner);
    }
}

fn write(file: &mut File, owner: &Owner) -> std::io::Result<()> {
    let text = serde_json::to_string(owner)?;
    file.seek(SeekFrom::Start(0))?;
    file.write_all(text.as_bytes())?;
    file.set_len(text.len() as u64)
}

fn describe(path: &Path) -> String {
    let mut text = String::new();
    let read = File::open(path).and_then(|mut file| file.read_to_string(&mut text));
    match read.ok().and_then(|_| serde_json::from_str::<Owner>(&text).ok()) {
        Some(owner) => format!("`{}` of {} (process {}, since {})", owner.what, owner.who, owner.pid, owner.since),
        None => "another command".to_owned(),
    }
}

/// `user@machine`, as far as the machine tells.
#[must_use]
pub fn whoami() -> String {
    #[expect(clippy::disallowed_methods, reason = "the login's name is in the environment")]
    let user = std::env::var("USER").unwrap_or_else(|_| "somebody".to_owned());
    let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{user}@{}", machine.trim())
}
