//! What every provider has to keep to, run on each entry of the list of providers against its simulator, and on the fake one:
//! create twice, delete twice, list by label, lost answers, a quota that is used up, slow operations, import. What becomes of
//! each field is in `fields.rs` and in the tables of cases beside it.

use std::{
    collections::{BTreeMap, BTreeSet},
    panic::AssertUnwindSafe,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::{
    FutureExt as _,
    future::{BoxFuture, LocalBoxFuture},
};
use infra::{
    config::Environment,
    error::Error,
    provider::{
        Boot, Health, Object, Owner, PROVIDERS, Provider, Request,
        docker::Docker,
        fake::{Call, Fake, Hook},
    },
    resource::{Address, KindName, Resource, Terms},
    secret::Secret,
};

use crate::support::{
    commands::{PROJECT, environment, owner},
    moto::{self, Moto},
    stub_engine::{self, StubEngine},
    yandex::{self, Cloud},
};

/// What a simulator does to the calls from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Weather {
    /// Every call is answered.
    Calm,
    /// The answer of every third call that changes something is lost: it was carried out.
    LostAnswers,
    /// Nothing can be created: a quota is used up.
    NoQuota,
    /// What is begun takes its time.
    Slow,
}

/// A provider and its simulator.
struct Bench {
    environment: Environment,
    provider: Arc<dyn Provider>,
    /// The kinds that the simulator cannot make.
    not_made: &'static [KindName],
    /// The kinds that are created again, although the token is the same: the service has no tokens for them, and what exists is
    /// found by its labels before anything is created; or the simulator knows none.
    not_repeated: &'static [KindName],
    weather: Box<dyn Fn(Weather)>,
    /// Takes the labels of an object away, as if someone else had made it; nothing where objects cannot be taken over.
    strip: Option<Box<dyn Fn(String) -> BoxFuture<'static, ()>>>,
}

/// The simulator of a provider; a provider without one is not ready.
async fn bench(provider: &str, project: &Path) -> Bench {
    match provider {
        "docker" => docker(project).await,
        "yandex" => on_yandex(project).await,
        "aws" => on_aws(project).await,
        "fake" => fake(project),
        other => panic!("`{other}` has no simulator here: every provider conforms"),
    }
}

const FILE: &str = "
network: {subnets: {a: {v4_cidr_blocks: [10.1.0.0/24]}, b: {v4_cidr_blocks: [10.2.0.0/24]}}}
instances:
  bastion: {network: {subnet: a, nat: true}}
  db: {network: {subnet: b}, resources: {secondary_disk_size: 5}}
";

async fn docker(project: &Path) -> Bench {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let engine = StubEngine::start("conformance").await;
    let environment = environment(project, &format!("docker: {{host: '{}'}}\n{FILE}", engine.host));
    let weather = move |weather| {
        engine.strike(match weather {
            Weather::Calm | Weather::Slow => None,
            Weather::LostAnswers => Some(stub_engine::Fault::LoseAnswer),
            Weather::NoQuota => Some(stub_engine::Fault::Refuse),
        });
    };
    Bench {
        provider: Arc::new(Docker::open(environment.section()).unwrap()),
        environment,
        // The engine in memory has no containers.
        not_made: &[KindName::VM],
        not_repeated: &[],
        weather: Box::new(weather),
        strip: None,
    }
}

async fn on_yandex(project: &Path) -> Bench {
    let cloud = Cloud::start().await;
    let (environment, provider) = crate::yandex::load(project, &cloud, crate::yandex::FILE);
    let stripped = cloud.clone();
    let weather = move |weather| {
        let count = AtomicUsize::new(0);
        cloud.faults(move |call| {
            let is_third = call.changes() && count.fetch_add(1, Ordering::SeqCst) % 3 == 2;
            (weather == Weather::LostAnswers && is_third).then_some(yandex::Fault::LoseAnswer)
        });
        cloud.delay(if weather == Weather::Slow { Duration::from_millis(100) } else { Duration::ZERO });
        for collection in ["/vpc/v1/networks", "/vpc/v1/gateways", "/compute/v1/disks", "/iam/v1/serviceAccounts"] {
            cloud.quota(collection, if weather == Weather::NoQuota { 0 } else { usize::MAX });
        }
    };
    let strip = move |id: String| -> BoxFuture<'static, ()> {
        let cloud = stripped.clone();
        Box::pin(async move { cloud.strip_labels(&id) })
    };
    Bench {
        environment,
        provider,
        not_made: &[],
        not_repeated: &[],
        weather: Box::new(weather),
        strip: Some(Box::new(strip)),
    }
}

