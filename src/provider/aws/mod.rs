//! Amazon Web Services: a network of its own for each environment, and the machines in it.
//!
//! Objects carry our labels as tags from the moment in which they are made. What takes several calls is tagged once more at
//! its end: an object without that last tag was left half made, and is completed by the next apply.

mod address;
mod adopt;
mod balancer;
mod check;
mod compute;
mod diagnose;
mod dns;
mod gateway;
mod group;
mod health;
mod iam;
mod inventory;
mod kinds;
mod layout;
mod leftovers;
mod network;
mod postgres;
mod quota;
mod ranges;
mod route_table;
mod security_group;
mod subnet;
mod wait;

use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use self::wait::Awaited;
use super::{
    Driver, Entry, Finding, Health, LABEL_ENV, LABEL_ID, LABEL_PROJECT, LABEL_TOKEN, Object, Owner, Provider, Request,
    Treatment, bill::bill, kind::Row,
};
use crate::{
    cloud::{
        aws::{
            AwsError, AwsSettings, Client, DESCRIPTOR, Settings,
            credentials::Sources,
            ec2::{Tag, Tags},
        },
        retry::Attempts,
    },
    config::Environment,
    cost::Item,
    encoding,
    error::{Diagnostic, Error, Result},
    event::Events,
    name::Name,
    resource::{Address, KindName, LABEL_EXPIRES, LABEL_PROTECT, Policy, Resource, Terms},
};

/// The tag that says that an object was finished.
const READY: &str = "infra-ready";
/// The tag with what an object is for, where it is no resource of its own but a part of one.
const PART: &str = "infra-part";
/// Names that are unique in the account begin so.
const PREFIX: &str = "infra-";
/// How long a removal is tried again while something else is still being removed.
const IN_USE: Duration = Duration::from_mins(5);
/// How long an object may take to come to rest.
const SETTLE: Duration = Duration::from_mins(15);
/// How often it is looked at meanwhile.
const POLL: Duration = Duration::from_secs(2);
/// How long the lists of the cloud may lag behind its calls.
const SHOWN: Duration = Duration::from_mins(1);
/// How often a call of unknown fate is looked up and made again.
const UNKNOWN: u32 = 3;

/// The entry of this provider.
pub(super) const ENTRY: Entry = Entry {
    descriptor: &DESCRIPTOR,
    treatment: kinds::of,
    policy: Policy {
        rules: |kind| Treatment::rules(kinds::of(kind)),
        level: |kind| Treatment::level(kinds::of(kind), kind),
    },
    open: |environment| Ok(Box::new(Aws::open(environment)?)),
    here: None,
};

/// The provider of one account in one region.
pub struct Aws {
    region: String,
    account: Account,
    drivers: Vec<(KindName, Box<dyn Driver>)>,
}

/// The client and what every call needs beside it.
#[derive(Clone)]
struct Account {
    client: Client,
    settings: AwsSettings,
    zone: String,
    /// Whether playbooks install something on the machines.
    configured: bool,
    awaited: Awaited,
}

