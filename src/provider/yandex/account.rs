//! What every driver does with the client: creates, finds and removes objects, with the names and labels that they have.

use std::{sync::Arc, time::Duration};

use sha2::{Digest, Sha256};

use tokio::sync::Mutex;

use super::{LABEL_KIND, LABEL_NAME};
use crate::{
    cloud::{
        retry::Attempts,
        yandex::{
            Client, Cluster, Instance, InstanceGroup, Labels, Listed, LoadBalancer, Operation, YandexError,
            YandexSettings,
        },
    },
    encoding,
    error::{Error, Result},
    name::Name,
    provider::{Driver, Health, LABEL_ENV, LABEL_PROJECT, LABEL_TOKEN, Object, Owner, Request, shared::Shared},
    resource::{Address, KindName, Resource, Terms},
};

/// How long a removal is tried again while something else is still being removed.
const IN_USE: Duration = Duration::from_mins(2);

/// The client and what every call needs beside it.
#[derive(Clone)]
pub(super) struct Account {
    pub(super) client: Client,
    pub(super) folder: String,
    pub(super) settings: YandexSettings,
    /// Whether playbooks install what new machines need to work.
    pub(super) configured: bool,
    /// What is waited for, kind by kind.
    pub(super) machines: Shared<Instance>,
    pub(super) groups: Shared<InstanceGroup>,
    pub(super) clusters: Shared<Cluster>,
    pub(super) balancers: Shared<LoadBalancer>,
    /// Whose turn it is to change the bindings of the folder.
    pub(super) bindings: Arc<Mutex<()>>,
}

/// The labels of an object of an environment.
pub(super) fn labels(environment: &Name, address: &Address, project: &str, token: &str, terms: &Terms) -> Labels {
    let own = Labels::from([
        (LABEL_ENV.to_owned(), environment.to_string()),
        (LABEL_KIND.to_owned(), address.kind.as_str().to_owned()),
        (LABEL_NAME.to_owned(), address.name.to_string()),
        (LABEL_PROJECT.to_owned(), project.to_owned()),
        (LABEL_TOKEN.to_owned(), token.to_owned()),
    ]);
    own.into_iter().chain(terms.labels()).collect()
}

/// Our labels beside those that someone else has given an object: a call replaces all of them.
pub(super) fn beside(known: Labels, ours: Labels) -> Labels {
    known.into_iter().filter(|(name, _)| !name.starts_with("infra-")).chain(ours).collect()
}

impl Account {
    /// The labels of an object.
    pub(super) fn labels(request: &Request<'_>) -> Labels {
        labels(request.environment, &request.resource.address, request.project, request.token, request.terms)
    }

    /// What a refusal to look into the folder means: the cloud says no more than that it is not permitted.
    pub(super) fn no_folder(&self, error: YandexError) -> Error {
        let refused = error.is_not_permitted() || error.is_not_found();
        let error = Error::from(error);
        if !refused {
            return error;
        }
        let folder = &self.folder;
        error.context(format!("the folder `{folder}` does not exist, or the credentials have no role in it")).hint(
            "`yc resource-manager folder list` shows those that there are; `yandex.folder_id` or `folder_id` names one",
        )
    }

    /// An object as it is now; nothing when it is gone.
    pub(super) async fn found<T: Listed>(&self, id: &str) -> Result<Option<T>> {
        if_there(self.client.describe(id).await)
    }

