//! Groups of machines: the Auto Scaling API, version 2011-01-01.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Client, Result, Service,
    ec2::{Tag, Tags},
};

/// How many groups one call may name.
const NAMED: usize = 50;

/// A group of machines.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct AutoScalingGroup {
    /// Its name.
    #[serde(rename = "AutoScalingGroupName")]
    pub name: String,
    /// How many machines it should have.
    pub desired_capacity: String,
    /// When it was made.
    pub created_time: String,
    /// `Delete in progress`, or nothing.
    pub status: String,
    /// The least size that it may have.
    pub min_size: String,
    /// The largest size that it may have.
    pub max_size: String,
    /// The ids of its subnets, with commas between them.
    #[serde(rename = "VPCZoneIdentifier")]
    pub subnets: String,
    /// What its machines are made from.
    pub launch_template: TemplateVersion,
    /// What says that a machine is broken: `EC2`, when it does not run, or `ELB`, when it does not answer either.
    pub health_check_type: String,
    /// For how many seconds a new machine is not judged.
    pub health_check_grace_period: String,
    /// The target groups that its machines are in.
    #[serde(rename = "TargetGroupARNs")]
    pub target_groups: Vec<String>,
    /// Its machines.
    pub instances: Vec<Member>,
    /// Its tags.
    pub tags: Vec<Tag>,
}

/// A version of a template.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct TemplateVersion {
    /// The id of the template.
    pub launch_template_id: String,
    /// Its number.
    pub version: String,
}

/// A machine of a group.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Member {
    /// Its id.
    pub instance_id: String,
    /// `InService` when it is one of those that count.
    pub lifecycle_state: String,
    /// What it was made from.
    pub launch_template: TemplateVersion,
}

/// An exchange of all machines of a group for new ones.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Refresh {
    /// Its id.
    pub instance_refresh_id: String,
    /// `Pending`, `InProgress`, `Successful`, `Failed`, `Cancelled`, ...
    pub status: String,
    /// Why.
    pub status_reason: String,
}

impl Refresh {
    /// Whether it goes on.
    #[must_use]
    pub fn runs(&self) -> bool {
        matches!(self.status.as_str(), "Pending" | "InProgress" | "Cancelling" | "RollbackInProgress" | "Baking")
    }
}

/// Tags of a group as this API writes them; its machines get theirs from the template.
fn list(group: &str, tags: &Tags) -> Value {
    let tag = |(key, value): (&String, &String)| {
        json!({
            "ResourceId": group, "ResourceType": "auto-scaling-group", "Key": key, "Value": value,
            "PropagateAtLaunch": false,
        })
    };
    tags.iter().map(tag).collect()
}

impl Client {
    async fn scaling(&self, action: &str, fields: Value) -> Result<Value> {
        self.call(Service::AutoScaling, action, fields).await
    }

    /// The groups of the account in the region, or the one of a name.
    ///
    /// # Errors
    /// When the cloud refuses or does not answer.
    pub async fn auto_scaling_groups(&self, name: Option<&str>) -> Result<Vec<AutoScalingGroup>> {
        let mut fields = json!({ "MaxRecords": 100 });
        if let Some(name) = name {
            fields["AutoScalingGroupNames"] = json!([name]);
        }
        let token = ["NextToken", "NextToken"];
        self.call_pages(Service::AutoScaling, "DescribeAutoScalingGroups", fields, "AutoScalingGroups", token).await
    }

    /// The groups of these names that there are.
    ///
    /// # Errors
    /// When the cloud refuses or does not answer.
    pub async fn auto_scaling_groups_of(&self, names: &[String]) -> Result<Vec<AutoScalingGroup>> {
        let mut all = Vec::new();
        for names in names.chunks(NAMED) {
            let fields = json!({ "MaxRecords": 100, "AutoScalingGroupNames": names });
            let token = ["NextToken", "NextToken"];
            let action = "DescribeAutoScalingGroups";
            all.extend(self.call_pages(Service::AutoScaling, action, fields, "AutoScalingGroups", token).await?);
        }
        Ok(all)
    }

    /// Makes a group; the fields are those of `CreateAutoScalingGroup`.
    ///
    /// # Errors
    /// When the cloud refuses; one of the same name is such a reason.
    pub async fn create_auto_scaling_group(&self, name: &str, mut fields: Value, tags: &Tags) -> Result<Value> {
        fields["AutoScalingGroupName"] = name.into();
        fields["Tags"] = list(name, tags);
        self.scaling("CreateAutoScalingGroup", fields).await
    }

    /// Changes a group; the fields are those of `UpdateAutoScalingGroup`.
    ///
    /// # Errors
    /// When the cloud refuses.
    pub async fn update_auto_scaling_group(&self, name: &str, mut fields: Value) -> Result<Value> {
        fields["AutoScalingGroupName"] = name.into();
        self.scaling("UpdateAutoScalingGroup", fields).await
    }

    /// Tags a group.
    ///
    /// # Errors
    /// When it does not exist.
    pub async fn tag_auto_scaling_group(&self, name: &str, tags: &Tags) -> Result<Value> {
        self.scaling("CreateOrUpdateTags", json!({ "Tags": list(name, tags) })).await
    }

    /// Puts the machines of a group into a target group, those that it will have too.
    ///
    /// # Errors
    /// When one of the two does not exist.
    pub async fn attach_target_group(&self, name: &str, target_group: &str) -> Result<Value> {
        let fields = json!({ "AutoScalingGroupName": name, "TargetGroupARNs": [target_group] });
        self.scaling("AttachLoadBalancerTargetGroups", fields).await
    }

    /// Takes the machines of a group out of a target group.
    ///
    /// # Errors
    /// When the group does not exist.
    pub async fn detach_target_group(&self, name: &str, target_group: &str) -> Result<Value> {
        let fields = json!({ "AutoScalingGroupName": name, "TargetGroupARNs": [target_group] });
        self.scaling("DetachLoadBalancerTargetGroups", fields).await
    }

    /// Begins to exchange the machines of a group for new ones: as many must be there meanwhile, in percent. A new one counts after
    /// so many seconds.
    ///
    /// # Errors
    /// When another exchange runs.
    pub async fn start_instance_refresh(&self, name: &str, least: u32, most: u32, warmup: u64) -> Result<String> {
        let fields = json!({
            "AutoScalingGroupName": name,
            "Preferences": { "MinHealthyPercentage": least, "MaxHealthyPercentage": most, "InstanceWarmup": warmup },
        });
        let answer = self.scaling("StartInstanceRefresh", fields).await?;
        Ok(answer.get("InstanceRefreshId").and_then(Value::as_str).unwrap_or_default().to_owned())
    }

    /// The exchanges of the machines of a group, the newest one first.
    ///
    /// # Errors
    /// When the cloud refuses or does not answer.
    pub async fn instance_refreshes(&self, name: &str) -> Result<Vec<Refresh>> {
        let fields = json!({ "AutoScalingGroupName": name, "MaxRecords": 100 });
        let token = ["NextToken", "NextToken"];
        self.call_pages(Service::AutoScaling, "DescribeInstanceRefreshes", fields, "InstanceRefreshes", token).await
    }

    /// Removes a group with all of its machines.
    ///
    /// # Errors
    /// When the cloud refuses.
    pub async fn delete_auto_scaling_group(&self, name: &str) -> Result<Value> {
        self.scaling("DeleteAutoScalingGroup", json!({ "AutoScalingGroupName": name, "ForceDelete": true })).await
    }
}
