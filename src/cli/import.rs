//! `infra import`: lets the state know what exists already.

use std::time::Duration;

use clap::Args;

use super::session::{EnvironmentArgs, Session};
use crate::{
    apply::{entry, host_key},
    config,
    error::{Error, Result, did_you_mean},
    event::Events,
    provider::Object,
    resource::{Address, Resource},
    secret::Redactor,
    ui::Ui,
};

/// Let the state know objects that exist and carry the environment's label: one by its id, or all that it does not know
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
        let mut state = session.initial_state(overlay, &session.terms(None)?);
        let known = |object: &Object| state.resources.values().any(|known| known.id == object.id);
        let pairs: Vec<(Address, &Object)> = match (&self.address, &self.id) {
            (Some(address), Some(id)) => {
                let object = observed.iter().find(|object| object.id == *id && object.address.kind == address.kind);
                let object = object.ok_or_else(|| missing(session, address, id, &observed))?;
                vec![(address.clone(), object)]
            }
            _ => {
                let unknown = observed.iter().filter(|object| !known(object));
                unknown.map(|object| (object.address.clone(), object)).collect()
            }
        };
        let mut imported = Vec::new();
        for (address, object) in pairs {
            let Some(resource) = wanted.iter().find(|resource| resource.address == address) else {
                if self.scan {
                    // Terms laid over an environment, and what the file has dropped: the next apply removes the latter.
                    continue;
                }
                return Err(not_wanted(&address, &wanted));
            };
            let host_key = format!("{}/public", host_key(address.name.as_str()));
            if address.kind.boots() && session.vault.get(&host_key).is_none() {
                let message = format!(
                    "`{address}` is left out: its keys are not known here, so nobody can tell whether it is the machine it says it is"
                );
                ui.say(&format!("warning: {message}; an apply makes it anew"));
                continue;
            }
            state.resources.insert(address.clone(), entry(resource, object));
            imported.push(address);
        }
        if !imported.is_empty() {
            state.serial += 1;
            session.store.write(&state).await?;
        }
        Ok(imported)
    }
}

fn missing(session: &Session, address: &Address, id: &str, observed: &[Object]) -> Error {
    let kind = address.kind;
    let ids: Vec<&str> =
        observed.iter().filter(|object| object.address.kind == kind).map(|object| object.id.as_str()).collect();
    let message = format!(
        "there is no {} `{id}` that carries the label of `{}` in {} ({})",
        kind.as_str(),
        session.environment.name,
        session.provider.name(),
        session.provider.account()
    );
    let error = Error::usage(message);
    if ids.is_empty() { error } else { error.hint(format!("those that do: {}", ids.join(", "))) }
}

fn not_wanted(address: &Address, wanted: &[Resource]) -> Error {
    let names: Vec<String> = wanted.iter().map(|resource| resource.address.to_string()).collect();
    let error = Error::usage(format!("the file asks for no `{address}`"));
    match did_you_mean(&address.to_string(), names.iter().map(String::as_str)) {
        Some(close) => error.hint(format!("did you mean `{close}`?")),
        None => error.hint("write it into the file first: what the file does not ask for, the next apply removes"),
    }
}
