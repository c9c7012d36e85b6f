//! Security groups. What a group lets through is compared as a whole: protocol, range of ports, the other side, description, inward
//! and outward; and it is exactly what it should be afterwards.

use std::{collections::BTreeSet, fmt};

use async_trait::async_trait;
use serde_json::{Value, json};

use super::{Account, Driver, Object, Request, explain, needed, network::ANYWHERE, not_made, object, or_there};
use crate::{
    cloud::aws::{
        AwsError,
        ec2::{Permission, SecurityGroup, SecurityGroupRule},
    },
    error::Result,
    name::Name,
    resource::{KindName, SecurityGroupSpec},
};

/// What the API calls all protocols.
const ALL: &str = "-1";

/// Something that a group lets through.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rule {
    protocol: String,
    /// The first and the last port; nothing for all protocols.
    ports: Option<(String, String)>,
    /// The other side: an address range of either version, a group, or a list of prefixes.
    other: String,
    /// What someone else has said of it: rules that infra makes have no description.
    description: String,
}

impl Rule {
    /// A TCP port.
    pub(super) fn tcp(port: u16, other: &str) -> Self {
        let port = port.to_string();
        Self::new("tcp", &port, &port, other, "")
    }

    /// Everything.
    pub(super) fn all(other: &str) -> Self {
        Self::new(ALL, "", "", other, "")
    }

    /// The other side, when this is all that it says.
    pub(super) fn other_of_all(&self) -> Option<&str> {
        (self.protocol == ALL && self.description.is_empty()).then_some(self.other.as_str())
    }

    /// The port and the other side of a rule for one TCP port.
    pub(super) fn tcp_port(&self) -> Option<(u16, &str)> {
        let (from, to) = self.ports.as_ref().filter(|(from, to)| self.protocol == "tcp" && from == to)?;
        debug_assert_eq!(from, to, "one port");
        if self.description.is_empty() { Some((from.parse().ok()?, &self.other)) } else { None }
    }

    fn new(protocol: &str, from: &str, to: &str, other: &str, description: &str) -> Self {
        let ports = (protocol != ALL).then(|| (from.to_owned(), to.to_owned()));
        let (protocol, other, description) = (protocol.to_owned(), other.to_owned(), description.to_owned());
        Self { protocol, ports, other, description }
    }

    /// What it lets through, whatever is said of it: a group has no two rules that differ only in that.
    fn undescribed(&self) -> Self {
        Self { description: String::new(), ..self.clone() }
    }

    /// The rules that the cloud shows as one permission.
    fn of(permission: &Permission) -> impl Iterator<Item = Self> {
        let ranges = permission.ip_ranges.iter().map(|range| (&range.cidr_ip, &range.description));
        let ranges = ranges.chain(permission.ipv6_ranges.iter().map(|range| (&range.cidr_ipv6, &range.description)));
        let others = ranges.chain(permission.groups.iter().map(|group| (&group.group_id, &group.description)));
        let lists = permission.prefix_list_ids.iter().map(|list| (&list.prefix_list_id, &list.description));
        let (protocol, from, to) = (&permission.ip_protocol, &permission.from_port, &permission.to_port);
        others.chain(lists).map(move |(other, description)| Self::new(protocol, from, to, other, description))
    }

    fn single(rule: &SecurityGroupRule) -> Self {
        let others = [&rule.cidr_ipv4, &rule.cidr_ipv6, &rule.referenced_group_info.group_id, &rule.prefix_list_id];
        let other = others.into_iter().find(|other| !other.is_empty()).map_or("", |other| other);
        Self::new(&rule.ip_protocol, &rule.from_port, &rule.to_port, other, &rule.description)
    }

    /// The rule as a call wants it; ours name ranges of version 4 only.
    fn parameters(&self) -> Value {
        self.parameters_for(json!({ "CidrIp": self.other }))
    }

    /// The rule for a call that takes away what is said of it.
    fn without_description(&self) -> Value {
        self.parameters_for(json!({ "CidrIp": self.other, "Description": "" }))
    }

    fn parameters_for(&self, range: Value) -> Value {
        let mut rule = json!({ "IpProtocol": self.protocol, "IpRanges": [range] });
        if let Some((from, to)) = &self.ports {
            rule["FromPort"] = from.as_str().into();
            rule["ToPort"] = to.as_str().into();
        }
        rule
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.ports {
            None => write!(f, "everything, {}", self.other),
            Some((from, to)) if from == to => write!(f, "{} {from}, {}", self.protocol, self.other),
            Some((from, to)) => write!(f, "{} {from}-{to}, {}", self.protocol, self.other),
        }?;
        if self.description.is_empty() { Ok(()) } else { write!(f, " ({})", self.description) }
    }
}

