//! Quotas: what of them is used, and whether what an environment takes has room in the rest.

use super::{Account, layout::cores_of};
use crate::{
    cloud::aws::ec2::{Address, Vpc},
    error::Result,
    provider::Finding,
    resource::{KindName, Resource, VmSpec},
};

/// A quota, with its codes in the service of quotas.
pub(super) struct Quota {
    /// What it is, for people.
    name: &'static str,
    pub(super) service: &'static str,
    pub(super) code: &'static str,
    used: fn(&Used) -> u32,
    taken: fn(&[Resource]) -> u32,
}

/// The quotas that an environment takes of.
pub(super) const QUOTAS: &[Quota] = &[
    Quota {
        name: "networks (VPCs)",
        service: "vpc",
        code: "L-F678F1CE",
        used: |used| used.networks,
        taken: |wanted| count(wanted, KindName::NETWORK),
    },
    Quota {
        name: "elastic addresses",
        service: "ec2",
        code: "L-0263D0A3",
        used: |used| used.addresses,
        // A gateway has one of its own.
        taken: |wanted| count(wanted, KindName::ADDRESS) + count(wanted, KindName::GATEWAY),
    },
    Quota {
        name: "processors of running machines",
        service: "ec2",
        code: "L-1216C47A",
        used: |used| used.processors,
        taken: |wanted| {
            machines(wanted)
                .iter()
                .map(|(count, machine)| count * cores_of(machine.class.as_deref().unwrap_or_default()))
                .sum()
        },
    },
    Quota {
        name: "databases",
        service: "rds",
        code: "L-7B6409FD",
        used: |used| used.databases,
        taken: |wanted| count(wanted, KindName::POSTGRES),
    },
    Quota {
        name: "network load balancers",
        service: "elasticloadbalancing",
        code: "L-69A177A2",
        used: |used| used.balancers,
        // A group whose machines are asked has one of its own.
        taken: |wanted| {
            count(wanted, KindName::LOAD_BALANCER)
                + total(wanted.iter().filter(|one| super::health::is_checked(one)).count())
        },
    },
];

/// What an account uses in its region.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Used {
    networks: u32,
    addresses: u32,
    processors: u32,
    databases: u32,
    balancers: u32,
}

fn count(wanted: &[Resource], kind: KindName) -> u32 {
    total(wanted.iter().filter(|one| one.address.kind == kind).count())
}

fn total(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// The machines of an environment: how many, and what each of them is.
pub(super) fn machines(wanted: &[Resource]) -> Vec<(u32, VmSpec)> {
    let machines = wanted.iter().filter_map(|one| one.machines().ok()?);
    machines.map(|(machine, count)| (count, machine)).collect()
}

impl Account {
    /// What is used of the quotas.
    pub(super) async fn used(&self) -> Result<Used> {
        let client = &self.client;
        let (networks, addresses, instances, databases, balancers) = tokio::try_join!(
            client.list::<Vpc>(&[]),
            client.list::<Address>(&[]),
            client.instances(&[("instance-state-name", "running")]),
            client.db_instances(),
            client.load_balancers(),
        )?;
        Ok(Used {
            networks: total(networks.len()),
            addresses: total(addresses.len()),
            processors: instances.iter().map(|instance| cores_of(&instance.instance_type)).sum(),
            databases: total(databases.len()),
            balancers: total(balancers.len()),
        })
    }
}

impl Quota {
    /// How much of it an environment takes.
    pub(super) fn takes(&self, wanted: &[Resource]) -> u32 {
        (self.taken)(wanted)
    }

    /// Whether there is room; nothing when the environment takes nothing of it.
    pub(super) fn finding(&self, limit: Result<f64>, used: &Used, wanted: &[Resource]) -> Option<Finding> {
        let (used, taken) = ((self.used)(used), (self.taken)(wanted));
        if taken == 0 {
            return None;
        }
        let check = format!("quota of {}", self.name);
        let limit = match limit {
            Ok(limit) => limit,
            // Whoever may make machines need not be allowed to read quotas.
            Err(error) => return Some(Finding { needed: false, ..Finding::of(&check, Err(error)) }),
        };
        Some(Finding {
            check,
            ok: f64::from(used) + f64::from(taken) <= limit,
            needed: true,
            detail: format!("{used} of {limit} are used, and this environment takes {taken}"),
            hint: "ask for more in the console (Service Quotas), or remove what uses it up".to_owned(),
            asked: None,
        })
    }
}
