//! A proxy before the Docker Engine of this machine, which makes one of its calls fail.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, Method, Response, Uri},
};
use infra::provider::docker::endpoint;

/// What goes wrong with a call that changes something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is refused with this status, and nothing is done.
    Refuse(u16),
    /// It is carried out, and answered with the status 500.
    FailAfter,
    /// The connection breaks before it is carried out.
    Reset,
    /// It is carried out, and the connection breaks before the answer.
    LoseAnswer,
    /// It is carried out, and answered late.
    Late,
}

#[derive(Default)]
struct Seen {
    /// Which of the next calls fails, counted from 0, and how.
    fault: Option<(usize, Fault)>,
    calls: usize,
    struck: bool,
}

#[derive(Clone)]
struct Proxy {
    http: reqwest::Client,
    base: String,
    seen: Arc<Mutex<Seen>>,
}

/// The proxy; it ends with the test.
pub(crate) struct Engine {
    proxy: Proxy,
    /// Where it listens, as `DOCKER_HOST` has it.
    pub(crate) host: String,
}

impl Engine {
    pub(crate) async fn start() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = reqwest::Client::builder().no_proxy();
        let (builder, base) = match endpoint(&infra::cloud::docker::DockerSettings::default()).unwrap() {
            infra::cloud::docker::Endpoint::Unix(path) => (builder.unix_socket(path), "http://docker".to_owned()),
            infra::cloud::docker::Endpoint::Http(base) => (builder, base),
            other @ infra::cloud::docker::Endpoint::Https { .. } => panic!("{other}: tests need an engine without TLS"),
        };
        let proxy = Proxy { http: builder.build().unwrap(), base, seen: Arc::default() };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = format!("tcp://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(forward).with_state(proxy.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { proxy, host }
    }

    /// Makes the nth call from now on that changes something fail; `None` lets all pass.
    pub(crate) fn strike(&self, fault: Option<(usize, Fault)>) {
        *self.proxy.seen.lock().unwrap() = Seen { fault, ..Seen::default() };
    }

    /// Whether the call has come.
    pub(crate) fn has_struck(&self) -> bool {
        self.proxy.seen.lock().unwrap().struck
    }
}

/// Ends the connection without an answer: a task that unwinds takes it along, and says nothing.
fn reset() -> ! {
    std::panic::resume_unwind(Box::new("the connection is reset"))
}

async fn forward(
    State(proxy): State<Proxy>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes,
) -> Response<Body> {
    let fault = {
        let mut seen = proxy.seen.lock().unwrap();
        let number = seen.calls;
        seen.calls += usize::from(method != Method::GET);
        let fault = seen.fault.filter(|(nth, _)| method != Method::GET && *nth == number).map(|(_, fault)| fault);
        seen.struck |= fault.is_some();
        fault
    };
    let answer = |status: u16, body: Body| Response::builder().status(status).body(body).unwrap();
    let out_of_order = || Body::from(r#"{"message": "out of order"}"#);
    match fault {
        Some(Fault::Refuse(status)) => return answer(status, out_of_order()),
        Some(Fault::Reset) => reset(),
        _ => {}
    }
    let mut request = proxy.http.request(method, format!("{}{uri}", proxy.base)).body(body);
    for (name, value) in headers.iter().filter(|(name, _)| !matches!(name.as_str(), "host" | "content-length")) {
        request = request.header(name, value);
    }
    let Ok(answered) = request.send().await else { reset() };
    let status = answered.status().as_u16();
    let Ok(bytes) = answered.bytes().await else { reset() };
    match fault {
        Some(Fault::FailAfter) => return answer(500, out_of_order()),
        Some(Fault::LoseAnswer) => reset(),
        Some(Fault::Late) => tokio::time::sleep(Duration::from_secs(1)).await,
        _ => {}
    }
    answer(status, Body::from(bytes))
}
