//! Managed PostgreSQL: one RDS server for each service, with the group of subnets that it may stand in and the group of its
//! settings.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{
    Account, Driver, Health, LABEL_ENV, LABEL_PROJECT, Object, Owner, PART, READY, Request, explain, layout::class_of,
    needed, network::DEFAULT_GROUP, object, or_there, tag, unique_name,
};
use crate::{
    clock::Clock,
    cloud::aws::{
        AwsError,
        ec2::Tags,
        rds::{DbInstance, Snapshot},
    },
    error::{Error, Result},
    identity,
    name::Name,
    provider::managed_postgres::{Unit, quantity, switch, unit},
    resource::{Address, KindName, PostgresSpec},
};

/// The smallest disk, in GiB.
const SMALLEST_DISK: u64 = 20;
/// The longest time that backups are kept, in days.
const KEPT: u64 = 35;
/// How many settings one call may change.
const SETTINGS_AT_A_TIME: usize = 20;
/// Whether connections without TLS are refused.
const FORCE_SSL: &str = "rds.force_ssl";
/// The tag of a server with the digest of its settings.
const SETTINGS: &str = "infra-settings";
/// The part of a service that is its group of subnets.
const SUBNETS_PART: &str = "db-subnets";

/// What a service becomes here, where the file leaves it open or asks for less than the least.
pub(super) fn complete(spec: &mut PostgresSpec) {
    if spec.class.is_none() {
        // The smallest class of machines has no database.
        spec.class = class_of(spec.cores, spec.memory_mb.max(1024)).map(|class| format!("db.{class}"));
    }
    spec.disk_type.get_or_insert_with(|| "gp3".to_owned());
    spec.disk_gb = spec.disk_gb.max(SMALLEST_DISK);
    if let Some(backup) = &mut spec.backup {
        backup.keep_days = backup.keep_days.min(KEPT);
    }
}

/// The setting as the service takes it: plain numbers in the server's own units.
pub(super) fn setting(name: &str, value: &Value) -> Result<String, String> {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    Ok(match unit(name) {
        Some(own) => {
            let (Unit::Bytes(size) | Unit::Milliseconds(size)) = own;
            let base = quantity(value, own)?;
            if base < 0 { base } else { base / i64::try_from(size).unwrap_or(1) }.to_string()
        }
        None if matches!(value, Value::Bool(_) | Value::String(_)) && text.parse::<f64>().is_err() => {
            switch(value).map_or(text, |on| if on { "1" } else { "0" }.to_owned())
        }
        None => text,
    })
}

/// All settings. Machines of the network may connect without TLS, as to a server of one's own, unless the file says otherwise.
fn settings(spec: &PostgresSpec) -> Vec<(String, String)> {
    let given = spec.settings.iter().filter_map(|(name, value)| Some((name.clone(), setting(name, value).ok()?)));
    let mut all: Vec<(String, String)> = given.collect();
    if !spec.settings.contains_key(FORCE_SSL) {
        all.push((FORCE_SSL.to_owned(), "0".to_owned()));
    }
    all
}

/// PostgreSQL servers.
pub(super) struct PostgresDriver(pub(super) Account);

/// The name of the group of settings for a version: a version has a family of its own.
fn settings_name(token: &str, version: u32) -> String {
    format!("{}-v{version}", unique_name(token, None))
}

/// The name of the server that a group of settings was made for.
fn server_of(settings: &str) -> &str {
    settings.rsplit_once("-v").map_or(settings, |(server, _)| server)
}

fn describe(server: &DbInstance) -> Option<Object> {
    let mut object = object(&server.tag_list, KindName::POSTGRES, &server.identifier, &server.instance_create_time)?;
    if server.status == "deleting" {
        // Its groups of subnets and of settings are there until someone removes them.
        object.health = Health::Incomplete;
        return Some(object);
    }
    if object.health == Health::Ready && matches!(server.status.as_str(), "stopped" | "stopping") {
        object.health = Health::Stopped;
    }
    let port: u16 = server.endpoint.port.parse().unwrap_or(5432);
    object.attributes.insert("host".to_owned(), server.endpoint.address.as_str().into());
    object.attributes.insert("port".to_owned(), port.into());
    object.actual.insert("class".to_owned(), server.class.as_str().into());
    object.actual.insert("disk_type".to_owned(), server.storage_type.as_str().into());
    object.actual.insert("public".to_owned(), (server.publicly_accessible == "true").into());
    if let Some(backup) = shown_backup(server) {
        object.actual.insert("backup".to_owned(), backup);
    }
    Some(object)
}

