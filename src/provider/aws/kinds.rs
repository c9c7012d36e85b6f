//! The kinds that AWS has: what drives each, what can be changed of it and is compared with what exists, and what it costs.

use super::{
    Account,
    address::AddressDriver,
    balancer::LoadBalancerDriver,
    compute::{DiskDriver, VmDriver},
    dns::DnsZoneDriver,
    gateway::GatewayDriver,
    group::InstanceGroupDriver,
    health::is_checked,
    iam::{RoleBindingDriver, ServiceAccountDriver},
    network::NetworkDriver,
    postgres::PostgresDriver,
    route_table::RouteTableDriver,
    security_group::SecurityGroupDriver,
    subnet::SubnetDriver,
};
use crate::{
    provider::{
        bill,
        kind::{Parts, Row, Treatment},
    },
    resource::{
        Field,
        FieldChange::{Ignored, InPlace, Refused, Replace, Restart},
        KindName, Link, LinkChange, Resource, Rules, VmSpec,
    },
};

/// What the cloud itself cannot change.
const FIXED: &str = "it never changes";
/// What only a new machine reads.
const FIRST_BOOT: &str = "it is read at the first boot only";
/// What the class of machines says.
const BY_CLASS: &str = "the class says it";
/// What the template of a group says.
const BY_TEMPLATE: &str = "a template never changes, and another version of it is seen";
/// What addresses belong to.
const REGIONAL: &str = "addresses belong to the whole region";
/// What a network is called.
const NAMELESS: &str = "nothing is called by it";
/// What earlier versions wrote down.
const EARLIER: &str = "only earlier versions have it";
/// What the range of a subnet was chosen by.
const CHOSEN: &str = "the range is chosen once, when the subnet is created";
/// What an object never leaves.
const STAYS: &str = "it never leaves it";
/// What is seen by what it points to.
const BY_LINK: &str = "what it points to is compared";
/// What to do instead of moving something to another network or zone.
const BESIDE: &str = "name a new one beside it, move what is on this one, then remove it from the file";
/// What may be larger than the file says.
const GROWN: &str = "it may grow outside of infra, and never becomes smaller";
/// What to do instead of moving a database to another subnet.
const IN_ITS_SUBNET: &str = "a database stays in its subnet and its zone, and public ones (`nat: true`) are in subnets of their own: make a new \
                             service under another name, move the data, then remove this one from the file";
/// What to do instead of moving data.
const NEW_SERVICE: &str = "make a new service under another name, move the data, then remove this one from the file";

/// A row of the list.
type Kind = Row<Account>;

/// The kinds that this cloud has.
pub(super) const KINDS: &[Kind] = &[
    Kind::new(KindName::NETWORK, |account| Box::new(NetworkDriver(account.clone())), NETWORK),
    // A gateway is in a subnet here, and the route table leads to it.
    Kind::new(KindName::GATEWAY, |account| Box::new(GatewayDriver(account.clone())), GATEWAY)
        .level(2)
        .costs(gateway_costs),
    Kind::new(KindName::ROUTE_TABLE, |account| Box::new(RouteTableDriver(account.clone())), ROUTE_TABLE).level(3),
    Kind::new(KindName::SUBNET, |account| Box::new(SubnetDriver(account.clone())), SUBNET)
        .level(1)
        .unused(&["more_cidrs"]),
    Kind::new(KindName::SECURITY_GROUP, |account| Box::new(SecurityGroupDriver(account.clone())), SECURITY_GROUP)
        .unused(&["checked"]),
    Kind::new(KindName::ADDRESS, |account| Box::new(AddressDriver(account.clone())), ADDRESS)
        .unused(&["front"])
        .costs(|_| bill::one("reserved-address")),
    Kind::new(KindName::DNS_ZONE, |account| Box::new(DnsZoneDriver(account.clone())), DNS_ZONE)
        .costs(|_| bill::one("zone")),
    Kind::new(KindName::DISK, |account| Box::new(DiskDriver(account.clone())), DISK).costs(bill::disk),
    Kind::new(KindName::POSTGRES, |account| Box::new(PostgresDriver(account.clone())), POSTGRES).costs(bill::postgres),
    Kind::new(KindName::LOAD_BALANCER, |account| Box::new(LoadBalancerDriver(account.clone())), LOAD_BALANCER)
        .costs(|_| bill::one("load-balancer")),
    Kind::new(KindName::VM, |account| Box::new(VmDriver(account.clone())), VM)
        .costs(|one| bill::machines(one, by_class)),
    Kind::new(KindName::INSTANCE_GROUP, |account| Box::new(InstanceGroupDriver(account.clone())), INSTANCE_GROUP)
        .costs(group_costs),
    Kind::new(KindName::SERVICE_ACCOUNT, |account| Box::new(ServiceAccountDriver(account.clone())), Rules::NONE),
    Kind::new(KindName::ROLE_BINDING, |account| Box::new(RoleBindingDriver(account.clone())), ROLE_BINDING),
];

