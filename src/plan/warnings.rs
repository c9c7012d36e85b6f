//! What a plan says beside its changes: what is left alone, and what its changes mean for what runs.

use super::{Action, Change, list};
use crate::{
    provider::Object,
    resource::{Address, KindName},
    state::State,
};

/// What a reviewer of these changes should know.
#[must_use]
pub fn warnings(changes: &[Change], observed: &[Object], state: Option<&State>, has_playbooks: bool) -> Vec<String> {
    let twins = changes.iter().filter_map(|change| twins(change, observed, state));
    let exchanges = changes.iter().filter(|change| has_playbooks && exchanges(change));
    let exchanges = exchanges.map(|change| {
        format!(
            "`{}`: its machines are exchanged for new ones, which are empty until the playbooks have run: `deploy_policy` cannot \
             wait for that",
            change.address
        )
    });
    twins.chain(exchanges).collect()
}

/// The objects that have the labels of a resource and are not the one that the change is about.
fn twins(change: &Change, observed: &[Object], state: Option<&State>) -> Option<String> {
    let object = change.object.as_ref()?;
    let is_known = |other: &Object| state.is_some_and(|state| state.known(other.address.kind, &other.id).is_some());
    let others: Vec<&str> = observed
        .iter()
        .filter(|other| other.address == change.address && other.id != object.id && !is_known(other))
        .map(|other| other.id.as_str())
        .collect();
    (!others.is_empty()).then(|| twin(&change.address, &others, &object.id))
}

/// Says that objects have the labels of another one.
#[must_use]
pub fn twin(address: &Address, others: &[&str], known: &str) -> String {
    format!(
        "`{address}` is `{known}`, and {} has its labels too: a copy, such as a restored backup, is left alone; remove its labels, \
         or delete it",
        list(others)
    )
}

/// Whether a change exchanges the machines of a group for new ones.
fn exchanges(change: &Change) -> bool {
    let makes_others = |field: &str| ["machine", "service_account"].contains(&field);
    change.address.kind == KindName::INSTANCE_GROUP
        && change.action == Action::Update
        && (!change.follows.is_empty() || change.fields().iter().any(|(field, ..)| makes_others(field)))
}

#[cfg(test)]
mod tests {
    use super::warnings;
    use crate::{
        plan::{Known, diff},
        provider::Object,
        resource::Policy,
        state::State,
    };

    #[test]
    fn what_has_the_labels_of_another_object_is_named_and_left_alone() {
        let object = |id: &str| Object { project: "p".into(), token: "t".into(), ..Object::sample("disk.db-data", id) };
        let observed = [object("vol-restored"), object("vol-1")];
        let mut state = State::of_name("dev".parse().unwrap());
        let entry = serde_json::json!({
            "id": "vol-1", "token": "t", "spec": {}, "needs": [], "attributes": {}, "created": "2026-01-01T00:00:00Z",
        });
        state.resources.insert("disk.db-data".parse().unwrap(), serde_json::from_value(entry).unwrap());
        let pending = std::collections::BTreeMap::new();
        let known = Known { state: Some(&state), pending: &pending, observed: &observed, policy: Policy::default() };
        // The file asks for nothing: what the state knows is removed, and not the copy.
        let changes = diff(&[], known).unwrap();
        assert_eq!(changes[0].object.as_ref().map(|object| object.id.as_str()), Some("vol-1"));
        let said = warnings(&changes, &observed, Some(&state), false);
        assert_eq!(said.len(), 1);
        assert!(said[0].starts_with("`disk.db-data` is `vol-1`, and `vol-restored` has its labels too"), "{said:?}");
        assert!(warnings(&changes, &observed[1..], Some(&state), false).is_empty());
    }
}
