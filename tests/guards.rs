//! What is watched by lists that only become shorter: long files, long functions, where the time comes from; and dependencies
//! that nothing uses.

use std::collections::BTreeSet;

use crate::support::repository;

/// Longer files have several jobs.
const FILE_LINES: usize = 500;
/// Longer functions have several steps.
const FUNCTION_LINES: usize = 60;

/// Files that are longer, and why. None may be added.
const LONG_FILES: &[(&str, &str)] = &[
    ("src/apply/mod.rs", "the walk of a plan: to be split into walks and calls"),
    ("src/cloud/aws/mod.rs", "the client: to be split into its errors and its requests"),
    ("src/cloud/yandex/calls.rs", "one table of calls"),
    ("src/config/file.rs", "one table of keys"),
    ("src/plan/diff.rs", "one comparison, with its tests"),
    ("src/playbook/host/mod.rs", "the interpreter of one host"),
    ("src/provider/aws/compute.rs", "machines and disks: to be split"),
    ("src/provider/aws/postgres.rs", "one service with its parts: to be split"),
    ("src/remote/shell.rs", "one protocol, with its tests"),
    ("src/state/store.rs", "one document, with its tests"),
    ("tests/aws.rs", "one simulator, case by case"),
    ("tests/aws_fields.rs", "one table of cases"),
    ("tests/aws_states.rs", "case by case"),
    ("tests/faults.rs", "one table of faults"),
    ("tests/fuzz.rs", "one generator"),
    ("tests/hostile.rs", "case by case"),
    ("tests/notifications.rs", "case by case"),
    ("tests/ownership.rs", "to be split by who owns what"),
    ("tests/state.rs", "one suite for all backends"),
    ("tests/support/moto.rs", "one simulator"),
    ("tests/support/yandex/world.rs", "one simulator: to be split by service"),
    ("tests/writer.rs", "to be split"),
    ("tests/yandex.rs", "to be split by kind"),
    ("tests/yandex_fields.rs", "one table of cases"),
    ("tests/yandex_repair.rs", "case by case"),
];

/// Functions that are longer: each is one list or one sequence of the same step. None may be added.
const LONG_FUNCTIONS: &[(&str, &str)] = &[
    ("src/apply/mod.rs", "build_one"),
    ("src/cli/gc.rs", "run"),
    ("src/cli/state.rs", "move_backend"),
    ("src/config/resolve/machines.rs", "machine"),
    ("src/config/resolve/mod.rs", "resolve"),
    ("src/modules/apt.rs", "decide"),
    ("src/modules/file.rs", "decide"),
    ("src/modules/postgresql_db.rs", "decide"),
    ("src/modules/systemd.rs", "decide"),
    ("src/plan/diff.rs", "compared"),
    ("src/plan/follow.rs", "follow"),
    ("src/playbook/connection.rs", "reset"),
    ("src/playbook/facts.rs", "parse"),
    ("src/playbook/host/fate.rs", "one"),
    ("src/playbook/load/calls.rs", "module"),
    ("src/playbook/load/plays.rs", "play"),
    ("src/playbook/load/roles.rs", "role"),
    ("src/playbook/load/tasks.rs", "common"),
    ("src/playbook/load/tasks.rs", "task"),
    ("src/provider/aws/adopt.rs", "adopt"),
    ("src/provider/aws/layout.rs", "resources"),
    ("src/provider/aws/layout.rs", "machines"),
    ("src/provider/aws/postgres.rs", "update"),
    ("src/provider/yandex/adopt.rs", "adopt"),
    ("src/provider/yandex/check.rs", "check"),
    ("src/provider/yandex/layout.rs", "machines"),
    ("src/provider/yandex/observe.rs", "observe"),
    ("src/provider/yandex/postgres.rs", "furnish"),
    ("src/state/lease.rs", "acquire"),
    ("src/template/bounds.rs", "check"),
    ("src/ui/report.rs", "print"),
];

/// Files that ask the machine for the time of day, and why. All others are given a [`infra::clock::Clock`].
const TIME_OF_DAY: &[(&str, &str)] = &[
    ("src/clock.rs", "it is the clock"),
    ("src/playbook/host/operate.rs", "`start` and `end` of a result, which have fractions of seconds"),
    ("src/ui/progress.rs", "the stamp of an event, when it is shown"),
];

