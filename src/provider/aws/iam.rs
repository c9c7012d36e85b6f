//! Service accounts: a role for machines, with the profile that carries it into them; and the policies of the role.

use async_trait::async_trait;
use serde_json::json;

use super::{
    Account, Driver, Health, Object, READY, Request, explain, if_there, needed, object, or_there, unique_name,
};
use crate::{
    cloud::aws::{
        AwsError,
        iam::{Profile, Role},
    },
    error::{Error, Result},
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

/// The role of the file that a policy is: the name of one of Amazon's, or a full name.
pub(super) fn role(policy: &str) -> &str {
    policy.strip_prefix(OWN).unwrap_or(policy)
}

/// Service accounts.
pub(super) struct ServiceAccountDriver(pub(super) Account);

impl ServiceAccountDriver {
    async fn describe(&self, role: &Role, profiles: &[Profile]) -> Result<Option<Object>> {
        let Some(tags) = if_there(self.0.client.role_tags(&role.role_name).await)? else { return Ok(None) };
        let mut object = object(&tags, KindName::SERVICE_ACCOUNT, &role.role_name, &role.create_date);
        let carries = |profile: &Profile| {
            profile.instance_profile_name == role.role_name
                && profile.roles.iter().any(|other| other.role_name == role.role_name)
        };
        if let Some(object) = &mut object
            && object.health == Health::Ready
            && !profiles.iter().any(carries)
        {
            object.health = Health::Incomplete;
        }
        Ok(object)
    }

    /// A profile whose role is gone.
    async fn lonely(&self, profile: &Profile) -> Result<Option<Object>> {
        let name = &profile.instance_profile_name;
        let tags = if_there(self.0.client.profile_tags(name).await)?.unwrap_or_default();
        let object = object(&tags, KindName::SERVICE_ACCOUNT, name, "");
        Ok(object.map(|object| Object { health: Health::Incomplete, ..object }))
    }

    /// The role and its profile, each step such that doing it twice does nothing more.
    async fn settle(&self, name: &str, request: &Request<'_>) -> Result<(), AwsError> {
        let (client, path, tags) = (&self.0.client, path(request.environment.as_str()), Account::tags(request));
        or_there(client.create_role(name, &path, &tags).await)?;
        or_there(client.create_instance_profile(name, &path, &tags).await)?;
        match client.add_role_to_instance_profile(name, name).await {
            // A profile holds one role: ours is there, since nothing else puts one into it.
            Err(error) if error.code() != "LimitExceeded" => return Err(error),
            _ => {}
        }
        client.tag_role(name, READY, "yes").await.map(drop)
    }
}

#[async_trait]
impl Driver for ServiceAccountDriver {
    async fn list(&self, environment: Option<&Name>) -> Result<Vec<Object>> {
        let path = environment.map_or_else(|| "/infra/".to_owned(), |name| path(name.as_str()));
        let client = &self.0.client;
        let (roles, profiles) = tokio::try_join!(client.roles(&path), client.instance_profiles(&path))?;
        let of_role = |profile: &Profile| roles.iter().any(|role| role.role_name == profile.instance_profile_name);
        let lonely = profiles.iter().filter(|profile| !of_role(profile));
        let (objects, left) = tokio::try_join!(
            futures::future::try_join_all(roles.iter().map(|role| self.describe(role, &profiles))),
            futures::future::try_join_all(lonely.map(|profile| self.lonely(profile))),
        )?;
        Ok(objects.into_iter().chain(left).flatten().collect())
    }

    async fn create(&self, request: &Request<'_>) -> Result<Object> {
        let settled = self.settle(&unique_name(request.token, None), request).await;
        settled.map_err(|error| explain(error, request.resource))?;
        self.0.made(self, request).await
    }

    /// Creates what was removed of it: its role, or the profile.
    async fn update(&self, object: &Object, request: &Request<'_>) -> Result<Object> {
        let again = Request { token: &object.token, ..request.clone() };
        self.settle(&object.id, &again).await.map_err(|error| explain(error, request.resource))?;
        self.0.made(self, &again).await
    }

    async fn delete(&self, id: &str) -> Result<()> {
        let client = &self.0.client;
        for role in client.profile_roles(id).await? {
            self.0.remove(|| client.remove_role_from_instance_profile(id, &role.role_name)).await?;
        }
        self.0.remove(|| client.delete_instance_profile(id)).await?;
        // A role that was recreated after a crash may still have its policies, and others may have written some into it.
        let Policies { attached, inline } = if_there(self.0.policies_of(id).await)?.unwrap_or_default();
        for policy in &attached {
            self.0.remove(|| client.detach_role_policy(id, policy)).await?;
        }
        for policy in &inline {
            self.0.remove(|| client.delete_inline_policy(id, policy)).await?;
        }
        self.0.remove(|| client.delete_role(id)).await
    }
}

/// The policies of our roles, by their full names. They carry no tags: they are those of their role.
pub(super) struct RoleBindingDriver(pub(super) Account);

/// What a role has.
#[derive(Default)]
struct Policies {
    /// The full names of policies, sorted.
    attached: Vec<String>,
    /// The names of those that are written into the role itself, sorted: infra writes none.
    inline: Vec<String>,
}

impl Account {
    async fn policies_of(&self, role: &str) -> Result<Policies, AwsError> {
        let inline = async {
            match self.client.inline_policies(role).await {
                // A caller that may not list them goes on without: infra writes none.
                Err(error) if error.is_not_permitted() => Ok(Vec::new()),
                inline => inline,
            }
        };
        let (attached, mut inline) = tokio::try_join!(self.client.role_policies(role), inline)?;
        let mut attached: Vec<String> = attached.into_iter().map(|policy| policy.policy_arn).collect();
        attached.sort();
        inline.sort();
        Ok(Policies { attached, inline })
    }
}

impl RoleBindingDriver {
    /// Makes the policies of a role those that are wanted.
    async fn settle(&self, role: &str, wanted: &[String]) -> Result<(), AwsError> {
        let client = &self.0.client;
        let Policies { attached, inline } = self.0.policies_of(role).await?;
        for policy in wanted.iter().filter(|wanted| !attached.contains(wanted)) {
            client.attach_role_policy(role, policy).await?;
        }
        for policy in attached.iter().filter(|policy| !wanted.contains(policy)) {
            client.detach_role_policy(role, policy).await?;
        }
        for policy in &inline {
            client.delete_inline_policy(role, policy).await?;
        }
        Ok(())
    }
}

impl RoleBindingDriver {
    /// The bindings of these accounts.
    pub(super) async fn of(&self, accounts: &[Object]) -> Result<Vec<Object>> {
        let bindings = accounts.iter().map(|account| async move {
            let Policies { attached, inline } = if_there(self.0.policies_of(&account.id).await)?.unwrap_or_default();
            let inline = inline.into_iter().map(|name| format!("the inline policy `{name}`"));
            let roles: Vec<String> = attached.into_iter().chain(inline).collect();
            if roles.is_empty() {
                return Ok(None);
            }
            let address = KindName::ROLE_BINDING.named(&account.address.name);
            let mut object = Object { address, health: Health::Ready, ..account.clone() };
            object.actual.insert("roles".to_owned(), json!(roles));
            Ok::<_, Error>(Some(object))
        });
        Ok(futures::future::try_join_all(bindings).await?.into_iter().flatten().collect())
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
        ours.ok_or_else(|| Error::new("aws: the policies vanished while they were given"))
    }

    async fn update(&self, object: &Object, request: &Request<'_>) -> Result<Object> {
        let spec: RoleBindingSpec = request.resource.spec()?;
        let settled = self.settle(&object.id, &spec.roles).await;
        settled.map_err(|error| explain(error, request.resource))?;
        Ok(object.clone())
    }

    async fn delete(&self, id: &str) -> Result<()> {
        Ok(if_there(self.settle(id, &[]).await).map(drop)?)
    }
}
