//! The calls, one builder each. A builder's setters are the fields of the request; those of an update also name the field in
//! `updateMask`, because a `PATCH` without a mask resets what it does not name.

use std::{collections::BTreeMap, time::Duration};

use reqwest::Method;
use serde_json::{Map, Value, json};

use super::{
    Client, Operation, Request, Result, Service,
    objects::{
        AccessBinding, Address, CatalogueItem, Cluster, ClusterBackup, ClusterDatabase, ClusterHost, ClusterUser,
        ContainerImage, Disk, DnsZone, Folder, Gateway, Image, Instance, InstanceGroup, LoadBalancer, ManagedInstance,
        Network, Quota, RecordSet, Registry, RouteTable, SecurityGroup, ServiceAccount, Subnet, TargetGroup,
        UsedAddress,
    },
};

/// Labels of an object.
pub type Labels = BTreeMap<String, String>;

/// `snake_case` as the API writes it: `folder_id` is `folderId`, `v4_cidr_blocks` is `v4CidrBlocks`.
fn camel(name: &str) -> String {
    let mut text = String::new();
    for part in name.split('_') {
        let mut letters = part.chars();
        match letters.next() {
            Some(first) if !text.is_empty() => text.extend(first.to_uppercase().chain(letters)),
            _ => text.push_str(part),
        }
    }
    text
}

/// Whether a call has a body at all: removals have none, nor have the start of anything but a machine and a backup.
fn takes_body(method: &Method, path: &str) -> bool {
    let nothing = path.ends_with(":backup") || path.ends_with(":start") && !path.contains("/instances/");
    method != Method::DELETE && !nothing
}

/// The form of a call: what there is of it in the source, for whoever compares that with the descriptors of the API.
#[derive(Clone, Copy, Debug)]
pub struct CallForm {
    /// The HTTP method.
    pub method: &'static str,
    /// The path, with the names of its parts in braces.
    pub path: &'static str,
    /// The fields that have setters, in `snake_case`.
    pub fields: &'static [&'static str],
}

macro_rules! calls {
    ($(
        $(#[$about:meta])*
        $builder:ident = $begin:ident($($part:ident),*) $method:ident $service:ident $path:literal within $minutes:literal min
        { $($field:ident : $type:ty),* $(,)? }
    )+) => {
        /// All calls that change something.
        pub const CALLS: &[CallForm] = &[$(
            CallForm { method: stringify!($method), path: $path, fields: &[$(stringify!($field)),*] },
        )+];

        $(
            $(#[$about])*
            #[derive(Clone)]
            #[must_use = "call `send`"]
            pub struct $builder<'a> {
                client: &'a Client,
                path: String,
                body: Map<String, Value>,
                time: Duration,
            }

            impl $builder<'_> {
                $(
                    #[doc = concat!("Sets `", stringify!($field), "`.")]
                    pub fn $field(mut self, value: $type) -> Self {
                        let name = camel(stringify!($field).trim_start_matches("r#"));
                        if Method::$method == Method::PATCH {
                            let mask = self.body.get("updateMask").and_then(Value::as_str).unwrap_or_default();
                            let mask = if mask.is_empty() { name.clone() } else { format!("{mask},{name}") };
                            self.body.insert("updateMask".to_owned(), mask.into());
                        }
                        self.body.insert(name, json!(value));
                        self
                    }
                )*

                /// Waits for the end of the operation for this long, instead of as long as such calls take.
                pub fn within(mut self, time: Duration) -> Self {
                    self.time = time;
                    self
                }

                /// Adds fields of the request that have no setter.
                pub fn also(mut self, fields: Map<String, Value>) -> Self {
                    self.body.extend(fields);
                    self
                }

                /// Sends the call and waits until its operation has ended. The token is that of the intent that the call is a
                /// part of: the same call of the same intent is carried out once, however often it is sent.
                ///
                /// # Errors
                /// When the cloud refuses, or the operation fails or does not end in time.
                pub async fn send(self, token: &str) -> Result<Operation> {
                    let method = Method::$method;
                    let body = takes_body(&method, &self.path).then_some(Value::Object(self.body));
                    let request = Request {
                        method, service: Service::$service, path: self.path, query: Vec::new(), body, key: None,
                    };
                    self.client.carry_out(stringify!($builder), request, token, self.time).await
                }
            }

            impl Client {
                $(#[$about])*
                pub fn $begin(&self, $($part: &str),*) -> $builder<'_> {
                    $builder { client: self, path: format!($path), body: Map::new(), time: Duration::from_mins($minutes) }
                }
            }
        )+
    };
}

