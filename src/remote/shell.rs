//! A long-lived `sh` behind two streams: requests go in as text, answers come out between marks (see [`super::frame`]).
//!
//! What a machine may cost is limited here: how much it prints, how long its shell takes to start, how long it leaves our
//! bytes unread, and how long scripts that are our own may take.

use std::{pin::Pin, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout,
};

use super::{
    Feed, Output, Script, Source,
    frame::{self, Mark, Sign},
    inbox::{self, Printed, REQUEST_LIMIT, Reader},
};
use crate::error::{Context, Error, Result};

/// How much one script may print, on both streams together.
pub const ANSWER_LIMIT: usize = 16 << 20;
/// How long a shell may take until it runs scripts. Start files and `sudo` are part of it.
pub const START_LIMIT: Duration = Duration::from_secs(30);
/// How long a machine may leave unread what is written to it.
pub const WRITE_LIMIT: Duration = Duration::from_mins(1);
/// How long a request of probes may take.
pub const PROBE_LIMIT: Duration = Duration::from_mins(10);
/// How long a small change of this program's own may take, such as the removal of a folder.
pub const CHANGE_LIMIT: Duration = Duration::from_mins(10);

/// How many bytes are written at once.
const PIECE: usize = 64 << 10;

/// The caller's end of a shell.
pub struct Shell {
    input: Pin<Box<dyn AsyncWrite + Send>>,
    reader: Reader,
    /// The user that the shell is another one's for.
    user: Option<String>,
    /// The sign of life of a new shell.
    greeting: Option<Mark>,
    usable: bool,
}

/// What comes next out of a shell.
enum Piece {
    Answer(Output),
    GroupEnd,
    /// Why, and how many scripts come before the one that printed it, whose answers are not read to their end either.
    TooLong(String, usize),
}

/// How far a stream has been searched, or the sign that was found in it.
#[derive(Default)]
struct Search {
    from: usize,
    found: Option<(usize, usize, Sign)>,
}

impl Search {
    fn look(&mut self, mark: &Mark, bytes: &[u8]) {
        if self.found.is_none() {
            match mark.find(bytes, self.from) {
                Ok(found) => self.found = Some(found),
                Err(from) => self.from = from,
            }
        }
    }

    /// How many bytes come before the sign, as far as is known.
    fn length(&self, bytes: &[u8]) -> usize {
        self.found.as_ref().map_or(bytes.len(), |(end, ..)| *end)
    }

    /// Takes out what comes before the sign, and the sign.
    fn take(&mut self, bytes: &mut Vec<u8>) -> Vec<u8> {
        let Some((end, after, _)) = std::mem::take(self).found else { return Vec::new() };
        let mut text: Vec<u8> = bytes.drain(..after).collect();
        text.truncate(end);
        text
    }
}

impl Shell {
    /// A shell that reads `input`, and where to put what it prints; `user` is whom it belongs to, unless that is the login.
    ///
    /// # Errors
    /// When the machine has no random numbers.
    pub fn new(input: impl AsyncWrite + Send + 'static, user: Option<&str>) -> Result<(Self, Feed)> {
        let (feed, reader) = inbox::inbox();
        let greeting = Some(Mark::new()?);
        let user = user.map(str::to_owned);
        Ok((Self { input: Box::pin(input), reader, user, greeting, usable: true }, feed))
    }

