//! Names that new objects will have. They are unique in a folder, and what has one of them already may be someone else's.

use super::account::{Account, plain_name, unique_name};
use crate::{
    cloud::yandex::{
        Address, Cluster, Disk, DnsZone, Gateway, Instance, InstanceGroup, Listed, LoadBalancer, Network, Registry,
        RouteTable, SecurityGroup, ServiceAccount, Subnet, TargetGroup,
    },
    provider::{Asked, Finding, LABEL_ENV, LABEL_PROJECT, Owner},
    resource::{KindName, NetworkSpec, Resource, SSH_GROUP},
};

/// What to do about a name that is taken.
const HINT: &str = "remove it, take it over with `infra import`, or give this environment another name: `--name NAME`";

/// The names of what these resources become that someone else's objects have.
/// A kind that may not be listed says so, and hides nothing of the others.
pub(super) async fn findings(account: &Account, owner: &Owner, created: &[Resource]) -> Vec<Finding> {
    let of = |kind: KindName, name: &dyn Fn(&Resource) -> String| -> Vec<(String, String)> {
        let new = created.iter().filter(|one| one.address.kind == kind);
        new.map(|one| (name(one), one.origin.clone())).collect()
    };
    let plain = |one: &Resource| plain_name(&owner.environment, &one.address.name);
    let usual = |kind: KindName| of(kind, &|one| unique_name(&plain(one), owner));
    let network = |one: &Resource| one.spec::<NetworkSpec>().map(|spec| spec.name).unwrap_or_default();
    let networks = of(KindName::NETWORK, &|one| unique_name(&network(one), owner));
    let mut groups = usual(KindName::SECURITY_GROUP);
    groups.extend(of(KindName::NETWORK, &|one| unique_name(&format!("{}-{SSH_GROUP}", network(one)), owner)));
    let mut accounts = usual(KindName::SERVICE_ACCOUNT);
    accounts.extend(of(KindName::INSTANCE_GROUP, &|one| unique_name(&format!("{}-group", plain(one)), owner)));
    let ask = Taken { account, owner };
    let below = async {
        tokio::join!(
            ask.taken::<Network>("network", networks),
            ask.taken::<SecurityGroup>("security group", groups),
            ask.taken::<Gateway>("gateway", usual(KindName::GATEWAY)),
            ask.taken::<RouteTable>("route table", usual(KindName::ROUTE_TABLE)),
            ask.taken::<Subnet>("subnet", usual(KindName::SUBNET)),
            ask.taken::<Address>("address", usual(KindName::ADDRESS)),
            ask.taken::<Disk>("disk", usual(KindName::DISK)),
            ask.taken::<Instance>("machine", usual(KindName::VM)),
        )
    };
    let above = async {
        tokio::join!(
            ask.taken::<InstanceGroup>("instance group", usual(KindName::INSTANCE_GROUP)),
            ask.taken::<ServiceAccount>("service account", accounts),
            ask.taken::<LoadBalancer>("load balancer", usual(KindName::LOAD_BALANCER)),
            ask.taken::<TargetGroup>("target group", usual(KindName::LOAD_BALANCER)),
            ask.taken::<Cluster>("cluster", usual(KindName::POSTGRES)),
            ask.taken::<Registry>("registry", usual(KindName::REGISTRY)),
            ask.taken::<DnsZone>("zone of names", usual(KindName::DNS_ZONE)),
        )
    };
    let (below, above) = tokio::join!(below, above);
    let mut found = vec![below.0, below.1, below.2, below.3, below.4, below.5, below.6, below.7];
    found.extend([above.0, above.1, above.2, above.3, above.4, above.5, above.6]);
    found.into_iter().flatten().collect()
}

/// Whose names are looked for, and where.
#[derive(Clone, Copy)]
struct Taken<'a> {
    account: &'a Account,
    owner: &'a Owner,
}

impl Taken<'_> {
    /// Those of some names, each with the section that asks for it, that objects of a kind have which are not this environment's.
    async fn taken<T: Listed>(self, what: &str, wanted: Vec<(String, String)>) -> Vec<Finding> {
        if wanted.is_empty() {
            return Vec::new();
        }
        let there = match self.account.client.list::<T>(&self.account.folder).await {
            Ok(there) => there,
            Err(error) => {
                let unknown = Finding::of(&format!("the names of each {what} can be listed"), Err(error.into()));
                return vec![Finding { needed: false, ..unknown }];
            }
        };
        let is_ours = |one: &T| {
            let says = |label: &str, value: &str| one.labels().get(label).is_some_and(|text| text == value);
            says(LABEL_ENV, self.owner.environment.as_str()) && says(LABEL_PROJECT, &self.owner.project)
        };
        let taken = wanted.into_iter().filter_map(|(name, section)| {
            let other = there.iter().find(|one| one.name() == name && !is_ours(one))?;
            Some(Finding {
                check: format!("the name `{name}` of a {what}"),
                ok: false,
                needed: true,
                detail: format!("`{}` has it, and was not created by this environment", other.id()),
                hint: HINT.to_owned(),
                asked: Some(Asked { value: name, sections: [section].into() }),
            })
        });
        taken.collect()
    }
}
