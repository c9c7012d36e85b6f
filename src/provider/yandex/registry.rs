//! Registries of container images.

use async_trait::async_trait;

use super::account::{Account, if_there, object, object_name};
use crate::{
    cloud::yandex::Registry,
    error::Result,
    name::Name,
    provider::{Driver, Object, Request},
    resource::KindName,
};

/// Registries. Images are addressed as `cr.yandex/<id>/<name>:<tag>`.
pub(super) struct RegistryDriver(pub(super) Account);

pub(super) fn show(one: &Registry, environment: Option<&Name>) -> Option<Object> {
    let mut object = object(&one.labels, KindName::REGISTRY, environment, &one.id, &one.created_at)?;
    object.attributes.insert("url".to_owned(), format!("cr.yandex/{}", one.id).into());
    Some(object)
}

#[async_trait]
impl Driver for RegistryDriver {
    async fn list(&self, environment: Option<&Name>) -> Result<Vec<Object>> {
        let all = self.0.client.list::<Registry>(&self.0.folder).await?;
        Ok(all.iter().filter_map(|one| show(one, environment)).collect())
    }

    async fn read(&self, id: &str) -> Result<Option<Object>> {
        Ok(self.0.found::<Registry>(id).await?.and_then(|one| show(&one, None)))
    }

    async fn create(&self, request: &Request<'_>) -> Result<Object> {
        let name = object_name(request);
        let labels = Account::labels(request);
        let call = self.0.client.create_registry().folder_id(&self.0.folder).name(&name).labels(&labels);
        self.0.create(self, request, call.send(request.token)).await
    }

    /// The service removes empty registries only: the images go first.
    async fn delete(&self, id: &str) -> Result<()> {
        for image in if_there(self.0.client.images(id).await)?.unwrap_or_default() {
            self.0.remove(|| self.0.client.delete_image(&image.id).send(id)).await?;
        }
        self.0.remove(|| self.0.client.delete_registry(id).send(id)).await
    }
}
