//! The REST API of Yandex Cloud: the calls that we need.
//!
//! Names and paths follow the service descriptors (<https://github.com/yandex-cloud/cloudapi>); the rules of retries,
//! idempotency and operations follow <https://yandex.cloud/en/docs/api-design-guide/>.

pub mod auth;
mod calls;
mod objects;

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use reqwest::{Method, Response, StatusCode};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::{
    sync::{OnceCell, Semaphore},
    time::Instant,
};

pub use self::{auth::Credentials, calls::*, objects::*};
use super::retry::{Attempts, retry_after};
use crate::{error::Error, secret::Secret};

/// The address that tells those of all services.
pub const ENDPOINT: &str = "https://api.cloud.yandex.net";
/// How long a call is tried again when the cloud is overloaded or cannot be reached.
const BUDGET: Duration = Duration::from_mins(5);
/// How often an operation is asked for, unless the server says otherwise.
const POLL: Duration = Duration::from_secs(1);
/// An operation is not asked for more often than this, whatever the server says.
const LEAST_POLL: Duration = Duration::from_millis(50);
/// How many operations on disks, machines and groups a folder may have at a time.
const COMPUTE_OPERATIONS: usize = 15;
/// How often the id of a fresh operation may be unknown: the services agree with each other after a while.
const FORGIVEN: u32 = 5;

/// A service, with its id in the list of endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Service {
    /// Identities and tokens.
    Iam,
    /// Clouds and folders.
    ResourceManager,
    /// Networks.
    Vpc,
    /// Machines, disks, images and instance groups.
    Compute,
    /// Network load balancers.
    LoadBalancer,
    /// Managed databases.
    ManagedPostgresql,
    /// Names.
    Dns,
    /// Registries of container images.
    ContainerRegistry,
    /// Operations of all services.
    Operation,
    /// Quotas.
    QuotaManager,
}

impl Service {
    /// Its id in the list of endpoints and in the settings.
    #[must_use]
    pub fn id(self) -> &'static str {
        match self {
            Self::Iam => "iam",
            Self::ResourceManager => "resource-manager",
            Self::Vpc => "vpc",
            Self::Compute => "compute",
            Self::LoadBalancer => "load-balancer",
            Self::ManagedPostgresql => "managed-postgresql",
            Self::Dns => "dns",
            Self::ContainerRegistry => "container-registry",
            Self::Operation => "operation",
            Self::QuotaManager => "quota-manager",
        }
    }
}

/// What the cloud answered instead of what was asked.
#[derive(Clone, Debug, Default)]
pub struct Refusal {
    /// The code of `google.rpc.Code`; 0 when the answer was not the cloud's own.
    pub code: i64,
    /// The HTTP status; 0 for the end of an operation.
    pub status: u16,
    /// The cloud's words.
    pub message: String,
    /// The id that the cloud's support asks for.
    pub request_id: Option<String>,
    /// The operation that ended in this error, and whether it had ended when it was first heard of.
    pub operation: Option<(String, bool)>,
}

/// The codes of `google.rpc.Code` that we tell apart.
mod code {
    pub(super) const INVALID_ARGUMENT: i64 = 3;
    pub(super) const NOT_FOUND: i64 = 5;
    pub(super) const ALREADY_EXISTS: i64 = 6;
    pub(super) const PERMISSION_DENIED: i64 = 7;
    pub(super) const RESOURCE_EXHAUSTED: i64 = 8;
    pub(super) const FAILED_PRECONDITION: i64 = 9;
    pub(super) const ABORTED: i64 = 10;
    pub(super) const UNAVAILABLE: i64 = 14;
    pub(super) const UNAUTHENTICATED: i64 = 16;
}

impl Refusal {
    /// Whether a quota is used up: waiting does not help.
    fn is_quota(&self) -> bool {
        self.code == code::RESOURCE_EXHAUSTED && self.message.contains("Quota limit")
    }

    /// The operation that is in the way, when one is.
    fn conflicting(&self) -> Option<&str> {
        let words = self.message.to_ascii_lowercase();
        if self.code != code::FAILED_PRECONDITION || !words.contains("conflicting operation") {
            return None;
        }
        let at = words.find("conflicting operation")? + "conflicting operation".len();
        self.message[at..]
            .split(|c: char| !c.is_ascii_alphanumeric())
            .find(|word| !word.is_empty() && *word != "detected")
    }