calls! {
    /// Makes a network.
    CreateNetwork = create_network() POST Vpc "/vpc/v1/networks" within 5 min
    { folder_id: &str, name: &str, labels: &Labels }
    /// Changes a network; its labels are replaced as a whole.
    UpdateNetwork = update_network(id) PATCH Vpc "/vpc/v1/networks/{id}" within 5 min { labels: &Labels }
    /// Removes a network.
    DeleteNetwork = delete_network(id) DELETE Vpc "/vpc/v1/networks/{id}" within 5 min {}
    /// Changes a security group; its rules are replaced as a whole, and its labels.
    UpdateSecurityGroup = update_security_group(id) PATCH Vpc "/vpc/v1/securityGroups/{id}" within 5 min
    { rule_specs: Vec<Value>, labels: &Labels }
    /// Makes a security group.
    CreateSecurityGroup = create_security_group() POST Vpc "/vpc/v1/securityGroups" within 5 min
    { folder_id: &str, name: &str, labels: &Labels, network_id: &str, rule_specs: Vec<Value> }
    /// Removes a security group.
    DeleteSecurityGroup = delete_security_group(id) DELETE Vpc "/vpc/v1/securityGroups/{id}" within 5 min {}
    /// Makes a gateway; `shared_egress_gateway_spec` must be given, although it is empty.
    CreateGateway = create_gateway() POST Vpc "/vpc/v1/gateways" within 5 min
    { folder_id: &str, name: &str, labels: &Labels, shared_egress_gateway_spec: Value }
    /// Changes a gateway; its labels are replaced as a whole.
    UpdateGateway = update_gateway(id) PATCH Vpc "/vpc/v1/gateways/{id}" within 5 min { labels: &Labels }
    /// Removes a gateway.
    DeleteGateway = delete_gateway(id) DELETE Vpc "/vpc/v1/gateways/{id}" within 5 min {}
    /// Makes a route table.
    CreateRouteTable = create_route_table() POST Vpc "/vpc/v1/routeTables" within 5 min
    { folder_id: &str, name: &str, labels: &Labels, network_id: &str, static_routes: Vec<Value> }
    /// Changes a route table; its labels and its routes are replaced as a whole.
    UpdateRouteTable = update_route_table(id) PATCH Vpc "/vpc/v1/routeTables/{id}" within 5 min
    { labels: &Labels, static_routes: Vec<Value> }
    /// Removes a route table.
    DeleteRouteTable = delete_route_table(id) DELETE Vpc "/vpc/v1/routeTables/{id}" within 5 min {}
    /// Makes a subnet.
    CreateSubnet = create_subnet() POST Vpc "/vpc/v1/subnets" within 5 min
    { folder_id: &str, name: &str, labels: &Labels, network_id: &str, zone_id: &str, v4_cidr_blocks: Vec<&str>, route_table_id: &str }
    /// Changes a subnet; its labels are replaced as a whole.
    UpdateSubnet = update_subnet(id) PATCH Vpc "/vpc/v1/subnets/{id}" within 5 min
    { labels: &Labels, route_table_id: &str }
    /// Adds ranges to a subnet.
    AddCidrBlocks = add_cidr_blocks(id) POST Vpc "/vpc/v1/subnets/{id}:add-cidr-blocks" within 5 min
    { v4_cidr_blocks: Vec<&str> }
    /// Removes ranges of a subnet: no address may be in use of them.
    RemoveCidrBlocks = remove_cidr_blocks(id) POST Vpc "/vpc/v1/subnets/{id}:remove-cidr-blocks" within 5 min
    { v4_cidr_blocks: Vec<&str> }
    /// Removes a subnet.
    DeleteSubnet = delete_subnet(id) DELETE Vpc "/vpc/v1/subnets/{id}" within 5 min {}
    /// Reserves an address.
    CreateAddress = create_address() POST Vpc "/vpc/v1/addresses" within 30 min
    { folder_id: &str, name: &str, labels: &Labels, external_ipv4_address_spec: Value }
    /// Changes an address; its labels are replaced as a whole.
    UpdateAddress = update_address(id) PATCH Vpc "/vpc/v1/addresses/{id}" within 30 min
    { name: &str, labels: &Labels, reserved: bool }
    /// Gives an address back.
    DeleteAddress = delete_address(id) DELETE Vpc "/vpc/v1/addresses/{id}" within 30 min {}
    /// Makes a disk; its size is in bytes.
    CreateDisk = create_disk() POST Compute "/compute/v1/disks" within 10 min
    { folder_id: &str, name: &str, labels: &Labels, type_id: &str, zone_id: &str, size: String }
    /// Changes a disk; it can only grow, and its labels are replaced as a whole.
    UpdateDisk = update_disk(id) PATCH Compute "/compute/v1/disks/{id}" within 10 min { size: String, labels: &Labels }
    /// Removes a disk.
    DeleteDisk = delete_disk(id) DELETE Compute "/compute/v1/disks/{id}" within 10 min {}
    /// Makes a machine.
    CreateInstance = create_instance() POST Compute "/compute/v1/instances" within 15 min
    {
        folder_id: &str, name: &str, labels: &Labels, zone_id: &str, platform_id: &str, resources_spec: Value,
        metadata: &Labels, boot_disk_spec: Value, secondary_disk_specs: Vec<Value>, network_interface_specs: Vec<Value>,
        hostname: &str,
    }
    /// Changes a machine; its size only while it is stopped.
    UpdateInstance = update_instance(id) PATCH Compute "/compute/v1/instances/{id}" within 15 min
    { resources_spec: Value, platform_id: &str, labels: &Labels }
    /// Sets metadata of a machine, beside what it has; it runs on, and reads it at its next first boot.
    UpdateInstanceMetadata = update_instance_metadata(id) POST Compute "/compute/v1/instances/{id}/updateMetadata" within 10 min
    { upsert: &Labels }
    /// Changes how a machine is connected.
    UpdateNetworkInterface = update_network_interface(id) PATCH Compute "/compute/v1/instances/{id}/updateNetworkInterface" within 10 min
    { security_group_ids: Vec<&str> }
    /// Gives a machine a public address.
    AddOneToOneNat = add_one_to_one_nat(id) POST Compute "/compute/v1/instances/{id}/addOneToOneNat" within 10 min
    { network_interface_index: &str, one_to_one_nat_spec: Value }
    /// Takes the public address of a machine away.
    RemoveOneToOneNat = remove_one_to_one_nat(id) POST Compute "/compute/v1/instances/{id}/removeOneToOneNat" within 10 min
    { network_interface_index: &str }
    /// Attaches a disk to a machine.
    AttachDisk = attach_disk(id) POST Compute "/compute/v1/instances/{id}:attachDisk" within 10 min { attached_disk_spec: Value }
    /// Detaches a disk from a machine.
    DetachDisk = detach_disk(id) POST Compute "/compute/v1/instances/{id}:detachDisk" within 10 min { disk_id: &str }
    /// Starts a machine.
    StartInstance = start_instance(id) POST Compute "/compute/v1/instances/{id}:start" within 10 min {}
    /// Stops a machine.
    StopInstance = stop_instance(id) POST Compute "/compute/v1/instances/{id}:stop" within 10 min {}
    /// Removes a machine.
    DeleteInstance = delete_instance(id) DELETE Compute "/compute/v1/instances/{id}" within 15 min {}
    /// Makes an instance group.
    CreateInstanceGroup = create_instance_group() POST Compute "/compute/v1/instanceGroups" within 40 min
    {
        folder_id: &str, name: &str, labels: &Labels, service_account_id: &str, instance_template: Value, scale_policy: Value,
        deploy_policy: Value, allocation_policy: Value,
    }
    /// Changes an instance group; the service wants the template and the policies whenever one of them changes.
    UpdateInstanceGroup = update_instance_group(id) PATCH Compute "/compute/v1/instanceGroups/{id}" within 40 min
    {
        service_account_id: &str, instance_template: Value, scale_policy: Value, deploy_policy: Value, allocation_policy: Value,
        health_checks_spec: Value, auto_healing_policy: Value,
    }
    /// Lets a group that was paused work on its machines again.
    ResumeInstanceGroup = resume_instance_group(id) POST Compute "/compute/v1/instanceGroups/{id}:resumeProcesses" within 10 min {}
    /// Starts the machines of a group.
    StartInstanceGroup = start_instance_group(id) POST Compute "/compute/v1/instanceGroups/{id}:start" within 40 min {}
    /// Removes an instance group and its machines.
    DeleteInstanceGroup = delete_instance_group(id) DELETE Compute "/compute/v1/instanceGroups/{id}" within 40 min {}
    /// Makes a service account.
    CreateServiceAccount = create_service_account() POST Iam "/iam/v1/serviceAccounts" within 5 min
    { folder_id: &str, name: &str, labels: &Labels }
    /// Changes a service account; its labels are replaced as a whole.
    UpdateServiceAccount = update_service_account(id) PATCH Iam "/iam/v1/serviceAccounts/{id}" within 5 min { labels: &Labels }
    /// Removes a service account.
    DeleteServiceAccount = delete_service_account(id) DELETE Iam "/iam/v1/serviceAccounts/{id}" within 5 min {}
    /// Adds and removes roles on a service account, leaving all others as they are.
    UpdateAccountBindings = update_account_bindings(id) POST Iam "/iam/v1/serviceAccounts/{id}:updateAccessBindings" within 5 min
    { access_binding_deltas: Vec<Value> }
    /// Adds and removes roles on a folder, leaving all others as they are.
    UpdateFolderBindings = update_folder_bindings(id) POST ResourceManager "/resource-manager/v1/folders/{id}:updateAccessBindings" within 5 min
    { access_binding_deltas: Vec<Value> }
    /// Makes a network load balancer.
    CreateLoadBalancer = create_load_balancer() POST LoadBalancer "/load-balancer/v1/networkLoadBalancers" within 10 min
    {
        folder_id: &str, name: &str, labels: &Labels, region_id: &str, r#type: &str, listener_specs: Vec<Value>,
        attached_target_groups: Vec<Value>,
    }
    /// Changes a network load balancer; listeners and groups are replaced as a whole.
    UpdateLoadBalancer = update_load_balancer(id) PATCH LoadBalancer "/load-balancer/v1/networkLoadBalancers/{id}" within 10 min
    { listener_specs: Vec<Value>, attached_target_groups: Vec<Value> }
    /// Takes a listener off a network load balancer.
    RemoveListener = remove_listener(id) POST LoadBalancer "/load-balancer/v1/networkLoadBalancers/{id}:removeListener" within 10 min
    { listener_name: &str }
    /// Starts a network load balancer that is stopped.
    StartLoadBalancer = start_load_balancer(id) POST LoadBalancer "/load-balancer/v1/networkLoadBalancers/{id}:start" within 10 min {}
    /// Removes a network load balancer.
    DeleteLoadBalancer = delete_load_balancer(id) DELETE LoadBalancer "/load-balancer/v1/networkLoadBalancers/{id}" within 10 min {}
    /// Makes a group of balanced machines.
    CreateTargetGroup = create_target_group() POST LoadBalancer "/load-balancer/v1/targetGroups" within 10 min
    { folder_id: &str, name: &str, labels: &Labels, region_id: &str, targets: Vec<Value> }
    /// Changes a group of balanced machines.
    UpdateTargetGroup = update_target_group(id) PATCH LoadBalancer "/load-balancer/v1/targetGroups/{id}" within 10 min
    { targets: Vec<Value> }
    /// Removes a group of balanced machines.
    DeleteTargetGroup = delete_target_group(id) DELETE LoadBalancer "/load-balancer/v1/targetGroups/{id}" within 10 min {}
    /// Makes a PostgreSQL cluster.
    CreateCluster = create_cluster() POST ManagedPostgresql "/managed-postgresql/v1/clusters" within 40 min
    {
        folder_id: &str, name: &str, labels: &Labels, environment: &str, network_id: &str, security_group_ids: Vec<&str>,
        config_spec: Value, database_specs: Vec<Value>, user_specs: Vec<Value>, host_specs: Vec<Value>,
    }
    /// Changes a PostgreSQL cluster.
    UpdateCluster = update_cluster(id) PATCH ManagedPostgresql "/managed-postgresql/v1/clusters/{id}" within 60 min
    { config_spec: Value, security_group_ids: Vec<&str> }
    /// Changes hosts of a PostgreSQL cluster.
    UpdateClusterHosts = update_cluster_hosts(id) POST ManagedPostgresql "/managed-postgresql/v1/clusters/{id}/hosts:batchUpdate" within 15 min
    { update_host_specs: Vec<Value> }
    /// Starts a PostgreSQL cluster that is stopped.
    StartCluster = start_cluster(id) POST ManagedPostgresql "/managed-postgresql/v1/clusters/{id}:start" within 20 min {}
    /// Backs up a PostgreSQL cluster.
    BackupCluster = backup_cluster(id) POST ManagedPostgresql "/managed-postgresql/v1/clusters/{id}:backup" within 720 min {}
    /// Removes a PostgreSQL cluster.
    DeleteCluster = delete_cluster(id) DELETE ManagedPostgresql "/managed-postgresql/v1/clusters/{id}" within 20 min {}
    /// Makes a database of a cluster.
    CreateDatabase = create_database(cluster) POST ManagedPostgresql "/managed-postgresql/v1/clusters/{cluster}/databases" within 15 min
    { database_spec: Value }
    /// Changes a database of a cluster.
    UpdateDatabase = update_database(cluster, name) PATCH ManagedPostgresql "/managed-postgresql/v1/clusters/{cluster}/databases/{name}" within 15 min
    { extensions: Value, owner: &str }
    /// Makes a login of a cluster.
    CreateUser = create_user(cluster) POST ManagedPostgresql "/managed-postgresql/v1/clusters/{cluster}/users" within 15 min
    { user_spec: Value }
    /// Changes a login of a cluster.
    UpdateUser = update_user(cluster, name) PATCH ManagedPostgresql "/managed-postgresql/v1/clusters/{cluster}/users/{name}" within 15 min
    { password: &str, permissions: Value }
    /// Removes a login of a cluster.
    DeleteUser = delete_user(cluster, name) DELETE ManagedPostgresql "/managed-postgresql/v1/clusters/{cluster}/users/{name}" within 15 min {}
    /// Makes a registry of container images.
    CreateRegistry = create_registry() POST ContainerRegistry "/container-registry/v1/registries" within 5 min
    { folder_id: &str, name: &str, labels: &Labels }
    /// Changes a registry; its labels are replaced as a whole.
    UpdateRegistry = update_registry(id) PATCH ContainerRegistry "/container-registry/v1/registries/{id}" within 5 min { labels: &Labels }
    /// Removes a container image.
    DeleteImage = delete_image(id) DELETE ContainerRegistry "/container-registry/v1/images/{id}" within 5 min {}
    /// Removes a registry, when it is empty.
    DeleteRegistry = delete_registry(id) DELETE ContainerRegistry "/container-registry/v1/registries/{id}" within 5 min {}
    /// Makes a zone of names.
    CreateDnsZone = create_dns_zone() POST Dns "/dns/v1/zones" within 5 min
    { folder_id: &str, name: &str, labels: &Labels, zone: &str, private_visibility: Value, public_visibility: Value }
    /// Changes a zone of names; its labels are replaced as a whole.
    UpdateDnsZone = update_dns_zone(id) PATCH Dns "/dns/v1/zones/{id}" within 5 min
    { labels: &Labels, private_visibility: Value, public_visibility: Value }
    /// Removes a zone of names.
    DeleteDnsZone = delete_dns_zone(id) DELETE Dns "/dns/v1/zones/{id}" within 5 min {}
    /// Sets and removes records of a zone.
    UpsertRecordSets = upsert_record_sets(zone) POST Dns "/dns/v1/zones/{zone}:upsertRecordSets" within 5 min
    { deletions: Vec<Value>, replacements: Vec<Value> }
}

