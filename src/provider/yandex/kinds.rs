//! The kinds that Yandex Cloud has: what drives each, what can be changed of it and is compared with what exists, and what it
//! costs.

use super::{
    account::Account,
    balancer::LoadBalancerDriver,
    compute::{DiskDriver, VmDriver},
    dns::DnsZoneDriver,
    group::InstanceGroupDriver,
    iam::{RoleBindingDriver, ServiceAccountDriver},
    postgres::PostgresDriver,
    public::AddressDriver,
    registry::RegistryDriver,
    security::{NetworkDriver, SecurityGroupDriver},
    subnet::SubnetDriver,
    vpc::{GatewayDriver, RouteTableDriver},
};
use crate::{
    provider::{
        bill,
        kind::{Parts, Row, Treatment},
    },
    resource::{
        Field,
        FieldChange::{Ignored, InPlace, Refused, Replace, Restart},
        KindName, Link, LinkChange, Resource, Rules,
    },
};

/// What nothing outside can change.
const FIXED: &str = "it cannot be changed";
/// What cloud-init reads.
const FIRST_BOOT: &str =
    "machines read it at their first boot only, so that a later change has no effect; lists do not show it";
/// What the service derives something else from.
const BY_CLASS: &str = "it chooses the class, which is compared";
/// What another object holds.
const BY_GROUP: &str = "the security group that opens them is compared";

/// A row of the list.
type Kind = Row<Account>;

/// The kinds that this cloud has.
pub(super) const KINDS: &[Kind] = &[
    Kind::new(KindName::GATEWAY, |account| Box::new(GatewayDriver(account.clone())), Rules::NONE)
        .costs(|_| bill::one("gateway")),
    Kind::new(KindName::ROUTE_TABLE, |account| Box::new(RouteTableDriver(account.clone())), ROUTE_TABLE),
    Kind::new(KindName::SUBNET, |account| Box::new(SubnetDriver(account.clone())), SUBNET).unused(&["prefix"]),
    Kind::new(KindName::ADDRESS, |account| Box::new(AddressDriver(account.clone())), ADDRESS)
        .costs(|_| bill::one("reserved-address")),
    Kind::new(KindName::DNS_ZONE, |account| Box::new(DnsZoneDriver(account.clone())), DNS_ZONE)
        .costs(|_| bill::one("zone")),
    Kind::new(KindName::REGISTRY, |account| Box::new(RegistryDriver(account.clone())), Rules::NONE),
    Kind::new(KindName::DISK, |account| Box::new(DiskDriver(account.clone())), DISK).costs(bill::disk),
    Kind::new(KindName::VM, |account| Box::new(VmDriver(account.clone())), VM).costs(machine_costs),
    Kind::new(KindName::NETWORK, |account| Box::new(NetworkDriver(account.clone())), NETWORK).unused(&["cidr"]),
    Kind::new(KindName::SECURITY_GROUP, |account| Box::new(SecurityGroupDriver(account.clone())), SECURITY_GROUP),
    Kind::new(KindName::SERVICE_ACCOUNT, |account| Box::new(ServiceAccountDriver(account.clone())), Rules::NONE),
    Kind::new(KindName::POSTGRES, |account| Box::new(PostgresDriver(account.clone())), POSTGRES).costs(bill::postgres),
    Kind::new(KindName::LOAD_BALANCER, |account| Box::new(LoadBalancerDriver(account.clone())), LOAD_BALANCER)
        .costs(|_| bill::one("load-balancer")),
    Kind::new(KindName::INSTANCE_GROUP, |account| Box::new(InstanceGroupDriver(account.clone())), INSTANCE_GROUP)
        .costs(machine_costs),
    Kind::new(KindName::ROLE_BINDING, |account| Box::new(RoleBindingDriver(account.clone())), ROLE_BINDING),
];

/// How a kind is treated.
pub(super) fn of(kind: KindName) -> Option<&'static Treatment> {
    Kind::of(KINDS, kind)
}

/// Processors and memory are paid for by themselves.
fn machine_costs(one: &Resource) -> Parts {
    bill::machines(one, |machine| {
        let platform = machine.class.as_deref().unwrap_or_default();
        vec![
            (format!("cores/{platform}/{}", machine.core_fraction), f64::from(machine.cores)),
            (format!("memory/{platform}"), bill::quantity(machine.memory_mb) / 1024.0),
        ]
    })
}

const ADDRESS: Rules = Rules {
    fields: &[
        Field::unseen("zone", Replace, FIXED),
        Field::unseen("front", Ignored("whose it is decides only how it is created"), "infra alone knows it"),
    ],
    links: &[],
};

const DISK: Rules = Rules {
    fields: &[
        Field::seen("size_gb", InPlace).growing(),
        Field::unseen("disk_type", Replace, FIXED),
        Field::unseen(
            "zone",
            Refused(
                "a disk stays in its zone: leave its machine there, or give a machine of another name a disk in the other zone and move the data",
            ),
            FIXED,
        ),
    ],
    links: &[],
};

const DNS_ZONE: Rules = Rules {
    fields: &[
        Field::unseen("zone", Replace, FIXED),
        Field::unseen("network", InPlace, "the network itself is compared"),
        Field::seen("records", InPlace),
    ],
    links: &[
        Link::seen(KindName::NETWORK, LinkChange::Replace),
        Link::unseen(KindName::VM, LinkChange::InPlace, "the records are compared"),
        Link::unseen(KindName::ADDRESS, LinkChange::InPlace, "the records are compared"),
        Link::unseen(KindName::LOAD_BALANCER, LinkChange::InPlace, "the records are compared"),
    ],
};

