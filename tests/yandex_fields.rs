//! Each field that Yandex Cloud can change in place, and each that is compared with what exists: one case a cell of the table.

use std::collections::BTreeSet;

use infra::{
    apply::Tally,
    provider,
    resource::{Drift, FieldChange, KindName, LinkChange},
};
use serde_json::{Value, json};

use crate::{
    support::{commands::command, yandex::Cloud},
    yandex::{apply, destroy_file as destroy, load},
};

/// Everything that has fields.
const FILE: &str = "
provider: yandex
yandex: {folder_id: b1gsimulated0folder00, endpoint: 'ENDPOINT', service_account_key_file: KEY}
network:
  subnets: {a: {v4_cidr_blocks: [10.1.0.0/24]}, b: {v4_cidr_blocks: [10.2.0.0/24], zone: ru-central1-b}}
  firewall: {web: {groups: [web], ports: [80]}}
secrets: {chosen: {generate: 12}}
service_accounts: {robots: {roles: [viewer]}, others: {roles: [viewer]}}
addresses: {fixed: , spare: }
instances:
  web: {ansible_groups: [web], network: {nat: true, address: fixed, subnet: a}, resources: {memory: 2, class: standard-v3}}
  db: {network: {subnet: a}, resources: {memory: 4, disk_size: 10, secondary_disk_size: 5}}
  inner: {network: {subnet: a}, resources: {cores: 2, memory: 2}}
instance_groups:
  app:
    node_count: 1
    service_account: robots
    network: {subnet: a}
    resources: {memory: 2}
    allocation_policy: [ru-central1-a]
    deploy_policy: {max_unavailable: 1, max_expansion: 0}
    health_check: {port: 8080, path: /ping}
nginx:
  front: {nodes: 2, network: {subnet: a}, resources: {memory: 2}, upstreams: {app: {group: app, port: 80}}, locations: {/: {upstream: app}}}
postgres:
  main:
    version: 15
    managed: true
    network: {subnet: a}
    resources: {cores: 2, memory: 8, disk_size: 20}
    settings: {work_mem: 64MB, jit: 'off'}
    users: {app: , report: , leaves: }
    databases: {app: {owner: app, extensions: [pg_trgm, uuid-ossp]}}
    backup: {schedule: '30 3 * * *', keep: 14d}
dns:
  world: {zone: example.org, records: [{name: '@', to: web}, {name: old, values: [192.0.2.1]}]}
  home: {zone: home.internal, private: true, records: [{name: inner, to: inner}]}
";

/// What cannot be changed in a file, because another resource takes its place.
const NEVER: &[(&str, &str)] = &[
    // There is one gateway, and a group of other ports is another group.
    ("route_table", "gateway"),
    ("security_group", "ports"),
    ("security_group", "checked"),
];

