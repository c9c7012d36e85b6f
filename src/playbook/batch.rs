//! The hosts that go through a play at the same time, and what one of them means for the others: failures that are failures of
//! all, tasks that run once or on a few hosts at a time, the end of the play.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::sync::{Semaphore, watch};

use super::{lockstep::Lockstep, task_end::TaskEnd};

const HELD: &str = "no task panics while it holds a batch";

/// How far a play has been ended by one of its tasks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ended {
    /// It goes on.
    #[default]
    Not,
    /// `meta: end_batch`.
    Batch,
    /// `meta: end_play`.
    Play,
}

/// A failure of one host that is one of all.
#[derive(Clone, Debug)]
pub(super) struct Fatal {
    /// The host that has failed.
    pub(super) by: String,
    /// What is said to the others.
    pub(super) why: String,
    /// Whether it is a failure of the hosts themselves, which `rescue` may make up for.
    pub(super) rescued: bool,
}

/// The result of a task that runs once: `Err` when its host was lost.
type OnceEnd = Result<TaskEnd, String>;

/// How far a task that runs once is.
#[derive(Clone, Default)]
enum Turn {
    /// The first host has not come to it yet, or runs it.
    #[default]
    Open,
    /// The first host does not run it: another one may.
    Passed,
    Ended(OnceEnd),
}

/// A task that runs once.
#[derive(Default)]
pub(super) struct Once {
    claimed: AtomicBool,
    turn: watch::Sender<Turn>,
}

impl Once {
    /// Whether the caller is the one who runs it.
    pub(super) fn claim(&self) -> bool {
        !self.claimed.swap(true, Ordering::SeqCst)
    }

    pub(super) fn set(&self, end: OnceEnd) {
        self.turn.send_replace(Turn::Ended(end));
    }

    /// The host whose turn it is does not run it, unless it does already.
    pub(super) fn pass(&self) {
        if !self.claimed.load(Ordering::SeqCst) {
            self.turn.send_if_modified(|turn| {
                let open = matches!(turn, Turn::Open);
                if open {
                    *turn = Turn::Passed;
                }
                open
            });
        }
    }

    /// Its result, or nothing when the caller is now the one who runs it.
    pub(super) async fn wait(&self) -> Option<OnceEnd> {
        let mut turn = self.turn.subscribe();
        let passed =
            turn.wait_for(|turn| !matches!(turn, Turn::Open)).await.is_ok_and(|turn| matches!(*turn, Turn::Passed));
        if passed && self.claim() {
            return None;
        }
        match turn.wait_for(|turn| matches!(turn, Turn::Ended(_))).await.as_deref() {
            Ok(Turn::Ended(end)) => Some(end.clone()),
            _ => Some(Err("the run has ended".to_owned())),
        }
    }
}

#[derive(Default)]
struct State {
    failed: BTreeSet<String>,
    /// Hosts that cannot be reached.
    lost: BTreeSet<String>,
    fatals: Vec<Fatal>,
    ended: Ended,
    /// Why the run ends with this batch.
    broken: Option<String>,
    throttles: HashMap<String, Arc<Semaphore>>,
    once: HashMap<String, Arc<Once>>,
}

/// The hosts that go through a play at the same time.
pub(super) struct Batch {
    /// The hosts that are in it at its beginning.
    pub(super) hosts: Vec<String>,
    /// How many there would be if none had failed before.
    size: usize,
    max_fail_percentage: Option<f64>,
    /// What keeps them together; nothing in a free play.
    pub(super) lockstep: Option<Lockstep>,
    state: Mutex<State>,
}

impl Batch {
    pub(super) fn new(hosts: Vec<String>, size: usize, max_fail_percentage: Option<f64>, free: bool) -> Self {
        let lockstep = (!free).then(|| Lockstep::new(&hosts));
        Self { hosts, size, max_fail_percentage, lockstep, state: Mutex::default() }
    }

    /// A host has failed and nothing makes up for it.
    pub(super) fn fail(&self, host: &str) {
        let mut state = self.state.lock().expect(HELD);
        state.failed.insert(host.to_owned());
        let Some(most) = self.max_fail_percentage else { return };
        #[expect(clippy::cast_precision_loss, reason = "numbers of hosts are small")]
        let percent = state.failed.len() as f64 / self.size.max(1) as f64 * 100.0;
        if percent > most && state.broken.is_none() {
            let why =
                format!("{percent:.0} % of the hosts have failed, which is more than `max_fail_percentage: {most}`");
            state.broken = Some(why.clone());
            self.push(&mut state, Fatal { by: host.to_owned(), why, rescued: false });
        }
    }

    /// A host cannot be reached.
    pub(super) fn lose(&self, host: &str) {
        self.state.lock().expect(HELD).lost.insert(host.to_owned());
    }

    /// A task has failed on a host, which is a failure of all of them.
    pub(super) fn fail_all(&self, host: &str, why: String) {
        let mut state = self.state.lock().expect(HELD);
        self.push(&mut state, Fatal { by: host.to_owned(), why, rescued: true });
    }

    fn push(&self, state: &mut State, fatal: Fatal) {
        state.fatals.push(fatal);
        if let Some(lockstep) = &self.lockstep {
            lockstep.note();
        }
    }

    /// The failures of all from this one on; those that hosts which begin a task together may know of, when they do.
    pub(super) fn fatals(&self, from: usize, noted: Option<usize>) -> Vec<Fatal> {
        let state = self.state.lock().expect(HELD);
        let to = noted.unwrap_or(usize::MAX).min(state.fatals.len());
        state.fatals.get(from..to).unwrap_or_default().to_vec()
    }

