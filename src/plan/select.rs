//! A part of a plan: only some resources, all but some, or some recreated although nothing asks for it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Action, Change, follow::follow};
use crate::{
    error::{Error, Result, did_you_mean},
    resource::{Address, Policy},
    state::State,
};

/// What of a plan is wanted. An empty selection is all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection {
    /// Only these, and what they need.
    pub targets: Vec<Address>,
    /// Not these, nor what needs them, nor the removal of what they are in.
    pub excluded: Vec<Address>,
    /// These are recreated, with what is on them.
    pub replaced: Vec<Address>,
}

impl Selection {
    /// Whether something of a plan may be left out.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        !self.targets.is_empty() || !self.excluded.is_empty()
    }

    /// The changes that are wanted. The state says what each object is in now.
    ///
    /// # Errors
    /// When an address is not in the plan, or one that is to be recreated does not exist.
    pub fn of(&self, changes: Vec<Change>, state: Option<&State>, policy: Policy) -> Result<Vec<Change>> {
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
            change.follows.clear();
            "you asked for it".clone_into(&mut change.reason);
        }
        follow(&mut changes, policy);
        if !self.targets.is_empty() {
            let asked = self.targets.iter().chain(&self.replaced).cloned().collect();
            let wanted = reach(&changes, asked, Direction::Down);
            changes.retain(|address, _| wanted.contains(address));
        }
        if !self.excluded.is_empty() {
            let unwanted = left_alone(&changes, &self.excluded, state);
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

/// These addresses, what cannot be done without them, and what they are in: an object that stays keeps that too, and so does
/// whatever else is in it.
fn left_alone(changes: &BTreeMap<Address, Change>, excluded: &[Address], state: Option<&State>) -> BTreeSet<Address> {
    let mut left: BTreeSet<Address> = excluded.iter().cloned().collect();
    loop {
        left = reach(changes, left, Direction::Up);
        let stays = left.iter().filter_map(|address| changes.get(address)).filter(|change| change.object.is_some());
        let held: Vec<Address> = stays
            .flat_map(|change| {
                let entry = state.and_then(|state| state.resources.get(&change.address));
                entry.map_or(&change.needs, |entry| &entry.needs)
            })
            .filter(|need| changes.get(*need).is_some_and(|change| change.action.removes()) && !left.contains(*need))
            .cloned()
            .collect();
        if held.is_empty() {
            return left;
        }
        left.extend(held);
    }
}

/// These addresses, and all that their choice brings along.
fn reach(
    changes: &BTreeMap<Address, Change>, mut reached: BTreeSet<Address>, direction: Direction,
) -> BTreeSet<Address> {
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
                    // What is removed to be made again is removed after what is in it, too.
                    Direction::Down
                        if (change.action, needed.action) == (Action::Replace, Action::Replace)
                            && reached.contains(need) =>
                    {
                        reached.insert(address.clone());
                    }
                    // What is created again is put back into what points to it.
                    Direction::Down if change.follows.contains(need) && reached.contains(need) => {
                        reached.insert(address.clone());
                    }
                    // What exists already can be used, whether anything is done to it or not.
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
    use super::{Action, Change, Policy, Selection, State};

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
            object: (*action != Action::Create).then(|| crate::provider::Object::sample(address, "1")),
            needs: needs.iter().map(|need| need.parse().unwrap()).collect(),
            token: None,
            data: Vec::new(),
            follows: Vec::new(),
            restarts: false,
            chosen: serde_json::Map::new(),
        };
        list.iter().map(change).collect()
    }

    fn select(selection: &Selection, list: &[(&str, Action, &[&str])]) -> Vec<(String, Action)> {
        let selected = selection.of(changes(list), None, Policy::default()).unwrap();
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
    fn what_is_excluded_keeps_what_it_is_in() {
        let list: &[(&str, Action, &[&str])] = &[
            ("network.main", Action::Replace, &[]),
            ("subnet.a", Action::Replace, &["network.main"]),
            ("postgres.main", Action::Replace, &["subnet.a"]),
            ("vm.a", Action::Replace, &["subnet.a"]),
            ("vm.b", Action::Create, &["subnet.a"]),
            ("disk.a", Action::Create, &[]),
        ];
        let selection = Selection { excluded: addresses(&["postgres.main"]), ..Selection::default() };
        assert_eq!(select(&selection, list), [("disk.a".into(), Action::Create)]);
        // It was moved: what it is in until then goes with its removal only.
        let moved: &[(&str, Action, &[&str])] = &[
            ("subnet.a", Action::Delete, &[]),
            ("subnet.b", Action::Create, &[]),
            ("vm.a", Action::Replace, &["subnet.b"]),
        ];
        let entry = serde_json::json!({
            "id": "1", "token": "t", "spec": {}, "needs": ["subnet.a"], "attributes": {}, "created": "2026-01-01T00:00:00Z",
        });
        let resources = [("vm.a".parse().unwrap(), serde_json::from_value(entry).unwrap())].into();
        let state = State { resources, ..State::of_name("dev".parse().unwrap()) };
        let selection = Selection { excluded: addresses(&["vm.a"]), ..Selection::default() };
        let kept: Vec<String> = selection
            .of(changes(moved), Some(&state), Policy::default())
            .unwrap()
            .iter()
            .map(|c| c.address.to_string())
            .collect();
        assert_eq!(kept, ["subnet.b"]);
        // A target that must be removed with what it is in brings along what else is in that.
        let selection = Selection { targets: addresses(&["vm.a"]), ..Selection::default() };
        let brought: Vec<String> = select(&selection, list).into_iter().map(|(address, _)| address).collect();
        assert_eq!(brought, ["network.main", "postgres.main", "subnet.a", "vm.a"]);
    }

    #[test]
    fn what_is_replaced_takes_along_what_stands_on_it() {
        let list: &[(&str, Action, &[&str])] =
            &[("subnet.a", Action::Keep, &[]), ("vm.a", Action::Keep, &["subnet.a"]), ("disk.a", Action::Keep, &[])];
        let selection = Selection { replaced: addresses(&["subnet.a"]), ..Selection::default() };
        let selected = select(&selection, list);
        assert_eq!(selected[1..], [("subnet.a".into(), Action::Replace), ("vm.a".into(), Action::Replace)]);
        let wrong = Selection { replaced: addresses(&["vm.aa"]), ..Selection::default() };
        let error = wrong.of(changes(list), None, Policy::default()).unwrap_err();
        assert!(error.to_string().contains("no `vm.aa`") && error.hints()[0].contains("vm.a"), "{error}");
    }
}
