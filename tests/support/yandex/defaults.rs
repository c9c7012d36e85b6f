//! What the service fills in by itself and shows, although no call said it.

use serde_json::{Value, json};

use super::{postgres::CLUSTERS, world::ADDRESSES};

/// Adds to an object what was not asked for: fields that are there already stay.
pub(super) fn fill(collection: &str, value: &mut Value) {
    match collection {
        "/vpc/v1/securityGroups" => {
            for (number, rule) in items(&mut value["rules"]).enumerate() {
                let protocol = match rule["protocolName"].as_str() {
                    Some("TCP") => "6",
                    Some("UDP") => "17",
                    _ => "-1",
                };
                add(
                    rule,
                    &json!({ "id": format!("r{number}"), "protocolNumber": protocol, "description": "", "labels": {} }),
                );
            }
        }
        "/vpc/v1/subnets" => add(value, &json!({ "dhcpOptions": { "domainName": "" } })),
        "/vpc/v1/routeTables" => {
            items(&mut value["staticRoutes"]).for_each(|route| add(route, &json!({ "labels": {} })));
        }
        ADDRESSES => add(value, &json!({ "type": "EXTERNAL", "ipVersion": "IPV4", "dnsRecords": [] })),
        "/compute/v1/disks" => add(
            value,
            &json!({ "blockSize": "4096", "typeId": "network-hdd", "diskPlacementPolicy": {}, "productIds": ["f2e1"] }),
        ),
        "/compute/v1/instances" => {
            add(
                value,
                &json!({
                    "schedulingPolicy": {}, "networkSettings": { "type": "STANDARD" }, "placementPolicy": {},
                    "metadataOptions": { "gceHttpEndpoint": "ENABLED", "awsV1HttpEndpoint": "ENABLED" },
                    "gpuSettings": {}, "hardwareGeneration": { "legacyFeatures": { "pciTopology": "PCI_TOPOLOGY_V1" } },
                    "serialPortSettings": { "sshAuthorization": "OS_LOGIN" },
                }),
            );
            items(&mut value["networkInterfaces"])
                .for_each(|one| add(one, &json!({ "macAddress": "d0:0d:00:00:00:01" })));
        }
        "/compute/v1/instanceGroups" => group(value),
        "/load-balancer/v1/networkLoadBalancers" => {
            add(value, &json!({ "type": "EXTERNAL", "sessionAffinity": "CLIENT_IP_PORT_PROTO" }));
            for listener in items(&mut value["listeners"]) {
                let port = listener["port"].clone();
                add(listener, &json!({ "ipVersion": "IPV4", "targetPort": port, "protocol": "TCP" }));
            }
            for attached in items(&mut value["attachedTargetGroups"]) {
                items(&mut attached["healthChecks"]).for_each(checked);
            }
        }
        CLUSTERS => cluster(value),
        "/dns/v1/zones" => add(value, &json!({ "description": "" })),
        _ => {}
    }
}

fn items(list: &mut Value) -> impl Iterator<Item = &mut Value> {
    list.as_array_mut().into_iter().flatten()
}

/// Adds fields, also inside of those that are there.
fn add(value: &mut Value, defaults: &Value) {
    match (value, defaults) {
        (value @ Value::Null, defaults) => *value = defaults.clone(),
        (Value::Object(fields), Value::Object(defaults)) => {
            for (name, default) in defaults {
                add(fields.entry(name).or_insert(Value::Null), default);
            }
        }
        _ => {}
    }
}

/// How healthy machines are told apart.
fn checked(check: &mut Value) {
    add(check, &json!({ "interval": "2s", "timeout": "1s", "unhealthyThreshold": "2", "healthyThreshold": "2" }));
}

fn group(value: &mut Value) {
    add(
        value,
        &json!({
            "deployPolicy": {
                "maxDeleting": "1", "maxCreating": "3", "startupDuration": "0s", "strategy": "PROACTIVE",
                "minimalAction": "LIVE_UPDATE",
            },
            "instanceTemplate": {
                "schedulingPolicy": {}, "networkSettings": { "type": "STANDARD" }, "placementPolicy": {},
                "metadataOptions": { "gceHttpEndpoint": "ENABLED" }, "description": "", "labels": { "managed-by": "group" },
                "bootDiskSpec": { "deviceName": "boot", "diskSpec": { "preserveAfterInstanceDelete": false } },
            },
            "loadBalancerState": {}, "applicationLoadBalancerState": {}, "autoHealingPolicy": { "autoHealingAction": "RESTART" },
        }),
    );
    items(&mut value["instanceTemplate"]["networkInterfaceSpecs"])
        .for_each(|one| add(one, &json!({ "networkId": "enp" })));
    items(&mut value["healthChecksSpec"]["healthCheckSpecs"]).for_each(checked);
}

fn cluster(value: &mut Value) {
    add(
        value,
        &json!({
            "maintenanceWindow": { "anytime": {} }, "plannedOperation": {}, "deletionProtection": false, "hostGroupIds": [],
            "config": {
                "backupWindowStart": { "hours": 0, "minutes": 30 }, "backupRetainPeriodDays": "7",
                "poolerConfig": { "poolingMode": "SESSION" }, "access": {}, "diskSizeAutoscaling": {},
                "performanceDiagnostics": { "sessionsSamplingInterval": "60", "statementsSamplingInterval": "600" },
                "autofailover": true,
            },
        }),
    );
    let config = value["config"].as_object_mut().unwrap();
    for (_, settings) in config.iter_mut().filter(|(name, _)| name.starts_with("postgresqlConfig_")) {
        let defaults = json!({
            "maxConnections": "400", "sharedBuffers": (1_i64 << 31).to_string(), "workMem": (4_i64 << 20).to_string(),
            "jit": true, "logMinDurationStatement": "-1", "autovacuumMaxWorkers": "3",
        });
        let asked = settings.take();
        let mut effective = asked.clone();
        add(&mut effective, &defaults);
        // What the service chooses for the class of the hosts is shown as if someone had asked for it.
        let mut user = asked;
        add(&mut user, &json!({ "maxConnections": "400", "autovacuumMaxWorkers": "3" }));
        *settings = json!({ "userConfig": user, "effectiveConfig": effective, "defaultConfig": defaults });
    }
}

/// What a login, a database or a host of a cluster has.
pub(super) fn fill_inner(list: &str, value: &mut Value) {
    match list {
        "users" => add(
            value,
            &json!({
                "connLimit": "50", "login": true, "grants": [], "settings": { "poolingMode": "SESSION" },
                "userPasswordEncryption": "USER_PASSWORD_ENCRYPTION_MD5",
            }),
        ),
        "databases" => {
            add(value, &json!({ "lcCollate": "C", "lcCtype": "C", "deletionProtection": false }));
            items(&mut value["extensions"]).for_each(|one| add(one, &json!({ "version": "1.0" })));
        }
        "hosts" => add(value, &json!({ "priority": "0", "role": "MASTER", "health": "ALIVE", "services": [] })),
        _ => {}
    }
}