async fn on_aws(project: &Path) -> Bench {
    let moto = Arc::new(Moto::start().await);
    let (environment, provider) = crate::aws::load(project, &moto, crate::aws::FILE);
    let stripped = Arc::clone(&moto);
    // moto knows no client tokens here; the cloud does.
    let without_tokens =
        ["CreateAutoScalingGroup", "RunInstances", "CreateNatGateway", "CreateRouteTable", "CreateVolume"];
    let weather = move |weather| {
        let count = AtomicUsize::new(0);
        moto.faults(move |action| {
            let changes = !["Describe", "List", "Get", "GET "].iter().any(|read| action.starts_with(read));
            let is_third = changes && count.fetch_add(1, Ordering::SeqCst) % 3 == 2;
            match weather {
                Weather::LostAnswers if is_third && !without_tokens.contains(&action) => Some(moto::Fault::LoseAnswer),
                Weather::NoQuota if action.starts_with("Create") && action != "CreateTags" => {
                    Some(moto::Fault::Code("VpcLimitExceeded"))
                }
                _ => None,
            }
        });
    };
    let strip = move |id: String| -> BoxFuture<'static, ()> {
        let moto = Arc::clone(&stripped);
        Box::pin(async move { moto.strip_tags(&id).await })
    };
    Bench {
        environment,
        provider,
        not_made: &[],
        not_repeated: &[
            KindName::NETWORK,
            KindName::SUBNET,
            KindName::SECURITY_GROUP,
            KindName::ADDRESS,
            KindName::VM,
            KindName::DISK,
            KindName::GATEWAY,
            KindName::ROUTE_TABLE,
            KindName::INSTANCE_GROUP,
        ],
        weather: Box::new(weather),
        strip: Some(Box::new(strip)),
    }
}

fn fake(project: &Path) -> Bench {
    let now = Arc::new(std::sync::Mutex::new((Weather::Calm, 0_usize)));
    let seen = Arc::clone(&now);
    let hook: Hook = Arc::new(move |call: Call| {
        let (weather, is_third) = {
            let mut now = seen.lock().unwrap();
            now.1 += usize::from(call.done);
            (now.0, now.1 % 3 == 2)
        };
        Box::pin(async move {
            match weather {
                Weather::LostAnswers if call.done && is_third => Err(Error::new("connection reset by peer")),
                Weather::NoQuota if !call.done && call.verb == "create" => Err(Error::new("a quota is used up")),
                Weather::Slow if call.verb != "list" => {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    Ok(())
                }
                _ => Ok(()),
            }
        })
    });
    Bench {
        environment: environment(project, FILE),
        provider: Arc::new(Fake::default().with_hook(hook)),
        not_made: &[],
        not_repeated: &[],
        weather: Box::new(move |weather| *now.lock().unwrap() = (weather, 0)),
        strip: None,
    }
}

impl Bench {
    /// What the environment wants here, each after what it needs.
    fn resources(&self) -> Vec<Resource> {
        let mut left = self.provider.resources(&self.environment);
        left.retain(|one| !self.not_made.contains(&one.address.kind));
        let mut sorted: Vec<Resource> = Vec::new();
        while !left.is_empty() {
            let there: BTreeSet<&Address> = sorted.iter().map(|one| &one.address).collect();
            let ready = |one: &Resource| one.needs.iter().all(|need| there.contains(need));
            let at = left.iter().position(ready).expect("what is needed is there, and nothing needs itself");
            let next = left.remove(at);
            sorted.push(next);
        }
        sorted
    }

    /// One call of a driver for a resource.
    async fn create(
        &self, resource: &Resource, token: &str, there: &BTreeMap<Address, Object>,
    ) -> infra::error::Result<Object> {
        let driver = self.provider.driver(resource.address.kind).expect("what is laid out has a driver");
        let (name, terms) = (&self.environment.name, Terms::default());
        driver.create(&request(name, resource, token, there, &terms)).await
    }

