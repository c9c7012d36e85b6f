//! Mistakes of plays that show without any host: variables that no one defines, attributes that nothing has, handlers and
//! templates that are not there.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use serde_json::Value;

use super::{
    circles::{self, Written},
    inventory::Inventory,
    literal,
    load::SearchPath,
    model::{Play, Symbols, Use},
    sources::Places,
};
use crate::{
    error::{Diagnostic, Error, Location, Result, did_you_mean, distance},
    files,
    template::{Engine, Names, Var, name_root},
};

/// Variables that every template sees, beside those that begin with `ansible_`.
const MAGIC: &[&str] = &[
    "cycler",
    "dict",
    "environment",
    "group_names",
    "groups",
    "hostvars",
    "inventory_dir",
    "inventory_file",
    "inventory_hostname",
    "inventory_hostname_short",
    "item",
    "joiner",
    "lipsum",
    "lookup",
    "loop",
    "namespace",
    "now",
    "omit",
    "play_hosts",
    "playbook_dir",
    "q",
    "query",
    "range",
    "role_name",
    "role_names",
    "role_path",
    "secret",
    "template_destpath",
    "template_fullpath",
    "template_host",
    "template_mtime",
    "template_path",
    "template_run_date",
    "template_uid",
    "self",
    "super",
    "caller",
    "varargs",
    "kwargs",
    "undef",
    "vars",
    "debug",
];

/// Facts and magic variables that playbooks use most.
const WELL_KNOWN: &[&str] = &[
    "ansible_all_ipv4_addresses",
    "ansible_architecture",
    "ansible_check_mode",
    "ansible_connection",
    "ansible_date_time",
    "ansible_default_ipv4",
    "ansible_default_ipv6",
    "ansible_devices",
    "ansible_distribution",
    "ansible_distribution_major_version",
    "ansible_distribution_release",
    "ansible_distribution_version",
    "ansible_domain",
    "ansible_env",
    "ansible_eth0",
    "ansible_eth1",
    "ansible_facts",
    "ansible_failed_result",
    "ansible_failed_task",
    "ansible_fqdn",
    "ansible_host",
    "ansible_hostname",
    "ansible_interfaces",
    "ansible_kernel",
    "ansible_local",
    "ansible_loop",
    "ansible_loop_var",
    "ansible_lsb",
    "ansible_machine",
    "ansible_managed",
    "ansible_memfree_mb",
    "ansible_memtotal_mb",
    "ansible_mounts",
    "ansible_nodename",
    "ansible_os_family",
    "ansible_pkg_mgr",
    "ansible_play_batch",
    "ansible_play_hosts",
    "ansible_play_hosts_all",
    "ansible_play_name",
    "ansible_port",
    "ansible_processor",
    "ansible_processor_cores",
    "ansible_processor_count",
    "ansible_processor_vcpus",
    "ansible_product_name",
    "ansible_python",
    "ansible_python_interpreter",
    "ansible_python_version",
    "ansible_role_name",
    "ansible_selinux",
    "ansible_service_mgr",
    "ansible_ssh_host",
    "ansible_ssh_port",
    "ansible_ssh_user",
    "ansible_swaptotal_mb",
    "ansible_system",
    "ansible_user",
    "ansible_user_dir",
    "ansible_user_gid",
    "ansible_user_id",
    "ansible_user_uid",
    "ansible_userspace_architecture",
    "ansible_version",
    "ansible_virtualization_role",
    "ansible_virtualization_type",
];

/// What is known before any host is asked.
pub struct Known {
    names: BTreeSet<String>,
    /// Values that do not change their form: what they have not now, they never have.
    values: BTreeMap<String, Value>,
    secrets: Vec<String>,
}

impl Known {
    /// What the inventory of an environment tells, of which nothing may exist yet.
    #[must_use]
    pub fn of(inventory: &Inventory, secrets: Vec<String>) -> Self {
        let host_vars = inventory.host_vars.values().flat_map(|vars| vars.keys().cloned().collect::<Vec<_>>());
        let group_vars = inventory.group_vars.values().flat_map(|vars| vars.keys().cloned().collect::<Vec<_>>());
        let names = inventory.vars.keys().chain(inventory.extra_vars.keys()).cloned();
        let names = names.chain(host_vars).chain(group_vars).chain(MAGIC.iter().map(|name| (*name).to_owned()));
        let values = inventory.vars.iter().filter_map(|(name, var)| match var {
            Var::Data(value) => Some((name.clone(), value.as_ref().clone())),
            _ => None,
        });
        let values = values.chain([("groups".to_owned(), serde_json::json!(inventory.groups))]);
        Self { names: names.collect(), values: values.collect(), secrets }
    }

