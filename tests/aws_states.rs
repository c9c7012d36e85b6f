//! What is not at rest, has failed or was interrupted on AWS: how it shows, and what becomes of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use infra::{
    cloud::aws::ec2::{RouteTable, SecurityGroup, Subnet, Volume, Vpc},
    error::Error,
    provider::{Health, Provider as _},
    state::Store,
};
use serde_json::{Map, json};
use tokio::sync::Notify;

use crate::{
    aws::{apply, destroy, load, machine},
    aws_repair::planned,
    support::{
        commands::{command, owner},
        moto::{Fault, Moto},
    },
};

/// What a file begins with.
const HEAD: &str = "
provider: aws
aws: {region: REGION, endpoint: 'ENDPOINT', profile: test, shared_credentials_file: credentials, images: {debian-12: IMAGE}}
";

fn file(rest: &str) -> String {
    format!("{HEAD}{rest}\n")
}

const DATABASE: &str = "postgres: {main: {resources: {disk_size: 20}, users: {app: }, databases: {app: {owner: app}}}}";

/// The error of a command.
async fn fails(project: &Path, moto: &Moto, text: &str, destroy: bool) -> Error {
    let (environment, provider) = load(project, moto, text);
    command(project, &environment, &provider, destroy).await.unwrap_err()
}

/// How the objects of the environment are, by their addresses.
async fn healths(project: &Path, moto: &Moto, text: &str) -> BTreeMap<String, Health> {
    let (environment, provider) = load(project, moto, text);
    let objects = provider.list(&owner(&environment)).await.unwrap();
    objects.into_iter().map(|object| (object.address.to_string(), object.health)).collect()
}

/// A command that is gone as soon as a call of this action has come in: it is carried out, and its answer is never read.
async fn interrupted(project: &Path, moto: &Moto, text: &str, action: &'static str) {
    let killed = Arc::new(Notify::new());
    let strike = Arc::clone(&killed);
    moto.edit(move |asked, _, answer| {
        if asked == action {
            strike.notify_one();
            return "<lost>".to_owned();
        }
        answer
    });
    let (environment, provider) = load(project, moto, text);
    tokio::select! {
        result = command(project, &environment, &provider, false) => drop(result.unwrap_err()),
        () = killed.notified() => {}
    }
    // Calls that are on their way arrive before the next command looks.
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    moto.no_edit();
}

#[tokio::test(flavor = "multi_thread")]
async fn aws_a_database_that_cannot_be_copied_is_not_removed() {
    let (folder, moto) = (tempfile::tempdir().unwrap(), Moto::start().await);
    let (project, file) = (folder.path(), file(DATABASE));
    apply(project, &moto, &file).await;
    let status = |status: &'static str| {
        moto.edit(move |_, _, answer| {
            let (from, to) = ("<DBInstanceStatus>available<", format!("<DBInstanceStatus>{status}<"));
            answer.replace(from, &to)
        });
    };
    for state in ["failed", "incompatible-restore", "inaccessible-encryption-credentials"] {
        status(state);
        moto.actions();
        let error = fails(project, &moto, &file, true).await;
        let text = format!("{error} {:?}", error.hints());
        assert!(text.contains(&format!("is in the state `{state}`")) && text.contains("`--allow-data-loss`"), "{text}");
        assert!(!moto.actions().contains(&"DeleteDBInstance".to_owned()));
    }
    assert!(!moto.parameters().contains("DeleteDBInstance.FinalDBSnapshotIdentifier"));
    status("incompatible-parameters");
    destroy(project, &moto).await;
    assert!(moto.parameters().contains("DeleteDBInstance.FinalDBSnapshotIdentifier"));
}

