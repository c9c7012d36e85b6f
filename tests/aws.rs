//! The provider `aws` against moto.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use infra::{
    apply::Tally,
    cloud::aws::ec2::{Address, Instance, RouteTable, SecurityGroup, Volume, Vpc},
    config::Environment,
    provider::{Provider as _, aws::Aws},
    state::Store,
};
use serde_json::json;
use tokio::sync::Notify;

use crate::{
    e2e,
    support::{
        Sandbox, aws_model,
        commands::{command, destroy_by_label, environment, owner},
        containers::Containers,
        moto::{Fault, Moto, REGION},
        repository,
    },
};

/// Every kind, in one small environment.
pub(crate) const FILE: &str = "
provider: aws
aws: {region: REGION, endpoint: 'ENDPOINT', profile: test, shared_credentials_file: credentials, images: {debian-12: IMAGE, ubuntu-2204-lts: IMAGE}}
network: {subnets: {a: {v4_cidr_blocks: [10.1.0.0/24]}}, firewall: {web: {groups: [web], ports: [80, 443]}}}
instances:
  bastion: {network: {nat: true}, resources: {memory: 2}}
  web: {ansible_groups: [web], network: {nat: true}, resources: {memory: 2}}
  db: {resources: {memory: 4, secondary_disk_size: 5}}
service_accounts: {robots: {roles: [viewer, AmazonS3FullAccess]}}
instance_groups:
  app: {node_count: 2, service_account: robots, resources: {memory: 2}}
";
/// An image that moto has from the beginning.
pub(crate) const IMAGE: &str = "ami-12c6146b";

pub(crate) fn load(project: &Path, moto: &Moto, text: &str) -> (Environment, Arc<Aws>) {
    let text = text.replace("ENDPOINT", &moto.endpoint).replace("REGION", REGION).replace("IMAGE", IMAGE);
    std::fs::create_dir_all(project.join("dev")).unwrap();
    let keys = "[test]\naws_access_key_id = test\naws_secret_access_key = test\n";
    std::fs::write(project.join("dev/credentials"), keys).unwrap();
    let environment = environment(project, &text);
    let provider = Arc::new(Aws::open(&environment).unwrap());
    (environment, provider)
}

pub(crate) async fn apply(project: &Path, moto: &Moto, text: &str) -> Tally {
    let (environment, provider) = load(project, moto, text);
    command(project, &environment, &provider, false).await.unwrap_or_else(|error| panic!("{error}"))
}

pub(crate) async fn destroy(project: &Path, moto: &Moto) -> Tally {
    let (environment, provider) = load(project, moto, FILE);
    command(project, &environment, &provider, true).await.unwrap_or_else(|error| panic!("{error}"))
}

fn tally(created: usize, changed: usize, destroyed: usize) -> Tally {
    Tally { created, changed, destroyed }
}

/// Whether an action changes nothing.
#[expect(clippy::ptr_arg, reason = "it is called for the elements of a list of texts")]
fn reads(action: &String) -> bool {
    ["Describe", "List", "Get", "GET "].iter().any(|read| action.starts_with(read))
}

