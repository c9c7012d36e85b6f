//! The kinds that Docker Engine has: what drives each, and what can be changed of it and is compared with what exists.

use super::{Engine, disk::DiskDriver, expiry::ExpiryDriver, subnet::SubnetDriver, vm::VmDriver};
use crate::{
    provider::kind::{Row, Treatment},
    resource::{
        Field,
        FieldChange::{Ignored, InPlace, Replace},
        KindName, Rules,
    },
};

/// What the engine fixes when the object is created.
const FIXED: &str = "the engine cannot change it";

/// What the machine reads at its first boot.
const FIRST_BOOT: &str = "it is read at the first boot only";

/// What other tools may add.
const WIRES: &str = "networks that a container is connected to by hand are not looked at";

/// What an engine does not have.
const NONE: &str = "an engine has no such thing";

/// Why the size of a disk makes no difference.
const UNLIMITED: &str = "Docker Engine does not limit the size of disks";

/// A row of the list.
type Kind = Row<Engine>;

/// The kinds that an engine has.
pub(super) const KINDS: &[Kind] = &[
    Kind::new(KindName::SUBNET, |engine| Box::new(SubnetDriver { client: engine.client.clone() }), SUBNET)
        .unused(&["prefix", "more_cidrs"]),
    Kind::new(KindName::DISK, |engine| Box::new(DiskDriver { client: engine.client.clone() }), DISK),
    Kind::new(KindName::EXPIRY, |engine| Box::new(ExpiryDriver { client: engine.client.clone() }), Rules::NONE),
    Kind::new(KindName::VM, |engine| Box::new(VmDriver::new(engine.client.clone(), engine.settings.clone())), VM)
        .unused(&["zone", "disk_type", "class", "compose"]),
];

/// How a kind is treated.
pub(super) fn of(kind: KindName) -> Option<&'static Treatment> {
    Kind::of(KINDS, kind)
}

const DISK: Rules = Rules {
    fields: &[
        Field::unseen("size_gb", Ignored(UNLIMITED), UNLIMITED),
        Field::unseen("disk_type", Ignored(NONE), NONE),
        Field::unseen("zone", Ignored(NONE), NONE),
    ],
    links: &[],
};

const SUBNET: Rules =
    Rules { fields: &[Field::unseen("cidr", Replace, FIXED), Field::unseen("zone", Ignored(NONE), NONE)], links: &[] };

const VM: Rules = Rules {
    fields: &[
        Field::unseen("image", Replace, FIXED),
        Field::seen("cores", InPlace),
        Field::seen("core_fraction", InPlace),
        Field::seen("memory_mb", InPlace),
        Field::unseen("disk_gb", Ignored(UNLIMITED), UNLIMITED),
        Field::unseen("subnet", Replace, WIRES),
        Field::unseen("public", Replace, FIXED),
        Field::unseen("ports", Replace, FIXED),
        Field::unseen("login", Replace, FIRST_BOOT),
        Field::unseen("authorized_keys", Replace, FIRST_BOOT),
        Field::unseen("disks", Replace, FIXED),
        Field::unseen("user_data", Replace, FIRST_BOOT),
        Field::unseen("reserved_address", Ignored(NONE), NONE),
        Field::unseen("security_groups", Ignored(NONE), NONE),
    ],
    links: &[],
};