/// What the cloud has for all folders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Catalogue {
    /// Availability zones.
    Zones,
    /// Types of disks.
    DiskTypes,
    /// Roles.
    Roles,
    /// Classes of hosts of PostgreSQL clusters.
    PostgresClasses,
}

/// Kinds that are listed by folder.
pub trait Listed: serde::de::DeserializeOwned {
    /// The service.
    const SERVICE: Service;
    /// The path of the collection.
    const PATH: &'static str;
    /// The field of a page that holds the objects.
    const KEY: &'static str;
    /// What an answer shows, where that is not everything that it can: metadata of machines is left out otherwise.
    const VIEW: Option<&'static str>;

    /// Its id.
    fn id(&self) -> &str;

    /// Its name.
    fn name(&self) -> &str;

    /// Its labels.
    fn labels(&self) -> &Labels;
}

macro_rules! listed {
    ($($type:ident $service:ident $path:literal $key:literal $view:expr;)+) => {
        $(impl Listed for $type {
            const SERVICE: Service = Service::$service;
            const PATH: &'static str = $path;
            const KEY: &'static str = $key;
            const VIEW: Option<&'static str> = $view;

            fn id(&self) -> &str {
                &self.id
            }

            fn name(&self) -> &str {
                &self.name
            }

            fn labels(&self) -> &Labels {
                &self.labels
            }
        })+
    };
}

