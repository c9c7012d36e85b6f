//! What AWS lets us change of each kind, and what of it is compared with what exists.

use crate::resource::{
    Field,
    FieldChange::{InPlace, Replace, Restart},
    KindName, Link, LinkChange, Rules,
};

/// What is only written when the object is created.
const AT_CREATION: &str = "it is not compared with what exists";

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

const ADDRESS: Rules = Rules { fields: &[Field::unseen("zone", Replace, AT_CREATION)], links: &[] };

const DISK: Rules = Rules {
    fields: &[
        Field::seen("size_gb", InPlace).growing(),
        Field::seen("disk_type", InPlace),
        Field::unseen("zone", Replace, AT_CREATION),
    ],
    links: &[],
};

const DNS_ZONE: Rules = Rules {
    fields: &[
        Field::unseen("zone", Replace, AT_CREATION),
        Field::unseen("network", Replace, AT_CREATION),
        Field::unseen("records", InPlace, AT_CREATION),
    ],
    links: &[
        Link::unseen(KindName::VM, LinkChange::InPlace, AT_CREATION),
        Link::unseen(KindName::INSTANCE_GROUP, LinkChange::InPlace, AT_CREATION),
        Link::unseen(KindName::ADDRESS, LinkChange::InPlace, AT_CREATION),
        Link::unseen(KindName::LOAD_BALANCER, LinkChange::InPlace, AT_CREATION),
        Link::unseen(KindName::POSTGRES, LinkChange::InPlace, AT_CREATION),
    ],
};

const INSTANCE_GROUP: Rules = Rules {
    fields: &[
        Field::seen("count", InPlace),
        Field::unseen("zones", InPlace, AT_CREATION),
        Field::unseen("max_unavailable", InPlace, AT_CREATION),
        Field::unseen("max_expansion", InPlace, AT_CREATION),
        Field::unseen("service_account", Replace, AT_CREATION),
        Field::unseen("health_check", InPlace, AT_CREATION),
        Field::unseen("machine", InPlace, AT_CREATION),
    ],
    links: &[],
};

const LOAD_BALANCER: Rules = Rules {
    fields: &[Field::unseen("members", InPlace, AT_CREATION), Field::unseen("ports", InPlace, AT_CREATION)],
    links: &[Link::unseen(KindName::VM, LinkChange::InPlace, AT_CREATION)],
};

const NETWORK: Rules = Rules {
    fields: &[
        Field::unseen("name", Replace, AT_CREATION),
        Field::seen("cidrs", InPlace),
        Field::unseen("cidr", Replace, AT_CREATION),
    ],
    links: &[],
};

const POSTGRES: Rules = Rules {
    fields: &[
        Field::seen("version", Restart),
        Field::unseen("cores", Restart, AT_CREATION),
        Field::unseen("memory_mb", Restart, AT_CREATION),
        Field::seen("class", Restart),
        Field::seen("disk_gb", Restart).growing(),
        Field::unseen("disk_type", Restart, AT_CREATION),
        Field::unseen("subnet", Replace, AT_CREATION),
        Field::unseen("zone", Replace, AT_CREATION),
        Field::unseen("public", Restart, AT_CREATION),
        Field::unseen("settings", Restart, AT_CREATION),
        Field::unseen("users", Restart, AT_CREATION),
        Field::unseen("databases", Restart, AT_CREATION),
        Field::unseen("backup", Restart, AT_CREATION),
    ],
    links: &[],
};

const ROLE_BINDING: Rules = Rules {
    fields: &[Field::unseen("service_account", Replace, AT_CREATION), Field::seen("roles", InPlace)],
    links: &[],
};

const ROUTE_TABLE: Rules = Rules {
    fields: &[Field::unseen("network", Replace, AT_CREATION), Field::unseen("gateway", Replace, AT_CREATION)],
    links: &[],
};

const SECURITY_GROUP: Rules =
    Rules { fields: &[Field::unseen("network", Replace, AT_CREATION), Field::seen("ports", InPlace)], links: &[] };

const SUBNET: Rules = Rules { fields: &[Field::seen("cidr", Replace), Field::seen("zone", Replace)], links: &[] };

const VM: Rules = Rules {
    fields: &[
        Field::unseen("image", Replace, AT_CREATION),
        Field::unseen("cores", InPlace, AT_CREATION),
        Field::unseen("core_fraction", InPlace, AT_CREATION),
        Field::unseen("memory_mb", InPlace, AT_CREATION),
        Field::unseen("disk_gb", InPlace, AT_CREATION).growing(),
        Field::unseen("subnet", Replace, AT_CREATION),
        Field::unseen("public", Replace, AT_CREATION),
        Field::unseen("ports", InPlace, AT_CREATION),
        Field::unseen("login", Replace, AT_CREATION),
        Field::unseen("authorized_keys", Replace, AT_CREATION),
        Field::unseen("disks", Replace, AT_CREATION),
        Field::unseen("user_data", Replace, AT_CREATION),
        Field::unseen("compose", Replace, AT_CREATION),
        Field::unseen("zone", Replace, AT_CREATION),
        Field::unseen("disk_type", InPlace, AT_CREATION),
        Field::seen("class", Restart),
        Field::unseen("reserved_address", InPlace, AT_CREATION),
        Field::unseen("security_groups", InPlace, AT_CREATION),
    ],
    links: &[],
};
