//! Which environments there are, by what a provider lists, and which of them have expired. No state is asked: this also
//! finds what a run made that died before it wrote anything.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{Change, Known, diff};
use crate::{
    error::Result,
    provider::Object,
    resource::{KindName, Policy, Terms},
};

/// An environment as a provider shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Listed {
    /// Its name.
    pub environment: String,
    /// The label of the project that it belongs to.
    pub project: String,
    /// Its objects.
    pub objects: Vec<Object>,
    /// The terms that hold for it: the latest expiry that any object tells of, and protected if any object says so.
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
        // What a killed command had no time to label belongs to the environment of its name.
        for object in cut_off {
            let same = found.keys().find(|(_, environment)| *environment == object.environment).cloned();
            found.entry(same.unwrap_or((String::new(), object.environment.clone()))).or_default().push(object);
        }
        let listed = found.into_iter().map(|((project, environment), objects)| {
            let terms = merged(&objects);
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
        let mut changes = diff(&[], Known { state: None, pending: &BTreeMap::new(), observed: &self.objects, policy })?;
        for change in &mut changes {
            "its time is over".clone_into(&mut change.reason);
        }
        Ok(changes)
    }
}

/// What holds for objects of one environment. Terms that were laid over it later win, where the provider keeps them apart.
fn merged(objects: &[Object]) -> Terms {
    let later = objects.iter().filter(|object| object.address.kind == KindName::EXPIRY).max_by_key(|o| o.created);
    let all = || objects.iter().map(|object| &object.terms);
    let text = |of: fn(&Terms) -> &String| all().map(of).find(|text| !text.is_empty()).cloned().unwrap_or_default();
    Terms {
        expires: match later {
            Some(later) => later.terms.expires,
            None => all().filter_map(|terms| terms.expires).max(),
        },
        protect: all().any(|terms| terms.protect),
        owner: text(|terms| &terms.owner),
        template: text(|terms| &terms.template),
    }
}
