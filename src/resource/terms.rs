//! The terms under which an environment lives: until when, whether it may be swept away, whose it is. They stand as labels on
//! every object, so that they are known where the state is lost.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The label that says until when an environment lives.
const LABEL_EXPIRES: &str = "infra-expires";
/// The label of what is never swept away.
pub const LABEL_PROTECT: &str = "infra-protect";
/// The label that says who made it.
const LABEL_OWNER: &str = "infra-owner";
/// The label that names the environment file it was made from.
const LABEL_TEMPLATE: &str = "infra-template";
/// How a moment is written in a label: the letters that the labels of all clouds may have.
const MOMENT: &str = "%Y-%m-%dt%H-%M-%Sz";

/// The terms of an environment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Terms {
    /// When it may be swept away; never without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// Whether it must not be destroyed.
    pub protect: bool,
    /// Who made it, as `user@machine`.
    pub owner: String,
    /// The folder of its file.
    pub template: String,
}

impl Terms {
    /// The labels that say so. The letters are those that labels of all clouds may have.
    pub fn labels(&self) -> impl Iterator<Item = (String, String)> {
        let expires = self.expires.map(|moment| moment.strftime(MOMENT).to_string());
        let protect = self.protect.then(|| "true".to_owned());
        let text = |text: &str| Some(plain(text)).filter(|text| !text.is_empty());
        [
            (LABEL_EXPIRES, expires),
            (LABEL_PROTECT, protect),
            (LABEL_OWNER, text(&self.owner)),
            (LABEL_TEMPLATE, text(&self.template)),
        ]
        .into_iter()
        .filter_map(|(label, value)| Some((label.to_owned(), value?)))
    }

    /// The terms that a set of labels tells of.
    pub fn read<'a>(label: impl Fn(&str) -> Option<&'a str>) -> Self {
        let moment = |text: &str| {
            let civil = jiff::civil::DateTime::strptime(MOMENT, text).ok()?;
            civil.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
        };
        Self {
            expires: label(LABEL_EXPIRES).and_then(moment),
            protect: label(LABEL_PROTECT) == Some("true"),
            owner: label(LABEL_OWNER).map(owner).unwrap_or_default(),
            template: label(LABEL_TEMPLATE).unwrap_or_default().to_owned(),
        }
    }

    /// The terms of a set of labels.
    #[must_use]
    pub fn of(labels: &BTreeMap<String, String>) -> Self {
        Self::read(|label| labels.get(label).map(String::as_str))
    }
}

/// An owner as a label has it: the last `_` was an `@`, since names of machines have none.
fn owner(label: &str) -> String {
    label.rsplit_once('_').map_or_else(|| label.to_owned(), |(user, machine)| format!("{user}@{machine}"))
}

/// A text in the letters that every label may have, at most 63 of them.
fn plain(text: &str) -> String {
    let letter = |c: char| match c {
        '@' => '_',
        c if c.is_ascii_alphanumeric() || c == '_' => c.to_ascii_lowercase(),
        _ => '-',
    };
    text.chars().map(letter).take(63).collect()
}

#[cfg(test)]
mod tests {
    use super::Terms;

    #[test]
    fn terms_are_read_from_the_labels_that_they_write() {
        let terms = Terms {
            expires: Some("2026-11-21T18:00:05Z".parse().unwrap()),
            protect: true,
            owner: "ann_b@laptop".into(),
            template: "dev".into(),
        };
        let labels = terms.labels().collect();
        assert_eq!(Terms::of(&labels), terms);
        assert_eq!(labels["infra-expires"], "2026-11-21t18-00-05z");
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c);
        assert!(labels.values().all(|value| value.chars().all(allowed)), "{labels:?}");
        assert_eq!(Terms::of(&Terms::default().labels().collect()), Terms::default());
        let strange = Terms { owner: "Ännchen Müller@LAPTOP".into(), ..Terms::default() };
        assert_eq!(strange.labels().collect::<Vec<_>>(), [("infra-owner".into(), "-nnchen-m-ller_laptop".into())]);
    }
}
