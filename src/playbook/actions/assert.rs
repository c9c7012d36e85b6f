//! `assert`: conditions that must hold.

use async_trait::async_trait;
use serde_json::{Map, Value};

use super::{Action, Given};
use crate::{
    error::{Error, Result},
    modules::{Argument, Call, CheckMode, Form},
    playbook::{
        host::context::{Context, Stop},
        task_end::TaskEnd,
    },
    template::text_of,
};

pub(super) struct Assert;

impl Call for Assert {
    fn name(&self) -> &'static str {
        "assert"
    }

    fn about(&self) -> &'static str {
        "Fails when a condition does not hold."
    }

    fn arguments(&self) -> &'static [Argument] {
        const ALL: &[Argument] = &[
            Argument::new("that", Form::Conditions).required(),
            Argument { aliases: &["msg"], ..Argument::new("fail_msg", Form::Text) },
            Argument::new("success_msg", Form::Text),
            Argument::new("quiet", Form::Flag),
        ];
        ALL
    }

    fn no_effect(&self) -> &'static [(&'static str, &'static str)] {
        &[("quiet", "nothing is shown of conditions that hold")]
    }

    fn check_mode(&self) -> CheckMode {
        CheckMode::Runs
    }
}

#[async_trait]
impl Action for Assert {
    fn check(&self, named: &Map<String, Value>) -> Result<()> {
        if named.contains_key("that") { Ok(()) } else { Err(Error::usage("`that` is missing")) }
    }

    fn is_lazy(&self) -> bool {
        true
    }

    fn keeps_answers(&self) -> bool {
        true
    }

    async fn run(&self, context: &mut Context<'_, '_>, _: Given) -> Result<TaskEnd, Stop> {
        for condition in context.written("that").unwrap_or_default().items() {
            if !context.condition(&condition)? {
                let message = context.written("fail_msg").or_else(|| context.written("msg"));
                let message = match message {
                    Some(message) => text_of(&context.resolve(&message)?),
                    None => "Assertion failed".to_owned(),
                };
                let mut end = TaskEnd::failed(format!("{message} (`{}` does not hold)", text_of(&condition)));
                end.result.insert("msg".to_owned(), message.into());
                end.result.insert("assertion".to_owned(), condition.into_inner());
                return Ok(end);
            }
        }
        let message = context.written("success_msg");
        let message =
            message.map_or_else(|| Ok("All assertions passed".into()), |message| context.resolve(&message))?;
        Ok(TaskEnd::of_result([("msg", message)]))
    }
}
