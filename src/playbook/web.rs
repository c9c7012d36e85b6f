//! HTTP from a host's point of view: the request travels through the host's own connection (a forwarded TCP stream), so the
//! host needs no HTTP client, and `localhost` is the host itself.
//!
//! What a server may cost is limited here: every wait has an end, an answer that is kept in memory has a limit, and what is
//! larger is read as a stream. Credentials and bodies never follow a redirection to another origin.

use std::{sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, body::Incoming, header};
use hyper_util::rt::TokioIo;
use reqwest::Url;
use rustls::pki_types::ServerName;
use tokio::io::AsyncRead;
use tokio_util::{io::StreamReader, task::AbortOnDropHandle};

use crate::{
    authorities, encoding,
    error::{Context, Error, Result},
    remote::{Stream, Transport},
};

/// How much of an answer is kept in memory.
pub(super) const BODY_LIMIT: usize = 16 << 20;
/// How long an answer that is kept in memory may take as a whole, however often a piece of it comes.
pub(super) const ANSWER_TIME: Duration = Duration::from_mins(10);
/// How long a file may take as a whole.
pub(super) const DOWNLOAD_TIME: Duration = Duration::from_hours(2);
/// How many redirections are followed.
const REDIRECTS: usize = 10;
/// The headers that may go to another origin than the one that they were written for.
const PUBLIC_HEADERS: &[&str] = &["accept", "accept-language", "cache-control", "range", "user-agent"];

/// Which redirections are followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Follow {
    Never,
    /// Those of requests that only read.
    Safe,
    Always,
}

/// Who asks.
#[derive(Clone, Debug)]
pub(super) struct Login {
    pub(super) user: String,
    pub(super) password: String,
    /// Whether the server is told at once, and not only when it asks.
    pub(super) at_once: bool,
}

/// A request.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub(super) method: Method,
    pub(super) url: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Bytes,
    pub(super) verify: bool,
    /// Certificates of authorities that are trusted beside the usual ones, in PEM.
    pub(super) authorities: Vec<String>,
    pub(super) follow: Follow,
    /// How long to wait for the first byte, and then for each piece.
    pub(super) timeout: Duration,
    pub(super) login: Option<Login>,
}

/// An answer whose body has not been read yet.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) url: String,
    pub(super) redirected: bool,
    body: Incoming,
    timeout: Duration,
    _connection: AbortOnDropHandle<()>,
}

/// Sends a request through a host, following redirections.
pub(super) async fn send(transport: &dyn Transport, ask: Ask) -> Result<Answer> {
    let url = shown(&ask.url);
    follow(transport, ask).await.context(|| format!("`{url}` cannot be fetched"))
}

async fn follow(transport: &dyn Transport, mut ask: Ask) -> Result<Answer> {
    let mut url = parse(&ask.url)?;
    // As in Ansible, a login may be a part of the address.
    if ask.login.is_none() && !url.username().is_empty() {
        let (user, password) = (encoding::decode(url.username()), encoding::decode(url.password().unwrap_or_default()));
        ask.login = Some(Login { user, password, at_once: false });
    }
    let mut redirected = false;
    for _ in 0..=REDIRECTS {
        let once = tokio::time::timeout(ask.timeout, once(transport, &ask, &url)).await;
        let mut answer =
            once.unwrap_or_else(|_| Err(Error::new(format!("no answer within {} s", ask.timeout.as_secs_f64()))))?;
        answer.redirected = redirected;
        if answer.status == 401 && ask.login.as_ref().is_some_and(|login| !login.at_once) && answer.asks_for_basic() {
            ask.login = ask.login.map(|login| Login { at_once: true, ..login });
            continue;
        }
        let reads = matches!(ask.method, Method::GET | Method::HEAD);
        let follows = ask.follow == Follow::Always || (ask.follow == Follow::Safe && reads);
        let Some(target) = answer.target().filter(|_| follows) else { return Ok(answer) };
        let next =
            url.join(&target).map_err(|error| Error::new(format!("it redirects to `{}`: {error}", shown(&target))))?;
        redirect(&mut ask, &url, &next, answer.status)?;
        url = next;
        redirected = true;
    }
    Err(Error::new(format!("more than {REDIRECTS} redirections")))
}

