//! A long-lived `sh` behind two streams: requests go in as text, answers come out between marks.
//!
//! Each script runs as `(eval '...') </dev/null`, so that a syntax error, an `exit` or a `cd` stays in its subshell and
//! nothing reads our stream. After it, both output streams print a mark that no output can contain, with the exit status.

use std::pin::Pin;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use tokio::{
    io::{AsyncWrite, AsyncWriteExt},
    sync::mpsc::UnboundedReceiver,
};

use super::{Output, Script};
use crate::error::{Context, Error, Result};

/// A piece of what the shell prints. Whoever makes a shell drains its streams into a channel of these at once: a channel
/// that nobody reads would stop the whole connection.
#[derive(Debug)]
pub enum Chunk {
    /// Standard output.
    Out(Bytes),
    /// Standard error.
    Err(Bytes),
}

/// The caller's end of a shell.
pub struct Shell {
    input: Pin<Box<dyn AsyncWrite + Send>>,
    chunks: UnboundedReceiver<Chunk>,
    mark: String,
    out: Vec<u8>,
    err: Vec<u8>,
}

impl Shell {
    /// A shell that reads `input` and prints `chunks`.
    ///
    /// # Errors
    /// When the machine has no random numbers.
    pub fn new(input: impl AsyncWrite + Send + 'static, chunks: UnboundedReceiver<Chunk>) -> Result<Self> {
        let mark = format!("--{}--", crate::identity::random_text(20)?);
        Ok(Self { input: Box::pin(input), chunks, mark, out: Vec::new(), err: Vec::new() })
    }

    /// Runs scripts in one round trip.
    ///
    /// # Errors
    /// When the shell has ended, with what it printed last.
    pub async fn run(&mut self, scripts: &[Script]) -> Result<Vec<Output>> {
        self.input.write_all(self.frame(scripts).as_bytes()).await.context(|| "the connection is lost")?;
        self.input.flush().await.context(|| "the connection is lost")?;
        let mut outputs = Vec::with_capacity(scripts.len());
        for _ in scripts {
            outputs.push(self.answer().await?);
        }
        Ok(outputs)
    }

    fn frame(&self, scripts: &[Script]) -> String {
        let mark = &self.mark;
        let mut text = String::from("infra_stop=\n");
        for script in scripts {
            let stop = if script.must_succeed { "[ $infra_rc -eq 0 ] || infra_stop=1; " } else { "" };
            // The text is quoted whole, so it is always one command; its own quotes are undone by `eval`.
            let body = format!("'{}'", script.text.replace('\'', r"'\''"));
            text += &format!(
                "if [ -z \"$infra_stop\" ]; then (eval {body}) </dev/null; infra_rc=$?; {stop}else infra_rc=-; fi; \
                 printf '\\n%s%s\\n' {mark} $infra_rc; printf '\\n%s\\n' {mark} >&2\n"
            );
        }
        text
    }

    async fn answer(&mut self) -> Result<Output> {
        let out_mark = format!("\n{}", self.mark);
        let err_mark = format!("\n{}\n", self.mark);
        // What was searched once is not searched again, but for a mark that lies across two chunks; what was found stays
        // found while the other stream is waited for.
        let (mut out_from, mut err_from) = (0, 0);
        let (mut out_end, mut err_end) = (None, None);
        loop {
            if out_end.is_none() {
                out_end = find(&self.out, out_mark.as_bytes(), out_from).and_then(|at| {
                    let line = at + out_mark.len();
                    Some((at, line + self.out[line..].iter().position(|byte| *byte == b'\n')?))
                });
                out_from = self.out.len().saturating_sub(out_mark.len() + 16);
            }
            if err_end.is_none() {
                err_end = find(&self.err, err_mark.as_bytes(), err_from);
                err_from = self.err.len().saturating_sub(err_mark.len());
            }
            if let (Some((out_end, line_end)), Some(err_end)) = (out_end, err_end) {
                let status = String::from_utf8_lossy(&self.out[out_end + out_mark.len()..line_end]).parse().ok();
                let mut stdout: Vec<u8> = self.out.drain(..=line_end).collect();
                stdout.truncate(out_end);
                let mut stderr: Vec<u8> = self.err.drain(..err_end + err_mark.len()).collect();
                stderr.truncate(err_end);
                return Ok(Output { status, stdout, stderr });
            }
            match self.chunks.recv().await {
                Some(Chunk::Out(bytes)) => self.out.extend_from_slice(&bytes),
                Some(Chunk::Err(bytes)) => self.err.extend_from_slice(&bytes),
                None => {
                    let said = String::from_utf8_lossy(&self.err).trim().to_owned();
                    let error = Error::new("the connection is lost");
                    return Err(if said.is_empty() { error } else { Error::new(said).context("the shell ended") });
                }
            }
        }
    }
}

