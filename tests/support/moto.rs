//! moto, a simulator of Amazon Web Services that was not written for this project, behind a proxy that counts calls and makes
//! some of them fail.

use std::{
    collections::BTreeSet,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, Method, Response, Uri},
};
use base64::Engine as _;
use infra::cloud::aws::{
    Client, Settings,
    credentials::Sources,
    ec2::{
        Address, InternetGateway, LaunchTemplate, Listed, NatGateway, RouteTable, SecurityGroup, Subnet, Volume, Vpc,
    },
};

use super::{
    aws_model,
    containers::{Machines, database_server},
    repository,
};

/// The region of all tests.
pub(crate) const REGION: &str = "eu-central-1";

/// What goes wrong with a call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fault {
    /// The cloud is overloaded, and says so before anything is done.
    Throttle,
    /// The call is carried out, but its answer is lost.
    LoseAnswer,
    /// The call is refused.
    Refuse,
    /// The call is refused with this code.
    Code(&'static str),
}

/// Decides about a call's fault, given its action.
type Faults = Box<dyn FnMut(&str) -> Option<Fault> + Send>;
/// Changes an answer, given the action and the request.
type Edit = Box<dyn FnMut(&str, &str, String) -> String + Send>;

#[derive(Default)]
struct Seen {
    actions: Vec<String>,
    /// The parameters that were sent, as `Action.Parameter`.
    parameters: BTreeSet<String>,
    /// Requests that the service model does not allow.
    mistakes: Vec<String>,
    faults: Option<Faults>,
    edit: Option<Edit>,
    /// What makes machines real, and the range of the network that they are in.
    machines: Option<(Arc<dyn Machines>, String)>,
    /// The machines that are real.
    real: BTreeSet<String>,
    settings: ResetSettings,
    /// Whether no machine answers the balancers.
    unhealthy: usize,
    /// What of requests is written otherwise than the program does.
    rewritten: Vec<(String, String)>,
    /// The passwords that database servers were given.
    passwords: Vec<String>,
    /// The address of each machine that moto has given a public one, by that.
    public: Vec<(String, String)>,
}

#[derive(Clone)]
struct Proxy {
    /// moto compares and writes in two steps: writes under a condition go one by one.
    conditional: Arc<tokio::sync::Mutex<()>>,
    target: String,
    http: reqwest::Client,
    seen: Arc<Mutex<Seen>>,
}

/// A moto of its own; it ends with the test.
pub(crate) struct Moto {
    child: Child,
    proxy: Proxy,
    /// The address that the program is given.
    pub(crate) endpoint: String,
    client: Client,
}

