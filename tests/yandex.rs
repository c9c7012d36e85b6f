//! The provider `yandex` against a strict simulator of its API: the real program, run as a user runs it.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{
    Printed, Sandbox, repository,
    yandex::{Cloud, FOLDER, Fault},
};

const ORIGINAL: &str = include_str!("golden/original/config.yaml");

/// A project, and the cloud that it is applied to.
struct Project {
    sandbox: Sandbox,
    cloud: Cloud,
}

impl Project {
    async fn new(file: &str) -> Self {
        let key = std::fs::read_to_string(repository().join("tests/golden/yandex/authorized-key.json")).unwrap();
        let sandbox = Sandbox::new()
            .file("envs/dev/config.yaml", file)
            .file("envs/dev/monitoring.yml", "services: {}\n")
            .file("build/prod-docker-compose.yml", "services: {}\n")
            .file("terraform/README.md", "paths start here\n")
            .file("key.json", &key);
        Self { sandbox, cloud: Cloud::start().await }
    }

    /// Runs the program; it may take the simulator's other threads to answer.
    async fn run(&self, arguments: &[&str], code: i32) -> Printed {
        tokio::task::block_in_place(|| {
            let mut command = self.sandbox.command(arguments);
            command
                .env("YC_ENDPOINT", self.cloud.endpoint())
                .env("YC_SERVICE_ACCOUNT_KEY_FILE", self.sandbox.path("key.json"))
                .env_remove("YC_TOKEN")
                .stdin(std::process::Stdio::null());
            self.sandbox.finish(command, arguments, code)
        })
    }
}

fn lines(text: &str, sign: &str) -> Vec<String> {
    text.lines().filter_map(|line| line.strip_prefix(sign)).map(|line| line.trim().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn yandex_the_original_environment_plans_unchanged() {
    let file = ORIGINAL.replace("b1gla0rq0g8628fo9b0o", FOLDER);
    let project = Project::new(&file).await;
    let printed = project.run(&["plan", "dev", "--files-root", "terraform"], 0).await;
    let created: Vec<String> =
        lines(&printed.out, "+ ").iter().map(|line| line.split_whitespace().next().unwrap().to_owned()).collect();
    assert_eq!(
        created,
        [
            "disk.dev-postgresql-data",
            "gateway.egress",
            "instance_group.dev-bingo",
            "network.dev-bingo-network",
            "role_binding.dev-bingo-ig-sa",
            "route_table.egress",
            "service_account.dev-bingo-ig-sa",
            "subnet.dev-bingo-subnet",
            "vm.dev-bastion",
            "vm.dev-monitoring",
            "vm.dev-nginx",
            "vm.dev-postgresql",
        ],
        "{}",
        printed.out
    );
    assert_eq!(printed.err.matches("`family_id` is read as `image_family`").count(), 4, "{}", printed.err);
    // One list a kind, and nothing else: no object was asked for by itself.
    let calls: Vec<String> = project.cloud.calls().into_iter().map(|call| call.path).collect();
    assert!(calls.iter().filter(|path| *path != "/iam/v1/tokens").count() <= 10, "{calls:?}");
    assert_eq!(calls.iter().filter(|path| *path == "/iam/v1/tokens").count(), 1, "{calls:?}");
    assert_eq!(project.cloud.names(), Vec::<String>::new());
}