impl Aws {
    /// The provider for the account and the region of an environment.
    ///
    /// # Errors
    /// When no region is named.
    pub fn open(environment: &Environment) -> Result<Self> {
        let settings = environment.section::<AwsSettings>().clone();
        let mut sources = Sources::of_process(settings.profile.clone());
        let profile = settings.profile.as_ref();
        let places = profile.map(|name| environment.places_of(&std::collections::BTreeSet::new(), name));
        sources.place = places.and_then(|places| places.first().map(ToString::to_string));
        if let Some(file) = &settings.shared_credentials_file {
            let path = environment.folder.join(file).display().to_string();
            sources.variables.insert("AWS_SHARED_CREDENTIALS_FILE".to_owned(), path);
        }
        let region = match settings.region.clone().or_else(|| sources.variable("AWS_REGION").map(str::to_owned)) {
            Some(region) => Some(region),
            None => sources.variable("AWS_DEFAULT_REGION").map(str::to_owned).or(sources.setting("region")?),
        };
        let region = region.ok_or_else(|| {
            Error::usage("provider `aws` needs a region").hint("write `aws: {region: eu-central-1}`, or set AWS_REGION")
        })?;
        let mut endpoints: std::collections::BTreeMap<String, String> =
            settings.endpoints.clone().into_iter().collect();
        let variables = [
            ("ec2", "AWS_ENDPOINT_URL_EC2"),
            ("ssm", "AWS_ENDPOINT_URL_SSM"),
            ("sts", "AWS_ENDPOINT_URL_STS"),
            ("sso", "AWS_ENDPOINT_URL_SSO"),
            ("elasticloadbalancing", "AWS_ENDPOINT_URL_ELASTIC_LOAD_BALANCING_V2"),
            ("rds", "AWS_ENDPOINT_URL_RDS"),
            ("autoscaling", "AWS_ENDPOINT_URL_AUTO_SCALING"),
            ("iam", "AWS_ENDPOINT_URL_IAM"),
            ("route53", "AWS_ENDPOINT_URL_ROUTE_53"),
        ];
        for (service, variable) in variables {
            if let Some(endpoint) = sources.variable(variable) {
                endpoints.entry(service.to_owned()).or_insert_with(|| endpoint.to_owned());
            }
        }
        let endpoint = settings.endpoint.clone().or_else(|| sources.variable("AWS_ENDPOINT_URL").map(str::to_owned));
        let zone = settings.zone.clone().unwrap_or_else(|| format!("{region}a"));
        let client = Client::new(Settings { region: region.clone(), endpoint, endpoints }, sources)?;
        let configured = !environment.playbooks.is_empty();
        let account = Account { client, settings, zone, configured, awaited: Awaited::default() };
        Ok(Self { region, drivers: Row::drivers(kinds::KINDS, &account), account })
    }
}

