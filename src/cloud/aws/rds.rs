//! Managed databases: the RDS API, version 2014-10-31.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Client, Result, Service,
    ec2::{Tag, Tags},
    typed,
};

/// A database server.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DbInstance {
    /// Its name.
    #[serde(rename = "DBInstanceIdentifier")]
    pub identifier: String,
    /// Its name for calls about tags.
    #[serde(rename = "DBInstanceArn")]
    pub arn: String,
    /// Its class.
    #[serde(rename = "DBInstanceClass")]
    pub class: String,
    /// What it is doing.
    #[serde(rename = "DBInstanceStatus")]
    pub status: String,
    /// The size of its disk in GiB.
    pub allocated_storage: String,
    /// Its version, as `15.4`.
    pub engine_version: String,
    /// The login that owns everything.
    pub master_username: String,
    /// The database that was made with it.
    #[serde(rename = "DBName")]
    pub db_name: String,
    /// When it was made.
    pub instance_create_time: String,
    /// Where it answers.
    pub endpoint: Endpoint,
    /// What was asked for, and is not done yet.
    pub pending_modified_values: Value,
    /// The type of its disk.
    pub storage_type: String,
    /// Whether the world may reach it.
    pub publicly_accessible: String,
    /// For how many days backups are kept.
    pub backup_retention_period: String,
    /// When backups are made, as `03:30-04:00`.
    pub preferred_backup_window: String,
    /// Its security groups.
    pub vpc_security_groups: Vec<SecurityGroupMembership>,
    /// Its group of settings.
    #[serde(rename = "DBParameterGroups")]
    pub parameter_groups: Vec<ParameterGroup>,
    /// Its tags.
    pub tag_list: Vec<Tag>,
}

/// A security group of a server.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct SecurityGroupMembership {
    /// Its id.
    pub vpc_security_group_id: String,
}

/// A setting of a group.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Parameter {
    /// Its name.
    pub parameter_name: String,
    /// Its value.
    pub parameter_value: String,
}

/// Where a server answers.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Endpoint {
    /// The name of the host.
    pub address: String,
    /// The TCP port.
    pub port: String,
}

/// The subnets that servers may be in.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct SubnetGroup {
    /// Its name.
    #[serde(rename = "DBSubnetGroupName")]
    pub name: String,
    /// Its name for calls about tags.
    #[serde(rename = "DBSubnetGroupArn")]
    pub arn: String,
    /// Its subnets.
    pub subnets: Vec<GroupedSubnet>,
}

/// A subnet of such a group.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct GroupedSubnet {
    /// Its id.
    pub subnet_identifier: String,
}

/// A group of settings.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ParameterGroup {
    /// Its name.
    #[serde(rename = "DBParameterGroupName")]
    pub name: String,
    /// Its name for calls about tags.
    #[serde(rename = "DBParameterGroupArn")]
    pub arn: String,
}

/// A copy of a server's data.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Snapshot {
    /// Its name.
    #[serde(rename = "DBSnapshotIdentifier")]
    pub identifier: String,
    /// Its size in GiB.
    pub allocated_storage: String,
    /// Its tags.
    pub tag_list: Vec<Tag>,
}

/// Tags as this API writes them: elements of a list have the list's own name.
fn list(tags: &Tags) -> Value {
    json!({ "Tag": tags.iter().map(|(key, value)| json!({ "Key": key, "Value": value })).collect::<Vec<_>>() })
}

/// What is kept of a database server that is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeptOfServer<'a> {
    /// Nothing.
    Nothing,
    /// A last snapshot of this name.
    Snapshot(&'a str),
    /// The backups that the service has made, for as long as it keeps them.
    AutomatedBackups,
}

impl Client {
    async fn rds(&self, action: &str, fields: Value) -> Result<Value> {
        self.call(Service::Rds, action, fields).await
    }

    /// All database servers of the account in the region.
    ///
    /// # Errors
    /// When the cloud refuses or does not answer.
    pub async fn db_instances(&self) -> Result<Vec<DbInstance>> {
        let fields = json!({ "MaxRecords": 100 });
        self.call_pages(Service::Rds, "DescribeDBInstances", fields, "DBInstances", ["Marker", "Marker"]).await
    }

