//! `file`: a path is a file, a folder or a link, with these attributes, or is not there.

use serde::Deserialize;

use super::{
    Argument, Arguments, Call, Decision, Declared, Flag, Module, Operation, Outcome, Text,
    attributes::{self, Attributes, Mode, Seen},
    conclude,
    content::{functions, place, reach, reported, source_file},
    copy::make_folder,
    declaration::{arguments, choices},
    entry,
    probe::{Links, Probe},
    probe_failed,
    script::{Sh, sh},
};
use crate::{
    error::{Error, Result},
    remote::Output,
};

pub(super) struct FileModule;

arguments! {
    struct FileArguments {
        #[serde(alias = "dest", alias = "name")]
        path: Text,
        /// `file` where nothing is said, or `directory` with `recurse`.
        state: Option<State>,
        mode: Option<Mode>,
        owner: Option<Text>,
        group: Option<Text>,
        /// What a link points to.
        src: Option<Text>,
        /// Whether what is in the folder gets the attributes too.
        #[serde(default)]
        recurse: Flag,
        /// Whether a link replaces a file, or points to nothing.
        #[serde(default)]
        force: Flag,
        /// Whether a link is followed.
        #[serde(default)]
        follow: Option<Flag>,
        /// `preserve` or `now`, for `touch`.
        modification_time: Option<Text>,
        /// `preserve` or `now`, for `touch`.
        access_time: Option<Text>,
    }
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum State {
    Absent,
    Directory,
    File,
    Hard,
    Link,
    Touch,
}

choices!(State);

impl Call for FileModule {
    fn name(&self) -> &'static str {
        "file"
    }

    fn about(&self) -> &'static str {
        "Creates or removes a file, a folder or a link, and sets its mode, owner and group."
    }

    fn arguments(&self) -> &'static [Argument] {
        FileArguments::ARGUMENTS
    }
}

impl Module for FileModule {
    fn operation(&self, task: &Arguments<'_>) -> Result<Box<dyn Operation>> {
        let arguments: FileArguments = super::read(task.named)?;
        let state = arguments.state.unwrap_or(if arguments.recurse.0 { State::Directory } else { State::File });
        if matches!(state, State::Link | State::Hard) && arguments.src.is_none() {
            return Err(Error::usage("a link needs `src`, what it points to"));
        }
        let keep = |name: &str, time: &Option<Text>| match time.as_ref().map(Text::as_str) {
            Some("preserve") => Ok(true),
            None | Some("now") => Ok(false),
            Some(other) => Err(Error::usage(format!("`{name}: {other}` is not supported: write `now` or `preserve`"))),
        };
        let times = arguments.access_time.is_some() || arguments.modification_time.is_some();
        if times && state != State::Touch {
            return Err(Error::usage("`access_time` and `modification_time` are for `state: touch`"));
        }
        let keeps =
            [keep("access_time", &arguments.access_time)?, keep("modification_time", &arguments.modification_time)?];
        if arguments.recurse.0 && state != State::Directory {
            return Err(Error::usage("`recurse` is for `state: directory`"));
        }
        if arguments.mode == Some(Mode::Preserve) {
            return Err(Error::usage("`mode: preserve` is for `copy` and `template`"));
        }
        Ok(Box::new(FileOperation {
            path: match arguments.path.0.trim_end_matches('/') {
                "" => "/".to_owned(),
                path => path.to_owned(),
            },
            state,
            attributes: Attributes {
                mode: arguments.mode,
                owner: arguments.owner.map(|owner| owner.0),
                group: arguments.group.map(|group| group.0),
            },
            src: arguments.src.map(|src| src.0).unwrap_or_default(),
            recurse: arguments.recurse.0,
            force: arguments.force.0,
            follow: arguments.follow.is_none_or(|follow| follow.0),
            keeps,
        }))
    }
}

/// A file that is there gets these attributes.
pub(super) fn with_attributes(path: &str, attributes: Attributes) -> Box<dyn Operation> {
    Box::new(FileOperation {
        path: path.to_owned(),
        state: State::File,
        attributes,
        src: String::new(),
        recurse: false,
        force: false,
        follow: true,
        keeps: [false; 2],
    })
}

struct FileOperation {
    path: String,
    state: State,
    attributes: Attributes,
    src: String,
    recurse: bool,
    force: bool,
    follow: bool,
    /// Whether `touch` leaves the time of access, and that of modification.
    keeps: [bool; 2],
}

impl FileOperation {
    /// Whether the path itself is looked at, and not what a link points to.
    fn follows(&self) -> bool {
        self.follow && matches!(self.state, State::Directory | State::File | State::Touch)
    }

