//! Where the file says something that a provider was asked for.

use std::collections::BTreeSet;

use super::Environment;
use crate::{
    error::Location,
    yaml::{Mark, Node},
};

/// The section that begins at a place, and its mark.
fn section<'a>(node: &'a Node, origin: &str) -> Option<(&'a Mark, &'a Node)> {
    let is = |mark: &Mark| mark.to_string() == origin;
    // A mapping begins where its first key does: it is that key which is meant.
    let inside = node.entries().unwrap_or_default();
    if let Some((key, value)) = inside.iter().find(|(key, _)| is(&key.mark)) {
        return Some((&key.mark, value));
    }
    if is(&node.mark) {
        return Some((&node.mark, node));
    }
    let below = inside.iter().map(|(_, value)| value).chain(node.items().unwrap_or_default());
    below.into_iter().find_map(|one| section(one, origin))
}

/// The places of a value in a section, where it is a text or a key.
fn values(node: &Node, value: &str) -> Vec<Location> {
    let entries = node.entries().unwrap_or_default();
    let own = (node.as_str() == Some(value)).then(|| node.mark.location());
    let keys = entries.iter().filter(|(key, _)| key.name == value).map(|(key, _)| key.mark.location());
    let below = entries.iter().map(|(_, inner)| inner).chain(node.items().unwrap_or_default());
    own.into_iter().chain(keys).chain(below.flat_map(|inner| values(inner, value))).collect()
}

/// The place of the deepest key on a path that a tree has.
pub(super) fn key<'a>(root: &'a Node, path: &[&str]) -> &'a Mark {
    let (mut mark, mut node) = (&root.mark, root);
    for part in path {
        let named = node.entries().into_iter().flatten().find(|(key, _)| key.name == *part);
        let item = || node.items().into_iter().flatten().find(|item| item.as_str() == Some(part));
        match (named, item()) {
            (Some((key, value)), _) => (mark, node) = (&key.mark, value),
            (None, Some(item)) => (mark, node) = (&item.mark, item),
            (None, None) => break,
        }
    }
    mark
}

impl Environment {
    /// The place of the deepest key on a path that the file has, as `postgres`, `main`, `settings`, `work_mem`.
    #[must_use]
    pub fn place_of(&self, path: &[&str]) -> Location {
        key(&self.text, path).location()
    }

    /// The places of a value that the sections which begin at `origins` ask for. Without it they are those of the provider's
    /// settings, which hold for all sections, or the sections themselves.
    #[must_use]
    pub fn places_of(&self, origins: &BTreeSet<String>, value: &str) -> Vec<Location> {
        let sections: Vec<(&Mark, &Node)> = origins.iter().filter_map(|origin| section(&self.text, origin)).collect();
        let exact: Vec<Location> = sections.iter().flat_map(|(_, node)| values(node, value)).collect();
        let usual = || self.text.get(self.provider.as_str()).map(|node| values(node, value)).unwrap_or_default();
        let mut found = if exact.is_empty() { usual() } else { exact };
        if found.is_empty() {
            found = sections.into_iter().map(|(mark, _)| mark.location()).collect();
        }
        found.sort();
        found.dedup();
        found
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use crate::{
        config::{LoadOptions, load_source},
        resource::KindName,
        yaml::Source,
    };

    #[test]
    fn a_value_is_found_in_its_section_then_in_the_settings() {
        let text = "provider: aws\naws: {disk_type: gp9}\nnetwork: {subnets: {a: {v4_cidr_blocks: [10.0.0.0/24], zone: x}}}\n\
                    instances:\n  web: {resources: {class: t9.x}}\n  db: {}\n";
        let environment = load_source(&Source::new("/p/envs/dev/config.yaml", text), &LoadOptions::default()).unwrap();
        let origin = |kind: KindName, name: &str| {
            let address = kind.named(&name.parse().unwrap());
            environment.resources.iter().find(|one| one.address == address).unwrap().origin.clone()
        };
        let places = |origins: &[String], value: &str| -> Vec<(usize, usize)> {
            let origins: BTreeSet<String> = origins.iter().cloned().collect();
            environment.places_of(&origins, value).iter().map(|place| (place.line, place.column)).collect()
        };
        let (web, db) = (origin(KindName::VM, "web"), origin(KindName::VM, "db"));
        assert_eq!(places(&[web.clone(), db.clone()], "t9.x"), [(5, 28)]);
        assert_eq!(places(&[origin(KindName::SUBNET, "a")], "x"), [(3, 62)]);
        assert_eq!(places(std::slice::from_ref(&web), "gp9"), [(2, 18)]);
        assert_eq!(places(&[web, db], "chosen"), [(5, 3), (6, 3)]);
    }
}
