//! `unarchive`: an archive is unpacked into a folder, where what it holds is missing or other. The shell side is
//! `archive.sh`, which looks, and `unarchive.sh`, which unpacks.

use super::{
    Argument, Arguments, Call, Decision, Declared, Exclusive, Flag, List, Module, Operation, Outcome, Step, Text,
    attributes::{Attributes, Mode},
    conclude,
    content::{functions, reported, source_file},
    declaration::arguments,
    probe::Probe,
    probe_failed,
    script::{Sh, sh},
};
use crate::{
    error::{Error, Result},
    remote::Output,
};
use bytes::Bytes;

pub(super) struct Unarchive;

arguments! {
    struct UnarchiveArguments {
        /// The archive, beside the playbook or with `remote_src` on the host.
        src: Text,
        dest: Text,
        #[serde(default)]
        remote_src: Flag,
        /// The opposite of `remote_src`.
        copy: Option<Flag>,
        /// A path: nothing is unpacked when it exists.
        creates: Option<Text>,
        /// Options of tar or unzip, one an item.
        #[serde(default)]
        extra_opts: List,
        mode: Option<Mode>,
        owner: Option<Text>,
        group: Option<Text>,
        /// Whether files that are newer stay.
        #[serde(default)]
        keep_newer: Flag,
    }
}

impl Call for Unarchive {
    fn name(&self) -> &'static str {
        "unarchive"
    }

    fn about(&self) -> &'static str {
        "Unpacks an archive into a folder of the host."
    }

    fn arguments(&self) -> &'static [Argument] {
        UnarchiveArguments::ARGUMENTS
    }

    fn exclusive(&self) -> &'static [Exclusive] {
        &[&[&["remote_src"], &["copy"]]]
    }
}

impl Module for Unarchive {
    fn operation(&self, task: &Arguments<'_>) -> Result<Box<dyn Operation>> {
        let arguments: UnarchiveArguments = super::read(task.named)?;
        let remote = arguments.remote_src.0 || arguments.copy == Some(Flag(false));
        if arguments.src.0.contains("://") {
            return Err(Error::usage(
                "`src` is an address: fetch it with `get_url`, then unpack it with `remote_src: true`",
            ));
        }
        if arguments.mode == Some(Mode::Preserve) {
            return Err(Error::usage("`mode: preserve` is what an archive does anyway: leave it out"));
        }
        for option in &arguments.extra_opts.0 {
            if ELSEWHERE.iter().any(|known| option.starts_with(known)) || ["-P", "-f"].contains(&option.as_str()) {
                return Err(Error::usage(format!(
                    "`extra_opts`: `{option}` is not supported: an archive is unpacked aside, and what it holds is moved into `dest`"
                )));
            }
        }
        for option in &arguments.extra_opts.0 {
            // What several of them in one word ask for would be overlooked.
            let letters =
                option.strip_prefix('-').filter(|rest| !rest.starts_with('-')).map_or(0, |rest| rest.chars().count());
            if letters > 1 {
                return Err(Error::usage(format!(
                    "`extra_opts`: `{option}` is several options in one word: write each as an item of its own"
                )));
            }
        }
        let bytes = if remote { None } else { Some(task.sources.file(arguments.src.as_str())?) };
        Ok(Box::new(Unpack { arguments, bytes }))
    }
}

/// Options of `tar` and `unzip` that speak of another place, or of what else is there.
const ELSEWHERE: &[&str] =
    &["-C", "-d", "--absolute-names", "--backup", "--directory", "--recursive-unlink", "--suffix"];

struct Unpack {
    arguments: UnarchiveArguments,
    /// The archive, unless it is on the host already.
    bytes: Option<Bytes>,
}

impl Unpack {
    fn attributes(&self) -> Attributes {
        Attributes {
            mode: self.arguments.mode.clone(),
            owner: self.arguments.owner.as_ref().map(|owner| owner.0.clone()),
            group: self.arguments.group.as_ref().map(|group| group.0.clone()),
        }
    }

    fn options(&self) -> Vec<String> {
        self.arguments.extra_opts.0.clone()
    }

