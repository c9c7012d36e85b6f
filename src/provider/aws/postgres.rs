//! Managed PostgreSQL: one RDS server for each service, with the group of subnets that it may be in and the group of its
//! settings.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use async_trait::async_trait;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::{
    Account, Driver, Health, LABEL_ENV, LABEL_PROJECT, Object, Owner, PART, POLL, READY, Request, explain, if_there,
    layout::class_of, needed, object, or_there, rested, tag, unique_name,
};
use crate::{
    clock::Clock,
    cloud::aws::{
        AwsError,
        ec2::Tags,
        rds::{DbInstance, KeptOfServer, Snapshot},
    },
    encoding,
    error::{Error, Result},
    event,
    name::Name,
    provider::{
        DEFAULT_GROUP, LastCopy,
        managed_postgres::{Unit, quantity, switch, unit},
        shared::Awaiting,
    },
    resource::{Address, KindName, PostgresSpec},
};

/// How long a server may take to come to rest: a larger disk or another version takes its time.
const SETTLE: Duration = Duration::from_hours(1);
/// The settings that a server has, before they are compared with a specification.
const PARAMETERS: &str = "parameters";
/// The port of servers.
pub(super) const PORT: u16 = 5432;
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

/// How a server is that has this status.
fn health(status: &str) -> Health {
    match status {
        "available"
        | "backing-up"
        | "configuring-enhanced-monitoring"
        | "configuring-iam-database-auth"
        | "configuring-log-exports"
        | "storage-initialization"
        | "storage-optimization" => Health::Ready,
        "stopped" | "stopping" => Health::Stopped,
        // These are put right by a change: of a setting, or of the size of the disk.
        "incompatible-option-group" | "incompatible-parameters" | "storage-full" => Health::Unhealthy,
        "failed"
        | "inaccessible-encryption-credentials"
        | "inaccessible-encryption-credentials-recoverable"
        | "incompatible-create"
        | "incompatible-network"
        | "incompatible-restore"
        | "insufficient-capacity"
        | "restore-error" => Health::Broken,
        _ => Health::Transient,
    }
}

/// Whether a server of this status takes a change.
fn takes_changes(status: &str) -> bool {
    matches!(status, "available" | "storage-initialization" | "storage-optimization")
}

