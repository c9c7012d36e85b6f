//! From resources to configured machines: secrets and certificates, the inventory, connections, playbooks, outputs.
//! May import `apply`, `plan`, `playbook`, `remote`, `provider`, `state`, `config` and the vocabulary.

mod certificates;
mod connections;
mod disks;
mod health;
mod host_keys;
mod inventory;
mod machines;
mod playbooks;
mod secrets;
mod ssh_config;
mod values;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use self::machines::machine;
pub use self::{
    certificates::prepare_certificates,
    connections::Pool,
    disks::{Disks, disks},
    health::wait_until_healthy,
    inventory::inventory,
    playbooks::{check_limit, check_plays, load_plays, reached},
    secrets::{prepare_secrets, review_secrets},
    ssh_config::{ansible_inventory, ssh_config, write_inventory},
    values::schema as values_schema,
};
use crate::{
    config::Environment,
    error::{Context, Result},
    event::Events,
    playbook::{self, Inventory, Loader, Options, Play, Recap, SearchPath, TaskScope, World},
    template::{Authored, Engine},
};

/// The loader of an environment's playbooks.
#[must_use]
pub fn loader(environment: &Environment, engine: &Engine) -> Loader {
    Loader::new(SearchPath::of(&environment.folder, &environment.project), engine.clone())
}

/// A world with these hosts in which nothing is known yet.
#[must_use]
pub fn world(inventory: Inventory, search: SearchPath, engine: &Engine, check: bool) -> Arc<World> {
    Arc::new(World::new(inventory, search, engine.clone(), check))
}

/// Configures the machines: everything that one run of playbooks needs.
pub struct Configuration {
    /// The hosts and all that is known of them.
    pub world: Arc<World>,
    /// The loader, which dynamic includes use.
    pub loader: Arc<Loader>,
    /// The plays.
    pub plays: Vec<Play>,
    /// Connections to the hosts.
    pub pool: Arc<Pool>,
    /// How the run goes.
    pub options: Options,
}

impl Configuration {
    /// Connects to all hosts that have something to do, then runs the plays.
    ///
    /// # Errors
    /// When the plays are wrong; failures of hosts are in the recap.
    pub async fn run(self, events: &Events, cancel: CancellationToken) -> Result<Recap> {
        playbook::run(self.world, self.loader, self.plays, self.pool, self.options, events, cancel).await
    }
}

/// The outputs of an environment, resolved.
///
/// # Errors
/// When a template is wrong.
pub fn outputs(environment: &Environment, inventory: Inventory, engine: &Engine) -> Result<Vec<(String, String)>> {
    let world = world(inventory, SearchPath::of(&environment.folder, &environment.project), engine, false);
    let scope = TaskScope::without_host(world, None).shared();
    let outputs = environment.outputs.iter();
    outputs
        .map(|(name, template)| {
            let value =
                engine.text(&Authored::written(template.clone()), &scope).context(|| format!("the output `{name}`"))?;
            Ok((name.clone(), value))
        })
        .collect()
}
