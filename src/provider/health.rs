//! How an object is, as its provider shows it.

use serde::{Deserialize, Serialize};

/// How an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// As it should be.
    Ready,
    /// It is stopped and can be started.
    Stopped,
    /// Its processes are frozen, and can go on.
    Paused,
    /// It runs under another name than the one that it was given.
    Renamed,
    /// Its labels do not say that its creation came to its end: it was interrupted, unless the state knows better.
    Unfinished,
    /// Only a part of it is there, or the provider has given it up: it must be made again, whatever the state says.
    Broken,
    /// Only parts of it are left, and no data: an update creates what is missing.
    Incomplete,
    /// It is being created, started or changed, and has not come to rest.
    Transient,
    /// It runs, and does not pass its health check.
    Unhealthy,
    /// It is being removed.
    Leaving,
}

impl Health {
    /// How an object is that is not as it should be, in words.
    #[must_use]
    pub fn remark(self) -> Option<&'static str> {
        Some(match self {
            Self::Ready | Self::Renamed => return None,
            Self::Stopped => "it is stopped",
            Self::Paused => "it is paused",
            Self::Unfinished => "its creation was interrupted",
            Self::Broken => "it has failed, or only a part of it is left",
            Self::Transient => "it is being created, started or changed, and has not come to rest",
            Self::Unhealthy => "it runs, and does not pass its health check",
            Self::Leaving => "it is being removed",
            Self::Incomplete => "a part of it is gone",
        })
    }
}
