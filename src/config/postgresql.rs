//! What each major version of PostgreSQL has: the settings that a file may set, and the extensions of its own package.

use crate::error::did_you_mean;

/// A line each: what it is, its name, the first and the last version that has it.
const LIST: &str = include_str!("postgresql.txt");

/// What a version of PostgreSQL may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feature {
    /// A setting, as in `postgresql.conf`.
    Setting,
    /// An extension.
    Extension,
}

/// A name that a version does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown {
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub hint: Option<String>,
}

/// One line of the list.
struct Line {
    name: &'static str,
    first: u32,
    last: u32,
}

impl Feature {
    fn word(self) -> &'static str {
        match self {
            Self::Setting => "setting",
            Self::Extension => "extension",
        }
    }

    fn lines(self) -> impl Iterator<Item = Line> {
        LIST.lines().filter_map(move |line| {
            let mut words = line.split(' ');
            let is_one = words.next() == Some(self.word());
            let (name, first, last) = (words.next()?, words.next()?, words.next()?);
            is_one.then_some(Line { name, first: first.parse().ok()?, last: last.parse().ok()? })
        })
    }

    /// The server reads names of settings in any case.
    fn is_same(self, one: &str, other: &str) -> bool {
        if self == Self::Setting { one.eq_ignore_ascii_case(other) } else { one == other }
    }

    /// What is wrong with a name for a version, unless that version has it, or it is one of those that a service has beside them.
    /// A setting with a dot in its name belongs to an extension, and a version that is newer than the list may have any.
    #[must_use]
    pub fn unknown(self, name: &str, version: u32, also: &[&'static str]) -> Option<Unknown> {
        let newest = self.lines().map(|line| line.last).max().unwrap_or(0);
        if version > newest || (self == Self::Setting && name.contains('.')) {
            return None;
        }
        let has = |line: &Line| (line.first..=line.last).contains(&version);
        let same: Vec<Line> = self.lines().filter(|line| self.is_same(line.name, name)).collect();
        if same.iter().any(has) || (same.is_empty() && also.contains(&name)) {
            return None;
        }
        let close = || {
            let known = self.lines().filter(has).map(|line| line.name).chain(also.iter().copied());
            did_you_mean(name, known)
        };
        let hint = match same.first() {
            Some(line) if line.last < version => Some(format!("version {} was the last that had it", line.last)),
            Some(line) => Some(format!("version {} is the first that has it", line.first)),
            None => close().map(|close| format!("did you mean `{close}`?")),
        };
        let message = format!("PostgreSQL {version} has no {} `{name}`", self.word());
        Some(Unknown { message, hint })
    }
}

#[cfg(test)]
mod tests {
    use super::Feature::{Extension, Setting};

    #[test]
    fn every_line_of_the_list_is_understood() {
        let lines = super::LIST.lines().filter(|line| !line.starts_with('#')).count();
        assert_eq!(Setting.lines().chain(Extension.lines()).count(), lines);
        assert!(Setting.lines().chain(Extension.lines()).all(|line| 11 <= line.first && line.first <= line.last));
    }

    #[test]
    fn a_version_has_its_own_settings_and_those_of_extensions() {
        for name in ["shared_buffers", "datestyle", "TimeZone", "pg_stat_statements.max", "sort_mem"] {
            assert_eq!(Setting.unknown(name, 15, &[]), None, "{name}");
        }
        assert_eq!(Setting.unknown("whatever", 99, &[]), None);
        assert_eq!(Setting.unknown("session_duration_timeout", 15, &["session_duration_timeout"]), None);
        let hint = |name: &str, version: u32| Setting.unknown(name, version, &["pool_mode"]).unwrap().hint.unwrap();
        assert_eq!(hint("shared_bufers", 15), "did you mean `shared_buffers`?");
        assert_eq!(hint("pool_mod", 15), "did you mean `pool_mode`?");
        assert_eq!(hint("old_snapshot_threshold", 17), "version 16 was the last that had it");
        assert_eq!(hint("transaction_timeout", 16), "version 17 is the first that has it");
        assert_eq!(
            Setting.unknown("lc_collate", 15, &[]).unwrap().message,
            "PostgreSQL 15 has no setting `lc_collate`"
        );
        assert_eq!(Extension.unknown("pg_trgm", 11, &[]), None);
        assert_eq!(Extension.unknown("pg_trm", 15, &[]).unwrap().hint.unwrap(), "did you mean `pg_trgm`?");
        assert_eq!(Extension.unknown("PG_TRGM", 15, &[]).unwrap().message, "PostgreSQL 15 has no extension `PG_TRGM`");
    }
}