/// What is left of a request when it goes on to another address.
fn redirect(ask: &mut Ask, from: &Url, to: &Url, status: u16) -> Result<()> {
    let becomes_get = match status {
        302 | 303 => ask.method != Method::HEAD,
        301 => ask.method == Method::POST,
        _ => false,
    };
    if becomes_get {
        ask.method = Method::GET;
        ask.body = Bytes::new();
        ask.headers.retain(|(name, _)| !name.to_ascii_lowercase().starts_with("content-"));
    }
    if from.scheme() == "https" && to.scheme() != "https" {
        return Err(Error::new(format!("it redirects to `{}`, which is not encrypted", shown(to.as_str()))));
    }
    if from.origin() != to.origin() {
        if !ask.body.is_empty() {
            return Err(Error::new(format!(
                "it redirects the body of the request to another origin, `{}`: give that address as `url`",
                shown(to.as_str())
            )));
        }
        ask.login = None;
        ask.headers.retain(|(name, _)| PUBLIC_HEADERS.contains(&name.to_ascii_lowercase().as_str()));
    }
    Ok(())
}

/// An address without what may be a secret in it: without a login, a query and a fragment, also where it cannot be read.
pub(super) fn shown(url: &str) -> String {
    if let Ok(url) = Url::parse(url)
        && url.has_host()
    {
        return format!("{}{}", url.origin().ascii_serialization(), url.path());
    }
    let plain = url.split(['?', '#']).next().unwrap_or_default();
    let (scheme, rest) = plain.split_once("://").map_or(("", plain), |(scheme, rest)| (scheme, rest));
    let rest = rest.rsplit_once('@').map_or(rest, |(_, rest)| rest);
    if scheme.is_empty() { rest.to_owned() } else { format!("{scheme}://{rest}") }
}

/// An address that can be fetched.
pub(super) fn parse(url: &str) -> Result<Url> {
    let url = Url::parse(url).map_err(|error| Error::new(format!("`{}` is not an address: {error}", shown(url))))?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        other => Err(Error::new(format!("`{other}` addresses cannot be fetched, only http and https"))),
    }
}

async fn once(transport: &dyn Transport, ask: &Ask, url: &Url) -> Result<Answer> {
    let url = parse(url.as_str())?;
    let secure = url.scheme() == "https";
    let host = url.host_str().ok_or_else(|| Error::new("the address has no host"))?;
    let name = host.trim_matches(['[', ']']).to_owned();
    let stream = transport.dial(&name, url.port_or_known_default().unwrap_or(80)).await?;
    let stream: Box<dyn Stream> = if secure { Box::new(encrypted(stream, &name, ask).await?) } else { stream };
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(http)?;
    let connection = AbortOnDropHandle::new(tokio::spawn(async move {
        // An error here is an error of the request too, which says it.
        let _ = connection.await;
    }));
    let path = url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()));
    let authority = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    let mut request = Request::builder().method(ask.method.clone()).uri(path).header(header::HOST, authority);
    if !ask.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("user-agent")) {
        request = request.header(header::USER_AGENT, "ansible-httpget");
    }
    if let Some(login) = ask.login.as_ref().filter(|login| login.at_once) {
        let credentials = STANDARD.encode(format!("{}:{}", login.user, login.password));
        request = request.header(header::AUTHORIZATION, format!("Basic {credentials}"));
    }
    for (name, value) in &ask.headers {
        request = request.header(name, value);
    }
    let request = request.body(Full::new(ask.body.clone())).map_err(|error| Error::new(error.to_string()))?;
    let response: hyper::Response<Incoming> = sender.send_request(request).await.map_err(http)?;
    let headers = response.headers().iter();
    let headers =
        headers.map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()));
    Ok(Answer {
        status: response.status().as_u16(),
        headers: headers.collect(),
        url: url.to_string(),
        redirected: false,
        body: response.into_body(),
        timeout: ask.timeout,
        _connection: connection,
    })
}

