//! Service accounts and what they may do in the folder.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::{Account, Driver, Object, Request, needed, object, object_name};
use crate::{
    cloud::yandex::ServiceAccount,
    error::Result,
    identity,
    name::Name,
    resource::{KindName, RoleBindingSpec},
};

/// Service accounts.
pub(super) struct ServiceAccountDriver(pub(super) Account);

fn show(one: &ServiceAccount, environment: Option<&Name>) -> Option<Object> {
    object(&one.labels, KindName::SERVICE_ACCOUNT, environment, &one.id, &one.created_at)
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

/// The roles of our service accounts in the folder. A binding has no labels of its own: it is that of its account. The
/// folder's bindings are shared with everybody, so they are changed by additions and removals, one call at a time.
pub(super) struct RoleBindingDriver {
    account: Account,
    one_at_a_time: Arc<Mutex<()>>,
}

impl RoleBindingDriver {
    pub(super) fn new(account: Account) -> Self {
        Self { account, one_at_a_time: Arc::default() }
    }

    async fn roles(&self, accounts: &[&str]) -> Result<BTreeMap<String, Vec<String>>> {
        let mut roles: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for binding in self.account.client.folder_bindings(&self.account.folder).await? {
            if binding.subject.r#type == "serviceAccount" && accounts.contains(&binding.subject.id.as_str()) {
                roles.entry(binding.subject.id).or_default().push(binding.role_id);
            }
        }
        for roles in roles.values_mut() {
            roles.sort();
        }
        Ok(roles)
    }

    /// The bindings of these accounts.
    pub(super) async fn of(&self, accounts: &[Object]) -> Result<Vec<Object>> {
        if accounts.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<&str> = accounts.iter().map(|account| account.id.as_str()).collect();
        let roles = self.roles(&ids).await?;
        let objects = accounts.iter().filter_map(|account| {
            let roles = roles.get(&account.id)?;
            let actual = serde_json::Map::from_iter([("roles".to_owned(), json!(roles))]);
            Some(Object { address: KindName::ROLE_BINDING.named(&account.address.name), actual, ..account.clone() })
        });
        Ok(objects.collect())
    }

    async fn change(&self, account: &str, add: &[String], remove: &[String]) -> Result<()> {
        let deltas: Vec<Value> = [("ADD", add), ("REMOVE", remove)]
            .into_iter()
            .flat_map(|(action, roles)| {
                roles.iter().map(move |role| {
                    json!({
                        "action": action,
                        "accessBinding": { "roleId": role, "subject": { "id": account, "type": "serviceAccount" } },
                    })
                })
            })
            .collect();
        if deltas.is_empty() {
            return Ok(());
        }
        let _turn = self.one_at_a_time.lock().await;
        // Adding what is there and removing what is gone do nothing, so every call is an intent of its own.
        let token = identity::random_text(24)?;
        let call = self.account.client.update_folder_bindings(&self.account.folder);
        call.access_binding_deltas(deltas).send(&token).await?;
        Ok(())
    }
}

#[async_trait]
impl Driver for RoleBindingDriver {
    async fn list(&self, environment: Option<&Name>) -> Result<Vec<Object>> {
        let accounts = ServiceAccountDriver(self.account.clone()).list(environment).await?;
        self.of(&accounts).await
    }

    async fn create(&self, request: &Request<'_>) -> Result<Object> {
        let spec: RoleBindingSpec = request.resource.spec()?;
        let account = needed(request, &KindName::SERVICE_ACCOUNT.named(&spec.service_account))?;
        let changed = self.change(&account.id, &spec.roles, &[]).await;
        changed
            .map_err(|error| error.context(format!("{} ({})", request.resource.address, request.resource.origin)))?;
        Ok(Object { address: request.resource.address.clone(), ..account.clone() })
    }

    async fn update(&self, object: &Object, request: &Request<'_>) -> Result<Object> {
        let spec: RoleBindingSpec = request.resource.spec()?;
        let present = self.roles(&[&object.id]).await?.remove(&object.id).unwrap_or_default();
        let add: Vec<String> = spec.roles.iter().filter(|role| !present.contains(role)).cloned().collect();
        let remove: Vec<String> = present.iter().filter(|role| !spec.roles.contains(role)).cloned().collect();
        self.change(&object.id, &add, &remove).await?;
        Ok(object.clone())
    }

    async fn delete(&self, id: &str) -> Result<()> {
        let present = self.roles(&[id]).await?.remove(id).unwrap_or_default();
        self.change(id, &[], &present).await
    }
}
