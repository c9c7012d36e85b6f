//! Secret values, and the redaction of every text that leaves the program.

use std::{
    fmt,
    sync::{Arc, RwLock},
};

use serde::{Deserialize, Serialize};

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

/// Removes known secrets, by value, from texts. Clones share one list.
#[derive(Clone, Debug, Default)]
pub struct Redactor {
    needles: Arc<RwLock<Vec<String>>>,
}

impl Redactor {
    /// Secrets shorter than this are not looked for: they would match inside ordinary words.
    const SHORTEST: usize = 6;

    /// Learns a secret, in the forms in which it may be printed: as it is, as JSON writes it, line by line.
    ///
    /// # Panics
    /// When another thread panicked while it held the list.
    pub fn learn(&self, secret: &str) {
        let mut needles = self.needles.write().expect("no thread panics while it holds the list");
        let json = serde_json::to_string(secret).unwrap_or_default();
        let forms = [secret, json.trim_matches('"')].into_iter().chain(secret.lines());
        for form in forms {
            // The lines of a PEM block that everyone may read would redact every certificate.
            if form.len() >= Self::SHORTEST && !form.starts_with("-----") && !needles.iter().any(|n| n == form) {
                needles.push(form.to_owned());
            }
        }
        // Longest first, so that a secret that contains another one is replaced whole.
        needles.sort_by_key(|needle| std::cmp::Reverse(needle.len()));
    }

    /// The text with every known secret replaced by [`REDACTED`].
    ///
    /// # Panics
    /// When another thread panicked while it held the list.
    #[must_use]
    pub fn redact(&self, text: &str) -> String {
        let needles = self.needles.read().expect("no thread panics while it holds the list");
        needles.iter().fold(
            text.to_owned(),
            |text, needle| {
                if text.contains(needle) { text.replace(needle, REDACTED) } else { text }
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::{REDACTED, Redactor, Secret};

    #[test]
    fn a_secret_does_not_show_itself() {
        let secret = Secret::new("hunter22");
        assert_eq!(format!("{secret} {secret:?}"), format!("{REDACTED} {REDACTED}"));
    }

    #[test]
    fn a_redactor_knows_raw_json_and_single_lines() {
        let redactor = Redactor::default();
        redactor.learn("top\"secret");
        redactor.learn("first line\nsecond line");
        assert_eq!(redactor.redact("a top\"secret b"), "a [secret] b");
        assert_eq!(redactor.redact(r#"{"a":"top\"secret"}"#), r#"{"a":"[secret]"}"#);
        assert_eq!(redactor.redact("x second line y"), "x [secret] y");
    }
}
