//! What this machine lacks for machines that are to be made.

use std::collections::BTreeMap;

use super::{Docker, LABEL_ENV, LABEL_PROJECT, Owner, object_name};
use crate::{
    cloud::docker::Endpoint,
    error::{Error, Result},
    provider::Finding,
    resource::{KindName, Resource},
};

/// A machine writes this much at first, in MiB: packages, logs, a small database.
const MACHINE_MB: u64 = 200;
/// What is left free for everything else, in MiB.
const RESERVE_MB: u64 = 512;

type Labels = BTreeMap<String, String>;

impl Docker {
    /// Names that are taken by someone else, and the room on the engine's disk.
    pub(super) async fn lacks(&self, owner: &Owner, wanted: &[Resource]) -> Vec<Finding> {
        vec![Finding::of("names", self.names(owner, wanted).await), Finding::of("disk space", self.room(wanted).await)]
    }

    async fn names(&self, owner: &Owner, wanted: &[Resource]) -> Result<String> {
        let mut taken = Vec::new();
        let own = |labels: Option<&Labels>| {
            let is = |label: &str, value: &str| {
                labels.and_then(|labels| labels.get(label)).is_some_and(|found| found == value)
            };
            is(LABEL_ENV, owner.environment.as_str()) && is(LABEL_PROJECT, &owner.project)
        };
        let names = |kind: KindName| {
            let of_kind = wanted.iter().filter(move |resource| resource.address.kind == kind);
            of_kind.map(|resource| object_name(owner, &resource.address.name))
        };
        let containers = self.engine.client.all_containers().await?;
        for name in names(KindName::VM) {
            let named =
                containers.iter().find(|one| one.names.iter().any(|other| other.trim_start_matches('/') == name));
            if named.is_some_and(|one| !own(Some(&one.labels))) {
                taken.push(format!("the container `{name}`: `docker rm --force {name}`"));
            }
        }
        let networks = self.engine.client.list_networks(None).await?;
        for name in names(KindName::SUBNET) {
            if networks.iter().any(|one| one.name == name && !own(one.labels.as_ref())) {
                taken.push(format!("the network `{name}`: `docker network rm {name}`"));
            }
        }
        if taken.is_empty() {
            return Ok("none of them is taken".to_owned());
        }
        Err(Error::new(format!("{} exist already, and this environment did not make them", taken.len()))
            .hint(format!("remove what is not needed: {}", taken.join("; "))))
    }

    async fn room(&self, wanted: &[Resource]) -> Result<String> {
        let machines = wanted.iter().filter(|resource| resource.address.kind == KindName::VM).count() as u64;
        let info = self.engine.client.info().await?;
        // The disk of an engine elsewhere cannot be looked at.
        let (Endpoint::Unix(_), Ok(disk)) = (&self.endpoint, rustix::fs::statvfs(info.docker_root_dir.as_str())) else {
            return Ok("the engine's disk is not on this machine".to_owned());
        };
        let free = disk.f_bavail.saturating_mul(disk.f_frsize) / (1 << 20);
        let needed = machines * MACHINE_MB + RESERVE_MB;
        let text =
            format!("{free} MB are free in `{}`, {machines} machines need about {needed} MB", info.docker_root_dir);
        if free >= needed {
            return Ok(text);
        }
        Err(Error::new(text).hint("make room: `docker system prune` removes what no container uses"))
    }
}
