//! What a shell has printed and no one has read yet. It is bounded: a machine that prints more than a request may answer is
//! cut off here, before it costs memory, and its connection is never left unread.

use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::Notify;
use tokio_util::sync::{CancellationToken, DropGuard};

/// How many bytes may wait for their reader. The answers of one request have to fit, on both streams together.
pub const REQUEST_LIMIT: usize = 32 << 20;

/// The writing end: the maker of a shell feeds what it prints into one of these, at once and without ever waiting.
#[derive(Clone)]
pub struct Feed(Arc<Inbox>);

/// The reading end. When it is dropped the shell is not needed any more.
pub(super) struct Reader {
    inbox: Arc<Inbox>,
    _closes: DropGuard,
}

#[derive(Default)]
struct Inbox {
    printed: Mutex<Printed>,
    changed: Notify,
    closed: CancellationToken,
}

/// What came in.
#[derive(Default)]
pub(super) struct Printed {
    pub(super) out: Vec<u8>,
    pub(super) err: Vec<u8>,
    /// Bytes that were taken out during the present request.
    pub(super) taken: usize,
    /// Whether the limit was passed; nothing more is taken in then.
    pub(super) flooded: bool,
    /// Set when the shell has ended.
    pub(super) ended: Option<End>,
}

/// The end of a shell.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    /// Its exit status, when that is known.
    pub(super) status: Option<u32>,
}

impl Printed {
    fn room(&self) -> usize {
        REQUEST_LIMIT.saturating_sub(self.taken + self.out.len() + self.err.len())
    }
}

/// The two ends of an inbox.
pub(super) fn inbox() -> (Feed, Reader) {
    let inbox = Arc::new(Inbox::default());
    let closes = inbox.closed.clone().drop_guard();
    (Feed(Arc::clone(&inbox)), Reader { inbox, _closes: closes })
}

impl Feed {
    /// Takes in a piece of standard output. `false` means that no more is wanted.
    #[must_use]
    pub fn out(&self, bytes: &[u8]) -> bool {
        self.take(bytes, |printed| &mut printed.out)
    }

    /// Takes in a piece of standard error. `false` means that no more is wanted.
    #[must_use]
    pub fn err(&self, bytes: &[u8]) -> bool {
        self.take(bytes, |printed| &mut printed.err)
    }

    fn take(&self, bytes: &[u8], stream: impl FnOnce(&mut Printed) -> &mut Vec<u8>) -> bool {
        let mut printed = self.0.lock();
        let fits = !printed.flooded && bytes.len() <= printed.room();
        if fits {
            stream(&mut printed).extend_from_slice(bytes);
        } else {
            printed.flooded = true;
        }
        drop(printed);
        self.0.changed.notify_one();
        fits && !self.0.closed.is_cancelled()
    }

    /// The shell has ended.
    pub fn end(&self, status: Option<u32>) {
        self.0.lock().ended.get_or_insert(End { status });
        self.0.changed.notify_one();
    }

    /// Returns when no one reads any more: the shell must be closed.
    pub async fn closed(&self) {
        self.0.closed.cancelled().await;
    }
}

impl Inbox {
    fn lock(&self) -> MutexGuard<'_, Printed> {
        self.printed.lock().expect("nothing panics while it holds the bytes")
    }
}

impl Reader {
    /// What is there now.
    pub(super) fn printed(&self) -> MutexGuard<'_, Printed> {
        self.inbox.lock()
    }

    /// Waits until there is more.
    pub(super) async fn changed(&self) {
        self.inbox.changed.notified().await;
    }
}
