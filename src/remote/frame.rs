//! How scripts are written into a shell, and how their answers are separated.
//!
//! No program that runs on a machine ever holds the streams of the shell. The scripts of a request run in groups, each
//! group with two pipes of its own; a relay (`sed`) copies them to the streams up to a random word, and ends there, even
//! when a process that was left behind in the background keeps the pipes open. What such a process prints later goes
//! nowhere. Every step is a group by itself; probes, which leave nothing behind, share one.
//!
//! Each script runs as `(eval '...') </dev/null`, so that a syntax error, an `exit` or a `cd` stays in its subshell. The
//! marks between the answers are made for one request and appear neither in arguments nor in variables of any process.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{Locale, Script, quote};
use crate::error::Result;

/// How much memory a relay may take, in KiB: a line is held as a whole.
const RELAY_MEMORY: usize = 256 << 10;

/// The marks of one request.
pub(super) struct Mark(String);

/// What follows a mark.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sign {
    /// A script has ended, on standard output with its status.
    Script(Option<i32>),
    /// A group has ended.
    Group,
}

impl Mark {
    pub(super) fn new() -> Result<Self> {
        Ok(Self(format!("--{}:", crate::identity::random_text(20)?)))
    }

    /// The commands that print a sign on both streams.
    fn print(&self, sign: &str) -> String {
        let mark = &self.0;
        format!("printf '\\n%s\\n' {mark}{sign} && printf '\\n%s\\n' {mark}{sign} >&2")
    }

    /// What a new shell runs first: a usual state whatever the start files did, and a sign that it is there.
    pub(super) fn greeting(&self) -> String {
        format!("unalias -a 2>/dev/null; set +aefnuvxC; IFS=' \t\n'; {}\n", self.print("g"))
    }

    /// The first sign in a stream from `from` on: where its text begins, where what follows it begins, and which it is.
    /// Without one, from where to look when more has come.
    pub(super) fn find(&self, bytes: &[u8], from: usize) -> Result<(usize, usize, Sign), usize> {
        let mark = self.0.as_bytes();
        let mut at = from;
        while let Some(line) = bytes[at..].iter().position(|byte| *byte == b'\n').map(|found| at + found) {
            let rest = &bytes[line + 1..];
            let Some(sign) = rest.strip_prefix(mark) else {
                if mark.starts_with(rest) {
                    return Err(line);
                }
                at = line + 1;
                continue;
            };
            let Some(end) = sign.iter().position(|byte| *byte == b'\n') else { return Err(line) };
            let after = line + 1 + mark.len() + end + 1;
            let sign = match &sign[..end] {
                b"g" => Sign::Group,
                status => Sign::Script(std::str::from_utf8(status).ok().and_then(|text| text.parse().ok())),
            };
            return Ok((line, after, sign));
        }
        Err(bytes.len())
    }

    /// How many scripts have ended in a stream, and how many bytes come after the last of their signs.
    pub(super) fn count(&self, bytes: &[u8]) -> (usize, usize) {
        let (mut count, mut at) = (0, 0);
        while let Ok((_, after, sign)) = self.find(bytes, at) {
            count += usize::from(sign != Sign::Group);
            // The sign's own line end may begin the next one.
            at = after - 1;
        }
        (count, bytes.len() - at)
    }

    /// The text of a request.
    pub(super) fn request(&self, groups: &[&[Script]]) -> Result<String> {
        let mut text = String::from("infra_go=y\n");
        for group in groups {
            let word = format!("--{}--", crate::identity::random_text(20)?);
            let scripts: String = group.iter().map(|script| self.script(script)).collect();
            let relay = |stream: u8| {
                format!(
                    "{{ LC_ALL=C; export LC_ALL; ulimit -v {RELAY_MEMORY} 2>/dev/null; \
                     exec sed -n '/^{word}$/q;p' >&{stream} 2>/dev/null 3>&- 4>&- 5>&- 6>&-; }}"
                )
            };
            // A step says itself that it succeeded; probes only have to come to their end.
            let done = if group.iter().any(|script| script.must_succeed) { "" } else { "printf y >&4; " };
            // 3 is the pipe of standard error, 4 says whether to go on, 5 and 6 are the streams.
            text += &format!(
                "if [ \"$infra_go\" = y ]; then {{ infra_go=$({{ {{ {{\n{scripts}{done}\
                 printf '\\n%s\\n' {word}; printf '\\n%s\\n' {word} >&2\n\
                 }} 2>&3 3>&- 5>&- 6>&- | {}; }} 3>&1 | {}; }} 4>&1); }} 5>&1 6>&2; fi\n",
                relay(5),
                relay(6),
            );
            // A shell that no one listens to any more must not go on with the next step.
            text += &format!("{} || exit 1\n", self.print("g"));
        }
        Ok(text)
    }

    fn script(&self, script: &Script) -> String {
        let mark = &self.0;
        // The text is quoted whole, so it is always one command; its own quotes are undone by `eval`.
        let body = quote(&script.text);
        let locale = match script.locale {
            Locale::C => "LC_ALL=C; export LC_ALL; ",
            Locale::Machine => "",
        };
        let go = if script.must_succeed { "[ $infra_rc -ne 0 ] || printf y >&4; " } else { "" };
        format!(
            "({locale}eval {body}) </dev/null 4>&-; infra_rc=$?; {go}\
             printf '\\n%s%s\\n' {mark} $infra_rc; printf '\\n%s\\n' {mark} >&2\n"
        )
    }
}

/// The groups in which scripts run.
pub(super) fn groups(scripts: &[Script]) -> Vec<&[Script]> {
    scripts.chunk_by(|one, next| !one.must_succeed && !next.must_succeed).collect()
}

/// A command that runs the script in the first line of its standard input, with the rest of it as the script's own: arguments
/// can be seen by everybody on a host.
pub(super) const RECEIVE: &str =
    r#"LC_ALL=C; export LC_ALL; IFS= read -r infra && infra=$(printf %s "$infra" | base64 -d) && eval "$infra""#;

/// The first line that [`RECEIVE`] reads.
pub(super) fn first_line(script: &str) -> Vec<u8> {
    let mut bytes = STANDARD.encode(script).into_bytes();
    bytes.push(b'\n');
    bytes
}

#[cfg(test)]
mod tests {
    use super::{Mark, Sign};

    #[test]
    fn signs_are_found_wherever_the_stream_is_cut() {
        let mark = Mark("--m:".into());
        let text = b"a\n--m\n--m:7\nrest\n--m:g\n";
        assert_eq!(mark.find(text, 0), Ok((5, 12, Sign::Script(Some(7)))));
        assert_eq!(mark.find(text, 11), Ok((16, 23, Sign::Group)));
        for end in 0..12 {
            let from = mark.find(&text[..end], 0).unwrap_err();
            assert_eq!(mark.find(text, from), Ok((5, 12, Sign::Script(Some(7)))), "{end}");
        }
    }
}
