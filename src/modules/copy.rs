//! `copy`: a file with a given content, from beside the playbook or written in it.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    Arguments, Decision, Flag, Module, Operation, Text,
    attributes::{self, Attributes, Mode, Present, Seen},
    content::{NewContent, sha1},
    probe_failed,
};
use crate::{
    error::{Error, Result},
    remote::{Output, quote},
};

pub(super) struct Copy;

#[derive(Deserialize)]
struct CopyArguments {
    src: Option<Text>,
    content: Option<Value>,
    #[serde(alias = "path")]
    dest: Text,
    #[serde(flatten)]
    file: FileCopy,
}

/// What `copy` and `template` know about the file that they write.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct FileCopy {
    mode: Option<Mode>,
    owner: Option<Text>,
    group: Option<Text>,
    validate: Option<Text>,
    #[serde(default)]
    backup: Flag,
    force: Option<Flag>,
    #[serde(default)]
    remote_src: Flag,
    /// The mode of folders that are made for a copied folder.
    directory_mode: Option<Mode>,
}

impl Module for Copy {
    fn name(&self) -> &'static str {
        "copy"
    }

    fn arguments(&self) -> &'static [&'static str] {
        &[
            "src",
            "content",
            "dest",
            "path",
            "mode",
            "owner",
            "group",
            "validate",
            "backup",
            "force",
            "remote_src",
            "directory_mode",
            "follow",
        ]
    }

    fn prepare(&self, task: &Arguments<'_>) -> Result<Box<dyn Operation>> {
        let arguments: CopyArguments = super::read(task.named)?;
        let dest = arguments.dest.0.clone();
        match (&arguments.src, &arguments.content) {
            (None, Some(content)) => {
                let text = match content {
                    Value::String(text) => text.clone(),
                    Value::Null => String::new(),
                    other @ (Value::Array(_) | Value::Object(_)) => crate::template::python_json(other),
                    other => crate::template::text_of(other),
                };
                if dest.ends_with('/') {
                    return Err(Error::usage(format!(
                        "`dest: {dest}` is a folder, and `content` has no name of its own"
                    )));
                }
                Ok(write(&dest, None, text.into(), &arguments.file))
            }
            (Some(src), None) if arguments.file.remote_src.0 => {
                Ok(Box::new(RemoteCopy { src: src.0.clone(), dest, attributes: arguments.file.attributes() }))
            }
            (Some(src), None) => match task.sources.folder(&src.0)? {
                Some(files) => folder(task, &src.0, &dest, &files, &arguments.file),
                None => {
                    let name = src.0.rsplit('/').next().unwrap_or_default().to_owned();
                    Ok(write(&dest, Some(name), task.sources.file(&src.0)?, &arguments.file))
                }
            },
            _ => Err(Error::usage("give either `src` or `content`")),
        }
    }
}

impl FileCopy {
    fn attributes(&self) -> Attributes {
        Attributes {
            mode: self.mode.clone(),
            owner: self.owner.as_ref().map(|owner| owner.0.clone()),
            group: self.group.as_ref().map(|group| group.0.clone()),
        }
    }
}

/// Writes bytes to a file; `name` is the file's name when `dest` is a folder.
#[must_use]
pub fn write(dest: &str, name: Option<String>, bytes: Bytes, file: &FileCopy) -> Box<dyn Operation> {
    let known_folder = dest.ends_with('/');
    let dest = dest.trim_end_matches('/').to_owned();
    Box::new(WriteFile { dest, name, known_folder, bytes, file: file.clone() })
}

struct WriteFile {
    dest: String,
    name: Option<String>,
    known_folder: bool,
    bytes: Bytes,
    file: FileCopy,
}

impl WriteFile {
    fn inner(&self) -> Option<String> {
        self.name.as_ref().map(|name| format!("{}/{name}", self.dest))
    }
}

