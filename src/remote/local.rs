//! This machine as a host: `connection: local`, `delegate_to: localhost`.

use std::{process::Stdio, sync::Mutex};

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};

use super::{
    Output, Script, Sh, Shell, Shells, Source, Stream, Transport, become_command, frame, sh,
    shell::{Answer, finish, pour},
    sudo,
};
use crate::error::{Context, Error, Result};

/// Shells of this machine, by user.
#[derive(Default)]
pub struct Local {
    shells: Shells,
}

/// The command that gives a shell of another user. Root needs no `sudo` to be root: this machine may have none.
fn become_here(user: &str) -> Sh {
    match user {
        "root" => sh!("exec $([ \"$(id -u)\" = 0 ] || echo {0}) /bin/sh", sudo(user)),
        _ => become_command(user),
    }
}

#[expect(clippy::disallowed_types, reason = "the one place that runs programs of this machine for playbooks")]
fn command(user: Option<&str>, script: Option<&str>) -> tokio::process::Command {
    let mut command = tokio::process::Command::new("/bin/sh");
    match (user, script) {
        (None, None) => {}
        (None, Some(script)) => drop(command.args(["-c", script])),
        (Some(user), None) => drop(command.args(["-c", become_here(user).text()])),
        (Some(user), Some(script)) => {
            command.args(["-c", sh!("{0} -c {1}", become_here(user), script).text()]);
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
            let _ = tokio::join!(pass(out, |bytes| feed.out(bytes)), pass(err, |bytes| feed.err(bytes)));
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

/// Passes on what a stream prints; whether all of it was wanted.
async fn pass(mut stream: impl AsyncRead + Unpin, take: impl Fn(&[u8]) -> bool) -> bool {
    let mut buffer = vec![0; 65536];
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        if !take(&buffer[..count]) {
            return false;
        }
    }
    true
}

#[async_trait]
impl Transport for Local {
    async fn exec(&self, user: Option<&str>, scripts: &[Script]) -> Result<Vec<Output>> {
        self.shells.run(user, scripts, || async { open(user) }).await
    }

    async fn pour(&self, user: Option<&str>, script: &Script, source: &mut Source<'_>) -> Result<Output> {
        let mut child = command(user, Some(frame::RECEIVE)).spawn().context(|| "cannot start `/bin/sh`")?;
        let missing = || Error::new("the shell has no streams");
        let mut stdin = child.stdin.take().ok_or_else(missing)?;
        let (out, err) = (child.stdout.take().ok_or_else(missing)?, child.stderr.take().ok_or_else(missing)?);
        let send = async move {
            // A script that ends before it has read everything says itself why.
            if stdin.write_all(&frame::first_line(&script.text)).await.is_ok() {
                pour(source, &mut stdin).await?;
            }
            Ok(())
        };
        let receive = async {
            let answer = Mutex::<Answer>::default();
            let held = || answer.lock().expect("nothing panics while it holds the answer");
            let whole = async |wanted| if wanted { Ok(()) } else { Err(()) };
            let out = async { whole(pass(out, |bytes| held().out(bytes)).await).await };
            let err = async { whole(pass(err, |bytes| held().err(bytes)).await).await };
            let heard = tokio::try_join!(out, err);
            // One that prints too much is dropped here, and ended.
            let status = match heard {
                Ok(_) => Some(child.wait().await.context(|| "the shell ended")?.code().unwrap_or(-1)),
                Err(()) => None,
            };
            let answer = answer.into_inner().expect("nothing panics while it holds the answer");
            Ok(answer.end(status))
        };
        finish(script, send, receive).await
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
        assert_eq!(become_here("root").text(), "exec $([ \"$(id -u)\" = 0 ] || echo sudo -n -H -u root --) /bin/sh");
        assert_eq!(become_here("www").text(), "exec sudo -n -H -u www -- /bin/sh");
    }
}
