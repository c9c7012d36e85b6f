//! Managed PostgreSQL: one cluster for each service, with its databases and logins.

use std::{collections::BTreeSet, time::Duration};

use async_trait::async_trait;
use serde_json::{Map, Value, json};

use super::{
    account::{Account, explain, if_there, needed, object, object_name},
    observe::networks_of,
    postgres_drift::{self, Inside, changed_settings},
    postgres_settings,
    wait::Asked,
};
use crate::{
    clock::Clock,
    cloud::yandex::{Cluster, Network},
    error::{Error, Result},
    event,
    name::Name,
    provider::{Driver, Health, LastCopy, Object, Request},
    resource::{Address, KindName, PostgresSpec},
};

/// The port of the connection pooler, through which clusters are reached.
pub(super) const PORT: u16 = 6432;
/// The smallest disk, in GiB.
const SMALLEST_DISK: u64 = 10;
/// How long backups are kept, in days: the least and the most.
const KEPT: (u64, u64) = (7, 60);

/// Classes of hosts, the cheapest first: name, processors, memory in MB
/// (<https://yandex.cloud/docs/managed-postgresql/concepts/instance-types>).
const CLASSES: &[(&str, u32, u64)] = &[
    ("c3-c2-m4", 2, 4 << 10),
    ("s3-c2-m8", 2, 8 << 10),
    ("c3-c4-m8", 4, 8 << 10),
    ("m3-c2-m16", 2, 16 << 10),
    ("s3-c4-m16", 4, 16 << 10),
    ("c3-c8-m16", 8, 16 << 10),
    ("m3-c4-m32", 4, 32 << 10),
    ("s3-c8-m32", 8, 32 << 10),
    ("s3-c12-m48", 12, 48 << 10),
    ("m3-c8-m64", 8, 64 << 10),
    ("s3-c16-m64", 16, 64 << 10),
    ("s3-c24-m96", 24, 96 << 10),
    ("s3-c32-m128", 32, 128 << 10),
    ("s3-c48-m192", 48, 192 << 10),
    ("s3-c64-m256", 64, 256 << 10),
];

/// The cheapest class that has what a service asks for.
pub(super) fn class(spec: &PostgresSpec) -> Option<&'static str> {
    let fits = |(_, cores, memory): &&(&str, u32, u64)| *cores >= spec.cores && *memory >= spec.memory_mb;
    CLASSES.iter().find(fits).map(|(name, ..)| *name)
}

/// What a service becomes here, where the file leaves it open or asks for less than the least.
pub(super) fn complete(spec: &mut PostgresSpec) {
    if spec.class.is_none() {
        spec.class = class(spec).map(str::to_owned);
    }
    spec.disk_type.get_or_insert_with(|| "network-ssd".to_owned());
    spec.disk_gb = spec.disk_gb.max(SMALLEST_DISK);
    if let Some(backup) = &mut spec.backup {
        backup.keep_days = backup.keep_days.clamp(KEPT.0, KEPT.1);
    }
}

/// How long a cluster may take to come to rest.
const SETTLE: Duration = Duration::from_mins(40);

/// PostgreSQL clusters.
pub(super) struct PostgresDriver(pub(super) Account);

/// The name of the message field that holds the settings of a version.
pub(super) fn config_field(version: u32) -> String {
    format!("postgresqlConfig_{version}")
}

fn resources(spec: &PostgresSpec) -> Value {
    json!({
        "resourcePresetId": spec.class, "diskTypeId": spec.disk_type, "diskSize": (spec.disk_gb << 30).to_string(),
    })
}

/// The settings of a cluster but its version, by the names of their fields.
fn config(spec: &PostgresSpec) -> Map<String, Value> {
    let mut config = Map::from_iter([("resources".to_owned(), resources(spec))]);
    let settings = postgres_settings::config(&spec.settings);
    if !settings.is_empty() {
        config.insert(config_field(spec.version), settings.into());
    }
    if let Some(backup) = &spec.backup {
        let start = json!({ "hours": backup.hour, "minutes": backup.minute });
        config.insert("backupWindowStart".to_owned(), start);
        config.insert("backupRetainPeriodDays".to_owned(), backup.keep_days.to_string().into());
    }
    config
}

