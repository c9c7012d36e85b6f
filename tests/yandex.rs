//! The provider `yandex` against a strict simulator of its API: the real program, run as a user runs it.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use infra::{apply::Tally, config::Environment, provider::yandex::Yandex, state::Store};
use serde_json::json;
use tokio::sync::Notify;

use crate::{
    e2e,
    support::{
        Printed, Sandbox,
        commands::{PROJECT, command, destroy_by_label, environment},
        containers::Containers,
        repository,
        yandex::{Call, Cloud, FOLDER, Fault},
    },
};

const ORIGINAL: &str = include_str!("golden/original/config.yaml");

/// A project, and the cloud that it is applied to.
pub(crate) struct Project {
    pub(crate) sandbox: Sandbox,
    pub(crate) cloud: Cloud,
}

impl Project {
    pub(crate) async fn new(file: &str) -> Self {
        let key = std::fs::read_to_string(repository().join("tests/golden/yandex/authorized-key.json")).unwrap();
        let sandbox = Sandbox::new()
            .file("envs/dev/config.yaml", file)
            .file("envs/dev/monitoring.yml", "services: {}\n")
            .file("build/prod-docker-compose.yml", "services: {}\n")
            .file("terraform/README.md", "paths start here\n")
            .file("key.json", &key);
        Self { sandbox, cloud: Cloud::start().await }
    }

    /// The program with the cloud's address and credentials.
    pub(crate) fn command(&self, arguments: &[&str]) -> std::process::Command {
        let mut command = self.sandbox.command(arguments);
        command
            .env("YC_ENDPOINT", self.cloud.endpoint())
            .env("YC_SERVICE_ACCOUNT_KEY_FILE", self.sandbox.path("key.json"))
            .env_remove("YC_TOKEN")
            .stdin(std::process::Stdio::null());
        command
    }

    /// Runs the program; it may take the simulator's other threads to answer.
    pub(crate) fn run(&self, arguments: &[&str], code: i32) -> Printed {
        tokio::task::block_in_place(|| self.sandbox.finish(self.command(arguments), arguments, code))
    }
}

