//! `setup`: the facts of a host.

use async_trait::async_trait;

use super::{Action, Given};
use crate::{
    error::Result,
    modules::{Argument, Call, CheckMode, Defines, Form},
    playbook::{
        host::context::{Context, Stop},
        task_end::{Defined, TaskEnd},
    },
};

/// Why arguments that choose facts change nothing.
pub(super) const ONE_SCRIPT: &str = "one script gathers all facts";

pub(super) struct Setup;

impl Call for Setup {
    fn name(&self) -> &'static str {
        "setup"
    }

    fn about(&self) -> &'static str {
        "Gathers the facts of a host."
    }

    fn arguments(&self) -> &'static [Argument] {
        const ALL: &[Argument] = &[
            Argument::new("filter", Form::List),
            Argument::new("gather_subset", Form::List),
            Argument::new("gather_timeout", Form::Number),
        ];
        ALL
    }

    fn no_effect(&self) -> &'static [(&'static str, &'static str)] {
        &[("filter", ONE_SCRIPT), ("gather_subset", ONE_SCRIPT), ("gather_timeout", ONE_SCRIPT)]
    }

    fn defines(&self) -> Defines {
        Defines::Unknown
    }

    fn check_mode(&self) -> CheckMode {
        CheckMode::Runs
    }
}

#[async_trait]
impl Action for Setup {
    fn keeps_answers(&self) -> bool {
        true
    }

    async fn run(&self, context: &mut Context<'_, '_>, _: Given) -> Result<TaskEnd, Stop> {
        Ok(match context.gather().await? {
            Ok(facts) => TaskEnd::defining(Defined::Facts(facts)),
            Err(why) => TaskEnd::failed(why),
        })
    }
}