/// Files that choose the machine's clock. All others are given one.
const CHOOSE_THE_CLOCK: &[&str] = &[
    "src/apply/mod.rs",
    "src/cli/gc.rs",
    "src/cli/ls.rs",
    "src/cli/state.rs",
    "src/cloud/aws/credentials.rs",
    "src/cloud/aws/mod.rs",
    "src/cloud/yandex/auth.rs",
    "src/lifecycle/by_label.rs",
    "src/lifecycle/site.rs",
    "src/provider/aws/postgres.rs",
    "src/provider/yandex/postgres.rs",
    "src/state/history.rs",
    "src/state/lease.rs",
    "src/state/mod.rs",
    "src/state/store.rs",
    "src/ui/progress.rs",
];

/// The sources below a folder without their tests, by their paths.
fn sources(folder: &str) -> Vec<(String, String)> {
    let root = repository().join(folder);
    let files = infra::files::walk(&root).unwrap().into_iter();
    let files = files.filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    let read = |path: std::path::PathBuf| {
        let text = std::fs::read_to_string(root.join(&path)).unwrap();
        (format!("{folder}/{}", path.display()), text)
    };
    files.map(read).collect()
}

/// A source without its unit tests.
fn without_tests(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests").next().unwrap()
}

/// The lists agree: nothing is new, and what is not found any more leaves the list.
fn compare(what: &str, found: &BTreeSet<String>, known: &BTreeSet<String>) {
    let new: Vec<&String> = found.difference(known).collect();
    assert!(new.is_empty(), "{what}: {new:#?}");
    let gone: Vec<&String> = known.difference(found).collect();
    assert!(gone.is_empty(), "no longer {what}, and need not be listed any more: {gone:#?}");
}

#[test]
fn guards_long_files_only_become_fewer() {
    let all = sources("src").into_iter().chain(sources("tests"));
    let long = all.filter(|(_, text)| text.lines().count() > FILE_LINES).map(|(path, _)| path).collect();
    let known = LONG_FILES.iter().map(|(path, why)| {
        assert!(!why.is_empty(), "{path}");
        (*path).to_owned()
    });
    compare("files of more than 500 lines", &long, &known.collect());
}

/// The functions of a formatted source, with their lengths.
fn functions(text: &str) -> Vec<(String, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        let indent = &line[..line.len() - code.len()];
        let words: Vec<&str> = code.split_whitespace().collect();
        let before = words.iter().take_while(|word| **word != "fn");
        let is_function = before
            .clone()
            .all(|word| word.starts_with("pub") || word.ends_with(')') || ["async", "const", "in"].contains(word));
        let Some(name) = words.get(before.count() + 1).filter(|_| is_function) else { continue };
        let end = format!("{indent}}}");
        let length = lines[at..].iter().position(|line| *line == end).map_or(1, |length| length + 1);
        found.push((name.split(['(', '<']).next().unwrap().to_owned(), length));
    }
    found
}

#[test]
fn guards_long_functions_only_become_fewer() {
    let mut long = BTreeSet::new();
    for (path, text) in sources("src") {
        let all = functions(without_tests(&text)).into_iter();
        long.extend(all.filter(|(_, length)| *length > FUNCTION_LINES).map(|(name, _)| format!("{path} {name}")));
    }
    let known = LONG_FUNCTIONS.iter().map(|(path, name)| format!("{path} {name}")).collect();
    compare("functions of more than 60 lines", &long, &known);
}

/// What reads the machine's clock cannot be tested with another time.
#[test]
fn guards_the_time_comes_from_a_clock() {
    let with = |words: &[&str]| -> BTreeSet<String> {
        let all = sources("src").into_iter();
        let found = all.filter(|(_, text)| words.iter().any(|word| without_tests(text).contains(word)));
        found.map(|(path, _)| path).collect()
    };
    let known = TIME_OF_DAY.iter().map(|(path, _)| (*path).to_owned()).collect();
    compare("files that read the time of day", &with(&["SystemTime::now", "Timestamp::now", "Zoned::now"]), &known);
    let known = CHOOSE_THE_CLOCK.iter().map(|path| (*path).to_owned()).collect();
    compare("files that choose the machine's clock", &with(&["Clock::System"]), &known);
}

