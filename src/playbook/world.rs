//! What a run knows: its hosts with their groups and variables, which tasks may add to, and what each of them has said and been given.

use std::{
    collections::BTreeMap,
    sync::{Arc, RwLock},
};

use serde_json::{Map, Value};

use super::{inventory::Inventory, load::SearchPath};
use crate::{
    error::{Error, Result},
    template::{Engine, Vars},
};

/// What is known of one host, as long as the run lasts.
#[derive(Debug, Default)]
pub struct HostMemory {
    /// Facts, under their names without `ansible_`: data.
    pub facts: RwLock<Map<String, Value>>,
    /// `set_fact` and `register`: data.
    pub set: RwLock<Map<String, Value>>,
    /// `include_vars`.
    pub included: RwLock<Vars>,
}

/// The hosts of a run, what is known of each, and what does not change while the run lasts. A play looks at the hosts when its turn
/// comes; a task sees what earlier ones have added.
pub struct World {
    /// The template engine.
    pub engine: Engine,
    /// Where files are looked for.
    pub search: SearchPath,
    /// Whether nothing is changed.
    pub check: bool,
    inventory: RwLock<Arc<Inventory>>,
    /// By name; `localhost` too.
    memory: RwLock<BTreeMap<String, Arc<HostMemory>>>,
}

const HELD: &str = "no task panics while it holds the hosts";

impl World {
    /// A world with these hosts, of which nothing is known yet.
    #[must_use]
    pub fn new(inventory: Inventory, search: SearchPath, engine: Engine, check: bool) -> Self {
        let names = inventory.hosts.iter().cloned().chain(["localhost".to_owned()]);
        let memory = names.map(|name| (name, Arc::default())).collect();
        Self { engine, search, check, inventory: RwLock::new(Arc::new(inventory)), memory: RwLock::new(memory) }
    }

    /// The hosts, groups and their variables as they are now.
    #[must_use]
    pub fn inventory(&self) -> Arc<Inventory> {
        Arc::clone(&self.inventory.read().expect(HELD))
    }

    /// Whether there is a host of this name.
    #[must_use]
    pub fn knows(&self, host: &str) -> bool {
        self.memory.read().expect(HELD).contains_key(host)
    }

    /// What is known of a host.
    ///
    /// # Errors
    /// When there is no such host.
    pub fn memory_of(&self, host: &str) -> Result<Arc<HostMemory>> {
        let memory = self.memory.read().expect(HELD).get(host).cloned();
        memory.ok_or_else(|| Error::usage(format!("there is no host `{host}` in this run")))
    }

    /// Adds a host to the run and to groups, or gives one more groups and variables; whether that was not so before.
    pub fn add_host(&self, name: &str, groups: &[String], vars: Map<String, Value>) -> bool {
        let mut held = self.inventory.write().expect(HELD);
        let inventory = Arc::make_mut(&mut held);
        let mut changed = add(&mut inventory.hosts, name);
        let all = std::iter::once("all").chain(groups.iter().map(String::as_str));
        for group in all {
            changed |= add(inventory.groups.entry(group.to_owned()).or_default(), name);
        }
        let own = inventory.host_vars.entry(name.to_owned()).or_default();
        for (name, value) in vars {
            own.insert_data(&name, value);
        }
        self.memory.write().expect(HELD).entry(name.to_owned()).or_default();
        changed
    }

    /// Adds a host to groups; whether it was in one of them not before.
    pub fn add_to_groups(&self, host: &str, groups: &[String]) -> bool {
        let mut held = self.inventory.write().expect(HELD);
        let is_in =
            |group: &String| held.groups.get(group).is_some_and(|members| members.iter().any(|one| one == host));
        if groups.iter().all(is_in) {
            return false;
        }
        let inventory = Arc::make_mut(&mut held);
        // In the order of the hosts, whichever of them comes first to its task.
        let order: BTreeMap<&String, usize> = inventory.hosts.iter().enumerate().map(|(at, host)| (host, at)).collect();
        for group in groups {
            let members = inventory.groups.entry(group.clone()).or_default();
            if members.iter().all(|member| member != host) {
                let own = order.get(&host.to_owned());
                let at = members.iter().position(|member| order.get(member) > own).unwrap_or(members.len());
                members.insert(at, host.to_owned());
            }
        }
        true
    }
}

fn add(names: &mut Vec<String>, name: &str) -> bool {
    let is_new = names.iter().all(|known| known != name);
    if is_new {
        names.push(name.to_owned());
    }
    is_new
}
