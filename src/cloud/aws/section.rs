//! The section `aws` of an environment file.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::cloud::{Capabilities, Descriptor, SectionType};

/// The provider `aws`.
pub const DESCRIPTOR: Descriptor = Descriptor {
    name: "aws",
    about: "Amazon Web Services.",
    section: SectionType::of::<AwsSettings>(),
    shorthand: None,
    capabilities: Capabilities {
        manages_postgres: true,
        several_ranges: false,
        reaches_public_machines: false,
        leaves_out: false,
    },
};

/// Settings of the provider `aws`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AwsSettings {
    /// The region; without it that of the variables or of the profile.
    pub region: Option<String>,
    /// The zone of subnets that name none; without it the region's first.
    pub zone: Option<String>,
    /// The profile of the shared configuration files; without it the usual search for credentials.
    pub profile: Option<String>,
    /// A shared credentials file, relative to this file; without it `AWS_SHARED_CREDENTIALS_FILE`, then `~/.aws/credentials`.
    pub shared_credentials_file: Option<String>,
    /// The type of volumes that name none.
    pub disk_type: String,
    /// Images by family, for those who pin their own: image ids.
    pub images: IndexMap<String, String>,
    /// The address of all services; without it `AWS_ENDPOINT_URL`, then Amazon's own.
    pub endpoint: Option<String>,
    /// Addresses of single services: `ec2`, `ssm`, `sts`.
    pub endpoints: IndexMap<String, String>,
}

impl Default for AwsSettings {
    fn default() -> Self {
        Self {
            region: None,
            zone: None,
            profile: None,
            shared_credentials_file: None,
            disk_type: "gp3".to_owned(),
            images: IndexMap::new(),
            endpoint: None,
            endpoints: IndexMap::new(),
        }
    }
}
