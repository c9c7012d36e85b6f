//! What an interrupted destroy leaves, what someone else removes or opens, and how networks grow, on AWS.

use std::path::Path;

use infra::{
    cloud::aws::{
        ec2::{Address, NatGateway, SecurityGroup, Subnet, Tags, Volume, Vpc},
        route53::{AliasTarget, RecordSet},
    },
    plan::{Action, Known, diff},
    provider::Provider as _,
    resource::KindName,
    state::Store,
};
use serde_json::json;

use crate::{
    aws::{FILE, apply, destroy, load, machine},
    support::{
        commands::{changes, destroy_by_label, disks, owner, settle},
        moto::Moto,
    },
};

/// What a plan would do, as `~ vm.web`.
pub(crate) async fn planned(project: &Path, moto: &Moto, text: &str) -> Vec<String> {
    let (environment, provider) = load(project, moto, text);
    let changes = changes(project, &environment, &provider, false).await.unwrap();
    let changes = changes.iter().filter(|change| change.action != Action::Keep);
    let changes = changes.inspect(|change| println!("{} {}: {}", change.action.sign(), change.address, change.reason));
    changes.map(|change| format!("{} {}", change.action.sign(), change.address)).collect()
}

/// A managed database, and as little as it needs.
pub(crate) const DATABASE: &str = "
provider: aws
aws: {region: REGION, endpoint: 'ENDPOINT', profile: test, shared_credentials_file: credentials, images: {debian-12: IMAGE}}
network: {subnets: {a: {v4_cidr_blocks: [10.40.0.0/24]}}}
instances: {db: {network: {subnet: a}, resources: {memory: 2}}}
postgres:
  main: {network: {subnet: a}, resources: {disk_size: 20}, users: {app: }, databases: {app: {owner: app}}}
";

