//! Connection variables: which of Ansible's are followed, which change nothing here, and which are refused.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;

use crate::{
    error::{Diagnostic, Error, Result},
    modules::short_name,
    playbook::support::Support::{self, Done, NoEffect, Refused},
    remote::Transport,
    template::{is_template, text_of},
    yaml::{Key, Node},
};

/// How variables say that a host is reached; what is `None` is as in the inventory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Reach {
    /// The user who logs in.
    pub login: Option<String>,
    /// The address.
    pub address: Option<String>,
    /// The port.
    pub port: Option<u16>,
}

/// Who runs a task, and where.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub(super) host: String,
    pub(super) user: Option<String>,
    /// What variables say about the way there.
    pub(super) reach: Reach,
}

/// Where connections come from.
#[async_trait]
pub trait Connections: Send + Sync {
    /// The connection of a host, opened on first use.
    async fn connect(&self, host: &str) -> Result<Arc<dyn Transport>>;

    /// The connection of a host that variables say to reach in another way than the inventory does.
    async fn reach(&self, host: &str, _reach: &Reach) -> Result<Arc<dyn Transport>> {
        self.connect(host).await
    }

    /// Forgets the connection of a host: the next request opens another one.
    async fn reset(&self, _host: &str) {}
}

const OWN_KEYS: &str = "the environment's own keys are used";
const OWN_SSH: &str = "connections are made by this program, not by `ssh`";
const NO_PYTHON: &str = "no Python is needed on the host";
const FLAGS: &str = "write what the flags do into the task, such as `cd` or `environment`";

/// The variables that say how a host is reached and as whom tasks run on it.
pub const VARIABLES: &[(&str, Support)] = &[
    ("ansible_become", Done),
    ("ansible_become_exe", Refused("`sudo` is found on the path of the host")),
    ("ansible_become_flags", Refused(FLAGS)),
    ("ansible_become_method", Done),
    ("ansible_become_password", NoEffect("the login may use `sudo` without a password")),
    ("ansible_become_pass", NoEffect("the login may use `sudo` without a password")),
    ("ansible_become_user", Done),
    ("ansible_connection", Done),
    ("ansible_host", Done),
    ("ansible_password", NoEffect(OWN_KEYS)),
    ("ansible_pipelining", NoEffect("nothing is copied to the host to run a task")),
    ("ansible_port", Done),
    ("ansible_python_interpreter", NoEffect(NO_PYTHON)),
    ("ansible_remote_tmp", NoEffect("nothing is copied to the host to run a task")),
    ("ansible_shell_executable", Refused("tasks run in `/bin/sh`; `shell` has the argument `executable`")),
    ("ansible_shell_type", Refused("tasks run in `/bin/sh`")),
    ("ansible_ssh_common_args", Refused(OWN_SSH)),
    ("ansible_ssh_extra_args", Refused(OWN_SSH)),
    ("ansible_ssh_host", Done),
    ("ansible_ssh_pass", NoEffect(OWN_KEYS)),
    ("ansible_ssh_pipelining", NoEffect("nothing is copied to the host to run a task")),
    ("ansible_ssh_port", Done),
    ("ansible_ssh_private_key_file", NoEffect(OWN_KEYS)),
    ("ansible_ssh_user", Done),
    ("ansible_sudo_exe", Refused("`sudo` is found on the path of the host")),
    ("ansible_sudo_flags", Refused(FLAGS)),
    ("ansible_user", Done),
];

/// A way to a host.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionKind {
    /// Its name.
    pub name: &'static str,
    /// What it means.
    pub about: &'static str,
    is_local: bool,
}

/// What `connection` can be.
pub const CONNECTIONS: &[ConnectionKind] = &[
    ConnectionKind { name: "local", about: "This machine.", is_local: true },
    ConnectionKind { name: "paramiko", about: "SSH.", is_local: false },
    ConnectionKind { name: "paramiko_ssh", about: "SSH.", is_local: false },
    ConnectionKind { name: "smart", about: "SSH.", is_local: false },
    ConnectionKind { name: "ssh", about: "SSH.", is_local: false },
];

/// What `become_method` can be.
pub const BECOME_METHODS: &[(&str, &str)] = &[("sudo", "`sudo`, which asks for no password.")];

/// What becomes of a variable, when it is about connections.
pub(super) fn support(name: &str) -> Option<Support> {
    VARIABLES.iter().find(|(known, _)| *known == name).map(|(_, support)| *support)
}

/// The variables that are refused, with what to do instead.
pub(super) fn refused() -> impl Iterator<Item = (&'static str, &'static str)> {
    VARIABLES.iter().filter_map(|(name, support)| match support {
        Refused(instead) => Some((*name, *instead)),
        _ => None,
    })
}

/// What is wrong with a variable about connections, as far as its value is known: a template and a variable about anything else
/// are fine.
///
/// # Errors
/// When the variable is refused, or its value is one that we do not have.
pub fn check_variable(name: &str, value: &Value) -> Result<()> {
    if let Some(Refused(instead)) = support(name) {
        return Err(Error::usage(format!("the variable `{name}` is not supported")).hint(instead));
    }
    if value.is_null() || value.as_str().is_some_and(is_template) {
        return Ok(());
    }
    let text = text_of(value);
    match name {
        "ansible_connection" => is_local(&text).map(drop),
        "ansible_become_method" => check_become_method(&text),
        "ansible_port" | "ansible_ssh_port" => port(name, &text).map(drop),
        _ => Ok(()),
    }
}

/// What is wrong with the variables of a mapping, at their places.
#[must_use]
pub fn check_variables(node: &Node) -> Vec<Diagnostic> {
    let wrong = |(key, value): &(Key, Node)| {
        let error = check_variable(&key.name, &value.to_value()).err()?;
        let mark = if matches!(support(&key.name), Some(Refused(_))) { &key.mark } else { &value.mark };
        let message = match support(&key.name) {
            Some(Refused(_)) => error.message().to_owned(),
            _ => format!("`{}`: {}", key.name, error.message()),
        };
        let diagnostic = Diagnostic::error(mark.location(), message);
        Some(error.hints().iter().fold(diagnostic, Diagnostic::hint))
    };
    node.entries().unwrap_or_default().iter().filter_map(wrong).collect()
}

/// The number of a port.
///
/// # Errors
/// When it is none.
pub(super) fn port(name: &str, text: &str) -> Result<u16> {
    let number = text.parse().ok().filter(|port| *port > 0);
    number.ok_or_else(|| Error::usage(format!("`{name}: {text}` is not the number of a port")))
}

/// Whether a kind of connection means this machine.
///
/// # Errors
/// When it is none that we have.
pub(super) fn is_local(connection: &str) -> Result<bool> {
    let name = short_name(connection);
    let known = CONNECTIONS.iter().find(|known| known.name == name);
    known.map(|known| known.is_local).ok_or_else(|| {
        Error::usage(format!("`connection: {name}` is not supported"))
            .hint("a task runs over SSH, or on this machine with `connection: local`")
    })
}

/// A method of becoming another user must be `sudo`.
///
/// # Errors
/// When it is another one.
pub(super) fn check_become_method(method: &str) -> Result<()> {
    if BECOME_METHODS.iter().any(|(known, _)| *known == short_name(method)) {
        return Ok(());
    }
    Err(Error::usage(format!("`become_method: {method}` is not supported"))
        .hint("only `sudo` is; tasks of root need no other method"))
}
