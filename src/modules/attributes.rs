//! Mode, owner and group of a file: what `stat` says of them, and the commands that change them.

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::{
    content::reach,
    declaration::{Form, Typed},
    script::{Sh, sh},
};
use crate::error::{Error, Result};

/// The wanted mode, owner and group; what is not given stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Attributes {
    pub(super) mode: Option<Mode>,
    pub(super) owner: Option<String>,
    pub(super) group: Option<String>,
}

/// A mode: bits, or symbolic changes of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Bits(u32),
    Symbolic(String),
    Preserve,
}

impl Typed for Mode {
    const FORM: Form = Form::Mode;
}

impl<'de> Deserialize<'de> for Mode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&Value::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

impl Mode {
    fn parse(value: &Value) -> Result<Self, String> {
        match value {
            // YAML 1.1 has read `0644` as octal already; `644` without the zero would mean another mode than it says.
            Value::Number(number) => match number.as_u64().and_then(|bits| u32::try_from(bits).ok()) {
                Some(bits) if bits <= 0o7777 && !(600..=777).contains(&bits) => Ok(Self::Bits(bits)),
                _ => Err(format!("`mode: {number}` is a decimal number: write it in quotes, as '0{number}'")),
            },
            Value::String(text) if text == "preserve" => Ok(Self::Preserve),
            Value::String(text) if !text.is_empty() && text.bytes().all(|b| (b'0'..=b'7').contains(&b)) => {
                u32::from_str_radix(text, 8)
                    .ok()
                    .filter(|bits| *bits <= 0o7777)
                    .map(Self::Bits)
                    .ok_or_else(|| format!("`{text}` is not a mode"))
            }
            Value::String(text) if symbolic(text, 0, false).is_some() => Ok(Self::Symbolic(text.clone())),
            other => Err(format!("`{other}` is not a mode: write '0644' or u=rw,g=r")),
        }
    }

    /// The bits that a file of these bits shall have.
    pub(super) fn wanted(&self, now: u32, folder: bool) -> u32 {
        match self {
            Self::Bits(bits) => *bits,
            Self::Symbolic(text) => symbolic(text, now, folder).unwrap_or(now),
            Self::Preserve => now,
        }
    }
}

/// Applies `u=rwX,g-w` as chmod(1) does, without regard to the umask.
fn symbolic(text: &str, now: u32, folder: bool) -> Option<u32> {
    let mut bits = now;
    for clause in text.split(',') {
        let operator = clause.find(['=', '+', '-'])?;
        let who = &clause[..operator];
        if !who.chars().all(|c| "ugoa".contains(c)) {
            return None;
        }
        let everybody = who.is_empty() || who.contains('a');
        let (operator, permissions) = clause[operator..].split_at(1);
        let (mut triple, mut special) = (0, 0);
        for permission in permissions.chars() {
            match permission {
                'r' => triple |= 4,
                'w' => triple |= 2,
                'x' => triple |= 1,
                'X' if folder || now & 0o111 != 0 => triple |= 1,
                'X' => {}
                's' => {
                    special |= if everybody || who.contains('u') { 0o4000 } else { 0 };
                    special |= if everybody || who.contains('g') { 0o2000 } else { 0 };
                }
                't' => special |= 0o1000,
                _ => return None,
            }
        }
        for (class, shift) in [('u', 6), ('g', 3), ('o', 0)] {
            if everybody || who.contains(class) {
                match operator {
                    "=" => bits = bits & !(7 << shift) | triple << shift,
                    "+" => bits |= triple << shift,
                    _ => bits &= !(triple << shift),
                }
            }
        }
        bits = if operator == "-" { bits & !special } else { bits | special };
    }
    Some(bits)
}

/// What a host says of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    Absent,
    Present(Present),
}

impl Seen {
    /// What is there, if anything is.
    pub(super) fn present(&self) -> Option<&Present> {
        match self {
            Self::Present(present) => Some(present),
            Self::Absent => None,
        }
    }
}

/// What `stat` says of a path that is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Present {
    pub(super) kind: &'static str,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) owner: String,
    pub(super) group: String,
    pub(super) size: u64,
    pub(super) mtime: i64,
    pub(super) atime: i64,
    pub(super) ctime: i64,
    pub(super) inode: u64,
    pub(super) links: u64,
    pub(super) device: u64,
    pub(super) target: String,
}

/// The kinds of files, by the bits of `st_mode`.
const KINDS: &[(u32, &str)] = &[
    (0o010_000, "fifo"),
    (0o020_000, "character device"),
    (0o040_000, "directory"),
    (0o060_000, "block device"),
    (0o100_000, "regular file"),
    (0o120_000, "symbolic link"),
    (0o140_000, "socket"),
];

