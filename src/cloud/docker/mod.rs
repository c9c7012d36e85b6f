//! The Docker Engine API, version 1.41 (Engine 20.10 and later): the calls that we need.
//!
//! Source: <https://docs.docker.com/reference/api/engine/version/v1.41/>.

mod containers;
mod endpoint;
mod images;
mod networks;
mod section;
mod volumes;

use std::{
    fmt, io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use reqwest::{Certificate, Identity, Method, RequestBuilder, Response, StatusCode};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use super::retry::Attempts;
use crate::error::Context as _;

pub use self::{
    containers::{Container, ContainerDetails, ContainerState, CreateContainer, Limits},
    endpoint::{Endpoint, Variables},
    networks::{CreateNetwork, Network},
    section::{DESCRIPTOR, DockerSettings},
    volumes::Volume,
};

/// The API version in every path; engines refuse what they do not know and serve older versions for years.
const API: &str = "v1.41";
/// How long one call may take. Long ones (image import) set their own.
const CALL_TIMEOUT: Duration = Duration::from_mins(1);
/// How long an engine that refuses connections is waited for: one that restarts is back after some seconds.
const RESTART: Duration = Duration::from_secs(20);
/// The same for one that has not answered this process yet, and so may not run at all.
const FIRST_ANSWER: Duration = Duration::from_secs(3);
/// The pause between two attempts to connect.
const PAUSE: Duration = Duration::from_millis(200);

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
            Self::Unreachable(error) => write!(f, "{error}"),
        }
    }
}

impl From<reqwest::Error> for DockerError {
    fn from(error: reqwest::Error) -> Self {
        Self::Unreachable(crate::error::Error::from(error).at("docker"))
    }
}

impl From<DockerError> for crate::error::Error {
    fn from(error: DockerError) -> Self {
        match error {
            DockerError::Unreachable(error) => {
                error.hint("`infra doctor` says what is missing on this machine and the command that fixes it")
            }
            DockerError::Refused { .. } => Self::new(error.to_string()),
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
    /// The engine's address, for messages.
    address: String,
    /// Whether it has answered this process before.
    answered: Arc<AtomicBool>,
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
        // Nothing is trusted where nothing is encrypted: a machine without certificates reaches its engine too.
        let nothing = || {
            let roots = rustls::RootCertStore::empty();
            rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth()
        };
        let (builder, base) = match endpoint {
            Endpoint::Unix(path) => {
                let builder = builder.unix_socket(path.clone()).tls_backend_preconfigured(nothing());
                (builder, "http://docker".to_owned())
            }
            Endpoint::Http(base) => (builder.tls_backend_preconfigured(nothing()), base.clone()),
            Endpoint::Https { base, certificates } => {
                let (authorities, identity) = client_certificates(certificates)?;
                (builder.tls_certs_only(authorities).identity(identity), base.clone())
            }
        };
        Ok(Self { http: builder.build()?, base, address: endpoint.address(), answered: Arc::default() })
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
        let response = self.answer(request).await?;
        self.answered.store(true, Ordering::Relaxed);
        let status = response.status();
        if status.is_success() || status == StatusCode::NOT_MODIFIED {
            return Ok(response);
        }
        let body = response.text().await?;
        let message = serde_json::from_str(&body).map_or(body, |refusal: Refusal| refusal.message);
        Err(DockerError::Refused { status, message })
    }

    /// Sends a request. A connection that is refused carried nothing, so that any request can be sent again; one that breaks
    /// leaves it open what was done, so that only questions are asked again.
    async fn answer(&self, request: RequestBuilder) -> Result<Response> {
        let request = request.build()?;
        let mut attempts: Option<Attempts> = None;
        loop {
            let Some(copy) = request.try_clone() else {
                return self.http.execute(request).await.map_err(|error| self.unreachable(error));
            };
            let error = match self.http.execute(copy).await {
                Ok(response) => return Ok(response),
                Err(error) => error,
            };
            let answered = self.answered.load(Ordering::Relaxed);
            let may_pass = match connect_error(&error) {
                Some(io::ErrorKind::ConnectionRefused) => true,
                // The socket of an engine that restarts is gone for a moment.
                Some(io::ErrorKind::NotFound) => answered,
                Some(_) => false,
                None => answered && request.method() == Method::GET && !error.is_timeout() && !error.is_builder(),
            };
            let patience = if answered { RESTART } else { FIRST_ANSWER };
            let attempts = attempts.get_or_insert_with(|| Attempts::within(patience));
            if !may_pass || !attempts.pause(format!("Docker at {} to answer", self.address), Some(PAUSE)).await {
                return Err(self.unreachable(error));
            }
        }
    }

    /// The one sentence about an engine that does not answer.
    fn unreachable(&self, error: reqwest::Error) -> DockerError {
        let why = match connect_error(&error) {
            Some(io::ErrorKind::PermissionDenied) => "permission denied (are you in the group `docker`?)",
            Some(io::ErrorKind::NotFound) => "there is no such socket (is Docker installed, and running?)",
            Some(io::ErrorKind::ConnectionRefused) => "the connection is refused (is Docker running?)",
            _ => {
                return DockerError::Unreachable(
                    crate::error::Error::from(error).context(format!("no answer from Docker at {}", self.address)),
                );
            }
        };
        DockerError::Unreachable(crate::error::Error::new(format!(
            "cannot connect to Docker at {}: {why}",
            self.address
        )))
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

/// Why a connection could not be made, when it could not.
fn connect_error(error: &reqwest::Error) -> Option<io::ErrorKind> {
    if !error.is_connect() {
        return None;
    }
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        if let Some(io) = inner.downcast_ref::<io::Error>() {
            return Some(io.kind());
        }
        source = inner.source();
    }
    Some(io::ErrorKind::Other)
}

/// Whom a client trusts, and how it proves who it is: the files that Docker's own client uses.
fn client_certificates(folder: &Path) -> crate::error::Result<(Vec<Certificate>, Identity)> {
    let read = |name: &str| {
        let path = folder.join(name);
        std::fs::read(&path)
            .context(|| format!("cannot read `{}`", path.display()))
            .map_err(|error| error.hint("`DOCKER_CERT_PATH` is the folder of `ca.pem`, `cert.pem` and `key.pem`"))
    };
    let unusable = || format!("the certificates in `{}` cannot be used", folder.display());
    let authorities = Certificate::from_pem_bundle(&read("ca.pem")?).context(unusable)?;
    let pair = [read("cert.pem")?, b"\n".to_vec(), read("key.pem")?].concat();
    Ok((authorities, Identity::from_pem(&pair).context(unusable)?))
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

#[cfg(test)]
mod tests {
    use std::{path::Path, sync::Arc, time::Duration};

    use axum::{Json, Router, routing::get};
    use rcgen::{
        BasicConstraints, CertificateParams, DistinguishedName, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    };
    use rustls::{RootCertStore, pki_types::PrivateKeyDer, server::WebPkiClientVerifier};
    use serde_json::json;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::{Client, DockerError, Endpoint};

    fn info() -> serde_json::Value {
        json!({ "ServerVersion": "20.10", "NCPU": 2, "MemTotal": 1024 })
    }

    fn client(socket: &Path) -> Client {
        let _ = rustls::crypto::ring::default_provider().install_default();
        Client::new(&Endpoint::Unix(socket.to_owned())).unwrap()
    }

    fn serve(socket: &Path) -> tokio::task::JoinHandle<()> {
        let listener = tokio::net::UnixListener::bind(socket).unwrap();
        let router = Router::new().route("/v1.41/info", get(|| async { Json(info()) }));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() })
    }

    #[tokio::test]
    async fn an_engine_that_is_not_there_is_one_plain_sentence() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("docker.sock");
        let error = client(&socket).info().await.unwrap_err();
        let says = format!(
            "cannot connect to Docker at {}: there is no such socket (is Docker installed, and running?)",
            socket.display()
        );
        assert_eq!(error.to_string(), says);
        drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
        let error = client(&socket).info().await.unwrap_err();
        assert!(error.to_string().ends_with("the connection is refused (is Docker running?)"), "{error}");
        assert!(matches!(error, DockerError::Unreachable(_)));
    }

