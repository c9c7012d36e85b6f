//! Playbook modules, case by case: `golden/modules/<module>/<case>.yaml` holds arguments, what the host printed, and what
//! must follow. A new case is a new file.

use bytes::Bytes;
use infra::{
    error::Result,
    modules::{Arguments, Decision, Operation, Sources, Step, find},
    remote::{Local, Output, Script, Transport},
    yaml,
};
use serde_json::{Map, Value};

use crate::support::repository;

struct NoFiles;

impl Sources for NoFiles {
    fn file(&self, name: &str) -> Result<Bytes> {
        panic!("a golden case has no file `{name}`")
    }

    fn folder(&self, _: &str) -> Result<Option<Vec<String>>> {
        Ok(None)
    }

    fn mode(&self, _: &str) -> Result<Option<u32>> {
        Ok(None)
    }
}

fn operation(module: &str, case: &Value) -> Result<Box<dyn Operation>> {
    let named: Map<String, Value> = case["args"].as_object().cloned().unwrap_or_default();
    let module = find(module).unwrap_or_else(|| panic!("there is no module `{module}`"));
    module.prepare(&Arguments { named: &named, free_form: case["free_form"].as_str(), sources: &NoFiles })
}

fn decide(module: &str, case: &Value) -> Result<Decision> {
    let operation = operation(module, case)?;
    match &case["probe"] {
        Value::Bool(wanted) => assert_eq!(operation.probe().is_some(), *wanted),
        Value::String(part) => assert!(operation.probe().unwrap().text().contains(part.as_str())),
        _ => {}
    }
    let text = |field: &str| case[field].as_str().unwrap_or_default().as_bytes().to_vec();
    let status = case["status"].as_i64().map_or(0, |status| i32::try_from(status).unwrap());
    operation.decide(&Output { status: Some(status), stdout: text("seen"), stderr: text("stderr"), failure: None })
}

fn check(module: &str, case: &Value, what: &str) {
    let decision = match (decide(module, case), case["error"].as_str()) {
        (Ok(decision), None) => decision,
        (Err(error), Some(says)) => {
            assert!(error.to_string().contains(says), "{what}: {error}");
            return;
        }
        (Ok(decision), Some(says)) => panic!("{what}: expected an error with `{says}`, got {decision:?}"),
        (Err(error), None) => panic!("{what}: {error}"),
    };
    assert_eq!(Some(decision.changed), case["changed"].as_bool(), "{what}: {decision:?}");
    let scripts: Vec<&str> = decision
        .steps
        .iter()
        .map(|step| match step {
            Step::Run(script) | Step::Send { script, .. } => script.text(),
        })
        .collect();
    if let Some(steps) = case["steps"].as_array() {
        let wanted: Vec<&str> = steps.iter().filter_map(Value::as_str).collect();
        assert_eq!(scripts, wanted, "{what}");
    }
    for part in case["contains"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        assert!(scripts.join("\n").contains(part), "{what}: no `{part}` in {scripts:?}");
    }
    if let Some(after) = case["after"].as_str() {
        assert_eq!(decision.diffs[0].after.as_deref(), Some(after), "{what}");
    }
    if decision.changed {
        assert!(!scripts.is_empty(), "{what}: a change without a step");
    }
    for (name, wanted) in case["result"].as_object().into_iter().flatten() {
        assert_eq!(decision.result.get(name), Some(wanted), "{what}: `{name}`");
    }
}

/// The cases: the module, the case, and the name of its file.
fn cases() -> Vec<(String, Value, String)> {
    let root = repository().join("tests/golden/modules");
    let files = infra::files::walk(&root).unwrap();
    assert!(files.len() >= 30);
    let case = |file: &std::path::PathBuf| {
        let (node, duplicates) = yaml::parse(&yaml::read(&root.join(file)).unwrap()).unwrap();
        assert!(duplicates.is_empty());
        (file.parent().unwrap().display().to_string(), node.to_value(), file.display().to_string())
    };
    files.iter().map(case).collect()
}

#[test]
fn golden_cases() {
    for (module, case, what) in cases() {
        check(&module, &case, &what);
    }
}

/// Programs that only read whatever their arguments are.
const READERS: &[&str] = &[
    "base64",
    "cat",
    "cmp",
    "cut",
    "date",
    "dpkg-deb",
    "dpkg-query",
    "file",
    "getent",
    "grep",
    "head",
    "id",
    "lsattr",
    "md5sum",
    "readlink",
    "sed",
    "sha1sum",
    "sha256sum",
    "sort",
    "stat",
    "tr",
];

/// Programs that read with these arguments only. Each is a stand-in that says so when it is called in another way.
const CAREFUL: &[(&str, &str)] = &[
    ("apt-get", r#"case "$1" in -s) ;; *) bad ;; esac"#),
    ("systemctl", r#"case "$1" in show | is-enabled) ;; *) bad ;; esac"#),
    ("tar", r#"case "$1" in --compare | -t) ;; *) bad ;; esac"#),
    ("unzip", r#"case "$1" in -p | -Z1) ;; *) bad ;; esac"#),
    ("xargs", r#"case "$*" in "-0 -r stat -c "*) ;; *) bad ;; esac"#),
    (
        "find",
        r#"for a do case $a in -delete | -ok* | -execdir | -fprint* | -fls) bad ;; -exec) e=1 ;; *) [ "$e" != 1 ] || [ "$a" = stat ] || bad; e= ;; esac; done"#,
    ),
    ("timeout", r#"case "$2 $4" in "bash exec 3<>\"/dev/tcp/\$0/\$1\""*) ;; *) bad ;; esac"#),
    ("psql", r#"read -r line; [ "$line" = "BEGIN TRANSACTION READ ONLY;" ] || bad; cat >/dev/null"#),
];

/// A probe may run early, twice and in check mode: each one runs here in a world where nothing but reading is there.
#[tokio::test]
async fn probes_can_only_read() {
    use std::os::unix::fs::PermissionsExt as _;

    let world = tempfile::tempdir().unwrap();
    let path = world.path().display();
    let local = Local::default();
    for program in READERS {
        let which = local.exec(None, &[Script::probe(format!("command -v {program}"))]).await.unwrap().remove(0);
        if which.succeeded() {
            std::os::unix::fs::symlink(which.out().trim(), world.path().join(program)).unwrap();
        }
    }
    for (program, guard) in CAREFUL {
        let script = format!("#!/bin/sh\nbad() {{ echo \"VIOLATION {program} $*\" >&2; exit 9; }}\n{guard}\n");
        std::fs::write(world.path().join(program), script).unwrap();
        std::fs::set_permissions(world.path().join(program), std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let mut seen = 0;
    for (module, case, what) in cases() {
        let Ok(operation) = operation(&module, &case) else { continue };
        for probe in [operation.probe(), operation.check_probe()].into_iter().flatten() {
            seen += 1;
            let text = probe.text();
            // Where a text that is not quoted is written to.
            let writes = without_quoted(text).replace("2>&1", "").replace(">&2", "").replace(">/dev/null", "");
            assert!(!writes.contains('>'), "{what}: {writes}");
            let script = format!("PATH={path}; export PATH\n{text}");
            let output = local.exec(None, &[Script::probe(script)]).await.unwrap().remove(0);
            let said = output.err();
            assert!(!said.contains("VIOLATION") && !said.contains("not found"), "{what}: {said}\n{text}");
        }
    }
    assert!(seen > 40, "{seen} probes");
}

/// A script without what stands between single quotes.
fn without_quoted(text: &str) -> String {
    text.split('\'').step_by(2).collect()
}