const INSTANCE_GROUP: Rules = Rules {
    fields: &[
        Field::seen("count", InPlace),
        Field::seen("zones", InPlace),
        Field::seen("max_unavailable", InPlace),
        Field::seen("max_expansion", InPlace),
        Field::unseen("service_account", InPlace, "the account itself is compared"),
        Field::seen("health_check", InPlace),
        Field::seen("machine", InPlace),
    ],
    links: &[
        Link::seen(KindName::NETWORK, LinkChange::Replace),
        Link::seen(KindName::SUBNET, LinkChange::Replace),
        Link::seen(KindName::SECURITY_GROUP, LinkChange::InPlace),
        Link::seen(KindName::SERVICE_ACCOUNT, LinkChange::InPlace),
    ],
};

const LOAD_BALANCER: Rules = Rules {
    fields: &[Field::unseen("members", InPlace, "the machines themselves are compared"), Field::seen("ports", InPlace)],
    links: &[Link::seen(KindName::VM, LinkChange::InPlace), Link::seen(KindName::ADDRESS, LinkChange::InPlace)],
};

const NETWORK: Rules = Rules {
    fields: &[
        Field::unseen("name", Replace, "one that was taken over keeps its name"),
        Field::seen("cidrs", InPlace),
        Field::seen("ssh_from", InPlace),
    ],
    links: &[],
};

const POSTGRES: Rules = Rules {
    fields: &[
        Field::seen("version", InPlace).growing().stepping(),
        Field::unseen("cores", InPlace, BY_CLASS),
        Field::unseen("memory_mb", InPlace, BY_CLASS),
        Field::seen("class", Restart),
        Field::seen("disk_gb", InPlace).growing(),
        Field::unseen("disk_type", Replace, FIXED),
        Field::unseen("subnet", Refused(STAYS), FIXED),
        Field::unseen("zone", Refused(STAYS), FIXED),
        Field::seen("public", InPlace),
        Field::seen("settings", InPlace),
        Field::seen("users", InPlace),
        Field::seen("databases", InPlace),
        Field::seen("backup", InPlace).staying(),
    ],
    links: &[
        Link::seen(KindName::NETWORK, LinkChange::Replace),
        Link::unseen(KindName::SUBNET, LinkChange::Replace, FIXED),
        Link::seen(KindName::SECURITY_GROUP, LinkChange::InPlace),
    ],
};

/// What to do with a cluster that should be elsewhere.
const STAYS: &str =
    "a cluster stays where it is: make one under another name, restore a backup into it, then remove this one";

const ROLE_BINDING: Rules = Rules {
    fields: &[Field::unseen("service_account", Replace, FIXED), Field::seen("roles", InPlace)],
    links: &[Link::unseen(KindName::SERVICE_ACCOUNT, LinkChange::Replace, FIXED)],
};

/// What to do with a network of another name.
const NAMED: &str = "a network keeps its name, and everything stays in it: write `network.name` as it was (no name is `main`); for another \
                     network make another environment, move the data there, then destroy this one";

const ROUTE_TABLE: Rules = Rules {
    fields: &[Field::unseen("network", Refused(NAMED), FIXED), Field::seen("gateway", InPlace)],
    links: &[
        Link::unseen(KindName::NETWORK, LinkChange::Replace, FIXED),
        Link::seen(KindName::GATEWAY, LinkChange::InPlace),
    ],
};

const SECURITY_GROUP: Rules = Rules {
    fields: &[
        Field::unseen("network", Refused(NAMED), FIXED),
        Field::seen("ports", InPlace),
        Field::seen("checked", InPlace),
    ],
    links: &[Link::unseen(KindName::NETWORK, LinkChange::Replace, FIXED)],
};

const SUBNET: Rules = Rules {
    fields: &[
        Field::seen("cidr", InPlace),
        Field::seen("more_cidrs", InPlace),
        Field::seen(
            "zone",
            Refused("a subnet stays in its zone: add another one there, and move machines to it one by one"),
        ),
    ],
    links: &[
        Link::unseen(KindName::NETWORK, LinkChange::Replace, FIXED),
        Link::seen(KindName::ROUTE_TABLE, LinkChange::InPlace),
    ],
};

const VM: Rules = Rules {
    fields: &[
        Field::unseen("image", Replace, FIXED),
        Field::seen("cores", Restart),
        Field::seen("core_fraction", Restart),
        Field::seen("memory_mb", Restart),
        Field::seen("disk_gb", InPlace).growing(),
        Field::unseen("subnet", Replace, FIXED),
        Field::seen("public", InPlace),
        Field::unseen("ports", InPlace, BY_GROUP),
        Field::unseen("login", Replace, FIRST_BOOT),
        Field::unseen("authorized_keys", Replace, FIRST_BOOT),
        Field::unseen("disks", Replace, "the disks themselves are compared"),
        Field::unseen("user_data", Replace, FIRST_BOOT),
        Field::unseen("compose", Replace, FIRST_BOOT),
        Field::unseen("zone", Replace, FIXED),
        Field::unseen("disk_type", Replace, FIXED),
        Field::seen("class", Restart),
        Field::unseen("reserved_address", InPlace, "the address itself is compared"),
        Field::seen("security_groups", InPlace),
    ],
    links: &[
        Link::seen(KindName::NETWORK, LinkChange::Replace),
        Link::unseen(KindName::SUBNET, LinkChange::Replace, FIXED),
        Link::seen(KindName::SECURITY_GROUP, LinkChange::InPlace),
        Link::seen(KindName::DISK, LinkChange::Restart),
        Link::seen(KindName::ADDRESS, LinkChange::InPlace),
    ],
};
