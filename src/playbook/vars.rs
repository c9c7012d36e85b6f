//! Which value a name has for a task on a host: Ansible's order of precedence, looked up layer by layer.

use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::{Arc, Mutex, RwLock},
};

use serde_json::{Map, Value, json};

use super::{
    model::{Beside, Play, Role, Task},
    roster::Roster,
    sources::{Places, chain},
    world::{HostMemory, World},
};
use crate::{
    files,
    modules::Rendered,
    template::{Layout, Lookups, Scope, Var, Vars},
};

/// The view of a task on a host.
#[derive(Clone)]
pub struct TaskScope {
    /// The run.
    pub world: Arc<World>,
    /// The host's name.
    pub host: String,
    /// The play, when there is one.
    pub play: Option<Arc<PlayScope>>,
    /// The variables beside the playbook, where a host is seen from another one's play.
    pub beside: Option<Arc<Beside>>,
    /// The task, when there is one.
    pub task: Option<Arc<Task>>,
    /// Loop items and what a rescue gets: data.
    pub locals: Arc<Map<String, Value>>,
    /// The hosts that are looked at through it, when someone wants to know.
    pub looked: Option<Arc<Mutex<BTreeSet<String>>>>,
}

/// What a play adds.
pub struct PlayScope {
    /// The play.
    pub play: Play,
    /// `vars_files`, read.
    pub vars_files: Vars,
    /// Its hosts.
    pub hosts: Vec<String>,
    /// Its hosts by the batches of `serial`.
    pub batches: Vec<Vec<String>>,
    /// Which of them are still in the run.
    pub roster: Arc<Roster>,
    /// Those for which the play has been ended.
    pub(super) ended: Mutex<BTreeSet<String>>,
    /// Roles that were included with `public: true`.
    pub public: RwLock<Vec<Arc<Role>>>,
}

impl PlayScope {
    /// A variable of the roles that the whole play sees; the last one wins.
    fn of_roles(&self, find: impl Fn(&Role) -> Option<Var>) -> Option<Var> {
        let public = self.public.read().expect("no task panics while it holds the list");
        public.iter().rev().chain(self.play.roles.iter().rev()).find_map(|role| find(role))
    }
}

impl PlayScope {
    /// The hosts of a list that are still in the play.
    fn remaining(&self, hosts: &[String]) -> Vec<String> {
        let mut hosts = self.roster.remaining(hosts);
        let ended = self.ended.lock().expect("no task panics while it holds the ended hosts");
        hosts.retain(|host| !ended.contains(host));
        hosts
    }

    /// The play is over for these hosts.
    pub(super) fn end(&self, hosts: &[String]) {
        let mut ended = self.ended.lock().expect("no task panics while it holds the ended hosts");
        ended.extend(hosts.iter().cloned());
    }

    /// The hosts of a host's batch.
    fn batch(&self, host: &str) -> &[String] {
        self.batches.iter().find(|batch| batch.iter().any(|member| member == host)).unwrap_or(&self.hosts)
    }
}

const LOOKED: &str = "no task panics while it notes what it looks at";

fn find_in(vars: &Vars, name: &str) -> Option<Var> {
    vars.get(name).cloned()
}

fn locked(map: &RwLock<Map<String, Value>>, name: &str) -> Option<Value> {
    map.read().expect("no task panics while it holds a host's memory").get(name).cloned()
}

/// The variables that no one can set.
pub const MAGIC_VARIABLES: &[&str] = &[
    "ansible_check_mode",
    "ansible_diff_mode",
    "ansible_facts",
    "ansible_managed",
    "ansible_parent_role_names",
    "ansible_play_batch",
    "ansible_play_hosts",
    "ansible_play_hosts_all",
    "ansible_play_name",
    "ansible_role_name",
    "ansible_version",
    "group_names",
    "groups",
    "hostvars",
    "inventory_hostname",
    "inventory_hostname_short",
    "play_hosts",
    "playbook_dir",
    "role_name",
    "role_names",
    "role_path",
    "vars",
];

impl TaskScope {
    /// What is known without a host: the variables of the environment, and those of a task that stands for a play.
    #[must_use]
    pub fn without_host(world: Arc<World>, task: Option<Task>) -> Self {
        Self {
            world,
            host: String::new(),
            play: None,
            beside: None,
            task: task.map(Arc::new),
            locals: Arc::default(),
            looked: None,
        }
    }

    /// A scope as a trait object, for the engine.
    #[must_use]
    pub fn shared(&self) -> Arc<dyn Scope> {
        Arc::new(self.clone())
    }

    /// The same scope, which notes the hosts that are looked at through it.
    #[must_use]
    pub(super) fn noting(&self) -> (Self, Arc<Mutex<BTreeSet<String>>>) {
        let looked = Arc::<Mutex<BTreeSet<String>>>::default();
        (Self { looked: Some(Arc::clone(&looked)), ..self.clone() }, looked)
    }

