//! What the author wrote, and what is data: two types, so that data can never be rendered or evaluated.
//!
//! Only [`Authored`] values are templates. They come from files of the project and from the command line; nothing that a host,
//! a lookup or an HTTP server answers becomes one. A value that a template computes is data.

use std::{ops::Deref, sync::Arc};

use indexmap::IndexMap;
use serde_json::{Map, Value};

use super::Var;
use crate::yaml::{Key, Node, entries_to_map};

/// Something that the author wrote: texts in it may be templates.
///
/// Reading it as plain data is free; the other way round there are only [`Authored::written`], [`Authored::node`] and
/// [`Authored::entries`], whose uses `tests/hostile_data.rs` lists.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Authored<T = Value>(T);

impl<T> Authored<T> {
    /// A value that comes from a file of the project or from the command line.
    #[must_use]
    pub const fn written(value: T) -> Self {
        Self(value)
    }

    /// The value as plain data.
    #[must_use]
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> Deref for Authored<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl From<&'static str> for Authored {
    /// A text of this program itself.
    fn from(text: &'static str) -> Self {
        Self(text.into())
    }
}

impl From<bool> for Authored {
    /// A flag, which is no template, no matter who says it.
    fn from(flag: bool) -> Self {
        Self(flag.into())
    }
}

impl From<Authored<Map<String, Value>>> for Authored {
    fn from(map: Authored<Map<String, Value>>) -> Self {
        Self(Value::Object(map.0))
    }
}

impl Authored {
    /// A value in a file of the project.
    #[must_use]
    pub fn node(node: &Node) -> Self {
        Self(node.to_value())
    }

    /// The text, when it is one.
    #[must_use]
    pub fn text(&self) -> Option<Authored<String>> {
        self.0.as_str().map(|text| Authored(text.to_owned()))
    }

    /// The items of a list; anything else is the only item.
    #[must_use]
    pub fn items(&self) -> Vec<Self> {
        match &self.0 {
            Value::Array(items) => items.iter().cloned().map(Self).collect(),
            other => vec![Self(other.clone())],
        }
    }
}

impl Authored<Map<String, Value>> {
    /// The entries of a mapping in a file.
    #[must_use]
    pub fn entries(entries: &[(Key, Node)]) -> Self {
        Self(entries_to_map(entries))
    }

    /// The value under a key, still authored.
    #[must_use]
    pub fn authored(&self, name: &str) -> Option<Authored> {
        self.0.get(name).cloned().map(Authored)
    }

    /// Adds an entry.
    pub fn insert(&mut self, name: String, value: Authored) {
        self.0.insert(name, value.0);
    }

    /// Adds the entries of another one, which win.
    pub fn extend(&mut self, more: Self) {
        self.0.extend(more.0);
    }
}

/// Variables by name: each says whether the author wrote it or whether it is data.
#[derive(Clone, Debug, Default)]
pub struct Vars(IndexMap<String, Var>);

impl Vars {
    /// The variable of a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Var> {
        self.0.get(name)
    }

    /// The names.
    pub fn keys(&self) -> impl Iterator<Item = &String> {
        self.0.keys()
    }

    /// Names and variables.
    #[must_use]
    pub fn iter(&self) -> indexmap::map::Iter<'_, String, Var> {
        self.0.iter()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a variable.
    pub fn insert(&mut self, name: impl Into<String>, var: Var) {
        self.0.insert(name.into(), var);
    }

    /// Adds what a host, a loop or a template has given: it is never rendered.
    pub fn insert_data(&mut self, name: impl Into<String>, value: Value) {
        self.insert(name, Var::data(value));
    }

    /// Removes a variable.
    pub fn remove(&mut self, name: &str) {
        self.0.shift_remove(name);
    }

    /// Adds other variables, which win.
    pub fn extend(&mut self, more: Self) {
        self.0.extend(more.0);
    }

    /// The variables as plain data, templates as they are written; functions are left out.
    #[must_use]
    pub fn to_map(&self) -> Map<String, Value> {
        let plain = |(name, var): (&String, &Var)| match var {
            Var::Template(value) => Some((name.clone(), (***value).clone())),
            Var::Data(value) => Some((name.clone(), (**value).clone())),
            Var::Native(_) => None,
        };
        self.0.iter().filter_map(plain).collect()
    }
}

impl<'a> IntoIterator for &'a Vars {
    type IntoIter = indexmap::map::Iter<'a, String, Var>;
    type Item = (&'a String, &'a Var);

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl From<Authored<Map<String, Value>>> for Vars {
    fn from(map: Authored<Map<String, Value>>) -> Self {
        Self(map.0.into_iter().map(|(name, value)| (name, Var::Template(Arc::new(Authored(value))))).collect())
    }
}
