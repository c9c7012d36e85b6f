//! How scripts and bytes get onto a host: over SSH, or on this machine. One connection per host; on it one long-lived
//! POSIX `sh` per user, which takes framed requests: an exec costs one round trip. May import the vocabulary only.

mod local;
mod shell;
pub mod ssh;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};

pub use self::{
    local::Local,
    shell::{Chunk, Shell},
};
use crate::error::Result;

/// One script of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// POSIX shell text. It runs in a subshell without standard input.
    pub text: String,
    /// Whether the rest of the request is skipped when it fails.
    pub must_succeed: bool,
}

impl Script {
    /// A script whose failure is an answer like another.
    pub fn probe(text: impl Into<String>) -> Self {
        Self { text: text.into(), must_succeed: false }
    }

    /// A script whose failure ends the request.
    pub fn step(text: impl Into<String>) -> Self {
        Self { text: text.into(), must_succeed: true }
    }
}

/// What a script printed and how it ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// The exit status; `None` when it was skipped because an earlier one failed.
    pub status: Option<i32>,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
}

impl Output {
    /// Standard output as text.
    #[must_use]
    pub fn out(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Standard error as text.
    #[must_use]
    pub fn err(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// Whether it ran and succeeded.
    #[must_use]
    pub fn succeeded(&self) -> bool {
        self.status == Some(0)
    }
}

/// A stream of bytes both ways.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A host that runs scripts.
#[async_trait]
pub trait Transport: Send + Sync {
    /// Runs scripts one after the other as a user; `None` is the login itself. One round trip.
    async fn exec(&self, user: Option<&str>, scripts: &[Script]) -> Result<Vec<Output>>;

    /// Runs a script as a user with bytes as its standard input, on a channel of its own. One round trip.
    async fn send(&self, user: Option<&str>, script: &str, input: Bytes) -> Result<Output>;

    /// Opens a TCP connection from the host to an address as the host sees it.
    async fn dial(&self, host: &str, port: u16) -> Result<Box<dyn Stream>>;
}

/// The command that gives a shell of another user. Nothing of the caller's environment comes along.
fn become_command(user: &str) -> String {
    format!("exec sudo -n -H -u {} -- /bin/sh", quote(user))
}

/// A text as one word of a POSIX shell.
#[must_use]
pub fn quote(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "@%+=:,./-_".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}
