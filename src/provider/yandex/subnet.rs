//! Subnets. The service adds and removes ranges of one that exists, and removes none that an address is in use of: a subnet grows
//! and moves in place.

use std::{collections::BTreeSet, net::Ipv4Addr};

use async_trait::async_trait;
use serde_json::{Map, Value, json};

use super::{
    LABEL_KIND, LABEL_NAME,
    account::{Account, explain, object, object_name},
};
use crate::{
    cloud::yandex::{Subnet, UsedAddress},
    config::Cidr,
    error::{Error, Result},
    name::Name,
    provider::{Asked, Driver, Finding, LABEL_ENV, LABEL_PROJECT, Object, Owner, Request},
    resource::{KindName, Resource, SubnetSpec},
};

/// What the service shows of the ranges of a subnet, before it is compared with a specification.
const RANGES: &str = "ranges";
/// The field of that with the ranges themselves.
const BLOCKS: &str = "blocks";
/// How many addresses a message shows.
const SHOWN: usize = 5;
/// What to do with a range that should be larger or smaller: no two ranges of a network share an address, not even for a while.
const BESIDE: &str =
    "a range is not resized: keep it in `v4_cidr_blocks`, and name one beside it that does not overlap it";
/// What to do with a range that is in use.
const KEEP: &str =
    "keep the range in `v4_cidr_blocks` beside the new one, and remove it once nothing has an address in it";

/// Subnets.
pub(super) struct SubnetDriver(pub(super) Account);

pub(super) fn show(one: &Subnet, environment: Option<&Name>) -> Option<Object> {
    let mut object = object(&one.labels, KindName::SUBNET, environment, &one.id, &one.created_at)?;
    for (field, value) in [("cidr", one.v4_cidr_blocks.first()?), ("zone", &one.zone_id)] {
        object.attributes.insert(field.to_owned(), value.as_str().into());
        object.actual.insert(field.to_owned(), value.as_str().into());
    }
    object.actual.insert(RANGES.to_owned(), json!({ BLOCKS: one.v4_cidr_blocks }));
    object.links = Some(BTreeSet::from([one.route_table_id.clone()]).into_iter().filter(|id| !id.is_empty()).collect());
    Some(object)
}

/// Turns what was noted of the ranges of a subnet into fields of its specification: their order in the cloud means nothing.
fn compare(spec: &Map<String, Value>, object: &mut Object) {
    let noted = object.actual.remove(RANGES).and_then(|mut ranges| serde_json::from_value(ranges[BLOCKS].take()).ok());
    let wanted = serde_json::from_value(Value::Object(spec.clone())).ok();
    let Some((mut seen, wanted)): Option<(Vec<String>, SubnetSpec)> = noted.zip(wanted) else { return };
    let first = seen.iter().position(|range| *range == wanted.cidr).unwrap_or_default();
    let cidr = seen.remove(first);
    let same = seen.len() == wanted.more_cidrs.len() && seen.iter().all(|range| wanted.more_cidrs.contains(range));
    object.actual.insert("cidr".to_owned(), cidr.into());
    object.actual.insert("more_cidrs".to_owned(), if same { wanted.more_cidrs } else { seen }.into());
}

/// The ranges that a subnet should have.
fn ranges(spec: &SubnetSpec) -> Vec<&str> {
    std::iter::once(&spec.cidr).chain(&spec.more_cidrs).map(String::as_str).collect()
}

/// The ranges of a subnet that a specification no longer has.
fn no_longer_wanted<'a>(present: &'a Subnet, spec: &SubnetSpec) -> Vec<&'a str> {
    let wanted = ranges(spec);
    present.v4_cidr_blocks.iter().map(String::as_str).filter(|range| !wanted.contains(range)).collect()
}

