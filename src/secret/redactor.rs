//! What finds secrets in texts and values.

use std::{
    collections::BTreeSet,
    sync::{Arc, RwLock},
};

use aho_corasick::{AhoCorasick, MatchKind};
use serde_json::Value;

use super::{REDACTED, forms::forms};

/// Removes known secrets, by value, from texts. Clones share one list.
#[derive(Clone, Debug, Default)]
pub struct Redactor(Arc<RwLock<Known>>);

/// The forms of secrets, and what finds all of them in one pass.
#[derive(Debug, Default)]
struct Known {
    forms: BTreeSet<String>,
    /// Built when a text is searched for the first time after a secret was learned.
    finder: Option<AhoCorasick>,
}

impl Redactor {
    /// Learns a secret, in the forms in which programs print it: see `forms.rs`.
    ///
    /// # Panics
    /// When another thread panicked while it held the list.
    pub fn learn(&self, secret: &str) {
        let forms = forms(secret);
        let mut known = self.0.write().expect("no thread panics while it holds the list");
        let before = known.forms.len();
        known.forms.extend(forms);
        if known.forms.len() != before {
            known.finder = None;
        }
    }

    /// The text with every known secret replaced by [`REDACTED`]. A text that goes into another format (JSON, XML, a command
    /// for a CI service) is redacted before it is escaped.
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
        let finder = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .ascii_case_insensitive(true)
            .build(&known.forms);
        match finder {
            Ok(finder) => replaced(known.finder.insert(finder), text),
            // More secrets than can be searched for: nothing is printed rather than one of them.
            Err(_) => REDACTED.to_owned(),
        }
    }

    /// The value with every known secret replaced, in its texts and in the names of its fields, before anything is escaped. A
    /// number that is a secret becomes a text.
    #[must_use]
    pub fn value(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.redact(text)),
            Value::Array(items) => items.iter().map(|item| self.value(item)).collect(),
            Value::Object(fields) => fields
                .iter()
                .map(|(name, value)| (self.redact(name), self.value(value)))
                .collect::<serde_json::Map<_, _>>()
                .into(),
            Value::Number(number) if self.redact(&number.to_string()) == REDACTED => REDACTED.into(),
            other => other.clone(),
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

