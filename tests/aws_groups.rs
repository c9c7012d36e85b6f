//! Instance groups on AWS: their zones, and whether their machines work.

use std::sync::{Arc, Mutex};

use infra::{
    cloud::aws::ec2::{SecurityGroup, Subnet},
    config::Cidr,
    provider::{Health, Provider as _},
};

use crate::{
    aws::{apply, destroy, load},
    aws_repair::planned,
    support::{
        commands::{command, owner},
        moto::{Fault, Moto},
    },
};

/// A group in two zones whose machines are asked.
const GROUP: &str = "
provider: aws
aws: {region: REGION, endpoint: 'ENDPOINT', profile: test, shared_credentials_file: credentials, images: {debian-12: IMAGE}}
network: {subnets: {a: {v4_cidr_blocks: [10.1.0.0/24]}, b: {v4_cidr_blocks: [10.1.1.0/24], zone: eu-central-1b}}}
instance_groups:
  app:
    node_count: 2
    network: {subnet: a}
    resources: {memory: 2}
    allocation_policy: [eu-central-1a, eu-central-1b]
    health_check: {port: 8080, path: /ping, patience: 5m}
";

async fn health(project: &std::path::Path, moto: &Moto, text: &str) -> Health {
    let (environment, provider) = load(project, moto, text);
    let objects = provider.list(&owner(&environment)).await.unwrap();
    objects.into_iter().find(|object| object.address.to_string() == "instance_group.app").unwrap().health
}

#[tokio::test(flavor = "multi_thread")]
async fn aws_a_group_is_judged_once_it_is_configured() {
    let (folder, moto) = (tempfile::tempdir().unwrap(), Moto::start().await);
    let project = folder.path();
    let before = moto.count().await;
    moto.actions();
    apply(project, &moto, GROUP).await;
    let actions = moto.actions();
    let at = |action: &str| actions.iter().position(|one| one == action).unwrap_or_else(|| panic!("{action}"));
    assert!(at("CreateAutoScalingGroup") < at("CreateTargetGroup"), "a group is created without its health check");
    let client = moto.client();
    let group = async || client.auto_scaling_groups(None).await.unwrap().remove(0);
    let there = group().await;
    let subnets = client.list::<Subnet>(&[("tag:infra-env", "dev")]).await.unwrap();
    let id = |name: &str| {
        let is = |one: &&Subnet| one.tag_set.iter().any(|tag| tag.value == format!("subnet.{name}"));
        subnets.iter().find(is).unwrap()
    };
    let mut zones: Vec<&str> = there.subnets.split(',').collect();
    let mut wanted = [id("a").subnet_id.as_str(), id("b").subnet_id.as_str()];
    zones.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(zones, wanted);
    assert_eq!((there.health_check_type.as_str(), there.health_check_grace_period.as_str()), ("ELB", "300"));
    let target_group = client.target_groups().await.unwrap().remove(0);
    assert_eq!(there.target_groups, std::slice::from_ref(&target_group.target_group_arn));
    assert_eq!(
        (target_group.health_check_protocol.as_str(), target_group.health_check_path.as_str()),
        ("HTTP", "/ping")
    );
    assert_eq!(client.targets(&target_group.target_group_arn).await.unwrap().len(), 2);
    // The balancer that asks is inside the network, in the machines' subnets, and these are let in.
    let balancer = client.load_balancers().await.unwrap().remove(0);
    let inside: Vec<&str> = balancer.availability_zones.iter().map(|zone| zone.subnet_id.as_str()).collect();
    assert!(inside.len() == 2 && inside.iter().all(|subnet| wanted.contains(subnet)), "{inside:?}");
    let own = client.list::<SecurityGroup>(&[("tag:infra-part", "network-group")]).await.unwrap().remove(0);
    for subnet in ["a", "b"] {
        let range: Cidr = id(subnet).cidr_block.parse().unwrap();
        let lets_in =
            own.ip_permissions.iter().filter(|rule| rule.ip_protocol == "-1").flat_map(|rule| &rule.ip_ranges);
        assert!(lets_in.into_iter().any(|one| one.cidr_ip.parse::<Cidr>().unwrap().covers(range)), "{own:?}");
    }
    assert_eq!(planned(project, &moto, GROUP).await, Vec::<String>::new());
    // Another question, and one machine more.
    let other = GROUP
        .replace("path: /ping", "path: /health, interval: 20s, failures: 5")
        .replace("node_count: 2", "node_count: 3");
    assert_eq!(planned(project, &moto, &other).await, ["~ instance_group.app"]);
    apply(project, &moto, &other).await;
    let target_group = client.target_groups().await.unwrap().remove(0);
    assert_eq!(
        (target_group.health_check_path.as_str(), target_group.unhealthy_threshold_count.as_str()),
        ("/health", "5")
    );
    assert_eq!(group().await.health_check_type, "ELB");
    assert_eq!(planned(project, &moto, &other).await, Vec::<String>::new());
    // No one asks the machines any more, by the hand of someone else.
    let attached = group().await;
    client.detach_target_group(&attached.name, &attached.target_groups[0]).await.unwrap();
    assert_eq!(planned(project, &moto, &other).await, ["~ instance_group.app"]);
    apply(project, &moto, &other).await;
    assert_eq!(planned(project, &moto, &other).await, Vec::<String>::new());
    // Without a health check nothing of it is left.
    let without =
        other.replace("    health_check: {port: 8080, path: /health, interval: 20s, failures: 5, patience: 5m}\n", "");
    assert_ne!(without, other);
    assert_eq!(planned(project, &moto, &without).await, ["~ instance_group.app"]);
    apply(project, &moto, &without).await;
    assert!(client.target_groups().await.unwrap().is_empty() && client.load_balancers().await.unwrap().is_empty());
    assert_eq!((group().await.health_check_type.as_str(), group().await.target_groups.len()), ("EC2", 0));
    assert_eq!(planned(project, &moto, &without).await, Vec::<String>::new());
    apply(project, &moto, GROUP).await;
    destroy(project, &moto).await;
    assert_eq!(moto.count().await, before);
    let (environment, provider) = load(project, &moto, GROUP);
    let bill = provider.bill(&provider.resources(&environment));
    assert!(bill.iter().any(|item| item.name == "load-balancer"), "what asks is paid for");
}

