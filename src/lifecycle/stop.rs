//! When a command has to end: its deadline, and whether it was asked to stop, as a value. Several commands of one process
//! each have their own.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use tokio::time::Instant;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::{
    cloud::retry,
    error::{Error, Result},
    event::Events,
};

/// How long a command that was asked to stop may take to end by itself. Calls of providers are ended within one second.
const PATIENCE: Duration = Duration::from_millis(1500);

/// How long the last words of a command may take: its line in the history, and giving back the lease.
const ENDING: Duration = Duration::from_secs(5);

/// Why a command stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Ctrl-C, or the caller has no use for it any more.
    Interrupted,
    /// SIGTERM.
    Terminated,
    /// Its time is up.
    TimedOut,
    /// Another command has taken over the environment's lease.
    LeaseLost,
}

impl Reason {
    /// What is said when a command stops.
    fn text(self) -> &'static str {
        match self {
            Self::Interrupted | Self::Terminated => {
                "stopping: calls that run are ended, nothing new is begun; once more stops at once"
            }
            Self::TimedOut => "stopping: the time of `--timeout` is up; calls that run are ended, nothing new is begun",
            Self::LeaseLost => "stopping: another command has taken over the environment",
        }
    }
}

/// When a command has to end. Clones are the same one; each command has its own.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    token: CancellationToken,
    deadline: Option<Instant>,
    reason: Arc<OnceLock<Reason>>,
    /// Why the command stops that this is a part of.
    outer: Option<Arc<OnceLock<Reason>>>,
    /// Held by work that ends by itself soon after it was asked to.
    held: Arc<tokio::sync::RwLock<()>>,
}

impl Stop {
    /// For a command that may take this long, or as long as it needs.
    #[must_use]
    pub fn within(time: Option<Duration>) -> Self {
        Self { deadline: time.map(|time| Instant::now() + time), ..Self::default() }
    }

    /// For a part of the command: it stops with the command, and may be asked to stop alone.
    #[must_use]
    pub(super) fn part(&self) -> Self {
        Self {
            token: self.token.child_token(),
            deadline: self.deadline,
            reason: Arc::default(),
            outer: Some(Arc::clone(&self.reason)),
            held: Arc::clone(&self.held),
        }
    }

    /// Asks to stop. The first reason counts.
    pub fn request(&self, reason: Reason) {
        let _ = self.reason.set(reason);
        self.token.cancel();
    }

