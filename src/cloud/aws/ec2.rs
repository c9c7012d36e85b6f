//! Machines and networks: the EC2 API, version 2016-11-15. One builder a call; a builder's setters are the parameters.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Client, Result, Service, typed};
use crate::error::Error;

/// Tags of an object.
pub type Tags = BTreeMap<String, String>;

/// `snake_case` as the API writes it: `cidr_block` is `CidrBlock`.
fn pascal(name: &str) -> String {
    let mut text = String::new();
    for part in name.split('_') {
        let mut letters = part.chars();
        if let Some(first) = letters.next() {
            text.extend(first.to_uppercase().chain(letters));
        }
    }
    text
}

/// Whether a call may be sent again when no one knows whether it was carried out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Again {
    /// It changes nothing, or doing it twice is the same as doing it once.
    Yes,
    /// Only with a client token.
    WithToken,
    /// It must be looked up first.
    No,
}

macro_rules! calls {
    ($($(#[$about:meta])* $builder:ident = $begin:ident $again:ident { $($field:ident : $type:ty),* $(,)? })+) => {
        /// All calls that change something, by the names of their actions, with the parameters that have setters in `snake_case`:
        /// for whoever compares them with the model of the service.
        pub const CALLS: &[(&str, &[&str])] = &[$((stringify!($builder), &[$(stringify!($field)),*]),)+];

        $(
            $(#[$about])*
            #[derive(Clone)]
            #[must_use = "call `send`"]
            pub struct $builder<'a> {
                client: &'a Client,
                fields: Map<String, Value>,
            }

            impl $builder<'_> {
                $(
                    #[doc = concat!("Sets `", stringify!($field), "`.")]
                    pub fn $field(mut self, value: $type) -> Self {
                        self.fields.insert(pascal(stringify!($field)), json!(value));
                        self
                    }
                )*

                /// Sets several parameters, by the names that the API has for them.
                pub fn parameters(mut self, fields: Map<String, Value>) -> Self {
                    self.fields.extend(fields);
                    self
                }

                /// Tags the object in the moment in which it is made; what is made with it is of another kind.
                pub fn tags(mut self, kind: &str, tags: &Tags) -> Self {
                    let tags: Vec<Value> =
                        tags.iter().map(|(key, value)| json!({ "Key": key, "Value": value })).collect();
                    let all = self.fields.entry("TagSpecification").or_insert_with(|| json!([]));
                    if let Some(all) = all.as_array_mut() {
                        all.push(json!({ "ResourceType": kind, "Tag": tags }));
                    }
                    self
                }

                /// Sends the call.
                ///
                /// # Errors
                /// When the cloud refuses, or its answer is lost and the call must not be repeated blindly.
                pub async fn send(self) -> Result<Value> {
                    let repeatable = match Again::$again {
                        Again::Yes => true,
                        Again::WithToken => self.fields.contains_key("ClientToken"),
                        Again::No => false,
                    };
                    self.client.query(Service::Ec2, stringify!($builder), &self.fields, repeatable).await
                }
            }

            impl Client {
                $(#[$about])*
                pub fn $begin(&self) -> $builder<'_> {
                    $builder { client: self, fields: Map::new() }
                }
            }
        )+
    };
}

calls! {
    /// Makes a network.
    CreateVpc = create_vpc No { cidr_block: &str }
    /// Switches a feature of a network on, one a call.
    ModifyVpcAttribute = modify_vpc_attribute Yes { vpc_id: &str, enable_dns_hostnames: Value }
    /// Gives a network a further range of addresses.
    AssociateVpcCidrBlock = associate_vpc_cidr_block No { vpc_id: &str, cidr_block: &str }
    /// Removes a network.
    DeleteVpc = delete_vpc Yes { vpc_id: &str }
    /// Makes a gateway to the world.
    CreateInternetGateway = create_internet_gateway No {}
    /// Gives a network its gateway to the world.
    AttachInternetGateway = attach_internet_gateway Yes { internet_gateway_id: &str, vpc_id: &str }
    /// Takes the gateway to the world away from a network.
    DetachInternetGateway = detach_internet_gateway Yes { internet_gateway_id: &str, vpc_id: &str }
    /// Removes a gateway to the world.
    DeleteInternetGateway = delete_internet_gateway Yes { internet_gateway_id: &str }
    /// Makes a subnet.
    CreateSubnet = create_subnet No { vpc_id: &str, cidr_block: &str, availability_zone: &str }
    /// Removes a subnet.
    DeleteSubnet = delete_subnet Yes { subnet_id: &str }
    /// Makes a route table.
    CreateRouteTable = create_route_table WithToken { vpc_id: &str, client_token: &str }
    /// Adds a route.
    CreateRoute = create_route Yes { route_table_id: &str, destination_cidr_block: &str, gateway_id: &str, nat_gateway_id: &str }
    /// Changes a route.
    ReplaceRoute = replace_route Yes { route_table_id: &str, destination_cidr_block: &str, gateway_id: &str, nat_gateway_id: &str }
    /// Removes a route.
    DeleteRoute = delete_route Yes { route_table_id: &str, destination_cidr_block: &str, destination_ipv6_cidr_block: &str }
    /// Gives a subnet another route table.
    ReplaceRouteTableAssociation = replace_route_table_association Yes { association_id: &str, route_table_id: &str }
    /// Gives a subnet its route table.
    AssociateRouteTable = associate_route_table Yes { route_table_id: &str, subnet_id: &str }
    /// Takes its route table away from a subnet.
    DisassociateRouteTable = disassociate_route_table Yes { association_id: &str }
    /// Removes a route table.
    DeleteRouteTable = delete_route_table Yes { route_table_id: &str }
    /// Makes a security group, which lets nothing in.
    CreateSecurityGroup = create_security_group No { group_name: &str, group_description: &str, vpc_id: &str }
    /// Lets something in.
    AuthorizeSecurityGroupIngress = authorize_ingress Yes { group_id: &str, ip_permissions: Vec<Value> }
    /// Lets something in no more.
    RevokeSecurityGroupIngress = revoke_ingress Yes { group_id: &str, security_group_rule_id: Vec<String> }
    /// Lets something out.
    AuthorizeSecurityGroupEgress = authorize_egress Yes { group_id: &str, ip_permissions: Vec<Value> }
    /// Lets something out no more.
    RevokeSecurityGroupEgress = revoke_egress Yes { group_id: &str, security_group_rule_id: Vec<String> }
    /// Changes what is said of rules that let something in.
    UpdateSecurityGroupRuleDescriptionsIngress = describe_ingress Yes { group_id: &str, ip_permissions: Vec<Value> }
    /// Changes what is said of rules that let something out.
    UpdateSecurityGroupRuleDescriptionsEgress = describe_egress Yes { group_id: &str, ip_permissions: Vec<Value> }
    /// Removes a security group.
    DeleteSecurityGroup = delete_security_group Yes { group_id: &str }
    /// Reserves a public address.
    AllocateAddress = allocate_address No { domain: &str }
    /// Gives a machine a public address, also when another one had it.
    AssociateAddress = associate_address Yes { allocation_id: &str, instance_id: &str, allow_reassociation: bool }
    /// Takes a public address away from a machine.
    DisassociateAddress = disassociate_address Yes { association_id: &str }
    /// Gives a public address back.
    ReleaseAddress = release_address Yes { allocation_id: &str }
    /// Makes a gateway for machines without a public address.
    CreateNatGateway = create_nat_gateway WithToken { subnet_id: &str, allocation_id: &str, client_token: &str }
    /// Removes a gateway for machines without a public address.
    DeleteNatGateway = delete_nat_gateway Yes { nat_gateway_id: &str }
    /// Makes a volume; its size is in GiB.
    CreateVolume = create_volume WithToken { availability_zone: &str, size: u64, volume_type: &str, encrypted: bool, client_token: &str }
    /// Changes a volume, which can only grow.
    ModifyVolume = modify_volume Yes { volume_id: &str, size: u64, volume_type: &str }
    /// Gives a machine a volume.
    AttachVolume = attach_volume Yes { volume_id: &str, instance_id: &str, device: &str }
    /// Takes a volume away from the machine that has it.
    DetachVolume = detach_volume Yes { volume_id: &str, instance_id: &str, force: bool }
    /// Removes a network interface that no machine has.
    DeleteNetworkInterface = delete_network_interface Yes { network_interface_id: &str }
    /// Removes a volume.
    DeleteVolume = delete_volume Yes { volume_id: &str }
    /// Makes machines.
    RunInstances = run_instances WithToken {
        image_id: &str, instance_type: &str, min_count: u32, max_count: u32, client_token: &str, user_data: &str,
        network_interface: Vec<Value>, block_device_mapping: Vec<Value>, metadata_options: Value,
    }
    /// Changes a machine; its type only while it is stopped.
    ModifyInstanceAttribute = modify_instance_attribute Yes { instance_id: &str, instance_type: Value, group_id: Vec<&str> }
    /// Starts machines.
    StartInstances = start_instances Yes { instance_id: Vec<&str> }
    /// Stops machines.
    StopInstances = stop_instances Yes { instance_id: Vec<&str> }
    /// Removes machines.
    TerminateInstances = terminate_instances Yes { instance_id: Vec<&str> }
    /// Makes a template of machines.
    CreateLaunchTemplate = create_launch_template WithToken { launch_template_name: &str, launch_template_data: Value, client_token: &str }
    /// Makes a new version of a template.
    CreateLaunchTemplateVersion = create_launch_template_version WithToken { launch_template_id: &str, launch_template_data: Value, client_token: &str }
    /// Removes a template with all of its versions.
    DeleteLaunchTemplate = delete_launch_template Yes { launch_template_id: &str }
    /// Tags objects.
    CreateTags = create_tags Yes { resource_id: Vec<&str>, tag: Vec<Value> }
}

/// A tag; services differ in how they write the names of its fields.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Tag {
    /// Its name.
    #[serde(alias = "Key")]
    pub key: String,
    /// Its value.
    #[serde(alias = "Value")]
    pub value: String,
}