fn find(haystack: &[u8], needle: &[u8], from: usize) -> Option<usize> {
    haystack.get(from..)?.windows(needle.len()).position(|window| window == needle).map(|at| at + from)
}

/// A command that runs the script in the first line of its standard input, with the rest of it as the script's own: arguments
/// can be seen by everybody on a host.
pub(super) const RECEIVE: &str =
    r#"LC_ALL=C; export LC_ALL; IFS= read -r infra && infra=$(printf %s "$infra" | base64 -d) && eval "$infra""#;

/// What [`RECEIVE`] reads.
pub(super) fn sent(script: &str, input: &[u8]) -> Vec<u8> {
    let mut bytes = STANDARD.encode(script).into_bytes();
    bytes.push(b'\n');
    bytes.extend_from_slice(input);
    bytes
}

#[cfg(test)]
mod tests {
    use super::{Bytes, Chunk, Shell};
    use crate::remote::{Local, Script, Transport};

    fn scripts(texts: &[&str]) -> Vec<Script> {
        texts.iter().map(|text| Script::probe(*text)).collect()
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
        let request = [Script::step("true"), Script::step("false"), Script::probe("echo never")];
        let outputs = local.exec(None, &request).await.unwrap();
        assert_eq!(outputs.iter().map(|output| output.status).collect::<Vec<_>>(), [Some(0), Some(1), None]);
        assert!(outputs[2].stdout.is_empty());
        // The next request begins anew.
        assert_eq!(local.exec(None, &request[..1]).await.unwrap()[0].status, Some(0));
    }

    /// The two streams are independent: whichever is late must not make the other one's mark be overlooked.
    #[tokio::test]
    async fn a_mark_is_found_however_the_streams_are_cut() {
        let script = [Script::probe("x")];
        for late in [false, true] {
            let (sender, chunks) = tokio::sync::mpsc::unbounded_channel();
            let mut shell = Shell::new(tokio::io::sink(), chunks).unwrap();
            let mark = shell.mark.clone();
            let out = format!("answer\n{mark}0\n");
            let err = format!("noise\n{mark}\n");
            let bytes = |text: &str| text.bytes().map(|byte| Bytes::copy_from_slice(&[byte])).collect::<Vec<_>>();
            let (out, err) = (bytes(&out).into_iter().map(Chunk::Out), bytes(&err).into_iter().map(Chunk::Err));
            let all: Vec<Chunk> = if late { err.chain(out).collect() } else { out.chain(err).collect() };
            for chunk in all {
                sender.send(chunk).unwrap();
            }
            let outputs = shell.run(&script).await.unwrap();
            assert_eq!((outputs[0].out().as_str(), outputs[0].err().as_str()), ("answer", "noise"));
        }
    }

    #[tokio::test]
    async fn a_script_reads_what_is_sent_with_it() {
        let local = Local::default();
        let input = Bytes::from(vec![b'\n'; 300_000]);
        let output = local.send(None, "wc -c; echo 'it'\\''s'; exit 3", input.clone()).await.unwrap();
        assert_eq!((output.out().as_str(), output.status), ("300000\nit's\n", Some(3)));
        // Nothing breaks where a script does not want it.
        assert_eq!(local.send(None, "echo no >&2; exit 1", input).await.unwrap().err(), "no\n");
    }

    #[tokio::test]
    async fn large_outputs_and_scripts_pass() {
        let local = Local::default();
        let long = "x".repeat(300_000);
        let outputs =
            local.exec(None, &[Script::probe(format!("printf %s {long}; printf %s {long} >&2"))]).await.unwrap();
        assert_eq!((outputs[0].stdout.len(), outputs[0].stderr.len()), (300_000, 300_000));
    }
}
