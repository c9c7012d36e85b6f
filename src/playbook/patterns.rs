//! Host patterns, as Ansible reads them: names, groups, `*?[]`, `~regex`, indexes and slices, `&` and `!`.

use std::collections::{BTreeMap, BTreeSet};

use fancy_regex::Regex;

use super::model::Play;
use crate::{
    error::{Diagnostic, Error, Result, did_you_mean},
    files,
    template::is_template,
};

/// The hosts of a play, and the patterns that say nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Matched {
    /// The hosts, in the order of the patterns.
    pub(super) hosts: Vec<String>,
    /// Patterns that are neither a host nor a group of the inventory.
    pub(super) unknown: Vec<String>,
}

/// The hosts that match the patterns of a play.
///
/// # Errors
/// When a regular expression is wrong.
pub(super) fn matched(
    patterns: &[String], hosts: &[String], groups: &BTreeMap<String, Vec<String>>,
) -> Result<Matched> {
    let mut parts: Vec<String> = patterns.iter().flat_map(|pattern| split(pattern)).collect();
    // As in Ansible: first what adds hosts, then what keeps only some of them, then what takes some out.
    let rank = |part: &String| match part.chars().next() {
        Some('&') => 1,
        Some('!') => 2,
        _ => 0,
    };
    parts.sort_by_key(rank);
    if parts.first().is_some_and(|part| rank(part) > 0) {
        parts.insert(0, "all".to_owned());
    }
    let mut found = Matched::default();
    for part in parts {
        let (operator, name) = match part.chars().next() {
            Some(sign @ ('!' | '&')) => (sign, &part[1..]),
            _ => ('+', part.as_str()),
        };
        let (members, known) = one(name, hosts, groups)?;
        if !known {
            found.unknown.push(name.to_owned());
        }
        match operator {
            '!' => found.hosts.retain(|host| !members.contains(host)),
            '&' => found.hosts.retain(|host| members.contains(host)),
            _ => {
                for host in members {
                    if !found.hosts.contains(&host) {
                        found.hosts.push(host);
                    }
                }
            }
        }
    }
    Ok(found)
}

/// The hosts that match the patterns of a play; none when a pattern is wrong.
#[must_use]
pub fn match_hosts(patterns: &[String], hosts: &[String], groups: &BTreeMap<String, Vec<String>>) -> Vec<String> {
    matched(patterns, hosts, groups).map(|matched| matched.hosts).unwrap_or_default()
}

/// The hosts that a play is for; all of them when its pattern is a template.
#[must_use]
pub fn reached(plays: &[Play], hosts: &[String], groups: &BTreeMap<String, Vec<String>>) -> BTreeSet<String> {
    let of = |play: &Play| {
        if play.hosts.iter().any(|pattern| is_template(pattern)) {
            hosts.to_vec()
        } else {
            match_hosts(&play.hosts, hosts, groups)
        }
    };
    plays.iter().flat_map(of).collect()
}

/// The plays that run nowhere: a name that is no host and no group is a mistake, unless it is one `elsewhere`, in another
/// environment of the project. The rest are warnings.
#[must_use]
pub fn unmatched(
    plays: &[Play], hosts: &[String], groups: &BTreeMap<String, Vec<String>>, elsewhere: &dyn Fn(&str) -> bool,
) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for play in plays.iter().filter(|play| !play.hosts.iter().any(|pattern| is_template(pattern))) {
        let place = |word: &str| play.hosts_mark.within(&play.hosts.join("\n"), word);
        match matched(&play.hosts, hosts, groups) {
            Ok(matched) => {
                // What earlier plays add is known only when they have run.
                let unknown = matched.unknown.iter().filter(|_| !play.symbols.is_after_added_hosts);
                for pattern in unknown {
                    let message =
                        format!("the pattern `{pattern}` of the play `{}` matches no host and no group", play.name);
                    let names = groups.keys().chain(hosts).map(String::as_str);
                    let hint = match did_you_mean(pattern, names) {
                        Some(close) => format!("did you mean `{close}`?"),
                        None => format!("groups: {}", groups.keys().cloned().collect::<Vec<_>>().join(", ")),
                    };
                    let diagnostic = if is_needed(&play.hosts, pattern) && !elsewhere(pattern) {
                        Diagnostic::error(place(pattern), message)
                    } else {
                        Diagnostic::warning(place(pattern), message)
                    };
                    found.push(diagnostic.hint(hint));
                }
                // The playbooks within the binary are for environments of any kind.
                let shipped = play.folder.starts_with(files::BUILTIN);
                if matched.hosts.is_empty() && matched.unknown.is_empty() && !shipped {
                    let message = format!("the play `{}` matches no machine of this environment", play.name);
                    found.push(Diagnostic::warning(play.hosts_mark.location(), message));
                }
            }
            Err(error) => found.push(Diagnostic::error(play.hosts_mark.location(), error.message())),
        }
    }
    found
}

