//! Which hosts are still in the run, and whether the run goes on.

use std::{collections::BTreeSet, sync::Mutex};

use tokio::sync::watch;

/// Who is out of the run, and why no more plays begin.
#[derive(Debug, Default)]
pub struct Roster {
    out: Mutex<BTreeSet<String>>,
    ended: Mutex<Option<String>>,
}

const HELD: &str = "no task panics while it holds the roster";

impl Roster {
    /// A host has failed or cannot be reached: it is in no later play.
    pub(super) fn leave(&self, host: &str) {
        self.out.lock().expect(HELD).insert(host.to_owned());
    }

    /// These hosts are in the run again.
    pub(super) fn readmit(&self, hosts: &[String]) {
        self.out.lock().expect(HELD).retain(|host| !hosts.contains(host));
    }

    /// The hosts of a list that are still in the run.
    pub(super) fn remaining(&self, hosts: &[String]) -> Vec<String> {
        let out = self.out.lock().expect(HELD);
        hosts.iter().filter(|host| !out.contains(*host)).cloned().collect()
    }

    /// No play begins any more, for this reason.
    pub(super) fn end(&self, why: String) {
        self.ended.lock().expect(HELD).get_or_insert(why);
    }

    /// Why no play begins any more.
    pub(super) fn ended(&self) -> Option<String> {
        self.ended.lock().expect(HELD).clone()
    }
}

/// A play as other plays see it: which hosts it is for, and how it ended.
pub(super) struct Ending {
    pub(super) number: usize,
    pub(super) name: String,
    pub(super) hosts: Vec<String>,
    ended: watch::Sender<Option<bool>>,
}

impl Ending {
    pub(super) fn new(number: usize, name: String, hosts: Vec<String>) -> Self {
        Self { number, name, hosts, ended: watch::Sender::new(None) }
    }

    /// The play has ended; whether the run goes on after it.
    pub(super) fn set(&self, goes_on: bool) {
        self.ended.send_replace(Some(goes_on));
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended.borrow().is_some()
    }

    /// Waits for the end of the play, and says whether the run goes on after it.
    pub(super) async fn wait(&self) -> bool {
        let mut ended = self.ended.subscribe();
        // The sender lives as long as the run, so this only ends when the play has.
        ended.wait_for(Option::is_some).await.is_ok_and(|ended| *ended == Some(true))
    }
}
