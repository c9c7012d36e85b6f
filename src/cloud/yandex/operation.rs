//! Operations: what a call that changes something begins, and what is waited for.

use std::time::Duration;

use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::{
    COMPUTE_OPERATIONS, Client, Request, Result, Service,
    refusal::{Refusal, Status, YandexError, code, refusal},
};
use crate::{cloud::retry::retry_after, encoding, error::Error, event, identity};

/// How often a long operation is asked for, unless the server says otherwise.
const POLL: Duration = Duration::from_secs(1);
/// How soon a new operation is asked for again: most end quickly.
const FIRST_POLL: Duration = Duration::from_millis(250);
/// An operation is not asked for more often than this, whatever the server says.
const LEAST_POLL: Duration = Duration::from_millis(50);
/// How often the id of a fresh operation may be unknown: the services agree with each other after a while.
const FORGIVEN: u32 = 5;
/// How many failed operations of one call are passed by before it gets a key of its own.
const FAILED_BEFORE: u32 = 5;

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
    /// The id of what it works on, or has made.
    #[must_use]
    pub fn object_id(&self) -> &str {
        let metadata = self.metadata.as_object().into_iter().flatten();
        let named = metadata.filter(|(name, _)| name.ends_with("Id")).find_map(|(_, id)| id.as_str());
        self.response.get("id").and_then(Value::as_str).or(named).unwrap_or_default()
    }
}

impl Client {
    /// Carries out a call that changes something, and waits for the end of its operation.
    ///
    /// The cloud answers a key that it knows with the operation of the first call, also when that one failed: after such a
    /// failure the intent goes on under a key that is made of the failed operation's id, and at last under one that nothing
    /// has used.
    pub(super) async fn carry_out(
        &self, call: &str, request: Request, token: &str, deadline: Duration,
    ) -> Result<Operation> {
        let mut after = String::new();
        for _ in 0..FAILED_BEFORE {
            let key = key(call, &request, token, &after);
            match self.operate(call, Request { key: Some(key), ..request.clone() }, deadline).await {
                Err(YandexError::Refused(Refusal { operation: Some((id, true)), .. })) => after = id,
                ended => return ended,
            }
        }
        let key = key(call, &request, &identity::random_text(24)?, &after);
        self.operate(call, Request { key: Some(key), ..request }, deadline).await
    }

    /// Sends a call that begins an operation, and waits for its end. Operations on machines and disks wait for their turn.
    async fn operate(&self, call: &str, request: Request, deadline: Duration) -> Result<Operation> {
        let _turn = match request.service {
            Service::Compute => {
                let what = format!("its turn: {COMPUTE_OPERATIONS} operations on machines and disks run at once");
                event::waiting(what, self.0.compute.acquire()).await.ok()
            }
            _ => None,
        };
        let started = self.send(request).await?;
        let operation: Operation = serde_json::from_value(started)
            .map_err(|error| Error::from(error).context("yandex: an operation of another form"))?;
        let at_once = operation.done;
        let ended = if at_once { operation } else { self.poll(&operation.id, call, deadline).await? };
        match ended.error {
            Some(status) => {
                let operation = Some((ended.id, at_once));
                Err(YandexError::Refused(Refusal { operation, ..status.refusal(0) }))
            }
            None => Ok(ended),
        }
    }

    /// Asks for an operation until it has ended.
    pub(super) async fn poll(&self, id: &str, call: &str, deadline: Duration) -> Result<Operation> {
        let base = self.base(Service::Operation).await?;
        let begun = Instant::now();
        let end = begun + deadline;
        let mut unknown = 0;
        let waited = format!("the operation {id} ({call}) to end");
        let wait = event::wait_for(&waited);
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
            let mut pause = pause(begun.elapsed());
            wait.is_for(&waited);
            match self.attempt(&base, &request, &token).await {
                Ok(response) if response.status().is_success() => {
                    let hint = response.headers().get("x-operation-poll-interval");
                    let hint = hint.and_then(|value| value.to_str().ok()?.trim().parse().ok());
                    pause = hint.map_or(pause, Duration::from_secs).max(LEAST_POLL);
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
                        _ => wait.is_for(format!("{waited} ({})", Error::from(refusal))),
                    }
                    pause = asked.map_or(POLL, |asked| asked.max(POLL));
                }
                // A broken connection says nothing about the operation.
                Err(error) => {
                    wait.is_for(format!("{waited} ({error})"));
                    pause = POLL;
                }
            }
            if Instant::now() + pause > end {
                let late = Error::new(format!("yandex: the operation {id} has not ended within {deadline:?}"));
                let hint = "it may end later: run the same command again, which goes on from what it finds";
                return Err(YandexError::Late(late.hint(hint)));
            }
            tokio::time::sleep(pause).await;
        }
    }
}

/// How long to wait before an operation that has gone on for this long is asked for again: an eighth of that, so that its end is
/// noticed soon for what it took.
fn pause(elapsed: Duration) -> Duration {
    (elapsed / 8).clamp(FIRST_POLL, POLL)
}

/// When the end of an operation that takes this long is noticed, where the server does not say when to ask for it.
#[must_use]
pub fn noticed(took: Duration) -> Duration {
    let mut at = Duration::ZERO;
    while at < took {
        at += pause(at);
    }
    at
}

/// The key of a call: a UUID that is made of the call itself, of the intent that it is a part of, and of the operation of the
/// same call that failed before. The same intent has the same key after a crash, and no two calls share one.
fn key(call: &str, request: &Request, token: &str, after: &str) -> String {
    let body = request.body.as_ref().map(ToString::to_string).unwrap_or_default();
    let digest = Sha256::digest(json!([call, request.path, body, token, after]).to_string());
    let mut bytes: [u8; 16] = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    // The version and the variant of a random UUID (RFC 9562, section 5.4).
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let hex = encoding::hex(&bytes);
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

#[cfg(test)]
mod tests {
    use reqwest::Method;

    use std::time::Duration;

    use super::{FIRST_POLL, Request, Service, key, pause};

    #[test]
    fn the_end_of_an_operation_is_noticed_soon_for_what_it_took() {
        let (mut asked, mut at) = (0, Duration::ZERO);
        while at < Duration::from_mins(1) {
            let pause = pause(at);
            assert!(pause <= (at / 8).max(FIRST_POLL), "{at:?}");
            (asked, at) = (asked + 1, at + pause);
        }
        // Once a second would be 60 times.
        assert!(asked <= 75, "{asked}");
    }

    #[test]
    fn keys_are_uuids_and_differ_by_call_object_intent_and_failure() {
        let request = |path: &str| Request {
            method: Method::DELETE,
            service: Service::LoadBalancer,
            path: path.to_owned(),
            query: Vec::new(),
            body: None,
            key: None,
        };
        let one = key("DeleteTargetGroup", &request("/a/1"), "1", "");
        assert_eq!(one, key("DeleteTargetGroup", &request("/a/1"), "1", ""));
        assert_eq!((one.len(), &one[14..15]), (36, "4"));
        for other in [
            key("DeleteLoadBalancer", &request("/a/1"), "1", ""),
            key("DeleteTargetGroup", &request("/a/2"), "1", ""),
            key("DeleteTargetGroup", &request("/a/1"), "2", ""),
            key("DeleteTargetGroup", &request("/a/1"), "1", "op1"),
        ] {
            assert_ne!(one, other);
        }
    }
}
