//! Versions as the test `version` compares them: Python's `LooseVersion` and `StrictVersion`, and semantic versions.

use std::cmp::Ordering;

/// Compares two versions of a kind.
pub(super) fn compare(a: &str, b: &str, kind: &str) -> Result<Ordering, String> {
    match kind {
        "loose" => loose(a, b),
        "strict" => Ok(strict(a)?.cmp(&strict(b)?)),
        "semver" | "semantic" => semantic(a, b),
        "pep440" => Err("version: `version_type: pep440` is not supported".to_owned()),
        other => Err(format!("version: `{other}` is no version_type")),
    }
}

#[derive(PartialEq)]
enum Part {
    Number(u128),
    Text(String),
}

/// Runs of digits are numbers, everything else but the points is text; a number and a text cannot be compared.
fn loose(a: &str, b: &str) -> Result<Ordering, String> {
    let (first, second) = (parts(a), parts(b));
    for pair in first.iter().zip(&second) {
        let order = match pair {
            (Part::Number(a), Part::Number(b)) => a.cmp(b),
            (Part::Text(a), Part::Text(b)) => a.cmp(b),
            _ => {
                return Err(format!(
                    "version: `{a}` and `{b}` cannot be compared: one has a number where the other has a text"
                ));
            }
        };
        if order != Ordering::Equal {
            return Ok(order);
        }
    }
    Ok(first.len().cmp(&second.len()))
}

fn parts(version: &str) -> Vec<Part> {
    let class = |c: char| match c {
        '0'..='9' => 0,
        'a'..='z' => 1,
        '.' => 2,
        _ => 3,
    };
    let mut parts = Vec::new();
    let mut rest = version.trim();
    while let Some(first) = rest.chars().next() {
        let end = if first == '.' { 1 } else { rest.find(|c| class(c) != class(first)).unwrap_or(rest.len()) };
        let (part, after) = rest.split_at(end);
        match part.parse() {
            Ok(number) => parts.push(Part::Number(number)),
            Err(_) if part == "." => {}
            Err(_) => parts.push(Part::Text(part.to_owned())),
        }
        rest = after;
    }
    parts
}

/// Two or three numbers, and maybe `a1` or `b1`, which come before none.
type Strict = ([u64; 3], (bool, char, u64));

fn strict(version: &str) -> Result<Strict, String> {
    let wrong = || format!("version: `{version}` is no strict version, as `1.2`, `1.2.3` or `1.2b1`");
    let (numbers, early) = match version.find(['a', 'b']) {
        Some(at) => (&version[..at], Some((version[at..].starts_with('b'), &version[at + 1..]))),
        None => (version, None),
    };
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u64>().ok().filter(|_| digits).ok_or_else(wrong)
    };
    let parsed = numbers.split('.').map(number).collect::<Result<Vec<_>, _>>()?;
    if !(2..=3).contains(&parsed.len()) {
        return Err(wrong());
    }
    let early = match early {
        Some((is_beta, count)) => (false, if is_beta { 'b' } else { 'a' }, number(count)?),
        None => (true, ' ', 0),
    };
    Ok(([parsed[0], parsed[1], parsed.get(2).copied().unwrap_or(0)], early))
}

/// <https://semver.org>: what comes before a release is less, build data counts for nothing.
fn semantic(a: &str, b: &str) -> Result<Ordering, String> {
    let (first, second) = (semantic_parts(a)?, semantic_parts(b)?);
    let numbers = first.0.cmp(&second.0);
    Ok(numbers.then_with(|| match (first.1, second.1) {
        (None, None) => Ordering::Equal,
        (None, Some(_)) => Ordering::Greater,
        (Some(_), None) => Ordering::Less,
        (Some(a), Some(b)) => {
            let (mut a, mut b) = (a.split('.'), b.split('.'));
            loop {
                let order = match (a.next(), b.next()) {
                    (None, None) => return Ordering::Equal,
                    (None, Some(_)) => Ordering::Less,
                    (Some(_), None) => Ordering::Greater,
                    (Some(a), Some(b)) => match (a.parse::<u128>(), b.parse::<u128>()) {
                        (Ok(a), Ok(b)) => a.cmp(&b),
                        (Ok(_), Err(_)) => Ordering::Less,
                        (Err(_), Ok(_)) => Ordering::Greater,
                        (Err(_), Err(_)) => a.cmp(b),
                    },
                };
                if order != Ordering::Equal {
                    return order;
                }
            }
        }
    }))
}

fn semantic_parts(version: &str) -> Result<([u64; 3], Option<&str>), String> {
    let wrong = || format!("version: `{version}` is no semantic version, as `1.2.3` or `1.2.3-rc.1`");
    let plain = version.split_once('+').map_or(version, |(plain, _)| plain);
    let (numbers, early) = plain.split_once('-').map_or((plain, None), |(numbers, early)| (numbers, Some(early)));
    let parsed: Vec<u64> =
        numbers.split('.').map(|part| part.parse().map_err(|_| wrong())).collect::<Result<_, _>>()?;
    let fits = early.is_none_or(|early| {
        early.split('.').all(|part| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'))
    });
    match parsed.as_slice() {
        [major, minor, patch] if fits => Ok(([*major, *minor, *patch], early)),
        _ => Err(wrong()),
    }
}
