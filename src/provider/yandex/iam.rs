//! Service accounts and what they may do in the folder.

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use serde_json::{Value, json};

use super::{
    LABEL_KIND, LABEL_NAME,
    account::{Account, explain, if_there, needed, object, object_name, plain_name, unique_name},
};
use crate::{
    cloud::{
        retry::Attempts,
        yandex::{InstanceGroup, Operation, ServiceAccount, YandexError},
    },
    error::Result,
    event, identity,
    name::Name,
    provider::{Driver, Health, LABEL_ENV, LABEL_PROJECT, Object, Request},
    resource::{InstanceGroupSpec, KindName, RoleBindingSpec},
};

/// The kind in the label of an account that runs an instance group: it is a part of its group, no resource of its own.
const MANAGER: &str = "group_account";

/// Service accounts.
pub(super) struct ServiceAccountDriver(pub(super) Account);

pub(super) fn show(one: &ServiceAccount, environment: Option<&Name>) -> Option<Object> {
    object(&one.labels, KindName::SERVICE_ACCOUNT, environment, &one.id, &one.created_at)
}

/// The accounts of groups that were never made, or are gone already.
pub(super) fn lonely<'a>(
    accounts: &'a [ServiceAccount], groups: &'a [InstanceGroup], environment: Option<&'a Name>,
) -> impl Iterator<Item = Object> + 'a {
    let is_lonely = |account: &&ServiceAccount| {
        account.labels.get(LABEL_KIND).is_some_and(|kind| kind == MANAGER)
            && !groups.iter().any(|group| group.service_account_id == account.id)
    };
    accounts.iter().filter(is_lonely).filter_map(move |account| {
        let mut labels = account.labels.clone();
        labels.insert(LABEL_KIND.to_owned(), KindName::INSTANCE_GROUP.as_str().to_owned());
        let object = object(&labels, KindName::INSTANCE_GROUP, environment, &account.id, &account.created_at)?;
        Some(Object { health: Health::Broken, ..object })
    })
}

#[async_trait]
impl Driver for ServiceAccountDriver {
    async fn list(&self, environment: Option<&Name>) -> Result<Vec<Object>> {
        let all = self.0.client.list::<ServiceAccount>(&self.0.folder).await?;
        Ok(all.iter().filter_map(|one| show(one, environment)).collect())
    }

    async fn read(&self, id: &str) -> Result<Option<Object>> {
        Ok(self.0.found::<ServiceAccount>(id).await?.and_then(|one| show(&one, None)))
    }

    async fn create(&self, request: &Request<'_>) -> Result<Object> {
        let name = object_name(request);
        let labels = Account::labels(request);
        let call = self.0.client.create_service_account();
        let call = call.folder_id(&self.0.folder).name(&name).labels(&labels);
        self.0.create(self, request, call.send(request.token)).await
    }

    async fn delete(&self, id: &str) -> Result<()> {
        self.0.remove(|| self.0.client.delete_service_account(id).send(id)).await
    }
}

/// What the account that runs a group may do in the folder: no more than the group needs.
fn manager_roles(spec: &InstanceGroupSpec) -> Vec<String> {
    let mut roles = vec!["compute.editor", "vpc.user"];
    if spec.machine.public {
        roles.push("vpc.publicAdmin");
    }
    roles.into_iter().map(str::to_owned).collect()
}

/// The role of an account that gives machines another account, on that one.
const USER: &str = "iam.serviceAccounts.user";
/// How long the services may not know yet what an account was just given.
const SPREAD: Duration = Duration::from_mins(2);

/// The account that runs a group.
pub(super) struct Manager {
    pub(super) id: String,
    /// Whether it was given a role just now.
    is_new: bool,
}

