//! What of an environment is paid for in a cloud, by the names that price files use.

use crate::{
    cost::Item,
    resource::{DiskSpec, InstanceGroupSpec, KindName, PostgresSpec, Resource, VmSpec},
};

/// What is paid for in a region. Clouds differ in how they count the processors and the memory of a machine.
pub(super) fn bill(resources: &[Resource], region: &str, machine: fn(&VmSpec) -> Vec<(String, f64)>) -> Vec<Item> {
    let items = resources.iter().flat_map(|resource| {
        parts(resource, machine).into_iter().map(|(name, quantity)| Item {
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

fn parts(resource: &Resource, machine: fn(&VmSpec) -> Vec<(String, f64)>) -> Vec<(String, f64)> {
    let machines = |spec: &VmSpec, count: f64| {
        let mut parts = machine(spec);
        parts.push((format!("disk/{}", spec.disk_type.as_deref().unwrap_or_default()), quantity(spec.disk_gb)));
        if spec.public && spec.reserved_address.is_none() {
            parts.push(("public-address".to_owned(), 1.0));
        }
        parts.into_iter().map(|(name, amount)| (name, amount * count)).collect()
    };
    let one = |name: &str| vec![(name.to_owned(), 1.0)];
    match resource.address.kind {
        KindName::VM => resource.spec().map(|spec| machines(&spec, 1.0)).unwrap_or_default(),
        KindName::INSTANCE_GROUP => {
            let Ok(spec) = resource.spec::<InstanceGroupSpec>() else { return Vec::new() };
            machines(&spec.machine, f64::from(spec.count))
        }
        KindName::DISK => {
            let Ok(spec) = resource.spec::<DiskSpec>() else { return Vec::new() };
            vec![(format!("disk/{}", spec.disk_type.unwrap_or_default()), quantity(spec.size_gb))]
        }
        KindName::POSTGRES => {
            let Ok(spec) = resource.spec::<PostgresSpec>() else { return Vec::new() };
            vec![
                (format!("database/{}", spec.class.unwrap_or_default()), 1.0),
                (format!("database-disk/{}", spec.disk_type.unwrap_or_default()), quantity(spec.disk_gb)),
            ]
        }
        KindName::LOAD_BALANCER => one("load-balancer"),
        KindName::GATEWAY => one("gateway"),
        KindName::ADDRESS => one("reserved-address"),
        KindName::DNS_ZONE => one("zone"),
        _ => Vec::new(),
    }
}
