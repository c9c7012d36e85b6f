//! This machine as a host: `connection: local`, `delegate_to: localhost`.

use std::process::Stdio;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};

use super::{Output, Script, Shell, Shells, Source, Stream, Transport, become_command, frame, shell::pour};
use crate::error::{Context, Error, Result};

/// Shells of this machine, by user.
#[derive(Default)]
pub struct Local {
    shells: Shells,
}

/// The command that gives a shell of another user. Root needs no `sudo` to be root: this machine may have none.
fn become_here(user: &str) -> String {
    let sudo = become_command(user);
    match sudo.strip_prefix("exec ").and_then(|words| words.strip_suffix("/bin/sh")) {
        Some(sudo) if user == "root" => format!("exec $([ \"$(id -u)\" = 0 ] || echo {sudo}) /bin/sh"),
        _ => sudo,
    }
}

#[expect(clippy::disallowed_types, reason = "the one place that runs programs of this machine for playbooks")]
fn command(user: Option<&str>, script: Option<&str>) -> tokio::process::Command {
    let mut command = tokio::process::Command::new("/bin/sh");
    match (user, script) {
        (None, None) => {}
        (None, Some(script)) => drop(command.args(["-c", script])),
        (Some(user), None) => drop(command.args(["-c", &become_here(user)])),
        (Some(user), Some(script)) => {
            command.args(["-c", &format!("{} -c {}", become_here(user), super::quote(script))]);
        }
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// Starts the shell of a user.
fn open(user: Option<&str>) -> Result<Shell> {
    let mut child = command(user, None).spawn().context(|| "cannot start `/bin/sh`")?;
    let missing = || Error::new("the shell has no streams");
    let input = child.stdin.take().ok_or_else(missing)?;
    let out = child.stdout.take().ok_or_else(missing)?;
    let err = child.stderr.take().ok_or_else(missing)?;
    let (shell, feed) = Shell::new(input, user)?;
    tokio::spawn(async move {
        let read = async {
            tokio::join!(pass(out, |bytes| feed.out(bytes)), pass(err, |bytes| feed.err(bytes)));
            let status = child.wait().await.ok().and_then(|status| status.code());
            feed.end(status.and_then(|status| u32::try_from(status).ok()));
        };
        // The child is dropped, and ended, when its answers are not wanted any more.
        tokio::select! {
            () = read => {}
            () = feed.closed() => {}
        }
    });
    Ok(shell)
}

async fn pass(mut stream: impl AsyncRead + Unpin, take: impl Fn(&[u8]) -> bool) {
    let mut buffer = vec![0; 65536];
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        if !take(&buffer[..count]) {
            break;
        }
    }
}

#[async_trait]
impl Transport for Local {
    async fn exec(&self, user: Option<&str>, scripts: &[Script]) -> Result<Vec<Output>> {
        self.shells.run(user, scripts, || async { open(user) }).await
    }

    async fn send(&self, user: Option<&str>, script: &str, input: Bytes) -> Result<Output> {
        self.pour(user, script, &mut input.as_ref()).await
    }

    async fn pour(&self, user: Option<&str>, script: &str, source: &mut Source<'_>) -> Result<Output> {
        let mut child = command(user, Some(frame::RECEIVE)).spawn().context(|| "cannot start `/bin/sh`")?;
        let mut stdin = child.stdin.take().ok_or_else(|| Error::new("the shell has no streams"))?;
        let mut broken = None;
        let write = async {
            // A script that ends before it has read everything says itself why.
            if stdin.write_all(&frame::first_line(script)).await.is_ok() {
                broken = pour(source, &mut stdin).await.err();
            }
            drop(stdin);
        };
        let ((), output) = tokio::join!(write, child.wait_with_output());
        let output = output.context(|| "the shell ended")?;
        broken.map_or(Ok(()), Err)?;
        Ok(Output {
            status: Some(output.status.code().unwrap_or(-1)),
            stdout: output.stdout,
            stderr: output.stderr,
            failure: None,
        })
    }

    async fn dial(&self, host: &str, port: u16) -> Result<Box<dyn Stream>> {
        let stream =
            tokio::net::TcpStream::connect((host, port)).await.context(|| format!("cannot reach {host}:{port}"))?;
        Ok(Box::new(stream))
    }
}

#[cfg(test)]
mod tests {
    use super::become_here;

    #[test]
    fn root_becomes_root_without_sudo() {
        assert_eq!(become_here("root"), "exec $([ \"$(id -u)\" = 0 ] || echo sudo -n -H -u root -- ) /bin/sh");
        assert_eq!(become_here("www"), "exec sudo -n -H -u www -- /bin/sh");
    }
}
