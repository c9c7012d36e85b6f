//! `infra run`: a playbook or one module, on the machines of an environment.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use clap::Args;

use super::{
    configured::Prepared,
    preflight,
    session::{EnvironmentArgs, Interrupt, OverlayArgs, Session, phase},
};
use crate::{
    apply::Tally,
    configure,
    error::{Error, Result},
    playbook::Options,
    secret::Redactor,
    template::Engine,
    ui::{Progress, Summary, Ui},
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
    /// Change nothing, only tell what would be changed
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
    pub(super) async fn run(&self, ui: &Ui, redactor: &Redactor, diff: bool) -> Result<u8> {
        let begun = Instant::now();
        let arguments = EnvironmentArgs { environment: self.environment.clone(), overlay: self.overlay.clone() };
        let mut session = Session::open(&arguments, redactor).await?;
        session.applied()?;
        let (changed, _) = configure::review_secrets(&session.environment, &session.vault);
        for secret in changed {
            ui.say(&format!(
                "warning: the secret `{}` is that of the last apply; the next one changes it: {}",
                secret.name, secret.reason
            ));
        }
        let prepared = self.prepare(&session, ui)?;
        let (events, progress) = Progress::start(ui);
        let result = async {
            let lost = session
                .lock(&format!("infra run {}", session.environment.name), Duration::ZERO, redactor, &events)
                .await?;
            session.reach().await?;
            let state = session.applied()?.clone();
            let options = Options {
                check: self.check,
                diff,
                tags: self.tags.clone(),
                skip_tags: self.skip_tags.clone(),
                asker: Some(Arc::new(ui.clone())),
                ..Options::default()
            };
            let interrupt = Interrupt::watch(&events, lost);
            let (provider, cancel) = (Arc::clone(&session.provider), interrupt.token.clone());
            let pool = configure::Pool::new(&session.environment, &state, &session.vault, provider, &events)?;
            let pool = Arc::new(pool.until(cancel.clone()));
            let work = prepared.run(&session, &state, &session.vault, pool, options, &events, cancel);
            phase(&events, "run", work).await
        }
        .await;
        drop(events);
        let report = progress.finish().await;
        session.unlock().await;
        let recap = result?;
        let summary = Summary {
            environment: session.environment.name.to_string(),
            tally: Tally::default(),
            recap,
            outputs: Vec::new(),
            seconds: begun.elapsed().as_secs_f64(),
        };
        summary.print(ui, &report);
        Ok(u8::from(!summary.recap.succeeded()))
    }

    fn prepare(&self, session: &Session, ui: &Ui) -> Result<Prepared> {
        let engine = Engine::default();
        let loader = Arc::new(configure::loader(&session.environment, &engine).becoming(self.r#become));
        let mut plays = match (&self.playbook, &self.module) {
            (Some(name), _) => {
                let direct = std::path::PathBuf::from(name);
                let path =
                    if direct.is_file() { std::path::absolute(direct)? } else { loader.search().playbook(name)? };
                loader.playbooks(&[path])?
            }
            (None, Some(module)) => loader.ad_hoc(module, self.args.as_deref().unwrap_or_default(), self.r#become)?,
            (None, None) => return Err(Error::usage("give a playbook or a module")),
        };
        preflight::plays(&session.environment, &mut plays, &loader, &engine, ui)?;
        if self.limit != "all" {
            configure::check_limit(&session.environment, &self.limit)?;
            for play in &mut plays {
                play.hosts.push(format!("&{}", self.limit));
            }
        }
        Ok(Prepared { engine, loader, plays, complete: false })
    }
}
