//! Networks and security groups: what may reach what.

use async_trait::async_trait;
use serde_json::{Value, json};

use super::{
    LABEL_KIND,
    account::{Account, explain, needed, object, object_name, unique_name},
    vpc::ANYWHERE,
};
use crate::{
    cloud::yandex::{Network, SecurityGroup, SecurityRule},
    error::{Error, Result},
    name::Name,
    provider::{DEFAULT_GROUP, Driver, Object, Request},
    resource::{KindName, NetworkSpec, SSH_GROUP, SecurityGroupSpec},
};

/// What the label of kinds says of the security group of a network's bastion: it is a part of its network.
const BASTION_GROUP: &str = "network_bastion";
/// What the machines that check balanced machines and members of groups are called in rules
/// (<https://yandex.cloud/en/docs/network-load-balancer/concepts/health-check>).
const CHECKERS: &str = "loadbalancer_healthchecks";

/// Whom a rule is about.
enum Whom<'a> {
    Ranges(&'a [String]),
    Checkers,
}

/// A rule as it is asked for.
fn rule(direction: &str, protocol: &str, port: Option<u16>, whom: &Whom<'_>) -> Value {
    let mut rule = json!({ "direction": direction, "protocolName": protocol });
    match whom {
        Whom::Ranges(ranges) => rule["cidrBlocks"] = json!({ "v4CidrBlocks": ranges }),
        Whom::Checkers => rule["predefinedTarget"] = CHECKERS.into(),
    }
    if let Some(port) = port {
        rule["ports"] = json!({ "fromPort": port.to_string(), "toPort": port.to_string() });
    }
    rule
}

/// All that a rule says, in one line: two rules with the same line are the same.
fn line(rule: &SecurityRule) -> String {
    let protocol = match rule.protocol_name.as_str() {
        "" => format!("protocol {}", rule.protocol_number),
        name => name.to_ascii_uppercase(),
    };
    let mut text = format!("{} {protocol}", rule.direction.to_ascii_lowercase());
    if let Some(ports) = &rule.ports {
        text += &format!(" {}-{}", ports.from_port, ports.to_port);
    }
    let blocks = rule.cidr_blocks.clone().unwrap_or_default();
    let mut others = blocks.v4_cidr_blocks;
    others.sort();
    others.extend(blocks.v6_cidr_blocks);
    others.extend([rule.security_group_id.clone(), rule.predefined_target.clone()]);
    others.retain(|one| !one.is_empty());
    text += &format!(" {}", others.join(", "));
    if !rule.description.is_empty() {
        text += &format!(" ({})", rule.description);
    }
    text
}

/// A rule that is asked for, in one line.
fn wanted(rule: &Value) -> String {
    serde_json::from_value(rule.clone()).map(|rule| line(&rule)).unwrap_or_default()
}

/// Everything may go out of every network.
fn outward() -> Value {
    rule("EGRESS", "ANY", None, &Whom::Ranges(&[ANYWHERE.to_owned()]))
}

/// What a network's own group lets in from these ranges: everything, or what reaches port 22.
fn inward(port: Option<u16>, ranges: &[String]) -> Value {
    rule("INGRESS", if port.is_some() { "TCP" } else { "ANY" }, port, &Whom::Ranges(ranges))
}

/// Networks. Each has a security group of its own, which every machine is in: it lets the machines reach each other and the
/// world. The bastion is in another one, which lets its port 22 be reached from where the file says. Nothing else comes in.
pub(super) struct NetworkDriver(pub(super) Account);

fn network_rules(spec: &NetworkSpec) -> Vec<Value> {
    vec![outward(), inward(None, &spec.cidrs)]
}

/// What the group of the bastion lets in.
fn bastion_rules(spec: &NetworkSpec) -> Vec<Value> {
    if spec.ssh_from.is_empty() { Vec::new() } else { vec![inward(Some(22), &spec.ssh_from)] }
}

/// Whether a group is that of a network's bastion.
pub(super) fn is_of_bastion(group: &SecurityGroup, network: &str) -> bool {
    group.network_id == network && group.labels.get(LABEL_KIND).is_some_and(|kind| kind == BASTION_GROUP)
}

/// The ranges that a rule lets in as we would write it, to a port or to all; the whole rule where it says anything else.
fn lets_in(rule: &SecurityRule, port: Option<u16>) -> Vec<String> {
    let mut ranges = rule.cidr_blocks.clone().unwrap_or_default().v4_cidr_blocks;
    ranges.sort();
    let text = line(rule);
    if !ranges.is_empty() && text == wanted(&inward(port, &ranges)) { ranges } else { vec![text] }
}

