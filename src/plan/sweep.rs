//! Which environments there are, by what a provider lists, and which of them have expired. No state is asked: this also
//! finds what a run made that died before it wrote anything.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{Change, Known, diff, diff::removal};
use crate::{
    error::Result,
    provider::Object,
    resource::{KindName, Policy, Terms},
    state::State,
};

/// An environment as a provider shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Listed {
    /// Its name.
    pub environment: String,
    /// What the project label of its objects says.
    pub project: String,
    /// Its objects.
    pub objects: Vec<Object>,
    /// The terms that hold for it.
    pub terms: Terms,
}

impl Listed {
    /// The environments of a list of objects.
    #[must_use]
    pub fn of(objects: Vec<Object>) -> Vec<Self> {
        let mut found: BTreeMap<(String, String), Vec<Object>> = BTreeMap::new();
        let (known, cut_off): (Vec<Object>, Vec<Object>) =
            objects.into_iter().partition(|object| !object.project.is_empty());
        for object in known {
            found.entry((object.project.clone(), object.environment.clone())).or_default().push(object);
        }
        // What a killed command had no time to label belongs to the environment of its name, when there is one of that name.
        let owners: Vec<(String, String)> = found.keys().cloned().collect();
        for object in cut_off {
            let mut same = owners.iter().filter(|(_, environment)| *environment == object.environment);
            let owner = match (same.next(), same.next()) {
                (Some(owner), None) => owner.clone(),
                _ => (String::new(), object.environment.clone()),
            };
            found.entry(owner).or_default().push(object);
        }
        let listed = found.into_iter().map(|((project, environment), objects)| {
            let terms = terms(&objects);
            Self { environment, project, objects, terms }
        });
        listed.collect()
    }

    /// Whether it may be swept away: its time is over, and nothing of it is protected.
    #[must_use]
    pub fn has_expired(&self, now: Timestamp) -> bool {
        !self.terms.protect && self.terms.expires.is_some_and(|expires| expires <= now)
    }

    /// The removal of everything of it.
    ///
    /// # Errors
    /// Never: removals by level need each other in no circle.
    pub fn removal(&self, policy: Policy) -> Result<Vec<Change>> {
        let pending = BTreeMap::new();
        let known = Known { state: None, pending: &pending, observed: &self.objects, policy };
        let mut changes = diff(&[], known)?;
        // An address may have several objects: twins that a killed command left, copies that others made with their labels.
        for object in &self.objects {
            let is_there = |change: &Change| change.object.as_ref().is_some_and(|there| there.id == object.id);
            if !changes.iter().any(is_there) {
                changes.push(removal(object, known));
            }
        }
        changes.sort_by(|a, b| a.address.cmp(&b.address));
        for change in &mut changes {
            "its time is over".clone_into(&mut change.reason);
        }
        Ok(changes)
    }
}

/// The terms that hold now: labels may say more than the state, when another command without it has given them.
#[must_use]
pub fn terms_in_force(state: Option<&State>, objects: &[Object]) -> Terms {
    let labels = terms(objects);
    match state {
        Some(state) if labels.since > state.terms.since => {
            Terms { expires: labels.expires, since: labels.since, ..state.terms.clone() }
        }
        Some(state) => state.terms.clone(),
        None => labels,
    }
}

/// The terms that hold for objects of one environment.
#[must_use]
pub fn terms(objects: &[Object]) -> Terms {
    let in_force = Terms::in_force(objects.iter().map(|object| &object.terms));
    // Earlier versions did not write when: what they kept apart was given later than what the objects are labelled with.
    let apart = objects.iter().filter(|object| object.address.kind == KindName::EXPIRY).max_by_key(|o| o.created);
    match apart {
        Some(apart) if in_force.since.is_none() => Terms { expires: apart.terms.expires, ..in_force },
        _ => in_force,
    }
}
