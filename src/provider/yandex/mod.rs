//! Yandex Cloud: machines, networks and what they stand on, in one folder of the cloud.
//!
//! Objects carry our labels, in the letters that labels may have there. Names are unique in a folder, so the names of objects
//! begin with the environment's.

mod adopt;
mod balancer;
mod compute;
mod dns;
mod group;
mod iam;
mod layout;
mod postgres;
mod postgres_settings;
mod registry;
pub(super) mod rules;
mod vpc;

use std::{path::PathBuf, time::Duration};

use async_trait::async_trait;
use sha2::{Digest, Sha256};

use super::{
    Driver, Finding, Health, LABEL_ENV, LABEL_PROJECT, LABEL_TOKEN, Object, Owner, Provider, Request,
    bill::{bill, quantity},
};
use crate::{
    cloud::{
        retry::Attempts,
        yandex::{Client, Credentials, Instance, Labels, Network, Operation, Settings, YandexError, auth::Key},
    },
    config::{Environment, YandexSettings},
    cost::Item,
    error::{Context, Diagnostic, Error, Result},
    event::Events,
    files, identity,
    name::Name,
    resource::{Address, InstanceGroupSpec, KindName, Policy, Resource, Terms, VmSpec},
    secret::Secret,
};

/// The label with an object's kind.
const LABEL_KIND: &str = "infra-kind";
/// The label with an object's name within its environment.
const LABEL_NAME: &str = "infra-name";
/// The region of all zones, in price files.
const PRICED: &str = "ru-central1";
/// How long a removal is tried again while something else is still being removed.
const IN_USE: Duration = Duration::from_mins(2);

/// The provider of one folder.
pub struct Yandex {
    account: Account,
    drivers: Vec<(KindName, Box<dyn Driver>)>,
    // These are listed two and two.
    network: vpc::NetworkDriver,
    security_group: vpc::SecurityGroupDriver,
    service_account: iam::ServiceAccountDriver,
    role_binding: iam::RoleBindingDriver,
}

/// The client and what every call needs beside it.
#[derive(Clone)]
struct Account {
    client: Client,
    folder: String,
    settings: YandexSettings,
}

impl Yandex {
    /// The provider for the folder that an environment names.
    ///
    /// # Errors
    /// When no folder is named, or the credentials cannot be read.
    pub fn open(environment: &Environment) -> Result<Self> {
        let settings = environment.yandex.clone();
        let folder = settings.folder_id.clone().ok_or_else(|| {
            Error::usage("provider `yandex` needs the folder that holds the environment")
                .hint("write `folder_id: b1g...` (`yc config get folder-id` shows yours)")
        })?;
        let endpoint = settings
            .endpoint
            .clone()
            .or_else(|| variable("YC_ENDPOINT"))
            .map(|endpoint| if endpoint.contains("://") { endpoint } else { format!("https://{endpoint}") });
        let endpoints = settings.endpoints.clone().into_iter().collect();
        let client = Client::new(Settings { endpoint, endpoints }, credentials(environment)?)?;
        let account = Account { client, folder, settings };
        Ok(Self {
            drivers: vec![
                (KindName::GATEWAY, Box::new(vpc::GatewayDriver(account.clone()))),
                (KindName::ROUTE_TABLE, Box::new(vpc::RouteTableDriver(account.clone()))),
                (KindName::SUBNET, Box::new(vpc::SubnetDriver(account.clone()))),
                (KindName::ADDRESS, Box::new(vpc::AddressDriver(account.clone()))),
                (KindName::DNS_ZONE, Box::new(dns::DnsZoneDriver(account.clone()))),
                (KindName::REGISTRY, Box::new(registry::RegistryDriver(account.clone()))),
                (KindName::DISK, Box::new(compute::DiskDriver(account.clone()))),
                (KindName::VM, Box::new(compute::VmDriver(account.clone()))),
                (KindName::INSTANCE_GROUP, Box::new(group::InstanceGroupDriver(account.clone()))),
                (KindName::POSTGRES, Box::new(postgres::PostgresDriver(account.clone()))),
                (KindName::LOAD_BALANCER, Box::new(balancer::LoadBalancerDriver(account.clone()))),
            ],
            network: vpc::NetworkDriver(account.clone()),
            security_group: vpc::SecurityGroupDriver(account.clone()),
            service_account: iam::ServiceAccountDriver(account.clone()),
            role_binding: iam::RoleBindingDriver::new(account.clone()),
            account,
        })
    }
}

