//! Imports point down: the table of the house.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::repository;

/// Modules by layer, the lowest first. A module may use those of its own layer's folder and of the layers below.
const LAYERS: &[&[&str]] = &[
    &[
        "error",
        "name",
        "secret",
        "clock",
        "event",
        "authorities",
        "yaml",
        "files",
        "identity",
        "encoding",
        "project",
        "trace",
    ],
    &["resource", "template", "graph", "remote"],
    &["cost"],
    &["cloud"],
    &["config"],
    &["modules"],
    &["provider", "state"],
    &["plan", "playbook"],
    &["apply"],
    &["configure"],
    &["ui", "lifecycle"],
    &["cli"],
];

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|modules| modules.contains(&module))
}

fn sources() -> Vec<(String, String)> {
    let root = repository().join("src");
    infra::files::walk(&root)
        .unwrap()
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| (path.display().to_string(), std::fs::read_to_string(root.join(&path)).unwrap()))
        .collect()
}

/// The modules of this crate that a source names: `crate::x`, also in braces.
fn imports(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for rest in text.split("crate::").skip(1) {
        if let Some(list) = rest.strip_prefix('{') {
            let mut depth = 0;
            let mut word = String::new();
            for c in list.chars() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => found.push(std::mem::take(&mut word)),
                    c if depth == 0 => word.push(c),
                    _ => {}
                }
            }
            found.push(word);
        } else {
            found.push(rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect());
        }
    }
    found
        .iter()
        .map(|word| word.trim().split("::").next().unwrap_or_default().trim().to_owned())
        .filter(|word| !word.is_empty())
        .collect()
}