listed! {
    Network Vpc "/vpc/v1/networks" "networks" None;
    Subnet Vpc "/vpc/v1/subnets" "subnets" None;
    SecurityGroup Vpc "/vpc/v1/securityGroups" "securityGroups" None;
    Gateway Vpc "/vpc/v1/gateways" "gateways" None;
    RouteTable Vpc "/vpc/v1/routeTables" "routeTables" None;
    Address Vpc "/vpc/v1/addresses" "addresses" None;
    Disk Compute "/compute/v1/disks" "disks" None;
    Instance Compute "/compute/v1/instances" "instances" None;
    InstanceGroup Compute "/compute/v1/instanceGroups" "instanceGroups" Some("FULL");
    ServiceAccount Iam "/iam/v1/serviceAccounts" "serviceAccounts" None;
    LoadBalancer LoadBalancer "/load-balancer/v1/networkLoadBalancers" "networkLoadBalancers" None;
    TargetGroup LoadBalancer "/load-balancer/v1/targetGroups" "targetGroups" None;
    Cluster ManagedPostgresql "/managed-postgresql/v1/clusters" "clusters" None;
    Registry ContainerRegistry "/container-registry/v1/registries" "registries" None;
    DnsZone Dns "/dns/v1/zones" "dnsZones" None;
}

