//! What each provider can change and compare: the tables name every field of every kind, and
//! `docs/reference/fields.md` is made of them.

use std::{collections::BTreeSet, fmt::Write as _};

use infra::{
    config::ProviderName,
    provider,
    resource::{
        AddressSpec, BackupSpec, DatabaseSpec, DiskSpec, DnsZoneSpec, Drift, FieldChange, GatewaySpec, HealthCheck,
        InstanceGroupSpec, KindName, LinkChange, LoadBalancerSpec, NetworkSpec, PostgresSpec, RecordSpec, RegistrySpec,
        RoleBindingSpec, RouteTableSpec, SecurityGroupSpec, ServiceAccountSpec, SubnetSpec, VmSpec, spec_fields,
    },
};

/// The names of all fields of a kind: each specification is written out whole, so that a new field does not compile here
/// until it is in the tables.
fn fields(kind: KindName) -> BTreeSet<String> {
    let (name, text): (infra::name::Name, _) = ("a".parse().unwrap(), || Some("a".to_owned()));
    let vm = VmSpec {
        image: String::new(),
        cores: 1,
        core_fraction: 100,
        memory_mb: 1,
        disk_gb: 1,
        subnet: name.clone(),
        public: false,
        ports: Vec::new(),
        login: String::new(),
        authorized_keys: Vec::new(),
        disks: Vec::new(),
        user_data: text(),
        compose: text(),
        zone: text(),
        disk_type: text(),
        class: text(),
        reserved_address: Some(name.clone()),
        security_groups: vec![name.clone()],
    };
    let all = match kind {
        KindName::VM => spec_fields(&vm),
        KindName::SUBNET => spec_fields(&SubnetSpec {
            cidr: String::new(),
            more_cidrs: vec![String::new()],
            prefix: Some(28),
            zone: text(),
        }),
        KindName::DISK => spec_fields(&DiskSpec { size_gb: 1, disk_type: text(), zone: text() }),
        KindName::NETWORK => {
            spec_fields(&NetworkSpec { name: String::new(), cidrs: Vec::new(), ssh_from: Vec::new(), cidr: text() })
        }
        KindName::GATEWAY => spec_fields(&GatewaySpec {}),
        KindName::ROUTE_TABLE => spec_fields(&RouteTableSpec { network: name.clone(), gateway: name }),
        KindName::SECURITY_GROUP => {
            spec_fields(&SecurityGroupSpec { network: name, ports: Vec::new(), checked: vec![1] })
        }
        KindName::SERVICE_ACCOUNT => spec_fields(&ServiceAccountSpec {}),
        KindName::ROLE_BINDING => spec_fields(&RoleBindingSpec { service_account: name, roles: Vec::new() }),
        KindName::LOAD_BALANCER => spec_fields(&LoadBalancerSpec { members: Vec::new(), ports: Vec::new() }),
        KindName::ADDRESS => spec_fields(&AddressSpec { zone: text(), front: Some(name) }),
        KindName::REGISTRY => spec_fields(&RegistrySpec {}),
        KindName::DNS_ZONE => {
            let record =
                RecordSpec { name: String::new(), kind: "A".to_owned(), ttl: 60, values: Vec::new(), to: None };
            spec_fields(&DnsZoneSpec { zone: String::new(), network: Some(name), records: vec![record] })
        }
        KindName::INSTANCE_GROUP => spec_fields(&InstanceGroupSpec {
            count: 1,
            zones: Vec::new(),
            max_unavailable: 1,
            max_expansion: 0,
            service_account: Some(name),
            health_check: Some(HealthCheck { port: 1, path: None, interval: 1, timeout: 1, failures: 1, patience: 1 }),
            machine: vm,
        }),
        KindName::POSTGRES => spec_fields(&PostgresSpec {
            version: 15,
            cores: 2,
            memory_mb: 1,
            class: text(),
            disk_gb: 10,
            disk_type: text(),
            subnet: name.clone(),
            zone: text(),
            public: false,
            settings: serde_json::Map::new(),
            users: [("a".to_owned(), String::new())].into(),
            databases: [("a".to_owned(), DatabaseSpec { owner: "a".to_owned(), extensions: Vec::new() })].into(),
            backup: Some(BackupSpec { hour: 1, minute: 1, keep_days: 1 }),
        }),
        KindName::EXPIRY => serde_json::Map::new(),
        _ => panic!("`{}` is not here", kind.as_str()),
    };
    all.keys().cloned().collect()
}