#[tokio::test(flavor = "multi_thread")]
async fn aws_a_group_whose_machines_do_not_answer_is_shown_and_judged_again() {
    let (folder, moto) = (tempfile::tempdir().unwrap(), Moto::start().await);
    let project = folder.path();
    let file = GROUP.replace("patience: 5m", "patience: 1s");
    moto.unhealthy(true);
    let (environment, provider) = load(project, &moto, &file);
    let error = command(project, &environment, &provider, false).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("its machines do not pass the health check (GET :8080/ping): i-"), "{text}");
    assert!(text.contains("config.yaml:6:3") && text.contains(" is unhealthy"), "{text}");
    // Nothing replaces machines that were never configured; the group is shown as it is, and is judged by the next apply.
    let group = moto.client().auto_scaling_groups(None).await.unwrap().remove(0);
    assert_eq!(group.health_check_type, "EC2");
    assert_eq!(health(project, &moto, &file).await, Health::Unhealthy);
    assert_eq!(planned(project, &moto, &file).await, ["~ instance_group.app"]);
    moto.unhealthy(false);
    apply(project, &moto, &file).await;
    assert_eq!(health(project, &moto, &file).await, Health::Ready);
    assert_eq!(planned(project, &moto, &file).await, Vec::<String>::new());
    let judged = async || moto.client().auto_scaling_groups(None).await.unwrap().remove(0).health_check_type;
    assert_eq!(judged().await, "ELB", "the cloud replaces what does not answer");
    // Later that is shown, and no reason to do anything.
    moto.unhealthy(true);
    assert_eq!(health(project, &moto, &file).await, Health::Unhealthy);
    assert_eq!(planned(project, &moto, &file).await, Vec::<String>::new());
    moto.unhealthy(false);
    // A machine that playbooks configure is not replaced by an empty one.
    std::fs::write(project.join("dev/site.yml"), "- hosts: all\n  tasks: []\n").unwrap();
    let configured = format!("{file}playbooks: [site.yml]\n");
    assert_eq!(planned(project, &moto, &configured).await, ["~ instance_group.app"]);
    apply(project, &moto, &configured).await;
    assert_eq!(judged().await, "EC2");
    assert_eq!(planned(project, &moto, &configured).await, Vec::<String>::new());
    destroy(project, &moto).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn aws_a_health_check_that_was_never_passed_can_be_removed() {
    let (folder, moto) = (tempfile::tempdir().unwrap(), Moto::start().await);
    let project = folder.path();
    let file = GROUP.replace("patience: 5m", "patience: 1s");
    let without = file.replace("    health_check: {port: 8080, path: /ping, patience: 1s}\n", "");
    assert_ne!(without, file);
    let client = moto.client();
    let is_gone =
        async || client.target_groups().await.unwrap().is_empty() && client.load_balancers().await.unwrap().is_empty();
    moto.unhealthy(true);
    let (environment, provider) = load(project, &moto, &file);
    command(project, &environment, &provider, false).await.unwrap_err();
    assert_eq!(planned(project, &moto, &without).await, ["~ instance_group.app"]);
    apply(project, &moto, &without).await;
    assert!(is_gone().await);
    assert_eq!(planned(project, &moto, &without).await, Vec::<String>::new());
    // What asks was created, and asks no one yet.
    moto.faults(|action| (action == "AttachLoadBalancerTargetGroups").then_some(Fault::Code("ValidationError")));
    command(project, &environment, &provider, false).await.unwrap_err();
    moto.no_faults();
    assert!(!is_gone().await);
    assert_eq!(planned(project, &moto, &without).await, ["~ instance_group.app"]);
    apply(project, &moto, &without).await;
    assert!(is_gone().await);
    destroy(project, &moto).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn aws_a_rollout_waits_for_the_check_unless_playbooks_configure_the_machines() {
    let (folder, moto) = (tempfile::tempdir().unwrap(), Moto::start().await);
    let project = folder.path();
    apply(project, &moto, GROUP).await;
    let sent = Arc::new(Mutex::new(String::new()));
    let seen = Arc::clone(&sent);
    moto.edit(move |action, request, answer| {
        if ["StartInstanceRefresh", "UpdateAutoScalingGroup"].contains(&action) {
            *seen.lock().unwrap() += &format!("{request}\n");
        }
        answer
    });
    apply(project, &moto, &GROUP.replace("memory: 2", "memory: 4")).await;
    let rollout = std::mem::take(&mut *sent.lock().unwrap());
    assert!(rollout.contains("Preferences.InstanceWarmup=300"), "{rollout}");
    assert!(rollout.contains("HealthCheckType=ELB") && !rollout.contains("HealthCheckType=EC2"), "{rollout}");
    // As long as one machine answers it is not exchanged for one that does not, whatever the file asks for now.
    let short = GROUP.replace("patience: 5m", "patience: 1s");
    apply(project, &moto, &short).await;
    sent.lock().unwrap().clear();
    for (unhealthy, memory, judge, other) in [(1, 4, "ELB", "EC2"), (2, 16, "EC2", "ELB")] {
        moto.unhealthy_machines(unhealthy);
        let file = short.replace("memory: 2", &format!("memory: {memory}"));
        let (environment, provider) = load(project, &moto, &file);
        command(project, &environment, &provider, false).await.unwrap_err();
        let rollout = std::mem::take(&mut *sent.lock().unwrap());
        let judged = |by: &str| rollout.contains(&format!("HealthCheckType={by}"));
        assert!(judged(judge) && !judged(other), "{unhealthy}: {rollout}");
    }
    moto.unhealthy(false);
    std::fs::write(project.join("dev/site.yml"), "- hosts: all\n  tasks: []\n").unwrap();
    let configured = format!("{}playbooks: [site.yml]\n", GROUP.replace("memory: 2", "memory: 8"));
    apply(project, &moto, &configured).await;
    let rollout = std::mem::take(&mut *sent.lock().unwrap());
    assert!(rollout.contains("Preferences.InstanceWarmup=0"), "{rollout}");
    assert!(rollout.contains("HealthCheckType=EC2") && !rollout.contains("HealthCheckType=ELB"), "{rollout}");
    destroy(project, &moto).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn aws_zones_and_checks_of_a_group_that_cannot_be_are_mistakes() {
    let (folder, moto) = (tempfile::tempdir().unwrap(), Moto::start().await);
    let file = GROUP
        .replace(
            "allocation_policy: [eu-central-1a, eu-central-1b]",
            "allocation_policy: [eu-central-1a, eu-central-1c]",
        )
        .replace("patience: 5m", "interval: 4s, timeout: 1s");
    let (environment, provider) = load(folder.path(), &moto, &file);
    let found: Vec<String> = provider.check(&environment).iter().map(ToString::to_string).collect();
    for (place, message) in [
        ("config.yaml:10:40", "the group `app` has machines in zone `eu-central-1c`, and no subnet is there"),
        ("config.yaml:11:45", "`interval` is 4 seconds, and is from 5 to 300 here"),
        ("config.yaml:11:59", "`timeout` is 1 seconds, and is from 2 to 120 here"),
    ] {
        assert!(found.iter().any(|one| one.contains(place) && one.contains(message)), "{place} {message}: {found:#?}");
    }
    assert!(moto.actions().is_empty());
}
