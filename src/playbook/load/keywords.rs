//! The table of keywords: for each keyword of ansible-core 2.19 where it may be written and what becomes of it. The loader
//! accepts exactly what this table says; the reference page and the tests are derived from it.

use self::Place::{
    Apply, Block, Handler, ImportPlaybook, ImportRole, ImportTasks, IncludeRole, IncludeTasks, LoopControl, Play, Role,
    Task,
};
use self::Support::{Done, NoEffect, Refused};

/// Where a keyword may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A play.
    Play,
    /// An entry with `import_playbook`.
    ImportPlaybook,
    /// An entry of `roles:` or of a role's `dependencies:`.
    Role,
    /// A block.
    Block,
    /// A task.
    Task,
    /// A handler.
    Handler,
    /// `import_tasks`.
    ImportTasks,
    /// `import_role`.
    ImportRole,
    /// `include_tasks`.
    IncludeTasks,
    /// `include_role`.
    IncludeRole,
    /// `apply:` of `include_tasks` and `include_role`.
    Apply,
    /// `loop_control:`.
    LoopControl,
}

impl Place {
    /// All places.
    pub const ALL: [Self; 12] = [
        Play,
        ImportPlaybook,
        Role,
        Block,
        Task,
        Handler,
        ImportTasks,
        ImportRole,
        IncludeTasks,
        IncludeRole,
        Apply,
        LoopControl,
    ];

    /// Its name, as file names and the reference page use it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Play => "play",
            ImportPlaybook => "import_playbook",
            Role => "role",
            Block => "block",
            Task => "task",
            Handler => "handler",
            ImportTasks => "import_tasks",
            ImportRole => "import_role",
            IncludeTasks => "include_tasks",
            IncludeRole => "include_role",
            Apply => "apply",
            LoopControl => "loop_control",
        }
    }

    /// Its name in a message.
    pub(super) fn title(self) -> &'static str {
        match self {
            Play => "a play",
            ImportPlaybook => "`import_playbook`",
            Role => "a role of `roles:`",
            Block => "a block",
            Task => "a task",
            Handler => "a handler",
            ImportTasks => "`import_tasks`",
            ImportRole => "`import_role`",
            IncludeTasks => "`include_tasks`",
            IncludeRole => "`include_role`",
            Apply => "`apply`",
            LoopControl => "`loop_control`",
        }
    }

    /// Whether it is a task of whatever kind.
    pub(super) fn is_task(self) -> bool {
        matches!(self, Task | Handler | ImportTasks | ImportRole | IncludeTasks | IncludeRole)
    }
}

