//! `infra plan`: what an apply would do.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{
    apply::plan_path,
    configured::Prepared,
    cost, life,
    session::{EnvironmentArgs, OverlayArgs, SelectionArgs, Session},
};
use crate::{
    config::{self, Environment},
    error::{Context, Error, Result},
    files,
    name::Name,
    plan::{self, DataPolicy, VERSION},
    secret::Redactor,
    state::Store,
    ui::{self, Mode, Ui},
};

/// Show what an apply would create, change, replace and destroy, and which machines it would configure
#[derive(Args, Debug)]
pub(super) struct Plan {
    #[command(flatten)]
    environment: EnvironmentArgs,
    #[command(flatten)]
    selection: SelectionArgs,
    /// Write the plan to a file that `infra apply FILE` carries out
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Exit with 2 when resources would change
    #[arg(long)]
    detailed_exitcode: bool,
    /// Ask the provider what exists; `--refresh=false` believes the state
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, value_name = "BOOL")]
    refresh: bool,
    /// Plan the destruction
    #[arg(long)]
    destroy: bool,
    /// Plan for an apply that may delete or replace what holds data
    #[arg(long)]
    allow_data_loss: bool,
}

impl Plan {
    pub(super) async fn run(&self, ui: &Ui, redactor: &Redactor) -> Result<u8> {
        let mut session = Session::review(&self.environment, ui, redactor).await?;
        let prepared = if self.destroy { Prepared::of(&session, ui)? } else { Prepared::of_apply(&session, ui)? };
        if let Some(path) = &self.out {
            SavedPlan::check_writable(path)?;
        }
        if let Some(warning) = life::late_ttl(&session).filter(|_| !self.destroy) {
            ui.say(&warning);
        }
        let observed = if self.refresh { session.observe().await? } else { session.remembered() };
        let mut plan = session.plan(&observed, self.destroy, &self.selection.selection())?;
        if let Err(error) = session.choose(&mut plan).await
            && self.refresh
        {
            return Err(error);
        }
        if !self.destroy {
            prepared.complete(&session, &mut plan);
        }
        plan.digest = digest(&session.environment)?;
        let policy = if self.destroy { DataPolicy::of_removal } else { DataPolicy::of_apply };
        plan.data = policy(self.allow_data_loss);
        if ui.mode() == Mode::Json {
            let mut value = ui::plan_json(&plan);
            if !self.destroy {
                value["cost"] =
                    serde_json::to_value(cost::estimate(&session.environment, session.provider.as_ref(), None)?)?;
            }
            value["event"] = "plan".into();
            ui.event(&value);
        } else {
            ui.result(&ui::plan_text(ui, &plan));
            if !self.destroy
                && let Some(summary) = cost::estimate(&session.environment, session.provider.as_ref(), None)?.summary()
            {
                ui.result(&format!("cost:      {summary}\n"));
            }
        }
        if self.refresh {
            let known = session.check_not_all_gone(&observed, false);
            let known = known.and_then(|()| {
                if self.destroy { session.check_known(&plan) } else { session.check_not_unknown(&plan, false) }
            });
            if let Err(error) = known {
                let command = if self.destroy { "destroy" } else { "apply" };
                ui.say(&format!("`infra {command}` would be refused: {}", error.message()));
                for hint in error.hints() {
                    ui.say(&format!("hint: {hint}"));
                }
            }
        }
        let changes = !plan.is_empty();
        if let Some(path) = &self.out {
            let saved = SavedPlan {
                environment: session.environment.folder.clone(),
                name: session.environment.name.to_string(),
                set: self.environment.overlay.set.clone(),
                unset: self.environment.overlay.unset,
                var: self.environment.overlay.var.clone(),
                files_root: self.environment.overlay.files_root.clone().map(std::path::absolute).transpose()?,
                selection: self.selection.selection(),
                plan,
            };
            let text = saved.seal(&session)?;
            std::fs::write(path, text).context(|| format!("cannot write `{}`", path.display()))?;
            ui.say(&format!("\nsaved: `infra apply {}` carries it out", path.display()));
        }
        Ok(if self.detailed_exitcode && changes { 2 } else { 0 })
    }
}

/// A plan in a file, with what its environment was loaded from.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SavedPlan {
    environment: PathBuf,
    name: String,
    set: Vec<String>,
    /// Whether the file is used as it is.
    #[serde(default)]
    unset: bool,
    var: Vec<String>,
    files_root: Option<PathBuf>,
    /// The part that was asked for.
    #[serde(default)]
    pub(super) selection: plan::Selection,
    plan: plan::Plan,
}