    /// A database server by name; `None` when there is none.
    ///
    /// # Errors
    /// When the cloud refuses or does not answer.
    pub async fn db_instance(&self, name: &str) -> Result<Option<DbInstance>> {
        match self.rds("DescribeDBInstances", json!({ "DBInstanceIdentifier": name })).await {
            Ok(mut answer) => {
                let found = answer.get_mut("DBInstances").map_or_else(|| json!([]), Value::take);
                Ok(typed::<Vec<DbInstance>>(found)?.into_iter().next())
            }
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes a database server; the fields are those of `CreateDBInstance`.
    ///
    /// # Errors
    /// When the cloud refuses; one of the same name is such a reason.
    pub async fn create_db_instance(&self, mut fields: Value, tags: &Tags) -> Result<Value> {
        fields["Tags"] = list(tags);
        self.rds("CreateDBInstance", fields).await
    }

    /// Changes a database server at once; the fields are those of `ModifyDBInstance`.
    ///
    /// # Errors
    /// When the cloud refuses.
    pub async fn modify_db_instance(&self, fields: Value) -> Result<Value> {
        self.rds("ModifyDBInstance", fields).await
    }

    /// Starts a database server that is stopped.
    ///
    /// # Errors
    /// When it is not stopped.
    pub async fn start_db_instance(&self, name: &str) -> Result<Value> {
        self.rds("StartDBInstance", json!({ "DBInstanceIdentifier": name })).await
    }

    /// Starts a database server again, so that all of its settings are in force.
    ///
    /// # Errors
    /// When it does not run.
    pub async fn reboot_db_instance(&self, name: &str) -> Result<Value> {
        self.rds("RebootDBInstance", json!({ "DBInstanceIdentifier": name })).await
    }

    /// Removes a database server with its data; what is kept of it is kept.
    ///
    /// # Errors
    /// When the cloud refuses.
    pub async fn delete_db_instance(&self, name: &str, kept: KeptOfServer<'_>) -> Result<Value> {
        let mut fields = json!({
            "DBInstanceIdentifier": name,
            "SkipFinalSnapshot": !matches!(kept, KeptOfServer::Snapshot(_)),
            "DeleteAutomatedBackups": kept != KeptOfServer::AutomatedBackups,
        });
        if let KeptOfServer::Snapshot(snapshot) = kept {
            fields["FinalDBSnapshotIdentifier"] = snapshot.into();
        }
        self.rds("DeleteDBInstance", fields).await
    }

    /// All groups of subnets for database servers.
    ///
    /// # Errors
    /// When the cloud refuses or does not answer.
    pub async fn db_subnet_groups(&self) -> Result<Vec<SubnetGroup>> {
        let fields = json!({ "MaxRecords": 100 });
        self.call_pages(Service::Rds, "DescribeDBSubnetGroups", fields, "DBSubnetGroups", ["Marker", "Marker"]).await
    }

    /// All groups of settings.
    ///
    /// # Errors
    /// When the cloud refuses or does not answer.
    pub async fn db_parameter_groups(&self) -> Result<Vec<ParameterGroup>> {
        let fields = json!({ "MaxRecords": 100 });
        let marker = ["Marker", "Marker"];
        self.call_pages(Service::Rds, "DescribeDBParameterGroups", fields, "DBParameterGroups", marker).await
    }

    /// The copies of servers that stay until someone deletes them.
    ///
    /// # Errors
    /// When the cloud refuses or does not answer.
    pub async fn db_snapshots(&self) -> Result<Vec<Snapshot>> {
        let fields = json!({ "MaxRecords": 100, "SnapshotType": "manual" });
        self.call_pages(Service::Rds, "DescribeDBSnapshots", fields, "DBSnapshots", ["Marker", "Marker"]).await
    }

    /// The tags of an object of this service.
    ///
    /// # Errors
    /// When it does not exist.
    pub async fn db_tags(&self, arn: &str) -> Result<Vec<Tag>> {
        let mut answer = self.rds("ListTagsForResource", json!({ "ResourceName": arn })).await?;
        typed(answer.get_mut("TagList").map_or_else(|| json!([]), Value::take))
    }

    /// Tags an object of this service.
    ///
    /// # Errors
    /// When it does not exist.
    pub async fn tag_db(&self, arn: &str, tags: &Tags) -> Result<Value> {
        self.rds("AddTagsToResource", json!({ "ResourceName": arn, "Tags": list(tags) })).await
    }

    /// Makes a group of subnets in at least two zones.
    ///
    /// # Errors
    /// When the cloud refuses; one of the same name is such a reason.
    pub async fn create_db_subnet_group(&self, name: &str, subnets: &[&str], tags: &Tags) -> Result<Value> {
        let fields = json!({
            "DBSubnetGroupName": name, "DBSubnetGroupDescription": "made by infra",
            "SubnetIds": { "SubnetIdentifier": subnets }, "Tags": list(tags),
        });
        self.rds("CreateDBSubnetGroup", fields).await
    }

    /// Changes the subnets of a group.
    ///
    /// # Errors
    /// When a server is in one of those that go.
    pub async fn modify_db_subnet_group(&self, name: &str, subnets: &[&str]) -> Result<Value> {
        let fields = json!({ "DBSubnetGroupName": name, "SubnetIds": { "SubnetIdentifier": subnets } });
        self.rds("ModifyDBSubnetGroup", fields).await
    }

    /// The settings of a group that someone has set.
    ///
    /// # Errors
    /// When the cloud refuses or does not answer.
    pub async fn db_parameters(&self, group: &str) -> Result<Vec<Parameter>> {
        let fields = json!({ "DBParameterGroupName": group, "Source": "user", "MaxRecords": 100 });
        self.call_pages(Service::Rds, "DescribeDBParameters", fields, "Parameters", ["Marker", "Marker"]).await
    }

    /// Gives settings of a group their usual values again: at most twenty in a call.
    ///
    /// # Errors
    /// When a name is wrong.
    pub async fn reset_db_parameters(&self, group: &str, names: &[&str]) -> Result<Value> {
        let parameter = |name: &&str| json!({ "ParameterName": name, "ApplyMethod": "pending-reboot" });
        let parameters: Vec<Value> = names.iter().map(parameter).collect();
        let fields = json!({
            "DBParameterGroupName": group, "ResetAllParameters": false, "Parameters": { "Parameter": parameters },
        });
        self.rds("ResetDBParameterGroup", fields).await
    }

    /// Removes a group of subnets.
    ///
    /// # Errors
    /// When a server uses it.
    pub async fn delete_db_subnet_group(&self, name: &str) -> Result<Value> {
        self.rds("DeleteDBSubnetGroup", json!({ "DBSubnetGroupName": name })).await
    }

    /// Makes a group of settings for a family, as `postgres15`.
    ///
    /// # Errors
    /// When the cloud refuses; one of the same name is such a reason.
    pub async fn create_db_parameter_group(&self, name: &str, family: &str, tags: &Tags) -> Result<Value> {
        let fields = json!({
            "DBParameterGroupName": name, "DBParameterGroupFamily": family, "Description": "made by infra",
            "Tags": list(tags),
        });
        self.rds("CreateDBParameterGroup", fields).await
    }

    /// Changes settings of a group: at most twenty in a call.
    ///
    /// # Errors
    /// When a name or a value is wrong.
    pub async fn modify_db_parameter_group(&self, name: &str, settings: &[(String, String)]) -> Result<Value> {
        let parameter = |(name, value): &(String, String)| json!({ "ParameterName": name, "ParameterValue": value, "ApplyMethod": "pending-reboot" });
        let parameters: Vec<Value> = settings.iter().map(parameter).collect();
        let fields = json!({ "DBParameterGroupName": name, "Parameters": { "Parameter": parameters } });
        self.rds("ModifyDBParameterGroup", fields).await
    }

    /// Removes a group of settings.
    ///
    /// # Errors
    /// When a server uses it.
    pub async fn delete_db_parameter_group(&self, name: &str) -> Result<Value> {
        self.rds("DeleteDBParameterGroup", json!({ "DBParameterGroupName": name })).await
    }
}