/// How a kind is treated.
pub(super) fn of(kind: KindName) -> Option<&'static Treatment> {
    Kind::of(KINDS, kind)
}

/// A gateway has a public address of its own.
fn gateway_costs(_: &Resource) -> Parts {
    [bill::one("gateway"), bill::one("public-address")].concat()
}

/// A machine is paid for by its class.
fn by_class(machine: &VmSpec) -> Parts {
    bill::one(&format!("instance/{}", machine.class.as_deref().unwrap_or_default()))
}

/// A group whose machines are asked whether they work has a balancer of its own.
fn group_costs(group: &Resource) -> Parts {
    let checked = if is_checked(group) { bill::one("load-balancer") } else { Vec::new() };
    [bill::machines(group, by_class), checked].concat()
}

const ADDRESS: Rules = Rules { fields: &[Field::unseen("zone", Ignored(REGIONAL), REGIONAL)], links: &[] };

const DISK: Rules = Rules {
    fields: &[
        Field::unseen("size_gb", InPlace, GROWN).growing(),
        Field::seen("disk_type", InPlace),
        Field::unseen("zone", Refused(BESIDE), FIXED),
    ],
    links: &[],
};

const DNS_ZONE: Rules = Rules {
    fields: &[
        Field::unseen("zone", Replace, FIXED),
        Field::unseen("network", Replace, FIXED),
        Field::seen("records", InPlace),
    ],
    links: &[
        Link::unseen(KindName::NETWORK, LinkChange::Replace, STAYS),
        Link::unseen(KindName::VM, LinkChange::InPlace, "the records are compared"),
        Link::unseen(KindName::ADDRESS, LinkChange::InPlace, "the records are compared"),
        Link::unseen(KindName::LOAD_BALANCER, LinkChange::InPlace, "the records are compared"),
    ],
};

const GATEWAY: Rules = Rules { fields: &[], links: &[Link::unseen(KindName::SUBNET, LinkChange::Replace, STAYS)] };

const INSTANCE_GROUP: Rules = Rules {
    fields: &[
        Field::seen("count", InPlace),
        Field::unseen("zones", InPlace, BY_LINK),
        Field::unseen("max_unavailable", InPlace, "it is sent with each change"),
        Field::unseen("max_expansion", InPlace, "it is sent with each change"),
        Field::unseen("service_account", InPlace, BY_TEMPLATE),
        Field::seen("health_check", InPlace),
        Field::seen("machine", InPlace),
    ],
    links: &[
        Link::unseen(KindName::NETWORK, LinkChange::Replace, STAYS),
        Link::seen(KindName::SUBNET, LinkChange::InPlace),
        Link::unseen(KindName::SECURITY_GROUP, LinkChange::InPlace, BY_TEMPLATE),
        Link::unseen(KindName::SERVICE_ACCOUNT, LinkChange::InPlace, BY_TEMPLATE),
        Link::unseen(KindName::ROLE_BINDING, LinkChange::Keep, "it belongs to the account"),
        Link::unseen(KindName::ROUTE_TABLE, LinkChange::Keep, "it belongs to the subnet"),
    ],
};

const LOAD_BALANCER: Rules = Rules {
    fields: &[Field::unseen("members", InPlace, BY_LINK), Field::seen("ports", InPlace)],
    links: &[
        Link::unseen(KindName::NETWORK, LinkChange::Replace, STAYS),
        Link::unseen(KindName::SUBNET, LinkChange::InPlace, "a balancer keeps the subnets that it has"),
        Link::seen(KindName::VM, LinkChange::InPlace),
    ],
};

const NETWORK: Rules = Rules {
    fields: &[
        Field::unseen("name", Ignored(NAMELESS), NAMELESS),
        Field::seen("cidrs", InPlace),
        Field::seen("ssh_from", InPlace),
        Field::unseen("cidr", Ignored(EARLIER), EARLIER),
    ],
    links: &[],
};

