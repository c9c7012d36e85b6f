//! `stat`: what a path is.

use serde_json::{Map, Value, json};

use super::{
    Argument, Arguments, Call, Decision, Declared, Flag, Module, Operation, Text,
    attributes::{self, Seen},
    declaration::arguments,
    entry,
    probe::{Algorithm, Links, Probe},
    probe_failed,
};
use crate::{
    error::{Error, Result},
    remote::Output,
};

pub(super) struct Stat;

arguments! {
    struct StatArguments {
        #[serde(alias = "dest", alias = "name")]
        path: Text,
        /// Whether a link is followed.
        #[serde(default)]
        follow: Flag,
        #[serde(default)]
        get_checksum: Flag<true>,
        /// `sha1` where nothing is said.
        #[serde(alias = "checksum", alias = "checksum_algo")]
        checksum_algorithm: Option<Text>,
        /// Whether the kind of the content is looked at.
        #[serde(default, alias = "mime", alias = "mime_type")]
        get_mime: Flag<true>,
        /// Whether the flags of the file system are looked at.
        #[serde(default, alias = "attr", alias = "attributes")]
        get_attributes: Flag<true>,
    }
}

impl Call for Stat {
    fn name(&self) -> &'static str {
        "stat"
    }

    fn about(&self) -> &'static str {
        "Says what is at a path of the host."
    }

    fn arguments(&self) -> &'static [Argument] {
        StatArguments::ARGUMENTS
    }
}

impl Module for Stat {
    fn operation(&self, task: &Arguments<'_>) -> Result<Box<dyn Operation>> {
        let arguments: StatArguments = super::read(task.named)?;
        let algorithm = arguments.checksum_algorithm.map_or_else(|| "sha1".to_owned(), |algorithm| algorithm.0);
        let algorithm = Algorithm::of(&algorithm)
            .ok_or_else(|| Error::usage(format!("`{algorithm}` is not a checksum algorithm")))?;
        Ok(Box::new(Look {
            path: arguments.path.0,
            follow: arguments.follow.0,
            algorithm: arguments.get_checksum.0.then_some(algorithm),
            mime: arguments.get_mime.0,
            flags: arguments.get_attributes.0,
        }))
    }
}

struct Look {
    path: String,
    follow: bool,
    algorithm: Option<Algorithm>,
    mime: bool,
    flags: bool,
}

impl Operation for Look {
    fn probe(&self) -> Option<Probe> {
        let path = &self.path;
        let links = if self.follow { Links::Followed } else { Links::Kept };
        Some(Probe::all([
            Probe::path(path, links),
            self.algorithm.map_or_else(Probe::nothing, |algorithm| Probe::checksum(path, algorithm)),
            Probe::rights(path),
            if self.mime { Probe::mime(path) } else { Probe::nothing() },
            if self.flags { Probe::flags(path) } else { Probe::nothing() },
        ]))
    }

    fn decide(&self, seen: &Output) -> Result<Decision> {
        let out = seen.out();
        let mut lines = out.lines();
        let state = attributes::parse(lines.next().ok_or_else(|| probe_failed(seen))?)?;
        let sum = lines.next().and_then(|line| line.split_whitespace().next()).filter(|sum| *sum != "-");
        let may: Vec<bool> = lines.next().unwrap_or_default().chars().map(|c| c == '1').collect();
        let mime = lines.next().and_then(|line| line.split_once("; charset="));
        let flags = lines.next().unwrap_or_default();
        let Seen::Present(present) = state else {
            return Ok(Decision::unchanged(entry("stat", json!({ "exists": false }))));
        };
        let bit = |bits: u32| present.mode & bits != 0;
        let mut stat: Map<String, Value> = json!({
            "exists": true, "path": self.path, "mode": format!("{:04o}", present.mode),
            "isreg": present.is_file(), "isdir": present.is_folder(), "islnk": present.is_link(),
            "isblk": present.kind.starts_with("block"), "ischr": present.kind.starts_with("character"),
            "isfifo": present.kind == "fifo", "issock": present.kind == "socket",
            "uid": present.uid, "gid": present.gid, "pw_name": present.owner, "gr_name": present.group,
            "size": present.size, "inode": present.inode, "nlink": present.links, "dev": present.device,
            "mtime": present.mtime, "atime": present.atime, "ctime": present.ctime,
            "rusr": bit(0o400), "wusr": bit(0o200), "xusr": bit(0o100), "rgrp": bit(0o40), "wgrp": bit(0o20),
            "xgrp": bit(0o10), "roth": bit(0o4), "woth": bit(0o2), "xoth": bit(0o1),
            "isuid": bit(0o4000), "isgid": bit(0o2000),
            "readable": may.first(), "writeable": may.get(1), "executable": may.get(2),
        })
        .as_object()
        .cloned()
        .unwrap_or_default();
        if present.is_link() {
            stat.insert("lnk_target".to_owned(), present.target.as_str().into());
            let folder = self.path.rsplit_once('/').map_or("", |(folder, _)| folder);
            let absolute = present.target.starts_with('/');
            let source = if absolute { present.target.clone() } else { format!("{folder}/{}", present.target) };
            stat.insert("lnk_source".to_owned(), source.into());
        }
        if present.is_file()
            && let Some(sum) = sum
        {
            stat.insert("checksum".to_owned(), sum.into());
        }
        if self.mime {
            let (kind, charset) = mime.unwrap_or(("unknown", "unknown"));
            stat.insert("mimetype".to_owned(), kind.into());
            stat.insert("charset".to_owned(), charset.into());
        }
        if self.flags {
            let mut words = flags.split_whitespace().filter(|word| *word != "-");
            let version = words.next().filter(|version| version.bytes().all(|byte| byte.is_ascii_digit()));
            let letters = words.next().unwrap_or_default().replace('-', "");
            stat.insert("version".to_owned(), version.into());
            stat.insert("attributes".to_owned(), letters.chars().map(flag_name).collect::<Vec<_>>().into());
            stat.insert("attr_flags".to_owned(), letters.into());
        }
        Ok(Decision::unchanged(entry("stat", stat)))
    }
}

/// What a letter of `lsattr` stands for.
fn flag_name(letter: char) -> &'static str {
    match letter {
        'A' => "noatime",
        'a' => "append",
        'c' => "compressed",
        'C' => "nocow",
        'd' => "nodump",
        'D' => "dirsync",
        'e' => "extents",
        'E' => "encrypted",
        'h' => "blocksize",
        'i' => "immutable",
        'I' => "indexed",
        'j' => "journalled",
        'N' => "inline",
        's' => "zero",
        'S' => "synchronous",
        't' => "notail",
        'T' => "blockroot",
        'u' => "undelete",
        'X' => "compressedraw",
        'Z' => "compresseddirty",
        _ => "unknown",
    }
}
