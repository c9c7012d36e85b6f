//! Whether what an entry says may be written there: the table of keywords, applied.

use super::{
    Loader,
    keywords::{self, Place, Support},
};
use crate::{
    error::{Diagnostic, did_you_mean},
    modules::Call,
    playbook::{
        calls::{self, Way},
        connection,
        directives::{DIRECTIVES, Directive},
    },
    yaml::{Key, Node},
};

impl Loader {
    /// Every key of an entry must be a keyword of this place.
    pub(super) fn allow(&self, entries: &[(Key, Node)], place: Place) {
        for (key, _) in entries {
            if !self.is_keyword(key, place) {
                self.mistake(unknown(key, place));
            }
        }
    }

    /// Whether a key is a keyword of this place; one that is refused is a mistake.
    pub(super) fn is_keyword(&self, key: &Key, place: Place) -> bool {
        let support = keywords::support(&key.name, place);
        if let Some(Support::Refused(instead)) = support {
            let message = format!("the keyword `{}` is not supported on {}", key.name, place.title());
            self.mistake(Diagnostic::error(key.mark.location(), message).hint(instead));
        }
        support.is_some()
    }

    /// Whether a key of a role's entry is a keyword. Ansible takes every other key as a parameter of the role, so one that is
    /// a keyword of tasks would do nothing: it is a mistake.
    pub(super) fn is_role_keyword(&self, key: &Key) -> bool {
        if self.is_keyword(key, Place::Role) {
            return true;
        }
        let mut of_roles = DIRECTIVES.iter().filter(|named| named.directive.is_of_role());
        let role_argument = of_roles.any(|named| (*named as &dyn Call).argument(&key.name).is_some());
        if role_argument || keywords::places(&key.name).iter().any(|place| place.is_task() || *place == Place::Block) {
            let message = format!("`{}` does nothing on {}", key.name, Place::Role.title());
            let hint = if role_argument {
                "use a task with `import_role`; a parameter of this name belongs below `vars:`"
            } else {
                "a parameter of this name belongs below `vars:`"
            };
            self.mistake(Diagnostic::error(key.mark.location(), message).hint(hint));
        }
        false
    }

    /// Variables, of which some that are about connections are refused, and some of their values.
    pub(super) fn check_vars(&self, node: &Node) {
        for diagnostic in connection::check_variables(node) {
            self.mistake(diagnostic);
        }
    }

    /// The key of a task that names its module, and the place that this makes it. All other keys must be keywords.
    pub(super) fn place_of<'a>(
        &self, node: &Node, fields: &'a [(Key, Node)], handling: bool,
    ) -> (Place, Option<&'a (Key, Node)>) {
        let plain = if handling { Place::Handler } else { Place::Task };
        let no_keyword = |(key, _): &&(Key, Node)| {
            matches!(key.name.as_str(), "action" | "local_action") || keywords::support(&key.name, plain).is_none()
        };
        let (modules, others): (Vec<_>, Vec<_>) =
            fields.iter().filter(no_keyword).partition(|(key, _)| is_module(&key.name));
        let place = match modules.first().and_then(|(key, _)| calls::find(&key.name)) {
            Some(Way::Directive(directive, _)) => place(directive).unwrap_or(plain),
            _ => plain,
        };
        for (key, _) in fields {
            let module = modules.first().or(others.first()).is_some_and(|(first, _)| first.name == key.name);
            if module || (handling && key.name == "listen" && self.is_keyword(key, Place::Handler)) {
                continue;
            }
            if is_module(&key.name) {
                let first = modules.first().map(|(key, _)| key.name.as_str()).unwrap_or_default();
                let message = format!("a task has one module, this one has `{first}` and `{}`", key.name);
                self.mistake(Diagnostic::error(key.mark.location(), message));
            } else if !self.is_keyword(key, place) {
                self.mistake(unknown(key, place));
            }
        }
        let found = modules.first().or(others.first()).copied();
        if found.is_none() {
            self.mistake(node.error("this task names no module"));
        }
        (place, found)
    }
}

/// The place that a directive makes of its task.
fn place(directive: Directive) -> Option<Place> {
    match directive {
        Directive::ImportTasks => Some(Place::ImportTasks),
        Directive::ImportRole => Some(Place::ImportRole),
        Directive::IncludeTasks => Some(Place::IncludeTasks),
        Directive::IncludeRole => Some(Place::IncludeRole),
        Directive::Meta => None,
    }
}

fn is_module(name: &str) -> bool {
    matches!(name, "action" | "local_action") || calls::find(name).is_some()
}

/// A key that is no keyword of a place, though perhaps of others.
fn unknown(key: &Key, place: Place) -> Diagnostic {
    let elsewhere = keywords::places(&key.name);
    if !elsewhere.is_empty() {
        let message = format!("`{}` cannot be written on {}", key.name, place.title());
        let mut places: Vec<&str> = elsewhere.into_iter().map(Place::title).collect();
        places.truncate(4);
        return Diagnostic::error(key.mark.location(), message)
            .hint(format!("it can be written on {}", places.join(", ")));
    }
    if let Some(lookup) = key.name.strip_prefix("with_") {
        return Diagnostic::error(key.mark.location(), format!("the loop `with_{lookup}` is not supported"))
            .hint("use `loop` with a list");
    }
    let message = format!("unknown keyword `{}` of {}", key.name, place.title());
    let diagnostic = Diagnostic::error(key.mark.location(), message);
    match did_you_mean(&key.name, keywords::of(place)) {
        Some(close) => diagnostic.hint(format!("did you mean `{close}`?")),
        None => diagnostic,
    }
}
