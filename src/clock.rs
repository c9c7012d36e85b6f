//! The time of day, which tests can set.

use jiff::Timestamp;

/// Where the time comes from.
#[derive(Clone, Copy, Debug, Default)]
pub enum Clock {
    /// The machine's clock.
    #[default]
    System,
    /// A clock that always shows the same time.
    Fixed(Timestamp),
}

impl Clock {
    /// The present moment, to the second: nothing that we write needs more.
    #[must_use]
    pub fn now(self) -> Timestamp {
        let now = match self {
            Self::System => Timestamp::now(),
            Self::Fixed(moment) => moment,
        };
        Timestamp::from_second(now.as_second()).unwrap_or(now)
    }

    /// Whole seconds from `earlier` to now; zero when `earlier` is in the future.
    #[must_use]
    pub fn seconds_since(self, earlier: Timestamp) -> u64 {
        u64::try_from(self.now().as_second() - earlier.as_second()).unwrap_or(0)
    }
}