/// The machine of a name.
pub(crate) async fn machine(moto: &Moto, name: &str) -> Instance {
    let found = moto.client().instances(&[("tag:Name", name)]).await.unwrap();
    found.into_iter().find(|instance| instance.instance_state.name != "terminated").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn aws_the_life_of_an_environment() {
    let (folder, moto) = (tempfile::tempdir().unwrap(), Moto::start().await);
    let project = folder.path();
    let before = moto.count().await;
    assert_eq!(apply(project, &moto, FILE).await, tally(13, 0, 0));
    let there = moto.count().await;
    let more: Vec<(&str, usize)> =
        there.iter().zip(&before).map(|((kind, after), (_, before))| (*kind, after - before)).collect();
    assert_eq!(
        more,
        [
            ("networks", 1),
            ("subnets", 2),
            ("internet gateways", 1),
            // One for the private half of the subnet, and the network's main one for the rest.
            ("route tables", 2),
            // The network's own, that of the way in, and that of the ports.
            ("security groups", 3),
            ("addresses", 1),
            ("gateways", 1),
            // The second disk, and the first ones of the three single machines.
            ("volumes", 4),
            ("machines", 5),
            ("templates", 1),
            ("groups", 1),
            ("roles", 1),
            ("zones", 0),
            ("databases", 0),
            ("groups of subnets", 0),
            ("groups of settings", 0),
            ("profiles", 1),
            ("balancers", 0),
            ("groups of targets", 0),
        ]
    );
    // Each says which file it was made from, groups too; and the account is the real one.
    let (environment, provider) = load(project, &moto, FILE);
    let objects = provider.list(&owner(&environment)).await.unwrap();
    assert!(objects.iter().all(|object| object.terms.template == "dev"), "{objects:?}");
    assert_eq!(provider.account().await.unwrap(), format!("account 123456789012 in {REGION}"));
    // Only what asks for it has a public address, and only the web server is in a second group.
    assert!(machine(&moto, "dev-db").await.ip_address.is_empty());
    assert!(!machine(&moto, "dev-bastion").await.ip_address.is_empty());
    assert_eq!(machine(&moto, "dev-db").await.groups().len(), 1);
    assert_eq!(machine(&moto, "dev-web").await.groups().len(), 2);

    // Nothing to do: one list a kind, and one each for the networks' groups and gateways, the NAT gateways' addresses, the
    // balancers' groups, the databases' subnets and settings, the groups' templates, the profiles of roles, the interfaces that
    // machines have left, the tags and the two kinds of policies of the one role, and which account this is.
    moto.actions();
    assert_eq!(apply(project, &moto, FILE).await, tally(0, 0, 0));
    let actions = moto.actions();

    assert!(actions.iter().all(reads) && actions.len() == 24, "{actions:?}");

    // In place: a larger class while the machine is stopped, a port more, a larger disk.
    let id = machine(&moto, "dev-db").await.instance_id;
    let grown = FILE.replace("memory: 4, secondary_disk_size: 5", "cores: 4, memory: 8, secondary_disk_size: 8");
    moto.actions();
    assert_eq!(apply(project, &moto, &grown).await, tally(0, 2, 0));
    let actions = moto.actions();
    assert!(
        actions.contains(&"StopInstances".to_owned()) && actions.contains(&"StartInstances".to_owned()),
        "{actions:?}"
    );
    let db = machine(&moto, "dev-db").await;
    assert_eq!((db.instance_id.as_str(), db.instance_type.as_str()), (id.as_str(), "t3.xlarge"));
    // The type of a disk changes in place too.
    let disk = moto.client().list::<Volume>(&[("tag:infra-id", "disk.db-data")]).await.unwrap().remove(0);
    let typed = grown.replace("secondary_disk_size: 8", "disk_type: gp2, secondary_disk_size: 8");
    assert_eq!(apply(project, &moto, &typed).await, tally(0, 2, 0));
    let after = moto.client().list::<Volume>(&[("tag:infra-id", "disk.db-data")]).await.unwrap().remove(0);
    assert_eq!((after.volume_id, after.volume_type.as_str()), (disk.volume_id, "gp2"));
    let opened = typed.replace("[80, 443]", "[80, 443, 8080]").replace("node_count: 2", "node_count: 3");
    assert_eq!(apply(project, &moto, &opened).await, tally(1, 2, 1));
    let group = moto.client().auto_scaling_groups(None).await.unwrap().remove(0);
    assert_eq!((group.desired_capacity.as_str(), group.instances.len()), ("3", 3));
    // Larger machines in a group: the cloud exchanges them.
    let exchanged = opened
        .replace("service_account: robots, resources: {memory: 2}", "service_account: robots, resources: {memory: 4}");
    moto.actions();
    assert_eq!(apply(project, &moto, &exchanged).await, tally(0, 1, 0));
    assert!(moto.actions().contains(&"StartInstanceRefresh".to_owned()));
    assert_eq!(apply(project, &moto, &exchanged).await, tally(0, 0, 0));
    // A role loses a policy and gets another one; someone took the other away.
    let role = moto.client().roles("/infra/dev/").await.unwrap().remove(0).role_name;
    moto.client().detach_role_policy(&role, "arn:aws:iam::aws:policy/AmazonS3FullAccess").await.unwrap();
    assert_eq!(apply(project, &moto, &exchanged.replace("[viewer,", "[editor,")).await, tally(0, 1, 0));
    let policies = moto.client().role_policies(&role).await.unwrap();
    let names: Vec<&str> = policies.iter().map(|policy| policy.policy_arn.rsplit('/').next().unwrap()).collect();
    assert_eq!(names, ["AmazonS3FullAccess", "PowerUserAccess"]);
    // Another image is another machine.
    let other = exchanged.replace("db: {resources", "db: {image_family: ubuntu-2204-lts, resources");
    apply(project, &moto, &other).await;
    assert_ne!(machine(&moto, "dev-db").await.instance_id, id);

    destroy(project, &moto).await;
    assert_eq!(moto.count().await, before);
    assert!(Store::new(project, &"dev".parse().unwrap()).read().await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn aws_what_changes_behind_our_back_is_mended() {
    let (folder, moto) = (tempfile::tempdir().unwrap(), Moto::start().await);
    let project = folder.path();
    let before = moto.count().await;
    apply(project, &moto, FILE).await;
    let there = moto.count().await;
    let (web, db) = (machine(&moto, "dev-web").await.instance_id, machine(&moto, "dev-db").await.instance_id);
    moto.client().terminate_instances().instance_id(vec![&web]).send().await.unwrap();
    moto.client().stop_instances().instance_id(vec![&db]).send().await.unwrap();
    // Someone opened the network to the world.
    let groups = moto.client().list::<SecurityGroup>(&[("tag:infra-part", "network-group")]).await.unwrap();
    let open =
        json!({ "IpProtocol": "tcp", "FromPort": 5432, "ToPort": 5432, "IpRanges": [{ "CidrIp": "0.0.0.0/0" }] });
    let open = moto.client().authorize_ingress().group_id(&groups[0].group_id).ip_permissions(vec![open]);
    open.send().await.unwrap();
    assert_eq!(apply(project, &moto, FILE).await, tally(1, 2, 0));
    let groups = moto.client().list::<SecurityGroup>(&[("tag:infra-part", "network-group")]).await.unwrap();
    let ranges: Vec<&str> = groups[0].ip_permissions.iter().map(|rule| rule.ip_ranges[0].cidr_ip.as_str()).collect();
    assert_eq!(ranges, ["10.1.0.0/24"], "the machines reach each other, and nothing else comes in");
    assert_eq!(machine(&moto, "dev-db").await.instance_state.name, "running");
    assert_eq!(moto.count().await, there);
    // The state is lost: what carries our tags is found, and goes.
    std::fs::remove_dir_all(project.join(".infra")).unwrap();
    let (environment, provider) = load(project, &moto, FILE);
    destroy_by_label(project, &environment, &provider).await.unwrap();
    assert_eq!(moto.count().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn aws_faults_that_pass_are_not_noticed() {
    let moto = Moto::start().await;
    let before = moto.count().await;
    // Every seventh call is throttled, and the answer of another seventh is lost: each round begins one call later.
    for round in 0..7 {
        let folder = tempfile::tempdir().unwrap();
        let count = AtomicUsize::new(round);
        // moto knows no client tokens for subnets, networks and addresses, as the cloud itself: what is lost is looked up.
        moto.faults(move |action| match (count.fetch_add(1, Ordering::SeqCst) % 7, action) {
            (2, _) => Some(Fault::Throttle),
            (
                5,
                "CreateAutoScalingGroup" | "RunInstances" | "CreateNatGateway" | "CreateRouteTable" | "CreateVolume",
            ) => None,
            (5, _) => Some(Fault::LoseAnswer),
            _ => None,
        });
        assert_eq!(apply(folder.path(), &moto, FILE).await, tally(13, 0, 0), "round {round}");
        moto.no_faults();
        assert_eq!(apply(folder.path(), &moto, FILE).await, tally(0, 0, 0), "round {round}");
        destroy(folder.path(), &moto).await;
        assert_eq!(moto.count().await, before, "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn aws_a_crash_anywhere_is_gone_on_from() {
    let mut tried = 0;
    let moto = Moto::start().await;
    let before = moto.count().await;
    for nth in 0.. {
        let folder = tempfile::tempdir().unwrap();
        let project = folder.path();
        let (killed, count) = (Arc::new(Notify::new()), AtomicUsize::new(0));
        let (strike, struck) = (Arc::clone(&killed), Arc::new(AtomicUsize::new(0)));
        let seen = Arc::clone(&struck);
        moto.faults(move |action| {
            if !reads(&action.to_owned()) && count.fetch_add(1, Ordering::SeqCst) == nth {
                seen.fetch_add(1, Ordering::SeqCst);
                // The program is gone while the call is on its way: it is carried out, but no one hears of it.
                strike.notify_one();
            }
            None
        });
        let (environment, provider) = load(project, &moto, SMALL);
        tokio::select! {
            result = command(project, &environment, &provider, false) => drop(result.unwrap()),
            () = killed.notified() => {}
        }
        // A call that is still on its way arrives before the next command looks.
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        moto.no_faults();
        apply(project, &moto, SMALL).await;
        let there = moto.count().await;
        let machines = there.iter().zip(&before).map(|((_, after), (_, before))| after - before).collect::<Vec<_>>();
        assert_eq!(machines, [1, 3, 1, 2, 2, 2, 1, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0], "at {nth}: {there:?}");
        assert_eq!(apply(project, &moto, SMALL).await, tally(0, 0, 0), "at {nth}");
        destroy(project, &moto).await;
        assert_eq!(moto.count().await, before, "at {nth}");
        if struck.load(Ordering::SeqCst) == 0 {
            break;
        }
        tried += 1;
    }
    println!("{tried} crashes, 0 orphans, 0 doubles");
    assert!(tried >= 38, "{tried}");
}

/// As few objects as one machine needs, and one of each kind beside it.
const SMALL: &str = "
provider: aws
aws: {region: REGION, endpoint: 'ENDPOINT', profile: test, shared_credentials_file: credentials, images: {debian-12: IMAGE}}
addresses: {fixed: }
instances:
  db: {network: {nat: true, address: fixed}, resources: {memory: 4, secondary_disk_size: 5}}
dns: {world: {zone: example.org, records: [{name: db, to: db}]}}
service_accounts: {robots: {roles: [viewer]}}
instance_groups:
  app: {node_count: 1, service_account: robots, resources: {memory: 2}}
postgres:
  main: {users: {app: }, databases: {app: {owner: app}}, resources: {disk_size: 20}}
";

#[tokio::test(flavor = "multi_thread")]
async fn aws_a_front_of_several_machines_has_a_balancer() {
    let (folder, moto) = (tempfile::tempdir().unwrap(), Moto::start().await);
    let project = folder.path();
    let before = moto.count().await;
    let front = "nginx:\n  front:\n    nodes: 2\n    resources: {memory: 2}\n    \
                 upstreams: {app: {group: app, port: 80}}\n    locations: {/: {upstream: app}}\n";
    let file = format!("{FILE}{front}");
    assert_eq!(apply(project, &moto, &file).await, tally(16, 0, 0));
    let groups = moto.client().target_groups().await.unwrap();
    assert_eq!(groups.len(), 2);
    assert_eq!(moto.client().targets(&groups[0].target_group_arn).await.unwrap().len(), 2);
    assert_eq!(apply(project, &moto, &file).await, tally(0, 0, 0));
    // One machine more behind it: the balancer stays, its targets change.
    assert_eq!(apply(project, &moto, &file.replace("nodes: 2", "nodes: 3")).await, tally(1, 1, 0));
    assert_eq!(moto.client().targets(&groups[1].target_group_arn).await.unwrap().len(), 3);
    destroy(project, &moto).await;
    assert_eq!(moto.count().await, before);
    assert!(moto.client().load_balancers().await.unwrap().is_empty());
    assert!(moto.client().target_groups().await.unwrap().is_empty());
}

/// A managed database, and as little as it needs.
const MANAGED: &str = "
provider: aws
aws: {region: REGION, endpoint: 'ENDPOINT', profile: test, shared_credentials_file: credentials}
network: {subnets: {a: {v4_cidr_blocks: [10.1.0.0/24]}}}
postgres:
  main:
    version: 15
    managed: true
    resources: {cores: 2, memory: 4, disk_size: 30}
    settings: {shared_buffers: 1GB, statement_timeout: 30s, jit: 'off'}
    users: {app: }
    databases: {app: {owner: app}}
    backup: {schedule: '45 23 * * *', keep: 14d}
";

#[tokio::test(flavor = "multi_thread")]
async fn aws_a_managed_database() {
    let (folder, moto) = (tempfile::tempdir().unwrap(), Moto::start().await);
    let project = folder.path();
    let before = moto.count().await;
    // The network, its gateway and routes, both halves of the subnet, a small one in another zone, and the database.
    assert_eq!(apply(project, &moto, MANAGED).await, tally(7, 0, 0));
    let server = moto.client().db_instances().await.unwrap().remove(0);
    assert_eq!(
        (
            server.class.as_str(),
            server.allocated_storage.as_str(),
            server.master_username.as_str(),
            server.db_name.as_str()
        ),
        ("db.t3.medium", "30", "app", "app")
    );
    assert!(server.endpoint.address.ends_with(".rds.amazonaws.com"), "{}", server.endpoint.address);
    let state = std::fs::read_to_string(project.join(".infra/dev/state.json")).unwrap();
    assert!(state.contains(&server.endpoint.address));
    moto.actions();
    assert_eq!(apply(project, &moto, MANAGED).await, tally(0, 0, 0));
    assert!(moto.actions().iter().all(reads));
    // In place: a larger class and disk, another version with its own settings.
    let larger =
        MANAGED.replace("memory: 4, disk_size: 30", "memory: 8, disk_size: 40").replace("version: 15", "version: 16");
    assert_eq!(apply(project, &moto, &larger).await, tally(0, 1, 0));
    let after = moto.client().db_instance(&server.identifier).await.unwrap().unwrap();
    assert_eq!((after.class.as_str(), after.allocated_storage.as_str()), ("db.t3.large", "40"));
    assert!(after.engine_version.starts_with("16"), "{}", after.engine_version);
    assert_eq!(apply(project, &moto, &larger).await, tally(0, 0, 0));
    // A smaller disk and another login cannot be had; nothing is lost.
    for (file, expected) in [
        (larger.replace("disk_size: 40", "disk_size: 25"), "`disk_gb` cannot be made smaller: it is 40"),
        (larger.replace("version: 16", "version: 15"), "`version` cannot be made smaller: it is 16"),
        (larger.replace("app", "other"), "`databases` cannot be changed"),
        (
            larger.replace("    version:", "    network: {nat: true}\n    version:"),
            "`subnet` cannot be changed from `a` to `a-public`",
        ),
        (
            larger.replace("{region: REGION", "{zone: REGIONb, region: REGION"),
            "`postgres.main`: `zone` cannot be changed from `eu-central-1a` to `eu-central-1b`",
        ),
    ] {
        assert_ne!(file, larger);
        let (environment, provider) = load(project, &moto, &file);
        let error = command(project, &environment, &provider, false).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert!(format!("{error} {:?}", error.hints()).contains("config.yaml:6:3"), "{error:?}");
    }
    assert_eq!(moto.client().db_instances().await.unwrap().len(), 1);
    // A lost tag is no reason to make it again: the state knows that it was finished.
    moto.untag_database(&server.arn).await;
    let untagged = moto.client().db_instance(&server.identifier).await.unwrap().unwrap();
    assert!(!untagged.tag_list.iter().any(|tag| tag.key == "infra-ready"));
    assert_eq!(apply(project, &moto, &larger).await, tally(0, 0, 0));
    assert!(!moto.parameters().contains("DeleteDBInstance.SkipFinalSnapshot"));
    // It goes with its environment, and a last snapshot stays.
    destroy(project, &moto).await;
    assert_eq!(moto.count().await, before);
    assert!(moto.parameters().contains("DeleteDBInstance.FinalDBSnapshotIdentifier"));
}

#[tokio::test(flavor = "multi_thread")]
async fn aws_doctor_tells_what_an_apply_needs() {
    let moto = Moto::start().await;
    let file = FILE.replace("ENDPOINT", &moto.endpoint).replace("REGION", REGION).replace("IMAGE", IMAGE);
    let sandbox = Sandbox::new()
        .file("envs/dev/config.yaml", &file)
        .file("envs/dev/credentials", "[test]\naws_access_key_id = test\naws_secret_access_key = test\n");
    let printed = tokio::task::block_in_place(|| sandbox.run(&["doctor", "dev"], 0));
    for expected in [
        "ok       credentials: arn:aws:",
        "ok       image family `debian-12`: ami-",
        "ok       quota of networks (VPCs): 1 of 5 are used, and this environment takes 1",
        // moto has no such quota: whoever cannot read it is told so, and goes on.
        "quota of processors of running machines",
    ] {
        assert!(printed.out.contains(expected), "{expected}: {}", printed.out);
    }
    for number in 0..4 {
        moto.client().create_vpc().cidr_block(&format!("10.{number}.0.0/16")).send().await.unwrap();
    }
    let printed = tokio::task::block_in_place(|| sandbox.run(&["doctor", "dev"], 1));
    assert!(printed.out.contains("missing  quota of networks (VPCs): 5 of 5 are used"), "{}", printed.out);
}

/// A network that someone else made is taken over with what it has beside itself; what differs is planned.
#[tokio::test(flavor = "multi_thread")]
async fn aws_what_somebody_else_made_is_taken_over() {
    let moto = Moto::start().await;
    let file = "{provider: aws, aws: {endpoint: 'ENDPOINT', region: REGION, profile: test, shared_credentials_file: credentials},\n \
                network: {subnets: {a: {v4_cidr_blocks: [172.29.0.0/20]}}}, addresses: {fixed: },\n \
                instances: {web: {network: {nat: true}, resources: {memory: 2}}}}\n";
    let sandbox = Sandbox::new()
        .file("envs/dev/config.yaml", &file.replace("ENDPOINT", &moto.endpoint).replace("REGION", REGION))
        .file("envs/dev/credentials", "[test]\naws_access_key_id = test\naws_secret_access_key = test\n");
    let run = |arguments: &[&str], code| tokio::task::block_in_place(|| sandbox.run(arguments, code));
    let client = moto.client();
    let closed = client.create_vpc().cidr_block("172.30.0.0/16").send().await.unwrap();
    let closed = closed.pointer("/vpc/vpcId").and_then(serde_json::Value::as_str).unwrap().to_owned();
    let refused = run(&["import", "dev", "network.main", &closed], 2).err;
    assert!(refused.contains("main route table does not lead to the world"), "{refused}");
    let refused = run(&["import", "dev", "vm.web", "i-0123456789abcdef0"], 2).err;
    assert!(refused.contains("their host keys are not known here"), "{refused}");

    // One whose gateway is missing at first.
    let made = client.create_vpc().cidr_block("172.29.0.0/16").send().await.unwrap();
    let vpc = made.pointer("/vpc/vpcId").and_then(serde_json::Value::as_str).unwrap().to_owned();
    let gateway = client.create_internet_gateway().send().await.unwrap();
    let gateway = gateway.pointer("/internetGateway/internetGatewayId").and_then(serde_json::Value::as_str).unwrap();
    client.attach_internet_gateway().internet_gateway_id(gateway).vpc_id(&vpc).send().await.unwrap();
    let main = client.list::<RouteTable>(&[("vpc-id", &vpc), ("association.main", "true")]).await.unwrap();
    let route = client.create_route().route_table_id(&main[0].route_table_id).destination_cidr_block("0.0.0.0/0");
    route.gateway_id(gateway).send().await.unwrap();
    run(&["import", "dev", "network.main", &vpc], 0);
    let address = client.allocate_address().domain("vpc").send().await.unwrap();
    let address = address.get("allocationId").and_then(serde_json::Value::as_str).unwrap().to_owned();
    run(&["import", "dev", "address.fixed", &address], 0);
    let again = run(&["import", "dev", "address.fixed", &closed], 2).err;
    assert!(again.contains(&format!("`address.fixed` is `{address}` already")), "{again}");
    let plan = run(&["plan", "dev"], 0).out;
    // Its range has room for the subnet; only its security group is to let in what the file's would.
    let planned: Vec<&str> = plan.lines().filter(|line| !line.is_empty()).take(6).collect();
    assert_eq!(
        planned,
        [
            "+ gateway.egress  shared egress  (it is new)",
            "~ network.main  dev  (`cidrs`, `ssh_from` changed)",
            "      cidrs: [] -> [\"172.29.0.0/20\"]",
            "      ssh_from: [] -> [\"0.0.0.0/0\"]",
            "+ route_table.egress  0.0.0.0/0 through egress  (it is new)",
            "+ subnet.a  172.29.0.0/21  (it is new)",
        ]
    );
    assert!(!plan.contains("address.fixed"), "{plan}");
    run(&["destroy", "dev", "--yes"], 0);
    let left = client.list::<Vpc>(&[("cidr", "172.29.0.0/16")]).await.unwrap();
    assert_eq!(left.len(), 0, "it is the environment's own, and goes with it");
    assert_eq!(client.list::<Vpc>(&[("vpc-id", &closed)]).await.unwrap().len(), 1);
}

#[test]
fn aws_what_an_environment_costs_is_told_as_far_as_it_is_known() {
    let sandbox = Sandbox::new()
        .file(
            "envs/dev/config.yaml",
            &NAMED.replace("ENDPOINT", "http://127.0.0.1:1").replace("REGION", REGION).replace("IMAGE", IMAGE),
        )
        .file("envs/dev/credentials", "[test]\naws_access_key_id = test\naws_secret_access_key = test\n");
    let printed = sandbox.run(&["cost", "dev"], 0);
    for expected in [
        "vm.web          instance/t3.small  1         0.0240   17.52",
        "vm.web          disk/gp3           10        unknown  unknown",
        "0.048 USD an hour, 35.04 a month, by prices of 2025-03-02; the prices of 7 things are unknown",
        "prices: Apache Libcloud",
    ] {
        assert!(printed.out.contains(expected), "{}", printed.out);
    }
    // The user's own prices win, and what they name is known.
    let own = "aws: {currency: EUR, date: 2026-11-01, source: our contract, regions: {'*': {disk/gp3: 0.073, gateway: 0.05}}}\n";
    sandbox.write("prices.yaml", own);
    let value: serde_json::Value = serde_json::from_str(&sandbox.run(&["cost", "dev", "--json"], 0).out).unwrap();
    assert_eq!((&value["unknown"], &value["currency"]), (&4.into(), &"EUR".into()));
    assert!((value["hourly"].as_f64().unwrap() - 0.1).abs() < 1e-9, "{value}");
    sandbox.write("prices.yaml", "aws: {regions: {}}\n");
    assert!(sandbox.run(&["cost", "dev"], 2).err.contains("prices.yaml"));
}

/// Names and addresses.
const NAMED: &str = "
provider: aws
aws: {region: REGION, endpoint: 'ENDPOINT', profile: test, shared_credentials_file: credentials, images: {debian-12: IMAGE}}
addresses: {fixed: }
instances:
  web: {network: {nat: true, address: fixed}, resources: {memory: 2}}
  inner: {resources: {memory: 2}}
dns:
  world:
    zone: example.org
    records:
      - {name: '@', to: fixed}
      - {name: www, type: cname, values: [example.org.], ttl: 1h}
  home: {zone: home.internal, private: true, records: [{name: inner, to: inner}]}
";

#[tokio::test(flavor = "multi_thread")]
async fn aws_names_and_addresses() {
    let (folder, moto) = (tempfile::tempdir().unwrap(), Moto::start().await);
    let project = folder.path();
    let before = moto.count().await;
    assert_eq!(apply(project, &moto, NAMED).await, tally(10, 0, 0));
    let zones = moto.client().hosted_zones().await.unwrap();
    let zone = |name: &str| zones.iter().find(|zone| zone.name == name).unwrap().short_id().to_owned();
    let addresses = moto.client().list::<Address>(&[("tag:infra-id", "address.fixed")]).await.unwrap();
    let fixed = addresses[0].public_ip.clone();
    assert_eq!(machine(&moto, "dev-web").await.ip_address, fixed);
    assert_eq!(
        records(&moto, &zone("example.org.")).await,
        [format!("example.org. A 600 {fixed}"), "www.example.org. CNAME 3600 example.org.".to_owned()]
    );
    let inner = machine(&moto, "dev-inner").await.private_ip_address;
    assert_eq!(records(&moto, &zone("home.internal.")).await, [format!("inner.home.internal. A 600 {inner}")]);
    assert_eq!(apply(project, &moto, NAMED).await, tally(0, 0, 0));
    // In place: the machine loses the address, and a record points to the machine instead.
    let changed = NAMED
        .replace("nat: true, address: fixed", "nat: true")
        .replace("type: cname, values: [example.org.], ttl: 1h", "to: fixed, ttl: 60");
    assert_eq!(apply(project, &moto, &changed).await, tally(0, 2, 0));
    assert!(
        moto.client().list::<Address>(&[("tag:infra-id", "address.fixed")]).await.unwrap()[0].association_id.is_empty()
    );
    assert_eq!(records(&moto, &zone("example.org.")).await[1], format!("www.example.org. A 60 {fixed}"));
    assert_eq!(apply(project, &moto, &changed).await, tally(0, 0, 0));
    destroy(project, &moto).await;
    assert_eq!(moto.count().await, before);
}

/// The records of a zone beside its own, one a line.
async fn records(moto: &Moto, zone: &str) -> Vec<String> {
    let all = moto.client().record_sets(zone).await.unwrap();
    let others = all.iter().filter(|records| !matches!(records.r#type.as_str(), "NS" | "SOA"));
    others.map(|one| format!("{} {} {} {}", one.name, one.r#type, one.ttl, one.resource_records[0].value)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn aws_a_refusal_is_told_with_its_place() {
    let (folder, moto) = (tempfile::tempdir().unwrap(), Moto::start().await);
    moto.faults(|action| (action == "CreateVpc").then_some(Fault::Refuse));
    let (environment, provider) = load(folder.path(), &moto, FILE);
    let error = command(folder.path(), &environment, &provider, false).await.unwrap_err();
    let text = format!("{error} {:?}", error.hints());
    assert!(text.contains("out of order (UnauthorizedOperation, request simulated)"), "{text}");
    assert!(text.contains("config.yaml:4:") && text.contains("lacks a permission"), "{text}");
}

#[test]
fn aws_the_service_model_finds_wrong_names() {
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let mut request =
        vec![pair("Action", "CreateVpc"), pair("Version", "2016-11-15"), pair("CidrBlock", "10.0.0.0/24")];
    assert_eq!(aws_model::check(&request), Vec::<String>::new());
    request.push(pair("Cidr", "10.0.0.0/24"));
    request.push(pair("TagSpecification.1.ResourceType", "no-such-kind"));
    request.push(pair("DryRun", "perhaps"));
    assert_eq!(aws_model::check(&request).len(), 3);
    assert_eq!(aws_model::check(&[pair("Action", "DeleteSubnet"), pair("Version", "2016-11-15")]).len(), 1);
}

/// The shipped dev environment on moto's machines, which are real here: only the provider and the sizes of machines differ.
#[tokio::test(flavor = "multi_thread")]
async fn e2e_aws_the_dev_environment_from_nothing_to_nothing() {
    let moto = Moto::start().await;
    let machines = Arc::new(Containers::new(&format!("e2e-aws-{}", std::process::id())).await);
    moto.machines(Arc::<Containers>::clone(&machines), "10.178.0.0/24");
    let before = moto.count().await;
    let sandbox = Sandbox::new();
    e2e::copy(&repository().join("envs/dev"), &sandbox.path("envs/dev"));
    sandbox.write("envs/dev/credentials", "[test]\naws_access_key_id = test\naws_secret_access_key = test\n");
    let file = sandbox.path("envs/dev/config.yaml");
    let provider = format!(
        "provider: aws\naws: {{region: {REGION}, endpoint: '{}', profile: test, shared_credentials_file: credentials, \
         images: {{debian-12: {IMAGE}}}}}",
        moto.endpoint
    );
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(
        &file,
        text.replace("provider: docker", &provider)
            .replace("10.5.0.0/24", "10.178.0.0/24")
            .replace("disk_size: 5", "disk_size: 20"),
    )
    .unwrap();
    let run = |arguments: &[&str]| tokio::task::block_in_place(|| sandbox.run(arguments, 0));

    let first = run(&["apply", "dev", "--yes"]);
    println!("{}", first.err);
    let output = |name: &str| run(&["output", "dev", name]).out.trim().to_owned();
    let (url, client) = (output("application"), e2e::http(&output("ca")));
    let pong = client.get(format!("{url}/ping")).send().await.unwrap();
    assert_eq!((pong.status().as_u16(), pong.text().await.unwrap().as_str()), (200, "pong\n"));
    let second = run(&["apply", "dev", "--yes"]);
    assert_eq!(e2e::total(&second), 0, "{}", second.err);
    assert!(second.err.contains("resources: 0 created, 0 changed, 0 destroyed"), "{}", second.err);

    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("node_count: 2", "node_count: 3")).unwrap();
    let up = run(&["apply", "dev", "--yes"]);
    assert!(up.err.contains("resources: 0 created, 1 changed, 0 destroyed"), "{}", up.err);
    let upstreams = "sudo grep -c 'server 10.*max_fails' /etc/nginx/nginx.conf";
    assert_eq!(run(&["ssh", "dev", "nginx-front", "--", upstreams]).out.trim(), "3");

    // The database is the cloud's own: no machine of ours, and the application has filled it.
    assert_eq!(client.get(format!("{url}/db_dummy")).send().await.unwrap().status().as_u16(), 200);
    // A member is lost, the cloud makes another one, and the next apply configures it.
    let lost = machine(&moto, "dev-bingo").await.instance_id;
    moto.lose(&lost).await;
    run(&["apply", "dev", "--yes"]);
    assert_eq!(run(&["ssh", "dev", "bingo-2", "--", "systemctl is-active bingo"]).out.trim(), "active");
    assert_eq!(client.get(format!("{url}/ping")).send().await.unwrap().status().as_u16(), 200);

    run(&["destroy", "dev", "--yes"]);
    assert_eq!(moto.count().await, before);
    assert_eq!(machines.left().await, 0);
}

/// However many machines are created at once, they are listed together.
#[tokio::test(flavor = "multi_thread")]
async fn aws_machines_that_are_created_together_are_listed_together() {
    let (folder, moto) = (tempfile::tempdir().unwrap(), Moto::start().await);
    let project = folder.path();
    let machines: String = (0..12).map(|number| format!("  m{number}: {{resources: {{memory: 2}}}}\n")).collect();
    let account = FILE.lines().take(3).collect::<Vec<_>>().join("\n");
    let file = format!("{account}\ninstances:\n{machines}");
    moto.actions();
    apply(project, &moto, &file).await;
    let lists = moto.actions().iter().filter(|action| *action == "DescribeInstances").count();
    assert!(lists <= 12, "{lists}");
    destroy(project, &moto).await;
}
