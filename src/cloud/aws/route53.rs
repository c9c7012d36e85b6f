//! Zones of names: the Route 53 API, version 2013-04-01: XML over REST, one for all regions.

use quick_xml::escape::escape;
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    Client, Exchange, Result, Service,
    ec2::{Tag, Tags},
    typed, xml,
};
use crate::encoding::encode;

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
    /// What they stand for, instead of saying something themselves: such records have no TTL.
    pub alias_target: Option<AliasTarget>,
    /// What else records of someone's routing policy have: identifiers, weights, regions, places, health checks.
    #[serde(flatten)]
    pub others: Map<String, Value>,
}

/// The elements of a record set in the order in which the API takes them.
const ELEMENTS: &[&str] = &[
    "SetIdentifier",
    "Weight",
    "Region",
    "GeoLocation",
    "Failover",
    "MultiValueAnswer",
    "TTL",
    "ResourceRecords",
    "AliasTarget",
    "HealthCheckId",
    "TrafficPolicyInstanceId",
    "CidrRoutingConfig",
    "GeoProximityLocation",
];

/// What a record stands for: a balancer, which has a name and no fixed address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct AliasTarget {
    /// The zone that the service keeps the target's name in.
    pub hosted_zone_id: String,
    /// The target's name, with a dot at the end.
    #[serde(rename = "DNSName")]
    pub dns_name: String,
    /// Whether an unhealthy target is left out: `true` or `false`.
    pub evaluate_target_health: String,
}

impl RecordSet {
    /// The set as the API takes it.
    fn written(&self) -> String {
        let text = |name: &str, value: &Value| nested(name, value);
        let element_of = |name: &&str| match *name {
            "TTL" if !self.ttl.is_empty() => element("TTL", &self.ttl),
            "ResourceRecords" if !self.resource_records.is_empty() => {
                let record =
                    |one: &Record| format!("<ResourceRecord>{}</ResourceRecord>", element("Value", &one.value));
                let records: String = self.resource_records.iter().map(record).collect();
                format!("<ResourceRecords>{records}</ResourceRecords>")
            }
            "AliasTarget" => self.alias_target.as_ref().map_or_else(String::new, |alias| {
                let inside = [
                    element("HostedZoneId", &alias.hosted_zone_id),
                    element("DNSName", &alias.dns_name),
                    element("EvaluateTargetHealth", &alias.evaluate_target_health),
                ];
                format!("<AliasTarget>{}</AliasTarget>", inside.concat())
            }),
            name => self.others.get(name).map_or_else(String::new, |value| text(name, value)),
        };
        let rest: String = ELEMENTS.iter().map(element_of).collect();
        let inside = [element("Name", &self.name), element("Type", &self.r#type), rest];
        format!("<ResourceRecordSet>{}</ResourceRecordSet>", inside.concat())
    }
}

/// An element with others in it, or with a text.
fn nested(name: &str, value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let inside: String = fields.iter().map(|(name, value)| nested(name, value)).collect();
            format!("<{name}>{inside}</{name}>")
        }
        Value::String(text) => element(name, text),
        other => element(name, &other.to_string()),
    }
}

/// A name as people write it. The service writes other signs than letters, digits, `-`, `_` and `.` as `\052`: that is `*`.
/// <https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/DomainNameFormat.html>
fn plain(name: &str) -> String {
    let mut parts = name.split('\\');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let sign = part.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match sign {
            Some(sign) => {
                text.push(char::from(sign));
                text += &part[3..];
            }
            None => {
                text.push('\\');
                text += part;
            }
        }
    }
    text
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
        // A zone has the reference of its maker, and records are set to what they should be: every call may be repeated. The
        // caller of `change_record_sets` looks again when a repeated removal is refused.
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
        let mut from: Option<[(&str, String); 3]> = None;
        loop {
            let mut query = vec![("maxitems", "300")];
            for (name, value) in from.iter().flatten().filter(|(_, value)| !value.is_empty()) {
                query.push((name, value));
            }
            let mut page = self.names(Method::GET, &format!("/hostedzone/{id}/rrset"), &query, String::new()).await?;
            if let Some(items) = page.get_mut("ResourceRecordSets") {
                let mut sets = typed::<Vec<RecordSet>>(items.take())?;
                for one in &mut sets {
                    one.name = plain(&one.name);
                }
                all.extend(sets);
            }
            let text = |name: &str| page.get(name).and_then(Value::as_str).map(str::to_owned);
            match (text("NextRecordName"), text("NextRecordType")) {
                (Some(name), Some(kind)) => {
                    let identifier = text("NextRecordIdentifier").unwrap_or_default();
                    from = Some([("name", name), ("type", kind), ("identifier", identifier)]);
                }
                _ => return Ok(all),
            }
        }
    }

    /// Removes records and sets others, all at once or none.
    ///
    /// # Errors
    /// When one of those that go does not exist as it is described: `InvalidChangeBatch`, also where an earlier call removed it
    /// and its answer was lost.
    pub async fn change_record_sets(&self, id: &str, gone: &[RecordSet], set: &[RecordSet]) -> Result<Value> {
        let change = |action: &str, records: &RecordSet| {
            format!("<Change>{}{}</Change>", element("Action", action), records.written())
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{RecordSet, plain, typed};

    #[test]
    fn names_are_read_as_people_write_them() {
        assert_eq!(plain("\\052.example.org."), "*.example.org.");
        assert_eq!(plain("a\\100b.example.org."), "a@b.example.org.");
        assert_eq!(plain("www.example.org."), "www.example.org.");
    }

    #[test]
    fn records_of_others_are_written_as_they_were_read() {
        let alias: RecordSet = typed(json!({
            "Name": "a.example.org.", "Type": "A", "SetIdentifier": "one", "Weight": "10",
            "AliasTarget": { "HostedZoneId": "Z2", "DNSName": "x.elb.amazonaws.com.", "EvaluateTargetHealth": "false" },
        }))
        .unwrap();
        assert_eq!(
            alias.written(),
            "<ResourceRecordSet><Name>a.example.org.</Name><Type>A</Type><SetIdentifier>one</SetIdentifier><Weight>10</Weight>\
             <AliasTarget><HostedZoneId>Z2</HostedZoneId><DNSName>x.elb.amazonaws.com.</DNSName>\
             <EvaluateTargetHealth>false</EvaluateTargetHealth></AliasTarget></ResourceRecordSet>"
        );
        let plain: RecordSet = typed(json!({
            "Name": "b.example.org.", "Type": "TXT", "TTL": "300",
            "ResourceRecords": [{ "Value": "\"one\"" }, { "Value": "\"two\"" }],
        }))
        .unwrap();
        assert!(plain.others.is_empty());
        assert_eq!(
            plain.written(),
            "<ResourceRecordSet><Name>b.example.org.</Name><Type>TXT</Type><TTL>300</TTL><ResourceRecords>\
             <ResourceRecord><Value>&quot;one&quot;</Value></ResourceRecord>\
             <ResourceRecord><Value>&quot;two&quot;</Value></ResourceRecord></ResourceRecords></ResourceRecordSet>"
        );
    }
}
