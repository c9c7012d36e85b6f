//! Lets the state know what exists already.

use super::{Site, Stop};
use crate::{
    apply::{Run, entry, host_key},
    error::{Error, Result, did_you_mean},
    event::Events,
    provider::Object,
    resource::{Address, Resource},
    state::State,
};

/// What the state knows now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// The resources.
    pub addresses: Vec<Address>,
    /// Whether the object carried no label of the environment before, and has one now.
    pub is_adopted: bool,
}

/// Lets the state of a locked environment know one object by its id, whether or not infra created it.
///
/// # Errors
/// When the file asks for no such resource, when it has another object already, and when the object cannot be taken over.
pub async fn import(site: &mut Site, address: &Address, id: &str, events: &Events, stop: &Stop) -> Result<Imported> {
    let observed = site.observe().await?;
    let wanted = site.resources();
    let resource = wanted.iter().find(|resource| resource.address == *address);
    let resource = resource.ok_or_else(|| not_wanted(address, &wanted))?;
    let state = site.initial_state(&site.terms(&[], None)?);
    is_free(address, id, &state, &observed)?;
    let object = observed.iter().find(|object| object.id == id && object.address.kind == address.kind);
    if let Some(object) = object {
        let addresses = record(site, &wanted, &[(address, object)], events).await?;
        return Ok(Imported { addresses, is_adopted: false });
    }
    let adopted = async {
        can_be_adopted(site, &state, resource, id)?;
        site.establish(events).await?;
        adopt(site, resource, id, events, stop).await
    };
    adopted.await.map_err(|error| labelled(error, site, address, &observed))?;
    Ok(Imported { addresses: vec![address.clone()], is_adopted: true })
}

/// Lets the state of a locked environment know all objects that carry the environment's label, under the names in their labels.
///
/// # Errors
/// When the provider does not answer, or the state cannot be written.
pub async fn import_labelled(site: &mut Site, events: &Events) -> Result<Imported> {
    let observed = site.observe().await?;
    let is_known = |object: &Object| {
        site.state.iter().flat_map(|state| state.resources.values()).any(|known| known.id == object.id)
    };
    let pairs: Vec<(&Address, &Object)> =
        observed.iter().filter(|object| !is_known(object)).map(|object| (&object.address, object)).collect();
    let addresses = record(site, &site.resources(), &pairs, events).await?;
    Ok(Imported { addresses, is_adopted: false })
}

/// Writes objects into the state, each as the resource of its address.
async fn record(
    site: &mut Site, wanted: &[Resource], pairs: &[(&Address, &Object)], events: &Events,
) -> Result<Vec<Address>> {
    let mut entries = Vec::new();
    for (address, object) in pairs {
        // What the file does not ask for is left out: the next apply removes it.
        let Some(resource) = wanted.iter().find(|resource| resource.address == **address) else { continue };
        if address.kind.boots() && !site.vault.has_ssh_key(&host_key(address.name.as_str())) {
            events.warn(format!(
                "`{address}` is left out: its keys are not known here, so it is not known whether it is the machine that it \
                 claims to be; an apply recreates it"
            ));
            continue;
        }
        entries.push(((*address).clone(), entry(resource, object)));
    }
    let imported: Vec<Address> = entries.iter().map(|(address, _)| address.clone()).collect();
    if !imported.is_empty() {
        site.establish(events).await?;
        let mut state = site.initial_state(&site.terms(&[], None)?);
        state.resources.extend(entries);
        state.serial += 1;
        site.store.write(&state).await?;
    }
    Ok(imported)
}

/// Whether an object that does not carry the environment's label can be taken over as this resource. A machine that was not
/// created by infra could not be trusted.
fn can_be_adopted(site: &Site, state: &State, resource: &Resource, id: &str) -> Result<()> {
    if resource.address.kind.boots() {
        let (address, name) = (&resource.address, &site.environment.name);
        return Err(Error::usage(format!(
            "`{id}` does not carry the label of `{name}`, and machines that infra has not made are not taken over as `{address}`: \
             their host keys are not known here, so they could not be trusted"
        ))
        .hint("let `infra apply` make a new one; a disk with data can be taken over"));
    }
    if let Some(need) = resource.needs.iter().find(|need| !state.resources.contains_key(*need)) {
        let name = &site.environment.name;
        return Err(Error::usage(format!("`{}` needs `{need}`, which the state does not know", resource.address))
            .hint(format!("import that first, or make it: infra apply {name} --target {need}")));
    }
    Ok(())
}

/// Takes over an object that does not carry the environment's label.
async fn adopt(site: &Site, resource: &Resource, id: &str, events: &Events, stop: &Stop) -> Result<()> {
    let terms = site.terms(&[], None)?;
    let state = site.initial_state(&terms);
    let plan = site.empty_plan(terms);
    let cancel = stop.token().clone();
    let run = Run::new(site.provider.as_ref(), &site.store, state, site.vault.clone(), events, cancel);
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
fn labelled(error: Error, site: &Site, address: &Address, observed: &[Object]) -> Error {
    let same = observed.iter().filter(|object| object.address.kind == address.kind);
    let ids: Vec<&str> = same.map(|object| object.id.as_str()).collect();
    let name = &site.environment.name;
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
