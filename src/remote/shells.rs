//! The shells of a host, one for each user, opened on first use.

use std::{collections::HashMap, sync::Arc};

use tokio::sync::Mutex;

use super::{Output, Script, Shell};
use crate::error::Result;

/// The shells of a host, by user.
#[derive(Default)]
pub struct Shells(Mutex<HashMap<Option<String>, Slot>>);

/// Where the shell of a user is while it does nothing.
type Slot = Arc<Mutex<Option<Shell>>>;

impl Shells {
    /// Runs scripts in the shell of a user, which is opened when there is none. One that printed too much, or whose answers no
    /// one waited for, is closed and never used again.
    ///
    /// # Errors
    /// When the shell cannot be opened or has ended.
    pub async fn run<F: Future<Output = Result<Shell>>>(
        &self, user: Option<&str>, scripts: &[Script], open: impl FnOnce() -> F,
    ) -> Result<Vec<Output>> {
        let slot = Arc::clone(self.0.lock().await.entry(user.map(str::to_owned)).or_default());
        let mut slot = slot.lock().await;
        // It is not in its slot while it runs: those who stop waiting drop it.
        let mut shell = match slot.take() {
            Some(shell) => shell,
            None => open().await?,
        };
        let outputs = shell.run(scripts).await;
        *slot = Some(shell).filter(Shell::is_usable);
        outputs
    }
}
