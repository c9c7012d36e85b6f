//! `infra pool`: warm environments, ready to be taken over.

use clap::{Args, Subcommand};

use super::{
    apply::Apply,
    destroy::Destroy,
    session::{EnvironmentArgs, Session},
};
use crate::{
    error::{Error, Result},
    identity,
    name::Name,
    secret::Redactor,
    state::{self, State, pool},
    ui::Ui,
};

/// Keep warm environments ready: `infra apply ENV --name NAME` takes one over
#[derive(Args, Debug)]
pub(super) struct Pool {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make as many as the file says, and remove those that were made from other files than there are now
    Fill {
        #[command(flatten)]
        environment: EnvironmentArgs,
    },
    /// Remove all that nobody has taken over
    Drain {
        #[command(flatten)]
        environment: EnvironmentArgs,
    },
}

impl Pool {
    pub(super) async fn run(&self, ui: &Ui, redactor: &Redactor) -> Result<u8> {
        let (Action::Fill { environment } | Action::Drain { environment }) = &self.action;
        let session = Session::open(environment, redactor).await?;
        let template = template(&session);
        let wanted = match (&self.action, session.environment.pool) {
            (Action::Drain { .. }, _) => 0,
            (Action::Fill { .. }, Some(wanted)) => wanted,
            (Action::Fill { .. }, None) => {
                return Err(Error::usage(format!("the file of `{template}` asks for no pool"))
                    .hint("write `pool: {min: 2}` into it"));
            }
        };
        let digest = super::plan::digest(&session.environment)?;
        let settings = &session.environment.state;
        let backend = state::open(&session.environment.project, settings)?;
        let members = pool::members(&backend, &session.environment.project, settings, &template).await?;
        let is_current = |state: &State| state.pool.as_ref().is_some_and(|member| member.digest == digest);
        let is_free = |state: &State| state.pool.as_ref().is_some_and(|member| member.claimed_by.is_none());
        let (keep, outdated): (Vec<&State>, Vec<&State>) =
            members.iter().filter(|state| is_free(state)).partition(|state| wanted > 0 && is_current(state));
        for member in &outdated {
            Destroy::of(&member.environment).run(ui, redactor).await?;
        }
        for _ in keep.len()..wanted {
            let name: Name = format!("{template}-pool-{}", identity::random_text(8)?.to_ascii_lowercase())
                .parse()
                .map_err(Error::usage)?;
            let code = Apply::member(environment, &name).run(ui, redactor, false).await?;
            if code != 0 {
                return Ok(code);
            }
        }
        let made = wanted.saturating_sub(keep.len());
        ui.say(&format!("the pool of `{template}`: {made} made, {} removed, {wanted} are ready", outdated.len()));
        Ok(0)
    }
}

/// The folder of an environment's file.
pub(super) fn template(session: &Session) -> String {
    let name = session.environment.folder.file_name();
    name.map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}
