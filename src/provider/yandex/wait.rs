//! Waiting for objects that are not at rest: every wait of this provider is here.

use std::time::Duration;

use tokio::time::Instant;

use super::account::Account;
use crate::{
    cloud::yandex::Listed,
    error::{Error, Result},
    event,
    provider::shared::Shared,
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
    let wait = event::wait_for(format!("{what} to be at rest"));
    loop {
        match ask().await? {
            Asked::Done(found) => return Ok(found),
            Asked::NotYet(state) if begun.elapsed() >= time => {
                let seconds = time.as_secs();
                return Err(Error::new(format!("yandex: {what} is not at rest after {seconds} s: {state}"))
                    .hint("it may come to rest later: run the same command again"));
            }
            Asked::NotYet(state) => {
                wait.is_for(format!("{what} to be at rest ({state})"));
                tokio::time::sleep(INTERVAL).await;
            }
        }
    }
}

impl Account {
    /// An object once it is at rest, as `look` finds in a list that all share who wait for one of its kind.
    ///
    /// # Errors
    /// When it is gone, when it is not at rest within the time, or asking fails.
    pub(super) async fn until_rest<T: Listed + Clone, R, F: Future<Output = Result<Asked<R>>>>(
        &self, what: &str, time: Duration, kind: &Shared<T>, id: &str, look: impl Fn(T) -> F,
    ) -> Result<R> {
        let awaiting = kind.awaiting(id);
        until(what, time, async || {
            let all = awaiting.recent(INTERVAL, |_| self.client.list::<T>(&self.folder)).await?;
            let found = all.iter().find(|one| one.id() == id).cloned();
            look(found.ok_or_else(|| Error::new(format!("yandex: {what} is gone")))?).await
        })
        .await
    }
}
