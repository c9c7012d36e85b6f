//! `infra ssh-config`: what OpenSSH, scp and editors need to reach the machines.

use std::{
    fmt::Write as _,
    io::Write as _,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use clap::Args;

use super::session::{EnvironmentArgs, Session};
use crate::{
    apply::{LOGIN_KEY, host_key, pins},
    config::Environment,
    configure,
    error::{Context, Error, Result},
    secret::Redactor,
    state::{LoginFiles, State, Vault},
    ui::Ui,
};

/// Print a configuration for OpenSSH, scp and editors: `infra ssh-config dev >~/.ssh/dev && ssh -F ~/.ssh/dev HOST`
#[derive(Args, Debug)]
pub(super) struct SshConfig {
    #[command(flatten)]
    environment: EnvironmentArgs,
}

impl SshConfig {
    pub(super) async fn run(&self, ui: &Ui, redactor: &Redactor) -> Result<u8> {
        let session = Session::open(&self.environment, redactor).await?;
        let files = files(&session.environment, session.applied_here()?, &session.vault, &session.store.login_files())?;
        ui.result(&files.0);
        Ok(0)
    }
}

/// Writes the configuration, the key and the host keys beside the state, for their owner alone, since OpenSSH reads them
/// from files only; the configuration's text and path.
pub(super) fn files(
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
        let Some(machine) = configure::machine(environment, state, name) else { continue };
        let attribute = |field: &str| machine.text(field).map(str::to_owned);
        let public = attribute("public_address").filter(|_| configure::is_direct(environment, name));
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
