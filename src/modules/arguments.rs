//! Arguments as Ansible reads them: `yes` is a boolean, `5432` may be a text, `a,b` may be a list.

use std::str::FromStr;

use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::{Map, Value};

use crate::{
    error::{Error, Result},
    template::{is_true, text_of},
};

/// Reads arguments into a struct that denies unknown ones.
///
/// # Errors
/// When one is unknown, missing or of the wrong kind.
pub fn read<T: DeserializeOwned>(named: &Map<String, Value>) -> Result<T> {
    let given: Map<String, Value> =
        named.iter().filter(|(_, value)| !value.is_null()).map(|(name, value)| (name.clone(), value.clone())).collect();
    serde_json::from_value(Value::Object(given)).map_err(|error| Error::usage(error.to_string()))
}

/// A boolean, written in any of Ansible's ways.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flag(pub bool);

impl<'de> Deserialize<'de> for Flag {
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
            .map_err(|_| serde::de::Error::custom(format!("`{text}` is not a whole number that can stand here")))
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

    use super::Number;

    #[test]
    fn a_text_of_digits_is_a_number() {
        let read = |value| serde_json::from_value::<Number<u16>>(value).map(|number| number.0);
        assert_eq!(read(json!("22")).unwrap(), 22);
        assert_eq!(read(json!(22)).unwrap(), 22);
        assert!(read(json!("ssh")).unwrap_err().to_string().contains("`ssh` is not a whole number"));
        assert!(read(json!(70000)).is_err());
    }
}