fn lines(text: &str, sign: &str) -> Vec<String> {
    text.lines().filter_map(|line| line.strip_prefix(sign)).map(|line| line.trim().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn yandex_the_original_environment_plans_unchanged() {
    let file = ORIGINAL.replace("b1gla0rq0g8628fo9b0o", FOLDER);
    let project = Project::new(&file).await;
    let printed = project.run(&["plan", "dev", "--files-root", "terraform"], 0);
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
    assert_eq!(calls.iter().filter(|path| *path != "/iam/v1/tokens").count(), 15, "{calls:?}");
    assert_eq!(calls.iter().filter(|path| *path == "/iam/v1/tokens").count(), 1, "{calls:?}");
    assert_eq!(project.cloud.names(), Vec::<String>::new());
}

/// A front of two machines, beside [`FILE`].
const BALANCED: &str = "nginx:
  front:
    nodes: 2
    resources: {memory: 2}
    upstreams: {app: {group: app, port: 80}}
    locations: {/: {upstream: app}}
";

/// Every kind, in one small environment.
pub(crate) const FILE: &str = "
provider: yandex
yandex: {folder_id: b1gsimulated0folder00, endpoint: 'ENDPOINT', service_account_key_file: KEY}
network: {subnets: {a: {v4_cidr_blocks: [10.1.0.0/24]}}, firewall: {web: {groups: [web], ports: [80, 443]}}}
service_accounts: {robots: {roles: [editor, viewer]}}
instances:
  bastion: {network: {nat: true}, resources: {memory: 2}}
  web: {ansible_groups: [web], network: {nat: true}, resources: {memory: 2}}
  db: {resources: {memory: 4, secondary_disk_size: 5}}
instance_groups:
  app: {node_count: 2, service_account: robots, resources: {memory: 2}}
";

/// A file as a user would write it for this cloud.
pub(crate) fn written(cloud: &Cloud, text: &str) -> String {
    let key = repository().join("tests/golden/yandex/authorized-key.json");
    text.replace("ENDPOINT", &cloud.endpoint()).replace("KEY", &key.display().to_string())
}

pub(crate) fn load(project: &Path, cloud: &Cloud, text: &str) -> (Environment, Arc<Yandex>) {
    // Exactly one provider of cryptography in a process.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let environment = environment(project, &written(cloud, text));
    let provider = Arc::new(Yandex::open(&environment).unwrap());
    (environment, provider)
}

/// Applies a file or destroys it.
pub(crate) async fn apply(project: &Path, cloud: &Cloud, text: &str) -> Tally {
    run(project, cloud, text, false).await
}

/// A command that ends in good time.
async fn run(project: &Path, cloud: &Cloud, text: &str, destroy: bool) -> Tally {
    let (environment, provider) = load(project, cloud, text);
    let work = command(project, &environment, &provider, destroy);
    match tokio::time::timeout(Duration::from_mins(1), work).await {
        Ok(ended) => ended.unwrap_or_else(|error| panic!("{error}")),
        Err(_) => {
            let calls = cloud.calls();
            panic!("it has not ended; the last calls: {:#?}", &calls[calls.len().saturating_sub(4)..]);
        }
    }
}

pub(crate) async fn destroy(project: &Path, cloud: &Cloud) -> Tally {
    destroy_file(project, cloud, FILE).await
}

pub(crate) async fn destroy_file(project: &Path, cloud: &Cloud, text: &str) -> Tally {
    run(project, cloud, text, true).await
}

/// The plan of a file, with the exit code that it has.
pub(crate) async fn planned(text: &str, code: i32) -> (Project, Printed) {
    let project = Project::new("").await;
    project.sandbox.write("envs/dev/config.yaml", &written(&project.cloud, text));
    let printed = project.run(&["plan", "dev"], code);
    (project, printed)
}

pub(crate) fn tally(created: usize, changed: usize, destroyed: usize) -> Tally {
    Tally { created, changed, destroyed }
}

#[tokio::test(flavor = "multi_thread")]
async fn yandex_the_life_of_an_environment() {
    let (folder, cloud) = (tempfile::tempdir().unwrap(), Cloud::start().await);
    let project = folder.path();
    // Pages of two objects: everything is found all the same.
    cloud.page(2);
    assert_eq!(apply(project, &cloud, FILE).await, tally(12, 0, 0));
    let everything = [
        "binding compute.editor",
        "binding editor",
        "binding iam.serviceAccounts.user on dev-robots",
        "binding viewer",
        "binding vpc.user",
        "disks dev-db-data",
        "gateways dev-egress",
        "instanceGroups dev-app",
        "instances dev-app-1",
        "instances dev-app-2",
        "instances dev-bastion",
        "instances dev-db",
        "instances dev-web",
        "networks dev",
        "routeTables dev-egress",
        "securityGroups dev-ports-80-443",
        "securityGroups dev-ssh",
        "serviceAccounts dev-app-group",
        "serviceAccounts dev-robots",
        "subnets dev-a",
    ];
    assert_eq!(cloud.names(), everything);
    // Closed by default: the network's own group lets nothing in, and only `web` is in another one.
    let network = cloud.object("dev")["defaultSecurityGroupId"].as_str().unwrap().to_owned();
    let rules = cloud.object(&format!("default-sg-{}", cloud.object("dev")["id"].as_str().unwrap()))["rules"].clone();
    let inward: Vec<_> = rules.as_array().unwrap().iter().filter(|rule| rule["direction"] == "INGRESS").collect();
    assert_eq!(inward.len(), 1, "{rules}");
    assert_eq!(inward[0]["cidrBlocks"]["v4CidrBlocks"], json!(["10.1.0.0/24"]));
    // Port 22 is open on the bastion only.
    let ssh = cloud.object("dev-ssh");
    assert_eq!(ssh["rules"].as_array().unwrap().len(), 1, "{ssh}");
    let groups = |name: &str| cloud.object(name)["networkInterfaces"][0]["securityGroupIds"].clone();
    for (name, is_in) in [("dev-bastion", true), ("dev-web", false), ("dev-db", false)] {
        assert_eq!(groups(name).as_array().unwrap().contains(&ssh["id"]), is_in, "{name}");
    }
    assert_eq!(ssh["rules"][0]["ports"], json!({ "fromPort": "22", "toPort": "22" }));
    assert_eq!(cloud.object("dev-db")["networkInterfaces"][0]["securityGroupIds"], json!([network]));
    assert_eq!(cloud.object("dev-web")["networkInterfaces"][0]["securityGroupIds"].as_array().unwrap().len(), 2);
    assert!(cloud.object("dev-db")["networkInterfaces"][0]["primaryV4Address"].get("oneToOneNat").is_none());

    // Nothing to do: reads only, one list a kind of object, one of the folder's roles and one of the group's machines.
    cloud.page(1000);
    cloud.forget_calls();
    assert_eq!(apply(project, &cloud, FILE).await, tally(0, 0, 0));
    let calls = cloud.calls();
    assert!(calls.iter().all(|call| !call.changes()), "{calls:?}");
    let lists = calls.iter().filter(|call| !call.path.contains("/iam/v1/tokens")).count();
    assert_eq!(lists, 17, "{calls:?}");

    // In place: a group grows, a machine is resized while it is stopped, a port more is opened.
    let grown = FILE
        .replace("node_count: 2", "node_count: 3")
        .replace("db: {resources: {memory: 4,", "db: {resources: {cores: 4, memory: 8,");
    cloud.forget_calls();
    assert_eq!(apply(project, &cloud, &grown).await, tally(0, 2, 0));
    assert!(cloud.names().contains(&"instances dev-app-3".to_owned()));
    assert_eq!(cloud.object("dev-db")["resources"]["cores"], "4");
    let verbs: Vec<String> = cloud.calls().iter().filter_map(|c| Some(c.path.rsplit_once(':')?.1.to_owned())).collect();
    assert!(verbs.contains(&"stop".to_owned()) && verbs.contains(&"start".to_owned()), "{verbs:?}");
    let opened =
        FILE.replace("[80, 443]", "[80, 443, 8080]").replace("secondary_disk_size: 5", "secondary_disk_size: 8");
    assert_eq!(apply(project, &cloud, &opened).await, tally(1, 4, 1));
    assert!(cloud.names().contains(&"securityGroups dev-ports-80-443-8080".to_owned()));
    assert!(!cloud.names().contains(&"securityGroups dev-ports-80-443".to_owned()));
    // A public address more, without a new machine.
    let id = cloud.object("dev-db")["id"].clone();
    let public = FILE.replace("db: {resources", "db: {network: {nat: true}, resources").replace("size: 5", "size: 8");
    apply(project, &cloud, &public).await;
    assert_eq!(cloud.object("dev-db")["id"], id);
    assert!(cloud.object("dev-db")["networkInterfaces"][0]["primaryV4Address"].get("oneToOneNat").is_some());
    // Another image is another machine; its disk stays.
    let disk = cloud.object("dev-db-data")["id"].clone();
    let other =
        FILE.replace("db: {resources", "db: {image_family: ubuntu-2204-lts, resources").replace("size: 5", "size: 8");
    apply(project, &cloud, &other).await;
    assert_ne!(cloud.object("dev-db")["id"], id);
    assert_eq!(cloud.object("dev-db-data")["id"], disk);

    let gone = destroy(project, &cloud).await;
    assert_eq!(gone.destroyed, 12);
    assert_eq!(cloud.names(), Vec::<String>::new());
    assert!(Store::new(project, &"dev".parse().unwrap()).read().await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn yandex_what_changes_behind_our_back_is_mended() {
    let (folder, cloud) = (tempfile::tempdir().unwrap(), Cloud::start().await);
    let project = folder.path();
    apply(project, &cloud, FILE).await;
    // Someone made a machine smaller, stopped another, opened the web's group, and removed a third one.
    cloud.edit("dev-db", |machine| machine["resources"]["memory"] = (2_i64 << 30).to_string().into());
    cloud.edit("dev-bastion", |machine| machine["status"] = "STOPPED".into());
    cloud.edit("dev-ports-80-443", |group| group["rules"][0]["ports"] = json!({ "fromPort": "23", "toPort": "23" }));
    let network = format!("default-sg-{}", cloud.object("dev")["id"].as_str().unwrap());
    cloud.edit(&network, |group| {
        let open =
            json!({ "direction": "INGRESS", "protocolName": "ANY", "cidrBlocks": { "v4CidrBlocks": ["0.0.0.0/0"] } });
        group["rules"].as_array_mut().unwrap().push(open);
    });
    cloud.lose("dev-web");
    assert_eq!(apply(project, &cloud, FILE).await, tally(1, 4, 0));
    assert_eq!(cloud.object(&network)["rules"].as_array().unwrap().len(), 2);
    assert_eq!(cloud.object("dev-db")["resources"]["memory"], (4_i64 << 30).to_string());
    assert_eq!(cloud.object("dev-bastion")["status"], "RUNNING");
    // The cloud itself heals its groups: the new machine is known by the second look.
    let before = cloud.object("dev-app-2")["id"].clone();
    cloud.lose("dev-app-2");
    assert_ne!(cloud.object("dev-app-2")["id"], before);
    assert_eq!(apply(project, &cloud, FILE).await, tally(0, 0, 0));
    let state = std::fs::read_to_string(project.join(".infra/dev/state.json")).unwrap();
    assert!(state.contains(cloud.object("dev-app-2")["id"].as_str().unwrap()));
    // The state is lost: what carries our labels is found, and goes.
    std::fs::remove_dir_all(project.join(".infra")).unwrap();
    let (environment, provider) = load(project, &cloud, FILE);
    destroy_by_label(project, &environment, &provider).await.unwrap();
    assert_eq!(cloud.names(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn yandex_two_projects_have_an_environment_of_one_name_in_one_folder() {
    let file = FILE.replace("ENDPOINT", "").replace("endpoint: '', ", "").replace("KEY}", "'../../key.json'}");
    let subnets = format!(
        "{}\n",
        file.lines().take_while(|line| !line.starts_with("service_accounts")).collect::<Vec<_>>().join("\n")
    );
    let subnets = subnets.replace(", firewall: {web: {groups: [web], ports: [80, 443]}}", "");
    let first = Project::new(&subnets).await;
    let second = Project { cloud: first.cloud.clone(), ..Project::new(&subnets).await };
    first.run(&["apply", "dev", "--yes"], 0).silent();
    let once = first.cloud.names();
    second.run(&["apply", "dev", "--yes"], 0).silent();
    assert_eq!(first.cloud.names().len(), 2 * once.len(), "{:?}", first.cloud.names());
    assert!(first.run(&["plan", "dev"], 0).out.contains("resources: nothing to do"));
    second.run(&["destroy", "dev", "--yes"], 0).silent();
    assert_eq!(first.cloud.names(), once);
    // Another checkout of the first one that does not say so is told what to do; then it can plan and destroy.
    let checkout = Project { cloud: first.cloud.clone(), ..Project::new(&subnets).await };
    let id = infra::project::read(first.sandbox.folder.path()).unwrap().unwrap().to_string();
    let said = checkout.run(&["destroy", "dev", "--yes"], 0).err;
    let whose = format!("there is a `dev` of the project `{id}`, and this folder has no `.infra-project`");
    assert!(said.contains(&whose) && said.contains("write its id into that file"), "{said}");
    checkout.sandbox.write(infra::project::FILE, &id);
    assert!(!checkout.run(&["plan", "dev"], 0).out.contains("to create"));
    checkout.run(&["destroy", "dev", "--yes", "--by-label"], 0);
    assert_eq!(first.cloud.names(), Vec::<String>::new());
    first.run(&["apply", "dev", "--yes", "--forget"], 0);
    assert!(first.run(&["plan", "dev"], 0).out.contains("resources: nothing to do"));
    first.run(&["destroy", "dev", "--yes"], 0).silent();
    assert_eq!(first.cloud.names(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn yandex_a_stranger_is_not_touched() {
    let (folder, cloud) = (tempfile::tempdir().unwrap(), Cloud::start().await);
    apply(folder.path(), &cloud, FILE).await;
    cloud.edit("dev-web", |machine| machine["labels"] = json!({}));
    let (environment, provider) = load(folder.path(), &cloud, FILE);
    cloud.forget_calls();
    let error = command(folder.path(), &environment, &provider, false).await.unwrap_err();
    let [mistake] = error.diagnostics() else { panic!("{error:?}") };
    assert!(mistake.message.contains("the name `dev-web-"), "{mistake:?}");
    assert!(mistake.message.contains("was not created by this environment"), "{mistake:?}");
    let line = FILE.lines().position(|line| line.trim_start().starts_with("web: {")).unwrap() + 1;
    assert_eq!(mistake.location.as_ref().map(|place| place.line), Some(line));
    assert!(!cloud.calls().iter().any(Call::changes), "nothing was changed: {:?}", cloud.calls());
    assert!(cloud.names().contains(&"instances dev-web".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn yandex_faults_that_pass_are_not_noticed() {
    let (folder, cloud) = (tempfile::tempdir().unwrap(), Cloud::start().await);
    // Every third call is refused for a moment, or its answer is lost; tokens expire on the way.
    let (count, expiring) = (AtomicUsize::new(0), cloud.clone());
    cloud.faults(move |_| match count.fetch_add(1, Ordering::SeqCst) % 9 {
        2 => Some(Fault::Refuse(503, 14)),
        5 => Some(Fault::LoseAnswer),
        7 => Some(Fault::Refuse(429, 8)),
        _ => None,
    });
    assert_eq!(apply(folder.path(), &cloud, FILE).await, tally(12, 0, 0));
    cloud.no_faults();
    expiring.expire_tokens();
    assert_eq!(cloud.names().len(), 20);
    assert_eq!(apply(folder.path(), &cloud, FILE).await, tally(0, 0, 0));
    // Every call of one intent has one key, and no key is used for two.
    let calls: Vec<_> = cloud.calls().into_iter().filter(super::support::yandex::Call::changes).collect();
    assert!(calls.iter().all(|call| call.key.as_ref().is_some_and(|key| key.len() == 36)));
    destroy(folder.path(), &cloud).await;
    assert_eq!(cloud.names(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn yandex_a_crash_or_a_failed_operation_anywhere_is_gone_on_from() {
    let mut tried = 0;
    for fault in [None, Some(Fault::FailOperation)] {
        for nth in 0.. {
            let (folder, cloud) = (tempfile::tempdir().unwrap(), Cloud::start().await);
            let project = folder.path();
            let (killed, count) = (Arc::new(Notify::new()), AtomicUsize::new(0));
            let strike = Arc::clone(&killed);
            let struck = Arc::new(AtomicUsize::new(0));
            let seen = Arc::clone(&struck);
            cloud.faults(move |call| {
                if !call.changes() || count.fetch_add(1, Ordering::SeqCst) != nth {
                    return None;
                }
                seen.fetch_add(1, Ordering::SeqCst);
                if fault.is_none() {
                    // The program is gone while the call is on its way: it is carried out, but no one hears of it.
                    strike.notify_one();
                }
                fault
            });
            let (environment, provider) = load(project, &cloud, FILE);
            tokio::select! {
                _ = command(project, &environment, &provider, false) => {}
                // What was being written when the program was killed is on the disk before the next command looks.
                () = killed.notified() => tokio::time::sleep(Duration::from_millis(100)).await,
            }
            if struck.load(Ordering::SeqCst) == 0 {
                break;
            }
            tried += 1;
            cloud.no_faults();
            apply(project, &cloud, FILE).await;
            assert_eq!(cloud.names().len(), 20, "{fault:?} at {nth}: {:?}", cloud.names());
            // Closed, wherever the program was gone.
            let network = cloud.object("dev")["id"].as_str().unwrap().to_owned();
            let rules = cloud.object(&format!("default-sg-{network}"))["rules"].clone();
            assert_eq!(rules[1]["cidrBlocks"]["v4CidrBlocks"], json!(["10.1.0.0/24"]), "{fault:?} at {nth}: {rules}");
            assert_eq!(apply(project, &cloud, FILE).await, tally(0, 0, 0), "{fault:?} at {nth}");
            destroy(project, &cloud).await;
            assert_eq!(cloud.names(), Vec::<String>::new(), "{fault:?} at {nth}");
        }
    }
    println!("{tried} faults, 0 orphans, 0 doubles");
    assert!(tried >= 26, "{tried}");
}

/// The cloud answers the key of a removal that has failed with that failure for ever: the next removal is another one.
#[tokio::test(flavor = "multi_thread")]
async fn yandex_a_failed_removal_is_made_again() {
    let file = format!("{FILE}{BALANCED}");
    for fault in [Fault::FailOperation, Fault::Refuse(400, 9), Fault::LoseAnswer] {
        let (folder, cloud) = (tempfile::tempdir().unwrap(), Cloud::start().await);
        let project = folder.path();
        apply(project, &cloud, &file).await;
        // Operations that take a while fail after they were begun.
        cloud.delay(Duration::from_millis(60));
        // The first removal of each object fails.
        let mut failed = BTreeSet::new();
        cloud.faults(move |call| (call.method == "DELETE" && failed.insert(call.path.clone())).then_some(fault));
        let (environment, provider) = load(project, &cloud, &file);
        let mut rounds = 0;
        while let Err(error) = command(project, &environment, &provider, true).await {
            rounds += 1;
            assert!(rounds < 20, "{fault:?}: {error}");
        }
        assert_eq!(cloud.names(), Vec::<String>::new(), "{fault:?}");
        // No key is used for two calls.
        let mut keys: BTreeMap<String, String> = BTreeMap::new();
        for call in cloud.calls().into_iter().filter(super::support::yandex::Call::changes) {
            let known = keys.entry(call.key.unwrap()).or_insert_with(|| format!("{} {}", call.method, call.path));
            assert_eq!(*known, format!("{} {}", call.method, call.path));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn yandex_a_quota_is_told_with_its_place() {
    let (folder, cloud) = (tempfile::tempdir().unwrap(), Cloud::start().await);
    cloud.quota("/vpc/v1/networks", 0);
    let (environment, provider) = load(folder.path(), &cloud, FILE);
    let error = command(folder.path(), &environment, &provider, false).await.unwrap_err();
    let text = format!("{error} {:?}", error.hints());
    assert!(text.contains("Quota limit vpc.networks.count exceeded"), "{text}");
    assert!(text.contains("simulated-request") && text.contains("config.yaml:4:"), "{text}");
    assert!(text.contains("ask for more"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn yandex_many_machines_at_once_stay_within_the_clouds_limit() {
    let (folder, cloud) = (tempfile::tempdir().unwrap(), Cloud::start().await);
    let mut text = FILE.split("instances:").next().unwrap().to_owned() + "instances:\n";
    for number in 0..40 {
        text += &format!("  m{number}: {{resources: {{memory: 2}}}}\n");
    }
    cloud.limit("compute.instances.count", 100);
    cloud.delay(Duration::from_millis(300));
    let begun = Instant::now();
    assert_eq!(
        apply(folder.path(), &cloud, &text.replace(", firewall: {web: {groups: [web], ports: [80, 443]}}", ""))
            .await
            .created,
        46
    );
    println!("40 machines took {:?}, {} operations at once", begun.elapsed(), cloud.most_at_once());
    // Each machine asks for itself after its own operation, and for nothing else.
    let asked = |one: &dyn Fn(&str) -> bool| {
        cloud.calls().iter().filter(|call| call.method == "GET" && one(&call.path)).count()
    };
    // The plan lists them, and before the first write it is looked whether their names are free.
    assert_eq!(asked(&|path| path == "/compute/v1/instances"), 2);
    assert_eq!(asked(&|path| path.starts_with("/compute/v1/instances/")), 40);
    assert!(cloud.most_at_once() <= 15 && cloud.most_at_once() > 10, "{}", cloud.most_at_once());
}

/// Lists show what is there and wait for nothing: what is in transition, unhealthy or stuck is shown, and can be destroyed.
#[tokio::test(flavor = "multi_thread")]
async fn yandex_what_is_not_at_rest_is_shown_and_can_be_destroyed() {
    let project = Project::new("").await;
    let (root, cloud) = (project.sandbox.path(""), &project.cloud);
    project.sandbox.write("envs/dev/config.yaml", &written(cloud, FILE));
    project.sandbox.write(infra::project::FILE, &format!("{PROJECT}\n"));
    apply(&root, cloud, FILE).await;
    cloud.edit("dev-db", |machine| machine["status"] = "STARTING".into());
    cloud.edit("dev-app-1", |machine| machine["memberStatus"] = "CHECKING_HEALTH".into());
    let begun = Instant::now();
    let plan = project.run(&["plan", "dev"], 0).out;
    let shown = |line: &str| assert!(plan.contains(line), "{plan}");
    shown("vm.db  debian-12, 2 cores, 4096 MB  (it is being created, started or changed, and has not come to rest)");
    shown("instance_group.app  2 of debian-12, 2 cores, 2048 MB  (it runs, and does not pass its health check)");
    shown("resources: nothing to do");
    let listed = project.run(&["ls"], 0);
    assert!(listed.err.contains("dev: `vm.db`: it is being created, started or changed"), "{}", listed.err);
    assert!(listed.err.contains("dev: `instance_group.app`: it runs, and does not pass"), "{}", listed.err);
    // A group that vanishes between two calls is gone, and no reason to fail.
    cloud.faults(|call| {
        call.path
            .ends_with("/instances")
            .then_some(Fault::Refuse(404, 5))
            .filter(|_| !call.changes() && call.path.contains("instanceGroups"))
    });
    let plan = project.run(&["plan", "dev"], 0).out;
    assert!(plan.contains("+ instance_group.app") && plan.contains("(it is gone)"), "{plan}");
    cloud.no_faults();
    // A machine of the group never starts: that is no reason to stay.
    cloud.edit("dev-app-2", |machine| machine["memberStatus"] = "STARTING_INSTANCE".into());
    project.run(&["destroy", "dev", "--yes"], 0).silent();
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    assert_eq!(cloud.names(), Vec::<String>::new());
}

/// What needs a machine at rest waits for it, and for nothing that was true too early.
#[tokio::test(flavor = "multi_thread")]
async fn yandex_an_apply_waits_for_what_comes_to_rest() {
    let (folder, cloud) = (tempfile::tempdir().unwrap(), Cloud::start().await);
    let project = folder.path();
    apply(project, &cloud, FILE).await;
    cloud.edit("dev-db", |machine| machine["status"] = "STARTING".into());
    cloud.edit("dev-bastion", |machine| machine["status"] = "STOPPING".into());
    // The size of a group is filled in a while after it was asked for.
    cloud.edit("dev-app", |group| group["managedInstancesState"]["targetSize"] = "0".into());
    cloud.edit("dev-app-1", |machine| machine["memberStatus"] = "STARTING_INSTANCE".into());
    let later = cloud.clone();
    let rests = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(500)).await;
        later.edit("dev-db", |machine| machine["status"] = "RUNNING".into());
        later.edit("dev-bastion", |machine| machine["status"] = "STOPPED".into());
        later.edit("dev-app-1", |machine| machine["memberStatus"] = "RUNNING_ACTUAL".into());
    });
    // The bastion is started again.
    assert_eq!(apply(project, &cloud, FILE).await, tally(0, 1, 0));
    rests.await.unwrap();
    assert_eq!(cloud.object("dev-bastion")["status"], "RUNNING");
    assert_eq!(apply(project, &cloud, FILE).await, tally(0, 0, 0));
}

/// The shipped dev environment on simulated machines that are real: only the provider and the sizes of machines differ.
#[tokio::test(flavor = "multi_thread")]
async fn e2e_yandex_the_dev_environment_from_nothing_to_nothing() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let owner = format!("e2e-yandex-{}", std::process::id());
    let machines = Arc::new(Containers::new(&owner).await);
    let project = Project::new("").await;
    project.cloud.machines(Arc::<Containers>::clone(&machines));
    e2e::copy(&repository().join("envs/dev"), &project.sandbox.path("envs/dev"));
    let file = project.sandbox.path("envs/dev/config.yaml");
    let edit = |pairs: &[(&str, &str)]| {
        let mut text = std::fs::read_to_string(&file).unwrap();
        for (from, to) in pairs {
            assert!(text.contains(from), "{from}");
            text = text.replace(from, to);
        }
        std::fs::write(&file, text).unwrap();
    };
    edit(&[
        ("provider: docker", "provider: yandex\nfolder_id: b1gsimulated0folder00"),
        ("10.5.0.0/24", "10.177.0.0/24"),
        ("cores: 1, memory: 256M", "cores: 2, memory: 2"),
        ("cores: 1, memory: 512M", "cores: 2, memory: 2"),
        ("cores: 2, memory: 1,", "cores: 2, memory: 2,"),
        ("secondary_disk_size: 5", "secondary_disk_size: 10"),
    ]);
    let first = project.run(&["apply", "dev", "--yes"], 0);
    println!("{}", first.err);
    let output = |name: &str| project.run(&["output", "dev", name], 0).out.trim().to_owned();
    let (url, client) = (output("application"), e2e::http(&output("ca")));
    // Verified by the environment's own authority, on the address that the cloud told.
    let pong = client.get(format!("{url}/ping")).send().await.unwrap();
    assert_eq!((pong.status().as_u16(), pong.text().await.unwrap().as_str()), (200, "pong\n"));
    let ssh = |host: &str, command: &str| project.run(&["ssh", "dev", host, "--", command], 0).out;
    assert_eq!(ssh("bingo-1", "hostname").trim(), "bingo-1");
    // The database is the cloud's own: no machine of ours, and the application has filled it.
    assert!(project.cloud.names().contains(&"clusters dev-main".to_owned()), "{:?}", project.cloud.names());
    assert!(!project.cloud.names().iter().any(|name| name.contains("postgres")), "{:?}", project.cloud.names());
    let movies = client.get(format!("{url}/db_dummy")).send().await.unwrap();
    assert_eq!(movies.status().as_u16(), 200);
    // What the user-data asked cloud-init for: a login without a password, and only the host key that we made.
    let shown = ssh("bingo-1", "ls /etc/ssh/ssh_host_*; sudo sshd -T | grep -i '^passwordauthentication'");
    assert_eq!(shown.matches("ssh_host_").count(), 2, "{shown}");
    assert!(shown.contains("passwordauthentication no"), "{shown}");

    let second = project.run(&["apply", "dev", "--yes"], 0);
    assert_eq!(e2e::total(&second), 0, "{}", second.err);
    assert!(second.err.contains("resources: 0 created, 0 changed, 0 destroyed"), "{}", second.err);

    edit(&[("node_count: 2", "node_count: 3")]);
    let up = project.run(&["apply", "dev", "--yes"], 0);
    assert!(up.err.contains("resources: 0 created, 1 changed, 0 destroyed"), "{}", up.err);
    let upstreams = "sudo grep -c 'server 10.*max_fails' /etc/nginx/nginx.conf";
    assert_eq!(ssh("nginx-front", upstreams).trim(), "3");

    // A member is lost, the cloud makes another one, and the next apply configures it.
    tokio::task::block_in_place(|| project.cloud.lose("dev-bingo-2"));
    project.run(&["apply", "dev", "--yes"], 0);
    assert_eq!(ssh("bingo-2", "systemctl is-active bingo").trim(), "active");
    assert_eq!(client.get(format!("{url}/ping")).send().await.unwrap().status().as_u16(), 200);

    project.run(&["destroy", "dev", "--yes"], 0);
    assert_eq!(project.cloud.names(), Vec::<String>::new());
    assert_eq!(machines.left().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn yandex_doctor_tells_what_an_apply_needs() {
    let project = Project::new(
        &FILE.replace("ENDPOINT", "unused").replace("endpoint: 'unused', ", "").replace("KEY", "../../key.json"),
    )
    .await;
    let printed = project.run(&["doctor", "dev"], 0);
    for expected in [
        "ok       credentials and folder: `simulated` (b1gsimulated0folder00) is active",
        "ok       image family `debian-12`: fd8debian-12",
        "ok       quota `vpc.networks.count`: 1 of 2 are used, and this environment takes 1",
        "ok       quota `compute.instances.count`: 0 of 12 are used, and this environment takes 5",
    ] {
        assert_eq!(printed.out.matches(expected).count(), 1, "{}", printed.out);
    }
    // One machine too many for the quota, and an image that does not exist.
    let file = project.sandbox.path("envs/dev/config.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("node_count: 2", "node_count: 10, image_family: no-such-image")).unwrap();
    let printed = project.run(&["doctor", "dev"], 1);
    assert!(printed.out.contains("missing  image family `no-such-image`"), "{}", printed.out);
    assert!(printed.out.contains("missing  quota `compute.instances.count`: 0 of 12"), "{}", printed.out);
    assert!(project.cloud.calls().iter().all(|call| !call.changes()));
}

#[tokio::test(flavor = "multi_thread")]
async fn yandex_credentials_that_are_not_accepted_come_with_what_to_do() {
    let project =
        Project::new(&FILE.replace("endpoint: 'ENDPOINT', service_account_key_file: KEY", "zone: ru-central1-a")).await;
    let said = |token: &str| {
        tokio::task::block_in_place(|| {
            let mut command = project.command(&["doctor", "dev"]);
            command.env_remove("YC_SERVICE_ACCOUNT_KEY_FILE").env_remove("YC_IAM_TOKEN").env("YC_TOKEN", token);
            project.sandbox.finish(command, &["doctor", "dev"], 1).out
        })
    };
    let taken = said("not-a-token\n");
    assert!(taken.contains("is taken for an OAuth token, because it does not begin with `t1.`"), "{taken}");
    assert!(!taken.contains("infra doctor"), "{taken}");
    let expired = said("t1.expired");
    assert!(expired.contains("export YC_TOKEN=$(yc iam create-token)"), "{expired}");
}

#[tokio::test(flavor = "multi_thread")]
async fn yandex_a_front_of_several_machines_has_a_balancer() {
    let (folder, cloud) = (tempfile::tempdir().unwrap(), Cloud::start().await);
    let project = folder.path();
    let file = format!("{FILE}{BALANCED}");
    assert_eq!(apply(project, &cloud, &file).await, tally(16, 0, 0));
    let balancer = cloud.object("dev-front");
    assert!(cloud.names().contains(&"targetGroups dev-front".to_owned()), "{:?}", cloud.names());
    assert_eq!(balancer["labels"]["infra-name"], "front");
    assert_eq!(apply(project, &cloud, &file).await, tally(0, 0, 0));
    // One machine more behind it: the balancer stays, its targets change.
    assert_eq!(apply(project, &cloud, &file.replace("nodes: 2", "nodes: 3")).await, tally(1, 1, 0));
    assert!(cloud.names().contains(&"instances dev-nginx-front-3".to_owned()));
    destroy(project, &cloud).await;
    assert_eq!(cloud.names(), Vec::<String>::new());
}

/// Names, addresses and registries, and a group that is asked whether it works.
const NAMED: &str = "
provider: yandex
yandex: {folder_id: b1gsimulated0folder00, endpoint: 'ENDPOINT', service_account_key_file: KEY}
network: {subnets: {a: {v4_cidr_blocks: [10.1.0.0/24]}}}
addresses: {fixed: }
registries: {images: }
instances:
  web: {network: {nat: true, address: fixed}, resources: {memory: 2}}
  inner: {resources: {memory: 2}}
instance_groups:
  app: {node_count: 1, resources: {memory: 2}, health_check: {port: 8080, path: /ping, failures: 4}}
dns:
  world:
    zone: example.org
    records:
      - {name: '@', to: fixed}
      - {name: www, type: cname, values: [example.org.], ttl: 1h}
  home: {zone: home.internal, private: true, records: [{name: inner, to: inner}]}
";

#[tokio::test(flavor = "multi_thread")]
async fn yandex_names_addresses_registries_and_health_checks() {
    let (folder, cloud) = (tempfile::tempdir().unwrap(), Cloud::start().await);
    let project = folder.path();
    assert_eq!(apply(project, &cloud, NAMED).await, tally(12, 0, 0));
    let fixed = cloud.object("dev-fixed")["externalIpv4Address"]["address"].clone();
    let nat =
        |name: &str| cloud.object(name)["networkInterfaces"][0]["primaryV4Address"]["oneToOneNat"]["address"].clone();
    assert_eq!(nat("dev-web"), fixed);
    let records = |name: &str| cloud.object(name)["records"].as_array().unwrap()[1..].to_vec();
    assert_eq!(
        records("dev-world"),
        [
            json!({ "name": "example.org.", "type": "A", "ttl": "600", "data": [fixed] }),
            json!({ "name": "www.example.org.", "type": "CNAME", "ttl": "3600", "data": ["example.org."] }),
        ]
    );
    assert_eq!(cloud.object("dev-home")["privateVisibility"]["networkIds"], json!([cloud.object("dev")["id"]]));
    let inner = cloud.object("dev-inner")["networkInterfaces"][0]["primaryV4Address"]["address"].clone();
    assert_eq!(records("dev-home")[0]["data"], json!([inner]));
    assert_eq!(
        cloud.object("dev-app")["healthChecksSpec"],
        json!({
            "healthCheckSpecs": [{
                "interval": "10s", "timeout": "2s", "unhealthyThreshold": "4", "healthyThreshold": "2",
                "httpOptions": { "port": "8080", "path": "/ping" },
            }],
            "maxCheckingHealthDuration": "600s",
        })
    );
    assert_eq!(apply(project, &cloud, NAMED).await, tally(0, 0, 0));
    // In place: another address, other records, another image of the group.
    let (web, group) = (cloud.object("dev-web")["id"].clone(), cloud.object("dev-app")["id"].clone());
    let changed = NAMED
        .replace("nat: true, address: fixed", "nat: true")
        .replace("type: cname, values: [example.org.], ttl: 1h", "to: web")
        .replace("port: 8080, path: /ping", "port: 9090")
        .replace("{node_count: 1,", "{node_count: 1, image_family: ubuntu-2204-lts,");
    // The group of the port that is checked is another one.
    assert_eq!(apply(project, &cloud, &changed).await, tally(1, 3, 1));
    assert_eq!((&cloud.object("dev-web")["id"], &cloud.object("dev-app")["id"]), (&web, &group));
    assert_ne!(nat("dev-web"), fixed);
    assert_eq!(
        records("dev-world")[1],
        json!({ "name": "www.example.org.", "type": "A", "ttl": "600", "data": [nat("dev-web")] })
    );
    let template = cloud.object("dev-app")["instanceTemplate"].clone();
    assert_eq!(template["bootDiskSpec"]["diskSpec"]["imageId"], "fd8ubuntu-2204-lts");
    assert_eq!(apply(project, &cloud, &changed).await, tally(0, 0, 0));
    destroy(project, &cloud).await;
    assert_eq!(cloud.names(), Vec::<String>::new());
}

#[test]
fn names_and_addresses_that_lead_nowhere_are_mistakes() {
    let file = NAMED
        .replace("to: inner", "to: iner")
        .replace("address: fixed", "address: fixd")
        .replace("{name: '@', to: fixed}", "{name: '@'}")
        .replace("zone: home.internal", "zone: 'not a domain'");
    let source = infra::yaml::Source::new("/project/envs/dev/config.yaml", file.as_str());
    let error = infra::config::load_source(&source, &infra::config::LoadOptions::default()).unwrap_err();
    let text = format!("{error} {:?} {:?}", error.hints(), error.diagnostics());
    for expected in [
        "there is no address `fixd`",
        "did you mean `fixed`?",
        "there is no machine, front or address `iner`",
        "the record `@` has either `values` or `to`",
        "`not a domain` is not a domain like `example.org`",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
}

/// A managed database, beside what stands around it.
const MANAGED: &str = "
provider: yandex
yandex: {folder_id: b1gsimulated0folder00, endpoint: 'ENDPOINT', service_account_key_file: KEY}
network: {subnets: {a: {v4_cidr_blocks: [10.1.0.0/24]}}}
secrets: {chosen: {generate: 12}}
postgres:
  main:
    version: 15
    managed: true
    resources: {cores: 2, memory: 8, disk_size: 20}
    settings: {shared_buffers: 2GB, jit: 'off', synchronous_commit: 'on', statement_timeout: 30s}
    users: {app: , report: {password: chosen}}
    databases: {app: {owner: app, extensions: [pg_trgm]}}
    backup: {schedule: '30 3 * * *', keep: 14d}
";

#[tokio::test(flavor = "multi_thread")]
async fn yandex_a_managed_database() {
    let (folder, cloud) = (tempfile::tempdir().unwrap(), Cloud::start().await);
    let project = folder.path();
    assert_eq!(apply(project, &cloud, MANAGED).await, tally(5, 0, 0));
    let cluster = cloud.object("dev-main");
    assert_eq!(
        cluster["config"],
        json!({
            "version": "15",
            "resources": {
                "resourcePresetId": "s3-c2-m8", "diskTypeId": "network-ssd", "diskSize": (20_i64 << 30).to_string(),
            },
            "postgresqlConfig_15": {
                "sharedBuffers": (2_i64 << 30).to_string(), "jit": false, "synchronousCommit": "SYNCHRONOUS_COMMIT_ON",
                "statementTimeout": "30000",
            },
            "backupWindowStart": { "hours": 3, "minutes": 30 },
            "backupRetainPeriodDays": "14",
        })
    );
    assert_eq!(cluster["users"][1]["name"], "report");
    assert_eq!(cluster["users"][1]["password"].as_str().unwrap().len(), 12);
    assert_eq!(cluster["users"][0]["permissions"], json!([{ "databaseName": "app" }]));
    assert_eq!(cluster["securityGroupIds"], json!([cloud.object("dev")["defaultSecurityGroupId"]]));
    // Passwords are in the cloud and in the sealed state, nowhere else.
    let password = cluster["users"][0]["password"].as_str().unwrap();
    let state = std::fs::read_to_string(project.join(".infra/dev/state.json")).unwrap();
    assert!(!state.contains(password));
    cloud.forget_calls();
    assert_eq!(apply(project, &cloud, MANAGED).await, tally(0, 0, 0));
    assert!(cloud.calls().iter().all(|call| !call.changes()));

    // In place: the version, the class and the disk, a setting, one database and one login more.
    let changed = MANAGED
        .replace("version: 15", "version: 16")
        .replace("cores: 2, memory: 8, disk_size: 20", "cores: 4, memory: 16, disk_size: 30")
        .replace("statement_timeout: 30s", "statement_timeout: 1min")
        .replace("users: {app: ,", "users: {app: , second: ,")
        .replace("databases: {app: {", "databases: {second: {owner: second}, app: {")
        .replace("[pg_trgm]", "[pg_trgm, uuid-ossp]");
    assert_eq!(apply(project, &cloud, &changed).await, tally(0, 1, 0));
    let after = cloud.object("dev-main");
    assert_eq!(after["id"], cluster["id"]);
    assert_eq!(
        (&after["config"]["version"], &after["config"]["postgresqlConfig_16"]["statementTimeout"]),
        (&json!("16"), &json!("60000"))
    );
    assert_eq!(after["config"]["resources"]["resourcePresetId"], "s3-c4-m16");
    assert_eq!(after["databases"][1], json!({ "name": "second", "owner": "second", "extensions": [] }));
    assert_eq!(after["databases"][0]["extensions"], json!([{ "name": "pg_trgm" }, { "name": "uuid-ossp" }]));
    let reaches = |user: usize| after["users"][user]["permissions"].as_array().unwrap().len();
    assert_eq!((reaches(0), reaches(1), reaches(2)), (2, 2, 2));
    assert_eq!(apply(project, &cloud, &changed).await, tally(0, 0, 0));
    // Someone gave it a smaller class: it gets its own again. A database that no one asks for any more stays.
    cloud.edit("dev-main", |cluster| cluster["config"]["resources"]["resourcePresetId"] = "s3-c2-m8".into());
    assert_eq!(apply(project, &cloud, &changed).await, tally(0, 1, 0));
    assert_eq!(cloud.object("dev-main")["config"]["resources"]["resourcePresetId"], "s3-c4-m16");
    assert_eq!(apply(project, &cloud, &changed.replace("second: {owner: second}, ", "")).await, tally(0, 1, 0));
    assert_eq!(cloud.object("dev-main")["databases"].as_array().unwrap().len(), 2);

    // A last backup is made before it goes; a stopped one is started for that.
    cloud.edit("dev-main", |cluster| cluster["status"] = "STOPPED".into());
    cloud.forget_calls();
    destroy(project, &cloud).await;
    let calls = cloud.calls().into_iter().filter(|call| call.changes() && call.path.contains("/clusters/"));
    let calls: Vec<String> = calls.map(|call| format!("{} {}", call.method, call.path)).collect();
    let path = format!("/managed-postgresql/v1/clusters/{}", cluster["id"].as_str().unwrap());
    assert_eq!(calls, [format!("POST {path}:start"), format!("POST {path}:backup"), format!("DELETE {path}")]);
    assert_eq!(cloud.names(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn yandex_a_database_that_cannot_be_backed_up_is_kept_without_the_flag() {
    let project = Project::new("").await;
    project.sandbox.write("envs/dev/config.yaml", &written(&project.cloud, MANAGED));
    project.run(&["apply", "dev", "--yes"], 0).silent();
    project.cloud.edit("dev-main", |cluster| cluster["status"] = "ERROR".into());
    let refused = project.run(&["destroy", "dev", "--yes"], 1).err;
    assert!(refused.contains("no last backup of the cluster") && refused.contains("--allow-data-loss"), "{refused}");
    assert!(project.cloud.calls().iter().all(|call| call.method != "DELETE" || !call.path.contains("/clusters/")));
    project.cloud.edit("dev-main", |cluster| cluster["status"] = "RUNNING".into());
    project.cloud.forget_calls();
    project.run(&["destroy", "dev", "--yes", "--allow-data-loss"], 0).silent();
    assert!(project.cloud.calls().iter().all(|call| !call.path.ends_with(":backup")));
    assert_eq!(project.cloud.names(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn yandex_a_database_that_is_changing_is_backed_up_when_it_has_come_to_rest() {
    let project = Project::new("").await;
    project.sandbox.write("envs/dev/config.yaml", &written(&project.cloud, MANAGED));
    project.run(&["apply", "dev", "--yes"], 0).silent();
    let path = "/managed-postgresql/v1/clusters";
    // No operation of this program changes it.
    project.cloud.edit("dev-main", |cluster| cluster["status"] = "UPDATING".into());
    project.cloud.forget_calls();
    let mut command = project.command(&["destroy", "dev", "--yes"]);
    let child = command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let asked = || async { project.cloud.calls().iter().filter(|call| call.path == path).count() >= 3 };
    e2e::eventually("the cluster is waited for", 60, asked).await;
    assert!(project.cloud.calls().iter().all(|call| !call.path.ends_with(":backup")));
    project.cloud.edit("dev-main", |cluster| cluster["status"] = "RUNNING".into());
    let (ended, said) = crate::stopping::end(child).await;
    assert_eq!(ended, Some(0), "{said}");
    assert!(said.contains("kept as the backup"), "{said}");
    assert_eq!(project.cloud.names(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn yandex_a_database_that_an_apply_deletes_leaves_a_last_backup() {
    let project = Project::new("").await;
    let file = written(&project.cloud, MANAGED);
    let without = &file[..file.find("secrets:").unwrap()];
    let (apply, allowed) = (["apply", "dev", "--yes"], ["apply", "dev", "--yes", "--allow-data-loss"]);
    for (status, says) in [("RUNNING", "kept as the backup `"), ("ERROR", "no last backup of it can be made")] {
        project.sandbox.write("envs/dev/config.yaml", &file);
        project.run(&apply, 0).silent();
        project.cloud.edit("dev-main", |cluster| cluster["status"] = status.into());
        project.sandbox.write("envs/dev/config.yaml", without);
        assert!(project.run(&apply, 2).err.contains("this plan loses data: postgres.main"));
        project.cloud.forget_calls();
        let said = project.run(&allowed, 0).err;
        assert!(said.contains(says), "{said}");
        let backups = project.cloud.calls().iter().filter(|call| call.path.ends_with(":backup")).count();
        assert_eq!(backups, usize::from(status == "RUNNING"));
        assert!(!project.cloud.names().iter().any(|name| name.starts_with("clusters")), "{:?}", project.cloud.names());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn yandex_what_a_managed_database_cannot_have_is_told_before_anything_is_made() {
    let file = MANAGED
        .replace("endpoint: 'ENDPOINT', service_account_key_file: KEY", "service_account_key_file: ../../key.json")
        .replace("shared_buffers: 2GB", "shared_buffers: plenty, data_directory: /data")
        .replace("cores: 2", "cores: 200")
        .replace("keep: 14d", "keep: 2d")
        + "instance_groups: {app: {node_count: 1, resources: {memory: 2, secondary_disk_size: 5}}}\n";
    let project = Project::new(&file).await;
    let printed = project.run(&["plan", "dev"], 2);
    for expected in [
        "config.yaml:10:5: error: no class of hosts has 200 cores and 8192 MB",
        "config.yaml:11:16: error: the setting `shared_buffers`: `plenty` is not a number",
        "the setting `data_directory` cannot be changed in the managed service: it is left out",
        "backups are kept for 7 days here",
        "the machines of the group `app` come and go in a cloud, and have no second disks",
    ] {
        assert!(printed.err.contains(expected), "{expected}: {}", printed.err);
    }
    assert!(project.cloud.calls().iter().all(|call| !call.changes()));
}

#[tokio::test(flavor = "multi_thread")]
async fn yandex_the_shipped_production_environment_plans() {
    let file = std::fs::read_to_string(repository().join("envs/prod/config.yaml")).unwrap();
    let file = file.replace("b1g00000000000000000", FOLDER).replace("key.json", "../../key.json");
    let project = Project::new(&file).await;
    let printed = project.run(&["plan", "dev"], 0);
    assert!(printed.out.contains("+ load_balancer.front  ports 80, 443 over 2 machines"), "{}", printed.out);
    assert!(printed.out.contains("+ instance_group.bingo  3 of debian-12, 2 cores, 4096 MB"), "{}", printed.out);
    assert!(printed.out.contains("resources: 15 to create"), "{}", printed.out);
    assert!(!printed.err.contains("warning"), "{}", printed.err);
}

/// A machine whose Compose file is all that is asked of it: its image knows no container engine.
const COMPOSED: &str = "
provider: yandex
folder_id: b1gsimulated0folder00
network: {subnets: {a: {v4_cidr_blocks: [10.179.0.0/24]}}}
instances:
  box:
    network: {nat: true}
    resources: {memory: 2}
    metadata:
      docker-compose: {file: compose.yml}
      # No registry answers here: the image is made of what the machine has.
      user-data: |
        #!/bin/sh
        set -e
        mkdir -p /srv/napper/lib64 /srv/napper/lib/x86_64-linux-gnu
        cp -L /bin/sleep /srv/napper/
        cp -L /lib64/ld-linux-x86-64.so.2 /srv/napper/lib64/
        cp -L /lib/x86_64-linux-gnu/libc.so.6 /srv/napper/lib/x86_64-linux-gnu/
        printf 'FROM scratch\\nCOPY . /\\n' >/srv/napper/Dockerfile
";

#[tokio::test(flavor = "multi_thread")]
async fn e2e_yandex_a_compose_file_runs_on_an_image_without_an_engine() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let machines = Arc::new(Containers::new(&format!("e2e-compose-{}", std::process::id())).await);
    let project = Project::new(COMPOSED).await;
    project.cloud.machines(Arc::<Containers>::clone(&machines));
    let compose = "services:\n  napper:\n    build: /srv/napper\n    command: [/sleep, '100000']\n    init: false\n";
    project.sandbox.write("envs/dev/compose.yml", &format!("version: '3'\n{compose}"));
    project.run(&["apply", "dev", "--yes"], 0);
    let runs = || async {
        let shown = tokio::task::block_in_place(|| {
            let mut command = project.sandbox.command(&[
                "ssh",
                "dev",
                "box",
                "--",
                "sudo docker ps --format '{{.Names}} {{.Status}}'",
            ]);
            command.env("YC_ENDPOINT", project.cloud.endpoint());
            command.env("YC_SERVICE_ACCOUNT_KEY_FILE", project.sandbox.path("key.json"));
            command.stdin(std::process::Stdio::null()).output().unwrap()
        });
        let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
        shown.contains("napper") && shown.contains("Up ")
    };
    e2e::eventually("the Compose file runs", 240, runs).await;
    let enabled = project
        .run(&["ssh", "dev", "box", "--", "systemctl is-enabled infra-compose; systemctl is-active infra-compose"], 0);
    assert_eq!(enabled.out.trim(), "enabled\nactive");
    project.run(&["destroy", "dev", "--yes"], 0);
    assert_eq!(machines.left().await, 0);
}

/// What someone else made becomes the environment's own, with its differences shown; what cannot be, is told why.
#[tokio::test(flavor = "multi_thread")]
async fn yandex_what_somebody_else_made_is_taken_over() {
    let project = Project::new(
        "
provider: yandex
yandex: {folder_id: b1gsimulated0folder00}
network: {subnets: {a: {v4_cidr_blocks: [10.1.0.0/24]}}}
addresses: {fixed: }
dns: {home: {zone: home.internal, private: true, records: [{name: db, values: [10.1.0.9]}]}}
instances: {web: {resources: {memory: 2}}}
",
    )
    .await;
    // Labels need the id of the project, so that it is there before the cloud is asked to write them.
    project.sandbox.write(infra::project::FILE, "test-k3x9q2ab\n");
    let cloud = &project.cloud;
    let network = cloud.make("/vpc/v1/networks", json!({ "name": "office", "labels": { "team": "web" } }));
    let other = cloud.make("/vpc/v1/networks", json!({ "name": "other" }));
    let subnet =
        json!({ "name": "s", "networkId": network, "zoneId": "ru-central1-a", "v4CidrBlocks": ["10.7.0.0/24"] });
    let subnet = cloud.make("/vpc/v1/subnets", subnet);
    let zone = json!({ "name": "z", "zone": "home.internal.", "privateVisibility": { "networkIds": [network] } });
    let zone = cloud.make("/dns/v1/zones", zone);
    let public = json!({ "name": "p", "zone": "home.internal.", "publicVisibility": {} });
    let public = cloud.make("/dns/v1/zones", public);
    let import = |address: &str, id: &str, code: i32| {
        let printed = project.run(&["import", "dev", address, id], code).err;
        [(&network, "NETWORK"), (&other, "OTHER"), (&subnet, "SUBNET"), (&zone, "ZONE"), (&public, "PUBLIC")]
            .iter()
            .fold(printed, |text, (id, name)| text.replace(id.as_str(), name))
    };

    // What it needs comes first; and nothing is taken over that is something else, is elsewhere, or would not be trusted.
    insta::assert_snapshot!(import("dns_zone.home", &zone, 2), @r#"
    error: `dns_zone.home` needs `network.main`, which the state does not know
    hint: import that first, or make it: infra apply dev --target network.main
    "#);
    insta::assert_snapshot!(import("network.main", "enp-nowhere", 2), @"error: yandex: there is no network `enp-nowhere` in the folder `b1gsimulated0folder00`");
    insta::assert_snapshot!(import("network.mian", &network, 2), @r#"
    error: the file asks for no `network.mian`
    hint: did you mean `network.main`?
    "#);
    insta::assert_snapshot!(import("network.main", &network, 0), @r#"
    `NETWORK` belongs to `dev` now: `infra destroy` removes it with the rest
    `network.main` is in the state now
    `infra plan dev` shows what of it differs from the file
    "#);
    insta::assert_snapshot!(import("network.main", &other, 2), @r#"
    error: `network.main` is `NETWORK` already
    hint: remove that one first
    "#);
    insta::assert_snapshot!(import("dns_zone.home", &public, 2), @"error: `PUBLIC` carries no label of infra, and cannot be taken over as `dns_zone.home`: it is seen by the world, not by NETWORK");
    import("dns_zone.home", &zone, 0);
    let gone = import("subnet.a", &subnet, 2);
    assert!(gone.contains("needs `gateway.egress`") || gone.contains("needs `route_table.egress`"), "{gone}");
    project.run(&["apply", "dev", "--target", "route_table.egress", "--yes"], 0);
    import("subnet.a", &subnet, 0);
    insta::assert_snapshot!(import("vm.web", "fhm-web", 2), @r#"
    error: `fhm-web` does not carry the label of `dev`, and machines that infra has not made are not taken over as `vm.web`: their host keys are not known here, so they could not be trusted
    hint: let `infra apply` make a new one; a disk with data can be taken over
    "#);

    // Its own labels stay; what differs is planned.
    assert_eq!(cloud.object("office")["labels"]["team"], "web");
    assert_eq!(cloud.object("office")["labels"]["infra-name"], "main");
    let plan = project.run(&["plan", "dev"], 0).out;
    insta::assert_snapshot!(plan, @r#"
    + address.fixed  public, reserved  (it is new)
    ~ dns_zone.home  home.internal., 1 records  (`records` changed)
          records: [] -> [{"name":"db.home.internal.","type":"A","ttl":600,"values":["10.1.0.9"]}]
    ~ subnet.a  10.1.0.0/24  (`cidr` changed; it does not point to `route_table.egress`)
          cidr: "10.7.0.0/24" -> "10.1.0.0/24"
    + vm.web  debian-12, 2 cores, 2048 MB  (it is new)

    resources: 2 to create, 2 to change
    cost:      no prices are known here; the prices of 6 things are unknown
    "#);

    // Without a state it is found by its labels, and which range it has shows all the same.
    std::fs::remove_dir_all(project.sandbox.path(".infra/dev")).unwrap();
    let plan = project.run(&["plan", "dev"], 0).out;
    assert!(plan.contains("~ subnet.a  10.1.0.0/24  (") && plan.contains("`cidr` not as in the file"), "{plan}");
    // It goes with the environment, and nothing else does.
    project.run(&["destroy", "dev", "--yes", "--by-label"], 0);
    assert_eq!(cloud.names(), ["networks other", "zones p"]);
}
