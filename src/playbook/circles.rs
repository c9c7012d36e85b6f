//! Variables that refer to each other in a circle: no host can ever have a value for them.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    error::Diagnostic,
    template::{Engine, name_root},
    yaml::{Mark, Node},
};

/// A variable with its value as it is written.
#[derive(Clone, Debug)]
pub struct Written {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: Node,
}

impl Written {
    /// The variables of a mapping.
    #[must_use]
    pub fn all(node: &Node) -> Vec<Self> {
        let entries = node.entries().unwrap_or_default().iter();
        entries.map(|(key, value)| Self { name: key.name.clone(), value: value.clone() }).collect()
    }
}

/// The circles among variables. One that is written in several places has another value on another host or in another task,
/// and one of `changing` may have one that is not written at all: these end a circle.
pub(super) fn circles(all: &[&Written], changing: &BTreeSet<&String>, engine: &Engine) -> Vec<Diagnostic> {
    let mut places: BTreeMap<&str, BTreeMap<String, &Node>> = BTreeMap::new();
    for written in all {
        places.entry(&written.name).or_default().insert(written.value.mark.to_string(), &written.value);
    }
    let once = places.iter().filter(|(name, places)| places.len() == 1 && !changing.contains(&(**name).to_owned()));
    let once: BTreeMap<&str, &Node> =
        once.filter_map(|(name, places)| Some((*name, *places.values().next()?))).collect();
    let next: BTreeMap<&str, BTreeSet<&str>> = once
        .iter()
        .map(|(name, value)| {
            let needed: BTreeSet<String> = value.texts().iter().flat_map(|(text, _)| needed(text, engine)).collect();
            (*name, needed.iter().filter_map(|name| once.get_key_value(name.as_str())).map(|(name, _)| *name).collect())
        })
        .collect();
    let mut found = Vec::new();
    let mut done = BTreeSet::new();
    for name in once.keys() {
        let Some(circle) = circle(name, &next, &done) else { continue };
        done.extend(circle.iter().copied());
        let mark = |name: &str| -> &Mark { &once[name].mark };
        let chain = circle.iter().skip(1).map(|name| format!("`{name}` ({})", mark(name))).chain([format!("`{name}`")]);
        let message =
            format!("the variable `{name}` refers to itself: `{name}` -> {}", chain.collect::<Vec<_>>().join(" -> "));
        found.push(Diagnostic::error(mark(name).location(), message));
    }
    found
}

/// The variables that a text cannot do without.
fn needed(text: &str, engine: &Engine) -> Vec<String> {
    if ["{% if", "{%- if", " if ", " and ", " or "].iter().any(|word| text.contains(word)) {
        return Vec::new();
    }
    let Ok(names) = engine.names(text) else { return Vec::new() };
    let roots = names.variables.iter().map(|path| name_root(path).to_owned());
    roots.filter(|root| !names.optional.contains(root)).collect()
}

/// The way from a variable back to it, when there is one; `done` are in circles that are known.
fn circle<'a>(
    from: &'a str, next: &BTreeMap<&'a str, BTreeSet<&'a str>>, done: &BTreeSet<&'a str>,
) -> Option<Vec<&'a str>> {
    let mut seen = BTreeSet::new();
    let mut ways = vec![vec![from]];
    while let Some(way) = ways.pop() {
        for name in &next[way.last()?] {
            if *name == from && !done.contains(from) {
                return Some(way);
            }
            if !done.contains(name) && seen.insert(*name) {
                ways.push(way.iter().copied().chain([*name]).collect());
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{Written, circles};
    use crate::{
        template::Engine,
        yaml::{Source, parse},
    };

    fn said(text: &str, changing: &[&str]) -> Vec<String> {
        let (node, _) = parse(&Source::new("v.yml", text)).unwrap();
        let all = Written::all(&node);
        let changing: Vec<String> = changing.iter().map(|name| (*name).to_owned()).collect();
        let changing: BTreeSet<&String> = changing.iter().collect();
        let found = circles(&all.iter().collect::<Vec<_>>(), &changing, &Engine::default());
        found.into_iter().map(|diagnostic| diagnostic.message).collect()
    }

    #[test]
    fn circles_are_named_with_their_places() {
        let text = "a: '{{ b }}'\nb: {x: ['{{ c.d | upper }}']}\nc: '{{ a }}'\nd: '{{ d }}'\ne: '{{ a }}'\n";
        assert_eq!(
            said(text, &[]),
            [
                "the variable `a` refers to itself: `a` -> `b` (v.yml:2:4) -> `c` (v.yml:3:4) -> `a`",
                "the variable `d` refers to itself: `d` -> `d`",
            ]
        );
        assert_eq!(said(text, &["b", "d"]), [""; 0]);
        for text in ["a: '{{ a | default(1) }}'", "a: '{{ 1 if x else a }}'", "a: '{{ b }}'\nb: 1", "a: \"{{ 'a' }}\""]
        {
            assert_eq!(said(text, &[]), [""; 0], "{text}");
        }
    }
}
