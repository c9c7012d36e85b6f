//! `infra pool`: warm environments, ready to be taken over.

use clap::{Args, Subcommand};

use super::{apply::apply_member, arguments::EnvironmentArgs, context::Context, destroy::destroy_member};
use crate::{
    error::{Error, Result},
    lifecycle::pool,
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
    pub(super) async fn run(&self, context: &Context) -> Result<u8> {
        let (Action::Fill { environment } | Action::Drain { environment }) = &self.action;
        let target = environment.target()?;
        let site = context.open(&target).await?;
        let wanted = match (&self.action, site.environment.pool) {
            (Action::Drain { .. }, _) => 0,
            (Action::Fill { .. }, Some(wanted)) => wanted,
            (Action::Fill { .. }, None) => {
                return Err(Error::usage(format!("the file of `{}` asks for no pool", site.template()))
                    .hint("write `pool: {min: 2}` into it"));
            }
        };
        let (shortage, _) = context.shown(async |events| pool::shortage(&site, wanted, events).await).await;
        let pool::Shortage { template, outdated, missing } = shortage?;
        let mut removed = 0;
        for member in &outdated {
            removed += usize::from(Box::pin(destroy_member(context, member)).await?);
        }
        for _ in 0..missing {
            let code = Box::pin(apply_member(context, &pool::new_member(&target, &template)?)).await?;
            if code != 0 {
                return Ok(code);
            }
        }
        context.ui.say(&format!("the pool of `{template}`: {missing} made, {removed} removed, {wanted} are ready"));
        Ok(0)
    }
}
