//! Probes: what modules ask a host before they decide. A [`Probe`] is made only of the questions in this file, and each of
//! them only reads, so that a probe may run early, twice, or in check mode.

use bytes::Bytes;

use super::script::{Sh, sh};
use crate::remote::ReadOnly;

/// A read-only script whose output decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    script: Sh,
    input: Option<Bytes>,
}

/// Which links a look at a path goes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Links {
    /// None: a link is a link.
    Kept,
    /// All of them.
    Followed,
    /// Those to folders.
    ToFolders,
}

/// What a copy does with files that are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Existing {
    /// It leaves them.
    Kept,
    /// It compares their content.
    Compared,
    /// It compares their content and their modes with those of the source.
    WithModes,
}

/// How checksums are computed, by the programs of coreutils.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Algorithm {
    /// MD5.
    Md5,
    /// SHA-1, Ansible's usual one.
    #[default]
    Sha1,
    /// SHA-224.
    Sha224,
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl Algorithm {
    /// The algorithm of a name.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            "md5" => Self::Md5,
            "sha1" => Self::Sha1,
            "sha224" => Self::Sha224,
            "sha256" => Self::Sha256,
            "sha384" => Self::Sha384,
            "sha512" => Self::Sha512,
            _ => return None,
        })
    }

    pub(super) fn program(self) -> Sh {
        match self {
            Self::Md5 => sh!("md5sum"),
            Self::Sha1 => sh!("sha1sum"),
            Self::Sha224 => sh!("sha224sum"),
            Self::Sha256 => sh!("sha256sum"),
            Self::Sha384 => sh!("sha384sum"),
            Self::Sha512 => sh!("sha512sum"),
        }
    }
}

/// How a server of PostgreSQL is asked: the environment of `psql`, and its arguments.
#[derive(Clone, Debug)]
pub(super) struct Psql {
    pub(super) environment: Sh,
    pub(super) arguments: Sh,
}

impl Probe {
    fn new(script: Sh) -> Self {
        Self { script, input: None }
    }

    /// The text of the script.
    #[must_use]
    pub fn text(&self) -> &str {
        self.script.text()
    }

    /// The script, for a request.
    #[must_use]
    pub fn read_only(&self) -> ReadOnly {
        ReadOnly::of(self.text())
    }

    /// What the script reads from its standard input, when it does; then it goes through a channel of its own.
    #[must_use]
    pub fn input(&self) -> Option<&Bytes> {
        self.input.as_ref()
    }

    /// The script itself, where a question is asked after a change.
    pub(super) fn into_script(self) -> Sh {
        self.script
    }

    /// Questions one after the other.
    pub(super) fn all(probes: impl IntoIterator<Item = Self>) -> Self {
        Self::new(Sh::join(probes.into_iter().map(|probe| probe.script), "; "))
    }

    /// One line about a path, for [`super::attributes::parse`].
    pub(super) fn path(path: &str, links: Links) -> Self {
        // The kind is in the bits of `%f`: `%F` is translated.
        let line = |there: Sh, look: Sh| {
            sh!(
                "if {2}; then {1} -c '%a|%u|%g|%U|%G|%s|%Y|%X|%Z|%i|%h|%d|%f' -- {0} | tr '\\n' '|'; \
                 readlink -n -- {0} 2>/dev/null | tr '\\n' '?'; echo; else echo absent; fi",
                path,
                look,
                there
            )
        };
        // A link that leads nowhere is something only where links are looked at themselves.
        let something = sh!("[ -e {0} ] || [ -L {0} ]", path);
        Self::new(match links {
            Links::Kept => line(something, sh!("stat")),
            Links::Followed => line(sh!("[ -e {0} ]", path), sh!("stat -L")),
            Links::ToFolders => line(something, sh!("$([ -d {0} ] && echo stat -L || echo stat)", path)),
        })
    }

    /// One line with the checksum of a regular file, or `-`.
    pub(super) fn checksum(path: &str, algorithm: Algorithm) -> Self {
        Self::new(sh!("{ [ -f {0} ] && {1} <{0}; } 2>/dev/null || echo -", path, algorithm.program()))
    }

    /// One line: a hyphen.
    pub(super) fn nothing() -> Self {
        Self::new(sh!("echo -"))
    }

    /// The path, or the path below it that has the name of another one when it is a folder; then its checksum as above.
    #[must_use]
    pub fn destination(path: &str, name: &str, algorithm: Algorithm) -> Self {
        Self::new(sh!(
            "p={0}; [ -d \"$p\" ] && p=\"${p%/}\"/{1}; printf '%s\\n' \"$p\"; \
             { [ -f \"$p\" ] && {2} <\"$p\" | cut -d' ' -f1; } 2>/dev/null || echo -",
            path,
            name,
            algorithm.program()
        ))
    }