    /// Whether it was asked to stop.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Why it stops, once it was asked to or its time is up.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        let own = self.reason.get().or_else(|| self.outer.as_ref()?.get()).copied();
        own.or_else(|| self.deadline.is_some_and(|deadline| deadline <= Instant::now()).then_some(Reason::TimedOut))
    }

    /// Until when it may run.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// What those wait for who end their calls when they are asked to stop.
    #[must_use]
    pub fn token(&self) -> &CancellationToken {
        &self.token
    }

    /// Waits until it is asked to stop.
    pub async fn requested(&self) {
        self.token.cancelled().await;
    }

    /// Whether it was asked to stop or its time is up.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.is_requested() || self.reason().is_some()
    }

    /// Runs work that ends by itself, soon after it was asked to stop: it is not given up meanwhile.
    pub(super) async fn holding<T>(&self, work: impl Future<Output = T>) -> T {
        let _held = self.held.read().await;
        work.await
    }

    /// Runs what a command does. It is asked to stop when its time is up and when its lease is lost, it is said why, and what has
    /// not ended by itself soon afterwards is given up.
    ///
    /// # Errors
    /// Those of the work, or when it was given up.
    pub(super) async fn watched<T>(
        &self, what: &str, lost: Option<CancellationToken>, events: &Events, work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let _watch = self.watch(lost.unwrap_or_default(), events.clone());
        tokio::select! {
            result = work => result,
            () = self.patience_is_over() => {
                Err(Error::interrupted("stopped; what was done is in the state").hint(format!("run `{what}` again")))
            }
        }
    }

    /// Asks the command to stop when its lease is lost or its time is up, and says why it stops.
    fn watch(&self, lost: CancellationToken, events: Events) -> AbortOnDropHandle<()> {
        let stop = self.clone();
        AbortOnDropHandle::new(tokio::spawn(async move {
            tokio::select! {
                () = stop.requested() => {}
                () = stop.time_is_up() => stop.request(Reason::TimedOut),
                () = lost.cancelled() => stop.request(Reason::LeaseLost),
            }
            events.warn(stop.reason().unwrap_or(Reason::Interrupted).text());
        }))
    }

    /// Runs the last words of a command, which have a time of their own, whatever made it end; nothing when that was not enough.
    pub(super) async fn ending<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        // On the heap: every future that ends so would have it inside.
        let work = Box::pin(work);
        if self.is_over() {
            let end = Some(Instant::now() + ENDING);
            return self.holding(tokio::time::timeout(ENDING, retry::ending(end, work))).await.ok();
        }
        // Until it is asked to stop it has the time of the command.
        let cut_off = async {
            tokio::select! {
                () = self.requested() => {}
                () = self.time_is_up() => {}
            }
            tokio::time::sleep(ENDING).await;
        };
        self.holding(async {
            tokio::select! {
                done = retry::ending(self.deadline.map(|deadline| deadline + ENDING), work) => Some(done),
                () = cut_off => None,
            }
        })
        .await
    }

    /// Waits until what goes on may be given up: a while after it was asked to stop.
    async fn patience_is_over(&self) {
        self.requested().await;
        self.patience().await;
    }

    /// Waits until its time has been up for so long that it is given up, whatever it does.
    pub async fn time_is_long_up(&self) {
        self.time_is_up().await;
        self.patience().await;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }

    /// What ended by itself has as much time afterwards as all else.
    async fn patience(&self) {
        loop {
            drop(self.held.write().await);
            tokio::time::sleep(PATIENCE).await;
            if self.held.try_write().is_ok() {
                return;
            }
        }
    }

    /// Waits for the end of its time, which may never come.
    pub(super) async fn time_is_up(&self) {
        match self.deadline {
            Some(deadline) => tokio::time::sleep_until(deadline).await,
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Reason, Stop};

    #[tokio::test(start_paused = true)]
    async fn the_first_reason_counts_and_time_is_one() {
        let stop = Stop::within(Some(Duration::from_secs(5)));
        assert!(!stop.is_over() && stop.reason().is_none());
        stop.request(Reason::Terminated);
        stop.request(Reason::Interrupted);
        assert_eq!(stop.reason(), Some(Reason::Terminated));
        let late = Stop::within(Some(Duration::from_secs(5)));
        late.time_is_up().await;
        assert!(late.is_over() && !late.is_requested());
        assert_eq!(late.reason(), Some(Reason::TimedOut));
    }

    #[tokio::test(start_paused = true)]
    async fn a_part_stops_with_the_command_and_alone() {
        let stop = Stop::within(Some(Duration::from_secs(5)));
        let (one, other) = (stop.part(), stop.part());
        one.request(Reason::LeaseLost);
        assert!(one.is_over() && !stop.is_over() && !other.is_over());
        stop.request(Reason::Terminated);
        assert_eq!((one.reason(), other.reason()), (Some(Reason::LeaseLost), Some(Reason::Terminated)));
        assert!(other.is_requested());
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_a_command_is_cut_off_only_when_it_was_asked_to_stop() {
        let slow = || tokio::time::sleep(Duration::from_secs(20));
        assert!(Stop::default().ending(slow()).await.is_some());
        let stop = Stop::default();
        let begun = tokio::time::Instant::now();
        let asked = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            stop.request(Reason::Interrupted);
        };
        let (ended, ()) = tokio::join!(stop.ending(slow()), asked);
        assert!(ended.is_none() && begun.elapsed() <= Duration::from_secs(7), "{:?}", begun.elapsed());
        assert!(stop.ending(slow()).await.is_none());
        let timed = Stop::within(Some(Duration::from_secs(1)));
        assert!(timed.ending(slow()).await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_end_is_given_up_but_for_what_ends_by_itself() {
        let stop = Stop::default();
        stop.request(Reason::Interrupted);
        let begun = tokio::time::Instant::now();
        let given_up = async {
            tokio::select! {
                () = stop.patience_is_over() => begun.elapsed(),
                () = std::future::pending() => unreachable!(),
            }
        };
        assert!(given_up.await <= Duration::from_secs(2));
        let slow = async {
            stop.holding(tokio::time::sleep(Duration::from_secs(7))).await;
            // What it says at its end is heard.
            tokio::time::sleep(Duration::from_secs(1)).await;
        };
        tokio::select! {
            () = stop.patience_is_over() => panic!("it was given up"),
            () = slow => {}
        }
    }
}