#[expect(clippy::disallowed_methods, reason = "the variables that `yc` and other tools of this cloud honour")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// From the file, then from the variables that other tools honour too, then from the machine itself.
fn credentials(environment: &Environment) -> Result<Credentials> {
    let named = environment.yandex.service_account_key_file.as_ref();
    let path = named.map(|path| match path.strip_prefix("~/").zip(std::env::home_dir()) {
        Some((rest, home)) => home.join(rest),
        None => environment.folder.join(path),
    });
    if let Some(path) = path.or_else(|| variable("YC_SERVICE_ACCOUNT_KEY_FILE").map(PathBuf::from)) {
        let hint = "make one: `yc iam key create --service-account-name NAME --output key.json`";
        let text = files::read_text(&path).map_err(|error| error.hint(hint))?;
        let key = Key::parse(&text).context(|| format!("`{}`", path.display()))?;
        return Ok(Credentials::Key(key));
    }
    Ok(match variable("YC_IAM_TOKEN").or_else(|| variable("YC_TOKEN")) {
        // IAM tokens begin with `t1.`; OAuth tokens with `y0_`, `y1_` or `AQ`.
        Some(token) if token.starts_with("t1.") => Credentials::IamToken(Secret::new(token)),
        Some(token) => Credentials::OAuthToken(Secret::new(token)),
        None => Credentials::Metadata,
    })
}

#[async_trait]
impl Provider for Yandex {
    fn name(&self) -> &'static str {
        "yandex"
    }

    fn place(&self) -> String {
        format!("folder {}", self.account.folder)
    }

    async fn account(&self) -> Result<String> {
        // The id of a folder is one of its kind in all clouds, and credentials that do not reach the folder are refused by
        // every call: nobody needs to be asked.
        Ok(format!("folder {}", self.account.folder))
    }

    fn concurrency(&self) -> usize {
        // The client itself holds the limit of operations on machines and disks.
        32
    }

    fn driver(&self, kind: KindName) -> Option<&dyn Driver> {
        match kind {
            KindName::NETWORK => Some(&self.network),
            KindName::SECURITY_GROUP => Some(&self.security_group),
            KindName::SERVICE_ACCOUNT => Some(&self.service_account),
            KindName::ROLE_BINDING => Some(&self.role_binding),
            _ => super::driver(&self.drivers, kind),
        }
    }

    fn resources(&self, environment: &Environment) -> Vec<Resource> {
        layout::resources(environment)
    }

    fn policy(&self) -> Policy {
        Policy { rules: rules::of, ..Policy::default() }
    }

    fn path_label(&self, folder: &str) -> String {
        path_digest(folder)
    }

    fn check(&self, environment: &Environment) -> Vec<Diagnostic> {
        layout::check(environment)
    }

    async fn prepare(&self, _resources: &[&Resource], _events: &Events) -> Result<()> {
        Ok(())
    }

    fn bill(&self, resources: &[Resource]) -> Vec<Item> {
        bill(resources, PRICED, |machine| {
            let platform = machine.class.as_deref().unwrap_or_default();
            vec![
                (format!("cores/{platform}/{}", machine.core_fraction), f64::from(machine.cores)),
                (format!("memory/{platform}"), quantity(machine.memory_mb) / 1024.0),
            ]
        })
    }

    async fn diagnose(&self, _owner: &Owner, wanted: &[Resource]) -> Vec<Finding> {
        let (client, folder) = (&self.account.client, &self.account.folder);
        let found = client.folder(folder).await.map_err(Error::from);
        let cloud = found.as_ref().map(|folder| folder.cloud_id.clone()).unwrap_or_default();
        let mut findings = vec![Finding::of(
            "credentials and folder",
            found.map(|folder| format!("`{}` ({}) is {}", folder.name, folder.id, folder.status.to_ascii_lowercase())),
        )];
        if cloud.is_empty() {
            return findings;
        }
        let networks = client.list::<Network>(folder).await.map_err(Error::from);
        findings.push(Finding::of("networks can be read", networks.map(|all| format!("{} in the folder", all.len()))));
        let bindings = client.folder_bindings(folder).await.map_err(Error::from);
        findings.push(Finding::of("roles can be read", bindings.map(|all| format!("{} in the folder", all.len()))));
        let mut families: Vec<String> = wanted
            .iter()
            .filter_map(|one| one.spec::<VmSpec>().ok().or_else(|| Some(one.spec::<InstanceGroupSpec>().ok()?.machine)))
            .map(|machine| machine.image)
            .collect();
        families.sort();
        families.dedup();
        for family in families {
            let image = self.account.image(&family).await;
            findings.push(Finding::of(&format!("image family `{family}`"), image));
        }
        for service in ["vpc", "compute"] {
            match client.quotas(&cloud, service).await {
                Ok(quotas) => findings.extend(quotas.iter().filter_map(|quota| layout::quota(quota, wanted))),
                Err(error) => findings.push(Finding {
                    needed: false,
                    ..Finding::of(&format!("quotas of `{service}`"), Err(error.into()))
                }),
            }
        }
        findings
    }

    async fn labelled(&self, environment: Option<&Name>) -> Result<Vec<Object>> {
        let others = self.drivers.iter().map(|(_, driver)| driver.list(environment));
        let accounts = async {
            // What the accounts may do is read for those that there are: one list of them serves both.
            let mut accounts = self.service_account.list(environment).await?;
            accounts.extend(self.role_binding.of(&accounts).await?);
            Ok(accounts)
        };
        let networks = vpc::networks_and_groups(&self.account, environment);
        let (others, accounts, networks) = tokio::try_join!(futures::future::try_join_all(others), accounts, networks)?;
        Ok(others.into_iter().flatten().chain(accounts).chain(networks).collect())
    }

    /// The labels of the network say it for the whole environment.
    async fn mark(&self, owner: &Owner, terms: &Terms, objects: &[Object]) -> Result<()> {
        let Owner { environment, project } = owner;
        let networks = objects.iter().filter(|object| object.address.kind == KindName::NETWORK);
        for network in networks {
            let known = self.account.client.describe::<Network>(&network.id).await?.labels;
            let ours = labels(environment, &network.address, project, &network.token, terms);
            let labels = beside(known, ours);
            // The same terms may be given again after others: each call is an intent of its own.
            let token = identity::random_text(24)?;
            self.account.client.update_network(&network.id).labels(&labels).send(&token).await?;
        }
        Ok(())
    }

    async fn adopt(&self, id: &str, request: &Request<'_>) -> Result<Object> {
        let seen = self.account.adopt(id, request).await?;
        let kind = request.resource.address.kind;
        let driver = self.driver(kind).ok_or_else(|| Error::new(format!("yandex: there is no {}", kind.as_str())))?;
        let found = self.account.made(driver, request).await?;
        let mut object = found.ok_or_else(|| Error::new(format!("yandex: `{id}` vanished while it was taken over")))?;
        object.actual.extend(seen);
        Ok(object)
    }

    async fn why_down(&self, id: &str) -> Option<Error> {
        match self.account.client.describe::<Instance>(id).await {
            Ok(instance) if matches!(instance.status.as_str(), "STOPPED" | "ERROR" | "CRASHED" | "STOPPING") => {
                Some(Error::new(format!("the machine is {}", instance.status.to_ascii_lowercase())))
            }
            Err(error) if error.is_not_found() => Some(Error::new("the machine is gone")),
            _ => None,
        }
    }
}

