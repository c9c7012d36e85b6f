//! Machines as EC2 lists them.

use serde_json::json;

use super::{
    Client, Result,
    ec2::{Instance, Reservation},
};

/// How many values a filter takes.
const FILTERED: usize = 200;

impl Instance {
    /// The id of its first volume.
    #[must_use]
    pub fn root_volume(&self) -> Option<&str> {
        let mut volumes = self.block_device_mapping.iter();
        volumes.find(|mapping| mapping.device_name == self.root_device_name).map(|root| root.ebs.volume_id.as_str())
    }

    /// The security groups of its first interface.
    #[must_use]
    pub fn groups(&self) -> Vec<&str> {
        let first = self.network_interface_set.first();
        first.into_iter().flat_map(|interface| &interface.group_set).map(|group| group.group_id.as_str()).collect()
    }
}

impl Client {
    /// The machines of these ids that there are.
    ///
    /// # Errors
    /// When the cloud refuses or does not answer.
    pub async fn instances_of(&self, ids: &[String]) -> Result<Vec<Instance>> {
        let mut all = Vec::new();
        for ids in ids.chunks(FILTERED) {
            let fields = json!({ "Filter": [{ "Name": "instance-id", "Value": ids }], "MaxResults": 1000 });
            let reservations = self.pages::<Reservation>(fields.as_object().cloned().unwrap_or_default()).await?;
            all.extend(reservations.into_iter().flat_map(|reservation| reservation.instances_set));
        }
        Ok(all)
    }

    /// The machines that pass the filters.
    ///
    /// # Errors
    /// When the cloud refuses or does not answer.
    pub async fn instances(&self, filters: &[(&str, &str)]) -> Result<Vec<Instance>> {
        let reservations = self.list::<Reservation>(filters).await?;
        Ok(reservations.into_iter().flat_map(|reservation| reservation.instances_set).collect())
    }
}
