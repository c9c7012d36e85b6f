//! `ping`: whether a host answers.

use async_trait::async_trait;

use super::{Action, Given};
use crate::{
    error::Result,
    modules::{Argument, Call, CheckMode, Form},
    playbook::{
        host::context::{Context, Stop},
        questions,
        task_end::TaskEnd,
    },
};

pub(super) struct Ping;

impl Call for Ping {
    fn name(&self) -> &'static str {
        "ping"
    }

    fn about(&self) -> &'static str {
        "Asks whether a host answers."
    }

    fn arguments(&self) -> &'static [Argument] {
        const ALL: &[Argument] =
            &[Argument { default: || Some("pong".to_owned()), ..Argument::new("data", Form::Text) }
                .about("What the result says.")];
        ALL
    }

    fn check_mode(&self) -> CheckMode {
        CheckMode::Runs
    }
}

#[async_trait]
impl Action for Ping {
    fn keeps_answers(&self) -> bool {
        true
    }

    async fn run(&self, context: &mut Context<'_, '_>, given: Given) -> Result<TaskEnd, Stop> {
        let place = context.place()?;
        if let Some(why) = context.ask(&place, questions::is_there()).await?.failure {
            return Ok(TaskEnd::failed(why));
        }
        let data = given.named.get("data").cloned().unwrap_or_else(|| "pong".into());
        Ok(TaskEnd::of_result([("ping", data)]))
    }
}
