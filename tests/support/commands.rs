//! Commands in this process, against any provider: what `infra apply` and `infra destroy` do to resources.

use std::path::Path;

use infra::{
    apply::{Run, Tally},
    config::{Environment, LoadOptions, load_source},
    error::Result,
    event::Events,
    plan::{Configure, Known, Plan, VERSION, diff},
    provider::Provider,
    resource::Terms,
    secret::Redactor,
    state::{State, Store, Vault},
    yaml::Source,
};
use tokio_util::sync::CancellationToken;

/// The environment of a text, as if it lay in a project folder.
pub(crate) fn environment(folder: &Path, text: &str) -> Environment {
    load_source(&Source::new(folder.join("dev/config.yaml"), text), &LoadOptions::default())
        .unwrap_or_else(|error| panic!("{error}"))
}

/// One command as a user would run it: state from the disk, plan, walk.
pub(crate) async fn command(
    project: &Path, environment: &Environment, cloud: &dyn Provider, destroy: bool,
) -> Result<Tally> {
    let store = Store::new(project, &environment.name);
    let state = store.read().await?;
    let observed = cloud.list(Some(&environment.name)).await?;
    let pending = state.as_ref().map(|state| state.pending.clone()).unwrap_or_default();
    let desired = if destroy { Vec::new() } else { cloud.resources(environment) };
    let known = Known { state: state.as_ref(), pending: &pending, observed: &observed, policy: cloud.policy() };
    let plan = Plan {
        version: VERSION,
        environment: environment.name.clone(),
        labelled: environment.name.clone(),
        project: cloud.project_label("/project"),
        serial: 0,
        terms: Terms::default(),
        digest: String::new(),
        changes: diff(&desired, known)?,
        configure: Configure::default(),
    };
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
    tally = tally.plus(run.remove(&plan).await?);
    if destroy {
        run.prove_gone(&plan).await?;
    }
    Ok(tally)
}
