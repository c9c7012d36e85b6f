//! What creating resources needs of the account: credentials, zones, images, classes of machines and of databases, policies,
//! quotas.

use std::collections::{BTreeMap, BTreeSet};

use super::{Account, iam, layout::class_names, network, quota};
use crate::{
    cloud::aws::{AwsError, catalogue::DbOffering, ec2::Vpc},
    error::{Error, did_you_mean},
    provider::{
        Asked, Finding,
        asked::{Names, collect, images, known, machine, missing},
    },
    resource::{InstanceGroupSpec, KindName, NetworkSpec, PostgresSpec, Resource, RoleBindingSpec, SubnetSpec},
};

/// How many names a message shows.
const SHOWN: usize = 10;
/// How many blocks of addresses a network may have, unless the account may have more.
const BLOCKS: u32 = 5;

/// All findings.
pub(super) async fn findings(account: &Account, created: &[Resource], changed: &[Resource]) -> Vec<Finding> {
    let wanted: &[Resource] = &[created, changed].concat();
    let client = &account.client;
    let caller = client.caller_identity().await.map_err(Error::from);
    let mut findings = vec![Finding::of("credentials", caller.map(|caller| caller.name))];
    if !findings[0].ok {
        return findings;
    }
    let networks = client.list::<Vpc>(&[]).await.map_err(Error::from);
    findings.push(Finding::of("networks can be read", networks.map(|all| format!("{} in the region", all.len()))));
    for (family, sections) in images(wanted) {
        let image = account.image(&family).await;
        let asked = Some(Asked { value: family.clone(), sections });
        findings.push(Finding { asked, ..Finding::of(&format!("image family `{family}`"), image) });
    }
    let (places, databases, policies) =
        tokio::join!(account.places(wanted), account.databases(wanted), account.policies(wanted));
    findings.extend(places.unwrap_or_else(|error| unread("zones and classes of machines", error)));
    findings.extend(databases.unwrap_or_else(|error| unread("classes of databases", error)));
    findings.extend(policies.unwrap_or_else(|error| unread("policies", error)));
    findings.extend(blocks(account, created, changed).await);
    findings.extend(quotas(account, created).await);
    findings
}

/// Whether a network may have as many blocks of addresses as its subnets make.
async fn blocks(account: &Account, created: &[Resource], changed: &[Resource]) -> Vec<Finding> {
    let networks = created.iter().chain(changed).filter(|one| one.address.kind == KindName::NETWORK);
    let mut findings = Vec::new();
    for network in networks {
        let Ok(spec) = network.spec::<NetworkSpec>() else { continue };
        let count = u32::try_from(network::blocks(&spec).len()).unwrap_or(u32::MAX);
        if count <= BLOCKS {
            continue;
        }
        // Who may create networks need not be allowed to read quotas.
        let limit = account.client.service_quota("vpc", "L-83CA0A9D").await.unwrap_or(f64::from(BLOCKS));
        if f64::from(count) <= limit {
            continue;
        }
        // The last subnet that is new is the one that is too many.
        let subnets = created.iter().filter(|one| one.address.kind == KindName::SUBNET);
        let section = subnets.map(|one| &one.origin).next_back().unwrap_or(&network.origin).clone();
        findings.push(Finding {
            check: "quota of address ranges in a network (VPC)".to_owned(),
            ok: false,
            needed: true,
            detail: format!("its subnets make {count} ranges that are no neighbours, and {limit} are allowed"),
            hint: "choose ranges side by side, which are one range of the network; or ask for more in the console (Service \
                   Quotas, `IPv4 CIDR blocks per VPC`)"
                .to_owned(),
            asked: Some(Asked { value: "v4_cidr_blocks".to_owned(), sections: [section].into() }),
        });
    }
    findings
}

/// Who may not read a catalogue may still use what is in it.
fn unread(what: &str, error: AwsError) -> Vec<Finding> {
    vec![Finding { needed: false, ..Finding::of(&format!("{what} can be read"), Err(error.into())) }]
}

async fn quotas(account: &Account, created: &[Resource]) -> Vec<Finding> {
    let used = match account.used().await {
        Ok(used) => used,
        Err(error) => return vec![Finding { needed: false, ..Finding::of("quotas", Err(error)) }],
    };
    let mut findings = Vec::new();
    for quota in quota::QUOTAS.iter().filter(|quota| quota.takes(created) > 0) {
        let limit = account.client.service_quota(quota.service, quota.code).await.map_err(Error::from);
        findings.extend(quota.finding(limit, &used, created));
    }
    findings
}

/// The zones that subnets and groups name. What a machine is in says its subnet.
fn zones(wanted: &[Resource]) -> Names {
    collect(wanted, |one| match one.address.kind {
        KindName::SUBNET => vec![one.spec::<SubnetSpec>().ok().and_then(|spec| spec.zone)],
        KindName::INSTANCE_GROUP => {
            let zones = one.spec::<InstanceGroupSpec>().map(|spec| spec.zones).unwrap_or_default();
            zones.into_iter().map(Some).collect()
        }
        _ => Vec::new(),
    })
}

