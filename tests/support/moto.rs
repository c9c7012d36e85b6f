//! moto, a simulator of Amazon Web Services that was not written for this project, behind a proxy that counts calls and makes
//! some of them fail.

use std::{
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, Response, Uri},
};
use base64::Engine as _;
use infra::cloud::aws::{
    Client, Settings,
    credentials::Sources,
    ec2::{Address, InternetGateway, Listed, NatGateway, RouteTable, SecurityGroup, Subnet, Volume, Vpc},
};

use super::{aws_model, containers::Machines, repository};

/// The region of all tests.
pub(crate) const REGION: &str = "eu-central-1";

/// What goes wrong with a call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fault {
    /// The cloud is overloaded, and says so before anything is done.
    Throttle,
    /// The call is carried out, but its answer is lost.
    LoseAnswer,
    /// The call is refused.
    Refuse,
}

/// Decides about a call's fault, given its action.
type Faults = Box<dyn FnMut(&str) -> Option<Fault> + Send>;

#[derive(Default)]
struct Seen {
    actions: Vec<String>,
    /// Requests that the service model does not allow.
    mistakes: Vec<String>,
    faults: Option<Faults>,
    /// What makes machines real, and the range of the network that they are in.
    machines: Option<(Arc<dyn Machines>, String)>,
    /// The address of each machine that moto has given a public one, by that.
    public: Vec<(String, String)>,
}

#[derive(Clone)]
struct Proxy {
    target: String,
    http: reqwest::Client,
    seen: Arc<Mutex<Seen>>,
}

/// A moto of its own; it ends with the test.
pub(crate) struct Moto {
    child: Child,
    proxy: Proxy,
    /// The address that the program is given.
    pub(crate) endpoint: String,
    client: Client,
}

