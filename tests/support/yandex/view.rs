//! What exists in the simulator, without what no two clouds have in common: ids are names, addresses say whose they are.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Cloud, plain, world::World};

impl Cloud {
    /// Everything that exists: two clouds that were made from the same file look the same, however they came to be.
    pub(crate) fn view(&self) -> BTreeMap<String, Value> {
        let world = self.world();
        let names = names(&world);
        let mut view = BTreeMap::new();
        for (id, object) in &world.objects {
            let mut value = object.value.clone();
            tidy(&mut value, &names);
            view.insert(names[id].clone(), value);
        }
        for binding in &world.bindings {
            let mut value = binding.clone();
            tidy(&mut value, &names);
            view.insert(format!("binding {} {}", value["subject"]["id"], value["roleId"]), value);
        }
        for (on, binding) in &world.account_bindings {
            let mut value = binding.clone();
            tidy(&mut value, &names);
            let place = names.get(on).unwrap_or(on);
            view.insert(format!("binding {} {} on {place}", value["subject"]["id"], value["roleId"]), value);
        }
        view
    }
}

/// What each id and each address is called.
fn names(world: &World) -> BTreeMap<String, String> {
    let mut names = BTreeMap::new();
    let named = |value: &Value| plain(value["name"].as_str().unwrap_or_default());
    for (id, object) in &world.objects {
        let kind = object.collection.rsplit('/').next().unwrap();
        let value = &object.value;
        let name = match (value["bootOf"].as_str(), value["defaultForNetwork"] == true) {
            (Some(machine), _) => format!("boot disk of {}", named(&world.objects[machine].value)),
            (_, true) => format!("group of {}", named(&world.objects[value["networkId"].as_str().unwrap()].value)),
            _ => format!("{kind} {}", named(value)),
        };
        for pointer in [
            "/networkInterfaces/0/primaryV4Address/address",
            "/networkInterfaces/0/primaryV4Address/oneToOneNat/address",
            "/listeners/0/address",
        ] {
            if let Some(address) = value.pointer(pointer).and_then(Value::as_str) {
                names.entry(address.to_owned()).or_insert_with(|| format!("address of {name}"));
            }
        }
        names.insert(id.clone(), name);
    }
    // A reserved address is its own, whoever has it.
    for object in world.objects.values().filter(|object| object.collection == super::world::ADDRESSES) {
        let address = object.value["externalIpv4Address"]["address"].as_str().unwrap();
        names.insert(address.to_owned(), format!("reserved {}", named(&object.value)));
    }
    names
}

fn tidy(value: &mut Value, names: &BTreeMap<String, String>) {
    match value {
        Value::String(text) => {
            if let Some(name) = names.get(text) {
                name.clone_into(text);
            }
            for (id, name) in names.iter().filter(|(id, _)| id.len() > 16) {
                *text = text.replace(id.as_str(), name);
            }
        }
        Value::Array(items) => {
            for item in items.iter_mut() {
                tidy(item, names);
            }
            items.sort_by_key(ToString::to_string);
        }
        Value::Object(fields) => {
            fields.retain(|name, value| {
                !["labels", "metadata", "password", "hostSpecs"].contains(&name.as_str()) && !value.is_null()
            });
            fields.values_mut().for_each(|field| tidy(field, names));
        }
        _ => {}
    }
}
