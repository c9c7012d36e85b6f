//! The section `state`: where what is known of an environment is kept.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;

/// Where the state is kept: in `.infra/` of the project, unless `s3` or `postgres` is given.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct StateSection {
    /// In a bucket of Amazon S3, Yandex Object Storage, or another store that honours conditional writes.
    s3: Option<S3>,
    /// In a PostgreSQL database.
    postgres: Option<StatePostgres>,
    /// The key that secrets are encrypted with, relative to this file: one of age, or a private SSH key of the kind Ed25519.
    /// Without it the variable `INFRA_AGE_KEY`, then `.infra/key.txt` of the project, which is made on first use.
    key_file: Option<String>,
    /// Who else can decrypt: public keys of age, as `age1...`.
    recipients: Vec<String>,
    /// What is encrypted.
    encrypt: Encrypt,
}

/// What of a state is encrypted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Encrypt {
    /// The secrets; the rest can be read by people.
    #[default]
    Secrets,
    /// All of it.
    All,
}

/// A bucket.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct S3 {
    /// Its name.
    bucket: String,
    /// The folder in it.
    #[serde(default)]
    prefix: String,
    /// Its region; without it `AWS_REGION`.
    #[serde(default)]
    region: Option<String>,
    /// The address of the store, when it is not Amazon's: `https://storage.yandexcloud.net`; without it `AWS_ENDPOINT_URL_S3`.
    #[serde(default)]
    endpoint: Option<String>,
    /// The profile of the shared credentials; without it `AWS_PROFILE`.
    #[serde(default)]
    profile: Option<String>,
    /// The file of the shared credentials, relative to this file.
    #[serde(default)]
    shared_credentials_file: Option<String>,
}

/// A database that keeps states.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct StatePostgres {
    /// Its address: `postgres://user@host:5432/database`; the variable `INFRA_STATE_URL` wins over it, and `PGPASSWORD`
    /// holds the password. The connection is encrypted, and the server's certificate is verified, unless the address ends with
    /// `?sslmode=disable`; to this machine itself it is encrypted where the server can.
    url: String,
    /// The certificate of the server's authority, relative to this file, when this machine does not trust it anyway.
    ca_file: Option<String>,
}

impl StateSection {
    /// Whether it names two places.
    pub(super) fn is_ambiguous(&self) -> bool {
        self.s3.is_some() && self.postgres.is_some()
    }

    /// What it means for a file in this folder.
    pub(super) fn settings(self, folder: &Path) -> StateSettings {
        StateSettings {
            s3: self.s3.map(|s3| S3Settings {
                bucket: s3.bucket,
                prefix: s3.prefix,
                region: s3.region,
                endpoint: s3.endpoint,
                profile: s3.profile,
                shared_credentials_file: s3.shared_credentials_file.map(|path| folder.join(path)),
            }),
            postgres: self.postgres.map(|database| PostgresSettings {
                url: database.url,
                ca_file: database.ca_file.map(|path| folder.join(expand(&path))),
            }),
            key_file: self.key_file.map(|path| folder.join(expand(&path))),
            recipients: self.recipients,
            encrypt_all: self.encrypt == Encrypt::All,
        }
    }
}

/// A path with `~` for the home folder, as shells have it.
fn expand(path: &str) -> PathBuf {
    match (path.strip_prefix("~/"), std::env::home_dir()) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => PathBuf::from(path),
    }
}

/// Where states lie, and how they are encrypted. Without a bucket or a database they are files of the project.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateSettings {
    /// A bucket.
    pub s3: Option<S3Settings>,
    /// A database.
    pub postgres: Option<PostgresSettings>,
    /// The file with the key.
    pub key_file: Option<PathBuf>,
    /// Who else can decrypt.
    pub recipients: Vec<String>,
    /// Whether all of it is encrypted, and not the secrets only.
    pub encrypt_all: bool,
}

impl StateSettings {
    /// Whether states are kept elsewhere than on this machine.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.s3.is_some() || self.postgres.is_some()
    }
}

/// A database that keeps states.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PostgresSettings {
    /// Its address.
    pub url: String,
    /// The certificate of its authority.
    pub ca_file: Option<PathBuf>,
}

/// A folder of a bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct S3Settings {
    /// The bucket.
    pub bucket: String,
    /// The folder in it.
    pub prefix: String,
    /// Its region.
    pub region: Option<String>,
    /// The address of the store, when it is not Amazon's.
    pub endpoint: Option<String>,
    /// The profile of the shared credentials.
    pub profile: Option<String>,
    /// The file of the shared credentials.
    pub shared_credentials_file: Option<PathBuf>,
}
