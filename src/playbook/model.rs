//! What a playbook is made of, after it is read and before anything is known about a host.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
};

use indexmap::IndexMap;
use serde_json::{Map, Value, json};

use super::circles::Written;
use crate::{
    template::{Authored, Vars},
    yaml::Mark,
};

/// A play: some tasks for some hosts.
#[derive(Clone, Debug)]
pub struct Play {
    /// Its name, or the hosts it is for.
    pub name: String,
    /// The patterns of its hosts.
    pub hosts: Vec<String>,
    /// Where they are written.
    pub hosts_mark: Mark,
    /// Whether facts are gathered first.
    pub gather_facts: bool,
    /// Whether later plays of other hosts may run at the same time (`strategy: free`).
    pub free: bool,
    /// How many hosts go at once; all of them when empty. The last number repeats.
    pub serial: Vec<String>,
    /// How many of a batch's hosts may fail before the run ends, in percent.
    pub max_fail_percentage: Option<Authored>,
    /// Whether notified handlers also run on a host that has failed.
    pub force_handlers: Option<Authored>,
    /// Its variables.
    pub vars: Vars,
    /// Files of variables.
    pub vars_files: Vec<Authored>,
    /// Tasks before the roles, roles and tasks, tasks after: handlers run after each.
    pub sections: Vec<Vec<Entry>>,
    /// Handlers of the play and its roles, in the order in which they are defined.
    pub handlers: Vec<Arc<Task>>,
    /// The roles of `roles:` and `import_role`: their variables are seen by the whole play.
    pub roles: Vec<Arc<Role>>,
    /// What its tasks inherit.
    pub common: Common,
    /// The variables beside the playbook.
    pub beside: Arc<Beside>,
    /// The folder of the playbook.
    pub folder: PathBuf,
    /// What it speaks of and what it defines.
    pub symbols: Symbols,
    /// Where it is.
    pub mark: Mark,
}

/// A task or a block of them.
#[derive(Clone, Debug)]
pub enum Entry {
    /// One task.
    Task(Arc<Task>),
    /// A block.
    Block(Arc<Block>),
}

impl Entry {
    /// How many steps it takes, for hosts that go through a play together.
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Task(_) => 1,
            Self::Block(block) => block.body.iter().map(Self::weight).sum::<usize>() + block.ending(),
        }
    }
}

/// A block of tasks, with what happens when one of them fails.
#[derive(Clone, Debug)]
pub struct Block {
    /// Its tasks.
    pub body: Vec<Entry>,
    /// Runs when one of them fails, and makes up for it.
    pub rescue: Vec<Entry>,
    /// Runs in any case.
    pub always: Vec<Entry>,
}

impl Block {
    /// How many steps follow its body.
    pub(super) fn ending(&self) -> usize {
        1 + self.always.iter().map(Entry::weight).sum::<usize>()
    }
}

/// What a task inherits from the blocks, the role and the play around it.
#[derive(Clone, Debug, Default)]
pub struct Common {
    /// Conditions, the outermost first.
    pub when: Vec<Authored>,
    /// Tags.
    pub tags: Vec<String>,
    /// Variables, the innermost last.
    pub vars: Vars,
    /// Whether it runs as another user.
    pub r#become: Option<Authored>,
    /// That user.
    pub become_user: Option<Authored>,
    /// Variables of its environment, the outermost first.
    pub environment: Vec<Authored>,
    /// `local` instead of the host's own connection.
    pub connection: Option<Authored>,
    /// Another host that it runs on.
    pub delegate_to: Option<Authored>,
    /// Whether it runs once for all hosts.
    pub run_once: Option<Authored>,
    /// Whether its failure is ignored.
    pub ignore_errors: Option<Authored>,
    /// Whether the play goes on although the host cannot be reached.
    pub ignore_unreachable: Option<Authored>,
    /// Whether its failure on one host is a failure of all hosts.
    pub any_errors_fatal: Option<Authored>,
    /// On how many hosts it runs at the same time.
    pub throttle: Option<Authored>,
    /// How many seconds it may take.
    pub timeout: Option<Authored>,
    /// Whether its result is kept out of every output.
    pub no_log: Option<Authored>,
    /// Whether it changes nothing whatever is asked.
    pub check_mode: Option<Authored>,
    /// Whether the changes of files are shown, when they are asked for.
    pub diff: Option<Authored>,
    /// Whether facts go to the delegate.
    pub delegate_facts: Option<Authored>,
    /// The handlers that a change of a task notifies that does not name its own.
    pub notify: Vec<Authored>,
    /// Variables of the dynamic includes around it: they come before facts.
    pub params: Vars,
    /// How many dynamic includes are around it.
    pub depth: usize,
    /// The role that it belongs to.
    pub role: Option<Arc<Role>>,
}

/// One task.
#[derive(Clone, Debug)]
pub struct Task {
    /// Its name, or its module's.
    pub name: String,
    /// The module, without its collection.
    pub module: String,
    /// The arguments.
    pub arguments: Authored<Map<String, Value>>,
    /// The text of modules that take one.
    pub free_form: Option<Authored<String>>,
    /// Where its module, under the empty name, and its arguments are written.
    pub places: BTreeMap<String, Mark>,
    /// What it inherits.
    pub common: Common,
    /// The loop.
    pub r#loop: Option<Loop>,
    /// The name that its result is kept under.
    pub register: Option<String>,
    /// When it counts as a change.
    pub changed_when: Option<Authored>,
    /// When it counts as a failure.
    pub failed_when: Option<Authored>,
    /// It is repeated until this holds.
    pub until: Option<Authored>,
    /// How often.
    pub retries: Option<Authored>,
    /// With this pause, in seconds.
    pub delay: Option<Authored>,
    /// The handlers that a change notifies.
    pub notify: Vec<Authored>,
    /// Topics that a handler listens to.
    pub listen: Vec<String>,
    /// What the tasks inside a dynamic include inherit.
    pub inside: Option<Box<Common>>,
    /// The folder of its file, where includes and files are looked for.
    pub folder: PathBuf,
    /// Where it is.
    pub mark: Mark,
}