/// For each field that is changed in place: what of the file is changed for that.
const CHANGES: &[(&str, &str, &str, &str)] = &[
    ("disk", "size_gb", "secondary_disk_size: 5", "secondary_disk_size: 8"),
    (
        "dns_zone",
        "network",
        "zone: home.internal, private: true, records: [{name: inner, to: inner}]",
        "zone: home.internal, records: []",
    ),
    ("dns_zone", "records", "{name: old, values: [192.0.2.1]}", "{name: new, values: [192.0.2.2], ttl: 1h}"),
    ("instance_group", "count", "node_count: 1", "node_count: 2"),
    (
        "instance_group",
        "zones",
        "allocation_policy: [ru-central1-a]",
        "allocation_policy: [ru-central1-a, ru-central1-b]",
    ),
    ("instance_group", "max_unavailable", "max_unavailable: 1", "max_unavailable: 2"),
    ("instance_group", "max_expansion", "max_expansion: 0", "max_expansion: 1"),
    ("instance_group", "service_account", "service_account: robots", "service_account: others"),
    ("instance_group", "health_check", "health_check: {port: 8080, path: /ping}", "health_check: {port: 9090}"),
    (
        "instance_group",
        "machine",
        "    resources: {memory: 2}\n    allocation",
        "    resources: {memory: 4}\n    allocation",
    ),
    ("load_balancer", "members", "{nodes: 2,", "{nodes: 3,"),
    ("load_balancer", "ports", "upstreams: {app:", "listen: {https: 8443}, upstreams: {app:"),
    (
        "network",
        "cidrs",
        "b: {v4_cidr_blocks: [10.2.0.0/24], zone: ru-central1-b}",
        "b: {v4_cidr_blocks: [10.2.0.0/24], zone: ru-central1-b}, c: {v4_cidr_blocks: [10.3.0.0/24]}",
    ),
    ("network", "ssh_from", "  firewall: {web", "  ssh_from: [192.0.2.0/24, 198.51.100.7/32]\n  firewall: {web"),
    ("postgres", "version", "version: 15", "version: 16"),
    ("postgres", "cores", "cores: 2, memory: 8", "cores: 4, memory: 16"),
    ("postgres", "memory_mb", "cores: 2, memory: 8", "cores: 4, memory: 16"),
    ("postgres", "class", "cores: 2, memory: 8", "cores: 4, memory: 16"),
    ("postgres", "disk_gb", "disk_size: 20}", "disk_size: 30}"),
    (
        "postgres",
        "public",
        "    managed: true\n    network: {subnet: a}",
        "    managed: true\n    network: {subnet: a, nat: true}",
    ),
    (
        "postgres",
        "settings",
        "settings: {work_mem: 64MB, jit: 'off'}",
        "settings: {work_mem: 32MB, statement_timeout: 30s}",
    ),
    ("postgres", "users", "users: {app: , report: , leaves: }", "users: {app: , report: {password: chosen}, comes: }"),
    (
        "postgres",
        "databases",
        "{owner: app, extensions: [pg_trgm, uuid-ossp]}",
        "{owner: report, extensions: [uuid-ossp, hstore]}",
    ),
    ("postgres", "backup", "backup: {schedule: '30 3 * * *', keep: 14d}", "backup: {schedule: '0 5 * * *', keep: 20d}"),
    ("role_binding", "roles", "robots: {roles: [viewer]}", "robots: {roles: [editor]}"),
    (
        "vm",
        "cores",
        "inner: {network: {subnet: a}, resources: {cores: 2, memory: 2}}",
        "inner: {network: {subnet: a}, resources: {cores: 4, memory: 4, core_fraction: 50}}",
    ),
    (
        "vm",
        "core_fraction",
        "inner: {network: {subnet: a}, resources: {cores: 2, memory: 2}}",
        "inner: {network: {subnet: a}, resources: {cores: 4, memory: 4, core_fraction: 50}}",
    ),
    (
        "vm",
        "memory_mb",
        "inner: {network: {subnet: a}, resources: {cores: 2, memory: 2}}",
        "inner: {network: {subnet: a}, resources: {cores: 4, memory: 4, core_fraction: 50}}",
    ),
    ("subnet", "cidr", "b: {v4_cidr_blocks: [10.2.0.0/24]", "b: {v4_cidr_blocks: [10.22.0.0/24]"),
    ("subnet", "more_cidrs", "{a: {v4_cidr_blocks: [10.1.0.0/24]}", "{a: {v4_cidr_blocks: [10.1.0.0/24, 10.9.0.0/24]}"),
    ("vm", "disk_gb", "disk_size: 10", "disk_size: 15"),
    ("vm", "public", "db: {network: {subnet: a}", "db: {network: {subnet: a, nat: true}"),
    ("vm", "ports", "ports: [80]", "ports: [80, 8081]"),
    ("vm", "class", "class: standard-v3", "class: standard-v2"),
    ("vm", "reserved_address", "address: fixed", "address: spare"),
    ("vm", "security_groups", "ports: [80]", "ports: [80, 8081]"),
];

/// The first text setting of a PostgreSQL cluster.
fn config(cluster: &mut Value) -> &mut Value {
    &mut cluster["config"]
}

type Edit = fn(&Cloud);

fn interface(machine: &mut Value) -> &mut Value {
    &mut machine["networkInterfaces"][0]
}

/// A rule that lets everything in.
fn open(cloud: &Cloud, group: &str, ranges: Value) {
    let rule = json!({ "direction": "INGRESS", "protocolName": "ANY", "cidrBlocks": ranges });
    cloud.edit(group, |group| group["rules"].as_array_mut().unwrap().push(rule));
}

