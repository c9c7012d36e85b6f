//! `debug`: shows a text or the value of an expression.

use async_trait::async_trait;
use serde_json::Value;

use super::{Action, Given};
use crate::{
    error::Result,
    modules::{Argument, Call, CheckMode, Exclusive, Form},
    playbook::{
        host::context::{Context, Stop},
        task_end::TaskEnd,
    },
    template::{is_template, text_of},
};

pub(super) struct Debug;

impl Call for Debug {
    fn name(&self) -> &'static str {
        "debug"
    }

    fn about(&self) -> &'static str {
        "Shows a text, or the value of an expression."
    }

    fn arguments(&self) -> &'static [Argument] {
        const ALL: &[Argument] = &[
            Argument { default: || Some("Hello world!".to_owned()), ..Argument::new("msg", Form::Any) },
            Argument::new("var", Form::Expression),
            Argument { default: || Some("0".to_owned()), ..Argument::new("verbosity", Form::Number) }
                .about("Nothing is shown from 1 on."),
        ];
        ALL
    }

    fn exclusive(&self) -> &'static [Exclusive] {
        &[&[&["msg"], &["var"]]]
    }

    fn check_mode(&self) -> CheckMode {
        CheckMode::Runs
    }
}

#[async_trait]
impl Action for Debug {
    fn is_lazy(&self) -> bool {
        true
    }

    fn keeps_answers(&self) -> bool {
        true
    }

    async fn run(&self, context: &mut Context<'_, '_>, _: Given) -> Result<TaskEnd, Stop> {
        let (name, value) = match (context.written("var"), context.written("msg")) {
            (Some(var), _) => match var.text() {
                Some(name) if !is_template(&name) => {
                    let value = context.evaluate(&name);
                    (name.into_inner(), value.unwrap_or_else(|_| "VARIABLE IS NOT DEFINED!".into()))
                }
                _ => {
                    let value = context.resolve(&var)?;
                    (text_of(&value), value)
                }
            },
            (None, Some(message)) => ("msg".to_owned(), context.resolve(&message)?),
            (None, None) => ("msg".to_owned(), "Hello world!".into()),
        };
        let shown = match &value {
            Value::String(text) => text.clone(),
            other => serde_json::to_string_pretty(other).map_err(crate::error::Error::from)?,
        };
        let message = if name == "msg" { shown } else { format!("{name}: {shown}") };
        let verbose = context.written("verbosity").is_some_and(|level| text_of(&level) != "0");
        Ok(TaskEnd { message: (!verbose).then_some(message), ..TaskEnd::of_result([(name.as_str(), value)]) })
    }
}
