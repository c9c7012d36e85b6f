//! What earlier versions made on AWS, and what a lost state leaves: nothing with data is replaced, and databases get passwords
//! that open them.

use infra::{
    cloud::aws::ec2::Subnet,
    plan::{Action, Known, diff},
    provider::Provider as _,
    secret::Redactor,
    state::{Store, Vault},
};
use serde_json::Value;

use crate::{
    aws::{apply, destroy, load, machine},
    aws_repair::{DATABASE, planned},
    support::{commands::owner, moto::Moto},
};

/// The password that the state has for a login.
async fn password(project: &std::path::Path, secret: &str) -> String {
    let store = Store::new(project, &"dev".parse().unwrap());
    let state = store.read().await.unwrap().unwrap();
    let vault = Vault::open(&state.secrets, store.keys(), Redactor::default()).unwrap();
    vault.get(&format!("secret/{secret}")).unwrap().expose().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn aws_a_database_that_the_state_does_not_know_gets_passwords_that_open_it() {
    let (folder, moto) = (tempfile::tempdir().unwrap(), Moto::start().await);
    let project = folder.path();
    apply(project, &moto, DATABASE).await;
    let first = password(project, "postgres_main_app").await;
    assert_eq!(moto.passwords(), std::slice::from_ref(&first));
    let server = moto.client().db_instances().await.unwrap().remove(0).identifier;
    // The state is lost, and the password with it.
    std::fs::remove_dir_all(project.join(".infra")).unwrap();
    let (environment, provider) = load(project, &moto, DATABASE);
    let observed = provider.list(&owner(&environment)).await.unwrap();
    let pending = std::collections::BTreeMap::new();
    let known = Known { state: None, pending: &pending, observed: &observed, policy: provider.policy() };
    let changes = diff(&provider.resources(&environment), known).unwrap();
    let change = changes.iter().find(|change| change.address.to_string() == "postgres.main").unwrap();
    assert_eq!(change.action, Action::Update);
    assert!(change.reason.contains("the state does not know it: its logins get new passwords"), "{}", change.reason);
    apply(project, &moto, DATABASE).await;
    let second = password(project, "postgres_main_app").await;
    assert_ne!(first, second);
    assert_eq!(moto.passwords(), [second], "the server has the password that the state has");
    assert_eq!(moto.client().db_instances().await.unwrap().remove(0).identifier, server, "it is the same server");
    assert_eq!(planned(project, &moto, DATABASE).await, Vec::<String>::new());
    destroy(project, &moto).await;
}

/// A state as an earlier version wrote it: one range for the network, the second zone under its old name, and no fields that
/// came later.
fn older(state: &str) -> String {
    let mut state: Value = serde_json::from_str(&state.replace("second-zone", "other-zone")).unwrap();
    let resources = state["resources"].as_object_mut().unwrap();
    for (address, entry) in resources {
        let spec = entry["spec"].as_object_mut().unwrap();
        if address.starts_with("subnet.") {
            spec.remove("prefix");
        }
        if address == "subnet.other-zone" {
            spec.insert("cidr".to_owned(), "10.40.1.0/28".into());
        }
        if address == "network.main" {
            spec.remove("ssh_from");
            spec.insert("cidr".to_owned(), "10.40.0.0/23".into());
        }
        if address.starts_with("vm.") {
            spec.remove("security_groups");
        }
    }
    state.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn aws_a_state_of_an_earlier_version_loses_nothing_with_data() {
    let (folder, moto) = (tempfile::tempdir().unwrap(), Moto::start().await);
    let project = folder.path();
    let before = moto.count().await;
    let file = DATABASE.replace("resources: {memory: 2}", "resources: {memory: 2, secondary_disk_size: 5}");
    // The network covered more than the file names: the second zone was beside the subnet, which was divided in two halves.
    for (now, then) in [
        ("CidrBlock=10.40.0.0%2F24", "CidrBlock=10.40.0.0%2F23"),
        ("CidrBlock=10.40.0.128%2F26", "CidrBlock=10.40.0.128%2F25"),
        ("CidrBlock=10.40.1.240%2F28", "CidrBlock=10.40.1.0%2F28"),
    ] {
        moto.rewrite(now, then);
    }
    apply(project, &moto, &file).await;
    moto.rewrite_nothing();
    let client = moto.client();
    let subnet = async |name: &str| {
        let found = client.list::<Subnet>(&[("tag:infra-id", name)]).await.unwrap();
        found.into_iter().map(|one| (one.subnet_id, one.cidr_block)).next()
    };
    let (spare, range) = subnet("subnet.second-zone").await.unwrap();
    assert_eq!(range, "10.40.1.0/28");
    assert_eq!(subnet("subnet.a-public").await.unwrap().1, "10.40.0.128/25");
    let tag = serde_json::json!({ "Key": "infra-id", "Value": "subnet.other-zone" });
    client.create_tags().resource_id(vec![&spare]).tag(vec![tag]).send().await.unwrap();
    let path = project.join(".infra/dev/state.json");
    let state = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, older(&state)).unwrap();
    let server = client.db_instances().await.unwrap().remove(0).identifier;
    let db = machine(&moto, "dev-db").await.instance_id;
    let plan = planned(project, &moto, &file).await;
    assert!(plan.iter().all(|line| !line.starts_with('±')), "{plan:?}");
    let removed: Vec<&String> = plan.iter().filter(|line| line.starts_with('-')).collect();
    assert_eq!(removed, ["- subnet.other-zone"], "{plan:?}");
    apply(project, &moto, &file).await;
    assert_eq!(planned(project, &moto, &file).await, Vec::<String>::new());
    assert_eq!(client.db_instances().await.unwrap().remove(0).identifier, server);
    assert_eq!(machine(&moto, "dev-db").await.instance_id, db);
    assert!(subnet("subnet.other-zone").await.is_none());
    let (second, range) = subnet("subnet.second-zone").await.unwrap();
    assert_eq!(range, "10.40.1.240/28", "in the room that the network has had from the beginning");
    let group = client.db_subnet_groups().await.unwrap().remove(0);
    assert!(group.subnets.iter().any(|one| one.subnet_identifier == second), "{group:?}");
    destroy(project, &moto).await;
    assert_eq!(moto.count().await, before);
}
