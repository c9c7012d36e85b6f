//! From what exists to what is wanted, one address at a time.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::{Action, Change, Known, data, follow, list};
use crate::{
    error::{Diagnostic, Error, Result, count},
    graph::Graph,
    provider::{self, Health, Object},
    resource::{Address, FieldChange, KindName, Resource, Rules},
    state::Intent,
};

/// The changes from what is known to what is wanted.
///
/// # Errors
/// When the wanted resources need each other in a circle, or fields differ that cannot be changed: all of them are one error.
pub fn diff(desired: &[Resource], known: Known<'_>) -> Result<Vec<Change>> {
    Graph::new(desired.iter().map(|resource| (resource.address.clone(), resource.needs.clone())))?;
    let observed = by_known_names(known);
    let known = Known { observed: &observed, ..known };
    let mut changes: BTreeMap<Address, Change> = BTreeMap::new();
    let mut refused = Vec::new();
    for resource in desired {
        changes.insert(resource.address.clone(), wanted(resource, known, &mut refused));
    }
    if refused.len() > 1 {
        return Err(Error::from_diagnostics(
            format!("{} are not possible", count(refused.len() as u64, "change")),
            refused,
        ));
    }
    if let Some(one) = refused.pop() {
        let error = Error::usage(one.message);
        return Err(one.hint.into_iter().fold(error, Error::hint));
    }
    follow::follow(&mut changes, known.policy);
    for listed in known.observed {
        // Of several with the same labels the one that the state knows.
        let object = known.find(&listed.address).unwrap_or(listed);
        // The terms of an environment last as long as it does.
        let terms = object.address.kind == KindName::EXPIRY && !desired.is_empty();
        if !terms && !changes.contains_key(&object.address) {
            changes.insert(object.address.clone(), removal(object, known));
        }
    }
    for (address, entry) in known.state.iter().flat_map(|state| &state.resources) {
        changes.entry(address.clone()).or_insert_with(|| Change {
            address: address.clone(),
            action: Action::Forget,
            reason: "it is gone already".to_owned(),
            before: Some(entry.spec.clone()),
            after: None,
            object: None,
            needs: entry.needs.clone(),
            token: None,
            data: Vec::new(),
            follows: Vec::new(),
            restarts: false,
            chosen: Map::new(),
        });
    }
    Ok(changes.into_values().collect())
}

/// What is observed, under the names that the state has for it: `infra state mv` changes those, and labels stay.
fn by_known_names(known: Known<'_>) -> Vec<Object> {
    let entries = known.state.iter().flat_map(|state| &state.resources);
    let names: BTreeMap<(KindName, &str), &Address> =
        entries.map(|(address, entry)| ((address.kind, entry.id.as_str()), address)).collect();
    let renamed = known.observed.iter().map(|object| {
        let name = names.get(&(object.address.kind, object.id.as_str()));
        Object { address: name.map_or(&object.address, |name| name).clone(), ..object.clone() }
    });
    renamed.collect()
}

impl<'a> Known<'a> {
    /// The object of an address: the one that the state knows, otherwise the oldest one with the label.
    pub(super) fn find(self, address: &Address) -> Option<&'a Object> {
        let id = self.state.and_then(|state| state.resources.get(address)).map(|entry| entry.id.as_str());
        let with_label = self.observed.iter().filter(|object| object.address == *address);
        with_label.min_by_key(|object| (id != Some(object.id.as_str()), object.created))
    }
}

