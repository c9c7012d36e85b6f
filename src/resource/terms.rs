//! The terms under which an environment lives: until when, whether it may be swept away, whose it is. They are labels on
//! every object, so that they are known where the state is lost.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The label that says until when an environment lives.
pub const LABEL_EXPIRES: &str = "infra-expires";
/// The label of what is never swept away.
pub const LABEL_PROTECT: &str = "infra-protect";
/// The label that says who made it.
const LABEL_OWNER: &str = "infra-owner";
/// The label that names the environment file it was made from.
pub const LABEL_TEMPLATE: &str = "infra-template";
/// The label that says when the terms were given: of two, the later ones hold.
const LABEL_SINCE: &str = "infra-since";
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
    /// When these terms were given, in whole seconds; those of earlier versions do not say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
}

impl Terms {
    /// These terms, given now: they hold from now on, also where clocks differ.
    #[must_use]
    pub fn given(self, now: Timestamp) -> Self {
        let later = self.since.map(|since| since.as_second() + 1);
        let second = later.map_or(now.as_second(), |later| later.max(now.as_second()));
        Self { since: Timestamp::from_second(second).ok(), ..self }
    }

    /// Whether other terms say the same, whenever they were given.
    #[must_use]
    pub fn say_the_same_as(&self, other: &Self) -> bool {
        *self == Self { since: self.since, ..other.clone() }
    }

    /// The terms that hold for objects of one environment: those that were given last. Where none says when, as earlier versions
    /// wrote them, the latest expiry holds, and protection that any of them has.
    #[must_use]
    pub fn in_force<'a>(all: impl Iterator<Item = &'a Self> + Clone) -> Self {
        let text =
            |of: fn(&Self) -> &String| all.clone().map(of).find(|text| !text.is_empty()).cloned().unwrap_or_default();
        let last = all.clone().filter(|terms| terms.since.is_some()).max_by_key(|terms| terms.since);
        Self {
            expires: last.map_or_else(|| all.clone().filter_map(|terms| terms.expires).max(), |last| last.expires),
            protect: last.map_or_else(|| all.clone().any(|terms| terms.protect), |last| last.protect),
            owner: text(|terms| &terms.owner),
            template: text(|terms| &terms.template),
            since: last.and_then(|last| last.since),
        }
    }

    /// The labels that say so. The letters are those that labels of all clouds may have.
    pub fn labels(&self) -> impl Iterator<Item = (String, String)> {
        let moment = |moment: Timestamp| moment.strftime(MOMENT).to_string();
        let (expires, since) = (self.expires.map(moment), self.since.map(moment));
        let protect = self.protect.then(|| "true".to_owned());
        let text = |text: &str| Some(plain(text)).filter(|text| !text.is_empty());
        [
            (LABEL_EXPIRES, expires),
            (LABEL_PROTECT, protect),
            (LABEL_OWNER, text(&self.owner)),
            (LABEL_TEMPLATE, text(&self.template)),
            (LABEL_SINCE, since),
        ]
        .into_iter()
        .filter_map(|(label, value)| Some((label.to_owned(), value?)))
    }

    /// The terms that a set of labels says.
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
            since: label(LABEL_SINCE).and_then(moment),
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
            since: Some("2026-11-20T18:00:05Z".parse().unwrap()),
        };
        let labels = terms.labels().collect();
        assert_eq!(Terms::of(&labels), terms);
        assert_eq!(labels["infra-expires"], "2026-11-21t18-00-05z");
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c);
        assert!(labels.values().all(|value| value.chars().all(allowed)), "{labels:?}");
        assert_eq!(Terms::of(&Terms::default().labels().collect()), Terms::default());
        // A label that is not there says that the environment lives on.
        let never = Terms { expires: None, ..terms };
        assert_eq!(Terms::of(&never.labels().collect()), never);
        let strange = Terms { owner: "Ännchen Müller@LAPTOP".into(), ..Terms::default() };
        assert_eq!(strange.labels().collect::<Vec<_>>(), [("infra-owner".into(), "-nnchen-m-ller_laptop".into())]);
    }

    #[test]
    fn the_terms_that_were_given_last_hold() {
        let moment = |text: &str| text.parse().unwrap();
        let first = Terms { expires: Some(moment("2026-11-22T12:00:00Z")), protect: true, ..Terms::default() };
        let first = first.given(moment("2026-11-21T12:00:00Z"));
        let shorter = Terms { expires: Some(moment("2026-11-21T13:00:00Z")), protect: false, ..first.clone() };
        let shorter = shorter.given(moment("2026-11-21T12:00:00Z"));
        assert!(shorter.since > first.since, "also within one second");
        assert_eq!(Terms::in_force([&first, &shorter, &first].into_iter()), shorter);
        let never = Terms { expires: None, ..shorter.clone() }.given(moment("2026-11-21T11:00:00Z"));
        assert_eq!(Terms::in_force([&first, &never, &shorter].into_iter()), never, "also where a clock is behind");
        // Those of earlier versions: the latest expiry, and protected if any says so.
        let old = |expires: &str, protect| Terms { expires: Some(moment(expires)), protect, ..Terms::default() };
        let (early, late) = (old("2026-11-21T13:00:00Z", true), old("2026-11-22T12:00:00Z", false));
        let in_force = Terms::in_force([&early, &late].into_iter());
        assert_eq!((in_force.expires, in_force.protect), (late.expires, true));
        assert_eq!(Terms::in_force([&early, &late, &shorter].into_iter()), shorter);
    }
}
