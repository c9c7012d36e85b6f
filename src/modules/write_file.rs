//! A file with a given content: what `copy`, `template` and what is fetched have in common.

use bytes::Bytes;
use serde_json::Map;

use super::{
    Decision, Flag, Operation, Outcome, Sources, Text,
    attributes::{self, Attributes, Mode, Present, Seen},
    conclude,
    content::{Acceptance, NewContent, Source, reported, resolve_preserve, sha1},
    declaration::arguments,
    probe::{Algorithm, Links, Probe},
    probe_failed,
};
use crate::{
    error::{Error, Result},
    remote::Output,
};

arguments! {
    /// What `copy` and `template` know about the file that they write.
    #[derive(Clone, Debug, Default)]
    pub struct FileCopy {
        pub(super) mode: Option<Mode>,
        owner: Option<Text>,
        group: Option<Text>,
        /// A command that must accept the new file.
        pub(super) validate: Option<Acceptance>,
        /// Whether the old file is kept under another name.
        #[serde(default)]
        pub(super) backup: Flag,
        /// Whether a file that is there is replaced; otherwise it stays as it is.
        pub(super) force: Option<Flag>,
        /// Whether a link at the destination is written through; otherwise the new file replaces it.
        #[serde(default)]
        pub(super) follow: Flag,
    }
}

impl FileCopy {
    /// With these attributes, and with the file before it kept where it is asked for.
    pub(super) fn with(mode: Option<Mode>, owner: Option<Text>, group: Option<Text>, backup: Flag) -> Self {
        Self { mode, owner, group, backup, ..Self::default() }
    }

    pub(super) fn attributes(&self) -> Attributes {
        Attributes {
            mode: self.mode.clone(),
            owner: self.owner.as_ref().map(|owner| owner.0.clone()),
            group: self.group.as_ref().map(|group| group.0.clone()),
        }
    }

    /// The mode of a source, where it is asked for.
    pub(super) fn source_mode(&self, sources: &dyn Sources, name: &str) -> Result<Option<u32>> {
        if self.mode == Some(Mode::Preserve) { sources.mode(name) } else { Ok(None) }
    }

    pub(super) fn links(&self) -> Links {
        if self.follow.0 { Links::Followed } else { Links::ToFolders }
    }
}

/// Writes bytes to a file; `name` is the file's name when `dest` is a folder, and `mode` that of the source.
#[must_use]
pub fn write(dest: &str, name: Option<String>, bytes: Bytes, file: &FileCopy, mode: Option<u32>) -> Box<dyn Operation> {
    let known_folder = dest.ends_with('/');
    let dest = plain(dest).to_owned();
    Box::new(WriteFile { dest, name, known_folder, bytes, mode, file: file.clone() })
}

struct WriteFile {
    dest: String,
    name: Option<String>,
    known_folder: bool,
    bytes: Bytes,
    mode: Option<u32>,
    file: FileCopy,
}

impl WriteFile {
    fn inner(&self) -> Option<String> {
        self.name.as_ref().map(|name| below(&self.dest, name))
    }
}

/// What must be known of a file that may be written.
pub(super) fn look(path: &str, links: Links) -> [Probe; 2] {
    [Probe::path(path, links), Probe::checksum(path, Algorithm::Sha1)]
}

impl Operation for WriteFile {
    fn probe(&self) -> Option<Probe> {
        // The file, then the file of its name in it, in case it is a folder.
        let mut paths = vec![self.dest.clone()];
        paths.extend(self.inner());
        Some(Probe::all(paths.iter().flat_map(|path| look(path, self.file.links()))))
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
        let source = Source::Bytes(&self.bytes);
        let present = state.present();
        let sum = sum.copied().unwrap_or("-");
        decide_content(&path, source, &sha1(&self.bytes), self.mode, &self.file, present, sum)
    }

    fn conclude(&self, decision: Decision, outputs: &[Output]) -> Outcome {
        written(decision, outputs)
    }
}

/// The usual end of a task that has written files.
pub(super) fn written(decision: Decision, outputs: &[Output]) -> Outcome {
    let mut outcome = conclude(decision, outputs);
    reported(&mut outcome, outputs);
    outcome
}

/// What must be done to a file that shall have a content: `checksum` and `mode` are the source's, `sum` is the file's.
pub(super) fn decide_content(
    path: &str, source: Source<'_>, checksum: &str, mode: Option<u32>, file: &FileCopy, present: Option<&Present>,
    sum: &str,
) -> Result<Decision> {
    let mut attributes = file.attributes();
    resolve_preserve(&mut attributes, mode);
    let mut result = Map::new();
    result.insert("dest".to_owned(), path.into());
    result.insert("path".to_owned(), path.into());
    result.insert("checksum".to_owned(), checksum.into());
    if let Some(present) = present.filter(|present| present.is_folder()) {
        return Err(Error::new(format!("`{path}` is a {}", present.kind)));
    }
    if let Source::Bytes(bytes) = &source {
        result.insert("size".to_owned(), bytes.len().into());
    }
    let replaces_link = present.is_some_and(Present::is_link);
    let kept = present.is_some() && file.force == Some(Flag(false));
    let same = sum.split_whitespace().next() == Some(checksum) && !replaces_link;
    if let Some(present) = present.filter(|_| same || kept) {
        attributes::describe(present, &mut result);
        let change = attributes.change(path, file.follow.0, present).filter(|_| !kept);
        return Ok(match change {
            Some(script) => Decision::run([script], result),
            None => Decision::unchanged(result),
        });
    }
    let validate = file.validate.as_ref();
    let new =
        NewContent { path, source, attributes: &attributes, validate, backup: file.backup.0, follow: file.follow.0 };
    Ok(Decision { changed: true, steps: vec![new.step(present)], result, diffs: vec![new.diff()] })
}

/// A path without the slashes at its end; the root keeps its own.
pub(super) fn plain(path: &str) -> &str {
    match path.trim_end_matches('/') {
        "" if path.starts_with('/') => "/",
        plain => plain,
    }
}

/// The path of a name in a folder.
pub(super) fn below(folder: &str, name: &str) -> String {
    format!("{}/{name}", folder.trim_end_matches('/'))
}
