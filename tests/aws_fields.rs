//! Each cell of the tables of AWS, tried: a change of the file that is made in place, and a change made outside of infra that is
//! seen and put right.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use infra::{
    cloud::aws::{
        ec2::{
            Address, Instance, InternetGateway, LaunchTemplate, Permission, RouteTable, SecurityGroup,
            SecurityGroupRule, Subnet, Volume, Vpc,
        },
        route53::{Record, RecordSet},
    },
    plan::{Action, Change},
    provider::{self, Provider as _},
    resource::{Drift, FieldChange, KindName},
};
use serde_json::{Value, json};

use crate::{
    aws::{apply, destroy, load, machine},
    contract::everything,
    support::{
        commands::{self, owner},
        moto::Moto,
    },
};

/// Seen fields and links, each with what a plan changes when they differ.
const DRIFTS: &[(&str, &str, &str)] = &[
    ("disk", "disk_type", "disk.db-data"),
    ("dns_zone", "records", "dns_zone.home"),
    ("instance_group", "count", "instance_group.app"),
    ("instance_group", "health_check", "instance_group.app"),
    ("instance_group", "machine", "instance_group.app"),
    ("instance_group", "machine: another account", "instance_group.app"),
    ("instance_group", "subnet", "instance_group.app"),
    ("load_balancer", "ports", "load_balancer.front"),
    ("load_balancer", "ports: one more", "load_balancer.front"),
    ("load_balancer", "vm", "load_balancer.front"),
    ("load_balancer", "vm: one more", "load_balancer.front"),
    ("network", "cidrs", "network.main"),
    ("network", "cidrs: a description", "network.main"),
    ("network", "ssh_from", "network.main"),
    ("network", "ssh_from: a description", "network.main"),
    ("postgres", "backup", "postgres.main"),
    ("postgres", "class", "postgres.main"),
    ("postgres", "disk_type", "postgres.main"),
    ("postgres", "network", "postgres.main"),
    ("postgres", "public", "postgres.main"),
    ("postgres", "security_group", "postgres.main"),
    ("postgres", "settings", "postgres.main"),
    ("postgres", "subnet", "postgres.main"),
    ("role_binding", "roles", "role_binding.robots"),
    ("role_binding", "roles: one less", "role_binding.robots"),
    ("role_binding", "roles: an inline policy", "role_binding.robots"),
    ("route_table", "gateway", "route_table.egress"),
    ("security_group", "ports", "security_group.ports-80-443"),
    ("security_group", "ports: a description", "security_group.ports-80-443"),
    ("security_group", "ports: a description of what goes out", "security_group.ports-80-443"),
    ("security_group", "ports: a closed port", "security_group.ports-80-443"),
    ("security_group", "ports: another group", "security_group.ports-80-443"),
    ("security_group", "ports: another protocol", "security_group.ports-80-443"),
    ("security_group", "ports: version 6", "security_group.ports-80-443"),
    ("subnet", "route_table", "subnet.a"),
    ("vm", "class", "vm.nginx-front"),
    ("vm", "disk", "vm.db"),
    ("vm", "disk_type", "vm.nginx-front-2"),
    ("vm", "network", "vm.nginx-front-2"),
    ("vm", "reserved_address", "vm.bastion"),
    ("vm", "security_groups", "vm.web"),
];