impl Operation for WriteFile {
    fn probe(&self) -> Option<String> {
        // The file, then the file of its name in it, in case it is a folder.
        let mut paths = vec![self.dest.clone()];
        paths.extend(self.inner());
        let look = |path: &String| {
            let quoted = quote(path);
            format!(
                "{}; {{ [ -f {quoted} ] && sha1sum <{quoted}; }} 2>/dev/null || echo -",
                attributes::probe(path, true)
            )
        };
        Some(paths.iter().map(look).collect::<Vec<_>>().join("; "))
    }

    fn decide(&self, seen: &Output) -> Result<Decision> {
        let out = seen.out();
        let lines: Vec<&str> = out.lines().collect();
        let outer = attributes::parse(lines.first().ok_or_else(|| probe_failed(seen))?)?;
        let is_folder = matches!(&outer, Seen::Present(present) if present.is_folder());
        let (path, state, sum) = match (is_folder || self.known_folder, self.inner()) {
            (true, Some(inner)) => {
                if !is_folder {
                    return Err(Error::new(format!("the folder `{}` does not exist", self.dest)));
                }
                let state = attributes::parse(lines.get(2).ok_or_else(|| probe_failed(seen))?)?;
                (inner, state, lines.get(3))
            }
            (true, None) if is_folder => return Err(Error::new(format!("`{}` is a folder", self.dest))),
            _ => (self.dest.clone(), outer, lines.get(1)),
        };
        let present = match &state {
            Seen::Present(present) => Some(present),
            Seen::Absent => None,
        };
        Ok(decide_content(&path, &self.bytes, &self.file, present, sum.copied().unwrap_or("-")))
    }
}

fn decide_content(path: &str, bytes: &Bytes, file: &FileCopy, present: Option<&Present>, sum: &str) -> Decision {
    let checksum = sha1(bytes);
    let attributes = file.attributes();
    let mut result = Map::new();
    result.insert("dest".to_owned(), path.into());
    result.insert("path".to_owned(), path.into());
    result.insert("checksum".to_owned(), checksum.as_str().into());
    let same = sum.split_whitespace().next() == Some(checksum.as_str());
    let kept = present.is_some() && file.force == Some(Flag(false));
    if same || kept {
        if let Some(present) = present {
            attributes::describe(present, &mut result);
        }
        let commands = attributes.commands(path, present);
        return if commands.is_empty() || kept { Decision::unchanged(result) } else { Decision::run(commands, result) };
    }
    let validate = file.validate.as_ref().map(Text::as_str);
    let new = NewContent { path, bytes: bytes.clone(), attributes: &attributes, validate, backup: file.backup.0 };
    Decision { changed: true, steps: new.steps(present), result, diffs: vec![new.diff()] }
}

