//! `infra completions`: what a shell completes.

use clap::{Args, CommandFactory};

use super::Cli;
use crate::{error::Result, ui::Ui};

/// Print a completion script for a shell
#[derive(Args, Debug)]
pub(super) struct Completions {
    /// The shell
    shell: clap_complete::Shell,
}

impl Completions {
    pub(super) fn run(&self, ui: &Ui) -> Result<u8> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "infra", &mut script);
        ui.result(&String::from_utf8_lossy(&script));
        Ok(0)
    }
}
