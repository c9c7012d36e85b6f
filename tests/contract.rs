//! The contract: every call that the clients can make, with every field that they have a setter for, is in the API's own
//! description, and is sent in the life of an environment that has everything, where simulators check what is inside of it.

use std::collections::BTreeSet;

use infra::{
    cloud::{
        aws::{
            self,
            ec2::{NatGateway, RouteTable, SecurityGroup, Subnet, Tags, Volume, Vpc},
        },
        yandex,
    },
    plan::Listed,
    provider::{Owner, Provider},
    resource::{KindName, Terms},
};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::{
    aws as on_aws,
    aws_fields::stray_all,
    support::{
        aws_model,
        commands::{PROJECT, take_over},
        moto::Moto,
        repository,
        yandex::{
            Cloud,
            rules::{self, camel},
        },
    },
    yandex as on_yandex,
};

/// The kinds of objects that can be taken over from someone else.
const TAKEN_OVER: &[KindName] = &[
    KindName::NETWORK,
    KindName::GATEWAY,
    KindName::ROUTE_TABLE,
    KindName::SUBNET,
    KindName::SECURITY_GROUP,
    KindName::ADDRESS,
    KindName::DISK,
    KindName::SERVICE_ACCOUNT,
    KindName::REGISTRY,
    KindName::DNS_ZONE,
];
/// Those of them that can be taken over in Yandex Cloud only.
const ONLY_THERE: &[KindName] = &[KindName::SERVICE_ACCOUNT, KindName::REGISTRY, KindName::DNS_ZONE];

/// Everything that a file can ask of Yandex Cloud.
const YANDEX: &str = "
provider: yandex
yandex: {folder_id: b1gsimulated0folder00, endpoint: 'ENDPOINT', service_account_key_file: KEY}
network: {subnets: {a: {v4_cidr_blocks: [10.1.0.0/24]}}, firewall: {web: {groups: [web], ports: [80]}}}
service_accounts: {robots: {roles: [editor, viewer]}}
secrets: {chosen: {generate: 12}}
addresses: {fixed: }
registries: {images: }
instances:
  bastion: {network: {nat: true, address: fixed}, resources: {memory: 2}}
  web: {ansible_groups: [web], network: {nat: true}, resources: {memory: 2}}
  db: {resources: {memory: 4, secondary_disk_size: 5}}
instance_groups:
  app: {node_count: 1, service_account: robots, resources: {memory: 2}, health_check: {port: 8080, path: /ping}}
  pub: {node_count: 1, service_account: robots, network: {nat: true}, resources: {memory: 2}, health_check: {port: 8080}}
nginx:
  front: {nodes: 2, resources: {memory: 2}, upstreams: {app: {group: app, port: 80}}, locations: {/: {upstream: app}}}
postgres:
  main:
    resources: {cores: 2, memory: 8, disk_size: 20}
    settings: {work_mem: 64MB}
    users: {app: }
    databases: {app: {owner: app, extensions: [pg_trgm]}}
    backup: {schedule: '30 3 * * *', keep: 14d}
dns:
  world: {zone: example.org, records: [{name: '@', to: front}, {name: old, values: [192.0.2.1]}]}
  home: {zone: home.internal, private: true, records: [{name: db, to: db}]}
";

/// The same, with everything changed that can be changed in place.
fn changed() -> String {
    [
        ("ports: [80]", "ports: [80, 81]"),
        ("v4_cidr_blocks: [10.1.0.0/24]", "v4_cidr_blocks: [10.1.0.0/24, 10.9.0.0/24]"),
        ("roles: [editor, viewer]", "roles: [editor]"),
        ("nat: true, address: fixed", "nat: true"),
        ("web: {ansible_groups: [web], network: {nat: true}", "web: {ansible_groups: [web]"),
        (
            "db: {resources: {memory: 4, secondary_disk_size: 5}}",
            "db: {network: {nat: true}, resources: {cores: 4, memory: 8, secondary_disk_size: 8}}",
        ),
        ("app: {node_count: 1", "app: {node_count: 2"),
        ("nodes: 2", "nodes: 3"),
        ("work_mem: 64MB", "work_mem: 32MB"),
        ("users: {app: }", "users: {app: {password: chosen}, report: }"),
        (
            "{owner: app, extensions: [pg_trgm]}}",
            "{owner: report, extensions: [pg_trgm, uuid-ossp]}, more: {owner: report}}",
        ),
        ("{zone: home.internal, private: true,", "{zone: home.internal,"),
        ("{name: db, to: db}", "{name: db, values: [192.0.2.1]}"),
        ("{name: old, values: [192.0.2.1]}", "{name: new, values: [192.0.2.1]}"),
    ]
    .iter()
    .fold(YANDEX.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replace(from, to)
    })
}

