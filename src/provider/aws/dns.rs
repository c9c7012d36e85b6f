//! Zones of names.

use async_trait::async_trait;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{Account, Driver, Health, LABEL_TOKEN, Object, READY, Request, explain, needed, object, tag};
use crate::{
    cloud::aws::{
        ec2::Tags,
        route53::{HostedZone, Record, RecordSet},
    },
    error::{Error, Result},
    identity,
    name::Name,
    provider::dns::said,
    resource::{DnsZoneSpec, KindName, Terms},
};

/// What the references of our zones begin with.
const REFERENCE: &str = "infra:";
/// How long a reference may be.
const REFERENCE_LENGTH: usize = 128;

/// The tag of a zone with a digest of the records that it was given.
const RECORDS: &str = "infra-records";
/// The tags of a zone that name what its records point to begin so.
const TARGETS: &str = "infra-to";
/// How many names one such tag has: a name has 63 letters and a tag 256, with the names of kinds before them.
const TARGETS_IN_A_TAG: usize = 3;
/// The attribute with what the records of a zone say, until everything is listed.
const VALUES: &str = "values";

/// A digest of records.
fn digest(records: &[RecordSet]) -> Result<String> {
    let text = |one: &RecordSet| {
        let mut values: Vec<&str> = one.resource_records.iter().map(|record| record.value.as_str()).collect();
        values.sort_unstable();
        format!("{} {} {} {}", one.name, one.r#type, one.ttl, values.join(" "))
    };
    let mut texts: Vec<String> = records.iter().map(text).collect();
    texts.sort();
    Ok(identity::hex(&Sha256::digest(serde_json::to_string(&texts)?)[..10]))
}

/// Records that are not those that the zone was given, as a file would have them.
fn shown(records: &RecordSet) -> Value {
    let values: Vec<&str> = records.resource_records.iter().map(|record| record.value.as_str()).collect();
    json!({ "name": records.name, "kind": records.r#type, "ttl": records.ttl, "values": values })
}

/// The zones among these objects point to the machines that have the addresses that their records say.
pub(super) fn relate(objects: &mut [Object]) {
    let answers = |object: &Object, value: &str| {
        ["address", "public_address"].iter().any(|field| object.attribute(field).is_some_and(|own| own == value))
    };
    let zones: Vec<usize> = (0..objects.len()).filter(|at| objects[*at].address.kind == KindName::DNS_ZONE).collect();
    for at in zones {
        let Some(values) = objects[at].attributes.remove(VALUES) else { continue };
        let values: Vec<String> = serde_json::from_value(values).unwrap_or_default();
        let (environment, project) = (&objects[at].environment, &objects[at].project);
        let named = objects[at].links.iter().flatten().filter_map(|target| {
            let is = |object: &&Object| {
                object.address.to_string() == *target
                    && object.environment == *environment
                    && object.project == *project
            };
            let found = objects.iter().find(is)?;
            // Addresses of their own and balancers keep the addresses that they have.
            let moves = found.address.kind == KindName::VM;
            (moves && values.iter().any(|value| answers(found, value))).then(|| found.id.clone())
        });
        let links = named.collect();
        objects[at].links = Some(links);
    }
}

/// Zones.
pub(super) struct DnsZoneDriver(pub(super) Account);

/// What every zone has by itself.
fn is_own(records: &RecordSet) -> bool {
    matches!(records.r#type.as_str(), "NS" | "SOA")
}

/// The reference of a zone: it is there from the moment in which the zone is made, and tells whose it is.
fn reference(request: &Request<'_>) -> String {
    let Request { token, environment, project, resource, .. } = request;
    let reference = format!("{REFERENCE}{token}:{environment}:{}", resource.address.name);
    // A path may hold anything, and the service takes a reference of this length.
    let fits = reference.len() + project.len() < REFERENCE_LENGTH && !request.owner().is_of_earlier_version();
    if fits { format!("{reference}:{project}") } else { reference }
}

impl DnsZoneDriver {
    async fn describe(&self, zone: &HostedZone) -> Result<Option<Object>> {
        let tags = self.0.client.zone_tags(zone.short_id()).await?;
        if let Some(mut object) = object(&tags, KindName::DNS_ZONE, zone.short_id(), "") {
            let mut present = self.0.client.record_sets(zone.short_id()).await?;
            present.retain(|records| !is_own(records));
            if tag(&tags, RECORDS) != Some(&digest(&present)?) {
                object.actual.insert("records".to_owned(), present.iter().map(shown).collect());
            }
            // What its records say; who that is, is told once everything is listed.
            let values = present.iter().flat_map(|records| &records.resource_records);
            let values = values.map(|record| record.value.trim_end_matches('.').to_owned());
            object.attributes.insert(VALUES.to_owned(), values.collect());
            let targets = tags.iter().filter(|tag| tag.key.starts_with(TARGETS));
            object.links = Some(targets.flat_map(|tag| tag.value.split(' ')).map(str::to_owned).collect());
            return Ok(Some(object));
        }
        // It was made, but not tagged before the program was gone.
        let mut parts = zone.caller_reference.trim_start_matches(REFERENCE).split(':');
        let (token, environment, name) = (parts.next(), parts.next(), parts.next());
        let project = parts.next().unwrap_or_default();
        let Some(((token, environment), name)) = token.zip(environment).zip(name) else { return Ok(None) };
        let Ok(name) = name.parse::<Name>() else { return Ok(None) };
        Ok(Some(Object {
            environment: environment.to_owned(),
            address: KindName::DNS_ZONE.named(&name),
            project: tag(&tags, super::LABEL_PROJECT).unwrap_or(project).to_owned(),
            id: zone.short_id().to_owned(),
            token: tag(&tags, LABEL_TOKEN).unwrap_or(token).to_owned(),
            created: 0,
            health: Health::Unfinished,
            terms: Terms::default(),
            attributes: serde_json::Map::new(),
            actual: serde_json::Map::new(),
            links: None,
        }))
    }

    /// Makes the records of a zone those that are wanted, and writes down what they are and what they point to.
    async fn settle(&self, zone: &str, request: &Request<'_>, spec: &DnsZoneSpec) -> Result<()> {
        let wrong = |error| explain(error, request.resource);
        let wanted: Vec<RecordSet> = said(request, spec)?
            .into_iter()
            .map(|one| RecordSet {
                resource_records: one.values.into_iter().map(|value| Record { value }).collect(),
                name: one.name,
                r#type: one.kind,
                ttl: one.ttl.to_string(),
            })
            .collect();
        let present = self.0.client.record_sets(zone).await.map_err(wrong)?;
        let same = |a: &RecordSet, b: &RecordSet| a.name == b.name && a.r#type == b.r#type;
        let gone = present.iter().filter(|present| !is_own(present));
        let gone: Vec<RecordSet> =
            gone.filter(|present| !wanted.iter().any(|wanted| same(wanted, present))).cloned().collect();
        let set: Vec<RecordSet> = wanted.iter().filter(|wanted| !present.contains(wanted)).cloned().collect();
        if !gone.is_empty() || !set.is_empty() {
            self.0.client.change_record_sets(zone, &gone, &set).await.map_err(wrong)?;
        }
        let mut tags = Tags::from([(RECORDS.to_owned(), digest(&wanted)?)]);
        let mut targets: Vec<String> =
            spec.records.iter().filter_map(|one| Some(one.to.as_ref()?.to_string())).collect();
        targets.sort();
        targets.dedup();
        for (number, targets) in targets.chunks(TARGETS_IN_A_TAG).enumerate() {
            tags.insert(format!("{TARGETS}-{number}"), targets.join(" "));
        }
        let known = self.0.client.zone_tags(zone).await.map_err(wrong)?;
        for stale in known.iter().filter(|tag| tag.key.starts_with(TARGETS)) {
            tags.entry(stale.key.clone()).or_default();
        }
        self.0.client.tag_zone(zone, &tags).await.map(drop).map_err(wrong)
    }

    async fn ours(&self, environment: Option<&Name>) -> Result<Vec<Object>> {
        let mut zones = self.0.client.hosted_zones().await?;
        zones.retain(|zone| zone.caller_reference.starts_with(REFERENCE));
        let objects = futures::future::try_join_all(zones.iter().map(|zone| self.describe(zone))).await?;
        let mut objects: Vec<Object> = objects.into_iter().flatten().collect();
        objects.retain(|object| environment.is_none_or(|name| object.environment == name.as_str()));
        Ok(objects)
    }
}

#[async_trait]
impl Driver for DnsZoneDriver {
    async fn list(&self, environment: Option<&Name>) -> Result<Vec<Object>> {
        self.ours(environment).await
    }

    async fn create(&self, request: &Request<'_>) -> Result<Object> {
        let spec: DnsZoneSpec = request.resource.spec()?;
        let (client, wrong) = (&self.0.client, |error| explain(error, request.resource));
        let network = match &spec.network {
            Some(network) => Some(needed(request, &KindName::NETWORK.named(network))?.id.as_str()),
            None => None,
        };
        let network = network.map(|id| (client.region(), id));
        let reference = reference(request);
        let id = match client.create_hosted_zone(&spec.zone, &reference, network).await {
            Err(error) if error.code() == "HostedZoneAlreadyExists" => {
                let zones = client.hosted_zones().await.map_err(wrong)?;
                let zone = zones.iter().find(|zone| zone.caller_reference == reference);
                zone.ok_or_else(|| Error::new("aws: the zone vanished while it was made"))?.short_id().to_owned()
            }
            made => made.map_err(wrong)?,
        };
        self.settle(&id, request, &spec).await?;
        let mut tags = Account::tags(request);
        tags.insert(READY.to_owned(), "yes".to_owned());
        client.tag_zone(&id, &tags).await.map_err(wrong)?;
        let mut object = self.0.made(self, request).await?;
        object.attributes.remove(VALUES);
        Ok(object)
    }

    async fn update(&self, object: &Object, request: &Request<'_>) -> Result<Object> {
        self.settle(&object.id, request, &request.resource.spec()?).await?;
        Ok(object.clone())
    }

    async fn delete(&self, id: &str) -> Result<()> {
        let client = &self.0.client;
        let present = match client.record_sets(id).await {
            Err(error) if error.code() == "NoSuchHostedZone" => return Ok(()),
            present => present?,
        };
        let gone: Vec<RecordSet> = present.into_iter().filter(|records| !is_own(records)).collect();
        if !gone.is_empty() {
            client.change_record_sets(id, &gone, &[]).await?;
        }
        match client.delete_hosted_zone(id).await {
            Err(error) if error.code() != "NoSuchHostedZone" => Err(error.into()),
            _ => Ok(()),
        }
    }
}
