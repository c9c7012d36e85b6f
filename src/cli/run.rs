//! `infra run`: a playbook or one module, on the machines of an environment.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use clap::Args;

use super::{arguments::OverlayArgs, context::Context};
use crate::{
    apply::Tally,
    configure,
    error::{Error, Result},
    lifecycle::{self, Playbooks, Site, Work},
    playbook::Options,
    ui::Summary,
};

/// Run a playbook, or one module, on the machines of an applied environment
#[derive(Args, Debug)]
pub(super) struct Run {
    /// The environment
    environment: String,
    /// A playbook: a path, or a name as in `playbooks:`
    #[arg(required_unless_present = "module")]
    playbook: Option<String>,
    /// One module instead of a playbook
    #[arg(long, short, conflicts_with = "playbook")]
    module: Option<String>,
    /// Its arguments, as `name=value` or as a text
    #[arg(long, short, requires = "module", allow_hyphen_values = true)]
    args: Option<String>,
    /// The machines, as a pattern
    #[arg(long, short, default_value = "all")]
    limit: String,
    /// Run as root, where a playbook does not say otherwise
    #[arg(long, short)]
    r#become: bool,
    /// Change nothing, only show what would be changed
    #[arg(long)]
    check: bool,
    /// Only tasks with these tags
    #[arg(long, value_delimiter = ',')]
    tags: Vec<String>,
    /// No tasks with these tags
    #[arg(long, value_delimiter = ',')]
    skip_tags: Vec<String>,
    #[command(flatten)]
    overlay: OverlayArgs,
}

impl Run {
    pub(super) async fn run(&self, context: &Context) -> Result<u8> {
        let (begun, ui) = (Instant::now(), &context.ui);
        let mut site = context.open(&self.overlay.over(&self.environment)?).await?;
        site.applied()?;
        let (changed, _) = configure::review_secrets(&site.environment, &site.vault);
        for secret in changed {
            context.warn(format!(
                "the secret `{}` is that of the last apply; the next one changes it: {}",
                secret.name, secret.reason
            ));
        }
        let playbooks = Playbooks::ad_hoc(&site, &self.work()?, self.r#become, &self.limit)?;
        ui.warnings(&playbooks.warnings);
        let options = Options {
            check: self.check,
            diff: context.diff,
            tags: self.tags.clone(),
            skip_tags: self.skip_tags.clone(),
            asker: Some(Arc::new(ui.clone())),
            ..Options::default()
        };
        let work = async |site: &mut Site, events: &_, stop: &_| {
            let _signals = context.watch_signals();
            lifecycle::run(site, playbooks, options, events, stop).await
        };
        let (recap, report) = context.locked(&mut site, "run", Duration::ZERO, work).await;
        let summary = Summary {
            environment: site.environment.name.to_string(),
            tally: Tally::default(),
            recap: recap?,
            outputs: Vec::new(),
            seconds: begun.elapsed().as_secs_f64(),
        };
        summary.print(ui, &report);
        Ok(u8::from(!summary.recap.succeeded()))
    }

    fn work(&self) -> Result<Work> {
        match (&self.playbook, &self.module) {
            (Some(name), _) => Ok(Work::Playbook(name.clone())),
            (None, Some(module)) => Ok(Work::Module(module.clone(), self.args.clone().unwrap_or_default())),
            (None, None) => Err(Error::usage("give a playbook or a module")),
        }
    }
}
