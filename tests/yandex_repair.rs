//! What was lost or replaced in Yandex Cloud returns to what pointed to it; what the account does not have is found first.

use infra::apply::Tally;
use serde_json::{Value, json};

use crate::{
    support::{
        commands::{PROJECT, command, disks},
        yandex::{Cloud, FOLDER, Fault},
    },
    yandex::{FILE, Project, apply, destroy_file, load, planned, tally, written},
};

/// A front of several machines, and names of it and of a machine.
const NAMED: &str = "
provider: yandex
yandex: {folder_id: b1gsimulated0folder00, endpoint: 'ENDPOINT', service_account_key_file: KEY}
network: {subnets: {a: {v4_cidr_blocks: [10.1.0.0/24]}}}
instances: {web: {ansible_groups: [web], network: {nat: true}, resources: {memory: 2}}}
nginx: {front: {nodes: 2, resources: {memory: 2}, upstreams: {app: {group: web, port: 80}}, locations: {/: {upstream: app}}}}
dns:
  world: {zone: example.org, records: [{name: www, to: front}, {name: web, to: web}, {name: txt, type: txt, values: [mine]}]}
  home: {zone: home.internal, private: true, records: [{name: web, to: web}]}
";

/// Where the targets of the balancer and the records are.
fn pointed(cloud: &Cloud) -> (Vec<Value>, Vec<Value>) {
    let group = cloud.object_in("/load-balancer/v1/targetGroups", "dev-front");
    let mut targets: Vec<Value> =
        group["targets"].as_array().unwrap().iter().map(|target| target["address"].clone()).collect();
    targets.sort_by_key(ToString::to_string);
    let records = ["dev-world", "dev-home"].map(|zone| cloud.object(zone)["records"].as_array().unwrap()[1..].to_vec());
    (targets, records.concat())
}

/// Everything points to where the machines are now.
fn check(cloud: &Cloud) {
    let inner =
        |name: &str| cloud.object_in(MACHINES, name)["networkInterfaces"][0]["primaryV4Address"]["address"].clone();
    let public = |name: &str| nat(cloud, name);
    let (targets, records) = pointed(cloud);
    let mut machines = vec![inner("dev-nginx-front"), inner("dev-nginx-front-2")];
    machines.sort_by_key(ToString::to_string);
    assert_eq!(targets, machines);
    let said = |zone: &str, name: &str| {
        let record = records.iter().find(|record| record["name"] == format!("{name}.{zone}")).unwrap();
        record["data"][0].clone()
    };
    assert_eq!(said("example.org.", "web"), public("dev-web"));
    assert_eq!(said("home.internal.", "web"), inner("dev-web"));
    let balancer = cloud.object_in("/load-balancer/v1/networkLoadBalancers", "dev-front");
    assert_eq!(said("example.org.", "www"), balancer["listeners"][0]["address"]);
    assert_eq!(said("example.org.", "txt"), "mine");
}

