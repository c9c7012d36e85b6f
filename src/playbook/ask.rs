//! Questions of a playbook to the person at the terminal.

use std::fmt::Debug;

use async_trait::async_trait;

/// Someone who can answer.
#[async_trait]
pub trait Asker: Debug + Send + Sync {
    /// Asks a question and returns the line that is typed; `echo` says whether it may be seen. `None` when there is no terminal.
    async fn ask(&self, question: &str, echo: bool) -> Option<String>;
}
