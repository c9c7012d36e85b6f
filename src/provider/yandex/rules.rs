//! What Yandex Cloud lets us change of each kind, and what of it is compared with what exists.

use crate::resource::{
    Field,
    FieldChange::{Ignored, InPlace, Refused, Replace, Restart},
    KindName, Link, LinkChange, Rules,
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

/// The rules of a kind.
pub(in crate::provider) fn of(kind: KindName) -> Rules {
    match kind {
        KindName::ADDRESS => ADDRESS,
        KindName::DISK => DISK,
        KindName::DNS_ZONE => DNS_ZONE,
        KindName::INSTANCE_GROUP => INSTANCE_GROUP,
        KindName::LOAD_BALANCER => LOAD_BALANCER,
        KindName::NETWORK => NETWORK,
        KindName::POSTGRES => POSTGRES,
        KindName::ROLE_BINDING => ROLE_BINDING,
        KindName::ROUTE_TABLE => ROUTE_TABLE,
        KindName::SECURITY_GROUP => SECURITY_GROUP,
        KindName::SUBNET => SUBNET,
        KindName::VM => VM,
        _ => Rules::NONE,
    }
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
