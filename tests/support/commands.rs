//! Commands in this process, against any provider.

use std::{path::Path, sync::Arc, time::Duration};

use infra::{
    apply::{Run, Tally},
    config::{Environment, LoadOptions, load_source},
    error::Result,
    event::Events,
    lifecycle::{
        self, ApplyOptions, DestroyOptions, Goal, Labelled, PlanOptions, Playbooks, Secrets, Site, Stop, apply,
        propose, propose_destroy,
    },
    plan::{Change, Configure, DataPolicy, Plan, VERSION},
    project,
    provider::{Object, Owner, Provider},
    resource::{KindName, Terms},
    secret::Redactor,
    state::{Store, Vault},
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

/// What a command would do.
pub(crate) async fn changes<P: Provider + 'static>(
    project: &Path, environment: &Environment, cloud: &Arc<P>, destroy: bool,
) -> Result<Vec<Change>> {
    let mut site = site(project, environment, cloud).await;
    let playbooks = Playbooks::of(&site)?;
    let goal = if destroy { Goal::Absent } else { Goal::Present(&playbooks) };
    Ok(site.preview(&goal, &PlanOptions::default(), true).await?.plan.changes)
}

/// An environment of this project at this provider.
pub(crate) async fn site<P: Provider + 'static>(project: &Path, environment: &Environment, cloud: &Arc<P>) -> Site {
    std::fs::create_dir_all(&environment.folder).unwrap();
    std::fs::write(project.join(project::FILE), format!("{PROJECT}\n")).unwrap();
    let environment = Environment { project: project.to_owned(), ..environment.clone() };
    let cloud: Arc<dyn Provider> = Arc::<P>::clone(cloud);
    Site::with(environment, cloud, &Redactor::default(), Secrets::Needed).await.unwrap()
}

/// `infra apply` or `infra destroy` of resources, as a user would run it. Machines are not connected to.
pub(crate) async fn command<P: Provider + 'static>(
    project: &Path, environment: &Environment, cloud: &Arc<P>, destroy: bool,
) -> Result<Tally> {
    let mut site = site(project, environment, cloud).await;
    // A command that was killed here was killed in this process, which is alive.
    infra::state::unlock(site.store.backend().as_ref(), &environment.name).await?;
    let (events, stop) = (Events::ignored(), Stop::default());
    let (what, wait) = (if destroy { "infra destroy" } else { "infra apply" }, Duration::ZERO);
    site.locked(what, wait, &events, &stop, async |site, events, stop| {
        if destroy {
            let options = DestroyOptions::default();
            let Some(plan) = propose_destroy(site, &options).await? else { return Ok(Tally::default()) };
            return lifecycle::destroy(site, &plan, events, stop).await;
        }
        // What is tried with these is how changes are carried out, not whether they may be.
        let plan = PlanOptions { allow_data_loss: true, ..PlanOptions::default() };
        let options = ApplyOptions { plan, configure: false, forget: true, ..ApplyOptions::default() };
        let playbooks = Playbooks::of(site)?;
        let proposal = propose(site, &playbooks, &options, true, events).await?;
        Ok(apply(site, playbooks, proposal, &options, events, stop).await?.tally)
    })
    .await
}

/// `infra destroy --by-label`.
pub(crate) async fn destroy_by_label<P: Provider + 'static>(
    project: &Path, environment: &Environment, cloud: &Arc<P>,
) -> Result<usize> {
    let cloud: Arc<dyn Provider> = Arc::<P>::clone(cloud);
    let environment = Environment { project: project.to_owned(), ..environment.clone() };
    let (options, events) = (DestroyOptions::default(), Events::ignored());
    let (labelled, stop) = (Labelled::new(environment, cloud)?, Stop::default());
    let removed = labelled.destroy(&options, Duration::ZERO, &events, &stop, |_| Ok(())).await?;
    Ok(removed.count)
}

/// Everything of these kinds loses its labels, as if someone else had made it, and is taken over again.
pub(crate) async fn take_over<P: Provider + 'static>(
    project: &Path, environment: &Environment, cloud: &Arc<P>, kinds: &[KindName], strip: impl AsyncFn(&str),
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
        let run = Run::new(cloud.as_ref(), &store, state, vault, &events, CancellationToken::new());
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
        warnings: Vec::new(),
    }
}

/// The disks that the next apply looks at on machines, as the machines are asked for them.
pub(crate) async fn disks<P: Provider + 'static>(
    project: &Path, environment: &Environment, cloud: &Arc<P>,
) -> Vec<(String, String)> {
    let state = Store::new(project, &environment.name).read().await.unwrap().expect("the environment was applied");
    let disks = infra::configure::disks(environment, &state, cloud.as_ref()).unwrap();
    let list = |script: &str| {
        let (_, list) = script.split_once("<<'END-OF-DISKS-").unwrap();
        let (_, list) = list.split_once('\n').unwrap();
        list.split_once("\nEND-OF-DISKS-").unwrap().0.to_owned()
    };
    disks.scripts().map(|(host, script)| (host.to_owned(), list(script))).collect()
}

/// Nothing is left to be done on the disks of a machine.
pub(crate) async fn settle<P: Provider + 'static>(
    project: &Path, environment: &Environment, cloud: &Arc<P>, host: &str,
) {
    let store = Store::new(project, &environment.name);
    let state = store.read().await.unwrap().expect("the environment was applied");
    let vault = Vault::open(&state.secrets, store.keys(), Redactor::default()).unwrap();
    let events = Events::ignored();
    let run = Run::new(cloud.as_ref(), &store, state, vault, &events, CancellationToken::new());
    run.disks_are_settled(&[host.to_owned()].into()).await.unwrap();
}
