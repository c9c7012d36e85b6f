//! `systemd`: a unit runs or not, is started at boot or not.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::json;

use super::{
    Argument, Arguments, Call, Decision, Declared, Flag, Module, Operation, Step, Text,
    declaration::{arguments, choices},
    probe::Probe,
    script::{Sh, sh},
};
use crate::{
    error::{Error, Result},
    remote::Output,
};

pub(super) struct Systemd;
pub(super) struct SystemdService;

arguments! {
    struct SystemdArguments {
        #[serde(alias = "service", alias = "unit")]
        name: Option<Text>,
        state: Option<UnitState>,
        /// Whether it starts at boot.
        enabled: Option<Flag>,
        /// Whether it cannot be started at all.
        masked: Option<Flag>,
        /// Whether systemd reads its units again first.
        #[serde(default, alias = "daemon-reload")]
        daemon_reload: Flag,
        /// Whether systemd starts itself again first.
        #[serde(default, alias = "daemon-reexec")]
        daemon_reexec: Flag,
        /// Whether the end of the change is not waited for.
        #[serde(default)]
        no_block: Flag,
        scope: Option<Scope>,
        /// Whether links of other units are replaced.
        #[serde(default)]
        force: Flag,
    }
}

/// Whose units are meant: those of the machine.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Scope {
    System,
}

choices!(Scope, UnitState);

/// What a unit shall do.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum UnitState {
    Started,
    Stopped,
    Restarted,
    Reloaded,
}

impl Call for Systemd {
    fn name(&self) -> &'static str {
        "systemd"
    }

    fn about(&self) -> &'static str {
        "Starts, stops, restarts or reloads a unit of systemd, and says whether it starts at boot."
    }

    fn arguments(&self) -> &'static [Argument] {
        SystemdArguments::ARGUMENTS
    }
}

impl Module for Systemd {
    fn operation(&self, task: &Arguments<'_>) -> Result<Box<dyn Operation>> {
        let arguments: SystemdArguments = super::read(task.named)?;
        let (Some(Scope::System) | None) = arguments.scope;
        Ok(Box::new(Unit {
            name: arguments.name.map(|name| name.0),
            state: arguments.state,
            enabled: arguments.enabled.map(|flag| flag.0),
            masked: arguments.masked.map(|flag| flag.0),
            daemon_reload: arguments.daemon_reload.0,
            daemon_reexec: arguments.daemon_reexec.0,
            flags: sh!(
                "{0}{1}",
                if arguments.no_block.0 { sh!(" --no-block") } else { Sh::default() },
                if arguments.force.0 { sh!(" --force") } else { Sh::default() }
            ),
        }))
    }
}

impl Call for SystemdService {
    fn name(&self) -> &'static str {
        "systemd_service"
    }

    fn about(&self) -> &'static str {
        "The same as `systemd`."
    }

    fn arguments(&self) -> &'static [Argument] {
        SystemdArguments::ARGUMENTS
    }
}

impl Module for SystemdService {
    fn operation(&self, task: &Arguments<'_>) -> Result<Box<dyn Operation>> {
        Systemd.operation(task)
    }
}

/// A unit of systemd.
pub(super) struct Unit {
    pub(super) name: Option<String>,
    pub(super) state: Option<UnitState>,
    pub(super) enabled: Option<bool>,
    pub(super) masked: Option<bool>,
    pub(super) daemon_reload: bool,
    pub(super) daemon_reexec: bool,
    pub(super) flags: Sh,
}

impl Operation for Unit {
    fn probe(&self) -> Option<Probe> {
        self.name.as_deref().map(Probe::unit)
    }

    fn decide(&self, seen: &Output) -> Result<Decision> {
        let mut before = Vec::new();
        if self.daemon_reexec {
            before.push(sh!("systemctl daemon-reexec"));
        }
        if self.daemon_reload {
            before.push(sh!("systemctl daemon-reload"));
        }
        let Some(name) = &self.name else {
            // To reload the daemon alone counts as no change.
            let steps = before.into_iter().map(Step::Run).collect();
            return Ok(Decision { steps, ..Decision::default() });
        };
        let out = seen.out();
        let status: HashMap<&str, &str> = out.lines().filter_map(|line| line.split_once('=')).collect();
        let get = |key: &str| status.get(key).copied().unwrap_or_default();
        let wants_more = self.state.is_some() || self.enabled.is_some();
        if get("LoadState") == "not-found" && wants_more && !self.daemon_reload {
            return Err(Error::new(format!("there is no service `{name}` on the host")));
        }
        let unit = name;
        let flags = &self.flags;
        let mut scripts = Vec::new();
        let masked = get("LoadState") == "masked" || get("Enabled") == "masked";
        match self.masked {
            Some(true) if !masked => scripts.push(sh!("systemctl mask{0} -- {1}", flags.clone(), unit)),
            Some(false) if masked => scripts.push(sh!("systemctl unmask{0} -- {1}", flags.clone(), unit)),
            _ => {}
        }
        let enabled = matches!(
            get("Enabled"),
            "enabled" | "enabled-runtime" | "static" | "indirect" | "generated" | "alias" | "transient"
        );
        match self.enabled {
            Some(true) if !enabled => scripts.push(sh!("systemctl enable{0} -- {1}", flags.clone(), unit)),
            Some(false) if matches!(get("Enabled"), "enabled" | "enabled-runtime") => {
                scripts.push(sh!("systemctl disable{0} -- {1}", flags.clone(), unit));
            }
            _ => {}
        }
        let active = matches!(get("ActiveState"), "active" | "activating" | "reloading");
        let verb = match self.state {
            Some(UnitState::Started) if !active => Some(sh!("start")),
            Some(UnitState::Stopped) if active || get("ActiveState") == "deactivating" => Some(sh!("stop")),
            Some(UnitState::Restarted) => Some(sh!("restart")),
            Some(UnitState::Reloaded) => Some(if active { sh!("reload") } else { sh!("start") }),
            _ => None,
        };
        if let Some(verb) = verb {
            // What the unit printed says more than systemctl's advice to look for it.
            scripts.push(sh!(
                "systemctl {0}{1} -- {2} || { rc=$?; systemctl --no-pager --lines 20 status -- {2} >&2; exit $rc; }",
                verb,
                flags.clone(),
                unit
            ));
        }
        let mut result = json!({ "name": name, "status": status });
        if let Some(enabled) = self.enabled {
            result["enabled"] = enabled.into();
        }
        if let Some(state) = self.state {
            result["state"] = if state == UnitState::Stopped { "stopped" } else { "started" }.into();
        }
        let changed = !scripts.is_empty();
        let steps = before.into_iter().chain(scripts).map(Step::Run).collect();
        let result = result.as_object().cloned().unwrap_or_default();
        Ok(Decision { changed, steps, result, diffs: Vec::new() })
    }
}
