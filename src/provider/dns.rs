//! Zones of names, as both clouds have them: what they need, and what their records say.

use std::collections::BTreeSet;

use super::Request;
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

/// A record as it is written into a zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Said {
    /// Its name, with a dot at the end.
    pub(super) name: String,
    /// Its type.
    pub(super) kind: String,
    /// How long others may remember it, in seconds.
    pub(super) ttl: u64,
    /// What it says.
    pub(super) values: Vec<String>,
}

/// What the records of a zone say, now that there is what they point to: its public address, or the inner one in a zone that
/// only the network sees. A balancer that has a name instead of an address gets an alias.
pub(super) fn said(request: &Request<'_>, spec: &DnsZoneSpec) -> Result<Vec<Said>> {
    let say = |record: &RecordSpec| {
        let (mut kind, mut values) = (record.kind.clone(), record.values.clone());
        if let Some(to) = &record.to {
            let object = request.needs.get(to).ok_or_else(|| Error::new(format!("`{to}` does not exist")))?;
            let field = if spec.network.is_some() { "address" } else { "public_address" };
            let address = object.attribute(field).or_else(|| object.attribute("public_address"));
            let address = address.ok_or_else(|| {
                Error::usage(format!("the record `{}` points to `{to}`, which has no public address", record.name))
                    .hint("give the machine `nat: true`, or make the zone `private: true`")
            })?;
            let is_name = address.parse::<std::net::IpAddr>().is_err();
            if is_name {
                "CNAME".clone_into(&mut kind);
            }
            values = vec![if is_name { format!("{address}.") } else { address.to_owned() }];
        }
        Ok(Said { name: record.name.clone(), kind, ttl: record.ttl, values })
    };
    spec.records.iter().map(say).collect()
}
