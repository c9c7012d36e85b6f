//! Volumes.

use std::collections::BTreeMap;

use reqwest::Method;
use serde::Deserialize;
use serde_json::json;

use super::{Client, Result, label_filter};

/// A volume.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Volume {
    /// Its name, which is its id.
    pub name: String,
    /// When it was made, in RFC 3339.
    #[serde(default)]
    pub created_at: String,
    /// Its labels.
    #[serde(default)]
    pub labels: Option<BTreeMap<String, String>>,
}

impl Client {
    /// All volumes that carry a label (`key=value` or `key`).
    ///
    /// # Errors
    /// When the engine does not answer.
    pub async fn list_volumes(&self, label: &str) -> Result<Vec<Volume>> {
        #[derive(Deserialize)]
        struct Listed {
            #[serde(rename = "Volumes")]
            volumes: Option<Vec<Volume>>,
        }
        let query = [("filters", label_filter(label))];
        let listed: Listed = self.json(self.request(Method::GET, "/volumes").query(&query)).await?;
        Ok(listed.volumes.unwrap_or_default())
    }

    /// Creates a volume; one of the same name is left as it is.
    ///
    /// # Errors
    /// When the engine refuses.
    pub async fn create_volume(&self, name: &str, labels: &BTreeMap<String, String>) -> Result<()> {
        let body = json!({ "Name": name, "Labels": labels });
        self.done(self.request(Method::POST, "/volumes/create").json(&body)).await
    }

    /// Removes a volume.
    ///
    /// # Errors
    /// When a container uses it, or it is gone already.
    pub async fn remove_volume(&self, name: &str) -> Result<()> {
        self.done(self.request(Method::DELETE, &format!("/volumes/{name}"))).await
    }
}
