//! A provider in the list of all: what it is before it is opened.

use futures::future::BoxFuture;

use super::{Finding, PROVIDERS, Provider};
use crate::{
    cloud::{Descriptor, ProviderName},
    config::Environment,
    error::{Diagnostic, Result},
    resource::{KindName, Rules},
};

/// A provider.
pub struct Entry {
    /// What environment files need to know of it.
    pub descriptor: &'static Descriptor,
    /// What it can change of the kinds, and what of them it compares with what exists.
    pub rules: fn(KindName) -> Rules,
    /// Opens it for an environment.
    pub open: fn(&Environment) -> Result<Box<dyn Provider>>,
    /// What it is without any environment; `None` when only environments say where it is.
    pub here: Option<Here>,
}

/// What a provider is on this machine, whatever the environments of a project say.
pub struct Here {
    /// Opens it with the settings that a file without any has.
    pub open: fn() -> Result<Box<dyn Provider>>,
    /// What this machine needs for it.
    pub check: fn() -> BoxFuture<'static, Result<Vec<Finding>>>,
}

impl Entry {
    /// The provider of this name.
    ///
    /// # Panics
    /// Never: a test compares the two lists.
    #[must_use]
    pub fn of(name: ProviderName) -> &'static Self {
        let found = PROVIDERS.iter().find(|entry| entry.descriptor.name == name.as_str());
        found.expect("every provider that a file may name is in the list")
    }

    /// Those that are something without an environment, by their names.
    pub fn here() -> impl Iterator<Item = (&'static str, &'static Here)> {
        PROVIDERS.iter().filter_map(|entry| Some((entry.descriptor.name, entry.here.as_ref()?)))
    }
}

/// What a provider can change of the kinds, and what of them it compares with what exists.
#[must_use]
pub fn rules(provider: ProviderName) -> fn(KindName) -> Rules {
    Entry::of(provider).rules
}

/// The provider that an environment asks for.
///
/// # Errors
/// When the provider cannot be set up.
pub fn open(environment: &Environment) -> Result<Box<dyn Provider>> {
    (Entry::of(environment.provider).open)(environment)
}

/// What of an environment its provider cannot do, with places; and what it does otherwise, as warnings.
#[must_use]
pub fn check(provider: &dyn Provider, environment: &Environment) -> Vec<Diagnostic> {
    let mut found = lacking(provider, environment);
    found.extend(provider.check(environment));
    found
}

/// The things that an environment asks for and its provider does not have.
fn lacking(provider: &dyn Provider, environment: &Environment) -> Vec<Diagnostic> {
    let missing = environment.asked.iter().filter(|asked| provider.driver(asked.kind).is_none());
    let name = environment.provider.as_str();
    let leaves_out = environment.provider.capabilities().leaves_out;
    let diagnostic = |asked: &crate::config::AskedKind| {
        let (what, place) = (&asked.what, asked.mark.location());
        if leaves_out && asked.instead.is_none() {
            return Diagnostic::warning(place, format!("{what} is ignored: provider `{name}` has no such thing"));
        }
        let hint = asked.instead.clone().unwrap_or_else(|| "make one by hand, or take another provider".to_owned());
        let mistake = Diagnostic::error(place, format!("{what}: provider `{name}` has no such thing"));
        mistake.hint(hint)
    };
    missing.map(diagnostic).collect()
}
