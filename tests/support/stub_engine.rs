//! A Docker Engine in memory, for what needs no machines: networks and volumes with their labels, under an id of its own.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Query, State},
    http::{Method, Response, Uri},
};
use serde_json::{Value, json};

/// What goes wrong with calls that change something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// All are refused, and nothing is done.
    Refuse,
    /// Every third is carried out, and the connection breaks before the answer.
    LoseAnswer,
}

#[derive(Default)]
struct World {
    fault: Option<Fault>,
    id: String,
    networks: Vec<Value>,
    volumes: Vec<Value>,
    /// The calls that changed something.
    changes: usize,
    next: usize,
}

/// The engine; it ends with the test. Clones are the same engine.
#[derive(Clone)]
pub(crate) struct StubEngine {
    world: Arc<Mutex<World>>,
    /// Where it listens, as `DOCKER_HOST` has it.
    pub(crate) host: String,
}

impl StubEngine {
    pub(crate) async fn start(id: &str) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = format!("tcp://{}", listener.local_addr().unwrap());
        let engine = Self { world: Arc::default(), host };
        engine.world().id = id.to_owned();
        let router = Router::new().fallback(answer).with_state(engine.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        engine
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    /// The names of all that exists.
    pub(crate) fn names(&self) -> Vec<String> {
        let world = self.world();
        let all = world.networks.iter().chain(&world.volumes);
        let mut names: Vec<String> = all.map(|one| one["Name"].as_str().unwrap().to_owned()).collect();
        names.sort();
        names
    }

    /// What a label says, of all that exists.
    pub(crate) fn labels(&self, label: &str) -> Vec<String> {
        let world = self.world();
        let all = world.networks.iter().chain(&world.volumes);
        all.map(|one| one["Labels"][label].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// From now on calls go wrong in this way; `None` lets all pass.
    pub(crate) fn strike(&self, fault: Option<Fault>) {
        self.world().fault = fault;
    }

    /// How many calls have changed something so far.
    pub(crate) fn changes(&self) -> usize {
        self.world().changes
    }

    /// Everything is gone, and the engine says nothing of it.
    pub(crate) fn lose_everything(&self) {
        let mut world = self.world();
        world.networks.clear();
        world.volumes.clear();
    }

    /// Changes the labels and the name of everything, as if an earlier version had made it.
    pub(crate) fn edit(&self, change: impl Fn(&mut Value)) {
        let mut world = self.world();
        world.networks.iter_mut().for_each(change);
    }
}

async fn answer(
    State(engine): State<StubEngine>, method: Method, uri: Uri, Query(query): Query<BTreeMap<String, String>>,
    body: Bytes,
) -> Response<Body> {
    let (status, value, is_lost) = {
        let mut world = engine.world();
        if method != Method::GET && world.fault == Some(Fault::Refuse) {
            (403, json!({ "message": "all predefined address pools have been fully subnetted" }), false)
        } else {
            let (status, value) = respond(&mut world, &method, uri.path(), &query, &body);
            let is_lost = method != Method::GET && world.fault == Some(Fault::LoseAnswer) && world.changes % 3 == 2;
            (status, value, is_lost)
        }
    };
    if is_lost {
        // The connection ends without an answer: a task that unwinds takes it along, and says nothing.
        std::panic::resume_unwind(Box::new("the connection is reset"));
    }
    Response::builder().status(status).body(Body::from(value.to_string())).unwrap()
}

fn respond(
    world: &mut World, method: &Method, path: &str, query: &BTreeMap<String, String>, body: &[u8],
) -> (u16, Value) {
    let path = path.splitn(3, '/').nth(2).unwrap_or_default();
    let filter: Value = serde_json::from_str(query.get("filters").map_or("{}", String::as_str)).unwrap();
    let wanted = filter["label"][0].as_str().unwrap_or_default().to_owned();
    let carries = |one: &&Value| match wanted.split_once('=') {
        None => wanted.is_empty() || one["Labels"].get(&wanted).is_some(),
        Some((label, value)) => one["Labels"][label] == value,
    };
    world.changes += usize::from(method != Method::GET);
    match (method, path) {
        (&Method::GET, "info") => {
            (200, json!({ "ID": world.id, "ServerVersion": "0", "NCPU": 2, "MemTotal": 1, "CgroupVersion": "2" }))
        }
        (&Method::GET, "containers/json") => (200, json!([])),
        (&Method::GET, "networks") => (200, world.networks.iter().filter(carries).cloned().collect()),
        (&Method::GET, "volumes") => {
            (200, json!({ "Volumes": world.volumes.iter().filter(carries).cloned().collect::<Vec<_>>() }))
        }
        (&Method::POST, "networks/create" | "volumes/create") => {
            let mut made: Value = serde_json::from_slice(body).unwrap();
            world.next += 1;
            made["Id"] = format!("stub-{}", world.next).into();
            // Real engines say the moment; the number keeps the order.
            made["Created"] = format!("2026-01-02T03:04:05.{:09}Z", world.next).into();
            made["CreatedAt"] = made["Created"].clone();
            let all = if path.starts_with("networks") { &mut world.networks } else { &mut world.volumes };
            if let Some(there) = all.iter().find(|one| one["Name"] == made["Name"]) {
                // An engine answers with the volume that is there, whatever is asked for.
                if path.starts_with("volumes") {
                    return (201, there.clone());
                }
                return (409, json!({ "message": "the name is taken" }));
            }
            all.push(made.clone());
            (201, made)
        }
        (&Method::DELETE, _) => {
            let id = path.rsplit('/').next().unwrap_or_default();
            let before = world.networks.len() + world.volumes.len();
            world.networks.retain(|one| one["Id"] != id);
            world.volumes.retain(|one| one["Name"] != id);
            let gone = world.networks.len() + world.volumes.len() < before;
            if gone { (204, Value::Null) } else { (404, json!({ "message": "no such thing" })) }
        }
        _ => (501, json!({ "message": format!("the stub has no {method} {path}") })),
    }
}
