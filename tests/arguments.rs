//! The arguments that modules and actions list, against what looks at them.

use infra::{
    modules::{Call, MODULES, find},
    playbook::calls,
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

fn changes_nothing(call: &dyn Call, argument: &str) -> bool {
    call.no_effect().iter().any(|(idle, _)| *idle == argument)
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
    for module in MODULES {
        let (name, call): (_, &dyn Call) = (module.name(), *module);
        for argument in call.argument_names().into_iter().filter(|argument| !changes_nothing(call, argument)) {
            let counts = |case: &Value| {
                let mut without = case.clone();
                let taken = without["args"].as_object_mut().and_then(|args| args.remove(argument));
                taken.is_some() && behaviour(name, case) != behaviour(name, &without)
            };
            if !cases.iter().any(|(of, case, _)| of == name && counts(case)) {
                idle.push(format!("{name}: {argument}"));
            }
        }
    }
    assert!(idle.is_empty(), "without a case in which they count:\n{}", idle.join("\n"));
}

/// The arguments of an action or a directive are fields of a struct, of which the compiler says whether they are read, or asked for by
/// their names; and a test gives each of them.
#[test]
fn every_argument_of_an_action_is_read_and_has_a_case() {
    let of_directives = sources("src/playbook", "directives.rs");
    let tests = sources("tests", "arguments.rs") + &sources("playbooks", "none");
    let mut without = Vec::new();
    for call in calls().into_iter().filter(|call| find(call.name()).is_none()) {
        let name = call.name();
        let own = repository().join(format!("src/playbook/actions/{name}.rs"));
        let own = std::fs::read_to_string(own).unwrap_or_default();
        for argument in call.argument_names().into_iter().filter(|argument| !changes_nothing(call, argument)) {
            let quoted = format!("\"{argument}\"");
            let is_read = if own.is_empty() {
                of_directives.contains(&quoted)
            } else {
                // It is a field, or it is declared and asked for.
                own.contains("arguments! {") || own.matches(&quoted).count() > 1
            };
            assert!(is_read, "nothing reads `{argument}` of `{name}`");
            if !is_given(&tests, name, argument) {
                without.push(format!("{name}: {argument}"));
            }
        }
    }
    assert!(without.is_empty(), "without a test that gives them:\n{}", without.join("\n"));
}

/// A call that is named, with the files in which its name may be written: its own, and where it is declared.
fn homes(call: &dyn Call) -> Vec<String> {
    let name = call.name();
    let own = [format!("modules/{name}.rs"), format!("playbook/actions/{name}.rs")];
    own.into_iter().chain(["playbook/directives.rs".to_owned(), "modules/systemd.rs".to_owned()]).collect()
}

/// Nothing decides by the name of a call what it does: that is said by what it declares, in its own file. Adding one touches no other.
#[test]
fn no_name_of_a_call_is_compared() {
    let root = repository().join("src");
    let files: Vec<_> = infra::files::walk(&root).unwrap();
    let is_of_playbooks = |path: &str| path.starts_with("playbook/") || path.starts_with("modules/");
    let mut wrong = Vec::new();
    for file in files.iter().filter(|file| file.extension().is_some_and(|extension| extension == "rs")) {
        let path = file.display().to_string();
        let text = std::fs::read_to_string(root.join(file)).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap();
        for (number, line) in code.lines().enumerate() {
            // What a task calls is asked for by `calls`, and never as a text.
            let of_task = [".module ==", ".module !=", ".module.as_str()", "&task.module {", ".name() =="];
            let compares = of_task.iter().any(|text| line.contains(text)) && !line.contains("self.name()");
            if is_of_playbooks(&path) && compares {
                wrong.push(format!("src/{path}:{}: {}", number + 1, line.trim()));
            }
            for call in calls() {
                let name = call.name();
                // Words that only a call has; others are arguments, keywords and fields too.
                let is_its_own =
                    name.contains('_') || matches!(name, "blockinfile" | "lineinfile" | "slurp" | "unarchive" | "uri");
                let quoted = format!("\"{name}\"");
                let is_keyword =
                    path == "playbook/load/keywords.rs" || (path.ends_with("plays.rs") && name == "gather_facts");
                if is_its_own && line.contains(&quoted) && !homes(call).contains(&path) && !is_keyword {
                    wrong.push(format!("src/{path}:{}: `{name}`", number + 1));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "names of calls outside their files:\n{}", wrong.join("\n"));
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
    for call in calls() {
        for (argument, why) in call.no_effect() {
            assert!(call.argument(argument).is_some(), "`{}` has no argument `{argument}`", call.name());
            assert!(!why.is_empty());
        }
    }
    for module in MODULES {
        let name = module.name();
        assert!(cases().iter().any(|(of, ..)| of == name), "`{name}` has no case in tests/golden/modules");
    }
}

/// A module or an action is registered by two lines in one file: its own `mod`, and its entry of the slice.
#[test]
fn a_call_is_registered_by_two_lines() {
    let text = |path: &str| std::fs::read_to_string(repository().join("src").join(path)).unwrap_or_default();
    let (modules, actions) = (text("modules/mod.rs"), text("playbook/actions/mod.rs"));
    for call in calls() {
        let name = call.name();
        let registry = match find(name) {
            Some(_) => &modules,
            None if text("playbook/directives.rs").contains(&format!("name: \"{name}\"")) => continue,
            None => &actions,
        };
        // Two names of one module, and one that is taken from its file by its type.
        if ["systemd_service", "validate_argument_spec"].contains(&name) {
            continue;
        }
        let lines = |start: String| registry.lines().filter(|line| line.trim_start().starts_with(&start)).count();
        assert_eq!((lines(format!("mod {name};")), lines(format!("&{name}::")) > 0), (1, true), "`{name}`");
    }
}

/// A name is found with its own collection or with the built-in one, and with no other.
#[test]
fn a_call_is_of_its_collection() {
    for name in [
        "copy",
        "ansible.builtin.copy",
        "ansible.legacy.copy",
        "community.postgresql.postgresql_db",
        "ansible.builtin.postgresql_db",
    ] {
        assert!(find(name).is_some(), "{name}");
    }
    for name in ["community.postgresql.copy", "community.general.copy", "builtin.copy", "copy.copy"] {
        assert!(find(name).is_none(), "{name}");
    }
}

/// What is derived from the fields of a struct: names, other names, choices and defaults.
#[test]
fn arguments_are_derived_from_the_fields_that_read_them() {
    let call: &dyn Call = find("user").unwrap();
    let of = |name: &str| call.argument(name).unwrap();
    assert!(of("name").required && of("name").is("user"));
    assert_eq!((of("createhome").name, (of("createhome").default)()), ("create_home", Some("true".to_owned())));
    assert_eq!(of("update_password").form.describe(), "`always`, `on_create`");
    assert_eq!((of("update_password").default)(), Some("always".to_owned()));
    let call: &dyn Call = find("package").unwrap();
    assert!(call.takes("use") && !call.takes("r#use") && !call.takes("deb"));
}