    /// Whether another request can be sent.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.usable
    }

    /// Runs scripts in one round trip. When one of them prints too much or its user cannot be become, that is its answer's
    /// `failure`.
    ///
    /// # Errors
    /// When the shell has ended or never starts, with what it printed last.
    pub async fn run(&mut self, scripts: &[Script]) -> Result<Vec<Output>> {
        // Until all answers are there, what is left of them would be taken for those of the next request.
        self.usable = false;
        match time_of(scripts) {
            None => self.request(scripts).await,
            Some(limit) => timeout(limit, self.request(scripts)).await.unwrap_or_else(|_| Err(unanswered(limit))),
        }
    }

    async fn request(&mut self, scripts: &[Script]) -> Result<Vec<Output>> {
        let mark = Mark::new()?;
        let groups = frame::groups(scripts);
        let greeting = self.greeting.take();
        let mut text = greeting.as_ref().map(Mark::greeting).unwrap_or_default();
        text += &mark.request(&groups)?;
        {
            let mut printed = self.reader.printed();
            if greeting.is_none() && printed.ended.is_none() {
                (printed.out, printed.err) = (Vec::new(), Vec::new());
            }
            printed.taken = 0;
        }
        let written = self.write(text.as_bytes()).await;
        if let Some(greeting) = greeting
            && let Some(refusal) = self.start(&greeting).await?
        {
            let mut outputs = vec![Output::default(); scripts.len()];
            if let Some(first) = outputs.first_mut() {
                first.failure = Some(refusal);
            }
            return Ok(outputs);
        }
        if let (Err(error), None) = (written, self.reader.printed().ended) {
            return Err(error);
        }
        let mut outputs = Vec::with_capacity(scripts.len());
        let mut stopped = false;
        for group in groups {
            let end = outputs.len() + group.len();
            let cut = self.group(&mark, group.len(), &mut outputs).await?;
            if let Some((why, before)) = cut {
                outputs.resize((outputs.len() + before).min(end - 1), Output::default());
                outputs.push(Output { failure: Some(why), ..Output::default() });
                outputs.resize(scripts.len(), Output::default());
                return Ok(outputs);
            }
            if outputs.len() < end {
                if !stopped {
                    let why = "what it printed ends before its end: it printed a line that is too long, or ended the shell \
                               that it ran in";
                    outputs.push(Output { failure: Some(why.to_owned()), ..Output::default() });
                }
                outputs.resize(end, Output::default());
                stopped = true;
            }
            stopped |= group[0].must_succeed && outputs.last().is_some_and(|output| output.status != Some(0));
        }
        self.usable = true;
        Ok(outputs)
    }

    /// Reads the answers of a group up to its end, or says why it is not read to its end.
    async fn group(&mut self, mark: &Mark, count: usize, outputs: &mut Vec<Output>) -> Result<Option<(String, usize)>> {
        let end = outputs.len() + count;
        let mut unpaired = count;
        loop {
            match self.next(mark, &mut unpaired).await? {
                Piece::Answer(output) if outputs.len() < end => outputs.push(output),
                Piece::Answer(_) => return Err(unasked()),
                Piece::GroupEnd => return Ok(None),
                Piece::TooLong(why, before) => return Ok(Some((why, before))),
            }
        }
    }

    /// The next piece. `unpaired` is how many answers of the group may still be on one stream only.
    async fn next(&mut self, mark: &Mark, unpaired: &mut usize) -> Result<Piece> {
        let (mut out, mut err) = (Search::default(), Search::default());
        loop {
            {
                let mut guard = self.reader.printed();
                let printed = &mut *guard;
                out.look(mark, &printed.out);
                err.look(mark, &printed.err);
                if out.length(&printed.out) + err.length(&printed.err) > ANSWER_LIMIT {
                    return Ok(too_long(0));
                }
                let before = printed.out.len() + printed.err.len();
                let signs = (out.found.as_ref().map(|found| &found.2), err.found.as_ref().map(|found| &found.2));
                let piece = match signs {
                    (Some(Sign::Script(status)), Some(Sign::Script(_))) => {
                        let status = *status;
                        let (stdout, stderr) = (out.take(&mut printed.out), err.take(&mut printed.err));
                        Some(Piece::Answer(Output { status, stdout, stderr, failure: None }))
                    }
                    (Some(Sign::Group), Some(Sign::Group)) => {
                        out.take(&mut printed.out);
                        err.take(&mut printed.err);
                        Some(Piece::GroupEnd)
                    }
                    // A script that ended the shell of its group may have left an answer on one stream only.
                    (Some(Sign::Group), Some(Sign::Script(_))) | (Some(Sign::Script(_)), Some(Sign::Group)) => {
                        if out.found.as_ref().is_some_and(|found| found.2 == Sign::Group) {
                            err.take(&mut printed.err);
                        } else {
                            out.take(&mut printed.out);
                        }
                        printed.taken += before - printed.out.len() - printed.err.len();
                        *unpaired = unpaired.checked_sub(1).ok_or_else(unasked)?;
                        continue;
                    }
                    _ => None,
                };
                if let Some(piece) = piece {
                    printed.taken += before - printed.out.len() - printed.err.len();
                    return Ok(piece);
                }
                if printed.flooded {
                    // A relay keeps the last bytes of the quiet stream back, and with them the sign of what came before.
                    let loud = if printed.out.len() > printed.err.len() { &printed.out } else { &printed.err };
                    let (before, last) = mark.count(loud);
                    if last > ANSWER_LIMIT {
                        return Ok(too_long(before));
                    }
                    let limit = REQUEST_LIMIT >> 20;
                    let why = format!("the answers of one request are longer than {limit} MiB");
                    return Ok(Piece::TooLong(why, before));
                }
                if printed.ended.is_some() {
                    return Err(lost(printed));
                }
            }
            self.reader.changed().await;
        }
    }

    /// Waits until a new shell runs scripts, whatever its start files print. When the user cannot be become: why.
    async fn start(&mut self, greeting: &Mark) -> Result<Option<String>> {
        match timeout(START_LIMIT, self.greeted(greeting)).await {
            Ok(started) => started,
            Err(_) => {
                let whose = self.user.as_ref().map_or_else(|| "the login".to_owned(), |user| format!("`{user}`"));
                Err(Error::new(format!("the shell of {whose} did not start within {} s", START_LIMIT.as_secs()))
                    .hint("look at its login shell and at the files that it reads when it starts"))
            }
        }
    }

    async fn greeted(&mut self, greeting: &Mark) -> Result<Option<String>> {
        let (mut out, mut err) = (Search::default(), Search::default());
        loop {
            {
                let mut guard = self.reader.printed();
                let printed = &mut *guard;
                out.look(greeting, &printed.out);
                err.look(greeting, &printed.err);
                if out.found.is_some() && err.found.is_some() {
                    out.take(&mut printed.out);
                    err.take(&mut printed.err);
                    return Ok(None);
                }
                if printed.flooded {
                    return Err(Error::new("the start files of the shell print without end"));
                }
                if let Some(end) = printed.ended {
                    return match (&self.user, end.status) {
                        (Some(user), status) => Ok(Some(refusal(user, status, &said(printed)))),
                        (None, Some(status)) => {
                            let said = said(printed);
                            let error = Error::new(format!(
                                "the login shell ended with status {status} before it ran anything"
                            ));
                            let error = if said.is_empty() { error } else { Error::new(said).context(error.message()) };
                            Err(error.hint("is it `/bin/false` or `nologin`? Scripts need a login with a shell"))
                        }
                        (None, None) => Err(lost(printed)),
                    };
                }
            }
            self.reader.changed().await;
        }
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        for piece in bytes.chunks(PIECE) {
            match timeout(WRITE_LIMIT, self.input.write_all(piece)).await {
                Ok(written) => written.context(|| "the connection is lost")?,
                Err(_) => return Err(unread()),
            }
        }
        match timeout(WRITE_LIMIT, self.input.flush()).await {
            Ok(flushed) => flushed.context(|| "the connection is lost"),
            Err(_) => Err(unread()),
        }
    }
}

