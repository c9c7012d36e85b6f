//! Disks are volumes. The engine has no sizes for them, so a disk is as large as the engine's own.

use async_trait::async_trait;

use super::{Driver, Object, adopt, env_label, epoch, object, object_name, removal::until_gone};
use crate::{
    cloud::docker::Client,
    error::{Error, Result},
    name::Name,
    provider::Request,
    resource::KindName,
};

pub(super) struct DiskDriver {
    pub(super) client: Client,
}

#[async_trait]
impl Driver for DiskDriver {
    async fn list(&self, environment: Option<&Name>) -> Result<Vec<Object>> {
        let volumes = self.client.list_volumes(&env_label(environment)).await?;
        let objects = volumes
            .into_iter()
            .filter_map(|volume| object(volume.labels.as_ref()?, volume.name.clone(), epoch(&volume.created_at)))
            .filter(|object| object.address.kind == KindName::DISK);
        Ok(objects.collect())
    }

    async fn create(&self, request: &Request<'_>) -> Result<Object> {
        let name = object_name(&request.owner(), &request.resource.address.name);
        self.client.create_volume(&name, &request.labels()).await?;
        adopt(self, request.environment, request.token).await?.ok_or_else(|| {
            Error::new(format!("docker: a volume `{name}` exists that this environment did not make"))
                .hint(format!("remove it if its content is not needed: `docker volume rm {name}`"))
        })
    }

    async fn delete(&self, id: &str) -> Result<()> {
        until_gone(|| self.client.remove_volume(id)).await
    }
}
