//! Names in a folder of Yandex Cloud that someone else's objects have.

use serde_json::json;

use crate::{
    support::{
        commands::command,
        yandex::{Call, Cloud},
    },
    yandex::{apply, load},
};

const FILE: &str = "
provider: yandex
yandex: {folder_id: b1gsimulated0folder00, endpoint: 'ENDPOINT', service_account_key_file: KEY}
network: {subnets: {a: {v4_cidr_blocks: [10.1.0.0/24]}}}
service_accounts: {robots: {roles: [viewer]}}
nginx: {front: {nodes: 2, resources: {memory: 2}, upstreams: {}, locations: {}}}
";

#[tokio::test(flavor = "multi_thread")]
async fn yandex_names_that_are_taken_are_found_in_one_run_before_the_first_write() {
    let (folder, model, cloud) = (tempfile::tempdir().unwrap(), Cloud::start().await, Cloud::start().await);
    apply(folder.path(), &model, FILE).await;
    let mut taken = Vec::new();
    let kinds = ["/vpc/v1/networks", "/vpc/v1/gateways", "/iam/v1/serviceAccounts", "/load-balancer/v1/targetGroups"];
    for kind in kinds {
        for object in model.objects_in(kind) {
            let name = object["name"].as_str().unwrap().to_owned();
            let mut body = json!({ "name": name });
            if kind.ends_with("gateways") {
                body["sharedEgressGatewaySpec"] = json!({});
            }
            if kind.ends_with("targetGroups") {
                body["regionId"] = object["regionId"].clone();
            }
            cloud.make(kind, body);
            taken.push(name);
        }
    }
    assert!(taken.len() >= kinds.len(), "{taken:?}");
    let other = tempfile::tempdir().unwrap();
    let (environment, provider) = load(other.path(), &cloud, FILE);
    cloud.forget_calls();
    let error = command(other.path(), &environment, &provider, false).await.unwrap_err();
    for name in &taken {
        let mistake = error.diagnostics().iter().find(|one| one.message.contains(&format!("the name `{name}`")));
        let mistake = mistake.unwrap_or_else(|| panic!("{name}: {error:?}"));
        assert!(mistake.location.is_some() && mistake.hint.as_ref().unwrap().contains("infra import"), "{mistake:?}");
    }
    assert_eq!(error.diagnostics().len(), taken.len());
    assert!(!cloud.calls().iter().any(Call::changes), "{:?}", cloud.calls());
}
