//! Where the states of a project's environments are: the places that its files name, and its own folder.

use std::path::{Path, PathBuf};

use crate::{
    config::{self, StateSettings},
    error::{Error, Result},
    name::Name,
    project,
    state::{self, HistoryEntry, State, Store},
};

/// The places where states of this project are kept: those that its files name, and its own folder.
#[must_use]
pub fn places(project: &Path) -> Vec<StateSettings> {
    let named = config::list(project);
    let named = named.iter().map(|name| config::state_settings(&project.join("envs").join(name)));
    named.chain([StateSettings::default()]).fold(Vec::new(), |mut places, settings| {
        if !places.contains(&settings) {
            places.push(settings);
        }
        places
    })
}

/// All stores of this project that hold a state, for those who must not miss one.
///
/// # Errors
/// When a file of the project does not say where its state is, or a state cannot be read.
pub async fn all_stores(project: &Path) -> Result<Vec<(Store, State)>> {
    for name in config::list(project) {
        config::checked_state_settings(&project.join("envs").join(&name)).map_err(|error| {
            error.context(format!("it is not known where the state of `{name}` is")).hint("nothing was changed")
        })?;
    }
    stores(project).await
}

/// All states of this project, and why others could not be read.
pub async fn states(project: &Path) -> (Vec<State>, Vec<Error>) {
    states_beside(project, None).await
}

/// The same without that of one environment.
pub async fn states_beside(project: &Path, own: Option<&Name>) -> (Vec<State>, Vec<Error>) {
    let (mut states, mut failures) = (Vec::new(), Vec::new());
    for settings in places(project) {
        let names = async { Store::list(state::open(project, &settings)?.as_ref()).await };
        let names = names.await.unwrap_or_else(|error| {
            failures.push(error);
            Vec::new()
        });
        for name in names.into_iter().filter(|name| own != Some(name)) {
            let state = async { Store::open(project, &name, &settings)?.read().await };
            match state.await {
                Ok(state) => states.extend(state),
                Err(error) => failures.push(error),
            }
        }
    }
    (states, failures)
}

/// The state of an environment of this name, wherever it is.
async fn find(project: &Path, name: &Name) -> Result<Option<(Store, State)>> {
    for settings in places(project) {
        let store = Store::open(project, name, &settings)?;
        if let Some(state) = store.read().await? {
            return Ok(Some((store, state)));
        }
    }
    // One that was taken over from a pool has objects of another name.
    let stores = stores(project).await?;
    Ok(stores.into_iter().find(|(_, state)| state.label() == name))
}

/// The folder of the file that an environment of this name was made from, when its state is found. On another machine than
/// the one that made it, that is the folder of the same name.
///
/// # Errors
/// When a state cannot be read.
pub async fn folder_of(project: &Path, name: &Name) -> Result<Option<PathBuf>> {
    let Some((_, state)) = find(project, name).await? else { return Ok(None) };
    if state.folder.is_dir() {
        return Ok(Some(state.folder));
    }
    Ok(Some(project.join("envs").join(&state.terms.template)).filter(|folder| folder.is_dir()))
}

/// The folder that an environment of this name was made from, as its state says, wherever that is.
///
/// # Errors
/// When a state cannot be read.
pub async fn recorded_folder(project: &Path, name: &Name) -> Result<Option<PathBuf>> {
    Ok(find(project, name).await?.map(|(_, state)| state.folder))
}

/// The store of an environment, when something of it is known there.
///
/// # Errors
/// When a state cannot be read.
pub async fn store_of(project: &Path, name: &Name, template: &str) -> Result<Option<Store>> {
    if let Some((store, _)) = find(project, name).await? {
        return Ok(Some(store));
    }
    // Its first apply may be under way: it holds the lease of the place that its file names.
    let folder = project.join("envs").join(template);
    if !folder.is_dir() {
        return Ok(None);
    }
    Store::open(project, name, &config::state_settings(&folder)).map(Some)
}

/// What was done to an environment of this name, wherever that is written down.
///
/// # Errors
/// When a place of states does not answer.
pub async fn history(project: &Path, name: &Name) -> Result<Vec<HistoryEntry>> {
    let mut entries = Vec::new();
    for settings in places(project) {
        entries.extend(Store::open(project, name, &settings)?.history().await?);
    }
    entries.sort_by_key(|entry| entry.at);
    Ok(entries)
}

/// All stores of this project that hold a state; those of other projects in the same place are none of ours.
///
/// # Errors
/// When a place of states does not answer, or a state cannot be read.
pub async fn stores(project: &Path) -> Result<Vec<(Store, State)>> {
    let mut stores = Vec::new();
    let ours = project::read(project)?;
    let is_theirs = |state: &State| ours.is_some() && state.project.is_some() && state.project != ours;
    for settings in places(project) {
        for name in Store::list(state::open(project, &settings)?.as_ref()).await? {
            let store = Store::open(project, &name, &settings)?;
            if let Some(state) = store.read().await?.filter(|state| !is_theirs(state)) {
                stores.push((store, state));
            }
        }
    }
    Ok(stores)
}

/// The store of an environment by its name, seen from a folder: where its file says, or wherever its state is.
///
/// # Errors
/// When there is neither a file nor a state of this name.
pub async fn store(environment: &str, start: &Path) -> Result<Store> {
    let project = config::project_of(start);
    match config::find(environment, start) {
        Ok(folder) => {
            let name = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            Store::open(&project, &name.parse().map_err(Error::usage)?, &config::state_settings(&folder))
        }
        Err(error) => {
            let Ok(name) = environment.parse() else { return Err(error) };
            find(&project, &name).await?.map(|(store, _)| store).ok_or(error)
        }
    }
}

/// The store of an environment that may be gone: where its state is, or else where that of its name would be.
///
/// # Errors
/// When it cannot be the name of an environment.
pub async fn store_that_was(environment: &str, start: &Path) -> Result<Store> {
    if let Ok(store) = store(environment, start).await {
        return Ok(store);
    }
    let name = environment.parse().map_err(Error::usage)?;
    Ok(Store::new(&config::project_of(start), &name))
}