/// The names under a heading of the manifest.
fn dependencies(manifest: &str, heading: &str) -> Vec<String> {
    let section = manifest.split(&format!("\n[{heading}]\n")).nth(1).unwrap();
    let lines = section.lines().take_while(|line| !line.starts_with('['));
    let names = lines.filter_map(|line| line.split_once(" = ")).map(|(name, _)| name.trim().replace('-', "_"));
    names.filter(|name| !name.starts_with('#')).collect()
}

/// Packages whose library has another name.
const CALLED: &[(&str, &str)] = &[("md_5", "md5")];

#[test]
fn guards_every_dependency_is_used() {
    let manifest = std::fs::read_to_string(repository().join("Cargo.toml")).unwrap();
    let text = |folders: &[&str]| -> String {
        folders.iter().flat_map(|folder| sources(folder)).map(|(_, text)| text + "\n").collect()
    };
    let (own, tests) = (text(&["src"]), text(&["src", "tests"]));
    for (heading, text) in [("dependencies", own), ("dev-dependencies", tests)] {
        let names = dependencies(&manifest, heading);
        assert!(names.len() > 3, "{names:?}");
        for package in &names {
            let name = CALLED.iter().find(|(known, _)| known == package).map_or(package.as_str(), |(_, name)| name);
            let is_word = |at: usize| !text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '/');
            let is_used = text.match_indices(&format!("{name}::")).any(|(at, _)| is_word(at))
                || text.contains(&format!("use {name}"));
            assert!(is_used, "`{package}` of [{heading}] is used nowhere: remove it from Cargo.toml");
        }
    }
}

/// What the guide for contributors shows under a heading: lines, by the file that they are in.
fn shown(heading: &str) -> BTreeSet<(String, String)> {
    let guide = std::fs::read_to_string(repository().join("CONTRIBUTING.md")).unwrap();
    let section = guide.split(&format!("\n### {heading}\n")).nth(1).expect(heading);
    let diff = section.split("```diff\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a diff");
    let mut file = String::new();
    let mut lines = BTreeSet::new();
    for line in diff.lines() {
        match line.strip_prefix("+++ ") {
            Some(path) => path.clone_into(&mut file),
            None => {
                let line = line.strip_prefix('+').expect("a line that is added");
                lines.insert((file.clone(), line.to_owned()));
            }
        }
    }
    lines
}

/// What is added is in the code as the guide shows it, and nothing beside it and its own files names it.
#[test]
fn guards_the_guide_shows_every_place() {
    let all = sources("src");
    let cases: [(&str, &[&str], &[&str]); 3] = [
        ("A command", &["ls::", "mod ls;"], &["src/cli/ls.rs"]),
        (
            "A kind",
            &["REGISTRY", "RegistrySpec", "registry::", "mod registry;", "Registry>", "Registry {"],
            &["src/resource/registry.rs", "src/provider/yandex/registry.rs", "src/cloud/yandex/"],
        ),
        ("A provider", &["yandex::", "mod yandex;", "\"yandex\""], &["src/cloud/yandex/", "src/provider/yandex/"]),
    ];
    for (heading, names, own) in cases {
        let lines = shown(heading);
        for (file, line) in &lines {
            let (_, text) = all.iter().find(|(path, _)| path == file).expect(file);
            assert!(text.lines().any(|other| other == line), "{heading}: {file} has no line `{line}`");
        }
        let places: BTreeSet<&str> = lines.iter().map(|(file, _)| file.as_str()).collect();
        let named = all.iter().filter(|(path, _)| !own.iter().any(|own| path.starts_with(own)));
        let named = named.filter(|(_, text)| {
            let mut code = without_tests(text).lines().filter(|line| !line.trim_start().starts_with("//"));
            code.any(|line| {
                names.iter().any(|name| {
                    line.match_indices(name)
                        .any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
                })
            })
        });
        let named: BTreeSet<&str> = named.map(|(path, _)| path.as_str()).collect();
        assert_eq!(named, places, "{heading}");
    }
}
