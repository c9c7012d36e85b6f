//! Networks: a VPC with its gateway to the world, which machines with a public address use, and with two security groups. One
//! is that of every machine, and lets the machines reach each other; the other one is that of the way in, and lets port 22 be
//! reached from where the file says. Nothing else comes in.

use std::collections::BTreeSet;

use async_trait::async_trait;
use serde_json::json;

use super::{
    Account, Driver, Health, LABEL_TOKEN, Object, PART, Request, explain, leftovers, not_made, object, or_there,
    ranges,
    route_table::Way,
    security_group::{Rule, shown},
    tag,
};
use crate::{
    cloud::aws::{
        AwsError,
        ec2::{InternetGateway, RouteTable, SecurityGroup, Vpc},
    },
    config::Cidr,
    error::{Error, Result},
    name::Name,
    provider::DEFAULT_GROUP,
    resource::{KindName, NetworkSpec, SSH_GROUP},
};

/// The world.
pub(super) const ANYWHERE: &str = "0.0.0.0/0";
/// The part of a network that is its security group.
pub(super) const GROUP_PART: &str = "network-group";
/// The part of a network that is its main route table.
const TABLE_PART: &str = "main-routes";
/// The part of a network that is its gateway to the world.
pub(super) const GATEWAY_PART: &str = "internet-gateway";

/// Networks.
pub(super) struct NetworkDriver(pub(super) Account);

/// The ranges of a network, as blocks that it must have.
pub(super) fn blocks(spec: &NetworkSpec) -> Vec<Cidr> {
    let ranges: Vec<Cidr> = spec.cidrs.iter().filter_map(|cidr| cidr.parse().ok()).collect();
    ranges::blocks(&ranges)
}

/// Whether a network has room for a range.
pub(super) fn has(vpc: &Vpc, range: Cidr) -> bool {
    let blocks = vpc.cidr_block_association_set.iter();
    let there = blocks.filter(|block| matches!(block.cidr_block_state.state.as_str(), "associated" | ""));
    there
        .map(|block| &block.cidr_block)
        .chain([&vpc.cidr_block])
        .any(|block| block.parse::<Cidr>().is_ok_and(|block| block.covers(range)))
}

pub(super) fn describe_all(
    networks: &[Vpc], groups: &[SecurityGroup], gateways: &[InternetGateway], tables: &[RouteTable],
) -> Vec<Object> {
    // A gateway whose network was never made, or is gone.
    let lonely = gateways.iter().filter(|gateway| {
        let token = tag(&gateway.tag_set, LABEL_TOKEN);
        let attached = |vpc: &str| gateway.attachment_set.iter().any(|one| one.vpc_id == vpc);
        !networks.iter().any(|vpc| attached(&vpc.vpc_id) || tag(&vpc.tag_set, LABEL_TOKEN) == token)
    });
    let lonely = lonely.filter_map(|gateway| {
        leftovers::object(&gateway.tag_set, KindName::NETWORK, &gateway.internet_gateway_id, Health::Incomplete)
    });
    networks.iter().filter_map(|vpc| describe(vpc, groups, gateways, tables)).chain(lonely).collect()
}

/// Whether a security group is this part of a network.
pub(super) fn has_group(vpc: &Vpc, group: &str, groups: &[SecurityGroup], part: &str) -> bool {
    let is = |one: &SecurityGroup| one.group_id == group && one.vpc_id == vpc.vpc_id;
    groups.iter().any(|one| is(one) && tag(&one.tag_set, PART) == Some(part))
}

fn describe(
    vpc: &Vpc, groups: &[SecurityGroup], gateways: &[InternetGateway], tables: &[RouteTable],
) -> Option<Object> {
    let mut object = object(&vpc.tag_set, KindName::NETWORK, &vpc.vpc_id, "")?;
    let part =
        |name: &str| groups.iter().find(|group| group.vpc_id == vpc.vpc_id && tag(&group.tag_set, PART) == Some(name));
    let Some(group) = part(GROUP_PART) else {
        // An update finds its group by its name, and tags it again.
        if object.health == Health::Ready {
            object.health = Health::Incomplete;
        }
        return Some(object);
    };
    object.attributes.insert(DEFAULT_GROUP.to_owned(), group.group_id.as_str().into());
    let own = |rule: &Rule| rule.other_of_all().map(Into::into);
    object.actual.insert("cidrs".to_owned(), shown(group, own));
    let way_in = part(SSH_GROUP);
    if let Some(group) = way_in {
        object.attributes.insert(SSH_GROUP.to_owned(), group.group_id.as_str().into());
    }
    let ssh = |rule: &Rule| rule.tcp_port().filter(|(port, _)| *port == 22).map(|(_, other)| other.into());
    object.actual.insert("ssh_from".to_owned(), way_in.map_or_else(|| json!([]), |group| shown(group, ssh)));
    let attached = |gateway: &InternetGateway| gateway.attachment_set.iter().any(|one| one.vpc_id == vpc.vpc_id);
    let main = |table: &&RouteTable| table.vpc_id == vpc.vpc_id && tag(&table.tag_set, PART) == Some(TABLE_PART);
    let leads = |table: &RouteTable| {
        let ways = gateways.iter().filter(|gateway| attached(gateway));
        ways.map(|gateway| Way::Internet(&gateway.internet_gateway_id)).any(|way| way.is_of(table))
    };
    // Networks of earlier versions have no such tag.
    let strays = tables.iter().filter(main).any(|table| !leads(table));
    if object.health == Health::Ready && (strays || !gateways.iter().any(attached)) {
        object.health = Health::Incomplete;
    }
    Some(object)
}