    fn has(&self, name: &str, symbols: &Symbols) -> bool {
        // Facts are what a host tells: only one that looks like a misspelt well-known one is no fact.
        let fact = |name: &str| {
            let known = WELL_KNOWN.contains(&name);
            known || did_you_mean(name, WELL_KNOWN.iter().copied()).is_none_or(|close| distance(close, name) > 2)
        };
        (name.starts_with("ansible_") && fact(name)) || self.names.contains(name) || symbols.defined.contains(name)
    }

    /// What is wrong with the variables that a template speaks of.
    fn wrong(&self, names: &Names, text: &str, symbols: &Symbols, conditional: bool) -> Vec<(String, Error)> {
        // Under a condition a variable may rightly be missing; then only one that looks like another one is a mistake.
        let conditional =
            conditional || ["{% if", "{%- if", " if ", " and ", " or "].iter().any(|word| text.contains(word));
        let mut found = Vec::new();
        let mut missing = BTreeSet::new();
        for path in &names.variables {
            let root = name_root(path);
            if !self.has(root, symbols) {
                if !symbols.open && missing.insert(root.to_owned()) {
                    let error = Error::usage(format!("the variable `{root}` is not defined"));
                    if symbols.optional.contains(root) {
                        continue;
                    }
                    let names = self.names.iter().chain(&symbols.defined).map(String::as_str);
                    let close = did_you_mean(root, names.chain(WELL_KNOWN.iter().copied()));
                    if !conditional || close.is_some_and(|close| distance(close, root) <= 2) {
                        found.push((root.to_owned(), hint(error, close)));
                    }
                }
            } else if !symbols.defined.contains(root)
                && let Some(value) = self.values.get(root)
            {
                found.extend(self.attribute(value, path));
            }
        }
        let quoted = |rest: &str| {
            let rest = rest.trim_start();
            let quote = rest.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
            rest[1..].split_once(quote).map(|(name, _)| name.to_owned())
        };
        for name in text.split("secret(").skip(1).filter_map(quoted) {
            if !self.secrets.contains(&name) {
                let error = Error::usage(format!("there is no secret `{name}` in the environment file"));
                let close = did_you_mean(&name, self.secrets.iter().map(String::as_str));
                found.push((name.clone(), hint(error, close)));
            }
        }
        found
    }

    /// An attribute that a value never has.
    fn attribute(&self, value: &Value, path: &str) -> Option<(String, Error)> {
        let mut value = value;
        let mut before = name_root(path).to_owned();
        for part in path.split('.').skip(1) {
            let fields = value.as_object().filter(|fields| !fields.is_empty())?;
            let Some(inner) = fields.get(part) else {
                // Methods of mappings are attributes too.
                if matches!(part, "keys" | "values" | "items" | "get" | "pop" | "update" | "copy") {
                    return None;
                }
                let error = Error::usage(format!("`{before}` has no `{part}`"));
                return Some((part.to_owned(), hint(error, did_you_mean(part, fields.keys().map(String::as_str)))));
            };
            before = format!("{before}.{part}");
            value = inner;
        }
        None
    }
}

fn hint(error: Error, close: Option<&str>) -> Error {
    match close {
        Some(close) => error.hint(format!("did you mean `{close}`?")),
        None => error,
    }
}

fn diagnostic(location: Option<Location>, error: &Error) -> Diagnostic {
    let diagnostic = Diagnostic::error(location, error.message());
    match error.hints().first() {
        Some(text) => diagnostic.hint(text),
        None => diagnostic,
    }
}

/// The mistakes of texts: of outputs and variables of an environment file.
#[must_use]
pub fn texts(uses: &[Use], symbols: &Symbols, known: &Known, engine: &Engine) -> Vec<Diagnostic> {
    uses.iter().flat_map(|one| text(one, names_of(one, engine), symbols, known)).collect()
}

fn names_of(one: &Use, engine: &Engine) -> Result<Names> {
    if one.expression { engine.names_of_expression(&one.text) } else { engine.names(&one.text) }
}

/// The mistakes of a text that speaks of these names.
fn text(one: &Use, names: Result<Names>, symbols: &Symbols, known: &Known) -> Vec<Diagnostic> {
    match names {
        Err(error) => vec![diagnostic(Some(one.mark.location()), &error)],
        Ok(names) => {
            let wrong = known.wrong(&names, &one.text, symbols, one.conditional).into_iter();
            wrong.map(|(word, error)| diagnostic(Some(one.mark.within(&one.text, &word)), &error)).collect()
        }
    }
}

