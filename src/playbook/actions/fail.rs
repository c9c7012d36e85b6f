//! `fail`: fails with a message.

use async_trait::async_trait;

use super::{Action, Given};
use crate::{
    error::Result,
    modules::{Argument, Call, CheckMode, Form},
    playbook::{
        host::context::{Context, Stop},
        task_end::TaskEnd,
    },
    template::text_of,
};

pub(super) struct Fail;

impl Call for Fail {
    fn name(&self) -> &'static str {
        "fail"
    }

    fn about(&self) -> &'static str {
        "Fails with a message."
    }

    fn arguments(&self) -> &'static [Argument] {
        const ALL: &[Argument] = &[Argument::new("msg", Form::Text)];
        ALL
    }

    fn check_mode(&self) -> CheckMode {
        CheckMode::Runs
    }
}

#[async_trait]
impl Action for Fail {
    fn keeps_answers(&self) -> bool {
        true
    }

    async fn run(&self, _: &mut Context<'_, '_>, given: Given) -> Result<TaskEnd, Stop> {
        let message = given.named.get("msg").map_or_else(|| "Failed as requested from task".to_owned(), text_of);
        Ok(TaskEnd::failed(message))
    }
}