    /// One line of three digits: whether we may read, write and execute.
    pub(super) fn rights(path: &str) -> Self {
        Self::new(sh!(
            "[ -r {0} ] && printf 1 || printf 0; [ -w {0} ] && printf 1 || printf 0; [ -x {0} ] && echo 1 || echo 0",
            path
        ))
    }

    /// One line with the kind of a file's content, `type; charset=set`, where `file` is installed.
    pub(super) fn mime(path: &str) -> Self {
        Self::new(sh!("file -b --mime -- {0} 2>/dev/null || echo", path))
    }

    /// One line with the attributes of a file as `lsattr` prints them, with its version before them.
    pub(super) fn flags(path: &str) -> Self {
        Self::new(sh!("lsattr -vd -- {0} 2>/dev/null | head -n 1 | grep . || echo", path))
    }

    /// The content of a regular file.
    pub(super) fn content(path: &str) -> Self {
        Self::new(sh!("[ -f {0} ] && cat -- {0} || :", path))
    }

    /// The content of a text file, unless it is large.
    #[must_use]
    pub fn small_text(path: &str) -> Self {
        Self::new(sh!("[ -f {0} ] && [ \"$(stat -L -c %s -- {0})\" -lt 262144 ] && cat -- {0} || :", path))
    }

    /// The content of a file in Base64; it fails where there is none.
    pub(super) fn base64(path: &str) -> Self {
        Self::new(sh!("base64 -w0 -- {0}", path))
    }

    /// One line: one of two words that say whether something is at a path; the path may be a pattern.
    pub(super) fn exists(pattern: &str, found: &'static str, missing: &'static str) -> Self {
        Self::new(sh!("set -- {0}; [ -e \"$1\" ] && echo {1} || echo {2}", Sh::pattern(pattern), found, missing))
    }

    /// One line, `there` or `missing`: whether a path leads to something.
    pub(super) fn exists_at(path: &str) -> Self {
        Self::new(sh!("[ -e {0} ] && echo there || echo missing", path))
    }

    /// One line with the device and the inode that a path leads to, or `missing`.
    pub(super) fn inode(path: &str) -> Self {
        Self::new(sh!("stat -L -c %d:%i -- {0} 2>/dev/null || echo missing", path))
    }

    /// A line for each owner, group or mode that something below a folder has other than wanted: one is enough to know.
    pub(super) fn differing_below(
        folder: &str, owner: Option<&str>, group: Option<&str>, mode: Option<u32>,
    ) -> Vec<Self> {
        let is_number = |text: &str| text.parse::<u32>().is_ok();
        let from = from(folder);
        let find = |test: Sh| Self::new(sh!("find {0} {1} -print 2>/dev/null | head -n 1", from, test));
        let mut probes = Vec::new();
        probes
            .extend(owner.map(|owner| {
                find(if is_number(owner) { sh!("! -uid {0}", owner) } else { sh!("! -user {0}", owner) })
            }));
        probes.extend(
            group.map(|group| {
                find(if is_number(group) { sh!("! -gid {0}", group) } else { sh!("! -group {0}", group) })
            }),
        );
        probes.extend(mode.map(|mode| find(sh!("! -type l ! -perm {0}", format!("{mode:o}")))));
        probes
    }

    /// A line `mode:BITS KIND` for each mode below a folder; both as `stat` prints `%a` and `%f`.
    pub(super) fn modes_below(folder: &str) -> Self {
        Self::new(sh!("find {0} ! -type l -exec stat -c 'mode:%a %f' -- '{}' + 2>/dev/null | sort -u", from(folder)))
    }

