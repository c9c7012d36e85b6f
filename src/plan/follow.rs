//! What a change means for what points to the changed thing: a route table for its gateway, a balancer for its machines.

use std::collections::{BTreeMap, BTreeSet};

use super::{Action, Change, Known, list};
use crate::{
    provider::{Health, Object},
    resource::{Address, FieldChange, KindName, LinkChange, Policy, Resource},
};

/// What is in a replaced thing is replaced with it; what points to something that is created again is pointed to the new one.
pub(super) fn follow(changes: &mut BTreeMap<Address, Change>, policy: Policy) {
    loop {
        // What is completed may be another object afterwards.
        let other = |change: &Change| match change.action {
            Action::Replace | Action::Create => true,
            Action::Update => change.object.as_ref().is_some_and(|object| object.health == Health::Incomplete),
            _ => false,
        };
        let moving: BTreeMap<Address, Action> = (changes.values())
            .filter(|change| other(change))
            .map(|change| (change.address.clone(), change.action))
            .collect();
        let replaced = |change: &Change| {
            let rules = (policy.rules)(change.address.kind);
            let mut needs = change.needs.iter();
            needs
                .find(|need| {
                    moving.get(*need) == Some(&Action::Replace) && rules.link(need.kind) == LinkChange::Replace
                })
                .cloned()
        };
        let next =
            changes.values_mut().filter(|change| exists(change)).find_map(|change| Some((replaced(change)?, change)));
        if let Some((need, change)) = next {
            change.action = Action::Replace;
            change.reason = format!("`{need}` is replaced");
            change.follows.clear();
            continue;
        }
        for change in changes.values_mut().filter(|change| exists(change)) {
            let rules = (policy.rules)(change.address.kind);
            let points = |need: &&Address| rules.link(need.kind).is_in_place() && moving.contains_key(*need);
            change.follows = change.needs.iter().filter(points).cloned().collect();
            let Some(first) = change.follows.first().filter(|_| change.action != Action::Update) else { continue };
            let how = match moving[first] {
                Action::Create => "created",
                Action::Update => "completed",
                _ => "replaced",
            };
            let adopted = change.action == Action::Adopt;
            let restarts = change.follows.iter().any(|need| rules.link(need.kind) == LinkChange::Restart);
            change.reason = format!(
                "{}`{first}` is {how}{}",
                if adopted { "an interrupted run made it, and " } else { "" },
                if restarts { "; it is stopped for that and started again" } else { "" },
            );
            change.action = Action::Update;
            change.restarts |= restarts;
        }
        let elsewhere: BTreeSet<Address> = changes
            .values()
            .filter(|change| readdressed(change, policy))
            .map(|change| change.address.clone())
            .collect();
        for change in changes.values_mut().filter(|change| change.address.kind == KindName::DNS_ZONE && exists(change))
        {
            let moved: Vec<Address> = change.needs.iter().filter(|need| elsewhere.contains(*need)).cloned().collect();
            let Some(need) = moved.first() else { continue };
            if change.action != Action::Update {
                change.reason = format!("`{need}` may have another address");
                change.action = Action::Update;
            }
            let others = moved.into_iter().filter(|need| !change.follows.contains(need)).collect::<Vec<_>>();
            change.follows.extend(others);
        }
        return;
    }
}

/// Whether something that stays may get another address: it is started again, or its public address changes.
fn readdressed(change: &Change, policy: Policy) -> bool {
    let Some(object) = change.object.as_ref().filter(|_| exists(change)) else { return false };
    let rules = (policy.rules)(change.address.kind);
    let readdresses =
        |field: &str| rules.change(field) == FieldChange::Restart || ["public", "reserved_address"].contains(&field);
    let is_restarted = change.restarts || object.health == Health::Stopped;
    change.action == Action::Update && (is_restarted || change.fields().iter().any(|(field, ..)| readdresses(field)))
}

/// Whether a change is about something that exists and stays.
fn exists(change: &Change) -> bool {
    matches!(change.action, Action::Keep | Action::Update | Action::Adopt)
}

/// How what an object points to differs from what it needs: it was changed outside of infra.
pub(super) struct Strayed {
    pub(super) reason: String,
    /// Whether it is stopped to be pointed to what it needs.
    pub(super) restarts: bool,
}

/// How what an object points to differs from what it needs.
pub(super) fn strayed(object: &Object, resource: &Resource, known: Known<'_>) -> Option<Strayed> {
    let links = object.links.as_ref()?;
    let rules = (known.policy.rules)(object.address.kind);
    let mut needed = BTreeSet::new();
    let mut lost = Vec::new();
    for need in resource.needs.iter().filter(|need| rules.sees(need.kind)) {
        // What does not exist is created, and pointed to then.
        let Some(there) = known.find(need) else { continue };
        needed.insert(there.id.as_str());
        if !links.contains(&there.id) {
            lost.push(need.to_string());
        }
    }
    // What is about to be removed was needed until now.
    let was = known.state.and_then(|state| state.resources.get(&object.address)).map(|entry| entry.needs.as_slice());
    let former: BTreeSet<&str> =
        was.into_iter().flatten().filter_map(|need| Some(known.find(need)?.id.as_str())).collect();
    let foreign: Vec<&str> =
        (links.iter().map(String::as_str)).filter(|id| !needed.contains(id) && !former.contains(id)).collect();
    let gone: Vec<&str> =
        links.iter().map(String::as_str).filter(|id| former.contains(id) && !needed.contains(id)).collect();
    let lost: Vec<&str> = lost.iter().map(String::as_str).collect();
    let reason = if !foreign.is_empty() {
        let changing = known.state.is_some_and(|state| state.changing.contains(&object.address));
        let why = if changing { "still: an earlier apply was interrupted" } else { "outside of infra" };
        format!("it points to {} {why}", list(&foreign))
    } else if !lost.is_empty() {
        format!("it does not point to {}", list(&lost))
    } else if !gone.is_empty() {
        format!("it no longer needs {}", list(&gone))
    } else {
        return None;
    };
    let needs = was.into_iter().flatten().chain(&resource.needs);
    let differs = |need: &Address| {
        known.find(need).is_some_and(|there| links.contains(&there.id) != needed.contains(there.id.as_str()))
    };
    let restarts = needs.into_iter().any(|need| rules.link(need.kind) == LinkChange::Restart && differs(need));
    Some(Strayed { reason, restarts })
}
