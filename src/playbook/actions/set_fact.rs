//! `set_fact`: variables of a host that last as long as the run.

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

pub(super) struct SetFact;

impl Call for SetFact {
    fn name(&self) -> &'static str {
        "set_fact"
    }

    fn about(&self) -> &'static str {
        "Defines variables of the host, one for each argument."
    }

    fn arguments(&self) -> &'static [Argument] {
        const ALL: &[Argument] = &[Argument::new("cacheable", Form::Flag)];
        ALL
    }

    fn takes_any_argument(&self) -> bool {
        true
    }

    fn no_effect(&self) -> &'static [(&'static str, &'static str)] {
        &[("cacheable", "facts last as long as the run")]
    }

    fn defines(&self) -> Defines {
        Defines::Arguments
    }

    fn check_mode(&self) -> CheckMode {
        CheckMode::Runs
    }
}

#[async_trait]
impl Action for SetFact {
    fn keeps_answers(&self) -> bool {
        true
    }

    async fn run(&self, _: &mut Context<'_, '_>, given: Given) -> Result<TaskEnd, Stop> {
        let mut facts = given.named;
        facts.remove("cacheable");
        Ok(TaskEnd::defining(Defined::Set(facts)))
    }
}
