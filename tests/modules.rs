//! Playbook modules, case by case: `golden/modules/<module>/<case>.yaml` holds arguments, what the host printed, and what
//! must follow. A new case is a new file.

use bytes::Bytes;
use infra::{
    error::Result,
    modules::{Arguments, Decision, Sources, Step, find},
    remote::Output,
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
}

fn decide(module: &str, case: &Value) -> Result<Decision> {
    let named: Map<String, Value> = case["args"].as_object().cloned().unwrap_or_default();
    let module = find(module).unwrap_or_else(|| panic!("there is no module `{module}`"));
    let operation =
        module.prepare(&Arguments { named: &named, free_form: case["free_form"].as_str(), sources: &NoFiles })?;
    let text = |field: &str| case[field].as_str().unwrap_or_default().as_bytes().to_vec();
    let status = case["status"].as_i64().map_or(0, |status| i32::try_from(status).unwrap());
    operation.decide(&Output { status: Some(status), stdout: text("seen"), stderr: text("stderr") })
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
        .filter_map(|step| match step {
            Step::Run(text) => Some(text.as_str()),
            Step::Put { .. } => None,
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

#[test]
fn golden_cases() {
    let root = repository().join("tests/golden/modules");
    let files = infra::files::walk(&root).unwrap();
    assert!(files.len() >= 30);
    for file in files {
        let module = file.parent().unwrap().display().to_string();
        let (node, duplicates) = yaml::parse(&yaml::read(&root.join(&file)).unwrap()).unwrap();
        assert!(duplicates.is_empty());
        check(&module, &node.to_value(), &file.display().to_string());
    }
}
