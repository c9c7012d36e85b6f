//! Zones of names.

use async_trait::async_trait;

use super::{Account, Driver, Health, LABEL_TOKEN, Object, READY, Request, explain, needed, object, tag};
use crate::{
    cloud::aws::route53::{HostedZone, Record, RecordSet},
    error::{Error, Result},
    name::Name,
    provider::dns::said,
    resource::{DnsZoneSpec, KindName, Terms},
};

/// What the references of our zones begin with.
const REFERENCE: &str = "infra:";
/// How long a reference may be.
const REFERENCE_LENGTH: usize = 128;

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
        if let Some(object) = object(&tags, KindName::DNS_ZONE, zone.short_id(), "") {
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

    /// Makes the records of a zone those that are wanted.
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
        Ok(())
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
        self.0.made(self, request).await
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