/// A login as the service takes it. Each may use each database, as on a server of one's own.
fn user(request: &Request<'_>, spec: &PostgresSpec, name: &str) -> Result<Value> {
    let secret = spec.users.get(name).and_then(|secret| request.secrets.get(secret));
    let password = secret.ok_or_else(|| Error::new(format!("the login `{name}` has no password")))?;
    let permissions: Vec<Value> = spec.databases.keys().map(|name| json!({ "databaseName": name })).collect();
    Ok(json!({ "name": name, "password": password.expose(), "permissions": permissions }))
}

fn extensions(names: &[String]) -> Value {
    names.iter().map(|name| json!({ "name": name })).collect()
}

impl PostgresDriver {
    /// The status of a cluster once it is neither being changed nor started nor stopped: until then the service refuses other
    /// calls.
    async fn status_at_rest(&self, id: &str) -> Result<String> {
        let is_moving = |status: &str| matches!(status, "UPDATING" | "STARTING" | "STOPPING");
        let Some(first) = self.0.found::<Cluster>(id).await? else { return Ok("DELETING".to_owned()) };
        if !is_moving(&first.status) {
            return Ok(first.status);
        }
        let look = async |found: Cluster| {
            Ok(if is_moving(&found.status) { Asked::NotYet(found.status) } else { Asked::Done(found.status) })
        };
        self.0.until_rest(&format!("the cluster `{id}`"), SETTLE, &self.0.clusters, id, look).await
    }

    /// Backs up a cluster, which is started for that, and returns the backup's id.
    async fn last_backup(&self, id: &str, status: &str) -> Result<String> {
        let client = &self.0.client;
        let token = format!("{id}-last-{}", Clock::System.now().as_second());
        if status == "STOPPED" {
            client.start_cluster(id).send(&token).await?;
        }
        client.backup_cluster(id).send(&token).await?;
        let newest = client.cluster_backups(id).await?.into_iter().max_by(|a, b| a.created_at.cmp(&b.created_at));
        newest.map(|backup| backup.id).ok_or_else(|| Error::new("the service lists no backup of it"))
    }

    fn describe(cluster: &Cluster, environment: Option<&Name>) -> Option<Object> {
        let kind = KindName::POSTGRES;
        let mut object = object(&cluster.labels, kind, environment, &cluster.id, &cluster.created_at)?;
        object.health = match cluster.status.as_str() {
            "STOPPED" | "STOPPING" => Health::Stopped,
            "ERROR" => Health::Broken,
            "CREATING" | "STARTING" | "UPDATING" => Health::Transient,
            "DELETING" => Health::Leaving,
            _ if matches!(cluster.health.as_str(), "DEAD" | "DEGRADED") => Health::Unhealthy,
            _ => Health::Ready,
        };
        let host = format!("c-{}.rw.mdb.yandexcloud.net", cluster.id);
        object.attributes = Map::from_iter([("host".to_owned(), host.into()), ("port".to_owned(), PORT.into())]);
        let (config, size) = (&cluster.config, cluster.config.resources.disk_size);
        if let Ok(version) = config.version.parse::<u32>() {
            object.actual.insert("version".to_owned(), version.into());
        }
        object.actual.insert("class".to_owned(), config.resources.resource_preset_id.as_str().into());
        object.actual.insert("disk_gb".to_owned(), u64::try_from(size >> 30).unwrap_or(0).into());
        Some(object)
    }

