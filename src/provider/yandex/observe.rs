//! What is in the folder: one list a kind, of which everything that a plan compares is made.

use std::collections::BTreeSet;

use super::{
    Yandex, balancer, compute, dns, iam, iam::RoleBindingDriver, postgres, public, registry, security, subnet, vpc,
};
use crate::{
    cloud::yandex::{
        Address, Cluster, Disk, DnsZone, Gateway, Instance, InstanceGroup, LoadBalancer, Network, Registry, RouteTable,
        SecurityGroup, ServiceAccount, Subnet, TargetGroup,
    },
    error::Result,
    name::Name,
    provider::Object,
};

/// What machines, groups and balancers point to.
pub(super) struct Around<'a> {
    pub(super) networks: &'a [Network],
    pub(super) security_groups: &'a [SecurityGroup],
    pub(super) addresses: &'a [Address],
    pub(super) disks: &'a [Disk],
    pub(super) machines: &'a [Instance],
    pub(super) target_groups: &'a [TargetGroup],
}

impl Around<'_> {
    /// The reserved addresses of the folder that are this one.
    pub(super) fn reserved(&self, public: &str) -> impl Iterator<Item = String> {
        let same = move |one: &&Address| one.reserved && one.external_ipv4_address.address == public;
        self.addresses.iter().filter(same).map(|one| one.id.clone())
    }

    /// Security groups, each by its id; a network's own groups are the network.
    pub(super) fn networks_of(&self, groups: &[String]) -> BTreeSet<String> {
        networks_of(self.networks, self.security_groups, groups)
    }

    /// Whether a security group is that of a network's bastion.
    pub(super) fn is_of_bastion(&self, id: &str) -> bool {
        let mut groups = self.security_groups.iter().filter(|group| group.id == id);
        groups.any(|group| security::is_of_bastion(group, &group.network_id))
    }
}

/// Security groups, each by its id; a network's own groups are the network.
pub(super) fn networks_of(networks: &[Network], known: &[SecurityGroup], groups: &[String]) -> BTreeSet<String> {
    let network = |group: &String| {
        let of_bastion =
            |one: &Network| known.iter().any(|known| known.id == *group && security::is_of_bastion(known, &one.id));
        networks.iter().find(|one| one.default_security_group_id == *group || of_bastion(one))
    };
    groups.iter().map(|group| network(group).map_or(group, |network| &network.id).clone()).collect()
}

impl Yandex {
    /// Everything that carries our labels, of one environment or of all.
    pub(super) async fn observe(&self, environment: Option<&Name>) -> Result<Vec<Object>> {
        let (client, folder) = (&self.account.client, self.account.folder.as_str());
        let below = async {
            tokio::try_join!(
                client.list::<Network>(folder),
                client.list::<SecurityGroup>(folder),
                client.list::<Gateway>(folder),
                client.list::<RouteTable>(folder),
                client.list::<Subnet>(folder),
                client.list::<Address>(folder),
                client.list::<Disk>(folder),
                client.list::<Instance>(folder),
            )
        };
        let above = async {
            tokio::try_join!(
                client.list::<InstanceGroup>(folder),
                client.list::<ServiceAccount>(folder),
                client.list::<LoadBalancer>(folder),
                client.list::<TargetGroup>(folder),
                client.list::<Cluster>(folder),
                client.list::<Registry>(folder),
                client.list::<DnsZone>(folder),
            )
        };
        let lists = tokio::try_join!(below, above);
        let (below, above) = lists.map_err(|error| self.account.no_folder(error))?;
        let (networks, security_groups, gateways, tables, subnets, addresses, disks, machines) = below;
        let (groups, accounts, balancers, target_groups, clusters, registries, zones) = above;
        let around = Around {
            networks: &networks,
            security_groups: &security_groups,
            addresses: &addresses,
            disks: &disks,
            machines: &machines,
            target_groups: &target_groups,
        };
        let mut objects: Vec<Object> = Vec::new();
        objects.extend(networks.iter().filter_map(|one| security::show_network(one, &security_groups, environment)));
        objects.extend(security_groups.iter().filter_map(|one| security::show_group(one, environment)));
        objects.extend(gateways.iter().filter_map(|one| vpc::show_gateway(one, environment)));
        objects.extend(tables.iter().filter_map(|one| vpc::show_table(one, environment)));
        objects.extend(subnets.iter().filter_map(|one| subnet::show(one, environment)));
        objects.extend(addresses.iter().filter_map(|one| public::show_address(one, environment)));
        objects.extend(disks.iter().filter_map(|one| compute::show_disk(one, environment)));
        objects.extend(balancers.iter().filter_map(|one| balancer::show(one, Some(&around), environment)));
        objects.extend(balancer::lonely(&target_groups, &balancers, environment));
        objects.extend(iam::lonely(&accounts, &groups, environment));
        objects.extend(registries.iter().filter_map(|one| registry::show(one, environment)));
        let accounts: Vec<Object> = accounts.iter().filter_map(|one| iam::show(one, environment)).collect();
        // What is inside of an object is asked for only where it is ours.
        let shown = machines.iter().map(|one| compute::observe(&self.account, one, &around, environment));
        let group = self.groups();
        let groups = groups.iter().map(|one| group.show(one, Some(&around), environment));
        let zones = zones.iter().map(|one| dns::observe(&self.account, one, environment));
        let clusters = clusters.iter().map(|one| postgres::observe(&self.account, one, &networks, environment));
        let binding = RoleBindingDriver(self.account.clone());
        let (shown, groups, zones, clusters, bindings) = tokio::try_join!(
            futures::future::try_join_all(shown),
            futures::future::try_join_all(groups),
            futures::future::try_join_all(zones),
            futures::future::try_join_all(clusters),
            binding.of(&accounts),
        )?;
        objects.extend(shown.into_iter().chain(groups).chain(zones).chain(clusters).flatten());
        objects.extend(accounts.into_iter().chain(bindings));
        Ok(objects)
    }
}
