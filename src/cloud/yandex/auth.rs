//! Who calls: an authorized key of a service account, a ready IAM token, an OAuth token, or the metadata service of a machine.
//!
//! Source: <https://yandex.cloud/en/docs/iam/operations/iam-token/create-for-sa>.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use ring::{rand::SystemRandom, rsa, signature};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::YandexError;
use crate::{
    clock::Clock,
    cloud::retry::{Attempts, retry_after},
    error::{Context, Error, Result},
    event,
    secret::Secret,
};

/// What the token is for, whatever address it is asked from.
const AUDIENCE: &str = "https://iam.api.cloud.yandex.net/iam/v1/tokens";
/// The metadata service of a machine, in the form that Google's machines have it.
const METADATA: &str = "http://169.254.169.254/computeMetadata/v1/instance/service-accounts/default/token";
/// A token is replaced this long before it expires.
const MARGIN: i64 = 15 * 60;
/// Tokens live up to twelve hours; a new one is asked for every hour, as the documentation advises.
const USED_FOR: i64 = 60 * 60;

/// Where tokens come from.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// An IAM token that someone else made; it is used until it expires.
    IamToken(Secret),
    /// An OAuth token of a person.
    OAuthToken(Secret),
    /// An authorized key of a service account.
    Key(Key),
    /// The service account of the machine that this program runs on.
    Metadata,
}

/// An authorized key, as `yc iam key create` writes it.
#[derive(Clone, Debug, Deserialize)]
pub struct Key {
    /// The key's id.
    pub id: String,
    /// The service account's id.
    pub service_account_id: String,
    /// The private key in PEM, after a line of warning.
    pub private_key: Secret,
}

impl Key {
    /// Reads a key file.
    ///
    /// # Errors
    /// When the text is not such a file.
    pub fn parse(text: &str) -> Result<Self> {
        serde_json::from_str(text)
            .context(|| "this is not an authorized key")
            .map_err(|error| error.hint("make one: `yc iam key create --service-account-name NAME --output key.json`"))
    }

