//! One writer: a lease on an environment, with a queue before it and a number that fences off those who lost it.
//!
//! The lease is a document in the backend. Its holder renews it every ten seconds; one that was not renewed for thirty has
//! ended, however its holder ended. Those who wait are in a queue in the same document and renew their places likewise, so that
//! the first come is the first served. Each holder gets a higher number than all before it. The state is rewritten with that
//! number when the lease begins, so that a late write of an earlier holder, which expects its own version, is refused.
//!
//! Clocks of machines differ: whether a lease is still renewed is seen by watching it for as long as it lasts, and its times
//! decide nothing. They only say for whom that is worth the time: a command that does not want to wait is refused at once by a
//! holder that renewed its lease just now, and watches one that seems to have stopped.

use std::{collections::HashMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    backend::{Backend, Expect, Tag},
    process::{Process, whoami},
};
use crate::{
    clock::Clock,
    error::{Error, Result},
    event::{self, Events, Wait},
    identity,
    name::Name,
};

/// How long a lease lasts, and how often it is renewed.
#[derive(Clone, Copy, Debug)]
pub struct Term {
    /// How long it lasts without being renewed.
    pub lease: Duration,
    /// How often it is renewed.
    pub heartbeat: Duration,
}

impl Default for Term {
    fn default() -> Self {
        Self { lease: Duration::from_secs(30), heartbeat: Duration::from_secs(10) }
    }
}

/// Who holds the lease, or waits for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claimant {
    id: String,
    /// The command.
    pub what: String,
    /// `user@machine`.
    pub who: String,
    /// Its process.
    pub process: Process,
    /// Since when.
    pub since: Timestamp,
    /// When it said so last, by its own clock.
    pub renewed: Timestamp,
    /// How often it has said so.
    beat: u64,
}

impl Claimant {
    fn new(what: &str) -> Result<Self> {
        let now = Clock::System.now();
        let id = identity::random_text(16)?;
        let process = Process::current();
        Ok(Self { id, what: what.to_owned(), who: whoami(), process, since: now, renewed: now, beat: 0 })
    }

    fn renewed(mut self) -> Self {
        self.beat += 1;
        self.renewed = Clock::System.now();
        self
    }
}

