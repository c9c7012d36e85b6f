//! When a command has to end: its deadline, and whether it was asked to stop, as a value. Several commands of one process
//! each have their own.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

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
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Interrupted | Self::Terminated => {
                "stopping: calls that run are ended, nothing new is begun; once more stops at once"
            }
            Self::TimedOut => "stopping: the time of `--timeout` is up; calls that run are ended, nothing new is begun",
            Self::LeaseLost => "stopping: another command has taken over the environment",
        }
    }
}

/// When a command has to end. Clones are the same one.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    token: CancellationToken,
    deadline: Option<Instant>,
    reason: Arc<OnceLock<Reason>>,
    parent: Option<Arc<Stop>>,
}

impl Stop {
    /// For a command that may take this long, or as long as it needs.
    #[must_use]
    pub fn within(time: Option<Duration>) -> Self {
        Self { deadline: time.map(|time| Instant::now() + time), ..Self::default() }
    }

    /// For a part of the command, which may have to stop by itself; it stops with the whole in any case.
    #[must_use]
    pub fn child(&self) -> Self {
        let parent = Some(Arc::new(self.clone()));
        Self { token: self.token.child_token(), deadline: self.deadline, reason: Arc::default(), parent }
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
        let own = self.reason.get().copied().or_else(|| self.parent.as_ref()?.reason());
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
    async fn a_part_stops_with_the_whole_and_not_the_other_way_round() {
        let whole = Stop::within(Some(Duration::from_secs(5)));
        let (first, second) = (whole.child(), whole.child());
        first.request(Reason::LeaseLost);
        assert!(first.is_requested() && !second.is_requested() && !whole.is_requested());
        assert_eq!((first.reason(), second.reason(), whole.reason()), (Some(Reason::LeaseLost), None, None));
        whole.request(Reason::Terminated);
        whole.request(Reason::Interrupted);
        second.requested().await;
        assert_eq!((first.reason(), second.reason()), (Some(Reason::LeaseLost), Some(Reason::Terminated)));
        let late = Stop::within(Some(Duration::from_secs(5))).child();
        late.time_is_up().await;
        assert_eq!(late.reason(), Some(Reason::TimedOut));
    }
}