/// What becomes of one wanted resource; fields that cannot be changed are added to `refused`.
fn wanted(resource: &Resource, known: Known<'_>, refused: &mut Vec<Diagnostic>) -> Change {
    let address = &resource.address;
    let entry = known.state.and_then(|state| state.resources.get(address));
    let intent = known.pending.get(address);
    let object = known.find(address);
    let change = Change {
        address: address.clone(),
        action: Action::Keep,
        reason: String::new(),
        before: entry.map(|entry| entry.spec.clone()),
        after: Some(resource.clone()),
        object: object.cloned(),
        needs: resource.needs.clone(),
        token: intent.map(|intent| intent.token.clone()),
        data: object.map(|object| data::held(object, Some(resource), known)).unwrap_or_default(),
        follows: Vec::new(),
        restarts: false,
        chosen: Map::new(),
    };
    let as_action = |action: Action, reason: &str| Change { action, reason: reason.to_owned(), ..change.clone() };
    let Some(object) = object else {
        let reason = if entry.is_some() { "it is gone" } else { "it is new" };
        return Change { before: None, ..as_action(Action::Create, reason) };
    };
    // An object that the state knows was finished before it was written down: only its labels were lost since.
    let finished = entry.is_some_and(|entry| entry.id == object.id);
    // What an interrupted run has begun is completed, as long as the same is wanted.
    let begun = |intent: &Intent| intent.token == object.token && intent.spec == resource.spec;
    if object.health == Health::Unfinished && !finished && intent.is_some_and(begun) {
        let completed = as_action(Action::Update, "its creation was interrupted; it is completed");
        return Change { before: Some(resource.spec.clone()), ..completed };
    }
    if let Some(reason) = is_past_repair(object.health, finished) {
        return as_action(Action::Replace, reason);
    }
    let (found, spec) = match (entry, intent) {
        (Some(entry), _) if entry.id == object.id => (change, entry.spec.clone()),
        (_, Some(intent)) if intent.token == object.token => {
            let adopted = as_action(Action::Adopt, "an interrupted run made it");
            (Change { before: Some(intent.spec.clone()), ..adopted }, intent.spec.clone())
        }
        _ if address.kind.boots() => {
            return as_action(Action::Replace, "it exists, but its keys are not known here");
        }
        _ => {
            let mut found = as_action(Action::Adopt, "it exists, but the state does not know it");
            if address.kind.kind().logins().is_some() {
                // The passwords that it was given are lost with the state.
                found = as_action(Action::Update, &(found.reason + ": its logins get new passwords"));
            }
            (Change { before: None, ..found }, resource.spec.clone())
        }
    };
    compared(found, object, spec, resource, known, refused)
}

/// How an object that exists comes to what is wanted, given the specification that it was made with.
fn compared(
    mut change: Change, object: &Object, mut known_spec: Map<String, Value>, resource: &Resource, known: Known<'_>,
    refused: &mut Vec<Diagnostic>,
) -> Change {
    // What the provider shows is truer than what we believe. A list that is not in the specification is an empty one.
    let is_other = |field: &String, shown: &Value| match known_spec.get(field) {
        Some(known) => known != shown,
        None => shown.as_array().is_some_and(|items| !items.is_empty()),
    };
    let moved: Vec<String> =
        object.actual.iter().filter(|(field, shown)| is_other(field, shown)).map(|(field, _)| field.clone()).collect();
    for field in &moved {
        known_spec.insert(field.clone(), object.actual[field].clone());
    }
    if !moved.is_empty() {
        change.before = Some(known_spec.clone());
    }
    let rules = (known.policy.rules)(resource.address.kind);
    let left = left_as_it_is(resource, &mut known_spec, rules);
    if left.is_some() {
        change.before = Some(known_spec.clone());
    }
    let grown = grown(resource, &mut known_spec, &moved, rules);
    let names: BTreeSet<&String> = known_spec.keys().chain(resource.spec.keys()).collect();
    // A field that is not there says as much as one with nothing in it.
    let value = |spec: &Map<String, Value>, name: &str| spec.get(name).cloned().unwrap_or_default();
    let differing: Vec<&str> = names
        .into_iter()
        .filter(|name| value(&known_spec, name) != value(&resource.spec, name))
        .map(String::as_str)
        .filter(|name| !matches!(rules.change(name), FieldChange::Ignored(_)))
        .collect();
    let needs = |wanted: FieldChange| differing.iter().find(move |field| rules.change(field) == wanted);
    refused.extend(refusals(resource, &known_spec, &differing, rules));
    if let Some(forcing) = needs(FieldChange::Replace) {
        return Change { action: Action::Replace, reason: format!("`{forcing}` cannot be changed in place"), ..change };
    }
    let mut reasons = Vec::new();
    if !differing.is_empty() {
        let is_moved = differing.iter().all(|field| moved.iter().any(|moved| moved == field));
        reasons.push(format!("{} {}", list(&differing), if is_moved { why_moved(&change, known) } else { "changed" }));
    }
    if !differing.contains(&"records") {
        reasons.extend(outdated_records(object, resource, known));
    }
    let strayed = follow::strayed(object, resource, known);
    let is_restarted =
        needs(FieldChange::Restart).is_some() || strayed.as_ref().is_some_and(|strayed| strayed.restarts);
    reasons.extend(strayed.map(|strayed| strayed.reason));
    reasons.extend(can_go_on(object.health).map(str::to_owned));
    reasons.extend(object.outdated.clone());
    if is_restarted {
        reasons.push("it is stopped for that and started again".to_owned());
    }
    if reasons.is_empty() {
        if change.action == Action::Keep {
            let in_transition = matches!(object.health, Health::Transient | Health::Unhealthy);
            // Nothing is changed for that; but it is shown.
            let remark = object.health.remark().filter(|_| in_transition).map(str::to_owned);
            change.reason = left.or(grown).or(remark).unwrap_or_default();
        }
        return change;
    }
    reasons.extend(left);
    change.action = Action::Update;
    change.restarts = is_restarted;
    reasons.splice(..0, Some(change.reason).filter(|reason| !reason.is_empty()));
    change.reason = reasons.join("; ");
    change
}