    /// Creates all, calling again with the same token what has failed, as the next apply does.
    async fn create_all(&self, round: &str) -> BTreeMap<Address, Object> {
        let mut there = BTreeMap::new();
        for resource in self.resources() {
            let token = token(&resource, round);
            let mut made = self.create(&resource, &token, &there).await;
            for _ in 0..3 {
                if made.is_err() {
                    made = self.create(&resource, &token, &there).await;
                }
            }
            let object = made.unwrap_or_else(|error| panic!("{}: {round}: {}: {error}", self.name(), resource.address));
            there.insert(resource.address.clone(), object);
        }
        there
    }

    /// Removes all, what needs others first; each twice, since "already gone" is success.
    async fn delete_all(&self, there: &BTreeMap<Address, Object>, round: &str) {
        for resource in self.resources().iter().rev() {
            let driver = self.provider.driver(resource.address.kind).unwrap();
            let id = &there[&resource.address].id;
            let mut gone = driver.delete(id).await;
            for _ in 0..3 {
                if gone.is_err() {
                    gone = driver.delete(id).await;
                }
            }
            gone.unwrap_or_else(|error| panic!("{}: {round}: {}: {error}", self.name(), resource.address));
        }
        (self.weather)(Weather::Calm);
        for resource in self.resources().iter().rev() {
            let driver = self.provider.driver(resource.address.kind).unwrap();
            let again = driver.delete(&there[&resource.address].id).await;
            again.unwrap_or_else(|error| panic!("{}: {round}: again: {}: {error}", self.name(), resource.address));
        }
        assert_eq!(self.listed().await, BTreeMap::new(), "{}: {round}", self.name());
    }

    /// What is listed by its labels, with how many of each; what is being removed is as good as gone.
    async fn listed(&self) -> BTreeMap<Address, Vec<String>> {
        let mut listed: BTreeMap<Address, Vec<String>> = BTreeMap::new();
        for object in self.provider.list(&owner(&self.environment)).await.unwrap() {
            if object.health != Health::Leaving {
                listed.entry(object.address).or_default().push(object.id);
            }
        }
        listed
    }

    fn name(&self) -> &'static str {
        self.provider.name()
    }
}

/// The token of a creation in a round.
fn token(resource: &Resource, round: &str) -> String {
    let letters: String = resource.address.to_string().chars().filter(char::is_ascii_alphanumeric).collect();
    format!("{letters}{round}")
}

fn request<'a>(
    environment: &'a infra::name::Name, resource: &'a Resource, token: &'a str, there: &BTreeMap<Address, Object>,
    terms: &'a Terms,
) -> Request<'a> {
    let boot = || Boot {
        authorized_keys: vec!["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA login".to_owned()],
        host_key: Secret::new("a private key".to_owned()),
        host_key_public: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB host".to_owned(),
    };
    let needs = resource.needs.iter().map(|need| (need.clone(), there[need].clone()));
    Request {
        environment,
        project: PROJECT,
        token,
        resource,
        needs: needs.collect(),
        boot: resource.address.kind.boots().then(boot),
        terms,
        secrets: BTreeMap::new(),
        unset: BTreeSet::new(),
    }
}

/// One round: everything is created, listed by its labels and removed, in some weather.
async fn lives(bench: &Bench, round: &str, weather: Weather) {
    (bench.weather)(weather);
    let there = bench.create_all(round).await;
    (bench.weather)(Weather::Calm);
    let wanted: BTreeMap<Address, Vec<String>> =
        there.iter().map(|(address, object)| (address.clone(), vec![object.id.clone()])).collect();
    assert_eq!(bench.listed().await, wanted, "{}: {round}: each is there once", bench.name());
    for resource in bench.resources() {
        let driver = bench.provider.driver(resource.address.kind).unwrap();
        let rested = driver.settled(&there[&resource.address]).await.unwrap();
        assert_ne!(rested.health, Health::Transient, "{}: {round}: {}", bench.name(), resource.address);
    }
    (bench.weather)(weather);
    bench.delete_all(&there, round).await;
}