    /// Whether the same call may succeed later. Every call that changes something carries a key, so that none is carried
    /// out twice.
    fn is_transient(&self) -> bool {
        match self.code {
            code::RESOURCE_EXHAUSTED => !self.is_quota(),
            code::ABORTED | code::UNAVAILABLE => true,
            _ => self.status == 429 || self.status >= 500,
        }
    }
}

/// Why a call failed.
#[derive(Debug)]
pub enum YandexError {
    /// The cloud refused.
    Refused(Refusal),
    /// The cloud could not be reached, or credentials could not be had.
    Other(Error),
}

impl YandexError {
    fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            Self::Other(_) => None,
        }
    }

    /// Whether the object does not exist.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.refusal().is_some_and(|refusal| refusal.code == code::NOT_FOUND)
    }

    /// The operation that ended in this error before we had to wait for it: the answer to a key that was used before.
    #[must_use]
    pub fn failed_before(&self) -> Option<&str> {
        self.refusal()?.operation.as_ref().filter(|(_, at_once)| *at_once).map(|(id, _)| id.as_str())
    }

    /// Whether an operation ended in this error: the cloud has undone what it had begun.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.refusal().is_some_and(|refusal| refusal.operation.is_some())
    }

    /// Whether something else still uses the object.
    #[must_use]
    pub fn is_in_use(&self) -> bool {
        self.refusal().is_some_and(|refusal| refusal.code == code::FAILED_PRECONDITION)
    }

    /// Whether an object of that name exists.
    #[must_use]
    pub fn already_exists(&self) -> bool {
        self.refusal().is_some_and(|refusal| refusal.code == code::ALREADY_EXISTS)
    }
}

impl fmt::Display for YandexError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => {
                write!(f, "yandex: {}", refusal.message.trim())?;
                match &refusal.request_id {
                    Some(id) => write!(f, " (request {id})"),
                    None => Ok(()),
                }
            }
            Self::Other(error) => write!(f, "{error}"),
        }
    }
}

impl From<Error> for YandexError {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        YandexError::Refused(refusal).into()
    }
}

impl From<YandexError> for Error {
    fn from(error: YandexError) -> Self {
        let text = error.to_string();
        let refusal = match error {
            YandexError::Other(error) => return error,
            YandexError::Refused(refusal) => refusal,
        };
        let hint = match refusal.code {
            _ if refusal.is_quota() => {
                let quota = refusal.message.split_whitespace().find(|word| word.contains('.')).unwrap_or("it");
                format!("ask for more in the console (Quotas), or remove what uses it up: `{quota}`")
            }
            code::PERMISSION_DENIED => {
                "the caller needs the role `editor` on the folder, `vpc.publicAdmin` for public \
                                        addresses and `resource-manager.admin` for role bindings"
                    .to_owned()
            }
            code::UNAUTHENTICATED => {
                "the credentials are not accepted: see `yandex.service_account_key_file` and YC_TOKEN".to_owned()
            }
            code::INVALID_ARGUMENT => "`infra doctor --provider yandex` checks what the file asks for".to_owned(),
            _ => return Self::new(text),
        };
        Self::new(text).hint(hint)
    }
}

/// The result of a call.
pub type Result<T, E = YandexError> = std::result::Result<T, E>;

/// How a client reaches the cloud.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The address that tells those of all services, with its scheme; without it [`ENDPOINT`].
    pub endpoint: Option<String>,
    /// Addresses of single services, by [`Service::id`].
    pub endpoints: BTreeMap<String, String>,
}

/// A client. Clones share its connections, its token and its limits.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    http: reqwest::Client,
    settings: Settings,
    tokens: auth::Tokens,
    discovered: OnceCell<BTreeMap<String, String>>,
    compute: Semaphore,
}

