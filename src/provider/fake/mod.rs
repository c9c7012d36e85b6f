//! A strict cloud in memory, for tests: it stores any kind, and refuses whatever a real one would.
//!
//! It checks that needs exist before a create and are gone before a delete, that names are unique, that a token makes one
//! object, and that no update touches a field that forces a replacement. A hook before and after every call lets a test
//! fail it, cut it off, or count it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

use async_trait::async_trait;
use futures::future::BoxFuture;

use super::{Driver, Health, LastCopy, Object, Owner, Provider, Request, adopt::not_adopted};
use crate::{
    config::Environment,
    error::{Diagnostic, Error, Result},
    event::Events,
    name::Name,
    resource::{Address, KindName, Resource, Terms},
};

/// A call, as the hook sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// `list`, `create`, `update`, `delete`, or `copy` before a removal that keeps data.
    pub verb: &'static str,
    /// The address, or the kind for lists.
    pub subject: String,
    /// Whether the call has taken effect.
    pub done: bool,
}

/// What a test does at a call: let it pass, fail it, or never come back, as after a `kill -9`.
pub type Hook = Arc<dyn Fn(Call) -> BoxFuture<'static, Result<()>> + Send + Sync>;

/// The cloud. Clones are the same cloud.
#[derive(Clone, Default)]
pub struct Fake {
    world: Arc<Mutex<World>>,
    hook: Option<Hook>,
    concurrency: Option<usize>,
    account: Option<String>,
}

#[derive(Default)]
struct World {
    /// What exists, with what it needs.
    objects: BTreeMap<Key, (Object, Vec<Address>)>,
    calls: Vec<Call>,
    next_id: u64,
}

/// Names are unique in an environment of a project.
type Key = (String, String, Address);

impl World {
    fn find(&self, id: &str) -> Option<&Object> {
        self.objects.values().map(|(object, _)| object).find(|object| object.id == id)
    }
}

impl Fake {
    /// The same cloud, seen through a hook.
    #[must_use]
    pub fn with_hook(&self, hook: Hook) -> Self {
        Self { hook: Some(hook), ..self.clone() }
    }

    /// The same cloud, which takes this many calls at once.
    #[must_use]
    pub fn with_concurrency(&self, calls: usize) -> Self {
        Self { concurrency: Some(calls), ..self.clone() }
    }

    /// The same cloud, seen as another account: its objects are there all the same, so that a test sees who looks at them.
    #[must_use]
    pub fn with_account(&self, account: &str) -> Self {
        Self { account: Some(account.to_owned()), ..self.clone() }
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().expect("no test panics while it holds the world")
    }

    /// Everything that exists.
    #[must_use]
    pub fn objects(&self) -> Vec<Object> {
        self.world().objects.values().map(|(object, _)| object.clone()).collect()
    }

    /// The calls so far.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.world().calls.clone()
    }

    /// Removes an object behind the program's back.
    pub fn lose(&self, address: &str) {
        self.world().objects.retain(|(_, _, name), _| name.to_string() != address);
    }

    /// An object is in transition from now on, and never comes to rest.
    pub fn unsettle(&self, address: &str) {
        let mut world = self.world();
        let objects = world.objects.values_mut().map(|(object, _)| object);
        objects
            .filter(|object| object.address.to_string() == address)
            .for_each(|object| object.health = Health::Transient);
    }

    /// Gives an object another name at the provider, as some other tool would: its labels stay, and its first name is free.
    pub fn rename(&self, address: &str, name: &str) {
        let mut world = self.world();
        let found = world.objects.keys().find(|(_, _, known)| known.to_string() == address).cloned();
        if let Some(key) = found
            && let Some(object) = world.objects.remove(&key)
            && let Ok(name) = name.parse()
        {
            world.objects.insert((key.0, key.1, name), object);
        }
    }

    async fn call(&self, verb: &'static str, subject: String, done: bool) -> Result<()> {
        let call = Call { verb, subject, done };
        if !done {
            self.world().calls.push(call.clone());
        }
        match &self.hook {
            Some(hook) => hook(call).await,
            None => Ok(()),
        }
    }

    fn insert(&self, request: &Request<'_>) -> Result<Object> {
        let mut world = self.world();
        let resource = request.resource;
        let named = |address: &Address| (request.project.to_owned(), request.environment.to_string(), address.clone());
        match world.objects.get(&named(&resource.address)) {
            Some((object, _)) if object.token == request.token => return Ok(object.clone()),
            Some(_) => return Err(Error::new(format!("fake: the name `{}` is taken", resource.address))),
            None => {}
        }
        for need in &resource.needs {
            if !request.needs.contains_key(need) || !world.objects.contains_key(&named(need)) {
                return Err(Error::new(format!("fake: `{}` needs `{need}`, which does not exist", resource.address)));
            }
        }
        if resource.address.kind.boots() != request.boot.is_some() {
            return Err(Error::new(format!("fake: `{}` and its keys do not fit", resource.address)));
        }
        world.next_id += 1;
        let number = world.next_id;
        let mut attributes = serde_json::Map::new();
        if resource.address.kind == KindName::VM {
            attributes.insert("address".to_owned(), format!("10.0.{}.{}", number / 250, number % 250 + 1).into());
        }
        let object = Object {
            environment: request.environment.to_string(),
            address: resource.address.clone(),
            project: request.project.to_owned(),
            id: format!("fake-{number}"),
            token: request.token.to_owned(),
            created: 0,
            health: Health::Ready,
            terms: request.terms.clone(),
            attributes,
            actual: serde_json::Map::new(),
            links: None,
            outdated: None,
        };
        world.objects.insert(named(&resource.address), (object.clone(), resource.needs.clone()));
        Ok(object)
    }

    fn remove(&self, id: &str) -> Result<()> {
        let mut world = self.world();
        let Some(object) = world.find(id).cloned() else { return Ok(()) };
        let dependent = world.objects.values().find(|(other, needs)| {
            (&other.project, &other.environment) == (&object.project, &object.environment)
                && needs.contains(&object.address)
                // What is only pointed to can go: whatever pointed to it is pointed to the next one.
                && !other.address.kind.kind().rules().link(object.address.kind).is_in_place()
        });
        if let Some((dependent, _)) = dependent {
            return Err(Error::new(format!("fake: `{}` is in use by `{}`", object.address, dependent.address)));
        }
        world.objects.retain(|_, (other, _)| other.id != object.id);
        Ok(())
    }

    fn subject(&self, id: &str) -> String {
        self.world().find(id).map_or_else(|| id.to_owned(), |object| object.address.to_string())
    }
}

