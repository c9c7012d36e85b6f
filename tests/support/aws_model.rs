//! The rules of requests, from the service models that botocore ships: which parameters a call has, of which type, and which
//! it must have. moto itself takes anything.

use std::{collections::BTreeSet, sync::LazyLock};

use serde_json::Value;

use super::repository;

fn read(name: &str) -> Value {
    let path = repository().join("target/moto").join(name);
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

static MODELS: LazyLock<Vec<Value>> = LazyLock::new(|| {
    let names = ["ec2", "elbv2", "autoscaling", "iam", "sts", "rds"];
    names.iter().map(|name| read(&format!("{name}.json"))).collect()
});

/// The mistakes of a request of the query protocol, as pairs of names and values.
pub(crate) fn check(pairs: &[(String, String)]) -> Vec<String> {
    let mut found = Vec::new();
    let value = |name: &str| pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let action = value("Action").unwrap_or_default();
    // Services are told by the versions of their APIs, as far as those differ; two have the action otherwise.
    let version = |model: &&Value| model["metadata"]["apiVersion"].as_str() == value("Version");
    let model = MODELS.iter().filter(version).max_by_key(|model| model["operations"].get(action).is_some());
    let Some(model) = model else { return vec![format!("{action}: another version of the API")] };
    let operation = &model["operations"][action];
    if operation.is_null() {
        return vec![format!("{action}: unknown action")];
    }
    let input = operation["input"]["shape"].as_str().unwrap();
    let parameters = pairs.iter().filter(|(name, _)| !matches!(name.as_str(), "Action" | "Version"));
    let mut given: BTreeSet<&str> = BTreeSet::new();
    for (name, value) in parameters {
        given.insert(name.split('.').next().unwrap());
        let parts: Vec<&str> = name.split('.').collect();
        if let Err(mistake) = walk(model, input, &parts, value) {
            found.push(format!("{action}: {name}: {mistake}"));
        }
    }
    let shape = &model["shapes"][input];
    for required in shape["required"].as_array().into_iter().flatten() {
        let member = required.as_str().unwrap();
        if !given.contains(wire_name(model, member, &shape["members"][member]).as_str()) {
            found.push(format!("{action}: {member} is required"));
        }
    }
    found
}

/// Whether a model has an action of EC2 with a parameter, as it is written.
pub(crate) fn has_parameter(action: &str, parameter: &str) -> bool {
    let model = &MODELS[0];
    let Some(input) = model["operations"][action]["input"]["shape"].as_str() else { return false };
    let members = model["shapes"][input]["members"].as_object().unwrap();
    members.iter().any(|(name, member)| wire_name(model, name, member) == parameter)
}

/// Whether any of the services has an action.
pub(crate) fn has_action(action: &str) -> bool {
    MODELS.iter().any(|model| model["operations"].get(action).is_some())
}

/// The name of a member on the wire, by the rules of the protocols `ec2` and `query`.
fn wire_name(model: &Value, name: &str, member: &Value) -> String {
    if model["metadata"]["protocol"] == "query" {
        return member["locationName"].as_str().unwrap_or(name).to_owned();
    }
    if let Some(query) = member["queryName"].as_str() {
        return query.to_owned();
    }
    let name = member["locationName"].as_str().unwrap_or(name);
    let mut letters = name.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

fn walk(model: &Value, shape: &str, parts: &[&str], value: &str) -> Result<(), String> {
    let shape = &model["shapes"][shape];
    match (shape["type"].as_str().unwrap(), parts) {
        ("structure", [name, rest @ ..]) => {
            let members = shape["members"].as_object().unwrap();
            let found = members.iter().find(|(key, member)| wire_name(model, key, member) == *name);
            let (_, member) = found.ok_or_else(|| format!("there is no `{name}`"))?;
            walk(model, member["shape"].as_str().unwrap(), rest, value)
        }
        ("list", [element, number, rest @ ..])
            if model["metadata"]["protocol"] == "query" && shape["flattened"] != true =>
        {
            let name = shape["member"]["locationName"].as_str().unwrap_or("member");
            if *element != name {
                return Err(format!("elements of this list are called `{name}`, not `{element}`"));
            }
            number.parse::<u32>().map_err(|_| format!("`{number}` is not a number of an element"))?;
            walk(model, shape["member"]["shape"].as_str().unwrap(), rest, value)
        }
        ("list", [number, rest @ ..]) => {
            number.parse::<u32>().map_err(|_| format!("`{number}` is not a number of an element"))?;
            walk(model, shape["member"]["shape"].as_str().unwrap(), rest, value)
        }
        ("integer" | "long", []) => value.parse::<i64>().map(drop).map_err(|_| format!("`{value}` is no number")),
        ("boolean", []) => value.parse::<bool>().map(drop).map_err(|_| format!("`{value}` is not true or false")),
        ("string", []) => match shape["enum"].as_array() {
            Some(names) if !names.iter().any(|name| name == value) => Err(format!("`{value}` is not one of the names")),
            _ => Ok(()),
        },
        ("blob" | "timestamp" | "double" | "float", []) => Ok(()),
        (kind, rest) => Err(format!("a {kind} is expected, not {rest:?}")),
    }
}
