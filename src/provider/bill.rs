//! What of an environment is paid for in a cloud, by the names that price files use.

use super::kind::{Parts, Treatment};
use crate::{
    cost::Item,
    resource::{DiskSpec, KindName, PostgresSpec, Resource, VmSpec},
};

/// What is paid for in a region.
pub(super) fn bill(
    resources: &[Resource], region: &str, treatment: fn(KindName) -> Option<&'static Treatment>,
) -> Vec<Item> {
    let items = resources.iter().flat_map(|resource| {
        let parts = treatment(resource.address.kind).map(|row| (row.costs)(resource)).unwrap_or_default();
        parts.into_iter().map(|(name, quantity)| Item {
            address: resource.address.clone(),
            name,
            region: region.to_owned(),
            quantity,
        })
    });
    items.collect()
}

/// A size as a quantity.
pub(super) fn quantity(size: u64) -> f64 {
    f64::from(u32::try_from(size).unwrap_or(u32::MAX))
}

/// One of something.
pub(super) fn one(name: &str) -> Parts {
    vec![(name.to_owned(), 1.0)]
}

/// Machines with their disks and addresses. Clouds differ in how they count the processors and the memory of one.
pub(super) fn machines(resource: &Resource, machine: fn(&VmSpec) -> Parts) -> Parts {
    let Ok(Some((spec, count))) = resource.machines() else { return Vec::new() };
    let mut parts = machine(&spec);
    parts.push((format!("disk/{}", spec.disk_type.as_deref().unwrap_or_default()), quantity(spec.disk_gb)));
    if spec.public && spec.reserved_address.is_none() {
        parts.push(("public-address".to_owned(), 1.0));
    }
    parts.into_iter().map(|(name, amount)| (name, amount * f64::from(count))).collect()
}

/// A disk.
pub(super) fn disk(resource: &Resource) -> Parts {
    let Ok(spec) = resource.spec::<DiskSpec>() else { return Vec::new() };
    vec![(format!("disk/{}", spec.disk_type.unwrap_or_default()), quantity(spec.size_gb))]
}

/// A managed database.
pub(super) fn postgres(resource: &Resource) -> Parts {
    let Ok(spec) = resource.spec::<PostgresSpec>() else { return Vec::new() };
    vec![
        (format!("database/{}", spec.class.unwrap_or_default()), 1.0),
        (format!("database-disk/{}", spec.disk_type.unwrap_or_default()), quantity(spec.disk_gb)),
    ]
}
