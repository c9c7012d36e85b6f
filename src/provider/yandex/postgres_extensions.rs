//! The extensions that Managed PostgreSQL has.

use crate::error::{Diagnostic, did_you_mean};

/// A line each: the name of an extension, the first and the last version of PostgreSQL for which the service has it.
const LIST: &str = include_str!("extensions.txt");

fn lines() -> impl Iterator<Item = (&'static str, u32, u32)> {
    LIST.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
        let mut words = line.split(' ');
        Some((words.next()?, words.next()?.parse().ok()?, words.next()?.parse().ok()?))
    })
}

/// What is wrong with an extension. The service has new ones from time to time: one that is not listed and does not look like a
/// typing error is for the service to judge.
pub(super) fn unknown(name: &str, version: u32) -> Option<Diagnostic> {
    let newest = lines().map(|(.., last)| last).max().unwrap_or(0);
    let mut same = lines().filter(|(known, ..)| *known == name).peekable();
    if same.peek().is_some() {
        let has = version > newest || same.any(|(_, first, last)| (first..=last).contains(&version));
        let message = format!("the service had no extension `{name}` for PostgreSQL {version} when infra was built");
        return (!has).then(|| Diagnostic::warning(None, message));
    }
    if let Some(close) = did_you_mean(name, lines().map(|(known, ..)| known)) {
        let mistake = Diagnostic::error(None, format!("the service has no extension `{name}`"));
        return Some(mistake.hint(format!("did you mean `{close}`?")));
    }
    Some(Diagnostic::warning(None, format!("the service had no extension `{name}` when infra was built")))
}

#[cfg(test)]
mod tests {
    use super::{LIST, lines, unknown};

    #[test]
    fn extensions_of_the_service_are_known_by_version() {
        assert_eq!(lines().count(), LIST.lines().filter(|line| !line.starts_with('#')).count());
        let said = |name: &str, version: u32| unknown(name, version).map(|one| one.to_string()).unwrap_or_default();
        assert_eq!([said("postgis", 15), said("plv8", 16), said("plv8", 18)].concat(), "");
        assert!(said("plv8", 15).starts_with("warning: "), "{}", said("plv8", 15));
        assert!(said("postgsi", 15).contains("error: ") && said("postgsi", 15).contains("did you mean `postgis`?"));
        assert!(said("something_else_entirely", 15).starts_with("warning: "));
    }
}