/// A network with the ranges that its own group lets in. A rule that we did not make, and one of ours that is missing, show
/// among them, so that the group is put right.
pub(super) fn show_network(network: &Network, groups: &[SecurityGroup], environment: Option<&Name>) -> Option<Object> {
    let mut object = object(&network.labels, KindName::NETWORK, environment, &network.id, &network.created_at)?;
    object.attributes.insert(DEFAULT_GROUP.to_owned(), network.default_security_group_id.as_str().into());
    if let Some(group) = groups.iter().find(|group| group.id == network.default_security_group_id) {
        let outward = wanted(&outward());
        let others = group.rules.iter().filter(|rule| line(rule) != outward);
        let mut cidrs: Vec<String> = others.flat_map(|rule| lets_in(rule, None)).collect();
        if !group.rules.iter().any(|rule| line(rule) == outward) {
            cidrs.push(format!("not {outward}"));
        }
        cidrs.sort();
        object.actual.insert("cidrs".to_owned(), json!(cidrs));
        let bastion = groups.iter().find(|group| is_of_bastion(group, &network.id));
        let ssh_from: Vec<String> =
            bastion.iter().flat_map(|group| &group.rules).flat_map(|rule| lets_in(rule, Some(22))).collect();
        object.actual.insert("ssh_from".to_owned(), json!(ssh_from));
        if let Some(group) = bastion {
            object.attributes.insert(SSH_GROUP.to_owned(), group.id.as_str().into());
        }
    }
    Some(object)
}

impl NetworkDriver {
    async fn groups(&self) -> Result<Vec<SecurityGroup>> {
        Ok(self.0.client.list::<SecurityGroup>(&self.0.folder).await?)
    }

    /// The id of the bastion's group, which is created or changed; nothing where no one needs it.
    async fn admit(&self, network: &str, request: &Request<'_>, spec: &NetworkSpec) -> Result<Option<String>> {
        let client = &self.0.client;
        let present = async || {
            let groups = self.groups().await?;
            Ok::<_, Error>(groups.into_iter().find(|group| is_of_bastion(group, network)))
        };
        if let Some(group) = present().await? {
            let call = client.update_security_group(&group.id).rule_specs(bastion_rules(spec));
            call.send(request.token).await.map_err(|error| explain(error, request.resource))?;
            return Ok(Some(group.id));
        }
        if spec.ssh_from.is_empty() {
            return Ok(None);
        }
        let mut labels = Account::labels(request);
        labels.insert(LABEL_KIND.to_owned(), BASTION_GROUP.to_owned());
        let name = unique_name(&format!("{}-{SSH_GROUP}", spec.name), &request.owner());
        let call = client.create_security_group().folder_id(&self.0.folder).name(&name).labels(&labels);
        let sent = call.network_id(network).rule_specs(bastion_rules(spec)).send(request.token).await;
        sent.map_err(|error| explain(error, request.resource))?;
        Ok(present().await?.map(|group| group.id))
    }

    /// The network with the group of its bastion.
    async fn admitted(&self, mut object: Object, request: &Request<'_>, spec: &NetworkSpec) -> Result<Object> {
        if let Some(group) = self.admit(&object.id, request, spec).await? {
            object.attributes.insert(SSH_GROUP.to_owned(), group.into());
        }
        Ok(object)
    }

    async fn close(&self, group: &str, spec: &NetworkSpec, token: &str) -> Result<()> {
        self.0.client.update_security_group(group).rule_specs(network_rules(spec)).send(token).await?;
        Ok(())
    }
}

#[async_trait]
impl Driver for NetworkDriver {
    async fn list(&self, environment: Option<&Name>) -> Result<Vec<Object>> {
        let all = self.0.client.list::<Network>(&self.0.folder).await?;
        let groups = self.groups().await?;
        Ok(all.iter().filter_map(|one| show_network(one, &groups, environment)).collect())
    }

    async fn read(&self, id: &str) -> Result<Option<Object>> {
        let Some(network) = self.0.found::<Network>(id).await? else { return Ok(None) };
        Ok(show_network(&network, &self.groups().await?, None))
    }

