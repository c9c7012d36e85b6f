//! `shell`: runs a text through a shell.

use serde_json::Value;

use super::{
    Argument, Arguments, Call, CheckMode, Declared, Exclusive, Module, Operation, TEXT, Text,
    command::{Run, RunArguments},
    declaration::arguments,
    script::sh,
};
use crate::error::{Error, Result};

pub(super) struct Shell;

arguments! {
    struct ShellArguments {
        /// The command, as the text would be.
        cmd: Option<Text>,
        /// The shell, `/bin/sh` where nothing is said.
        executable: Option<Text>,
        #[serde(flatten)]
        run: RunArguments,
    }
}

impl Call for Shell {
    fn name(&self) -> &'static str {
        "shell"
    }

    fn about(&self) -> &'static str {
        "Runs a text through a shell."
    }

    fn arguments(&self) -> &'static [Argument] {
        ShellArguments::ARGUMENTS
    }

    fn exclusive(&self) -> &'static [Exclusive] {
        &[&[&[TEXT], &["cmd"]]]
    }

    fn free_form(&self) -> bool {
        true
    }

    fn check_mode(&self) -> CheckMode {
        CheckMode::SkipsUnless(&["creates", "removes"])
    }
}

impl Module for Shell {
    fn operation(&self, task: &Arguments<'_>) -> Result<Box<dyn Operation>> {
        let arguments: ShellArguments = super::read(task.named)?;
        let text = task.free_form.or(arguments.cmd.as_ref().map(Text::as_str));
        let text = text.filter(|text| !text.trim().is_empty()).ok_or_else(|| Error::usage("there is no command"))?;
        let shell = arguments.executable.as_ref().map_or("/bin/sh", Text::as_str);
        let command = sh!("{0} -c {1}", shell, text);
        Ok(Run::operation(&arguments.run, &command, Value::from(text)))
    }
}
