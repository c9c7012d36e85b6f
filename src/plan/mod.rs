//! The plan: what must happen so that what exists becomes what is wanted. Pure: no I/O, no clock, no environment variables.
//! May import `config`, `resource`, `state`, `graph` and the vocabulary; `provider::Object` is how reality is described.

mod data;
mod diff;
mod follow;
mod scope;
mod secrets;
mod select;
mod sweep;
mod warnings;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use self::{
    data::DataPolicy,
    diff::diff,
    scope::{Scope, check_project},
    secrets::SecretChange,
    select::Selection,
    sweep::{Listed, terms, terms_in_force},
    warnings::{twin, warnings},
};
use crate::{
    name::Name,
    provider::{Health, Object, Owner},
    resource::{Address, Policy, Resource, Terms},
    state::{Intent, State},
};

/// What happens to one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// It is as it should be.
    Keep,
    /// It exists, made by an interrupted run; the state takes it over.
    Adopt,
    /// It is made.
    Create,
    /// It is changed in place.
    Update,
    /// It is removed and created again.
    Replace,
    /// It is removed.
    Delete,
    /// It is gone already; the state forgets it.
    Forget,
}

impl Action {
    /// Whether what exists is removed, be it to be made again.
    #[must_use]
    pub fn removes(self) -> bool {
        matches!(self, Self::Replace | Self::Delete)
    }

    /// The sign before its line in a plan.
    #[must_use]
    pub fn sign(self) -> &'static str {
        match self {
            Self::Keep => " ",
            Self::Adopt => "=",
            Self::Create => "+",
            Self::Update => "~",
            Self::Replace => "±",
            Self::Delete => "-",
            Self::Forget => ".",
        }
    }
}

/// What is known when a plan is made.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// What we believe.
    pub state: Option<&'a State>,
    /// Interrupted create calls.
    pub pending: &'a BTreeMap<Address, Intent>,
    /// What the provider listed.
    pub observed: &'a [Object],
    /// How the provider treats the kinds.
    pub policy: Policy,
}

/// One line of a plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// What it is about.
    pub address: Address,
    /// What happens.
    pub action: Action,
    /// Why.
    pub reason: String,
    /// The specification it has now, as far as we know it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub before: Option<Map<String, Value>>,
    /// What is wanted.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub after: Option<Resource>,
    /// What exists.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub object: Option<Object>,
    /// What it needs; for removals, what must outlive it.
    pub needs: Vec<Address>,
    /// The token of an interrupted create call, which is made again with it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub token: Option<String>,
    /// The data that what exists holds, as `postgres.main (database app)`.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub data: Vec<String>,
    /// Of what it needs, what is created again or replaced, so that it must be pointed to the new one.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub follows: Vec<Address>,
    /// Whether it is stopped for the change and started again.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub restarts: bool,
    /// What the provider chooses when it creates the object, as far as it knows now: the range that a subnet gets.
    #[serde(skip_serializing_if = "Map::is_empty", default)]
    pub chosen: Map<String, Value>,
}

impl Change {
    /// The fields that differ, with their old and new values.
    #[must_use]
    pub fn fields(&self) -> Vec<(String, Option<Value>, Option<Value>)> {
        let after = self.after.as_ref().map(|resource| &resource.spec);
        let names: BTreeSet<&String> =
            self.before.iter().flat_map(Map::keys).chain(after.into_iter().flat_map(Map::keys)).collect();
        let value = |fields: Option<&'_ Map<String, Value>>, name: &str| fields.and_then(|map| map.get(name)).cloned();
        let pairs = names.into_iter().map(|name| (name.clone(), value(self.before.as_ref(), name), value(after, name)));
        pairs.filter(|(_, before, after)| before != after).collect()
    }
}

/// Everything that `apply` or `destroy` does to resources. They look at nothing else.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The format; a plan file of another one is refused.
    pub version: u32,
    /// The environment.
    pub environment: Name,
    /// The name of the environment in the labels of its objects.
    pub labelled: Name,
    /// What the project label of its objects says.
    pub project: String,
    /// The terms under which the environment lives, for labels.
    #[serde(default)]
    pub terms: Terms,
    /// The serial of the state that the plan was made from; 0 without a state.
    pub serial: u64,
    /// A digest of the environment's files, so that a plan file is not applied to others.
    pub digest: String,
    /// One change an address, in the order of addresses.
    pub changes: Vec<Change>,
    /// The secrets that are made or changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<SecretChange>,
    /// The machines that are configured afterwards, and by which playbooks.
    pub configure: Configure,
    /// What becomes of data whose object goes.
    #[serde(default)]
    pub data: DataPolicy,
    /// What a reviewer should know beside the changes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// The machines that are configured after the resources are there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Configure {
    /// The machines.
    pub hosts: Vec<Name>,
    /// The playbooks, in order.
    pub playbooks: Vec<String>,
}

/// The format of plans.
pub const VERSION: u32 = 2;

impl Plan {
    /// Whose the objects are.
    #[must_use]
    pub fn owner(&self) -> Owner {
        Owner { environment: self.labelled.clone(), project: self.project.clone() }
    }

    /// Whether the resources are all as they should be.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.iter().all(|change| change.action == Action::Keep)
    }

    /// The changes of one action.
    pub fn of(&self, action: Action) -> impl Iterator<Item = &Change> {
        self.changes.iter().filter(move |change| change.action == action)
    }
}

/// An object as the state believes in it: the provider was not asked.
#[must_use]
pub fn believed(state: &State, project: &str, address: &Address) -> Option<Object> {
    let entry = state.resources.get(address)?;
    Some(Object {
        environment: state.label().to_string(),
        address: address.clone(),
        project: project.to_owned(),
        id: entry.id.clone(),
        token: entry.token.clone(),
        created: entry.created.as_second(),
        health: Health::Ready,
        terms: state.terms.clone(),
        attributes: entry.attributes.clone(),
        actual: serde_json::Map::new(),
        links: None,
        outdated: None,
    })
}

fn list(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
