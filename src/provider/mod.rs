//! Providers: each maps the kinds of resources to the calls of one cloud's client. One folder each; `fake` is a strict
//! in-memory cloud for tests. May import `cloud`, `config`, `resource` and the vocabulary.

mod adopt;
mod asked;
pub mod aws;
mod bill;
mod cloud_init;
mod dns;
pub mod docker;
mod entry;
pub mod fake;
mod health;
mod kind;
mod layout;
mod managed_postgres;
mod openings;
mod owner;
mod shared;
pub mod yandex;

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use self::{
    cloud_init::IS_BLANK,
    dns::outdated as outdated_records,
    entry::{Entry, Here, check, open, rules},
    health::Health,
    kind::Treatment,
    owner::Owner,
};
use crate::{
    config::{Environment, Group},
    cost::Item,
    error::{Diagnostic, Error, Result},
    event::Events,
    name::Name,
    resource::{Address, KindName, Policy, Resource, Terms},
    secret::Secret,
};

/// The providers, in the order of [`crate::cloud::PROVIDERS`].
pub const PROVIDERS: &[&Entry] = &[&docker::ENTRY, &yandex::ENTRY, &aws::ENTRY];

/// The label that names an object's environment.
pub const LABEL_ENV: &str = "infra-env";
/// The label that holds an object's address within its environment.
pub const LABEL_ID: &str = "infra-id";
/// The label that names the project an environment belongs to: its id, or what earlier versions wrote there.
pub const LABEL_PROJECT: &str = "infra-project";
/// The label that holds the client token of the create call.
pub const LABEL_TOKEN: &str = "infra-token";

/// The attribute of an instance group: its machines, each with the attributes of a machine and its `id`, in the order of
/// their numbers.
pub const MEMBERS: &str = "members";

/// The attribute of a network: the security group that all of its machines have.
const DEFAULT_GROUP: &str = "security_group";

/// A place where environments live.
#[async_trait]
pub trait Provider: Send + Sync {
    /// Its name in the environment file.
    fn name(&self) -> &'static str;

    /// Where it works, as its settings say: the engine's address, the folder or the region.
    fn place(&self) -> String;

    /// The account that it really works in, as the other side identifies it, whatever the settings are called: two providers
    /// of one account see the same objects, and those of another account are none of ours.
    ///
    /// # Errors
    /// When the other side does not answer.
    async fn account(&self) -> Result<String>;

    /// How many calls may run at once.
    fn concurrency(&self) -> usize;

    /// The driver of a kind, when the provider has such things.
    fn driver(&self, kind: KindName) -> Option<&dyn Driver>;

    /// What the provider makes of an environment: its machines and whatever they need there.
    fn resources(&self, environment: &Environment) -> Vec<Resource>;

    /// How it treats the kinds.
    fn policy(&self) -> Policy {
        Policy::default()
    }

    /// What earlier versions wrote into the project label of objects: the path of the project's folder, or what a label of
    /// this provider can hold of that.
    fn path_label(&self, folder: &str) -> String {
        folder.to_owned()
    }

    /// What of this environment the provider cannot do, with places; and what it does otherwise, as warnings.
    fn check(&self, environment: &Environment) -> Vec<Diagnostic>;

    /// What it would choose itself if it created these resources now, in place of what their specifications say: the range of a
    /// subnet. With each resource comes the object that it replaces.
    ///
    /// # Errors
    /// When the other side does not answer.
    async fn choose(
        &self, _owner: &Owner, _wanted: &[(&Resource, Option<&Object>)],
    ) -> Result<BTreeMap<Address, Map<String, Value>>> {
        Ok(BTreeMap::new())
    }

    /// Makes ready what all objects share, such as images. Called before the first create of a plan.
    async fn prepare(&self, resources: &[&Resource], events: &Events) -> Result<()>;

    /// What of these resources is paid for. What runs on this machine is not.
    fn bill(&self, _resources: &[Resource]) -> Vec<Item> {
        Vec::new()
    }

    /// What creating these resources needs of the account: credentials, permissions, quotas, free names, room. What the others
    /// name, which exist and change, such as a class, it must have too.
    async fn diagnose(&self, _owner: &Owner, _created: &[Resource], _changed: &[Resource]) -> Vec<Finding> {
        Vec::new()
    }

