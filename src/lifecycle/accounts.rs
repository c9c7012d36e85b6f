//! The accounts that a project works with: those that its environment files name, and this machine's engine.

use std::{fmt, path::Path, sync::Arc};

use crate::{
    config::{self, LoadOptions, ProviderName},
    error::{Context, Error, Result},
    plan::Listed,
    project::ProjectId,
    provider::{self, Entry, Object, Provider},
    state::State,
};

/// A provider, and the account that it works in.
pub struct Account {
    /// The provider.
    pub provider: Arc<dyn Provider>,
    /// As the provider identifies it.
    pub id: String,
}

impl Account {
    /// Everything in it that carries our labels.
    ///
    /// # Errors
    /// When the provider does not answer.
    pub async fn environments(&self) -> Result<Vec<Listed>> {
        let objects = self.provider.labelled(None).await.context(|| format!("{self} cannot be asked"))?;
        Ok(Listed::of(objects))
    }

    /// Whether the objects of an environment that is listed here are those of a state of this project.
    #[must_use]
    pub fn has(&self, listed: &Listed, state: &State, project: Option<&ProjectId>, folder: &Path) -> bool {
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

/// The accounts of a project.
#[derive(Default)]
pub struct Accounts {
    /// Each once.
    pub open: Vec<Account>,
    /// Those that did not say who they are.
    pub failures: Vec<Error>,
    /// What is said about files that were skipped.
    pub warnings: Vec<String>,
}

/// Opens each account once, however many files name it and under whichever settings. A file that cannot be loaded is skipped.
///
/// # Errors
/// When only accounts of one provider are asked for, and there is none.
pub async fn open(project: &Path, only: Option<ProviderName>) -> Result<Accounts> {
    let mut warnings = Vec::new();
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
            Err(error) => warnings.push(format!("`envs/{name}` is skipped: {}", error.message())),
        }
    }
    for (_, here) in Entry::here() {
        add(Arc::from((here.open)()?));
    }
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
        _ => Ok(Accounts { open: accounts, failures, warnings }),
    }
}
