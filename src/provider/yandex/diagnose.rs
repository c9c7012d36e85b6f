//! What making resources needs of the account: the folder, roles, images, zones, types of disks, quotas.

use super::{account::Account, names, subnet};
use crate::{
    cloud::yandex::{Catalogue, Quota},
    error::Error,
    provider::{
        Asked, Finding, Owner,
        asked::{Names, collect, disk_types, images, known, machine},
    },
    resource::{
        AddressSpec, DiskSpec, InstanceGroupSpec, KindName, PostgresSpec, Resource, RoleBindingSpec, SubnetSpec, VmSpec,
    },
};

/// All findings.
pub(super) async fn findings(
    account: &Account, owner: &Owner, created: &[Resource], changed: &[Resource],
) -> Vec<Finding> {
    let wanted: &[Resource] = &[created, changed].concat();
    let (client, folder) = (&account.client, &account.folder);
    let found = client.folder(folder).await.map_err(|error| account.no_folder(error));
    let cloud = found.as_ref().map(|folder| folder.cloud_id.clone()).unwrap_or_default();
    let mut findings = vec![Finding::of(
        "credentials and folder",
        found.map(|folder| format!("`{}` ({}) is {}", folder.name, folder.id, folder.status.to_ascii_lowercase())),
    )];
    if cloud.is_empty() {
        return findings;
    }
    let bindings = client.folder_bindings(folder).await.map_err(Error::from);
    findings.push(Finding::of("roles can be read", bindings.map(|all| format!("{} in the folder", all.len()))));
    for (family, places) in images(wanted) {
        let image = account.image(&family).await;
        let asked = Some(Asked { value: family.clone(), sections: places });
        findings.push(Finding { asked, ..Finding::of(&format!("image family `{family}`"), image) });
    }
    let sections = [
        ("zone", Catalogue::Zones, zones(wanted)),
        ("disk type", Catalogue::DiskTypes, disk_types(wanted)),
        ("role", Catalogue::Roles, roles(wanted)),
        ("class of databases", Catalogue::PostgresClasses, classes(wanted)),
    ];
    for (what, catalogue, asked) in sections.into_iter().filter(|(.., asked)| !asked.is_empty()) {
        match client.catalogue(catalogue).await {
            Ok(there) => findings.extend(asked.iter().map(|(name, places)| known(what, name, places, &there))),
            // Who may not read the catalogue may still use what is in it.
            Err(error) => findings
                .push(Finding { needed: false, ..Finding::of(&format!("{what}s can be read"), Err(error.into())) }),
        }
    }
    match subnet::findings(account, owner, changed).await {
        Ok(found) => findings.extend(found),
        Err(error) => findings.push(Finding::of("ranges of subnets", Err(error))),
    }
    findings.extend(Box::pin(names::findings(account, owner, created)).await);
    for service in ["vpc", "compute"] {
        match client.quotas(&cloud, service).await {
            // An answer may have the quotas of other services beside those that were asked for.
            Ok(quotas) => {
                let own = |quota: &&Quota| quota.quota_id.split('.').next() == Some(service);
                findings.extend(quotas.iter().filter(own).filter_map(|quota| self::quota(quota, created)));
            }
            Err(error) => findings
                .push(Finding { needed: false, ..Finding::of(&format!("quotas of `{service}`"), Err(error.into())) }),
        }
    }
    findings
}

fn zones(wanted: &[Resource]) -> Names {
    collect(wanted, |one| match one.address.kind {
        KindName::SUBNET => vec![one.spec::<SubnetSpec>().ok().and_then(|spec| spec.zone)],
        KindName::ADDRESS => vec![one.spec::<AddressSpec>().ok().and_then(|spec| spec.zone)],
        KindName::DISK => vec![one.spec::<DiskSpec>().ok().and_then(|spec| spec.zone)],
        KindName::POSTGRES => vec![one.spec::<PostgresSpec>().ok().and_then(|spec| spec.zone)],
        KindName::INSTANCE_GROUP => {
            let zones = one.spec::<InstanceGroupSpec>().map(|spec| spec.zones).unwrap_or_default();
            zones.into_iter().map(Some).collect()
        }
        _ => vec![machine(one).and_then(|machine| machine.zone)],
    })
}

fn roles(wanted: &[Resource]) -> Names {
    let of = |one: &Resource| one.spec::<RoleBindingSpec>().map(|spec| spec.roles).unwrap_or_default();
    collect(wanted, |one| match one.address.kind {
        KindName::ROLE_BINDING => of(one).into_iter().map(Some).collect(),
        _ => Vec::new(),
    })
}

fn classes(wanted: &[Resource]) -> Names {
    collect(wanted, |one| match one.address.kind {
        KindName::POSTGRES => vec![one.spec::<PostgresSpec>().ok().and_then(|spec| spec.class)],
        _ => Vec::new(),
    })
}

/// Whether a quota has room for what these resources would take of it; nothing when they take nothing of it.
fn quota(quota: &Quota, wanted: &[Resource]) -> Option<Finding> {
    let count = |kind: KindName| wanted.iter().filter(|one| one.address.kind == kind).count();
    let members = || wanted.iter().filter_map(|one| Some((one.spec::<InstanceGroupSpec>().ok()?.count, one)));
    let machines = || {
        let single = wanted.iter().filter_map(|one| Some((1, one.spec::<VmSpec>().ok()?)));
        single.chain(members().filter_map(|(count, one)| Some((count, one.spec::<InstanceGroupSpec>().ok()?.machine))))
    };
    let sum = |of: &dyn Fn(&VmSpec) -> u64| machines().map(|(count, spec)| u64::from(count) * of(&spec)).sum::<u64>();
    let needed = match quota.quota_id.as_str() {
        "vpc.networks.count" => count(KindName::NETWORK) as u64,
        "vpc.subnets.count" => count(KindName::SUBNET) as u64,
        "vpc.routeTables.count" => count(KindName::ROUTE_TABLE) as u64,
        "vpc.gateways.count" => count(KindName::GATEWAY) as u64,
        // The network brings two of its own: that of its machines, and that of the bastion.
        "vpc.securityGroups.count" => (count(KindName::SECURITY_GROUP) + 2 * count(KindName::NETWORK)) as u64,
        "vpc.externalAddresses.count" => {
            sum(&|spec| u64::from(spec.public && spec.reserved_address.is_none())) + count(KindName::ADDRESS) as u64
        }
        "vpc.externalStaticAddresses.count" => count(KindName::ADDRESS) as u64,
        "compute.instances.count" => sum(&|_| 1),
        "compute.instanceCores.count" => sum(&|spec| u64::from(spec.cores)),
        "compute.instanceMemory.size" => sum(&|spec| spec.memory_mb << 20),
        "compute.instanceGroups.count" => count(KindName::INSTANCE_GROUP) as u64,
        "compute.disks.count" => sum(&|_| 1) + count(KindName::DISK) as u64,
        _ => return None,
    };
    if needed == 0 {
        return None;
    }
    #[expect(clippy::cast_precision_loss, reason = "quotas are told as fractions")]
    let ok = quota.usage + needed as f64 <= quota.limit;
    Some(Finding {
        check: format!("quota `{}`", quota.quota_id),
        ok,
        needed: true,
        detail: format!("{} of {} are used, and this environment takes {needed}", quota.usage, quota.limit),
        hint: "ask for more in the console (Quotas), or remove what uses it up".to_owned(),
        asked: None,
    })
}
