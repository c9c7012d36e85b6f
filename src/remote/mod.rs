//! How scripts and bytes get onto a host: over SSH, or on this machine. One connection per host; on it one long-lived
//! POSIX `sh` per user, which takes framed requests: an exec costs one round trip. May import the vocabulary only.

mod frame;
mod inbox;
mod local;
mod sh;
mod shell;
mod shells;
pub mod ssh;

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};

pub(crate) use self::sh::sh;
pub use self::{
    inbox::{Feed, REQUEST_LIMIT},
    local::Local,
    sh::{Sh, Word},
    shell::{ANSWER_LIMIT, CHANGE_LIMIT, PROBE_LIMIT, START_LIMIT, Shell, WRITE_LIMIT},
    shells::Shells,
};
use crate::error::Result;

/// One script of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// POSIX shell text. It runs in a subshell without standard input.
    pub text: String,
    /// Whether the rest of the request is skipped when it fails.
    pub must_succeed: bool,
    /// The language in which its programs answer.
    pub locale: Locale,
    /// How long it may take; `None` is as long as it wants.
    pub limit: Option<Duration>,
}

/// Shell text that changes nothing on its machine, so that it may run early, twice and under `--check`. It is made in the few
/// files that hold questions (`tests/modules.rs` lists them), out of text that is all theirs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ReadOnly(String);

impl ReadOnly {
    /// A question that only reads.
    pub(crate) fn of(question: impl Into<String>) -> Self {
        Self(question.into())
    }

    /// The same question behind variables of the environment.
    pub(crate) fn with_environment(self, exports: &str) -> Self {
        if exports.is_empty() { self } else { Self(format!("{exports}{}", self.0)) }
    }

    /// The text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0
    }
}

/// The language in which programs answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Locale {
    /// `LC_ALL=C`: what is printed is read by us.
    #[default]
    C,
    /// That of the machine and its user: what is printed is for the author of a playbook.
    Machine,
}

impl Script {
    /// A script that only reads. Its failure is an answer like another.
    pub fn probe(question: impl Into<ReadOnly>) -> Self {
        let question: ReadOnly = question.into();
        Self { text: question.0, must_succeed: false, locale: Locale::C, limit: Some(PROBE_LIMIT) }
    }

    /// A script of this program that changes something within this time. Its failure is an answer like another.
    pub fn change(text: impl Into<String>, limit: Duration) -> Self {
        Self { text: text.into(), must_succeed: false, locale: Locale::C, limit: Some(limit) }
    }

    /// A step of a task, which may take as long as its author wants. Its failure ends the request.
    pub fn step(text: impl Into<String>) -> Self {
        Self { text: text.into(), must_succeed: true, locale: Locale::C, limit: None }
    }

    /// The same script in another locale.
    #[must_use]
    pub fn in_locale(self, locale: Locale) -> Self {
        Self { locale, ..self }
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
    /// Why there is no answer although the script's turn had come: it printed too much, or its user cannot be become.
    pub failure: Option<String>,
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

/// Where bytes for a script come from.
pub type Source<'a> = dyn AsyncRead + Send + Unpin + 'a;

/// A host that runs scripts.
#[async_trait]
pub trait Transport: Send + Sync {
    /// Runs scripts one after the other as a user; `None` is the login itself. One round trip.
    async fn exec(&self, user: Option<&str>, scripts: &[Script]) -> Result<Vec<Output>>;

    /// Runs a script as a user with a stream of bytes as its standard input, on a channel of its own. One round trip. What
    /// goes wrong on the host, such as a full disk, is in the answer.
    async fn pour(&self, user: Option<&str>, script: &Script, source: &mut Source<'_>) -> Result<Output>;

    /// Runs a script as a user with bytes as its standard input, as [`Self::pour`] does.
    async fn send(&self, user: Option<&str>, script: &Script, input: Bytes) -> Result<Output> {
        self.pour(user, script, &mut input.as_ref()).await
    }

    /// Waits for a sign of life from the host.
    async fn ping(&self) -> Result<()> {
        Ok(())
    }

    /// Opens a TCP connection from the host to an address as the host sees it.
    async fn dial(&self, host: &str, port: u16) -> Result<Box<dyn Stream>>;
}

/// The command that gives a shell of another user. Nothing of the caller's environment comes along.
fn become_command(user: &str) -> Sh {
    sh!("exec {0} /bin/sh", sudo(user))
}

/// What makes a command one of another user.
fn sudo(user: &str) -> Sh {
    sh!("sudo -n -H -u {0} --", user)
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