impl NetworkDriver {
    /// What a network has beside itself, each step such that doing it twice does nothing more.
    async fn furnish(&self, request: &Request<'_>, vpc: &str, spec: &NetworkSpec) -> Result<(), AwsError> {
        let client = &self.0.client;
        let on = json!({ "Value": true });
        client.modify_vpc_attribute().vpc_id(vpc).enable_dns_hostnames(on).send().await?;
        self.grow(vpc, &blocks(spec)).await?;
        let gateway = self.gateway(request, vpc).await?;
        let main = client.list::<RouteTable>(&[("vpc-id", vpc), ("association.main", "true")]).await?;
        let main = main.first().ok_or_else(|| Error::new("aws: the network has no main route table"))?;
        self.0.lead(main, Way::Internet(&gateway)).await?;
        self.0.put_tags(vec![&main.route_table_id], Account::part_tags(request, TABLE_PART)).await?;
        let group = self.group(vpc, "default").await?;
        let group = group.ok_or_else(|| Error::new("aws: the network has no security group"))?;
        let inward = spec.cidrs.iter().map(|cidr| Rule::all(cidr)).collect();
        self.0.settle_rules(&group, &inward).await?;
        self.0.put_tags(vec![&group], Account::part_tags(request, GROUP_PART)).await?;
        self.way_in(request, vpc, &spec.ssh_from).await
    }

    /// A network with all that it has, and the tag that says so.
    async fn complete(&self, vpc: &str, request: &Request<'_>, spec: &NetworkSpec) -> Result<Object> {
        self.furnish(request, vpc, spec).await.map_err(|error| explain(error, request.resource))?;
        self.0.finish(vpc).await?;
        self.0.made(self, request).await
    }

    /// The address ranges of a network grow by further blocks.
    async fn grow(&self, vpc: &str, blocks: &[Cidr]) -> Result<(), AwsError> {
        let client = &self.0.client;
        for block in blocks {
            let there = || async {
                let found = client.list::<Vpc>(&[("vpc-id", vpc)]).await?;
                Ok(found.into_iter().find(|vpc| has(vpc, *block)).map(|vpc| vpc.vpc_id))
            };
            if there().await?.is_some() {
                continue;
            }
            let text = block.to_string();
            let call = client.associate_vpc_cidr_block().vpc_id(vpc).cidr_block(&text);
            self.0.make(|| call.clone().send(), "/vpcId", there).await?;
            self.0.settle(&format!("the range {text} of the network"), there).await?;
        }
        Ok(())
    }

    /// The gateway to the world, attached.
    async fn gateway(&self, request: &Request<'_>, vpc: &str) -> Result<String, AwsError> {
        let client = &self.0.client;
        let attached = client.list::<InternetGateway>(&[("attachment.vpc-id", vpc)]).await?;
        if let Some(gateway) = attached.into_iter().next() {
            return Ok(gateway.internet_gateway_id);
        }
        let network = client.list::<Vpc>(&[("vpc-id", vpc)]).await?;
        let token = network.first().and_then(|vpc| tag(&vpc.tag_set, LABEL_TOKEN)).unwrap_or(request.token);
        let find = || async move {
            let found = client.list::<InternetGateway>(&[(&format!("tag:{LABEL_TOKEN}"), token)]).await?;
            Ok(found.into_iter().next().map(|gateway| gateway.internet_gateway_id))
        };
        let id = if let Some(id) = find().await? {
            id
        } else {
            let mut tags = Account::part_tags(request, GATEWAY_PART);
            tags.insert(LABEL_TOKEN.to_owned(), token.to_owned());
            let call = client.create_internet_gateway().tags("internet-gateway", &tags);
            self.0.make(|| call.clone().send(), "/internetGateway/internetGatewayId", find).await?
        };
        or_there(client.attach_internet_gateway().internet_gateway_id(&id).vpc_id(vpc).send().await)?;
        Ok(id)
    }

