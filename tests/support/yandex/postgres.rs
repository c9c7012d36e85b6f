//! Managed PostgreSQL, as the simulator has it: clusters with their databases and logins. Where machines are real, a cluster is
//! a machine on which a real server answers.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{
    Machines, defaults, rules,
    world::{Answer, Refused, World, invalid, not_found, precondition},
};
use crate::support::containers::database_server;

/// The collection of clusters.
pub(super) const CLUSTERS: &str = "/managed-postgresql/v1/clusters";

type Changed = Result<(Value, Value), Refused>;

fn names(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().filter_map(|item| item["name"].as_str()).collect()
}

/// The settings must be those of the version.
fn check_config(config: &Value, version: &Value) -> Result<(), Refused> {
    let version = version.as_str().unwrap_or_default();
    if !["13", "14", "15", "16", "17", "18"].contains(&version) {
        return Err(invalid(format!("version {version} is not available")));
    }
    let fields = config.as_object().into_iter().flat_map(Map::keys);
    match fields
        .clone()
        .find(|name| name.starts_with("postgresqlConfig_") && **name != format!("postgresqlConfig_{version}"))
    {
        Some(other) => Err(invalid(format!("{other} is for another version than {version}"))),
        None => Ok(()),
    }
}

fn check_user(user: &Value, databases: &[&str]) -> Result<(), Refused> {
    let permissions = user["permissions"].as_array().into_iter().flatten();
    match permissions.filter_map(|p| p["databaseName"].as_str()).find(|name| !databases.contains(name)) {
        Some(unknown) => Err(not_found("Database", unknown)),
        None => Ok(()),
    }
}

impl World {
    /// Completes a cluster that is being made.
    pub(super) fn cluster(&mut self, id: &str, value: &mut Value) -> Result<(), Refused> {
        let (config, users, databases) =
            (value["configSpec"].take(), value["userSpecs"].take(), value["databaseSpecs"].take());
        check_config(&config, &config["version"])?;
        if config["resources"]["diskSize"].as_str().and_then(|size| size.parse::<u64>().ok()) < Some(10 << 30) {
            return Err(invalid("the disk is too small"));
        }
        for database in databases.as_array().into_iter().flatten() {
            if !names(&users).contains(&database["owner"].as_str().unwrap_or_default()) {
                return Err(not_found("User", database["owner"].as_str().unwrap_or_default()));
            }
        }
        for user in users.as_array().into_iter().flatten() {
            check_user(user, &names(&databases))?;
        }
        let host = value["hostSpecs"][0].clone();
        let subnet = self.exists("Subnet", &host["subnetId"])?;
        if subnet.value["zoneId"] != host["zoneId"] || subnet.value["networkId"] != value["networkId"] {
            return Err(invalid("the host's subnet is in another zone or network"));
        }
        for group in value["securityGroupIds"].as_array().into_iter().flatten() {
            self.exists("Security group", group)?;
        }
        if let Some(machines) = &self.machines {
            let subnet = (host["subnetId"].as_str().unwrap(), subnet.value["v4CidrBlocks"][0].as_str().unwrap());
            serve(machines, id, subnet, &users, &databases);
        }
        value["config"] = config;
        value["users"] = users;
        value["databases"] = databases;
        let name = format!("rc1a-{id}.mdb.yandexcloud.net");
        value["hosts"] = json!([{
            "name": name, "zoneId": host["zoneId"], "subnetId": host["subnetId"],
            "assignPublicIp": host.get("assignPublicIp").unwrap_or(&Value::Bool(false)),
        }]);
        value["status"] = "RUNNING".into();
        value["health"] = "ALIVE".into();
        Ok(())
    }