/// Whether a play is for what this names: it has no wildcard, and is not only left out.
fn is_needed(patterns: &[String], name: &str) -> bool {
    let plain = !name.starts_with('~') && !name.contains(['*', '?', '[']);
    plain && patterns.iter().flat_map(|pattern| split(pattern)).any(|part| part.trim_start_matches('&') == name)
}

/// The parts of a pattern that are no host and no group.
///
/// # Errors
/// When a regular expression is wrong.
pub fn unknown_patterns(
    pattern: &str, hosts: &[String], groups: &BTreeMap<String, Vec<String>>,
) -> Result<Vec<String>> {
    Ok(matched(&[pattern.to_owned()], hosts, groups)?.unknown)
}

/// The parts of a pattern: between commas, or where there are none between colons that are in no brackets.
fn split(pattern: &str) -> Vec<String> {
    let separator = if pattern.contains(',') { ',' } else { ':' };
    // A regular expression may hold colons of its own, and an address of IPv6 has them.
    let whole = separator == ':' && (pattern.trim_start_matches(['&', '!']).starts_with('~') || is_address(pattern));
    let mut depth = 0_usize;
    let mut parts = vec![String::new()];
    for c in pattern.chars() {
        match c {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if c == separator && depth == 0 && !whole {
            parts.push(String::new());
        } else if let Some(part) = parts.last_mut() {
            part.push(c);
        }
    }
    parts.iter().map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
}

fn is_address(text: &str) -> bool {
    text.parse::<std::net::Ipv6Addr>().is_ok()
}

/// The hosts of one pattern, and whether it names anything.
fn one(pattern: &str, hosts: &[String], groups: &BTreeMap<String, Vec<String>>) -> Result<(Vec<String>, bool)> {
    let (name, subscript) = subscript(pattern);
    if name == "all" {
        return Ok((subscript.of(groups.get(name).map_or(hosts, Vec::as_slice)), true));
    }
    let test = Test::new(name)?;
    let matching: Vec<&Vec<String>> =
        groups.iter().filter(|(group, _)| test.holds(group)).map(|(_, members)| members).collect();
    let mut found: Vec<String> = Vec::new();
    for host in matching.iter().copied().flatten() {
        if !found.contains(host) {
            found.push(host.clone());
        }
    }
    // A name that is a group is not looked for among the hosts; what is a pattern is looked for among both.
    if matching.is_empty() || name.starts_with('~') || name.contains(['.', '?', '*', '[']) {
        let more: Vec<String> =
            hosts.iter().filter(|host| test.holds(host) && !found.contains(host)).cloned().collect();
        found.extend(more);
    }
    if found.is_empty() && matching.is_empty() && matches!(name, "localhost" | "127.0.0.1" | "::1") {
        found.push("localhost".to_owned());
    }
    let known = !found.is_empty() || !matching.is_empty();
    Ok((subscript.of(&found), known))
}

/// Which of the hosts that match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Subscript {
    All,
    /// `[0]`, `[-1]`.
    One(i64),
    /// `[1:3]`, both ends are in it.
    From(usize, Option<usize>),
}

impl Subscript {
    fn of(self, hosts: &[String]) -> Vec<String> {
        match self {
            Self::All => hosts.to_vec(),
            Self::One(at) => {
                let at = if at < 0 {
                    hosts.len().checked_sub(at.unsigned_abs().try_into().unwrap_or(usize::MAX))
                } else {
                    at.try_into().ok()
                };
                at.and_then(|at| hosts.get(at)).cloned().into_iter().collect()
            }
            Self::From(begin, end) => {
                let end = end.map_or(hosts.len(), |end| end.saturating_add(1)).min(hosts.len());
                hosts.get(begin..end).unwrap_or_default().to_vec()
            }
        }
    }
}