#[test]
fn contract_yandex_every_name_is_in_the_descriptors() {
    for call in yandex::CALLS {
        let path = call.path.replace(['{', '}'], "");
        let method = rules::find(call.method, &path).unwrap_or_else(|| panic!("{} {}", call.method, call.path));
        for field in call.fields {
            let name = camel(field.trim_start_matches("r#"));
            let known = &rules::REST["messages"][&method.request]["fields"];
            assert!(known.get(&name).is_some(), "{} has no {name}", method.request);
        }
    }
}

/// Whether a path has the form of a template.
fn is_like(template: &str, path: &str) -> bool {
    let (template, path): (Vec<&str>, Vec<&str>) = (template.split('/').collect(), path.split('/').collect());
    template.len() == path.len()
        && template.iter().zip(path).all(|(pattern, part)| match pattern.strip_prefix('{') {
            Some(rest) => {
                let verb = rest.split_once('}').unwrap().1;
                part.ends_with(verb) && part.contains(':') == verb.contains(':')
            }
            None => *pattern == part,
        })
}

#[tokio::test(flavor = "multi_thread")]
async fn contract_yandex_every_call_is_sent_with_every_field() {
    let (folder, cloud) = (tempfile::tempdir().unwrap(), Cloud::start().await);
    let project = folder.path();
    on_yandex::apply(project, &cloud, YANDEX).await;
    let (environment, provider) = on_yandex::load(project, &cloud, YANDEX);
    take_over(project, &environment, &provider, TAKEN_OVER, async |id| cloud.strip_labels(id)).await;
    prolonged_and_not_swept(provider.as_ref()).await;
    on_yandex::apply(project, &cloud, &changed()).await;
    cloud.push("dev-images", "app");
    // A disk and a database never become smaller.
    let back = YANDEX.replace("secondary_disk_size: 5", "secondary_disk_size: 8");
    on_yandex::apply(project, &cloud, &back).await;
    // What is stopped or paused goes on, and what someone else has changed is changed back.
    for (collection, name, status) in [
        ("/compute/v1/instanceGroups", "dev-app", "STOPPED"),
        ("/compute/v1/instanceGroups", "dev-pub", "PAUSED"),
        ("/managed-postgresql/v1/clusters", "dev-main", "STOPPED"),
        ("/load-balancer/v1/networkLoadBalancers", "dev-front", "STOPPED"),
    ] {
        cloud.edit_in(collection, name, |object| object["status"] = status.into());
    }
    cloud.edit("dev-main", |cluster| {
        cluster["securityGroupIds"] = json!([]);
        cluster["hosts"][0]["assignPublicIp"] = true.into();
    });
    cloud.edit_in("/vpc/v1/routeTables", "dev-egress", |table| table["staticRoutes"] = json!([]));
    cloud.edit_in("/load-balancer/v1/networkLoadBalancers", "dev-front", |balancer| {
        drop(balancer["listeners"].as_array_mut().unwrap().pop());
    });
    cloud.edit("dev-a", |subnet| subnet["routeTableId"] = json!(null));
    let foreign = cloud.make("/compute/v1/disks", json!({ "zoneId": "ru-central1-a", "size": "4194304" }));
    cloud.edit("dev-db-data", |disk| disk["instanceIds"] = json!([]));
    cloud.edit("dev-db", |machine| {
        machine["secondaryDisks"] = json!([{ "diskId": foreign, "deviceName": "other" }]);
        machine["metadata"]["user-data"] = "#cloud-config\n{\"fs_setup\":[]}\n".into();
        machine["labels"].as_object_mut().unwrap().remove("infra-user-data");
    });
    // A front's address becomes a reserved one, and moves from its balancer to its machine.
    cloud.lose_in("/vpc/v1/addresses", "dev-nginx-front");
    on_yandex::apply(project, &cloud, &back).await;
    on_yandex::apply(project, &cloud, &back.replace("nodes: 2", "nodes: 1, network: {nat: true}")).await;
    on_yandex::destroy(project, &cloud).await;
    let calls = cloud.calls();
    let mut missing = Vec::new();
    for form in yandex::CALLS {
        let sent: Vec<_> =
            calls.iter().filter(|call| call.method == form.method && is_like(form.path, &call.path)).collect();
        if sent.is_empty() {
            missing.push(format!("{} {}", form.method, form.path));
        }
        for field in form.fields {
            let name = camel(field.trim_start_matches("r#"));
            if !sent.is_empty() && !sent.iter().any(|call| call.body.get(&name).is_some()) {
                missing.push(format!("{} {}: {name}", form.method, form.path));
            }
        }
    }
    assert_eq!(missing, Vec::<String>::new());
}

