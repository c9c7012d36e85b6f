//! The linear strategy: the hosts of a play begin a task together.
//!
//! Hosts are not always at the same place: one includes a file that another skips, one is in a `rescue`. As in Ansible, those
//! that are behind go on first. How far a host has come is told by how much work it has left, which shrinks on the way
//! through a play and grows by what is included.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::sync::watch;

/// The hosts that walk through a play together.
pub(super) struct Lockstep {
    hosts: Mutex<HashMap<String, Place>>,
    /// The hosts in their order.
    order: Vec<String>,
    /// How many failures of all there have been.
    noted: AtomicUsize,
    /// Counts how often hosts have been let go.
    rounds: watch::Sender<u64>,
}

/// What is true of a task when hosts begin it together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Together {
    /// The hosts, in their order.
    pub(super) hosts: Vec<String>,
    /// How many failures of all there were by then: a later one is none of theirs until they have ended the task.
    pub(super) noted: usize,
}

#[derive(Clone, PartialEq, Eq)]
enum Place {
    /// On its way to the next task, with those that were let go for the same one.
    Running(Arc<Together>),
    /// Before a task, with this much work left.
    Waiting(usize, String),
}

impl Lockstep {
    /// All of these hosts are awaited from the beginning, also those that have not begun.
    pub(super) fn new(hosts: &[String]) -> Self {
        let order = hosts.to_vec();
        let hosts = hosts.iter().map(|host| (host.clone(), Place::Running(Arc::default()))).collect();
        Self { hosts: Mutex::new(hosts), order, noted: AtomicUsize::new(0), rounds: watch::Sender::new(0) }
    }

    /// Waits until this host may begin the task before it, with which it has this much work left; the hosts that begin it
    /// together, in their order.
    pub(super) async fn turn(&self, host: &str, left: usize, task: &str) -> Arc<Together> {
        let mut rounds = self.rounds.subscribe();
        self.set(host, Some(Place::Waiting(left, task.to_owned())));
        // The sender lives as long as the play, so this only ends when the host is let go.
        let _ = rounds.wait_for(|_| self.companions(host).is_some()).await;
        self.companions(host).unwrap_or_default()
    }

    /// There is one more failure of all: those who wait are told when they are let go.
    pub(super) fn note(&self) {
        self.noted.fetch_add(1, Ordering::SeqCst);
    }

    /// This host has ended the play, in whatever way.
    pub(super) fn leave(&self, host: &str) {
        self.set(host, None);
    }

    /// With whom a host was let go; nothing while it waits.
    fn companions(&self, host: &str) -> Option<Arc<Together>> {
        match self.hosts.lock().expect("nothing panics here").get(host) {
            Some(Place::Running(companions)) => Some(Arc::clone(companions)),
            Some(Place::Waiting(..)) => None,
            None => Some(Arc::default()),
        }
    }

    /// Notes where a host is. When all of them wait, those with the most work left are let go.
    fn set(&self, host: &str, place: Option<Place>) {
        let mut hosts = self.hosts.lock().expect("nothing panics here");
        match place {
            Some(place) => drop(hosts.insert(host.to_owned(), place)),
            None => drop(hosts.remove(host)),
        }
        let waiting: Option<Vec<usize>> = hosts
            .values()
            .map(|place| match place {
                Place::Running(_) => None,
                Place::Waiting(left, _) => Some(*left),
            })
            .collect();
        let Some(most) = waiting.and_then(|waiting| waiting.into_iter().max()) else { return };
        let mut groups: HashMap<String, Vec<String>> = HashMap::new();
        for host in &self.order {
            if let Some(Place::Waiting(left, task)) = hosts.get(host)
                && *left == most
            {
                groups.entry(task.clone()).or_default().push(host.clone());
            }
        }
        let noted = self.noted.load(Ordering::SeqCst);
        for members in groups.into_values() {
            let together = Arc::new(Together { hosts: members, noted });
            for host in &together.hosts {
                hosts.insert(host.clone(), Place::Running(Arc::clone(&together)));
            }
        }
        drop(hosts);
        self.rounds.send_modify(|rounds| *rounds += 1);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::Lockstep;

    /// Hosts that go through tasks with this much work left, one after the other; the order in which they began them.
    async fn walk(hosts: &[(&str, &[usize])]) -> Vec<(String, usize)> {
        let names: Vec<String> = hosts.iter().map(|(name, _)| (*name).to_owned()).collect();
        let lockstep = Arc::new(Lockstep::new(&names));
        let begun = Arc::new(Mutex::new(Vec::new()));
        let walks = hosts.iter().map(|(name, lefts)| {
            let (lockstep, begun) = (Arc::clone(&lockstep), Arc::clone(&begun));
            async move {
                for left in *lefts {
                    let together = lockstep.turn(name, *left, "task").await;
                    assert!(together.hosts.contains(&(*name).to_owned()), "{together:?}");
                    begun.lock().unwrap().push(((*name).to_owned(), *left));
                    tokio::task::yield_now().await;
                }
                lockstep.leave(name);
            }
        });
        futures::future::join_all(walks).await;
        let begun = begun.lock().unwrap();
        begun.clone()
    }

    #[tokio::test]
    async fn all_hosts_begin_a_task_before_one_begins_the_next() {
        let begun = walk(&[("a", &[3, 2, 1]), ("b", &[3, 2, 1])]).await;
        let lefts: Vec<usize> = begun.iter().map(|(_, left)| *left).collect();
        assert_eq!(lefts, [3, 3, 2, 2, 1, 1]);
    }

    #[tokio::test]
    async fn a_host_in_an_included_file_goes_first_and_a_lost_one_holds_up_nobody() {
        let begun = walk(&[("a", &[3, 4, 3, 2]), ("b", &[3, 2]), ("c", &[])]).await;
        let order: Vec<String> = begun.iter().map(|(host, left)| format!("{host}{left}")).collect();
        assert_eq!(order[2..4], ["a4", "a3"], "{order:?}");
    }
}
