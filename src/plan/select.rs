//! A part of a plan: only some resources, all but some, or some made anew although nothing asks for it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Action, Change, replace_dependents};
use crate::{
    error::{Error, Result, did_you_mean},
    resource::Address,
};

/// What of a plan is wanted. An empty selection is all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection {
    /// Only these, and what they need.
    pub targets: Vec<Address>,
    /// Not these, nor what needs them.
    pub excluded: Vec<Address>,
    /// These are made anew, with what stands on them.
    pub replaced: Vec<Address>,
}

impl Selection {
    /// Whether something of a plan may be left out.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        !self.targets.is_empty() || !self.excluded.is_empty()
    }

    /// The changes that are wanted.
    ///
    /// # Errors
    /// When an address is not in the plan, or one that is to be made anew does not exist.
    pub fn of(&self, changes: Vec<Change>) -> Result<Vec<Change>> {
        let mut changes: BTreeMap<Address, Change> =
            changes.into_iter().map(|change| (change.address.clone(), change)).collect();
        let known: Vec<String> = changes.keys().map(Address::to_string).collect();
        for address in self.targets.iter().chain(&self.excluded).chain(&self.replaced) {
            if !changes.contains_key(address) {
                let error = Error::usage(format!("the plan has no `{address}`"));
                return Err(match did_you_mean(&address.to_string(), known.iter().map(String::as_str)) {
                    Some(close) => error.hint(format!("did you mean `{close}`?")),
                    None => error.hint(format!("it has {}", known.join(", "))),
                });
            }
        }
        for address in &self.replaced {
            let Some(change) = changes.get_mut(address) else { continue };
            if change.object.is_none() || change.after.is_none() {
                return Err(Error::usage(format!("`{address}` cannot be replaced: it does not exist, or is to go")));
            }
            change.action = Action::Replace;
            "you asked for it".clone_into(&mut change.reason);
        }
        replace_dependents(&mut changes);
        if !self.targets.is_empty() {
            let wanted = reach(&changes, &self.targets, Direction::Down);
            changes.retain(|address, _| wanted.contains(address));
        }
        if !self.excluded.is_empty() {
            let unwanted = reach(&changes, &self.excluded, Direction::Up);
            changes.retain(|address, _| !unwanted.contains(address));
        }
        Ok(changes.into_values().collect())
    }
}

/// Which way a choice spreads.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    /// To what must be done before it can be: what a thing needs; for removals, what needs a thing.
    Down,
    /// To what cannot be done without it.
    Up,
}