    /// A list of what is in a cluster.
    pub(super) fn read_cluster(&self, method: &rules::Method, path: &str) -> Option<Answer> {
        let list = path.strip_prefix(CLUSTERS)?.split('/').nth(2)?;
        let id = &method.parts[0].1;
        let Some(cluster) = self.objects.get(id) else { return Some(Err(not_found("Cluster", id))) };
        let mut items = cluster.value[list].clone();
        for item in items.as_array_mut().into_iter().flatten() {
            // Passwords are never told.
            item.as_object_mut().unwrap().remove("password");
            defaults::fill_inner(list, item);
        }
        Some(Ok(json!({ list: items })))
    }

    /// Changes a cluster, or what is in it.
    pub(super) fn change_cluster(
        &mut self, method: &rules::Method, path: &str, fields: &Map<String, Value>,
    ) -> Option<Changed> {
        let inner = path.strip_prefix(CLUSTERS)?.split('/').nth(2).map(str::to_owned);
        let id = method.parts[0].1.clone();
        let Some(mut cluster) = self.objects.get(&id).map(|object| object.value.clone()) else {
            return Some(Err(not_found("Cluster", &id)));
        };
        let changed = match (inner.as_deref(), method.rpc.as_str()) {
            (None, "Update") => update(&mut cluster, fields),
            (None, "Start") => {
                cluster["status"] = "RUNNING".into();
                Ok(())
            }
            (None, "Backup") => backup(&mut cluster, &id),
            (Some("hosts:batchUpdate"), _) => update_hosts(&mut cluster, fields),
            (Some(list), rpc) => change_inner(&mut cluster, list, rpc, method, fields),
            _ => return None,
        };
        let metadata = json!({ "clusterId": id });
        Some(changed.map(|()| {
            self.objects.get_mut(&id).unwrap().value = cluster;
            (metadata, json!({}))
        }))
    }
}

/// Only a cluster that runs can be backed up.
fn backup(cluster: &mut Value, id: &str) -> Result<(), Refused> {
    if cluster["status"] != "RUNNING" {
        return Err(precondition(format!("cluster {id} is {}", cluster["status"])));
    }
    let mut backups = cluster["backups"].as_array().cloned().unwrap_or_default();
    let number = backups.len() + 1;
    backups.push(json!({
        "id": format!("{id}:base_{number:024X}"), "folderId": cluster["folderId"], "sourceClusterId": id,
        "createdAt": format!("2026-01-02T03:04:{number:02}Z"),
    }));
    cluster["backups"] = backups.into();
    Ok(())
}

fn update(cluster: &mut Value, fields: &Map<String, Value>) -> Result<(), Refused> {
    let mask: Vec<&str> = fields["updateMask"].as_str().unwrap_or_default().split(',').collect();
    let version = |config: &Value| config["version"].as_str().and_then(|text| text.parse::<u32>().ok());
    if mask.contains(&"configSpec.version") && version(&fields["configSpec"]) < version(&cluster["config"]) {
        return Err(precondition("the version cannot be taken back"));
    }
    if mask.contains(&"configSpec.version") && mask.len() > 1 {
        return Err(precondition("the version is changed by itself"));
    }
    for path in mask {
        if path == "securityGroupIds" {
            cluster[path] = fields.get(path).cloned().ok_or_else(|| invalid(format!("{path} is not sent")))?;
            continue;
        }
        let Some(inside) = path.strip_prefix("configSpec.") else {
            return Err(invalid(format!("{path} would reset all settings")));
        };
        let (mut given, mut target) = (&fields["configSpec"], &mut cluster["config"]);
        for part in inside.split('.') {
            given = given.get(part).ok_or_else(|| invalid(format!("{path} is in the mask, but not sent")))?;
            target = &mut target[part];
        }
        *target = given.clone();
        // What is cleared is not there any more.
        for settings in cluster["config"].as_object_mut().unwrap().values_mut().filter_map(Value::as_object_mut) {
            settings.retain(|_, value| !value.is_null());
        }
    }
    if let Some(old) = cluster["config"].as_object().and_then(|config| {
        let version = format!("postgresqlConfig_{}", config["version"].as_str().unwrap_or_default());
        config.keys().find(|name| name.starts_with("postgresqlConfig_") && **name != version).cloned()
    }) {
        cluster["config"].as_object_mut().unwrap().remove(&old);
    }
    match fields.get("configSpec") {
        Some(config) => check_config(config, &cluster["config"]["version"]),
        None => Ok(()),
    }
}

