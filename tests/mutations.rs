//! Single edits that break the environment files, the playbooks and the templates: nearly every one is found before anything is
//! written, and the message names its line.

use std::{collections::BTreeMap, path::Path};

use crate::support::{Sandbox, repository};

/// An edit of one line.
#[derive(Debug)]
struct Edit {
    file: String,
    /// Counted from 1.
    line: usize,
    before: String,
    after: String,
}

/// Keys whose children are named by users: another name there is no mistake by itself.
const NAMED: &[&str] = &[
    "instances",
    "instance_groups",
    "postgres",
    "nginx",
    "subnets",
    "firewall",
    "users",
    "databases",
    "settings",
    "upstreams",
    "locations",
    "vars",
    "outputs",
    "service_accounts",
    "secrets",
    "registries",
    "addresses",
    "dns",
];

fn words(line: &str) -> Vec<(usize, &str)> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-' || c == '.';
    let mut found = Vec::new();
    let mut at = 0;
    while at < line.len() {
        let rest = &line[at..];
        let Some(begin) = rest.find(word) else { break };
        let end = rest[begin..].find(|c| !word(c)).map_or(rest.len(), |end| begin + end);
        found.push((at + begin, &rest[begin..end]));
        at += end;
    }
    found
}

fn replaced(line: &str, at: usize, old: &str, new: &str) -> String {
    format!("{}{new}{}", &line[..at], &line[at + old.len()..])
}