/// For each field and each link that is compared: what someone does beside infra. Some are done in several ways.
const DRIFTS: &[(&str, &str, Edit)] = &[
    ("dns_zone", "records", |cloud| {
        // An address that the simulator gives to nothing.
        cloud.edit("dev-world", |zone| zone["records"][1]["data"] = json!(["198.51.100.9"]));
    }),
    ("dns_zone", "records", |cloud| cloud.edit("dev-home", |zone| drop(zone["records"].as_array_mut().unwrap().pop()))),
    ("dns_zone", "network", |cloud| {
        cloud.edit("dev-home", |zone| zone["privateVisibility"]["networkIds"] = json!(["enp-of-another"]));
    }),
    ("instance_group", "count", |cloud| cloud.resize("dev-app", 2)),
    ("instance_group", "zones", |cloud| {
        cloud.edit("dev-app", |group| group["allocationPolicy"]["zones"] = json!([{ "zoneId": "ru-central1-b" }]));
    }),
    ("instance_group", "max_unavailable", |cloud| {
        cloud.edit("dev-app", |group| group["deployPolicy"]["maxUnavailable"] = "3".into());
    }),
    ("instance_group", "max_expansion", |cloud| {
        cloud.edit("dev-app", |group| group["deployPolicy"]["maxExpansion"] = "3".into());
    }),
    ("instance_group", "health_check", |cloud| cloud.edit("dev-app", |group| group["healthChecksSpec"] = Value::Null)),
    ("instance_group", "machine", |cloud| {
        cloud.edit("dev-app", |group| {
            group["instanceTemplate"]["resourcesSpec"]["memory"] = (1_i64 << 30).to_string().into();
        });
    }),
    ("instance_group", "machine", |cloud| {
        cloud.edit("dev-app", |group| group["instanceTemplate"]["metadata"]["serial-port-enable"] = "1".into());
    }),
    ("instance_group", "machine", |cloud| {
        cloud.edit("dev-app", |group| {
            group["instanceTemplate"]["metadata"]["ssh-keys"] = "mallory:ssh-ed25519 A".into();
        });
    }),
    ("instance_group", "subnet", |cloud| {
        let other = cloud.object("dev-b")["id"].clone();
        cloud.edit("dev-app", |group| {
            group["instanceTemplate"]["networkInterfaceSpecs"][0]["subnetIds"].as_array_mut().unwrap().push(other);
        });
    }),
    ("instance_group", "network", |cloud| {
        cloud.edit("dev-app", |group| {
            drop(
                group["instanceTemplate"]["networkInterfaceSpecs"][0]["securityGroupIds"]
                    .as_array_mut()
                    .unwrap()
                    .remove(0),
            );
        });
    }),
    ("instance_group", "security_group", |cloud| {
        cloud.edit("dev-app", |group| {
            drop(
                group["instanceTemplate"]["networkInterfaceSpecs"][0]["securityGroupIds"].as_array_mut().unwrap().pop(),
            );
        });
    }),
    ("instance_group", "service_account", |cloud| {
        cloud.edit("dev-app", |group| group["instanceTemplate"]["serviceAccountId"] = Value::Null);
    }),
    ("load_balancer", "ports", |cloud| {
        cloud.edit("dev-front", |one| drop(one["listeners"].as_array_mut().unwrap().pop()));
    }),
    ("load_balancer", "ports", |cloud| {
        cloud.edit("dev-front", |one| {
            one["attachedTargetGroups"][0]["healthChecks"][0]["tcpOptions"]["port"] = "1".into();
        });
    }),
    ("load_balancer", "address", |cloud| {
        cloud.edit_in("/load-balancer/v1/networkLoadBalancers", "dev-front", |one| {
            for listener in one["listeners"].as_array_mut().unwrap() {
                listener["address"] = "198.51.100.202".into();
            }
        });
    }),
    ("load_balancer", "vm", |cloud| {
        cloud.edit_in("/load-balancer/v1/targetGroups", "dev-front", |one| {
            drop(one["targets"].as_array_mut().unwrap().pop());
        });
    }),
    ("network", "cidrs", |cloud| open(cloud, &default_group(cloud), json!({ "v4CidrBlocks": ["0.0.0.0/0"] }))),
    ("network", "cidrs", |cloud| open(cloud, &default_group(cloud), json!({ "v6CidrBlocks": ["::/0"] }))),
    ("network", "cidrs", |cloud| {
        cloud.edit(&default_group(cloud), |group| drop(group["rules"].as_array_mut().unwrap().remove(0)));
    }),
    ("network", "ssh_from", |cloud| {
        cloud.edit("dev-ssh", |group| group["rules"][0]["cidrBlocks"]["v4CidrBlocks"] = json!(["192.0.2.0/24"]));
    }),
    ("postgres", "class", |cloud| {
        cloud.edit("dev-main", |one| config(one)["resources"]["resourcePresetId"] = "c3-c2-m4".into());
    }),
    ("postgres", "public", |cloud| cloud.edit("dev-main", |one| one["hosts"][0]["assignPublicIp"] = true.into())),
    ("postgres", "settings", |cloud| {
        cloud.edit("dev-main", |one| config(one)["postgresqlConfig_15"]["workMem"] = "1".into());
    }),
    ("postgres", "users", |cloud| {
        cloud.edit("dev-main", |one| {
            one["users"].as_array_mut().unwrap().push(json!({ "name": "thief", "permissions": [] }));
        });
    }),
    ("postgres", "users", |cloud| cloud.edit("dev-main", |one| one["users"][1]["permissions"] = json!([]))),
    ("postgres", "databases", |cloud| cloud.edit("dev-main", |one| one["databases"][0]["extensions"] = json!([]))),
    ("postgres", "backup", |cloud| cloud.edit("dev-main", |one| config(one)["backupRetainPeriodDays"] = "7".into())),
    ("postgres", "network", |cloud| cloud.edit("dev-main", |one| one["securityGroupIds"] = json!([]))),
    ("postgres", "security_group", |cloud| {
        cloud.edit("dev-main", |one| one["securityGroupIds"].as_array_mut().unwrap().push("enp-of-someone".into()));
    }),
    ("role_binding", "roles", |cloud| cloud.bind("dev-robots", "admin")),
    ("route_table", "gateway", |cloud| {
        let route = json!({ "destinationPrefix": "192.0.2.0/24", "nextHopAddress": "10.1.0.7" });
        cloud.edit_in("/vpc/v1/routeTables", "dev-egress", |table| {
            table["staticRoutes"].as_array_mut().unwrap().push(route);
        });
    }),
    ("route_table", "→ gateway", |cloud| {
        cloud.edit_in("/vpc/v1/routeTables", "dev-egress", |table| {
            table["staticRoutes"][0]["gatewayId"] = "enp-of-another".into();
        });
    }),
    ("security_group", "ports", |cloud| open(cloud, "dev-ports-80", json!({ "v4CidrBlocks": ["0.0.0.0/0"] }))),
    ("security_group", "ports", |cloud| {
        cloud.edit("dev-ports-80", |group| group["rules"][0]["ports"]["toPort"] = "65535".into());
    }),
    ("security_group", "ports", |cloud| {
        cloud.edit("dev-ports-80", |group| group["rules"][0]["description"] = "mine".into());
    }),
    ("security_group", "checked", |cloud| cloud.edit("dev-checks-8080", |group| group["rules"] = json!([]))),
    ("subnet", "cidr", |cloud| cloud.edit("dev-b", |subnet| subnet["v4CidrBlocks"] = json!(["10.9.0.0/24"]))),
    ("subnet", "more_cidrs", |cloud| {
        cloud.edit("dev-a", |subnet| subnet["v4CidrBlocks"] = json!(["10.8.0.0/24", "10.1.0.0/24"]));
    }),
    ("subnet", "route_table", |cloud| cloud.edit("dev-a", |subnet| subnet["routeTableId"] = Value::Null)),
    ("vm", "cores", |cloud| cloud.edit("dev-inner", |machine| machine["resources"]["cores"] = "4".into())),
    ("vm", "core_fraction", |cloud| {
        cloud.edit("dev-inner", |machine| machine["resources"]["coreFraction"] = "20".into());
    }),
    ("vm", "memory_mb", |cloud| {
        cloud.edit("dev-inner", |machine| machine["resources"]["memory"] = (1_i64 << 30).to_string().into());
    }),
    ("vm", "class", |cloud| cloud.edit("dev-inner", |machine| machine["platformId"] = "standard-v1".into())),
    ("vm", "public", |cloud| {
        cloud.edit("dev-inner", |machine| {
            interface(machine)["primaryV4Address"]["oneToOneNat"] = json!({ "address": "198.51.100.200" });
        });
    }),
    ("vm", "security_group", |cloud| {
        cloud.edit("dev-web", |machine| drop(interface(machine)["securityGroupIds"].as_array_mut().unwrap().remove(1)));
    }),
    ("vm", "security_groups", |cloud| {
        cloud.edit("dev-web", |machine| drop(interface(machine)["securityGroupIds"].as_array_mut().unwrap().pop()));
    }),
    ("vm", "network", |cloud| {
        cloud.edit("dev-inner", |machine| interface(machine)["securityGroupIds"] = json!([]));
    }),
    ("vm", "disk", |cloud| {
        cloud.edit("dev-db", |machine| machine["secondaryDisks"] = json!([]));
        cloud.edit("dev-db-data", |disk| disk["instanceIds"] = json!([]));
    }),
    ("vm", "address", |cloud| {
        cloud.edit("dev-web", |machine| {
            interface(machine)["primaryV4Address"]["oneToOneNat"]["address"] = "198.51.100.201".into();
        });
    }),
];

