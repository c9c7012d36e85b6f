//! The arguments that many commands have.

use std::path::PathBuf;

use clap::Args;

use crate::{
    error::{Context as _, Result},
    lifecycle::Target,
    name::Name,
    plan::Selection,
    resource::Address,
};

/// Which environment a command is about.
#[derive(Args, Clone, Debug)]
pub(super) struct EnvironmentArgs {
    /// The environment: a folder of `envs/`, a path to one, or the name of one that was made from it
    pub(super) environment: String,
    #[command(flatten)]
    pub(super) overlay: OverlayArgs,
}

/// What is set over an environment file.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct OverlayArgs {
    /// Another name, for an independent environment from the same file
    #[arg(long)]
    pub(super) name: Option<Name>,
    /// Set a value over that of the file, as `instances.app.resources.cores=4`; later commands use the values of the last apply
    #[arg(long, value_name = "KEY.PATH=VALUE")]
    pub(super) set: Vec<String>,
    /// Use the file as it is, without the `--set` and `--files-root` values of earlier applies
    #[arg(long, conflicts_with_all = ["set", "files_root"])]
    pub(super) unset: bool,
    /// Set a variable of playbooks and templates, over all others
    #[arg(long, value_name = "KEY=VALUE")]
    pub(super) var: Vec<String>,
    /// Where relative file paths in the file start, instead of its own folder
    #[arg(long, value_name = "DIR")]
    pub(super) files_root: Option<PathBuf>,
}

impl OverlayArgs {
    /// The environment of a name with this over its file.
    ///
    /// # Errors
    /// When there is no current directory.
    pub(super) fn over(&self, environment: &str) -> Result<Target> {
        Ok(Target {
            environment: environment.to_owned(),
            start: current_dir()?,
            name: self.name.clone(),
            set: self.set.clone(),
            unset: self.unset,
            vars: self.var.clone(),
            files_root: self.files_root.clone(),
        })
    }
}

impl EnvironmentArgs {
    /// What the arguments name.
    ///
    /// # Errors
    /// When there is no current directory.
    pub(super) fn target(&self) -> Result<Target> {
        self.overlay.over(&self.environment)
    }
}

/// The environment of a name, with nothing over its file.
///
/// # Errors
/// When there is no current directory.
pub(super) fn named(environment: &str) -> Result<Target> {
    OverlayArgs::default().over(environment)
}

/// The folder that the command was started in.
///
/// # Errors
/// When there is none any more.
pub(super) fn current_dir() -> Result<PathBuf> {
    std::env::current_dir().context(|| "the current directory cannot be determined")
}

/// Which part of a plan is wanted.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct SelectionArgs {
    /// Only this resource and what it needs, as `vm.app-1`; may be given several times
    #[arg(long = "target", value_name = "ADDRESS")]
    targets: Vec<Address>,
    /// Not this resource, nor what needs it
    #[arg(long, value_name = "ADDRESS")]
    exclude: Vec<Address>,
    /// Recreate this resource and what is on it
    #[arg(long, value_name = "ADDRESS")]
    replace: Vec<Address>,
}

impl SelectionArgs {
    pub(super) fn selection(&self) -> Selection {
        Selection { targets: self.targets.clone(), excluded: self.exclude.clone(), replaced: self.replace.clone() }
    }
}
