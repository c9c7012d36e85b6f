//! `infra inventory`: the machines, in Ansible's dynamic inventory protocol.

use std::path::Path;

use clap::Args;
use serde_json::{Map, Value};

use super::{
    session::{EnvironmentArgs, Session},
    ssh_config,
};
use crate::{
    config::Environment,
    configure,
    error::{Context, Error, Result},
    playbook,
    remote::quote,
    secret::Redactor,
    state::{LoginFiles, State, Vault},
    template::Vars,
    ui::Ui,
    yaml,
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
    pub(super) async fn run(&self, ui: &Ui, redactor: &Redactor) -> Result<u8> {
        let session = Session::open(&self.environment, redactor).await?;
        let inventory =
            reachable(&session.environment, session.applied_here()?, &session.vault, &session.store.login_files())?;
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

/// The inventory with what Ansible itself needs to reach the machines: OpenSSH's configuration, which knows the bastion,
/// the published ports and the host keys.
fn reachable(
    environment: &Environment, state: &State, vault: &Vault, files: &LoginFiles,
) -> Result<playbook::Inventory> {
    let mut inventory = configure::inventory(environment, state, vault);
    let (_, config) = ssh_config::files(environment, state, vault, files)?;
    for vars in inventory.host_vars.values_mut() {
        // Ansible would put the port over that of the configuration.
        vars.remove("ansible_port");
        vars.insert_data("ansible_ssh_common_args", format!("-F {}", quote(&config.display().to_string())).into());
    }
    Ok(inventory)
}

/// Writes an inventory file that Ansible can read.
pub(super) fn write(
    path: &Path, environment: &Environment, state: &State, vault: &Vault, files: &LoginFiles,
) -> Result<()> {
    let inventory = reachable(environment, state, vault, files)?;
    let hosts: Map<String, Value> = inventory
        .hosts
        .iter()
        .map(|host| (host.clone(), inventory.host_vars.get(host).map(Vars::to_map).unwrap_or_default().into()))
        .collect();
    let groups = inventory.groups.iter().filter(|(name, _)| *name != "all");
    let children: Map<String, Value> = groups
        .map(|(name, members)| {
            let members: Map<String, Value> =
                members.iter().map(|host| (host.clone(), Value::Object(Map::new()))).collect();
            (name.clone(), serde_json::json!({ "hosts": members }))
        })
        .collect();
    let all = serde_json::json!({ "all": { "hosts": hosts, "children": children } });
    let text = format!("# Written by `infra apply`.\n{}", yaml::emit_nice(&all, 2));
    std::fs::write(path, text).context(|| format!("cannot write the inventory `{}`", path.display()))
}
