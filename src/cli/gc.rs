//! `infra gc`: sweeps away the environments whose time is over.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use clap::Args;
use serde_json::json;

use super::accounts::{self, Account};
use crate::{
    apply,
    clock::Clock,
    config::{self, ProviderName},
    error::{Context, Error, Result},
    event::Events,
    name::Name,
    plan::{Change, DataPolicy, Listed},
    project::{self, ProjectId},
    provider::{Owner, Provider},
    state::{self, Deed, Lease, State, Store, pool::Pool},
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
    /// Also environments whose state is here and cannot be read: broken, or its key is lost
    #[arg(long)]
    by_label: bool,
    /// Make no last copy of managed databases, where the provider makes one
    #[arg(long)]
    allow_data_loss: bool,
}

fn provider_name(text: &str) -> Result<ProviderName, String> {
    let all = [ProviderName::Docker, ProviderName::Yandex, ProviderName::Aws];
    all.into_iter()
        .find(|name| name.as_str() == text)
        .ok_or_else(|| format!("`{text}` is not a provider: use `docker`, `yandex` or `aws`"))
}

impl Gc {
    pub(super) async fn run(&self, ui: &Ui) -> Result<u8> {
        let start = std::env::current_dir().context(|| "the current directory cannot be determined")?;
        let project = config::project_of(&start);
        let here = Here {
            id: project::read(&project)?,
            folder: project,
            by_label: self.by_label,
            data: DataPolicy::of_removal(self.allow_data_loss),
        };
        let mut swept = Vec::new();
        let (accounts, mut failures) = accounts::open(&here.folder, self.provider, ui).await?;
        if !self.dry_run {
            failures.extend(here.settle_pools(ui).await);
        }
        for account in accounts {
            let environments = match account.environments().await {
                Ok(environments) => environments,
                Err(error) => {
                    failures.push(error);
                    continue;
                }
            };
            let now = Clock::System.now();
            for listed in environments.into_iter().filter(|listed| listed.has_expired(now)) {
                let expired = listed.terms.expires.map_or(0, |expires| now.as_second() - expires.as_second());
                #[expect(clippy::cast_precision_loss, reason = "an age in seconds")]
                let expired = ui::duration(expired as f64);
                let of = if listed.project.is_empty() {
                    "no project".to_owned()
                } else {
                    format!("project `{}`", listed.project)
                };
                let owner = if listed.terms.owner.is_empty() {
                    String::new()
                } else {
                    format!(", made by {}", listed.terms.owner)
                };
                let what = format!("`{}` ({of}{owner}) in {account}", listed.environment);
                if self.dry_run {
                    ui.say(&format!("{what}: expired {expired} ago, {} objects", listed.objects.len()));
                } else {
                    match here.sweep(&account, &listed, ui).await {
                        Ok(count) => ui.say(&format!("{what}: expired {expired} ago, {count} objects removed")),
                        Err(error) => {
                            failures.push(error.context(what));
                            continue;
                        }
                    }
                }
                swept.push(json!({
                    "environment": listed.environment, "provider": account.provider.name(), "account": account.id,
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

/// The project that the command runs in.
struct Here {
    folder: PathBuf,
    id: Option<ProjectId>,
    /// Whether a state that cannot be read is put aside.
    by_label: bool,
    /// What becomes of data.
    data: DataPolicy,
}

/// A store whose lease is held.
struct Leased {
    store: Store,
    lease: Lease,
    state: Option<State>,
    /// Whether there is a state that cannot be read.
    is_unreadable: bool,
}

impl Here {
    /// Ends the claims on members of pools whose commands were killed; what cannot be looked at is told.
    async fn settle_pools(&self, ui: &Ui) -> Vec<Error> {
        let mut failures = Vec::new();
        for settings in accounts::places(&self.folder) {
            let settled = async {
                let backend = state::open(&self.folder, &settings)?;
                super::pool::settle(&Pool::new(backend, &self.folder, &settings, self.id.clone()), ui).await
            };
            failures.extend(settled.await.err());
        }
        failures
    }

    /// Destroys one environment. Where its state is at hand, it is locked, so that no command works on it meanwhile, and
    /// forgotten.
    async fn sweep(&self, account: &Account, listed: &Listed, ui: &Ui) -> Result<usize> {
        let begun = Instant::now();
        let name: Name = listed.environment.parse().map_err(Error::new)?;
        let owner = Owner { environment: name.clone(), project: listed.project.clone() };
        let (events, progress) = Progress::start(ui);
        let result = async {
            let home = self.home(account, listed);
            let leased = match &home {
                Some(home) => self.lease(home, &name, listed, &events).await?,
                None => None,
            };
            let removed =
                self.sweep_leased(account, listed, &owner, home.as_deref(), leased.as_ref(), begun, &events).await;
            if let Some(leased) = leased {
                leased.store.release(leased.lease).await;
            }
            removed
        }
        .await;
        drop(events);
        progress.finish().await;
        result
    }

    /// The same, whatever is leased: the lease is given back by the caller.
    async fn sweep_leased(
        &self, account: &Account, listed: &Listed, owner: &Owner, home: Option<&Path>, leased: Option<&Leased>,
        begun: Instant, events: &Events,
    ) -> Result<usize> {
        // A state of this name may be that of other objects, in another account.
        let state = leased.and_then(|leased| leased.state.as_ref());
        let id = home.map(project::read).transpose()?.flatten();
        let is_its = state.zip(home).is_none_or(|(state, home)| account.has(listed, state, id.as_ref(), home));
        let held = leased.map(|leased| &leased.store);
        let Some(changes) = removal(account.provider.as_ref(), owner).await? else { return Ok(0) };
        if let Some((store, state)) = held.zip(state).filter(|_| is_its) {
            let removing = state.resources.keys().cloned().collect();
            store.write(&State { removing, serial: state.serial + 1, ..state.clone() }).await?;
        }
        let removed = apply::sweep(account.provider.as_ref(), owner, &changes, self.data, held, events).await?;
        if let (Some(leased), Some(home), true) = (leased, home, is_its) {
            let store = &leased.store;
            if leased.is_unreadable {
                store.put_aside().await?;
            } else {
                store.remove().await?;
            }
            let changes = listed.objects.iter().map(|object| format!("- {}", object.address)).collect();
            let deed = Deed::begin("gc", home, "", changes);
            store
                .remember(&Deed { seconds: begun.elapsed().as_secs_f64(), outcome: "done".to_owned(), ..deed })
                .await?;
        }
        Ok(removed)
    }

    /// Takes the lease of an environment, when something of it is known in a project.
    async fn lease(&self, home: &Path, name: &Name, listed: &Listed, events: &Events) -> Result<Option<Leased>> {
        let what = "infra gc";
        let known = async {
            let Some(store) = accounts::store_of(home, name, &listed.terms.template).await? else { return Ok(None) };
            let (lease, state) = store.lease(what, Duration::ZERO, events).await?;
            Ok(Some(Leased { store, lease, state, is_unreadable: false }))
        };
        match known.await {
            Err(_) if self.by_label => {
                let settings = config::state_settings(&home.join("envs").join(&listed.terms.template));
                let store = Store::open(home, name, &settings)?;
                let lease = store.lease_blindly(what, Duration::ZERO, events).await?;
                let read = store.read().await;
                let is_unreadable = read.is_err();
                Ok(Some(Leased { store, lease, state: read.ok().flatten(), is_unreadable }))
            }
            known => known.map_err(|error: Error| {
                error.hint("`infra gc --by-label` also sweeps environments whose state cannot be read")
            }),
        }
    }

    /// The project folder of an environment, when it is known on this machine: this one, or the one that an earlier version wrote
    /// into its labels.
    fn home(&self, account: &Account, listed: &Listed) -> Option<PathBuf> {
        let by_path = account.provider.path_label(&self.folder.display().to_string());
        if self.id.as_ref().is_some_and(|id| id.as_str() == listed.project) || listed.project == by_path {
            return Some(self.folder.clone());
        }
        Some(PathBuf::from(&listed.project)).filter(|path| path.is_absolute() && path.is_dir())
    }
}

/// Looks once more, as another command may have prolonged it since: what is to be removed, if there is still something.
async fn removal(provider: &dyn Provider, owner: &Owner) -> Result<Option<Vec<Change>>> {
    let now = Listed::of(provider.labelled(Some(&owner.environment)).await?);
    let Some(now) = now.into_iter().find(|other| other.project == owner.project) else { return Ok(None) };
    if !now.has_expired(Clock::System.now()) {
        return Err(Error::new("it was prolonged just now; it is left alone"));
    }
    now.removal(provider.policy()).map(Some)
}