#[async_trait]
impl Provider for Aws {
    fn name(&self) -> &'static str {
        "aws"
    }

    fn place(&self) -> String {
        let profile = self.account.settings.profile.as_ref().map(|profile| format!(" by the profile {profile}"));
        format!("region {}{}", self.region, profile.unwrap_or_default())
    }

    async fn account(&self) -> Result<String> {
        let caller = self.account.client.caller_identity().await?;
        Ok(format!("account {} in {}", caller.account, self.region))
    }

    fn concurrency(&self) -> usize {
        16
    }

    fn driver(&self, kind: KindName) -> Option<&dyn Driver> {
        super::driver(&self.drivers, kind)
    }

    fn resources(&self, environment: &Environment) -> Vec<Resource> {
        layout::resources(environment, &self.account.zone)
    }

    fn policy(&self) -> Policy {
        ENTRY.policy
    }

    fn check(&self, environment: &Environment) -> Vec<Diagnostic> {
        check::check(environment, &self.account.zone)
    }

    async fn prepare(&self, _resources: &[&Resource], _events: &Events) -> Result<()> {
        Ok(())
    }

    fn bill(&self, resources: &[Resource]) -> Vec<Item> {
        bill(resources, self.account.client.region(), kinds::of)
    }

    async fn diagnose(&self, _owner: &Owner, created: &[Resource], changed: &[Resource]) -> Vec<Finding> {
        diagnose::findings(&self.account, created, changed).await
    }

    async fn labelled(&self, environment: Option<&Name>) -> Result<Vec<Object>> {
        let other = |kind: KindName| matches!(kind, KindName::DNS_ZONE | KindName::POSTGRES);
        let others = self.drivers.iter().filter(|(kind, _)| other(*kind));
        let others = others.map(|(_, driver)| driver.list(environment));
        // Groups of machines have balancers, too.
        let balancing = balancer::Balancing::default();
        let balancer = balancer::LoadBalancerDriver(self.account.clone());
        let balancers = balancer.seen(&balancing, environment);
        let machines = inventory::objects(&self.account, environment, &balancing);
        let accounts = async {
            let account = || self.account.clone();
            let mut accounts = iam::ServiceAccountDriver(account()).list(environment).await?;
            accounts.extend(iam::RoleBindingDriver(account()).of(&accounts).await?);
            Ok(accounts)
        };
        let others = futures::future::try_join_all(others);
        let (others, balancers, machines, accounts) = tokio::try_join!(others, balancers, machines, accounts)?;
        let others = others.into_iter().flatten().chain(balancers);
        let mut objects: Vec<Object> = others.chain(machines).chain(accounts).collect();
        postgres::relate(&mut objects);
        Ok(objects)
    }

    /// The tags of the network say it for the whole environment.
    async fn mark(&self, _owner: &Owner, terms: &Terms, objects: &[Object]) -> Result<()> {
        let networks = objects.iter().filter(|object| object.address.kind == KindName::NETWORK);
        let networks: Vec<&str> = networks.map(|object| object.id.as_str()).collect();
        // A tag that is not named stays as it was: what is not protected or does not expire any more says so.
        let unprotected = (!terms.protect).then(|| (LABEL_PROTECT.to_owned(), "false".to_owned()));
        let endless = terms.expires.is_none().then(|| (LABEL_EXPIRES.to_owned(), "never".to_owned()));
        if !networks.is_empty() {
            self.account.put_tags(networks, terms.labels().chain(unprotected).chain(endless)).await?;
        }
        Ok(())
    }

    async fn adopt(&self, id: &str, request: &Request<'_>) -> Result<Object> {
        let seen = self.account.adopt(id, request).await?;
        let kind = request.resource.address.kind;
        let driver = self.driver(kind).ok_or_else(|| Error::new(format!("aws: there is no {}", kind.as_str())))?;
        let mut object = self.account.made(driver, request).await?;
        object.actual.extend(seen);
        Ok(object)
    }

    async fn kept(&self, owner: &Owner) -> Result<Vec<String>> {
        self.account.snapshots(owner).await
    }

    fn devices(&self, disks: &[&str]) -> Option<Vec<String>> {
        Some(compute::devices(disks))
    }

    async fn why_down(&self, id: &str) -> Option<Error> {
        let found = self.account.client.instances(&[("instance-id", id)]).await.ok()?;
        let Some(instance) = found.first() else { return Some(Error::new("the machine is gone")) };
        let state = instance.instance_state.name.as_str();
        let down = matches!(state, "stopped" | "stopping" | "terminated" | "shutting-down");
        down.then(|| Error::new(format!("the machine is {state}: {}", instance.state_reason.message)))
    }
}

/// A name that is unique in the account, and the same for the same intent; the names of balancers have 32 letters at most.
fn unique_name(token: &str, port: Option<u16>) -> String {
    let digest = encoding::hex(&Sha256::digest(token)[..8]);
    port.map_or_else(|| format!("{PREFIX}{digest}"), |port| format!("{PREFIX}{digest}-{port}"))
}

impl Account {
    /// The tags of an object. Its name is for people.
    fn tags(request: &Request<'_>) -> Tags {
        let mut tags: Tags = request.labels();
        tags.insert("Name".to_owned(), format!("{}-{}", request.environment, request.resource.address.name));
        tags
    }

    /// The tags of a part of an object: they do not make it an object of its own.
    fn part_tags(request: &Request<'_>, part: &str) -> Tags {
        let mut tags = Self::tags(request);
        tags.remove(LABEL_ID);
        tags.insert(PART.to_owned(), part.to_owned());
        tags
    }

    /// The filter for objects of one environment or of all.
    fn filter(environment: Option<&Name>) -> (String, String) {
        match environment {
            Some(name) => (format!("tag:{LABEL_ENV}"), name.to_string()),
            None => ("tag-key".to_owned(), LABEL_ENV.to_owned()),
        }
    }