/// What is compared, and cannot be other than it is here: the service does not make disks smaller, or take versions back.
const ONLY_UPWARDS: &[(&str, &str)] =
    &[("disk", "size_gb"), ("vm", "disk_gb"), ("postgres", "disk_gb"), ("postgres", "version"), ("subnet", "zone")];

fn default_group(cloud: &Cloud) -> String {
    let network = cloud.object_in("/vpc/v1/networks", "dev");
    format!("default-sg-{}", network["id"].as_str().unwrap())
}

fn cells(of: impl Fn(KindName) -> Vec<String>) -> BTreeSet<(String, String)> {
    KindName::all().flat_map(|kind| of(kind).into_iter().map(move |cell| (kind.as_str().to_owned(), cell))).collect()
}

fn named(pairs: impl Iterator<Item = (&'static str, &'static str)>) -> BTreeSet<(String, String)> {
    pairs.map(|(kind, field)| (kind.to_owned(), field.trim_start_matches("→ ").to_owned())).collect()
}

#[test]
fn yandex_fields_have_a_case_each() {
    let rules = provider::rules("yandex".parse().unwrap());
    let changed = cells(|kind| {
        let fields = rules(kind).fields.iter();
        let in_place = fields.filter(|field| matches!(field.change, FieldChange::InPlace | FieldChange::Restart));
        in_place.map(|field| field.name.to_owned()).collect()
    });
    let cases = named(CHANGES.iter().map(|(kind, field, ..)| (*kind, *field)).chain(NEVER.iter().copied()));
    assert_eq!(changed, cases);
    let seen = cells(|kind| {
        let fields = rules(kind).fields.iter().filter(|field| field.drift == Drift::Seen);
        let links =
            rules(kind).links.iter().filter(|link| link.drift == Drift::Seen && link.change != LinkChange::Keep);
        fields.map(|field| field.name.to_owned()).chain(links.map(|link| link.to.as_str().to_owned())).collect()
    });
    let cases = named(DRIFTS.iter().map(|(kind, field, _)| (*kind, *field)).chain(ONLY_UPWARDS.iter().copied()));
    assert_eq!(seen, cases);
}

