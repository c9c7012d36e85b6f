//! The ranges of subnets in Yandex Cloud: they grow and move in place, and what has an address in one keeps it.

use infra::{
    cloud::yandex::{Client, Credentials, Settings, auth::Key},
    plan::Action,
    provider::{Finding, Provider},
    resource::Resource,
};
use serde_json::json;

use crate::{
    support::{
        Sandbox,
        commands::{changes, command, owner},
        repository,
        yandex::Cloud,
    },
    yandex::{apply, load, tally},
};

const FILE: &str = "
provider: yandex
yandex: {folder_id: b1gsimulated0folder00, endpoint: 'ENDPOINT', service_account_key_file: KEY}
network: {subnets: {a: {v4_cidr_blocks: [10.1.0.0/24]}, empty: {v4_cidr_blocks: [10.3.0.0/24]}}}
instances: {db: {network: {subnet: a}, resources: {memory: 4, secondary_disk_size: 5}}}
";

fn ranges(cloud: &Cloud, name: &str) -> serde_json::Value {
    cloud.object_in("/vpc/v1/subnets", name)["v4CidrBlocks"].clone()
}

/// What is wrong with the changes of a file, as an apply asks before its first write.
async fn wrong(project: &std::path::Path, cloud: &Cloud, text: &str) -> Vec<Finding> {
    let (environment, provider) = load(project, cloud, text);
    let planned = changes(project, &environment, &provider, false).await.unwrap();
    assert!(!planned.iter().any(|change| change.action == Action::Replace), "nothing is replaced");
    let changed: Vec<Resource> =
        planned.into_iter().filter(|one| one.action == Action::Update).filter_map(|one| one.after).collect();
    let found = provider.diagnose(&owner(&environment), &[], &changed).await;
    found.into_iter().filter(|one| !one.ok && one.needed).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn yandex_subnets_keep_what_is_in_their_ranges() {
    let (folder, cloud) = (tempfile::tempdir().unwrap(), Cloud::start().await);
    let project = folder.path();
    apply(project, &cloud, FILE).await;
    let ids = cloud.ids();
    // A range that nothing has an address in is exchanged in place.
    let moved = FILE.replace("10.3.0.0/24", "10.4.0.0/24");
    assert!(wrong(project, &cloud, &moved).await.is_empty());
    // The network lets in what its subnets have.
    assert_eq!(apply(project, &cloud, &moved).await, tally(0, 2, 0));
    assert_eq!(ranges(&cloud, "dev-empty"), json!(["10.4.0.0/24"]));
    // One that a machine has an address in stays: before the first write, and once more when it is removed.
    let other = moved.replace("10.1.0.0/24", "10.2.0.0/24");
    let found = wrong(project, &cloud, &other).await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].detail.starts_with("10.1.0.0/24 is in use by 10.1.0."), "{found:?}");
    assert!(found[0].hint.contains("keep the range"), "{found:?}");
    assert_eq!(found[0].asked.as_ref().unwrap().value, "10.2.0.0/24");
    cloud.forget_calls();
    let (environment, provider) = load(project, &cloud, &other);
    let error = command(project, &environment, &provider, false).await.unwrap_err();
    assert!(error.to_string().contains("10.1.0.0/24 is in use by 10.1.0."), "{error}");
    assert!(!cloud.calls().iter().any(|call| call.path.ends_with("-cidr-blocks")));
    // A larger one cannot take its place either.
    let larger = moved.replace("10.1.0.0/24", "10.1.0.0/16");
    let found = wrong(project, &cloud, &larger).await;
    assert_eq!(found[0].detail, "10.1.0.0/16 overlaps 10.1.0.0/24, which the subnet has");
    // Beside it there is room.
    let beside = moved.replace("10.1.0.0/24", "10.2.0.0/24, 10.1.0.0/24");
    assert!(wrong(project, &cloud, &beside).await.is_empty());
    assert_eq!(apply(project, &cloud, &beside).await, tally(0, 2, 0));
    assert_eq!(ranges(&cloud, "dev-a"), json!(["10.1.0.0/24", "10.2.0.0/24"]));
    assert_eq!(apply(project, &cloud, &beside).await, tally(0, 0, 0));
    assert_eq!(cloud.ids(), ids);
}

/// What the state does not know is taken over as it is, in whichever order the service has its ranges.
#[tokio::test(flavor = "multi_thread")]
async fn yandex_subnets_of_a_lost_state_stay() {
    let (folder, cloud) = (tempfile::tempdir().unwrap(), Cloud::start().await);
    let (project, file) = (folder.path(), FILE.replace("10.1.0.0/24", "10.1.0.0/24, 10.2.0.0/24"));
    let file = &file[..file.find("instances").unwrap()];
    apply(project, &cloud, file).await;
    let ids = cloud.ids();
    cloud.edit("dev-a", |subnet| subnet["v4CidrBlocks"] = json!(["10.2.0.0/24", "10.1.0.0/24"]));
    std::fs::remove_dir_all(project.join(".infra")).unwrap();
    let adopted = apply(project, &cloud, file).await;
    assert_eq!((adopted.created, adopted.destroyed), (0, 0), "{adopted:?}");
    assert_eq!(cloud.ids(), ids);
    assert_eq!(ranges(&cloud, "dev-a"), json!(["10.2.0.0/24", "10.1.0.0/24"]));
    assert_eq!(apply(project, &cloud, file).await, tally(0, 0, 0));
}

/// The simulator is as strict as the service: ranges do not overlap, and what is in use stays.
#[tokio::test(flavor = "multi_thread")]
async fn yandex_subnets_refuse_what_the_service_refuses() {
    let (folder, cloud) = (tempfile::tempdir().unwrap(), Cloud::start().await);
    let project = folder.path();
    apply(project, &cloud, FILE).await;
    let key = std::fs::read_to_string(repository().join("tests/golden/yandex/authorized-key.json")).unwrap();
    let settings = Settings { endpoint: Some(cloud.endpoint()), ..Settings::default() };
    let client = Client::new(settings, Credentials::Key(Key::parse(&key).unwrap())).unwrap();
    let id = cloud.object_in("/vpc/v1/subnets", "dev-a")["id"].as_str().unwrap().to_owned();
    let used = client.used_addresses(&id).await.unwrap();
    assert_eq!(used.len(), 1);
    let error = client.add_cidr_blocks(&id).v4_cidr_blocks(vec!["10.3.0.0/16"]).send("one").await.unwrap_err();
    assert!(error.to_string().contains("overlaps"), "{error}");
    client.add_cidr_blocks(&id).v4_cidr_blocks(vec!["10.9.0.0/24"]).send("two").await.unwrap();
    let error = client.remove_cidr_blocks(&id).v4_cidr_blocks(vec!["10.1.0.0/24"]).send("three").await.unwrap_err();
    assert!(error.to_string().contains("in use"), "{error}");
}

/// Elsewhere a subnet has one range, and the mistake has its place.
#[test]
fn subnets_have_one_range_elsewhere() {
    for provider in ["docker", "aws"] {
        let sandbox = Sandbox::new();
        let text = format!(
            "provider: {provider}\nnetwork: {{subnets: {{a: {{v4_cidr_blocks: [10.1.0.0/24, 10.2.0.0/24]}}}}}}\n"
        );
        sandbox.write("envs/dev/config.yaml", &text);
        let printed = sandbox.run(&["validate", "dev"], 2);
        let says =
            format!("config.yaml:2:25: error: a subnet has exactly one address range with provider `{provider}`");
        assert!(printed.err.contains(&says), "{}", printed.err);
    }
}