/// The classes of machines, each with the zones that it must be offered in.
fn classes(wanted: &[Resource]) -> BTreeMap<String, (BTreeSet<String>, BTreeSet<String>)> {
    let mut classes: BTreeMap<String, (BTreeSet<String>, BTreeSet<String>)> = BTreeMap::new();
    for one in wanted {
        let Some(machine) = machine(one) else { continue };
        let Some(class) = machine.class else { continue };
        let (sections, zones) = classes.entry(class).or_default();
        sections.insert(one.origin.clone());
        let group = one.spec::<InstanceGroupSpec>().map(|group| group.zones).unwrap_or_default();
        if group.is_empty() { zones.extend(machine.zone) } else { zones.extend(group) }
    }
    classes
}

fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.into_iter().collect();
    let more = if names.len() > SHOWN { ", ..." } else { "" };
    format!("{}{more}", names[..names.len().min(SHOWN)].join(", "))
}

impl Account {
    /// The zones of the region, and what classes of machines they have.
    async fn places(&self, wanted: &[Resource]) -> Result<Vec<Finding>, AwsError> {
        let (zones, classes) = (zones(wanted), classes(wanted));
        if zones.is_empty() && classes.is_empty() {
            return Ok(Vec::new());
        }
        let there = self.client.zones().await?;
        let mut findings: Vec<Finding> =
            zones.iter().map(|(name, sections)| known("zone", name, sections, &there)).collect();
        if classes.is_empty() {
            return Ok(findings);
        }
        let names: Vec<&str> = classes.keys().map(String::as_str).collect();
        let offered = self.client.instance_offerings("instance-type", &names).await?;
        for (class, (sections, zones)) in &classes {
            let has = |zone: &String| offered.iter().any(|one| one.instance_type == *class && one.location == *zone);
            // A zone that does not exist is a mistake already.
            let lacking: Vec<&str> =
                zones.iter().filter(|zone| there.contains(zone) && !has(zone)).map(String::as_str).collect();
            let what = "class of machines";
            let having: Vec<&str> = there.iter().filter(|zone| has(zone)).map(String::as_str).collect();
            findings.push(if having.is_empty() {
                let all =
                    self.client.instance_offerings("location", &[there.first().map_or("", String::as_str)]).await?;
                let close = did_you_mean(class, all.iter().map(|one| one.instance_type.as_str()));
                let hint = close.map_or_else(
                    || "`aws ec2 describe-instance-type-offerings` shows those that there are".to_owned(),
                    |close| format!("did you mean `{close}`?"),
                );
                missing(what, class, sections, "does not exist in this region", hint)
            } else if lacking.is_empty() {
                Finding::of(&format!("{what} `{class}`"), Ok(format!("is offered in {}", list(having))))
            } else {
                let detail = format!("is not offered in {}, only in {}", list(lacking), list(having));
                missing(what, class, sections, detail, "name another class, or a subnet in another zone")
            });
        }
        Ok(findings)
    }

    /// Whether managed databases can be had as they are asked for.
    async fn databases(&self, wanted: &[Resource]) -> Result<Vec<Finding>, AwsError> {
        let mut findings = Vec::new();
        for one in wanted.iter().filter(|one| one.address.kind == KindName::POSTGRES) {
            let Ok(spec) = one.spec::<PostgresSpec>() else { continue };
            let Some(class) = &spec.class else { continue };
            let offered = self.client.db_offerings(Some(class)).await?;
            if offered.is_empty() && self.client.db_offerings(None).await?.is_empty() {
                let none = Error::new("the list of them is empty");
                return Ok(unread("classes of databases", none.into()));
            }
            findings.push(database(&spec, class, &BTreeSet::from([one.origin.clone()]), &offered));
        }
        Ok(findings)
    }

    /// The policies that service accounts name.
    async fn policies(&self, wanted: &[Resource]) -> Result<Vec<Finding>, AwsError> {
        let asked = collect(wanted, |one| match one.address.kind {
            KindName::ROLE_BINDING => {
                let roles = one.spec::<RoleBindingSpec>().map(|spec| spec.roles).unwrap_or_default();
                roles.into_iter().map(Some).collect()
            }
            _ => Vec::new(),
        });
        let mut findings = Vec::new();
        for (arn, sections) in &asked {
            let name = iam::role(arn);
            if self.client.has_policy(arn).await? {
                findings.push(Finding::of(&format!("policy `{name}`"), Ok("exists".to_owned())));
                continue;
            }
            let all = if name == arn { Vec::new() } else { self.client.managed_policies().await? };
            let all: Vec<&str> = all.iter().map(|policy| iam::role(&policy.arn)).collect();
            // Some of Amazon's policies are below a path.
            let below = all.iter().find(|one| one.rsplit('/').next() == Some(name)).copied();
            let close = below.map(str::to_owned).or_else(|| did_you_mean(name, all.iter().copied()).map(Into::into));
            let hint = close.map_or_else(
                || {
                    "name one of Amazon's policies (`aws iam list-policies --scope AWS`), or the ARN of your own"
                        .to_owned()
                },
                |close| format!("did you mean `{close}`?"),
            );
            findings.push(missing("policy", name, sections, "does not exist", hint));
        }
        Ok(findings)
    }
}

