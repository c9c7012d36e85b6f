//! `infra gc`: sweeps away the environments whose time is over.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use clap::Args;
use serde_json::json;

use super::accounts;
use crate::{
    apply,
    clock::Clock,
    config::{self, ProviderName},
    error::{Context, Error, Result},
    event::Events,
    name::Name,
    plan::Listed,
    provider::Provider,
    state::Deed,
    ui::{self, Mode, Progress, Ui},
};

/// Destroy the environments whose time is over, by what the providers list: their state may be lost
#[derive(Args, Debug)]
pub(super) struct Gc {
    /// Only show what would be destroyed
    #[arg(long)]
    dry_run: bool,
    /// Only accounts of this provider: `docker`, `yandex` or `aws`
    #[arg(long, value_name = "PROVIDER", value_parser = provider_name)]
    provider: Option<ProviderName>,
}

fn provider_name(text: &str) -> Result<ProviderName, String> {
    let all = [ProviderName::Docker, ProviderName::Yandex, ProviderName::Aws];
    all.into_iter()
        .find(|name| name.as_str() == text)
        .ok_or_else(|| format!("`{text}` is not a provider: use `docker`, `yandex` or `aws`"))
}

impl Gc {
    pub(super) async fn run(&self, ui: &Ui) -> Result<u8> {
        let start = std::env::current_dir().context(|| "cannot tell the present folder")?;
        let project = config::project_of(&start);
        let (mut swept, mut failures) = (Vec::new(), Vec::new());
        for provider in accounts::open(&project, self.provider, ui)? {
            let account = format!("{} ({})", provider.name(), provider.account());
            let objects = match provider.list(None).await {
                Ok(objects) => objects,
                Err(error) => {
                    failures.push(error.context(format!("{account} cannot be asked")));
                    continue;
                }
            };
            let now = Clock::System.now();
            for listed in Listed::of(objects).into_iter().filter(|listed| listed.has_expired(now)) {
                let expired = listed.terms.expires.map_or(0, |expires| now.as_second() - expires.as_second());
                #[expect(clippy::cast_precision_loss, reason = "an age in seconds")]
                let expired = ui::duration(expired as f64);
                let what = format!("`{}` of {account}", listed.environment);
                if self.dry_run {
                    ui.say(&format!("{what}: expired {expired} ago, {} objects", listed.objects.len()));
                } else {
                    match sweep(provider.as_ref(), &project, &listed, ui).await {
                        Ok(count) => ui.say(&format!("{what}: expired {expired} ago, {count} objects removed")),
                        Err(error) => {
                            failures.push(error.context(what));
                            continue;
                        }
                    }
                }
                swept.push(json!({
                    "environment": listed.environment, "provider": provider.name(), "account": provider.account(),
                    "project": listed.project, "expired": listed.terms.expires, "objects": listed.objects.len(),
                    "destroyed": !self.dry_run,
                }));
            }
        }
        if swept.is_empty() && failures.is_empty() {
            ui.say("nothing has expired");
        }
        if ui.mode() == Mode::Json {
            ui.json(&json!({ "swept": swept }));
        }
        let count = failures.len();
        match failures.into_iter().next() {
            None => Ok(0),
            Some(first) if count == 1 => Err(first),
            Some(first) => Err(first.hint(format!("{} more failed", count - 1))),
        }
    }
}

/// Destroys one environment. Where its state is at hand, it is locked, so that nobody works on it meanwhile, and forgotten.
async fn sweep(provider: &dyn Provider, project: &Path, listed: &Listed, ui: &Ui) -> Result<usize> {
    let begun = Instant::now();
    let name: Name = listed.environment.parse().map_err(Error::new)?;
    let (events, progress) = Progress::start(ui);
    let result = async {
        let home = home(provider, project, listed);
        let store = match &home {
            Some(home) => accounts::store_of(home, &name, &listed.terms.template).await?,
            None => None,
        };
        let lease = match &store {
            Some(store) => Some(store.lease("infra gc", Duration::ZERO, &events).await?.0),
            None => None,
        };
        let removed = remove(provider, &name, listed, &events).await;
        if let (Some(store), Some(home), Ok(_)) = (&store, &home, &removed) {
            store.remove().await?;
            let changes = listed.objects.iter().map(|object| format!("- {}", object.address)).collect();
            let deed = Deed::begin("gc", home, "", changes);
            store
                .remember(&Deed { seconds: begun.elapsed().as_secs_f64(), outcome: "done".to_owned(), ..deed })
                .await?;
        }
        if let Some((store, lease)) = store.zip(lease) {
            store.release(lease).await;
        }
        removed
    }
    .await;
    drop(events);
    progress.finish().await;
    result
}

/// Looks once more, as somebody may have prolonged it since, then removes it.
async fn remove(provider: &dyn Provider, name: &Name, listed: &Listed, events: &Events) -> Result<usize> {
    let now = Listed::of(provider.list(Some(name)).await?);
    let Some(now) = now.into_iter().find(|other| other.project == listed.project) else { return Ok(0) };
    if !now.has_expired(Clock::System.now()) {
        return Err(Error::new("it was prolonged just now; it is left alone"));
    }
    apply::sweep(provider, name, &now.removal(provider.policy())?, events).await
}

/// The project folder of an environment, when it is on this machine.
fn home(provider: &dyn Provider, project: &Path, listed: &Listed) -> Option<PathBuf> {
    let here = provider.project_label(&project.display().to_string());
    if listed.project == here {
        return Some(project.to_owned());
    }
    Some(PathBuf::from(&listed.project)).filter(|path| path.is_absolute() && path.is_dir())
}