    /// What there is to know before a file is copied on the host itself: where to, whether source and destination are the
    /// same, and lines about both. Of a folder there is a line `own:` for each kind of attributes that its files have where they
    /// are copied to.
    pub(super) fn copy(src: &str, dest: &str, name: &str, target: &str, existing: Existing, links: Links) -> Self {
        let known_folder = if dest.ends_with('/') { "folder" } else { "" };
        let keep = if existing == Existing::Kept { sh!("keep") } else { sh!("") };
        let modes = if existing == Existing::WithModes {
            sh!(" && [ \"$(stat -c %a -- \"$s/$f\")\" = \"$(stat -c %a -- \"$t/$f\")\" ]")
        } else {
            Sh::default()
        };
        let dest = if dest.len() > 1 { dest.trim_end_matches('/') } else { dest };
        let look = match links {
            Links::Followed => sh!("stat -L"),
            _ => sh!("$([ -d \"$d\" ] && echo stat -L || echo stat)"),
        };
        Self::new(sh!(
            "s={0}; d={1}; t=; [ -e \"$s\" ] || { echo \"$s does not exist\" >&2; exit 1; }; \
             if [ -d \"$d\" ] && [ -f \"$s\" ]; then d=\"${d%/}\"/{2}; elif [ -n \"{3}\" ] && [ -f \"$s\" ]; then \
             echo \"the folder $d does not exist\" >&2; exit 1; fi; printf '%s\\n' \"$d\"; \
             if [ -f \"$s\" ] && cmp -s -- \"$s\" \"$d\"; then echo same; elif [ -d \"$s\" ] && t=$(cd -- {5} && pwd) 2>/dev/null && \
             ( cd -- \"$s\" && find . ) | while IFS= read -r f; do \
             if [ -e \"$t/$f\" ] && [ -n \"{6}\" ]; then :; elif [ -L \"$s/$f\" ]; then \
             [ \"$(readlink -- \"$s/$f\")\" = \"$(readlink -- \"$t/$f\")\" ] || exit 1; elif [ -d \"$s/$f\" ]; then \
             [ -d \"$t/$f\" ] || exit 1; elif [ -f \"$s/$f\" ]; then cmp -s -- \"$s/$f\" \"$t/$f\"{7} || exit 1; fi; done; \
             then echo same; else echo differs; fi; \
             stat -L -c '%a|%u|%g|%U|%G|%s|%Y|%X|%Z|%i|%h|%d|%f|' -- \"$s\"; \
             if [ -e \"$d\" ] || [ -L \"$d\" ]; then {4} -c '%a|%u|%g|%U|%G|%s|%Y|%X|%Z|%i|%h|%d|%f' -- \"$d\" | tr '\\n' '|'; \
             readlink -n -- \"$d\" 2>/dev/null | tr '\\n' '?'; echo; else echo absent; fi; \
             { [ -f \"$s\" ] && sha1sum <\"$s\"; } 2>/dev/null || echo -; \
             if [ -d \"$s\" ] && [ -n \"$t\" ]; then ( cd -- \"$s\" && find . -print0 ) | \
             ( cd -- \"$t\" && xargs -0 -r stat -c 'own:%u|%U|%g|%G|%a|%f' -- ) 2>/dev/null | sort -u; fi",
            src,
            dest,
            name,
            Sh::literal(known_folder),
            look,
            target,
            keep,
            modes
        ))
    }

    /// Whether a folder holds what an archive holds: `folder` when there is no folder, then `same` or `differs`, and for an archive on
    /// the host a line `own:` for each file. `settings` are those of `archive.sh`, which it defines.
    pub(super) fn archive(settings: &Sh, folder: &str, options: &[String], input: Option<Bytes>) -> Self {
        let owners = if input.is_none() { sh!(" && owners {0}", options.to_vec()) } else { Sh::default() };
        let script = sh!(
            "[ -d {0} ] || { echo folder; exit 0; }; {1}\ncd -- {0} || exit 1\ncompare {2}{3}",
            folder,
            settings.clone(),
            options.to_vec(),
            owners
        );
        Self { input, ..Self::new(script) }
    }

    /// `folder` when there is no such folder.
    pub(super) fn is_folder(folder: &str) -> Self {
        Self::new(sh!("[ -d {0} ] || echo folder", folder))
    }

    /// The line of a name in one of the databases `passwd`, `group`, `shadow`; an empty one when there is none.
    pub(super) fn entry(database: &'static str, name: &str) -> Self {
        Self::new(sh!("getent -- {0} {1} 2>/dev/null || echo", database, name))
    }

    /// One line with the groups of a user, the main one first.
    pub(super) fn groups(user: &str) -> Self {
        Self::new(sh!("id -Gn -- {0} 2>/dev/null || echo", user))
    }

    /// One line with the age of apt's package lists in seconds; no lists at all are very old.
    pub(super) fn age_of_package_lists() -> Self {
        Self::new(sh!(
            "set -- /var/lib/apt/lists/*_Packages*; m=0; [ -e \"$1\" ] && m=$(stat -c %Y /var/lib/apt/lists); \
             echo $(( $(date +%s) - m ))"
        ))
    }

    /// A line for each package that dpkg knows.
    pub(super) fn packages(names: &[String]) -> Self {
        Self::new(sh!(
            "dpkg-query -W -f '${binary:Package} ${db:Status-Status} ${Version} ${Provides}\\n' -- {0} 2>/dev/null || :",
            names.to_vec()
        ))
    }

    /// A line `+latest NAME` for each package that apt would install or upgrade; `!latest` and the reason when it cannot say.
    pub(super) fn pending(names: &[String], release: Option<&str>) -> Self {
        Self::simulated(sh!("latest"), release, &sh!("install -- {0}", names.to_vec()))
    }

    /// A line `+upgrade NAME` for each package that apt would upgrade in this way; `!upgrade` and the reason when it cannot say.
    pub(super) fn upgradable(verb: &Sh, release: Option<&str>) -> Self {
        Self::simulated(sh!("upgrade"), release, verb)
    }

