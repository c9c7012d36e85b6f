//! Imports point down: the table of the house.

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
        "percent",
        "project",
        "trace",
    ],
    &["resource", "template", "graph", "remote"],
    &["cost"],
    &["cloud", "config"],
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
    for (folder, registry) in [("modules", "modules/mod.rs"), ("resource", "resource/mod.rs"), ("cli", "cli/mod.rs")] {
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