    /// Creates an object, or finds the one that the same intent has created before.
    pub(super) async fn create(
        &self, driver: &dyn Driver, request: &Request<'_>, call: impl Future<Output = Result<Operation, YandexError>>,
    ) -> Result<Object> {
        let made = match call.await {
            Ok(operation) => driver.read(operation.object_id()).await?,
            Err(error) if error.already_exists() => {
                let listed = driver.list(Some(request.environment)).await?;
                let ours =
                    |object: &Object| object.address == request.resource.address && object.token == request.token;
                let found = listed.into_iter().find(ours);
                Some(found.ok_or_else(|| {
                    explain(error, request.resource).hint(
                        "what has that name was not created by this environment: remove it, take it over with `infra \
                         import`, or give this environment another name: `--name NAME`",
                    )
                })?)
            }
            // What an operation has left behind is no longer wanted, and known by the token of its intent.
            Err(error) if error.is_of_operation() && self.is_left(driver, request).await => {
                return Err(explain(error, request.resource).unsettled());
            }
            Err(error) => return Err(explain(error, request.resource)),
        };
        let address = &request.resource.address;
        let made = made.ok_or_else(|| Error::new(format!("yandex: `{address}` is gone right after it was created")))?;
        match made.health {
            Health::Transient => driver.settled(&made).await,
            Health::Broken => Err(Error::new(format!("yandex: `{address}` has failed while it was created"))
                .hint("apply again: it is removed and created again")),
            _ => Ok(made),
        }
    }

    /// Whether there is an object of an intent, although its creation failed. Where that cannot be known there may be one.
    async fn is_left(&self, driver: &dyn Driver, request: &Request<'_>) -> bool {
        let ours = |object: &Object| object.address == request.resource.address && object.token == request.token;
        driver.list(Some(request.environment)).await.map_or(true, |listed| listed.iter().any(ours))
    }

    /// Removes an object; "already gone" is success. What still uses it may just be going away.
    pub(super) async fn remove<F: Future<Output = Result<Operation, YandexError>>>(
        &self, call: impl Fn() -> F,
    ) -> Result<()> {
        let mut attempts = Attempts::within(IN_USE);
        loop {
            match call().await {
                Err(error) if error.is_not_found() => return Ok(()),
                Err(error) if error.is_in_use() => {
                    if !attempts.pause(format!("what uses it to be gone ({error})"), None).await {
                        return Err(error.into());
                    }
                }
                Err(error) => return Err(error.into()),
                Ok(_) => return Ok(()),
            }
        }
    }
}

/// What a call says of an object; nothing when there is none any more.
pub(super) fn if_there<T>(answer: Result<T, YandexError>) -> Result<Option<T>> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Adds to the cloud's words what they are about, and where the file asks for it.
pub(super) fn explain(error: YandexError, resource: &Resource) -> Error {
    let settled = error.is_settled();
    let error = Error::from(error).context(format!("{} ({})", resource.address, resource.origin));
    if settled { error.settled() } else { error }
}

/// The name of an object for people: it begins with the environment's.
pub(super) fn plain_name(environment: &Name, name: &Name) -> String {
    let (environment, name) = (environment.as_str(), name.as_str());
    if name.starts_with(&format!("{environment}-")) { name.to_owned() } else { format!("{environment}-{name}") }
}

/// The name of an object in the folder.
pub(super) fn object_name(request: &Request<'_>) -> String {
    unique_name(&plain_name(request.environment, &request.resource.address.name), &request.owner())
}

/// A name that no object of another environment or project has: names are unique in a folder. What an earlier version made
/// keeps the name that it has.
pub(super) fn unique_name(plain: &str, owner: &Owner) -> String {
    let Owner { environment, project } = owner;
    let whole =
        if owner.is_of_earlier_version() { plain.to_owned() } else { format!("{project}/{environment}/{plain}") };
    if owner.is_of_earlier_version() && plain.len() <= 63 {
        return whole;
    }
    let digest = encoding::hex(&Sha256::digest(&whole)[..4]);
    format!("{}-{digest}", plain[..plain.len().min(54)].trim_end_matches('-'))
}

/// The object that a set of labels describes, when they are ours and of the environment that is asked for.
pub(super) fn object(
    labels: &Labels, kind: KindName, environment: Option<&Name>, id: &str, created_at: &str,
) -> Option<Object> {
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
        outdated: None,
    })
}

/// The id of an object that a resource needs.
pub(super) fn needed<'a>(request: &'a Request<'_>, address: &Address) -> Result<&'a Object> {
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
