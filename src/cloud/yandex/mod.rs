//! The REST API of Yandex Cloud: the calls that we need.
//!
//! Names and paths follow the service descriptors (<https://github.com/yandex-cloud/cloudapi>); the rules of retries,
//! idempotency and operations follow <https://yandex.cloud/en/docs/api-design-guide/>.

pub mod auth;
mod calls;
mod objects;
mod operation;
mod refusal;
mod section;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use reqwest::{Method, Response};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::{
    sync::{OnceCell, Semaphore},
    time::Instant,
};

use self::refusal::{code, refusal};
pub use self::{
    auth::Credentials,
    calls::*,
    objects::*,
    operation::{Operation, noticed},
    refusal::{Refusal, Status, YandexError},
    section::{DESCRIPTOR, YandexSettings},
};
use super::retry::{Attempts, retry_after};
use crate::{error::Error, event, secret::Secret};

/// The address that lists those of all services.
pub const ENDPOINT: &str = "https://api.cloud.yandex.net";
/// How long a call is tried again when the cloud is overloaded or cannot be reached.
const BUDGET: Duration = Duration::from_mins(5);
/// How long a call waits for the operations that are in its way.
const CONFLICTS: Duration = Duration::from_mins(30);
/// How many operations on disks, machines and groups a folder may have at a time.
const COMPUTE_OPERATIONS: usize = 15;

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

/// The result of a call.
pub type Result<T, E = YandexError> = std::result::Result<T, E>;

/// How a client reaches the cloud.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The address that lists those of all services, with its scheme; without it [`ENDPOINT`].
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

    /// The address of a service: from the settings, or as the cloud says.
    async fn base(&self, service: Service) -> Result<String> {
        let settings = &self.0.settings;
        if let Some(base) = settings.endpoints.get(service.id()) {
            return Ok(base.trim_end_matches('/').to_owned());
        }
        let found = event::waiting("the addresses of the cloud's services", self.discovered()).await?;
        found.get(service.id()).cloned().ok_or_else(|| {
            Error::new(format!("yandex: the cloud does not say where the service `{}` is", service.id()))
                .hint(format!("name its address in the file: `yandex.endpoints.{}`", service.id()))
                .into()
        })
    }

    /// Where the services are, as the cloud says: asked for once.
    async fn discovered(&self) -> Result<&BTreeMap<String, String>> {
        self.0.discovered.get_or_try_init(|| self.discover()).await
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
            let (error, asked) = match self.0.http.get(format!("{endpoint}/endpoints")).send().await {
                Ok(response) if response.status().is_success() => {
                    let list: Endpoints = response.json().await.map_err(Error::from)?;
                    let pairs = list.endpoints.into_iter().map(|one| (one.id, format!("{scheme}://{}", one.address)));
                    return Ok(pairs.collect());
                }
                Ok(response) => {
                    let asked = retry_after(response.headers());
                    let refused = refusal(response).await;
                    if !refused.is_transient() {
                        return Err(YandexError::Refused(refused));
                    }
                    (Error::from(refused), asked)
                }
                Err(error) => {
                    attempts.failed(&error);
                    (Error::from(error), None)
                }
            };
            if !attempts.pause(format!("`{endpoint}` to say where its services are ({error})"), asked).await {
                return Err(error.context(format!("yandex: `{endpoint}` does not answer")).into());
            }
        }
    }

    /// Sends a call, again where that can help, and gives the body of the answer.
    async fn send(&self, request: Request) -> Result<Value> {
        let base = self.base(request.service).await?;
        let mut attempts = Attempts::within(BUDGET);
        let begun = Instant::now();
        let mut refused_token: Option<Secret> = None;
        // Whether an attempt may have been carried out although no answer said so.
        let mut doubtful = false;
        loop {
            let iam = self.base(Service::Iam).await?;
            let token = self.0.tokens.get(&self.0.http, &iam, refused_token.as_ref()).await?;
            let (error, asked) = match self.attempt(&base, &request, &token).await {
                Ok(response) if response.status().is_success() => match response.json().await {
                    Ok(value) => return Ok(value),
                    Err(error) => {
                        doubtful = true;
                        (YandexError::Other(error.into()), None)
                    }
                },
                Ok(response) => {
                    let asked = retry_after(response.headers());
                    let refusal = refusal(response).await;
                    if refusal.code == code::UNAUTHENTICATED && refused_token.is_none() {
                        refused_token = Some(token);
                        continue;
                    }
                    if let Some(other) = refusal.conflicting().map(str::to_owned) {
                        // The other operation ends in some way; then this call has its turn, and still all of its time.
                        let asked = Instant::now();
                        let _ =
                            Box::pin(self.poll(&other, "in the way", CONFLICTS.saturating_sub(begun.elapsed()))).await;
                        attempts.extend(asked.elapsed());
                    } else if !refusal.is_transient() {
                        let untouched = !doubtful && (400..500).contains(&refusal.status);
                        return Err(YandexError::Refused(Refusal { untouched, ..refusal }));
                    }
                    doubtful |= refusal.status >= 500;
                    (YandexError::Refused(refusal), asked)
                }
                Err(error) => {
                    doubtful |= !error.is_connect();
                    attempts.failed(&error);
                    (YandexError::Other(Error::from(error).context("yandex")), None)
                }
            };
            if !attempts.pause(format!("the cloud to take the call again ({error})"), asked).await {
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
}