impl Answer {
    /// The first header of a name.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// Where it redirects to.
    fn target(&self) -> Option<String> {
        let redirects = matches!(self.status, 301 | 302 | 303 | 307 | 308);
        self.header("location").filter(|_| redirects).map(str::to_owned)
    }

    fn asks_for_basic(&self) -> bool {
        let mut challenges = self.headers.iter().filter(|(name, _)| name == "www-authenticate");
        challenges.any(|(_, value)| value.to_ascii_lowercase().contains("basic"))
    }

    /// The next piece of the body.
    async fn piece(&mut self) -> Result<Option<Bytes>> {
        loop {
            let frame = tokio::time::timeout(self.timeout, self.body.frame()).await;
            let late = || Error::new(format!("nothing came for {} s", self.timeout.as_secs_f64()));
            match frame.map_err(|_| late())? {
                None => return Ok(None),
                Some(frame) => {
                    if let Ok(bytes) = frame.map_err(http)?.into_data() {
                        return Ok(Some(bytes));
                    }
                }
            }
        }
    }

    /// The whole body, when it is not longer than the limit.
    pub(super) async fn read(&mut self, limit: usize) -> Result<Bytes> {
        let whole = async {
            let mut body = BytesMut::new();
            while let Some(piece) = self.piece().await? {
                if body.len() + piece.len() > limit {
                    return Err(Error::new(format!("the answer is longer than {} MiB", limit >> 20)));
                }
                body.extend_from_slice(&piece);
            }
            Ok(body.freeze())
        };
        match tokio::time::timeout(ANSWER_TIME, whole).await {
            Ok(body) => body,
            Err(_) => Err(Error::new(format!("the answer took longer than {} minutes", ANSWER_TIME.as_secs() / 60))),
        }
    }

    /// The body as a stream, of which nothing is kept.
    pub(super) fn reader(self) -> impl AsyncRead + Send + Unpin {
        let pieces = futures::stream::unfold(self, |mut answer| async move {
            let piece = answer.piece().await.map_err(|error| std::io::Error::other(error.to_string()));
            Some((piece.transpose()?, answer))
        });
        StreamReader::new(Box::pin(pieces))
    }
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use hyper::Method;

    use super::{Ask, Follow, parse, redirect, shown};

    #[test]
    fn a_redirection_never_leaves_encryption() {
        let ask = Ask {
            method: Method::GET,
            url: "https://a/x".to_owned(),
            headers: vec![("Authorization".to_owned(), "Bearer t".to_owned())],
            body: Bytes::new(),
            verify: true,
            authorities: Vec::new(),
            follow: Follow::Always,
            timeout: Duration::ZERO,
            login: None,
        };
        let [secure, plain] = ["https://a/x", "http://a/x?token=t"].map(|url| parse(url).unwrap());
        for status in [301, 302, 303, 307, 308] {
            let error = redirect(&mut ask.clone(), &secure, &plain, status).unwrap_err().to_string();
            assert!(error.contains("`http://a/x`, which is not encrypted"), "{error}");
            redirect(&mut ask.clone(), &secure, &secure, status).unwrap();
            redirect(&mut ask.clone(), &plain, &secure, status).unwrap();
        }
    }

    #[test]
    fn messages_show_no_login_and_no_query() {
        for (url, plain) in [
            ("https://ann:pass@example.org:8443/a/b?token=x#y", "https://example.org:8443/a/b"),
            ("http://example.org", "http://example.org/"),
            ("https://ann:pass@exa mple.org/a?token=x", "https://exa mple.org/a"),
            ("ann:pass@example.org/a?token=x", "example.org/a"),
        ] {
            assert_eq!(shown(url), plain);
        }
    }
}