impl Client {
    /// All objects of a kind in a folder, page by page.
    ///
    /// # Errors
    /// When the cloud refuses or does not answer.
    pub async fn list<T: Listed>(&self, folder: &str) -> Result<Vec<T>> {
        let mut query = vec![("folderId", folder.to_owned())];
        query.extend(T::VIEW.map(|view| ("view", view.to_owned())));
        self.pages(T::SERVICE, T::PATH, T::KEY, &query).await
    }

    /// One object.
    ///
    /// # Errors
    /// When it does not exist, or the cloud refuses.
    pub async fn describe<T: Listed>(&self, id: &str) -> Result<T> {
        let query = T::VIEW.map(|view| ("view", view.to_owned())).into_iter().collect();
        self.get(T::SERVICE, format!("{}/{id}", T::PATH), query).await
    }

    /// The ids in a catalogue of the cloud.
    ///
    /// # Errors
    /// When the cloud refuses or does not answer.
    pub async fn catalogue(&self, catalogue: Catalogue) -> Result<Vec<String>> {
        let (service, path, key) = match catalogue {
            Catalogue::Zones => (Service::Compute, "/compute/v1/zones", "zones"),
            Catalogue::DiskTypes => (Service::Compute, "/compute/v1/diskTypes", "diskTypes"),
            Catalogue::Roles => (Service::Iam, "/iam/v1/roles", "roles"),
            Catalogue::PostgresClasses => {
                (Service::ManagedPostgresql, "/managed-postgresql/v1/resourcePresets", "resourcePresets")
            }
        };
        let items: Vec<CatalogueItem> = self.pages(service, path, key, &[]).await?;
        Ok(items.into_iter().map(|item| item.id).collect())
    }

