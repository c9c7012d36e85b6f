//! `infra refresh`: what the provider shows, written into the state.

use std::time::Duration;

use clap::Args;

use super::session::{EnvironmentArgs, Session};
use crate::{
    config,
    error::Result,
    event::Events,
    resource::Address,
    secret::Redactor,
    ui::{Mode, Ui},
};

/// Let the state know what exists now: addresses that have moved, objects that are gone. Nothing is made or changed
#[derive(Args, Debug)]
pub(super) struct Refresh {
    #[command(flatten)]
    environment: EnvironmentArgs,
    /// Go on although every object that the state knows is gone
    #[arg(long)]
    forget: bool,
    /// How long to wait for another command that holds the environment, as `90s` or `10m`
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = config::duration)]
    lock_timeout: Duration,
}

impl Refresh {
    pub(super) async fn run(&self, ui: &Ui, redactor: &Redactor) -> Result<u8> {
        let mut session = Session::open(&self.environment, redactor).await?;
        session.applied()?;
        let name = session.environment.name.clone();
        session.lock(&format!("infra refresh {name}"), self.lock_timeout, redactor, &Events::ignored()).await?;
        let refreshed = refresh(&mut session, self.forget).await;
        session.unlock().await;
        let (gone, moved) = refreshed?;
        if ui.mode() == Mode::Json {
            ui.json(&serde_json::json!({ "environment": name, "gone": gone, "changed": moved }));
            return Ok(0);
        }
        let lines = gone.iter().map(|address| format!("- {address} is gone\n"));
        let lines = lines.chain(moved.iter().map(|address| format!("~ {address} shows other addresses or ports\n")));
        ui.result(&lines.collect::<String>());
        if gone.is_empty() && moved.is_empty() {
            ui.say("the state says what is");
        }
        Ok(0)
    }
}

async fn refresh(session: &mut Session, forget: bool) -> Result<(Vec<Address>, Vec<Address>)> {
    let observed = session.observe().await?;
    session.check_not_all_gone(&observed, forget)?;
    let mut state = session.applied()?.clone();
    let (mut gone, mut moved) = (Vec::new(), Vec::new());
    state.resources.retain(|address, entry| {
        let same = observed.iter().find(|object| object.address.kind == address.kind && object.id == entry.id);
        let Some(object) = same else {
            gone.push(address.clone());
            return false;
        };
        if entry.attributes != object.attributes {
            entry.attributes = object.attributes.clone();
            moved.push(address.clone());
        }
        true
    });
    if !gone.is_empty() || !moved.is_empty() {
        state.removing.retain(|address| !gone.contains(address));
        state.grown.retain(|address| !gone.contains(address));
        state.serial += 1;
        session.store.write(&state).await?;
    }
    Ok((gone, moved))
}