/// A copy of a whole folder: with a trailing slash its content, otherwise itself.
fn folder(
    task: &Arguments<'_>, src: &str, dest: &str, files: &[String], file: &FileCopy,
) -> Result<Box<dyn Operation>> {
    let base = dest.trim_end_matches('/');
    let base = match src.strip_suffix('/') {
        Some(_) => base.to_owned(),
        None => format!("{base}/{}", src.rsplit('/').next().unwrap_or_default()),
    };
    let entries = files
        .iter()
        .map(|name| {
            Ok((format!("{base}/{name}"), task.sources.file(&format!("{}/{name}", src.trim_end_matches('/')))?))
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(Box::new(CopyFolder { dest: dest.trim_end_matches('/').to_owned(), base, entries, file: file.clone() }))
}

struct CopyFolder {
    dest: String,
    base: String,
    entries: Vec<(String, Bytes)>,
    file: FileCopy,
}

impl CopyFolder {
    fn folders(&self) -> Vec<String> {
        let mut folders: Vec<String> = vec![self.dest.clone(), self.base.clone()];
        for (path, _) in &self.entries {
            let inner = path.strip_prefix(&self.base).unwrap_or(path).trim_start_matches('/');
            let mut folder = self.base.clone();
            for part in inner.split('/').take(inner.matches('/').count()) {
                folder = format!("{folder}/{part}");
                folders.push(folder.clone());
            }
        }
        folders.sort();
        folders.dedup();
        folders
    }
}

impl Operation for CopyFolder {
    fn probe(&self) -> Option<String> {
        let folders = self.folders();
        let look = |path: &String| attributes::probe(path, true);
        let file = |path: &String| {
            let quoted = quote(path);
            format!(
                "{}; {{ [ -f {quoted} ] && sha1sum <{quoted}; }} 2>/dev/null || echo -",
                attributes::probe(path, true)
            )
        };
        let parts = folders.iter().map(look).chain(self.entries.iter().map(|(path, _)| file(path)));
        Some(parts.collect::<Vec<_>>().join("; "))
    }

    fn decide(&self, seen: &Output) -> Result<Decision> {
        let out = seen.out();
        let mut lines = out.lines();
        let mut next = || lines.next().ok_or_else(|| probe_failed(seen));
        let mut all = Decision::default();
        all.result.insert("dest".to_owned(), self.base.as_str().into());
        let folder_attributes = Attributes { mode: self.file.directory_mode.clone(), ..self.file.attributes() };
        for folder in self.folders() {
            let mut commands = Vec::new();
            match attributes::parse(next()?)? {
                Seen::Absent => {
                    commands.push(format!("mkdir -p {}", quote(&folder)));
                    commands.extend(folder_attributes.commands(&folder, None));
                }
                Seen::Present(present) => {
                    // `directory_mode` is for folders that are made.
                    let owner = Attributes { mode: None, ..folder_attributes.clone() };
                    commands.extend(owner.commands(&folder, Some(&present)));
                }
            }
            all.steps.extend(commands.into_iter().map(super::Step::Run));
        }
        for (path, bytes) in &self.entries {
            let state = attributes::parse(next()?)?;
            let sum = next()?;
            let present = if let Seen::Present(present) = &state { Some(present) } else { None };
            let one = decide_content(path, bytes, &self.file, present, sum);
            all.steps.extend(one.steps);
            all.diffs.extend(one.diffs);
        }
        all.changed = !all.steps.is_empty();
        Ok(all)
    }
}

/// `remote_src`: a copy on the host itself.
struct RemoteCopy {
    src: String,
    dest: String,
    attributes: Attributes,
}

impl Operation for RemoteCopy {
    fn probe(&self) -> Option<String> {
        let (src, dest) = (quote(&self.src), quote(&self.dest));
        Some(format!(
            "[ -e {src} ] || {{ echo {src}' does not exist' >&2; exit 1; }}; d={dest}; \
             [ -d \"$d\" ] && [ -f {src} ] && d=\"${{d%/}}/$(basename {src})\"; echo \"$d\"; \
             if [ -f {src} ] && cmp -s {src} \"$d\"; then echo same; else echo differs; fi; {}",
            attributes::probe(&self.dest, true)
        ))
    }

    fn decide(&self, seen: &Output) -> Result<Decision> {
        if !seen.succeeded() {
            return Err(probe_failed(seen));
        }
        let out = seen.out();
        let lines: Vec<&str> = out.lines().collect();
        let [dest, same, state] = lines[..] else { return Err(probe_failed(seen)) };
        let present = match attributes::parse(state)? {
            Seen::Present(present) if dest == self.dest => Some(present),
            _ => None,
        };
        let result = super::entry("dest", dest);
        let mut scripts = Vec::new();
        if same == "differs" {
            scripts.push(format!("cp -R {} {}", quote(&self.src), quote(dest)));
            scripts.extend(self.attributes.commands(dest, None));
        } else {
            scripts.extend(self.attributes.commands(dest, present.as_ref()));
        }
        Ok(if scripts.is_empty() { Decision::unchanged(result) } else { Decision::run(scripts, result) })
    }
}