/// The servers among these objects point to the networks whose security group they have.
pub(super) fn relate(objects: &mut [Object]) {
    let networks: BTreeMap<String, String> = (objects.iter())
        .filter_map(|object| Some((object.attribute(DEFAULT_GROUP)?.to_owned(), object.id.clone())))
        .collect();
    for object in objects.iter_mut().filter(|object| object.address.kind == KindName::POSTGRES) {
        let named = object.links.take().map(|links| {
            links.into_iter().map(|id| networks.get(&id).cloned().unwrap_or(id)).collect::<BTreeSet<String>>()
        });
        object.links = named;
    }
}

/// When a server makes backups, in the form of the file; in words when it is not a window of ours.
fn shown_backup(server: &DbInstance) -> Option<Value> {
    let keep_days: u64 = server.backup_retention_period.parse().ok()?;
    let (from, _) = server.preferred_backup_window.split_once('-')?;
    let (hour, minute) = from.split_once(':')?;
    let (hour, minute): (u32, u32) = (hour.parse().ok()?, minute.parse().ok()?);
    Some(json!({ "hour": hour, "minute": minute, "keep_days": keep_days }))
}

/// A digest of settings, which a server carries among its tags: what was changed since does not have it.
fn digest(settings: &[(String, String)]) -> Result<String> {
    let mut settings = settings.to_vec();
    settings.sort();
    Ok(identity::hex(&Sha256::digest(serde_json::to_string(&settings)?)[..10]))
}

impl PostgresDriver {
    /// The group of settings, made and filled with these and no others.
    async fn settle_settings(&self, name: &str, spec: &PostgresSpec, tags: &Tags) -> Result<(), AwsError> {
        let client = &self.0.client;
        or_there(client.create_db_parameter_group(name, &format!("postgres{}", spec.version), tags).await)?;
        let wanted = settings(spec);
        let present = client.db_parameters(name).await?;
        let is_there = |(name, value): &&(String, String)| {
            present.iter().any(|one| one.parameter_name == *name && one.parameter_value == *value)
        };
        let missing: Vec<(String, String)> = wanted.iter().filter(|one| !is_there(one)).cloned().collect();
        for settings in missing.chunks(SETTINGS_AT_A_TIME) {
            client.modify_db_parameter_group(name, settings).await?;
        }
        let names = present.iter().map(|one| one.parameter_name.as_str());
        let surplus: Vec<&str> = names.filter(|name| !wanted.iter().any(|(wanted, _)| wanted == name)).collect();
        for names in surplus.chunks(SETTINGS_AT_A_TIME) {
            client.reset_db_parameters(name, names).await?;
        }
        Ok(())
    }

    /// A server with the settings that someone has set, when they are not those that it was given.
    async fn with_settings(&self, server: &DbInstance, mut object: Object) -> Result<Object> {
        let mut present = Vec::new();
        for group in &server.parameter_groups {
            let all = self.0.client.db_parameters(&group.name).await?;
            present.extend(all.into_iter().map(|one| (one.parameter_name, one.parameter_value)));
        }
        if tag(&server.tag_list, SETTINGS) != Some(&digest(&present)?) {
            present.retain(|(name, _)| name != FORCE_SSL);
            object.actual.insert("settings".to_owned(), json!(BTreeMap::from_iter(present)));
        }
        Ok(object)
    }

    /// A server that has come to rest, with nothing left to do.
    async fn available(&self, name: &str) -> Result<DbInstance> {
        let look = || async {
            let found = self.0.client.db_instance(name).await?;
            let server = found.ok_or_else(|| Error::new(format!("aws: the database `{name}` is gone")))?;
            let pending = server.pending_modified_values.as_object().is_some_and(|values| !values.is_empty());
            match server.status.as_str() {
                "failed" | "incompatible-parameters" | "incompatible-network" | "storage-full" => {
                    Err(Error::new(format!("aws: the database `{name}` is {}", server.status)))
                }
                "available" if !pending => Ok(Some(server)),
                _ => Ok(None),
            }
        };
        self.0.settle(&format!("the database `{name}`"), look).await
    }

