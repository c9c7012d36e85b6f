//! `gather_facts`: what a play does first, as a task.

use async_trait::async_trait;

use super::{
    Action, Given,
    setup::{ONE_SCRIPT, Setup},
};
use crate::{
    error::Result,
    modules::{Argument, Call, CheckMode, Defines, Form},
    playbook::{
        host::context::{Context, Stop},
        task_end::TaskEnd,
    },
};

pub(super) struct GatherFacts;

impl Call for GatherFacts {
    fn name(&self) -> &'static str {
        "gather_facts"
    }

    fn about(&self) -> &'static str {
        "Gathers the facts of a host, as a play does at its start."
    }

    fn arguments(&self) -> &'static [Argument] {
        const ALL: &[Argument] = &[Argument::new("parallel", Form::Flag)];
        ALL
    }

    fn no_effect(&self) -> &'static [(&'static str, &'static str)] {
        &[("parallel", ONE_SCRIPT)]
    }

    fn defines(&self) -> Defines {
        Defines::Unknown
    }

    fn check_mode(&self) -> CheckMode {
        CheckMode::Runs
    }
}

#[async_trait]
impl Action for GatherFacts {
    fn keeps_answers(&self) -> bool {
        true
    }

    async fn run(&self, context: &mut Context<'_, '_>, given: Given) -> Result<TaskEnd, Stop> {
        Setup.run(context, given).await
    }
}
