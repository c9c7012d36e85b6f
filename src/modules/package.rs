//! `package`: the host's own package manager; every host that we know has apt.

use serde::Deserialize;

use super::{Arguments, Module, Operation, apt::Apt};
use crate::error::Result;

pub(super) struct Package;

/// What installs packages: apt, also where the machine is to say so itself.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum PackageManager {
    Auto,
    #[serde(alias = "ansible.builtin.apt")]
    Apt,
}

#[derive(Deserialize)]
struct PackageArguments {
    r#use: Option<PackageManager>,
}

impl Module for Package {
    fn name(&self) -> &'static str {
        "package"
    }

    fn arguments(&self) -> &'static [&'static str] {
        &["name", "state", "use", "update_cache", "cache_valid_time"]
    }

    fn operation(&self, task: &Arguments<'_>) -> Result<Box<dyn Operation>> {
        let mut named = task.named.clone();
        named.remove("use");
        let PackageArguments { r#use: None | Some(PackageManager::Auto | PackageManager::Apt) } =
            super::read(task.named)?;
        Apt.operation(&Arguments { named: &named, free_form: None, sources: task.sources })
    }
}
