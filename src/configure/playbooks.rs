//! The playbooks of an environment, read and checked before any host is touched.

use std::{collections::BTreeSet, path::PathBuf};

use super::inventory::{self, inventory};
use crate::{
    config::{self, Environment, LoadOptions},
    error::{Diagnostic, Error, Result, did_you_mean},
    files,
    playbook::{
        self, Inventory, Loader, Play, Symbols, Use, Written,
        check::{self, Known},
    },
    state::{State, Vault},
    template::Engine,
    yaml::{Mark, Node},
};

/// Reads the environment's playbooks and checks them and the templates of its file: the plays, as far as they can be read, and
/// every mistake and warning.
///
/// # Errors
/// When a file cannot be read.
pub fn load_plays(environment: &Environment, loader: &Loader, engine: &Engine) -> Result<(Vec<Play>, Vec<Diagnostic>)> {
    let mut found = Vec::new();
    let mut paths: Vec<PathBuf> = Vec::new();
    for (name, mark) in &environment.playbooks {
        match loader.search().playbook(name) {
            Ok(path) => paths.push(path),
            Err(error) => {
                let mut diagnostic = Diagnostic::error(mark.location(), error.message());
                diagnostic.hint = error.hints().first().cloned();
                found.push(diagnostic);
            }
        }
    }
    found.extend(reserved(environment));
    let mut plays = Vec::new();
    if !paths.is_empty() {
        let (read, mistakes) = loader.read_playbooks(&paths)?;
        plays = read;
        found.extend(mistakes);
    }
    let known = known(environment, &inventory_of(environment));
    let uses = |texts: &[(String, Mark)], conditional: bool| -> Vec<Use> {
        let one = |(text, mark): &(String, Mark)| Use {
            text: text.clone(),
            expression: false,
            conditional,
            mark: mark.clone(),
        };
        texts.iter().map(one).collect()
    };
    found.extend(check::texts(&uses(&environment.output_marks, false), &Symbols::default(), &known, engine));
    let mut say = |more: Vec<Diagnostic>| {
        for diagnostic in more {
            if !found.contains(&diagnostic) {
                found.push(diagnostic);
            }
        }
    };
    say(check_plays(environment, &mut plays, loader, engine));
    // Templates that the environment brings may be named by a variable: whatever any play knows, they may use.
    let mut symbols = Symbols::default();
    for play in &plays {
        symbols.defined.extend(play.symbols.defined.iter().cloned());
        symbols.optional.extend(play.symbols.optional.iter().cloned());
        symbols.open |= play.symbols.open;
    }
    let vars: Vec<(String, Mark)> = environment.written_vars.iter().flat_map(Node::texts).collect();
    say(check::texts(&uses(&vars, true), &symbols, &known, engine));
    let folder = environment.folder.join("templates");
    for file in files::walk(&folder).unwrap_or_default() {
        let path = folder.join(file);
        let rendered = path.extension().is_some_and(|extension| extension == "j2");
        if rendered && !plays.iter().any(|play| play.symbols.templates.contains_key(&path)) {
            say(check::template(&path, true, &symbols, &known, engine));
        }
    }
    Ok((plays, found))
}

