//! The keys of machines over the life of an environment.

use std::{path::Path, sync::Arc};

use infra::{
    apply::host_key,
    provider::fake::Fake,
    secret::Redactor,
    state::{Store, Vault},
};

use crate::support::commands::{command, environment};

async fn public_key(project: &Path) -> String {
    let store = Store::new(project, &"dev".parse().unwrap());
    let state = store.read().await.unwrap().unwrap();
    let vault = Vault::open(&state.secrets, store.keys(), Redactor::default()).unwrap();
    vault.get(&format!("{}/public", host_key("a"))).unwrap().expose().to_owned()
}

/// Whoever could read the user-data of a machine knows the host key of its first boot: the next machine has another one.
#[tokio::test]
async fn a_machine_that_is_made_again_has_another_key() {
    let folder = tempfile::tempdir().unwrap();
    let project = folder.path();
    let cloud = Arc::new(Fake::default());
    let file = |image: &str| environment(project, &format!("instances: {{a: {{image_family: {image}}}}}\n"));
    command(project, &file("debian-12"), &cloud, false).await.unwrap();
    let first = public_key(project).await;
    command(project, &file("debian-12"), &cloud, false).await.unwrap();
    assert_eq!(public_key(project).await, first, "nothing has changed");
    command(project, &file("debian-13"), &cloud, false).await.unwrap();
    let second = public_key(project).await;
    assert_ne!(second, first, "it was replaced");
    cloud.lose("vm.a");
    command(project, &file("debian-13"), &cloud, false).await.unwrap();
    assert_ne!(public_key(project).await, second, "it was gone");
}