/// How fields came to be other than they were last known to be.
fn why_moved(change: &Change, known: Known<'_>) -> &'static str {
    let is_interrupted = known.state.is_some_and(|state| state.changing.contains(&change.address));
    match change.action {
        // What an interrupted run made has the token of its intent; of anything else it is not known who made it so.
        Action::Adopt if change.token.is_some() => "not set yet",
        Action::Adopt | Action::Update => "not as in the file",
        _ if is_interrupted => "not changed yet: an earlier apply was interrupted",
        _ => "changed outside of infra",
    }
}

/// How the records of a zone differ from what they should say now.
fn outdated_records(object: &Object, resource: &Resource, known: Known<'_>) -> Option<String> {
    let spec = Some(resource).filter(|one| one.address.kind == KindName::DNS_ZONE)?.spec().ok()?;
    let is_interrupted = known.state.is_some_and(|state| state.changing.contains(&resource.address));
    provider::outdated_records(object, &spec, is_interrupted, |address| known.find(address))
}

/// Why an object is replaced as it is.
fn is_past_repair(health: Health, finished: bool) -> Option<&'static str> {
    match health {
        Health::Unfinished if !finished => Some("its creation was interrupted"),
        Health::Broken if finished => Some("it has failed, or only a part of it is left"),
        Health::Broken => Some("its creation was interrupted, or has failed"),
        Health::Leaving => Some("it is being removed"),
        _ => None,
    }
}

/// Why an object is changed although its specification is what it should be.
fn can_go_on(health: Health) -> Option<&'static str> {
    match health {
        Health::Stopped => Some("it is stopped"),
        Health::Paused => Some("it is paused"),
        Health::Renamed => Some("it was renamed outside of infra"),
        Health::Incomplete => Some("a part of it is gone"),
        _ => None,
    }
}

/// The fields that differ and cannot be changed: the provider refuses, or something would become smaller that only grows.
fn refusals(resource: &Resource, known_spec: &Map<String, Value>, differing: &[&str], rules: Rules) -> Vec<Diagnostic> {
    let address = &resource.address;
    let asked = format!("it is asked for at {}", resource.origin);
    let is_replaced = differing.iter().any(|field| rules.change(field) == FieldChange::Replace);
    let size = |spec: &Map<String, Value>, field: &str| spec.get(field).and_then(Value::as_u64);
    let refused = differing.iter().filter_map(|field| {
        if let FieldChange::Refused(instead) = rules.change(field) {
            let text = |spec: &Map<String, Value>| spec.get(*field).and_then(Value::as_str).map(str::to_owned);
            let values = text(known_spec).zip(text(&resource.spec));
            let values = values.map(|(before, after)| format!(" from `{before}` to `{after}`")).unwrap_or_default();
            let message = format!("`{address}`: `{field}` cannot be changed{values}; {asked}");
            return Some(Diagnostic::error(None, message).hint(instead));
        }
        let sizes = size(known_spec, field).zip(size(&resource.spec, field)).filter(|_| !is_replaced);
        let (before, after) = sizes?;
        if rules.steps(field) && after > before + 1 {
            let next = before + 1;
            let message = format!(
                "`{address}`: `{field}` cannot go from {before} to {after} at once, which is asked for at {}",
                resource.origin
            );
            let instead =
                format!("the service takes one step at a time: write `{field}: {next}` and apply, then go on");
            return Some(Diagnostic::error(None, message).hint(instead));
        }
        if after >= before || !rules.grows(field) {
            return None;
        }
        let message = format!(
            "`{address}`: `{field}` cannot be made smaller: it is {before}, and {after} is asked for at {}",
            resource.origin
        );
        let instead = if *field == "version" {
            "for an older version dump the data, remove the service from the file, apply, and add it again"
        } else {
            "disks only grow: for a smaller one copy the data away, remove it from the file, apply, and add it again"
        };
        Some(Diagnostic::error(None, message).hint(instead))
    });
    refused.collect()
}

