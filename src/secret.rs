//! Secret values, and the redaction of every text that leaves the program.

use std::{
    collections::BTreeSet,
    fmt,
    sync::{Arc, RwLock},
};

use aho_corasick::{AhoCorasick, MatchKind};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
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
pub struct Redactor(Arc<RwLock<Known>>);

/// The forms of secrets, and what finds all of them in one pass.
#[derive(Debug, Default)]
struct Known {
    forms: BTreeSet<String>,
    /// Made when a text is looked at for the first time after something was learnt.
    finder: Option<AhoCorasick>,
}

impl Redactor {
    /// Secrets shorter than this are not looked for: they would match inside ordinary words.
    const SHORTEST: usize = 6;

    /// Learns a secret, in the forms in which it may be printed: as it is, line by line, as JSON and URLs write it, and in
    /// Base64, by itself or within a longer text.
    ///
    /// # Panics
    /// When another thread panicked while it held the list.
    pub fn learn(&self, secret: &str) {
        let json = serde_json::to_string(secret).unwrap_or_default();
        let mut forms: Vec<String> = vec![secret.to_owned(), json.trim_matches('"').to_owned()];
        forms.extend(secret.lines().map(str::to_owned));
        // The lines of a PEM block that everyone may read would redact every certificate.
        forms.retain(|form| form.len() >= Self::SHORTEST && !form.starts_with("-----"));
        if secret.len() >= Self::SHORTEST && !secret.contains('\n') {
            forms.extend([percent_encoded(secret, ""), percent_encoded(secret, "/"), percent_encoded(secret, "/:@")]);
            forms.extend(base64_forms(secret));
        }
        let mut known = self.0.write().expect("no thread panics while it holds the list");
        let before = known.forms.len();
        known.forms.extend(forms);
        if known.forms.len() != before {
            known.finder = None;
        }
    }

    /// The text with every known secret replaced by [`REDACTED`].
    ///
    /// # Panics
    /// When another thread panicked while it held the list.
    #[must_use]
    pub fn redact(&self, text: &str) -> String {
        let known = self.0.read().expect("no thread panics while it holds the list");
        if known.forms.is_empty() {
            return text.to_owned();
        }
        if let Some(finder) = &known.finder {
            return replaced(finder, text);
        }
        drop(known);
        let mut known = self.0.write().expect("no thread panics while it holds the list");
        // The longest match wins, so that a secret that contains another one is replaced whole.
        let finder = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(&known.forms);
        match finder {
            Ok(finder) => replaced(known.finder.insert(finder), text),
            // More secrets than can be looked for: nothing is printed rather than one of them.
            Err(_) => REDACTED.to_owned(),
        }
    }
}

fn replaced(finder: &AhoCorasick, text: &str) -> String {
    let mut redacted = String::with_capacity(text.len());
    finder.replace_all_with(text, &mut redacted, |_, _, out| {
        out.push_str(REDACTED);
        true
    });
    redacted
}

/// A text as URLs write it; some signs may stand as they are in some parts of a URL.
fn percent_encoded(text: &str, also: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) || also.as_bytes().contains(&byte);
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if plain(byte) {
            encoded.push(char::from(byte));
        } else {
            encoded += &format!("%{byte:02X}");
        }
        encoded
    })
}

/// What is seen of a text in Base64, wherever it begins in what was encoded: the letters that depend on nothing around it.
fn base64_forms(text: &str) -> Vec<String> {
    let mut forms = Vec::new();
    for (shift, foreign) in [(0, 0), (1, 2), (2, 3)] {
        let bytes = [vec![0; shift], text.as_bytes().to_vec()].concat();
        let own = bytes.len() / 3 * 4;
        for encoded in [STANDARD_NO_PAD.encode(&bytes), URL_SAFE_NO_PAD.encode(&bytes)] {
            forms.extend(encoded.get(foreign..own.max(foreign)).filter(|form| form.len() >= 8).map(str::to_owned));
        }
    }
    forms
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;

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

    #[test]
    fn a_redactor_knows_what_programs_make_of_a_secret() {
        let redactor = Redactor::default();
        redactor.learn("pass/word+is:long?");
        for before in ["", "a", "ab", "user:"] {
            for after in ["", "x", "xy", "@host"] {
                let text = format!("{before}pass/word+is:long?{after}");
                let encoded = super::STANDARD_NO_PAD.encode(&text);
                assert!(redactor.redact(&encoded).contains(REDACTED), "{text}");
                let encoded = base64::engine::general_purpose::URL_SAFE.encode(&text);
                assert!(redactor.redact(&encoded).contains(REDACTED), "{text}");
            }
        }
        assert_eq!(redactor.redact("postgres://u:pass%2Fword%2Bis%3Along%3F@h/d"), "postgres://u:[secret]@h/d");
        assert_eq!(redactor.redact("nothing of it: cGFzcw"), "nothing of it: cGFzcw");
    }
}