    /// The login that owns everything, and the one database. There may be neither.
    fn owner<'a>(request: &'a Request<'_>, spec: &PostgresSpec) -> Result<(String, &'a str)> {
        let (user, secret) =
            spec.users.iter().next().ok_or_else(|| Error::new("a managed database has one login here"))?;
        let password = request.secrets.get(secret).ok_or_else(|| Error::new("the login has no password"))?;
        Ok((user.clone(), password.expose()))
    }
}

#[async_trait]
impl Driver for PostgresDriver {
    async fn list(&self, environment: Option<&Name>) -> Result<Vec<Object>> {
        let client = &self.0.client;
        let (servers, groups, settings) =
            tokio::try_join!(client.db_instances(), client.db_subnet_groups(), client.db_parameter_groups())?;
        let ours = |object: &Object| environment.is_none_or(|name| object.environment == name.as_str());
        let found = servers.iter().filter_map(|server| Some((server, describe(server).filter(ours)?)));
        let found = found.map(|(server, object)| async move {
            if object.health == Health::Incomplete { Ok(object) } else { self.with_settings(server, object).await }
        });
        let mut objects: Vec<Object> = futures::future::try_join_all(found).await?;
        for object in &mut objects {
            let own = groups.iter().filter(|group| group.name == object.id).flat_map(|group| &group.subnets);
            let server = servers.iter().find(|server| server.identifier == object.id);
            let inside = server.into_iter().flat_map(|server| &server.vpc_security_groups);
            // Those of the network itself are told by its own name once everything is listed.
            let inside = inside.map(|group| group.vpc_security_group_id.clone());
            object.links = Some(own.map(|subnet| subnet.subnet_identifier.clone()).chain(inside).collect());
        }
        // Groups of subnets and of settings whose server was never made, or is gone already.
        let parts = groups.iter().map(|group| (group.name.as_str(), group.arn.as_str()));
        let parts = parts.chain(settings.iter().map(|group| (server_of(&group.name), group.arn.as_str())));
        let mut seen: BTreeSet<&str> = servers.iter().map(|server| server.identifier.as_str()).collect();
        for (server, arn) in parts.filter(|(server, _)| server.starts_with(super::PREFIX)) {
            if !seen.insert(server) {
                continue;
            }
            let tags = client.db_tags(arn).await?;
            let left = object(&tags, KindName::POSTGRES, server, "");
            objects.extend(left.map(|object| Object { health: Health::Incomplete, ..object }));
        }
        objects.retain(ours);
        Ok(objects)
    }

    async fn create(&self, request: &Request<'_>) -> Result<Object> {
        let spec: PostgresSpec = request.resource.spec()?;
        let (client, wrong) = (&self.0.client, |error| explain(error, request.resource));
        let name = unique_name(request.token, None);
        let tags = Account::tags(request);
        let mut part = tags.clone();
        part.insert(PART.to_owned(), SUBNETS_PART.to_owned());
        let subnets = request.needs.iter().filter(|(address, _)| address.kind == KindName::SUBNET);
        let subnets: Vec<&str> = subnets.map(|(_, subnet)| subnet.id.as_str()).collect();
        or_there(client.create_db_subnet_group(&name, &subnets, &part).await).map_err(wrong)?;
        let settings = settings_name(request.token, spec.version);
        self.settle_settings(&settings, &spec, &part).await.map_err(wrong)?;
        let network = request.need(KindName::NETWORK);
        let group = network.and_then(|network| network.attribute(DEFAULT_GROUP)).unwrap_or_default();
        let (user, password) = Self::owner(request, &spec)?;
        // What the file names is made at once; the subnet decides about the zone.
        needed(request, &Address::subnet(&spec.subnet))?;
        let mut fields = json!({
            "DBInstanceIdentifier": name, "DBInstanceClass": spec.class, "Engine": "postgres",
            "EngineVersion": spec.version.to_string(), "AllocatedStorage": spec.disk_gb, "StorageType": spec.disk_type,
            "StorageEncrypted": true, "MasterUsername": user, "MasterUserPassword": password,
            "DBSubnetGroupName": name, "DBParameterGroupName": settings, "AvailabilityZone": spec.zone,
            "VpcSecurityGroupIds": { "VpcSecurityGroupId": [group] }, "PubliclyAccessible": spec.public,
            "AutoMinorVersionUpgrade": true, "CopyTagsToSnapshot": true,
        });
        if let Some(database) = spec.databases.keys().next() {
            fields["DBName"] = database.as_str().into();
        }
        backups(&spec, &mut fields);
        let mut tags = tags;
        tags.insert(SETTINGS.to_owned(), digest(&self::settings(&spec))?);
        or_there(client.create_db_instance(fields, &tags).await).map_err(wrong)?;
        let server = self.available(&name).await?;
        client.tag_db(&server.arn, &Tags::from([(READY.to_owned(), "yes".to_owned())])).await?;
        self.0.made(self, request).await
    }