    /// The newest image of a family in a folder.
    ///
    /// # Errors
    /// When there is none.
    pub async fn latest_image(&self, folder: &str, family: &str) -> Result<Image> {
        let query = vec![("folderId", folder.to_owned()), ("family", family.to_owned())];
        self.get(Service::Compute, "/compute/v1/images:latestByFamily".to_owned(), query).await
    }

    /// Who has which role on a folder.
    ///
    /// # Errors
    /// When the cloud refuses or does not answer.
    pub async fn folder_bindings(&self, folder: &str) -> Result<Vec<AccessBinding>> {
        let path = format!("/resource-manager/v1/folders/{folder}:listAccessBindings");
        self.pages(Service::ResourceManager, &path, "accessBindings", &[]).await
    }

    /// Who has which role on a service account.
    ///
    /// # Errors
    /// When it does not exist, or the cloud refuses.
    pub async fn account_bindings(&self, id: &str) -> Result<Vec<AccessBinding>> {
        self.pages(Service::Iam, &format!("/iam/v1/serviceAccounts/{id}:listAccessBindings"), "accessBindings", &[])
            .await
    }

    /// A folder.
    ///
    /// # Errors
    /// When it does not exist, or the caller may not see it.
    pub async fn folder(&self, id: &str) -> Result<Folder> {
        self.get(Service::ResourceManager, format!("/resource-manager/v1/folders/{id}"), Vec::new()).await
    }

