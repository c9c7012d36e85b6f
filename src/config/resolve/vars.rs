//! The variables beside the file: `group_vars/` and `host_vars/`.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use indexmap::IndexMap;
use serde_json::{Map, Value};

use crate::{
    config::Environment,
    error::{Diagnostic, Result},
    yaml,
};

/// The variables of each file of a folder, by the file's name.
pub(super) fn read_vars(folder: &Path, found: &mut Vec<Diagnostic>) -> Result<IndexMap<String, Map<String, Value>>> {
    let mut vars = IndexMap::new();
    let Ok(entries) = std::fs::read_dir(folder) else { return Ok(vars) };
    let mut paths: Vec<PathBuf> = entries.filter_map(std::result::Result::ok).map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
        if !path.is_file() || !matches!(extension, "yml" | "yaml" | "json" | "") {
            continue;
        }
        let (node, duplicates) = yaml::parse(&yaml::read(&path)?)?;
        found.extend(duplicates);
        let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        match node.to_value() {
            Value::Object(map) => drop(vars.insert(name, map)),
            Value::Null => drop(vars.insert(name, Map::new())),
            _ => found.push(node.error("a variables file is a mapping of names and values")),
        }
    }
    Ok(vars)
}

/// Warns of variables that are for nobody.
pub(super) fn check_var_files(environment: &Environment, found: &mut Vec<Diagnostic>) {
    let groups: BTreeSet<&str> =
        environment.hosts.values().flat_map(|host| host.groups.iter().map(String::as_str)).chain(["all"]).collect();
    for name in environment.group_vars.keys().filter(|name| !groups.contains(name.as_str())) {
        let message = format!("`group_vars/{name}` is for a group that no machine is in");
        found.push(Diagnostic::warning(None, message));
    }
    for name in environment.host_vars.keys().filter(|name| !environment.hosts.contains_key(name.as_str())) {
        found.push(Diagnostic::warning(None, format!("`host_vars/{name}` is for a machine that does not exist")));
    }
}
