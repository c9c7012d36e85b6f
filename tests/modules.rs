//! Playbook modules, case by case: `golden/modules/<module>/<case>.yaml` holds arguments, what the host printed, and what
//! must follow. A new case is a new file.

use bytes::Bytes;
use infra::{
    error::{Error, Result},
    modules::{Arguments, Decision, Folder, MODULES, Operation, Rendered, Sources, Step, find},
    remote::{CHANGE_LIMIT, Local, Output, Script, Transport},
    template::Layout,
    yaml,
};
use serde_json::{Map, Value};

use crate::support::repository;

/// The files beside the playbook: those that a case has.
struct Files<'a>(&'a Value);

impl Sources for Files<'_> {
    fn file(&self, name: &str) -> Result<Bytes> {
        let text = self.0[name].as_str().ok_or_else(|| Error::new(format!("the case has no file `{name}`")))?;
        Ok(Bytes::copy_from_slice(text.as_bytes()))
    }

    fn folder(&self, name: &str) -> Result<Option<Folder>> {
        let inner = format!("{}/", name.trim_end_matches('/'));
        let all = self.0.as_object().into_iter().flat_map(Map::keys);
        let names: Vec<String> = all.filter_map(|file| Some(file.strip_prefix(&inner)?.to_owned())).collect();
        let parents = |name: &String| name.rmatch_indices('/').map(|(at, _)| name[..at].to_owned()).collect::<Vec<_>>();
        let folders = names.iter().flat_map(parents).collect();
        // A name that ends with a slash is an empty folder.
        let files: Vec<String> = names.iter().filter(|name| !name.ends_with('/')).cloned().collect();
        Ok((!names.is_empty()).then_some(Folder { files, folders }))
    }

    fn mode(&self, _: &str) -> Result<Option<u32>> {
        Ok(Some(0o754))
    }

    /// Its text, with its layout where that is not the usual one.
    fn template(&self, name: &str, layout: Layout) -> Result<Rendered> {
        let text = String::from_utf8(self.file(name)?.to_vec()).unwrap();
        let is_usual = format!("{layout:?}") == format!("{:?}", Layout::default());
        let text = if is_usual { text } else { format!("{layout:?}\n{text}") };
        Ok(Rendered { text, mode: self.mode(name)? })
    }
}

pub(crate) fn operation(module: &str, case: &Value) -> Result<Box<dyn Operation>> {
    let named: Map<String, Value> = case["args"].as_object().cloned().unwrap_or_default();
    let module = find(module).unwrap_or_else(|| panic!("there is no module `{module}`"));
    module.prepare(&Arguments { named: &named, free_form: case["free_form"].as_str(), sources: &Files(&case["files"]) })
}

fn decide(module: &str, case: &Value) -> Result<Decision> {
    let operation = operation(module, case)?;
    match &case["probe"] {
        Value::Bool(wanted) => assert_eq!(operation.probe().is_some(), *wanted),
        Value::String(part) => assert!(operation.probe().unwrap().text().contains(part.as_str())),
        _ => {}
    }
    operation.decide(&seen(case))
}

