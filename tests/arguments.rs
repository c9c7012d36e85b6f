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

fn changes_nothing(module: &str, argument: &str) -> bool {
    NO_EFFECT.iter().any(|(name, idle, _)| *name == module && *idle == argument)
}

/// An argument of a module is a field of a struct, and the compiler says when a field is never read; an argument of an action is
/// asked for by its name. What neither is has a reason why it changes nothing.
#[test]
fn every_argument_that_is_listed_is_looked_at() {
    let (fields, names) = (sources("src/modules", "mod.rs"), sources("src/playbook", "actions.rs"));
    for (name, arguments, _) in arguments() {
        // These hand their arguments to `copy`, or have cases of their own.
        if matches!(name, "get_url" | "pause" | "template" | "uri") {
            continue;
        }
        for argument in arguments {
            let looked_at = if find(name).is_some() {
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