    async fn create(&self, request: &Request<'_>) -> Result<Object> {
        let spec: NetworkSpec = request.resource.spec()?;
        let labels = Account::labels(request);
        let call = self.0.client.create_network().folder_id(&self.0.folder);
        let call = call.name(&unique_name(&spec.name, &request.owner())).labels(&labels).send(request.token);
        let object = self.0.create(self, request, call).await?;
        // The group's first rules let everything in: they are replaced before there is a machine. After a crash in between the
        // rules do not show as wanted, and `update` replaces them.
        let group = object.attribute(DEFAULT_GROUP).unwrap_or_default().to_owned();
        let (closed, admitted) =
            tokio::join!(self.close(&group, &spec, request.token), self.admitted(object, request, &spec));
        closed.and(admitted)
    }

    async fn update(&self, object: &Object, request: &Request<'_>) -> Result<Object> {
        let spec: NetworkSpec = request.resource.spec()?;
        let network: Network = self.0.client.describe(&object.id).await?;
        let group = &network.default_security_group_id;
        let (closed, admitted) =
            tokio::join!(self.close(group, &spec, request.token), self.admitted(object.clone(), request, &spec));
        closed.and(admitted)
    }

    async fn delete(&self, id: &str) -> Result<()> {
        for group in self.groups().await?.iter().filter(|group| is_of_bastion(group, id)) {
            self.0.remove(|| self.0.client.delete_security_group(&group.id).send(&group.id)).await?;
        }
        self.0.remove(|| self.0.client.delete_network(id).send(id)).await
    }
}

/// Security groups beside that of the network: they open ports of some machines to the world, or to what checks them.
pub(super) struct SecurityGroupDriver(pub(super) Account);

fn opened(port: u16) -> Value {
    rule("INGRESS", "TCP", Some(port), &Whom::Ranges(&[ANYWHERE.to_owned()]))
}

fn checked(port: u16) -> Value {
    rule("INGRESS", "TCP", Some(port), &Whom::Checkers)
}

fn group_rules(spec: &SecurityGroupSpec) -> Vec<Value> {
    spec.ports.iter().map(|port| opened(*port)).chain(spec.checked.iter().map(|port| checked(*port))).collect()
}

/// A security group with the ports that it opens. A rule that is not ours shows among them.
pub(super) fn show_group(one: &SecurityGroup, environment: Option<&Name>) -> Option<Object> {
    let mut object = object(&one.labels, KindName::SECURITY_GROUP, environment, &one.id, &one.created_at)?;
    let (mut ports, mut checks, mut others) = (Vec::new(), Vec::new(), Vec::new());
    for rule in &one.rules {
        let text = line(rule);
        let port = rule.ports.as_ref().and_then(|ports| u16::try_from(ports.from_port).ok());
        match port {
            Some(port) if text == wanted(&opened(port)) => ports.push(port),
            Some(port) if text == wanted(&checked(port)) => checks.push(port),
            _ => others.push(text),
        }
    }
    ports.sort_unstable();
    checks.sort_unstable();
    let ports = ports.into_iter().map(Value::from).chain(others.into_iter().map(Value::from));
    object.actual.insert("ports".to_owned(), ports.collect());
    object.actual.insert("checked".to_owned(), json!(checks));
    Some(object)
}

#[async_trait]
impl Driver for SecurityGroupDriver {
    async fn list(&self, environment: Option<&Name>) -> Result<Vec<Object>> {
        let all = self.0.client.list::<SecurityGroup>(&self.0.folder).await?;
        Ok(all.iter().filter_map(|one| show_group(one, environment)).collect())
    }

    async fn read(&self, id: &str) -> Result<Option<Object>> {
        Ok(self.0.found::<SecurityGroup>(id).await?.and_then(|one| show_group(&one, None)))
    }

    async fn create(&self, request: &Request<'_>) -> Result<Object> {
        let spec: SecurityGroupSpec = request.resource.spec()?;
        let name = object_name(request);
        let labels = Account::labels(request);
        let network = &needed(request, &KindName::NETWORK.named(&spec.network))?.id;
        let call = self.0.client.create_security_group();
        let call = call.folder_id(&self.0.folder).name(&name).labels(&labels).network_id(network);
        self.0.create(self, request, call.rule_specs(group_rules(&spec)).send(request.token)).await
    }

    async fn update(&self, object: &Object, request: &Request<'_>) -> Result<Object> {
        let rules = group_rules(&request.resource.spec()?);
        let sent = self.0.client.update_security_group(&object.id).rule_specs(rules).send(request.token).await;
        sent.map_err(|error| explain(error, request.resource))?;
        Ok(object.clone())
    }

    async fn delete(&self, id: &str) -> Result<()> {
        self.0.remove(|| self.0.client.delete_security_group(id).send(id)).await
    }
}
