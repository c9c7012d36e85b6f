//! Public addresses, as the simulator has them: reserved ones are objects of the folder; dynamic ones belong to a machine or to a
//! balancer, are listed all the same, and can be made reserved ones.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    FOLDER, defaults,
    world::{ADDRESSES, Object, Refused, World, not_found, public, ranges},
};

/// The public addresses that an object has, with its zone.
fn of(object: &Object) -> impl Iterator<Item = (&Value, &Value)> {
    let nat = object.value.pointer("/networkInterfaces/0/primaryV4Address/oneToOneNat/address");
    let listeners = object.value["listeners"].as_array().into_iter().flatten().take(1).map(|one| &one["address"]);
    nat.into_iter().chain(listeners).map(|address| (address, &object.value["zoneId"]))
}

impl World {
    /// A reserved address of the folder.
    pub(super) fn reserved(&self, address: &Value) -> Result<Object, Refused> {
        let mut known = self.objects.values().filter(|object| object.collection == ADDRESSES);
        let found = known.find(|object| object.value["externalIpv4Address"]["address"] == *address);
        found.cloned().ok_or_else(|| not_found("Address", &address.to_string()))
    }

    /// Whether a machine or a balancer has this public address.
    pub(super) fn is_used(&self, address: &Value) -> bool {
        self.objects.values().flat_map(of).any(|(used, _)| used == address)
    }

    /// The addresses of a subnet that machines have.
    pub(super) fn used_addresses(&self, subnet: &str) -> Vec<Value> {
        let interface = |object: &Object| object.value.pointer("/networkInterfaces/0").cloned();
        let interfaces = self.objects.iter().filter_map(|(id, object)| Some((id, interface(object)?)));
        interfaces
            .filter(|(_, interface)| interface["subnetId"] == subnet)
            .map(|(id, interface)| {
                json!({
                    "address": interface["primaryV4Address"]["address"], "ipVersion": "IPV4",
                    "references": [{ "referrer": { "type": "compute_instance", "id": id }, "type": "USED_BY" }],
                })
            })
            .collect()
    }

    /// An address of a subnet that is in use and in one of these ranges.
    pub(super) fn used_in(&self, subnet: &str, among: &Value) -> Option<String> {
        let among = ranges(among).unwrap();
        let used = self.used_addresses(subnet).into_iter().map(|one| one["address"].as_str().unwrap().to_owned());
        let mut used = used.filter(|one| {
            let one = format!("{one}/32").parse().unwrap();
            among.iter().any(|range| range.covers(one))
        });
        used.next()
    }

    /// The addresses that were reserved by no one.
    pub(super) fn dynamic_addresses(&self) -> Vec<Value> {
        let used = self.objects.iter().flat_map(|(id, object)| of(object).map(move |found| (id, found)));
        used.filter(|(_, (address, _))| self.reserved(address).is_err())
            .map(|(user, (address, zone))| {
                let zone = zone.as_str().unwrap_or("ru-central1-a");
                json!({
                    "id": format!("e9bdyn{user}"), "folderId": FOLDER, "createdAt": "2026-01-02T03:04:05Z",
                    "externalIpv4Address": { "address": address, "zoneId": zone }, "used": true,
                    "type": "EXTERNAL", "ipVersion": "IPV4",
                })
            })
            .collect()
    }

    /// An object as an answer shows it in the view that is asked for: metadata of machines is in the full one only.
    pub(super) fn viewed(&self, object: &Object, query: &BTreeMap<String, String>) -> Value {
        let mut value = self.shown(object);
        if query.get("view").map(String::as_str) != Some("FULL") {
            value.as_object_mut().unwrap().remove("metadata");
            if let Some(template) = value.get_mut("instanceTemplate").and_then(Value::as_object_mut) {
                template.remove("metadata");
            }
        }
        value
    }

    /// An object as an answer shows it.
    pub(super) fn shown(&self, object: &Object) -> Value {
        let mut value = public(&object.value);
        defaults::fill(&object.collection, &mut value);
        if object.collection == ADDRESSES {
            value["used"] = self.is_used(&object.value["externalIpv4Address"]["address"]).into();
        }
        value
    }
}