#[test]
fn fields_are_all_in_the_tables() {
    for (provider, called) in ProviderName::all().map(|provider| (provider, provider.as_str())) {
        for kind in KindName::all() {
            let rules = provider::rules(provider)(kind);
            let named: BTreeSet<String> = rules.fields.iter().map(|field| field.name.to_owned()).collect();
            assert_eq!(named.len(), rules.fields.len(), "{called}: `{}` names a field twice", kind.as_str());
            if rules.fields.is_empty() && rules.links.is_empty() {
                continue;
            }
            let mut wanted = fields(kind);
            let treatment = (provider::Entry::of(provider).treatment)(kind).unwrap();
            wanted.retain(|field| !treatment.unused.contains(&field.as_str()));
            assert_eq!(named, wanted, "{called}: `{}`", kind.as_str());
        }
    }
}

#[test]
fn fields_have_a_page() {
    let change = |change: FieldChange| match change {
        FieldChange::InPlace => "in place".to_owned(),
        FieldChange::Restart => "in place, with a restart".to_owned(),
        FieldChange::Replace => "by replacement".to_owned(),
        FieldChange::Refused(instead) => format!("refused: {instead}"),
        FieldChange::Ignored(why) => format!("no difference: {why}"),
    };
    let drift = |drift: Drift| match drift {
        Drift::Seen => "seen".to_owned(),
        Drift::Unseen(why) => format!("not seen: {why}"),
    };
    let mut text = String::from(
        "# What is changed and compared\n\nFor each kind of resource: how a change in the environment file is made, and whether a \
         change made outside of infra (in the console, by another tool) is seen by the next `plan` and put right by `apply`. \
         Lines with an arrow are what the resource points to: what becomes of it when that is created again or replaced.\n",
    );
    for (provider, called) in ProviderName::all().map(|provider| (provider, provider.as_str())) {
        let _ = write!(text, "\n## Provider `{called}`\n\n| kind | field | changed | drift |\n|---|---|---|---|\n");
        for kind in KindName::all() {
            let rules = provider::rules(provider)(kind);
            for field in rules.fields {
                let (name, kind) = (field.name, kind.as_str());
                let grows = if field.grows { ", never smaller" } else { "" };
                let steps = if field.steps { ", one at a time" } else { "" };
                let stays = if field.stays { "; it stays as it is when the file no longer has it" } else { "" };
                let change = change(field.change);
                let _ =
                    writeln!(text, "| {kind} | `{name}` | {change}{grows}{steps}{stays} | {} |", drift(field.drift));
            }
            for link in rules.links {
                let becomes = match link.change {
                    LinkChange::InPlace => "is pointed to the new one",
                    LinkChange::Restart => "is pointed to the new one; it is stopped for that and started again",
                    LinkChange::Replace => "is replaced, too",
                    LinkChange::Keep => "stays as it is",
                };
                let _ = writeln!(
                    text,
                    "| {} | → {} | {becomes} | {} |",
                    kind.as_str(),
                    link.to.as_str(),
                    drift(link.drift)
                );
            }
        }
    }
    crate::docs::page("fields.md", &text);
}