/// The part of a line that is no comment.
fn code(line: &str) -> &str {
    match line.find(" #") {
        _ if line.trim_start().starts_with('#') => "",
        Some(at) => &line[..at],
        None => line,
    }
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// Edits of an environment file: misspelt keys, values of another type, broken YAML.
fn of_environment(file: &str, text: &str) -> Vec<Edit> {
    let mut edits = Vec::new();
    // The keys around a line, by their indentation.
    let mut around: BTreeMap<usize, String> = BTreeMap::new();
    for (number, line) in text.lines().enumerate() {
        let code = code(line);
        if code.trim().is_empty() {
            continue;
        }
        let mut push = |after: String| {
            edits.push(Edit { file: file.to_owned(), line: number + 1, before: line.to_owned(), after });
        };
        let depth = indent(line);
        around.retain(|indent, _| *indent < depth);
        let parent = around.values().next_back().cloned().unwrap_or_default();
        let top = around.values().next().cloned().unwrap_or_default();
        let free = matches!(top.as_str(), "vars" | "outputs") || parent == "settings";
        for (position, (at, word)) in words(code).into_iter().enumerate() {
            let end = at + word.len();
            let is_key = code[end..].starts_with(':') && (code.len() == end + 1 || code[end + 1..].starts_with(' '));
            let inline = position > 0 && code.trim_start_matches(['-', ' ']).find(word) != Some(0);
            if is_key {
                if !free && (inline || !NAMED.contains(&parent.as_str())) {
                    push(replaced(line, at, word, &format!("{word}x")));
                }
                continue;
            }
            if free || code.contains("{{") || !code[..at].trim_end().ends_with(':') {
                continue;
            }
            if word.parse::<f64>().is_ok() || ["true", "false"].contains(&word) {
                push(replaced(line, at, word, "perhaps"));
            }
        }
        if let Some((at, key)) = words(code).first()
            && code[at + key.len()..].starts_with(':')
        {
            around.insert(depth, (*key).to_owned());
        }
        if depth > 0 && number % 4 == 0 {
            push(format!("\t{}", line.trim_start()));
        }
    }
    edits
}

/// Edits of playbooks, roles and templates: misspelt keywords, modules, arguments, variables, filters and handlers.
fn of_code(file: &str, text: &str) -> Vec<Edit> {
    let mut edits = Vec::new();
    let is_tasks = file.contains("/tasks/") || file.contains("/handlers/");
    let mut block: Option<usize> = None;
    for (number, line) in text.lines().enumerate() {
        let mut push = |after: String| {
            edits.push(Edit { file: file.to_owned(), line: number + 1, before: line.to_owned(), after });
        };
        if block.is_some_and(|depth| line.trim().is_empty() || indent(line) > depth) {
            continue;
        }
        block = None;
        let yaml = Path::new(file).extension().is_some_and(|extension| extension == "yml");
        if yaml && (is_tasks || file.ends_with("site.yml")) {
            let body = line.trim_start_matches([' ', '-']);
            let at = line.len() - body.len();
            if let Some((key, value)) = body.split_once(':')
                && key.chars().all(|c| c.is_ascii_lowercase() || c == '_' || c == '.')
                && !key.is_empty()
            {
                push(replaced(line, at, key, &format!("{key}x")));
                if key == "notify" || key == "include_tasks" || key.ends_with(".include_tasks") {
                    push(format!("{line}x"));
                }
                if value.trim() == "|" || value.trim() == ">" {
                    block = Some(indent(line));
                }
            } else if file.ends_with("site.yml") && line.trim_start().starts_with("- ") {
                push(format!("{line}x"));
            }
        }
        // The first variable and the first filter of each expression.
        for (open, close) in [("{{", "}}"), ("{%", "%}")] {
            let Some(begin) = line.find(open) else { continue };
            let Some(length) = line[begin..].find(close) else { continue };
            let inner = &line[begin + 2..begin + length];
            let skip = ["if", "elif", "for", "in", "set", "endif", "endfor", "else", "not", "and", "or", "is"];
            let mut candidates = words(inner).into_iter().filter(|(_, word)| {
                !skip.contains(word) && word.starts_with(|c: char| c.is_ascii_lowercase()) && !word.contains('-')
            });
            let declares = inner.trim_start().starts_with("for ") || inner.trim_start().starts_with("set ");
            let variable = if declares { candidates.by_ref().nth(1) } else { candidates.next() };
            if let Some((at, word)) = variable
                && !inner[at + word.len()..].trim_start().starts_with("| default")
                && !inner[..at].ends_with(['\'', '"'])
                && !inner[at + word.len()..].starts_with(['(', '\'', '"'])
                && !inner.contains("is defined")
            {
                let name = word.split('.').next().unwrap();
                push(replaced(line, begin + 2 + at, name, &format!("{name}zz")));
            }
            if let Some(bar) = inner.find('|')
                && let Some((at, filter)) = words(&inner[bar..]).first()
            {
                push(replaced(line, begin + 2 + bar + at, filter, &format!("{filter}zz")));
            }
            push(line.replacen(close, "}", 1));
        }
    }
    edits
}

/// Edits that no rule makes: `file | from | to`, each of the line that has `from`.
fn by_hand(files: &BTreeMap<String, String>) -> Vec<Edit> {
    let list = include_str!("golden/mutations.txt");
    let edits = list.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')).map(|line| {
        let mut parts = line.split(" | ");
        let (file, from, to) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap_or(""));
        let text = files.get(file).unwrap_or_else(|| panic!("{file} is not there"));
        let found = text.lines().enumerate().find(|(_, line)| line.contains(from));
        let (number, before) = found.unwrap_or_else(|| panic!("{file} has no `{from}`"));
        let after = before.replacen(from, to, 1);
        Edit { file: file.to_owned(), line: number + 1, before: before.to_owned(), after }
    });
    edits.collect()
}

fn project(name: &str, files: &BTreeMap<String, String>) -> Sandbox {
    let sandbox = Sandbox::new();
    for (file, text) in files {
        sandbox.write(file, text);
    }
    sandbox.run(&["validate", name], 0).silent();
    sandbox
}

fn read_all(files: &mut BTreeMap<String, String>, folder: &str) {
    for file in infra::files::walk(&repository().join(folder)).unwrap() {
        let path = format!("{folder}/{}", file.display());
        files.insert(path.clone(), std::fs::read_to_string(repository().join(&path)).unwrap());
    }
}

/// Edits that are tried at once: one of each file that is read whatever is wrong in the others. What is wrong in an environment
/// file or a playbook hides what is wrong behind it.
fn batches(edits: &[Edit]) -> Vec<Vec<&Edit>> {
    let (alone, beside): (Vec<&Edit>, Vec<&Edit>) =
        edits.iter().partition(|edit| edit.file.ends_with("config.yaml") || edit.file.ends_with("site.yml"));
    let mut batches: Vec<Vec<&Edit>> = Vec::new();
    let mut next: BTreeMap<&str, usize> = BTreeMap::new();
    for edit in beside {
        let at = next.entry(&edit.file).or_default();
        if *at == batches.len() {
            batches.push(Vec::new());
        }
        batches[*at].push(edit);
        *at += 1;
    }
    batches.extend(alone.into_iter().map(|edit| vec![edit]));
    batches
}

