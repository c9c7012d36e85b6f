//! What Docker Engine lets us change of each kind, and what of it is compared with what exists.

use crate::resource::{
    Field,
    FieldChange::{Ignored, InPlace, Replace},
    KindName, Rules,
};

/// What is only written when the object is created.
const AT_CREATION: &str = "it is not compared with what exists";

/// Why the size of a disk makes no difference.
const UNLIMITED: &str = "Docker Engine does not limit the size of disks";

/// The rules of a kind.
pub(in crate::provider) fn of(kind: KindName) -> Rules {
    match kind {
        KindName::DISK => DISK,
        KindName::SUBNET => SUBNET,
        KindName::VM => VM,
        _ => Rules::NONE,
    }
}

const DISK: Rules = Rules {
    fields: &[
        Field::unseen("size_gb", Ignored(UNLIMITED), AT_CREATION),
        Field::unseen("disk_type", Replace, AT_CREATION),
        Field::unseen("zone", Replace, AT_CREATION),
    ],
    links: &[],
};

const SUBNET: Rules = Rules {
    fields: &[Field::unseen("cidr", Replace, AT_CREATION), Field::unseen("zone", Replace, AT_CREATION)],
    links: &[],
};

const VM: Rules = Rules {
    fields: &[
        Field::unseen("image", Replace, AT_CREATION),
        Field::seen("cores", InPlace),
        Field::seen("core_fraction", InPlace),
        Field::seen("memory_mb", InPlace),
        Field::unseen("disk_gb", Ignored(UNLIMITED), AT_CREATION),
        Field::unseen("subnet", Replace, AT_CREATION),
        Field::unseen("public", Replace, AT_CREATION),
        Field::unseen("ports", Replace, AT_CREATION),
        Field::unseen("login", Replace, AT_CREATION),
        Field::unseen("authorized_keys", Replace, AT_CREATION),
        Field::unseen("disks", Replace, AT_CREATION),
        Field::unseen("user_data", Replace, AT_CREATION),
        Field::unseen("reserved_address", Replace, AT_CREATION),
        Field::unseen("security_groups", Replace, AT_CREATION),
    ],
    links: &[],
};
