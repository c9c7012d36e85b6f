//! The Docker Engine API, version 1.41 (Engine 20.10 and later): the calls that we need.
//!
//! Source: <https://docs.docker.com/reference/api/engine/version/v1.41/>.

mod containers;
mod images;
mod networks;
mod volumes;

use std::{fmt, path::PathBuf, time::Duration};

use bytes::Bytes;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

pub use self::{
    containers::{Container, ContainerDetails, ContainerState, CreateContainer},
    networks::{CreateNetwork, Network},
    volumes::Volume,
};

/// The API version in every path; engines refuse what they do not know and serve older versions for years.
const API: &str = "v1.41";
/// How long one call may take. Long ones (image import) set their own.
const CALL_TIMEOUT: Duration = Duration::from_mins(1);

/// What the engine answered instead of what was asked.
#[derive(Debug)]
pub enum DockerError {
    /// The engine refused: its status and its words.
    Refused {
        /// The HTTP status.
        status: StatusCode,
        /// The engine's message.
        message: String,
    },
    /// The engine could not be reached, or the connection broke.
    Unreachable(crate::error::Error),
}

impl DockerError {
    /// Whether the object does not exist.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { status, .. } if *status == StatusCode::NOT_FOUND)
    }

    /// Whether the object is in the way of another one, or already is as it should be.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Refused { status, .. } if *status == StatusCode::CONFLICT)
    }

    /// Whether the engine's words contain these.
    #[must_use]
    pub fn says(&self, words: &str) -> bool {
        matches!(self, Self::Refused { message, .. } if message.contains(words))
    }
}

impl fmt::Display for DockerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { status, message } => write!(f, "docker: {} ({})", message.trim(), status.as_u16()),
            Self::Unreachable(error) => write!(f, "docker: {error}"),
        }
    }
}

impl From<reqwest::Error> for DockerError {
    fn from(error: reqwest::Error) -> Self {
        Self::Unreachable(error.into())
    }
}

impl From<DockerError> for crate::error::Error {
    fn from(error: DockerError) -> Self {
        let text = error.to_string();
        match error {
            DockerError::Unreachable(_) => Self::new(text)
                .hint("`infra doctor` tells what is missing on this machine and the command that mends it"),
            DockerError::Refused { .. } => Self::new(text),
        }
    }
}

/// The result of a call.
pub type Result<T, E = DockerError> = std::result::Result<T, E>;

/// A client of one engine. Clones share its connections.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    base: String,
}

/// Where an engine listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// A Unix socket.
    Unix(PathBuf),
    /// Plain HTTP, as `http://127.0.0.1:2375`.
    Http(String),
}

impl Endpoint {
    /// Reads an address as `DOCKER_HOST` holds it; `None` means the usual socket.
    ///
    /// # Errors
    /// When the scheme is another one than `unix`, `tcp` or `http`.
    pub fn parse(host: Option<&str>) -> crate::error::Result<Self> {
        match host {
            None | Some("") => Ok(Self::Unix("/var/run/docker.sock".into())),
            Some(host) => match host.split_once("://") {
                Some(("unix", path)) => Ok(Self::Unix(path.into())),
                Some(("tcp" | "http", address)) => Ok(Self::Http(format!("http://{address}"))),
                _ => Err(crate::error::Error::usage(format!("`{host}` is not the address of a Docker Engine"))
                    .hint("write `unix:///path/to/docker.sock` or `tcp://host:port`")),
            },
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Http(base) => f.write_str(base),
        }
    }
}

/// What the engine is and can.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Info {
    /// The engine's own id, which it keeps for as long as its data.
    #[serde(rename = "ID", default)]
    pub id: String,
    /// `1` or `2`.
    #[serde(default)]
    pub cgroup_version: String,
    /// Where it keeps images and containers.
    #[serde(default)]
    pub docker_root_dir: String,
    /// The engine's version.
    pub server_version: String,
    /// Processors of the engine's machine.
    #[serde(rename = "NCPU")]
    pub ncpu: u32,
    /// Memory of the engine's machine, in bytes.
    pub mem_total: u64,
    /// Whether it can limit the processors of a container: an engine without root needs that delegated to it.
    #[serde(default)]
    pub cpu_cfs_quota: bool,
    /// Whether it can limit the memory of a container.
    #[serde(default)]
    pub memory_limit: bool,
    /// `apparmor`, `seccomp`, ...
    #[serde(default)]
    pub security_options: Vec<String>,
}

#[derive(Deserialize)]
struct Refusal {
    message: String,
}

impl Client {
    /// A client of the engine at this endpoint; nothing is sent yet.
    ///
    /// # Errors
    /// When the HTTP client cannot be built.
    pub fn new(endpoint: &Endpoint) -> crate::error::Result<Self> {
        let builder = reqwest::Client::builder().no_proxy().connect_timeout(Duration::from_secs(10));
        let (builder, base) = match endpoint {
            Endpoint::Unix(path) => (builder.unix_socket(path.clone()), "http://docker".to_owned()),
            Endpoint::Http(base) => (builder, base.clone()),
        };
        Ok(Self { http: builder.build()?, base })
    }

    /// What the engine is and can.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub async fn info(&self) -> Result<Info> {
        self.json(self.request(Method::GET, "/info")).await
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}/{API}{path}", self.base)).timeout(CALL_TIMEOUT)
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response> {
        let response = request.send().await?;
        let status = response.status();
        if status.is_success() || status == StatusCode::NOT_MODIFIED {
            return Ok(response);
        }
        let body = response.text().await?;
        let message = serde_json::from_str(&body).map_or(body, |refusal: Refusal| refusal.message);
        Err(DockerError::Refused { status, message })
    }

    async fn json<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T> {
        Ok(self.send(request).await?.json().await?)
    }

    async fn done(&self, request: RequestBuilder) -> Result<()> {
        self.send(request).await.map(drop)
    }

    /// Reads a stream of JSON messages, as builds and pulls send, to its end; an `error` in it is the call's error.
    async fn progress(&self, request: RequestBuilder, mut tell: impl FnMut(&str)) -> Result<()> {
        let mut response = self.send(request).await?;
        let mut buffer = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            buffer.extend_from_slice(&chunk);
            while let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = buffer.drain(..=end).collect();
                let Ok(message) = serde_json::from_slice::<Value>(&line) else { continue };
                if let Some(error) = message.get("error").and_then(Value::as_str) {
                    return Err(DockerError::Refused { status: StatusCode::BAD_GATEWAY, message: error.to_owned() });
                }
                if let Some(text) = message.get("stream").or_else(|| message.get("status")).and_then(Value::as_str) {
                    tell(text.trim());
                }
            }
        }
        Ok(())
    }
}

/// The `filters` query parameter that selects objects by a label.
fn label_filter(label: &str) -> String {
    serde_json::json!({ "label": [label] }).to_string()
}

/// Splits the engine's multiplexed stream of a container without a terminal into its output; stdout and stderr together.
fn demultiplex(mut stream: Bytes) -> String {
    let mut text = Vec::new();
    while stream.len() >= 8 {
        let header = stream.split_to(8);
        let length = u32::from_be_bytes([header[4], header[5], header[6], header[7]]) as usize;
        text.extend_from_slice(&stream.split_to(length.min(stream.len())));
    }
    String::from_utf8_lossy(&text).into_owned()
}
