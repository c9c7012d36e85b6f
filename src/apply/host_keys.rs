//! The host keys of machines. The first one is given to a machine at its first boot, in user-data that others may read; over the
//! first connection, which it pins, the machine makes one of its own, and from then on that one alone is accepted.
//!
//! The vault says how far this is: nothing for a machine that has its first key, `next` beside it for one that is about to
//! change, and `public` for one that has changed. In between both are accepted, so that a command that is killed there locks no one out.

use futures::{StreamExt, stream};
use tokio::sync::{mpsc, oneshot};

use super::Run;
use crate::{
    error::{Error, Result},
    state::Vault,
};

/// The vault's name for the first host key of a machine, or of the machines of a group.
#[must_use]
pub fn host_key(host: &str) -> String {
    format!("host/{host}")
}

/// The vault's name for what the machine with this id of the provider is known by.
fn own(id: &str) -> String {
    format!("machine/{id}")
}

/// What a machine is known by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pins {
    /// The keys that are accepted: the first one, and after it the one that is about to take its place; or its own alone.
    pub accepted: Vec<String>,
    /// Whether it has a key of its own that no one else ever knew.
    pub own: bool,
}

/// What the machine with this id is known by; `None` when nothing is known of it. `name` is that of its first key.
#[must_use]
pub fn pins(vault: &Vault, name: &str, id: &str) -> Option<Pins> {
    let public = |name: String| vault.get(&format!("{name}/public")).map(|key| key.expose().to_owned());
    if let Some(key) = public(own(id)) {
        return Some(Pins { accepted: vec![key], own: true });
    }
    let first = public(host_key(name))?;
    let next = vault.get(&format!("{}/next", own(id))).map(|key| key.expose().to_owned());
    Some(Pins { accepted: std::iter::once(first).chain(next).collect(), own: false })
}

/// Accepts a key beside the first one of a machine.
pub(super) fn expect(vault: &mut Vault, id: &str, key: &str) {
    vault.put_public(&format!("{}/next", own(id)), key);
}

/// Accepts nothing but this key any more.
pub(super) fn pin(vault: &mut Vault, id: &str, key: &str) {
    vault.forget(&own(id));
    vault.put_public(&format!("{}/public", own(id)), key);
}

/// Forgets what a machine was known by: it is gone.
pub(super) fn forget(vault: &mut Vault, id: &str) {
    vault.forget(&own(id));
}

/// Something to write down of a machine's key, and who waits until it is written.
#[derive(Debug)]
struct Note {
    id: String,
    key: String,
    last: bool,
    written: oneshot::Sender<Result<()>>,
}

impl Note {
    fn write(&self, vault: &mut Vault) {
        if self.last {
            pin(vault, &self.id, &self.key);
        } else {
            expect(vault, &self.id, &self.key);
        }
    }
}

/// Writes down host keys while playbooks run: the end that connections have.
#[derive(Clone, Debug)]
pub struct Keeper(mpsc::UnboundedSender<Note>);

/// The end that writes.
#[derive(Debug)]
pub struct Notes(mpsc::UnboundedReceiver<Note>);

/// The two ends.
#[must_use]
pub fn keeper() -> (Keeper, Notes) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (Keeper(sender), Notes(receiver))
}

#[cfg(test)]
impl Notes {
    /// Writes everything into a vault; as long as `broken` says so, that fails.
    pub(crate) async fn into_vault(
        mut self, vault: std::sync::Arc<std::sync::Mutex<Vault>>, broken: impl Fn() -> bool,
    ) {
        while let Some(note) = self.0.recv().await {
            let written = if broken() { Err(Error::new("the state is gone")) } else { Ok(()) };
            if written.is_ok() {
                note.write(&mut vault.lock().expect("no thread panics while it holds the vault"));
            }
            let _ = note.written.send(written);
        }
    }
}

impl Keeper {
    /// Waits until the state says that this key is accepted too.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn expect(&self, id: &str, key: &str) -> Result<()> {
        self.note(id, key, false).await
    }

    /// Waits until the state says that nothing but this key is accepted.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn pin(&self, id: &str, key: &str) -> Result<()> {
        self.note(id, key, true).await
    }

    async fn note(&self, id: &str, key: &str, last: bool) -> Result<()> {
        let gone = || Error::new("the command ends, and writes nothing down any more");
        let (written, answer) = oneshot::channel();
        self.0.send(Note { id: id.to_owned(), key: key.to_owned(), last, written }).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

impl Run<'_> {
    /// Does some work, and writes down the host keys that its connections report meanwhile.
    pub async fn keeping<T>(&self, notes: Notes, work: impl Future<Output = T>) -> T {
        let notes = stream::unfold(notes.0, |mut notes| async { Some((notes.recv().await?, notes)) });
        // Those that come together are written together.
        let writing = notes.for_each_concurrent(None, |note| async move {
            let change = |vault: &mut Vault| {
                note.write(vault);
                Ok(())
            };
            // Who has stopped waiting hears nothing of it.
            let written = self.with_vault(change).await;
            let _ = note.written.send(written);
        });
        let writing = async {
            writing.await;
            std::future::pending().await
        };
        tokio::select! {
            done = work => done,
            never = writing => never,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Vault, expect, forget, pin, pins};

    #[test]
    fn both_keys_are_accepted_while_one_takes_the_place_of_the_other() {
        let mut vault = Vault::default();
        assert_eq!(pins(&vault, "a", "i-1"), None);
        vault.put_public("host/a/public", "first");
        let accepted = |vault: &Vault, id: &str| pins(vault, "a", id).unwrap().accepted;
        assert_eq!(accepted(&vault, "i-1"), ["first"]);
        expect(&mut vault, "i-1", "second");
        assert_eq!(accepted(&vault, "i-1"), ["first", "second"]);
        assert_eq!(accepted(&vault, "i-2"), ["first"], "another machine of the group");
        pin(&mut vault, "i-1", "second");
        assert_eq!(accepted(&vault, "i-1"), ["second"]);
        forget(&mut vault, "i-1");
        assert_eq!(accepted(&vault, "i-1"), ["first"]);
    }
}