/// The kind of a file, from its mode in hexadecimal.
pub(super) fn kind(mode: &str) -> Option<&'static str> {
    let bits = u32::from_str_radix(mode, 16).ok()? & 0o170_000;
    KINDS.iter().find(|(kind, _)| *kind == bits).map(|(_, name)| *name)
}

impl Present {
    pub(super) fn is_file(&self) -> bool {
        self.kind == "regular file"
    }

    pub(super) fn is_folder(&self) -> bool {
        self.kind == "directory"
    }

    pub(super) fn is_link(&self) -> bool {
        self.kind == "symbolic link"
    }
}

/// Reads the line of [`super::probe::Probe::path`].
pub(super) fn parse(line: &str) -> Result<Seen> {
    if line == "absent" {
        return Ok(Seen::Absent);
    }
    let wrong = || Error::new(format!("the host's `stat` printed `{line}`"));
    let fields: Vec<&str> = line.splitn(14, '|').collect();
    let [mode, uid, gid, owner, group, size, mtime, atime, ctime, inode, links, device, of, target] = fields[..] else {
        return Err(wrong());
    };
    Ok(Seen::Present(Present {
        kind: kind(of).ok_or_else(wrong)?,
        mode: u32::from_str_radix(mode, 8).map_err(|_| wrong())?,
        uid: uid.parse().map_err(|_| wrong())?,
        gid: gid.parse().map_err(|_| wrong())?,
        owner: owner.to_owned(),
        group: group.to_owned(),
        size: size.parse().map_err(|_| wrong())?,
        mtime: mtime.parse().map_err(|_| wrong())?,
        atime: atime.parse().map_err(|_| wrong())?,
        ctime: ctime.parse().map_err(|_| wrong())?,
        inode: inode.parse().map_err(|_| wrong())?,
        links: links.parse().map_err(|_| wrong())?,
        device: device.parse().map_err(|_| wrong())?,
        target: target.to_owned(),
    }))
}

impl Attributes {
    /// The step that gives a path these attributes, when it has others.
    pub(super) fn change(&self, path: &str, follow: bool, now: &Present) -> Option<Sh> {
        let commands = self.commands(&sh!("\"$held\""), now);
        if commands.is_empty() {
            return None;
        }
        let lines = [reach(path, follow), sh!("hold")].into_iter().chain(commands).chain([sh!("report \"$held\"")]);
        Some(Sh::join(lines, "\n"))
    }

    /// The commands that give an operand these attributes, where it has others now.
    pub(super) fn commands(&self, operand: &Sh, now: &Present) -> Vec<Sh> {
        let differs = |wanted: &str, name: &str, id: u32| name != wanted && wanted.parse() != Ok(id);
        let owner = self.owner.as_deref().filter(|owner| differs(owner, &now.owner, now.uid));
        let group = self.group.as_deref().filter(|group| differs(group, &now.group, now.gid));
        let mut commands: Vec<Sh> = own(owner, group, operand).into_iter().collect();
        // chown takes away setuid bits, so the mode comes after it.
        if let Some(mode) = self.mode.as_ref().filter(|_| !now.is_link()) {
            let wanted = mode.wanted(now.mode, now.is_folder());
            if wanted != now.mode || (!commands.is_empty() && wanted > 0o777) {
                commands.push(sh!("chmod {0} {1} || exit 1", format!("{wanted:04o}"), operand));
            }
        }
        commands
    }

