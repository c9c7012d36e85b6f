//! Roles that machines have: the IAM API, version 2010-05-08. It is one for all regions.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Client, Result, Service,
    ec2::{Tag, Tags},
    typed,
};

/// A role.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Role {
    /// Its name.
    pub role_name: String,
    /// When it was made.
    pub create_date: String,
}

/// What carries a role into machines.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Profile {
    /// Its name.
    pub instance_profile_name: String,
    /// Its role: one, or none.
    pub roles: Vec<Role>,
}

/// A policy of a role.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct AttachedPolicy {
    /// Its full name.
    pub policy_arn: String,
}

/// Tags as this API writes them.
fn list(tags: &Tags) -> Value {
    tags.iter().map(|(key, value)| json!({ "Key": key, "Value": value })).collect()
}

impl Client {
    async fn iam(&self, action: &str, fields: Value) -> Result<Value> {
        self.call(Service::Iam, action, fields).await
    }

    async fn iam_pages<T: serde::de::DeserializeOwned>(
        &self, action: &str, fields: Value, key: &str,
    ) -> Result<Vec<T>> {
        self.call_pages(Service::Iam, action, fields, key, ["Marker", "Marker"]).await
    }

    /// The roles below a path.
    ///
    /// # Errors
    /// When the cloud refuses or does not answer.
    pub async fn roles(&self, path: &str) -> Result<Vec<Role>> {
        self.iam_pages("ListRoles", json!({ "PathPrefix": path, "MaxItems": 1000 }), "Roles").await
    }

    /// The tags of a role: lists of roles do not have them.
    ///
    /// # Errors
    /// When it does not exist.
    pub async fn role_tags(&self, role: &str) -> Result<Vec<Tag>> {
        let mut answer = self.iam("ListRoleTags", json!({ "RoleName": role })).await?;
        typed(answer.get_mut("Tags").map_or_else(|| json!([]), Value::take))
    }

    /// Makes a role that machines may take on.
    ///
    /// # Errors
    /// When the cloud refuses; one of the same name is such a reason.
    pub async fn create_role(&self, name: &str, path: &str, tags: &Tags) -> Result<Value> {
        let trust = json!({
            "Version": "2012-10-17",
            "Statement": [{
                "Effect": "Allow", "Principal": { "Service": "ec2.amazonaws.com" }, "Action": "sts:AssumeRole",
            }],
        });
        let fields = json!({
            "RoleName": name, "Path": path, "AssumeRolePolicyDocument": trust.to_string(), "Tags": list(tags),
        });
        self.iam("CreateRole", fields).await
    }

    /// Removes a role that nothing uses.
    ///
    /// # Errors
    /// When it has policies, or a profile uses it.
    pub async fn delete_role(&self, name: &str) -> Result<Value> {
        self.iam("DeleteRole", json!({ "RoleName": name })).await
    }

    /// Tags a role.
    ///
    /// # Errors
    /// When it does not exist.
    pub async fn tag_role(&self, name: &str, key: &str, value: &str) -> Result<Value> {
        self.iam("TagRole", json!({ "RoleName": name, "Tags": [{ "Key": key, "Value": value }] })).await
    }

    /// Makes what carries a role into a machine.
    ///
    /// # Errors
    /// When the cloud refuses; one of the same name is such a reason.
    pub async fn create_instance_profile(&self, name: &str, path: &str, tags: &Tags) -> Result<Value> {
        let fields = json!({ "InstanceProfileName": name, "Path": path, "Tags": list(tags) });
        self.iam("CreateInstanceProfile", fields).await
    }

    /// The profiles below a path.
    ///
    /// # Errors
    /// When the cloud refuses or does not answer.
    pub async fn instance_profiles(&self, path: &str) -> Result<Vec<Profile>> {
        let fields = json!({ "PathPrefix": path, "MaxItems": 1000 });
        self.iam_pages("ListInstanceProfiles", fields, "InstanceProfiles").await
    }

    /// The tags of a profile: lists of profiles do not have them.
    ///
    /// # Errors
    /// When it does not exist.
    pub async fn profile_tags(&self, profile: &str) -> Result<Vec<Tag>> {
        let mut answer = self.iam("GetInstanceProfile", json!({ "InstanceProfileName": profile })).await?;
        typed(answer.pointer_mut("/InstanceProfile/Tags").map_or_else(|| json!([]), Value::take))
    }

    /// The roles in a profile: one, or none; none either when there is no such profile.
    ///
    /// # Errors
    /// When the cloud refuses or does not answer.
    pub async fn profile_roles(&self, profile: &str) -> Result<Vec<Role>> {
        match self.iam("GetInstanceProfile", json!({ "InstanceProfileName": profile })).await {
            Ok(mut answer) => {
                typed(answer.pointer_mut("/InstanceProfile/Roles").map_or_else(|| json!([]), Value::take))
            }
            Err(error) if error.is_not_found() => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Puts a role into a profile, which holds one.
    ///
    /// # Errors
    /// When it holds one already.
    pub async fn add_role_to_instance_profile(&self, profile: &str, role: &str) -> Result<Value> {
        self.iam("AddRoleToInstanceProfile", json!({ "InstanceProfileName": profile, "RoleName": role })).await
    }

    /// Takes a role out of a profile.
    ///
    /// # Errors
    /// When it is not in it.
    pub async fn remove_role_from_instance_profile(&self, profile: &str, role: &str) -> Result<Value> {
        self.iam("RemoveRoleFromInstanceProfile", json!({ "InstanceProfileName": profile, "RoleName": role })).await
    }

    /// Removes a profile.
    ///
    /// # Errors
    /// When it holds a role.
    pub async fn delete_instance_profile(&self, name: &str) -> Result<Value> {
        self.iam("DeleteInstanceProfile", json!({ "InstanceProfileName": name })).await
    }

    /// The policies of a role.
    ///
    /// # Errors
    /// When it does not exist.
    pub async fn role_policies(&self, role: &str) -> Result<Vec<AttachedPolicy>> {
        self.iam_pages("ListAttachedRolePolicies", json!({ "RoleName": role }), "AttachedPolicies").await
    }

    /// The names of the policies that are written into a role itself.
    ///
    /// # Errors
    /// When it does not exist.
    pub async fn inline_policies(&self, role: &str) -> Result<Vec<String>> {
        self.iam_pages("ListRolePolicies", json!({ "RoleName": role }), "PolicyNames").await
    }

    /// Removes a policy that is written into a role itself.
    ///
    /// # Errors
    /// When it does not have it.
    pub async fn delete_inline_policy(&self, role: &str, policy: &str) -> Result<Value> {
        self.iam("DeleteRolePolicy", json!({ "RoleName": role, "PolicyName": policy })).await
    }

    /// Gives a role a policy.
    ///
    /// # Errors
    /// When there is no such policy.
    pub async fn attach_role_policy(&self, role: &str, policy: &str) -> Result<Value> {
        self.iam("AttachRolePolicy", json!({ "RoleName": role, "PolicyArn": policy })).await
    }

    /// Takes a policy away from a role.
    ///
    /// # Errors
    /// When it does not have it.
    pub async fn detach_role_policy(&self, role: &str, policy: &str) -> Result<Value> {
        self.iam("DetachRolePolicy", json!({ "RoleName": role, "PolicyArn": policy })).await
    }
}