/// What is changed in place comes out as what is made from the changed file.
#[tokio::test(flavor = "multi_thread")]
async fn yandex_fields_are_changed_in_place() {
    let mut text = FILE.to_owned();
    for (kind, field, from, to) in CHANGES {
        assert!(text.contains(from) || text.contains(to), "{kind} {field}: {from}");
        text = text.replace(from, to);
    }
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (changed, new) = (Cloud::start().await, Cloud::start().await);
    apply(one.path(), &changed, FILE).await;
    let before = changed.ids();
    apply(one.path(), &changed, &text).await;
    apply(other.path(), &new, &text).await;
    same(&changed, &new);
    assert_eq!(apply(one.path(), &changed, &text).await, Tally::default());
    // What was there before is what it was, but for the machines of the group, and for groups of other ports.
    let (now, others) = (changed.ids(), ["dev-app-1", "ports-", "checks-"]);
    for (name, id) in before.iter().filter(|(name, _)| !others.iter().any(|other| name.contains(other))) {
        assert_eq!(now.get(name), Some(id), "{name} is another one");
    }
    destroy(one.path(), &changed, &text).await;
    assert_eq!(changed.names(), Vec::<String>::new());
}

fn same(one: &Cloud, other: &Cloud) {
    let (one, other) = (one.view(), other.view());
    assert_eq!(one.keys().collect::<Vec<_>>(), other.keys().collect::<Vec<_>>());
    for (name, value) in &one {
        assert_eq!(*value, other[name], "{name}");
    }
}