/// Copies a source to a machine, piece by piece. One that ends before it has read everything says itself why; one that does not
/// read is given up.
pub(super) async fn pour(source: &mut Source<'_>, to: &mut (impl AsyncWrite + Unpin)) -> Result<()> {
    let mut piece = vec![0; PIECE];
    loop {
        let count = source.read(&mut piece).await?;
        if count == 0 {
            return Ok(());
        }
        match timeout(WRITE_LIMIT, to.write_all(&piece[..count])).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Ok(()),
            Err(_) => return Err(unread()),
        }
    }
}

/// Sends, and waits for the answer: as long as bytes are read, and after the last one as long as the script may take.
pub(super) async fn finish(
    script: &Script, send: impl Future<Output = Result<()>>, receive: impl Future<Output = Result<Output>>,
) -> Result<Output> {
    tokio::pin!(send, receive);
    tokio::select! {
        sent = &mut send => sent?,
        output = &mut receive => return output,
    }
    match script.limit {
        None => receive.await,
        Some(limit) => timeout(limit, receive).await.unwrap_or_else(|_| Err(unanswered(limit))),
    }
}

/// How long the scripts of a request may take together: a step is what an author asked for, which may take hours.
fn time_of(scripts: &[Script]) -> Option<Duration> {
    scripts.iter().try_fold(PROBE_LIMIT, |most, script| script.limit.map(|limit| most.max(limit)))
}

