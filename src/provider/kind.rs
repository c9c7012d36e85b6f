//! What a provider makes of the kinds: one row for each kind that it has.

use super::Driver;
use crate::resource::{KindName, Resource, Rules};

/// What one thing is paid for: names of a price file, and how much of each.
pub(super) type Parts = Vec<(String, f64)>;

/// How a provider treats one kind.
#[derive(Clone, Copy)]
pub struct Treatment {
    /// The kind.
    pub kind: KindName,
    /// Its fields and links: how they are changed, and which are compared.
    pub rules: Rules,
    /// Its level, where it is another one than [`Kind::level`](crate::resource::Kind::level).
    pub level: Option<u8>,
    /// Fields of its specification that mean nothing to the provider, and that are no difference between two of them.
    pub unused: &'static [&'static str],
    /// What it is paid for.
    pub(super) costs: fn(&Resource) -> Parts,
}

impl Treatment {
    /// The rules of a kind; a provider has none for what it does not have.
    pub(super) fn rules(of: Option<&Self>) -> Rules {
        of.map_or(Rules::NONE, |treatment| treatment.rules)
    }

    /// The level of a kind.
    pub(super) fn level(of: Option<&Self>, kind: KindName) -> u8 {
        of.and_then(|treatment| treatment.level).unwrap_or_else(|| kind.kind().level())
    }
}

/// A kind that a provider has; `A` is what all its drivers are made of.
pub(super) struct Row<A: 'static> {
    treatment: Treatment,
    driver: fn(&A) -> Box<dyn Driver>,
}

impl<A> Row<A> {
    /// A kind, its driver, and how its fields and links are changed and compared.
    pub(super) const fn new(kind: KindName, driver: fn(&A) -> Box<dyn Driver>, rules: Rules) -> Self {
        let treatment = Treatment { kind, rules, level: None, unused: &[], costs: |_| Vec::new() };
        Self { treatment, driver }
    }

    /// The same with another level than elsewhere.
    pub(super) const fn level(self, level: u8) -> Self {
        Self { treatment: Treatment { level: Some(level), ..self.treatment }, ..self }
    }

    /// The same with fields that mean nothing here.
    pub(super) const fn unused(self, unused: &'static [&'static str]) -> Self {
        Self { treatment: Treatment { unused, ..self.treatment }, ..self }
    }

    /// The same for what is paid for.
    pub(super) const fn costs(self, costs: fn(&Resource) -> Parts) -> Self {
        Self { treatment: Treatment { costs, ..self.treatment }, ..self }
    }

    /// How a kind is treated, when it is in the list.
    pub(super) fn of(rows: &'static [Self], kind: KindName) -> Option<&'static Treatment> {
        rows.iter().map(|row| &row.treatment).find(|treatment| treatment.kind == kind)
    }

    /// The drivers of all rows.
    pub(super) fn drivers(rows: &[Self], account: &A) -> Vec<(KindName, Box<dyn Driver>)> {
        rows.iter().map(|row| (row.treatment.kind, (row.driver)(account))).collect()
    }
}