#[test]
fn imports_point_down() {
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let module = path.split('/').next().unwrap().trim_end_matches(".rs");
        if matches!(module, "lib" | "main") {
            continue;
        }
        let own = layer(module).unwrap_or_else(|| panic!("`{module}` stands in no layer"));
        let code = text.split("#[cfg(test)]").next().unwrap();
        for import in imports(code) {
            if import == module {
                continue;
            }
            if let Some(other) = layer(&import)
                && other >= own
                && !(other == own && own == 0)
            {
                wrong.push(format!("src/{path} uses `{import}`, which is not below it"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The files of the crate, what each hands on under its own name, and what each takes from the others.
struct House {
    /// The text of each module without its tests, by its path: `["playbook", "run"]`.
    modules: BTreeMap<Vec<String>, String>,
    /// What a module hands on from those below it, by its path and the name.
    handed_on: BTreeMap<(Vec<String>, String), Vec<String>>,
}

impl House {
    fn read() -> Self {
        let mut modules: BTreeMap<Vec<String>, String> = BTreeMap::new();
        for (path, text) in sources() {
            let path = path.trim_end_matches(".rs").trim_end_matches("/mod");
            if !matches!(path, "lib" | "main") {
                let code = text.split("#[cfg(test)]").next().unwrap().to_owned();
                modules.insert(path.split('/').map(str::to_owned).collect(), code);
            }
        }
        let mut handed_on = BTreeMap::new();
        for (module, code) in &modules {
            for path in paths(code).into_iter().filter(|path| path[0] == "self") {
                let name = path.last().unwrap().clone();
                let from = [&module[..], &path[1..path.len() - 1]].concat();
                handed_on.insert((module.clone(), name), from);
            }
        }
        Self { modules, handed_on }
    }

    /// The module that defines what a path of another one names.
    fn resolve(&self, from: &[String], path: &[String]) -> Option<Vec<String>> {
        let up = path.iter().take_while(|word| *word == "super").count();
        let mut at = match path[0].as_str() {
            "crate" => Vec::new(),
            "super" => from[..from.len().checked_sub(up)?].to_vec(),
            _ => return None,
        };
        for word in &path[up.max(1)..] {
            let below = [&at[..], std::slice::from_ref(word)].concat();
            if self.modules.contains_key(&below) {
                at = below;
            } else if let Some(home) = self.handed_on.get(&(at.clone(), word.clone())) {
                at.clone_from(home);
            } else {
                break;
            }
        }
        self.modules.contains_key(&at).then_some(at)
    }

    /// The modules that a module takes something from. What is below a module may use it: files that share an `impl` do.
    fn uses(&self, module: &[String]) -> BTreeSet<Vec<String>> {
        let found = paths(&self.modules[module]).into_iter().filter_map(|path| self.resolve(module, &path));
        found.filter(|other| !module.starts_with(other)).collect()
    }
}

/// The paths that a source names, written out: `use a::{b, c::d}` is `a::b` and `a::c::d`.
fn paths(text: &str) -> Vec<Vec<String>> {
    let code: String = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let mut found = Vec::new();
    for root in ["crate::", "super::", "self::"] {
        for (at, _) in code.match_indices(root) {
            let before = code[..at].chars().next_back();
            if before.is_none_or(|c| !c.is_alphanumeric() && c != '_' && c != ':') {
                expand(&mut code[at..].chars().peekable(), &[], &mut found);
            }
        }
    }
    found
}

/// Reads one path with what is in its braces.
fn expand(text: &mut std::iter::Peekable<std::str::Chars<'_>>, before: &[String], found: &mut Vec<Vec<String>>) {
    let mut path = before.to_vec();
    loop {
        while text.next_if(|c| c.is_whitespace()).is_some() {}
        if text.next_if_eq(&'{').is_some() {
            while text.peek().is_some_and(|c| *c != '}') {
                expand(text, &path, found);
                while text.next_if(|c| c.is_whitespace() || *c == ',').is_some() {}
                // Whatever this is, it is no list of names.
                if text.peek().is_some_and(|c| !c.is_alphanumeric() && *c != '_' && *c != '}' && *c != '{') {
                    return;
                }
            }
            text.next();
            return;
        }
        let mut word = String::new();
        while let Some(c) = text.next_if(|c| c.is_alphanumeric() || *c == '_') {
            word.push(c);
        }
        if word.is_empty() {
            break;
        }
        // `use a::{self}` is `a`.
        if word != "self" || path.is_empty() {
            path.push(word);
        }
        if text.next_if_eq(&':').is_none() || text.next_if_eq(&':').is_none() {
            break;
        }
    }
    if path.len() > 1 {
        found.push(path);
    }
}

/// Circles that are still to be opened. None may be added.
const KNOWN_CIRCLES: &[&str] = &[
    "modules::attributes, modules::content",
    "provider::aws::group, provider::aws::health",
    "provider::aws::layout, provider::aws::postgres",
    "provider::aws::network, provider::aws::route_table, provider::aws::security_group",
    "provider::docker::drift, provider::docker::vm",
    "provider::yandex::balancer, provider::yandex::compute, provider::yandex::interface, provider::yandex::observe, \
     provider::yandex::postgres, provider::yandex::postgres_drift, provider::yandex::public",
    "template::calls, template::names",
    "template::condition, template::evaluate",
    "template::first_found, template::lazy, template::lookups, template::values",
];

/// Files do not take from each other in a circle: each can be read after those that it uses.
#[test]
fn no_files_import_each_other() {
    let house = House::read();
    let uses: BTreeMap<&Vec<String>, BTreeSet<Vec<String>>> =
        house.modules.keys().map(|module| (module, house.uses(module))).collect();
    let reach = |from: &Vec<String>| {
        let (mut seen, mut next) = (BTreeSet::new(), vec![from.clone()]);
        while let Some(module) = next.pop() {
            for other in &uses[&module] {
                if seen.insert(other.clone()) {
                    next.push(other.clone());
                }
            }
        }
        seen
    };
    let mut circles: BTreeSet<Vec<String>> = BTreeSet::new();
    for module in house.modules.keys() {
        let circle =
            reach(module).into_iter().filter(|other| reach(other).contains(module)).map(|path| path.join("::"));
        let circle: Vec<String> = circle.collect();
        if circle.len() > 1 {
            circles.insert(circle);
        }
    }
    let circles: BTreeSet<String> = circles.into_iter().map(|circle| circle.join(", ")).collect();
    let known: BTreeSet<String> = KNOWN_CIRCLES.iter().map(|&circle| circle.to_owned()).collect();
    let new: Vec<&String> = circles.difference(&known).collect();
    assert!(new.is_empty(), "new circles: {new:#?}");
    let gone: Vec<&String> = known.difference(&circles).collect();
    assert!(gone.is_empty(), "circles that are open now, and need not be listed any more: {gone:#?}");
}

#[test]
fn only_the_ui_prints() {
    for (path, text) in sources() {
        let prints = ["println!(", "eprintln!(", "print!("].iter().any(|macro_| text.contains(macro_));
        assert!(!prints || path.starts_with("ui/"), "src/{path} prints");
    }
}

/// Files are found by their registration: one that is not registered would silently do nothing.
#[test]
fn every_file_is_registered() {
    for (folder, registry) in [
        ("modules", "modules/mod.rs"),
        ("playbook/actions", "playbook/actions/mod.rs"),
        ("resource", "resource/mod.rs"),
        ("cli", "cli/mod.rs"),
    ] {
        let text = std::fs::read_to_string(repository().join("src").join(registry)).unwrap();
        for (path, _) in sources() {
            if let Some(name) = path.strip_prefix(&format!("{folder}/")).and_then(|name| name.strip_suffix(".rs"))
                && name != "mod"
            {
                assert!(text.contains(&format!("mod {name};")), "src/{path} is not registered in src/{registry}");
            }
        }
    }
}