    /// Replaces the terms in the labels of the objects of an environment.
    async fn mark(&self, owner: &Owner, terms: &Terms, objects: &[Object]) -> Result<()>;

    /// Takes over an object that someone else made: adds the labels of the request to it, and leaves all else as it is. What
    /// it answers tells as much of the object's specification as can be seen, under `actual`.
    ///
    /// # Errors
    /// When there is no such object, when it belongs to another environment or stands elsewhere than the request wants, or when
    /// objects of this kind cannot be taken over here.
    async fn adopt(&self, id: &str, request: &Request<'_>) -> Result<Object>;

    /// Compares an object with what it was made from and with its attributes of then: fields of the specification that were
    /// changed outside of infra, and that a list alone does not show as such, go to `actual`.
    fn compare(&self, spec: &Map<String, Value>, attributes: &Map<String, Value>, object: &mut Object) {
        if let Some(driver) = self.driver(object.address.kind) {
            driver.compare(spec, attributes, object);
        }
    }

    /// The stable paths under which a machine sees its further disks, by their ids in the order of its specification; `None` where
    /// machines have no disks of their own.
    fn devices(&self, _disks: &[&str]) -> Option<Vec<String>> {
        None
    }

    /// Why a machine does not answer: `None` when the provider sees nothing wrong with it.
    async fn why_down(&self, id: &str) -> Option<Error>;

    /// What is kept of an environment after its end on purpose, and costs money: last copies of data.
    ///
    /// # Errors
    /// When the other side does not answer.
    async fn kept(&self, _owner: &Owner) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    /// The objects of one environment of one project.
    ///
    /// # Errors
    /// When the other side does not answer.
    async fn list(&self, owner: &Owner) -> Result<Vec<Object>> {
        let mut objects = self.labelled(Some(&owner.environment)).await?;
        objects.retain(|object| owner.owns(object));
        Ok(objects)
    }

    /// Everything that carries our labels, whichever project it belongs to: of environments of one name, or of all. One list
    /// per kind. What is changed or removed comes from [`Self::list`].
    ///
    /// # Errors
    /// When the other side does not answer.
    async fn labelled(&self, environment: Option<&Name>) -> Result<Vec<Object>> {
        let drivers = KindName::all().filter_map(|kind| self.driver(kind));
        let lists = futures::future::try_join_all(drivers.map(|driver| driver.list(environment))).await?;
        Ok(lists.into_iter().flatten().collect())
    }
}

/// What was found out about something that an apply needs.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// What it is about.
    pub check: String,
    /// Whether it is as it should be.
    pub ok: bool,
    /// Whether nothing works without it.
    pub needed: bool,
    /// How it is.
    pub detail: String,
    /// What to do about it.
    pub hint: String,
    /// Who asks for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asked: Option<Asked>,
}

/// A value that sections of the environment's file ask for.
#[derive(Clone, Debug, Serialize)]
pub struct Asked {
    /// The value, as the file writes it.
    pub value: String,
    /// Where the sections begin.
    pub sections: BTreeSet<String>,
}

impl Finding {
    /// Something that is needed, from the answer of the account.
    #[must_use]
    pub fn of(check: &str, answer: Result<String>) -> Self {
        let (ok, detail, hint) = match answer {
            Ok(detail) => (true, detail, String::new()),
            Err(error) => (false, error.to_string(), error.hints().join("; ")),
        };
        Self { check: check.to_owned(), ok, needed: true, detail, hint, asked: None }
    }
}

/// The calls for one kind of resource. "Already gone" is success for `delete`.
#[async_trait]
pub trait Driver: Send + Sync {
    /// All objects of this kind that carry our labels: of one environment or of all.
    async fn list(&self, environment: Option<&Name>) -> Result<Vec<Object>>;

    /// An object as it is now; nothing when there is none of this id.
    async fn read(&self, id: &str) -> Result<Option<Object>> {
        Ok(self.list(None).await?.into_iter().find(|object| object.id == id))
    }

    /// An object that is [`Health::Transient`], once it has come to rest. Lists never wait: who needs what an object has only at
    /// rest, such as its addresses, waits here.
    ///
    /// # Errors
    /// When it does not come to rest in time, or is gone.
    async fn settled(&self, object: &Object) -> Result<Object> {
        Ok(object.clone())
    }