/// What becomes of a keyword.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// It does what it does in Ansible.
    Done,
    /// It is accepted and changes nothing, for this reason.
    NoEffect(&'static str),
    /// It is an error; this is what to do instead.
    Refused(&'static str),
}

/// A row: a keyword in some places.
#[derive(Clone, Copy, Debug)]
pub struct Keyword {
    /// Its name.
    pub name: &'static str,
    /// Where it may be written, as far as this row goes.
    pub places: &'static [Place],
    /// What becomes of it there.
    pub support: Support,
}

/// What reaches the tasks inside: everything that has tasks, and tasks themselves.
const INHERITED: &[Place] = &[Play, Role, Block, Task, Handler, ImportTasks, ImportRole, Apply];
/// The same without plays.
const BELOW_PLAY: &[Place] = &[Role, Block, Task, Handler, ImportTasks, ImportRole, Apply];
/// Tasks that do something by themselves.
const TASKS: &[Place] = &[Task, Handler];
const IMPORTS: &[Place] = &[ImportTasks, ImportRole];
const INCLUDES: &[Place] = &[IncludeTasks, IncludeRole];
/// What a dynamic include does not hand on.
const NOT_INHERITED: &str = "a dynamic include does not hand it on: write it below `apply:`, or use an import";
/// What an import cannot have, because it is gone before the first task runs.
const NOTHING_RUNS: &str = "an import is replaced by its tasks before anything runs: write it on those tasks";

/// The table.
pub const KEYWORDS: &[Keyword] = &[
    row("action", TASKS, Done),
    row("any_errors_fatal", INHERITED, Done),
    row("any_errors_fatal", INCLUDES, Refused(NOT_INHERITED)),
    row("apply", INCLUDES, Refused("`apply` is an argument of the include: write it below its name")),
    row("args", &[Task, Handler, ImportTasks, ImportRole, IncludeTasks, IncludeRole], Done),
    row("async", TASKS, Refused("start the work with a unit of systemd and wait for it with `until`")),
    row("become", INHERITED, Done),
    row("become", INCLUDES, Refused(NOT_INHERITED)),
    row("become_exe", INHERITED, Refused("`sudo` is found on the path of the host")),
    row("become_flags", INHERITED, Refused("write what the flags do into the task, such as `cd` or `environment`")),
    row("become_method", INHERITED, Done),
    row("become_method", INCLUDES, Refused(NOT_INHERITED)),
    row("become_user", INHERITED, Done),
    row("become_user", INCLUDES, Refused(NOT_INHERITED)),
    row("block", &[Block], Done),
    row("block", &[Handler], Refused("a handler is a task: use `include_tasks` for several of them")),
    row("always", &[Block], Done),
    row("rescue", &[Block], Done),
    row("break_when", &[LoopControl], Done),
    row("changed_when", TASKS, Done),
    row("changed_when", IMPORTS, Refused(NOTHING_RUNS)),
    row("check_mode", INHERITED, Done),
    row("check_mode", INCLUDES, Refused(NOT_INHERITED)),
    row("collections", INHERITED, NoEffect("the modules of a collection are found by their own names")),
    row("collections", INCLUDES, NoEffect("the modules of a collection are found by their own names")),
    row("connection", INHERITED, Done),
    row("connection", INCLUDES, Refused(NOT_INHERITED)),
    row("debugger", INHERITED, Refused("there is no debugger; `infra trace` shows what a run did")),
    row("debugger", INCLUDES, Refused("there is no debugger; `infra trace` shows what a run did")),
    row("delay", TASKS, Done),
    row("delay", IMPORTS, Refused(NOTHING_RUNS)),
    row("delegate_facts", BELOW_PLAY, Done),
    row("delegate_facts", INCLUDES, Refused(NOT_INHERITED)),
    row("delegate_to", BELOW_PLAY, Done),
    row("delegate_to", INCLUDES, Refused(NOT_INHERITED)),
    row("diff", INHERITED, Done),
    row("diff", INCLUDES, Refused(NOT_INHERITED)),
    row("environment", INHERITED, Done),
    row("environment", INCLUDES, Refused(NOT_INHERITED)),
    row("extended", &[LoopControl], Done),
    row("extended_allitems", &[LoopControl], Done),
    row("fact_path", &[Play], Refused("local facts are read from `/etc/ansible/facts.d`")),
    row("failed_when", TASKS, Done),
    row("failed_when", IMPORTS, Refused(NOTHING_RUNS)),
    row("force_handlers", &[Play], Done),
    row("gather_facts", &[Play], Done),
    row("gather_subset", &[Play], NoEffect("one script gathers all facts")),
    row("gather_timeout", &[Play], NoEffect("one script gathers all facts")),
    row("handlers", &[Play], Done),
    row("hosts", &[Play], Done),
    row("ignore_errors", INHERITED, Done),
    row("ignore_errors", INCLUDES, Done),
    row("ignore_unreachable", INHERITED, Done),
    row("ignore_unreachable", INCLUDES, Refused(NOT_INHERITED)),
    row("import_playbook", &[ImportPlaybook], Done),
    row("index_var", &[LoopControl], Done),
    row("label", &[LoopControl], Done),
    row("listen", &[Handler], Done),
    row("local_action", TASKS, Done),
    row("loop", &[Task, Handler, IncludeTasks, IncludeRole], Done),
    row("loop", IMPORTS, Refused("an import cannot be repeated: use the include of the same kind")),
    row("loop_control", &[Task, Handler, IncludeTasks, IncludeRole], Done),
    row("loop_control", IMPORTS, Refused("an import cannot be repeated: use the include of the same kind")),
    row("loop_var", &[LoopControl], Done),
    row("max_fail_percentage", &[Play], Done),
    row("module_defaults", INHERITED, Refused("write the arguments on the tasks")),
    row("module_defaults", INCLUDES, Refused("write the arguments on the tasks")),
    row("name", &[Play, ImportPlaybook, Block, Apply], NoEffect("it is shown and changes nothing")),
    row("name", &[Role, Task, Handler], Done),
    row("name", IMPORTS, NoEffect("it is shown and changes nothing")),
    row("name", INCLUDES, NoEffect("it is shown and changes nothing")),
    row("no_log", INHERITED, Done),
    row("no_log", INCLUDES, Done),
    row("notify", &[Block, Task, Handler, ImportTasks, ImportRole, Apply], Done),
    row("notify", INCLUDES, Refused(NOT_INHERITED)),
    row("order", &[Play], Refused("name the hosts in the order in which they shall run, with `serial: 1`")),
    row("pause", &[LoopControl], Done),
    row("poll", TASKS, Refused("start the work with a unit of systemd and wait for it with `until`")),
    row("port", INHERITED, Refused("give the machine's `ansible_port` as a variable")),
    row("post_tasks", &[Play], Done),
    row("pre_tasks", &[Play], Done),
    row("register", TASKS, Done),
    row("register", INCLUDES, Done),
    row("register", IMPORTS, Refused(NOTHING_RUNS)),
    row("remote_user", INHERITED, NoEffect("the inventory's `ansible_user`, the machine's login, comes before it")),
    row("retries", TASKS, Done),
    row("retries", IMPORTS, Refused(NOTHING_RUNS)),
    row("role", &[Role], Done),
    row("roles", &[Play], Done),
    row("run_once", INHERITED, Done),
    row("run_once", INCLUDES, Done),
    row("serial", &[Play], Done),
    row("strategy", &[Play], Done),
    row("tags", &[Play, ImportPlaybook, Role, Block, Task, ImportTasks, ImportRole, Apply], Done),
    row("tags", INCLUDES, Done),
    row("tags", &[Handler], NoEffect("a handler runs whatever tags are asked for: what notifies it has some")),
    row("tasks", &[Play], Done),
    row("throttle", INHERITED, Done),
    row("throttle", INCLUDES, Refused(NOT_INHERITED)),
    row("timeout", INHERITED, Done),
    row("timeout", INCLUDES, Refused("use the command `timeout` of the host")),
    row("until", TASKS, Done),
    row("until", IMPORTS, Refused(NOTHING_RUNS)),
    row("vars", INHERITED, Done),
    row("vars", &[ImportPlaybook, IncludeTasks, IncludeRole], Done),
    row("vars_files", &[Play], Done),
    row("vars_prompt", &[Play], Refused("give the value with `--var`, or as a secret of the environment")),
    row("when", BELOW_PLAY, Done),
    row("when", &[ImportPlaybook, IncludeTasks, IncludeRole], Done),
    row("with_dict", REPEATED, Done),
    row("with_fileglob", REPEATED, Done),
    row("with_first_found", REPEATED, Done),
    row("with_flattened", REPEATED, Done),
    row("with_indexed_items", REPEATED, Done),
    row("with_items", REPEATED, Done),
    row("with_list", REPEATED, Done),
    row("with_nested", REPEATED, Done),
    row("with_sequence", REPEATED, Done),
    row("with_subelements", REPEATED, Done),
    row("with_together", REPEATED, Done),
];

/// What can be repeated by a loop.
const REPEATED: &[Place] = &[Task, Handler, IncludeTasks, IncludeRole];

const fn row(name: &'static str, places: &'static [Place], support: Support) -> Keyword {
    Keyword { name, places, support }
}

/// What becomes of a keyword in a place; `None` when there is no such keyword there.
#[must_use]
pub fn support(name: &str, place: Place) -> Option<Support> {
    KEYWORDS.iter().find(|row| row.name == name && row.places.contains(&place)).map(|row| row.support)
}

/// The places in which a keyword may be written.
pub(super) fn places(name: &str) -> Vec<Place> {
    let rows = KEYWORDS.iter().filter(|row| row.name == name && !matches!(row.support, Refused(_)));
    rows.flat_map(|row| row.places.iter().copied()).collect()
}

/// The keywords that may be written in a place.
pub(super) fn of(place: Place) -> impl Iterator<Item = &'static str> {
    let rows = KEYWORDS.iter().filter(move |row| row.places.contains(&place) && !matches!(row.support, Refused(_)));
    rows.map(|row| row.name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{KEYWORDS, Place, support};

    #[test]
    fn a_keyword_is_in_one_row_for_each_place() {
        let mut seen = BTreeSet::new();
        for row in KEYWORDS {
            for place in row.places {
                assert!(seen.insert((row.name, *place)), "`{}` is twice on {}", row.name, place.title());
            }
        }
    }

    /// `ansible.txt` holds what ansible-core 2.19 takes in each place.
    #[test]
    fn every_keyword_of_ansible_has_a_row() {
        let listed = include_str!("ansible.txt");
        for line in listed.lines() {
            let (name, keywords) = line.split_once(": ").unwrap();
            let place = Place::ALL.into_iter().find(|place| place.name() == name).unwrap();
            for keyword in keywords.split(' ') {
                assert!(support(keyword, place).is_some(), "`{keyword}` of {} has no row", place.title());
            }
        }
    }
}