    fn simulated(question: Sh, release: Option<&str>, words: &Sh) -> Self {
        let release = release.map_or_else(Sh::default, |release| sh!(" -t {0}", release));
        Self::new(sh!(
            "if o=$(apt-get -s -q{2} {1} 2>&1); then printf '%s\\n' \"$o\" | sed -n 's/^Inst /+{0} /p'; \
             else printf '!{0} %s\\n' \"$(printf '%s\\n' \"$o\" | grep '^E: ' | tr '\\n' ' ')\"; fi",
            question,
            words,
            release
        ))
    }

    /// `+deb` when the package of a file is not installed in its version; `!deb` when there is no package in it.
    pub(super) fn package_file(path: &str) -> Self {
        Self::new(sh!(
            "if n=$(dpkg-deb -f {0} Package 2>/dev/null) && v=$(dpkg-deb -f {0} Version 2>/dev/null); then \
             [ \"$(dpkg-query -W -f '${Version}' -- \"$n\" 2>/dev/null)\" = \"$v\" ] || echo +deb; \
             else echo '!deb' it holds no package; fi",
            path
        ))
    }

    /// Lines `KEY=VALUE` about a unit of systemd.
    pub(super) fn unit(name: &str) -> Self {
        Self::new(sh!(
            "systemctl show -p LoadState -p ActiveState -p UnitFileState -p NeedDaemonReload -- {0}; \
             echo \"Enabled=$(systemctl is-enabled -- {0} 2>/dev/null)\"",
            name
        ))
    }

    /// One line, `now` or `wait`: whether a test succeeds.
    pub(super) fn test(test: &Test) -> Self {
        Self::new(sh!("if {0}; then echo now; else echo wait; fi", test.0))
    }

    /// The rows of a query, as CSV with a header. The server refuses whatever would change something.
    pub(super) fn query(psql: &Psql, sql: &str) -> Self {
        Self::new(sh!("{0}printf '%s\\n' {1} | {2}", psql.environment, read_only(sql), psql.arguments))
    }

    /// The rows of a query, or where the server refuses it those of another one.
    pub(super) fn query_or(psql: &Psql, sql: &str, otherwise: &str) -> Self {
        Self::new(sh!(
            "{0}{ printf '%s\\n' {1} | {2}; } 2>/dev/null || printf '%s\\n' {3} | {2}",
            psql.environment,
            read_only(sql),
            psql.arguments,
            read_only(otherwise)
        ))
    }
}

/// A condition on a host that is waited for.
#[derive(Clone, Debug)]
pub(super) struct Test(Sh);

impl Test {
    /// Whether something is at a path.
    pub(super) fn exists(path: &str) -> Self {
        Self(sh!("[ -e {0} ]", path))
    }

    /// Whether a line of a file matches.
    pub(super) fn matches(path: &str, regex: &str) -> Self {
        Self(sh!("grep -qP -e {0} -- {1} 2>/dev/null", regex, path))
    }

    /// Whether something listens on a port of this host, by the kernel's table.
    pub(super) fn listens(port: u16) -> Self {
        let line = format!("^ *[0-9]+: [0-9A-F]+:{port:04X} [0-9A-F]+:0000 0A ");
        Self(sh!("grep -qiE -e {0} /proc/net/tcp /proc/net/tcp6 2>/dev/null", line))
    }

    /// Whether a port of a host takes connections. That needs bash, which every Debian has.
    pub(super) fn answers(host: &str, port: u16, seconds: u64) -> Self {
        Self(sh!("timeout {0} bash -c 'exec 3<>\"/dev/tcp/$0/$1\"' {1} {2} 2>/dev/null", seconds, host, port))
    }

    /// Whether what a port of a host sends first matches.
    pub(super) fn says(host: &str, port: u16, seconds: u64, regex: &str) -> Self {
        Self(sh!(
            "timeout {0} bash -c 'exec 3<>\"/dev/tcp/$0/$1\" && cat <&3' {1} {2} 2>/dev/null | grep -aqP -e {3}",
            seconds,
            host,
            port,
            regex
        ))
    }

    /// The contrary.
    pub(super) fn not(self) -> Self {
        Self(sh!("! { {0}; }", self.0))
    }

    pub(super) fn script(&self) -> &Sh {
        &self.0
    }
}

/// A query in a transaction in which nothing can be changed.
fn read_only(sql: &str) -> String {
    format!("BEGIN TRANSACTION READ ONLY;\n{};\nCOMMIT;", sql.trim().trim_end_matches(';'))
}

/// Where `find` begins: it knows no `--`.
pub(super) fn from(folder: &str) -> String {
    if folder.starts_with('-') { format!("./{folder}") } else { folder.to_owned() }
}