    /// The machines of an instance group.
    ///
    /// # Errors
    /// When the cloud refuses or does not answer.
    pub async fn group_instances(&self, group: &str) -> Result<Vec<ManagedInstance>> {
        let path = format!("/compute/v1/instanceGroups/{group}/instances");
        self.pages(Service::Compute, &path, "instances", &[]).await
    }

    /// The metadata of a machine, which lists leave out.
    ///
    /// # Errors
    /// When it does not exist, or the cloud refuses.
    pub async fn metadata(&self, machine: &str) -> Result<Labels> {
        let query = vec![("view", "FULL".to_owned())];
        let path = format!("/compute/v1/instances/{machine}");
        Ok(self.get::<super::objects::InstanceMetadata>(Service::Compute, path, query).await?.metadata)
    }

    /// An instance group with its template, as the service writes it: an update must give it back.
    ///
    /// # Errors
    /// When it does not exist, or the cloud refuses.
    pub async fn group_as_it_is(&self, id: &str) -> Result<Value> {
        let query = vec![("view", "FULL".to_owned())];
        self.get(Service::Compute, format!("/compute/v1/instanceGroups/{id}"), query).await
    }

    /// The images in a registry.
    ///
    /// # Errors
    /// When it does not exist, or the cloud refuses.
    pub async fn images(&self, registry: &str) -> Result<Vec<ContainerImage>> {
        let query = [("registryId", registry.to_owned())];
        self.pages(Service::ContainerRegistry, "/container-registry/v1/images", "images", &query).await
    }

