//! Managed PostgreSQL: one RDS server for each service, with the group of subnets that it may stand in and the group of its
//! settings.

use async_trait::async_trait;
use serde_json::{Value, json};

use super::{
    Account, Driver, Health, Object, PART, READY, Request, explain, layout::class_of, needed, network::DEFAULT_GROUP,
    object, or_there, unique_name,
};
use crate::{
    clock::Clock,
    cloud::aws::{AwsError, ec2::Tags, rds::DbInstance},
    error::{Error, Result},
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
    if !spec.settings.contains_key("rds.force_ssl") {
        all.push(("rds.force_ssl".to_owned(), "0".to_owned()));
    }
    all
}

/// PostgreSQL servers.
pub(super) struct PostgresDriver(pub(super) Account);

/// The name of the group of settings for a version: a version has a family of its own.
fn settings_name(token: &str, version: u32) -> String {
    format!("{}-v{version}", unique_name(token, None))
}

fn describe(server: &DbInstance) -> Option<Object> {
    let mut object = object(&server.tag_list, KindName::POSTGRES, &server.identifier, &server.instance_create_time)?;
    if server.status == "deleting" {
        return None;
    }
    if object.health == Health::Ready && matches!(server.status.as_str(), "stopped" | "stopping") {
        object.health = Health::Stopped;
    }
    let port: u16 = server.endpoint.port.parse().unwrap_or(5432);
    object.attributes.insert("host".to_owned(), server.endpoint.address.as_str().into());
    object.attributes.insert("port".to_owned(), port.into());
    object.actual.insert("class".to_owned(), server.class.as_str().into());
    if let Ok(size) = server.allocated_storage.parse::<u64>() {
        object.actual.insert("disk_gb".to_owned(), size.into());
    }
    if let Some(Ok(version)) = server.engine_version.split('.').next().map(str::parse::<u32>) {
        object.actual.insert("version".to_owned(), version.into());
    }
    Some(object)
}

impl PostgresDriver {
    /// The group of settings, made and filled.
    async fn settle_settings(&self, name: &str, spec: &PostgresSpec, tags: &Tags) -> Result<(), AwsError> {
        let client = &self.0.client;
        or_there(client.create_db_parameter_group(name, &format!("postgres{}", spec.version), tags).await)?;
        for settings in settings(spec).chunks(SETTINGS_AT_A_TIME) {
            client.modify_db_parameter_group(name, settings).await?;
        }
        Ok(())
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
        let (servers, groups) = tokio::try_join!(client.db_instances(), client.db_subnet_groups())?;
        let mut objects: Vec<Object> = servers.iter().filter_map(describe).collect();
        // A group of subnets whose server was never made, or is gone already.
        for group in groups.iter().filter(|group| group.name.starts_with(super::PREFIX)) {
            if servers.iter().any(|server| server.identifier == group.name) {
                continue;
            }
            let tags = client.db_tags(&group.arn).await?;
            let left = object(&tags, KindName::POSTGRES, &group.name, "");
            objects.extend(left.map(|object| Object { health: Health::Broken, ..object }));
        }
        objects.retain(|object| environment.is_none_or(|name| object.environment == name.as_str()));
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
        or_there(client.create_db_instance(fields, &tags).await).map_err(wrong)?;
        let server = self.available(&name).await?;
        client.tag_db(&server.arn, &Tags::from([(READY.to_owned(), "yes".to_owned())])).await?;
        self.0.made(self, request).await
    }

    async fn update(&self, object: &Object, request: &Request<'_>) -> Result<Object> {
        let spec: PostgresSpec = request.resource.spec()?;
        let (client, wrong) = (&self.0.client, |error| explain(error, request.resource));
        let name = object.id.as_str();
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
        if present.allocated_storage.parse::<u64>().is_ok_and(|size| size > spec.disk_gb) {
            let place = format!("{} ({})", request.resource.address, request.resource.origin);
            let size = &present.allocated_storage;
            return Err(Error::usage(format!("{place}: the disk of {size} GB cannot become smaller"))
                .hint("make a new service under another name, move the data, then remove the old one"));
        }
        let settings = settings_name(&object.token, spec.version);
        let mut part = Account::tags(request);
        part.insert(PART.to_owned(), SUBNETS_PART.to_owned());
        self.settle_settings(&settings, &spec, &part).await.map_err(wrong)?;
        let mut fields = json!({
            "DBInstanceIdentifier": name, "ApplyImmediately": true, "DBInstanceClass": spec.class,
            "AllocatedStorage": spec.disk_gb, "StorageType": spec.disk_type, "MasterUserPassword": password, "PubliclyAccessible": spec.public,
            "DBParameterGroupName": settings,
        });
        if !present.engine_version.starts_with(&format!("{}.", spec.version)) {
            fields["EngineVersion"] = spec.version.to_string().into();
            fields["AllowMajorVersionUpgrade"] = true.into();
        }
        backups(&spec, &mut fields);
        client.modify_db_instance(fields).await.map_err(wrong)?;
        self.available(name).await?;
        // Some settings are in force after a start only; which ones is the server's own affair.
        client.reboot_db_instance(name).await.map_err(wrong)?;
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

impl PostgresDriver {
    /// Removes a server and what belongs to it; a last snapshot of this name is kept, when one is given.
    async fn remove(&self, id: &str, snapshot: Option<&str>) -> Result<()> {
        let client = &self.0.client;
        self.0.remove(|| client.delete_db_instance(id, snapshot)).await?;
        let gone = || async { Ok(client.db_instance(id).await?.is_none().then_some(())) };
        self.0.settle(&format!("the end of the database `{id}`"), gone).await?;
        self.0.remove(|| client.delete_db_subnet_group(id)).await?;
        for version in super::layout::POSTGRES_VERSIONS {
            self.0.remove(|| async { client.delete_db_parameter_group(&format!("{id}-v{version}")).await }).await?;
        }
        Ok(())
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