    #[tokio::test]
    async fn an_engine_that_restarts_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("docker.sock");
        let client = client(&socket);
        let engine = serve(&socket);
        client.info().await.unwrap();
        engine.abort();
        assert!(engine.await.is_err());
        std::fs::remove_file(&socket).unwrap();
        // The first attempts find no socket, then one that refuses.
        let asked = tokio::spawn({
            let client = client.clone();
            async move { client.info().await }
        });
        tokio::time::sleep(Duration::from_millis(50)).await;
        drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
        tokio::time::sleep(Duration::from_millis(50)).await;
        std::fs::remove_file(&socket).unwrap();
        let _engine = serve(&socket);
        assert_eq!(asked.await.unwrap().unwrap().ncpu, 2);
    }

    /// A certificate signed by an authority, and its key, in PEM.
    fn signed(issuer: &Issuer<'_, KeyPair>, names: &[String], usage: ExtendedKeyUsagePurpose) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params.extended_key_usages = vec![usage];
        (params.signed_by(&key, issuer).unwrap().pem(), key.serialize_pem())
    }

    #[tokio::test]
    async fn both_sides_of_a_connection_with_tls_are_proven() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        let (mut params, key) = (CertificateParams::default(), KeyPair::generate().unwrap());
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = params.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(params, key);
        let names = ["localhost".to_owned()];
        let (certificate, key) = signed(&issuer, &names, ExtendedKeyUsagePurpose::ClientAuth);
        for (name, text) in [("ca.pem", &authority), ("cert.pem", &certificate), ("key.pem", &key)] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }

        let mut roots = RootCertStore::empty();
        let der = |pem: &str| -> Vec<_> {
            use rustls::pki_types::pem::PemObject;
            rustls::pki_types::CertificateDer::pem_slice_iter(pem.as_bytes()).map(Result::unwrap).collect()
        };
        roots.add(der(&authority).remove(0)).unwrap();
        let (certificate, key) = signed(&issuer, &names, ExtendedKeyUsagePurpose::ServerAuth);
        let key = KeyPair::from_pem(&key).unwrap().serialize_der();
        let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build().unwrap();
        let config = rustls::ServerConfig::builder()
            .with_client_cert_verifier(verifier)
            .with_single_cert(der(&certificate), PrivateKeyDer::Pkcs8(key.into()))
            .unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // Whoever has no certificate of the authority gets no further than this.
                let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).await;
                let body = info().to_string();
                let answer =
                    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
                let _ = stream.write_all(answer.as_bytes()).await;
                let _ = stream.shutdown().await;
            }
        });
        let certificates = folder.path().to_owned();
        let client = Client::new(&Endpoint::Https { base, certificates }).unwrap();
        assert_eq!(client.info().await.unwrap().ncpu, 2);
        std::fs::remove_file(folder.path().join("key.pem")).unwrap();
        let error =
            Client::new(&Endpoint::Https { base: String::new(), certificates: folder.path().to_owned() }).unwrap_err();
        assert!(error.to_string().contains("key.pem"), "{error}");
    }
}