    /// A JSON Web Token that is exchanged for an IAM token: RS-PSS with SHA-256 and a salt of 32 bytes (PS256).
    fn token(&self, now: i64) -> Result<String> {
        let header = json!({ "typ": "JWT", "alg": "PS256", "kid": self.id });
        let claims = json!({ "iss": self.service_account_id, "aud": AUDIENCE, "iat": now, "exp": now + 3600 });
        let text = format!("{}.{}", BASE64.encode(header.to_string()), BASE64.encode(claims.to_string()));
        let unusable = || Error::new("the private key of the authorized key cannot be used: it must be RSA in PKCS#8");
        let pem = self.private_key.expose();
        let begin = pem.find("-----BEGIN").ok_or_else(unusable)?;
        let body: String = pem[begin..].lines().filter(|line| !line.starts_with("-----")).map(str::trim).collect();
        let der = base64::engine::general_purpose::STANDARD.decode(body).map_err(|_| unusable())?;
        let pair = rsa::KeyPair::from_pkcs8(&der).map_err(|_| unusable())?;
        let mut signed = vec![0; pair.public().modulus_len()];
        pair.sign(&signature::RSA_PSS_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signed)
            .map_err(|_| Error::new("the authorized key cannot sign: this machine has no random numbers"))?;
        Ok(format!("{text}.{}", BASE64.encode(signed)))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Issued {
    iam_token: String,
    expires_at: jiff::Timestamp,
}

#[derive(Deserialize)]
struct FromMetadata {
    access_token: String,
    expires_in: i64,
}

struct Token {
    text: Secret,
    /// When it is replaced, in seconds since the epoch.
    until: i64,
}

/// The present token: asked for once, however many calls wait for it.
pub(super) struct Tokens {
    credentials: Credentials,
    present: Mutex<Option<Token>>,
}

impl Tokens {
    pub(super) fn new(credentials: Credentials) -> Self {
        Self { credentials, present: Mutex::default() }
    }

    /// A token that is good for some minutes yet. `refused` is one that the cloud did not take.
    pub(super) async fn get(&self, http: &reqwest::Client, iam: &str, refused: Option<&Secret>) -> Result<Secret> {
        let mut present = event::waiting("an IAM token", self.present.lock()).await;
        let now = Clock::System.now().as_second();
        if let Some(token) = present.as_ref().filter(|token| now < token.until && refused != Some(&token.text)) {
            return Ok(token.text.clone());
        }
        let token = match &self.credentials {
            Credentials::IamToken(token) if refused == Some(token) => {
                return Err(Error::new("yandex: the IAM token is not valid (any more)")
                    .hint("get a new one: `export YC_TOKEN=$(yc iam create-token)`; YC_IAM_TOKEN wins over YC_TOKEN"));
            }
            Credentials::IamToken(token) => Token { text: token.clone(), until: i64::MAX },
            Credentials::OAuthToken(token) => {
                let hint = "YC_TOKEN (or YC_IAM_TOKEN) is taken for an OAuth token, because it does not begin with `t1.`; for an IAM \
                            token: `export YC_TOKEN=$(yc iam create-token)`";
                exchange(http, iam, &json!({ "yandexPassportOauthToken": token.expose() }), hint).await?
            }
            Credentials::Key(key) => {
                let hint = format!(
                    "the authorized key `{}` may have been deleted, or the clock of this machine may be wrong; another key: \
                     `yc iam key create --service-account-id {} --output key.json`",
                    key.id, key.service_account_id
                );
                exchange(http, iam, &json!({ "jwt": key.token(now)? }), &hint).await?
            }
            Credentials::Metadata => from_metadata(&crate::cloud::metadata()?).await?,
        };
        let text = token.text.clone();
        *present = Some(token);
        Ok(text)
    }
}

/// Exchanges what the caller has for an IAM token; `hint` is what to do when it is not accepted.
async fn exchange(http: &reqwest::Client, iam: &str, body: &Value, hint: &str) -> Result<Token> {
    let mut attempts = Attempts::within(Duration::from_mins(1));
    loop {
        let answer = http.post(format!("{iam}/iam/v1/tokens")).json(body).send().await;
        let (error, asked) = match answer {
            Ok(response) if response.status().is_success() => {
                let issued: Issued = response.json().await?;
                let until = Clock::System.now().as_second() + USED_FOR;
                let until = until.min(issued.expires_at.as_second() - MARGIN);
                return Ok(Token { text: Secret::new(issued.iam_token), until });
            }
            Ok(response) => {
                let asked = retry_after(response.headers());
                let error = super::refusal(response).await;
                if error.is_of_credentials() {
                    let error = Error::new(YandexError::Refused(error).to_string());
                    return Err(error.context("yandex: the credentials are not accepted").hint(hint));
                }
                // A conflict is one with another exchange of the same key, and passes.
                if !error.is_transient() && error.status != 409 {
                    return Err(Error::from(error).context("yandex: no IAM token could be had"));
                }
                (Error::from(error), asked)
            }
            Err(error) => (error.into(), None),
        };
        if !attempts.pause(format!("an IAM token ({error})"), asked).await {
            return Err(error.context("yandex: no IAM token could be had"));
        }
    }
}

async fn from_metadata(http: &reqwest::Client) -> Result<Token> {
    let request = http.get(METADATA).header("Metadata-Flavor", "Google").timeout(Duration::from_secs(5));
    let response = request.send().await.and_then(reqwest::Response::error_for_status).map_err(|error| {
        Error::from(error).context("yandex: no credentials are configured, and this machine has no service account").hint(
            "name a key in the file (`yandex.service_account_key_file`), or set YC_SERVICE_ACCOUNT_KEY_FILE or YC_TOKEN",
        )
    })?;
    let token: FromMetadata = response.json().await?;
    let until = Clock::System.now().as_second() + (token.expires_in - MARGIN).max(60);
    Ok(Token { text: Secret::new(token.access_token), until })
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
    use ring::signature;
    use serde_json::Value;

    use std::{
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        time::Instant,
    };

    use axum::{Router, http::StatusCode, routing};
    use serde_json::json;

    use super::{Credentials, Key, Secret};
    use crate::cloud::{
        retry,
        yandex::{Client, Settings},
    };

    #[test]
    fn a_key_file_signs_a_token_that_its_public_key_verifies() {
        let text = include_str!("../../../tests/golden/yandex/authorized-key.json");
        let key = Key::parse(text).unwrap();
        let token = key.token(1_700_000_000).unwrap();
        let parts: Vec<&str> = token.split('.').collect();
        let header: Value = serde_json::from_slice(&BASE64.decode(parts[0]).unwrap()).unwrap();
        assert_eq!((header["alg"].as_str(), header["kid"].as_str()), (Some("PS256"), Some(key.id.as_str())));
        let claims: Value = serde_json::from_slice(&BASE64.decode(parts[1]).unwrap()).unwrap();
        assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 3600);
        assert_eq!(claims["aud"], "https://iam.api.cloud.yandex.net/iam/v1/tokens");
        let public: Value = serde_json::from_str(text).unwrap();
        let pem: String =
            public["public_key"].as_str().unwrap().lines().filter(|line| !line.starts_with("--")).collect();
        let der = base64::engine::general_purpose::STANDARD.decode(pem).unwrap();
        // The RSA key follows the algorithm's name in a SubjectPublicKeyInfo; ring wants it alone.
        let at = der.windows(2).rposition(|pair| pair == [0x30, 0x82]).unwrap();
        let public = signature::UnparsedPublicKey::new(&signature::RSA_PSS_2048_8192_SHA256, &der[at..]);
        public.verify(format!("{}.{}", parts[0], parts[1]).as_bytes(), &BASE64.decode(parts[2]).unwrap()).unwrap();
    }

    #[test]
    fn what_is_not_a_key_file_is_told() {
        assert!(Key::parse("{}").unwrap_err().to_string().contains("not an authorized key"));
    }

    /// A cloud whose service of tokens answers the first calls so; the number of calls that it had.
    async fn cloud(refusals: usize, status: u16, code: i64) -> (Client, Arc<AtomicUsize>) {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let calls = Arc::new(AtomicUsize::new(0));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let list = json!({ "endpoints": [
            { "id": "iam", "address": address }, { "id": "operation", "address": address },
        ] });
        // The same refusals, with the time that the caller is to wait.
        let refused = move || {
            let body = json!({ "code": code, "message": "out of order" }).to_string();
            (StatusCode::from_u16(status).unwrap(), [("retry-after", "1")], body)
        };
        let asked = Arc::clone(&calls);
        let tokens = routing::post(move || {
            let is_refused = asked.fetch_add(1, Ordering::SeqCst) < refusals;
            async move {
                let token = json!({ "iamToken": "t1.token", "expiresAt": "2126-01-01T00:00:00Z" });
                if is_refused { Err(refused()) } else { Ok(token.to_string()) }
            }
        });
        let discovered = Arc::new(AtomicUsize::new(0));
        let endpoints = routing::get(move || {
            let is_first = discovered.fetch_add(1, Ordering::SeqCst) == 0;
            async move {
                let busy = (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "1")]);
                if is_first { Err(busy) } else { Ok(list.to_string()) }
            }
        });
        let operation = routing::get(|| async { json!({ "id": "a", "done": true }).to_string() });
        let router = Router::new().route("/iam/v1/tokens", tokens).route("/endpoints", endpoints);
        let router = router.route("/operations/a", operation);
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let settings = Settings { endpoint: Some(format!("http://{address}")), ..Settings::default() };
        (Client::new(settings, Credentials::OAuthToken(Secret::new("y0_a".to_owned()))).unwrap(), calls)
    }

    #[tokio::test]
    async fn discovery_and_tokens_wait_for_as_long_as_the_server_asks() {
        for (status, code) in [(429, 8), (503, 14), (409, 10), (409, 6), (409, 9)] {
            let (client, calls) = cloud(1, status, code).await;
            let begun = Instant::now();
            client.poll("a", "a test", std::time::Duration::from_mins(1)).await.unwrap();
            // Without that, both would have been tried again after less than half a second.
            assert!(begun.elapsed().as_secs() >= 2, "{status}: {:?}", begun.elapsed());
            assert_eq!(calls.load(Ordering::SeqCst), 2, "{status} {code}");
        }
    }

    #[tokio::test]
    async fn only_what_is_said_of_the_credentials_calls_them_wrong() {
        let said = async |status: u16, code: i64| {
            let (client, _) = cloud(usize::MAX, status, code).await;
            let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(2);
            let poll = client.poll("a", "a test", std::time::Duration::from_secs(5));
            let error = retry::until(Some(deadline), poll).await.unwrap_err();
            crate::error::Error::from(error).to_string()
        };
        for (status, code) in [(401, 16), (400, 3), (403, 7), (404, 5), (401, 0)] {
            let said = said(status, code).await;
            assert!(said.contains("the credentials are not accepted"), "{status} {code}: {said}");
        }
        for (status, code) in [(409, 6), (409, 9), (409, 10), (400, 9), (503, 14)] {
            let said = said(status, code).await;
            assert!(
                said.contains("no IAM token could be had") && !said.contains("credentials"),
                "{status} {code}: {said}"
            );
        }
    }
}
