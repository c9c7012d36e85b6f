//! What a run has done, counted by host.

use std::collections::BTreeMap;

use serde::Serialize;

/// What happened on a host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct HostTally {
    /// Tasks that had nothing to do, or did it.
    pub ok: usize,
    /// Tasks that changed something.
    pub changed: usize,
    /// Tasks that were not for the host.
    pub skipped: usize,
    /// Tasks that failed.
    pub failed: usize,
    /// Failures that were ignored.
    pub ignored: usize,
    /// Whether the host was lost.
    pub unreachable: usize,
    /// Requests that were sent to hosts: what a play costs in round trips.
    pub execs: usize,
}

/// What happened on all hosts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Recap {
    /// By host.
    pub hosts: BTreeMap<String, HostTally>,
}

impl Recap {
    /// Whether no host failed or was lost.
    #[must_use]
    pub fn succeeded(&self) -> bool {
        self.hosts.values().all(|tally| tally.failed == 0 && tally.unreachable == 0)
    }

    /// Adds the counts of another run.
    pub fn add(&mut self, other: &Self) {
        for (host, tally) in &other.hosts {
            let mine = self.hosts.entry(host.clone()).or_default();
            mine.ok += tally.ok;
            mine.changed += tally.changed;
            mine.skipped += tally.skipped;
            mine.failed += tally.failed;
            mine.ignored += tally.ignored;
            mine.unreachable += tally.unreachable;
            mine.execs += tally.execs;
        }
    }
}
