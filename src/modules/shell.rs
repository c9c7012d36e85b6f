//! `shell`: runs a text through a shell.

use serde_json::Value;

use super::{
    Arguments, Module, Operation,
    command::{ARGUMENTS, CommandArguments, Run},
    script::sh,
};
use crate::error::{Error, Result};

pub(super) struct Shell;

impl Module for Shell {
    fn name(&self) -> &'static str {
        "shell"
    }

    fn arguments(&self) -> &'static [&'static str] {
        ARGUMENTS
    }

    fn free_form(&self) -> bool {
        true
    }

    fn prepare(&self, task: &Arguments<'_>) -> Result<Box<dyn Operation>> {
        let arguments: CommandArguments = super::read(task.named)?;
        let text = task.free_form.or(arguments.cmd.as_ref().map(super::Text::as_str));
        let text = text.filter(|text| !text.trim().is_empty()).ok_or_else(|| Error::usage("there is no command"))?;
        let shell = arguments.executable.as_ref().map_or("/bin/sh", super::Text::as_str);
        let command = sh!("{0} -c {1}", shell, text);
        Ok(Run::operation(&arguments, &command, Value::from(text)))
    }
}
