//! Later terms of an environment. The engine cannot change the labels of what exists, so an empty volume carries them.

use async_trait::async_trait;

use super::{Driver, Object, Owner, env_label, epoch, object, object_name, removal::until_gone};
use crate::{
    cloud::docker::Client,
    error::{Error, Result},
    identity,
    name::Name,
    provider::Request,
    resource::{KindName, Resource, Terms},
};

pub(super) struct ExpiryDriver {
    pub(super) client: Client,
}

impl ExpiryDriver {
    /// Gives an environment new terms; the ones before are removed afterwards.
    pub(super) async fn mark(&self, owner: &Owner, terms: &Terms) -> Result<()> {
        let Owner { environment, project } = owner;
        let mut before = self.list(Some(environment)).await?;
        before.retain(|object| owner.owns(object));
        let resource = Resource {
            address: KindName::EXPIRY.named(environment),
            spec: serde_json::Map::new(),
            needs: Vec::new(),
            origin: String::new(),
            data: Vec::new(),
        };
        let token = identity::random_text(24)?.to_ascii_lowercase();
        let request = Request {
            environment,
            project,
            token: &token,
            resource: &resource,
            needs: std::collections::BTreeMap::new(),
            boot: None,
            terms,
            secrets: std::collections::BTreeMap::new(),
            unset: std::collections::BTreeSet::new(),
        };
        self.create(&request).await?;
        for old in before {
            self.delete(&old.id).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl Driver for ExpiryDriver {
    async fn list(&self, environment: Option<&Name>) -> Result<Vec<Object>> {
        let volumes = self.client.list_volumes(&env_label(environment)).await?;
        let objects = volumes.into_iter().filter_map(|volume| {
            let found = object(volume.labels.as_ref()?, volume.name.clone(), epoch(&volume.created_at))?;
            (found.address.kind == KindName::EXPIRY).then_some(found)
        });
        Ok(objects.collect())
    }

    async fn create(&self, request: &Request<'_>) -> Result<Object> {
        let name = format!("{}_{}", object_name(&request.owner(), &request.resource.address.name), request.token);
        self.client.create_volume(&name, &request.labels()).await?;
        let listed = self.list(Some(request.environment)).await?;
        listed
            .into_iter()
            .find(|object| object.id == name)
            .ok_or_else(|| Error::new(format!("docker: the volume `{name}` vanished while it was made")))
    }

    async fn delete(&self, id: &str) -> Result<()> {
        until_gone(|| self.client.remove_volume(id)).await
    }
}
