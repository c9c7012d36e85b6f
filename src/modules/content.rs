//! Replaces the content of a file in one move: written beside it, checked, given its attributes, then renamed over it.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use sha1::Digest;

use super::{
    FileChange, Step,
    attributes::{Attributes, Mode, Present},
};
use crate::remote::quote;

/// Content up to this many bytes travels inside the script; more goes through a channel of its own.
const INLINE: usize = 64 * 1024;

/// A file with its new content.
pub(super) struct NewContent<'a> {
    pub(super) path: &'a str,
    pub(super) bytes: Bytes,
    pub(super) attributes: &'a Attributes,
    /// A command that must accept the new file before it replaces the old one; `%s` is its path.
    pub(super) validate: Option<&'a str>,
    /// Whether the old file is kept under another name.
    pub(super) backup: bool,
}

impl NewContent<'_> {
    /// The steps that replace the file; `now` is the present one.
    pub(super) fn steps(&self, now: Option<&Present>) -> Vec<Step> {
        let new = beside(self.path);
        let (path, quoted) = (quote(self.path), quote(&new));
        let mut steps = Vec::new();
        let mut script = String::from("set -e\n");
        if self.bytes.len() > INLINE {
            steps.push(Step::Put { bytes: self.bytes.clone(), path: new.clone() });
        } else {
            script += &format!("umask 077\nbase64 -d >{quoted} <<'INFRA'\n{}\nINFRA\n", STANDARD.encode(&self.bytes));
        }
        // A new file gets the usual mode; one that is replaced keeps mode and owner where none are asked for.
        let mut attributes = self.attributes.clone();
        if attributes.mode.is_none() || attributes.mode == Some(Mode::Preserve) {
            attributes.mode = Some(Mode::Bits(now.map_or(0o644, |now| now.mode)));
        }
        if let Some(now) = now {
            attributes.owner.get_or_insert_with(|| now.uid.to_string());
            attributes.group.get_or_insert_with(|| now.gid.to_string());
        }
        let commands = attributes.commands(&new, None);
        script +=
            &commands.iter().map(|command| format!("{command} || {{ rm -f {quoted}; exit 1; }}\n")).collect::<String>();
        if let Some(validate) = self.validate {
            let command = validate.replace("%s", &quoted);
            script += &format!(
                "{command} || {{ rc=$?; rm -f {quoted}; echo 'the new file was not accepted' >&2; exit $rc; }}\n"
            );
        }
        if self.backup && now.is_some() {
            script += &format!("cp -p {path} {path}.$$.$(date +%Y-%m-%d@%H:%M:%S)~\n");
        }
        script += &format!("mv -f {quoted} {path}\n");
        steps.push(Step::Run(script));
        steps
    }

    /// The change of the file's text.
    pub(super) fn diff(&self) -> FileChange {
        FileChange { path: self.path.to_owned(), after: String::from_utf8(self.bytes.to_vec()).ok() }
    }
}

/// The name under which a new file is written: in the same folder, so that the move is one, hidden and unmistakable.
fn beside(path: &str) -> String {
    match path.rsplit_once('/') {
        Some((folder, name)) => format!("{folder}/.{name}.infra-new"),
        None => format!(".{path}.infra-new"),
    }
}

/// Ansible's checksum of a file.
pub(super) fn sha1(bytes: &[u8]) -> String {
    crate::identity::hex(&sha1::Sha1::digest(bytes))
}
