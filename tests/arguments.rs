//! The arguments that modules and actions list, against what looks at them.

use infra::{
    modules::find,
    playbook::{NO_EFFECT, arguments},
};

use crate::support::repository;

/// The sources below a folder, but for one file.
fn sources(folder: &str, without: &str) -> String {
    let root = repository().join(folder);
    let files = infra::files::walk(&root).unwrap();
    let sources = files.iter().filter(|file| !file.ends_with(without));
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

/// An argument of a module is a field of a struct, and the compiler says when a field is never read; an argument of an action is
/// asked for by its name. What neither is has a reason why it changes nothing.
#[test]
fn every_argument_that_is_listed_is_looked_at() {
    let (fields, names) = (sources("src/modules", "mod.rs"), sources("src/playbook", "actions.rs"));
    // What is read only to be dropped is not looked at.
    assert!(!fields.contains("let _ = arguments") && !fields.contains("let _ = &arguments"));
    for (name, arguments, _) in arguments() {
        let read = fields_of_action(name);
        for argument in arguments {
            let looked_at = if let Some(read) = &read {
                read.iter().any(|field| field == argument)
            } else if find(name).is_some() {
                [format!(" {argument}: "), format!("r#{argument}: "), format!("alias = \"{argument}\"")]
                    .iter()
                    .chain([&format!("rename = \"{argument}\"")])
                    .any(|field| fields.contains(field.as_str()))
            } else {
                names.contains(&format!("\"{argument}\""))
            };
            assert!(looked_at || changes_nothing(name, argument), "nothing looks at `{argument}` of `{name}`");
        }
    }
    for (name, argument, _) in NO_EFFECT {
        let listed = arguments().iter().any(|(module, all, _)| module == name && all.contains(argument));
        assert!(listed, "`{name}` has no argument `{argument}`");
    }
}