    /// Says that an object is finished.
    async fn finish(&self, id: &str) -> Result<()> {
        Ok(self.put_tags(vec![id], [(READY.to_owned(), "yes".to_owned())]).await?)
    }

    /// Lays tags on objects, beside those that they have.
    async fn put_tags(&self, ids: Vec<&str>, tags: impl IntoIterator<Item = (String, String)>) -> Result<(), AwsError> {
        let tags = tags.into_iter().map(|(key, value)| json!({ "Key": key, "Value": value })).collect();
        self.client.create_tags().resource_id(ids).tag(tags).send().await.map(drop)
    }

    /// Makes something whose call cannot be repeated blindly: when its answer is lost, it is looked up by its tags first.
    async fn make<C, F, G, H>(&self, call: C, id: &str, find: G) -> Result<String, AwsError>
    where
        C: Fn() -> F,
        F: Future<Output = Result<Value, AwsError>>,
        G: Fn() -> H,
        H: Future<Output = Result<Option<String>>>,
    {
        let mut lost = 0;
        loop {
            match call().await {
                Ok(answer) => {
                    let id = answer.pointer(id).and_then(Value::as_str);
                    return id.map(str::to_owned).ok_or_else(|| Error::new("aws: an answer without an id").into());
                }
                Err(AwsError::Unknown(_)) if lost < UNKNOWN => {
                    lost += 1;
                    // Lists may lag: only what does not show for a while was not made.
                    if let Some(id) = shown(&find).await? {
                        return Ok(id);
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The id of what the same intent has made already.
    async fn id_of(&self, driver: &dyn Driver, request: &Request<'_>) -> Result<Option<String>> {
        let listed = driver.list(Some(request.environment)).await?;
        Ok(listed.into_iter().find(|object| object.token == request.token).map(|object| object.id))
    }

    /// Removes something; "already gone" is success. What still uses it may just be going away.
    async fn remove<F: Future<Output = Result<Value, AwsError>>>(&self, call: impl Fn() -> F) -> Result<()> {
        let mut attempts = Attempts::within(IN_USE);
        loop {
            match call().await {
                Ok(_) => return Ok(()),
                Err(error) if error.is_not_found() => return Ok(()),
                Err(error) if error.is_in_use() => {
                    if !attempts.pause(format!("what uses it to be gone ({error})"), None).await {
                        return Err(error.into());
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Looks for something that was just made until it shows, or has had the time to.
async fn shown<T, F: Future<Output = Result<Option<T>>>>(look: impl Fn() -> F) -> Result<Option<T>> {
    let mut attempts = Attempts::within(SHOWN);
    loop {
        let found = look().await?;
        if found.is_some() || !attempts.pause("what was just made to be listed", None).await {
            return Ok(found);
        }
    }
}

/// Adds to the cloud's words what they are about, and where the file asks for it.
fn explain(error: AwsError, resource: &Resource) -> Error {
    let gone = error.is_not_found();
    let error = Error::from(error).context(format!("{} ({})", resource.address, resource.origin));
    if gone {
        error.hint("if it was removed while this command was running, run the same command again")
    } else {
        error
    }
}

/// The same for the call that creates an object: where the cloud has refused it nothing was created, so that the next attempt
/// is another one.
fn not_made(error: AwsError, resource: &Resource) -> Error {
    let refused = error.is_refused();
    let error = explain(error, resource);
    if refused { error.settled() } else { error }
}

/// An object that has come to rest: its addresses are known now, and what else the list has told of it still holds.
fn rested(listed: &Object, now: Option<Object>) -> Result<Object> {
    let lost = || Error::new(format!("aws: `{}` has lost its tags", listed.address));
    let Object { health, attributes, .. } = now.ok_or_else(lost)?;
    Ok(Object { health, attributes, ..listed.clone() })
}

/// What was asked about; nothing when it was removed between two calls. What is gone while we look at it counts as gone.
fn if_there<T>(found: Result<T, AwsError>) -> Result<Option<T>, AwsError> {
    match found {
        Err(error) if error.is_not_found() => Ok(None),
        found => found.map(Some),
    }
}

/// What is there already was made by the same intent: that is as good as having made it just now.
fn or_there(result: Result<Value, AwsError>) -> Result<(), AwsError> {
    match result {
        Err(error) if !error.is_duplicate() => Err(error),
        _ => Ok(()),
    }
}

fn tag<'a>(tags: &'a [Tag], key: &str) -> Option<&'a str> {
    tags.iter().find(|tag| tag.key == key).map(|tag| tag.value.as_str())
}

/// The object that a set of tags describes, when they are ours and its kind is the one that is asked for.
fn object(tags: &[Tag], kind: KindName, id: &str, created: &str) -> Option<Object> {
    let address: Address = tag(tags, LABEL_ID)?.parse().ok()?;
    if address.kind != kind {
        return None;
    }
    let text = |key: &str| tag(tags, key).unwrap_or_default().to_owned();
    Some(Object {
        environment: text(LABEL_ENV),
        address,
        project: text(LABEL_PROJECT),
        token: text(LABEL_TOKEN),
        id: id.to_owned(),
        created: created.parse::<jiff::Timestamp>().map_or(0, jiff::Timestamp::as_second),
        health: if tag(tags, READY).is_some() { Health::Ready } else { Health::Unfinished },
        terms: Terms::read(|key| tag(tags, key)),
        attributes: serde_json::Map::new(),
        actual: serde_json::Map::new(),
        links: None,
        outdated: None,
    })
}

/// The object that a resource needs.
fn needed<'a>(request: &'a Request<'_>, address: &Address) -> Result<&'a Object> {
    request.needs.get(address).ok_or_else(|| Error::new(format!("`{address}` does not exist")))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::{Account, Awaited, Client, Settings, Sources, shown, unique_name};
    use crate::{
        cloud::aws::{AwsError, AwsSettings},
        error::Error,
    };

    #[tokio::test(start_paused = true)]
    async fn a_call_whose_answer_is_lost_is_not_repeated_while_lists_lag() {
        let client = Client::new(Settings::default(), Sources::default()).unwrap();
        let settings = AwsSettings::default();
        let account = Account { client, settings, zone: String::new(), configured: false, awaited: Awaited::default() };
        let (calls, looks) = (AtomicU32::new(0), AtomicU32::new(0));
        let call = || async {
            calls.fetch_add(1, Ordering::SeqCst);
            Err(AwsError::Unknown(Error::new("the connection was closed")))
        };
        let find = || async { Ok((looks.fetch_add(1, Ordering::SeqCst) == 4).then(|| "vpc-1".to_owned())) };
        assert_eq!(account.make(call, "/vpcId", find).await.unwrap(), "vpc-1");
        assert_eq!(calls.load(Ordering::SeqCst), 1);
        // One that never shows is tried again, and not for ever.
        let never = || async { Ok(None) };
        assert!(account.make(call, "/vpcId", never).await.is_err());
        assert_eq!(calls.load(Ordering::SeqCst), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_made_may_show_late() {
        let looks = AtomicU32::new(0);
        let look = || async { Ok((looks.fetch_add(1, Ordering::SeqCst) == 3).then_some("made")) };
        assert_eq!(shown(look).await.unwrap(), Some("made"));
        let gone = shown::<(), _>(|| async { Ok(None) }).await;
        assert_eq!(gone.unwrap(), None);
    }

    #[test]
    fn names_are_short_and_the_same_for_the_same_intent() {
        let name = unique_name("a-token", Some(65535));
        assert!(name.len() <= 32, "{name}");
        assert_eq!(name, unique_name("a-token", Some(65535)));
        assert_ne!(name, unique_name("another", Some(65535)));
    }
}
