//! `stat`: what a path is.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    Arguments, Decision, Flag, Module, Operation, Text,
    attributes::{self, Seen},
    entry, probe_failed,
};
use crate::{
    error::{Error, Result},
    remote::{Output, quote},
};

pub(super) struct Stat;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StatArguments {
    #[serde(alias = "dest", alias = "name")]
    path: Text,
    #[serde(default)]
    follow: Flag,
    #[serde(default = "yes")]
    get_checksum: Flag,
    #[serde(alias = "checksum", alias = "checksum_algo")]
    checksum_algorithm: Option<Text>,
    /// Accepted for the sake of roles that turn it off; a mime type is never told.
    #[serde(default, alias = "mime", alias = "mime_type")]
    get_mime: Flag,
    /// Accepted likewise; file attributes are never told.
    #[serde(default, alias = "attr", alias = "attributes")]
    get_attributes: Flag,
}

fn yes() -> Flag {
    Flag(true)
}

impl Module for Stat {
    fn name(&self) -> &'static str {
        "stat"
    }

    fn arguments(&self) -> &'static [&'static str] {
        &[
            "path",
            "dest",
            "name",
            "follow",
            "get_checksum",
            "checksum_algorithm",
            "checksum",
            "checksum_algo",
            "get_mime",
            "mime",
            "mime_type",
            "get_attributes",
            "attr",
            "attributes",
        ]
    }

    fn prepare(&self, task: &Arguments<'_>) -> Result<Box<dyn Operation>> {
        let arguments: StatArguments = super::read(task.named)?;
        let algorithm = arguments.checksum_algorithm.map_or_else(|| "sha1".to_owned(), |algorithm| algorithm.0);
        if !["md5", "sha1", "sha224", "sha256", "sha384", "sha512"].contains(&algorithm.as_str()) {
            return Err(Error::usage(format!("`{algorithm}` is not a checksum algorithm")));
        }
        let _ = (arguments.get_mime, arguments.get_attributes);
        Ok(Box::new(Look {
            path: arguments.path.0,
            follow: arguments.follow.0,
            algorithm: arguments.get_checksum.0.then_some(algorithm),
        }))
    }
}

struct Look {
    path: String,
    follow: bool,
    algorithm: Option<String>,
}

impl Operation for Look {
    fn probe(&self) -> Option<String> {
        let path = quote(&self.path);
        let sum = match &self.algorithm {
            Some(algorithm) => format!("{{ [ -f {path} ] && {algorithm}sum <{path}; }} 2>/dev/null || echo -"),
            None => "echo -".to_owned(),
        };
        let may = ["r", "w", "x"].map(|flag| format!("[ -{flag} {path} ] && printf 1 || printf 0")).join("; ");
        Some(format!("{}; {sum}; {may}", attributes::probe(&self.path, self.follow)))
    }

    fn decide(&self, seen: &Output) -> Result<Decision> {
        let out = seen.out();
        let mut lines = out.lines();
        let state = attributes::parse(lines.next().ok_or_else(|| probe_failed(seen))?)?;
        let sum = lines.next().and_then(|line| line.split_whitespace().next()).filter(|sum| *sum != "-");
        let may: Vec<bool> = lines.next().unwrap_or_default().chars().map(|c| c == '1').collect();
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
        if let Some(sum) = sum {
            stat.insert("checksum".to_owned(), sum.into());
        }
        Ok(Decision::unchanged(entry("stat", stat)))
    }
}