    async fn update(&self, object: &Object, request: &Request<'_>) -> Result<Object> {
        let mut spec: PostgresSpec = request.resource.spec()?;
        let (client, wrong) = (&self.0.client, |error| explain(error, request.resource));
        let name = object.id.as_str();
        if object.health == Health::Incomplete {
            // The names of its parts are made of its token: what is left of them goes first.
            self.remove(name, None).await?;
            return self.create(&Request { token: &object.token, ..request.clone() }).await;
        }
        if object.health == Health::Stopped {
            client.start_db_instance(name).await.map_err(wrong)?;
        }
        let present = self.available(name).await?;
        let database = spec.databases.keys().next().map_or("", String::as_str);
        let (user, password) = Self::owner(request, &spec)?;
        if present.master_username != user || present.db_name != database {
            let place = format!("{} ({})", request.resource.address, request.resource.origin);
            return Err(Error::usage(format!(
                "{place}: the login `{}` and the database `{}` were made with the server, and cannot have other names",
                present.master_username, present.db_name
            ))
            .hint("make a new service under another name, and move the data"));
        }
        // Both may have grown outside of infra, and never go back.
        spec.disk_gb = spec.disk_gb.max(present.allocated_storage.parse().unwrap_or(0));
        let version = present.engine_version.split('.').next().and_then(|version| version.parse().ok());
        let upgraded = version.is_none_or(|version: u32| version < spec.version);
        spec.version = spec.version.max(version.unwrap_or(0));
        let settings = settings_name(&object.token, spec.version);
        let mut part = Account::tags(request);
        part.insert(PART.to_owned(), SUBNETS_PART.to_owned());
        self.settle_settings(&settings, &spec, &part).await.map_err(wrong)?;
        self.reach(name, request).await.map_err(wrong)?;
        let network = request.need(KindName::NETWORK);
        let group = network.and_then(|network| network.attribute(DEFAULT_GROUP)).unwrap_or_default();
        let mut fields = json!({
            "DBInstanceIdentifier": name, "ApplyImmediately": true, "VpcSecurityGroupIds": { "VpcSecurityGroupId": [group] }, "DBInstanceClass": spec.class,
            "AllocatedStorage": spec.disk_gb, "StorageType": spec.disk_type, "PubliclyAccessible": spec.public,
            "DBParameterGroupName": settings,
        });
        if request.unset.contains(&user) {
            fields["MasterUserPassword"] = password.into();
        }
        if upgraded {
            fields["EngineVersion"] = spec.version.to_string().into();
            fields["AllowMajorVersionUpgrade"] = true.into();
        }
        backups(&spec, &mut fields);
        client.modify_db_instance(fields).await.map_err(wrong)?;
        self.available(name).await?;
        let digest = digest(&self::settings(&spec))?;
        if tag(&present.tag_list, SETTINGS) != Some(&digest) || object.actual.contains_key("settings") {
            // Some settings are in force after a start only; which ones is the server's own affair.
            client.reboot_db_instance(name).await.map_err(wrong)?;
            self.available(name).await?;
            client.tag_db(&present.arn, &Tags::from([(SETTINGS.to_owned(), digest)])).await.map_err(wrong)?;
        }
        self.remove_settings(name, Some(spec.version)).await?;
        let server = self.available(name).await?;
        describe(&server).ok_or_else(|| Error::new("aws: the database lost its tags while it was worked on"))
    }

    async fn delete(&self, id: &str) -> Result<()> {
        self.remove(id, None).await
    }

