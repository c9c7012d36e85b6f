//! The variables beside the file: `group_vars/` and `host_vars/`.

use std::{collections::BTreeSet, path::Path};

use indexmap::IndexMap;
use serde_json::{Map, Value};

use crate::{
    config::Environment,
    error::{Diagnostic, Result},
    files, yaml,
};

/// The variables of each group or host of a folder, by its name; `written` gets them with their places.
pub(super) fn read_vars(
    folder: &Path, written: &mut Vec<yaml::Node>, found: &mut Vec<Diagnostic>,
) -> Result<IndexMap<String, Map<String, Value>>> {
    let mut vars = IndexMap::new();
    for (name, paths) in files::vars_files(folder)? {
        let mut all = Map::new();
        for path in paths {
            let (node, duplicates) = yaml::parse(&yaml::read(&path)?)?;
            found.extend(duplicates);
            match node.to_value() {
                Value::Object(map) => all.extend(map),
                Value::Null => {}
                _ => found.push(node.error("a variables file is a mapping of names and values")),
            }
            written.push(node);
        }
        vars.insert(name, all);
    }
    Ok(vars)
}

/// Warns of variables that are for no machine.
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