    /// The security group of a network that has this name.
    async fn group(&self, vpc: &str, name: &str) -> Result<Option<String>> {
        let found = self.0.client.list::<SecurityGroup>(&[("vpc-id", vpc), ("group-name", name)]).await?;
        Ok(found.into_iter().next().map(|group| group.group_id))
    }

    /// The security group of the way in.
    async fn way_in(&self, request: &Request<'_>, vpc: &str, from: &[String]) -> Result<(), AwsError> {
        let client = &self.0.client;
        let tags = Account::part_tags(request, SSH_GROUP);
        let group = match self.group(vpc, SSH_GROUP).await? {
            Some(group) => group,
            None if from.is_empty() => return Ok(()),
            None => {
                let call = client.create_security_group().group_name(SSH_GROUP).vpc_id(vpc);
                let call = call.group_description("SSH to the way in").tags("security-group", &tags);
                self.0.make(|| call.clone().send(), "/groupId", || self.group(vpc, SSH_GROUP)).await?
            }
        };
        let inward: BTreeSet<Rule> = from.iter().map(|range| Rule::tcp(22, range)).collect();
        self.0.settle_rules(&group, &inward).await?;
        self.0.put_tags(vec![&group], tags).await
    }

    async fn delete_gateway(&self, gateway: &InternetGateway) -> Result<()> {
        let (client, id) = (&self.0.client, gateway.internet_gateway_id.as_str());
        for network in &gateway.attachment_set {
            let vpc = network.vpc_id.as_str();
            self.0.remove(|| client.detach_internet_gateway().internet_gateway_id(id).vpc_id(vpc).send()).await?;
        }
        self.0.remove(|| client.delete_internet_gateway().internet_gateway_id(id).send()).await
    }
}

#[async_trait]
impl Driver for NetworkDriver {
    async fn list(&self, environment: Option<&Name>) -> Result<Vec<Object>> {
        let (name, value) = Account::filter(environment);
        let ours = [(name.as_str(), value.as_str())];
        let groups = [ours[0], ("tag-key", PART)];
        let client = &self.0.client;
        let (networks, groups, gateways) = tokio::try_join!(
            client.list::<Vpc>(&ours),
            client.list::<SecurityGroup>(&groups),
            client.list::<InternetGateway>(&ours)
        )?;
        Ok(describe_all(&networks, &groups, &gateways, &[]))
    }

    async fn create(&self, request: &Request<'_>) -> Result<Object> {
        let spec: NetworkSpec = request.resource.spec()?;
        let first = blocks(&spec).first().map(Cidr::to_string);
        let first = first.ok_or_else(|| Error::new("the network has no address range"))?;
        let tags = Account::tags(request);
        let call = self.0.client.create_vpc().cidr_block(&first).tags("vpc", &tags);
        let find = || self.0.id_of(self, request);
        let vpc = self.0.make(|| call.clone().send(), "/vpc/vpcId", find).await;
        let vpc = vpc.map_err(|error| not_made(error, request.resource))?;
        self.complete(&vpc, request, &spec).await
    }

    async fn resume(&self, object: &Object, request: &Request<'_>) -> Result<Object> {
        self.complete(&object.id, request, &request.resource.spec()?).await
    }

    async fn update(&self, object: &Object, request: &Request<'_>) -> Result<Object> {
        let spec: NetworkSpec = request.resource.spec()?;
        let again = Request { token: &object.token, ..request.clone() };
        self.furnish(&again, &object.id, &spec).await.map_err(|error| explain(error, request.resource))?;
        self.0.made(self, &again).await
    }

    async fn delete(&self, id: &str) -> Result<()> {
        let client = &self.0.client;
        if id.starts_with("igw-") {
            for gateway in client.list::<InternetGateway>(&[("internet-gateway-id", id)]).await? {
                self.delete_gateway(&gateway).await?;
            }
            return Ok(());
        }
        for gateway in client.list::<InternetGateway>(&[("attachment.vpc-id", id)]).await? {
            self.delete_gateway(&gateway).await?;
        }
        // One that was made, but not attached before the program was gone, has the token of its network.
        let networks = client
            .list::<Vpc>(&[("vpc-id", id)])
            .await
            .or_else(|error| if error.is_not_found() { Ok(Vec::new()) } else { Err(error) })?;
        let token = networks.first().and_then(|vpc| tag(&vpc.tag_set, LABEL_TOKEN)).unwrap_or_default().to_owned();
        if !token.is_empty() {
            for gateway in client.list::<InternetGateway>(&[(&format!("tag:{LABEL_TOKEN}"), &token)]).await? {
                self.delete_gateway(&gateway).await?;
            }
        }
        if let Some(group) = self.group(id, SSH_GROUP).await? {
            self.0.remove(|| client.delete_security_group().group_id(&group).send()).await?;
        }
        self.0.remove(|| client.delete_vpc().vpc_id(id).send()).await
    }
}