/// What has grown outside of infra and is never made smaller stays as it is: that is said, and nothing is changed.
fn grown(resource: &Resource, known_spec: &mut Map<String, Value>, moved: &[String], rules: Rules) -> Option<String> {
    let mut said = None;
    for field in moved.iter().filter(|field| rules.grows(field)) {
        let wanted = resource.spec.get(field);
        let seen = known_spec.get(field).and_then(Value::as_u64);
        let Some((seen, number)) = seen.zip(wanted.and_then(Value::as_u64)).filter(|(seen, wanted)| seen > wanted)
        else {
            continue;
        };
        said = Some(format!(
            "`{field}` has grown from {number} to {seen} outside of infra, and is never made smaller: write {seen} into the file"
        ));
        known_spec.insert(field.clone(), number.into());
    }
    said
}

/// What the file no longer has, and the service goes on to have as it is: that is said, and nothing is changed.
fn left_as_it_is(resource: &Resource, known_spec: &mut Map<String, Value>, rules: Rules) -> Option<String> {
    let is_nothing = |value: Option<&Value>| value.is_none_or(Value::is_null);
    let left: Vec<String> = (known_spec.iter())
        .filter(|(field, value)| rules.stays(field) && !value.is_null() && is_nothing(resource.spec.get(*field)))
        .map(|(field, _)| field.clone())
        .collect();
    for field in &left {
        known_spec.remove(field);
    }
    let names: Vec<&str> = left.iter().map(String::as_str).collect();
    (!left.is_empty()).then(|| format!("the file no longer has {}: the service keeps what it has", list(&names)))
}

