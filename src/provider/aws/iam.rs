//! Service accounts: a role for machines, with the profile that carries it into them; and the policies of the role.

use async_trait::async_trait;
use serde_json::json;

use super::{Account, Driver, Health, Object, READY, Request, explain, needed, object, or_there, unique_name};
use crate::{
    cloud::aws::{AwsError, iam::Role},
    error::Result,
    name::Name,
    resource::{KindName, RoleBindingSpec},
};

/// Amazon's own policies begin so.
const OWN: &str = "arn:aws:iam::aws:policy/";

/// The path of an environment's roles: it is what they can be listed by.
fn path(environment: &str) -> String {
    format!("/infra/{environment}/")
}

/// The policy of a role of the file: one of the three that every cloud has, the name of one of Amazon's, or a full name.
pub(super) fn policy(role: &str) -> String {
    match role {
        "viewer" => format!("{OWN}ReadOnlyAccess"),
        "editor" => format!("{OWN}PowerUserAccess"),
        "admin" => format!("{OWN}AdministratorAccess"),
        full if full.starts_with("arn:") => full.to_owned(),
        name => format!("{OWN}{name}"),
    }
}

/// Service accounts.
pub(super) struct ServiceAccountDriver(pub(super) Account);

impl ServiceAccountDriver {
    async fn roles(&self, environment: Option<&Name>) -> Result<Vec<Role>> {
        let path = environment.map_or_else(|| "/infra/".to_owned(), |name| path(name.as_str()));
        Ok(self.0.client.roles(&path).await?)
    }

    async fn describe(&self, role: &Role) -> Result<Option<Object>> {
        let tags = self.0.client.role_tags(&role.role_name).await?;
        Ok(object(&tags, KindName::SERVICE_ACCOUNT, &role.role_name, &role.create_date))
    }
}

#[async_trait]
impl Driver for ServiceAccountDriver {
    async fn list(&self, environment: Option<&Name>) -> Result<Vec<Object>> {
        let roles = self.roles(environment).await?;
        let objects = futures::future::try_join_all(roles.iter().map(|role| self.describe(role))).await?;
        Ok(objects.into_iter().flatten().collect())
    }

    async fn create(&self, request: &Request<'_>) -> Result<Object> {
        let (client, wrong) = (&self.0.client, |error| explain(error, request.resource));
        let (name, path) = (unique_name(request.token, None), path(request.environment.as_str()));
        let tags = Account::tags(request);
        or_there(client.create_role(&name, &path, &tags).await).map_err(wrong)?;
        or_there(client.create_instance_profile(&name, &path, &tags).await).map_err(wrong)?;
        match client.add_role_to_instance_profile(&name, &name).await {
            // A profile holds one role: ours is there, since nobody else puts one into it.
            Err(error) if error.code() != "LimitExceeded" => return Err(wrong(error)),
            _ => {}
        }
        client.tag_role(&name, READY, "yes").await.map_err(wrong)?;
        self.0.made(self, request).await
    }

    async fn delete(&self, id: &str) -> Result<()> {
        let client = &self.0.client;
        if !client.profile_roles(id).await?.is_empty() {
            self.0.remove(|| client.remove_role_from_instance_profile(id, id)).await?;
        }
        self.0.remove(|| client.delete_instance_profile(id)).await?;
        // A role that was made anew after a crash may still have its policies.
        for policy in client.role_policies(id).await.or_else(|error| not_found(error, Vec::new()))? {
            self.0.remove(|| client.detach_role_policy(id, &policy.policy_arn)).await?;
        }
        self.0.remove(|| client.delete_role(id)).await
    }
}

fn not_found<T>(error: AwsError, otherwise: T) -> Result<T, AwsError> {
    if error.is_not_found() { Ok(otherwise) } else { Err(error) }
}

/// The policies of our roles, by their full names. They carry no tags: they are those of their role.
pub(super) struct RoleBindingDriver(pub(super) Account);

impl RoleBindingDriver {
    /// Makes the policies of a role those that are wanted.
    async fn settle(&self, role: &str, wanted: &[String]) -> Result<(), AwsError> {
        let client = &self.0.client;
        let present = client.role_policies(role).await?;
        for policy in wanted.iter().filter(|wanted| !present.iter().any(|policy| policy.policy_arn == **wanted)) {
            client.attach_role_policy(role, policy).await?;
        }
        for policy in present.iter().filter(|policy| !wanted.contains(&policy.policy_arn)) {
            client.detach_role_policy(role, &policy.policy_arn).await?;
        }
        Ok(())
    }
}

impl RoleBindingDriver {
    /// The bindings of these accounts.
    pub(super) async fn of(&self, accounts: &[Object]) -> Result<Vec<Object>> {
        let client = &self.0.client;
        let mut objects = Vec::new();
        for account in accounts {
            let mut policies = client.role_policies(&account.id).await.or_else(|error| not_found(error, Vec::new()))?;
            if policies.is_empty() {
                continue;
            }
            policies.sort_by(|a, b| a.policy_arn.cmp(&b.policy_arn));
            let address = KindName::ROLE_BINDING.named(&account.address.name);
            let names: Vec<String> = policies.into_iter().map(|policy| policy.policy_arn).collect();
            let mut object = Object { address, health: Health::Ready, ..account.clone() };
            object.actual.insert("roles".to_owned(), json!(names));
            objects.push(object);
        }
        Ok(objects)
    }
}

#[async_trait]
impl Driver for RoleBindingDriver {
    async fn list(&self, environment: Option<&Name>) -> Result<Vec<Object>> {
        let accounts = ServiceAccountDriver(self.0.clone()).list(environment).await?;
        self.of(&accounts).await
    }

    async fn create(&self, request: &Request<'_>) -> Result<Object> {
        let spec: RoleBindingSpec = request.resource.spec()?;
        let account = needed(request, &KindName::SERVICE_ACCOUNT.named(&spec.service_account))?;
        let settled = self.settle(&account.id, &spec.roles).await;
        settled.map_err(|error| explain(error, request.resource))?;
        let listed = self.list(Some(request.environment)).await?;
        let ours = listed.into_iter().find(|object| object.address == request.resource.address);
        ours.ok_or_else(|| crate::error::Error::new("aws: the policies vanished while they were given"))
    }

    async fn update(&self, object: &Object, request: &Request<'_>) -> Result<Object> {
        let spec: RoleBindingSpec = request.resource.spec()?;
        let settled = self.settle(&object.id, &spec.roles).await;
        settled.map_err(|error| explain(error, request.resource))?;
        Ok(object.clone())
    }

    async fn delete(&self, id: &str) -> Result<()> {
        match self.settle(id, &[]).await {
            Err(error) if !error.is_not_found() => Err(error.into()),
            _ => Ok(()),
        }
    }
}