/// A call before it is sent.
#[derive(Clone, Debug)]
struct Request {
    method: Method,
    service: Service,
    path: String,
    query: Vec<(&'static str, String)>,
    body: Option<Value>,
    /// The key under which the cloud remembers the call: the same for every attempt.
    key: Option<String>,
}

/// An operation: what a call that changes something begins.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Operation {
    /// Its id.
    pub id: String,
    /// Whether it has ended.
    pub done: bool,
    /// Ids of what it works on, known from the beginning.
    pub metadata: Value,
    /// Why it failed.
    pub error: Option<Status>,
    /// What it has made.
    pub response: Value,
}

impl Operation {
    /// An id from the metadata.
    #[must_use]
    pub fn id_of(&self, field: &str) -> Option<&str> {
        self.metadata.get(field)?.as_str()
    }
}

/// `google.rpc.Status`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Status {
    /// The code.
    pub code: i64,
    /// The words.
    pub message: String,
    /// More, such as the request's id.
    pub details: Vec<Value>,
}

impl Status {
    fn refusal(self, status: u16) -> Refusal {
        let request_id = self.details.iter().find_map(|detail| detail.get("requestId")?.as_str().map(str::to_owned));
        let violations: Vec<String> = self
            .details
            .iter()
            .filter_map(|detail| detail.get("fieldViolations")?.as_array())
            .flatten()
            .map(|violation| {
                let text = |field: &str| violation.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
                format!("{}: {}", text("field"), text("description"))
            })
            .collect();
        let message =
            if violations.is_empty() { self.message } else { format!("{} ({})", self.message, violations.join("; ")) };
        Refusal { code: self.code, status, message, request_id, operation: None }
    }
}

/// Reads a refusal leniently: gateways on the way answer with pages of their own.
async fn refusal(response: Response) -> Refusal {
    let status = response.status();
    let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let request_id = header("x-request-id").or_else(|| header("x-server-trace-id"));
    let body = response.text().await.unwrap_or_default();
    let mut refusal = match serde_json::from_str::<Status>(&body) {
        Ok(answer) if answer.code != 0 || !answer.message.is_empty() => answer.refusal(status.as_u16()),
        _ => Refusal { status: status.as_u16(), message: format!("the answer was {status}"), ..Refusal::default() },
    };
    if refusal.code == 0 && status == StatusCode::UNAUTHORIZED {
        refusal.code = code::UNAUTHENTICATED;
    }
    refusal.request_id = refusal.request_id.or(request_id);
    refusal
}

impl Client {
    /// A client; nothing is sent yet.
    ///
    /// # Errors
    /// When the HTTP client cannot be built.
    pub fn new(settings: Settings, credentials: Credentials) -> crate::error::Result<Self> {
        let http = super::http()?;
        Ok(Self(Arc::new(Inner {
            http,
            settings,
            tokens: auth::Tokens::new(credentials),
            discovered: OnceCell::new(),
            compute: Semaphore::new(COMPUTE_OPERATIONS),
        })))
    }

    /// The address of a service: from the settings, or as the cloud tells it.
    async fn base(&self, service: Service) -> Result<String> {
        let settings = &self.0.settings;
        if let Some(base) = settings.endpoints.get(service.id()) {
            return Ok(base.trim_end_matches('/').to_owned());
        }
        let found = self.0.discovered.get_or_try_init(|| self.discover()).await?;
        found.get(service.id()).cloned().ok_or_else(|| {
            Error::new(format!("yandex: the cloud does not tell where the service `{}` is", service.id()))
                .hint(format!("name its address in the file: `yandex.endpoints.{}`", service.id()))
                .into()
        })
    }

    async fn discover(&self) -> Result<BTreeMap<String, String>> {
        #[derive(Deserialize)]
        struct Endpoints {
            endpoints: Vec<Endpoint>,
        }
        #[derive(Deserialize)]
        struct Endpoint {
            id: String,
            address: String,
        }
        let endpoint = self.0.settings.endpoint.as_deref().unwrap_or(ENDPOINT).trim_end_matches('/');
        // The addresses are told without a scheme: it is the one that they were asked with.
        let scheme = endpoint.split_once("://").map_or("https", |(scheme, _)| scheme);
        let mut attempts = Attempts::within(BUDGET);
        loop {
            let error = match self.0.http.get(format!("{endpoint}/endpoints")).send().await {
                Ok(response) if response.status().is_success() => {
                    let list: Endpoints = response.json().await.map_err(Error::from)?;
                    let pairs = list.endpoints.into_iter().map(|one| (one.id, format!("{scheme}://{}", one.address)));
                    return Ok(pairs.collect());
                }
                Ok(response) => {
                    let refused = refusal(response).await;
                    if !refused.is_transient() {
                        return Err(YandexError::Refused(refused));
                    }
                    Error::from(refused)
                }
                Err(error) => Error::from(error),
            };
            if !attempts.pause(None).await {
                return Err(error.context(format!("yandex: `{endpoint}` does not answer")).into());
            }
        }
    }