fn describe(server: &DbInstance) -> Option<Object> {
    let mut object = object(&server.tag_list, KindName::POSTGRES, &server.identifier, &server.instance_create_time)?;
    if server.status == "deleting" {
        // Its groups of subnets and of settings are there until someone removes them.
        object.health = Health::Incomplete;
        return Some(object);
    }
    match health(&server.status) {
        Health::Broken => object.health = Health::Broken,
        other if object.health == Health::Ready => object.health = other,
        _ => {}
    }
    let port: u16 = server.endpoint.port.parse().unwrap_or(PORT);
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

/// Turns the settings that a server has into those of its specification, as that writes them, where they differ from it.
fn compare(spec: &Map<String, Value>, object: &mut Object) {
    let Some(Value::Object(mut present)) = object.actual.remove(PARAMETERS) else { return };
    let Ok(believed) = serde_json::from_value::<PostgresSpec>(Value::Object(spec.clone())) else { return };
    let mut seen = Map::new();
    for (name, wanted) in settings(&believed) {
        let there = present.remove(&name);
        let same = there.as_ref().is_some_and(|there| *there == *wanted);
        match (believed.settings.get(&name), there) {
            (Some(written), _) if same => drop(seen.insert(name, written.clone())),
            (None, _) if same => {}
            (_, Some(there)) => drop(seen.insert(name, there)),
            (Some(_), None) => {}
            // The service has a value of its own for it.
            (None, None) => drop(seen.insert(name, "default".into())),
        }
    }
    seen.extend(present);
    if seen != believed.settings {
        object.actual.insert("settings".to_owned(), Value::Object(seen));
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
    Ok(encoding::hex(&Sha256::digest(serde_json::to_string(&settings)?)[..10]))
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

    /// A server with the settings that someone has set, before they are compared with what the file says; nothing when it is gone:
    /// no group of settings goes before its server.
    async fn with_settings(&self, server: &DbInstance, mut object: Object) -> Result<Option<Object>> {
        let mut present = BTreeMap::new();
        for group in &server.parameter_groups {
            let Some(all) = if_there(self.0.client.db_parameters(&group.name).await)? else { return Ok(None) };
            present.extend(all.into_iter().map(|one| (one.parameter_name, one.parameter_value)));
        }
        object.actual.insert(PARAMETERS.to_owned(), json!(present));
        Ok(Some(object))
    }

    /// A server that is waited for, as it was at most an interval ago.
    async fn recent(&self, awaiting: &Awaiting<'_, DbInstance>, name: &str) -> Result<Option<DbInstance>> {
        let all = awaiting.recent(POLL, async |_| self.0.client.db_instances().await).await?;
        Ok(all.iter().find(|server| server.identifier == name).cloned())
    }

    /// A server whose status is one of those that are waited for. One that does not show yet was made just now.
    async fn wait(&self, name: &str, is_there: impl Fn(&DbInstance) -> bool) -> Result<DbInstance> {
        let awaiting = self.0.awaited.servers.awaiting(name);
        let look = || async {
            let Some(server) = self.recent(&awaiting, name).await? else { return Ok(None) };
            if is_there(&server) {
                return Ok(Some(server));
            }
            if health(&server.status) == Health::Broken || server.status.starts_with("incompatible-") {
                return Err(Error::new(format!("aws: the database `{name}` is in the state `{}`", server.status)));
            }
            Ok(None)
        };
        self.0.settle_within(SETTLE, &format!("the database `{name}`"), look).await
    }

    /// A server that works, with nothing left to do.
    async fn available(&self, name: &str) -> Result<DbInstance> {
        let idle =
            |server: &DbInstance| server.pending_modified_values.as_object().is_none_or(serde_json::Map::is_empty);
        self.wait(name, |server| takes_changes(&server.status) && idle(server)).await
    }

    /// A server that can be changed, started if it is stopped; its settings or the size of its disk may be what is wrong with it.
    async fn changeable(&self, name: &str) -> Result<DbInstance> {
        let rests = |server: &DbInstance| {
            takes_changes(&server.status) || server.status == "stopped" || health(&server.status) == Health::Unhealthy
        };
        let server = self.wait(name, rests).await?;
        if server.status != "stopped" {
            return Ok(server);
        }
        self.0.client.start_db_instance(name).await?;
        self.available(name).await
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
    fn compare(&self, spec: &Map<String, Value>, _attributes: &Map<String, Value>, object: &mut Object) {
        compare(spec, object);
    }

    async fn list(&self, environment: Option<&Name>) -> Result<Vec<Object>> {
        let client = &self.0.client;
        let (servers, groups, settings) =
            tokio::try_join!(client.db_instances(), client.db_subnet_groups(), client.db_parameter_groups())?;
        let ours = |object: &Object| environment.is_none_or(|name| object.environment == name.as_str());
        let found = servers.iter().filter_map(|server| Some((server, describe(server).filter(ours)?)));
        let found = found.map(|(server, object)| async move {
            if object.health == Health::Incomplete {
                Ok(Some(object))
            } else {
                self.with_settings(server, object).await
            }
        });
        let mut objects: Vec<Object> = futures::future::try_join_all(found).await?.into_iter().flatten().collect();
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
            let tags = if_there(client.db_tags(arn).await)?.unwrap_or_default();
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
        let groups = request.groups()?;
        let (user, password) = Self::owner(request, &spec)?;
        // What the file names is made at once; the subnet decides about the zone.
        needed(request, &Address::subnet(&spec.subnet))?;
        let mut fields = json!({
            "DBInstanceIdentifier": name, "DBInstanceClass": spec.class, "Engine": "postgres",
            "EngineVersion": spec.version.to_string(), "AllocatedStorage": spec.disk_gb, "StorageType": spec.disk_type,
            "StorageEncrypted": true, "MasterUsername": user, "MasterUserPassword": password,
            "DBSubnetGroupName": name, "DBParameterGroupName": settings, "AvailabilityZone": spec.zone,
            "VpcSecurityGroupIds": { "VpcSecurityGroupId": groups }, "PubliclyAccessible": spec.public,
            "AutoMinorVersionUpgrade": true, "CopyTagsToSnapshot": true,
        });
        if let Some(database) = spec.databases.keys().next() {
            fields["DBName"] = database.as_str().into();
        }
        backups(&spec, &mut fields);
        let mut tags = tags;
        tags.insert(SETTINGS.to_owned(), digest(&self::settings(&spec))?);
        let made = client.create_db_instance(fields, &tags).await;
        let was_there = made.is_err();
        or_there(made).map_err(wrong)?;
        let mut server = self.available(&name).await?;
        if was_there {
            // It has the password of the call that created it; the secret may have changed since.
            let password = json!({
                "DBInstanceIdentifier": name, "ApplyImmediately": true, "MasterUserPassword": password,
            });
            client.modify_db_instance(password).await.map_err(wrong)?;
            server = self.available(&name).await?;
        }
        client.tag_db(&server.arn, &Tags::from([(READY.to_owned(), "yes".to_owned())])).await?;
        self.0.made(self, request).await
    }

    async fn settled(&self, object: &Object) -> Result<Object> {
        let rests = |server: &DbInstance| health(&server.status) != Health::Transient;
        rested(object, describe(&self.wait(&object.id, rests).await?))
    }

    async fn update(&self, object: &Object, request: &Request<'_>) -> Result<Object> {
        let mut spec: PostgresSpec = request.resource.spec()?;
        let (client, wrong) = (&self.0.client, |error| explain(error, request.resource));
        let name = object.id.as_str();
        if object.health == Health::Incomplete {
            // The names of its parts are made of its token: what is left of them goes first.
            self.remove(name, KeptOfServer::Nothing).await?;
            return self.create(&Request { token: &object.token, ..request.clone() }).await;
        }
        let present = self.changeable(name).await?;
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
        let disk_gb = present.allocated_storage.parse().unwrap_or(0);
        if present.status == "storage-full" && spec.disk_gb <= disk_gb {
            return Err(Error::new(format!("aws: the disk of the database `{name}` is full: it has {disk_gb} GB"))
                .hint("ask for a larger `disk_size` in the file"));
        }
        spec.disk_gb = spec.disk_gb.max(disk_gb);
        let version = present.engine_version.split('.').next().and_then(|version| version.parse().ok());
        let upgraded = version.is_none_or(|version: u32| version < spec.version);
        spec.version = spec.version.max(version.unwrap_or(0));
        let settings = settings_name(&object.token, spec.version);
        let mut part = Account::tags(request);
        part.insert(PART.to_owned(), SUBNETS_PART.to_owned());
        self.settle_settings(&settings, &spec, &part).await.map_err(wrong)?;
        if present.status.starts_with("incompatible-") {
            client.reboot_db_instance(name).await.map_err(wrong)?;
            self.available(name).await?;
        }
        self.reach(name, request).await.map_err(wrong)?;
        let groups = request.groups()?;
        let mut fields = json!({
            "DBInstanceIdentifier": name, "ApplyImmediately": true, "VpcSecurityGroupIds": { "VpcSecurityGroupId": groups }, "DBInstanceClass": spec.class,
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
        self.remove(id, KeptOfServer::Nothing).await
    }

    async fn delete_keeping(&self, id: &str, copy: LastCopy) -> Result<Option<String>> {
        let server = self.0.client.db_instance(id).await?;
        let status = server.as_ref().map_or("deleting", |server| server.status.as_str());
        // One has no data yet, and of the other one a copy was made or not when its removal began.
        if matches!(status, "creating" | "deleting") {
            return self.remove(id, KeptOfServer::Nothing).await.map(|()| None);
        }
        let without_snapshot = || async {
            self.remove(id, KeptOfServer::AutomatedBackups).await?;
            Ok(Some(format!("the automated backups of `{id}`, for as long as the service keeps them")))
        };
        if health(status) == Health::Broken {
            let message = format!(
                "aws: the database `{id}` is in the state `{status}`, in which the service makes no last snapshot of it"
            );
            if copy == LastCopy::IfPossible {
                event::warn(format!("{message}: it is removed without one"));
                return without_snapshot().await;
            }
            return Err(Error::new(message)
                .hint("put it right in the console, or restore its automated backup into another server, then run the command again")
                .hint("`--allow-data-loss` removes it and its automated backups without a copy"));
        }
        let snapshot = format!("{id}-final-{}", Clock::System.now().strftime("%Y%m%d%H%M%S"));
        if let Err(error) = self.remove(id, KeptOfServer::Snapshot(&snapshot)).await {
            if copy != LastCopy::IfPossible || error.is_interrupted() {
                return Err(error);
            }
            event::warn(format!(
                "aws: `{id}` cannot be removed with a last snapshot: {error}; it is removed without one, as `--allow-data-loss` says"
            ));
            return without_snapshot().await;
        }
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
    /// Removes a server and what belongs to it, but for what is kept.
    async fn remove(&self, id: &str, kept: KeptOfServer<'_>) -> Result<()> {
        let client = &self.0.client;
        let begun = || async {
            if client.db_instance(id).await?.is_none_or(|server| server.status == "deleting") {
                return Ok(Some(()));
            }
            match client.delete_db_instance(id, kept).await {
                // It is being backed up, changed or started, and can be removed after that.
                Err(error) if error.code() == "InvalidDBInstanceState" => Ok(None),
                begun => Ok(if_there(begun).map(|_| Some(()))?),
            }
        };
        self.0
            .settle_within(SETTLE, &format!("the database `{id}` to be in a state in which it can be removed"), begun)
            .await?;
        let awaiting = self.0.awaited.servers.awaiting(id);
        let gone = || async { Ok(self.recent(&awaiting, id).await?.is_none().then_some(())) };
        self.0.settle_within(SETTLE, &format!("the end of the database `{id}`"), gone).await?;
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
    use serde_json::{Map, Value, json};

    use super::{compare, health, setting};
    use crate::{
        provider::{Health, Object},
        resource::Terms,
    };

    /// What is seen of the settings of a server with these parameters, that should have these settings.
    fn seen(settings: &Value, parameters: Value) -> Option<Value> {
        let spec = json!({
            "version": 16, "cores": 2, "memory_mb": 4096, "disk_gb": 20, "subnet": "a", "public": false,
            "settings": settings, "users": {}, "databases": {},
        });
        let mut object = Object {
            environment: "dev".into(),
            address: "postgres.main".parse().unwrap(),
            project: String::new(),
            id: "infra-1".into(),
            token: String::new(),
            created: 0,
            health: Health::Ready,
            terms: Terms::default(),
            attributes: Map::new(),
            actual: Map::from_iter([("parameters".to_owned(), parameters)]),
            links: None,
            outdated: None,
        };
        compare(spec.as_object().unwrap(), &mut object);
        assert!(!object.actual.contains_key("parameters"));
        object.actual.remove("settings")
    }

    #[test]
    fn settings_that_differ_are_shown_beside_those_of_the_file_as_the_file_writes_them() {
        let none = json!({});
        assert_eq!(seen(&none, json!({ "rds.force_ssl": "0" })), None);
        assert_eq!(seen(&none, json!({ "rds.force_ssl": "1" })), Some(json!({ "rds.force_ssl": "1" })));
        assert_eq!(seen(&none, json!({})), Some(json!({ "rds.force_ssl": "default" })));
        let file = json!({ "work_mem": "64MB", "jit": "off" });
        let same = json!({ "rds.force_ssl": "0", "work_mem": "65536", "jit": "0" });
        assert_eq!(seen(&file, same), None);
        let changed = json!({ "rds.force_ssl": "0", "work_mem": "4096", "jit": "0", "random_page_cost": "2" });
        assert_eq!(seen(&file, changed), Some(json!({ "work_mem": "4096", "jit": "off", "random_page_cost": "2" })));
        assert_eq!(seen(&file, json!({ "rds.force_ssl": "0", "jit": "0" })), Some(json!({ "jit": "off" })));
        let strict = json!({ "rds.force_ssl": true });
        assert_eq!(seen(&strict, json!({ "rds.force_ssl": "1" })), None);
    }

    #[test]
    fn a_server_that_does_not_work_is_not_ready() {
        assert_eq!(health("storage-optimization"), Health::Ready);
        assert_eq!(health("modifying"), Health::Transient);
        assert_eq!(health("stopping"), Health::Stopped);
        assert_eq!(health("incompatible-parameters"), Health::Unhealthy);
        assert_eq!((health("failed"), health("incompatible-network")), (Health::Broken, Health::Broken));
    }

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
