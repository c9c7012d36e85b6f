//! `unarchive`: an archive is unpacked into a folder.

use bytes::Bytes;
use serde::Deserialize;

use super::{
    Arguments, Decision, Flag, List, Module, Operation, Step, Text,
    attributes::{Attributes, Mode},
    content::sha1,
    probe_failed,
};
use crate::{
    error::{Error, Result},
    remote::{Output, quote},
};

pub(super) struct Unarchive;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UnarchiveArguments {
    src: Text,
    dest: Text,
    #[serde(default)]
    remote_src: Flag,
    copy: Option<Flag>,
    creates: Option<Text>,
    #[serde(default)]
    extra_opts: List,
    mode: Option<Mode>,
    owner: Option<Text>,
    group: Option<Text>,
    #[serde(default)]
    keep_newer: Flag,
}

impl Module for Unarchive {
    fn name(&self) -> &'static str {
        "unarchive"
    }

    fn arguments(&self) -> &'static [&'static str] {
        &["src", "dest", "remote_src", "copy", "creates", "extra_opts", "mode", "owner", "group", "keep_newer"]
    }

    fn prepare(&self, task: &Arguments<'_>) -> Result<Box<dyn Operation>> {
        let arguments: UnarchiveArguments = super::read(task.named)?;
        let remote = arguments.remote_src.0 || arguments.copy == Some(Flag(false));
        if arguments.src.0.contains("://") {
            return Err(Error::usage(
                "`src` is an address: fetch it with `get_url`, then unpack it with `remote_src: true`",
            ));
        }
        let bytes = if remote { None } else { Some(task.sources.file(arguments.src.as_str())?) };
        Ok(Box::new(Unpack { arguments, bytes }))
    }
}

struct Unpack {
    arguments: UnarchiveArguments,
    bytes: Option<Bytes>,
}

impl Unpack {
    /// Where the archive lies on the host.
    fn archive(&self) -> String {
        match &self.bytes {
            None => self.arguments.src.0.clone(),
            Some(bytes) => {
                let digest = sha1(bytes);
                format!("{}/.{}.infra-archive", self.arguments.dest.0.trim_end_matches('/'), &digest[..12])
            }
        }
    }

    fn is_zip(&self) -> bool {
        self.arguments.src.0.to_ascii_lowercase().ends_with(".zip")
    }

    /// The mark that says which archive has been unpacked here: without Python there is nothing to compare files with.
    fn mark(&self) -> String {
        let name = self.arguments.src.0.rsplit('/').next().unwrap_or("archive");
        format!("{}/.{name}.infra-unpacked", self.arguments.dest.0.trim_end_matches('/'))
    }
}

impl Operation for Unpack {
    fn probe(&self) -> Option<String> {
        let dest = quote(&self.arguments.dest.0);
        if let Some(creates) = &self.arguments.creates {
            return Some(format!(
                "[ -d {dest} ] || echo folder; [ -e {} ] && echo same || echo differs",
                quote(creates.as_str())
            ));
        }
        let sum = match &self.bytes {
            Some(bytes) => {
                let digest = sha1(bytes);
                format!("echo {digest}")
            }
            None => format!("sha1sum <{} | cut -d' ' -f1", quote(&self.arguments.src.0)),
        };
        Some(format!(
            "[ -d {dest} ] || echo folder; [ \"$({sum})\" = \"$(cat {} 2>/dev/null)\" ] && echo same || echo differs",
            quote(&self.mark())
        ))
    }

    fn decide(&self, seen: &Output) -> Result<Decision> {
        let out = seen.out();
        let result = super::entry("dest", self.arguments.dest.0.as_str());
        if out.lines().any(|line| line == "folder") {
            return Err(Error::new(format!("the folder `{}` does not exist", self.arguments.dest.0)));
        }
        match out.trim() {
            "same" => return Ok(Decision::unchanged(result)),
            "differs" => {}
            _ => return Err(probe_failed(seen)),
        }
        let (archive, dest) = (quote(&self.archive()), quote(&self.arguments.dest.0));
        let options: String = self.arguments.extra_opts.0.iter().map(|option| format!(" {}", quote(option))).collect();
        let keep = if self.arguments.keep_newer.0 { " --keep-newer-files" } else { "" };
        let mut script = if self.is_zip() {
            format!("set -e; unzip -o -q{options} {archive} -d {dest}")
        } else {
            format!("set -e; tar -x -f {archive} -C {dest}{keep}{options}")
        };
        script += &format!("; sha1sum <{archive} | cut -d' ' -f1 >{}", quote(&self.mark()));
        let attributes = Attributes {
            mode: self.arguments.mode.clone(),
            owner: self.arguments.owner.as_ref().map(|owner| owner.0.clone()),
            group: self.arguments.group.as_ref().map(|group| group.0.clone()),
        };
        let own = attributes.commands(&self.arguments.dest.0, None);
        script += &own
            .iter()
            .map(|command| {
                format!("; {}", command.replacen("chmod ", "chmod -R ", 1).replacen("chown -h ", "chown -hR ", 1))
            })
            .collect::<String>();
        let mut steps = Vec::new();
        if let Some(bytes) = &self.bytes {
            steps.push(Step::Put { bytes: bytes.clone(), path: self.archive() });
            script += &format!("; rm -f {archive}");
        }
        steps.push(Step::Run(script));
        Ok(Decision { changed: true, steps, result, diffs: Vec::new() })
    }
}
