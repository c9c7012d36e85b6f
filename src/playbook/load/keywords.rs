//! The table of keywords: for each keyword of ansible-core 2.19 what it says, where it may be written and what becomes of it. The loader
//! accepts exactly what this table says; the reference page and the tests are derived from it.

use self::Place::{
    Apply, Block, Handler, ImportPlaybook, ImportRole, ImportTasks, IncludeRole, IncludeTasks, LoopControl, Play, Role,
    Task,
};
pub use crate::playbook::support::Support;
use crate::playbook::{
    loop_kinds::LOOPS,
    support::Support::{Done, NoEffect, Refused},
};

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

/// A keyword.
#[derive(Clone, Copy, Debug)]
pub struct Keyword {
    /// Its name.
    pub name: &'static str,
    /// What it says.
    pub about: &'static str,
    /// What becomes of it, place by place.
    pub uses: &'static [Use],
}

/// Places of a keyword, and what becomes of it there.
pub type Use = (&'static [Place], Support);

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

/// The table. The loops have one of their own ([`LOOPS`]).
pub const KEYWORDS: &[Keyword] = &[
    keyword(
        "action",
        "What the task calls, as a text with its arguments or as a mapping with `module`.",
        &[(TASKS, Done)],
    ),
    keyword("always", "Tasks that run in any case after those of the block.", &[(&[Block], Done)]),
    keyword(
        "any_errors_fatal",
        "Whether a failure on one host is a failure of all hosts.",
        &[(INHERITED, Done), (INCLUDES, Refused(NOT_INHERITED))],
    ),
    keyword(
        "apply",
        "Keywords of the tasks that an include brings.",
        &[(INCLUDES, Refused("`apply` is an argument of the include: write it below its name"))],
    ),
    keyword(
        "args",
        "More arguments of what the task calls.",
        &[(&[Task, Handler, ImportTasks, ImportRole, IncludeTasks, IncludeRole], Done)],
    ),
    keyword(
        "async",
        "How many seconds the task may run in the background.",
        &[(TASKS, Refused("start the work with a unit of systemd and wait for it with `until`"))],
    ),
    keyword(
        "become",
        "Whether the task runs as another user.",
        &[(INHERITED, Done), (INCLUDES, Refused(NOT_INHERITED))],
    ),
    keyword(
        "become_exe",
        "The program that changes the user.",
        &[(INHERITED, Refused("`sudo` is found on the path of the host"))],
    ),
    keyword(
        "become_flags",
        "What that program is given.",
        &[(INHERITED, Refused("write what the flags do into the task, such as `cd` or `environment`"))],
    ),
    keyword("become_method", "How the user is changed.", &[(INHERITED, Done), (INCLUDES, Refused(NOT_INHERITED))]),
    keyword(
        "become_user",
        "The other user, `root` where nothing is said.",
        &[(INHERITED, Done), (INCLUDES, Refused(NOT_INHERITED))],
    ),
    keyword(
        "block",
        "Tasks that share keywords, and what happens when one of them fails.",
        &[(&[Block], Done), (&[Handler], Refused("a handler is a task: use `include_tasks` for several of them"))],
    ),
    keyword("break_when", "Conditions that end the loop after an item.", &[(&[LoopControl], Done)]),
    keyword("changed_when", "When the task counts as a change.", &[(TASKS, Done), (IMPORTS, Refused(NOTHING_RUNS))]),
    keyword(
        "check_mode",
        "Whether the task only says what it would change, whatever `--check` says.",
        &[(INHERITED, Done), (INCLUDES, Refused(NOT_INHERITED))],
    ),
    keyword(
        "collections",
        "Where names without a collection are looked for.",
        &[
            (INHERITED, NoEffect("the modules of a collection are found by their own names")),
            (INCLUDES, NoEffect("the modules of a collection are found by their own names")),
        ],
    ),
    keyword("connection", "How the host is reached.", &[(INHERITED, Done), (INCLUDES, Refused(NOT_INHERITED))]),
    keyword(
        "debugger",
        "When a debugger is started.",
        &[
            (INHERITED, Refused("there is no debugger; `infra trace` shows what a run did")),
            (INCLUDES, Refused("there is no debugger; `infra trace` shows what a run did")),
        ],
    ),
    keyword("delay", "The seconds between two attempts.", &[(TASKS, Done), (IMPORTS, Refused(NOTHING_RUNS))]),
    keyword(
        "delegate_facts",
        "Whether facts are those of the delegate.",
        &[(BELOW_PLAY, Done), (INCLUDES, Refused(NOT_INHERITED))],
    ),
    keyword(
        "delegate_to",
        "Another host, on which the task runs.",
        &[(BELOW_PLAY, Done), (INCLUDES, Refused(NOT_INHERITED))],
    ),
    keyword(
        "diff",
        "Whether the changes of files are shown.",
        &[(INHERITED, Done), (INCLUDES, Refused(NOT_INHERITED))],
    ),
    keyword(
        "environment",
        "Variables of the environment of what runs on the host.",
        &[(INHERITED, Done), (INCLUDES, Refused(NOT_INHERITED))],
    ),
    keyword("extended", "Whether `ansible_loop` is there.", &[(&[LoopControl], Done)]),
    keyword("extended_allitems", "Whether all items are in `ansible_loop`.", &[(&[LoopControl], Done)]),
    keyword(
        "fact_path",
        "Where local facts are.",
        &[(&[Play], Refused("local facts are read from `/etc/ansible/facts.d`"))],
    ),
    keyword("failed_when", "When the task counts as failed.", &[(TASKS, Done), (IMPORTS, Refused(NOTHING_RUNS))]),
    keyword("force_handlers", "Whether notified handlers run on a host that has failed, too.", &[(&[Play], Done)]),
    keyword("gather_facts", "Whether facts are gathered first.", &[(&[Play], Done)]),
    keyword("gather_subset", "Which facts are gathered.", &[(&[Play], NoEffect("one script gathers all facts"))]),
    keyword("gather_timeout", "How long facts may take.", &[(&[Play], NoEffect("one script gathers all facts"))]),
    keyword("handlers", "Tasks that run once when they are notified.", &[(&[Play], Done)]),
    keyword("hosts", "The hosts of the play, as patterns.", &[(&[Play], Done)]),
    keyword(
        "ignore_errors",
        "Whether a failure of the task is no failure of the host.",
        &[(INHERITED, Done), (INCLUDES, Done)],
    ),
    keyword(
        "ignore_unreachable",
        "Whether the play goes on when the host cannot be reached.",
        &[(INHERITED, Done), (INCLUDES, Refused(NOT_INHERITED))],
    ),
    keyword("import_playbook", "Another playbook, whose plays come here.", &[(&[ImportPlaybook], Done)]),
    keyword("index_var", "The name of the variable with the number of the item.", &[(&[LoopControl], Done)]),
    keyword("label", "What is shown for an item.", &[(&[LoopControl], Done)]),
    keyword("listen", "Topics that notify the handler.", &[(&[Handler], Done)]),
    keyword("local_action", "What the task calls, on this machine.", &[(TASKS, Done)]),
    keyword(
        "loop",
        "A list: the task runs once for each item.",
        &[
            (&[Task, Handler, IncludeTasks, IncludeRole], Done),
            (IMPORTS, Refused("an import cannot be repeated: use the include of the same kind")),
        ],
    ),
    keyword(
        "loop_control",
        "How a loop runs.",
        &[
            (&[Task, Handler, IncludeTasks, IncludeRole], Done),
            (IMPORTS, Refused("an import cannot be repeated: use the include of the same kind")),
        ],
    ),
    keyword(
        "loop_var",
        "The name of the variable with the item, `item` where nothing is said.",
        &[(&[LoopControl], Done)],
    ),
    keyword(
        "max_fail_percentage",
        "How many hosts of a batch may fail before the play ends, in percent.",
        &[(&[Play], Done)],
    ),
    keyword(
        "module_defaults",
        "Arguments for all tasks that call a module.",
        &[
            (INHERITED, Refused("write the arguments on the tasks")),
            (INCLUDES, Refused("write the arguments on the tasks")),
        ],
    ),
    keyword(
        "name",
        "The name. A role is found by it, and a handler is notified by it.",
        &[
            (&[Play, ImportPlaybook, Block, Apply], NoEffect("it is shown and changes nothing")),
            (&[Role, Task, Handler], Done),
            (IMPORTS, NoEffect("it is shown and changes nothing")),
            (INCLUDES, NoEffect("it is shown and changes nothing")),
        ],
    ),
    keyword("no_log", "Whether the result is kept out of every output.", &[(INHERITED, Done), (INCLUDES, Done)]),
    keyword(
        "notify",
        "The handlers that run when the task has changed something.",
        &[(&[Block, Task, Handler, ImportTasks, ImportRole, Apply], Done), (INCLUDES, Refused(NOT_INHERITED))],
    ),
    keyword(
        "order",
        "In which order the hosts run.",
        &[(&[Play], Refused("name the hosts in the order in which they shall run, with `serial: 1`"))],
    ),
    keyword("pause", "The seconds between two items.", &[(&[LoopControl], Done)]),
    keyword(
        "poll",
        "How often a task in the background is looked at.",
        &[(TASKS, Refused("start the work with a unit of systemd and wait for it with `until`"))],
    ),
    keyword(
        "port",
        "The port of the connection.",
        &[(INHERITED, Refused("give the machine's `ansible_port` as a variable"))],
    ),
    keyword("post_tasks", "Tasks after the others.", &[(&[Play], Done)]),
    keyword("pre_tasks", "Tasks before the roles.", &[(&[Play], Done)]),
    keyword(
        "register",
        "The variable that gets the result.",
        &[(TASKS, Done), (INCLUDES, Done), (IMPORTS, Refused(NOTHING_RUNS))],
    ),
    keyword(
        "remote_user",
        "The user who logs in.",
        &[(INHERITED, NoEffect("the inventory's `ansible_user`, the machine's login, comes before it"))],
    ),
    keyword("rescue", "Tasks that run when one of the block fails, and make up for it.", &[(&[Block], Done)]),
    keyword(
        "retries",
        "How often a task that has not succeeded is repeated.",
        &[(TASKS, Done), (IMPORTS, Refused(NOTHING_RUNS))],
    ),
    keyword("role", "The role.", &[(&[Role], Done)]),
    keyword("roles", "Roles, which run before the tasks.", &[(&[Play], Done)]),
    keyword(
        "run_once",
        "Whether the task runs on the first host for all of them.",
        &[(INHERITED, Done), (INCLUDES, Done)],
    ),
    keyword(
        "serial",
        "How many hosts go through the play at once: a number, a part in percent, or a list of them.",
        &[(&[Play], Done)],
    ),
    keyword("strategy", "Whether the hosts wait for each other at each task.", &[(&[Play], Done)]),
    keyword(
        "tags",
        "Words by which `--tags` and `--skip-tags` choose.",
        &[
            (&[Play, ImportPlaybook, Role, Block, Task, ImportTasks, ImportRole, Apply], Done),
            (INCLUDES, Done),
            (&[Handler], NoEffect("a handler runs whatever tags are asked for: what notifies it has some")),
        ],
    ),
    keyword("tasks", "The tasks of the play.", &[(&[Play], Done)]),
    keyword(
        "throttle",
        "On how many hosts the task runs at the same time.",
        &[(INHERITED, Done), (INCLUDES, Refused(NOT_INHERITED))],
    ),
    keyword(
        "timeout",
        "The seconds that the task may take.",
        &[(INHERITED, Done), (INCLUDES, Refused("use the command `timeout` of the host"))],
    ),
    keyword(
        "until",
        "The task is repeated until these conditions hold.",
        &[(TASKS, Done), (IMPORTS, Refused(NOTHING_RUNS))],
    ),
    keyword("vars", "Variables.", &[(INHERITED, Done), (&[ImportPlaybook, IncludeTasks, IncludeRole], Done)]),
    keyword("vars_files", "Files of variables.", &[(&[Play], Done)]),
    keyword(
        "vars_prompt",
        "Variables that are asked for.",
        &[(&[Play], Refused("give the value with `--var`, or as a secret of the environment"))],
    ),
    keyword(
        "when",
        "Conditions without which the task is skipped.",
        &[(BELOW_PLAY, Done), (&[ImportPlaybook, IncludeTasks, IncludeRole], Done)],
    ),
];

/// What can be repeated by a loop.
const REPEATED: &[Place] = &[Task, Handler, IncludeTasks, IncludeRole];

const fn keyword(name: &'static str, about: &'static str, uses: &'static [Use]) -> Keyword {
    Keyword { name, about, uses }
}

/// All keywords, with those of loops.
pub fn all() -> impl Iterator<Item = Keyword> {
    let of_loops = LOOPS.iter().filter(|kind| support_of(KEYWORDS, kind.keyword, REPEATED[0]).is_none());
    let of_loops = of_loops.map(|kind| keyword(kind.keyword, kind.about, &[(REPEATED, Done)]));
    KEYWORDS.iter().copied().chain(of_loops)
}

fn support_of(keywords: &[Keyword], name: &str, place: Place) -> Option<Support> {
    let keyword = keywords.iter().find(|keyword| keyword.name == name)?;
    keyword.uses.iter().find(|(places, _)| places.contains(&place)).map(|(_, support)| *support)
}

/// What becomes of a keyword in a place; `None` when there is no such keyword there.
#[must_use]
pub fn support(name: &str, place: Place) -> Option<Support> {
    let of_loop = || REPEATED.contains(&place) && LOOPS.iter().any(|kind| kind.keyword == name);
    support_of(KEYWORDS, name, place).or_else(|| of_loop().then_some(Done))
}

/// The places in which a keyword may be written.
pub(super) fn places(name: &str) -> Vec<Place> {
    let uses = all().filter(|keyword| keyword.name == name).flat_map(|keyword| keyword.uses);
    uses.filter(|(_, support)| !matches!(support, Refused(_))).flat_map(|(places, _)| places.iter().copied()).collect()
}

/// The keywords that may be written in a place.
pub(super) fn of(place: Place) -> impl Iterator<Item = &'static str> {
    let may = move |(places, support): &Use| places.contains(&place) && !matches!(support, Refused(_));
    all().filter(move |keyword| keyword.uses.iter().any(may)).map(|keyword| keyword.name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{Place, all, support};

    #[test]
    fn a_keyword_is_once_in_each_place() {
        let mut seen = BTreeSet::new();
        for keyword in all() {
            for place in keyword.uses.iter().flat_map(|(places, _)| *places) {
                assert!(seen.insert((keyword.name, *place)), "`{}` is twice on {}", keyword.name, place.title());
            }
            assert!(!keyword.about.is_empty(), "{}", keyword.name);
        }
    }

    /// `ansible.txt` holds what ansible-core 2.19 takes in each place.
    #[test]
    fn every_keyword_of_ansible_is_in_the_table() {
        let listed = include_str!("ansible.txt");
        for line in listed.lines() {
            let (name, keywords) = line.split_once(": ").unwrap();
            let place = Place::ALL.into_iter().find(|place| place.name() == name).unwrap();
            for keyword in keywords.split(' ') {
                assert!(support(keyword, place).is_some(), "`{keyword}` of {} is not in the table", place.title());
            }
        }
    }
}
