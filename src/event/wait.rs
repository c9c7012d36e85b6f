//! What a piece of work waits for at the moment, and since when.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use tokio::time::Instant;

use super::Waited;

tokio::task_local! {
    static WAITS: Waits;
}

/// The waits of one piece of work, in the order in which they began.
#[derive(Clone, Debug, Default)]
pub(super) struct Waits(Arc<Mutex<BTreeMap<u64, (String, Instant)>>>);

impl Waits {
    /// Runs work whose waits are noted here.
    pub(super) async fn scope<T>(self, work: impl Future<Output = T>) -> T {
        WAITS.scope(self, work).await
    }

    /// What is waited for at the moment, the longest wait first, and each only once.
    pub(super) fn now(&self) -> Vec<Waited> {
        let mut waits: Vec<Waited> = Vec::new();
        let Ok(noted) = self.0.lock() else { return waits };
        for (what, since) in noted.values() {
            if waits.iter().all(|other| other.what != *what) {
                waits.push(Waited { what: what.clone(), seconds: since.elapsed().as_secs_f64() });
            }
        }
        waits
    }
}

/// A wait, until this is dropped.
#[derive(Debug)]
#[must_use]
pub struct Wait {
    waits: Option<Waits>,
    id: u64,
}

/// Says what the work that this is called in waits for from now on, until the value is dropped.
pub fn wait_for(what: impl Into<String>) -> Wait {
    let waits = WAITS.try_with(Waits::clone).ok();
    let mut id = 0;
    if let Some(waits) = &waits
        && let Ok(mut noted) = waits.0.lock()
    {
        id = noted.last_key_value().map_or(0, |(last, _)| last + 1);
        noted.insert(id, (what.into(), Instant::now()));
    }
    Wait { waits, id }
}

/// Runs something that only waits, as for a lock.
pub async fn waiting<T>(what: impl Into<String>, work: impl Future<Output = T>) -> T {
    let _wait = wait_for(what);
    work.await
}

impl Wait {
    /// Says what is waited for now; the wait began when it began.
    pub fn is_for(&self, what: impl Into<String>) {
        if let Some(waits) = &self.waits
            && let Ok(mut noted) = waits.0.lock()
            && let Some((text, _)) = noted.get_mut(&self.id)
        {
            *text = what.into();
        }
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        if let Some(waits) = &self.waits
            && let Ok(mut noted) = waits.0.lock()
        {
            noted.remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Mutex, time::Duration};

    use tokio::time::sleep;

    use super::{super::Events, Waits, wait_for, waiting};
    use crate::event::{Event, Waited, reminded};

    fn waited(what: &str, seconds: f64) -> Waited {
        Waited { what: what.to_owned(), seconds }
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_is_known_from_its_beginning_to_its_end() {
        let waits = Waits::default();
        let work = async {
            assert_eq!(waits.now(), []);
            let outer = wait_for("the operation a");
            sleep(Duration::from_secs(7)).await;
            outer.is_for("the operation b");
            let again = async {
                sleep(Duration::from_secs(3)).await;
                assert_eq!(waits.now(), [waited("the operation b", 10.0), waited("a turn", 3.0)]);
            };
            tokio::join!(waiting("a turn", again), waiting("a turn", sleep(Duration::from_secs(1))));
            assert_eq!(waits.now(), [waited("the operation b", 10.0)]);
            drop(outer);
            assert_eq!(waits.now(), []);
        };
        waits.clone().scope(work).await;
        // Where no one listens it does nothing.
        waiting("nothing", async {}).await;
    }

    #[tokio::test(start_paused = true)]
    async fn steps_and_whole_commands_say_what_they_wait_for_and_since_when() {
        let said = Mutex::new(Vec::new());
        let (events, mut heard) = Events::channel();
        let report = |event| said.lock().unwrap().push(event);
        reminded("infra apply", "running", report, async {
            sleep(Duration::from_mins(2)).await;
            waiting("the list", sleep(Duration::from_secs(40))).await;
            let step = async {
                sleep(Duration::from_secs(10)).await;
                waiting("the cloud", sleep(Duration::from_secs(25))).await;
                sleep(Duration::from_secs(30)).await;
                Ok(())
            };
            events.watch("vm.a", "creating", "created", step).await.unwrap();
        })
        .await;
        drop(events);
        let waits = |event: Event| match event {
            Event::Waiting { subject, what, waits, .. } => Some((subject, what, waits)),
            _ => None,
        };
        let said: Vec<_> = said.into_inner().unwrap().into_iter().filter_map(waits).collect();
        let list = ("infra apply".to_owned(), Some("the list".to_owned()), vec![waited("the list", 30.0)]);
        assert_eq!(said, [list], "what does not wait says nothing, and steps speak for themselves");
        let mut steps = Vec::new();
        while let Some(event) = heard.recv().await {
            steps.extend(waits(event));
        }
        let cloud = ("vm.a".to_owned(), Some("the cloud".to_owned()), vec![waited("the cloud", 20.0)]);
        assert_eq!(steps, [cloud, ("vm.a".to_owned(), None, Vec::new())], "a wait that is over is not waited for");
    }
}