/// The removal of an object that the file does not ask for. Where the state does not know what it needed, the kinds of the
/// highest level go first.
pub(super) fn removal(object: &Object, known: Known<'_>) -> Change {
    let entry = known.state.and_then(|state| state.resources.get(&object.address));
    let mut needs: Vec<Address> = entry.map_or_else(
        || {
            let level = |address: &Address| (known.policy.level)(address.kind);
            let others = known.observed.iter().map(|other| &other.address);
            others.filter(|other| level(other) < level(&object.address)).cloned().collect()
        },
        |entry| entry.needs.clone(),
    );
    if object.address.kind != KindName::EXPIRY {
        // A destroy that is interrupted leaves the object that says when the environment expires, so that `infra gc` finds it.
        let terms = known.observed.iter().filter(|other| other.address.kind == KindName::EXPIRY);
        needs.extend(terms.map(|other| other.address.clone()));
    }
    Change {
        address: object.address.clone(),
        action: Action::Delete,
        reason: "the file does not ask for it".to_owned(),
        before: entry.map(|entry| entry.spec.clone()),
        after: None,
        object: Some(object.clone()),
        needs,
        token: None,
        data: data::held(object, None, known),
        follows: Vec::new(),
        restarts: false,
        chosen: Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::{Map, json};

    use super::{Action, Known, diff};
    use crate::{
        clock::Clock,
        provider::{Health, Object, rules},
        resource::{Field, FieldChange, KindName, Policy, Resource, Rules},
        state::{Entry, Intent, State},
    };

    fn resource(address: &str, spec: serde_json::Value, needs: &[&str]) -> Resource {
        Resource {
            address: address.parse().unwrap(),
            spec: spec.as_object().unwrap().clone(),
            needs: needs.iter().map(|need| need.parse().unwrap()).collect(),
            origin: "config.yaml:1:1".into(),
            data: Vec::new(),
        }
    }

    fn object(address: &str, id: &str) -> Object {
        Object { project: "/p".into(), token: format!("token-{id}"), ..Object::sample(address, id) }
    }

    fn state(resources: &[(&Resource, &str)]) -> State {
        let entry = |resource: &Resource, id: &str| Entry {
            id: id.into(),
            token: format!("token-{id}"),
            spec: resource.spec.clone(),
            needs: resource.needs.clone(),
            attributes: Map::new(),
            created: Clock::System.now(),
            data: resource.data.clone(),
        };
        State {
            provider: "fake".into(),
            resources: resources.iter().map(|(r, id)| (r.address.clone(), entry(r, id))).collect(),
            ..State::of_name("dev".parse().unwrap())
        }
    }

    fn actions(desired: &[Resource], state: Option<&State>, observed: &[Object]) -> Vec<(String, Action)> {
        let pending = BTreeMap::new();
        let changes =
            diff(desired, Known { state, pending: &pending, observed, policy: crate::resource::Policy::default() })
                .unwrap();
        changes.into_iter().map(|change| (change.address.to_string(), change.action)).collect()
    }

    #[test]
    fn from_nothing_to_something_and_back() {
        let net = resource("subnet.a", json!({"cidr": "10.0.0.0/24"}), &[]);
        let vm = resource("vm.a", json!({"cores": 2}), &["subnet.a"]);
        let desired = [net.clone(), vm.clone()];
        let create = vec![("subnet.a".to_owned(), Action::Create), ("vm.a".to_owned(), Action::Create)];
        assert_eq!(actions(&desired, None, &[]), create);

        let state = state(&[(&net, "1"), (&vm, "2")]);
        let observed = [object("subnet.a", "1"), object("vm.a", "2")];
        let kept = actions(&desired, Some(&state), &observed);
        assert!(kept.iter().all(|(_, action)| *action == Action::Keep));
        let removed = actions(&[], Some(&state), &observed);
        assert!(removed.iter().all(|(_, action)| *action == Action::Delete));
        let gone = actions(&[], Some(&state), &[]);
        assert!(gone.iter().all(|(_, action)| *action == Action::Forget));
    }

    #[test]
    fn updates_in_place_or_replaces_and_takes_dependents_along() {
        let net = resource("subnet.a", json!({"cidr": "10.0.0.0/24"}), &[]);
        let vm = resource("vm.a", json!({"cores": 2, "image": "x"}), &["subnet.a"]);
        let state = state(&[(&net, "1"), (&vm, "2")]);
        let observed = [object("subnet.a", "1"), object("vm.a", "2")];
        let bigger = resource("vm.a", json!({"cores": 4, "image": "x"}), &["subnet.a"]);
        assert_eq!(actions(&[net.clone(), bigger], Some(&state), &observed)[1].1, Action::Update);
        let other = resource("vm.a", json!({"cores": 4, "image": "y"}), &["subnet.a"]);
        assert_eq!(actions(&[net, other], Some(&state), &observed)[1].1, Action::Replace);
        let moved = resource("subnet.a", json!({"cidr": "10.1.0.0/24"}), &[]);
        let both = actions(&[moved, vm], Some(&state), &observed);
        assert!(both.iter().all(|(_, action)| *action == Action::Replace));
    }

    #[test]
    fn what_points_to_a_machine_that_is_created_again_is_changed_and_nothing_is_replaced_for_it() {
        let vm = resource("vm.a", json!({"image": "x"}), &[]);
        let balancer = resource("load_balancer.front", json!({"members": ["a"], "ports": [80]}), &["vm.a"]);
        let zone = resource("dns_zone.example", json!({"zone": "example.org."}), &["vm.a", "load_balancer.front"]);
        let state = state(&[(&vm, "1"), (&balancer, "2"), (&zone, "3")]);
        let desired = [vm.clone(), balancer.clone(), zone.clone()];
        let lost = [object("load_balancer.front", "2"), object("dns_zone.example", "3")];
        let of = |desired: &[Resource], observed: &[Object]| -> Vec<(Action, String)> {
            let (pending, policy) = (BTreeMap::new(), crate::resource::Policy::default());
            let known = Known { state: Some(&state), pending: &pending, observed, policy };
            diff(desired, known).unwrap().into_iter().map(|change| (change.action, change.reason)).collect()
        };
        let pointed = |why: &str| (Action::Update, why.to_owned());
        let found = of(&desired, &lost);
        assert_eq!(found[..2], [pointed("`vm.a` is created"), pointed("`vm.a` is created")]);
        assert_eq!(found[2].0, Action::Create);
        let there = [object("vm.a", "1"), lost[0].clone(), lost[1].clone()];
        let other = [resource("vm.a", json!({"image": "y"}), &[]), balancer, zone];
        let found = of(&other, &there);
        assert_eq!(found[..2], [pointed("`vm.a` is replaced"), pointed("`vm.a` is replaced")]);
        assert_eq!(found[2].0, Action::Replace);
        assert!(of(&desired, &there).iter().all(|(action, _)| *action == Action::Keep));
    }

    #[test]
    fn what_points_elsewhere_than_it_should_is_changed() {
        let (a, b) = (resource("vm.a", json!({}), &[]), resource("vm.b", json!({}), &[]));
        let balancer = resource("load_balancer.front", json!({"members": ["a", "b"]}), &["vm.a", "vm.b"]);
        let state = state(&[(&a, "1"), (&b, "2"), (&balancer, "3")]);
        let reason = |ids: Option<&[&str]>| {
            let links = ids.map(|ids| ids.iter().map(|&id| id.to_owned()).collect());
            let front = Object { links, ..object("load_balancer.front", "3") };
            let observed = [object("vm.a", "1"), object("vm.b", "2"), front];
            let (pending, policy) = (BTreeMap::new(), crate::resource::Policy::default());
            let known = Known { state: Some(&state), pending: &pending, observed: &observed, policy };
            let change = diff(&[a.clone(), b.clone(), balancer.clone()], known).unwrap().remove(0);
            (change.action, change.reason)
        };
        assert_eq!(reason(None).0, Action::Keep, "it is not known to what it points");
        assert_eq!(reason(Some(&["1", "2"])).0, Action::Keep);
        let changed = |why: &str| (Action::Update, why.to_owned());
        assert_eq!(reason(Some(&["1"])), changed("it does not point to `vm.b`"));
        assert_eq!(reason(Some(&["1", "2", "9"])), changed("it points to `9` outside of infra"));
    }

    /// The action and the reason of the only change, under the rules of a provider.
    fn changed(
        desired: &Resource, state: &State, observed: Object, rules: fn(KindName) -> Rules,
    ) -> crate::error::Result<(Action, String)> {
        let (pending, policy) = (BTreeMap::new(), Policy { rules, ..Policy::default() });
        let known = Known { state: Some(state), pending: &pending, observed: &[observed], policy };
        diff(std::slice::from_ref(desired), known).map(|mut changes| {
            let change = changes.remove(0);
            (change.action, change.reason)
        })
    }

    #[test]
    fn a_service_that_upgrades_by_one_version_is_not_asked_for_more() {
        let version = |version: u32| resource("postgres.main", json!({ "version": version }), &[]);
        let state = state(&[(&version(15), "1")]);
        let plan = |wanted: u32, provider: &str| {
            changed(&version(wanted), &state, object("postgres.main", "1"), rules(provider.parse().unwrap()))
        };
        assert_eq!(plan(16, "yandex").unwrap().0, Action::Update);
        let refused = plan(17, "yandex").unwrap_err();
        assert!(refused.to_string().contains("`version` cannot go from 15 to 17 at once"), "{refused}");
        assert!(refused.hints()[0].contains("write `version: 16` and apply"), "{:?}", refused.hints());
        assert_eq!(plan(17, "aws").unwrap().0, Action::Update);
    }

    #[test]
    fn what_an_interrupted_apply_had_not_changed_is_not_said_to_be_changed_by_others() {
        const FIELDS: &[Field] = &[Field::seen("cores", FieldChange::InPlace)];
        let wanted = resource("vm.a", json!({ "cores": 4 }), &[]);
        let mut state = state(&[(&resource("vm.a", json!({ "cores": 2 }), &[]), "1")]);
        let shown = || Object { actual: Map::from_iter([("cores".to_owned(), json!(3))]), ..object("vm.a", "1") };
        let rules: fn(KindName) -> Rules = |_| Rules { fields: FIELDS, links: &[] };
        let in_place = |state: &State| changed(&wanted, state, shown(), rules).unwrap();
        assert_eq!(in_place(&state), (Action::Update, "`cores` changed outside of infra".to_owned()));
        state.changing.insert(wanted.address.clone());
        let said = (Action::Update, "`cores` not changed yet: an earlier apply was interrupted".to_owned());
        assert_eq!(in_place(&state), said);
    }

    #[test]
    fn an_interrupted_create_is_adopted_by_its_token_and_a_stranger_is_not_trusted() {
        let vm = resource("vm.a", json!({"cores": 2}), &[]);
        let observed = [object("vm.a", "7")];
        assert_eq!(actions(std::slice::from_ref(&vm), None, &observed)[0].1, Action::Replace);
        let intent = Intent { token: "token-7".into(), spec: vm.spec.clone(), needs: Vec::new() };
        let pending = BTreeMap::from([(vm.address.clone(), intent)]);
        let known =
            Known { state: None, pending: &pending, observed: &observed, policy: crate::resource::Policy::default() };
        assert_eq!(diff(std::slice::from_ref(&vm), known).unwrap()[0].action, Action::Adopt);
        let unfinished = [Object { health: Health::Unfinished, ..object("vm.a", "7") }];
        let known =
            Known { state: None, pending: &pending, observed: &unfinished, policy: crate::resource::Policy::default() };
        let completed = diff(&[vm], known).unwrap().remove(0);
        assert_eq!((completed.action, completed.token.as_deref()), (Action::Update, Some("token-7")));
        assert_eq!(completed.reason, "its creation was interrupted; it is completed");
        // Another machine is wanted meanwhile, or the one that is there is not the one that was begun.
        let other = resource("vm.a", json!({"cores": 4}), &[]);
        assert_eq!(diff(&[other], known).unwrap()[0].action, Action::Replace);
        let stranger = [Object { token: "another".into(), ..unfinished[0].clone() }];
        let known = Known { observed: &stranger, ..known };
        assert_eq!(diff(&[resource("vm.a", json!({"cores": 2}), &[])], known).unwrap()[0].action, Action::Replace);
    }

    #[test]
    fn a_stopped_machine_is_started() {
        let vm = resource("vm.a", json!({"cores": 2}), &[]);
        let state = state(&[(&vm, "1")]);
        let observed = [Object { health: Health::Stopped, ..object("vm.a", "1") }];
        assert_eq!(actions(std::slice::from_ref(&vm), Some(&state), &observed)[0].1, Action::Update);
        let observed = [Object { health: Health::Paused, ..object("vm.a", "1") }];
        assert_eq!(actions(std::slice::from_ref(&vm), Some(&state), &observed)[0].1, Action::Update);
        let observed = [Object { health: Health::Renamed, ..object("vm.a", "1") }];
        assert_eq!(actions(&[vm], Some(&state), &observed)[0].1, Action::Update);
    }

    #[test]
    fn a_lost_label_replaces_nothing_that_the_state_knows() {
        let db = resource("postgres.main", json!({"disk_gb": 10, "databases": {"app": {}}}), &[]);
        let state = state(&[(&db, "1")]);
        let action = |health: Health, state: Option<&State>| {
            actions(std::slice::from_ref(&db), state, &[Object { health, ..object("postgres.main", "1") }])[0].1
        };
        assert_eq!(action(Health::Unfinished, Some(&state)), Action::Keep);
        assert_eq!(action(Health::Unfinished, None), Action::Replace);
        assert_eq!(action(Health::Broken, Some(&state)), Action::Replace);
        assert_eq!(action(Health::Broken, None), Action::Replace);
    }

    #[test]
    fn what_was_added_to_an_empty_list_is_seen() {
        let vm = resource("vm.a", json!({"cores": 2}), &[]);
        let state = state(&[(&vm, "1")]);
        let shown = |groups: serde_json::Value| Object {
            actual: Map::from_iter([("security_groups".to_owned(), groups), ("zone".to_owned(), json!("a"))]),
            ..object("vm.a", "1")
        };
        let action = |groups| actions(std::slice::from_ref(&vm), Some(&state), &[shown(groups)])[0].1;
        assert_eq!(action(json!([])), Action::Keep);
        assert_eq!(action(json!(["world"])), Action::Replace);
    }

    #[test]
    fn a_found_database_that_differs_gets_new_passwords_and_all_of_it_is_said() {
        let db = resource("postgres.main", json!({"version": 15, "settings": {}}), &[]);
        let observed = [Object {
            health: Health::Stopped,
            actual: Map::from_iter([("settings".to_owned(), json!({"jit": "off"}))]),
            ..object("postgres.main", "1")
        }];
        let (pending, policy) = (BTreeMap::new(), crate::resource::Policy::default());
        let known = Known { state: None, pending: &pending, observed: &observed, policy };
        let change = diff(&[db], known).unwrap().remove(0);
        assert_eq!(
            (change.action, change.reason.as_str()),
            (
                Action::Update,
                "it exists, but the state does not know it: its logins get new passwords; `settings` not as in the file; \
                 it is stopped"
            )
        );
    }
}