/// What someone changes beside infra is seen by the next plan and put right by the apply.
#[tokio::test(flavor = "multi_thread")]
async fn yandex_fields_that_drift_are_put_right() {
    let (folder, cloud) = (tempfile::tempdir().unwrap(), Cloud::start().await);
    apply(folder.path(), &cloud, FILE).await;
    let before = cloud.view();
    let metadata = || cloud.object_in("/compute/v1/instanceGroups", "dev-app")["instanceTemplate"]["metadata"].clone();
    let keys = metadata();
    for (kind, field, edit) in DRIFTS {
        edit(&cloud);
        assert!(cloud.view() != before || metadata() != keys, "{kind} {field}: nothing was edited");
        let tally = apply(folder.path(), &cloud, FILE).await;
        // The names of a machine that is started again are looked at, too.
        assert!(tally.changed >= 1 && (tally.created, tally.destroyed) == (0, 0), "{kind} {field}: {tally:?}");
        let after = cloud.view();
        for (name, value) in &before {
            assert_eq!(after.get(name), Some(value), "{kind} {field}: {name}");
        }
        assert_eq!(metadata(), keys, "{kind} {field}");
        assert_eq!(apply(folder.path(), &cloud, FILE).await, Tally::default(), "{kind} {field}: again");
    }
}

/// What the simulator shows of an object although nothing asked for it, as the service does: a collection, a name, a path.
const FILLED_IN: &[(&str, &str, &str)] = &[
    ("/vpc/v1/securityGroups", "dev-ports-80", "/rules/0/protocolNumber"),
    ("/vpc/v1/subnets", "dev-a", "/dhcpOptions/domainName"),
    ("/vpc/v1/routeTables", "dev-egress", "/staticRoutes/0/labels"),
    ("/vpc/v1/addresses", "dev-fixed", "/ipVersion"),
    ("/compute/v1/disks", "dev-db-data", "/blockSize"),
    ("/compute/v1/instances", "dev-web", "/schedulingPolicy"),
    ("/compute/v1/instances", "dev-web", "/metadataOptions/gceHttpEndpoint"),
    ("/compute/v1/instances", "dev-web", "/networkInterfaces/0/macAddress"),
    ("/compute/v1/instanceGroups", "dev-app", "/deployPolicy/startupDuration"),
    ("/compute/v1/instanceGroups", "dev-app", "/deployPolicy/strategy"),
    ("/compute/v1/instanceGroups", "dev-app", "/instanceTemplate/networkSettings/type"),
    ("/compute/v1/instanceGroups", "dev-app", "/instanceTemplate/labels/managed-by"),
    ("/load-balancer/v1/networkLoadBalancers", "dev-front", "/listeners/0/ipVersion"),
    ("/load-balancer/v1/networkLoadBalancers", "dev-front", "/sessionAffinity"),
    ("/managed-postgresql/v1/clusters", "dev-main", "/maintenanceWindow/anytime"),
    ("/managed-postgresql/v1/clusters", "dev-main", "/config/poolerConfig/poolingMode"),
    ("/managed-postgresql/v1/clusters", "dev-main", "/config/postgresqlConfig_15/userConfig/maxConnections"),
    ("/managed-postgresql/v1/clusters", "dev-main", "/config/postgresqlConfig_15/effectiveConfig/sharedBuffers"),
    ("/managed-postgresql/v1/clusters", "dev-main", "/config/postgresqlConfig_15/defaultConfig/workMem"),
];

