//! `file`: a path is a file, a folder or a link, with these attributes, or is not there.

use serde::Deserialize;

use super::{
    Arguments, Decision, Flag, Module, Operation, Text,
    attributes::{self, Attributes, Mode, Seen},
    entry, probe_failed,
};
use crate::{
    error::{Error, Result},
    remote::{Output, quote},
};

pub(super) struct FileModule;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileArguments {
    #[serde(alias = "dest", alias = "name")]
    path: Text,
    state: Option<State>,
    mode: Option<Mode>,
    owner: Option<Text>,
    group: Option<Text>,
    src: Option<Text>,
    #[serde(default)]
    recurse: Flag,
    #[serde(default)]
    force: Flag,
    #[serde(default)]
    follow: Option<Flag>,
    modification_time: Option<Text>,
    access_time: Option<Text>,
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

impl Module for FileModule {
    fn name(&self) -> &'static str {
        "file"
    }

    fn arguments(&self) -> &'static [&'static str] {
        &[
            "path",
            "dest",
            "name",
            "state",
            "mode",
            "owner",
            "group",
            "src",
            "recurse",
            "force",
            "follow",
            "modification_time",
            "access_time",
        ]
    }

    fn prepare(&self, task: &Arguments<'_>) -> Result<Box<dyn Operation>> {
        let arguments: FileArguments = super::read(task.named)?;
        let state = arguments.state.unwrap_or(if arguments.recurse.0 { State::Directory } else { State::File });
        if matches!(state, State::Link | State::Hard) && arguments.src.is_none() {
            return Err(Error::usage("a link needs `src`, what it points to"));
        }
        let keep = |time: &Option<Text>| time.as_ref().is_some_and(|time| time.0 == "preserve");
        Ok(Box::new(FileOperation {
            path: arguments.path.0.trim_end_matches('/').to_owned(),
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
            keep_times: keep(&arguments.modification_time) && keep(&arguments.access_time),
        }))
    }
}

struct FileOperation {
    path: String,
    state: State,
    attributes: Attributes,
    src: String,
    recurse: bool,
    force: bool,
    follow: bool,
    keep_times: bool,
}

impl FileOperation {
    /// Whether the path itself is looked at, and not what a link points to.
    fn follows(&self) -> bool {
        self.follow && matches!(self.state, State::Directory | State::File | State::Touch)
    }

    /// The commands that give everything below a folder these attributes, and whether something has others.
    fn recursive(&self) -> Option<String> {
        let path = quote(&self.path);
        let mut parts = Vec::new();
        if let Some(owner) = &self.attributes.owner {
            let test = if owner.parse::<u32>().is_ok() { "-uid" } else { "-user" };
            parts.push(format!("find {path} ! {test} {0} -exec chown -h {0} {{}} +", quote(owner)));
        }
        if let Some(group) = &self.attributes.group {
            let test = if group.parse::<u32>().is_ok() { "-gid" } else { "-group" };
            parts.push(format!("find {path} ! {test} {0} -exec chgrp -h {0} {{}} +", quote(group)));
        }
        match &self.attributes.mode {
            Some(Mode::Bits(bits)) => {
                parts.push(format!("find {path} ! -type l ! -perm {bits:o} -exec chmod {bits:o} {{}} +"));
            }
            Some(Mode::Symbolic(text)) => parts.push(format!("chmod -R {} {path}", quote(text))),
            _ => {}
        }
        (self.recurse && !parts.is_empty()).then(|| parts.join(" && "))
    }

    fn recursive_probe(&self) -> String {
        let path = quote(&self.path);
        let mut tests = Vec::new();
        if let Some(owner) = &self.attributes.owner {
            let test = if owner.parse::<u32>().is_ok() { "-uid" } else { "-user" };
            tests.push(format!("! {test} {}", quote(owner)));
        }
        if let Some(group) = &self.attributes.group {
            let test = if group.parse::<u32>().is_ok() { "-gid" } else { "-group" };
            tests.push(format!("! {test} {}", quote(group)));
        }
        if let Some(Mode::Bits(bits)) = &self.attributes.mode {
            tests.push(format!("! -type l ! -perm {bits:o}"));
        }
        let by_tests = tests.iter().map(|test| format!("find {path} {test} -print 2>/dev/null | head -n 1"));
        let mut parts: Vec<String> = by_tests.collect();
        if let Some(Mode::Symbolic(text)) = &self.attributes.mode {
            // chmod itself says which it would change, if it is asked to change nothing: compare before and after in text.
            parts.push(format!(
                "find {path} ! -type l -exec stat -c '%a %F %n' {{}} + 2>/dev/null | while read -r m k n; do echo \"mode:{} $m $k\"; done | sort -u",
                text.replace(['"', '$', '`', '\\'], "")
            ));
        }
        parts.join("; ")
    }
}

