//! The local provider: machines are containers of a Docker Engine that run systemd and sshd.
//!
//! A subnet is a Docker network, a disk is a volume. Only public machines publish ports, on 127.0.0.1; the others are
//! reached through the bastion, as in a cloud.

mod address;
mod diagnose;
mod disk;
mod drift;
mod expiry;
mod here;
mod image;
mod kinds;
mod removal;
mod subnet;
mod vm;

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use serde_json::{Map, Value};

use super::{
    Driver, Entry, Finding, Health, Here, LABEL_ENV, LABEL_ID, LABEL_PROJECT, LABEL_TOKEN, Object, Owner, Provider,
    Request, Treatment, adopt::not_adopted, kind::Row,
};
use crate::{
    cloud::docker::{Client, DESCRIPTOR, DockerSettings, Endpoint, Variables},
    config::Environment,
    error::{Diagnostic, Error, Result},
    event::Events,
    name::Name,
    resource::{Address, KindName, Policy, Resource, Terms, VmSpec},
};

pub use self::image::{INSTALL_TOOLS, base_image, missing_tools};

/// The entry of this provider.
pub(super) const ENTRY: Entry = Entry {
    descriptor: &DESCRIPTOR,
    treatment: kinds::of,
    policy: Policy {
        rules: |kind| Treatment::rules(kinds::of(kind)),
        level: |kind| Treatment::level(kinds::of(kind), kind),
    },
    open: |environment| Ok(Box::new(Docker::open(environment.section())?)),
    here: Some(Here {
        open: || Ok(Box::new(Docker::open(&DockerSettings::default())?)),
        check: || Box::pin(here::check()),
    }),
};

/// The provider of one engine.
pub struct Docker {
    engine: Engine,
    endpoint: Endpoint,
    drivers: Vec<(KindName, Box<dyn Driver>)>,
}

/// The client of an engine, and what drivers need beside it.
pub(super) struct Engine {
    client: Client,
    settings: DockerSettings,
}

impl Docker {
    /// The provider for the engine that the settings or `DOCKER_HOST` name.
    ///
    /// # Errors
    /// When that address cannot be understood.
    pub fn open(settings: &DockerSettings) -> Result<Self> {
        let endpoint = endpoint(settings)?;
        let engine = Engine { client: Client::new(&endpoint)?, settings: settings.clone() };
        Ok(Self { drivers: Row::drivers(kinds::KINDS, &engine), engine, endpoint })
    }
}

/// The engine that the settings, the variables or the context of Docker's client name.
///
/// # Errors
/// When the address cannot be used.
pub fn endpoint(settings: &DockerSettings) -> Result<Endpoint> {
    Endpoint::find(settings.host.as_deref(), &Variables::of_process())
}

