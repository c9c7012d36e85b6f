//! Thin typed clients of REST APIs, in the builder style of aws-sdk-ec2. They know nothing of our resources, and of our
//! YAML the section with their settings only. May import the vocabulary only.

pub mod aws;
mod descriptor;
pub mod docker;
pub mod retry;
pub mod yandex;

use std::time::Duration;

pub use self::descriptor::{
    Capabilities, Descriptor, ProviderName, Section, SectionType, Sections, section_keys, section_properties,
};
use crate::authorities;

/// The providers, as environment files name them; the first one is that of a file that names none.
pub const PROVIDERS: &[&Descriptor] = &[&docker::DESCRIPTOR, &yandex::DESCRIPTOR, &aws::DESCRIPTOR];

/// How connections are encrypted that are not HTTP; certificates in PEM are trusted beside the usual ones.
pub(crate) fn tls(others: &[String]) -> rustls::ClientConfig {
    rustls::ClientConfig::builder().with_root_certificates(authorities::trusted(others)).with_no_client_auth()
}

/// An HTTP client for a cloud's API.
fn http() -> crate::error::Result<reqwest::Client> {
    Ok(builder().build()?)
}

/// An HTTP client for the metadata service of this machine: never through a proxy, which would answer with the credentials of
/// its own machine, and see ours.
fn metadata() -> crate::error::Result<reqwest::Client> {
    Ok(builder().no_proxy().build()?)
}

fn builder() -> reqwest::ClientBuilder {
    let builder = reqwest::Client::builder().connect_timeout(Duration::from_secs(10)).timeout(Duration::from_mins(1));
    // Not the verifier of the platform, which refuses to exist on a machine without certificates.
    let builder = builder.tls_backend_preconfigured(tls(&[]));
    builder.user_agent(concat!("infra/", env!("CARGO_PKG_VERSION")))
}
