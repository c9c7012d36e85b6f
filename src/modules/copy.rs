//! `copy`: a file with a given content, from beside the playbook or written in it.

use bytes::Bytes;
use serde_json::Value;

use super::{
    Argument, Arguments, Call, Decision, Declared, Exclusive, Flag, Folder, Module, Operation, Outcome, Step, Text,
    attributes::{self, Attributes, Mode, Present, Seen},
    content::{Source, functions, sha1},
    declaration::arguments,
    probe::{Existing, Links, Probe},
    probe_failed,
    script::{Sh, sh},
    write_file::{FileCopy, below, decide_content, look, plain, write, written},
};
use crate::{
    error::{Error, Result},
    remote::Output,
};

pub(super) struct Copy;

arguments! {
    struct CopyArguments {
        /// A file or a folder; with a `/` at its end what is in the folder.
        src: Option<Text>,
        /// The text of the file; a list or a mapping is written as JSON.
        content: Option<Value>,
        /// The file or the folder of the host.
        #[serde(alias = "path")]
        dest: Text,
        /// Whether `src` is on the host.
        #[serde(default)]
        remote_src: Flag,
        /// The SHA-1 that the source must have.
        checksum: Option<Text>,
        /// The mode of folders that are created for a copied folder.
        directory_mode: Option<Mode>,
        /// Whether what links beside the playbook point to is copied: it always is.
        local_follow: Option<Flag>,
        #[serde(flatten)]
        file: FileCopy,
    }
}

impl Call for Copy {
    fn name(&self) -> &'static str {
        "copy"
    }

    fn about(&self) -> &'static str {
        "Writes a file or a folder from beside the playbook, from the host itself, or with a given content."
    }

    fn arguments(&self) -> &'static [Argument] {
        CopyArguments::ARGUMENTS
    }

    fn exclusive(&self) -> &'static [Exclusive] {
        &[&[&["src"], &["content"]]]
    }
}

impl Module for Copy {
    fn operation(&self, task: &Arguments<'_>) -> Result<Box<dyn Operation>> {
        let arguments: CopyArguments = super::read(task.named)?;
        let dest = arguments.dest.0.clone();
        if arguments.local_follow == Some(Flag(false)) {
            return Err(Error::usage("`local_follow: false` is not supported: what a link points to is copied"));
        }
        match (arguments.src.clone(), &arguments.content) {
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
                if arguments.file.mode == Some(Mode::Preserve) {
                    return Err(Error::usage("`mode: preserve` is for a `src`: `content` has no mode of its own"));
                }
                let bytes = Bytes::from(text);
                arguments.check(&sha1(&bytes))?;
                Ok(write(&dest, None, bytes, &arguments.file, None))
            }
            (Some(src), None) if arguments.remote_src.0 => Ok(Box::new(RemoteCopy { src: src.0, dest, arguments })),
            (Some(src), None) => match task.sources.folder(&src.0)? {
                Some(held) => folder(task, &src.0, &dest, &held, arguments),
                None => {
                    let name = src.0.rsplit('/').next().unwrap_or_default().to_owned();
                    let mode = arguments.file.source_mode(task.sources, &src.0)?;
                    let bytes = task.sources.file(&src.0)?;
                    arguments.check(&sha1(&bytes))?;
                    Ok(write(&dest, Some(name), bytes, &arguments.file, mode))
                }
            },
            _ => Err(Error::usage("give either `src` or `content`")),
        }
    }
}

impl CopyArguments {
    /// Refuses a source that has another checksum than it must have.
    fn check(&self, checksum: &str) -> Result<()> {
        match &self.checksum {
            Some(wanted) if !wanted.0.trim().eq_ignore_ascii_case(checksum) => {
                Err(Error::new(format!("the source has the checksum {checksum}, not {}", wanted.0)))
            }
            _ => Ok(()),
        }
    }

    /// The attributes of folders that are created.
    fn of_new_folders(&self) -> Attributes {
        Attributes { mode: self.directory_mode.clone(), ..self.file.attributes() }
    }
}

/// Copies a file of the host to another path of it.
#[must_use]
pub fn copy_on_host(src: &str, dest: &str, file: &FileCopy) -> Box<dyn Operation> {
    let arguments = CopyArguments {
        src: None,
        content: None,
        dest: Text(dest.to_owned()),
        remote_src: Flag(true),
        checksum: None,
        directory_mode: None,
        local_follow: None,
        file: file.clone(),
    };
    Box::new(RemoteCopy { src: src.to_owned(), dest: dest.to_owned(), arguments })
}

