//! `include_vars`: variables from a file, or from those of a folder.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use serde_json::{Map, Value};

use super::{Action, Given};
use crate::{
    error::{Error, Result},
    files,
    modules::{Argument, Call, CheckMode, Defines, Exclusive, Form, Reads, TEXT},
    playbook::{
        host::context::{Context, Stop},
        task_end::{Defined, TaskEnd},
    },
    template::{Authored, text_of},
    yaml,
};

pub(super) struct IncludeVars;

impl Call for IncludeVars {
    fn name(&self) -> &'static str {
        "include_vars"
    }

    fn about(&self) -> &'static str {
        "Defines the variables of a file, or of the files of a folder."
    }

    fn arguments(&self) -> &'static [Argument] {
        const ALL: &[Argument] = &[
            Argument::new("file", Form::Text),
            Argument::new("dir", Form::Text),
            Argument::new("name", Form::Text).about("The variable that gets them all, as a mapping."),
        ];
        ALL
    }

    fn exclusive(&self) -> &'static [Exclusive] {
        &[&[&[TEXT], &["file"], &["dir"]]]
    }

    fn free_form(&self) -> bool {
        true
    }

    fn defines(&self) -> Defines {
        Defines::Unknown
    }

    fn reads(&self) -> Option<Reads> {
        Some(Reads::Vars("file"))
    }

    fn check_mode(&self) -> CheckMode {
        CheckMode::Runs
    }
}

#[async_trait]
impl Action for IncludeVars {
    fn keeps_answers(&self) -> bool {
        true
    }

    async fn run(&self, context: &mut Context<'_, '_>, given: Given) -> Result<TaskEnd, Stop> {
        let Given { named, free_form } = given;
        let file = named.get("file").map(text_of).or(free_form);
        let paths = paths(&context.folders("vars"), file, named.get("dir").map(text_of))?;
        let mut vars: Authored<Map<String, Value>> = Authored::default();
        for path in paths {
            let (node, _) = yaml::parse(&yaml::Source::new(path.clone(), files::read_text(&path)?))?;
            match (node.entries(), &node.content) {
                (Some(entries), _) => vars.extend(Authored::entries(entries)),
                (None, yaml::Content::Null) => {}
                _ => return Err(Error::new(format!("`{}` is not a mapping", path.display())).into()),
            }
        }
        let vars = match named.get("name").map(text_of) {
            Some(name) => {
                let mut named: Authored<Map<String, Value>> = Authored::default();
                named.insert(name, vars.into());
                named
            }
            None => vars,
        };
        Ok(TaskEnd::defining(Defined::Included(vars)))
    }
}

/// The files that a task names.
fn paths(folders: &[PathBuf], file: Option<String>, folder: Option<String>) -> Result<Vec<PathBuf>> {
    let looked = || folders.iter().map(|folder| folder.display().to_string()).collect::<Vec<_>>().join(", ");
    match (file, folder) {
        (Some(file), None) => {
            let path = files::find(folders, Path::new(&file)).ok_or_else(|| {
                Error::new(format!("there is no variables file `{file}`")).hint(format!("looked in: {}", looked()))
            })?;
            Ok(vec![path])
        }
        (None, Some(name)) => {
            let candidates = folders.iter().map(|folder| folder.join(&name));
            let folder = candidates.into_iter().find(|path| files::is_dir(path)).ok_or_else(|| {
                Error::new(format!("there is no folder `{name}`")).hint(format!("looked in: {}", looked()))
            })?;
            let known = |path: &PathBuf| {
                path.extension()
                    .is_some_and(|extension| ["yml", "yaml", "json"].iter().any(|known| extension == *known))
            };
            Ok(files::walk(&folder)?.into_iter().filter(known).map(|file| folder.join(file)).collect())
        }
        _ => Err(Error::usage("`include_vars` takes a file or `dir`")),
    }
}