    /// Sends a call, again where that can help, and gives the body of the answer.
    async fn send(&self, request: Request) -> Result<Value> {
        let base = self.base(request.service).await?;
        let mut attempts = Attempts::within(BUDGET);
        let mut refused_token: Option<Secret> = None;
        loop {
            let iam = self.base(Service::Iam).await?;
            let token = self.0.tokens.get(&self.0.http, &iam, refused_token.as_ref()).await?;
            let (error, asked) = match self.attempt(&base, &request, &token).await {
                Ok(response) if response.status().is_success() => match response.json().await {
                    Ok(value) => return Ok(value),
                    Err(error) => (YandexError::Other(error.into()), None),
                },
                Ok(response) => {
                    let asked = retry_after(response.headers());
                    let refusal = refusal(response).await;
                    if refusal.code == code::UNAUTHENTICATED && refused_token.is_none() {
                        refused_token = Some(token);
                        continue;
                    }
                    if let Some(other) = refusal.conflicting().map(str::to_owned) {
                        // The other operation ends in some way; then this call has its turn.
                        let _ = Box::pin(self.poll(&other, Duration::from_mins(30))).await;
                    } else if !refusal.is_transient() {
                        return Err(YandexError::Refused(refusal));
                    }
                    (YandexError::Refused(refusal), asked)
                }
                Err(error) => (YandexError::Other(Error::from(error).context("yandex")), None),
            };
            if !attempts.pause(asked).await {
                return Err(error);
            }
        }
    }

    async fn attempt(&self, base: &str, request: &Request, token: &Secret) -> reqwest::Result<Response> {
        let mut call = self.0.http.request(request.method.clone(), format!("{base}{}", request.path));
        call = call.bearer_auth(token.expose()).query(&request.query);
        if let Some(key) = &request.key {
            call = call.header("Idempotency-Key", key);
        }
        if let Some(body) = &request.body {
            call = call.json(body);
        }
        call.send().await
    }

