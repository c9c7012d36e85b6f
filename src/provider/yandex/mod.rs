//! Yandex Cloud: machines, networks and what they stand on, in one folder of the cloud.
//!
//! Objects carry our labels, in the letters that labels may have there. Names are unique in a folder, so the names of objects
//! begin with the environment's.

mod account;
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
mod wait;

use std::path::PathBuf;

use async_trait::async_trait;
use sha2::{Digest, Sha256};

use self::{
    account::{Account, beside, explain, if_there, labels, needed, object, object_name, plain_name, unique_name},
    wait::Shared,
};
use super::{
    Driver, Finding, Health, LABEL_ENV, LABEL_PROJECT, LABEL_TOKEN, Object, Owner, Provider, Request,
    bill::{bill, quantity},
};
use crate::{
    cloud::yandex::{Client, Credentials, Instance, Network, Settings, auth::Key},
    config::Environment,
    cost::Item,
    error::{Context, Diagnostic, Error, Result},
    event::Events,
    files, identity,
    name::Name,
    resource::{InstanceGroupSpec, KindName, Policy, Resource, Terms, VmSpec},
    secret::Secret,
};

/// The label with an object's kind.
const LABEL_KIND: &str = "infra-kind";
/// The label with an object's name within its environment.
const LABEL_NAME: &str = "infra-name";
/// The region of all zones, in price files.
const PRICED: &str = "ru-central1";

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
        let account = Account { client, folder, settings, machines: Shared::default() };
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
        let found = driver.read(id).await?;
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

/// The path of a project, in letters that a label may have: what earlier versions wrote there.
fn path_digest(folder: &str) -> String {
    identity::hex(&Sha256::digest(folder)[..10])
}