    /// Whether something has other attributes, from lines that begin with `own:` and go on as `stat` prints `%u|%U|%g|%G|%a|%f`.
    pub(super) fn differ_from<'a>(&self, lines: impl Iterator<Item = &'a str>) -> bool {
        lines.filter_map(|line| line.strip_prefix("own:")).any(|line| {
            let fields: Vec<&str> = line.split('|').collect();
            let [uid, owner, gid, group, mode, of] = fields[..] else { return false };
            let present = Present {
                kind: kind(of).unwrap_or_default(),
                uid: uid.parse().unwrap_or_default(),
                gid: gid.parse().unwrap_or_default(),
                owner: owner.to_owned(),
                group: group.to_owned(),
                mode: u32::from_str_radix(mode, 8).unwrap_or_default(),
                ..Present::default()
            };
            !self.commands(&Sh::default(), &present).is_empty()
        })
    }

    /// What `find` tests to find what has other attributes, as far as it can know.
    pub(super) fn tests(&self) -> Vec<Sh> {
        let number = |text: &str| text.parse::<u32>().is_ok();
        let owner = self.owner.as_ref();
        let owner = owner.map(|owner| if number(owner) { sh!("! -uid {0}", owner) } else { sh!("! -user {0}", owner) });
        let group = self.group.as_ref();
        let group =
            group.map(|group| if number(group) { sh!("! -gid {0}", group) } else { sh!("! -group {0}", group) });
        let mode = match &self.mode {
            Some(Mode::Bits(bits)) => Some(sh!("! -type l ! -perm {0}", format!("{bits:04o}"))),
            _ => None,
        };
        owner.into_iter().chain(group).chain(mode).collect()
    }

    /// The commands that give an operand, which begins with a dot, these attributes where it has others; `preserve` takes the mode of
    /// file 8.
    pub(super) fn where_other(&self, operand: &Sh) -> Vec<Sh> {
        let Self { mode, owner, group } = self;
        let each = |only: Self, change: Sh| {
            let tests = Sh::join(only.tests(), " ");
            sh!("find {0} -maxdepth 0 {1} -exec {2} '{}' + || exit 1", operand, tests, change)
        };
        let none = Self::default;
        let mut commands = Vec::new();
        commands.extend(
            owner
                .as_ref()
                .map(|owner| each(Self { owner: Some(owner.clone()), ..none() }, sh!("chown -h -- {0}", owner))),
        );
        commands.extend(
            group
                .as_ref()
                .map(|group| each(Self { group: Some(group.clone()), ..none() }, sh!("chgrp -h -- {0}", group))),
        );
        // chown takes away setuid bits, so the mode comes after it.
        commands.extend(mode.as_ref().map(|mode| match mode {
            Mode::Bits(bits) => {
                each(Self { mode: Some(mode.clone()), ..none() }, sh!("chmod -- {0}", format!("{bits:04o}")))
            }
            Mode::Symbolic(text) => sh!("[ -L {0} ] || chmod -- {1} {0} || exit 1", operand, text),
            Mode::Preserve => sh!("[ -L {0} ] || chmod --reference=/proc/self/fd/8 {0} || exit 1", operand),
        }));
        commands
    }

    /// The commands that give an operand that is new these attributes; `before` is the file that it replaces.
    pub(super) fn of_new(&self, before: Option<&Present>, operand: &Sh) -> Vec<Sh> {
        let mut commands: Vec<Sh> = own(self.owner.as_deref(), self.group.as_deref(), operand).into_iter().collect();
        let mode = match (&self.mode, before) {
            (Some(Mode::Bits(bits)), _) => Some(format!("{bits:04o}")),
            (Some(mode @ Mode::Symbolic(_)), Some(before)) => {
                Some(format!("{:04o}", mode.wanted(before.mode, before.is_folder())))
            }
            (Some(Mode::Symbolic(text)), None) => Some(text.clone()),
            (Some(Mode::Preserve) | None, Some(before)) if !commands.is_empty() && before.mode > 0o777 => {
                Some(format!("{:04o}", before.mode))
            }
            _ => None,
        };
        commands.extend(mode.map(|mode| sh!("chmod -- {0} {1} || exit 1", mode, operand)));
        commands
    }
}

fn own(owner: Option<&str>, group: Option<&str>, operand: &Sh) -> Option<Sh> {
    let who = match (owner, group) {
        (None, None) => return None,
        (Some(owner), None) => owner.to_owned(),
        (owner, Some(group)) => format!("{}:{group}", owner.unwrap_or_default()),
    };
    Some(sh!("chown -h -- {0} {1} || exit 1", who, operand))
}

/// The usual facts about a path in a task's result.
pub(super) fn describe(present: &Present, into: &mut Map<String, Value>) {
    into.insert("mode".to_owned(), format!("{:04o}", present.mode).into());
    into.insert("owner".to_owned(), present.owner.clone().into());
    into.insert("group".to_owned(), present.group.clone().into());
    into.insert("uid".to_owned(), present.uid.into());
    into.insert("gid".to_owned(), present.gid.into());
    into.insert("size".to_owned(), present.size.into());
    let state = if present.is_folder() {
        "directory"
    } else if present.is_link() {
        "link"
    } else {
        "file"
    };
    into.insert("state".to_owned(), state.into());
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Mode, symbolic};

    #[test]
    fn symbolic_modes_are_those_of_chmod() {
        assert_eq!(symbolic("u=rwX,g=rX,o=", 0o600, true), Some(0o750));
        assert_eq!(symbolic("u=rwX,g=rX,o=", 0o600, false), Some(0o640));
        assert_eq!(symbolic("a+x", 0o644, false), Some(0o755));
        assert_eq!(symbolic("g-w,o-rwx", 0o666, false), Some(0o640));
        assert_eq!(symbolic("u+s", 0o755, false), Some(0o4755));
        assert_eq!(symbolic("rw", 0o644, false), None);
    }

    #[test]
    fn modes_are_octal_whatever_they_are_written_as() {
        assert_eq!(Mode::parse(&json!("0644")), Ok(Mode::Bits(0o644)));
        assert_eq!(Mode::parse(&json!("644")), Ok(Mode::Bits(0o644)));
        assert_eq!(Mode::parse(&json!(420)), Ok(Mode::Bits(0o644)));
        assert!(Mode::parse(&json!(644)).unwrap_err().contains("'0644'"));
        assert!(Mode::parse(&json!("rw")).is_err());
    }
}
