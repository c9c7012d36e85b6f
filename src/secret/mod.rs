//! Secret values, and the redaction of every text that leaves the program.

mod forms;
mod redactor;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use self::redactor::Redactor;

/// Secrets shorter than this are not searched for: they would match inside ordinary words.
const SHORTEST: usize = 6;

/// What is shown in place of a secret.
pub const REDACTED: &str = "[secret]";

/// A text that never shows itself by accident: `Debug` and `Display` print [`REDACTED`].
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself: for the place that needs it, never for printing.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Why this secret is not hidden everywhere, when it is not.
    #[must_use]
    pub fn weakness(&self) -> Option<String> {
        let shortest = SHORTEST;
        (self.0.trim_matches(['\n', '\r']).len() < shortest)
            .then(|| format!("is shorter than {shortest} characters, and so is not hidden in what is printed"))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

#[cfg(test)]
mod tests {
    use super::{REDACTED, Secret};

    #[test]
    fn a_secret_does_not_show_itself() {
        let secret = Secret::new("hunter22");
        assert_eq!(format!("{secret} {secret:?}"), format!("{REDACTED} {REDACTED}"));
    }

    #[test]
    fn a_short_secret_says_that_it_is_not_hidden() {
        assert!(Secret::new("hunter").weakness().is_none());
        assert!(Secret::new("12345").weakness().unwrap().contains("shorter than 6"));
    }
}
