//! A front that grows from one machine to several on AWS, and shrinks again.

use crate::{
    aws::{FILE, apply, destroy, machine},
    aws_repair::planned,
    support::moto::Moto,
};

#[tokio::test(flavor = "multi_thread")]
async fn aws_a_front_that_grows_keeps_its_machine_and_its_name() {
    for network in ["network: {nat: true}, ", "network: {nat: false}, "] {
        let (folder, moto) = (tempfile::tempdir().unwrap(), Moto::start().await);
        let project = folder.path();
        let before = moto.count().await;
        let front = "nginx:\n  front: {NETWORKnodes: 1, resources: {memory: 2}, upstreams: {app: {group: app, port: 80}}, locations: {/: {upstream: app}}}\n";
        let dns = "dns: {world: {zone: example.org, records: [{name: www, to: front}]}}\n";
        let dns = if network.contains("true") { dns } else { "" };
        let one = format!("{FILE}{front}{dns}").replace("NETWORK", network);
        let two = one.replace("nodes: 1", "nodes: 2");
        apply(project, &moto, &one).await;
        let node = machine(&moto, "dev-nginx-front").await;
        let plan = planned(project, &moto, &two).await;
        assert!(plan.contains(&"+ load_balancer.front".to_owned()), "{plan:?}");
        assert!(plan.contains(&"+ vm.nginx-front-2".to_owned()), "{plan:?}");
        assert!(plan.iter().all(|line| !line.starts_with(['±', '-'])), "nothing is replaced or removed: {plan:?}");
        apply(project, &moto, &two).await;
        let grown = machine(&moto, "dev-nginx-front").await;
        assert_eq!((&grown.instance_id, &grown.ip_address), (&node.instance_id, &node.ip_address), "{network}");
        let client = moto.client();
        let target_groups = client.target_groups().await.unwrap();
        assert!(client.targets(&target_groups[0].target_group_arn).await.unwrap().contains(&node.instance_id));
        let says = async || {
            let zone = client.hosted_zones().await.unwrap().into_iter().next()?;
            let records = client.record_sets(zone.short_id()).await.unwrap();
            let record = records.into_iter().find(|record| record.name == "www.example.org.")?;
            Some((record.r#type, record.resource_records[0].value.clone()))
        };
        if !dns.is_empty() {
            let balancer = client.load_balancers().await.unwrap().remove(0).d_n_s_name;
            let (kind, to) = says().await.unwrap();
            assert_eq!((kind.as_str(), to.trim_end_matches('.')), ("CNAME", balancer.as_str()), "the name follows");
        }
        assert_eq!(planned(project, &moto, &two).await, Vec::<String>::new());
        // Back to one.
        let plan = planned(project, &moto, &one).await;
        let removed: Vec<&String> = plan.iter().filter(|line| line.starts_with(['±', '-'])).collect();
        assert_eq!(removed, ["- load_balancer.front", "- vm.nginx-front-2"], "{plan:?}");
        apply(project, &moto, &one).await;
        let shrunk = machine(&moto, "dev-nginx-front").await;
        assert_eq!((&shrunk.instance_id, &shrunk.ip_address), (&node.instance_id, &node.ip_address), "{network}");
        if !dns.is_empty() {
            assert_eq!(says().await.unwrap(), ("A".to_owned(), node.ip_address.clone()));
        }
        assert_eq!(planned(project, &moto, &one).await, Vec::<String>::new());
        destroy(project, &moto).await;
        assert_eq!(moto.count().await, before);
    }
}
