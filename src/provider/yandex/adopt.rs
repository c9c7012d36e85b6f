//! Taking over what someone else made: our labels are added to it beside its own, and what it shows of itself is returned.

use serde_json::{Map, Value, json};

use super::{
    account::{Account, beside, explain, needed},
    dns::record,
};
use crate::{
    cloud::yandex::{
        Address, Disk, DnsZone, Gateway, Labels, Listed, Network, Registry, RouteTable, SecurityGroup, ServiceAccount,
        Subnet,
    },
    error::{Error, Result},
    provider::{
        LABEL_ENV, LABEL_PROJECT, Request,
        adopt::{SEVERAL, Seen, belongs, not_adopted, stands_in},
        dns::is_own,
    },
    resource::{DnsZoneSpec, KindName, RouteTableSpec},
};

impl Account {
    /// Adds the labels of a request to an object, and returns what it shows of the specification that it should have.
    pub(super) async fn adopt(&self, id: &str, request: &Request<'_>) -> Result<Map<String, Value>> {
        let client = &self.client;
        let mut seen = Seen::of(id, request);
        let sent = match request.resource.address.kind {
            KindName::NETWORK => {
                let (_, labels) = self.foreign::<Network>(id, request).await?;
                client.update_network(id).labels(&labels).send(request.token).await
            }
            KindName::GATEWAY => {
                let (_, labels) = self.foreign::<Gateway>(id, request).await?;
                client.update_gateway(id).labels(&labels).send(request.token).await
            }
            KindName::ROUTE_TABLE => {
                let (table, labels) = self.foreign::<RouteTable>(id, request).await?;
                stands_in(id, request, &table.network_id)?;
                let spec: RouteTableSpec = request.resource.spec()?;
                let gateway = &needed(request, &KindName::GATEWAY.named(&spec.gateway))?.id;
                if !table.static_routes.iter().all(|route| route.gateway_id == *gateway) {
                    return Err(not_adopted(id, request, &format!("not all of its routes lead to `{gateway}`")));
                }
                client.update_route_table(id).labels(&labels).send(request.token).await
            }
            KindName::SUBNET => {
                let (subnet, labels) = self.foreign::<Subnet>(id, request).await?;
                stands_in(id, request, &subnet.network_id)?;
                seen.or_usual("zone", &subnet.zone_id, &self.settings.zone)?;
                client.update_subnet(id).labels(&labels).send(request.token).await
            }
            KindName::SECURITY_GROUP => {
                let (group, labels) = self.foreign::<SecurityGroup>(id, request).await?;
                stands_in(id, request, &group.network_id)?;
                client.update_security_group(id).labels(&labels).send(request.token).await
            }
            KindName::ADDRESS => {
                let (address, labels) = self.foreign::<Address>(id, request).await?;
                seen.or_usual("zone", &address.external_ipv4_address.zone_id, &self.settings.zone)?;
                client.update_address(id).labels(&labels).send(request.token).await
            }
            KindName::DISK => {
                let (disk, labels) = self.foreign::<Disk>(id, request).await?;
                seen.or_usual("zone", &disk.zone_id, &self.settings.zone)?;
                seen.or_usual("disk_type", &disk.type_id, &self.settings.disk_type)?;
                client.update_disk(id).labels(&labels).send(request.token).await
            }
            KindName::SERVICE_ACCOUNT => {
                let (_, labels) = self.foreign::<ServiceAccount>(id, request).await?;
                client.update_service_account(id).labels(&labels).send(request.token).await
            }
            KindName::REGISTRY => {
                let (_, labels) = self.foreign::<Registry>(id, request).await?;
                client.update_registry(id).labels(&labels).send(request.token).await
            }
            KindName::DNS_ZONE => {
                let (zone, labels) = self.foreign::<DnsZone>(id, request).await?;
                self.is_seen_by(&zone, request)?;
                seen.field("zone", zone.zone.as_str());
                let records = client.record_sets(id).await?;
                let records = records.iter().filter(|one| !is_own(&zone.zone, &one.name, &one.r#type)).map(record);
                seen.field("records", json!(records.collect::<Vec<_>>()));
                client.update_dns_zone(id).labels(&labels).send(request.token).await
            }
            _ => return Err(not_adopted(id, request, SEVERAL)),
        };
        sent.map_err(|error| explain(error, request.resource))?;
        Ok(seen.fields)
    }

    /// An object of the folder that is in no environment, and the labels that it will have.
    async fn foreign<T: Listed>(&self, id: &str, request: &Request<'_>) -> Result<(T, Labels)> {
        let all = self.client.list::<T>(&self.folder).await?;
        let kind = request.resource.address.kind.as_str();
        let found = all.into_iter().find(|one| one.id() == id).ok_or_else(|| {
            Error::usage(format!("yandex: there is no {kind} `{id}` in the folder `{}`", self.folder))
        })?;
        if let Some(owner) = found.labels().get(LABEL_ENV) {
            let project = found.labels().get(LABEL_PROJECT).map(String::as_str).unwrap_or_default();
            return Err(belongs("yandex", kind, id, owner, project));
        }
        let labels = beside(found.labels().clone(), Self::labels(request));
        Ok((found, labels))
    }

    /// Whether a zone is seen by those who should see it.
    fn is_seen_by(&self, zone: &DnsZone, request: &Request<'_>) -> Result<()> {
        let spec: DnsZoneSpec = request.resource.spec()?;
        let seen_by = zone.private_visibility.as_ref().map(|private| private.network_ids.as_slice());
        let wanted = match &spec.network {
            Some(network) => Some(needed(request, &KindName::NETWORK.named(network))?.id.clone()),
            None => None,
        };
        if seen_by == wanted.as_ref().map(std::slice::from_ref) {
            return Ok(());
        }
        let who = |networks: Option<&[String]>| match networks {
            Some(networks) => format!("by {}", networks.join(", ")),
            None => "by the world".to_owned(),
        };
        let wanted = who(wanted.as_ref().map(std::slice::from_ref));
        Err(not_adopted(&zone.id, request, &format!("it is seen {}, not {wanted}", who(seen_by))))
    }
}
