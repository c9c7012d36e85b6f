//! `package`: the host's own package manager; every host that we know has apt.

use serde::Deserialize;

use super::{
    Argument, Arguments, Call, Declared, Flag, List, Module, Number, Operation,
    apt::{AptArguments, PackageState},
    declaration::{arguments, choices},
};
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

choices!(PackageManager);

arguments! {
    struct PackageArguments {
        #[serde(default)]
        name: List,
        #[serde(default)]
        state: PackageState,
        r#use: Option<PackageManager>,
        update_cache: Option<Flag>,
        cache_valid_time: Option<Number<u64>>,
    }
}

impl Call for Package {
    fn name(&self) -> &'static str {
        "package"
    }

    fn about(&self) -> &'static str {
        "Installs or removes packages with the package manager of the host, which is apt."
    }

    fn arguments(&self) -> &'static [Argument] {
        PackageArguments::ARGUMENTS
    }
}

impl Module for Package {
    fn operation(&self, task: &Arguments<'_>) -> Result<Box<dyn Operation>> {
        let arguments: PackageArguments = super::read(task.named)?;
        let (None | Some(PackageManager::Auto | PackageManager::Apt)) = arguments.r#use;
        let PackageArguments { name, state, update_cache, cache_valid_time, .. } = arguments;
        AptArguments::of_packages(name, state, update_cache, cache_valid_time).operation()
    }
}
