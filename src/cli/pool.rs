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
    state::{
        self, State,
        pool::{self, Settled},
    },
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
    /// Remove all that have not been taken over
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
        let pool = pool_of(&session)?;
        settle(&pool, ui).await?;
        let members = pool.members(Some(&template)).await?;
        let is_current = |state: &State| state.pool.as_ref().is_some_and(|member| member.digest == digest);
        let is_free = |state: &State| state.pool.as_ref().is_some_and(|member| member.claimed_by.is_none());
        let (keep, outdated): (Vec<&State>, Vec<&State>) =
            members.iter().filter(|state| is_free(state)).partition(|state| wanted > 0 && is_current(state));
        let mut removed = 0;
        for member in &outdated {
            removed += usize::from(Box::pin(Destroy::member(&member.environment, ui, redactor)).await?);
        }
        for _ in keep.len()..wanted {
            let name: Name = format!("{template}-pool-{}", identity::random_text(8)?.to_ascii_lowercase())
                .parse()
                .map_err(Error::usage)?;
            let code = Box::pin(Apply::member(environment, &name).run(ui, redactor, false)).await?;
            if code != 0 {
                return Ok(code);
            }
        }
        let made = wanted.saturating_sub(keep.len());
        ui.say(&format!("the pool of `{template}`: {made} made, {removed} removed, {wanted} are ready"));
        Ok(0)
    }
}

/// The pools of a session's project.
fn pool_of(session: &Session) -> Result<pool::Pool> {
    let environment = &session.environment;
    let backend = state::open(&environment.project, &environment.state)?;
    let project = session.ownership.site.project.clone();
    Ok(pool::Pool::new(backend, &environment.project, &environment.state, project))
}

/// Takes over a member of the pool of a session's file, when there is one of this digest in this account.
pub(super) async fn claim(session: &Session, digest: &str, account: &str) -> Result<Option<State>> {
    let (name, template) = (&session.environment.name, template(session));
    pool_of(session)?.claim(&session.store, name, &template, digest, account).await
}

/// Ends the claims of commands that were killed, and says so.
pub(super) async fn settle(pool: &pool::Pool, ui: &Ui) -> Result<()> {
    for settled in pool.settle().await? {
        ui.say(&match settled {
            Settled::Taken { member, by } => format!("`{member}` was taken over by `{by}`: it is no member any more"),
            Settled::Freed { member } => {
                format!("`{member}` is free again: the command that was taking it over did not finish")
            }
        });
    }
    Ok(())
}

/// The folder of an environment's file.
pub(super) fn template(session: &Session) -> String {
    let name = session.environment.folder.file_name();
    name.map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}
