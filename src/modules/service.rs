//! `service`: a service runs or not, is started at boot or not. Every host that we know runs systemd.

use serde::Deserialize;

use super::{
    Argument, Arguments, Call, Declared, Flag, Module, Operation, Text,
    declaration::{arguments, choices},
    script::Sh,
    systemd::{Unit, UnitState},
};
use crate::error::Result;

pub(super) struct Service;

arguments! {
    struct ServiceArguments {
        name: Text,
        state: Option<UnitState>,
        /// Whether it starts at boot.
        enabled: Option<Flag>,
        r#use: Option<ServiceManager>,
    }
}

/// What runs services: systemd, also where the machine is to say so itself.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ServiceManager {
    Auto,
    #[serde(alias = "ansible.builtin.service")]
    Service,
    #[serde(alias = "ansible.builtin.systemd")]
    Systemd,
    #[serde(alias = "ansible.builtin.systemd_service")]
    SystemdService,
}

choices!(ServiceManager);

impl Call for Service {
    fn name(&self) -> &'static str {
        "service"
    }

    fn about(&self) -> &'static str {
        "Starts, stops, restarts or reloads a service, and says whether it starts at boot. Every host runs systemd."
    }

    fn arguments(&self) -> &'static [Argument] {
        ServiceArguments::ARGUMENTS
    }
}

impl Module for Service {
    fn operation(&self, task: &Arguments<'_>) -> Result<Box<dyn Operation>> {
        use ServiceManager::{Auto, Service, Systemd, SystemdService};

        let arguments: ServiceArguments = super::read(task.named)?;
        let (None | Some(Auto | Service | Systemd | SystemdService)) = arguments.r#use;
        Ok(Box::new(Unit {
            name: Some(arguments.name.0),
            state: arguments.state,
            enabled: arguments.enabled.map(|flag| flag.0),
            masked: None,
            daemon_reload: false,
            daemon_reexec: false,
            flags: Sh::default(),
        }))
    }
}
