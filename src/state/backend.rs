//! Where states lie: a small store of texts by key, in which a write can be made to depend on what is there. Everything else,
//! the lease with its queue, the state and the history, is built on these five calls, so that all backends behave alike.

use std::{fmt, time::Duration};

use async_trait::async_trait;

use crate::error::Result;

/// Which version of a text is there: another one after each write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag(pub String);

/// What must be there for a write to happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Nothing.
    Absent,
    /// This version.
    Tag(Tag),
}

/// A store of texts. Keys are paths such as `dev/state.json`.
#[async_trait]
pub trait Backend: fmt::Debug + Send + Sync {
    /// Where it is, for people.
    fn place(&self) -> String;

    /// The text of a key and its version; `None` when there is none.
    async fn get(&self, key: &str) -> Result<Option<(String, Tag)>>;

    /// Writes a text, when what is there is what is expected; `None` when it is not. Either all of the text is written or
    /// nothing of it. When the call fails, it is unknown which.
    async fn put(&self, key: &str, text: &str, expect: &Expect) -> Result<Option<Tag>>;

    /// Removes a text of this version; `false` when another one is there, or none.
    async fn delete(&self, key: &str, tag: &Tag) -> Result<bool>;

    /// The keys that end with a name, in order.
    async fn list(&self, name: &str) -> Result<Vec<String>>;

    /// Refuses a store that does not honour conditions: two commands would overwrite each other.
    async fn probe(&self) -> Result<()>;

    /// How often one who waits looks again.
    fn poll(&self) -> Duration;
}
