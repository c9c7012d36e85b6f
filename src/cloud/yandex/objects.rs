//! What the API says of objects: the fields that we read. Fields that have their default are left out of answers, so every
//! one has a default here.

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::Labels;

/// Whole numbers of 64 bits are written as texts.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Text(String),
        Number(i64),
    }
    match Either::deserialize(deserializer)? {
        Either::Text(text) => text.parse().map_err(serde::de::Error::custom),
        Either::Number(number) => Ok(number),
    }
}

macro_rules! objects {
    ($($(#[$about:meta])* $name:ident { $($(#[$field_about:meta])* $field:ident : $type:ty),* $(,)? })+) => {
        $(
            $(#[$about])*
            #[derive(Clone, Debug, Default, Deserialize)]
            #[serde(rename_all = "camelCase", default)]
            pub struct $name {
                $(
                    #[doc = concat!("`", stringify!($field), "`.")]
                    $(#[$field_about])*
                    pub $field: $type,
                )*
            }
        )+
    };
}

objects! {
    /// A network.
    Network { id: String, name: String, created_at: String, labels: Labels, default_security_group_id: String }
    /// A subnet.
    Subnet {
        id: String, name: String, created_at: String, labels: Labels, network_id: String, zone_id: String,
        v4_cidr_blocks: Vec<String>, route_table_id: String,
    }
    /// An address of a subnet that is in use.
    UsedAddress { address: String, references: Vec<Reference> }
    /// What has an address.
    Reference { referrer: Option<Referrer> }
    /// What refers to something.
    Referrer { r#type: String, id: String }
    /// A security group.
    SecurityGroup {
        id: String, name: String, created_at: String, labels: Labels, network_id: String, default_for_network: bool,
        rules: Vec<SecurityRule>,
    }
    /// A rule of a security group.
    SecurityRule {
        id: String, description: String, direction: String, protocol_name: String,
        #[serde(deserialize_with = "number")] protocol_number: i64, ports: Option<PortRange>, cidr_blocks: Option<CidrBlocks>,
        security_group_id: String, predefined_target: String,
    }
    /// A range of ports.
    PortRange { #[serde(deserialize_with = "number")] from_port: i64, #[serde(deserialize_with = "number")] to_port: i64 }
    /// Address ranges.
    CidrBlocks { v4_cidr_blocks: Vec<String>, v6_cidr_blocks: Vec<String> }
    /// A gateway.
    Gateway { id: String, name: String, created_at: String, labels: Labels }
    /// A route table.
    RouteTable {
        id: String, name: String, created_at: String, labels: Labels, network_id: String, static_routes: Vec<StaticRoute>,
    }
    /// Where packets to a range go.
    StaticRoute { destination_prefix: String, gateway_id: String, next_hop_address: String }
    /// An address.
    Address { id: String, name: String, created_at: String, labels: Labels, reserved: bool, used: bool, external_ipv4_address: ExternalAddress }
    /// A public address.
    ExternalAddress { address: String, zone_id: String }
    /// A disk; its size is in bytes.
    Disk {
        id: String, name: String, created_at: String, labels: Labels, type_id: String, zone_id: String,
        #[serde(deserialize_with = "number")] size: i64, status: String, instance_ids: Vec<String>,
    }
    /// An image.
    Image { id: String, family: String, #[serde(deserialize_with = "number")] min_disk_size: i64, status: String }
    /// A machine.
    Instance {
        id: String, name: String, created_at: String, labels: Labels, zone_id: String, platform_id: String, status: String,
        resources: InstanceResources, network_interfaces: Vec<NetworkInterface>, fqdn: String, boot_disk: AttachedDisk,
        secondary_disks: Vec<AttachedDisk>,
    }
    /// What lists leave out of a machine: its metadata, which holds keys.
    InstanceMetadata { metadata: Labels }
    /// What a machine is made of; memory is in bytes.
    InstanceResources {
        #[serde(deserialize_with = "number")] memory: i64, #[serde(deserialize_with = "number")] cores: i64,
        #[serde(deserialize_with = "number")] core_fraction: i64,
    }
    /// How a machine is connected.
    NetworkInterface { index: String, subnet_id: String, primary_v4_address: PrimaryAddress, security_group_ids: Vec<String> }
    /// The address of a machine in its subnet.
    PrimaryAddress { address: String, one_to_one_nat: Option<OneToOneNat> }
    /// The public address of a machine.
    OneToOneNat { address: String }
    /// A disk of a machine.
    AttachedDisk { disk_id: String, auto_delete: bool, device_name: String }
    /// An instance group.
    InstanceGroup {
        id: String, name: String, created_at: String, labels: Labels, status: String, load_balancer_state: LoadBalancerState,
        service_account_id: String, scale_policy: ScalePolicy, deploy_policy: DeployPolicy, allocation_policy: AllocationPolicy,
        instance_template: Value, health_checks_spec: Value,
    }
    /// How many machines may be missing or surplus while a group is changed.
    DeployPolicy {
        #[serde(deserialize_with = "number")] max_unavailable: i64, #[serde(deserialize_with = "number")] max_expansion: i64,
    }
    /// The zones of a group.
    AllocationPolicy { zones: Vec<AllocationZone> }
    /// A zone of a group.
    AllocationZone { zone_id: String }
    /// How many machines a group is to have.
    ScalePolicy { fixed_scale: FixedScale }
    /// A number of machines.
    FixedScale { #[serde(deserialize_with = "number")] size: i64 }
    /// What a group tells a balancer.
    LoadBalancerState { target_group_id: String, status_message: String }
    /// A machine of a group.
    ManagedInstance {
        id: String, status: String, instance_id: String, fqdn: String, name: String, zone_id: String,
        network_interfaces: Vec<NetworkInterface>, status_message: String,
    }
    /// A service account.
    ServiceAccount { id: String, name: String, created_at: String, labels: Labels }
    /// Someone's role.
    AccessBinding { role_id: String, subject: Subject }
    /// Someone.
    Subject { id: String, r#type: String }
    /// Something of a catalogue.
    CatalogueItem { id: String }
    /// A folder.
    Folder { id: String, cloud_id: String, name: String, status: String }
    /// A network load balancer.
    LoadBalancer {
        id: String, name: String, created_at: String, labels: Labels, status: String, listeners: Vec<Listener>,
        attached_target_groups: Vec<AttachedTargetGroup>,
    }
    /// The machines of a balancer.
    AttachedTargetGroup { target_group_id: String, health_checks: Vec<Value> }
    /// A port that a balancer listens on.
    Listener { name: String, address: String, port: String, target_port: String, protocol: String }
    /// A group of balanced machines.
    TargetGroup { id: String, name: String, created_at: String, labels: Labels, targets: Vec<Target> }
    /// A balanced machine.
    Target { subnet_id: String, address: String }
    /// A PostgreSQL cluster.
    Cluster {
        id: String, name: String, created_at: String, labels: Labels, status: String, health: String, config: ClusterConfig,
        security_group_ids: Vec<String>,
    }
    /// The settings of a PostgreSQL cluster; those of the server are under the name of its version.
    ClusterConfig {
        version: String, resources: ClusterResources, backup_window_start: TimeOfDay,
        #[serde(deserialize_with = "number")] backup_retain_period_days: i64, #[serde(flatten)] others: Map<String, Value>,
    }
    /// A time of the day.
    TimeOfDay { hours: u32, minutes: u32 }
    /// What the hosts of a PostgreSQL cluster are made of; the size of the disk is in bytes.
    ClusterResources { resource_preset_id: String, #[serde(deserialize_with = "number")] disk_size: i64, disk_type_id: String }
    /// A database of a PostgreSQL cluster.
    ClusterDatabase { name: String, owner: String, extensions: Vec<Extension> }
    /// A backup of a PostgreSQL cluster.
    ClusterBackup { id: String, created_at: String }
    /// An extension of a database.
    Extension { name: String }
    /// A login of a PostgreSQL cluster.
    ClusterUser { name: String, permissions: Vec<Permission> }
    /// A database that a login may use.
    Permission { database_name: String }
    /// A host of a PostgreSQL cluster.
    ClusterHost { name: String, zone_id: String, subnet_id: String, assign_public_ip: bool }
    /// A registry of container images.
    Registry { id: String, name: String, created_at: String, labels: Labels, status: String }
    /// An image in a registry.
    ContainerImage { id: String }
    /// A zone of names.
    DnsZone {
        id: String, name: String, created_at: String, labels: Labels, zone: String,
        private_visibility: Option<PrivateVisibility>,
    }
    /// The networks that see a zone.
    PrivateVisibility { network_ids: Vec<String> }
    /// Records of one name and type.
    RecordSet { name: String, r#type: String, #[serde(deserialize_with = "number")] ttl: i64, data: Vec<String> }
    /// A quota.
    Quota { quota_id: String, limit: f64, usage: f64 }
}