/// What the service fills in by itself is no difference, and no call takes it away.
#[tokio::test(flavor = "multi_thread")]
async fn yandex_fields_that_the_service_fills_in_are_no_drift() {
    let (folder, cloud) = (tempfile::tempdir().unwrap(), Cloud::start().await);
    apply(folder.path(), &cloud, FILE).await;
    for (collection, name, path) in FILLED_IN {
        let (asked, shown) = (cloud.object_in(collection, name), cloud.shown_in(collection, name));
        assert!(asked.pointer(path).is_none() && shown.pointer(path).is_some(), "{name} {path}: {asked} {shown}");
    }
    // Users, databases and hosts of a cluster have such fields too: limits and settings, sort orders, priorities.
    assert_eq!(apply(folder.path(), &cloud, FILE).await, Tally::default());
    // Without a check and without backups that the file asks for, the service has its own.
    let plain = FILE
        .replace("    backup: {schedule: '30 3 * * *', keep: 14d}\n", "")
        .replace("    health_check: {port: 8080, path: /ping}\n", "")
        .replace("    deploy_policy: {max_unavailable: 1, max_expansion: 0}\n", "");
    apply(folder.path(), &cloud, &plain).await;
    assert_eq!(apply(folder.path(), &cloud, &plain).await, Tally::default());
    // A server setting that the file never named is not ours; one that it named and names no more is cleared.
    cloud.edit("dev-main", |one| config(one)["postgresqlConfig_15"]["randomPageCost"] = json!(1.5));
    assert_eq!(apply(folder.path(), &cloud, &plain).await, Tally::default());
    let less = plain.replace("settings: {work_mem: 64MB, jit: 'off'}", "settings: {work_mem: 64MB}");
    cloud.forget_calls();
    assert_eq!(apply(folder.path(), &cloud, &less).await.changed, 1);
    let calls = cloud.calls();
    let masks: Vec<&Value> =
        calls.iter().filter(|call| call.method == "PATCH").map(|call| &call.body["updateMask"]).collect();
    assert_eq!(masks, ["configSpec.postgresqlConfig_15.jit"]);
    let settings = cloud.object("dev-main")["config"]["postgresqlConfig_15"].clone();
    assert_eq!(settings, json!({ "workMem": (64_i64 << 20).to_string(), "randomPageCost": 1.5 }));
    // Nor is anything cleared once the state is lost.
    std::fs::remove_dir_all(folder.path().join(".infra")).unwrap();
    cloud.forget_calls();
    apply(folder.path(), &cloud, &less).await;
    assert!(!cloud.calls().iter().any(|call| call.body.to_string().contains("postgresqlConfig")));
}

/// Disks that someone made larger stay as they are, and are no reason to fail.
#[tokio::test(flavor = "multi_thread")]
async fn yandex_fields_that_have_grown_stay() {
    let (folder, cloud) = (tempfile::tempdir().unwrap(), Cloud::start().await);
    apply(folder.path(), &cloud, FILE).await;
    let size = |gb: i64| Value::from((gb << 30).to_string());
    cloud.edit("dev-db-data", |disk| disk["size"] = size(25));
    cloud.edit("dev-main", |cluster| config(cluster)["resources"]["diskSize"] = size(50));
    assert_eq!(apply(folder.path(), &cloud, FILE).await, Tally::default());
    // What else is to be done is done.
    let text =
        FILE.replace("secondary_disk_size: 5", "secondary_disk_size: 25").replace("work_mem: 64MB", "work_mem: 32MB");
    assert_eq!(apply(folder.path(), &cloud, &text).await.changed, 1);
    assert_eq!(cloud.object("dev-main")["config"]["resources"]["diskSize"], size(50));
    // Less than there is, is a mistake of the file.
    let (environment, provider) =
        load(folder.path(), &cloud, &text.replace("secondary_disk_size: 25", "secondary_disk_size: 7"));
    let error = command(folder.path(), &environment, &provider, false).await.unwrap_err().to_string();
    assert!(
        error.contains("`disk.db-data`: `size_gb` cannot be made smaller: it is 25, and 7 is asked for at"),
        "{error}"
    );
}