/// What an engine does not have is no difference there: nothing that holds data is replaced for it.
#[test]
fn fields_that_docker_ignores_replace_nothing() {
    let state = |address: &str, spec: serde_json::Value| -> infra::state::State {
        serde_json::from_value(serde_json::json!({
            "version": 2, "environment": "dev", "provider": "docker", "folder": "envs/dev", "overlay": {}, "serial": 1,
            "created": "2026-01-01T00:00:00Z",
            "resources": { address: {
                "id": "d-1", "token": "t", "spec": spec, "needs": [], "attributes": {}, "created": "2026-01-01T00:00:00Z",
            } },
        }))
        .unwrap()
    };
    for (address, field) in
        [("disk.a", "disk_type"), ("disk.a", "zone"), ("subnet.a", "zone"), ("vm.a", "reserved_address")]
    {
        let spec = |value: Option<&str>| value.map(|value| (field.to_owned(), value.into())).into_iter().collect();
        for (before, after) in [(None, Some("x")), (Some("x"), Some("y")), (Some("x"), None)] {
            let before: serde_json::Map<String, serde_json::Value> = spec(before);
            let wanted = infra::resource::Resource {
                address: address.parse().unwrap(),
                spec: spec(after),
                needs: Vec::new(),
                origin: "config.yaml:1:1".to_owned(),
                data: Vec::new(),
            };
            let state = state(address, before.into());
            let rules = provider::rules("docker".parse().unwrap());
            let policy = infra::resource::Policy { rules, ..infra::resource::Policy::default() };
            let observed: Vec<_> = infra::plan::believed(&state, "p", &wanted.address).into_iter().collect();
            let pending = std::collections::BTreeMap::new();
            let known = infra::plan::Known { state: Some(&state), pending: &pending, observed: &observed, policy };
            let changes = infra::plan::diff(&[wanted], known).unwrap();
            assert_eq!(changes[0].action, infra::plan::Action::Keep, "{address} {field}: {:?}", changes[0]);
        }
    }
}

/// A disk grows, and never becomes smaller; where its size means nothing, it is no difference.
#[test]
fn disks_never_become_smaller() {
    let disk = |size: u64| infra::resource::Resource {
        address: "disk.a".parse().unwrap(),
        spec: spec_fields(&DiskSpec { size_gb: size, disk_type: None, zone: None }),
        needs: Vec::new(),
        origin: "config.yaml:1:1".to_owned(),
        data: Vec::new(),
    };
    let known = disk(2);
    let state: infra::state::State = serde_json::from_value(serde_json::json!({
        "version": 2, "environment": "dev", "provider": "fake", "folder": "envs/dev", "overlay": {}, "serial": 1,
        "created": "2026-01-01T00:00:00Z",
        "resources": { "disk.a": {
            "id": "d-1", "token": "t", "spec": known.spec, "needs": [], "attributes": {}, "created": "2026-01-01T00:00:00Z",
        } },
    }))
    .unwrap();
    for (provider, called) in ProviderName::all().map(|provider| (provider, provider.as_str())) {
        let policy = infra::resource::Policy { rules: provider::rules(provider), ..infra::resource::Policy::default() };
        let observed: Vec<_> = infra::plan::believed(&state, "p", &known.address).into_iter().collect();
        let pending = std::collections::BTreeMap::new();
        let known = infra::plan::Known { state: Some(&state), pending: &pending, observed: &observed, policy };
        let of = |size: u64| infra::plan::diff(&[disk(size)], known);
        let action = |size: u64| of(size).unwrap()[0].action;
        assert_eq!(action(2), infra::plan::Action::Keep, "{called}");
        if called == "docker" {
            assert_eq!((action(1), action(3)), (infra::plan::Action::Keep, infra::plan::Action::Keep));
            continue;
        }
        assert_eq!(action(3), infra::plan::Action::Update, "{called}");
        let error = of(1).unwrap_err().to_string();
        assert!(error.contains("`disk.a`: `size_gb` cannot be made smaller: it is 2, and 1 is asked for"), "{error}");
    }
}