    /// Whether [`Self::update`] can change an object that has not come to rest: the change may be what it needs to.
    fn updates_in_transition(&self) -> bool {
        false
    }

    /// Makes an object. Calling it twice with one token makes one object, where the service has tokens or names for that; elsewhere
    /// an object whose answer was lost is found by its labels first.
    async fn create(&self, request: &Request<'_>) -> Result<Object>;

    /// Goes on with an object whose creation was interrupted, and that shows as [`Health::Unfinished`]: the request is the one
    /// that it was begun with. Where calls name what they create, that is the same as creating it.
    async fn resume(&self, _object: &Object, request: &Request<'_>) -> Result<Object> {
        self.create(request).await
    }

    /// Changes an object in place, to fields that do not force a replacement, starts it if it is stopped, and creates what is
    /// missing of it. The token is this change's own. A kind whose every field forces a replacement has nothing to do here.
    async fn update(&self, object: &Object, _request: &Request<'_>) -> Result<Object> {
        Ok(object.clone())
    }

    /// Whether there is something to do for [`Self::finish`].
    fn checks_machines(&self) -> bool {
        false
    }

    /// Brings an object to what it can only be once its machines are configured, such as one that is healthy: what playbooks
    /// install must be there before it is judged. Called after [`Self::create`] and [`Self::update`], with the same request.
    async fn finish(&self, object: &Object, _request: &Request<'_>) -> Result<Object> {
        Ok(object.clone())
    }

    /// Compares an object of this kind, as [`Provider::compare`] says.
    fn compare(&self, _spec: &Map<String, Value>, _attributes: &Map<String, Value>, _object: &mut Object) {}

    /// Removes an object.
    async fn delete(&self, id: &str) -> Result<()>;

    /// Removes an object that holds data after a last copy of that was made, where the service makes one, and says what is
    /// kept.
    async fn delete_keeping(&self, id: &str, _copy: LastCopy) -> Result<Option<String>> {
        self.delete(id).await.map(|()| None)
    }
}

/// What becomes of an object that holds data and is in a state in which no copy of it can be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastCopy {
    /// It is not removed.
    Needed,
    /// It is removed, with a warning.
    IfPossible,
}

/// Mistakes of groups whose machines ask for second disks: in a cloud they come and go, and such a disk would outlive them.
fn second_disks(environment: &Environment) -> Vec<Diagnostic> {
    let with_disks = environment.groups.iter().filter(|(_, group)| !group.machine.disks.is_empty());
    let mistake = |(name, _): (&Name, &Group)| {
        let message = format!("the machines of the group `{name}` come and go in a cloud, and have no second disks");
        let place = environment.place_of(&["instance_groups", name.as_str(), "resources", "secondary_disk_size"]);
        Diagnostic::error(place, message).hint("make the first disk larger, or name single instances")
    };
    with_disks.map(mistake).collect()
}

/// The driver of a kind, from a provider's list of them.
fn driver(drivers: &[(KindName, Box<dyn Driver>)], kind: KindName) -> Option<&dyn Driver> {
    drivers.iter().find(|(name, _)| *name == kind).map(|(_, driver)| driver.as_ref())
}

/// What a call that makes or changes an object needs to know.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// The environment.
    pub environment: &'a Name,
    /// What the project label says.
    pub project: &'a str,
    /// Unique to this intent: the same after a crash.
    pub token: &'a str,
    /// What to make.
    pub resource: &'a Resource,
    /// The objects that it needs, by address.
    pub needs: BTreeMap<Address, Object>,
    /// What a machine is given before its first boot.
    pub boot: Option<Boot>,
    /// The terms under which the environment lives.
    pub terms: &'a Terms,
    /// The secrets that the resource names, by their names.
    pub secrets: BTreeMap<String, Secret>,
    /// The logins of an existing database that may have another password than they should have.
    pub unset: BTreeSet<String>,
}