impl Moto {
    pub(crate) async fn start() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let program = repository().join("target/moto/bin/moto_server");
        assert!(program.exists(), "moto is not installed: `tests/moto.sh`");
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = Command::new(program)
            .args(["-H", "127.0.0.1", "-p", &port.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let target = format!("http://127.0.0.1:{port}");
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let begun = Instant::now();
        while http.get(format!("{target}/moto-api/data.json")).send().await.is_err() {
            assert!(begun.elapsed() < Duration::from_mins(1), "moto does not answer");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let proxy = Proxy { target: target.clone(), http, seen: Arc::default() };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(forward).with_state(proxy.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let settings = Settings { region: REGION.into(), endpoint: Some(target), ..Settings::default() };
        let variables = [("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test")];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let client = Client::new(settings, Sources { variables, ..Sources::default() }).unwrap();
        Self { child, proxy, endpoint, client }
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.proxy.seen.lock().unwrap()
    }

    pub(crate) fn faults(&self, faults: impl FnMut(&str) -> Option<Fault> + Send + 'static) {
        self.seen().faults = Some(Box::new(faults));
    }

    /// Machines are real from now on, in one network of this range.
    pub(crate) fn machines(&self, machines: Arc<dyn Machines>, range: &str) {
        self.seen().machines = Some((machines, range.to_owned()));
    }

    pub(crate) fn no_faults(&self) {
        self.seen().faults = None;
    }

    /// The actions that were asked for since the last time.
    pub(crate) fn actions(&self) -> Vec<String> {
        std::mem::take(&mut self.seen().actions)
    }

    /// Calls past the proxy, for what happens behind the program's back.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    async fn all<T: Listed>(&self) -> Vec<T> {
        self.client.list(&[]).await.unwrap()
    }

    /// How many objects of each kind the account has; what is terminated or deleted does not count.
    pub(crate) async fn count(&self) -> Vec<(&'static str, usize)> {
        let instances = self.client.instances(&[]).await.unwrap();
        let running =
            instances.iter().filter(|i| !matches!(i.instance_state.name.as_str(), "terminated" | "shutting-down"));
        let gateways = self.all::<NatGateway>().await;
        vec![
            ("networks", self.all::<Vpc>().await.len()),
            ("subnets", self.all::<Subnet>().await.len()),
            ("internet gateways", self.all::<InternetGateway>().await.len()),
            ("route tables", self.all::<RouteTable>().await.len()),
            ("security groups", self.all::<SecurityGroup>().await.len()),
            ("addresses", self.all::<Address>().await.len()),
            ("gateways", gateways.iter().filter(|gateway| gateway.state != "deleted").count()),
            ("volumes", self.all::<Volume>().await.len()),
            ("machines", running.count()),
        ]
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let mistakes = std::mem::take(&mut self.seen().mistakes);
            assert!(mistakes.is_empty(), "requests that the service model does not allow: {mistakes:#?}");
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Proxy {
    /// Makes and removes real machines as moto's come and go. A machine has the private address that moto gave it, and its
    /// public address is the same one, since moto's leads nowhere.
    fn real(&self, action: &str, request: &str, answer: String) -> String {
        let Some((machines, range)) = self.seen.lock().unwrap().machines.clone() else { return answer };
        let field = |name: &str| {
            let pairs = request.split('&').filter_map(|pair| pair.split_once('='));
            pairs.filter(|(key, _)| *key == name).map(|(_, value)| decode(value)).next()
        };
        let element = |text: &str, name: &str| {
            let (_, rest) = text.split_once(&format!("<{name}>"))?;
            Some(rest.split_once("</")?.0.to_owned())
        };
        match action {
            "RunInstances" => {
                let id = element(&answer, "instanceId").unwrap();
                let address = element(&answer, "privateIpAddress").unwrap();
                let user_data = field("UserData").unwrap_or_default();
                let user_data = base64::engine::general_purpose::STANDARD.decode(user_data).unwrap();
                let user_data = String::from_utf8(user_data).unwrap();
                machines.create(&id, &id, ("vpc", &range), Some(&address), &user_data);
            }
            "TerminateInstances" => machines.delete(&field("InstanceId.1").unwrap()),
            "DeleteVpc" => machines.delete_subnet("vpc"),
            _ => {}
        }
        let mut seen = self.seen.lock().unwrap();
        for part in answer.split("<instanceId>").skip(1) {
            if let (Some(private), Some(public)) = (element(part, "privateIpAddress"), element(part, "ipAddress"))
                && private != public
            {
                seen.public.push((public, private));
            }
        }
        seen.public.iter().fold(answer, |text, (public, private)| {
            text.replace(&format!("<ipAddress>{public}</ipAddress>"), &format!("<ipAddress>{private}</ipAddress>"))
        })
    }
}

/// Undoes percent-encoding.
fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first == b'%' && rest.len() >= 2 {
            bytes.push(u8::from_str_radix(std::str::from_utf8(&rest[..2]).unwrap(), 16).unwrap());
            rest = &rest[2..];
        } else {
            bytes.push(*first);
        }
    }
    String::from_utf8(bytes).unwrap()
}

async fn forward(State(proxy): State<Proxy>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response<Body> {
    let text = String::from_utf8_lossy(&body).into_owned();
    let action = text.split('&').find_map(|pair| pair.strip_prefix("Action=")).unwrap_or_default().to_owned();
    let action = headers
        .get("x-amz-target")
        .and_then(|target| target.to_str().ok()?.rsplit_once('.'))
        .map_or(action, |(_, action)| action.to_owned());
    let fault = {
        let mut seen = proxy.seen.lock().unwrap();
        seen.actions.push(action.clone());
        if uri.path() == "/" && headers.get("x-amz-target").is_none() {
            let pairs: Vec<(String, String)> = text
                .split('&')
                .filter_map(|pair| pair.split_once('='))
                .map(|(name, value)| (name.to_owned(), decode(value)))
                .collect();
            seen.mistakes.extend(aws_model::check(&pairs));
        }
        seen.faults.as_mut().and_then(|faults| faults(&action))
    };
    let refuse = |status: u16, code: &str| {
        let body = format!(
            "<Response><Errors><Error><Code>{code}</Code><Message>out of order</Message></Error></Errors>\
             <RequestID>simulated</RequestID></Response>"
        );
        Response::builder().status(status).body(Body::from(body)).unwrap()
    };
    match fault {
        Some(Fault::Throttle) => return refuse(503, "RequestLimitExceeded"),
        Some(Fault::Refuse) => return refuse(400, "UnauthorizedOperation"),
        _ => {}
    }
    let mut request = proxy.http.post(format!("{}{}", proxy.target, uri.path())).body(body);
    for (name, value) in headers.iter().filter(|(name, _)| !matches!(name.as_str(), "host" | "content-length")) {
        request = request.header(name, value);
    }
    let answer = request.send().await.unwrap();
    let (status, mut bytes) = (answer.status().as_u16(), answer.bytes().await.unwrap());
    if status == 200 && headers.get("x-amz-target").is_none() {
        let answer = String::from_utf8_lossy(&bytes).into_owned();
        let proxy = proxy.clone();
        // What runs real machines may take its time: not on a thread that serves others.
        bytes = tokio::task::spawn_blocking(move || Bytes::from(proxy.real(&action, &text, answer))).await.unwrap();
    }
    if fault == Some(Fault::LoseAnswer) {
        return Response::builder().status(502).body(Body::from("<html>bad gateway")).unwrap();
    }
    Response::builder().status(status).body(Body::from(bytes)).unwrap()
}
