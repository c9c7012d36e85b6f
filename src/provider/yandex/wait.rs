//! Waiting for objects that are not at rest: every wait of this provider is here.

use std::{sync::Arc, time::Duration};

use tokio::{sync::Mutex, time::Instant};

use crate::{
    cloud::yandex::{self, Client},
    error::{Error, Result},
    event,
};

/// How often something is asked for.
pub(super) const INTERVAL: Duration = Duration::from_secs(1);

/// What asking found.
pub(super) enum Asked<T> {
    /// What was waited for.
    Done(T),
    /// It is not there yet; how it is, for people.
    NotYet(String),
}

/// Asks until what is waited for is there.
///
/// # Errors
/// When it is not there within the time, or asking fails.
pub(super) async fn until<T, F: Future<Output = Result<Asked<T>>>>(
    what: &str, time: Duration, ask: impl Fn() -> F,
) -> Result<T> {
    let begun = Instant::now();
    loop {
        match ask().await? {
            Asked::Done(found) => return Ok(found),
            Asked::NotYet(state) if begun.elapsed() >= time => {
                let seconds = time.as_secs();
                return Err(Error::new(format!("yandex: {what} is not at rest after {seconds} s: {state}")).hint(
                    "it may come to rest later: run the same command again; `infra destroy` does not wait for it",
                ));
            }
            Asked::NotYet(state) => {
                event::waits_for(|| format!("{what} to be at rest ({state})"));
                tokio::time::sleep(INTERVAL).await;
            }
        }
    }
}

/// The list of one kind for all that wait for something in it: the cloud is asked once an interval, however many wait.
#[derive(Clone)]
pub(super) struct Shared<T>(Arc<Mutex<Option<Listed<T>>>>);

/// A list, and when it was asked for.
type Listed<T> = (Instant, Arc<Vec<T>>);

impl<T> Default for Shared<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T: yandex::Listed> Shared<T> {
    /// The objects of a folder, as they were at most an interval ago.
    pub(super) async fn recent(&self, client: &Client, folder: &str) -> Result<Arc<Vec<T>>> {
        let mut last = self.0.lock().await;
        if let Some((_, list)) = last.as_ref().filter(|(at, _)| at.elapsed() < INTERVAL) {
            return Ok(Arc::clone(list));
        }
        let begun = Instant::now();
        let list = Arc::new(client.list(folder).await?);
        *last = Some((begun, Arc::clone(&list)));
        Ok(list)
    }
}