/// What the host printed.
pub(crate) fn seen(case: &Value) -> Output {
    let text = |field: &str| case[field].as_str().unwrap_or_default().as_bytes().to_vec();
    let status = case["status"].as_i64().map_or(0, |status| i32::try_from(status).unwrap());
    Output { status: Some(status), stdout: text("seen"), stderr: text("stderr"), failure: None }
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
pub(crate) fn cases() -> Vec<(String, Value, String)> {
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
    "dpkg-deb",
    "dpkg-query",
    "getent",
    "grep",
    "head",
    "id",
    "lsattr",
    "md5sum",
    "readlink",
    "sha1sum",
    "sha256sum",
    "stat",
    "tr",
];

/// Programs that read with these arguments only: where there is one of another kind, a stand-in says so.
const GUARDED: &[(&str, &str)] = &[
    ("date", r#"[ "$*" = +%s ] || bad"#),
    ("file", "for a do case $a in --) break ;; -b | -i | -bi | --mime* | --brief) ;; -*) bad ;; esac; done"),
    // One script, which writes into no file and runs nothing.
    (
        "sed",
        r#"case "$1 $#" in "-n 2" | "s/"*" 1") ;; *) bad ;; esac; for a do case $a in -n | s/*/*/ | s/*/*/g | s/*/*/p) ;; *) bad ;; esac; done"#,
    ),
    ("sort", r#"[ "$*" = -u ] || bad"#),
];

/// Programs that read with these arguments only, and that are not needed here. Each is a stand-in that says so when it is called in
/// another way.
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
    let find = async |program: &str| {
        let which =
            local.exec(None, &[Script::change(format!("command -v {program}"), CHANGE_LIMIT)]).await.unwrap().remove(0);
        which.succeeded().then(|| which.out().trim().to_owned())
    };
    for program in READERS {
        if let Some(path) = find(program).await {
            std::os::unix::fs::symlink(path, world.path().join(program)).unwrap();
        }
    }
    let mut guarded: Vec<(&str, String)> =
        CAREFUL.iter().map(|(program, guard)| (*program, (*guard).to_owned())).collect();
    for (program, guard) in GUARDED {
        if let Some(path) = find(program).await {
            guarded.push((program, format!("{guard}\nexec {path} \"$@\"")));
        }
    }
    for (program, guard) in &guarded {
        let called = format!("bad() {{ echo \"VIOLATION {program}: $called\" >&2; exit 9; }}\ncalled=$*");
        let script = format!("#!/bin/sh\n{called}\n{guard}\n");
        std::fs::write(world.path().join(program), script).unwrap();
        std::fs::set_permissions(world.path().join(program), std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let mut seen = 0;
    let mut modules = std::collections::BTreeSet::new();
    for (module, case, what) in cases() {
        let Ok(operation) = operation(&module, &case) else { continue };
        for probe in [operation.probe(), operation.check_probe()].into_iter().flatten() {
            seen += 1;
            modules.insert(module.clone());
            let text = probe.text();
            // Where a text that is not quoted is written to.
            let writes = without_quoted(text).replace("2>&1", "").replace(">&2", "").replace(">/dev/null", "");
            assert!(!writes.contains('>'), "{what}: {writes}");
            let script = format!("PATH={path}; export PATH\n{text}");
            let output = local.exec(None, &[Script::change(script, CHANGE_LIMIT)]).await.unwrap().remove(0);
            let said = output.err();
            assert!(!said.contains("VIOLATION") && !said.contains("not found"), "{what}: {said}\n{text}");
        }
    }
    assert!(seen > 40, "{seen} probes");
    assert_eq!(modules.len(), MODULES.len(), "modules without a probe: {modules:?}");
}

/// A question that only reads is made in these files only, and each of them holds nothing else; only an apply lets machines make
/// host keys of their own.
#[test]
fn few_files_make_questions() {
    let root = repository().join("src");
    let holds = |text: &str| -> Vec<String> {
        let files = infra::files::walk(&root).unwrap();
        let files = files.iter().filter(|file| file.extension().is_some_and(|extension| extension == "rs"));
        let files = files.filter(|file| without_tests(&root.join(file)).contains(text));
        files.map(|file| file.display().to_string()).collect()
    };
    let questions = [
        "configure/health.rs",
        "modules/probe.rs",
        "playbook/facts.rs",
        "playbook/notified.rs",
        "playbook/questions.rs",
    ];
    assert_eq!(holds("ReadOnly::of("), questions);
    assert_eq!(holds(".with_keeper("), ["lifecycle/apply.rs"]);
}

/// A source up to its tests.
fn without_tests(path: &std::path::Path) -> String {
    let text = std::fs::read_to_string(path).unwrap();
    text.split("#[cfg(test)]").next().unwrap_or_default().to_owned()
}

/// A script without what stands between single quotes.
fn without_quoted(text: &str) -> String {
    text.split('\'').step_by(2).collect()
}