    /// Notes the hosts that a variable speaks of.
    fn note(&self, name: &str) {
        let Some(looked) = &self.looked else { return };
        let inventory = self.world.inventory();
        let hosts = if name == "groups" { Some(&inventory.hosts) } else { inventory.services.get(name) };
        if let Some(hosts) = hosts {
            looked.lock().expect(LOOKED).extend(hosts.iter().cloned());
        }
    }

    /// The same scope with more locals.
    #[must_use]
    pub fn with(&self, more: impl IntoIterator<Item = (String, Value)>) -> Self {
        let mut locals = (*self.locals).clone();
        locals.extend(more);
        Self { locals: Arc::new(locals), ..self.clone() }
    }

    fn role(&self) -> Option<&Arc<Role>> {
        self.task.as_ref()?.common.role.as_ref()
    }

    /// What is known of the host; nothing where there is none.
    fn memory(&self) -> Option<Arc<HostMemory>> {
        self.world.memory_of(&self.host).ok()
    }

    fn facts(&self) -> Map<String, Value> {
        let Some(memory) = self.memory() else { return Map::new() };
        let facts = memory.facts.read().expect("no task panics while it holds a host's memory");
        facts.clone()
    }

    /// Variables that no one can set.
    fn magic(&self, name: &str) -> Option<Var> {
        let inventory = || self.world.inventory();
        let value = match name {
            "inventory_hostname" => json!(self.host),
            "inventory_hostname_short" => json!(self.host.split('.').next()),
            "groups" => json!(inventory().groups),
            "group_names" => json!(inventory().groups_of(&self.host)),
            "hostvars" => return Some(self.hostvars()),
            "ansible_facts" => Value::Object(self.facts()),
            "ansible_check_mode" => json!(self.world.check),
            "ansible_diff_mode" => json!(false),
            "ansible_managed" => json!("Ansible managed"),
            "ansible_version" => {
                json!({ "full": "2.17.0", "major": 2, "minor": 17, "revision": 0, "string": "2.17.0" })
            }
            "ansible_play_hosts_all" => json!(self.play.as_ref()?.hosts),
            "ansible_play_hosts" => {
                let play = self.play.as_ref()?;
                json!(play.remaining(&play.hosts))
            }
            "ansible_play_batch" | "play_hosts" => {
                let play = self.play.as_ref()?;
                json!(play.remaining(play.batch(&self.host)))
            }
            "ansible_play_name" => json!(self.play.as_ref()?.play.name),
            "playbook_dir" => json!(self.play.as_ref()?.play.folder.display().to_string()),
            "role_path" => json!(self.role()?.path.display().to_string()),
            "role_name" | "ansible_role_name" => json!(self.role()?.name),
            "ansible_parent_role_names" => json!(chain(self.role()).skip(1).map(|role| &role.name).collect::<Vec<_>>()),
            "role_names" => json!(self.play.as_ref()?.play.roles.iter().map(|role| &role.name).collect::<Vec<_>>()),
            "vars" => return Some(Var::scope(&self.world.engine, &self.shared())),
            _ => return None,
        };
        Some(Var::data(value))
    }

    /// Every host's variables, looked up when they are looked at.
    fn hostvars(&self) -> Var {
        let (world, looked) = (Arc::clone(&self.world), self.looked.clone());
        let beside = self.beside().cloned();
        Var::map(world.inventory().hosts.clone(), move |host| {
            if let Some(looked) = &looked {
                looked.lock().expect(LOOKED).insert(host.to_owned());
            }
            world.knows(host).then(|| {
                let scope = TaskScope {
                    world: Arc::clone(&world),
                    host: host.to_owned(),
                    play: None,
                    beside: beside.clone(),
                    task: None,
                    locals: Arc::default(),
                    looked: looked.clone(),
                };
                Var::scope(&world.engine, &scope.shared())
            })
        })
    }

    /// The variables beside the playbook.
    fn beside(&self) -> Option<&Arc<Beside>> {
        self.beside.as_ref().or_else(|| Some(&self.play.as_ref()?.play.beside))
    }

    fn host_vars(&self, name: &str) -> Option<Var> {
        let beside = self.beside().and_then(|beside| find_in(beside.host_vars.get(&self.host)?, name));
        beside.or_else(|| find_in(self.world.inventory().host_vars.get(&self.host)?, name))
    }