impl Manager {
    /// Makes a call for which the account needs its roles. One that is refused is made again for a while after the account was
    /// given some: the services do not know of them all at once.
    pub(super) async fn permitted<F: Future<Output = Result<Operation, YandexError>>>(
        &self, call: impl Fn() -> F,
    ) -> Result<Operation, YandexError> {
        let mut attempts = Attempts::within(SPREAD);
        loop {
            match call().await {
                Err(error) if self.is_new && error.is_not_permitted() => {
                    if !attempts.pause(format!("the roles of the group's account to be known ({error})"), None).await {
                        return Err(error);
                    }
                }
                ended => return ended,
            }
        }
    }
}

/// Where an account has roles.
#[derive(Clone, Copy)]
enum Place<'a> {
    Folder,
    /// On another account.
    Account(&'a str),
}

impl Account {
    /// The roles of accounts in a place.
    async fn roles(&self, place: Place<'_>, accounts: &[&str]) -> Result<BTreeMap<String, Vec<String>>> {
        let bindings = match place {
            Place::Folder => self.client.folder_bindings(&self.folder).await?,
            // One that is gone gives no roles.
            Place::Account(id) => if_there(self.client.account_bindings(id).await)?.unwrap_or_default(),
        };
        let mut roles: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for binding in bindings {
            if binding.subject.r#type == "serviceAccount" && accounts.contains(&binding.subject.id.as_str()) {
                roles.entry(binding.subject.id).or_default().push(binding.role_id);
            }
        }
        for roles in roles.values_mut() {
            roles.sort();
        }
        Ok(roles)
    }

    /// Gives an account these roles in a place, and takes the others away when it is to have no others; whether that changed
    /// anything. Bindings are shared with everyone, so they are changed by additions and removals, one call at a time.
    async fn set_roles(&self, place: Place<'_>, account: &str, wanted: &[String], no_others: bool) -> Result<bool> {
        let _turn = event::waiting("its turn to change roles", self.bindings.lock()).await;
        let present = self.roles(place, &[account]).await?.remove(account).unwrap_or_default();
        let add = wanted.iter().filter(|role| !present.contains(role)).map(|role| ("ADD", role));
        let remove = present.iter().filter(|role| no_others && !wanted.contains(role)).map(|role| ("REMOVE", role));
        let delta = |(action, role): (&str, &String)| {
            json!({
                "action": action,
                "accessBinding": { "roleId": role, "subject": { "id": account, "type": "serviceAccount" } },
            })
        };
        let deltas: Vec<Value> = add.chain(remove).map(delta).collect();
        if deltas.is_empty() {
            return Ok(false);
        }
        // Adding what is there and removing what is gone do nothing, so every call is an intent of its own.
        let token = identity::random_text(24)?;
        let client = &self.client;
        match place {
            Place::Folder => {
                client.update_folder_bindings(&self.folder).access_binding_deltas(deltas).send(&token).await
            }
            Place::Account(id) => client.update_account_bindings(id).access_binding_deltas(deltas).send(&token).await,
        }?;
        Ok(true)
    }

    /// The account that runs the group of a request, with what it needs; it is created when it is missing. Roles that it no
    /// longer needs are left to [`Self::limit_manager`].
    pub(super) async fn manager(&self, request: &Request<'_>, spec: &InstanceGroupSpec) -> Result<Manager> {
        let mut labels = Self::labels(request);
        labels.insert(LABEL_KIND.to_owned(), MANAGER.to_owned());
        let ours = |account: &&ServiceAccount| {
            let same = |label: &str| account.labels.get(label) == labels.get(label);
            [LABEL_ENV, LABEL_KIND, LABEL_NAME, LABEL_PROJECT].into_iter().all(same)
        };
        let known = self.client.list::<ServiceAccount>(&self.folder).await?;
        let id = match known.iter().find(ours) {
            Some(account) => account.id.clone(),
            None => {
                let group = &request.resource.address.name;
                let plain = plain_name(request.environment, group);
                let name = unique_name(&format!("{plain}-group"), &request.owner());
                let call = self.client.create_service_account().folder_id(&self.folder).name(&name).labels(&labels);
                let made = call.send(request.token).await.map_err(|error| explain(error, request.resource))?;
                made.object_id().to_owned()
            }
        };
        let mut is_new = self.set_roles(Place::Folder, &id, &manager_roles(spec), false).await?;
        if let Some(account) = &spec.service_account {
            let account = &needed(request, &KindName::SERVICE_ACCOUNT.named(account))?.id;
            is_new |= self.set_roles(Place::Account(account), &id, &[USER.to_owned()], false).await?;
        }
        Ok(Manager { id, is_new })
    }

    /// Takes away what the account that runs a group no longer needs: roles in the folder, and the account that its machines
    /// had before.
    pub(super) async fn limit_manager(
        &self, id: &str, request: &Request<'_>, spec: &InstanceGroupSpec, before: &str,
    ) -> Result<()> {
        self.set_roles(Place::Folder, id, &manager_roles(spec), true).await?;
        let now = match &spec.service_account {
            Some(account) => needed(request, &KindName::SERVICE_ACCOUNT.named(account))?.id.as_str(),
            None => "",
        };
        if !before.is_empty() && before != now {
            self.set_roles(Place::Account(before), id, &[], true).await?;
        }
        Ok(())
    }

    /// Removes an account that ran a group; another one that a group used stays.
    pub(super) async fn remove_manager(&self, id: &str) -> Result<()> {
        let Some(account) = self.found::<ServiceAccount>(id).await? else { return Ok(()) };
        if account.labels.get(LABEL_KIND).is_none_or(|kind| kind != MANAGER) {
            return Ok(());
        }
        self.set_roles(Place::Folder, id, &[], true).await?;
        // What of an interrupted run has given it a role is not known: it is one of the environment's accounts.
        let same = |other: &ServiceAccount, label: &str| other.labels.get(label) == account.labels.get(label);
        let accounts = self.client.list::<ServiceAccount>(&self.folder).await?;
        let of_environment = accounts.iter().filter(|other| {
            other.labels.get(LABEL_KIND).is_some_and(|kind| kind == KindName::SERVICE_ACCOUNT.as_str())
                && [LABEL_ENV, LABEL_PROJECT].into_iter().all(|label| same(other, label))
        });
        for other in of_environment {
            self.set_roles(Place::Account(&other.id), id, &[], true).await?;
        }
        self.remove(|| self.client.delete_service_account(id).send(id)).await
    }
}