/// The labels of an object of an environment.
fn labels(environment: &Name, address: &Address, project: &str, token: &str, terms: &Terms) -> Labels {
    let own = Labels::from([
        (LABEL_ENV.to_owned(), environment.to_string()),
        (LABEL_KIND.to_owned(), address.kind.as_str().to_owned()),
        (LABEL_NAME.to_owned(), address.name.to_string()),
        (LABEL_PROJECT.to_owned(), project.to_owned()),
        (LABEL_TOKEN.to_owned(), token.to_owned()),
    ]);
    own.into_iter().chain(terms.labels()).collect()
}

/// Our labels beside those that somebody else has given an object: a call replaces all of them.
fn beside(known: Labels, ours: Labels) -> Labels {
    known.into_iter().filter(|(name, _)| !name.starts_with("infra-")).chain(ours).collect()
}

/// The path of a project, in letters that a label may have: what earlier versions wrote there.
fn path_digest(folder: &str) -> String {
    identity::hex(&Sha256::digest(folder)[..10])
}

impl Account {
    /// The labels of an object.
    fn labels(request: &Request<'_>) -> Labels {
        labels(request.environment, &request.resource.address, request.project, request.token, request.terms)
    }

    /// The object of a request, as it is after everything was done for it.
    async fn made(&self, driver: &dyn Driver, request: &Request<'_>) -> Result<Option<Object>> {
        let listed = driver.list(Some(request.environment)).await?;
        let ours = |object: &Object| object.address == request.resource.address && object.token == request.token;
        Ok(listed.into_iter().find(ours))
    }

    /// Makes an object, or finds the one that the same intent has made before.
    async fn create(
        &self, driver: &dyn Driver, request: &Request<'_>, call: impl Future<Output = Result<Operation, YandexError>>,
    ) -> Result<Object> {
        match call.await {
            Err(error) if !error.already_exists() => return Err(explain(error, request.resource)),
            _ => {}
        }
        self.made(driver, request).await?.ok_or_else(|| {
            let address = &request.resource.address;
            let name = object_name(request);
            Error::new(format!(
                "yandex: a {} `{name}` exists that this environment did not make",
                address.kind.as_str()
            ))
            .hint("remove it, take it over with `infra import`, or give this environment another name: `--name NAME`")
        })
    }