    /// The commands that give everything below the working folder these attributes.
    fn recursive(&self) -> Vec<Sh> {
        let is_number = |text: &str| text.parse::<u32>().is_ok();
        // They walk by descriptors: a folder that its user swaps for a link meanwhile leads nowhere else.
        let unless_all = |test: Sh, command: Sh| {
            sh!("[ -z \"$(find . {0} -print 2>/dev/null | head -n 1)\" ] || {1} || exit 1", test, command)
        };
        // `chown` takes setuid bits and capabilities away, also where the owner stays: only what differs is touched.
        let each = |test: Sh, command: Sh| sh!("find . {0} -execdir {1} '{}' + || exit 1", test, command);
        let Attributes { mode, owner, group } = &self.attributes;
        let mut parts = Vec::new();
        parts.extend(owner.as_ref().map(|owner| {
            let test = if is_number(owner) { sh!("! -uid {0}", owner) } else { sh!("! -user {0}", owner) };
            each(test, sh!("chown -h -- {0}", owner))
        }));
        parts.extend(group.as_ref().map(|group| {
            let test = if is_number(group) { sh!("! -gid {0}", group) } else { sh!("! -group {0}", group) };
            each(test, sh!("chgrp -h -- {0}", group))
        }));
        match mode {
            Some(Mode::Bits(bits)) => {
                let bits = format!("{bits:04o}");
                parts.push(unless_all(sh!("! -type l ! -perm {0}", bits), sh!("chmod -R -- {0} .", bits)));
            }
            Some(Mode::Symbolic(text)) => parts.push(sh!("chmod -R -- {0} . || exit 1", text)),
            _ => {}
        }
        parts
    }

    fn recursive_probes(&self) -> Vec<Probe> {
        let Attributes { mode, owner, group } = &self.attributes;
        let bits = if let Some(Mode::Bits(bits)) = mode { Some(*bits) } else { None };
        let mut probes = Probe::differing_below(&self.path, owner.as_deref(), group.as_deref(), bits);
        if let Some(Mode::Symbolic(_)) = mode {
            probes.push(Probe::modes_below(&self.path));
        }
        probes
    }

    /// A script at the file's place in its folder: `name` is its name.
    fn there(&self, commands: impl IntoIterator<Item = Sh>) -> Sh {
        Sh::join([reach(&self.path, self.follows())].into_iter().chain(commands), "\n")
    }
}

impl Operation for FileOperation {
    fn probe(&self) -> Option<Probe> {
        let links = if self.follows() { Links::Followed } else { Links::Kept };
        let mut probes = vec![Probe::path(&self.path, links)];
        match self.state {
            State::Hard => probes.push(Probe::inode(&self.src)),
            // What a link leads to counts from the folder of the link.
            State::Link => probes.push(Probe::exists_at(&match self.path.rsplit_once('/') {
                Some((folder, _)) if !self.src.starts_with('/') => format!("{folder}/{}", self.src),
                _ => self.src.clone(),
            })),
            _ => {}
        }
        if self.recurse {
            probes.extend(self.recursive_probes());
        }
        Some(Probe::all(probes))
    }

    fn decide(&self, seen: &Output) -> Result<Decision> {
        let out = seen.out();
        let mut lines = out.lines();
        let state = attributes::parse(lines.next().ok_or_else(|| probe_failed(seen))?)?;
        let mut result = entry("path", self.path.as_str());
        result.insert("dest".to_owned(), self.path.as_str().into());
        let held = || sh!("\"$held\"");
        let mut scripts = Vec::new();
        match (self.state, &state) {
            (State::Absent, Seen::Absent) => {}
            (State::Absent, Seen::Present(_)) => scripts.push(self.there([sh!("rm -rf -- \"./$name\"")])),
            (State::Directory, Seen::Absent) => scripts.push(make_folder(&self.path, &self.attributes)),
            (State::Directory, Seen::Present(present)) if !present.is_folder() => {
                return Err(Error::new(format!("`{}` exists and is a {}, not a folder", self.path, present.kind)));
            }
            (State::File, Seen::Absent) => {
                return Err(Error::new(format!(
                    "`{}` does not exist; `state: touch` or `copy` makes a file",
                    self.path
                )));
            }
            (State::Touch, Seen::Absent) => {
                let mut commands = vec![sh!("set -C; : >\"./$name\" || exit 1; set +C; hold")];
                commands.extend(self.attributes.of_new(None, &held()));
                commands.push(sh!("report \"$held\""));
                scripts.push(self.there(commands));
            }
            (State::Touch, Seen::Present(present)) => {
                let mut commands = Vec::new();
                match self.keeps {
                    [true, true] => {}
                    [true, false] => commands.push(sh!("touch -h -m -- \"$held\" || exit 1")),
                    [false, true] => commands.push(sh!("touch -h -a -- \"$held\" || exit 1")),
                    [false, false] => commands.push(sh!("touch -h -- \"$held\" || exit 1")),
                }
                commands.extend(self.attributes.commands(&held(), present));
                if !commands.is_empty() {
                    commands.insert(0, sh!("hold"));
                    commands.push(sh!("report \"$held\""));
                    scripts.push(self.there(commands));
                }
            }
            (State::Link, state) => {
                let missing = lines.next() == Some("missing");
                scripts.extend(self.link(state, missing)?);
            }
            (State::Hard, state) => scripts.extend(self.hard_link(state, lines.next().unwrap_or_default())?),
            (State::Directory | State::File, Seen::Present(present)) => {
                scripts.extend(self.attributes.change(&self.path, self.follows(), present));
                if self.recurse && self.differs_below(lines) {
                    scripts.push(self.there([sh!("hold")].into_iter().chain(self.recursive())));
                }
            }
        }
        if let (Seen::Present(present), true) = (&state, self.state != State::Absent) {
            attributes::describe(present, &mut result);
        }
        if self.state == State::Absent {
            result.insert("state".to_owned(), "absent".into());
        }
        if matches!(self.state, State::Link | State::Hard) {
            result.insert("src".to_owned(), self.src.as_str().into());
        }
        Ok(if scripts.is_empty() { Decision::unchanged(result) } else { Decision::run(scripts, result) })
    }

