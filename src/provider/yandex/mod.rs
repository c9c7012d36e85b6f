//! Yandex Cloud: machines, networks and what they need, in one folder of the cloud.
//!
//! Objects carry our labels, in the letters that labels may have there. Names are unique in a folder, so the names of objects
//! begin with the environment's.

mod account;
mod adopt;
mod balancer;
mod check;
mod compute;
mod diagnose;
mod dns;
mod group;
mod group_drift;
mod group_template;
mod iam;
mod interface;
mod kinds;
mod layout;
mod names;
mod observe;
mod postgres;
mod postgres_drift;
mod postgres_extensions;
mod postgres_settings;
mod public;
mod registry;
mod security;
mod subnet;
mod vpc;
mod wait;

use std::{path::PathBuf, sync::Arc};

use async_trait::async_trait;
use sha2::{Digest, Sha256};

use self::account::{Account, beside, labels, plain_name};
use super::{
    Driver, Entry, Finding, Object, Owner, Provider, Request, Treatment, bill::bill, kind::Row, shared::Shared,
};
use crate::{
    cloud::yandex::{Client, Credentials, DESCRIPTOR, Instance, Network, Settings, YandexSettings, auth::Key},
    config::Environment,
    cost::Item,
    encoding,
    error::{Context, Diagnostic, Error, Result},
    event::Events,
    files, identity,
    name::Name,
    resource::{KindName, Policy, Resource, Terms},
    secret::Secret,
};

/// The label with an object's kind.
const LABEL_KIND: &str = "infra-kind";
/// The label with an object's name within its environment.
const LABEL_NAME: &str = "infra-name";
/// The region of all zones, in price files.
const PRICED: &str = "ru-central1";

/// The entry of this provider.
pub(super) const ENTRY: Entry = Entry {
    descriptor: &DESCRIPTOR,
    treatment: kinds::of,
    policy: Policy {
        rules: |kind| Treatment::rules(kinds::of(kind)),
        level: |kind| Treatment::level(kinds::of(kind), kind),
    },
    open: |environment| Ok(Box::new(Yandex::open(environment)?)),
    here: None,
};

/// The provider of one folder.
pub struct Yandex {
    account: Account,
    drivers: Vec<(KindName, Box<dyn Driver>)>,
}

impl Yandex {
    /// The provider for the folder that an environment names.
    ///
    /// # Errors
    /// When no folder is named, or the credentials cannot be read.
    pub fn open(environment: &Environment) -> Result<Self> {
        let settings = environment.section::<YandexSettings>().clone();
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
        let configured = !environment.playbooks.is_empty();
        let account = Account {
            client,
            folder,
            settings,
            configured,
            machines: Shared::default(),
            groups: Shared::default(),
            clusters: Shared::default(),
            balancers: Shared::default(),
            bindings: Arc::default(),
        };
        Ok(Self { drivers: Row::drivers(kinds::KINDS, &account), account })
    }
}

#[expect(clippy::disallowed_methods, reason = "the variables that `yc` and other tools of this cloud honour")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
}

/// From the file, then from the variables that other tools honour too, then from the machine itself.
fn credentials(environment: &Environment) -> Result<Credentials> {
    let named = environment.section::<YandexSettings>().service_account_key_file.as_ref();
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
        // every call: no one needs to be asked.
        Ok(format!("folder {}", self.account.folder))
    }

    fn concurrency(&self) -> usize {
        // The client itself holds the limit of operations on machines and disks.
        32
    }

    fn driver(&self, kind: KindName) -> Option<&dyn Driver> {
        super::driver(&self.drivers, kind)
    }

    fn resources(&self, environment: &Environment) -> Vec<Resource> {
        layout::resources(environment)
    }

    fn policy(&self) -> Policy {
        ENTRY.policy
    }

    fn path_label(&self, folder: &str) -> String {
        path_digest(folder)
    }

    fn check(&self, environment: &Environment) -> Vec<Diagnostic> {
        check::check(environment)
    }

    async fn prepare(&self, _resources: &[&Resource], _events: &Events) -> Result<()> {
        Ok(())
    }

    fn bill(&self, resources: &[Resource]) -> Vec<Item> {
        bill(resources, PRICED, kinds::of)
    }

    async fn diagnose(&self, owner: &Owner, created: &[Resource], changed: &[Resource]) -> Vec<Finding> {
        diagnose::findings(&self.account, owner, created, changed).await
    }

    async fn labelled(&self, environment: Option<&Name>) -> Result<Vec<Object>> {
        Box::pin(self.observe(environment)).await
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

    fn devices(&self, disks: &[&str]) -> Option<Vec<String>> {
        Some(compute::devices(disks))
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

impl Yandex {
    /// What shows groups with what they have inside.
    fn groups(&self) -> group::InstanceGroupDriver {
        group::InstanceGroupDriver(self.account.clone())
    }
}

/// The path of a project, in letters that a label may have: what earlier versions wrote there.
fn path_digest(folder: &str) -> String {
    encoding::hex(&Sha256::digest(folder)[..10])
}
