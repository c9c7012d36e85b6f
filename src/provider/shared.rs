//! One list for all that wait for something of a kind: the cloud is asked once an interval, however many wait.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use tokio::time::Instant;

/// The objects of a kind that are waited for. Clones are the same.
pub(super) struct Shared<T>(Arc<Inner<T>>);

struct Inner<T> {
    /// The ids that are waited for, each with how many wait for it.
    awaited: Mutex<BTreeMap<String, usize>>,
    last: tokio::sync::Mutex<Option<Listed<T>>>,
}

/// A list, when it was asked for, and which objects it was asked for.
struct Listed<T> {
    begun: Instant,
    asked: BTreeSet<String>,
    found: Arc<Vec<T>>,
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Default for Shared<T> {
    fn default() -> Self {
        Self(Arc::new(Inner { awaited: Mutex::default(), last: tokio::sync::Mutex::new(None) }))
    }
}

impl<T> Inner<T> {
    fn awaited(&self) -> MutexGuard<'_, BTreeMap<String, usize>> {
        self.awaited.lock().expect("no task panics while it counts")
    }
}

/// Someone who waits for an object, until this is dropped.
pub(super) struct Awaiting<'a, T> {
    shared: &'a Inner<T>,
    id: &'a str,
    since: Instant,
}

impl<T> Shared<T> {
    /// From now on the object of this id is waited for.
    pub(super) fn awaiting<'a>(&'a self, id: &'a str) -> Awaiting<'a, T> {
        *self.0.awaited().entry(id.to_owned()).or_default() += 1;
        Awaiting { shared: &self.0, id, since: Instant::now() }
    }
}

impl<T> Awaiting<'_, T> {
    /// The objects as they were at most an interval ago, and not before this wait began: what was changed just now shows as that.
    /// `ask` lists at least the objects of these ids.
    ///
    /// # Errors
    /// When asking fails.
    pub(super) async fn recent<E, F: Future<Output = Result<Vec<T>, E>>>(
        &self, interval: Duration, ask: impl FnOnce(Vec<String>) -> F,
    ) -> Result<Arc<Vec<T>>, E> {
        let mut last = self.shared.last.lock().await;
        let is_recent = |list: &&Listed<T>| {
            list.begun >= self.since && list.begun.elapsed() < interval && list.asked.contains(self.id)
        };
        if let Some(list) = last.as_ref().filter(is_recent) {
            return Ok(Arc::clone(&list.found));
        }
        let asked: BTreeSet<String> = self.shared.awaited().keys().cloned().collect();
        let begun = Instant::now();
        let found = Arc::new(ask(asked.iter().cloned().collect()).await?);
        *last = Some(Listed { begun, asked, found: Arc::clone(&found) });
        Ok(found)
    }
}

impl<T> Drop for Awaiting<'_, T> {
    fn drop(&mut self) {
        let mut awaited = self.shared.awaited();
        if let Some(count) = awaited.get_mut(self.id) {
            *count -= 1;
            if *count == 0 {
                awaited.remove(self.id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        cell::{Cell, RefCell},
        time::Duration,
    };

    use tokio::time::{Instant, sleep};

    use super::Shared;

    const INTERVAL: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn all_that_wait_share_one_list_an_interval() {
        let (shared, asked) = (Shared::<u64>::default(), RefCell::new(Vec::new()));
        let begun = Instant::now();
        let wait = async |id: String, until: u64| {
            // They begin one after another, within a second.
            sleep(Duration::from_millis(until * 20)).await;
            let waiting = shared.awaiting(&id);
            loop {
                let list = waiting.recent(INTERVAL, async |ids| {
                    asked.borrow_mut().push(ids);
                    sleep(Duration::from_millis(100)).await;
                    Ok::<_, ()>(vec![begun.elapsed().as_secs()])
                });
                let seen = list.await.unwrap()[0];
                assert!(begun.elapsed().as_secs() - seen <= 1, "it is as old as the interval at most");
                if seen >= 60 {
                    return;
                }
                sleep(INTERVAL).await;
            }
        };
        futures::future::join_all((0..40).map(|number| wait(format!("vm-{number}"), number))).await;
        let asked = asked.borrow();
        // Once an interval, and a few times more while they begin.
        assert!((55..=75).contains(&asked.len()), "{}", asked.len());
        assert_eq!(asked[asked.len() / 2].len(), 40, "for all that wait");
        assert!(shared.0.awaited().is_empty(), "no one waits any more");
    }

    #[tokio::test(start_paused = true)]
    async fn a_list_from_before_a_wait_is_none_of_its_own() {
        let (shared, lists) = (Shared::<u32>::default(), Cell::new(0));
        let ask = async |_| {
            lists.set(lists.get() + 1);
            Ok::<_, ()>(vec![lists.get()])
        };
        let one = shared.awaiting("a");
        assert_eq!(one.recent(INTERVAL, ask).await.unwrap()[0], 1);
        assert_eq!(one.recent(INTERVAL, ask).await.unwrap()[0], 1);
        sleep(Duration::from_millis(1)).await;
        let other = shared.awaiting("b");
        assert_eq!(other.recent(INTERVAL, ask).await.unwrap()[0], 2);
        assert_eq!(one.recent(INTERVAL, ask).await.unwrap()[0], 2);
    }
}
