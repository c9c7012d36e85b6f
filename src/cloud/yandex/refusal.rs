//! What the cloud answers instead of what was asked.

use std::fmt;

use reqwest::{Response, StatusCode};
use serde::Deserialize;
use serde_json::Value;

use crate::error::Error;

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
    /// Whether nothing was done: no earlier attempt of the same call can have been carried out.
    pub untouched: bool,
}

/// The codes of `google.rpc.Code` that we tell apart.
pub(super) mod code {
    pub(in crate::cloud::yandex) const INVALID_ARGUMENT: i64 = 3;
    pub(in crate::cloud::yandex) const NOT_FOUND: i64 = 5;
    pub(in crate::cloud::yandex) const ALREADY_EXISTS: i64 = 6;
    pub(in crate::cloud::yandex) const PERMISSION_DENIED: i64 = 7;
    pub(in crate::cloud::yandex) const RESOURCE_EXHAUSTED: i64 = 8;
    pub(in crate::cloud::yandex) const FAILED_PRECONDITION: i64 = 9;
    pub(in crate::cloud::yandex) const ABORTED: i64 = 10;
    pub(in crate::cloud::yandex) const UNAVAILABLE: i64 = 14;
    pub(in crate::cloud::yandex) const UNAUTHENTICATED: i64 = 16;
}

/// How the services say that something uses an object.
const IN_USE: [&str; 7] = ["in use", "used by", "is used", "being used", "not empty", "attached", "depend"];

impl Refusal {
    /// Whether a quota is used up: waiting does not help.
    pub(super) fn is_quota(&self) -> bool {
        self.code == code::RESOURCE_EXHAUSTED && self.message.contains("Quota limit")
    }

    /// Whether something else still uses the object. The code alone says only that something is in the way of the call, such as
    /// a protection against deletion.
    fn is_in_use(&self) -> bool {
        let words = self.message.to_ascii_lowercase();
        self.code == code::FAILED_PRECONDITION && IN_USE.iter().any(|said| words.contains(said))
    }

    /// The operation that is in the way, when one is.
    pub(super) fn conflicting(&self) -> Option<&str> {
        let words = self.message.to_ascii_lowercase();
        if self.code != code::FAILED_PRECONDITION || !words.contains("conflicting operation") {
            return None;
        }
        let at = words.find("conflicting operation")? + "conflicting operation".len();
        self.message[at..]
            .split(|c: char| !c.is_ascii_alphanumeric())
            .find(|word| !word.is_empty() && *word != "detected")
    }

    /// Whether it says that the credentials are wrong, when they are exchanged for a token.
    pub(super) fn is_of_credentials(&self) -> bool {
        match self.code {
            0 => matches!(self.status, 400 | 401 | 403 | 404),
            code::INVALID_ARGUMENT | code::NOT_FOUND | code::PERMISSION_DENIED | code::UNAUTHENTICATED => true,
            _ => false,
        }
    }

    /// Whether the same call may succeed later. Every call that changes something carries a key, so that none is carried
    /// out twice.
    pub(super) fn is_transient(&self) -> bool {
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
    /// An operation has not ended in the time that it was waited for.
    Late(Error),
    /// The cloud could not be reached, or credentials could not be had.
    Other(Error),
}

impl YandexError {
    fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            Self::Late(_) | Self::Other(_) => None,
        }
    }

    /// Whether the object does not exist.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.refusal().is_some_and(|refusal| refusal.code == code::NOT_FOUND)
    }

    /// Whether the intent has come to its end: the cloud refused before it did anything, or an operation ended in this error
    /// and the cloud has undone what it had begun.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.refusal().is_some_and(|refusal| refusal.untouched || refusal.operation.is_some())
    }

    /// Whether an operation has not ended in the time that it was waited for.
    #[must_use]
    pub fn is_late(&self) -> bool {
        matches!(self, Self::Late(_))
    }

    /// Whether something else still uses the object, in the words that the services have for that.
    #[must_use]
    pub fn is_in_use(&self) -> bool {
        self.refusal().is_some_and(Refusal::is_in_use)
    }

    /// Whether an operation has ended in this error: it may have left behind what it had begun to create.
    #[must_use]
    pub fn is_of_operation(&self) -> bool {
        self.refusal().is_some_and(|refusal| refusal.operation.is_some())
    }

    /// Whether the caller may not do that.
    #[must_use]
    pub fn is_not_permitted(&self) -> bool {
        self.refusal().is_some_and(|refusal| refusal.code == code::PERMISSION_DENIED)
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
            Self::Late(error) | Self::Other(error) => write!(f, "{error}"),
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
            YandexError::Late(error) | YandexError::Other(error) => return error,
            YandexError::Refused(refusal) => refusal,
        };
        let hint = match refusal.code {
            _ if refusal.is_quota() => {
                let quota = refusal.message.split_whitespace().find(|word| word.contains('.')).unwrap_or("it");
                format!("ask for more in the console (Quotas), or remove what uses it up: `{quota}`")
            }
            code::PERMISSION_DENIED => {
                "the caller needs the role `editor` on the folder, `vpc.publicAdmin` for public addresses, \
                 `resource-manager.admin` for role bindings, and `iam.serviceAccounts.admin` for instance groups with a \
                 service account"
                    .to_owned()
            }
            code::UNAUTHENTICATED => {
                "the credentials are not accepted: see `yandex.service_account_key_file` and YC_TOKEN".to_owned()
            }
            code::INVALID_ARGUMENT => {
                "`infra doctor ENV` checks the zones, images, disk types and quotas that the file asks for".to_owned()
            }
            _ => return Self::new(text),
        };
        Self::new(text).hint(hint)
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
    pub(super) fn refusal(self, status: u16) -> Refusal {
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
        Refusal { code: self.code, status, message, request_id, operation: None, untouched: false }
    }
}

/// Reads a refusal leniently: gateways on the way answer with pages of their own.
pub(super) async fn refusal(response: Response) -> Refusal {
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

#[cfg(test)]
mod tests {
    use super::Refusal;

    fn refusal(code: i64, message: &str) -> Refusal {
        Refusal { code, message: message.to_owned(), ..Refusal::default() }
    }

    #[test]
    fn refusals_are_told_apart() {
        assert!(!refusal(8, "Quota limit vpc.networks.count exceeded").is_transient());
        assert!(refusal(8, "The limit on maximum number of active operations has exceeded.").is_transient());
        assert_eq!(refusal(9, "conflicting operation \"c9q1\" detected").conflicting(), Some("c9q1"));
        assert_eq!(refusal(9, "Conflicting operation c9q2 detected").conflicting(), Some("c9q2"));
        assert_eq!(refusal(9, "the network is not empty").conflicting(), None);
        for used in [
            "Network enp1 is not empty",
            "Subnet is used by 1 network interfaces",
            "Address e9b1 is in use",
            "Target group enp2 is attached to a load balancer",
        ] {
            assert!(refusal(9, used).is_in_use(), "{used}");
        }
        for other in ["The operation is prohibited: deletion protection is enabled", "Cluster is stopped"] {
            assert!(!refusal(9, other).is_in_use(), "{other}");
        }
        assert!(!refusal(7, "it is in use").is_in_use());
    }
}
