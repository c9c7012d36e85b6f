//! Objects in a bucket: of Amazon, of Yandex Object Storage, or of another store that honours conditional writes.

use std::{collections::BTreeMap, fmt, time::Duration};

use async_trait::async_trait;

use super::backend::{Backend, Expect, Tag};
use crate::{
    cloud::aws::{AwsError, Client, Settings, credentials::Sources, s3::Condition},
    config::S3Settings,
    error::{Error, Result},
    identity,
};

/// What an object says between the two steps of its removal.
const REMOVED: &str = "{\"removed\": true}";

/// A folder of a bucket.
pub struct S3Backend {
    client: Client,
    bucket: String,
    prefix: String,
}

impl fmt::Debug for S3Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place())
    }
}

impl S3Backend {
    /// The store that the settings name; nothing is sent yet.
    ///
    /// # Errors
    /// When no region is known, or the shared files cannot be read.
    pub fn open(settings: &S3Settings) -> Result<Self> {
        let mut sources = Sources::of_process(settings.profile.clone());
        if let Some(path) = &settings.shared_credentials_file {
            sources.variables.insert("AWS_SHARED_CREDENTIALS_FILE".to_owned(), path.display().to_string());
        }
        let variable = |name: &str| sources.variable(name).map(str::to_owned);
        let endpoint = settings.endpoint.clone().or_else(|| variable("AWS_ENDPOINT_URL_S3"));
        let endpoint = endpoint.or_else(|| variable("AWS_ENDPOINT_URL"));
        let region = settings.region.clone().or_else(|| variable("AWS_REGION"));
        let region = match region.or_else(|| variable("AWS_DEFAULT_REGION")) {
            Some(region) => region,
            // Other stores have one region, and call it what they like; this is what most of them expect.
            None if endpoint.is_some() => "us-east-1".to_owned(),
            None => {
                return Err(Error::usage("the bucket of the state needs a region")
                    .hint("write `state: {s3: {region: eu-central-1}}`, or set AWS_REGION"));
            }
        };
        let client = Client::new(Settings { region, endpoint, endpoints: BTreeMap::new() }, sources)?;
        let prefix = settings.prefix.trim_matches('/').to_owned();
        Ok(Self { client, bucket: settings.bucket.clone(), prefix })
    }

    fn path(&self, key: &str) -> String {
        if self.prefix.is_empty() { key.to_owned() } else { format!("{}/{key}", self.prefix) }
    }

    fn explain(&self, error: AwsError) -> Error {
        let hint = match error.code() {
            "NoSuchBucket" => Some(format!("make the bucket first: `aws s3 mb s3://{}`", self.bucket)),
            "NotImplemented" => {
                Some("conditional writes are needed: use another store, or `state: {postgres: ...}`".to_owned())
            }
            _ => None,
        };
        let error = Error::from(error).context(format!("the state in {} cannot be reached", self.place()));
        hint.into_iter().fold(error, Error::hint)
    }

    async fn raw(&self, key: &str) -> Result<Option<(String, Tag)>> {
        let found = self.client.get_object(&self.bucket, &self.path(key)).await;
        Ok(found.map_err(|error| self.explain(error))?.map(|(text, tag)| (text, Tag(tag))))
    }

    async fn put_raw(&self, key: &str, text: &str, condition: &Condition) -> Result<Option<Tag>> {
        let put = self.client.put_object(&self.bucket, &self.path(key), text, condition).await;
        Ok(put.map_err(|error| self.explain(error))?.map(Tag))
    }

    /// Tries both conditions, met and not met, on a key of its own: what the store does otherwise, if anything.
    async fn ignored_condition(&self, key: &str) -> Result<Option<&'static str>> {
        let Some(first) = self.put_raw(key, "1", &Condition::Absent).await? else {
            return Ok(Some("it refuses `If-None-Match: *` where nothing is"));
        };
        if self.put_raw(key, "2", &Condition::Absent).await?.is_some() {
            return Ok(Some("it ignores `If-None-Match: *`"));
        }
        let Some(second) = self.put_raw(key, "3", &Condition::Tag(first.0.clone())).await? else {
            return Ok(Some("it refuses `If-Match` of the version that is there"));
        };
        if second == first {
            return Ok(Some("it gives two versions of an object one entity tag"));
        }
        if self.put_raw(key, "4", &Condition::Tag(first.0)).await?.is_some() {
            return Ok(Some("it ignores `If-Match`"));
        }
        Ok(None)
    }

    fn condition(expect: &Expect) -> Condition {
        match expect {
            Expect::Absent => Condition::Absent,
            Expect::Tag(tag) => Condition::Tag(tag.0.clone()),
        }
    }
}

#[async_trait]
impl Backend for S3Backend {
    fn place(&self) -> String {
        format!("s3://{}/{}", self.bucket, self.prefix)
    }

    async fn get(&self, key: &str) -> Result<Option<(String, Tag)>> {
        Ok(self.raw(key).await?.filter(|(text, _)| text != REMOVED))
    }

    async fn put(&self, key: &str, text: &str, expect: &Expect) -> Result<Option<Tag>> {
        let put = self.put_raw(key, text, &Self::condition(expect)).await?;
        if put.is_some() || *expect != Expect::Absent {
            return Ok(put);
        }
        // A removal that was interrupted half-way counts as done.
        match self.raw(key).await? {
            Some((there, tag)) if there == REMOVED => self.put_raw(key, text, &Condition::Tag(tag.0)).await,
            _ => Ok(None),
        }
    }

    async fn delete(&self, key: &str, tag: &Tag) -> Result<bool> {
        // Not every store knows conditional removals: what is removed is first marked as such, in place of this version.
        let Some(marked) = self.put_raw(key, REMOVED, &Condition::Tag(tag.0.clone())).await? else { return Ok(false) };
        let deleted = self.client.delete_object(&self.bucket, &self.path(key), &Condition::Tag(marked.0)).await;
        // Whoever has written since found it removed.
        deleted.map_err(|error| self.explain(error)).map(|_| true)
    }

    async fn list(&self, name: &str) -> Result<Vec<String>> {
        let prefix = self.path("");
        let keys = self.client.list_objects(&self.bucket, &prefix).await.map_err(|error| self.explain(error))?;
        let own = keys.iter().filter_map(|key| key.strip_prefix(&prefix));
        Ok(own.filter(|key| key.ends_with(&format!("/{name}"))).map(str::to_owned).collect())
    }

    async fn probe(&self) -> Result<()> {
        let key = format!(".probe-{}", identity::random_text(12)?.to_ascii_lowercase());
        let refused = self.ignored_condition(&key).await;
        let removed = self.client.delete_object(&self.bucket, &self.path(&key), &Condition::Always).await;
        removed.map_err(|error| self.explain(error))?;
        let Some(ignored) = refused? else { return Ok(()) };
        Err(Error::usage(format!("{} does not honour conditional writes: {ignored}", self.place())).hint(
            "two commands would overwrite each other's state there: use another store, or `state: {postgres: ...}`",
        ))
    }

    fn poll(&self) -> Duration {
        Duration::from_secs(1)
    }
}