    /// Makes the logins and databases what they should be. A login that the file no longer names goes; a database stays: data is
    /// not lost because a line is gone.
    async fn furnish(&self, cluster: &str, request: &Request<'_>, spec: &PostgresSpec) -> Result<()> {
        let (client, wrong) = (&self.0.client, |error| explain(error, request.resource));
        let token = request.token;
        let (users, databases) =
            tokio::try_join!(client.cluster_users(cluster), client.cluster_databases(cluster)).map_err(wrong)?;
        // A login may only be allowed into databases that exist, and a database must have an owner that exists.
        for name in spec.users.keys().filter(|name| !users.iter().any(|user| user.name == **name)) {
            let mut user = user(request, spec, name)?;
            user["permissions"] = json!([]);
            client.create_user(cluster).user_spec(user).send(token).await.map_err(wrong)?;
        }
        for (name, wanted) in &spec.databases {
            let listed = extensions(&wanted.extensions);
            let Some(present) = databases.iter().find(|database| database.name == *name) else {
                let database = json!({ "name": name, "owner": wanted.owner, "extensions": listed });
                client.create_database(cluster).database_spec(database).send(token).await.map_err(wrong)?;
                continue;
            };
            let there: BTreeSet<&str> = present.extensions.iter().map(|extension| extension.name.as_str()).collect();
            if there != wanted.extensions.iter().map(String::as_str).collect() {
                let call = client.update_database(cluster, name).extensions(listed);
                call.send(token).await.map_err(wrong)?;
            }
            if present.owner != wanted.owner {
                let call = client.update_database(cluster, name).owner(&wanted.owner);
                call.send(token).await.map_err(wrong)?;
            }
        }
        for name in spec.users.keys() {
            let wanted = user(request, spec, name)?;
            let present = users.iter().find(|user| user.name == *name);
            let allowed = |database: &String| {
                present.is_some_and(|user| user.permissions.iter().any(|one| one.database_name == *database))
            };
            if !spec.databases.keys().all(allowed) {
                let call = client.update_user(cluster, name).permissions(wanted["permissions"].clone());
                call.send(token).await.map_err(wrong)?;
            }
            if present.is_some() && request.unset.contains(name) {
                let password = wanted["password"].as_str().unwrap_or_default();
                client.update_user(cluster, name).password(password).send(token).await.map_err(wrong)?;
            }
        }
        let heir = spec.users.keys().next();
        for gone in users.iter().filter(|user| !spec.users.contains_key(&user.name)) {
            // A database that stays needs another owner first.
            let left = databases.iter().filter(|one| one.owner == gone.name && !spec.databases.contains_key(&one.name));
            let left: Vec<&str> = left.map(|database| database.name.as_str()).collect();
            let Some(heir) = heir.or(left.is_empty().then_some(&gone.name)) else {
                event::warn(format!(
                    "`{}`: the login `{}` stays: it owns `{}`, which the file no longer has, and the file has no login that \
                     could own it",
                    request.resource.address,
                    gone.name,
                    left.join("`, `"),
                ));
                continue;
            };
            for database in left {
                let call = client.update_database(cluster, database).owner(heir);
                call.send(token).await.map_err(wrong)?;
            }
            client.delete_user(cluster, &gone.name).send(token).await.map_err(wrong)?;
        }
        Ok(())
    }

    /// Lets the world reach the hosts of a cluster, or not.
    async fn publish(&self, cluster: &str, request: &Request<'_>, spec: &PostgresSpec) -> Result<()> {
        let (client, wrong) = (&self.0.client, |error| explain(error, request.resource));
        for host in client.cluster_hosts(cluster).await.map_err(wrong)? {
            if host.assign_public_ip != spec.public {
                let change =
                    json!({ "hostName": host.name, "updateMask": "assignPublicIp", "assignPublicIp": spec.public });
                let call = client.update_cluster_hosts(cluster).update_host_specs(vec![change]);
                call.send(request.token).await.map_err(wrong)?;
            }
        }
        Ok(())
    }
}

/// A cluster with what is in it; nothing when it has just vanished, or is not ours.
pub(super) async fn observe(
    account: &Account, cluster: &Cluster, networks: &[Network], environment: Option<&Name>,
) -> Result<Option<Object>> {
    let Some(mut object) = PostgresDriver::describe(cluster, environment) else { return Ok(None) };
    let (client, id) = (&account.client, cluster.id.as_str());
    let inside = tokio::try_join!(client.cluster_users(id), client.cluster_databases(id), client.cluster_hosts(id));
    let Some((users, databases, hosts)) = if_there(inside)? else { return Ok(None) };
    object.links = Some(networks_of(networks, &[], &cluster.security_group_ids));
    postgres_drift::note(&Inside { cluster, users: &users, databases: &databases, hosts: &hosts }, &mut object);
    Ok(Some(object))
}

#[async_trait]
impl Driver for PostgresDriver {
    fn compare(&self, spec: &Map<String, Value>, _attributes: &Map<String, Value>, object: &mut Object) {
        postgres_drift::compare(spec, object);
    }

    async fn list(&self, environment: Option<&Name>) -> Result<Vec<Object>> {
        let all = self.0.client.list::<Cluster>(&self.0.folder).await?;
        Ok(all.iter().filter_map(|cluster| Self::describe(cluster, environment)).collect())
    }

    async fn read(&self, id: &str) -> Result<Option<Object>> {
        Ok(self.0.found::<Cluster>(id).await?.and_then(|one| Self::describe(&one, None)))
    }

