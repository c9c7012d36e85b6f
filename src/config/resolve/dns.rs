//! Zones of names and what their records point to.

use indexmap::IndexMap;

use super::Resolver;
use crate::{
    config::{Record, Target, Zone, file::File},
    name::Name,
};

impl Resolver<'_> {
    pub(super) fn dns(&mut self, file: &File) -> IndexMap<Name, Zone> {
        let mut zones = IndexMap::new();
        for (name, zone) in &file.dns {
            let domain = zone.zone.trim_end_matches('.').to_ascii_lowercase();
            let valid = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
            if domain.is_empty() || !domain.chars().all(valid) {
                let path = ["dns", name.as_str(), "zone"];
                self.mistake(&path, format!("`{}` is not a domain like `example.org`", zone.zone));
            }
            let section = ["dns", name.as_str(), "records"];
            let mut records = Vec::new();
            for record in &zone.records {
                if record.values.is_empty() == record.to.is_none() {
                    let message = format!("the record `{}` has either `values` or `to`", record.name);
                    self.mistake(&section, message);
                }
                let to = record.to.as_ref().and_then(|to| self.target(file, &section, to));
                let full = match record.name.trim_end_matches('.') {
                    "@" => format!("{domain}."),
                    // Names have no case; services show small letters.
                    name => format!("{}.{domain}.", name.to_ascii_lowercase()),
                };
                let kind = record.kind.to_ascii_uppercase();
                records.push(Record {
                    name: full,
                    kind,
                    ttl: record.ttl.0.as_secs(),
                    values: record.values.clone(),
                    to,
                });
            }
            let mark = self.mark(&["dns", name.as_str()]);
            zones.insert(name.clone(), Zone { zone: format!("{domain}."), private: zone.private, records, mark });
        }
        zones
    }

    /// What the `to` of a record names.
    fn target(&mut self, file: &File, section: &[&str], to: &Name) -> Option<Target> {
        let grouped = self.groups.values().any(|group| group.members.contains(to));
        if grouped {
            let message = format!("`{to}` is one of a group's machines, which come and go with other addresses");
            self.mistake(section, message).hint = Some("point to the front before them".to_owned());
            return None;
        }
        if self.hosts.contains_key(to) {
            return Some(Target::Host(to.clone()));
        }
        if file.nginx.contains_key(to) {
            return Some(Target::Front(to.clone()));
        }
        if file.addresses.contains_key(to) {
            return Some(Target::Address(to.clone()));
        }
        let names = self.hosts.keys().chain(file.nginx.keys()).chain(file.addresses.keys());
        let known: Vec<String> = names.map(Name::to_string).collect();
        self.unknown(section, "machine, front or address", to.as_str(), &known);
        None
    }
}