    async fn delete_keeping(&self, id: &str) -> Result<Option<String>> {
        let server = self.0.client.db_instance(id).await?;
        // A server in another state than these has no data yet, or cannot be copied any more.
        let copied = server.is_some_and(|server| {
            !matches!(server.status.as_str(), "creating" | "deleting" | "failed")
                && !server.status.starts_with("incompatible-")
        });
        if !copied {
            return self.remove(id, None).await.map(|()| None);
        }
        let snapshot = format!("{id}-final-{}", Clock::System.now().strftime("%Y%m%d%H%M%S"));
        self.remove(id, Some(&snapshot)).await?;
        Ok(Some(format!("the snapshot `{snapshot}`, until someone deletes it")))
    }
}

impl Account {
    /// The last snapshots of an environment's databases.
    pub(super) async fn snapshots(&self, owner: &Owner) -> Result<Vec<String>> {
        let mut all = self.client.db_snapshots().await?;
        all.retain(|one| {
            let says = |key: &str, value: &str| tag(&one.tag_list, key) == Some(value);
            says(LABEL_ENV, owner.environment.as_str()) && says(LABEL_PROJECT, &owner.project)
        });
        let name = |one: &Snapshot| format!("the snapshot `{}` of {} GB", one.identifier, one.allocated_storage);
        Ok(all.iter().map(name).collect())
    }
}

impl PostgresDriver {
    /// Removes a server and what belongs to it; a last snapshot of this name is kept, when one is given.
    async fn remove(&self, id: &str, snapshot: Option<&str>) -> Result<()> {
        let client = &self.0.client;
        if client.db_instance(id).await?.is_some_and(|server| server.status != "deleting") {
            self.0.remove(|| client.delete_db_instance(id, snapshot)).await?;
        }
        let gone = || async { Ok(client.db_instance(id).await?.is_none().then_some(())) };
        self.0.settle(&format!("the end of the database `{id}`"), gone).await?;
        self.remove_settings(id, None).await?;
        self.0.remove(|| client.delete_db_subnet_group(id)).await
    }

    /// Removes the groups of settings of a server but that of this version.
    async fn remove_settings(&self, id: &str, kept: Option<u32>) -> Result<()> {
        let client = &self.0.client;
        let kept = kept.map(|version| format!("{id}-v{version}"));
        for group in client.db_parameter_groups().await? {
            if server_of(&group.name) == id && Some(&group.name) != kept.as_ref() {
                self.0.remove(|| client.delete_db_parameter_group(&group.name)).await?;
            }
        }
        Ok(())
    }

    /// The subnets that a server may be in, which it stays in when others come beside them.
    async fn reach(&self, name: &str, request: &Request<'_>) -> Result<(), AwsError> {
        let client = &self.0.client;
        let wanted = request.needs.iter().filter(|(address, _)| address.kind == KindName::SUBNET);
        let mut wanted: Vec<&str> = wanted.map(|(_, subnet)| subnet.id.as_str()).collect();
        let groups = client.db_subnet_groups().await?;
        let own = groups.iter().filter(|group| group.name == name).flat_map(|group| &group.subnets);
        let mut present: Vec<&str> = own.map(|subnet| subnet.subnet_identifier.as_str()).collect();
        wanted.sort_unstable();
        present.sort_unstable();
        if wanted == present { Ok(()) } else { client.modify_db_subnet_group(name, &wanted).await.map(drop) }
    }
}

/// When backups are made: half an hour is the least that the service asks for.
fn backups(spec: &PostgresSpec, fields: &mut Value) {
    if let Some(backup) = &spec.backup {
        let end = (backup.hour * 60 + backup.minute + 30) % (24 * 60);
        let window = format!("{:02}:{:02}-{:02}:{:02}", backup.hour, backup.minute, end / 60, end % 60);
        fields["PreferredBackupWindow"] = window.into();
        fields["BackupRetentionPeriod"] = backup.keep_days.into();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::setting;

    #[test]
    fn settings_are_numbers_in_the_units_of_the_server() {
        assert_eq!(setting("shared_buffers", &json!("256MB")).unwrap(), "32768");
        assert_eq!(setting("work_mem", &json!("64MB")).unwrap(), "65536");
        assert_eq!(setting("statement_timeout", &json!("30s")).unwrap(), "30000");
        assert_eq!(setting("random_page_cost", &json!(1.1)).unwrap(), "1.1");
        assert_eq!(setting("jit", &json!("off")).unwrap(), "0");
        assert_eq!(setting("synchronous_commit", &json!("local")).unwrap(), "local");
        assert!(setting("work_mem", &json!("much")).is_err());
    }
}