/// These addresses, and all that their choice brings along.
fn reach(changes: &BTreeMap<Address, Change>, from: &[Address], direction: Direction) -> BTreeSet<Address> {
    let mut reached: BTreeSet<Address> = from.iter().cloned().collect();
    loop {
        let before = reached.len();
        for (address, change) in changes {
            for need in &change.needs {
                let Some(needed) = changes.get(need) else { continue };
                let (first, then) = match (change.action == Action::Delete, needed.action == Action::Delete) {
                    // A removal comes after the removal of what needs it, and before nothing else.
                    (true, true) => (address, need),
                    (true, false) => continue,
                    (false, _) => (need, address),
                };
                match direction {
                    Direction::Down if reached.contains(then) => drop(reached.insert(first.clone())),
                    // What stands already can be stood upon, whether anything is done to it or not.
                    Direction::Up if reached.contains(first) && changes[first].action != Action::Keep => {
                        reached.insert(then.clone());
                    }
                    _ => {}
                }
            }
        }
        if reached.len() == before {
            return reached;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Action, Change, Selection};

    /// Changes by their addresses, actions and needs.
    fn changes(list: &[(&str, Action, &[&str])]) -> Vec<Change> {
        let change = |(address, action, needs): &(&str, Action, &[&str])| Change {
            address: address.parse().unwrap(),
            action: *action,
            reason: String::new(),
            before: None,
            after: (*action != Action::Delete).then(|| crate::resource::Resource {
                address: address.parse().unwrap(),
                spec: serde_json::Map::new(),
                needs: Vec::new(),
                origin: String::new(),
                data: Vec::new(),
            }),
            object: (*action != Action::Create).then(|| crate::provider::Object {
                environment: "dev".into(),
                address: address.parse().unwrap(),
                project: String::new(),
                id: "1".into(),
                token: String::new(),
                created: 0,
                health: crate::provider::Health::Ready,
                terms: crate::resource::Terms::default(),
                attributes: serde_json::Map::new(),
                actual: serde_json::Map::new(),
            }),
            needs: needs.iter().map(|need| need.parse().unwrap()).collect(),
            token: None,
            data: Vec::new(),
        };
        list.iter().map(change).collect()
    }

    fn select(selection: &Selection, list: &[(&str, Action, &[&str])]) -> Vec<(String, Action)> {
        let selected = selection.of(changes(list)).unwrap();
        selected.into_iter().map(|change| (change.address.to_string(), change.action)).collect()
    }

    fn addresses(list: &[&str]) -> Vec<crate::resource::Address> {
        list.iter().map(|address| address.parse().unwrap()).collect()
    }

    #[test]
    fn a_target_brings_what_it_needs() {
        let list: &[(&str, Action, &[&str])] = &[
            ("subnet.a", Action::Create, &[]),
            ("vm.a", Action::Create, &["subnet.a"]),
            ("vm.b", Action::Create, &["subnet.a"]),
        ];
        let selection = Selection { targets: addresses(&["vm.a"]), ..Selection::default() };
        assert_eq!(select(&selection, list), [("subnet.a".into(), Action::Create), ("vm.a".into(), Action::Create)]);
    }

    #[test]
    fn a_removal_brings_the_removal_of_what_stands_on_it() {
        let list: &[(&str, Action, &[&str])] = &[
            ("subnet.a", Action::Delete, &[]),
            ("vm.a", Action::Delete, &["subnet.a"]),
            ("disk.a", Action::Delete, &[]),
        ];
        let selection = Selection { targets: addresses(&["subnet.a"]), ..Selection::default() };
        assert_eq!(select(&selection, list), [("subnet.a".into(), Action::Delete), ("vm.a".into(), Action::Delete)]);
        let selection = Selection { excluded: addresses(&["vm.a"]), ..Selection::default() };
        assert_eq!(select(&selection, list), [("disk.a".into(), Action::Delete)]);
    }

    #[test]
    fn what_is_excluded_takes_along_what_needs_it_unless_it_stands_already() {
        let missing: &[(&str, Action, &[&str])] =
            &[("subnet.a", Action::Create, &[]), ("vm.a", Action::Create, &["subnet.a"])];
        let standing: &[(&str, Action, &[&str])] =
            &[("subnet.a", Action::Keep, &[]), ("vm.a", Action::Create, &["subnet.a"])];
        let selection = Selection { excluded: addresses(&["subnet.a"]), ..Selection::default() };
        assert_eq!(select(&selection, missing), []);
        assert_eq!(select(&selection, standing), [("vm.a".into(), Action::Create)]);
    }

    #[test]
    fn what_is_replaced_takes_along_what_stands_on_it() {
        let list: &[(&str, Action, &[&str])] =
            &[("subnet.a", Action::Keep, &[]), ("vm.a", Action::Keep, &["subnet.a"]), ("disk.a", Action::Keep, &[])];
        let selection = Selection { replaced: addresses(&["subnet.a"]), ..Selection::default() };
        let selected = select(&selection, list);
        assert_eq!(selected[1..], [("subnet.a".into(), Action::Replace), ("vm.a".into(), Action::Replace)]);
        let wrong = Selection { replaced: addresses(&["vm.aa"]), ..Selection::default() };
        let error = wrong.of(changes(list)).unwrap_err();
        assert!(error.to_string().contains("no `vm.aa`") && error.hints()[0].contains("vm.a"), "{error}");
    }
}
