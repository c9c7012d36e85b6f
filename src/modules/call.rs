//! What a task can call, as it is known before any host is: one trait for modules, actions and directives.

use serde_json::{Map, Value};

use super::{
    Argument, Exclusive, TEXT,
    declaration::{find, flatten},
};
use crate::error::{Error, Result, did_you_mean};

/// The collection of the modules that every Ansible has.
pub const BUILTIN: &str = "ansible.builtin";
/// The same collection under its older name.
const LEGACY: &str = "ansible.legacy";
/// The collection of the modules for PostgreSQL.
pub const POSTGRESQL: &str = "community.postgresql";

/// A name without the collection that every Ansible has; one of another collection as it is.
#[must_use]
pub fn short_name(name: &str) -> &str {
    match name.rsplit_once('.') {
        Some((BUILTIN | LEGACY, short)) => short,
        _ => name,
    }
}

/// Something that a task can call.
pub trait Call: Sync {
    /// Its short name.
    fn name(&self) -> &'static str;

    /// What it does, in a sentence.
    fn about(&self) -> &'static str;

    /// The collection that it is from.
    fn collection(&self) -> &'static str {
        BUILTIN
    }

    /// Its arguments.
    fn arguments(&self) -> &'static [Argument];

    /// Whether arguments of any name are taken, as by `set_fact`.
    fn takes_any_argument(&self) -> bool {
        false
    }

    /// Its arguments of which only one can be given.
    fn exclusive(&self) -> &'static [Exclusive] {
        &[]
    }

    /// Whether it takes a text instead of arguments, as `command` does.
    fn free_form(&self) -> bool {
        false
    }

    /// The arguments that change nothing, and why.
    fn no_effect(&self) -> &'static [(&'static str, &'static str)] {
        &[]
    }

    /// The variables that it defines beside its registered result.
    fn defines(&self) -> Defines {
        Defines::Nothing
    }

    /// The file of this machine that it reads, beside those that modules ask for.
    fn reads(&self) -> Option<Reads> {
        None
    }

    /// What it does in check mode.
    fn check_mode(&self) -> CheckMode {
        CheckMode::Predicts
    }
}

/// The variables that a call defines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defines {
    /// None.
    Nothing,
    /// One for each of its arguments, with its value.
    Arguments,
    /// Some whose names are known only when it runs.
    Unknown,
    /// Hosts and groups of the run; its arguments may be variables of theirs.
    Hosts,
}

/// A file that a call reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// A template, which this argument names.
    Template(&'static str),
    /// Variables, in the file that this argument or the text names.
    Vars(&'static str),
}

/// What a call does in check mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckMode {
    /// It says what it would change, and changes nothing.
    Predicts,
    /// It is skipped.
    Skips,
    /// It is skipped, unless one of these arguments says when it changes something.
    SkipsUnless(&'static [&'static str]),
    /// It does what it always does: it changes nothing on any host.
    Runs,
}

impl dyn Call {
    /// Whether a task that writes this name calls it: its short name, with its collection or without. As in Ansible, `ansible.builtin`
    /// finds what has moved to another collection since.
    #[must_use]
    pub fn is_named(&self, name: &str) -> bool {
        match name.rsplit_once('.') {
            None => name == self.name(),
            Some((collection, short)) => {
                short == self.name() && [BUILTIN, LEGACY, self.collection()].contains(&collection)
            }
        }
    }

    /// All of its arguments.
    #[must_use]
    pub fn all_arguments(&self) -> Vec<&'static Argument> {
        flatten(self.arguments())
    }

    /// Every name of its arguments.
    #[must_use]
    pub fn argument_names(&self) -> Vec<&'static str> {
        let names = |argument: &'static Argument| [argument.name].into_iter().chain(argument.aliases.iter().copied());
        self.all_arguments().into_iter().flat_map(names).collect()
    }

    /// The argument of a name.
    #[must_use]
    pub fn argument(&self, name: &str) -> Option<&'static Argument> {
        find(self.arguments(), name)
    }

    /// Whether a task may give an argument of this name.
    #[must_use]
    pub fn takes(&self, name: &str) -> bool {
        self.takes_any_argument() || self.argument(name).is_some()
    }

    /// Checks the names of the arguments that a task gives: each is known, and none excludes another one.
    ///
    /// # Errors
    /// When one is not known, or two exclude each other.
    pub fn check_names(&self, named: &Map<String, Value>, text: bool) -> Result<()> {
        if let Some(name) = named.keys().find(|name| !self.takes(name)) {
            let error = Error::usage(format!("there is no argument `{name}`"));
            return Err(match did_you_mean(name, self.argument_names()) {
                Some(close) => error.hint(format!("did you mean `{close}`?")),
                None => error,
            });
        }
        let is_given =
            |name: &&str| if *name == TEXT { text } else { named.get(*name).is_some_and(|value| !value.is_null()) };
        for alternatives in self.exclusive() {
            let given: Vec<String> = alternatives
                .iter()
                .filter_map(|names| names.iter().copied().find(is_given))
                .map(|name| if name == TEXT { "a text".to_owned() } else { format!("`{name}`") })
                .collect();
            if given.len() > 1 {
                return Err(Error::usage(format!("give either {}", given.join(" or "))));
            }
        }
        Ok(())
    }
}