/// Every mistake and warning of plays that are for the machines of an environment.
pub fn check_plays(environment: &Environment, plays: &mut [Play], loader: &Loader, engine: &Engine) -> Vec<Diagnostic> {
    let inventory = inventory_of(environment);
    let known = known(environment, &inventory);
    let mut found: Vec<Diagnostic> = environment.written_vars.iter().flat_map(playbook::check_variables).collect();
    for (name, value) in &environment.extra_vars {
        if let Err(error) = playbook::check_variable(name, value) {
            let diagnostic = Diagnostic::error(None, format!("`--var {name}`: {}", error.message()));
            found.push(error.hints().iter().fold(diagnostic, Diagnostic::hint));
        }
    }
    let written: Vec<Written> = environment.written_vars.iter().flat_map(Written::all).collect();
    let given = environment.extra_vars.keys();
    if plays.is_empty() {
        found.extend(check::circles(&Symbols::default(), &written, given.clone(), engine));
    }
    let mut kept = Symbols::default();
    for play in plays.iter_mut() {
        play.symbols.keep(&kept);
        kept.kept.extend(play.symbols.kept.iter().cloned());
        kept.keeps_more |= play.symbols.keeps_more;
        play.symbols.local |= play.hosts.iter().any(|host| matches!(host.as_str(), "localhost" | "127.0.0.1" | "::1"));
        kept.local |= play.symbols.local;
        kept.adds_hosts |= play.symbols.adds_hosts;
        let circles = check::circles(&play.symbols, &written, given.clone().chain(&kept.kept), engine);
        for mistake in check::play(play, &known, loader.search(), engine).into_iter().chain(circles) {
            if !found.contains(&mistake) {
                found.push(mistake);
            }
        }
    }
    for (host, mark, conditional) in plays.iter().flat_map(|play| &play.symbols.delegates) {
        let here = matches!(host.as_str(), "localhost" | "127.0.0.1" | "::1");
        if here || kept.adds_hosts || inventory.hosts.contains(host) {
            continue;
        }
        let message = format!("`delegate_to: {host}` is no machine of this environment");
        // It may be one of another environment that the playbook is for, too.
        let place = mark.location();
        let mut mistake = if *conditional || elsewhere(environment, host) {
            Diagnostic::warning(place, message)
        } else {
            Diagnostic::error(place, message)
        };
        mistake.hint = did_you_mean(host, inventory.hosts.iter().map(String::as_str))
            .map(|close| format!("did you mean `{close}`?"));
        if !found.contains(&mistake) {
            found.push(mistake);
        }
    }
    found.extend(playbook::unmatched(plays, &inventory.hosts, &inventory.groups, &|name| elsewhere(environment, name)));
    found
}

/// Variables whose names infra or Ansible use themselves.
fn reserved(environment: &Environment) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for (key, _) in environment.written_vars.iter().flat_map(|node| node.entries().unwrap_or_default()) {
        let message = if playbook::MAGIC_VARIABLES.contains(&key.name.as_str()) {
            format!("`{}` is a magic variable: this value is never used", key.name)
        } else if inventory::VARIABLES.contains(&key.name.as_str()) {
            format!("`{0}` hides the variable `{0}` that infra sets for playbooks and templates", key.name)
        } else {
            continue;
        };
        found.push(Diagnostic::warning(key.mark.location(), message).hint("give it another name"));
    }
    found
}

/// The machines that a play is for, as far as that can be known before it runs.
#[must_use]
pub fn reached(environment: &Environment, plays: &[Play]) -> BTreeSet<String> {
    let inventory = inventory_of(environment);
    let mut reached = playbook::reached(plays, &inventory.hosts, &inventory.groups);
    reached.retain(|host| inventory.hosts.contains(host));
    reached
}

/// Refuses a limit that names what the environment does not have.
///
/// # Errors
/// When a part of the pattern is no machine and no group.
pub fn check_limit(environment: &Environment, limit: &str) -> Result<()> {
    let inventory = inventory_of(environment);
    let unknown = playbook::unknown_patterns(limit, &inventory.hosts, &inventory.groups)?;
    let Some(pattern) = unknown.first() else {
        let limit_of = [limit.to_owned()];
        if playbook::match_hosts(&limit_of, &inventory.hosts, &inventory.groups).is_empty() {
            return Err(Error::usage(format!("`--limit {limit}` leaves no machine of `{}`", environment.name))
                .hint(format!("infra inventory {}", environment.name)));
        }
        return Ok(());
    };
    let error = Error::usage(format!("`--limit`: `{pattern}` matches no host and no group of `{}`", environment.name));
    let names = inventory.hosts.iter().chain(inventory.groups.keys()).map(String::as_str);
    Err(match did_you_mean(pattern, names) {
        Some(close) => error.hint(format!("did you mean `{close}`?")),
        None => error.hint(format!("infra inventory {}", environment.name)),
    })
}

/// The inventory before anything is there.
fn inventory_of(environment: &Environment) -> Inventory {
    inventory(environment, &State::nothing(environment), &Vault::default())
}

fn known(environment: &Environment, inventory: &Inventory) -> Known {
    Known::of(inventory, environment.secrets.keys().cloned().collect())
}

/// Whether another environment of the project has a machine or a group of this name, so that a playbook for all of them may name
/// it.
fn elsewhere(environment: &Environment, name: &str) -> bool {
    let folders: BTreeSet<PathBuf> = std::fs::read_dir(environment.project.join("envs"))
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|folder| *folder != environment.folder && folder.join("config.yaml").is_file())
        .collect();
    let mut others = folders.iter().filter_map(|folder| config::load(folder, &LoadOptions::default()).ok());
    others.any(|other| {
        let inventory = inventory_of(&other);
        inventory.groups.contains_key(name) || inventory.hosts.iter().any(|host| host == name)
    })
}
