//! Zones of names.

use async_trait::async_trait;
use serde_json::{Value, json};

use super::{
    Account, Driver, Health, LABEL_TOKEN, Object, READY, Request, explain, if_there, needed, not_made, object, tag,
};
use crate::{
    cloud::aws::route53::{AliasTarget, HostedZone, Record, RecordSet},
    error::{Error, Result},
    name::Name,
    provider::dns::{RECORDS, is_own, resolved},
    resource::{DnsZoneSpec, KindName, RecordSpec, Terms},
};

/// What the references of our zones begin with.
const REFERENCE: &str = "infra:";
/// How long a reference may be.
const REFERENCE_LENGTH: usize = 128;

/// The attribute of a balancer: the zone in which the service keeps its name.
pub(super) const ALIAS_ZONE: &str = "alias_zone";

/// The records of a zone as a file would have them, without those that it has by itself. An alias is shown as the `CNAME` that
/// it stands for; it has no time of its own.
fn specs(zone: &str, present: &[RecordSet]) -> Value {
    let spec = |one: &RecordSet| {
        let alias = one.alias_target.as_ref().map(|alias| alias.dns_name.to_ascii_lowercase());
        let values = one.resource_records.iter().map(|record| record.value.clone());
        RecordSpec {
            name: one.name.clone(),
            kind: if alias.is_some() { "CNAME".to_owned() } else { one.r#type.clone() },
            ttl: one.ttl.parse().unwrap_or(0),
            values: alias.into_iter().chain(values).collect(),
            to: None,
        }
    };
    present.iter().filter(|one| !is_own(zone, &one.name, &one.r#type)).map(|one| json!(spec(one))).collect()
}

/// The records as they are written. A zone's own name cannot be a `CNAME`: it stands for the balancer itself.
fn written(request: &Request<'_>, spec: &DnsZoneSpec) -> Result<Vec<RecordSet>> {
    let record = |one: RecordSpec| {
        let is_target =
            |object: &&Object| one.values == [format!("{}.", object.attribute("public_address").unwrap_or_default())];
        let target = request.needs.values().find(is_target).filter(|_| one.kind == "CNAME" && one.name == spec.zone);
        if let Some(target) = target {
            let zone =
                target.attribute(ALIAS_ZONE).ok_or_else(|| Error::new("aws: the balancer does not say its zone"))?;
            return Ok(RecordSet {
                name: one.name,
                r#type: "A".to_owned(),
                alias_target: Some(AliasTarget {
                    hosted_zone_id: zone.to_owned(),
                    dns_name: one.values.concat(),
                    evaluate_target_health: "false".to_owned(),
                }),
                ..RecordSet::default()
            });
        }
        Ok(RecordSet {
            resource_records: one.values.into_iter().map(|value| Record { value }).collect(),
            name: one.name,
            r#type: one.kind,
            ttl: one.ttl.to_string(),
            ..RecordSet::default()
        })
    };
    resolved(request, spec)?.into_iter().map(record).collect()
}

/// Zones.
pub(super) struct DnsZoneDriver(pub(super) Account);

/// The reference of a zone: it is there from the moment in which the zone is made, and tells whose it is.
fn reference(request: &Request<'_>) -> String {
    let Request { token, environment, project, resource, .. } = request;
    let reference = format!("{REFERENCE}{token}:{environment}:{}", resource.address.name);
    // A path may hold anything, and the service takes a reference of this length.
    let fits = reference.len() + project.len() < REFERENCE_LENGTH && !request.owner().is_of_earlier_version();
    if fits { format!("{reference}:{project}") } else { reference }
}

impl DnsZoneDriver {
    /// A zone of ours with its records; nothing when it is another's, or has just vanished.
    async fn describe(&self, zone: &HostedZone) -> Result<Option<Object>> {
        let Some(tags) = if_there(self.0.client.zone_tags(zone.short_id()).await)? else { return Ok(None) };
        if let Some(mut object) = object(&tags, KindName::DNS_ZONE, zone.short_id(), "") {
            let present = if_there(self.0.client.record_sets(zone.short_id()).await)?;
            object.attributes.insert(RECORDS.to_owned(), specs(&zone.name, &present.unwrap_or_default()));
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
            outdated: None,
        }))
    }

    /// Makes the records of a zone those that are wanted.
    async fn settle(&self, zone: &str, request: &Request<'_>, spec: &DnsZoneSpec) -> Result<()> {
        let wanted = written(request, spec)?;
        self.change(zone, |present| {
            let same = |a: &RecordSet, b: &RecordSet| a.name == b.name && a.r#type == b.r#type;
            let is_plain = |one: &RecordSet| one.others.is_empty();
            let gone = present.iter().filter(|one| !is_own(&spec.zone, &one.name, &one.r#type));
            // Records of a routing policy are in the way of a plain one of their name.
            let gone = gone.filter(|one| !is_plain(one) || !wanted.iter().any(|wanted| same(wanted, one)));
            let set = wanted.iter().filter(|wanted| !present.contains(wanted));
            (gone.cloned().collect(), set.cloned().collect())
        })
        .await
        .map_err(|error| explain(error, request.resource))
    }

    /// Changes the records of a zone, given those that it has.
    async fn change(
        &self, zone: &str, decide: impl Fn(&[RecordSet]) -> (Vec<RecordSet>, Vec<RecordSet>),
    ) -> crate::cloud::aws::Result<()> {
        let mut looked_again = false;
        loop {
            let present = self.0.client.record_sets(zone).await?;
            let (gone, set) = decide(&present);
            if gone.is_empty() && set.is_empty() {
                return Ok(());
            }
            match self.0.client.change_record_sets(zone, &gone, &set).await {
                // The answer to the first call was lost: what it has removed cannot be removed again.
                Err(error) if error.code() == "InvalidChangeBatch" && !looked_again => looked_again = true,
                changed => return changed.map(drop),
            }
        }
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
            made => made.map_err(|error| not_made(error, request.resource))?,
        };
        self.settle(&id, request, &spec).await?;
        let mut tags = Account::tags(request);
        tags.insert(READY.to_owned(), "yes".to_owned());
        client.tag_zone(&id, &tags).await.map_err(wrong)?;
        self.0.made(self, request).await
    }

    async fn update(&self, object: &Object, request: &Request<'_>) -> Result<Object> {
        let spec: DnsZoneSpec = request.resource.spec()?;
        self.settle(&object.id, request, &spec).await?;
        let present = self.0.client.record_sets(&object.id).await.map_err(|error| explain(error, request.resource))?;
        let mut updated = object.clone();
        updated.attributes.insert(RECORDS.to_owned(), specs(&spec.zone, &present));
        Ok(updated)
    }

    async fn delete(&self, id: &str) -> Result<()> {
        let client = &self.0.client;
        // The zone's own records are those of its name that say who answers for it: it cannot be deleted with others.
        let own = |present: &[RecordSet]| present.iter().find(|one| one.r#type == "SOA").map(|soa| soa.name.clone());
        let removed = self.change(id, |present| {
            let zone = own(present).unwrap_or_default();
            let gone = present.iter().filter(|one| !is_own(&zone, &one.name, &one.r#type));
            (gone.cloned().collect(), Vec::new())
        });
        if if_there(removed.await)?.is_some() {
            if_there(client.delete_hosted_zone(id).await)?;
        }
        Ok(())
    }
}