#[async_trait]
impl Provider for Docker {
    fn name(&self) -> &'static str {
        "docker"
    }

    fn place(&self) -> String {
        self.endpoint.to_string()
    }

    async fn account(&self) -> Result<String> {
        let id = self.engine.client.info().await?.id;
        // An engine that does not say who it is can only be told by its address.
        Ok(if id.is_empty() { format!("engine at {}", self.endpoint) } else { format!("engine {id}") })
    }

    fn concurrency(&self) -> usize {
        16
    }

    fn driver(&self, kind: KindName) -> Option<&dyn Driver> {
        super::driver(&self.drivers, kind)
    }

    fn policy(&self) -> Policy {
        ENTRY.policy
    }

    fn resources(&self, environment: &Environment) -> Vec<Resource> {
        let mut resources = environment.resources.clone();
        // What an engine does not have is not planned; the check of the file warns of it.
        let has = |address: &Address| self.driver(address.kind).is_some();
        resources.retain(|resource| has(&resource.address));
        for resource in &mut resources {
            resource.needs.retain(has);
            // What means nothing to an engine is no difference between two specifications.
            let unused = kinds::of(resource.address.kind).map(|kind| kind.unused).unwrap_or_default();
            resource.spec.retain(|field, _| !unused.contains(&field.as_str()));
        }
        resources
    }

    fn check(&self, environment: &Environment) -> Vec<Diagnostic> {
        let mut found = Vec::new();
        for (what, mark) in &environment.cloud_only {
            let message = format!("{what} is ignored: provider `docker` has no such thing");
            found.push(Diagnostic::warning(mark.location(), message));
        }
        let mut families: Vec<&str> = Vec::new();
        for resource in &environment.resources {
            if let Ok(spec) = resource.spec::<VmSpec>()
                && !self.engine.settings.images.contains_key(&spec.image)
                && spec.image != image::BASE_FAMILY
            {
                families.push(resource.spec["image"].as_str().unwrap_or_default());
            }
        }
        families.sort_unstable();
        families.dedup();
        for family in families {
            let message = format!("provider `docker` boots `{}` for the image family `{family}`", image::BASE_FAMILY);
            let hint = "name an image of your own under `docker.images` to boot that one";
            found.push(Diagnostic::warning(None, message).hint(hint));
        }
        found
    }

    async fn choose(
        &self, owner: &Owner, wanted: &[(&Resource, Option<&Object>)],
    ) -> Result<BTreeMap<Address, Map<String, Value>>> {
        subnet::SubnetDriver { client: self.engine.client.clone() }.choose(owner, wanted).await
    }

    async fn prepare(&self, resources: &[&Resource], events: &Events) -> Result<()> {
        let mut families: Vec<String> =
            resources.iter().filter_map(|resource| Some(resource.spec::<VmSpec>().ok()?.image)).collect();
        families.sort();
        families.dedup();
        let mut images: Vec<String> = Vec::new();
        for family in families {
            let image = image::reference(&self.engine.settings, &family)?;
            if !images.contains(&image) {
                image::ensure(&self.engine.client, &image, self.engine.settings.images.contains_key(&family), events)
                    .await?;
                images.push(image);
            }
        }
        if images.iter().any(|image| !self.engine.settings.images.values().any(|own| own == image)) {
            image::warn_of_proxies(events);
        }
        if !images.is_empty() {
            vm::raise_inotify_limit(events);
            vm::warn_of_limits(&self.engine.client.info().await?, events);
        }
        Ok(())
    }

    async fn diagnose(&self, owner: &Owner, created: &[Resource], _changed: &[Resource]) -> Vec<Finding> {
        self.lacks(owner, created).await
    }

    async fn mark(&self, owner: &Owner, terms: &Terms, _objects: &[Object]) -> Result<()> {
        expiry::ExpiryDriver { client: self.engine.client.clone() }.mark(owner, terms).await
    }

    async fn adopt(&self, id: &str, request: &Request<'_>) -> Result<Object> {
        Err(not_adopted(id, request, "Docker never changes the labels of what exists")
            .hint("let `infra apply` make a new one, then move over what the other one holds"))
    }

    async fn labelled(&self, environment: Option<&Name>) -> Result<Vec<Object>> {
        let drivers = self.drivers.iter().map(|(_, driver)| driver);
        let lists = futures::future::try_join_all(drivers.map(|driver| driver.list(environment))).await?;
        let mut objects: Vec<Object> = lists.into_iter().flatten().collect();
        if environment.is_some() {
            drift::inspect(&self.engine.client, &mut objects).await?;
        }
        Ok(objects)
    }

    async fn why_down(&self, id: &str) -> Option<Error> {
        vm::why_down(&self.engine.client, id).await
    }
}

/// The object that a set of labels describes, when they are ours.
fn object(labels: &BTreeMap<String, String>, id: String, created: i64) -> Option<Object> {
    Some(Object {
        environment: labels.get(LABEL_ENV)?.clone(),
        address: labels.get(LABEL_ID)?.parse().ok()?,
        project: labels.get(LABEL_PROJECT).cloned().unwrap_or_default(),
        token: labels.get(LABEL_TOKEN).cloned().unwrap_or_default(),
        id,
        created,
        health: Health::Ready,
        terms: Terms::of(labels),
        attributes: serde_json::Map::new(),
        actual: serde_json::Map::new(),
        links: None,
        outdated: None,
    })
}

fn env_label(environment: Option<&Name>) -> String {
    environment.map_or_else(|| LABEL_ENV.to_owned(), |name| format!("{LABEL_ENV}={name}"))
}

/// The engine-wide name of an object. The parts hold no `_`, so that no two of them can be read as a third one.
fn object_name(owner: &Owner, name: &Name) -> String {
    let Owner { environment, project } = owner;
    if owner.is_of_earlier_version() {
        return format!("infra-{environment}-{name}");
    }
    format!("infra-{project}_{environment}_{name}")
}

fn epoch(timestamp: &str) -> i64 {
    timestamp.parse::<jiff::Timestamp>().map_or(0, jiff::Timestamp::as_second)
}

/// The engine refuses a second object of one name; an object that carries our token is the one we asked for before.
async fn adopt(driver: &dyn Driver, environment: &Name, token: &str) -> Result<Option<Object>> {
    Ok(driver.list(Some(environment)).await?.into_iter().find(|object| object.token == token))
}

type Shared<T> = Arc<tokio::sync::Mutex<T>>;

#[cfg(test)]
mod tests {
    use super::{Owner, object_name};

    #[test]
    fn no_two_objects_have_one_name() {
        let name = |project: &str, environment: &str, name: &str| {
            let owner = Owner { environment: environment.parse().unwrap(), project: project.to_owned() };
            object_name(&owner, &name.parse().unwrap())
        };
        let (one, two) = ("shop-k3x9q2ab", "shop-k3x9q2ac");
        assert_eq!(name(one, "dev", "app-1"), "infra-shop-k3x9q2ab_dev_app-1");
        assert_ne!(name(one, "dev", "a-b"), name(one, "dev-a", "b"));
        assert_ne!(name(one, "dev", "a"), name(two, "dev", "a"));
        assert_eq!(name("/home/ann/shop", "dev", "a"), "infra-dev-a", "what earlier versions made keeps its name");
    }
}