const POSTGRES: Rules = Rules {
    fields: &[
        Field::unseen("version", Restart, "it may be upgraded outside of infra, and never goes back").growing(),
        Field::unseen("cores", Restart, BY_CLASS),
        Field::unseen("memory_mb", Restart, BY_CLASS),
        Field::seen("class", Restart),
        Field::unseen("disk_gb", InPlace, GROWN).growing(),
        Field::seen("disk_type", InPlace),
        Field::unseen("subnet", Refused(IN_ITS_SUBNET), FIXED),
        Field::unseen("zone", Refused(NEW_SERVICE), FIXED),
        Field::seen("public", InPlace),
        Field::seen("settings", Restart),
        Field::unseen("users", Refused(NEW_SERVICE), "the login that owns everything keeps its name"),
        Field::unseen("databases", Refused(NEW_SERVICE), "what is in a server is not looked at"),
        Field::seen("backup", InPlace).staying(),
    ],
    links: &[
        Link::seen(KindName::NETWORK, LinkChange::Replace),
        Link::seen(KindName::SUBNET, LinkChange::InPlace),
        Link::seen(KindName::SECURITY_GROUP, LinkChange::InPlace),
    ],
};

const ROLE_BINDING: Rules = Rules {
    fields: &[Field::unseen("service_account", Replace, FIXED), Field::seen("roles", InPlace)],
    links: &[Link::unseen(KindName::SERVICE_ACCOUNT, LinkChange::Replace, STAYS)],
};

const ROUTE_TABLE: Rules = Rules {
    fields: &[Field::unseen("network", Refused(BESIDE), FIXED), Field::unseen("gateway", InPlace, BY_LINK)],
    links: &[
        Link::unseen(KindName::NETWORK, LinkChange::Replace, STAYS),
        Link::seen(KindName::GATEWAY, LinkChange::InPlace),
    ],
};

const SECURITY_GROUP: Rules = Rules {
    fields: &[Field::unseen("network", Refused(BESIDE), FIXED), Field::seen("ports", InPlace)],
    links: &[Link::unseen(KindName::NETWORK, LinkChange::Replace, STAYS)],
};

const SUBNET: Rules = Rules {
    fields: &[
        Field::unseen("cidr", Refused(BESIDE), FIXED),
        Field::unseen("prefix", Ignored(CHOSEN), CHOSEN),
        Field::unseen("zone", Refused(BESIDE), FIXED),
    ],
    links: &[
        Link::unseen(KindName::NETWORK, LinkChange::Replace, STAYS),
        Link::seen(KindName::ROUTE_TABLE, LinkChange::InPlace),
    ],
};

const VM: Rules = Rules {
    fields: &[
        Field::unseen("image", Replace, "the newest image of a family is another one each week"),
        Field::unseen("cores", InPlace, BY_CLASS),
        Field::unseen("core_fraction", Ignored(BY_CLASS), BY_CLASS),
        Field::unseen("memory_mb", InPlace, BY_CLASS),
        Field::unseen("disk_gb", InPlace, GROWN).growing(),
        Field::unseen("subnet", Replace, FIXED),
        Field::unseen("public", Replace, "the subnet says it"),
        Field::unseen("ports", InPlace, "the security groups are compared"),
        Field::unseen("login", Replace, FIRST_BOOT),
        Field::unseen("authorized_keys", Replace, FIRST_BOOT),
        Field::unseen("disks", Replace, BY_LINK),
        Field::unseen("user_data", Replace, FIRST_BOOT),
        Field::unseen("compose", Replace, FIRST_BOOT),
        Field::unseen("zone", Replace, FIXED),
        Field::seen("disk_type", InPlace),
        Field::seen("class", Restart),
        Field::seen("reserved_address", InPlace),
        Field::seen("security_groups", InPlace),
    ],
    links: &[
        Link::seen(KindName::NETWORK, LinkChange::Replace),
        Link::unseen(KindName::SUBNET, LinkChange::Replace, FIXED),
        Link::unseen(KindName::ROUTE_TABLE, LinkChange::Keep, "it belongs to the subnet"),
        Link::seen(KindName::DISK, LinkChange::InPlace),
        Link::unseen(KindName::ADDRESS, LinkChange::InPlace, "the field is compared"),
        Link::unseen(KindName::SECURITY_GROUP, LinkChange::InPlace, "the field is compared"),
    ],
};