impl Moto {
    pub(crate) async fn start() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let program = repository().join("target/moto/bin/moto_server");
        assert!(program.exists(), "moto is not installed: `tests/moto.sh`");
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = Command::new(program)
            .args(["-H", "127.0.0.1", "-p", &port.to_string()])
            // Without it no policy of Amazon exists.
            .env("MOTO_IAM_LOAD_MANAGED_POLICIES", "true")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let target = format!("http://127.0.0.1:{port}");
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let begun = Instant::now();
        while http.get(format!("{target}/moto-api/data.json")).send().await.is_err() {
            assert!(begun.elapsed() < Duration::from_mins(1), "moto does not answer");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let proxy = Proxy { conditional: Arc::default(), target: target.clone(), http, seen: Arc::default() };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(forward).with_state(proxy.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let settings = Settings { region: REGION.into(), endpoint: Some(target), ..Settings::default() };
        let variables = [("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test")];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let client = Client::new(settings, Sources { variables, ..Sources::default() }).unwrap();
        Self { child, proxy, endpoint, client }
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.proxy.seen.lock().unwrap()
    }

    pub(crate) fn faults(&self, faults: impl FnMut(&str) -> Option<Fault> + Send + 'static) {
        self.seen().faults = Some(Box::new(faults));
    }

    /// From now on machines answer the balancers that ask them, or do not: moto takes them all for healthy.
    pub(crate) fn unhealthy(&self, unhealthy: bool) {
        self.seen().unhealthy = if unhealthy { usize::MAX } else { 0 };
    }

    /// From now on so many machines do not answer.
    pub(crate) fn unhealthy_machines(&self, count: usize) {
        self.seen().unhealthy = count;
    }

    /// From now on requests say something else, as those of another version did: `from` and `to` as they are encoded.
    pub(crate) fn rewrite(&self, from: &str, to: &str) {
        self.seen().rewritten.push((from.to_owned(), to.to_owned()));
    }

    /// Requests are sent as they are again.
    pub(crate) fn rewrite_nothing(&self) {
        self.seen().rewritten.clear();
    }

    /// The passwords that database servers were given since the last time.
    pub(crate) fn passwords(&self) -> Vec<String> {
        std::mem::take(&mut self.seen().passwords)
    }

    /// Answers say something else from now on.
    pub(crate) fn edit(&self, edit: impl FnMut(&str, &str, String) -> String + Send + 'static) {
        self.seen().edit = Some(Box::new(edit));
    }

    /// Answers are moto's own again.
    pub(crate) fn no_edit(&self) {
        self.seen().edit = None;
    }

    /// Machines are real from now on, in one network of this range.
    pub(crate) fn machines(&self, machines: Arc<dyn Machines>, range: &str) {
        self.seen().machines = Some((machines, range.to_owned()));
    }

    pub(crate) fn no_faults(&self) {
        self.seen().faults = None;
    }

    /// The actions that were asked for since the last time.
    pub(crate) fn actions(&self) -> Vec<String> {
        std::mem::take(&mut self.seen().actions)
    }

    pub(crate) fn forget_parameters(&self) {
        self.seen().parameters.clear();
    }

    /// The parameters that were sent so far, as `Action.Parameter`.
    pub(crate) fn parameters(&self) -> BTreeSet<String> {
        self.seen().parameters.clone()
    }

    /// Calls past the proxy, for what happens behind the program's back.
    pub(crate) fn direct(&self) -> String {
        self.proxy.target.clone()
    }

    /// A client.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Asks moto itself for what the program has no call for, as `Action=...&Field=...`; the answer is XML.
    pub(crate) async fn ask(&self, service: &str, query: &str) -> String {
        let version = match service {
            "ec2" => "2016-11-15",
            "rds" => "2014-10-31",
            "autoscaling" => "2011-01-01",
            "iam" => "2010-05-08",
            _ => "2015-12-01",
        };
        let answer = self.proxy.ask(service, &format!("{query}&Version={version}")).await;
        assert!(!answer.contains("<Error>") && !answer.contains("<Errors>"), "{query}: {answer}");
        answer
    }

    /// A NAT gateway is deleted behind the program's back; moto leaves its address in use.
    pub(crate) async fn lose_gateway(&self, gateway: &NatGateway) {
        self.client.delete_nat_gateway().nat_gateway_id(&gateway.nat_gateway_id).send().await.unwrap();
        for used in &gateway.nat_gateway_address_set {
            for address in self.client.list::<Address>(&[("allocation-id", &used.allocation_id)]).await.unwrap() {
                self.client.disassociate_address().association_id(&address.association_id).send().await.unwrap();
            }
        }
    }

    /// A machine gets these security groups behind the program's back.
    pub(crate) async fn regroup(&self, id: &str, groups: &[&str]) {
        let groups: String =
            groups.iter().enumerate().map(|(at, group)| format!("&GroupId.{}={group}", at + 1)).collect();
        let request = format!("Action=ModifyInstanceAttribute&InstanceId={id}{groups}");
        self.ask("ec2", &request).await;
        self.proxy.regroup(&request).await;
    }

    /// A group of subnets gets these behind the program's back.
    pub(crate) async fn change_subnet_group(&self, name: &str, subnets: &[&str]) {
        let subnets = subnets.iter().enumerate();
        let subnets: String =
            subnets.map(|(at, subnet)| format!("&SubnetIds.SubnetIdentifier.{}={subnet}", at + 1)).collect();
        self.proxy.regroup_subnets(&format!("DBSubnetGroupName={name}{subnets}")).await;
    }

    /// Stops all databases behind the program's back.
    pub(crate) async fn stop_databases(&self) {
        for server in self.client.db_instances().await.unwrap() {
            let query = format!("Action=StopDBInstance&Version=2014-10-31&DBInstanceIdentifier={}", server.identifier);
            self.proxy.ask("rds", &query).await;
        }
    }

    /// Takes our tags off an object, as if someone else had made it.
    pub(crate) async fn strip_tags(&self, id: &str) {
        let names = ["infra-env", "infra-id", "infra-project", "infra-token", "infra-ready"];
        let tags: String = names.iter().enumerate().map(|(at, name)| format!("&Tag.{}.Key={name}", at + 1)).collect();
        self.proxy.ask("ec2", &format!("Action=DeleteTags&Version=2016-11-15&ResourceId.1={id}{tags}")).await;
    }

    /// A database server loses the tag that says that it was finished.
    pub(crate) async fn untag_database(&self, arn: &str) {
        let form =
            format!("Action=RemoveTagsFromResource&Version=2014-10-31&ResourceName={arn}&TagKeys.member.1=infra-ready");
        self.proxy.ask("rds", &form).await;
    }

    /// Terminates a machine behind the program's back.
    pub(crate) async fn lose(&self, id: &str) {
        self.client.terminate_instances().instance_id(vec![id]).send().await.unwrap();
        self.proxy.reconcile().await;
    }

    /// The groups of settings; moto makes one by itself for each version.
    async fn parameter_groups(&self) -> usize {
        let all = self.client.db_parameter_groups().await.unwrap();
        all.iter().filter(|group| !group.name.starts_with("default")).count()
    }

    async fn all<T: Listed>(&self) -> Vec<T> {
        self.client.list(&[]).await.unwrap()
    }

    /// How many objects of each kind the account has; what is terminated or deleted does not count.
    pub(crate) async fn count(&self) -> Vec<(&'static str, usize)> {
        let instances = self.client.instances(&[]).await.unwrap();
        let running =
            instances.iter().filter(|i| !matches!(i.instance_state.name.as_str(), "terminated" | "shutting-down"));
        let gateways = self.all::<NatGateway>().await;
        vec![
            ("networks", self.all::<Vpc>().await.len()),
            ("subnets", self.all::<Subnet>().await.len()),
            ("internet gateways", self.all::<InternetGateway>().await.len()),
            ("route tables", self.all::<RouteTable>().await.len()),
            ("security groups", self.all::<SecurityGroup>().await.len()),
            ("addresses", self.all::<Address>().await.len()),
            ("gateways", gateways.iter().filter(|gateway| gateway.state != "deleted").count()),
            // First disks carry no tags; moto leaves those of a group's machines behind.
            ("volumes", self.all::<Volume>().await.iter().filter(|volume| !volume.tag_set.is_empty()).count()),
            ("machines", running.count()),
            ("templates", self.all::<LaunchTemplate>().await.len()),
            ("groups", self.client.auto_scaling_groups(None).await.unwrap().len()),
            ("roles", self.client.roles("/infra/").await.unwrap().len()),
            ("zones", self.client.hosted_zones().await.unwrap().len()),
            ("databases", self.client.db_instances().await.unwrap().len()),
            ("groups of subnets", self.client.db_subnet_groups().await.unwrap().len()),
            ("groups of settings", self.parameter_groups().await),
            ("profiles", self.client.instance_profiles("/infra/").await.unwrap().len()),
            ("balancers", self.client.load_balancers().await.unwrap().len()),
            ("groups of targets", self.client.target_groups().await.unwrap().len()),
        ]
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let mistakes = std::mem::take(&mut self.seen().mistakes);
            assert!(mistakes.is_empty(), "requests that the service model does not allow: {mistakes:#?}");
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A parameter of a request.
fn field(request: &str, name: &str) -> String {
    let pairs = request.split('&').filter_map(|pair| pair.split_once('='));
    let found = pairs.filter(|(key, _)| *key == name).map(|(_, value)| decode(value)).next();
    found.unwrap_or_default()
}

/// The text of the first element of a name.
fn element(text: &str, name: &str) -> Option<String> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    Some(rest.split_once("</")?.0.to_owned())
}

impl Proxy {
    /// Asks moto itself.
    async fn ask(&self, service: &str, query: &str) -> String {
        let scope = format!("Credential=test/20260101/{REGION}/{service}/aws4_request");
        let request = self.http.post(format!("{}/", self.target)).body(query.to_owned());
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        let request =
            request.header("authorization", format!("AWS4-HMAC-SHA256 {scope}, SignedHeaders=host, Signature=x"));
        request.send().await.unwrap().text().await.unwrap()
    }

    /// Makes and removes real machines as moto's have come and gone. A machine has the private address that moto gave it.
    async fn reconcile(&self) {
        let Some((machines, range)) = self.seen.lock().unwrap().machines.clone() else { return };
        let listed = self.ask("ec2", "Action=DescribeInstances&Version=2016-11-15").await;
        let mut running = Vec::new();
        for part in listed.split("<instanceId>").skip(1) {
            let id = part.split_once("</").unwrap().0.to_owned();
            let state = part.split_once("<instanceState>").and_then(|(_, rest)| element(rest, "name"));
            if state.is_some_and(|state| state == "running")
                && let Some(address) = element(part, "privateIpAddress")
            {
                running.push((id, address));
            }
        }
        let (gone, new) = {
            let mut seen = self.seen.lock().unwrap();
            let gone: Vec<String> =
                seen.real.iter().filter(|id| !running.iter().any(|(other, _)| other == *id)).cloned().collect();
            let new: Vec<(String, String)> = running.into_iter().filter(|(id, _)| !seen.real.contains(id)).collect();
            seen.real.retain(|id| !gone.contains(id));
            seen.real.extend(new.iter().map(|(id, _)| id.clone()));
            (gone, new)
        };
        for (id, address) in new {
            let query =
                format!("Action=DescribeInstanceAttribute&Version=2016-11-15&Attribute=userData&InstanceId={id}");
            let answer = self.ask("ec2", &query).await;
            let encoded = answer.split_once("<userData>").and_then(|(_, rest)| element(rest, "value")).unwrap();
            let user_data = base64::engine::general_purpose::STANDARD.decode(encoded.trim()).unwrap();
            let (machines, range) = (Arc::clone(&machines), range.clone());
            let made = tokio::task::spawn_blocking(move || {
                machines.create(&id, &id, ("vpc", &range), Some(&address), &String::from_utf8(user_data).unwrap());
            });
            made.await.unwrap();
        }
        let removed = tokio::task::spawn_blocking(move || gone.iter().for_each(|id| machines.delete(id)));
        removed.await.unwrap();
    }

    /// moto adds the groups of a machine to those of its interface; the cloud has one set of them.
    async fn regroup(&self, request: &str) {
        let machine = field(request, "InstanceId");
        let query = format!("Action=DescribeInstances&Version=2016-11-15&InstanceId.1={machine}");
        let listed = self.ask("ec2", &query).await;
        let interface = element(&listed, "networkInterfaceId").unwrap();
        let pairs = request.split('&').filter_map(|pair| pair.split_once('='));
        let groups =
            pairs.filter_map(|(key, id)| Some(format!("&SecurityGroupId.{}={id}", key.strip_prefix("GroupId.")?)));
        let groups: String = groups.collect();
        let query =
            format!("Action=ModifyNetworkInterfaceAttribute&Version=2016-11-15&NetworkInterfaceId={interface}{groups}");
        self.ask("ec2", &query).await;
    }

    /// moto forgets a group of subnets that is changed: it is made again.
    async fn regroup_subnets(&self, request: &str) -> String {
        let name = field(request, "DBSubnetGroupName");
        let version = "Version=2014-10-31";
        let arn = format!("arn:aws:rds:{REGION}:123456789012:subgrp:{name}");
        let listed = self.ask("rds", &format!("Action=ListTagsForResource&{version}&ResourceName={arn}")).await;
        let tags = listed.split("<Tag>").skip(1).enumerate().map(|(at, tag)| {
            let of = |name: &str| element(tag, name).unwrap_or_default();
            let at = at + 1;
            format!("&Tags.Tag.{at}.Key={}&Tags.Tag.{at}.Value={}", of("Key"), of("Value"))
        });
        let tags: String = tags.collect();
        let pairs = request.split('&').filter(|pair| pair.starts_with("SubnetIds."));
        let subnets: String = pairs.map(|pair| format!("&{pair}")).collect();
        self.ask("rds", &format!("Action=DeleteDBSubnetGroup&{version}&DBSubnetGroupName={name}")).await;
        let query = format!("Action=CreateDBSubnetGroup&{version}&DBSubnetGroupName={name}&DBSubnetGroupDescription=x");
        self.ask("rds", &format!("{query}{subnets}{tags}")).await
    }

    /// A request as it is sent on.
    fn rewritten(&self, text: String, body: Bytes) -> (String, Bytes) {
        let pairs = self.seen.lock().unwrap().rewritten.clone();
        if !pairs.iter().any(|(from, _)| text.contains(from.as_str())) {
            return (text, body);
        }
        let text = pairs.iter().fold(text, |text, (from, to)| text.replace(from.as_str(), to));
        (text.clone(), Bytes::from(text))
    }

    /// A database that is real, behind the address that moto has told.
    async fn database(&self, request: &str, answer: &str) {
        let Some((machines, range)) = self.seen.lock().unwrap().machines.clone() else { return };
        let of = |name: &str| field(request, name);
        let script = database_server(
            5432,
            &[(of("MasterUsername"), of("MasterUserPassword"))],
            &[(of("DBName"), of("MasterUsername"))],
        );
        let (id, address) = (of("DBInstanceIdentifier"), element(answer, "Address").unwrap());
        let made = tokio::task::spawn_blocking(move || machines.create(&id, &address, ("vpc", &range), None, &script));
        made.await.unwrap();
    }

    /// Public addresses are the private ones, since moto's lead nowhere.
    fn readdressed(&self, answer: String) -> String {
        let mut seen = self.seen.lock().unwrap();
        if seen.machines.is_none() {
            return answer;
        }
        for part in answer.split("<instanceId>").skip(1) {
            if let (Some(private), Some(public)) = (element(part, "privateIpAddress"), element(part, "ipAddress"))
                && private != public
            {
                seen.public.push((public, private));
            }
        }
        seen.public.iter().fold(answer, |text, (public, private)| {
            text.replace(&format!("<ipAddress>{public}</ipAddress>"), &format!("<ipAddress>{private}</ipAddress>"))
        })
    }
}

/// What moto does not have: the exchange of the machines of a group. The machines stay those that they are: moto makes none from
/// the second version of a template.
fn exchange(action: &str) -> Option<&'static str> {
    match action {
        "StartInstanceRefresh" => Some(
            "<R><StartInstanceRefreshResult><InstanceRefreshId>r-1</InstanceRefreshId></StartInstanceRefreshResult></R>",
        ),
        "DescribeInstanceRefreshes" => Some(
            "<R><DescribeInstanceRefreshesResult><InstanceRefreshes><member><InstanceRefreshId>r-1</InstanceRefreshId>\
             <Status>Successful</Status></member></InstanceRefreshes></DescribeInstanceRefreshesResult></R>",
        ),
        _ => None,
    }
}

/// The answer to a call that moto does not know.
fn unknown_to_moto(action: &str, request: &str) -> Option<String> {
    if action == "DescribeOrderableDBInstanceOptions" {
        return Some(database_offerings(request));
    }
    exchange(action).map(str::to_owned)
}

/// What moto does not have: the classes of PostgreSQL servers.
fn database_offerings(request: &str) -> String {
    let classes =
        ["t3.micro", "t3.small", "t3.medium", "t3.large", "r6i.large", "t3.xlarge", "r6i.xlarge", "m6i.4xlarge"];
    let class = field(request, "DBInstanceClass");
    let mut options = String::new();
    let asked = classes.iter().filter(|known| class.is_empty() || class == format!("db.{known}"));
    for (version, disk) in
        asked.flat_map(|_| ["13.4", "14.9", "15.4", "16.1", "17.2"]).flat_map(|v| [(v, "gp2"), (v, "gp3")])
    {
        let zones =
            ["a", "b", "c"].map(|zone| format!("<AvailabilityZone><Name>{REGION}{zone}</Name></AvailabilityZone>"));
        options += &format!(
            "<OrderableDBInstanceOption><EngineVersion>{version}</EngineVersion><StorageType>{disk}</StorageType>\
             <AvailabilityZones>{}</AvailabilityZones></OrderableDBInstanceOption>",
            zones.concat()
        );
    }
    format!(
        "<R><DescribeOrderableDBInstanceOptionsResult><OrderableDBInstanceOptions>{options}</OrderableDBInstanceOptions>\
         </DescribeOrderableDBInstanceOptionsResult></R>"
    )
}

/// The settings of databases that have their usual values again: moto cannot take a setting back.
#[derive(Default)]
struct ResetSettings(BTreeSet<(String, String)>);

impl ResetSettings {
    /// What a call does to them; the answer to one that moto does not know.
    fn change(&mut self, action: &str, request: &str) -> Option<&'static str> {
        let group = field(request, "DBParameterGroupName");
        let pairs = request.split('&').filter_map(|pair| pair.split_once('='));
        let named =
            pairs.filter(|(key, _)| key.ends_with(".ParameterName")).map(|(_, name)| (group.clone(), decode(name)));
        match action {
            "ResetDBParameterGroup" => {
                self.0.extend(named);
                Some(
                    "<R><ResetDBParameterGroupResult><DBParameterGroupName>x</DBParameterGroupName></ResetDBParameterGroupResult></R>",
                )
            }
            "ModifyDBParameterGroup" => {
                self.0 = &self.0 - &named.collect();
                None
            }
            _ => None,
        }
    }

