//! Commands in this process, against any provider: what `infra apply` and `infra destroy` do to resources.

use std::path::Path;

use infra::{
    apply::{Configured, Run, Tally},
    config::{Environment, LoadOptions, load_source},
    error::Result,
    event::Events,
    plan::{Change, Configure, DataPolicy, Known, Plan, VERSION, diff},
    provider::{Object, Owner, Provider},
    resource::{KindName, Terms},
    secret::Redactor,
    state::{State, Store, Vault},
    yaml::Source,
};
use tokio_util::sync::CancellationToken;

/// The project of all environments of tests that do not run the program itself.
pub(crate) const PROJECT: &str = "test-k3x9q2ab";

/// Whose the objects of an environment are.
pub(crate) fn owner(environment: &Environment) -> Owner {
    Owner { environment: environment.name.clone(), project: PROJECT.to_owned() }
}

/// The environment of a text, as if it lay in a project folder.
pub(crate) fn environment(folder: &Path, text: &str) -> Environment {
    load_source(&Source::new(folder.join("dev/config.yaml"), text), &LoadOptions::default())
        .unwrap_or_else(|error| panic!("{error}"))
}

/// What the provider shows, as far as it differs from what the state knows, and what a command would do about it.
pub(crate) async fn changes(
    project: &Path, environment: &Environment, cloud: &dyn Provider, destroy: bool,
) -> Result<Vec<Change>> {
    let state = Store::new(project, &environment.name).read().await?;
    let mut observed = cloud.list(&owner(environment)).await?;
    for object in &mut observed {
        let mut entries = state.iter().flat_map(|state| state.resources.values());
        if let Some(entry) = entries.find(|entry| entry.id == object.id) {
            cloud.compare(&entry.spec, &entry.attributes, object);
        }
    }
    let pending = state.as_ref().map(|state| state.pending.clone()).unwrap_or_default();
    let desired = if destroy { Vec::new() } else { cloud.resources(environment) };
    diff(&desired, Known { state: state.as_ref(), pending: &pending, observed: &observed, policy: cloud.policy() })
}

/// One command as a user would run it: state from the disk, plan, walk.
pub(crate) async fn command(
    project: &Path, environment: &Environment, cloud: &dyn Provider, destroy: bool,
) -> Result<Tally> {
    let store = Store::new(project, &environment.name);
    let plan = plan(environment, changes(project, environment, cloud, destroy).await?);
    let state = store.read().await?;
    let plan = Plan { data: if destroy { DataPolicy::of_removal(false) } else { plan.data }, ..plan };
    let vault = match &state {
        Some(state) => Vault::open(&state.secrets, store.keys(), Redactor::default())?,
        None => Vault::default(),
    };
    let state = state.unwrap_or_else(|| State { provider: cloud.name().into(), ..State::nothing(environment) });
    let events = Events::ignored();
    let run = Run::new(cloud, &store, state, vault, &events, CancellationToken::new());
    if !destroy {
        run.with_vault(|vault| infra::configure::prepare_secrets(environment, vault)).await?;
    }
    let mut tally = run.build(&plan).await?;
    if !destroy {
        run.finish(&plan, Configured::All).await?;
    }
    tally = tally.plus(run.remove(&plan).await?);
    if destroy {
        run.prove_gone(&plan).await?;
    }
    Ok(tally)
}

/// Everything of these kinds loses its labels, as if somebody else had made it, and is taken over again.
pub(crate) async fn take_over(
    project: &Path, environment: &Environment, cloud: &dyn Provider, kinds: &[KindName], strip: impl AsyncFn(&str),
) {
    for resource in cloud.resources(environment).iter().filter(|resource| kinds.contains(&resource.address.kind)) {
        let store = Store::new(project, &environment.name);
        let state = store.read().await.unwrap().expect("the environment was applied");
        let id = state.resources[&resource.address].id.clone();
        strip(&id).await;
        let listed = async || cloud.list(&owner(environment)).await.unwrap();
        let here = |objects: &[Object]| objects.iter().any(|one| one.id == id && one.address == resource.address);
        assert!(!here(&listed().await), "{} is still ours", resource.address);
        let vault = Vault::open(&state.secrets, store.keys(), Redactor::default()).unwrap();
        let events = Events::ignored();
        let run = Run::new(cloud, &store, state, vault, &events, CancellationToken::new());
        let adopted = run.adopt(&plan(environment, Vec::new()), resource, &id).await;
        adopted.unwrap_or_else(|error| panic!("{}: {error}", resource.address));
        assert!(here(&listed().await), "{} is ours again", resource.address);
    }
}

/// A plan of these changes.
fn plan(environment: &Environment, changes: Vec<Change>) -> Plan {
    Plan {
        version: VERSION,
        environment: environment.name.clone(),
        labelled: environment.name.clone(),
        project: PROJECT.to_owned(),
        serial: 0,
        terms: Terms::default(),
        digest: String::new(),
        changes,
        secrets: Vec::new(),
        configure: Configure::default(),
        // What is tried with these is how changes are carried out, not whether they may be.
        data: DataPolicy::Lose,
    }
}

/// The disks that the next apply looks at on machines, as the machines are asked for them.
pub(crate) async fn disks(project: &Path, environment: &Environment, cloud: &dyn Provider) -> Vec<(String, String)> {
    let state = Store::new(project, &environment.name).read().await.unwrap().expect("the environment was applied");
    let disks = infra::configure::disks(environment, &state, cloud).unwrap();
    let list = |script: &str| {
        let (_, list) = script.split_once("<<END-OF-DISKS\n").unwrap();
        list.split_once("\nEND-OF-DISKS").unwrap().0.to_owned()
    };
    disks.scripts().map(|(host, script)| (host.to_owned(), list(script))).collect()
}

/// Nothing is left to be done on the disks of a machine.
pub(crate) async fn settle(project: &Path, environment: &Environment, cloud: &dyn Provider, host: &str) {
    let store = Store::new(project, &environment.name);
    let state = store.read().await.unwrap().expect("the environment was applied");
    let vault = Vault::open(&state.secrets, store.keys(), Redactor::default()).unwrap();
    let events = Events::ignored();
    let run = Run::new(cloud, &store, state, vault, &events, CancellationToken::new());
    run.disks_are_settled(&[host.to_owned()].into()).await.unwrap();
}