    /// Removes an object; "already gone" is success. What still uses it may just be going away.
    async fn remove<F: Future<Output = Result<Operation, YandexError>>>(&self, call: impl Fn() -> F) -> Result<()> {
        let mut attempts = Attempts::within(IN_USE);
        loop {
            match call().await {
                Err(error) if error.is_not_found() => return Ok(()),
                Err(error) if error.is_in_use() => {
                    if !attempts.pause(None).await {
                        return Err(error.into());
                    }
                }
                Err(error) => return Err(error.into()),
                Ok(_) => return Ok(()),
            }
        }
    }
}

/// Adds to the cloud's words what they are about, and where the file asks for it.
fn explain(error: YandexError, resource: &Resource) -> Error {
    let settled = error.is_settled();
    let error = Error::from(error).context(format!("{} ({})", resource.address, resource.origin));
    if settled { error.settled() } else { error }
}

/// The name of an object for people: it begins with the environment's.
fn plain_name(environment: &Name, name: &Name) -> String {
    let (environment, name) = (environment.as_str(), name.as_str());
    if name.starts_with(&format!("{environment}-")) { name.to_owned() } else { format!("{environment}-{name}") }
}

/// The name of an object in the folder.
fn object_name(request: &Request<'_>) -> String {
    unique_name(&plain_name(request.environment, &request.resource.address.name), &request.owner())
}

/// A name that no object of another environment or project has: names are unique in a folder. What an earlier version made
/// keeps the name that it has.
fn unique_name(plain: &str, owner: &Owner) -> String {
    let Owner { environment, project } = owner;
    let whole =
        if owner.is_of_earlier_version() { plain.to_owned() } else { format!("{project}/{environment}/{plain}") };
    if owner.is_of_earlier_version() && plain.len() <= 63 {
        return whole;
    }
    let digest = identity::hex(&Sha256::digest(&whole)[..4]);
    format!("{}-{digest}", plain[..plain.len().min(54)].trim_end_matches('-'))
}

/// The object that a set of labels describes, when they are ours and of the environment that is asked for.
fn object(labels: &Labels, kind: KindName, environment: Option<&Name>, id: &str, created_at: &str) -> Option<Object> {
    let label = |name: &str| labels.get(name).cloned();
    let owner = label(LABEL_ENV)?;
    if label(LABEL_KIND)? != kind.as_str() || environment.is_some_and(|name| name.as_str() != owner) {
        return None;
    }
    Some(Object {
        environment: owner,
        address: kind.named(&label(LABEL_NAME)?.parse().ok()?),
        project: label(LABEL_PROJECT).unwrap_or_default(),
        token: label(LABEL_TOKEN).unwrap_or_default(),
        id: id.to_owned(),
        created: created_at.parse::<jiff::Timestamp>().map_or(0, jiff::Timestamp::as_second),
        health: Health::Ready,
        terms: Terms::of(labels),
        attributes: serde_json::Map::new(),
        actual: serde_json::Map::new(),
        links: None,
    })
}

/// The id of an object that a resource needs.
fn needed<'a>(request: &'a Request<'_>, address: &Address) -> Result<&'a Object> {
    request.needs.get(address).ok_or_else(|| Error::new(format!("`{address}` does not exist")))
}

#[cfg(test)]
mod tests {
    use super::{Owner, plain_name, unique_name};

    fn name(project: &str, environment: &str, name: &str) -> String {
        let environment = environment.parse().unwrap();
        let plain = plain_name(&environment, &name.parse().unwrap());
        unique_name(&plain, &Owner { environment, project: project.to_owned() })
    }

    #[test]
    fn names_begin_with_the_environment_and_stay_within_bounds() {
        for project in ["0123456789abcdef0123", "shop-k3x9q2ab"] {
            assert!(name(project, "dev", "app-1").starts_with("dev-app-1"));
            assert!(name(project, "dev", "dev-bastion").starts_with("dev-bastion"));
            let long = name(project, "a-quite-long-name-of-an-environment", "and-a-quite-long-name-of-a-machine-in-it");
            assert!(long.len() <= 63, "{long}");
            let other =
                name(project, "a-quite-long-name-of-an-environment", "and-a-quite-long-name-of-a-machine-in-at");
            assert_ne!(long, other);
        }
        assert_eq!(
            name("0123456789abcdef0123", "dev", "app-1"),
            "dev-app-1",
            "what earlier versions made keeps its name"
        );
    }

    #[test]
    fn no_two_objects_of_a_folder_have_one_name() {
        let (one, two) = ("shop-k3x9q2ab", "shop-k3x9q2ac");
        assert_eq!(name(one, "dev", "app"), name(one, "dev", "app"));
        assert_ne!(name(one, "dev", "app"), name(two, "dev", "app"));
        assert_ne!(name(one, "dev", "a-b"), name(one, "dev-a", "b"));
    }
}
