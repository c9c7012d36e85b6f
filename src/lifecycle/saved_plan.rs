//! A plan in a file: reviewed by one, carried out by another, and refused when anything has changed since.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Site, Target};
use crate::{
    config,
    error::{Context, Error, Result},
    name::Name,
    plan::{DataPolicy, Plan, Selection, VERSION},
    state::Store,
};

/// A plan, with what its environment was loaded from.
#[derive(Debug, Serialize, Deserialize)]
pub struct SavedPlan {
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
    selection: Selection,
    plan: Plan,
}

/// A plan file. What was given by `--var`, and what machines get at their first boot, is for those only who have the keys of
/// the state.
#[derive(Debug, Serialize, Deserialize)]
struct Sealed {
    version: u32,
    environment: PathBuf,
    name: String,
    sealed: String,
}

impl SavedPlan {
    /// Refuses to write a plan over a file that is none.
    ///
    /// # Errors
    /// When there is such a file.
    pub fn check_writable(path: &Path) -> Result<()> {
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

    /// Writes the plan of an environment, encrypted with the keys of its state.
    ///
    /// # Errors
    /// When there is no key, or the file cannot be written.
    pub fn write(site: &Site, target: &Target, selection: Selection, plan: Plan, path: &Path) -> Result<()> {
        let saved = Self {
            environment: site.environment.folder.clone(),
            name: site.environment.name.to_string(),
            set: target.set.clone(),
            unset: target.unset,
            var: target.vars.clone(),
            files_root: target.overlay()?.and_then(|overlay| overlay.files_root),
            selection,
            plan,
        };
        let sealed = Sealed {
            version: VERSION,
            environment: saved.environment.clone(),
            name: saved.name.clone(),
            sealed: site.store.keys().encrypt(&serde_json::to_vec(&saved)?)?,
        };
        let text = serde_json::to_string_pretty(&sealed)?;
        std::fs::write(path, text).context(|| format!("cannot write `{}`", path.display()))
    }

    /// The plan file that an argument names; `None` when it names an environment.
    ///
    /// # Errors
    /// When the file is no plan, was written by another version, or cannot be decrypted here.
    pub fn read(argument: &str) -> Result<Option<Self>> {
        let path = PathBuf::from(argument);
        if !path.is_file() || path.extension().is_some_and(|extension| extension == "yaml") {
            return Ok(None);
        }
        let text = std::fs::read_to_string(&path).context(|| format!("cannot read `{argument}`"))?;
        let wrong = |error: serde_json::Error| {
            Error::usage(format!("`{argument}` is not a plan: {error}")).hint("make one: `infra plan ENV --out FILE`")
        };
        let of_another_version =
            || Error::usage(format!("`{argument}` was written by another version of infra")).hint("plan again");
        let value: serde_json::Value = serde_json::from_str(&text).map_err(wrong)?;
        // Those of earlier versions were not encrypted.
        if value.get("plan").is_some() {
            return Err(of_another_version());
        }
        let sealed: Sealed = serde_json::from_value(value).map_err(wrong)?;
        if sealed.version != VERSION {
            return Err(of_another_version());
        }
        let project = config::project_of(&sealed.environment);
        let name: Name = sealed.name.parse().map_err(Error::usage)?;
        let store = Store::open(&project, &name, &config::state_settings(&sealed.environment))?;
        let plain = store.keys().decrypt(&sealed.sealed, &format!("the plan `{argument}`"))?;
        let saved: Self = serde_json::from_slice(&plain).map_err(wrong)?;
        Ok(Some(saved))
    }

    /// The environment that it was made for.
    #[must_use]
    pub fn target(&self) -> Target {
        Target {
            environment: self.environment.display().to_string(),
            start: self.environment.clone(),
            name: self.name.parse().ok(),
            set: self.set.clone(),
            unset: self.unset,
            vars: self.var.clone(),
            files_root: self.files_root.clone(),
        }
    }

    /// The part that was asked for.
    #[must_use]
    pub fn selection(&self) -> &Selection {
        &self.selection
    }

    /// Whether it may lose data, as it was reviewed.
    #[must_use]
    pub fn allows_data_loss(&self) -> bool {
        self.plan.data != DataPolicy::Refuse
    }

    /// Refuses a plan that was made from other files or another state: what was reviewed is what is done.
    ///
    /// # Errors
    /// When anything differs from what would be done now.
    pub fn check(&self, now: &Plan) -> Result<()> {
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
