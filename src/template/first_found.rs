//! `first_found`: the first of several files that exists, as a lookup and as a loop.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{is_true, text_of};
use crate::{
    error::{Error, Result},
    files,
};

/// The first file that exists. A term is a name, a mapping with `files`, `paths` and `skip`, or a list of these; `None` when
/// there is none and that is allowed.
///
/// # Errors
/// When no file exists and nothing says that this is no mistake.
pub fn first_found(terms: &[Value], folders: &[PathBuf]) -> Result<Option<PathBuf>> {
    let (mut names, mut skip) = (Vec::new(), false);
    for term in terms {
        gather(term, &mut names, &mut skip);
    }
    match names.iter().find_map(|name| files::find(folders, Path::new(name))) {
        None if !skip => {
            let looked = folders.iter().map(|folder| folder.display().to_string()).collect::<Vec<_>>().join(", ");
            let error = Error::new(format!("none of these files exists: {}", names.join(", ")));
            Err(error.hint(format!("looked in: {looked}; `skip: true` allows that there is none")))
        }
        found => Ok(found),
    }
}

fn gather(term: &Value, names: &mut Vec<String>, skip: &mut bool) {
    match term {
        Value::Array(terms) => {
            for term in terms {
                gather(term, names, skip);
            }
        }
        Value::Object(options) => {
            let list = |key: &str| match options.get(key) {
                Some(Value::Array(items)) => items.iter().map(text_of).collect(),
                Some(Value::Null) | None => Vec::new(),
                Some(text) => text_of(text).split([',', ';']).map(|part| part.trim().to_owned()).collect(),
            };
            let (files, paths): (Vec<String>, Vec<String>) = (list("files"), list("paths"));
            *skip |= options.get("skip").is_some_and(is_true);
            if paths.is_empty() {
                names.extend(files);
            } else {
                names.extend(paths.iter().flat_map(|path| files.iter().map(move |file| format!("{path}/{file}"))));
            }
        }
        other => names.push(text_of(other)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::first_found;

    #[test]
    fn the_first_file_that_exists_is_found() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b/two", "a/one", "plain"] {
            std::fs::create_dir_all(folder.path().join(name).parent().unwrap()).unwrap();
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let found = |term: serde_json::Value| match first_found(&[term], &[folder.path().to_owned()]) {
            Ok(Some(path)) => path.strip_prefix(folder.path()).unwrap().display().to_string(),
            Ok(None) => "none".to_owned(),
            Err(error) => error.to_string(),
        };
        assert_eq!(found(json!("plain")), "plain");
        assert_eq!(found(json!(["x", "plain"])), "plain");
        // Folders come before files, as in Ansible.
        assert_eq!(found(json!({"files": ["two", "one"], "paths": ["a", "b"]})), "a/one");
        assert_eq!(found(json!([{"files": "x,y", "skip": true}])), "none");
        assert!(found(json!({"files": ["x"]})).contains("none of these files exists: x"));
    }
}
