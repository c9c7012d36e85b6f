//! HTTP from a host's point of view: the request travels through the host's own connection (a forwarded TCP stream), so the
//! host needs no HTTP client, and `localhost` is the host itself.

use std::{sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Uri, body::Incoming, header};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;

use crate::{
    authorities,
    error::{Context, Error, Result},
    remote::{Stream, Transport},
};

/// A request.
pub(super) struct Ask {
    pub(super) method: String,
    pub(super) url: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Bytes,
    pub(super) verify: bool,
    /// Certificates of authorities that are trusted beside the usual ones, in PEM.
    pub(super) authorities: Vec<String>,
    pub(super) follow: bool,
    pub(super) timeout: Duration,
    pub(super) login: Option<(String, String)>,
}

/// An answer.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Bytes,
    pub(super) url: String,
}

/// How many redirections are followed.
const REDIRECTS: usize = 10;

/// Sends a request through a host, following redirections.
pub(super) async fn send(transport: &dyn Transport, ask: Ask) -> Result<Answer> {
    let timeout = ask.timeout;
    let url = ask.url.clone();
    match tokio::time::timeout(timeout, follow(transport, ask)).await {
        Ok(answer) => answer.context(|| format!("`{url}` cannot be fetched")),
        Err(_) => Err(Error::new(format!("`{url}` did not answer within {} s", timeout.as_secs()))),
    }
}

async fn follow(transport: &dyn Transport, mut ask: Ask) -> Result<Answer> {
    for _ in 0..=REDIRECTS {
        let answer = once(transport, &ask).await?;
        let target = answer.headers.iter().find(|(name, _)| name == "location").map(|(_, value)| value.clone());
        match target {
            Some(target) if ask.follow && (300..400).contains(&answer.status) && answer.status != 304 => {
                ask.url = absolute(&ask.url, &target);
                if answer.status == 303 {
                    ask.method = "GET".to_owned();
                    ask.body = Bytes::new();
                }
            }
            _ => return Ok(answer),
        }
    }
    Err(Error::new(format!("more than {REDIRECTS} redirections")))
}

fn absolute(base: &str, target: &str) -> String {
    if target.contains("://") {
        return target.to_owned();
    }
    let root = base.find("://").map_or(0, |at| at + 3);
    let end = base[root..].find('/').map_or(base.len(), |at| root + at);
    format!("{}{}{target}", &base[..end], if target.starts_with('/') { "" } else { "/" })
}

async fn once(transport: &dyn Transport, ask: &Ask) -> Result<Answer> {
    let uri: Uri = ask.url.parse().map_err(|_| Error::new(format!("`{}` is not an address", ask.url)))?;
    let secure = match uri.scheme_str() {
        Some("https") => true,
        Some("http") => false,
        _ => return Err(Error::new("only http and https addresses can be fetched")),
    };
    let host = uri.host().ok_or_else(|| Error::new("the address has no host"))?.trim_matches(['[', ']']).to_owned();
    let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let stream = transport.dial(&host, port).await?;
    let stream: Box<dyn Stream> = if secure { Box::new(encrypted(stream, &host, ask).await?) } else { stream };
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(http)?;
    tokio::spawn(async move {
        // An error here is an error of the request too, which tells it.
        let _ = connection.await;
    });
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let mut request = Request::builder().method(ask.method.as_str()).uri(path);
    request = request.header(header::HOST, uri.authority().map_or(host.as_str(), |authority| authority.as_str()));
    if !ask.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("user-agent")) {
        request = request.header(header::USER_AGENT, "ansible-httpget");
    }
    if let Some((user, password)) = &ask.login {
        let credentials = STANDARD.encode(format!("{user}:{password}"));
        request = request.header(header::AUTHORIZATION, format!("Basic {credentials}"));
    }
    for (name, value) in &ask.headers {
        request = request.header(name, value);
    }
    let request = request.body(Full::new(ask.body.clone())).map_err(|error| Error::new(error.to_string()))?;
    let response: hyper::Response<Incoming> = sender.send_request(request).await.map_err(http)?;
    let status = response.status().as_u16();
    let headers = response.headers().iter();
    let headers =
        headers.map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()));
    let headers = headers.collect();
    let body = response.into_body().collect().await.map_err(http)?.to_bytes();
    Ok(Answer { status, headers, body, url: ask.url.clone() })
}

fn http(error: hyper::Error) -> Error {
    Error::new(error.to_string())
}

async fn encrypted(stream: Box<dyn Stream>, host: &str, ask: &Ask) -> Result<impl Stream + 'static> {
    let roots = authorities::trusted(&ask.authorities);
    let mut config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    if !ask.verify {
        config.dangerous().set_certificate_verifier(Arc::new(anybody::Anybody));
    }
    let name = ServerName::try_from(host.to_owned()).map_err(|_| Error::new(format!("`{host}` is not a host name")))?;
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    connector.connect(name, stream).await.context(|| format!("no TLS connection to {host}"))
}

/// `validate_certs: false`, as the playbook asks.
mod anybody {
    use rustls::{
        DigitallySignedStruct, Error, SignatureScheme,
        client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        pki_types::{CertificateDer, ServerName, UnixTime},
    };

    #[derive(Debug)]
    pub(super) struct Anybody;

    impl ServerCertVerifier for Anybody {
        fn verify_server_cert(
            &self, _: &CertificateDer<'_>, _: &[CertificateDer<'_>], _: &ServerName<'_>, _: &[u8], _: UnixTime,
        ) -> Result<ServerCertVerified, Error> {
            Ok(ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self, _: &[u8], _: &CertificateDer<'_>, _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn verify_tls13_signature(
            &self, _: &[u8], _: &CertificateDer<'_>, _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            rustls::crypto::ring::default_provider().signature_verification_algorithms.supported_schemes()
        }
    }
}