    fn group_vars(&self, name: &str) -> Option<Var> {
        let inventory = self.world.inventory();
        // Groups of one level are merged by name, the last one wins; `all` comes under them.
        let groups: Vec<String> = inventory.groups_of(&self.host).into_iter().rev().collect();
        [groups, vec!["all".to_owned()]].iter().find_map(|level| {
            // Of one level, what is beside the playbook comes over what is beside the inventory.
            let beside = self
                .beside()
                .and_then(|beside| level.iter().find_map(|group| find_in(beside.group_vars.get(group)?, name)));
            beside.or_else(|| level.iter().find_map(|group| find_in(inventory.group_vars.get(group)?, name)))
        })
    }

    /// Facts under their long names: `ansible_distribution`.
    fn injected(&self, name: &str) -> Option<Var> {
        let short = name.strip_prefix("ansible_")?;
        locked(&self.memory()?.facts, short).map(Var::data)
    }
}

impl Scope for TaskScope {
    fn get(&self, name: &str) -> Option<Var> {
        let memory = self.memory();
        let inventory = self.world.inventory();
        let task = self.task.as_deref();
        self.note(name);
        if let Some(value) = self.locals.get(name) {
            return Some(Var::data(value.clone()));
        }
        self.magic(name)
            .or_else(|| find_in(&inventory.extra_vars, name))
            .or_else(|| find_in(&task?.common.params, name))
            .or_else(|| chain(self.role()).find_map(|role| find_in(&role.params, name)))
            .or_else(|| locked(&memory.as_ref()?.set, name).map(Var::data))
            .or_else(|| {
                let included = memory.as_ref()?.included.read().expect("no task panics while it holds a host's memory");
                find_in(&included, name)
            })
            .or_else(|| find_in(&task?.common.vars, name))
            .or_else(|| chain(self.role()).find_map(|role| find_in(&role.vars, name)))
            .or_else(|| self.play.as_ref()?.of_roles(|role| find_in(&role.vars, name)))
            .or_else(|| find_in(&self.play.as_ref()?.vars_files, name))
            .or_else(|| find_in(&self.play.as_ref()?.play.vars, name))
            .or_else(|| self.injected(name))
            .or_else(|| self.host_vars(name))
            .or_else(|| self.group_vars(name))
            .or_else(|| find_in(&inventory.vars, name))
            .or_else(|| chain(self.role()).find_map(|role| find_in(&role.defaults, name)))
            .or_else(|| self.play.as_ref()?.of_roles(|role| find_in(&role.defaults, name)))
    }

    fn names(&self) -> Vec<String> {
        let inventory = self.world.inventory();
        let mut names: Vec<String> =
            ["inventory_hostname", "group_names", "groups", "ansible_facts"].map(String::from).into();
        names.extend(inventory.vars.keys().cloned());
        names.extend(
            inventory
                .groups_of(&self.host)
                .iter()
                .chain([&"all".to_owned()])
                .flat_map(|group| inventory.group_vars.get(group).into_iter().flat_map(Vars::keys).cloned()),
        );
        names.extend(inventory.host_vars.get(&self.host).into_iter().flat_map(Vars::keys).cloned());
        if let Some(memory) = self.memory() {
            names.extend(memory.set.read().expect("no task panics while it holds a host's memory").keys().cloned());
        }
        names.extend(self.facts().keys().map(|name| format!("ansible_{name}")));
        names.sort();
        names.dedup();
        names
    }

    fn lookups(&self) -> Lookups {
        self.places().lookups()
    }
}

impl TaskScope {
    /// Where its task looks for files.
    fn places(&self) -> Places<'_> {
        Places {
            task: self.task.as_deref(),
            playbook: self.play.as_ref().map(|play| play.play.folder.as_path()),
            search: &self.world.search,
        }
    }

    /// The folders in which a task looks for files of a kind.
    pub(super) fn folders(&self, kind: &str) -> Vec<PathBuf> {
        self.places().folders(kind)
    }

    /// The folders of templates.
    pub(super) fn template_folders(&self) -> Vec<PathBuf> {
        self.places().template_folders()
    }

    /// The path of a template.
    ///
    /// # Errors
    /// When no folder has it; the folders are named.
    pub fn find_template(&self, name: &str) -> crate::error::Result<PathBuf> {
        self.places().find_template(name)
    }
}

impl crate::modules::Sources for TaskScope {
    fn file(&self, name: &str) -> crate::error::Result<bytes::Bytes> {
        self.places().file(name)
    }

    fn mode(&self, name: &str) -> crate::error::Result<Option<u32>> {
        self.places().mode(name)
    }

    fn folder(&self, name: &str) -> crate::error::Result<Option<crate::modules::Folder>> {
        self.places().folder(name)
    }

    fn template(&self, name: &str, layout: Layout) -> crate::error::Result<Rendered> {
        let path = self.find_template(name)?;
        let text = files::read_text(&path)?;
        let text = self.world.engine.render_file_in(&path, &text, layout, &self.shared())?;
        Ok(Rendered { text, mode: files::mode(&path) })
    }
}