/// A copy of a whole folder: with a trailing slash its content, otherwise itself.
fn folder(
    task: &Arguments<'_>, src: &str, dest: &str, held: &Folder, arguments: CopyArguments,
) -> Result<Box<dyn Operation>> {
    let dest = plain(dest);
    let base = match src.strip_suffix('/') {
        Some(_) => dest.to_owned(),
        None => below(dest, src.rsplit('/').next().unwrap_or_default()),
    };
    let entries = (held.files.iter())
        .map(|name| {
            let source = format!("{}/{name}", src.trim_end_matches('/'));
            let mode = arguments.file.source_mode(task.sources, &source)?;
            Ok(Entry { path: below(&base, name), bytes: task.sources.file(&source)?, mode })
        })
        .collect::<Result<Vec<_>>>()?;
    let mut folders: Vec<String> = vec![dest.to_owned(), base.clone()];
    folders.extend(held.folders.iter().map(|name| below(&base, name)));
    folders.sort();
    folders.dedup();
    Ok(Box::new(CopyFolder { base, folders, entries, arguments }))
}

/// A file of a copied folder.
struct Entry {
    path: String,
    bytes: Bytes,
    mode: Option<u32>,
}

struct CopyFolder {
    base: String,
    /// The folders that must be there, the outer ones first.
    folders: Vec<String>,
    entries: Vec<Entry>,
    arguments: CopyArguments,
}

impl Operation for CopyFolder {
    fn probe(&self) -> Option<Probe> {
        let folders = self.folders.iter().map(|path| Probe::path(path, Links::Followed));
        let files = self.entries.iter().flat_map(|entry| look(&entry.path, self.arguments.file.links()));
        Some(Probe::all(folders.chain(files)))
    }

    fn decide(&self, seen: &Output) -> Result<Decision> {
        let out = seen.out();
        let mut lines = out.lines();
        let mut next = || lines.next().ok_or_else(|| probe_failed(seen));
        let mut all = Decision::default();
        all.result.insert("dest".to_owned(), self.base.as_str().into());
        let folder_attributes = self.arguments.of_new_folders();
        for folder in &self.folders {
            let script = match attributes::parse(next()?)? {
                Seen::Absent => Some(make_folder(folder, &folder_attributes)),
                Seen::Present(present) if !present.is_folder() => {
                    return Err(Error::new(format!("`{folder}` exists and is a {}, not a folder", present.kind)));
                }
                Seen::Present(present) => {
                    // `directory_mode` is for folders that are made.
                    let owner = Attributes { mode: None, ..folder_attributes.clone() };
                    owner.change(folder, true, &present)
                }
            };
            all.steps.extend(script.map(Step::Run));
        }
        for Entry { path, bytes, mode } in &self.entries {
            let state = attributes::parse(next()?)?;
            let sum = next()?;
            let source = Source::Bytes(bytes);
            let one = decide_content(path, source, &sha1(bytes), *mode, &self.arguments.file, state.present(), sum)?;
            all.steps.extend(one.steps);
            all.diffs.extend(one.diffs);
        }
        all.changed = !all.steps.is_empty();
        Ok(all)
    }
}

/// Makes a folder and those above it; every one that is made gets the attributes.
pub(super) fn make_folder(path: &str, attributes: &Attributes) -> Sh {
    let mut dress = attributes.of_new(None, &sh!("."));
    dress.push(sh!(":"));
    sh!("{0}dress() {\n{1}\n}\nmake {2}\nreport .", functions(), Sh::join(dress, "\n"), path)
}

/// The function that says whether a file, and its source, is as it shall be.
fn settled(attributes: &Attributes) -> Sh {
    let test = match (&attributes.mode, attributes.tests()) {
        // Whether it is so only chmod knows.
        (Some(Mode::Symbolic(_)), _) => sh!("false"),
        (mode, tests) => {
            let found = if tests.is_empty() {
                sh!(":")
            } else {
                sh!("[ -z \"$(find \"$1\" -maxdepth 0 '(' {0} ')')\" ]", Sh::join(tests, " -o "))
            };
            if *mode == Some(Mode::Preserve) {
                sh!("{0} && [ \"$(stat -c %a -- \"$1\")\" = \"$(stat -c %a -- \"$2\")\" ]", found)
            } else {
                found
            }
        }
    };
    sh!("settled() {\n{0}\n}\n", test)
}

