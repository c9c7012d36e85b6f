//! Instance groups and fronts in Yandex Cloud: they are made, configured, then judged.

use std::time::{Duration, Instant};

use infra::provider::{Health, Provider};
use serde_json::{Value, json};

use crate::{
    support::{
        commands::{PROJECT, command, owner},
        yandex::Cloud,
    },
    yandex::{Project, apply, destroy_file as destroy, load, planned, tally, written},
};

/// A group that is judged by what a playbook installs, in two zones.
const JUDGED: &str = "
provider: yandex
yandex: {folder_id: b1gsimulated0folder00, endpoint: 'ENDPOINT', service_account_key_file: KEY}
network: {subnets: {a: {v4_cidr_blocks: [10.1.0.0/24]}, b: {v4_cidr_blocks: [10.2.0.0/24], zone: ru-central1-b}}}
service_accounts: {robots: {roles: [container-registry.images.puller]}}
instance_groups:
  app:
    node_count: 2
    network: {subnet: a}
    resources: {memory: 2}
    service_account: robots
    allocation_policy: [ru-central1-a, ru-central1-b]
    health_check: {port: 8080, path: /ping, interval: 2s, timeout: 1s, patience: 1s}
";

#[tokio::test(flavor = "multi_thread")]
async fn yandex_a_group_is_made_configured_and_then_judged() {
    let (folder, cloud) = (tempfile::tempdir().unwrap(), Cloud::start().await);
    let project = folder.path();
    // What the check asks is installed by nothing: the group is made all the same, and the apply says why it is not well.
    cloud.healthy(false);
    let begun = Instant::now();
    let (environment, provider) = load(project, &cloud, JUDGED);
    let error = command(project, &environment, &provider, false).await.unwrap_err();
    let text = format!("{error} {:?}", error.hints());
    assert!(text.contains("instance_group.app") && text.contains("config.yaml:7:"), "{text}");
    assert!(text.contains("its machines do not pass the health check (GET :8080/ping)"), "{text}");
    assert!(text.contains("2 of 2 machines run; dev-app-") && text.contains("CHECKING_HEALTH"), "{text}");
    // It is seen as it is, and nothing waits for it.
    let seen = provider.list(&owner(&environment)).await.unwrap();
    let group = seen.iter().find(|object| object.address.to_string() == "instance_group.app").unwrap();
    assert_eq!(group.health, Health::Unhealthy);
    assert_eq!(group.attributes["members"].as_array().unwrap().len(), 2);
    // One machine more has nothing installed either: the group is not judged before that is done.
    let more = JUDGED.replace("node_count: 2", "node_count: 3");
    let (environment, provider) = load(project, &cloud, &more);
    command(project, &environment, &provider, false).await.unwrap_err();
    assert!(cloud.names().contains(&"instances dev-app-3".to_owned()), "{:?}", cloud.names());
    // The software works: nothing is left to do but to be judged.
    cloud.healthy(true);
    assert_eq!(apply(project, &cloud, &more).await, tally(0, 0, 0));
    assert!(!cloud.object_in("/compute/v1/instanceGroups", "dev-app")["healthChecksSpec"].is_null());
    cloud.healthy(false);
    destroy(project, &cloud, &more).await;
    assert_eq!(cloud.names(), Vec::<String>::new());
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn yandex_a_group_has_its_zones_its_checkers_and_its_accounts() {
    let (folder, cloud) = (tempfile::tempdir().unwrap(), Cloud::start().await);
    apply(folder.path(), &cloud, JUDGED).await;
    let zone = |name: &str| cloud.object(name)["zoneId"].as_str().unwrap().to_owned();
    assert_eq!((zone("dev-app-1").as_str(), zone("dev-app-2").as_str()), ("ru-central1-a", "ru-central1-b"));
    // Only what checks them reaches the port.
    assert_eq!(
        cloud.object("dev-checks-8080")["rules"],
        json!([{
            "direction": "INGRESS", "protocolName": "TCP", "predefinedTarget": "loadbalancer_healthchecks",
            "ports": { "fromPort": "8080", "toPort": "8080" },
        }])
    );
    // The machines have the account of the file; another one runs the group, and may do no more than that.
    let group = cloud.object_in("/compute/v1/instanceGroups", "dev-app");
    let robots = cloud.object("dev-robots")["id"].clone();
    assert_eq!(group["instanceTemplate"]["serviceAccountId"], robots);
    assert_eq!(group["serviceAccountId"], cloud.object("dev-app-group")["id"]);
    let mut roles = cloud.roles("dev-app-group");
    roles.sort();
    assert_eq!(roles, ["compute.editor", "vpc.user"]);
    assert_eq!(cloud.roles_on("dev-app-group", "dev-robots"), ["iam.serviceAccounts.user"]);
    assert_eq!(cloud.roles("dev-robots"), ["container-registry.images.puller"]);
    destroy(folder.path(), &cloud, JUDGED).await;
    assert_eq!(cloud.names(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn yandex_zones_that_do_not_go_together_are_mistakes() {
    let file = JUDGED
        .replace(", b: {v4_cidr_blocks: [10.2.0.0/24], zone: ru-central1-b}", "")
        .replace("service_accounts:", "addresses: {far: {zone: ru-central1-d}}\ninstances: {web: {network: {nat: true, address: far}, resources: {memory: 2}}}\nservice_accounts:");
    let (project, printed) = planned(&file, 2).await;
    for expected in [
        "the group `app` has machines in zone `ru-central1-b`, and no subnet is there",
        "hint: add one: `network.subnets.NAME: {zone: ru-central1-b, v4_cidr_blocks: [...]}`",
        "`web` is in zone `ru-central1-a`, and its address `far` is in `ru-central1-d`",
    ] {
        assert!(printed.err.contains(expected), "{expected}: {}", printed.err);
    }
    assert!(project.cloud.calls().iter().all(|call| !call.changes()));
}

/// Machines that do not start are no reason to wait: the change that lets them start is made.
#[tokio::test(flavor = "multi_thread")]
async fn yandex_a_group_that_does_not_come_to_rest_is_repaired_by_a_change() {
    let (folder, cloud) = (tempfile::tempdir().unwrap(), Cloud::start().await);
    let file = JUDGED.replace("resources: {memory: 2}", "resources: {memory: 8}");
    apply(folder.path(), &cloud, &file).await;
    cloud.edit("dev-app-1", |machine| machine["memberStatus"] = "CREATING_INSTANCE".into());
    let begun = Instant::now();
    assert_eq!(apply(folder.path(), &cloud, JUDGED).await, tally(0, 1, 0));
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    assert_eq!(apply(folder.path(), &cloud, JUDGED).await, tally(0, 0, 0));
}

/// What is checked already has as much time as what is checked for the first time.
#[tokio::test(flavor = "multi_thread")]
async fn yandex_a_group_whose_check_stays_has_its_time() {
    let (folder, cloud) = (tempfile::tempdir().unwrap(), Cloud::start().await);
    let file = JUDGED.replace("patience: 1s", "patience: 20s");
    apply(folder.path(), &cloud, &file).await;
    cloud.edit("dev-app-1", |machine| machine["memberStatus"] = "CHECKING_HEALTH".into());
    let later = cloud.clone();
    let heals = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(4)).await;
        later.edit("dev-app-1", |machine| machine["memberStatus"] = "RUNNING_ACTUAL".into());
    });
    // One machine less: the check stays.
    assert_eq!(apply(folder.path(), &cloud, &file.replace("node_count: 2", "node_count: 1")).await, tally(0, 1, 0));
    heals.await.unwrap();
}

/// The check decides when a new machine counts, where nothing has to be installed on it first.
#[tokio::test(flavor = "multi_thread")]
async fn yandex_a_rollout_waits_for_the_check_unless_playbooks_configure_the_machines() {
    let (folder, cloud) = (tempfile::tempdir().unwrap(), Cloud::start().await);
    let project = folder.path();
    apply(project, &cloud, JUDGED).await;
    let rollout = async |file: &str| -> Vec<Value> {
        let before = cloud.calls().len();
        assert_eq!(apply(project, &cloud, file).await, tally(0, 1, 0));
        let calls = cloud.calls().split_off(before);
        let changes = calls.iter().filter(|call| call.method == "PATCH" && call.path.contains("/instanceGroups/"));
        changes.map(|call| call.body.get("healthChecksSpec").cloned().unwrap_or_else(|| "as it is".into())).collect()
    };
    assert_eq!(rollout(&JUDGED.replace("memory: 2", "memory: 4")).await, ["as it is"]);
    std::fs::write(project.join("dev/site.yml"), "- hosts: all\n  tasks: []\n").unwrap();
    let configured = format!("{}playbooks: [site.yml]\n", JUDGED.replace("memory: 2", "memory: 8"));
    // It comes back once the machines are configured, which this command leaves to a later one.
    let sent = rollout(&configured).await;
    assert!(sent.len() == 1 && sent[0].is_null(), "{sent:?}");
}

/// A part that is applied configures nothing: a group whose machines are all as they were gets its check again, and one
/// with new machines is named.
#[tokio::test(flavor = "multi_thread")]
async fn yandex_a_part_that_is_applied_leaves_a_group_with_its_check() {
    let project = Project::new("").await;
    let (root, cloud) = (project.sandbox.path(""), &project.cloud);
    let one = JUDGED.replace("node_count: 2", "node_count: 1");
    apply(&root, cloud, &one).await;
    project.sandbox.write(infra::project::FILE, &format!("{PROJECT}\n"));
    let check = || cloud.object_in("/compute/v1/instanceGroups", "dev-app")["healthChecksSpec"].clone();
    let run = |file: &str| {
        project.sandbox.write("envs/dev/config.yaml", &written(cloud, file));
        project.run(&["apply", "dev", "--yes", "--target", "instance_group.app"], 0).err
    };
    let warning = "`instance_group.app` has new machines, which are not configured, and no health check";
    // Nothing is to be configured: new machines are checked at once.
    let other = one.replace("resources: {memory: 2}", "resources: {memory: 4}");
    let said = run(&other);
    assert!(!check().is_null() && !said.contains(warning), "{said}");
    project.sandbox.write("envs/dev/site.yml", "- hosts: all\n  tasks: []\n");
    let configured = |file: &str| format!("{file}playbooks: [site.yml]\n");
    let said = run(&configured(&other.replace("path: /ping", "path: /pong")));
    assert!(check().to_string().contains("/pong") && !said.contains(warning), "{said}");
    project.sandbox.write("envs/dev/config.yaml", &written(cloud, &configured(&one)));
    let plan = project.run(&["plan", "dev"], 0).out;
    assert!(
        plan.contains("warning: `instance_group.app`: its machines are exchanged for new ones, which are empty"),
        "{plan}"
    );
    let said = run(&configured(&one));
    assert!(check().is_null() && said.contains(warning), "{said}");
}