#[cfg(test)]
mod tests {
    use base64::{
        Engine as _,
        engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE},
    };
    use serde_json::{Value, json};

    use super::{REDACTED, Redactor};

    fn knowing(secret: &str) -> Redactor {
        let redactor = Redactor::default();
        redactor.learn(secret);
        redactor
    }

    #[test]
    fn a_redactor_knows_raw_json_and_single_lines() {
        let redactor = knowing("top\"secret");
        redactor.learn("first line\nsecond line");
        assert_eq!(redactor.redact("a top\"secret b"), "a [secret] b");
        assert_eq!(redactor.redact(r#"{"a":"top\"secret"}"#), r#"{"a":"[secret]"}"#);
        assert_eq!(redactor.redact("x second line y"), "x [secret] y");
        assert_eq!(redactor.redact("x first line\nsecond line y"), "x [secret] y");
    }

    #[test]
    fn a_redactor_knows_what_programs_make_of_a_secret() {
        let redactor = knowing("pass/word+is:long?");
        for before in ["", "a", "ab", "user:"] {
            for after in ["", "x", "xy", "@host"] {
                let text = format!("{before}pass/word+is:long?{after}");
                let encoded = STANDARD_NO_PAD.encode(&text);
                assert!(redactor.redact(&encoded).contains(REDACTED), "{text}");
                let encoded = URL_SAFE.encode(&text);
                assert!(redactor.redact(&encoded).contains(REDACTED), "{text}");
            }
        }
        assert_eq!(redactor.redact("postgres://u:pass%2Fword%2Bis%3Along%3F@h/d"), "postgres://u:[secret]@h/d");
        assert_eq!(redactor.redact("postgres://u:pass%2fword%2bis%3along%3f@h/d"), "postgres://u:[secret]@h/d");
        assert_eq!(redactor.redact("nothing of it: cGFzcw"), "nothing of it: cGFzcw");
    }

    #[test]
    fn a_redactor_knows_a_secret_in_other_cases_and_escapes() {
        let secret = "Pässword-1<&>\"'%x\\y";
        let redactor = knowing(secret);
        let json = |text: &str| serde_json::to_string(text).unwrap();
        let hidden = [
            secret.to_uppercase(),
            secret.to_lowercase(),
            json(secret),
            json(&json(secret)),
            json(&json(secret)).replace('ä', "\\u00e4"),
            json(secret).replace('ä', "\\u00e4"),
            quick_xml::escape::escape(secret).into_owned(),
            secret
                .replace('&', "&amp;")
                .replace('<', "&lt;")
                .replace('>', "&gt;")
                .replace('\'', "&#39;")
                .replace('"', "&#34;"),
            json(secret)
                .replace('<', "\\u003c")
                .replace('>', "\\u003e")
                .replace('&', "\\u0026")
                .replace('\'', "\\u0027"),
            secret.replace('%', "%25"),
            format!("'{}'", secret.replace('\'', "'\\''")),
            STANDARD.encode(secret),
            STANDARD.encode(secret.to_uppercase()),
            secret.bytes().map(|byte| format!("{byte:02x}")).collect(),
        ];
        for text in hidden {
            let shown = redactor.redact(&text);
            assert!(shown.contains(REDACTED) && shown.len() <= REDACTED.len() + 10, "{text} -> {shown}");
        }
    }

    #[test]
    fn a_secret_of_several_lines_is_known_whole_and_in_pieces() {
        let key = "-----BEGIN KEY-----\nc29tZXRoaW5nIGxvbmcgZW5vdWdo\nYW5kIG1vcmUgb2YgaXQ=\n-----END KEY-----";
        let redactor = knowing(key);
        for text in [
            STANDARD.encode(format!("{key}\n")),
            STANDARD.encode(format!("k={key}\n")),
            STANDARD.encode(format!("ab{key}\n")),
            serde_json::to_string(key).unwrap(),
            serde_json::to_string(&serde_json::to_string(key).unwrap()).unwrap(),
            key.replace('\n', "\r\n"),
            "  |  YW5kIG1vcmUgb2YgaXQ=".to_owned(),
        ] {
            let shown = redactor.redact(&text);
            assert!(shown.contains(REDACTED) && shown.len() <= REDACTED.len() + 12, "{text} -> {shown}");
        }
        let percent = key.replace('\n', "%0A").replace(' ', "%20").replace('=', "%3D");
        assert_eq!(redactor.redact(&percent), "-----BEGIN%20KEY-----%0A[secret]%0A[secret]%0A-----END%20KEY-----");
        let wrapped = STANDARD.encode(key.repeat(3));
        let lines: Vec<&str> = wrapped.as_bytes().chunks(76).map(|line| std::str::from_utf8(line).unwrap()).collect();
        let redactor = knowing(&key.repeat(3));
        assert!(lines.iter().all(|line| redactor.redact(line) == REDACTED), "a file of lines of Base64");
        assert_eq!(redactor.redact("-----BEGIN KEY-----"), "-----BEGIN KEY-----", "everyone may read this line");
    }

    #[test]
    fn values_are_redacted_before_they_are_escaped() {
        let redactor = knowing("a\"b<c>%d");
        redactor.learn("123456");
        let value = json!({ "x a\"b<c>%d": ["a\"b<c>%d", { "deep": "say a\"b<c>%d." }], "n": 123_456, "m": 1_234_567 });
        let shown: Value = redactor.value(&value);
        let hidden = json!({ "x [secret]": [REDACTED, { "deep": "say [secret]." }], "n": REDACTED, "m": 1_234_567 });
        assert_eq!(shown, hidden);
    }
}