impl Task {
    /// A task of which only the surroundings are known.
    pub(super) fn blank(common: Common, folder: PathBuf, mark: Mark) -> Self {
        Self {
            name: String::new(),
            module: String::new(),
            arguments: Authored::default(),
            free_form: None,
            places: BTreeMap::new(),
            common,
            r#loop: None,
            register: None,
            changed_when: None,
            failed_when: None,
            until: None,
            retries: None,
            delay: None,
            notify: Vec::new(),
            listen: Vec::new(),
            inside: None,
            folder,
            mark,
        }
    }

    /// What a `rescue` sees of it as `ansible_failed_task`.
    pub(super) fn describe(&self) -> Value {
        let plain = |value: &Option<Authored>| value.as_deref().cloned();
        let when: Vec<&Value> = self.common.when.iter().map(|condition| &**condition).collect();
        let mut arguments = (*self.arguments).clone();
        arguments.extend(self.free_form.iter().map(|text| ("_raw_params".to_owned(), text.as_str().into())));
        json!({
            "name": self.name,
            "action": self.module,
            "args": arguments,
            "tags": self.common.tags,
            "when": when,
            "register": self.register,
            "delegate_to": plain(&self.common.delegate_to),
            "become": plain(&self.common.r#become),
            "become_user": plain(&self.common.become_user),
            "ignore_errors": plain(&self.common.ignore_errors),
            "no_log": plain(&self.common.no_log),
        })
    }

    /// The name with the role before it, as it is shown.
    #[must_use]
    pub fn title(&self) -> String {
        match &self.common.role {
            Some(role) => format!("{} : {}", role.name, self.name),
            None => self.name.clone(),
        }
    }
}

/// A loop: what gives its items, and how they are called.
#[derive(Clone, Debug)]
pub struct Loop {
    /// `loop`, or what begins with `with_`.
    pub keyword: String,
    /// What it gives the items from.
    pub source: Authored,
    /// The name of the item.
    pub var: String,
    /// The name of its number.
    pub index_var: Option<String>,
    /// What is shown for an item.
    pub label: Option<Authored>,
    /// The pause between two items, in seconds.
    pub pause: Option<f64>,
    /// Whether `ansible_loop` is there.
    pub extended: bool,
    /// Conditions that end the loop after an item.
    pub break_when: Vec<Authored>,
    /// Whether all items are in it.
    pub all_items: bool,
}

/// A role, as it is used in one place.
#[derive(Clone, Debug)]
pub struct Role {
    /// Its name.
    pub name: String,
    /// Its folder.
    pub path: PathBuf,
    /// Variables of lowest precedence.
    pub defaults: Vars,
    /// Variables of high precedence.
    pub vars: Vars,
    /// What the place of use gives it.
    pub params: Vars,
    /// The role that uses this one.
    pub parent: Option<Arc<Role>>,
}

/// A text that is a template or an expression.
#[derive(Clone, Debug)]
pub struct Use {
    /// The text.
    pub text: String,
    /// Whether all of it is an expression, as in `when`.
    pub expression: bool,
    /// Whether it may never be asked for: a variable that no one uses, a task under a condition.
    pub conditional: bool,
    /// Where it is.
    pub mark: Mark,
}

/// What a play uses and what it defines.
#[derive(Clone, Debug, Default)]
pub struct Symbols {
    /// Its templates and expressions.
    pub uses: Vec<Use>,
    /// Template files that it renders, and whether that is under a condition.
    pub templates: BTreeMap<PathBuf, bool>,
    /// The variables that it defines, wherever that is.
    pub defined: BTreeSet<String>,
    /// The values of those that are written as such.
    pub written: Vec<Written>,
    /// Variables that may be missing: someone asks whether they are there.
    pub optional: BTreeSet<String>,
    /// Those that outlive the play: results and facts.
    pub kept: BTreeSet<String>,
    /// Whether there are more of these, whose names are known only when the play runs.
    pub keeps_more: bool,
    /// Whether it also defines some whose names are known only when it runs.
    pub open: bool,
    /// Whether it adds hosts or groups to the run.
    pub adds_hosts: bool,
    /// Whether earlier plays do.
    pub is_after_added_hosts: bool,
    /// Its tasks, also those of included files whose names are known.
    pub tasks: Vec<Arc<Task>>,
    /// Whether some of them run on this machine, where they may make files that later ones copy.
    pub local: bool,
    /// The handlers that it notifies, and where.
    pub notified: Vec<(String, Mark)>,
    /// The hosts that tasks are delegated to by name, where, and whether that is under a condition.
    pub delegates: Vec<(String, Mark, bool)>,
}

impl Symbols {
    /// What later plays may use of an earlier one.
    pub fn keep(&mut self, earlier: &Self) {
        self.defined.extend(earlier.kept.iter().cloned());
        self.open |= earlier.keeps_more;
        self.local |= earlier.local;
        self.is_after_added_hosts |= earlier.adds_hosts;
    }
}

/// The variables beside a playbook. Each layer comes over the same layer of the inventory.
#[derive(Clone, Debug, Default)]
pub struct Beside {
    /// Variables of groups.
    pub group_vars: IndexMap<String, Vars>,
    /// Variables of hosts.
    pub host_vars: IndexMap<String, Vars>,
}
