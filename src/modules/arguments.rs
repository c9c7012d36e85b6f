//! Arguments as Ansible reads them: `yes` is a boolean, `5432` may be a text, `a,b` may be a list.

use std::str::FromStr;

use fancy_regex::{Captures, Regex};
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::{Map, Value};

use crate::{
    error::{Error, Result, did_you_mean},
    template::{is_true, text_of},
};

/// Reads arguments into a struct that denies unknown ones.
///
/// # Errors
/// When one is unknown, missing or of the wrong kind.
pub fn read<T: DeserializeOwned>(named: &Map<String, Value>) -> Result<T> {
    let given: Map<String, Value> =
        named.iter().filter(|(_, value)| !value.is_null()).map(|(name, value)| (name.clone(), value.clone())).collect();
    serde_json::from_value(Value::Object(given)).map_err(|error| worded(&error.to_string()))
}

/// What is wrong with an argument, in the words of those who write playbooks.
fn worded(message: &str) -> Error {
    let quoted = |text: &str| -> Vec<String> { text.split('`').skip(1).step_by(2).map(str::to_owned).collect() };
    let suggest =
        |error: Error, word: &str, known: &[String]| match did_you_mean(word, known.iter().map(String::as_str)) {
            Some(close) => error.hint(format!("did you mean `{close}`?")),
            None => error,
        };
    if let Some(name) = message.strip_prefix("missing field ") {
        return Error::usage(format!("{name} is missing"));
    }
    if let Some(name) = message.strip_prefix("duplicate field ") {
        return Error::usage(format!("{name} is given twice"));
    }
    let (said, expected) = message.rsplit_once(", expected ").unwrap_or((message, ""));
    let known = quoted(expected);
    if let Some(name) = said.strip_prefix("unknown field ") {
        return suggest(Error::usage(format!("there is no argument {name}")), name.trim_matches('`'), &known);
    }
    if let Some(value) = said.strip_prefix("unknown variant ") {
        let listed = known.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        return suggest(Error::usage(format!("{value} is not one of {listed}")), value.trim_matches('`'), &known);
    }
    match said.strip_prefix("invalid type: ").or_else(|| said.strip_prefix("invalid value: ")) {
        Some(found) => Error::usage(format!("{expected} is expected, this is {found}")),
        None => Error::usage(message),
    }
}

/// Arguments of which only one can be given, each with all its names; [`TEXT`] is the text that some modules take.
pub type Exclusive = &'static [&'static [&'static str]];

/// The name under which [`Exclusive`] lists the text of a task.
pub const TEXT: &str = "";

/// One of a fixed set of words. `yes` and `no` may be among them, which YAML reads as booleans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Choice<T>(pub(super) T);

impl<'de, T: DeserializeOwned> Deserialize<'de> for Choice<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = match Value::deserialize(deserializer)? {
            Value::Bool(true) => "yes".into(),
            Value::Bool(false) => "no".into(),
            Value::String(text) if matches!(text.as_str(), "True" | "true") => "yes".into(),
            Value::String(text) if matches!(text.as_str(), "False" | "false") => "no".into(),
            other => other,
        };
        serde_json::from_value(value).map(Self).map_err(serde::de::Error::custom)
    }
}

/// A regular expression that Python's `re` would read.
#[derive(Clone, Debug)]
pub(super) struct Pattern(Regex);

impl Pattern {
    pub(super) fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Whether some part of a text matches.
    pub(super) fn finds(&self, text: &str) -> bool {
        self.0.is_match(text).unwrap_or(false)
    }

    /// What its groups match in a text.
    pub(super) fn captures<'t>(&self, text: &'t str) -> Option<Captures<'t>> {
        self.0.captures(text).ok().flatten()
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Text(text) = Text::deserialize(deserializer)?;
        let wrong = |error| serde::de::Error::custom(format!("`{text}` is not a regular expression: {error}"));
        Regex::new(&text).map(Self).map_err(wrong)
    }
}

/// A boolean, written in any of Ansible's ways, with what it is where it has a default and is not given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flag<const USUALLY: bool = false>(pub bool);

impl<const USUALLY: bool> Default for Flag<USUALLY> {
    fn default() -> Self {
        Self(USUALLY)
    }
}

impl<'de, const USUALLY: bool> Deserialize<'de> for Flag<USUALLY> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        match &value {
            Value::Bool(_) | Value::Number(_) => Ok(Self(is_true(&value))),
            Value::String(text) => match text.to_ascii_lowercase().as_str() {
                "yes" | "on" | "true" | "1" | "y" | "t" => Ok(Self(true)),
                "no" | "off" | "false" | "0" | "n" | "f" | "" => Ok(Self(false)),
                _ => Err(serde::de::Error::custom(format!("`{text}` is not a boolean"))),
            },
            other => Err(serde::de::Error::custom(format!("{other} is not a boolean"))),
        }
    }
}

/// A text; numbers and booleans are written as Python would.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text(pub String);

impl Text {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            value @ (Value::Array(_) | Value::Object(_)) => {
                Err(serde::de::Error::custom(format!("expected a text, found {value}")))
            }
            value => Ok(Self(text_of(&value))),
        }
    }
}

/// A whole number; a text of digits is one too, since templates and `key=value` pairs give texts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Number<T>(pub T);

impl<'de, T: FromStr> Deserialize<'de> for Number<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let text = match &value {
            Value::Number(_) | Value::String(_) => text_of(&value),
            other => return Err(serde::de::Error::custom(format!("{other} is not a whole number"))),
        };
        let digits = text.trim();
        // `600.0` is how a template may write a whole number.
        digits
            .strip_suffix(".0")
            .unwrap_or(digits)
            .parse()
            .map(Self)
            .map_err(|_| serde::de::Error::custom(format!("`{text}` is not a whole number that fits here")))
    }
}

/// A list of texts; a text is split at its commas.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct List(pub Vec<String>);

impl<'de> Deserialize<'de> for List {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(match Value::deserialize(deserializer)? {
            Value::Array(items) => items.iter().map(text_of).collect(),
            Value::Object(map) => return Err(serde::de::Error::custom(format!("expected a list, found {map:?}"))),
            other => {
                text_of(&other).split(',').map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
            }
        }))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Number, worded};

    #[test]
    fn errors_are_in_the_words_of_playbooks() {
        let says = |message: &str| {
            let error = worded(message);
            format!("{error} {}", error.hints().join(""))
        };
        assert_eq!(says("missing field `dest`"), "`dest` is missing ");
        assert_eq!(
            says("unknown variant `runing`, expected one of `running`, `stopped`"),
            "`runing` is not one of `running`, `stopped` did you mean `running`?"
        );
        assert_eq!(
            says("unknown field `sorc`, expected `src` or `dest`"),
            "there is no argument `sorc` did you mean `src`?"
        );
        assert_eq!(says("invalid type: map, expected a sequence"), "a sequence is expected, this is map ");
        assert_eq!(says("`x` is not a boolean"), "`x` is not a boolean ");
    }

    #[test]
    fn a_text_of_digits_is_a_number() {
        let read = |value| serde_json::from_value::<Number<u16>>(value).map(|number| number.0);
        assert_eq!(read(json!("22")).unwrap(), 22);
        assert_eq!(read(json!(22)).unwrap(), 22);
        assert!(read(json!("ssh")).unwrap_err().to_string().contains("`ssh` is not a whole number"));
        assert!(read(json!(70000)).is_err());
    }
}