/// The labels of a cloud's objects take later terms: those of the whole environment.
async fn prolonged_and_not_swept(provider: &dyn Provider) {
    let owner = Owner { environment: "dev".parse().unwrap(), project: PROJECT.to_owned() };
    let objects = provider.list(&owner).await.unwrap();
    let now = Timestamp::from_second(1_800_000_000).unwrap();
    let later = now + SignedDuration::from_hours(2);
    let owned = objects.iter().find(|object| !object.terms.owner.is_empty()).expect("one says who created it");
    let mut terms = owned.terms.clone();
    let all = [
        (Some(now), false, true),
        (Some(later), true, false),
        (Some(now), true, false),
        (None, false, false),
        (Some(later), false, false),
        // Earlier than what was there before: that is meant.
        (Some(now), false, true),
    ];
    for (expires, protect, goes) in all {
        terms = Terms { expires, protect, ..terms }.given(now);
        provider.mark(&owner, &terms, &objects).await.unwrap();
        let listed = Listed::of(provider.labelled(None).await.unwrap());
        assert_eq!(listed.len(), 1, "all belongs to one environment");
        assert_eq!(listed[0].terms, terms);
        assert_eq!(listed[0].has_expired(now), goes);
    }
}

/// Everything that a file can ask of AWS, beside what the file of the provider's tests has.
pub(crate) fn everything() -> String {
    let more = "
addresses: {fixed: }
nginx:
  front: {nodes: 2, resources: {memory: 2}, upstreams: {app: {group: app, port: 80}}, locations: {/: {upstream: app}}}
postgres:
  main: {users: {app: }, databases: {app: {owner: app}}, resources: {disk_size: 20}, settings: {work_mem: 64MB}}
dns:
  world: {zone: example.org, records: [{name: '@', to: front}]}
  home: {zone: home.internal, private: true, records: [{name: db, to: db}]}
";
    on_aws::FILE
        .replace("bastion: {network: {nat: true}", "bastion: {network: {nat: true, address: fixed}")
        .replace("app: {node_count: 2,", "app: {node_count: 2, health_check: {port: 81},")
        + more
}

/// `snake_case` as EC2 writes it.
fn pascal(name: &str) -> String {
    let camel = camel(name);
    let (first, rest) = camel.split_at(1);
    first.to_ascii_uppercase() + rest
}

#[test]
fn contract_aws_every_name_is_in_the_service_models() {
    for (action, parameters) in aws::ec2::CALLS {
        assert!(aws_model::has_action(action), "{action}");
        for parameter in *parameters {
            assert!(aws_model::has_parameter(action, &pascal(parameter)), "{action} has no {parameter}");
        }
    }
    for action in actions() {
        assert!(aws_model::has_action(&action), "{action}");
    }
}

