//! `validate_argument_spec`: whether the variables of a role fit what it declares.

use async_trait::async_trait;
use serde_json::{Map, Value};

use super::{Action, Given};
use crate::{
    error::{Error, Result},
    modules::{Argument, Call, CheckMode, Form},
    playbook::{
        argument_specs,
        host::context::{Context, Stop},
        task_end::TaskEnd,
    },
};

pub(in crate::playbook) struct ValidateArgumentSpec;

impl Call for ValidateArgumentSpec {
    fn name(&self) -> &'static str {
        "validate_argument_spec"
    }

    fn about(&self) -> &'static str {
        "Checks variables against what a role declares; a role with `meta/argument_specs.yml` does it by itself."
    }

    fn arguments(&self) -> &'static [Argument] {
        const ALL: &[Argument] = &[
            Argument::new("argument_spec", Form::Mapping).required(),
            Argument::new("provided_arguments", Form::Mapping),
            Argument::new("validate_args_context", Form::Mapping),
        ];
        ALL
    }

    fn check_mode(&self) -> CheckMode {
        CheckMode::Runs
    }
}

#[async_trait]
impl Action for ValidateArgumentSpec {
    /// The declaration is no template.
    fn is_lazy(&self) -> bool {
        true
    }

    fn keeps_answers(&self) -> bool {
        true
    }

    async fn run(&self, context: &mut Context<'_, '_>, _: Given) -> Result<TaskEnd, Stop> {
        let spec = context.written("argument_spec");
        let options = match spec.as_deref() {
            Some(Value::String(_)) => context.resolved("argument_spec")?.unwrap_or_default(),
            Some(options) => options.clone(),
            None => return Err(Error::usage("`argument_spec` is missing").into()),
        };
        let provided = context.resolved("provided_arguments")?.unwrap_or_default();
        let mut failed = Vec::new();
        let mut values = Map::new();
        for name in options.as_object().into_iter().flat_map(Map::keys) {
            if let Some(value) = provided.get(name) {
                values.insert(name.clone(), value.clone());
            } else {
                match context.variable(name) {
                    Ok(value) => values.extend(value.map(|value| (name.clone(), value))),
                    Err(error) => failed.push(format!("argument `{name}`: {error}")),
                }
            }
        }
        failed.extend(argument_specs::mistakes(&options, |name| values.get(name).cloned()));
        if failed.is_empty() {
            return Ok(TaskEnd::of_result([("msg", "The arg spec validation passed".into())]));
        }
        let mut end = TaskEnd::failed(format!("Validation of arguments failed:\n{}", failed.join("\n")));
        end.result.insert("argument_errors".to_owned(), failed.into());
        if let Some(given) = context.resolved("validate_args_context")? {
            end.result.insert("validate_args_context".to_owned(), given);
        }
        Ok(end)
    }
}
