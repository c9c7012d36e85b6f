//! A strict simulator of Yandex Cloud's REST API. What a request may hold comes from the service descriptors; names are unique,
//! references must exist, what is in use cannot be removed, calls begin operations that take time, and faults come on demand.

mod addresses;
mod defaults;
mod postgres;
pub(crate) mod rules;
mod view;
mod world;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, Method, Response, StatusCode, Uri},
};
use serde_json::{Value, json};

use self::world::{Answer, Refused, World};
use super::containers::Machines;

/// The one folder.
pub(crate) const FOLDER: &str = "b1gsimulated0folder00";

/// A call that was made, as tests see it.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) key: Option<String>,
    pub(crate) body: Value,
    /// Whether all of an object is asked for, its metadata too.
    pub(crate) full: bool,
}

impl Call {
    pub(crate) fn changes(&self) -> bool {
        self.method != "GET" && !self.path.contains("/iam/v1/tokens")
    }
}

/// What goes wrong with a call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fault {
    /// A refusal before anything is done: HTTP status and code.
    Refuse(u16, i64),
    /// The call is carried out, but its answer is lost.
    LoseAnswer,
    /// The call begins an operation that ends in an error.
    FailOperation,
    /// The call begins an operation that creates an object, ends in an error and leaves the object in the state `ERROR`.
    FailHalfway,
}

/// Decides about a call's fault, given how many such calls came before.
type Faults = Box<dyn FnMut(&Call) -> Option<Fault> + Send>;

/// The part of a name that is for people: a digest keeps names of two projects apart.
fn plain(name: &str) -> String {
    let is_digest = |part: &&str| part.len() == 8 && part.chars().all(|c| c.is_ascii_hexdigit());
    name.split('-').filter(|part| !is_digest(part)).collect::<Vec<_>>().join("-")
}

fn is_named(object: &Value, name: &str) -> bool {
    object["name"].as_str().is_some_and(|own| plain(own) == name)
}

/// The simulator; it ends with the test.
#[derive(Clone)]
pub(crate) struct Cloud {
    world: Arc<Mutex<World>>,
    pub(crate) address: String,
}

