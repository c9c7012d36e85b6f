//! All machines and networks of an environment as the cloud shows them: one list a kind of object, from which everything is told
//! that objects say of each other.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{
    Account, Object, address, balancer::Balancing, compute, gateway, group, leftovers, network, route_table,
    security_group, subnet,
};
use crate::{
    cloud::aws::ec2::{Address, Instance, InternetGateway, NatGateway, RouteTable, SecurityGroup, Subnet, Volume, Vpc},
    error::Result,
    name::Name,
    resource::{KindName, SSH_GROUP},
};

/// What was listed.
struct Seen {
    networks: Vec<Vpc>,
    gateways_to_the_world: Vec<InternetGateway>,
    groups: Vec<SecurityGroup>,
    gateways: Vec<NatGateway>,
    addresses: Vec<Address>,
    tables: Vec<RouteTable>,
    subnets: Vec<Subnet>,
    volumes: Vec<Volume>,
    instances: Vec<Instance>,
}

/// The objects of one environment or of all.
pub(super) async fn objects(
    account: &Account, environment: Option<&Name>, balancing: &Balancing,
) -> Result<Vec<Object>> {
    let client = &account.client;
    let (name, value) = Account::filter(environment);
    let ours = [(name.as_str(), value.as_str())];
    let (networks, gateways_to_the_world, groups, gateways, addresses) = tokio::try_join!(
        client.list(&ours),
        client.list(&ours),
        client.list(&ours),
        client.list(&ours),
        client.list(&ours)
    )?;
    let (tables, subnets, volumes, instances, interfaces) = tokio::try_join!(
        client.list(&ours),
        client.list(&ours),
        client.list(&ours),
        client.instances(&ours),
        account.interfaces(environment)
    )?;
    let seen =
        Seen { networks, gateways_to_the_world, groups, gateways, addresses, tables, subnets, volumes, instances };
    let mut objects = seen.objects();
    objects.extend(interfaces);
    objects.extend(group::groups(account, environment, &seen.instances, balancing).await?);
    Ok(objects)
}

impl Seen {
    fn objects(&self) -> Vec<Object> {
        let mut all = network::describe_all(&self.networks, &self.groups, &self.gateways_to_the_world, &self.tables);
        all.extend(self.groups.iter().filter_map(security_group::describe));
        all.extend(gateway::describe_all(&self.gateways, &self.addresses));
        all.extend(self.addresses.iter().filter_map(address::describe));
        all.extend(self.tables.iter().filter_map(route_table::describe));
        all.extend(self.subnets.iter().filter_map(|subnet| self.subnet(subnet)));
        all.extend(self.volumes.iter().filter_map(compute::describe_disk));
        all.extend(self.volumes.iter().filter_map(leftovers::volume));
        let names: BTreeMap<(KindName, &str), &Name> =
            all.iter().map(|object| ((object.address.kind, object.id.as_str()), &object.address.name)).collect();
        let machines: Vec<Object> =
            self.instances.iter().filter_map(|instance| self.machine(instance, &names)).collect();
        all.extend(machines);
        all
    }

    /// A subnet, with its own route table.
    fn subnet(&self, subnet: &Subnet) -> Option<Object> {
        let mut object = subnet::describe(subnet)?;
        let own = self
            .tables
            .iter()
            .filter(|table| table.association_set.iter().any(|association| association.subnet_id == subnet.subnet_id));
        object.links = Some(own.map(|table| table.route_table_id.clone()).collect());
        Some(object)
    }

    /// A machine, with its disks, its security groups and its reserved address.
    fn machine(&self, instance: &Instance, names: &BTreeMap<(KindName, &str), &Name>) -> Option<Object> {
        let mut object = compute::describe(instance)?;
        let mut links = BTreeSet::new();
        let root = instance.root_volume();
        for volume in &self.volumes {
            let attached = volume.attachment_set.iter().any(|one| one.instance_id == instance.instance_id);
            if Some(volume.volume_id.as_str()) == root {
                object.actual.insert("disk_type".to_owned(), volume.volume_type.as_str().into());
            } else if attached {
                links.insert(volume.volume_id.clone());
            }
        }
        let mut groups: Vec<(bool, String)> = Vec::new();
        for group in instance.groups() {
            if self.networks.iter().any(|vpc| network::has_group(vpc, group, &self.groups, network::GROUP_PART)) {
                links.extend(
                    self.networks
                        .iter()
                        .map(|vpc| vpc.vpc_id.clone())
                        .filter(|vpc| self.groups.iter().any(|one| one.group_id == group && one.vpc_id == *vpc)),
                );
            } else if self.networks.iter().any(|vpc| network::has_group(vpc, group, &self.groups, SSH_GROUP)) {
                // It stands after those that open ports.
                groups.push((true, SSH_GROUP.to_owned()));
            } else {
                let name = names.get(&(KindName::SECURITY_GROUP, group)).map_or(group, |name| name.as_str());
                groups.push((false, name.to_owned()));
            }
        }
        groups.sort();
        let groups: Value = groups.into_iter().map(|(_, name)| Value::String(name)).collect();
        object.actual.insert("security_groups".to_owned(), groups);
        let reserved = self.addresses.iter().filter(|address| address.instance_id == instance.instance_id);
        let mut reserved = reserved.map(|address| {
            let name = names.get(&(KindName::ADDRESS, address.allocation_id.as_str()));
            Value::from(name.map_or(address.allocation_id.as_str(), |name| name.as_str()))
        });
        object.actual.insert("reserved_address".to_owned(), reserved.next_back().unwrap_or(Value::Null));
        object.links = Some(links);
        Some(object)
    }
}