#[async_trait]
impl Provider for Fake {
    fn name(&self) -> &'static str {
        "fake"
    }

    fn place(&self) -> String {
        "memory".to_owned()
    }

    async fn account(&self) -> Result<String> {
        Ok(self.account.clone().unwrap_or_else(|| "account 1".to_owned()))
    }

    fn concurrency(&self) -> usize {
        self.concurrency.unwrap_or(4)
    }

    fn driver(&self, _kind: KindName) -> Option<&dyn Driver> {
        Some(self)
    }

    fn resources(&self, environment: &Environment) -> Vec<Resource> {
        environment.resources.clone()
    }

    fn check(&self, _environment: &Environment) -> Vec<Diagnostic> {
        Vec::new()
    }

    async fn prepare(&self, _resources: &[&Resource], _events: &Events) -> Result<()> {
        Ok(())
    }

    async fn mark(&self, owner: &Owner, terms: &Terms, _objects: &[Object]) -> Result<()> {
        let mut world = self.world();
        let own = world.objects.values_mut().filter(|(object, _)| owner.owns(object));
        own.for_each(|(object, _)| object.terms = terms.clone());
        Ok(())
    }

    async fn adopt(&self, id: &str, request: &Request<'_>) -> Result<Object> {
        Err(not_adopted(id, request, "nothing else creates objects here"))
    }

    async fn why_down(&self, id: &str) -> Option<Error> {
        self.world().find(id).is_none().then(|| Error::new("the machine is gone"))
    }

    async fn labelled(&self, environment: Option<&Name>) -> Result<Vec<Object>> {
        Driver::list(self, environment).await
    }
}

#[async_trait]
impl Driver for Fake {
    async fn list(&self, environment: Option<&Name>) -> Result<Vec<Object>> {
        self.call("list", "all".to_owned(), false).await?;
        let all = self.objects().into_iter();
        Ok(all.filter(|object| environment.is_none_or(|name| object.environment == name.as_str())).collect())
    }

    async fn settled(&self, object: &Object) -> Result<Object> {
        if object.health == Health::Transient { std::future::pending().await } else { Ok(object.clone()) }
    }

    async fn create(&self, request: &Request<'_>) -> Result<Object> {
        let subject = request.resource.address.to_string();
        self.call("create", subject.clone(), false).await?;
        let object = self.insert(request)?;
        self.call("create", subject, true).await?;
        Ok(object)
    }

    async fn update(&self, object: &Object, request: &Request<'_>) -> Result<Object> {
        let subject = request.resource.address.to_string();
        self.call("update", subject.clone(), false).await?;
        let found = self.world().find(&object.id).cloned();
        let object = found.ok_or_else(|| Error::new(format!("fake: `{subject}` does not exist")))?;
        self.call("update", subject, true).await?;
        Ok(object)
    }

    async fn delete(&self, id: &str) -> Result<()> {
        let subject = self.subject(id);
        self.call("delete", subject.clone(), false).await?;
        self.remove(id)?;
        self.call("delete", subject, true).await
    }

    async fn delete_keeping(&self, id: &str, _copy: LastCopy) -> Result<Option<String>> {
        let subject = self.subject(id);
        self.call("copy", subject.clone(), false).await?;
        self.call("copy", subject, true).await?;
        self.delete(id).await?;
        Ok(Some(format!("a copy of `{id}`")))
    }
}
