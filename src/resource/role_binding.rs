//! The roles of a service account.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Field, FieldChange, Kind, Rules};
use crate::name::Name;

/// What a service account may do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleBindingSpec {
    /// The service account.
    pub service_account: Name,
    /// Its roles.
    pub roles: Vec<String>,
}

const RULES: Rules = Rules {
    fields: &[Field::seen("service_account", FieldChange::Replace), Field::seen("roles", FieldChange::InPlace)],
    links: &[],
};

pub(super) struct RoleBinding;

impl Kind for RoleBinding {
    fn name(&self) -> &'static str {
        "role_binding"
    }

    fn level(&self) -> u8 {
        1
    }

    fn rules(&self) -> Rules {
        RULES
    }

    fn summary(&self, spec: &Map<String, Value>) -> String {
        let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
        let roles = spec.get("roles").and_then(Value::as_array);
        let roles: Vec<String> = roles.into_iter().flatten().map(|role| text(Some(role))).collect();
        format!("{} for {}", roles.join(", "), text(spec.get("service_account")))
    }
}
