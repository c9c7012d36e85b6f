//! The accounts and the places of states that a project works with: those that its environment files name, this machine's
//! engine, and the project's own folder.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    config::{self, DockerSettings, LoadOptions, ProviderName, StateSettings},
    error::{Context, Error, Result},
    name::Name,
    plan::Listed,
    project::{self, ProjectId},
    provider::{self, Object, Provider, docker::Docker},
    state::{self, Deed, State, Store},
    ui::Ui,
};

/// A provider, and the account that it works in.
pub(super) struct Account {
    pub(super) provider: Arc<dyn Provider>,
    /// As the provider identifies it.
    pub(super) id: String,
}

impl Account {
    /// Everything in it that carries our labels.
    ///
    /// # Errors
    /// When the provider does not answer.
    pub(super) async fn environments(&self) -> Result<Vec<Listed>> {
        let objects = self.provider.labelled(None).await.context(|| format!("{self} cannot be asked"))?;
        Ok(Listed::of(objects))
    }

    /// Whether the objects of an environment that is listed here are those of a state of this project.
    pub(super) fn has(&self, listed: &Listed, state: &State, project: Option<&ProjectId>, folder: &Path) -> bool {
        let by_path = || self.provider.path_label(&folder.display().to_string());
        // States of earlier versions do not say what the labels say: what they know by its id is theirs.
        let knows = |object: &Object| state.known(object.address.kind, &object.id).is_some();
        let by_id = state.project_label.is_none() && state.project.is_none() && listed.objects.iter().any(knows);
        let label = match (&state.project_label, &state.project) {
            (Some(kept), _) => kept.clone(),
            (None, Some(id)) => id.to_string(),
            (None, None) => by_path(),
        };
        state.provider == self.provider.name()
            && state.account.as_ref().is_none_or(|known| *known == self.id)
            && state.project.as_ref().is_none_or(|id| project == Some(id))
            && state.label().as_str() == listed.environment
            && (by_id || label == listed.project)
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}: {})", self.provider.name(), self.provider.place(), self.id)
    }
}

/// Opens each account once, however many files name it and under whichever settings. A file that cannot be loaded is reported
/// and skipped; those accounts that do not say who they are come as errors.
///
/// # Errors
/// When only accounts of one provider are asked for, and there is none.
pub(super) async fn open(project: &Path, only: Option<ProviderName>, ui: &Ui) -> Result<(Vec<Account>, Vec<Error>)> {
    let mut providers: Vec<Arc<dyn Provider>> = Vec::new();
    let mut add = |provider: Arc<dyn Provider>| {
        if only.is_none_or(|only| only.as_str() == provider.name()) {
            providers.push(provider);
        }
    };
    for name in config::list(project) {
        let opened = config::load(&project.join("envs").join(&name), &LoadOptions::default())
            .and_then(|environment| provider::open(&environment));
        match opened {
            Ok(provider) => add(Arc::from(provider)),
            Err(error) => ui.say(&format!("warning: `envs/{name}` is skipped: {}", error.message())),
        }
    }
    add(Arc::new(Docker::open(&DockerSettings::default())?));
    let ids = futures::future::join_all(providers.iter().map(|provider| provider.account())).await;
    let (mut accounts, mut failures) = (Vec::<Account>::new(), Vec::<(String, Error)>::new());
    for (provider, id) in providers.into_iter().zip(ids) {
        let place = format!("{} ({})", provider.name(), provider.place());
        match id {
            Ok(id) if accounts.iter().any(|other| (other.provider.name(), &other.id) == (provider.name(), &id)) => {}
            Ok(id) => accounts.push(Account { provider, id }),
            // Several files may name the place.
            Err(_) if failures.iter().any(|(other, _)| *other == place) => {}
            Err(error) => failures.push((place.clone(), error.context(format!("{place} cannot be asked")))),
        }
    }
    let failures: Vec<Error> = failures.into_iter().map(|(_, error)| error).collect();
    match only {
        Some(only) if accounts.is_empty() && failures.is_empty() => {
            Err(Error::usage(format!("no environment file of this project names an account of `{}`", only.as_str()))
                .hint(format!("write `provider: {}` and its settings into one", only.as_str())))
        }
        _ => Ok((accounts, failures)),
    }
}

/// The places where states of this project lie: those that its files name, and its own folder.
pub(super) fn places(project: &Path) -> Vec<StateSettings> {
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
pub(super) async fn all_stores(project: &Path) -> Result<Vec<(Store, State)>> {
    for name in config::list(project) {
        config::checked_state_settings(&project.join("envs").join(&name)).map_err(|error| {
            error.context(format!("it is not known where the state of `{name}` is")).hint("nothing was changed")
        })?;
    }
    stores(project).await
}

/// All states of this project. One that cannot be read is told of and passed by.
pub(super) async fn states(project: &Path, ui: &Ui) -> Vec<State> {
    let mut states = Vec::new();
    let warn = |error: Error| ui.say(&format!("warning: {error}"));
    for settings in places(project) {
        let names = async { Store::list(state::open(project, &settings)?.as_ref()).await };
        for name in names.await.unwrap_or_else(|error| {
            warn(error);
            Vec::new()
        }) {
            let state = async { Store::open(project, &name, &settings)?.read().await };
            match state.await {
                Ok(state) => states.extend(state),
                Err(error) => warn(error),
            }
        }
    }
    states
}

/// The state of an environment of this name, wherever it lies.
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
pub(super) async fn folder_of(project: &Path, name: &Name) -> Result<Option<PathBuf>> {
    let Some((_, state)) = find(project, name).await? else { return Ok(None) };
    if state.folder.is_dir() {
        return Ok(Some(state.folder));
    }
    Ok(Some(project.join("envs").join(&state.terms.template)).filter(|folder| folder.is_dir()))
}

/// The folder that an environment of this name was made from, as its state says, wherever that is.
pub(super) async fn recorded_folder(project: &Path, name: &Name) -> Result<Option<PathBuf>> {
    Ok(find(project, name).await?.map(|(_, state)| state.folder))
}

/// The store of an environment, when something of it is known there.
pub(super) async fn store_of(project: &Path, name: &Name, template: &str) -> Result<Option<Store>> {
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
pub(super) async fn history(project: &Path, name: &Name) -> Result<Vec<Deed>> {
    let mut deeds = Vec::new();
    for settings in places(project) {
        deeds.extend(Store::open(project, name, &settings)?.history().await?);
    }
    deeds.sort_by_key(|deed| deed.at);
    Ok(deeds)
}

/// All stores of this project that hold a state; those of other projects in the same place are none of ours.
pub(super) async fn stores(project: &Path) -> Result<Vec<(Store, State)>> {
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

/// The store of an environment that a command line names: where its file says, or wherever its state lies.
pub(super) async fn store(environment: &str) -> Result<Store> {
    let start = std::env::current_dir().context(|| "the current directory cannot be determined")?;
    let project = config::project_of(&start);
    match config::find(environment, &start) {
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

/// The store of an environment that may be gone: where its state lies, or else where that of its name would.
pub(super) async fn store_that_was(environment: &str) -> Result<Store> {
    if let Ok(store) = store(environment).await {
        return Ok(store);
    }
    let start = std::env::current_dir().context(|| "the current directory cannot be determined")?;
    let name = environment.parse().map_err(Error::usage)?;
    Ok(Store::new(&config::project_of(&start), &name))
}