impl Request<'_> {
    /// Whose the object is.
    #[must_use]
    pub fn owner(&self) -> Owner {
        Owner { environment: self.environment.clone(), project: self.project.to_owned() }
    }

    /// The first object of a kind that the resource needs.
    #[must_use]
    pub fn need(&self, kind: KindName) -> Option<&Object> {
        self.needs.iter().find(|(address, _)| address.kind == kind).map(|(_, object)| object)
    }

    /// The security group that all machines of the network have.
    ///
    /// # Errors
    /// When the resource has no network, or the network no such group.
    fn default_group(&self) -> Result<&str> {
        let network = self.need(KindName::NETWORK);
        let network = network.ok_or_else(|| Error::new(format!("`{}` has no network", self.resource.address)))?;
        network.attribute(DEFAULT_GROUP).filter(|group| !group.is_empty()).ok_or_else(|| {
            Error::new(format!("`{}` has no security group", network.address))
                .hint("it was removed, or has lost its tags: a plan without `--target` shows what is done about it")
        })
    }

    /// The security group that all machines of the network have, and those that the resource names.
    ///
    /// # Errors
    /// As [`Self::default_group`].
    fn groups(&self) -> Result<Vec<&str>> {
        let named = self.needs.iter().filter(|(address, _)| address.kind == KindName::SECURITY_GROUP);
        Ok([self.default_group()?].into_iter().chain(named.map(|(_, group)| group.id.as_str())).collect())
    }

    /// The labels of the object.
    #[must_use]
    pub fn labels(&self) -> BTreeMap<String, String> {
        let own = BTreeMap::from([
            (LABEL_ENV.to_owned(), self.environment.to_string()),
            (LABEL_ID.to_owned(), self.resource.address.to_string()),
            (LABEL_PROJECT.to_owned(), self.project.to_owned()),
            (LABEL_TOKEN.to_owned(), self.token.to_owned()),
        ]);
        own.into_iter().chain(self.terms.labels()).collect()
    }
}

/// What a machine is given before its first boot, so that it can be trusted from the first connection on.
#[derive(Clone, Debug)]
pub struct Boot {
    /// Public keys that may log in, in OpenSSH's format.
    pub authorized_keys: Vec<String>,
    /// The private host key, in OpenSSH's format.
    pub host_key: Secret,
    /// The public host key, in OpenSSH's format.
    pub host_key_public: String,
}

/// An object as the provider reports it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Object {
    /// The environment that its label names.
    pub environment: String,
    /// The address that its label names.
    pub address: Address,
    /// The project that its label names.
    pub project: String,
    /// The provider's id.
    pub id: String,
    /// The client token that its label names.
    pub token: String,
    /// When it was made, in seconds since the epoch.
    pub created: i64,
    /// How it is.
    pub health: Health,
    /// The terms that its labels say.
    #[serde(default)]
    pub terms: Terms,
    /// What is known of it: addresses, ports, the range that a subnet really got.
    pub attributes: Map<String, Value>,
    /// Fields of its specification as the provider shows them, where they may have been changed behind our back.
    #[serde(skip_serializing_if = "Map::is_empty", default)]
    pub actual: Map<String, Value>,
    /// The ids of what it points to, of the kinds whose [`Link`](crate::resource::Link)s are seen; what is not ours included.
    /// `None` when that is not known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub links: Option<BTreeSet<String>>,
    /// What an earlier version of infra has left on it that an update corrects, in words.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub outdated: Option<String>,
}

#[cfg(test)]
impl Object {
    /// A ready object of the environment `dev`, of which no more is known.
    pub(crate) fn sample(address: &str, id: &str) -> Self {
        Self {
            environment: "dev".into(),
            address: address.parse().expect("an address"),
            project: String::new(),
            id: id.into(),
            token: String::new(),
            created: 0,
            health: Health::Ready,
            terms: Terms::default(),
            attributes: serde_json::Map::new(),
            actual: serde_json::Map::new(),
            links: None,
            outdated: None,
        }
    }
}

impl Object {
    /// A text attribute.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.get(name)?.as_str()
    }

    /// The port of the public address under which a port of the machine is reached.
    #[must_use]
    pub fn public_port(&self, port: u16) -> Option<u16> {
        let ports = self.attributes.get("ports")?;
        ports.get(port.to_string())?.as_u64().and_then(|port| u16::try_from(port).ok())
    }
}