    async fn settled(&self, object: &Object) -> Result<Object> {
        let look = async |found: Cluster| {
            Ok(match Self::describe(&found, None) {
                Some(shown) if shown.health != Health::Transient => Asked::Done(shown),
                _ => Asked::NotYet(found.status),
            })
        };
        self.0.until_rest(&format!("`{}`", object.address), SETTLE, &self.0.clusters, &object.id, look).await
    }

    async fn create(&self, request: &Request<'_>) -> Result<Object> {
        let spec: PostgresSpec = request.resource.spec()?;
        let subnet = needed(request, &Address::subnet(&spec.subnet))?;
        let network = request.need(KindName::NETWORK).ok_or_else(|| Error::new("the service has no network"))?;
        let groups = request.groups()?;
        let zone = spec.zone.as_deref().or(subnet.attribute("zone")).unwrap_or(&self.0.settings.zone);
        let name = object_name(request);
        let labels = Account::labels(request);
        let mut config = config(&spec);
        config.insert("version".to_owned(), spec.version.to_string().into());
        let users = spec.users.keys().map(|name| user(request, &spec, name)).collect::<Result<_>>()?;
        let databases = spec.databases.iter().map(|(name, database)| {
            json!({ "name": name, "owner": database.owner, "extensions": extensions(&database.extensions) })
        });
        let call = self.0.client.create_cluster().folder_id(&self.0.folder).name(&name).labels(&labels);
        let call = call.environment("PRODUCTION").network_id(&network.id).security_group_ids(groups);
        let call = call.config_spec(config.into()).database_specs(databases.collect()).user_specs(users);
        let call = call.host_specs(vec![json!({
            "zoneId": zone, "subnetId": subnet.id, "assignPublicIp": spec.public,
        })]);
        let mut object = self.0.create(self, request, call.send(request.token)).await?;
        if !request.unset.is_empty() {
            // The call may be one that was carried out before, with the passwords of then.
            self.furnish(&object.id, request, &spec).await?;
        }
        object.attributes.insert(postgres_drift::SETTINGS.to_owned(), postgres_drift::named(&spec));
        Ok(object)
    }

    async fn update(&self, object: &Object, request: &Request<'_>) -> Result<Object> {
        let mut spec: PostgresSpec = request.resource.spec()?;
        let (client, wrong) = (&self.0.client, |error| explain(error, request.resource));
        let (id, token) = (object.id.as_str(), request.token);
        let mask = |mask: String| Map::from_iter([("updateMask".to_owned(), mask.into())]);
        if object.health == Health::Stopped {
            client.start_cluster(id).send(token).await.map_err(wrong)?;
        }
        let present: Cluster = client.describe(id).await.map_err(wrong)?;
        // A cluster that was upgraded outside of infra stays so: that is said by the plan.
        spec.version = spec.version.max(present.config.version.parse().unwrap_or(0));
        if present.config.version != spec.version.to_string() {
            // The service changes the version in a call of its own, one step upwards at a time.
            let call = client.update_cluster(id).config_spec(json!({ "version": spec.version.to_string() }));
            call.also(mask("configSpec.version".to_owned())).send(token).await.map_err(wrong)?;
        }
        let present: Cluster = client.describe(id).await.map_err(wrong)?;
        let former = object.attributes.get(postgres_drift::SETTINGS).unwrap_or(&Value::Null);
        let (config, paths) = changes(&spec, &present, former);
        if !paths.is_empty() {
            let call = client.update_cluster(id).config_spec(config.into()).also(mask(paths.join(",")));
            call.send(token).await.map_err(wrong)?;
        }
        let groups = request.groups()?;
        let there: BTreeSet<&str> = present.security_group_ids.iter().map(String::as_str).collect();
        if there != groups.iter().copied().collect() {
            client.update_cluster(id).security_group_ids(groups).send(token).await.map_err(wrong)?;
        }
        self.publish(id, request, &spec).await?;
        self.furnish(id, request, &spec).await?;
        let cluster: Cluster = client.describe(id).await.map_err(wrong)?;
        let mut described = Self::describe(&cluster, None)
            .ok_or_else(|| Error::new(format!("yandex: `{}` has lost its labels", object.address)))?;
        described.attributes.insert(postgres_drift::SETTINGS.to_owned(), postgres_drift::named(&spec));
        Ok(described)
    }

    async fn delete(&self, id: &str) -> Result<()> {
        self.0.remove(|| self.0.client.delete_cluster(id).send(id)).await
    }

