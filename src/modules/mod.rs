//! Playbook modules: one file each. A module reads its arguments, says with which script it looks at the host (`probe`), and
//! decides from what the script printed which steps must run (`decide`). Both are pure, so check mode, diffs and batched
//! probes fall out by themselves. What a module says of itself, its arguments above all, is declared once ([`Call`]).
//! May import `template`, `remote::{Output, quote}` and the vocabulary.

mod apt;
mod arguments;
mod attributes;
mod blockinfile;
mod call;
mod command;
mod content;
mod copy;
mod declaration;
mod edit;
mod fetched;
mod file;
mod group;
mod lineinfile;
mod package;
mod postgresql;
mod postgresql_db;
mod postgresql_ext;
mod postgresql_privs;
mod postgresql_query;
mod postgresql_user;
mod probe;
mod receive;
mod script;
mod service;
mod shell;
mod slurp;
mod sql;
mod stat;
mod systemd;
mod template;
mod unarchive;
mod user;
mod wait_for;
mod write_file;

use bytes::Bytes;
use serde_json::{Map, Value};

pub(crate) use self::declaration::arguments;
pub use self::{
    arguments::{Exclusive, Flag, List, Number, TEXT, Text, read},
    call::{BUILTIN, Call, CheckMode, Defines, POSTGRESQL, Reads, short_name},
    copy::copy_on_host,
    declaration::{Argument, Declared, Form, Typed},
    fetched::FetchedFile,
    probe::{Algorithm, Probe},
    receive::receive,
    script::{Sh, Word},
    write_file::{FileCopy, write as write_file},
};
use crate::{
    error::{Error, Result},
    remote::{Locale, Output},
    template::Layout,
};

/// A module of playbooks: a call that needs no more than what a host answers.
pub trait Module: Call {
    /// Reads arguments that [`Module::prepare`] has found to fit.
    ///
    /// # Errors
    /// When an argument is missing or of the wrong kind.
    fn operation(&self, task: &Arguments<'_>) -> Result<Box<dyn Operation>>;
}

impl dyn Module {
    /// Reads the arguments of a task.
    ///
    /// # Errors
    /// When an argument is unknown, missing or of the wrong kind, or two of them exclude each other.
    pub fn prepare(&self, task: &Arguments<'_>) -> Result<Box<dyn Operation>> {
        let call: &dyn Call = self;
        call.check_names(task.named, task.free_form.is_some())?;
        self.operation(task)
    }
}

/// All modules. `playbook::actions` has the calls that need more than a host's answer.
pub const MODULES: &[&dyn Module] = &[
    &apt::Apt,
    &blockinfile::Blockinfile,
    &command::Command,
    &copy::Copy,
    &file::FileModule,
    &group::Group,
    &lineinfile::Lineinfile,
    &package::Package,
    &postgresql_db::PostgresqlDb,
    &postgresql_ext::PostgresqlExt,
    &postgresql_privs::PostgresqlPrivs,
    &postgresql_query::PostgresqlQuery,
    &postgresql_user::PostgresqlUser,
    &service::Service,
    &shell::Shell,
    &slurp::Slurp,
    &stat::Stat,
    &systemd::Systemd,
    &systemd::SystemdService,
    &template::Template,
    &unarchive::Unarchive,
    &user::User,
    &wait_for::WaitFor,
];

/// The module of a name, with or without its collection.
#[must_use]
pub fn find(name: &str) -> Option<&'static dyn Module> {
    MODULES.iter().copied().find(|module| (*module as &dyn Call).is_named(name))
}

/// What a task gives to its module.
pub struct Arguments<'a> {
    /// The named arguments.
    pub named: &'a Map<String, Value>,
    /// The text of modules that take one.
    pub free_form: Option<&'a str>,
    /// The files beside the playbook.
    pub sources: &'a dyn Sources,
}

/// The files that a task may name.
pub trait Sources: Send + Sync {
    /// The bytes of a file.
    ///
    /// # Errors
    /// When there is none.
    fn file(&self, name: &str) -> Result<Bytes>;

    /// What a folder holds; `None` when the name is not a folder.
    ///
    /// # Errors
    /// When the folder cannot be read.
    fn folder(&self, name: &str) -> Result<Option<Folder>>;

    /// The mode of a file, for `mode: preserve`; `None` where files have none.
    ///
    /// # Errors
    /// When there is no such file.
    fn mode(&self, name: &str) -> Result<Option<u32>>;

    /// A template, rendered. Before a run, when not every variable is known, the text is empty.
    ///
    /// # Errors
    /// When there is none, or it cannot be rendered.
    fn template(&self, name: &str, layout: Layout) -> Result<Rendered>;
}

