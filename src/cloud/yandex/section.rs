//! The section `yandex` of an environment file.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::cloud::{Capabilities, Descriptor, SectionType};

/// The provider `yandex`.
pub const DESCRIPTOR: Descriptor = Descriptor {
    name: "yandex",
    about: "Yandex Cloud.",
    section: SectionType::of::<YandexSettings>(),
    shorthand: Some((
        "folder_id",
        "The Yandex Cloud folder that holds the environment; the same as `yandex.folder_id`.",
    )),
    capabilities: Capabilities {
        manages_postgres: true,
        several_ranges: true,
        reaches_public_machines: false,
        leaves_out: false,
    },
};

/// Settings of the provider `yandex`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct YandexSettings {
    /// The folder that holds the environment.
    pub folder_id: Option<String>,
    /// The zone of subnets and machines that name none.
    pub zone: String,
    /// The platform of machines: `standard-v3`, `standard-v2`, ...
    pub platform: String,
    /// The type of disks that name none.
    pub disk_type: String,
    /// The folder that image families are looked up in.
    pub image_folder: String,
    /// Images by family, for those who pin their own: image ids.
    pub images: IndexMap<String, String>,
    /// The authorized key of a service account, relative to this file; without it the variables
    /// `YC_SERVICE_ACCOUNT_KEY_FILE` and `YC_TOKEN` (an IAM or OAuth token), and the service account of the machine that this runs on.
    pub service_account_key_file: Option<String>,
    /// Where the addresses of all services are asked for, with its scheme; without it
    /// `YC_ENDPOINT`, then Yandex Cloud's own.
    pub endpoint: Option<String>,
    /// Addresses of single services: `compute`, `vpc`, `iam`, ...
    pub endpoints: IndexMap<String, String>,
}

impl Default for YandexSettings {
    fn default() -> Self {
        Self {
            folder_id: None,
            zone: "ru-central1-a".to_owned(),
            platform: "standard-v3".to_owned(),
            disk_type: "network-hdd".to_owned(),
            image_folder: "standard-images".to_owned(),
            images: IndexMap::new(),
            service_account_key_file: None,
            endpoint: None,
            endpoints: IndexMap::new(),
        }
    }
}