#[tokio::test(flavor = "multi_thread")]
async fn aws_a_database_that_an_apply_deletes_leaves_a_last_snapshot() {
    let (folder, moto) = (tempfile::tempdir().unwrap(), Moto::start().await);
    let project = folder.path();
    let network = "network: {subnets: {main: {v4_cidr_blocks: [10.0.1.0/24]}}}";
    let (without, with) = (file(network), file(&format!("{network}\n{DATABASE}")));
    apply(project, &moto, &with).await;
    apply(project, &moto, &without).await;
    assert!(moto.parameters().contains("DeleteDBInstance.FinalDBSnapshotIdentifier"));
    // Of one that is in no state for that, none is asked for.
    apply(project, &moto, &with).await;
    moto.edit(|_, _, answer| answer.replace("<DBInstanceStatus>available<", "<DBInstanceStatus>failed<"));
    moto.forget_parameters();
    apply(project, &moto, &without).await;
    moto.no_edit();
    assert!(!moto.parameters().contains("DeleteDBInstance.FinalDBSnapshotIdentifier"));
}

/// What a database is doing at this moment ends: its removal is only late.
#[tokio::test(flavor = "multi_thread")]
async fn aws_a_database_that_is_busy_is_copied_and_removed_after_that() {
    let (folder, moto) = (tempfile::tempdir().unwrap(), Moto::start().await);
    let (project, file) = (folder.path(), file(DATABASE));
    apply(project, &moto, &file).await;
    let mut refused = 0;
    moto.faults(move |action| {
        refused += u32::from(action == "DeleteDBInstance");
        (action == "DeleteDBInstance" && refused <= 2).then_some(Fault::Code("InvalidDBInstanceState"))
    });
    moto.actions();
    destroy(project, &moto).await;
    assert_eq!(moto.actions().iter().filter(|action| *action == "DeleteDBInstance").count(), 3);
    assert!(moto.parameters().contains("DeleteDBInstance.FinalDBSnapshotIdentifier"));
    assert_eq!(moto.client().db_instances().await.unwrap().len(), 0);
    // One that is being removed already is waited for, and nothing else is asked of it.
    assert_eq!(moto.client().db_snapshots().await.unwrap().len(), 1);
}

