//! What the world reaches in clouds because the file says so, and what it does not.

use std::collections::BTreeSet;

use infra::{cloud::aws::ec2::SecurityGroup, plan::Action};
use serde_json::{Value, json};

use crate::{
    aws,
    aws_repair::planned,
    support::{commands, moto::Moto, yandex::Cloud},
    yandex,
};

const FILE: &str = "
network: {subnets: {a: {v4_cidr_blocks: [10.1.0.0/24]}}}
postgres: {main: {managed: true, NETWORKresources: {cores: 2, memory: 8, disk_size: 20}, users: {app: }, databases: {app: {owner: app}}}}
";

fn file(head: &str, is_public: bool) -> String {
    format!("{head}{}", FILE.replace("NETWORK", if is_public { "network: {nat: true}, " } else { "" }))
}

#[tokio::test(flavor = "multi_thread")]
async fn reached_a_public_database_on_aws_has_an_open_port_and_is_in_public_subnets() {
    let head = "
provider: aws
aws: {region: REGION, endpoint: 'ENDPOINT', profile: test, shared_credentials_file: credentials, images: {debian-12: IMAGE}}
";
    for is_public in [true, false] {
        let (folder, moto) = (tempfile::tempdir().unwrap(), Moto::start().await);
        let (project, file) = (folder.path(), file(head, is_public));
        aws::apply(project, &moto, &file).await;
        let client = moto.client();
        let server = client.db_instances().await.unwrap().remove(0);
        assert_eq!(server.publicly_accessible, is_public.to_string());
        let own: Vec<&String> = server.vpc_security_groups.iter().map(|one| &one.vpc_security_group_id).collect();
        let groups = client.list::<SecurityGroup>(&[]).await.unwrap();
        let rules =
            groups.iter().filter(|group| own.contains(&&group.group_id)).flat_map(|group| &group.ip_permissions);
        let opened: BTreeSet<String> = rules
            .filter(|rule| rule.ip_ranges.iter().any(|range| range.cidr_ip == "0.0.0.0/0"))
            .map(|rule| format!("{} {}-{}", rule.ip_protocol, rule.from_port, rule.to_port))
            .collect();
        let wanted = if is_public { BTreeSet::from(["tcp 5432-5432".to_owned()]) } else { BTreeSet::new() };
        assert_eq!(opened, wanted);
        assert_eq!(planned(project, &moto, &file).await, Vec::<String>::new());
        aws::destroy(project, &moto).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reached_a_public_database_on_yandex_has_an_open_port() {
    let head = "
provider: yandex
yandex: {folder_id: b1gsimulated0folder00, endpoint: 'ENDPOINT', service_account_key_file: KEY}
";
    let (folder, cloud) = (tempfile::tempdir().unwrap(), Cloud::start().await);
    let project = folder.path();
    let opened = || {
        let cluster = cloud.object("dev-main");
        let groups = cluster["securityGroupIds"].as_array().unwrap().clone();
        let all = cloud.objects_in("/vpc/v1/securityGroups");
        let own = all.into_iter().filter(|group| groups.contains(&group["id"]));
        let rules: Vec<Value> = own.flat_map(|group| group["rules"].as_array().unwrap().clone()).collect();
        let from_world = |rule: &&Value| {
            rule["direction"] == "INGRESS" && rule["cidrBlocks"]["v4CidrBlocks"] == json!(["0.0.0.0/0"])
        };
        let ports: Vec<String> = rules
            .iter()
            .filter(from_world)
            .map(|rule| rule["ports"]["fromPort"].as_str().unwrap().to_owned())
            .collect();
        (cluster["hosts"][0]["assignPublicIp"] == true, ports)
    };
    // In place, there and back.
    for is_public in [false, true, false] {
        yandex::apply(project, &cloud, &file(head, is_public)).await;
        let wanted = if is_public { vec!["6432".to_owned()] } else { Vec::new() };
        assert_eq!(opened(), (is_public, wanted));
        let (environment, provider) = yandex::load(project, &cloud, &file(head, is_public));
        let changes = commands::changes(project, &environment, &provider, false).await.unwrap();
        assert!(changes.iter().all(|change| change.action == Action::Keep), "{changes:?}");
    }
}