    /// The functions of `archive.sh` and what those and the others must know; the archive is at `path`.
    fn settings(&self, path: &Sh) -> Sh {
        let Attributes { mode, owner, group } = self.attributes();
        let mode = match mode {
            Some(Mode::Bits(bits)) => format!("{bits:04o}"),
            Some(Mode::Symbolic(text)) => text,
            _ => String::new(),
        };
        let keep_newer = if self.arguments.keep_newer.0 { "newer" } else { "" };
        sh!(
            "{0}\narchive={1}; case $archive in - | /*) ;; *) archive=$(pwd -P)/$archive ;; esac\n\
             zip={6}; owner={2}; group={3}; mode={4}; keep_newer={5}",
            Sh::literal(include_str!("archive.sh")),
            path.clone(),
            owner.unwrap_or_default(),
            group.unwrap_or_default(),
            mode,
            keep_newer,
            match self.is_zip() {
                Some(true) => "yes",
                Some(false) => "no",
                None => "",
            }
        )
    }

    /// Whether it is a ZIP file, where the archive is here.
    fn is_zip(&self) -> Option<bool> {
        self.bytes.as_ref().map(|bytes| bytes.starts_with(b"PK"))
    }

    /// The comparison, which only reads.
    fn compare(&self) -> Probe {
        let (dest, options) = (self.arguments.dest.as_str(), self.options());
        match &self.bytes {
            None => Probe::archive(&self.settings(&sh!("{0}", self.arguments.src)), dest, &options, None),
            // A ZIP file cannot be read as it comes: it is taken for another one.
            Some(_) if self.is_zip() == Some(true) => Probe::is_folder(dest),
            Some(bytes) => Probe::archive(&self.settings(&sh!("-")), dest, &options, Some(bytes.clone())),
        }
    }
}

impl Operation for Unpack {
    fn probe(&self) -> Option<Probe> {
        let folder = Probe::is_folder(self.arguments.dest.as_str());
        let creates = self.arguments.creates.as_ref().map(|path| Probe::exists(path.as_str(), "done", "unpack"));
        Some(match (creates, &self.bytes) {
            (Some(creates), _) => Probe::all([folder, creates]),
            (None, None) => self.compare(),
            // Whether it is unpacked is found out where it arrives, so that it travels once.
            (None, Some(_)) => folder,
        })
    }

    fn check_probe(&self) -> Option<Probe> {
        if self.arguments.creates.is_none() { Some(self.compare()) } else { self.probe() }
    }

    fn decide(&self, seen: &Output) -> Result<Decision> {
        let out = seen.out();
        let mut result = super::entry("dest", self.arguments.dest.0.as_str());
        result.insert("src".to_owned(), self.arguments.src.0.as_str().into());
        if out.lines().any(|line| line == "folder") {
            return Err(Error::new(format!("the folder `{}` does not exist", self.arguments.dest.0)));
        }
        if !seen.succeeded() {
            return Err(probe_failed(seen));
        }
        let same = out.lines().any(|line| line == "same") && !self.attributes().differ_from(out.lines());
        if same || out.lines().any(|line| line == "done") {
            return Ok(Decision::unchanged(result));
        }
        // The archive is held open, as file 8.
        let unpack = sh!(
            "{3}{0}\n( enter {1} && unpack {2} ) && ( enter {1} && report . ) || exit 1",
            self.settings(&sh!("/proc/self/fd/8")),
            self.arguments.dest,
            self.options(),
            Sh::literal(include_str!("unarchive.sh"))
        );
        let step = match &self.bytes {
            None => Step::Run(sh!("{0}{1}\n{2}", functions(), source_file(self.arguments.src.as_str()), unpack)),
            Some(bytes) => Step::Send {
                input: bytes.clone(),
                script: sh!(
                    "{0}( cd -- \"${TMPDIR:-/tmp}\" && private && cat >./archive && exec 8<./archive || exit 1\n{1} )",
                    functions(),
                    unpack
                ),
            },
        };
        Ok(Decision { changed: true, steps: vec![step], result, diffs: Vec::new() })
    }

    fn conclude(&self, decision: Decision, outputs: &[Output]) -> Outcome {
        let mut outcome = conclude(decision, outputs);
        reported(&mut outcome, outputs);
        if !outputs.is_empty() && outcome.failure.is_none() {
            outcome.changed = outputs.iter().any(|output| output.out().lines().any(|line| line == "changed"));
        }
        outcome
    }
}