/// The same creation twice makes one object, and those of other environments are not listed.
async fn creates_once(bench: &Bench) {
    let there = bench.create_all("once").await;
    for resource in bench.resources().iter().filter(|one| !bench.not_repeated.contains(&one.address.kind)) {
        let again = bench.create(resource, &token(resource, "once"), &there).await;
        let again = again.unwrap_or_else(|error| panic!("{}: again: {}: {error}", bench.name(), resource.address));
        assert_eq!(again.id, there[&resource.address].id, "{}: {}", bench.name(), resource.address);
    }
    assert!(bench.listed().await.values().all(|ids| ids.len() == 1), "{}", bench.name());
    let others = Owner { environment: "other".parse().unwrap(), ..owner(&bench.environment) };
    assert_eq!(bench.provider.list(&others).await.unwrap(), Vec::new(), "{}", bench.name());
    let all = bench.provider.labelled(None).await.unwrap();
    assert!(all.iter().all(|object| object.environment == bench.environment.name.as_str()), "{}", bench.name());
    bench.delete_all(&there, "once").await;
}

/// What cannot be created leaves nothing, and can be created once there is room.
async fn survives_a_quota(bench: &Bench) {
    (bench.weather)(Weather::NoQuota);
    for resource in bench.resources().iter().filter(|one| one.needs.is_empty()) {
        let refused = bench.create(resource, &token(resource, "full"), &BTreeMap::new()).await;
        assert!(refused.is_err(), "{}: {}", bench.name(), resource.address);
    }
    (bench.weather)(Weather::Calm);
    assert_eq!(bench.listed().await, BTreeMap::new(), "{}", bench.name());
    let there = bench.create_all("room").await;
    bench.delete_all(&there, "room").await;
}

/// What someone else made is taken over as it is, or refused with a reason.
async fn imports(bench: &Bench) {
    let all = bench.resources();
    let disk = all.iter().find(|one| one.address.kind == KindName::DISK).expect("the file has a disk");
    let (nothing, terms) = (BTreeMap::new(), Terms::default());
    let request = request(&bench.environment.name, disk, "import", &nothing, &terms);
    let Some(strip) = &bench.strip else {
        let refused = bench.provider.adopt("someone-elses", &request).await.unwrap_err().to_string();
        assert!(refused.contains("`someone-elses`") && refused.contains("cannot be taken over"), "{refused}");
        return;
    };
    let made = bench.create(disk, "stranger", &nothing).await.unwrap();
    strip(made.id.clone()).await;
    assert_eq!(bench.listed().await, BTreeMap::new(), "{}: it belongs to no one", bench.name());
    let adopted = bench.provider.adopt(&made.id, &request).await.unwrap();
    assert_eq!((&adopted.id, &adopted.address), (&made.id, &disk.address));
    assert_eq!(bench.listed().await, BTreeMap::from([(disk.address.clone(), vec![made.id.clone()])]));
    // What has an owner is not taken over again.
    let owned = bench.provider.adopt(&made.id, &request).await.unwrap_err().to_string();
    assert!(owned.contains(bench.environment.name.as_str()), "{owned}");
    bench.provider.driver(KindName::DISK).unwrap().delete(&made.id).await.unwrap();
    assert_eq!(bench.listed().await, BTreeMap::new(), "{}", bench.name());
}

/// A case, run on a provider of its own.
type Case = for<'a> fn(&'a Bench) -> LocalBoxFuture<'a, ()>;

/// What every provider has to keep to.
const CASES: &[(&str, Case)] = &[
    ("create twice", |bench| creates_once(bench).boxed_local()),
    ("lost answers", |bench| lives(bench, "lost", Weather::LostAnswers).boxed_local()),
    ("slow operations", |bench| lives(bench, "slow", Weather::Slow).boxed_local()),
    ("a quota that is used up", |bench| survives_a_quota(bench).boxed_local()),
    ("import", |bench| imports(bench).boxed_local()),
];

#[tokio::test(flavor = "multi_thread")]
async fn conformance_of_every_provider() {
    let names = PROVIDERS.iter().map(|entry| entry.descriptor.name).chain(["fake"]);
    let all = names.map(|name| async move {
        let mut failed = Vec::new();
        for (case, run) in CASES {
            let conforms = async {
                let folder = tempfile::tempdir().unwrap();
                let bench = bench(name, folder.path()).await;
                assert_eq!(bench.provider.name(), name);
                run(&bench).await;
            };
            // Each case is run, whatever becomes of the others.
            if AssertUnwindSafe(conforms).catch_unwind().await.is_err() {
                failed.push(format!("{name}: {case}"));
            }
        }
        failed
    });
    let failed: Vec<String> = futures::future::join_all(all).await.into_iter().flatten().collect();
    assert!(failed.is_empty(), "{failed:#?}: each says above what it is");
}