fn unanswered(limit: Duration) -> Error {
    Error::new(format!("no answer within {} minutes", limit.as_secs() / 60))
}

/// What a script prints that has a channel of its own.
#[derive(Default)]
pub(super) struct Answer(Output);

impl Answer {
    /// Takes in a piece of standard output. `false` means that it was too much: the script is not listened to any more.
    pub(super) fn out(&mut self, bytes: &[u8]) -> bool {
        self.take(bytes, |output| &mut output.stdout)
    }

    /// Takes in a piece of standard error.
    pub(super) fn err(&mut self, bytes: &[u8]) -> bool {
        self.take(bytes, |output| &mut output.stderr)
    }

    fn take(&mut self, bytes: &[u8], stream: impl FnOnce(&mut Output) -> &mut Vec<u8>) -> bool {
        let output = &mut self.0;
        if output.stdout.len() + output.stderr.len() + bytes.len() > ANSWER_LIMIT {
            output.failure = Some(printed_too_much());
        }
        if output.failure.is_none() {
            stream(output).extend_from_slice(bytes);
        }
        output.failure.is_none()
    }

    /// The whole answer, of a script that has ended in this way.
    pub(super) fn end(self, status: Option<i32>) -> Output {
        Output { status, ..self.0 }
    }
}

fn printed_too_much() -> String {
    let limit = ANSWER_LIMIT >> 20;
    format!("it printed more than {limit} MiB, and was stopped: write what it prints to a file on the machine")
}

fn too_long(before: usize) -> Piece {
    Piece::TooLong(printed_too_much(), before)
}

/// A machine that answers more scripts than it was sent.
fn unasked() -> Error {
    Error::new("the machine answers what it was not asked")
}

/// A machine that does not read what is written to it.
pub(super) fn unread() -> Error {
    Error::new(format!("the machine has not read for {} s what was sent to it", WRITE_LIMIT.as_secs()))
}

/// What a shell that has ended printed last, as far as it says why.
fn said(printed: &Printed) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(4096)..]).trim().to_owned();
    let err = text(&printed.err);
    if err.is_empty() { text(&printed.out) } else { err }
}

fn lost(printed: &Printed) -> Error {
    let said = String::from_utf8_lossy(&printed.err[printed.err.len().saturating_sub(4096)..]).trim().to_owned();
    if said.is_empty() { Error::new("the connection is lost") } else { Error::new(said).context("the shell ended") }
}