#[tokio::test(flavor = "multi_thread")]
async fn aws_destroy_finds_every_part_that_is_left() {
    let (folder, moto) = (tempfile::tempdir().unwrap(), Moto::start().await);
    let project = folder.path();
    let before = moto.count().await;
    let file = DATABASE.replace("postgres:", "service_accounts: {robots: {roles: [viewer]}}\npostgres:");
    apply(project, &moto, &file).await;
    let client = moto.client();
    // What a destroy does, interrupted at the worst places; or someone in the console.
    let server = client.db_instances().await.unwrap().remove(0).identifier;
    client.delete_db_instance(&server, infra::cloud::aws::rds::KeptOfServer::Nothing).await.unwrap();
    client.delete_db_subnet_group(&server).await.unwrap();
    let role = client.roles("/infra/dev/").await.unwrap().remove(0).role_name;
    for policy in client.role_policies(&role).await.unwrap() {
        client.detach_role_policy(&role, &policy.policy_arn).await.unwrap();
    }
    client.remove_role_from_instance_profile(&role, &role).await.unwrap();
    client.delete_role(&role).await.unwrap();
    let subnet = client.list::<Subnet>(&[("tag:infra-id", "subnet.a")]).await.unwrap().remove(0).subnet_id;
    let tags = "TagSpecification.1.ResourceType=KIND&TagSpecification.1.Tag.1.Key=infra-env&TagSpecification.1.Tag.1.Value=dev\
                &TagSpecification.1.Tag.2.Key=infra-project&TagSpecification.1.Tag.2.Value=test-k3x9q2ab";
    let made = moto
        .ask(
            "ec2",
            &format!("Action=CreateNetworkInterface&SubnetId={subnet}&{}", tags.replace("KIND", "network-interface")),
        )
        .await;
    assert!(made.contains("<networkInterfaceId>eni-"), "{made}");
    moto.ask(
        "ec2",
        &format!("Action=CreateVolume&Size=8&AvailabilityZone=eu-central-1a&{}", tags.replace("KIND", "volume")),
    )
    .await;
    moto.ask("ec2", &format!("Action=CreateInternetGateway&{}", tags.replace("KIND", "internet-gateway"))).await;
    // The plan says so, the next apply creates what is missing, and nothing that holds data is lost for it.
    let plan = planned(project, &moto, &file).await;
    assert!(plan.contains(&"~ postgres.main".to_owned()), "{plan:?}");
    assert!(plan.contains(&"~ service_account.robots".to_owned()), "{plan:?}");
    for kind in ["- vm.eni-", "- disk.vol-", "- network.igw-"] {
        assert!(plan.iter().any(|line| line.starts_with(kind)), "{kind}: {plan:?}");
    }
    assert!(!plan.iter().any(|line| line.starts_with('±')), "{plan:?}");
    apply(project, &moto, &file).await;
    assert_eq!(planned(project, &moto, &file).await, Vec::<String>::new());
    assert_eq!(client.db_instances().await.unwrap().len(), 1);
    // The same once more, and the state is lost too.
    let server = client.db_instances().await.unwrap().remove(0).identifier;
    client.delete_db_instance(&server, infra::cloud::aws::rds::KeptOfServer::Nothing).await.unwrap();
    client.delete_db_subnet_group(&server).await.unwrap();
    std::fs::remove_dir_all(project.join(".infra")).unwrap();
    let (environment, provider) = load(project, &moto, FILE);
    destroy_by_label(project, &environment, &provider).await.unwrap();
    assert_eq!(moto.count().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn aws_a_lost_gateway_is_one_new_gateway_with_its_address() {
    let (folder, moto) = (tempfile::tempdir().unwrap(), Moto::start().await);
    let project = folder.path();
    let before = moto.count().await;
    apply(project, &moto, DATABASE).await;
    let client = moto.client();
    let alive = async || {
        let all = client.list::<NatGateway>(&[]).await.unwrap();
        all.into_iter().find(|gateway| gateway.state == "available")
    };
    let lost = alive().await.unwrap();
    moto.lose_gateway(&lost).await;
    assert_eq!(planned(project, &moto, DATABASE).await, ["~ gateway.egress", "~ route_table.egress"]);
    apply(project, &moto, DATABASE).await;
    let found = alive().await.unwrap();
    assert_ne!(found.nat_gateway_id, lost.nat_gateway_id);
    assert_eq!(
        found.nat_gateway_address_set[0].allocation_id, lost.nat_gateway_address_set[0].allocation_id,
        "the machines behind it are known by the same address"
    );
    assert_eq!(planned(project, &moto, DATABASE).await, Vec::<String>::new());
    // The address is lost with it: then there is another one.
    moto.lose_gateway(&found).await;
    let address = &found.nat_gateway_address_set[0].allocation_id;
    moto.ask("ec2", &format!("Action=ReleaseAddress&AllocationId={address}")).await;
    assert_eq!(planned(project, &moto, DATABASE).await, ["+ gateway.egress", "~ route_table.egress"]);
    apply(project, &moto, DATABASE).await;
    assert_eq!(planned(project, &moto, DATABASE).await, Vec::<String>::new());
    destroy(project, &moto).await;
    assert_eq!(moto.count().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn aws_a_network_grows_by_what_the_file_names() {
    let (folder, moto) = (tempfile::tempdir().unwrap(), Moto::start().await);
    let project = folder.path();
    let before = moto.count().await;
    apply(project, &moto, DATABASE).await;
    let client = moto.client();
    let ranges = async || {
        let vpc = client.list::<Vpc>(&[("tag-key", "infra-env")]).await.unwrap().remove(0);
        let blocks = vpc.cidr_block_association_set.into_iter().map(|block| block.cidr_block);
        blocks.collect::<Vec<String>>()
    };
    assert_eq!(ranges().await, ["10.40.0.0/24"], "the database's second zone is inside of it");
    let subnets = client.list::<Subnet>(&[("tag-key", "infra-env")]).await.unwrap();
    let mut inside: Vec<&str> = subnets.iter().map(|subnet| subnet.cidr_block.as_str()).collect();
    inside.sort_unstable();
    assert_eq!(inside, ["10.40.0.0/25", "10.40.0.128/26", "10.40.0.240/28"]);
    let grown = DATABASE.replace(
        "a: {v4_cidr_blocks: [10.40.0.0/24]}",
        "a: {v4_cidr_blocks: [10.40.0.0/24]}, b: {v4_cidr_blocks: [10.40.2.0/24]}",
    );
    let plan = planned(project, &moto, &grown).await;
    assert_eq!(plan, ["~ network.main", "+ subnet.b", "+ subnet.b-public"]);
    apply(project, &moto, &grown).await;
    assert_eq!(ranges().await, ["10.40.0.0/24", "10.40.2.0/24"]);
    assert_eq!(planned(project, &moto, &grown).await, Vec::<String>::new());
    // The range of a subnet is not changed under what is in it.
    let (environment, provider) = load(project, &moto, &DATABASE.replace("10.40.0.0/24", "10.41.0.0/24"));
    let observed = provider.list(&owner(&environment)).await.unwrap();
    let state = Store::new(project, &environment.name).read().await.unwrap();
    let pending = std::collections::BTreeMap::new();
    let known = Known { state: state.as_ref(), pending: &pending, observed: &observed, policy: provider.policy() };
    let refused = diff(&provider.resources(&environment), known).unwrap_err();
    assert!(refused.to_string().contains("`subnet.a`: `cidr` cannot be changed"), "{refused}");
    destroy(project, &moto).await;
    assert_eq!(moto.count().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn aws_opened_groups_are_closed_whatever_the_rule_is() {
    let (folder, moto) = (tempfile::tempdir().unwrap(), Moto::start().await);
    let project = folder.path();
    apply(project, &moto, FILE).await;
    let client = moto.client();
    let group = async |filter: (&str, &str)| client.list::<SecurityGroup>(&[filter]).await.unwrap().remove(0).group_id;
    let ports = group(("tag:infra-id", "security_group.ports-80-443")).await;
    let own = group(("tag:infra-part", "network-group")).await;
    let ssh = group(("tag:infra-part", "ssh")).await;
    let range = |cidr: &str| json!([{ "CidrIp": cidr }]);
    let rules = [
        json!({ "IpProtocol": "-1", "IpRanges": range("0.0.0.0/0") }),
        json!({ "IpProtocol": "tcp", "FromPort": 80, "ToPort": 9000, "IpRanges": range("0.0.0.0/0") }),
        json!({ "IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "Ipv6Ranges": [{ "CidrIpv6": "::/0" }] }),
        json!({ "IpProtocol": "udp", "FromPort": 80, "ToPort": 80, "IpRanges": range("192.0.2.0/24") }),
    ];
    for (id, address) in [(&ports, "security_group.ports-80-443"), (&own, "network.main"), (&ssh, "network.main")] {
        for rule in &rules {
            let call = client.authorize_ingress().group_id(id).ip_permissions(vec![rule.clone()]);
            call.send().await.unwrap();
            assert_eq!(planned(project, &moto, FILE).await, [format!("~ {address}")], "{rule}");
            apply(project, &moto, FILE).await;
            assert_eq!(planned(project, &moto, FILE).await, Vec::<String>::new(), "{rule}");
        }
    }
    // What goes out too.
    let call = client.authorize_egress().group_id(&ports);
    call.ip_permissions(vec![rules[3].clone()]).send().await.unwrap();
    moto.ask("ec2", &format!("Action=RevokeSecurityGroupEgress&GroupId={own}&IpPermissions.1.IpProtocol=-1&IpPermissions.1.IpRanges.1.CidrIp=0.0.0.0/0")).await;
    let plan = planned(project, &moto, FILE).await;
    assert_eq!(plan, ["~ network.main", "~ security_group.ports-80-443"]);
    apply(project, &moto, FILE).await;
    assert_eq!(planned(project, &moto, FILE).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn aws_port_22_is_open_on_the_bastion_only_and_from_where_the_file_says() {
    let (folder, moto) = (tempfile::tempdir().unwrap(), Moto::start().await);
    let project = folder.path();
    apply(project, &moto, FILE).await;
    let client = moto.client();
    let from = async |name: &str| {
        let machine = machine(&moto, name).await;
        let all = client.list::<SecurityGroup>(&[]).await.unwrap();
        let own = all.iter().filter(|group| machine.groups().contains(&group.group_id.as_str()));
        let ssh = own.flat_map(|group| &group.ip_permissions).filter(|rule| rule.from_port == "22");
        ssh.flat_map(|rule| &rule.ip_ranges).map(|range| range.cidr_ip.clone()).collect::<Vec<String>>()
    };
    assert_eq!(from("dev-bastion").await, ["0.0.0.0/0"]);
    assert_eq!(from("dev-web").await, Vec::<String>::new(), "it is public, and its port 22 is closed");
    let narrow = FILE.replace("network: {subnets", "network: {ssh_from: [192.0.2.0/24, 198.51.100.7/32], subnets");
    assert_eq!(planned(project, &moto, &narrow).await, ["~ network.main"]);
    apply(project, &moto, &narrow).await;
    assert_eq!(from("dev-bastion").await, ["192.0.2.0/24", "198.51.100.7/32"]);
    assert_eq!(planned(project, &moto, &narrow).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn aws_the_ports_of_a_front_are_those_of_its_balancer() {
    let (folder, moto) = (tempfile::tempdir().unwrap(), Moto::start().await);
    let project = folder.path();
    let before = moto.count().await;
    let front = "nginx:\n  front: {nodes: 2, resources: {memory: 2}, upstreams: {app: {group: app, port: 80}}, locations: {/: {upstream: app}}}\n";
    let file = format!("{FILE}{front}");
    apply(project, &moto, &file).await;
    let client = moto.client();
    let ports = async || {
        let balancer = client.load_balancers().await.unwrap().remove(0);
        let mut ports: Vec<(String, String)> = Vec::new();
        let groups = client.target_groups().await.unwrap();
        for listener in client.listeners(&balancer.load_balancer_arn).await.unwrap() {
            let to = &listener.default_actions[0].target_group_arn;
            let group = groups.iter().find(|group| group.target_group_arn == *to).unwrap();
            assert_eq!(client.targets(to).await.unwrap().len(), 2);
            ports.push((listener.port, group.port.clone()));
        }
        ports.sort();
        assert_eq!(groups.len(), ports.len(), "no group is left over");
        ports
    };
    let pair = |port: &str| (port.to_owned(), port.to_owned());
    assert_eq!(ports().await, [pair("443"), pair("80")]);
    // Nodes behind a balancer are private, and still answer the world.
    let node = machine(&moto, "dev-nginx-front").await;
    assert!(node.ip_address.is_empty());
    assert_eq!(node.groups().len(), 2);
    let moved = file.replace("nodes: 2", "nodes: 2, listen: {https: 8443}");
    assert!(planned(project, &moto, &moved).await.contains(&"~ load_balancer.front".to_owned()));
    apply(project, &moto, &moved).await;
    assert_eq!(ports().await, [pair("80"), pair("8443")]);
    assert_eq!(planned(project, &moto, &moved).await, Vec::<String>::new());
    // A machine that was lost is back in the balancer after the same apply.
    moto.lose(&node.instance_id).await;
    let plan = planned(project, &moto, &moved).await;
    assert_eq!(plan, ["~ load_balancer.front", "+ vm.nginx-front"]);
    apply(project, &moto, &moved).await;
    assert_eq!(ports().await, [pair("80"), pair("8443")]);
    assert_eq!(planned(project, &moto, &moved).await, Vec::<String>::new());
    destroy(project, &moto).await;
    assert_eq!(moto.count().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn aws_every_kind_of_record_comes_to_rest_and_none_of_others_is_in_the_way() {
    let (folder, moto) = (tempfile::tempdir().unwrap(), Moto::start().await);
    let project = folder.path();
    let before = moto.count().await;
    let file = format!(
        "{FILE}dns:\n  world:\n    zone: example.org\n    records:\n\
         \x20     - {{name: Web, to: web}}\n\
         \x20     - {{name: '*', values: [192.0.2.1]}}\n\
         \x20     - {{name: sub, type: NS, values: [ns.example.net.]}}\n"
    );
    apply(project, &moto, &file).await;
    assert_eq!(planned(project, &moto, &file).await, Vec::<String>::new());
    let client = moto.client();
    let zone = client.hosted_zones().await.unwrap().remove(0);
    let kinds = |records: &[RecordSet]| {
        let mut kinds: Vec<String> = records.iter().map(|one| format!("{} {}", one.r#type, one.name)).collect();
        kinds.sort();
        kinds
    };
    let ours = client.record_sets(zone.short_id()).await.unwrap();
    // Someone adds an alias and takes the delegation away.
    let alias = RecordSet {
        name: "alias.example.org.".to_owned(),
        r#type: "A".to_owned(),
        alias_target: Some(AliasTarget {
            hosted_zone_id: "Z2P70J7EXAMPLE".to_owned(),
            dns_name: "x.elb.amazonaws.com.".to_owned(),
            evaluate_target_health: "false".to_owned(),
        }),
        ..RecordSet::default()
    };
    let sub = ours.iter().find(|one| one.name == "sub.example.org.").unwrap().clone();
    client.change_record_sets(zone.short_id(), &[sub], std::slice::from_ref(&alias)).await.unwrap();
    assert_eq!(planned(project, &moto, &file).await, ["~ dns_zone.world"]);
    apply(project, &moto, &file).await;
    assert_eq!(kinds(&client.record_sets(zone.short_id()).await.unwrap()), kinds(&ours));
    // It does not keep the zone from being destroyed, either.
    client.change_record_sets(zone.short_id(), &[], &[alias]).await.unwrap();
    destroy(project, &moto).await;
    assert_eq!(moto.count().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn aws_what_points_to_a_lost_machine_points_to_the_new_one() {
    let (folder, moto) = (tempfile::tempdir().unwrap(), Moto::start().await);
    let project = folder.path();
    let file = format!(
        "{FILE}addresses: {{fixed: }}\ndns:\n  world: {{zone: example.org, records: [{{name: web, to: web}}, {{name: gate, to: fixed}}]}}\n"
    )
    .replace("bastion: {network: {nat: true}", "bastion: {network: {nat: true, address: fixed}");
    apply(project, &moto, &file).await;
    let client = moto.client();
    let zone = client.hosted_zones().await.unwrap().remove(0);
    let web = machine(&moto, "dev-web").await;
    moto.lose(&web.instance_id).await;
    // A reserved address that is lost is another one, for the machine and for the names too.
    let bastion = machine(&moto, "dev-bastion").await.instance_id;
    let fixed = client.list::<Address>(&[("tag:infra-id", "address.fixed")]).await.unwrap().remove(0);
    client.disassociate_address().association_id(&fixed.association_id).send().await.unwrap();
    client.release_address().allocation_id(&fixed.allocation_id).send().await.unwrap();
    let plan = planned(project, &moto, &file).await;
    assert_eq!(plan, ["+ address.fixed", "~ dns_zone.world", "~ vm.bastion", "+ vm.web"]);
    apply(project, &moto, &file).await;
    assert_eq!(planned(project, &moto, &file).await, Vec::<String>::new());
    assert_eq!(client.hosted_zones().await.unwrap().remove(0).id, zone.id, "the zone is the same");
    let records = client.record_sets(zone.short_id()).await.unwrap();
    let says = |name: &str| {
        let records = records.iter().find(|records| records.name == name).unwrap();
        records.resource_records[0].value.clone()
    };
    let new = machine(&moto, "dev-web").await;
    assert_ne!(new.ip_address, web.ip_address);
    assert_eq!(says("web.example.org."), new.ip_address);
    let gate = machine(&moto, "dev-bastion").await;
    assert_eq!((gate.instance_id.as_str(), says("gate.example.org.")), (bastion.as_str(), gate.ip_address.clone()));
    // A tag that is not ours is no reason for anything.
    client.tag_zone(zone.short_id(), &Tags::from([("team".to_owned(), "web".to_owned())])).await.unwrap();
    assert_eq!(planned(project, &moto, &file).await, Vec::<String>::new());
    destroy(project, &moto).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn aws_a_lost_disk_is_whole_again_after_one_apply() {
    let (folder, moto) = (tempfile::tempdir().unwrap(), Moto::start().await);
    let project = folder.path();
    apply(project, &moto, FILE).await;
    let client = moto.client();
    let volume = async || client.list::<Volume>(&[("tag:infra-id", "disk.db-data")]).await.unwrap().remove(0).volume_id;
    let (lost, db) = (volume().await, machine(&moto, "dev-db").await.instance_id);
    moto.ask("ec2", &format!("Action=DetachVolume&InstanceId={db}&VolumeId={lost}")).await;
    client.delete_volume().volume_id(&lost).send().await.unwrap();
    assert_eq!(planned(project, &moto, FILE).await, ["+ disk.db-data", "~ vm.db"]);
    apply(project, &moto, FILE).await;
    assert_eq!(planned(project, &moto, FILE).await, Vec::<String>::new());
    let (new, now) = (volume().await, machine(&moto, "dev-db").await);
    assert_eq!(now.instance_id, db);
    assert!(now.block_device_mapping.iter().any(|mapping| mapping.ebs.volume_id == new));
    let (environment, provider) = load(project, &moto, FILE);
    let path = format!("/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_{}", new.replace('-', ""));
    let expected = [("db".to_owned(), format!("{path} /mnt/db-data 5"))];
    assert_eq!(disks(project, &environment, &provider).await, expected);
    // One that is replaced leaves its machine.
    provider.driver(KindName::DISK).unwrap().delete(&new).await.unwrap();
    assert_eq!(planned(project, &moto, FILE).await, ["+ disk.db-data", "~ vm.db"]);

    // The first disk of a machine is looked at after it was made larger, and until that is settled.
    let web = "web: {ansible_groups: [web], network: {nat: true}, resources: {memory: 2";
    let larger = FILE.replace(web, &format!("{web}, disk_size: 30"));
    apply(project, &moto, &larger).await;
    let (environment, provider) = load(project, &moto, &larger);
    let looked_at = disks(project, &environment, &provider).await;
    assert_eq!(looked_at[1], ("web".to_owned(), "first / 30".to_owned()));
    for (settled, left) in [("db", 2), ("web", 1)] {
        settle(project, &environment, &provider, settled).await;
        assert_eq!(disks(project, &environment, &provider).await.len(), left, "{settled}");
    }
    destroy(project, &moto).await;
}
