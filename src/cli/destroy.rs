//! `infra destroy`: removes everything of an environment and proves it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use clap::Args;

use super::{
    arguments::{self, EnvironmentArgs},
    context::Context,
};
use crate::{
    apply::Tally,
    config,
    error::{Error, Result},
    event::Events,
    lifecycle::{self, DestroyOptions, Labelled, Removal, Secrets, Site, pool},
    name::Name,
    playbook::Recap,
    provider,
    ui::{Report, Summary, Ui},
};

/// Remove everything of an environment, and prove that nothing is left
#[derive(Args, Debug)]
pub(super) struct Destroy {
    #[command(flatten)]
    environment: EnvironmentArgs,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    /// Destroy an environment with `protect: true`: repeat its name
    #[arg(long, value_name = "NAME")]
    force_protected: Option<Name>,
    /// Go on although every object that the state knows is gone: the state and its keys are removed
    #[arg(long)]
    forget: bool,
    /// Make no last copy of managed databases, where the provider makes one
    #[arg(long)]
    allow_data_loss: bool,
    /// Remove what carries the environment's labels, although its state cannot be read: broken, or its key is lost
    #[arg(long)]
    by_label: bool,
    /// How long to wait for another command that holds the environment, as `90s` or `10m`
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = config::duration)]
    lock_timeout: Duration,
}

impl Destroy {
    pub(super) async fn run(&self, context: &Context) -> Result<u8> {
        if self.by_label {
            return self.destroy_by_label(context).await.map(|()| 0);
        }
        let (begun, ui, options) = (Instant::now(), &context.ui, self.options());
        let mut site = Box::pin(Site::open(&self.environment.target()?, &context.redactor, Secrets::Optional)).await?;
        site.check_protected(&options)?;
        let name = site.environment.name.clone();
        let work = async |site: &mut Site, events: &Events, stop: &_| {
            let Some(plan) = lifecycle::propose_destroy(site, &options).await? else { return Ok(None) };
            context.show(&plan, true, events);
            self.confirm(ui, &name, &plan.lost())?;
            let _signals = context.watch_signals();
            lifecycle::destroy(site, &plan, events, stop).await.map(Some)
        };
        let (destroyed, report) = context.locked(&mut site, "destroy", self.lock_timeout, work).await;
        if let Some(tally) = destroyed? {
            print(ui, &name, tally, begun, &report);
            return Ok(0);
        }
        ui.say(&format!("`{name}` does not exist: nothing to destroy"));
        if let Some(namesakes) = site.namesakes() {
            ui.say(&namesakes);
        }
        Ok(0)
    }

    fn options(&self) -> DestroyOptions {
        DestroyOptions {
            force_protected: self.force_protected.clone(),
            forget: self.forget,
            allow_data_loss: self.allow_data_loss,
        }
    }

    /// Asks, and names the data that goes.
    fn confirm(&self, ui: &Ui, name: &Name, lost: &[String]) -> Result<()> {
        let data = match lost {
            [] => "Its data cannot be brought back.".to_owned(),
            lost => format!("This data cannot be brought back: {}.", lost.join(", ")),
        };
        if self.yes || ui.confirm(&format!("Destroy `{name}`? {data}"))? {
            return Ok(());
        }
        Err(Error::interrupted("nothing was changed"))
    }

    async fn destroy_by_label(&self, context: &Context) -> Result<()> {
        let ui = &context.ui;
        let environment = self.environment.target()?.environment().await?;
        ui.warnings(&environment.warnings);
        let (name, provider) = (environment.name.clone(), provider::open(&environment)?);
        let labelled = Labelled::new(environment, Arc::from(provider))?;
        let mut signals = None;
        let accept = |removal: &Removal| {
            for change in removal.changes() {
                ui.say(&format!("{} {}", change.action.sign(), change.address));
            }
            self.confirm(ui, &name, &removal.lost())?;
            signals = Some(context.watch_signals());
            Ok(())
        };
        let (options, wait) = (self.options(), self.lock_timeout);
        let work = async |events: &Events| labelled.destroy(&options, wait, events, &context.stop, accept).await;
        let (removed, _) = context.shown(work).await;
        drop(signals);
        let removed = removed?;
        ui.say(&format!("{} objects removed; nothing that carries the labels of `{name}` is left", removed.count));
        if let Some(aside) = removed.aside {
            ui.say(&format!("its state is kept as `{}`", aside.display()));
        }
        Ok(())
    }
}

/// Destroys a member of a pool, if it still is a free one; says whether it was.
pub(super) async fn destroy_member(context: &Context, name: &Name) -> Result<bool> {
    let (begun, ui) = (Instant::now(), &context.ui);
    let mut site =
        Box::pin(Site::open(&arguments::named(name.as_str())?, &context.redactor, Secrets::Optional)).await?;
    // No one has used it.
    let options = DestroyOptions { allow_data_loss: true, ..DestroyOptions::default() };
    site.check_protected(&options)?;
    let mut is_locked = false;
    let work = async |site: &mut Site, events: &Events, stop: &_| {
        is_locked = true;
        if let Some(why) = pool::why_not_free(site) {
            return Ok(Err(why));
        }
        let Some(plan) = lifecycle::propose_destroy(site, &options).await? else { return Ok(Ok(None)) };
        context.show(&plan, true, events);
        let _signals = context.watch_signals();
        lifecycle::destroy(site, &plan, events, stop).await.map(|tally| Ok(Some(tally)))
    };
    let (destroyed, report) = context.locked(&mut site, "destroy", Duration::ZERO, work).await;
    let left_alone = match destroyed {
        Ok(Ok(tally)) => {
            if let Some(tally) = tally {
                print(ui, name, tally, begun, &report);
            }
            return Ok(true);
        }
        Ok(Err(why)) => why,
        // Another command has it.
        Err(error) if !is_locked => error.to_string(),
        Err(error) => return Err(error),
    };
    ui.say(&format!("`{name}` is left alone: {left_alone}"));
    Ok(false)
}

fn print(ui: &Ui, name: &Name, tally: Tally, begun: Instant, report: &Report) {
    let summary = Summary {
        environment: name.to_string(),
        tally,
        recap: Recap::default(),
        outputs: Vec::new(),
        seconds: begun.elapsed().as_secs_f64(),
    };
    summary.print(ui, report);
    ui.say(&format!("nothing of `{name}` is left"));
}