/// The roles of our service accounts in the folder. A binding has no labels of its own: it is that of its account.
pub(super) struct RoleBindingDriver(pub(super) Account);

impl RoleBindingDriver {
    /// The bindings of these accounts.
    pub(super) async fn of(&self, accounts: &[Object]) -> Result<Vec<Object>> {
        if accounts.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<&str> = accounts.iter().map(|account| account.id.as_str()).collect();
        let roles = self.0.roles(Place::Folder, &ids).await?;
        let objects = accounts.iter().filter_map(|account| {
            let roles = roles.get(&account.id)?;
            let actual = serde_json::Map::from_iter([("roles".to_owned(), json!(roles))]);
            Some(Object { address: KindName::ROLE_BINDING.named(&account.address.name), actual, ..account.clone() })
        });
        Ok(objects.collect())
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
        let object = Object { address: request.resource.address.clone(), ..account.clone() };
        self.update(&object, request).await
    }

    async fn update(&self, object: &Object, request: &Request<'_>) -> Result<Object> {
        let spec: RoleBindingSpec = request.resource.spec()?;
        let (address, origin) = (&request.resource.address, &request.resource.origin);
        let set = self.0.set_roles(Place::Folder, &object.id, &spec.roles, true).await;
        set.map_err(|error| {
            error
                .context(format!("{address} ({origin})"))
                .hint(format!("the roles are {}; `yc iam role list` shows those that there are", spec.roles.join(", ")))
        })?;
        Ok(object.clone())
    }

    async fn delete(&self, id: &str) -> Result<()> {
        self.0.set_roles(Place::Folder, id, &[], true).await.map(drop)
    }
}
