//! The section `docker` of an environment file.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::cloud::{Capabilities, Descriptor, SectionType};

/// The provider `docker`.
pub const DESCRIPTOR: Descriptor = Descriptor {
    name: "docker",
    about: "Containers of a Docker Engine that behave like machines.",
    section: SectionType::of::<DockerSettings>(),
    shorthand: None,
    capabilities: Capabilities {
        manages_postgres: false,
        several_ranges: false,
        reaches_public_machines: true,
        leaves_out: true,
    },
};

/// Settings of the provider `docker`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DockerSettings {
    /// The engine's address, as in `DOCKER_HOST`; without it that variable, then `/var/run/docker.sock`.
    pub host: Option<String>,
    /// Images to boot, by image family, for those who have their own: they must run systemd and sshd.
    pub images: IndexMap<String, String>,
}
