//! `infra extend`: gives an environment more time.

use std::time::Duration;

use clap::Args;

use super::session::{EnvironmentArgs, Session};
use crate::{
    clock::Clock,
    config,
    error::{Error, Result},
    event::Events,
    resource::Terms,
    secret::Redactor,
    ui::{Mode, Ui},
};

/// Let an environment live longer: from now on, this long
#[derive(Args, Debug)]
pub(super) struct Extend {
    #[command(flatten)]
    environment: EnvironmentArgs,
    /// How long from now on, as `2h` or `7d`
    #[arg(value_name = "TIME", value_parser = config::duration)]
    time: Duration,
}

impl Extend {
    pub(super) async fn run(&self, ui: &Ui, redactor: &Redactor) -> Result<u8> {
        let mut session = Session::open(&self.environment, redactor).await?;
        let name = session.environment.name.clone();
        // Whoever works on it right now is waited for: the lock is short, and time may be.
        let wait = Duration::from_mins(10);
        session.lock(&format!("infra extend {name}"), wait, redactor, &Events::ignored()).await?;
        let extended = self.extend(&mut session).await;
        session.unlock().await;
        let terms = extended?;
        let expires = terms.expires.unwrap_or_else(|| Clock::System.now());
        if ui.mode() == Mode::Json {
            ui.json(&serde_json::json!({ "environment": name, "expires": expires }));
        } else {
            ui.result(&format!("`{name}` lives until {}\n", expires.strftime("%Y-%m-%d %H:%M:%S UTC")));
        }
        Ok(0)
    }

    async fn extend(&self, session: &mut Session) -> Result<Terms> {
        let objects = session.observe().await?;
        if objects.is_empty() {
            let name = &session.environment.name;
            return Err(Error::usage(format!("nothing of `{name}` exists")).hint(format!("infra apply {name}")));
        }
        let terms = session.terms(Some(self.time))?;
        session.settle(&terms, &objects).await?;
        Ok(terms)
    }
}
