//! `infra ssh-config`: what OpenSSH, scp and editors need to reach the machines.

use clap::Args;

use super::{arguments::EnvironmentArgs, context::Context};
use crate::{configure, error::Result};

/// Print a configuration for OpenSSH, scp and editors: `infra ssh-config dev >~/.ssh/dev && ssh -F ~/.ssh/dev HOST`
#[derive(Args, Debug)]
pub(super) struct SshConfig {
    #[command(flatten)]
    environment: EnvironmentArgs,
}

impl SshConfig {
    pub(super) async fn run(&self, context: &Context) -> Result<u8> {
        let site = context.open(&self.environment.target()?).await?;
        let (state, files) = (site.applied_here()?, site.store.login_files());
        let (text, _) = configure::ssh_config(&site.environment, state, &site.vault, &files)?;
        context.ui.result(&text);
        Ok(0)
    }
}