    fn conclude(&self, decision: Decision, outputs: &[Output]) -> Outcome {
        let mut outcome = conclude(decision, outputs);
        reported(&mut outcome, outputs);
        if self.state == State::Hard {
            outcome.result.insert("state".to_owned(), "hard".into());
        }
        outcome
    }
}

impl FileOperation {
    /// A second name of a file; `of_source` is the source's device and inode.
    fn hard_link(&self, state: &Seen, of_source: &str) -> Result<Option<Sh>> {
        if of_source == "missing" {
            return Err(Error::new(format!("`src: {}` does not exist, so that there is nothing to link to", self.src)));
        }
        match state {
            Seen::Present(present) if format!("{}:{}", present.device, present.inode) == of_source => {
                return Ok(self.attributes.change(&self.path, false, present));
            }
            Seen::Present(present) if present.is_folder() => {
                return Err(Error::new(format!("`{}` exists and is a folder, which no link replaces", self.path)));
            }
            Seen::Present(present) if !present.is_link() && !self.force => {
                let message =
                    format!("`{}` exists and is another {}; `force: true` replaces it", self.path, present.kind);
                return Err(Error::new(message));
            }
            _ => {}
        }
        let commands = [sh!("ln -fLT -- /proc/self/fd/8 \"./$name\" || exit 1"), sh!("hold")];
        let commands = commands.into_iter().chain(self.attributes.of_new(None, &sh!("\"$held\"")));
        let commands = commands.chain([sh!("report \"$held\"")]);
        // The source is held open, so that it is the file that was found.
        let there = [functions(), source_file(&self.src), place(&self.path, false)];
        Ok(Some(Sh::join(there.into_iter().chain(commands), "\n")))
    }

    fn link(&self, state: &Seen, missing: bool) -> Result<Option<Sh>> {
        if missing && !self.force {
            let message = format!("`src: {}` does not exist; `force: true` creates the link all the same", self.src);
            return Err(Error::new(message));
        }
        let replace = match state {
            Seen::Present(present) if present.is_link() && present.target == self.src => {
                let owner = Attributes { mode: None, ..self.attributes.clone() };
                return Ok(owner.change(&self.path, false, present));
            }
            Seen::Present(present) if !present.is_link() && !self.force => {
                let message = format!("`{}` exists and is a {}; `force: true` replaces it", self.path, present.kind);
                return Err(Error::new(message));
            }
            Seen::Present(present) if present.is_folder() => sh!("rmdir -- \"./$name\" && "),
            _ => Sh::default(),
        };
        let owner = Attributes { mode: None, ..self.attributes.clone() };
        let mut commands = vec![sh!("{0}ln -sfn -- {1} \"./$name\" || exit 1", replace, self.src)];
        commands.extend(owner.of_new(None, &sh!("\"./$name\"")));
        commands.push(sh!("report \"./$name\""));
        Ok(Some(self.there(commands)))
    }

    /// Whether something below the folder has other attributes, from the lines of the recursive probe.
    fn differs_below<'a>(&self, lines: impl Iterator<Item = &'a str>) -> bool {
        lines.filter(|line| !line.is_empty()).any(|line| match line.strip_prefix("mode:") {
            None => true,
            Some(rest) => {
                let mut words = rest.split(' ');
                let now = words.next().and_then(|mode| u32::from_str_radix(mode, 8).ok()).unwrap_or(0);
                let folder = words.next().and_then(attributes::kind) == Some("directory");
                self.attributes.mode.as_ref().is_some_and(|mode| mode.wanted(now, folder) != now)
            }
        })
    }
}
