//! What a plan does about the secrets of the environment file.

use serde::{Deserialize, Serialize};

use super::{Action, Plan};
use crate::{resource::Resource, state::Vault};

/// A secret of the environment file that is made or changed. Its value is not here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretChange {
    /// Its name.
    pub name: String,
    /// Whether it is made or changed.
    pub action: Action,
    /// Why, and where its value comes from.
    pub reason: String,
}

impl Plan {
    /// Adds what becomes of the secrets: a managed database is updated when a password changes, or has changed and was not set.
    pub fn add_secrets(&mut self, secrets: Vec<SecretChange>, vault: &Vault) {
        let changed = |name: &String| secrets.iter().any(|one| one.action == Action::Update && one.name == *name);
        for change in &mut self.changes {
            let Some(Ok(Some(users))) = change.after.as_ref().map(Resource::logins) else { continue };
            let id = change.object.as_ref().map(|object| object.id.as_str()).unwrap_or_default();
            let unset = match change.action {
                Action::Keep => vault.outdated_passwords(id, &users),
                // The command that created it was killed: the secret may have changed since.
                Action::Adopt => vault.unset_passwords(id, &users),
                _ => continue,
            };
            if let Some(name) = users.values().find(|name| changed(name)) {
                change.action = Action::Update;
                change.reason = format!("the secret `{name}` changes");
            } else if let Some(login) = unset.first() {
                change.action = Action::Update;
                change.reason = format!("the password of `{login}` was not set");
            }
        }
        self.secrets = secrets;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::SecretChange;
    use crate::{
        plan::{Action, Change, Configure, DataPolicy, Plan, VERSION},
        resource::{Resource, Terms},
        state::Vault,
    };

    fn plan(changed: Action) -> Plan {
        let spec = json!({
            "version": 15, "cores": 2, "memory_mb": 4096, "disk_gb": 10, "subnet": "main", "public": false, "settings": {},
            "users": { "app": "password" }, "databases": {},
        });
        let address: crate::resource::Address = "postgres.main".parse().unwrap();
        let resource = Resource {
            address: address.clone(),
            spec: spec.as_object().unwrap().clone(),
            needs: Vec::new(),
            origin: String::new(),
            data: Vec::new(),
        };
        let change = Change {
            address,
            action: Action::Keep,
            reason: String::new(),
            before: Some(resource.spec.clone()),
            after: Some(resource),
            object: None,
            needs: Vec::new(),
            token: None,
            data: Vec::new(),
            follows: Vec::new(),
            restarts: false,
            chosen: serde_json::Map::new(),
        };
        let mut plan = Plan {
            version: VERSION,
            environment: "dev".parse().unwrap(),
            labelled: "dev".parse().unwrap(),
            project: String::new(),
            terms: Terms::default(),
            serial: 1,
            digest: String::new(),
            changes: vec![change],
            secrets: Vec::new(),
            configure: Configure::default(),
            data: DataPolicy::default(),
            warnings: Vec::new(),
        };
        let changes = vec![SecretChange { name: "password".into(), action: changed, reason: "it is new".into() }];
        plan.add_secrets(changes, &Vault::default());
        plan
    }

    #[test]
    fn a_managed_database_gets_a_password_that_changes() {
        let rotated = plan(Action::Update);
        assert_eq!(rotated.changes[0].action, Action::Update);
        assert_eq!(rotated.changes[0].reason, "the secret `password` changes");
        assert_eq!(plan(Action::Create).changes[0].action, Action::Keep);
    }
}
