//! `infra ssh`: a shell or one command on a machine, without the ssh program.

use std::{
    io::{IsTerminal, Read},
    sync::Arc,
};

use clap::Args;
use russh::ChannelMsg;
use rustix::termios::{self, OptionalActions, Termios};
use tokio::{
    io::AsyncWriteExt,
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};

use super::{arguments::OverlayArgs, context::Context};
use crate::{
    configure::Pool,
    error::{Context as _, Error, Result},
    event::Events,
    remote::quote,
};

/// Log in to a machine, or run one command on it: `infra ssh dev app-1 -- uptime`
#[derive(Args, Debug)]
pub(super) struct Ssh {
    /// The environment
    environment: String,
    /// The machine
    host: String,
    /// A command and its arguments
    #[arg(last = true)]
    command: Vec<String>,
    #[command(flatten)]
    overlay: OverlayArgs,
}

impl Ssh {
    pub(super) async fn run(&self, context: &Context) -> Result<u8> {
        let site = context.open(&self.overlay.over(&self.environment)?).await?;
        let state = site.applied_here()?;
        let pool = Pool::new(&site.environment, state, &site.vault, Arc::clone(&site.provider), &Events::ignored())?;
        let connection = pool.ssh(&self.host).await?;
        let mut channel = connection.session().await?;
        let terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
        let _raw = if self.command.is_empty() && terminal {
            let size = termios::tcgetwinsize(std::io::stdout()).map_or((80, 24), |size| (size.ws_col, size.ws_row));
            #[expect(clippy::disallowed_methods, reason = "the terminal's kind is in the environment")]
            let term = std::env::var("TERM").unwrap_or_else(|_| "xterm-256color".to_owned());
            channel.request_pty(false, &term, size.0.into(), size.1.into(), 0, 0, &[]).await?;
            channel.request_shell(true).await?;
            Some(RawTerminal::enter()?)
        } else if self.command.is_empty() {
            channel.request_shell(true).await?;
            None
        } else {
            // One word is a shell text, as ssh takes it; several are the words of one command.
            let command = match self.command.as_slice() {
                [text] => text.clone(),
                words => words.iter().map(|word| quote(word)).collect::<Vec<_>>().join(" "),
            };
            channel.exec(true, command).await?;
            None
        };
        let mut input = read_input();
        let mut resized = signal(SignalKind::window_change()).context(|| "cannot watch the terminal's size")?;
        let (mut out, mut err) = (tokio::io::stdout(), tokio::io::stderr());
        let mut status = 255;
        loop {
            tokio::select! {
                message = channel.wait() => match message {
                    None => break,
                    Some(ChannelMsg::Data { data }) => {
                        out.write_all(&data).await?;
                        out.flush().await?;
                    }
                    Some(ChannelMsg::ExtendedData { data, .. }) => {
                        err.write_all(&data).await?;
                        err.flush().await?;
                    }
                    Some(ChannelMsg::ExitStatus { exit_status }) => status = u8::try_from(exit_status).unwrap_or(255),
                    Some(ChannelMsg::Failure) => return Err(Error::new("the machine refused the command")),
                    Some(_) => {}
                },
                bytes = input.recv() => match bytes {
                    Some(bytes) if !bytes.is_empty() => channel.data(bytes.as_slice()).await?,
                    Some(_) => channel.eof().await?,
                    None => std::future::pending().await,
                },
                _ = resized.recv() => {
                    if let Ok(size) = termios::tcgetwinsize(std::io::stdout()) {
                        channel.window_change(size.ws_col.into(), size.ws_row.into(), 0, 0).await?;
                    }
                }
            }
        }
        Ok(status)
    }
}

/// Standard input, read by a thread of its own: nothing can interrupt a read of a terminal. An empty piece is its end.
fn read_input() -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel(16);
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        let mut input = std::io::stdin().lock();
        while let Ok(count) = input.read(&mut buffer) {
            if sender.blocking_send(buffer[..count].to_vec()).is_err() || count == 0 {
                // The channel stays open: its end would look like one more event.
                std::thread::park();
            }
        }
    });
    receiver
}

/// A terminal that passes on every key; given back when dropped.
struct RawTerminal(Termios);

impl RawTerminal {
    fn enter() -> Result<Self> {
        let input = std::io::stdin();
        let before = termios::tcgetattr(&input).map_err(std::io::Error::from)?;
        let mut raw = before.clone();
        raw.make_raw();
        termios::tcsetattr(&input, OptionalActions::Now, &raw).map_err(std::io::Error::from)?;
        Ok(Self(before))
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        // No one is left to hear of it.
        let _ = termios::tcsetattr(std::io::stdin(), OptionalActions::Now, &self.0);
    }
}