/// What a group shows: what it lets in, each rule as `ours` writes it when it is of the form of those that infra makes; then
/// in words what else differs from a group that lets everything out.
pub(super) fn shown(group: &SecurityGroup, ours: impl Fn(&Rule) -> Option<Value>) -> Value {
    let inward: BTreeSet<Rule> = group.ip_permissions.iter().flat_map(Rule::of).collect();
    let outward: BTreeSet<Rule> = group.ip_permissions_egress.iter().flat_map(Rule::of).collect();
    let of_ours: Vec<Value> = inward.iter().filter_map(&ours).collect();
    let words = inward.iter().filter(|rule| ours(rule).is_none()).map(|rule| format!("from: {rule}"));
    let everything = Rule::all(ANYWHERE);
    let more = outward.iter().filter(|rule| **rule != everything).map(|rule| format!("to: {rule}"));
    let missing =
        (!outward.iter().any(|rule| rule.undescribed() == everything)).then(|| "not everything may go out".to_owned());
    let words = words.chain(more).chain(missing).map(Value::String);
    of_ours.into_iter().chain(words).collect()
}

impl Account {
    /// Makes what a group lets in exactly this, and lets everything out. What is too much goes by its own id.
    pub(super) async fn settle_rules(&self, group: &str, inward: &BTreeSet<Rule>) -> Result<(), AwsError> {
        let client = &self.client;
        let present = client.list::<SecurityGroupRule>(&[("group-id", group)]).await?;
        let (out, inside): (Vec<_>, Vec<_>) = present.iter().partition(|rule| rule.is_egress == "true");
        let outward = BTreeSet::from([Rule::all(ANYWHERE)]);
        let missing = |wanted: &BTreeSet<Rule>, there: &[&SecurityGroupRule]| {
            let there: BTreeSet<Rule> = there.iter().map(|rule| Rule::single(rule).undescribed()).collect();
            wanted.difference(&there).map(Rule::parameters).collect::<Vec<Value>>()
        };
        for rule in missing(inward, &inside) {
            or_there(client.authorize_ingress().group_id(group).ip_permissions(vec![rule]).send().await)?;
        }
        for rule in missing(&outward, &out) {
            or_there(client.authorize_egress().group_id(group).ip_permissions(vec![rule]).send().await)?;
        }
        let described = |wanted: &BTreeSet<Rule>, there: &[&SecurityGroupRule]| {
            let there = there.iter().map(|rule| Rule::single(rule));
            let described = there.filter(|rule| !wanted.contains(rule) && wanted.contains(&rule.undescribed()));
            described.map(|rule| rule.without_description()).collect::<Vec<Value>>()
        };
        for rule in described(inward, &inside) {
            client.describe_ingress().group_id(group).ip_permissions(vec![rule]).send().await?;
        }
        for rule in described(&outward, &out) {
            client.describe_egress().group_id(group).ip_permissions(vec![rule]).send().await?;
        }
        let surplus = |wanted: &BTreeSet<Rule>, there: &[&'_ SecurityGroupRule]| {
            let surplus = there.iter().filter(|rule| !wanted.contains(&Rule::single(rule).undescribed()));
            surplus.map(|rule| rule.security_group_rule_id.clone()).collect::<Vec<String>>()
        };
        let (inside, out) = (surplus(inward, &inside), surplus(&outward, &out));
        let close = |ids: Vec<String>| client.revoke_ingress().group_id(group).security_group_rule_id(ids).send();
        revoke(inside, close).await?;
        let close = |ids: Vec<String>| client.revoke_egress().group_id(group).security_group_rule_id(ids).send();
        revoke(out, close).await?;
        Ok(())
    }
}

/// Security groups beside those of the network: they open ports of some machines to the world.
pub(super) struct SecurityGroupDriver(pub(super) Account);

