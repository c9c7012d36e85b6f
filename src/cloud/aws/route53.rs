//! Zones of names: the Route 53 API, version 2013-04-01: XML over REST, one for all regions.

use quick_xml::escape::escape;
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Client, Exchange, Result, Service,
    ec2::{Tag, Tags},
    typed, xml,
};
use crate::percent::encode;

/// Where everything is.
const ROOT: &str = "/2013-04-01";

/// A zone.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct HostedZone {
    /// Its id, as `/hostedzone/Z1`.
    pub id: String,
    /// Its domain, with a dot at the end.
    pub name: String,
    /// What its maker said, unique in the account.
    pub caller_reference: String,
}

impl HostedZone {
    /// The id without its path.
    #[must_use]
    pub fn short_id(&self) -> &str {
        self.id.rsplit('/').next().unwrap_or_default()
    }
}

/// The records of one name and type.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RecordSet {
    /// The name, with a dot at the end.
    pub name: String,
    /// The type.
    pub r#type: String,
    /// How long others may remember it, in seconds.
    #[serde(rename = "TTL")]
    pub ttl: String,
    /// What they say.
    pub resource_records: Vec<Record>,
}

/// What a record says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Record {
    /// It.
    pub value: String,
}

fn element(name: &str, text: &str) -> String {
    format!("<{name}>{}</{name}>", escape(text))
}

/// A document of this API.
fn document(name: &str, content: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <{name} xmlns=\"https://route53.amazonaws.com/doc/2013-04-01/\">{content}</{name}>"
    )
}

impl Client {
    async fn names(&self, method: Method, path: &str, query: &[(&str, &str)], body: String) -> Result<Value> {
        let mut pairs: Vec<String> =
            query.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
        pairs.sort();
        let exchange = Exchange {
            service: Service::Route53,
            method,
            path: format!("{ROOT}{path}"),
            query: pairs.join("&"),
            content_type: "application/xml",
            target: None,
            headers: Vec::new(),
            body,
        };
        // A zone has the reference of its maker, and records are set to what they should be: every call may be repeated.
        let answer = self.retried(&exchange, path, true, Self::keys).await?;
        Ok(xml::parse(&answer)?)
    }

    /// All zones of the account.
    ///
    /// # Errors
    /// When the cloud refuses or does not answer.
    pub async fn hosted_zones(&self) -> Result<Vec<HostedZone>> {
        let mut all = Vec::new();
        let mut marker = String::new();
        loop {
            let mut query = vec![("maxitems", "100")];
            if !marker.is_empty() {
                query.push(("marker", &marker));
            }
            let mut page = self.names(Method::GET, "/hostedzone", &query, String::new()).await?;
            if let Some(items) = page.get_mut("HostedZones") {
                all.extend(typed::<Vec<HostedZone>>(items.take())?);
            }
            match page.get("NextMarker").and_then(Value::as_str) {
                Some(next) => marker = next.to_owned(),
                None => return Ok(all),
            }
        }
    }

    /// Makes a zone; with a network (its region and id) only that can see it.
    ///
    /// # Errors
    /// When the cloud refuses; one with the same reference is such a reason.
    pub async fn create_hosted_zone(
        &self, zone: &str, reference: &str, network: Option<(&str, &str)>,
    ) -> Result<String> {
        let mut content = element("Name", zone);
        if let Some((region, id)) = network {
            content += &format!("<VPC>{}{}</VPC>", element("VPCRegion", region), element("VPCId", id));
        }
        content += &element("CallerReference", reference);
        let private = network.is_some().to_string();
        let comment = element("Comment", "made by infra");
        content += &format!("<HostedZoneConfig>{comment}{}</HostedZoneConfig>", element("PrivateZone", &private));
        let body = document("CreateHostedZoneRequest", &content);
        let answer = self.names(Method::POST, "/hostedzone", &[], body).await?;
        let id = answer.pointer("/HostedZone/Id").and_then(Value::as_str).unwrap_or_default();
        Ok(id.rsplit('/').next().unwrap_or_default().to_owned())
    }

    /// Removes a zone that has no records but its own.
    ///
    /// # Errors
    /// When it has others.
    pub async fn delete_hosted_zone(&self, id: &str) -> Result<Value> {
        self.names(Method::DELETE, &format!("/hostedzone/{id}"), &[], String::new()).await
    }

    /// The tags of a zone.
    ///
    /// # Errors
    /// When it does not exist.
    pub async fn zone_tags(&self, id: &str) -> Result<Vec<Tag>> {
        let mut answer = self.names(Method::GET, &format!("/tags/hostedzone/{id}"), &[], String::new()).await?;
        let tags = answer.pointer_mut("/ResourceTagSet/Tags").map_or_else(|| json!([]), Value::take);
        typed(tags)
    }

    /// Tags a zone.
    ///
    /// # Errors
    /// When it does not exist.
    pub async fn tag_zone(&self, id: &str, tags: &Tags) -> Result<Value> {
        let tag =
            |(key, value): (&String, &String)| format!("<Tag>{}{}</Tag>", element("Key", key), element("Value", value));
        let tags: String = tags.iter().map(tag).collect();
        let body = document("ChangeTagsForResourceRequest", &format!("<AddTags>{tags}</AddTags>"));
        self.names(Method::POST, &format!("/tags/hostedzone/{id}"), &[], body).await
    }

    /// The records of a zone.
    ///
    /// # Errors
    /// When it does not exist.
    pub async fn record_sets(&self, id: &str) -> Result<Vec<RecordSet>> {
        let mut all = Vec::new();
        let mut from: Option<(String, String)> = None;
        loop {
            let mut query = vec![("maxitems", "300")];
            if let Some((name, kind)) = &from {
                query.extend([("name", name.as_str()), ("type", kind.as_str())]);
            }
            let mut page = self.names(Method::GET, &format!("/hostedzone/{id}/rrset"), &query, String::new()).await?;
            if let Some(items) = page.get_mut("ResourceRecordSets") {
                all.extend(typed::<Vec<RecordSet>>(items.take())?);
            }
            let text = |name: &str| page.get(name).and_then(Value::as_str).map(str::to_owned);
            match (text("NextRecordName"), text("NextRecordType")) {
                (Some(name), Some(kind)) => from = Some((name, kind)),
                _ => return Ok(all),
            }
        }
    }

    /// Removes records and sets others, all at once or none.
    ///
    /// # Errors
    /// When one of those that go does not exist as it is told.
    pub async fn change_record_sets(&self, id: &str, gone: &[RecordSet], set: &[RecordSet]) -> Result<Value> {
        let change = |action: &str, records: &RecordSet| {
            let values: String = records
                .resource_records
                .iter()
                .map(|record| format!("<ResourceRecord>{}</ResourceRecord>", element("Value", &record.value)))
                .collect();
            let inside = [
                element("Name", &records.name),
                element("Type", &records.r#type),
                element("TTL", &records.ttl),
                format!("<ResourceRecords>{values}</ResourceRecords>"),
            ];
            let set = format!("<ResourceRecordSet>{}</ResourceRecordSet>", inside.concat());
            format!("<Change>{}{set}</Change>", element("Action", action))
        };
        let changes: String = gone
            .iter()
            .map(|records| change("DELETE", records))
            .chain(set.iter().map(|records| change("UPSERT", records)))
            .collect();
        let content = format!("<ChangeBatch><Changes>{changes}</Changes></ChangeBatch>");
        let body = document("ChangeResourceRecordSetsRequest", &content);
        self.names(Method::POST, &format!("/hostedzone/{id}/rrset/"), &[], body).await
    }
}