/// What is listed, and removed by someone before it is asked about, counts as gone: it fails no command.
#[tokio::test(flavor = "multi_thread")]
async fn aws_what_is_gone_between_two_calls_is_not_there() {
    let (folder, moto) = (tempfile::tempdir().unwrap(), Moto::start().await);
    let (project, file) = (folder.path(), crate::contract::everything());
    apply(project, &moto, &file).await;
    let (environment, provider) = load(project, &moto, &file);
    let there = async || -> BTreeSet<String> {
        let objects = provider.list(&owner(&environment)).await.unwrap();
        objects.into_iter().map(|object| object.address.to_string()).collect()
    };
    let all = there().await;
    let cases: [(&str, &str, &[&str]); 6] = [
        ("DescribeTags", "LoadBalancerNotFound", &["load_balancer.front"]),
        ("DescribeListeners", "LoadBalancerNotFound", &["load_balancer.front"]),
        ("DescribeTargetHealth", "TargetGroupNotFound", &[]),
        ("DescribeDBParameters", "DBParameterGroupNotFound", &["postgres.main"]),
        ("ListRoleTags", "NoSuchEntity", &["role_binding.robots", "service_account.robots"]),
        ("ListAttachedRolePolicies", "NoSuchEntity", &["role_binding.robots"]),
    ];
    for (asked, code, gone) in cases {
        moto.faults(move |action| (action == asked).then_some(Fault::Code(code)));
        let left = there().await;
        moto.no_faults();
        let missing: Vec<&String> = all.difference(&left).collect();
        assert_eq!(missing, gone, "{asked}");
    }
    // The parts of a service whose server is gone, and the profile of a role that is.
    for server in moto.client().db_instances().await.unwrap() {
        moto.client()
            .delete_db_instance(&server.identifier, infra::cloud::aws::rds::KeptOfServer::Nothing)
            .await
            .unwrap();
    }
    assert_eq!(there().await, all);
    moto.faults(|action| (action == "ListTagsForResource").then_some(Fault::Code("DBSubnetGroupNotFoundFault")));
    assert!(!there().await.contains("postgres.main"));
    moto.no_faults();
    destroy(project, &moto).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn aws_a_volume_that_another_machine_has_is_taken_back() {
    let (folder, moto) = (tempfile::tempdir().unwrap(), Moto::start().await);
    let disk = "resources: {memory: 2, secondary_disk_size: 5}";
    let (project, file) = (folder.path(), file(&format!("instances: {{a: {{{disk}}}, b: {{{disk}}}}}")));
    apply(project, &moto, &file).await;
    let client = moto.client();
    let volume = async |name: &str| client.list::<Volume>(&[("tag:infra-id", name)]).await.unwrap().remove(0);
    // Someone has exchanged the volumes of the two machines.
    let (a, b) = (machine(&moto, "dev-a").await.instance_id, machine(&moto, "dev-b").await.instance_id);
    let (of_a, of_b) = (volume("disk.a-data").await.volume_id, volume("disk.b-data").await.volume_id);
    for (volume, machine) in [(&of_a, &a), (&of_b, &b)] {
        client.detach_volume().volume_id(volume).instance_id(machine).send().await.unwrap();
    }
    for (volume, machine) in [(&of_a, &b), (&of_b, &a)] {
        let call = client.attach_volume().volume_id(volume).instance_id(machine).device("/dev/sdf");
        call.send().await.unwrap();
    }
    assert_eq!(planned(project, &moto, &file).await, ["~ vm.a", "~ vm.b"]);
    apply(project, &moto, &file).await;
    assert_eq!(planned(project, &moto, &file).await, Vec::<String>::new());
    assert_eq!(volume("disk.a-data").await.attachment_set[0].instance_id, a);
    assert_eq!(volume("disk.b-data").await.attachment_set[0].instance_id, b);
    // A volume that is not of this environment stays where it is.
    let made = moto.ask("ec2", "Action=CreateVolume&Size=8&AvailabilityZone=eu-central-1a").await;
    let foreign = made.split_once("<volumeId>").unwrap().1.split_once('<').unwrap().0.to_owned();
    client.attach_volume().volume_id(&foreign).instance_id(&a).device("/dev/sdg").send().await.unwrap();
    assert_eq!(planned(project, &moto, &file).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn aws_a_machine_that_ends_while_it_is_created_is_another_one_next_time() {
    let (folder, moto) = (tempfile::tempdir().unwrap(), Moto::start().await);
    let (project, file) = (folder.path(), file("instances: {a: {resources: {memory: 2}}}"));
    let tokens = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&tokens);
    let watch = move |action: &str, request: &str| {
        let token = request.split('&').find_map(|pair| pair.strip_prefix("ClientToken="));
        seen.lock().unwrap().extend(token.filter(|_| action == "RunInstances").map(str::to_owned));
    };
    let also = watch.clone();
    moto.edit(move |action, request, answer| {
        also(action, request);
        if action == "DescribeInstances" { answer.replace("<name>running<", "<name>shutting-down<") } else { answer }
    });
    let error = fails(project, &moto, &file, false).await;
    assert!(error.to_string().contains("is shutting-down: "), "{error}");
    let lost = machine(&moto, "dev-a").await.instance_id;
    moto.client().terminate_instances().instance_id(vec![&lost]).send().await.unwrap();
    let state = Store::new(project, &"dev".parse().unwrap()).read().await.unwrap().unwrap();
    assert!(state.pending.is_empty(), "{:?}", state.pending);
    // A refusal is the end of an attempt, too.
    moto.edit(move |action, request, answer| {
        watch(action, request);
        answer
    });
    moto.faults(|action| (action == "RunInstances").then_some(Fault::Code("InsufficientInstanceCapacity")));
    fails(project, &moto, &file, false).await;
    let state = Store::new(project, &"dev".parse().unwrap()).read().await.unwrap().unwrap();
    assert!(state.pending.is_empty(), "{:?}", state.pending);
    moto.no_faults();
    apply(project, &moto, &file).await;
    let tokens = tokens.lock().unwrap().clone();
    assert!(tokens.len() == 2 && tokens[0] != tokens[1], "{tokens:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn aws_what_is_in_transition_or_has_failed_shows() {
    let (folder, moto) = (tempfile::tempdir().unwrap(), Moto::start().await);
    let front = "nginx: {front: {nodes: 2, resources: {memory: 2}, upstreams: {app: {group: db, port: 80}}, \
                 locations: {/: {upstream: app}}}}\ninstances: {db: {ansible_groups: [db], resources: {memory: 2, secondary_disk_size: 5}}}";
    let (project, file) = (folder.path(), file(&format!("{front}\n{DATABASE}")));
    apply(project, &moto, &file).await;
    let is = async |address: &str, from: &'static str, to: &'static str| {
        moto.edit(move |_, _, answer| answer.replace(from, to));
        let found = healths(project, &moto, &file).await;
        moto.no_edit();
        found.get(address).copied()
    };
    for (state, health) in [
        ("<name>pending<", Health::Transient),
        ("<name>stopping<", Health::Stopped),
        ("<name>shutting-down<", Health::Leaving),
    ] {
        assert_eq!(is("vm.db", "<name>running<", state).await, Some(health), "{state}");
    }
    assert_eq!(is("vm.db", "<name>running<", "<name>terminated<").await, None);
    for (state, health) in [
        ("<status>creating<", Health::Transient),
        ("<status>error<", Health::Broken),
        ("<status>deleting<", Health::Leaving),
    ] {
        assert_eq!(is("disk.db-data", "<status>in-use<", state).await, Some(health), "{state}");
    }
    for (state, health) in [
        ("<DBInstanceStatus>modifying<", Health::Transient),
        ("<DBInstanceStatus>stopping<", Health::Stopped),
        ("<DBInstanceStatus>storage-optimization<", Health::Ready),
        ("<DBInstanceStatus>storage-full<", Health::Unhealthy),
        ("<DBInstanceStatus>failed<", Health::Broken),
    ] {
        assert_eq!(is("postgres.main", "<DBInstanceStatus>available<", state).await, Some(health), "{state}");
    }
    let code = moto.ask("elasticloadbalancing", "Action=DescribeLoadBalancers").await;
    let now = code.split_once("<Code>").unwrap().1.split_once('<').unwrap().0.to_owned();
    let now: &'static str = format!("<Code>{now}<").leak();
    for (state, health) in [
        ("<Code>provisioning<", Health::Transient),
        ("<Code>active_impaired<", Health::Unhealthy),
        ("<Code>failed<", Health::Broken),
    ] {
        assert_eq!(is("load_balancer.front", now, state).await, Some(health), "{state}");
    }
    // What is on its way is waited for, and nothing else is done.
    let left = AtomicUsize::new(4);
    moto.edit(move |action, _, answer| {
        let states =
            [("<name>running<", "<name>pending<"), ("<DBInstanceStatus>available<", "<DBInstanceStatus>modifying<")];
        let early = action.starts_with("Describe")
            && states.iter().any(|(state, _)| answer.contains(state))
            && left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        if early { states.iter().fold(answer, |text, (from, to)| text.replace(from, to)) } else { answer }
    });
    moto.actions();
    apply(project, &moto, &file).await;
    let actions = moto.actions();
    assert!(
        actions.iter().all(|action| action.starts_with("Describe")
            || action.starts_with("List")
            || action.starts_with("GET")
            || action == "GetCallerIdentity"),
        "{actions:?}"
    );
    // A machine that is about to stop is started once it is stopped.
    moto.no_edit();
    let id = machine(&moto, "dev-db").await.instance_id;
    moto.client().stop_instances().instance_id(vec![&id]).send().await.unwrap();
    let left = AtomicUsize::new(2);
    moto.edit(move |action, _, answer| {
        let early = action == "DescribeInstances"
            && answer.contains("<name>stopped<")
            && left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        if early { answer.replace("<name>stopped<", "<name>stopping<") } else { answer }
    });
    assert_eq!(apply(project, &moto, &file).await.changed, 1);
    assert_eq!(left_of(&moto).await, "running");
}

async fn left_of(moto: &Moto) -> String {
    machine(moto, "dev-db").await.instance_state.name
}

#[tokio::test(flavor = "multi_thread")]
async fn aws_an_exchange_that_runs_is_waited_for() {
    let (folder, moto) = (tempfile::tempdir().unwrap(), Moto::start().await);
    let (project, file) = (folder.path(), file("instance_groups: {app: {node_count: 1, resources: {memory: 2}}}"));
    apply(project, &moto, &file).await;
    let count = AtomicUsize::new(0);
    moto.faults(move |action| {
        let first = action == "StartInstanceRefresh" && count.fetch_add(1, Ordering::SeqCst) == 0;
        first.then_some(Fault::Code("InstanceRefreshInProgress"))
    });
    moto.actions();
    apply(project, &moto, &file.replace("memory: 2", "memory: 4")).await;
    let actions = moto.actions();
    let refreshes: Vec<&str> =
        actions.iter().map(String::as_str).filter(|action| action.contains("InstanceRefresh")).collect();
    let (start, look) = ("StartInstanceRefresh", "DescribeInstanceRefreshes");
    assert_eq!(refreshes, [start, look, start, look]);
}

#[tokio::test(flavor = "multi_thread")]
async fn aws_what_was_interrupted_is_completed_and_not_made_again() {
    let moto = Moto::start().await;
    let before = moto.count().await;
    let rest = format!("instances: {{a: {{resources: {{memory: 2, secondary_disk_size: 5}}}}}}\n{DATABASE}");
    let file = file(&rest);
    for (action, removal, sign) in [
        ("CreateDBInstance", "DeleteDBInstance", "~ postgres.main"),
        ("RunInstances", "TerminateInstances", "~ vm.a"),
        ("CreateVpc", "DeleteVpc", "~ network.main"),
        ("CreateNatGateway", "DeleteNatGateway", "~ gateway.egress"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let project = folder.path();
        interrupted(project, &moto, &file, action).await;
        let plan = planned(project, &moto, &file).await;
        assert!(plan.contains(&sign.to_owned()), "{action}: {plan:?}");
        moto.actions();
        apply(project, &moto, &file).await;
        let actions = moto.actions();
        assert!(!actions.contains(&removal.to_owned()), "{action}: {actions:?}");
        // The secret may have changed since the server was created.
        let sets_password = actions.contains(&"ModifyDBInstance".to_owned());
        assert_eq!(sets_password, action == "CreateDBInstance", "{action}: {actions:?}");
        assert_eq!(planned(project, &moto, &file).await, Vec::<String>::new(), "{action}");
        destroy(project, &moto).await;
        assert_eq!(moto.count().await, before, "{action}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn aws_a_network_whose_security_group_lost_its_tags_is_completed() {
    let (folder, moto) = (tempfile::tempdir().unwrap(), Moto::start().await);
    let (project, file) = (folder.path(), file("instances: {a: {resources: {memory: 2}}}"));
    apply(project, &moto, &file).await;
    let client = moto.client();
    let vpc = client.list::<Vpc>(&[("tag:infra-env", "dev")]).await.unwrap().remove(0).vpc_id;
    let group = client.list::<SecurityGroup>(&[("vpc-id", &vpc), ("group-name", "default")]).await.unwrap().remove(0);
    moto.ask("ec2", &format!("Action=DeleteTags&ResourceId.1={}&Tag.1.Key=infra-part", group.group_id)).await;
    assert_eq!(healths(project, &moto, &file).await["network.main"], Health::Incomplete);
    let more = file.replace("a: {resources: {memory: 2}}", "a: {resources: {memory: 2}}, b: {resources: {memory: 2}}");
    apply(project, &moto, &more).await;
    assert_eq!(machine(&moto, "dev-b").await.groups(), [group.group_id.as_str()]);
    assert_eq!(planned(project, &moto, &more).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn aws_a_machine_that_cannot_be_resized_runs_again() {
    let (folder, moto) = (tempfile::tempdir().unwrap(), Moto::start().await);
    let (project, file) = (folder.path(), file("instances: {db: {resources: {memory: 2}}}"));
    apply(project, &moto, &file).await;
    moto.faults(|action| (action == "ModifyInstanceAttribute").then_some(Fault::Code("InsufficientInstanceCapacity")));
    let error = fails(project, &moto, &file.replace("memory: 2", "cores: 4, memory: 8"), false).await;
    assert!(format!("{error:?}").contains("InsufficientInstanceCapacity"), "{error:?}");
    assert_eq!(left_of(&moto).await, "running");
    // One that stood still is left as it is.
    let id = machine(&moto, "dev-db").await.instance_id;
    moto.client().stop_instances().instance_id(vec![&id]).send().await.unwrap();
    fails(project, &moto, &file.replace("memory: 2", "cores: 4, memory: 8"), false).await;
    assert_eq!(left_of(&moto).await, "stopped");
}

#[tokio::test(flavor = "multi_thread")]
async fn aws_targets_on_their_way_out_are_not_in_a_balancer() {
    let (folder, moto) = (tempfile::tempdir().unwrap(), Moto::start().await);
    let front = "nginx: {front: {nodes: 2, resources: {memory: 2}, upstreams: {app: {group: db, port: 80}}, \
                 locations: {/: {upstream: app}}}}\ninstances: {db: {ansible_groups: [db], resources: {memory: 2}}}";
    let (project, file) = (folder.path(), file(front));
    apply(project, &moto, &file).await;
    let out = machine(&moto, "dev-nginx-front").await.instance_id;
    let left = AtomicUsize::new(2);
    moto.edit(move |action, _, answer| {
        if action == "RegisterTargets" {
            left.fetch_sub(1, Ordering::SeqCst);
        }
        if action != "DescribeTargetHealth" || left.load(Ordering::SeqCst) == 0 {
            return answer;
        }
        // The state of this target follows its id.
        let Some((before, after)) = answer.split_once(&format!("<Id>{out}</Id>")) else { return answer };
        let (begin, rest) = after.split_once("<State>").unwrap();
        let (_, rest) = rest.split_once("</State>").unwrap();
        format!("{before}<Id>{out}</Id>{begin}<State>draining</State>{rest}")
    });
    assert_eq!(planned(project, &moto, &file).await, ["~ load_balancer.front"]);
    apply(project, &moto, &file).await;
    assert_eq!(planned(project, &moto, &file).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn aws_rules_are_revoked_one_by_one_when_one_is_gone_already() {
    let (folder, moto) = (tempfile::tempdir().unwrap(), Moto::start().await);
    let (project, file) = (folder.path(), file("instances: {db: {resources: {memory: 2}}}"));
    apply(project, &moto, &file).await;
    let client = moto.client();
    let group = client.list::<SecurityGroup>(&[("tag:infra-part", "network-group")]).await.unwrap().remove(0).group_id;
    for port in [1, 2] {
        let rule =
            json!({ "IpProtocol": "tcp", "FromPort": port, "ToPort": port, "IpRanges": [{ "CidrIp": "0.0.0.0/0" }] });
        client.authorize_ingress().group_id(&group).ip_permissions(vec![rule]).send().await.unwrap();
    }
    let count = AtomicUsize::new(0);
    moto.faults(move |action| {
        let first = action == "RevokeSecurityGroupIngress" && count.fetch_add(1, Ordering::SeqCst) == 0;
        first.then_some(Fault::Code("InvalidSecurityGroupRuleId.NotFound"))
    });
    apply(project, &moto, &file).await;
    assert_eq!(planned(project, &moto, &file).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn aws_settings_of_a_database_that_differ_are_shown_as_the_file_writes_them() {
    let (folder, moto) = (tempfile::tempdir().unwrap(), Moto::start().await);
    let (project, file) = (folder.path(), file(DATABASE));
    apply(project, &moto, &file).await;
    let client = moto.client();
    let server = client.db_instances().await.unwrap().remove(0);
    let force = [("rds.force_ssl".to_owned(), "1".to_owned())];
    client.modify_db_parameter_group(&server.parameter_groups[0].name, &force).await.unwrap();
    assert_eq!(planned(project, &moto, &file).await, ["~ postgres.main"]);
    apply(project, &moto, &file).await;
    assert_eq!(planned(project, &moto, &file).await, Vec::<String>::new());
    let now = client.db_parameters(&server.parameter_groups[0].name).await.unwrap();
    let values: Map<String, serde_json::Value> =
        now.into_iter().map(|one| (one.parameter_name, one.parameter_value.into())).collect();
    assert_eq!(values["rds.force_ssl"], "0");
}

/// What is needed is lost; what points to it points to the new one after one apply. Machines and addresses:
/// `aws_what_points_to_a_lost_machine_points_to_the_new_one`; gateways: `aws_a_lost_gateway_is_one_new_gateway_with_its_address`.
#[tokio::test(flavor = "multi_thread")]
async fn aws_what_points_to_something_lost_points_to_the_new_one() {
    let (folder, moto) = (tempfile::tempdir().unwrap(), Moto::start().await);
    let rest = "network: {subnets: {a: {v4_cidr_blocks: [10.1.0.0/24]}}, firewall: {web: {groups: [web], ports: [80]}}}\n\
                instances: {web: {ansible_groups: [web], network: {nat: true}, resources: {memory: 2}}}\n\
                nginx: {front: {nodes: 2, resources: {memory: 2}, upstreams: {app: {group: web, port: 80}}, locations: {/: {upstream: app}}}}\n\
                dns: {world: {zone: example.org, records: [{name: www, to: front}]}}";
    let (project, file) = (folder.path(), file(rest));
    apply(project, &moto, &file).await;
    let client = moto.client();
    // The balancer, with its ports.
    let balancer = client.load_balancers().await.unwrap().remove(0);
    moto.ask(
        "elasticloadbalancing",
        &format!("Action=DeleteLoadBalancer&LoadBalancerArn={}", balancer.load_balancer_arn),
    )
    .await;
    // The security group of a machine.
    let web = machine(&moto, "dev-web").await;
    let own =
        client.list::<SecurityGroup>(&[("tag:infra-id", "security_group.ports-80")]).await.unwrap().remove(0).group_id;
    let rest: Vec<&str> = web.groups().into_iter().filter(|group| *group != own).collect();
    moto.regroup(&web.instance_id, &rest).await;
    moto.ask("ec2", &format!("Action=DeleteSecurityGroup&GroupId={own}")).await;
    // The table of a private subnet.
    let table = client.list::<RouteTable>(&[("tag:infra-id", "route_table.egress")]).await.unwrap().remove(0);
    for association in &table.association_set {
        let id = &association.route_table_association_id;
        client.disassociate_route_table().association_id(id).send().await.unwrap();
    }
    client.delete_route_table().route_table_id(&table.route_table_id).send().await.unwrap();
    let plan = planned(project, &moto, &file).await;
    for line in ["~ dns_zone.world", "~ vm.web", "~ subnet.a", "+ route_table.egress"] {
        assert!(plan.contains(&line.to_owned()), "{line}: {plan:?}");
    }
    apply(project, &moto, &file).await;
    assert_eq!(planned(project, &moto, &file).await, Vec::<String>::new());
    let zone = client.hosted_zones().await.unwrap().remove(0);
    let records = client.record_sets(zone.short_id()).await.unwrap();
    let www = records.iter().find(|records| records.name == "www.example.org.").unwrap();
    let new = client.load_balancers().await.unwrap().remove(0);
    assert_ne!(new.d_n_s_name, balancer.d_n_s_name);
    assert!(www.resource_records[0].value.starts_with(&new.d_n_s_name), "{www:?}");
    let own =
        client.list::<SecurityGroup>(&[("tag:infra-id", "security_group.ports-80")]).await.unwrap().remove(0).group_id;
    let again = machine(&moto, "dev-web").await;
    assert!(again.instance_id == web.instance_id && again.groups().contains(&own.as_str()), "{again:?}");
    let table = client.list::<RouteTable>(&[("tag:infra-id", "route_table.egress")]).await.unwrap().remove(0);
    let subnet = client.list::<Subnet>(&[("tag:infra-id", "subnet.a")]).await.unwrap().remove(0).subnet_id;
    assert!(table.association_set.iter().any(|one| one.subnet_id == subnet), "{table:?}");
}