/// Whether a database can be had, from what its class is offered with.
fn database(spec: &PostgresSpec, class: &str, sections: &BTreeSet<String>, offered: &[DbOffering]) -> Finding {
    let what = "class of databases";
    if offered.is_empty() {
        let hint = did_you_mean(
            class,
            class_names().map(|name| format!("db.{name}")).collect::<Vec<_>>().iter().map(String::as_str),
        )
        .map_or_else(
            || {
                "`aws rds describe-orderable-db-instance-options --engine postgres` shows those that there are"
                    .to_owned()
            },
            |close| format!("did you mean `{close}`?"),
        );
        return missing(what, class, sections, "does not exist for PostgreSQL in this region", hint);
    }
    let major = |one: &DbOffering| one.engine_version.split('.').next().and_then(|text| text.parse::<u32>().ok());
    let all: BTreeSet<u32> = offered.iter().filter_map(major).collect();
    let of_version: Vec<&DbOffering> = offered.iter().filter(|one| major(one) == Some(spec.version)).collect();
    if of_version.is_empty() {
        let all: Vec<String> = all.iter().map(u32::to_string).collect();
        let hint = format!("name another `version` or another `class`; with this class there are {}", all.join(", "));
        let detail = format!("is not offered with PostgreSQL {}", spec.version);
        return missing(what, class, sections, detail, hint);
    }
    let types: BTreeSet<&str> = of_version.iter().map(|one| one.storage_type.as_str()).collect();
    let typed = |one: &&&DbOffering| spec.disk_type.as_deref().is_none_or(|name| name == one.storage_type);
    let of_type: Vec<&&DbOffering> = of_version.iter().filter(typed).collect();
    if of_type.is_empty() {
        let name = spec.disk_type.as_deref().unwrap_or_default();
        let hint = format!("there are: {}", list(types));
        return missing("disk type of databases", name, sections, format!("is not offered with `{class}`"), hint);
    }
    let zones: BTreeSet<&str> =
        of_type.iter().flat_map(|one| &one.availability_zones).map(|zone| zone.name.as_str()).collect();
    if let Some(zone) = spec.zone.as_deref().filter(|zone| !zones.is_empty() && !zones.contains(zone)) {
        let detail = format!("is not offered in {zone}, only in {}", list(zones));
        return missing(what, class, sections, detail, "name another class, or a subnet in another zone");
    }
    Finding::of(&format!("{what} `{class}`"), Ok(format!("is offered with PostgreSQL {}", spec.version)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::database;
    use crate::{cloud::aws::catalogue::DbOffering, resource::PostgresSpec};

    #[test]
    fn a_database_is_offered_as_a_whole() {
        let offering = |version: &str, disk: &str| -> DbOffering {
            let zones = json!([{ "Name": "eu-central-1a" }]);
            let one = json!({ "EngineVersion": version, "StorageType": disk, "AvailabilityZones": zones });
            serde_json::from_value(one).unwrap()
        };
        let offered = [offering("15.4", "gp3"), offering("16.1", "gp2")];
        let of = |version: u32, disk: &str, zone: &str, offered: &[DbOffering]| {
            let spec = json!({
                "version": version, "cores": 2, "memory_mb": 4096, "class": "db.t3.medium", "disk_gb": 20,
                "disk_type": disk, "subnet": "a", "zone": zone, "public": false, "settings": {}, "users": {}, "databases": {},
            });
            let spec: PostgresSpec = serde_json::from_value(spec).unwrap();
            let sections = BTreeSet::from(["config.yaml:1:1".to_owned()]);
            let found = database(&spec, "db.t3.medium", &sections, offered);
            format!("{}: {} ({})", found.check, found.detail, found.hint)
        };
        for (found, expected) in [
            (of(15, "gp3", "eu-central-1a", &offered), "is offered with PostgreSQL 15"),
            (of(14, "gp3", "eu-central-1a", &offered), "is not offered with PostgreSQL 14"),
            (of(14, "gp3", "eu-central-1a", &offered), "with this class there are 15, 16"),
            (
                of(16, "gp3", "eu-central-1a", &offered),
                "disk type of databases `gp3`: is not offered with `db.t3.medium` (there are: gp2)",
            ),
            (of(15, "gp3", "eu-central-1b", &offered), "is not offered in eu-central-1b, only in eu-central-1a"),
            (of(15, "gp3", "eu-central-1a", &[]), "does not exist for PostgreSQL in this region"),
        ] {
            assert!(found.contains(expected), "{found}");
        }
    }
}