/// Fields that are changed in place, each with an edit of the file: several may share one.
const CHANGES: &[(&[&str], &str, &str)] = &[
    (
        &["disk.size_gb", "disk.disk_type", "vm.cores", "vm.memory_mb", "vm.class", "vm.disk_gb", "vm.disk_type"],
        "db: {resources: {memory: 4, secondary_disk_size: 5}}",
        "db: {resources: {cores: 4, core_fraction: 50, memory: 8, disk_size: 12, disk_type: gp2, secondary_disk_size: 8}}",
    ),
    (&["vm.ports", "vm.security_groups"], "ports: [80, 443]}", "ports: [80, 8080]}"),
    (&["vm.reserved_address"], "nat: true, address: fixed", "nat: true"),
    (&["network.ssh_from"], "network: {subnets", "network: {ssh_from: [192.0.2.0/24], subnets"),
    (&["instance_group.service_account"], "service_account: robots", "service_account: others"),
    (&["role_binding.roles"], "roles: [viewer, AmazonS3FullAccess]", "roles: [editor]"),
    (
        &[
            "instance_group.machine",
            "instance_group.zones",
            "instance_group.max_unavailable",
            "instance_group.max_expansion",
            "instance_group.health_check",
        ],
        "app: {node_count: 3, health_check: {port: 81}, service_account: others, resources: {memory: 2}}",
        "app: {node_count: 3, service_account: others, resources: {memory: 4}, allocation_policy: [eu-central-1a], \
         deploy_policy: {max_unavailable: 2, max_expansion: 1}, health_check: {port: 80}}",
    ),
    (&["load_balancer.members", "load_balancer.ports"], "nodes: 2, ", "nodes: 3, listen: {https: 8443}, "),
    (
        &[
            "postgres.version",
            "postgres.cores",
            "postgres.memory_mb",
            "postgres.class",
            "postgres.disk_gb",
            "postgres.disk_type",
        ],
        "main: {version: 15, users: {app: }, databases: {app: {owner: app}}, resources: {disk_size: 20}",
        "main: {version: 16, users: {app: }, databases: {app: {owner: app}}, \
         resources: {cores: 4, memory: 16, disk_size: 30, disk_type: gp2}",
    ),
    (
        &["postgres.settings", "postgres.backup"],
        "settings: {work_mem: 64MB}, backup: {schedule: '30 3 * * *', keep: 14d}",
        "settings: {random_page_cost: 1.1}, backup: {schedule: '45 4 * * *', keep: 7d}",
    ),
    (&["dns_zone.records"], "{name: db, to: db}", "{name: store, to: db, ttl: 60}"),
];

/// Fields that are tried by themselves, or that a file cannot change alone.
const NEVER_ALONE: &[&str] = &[
    // `aws_a_network_grows_by_what_the_file_names`
    "network.cidrs",
    // `scaled`
    "instance_group.count",
    // There is one gateway.
    "route_table.gateway",
    // The ports are in the name: others are another group.
    "security_group.ports",
    // It goes with the subnet, which is refused.
    "postgres.public",
];

