//! Objects in buckets: the S3 API, version 2006-03-01, as far as conditional writes need it. Works with stores that speak it
//! too. Addresses have the bucket in the path, which all of them understand.
//!
//! Conditions: <https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-requests.html>.

use std::time::Duration;

use reqwest::{Method, Response, StatusCode, header::ETAG};

use super::{AwsError, Client, Exchange, Result, Service, refusal, xml};
use crate::{
    cloud::retry::{Attempts, retry_after},
    encoding::encode,
    error::Error,
};

/// How long a call is tried again. A lease must not be waited for longer than it lasts.
const BUDGET: Duration = Duration::from_secs(20);

/// A condition of a write.
#[derive(Clone, Debug)]
pub enum Condition {
    /// The object does not exist.
    Absent,
    /// It has this entity tag.
    Tag(String),
    /// None.
    Always,
}

fn path(bucket: &str, key: &str) -> String {
    let key: Vec<String> = key.split('/').map(encode).collect();
    format!("/{}/{}", encode(bucket), key.join("/"))
}

/// The entity tag of an answer.
fn etag(response: &Response) -> Result<String> {
    let tag = response.headers().get(ETAG).and_then(|value| value.to_str().ok());
    Ok(tag.ok_or_else(|| Error::new("s3: an answer without an entity tag"))?.to_owned())
}

impl Client {
    /// Sends a call until it is answered. `None` means that a condition was not met (412). A conflict with another write of the
    /// same moment (409) says nothing about the condition: the call is made again.
    async fn object(
        &self, method: Method, path: String, query: String, body: String, condition: &Condition,
    ) -> Result<Option<Response>> {
        let headers = match condition {
            Condition::Absent => vec![("if-none-match", "*".to_owned())],
            Condition::Tag(tag) => vec![("if-match", tag.clone())],
            Condition::Always => Vec::new(),
        };
        let exchange = Exchange {
            service: Service::S3,
            method,
            path,
            query,
            content_type: "application/json",
            target: None,
            headers,
            body,
        };
        let mut attempts = Attempts::within(BUDGET);
        loop {
            let keys = Self::keys(self.clone()).await?;
            let (error, asked) = match self.exchange(&exchange, &keys).await {
                Ok(response) if response.status().is_success() => return Ok(Some(response)),
                Ok(response) if response.status() == StatusCode::PRECONDITION_FAILED => return Ok(None),
                Ok(response) => {
                    let (asked, status) = (retry_after(response.headers()), response.status());
                    let error = refusal(response).await;
                    let passes = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::CONFLICT)
                        || status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED;
                    if !passes {
                        return Err(error);
                    }
                    (error, asked)
                }
                Err(error) => (AwsError::Unknown(Error::from(error).context("s3: the store does not answer")), None),
            };
            if !attempts.pause(format!("the store to answer ({error})"), asked).await {
                return Err(error);
            }
        }
    }

    /// The text of an object and its entity tag; `None` when there is no such object.
    ///
    /// # Errors
    /// When the store refuses or does not answer.
    pub async fn get_object(&self, bucket: &str, key: &str) -> Result<Option<(String, String)>> {
        let sent = self.object(Method::GET, path(bucket, key), String::new(), String::new(), &Condition::Always).await;
        match sent {
            Ok(Some(response)) => {
                let tag = etag(&response)?;
                let text = response.text().await.map_err(|error| AwsError::Unknown(error.into()))?;
                Ok(Some((text, tag)))
            }
            Ok(None) => Err(Error::new("s3: a read was refused as if it were a write").into()),
            Err(AwsError::Refused { status: 404, code, .. }) if code != "NoSuchBucket" => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes an object and returns its entity tag; `None` when the condition was not met.
    ///
    /// # Errors
    /// When the store refuses or does not answer.
    pub async fn put_object(
        &self, bucket: &str, key: &str, text: &str, condition: &Condition,
    ) -> Result<Option<String>> {
        let sent = self.object(Method::PUT, path(bucket, key), String::new(), text.to_owned(), condition).await;
        match sent {
            // A condition on what does not exist is not met either.
            Err(AwsError::Refused { status: 404, code, .. }) if code != "NoSuchBucket" => Ok(None),
            sent => sent?.map(|response| etag(&response)).transpose(),
        }
    }

    /// Removes an object, and says whether the condition was met. "Already gone" is success. Not every store knows conditions
    /// of removals (Amazon's: <https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-deletes.html>): where they are
    /// refused as unknown, the object is removed without one.
    ///
    /// # Errors
    /// When the store refuses or does not answer.
    pub async fn delete_object(&self, bucket: &str, key: &str, condition: &Condition) -> Result<bool> {
        let send = async |condition: &Condition| {
            self.object(Method::DELETE, path(bucket, key), String::new(), String::new(), condition).await
        };
        let sent = match send(condition).await {
            Err(AwsError::Refused { status: 501, .. }) => send(&Condition::Always).await,
            sent => sent,
        };
        match sent {
            Err(AwsError::Refused { status: 404, code, .. }) if code != "NoSuchBucket" => Ok(true),
            sent => Ok(sent?.is_some()),
        }
    }

    /// The keys that begin with a text.
    ///
    /// # Errors
    /// When the store refuses or does not answer.
    pub async fn list_objects(&self, bucket: &str, prefix: &str) -> Result<Vec<String>> {
        let (mut keys, mut after) = (Vec::new(), String::new());
        loop {
            let query = format!("list-type=2&prefix={}&start-after={}", encode(prefix), encode(&after));
            let sent = self
                .object(Method::GET, format!("/{}", encode(bucket)), query, String::new(), &Condition::Always)
                .await?;
            let Some(response) = sent else { return Ok(keys) };
            let text = response.text().await.map_err(|error| AwsError::Unknown(error.into()))?;
            let answer = xml::parse(&text)?;
            let contents = match answer.get("Contents") {
                Some(serde_json::Value::Array(items)) => items.clone(),
                Some(one) => vec![one.clone()],
                None => Vec::new(),
            };
            let page: Vec<String> =
                contents.iter().filter_map(|item| item["Key"].as_str().map(str::to_owned)).collect();
            let more = answer["IsTruncated"] == "true";
            match page.last() {
                Some(last) if more => after.clone_from(last),
                _ => {
                    keys.extend(page);
                    return Ok(keys);
                }
            }
            keys.extend(page);
        }
    }
}