/// A pattern without its subscript. A class of characters such as `web[12]` with more than digits, `:` and `-` is none, and a
/// regular expression has none.
fn subscript(pattern: &str) -> (&str, Subscript) {
    let none = (pattern, Subscript::All);
    let Some((name, inner)) = pattern.strip_suffix(']').and_then(|rest| rest.rsplit_once('[')) else { return none };
    if name.is_empty() || pattern.starts_with('~') {
        return none;
    }
    if let Ok(at) = inner.parse::<i64>()
        && !inner.starts_with('+')
    {
        return (name, Subscript::One(at));
    }
    let Some((begin, end)) = inner.split_once([':', '-']) else { return none };
    let digits = |text: &str| text.chars().all(|c| c.is_ascii_digit());
    match (begin.parse::<usize>(), end) {
        (Ok(begin), "") => (name, Subscript::From(begin, None)),
        (Ok(begin), end) if digits(end) => (name, Subscript::From(begin, end.parse().ok())),
        _ => none,
    }
}

/// What a name is compared with.
enum Test<'a> {
    Plain(&'a str),
    Regex(Regex),
}

impl<'a> Test<'a> {
    fn new(pattern: &'a str) -> Result<Self> {
        let wrong = |error: fancy_regex::Error| {
            Error::usage(format!("`{pattern}` is not a host pattern: {}", error.to_string().replace('\n', " ")))
        };
        if let Some(regex) = pattern.strip_prefix('~') {
            return Ok(Self::Regex(Regex::new(&format!("^(?:{regex})")).map_err(wrong)?));
        }
        if !pattern.contains(['*', '?', '[']) {
            return Ok(Self::Plain(pattern));
        }
        Ok(Self::Regex(Regex::new(&translated(pattern)).map_err(wrong)?))
    }

    fn holds(&self, name: &str) -> bool {
        match self {
            Self::Plain(plain) => *plain == name,
            Self::Regex(regex) => regex.is_match(name).unwrap_or(false),
        }
    }
}

/// A pattern of a shell as a regular expression.
fn translated(pattern: &str) -> String {
    let mut regex = String::from("^(?s:");
    let mut rest = pattern;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match c {
            '*' => regex.push_str(".*"),
            '?' => regex.push('.'),
            '[' => match rest.get(1..).and_then(|more| more.find(']')).map(|at| at + 1) {
                Some(end) => {
                    let class = rest[..end].replace('\\', r"\\").replace('[', r"\[");
                    let class = class.strip_prefix('!').map_or_else(|| class.clone(), |class| format!("^{class}"));
                    regex += &format!("[{class}]");
                    rest = &rest[end + 1..];
                }
                None => regex.push_str(r"\["),
            },
            other => regex += &fancy_regex::escape(other.encode_utf8(&mut [0; 4])),
        }
    }
    regex + ")$"
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::matched;

    /// What `ansible-core` 2.19 answers to `ansible PATTERN --list-hosts` with this inventory; `?` where it warns.
    const GOLDEN: &str = include_str!("../../tests/golden/patterns.txt");

    #[test]
    fn patterns_match_as_in_ansible() {
        let hosts: Vec<String> = ["a", "b", "web-1", "web-2", "web-10", "pbq1"].map(String::from).into();
        let members = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let groups = BTreeMap::from([
            ("all".to_owned(), members(&["b", "pbq1", "web-10", "web-2", "a", "web-1"])),
            ("empty".to_owned(), Vec::new()),
            ("lab".to_owned(), members(&["web-10", "web-2", "a"])),
            ("web".to_owned(), members(&["web-1", "web-2", "web-10"])),
        ]);
        let mut count = 0;
        for line in GOLDEN.lines().filter(|line| !line.starts_with('#')) {
            let (pattern, wanted) = line.split_once(" =>").unwrap();
            let found = matched(&[pattern.to_owned()], &hosts, &groups).unwrap();
            let shown = format!("{}{}", found.hosts.join(" "), if found.unknown.is_empty() { "" } else { " ?" });
            assert_eq!(shown.trim(), wanted.trim(), "{pattern}");
            count += 1;
        }
        assert!(count > 25);
    }

    #[test]
    fn a_wrong_regex_is_a_mistake() {
        let error = matched(&["~web(".to_owned()], &[], &BTreeMap::new()).unwrap_err();
        assert!(error.to_string().contains("`~web(` is not a host pattern"), "{error}");
    }
}