/// Why there is no shell of another user.
fn refusal(user: &str, status: Option<u32>, said: &str) -> String {
    let says = |texts: &[&str]| texts.iter().any(|text| said.contains(text));
    if says(&["sudo: not found", "sudo: command not found", "sudo: No such file"]) {
        return format!("cannot become `{user}`: `sudo` is not installed on the machine");
    }
    if says(&["a password is required", "a terminal is required"]) {
        return format!(
            "cannot become `{user}`: `sudo` asks for a password; allow the login to use it without one (`NOPASSWD` in \
             /etc/sudoers.d)"
        );
    }
    if says(&["not in the sudoers file", "is not allowed to", "may not run sudo"]) {
        return format!("cannot become `{user}`: `sudo` does not allow it to the login: {said}");
    }
    if says(&["unknown user", "invalid user"]) {
        return format!("cannot become `{user}`: there is no such user on the machine");
    }
    let ended = status.map_or_else(String::new, |status| format!(" with status {status}"));
    let said = if said.is_empty() { String::new() } else { format!(": {said}") };
    format!("cannot become `{user}`: its shell ended{ended} before it ran anything{said}")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;

    use super::{ANSWER_LIMIT, Answer, PROBE_LIMIT, Shell, finish, time_of};
    use crate::remote::{Local, ReadOnly, Script, Transport};

    fn probe(text: impl Into<String>) -> Script {
        Script::probe(ReadOnly::of(text))
    }

    fn scripts(texts: &[&str]) -> Vec<Script> {
        texts.iter().map(|text| probe(*text)).collect()
    }

    #[test]
    fn each_kind_of_script_has_a_time_of_its_own() {
        let (probe, change) = (probe("look"), Script::change("mkfs", Duration::from_hours(4)));
        assert_eq!(time_of(&[]), Some(PROBE_LIMIT));
        assert_eq!(time_of(std::slice::from_ref(&probe)), Some(PROBE_LIMIT));
        assert_eq!(time_of(&[probe.clone(), change]), Some(Duration::from_hours(4)));
        assert_eq!(time_of(&[probe, Script::step("restore")]), None);
    }

    #[tokio::test]
    async fn scripts_are_framed_whatever_they_print() {
        let local = Local::default();
        let outputs = local
            .exec(
                None,
                &scripts(&[
                    "printf 'no newline'",
                    "echo out; echo err >&2; exit 3",
                    "this is 'not shell",
                    "cat; cd /; x=1",
                    "echo \"$x-$(pwd)\" | grep -c /",
                    "printf '\\n--fake--0\\n'",
                ]),
            )
            .await
            .unwrap();
        assert_eq!((outputs[0].out().as_str(), outputs[0].status), ("no newline", Some(0)));
        assert_eq!((outputs[1].out(), outputs[1].err(), outputs[1].status), ("out\n".into(), "err\n".into(), Some(3)));
        assert_ne!(outputs[2].status, Some(0));
        assert_eq!((outputs[3].out().as_str(), outputs[3].status), ("", Some(0)));
        assert_eq!(outputs[4].out(), "1\n");
        assert_eq!(outputs[5].out(), "\n--fake--0\n");
        // The shell is still there.
        assert_eq!(local.exec(None, &scripts(&["echo again"])).await.unwrap()[0].out(), "again\n");
    }

    #[tokio::test]
    async fn a_failed_step_skips_what_follows() {
        let local = Local::default();
        let request = [Script::step("true"), Script::step("false"), probe("echo never")];
        let outputs = local.exec(None, &request).await.unwrap();
        assert_eq!(outputs.iter().map(|output| output.status).collect::<Vec<_>>(), [Some(0), Some(1), None]);
        assert!(outputs[2].stdout.is_empty());
        // The next request begins from the start.
        assert_eq!(local.exec(None, &request[..1]).await.unwrap()[0].status, Some(0));
    }

    /// What an author asks for may take hours, also when it is sent with bytes; a question of ours may not.
    #[tokio::test(start_paused = true)]
    async fn a_step_that_is_sent_has_no_limit_of_time() {
        let hours = || async {
            tokio::time::sleep(Duration::from_hours(3)).await;
            Ok(Answer::default().end(Some(0)))
        };
        let sent = || std::future::ready(Ok(()));
        assert!(finish(&Script::step("restore"), sent(), hours()).await.unwrap().succeeded());
        let error = finish(&probe("look"), sent(), hours()).await.unwrap_err();
        assert_eq!(error.to_string(), "no answer within 10 minutes");
    }

    #[tokio::test]
    async fn a_sent_script_that_prints_too_much_fails() {
        let local = Local::default();
        for stream in ["1", "2"] {
            let text = format!("cat >/dev/null; head -c {} /dev/zero >&{stream}", ANSWER_LIMIT + 1);
            let output = local.send(None, &Script::step(text), Bytes::from_static(b"x")).await.unwrap();
            assert!(output.failure.is_some_and(|why| why.contains("more than 16 MiB")));
        }
        let text = format!("cat; head -c {} /dev/zero", 1 << 20);
        let output = local.send(None, &Script::step(text), Bytes::from_static(b"x")).await.unwrap();
        assert_eq!((output.stdout.len(), output.failure), ((1 << 20) + 1, None), "nothing is cut off below the limit");
    }

    #[tokio::test]
    async fn a_script_reads_what_is_sent_with_it() {
        let local = Local::default();
        let input = bytes::Bytes::from(vec![b'\n'; 300_000]);
        let output = local.send(None, &Script::step("wc -c; echo 'it'\\''s'; exit 3"), input.clone()).await.unwrap();
        assert_eq!((output.out().as_str(), output.status), ("300000\nit's\n", Some(3)));
        // Nothing breaks where a script does not want it.
        assert_eq!(local.send(None, &Script::step("echo no >&2; exit 1"), input).await.unwrap().err(), "no\n");
    }

    #[tokio::test]
    async fn large_outputs_and_scripts_pass() {
        let local = Local::default();
        let long = "x".repeat(300_000);
        let outputs = local.exec(None, &[probe(format!("printf %s {long}; printf %s {long} >&2"))]).await.unwrap();
        assert_eq!((outputs[0].stdout.len(), outputs[0].stderr.len()), (300_000, 300_000));
    }

    /// A process that is left in the background keeps its own pipes open, and nothing of ours.
    #[tokio::test]
    async fn what_is_left_in_the_background_writes_into_no_later_answer() {
        let local = Local::default();
        let folder = tempfile::tempdir().unwrap();
        let flag = folder.path().join("flag").display().to_string();
        // It writes once a later script has begun, and says when it has.
        let noise = format!(
            "trap '' PIPE; (until [ -e {flag} ]; do sleep 0.02; done; echo NOISE; echo NOISE >&2; : >{flag}.done) & \
             ls -l /proc/self/fd >{flag}.fds; echo started"
        );
        let later = format!("echo a; : >{flag}; until [ -e {flag}.done ]; do sleep 0.02; done; echo b; echo c >&2");
        let request = [Script::step(noise), probe(later), probe("echo d")];
        let outputs = local.exec(None, &request).await.unwrap();
        let said: Vec<_> = outputs.iter().map(|output| (output.out(), output.err())).collect();
        let text = |out: &str, err: &str| (out.to_owned(), err.to_owned());
        assert_eq!(said, [text("started\n", ""), text("a\nb\n", "c\n"), text("d\n", "")]);
        // It has no descriptor beside the three, but for the one that `ls` itself opens.
        let open = std::fs::read_to_string(format!("{flag}.fds")).unwrap();
        for ours in 3..10 {
            assert!(
                !open.lines().any(|line| line.contains(&format!(" {ours} -> ")) && !line.contains("/proc/")),
                "{open}"
            );
        }
    }

    #[tokio::test]
    async fn an_answer_is_bounded_and_the_next_request_works() {
        let local = Local::default();
        let endless = [probe("echo one"), probe("yes"), probe("echo three")];
        let outputs = local.exec(None, &endless).await.unwrap();
        assert_eq!(outputs[2], crate::remote::Output::default());
        assert!(outputs[1].failure.as_ref().unwrap().contains("16 MiB"), "{:?}", outputs[1].failure);
        let several: Vec<Script> = (0..3).map(|_| probe("head -c 15000000 /dev/zero")).collect();
        let outputs = local.exec(None, &several).await.unwrap();
        assert_eq!((outputs[0].stdout.len(), outputs[1].stdout.len()), (15_000_000, 15_000_000));
        assert!(outputs[2].failure.as_ref().unwrap().contains("one request"), "{:?}", outputs[2].failure);
        assert_eq!(local.exec(None, &scripts(&["echo again"])).await.unwrap()[0].out(), "again\n");
    }

    #[tokio::test]
    async fn a_script_that_ends_its_shell_ends_the_request_and_no_step_follows() {
        let local = Local::default();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("never").display().to_string();
        let request = [probe("echo x; kill -9 $$"), Script::step(format!(": >{file}"))];
        let answer = local.exec(None, &request).await;
        if let Ok(outputs) = answer {
            assert!(outputs[0].failure.is_some(), "{outputs:?}");
            assert_eq!(outputs[1].status, None);
        }
        assert!(!std::path::Path::new(&file).exists());
        assert_eq!(local.exec(None, &scripts(&["echo again"])).await.unwrap()[0].out(), "again\n");
    }

    /// Whoever stops waiting leaves nothing for the next request.
    #[tokio::test]
    async fn a_request_that_no_one_waits_for_leaves_nothing_behind() {
        let local = Local::default();
        let slow = scripts(&["sleep 0.3; echo late"]);
        let waited = tokio::time::timeout(std::time::Duration::from_millis(50), local.exec(None, &slow)).await;
        assert!(waited.is_err());
        assert_eq!(local.exec(None, &scripts(&["echo now"])).await.unwrap()[0].out(), "now\n");
    }

    #[tokio::test]
    async fn our_scripts_speak_one_language_and_those_of_authors_the_machine_s() {
        let local = Local::default();
        let printed = probe("echo \"${LC_ALL-unset}\"");
        let theirs = printed.clone().in_locale(crate::remote::Locale::Machine);
        let outputs = local.exec(None, &[printed, theirs]).await.unwrap();
        assert_eq!(outputs[0].out(), "C\n");
        #[expect(clippy::disallowed_methods, reason = "what the machine says, which is this one")]
        let machine = std::env::var("LC_ALL").unwrap_or_else(|_| "unset".to_owned());
        assert_eq!(outputs[1].out().trim(), machine);
    }

    /// A shell whose other end is the test.
    fn fake(user: Option<&str>) -> (Shell, crate::remote::Feed) {
        Shell::new(tokio::io::sink(), user).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_shell_that_never_starts_is_given_up() {
        let (mut shell, _feed) = fake(None);
        let error = shell.run(&scripts(&["true"])).await.unwrap_err();
        assert!(error.to_string().contains("did not start within 30 s"), "{error}");
        assert!(!shell.is_usable());
    }

    #[tokio::test]
    async fn a_user_that_cannot_be_become_fails_the_task_and_says_why() {
        for (said, status, why) in [
            ("/bin/sh: 1: exec: sudo: not found", 127, "not installed"),
            ("sudo: a password is required", 1, "NOPASSWD"),
            ("app is not in the sudoers file.", 1, "does not allow"),
            ("sudo: unknown user nobody2", 1, "no such user"),
            ("", 3, "status 3"),
        ] {
            let (mut shell, feed) = fake(Some("root"));
            assert!(feed.err(said.as_bytes()));
            feed.end(Some(status));
            let outputs = shell.run(&scripts(&["true", "true"])).await.unwrap();
            assert!(outputs[0].failure.as_ref().unwrap().contains(why), "{outputs:?}");
            assert_eq!(outputs[1].status, None);
        }
        let (mut shell, feed) = fake(None);
        feed.end(Some(1));
        let error = shell.run(&scripts(&["true"])).await.unwrap_err();
        assert!(error.to_string().contains("login shell ended with status 1"), "{error}");
    }
}
