//! `package`: the host's own package manager; every host that we know has apt.

use super::{Arguments, Module, Operation, apt::Apt};
use crate::error::Result;

pub(super) struct Package;

impl Module for Package {
    fn name(&self) -> &'static str {
        "package"
    }

    fn arguments(&self) -> &'static [&'static str] {
        &["name", "state", "use", "update_cache", "cache_valid_time"]
    }

    fn prepare(&self, task: &Arguments<'_>) -> Result<Box<dyn Operation>> {
        let mut named = task.named.clone();
        named.remove("use");
        Apt.prepare(&Arguments { named: &named, free_form: None, sources: task.sources })
    }
}