    async fn get<T: DeserializeOwned>(
        &self, service: Service, path: String, query: Vec<(&'static str, String)>,
    ) -> Result<T> {
        let request = Request { method: Method::GET, service, path, query, body: None, key: None };
        let value = self.send(request).await?;
        Ok(serde_json::from_value(value)
            .map_err(|error| Error::from(error).context("yandex: an answer of another form"))?)
    }

    /// All pages of a list.
    async fn pages<T: DeserializeOwned>(
        &self, service: Service, path: &str, key: &str, query: &[(&'static str, String)],
    ) -> Result<Vec<T>> {
        let mut all = Vec::new();
        let mut token = String::new();
        loop {
            let mut query = query.to_vec();
            query.push(("pageSize", "1000".to_owned()));
            if !token.is_empty() {
                query.push(("pageToken", token));
            }
            let mut page: Value = self.get(service, path.to_owned(), query).await?;
            let items = page.get_mut(key).map_or(Value::Array(Vec::new()), Value::take);
            let items: Vec<T> = serde_json::from_value(items)
                .map_err(|error| Error::from(error).context(format!("yandex: `{key}` has another form")))?;
            all.extend(items);
            token = page.get("nextPageToken").and_then(Value::as_str).unwrap_or_default().to_owned();
            if token.is_empty() {
                return Ok(all);
            }
        }
    }

    /// Sends a call that begins an operation, and waits for its end. Operations on machines and disks wait for their turn.
    async fn operate(&self, request: Request, deadline: Duration) -> Result<Operation> {
        let _turn = match request.service {
            Service::Compute => self.0.compute.acquire().await.ok(),
            _ => None,
        };
        let started = self.send(request).await?;
        let operation: Operation = serde_json::from_value(started)
            .map_err(|error| Error::from(error).context("yandex: an operation of another form"))?;
        let at_once = operation.done;
        let ended = if at_once { operation } else { self.poll(&operation.id, deadline).await? };
        match ended.error {
            Some(status) => {
                let operation = Some((ended.id, at_once));
                Err(YandexError::Refused(Refusal { operation, ..status.refusal(0) }))
            }
            None => Ok(ended),
        }
    }

    /// Asks for an operation until it has ended.
    async fn poll(&self, id: &str, deadline: Duration) -> Result<Operation> {
        let base = self.base(Service::Operation).await?;
        let end = Instant::now() + deadline;
        let mut unknown = 0;
        loop {
            let iam = self.base(Service::Iam).await?;
            let token = self.0.tokens.get(&self.0.http, &iam, None).await?;
            let request = Request {
                method: Method::GET,
                service: Service::Operation,
                path: format!("/operations/{id}"),
                query: Vec::new(),
                body: None,
                key: None,
            };
            let mut pause = POLL;
            match self.attempt(&base, &request, &token).await {
                Ok(response) if response.status().is_success() => {
                    let hint = response.headers().get("x-operation-poll-interval");
                    let hint = hint.and_then(|value| value.to_str().ok()?.trim().parse().ok());
                    pause = hint.map_or(POLL, Duration::from_secs).max(LEAST_POLL);
                    // An operation may have failed and still be rolling back: it has ended when it says so.
                    match response.json::<Operation>().await {
                        Ok(operation) if operation.done => return Ok(operation),
                        _ => {}
                    }
                }
                Ok(response) => {
                    let asked = retry_after(response.headers());
                    let refusal = refusal(response).await;
                    match refusal.code {
                        code::NOT_FOUND if unknown < FORGIVEN => unknown += 1,
                        code::UNAUTHENTICATED => {
                            self.0.tokens.get(&self.0.http, &iam, Some(&token)).await?;
                        }
                        _ if !refusal.is_transient() => return Err(YandexError::Refused(refusal)),
                        _ => {}
                    }
                    pause = asked.unwrap_or(pause);
                }
                // A broken connection says nothing about the operation.
                Err(_) => {}
            }
            if Instant::now() + pause > end {
                return Err(Error::new(format!("yandex: the operation {id} has not ended within {deadline:?}"))
                    .hint("it may end later: run the same command again, which goes on from what it finds")
                    .into());
            }
            tokio::time::sleep(pause).await;
        }
    }
}

/// The key of a call: a UUID that is made of a token and of what is done with it, so that the same intent has the same key
/// after a crash.
#[must_use]
pub fn idempotency_key(token: &str, purpose: &str) -> String {
    use sha2::{Digest, Sha256};
    let digest = Sha256::digest(format!("{purpose}/{token}"));
    let mut bytes: [u8; 16] = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    // The version and the variant of a random UUID (RFC 9562, section 5.4).
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let hex = crate::identity::hex(&bytes);
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

#[cfg(test)]
mod tests {
    use super::{Refusal, idempotency_key};

    fn refusal(code: i64, message: &str) -> Refusal {
        Refusal { code, message: message.to_owned(), ..Refusal::default() }
    }

    #[test]
    fn keys_are_uuids_and_stable() {
        let key = idempotency_key("abc", "create");
        assert_eq!(key, idempotency_key("abc", "create"));
        assert_ne!(key, idempotency_key("abc", "attach"));
        assert_eq!((key.len(), &key[14..15]), (36, "4"));
    }

    #[test]
    fn refusals_are_told_apart() {
        assert!(!refusal(8, "Quota limit vpc.networks.count exceeded").is_transient());
        assert!(refusal(8, "The limit on maximum number of active operations has exceeded.").is_transient());
        assert_eq!(refusal(9, "conflicting operation \"c9q1\" detected").conflicting(), Some("c9q1"));
        assert_eq!(refusal(9, "Conflicting operation c9q2 detected").conflicting(), Some("c9q2"));
        assert_eq!(refusal(9, "the network is not empty").conflicting(), None);
    }
}
