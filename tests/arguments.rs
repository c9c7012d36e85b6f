//! The arguments that modules and actions list, against what looks at them.

use infra::{
    modules::{MODULES, find},
    playbook::{NO_EFFECT, arguments},
    remote::Output,
};
use serde_json::Value;

use crate::{
    modules::{cases, operation, seen},
    support::repository,
};

/// The sources below a folder, but for one file.
fn sources(folder: &str, without: &str) -> String {
    let root = repository().join(folder);
    let files = infra::files::walk(&root).unwrap();
    let is_text = |file: &&std::path::PathBuf| {
        file.extension().is_some_and(|extension| extension == "rs" || extension == "yml" || extension == "yaml")
    };
    let sources = files.iter().filter(is_text).filter(|file| !file.ends_with(without));
    sources.map(|file| std::fs::read_to_string(root.join(file)).unwrap()).collect()
}

/// The fields of a struct, under all their names, with which it reads arguments.
fn fields(file: &str, name: &str) -> Vec<String> {
    let text = std::fs::read_to_string(repository().join("src").join(file)).unwrap();
    let (_, body) = text.split_once(&format!("struct {name} {{\n")).unwrap_or_else(|| panic!("no struct {name}"));
    let (body, _) = body.split_once("\n}").unwrap();
    let named = |line: &str| -> Vec<String> {
        let words = |text: &str| text.split('"').skip(1).step_by(2).map(str::to_owned).collect();
        match line.trim() {
            attribute if attribute.starts_with("#[") => words(attribute),
            field => field.split_once(": ").map(|(name, _)| vec![name.replace("pub(super) ", "")]).unwrap_or_default(),
        }
    };
    body.lines().flat_map(named).collect()
}

/// The names by which actions whose arguments are fields read them; which fields are never looked at, the compiler says.
fn fields_of_action(name: &str) -> Option<Vec<String>> {
    let web = "playbook/host/web_arguments.rs";
    let copy = "modules/copy.rs";
    let structs: &[(&str, &str)] = match name {
        "get_url" => &[(web, "GetUrlArguments"), (web, "WebArguments"), (copy, "FileCopy")],
        "uri" => &[(web, "UriArguments"), (web, "WebArguments"), (copy, "FileCopy")],
        "pause" => &[("playbook/host/pause.rs", "PauseArguments")],
        "template" => &[("playbook/host/template.rs", "TemplateArguments"), (copy, "FileCopy")],
        _ => return None,
    };
    Some(structs.iter().flat_map(|(file, name)| fields(file, name)).collect())
}

fn changes_nothing(module: &str, argument: &str) -> bool {
    NO_EFFECT.iter().any(|(name, idle, _)| *name == module && *idle == argument)
}

/// All that a module does with its arguments in a case: what it asks the host, and what it decides.
fn behaviour(module: &str, case: &Value) -> String {
    match operation(module, case) {
        Ok(operation) => {
            // A step that was tried and failed is an end, too.
            let decided = operation.decide(&seen(case)).map(|decision| {
                let failed = Output { status: Some(1), stdout: b"a\n\n".to_vec(), ..Output::default() };
                let ends = [vec![], vec![Output { status: Some(0), ..failed.clone() }], vec![failed]]
                    .map(|outputs| operation.conclude(decision.clone(), &outputs));
                format!("{decision:?} {ends:?}")
            });
            format!("{:?} {:?} {decided:?}", operation.probe(), operation.check_probe())
        }
        Err(error) => error.to_string(),
    }
}

/// Each argument of a module has a case in `golden/modules` in which it makes a difference: without it, the module asks or does
/// something else. What makes none says why.
#[test]
fn every_argument_of_a_module_has_a_case_in_which_it_counts() {
    let cases = cases();
    let mut idle = Vec::new();
    for (name, arguments, _) in arguments() {
        let Some(module) = find(name) else { continue };
        for argument in arguments.iter().filter(|argument| !changes_nothing(module.name(), argument)) {
            let counts = |case: &Value| {
                let mut without = case.clone();
                let taken = without["args"].as_object_mut().and_then(|args| args.remove(*argument));
                taken.is_some() && behaviour(name, case) != behaviour(name, &without)
            };
            if !cases.iter().any(|(of, case, _)| of == name && counts(case)) {
                idle.push(format!("{name}: {argument}"));
            }
        }
    }
    assert!(idle.is_empty(), "without a case in which they count:\n{}", idle.join("\n"));
}

/// The arguments of an action are fields of a struct or asked for by their names, and a test gives each of them to that action.
#[test]
fn every_argument_of_an_action_is_read_and_has_a_case() {
    let names = sources("src/playbook", "actions.rs");
    let tests = sources("tests", "arguments.rs") + &sources("playbooks", "none");
    let mut without = Vec::new();
    for (name, arguments, _) in arguments().into_iter().filter(|(name, ..)| find(name).is_none()) {
        let read = fields_of_action(name);
        for argument in arguments.iter().filter(|argument| !changes_nothing(name, argument)) {
            let is_read = match &read {
                Some(read) => read.iter().any(|field| field == argument),
                None => names.contains(&format!("\"{argument}\"")),
            };
            assert!(is_read, "nothing reads `{argument}` of `{name}`");
            if !is_given(&tests, name, argument) {
                without.push(format!("{name}: {argument}"));
            }
        }
    }
    assert!(without.is_empty(), "without a test that gives them:\n{}", without.join("\n"));
}

/// Whether a text has a task with this action and this argument: `action: {..., argument: ...`, or the argument in one of the lines
/// that are further in than the action's.
fn is_given(text: &str, action: &str, argument: &str) -> bool {
    let key = format!("{action}:");
    text.match_indices(&key).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
            return false;
        }
        let task = &text[at + key.len()..];
        let task = &task[..task.floor_char_boundary(600)];
        let end = task.find("\n- ").into_iter().chain(task.find(" - {")).min().unwrap_or(task.len());
        let ends = [format!("{argument}:"), format!("{argument}="), format!("{argument}\":")];
        ends.iter().any(|end_of| {
            task[..end]
                .match_indices(end_of.as_str())
                .any(|(found, _)| !task[..found].chars().next_back().is_some_and(|c| c.is_alphanumeric() || c == '_'))
        })
    })
}

/// What changes nothing is listed, and no module is without cases.
#[test]
fn what_changes_nothing_is_an_argument() {
    for (name, argument, _) in NO_EFFECT {
        let listed = arguments().iter().any(|(module, all, _)| module == name && all.contains(argument));
        assert!(listed, "`{name}` has no argument `{argument}`");
    }
    for module in MODULES {
        let name = module.name();
        assert!(cases().iter().any(|(of, ..)| of == name), "`{name}` has no case in tests/golden/modules");
    }
}
