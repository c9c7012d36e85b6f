//! What of a file can still be read when parts of it are wrong in shape: a text where a number belongs, an unknown key. Those
//! parts are taken out, so that wrong references in the rest are reported in the same run, and what is reported only because a
//! part is missing is left out.

use std::{collections::BTreeSet, path::PathBuf};

use serde_json::Value;

use super::{check::Checker, has_errors};
use crate::{
    cloud::section_keys,
    error::{Diagnostic, Location, Severity},
    yaml::{Content, Node},
};

/// Whether the meaning of all other sections depends on a key: without it nothing can be said of the rest.
fn is_decisive(key: &str) -> bool {
    ["provider", "network"].contains(&key) || section_keys().any(|section| section == key)
}

/// The file, the line and the column of a mistake.
type Place = (PathBuf, usize, usize);

/// A file without the parts that cannot be read.
pub(super) struct Readable {
    /// The rest of the tree, which the schema accepts.
    pub(super) root: Node,
    /// The names that what was taken out may define, and those of the entries that it was taken from.
    names: BTreeSet<String>,
    /// Where the entries and lists begin that something was taken from.
    around: BTreeSet<Place>,
}

impl Readable {
    /// Takes out what `mistakes` point at; nothing when what remains would mean something else.
    pub(super) fn new(root: &Node, schema: &Value, mistakes: &[Diagnostic]) -> Option<Self> {
        let mut readable = Self { root: root.clone(), names: BTreeSet::new(), around: BTreeSet::new() };
        let mut mistakes = mistakes.to_vec();
        while has_errors(&mistakes) {
            let errors = mistakes.iter().filter(|one| one.severity == Severity::Error);
            let wrong: BTreeSet<Place> = errors.filter_map(|one| one.location.as_ref().map(place)).collect();
            let mut root = std::mem::replace(&mut readable.root, Node { content: Content::Null, ..root.clone() });
            let removed = readable.prune(&mut root, &wrong, &mut Vec::new())?;
            readable.root = root;
            let mut checker = Checker { schema, found: Vec::new() };
            checker.check(&readable.root, schema, "the environment");
            mistakes = checker.found;
            if !removed && has_errors(&mistakes) {
                return None;
            }
        }
        Some(readable)
    }

    /// Whether a mistake of the rest is one of the file, too, and not due to what was taken out.
    pub(super) fn holds(&self, mistake: &Diagnostic) -> bool {
        let quoted = mistake.message.split('`').skip(1).step_by(2);
        // A group `web` has machines `web-1`, `web-2`, and a group of the same name with underscores.
        let is_missing = |text: &str| {
            let is_of = |name: &str| {
                text == name
                    || text == name.replace('-', "_")
                    || text.strip_prefix(name).is_some_and(|rest| rest.starts_with('-'))
            };
            self.names.iter().any(|name| is_of(name))
        };
        let is_around = mistake.location.as_ref().is_none_or(|location| self.around.contains(&place(location)));
        !is_around && !quoted.into_iter().any(is_missing)
    }

    /// Removes the innermost entries and items that are wrong; whether there were any, or nothing when a decisive one is.
    fn prune(&mut self, node: &mut Node, wrong: &BTreeSet<Place>, path: &mut Vec<(String, Place)>) -> Option<bool> {
        let mut removed = false;
        match &mut node.content {
            Content::Mapping(entries) => {
                let mut kept = Vec::new();
                for (key, mut value) in std::mem::take(entries) {
                    path.push((key.name.clone(), place(&key.mark.location())));
                    let below = self.prune(&mut value, wrong, path)?;
                    let is_wrong = [&key.mark, &value.mark].iter().any(|mark| wrong.contains(&place(&mark.location())));
                    removed |= below || is_wrong;
                    if is_wrong && !below {
                        self.remember(&value, path)?;
                    } else {
                        kept.push((key, value));
                    }
                    path.pop();
                }
                *entries = kept;
            }
            Content::Sequence(items) => {
                let mut kept = Vec::new();
                for mut item in std::mem::take(items) {
                    let below = self.prune(&mut item, wrong, path)?;
                    let is_wrong = wrong.contains(&place(&item.mark.location()));
                    removed |= below || is_wrong;
                    if is_wrong && !below {
                        self.remember(&item, path)?;
                    } else {
                        kept.push(item);
                    }
                }
                *items = kept;
            }
            _ => {}
        }
        Some(removed)
    }

    /// Remembers what is taken out at a path, unless the meaning of the rest depends on it.
    fn remember(&mut self, node: &Node, path: &[(String, Place)]) -> Option<()> {
        let (section, _) = path.first()?;
        if is_decisive(section) && (section != "network" || path.len() < 3) {
            return None;
        }
        self.names.extend(path.iter().skip(1).map(|(name, _)| name.clone()));
        self.names.extend(names(node));
        self.around.extend(path.iter().map(|(_, place)| place.clone()));
        Some(())
    }
}

/// Every name that a tree may define: its keys, and the groups of machines.
fn names(node: &Node) -> Vec<String> {
    let mut found: Vec<String> = node.items().unwrap_or_default().iter().flat_map(names).collect();
    for (key, value) in node.entries().unwrap_or_default() {
        found.push(key.name.clone());
        if key.name == "ansible_groups" {
            found.extend(value.texts().into_iter().map(|(group, _)| group));
        }
        found.extend(names(value));
    }
    found
}

fn place(location: &Location) -> Place {
    (location.file.clone(), location.line, location.column)
}
