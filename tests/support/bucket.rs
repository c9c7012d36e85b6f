//! A bucket in memory that honours conditions as Amazon's does, or fails to do so in one of the ways in which other stores do.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, Method, Response, Uri},
};
use infra::{config::S3Settings, state::S3Backend};

/// How a store treats conditions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Store {
    /// As documented.
    Strict,
    /// `If-None-Match` is honoured, `If-Match` is not looked at.
    IgnoresIfMatch,
    /// Neither is looked at.
    IgnoresAll,
    /// Each second write under a condition meets another one of the same moment.
    Conflicts,
    /// Conditional removals are unknown.
    PlainRemovals,
}

struct World {
    store: Store,
    writes: usize,
    objects: BTreeMap<String, (Bytes, String)>,
}

/// A bucket of its own.
#[derive(Clone)]
pub(crate) struct Bucket {
    world: Arc<Mutex<World>>,
    pub(crate) settings: S3Settings,
}

impl Bucket {
    pub(crate) async fn start(store: Store, folder: &Path) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let credentials = folder.join("bucket-credentials");
        std::fs::write(&credentials, "[test]\naws_access_key_id = test\naws_secret_access_key = test\n").unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let world = Arc::new(Mutex::new(World { store, writes: 0, objects: BTreeMap::new() }));
        let router = Router::new().fallback(answer).with_state(Arc::clone(&world));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let settings = S3Settings {
            bucket: "states".into(),
            prefix: "team".into(),
            region: Some("eu-central-1".into()),
            endpoint: Some(endpoint),
            profile: Some("test".into()),
            shared_credentials_file: Some(credentials),
        };
        Self { world, settings }
    }

    pub(crate) fn backend(&self) -> S3Backend {
        S3Backend::open(&self.settings).unwrap()
    }

    /// The keys of all objects, and what they say.
    pub(crate) fn objects(&self) -> BTreeMap<String, String> {
        let world = self.world.lock().unwrap();
        let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).unwrap();
        world.objects.iter().map(|(key, (bytes, _))| (key.clone(), text(bytes))).collect()
    }

    /// Writes an object past the program.
    pub(crate) fn put(&self, key: &str, text: &str) {
        let mut world = self.world.lock().unwrap();
        world.writes += 1;
        let tag = format!("\"{}\"", world.writes);
        world.objects.insert(key.to_owned(), (Bytes::from(text.to_owned()), tag));
    }
}

fn refused(status: u16, code: &str) -> Response<Body> {
    let text = format!("<Error><Code>{code}</Code><Message>{code}</Message></Error>");
    Response::builder().status(status).body(Body::from(text)).unwrap()
}

async fn answer(
    State(world): State<Arc<Mutex<World>>>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes,
) -> Response<Body> {
    let mut world = world.lock().unwrap();
    let key = uri.path().trim_start_matches("/states").trim_start_matches('/').to_owned();
    if method == Method::GET && key.is_empty() {
        let prefix =
            uri.query().unwrap().split("prefix=").nth(1).unwrap().split('&').next().unwrap().replace("%2F", "/");
        let keys = world.objects.keys().filter(|key| key.starts_with(&prefix));
        let contents: String = keys.map(|key| format!("<Contents><Key>{key}</Key></Contents>")).collect();
        let text = format!("<ListBucketResult><IsTruncated>false</IsTruncated>{contents}</ListBucketResult>");
        return Response::new(Body::from(text));
    }
    let there = world.objects.get(&key).cloned();
    if method == Method::GET {
        return match there {
            Some((bytes, tag)) => Response::builder().header("etag", tag).body(Body::from(bytes)).unwrap(),
            None => refused(404, "NoSuchKey"),
        };
    }
    let header = |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    let (absent, tag) = (header("if-none-match"), header("if-match"));
    if method == Method::DELETE && tag.is_some() && world.store == Store::PlainRemovals {
        return refused(501, "NotImplemented");
    }
    world.writes += 1;
    if (absent.is_some() || tag.is_some()) && world.store == Store::Conflicts && world.writes % 2 == 1 {
        return refused(409, "ConditionalRequestConflict");
    }
    let absent = absent.filter(|_| world.store != Store::IgnoresAll);
    let tag = tag.filter(|_| !matches!(world.store, Store::IgnoresAll | Store::IgnoresIfMatch));
    match (&there, tag) {
        (None, Some(_)) => return refused(404, "NoSuchKey"),
        (Some((_, there)), Some(tag)) if *there != tag => return refused(412, "PreconditionFailed"),
        (Some(_), _) if absent.is_some() => return refused(412, "PreconditionFailed"),
        _ => {}
    }
    if method == Method::DELETE {
        world.objects.remove(&key);
        return Response::builder().status(204).body(Body::empty()).unwrap();
    }
    let tag = format!("\"{}\"", world.writes);
    world.objects.insert(key, (body, tag.clone()));
    Response::builder().header("etag", tag).body(Body::empty()).unwrap()
}