/// The actions of the services that have no table of calls, as the source names them.
fn actions() -> Vec<String> {
    let mut found = Vec::new();
    for file in ["autoscaling", "catalogue", "elb", "iam", "rds"] {
        let text = std::fs::read_to_string(repository().join(format!("src/cloud/aws/{file}.rs"))).unwrap();
        for part in text.split('"').skip(1).step_by(2) {
            let verbs = [
                "Create",
                "Delete",
                "Describe",
                "Modify",
                "List",
                "Update",
                "Start",
                "Reboot",
                "Register",
                "Deregister",
            ];
            let verbs = verbs.iter().chain(&["Attach", "Detach", "Add", "Remove", "Get", "Tag"]);
            let is_action = verbs.clone().any(|verb| {
                part.strip_prefix(verb).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_uppercase()))
            });
            // What looks like an action, but is a field.
            let is_field =
                matches!(part, "DeleteAutomatedBackups" | "DeleteOnTermination" | "TagList" | "TagDescriptions");
            if is_action && !is_field {
                found.push(part.to_owned());
            }
        }
    }
    found.sort();
    found.dedup();
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn contract_aws_every_call_is_sent_with_every_parameter() {
    let (folder, moto) = (tempfile::tempdir().unwrap(), Moto::start().await);
    let project = folder.path();
    let file = everything();
    on_aws::apply(project, &moto, &file).await;
    let (environment, provider) = on_aws::load(project, &moto, &file);
    let kinds: Vec<KindName> = TAKEN_OVER.iter().copied().filter(|kind| !ONLY_THERE.contains(kind)).collect();
    take_over(project, &environment, &provider, &kinds, async |id| moto.strip_tags(id).await).await;
    prolonged_and_not_swept(provider.as_ref()).await;
    // What the account offers is asked for; a policy that there is not, with all that there are.
    let (wrong, _) = on_aws::load(project, &moto, &file.replace("AmazonS3FullAccess", "AmazonS3FullAcces"));
    let owner = Owner { environment: wrong.name.clone(), project: PROJECT.to_owned() };
    assert!(provider.diagnose(&owner, &provider.resources(&wrong), &[]).await.iter().any(|finding| !finding.ok));
    let changes = [
        ("ports: [80, 443]", "ports: [80, 8080]"),
        ("nat: true, address: fixed", "nat: true"),
        ("memory: 4, secondary_disk_size: 5", "cores: 4, memory: 8, disk_type: gp2, secondary_disk_size: 8"),
        ("roles: [viewer, AmazonS3FullAccess]", "roles: [editor]"),
        ("nodes: 2", "nodes: 3, listen: {https: 8443}"),
        ("health_check: {port: 81}, ", ""),
        ("settings: {work_mem: 64MB}", "settings: {jit: 'off'}"),
        ("disk_size: 20", "disk_size: 30"),
    ];
    let changed = changes.iter().fold(file.clone(), |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replace(from, to)
    });
    // Everything was changed outside of infra, and is put right; what a machine has left goes.
    stray_all(&moto).await;
    let client = moto.client();
    let subnet = client.list::<Subnet>(&[("tag:infra-id", "subnet.a")]).await.unwrap().remove(0).subnet_id;
    let tags = "TagSpecification.1.ResourceType=network-interface&TagSpecification.1.Tag.1.Key=infra-env\
                &TagSpecification.1.Tag.1.Value=dev&TagSpecification.1.Tag.2.Key=infra-project\
                &TagSpecification.1.Tag.2.Value=";
    moto.ask("ec2", &format!("Action=CreateNetworkInterface&SubnetId={subnet}&{tags}{PROJECT}")).await;
    let own = client.list::<SecurityGroup>(&[("tag:infra-part", "network-group")]).await.unwrap().remove(0).group_id;
    let rule = json!({ "IpProtocol": "tcp", "FromPort": 23, "ToPort": 23, "IpRanges": [{ "CidrIp": "0.0.0.0/0" }] });
    client.authorize_egress().group_id(&own).ip_permissions(vec![rule]).send().await.unwrap();
    // The world is reached by another way than the network's own.
    let vpc = client.list::<Vpc>(&[("tag:infra-env", "dev")]).await.unwrap().remove(0).vpc_id;
    let main = client.list::<RouteTable>(&[("vpc-id", &vpc), ("association.main", "true")]).await.unwrap().remove(0);
    let gateway = client.list::<NatGateway>(&[("state", "available")]).await.unwrap().remove(0).nat_gateway_id;
    let call = client.replace_route().route_table_id(&main.route_table_id).destination_cidr_block("0.0.0.0/0");
    call.nat_gateway_id(&gateway).send().await.unwrap();
    let closed = format!("Action=RevokeSecurityGroupEgress&GroupId={own}&IpPermissions.1.IpProtocol=-1");
    moto.ask("ec2", &format!("{closed}&IpPermissions.1.IpRanges.1.CidrIp=0.0.0.0/0")).await;
    on_aws::apply(project, &moto, &file).await;
    on_aws::apply(project, &moto, &changed).await;
    // A disk that is replaced leaves its machine first.
    let disk = client.list::<Volume>(&[("tag:infra-id", "disk.db-data")]).await.unwrap().remove(0).volume_id;
    provider.driver(KindName::DISK).unwrap().delete(&disk).await.unwrap();
    on_aws::apply(project, &moto, &changed.replace("nodes: 3", "nodes: 2")).await;
    // A network has one subnet more, and loses it again.
    let named = changed
        .replace("nodes: 3", "nodes: 2")
        .replace("[10.1.0.0/24]}}", "[10.1.0.0/24]}, b: {zone: eu-central-1b, v4_cidr_blocks: [10.1.2.0/24]}}")
        .replace("nat: true}", "nat: true, subnet: a}")
        .replace("db: {resources", "db: {network: {subnet: a}, resources")
        .replace("app: {node_count", "app: {network: {subnet: a}, node_count")
        .replace("front: {nodes", "front: {network: {subnet: a}, nodes")
        .replace("main: {users", "main: {network: {subnet: a}, users");
    on_aws::apply(project, &moto, &named).await;
    on_aws::apply(project, &moto, &named.replace("front: {network: {subnet: a}", "front: {network: {subnet: b}")).await;
    // Someone opened a port more; and a group of subnets has no server.
    let opened = client.list::<SecurityGroup>(&[("tag:infra-id", "security_group.ports-80-8080")]).await.unwrap();
    let rule = json!({ "IpProtocol": "tcp", "FromPort": 23, "ToPort": 23, "IpRanges": [{ "CidrIp": "0.0.0.0/0" }] });
    client.authorize_ingress().group_id(&opened[0].group_id).ip_permissions(vec![rule]).send().await.unwrap();
    let subnets = client.list::<Subnet>(&[]).await.unwrap();
    let subnets: Vec<&str> = subnets.iter().map(|subnet| subnet.subnet_id.as_str()).take(3).collect();
    client.create_db_subnet_group("infra-lonely", &subnets, &Tags::new()).await.unwrap();
    // Larger machines in the group, whose template gets a second version; and a database that is stopped.
    moto.stop_databases().await;
    let exchanged = changed
        .replace("service_account: robots, resources: {memory: 2}", "service_account: robots, resources: {memory: 4}");
    on_aws::apply(project, &moto, &exchanged.replace("disk_size: 30", "disk_size: 40")).await;
    // Someone gave the volume of a machine to another one.
    let volume = client.list::<Volume>(&[("tag:infra-id", "disk.db-data")]).await.unwrap().remove(0);
    let machine = on_aws::machine(&moto, "dev-db").await.instance_id;
    client.detach_volume().volume_id(&volume.volume_id).instance_id(&machine).send().await.unwrap();
    let bastion = on_aws::machine(&moto, "dev-bastion").await.instance_id;
    let call = client.attach_volume().volume_id(&volume.volume_id).instance_id(&bastion).device("/dev/sdf");
    call.send().await.unwrap();
    on_aws::apply(project, &moto, &exchanged.replace("disk_size: 30", "disk_size: 40")).await;
    on_aws::destroy(project, &moto).await;
    let sent = moto.parameters();
    let actions_sent: BTreeSet<&str> = sent.iter().filter_map(|one| Some(one.split_once('.')?.0)).collect();
    let mut missing: Vec<String> =
        actions().into_iter().filter(|action| !actions_sent.contains(action.as_str())).collect();
    for (action, parameters) in aws::ec2::CALLS {
        if !actions_sent.contains(action) {
            missing.push((*action).to_owned());
            continue;
        }
        let parameters = parameters.iter().map(|name| format!("{action}.{}", pascal(name)));
        missing.extend(parameters.filter(|parameter| !sent.contains(parameter)));
    }
    assert_eq!(json!(missing), json!([]));
}
