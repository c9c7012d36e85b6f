//! The playbooks of a command: read and checked before anything is done, then run on the machines.

use std::sync::Arc;

use super::{Site, Stop, preflight};
use crate::{
    config::Environment,
    configure::{self, Configuration, Pool},
    error::{Diagnostic, Result, Severity},
    event::Events,
    playbook::{Loader, Notified, Options, Play, Recap},
    provider::{self, Provider},
    state::{State, Vault},
    template::Engine,
};

/// Playbooks that were read and checked.
pub struct Playbooks {
    /// The plays, in order.
    pub plays: Vec<Play>,
    /// What the user should know about the files.
    pub warnings: Vec<Diagnostic>,
    engine: Engine,
    loader: Arc<Loader>,
    /// Whether these are the environment's own playbooks, all of them.
    complete: bool,
}

/// What `infra run` runs instead of the environment's own playbooks.
#[derive(Clone, Debug)]
pub enum Work {
    /// A playbook: a path, or a name as in `playbooks:`.
    Playbook(String),
    /// One module with its arguments.
    Module(String, String),
}

impl Playbooks {
    /// The environment's own playbooks, for an apply: what it needs of this machine is there, too.
    ///
    /// # Errors
    /// All mistakes at once.
    pub fn for_apply(site: &Site) -> Result<Self> {
        let found = preflight::surroundings(&site.environment, Severity::Error);
        Self::load(&site.environment, Some(site.provider.as_ref()), found)
    }

    /// The environment's own playbooks.
    ///
    /// # Errors
    /// All mistakes at once.
    pub fn of(site: &Site) -> Result<Self> {
        Self::load(&site.environment, Some(site.provider.as_ref()), Vec::new())
    }

    /// Reads those of an environment and asks the provider about the file: the mistakes of both, and those that were found
    /// before, are one error.
    ///
    /// # Errors
    /// All mistakes at once.
    pub fn load(
        environment: &Environment, provider: Option<&dyn Provider>, mut found: Vec<Diagnostic>,
    ) -> Result<Self> {
        found.extend(provider.map(|provider| provider::check(provider, environment)).unwrap_or_default());
        let engine = Engine::default();
        let loader = Arc::new(configure::loader(environment, &engine));
        let (plays, in_playbooks) = configure::load_plays(environment, &loader, &engine)?;
        found.extend(in_playbooks);
        let warnings = preflight::refuse(environment, found)?;
        Ok(Self { plays, warnings, engine, loader, complete: true })
    }

    /// Other playbooks than the environment's own, on the machines that a pattern names; `root` runs them as root where they do
    /// not say otherwise.
    ///
    /// # Errors
    /// All mistakes at once; when the pattern matches no machine.
    pub fn ad_hoc(site: &Site, work: &Work, root: bool, limit: &str) -> Result<Self> {
        let engine = Engine::default();
        let loader = Arc::new(configure::loader(&site.environment, &engine).becoming(root));
        let mut plays = match work {
            Work::Playbook(name) => {
                let direct = std::path::PathBuf::from(name);
                let path =
                    if direct.is_file() { std::path::absolute(direct)? } else { loader.search().playbook(name)? };
                loader.playbooks(&[path])?
            }
            Work::Module(name, arguments) => loader.ad_hoc(name, arguments, root)?,
        };
        let found = configure::check_plays(&site.environment, &mut plays, &loader, &engine);
        let warnings = preflight::refuse(&site.environment, found)?;
        if limit != "all" {
            configure::check_limit(&site.environment, limit)?;
            for play in &mut plays {
                play.hosts.push(format!("&{limit}"));
            }
        }
        Ok(Self { plays, warnings, engine, loader, complete: false })
    }

    /// Runs them on machines as they are in this state.
    ///
    /// # Errors
    /// When the plays are wrong; failures of hosts are in the recap.
    pub(super) async fn run(
        self, site: &Site, state: &State, vault: &Vault, pool: Arc<Pool>, options: Options, events: &Events,
        stop: &Stop,
    ) -> Result<Recap> {
        let project = state.project.as_ref().map(ToString::to_string);
        let notified = Notified::of(project.as_deref(), state.label().as_str());
        let options = Options { notified: Some(notified), complete: self.complete, ..options };
        let inventory = configure::inventory(&site.environment, state, vault);
        let world = configure::world(inventory, self.loader.search().clone(), &self.engine, options.check);
        let configuration = Configuration { world, loader: self.loader, plays: self.plays, pool, options };
        // Hosts end with the task that they are at, and note what is still to be done there.
        stop.holding(configuration.run(events, stop.token().clone())).await
    }
}
