//! Thin typed clients of REST APIs, in the builder style of aws-sdk-ec2. They know nothing of our YAML or our resources.
//! May import the vocabulary only.

pub mod aws;
pub mod docker;
pub mod retry;
pub mod yandex;