#[tokio::test(flavor = "multi_thread")]
async fn yandex_a_machine_returns_to_its_balancer_and_its_names() {
    let (folder, cloud) = (tempfile::tempdir().unwrap(), Cloud::start().await);
    let project = folder.path();
    apply(project, &cloud, NAMED).await;
    check(&cloud);
    let kept = |cloud: &Cloud| {
        let ids = cloud.ids();
        ids.into_iter().filter(|(name, _)| !name.contains("/instances ")).collect::<Vec<_>>()
    };
    let before = kept(&cloud);
    // Lost, and made again: in one apply, and nothing else is another one.
    cloud.lose("dev-nginx-front-2");
    cloud.lose("dev-web");
    let tally = apply(project, &cloud, NAMED).await;
    assert_eq!((tally.created, tally.changed, tally.destroyed), (2, 3, 0));
    check(&cloud);
    assert_eq!(kept(&cloud), before);
    assert_eq!(apply(project, &cloud, NAMED).await, Tally::default());
    // Replaced for another image.
    let other = NAMED
        .replace("web: {ansible_groups", "web: {image_family: ubuntu-2204-lts, ansible_groups")
        .replace("{nodes: 2,", "{nodes: 2, image_family: ubuntu-2204-lts,");
    let tally = apply(project, &cloud, &other).await;
    assert_eq!((tally.created, tally.changed, tally.destroyed), (3, 3, 3));
    check(&cloud);
    assert_eq!(kept(&cloud), before);
    // A machine that was stopped and started has another address, which its name follows.
    cloud.edit("dev-web", |machine| {
        machine["networkInterfaces"][0]["primaryV4Address"]["oneToOneNat"]["address"] = "198.51.100.99".into();
    });
    let tally = apply(project, &cloud, &other).await;
    assert_eq!((tally.created, tally.changed, tally.destroyed), (0, 1, 0));
    check(&cloud);
    assert_eq!(apply(project, &cloud, &other).await, Tally::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn yandex_a_name_that_missed_a_new_address_follows_at_the_next_apply() {
    let project = Project::new("").await;
    let (root, cloud) = (project.sandbox.path(""), &project.cloud);
    apply(&root, cloud, NAMED).await;
    project.sandbox.write("envs/dev/config.yaml", &written(cloud, NAMED));
    project.sandbox.write(infra::project::FILE, &format!("{PROJECT}\n"));
    check(cloud);
    let move_web = |to: &str| {
        cloud.edit("dev-web", |machine| {
            machine["networkInterfaces"][0]["primaryV4Address"]["oneToOneNat"]["address"] = to.into();
        });
    };
    let said = "~ dns_zone.world  example.org., 3 records  (the record `web.example.org.` does not have the address of `vm.web`)";
    // The machine is recorded with its new address, and the update of the zone fails.
    move_web("198.51.100.98");
    cloud.faults(|call| (call.changes() && call.path.contains("/zones/")).then_some(Fault::FailOperation));
    let (environment, provider) = load(&root, cloud, NAMED);
    assert!(command(&root, &environment, &provider, false).await.is_err());
    cloud.no_faults();
    let plan = project.run(&["plan", "dev"], 0).out;
    assert!(plan.contains(said), "{plan}");
    apply(&root, cloud, NAMED).await;
    check(cloud);
    // The state takes the new address over by itself.
    move_web("198.51.100.97");
    project.run(&["refresh", "dev"], 0).silent();
    let plan = project.run(&["plan", "dev"], 0).out;
    assert!(plan.contains(said), "{plan}");
    // A part of the environment that moves brings its names along.
    let bigger =
        NAMED.replace("network: {nat: true}, resources: {memory: 2}", "network: {nat: true}, resources: {memory: 4}");
    project.sandbox.write("envs/dev/config.yaml", &written(cloud, &bigger));
    project.run(&["apply", "dev", "--yes", "--target", "vm.web"], 0).silent();
    check(cloud);
}

#[tokio::test(flavor = "multi_thread")]
async fn yandex_a_front_grows_and_shrinks_around_its_first_machine() {
    let project = Project::new("").await;
    let (root, cloud) = (project.sandbox.path(""), &project.cloud);
    let one = NAMED.replace("{nodes: 2,", "{nodes: 1, network: {nat: true},");
    apply(&root, cloud, &one).await;
    let id = cloud.object_in(MACHINES, "dev-nginx-front")["id"].clone();
    let address = nat(cloud, "dev-nginx-front");
    assert!(address.is_string());
    assert_eq!(said(cloud, "www"), address);
    cloud.forget_calls();
    apply(&root, cloud, NAMED).await;
    assert_eq!(cloud.object_in(MACHINES, "dev-nginx-front")["id"], id);
    check(cloud);
    // The first machine answers at it until the others are there, too.
    let calls = cloud.calls();
    let at = |part: &str| calls.iter().position(|call| call.changes() && call.path.ends_with(part)).unwrap();
    assert_eq!(at("/networkLoadBalancers"), at("/removeOneToOneNat") + 1);
    assert!(at("/instances") < at("/removeOneToOneNat"));
    // Machines that are to be public themselves are so at other addresses.
    apply(&root, cloud, &one).await;
    apply(&root, cloud, &one.replace("nodes: 1", "nodes: 2")).await;
    assert_eq!(listeners(cloud), [address.clone(), address.clone()]);
    assert!(nat(cloud, "dev-nginx-front").is_string() && nat(cloud, "dev-nginx-front") != address);
    apply(&root, cloud, NAMED).await;
    // The address has moved to the balancer, and what a registrar says is right still.
    assert_eq!((listeners(cloud), nat(cloud, "dev-nginx-front")), (vec![address.clone(); 2], Value::Null));
    assert_eq!(said(cloud, "www"), address);
    assert_eq!(apply(&root, cloud, NAMED).await, Tally::default());
    // An earlier version called it `nginx-front-1`.
    project.sandbox.write("envs/dev/config.yaml", &written(cloud, NAMED));
    project.sandbox.write(infra::project::FILE, &format!("{PROJECT}\n"));
    let state = project.sandbox.path(".infra/dev/state.json");
    let text = std::fs::read_to_string(&state).unwrap();
    assert!(text.contains("\"vm.nginx-front\""), "{text}");
    std::fs::write(&state, text.replace("\"vm.nginx-front\"", "\"vm.nginx-front-1\"")).unwrap();
    let plan = project.run(&["plan", "dev"], 0).out;
    assert!(plan.contains("resources: nothing to do"), "{plan}");
    std::fs::write(&state, text).unwrap();
    apply(&root, cloud, &one).await;
    assert_eq!(cloud.object_in(MACHINES, "dev-nginx-front")["id"], id);
    assert!(
        !cloud.names().iter().any(|name| name.contains("dev-nginx-front-2") || name.contains("networkLoadBalancers"))
    );
    // And back again.
    assert_eq!(nat(cloud, "dev-nginx-front"), address);
    assert_eq!(said(cloud, "www"), address);
    assert_eq!(apply(&root, cloud, &one).await, Tally::default());
}

const MACHINES: &str = "/compute/v1/instances";

/// The public address of a machine.
fn nat(cloud: &Cloud, name: &str) -> Value {
    let machine = cloud.object_in(MACHINES, name);
    machine["networkInterfaces"][0]["primaryV4Address"]["oneToOneNat"]["address"].clone()
}

/// The addresses of the listeners of the front's balancer.
fn listeners(cloud: &Cloud) -> Vec<Value> {
    let balancer = cloud.object_in("/load-balancer/v1/networkLoadBalancers", "dev-front");
    balancer["listeners"].as_array().unwrap().iter().map(|listener| listener["address"].clone()).collect()
}

/// What a record of the public zone says.
fn said(cloud: &Cloud, name: &str) -> Value {
    let records = cloud.object("dev-world")["records"].as_array().unwrap().clone();
    records.iter().find(|record| record["name"] == format!("{name}.example.org.")).unwrap()["data"][0].clone()
}

/// A front that an earlier version made has an address that belongs to its machine or to its balancer: it becomes the front's.
#[tokio::test(flavor = "multi_thread")]
async fn yandex_a_front_keeps_the_address_that_it_has() {
    for nodes in ["{nodes: 1, network: {nat: true},", "{nodes: 2,"] {
        let (folder, cloud) = (tempfile::tempdir().unwrap(), Cloud::start().await);
        let file = NAMED.replace("{nodes: 2,", nodes);
        apply(folder.path(), &cloud, &file).await;
        // As the earlier version left it: the address is not reserved, and the state knows nothing of it.
        let address = cloud.object_in("/vpc/v1/addresses", "dev-nginx-front")["externalIpv4Address"]["address"].clone();
        cloud.lose_in("/vpc/v1/addresses", "dev-nginx-front");
        let tally = apply(folder.path(), &cloud, &file).await;
        assert_eq!((tally.created, tally.destroyed), (1, 0), "{nodes}");
        let reserved = cloud.object_in("/vpc/v1/addresses", "dev-nginx-front");
        assert_eq!((&reserved["externalIpv4Address"]["address"], &reserved["reserved"]), (&address, &json!(true)));
        let had = if nodes.contains('1') { nat(&cloud, "dev-nginx-front") } else { listeners(&cloud)[0].clone() };
        assert_eq!(had, address);
        assert_eq!(apply(folder.path(), &cloud, &file).await, Tally::default());
        // Every address goes with the environment.
        destroy_file(folder.path(), &cloud, &file).await;
        assert_eq!(cloud.names(), Vec::<String>::new());
    }
}

/// An address that the file names is the front's, whatever that consists of; it is only one front's.
#[tokio::test(flavor = "multi_thread")]
async fn yandex_a_front_has_the_address_that_the_file_names() {
    let (folder, cloud) = (tempfile::tempdir().unwrap(), Cloud::start().await);
    let named = "{nodes: 1, network: {nat: true, address: fixed},";
    let one = NAMED.replace("{nodes: 2,", named) + "addresses: {fixed: }\n";
    apply(folder.path(), &cloud, &one).await;
    let fixed = cloud.object_in("/vpc/v1/addresses", "dev-fixed")["externalIpv4Address"]["address"].clone();
    assert_eq!(nat(&cloud, "dev-nginx-front"), fixed);
    let many = one
        .replace("{nodes: 1, network: {nat: true, address: fixed}", "{nodes: 2, network: {nat: false, address: fixed}");
    apply(folder.path(), &cloud, &many).await;
    assert_eq!(listeners(&cloud), [fixed.clone(), fixed.clone()]);
    apply(folder.path(), &cloud, &one).await;
    assert_eq!(nat(&cloud, "dev-nginx-front"), fixed);
    assert_eq!(cloud.names().iter().filter(|name| name.starts_with("addresses ")).count(), 1);
    // Two cannot have it, and the front's own is called as its machine.
    let twice = many.replace(
        "web: {ansible_groups: [web], network: {nat: true}",
        "web: {ansible_groups: [web], network: {nat: true, address: fixed}",
    );
    let (_, printed) = planned(&twice, 2).await;
    assert!(printed.err.contains("`fixed` is the address of `vm.web` already"), "{}", printed.err);
    let (_, printed) = planned(&(NAMED.to_owned() + "addresses: {nginx-front: }\n"), 2).await;
    assert!(
        printed.err.contains("the front `front` has an address of its own that is called `nginx-front`"),
        "{}",
        printed.err
    );
}

/// A managed database, and nothing else.
const DATABASE: &str = "
provider: yandex
yandex: {folder_id: b1gsimulated0folder00, endpoint: 'ENDPOINT', service_account_key_file: KEY}
network: {subnets: {a: {v4_cidr_blocks: [10.1.0.0/24]}}}
postgres:
  main:
    managed: true
    resources: {cores: 2, memory: 8, disk_size: 20}
    users: {app: , report: }
    databases: {app: {owner: app}}
    backup: {schedule: '30 3 * * *', keep: 14d}
";

#[tokio::test(flavor = "multi_thread")]
async fn yandex_a_database_that_is_found_gets_working_passwords() {
    let project = Project::new("").await;
    let (root, cloud) = (project.sandbox.path(""), &project.cloud);
    apply(&root, cloud, DATABASE).await;
    let passwords = || {
        let users = cloud.object("dev-main")["users"].as_array().unwrap().clone();
        users.into_iter().map(|user| user["password"].clone()).collect::<Vec<_>>()
    };
    let before = passwords();
    // Another time for backups: the logins are not sent again.
    cloud.forget_calls();
    let later = DATABASE.replace("30 3", "30 4");
    assert_eq!(apply(&root, cloud, &later).await.changed, 1);
    let sent = |part: &str| cloud.calls().iter().filter(|call| call.changes() && call.path.contains(part)).count();
    assert_eq!((sent("/clusters/"), sent("/users/")), (1, 0));
    // The state is lost, and the passwords with it: the plan says what happens, and the apply does it.
    std::fs::remove_dir_all(project.sandbox.path(".infra")).unwrap();
    project.sandbox.write("envs/dev/config.yaml", &written(cloud, &later));
    project.sandbox.write(infra::project::FILE, &format!("{PROJECT}\n"));
    let plan = project.run(&["plan", "dev"], 0).out;
    assert!(
        plan.contains("~ postgres.main") && plan.contains("the state does not know it: its logins get new passwords"),
        "{plan}"
    );
    apply(&root, cloud, &later).await;
    let after = passwords();
    assert!(before.iter().zip(&after).all(|(before, after)| before != after), "{after:?}");
    assert_eq!(apply(&root, cloud, &later).await, Tally::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn yandex_a_password_that_did_not_reach_the_database_is_set_by_the_next_apply() {
    let project = Project::new("").await;
    let file = written(&project.cloud, DATABASE).replace("report: }", "report: {password: chosen}}")
        + "secrets: {chosen: {file: password.txt}}\n";
    project.sandbox.write("envs/dev/config.yaml", &file);
    project.sandbox.write("envs/dev/password.txt", "first-password-of-all");
    project.run(&["apply", "dev", "--yes"], 0).silent();
    let password = || project.cloud.object("dev-main")["users"][1]["password"].clone();
    // The new password is in the state when the call to set it fails.
    project.sandbox.write("envs/dev/password.txt", "second-password-of-all");
    project.cloud.faults(|call| (call.changes() && call.path.contains("/users/")).then_some(Fault::FailOperation));
    project.run(&["apply", "dev", "--yes"], 1).silent();
    project.cloud.no_faults();
    assert_eq!(password(), "first-password-of-all");
    let plan = project.run(&["plan", "dev"], 0).out;
    assert!(plan.contains("~ postgres.main") && plan.contains("the password of `report` was not set"), "{plan}");
    project.run(&["apply", "dev", "--yes"], 0).silent();
    assert_eq!(password(), "second-password-of-all");
    assert!(project.run(&["plan", "dev"], 0).out.contains("nothing to do"));
}

#[tokio::test(flavor = "multi_thread")]
async fn yandex_a_database_whose_creation_failed_holds_nothing() {
    let project = Project::new("").await;
    project.sandbox.write("envs/dev/config.yaml", &written(&project.cloud, DATABASE));
    // It takes a while, fails, and is left in an error.
    project.cloud.delay(std::time::Duration::from_millis(100));
    let mut failed = false;
    project.cloud.faults(move |call| {
        let strikes =
            call.method == "POST" && call.path.ends_with("/clusters") && !std::mem::replace(&mut failed, true);
        strikes.then_some(Fault::FailHalfway)
    });
    project.run(&["apply", "dev", "--yes"], 1).silent();
    assert_eq!(project.cloud.object("dev-main")["status"], "ERROR");
    let plan = project.run(&["plan", "dev"], 0).out;
    assert!(plan.contains("± postgres.main") && !plan.contains("loses"), "{plan}");
    project.run(&["apply", "dev", "--yes"], 0).silent();
    assert_eq!(project.cloud.object("dev-main")["status"], "RUNNING");
    // One that was in use and has failed is another thing.
    project.cloud.edit("dev-main", |cluster| cluster["status"] = "ERROR".into());
    let refused = project.run(&["apply", "dev", "--yes"], 2).err;
    assert!(refused.contains("this plan loses data: postgres.main"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn yandex_a_database_that_was_upgraded_outside_of_infra_stays_so() {
    let (folder, cloud) = (tempfile::tempdir().unwrap(), Cloud::start().await);
    let file =
        DATABASE.replace("    managed: true\n", "    managed: true\n    version: 15\n    settings: {work_mem: 64MB}\n");
    apply(folder.path(), &cloud, &file).await;
    cloud.edit("dev-main", |cluster| {
        let config = cluster["config"].as_object_mut().unwrap();
        config.insert("version".to_owned(), "16".into());
        let settings = config.remove("postgresqlConfig_15").unwrap();
        config.insert("postgresqlConfig_16".to_owned(), settings);
    });
    cloud.forget_calls();
    assert_eq!(apply(folder.path(), &cloud, &file).await, Tally::default());
    assert_eq!(apply(folder.path(), &cloud, &file.replace("64MB", "32MB")).await.changed, 1);
    assert_eq!(cloud.object("dev-main")["config"]["version"], "16");
    assert_eq!(cloud.object("dev-main")["config"]["postgresqlConfig_16"]["workMem"], (32 << 20).to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn yandex_a_database_keeps_its_backups_when_the_file_no_longer_has_them() {
    let project = Project::new("").await;
    let (root, cloud) = (project.sandbox.path(""), &project.cloud);
    apply(&root, cloud, DATABASE).await;
    let without = DATABASE.replace("    backup: {schedule: '30 3 * * *', keep: 14d}\n", "");
    project.sandbox.write("envs/dev/config.yaml", &written(cloud, &without));
    project.sandbox.write(infra::project::FILE, &format!("{PROJECT}\n"));
    let plan = project.run(&["plan", "dev"], 0).out;
    assert!(plan.contains("the file no longer has `backup`: the service keeps what it has"), "{plan}");
    assert!(plan.contains("resources: nothing to do"), "{plan}");
    cloud.forget_calls();
    assert_eq!(apply(&root, cloud, &without).await, Tally::default());
    assert!(cloud.calls().iter().all(|call| !call.changes()));
    let plan = project.run(&["plan", "dev"], 0).out;
    assert!(!plan.contains("backup"), "{plan}");
    assert_eq!(cloud.object("dev-main")["config"]["backupRetainPeriodDays"], "14");
}

#[tokio::test(flavor = "multi_thread")]
async fn yandex_a_login_that_owns_what_stays_is_named_and_the_others_go() {
    let project = Project::new("").await;
    let (root, cloud) = (project.sandbox.path(""), &project.cloud);
    apply(&root, cloud, DATABASE).await;
    let none = DATABASE.replace("users: {app: , report: }", "users: {}").replace("{app: {owner: app}}", "{}");
    project.sandbox.write("envs/dev/config.yaml", &written(cloud, &none));
    project.sandbox.write(infra::project::FILE, &format!("{PROJECT}\n"));
    let said = project.run(&["apply", "dev", "--yes"], 0).err;
    assert!(said.contains("`postgres.main`: the login `app` stays: it owns `app`"), "{said}");
    let users = cloud.object("dev-main")["users"].clone();
    assert_eq!(users.as_array().unwrap().iter().map(|user| &user["name"]).collect::<Vec<_>>(), ["app"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn yandex_a_registry_goes_with_its_images_and_not_by_mistake() {
    let project = Project::new("").await;
    let file = DATABASE.lines().take(4).collect::<Vec<_>>().join("\n") + "\nregistries: {images: , others: }\n";
    let write = |file: &str| project.sandbox.write("envs/dev/config.yaml", &written(&project.cloud, file));
    write(&file);
    project.run(&["apply", "dev", "--yes"], 0).silent();
    for registry in ["dev-images", "dev-others"] {
        project.cloud.push(registry, "app");
        project.cloud.push(registry, "web");
    }
    write(&file.replace(", others: ", ""));
    let refused = project.run(&["apply", "dev", "--yes"], 2).err;
    assert!(refused.contains("this plan loses data: registry.others (the images in it)"), "{refused}");
    let images = || project.cloud.names().iter().filter(|name| name.starts_with("images ")).count();
    project.run(&["apply", "dev", "--yes", "--allow-data-loss"], 0).silent();
    assert_eq!(images(), 2);
    project.run(&["destroy", "dev", "--yes"], 0).silent();
    assert_eq!(project.cloud.names(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn yandex_a_network_keeps_its_name() {
    let project = Project::new("").await;
    let (root, cloud) = (project.sandbox.path(""), &project.cloud);
    apply(&root, cloud, NAMED).await;
    let before = cloud.ids();
    let renamed = NAMED.replace("network: {subnets", "network: {name: other, subnets");
    project.sandbox.write("envs/dev/config.yaml", &written(cloud, &renamed));
    project.sandbox.write(infra::project::FILE, &format!("{PROJECT}\n"));
    for command in [&["plan", "dev"][..], &["apply", "dev", "--yes"]] {
        let refused = project.run(command, 2).err;
        assert!(refused.contains("`network` cannot be changed"), "{refused}");
        assert!(refused.contains("write `network.name` as it was"), "{refused}");
    }
    assert_eq!(cloud.ids(), before);
}

/// Earlier versions asked cloud-init to format the second disk at each first boot: machines that have that are corrected as they run.
#[tokio::test(flavor = "multi_thread")]
async fn yandex_user_data_that_formats_a_disk_is_rewritten() {
    let (folder, cloud) = (tempfile::tempdir().unwrap(), Cloud::start().await);
    let project = folder.path();
    apply(project, &cloud, FILE).await;
    let right = cloud.object("dev-db")["metadata"].clone();
    assert!(!right["user-data"].as_str().unwrap().contains("fs_setup"));
    cloud.edit("dev-db", |machine| {
        machine["metadata"]["user-data"] =
            "#cloud-config\n{\"users\":[],\"fs_setup\":[{\"device\":\"/dev/x\"}]}\n".into();
        machine["metadata"]["of-an-admin"] = "stays".into();
        machine["labels"].as_object_mut().unwrap().remove("infra-user-data");
    });
    // Who may not read it changes other things, and does not say that it was looked at.
    let metadata = |path: &str| path.contains("/compute/v1/instances/");
    cloud.faults(move |call| (call.full && metadata(&call.path)).then_some(Fault::Refuse(403, 7)));
    let larger = FILE.replace("db: {resources: {memory: 4", "db: {resources: {memory: 6");
    assert_ne!(larger, FILE);
    assert_eq!(apply(project, &cloud, &larger).await, tally(0, 1, 0));
    cloud.no_faults();
    assert_eq!(cloud.object("dev-db")["labels"].get("infra-user-data"), None);
    assert_eq!(apply(project, &cloud, FILE).await, tally(0, 1, 0));
    cloud.edit("dev-db", |machine| {
        machine["metadata"]["user-data"] =
            "#cloud-config\n{\"users\":[],\"fs_setup\":[{\"device\":\"/dev/x\"}]}\n".into();
        machine["labels"].as_object_mut().unwrap().remove("infra-user-data");
    });
    let before = cloud.calls().len();
    assert_eq!(apply(project, &cloud, FILE).await, tally(0, 1, 0));
    let metadata = cloud.object("dev-db")["metadata"].clone();
    assert_eq!((&metadata["user-data"], &metadata["of-an-admin"]), (&right["user-data"], &json!("stays")));
    let calls = cloud.calls();
    let changes = calls[before..].iter().filter(|call| call.changes());
    let changes: Vec<String> =
        changes.map(|call| format!("{} {}", call.method, call.path.rsplit('/').next().unwrap())).collect();
    let id = cloud.object("dev-db")["id"].as_str().unwrap().to_owned();
    assert_eq!(changes, ["POST updateMetadata".to_owned(), format!("PATCH {id}")], "it is not stopped");
    assert_eq!(apply(project, &cloud, FILE).await, tally(0, 0, 0));
}

/// A machine that is stopped for its new disk may get another public address, which its names follow in the same apply.
#[tokio::test(flavor = "multi_thread")]
async fn yandex_a_name_follows_a_machine_that_is_restarted_for_its_disk() {
    let (folder, cloud) = (tempfile::tempdir().unwrap(), Cloud::start().await);
    let project = folder.path();
    let file = NAMED.replace(
        "network: {nat: true}, resources: {memory: 2}",
        "network: {nat: true}, resources: {memory: 2, secondary_disk_size: 5}",
    );
    assert_ne!(file, NAMED);
    apply(project, &cloud, &file).await;
    cloud.edit("dev-web", |machine| machine["secondaryDisks"] = json!([]));
    cloud.lose("dev-web-data");
    cloud.new_addresses_at_starts();
    apply(project, &cloud, &file).await;
    check(&cloud);
    // As when the disk is there, and someone has taken it off the machine.
    cloud.edit("dev-web", |machine| machine["secondaryDisks"] = json!([]));
    cloud.edit("dev-web-data", |disk| disk["instanceIds"] = json!([]));
    apply(project, &cloud, &file).await;
    check(&cloud);
    assert_eq!(apply(project, &cloud, &file).await, Tally::default());
}

/// A machine that was stopped to be changed runs again when the change is refused.
#[tokio::test(flavor = "multi_thread")]
async fn yandex_a_machine_runs_again_when_its_change_fails() {
    let project = Project::new("").await;
    let (root, cloud) = (project.sandbox.path(""), &project.cloud);
    apply(&root, cloud, NAMED).await;
    let larger = NAMED
        .replace("network: {nat: true}, resources: {memory: 2}}}", "network: {nat: true}, resources: {memory: 4}}}");
    project.sandbox.write("envs/dev/config.yaml", &written(cloud, &larger));
    project.sandbox.write(infra::project::FILE, &format!("{PROJECT}\n"));
    cloud.faults(|call| (call.method == "PATCH" && call.path.contains("/instances/")).then_some(Fault::Refuse(400, 3)));
    let said = project.run(&["apply", "dev", "--yes", "--target", "vm.web"], 1).err;
    assert!(said.contains("out of order"), "{said}");
    assert_eq!(cloud.object("dev-web")["status"], "RUNNING");
    cloud.no_faults();
    // One that is starting has a public address, although it does not show yet.
    cloud.edit("dev-web", |machine| {
        machine["status"] = "STARTING".into();
        machine["networkInterfaces"][0]["primaryV4Address"]["oneToOneNat"] = json!({ "ipVersion": "IPV4" });
    });
    project.sandbox.write("envs/dev/config.yaml", &written(cloud, NAMED));
    let plan = project.run(&["plan", "dev"], 0).out;
    assert!(!plan.contains("`public`"), "{plan}");
}

#[tokio::test(flavor = "multi_thread")]
async fn yandex_what_the_account_does_not_have_is_found_before_the_first_write() {
    let project = Project::new("").await;
    let file = written(&project.cloud, DATABASE)
        .replace("a: {v4_cidr_blocks: [10.1.0.0/24]}", "a: {v4_cidr_blocks: [10.1.0.0/24], zone: ru-central1-x}")
        .replace("cores: 2, memory: 8,", "cores: 2, memory: 8, class: s3-c2-m9,")
        + "instances: {web: {resources: {memory: 2, disk_type: network-ssdd}}}\nservice_accounts: {robots: {roles: [viewr]}}\n";
    project.sandbox.write("envs/dev/config.yaml", &file);
    let printed = project.run(&["apply", "dev", "--yes"], 1);
    for expected in [
        "yandex lacks what this plan needs; nothing was changed",
        "zone `ru-central1-x`: does not exist",
        "config.yaml:4:62: error: zone",
        "disk type `network-ssdd`: does not exist",
        "did you mean `network-ssd`?",
        "role `viewr`: does not exist",
        "class of databases `s3-c2-m9`: does not exist",
    ] {
        assert!(printed.err.contains(expected), "{expected}: {}", printed.err);
    }
    assert!(project.cloud.calls().iter().all(|call| !call.changes()));
}

#[tokio::test(flavor = "multi_thread")]
async fn yandex_mistakes_say_what_they_are_about() {
    // The cloud says no more than that it is not permitted.
    let (_, printed) = planned(&DATABASE.replace(FOLDER, "b1gsomebodyelses000"), 1).await;
    assert!(
        printed.err.contains("the folder `b1gsomebodyelses000` does not exist, or the credentials have no role in it"),
        "{}",
        printed.err
    );
    let platform = DATABASE.to_owned() + "instances: {web: {resources: {memory: 2, class: standard-v33}}}\n";
    let (_, printed) = planned(&platform, 2).await;
    for expected in ["Yandex Cloud has no platform `standard-v33`", "did you mean `standard-v3`?", "config.yaml:12:13"]
    {
        assert!(printed.err.contains(expected), "{expected}: {}", printed.err);
    }
    // What differs in a machine of a group is shown by itself, a mistake of a group once, and a rule that opens nothing.
    let group =
        "network: {subnets: {a: {v4_cidr_blocks: [10.1.0.0/24]}}, firewall: {web: {groups: [app], ports: [80]}}}\n";
    let group = DATABASE.lines().take(3).collect::<Vec<_>>().join("\n")
        + "\n"
        + group
        + "instance_groups: {app: {node_count: 3, resources: {memory: 2}, metadata: {docker-compose: {file: none.yml}}}}\n";
    let (_, printed) = planned(&group, 2).await;
    assert_eq!(printed.err.matches("there is no file").count(), 1, "{}", printed.err);
    let group = group.replace(", metadata: {docker-compose: {file: none.yml}}", "");
    let project = Project::new("").await;
    apply(&project.sandbox.path(""), &project.cloud, &group).await;
    project.sandbox.write("envs/dev/config.yaml", &written(&project.cloud, &group.replace("memory: 2", "memory: 4")));
    project.sandbox.write(infra::project::FILE, &format!("{PROJECT}\n"));
    let printed = project.run(&["plan", "dev"], 0);
    assert!(printed.out.contains("      machine.memory_mb: 2048 -> 4096\n"), "{}", printed.out);
    assert!(!printed.out.contains("authorized_keys"), "{}", printed.out);
    assert!(printed.err.contains("the firewall rule `web` opens nothing"), "{}", printed.err);
    assert_eq!(json!(project.cloud.roles("dev-app-group").len()), json!(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn yandex_a_lost_disk_is_whole_again_after_one_apply() {
    let (folder, cloud) = (tempfile::tempdir().unwrap(), Cloud::start().await);
    let project = folder.path();
    apply(project, &cloud, FILE).await;
    let (machine, disk) = (cloud.object("dev-db")["id"].clone(), cloud.object("dev-db-data")["id"].clone());
    cloud.edit("dev-db", |machine| machine["secondaryDisks"] = json!([]));
    cloud.lose("dev-db-data");
    apply(project, &cloud, FILE).await;
    let new = cloud.object("dev-db-data")["id"].clone();
    assert_ne!(new, disk);
    let now = cloud.object("dev-db");
    assert_eq!((&now["id"], &now["secondaryDisks"][0]["diskId"]), (&machine, &new));
    assert_eq!(apply(project, &cloud, FILE).await, tally(0, 0, 0));
    let (environment, provider) = load(project, &cloud, FILE);
    let expected = [("db".to_owned(), "/dev/disk/by-id/virtio-data0 /mnt/db-data 5".to_owned())];
    assert_eq!(disks(project, &environment, &provider).await, expected);
}

/// A machine that was stopped to be changed runs again when the change is refused.
#[tokio::test(flavor = "multi_thread")]
async fn yandex_a_machine_that_cannot_be_resized_runs_again() {
    let (folder, cloud) = (tempfile::tempdir().unwrap(), Cloud::start().await);
    let project = folder.path();
    let file = "
provider: yandex
yandex: {folder_id: b1gsimulated0folder00, endpoint: 'ENDPOINT', service_account_key_file: KEY}
instances: {web: {resources: {memory: 2}}}
";
    apply(project, &cloud, file).await;
    cloud.faults(|call| (call.method == "PATCH" && call.path.contains("/instances/")).then_some(Fault::Refuse(400, 9)));
    let (environment, provider) = load(project, &cloud, &file.replace("memory: 2", "cores: 4, memory: 8"));
    command(project, &environment, &provider, false).await.unwrap_err();
    assert_eq!(cloud.object("dev-web")["status"], "RUNNING");
}
