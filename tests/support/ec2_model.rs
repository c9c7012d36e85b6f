//! The rules of EC2's requests, from the service model that botocore ships: which parameters a call has, of which type, and
//! which it must have. moto itself takes anything.

use std::{collections::BTreeSet, sync::LazyLock};

use serde_json::Value;

use super::repository;

static MODEL: LazyLock<Value> = LazyLock::new(|| {
    let path = repository().join("target/moto/ec2.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
});

/// The mistakes of a request of the query protocol, as pairs of names and values.
pub(crate) fn check(pairs: &[(String, String)]) -> Vec<String> {
    let mut found = Vec::new();
    let value = |name: &str| pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let action = value("Action").unwrap_or_default();
    let operation = &MODEL["operations"][action];
    if operation.is_null() {
        return vec![format!("{action}: unknown action")];
    }
    if value("Version") != MODEL["metadata"]["apiVersion"].as_str() {
        found.push(format!("{action}: another version of the API"));
    }
    let input = operation["input"]["shape"].as_str().unwrap();
    let parameters = pairs.iter().filter(|(name, _)| !matches!(name.as_str(), "Action" | "Version"));
    let mut given: BTreeSet<&str> = BTreeSet::new();
    for (name, value) in parameters {
        given.insert(name.split('.').next().unwrap());
        let parts: Vec<&str> = name.split('.').collect();
        if let Err(mistake) = walk(input, &parts, value) {
            found.push(format!("{action}: {name}: {mistake}"));
        }
    }
    let shape = &MODEL["shapes"][input];
    for required in shape["required"].as_array().into_iter().flatten() {
        let member = required.as_str().unwrap();
        if !given.contains(wire_name(member, &shape["members"][member]).as_str()) {
            found.push(format!("{action}: {member} is required"));
        }
    }
    found
}

/// The name of a member on the wire, by the rules of the protocol `ec2`.
fn wire_name(name: &str, member: &Value) -> String {
    if let Some(query) = member["queryName"].as_str() {
        return query.to_owned();
    }
    let name = member["locationName"].as_str().unwrap_or(name);
    let mut letters = name.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

fn walk(shape: &str, parts: &[&str], value: &str) -> Result<(), String> {
    let shape = &MODEL["shapes"][shape];
    match (shape["type"].as_str().unwrap(), parts) {
        ("structure", [name, rest @ ..]) => {
            let members = shape["members"].as_object().unwrap();
            let found = members.iter().find(|(key, member)| wire_name(key, member) == *name);
            let (_, member) = found.ok_or_else(|| format!("there is no `{name}`"))?;
            walk(member["shape"].as_str().unwrap(), rest, value)
        }
        ("list", [number, rest @ ..]) => {
            number.parse::<u32>().map_err(|_| format!("`{number}` is not a number of an element"))?;
            walk(shape["member"]["shape"].as_str().unwrap(), rest, value)
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