/// What a cloud has, without what differs between two clouds that were made from one file: ids, addresses and times.
async fn view(project: &Path, moto: &Moto, text: &str) -> BTreeMap<String, Value> {
    let client = moto.client();
    let (environment, provider) = load(project, moto, text);
    let (mut all, mut roles) = (BTreeMap::new(), BTreeMap::new());
    for object in provider.list(&owner(&environment)).await.unwrap() {
        if object.address.kind == KindName::SERVICE_ACCOUNT {
            roles.insert(object.id.clone(), object.address.to_string());
        }
        let links = object.links.as_ref().map(BTreeSet::len);
        let actual = (object.address.kind != KindName::POSTGRES).then_some(&object.actual);
        all.insert(object.address.to_string(), json!({ "health": object.health, "links": links, "actual": actual }));
    }
    let volumes = client.list::<Volume>(&[]).await.unwrap();
    let shape = |id: &str| {
        volumes.iter().find(|volume| volume.volume_id == id).map(|volume| json!([volume.size, volume.volume_type]))
    };
    let groups = client.list::<SecurityGroup>(&[]).await.unwrap();
    let opened = |id: &str| {
        let group = groups.iter().find(|group| group.group_id == id).unwrap();
        let rule = |rule: &Permission| {
            let from = rule.ip_ranges.iter().map(|range| range.cidr_ip.clone());
            format!("{} {}-{} {:?}", rule.ip_protocol, rule.from_port, rule.to_port, from.collect::<BTreeSet<String>>())
        };
        group.ip_permissions.iter().map(rule).collect::<BTreeSet<String>>()
    };
    for instance in client.instances(&[("instance-state-name", "running")]).await.unwrap() {
        let tag = |name: &str| instance.tag_set.iter().find(|tag| tag.key == name).map(|tag| tag.value.clone());
        // The machines of groups are those of the first version of their template: moto makes no others.
        let Some(address) = tag("infra-id") else { continue };
        let mapped = instance.block_device_mapping.iter().map(|mapping| format!("{:?}", shape(&mapping.ebs.volume_id)));
        let machine = json!({
            "class": instance.instance_type, "volumes": mapped.collect::<BTreeSet<String>>(), "image": instance.image_id,
            "public": !instance.ip_address.is_empty(),
            "opened": instance.groups().into_iter().flat_map(opened).collect::<BTreeSet<String>>(),
        });
        all.insert(format!("{address} as a machine"), machine);
    }
    for group in client.auto_scaling_groups(None).await.unwrap() {
        let template = &group.launch_template;
        let data = client.template_version(&template.launch_template_id, &template.version).await.unwrap();
        let data = data.launch_template_data;
        let account = roles.get(&data.iam_instance_profile.name);
        let class = json!([data.instance_type, group.min_size, group.max_size, group.desired_capacity, account]);
        all.insert("group".into(), class);
    }
    for server in client.db_instances().await.unwrap() {
        let mut settings = BTreeMap::new();
        for group in &server.parameter_groups {
            let parameters = client.db_parameters(&group.name).await.unwrap().into_iter();
            settings.extend(parameters.map(|one| (one.parameter_name, one.parameter_value)));
        }
        let version = server.engine_version.split('.').next().map(str::to_owned);
        let backup = json!([server.preferred_backup_window, server.backup_retention_period]);
        let machine = json!([server.class, server.allocated_storage, server.storage_type, server.publicly_accessible]);
        all.insert("database".into(), json!([machine, version, backup, settings]));
    }
    for zone in client.hosted_zones().await.unwrap() {
        let records = client.record_sets(zone.short_id()).await.unwrap();
        let named = records.iter().filter(|records| records.r#type != "SOA" && records.r#type != "NS");
        let named: BTreeSet<String> = named.map(|one| format!("{} {} {}", one.name, one.r#type, one.ttl)).collect();
        all.insert(zone.name, json!(named));
    }
    all
}

/// The changes of a plan, without what stays.
async fn changes(project: &Path, moto: &Moto, text: &str) -> Vec<Change> {
    let (environment, provider) = load(project, moto, text);
    let mut changes = commands::changes(project, &environment, &provider, false).await.unwrap();
    changes.retain(|change| change.action != Action::Keep);
    for change in &changes {
        println!("{} {}: {} {:?}", change.action.sign(), change.address, change.reason, change.fields());
    }
    changes
}

/// One machine more in a group.
async fn scaled(project: &Path, moto: &Moto, file: &str) -> String {
    let scaled = file.replace("app: {node_count: 2", "app: {node_count: 3");
    let plan = changes(project, moto, &scaled).await;
    assert!(plan.iter().all(|change| change.address.to_string() == "instance_group.app"));
    assert!(plan[0].fields().iter().any(|(name, ..)| name == "count") && plan[0].action == Action::Update);
    apply(project, moto, &scaled).await;
    assert!(changes(project, moto, &scaled).await.is_empty());
    assert_eq!(moto.client().auto_scaling_groups(None).await.unwrap()[0].instances.len(), 3);
    scaled
}

/// The whole file, with what the tables need.
fn file() -> String {
    everything()
        .replace("main: {users", "main: {version: 15, users")
        .replace("AmazonS3FullAccess]}}", "AmazonS3FullAccess]}, others: {roles: [viewer]}}")
        .replace(
            "settings: {work_mem: 64MB}",
            "settings: {work_mem: 64MB}, backup: {schedule: '30 3 * * *', keep: 14d}",
        )
        .replace("[{name: '@', to: front}]", "[{name: '@', to: front}, {name: web, to: web}]")
}

#[test]
fn aws_fields_each_cell_has_its_case() {
    let (mut seen, mut changed) = (BTreeSet::new(), BTreeSet::new());
    for kind in KindName::all() {
        let rules = provider::rules("aws".parse().unwrap())(kind);
        for field in rules.fields {
            let cell = format!("{}.{}", kind.as_str(), field.name);
            if matches!(field.change, FieldChange::InPlace | FieldChange::Restart) {
                changed.insert(cell.clone());
            }
            if field.drift == Drift::Seen {
                seen.insert(cell);
            }
        }
        let links = rules.links.iter().filter(|link| link.drift == Drift::Seen);
        seen.extend(links.map(|link| format!("{}.{}", kind.as_str(), link.to.as_str())));
    }
    // A cell may have several cases.
    let cell = |cell: &&str| cell.split(':').next().unwrap().to_owned();
    let drifts: BTreeSet<String> = DRIFTS.iter().map(|(kind, case, _)| format!("{kind}.{}", cell(case))).collect();
    assert_eq!(drifts, seen);
    let cases = CHANGES.iter().flat_map(|(cells, ..)| cells.iter()).chain(NEVER_ALONE);
    assert_eq!(cases.map(|cell| (*cell).to_owned()).collect::<BTreeSet<String>>(), changed);
}

#[tokio::test(flavor = "multi_thread")]
async fn aws_fields_are_changed_in_place() {
    let (folder, moto) = (tempfile::tempdir().unwrap(), Moto::start().await);
    let project = folder.path();
    let first = file();
    apply(project, &moto, &first).await;
    // moto makes no machines of the second version of a template: the group is scaled first.
    let first = scaled(project, &moto, &first).await;
    let mut second = first.clone();
    for (_, from, to) in CHANGES {
        assert!(second.contains(from), "{from}");
        second = second.replace(from, to);
    }
    let plan = changes(project, &moto, &second).await;
    for cell in CHANGES.iter().flat_map(|(cells, ..)| cells.iter()) {
        let (kind, field) = cell.split_once('.').unwrap();
        let updates =
            plan.iter().filter(|change| change.address.kind.as_str() == kind && change.action == Action::Update);
        let mut fields = updates.flat_map(Change::fields);
        assert!(fields.any(|(name, ..)| name == field), "{cell} is not changed in place");
    }
    assert!(!plan.iter().any(|change| change.action == Action::Replace), "nothing is replaced");
    apply(project, &moto, &second).await;
    // What is seen is as the file says now, in the cloud too: as in one that was made from this file.
    assert!(changes(project, &moto, &second).await.is_empty());
    let (other_folder, other) = (tempfile::tempdir().unwrap(), Moto::start().await);
    apply(other_folder.path(), &other, &second).await;
    let (changed, new) = (view(project, &moto, &second).await, view(other_folder.path(), &other, &second).await);
    assert_eq!(changed.keys().collect::<Vec<_>>(), new.keys().collect::<Vec<_>>());
    for (name, new) in &new {
        assert_eq!(&changed[name], new, "{name} is another one than when it is created so");
    }
    let server = moto.client().db_instances().await.unwrap().remove(0);
    assert!(server.engine_version.starts_with("16") && server.allocated_storage == "30", "{server:?}");
    let groups = moto.client().db_parameter_groups().await.unwrap();
    let own = groups.iter().find(|group| group.name.starts_with("infra-")).unwrap();
    let names: Vec<String> =
        moto.client().db_parameters(&own.name).await.unwrap().into_iter().map(|one| one.parameter_name).collect();
    assert_eq!(names, ["random_page_cost", "rds.force_ssl"], "a setting that the file has no more is not set");
    destroy(project, &moto).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn aws_fields_changed_outside_are_seen_and_put_right() {
    let (folder, moto) = (tempfile::tempdir().unwrap(), Moto::start().await);
    let project = folder.path();
    let file = file();
    apply(project, &moto, &file).await;
    assert!(changes(project, &moto, &file).await.is_empty());
    for (kind, cell, address) in DRIFTS {
        stray(&moto, kind, cell).await;
        let plan = changes(project, &moto, &file).await;
        let is_there = |change: &Change| change.address.to_string() == *address && change.action == Action::Update;
        assert!(plan.iter().any(is_there), "{kind}.{cell} is not seen");
        assert!(plan.iter().all(|change| change.action == Action::Update), "{kind}.{cell}: more than an update");
        if ONE_BY_ONE.contains(cell) || cell.contains(':') {
            apply(project, &moto, &file).await;
            assert!(changes(project, &moto, &file).await.is_empty(), "{kind}.{cell} is not put right");
        }
    }
    apply(project, &moto, &file).await;
    assert!(changes(project, &moto, &file).await.is_empty());
    destroy(project, &moto).await;
}

/// What is put right before the next thing strays: both are about the same object.
const ONE_BY_ONE: &[&str] = &[
    "health_check",
    "machine",
    "cidrs",
    "ssh_from",
    "network",
    "roles",
    "ports",
    "security_group",
    "subnet",
    "class",
    "vm",
];

/// Everything is changed outside of infra.
pub(crate) async fn stray_all(moto: &Moto) {
    for (kind, cell, _) in DRIFTS {
        stray(moto, kind, cell).await;
    }
}

const WORLD: &str = "0.0.0.0/0";

/// Says something of a rule.
async fn describe(moto: &Moto, group: &str, way: &str, protocol: &str, ports: &[&str], range: &str) {
    let part = |field: &str| format!("&IpPermissions.1.{field}");
    let fields: String = [protocol].iter().chain(ports).map(|field| part(field)).collect();
    let range = format!("{}{}", part(&format!("IpRanges.1.CidrIp={range}")), part("IpRanges.1.Description=ours"));
    let action = format!("Action=UpdateSecurityGroupRuleDescriptions{way}&GroupId={group}");
    moto.ask("ec2", &format!("{action}{fields}{range}")).await;
}

#[expect(clippy::too_many_lines, reason = "one case a cell")]
async fn stray(moto: &Moto, kind: &str, cell: &str) {
    let client = moto.client();
    let group_of =
        async |filter: (&str, &str)| client.list::<SecurityGroup>(&[filter]).await.unwrap().remove(0).group_id;
    let subnet_of =
        async |name: &str| client.list::<Subnet>(&[("tag:infra-id", name)]).await.unwrap().remove(0).subnet_id;
    let open = json!({ "IpProtocol": "tcp", "FromPort": 1, "ToPort": 9, "IpRanges": [{ "CidrIp": "0.0.0.0/0" }] });
    let authorize = async |group: String| {
        client.authorize_ingress().group_id(&group).ip_permissions(vec![open.clone()]).send().await.unwrap();
    };
    let root = |instance: &Instance| instance.root_volume().unwrap().to_owned();
    match (kind, cell) {
        ("disk", "disk_type") => {
            let disk = client.list::<Volume>(&[("tag:infra-id", "disk.db-data")]).await.unwrap().remove(0);
            client.modify_volume().volume_id(&disk.volume_id).size(5).volume_type("gp2").send().await.unwrap();
        }
        ("dns_zone", "records") => {
            let zones = client.hosted_zones().await.unwrap();
            let zone = zones.iter().find(|zone| zone.name == "home.internal.").unwrap();
            let record = RecordSet {
                name: "more.home.internal.".into(),
                r#type: "A".into(),
                ttl: "60".into(),
                resource_records: vec![Record { value: "192.0.2.1".into() }],
                ..RecordSet::default()
            };
            client.change_record_sets(zone.short_id(), &[], &[record]).await.unwrap();
        }
        ("instance_group", cell) => {
            let group = client.auto_scaling_groups(None).await.unwrap().remove(0);
            let fields = match cell {
                "count" => "MinSize=1&MaxSize=4".to_owned(),
                "subnet" => format!("VPCZoneIdentifier={}", subnet_of("subnet.a-public").await),
                "health_check" => {
                    let target_group = client.target_groups_of(&[&group.target_groups[0]]).await.unwrap().remove(0);
                    let other = json!({ "UnhealthyThresholdCount": 9 });
                    return client.modify_health_check(&target_group.target_group_arn, other).await.unwrap();
                }
                _ => {
                    let template = client.list::<LaunchTemplate>(&[]).await.unwrap().remove(0).launch_template_id;
                    let others = client.roles("/infra/dev/").await.unwrap();
                    let data = &client.template_version(&template, "1").await.unwrap().launch_template_data;
                    let other = others.iter().find(|role| role.role_name != data.iam_instance_profile.name);
                    let other = match (cell, other) {
                        ("machine: another account", Some(other)) => {
                            format!("IamInstanceProfile.Name={}", other.role_name)
                        }
                        _ => "InstanceType=t3.nano".to_owned(),
                    };
                    let made = "Action=CreateLaunchTemplateVersion&SourceVersion=1&LaunchTemplateData";
                    let answer = moto.ask("ec2", &format!("{made}.{other}&LaunchTemplateId={template}")).await;
                    let (_, rest) = answer.split_once("<versionNumber>").unwrap();
                    let (version, _) = rest.split_once('<').unwrap();
                    format!("LaunchTemplate.LaunchTemplateId={template}&LaunchTemplate.Version={version}")
                }
            };
            let query = format!("Action=UpdateAutoScalingGroup&AutoScalingGroupName={}&{fields}", group.name);
            moto.ask("autoscaling", &query).await;
        }
        ("load_balancer", cell) => {
            let (mut balancers, mut groups) =
                (client.load_balancers().await.unwrap(), client.target_groups().await.unwrap());
            // The others ask the machines of groups whether they answer.
            balancers.retain(|one| !one.load_balancer_name.ends_with("-check"));
            groups.retain(|one| !one.target_group_name.ends_with("-check"));
            let (balancer, group) = (balancers.remove(0).load_balancer_arn, groups.remove(0).target_group_arn);
            match cell {
                "ports" => {
                    let listeners = client.listeners(&balancer).await.unwrap();
                    client.delete_listener(&listeners[0].listener_arn).await.unwrap();
                    // The other one leads elsewhere, and is asked otherwise.
                    let other = listeners[0].default_actions[0].target_group_arn.clone();
                    client.modify_listener(&listeners[1].listener_arn, &other).await.unwrap();
                    let fields =
                        format!("Action=ModifyTargetGroup&TargetGroupArn={other}&HealthCheckIntervalSeconds=30");
                    moto.ask("elasticloadbalancing", &fields).await;
                }
                "ports: one more" => client.create_listener(&balancer, 2222, &group).await.unwrap(),
                "vm: one more" => {
                    let other = machine(moto, "dev-db").await.instance_id;
                    client.register_targets(&group, &[&other]).await.unwrap();
                }
                _ => {
                    let targets = client.targets(&group).await.unwrap();
                    client.deregister_targets(&group, &[targets[0].as_str()]).await.unwrap();
                }
            }
        }
        ("network", "cidrs: a description") => {
            let group = group_of(("tag:infra-part", "network-group")).await;
            describe(moto, &group, "Ingress", "IpProtocol=-1", &[], "10.1.0.0/24").await;
        }
        ("network", "ssh_from: a description") => {
            let ports = ["FromPort=22", "ToPort=22"];
            describe(moto, &group_of(("tag:infra-part", "ssh")).await, "Ingress", "IpProtocol=tcp", &ports, WORLD)
                .await;
        }
        ("security_group", "ports: a description") => {
            let group = group_of(("tag:infra-id", "security_group.ports-80-443")).await;
            describe(moto, &group, "Ingress", "IpProtocol=tcp", &["FromPort=80", "ToPort=80"], WORLD).await;
        }
        ("security_group", "ports: a description of what goes out") => {
            let group = group_of(("tag:infra-id", "security_group.ports-80-443")).await;
            describe(moto, &group, "Egress", "IpProtocol=-1", &[], WORLD).await;
        }
        ("security_group", "ports: a closed port") => {
            let group = group_of(("tag:infra-id", "security_group.ports-80-443")).await;
            let rules = client.list::<SecurityGroupRule>(&[("group-id", &group)]).await.unwrap();
            let rule = rules.into_iter().find(|rule| rule.from_port == "80").unwrap().security_group_rule_id;
            client.revoke_ingress().group_id(&group).security_group_rule_id(vec![rule]).send().await.unwrap();
        }
        ("security_group", cell) if cell.contains(": ") => {
            let group = group_of(("tag:infra-id", "security_group.ports-80-443")).await;
            let rule = match cell {
                "ports: another group" => {
                    let other = group_of(("tag:infra-part", "network-group")).await;
                    json!({ "IpProtocol": "tcp", "FromPort": 80, "ToPort": 80, "Groups": [{ "GroupId": other }] })
                }
                "ports: another protocol" => {
                    json!({ "IpProtocol": "udp", "FromPort": 80, "ToPort": 80, "IpRanges": [{ "CidrIp": WORLD }] })
                }
                _ => {
                    json!({ "IpProtocol": "tcp", "FromPort": 80, "ToPort": 80, "Ipv6Ranges": [{ "CidrIpv6": "::/0" }] })
                }
            };
            client.authorize_ingress().group_id(&group).ip_permissions(vec![rule]).send().await.unwrap();
        }
        ("network", "cidrs") => authorize(group_of(("tag:infra-part", "network-group")).await).await,
        ("network", _) => authorize(group_of(("tag:infra-part", "ssh")).await).await,
        ("postgres", cell) => {
            let server = client.db_instances().await.unwrap().remove(0);
            let name = server.identifier.as_str();
            let fields = match cell {
                "backup" => json!({ "BackupRetentionPeriod": 1 }),
                "class" => json!({ "DBInstanceClass": "db.t3.micro" }),
                "disk_type" => json!({ "StorageType": "gp2" }),
                "public" => json!({ "PubliclyAccessible": true }),
                "network" => {
                    let other = group_of(("tag:infra-id", "security_group.ports-80-443")).await;
                    json!({ "VpcSecurityGroupIds": { "VpcSecurityGroupId": [other] } })
                }
                "security_group" => {
                    let own = server.vpc_security_groups[0].vpc_security_group_id.clone();
                    let other = group_of(("tag:infra-id", "security_group.ports-80-443")).await;
                    json!({ "VpcSecurityGroupIds": { "VpcSecurityGroupId": [own, other] } })
                }
                "settings" => {
                    let set = [("random_page_cost".to_owned(), "2".to_owned())];
                    client.modify_db_parameter_group(&server.parameter_groups[0].name, &set).await.unwrap();
                    return;
                }
                _ => {
                    let subnets = [subnet_of("subnet.a").await, subnet_of("subnet.a-public").await];
                    let subnets: Vec<&str> = subnets.iter().map(String::as_str).collect();
                    moto.change_subnet_group(name, &subnets).await;
                    return;
                }
            };
            let mut all = json!({ "DBInstanceIdentifier": name, "ApplyImmediately": true });
            all.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
            client.modify_db_instance(all).await.unwrap();
        }
        ("role_binding", cell) => {
            let mut role = String::new();
            for one in client.roles("/infra/dev/").await.unwrap() {
                let tags = client.role_tags(&one.role_name).await.unwrap();
                if tags.iter().any(|tag| tag.key == "infra-id" && tag.value == "service_account.robots") {
                    role = one.role_name;
                }
            }
            match cell {
                "roles: one less" => {
                    let policies = client.role_policies(&role).await.unwrap();
                    client.detach_role_policy(&role, &policies[0].policy_arn).await.unwrap();
                }
                "roles: an inline policy" => {
                    let all = "%7B%22Version%22%3A%222012-10-17%22%2C%22Statement%22%3A%5B%7B%22Effect%22%3A%22Allow%22%2C%22Action%22%3A%22%2A%22%2C%22Resource%22%3A%22%2A%22%7D%5D%7D";
                    let named = format!("Action=PutRolePolicy&RoleName={role}&PolicyName=more");
                    moto.ask("iam", &format!("{named}&PolicyDocument={all}")).await;
                }
                _ => client
                    .attach_role_policy(&role, "arn:aws:iam::aws:policy/AdministratorAccess")
                    .await
                    .map(drop)
                    .unwrap(),
            }
        }
        ("route_table", _) => {
            let table = client.list::<RouteTable>(&[("tag:infra-id", "route_table.egress")]).await.unwrap().remove(0);
            let world = client.list::<InternetGateway>(&[("tag:infra-env", "dev")]).await.unwrap().remove(0);
            let call = client.replace_route().route_table_id(&table.route_table_id).destination_cidr_block("0.0.0.0/0");
            call.gateway_id(&world.internet_gateway_id).send().await.unwrap();
            for range in ["DestinationCidrBlock=192.0.2.0/24", "DestinationIpv6CidrBlock=2001:db8::/32"] {
                let (table, world) = (&table.route_table_id, &world.internet_gateway_id);
                moto.ask("ec2", &format!("Action=CreateRoute&RouteTableId={table}&GatewayId={world}&{range}")).await;
            }
        }
        ("security_group", _) => authorize(group_of(("tag:infra-id", "security_group.ports-80-443")).await).await,
        ("subnet", _) => {
            let table = client.list::<RouteTable>(&[("tag:infra-id", "route_table.egress")]).await.unwrap().remove(0);
            let subnet = subnet_of("subnet.a").await;
            let own = table.association_set.iter().find(|one| one.subnet_id == subnet).unwrap();
            let vpc = client.list::<Vpc>(&[("tag:infra-env", "dev")]).await.unwrap().remove(0).vpc_id;
            let main =
                client.list::<RouteTable>(&[("vpc-id", &vpc), ("association.main", "true")]).await.unwrap().remove(0);
            let call = client.replace_route_table_association().association_id(&own.route_table_association_id);
            call.route_table_id(&main.route_table_id).send().await.unwrap();
        }
        ("vm", "class") => {
            let id = machine(moto, "dev-nginx-front").await.instance_id;
            client.stop_instances().instance_id(vec![&id]).send().await.unwrap();
            let nano = json!({ "Value": "t3.nano" });
            client.modify_instance_attribute().instance_id(&id).instance_type(nano).send().await.unwrap();
            client.start_instances().instance_id(vec![&id]).send().await.unwrap();
        }
        ("vm", "disk") => {
            let disk = client.list::<Volume>(&[("tag:infra-id", "disk.db-data")]).await.unwrap().remove(0);
            let id = machine(moto, "dev-db").await.instance_id;
            moto.ask("ec2", &format!("Action=DetachVolume&InstanceId={id}&VolumeId={}", disk.volume_id)).await;
        }
        ("vm", "disk_type") => {
            let root = root(&machine(moto, "dev-nginx-front-2").await);
            client.modify_volume().volume_id(&root).size(10).volume_type("gp2").send().await.unwrap();
        }
        ("vm", "network") => {
            let id = machine(moto, "dev-nginx-front-2").await.instance_id;
            let only = group_of(("tag:infra-id", "security_group.ports-80-443")).await;
            moto.regroup(&id, &[&only]).await;
        }
        ("vm", "reserved_address") => {
            let fixed = client.list::<Address>(&[("tag:infra-id", "address.fixed")]).await.unwrap().remove(0);
            client.disassociate_address().association_id(&fixed.association_id).send().await.unwrap();
        }
        ("vm", "security_groups") => {
            let id = machine(moto, "dev-web").await.instance_id;
            let only = group_of(("tag:infra-part", "network-group")).await;
            moto.regroup(&id, &[&only]).await;
        }
        other => panic!("{other:?} has no case"),
    }
}
