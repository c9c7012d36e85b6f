//! Directives: calls that the interpreter itself follows, since they bring more tasks or change what it does next.

use crate::modules::{Argument, Call, CheckMode, Form};

/// What a directive does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Directive {
    ImportRole,
    ImportTasks,
    IncludeRole,
    IncludeTasks,
    Meta,
}

impl Directive {
    /// Whether it is read when its turn comes, and not before the run.
    pub(super) fn is_include(self) -> bool {
        matches!(self, Self::IncludeRole | Self::IncludeTasks)
    }

    /// Whether it uses a role.
    pub(super) fn is_of_role(self) -> bool {
        matches!(self, Self::ImportRole | Self::IncludeRole)
    }
}

/// A directive under one of its names.
pub(super) struct Named {
    name: &'static str,
    about: &'static str,
    arguments: &'static [Argument],
    free_form: bool,
    no_effect: &'static [(&'static str, &'static str)],
    pub(super) directive: Directive,
}

impl Call for Named {
    fn name(&self) -> &'static str {
        self.name
    }

    fn about(&self) -> &'static str {
        self.about
    }

    fn arguments(&self) -> &'static [Argument] {
        self.arguments
    }

    fn free_form(&self) -> bool {
        self.free_form
    }

    fn no_effect(&self) -> &'static [(&'static str, &'static str)] {
        self.no_effect
    }

    fn check_mode(&self) -> CheckMode {
        CheckMode::Runs
    }
}

const FILE: Argument = Argument::new("file", Form::Text);
/// What both ways to use a role take.
const ROLE: &[Argument] = &[
    Argument { aliases: &["role"], ..Argument::new("name", Form::Text) }.required(),
    Argument::new("tasks_from", Form::Text),
    Argument::new("vars_from", Form::Text),
    Argument::new("defaults_from", Form::Text),
    Argument::new("handlers_from", Form::Text),
    Argument::new("allow_duplicates", Form::Flag),
    Argument::new("public", Form::Flag),
    Argument::new("rolespec_validate", Form::Flag),
];
const APPLY: Argument = Argument::new("apply", Form::Mapping).about("Keywords of the tasks that it brings.");

/// All directives.
pub(super) const DIRECTIVES: &[&Named] = &[
    &Named {
        name: "import_role",
        about: "Is replaced by the tasks of a role, before the run.",
        arguments: ROLE,
        free_form: false,
        no_effect: &[("public", "the play sees the variables of an imported role in any case")],
        directive: Directive::ImportRole,
    },
    &Named {
        name: "import_tasks",
        about: "Is replaced by the tasks of a file, before the run.",
        arguments: &[FILE],
        free_form: true,
        no_effect: &[],
        directive: Directive::ImportTasks,
    },
    &Named {
        name: "include",
        about: "The same as `import_tasks`.",
        arguments: &[FILE],
        free_form: true,
        no_effect: &[],
        directive: Directive::ImportTasks,
    },
    &Named {
        name: "include_role",
        about: "Runs the tasks of a role when its turn comes.",
        arguments: &[Argument::new("", Form::Several(ROLE)), APPLY],
        free_form: false,
        no_effect: &[],
        directive: Directive::IncludeRole,
    },
    &Named {
        name: "include_tasks",
        about: "Runs the tasks of a file when its turn comes.",
        arguments: &[FILE, APPLY],
        free_form: true,
        no_effect: &[],
        directive: Directive::IncludeTasks,
    },
    &Named {
        name: "meta",
        about: "Ends a play, a batch or a role, runs handlers, and their like; [playbooks.md](playbooks.md) lists its words.",
        arguments: &[],
        free_form: true,
        no_effect: &[],
        directive: Directive::Meta,
    },
];

/// What `meta` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meta {
    ClearFacts,
    ClearHostErrors,
    EndBatch,
    EndHost,
    EndPlay,
    EndRole,
    FlushHandlers,
    Noop,
    RefreshInventory,
    ResetConnection,
}

/// A word of `meta`.
#[derive(Clone, Copy, Debug)]
pub struct MetaWord {
    /// The word.
    pub name: &'static str,
    /// What it does.
    pub about: &'static str,
    meta: Meta,
}

/// The words of `meta`.
pub const META: &[MetaWord] = &[
    word("clear_facts", Meta::ClearFacts, "forgets the facts of the hosts"),
    word("clear_host_errors", Meta::ClearHostErrors, "lets hosts that have failed take part again"),
    word("end_batch", Meta::EndBatch, "ends the play for the batch of `serial`"),
    word("end_host", Meta::EndHost, "ends the play for the host"),
    word("end_play", Meta::EndPlay, "ends the play for all hosts"),
    word("end_role", Meta::EndRole, "ends the role that the task is in"),
    word("flush_handlers", Meta::FlushHandlers, "runs the handlers that are notified"),
    word("noop", Meta::Noop, "does nothing"),
    word("refresh_inventory", Meta::RefreshInventory, "does nothing: the inventory stays the same while a run lasts"),
    word("reset_connection", Meta::ResetConnection, "opens another connection to the host"),
];

const fn word(name: &'static str, meta: Meta, about: &'static str) -> MetaWord {
    MetaWord { name, about, meta }
}

impl Meta {
    /// What a word means.
    pub(super) fn of(name: &str) -> Option<Self> {
        META.iter().find(|word| word.name == name.trim()).map(|word| word.meta)
    }

    /// Whether it is about all hosts of a play.
    pub(super) fn is_for_all(self) -> bool {
        matches!(
            self,
            Self::EndPlay | Self::EndBatch | Self::ClearFacts | Self::ClearHostErrors | Self::RefreshInventory
        )
    }
}
