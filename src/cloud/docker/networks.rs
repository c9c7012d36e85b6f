//! Networks.

use std::collections::BTreeMap;

use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Client, Result, label_filter};

/// A network as a list shows it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Network {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// When it was made, in RFC 3339.
    pub created: String,
    /// Its labels.
    #[serde(default)]
    pub labels: Option<BTreeMap<String, String>>,
    /// Its address ranges.
    #[serde(rename = "IPAM")]
    pub ipam: Ipam,
}

/// The address ranges of a network.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Ipam {
    /// One entry a range.
    #[serde(default)]
    pub config: Option<Vec<IpamRange>>,
}

/// One address range.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct IpamRange {
    /// As `10.5.0.0/24`; IPv6 ranges occur too.
    #[serde(default)]
    pub subnet: String,
}

impl Network {
    /// Its first address range.
    #[must_use]
    pub fn cidr(&self) -> Option<&str> {
        self.ipam.config.as_ref()?.first().map(|range| range.subnet.as_str())
    }
}

/// `POST /networks/create`, built up field by field.
#[must_use = "call `send`"]
pub struct CreateNetwork<'a> {
    client: &'a Client,
    body: Value,
}

impl CreateNetwork<'_> {
    /// Its IPv4 range.
    pub fn cidr(mut self, cidr: &str) -> Self {
        self.body["IPAM"] = json!({ "Config": [{ "Subnet": cidr }] });
        self
    }

    /// Labels.
    pub fn labels(mut self, labels: &BTreeMap<String, String>) -> Self {
        self.body["Labels"] = json!(labels);
        self
    }

    /// The largest packet in bytes.
    pub fn mtu(mut self, mtu: u32) -> Self {
        self.body["Options"]["com.docker.network.driver.mtu"] = mtu.to_string().into();
        self
    }

    /// Creates the network and returns its id.
    ///
    /// # Errors
    /// When the engine refuses: the name is taken, the range overlaps another network's.
    pub async fn send(self) -> Result<String> {
        #[derive(Deserialize)]
        struct Created {
            #[serde(rename = "Id")]
            id: String,
        }
        let created: Created =
            self.client.json(self.client.request(Method::POST, "/networks/create").json(&self.body)).await?;
        Ok(created.id)
    }
}

impl Client {
    /// All networks, or those that carry a label (`key=value` or `key`).
    ///
    /// # Errors
    /// When the engine does not answer.
    pub async fn list_networks(&self, label: Option<&str>) -> Result<Vec<Network>> {
        let query: Vec<(&str, String)> = label.map(|label| ("filters", label_filter(label))).into_iter().collect();
        self.json(self.request(Method::GET, "/networks").query(&query)).await
    }

    /// Begins the creation of a bridge network. The engine refuses a second one of the same name.
    pub fn create_network(&self, name: &str) -> CreateNetwork<'_> {
        CreateNetwork { client: self, body: json!({ "Name": name, "Driver": "bridge", "CheckDuplicate": true }) }
    }

    /// Removes a network.
    ///
    /// # Errors
    /// When it has containers, or is gone already.
    pub async fn remove_network(&self, id: &str) -> Result<()> {
        self.done(self.request(Method::DELETE, &format!("/networks/{id}"))).await
    }
}
