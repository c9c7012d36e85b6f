//! `infra import`: lets the state know what exists already.

use std::time::Duration;

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::session::{EnvironmentArgs, Session};
use crate::{
    apply::{Run, entry, host_key},
    config,
    error::{Error, Result, did_you_mean},
    event::Events,
    plan::Selection,
    provider::Object,
    resource::{Address, Resource},
    secret::Redactor,
    state::State,
    ui::Ui,
};

/// Let the state know objects that exist: one by its id, whether or not infra created it, or all that carry the environment's label
#[derive(Args, Debug)]
pub(super) struct Import {
    #[command(flatten)]
    environment: EnvironmentArgs,
    /// The resource of the file that the object is, as `vm.app-1`
    #[arg(requires = "id", required_unless_present = "scan")]
    address: Option<Address>,
    /// The provider's id of the object
    id: Option<String>,
    /// All objects that carry the environment's label, under the names in their labels
    #[arg(long, conflicts_with_all = ["address", "id"])]
    scan: bool,
    /// How long to wait for another command that holds the environment, as `90s` or `10m`
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = config::duration)]
    lock_timeout: Duration,
}

impl Import {
    pub(super) async fn run(&self, ui: &Ui, redactor: &Redactor) -> Result<u8> {
        let mut session = Session::open(&self.environment, redactor).await?;
        let name = session.environment.name.clone();
        session.lock(&format!("infra import {name}"), self.lock_timeout, redactor, &Events::ignored()).await?;
        let imported = self.import(&mut session, ui).await;
        session.unlock().await;
        match imported?.as_slice() {
            [] => ui.say("the state knows all that exists"),
            known => {
                for address in known {
                    ui.say(&format!("`{address}` is in the state now"));
                }
                ui.say(&format!("`infra plan {name}` shows what of it differs from the file"));
            }
        }
        Ok(0)
    }

    async fn import(&self, session: &mut Session, ui: &Ui) -> Result<Vec<Address>> {
        let observed = session.observe().await?;
        let wanted = session.resources();
        let overlay = session.overlay(&self.environment)?;
        let mut state = session.initial_state(overlay.clone(), &session.terms(&[], None)?);
        let pairs: Vec<(&Address, &Object)> = if let (Some(address), Some(id)) = (&self.address, &self.id) {
            let resource = wanted.iter().find(|resource| resource.address == *address);
            let resource = resource.ok_or_else(|| not_wanted(address, &wanted))?;
            is_free(address, id, &state, &observed)?;
            let object = observed.iter().find(|object| object.id == *id && object.address.kind == address.kind);
            let Some(object) = object else {
                let can_be = can_be_adopted(session, &state, resource, id);
                can_be.map_err(|error| labelled(error, session, address, &observed))?;
                session.establish(ui).await?;
                let state = session.initial_state(overlay, &session.terms(&[], None)?);
                let adopted = adopt(session, state, &observed, resource, id).await;
                adopted.map_err(|error| labelled(error, session, address, &observed))?;
                let name = &session.environment.name;
                ui.say(&format!("`{id}` belongs to `{name}` now: `infra destroy` removes it with the rest"));
                return Ok(vec![address.clone()]);
            };
            vec![(address, object)]
        } else {
            let known = |object: &&Object| state.resources.values().any(|known| known.id == object.id);
            observed.iter().filter(|object| !known(object)).map(|object| (&object.address, object)).collect()
        };
        let mut imported = Vec::new();
        for (address, object) in pairs {
            // Terms laid over an environment, and what the file has dropped, are passed by: the next apply removes the latter.
            let Some(resource) = wanted.iter().find(|resource| resource.address == *address) else { continue };
            if address.kind.boots() && !session.vault.has_ssh_key(&host_key(address.name.as_str())) {
                let message = format!(
                    "`{address}` is left out: its keys are not known here, so it is not known whether it is the machine that it claims to be"
                );
                ui.say(&format!("warning: {message}; an apply makes it anew"));
                continue;
            }
            state.resources.insert(address.clone(), entry(resource, object));
            imported.push(address.clone());
        }
        if !imported.is_empty() {
            session.establish(ui).await?;
            let resources = state.resources;
            state = State { resources, ..session.initial_state(overlay, &session.terms(&[], None)?) };
            state.serial += 1;
            session.store.write(&state).await?;
        }
        Ok(imported)
    }
}

/// Whether an object that does not carry the environment's label can be taken over as this resource. A machine that was not
/// created by infra could not be trusted.
fn can_be_adopted(session: &Session, state: &State, resource: &Resource, id: &str) -> Result<()> {
    if resource.address.kind.boots() {
        let (address, name) = (&resource.address, &session.environment.name);
        return Err(Error::usage(format!(
            "`{id}` does not carry the label of `{name}`, and machines that infra has not made are not taken over as `{address}`: \
             their host keys are not known here, so they could not be trusted"
        ))
        .hint("let `infra apply` make a new one; a disk with data can be taken over"));
    }
    if let Some(need) = resource.needs.iter().find(|need| !state.resources.contains_key(*need)) {
        let name = &session.environment.name;
        return Err(Error::usage(format!("`{}` needs `{need}`, which the state does not know", resource.address))
            .hint(format!("import that first, or make it: infra apply {name} --target {need}")));
    }
    Ok(())
}

/// Takes over an object that does not carry the environment's label.
async fn adopt(session: &Session, state: State, observed: &[Object], resource: &Resource, id: &str) -> Result<()> {
    let plan = session.plan(observed, false, &Selection::default())?;
    let (events, cancel) = (Events::ignored(), CancellationToken::new());
    let run = Run::new(session.provider.as_ref(), &session.store, state, session.vault.clone(), &events, cancel);
    run.adopt(&plan, resource, id).await
}

/// Whether no other object has the address yet.
fn is_free(address: &Address, id: &str, state: &State, observed: &[Object]) -> Result<()> {
    let exists = |other: &str| observed.iter().any(|object| object.id == other);
    let known = state.resources.get(address).map(|entry| entry.id.as_str()).filter(|other| exists(other));
    let labelled = observed.iter().find(|object| object.address == *address).map(|object| object.id.as_str());
    match known.or(labelled) {
        Some(other) if other != id => {
            Err(Error::usage(format!("`{address}` is `{other}` already")).hint("remove that one first"))
        }
        _ => Ok(()),
    }
}

/// Adds to an error which objects carry the label: perhaps one of those was meant.
fn labelled(error: Error, session: &Session, address: &Address, observed: &[Object]) -> Error {
    let same = observed.iter().filter(|object| object.address.kind == address.kind);
    let ids: Vec<&str> = same.map(|object| object.id.as_str()).collect();
    let name = &session.environment.name;
    if ids.is_empty() { error } else { error.hint(format!("`{name}` has these by its label: {}", ids.join(", "))) }
}

fn not_wanted(address: &Address, wanted: &[Resource]) -> Error {
    let names: Vec<String> = wanted.iter().map(|resource| resource.address.to_string()).collect();
    let error = Error::usage(format!("the file asks for no `{address}`"));
    match did_you_mean(&address.to_string(), names.iter().map(String::as_str)) {
        Some(close) => error.hint(format!("did you mean `{close}`?")),
        None => error.hint("write it into the file first: what the file does not ask for, the next apply removes"),
    }
}
