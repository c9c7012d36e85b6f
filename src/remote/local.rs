//! This machine as a host: `connection: local`, `delegate_to: localhost`.

use std::{collections::HashMap, process::Stdio, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::{Mutex, mpsc::unbounded_channel},
};

use super::{Chunk, Output, Script, Shell, Stream, Transport, become_command, shell};
use crate::error::{Context, Error, Result};

/// Shells of this machine, by user.
#[derive(Default)]
pub struct Local {
    shells: Mutex<HashMap<Option<String>, Arc<Mutex<Shell>>>>,
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

impl Local {
    async fn shell(&self, user: Option<&str>) -> Result<Arc<Mutex<Shell>>> {
        let mut shells = self.shells.lock().await;
        if let Some(shell) = shells.get(&user.map(str::to_owned)) {
            return Ok(Arc::clone(shell));
        }
        let mut child = command(user, None).spawn().context(|| "cannot start `/bin/sh`")?;
        let missing = || Error::new("the shell has no streams");
        let input = child.stdin.take().ok_or_else(missing)?;
        let mut out = child.stdout.take().ok_or_else(missing)?;
        let mut err = child.stderr.take().ok_or_else(missing)?;
        let (sender, chunks) = unbounded_channel();
        let errors = sender.clone();
        tokio::spawn(async move {
            let mut buffer = vec![0; 65536];
            while let Ok(count @ 1..) = err.read(&mut buffer).await {
                let _ = errors.send(Chunk::Err(Bytes::copy_from_slice(&buffer[..count])));
            }
        });
        tokio::spawn(async move {
            // The child lives as long as its output is read, and ends with its shell.
            let _child = child;
            let mut buffer = vec![0; 65536];
            while let Ok(count @ 1..) = out.read(&mut buffer).await {
                let _ = sender.send(Chunk::Out(Bytes::copy_from_slice(&buffer[..count])));
            }
        });
        let shell = Arc::new(Mutex::new(Shell::new(input, chunks)?));
        shells.insert(user.map(str::to_owned), Arc::clone(&shell));
        Ok(shell)
    }
}

#[async_trait]
impl Transport for Local {
    async fn exec(&self, user: Option<&str>, scripts: &[Script]) -> Result<Vec<Output>> {
        self.shell(user).await?.lock().await.run(scripts).await
    }

    async fn send(&self, user: Option<&str>, script: &str, input: Bytes) -> Result<Output> {
        let mut child = command(user, Some(shell::RECEIVE)).spawn().context(|| "cannot start `/bin/sh`")?;
        let mut stdin = child.stdin.take().ok_or_else(|| Error::new("the shell has no streams"))?;
        let bytes = shell::sent(script, &input);
        let write = async move {
            // A script that ends before it has read everything says itself why.
            let _ = stdin.write_all(&bytes).await;
            drop(stdin);
        };
        let ((), output) = tokio::join!(write, child.wait_with_output());
        let output = output.context(|| "the shell ended")?;
        Ok(Output { status: Some(output.status.code().unwrap_or(-1)), stdout: output.stdout, stderr: output.stderr })
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
