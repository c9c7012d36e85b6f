//! What machines may leave behind: their first disks and their network interfaces, when those were taken off them, or when a
//! machine went in an unusual way. They are objects of their own then, named by their ids, so that they are found and removed.

use super::{Account, Health, LABEL_ENV, LABEL_ID, LABEL_PROJECT, LABEL_TOKEN, Object, PART, tag};
use crate::{
    cloud::aws::{
        AwsError,
        ec2::{Interface, Tag, Volume},
    },
    error::Result,
    name::Name,
    resource::{Address, KindName, Terms},
};

/// The object that a part is by itself, once what it belonged to is gone.
pub(super) fn object(tags: &[Tag], kind: KindName, id: &str, health: Health) -> Option<Object> {
    if tag(tags, LABEL_ID).is_some() {
        return None;
    }
    let text = |key: &str| tag(tags, key).unwrap_or_default().to_owned();
    Some(Object {
        environment: tag(tags, LABEL_ENV)?.to_owned(),
        address: Address { kind, name: id.parse().ok()? },
        project: text(LABEL_PROJECT),
        id: id.to_owned(),
        token: text(LABEL_TOKEN),
        created: 0,
        health,
        terms: Terms::read(|key| tag(tags, key)),
        attributes: serde_json::Map::new(),
        actual: serde_json::Map::new(),
        links: None,
        outdated: None,
    })
}

/// A first disk that no machine has. That of a single machine may hold what someone looks for; machines of groups keep nothing.
pub(super) fn volume(volume: &Volume) -> Option<Object> {
    let single = tag(&volume.tag_set, PART).is_some();
    let health = if single { Health::Ready } else { Health::Incomplete };
    let left = object(&volume.tag_set, KindName::DISK, &volume.volume_id, health)?;
    (volume.status == "available").then_some(left)
}

impl Account {
    /// The network interfaces that no machine has.
    pub(super) async fn interfaces(&self, environment: Option<&Name>) -> Result<Vec<Object>, AwsError> {
        let (name, value) = Self::filter(environment);
        let all = self.client.list::<Interface>(&[(&name, &value), ("status", "available")]).await?;
        let left = all.iter().filter_map(|interface| {
            object(&interface.tag_set, KindName::VM, &interface.network_interface_id, Health::Incomplete)
        });
        Ok(left.collect())
    }
}
