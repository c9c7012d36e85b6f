//! Waiting: every wait says what it waits for, has an end, and may be dropped at any moment.

use std::time::Duration;

use tokio::time::Instant;

use crate::{
    error::{Error, Result},
    event,
};

/// Asks for something until it is there.
///
/// # Errors
/// When a question fails, or the time is over.
pub(super) async fn until<T, F: Future<Output = Result<Option<T>>>>(
    what: &str, interval: Duration, limit: Duration, ask: impl Fn() -> F,
) -> Result<T> {
    let end = Instant::now() + limit;
    event::waits_for(|| what.to_owned());
    loop {
        if let Some(found) = ask().await? {
            return Ok(found);
        }
        if Instant::now() > end {
            return Err(Error::new(format!("aws: {what} takes longer than {limit:?}"))
                .hint("run the same command again: it goes on from what it finds"));
        }
        tokio::time::sleep(interval).await;
    }
}