    /// What has failed counts no more.
    pub(super) fn clear_failures(&self) {
        let mut state = self.state.lock().expect(HELD);
        state.failed.clear();
        state.lost.clear();
    }

    pub(super) fn end(&self, ended: Ended) {
        let mut state = self.state.lock().expect(HELD);
        state.ended = state.ended.max(ended);
    }

    pub(super) fn ended(&self) -> Ended {
        self.state.lock().expect(HELD).ended
    }

    /// Why the run ends with this batch: too many hosts have failed, or all of them.
    pub(super) fn broken(&self) -> Option<String> {
        let state = self.state.lock().expect(HELD);
        let all = !self.hosts.is_empty()
            && self.hosts.iter().all(|host| state.failed.contains(host) || state.lost.contains(host));
        state.broken.clone().or_else(|| all.then(|| "all of its hosts have failed".to_owned()))
    }

    /// The permits of a task that runs on a few hosts at a time.
    pub(super) fn throttle(&self, task: &str, most: usize) -> Arc<Semaphore> {
        let mut state = self.state.lock().expect(HELD);
        Arc::clone(state.throttles.entry(task.to_owned()).or_insert_with(|| Arc::new(Semaphore::new(most))))
    }

    /// A task that runs once, by its place and visit.
    pub(super) fn once(&self, key: &str) -> Arc<Once> {
        let mut state = self.state.lock().expect(HELD);
        Arc::clone(state.once.entry(key.to_owned()).or_default())
    }
}

/// The sizes of `serial: [1, 25%, 5]` for this many hosts: the last one repeats.
pub(super) fn batches(hosts: &[String], serial: &[Serial]) -> Vec<Vec<String>> {
    let mut rest = hosts;
    let mut all = Vec::new();
    for at in 0.. {
        if rest.is_empty() {
            break;
        }
        let size = match serial.get(at).or(serial.last()) {
            Some(serial) => serial.of(hosts.len()),
            None => rest.len(),
        };
        let (batch, after) = rest.split_at(size.min(rest.len()));
        all.push(batch.to_vec());
        rest = after;
    }
    all
}

/// One number of `serial`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Serial {
    Count(i64),
    Percent(f64),
}

impl Serial {
    /// As it is written.
    pub(super) fn parse(text: &str) -> Option<Self> {
        match text.trim().strip_suffix('%') {
            Some(percent) => percent.trim().parse().ok().filter(|percent| *percent >= 0.0).map(Self::Percent),
            None => text.trim().parse().ok().map(Self::Count),
        }
    }

    /// How many of the hosts: at least one of a share, all of them for a number that is none.
    fn of(self, hosts: usize) -> usize {
        match self {
            Self::Count(count) => usize::try_from(count).ok().filter(|count| *count > 0).unwrap_or(hosts),
            #[expect(
                clippy::cast_precision_loss,
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a share of a few hosts"
            )]
            Self::Percent(percent) => ((hosts as f64 * percent / 100.0) as usize).max(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Batch, Once, Serial, TaskEnd, batches};

    fn hosts(count: usize) -> Vec<String> {
        (0..count).map(|n| n.to_string()).collect()
    }

    /// As `ansible-core` 2.19 does it.
    #[test]
    fn serial_batches() {
        let sizes = |serial: &[&str]| {
            let serial: Vec<Serial> = serial.iter().map(|text| Serial::parse(text).unwrap()).collect();
            batches(&hosts(5), &serial).iter().map(Vec::len).collect::<Vec<_>>()
        };
        assert_eq!(sizes(&[]), [5]);
        assert_eq!(sizes(&["1", "2"]), [1, 2, 2]);
        assert_eq!(sizes(&["40%"]), [2, 2, 1]);
        assert_eq!(sizes(&["1", "50%"]), [1, 2, 2]);
        assert_eq!(sizes(&["1%"]), [1, 1, 1, 1, 1]);
        assert_eq!(sizes(&["2", "0"]), [2, 3]);
        assert_eq!(sizes(&["2", "100%"]), [2, 3]);
        assert_eq!(Serial::parse("many"), None);
    }

    #[tokio::test]
    async fn a_task_that_the_first_host_passes_on_is_run_by_one_of_those_who_wait() {
        let once = Once::default();
        let ended = || Ok(TaskEnd::default());
        let second = async {
            let end = once.wait().await;
            if end.is_none() {
                once.set(ended());
            }
            end
        };
        let first = async { once.pass() };
        let ((), one, other) = tokio::join!(first, second, once.wait());
        assert!(one.is_none() && other.is_some_and(|end| end.is_ok()));
        // One that runs already is not passed on.
        let once = Once::default();
        assert!(once.claim());
        once.pass();
        once.set(ended());
        assert!(once.wait().await.is_some());
    }

    #[test]
    fn a_batch_is_broken_when_more_than_the_percentage_have_failed() {
        let batch = Batch::new(hosts(4), 4, Some(25.0), false);
        batch.fail("0");
        assert_eq!(batch.broken(), None);
        batch.fail("1");
        assert!(batch.broken().unwrap().contains("`max_fail_percentage: 25`"), "{:?}", batch.broken());
        assert_eq!((batch.fatals(0, None).len(), batch.fatals(0, Some(0)).len()), (1, 0));
    }
}
