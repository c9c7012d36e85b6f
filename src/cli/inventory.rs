//! `infra inventory`: the machines, in Ansible's dynamic inventory protocol.

use clap::Args;
use serde_json::Value;

use super::{arguments::EnvironmentArgs, context::Context};
use crate::{
    configure,
    error::{Error, Result},
};

/// Print the machines as Ansible's dynamic inventory protocol wants them
#[derive(Args, Debug)]
pub(super) struct Inventory {
    #[command(flatten)]
    environment: EnvironmentArgs,
    /// Groups, hosts and their variables
    #[arg(long)]
    list: bool,
    /// The variables of one host
    #[arg(long, value_name = "HOST", conflicts_with = "list")]
    host: Option<String>,
}

impl Inventory {
    pub(super) async fn run(&self, context: &Context) -> Result<u8> {
        let ui = &context.ui;
        let site = context.open(&self.environment.target()?).await?;
        let (state, files) = (site.applied_here()?, site.store.login_files());
        let inventory = configure::ansible_inventory(&site.environment, state, &site.vault, &files)?;
        match &self.host {
            None => ui.json(&inventory.to_ansible()),
            Some(host) => {
                let vars = inventory.host_vars.get(host).ok_or_else(|| {
                    Error::usage(format!("there is no machine `{host}`"))
                        .hint(format!("machines: {}", inventory.hosts.join(", ")))
                })?;
                ui.json(&Value::Object(vars.to_map()));
            }
        }
        Ok(0)
    }
}