impl Operation for FileOperation {
    fn probe(&self) -> Option<String> {
        let mut script = attributes::probe(&self.path, self.follows());
        if self.state == State::Hard {
            script += &format!("; stat -c %i -- {} 2>/dev/null || echo 0", quote(&self.src));
        }
        if self.recurse {
            script += &format!("; {}", self.recursive_probe());
        }
        Some(script)
    }

    fn decide(&self, seen: &Output) -> Result<Decision> {
        let out = seen.out();
        let mut lines = out.lines();
        let state = attributes::parse(lines.next().ok_or_else(|| probe_failed(seen))?)?;
        let mut result = entry("path", self.path.as_str());
        result.insert("dest".to_owned(), self.path.as_str().into());
        let path = quote(&self.path);
        let mut scripts = Vec::new();
        match (self.state, &state) {
            (State::Absent, Seen::Absent) => {}
            (State::Absent, Seen::Present(_)) => scripts.push(format!("rm -rf {path}")),
            (State::Directory, Seen::Absent) => {
                scripts.push(make_folders(&self.path, &self.attributes));
            }
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
                scripts.push(format!("touch {path}"));
                scripts.extend(self.attributes.commands(&self.path, None));
            }
            (State::Touch, Seen::Present(present)) => {
                if !self.keep_times {
                    scripts.push(format!("touch {path}"));
                }
                scripts.extend(self.attributes.commands(&self.path, Some(present)));
            }
            (State::Link, state) => scripts.extend(self.link(state)?),
            (State::Hard, state) => {
                let inode = lines.next().and_then(|line| line.parse().ok()).unwrap_or(0);
                if !matches!(state, Seen::Present(present) if present.inode == inode) {
                    scripts.push(format!("ln -f {} {path}", quote(&self.src)));
                }
            }
            (State::Directory | State::File, Seen::Present(present)) => {
                scripts.extend(self.attributes.commands(&self.path, Some(present)));
                if let Some(script) = self.recursive().filter(|_| self.differs_below(lines)) {
                    scripts.push(script);
                }
            }
        }
        if let (Seen::Present(present), true) = (&state, scripts.is_empty()) {
            attributes::describe(present, &mut result);
        }
        if self.state == State::Absent {
            result.insert("state".to_owned(), "absent".into());
        }
        Ok(if scripts.is_empty() { Decision::unchanged(result) } else { Decision::run(scripts, result) })
    }
}

/// Makes a folder and those above it; every one that is made gets the attributes.
fn make_folders(path: &str, attributes: &Attributes) -> String {
    // A name without anything to quote, which stands for all new folders.
    const NEW: &str = "new-folders";
    let commands = attributes.commands(NEW, None);
    if commands.is_empty() {
        return format!("mkdir -p {}", quote(path));
    }
    let commands = commands.join(" && ").replace(NEW, "\"$@\"");
    format!(
        "d={0}; set --; while [ ! -d \"$d\" ]; do set -- \"$d\" \"$@\"; d=$(dirname \"$d\"); done; mkdir -p {0} && {commands}",
        quote(path)
    )
}

impl FileOperation {
    fn link(&self, state: &Seen) -> Result<Vec<String>> {
        let path = quote(&self.path);
        let flags = match state {
            Seen::Present(present) if present.is_link() && present.target == self.src => {
                let owner = Attributes { mode: None, ..self.attributes.clone() };
                return Ok(owner.commands(&self.path, Some(present)));
            }
            Seen::Present(present) if !present.is_link() && !self.force => {
                let message = format!("`{}` exists and is a {}; `force: true` replaces it", self.path, present.kind);
                return Err(Error::new(message));
            }
            Seen::Present(present) if present.is_folder() => {
                return Ok(vec![format!("rmdir {path} && ln -s {} {path}", quote(&self.src))]);
            }
            _ => "-sfn",
        };
        Ok(vec![format!("ln {flags} {} {path}", quote(&self.src))])
    }

    /// Whether something below the folder has other attributes, from the lines of the recursive probe.
    fn differs_below<'a>(&self, lines: impl Iterator<Item = &'a str>) -> bool {
        lines.filter(|line| !line.is_empty()).any(|line| match line.strip_prefix("mode:") {
            None => true,
            Some(rest) => {
                let mut words = rest.split(' ').skip(1);
                let now = words.next().and_then(|mode| u32::from_str_radix(mode, 8).ok()).unwrap_or(0);
                let folder = words.next() == Some("directory");
                self.attributes.mode.as_ref().is_some_and(|mode| mode.wanted(now, folder) != now)
            }
        })
    }
}
