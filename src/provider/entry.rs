//! A provider in the list of all: what it is before it is opened.

use futures::future::BoxFuture;

use super::{Finding, PROVIDERS, Provider, kind::Treatment};
use crate::{
    cloud::{Descriptor, ProviderName},
    config::Environment,
    error::{Diagnostic, Result},
    resource::{KindName, Policy, Rules},
};

/// A provider.
pub struct Entry {
    /// What environment files need to know of it.
    pub descriptor: &'static Descriptor,
    /// How it treats a kind; nothing for those that it does not have.
    pub treatment: fn(KindName) -> Option<&'static Treatment>,
    /// The same for plans, which know no provider.
    pub policy: Policy,
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
    Entry::of(provider).policy.rules
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
        let having = PROVIDERS.iter().filter(|entry| (entry.treatment)(asked.kind).is_some());
        let having: Vec<String> = having.map(|entry| format!("`provider: {}`", entry.descriptor.name)).collect();
        let hint =
            asked.instead.clone().unwrap_or_else(|| format!("make one by hand, or take {}", having.join(" or ")));
        let mistake = Diagnostic::error(place, format!("{what}: provider `{name}` has no such thing"));
        mistake.hint(hint)
    };
    missing.map(diagnostic).collect()
}

#[cfg(test)]
mod tests {
    use super::{Entry, PROVIDERS, check, open};
    use crate::{
        cloud,
        config::{LoadOptions, ProviderName, load_source},
        resource::KindName,
        yaml::Source,
    };

    #[test]
    fn every_provider_that_a_file_may_name_has_an_entry() {
        let entries = PROVIDERS.iter().map(|entry| entry.descriptor.name);
        assert!(entries.eq(cloud::PROVIDERS.iter().map(|one| one.name)));
        for name in ProviderName::all() {
            let has = (Entry::of(name).treatment)(KindName::POSTGRES).is_some();
            assert_eq!(has, name.capabilities().manages_postgres, "{name:?}");
        }
    }

    #[test]
    fn what_a_provider_lacks_is_reported_with_its_place() {
        let found = |text: &str| -> Vec<String> {
            let source = Source::new("/p/envs/dev/config.yaml", text);
            let environment = load_source(&source, &LoadOptions::default()).unwrap();
            check(open(&environment).unwrap().as_ref(), &environment).iter().map(ToString::to_string).collect()
        };
        let aws = found("provider: aws\naws: {region: eu-central-1}\nregistries:\n  images: {}\n");
        assert_eq!(aws.len(), 1, "{aws:?}");
        assert!(
            aws[0].contains("config.yaml:4:3: error: the registry `images`: provider `aws` has no such thing"),
            "{aws:?}"
        );
        assert!(aws[0].contains("make one by hand, or take `provider: yandex`"), "{aws:?}");
        let docker = found(
            "registries:\n  images: {}\npostgres: {main: {managed: true}}\ninstance_groups: {app: {node_count: 1}}\nnginx:\n  \
             front: {nodes: 2, upstreams: {app: {group: app, port: 80}}, locations: {/: {upstream: app}}}\n",
        );
        let expected = [
            (":2:3: warning", "the registry `images` is ignored: provider `docker` has no such thing"),
            (":3:28: error", "the managed database `main`: provider `docker` has no such thing"),
            (":6:18: error", "the network load balancer that the 2 nodes of `nginx.front` need: provider `docker` has"),
        ];
        for (place, message) in expected {
            let is = |one: &&String| one.contains(place) && one.contains(message);
            assert_eq!(docker.iter().filter(is).count(), 1, "{place}: {message}: {docker:#?}");
        }
    }
}