/// `remote_src`: a copy on the host itself.
struct RemoteCopy {
    src: String,
    dest: String,
    arguments: CopyArguments,
}

impl Operation for RemoteCopy {
    fn probe(&self) -> Option<Probe> {
        let name = self.src.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        let keep = self.arguments.file.force == Some(Flag(false));
        let how = if keep {
            Existing::Kept
        } else if self.arguments.file.mode == Some(Mode::Preserve) {
            Existing::WithModes
        } else {
            Existing::Compared
        };
        Some(Probe::copy(&self.src, &self.dest, name, &self.target(&self.dest), how, self.arguments.file.links()))
    }

    fn decide(&self, seen: &Output) -> Result<Decision> {
        if !seen.succeeded() {
            return Err(probe_failed(seen));
        }
        let out = seen.out();
        let lines: Vec<&str> = out.lines().collect();
        let [dest, kind, source, state, sum, ref below @ ..] = lines[..] else { return Err(probe_failed(seen)) };
        let Seen::Present(source) = attributes::parse(source)? else { return Err(probe_failed(seen)) };
        let state = attributes::parse(state)?;
        if source.is_folder() {
            return self.folder(dest, kind == "same", state.present(), below);
        }
        if !source.is_file() {
            return Err(Error::new(format!("`{}` is a {}", self.src, source.kind)));
        }
        let checksum = sum.split_whitespace().next().unwrap_or_default();
        self.arguments.check(checksum)?;
        let present_sum = if kind == "same" { checksum } else { "-" };
        let on_host = Source::OnHost(&self.src);
        let mut decision = decide_content(
            dest,
            on_host,
            checksum,
            Some(source.mode),
            &self.arguments.file,
            state.present(),
            present_sum,
        )?;
        decision.result.insert("src".to_owned(), self.src.as_str().into());
        Ok(decision)
    }

    fn conclude(&self, decision: Decision, outputs: &[Output]) -> Outcome {
        written(decision, outputs)
    }
}

impl RemoteCopy {
    /// A whole folder: its files that are not there, or other, are copied; `below` says what attributes those have that are there.
    fn folder(&self, dest: &str, same: bool, present: Option<&Present>, below: &[&str]) -> Result<Decision> {
        if self.arguments.file.validate.is_some() || self.arguments.file.backup.0 {
            return Err(Error::usage("`validate` and `backup` are for a file, and `src` is a folder"));
        }
        if let Some(present) = present.filter(|present| !present.is_folder()) {
            return Err(Error::new(format!("`{dest}` exists and is a {}, not a folder", present.kind)));
        }
        let target = self.target(dest);
        let mut result = super::entry("dest", target.as_str());
        result.insert("src".to_owned(), self.src.as_str().into());
        let attributes = self.arguments.file.attributes();
        // `directory_mode` is for folders that are made.
        let made = self.arguments.of_new_folders();
        let there = Attributes { mode: None, ..attributes.clone() };
        let (folders, files): (Vec<&str>, Vec<&str>) =
            below.iter().partition(|line| line.rsplit('|').next().and_then(attributes::kind) == Some("directory"));
        let keep = self.arguments.file.force == Some(Flag(false));
        let fits = keep || !(attributes.differ_from(files.into_iter()) || there.differ_from(folders.into_iter()));
        if same && fits {
            return Ok(Decision::unchanged(result));
        }
        let function = |name: &'static str, mut commands: Vec<Sh>| {
            commands.push(sh!(":"));
            sh!("{0}() {\n{1}\n}\n", Sh::literal(name), Sh::join(commands, "\n"))
        };
        let owned = if keep { Attributes::default() } else { there };
        let scripts = [
            functions(),
            function("dress", made.of_new(None, &sh!("."))),
            function("settle_folder", owned.where_other(&sh!("."))),
            function("finish", attributes.where_other(&sh!("./new"))),
            function("settle", attributes.where_other(&sh!("\"$held\""))),
            settled(&attributes),
            sh!("copy_folder {0} {1} {2}", self.src.trim_end_matches('/'), target, if keep { "keep" } else { "" }),
        ];
        Ok(Decision::run([Sh::join(scripts, "")], result))
    }

    /// Where a folder is copied to: with a slash at the end of its name its content goes into `dest`, otherwise itself.
    fn target(&self, dest: &str) -> String {
        match self.src.trim_end_matches('/').rsplit('/').next() {
            Some(name) if !self.src.ends_with('/') => format!("{}/{name}", dest.trim_end_matches('/')),
            _ => dest.to_owned(),
        }
    }
}
