//! `infra import`: lets the state know what exists already.

use std::time::Duration;

use clap::Args;

use super::{arguments::EnvironmentArgs, context::Context};
use crate::{
    config,
    error::Result,
    lifecycle::{self, Site},
    resource::Address,
};

/// Let the state know objects that exist: one by its id, whether or not infra created it, or all that carry the environment's label
#[derive(Args, Debug)]
pub(super) struct Import {
    #[command(flatten)]
    environment: EnvironmentArgs,
    /// The resource of the file that the object is, as `vm.app-1`
    #[arg(requires = "id", required_unless_present = "scan")]
    address: Option<Address>,
    /// The provider's id of the object
    id: Option<String>,
    /// All objects that carry the environment's label, under the names in their labels
    #[arg(long, conflicts_with_all = ["address", "id"])]
    scan: bool,
    /// How long to wait for another command that holds the environment, as `90s` or `10m`
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = config::duration)]
    lock_timeout: Duration,
}

impl Import {
    pub(super) async fn run(&self, context: &Context) -> Result<u8> {
        let ui = &context.ui;
        let mut site = context.open(&self.environment.target()?).await?;
        let work = async |site: &mut Site, events: &_, stop: &_| match (&self.address, &self.id) {
            (Some(address), Some(id)) => lifecycle::import(site, address, id, events, stop).await,
            _ => lifecycle::import_labelled(site, events).await,
        };
        let (imported, _) = context.locked(&mut site, "import", self.lock_timeout, work).await;
        let (imported, name) = (imported?, &site.environment.name);
        if let Some(id) = self.id.as_ref().filter(|_| imported.is_adopted) {
            ui.say(&format!("`{id}` belongs to `{name}` now: `infra destroy` removes it with the rest"));
        }
        match imported.addresses.as_slice() {
            [] => ui.say("the state knows all that exists"),
            known => {
                for address in known {
                    ui.say(&format!("`{address}` is in the state now"));
                }
                ui.say(&format!("`infra plan {name}` shows what of it differs from the file"));
            }
        }
        Ok(0)
    }
}
