//! What OpenSSH, scp, editors and Ansible need to reach the machines.

use std::{
    fmt::Write as _,
    io::Write as _,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value};

use super::{connections::is_direct, inventory, machine};
use crate::{
    apply::{LOGIN_KEY, host_key, pins},
    config::Environment,
    error::{Context, Error, Result},
    playbook::Inventory,
    remote::quote,
    state::{LoginFiles, State, Vault},
    template::Vars,
    yaml,
};

/// Writes the configuration, the key and the host keys beside the state, for their owner alone, since OpenSSH reads them
/// from files only; the configuration's text and path.
///
/// # Errors
/// When a key is not in the state, or a file cannot be written.
pub fn ssh_config(
    environment: &Environment, state: &State, vault: &Vault, files: &LoginFiles,
) -> Result<(String, PathBuf)> {
    let secret = |name: String| {
        let value = vault.get(&name).map(|secret| secret.expose().to_owned());
        value.ok_or_else(|| Error::new(format!("`{name}` is not in the state")))
    };
    write_private(&files.key, &secret(format!("{LOGIN_KEY}/private"))?)?;
    let mut text = String::new();
    let mut known_hosts = String::new();
    let bastion = environment.bastion();
    let prefix = format!("{}-", environment.name);
    for (name, host) in &environment.hosts {
        let Some(machine) = machine(environment, state, name) else { continue };
        let attribute = |field: &str| machine.text(field).map(str::to_owned);
        let public = attribute("public_address").filter(|_| is_direct(environment, name));
        let private = attribute("address").unwrap_or_default();
        let address = public.as_ref().unwrap_or(&private);
        let port = machine.ssh_port();
        // Programs such as Ansible name a machine by its private address.
        let _ = writeln!(text, "Host {name} {prefix}{name} {private}");
        let _ = writeln!(text, "  HostName {address}\n  Port {port}\n  User {}", host.login);
        let _ = writeln!(text, "  IdentityFile {}\n  IdentitiesOnly yes", quoted(&files.key));
        let _ = writeln!(text, "  HostKeyAlias {prefix}{name}\n  UserKnownHostsFile {}", quoted(&files.known_hosts));
        let _ = writeln!(text, "  StrictHostKeyChecking yes");
        if let (None, Some(bastion)) = (public, bastion) {
            let _ = writeln!(text, "  ProxyJump {prefix}{bastion}");
        }
        text.push('\n');
        let name_of_key = host_key(machine.key_name);
        let pins = pins(vault, machine.key_name, machine.id)
            .ok_or_else(|| Error::new(format!("`{name_of_key}` is not in the state")))?;
        for key in pins.accepted {
            let _ = writeln!(known_hosts, "{prefix}{name} {key}");
        }
    }
    write_private(&files.known_hosts, &known_hosts)?;
    write_private(&files.config, &text)?;
    Ok((text, files.config.clone()))
}

/// A path as one word of a configuration, in which a percent sign begins a token.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%"))
}

fn write_private(path: &Path, text: &str) -> Result<()> {
    let cannot = || format!("cannot write `{}`", path.display());
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.create(true).truncate(true).write(true).mode(0o600).open(path).context(cannot)?;
    file.write_all(text.as_bytes()).context(cannot)
}

/// The inventory with what Ansible itself needs to reach the machines: OpenSSH's configuration, which knows the bastion,
/// the published ports and the host keys.
///
/// # Errors
/// When a key is not in the state, or a file cannot be written.
pub fn ansible_inventory(
    environment: &Environment, state: &State, vault: &Vault, files: &LoginFiles,
) -> Result<Inventory> {
    let mut inventory = inventory(environment, state, vault);
    let (_, config) = ssh_config(environment, state, vault, files)?;
    for vars in inventory.host_vars.values_mut() {
        // Ansible would put the port over that of the configuration.
        vars.remove("ansible_port");
        vars.insert_data("ansible_ssh_common_args", format!("-F {}", quote(&config.display().to_string())).into());
    }
    Ok(inventory)
}

/// Writes an inventory file that Ansible can read.
///
/// # Errors
/// As [`ansible_inventory`], and when the file cannot be written.
pub fn write_inventory(
    path: &Path, environment: &Environment, state: &State, vault: &Vault, files: &LoginFiles,
) -> Result<()> {
    let inventory = ansible_inventory(environment, state, vault, files)?;
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::quoted;

    #[test]
    fn a_path_is_one_word() {
        assert_eq!(
            quoted(Path::new("/home/me/my project/.infra/dev/ssh-key")),
            "\"/home/me/my project/.infra/dev/ssh-key\""
        );
        assert_eq!(quoted(Path::new("/a \"b\" 100%")), "\"/a \\\"b\\\" 100%%\"");
    }
}