    /// The records of a zone.
    ///
    /// # Errors
    /// When the cloud refuses or does not answer.
    pub async fn record_sets(&self, zone: &str) -> Result<Vec<RecordSet>> {
        self.pages(Service::Dns, &format!("/dns/v1/zones/{zone}:listRecordSets"), "recordSets", &[]).await
    }

    /// The addresses of a subnet that are in use.
    ///
    /// # Errors
    /// When the cloud refuses or does not answer.
    pub async fn used_addresses(&self, subnet: &str) -> Result<Vec<UsedAddress>> {
        self.pages(Service::Vpc, &format!("/vpc/v1/subnets/{subnet}/addresses"), "addresses", &[]).await
    }

    /// The databases of a PostgreSQL cluster.
    ///
    /// # Errors
    /// When the cloud refuses or does not answer.
    pub async fn cluster_databases(&self, cluster: &str) -> Result<Vec<ClusterDatabase>> {
        let path = format!("/managed-postgresql/v1/clusters/{cluster}/databases");
        self.pages(Service::ManagedPostgresql, &path, "databases", &[]).await
    }

    /// The logins of a PostgreSQL cluster.
    ///
    /// # Errors
    /// When the cloud refuses or does not answer.
    pub async fn cluster_users(&self, cluster: &str) -> Result<Vec<ClusterUser>> {
        let path = format!("/managed-postgresql/v1/clusters/{cluster}/users");
        self.pages(Service::ManagedPostgresql, &path, "users", &[]).await
    }

    /// The backups of a PostgreSQL cluster.
    ///
    /// # Errors
    /// When the cloud refuses or does not answer.
    pub async fn cluster_backups(&self, cluster: &str) -> Result<Vec<ClusterBackup>> {
        let path = format!("/managed-postgresql/v1/clusters/{cluster}/backups");
        self.pages(Service::ManagedPostgresql, &path, "backups", &[]).await
    }

    /// The hosts of a PostgreSQL cluster.
    ///
    /// # Errors
    /// When the cloud refuses or does not answer.
    pub async fn cluster_hosts(&self, cluster: &str) -> Result<Vec<ClusterHost>> {
        let path = format!("/managed-postgresql/v1/clusters/{cluster}/hosts");
        self.pages(Service::ManagedPostgresql, &path, "hosts", &[]).await
    }

    /// The quotas of a cloud for one service, with what is used.
    ///
    /// # Errors
    /// When the cloud refuses or does not answer.
    pub async fn quotas(&self, cloud: &str, service: &str) -> Result<Vec<Quota>> {
        let query = [
            ("resource.id", cloud.to_owned()),
            ("resource.type", "resource-manager.cloud".to_owned()),
            ("service", service.to_owned()),
        ];
        self.pages(Service::QuotaManager, "/quota-manager/v1/quotaLimits", "quotaLimits", &query).await
    }
}

#[cfg(test)]
mod tests {
    use super::camel;

    #[test]
    fn names_are_written_as_the_api_writes_them() {
        assert_eq!(camel("folder_id"), "folderId");
        assert_eq!(camel("v4_cidr_blocks"), "v4CidrBlocks");
        assert_eq!(camel("external_ipv4_address_spec"), "externalIpv4AddressSpec");
    }
}
