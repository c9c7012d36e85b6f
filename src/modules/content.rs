//! The one writer of files: new content is made in a folder that only the task's user can enter, checked, given its
//! attributes, and moved over the old file in one step. The shell side of it is `writer.sh`.

use bytes::Bytes;
use serde::{Deserialize, Deserializer};
use sha1::Digest;

use super::{
    FileChange, Outcome, Step, Text,
    attributes::{self, Attributes, Mode, Present, Seen},
    command::split,
    declaration::{Form, Typed},
    script::{Sh, sh},
};
use crate::remote::Output;

/// Content up to this many bytes travels inside the script; more goes through a channel of its own.
const INLINE: usize = 64 * 1024;

/// Where new content comes from.
#[derive(Clone, Debug)]
pub(super) enum Source<'a> {
    /// From here.
    Bytes(&'a Bytes),
    /// From a file of the host.
    OnHost(&'a str),
}

/// A file with its new content.
pub(super) struct NewContent<'a> {
    pub(super) path: &'a str,
    pub(super) source: Source<'a>,
    pub(super) attributes: &'a Attributes,
    /// A command that must accept the new file before it replaces the old one.
    pub(super) validate: Option<&'a Acceptance>,
    /// Whether the old file is kept under another name.
    pub(super) backup: bool,
    /// Whether a link is written through, and not replaced.
    pub(super) follow: bool,
}

/// The functions of `writer.sh`, and the folder of a path entered; `name` is the path's name there.
pub(super) fn reach(path: &str, follow: bool) -> Sh {
    sh!("{0}{1}", functions(), place(path, follow))
}

/// As [`reach`], where the functions are known already.
pub(super) fn place(path: &str, follow: bool) -> Sh {
    let (folder, name) = parts(path);
    let follow = if follow { "follow" } else { "" };
    sh!("reach {0} {1} {2}", folder, name, follow)
}

/// A file of the host is opened for reading, as file 8.
pub(super) fn source_file(path: &str) -> Sh {
    let (folder, name) = parts(path);
    sh!("source_file {0} {1}", folder, name)
}

/// The functions of `writer.sh`.
pub(super) fn functions() -> Sh {
    sh!("{0}\n", Sh::literal(include_str!("writer.sh")))
}

/// The folder of a path, and its name there.
fn parts(path: &str) -> (&str, &str) {
    match path.rsplit_once('/') {
        Some(("", name)) => ("/", name),
        Some(parts) => parts,
        None => (".", path),
    }
}

impl NewContent<'_> {
    /// The step that replaces the file; `now` is the present one.
    pub(super) fn step(&self, now: Option<&Present>) -> Step {
        let now = now.filter(|now| !now.is_link());
        let (source, input) = match &self.source {
            Source::Bytes(bytes) if bytes.len() > INLINE => (sh!("cat"), Some((*bytes).clone())),
            Source::Bytes(bytes) => (Sh::print(bytes), None),
            Source::OnHost(_) => (sh!("cat <&8"), None),
        };
        let mut lines = vec![functions()];
        if let Source::OnHost(path) = &self.source {
            lines.push(source_file(path));
        }
        lines.extend([
            place(self.path, self.follow),
            sh!("private"),
            // In a subshell, which does not run our trap: the working folder stays.
            sh!("( {0} ) >./new || exit 1", source),
        ]);
        match now {
            // What replaces a file keeps owner and mode where none are asked for, as far as we may.
            Some(now) => {
                lines
                    .push(sh!("as_before\nchown -h -- {0} ./new 2>/dev/null || :", format!("{}:{}", now.uid, now.gid)));
                lines.push(sh!("chmod {0} ./new || exit 1", format!("{:04o}", now.mode)));
            }
            None => lines.push(sh!("fresh")),
        }
        lines.extend(self.attributes.of_new(now, &sh!("./new")));
        if let Some(validate) = self.validate {
            lines.push(validate.script());
        }
        if self.backup {
            lines.push(sh!("keep"));
        }
        lines.push(sh!("replace"));
        let script = Sh::join(lines, "\n");
        match input {
            Some(input) => Step::Send { input, script },
            None => Step::Run(script),
        }
    }

    /// The change of the file's text.
    pub(super) fn diff(&self) -> FileChange {
        let after = match &self.source {
            Source::Bytes(bytes) => String::from_utf8(bytes.to_vec()).ok(),
            Source::OnHost(_) => None,
        };
        FileChange { path: self.path.to_owned(), after }
    }
}

/// A command that must accept a new file, as words; `%s` is the file's path. It runs without a shell in between.
#[derive(Clone, Debug)]
pub(super) struct Acceptance(Vec<String>);

impl Typed for Acceptance {
    const FORM: Form = Form::Command;
}

impl<'de> Deserialize<'de> for Acceptance {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Text(command) = Text::deserialize(deserializer)?;
        if !command.contains("%s") {
            let message = format!("`validate` needs a `%s` for the path of the new file: `{command}`");
            return Err(serde::de::Error::custom(message));
        }
        split(&command).map(Self).map_err(serde::de::Error::custom)
    }
}

impl Acceptance {
    fn script(&self) -> Sh {
        let words = self.0.iter().map(|word| {
            // The path is known on the host only.
            let parts = word.split("%s").map(|part| if part.is_empty() { Sh::default() } else { Sh::expanding(part) });
            Sh::join(parts, "\"$new\"")
        });
        sh!(
            "new=$(pwd -P)/new; ( cd / && {0} ) >&2 || { rc=$?; echo 'failed to validate: the new file was not accepted' >&2; exit $rc; }",
            Sh::join(words, " ")
        )
    }
}

/// What the writer reported at the end goes into the result: the name of the kept file, and what the file is now.
pub(super) fn reported(outcome: &mut Outcome, outputs: &[Output]) {
    for line in outputs
        .iter()
        .filter(|output| output.succeeded())
        .flat_map(|output| output.out().lines().map(str::to_owned).collect::<Vec<_>>())
    {
        if let Some(path) = line.strip_prefix("backup ") {
            outcome.result.insert("backup_file".to_owned(), path.into());
        } else if let Ok(Seen::Present(present)) = attributes::parse(&line) {
            attributes::describe(&present, &mut outcome.result);
        }
    }
}

/// Ansible's checksum of a file.
pub(super) fn sha1(bytes: &[u8]) -> String {
    crate::encoding::hex(&sha1::Sha1::digest(bytes))
}

/// The mode of a source, where the mode of a file shall be that.
pub(super) fn resolve_preserve(attributes: &mut Attributes, source: Option<u32>) {
    if attributes.mode == Some(Mode::Preserve) {
        attributes.mode = source.map(|mode| Mode::Bits(mode & 0o7777));
    }
}
