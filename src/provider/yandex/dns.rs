//! Zones of names.

use async_trait::async_trait;
use serde_json::{Value, json};

use super::account::{Account, explain, if_there, needed, object, object_name};
use crate::{
    cloud::yandex::{DnsZone, RecordSet},
    error::Result,
    name::Name,
    provider::{
        Driver, Object, Request,
        dns::{RECORDS, is_own, resolved},
    },
    resource::{DnsZoneSpec, KindName, RecordSpec},
};

/// Zones.
pub(super) struct DnsZoneDriver(pub(super) Account);

fn written(record: &RecordSet) -> Value {
    json!({ "name": record.name, "type": record.r#type, "ttl": record.ttl.to_string(), "data": record.data })
}

fn show(one: &DnsZone, records: Option<&[RecordSet]>, environment: Option<&Name>) -> Option<Object> {
    let mut object = object(&one.labels, KindName::DNS_ZONE, environment, &one.id, &one.created_at)?;
    let visible = one.private_visibility.as_ref().map(|private| private.network_ids.clone());
    object.links = Some(visible.unwrap_or_default().into_iter().collect());
    if let Some(records) = records {
        object.attributes.insert(RECORDS.to_owned(), specs(&one.zone, records));
    }
    Some(object)
}

/// A zone with its records; nothing when it has just vanished, or is not ours.
pub(super) async fn observe(account: &Account, one: &DnsZone, environment: Option<&Name>) -> Result<Option<Object>> {
    if show(one, None, environment).is_none() {
        return Ok(None);
    }
    let records = if_there(account.client.record_sets(&one.id).await)?;
    Ok(records.and_then(|records| show(one, Some(&records), environment)))
}

/// The records of a zone, without those that it has by itself.
fn specs(zone: &str, records: &[RecordSet]) -> Value {
    records.iter().filter(|one| !is_own(zone, &one.name, &one.r#type)).map(|one| json!(record(one))).collect()
}

/// A record as a specification has it.
pub(super) fn record(record: &RecordSet) -> RecordSpec {
    let (name, kind) = (record.name.clone(), record.r#type.clone());
    RecordSpec { name, kind, ttl: u64::try_from(record.ttl).unwrap_or(0), values: record.data.clone(), to: None }
}

/// Who sees a zone: a network, or the world.
fn visibility(request: &Request<'_>, spec: &DnsZoneSpec) -> Result<(Value, Value)> {
    match &spec.network {
        Some(network) => {
            let network = &needed(request, &KindName::NETWORK.named(network))?.id;
            Ok((json!({ "networkIds": [network] }), Value::Null))
        }
        None => Ok((Value::Null, json!({}))),
    }
}

impl DnsZoneDriver {
    /// A zone with the records that it has now.
    async fn written(&self, mut object: Object, zone: &str) -> Result<Object> {
        let records = self.0.client.record_sets(&object.id).await?;
        object.attributes.insert(RECORDS.to_owned(), specs(zone, &records));
        Ok(object)
    }

    /// Makes the records of a zone those that are wanted.
    async fn settle(&self, zone: &str, request: &Request<'_>, spec: &DnsZoneSpec) -> Result<()> {
        let wrong = |error| explain(error, request.resource);
        let wanted = resolved(request, spec)?;
        let present = self.0.client.record_sets(zone).await.map_err(wrong)?;
        let same = |record: &RecordSet, name: &str, kind: &str| record.name == name && record.r#type == kind;
        let gone: Vec<Value> = present
            .iter()
            .filter(|record| !is_own(&spec.zone, &record.name, &record.r#type))
            .filter(|record| !wanted.iter().any(|wanted| same(record, &wanted.name, &wanted.kind)))
            .map(written)
            .collect();
        let set: Vec<Value> = wanted
            .iter()
            .map(|one| json!({ "name": one.name, "type": one.kind, "ttl": one.ttl.to_string(), "data": one.values }))
            .filter(|record| !present.iter().any(|present| written(present) == *record))
            .collect();
        if gone.is_empty() && set.is_empty() {
            return Ok(());
        }
        let call = self.0.client.upsert_record_sets(zone).deletions(gone).replacements(set);
        call.send(request.token).await.map_err(wrong)?;
        Ok(())
    }
}

#[async_trait]
impl Driver for DnsZoneDriver {
    async fn list(&self, environment: Option<&Name>) -> Result<Vec<Object>> {
        let all = self.0.client.list::<DnsZone>(&self.0.folder).await?;
        Ok(all.iter().filter_map(|one| show(one, None, environment)).collect())
    }

    async fn read(&self, id: &str) -> Result<Option<Object>> {
        match self.0.found::<DnsZone>(id).await? {
            Some(zone) => observe(&self.0, &zone, None).await,
            None => Ok(None),
        }
    }

    async fn create(&self, request: &Request<'_>) -> Result<Object> {
        let spec: DnsZoneSpec = request.resource.spec()?;
        let name = object_name(request);
        let labels = Account::labels(request);
        let call =
            self.0.client.create_dns_zone().folder_id(&self.0.folder).name(&name).labels(&labels).zone(&spec.zone);
        let (private, public) = visibility(request, &spec)?;
        let call = if private.is_null() { call.public_visibility(public) } else { call.private_visibility(private) };
        let object = self.0.create(self, request, call.send(request.token)).await?;
        self.settle(&object.id, request, &spec).await?;
        self.written(object, &spec.zone).await
    }

    async fn update(&self, object: &Object, request: &Request<'_>) -> Result<Object> {
        let spec: DnsZoneSpec = request.resource.spec()?;
        let zone: DnsZone = self.0.client.describe(&object.id).await?;
        let (private, public) = visibility(request, &spec)?;
        let seen_by = zone.private_visibility.map(|private| json!({ "networkIds": private.network_ids }));
        if seen_by.unwrap_or_default() != private {
            let call = self.0.client.update_dns_zone(&object.id).private_visibility(private).public_visibility(public);
            call.send(request.token).await.map_err(|error| explain(error, request.resource))?;
        }
        self.settle(&object.id, request, &spec).await?;
        self.written(object.clone(), &spec.zone).await
    }

    async fn delete(&self, id: &str) -> Result<()> {
        self.0.remove(|| self.0.client.delete_dns_zone(id).send(id)).await
    }
}