/// A template with the values of a host.
#[derive(Clone, Debug, Default)]
pub struct Rendered {
    /// Its text.
    pub text: String,
    /// The mode of its file; `None` where files have none.
    pub mode: Option<u32>,
}

/// What a folder beside the playbook holds, as paths relative to it.
pub struct Folder {
    /// Its files.
    pub files: Vec<String>,
    /// Its folders.
    pub folders: Vec<String>,
}

/// One task on one host, with its arguments resolved.
pub trait Operation: Send + Sync {
    /// What the host is asked; `None` when nothing need be known.
    fn probe(&self) -> Option<Probe>;

    /// What the host is asked in check mode, where no step will find out more.
    fn check_probe(&self) -> Option<Probe> {
        self.probe()
    }

    /// What must be done, from what the probe printed.
    ///
    /// # Errors
    /// When the host cannot be brought to what is asked.
    fn decide(&self, seen: &Output) -> Result<Decision>;

    /// The result after the steps have run; the outputs are those of the steps.
    fn conclude(&self, decision: Decision, outputs: &[Output]) -> Outcome {
        conclude(decision, outputs)
    }

    /// Whether the probe asks another machine than the one it runs on.
    fn asks_elsewhere(&self) -> bool {
        false
    }

    /// Whether the probe may run long before its turn. Those that wait or watch say no.
    fn may_prefetch(&self) -> bool {
        true
    }

    /// The language in which its steps answer: ours, unless they are an author's own commands.
    fn locale(&self) -> Locale {
        Locale::C
    }

    /// The end in check mode, where no step runs.
    fn predict(&self, decision: Decision) -> Prediction {
        Prediction { changed: decision.changed, skipped: false, result: decision.result }
    }

    /// Whether the result says when the steps began and ended, as that of a command does.
    fn is_timed(&self) -> bool {
        false
    }
}

/// How a task ends in check mode.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Prediction {
    /// Whether something would be changed.
    pub changed: bool,
    /// Whether it cannot be known what would be changed.
    pub skipped: bool,
    /// What `register` stores beside that.
    pub result: Map<String, Value>,
}

/// What must be done on a host.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decision {
    /// Whether something changes.
    pub changed: bool,
    /// What runs, in order; the first failure ends it.
    pub steps: Vec<Step>,
    /// What the task's result says.
    pub result: Map<String, Value>,
    /// Files whose text changes.
    pub diffs: Vec<FileChange>,
}

/// One step.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// A script.
    Run(Sh),
    /// A script that reads bytes from its standard input.
    Send {
        /// The bytes.
        input: Bytes,
        /// The script.
        script: Sh,
    },
}

/// A file whose text changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileChange {
    /// Its path.
    pub path: String,
    /// Its new text; `None` when it goes or is not text.
    pub after: Option<String>,
}

/// How a task ended on a host.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// Whether something was changed.
    pub changed: bool,
    /// Why it failed, when it did.
    pub failure: Option<String>,
    /// What `register` stores beside that.
    pub result: Map<String, Value>,
}

impl Decision {
    /// Nothing to do.
    #[must_use]
    pub fn unchanged(result: Map<String, Value>) -> Self {
        Self { result, ..Self::default() }
    }

    /// Something to do, by these scripts.
    #[must_use]
    pub fn run(scripts: impl IntoIterator<Item = Sh>, result: Map<String, Value>) -> Self {
        Self { changed: true, steps: scripts.into_iter().map(Step::Run).collect(), result, diffs: Vec::new() }
    }
}

/// The usual end: a failed step fails the task, with what it printed.
pub(crate) fn conclude(decision: Decision, outputs: &[Output]) -> Outcome {
    let failure = outputs.iter().find(|output| !output.succeeded()).map(|output| {
        let (err, out) = (output.err(), output.out());
        let said = if err.trim().is_empty() { out.trim() } else { err.trim() };
        match output.status {
            Some(status) if said.is_empty() => format!("the host answered with exit status {status}"),
            _ => said.to_owned(),
        }
    });
    Outcome { changed: decision.changed, failure, result: decision.result }
}

/// A probe that failed itself: the host cannot tell.
fn probe_failed(seen: &Output) -> Error {
    let said = seen.err();
    Error::new(if said.trim().is_empty() {
        "the host could not be looked at".to_owned()
    } else {
        said.trim().to_owned()
    })
}

/// A result of one entry.
fn entry(name: &str, value: impl Into<Value>) -> Map<String, Value> {
    Map::from_iter([(name.to_owned(), value.into())])
}
