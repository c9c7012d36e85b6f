//! Resources under other names: as a user asks for, and as an earlier version named them.

use crate::{
    apply::host_key,
    config::Environment,
    error::{Error, Result, did_you_mean},
    name::Name,
    resource::Address,
    state::{State, Vault},
};

/// The address, if the state knows it.
///
/// # Errors
/// When it does not; the nearest one that it knows is named.
pub fn known(state: &State, address: &Address) -> Result<Address> {
    if state.resources.contains_key(address) {
        return Ok(address.clone());
    }
    let names: Vec<String> = state.resources.keys().map(ToString::to_string).collect();
    let error = Error::usage(format!("the state does not know `{address}`"));
    let close = did_you_mean(&address.to_string(), names.iter().map(String::as_str)).map(str::to_owned);
    Err(match close {
        Some(close) => error.hint(format!("did you mean `{close}`?")),
        None => error.hint("`infra state list` shows what it knows"),
    })
}

/// Lets a state and its secrets know a resource by another name of the same kind.
///
/// # Errors
/// When it does not know the first one, or knows the other one already, or they are of different kinds.
pub fn rename(state: &mut State, vault: &mut Vault, from: &Address, to: &Address) -> Result<()> {
    let from = known(state, from)?;
    if from.kind != to.kind {
        return Err(Error::usage(format!("`{from}` and `{to}` are of different kinds")));
    }
    if state.resources.contains_key(to) {
        return Err(Error::usage(format!("the state knows a `{to}` already")));
    }
    let entry = state.resources.remove(&from).ok_or_else(|| Error::new("it was there a moment ago"))?;
    state.resources.insert(to.clone(), entry);
    for noted in [&mut state.removing, &mut state.changing, &mut state.grown] {
        if noted.remove(&from) {
            noted.insert(to.clone());
        }
    }
    for entry in state.resources.values_mut() {
        for need in entry.needs.iter_mut().filter(|need| **need == from) {
            *need = to.clone();
        }
    }
    // A machine is known by its host key.
    vault.rename(&host_key(from.name.as_str()), &host_key(to.name.as_str()));
    Ok(())
}

/// Gives the first machines of fronts the names that they have now: earlier versions numbered them when there were several.
pub(super) fn first_nodes(environment: &Environment, state: Option<&mut State>, vault: &mut Vault) -> Result<()> {
    let Some(state) = state else { return Ok(()) };
    for first in environment.nginx.values().filter_map(|front| front.nodes.first()) {
        let Ok(before) = format!("{first}-1").parse::<Name>() else { continue };
        let (from, to) = (Address::vm(&before), Address::vm(first));
        if state.resources.contains_key(&from)
            && !state.resources.contains_key(&to)
            && !environment.hosts.contains_key(&before)
        {
            rename(state, vault, &from, &to)?;
        }
    }
    Ok(())
}
