//! Questions of playbooks, asked at the terminal.

use std::io::{BufRead, IsTerminal};

use async_trait::async_trait;
use indicatif::ProgressDrawTarget;
use rustix::termios::{self, LocalModes, OptionalActions, Termios};
use tokio::sync::oneshot;

use super::{Mode, Ui, write};
use crate::playbook::Asker;

#[async_trait]
impl Asker for Ui {
    async fn ask(&self, question: &str, echo: bool) -> Option<String> {
        if !std::io::stdin().is_terminal() || self.mode == Mode::Json {
            return None;
        }
        // Lines that move would be drawn over the question.
        let _still = Still::enter(self);
        let _hidden = if echo { None } else { Some(Hidden::enter()?) };
        write(&mut std::io::stderr(), &format!("{} ", self.redactor.redact(question)));
        let (sender, receiver) = oneshot::channel();
        // In a thread of its own: nothing can interrupt a read of a terminal.
        std::thread::spawn(move || {
            let mut line = String::new();
            let read = std::io::stdin().lock().read_line(&mut line);
            // Whoever asked may have been stopped meanwhile.
            let _ = sender.send(read.ok().filter(|count| *count > 0).map(|_| line));
        });
        let line = receiver.await.ok().flatten()?;
        if !echo {
            write(&mut std::io::stderr(), "\n");
        }
        Some(line.trim_end_matches(['\r', '\n']).to_owned())
    }
}

/// Lines that do not move, until this is dropped.
struct Still(Ui);

impl Still {
    fn enter(ui: &Ui) -> Self {
        ui.bars.set_draw_target(ProgressDrawTarget::hidden());
        Self(ui.clone())
    }
}

impl Drop for Still {
    fn drop(&mut self) {
        self.0.bars.set_draw_target(ProgressDrawTarget::stderr());
    }
}

/// A terminal that does not show what is typed, until this is dropped.
struct Hidden(Termios);

impl Hidden {
    fn enter() -> Option<Self> {
        let before = termios::tcgetattr(std::io::stdin()).ok()?;
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        termios::tcsetattr(std::io::stdin(), OptionalActions::Now, &hidden).ok()?;
        Some(Self(before))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        // There is no one left to tell.
        let _ = termios::tcsetattr(std::io::stdin(), OptionalActions::Now, &self.0);
    }
}