macro_rules! objects {
    ($($(#[$about:meta])* $name:ident { $($field:ident : $type:ty),* $(,)? })+) => {
        $(
            $(#[$about])*
            #[derive(Clone, Debug, Default, Deserialize)]
            #[serde(rename_all = "camelCase", default)]
            pub struct $name {
                $(
                    #[doc = concat!("`", stringify!($field), "`.")]
                    pub $field: $type,
                )*
            }
        )+
    };
}

objects! {
    /// A network.
    Vpc {
        vpc_id: String, cidr_block: String, cidr_block_association_set: Vec<CidrBlock>, state: String, tag_set: Vec<Tag>,
    }
    /// An address range of a network.
    CidrBlock { association_id: String, cidr_block: String, cidr_block_state: CidrBlockState }
    /// What it is doing.
    CidrBlockState { state: String }
    /// A gateway to the world.
    InternetGateway { internet_gateway_id: String, attachment_set: Vec<GatewayAttachment>, tag_set: Vec<Tag> }
    /// The network of a gateway.
    GatewayAttachment { vpc_id: String, state: String }
    /// A subnet.
    Subnet { subnet_id: String, vpc_id: String, cidr_block: String, availability_zone: String, state: String, tag_set: Vec<Tag> }
    /// A route table.
    RouteTable {
        route_table_id: String, vpc_id: String, association_set: Vec<RouteTableAssociation>, route_set: Vec<Route>,
        tag_set: Vec<Tag>,
    }
    /// Where packets to a range go.
    Route {
        destination_cidr_block: String, destination_ipv6_cidr_block: String, gateway_id: String, nat_gateway_id: String,
        state: String,
    }
    /// Who uses a route table.
    RouteTableAssociation { route_table_association_id: String, subnet_id: String, main: String }
    /// A security group.
    SecurityGroup {
        group_id: String, group_name: String, vpc_id: String, ip_permissions: Vec<Permission>,
        ip_permissions_egress: Vec<Permission>, tag_set: Vec<Tag>,
    }
    /// What a security group lets through.
    Permission {
        ip_protocol: String, from_port: String, to_port: String, ip_ranges: Vec<IpRange>, ipv6_ranges: Vec<Ipv6Range>,
        groups: Vec<Group>, prefix_list_ids: Vec<PrefixList>,
    }
    /// An address range.
    IpRange { cidr_ip: String, description: String }
    /// An address range of version 6.
    Ipv6Range { cidr_ipv6: String, description: String }
    /// A list of address ranges.
    PrefixList { prefix_list_id: String, description: String }
    /// One rule of a security group.
    SecurityGroupRule {
        security_group_rule_id: String, group_id: String, is_egress: String, ip_protocol: String, from_port: String,
        to_port: String, cidr_ipv4: String, cidr_ipv6: String, prefix_list_id: String, referenced_group_info: Group,
        description: String,
    }
    /// A public address.
    Address { allocation_id: String, public_ip: String, association_id: String, instance_id: String, tag_set: Vec<Tag> }
    /// A gateway for machines without a public address.
    NatGateway {
        nat_gateway_id: String, subnet_id: String, state: String, failure_message: String, create_time: String,
        nat_gateway_address_set: Vec<NatAddress>, tag_set: Vec<Tag>,
    }
    /// The public address of such a gateway.
    NatAddress { allocation_id: String, public_ip: String }
    /// A volume; its size is in GiB.
    Volume {
        volume_id: String, size: String, volume_type: String, status: String, create_time: String, availability_zone: String,
        attachment_set: Vec<VolumeAttachment>, tag_set: Vec<Tag>,
    }
    /// The machine of a volume.
    VolumeAttachment { instance_id: String, status: String, device: String }
    /// An image.
    Image { image_id: String, root_device_name: String, image_state: String }
    /// A template of machines.
    LaunchTemplate { launch_template_id: String, launch_template_name: String, create_time: String, tag_set: Vec<Tag> }
    /// A version of a template.
    LaunchTemplateVersion { version_number: String, launch_template_data: TemplateData }
    /// What a template says of its machines.
    TemplateData { instance_type: String, network_interface_set: Vec<TemplateInterface>, iam_instance_profile: Profile }
    /// How a template connects its machines.
    TemplateInterface { group_set: Vec<String> }
    /// The profile that carries a role.
    Profile { name: String }
    /// Machines that were made by one call.
    Reservation { instances_set: Vec<Instance> }
    /// A machine.
    Instance {
        instance_id: String, instance_type: String, image_id: String, instance_state: InstanceState, launch_time: String,
        private_ip_address: String, ip_address: String, subnet_id: String, tag_set: Vec<Tag>,
        network_interface_set: Vec<NetworkInterface>,
        root_device_name: String, block_device_mapping: Vec<Mapping>, state_reason: StateReason,
    }
    /// A network interface, with or without a machine.
    Interface { network_interface_id: String, status: String, tag_set: Vec<Tag> }
    /// How a machine is connected.
    NetworkInterface { network_interface_id: String, group_set: Vec<Group> }
    /// What a machine is doing.
    InstanceState { name: String }
    /// Why.
    StateReason { message: String }
    /// A security group of a machine, or the other side of a rule.
    Group { group_id: String, description: String }
    /// A volume of a machine.
    Mapping { device_name: String, ebs: Ebs }
    /// That volume.
    Ebs { volume_id: String }
    /// A zone of the region that the account may use.
    AvailabilityZone { zone_name: String, zone_state: String }
    /// A class of machines in a zone that has it.
    InstanceTypeOffering { instance_type: String, location: String }
}

/// Kinds that are listed by tags.
pub trait Listed: serde::de::DeserializeOwned {
    /// The action.
    const ACTION: &'static str;
    /// The field of the answer that holds the objects.
    const KEY: &'static str;
}

macro_rules! listed {
    ($($type:ident $action:literal $key:literal;)+) => {
        $(impl Listed for $type {
            const ACTION: &'static str = $action;
            const KEY: &'static str = $key;
        })+
    };
}

listed! {
    Vpc "DescribeVpcs" "vpcSet";
    InternetGateway "DescribeInternetGateways" "internetGatewaySet";
    Subnet "DescribeSubnets" "subnetSet";
    RouteTable "DescribeRouteTables" "routeTableSet";
    SecurityGroup "DescribeSecurityGroups" "securityGroupInfo";
    SecurityGroupRule "DescribeSecurityGroupRules" "securityGroupRuleSet";
    Address "DescribeAddresses" "addressesSet";
    NatGateway "DescribeNatGateways" "natGatewaySet";
    Volume "DescribeVolumes" "volumeSet";
    Interface "DescribeNetworkInterfaces" "networkInterfaceSet";
    Image "DescribeImages" "imagesSet";
    Reservation "DescribeInstances" "reservationSet";
    LaunchTemplate "DescribeLaunchTemplates" "launchTemplates";
    AvailabilityZone "DescribeAvailabilityZones" "availabilityZoneInfo";
    InstanceTypeOffering "DescribeInstanceTypeOfferings" "instanceTypeOfferingSet";
}

/// Kinds whose objects have tags, and are found by their id.
pub trait Tagged: Listed {
    /// The filter that selects one by its id.
    const ID: &'static str;

    /// Its tags.
    fn tags(&self) -> &[Tag];
}

macro_rules! tagged {
    ($($type:ident $id:literal;)+) => {
        $(impl Tagged for $type {
            const ID: &'static str = $id;

            fn tags(&self) -> &[Tag] {
                &self.tag_set
            }
        })+
    };
}

tagged! {
    Vpc "vpc-id";
    Subnet "subnet-id";
    RouteTable "route-table-id";
    SecurityGroup "group-id";
    Address "allocation-id";
    NatGateway "nat-gateway-id";
    Volume "volume-id";
}

impl Client {
    /// All objects of a kind that pass the filters, page by page.
    ///
    /// # Errors
    /// When the cloud refuses or does not answer.
    pub async fn list<T: Listed>(&self, filters: &[(&str, &str)]) -> Result<Vec<T>> {
        let mut fields = Map::new();
        let filters: Vec<Value> =
            filters.iter().map(|(name, value)| json!({ "Name": name, "Value": [value] })).collect();
        if !filters.is_empty() {
            fields.insert("Filter".to_owned(), filters.into());
        }
        match T::ACTION {
            // These come all at once: their actions know no pages.
            "DescribeAddresses" | "DescribeAvailabilityZones" => {}
            // Templates come in smaller pages than the rest.
            "DescribeLaunchTemplates" => drop(fields.insert("MaxResults".to_owned(), 200.into())),
            _ => drop(fields.insert("MaxResults".to_owned(), 1000.into())),
        }
        self.pages(fields).await
    }

    /// All objects that the pages of a list have.
    pub(super) async fn pages<T: Listed>(&self, mut fields: Map<String, Value>) -> Result<Vec<T>> {
        let mut all = Vec::new();
        loop {
            let mut page = self.query(Service::Ec2, T::ACTION, &fields, true).await?;
            if let Some(items) = page.get_mut(T::KEY) {
                all.extend(typed::<Vec<T>>(items.take())?);
            }
            match page.get("nextToken").and_then(Value::as_str) {
                Some(token) if !token.is_empty() => drop(fields.insert("NextToken".to_owned(), token.into())),
                _ => return Ok(all),
            }
        }
    }

    /// A version of a template.
    ///
    /// # Errors
    /// When there is none of this number, or the cloud does not answer.
    pub async fn template_version(&self, template: &str, version: &str) -> Result<LaunchTemplateVersion> {
        let fields = json!({ "LaunchTemplateId": template, "LaunchTemplateVersion": [version] });
        let fields = fields.as_object().cloned().unwrap_or_default();
        let mut answer = self.query(Service::Ec2, "DescribeLaunchTemplateVersions", &fields, true).await?;
        let found = answer.get_mut("launchTemplateVersionSet").map_or_else(|| json!([]), Value::take);
        let found = typed::<Vec<LaunchTemplateVersion>>(found)?.into_iter().next();
        Ok(found.ok_or_else(|| Error::new(format!("aws: the template `{template}` has no version {version}")))?)
    }
}

#[cfg(test)]
mod tests {
    use super::pascal;

    #[test]
    fn names_are_written_as_the_api_writes_them() {
        assert_eq!((pascal("vpc_id").as_str(), pascal("ip_permissions").as_str()), ("VpcId", "IpPermissions"));
    }
}