/// Says what has addresses in ranges that are to be removed; nothing when nothing has.
fn users(ranges: &[&str], used: &[UsedAddress]) -> Option<String> {
    let cidrs: Vec<Cidr> = ranges.iter().filter_map(|range| range.parse().ok()).collect();
    // The gateway and the name server are the first two hosts of each range.
    let is_in = |address: Ipv4Addr| {
        cidrs.iter().any(|cidr| {
            let offset = u32::from(address).wrapping_sub(u32::from(cidr.base));
            cidr.covers(Cidr { base: address, prefix: 32 }) && offset > 2
        })
    };
    let users = used.iter().filter(|one| one.address.parse().is_ok_and(is_in)).map(|one| {
        let by = one.references.first().and_then(|reference| reference.referrer.as_ref());
        by.map_or_else(|| one.address.clone(), |by| format!("{} ({} {})", one.address, by.r#type, by.id))
    });
    let users: Vec<String> = users.collect();
    if users.is_empty() {
        return None;
    }
    let more = users.len().checked_sub(SHOWN).filter(|more| *more > 0);
    let more = more.map(|more| format!(" and {more} more")).unwrap_or_default();
    Some(format!("{} is in use by {}{more}", ranges.join(", "), users[..users.len().min(SHOWN)].join(", ")))
}

/// Why the ranges of a subnet cannot become those of a specification, and what to do instead.
async fn obstacle(account: &Account, present: &Subnet, spec: &SubnetSpec) -> Result<Option<(String, &'static str)>> {
    let gone = no_longer_wanted(present, spec);
    if gone.is_empty() {
        return Ok(None);
    }
    if let Some((new, old)) = resized(&gone, &ranges(spec)) {
        return Ok(Some((format!("{new} overlaps {old}, which the subnet has"), BESIDE)));
    }
    let used = account.client.used_addresses(&present.id).await?;
    Ok(users(&gone, &used).map(|users| (users, KEEP)))
}

/// A range that overlaps one that it would take the place of.
fn resized<'a>(gone: &[&'a str], wanted: &[&'a str]) -> Option<(&'a str, &'a str)> {
    let parsed = |range: &&'a str| Some((*range, range.parse::<Cidr>().ok()?));
    let gone: Vec<(&str, Cidr)> = gone.iter().filter_map(parsed).collect();
    wanted.iter().filter_map(parsed).find_map(|(new, cidr)| {
        let (old, _) = gone.iter().find(|(_, old)| old.overlaps(cidr))?;
        Some((new, *old))
    })
}

/// Whether the ranges of changed subnets can be changed so.
pub(super) async fn findings(account: &Account, owner: &Owner, changed: &[Resource]) -> Result<Vec<Finding>> {
    let wanted: Vec<&Resource> = changed.iter().filter(|one| one.address.kind == KindName::SUBNET).collect();
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let all = account.client.list::<Subnet>(&account.folder).await?;
    let mut findings = Vec::new();
    for resource in wanted {
        let labels = [
            (LABEL_ENV, owner.environment.as_str()),
            (LABEL_PROJECT, &owner.project),
            (LABEL_KIND, KindName::SUBNET.as_str()),
            (LABEL_NAME, resource.address.name.as_str()),
        ];
        let is_it =
            |one: &&Subnet| labels.iter().all(|(label, value)| one.labels.get(*label).is_some_and(|l| l == value));
        let spec: SubnetSpec = resource.spec()?;
        let Some(present) = all.iter().find(is_it) else { continue };
        if let Some((detail, hint)) = obstacle(account, present, &spec).await? {
            let asked = Asked { value: spec.cidr.clone(), sections: [resource.origin.clone()].into() };
            findings.push(Finding {
                check: format!("ranges of the subnet `{}`", resource.address.name),
                ok: false,
                needed: true,
                detail,
                hint: hint.to_owned(),
                asked: Some(asked),
            });
        }
    }
    Ok(findings)
}

#[async_trait]
impl Driver for SubnetDriver {
    fn compare(&self, spec: &Map<String, Value>, _attributes: &Map<String, Value>, object: &mut Object) {
        compare(spec, object);
    }

    async fn list(&self, environment: Option<&Name>) -> Result<Vec<Object>> {
        let all = self.0.client.list::<Subnet>(&self.0.folder).await?;
        Ok(all.iter().filter_map(|one| show(one, environment)).collect())
    }

    async fn read(&self, id: &str) -> Result<Option<Object>> {
        Ok(self.0.found::<Subnet>(id).await?.and_then(|one| show(&one, None)))
    }

    async fn create(&self, request: &Request<'_>) -> Result<Object> {
        let spec: SubnetSpec = request.resource.spec()?;
        let name = object_name(request);
        let labels = Account::labels(request);
        let network = request.need(KindName::NETWORK).ok_or_else(|| Error::new("the subnet has no network"))?;
        let zone = spec.zone.as_deref().unwrap_or(&self.0.settings.zone);
        let mut call = self.0.client.create_subnet();
        call = call.folder_id(&self.0.folder).name(&name).labels(&labels).network_id(&network.id).zone_id(zone);
        call = call.v4_cidr_blocks(ranges(&spec));
        if let Some(table) = request.need(KindName::ROUTE_TABLE) {
            call = call.route_table_id(&table.id);
        }
        self.0.create(self, request, call.send(request.token)).await
    }

    async fn update(&self, object: &Object, request: &Request<'_>) -> Result<Object> {
        let spec: SubnetSpec = request.resource.spec()?;
        let (client, wrong) = (&self.0.client, |error| explain(error, request.resource));
        let present: Subnet = client.describe(&object.id).await.map_err(wrong)?;
        if let Some((detail, hint)) = obstacle(&self.0, &present, &spec).await? {
            let Resource { address, origin, .. } = request.resource;
            let error = Error::new(format!("{address} ({origin}): {detail}; no range was changed"));
            return Err(error.hint(hint).settled());
        }
        let table = request.need(KindName::ROUTE_TABLE).map(|table| table.id.as_str()).unwrap_or_default();
        if present.route_table_id != table {
            let call = client.update_subnet(&object.id).route_table_id(table);
            call.send(request.token).await.map_err(wrong)?;
        }
        let is_new = |range: &&str| !present.v4_cidr_blocks.iter().any(|one| one == range);
        let added: Vec<&str> = ranges(&spec).into_iter().filter(is_new).collect();
        if !added.is_empty() {
            let call = client.add_cidr_blocks(&object.id).v4_cidr_blocks(added);
            call.send(request.token).await.map_err(wrong)?;
        }
        let gone = no_longer_wanted(&present, &spec);
        if !gone.is_empty() {
            let call = client.remove_cidr_blocks(&object.id).v4_cidr_blocks(gone);
            call.send(request.token).await.map_err(wrong)?;
        }
        Ok(self.read(&object.id).await?.unwrap_or_else(|| object.clone()))
    }

    async fn delete(&self, id: &str) -> Result<()> {
        self.0.remove(|| self.0.client.delete_subnet(id).send(id)).await
    }
}

#[cfg(test)]
mod tests {
    use super::{UsedAddress, resized, users};
    use crate::cloud::yandex::{Reference, Referrer};

    #[test]
    fn a_range_is_in_use_by_what_has_an_address_in_it() {
        let used = |addresses: &[&str]| -> Vec<UsedAddress> {
            let one = |address: &&str| UsedAddress { address: (*address).to_owned(), references: Vec::new() };
            addresses.iter().map(one).collect()
        };
        // The gateway, the name server, and what is in another range.
        assert_eq!(users(&["10.1.0.0/24"], &used(&["10.1.0.1", "10.1.0.2", "10.2.0.9", "no address"])), None);
        let referrer = Some(Referrer { r#type: "compute_instance".to_owned(), id: "fhm1".to_owned() });
        let by = vec![UsedAddress { address: "10.1.0.7".to_owned(), references: vec![Reference { referrer }] }];
        assert_eq!(users(&["10.1.0.0/24"], &by).unwrap(), "10.1.0.0/24 is in use by 10.1.0.7 (compute_instance fhm1)");
        let many =
            users(&["10.1.0.0/24"], &used(&["10.1.0.3", "10.1.0.4", "10.1.0.5", "10.1.0.6", "10.1.0.7", "10.1.0.8"]));
        assert!(many.unwrap().ends_with("10.1.0.7 and 1 more"));
    }

    #[test]
    fn a_range_is_not_resized() {
        assert_eq!(resized(&["10.1.0.0/24"], &["10.1.0.0/16"]), Some(("10.1.0.0/16", "10.1.0.0/24")));
        assert_eq!(resized(&["10.1.0.0/24"], &["10.2.0.0/16"]), None);
    }
}
