//! What clouds ask of an object that someone else made before its environment takes it over.

use serde_json::{Map, Value};

use super::Request;
use crate::{
    error::{Error, Result},
    resource::KindName,
};

/// Why what is made by several calls is not taken over.
pub(super) const SEVERAL: &str = "infra makes it of several objects";

/// The error that an object cannot be taken over, for this reason.
pub(super) fn not_adopted(id: &str, request: &Request<'_>, reason: &str) -> Error {
    let address = &request.resource.address;
    Error::usage(format!("`{id}` carries no label of infra, and cannot be taken over as `{address}`: {reason}"))
}

/// The error that an object is one of an environment already.
pub(super) fn belongs(provider: &str, kind: &str, id: &str, environment: &str, project: &str) -> Error {
    Error::usage(format!(
        "{provider}: the {kind} `{id}` belongs to the environment `{environment}` of the project `{project}`"
    ))
}

/// Whether an object is in the network that the request wants it in.
///
/// # Errors
/// When it is in another one.
pub(super) fn stands_in(id: &str, request: &Request<'_>, network: &str) -> Result<()> {
    match request.need(KindName::NETWORK) {
        Some(wanted) if wanted.id != network => {
            Err(not_adopted(id, request, &format!("it is in the network `{network}`, not in `{}`", wanted.id)))
        }
        _ => Ok(()),
    }
}

/// What an object shows of the specification that it should have.
pub(super) struct Seen<'a> {
    id: &'a str,
    request: &'a Request<'a>,
    /// The fields, as the specification has them.
    pub(super) fields: Map<String, Value>,
}

impl<'a> Seen<'a> {
    /// Nothing yet.
    pub(super) fn of(id: &'a str, request: &'a Request<'a>) -> Self {
        Self { id, request, fields: Map::new() }
    }

    /// Notes what a field is.
    pub(super) fn field(&mut self, name: &str, value: impl Into<Value>) {
        self.fields.insert(name.to_owned(), value.into());
    }

    /// Notes what a field is; where the file names none, it must be the usual one.
    ///
    /// # Errors
    /// When it is another one: no plan could show it.
    pub(super) fn or_usual(&mut self, name: &str, value: &str, usual: &str) -> Result<()> {
        if self.request.resource.spec.contains_key(name) {
            self.field(name, value);
        } else if value != usual {
            return Err(not_adopted(self.id, self.request, &format!("its {name} is `{value}`, not `{usual}`")));
        }
        Ok(())
    }
}