/// Tries edits at once; those that were not found, and those whose line is not named.
fn tried<'a>(
    sandbox: &Sandbox, environment: &str, files: &BTreeMap<String, String>, edits: &[&'a Edit],
) -> Vec<(&'a Edit, String)> {
    for edit in edits {
        let mut text: Vec<&str> = files[&edit.file].lines().collect();
        text[edit.line - 1] = &edit.after;
        sandbox.write(&edit.file, &(text.join("\n") + "\n"));
    }
    let output = sandbox.command(&["validate", environment]).output().unwrap();
    for edit in edits {
        sandbox.write(&edit.file, &files[&edit.file]);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let is_missed = |edit: &&&Edit| {
        let place = format!("{}:{}", edit.file, edit.line);
        let named = said
            .match_indices(&place)
            .any(|(at, _)| !said[at + place.len()..].starts_with(|c: char| c.is_ascii_digit()));
        output.status.code() != Some(2) || !named
    };
    let how = if output.status.success() { "is not found" } else { "its line is not named" };
    let shown = |edit: &Edit| {
        format!("{}:{}: {} -> {} {how}\n{said}", edit.file, edit.line, edit.before.trim(), edit.after.trim())
    };
    edits.iter().filter(is_missed).map(|edit| (*edit, shown(edit))).collect()
}

/// Tries all edits; one that is missed beside others is tried alone.
fn missed(environment: &str, files: &BTreeMap<String, String>, edits: &[Edit]) -> Vec<String> {
    let threads = std::thread::available_parallelism().map_or(2, std::num::NonZero::get).max(2);
    let batches = std::sync::Mutex::new(batches(edits));
    let worker = || {
        let sandbox = project(environment, files);
        let mut missed = Vec::new();
        loop {
            let Some(batch) = batches.lock().unwrap().pop() else { return missed };
            for (edit, said) in tried(&sandbox, environment, files, &batch) {
                let alone = if batch.len() > 1 { tried(&sandbox, environment, files, &[edit]) } else { Vec::new() };
                match batch.len() {
                    1 => missed.push(said),
                    _ => missed.extend(alone.into_iter().map(|(_, said)| said)),
                }
            }
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    })
}

#[test]
fn single_edits_that_break_an_environment_are_found_with_their_line() {
    let mut dev = BTreeMap::new();
    for folder in ["envs/dev", "playbooks", "templates"] {
        read_all(&mut dev, folder);
    }
    let mut edits = Vec::new();
    for (file, text) in &dev {
        if file.ends_with("config.yaml") {
            edits.extend(of_environment(file, text));
        } else if !file.contains("/files/") && !file.contains("/defaults/") && !file.contains("group_vars") {
            edits.extend(of_code(file, text));
        }
    }
    let original = include_str!("golden/original/config.yaml");
    let original = original.replace("../envs/dev/monitoring.yml", "monitoring.yml").replace("../build/", "");
    let original = original.replace("~/.ssh/id_rsa.pub", "key.pub");
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ8kVZ5mUqkyDmxPZ1w4Gu1SYxY8m2eJ1Zl5y3uGm1nE test\n";
    let original = BTreeMap::from([
        ("envs/original/config.yaml".to_owned(), original),
        ("envs/original/monitoring.yml".to_owned(), "services: {}\n".to_owned()),
        ("envs/original/prod-docker-compose.yml".to_owned(), "services: {}\n".to_owned()),
        ("envs/original/key.pub".to_owned(), key.to_owned()),
    ]);
    let mut others = of_environment("envs/original/config.yaml", &original["envs/original/config.yaml"]);
    let by_hand = by_hand(&dev.iter().chain(&original).map(|(file, text)| (file.clone(), text.clone())).collect());
    for edit in by_hand {
        if edit.file.starts_with("envs/original") { others.push(edit) } else { edits.push(edit) }
    }
    let total = edits.len() + others.len();
    let mut missed_all = missed("dev", &dev, &edits);
    missed_all.extend(missed("original", &original, &others));
    println!("{total} edits, {} missed", missed_all.len());
    assert!(total >= 200, "{total}");
    assert!(missed_all.len() * 50 <= total, "{} of {total} missed:\n{}", missed_all.len(), missed_all.join("\n"));
}
