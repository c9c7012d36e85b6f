//! What the machines of an instance group are made from, and how that is compared with what the service has.

use serde_json::{Value, json};

use super::{
    account::{Account, needed, object_name},
    compute::GIB,
    interface::security_groups,
};
use crate::{
    error::{Error, Result},
    provider::{LABEL_ENV, LABEL_PROJECT, Request},
    resource::{HealthCheck, InstanceGroupSpec, KindName},
};

/// The label of a member that names its group.
const LABEL_GROUP: &str = "infra-group";
/// The label of a member with its image family.
pub(super) const LABEL_IMAGE: &str = "infra-image";

/// A template, with all that infra sets in it. What machines should not have is there as nothing: what is missing here
/// altogether belongs to others.
pub(super) struct Template {
    wanted: Value,
    differs: bool,
}

impl Template {
    /// Whether the service has another one.
    pub(super) fn differs(&self) -> bool {
        self.differs
    }

    /// The template as it is sent: a template takes the place of another one as a whole.
    pub(super) fn sent(&self) -> Value {
        without_nothing(&self.wanted)
    }
}

/// What the machines of a group are made from, compared with the template that the service has. They are spread over the subnets
/// that the group needs, one a zone.
pub(super) fn wanted(
    account: &Account, request: &Request<'_>, spec: &InstanceGroupSpec, image: &str, present: &Value,
) -> Result<Template> {
    let (machine, settings) = (&spec.machine, &account.settings);
    let (environment, name) = (request.environment, &request.resource.address.name);
    let boot = request.boot.as_ref().ok_or_else(|| Error::new("machines cannot be made without their keys"))?;
    let subnets = request.needs.iter().filter(|(need, _)| need.kind == KindName::SUBNET);
    let subnets: Vec<&str> = subnets.map(|(_, subnet)| subnet.id.as_str()).collect();
    let disk_type = machine.disk_type.as_ref().unwrap_or(&settings.disk_type);
    let nat = if machine.public { json!({ "ipVersion": "IPV4" }) } else { Value::Null };
    let service_account = match &spec.service_account {
        Some(account) => needed(request, &KindName::SERVICE_ACCOUNT.named(account))?.id.as_str().into(),
        None => Value::Null,
    };
    let mut labels = json!({ LABEL_ENV: environment, LABEL_GROUP: name, LABEL_IMAGE: machine.image });
    if !request.owner().is_of_earlier_version() {
        labels[LABEL_PROJECT] = request.project.into();
    }
    let wanted = json!({
        "name": format!("{}-{{instance.index}}", object_name(request)),
        "hostname": format!("{name}-{{instance.index}}"),
        "labels": labels,
        "platformId": machine.class.as_ref().unwrap_or(&settings.platform),
        "resourcesSpec": Account::resources(machine),
        "metadata": Account::metadata(machine, boot, &[]),
        "bootDiskSpec": {
            "mode": "READ_WRITE",
            "diskSpec": { "typeId": disk_type, "imageId": image, "size": (machine.disk_gb * GIB).to_string() },
        },
        "networkInterfaceSpecs": [{
            "subnetIds": subnets, "primaryV4AddressSpec": { "oneToOneNatSpec": nat },
            "securityGroupIds": security_groups(request, machine)?,
        }],
        "serviceAccountId": service_account,
    });
    let differs = !is_as_wanted(&wanted, present);
    Ok(Template { wanted, differs })
}

/// How many machines may be missing: a group that may neither miss a machine nor have one more could never be changed.
pub(super) fn max_unavailable(spec: &InstanceGroupSpec) -> u32 {
    if spec.max_unavailable + spec.max_expansion == 0 { 1 } else { spec.max_unavailable }
}

/// How a machine is asked whether it works, in the form of the API.
pub(super) fn health_checks(check: &HealthCheck) -> Value {
    let mut spec = json!({
        "interval": format!("{}s", check.interval), "timeout": format!("{}s", check.timeout),
        "unhealthyThreshold": check.failures.to_string(), "healthyThreshold": "2",
    });
    let port = check.port.to_string();
    match &check.path {
        Some(path) => spec["httpOptions"] = json!({ "port": port, "path": path }),
        None => spec["tcpOptions"] = json!({ "port": port }),
    }
    json!({ "healthCheckSpecs": [spec], "maxCheckingHealthDuration": format!("{}s", check.patience) })
}

/// Whether everything that infra sets is as it should be. What is wanted as nothing must not be there; what is left out of
/// answers has its default.
pub(super) fn is_as_wanted(wanted: &Value, present: &Value) -> bool {
    match (wanted, present) {
        (Value::Object(wanted), Value::Object(present)) if wanted.is_empty() => present.is_empty(),
        (Value::Object(wanted), _) => wanted.iter().all(|(name, value)| is_as_wanted(value, &present[name])),
        (Value::Array(wanted), Value::Array(present)) => {
            wanted.len() == present.len() && wanted.iter().zip(present).all(|(a, b)| is_as_wanted(a, b))
        }
        (Value::Null, present) => is_default(present),
        (wanted, Value::Null) => is_default(wanted),
        (wanted, present) => wanted == present,
    }
}

/// Whether a value says no more than that there is none. An object says more, even an empty one: that it is there.
fn is_default(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::String(text) => matches!(text.as_str(), "" | "0"),
        Value::Array(items) => items.is_empty(),
        Value::Number(_) | Value::Object(_) => false,
    }
}

/// A value without the fields that are nothing.
fn without_nothing(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.iter().filter(|(_, value)| !value.is_null());
            Value::Object(fields.map(|(name, value)| (name.clone(), without_nothing(value))).collect())
        }
        Value::Array(items) => items.iter().map(without_nothing).collect(),
        value => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{is_as_wanted, without_nothing};

    #[test]
    fn what_should_not_be_there_is_compared_too() {
        let wanted = json!({ "nat": null, "account": null, "list": [], "size": "2", "off": false });
        for same in [
            json!({ "size": "2" }),
            json!({ "size": "2", "account": "", "others": { "a": 1 } }),
            json!({ "size": "2", "list": [], "off": false, "nat": null }),
        ] {
            assert!(is_as_wanted(&wanted, &same), "{same}");
        }
        for other in [
            json!({ "size": "3" }),
            json!({}),
            json!({ "size": "2", "nat": {} }),
            json!({ "size": "2", "nat": { "ipVersion": "IPV4" } }),
            json!({ "size": "2", "account": "aje1" }),
            json!({ "size": "2", "list": ["a"] }),
            json!({ "size": "2", "off": true }),
        ] {
            assert!(!is_as_wanted(&wanted, &other), "{other}");
        }
        assert!(is_as_wanted(&json!({ "address": { "nat": null } }), &Value::Null));
        assert!(!is_as_wanted(&json!({ "address": {} }), &json!({ "address": { "nat": {} } })));
        assert_eq!(without_nothing(&wanted), json!({ "list": [], "size": "2", "off": false }));
    }
}
