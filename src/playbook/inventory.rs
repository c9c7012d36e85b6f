//! The hosts of a run, their groups and the variables that the inventory gives them.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use serde_json::{Map, Value, json};

use crate::template::Vars;

/// The hosts of a run.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    /// The hosts, in order.
    pub hosts: Vec<String>,
    /// Groups and their members, `all` among them.
    pub groups: BTreeMap<String, Vec<String>>,
    /// Hosts that a variable speaks of: a task that looks at it needs what earlier plays do on them.
    pub services: BTreeMap<String, Vec<String>>,
    /// Variables of all hosts, of lowest precedence but for role defaults.
    pub vars: Vars,
    /// Variables of groups.
    pub group_vars: IndexMap<String, Vars>,
    /// Variables of hosts.
    pub host_vars: IndexMap<String, Vars>,
    /// Variables over all others.
    pub extra_vars: Vars,
}

impl Inventory {
    /// The groups of a host, sorted, without `all`.
    #[must_use]
    pub fn groups_of(&self, host: &str) -> Vec<String> {
        let mine =
            self.groups.iter().filter(|(name, members)| *name != "all" && members.iter().any(|member| member == host));
        mine.map(|(name, _)| name.clone()).collect()
    }

    /// What Ansible's dynamic inventory protocol answers to `--list`.
    #[must_use]
    pub fn to_ansible(&self) -> Value {
        let mut list = Map::new();
        let hostvars: Map<String, Value> = self
            .hosts
            .iter()
            .map(|host| (host.clone(), self.host_vars.get(host).map(Vars::to_map).unwrap_or_default().into()))
            .collect();
        list.insert("_meta".to_owned(), json!({ "hostvars": hostvars }));
        let names: Vec<&String> = self.groups.keys().filter(|name| *name != "all").collect();
        list.insert("all".to_owned(), json!({ "hosts": self.hosts, "children": names }));
        for (name, members) in self.groups.iter().filter(|(name, _)| *name != "all") {
            let vars = self.group_vars.get(name).map(Vars::to_map).unwrap_or_default();
            list.insert(name.clone(), json!({ "hosts": members, "vars": vars }));
        }
        Value::Object(list)
    }
}
