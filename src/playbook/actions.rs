//! Actions: the modules that need more than a host's answer, such as variables, files of this machine or the list of tasks.

use serde_json::{Map, Value};

use crate::{
    error::Result,
    modules::{Exclusive, TEXT, check_names},
};

/// An action, as the check before a run knows it. What it does is in [`super::host`].
pub(super) struct Action {
    /// Its short name.
    pub(super) name: &'static str,
    /// Its arguments; empty means any.
    pub(super) arguments: &'static [&'static str],
    /// Whether it takes a text.
    pub(super) free_form: bool,
    /// What it is.
    pub(super) kind: Kind,
}

impl Action {
    /// Its arguments of which only one can be given.
    fn exclusive(&self) -> &'static [Exclusive] {
        match self.kind {
            Kind::Debug => &[&[&["msg"], &["var"]]],
            Kind::GetUrl => &[&[&["checksum"], &["sha256sum"]]],
            Kind::IncludeVars => &[&[&[TEXT], &["file"], &["dir"]]],
            Kind::Pause => &[&[&["minutes"], &["seconds"]]],
            _ => &[],
        }
    }

    /// Checks the names of arguments, as modules check theirs.
    ///
    /// # Errors
    /// When one is not known, or two exclude each other.
    pub(super) fn check_names(&self, named: &Map<String, Value>, text: bool) -> Result<()> {
        check_names(self.arguments, self.exclusive(), named, text)
    }
}

/// What an action is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Assert,
    Debug,
    Fail,
    GetUrl,
    Import,
    IncludeRole,
    IncludeTasks,
    IncludeVars,
    Meta,
    Pause,
    Ping,
    SetFact,
    Setup,
    Template,
    Uri,
    ValidateArgumentSpec,
    WaitForConnection,
}

macro_rules! actions {
    ($($name:literal $kind:ident $free:literal $arguments:expr),+ $(,)?) => {
        &[$(Action { name: $name, arguments: $arguments, free_form: $free, kind: Kind::$kind }),+]
    };
}

/// All actions.
pub(super) const ACTIONS: &[Action] = actions![
    "assert" Assert false &["that", "msg", "fail_msg", "success_msg", "quiet"],
    "debug" Debug false &["msg", "var", "verbosity"],
    "fail" Fail false &["msg"],
    "get_url" GetUrl false &[
        "url", "dest", "checksum", "sha256sum", "mode", "owner", "group", "force", "timeout", "headers", "validate_certs",
        "url_username", "url_password", "username", "password", "backup", "http_agent", "tmp_dest", "force_basic_auth",
        "use_proxy", "ca_path"],
    "import_role" Import false &["name", "role", "tasks_from", "vars_from", "defaults_from", "handlers_from", "allow_duplicates", "public",
        "rolespec_validate"],
    "import_tasks" Import true &["file"],
    "include" IncludeTasks true &["file"],
    "include_role" IncludeRole false &[
        "name", "role", "tasks_from", "vars_from", "defaults_from", "handlers_from", "apply", "public", "allow_duplicates",
        "rolespec_validate"],
    "include_tasks" IncludeTasks true &["file", "apply"],
    "include_vars" IncludeVars true &["file", "name", "dir"],
    "meta" Meta true &[],
    "pause" Pause false &["seconds", "minutes", "prompt", "echo"],
    "ping" Ping false &["data"],
    "set_fact" SetFact false &[],
    "setup" Setup false &["gather_subset", "filter", "gather_timeout"],
    "gather_facts" Setup false &["parallel"],
    "template" Template false &[
        "src", "dest", "mode", "owner", "group", "validate", "backup", "force", "newline_sequence", "trim_blocks",
        "lstrip_blocks", "follow", "output_encoding"],
    "uri" Uri false &[
        "url", "method", "body", "body_format", "headers", "status_code", "return_content", "validate_certs", "timeout",
        "user", "password", "url_username", "url_password", "force_basic_auth", "follow_redirects", "creates", "removes",
        "dest", "ca_path", "http_agent", "use_proxy", "force", "mode", "owner", "group", "backup"],
    "validate_argument_spec" ValidateArgumentSpec false &["argument_spec", "provided_arguments", "validate_args_context"],
    "wait_for_connection" WaitForConnection false &["timeout", "delay", "sleep", "connect_timeout"],
];

/// What `meta` can be given.
pub(super) const META: &[&str] = &[
    "clear_facts",
    "clear_host_errors",
    "end_batch",
    "end_host",
    "end_play",
    "end_role",
    "flush_handlers",
    "noop",
    "refresh_inventory",
    "reset_connection",
];

/// Arguments that are accepted and change nothing, and why.
pub const NO_EFFECT: &[(&str, &str, &str)] = &[
    ("assert", "quiet", "nothing is shown of conditions that hold"),
    ("gather_facts", "parallel", "one script gathers all facts"),
    ("import_role", "public", "the play sees the variables of an imported role in any case"),
    ("postgresql_user", "encrypted", "a password is kept as a hash in any case"),
    ("setup", "filter", "one script gathers all facts"),
    ("setup", "gather_subset", "one script gathers all facts"),
    ("setup", "gather_timeout", "one script gathers all facts"),
    ("wait_for_connection", "connect_timeout", "`timeout` ends the whole of the wait"),
];

/// The action of a short name.
pub(super) fn find(name: &str) -> Option<&'static Action> {
    ACTIONS.iter().find(|action| action.name == name)
}

/// Every module and action with the arguments that it takes; an empty list of an action means any.
#[must_use]
pub fn arguments() -> Vec<(&'static str, &'static [&'static str], bool)> {
    let modules = crate::modules::MODULES.iter().map(|module| (module.name(), module.arguments(), module.free_form()));
    let actions = ACTIONS.iter().map(|action| (action.name, action.arguments, action.free_form));
    let mut all: Vec<_> = modules.chain(actions).collect();
    all.sort_unstable();
    all
}