/// Revokes rules by their ids: all at once, or one by one where one of them is gone already, since the call is refused as a whole.
async fn revoke<F: Future<Output = Result<Value, AwsError>>>(
    ids: Vec<String>, call: impl Fn(Vec<String>) -> F,
) -> Result<(), AwsError> {
    if ids.is_empty() {
        return Ok(());
    }
    match call(ids.clone()).await {
        Err(error) if error.is_not_found() => {}
        done => return done.map(drop),
    }
    for id in ids {
        match call(vec![id]).await {
            Err(error) if !error.is_not_found() => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

fn opened(spec: &SecurityGroupSpec) -> BTreeSet<Rule> {
    spec.ports.iter().map(|port| Rule::tcp(*port, ANYWHERE)).collect()
}

pub(super) fn describe(group: &SecurityGroup) -> Option<Object> {
    let mut object = object(&group.tag_set, KindName::SECURITY_GROUP, &group.group_id, "")?;
    let open = |rule: &Rule| rule.tcp_port().filter(|(_, other)| *other == ANYWHERE).map(|(port, _)| port.into());
    let mut ports = shown(group, open);
    if let Some(ports) = ports.as_array_mut() {
        // Numbers stand as numbers do, before what is said in words.
        ports.sort_by_key(|port| (port.as_u64().is_none(), port.as_u64()));
    }
    object.actual.insert("ports".to_owned(), ports);
    Some(object)
}

impl SecurityGroupDriver {
    /// A group with its rules, and the tag that says so.
    async fn complete(&self, id: &str, request: &Request<'_>, spec: &SecurityGroupSpec) -> Result<Object> {
        let settled = self.0.settle_rules(id, &opened(spec)).await;
        settled.map_err(|error| explain(error, request.resource))?;
        self.0.finish(id).await?;
        self.0.made(self, request).await
    }
}

#[async_trait]
impl Driver for SecurityGroupDriver {
    async fn list(&self, environment: Option<&Name>) -> Result<Vec<Object>> {
        let (name, value) = Account::filter(environment);
        let all = self.0.client.list::<SecurityGroup>(&[(&name, &value)]).await?;
        Ok(all.iter().filter_map(describe).collect())
    }

    async fn create(&self, request: &Request<'_>) -> Result<Object> {
        let spec: SecurityGroupSpec = request.resource.spec()?;
        let network = &needed(request, &KindName::NETWORK.named(&spec.network))?.id;
        let tags = Account::tags(request);
        // The name must be free in the network: the token makes it so.
        let group_name = format!("{}-{}", request.resource.address.name, request.token);
        let call = self.0.client.create_security_group().group_name(&group_name).vpc_id(network);
        let call = call.group_description("ports that infra opens to the world").tags("security-group", &tags);
        let find = || self.0.id_of(self, request);
        let id = self.0.make(|| call.clone().send(), "/groupId", find).await;
        let id = id.map_err(|error| not_made(error, request.resource))?;
        self.complete(&id, request, &spec).await
    }

    async fn resume(&self, object: &Object, request: &Request<'_>) -> Result<Object> {
        self.complete(&object.id, request, &request.resource.spec()?).await
    }

    async fn update(&self, object: &Object, request: &Request<'_>) -> Result<Object> {
        let settled = self.0.settle_rules(&object.id, &opened(&request.resource.spec()?)).await;
        settled.map_err(|error| explain(error, request.resource))?;
        Ok(object.clone())
    }

    async fn delete(&self, id: &str) -> Result<()> {
        self.0.remove(|| self.0.client.delete_security_group().group_id(id).send()).await
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::describe;
    use crate::cloud::aws::ec2::SecurityGroup;

    fn ports(inward: serde_json::Value, outward: serde_json::Value) -> serde_json::Value {
        let group = json!({
            "groupId": "sg-1", "ipPermissions": inward, "ipPermissionsEgress": outward,
            "tagSet": [{ "key": "infra-id", "value": "security_group.ports-80" }],
        });
        let group: SecurityGroup = serde_json::from_value(group).unwrap();
        describe(&group).unwrap().actual["ports"].clone()
    }

    #[test]
    fn a_rule_is_seen_as_a_whole() {
        let out = || json!([{ "ipProtocol": "-1", "ipRanges": [{ "cidrIp": "0.0.0.0/0" }] }]);
        let tcp = |from: &str, to: &str| json!({ "ipProtocol": "tcp", "fromPort": from, "toPort": to, "ipRanges": [{ "cidrIp": "0.0.0.0/0" }] });
        assert_eq!(ports(json!([tcp("443", "443"), tcp("80", "80")]), out()), json!([80, 443]));
        assert_eq!(ports(json!([tcp("80", "9000")]), out()), json!(["from: tcp 80-9000, 0.0.0.0/0"]));
        let udp =
            json!({ "ipProtocol": "udp", "fromPort": "80", "toPort": "80", "ipRanges": [{ "cidrIp": "0.0.0.0/0" }] });
        assert_eq!(ports(json!([udp]), out()), json!(["from: udp 80, 0.0.0.0/0"]));
        let all =
            json!({ "ipProtocol": "-1", "ipv6Ranges": [{ "cidrIpv6": "::/0" }], "groups": [{ "groupId": "sg-2" }] });
        assert_eq!(
            ports(json!([tcp("80", "80"), all]), json!([])),
            json!([80, "from: everything, ::/0", "from: everything, sg-2", "not everything may go out"])
        );
        let said = |mut rule: serde_json::Value| {
            rule["ipRanges"][0]["description"] = "for a test".into();
            rule
        };
        assert_eq!(
            ports(json!([said(tcp("80", "80"))]), json!([said(out()[0].clone())])),
            json!(["from: tcp 80, 0.0.0.0/0 (for a test)", "to: everything, 0.0.0.0/0 (for a test)"])
        );
    }
}
