//! Reserved public addresses.

use async_trait::async_trait;

use super::{Account, Driver, Health, Object, Request, not_made, object};
use crate::{cloud::aws::ec2::Address as PublicAddress, error::Result, name::Name, resource::KindName};

/// Reserved public addresses.
pub(super) struct AddressDriver(pub(super) Account);

pub(super) fn describe(one: &PublicAddress) -> Option<Object> {
    let mut object = object(&one.tag_set, KindName::ADDRESS, &one.allocation_id, "")?;
    // One call makes it, so it is never half made.
    object.health = Health::Ready;
    object.attributes.insert("public_address".to_owned(), one.public_ip.as_str().into());
    Some(object)
}

#[async_trait]
impl Driver for AddressDriver {
    async fn list(&self, environment: Option<&Name>) -> Result<Vec<Object>> {
        let (name, value) = Account::filter(environment);
        let all = self.0.client.list::<PublicAddress>(&[(&name, &value)]).await?;
        Ok(all.iter().filter_map(describe).collect())
    }

    async fn create(&self, request: &Request<'_>) -> Result<Object> {
        let find = || self.0.id_of(self, request);
        let tags = Account::tags(request);
        let call = self.0.client.allocate_address().domain("vpc").tags("elastic-ip", &tags);
        let made = self.0.make(|| call.clone().send(), "/allocationId", find).await;
        made.map_err(|error| not_made(error, request.resource))?;
        self.0.made(self, request).await
    }

    async fn delete(&self, id: &str) -> Result<()> {
        self.0.remove(|| self.0.client.release_address().allocation_id(id).send()).await
    }
}