    /// An answer without them.
    fn without_reset(&self, group: &str, answer: &str) -> String {
        let (begin, end) = ("<Parameter>", "</Parameter>");
        let mut parts = answer.split(begin);
        let mut text = parts.next().unwrap().to_owned();
        for part in parts {
            let (inside, rest) = part.split_once(end).unwrap();
            let name = element(inside, "ParameterName").unwrap();
            if !self.0.contains(&(group.to_owned(), name)) {
                text += &format!("{begin}{inside}{end}");
            }
            text += rest;
        }
        text
    }
}

/// Calls after which machines may have come or gone.
const MOVES_MACHINES: &[&str] = &[
    "RunInstances",
    "TerminateInstances",
    "CreateAutoScalingGroup",
    "UpdateAutoScalingGroup",
    "DeleteAutoScalingGroup",
];

/// Undoes percent-encoding.
fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first == b'%' && rest.len() >= 2 {
            bytes.push(u8::from_str_radix(std::str::from_utf8(&rest[..2]).unwrap(), 16).unwrap());
            rest = &rest[2..];
        } else {
            bytes.push(*first);
        }
    }
    String::from_utf8(bytes).unwrap()
}

impl Proxy {
    /// Notes a call, with its parameters where it has them in its text, and says what goes wrong with it.
    fn note(&self, action: &str, query: Option<&str>) -> Option<Fault> {
        let mut seen = self.seen.lock().unwrap();
        seen.actions.push(action.to_owned());
        if let Some(text) = query {
            let pairs: Vec<(String, String)> = text
                .split('&')
                .filter_map(|pair| pair.split_once('='))
                .map(|(name, value)| (name.to_owned(), decode(value)))
                .collect();
            let first = |name: &str| name.split('.').next().unwrap_or_default().to_owned();
            seen.parameters.extend(pairs.iter().map(|(name, _)| format!("{action}.{}", first(name))));
            seen.mistakes.extend(aws_model::check(&pairs));
            let passwords = pairs.iter().filter(|(name, _)| name == "MasterUserPassword");
            seen.passwords.extend(passwords.map(|(_, value)| value.clone()));
        }
        seen.faults.as_mut().and_then(|faults| faults(action))
    }
}

