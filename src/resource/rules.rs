//! What a provider can do with each field of each kind, and with what a kind points to: whether a change is made in place, and
//! whether a change made outside of infra is seen. Plans, the checks of environment files and the page
//! `docs/reference/fields.md` read the same tables.

use super::KindName;

/// How a provider treats one kind.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Each field of the kind's specification.
    pub fields: &'static [Field],
    /// Each kind of thing that it can need.
    pub links: &'static [Link],
}

/// One field of a kind.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its name in the specification.
    pub name: &'static str,
    /// How it is changed.
    pub change: FieldChange,
    /// Whether a change made outside of infra is seen.
    pub drift: Drift,
    /// Whether it is a number that is never made smaller.
    pub grows: bool,
    /// Whether it is a number that is made larger by one at a time only.
    pub steps: bool,
    /// Whether it stays as it is when the file no longer has it: the service has always some value.
    pub stays: bool,
}

/// How a field of something that exists is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldChange {
    /// While it works on.
    InPlace,
    /// In place; it is stopped for that and started again.
    Restart,
    /// By a new object in its place.
    Replace,
    /// Not at all: what to do instead.
    Refused(&'static str),
    /// It makes no difference to the provider, and why.
    Ignored(&'static str),
}

/// What one kind needs of another.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    /// The kind that is needed.
    pub to: KindName,
    /// What becomes of the object when what it needs is another one.
    pub change: LinkChange,
    /// Whether a change made outside of infra is seen.
    pub drift: Drift,
}

/// What becomes of an object when what it needs was created again or replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkChange {
    /// It is pointed to the new one.
    InPlace,
    /// It is pointed to the new one; it is stopped for that and started again.
    Restart,
    /// It is replaced, too.
    Replace,
    /// Nothing: what it needs must only exist before it.
    Keep,
}

/// Whether a change made outside of infra is seen by the next plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drift {
    /// It is compared with what the provider shows.
    Seen,
    /// It is not, and why.
    Unseen(&'static str),
}

impl LinkChange {
    /// Whether the object stays and is pointed to the new one.
    #[must_use]
    pub fn is_in_place(self) -> bool {
        matches!(self, Self::InPlace | Self::Restart)
    }
}

impl Field {
    /// A field whose drift is seen.
    #[must_use]
    pub const fn seen(name: &'static str, change: FieldChange) -> Self {
        Self { name, change, drift: Drift::Seen, grows: false, steps: false, stays: false }
    }

    /// A field whose drift is not seen, and why.
    #[must_use]
    pub const fn unseen(name: &'static str, change: FieldChange, why: &'static str) -> Self {
        Self { name, change, drift: Drift::Unseen(why), grows: false, steps: false, stays: false }
    }

    /// The same for a number that is never made smaller.
    #[must_use]
    pub const fn growing(self) -> Self {
        Self { grows: true, ..self }
    }

    /// The same for a number that is made larger by one at a time.
    #[must_use]
    pub const fn stepping(self) -> Self {
        Self { steps: true, ..self }
    }

    /// The same for what stays as it is when the file no longer has it.
    #[must_use]
    pub const fn staying(self) -> Self {
        Self { stays: true, ..self }
    }
}

impl Link {
    /// A link whose drift is seen.
    #[must_use]
    pub const fn seen(to: KindName, change: LinkChange) -> Self {
        Self { to, change, drift: Drift::Seen }
    }

    /// A link whose drift is not seen, and why.
    #[must_use]
    pub const fn unseen(to: KindName, change: LinkChange, why: &'static str) -> Self {
        Self { to, change, drift: Drift::Unseen(why) }
    }
}

impl Rules {
    /// For a kind that a provider does not have.
    pub const NONE: Self = Self { fields: &[], links: &[] };

    /// How a field is changed. What is in no table was written by another version: a new object is made.
    #[must_use]
    pub fn change(&self, field: &str) -> FieldChange {
        self.fields.iter().find(|known| known.name == field).map_or(FieldChange::Replace, |known| known.change)
    }

    /// Whether a field is a number that is never made smaller.
    #[must_use]
    pub fn grows(&self, field: &str) -> bool {
        self.fields.iter().any(|known| known.name == field && known.grows)
    }

    /// Whether a field is a number that is made larger by one at a time only.
    #[must_use]
    pub fn steps(&self, field: &str) -> bool {
        self.fields.iter().any(|known| known.name == field && known.steps)
    }

    /// Whether a field stays as it is when the file no longer has it.
    #[must_use]
    pub fn stays(&self, field: &str) -> bool {
        self.fields.iter().any(|known| known.name == field && known.stays)
    }

    /// What becomes of an object when what it needs of a kind is another one.
    #[must_use]
    pub fn link(&self, to: KindName) -> LinkChange {
        self.links.iter().find(|link| link.to == to).map_or(LinkChange::Replace, |link| link.change)
    }

    /// Whether it is seen to which objects of a kind it points.
    #[must_use]
    pub fn sees(&self, to: KindName) -> bool {
        self.links.iter().any(|link| link.to == to && link.drift == Drift::Seen)
    }
}