impl Cloud {
    pub(crate) async fn start() -> Self {
        let world = World { page: 1000, ..World::default() };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let cloud = Self { world: Arc::new(Mutex::new(world)), address };
        let router = Router::new().fallback(answer).with_state(cloud.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        cloud
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Operations take this long.
    pub(crate) fn delay(&self, delay: Duration) {
        self.world().delay = delay;
    }

    /// Operations take this long, on machines twice as long, and the cloud does not say when to ask for them again.
    pub(crate) fn answers_in_its_own_time(&self, delay: Duration) {
        let mut world = self.world();
        (world.delay, world.own_time) = (delay, true);
    }

    /// Pages of lists hold this many objects at most.
    pub(crate) fn page(&self, size: usize) {
        self.world().page = size;
    }

    /// The service of quotas says that this is the limit of one.
    pub(crate) fn limit(&self, quota: &str, limit: u32) {
        self.world().limits.insert(quota.to_owned(), limit);
    }

    /// So many objects of a collection may exist.
    pub(crate) fn quota(&self, collection: &str, most: usize) {
        self.world().quotas.insert(collection.to_owned(), most);
    }

    pub(crate) fn faults(&self, faults: impl FnMut(&Call) -> Option<Fault> + Send + 'static) {
        self.world().faults = Some(Box::new(faults));
    }

    pub(crate) fn no_faults(&self) {
        self.world().faults = None;
    }

    /// Whether the machines of groups that are asked whether they work do so.
    pub(crate) fn healthy(&self, healthy: bool) {
        self.world().unhealthy = !healthy;
    }

    /// From now on a machine that is started has another public address than before, as ephemeral ones do.
    pub(crate) fn new_addresses_at_starts(&self) {
        self.world().moves_at_starts = true;
    }

    pub(crate) fn machines(&self, machines: Arc<dyn Machines>) {
        self.world().machines = Some(machines);
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        self.world().calls.clone()
    }

    pub(crate) fn forget_calls(&self) {
        self.world().calls.clear();
    }

    /// Every token that was given is refused from now on.
    pub(crate) fn expire_tokens(&self) {
        self.world().tokens.clear();
    }

    pub(crate) fn most_at_once(&self) -> usize {
        self.world().most_at_once
    }

    /// What exists, as `collection name`; the security groups that come with networks are left out.
    pub(crate) fn names(&self) -> Vec<String> {
        let world = self.world();
        let objects = world.objects.values().filter(|object| object.value["defaultForNetwork"] != true);
        let objects = objects.filter(|object| object.value["bootOf"].is_null());
        let mut names: Vec<String> = objects
            .map(|object| {
                let kind = object.collection.rsplit('/').next().unwrap();
                format!("{kind} {}", plain(object.value["name"].as_str().unwrap_or_default()))
            })
            .collect();
        names.extend(world.bindings.iter().map(|binding| format!("binding {}", binding["roleId"].as_str().unwrap())));
        names.extend(world.account_bindings.iter().map(|(on, binding)| {
            let name = world.objects.get(on).map_or("nothing", |object| object.value["name"].as_str().unwrap());
            format!("binding {} on {}", binding["roleId"].as_str().unwrap(), plain(name))
        }));
        names.sort();
        names
    }

    /// Changes an object behind the program's back.
    pub(crate) fn edit(&self, name: &str, change: impl FnOnce(&mut Value)) {
        let mut world = self.world();
        let object = world.objects.values_mut().find(|object| is_named(&object.value, name)).unwrap();
        change(&mut object.value);
    }

    /// Changes an object of a collection beside the program.
    pub(crate) fn edit_in(&self, collection: &str, name: &str, change: impl FnOnce(&mut Value)) {
        let mut world = self.world();
        let mut objects = world.objects.values_mut().filter(|object| object.collection == collection);
        change(&mut objects.find(|object| is_named(&object.value, name)).unwrap().value);
    }

    /// All objects of a collection.
    pub(crate) fn objects_in(&self, collection: &str) -> Vec<Value> {
        let world = self.world();
        let objects = world.objects.values().filter(|object| object.collection == collection);
        objects.map(|object| object.value.clone()).collect()
    }

    pub(crate) fn object_in(&self, collection: &str, name: &str) -> Value {
        let world = self.world();
        let mut objects = world.objects.values().filter(|object| object.collection == collection);
        objects.find(|object| is_named(&object.value, name)).unwrap().value.clone()
    }

    /// An object as an answer shows it, with what the service fills in.
    pub(crate) fn shown_in(&self, collection: &str, name: &str) -> Value {
        let world = self.world();
        let mut objects = world.objects.values().filter(|object| object.collection == collection);
        world.shown(objects.find(|object| is_named(&object.value, name)).unwrap())
    }

    /// Gives a group another size beside the program.
    pub(crate) fn resize(&self, group: &str, size: u64) {
        let mut value = self.object_in("/compute/v1/instanceGroups", group);
        value["scalePolicy"]["fixedScale"]["size"] = size.to_string().into();
        let id = value["id"].as_str().unwrap().to_owned();
        self.world().resize(&id, &mut value, false);
    }

    /// Gives an account a role beside the program.
    pub(crate) fn bind(&self, account: &str, role: &str) {
        let id = self.object_in("/iam/v1/serviceAccounts", account)["id"].clone();
        let binding = json!({ "roleId": role, "subject": { "id": id, "type": "serviceAccount" } });
        self.world().bindings.push(binding);
    }

    /// The roles of an account.
    pub(crate) fn roles(&self, account: &str) -> Vec<String> {
        let id = self.object_in("/iam/v1/serviceAccounts", account)["id"].clone();
        let world = self.world();
        let own = world.bindings.iter().filter(|binding| binding["subject"]["id"] == id);
        own.map(|binding| binding["roleId"].as_str().unwrap().to_owned()).collect()
    }

    /// As many calls about groups are refused as if no one knew yet what their accounts were given.
    pub(crate) fn ignorant(&self, calls: usize) {
        self.world().ignorant = calls;
    }

    /// The roles of an account on another one.
    pub(crate) fn roles_on(&self, account: &str, on: &str) -> Vec<String> {
        let id = |name: &str| self.object_in("/iam/v1/serviceAccounts", name)["id"].clone();
        let (id, on) = (id(account), id(on));
        let world = self.world();
        let own = world.account_bindings.iter().filter(|(place, one)| on == *place && one["subject"]["id"] == id);
        own.map(|(_, binding)| binding["roleId"].as_str().unwrap().to_owned()).collect()
    }

    /// The ids of all objects that have a name.
    pub(crate) fn ids(&self) -> BTreeMap<String, String> {
        let world = self.world();
        let named = world.objects.iter().filter(|(_, object)| object.value["bootOf"].is_null());
        let name = |value: &Value| plain(value["name"].as_str().unwrap_or_default());
        named.map(|(id, object)| (format!("{} {}", object.collection, name(&object.value)), id.clone())).collect()
    }

    /// Makes an object as someone else would; its id.
    pub(crate) fn make(&self, collection: &str, mut body: Value) -> String {
        body["folderId"] = FOLDER.into();
        let mut world = self.world();
        let key = Some(world.id("key"));
        let call = Call { method: "POST".to_owned(), path: collection.to_owned(), key, body, full: false };
        let Ok(operation) = world.call(&call, &BTreeMap::new(), false) else { panic!("{call:?} is refused") };
        operation["response"]["id"].as_str().unwrap().to_owned()
    }

    /// Pushes an image to a registry.
    pub(crate) fn push(&self, registry: &str, name: &str) {
        let registry = self.object_in("/container-registry/v1/registries", registry)["id"].clone();
        let mut world = self.world();
        let id = world.id("crpimage");
        let value = json!({ "id": id, "name": name, "registryId": registry });
        let collection = "/container-registry/v1/images".to_owned();
        world.objects.insert(id, world::Object { collection, value });
    }

    /// Takes our labels off an object, as if someone else had made it; a label of his own is on it.
    pub(crate) fn strip_labels(&self, id: &str) {
        let mut world = self.world();
        world.objects.get_mut(id).unwrap().value["labels"] = json!({ "team": "web" });
    }

    pub(crate) fn object(&self, name: &str) -> Value {
        let world = self.world();
        world.objects.values().find(|object| is_named(&object.value, name)).unwrap().value.clone()
    }

    /// Removes an object behind the program's back.
    pub(crate) fn lose(&self, name: &str) {
        self.lose_where(|object| is_named(&object.value, name));
    }

    /// Removes an object of a collection outside of infra.
    pub(crate) fn lose_in(&self, collection: &str, name: &str) {
        self.lose_where(|object| object.collection == collection && is_named(&object.value, name));
    }

    fn lose_where(&self, is_it: impl Fn(&world::Object) -> bool) {
        let mut world = self.world();
        let id = world.objects.iter().find(|(_, object)| is_it(object)).unwrap().0.clone();
        let object = world.objects.remove(&id).unwrap();
        world.destroyed(&id, &object);
        if let Some(group) = object.value["groupOf"].as_str().map(str::to_owned) {
            // The group's controller sees to its size.
            let index = object.value["index"].as_u64().unwrap();
            world.member(&group, index);
        }
    }
}

async fn answer(
    State(cloud): State<Cloud>, method: Method, uri: Uri, headers: HeaderMap, bytes: Bytes,
) -> Response<Body> {
    // What runs real machines may take its time: not on a thread that serves others.
    let respond = move || {
        let hint = !cloud.world().own_time;
        (hint, cloud.respond(&method, &uri, &headers, &bytes))
    };
    let (hint, result) = tokio::task::spawn_blocking(respond).await.unwrap();
    let (status, value) = match result {
        Some(Ok(value)) => (200, value),
        Some(Err(Refused(status, code, message))) => (
            status,
            json!({ "code": code, "message": message, "details": [
                { "@type": "type.googleapis.com/google.rpc.RequestInfo", "requestId": "simulated-request" }
            ] }),
        ),
        // The connection ends without an answer.
        None => {
            return Response::builder().status(StatusCode::BAD_GATEWAY).body(Body::from("<html>bad gateway")).unwrap();
        }
    };
    let response = Response::builder().status(status).header("content-type", "application/json");
    let response = if hint { response.header("x-operation-poll-interval", "0") } else { response };
    response.body(Body::from(value.to_string())).unwrap()
}

impl Cloud {
    fn respond(&self, method: &Method, uri: &Uri, headers: &HeaderMap, bytes: &Bytes) -> Option<Answer> {
        let path = uri.path();
        let query: BTreeMap<String, String> = uri
            .query()
            .unwrap_or_default()
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.replace("%2F", "/").replace('+', " ")))
            .collect();
        let mut world = self.world();
        if path == "/endpoints" {
            let ids = [
                "iam",
                "resource-manager",
                "vpc",
                "compute",
                "load-balancer",
                "managed-postgresql",
                "dns",
                "container-registry",
                "operation",
                "quota-manager",
            ];
            let list: Vec<Value> = ids.iter().map(|id| json!({ "id": id, "address": self.address })).collect();
            return Some(Ok(json!({ "endpoints": list })));
        }
        let body: Value = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(bytes).ok()? };
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let full = query.get("view").is_some_and(|view| view == "FULL");
        let key = header("idempotency-key");
        let call = Call { method: method.to_string(), path: path.to_owned(), key, body, full };
        world.calls.push(call.clone());
        if path == "/iam/v1/tokens" {
            return Some(world.token(&call.body));
        }
        let token = header("authorization").and_then(|value| value.strip_prefix("Bearer ").map(str::to_owned));
        if !token.is_some_and(|token| world.tokens.contains(&token)) {
            return Some(Err(Refused(401, 16, "Token is invalid or has expired.".to_owned())));
        }
        let fault = world.faults.as_mut().and_then(|faults| faults(&call));
        if let Some(Fault::Refuse(status, code)) = fault {
            return Some(Err(Refused(status, code, "out of order".to_owned())));
        }
        world.halfway = fault == Some(Fault::FailHalfway);
        let answer = world.call(&call, &query, fault == Some(Fault::FailOperation));
        if fault == Some(Fault::LoseAnswer) { None } else { Some(answer) }
    }
}