async fn forward(
    State(proxy): State<Proxy>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes,
) -> Response<Body> {
    let text = String::from_utf8_lossy(&body).into_owned();
    let (text, body) = proxy.rewritten(text, body);
    let action = text.split('&').find_map(|pair| pair.strip_prefix("Action=")).unwrap_or_default().to_owned();
    let action = headers
        .get("x-amz-target")
        .and_then(|target| target.to_str().ok()?.rsplit_once('.'))
        .map_or(action, |(_, action)| action.to_owned());
    // Route 53 has paths instead of actions.
    let action = if action.is_empty() { format!("{method} {}", uri.path()) } else { action };
    let is_query = uri.path() == "/" && headers.get("x-amz-target").is_none();
    let fault = proxy.note(&action, is_query.then_some(text.as_str()));
    let refuse = |status: u16, code: &str| {
        let body = format!(
            "<Response><Errors><Error><Code>{code}</Code><Message>out of order</Message></Error></Errors>\
             <RequestID>simulated</RequestID></Response>"
        );
        Response::builder().status(status).body(Body::from(body)).unwrap()
    };
    match fault {
        Some(Fault::Throttle) => return refuse(503, "RequestLimitExceeded"),
        Some(Fault::Refuse) => return refuse(400, "UnauthorizedOperation"),
        Some(Fault::Code(code)) => return refuse(400, code),
        _ => {}
    }
    // moto attaches a volume to any number of machines.
    if action == "AttachVolume" {
        let query = format!("Action=DescribeVolumes&Version=2016-11-15&VolumeId.1={}", field(&text, "VolumeId"));
        if element(&proxy.ask("ec2", &query).await, "status").is_some_and(|status| status == "in-use") {
            return refuse(400, "VolumeInUse");
        }
    }
    if let Some(mut answer) = unknown_to_moto(&action, &text) {
        if let Some(edit) = proxy.seen.lock().unwrap().edit.as_mut() {
            answer = edit(&action, &text, answer);
        }
        return Response::builder().status(200).body(Body::from(answer)).unwrap();
    }
    if let Some(answer) = proxy.seen.lock().unwrap().settings.change(&action, &text) {
        return Response::builder().status(200).body(Body::from(answer)).unwrap();
    }
    if action == "ModifyDBSubnetGroup" {
        let answer = proxy.regroup_subnets(&text).await.replace("CreateDB", "ModifyDB");
        return Response::builder().status(200).body(Body::from(answer)).unwrap();
    }
    let conditional = headers.contains_key("if-match") || headers.contains_key("if-none-match");
    let _one_by_one = if conditional { Some(proxy.conditional.lock().await) } else { None };
    let mut request = proxy.http.request(method, format!("{}{uri}", proxy.target)).body(body);
    for (name, value) in headers.iter().filter(|(name, _)| !matches!(name.as_str(), "host" | "content-length")) {
        request = request.header(name, value);
    }
    let answer = request.send().await.unwrap();
    let tag = answer.headers().get("etag").cloned();
    let (status, mut bytes) = (answer.status().as_u16(), answer.bytes().await.unwrap());
    if status == 200 && headers.get("x-amz-target").is_none() {
        if MOVES_MACHINES.contains(&action.as_str()) {
            proxy.reconcile().await;
        }
        if action == "ModifyInstanceAttribute" && text.contains("GroupId.1=") {
            proxy.regroup(&text).await;
        }
        if action == "CreateDBInstance" {
            proxy.database(&text, &String::from_utf8_lossy(&bytes)).await;
        }
        if action == "DeleteDBInstance" {
            let machines = proxy.seen.lock().unwrap().machines.clone();
            let name = field(&text, "DBInstanceIdentifier");
            let removed = tokio::task::spawn_blocking(move || machines.inspect(|(m, _)| m.delete(&name)));
            drop(removed.await.unwrap());
        }
        if action == "DeleteVpc" {
            let machines = proxy.seen.lock().unwrap().machines.clone();
            let removed = tokio::task::spawn_blocking(move || machines.inspect(|(m, _)| m.delete_subnet("vpc")));
            drop(removed.await.unwrap());
        }
        let mut answer = String::from_utf8_lossy(&bytes).into_owned();
        if action == "DescribeDBParameters" {
            answer = proxy.seen.lock().unwrap().settings.without_reset(&field(&text, "DBParameterGroupName"), &answer);
        }
        if action == "DescribeTargetHealth" {
            let count = proxy.seen.lock().unwrap().unhealthy;
            answer = answer.replacen("<State>healthy</State>", "<State>unhealthy</State>", count);
        }
        answer = proxy.readdressed(answer);
        if let Some(edit) = proxy.seen.lock().unwrap().edit.as_mut() {
            answer = edit(&action, &text, answer);
        }
        bytes = Bytes::from(answer);
    }
    if fault == Some(Fault::LoseAnswer) {
        return Response::builder().status(502).body(Body::from("<html>bad gateway")).unwrap();
    }
    let mut response = Response::builder().status(status);
    if let Some(tag) = tag {
        response = response.header("etag", tag);
    }
    response.body(Body::from(bytes)).unwrap()
}
