//! What was done to an instance group beside infra.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::{
    compute::GIB,
    group_template::{LABEL_IMAGE, max_unavailable},
};
use crate::{
    cloud::yandex::InstanceGroup,
    encoding,
    provider::Object,
    resource::{HealthCheck, InstanceGroupSpec, spec_fields},
};

/// The attribute of a group: a mark of the metadata that its machines get, which holds keys. Marks of earlier versions, under
/// `metadata`, depended on the order of the names in an answer.
pub(super) const METADATA: &str = "metadata_mark";

/// What the service shows, before it is compared with a specification.
const SERVICE: &str = "service";

/// A mark of metadata, whose names may come in any order: whether it is other metadata is all that it says.
pub(super) fn mark(metadata: &Value) -> String {
    let sorted: BTreeMap<&String, &Value> = metadata.as_object().into_iter().flatten().collect();
    encoding::hex(&Sha256::digest(json!(sorted).to_string())[..8])
}

/// Notes what a list shows of a group.
pub(super) fn note(group: &InstanceGroup, object: &mut Object) {
    object.attributes.insert(METADATA.to_owned(), mark(&group.instance_template["metadata"]).into());
    let zones: Vec<&str> = group.allocation_policy.zones.iter().map(|zone| zone.zone_id.as_str()).collect();
    let noted = json!({
        "template": group.instance_template, "zones": zones, "check": group.health_checks_spec,
        "max_unavailable": group.deploy_policy.max_unavailable, "max_expansion": group.deploy_policy.max_expansion,
    });
    object.actual.insert(SERVICE.to_owned(), noted);
}

fn number(value: &Value) -> u64 {
    value.as_u64().or_else(|| value.as_str()?.parse().ok()).unwrap_or(0)
}

fn seconds(value: &Value) -> u64 {
    let text = value.as_str().unwrap_or_default().trim_end_matches('s');
    text.split('.').next().and_then(|whole| whole.parse().ok()).unwrap_or(0)
}

/// The health check that a group has.
fn check(spec: &Value) -> Option<HealthCheck> {
    let first = spec["healthCheckSpecs"].get(0)?;
    let options = first.get("httpOptions").or_else(|| first.get("tcpOptions"))?;
    Some(HealthCheck {
        port: u16::try_from(number(&options["port"])).ok()?,
        path: options["path"].as_str().map(str::to_owned),
        interval: seconds(&first["interval"]),
        timeout: seconds(&first["timeout"]),
        failures: u32::try_from(number(&first["unhealthyThreshold"])).ok()?,
        patience: seconds(&spec["maxCheckingHealthDuration"]),
    })
}

/// Turns what was noted into fields of the specification, where they differ from it.
pub(super) fn compare(spec: &Map<String, Value>, attributes: &Map<String, Value>, object: &mut Object) {
    // An earlier version did not note it.
    let known = attributes.get(METADATA);
    let other_metadata = known.is_some_and(|known| object.attributes.get(METADATA) != Some(known));
    object.attributes.extend(known.map(|known| (METADATA.to_owned(), known.clone())));
    let Some(noted) = object.actual.remove(SERVICE) else { return };
    let Ok(believed) = serde_json::from_value::<InstanceGroupSpec>(Value::Object(spec.clone())) else { return };
    let mut seen = believed.clone();
    let mut zones: Vec<String> =
        noted["zones"].as_array().into_iter().flatten().filter_map(|zone| Some(zone.as_str()?.to_owned())).collect();
    zones.sort();
    let mut known = believed.zones.clone();
    known.sort();
    // A group whose file names no zone is in that of its subnet.
    if zones != known && !(known.is_empty() && zones.len() == 1) {
        seen.zones = zones;
    }
    let deploy = |field: &str| u32::try_from(number(&noted[field])).unwrap_or(0);
    if deploy("max_unavailable") != max_unavailable(&believed) {
        seen.max_unavailable = deploy("max_unavailable");
    }
    seen.max_expansion = deploy("max_expansion");
    seen.health_check = check(&noted["check"]);
    let template = &noted["template"];
    let machine = &mut seen.machine;
    let resources = &template["resourcesSpec"];
    machine.cores = u32::try_from(number(&resources["cores"])).unwrap_or(0);
    machine.memory_mb = number(&resources["memory"]) >> 20;
    machine.core_fraction = match u32::try_from(number(&resources["coreFraction"])) {
        Ok(0) | Err(_) => 100,
        Ok(share) => share,
    };
    let disk = &template["bootDiskSpec"]["diskSpec"];
    machine.disk_gb = number(&disk["size"]) / GIB;
    let text = |value: &Value, known: &Option<String>| match (value.as_str(), known) {
        (Some(value), Some(_)) => Some(value.to_owned()),
        _ => known.clone(),
    };
    machine.disk_type = text(&disk["typeId"], &believed.machine.disk_type);
    machine.class = text(&template["platformId"], &believed.machine.class);
    if let Some(image) = template["labels"][LABEL_IMAGE].as_str() {
        image.clone_into(&mut machine.image);
    }
    let address = &template["networkInterfaceSpecs"][0]["primaryV4AddressSpec"];
    if other_metadata {
        machine.user_data = Some("changed outside of infra".to_owned());
    }
    machine.public = address.get("oneToOneNatSpec").is_some_and(|nat| !nat.is_null());
    for (field, value) in spec_fields(&seen) {
        if field != "count" && spec.get(&field).unwrap_or(&Value::Null) != &value {
            object.actual.insert(field, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::mark;

    #[test]
    fn the_order_of_names_is_no_difference() {
        let parsed = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        let one = mark(&parsed(r#"{"user-data": "a", "ssh-keys": "b"}"#));
        assert_eq!(one, mark(&parsed(r#"{"ssh-keys": "b", "user-data": "a"}"#)));
        assert_ne!(one, mark(&json!({ "ssh-keys": "b", "user-data": "c" })));
    }
}
