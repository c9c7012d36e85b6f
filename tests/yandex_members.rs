//! What the machines of an instance group are made from: each field is changed, taken away again and put right when it drifts.

use std::collections::BTreeSet;

use infra::{apply::Tally, provider, resource::KindName};
use serde_json::{Value, json};

use crate::{
    support::yandex::Cloud,
    yandex::{apply, destroy_file as destroy},
};

/// A group that asks for as little as it can.
const FILE: &str = "
provider: yandex
yandex: {folder_id: b1gsimulated0folder00, endpoint: 'ENDPOINT', service_account_key_file: KEY}
network:
  subnets: {a: {v4_cidr_blocks: [10.1.0.0/24]}, c: {v4_cidr_blocks: [10.3.0.0/24]}}
service_accounts: {robots: {roles: [viewer]}, others: {roles: [viewer]}}
instance_groups:
  app:
    node_count: 1
    network: {subnet: a}
    resources: {memory: 2}
";

const RESOURCES: &str = "resources: {memory: 2}";
const COUNT: &str = "node_count: 1";
const SUBNET: &str = "network: {subnet: a}";
const OPEN: (&str, &str) = ("service_accounts:", "  firewall: {web: {groups: [app], ports: [80]}}\nservice_accounts:");

/// What a change shows in the template.
enum Shows {
    /// A value, with names for ids.
    Value(&'static str, fn() -> Value),
    /// A text in the user-data.
    Text(&'static str),
}

/// A field, what of the file is changed for it, and what that shows.
type Case = (&'static str, &'static [(&'static str, &'static str)], Shows);

/// For each field of a machine, and for the group's own account.
const CHANGES: &[Case] = &[
    (
        "image",
        &[(COUNT, "node_count: 1\n    image_family: ubuntu-2204-lts")],
        Shows::Value("/bootDiskSpec/diskSpec/imageId", || json!("fd8ubuntu-2204-lts")),
    ),
    ("cores", &[(RESOURCES, "resources: {memory: 4, cores: 4}")], Shows::Value("/resourcesSpec/cores", || json!("4"))),
    (
        "core_fraction",
        &[(RESOURCES, "resources: {memory: 2, core_fraction: 50}")],
        Shows::Value("/resourcesSpec/coreFraction", || json!("50")),
    ),
    (
        "memory_mb",
        &[(RESOURCES, "resources: {memory: 4}")],
        Shows::Value("/resourcesSpec/memory", || json!((4_u64 << 30).to_string())),
    ),
    (
        "disk_gb",
        &[(RESOURCES, "resources: {memory: 2, disk_size: 20}")],
        Shows::Value("/bootDiskSpec/diskSpec/size", || json!((20_u64 << 30).to_string())),
    ),
    (
        "disk_type",
        &[(RESOURCES, "resources: {memory: 2, disk_type: network-ssd}")],
        Shows::Value("/bootDiskSpec/diskSpec/typeId", || json!("network-ssd")),
    ),
    (
        "class",
        &[(RESOURCES, "resources: {memory: 2, class: standard-v2}")],
        Shows::Value("/platformId", || json!("standard-v2")),
    ),
    (
        "subnet",
        &[(SUBNET, "network: {subnet: c}")],
        Shows::Value("/networkInterfaceSpecs/0/subnetIds", || json!(["subnets dev-c"])),
    ),
    (
        "public",
        &[(SUBNET, "network: {subnet: a, nat: true}")],
        Shows::Value(
            "/networkInterfaceSpecs/0/primaryV4AddressSpec/oneToOneNatSpec",
            || json!({ "ipVersion": "IPV4" }),
        ),
    ),
    (
        "ports",
        &[(SUBNET, "network: {subnet: a, nat: true}"), OPEN],
        Shows::Value("/networkInterfaceSpecs/0/securityGroupIds/1", || json!("securityGroups dev-ports-80")),
    ),
    (
        "security_groups",
        &[(SUBNET, "network: {subnet: a, nat: true}"), OPEN],
        Shows::Value("/networkInterfaceSpecs/0/securityGroupIds/1", || json!("securityGroups dev-ports-80")),
    ),
    ("login", &[(COUNT, "node_count: 1\n    metadata: {ssh-keys: {username: roberta}}")], Shows::Text("roberta")),
    (
        "authorized_keys",
        &[(COUNT, "node_count: 1\n    metadata: {ssh-keys: {username: debian, file: key.pub}}")],
        Shows::Text("someone@somewhere"),
    ),
    (
        "user_data",
        &[(COUNT, "node_count: 1\n    metadata: {user-data: \"#!/bin/sh\\necho probed\\n\"}")],
        Shows::Text("echo probed"),
    ),
    (
        "compose",
        &[(COUNT, "node_count: 1\n    metadata: {docker-compose: {file: compose.yml}}")],
        Shows::Text("docker"),
    ),
    (
        "service_account",
        &[(COUNT, "node_count: 1\n    service_account: robots")],
        Shows::Value("/serviceAccountId", || json!("serviceAccounts dev-robots")),
    ),
];

/// Fields of single machines that the machines of a group do not have.
const NOT_IN_GROUPS: &[&str] = &["disks", "reserved_address", "zone"];

type Edit = fn(&mut Value);

/// What others do to a template.
const DRIFTS: &[(&str, Edit)] = &[
    ("image", |template| template["labels"]["infra-image"] = "ubuntu-2204-lts".into()),
    ("cores", |template| template["resourcesSpec"]["cores"] = "4".into()),
    ("core_fraction", |template| template["resourcesSpec"]["coreFraction"] = "20".into()),
    ("memory_mb", |template| template["resourcesSpec"]["memory"] = (1_u64 << 30).to_string().into()),
    ("disk_gb", |template| template["bootDiskSpec"]["diskSpec"]["size"] = (50_u64 << 30).to_string().into()),
    ("disk_type", |template| template["bootDiskSpec"]["diskSpec"]["typeId"] = "network-ssd".into()),
    ("class", |template| template["platformId"] = "standard-v2".into()),
    ("public", |template| {
        template["networkInterfaceSpecs"][0]["primaryV4AddressSpec"]["oneToOneNatSpec"] =
            json!({ "ipVersion": "IPV4" });
    }),
    ("user_data", |template| template["metadata"]["user-data"] = "#cloud-config\n".into()),
    ("another key of the metadata", |template| template["metadata"]["ssh-keys"] = "eve:ssh-ed25519 AAAA".into()),
    ("service_account", |template| template["serviceAccountId"] = "aje-of-another".into()),
];

fn template(cloud: &Cloud) -> Value {
    cloud.object_in("/compute/v1/instanceGroups", "dev-app")["instanceTemplate"].clone()
}

/// The template with names for ids, without labels and metadata.
fn readable(cloud: &Cloud) -> Value {
    cloud.view()["instanceGroups dev-app"]["instanceTemplate"].clone()
}

#[test]
fn yandex_members_have_a_case_for_each_field() {
    let cases: BTreeSet<&str> = CHANGES.iter().map(|(field, ..)| *field).chain(NOT_IN_GROUPS.iter().copied()).collect();
    let fields = provider::rules("yandex".parse().unwrap())(KindName::VM).fields.iter().map(|field| field.name);
    assert_eq!(cases, fields.chain(["service_account"]).collect());
}

#[tokio::test(flavor = "multi_thread")]
async fn yandex_members_are_changed_and_changed_back() {
    let (folder, cloud) = (tempfile::tempdir().unwrap(), Cloud::start().await);
    let project = folder.path();
    std::fs::create_dir_all(project.join("dev")).unwrap();
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f someone@somewhere\n";
    std::fs::write(project.join("dev/key.pub"), key).unwrap();
    std::fs::write(project.join("dev/compose.yml"), "services: {}\n").unwrap();
    apply(project, &cloud, FILE).await;
    let (before, metadata) = (readable(&cloud), template(&cloud)["metadata"].clone());
    for (field, pairs, shows) in CHANGES {
        let changed = pairs.iter().fold(FILE.to_owned(), |text, (from, to)| {
            assert!(text.contains(from), "{field}: {from}");
            text.replace(from, to)
        });
        let tally = apply(project, &cloud, &changed).await;
        assert!(tally.changed >= 1, "{field}: {tally:?}");
        match shows {
            Shows::Value(pointer, value) => assert_eq!(readable(&cloud).pointer(pointer), Some(&value()), "{field}"),
            Shows::Text(text) => {
                let shown = template(&cloud)["metadata"]["user-data"].as_str().unwrap().to_owned();
                assert!(shown.contains(text) && !metadata.to_string().contains(text), "{field}: {shown}");
            }
        }
        assert_eq!(apply(project, &cloud, &changed).await, Tally::default(), "{field}: again");
        apply(project, &cloud, FILE).await;
        assert_eq!(readable(&cloud), before, "{field}: back");
        assert_eq!(template(&cloud)["metadata"], metadata, "{field}: back");
        assert_eq!(apply(project, &cloud, FILE).await, Tally::default(), "{field}: back, again");
        assert!(cloud.object("dev-app-1")["networkInterfaces"][0]["primaryV4Address"].get("oneToOneNat").is_none());
        let mut roles = cloud.roles("dev-app-group");
        roles.sort();
        assert_eq!(roles, ["compute.editor", "vpc.user"], "{field}: its account has more than the group needs");
        assert_eq!(cloud.roles_on("dev-app-group", "dev-robots"), Vec::<String>::new(), "{field}");
    }
    destroy(project, &cloud, FILE).await;
    assert_eq!(cloud.names(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn yandex_members_that_drift_are_put_right() {
    let (folder, cloud) = (tempfile::tempdir().unwrap(), Cloud::start().await);
    let project = folder.path();
    apply(project, &cloud, FILE).await;
    let before = template(&cloud);
    for (field, edit) in DRIFTS {
        cloud.edit_in("/compute/v1/instanceGroups", "dev-app", |group| edit(&mut group["instanceTemplate"]));
        assert_ne!(template(&cloud), before, "{field}: nothing was edited");
        assert_eq!(apply(project, &cloud, FILE).await.changed, 1, "{field}");
        assert_eq!(template(&cloud), before, "{field}");
        assert_eq!(apply(project, &cloud, FILE).await, Tally::default(), "{field}: again");
    }
}

/// Earlier versions let the account of a group use all accounts of the folder.
#[tokio::test(flavor = "multi_thread")]
async fn yandex_members_stay_when_the_account_of_their_group_may_do_less() {
    let (folder, cloud) = (tempfile::tempdir().unwrap(), Cloud::start().await);
    let project = folder.path();
    apply(project, &cloud, FILE).await;
    let member = cloud.object("dev-app-1")["id"].clone();
    cloud.bind("dev-app-group", "iam.serviceAccounts.user");
    apply(project, &cloud, &FILE.replace(COUNT, "node_count: 2")).await;
    assert_eq!(cloud.object("dev-app-1")["id"], member);
    assert!(!cloud.roles("dev-app-group").contains(&"iam.serviceAccounts.user".to_owned()));
}

/// The services know a while later what an account was given.
#[tokio::test(flavor = "multi_thread")]
async fn yandex_members_are_created_although_roles_are_known_later() {
    let (folder, cloud) = (tempfile::tempdir().unwrap(), Cloud::start().await);
    let project = folder.path();
    cloud.ignorant(2);
    apply(project, &cloud, FILE).await;
    cloud.ignorant(2);
    apply(project, &cloud, &FILE.replace(COUNT, "node_count: 1\n    service_account: robots")).await;
    assert_eq!(readable(&cloud)["serviceAccountId"], "serviceAccounts dev-robots");
    // Another account takes its place, and the first one is no longer in use.
    apply(project, &cloud, &FILE.replace(COUNT, "node_count: 1\n    service_account: others")).await;
    assert_eq!(cloud.roles_on("dev-app-group", "dev-robots"), Vec::<String>::new());
    assert_eq!(cloud.roles_on("dev-app-group", "dev-others"), ["iam.serviceAccounts.user"]);
}