    async fn delete_keeping(&self, id: &str, copy: LastCopy) -> Result<Option<String>> {
        let copied = async {
            let refused = |error: Error, status: &str| {
                error
                    .context(format!("yandex: no last backup of the cluster `{id}` can be made, which is `{status}`"))
                    .hint("fix it in the console, then run the command again")
                    .hint("`--allow-data-loss` removes it without a last backup")
            };
            let status = self.status_at_rest(id).await.map_err(|error| refused(error, "changing"))?;
            // One has no data yet, and of the other one a copy was made or not when its removal began.
            if matches!(status.as_str(), "CREATING" | "DELETING") {
                return Ok(None);
            }
            // The service refuses it then: it need not be asked where the loss was accepted.
            if status == "ERROR" && copy == LastCopy::IfPossible {
                let message = format!("yandex: the cluster `{id}` is `{status}`, and no last backup of it can be made");
                return Err(Error::new(message));
            }
            self.last_backup(id, &status).await.map(Some).map_err(|error| refused(error, &status))
        };
        let backup = match copied.await {
            // Its loss was accepted; the command itself goes on.
            Err(error) if copy == LastCopy::IfPossible && !error.is_interrupted() => {
                event::warn(format!("{error}; it is removed without one, as `--allow-data-loss` says"));
                None
            }
            copied => copied?,
        };
        let Some(backup) = backup else { return self.delete(id).await.map(|()| None) };
        self.delete(id).await?;
        // <https://yandex.cloud/en/docs/managed-postgresql/concepts/backup#storage>
        Ok(Some(format!("the backup `{backup}`, for 7 days")))
    }
}

/// The settings of a cluster that differ from what they should be, and their paths in a mask: single settings are named each, so
/// that the others stay as they are, and one that the file no longer has is cleared.
fn changes(spec: &PostgresSpec, present: &Cluster, former: &Value) -> (Map<String, Value>, Vec<String>) {
    let (mut config, mut paths) = (Map::new(), Vec::new());
    let seen = &present.config;
    let size = u64::try_from(seen.resources.disk_size >> 30).unwrap_or(0);
    let mut hardware = Map::new();
    if spec.class.as_ref() != Some(&seen.resources.resource_preset_id) {
        hardware.insert("resourcePresetId".to_owned(), json!(spec.class));
    }
    // A disk that is larger stays so.
    if spec.disk_gb > size {
        hardware.insert("diskSize".to_owned(), (spec.disk_gb << 30).to_string().into());
    }
    let field = config_field(spec.version);
    for (name, fields) in [("resources", hardware), (field.as_str(), changed_settings(spec, present, former))] {
        if !fields.is_empty() {
            paths.extend(fields.keys().map(|field| format!("configSpec.{name}.{field}")));
            config.insert(name.to_owned(), fields.into());
        }
    }
    if let Some(backup) = &spec.backup {
        let start = &seen.backup_window_start;
        if (start.hours, start.minutes) != (backup.hour, backup.minute) {
            let start = json!({ "hours": backup.hour, "minutes": backup.minute });
            config.insert("backupWindowStart".to_owned(), start);
            paths.push("configSpec.backupWindowStart".to_owned());
        }
        if u64::try_from(seen.backup_retain_period_days) != Ok(backup.keep_days) {
            config.insert("backupRetainPeriodDays".to_owned(), backup.keep_days.to_string().into());
            paths.push("configSpec.backupRetainPeriodDays".to_owned());
        }
    }
    (config, paths)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{PostgresSpec, complete};

    #[test]
    fn a_service_gets_the_cheapest_class_that_fits_and_no_less_than_the_least() {
        let mut spec = PostgresSpec {
            version: 15,
            cores: 2,
            memory_mb: 1024,
            class: None,
            disk_gb: 5,
            disk_type: None,
            subnet: "main".parse().unwrap(),
            zone: None,
            public: false,
            settings: serde_json::Map::new(),
            users: BTreeMap::new(),
            databases: BTreeMap::new(),
            backup: None,
        };
        complete(&mut spec);
        assert_eq!((spec.class.as_deref(), spec.disk_gb), (Some("c3-c2-m4"), 10));
        spec = PostgresSpec { class: None, cores: 4, memory_mb: 9 << 10, ..spec };
        complete(&mut spec);
        assert_eq!(spec.class.as_deref(), Some("s3-c4-m16"));
    }
}
