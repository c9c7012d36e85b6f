//! Zones of names.

use async_trait::async_trait;
use serde_json::{Value, json};

use super::{Account, Driver, Object, Request, explain, needed, object, object_name};
use crate::{
    cloud::yandex::{DnsZone, RecordSet},
    error::Result,
    name::Name,
    provider::dns::said,
    resource::{DnsZoneSpec, KindName},
};

/// Zones.
pub(super) struct DnsZoneDriver(pub(super) Account);

/// What every zone has by itself.
pub(super) fn is_own(record: &RecordSet) -> bool {
    matches!(record.r#type.as_str(), "NS" | "SOA")
}

fn written(record: &RecordSet) -> Value {
    json!({ "name": record.name, "type": record.r#type, "ttl": record.ttl.to_string(), "data": record.data })
}

fn show(one: &DnsZone, environment: Option<&Name>) -> Option<Object> {
    object(&one.labels, KindName::DNS_ZONE, environment, &one.id, &one.created_at)
}

impl DnsZoneDriver {
    /// Makes the records of a zone those that are wanted.
    async fn settle(&self, zone: &str, request: &Request<'_>, spec: &DnsZoneSpec) -> Result<()> {
        let wrong = |error| explain(error, request.resource);
        let wanted = said(request, spec)?;
        let present = self.0.client.record_sets(zone).await.map_err(wrong)?;
        let same = |record: &RecordSet, name: &str, kind: &str| record.name == name && record.r#type == kind;
        let gone: Vec<Value> = present
            .iter()
            .filter(|record| !is_own(record))
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
        Ok(all.iter().filter_map(|one| show(one, environment)).collect())
    }

    async fn read(&self, id: &str) -> Result<Option<Object>> {
        Ok(self.0.found::<DnsZone>(id).await?.and_then(|one| show(&one, None)))
    }

    async fn create(&self, request: &Request<'_>) -> Result<Object> {
        let spec: DnsZoneSpec = request.resource.spec()?;
        let name = object_name(request);
        let labels = Account::labels(request);
        let call =
            self.0.client.create_dns_zone().folder_id(&self.0.folder).name(&name).labels(&labels).zone(&spec.zone);
        let call = match &spec.network {
            Some(network) => {
                let network = &needed(request, &KindName::NETWORK.named(network))?.id;
                call.private_visibility(json!({ "networkIds": [network] }))
            }
            None => call.public_visibility(json!({})),
        };
        let object = self.0.create(self, request, call.send(request.token)).await?;
        self.settle(&object.id, request, &spec).await?;
        Ok(object)
    }

    async fn update(&self, object: &Object, request: &Request<'_>) -> Result<Object> {
        self.settle(&object.id, request, &request.resource.spec()?).await?;
        Ok(object.clone())
    }

    async fn delete(&self, id: &str) -> Result<()> {
        self.0.remove(|| self.0.client.delete_dns_zone(id).send(id)).await
    }
}
