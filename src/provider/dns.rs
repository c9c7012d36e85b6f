//! Zones of names, as both clouds have them: what they need, what their records say, and whether they still say it.

use std::collections::BTreeSet;

use super::{Object, Request};
use crate::{
    config::{Environment, Target, Zone},
    error::{Error, Result},
    name::Name,
    resource::{Address, DnsZoneSpec, KindName, RecordSpec, Resource, spec_fields},
};

/// The zones of an environment; a private one belongs to its network.
pub(super) fn zones(environment: &Environment, network: &Name) -> Vec<Resource> {
    let zone = |(name, zone): (&Name, &Zone)| {
        let mut needs = BTreeSet::new();
        if zone.private {
            needs.insert(KindName::NETWORK.named(network));
        }
        let mut records = Vec::new();
        for record in &zone.records {
            let to = record.to.as_ref().map(|to| resolve(environment, to));
            needs.extend(to.clone());
            let (name, kind, values) = (record.name.clone(), record.kind.clone(), record.values.clone());
            records.push(RecordSpec { name, kind, ttl: record.ttl, values, to });
        }
        let spec = DnsZoneSpec { zone: zone.zone.clone(), network: zone.private.then(|| network.clone()), records };
        Resource {
            address: KindName::DNS_ZONE.named(name),
            spec: spec_fields(&spec),
            needs: needs.into_iter().collect(),
            origin: zone.mark.to_string(),
            data: Vec::new(),
        }
    };
    environment.dns.iter().map(zone).collect()
}

/// The resource that has the address.
fn resolve(environment: &Environment, target: &Target) -> Address {
    match target {
        Target::Host(name) => Address::vm(name),
        Target::Address(name) => KindName::ADDRESS.named(name),
        Target::Front(name) => match environment.nginx.get(name).map(|front| front.nodes.as_slice()) {
            Some([only]) => Address::vm(only),
            _ => KindName::LOAD_BALANCER.named(name),
        },
    }
}

/// What a zone's records are now: the attribute of a zone, as a list of [`RecordSpec`].
pub(super) const RECORDS: &str = "records";

/// Whether a record is one that every zone has by itself: who answers for the zone.
pub(super) fn is_own(zone: &str, name: &str, kind: &str) -> bool {
    kind == "SOA" || (kind == "NS" && name == zone)
}

/// What the records of a zone say, now that there is what they point to: its public address, or the inner one in a zone that
/// only the network sees. A balancer that has a name instead of an address gets a `CNAME`.
///
/// # Errors
/// When what a record points to does not exist, or has no address that the zone may show.
pub(super) fn resolved(request: &Request<'_>, spec: &DnsZoneSpec) -> Result<Vec<RecordSpec>> {
    let resolve = |record: &RecordSpec| {
        let Some(to) = &record.to else { return Ok(record.clone()) };
        let object = request.needs.get(to).ok_or_else(|| Error::new(format!("`{to}` does not exist")))?;
        pointed(record, object, spec).ok_or_else(|| {
            Error::usage(format!("the record `{}` points to `{to}`, which has no public address", record.name))
                .hint("give the machine `nat: true`, or make the zone `private: true`")
        })
    };
    spec.records.iter().map(resolve).collect()
}

/// A record with the address of what it points to; nothing when that has none.
fn pointed(record: &RecordSpec, object: &Object, spec: &DnsZoneSpec) -> Option<RecordSpec> {
    let field = if spec.network.is_some() { "address" } else { "public_address" };
    let address = object.attribute(field).or_else(|| object.attribute("public_address"))?;
    let is_name = address.parse::<std::net::IpAddr>().is_err();
    let kind = if is_name { "CNAME" } else { &record.kind };
    let values = vec![if is_name { format!("{address}.") } else { address.to_owned() }];
    Some(RecordSpec { kind: kind.to_owned(), values, to: None, ..record.clone() })
}

/// Why something differs that no one else has changed.
const INTERRUPTED: &str = "an earlier apply was interrupted";

/// How the records of a zone differ from what they should say now: a reason for a plan.
///
/// What a record points to and cannot be found by `find`, or has no address now, is not compared: the plan creates or starts it,
/// and the zone follows. `is_interrupted` says that an earlier apply had begun to change the zone, and has not ended well.
#[must_use]
pub fn outdated<'a>(
    zone: &Object, spec: &DnsZoneSpec, is_interrupted: bool, find: impl Fn(&Address) -> Option<&'a Object>,
) -> Option<String> {
    let seen: Vec<RecordSpec> = serde_json::from_value(zone.attributes.get(RECORDS)?.clone()).ok()?;
    let mut unseen: Vec<&RecordSpec> = seen.iter().collect();
    let mut reason = None;
    for record in &spec.records {
        let wanted = match &record.to {
            None => Some(record.clone()),
            Some(to) => find(to).and_then(|object| pointed(record, object, spec)),
        };
        // A name that stands for an address has another type than the file says.
        let kinds = [Some(record.kind.as_str()), wanted.as_ref().map(|wanted| wanted.kind.as_str())];
        let there = unseen.iter().position(|one| one.name == record.name && kinds.contains(&Some(one.kind.as_str())));
        let there = there.map(|at| unseen.swap_remove(at));
        let Some(wanted) = wanted else { continue };
        let same = there.is_some_and(|there| is_same(there, &wanted));
        if !same && reason.is_none() {
            reason = Some(match &record.to {
                Some(to) => format!("the record `{}` does not have the address of `{to}`", record.name),
                None if is_interrupted => format!("the record `{}` is not set yet: {INTERRUPTED}", record.name),
                None => format!("the record `{}` changed outside of infra", record.name),
            });
        }
    }
    let surplus = |one: &RecordSpec| {
        if is_interrupted {
            format!("the record `{}` is still there: {INTERRUPTED}", one.name)
        } else {
            format!("the record `{}` was added outside of infra", one.name)
        }
    };
    reason.or_else(|| unseen.first().map(|one| surplus(one)))
}

/// Whether a record says what is wanted. Values have no order, names in them no case and perhaps no dot at the end, and an alias
/// has no time.
fn is_same(seen: &RecordSpec, wanted: &RecordSpec) -> bool {
    let values = |record: &RecordSpec| -> BTreeSet<String> {
        let plain = |value: &String| match record.kind.as_str() {
            "CNAME" => value.trim_end_matches('.').to_ascii_lowercase(),
            _ => value.clone(),
        };
        record.values.iter().map(plain).collect()
    };
    let is_timed = seen.ttl == wanted.ttl || (seen.ttl == 0 && seen.kind == "CNAME");
    seen.kind == wanted.kind && is_timed && values(seen) == values(wanted)
}