fn change_inner(
    cluster: &mut Value, list: &str, rpc: &str, method: &rules::Method, fields: &Map<String, Value>,
) -> Result<(), Refused> {
    let databases = cluster["databases"].clone();
    let users: Vec<String> = names(&cluster["users"]).into_iter().map(str::to_owned).collect();
    let spec = if list == "users" { "userSpec" } else { "databaseSpec" };
    match rpc {
        "Create" => {
            let item = fields[spec].clone();
            if names(&cluster[list]).contains(&item["name"].as_str().unwrap_or_default()) {
                return Err(Refused(409, 6, format!("{} already exists", item["name"])));
            }
            match list {
                "users" => check_user(&item, &names(&databases))?,
                _ if !names(&cluster["users"]).contains(&item["owner"].as_str().unwrap_or_default()) => {
                    return Err(not_found("User", item["owner"].as_str().unwrap_or_default()));
                }
                _ => {}
            }
            cluster[list].as_array_mut().unwrap().push(item);
        }
        "Delete" => {
            let name = &method.parts[1].1;
            let owns = |database: &Value| database["owner"] == *name;
            if databases.as_array().into_iter().flatten().any(owns) {
                return Err(precondition(format!("{name} owns a database")));
            }
            let items = cluster[list].as_array_mut().unwrap();
            let before = items.len();
            items.retain(|item| item["name"] != *name);
            if items.len() == before {
                return Err(not_found("Object", name));
            }
        }
        "Update" => {
            let name = &method.parts[1].1;
            let items = cluster[list].as_array_mut().unwrap();
            let item = items.iter_mut().find(|item| item["name"] == *name).ok_or_else(|| not_found("Object", name))?;
            for field in fields["updateMask"].as_str().unwrap_or_default().split(',') {
                item[field] = fields.get(field).ok_or_else(|| invalid(format!("{field} is not sent")))?.clone();
            }
            if list == "users" {
                check_user(item, &names(&databases))?;
            } else if !users.contains(&item["owner"].as_str().unwrap().to_owned()) {
                return Err(not_found("User", item["owner"].as_str().unwrap()));
            }
        }
        other => return Err(Refused(501, 12, format!("the simulator has no {other} of {list}"))),
    }
    Ok(())
}

/// Changes hosts of a cluster.
fn update_hosts(cluster: &mut Value, fields: &Map<String, Value>) -> Result<(), Refused> {
    for change in fields["updateHostSpecs"].as_array().into_iter().flatten() {
        let hosts = cluster["hosts"].as_array_mut().unwrap();
        let host = hosts.iter_mut().find(|host| host["name"] == change["hostName"]);
        let host = host.ok_or_else(|| not_found("Host", &change["hostName"].to_string()))?;
        if change["updateMask"] != "assignPublicIp" {
            return Err(invalid("updateMask"));
        }
        host["assignPublicIp"] = change["assignPublicIp"].clone();
    }
    Ok(())
}

/// A machine with a server that has these logins and databases, behind the address that the service has.
fn serve(machines: &Arc<dyn Machines>, id: &str, subnet: (&str, &str), users: &Value, databases: &Value) {
    let pairs = |list: &Value, second: &str| -> Vec<(String, String)> {
        let text = |item: &Value, field: &str| item[field].as_str().unwrap().to_owned();
        list.as_array().into_iter().flatten().map(|item| (text(item, "name"), text(item, second))).collect()
    };
    let script = database_server(6432, &pairs(users, "password"), &pairs(databases, "owner"));
    machines.create(id, &format!("c-{id}.rw.mdb.yandexcloud.net"), subnet, None, &script);
}