/// A plan file. What was given by `--var`, and what machines are told at their first boot, is nobody else's business.
#[derive(Debug, Serialize, Deserialize)]
struct Sealed {
    version: u32,
    environment: PathBuf,
    name: String,
    sealed: String,
}

impl SavedPlan {
    /// Refuses to write a plan over a file that is none.
    fn check_writable(path: &Path) -> Result<()> {
        if !path.exists() {
            return Ok(());
        }
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let is_plan = serde_json::from_str::<serde_json::Value>(&text)
            .is_ok_and(|value| value.get("sealed").is_some() || value.get("plan").is_some());
        if is_plan {
            return Ok(());
        }
        Err(Error::usage(format!("`{}` exists and is not a plan; nothing was written", path.display()))
            .hint("name another file for the plan"))
    }

    fn seal(&self, session: &Session) -> Result<String> {
        let sealed = Sealed {
            version: VERSION,
            environment: self.environment.clone(),
            name: self.name.clone(),
            sealed: session.store.keys().encrypt(&serde_json::to_vec(self)?)?,
        };
        Ok(serde_json::to_string_pretty(&sealed)?)
    }

    /// The plan file that an argument names; `None` when it names an environment.
    pub(super) fn read(argument: &str) -> Result<Option<Self>> {
        let Some(path) = plan_path(argument) else { return Ok(None) };
        let text = std::fs::read_to_string(&path).context(|| format!("cannot read `{argument}`"))?;
        let wrong = |error: serde_json::Error| {
            Error::usage(format!("`{argument}` is not a plan: {error}")).hint("make one: `infra plan ENV --out FILE`")
        };
        let value: serde_json::Value = serde_json::from_str(&text).map_err(wrong)?;
        // Those of earlier versions lay open.
        if value.get("plan").is_some() {
            return Err(
                Error::usage(format!("`{argument}` was written by another version of infra")).hint("plan again")
            );
        }
        let sealed: Sealed = serde_json::from_value(value).map_err(wrong)?;
        if sealed.version != VERSION {
            return Err(
                Error::usage(format!("`{argument}` was written by another version of infra")).hint("plan again")
            );
        }
        let project = config::project_of(&sealed.environment);
        let name: Name = sealed.name.parse().map_err(Error::usage)?;
        let store = Store::open(&project, &name, &config::state_settings(&sealed.environment))?;
        let plain = store.keys().decrypt(&sealed.sealed, &format!("the plan `{argument}`"))?;
        let saved: Self = serde_json::from_slice(&plain).map_err(wrong)?;
        Ok(Some(saved))
    }

    pub(super) fn arguments(&self) -> EnvironmentArgs {
        EnvironmentArgs {
            environment: self.environment.display().to_string(),
            overlay: OverlayArgs {
                name: self.name.parse().ok(),
                set: self.set.clone(),
                unset: self.unset,
                var: self.var.clone(),
                files_root: self.files_root.clone(),
            },
        }
    }

    /// What becomes of data, as it was reviewed.
    pub(super) fn data(&self) -> DataPolicy {
        self.plan.data
    }

    /// Refuses a plan that was made from other files or another state: what was reviewed is what is done.
    pub(super) fn check(&self, now: &plan::Plan) -> Result<()> {
        let stale =
            |why: &str| Err(Error::usage(format!("the plan is stale: {why}")).hint("plan again, review it, apply it"));
        if self.plan.digest != now.digest {
            return stale("the environment's files have changed since it was made");
        }
        if self.plan.serial != now.serial || self.plan.changes != now.changes {
            return stale("the environment has changed since it was made");
        }
        Ok(())
    }
}

/// The lines of a plan in which something happens, for the history.
pub(super) fn lines(plan: &plan::Plan) -> Vec<String> {
    let changes = plan.changes.iter().filter(|change| change.action != plan::Action::Keep);
    changes.map(|change| format!("{} {}", change.action.sign(), change.address)).collect()
}

/// A digest of the files of an environment and of its playbooks.
pub(super) fn digest(environment: &Environment) -> Result<String> {
    let mut hash = Sha256::new();
    let mut folders: Vec<PathBuf> = vec![environment.folder.clone()];
    folders.extend(["playbooks", "templates"].map(|name| environment.project.join(name)));
    for folder in folders.iter().filter(|folder| folder.is_dir()) {
        for file in files::walk(folder)? {
            hash.update(file.to_string_lossy().as_bytes());
            hash.update(files::read(&folder.join(&file))?);
        }
    }
    hash.update(format!("{:?}", environment.extra_vars));
    let specs: Vec<_> = environment.resources.iter().map(|resource| &resource.spec).collect();
    hash.update(serde_json::to_string(&specs)?);
    Ok(crate::identity::hex(&hash.finalize()[..16]))
}
