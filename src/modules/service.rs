//! `service`: a service runs or not, is started at boot or not. Every host that we know runs systemd.

use serde::Deserialize;

use super::{
    Arguments, Flag, Module, Operation, Text,
    script::Sh,
    systemd::{Unit, UnitState},
};
use crate::error::Result;

pub(super) struct Service;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ServiceArguments {
    name: Text,
    state: Option<UnitState>,
    enabled: Option<Flag>,
    /// The service manager; whatever is named, it is systemd.
    r#use: Option<Text>,
}

impl Module for Service {
    fn name(&self) -> &'static str {
        "service"
    }

    fn arguments(&self) -> &'static [&'static str] {
        &["name", "state", "enabled", "use"]
    }

    fn prepare(&self, task: &Arguments<'_>) -> Result<Box<dyn Operation>> {
        let arguments: ServiceArguments = super::read(task.named)?;
        let _ = arguments.r#use;
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
