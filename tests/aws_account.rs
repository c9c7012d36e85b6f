//! What an account or a region does not have is found before the first write, at each place of the file that asks for it.

use crate::{
    aws::{FILE, IMAGE, apply},
    support::{
        Sandbox,
        commands::PROJECT,
        moto::{Moto, REGION},
    },
};

/// A file for the program itself, with the credentials that it names.
fn sandbox(moto: &Moto, text: &str) -> Sandbox {
    Sandbox::new()
        .file("envs/dev/config.yaml", &written(moto, text))
        .file("envs/dev/credentials", "[test]\naws_access_key_id = test\naws_secret_access_key = test\n")
        .file(infra::project::FILE, &format!("{PROJECT}\n"))
}

fn written(moto: &Moto, text: &str) -> String {
    text.replace("ENDPOINT", &moto.endpoint).replace("REGION", REGION).replace("IMAGE", IMAGE)
}

/// All calls that were made so far only read.
fn only_reads(moto: &Moto) {
    let actions = moto.actions();
    let writes = actions
        .iter()
        .filter(|action| !["Describe", "List", "Get", "GET "].iter().any(|read| action.starts_with(read)));
    assert_eq!(writes.collect::<Vec<_>>(), Vec::<&String>::new());
    assert!(!actions.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn aws_what_the_account_does_not_have_is_found_before_the_first_write() {
    let moto = Moto::start().await;
    let file = "\
provider: aws
aws: {region: REGION, endpoint: 'ENDPOINT', profile: test, shared_credentials_file: credentials, images: {debian-12: IMAGE}}
network:
  subnets:
    a: {v4_cidr_blocks: [10.1.0.0/24], zone: eu-central-1x}
    b: {v4_cidr_blocks: [10.1.1.0/24], zone: eu-central-1c}
instances:
  web: {network: {subnet: b}, resources: {class: t3.smal}}
  arm: {network: {subnet: b}, resources: {class: a1.large}}
  lost: {network: {subnet: a}, resources: {memory: 2}}
service_accounts:
  robots: {roles: [viewer, AmazonS3FullAcces]}
  pathed: {roles: [AmazonEC2RoleforSSM]}
postgres:
  main:
    network: {subnet: b}
    managed: true
    resources: {class: db.t3.mediun, disk_size: 20}
    users: {app: }
    databases: {app: {owner: app}}
";
    let sandbox = sandbox(&moto, file);
    let run = |arguments: &[&str], code| tokio::task::block_in_place(|| sandbox.run(arguments, code));
    let refused = run(&["apply", "dev", "--yes"], 1).err;
    let mut last = 0;
    for (message, place) in [
        ("zone `eu-central-1x`: does not exist", "config.yaml:5:46"),
        ("class of machines `t3.smal`: does not exist in this region", "config.yaml:8:50"),
        (
            "class of machines `a1.large`: is not offered in eu-central-1c, only in eu-central-1a, eu-central-1b",
            "config.yaml:9:50",
        ),
        ("policy `AmazonS3FullAcces`: does not exist", "config.yaml:12:28"),
        ("policy `AmazonEC2RoleforSSM`: does not exist", "config.yaml:13:20"),
        ("class of databases `db.t3.mediun`: does not exist for PostgreSQL in this region", "config.yaml:18:24"),
    ] {
        assert_eq!(refused.matches(message).count(), 1, "{message}: {refused}");
        let at = refused.find(&format!("{place}: error: {message}"));
        let at = at.unwrap_or_else(|| panic!("{place}: error: {message}: {refused}"));
        assert!(at > last, "the mistakes are in the order of the file: {refused}");
        last = at;
    }
    for hint in ["t3.small", "AmazonS3FullAccess", "service-role/AmazonEC2RoleforSSM", "db.t3.medium"] {
        assert!(refused.contains(&format!("did you mean `{hint}`?")), "{hint}: {refused}");
    }
    let zones = "did you mean `eu-central-1a`? there are: eu-central-1a, eu-central-1b, eu-central-1c";
    assert!(refused.contains(zones), "{refused}");
    assert!(refused.contains("nothing was changed"), "{refused}");
    only_reads(&moto);
    // The program says the same in a form for programs, and `doctor` says it too.
    let json = run(&["apply", "dev", "--yes", "--json"], 1);
    assert!(format!("{}{}", json.out, json.err).contains("\"column\":46"), "{} {}", json.out, json.err);
    let doctor = run(&["doctor", "dev"], 1).out;
    assert!(doctor.contains("missing  zone `eu-central-1x`: does not exist; asked for at"), "{doctor}");
    assert!(doctor.contains("config.yaml:5:46"), "{doctor}");
}

/// A network has five ranges, unless the account may have more; those of neighbouring subnets are one.
#[tokio::test(flavor = "multi_thread")]
async fn aws_too_many_ranges_of_a_network_are_one_mistake_before_the_first_write() {
    let moto = Moto::start().await;
    let file = |ranges: &[u8]| {
        let subnet = |range: &u8| format!("    s{range}: {{v4_cidr_blocks: [10.1.{range}.0/24]}}\n");
        let subnets: String = ranges.iter().map(subnet).collect();
        format!(
            "provider: aws\naws: {{region: REGION, endpoint: 'ENDPOINT', profile: test, shared_credentials_file: credentials}}\n\
             network:\n  subnets:\n{subnets}"
        )
    };
    let sandbox = sandbox(&moto, &file(&[10, 12, 14, 16, 18, 20]));
    let run = |arguments: &[&str], code| tokio::task::block_in_place(|| sandbox.run(arguments, code));
    let place = "error: quota of address ranges in a network (VPC): its subnets make 6 ranges";
    let refused = run(&["apply", "dev", "--yes"], 1).err;
    assert_eq!(refused.matches("config.yaml:").count(), 1, "{refused}");
    assert!(refused.contains(&format!("config.yaml:10:11: {place}")), "{refused}");
    assert!(refused.contains("nothing was changed"), "{refused}");
    only_reads(&moto);
    // Neighbours are one range; one more than there may be is found when the network grows, too.
    sandbox.write("envs/dev/config.yaml", &written(&moto, &file(&[10, 11, 12, 14, 16, 18])));
    run(&["apply", "dev", "--yes"], 0).silent();
    moto.actions();
    sandbox.write("envs/dev/config.yaml", &written(&moto, &file(&[10, 11, 12, 14, 16, 18, 21])));
    let refused = run(&["apply", "dev", "--yes"], 1).err;
    assert!(refused.contains(&format!("config.yaml:11:11: {place}")), "{refused}");
    only_reads(&moto);
}

#[tokio::test(flavor = "multi_thread")]
async fn aws_a_change_that_the_region_cannot_make_is_found_before_a_machine_is_stopped() {
    let moto = Moto::start().await;
    let sandbox = sandbox(&moto, FILE);
    apply(&sandbox.path(""), &moto, FILE).await;
    let wrong = FILE.replace("db: {resources: {memory: 4,", "db: {resources: {class: t3.mediun,");
    assert_ne!(wrong, FILE);
    sandbox.write("envs/dev/config.yaml", &written(&moto, &wrong));
    moto.actions();
    let refused = tokio::task::block_in_place(|| sandbox.run(&["apply", "dev", "--yes"], 1)).err;
    assert!(refused.contains("class of machines `t3.mediun`: does not exist in this region"), "{refused}");
    only_reads(&moto);
}

#[tokio::test(flavor = "multi_thread")]
async fn aws_a_catalogue_that_cannot_be_read_stops_nobody() {
    let moto = Moto::start().await;
    let file = "{provider: aws, aws: {region: REGION, endpoint: 'ENDPOINT', profile: test, shared_credentials_file: credentials},\n \
                network: {subnets: {a: {v4_cidr_blocks: [10.1.0.0/24]}}},\n \
                postgres: {main: {managed: true, users: {app: }, databases: {app: {owner: app}}, resources: {disk_size: 20}}}}\n";
    // moto itself has no list of the classes of databases.
    let sandbox = sandbox(&moto, &file.replace("ENDPOINT", &moto.direct()));
    let printed = tokio::task::block_in_place(|| sandbox.run(&["doctor", "dev"], 0)).out;
    assert!(printed.contains("warning  classes of databases can be read: the list of them is empty"), "{printed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn aws_an_unknown_profile_is_named() {
    let moto = Moto::start().await;
    let sandbox = sandbox(&moto, &FILE.replace("profile: test", "profile: tets"));
    let refused = tokio::task::block_in_place(|| sandbox.run(&["plan", "dev"], 2)).err;
    assert!(refused.contains("aws: the profile `tets` (") && refused.contains("config.yaml:3:"), "{refused}");
    assert!(refused.contains(") is not in `") && refused.contains("did you mean `test`?"), "{refused}");
    assert!(moto.actions().is_empty());
}
