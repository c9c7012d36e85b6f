//! The accounts that a project works with: those that its environment files name, and this machine's engine.

use std::{path::Path, sync::Arc};

use crate::{
    config::{self, DockerSettings, LoadOptions, ProviderName},
    error::{Error, Result},
    provider::{self, Provider, docker::Docker},
    ui::Ui,
};

/// Opens each account once. A file that cannot be loaded is told of and passed by.
///
/// # Errors
/// When only accounts of one provider are asked for, and there is none.
pub(super) fn open(project: &Path, only: Option<ProviderName>, ui: &Ui) -> Result<Vec<Arc<dyn Provider>>> {
    let mut accounts: Vec<Arc<dyn Provider>> = Vec::new();
    let mut add = |provider: Arc<dyn Provider>| {
        let same = |other: &Arc<dyn Provider>| (other.name(), other.account()) == (provider.name(), provider.account());
        if only.is_none_or(|only| only.as_str() == provider.name()) && !accounts.iter().any(same) {
            accounts.push(provider);
        }
    };
    for name in config::list(project) {
        let opened = config::load(&project.join("envs").join(&name), &LoadOptions::default())
            .and_then(|environment| provider::open(&environment));
        match opened {
            Ok(provider) => add(Arc::from(provider)),
            Err(error) => ui.say(&format!("warning: `envs/{name}` is passed by: {}", error.message())),
        }
    }
    add(Arc::new(Docker::open(&DockerSettings::default())?));
    match only {
        Some(only) if accounts.is_empty() => {
            Err(Error::usage(format!("no environment file of this project names an account of `{}`", only.as_str()))
                .hint(format!("write `provider: {}` and its settings into one", only.as_str())))
        }
        _ => Ok(accounts),
    }
}