/// The mistakes of a play, and what is doubtful in it.
#[must_use]
pub fn play(play: &Play, known: &Known, search: &SearchPath, engine: &Engine) -> Vec<Diagnostic> {
    let mut symbols = play.symbols.clone();
    // What is asked for somewhere whether it is defined may be missing everywhere.
    let names: Vec<Result<Names>> = play.symbols.uses.iter().map(|one| names_of(one, engine)).collect();
    symbols.optional.extend(names.iter().flatten().flat_map(|names| names.optional.iter().cloned()));
    let templates = play.symbols.templates.iter();
    let templates: Vec<(Template<'_>, bool)> =
        templates.filter_map(|(path, conditional)| Some((Template::read(path, engine)?, *conditional))).collect();
    let of_templates = templates.iter().filter_map(|(template, _)| template.names.as_ref().ok());
    symbols.optional.extend(of_templates.flat_map(|names| names.optional.iter().cloned()));
    let symbols = &symbols;
    let found = symbols.uses.iter().zip(names).flat_map(|(one, names)| text(one, names, symbols, known));
    let mut found: Vec<Diagnostic> = found.collect();
    for (template, conditional) in templates {
        found.extend(template.mistakes(conditional, symbols, known));
    }
    let places = Places { task: None, playbook: Some(&play.folder), search };
    for task in &symbols.tasks {
        found.extend(literal::task(task, Places { task: Some(task), ..places }, symbols.local, engine));
    }
    for (name, mark) in &symbols.notified {
        let plain = name.rsplit(" : ").next().unwrap_or(name);
        let listens = |handler: &std::sync::Arc<super::model::Task>| {
            handler.name == *name || handler.name == plain || handler.title() == *name || handler.listen.contains(name)
        };
        let dynamic = play.handlers.iter().any(|handler| crate::template::is_template(&handler.name));
        if !symbols.open && !dynamic && !play.handlers.iter().any(listens) {
            let error = Error::usage(format!("there is no handler `{name}`"));
            let names = play.handlers.iter().map(|handler| handler.name.as_str());
            found.push(diagnostic(Some(mark.within(name, name)), &hint(error, did_you_mean(name, names))));
        }
    }
    found
}

/// The circles among the variables of a play and those of the environment, of which some get other values: from the command line,
/// and while plays run.
#[must_use]
pub fn circles<'a>(
    symbols: &'a Symbols, environment: &'a [Written], changing: impl Iterator<Item = &'a String>, engine: &Engine,
) -> Vec<Diagnostic> {
    if symbols.open {
        // Any variable may get another value.
        return Vec::new();
    }
    let all: Vec<&Written> = symbols.written.iter().chain(environment).collect();
    circles::circles(&all, &changing.collect(), engine)
}

/// The mistakes of a template file that is rendered where these symbols are known.
#[must_use]
pub fn template(path: &Path, conditional: bool, symbols: &Symbols, known: &Known, engine: &Engine) -> Vec<Diagnostic> {
    Template::read(path, engine).map(|template| template.mistakes(conditional, symbols, known)).unwrap_or_default()
}

/// A template file and the names that it speaks of.
struct Template<'a> {
    path: &'a Path,
    text: String,
    names: Result<Names>,
}

impl<'a> Template<'a> {
    /// `None` when it cannot be read: whoever renders it says so.
    fn read(path: &'a Path, engine: &Engine) -> Option<Self> {
        let text = files::read_text(path).ok()?;
        Some(Self { path, names: engine.names_of_file(path, &text), text })
    }

    fn mistakes(&self, conditional: bool, symbols: &Symbols, known: &Known) -> Vec<Diagnostic> {
        match &self.names {
            // The message names file and line.
            Err(error) => vec![diagnostic(None, error)],
            Ok(names) => {
                let wrong = known.wrong(names, &self.text, symbols, conditional).into_iter();
                wrong.map(|(word, error)| diagnostic(self.place(&word), &error)).collect()
            }
        }
    }

    /// Where a word stands first.
    fn place(&self, word: &str) -> Option<Location> {
        let (number, line) = self.text.lines().enumerate().find(|(_, line)| line.contains(word))?;
        let column = line.find(word).map_or(1, |at| line[..at].chars().count() + 1);
        Some(Location {
            file: self.path.to_owned(),
            line: number + 1,
            column,
            width: word.chars().count().max(1),
            text: line.to_owned(),
        })
    }
}
