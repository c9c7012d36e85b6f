//! What the cloud offers to the account: zones, classes of machines and of databases, policies.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    AwsError, Client, Result, Service,
    ec2::{AvailabilityZone, InstanceTypeOffering},
};

/// A class of databases with a version and a type of disks that it can be had with.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DbOffering {
    /// The version, as `15.4`.
    pub engine_version: String,
    /// The type of disks.
    pub storage_type: String,
    /// The zones that have it.
    pub availability_zones: Vec<DbZone>,
}

/// A zone in which databases can be had.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DbZone {
    /// Its name.
    pub name: String,
}

/// A policy that Amazon maintains, or one of the account.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Policy {
    /// Its full name.
    pub arn: String,
}

impl Client {
    /// The zones of the region.
    ///
    /// # Errors
    /// When the cloud refuses or does not answer.
    pub async fn zones(&self) -> Result<Vec<String>> {
        Ok(self.list::<AvailabilityZone>(&[]).await?.into_iter().map(|zone| zone.zone_name).collect())
    }

    /// The zones that have classes of machines: those of these names, or all that one zone has.
    ///
    /// # Errors
    /// When the cloud refuses or does not answer.
    pub async fn instance_offerings(&self, by: &str, names: &[&str]) -> Result<Vec<InstanceTypeOffering>> {
        let fields = Map::from_iter([
            ("LocationType".to_owned(), "availability-zone".into()),
            ("Filter".to_owned(), json!([{ "Name": by, "Value": names }])),
            ("MaxResults".to_owned(), 1000.into()),
        ]);
        self.pages(fields).await
    }

    /// What PostgreSQL servers of a class can be had with, or of any class: then only the first that there are.
    ///
    /// # Errors
    /// When the cloud refuses or does not answer.
    pub async fn db_offerings(&self, class: Option<&str>) -> Result<Vec<DbOffering>> {
        let mut fields = json!({ "Engine": "postgres", "MaxRecords": 100 });
        let action = "DescribeOrderableDBInstanceOptions";
        let Some(class) = class else {
            let mut answer = self.call(Service::Rds, action, fields).await?;
            return super::typed(answer.get_mut("OrderableDBInstanceOptions").map_or_else(|| json!([]), Value::take));
        };
        fields["DBInstanceClass"] = class.into();
        match self.call_pages(Service::Rds, action, fields, "OrderableDBInstanceOptions", ["Marker", "Marker"]).await {
            // A class that no engine has is refused, one that others have is an empty list.
            Err(AwsError::Refused { code, .. }) if code.starts_with("InvalidParameter") => Ok(Vec::new()),
            answer => answer,
        }
    }

    /// Whether there is a policy of this full name.
    ///
    /// # Errors
    /// When the cloud refuses or does not answer.
    pub async fn has_policy(&self, arn: &str) -> Result<bool> {
        match self.call(Service::Iam, "GetPolicy", json!({ "PolicyArn": arn })).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_not_found() || matches!(error.code(), "InvalidInput" | "ValidationError") => {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// The policies that Amazon maintains.
    ///
    /// # Errors
    /// When the cloud refuses or does not answer.
    pub async fn managed_policies(&self) -> Result<Vec<Policy>> {
        let fields = json!({ "Scope": "AWS", "MaxItems": 1000 });
        self.call_pages(Service::Iam, "ListPolicies", fields, "Policies", ["Marker", "Marker"]).await
    }
}