impl std::fmt::Display for Claimant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}` of {} (process {}, since {})", self.what, self.who, self.process.id, self.since)
    }
}

/// The document.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Book {
    /// The number of the latest holder.
    pub fence: u64,
    /// Who holds it.
    pub holder: Option<Claimant>,
    /// Who waits, the first come first.
    #[serde(default)]
    pub queue: Vec<Claimant>,
}

/// The key of an environment's lease.
fn key(environment: &Name) -> String {
    format!("{environment}/lease.json")
}

/// The environment that a lease's key belongs to.
fn environment_of(key: &str) -> &str {
    key.strip_suffix("/lease.json").unwrap_or(key)
}

/// What is there: a book, or a text that is none.
async fn found(backend: &dyn Backend, key: &str) -> Result<(Result<Book, serde_json::Error>, Option<Tag>)> {
    Ok(match backend.get(key).await? {
        None => (Ok(Book::default()), None),
        Some((text, tag)) => (serde_json::from_str(&text), Some(tag)),
    })
}

async fn read(backend: &dyn Backend, key: &str) -> Result<(Book, Option<Tag>)> {
    let (book, tag) = found(backend, key).await?;
    let book = book.map_err(|error| {
        let place = backend.place();
        Error::new(format!("the lease `{place}/{key}` cannot be read: {error}"))
            .hint("nothing was changed: it is not known whether another command holds the environment")
            .hint(format!("when none is running, `infra state unlock {}` replaces it", environment_of(key)))
    })?;
    Ok((book, tag))
}

async fn write(backend: &dyn Backend, key: &str, book: &Book, tag: Option<Tag>) -> Result<Option<Tag>> {
    backend.put(key, &serde_json::to_string_pretty(book)?, &tag.map_or(Expect::Absent, Expect::Tag)).await
}

/// The lease of an environment, as it is.
///
/// # Errors
/// When the backend does not answer, or the lease cannot be read.
pub async fn look(backend: &dyn Backend, environment: &Name) -> Result<Book> {
    Ok(read(backend, &key(environment)).await?.0)
}

/// Whether the lease of an environment can be read.
///
/// # Errors
/// When the backend does not answer.
pub async fn is_readable(backend: &dyn Backend, environment: &Name) -> Result<bool> {
    Ok(found(backend, &key(environment)).await?.0.is_ok())
}

/// What this process has seen of a claimant.
struct Seen {
    beat: u64,
    /// When that was seen first.
    since: Instant,
    /// Whether it was seen to renew its claim.
    renews: bool,
}

/// What this process has seen of all claimants.
struct Watch {
    term: Duration,
    seen: HashMap<String, Seen>,
}

impl Watch {
    fn look(&mut self, one: &Claimant) -> &Seen {
        let now = Seen { beat: one.beat, since: Instant::now(), renews: false };
        let seen = self.seen.entry(one.id.clone()).or_insert(now);
        if seen.beat != one.beat {
            *seen = Seen { beat: one.beat, since: Instant::now(), renews: true };
        }
        seen
    }

    fn is_dead(&mut self, one: &Claimant) -> bool {
        let term = self.term;
        one.process.is_gone() || self.look(one).since.elapsed() >= term
    }

    /// Until when a claimant has to be watched before it is known whether it is dead. `None` for one that was seen to renew
    /// its claim, and for one that says that it did so just now.
    fn undecided_until(&mut self, one: &Claimant) -> Option<Instant> {
        let term = self.term;
        let age = Clock::System.now().as_second() - one.renewed.as_second();
        let seen = self.look(one);
        (!seen.renews && age.unsigned_abs() > 2 * term.as_secs()).then(|| seen.since + term)
    }
}

/// A held lease. Give it back with [`Lease::release`]; one that is dropped ends by itself.
#[derive(Debug)]
pub struct Lease {
    backend: Arc<dyn Backend>,
    key: String,
    id: String,
    fence: u64,
    lost: CancellationToken,
    heart: tokio::task::JoinHandle<()>,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.heart.abort();
    }
}

impl Lease {
    /// Takes the lease of an environment, waiting at most `wait` for others.
    ///
    /// # Errors
    /// When others hold it for longer; the holder and the place in the queue are named.
    pub async fn acquire(
        backend: &Arc<dyn Backend>, environment: &Name, what: &str, wait: Duration, term: Term, events: &Events,
    ) -> Result<Self> {
        let key = key(environment);
        let deadline = Instant::now() + wait;
        let mut own = Claimant::new(what)?;
        let mut watch = Watch { term: term.lease, seen: HashMap::new() };
        let mut said = String::new();
        let mut awaited: Option<Wait> = None;
        let mut renewed = Instant::now();
        loop {
            let (mut book, tag) = read(backend.as_ref(), &key).await?;
            if tag.is_none() {
                backend.probe().await?;
            }
            let before = book.clone();
            if book.holder.as_ref().is_some_and(|holder| holder.id != own.id && watch.is_dead(holder)) {
                book.holder = None;
            }
            book.queue.retain(|other| other.id == own.id || !watch.is_dead(other));
            let place = book.queue.iter().position(|other| other.id == own.id);
            let ahead = place.unwrap_or(book.queue.len());
            // A write whose answer was lost may have made us the holder already.
            let ours = book.holder.as_ref().is_some_and(|holder| holder.id == own.id);
            if ours || (book.holder.is_none() && ahead == 0) {
                if !ours {
                    book.fence += 1;
                }
                book.queue.retain(|other| other.id != own.id);
                own = Claimant { since: Clock::System.now(), ..own }.renewed();
                book.holder = Some(own.clone());
                if write(backend.as_ref(), &key, &book, tag).await?.is_some() {
                    return Ok(Self::held(backend, key, own, book.fence, term));
                }
                continue;
            }
            let holder = book.holder.as_ref().or(book.queue.first());
            let undecided = holder.and_then(|holder| watch.undecided_until(holder));
            let until = undecided.map_or(deadline, |undecided| undecided.max(deadline));
            let holder = holder.map_or_else(|| "another command".to_owned(), ToString::to_string);
            if Instant::now() >= until {
                book.queue.retain(|other| other.id != own.id);
                if book != before && write(backend.as_ref(), &key, &book, tag).await?.is_none() {
                    continue;
                }
                let behind = if ahead == 0 { String::new() } else { format!(", and {ahead} more wait for it") };
                return Err(Error::new(format!("the environment `{environment}` is held by {holder}{behind}"))
                    .hint("wait for it to end, or give `--lock-timeout 10m` to wait longer")
                    .hint(format!("if it cannot be running any more: `infra state unlock {environment}`")));
            }
            match place {
                None => {
                    // One that was taken for dead is seen to live.
                    own = own.renewed();
                    book.queue.push(own.clone());
                }
                Some(place) if renewed.elapsed() >= term.heartbeat => {
                    own = own.renewed();
                    book.queue[place] = own.clone();
                }
                Some(_) => {}
            }
            if book != before {
                if write(backend.as_ref(), &key, &book, tag).await?.is_none() {
                    continue;
                }
                renewed = Instant::now();
            }
            let now = format!("{holder}; place {} in the queue", ahead + 1);
            if now != said {
                events.warn(format!("waiting for {now}"));
                match &awaited {
                    Some(awaited) => awaited.is_for(&now),
                    None => awaited = Some(event::wait_for(&now)),
                }
                said = now;
            }
            tokio::time::sleep(backend.poll().min(until.saturating_duration_since(Instant::now()))).await;
        }
    }

    fn held(backend: &Arc<dyn Backend>, key: String, own: Claimant, fence: u64, term: Term) -> Self {
        let lost = CancellationToken::new();
        let id = own.id.clone();
        let heart = tokio::spawn(beat(Arc::clone(backend), key.clone(), own, term, lost.clone()));
        Self { backend: Arc::clone(backend), key, id, fence, lost, heart }
    }

    /// The number of this holder: higher than that of all before it.
    #[must_use]
    pub fn fence(&self) -> u64 {
        self.fence
    }

    /// Cancelled when the lease is lost: those who work under it must stop.
    #[must_use]
    pub fn lost(&self) -> &CancellationToken {
        &self.lost
    }

    /// What shows that this holder still has the lease, for those who work under it.
    pub(super) fn proof(&self) -> Proof {
        Proof { backend: Arc::clone(&self.backend), key: self.key.clone(), id: self.id.clone() }
    }

    /// Gives the lease back. When that fails, it ends by itself.
    pub async fn release(self) {
        self.heart.abort();
        loop {
            let Ok((mut book, tag)) = read(self.backend.as_ref(), &self.key).await else { return };
            if book.holder.as_ref().is_none_or(|holder| holder.id != self.id) {
                return;
            }
            book.holder = None;
            match write(self.backend.as_ref(), &self.key, &book, tag).await {
                Ok(None) => {}
                Ok(Some(_)) | Err(_) => return,
            }
        }
    }
}

/// Shows whether a holder still has its lease.
#[derive(Clone, Debug)]
pub(super) struct Proof {
    backend: Arc<dyn Backend>,
    key: String,
    id: String,
}

impl Proof {
    /// Whether the lease is still held, by what the backend says now.
    pub(super) async fn holds(&self) -> Result<bool> {
        let (book, _) = read(self.backend.as_ref(), &self.key).await?;
        Ok(book.holder.is_some_and(|holder| holder.id == self.id))
    }
}

/// Renews the lease until it is given back or lost.
async fn beat(backend: Arc<dyn Backend>, key: String, own: Claimant, term: Term, lost: CancellationToken) {
    let mut renewed = Instant::now();
    let mut own = own;
    loop {
        tokio::time::sleep(term.heartbeat).await;
        own = own.renewed();
        loop {
            let result = async {
                let (mut book, tag) = read(backend.as_ref(), &key).await?;
                if book.holder.as_ref().is_none_or(|holder| holder.id != own.id) {
                    return Ok(Some(false));
                }
                book.holder = Some(own.clone());
                Ok::<_, Error>(write(backend.as_ref(), &key, &book, tag).await?.map(|_| true))
            };
            let asked = Instant::now();
            // A call that does not come back in time has renewed nothing.
            let Ok(result) = tokio::time::timeout_at(renewed + term.lease, result).await else { return lost.cancel() };
            match result {
                Ok(Some(true)) => {
                    renewed = asked;
                    break;
                }
                // Someone joined the queue in the same moment.
                Ok(None) => {}
                Ok(Some(false)) => return lost.cancel(),
                // A backend that is out of reach for longer than the lease lasts has given it to another one by now.
                Err(_) if renewed.elapsed() >= term.lease => return lost.cancel(),
                Err(_) => break,
            }
        }
    }
}

/// Takes the lease from a holder that is believed to be dead and returns that holder; its late writes are refused from now on.
/// A lease that cannot be read is replaced.
///
/// # Errors
/// When the backend does not answer.
pub async fn unlock(backend: &dyn Backend, environment: &Name) -> Result<Option<Claimant>> {
    let key = key(environment);
    loop {
        let (book, tag) = found(backend, &key).await?;
        // The number of an unreadable one is lost. The state knows a number too, and moves on from the higher of both.
        let readable = book.is_ok();
        let mut book = book.unwrap_or_default();
        let holder = book.holder.take();
        if readable && holder.is_none() {
            return Ok(None);
        }
        if write(backend, &key, &book, tag).await?.is_some() {
            return Ok(holder);
        }
    }
}
