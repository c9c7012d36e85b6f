//! `pause`: waits, or asks the person at the terminal.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Map, Value};

use super::{Action, Given, web_arguments::seconds};
use crate::{
    error::Result,
    event,
    modules::{self, Argument, Call, CheckMode, Declared, Exclusive, Flag, Text},
    playbook::{
        host::context::{Context, Stop},
        task_end::TaskEnd,
    },
};

pub(super) struct Pause;

modules::arguments! {
    struct PauseArguments {
        minutes: Option<Text>,
        seconds: Option<Text>,
        /// What is asked; without a time the answer is waited for.
        prompt: Option<Text>,
        /// Whether the answer is shown while it is typed.
        #[serde(default)]
        echo: Flag<true>,
    }
}

impl PauseArguments {
    /// The arguments, and how long they say to wait.
    fn read(named: &Map<String, Value>) -> Result<(Self, Option<Duration>)> {
        let arguments: Self = modules::read(named)?;
        let mut time = None;
        for (name, given, unit) in [("minutes", &arguments.minutes, 60.0), ("seconds", &arguments.seconds, 1.0)] {
            if let Some(given) = given {
                let given = seconds(name, given.as_str())?.as_secs_f64() * unit;
                time = Some(time.unwrap_or_default() + Duration::from_secs_f64(given));
            }
        }
        Ok((arguments, time))
    }
}

impl Call for Pause {
    fn name(&self) -> &'static str {
        "pause"
    }

    fn about(&self) -> &'static str {
        "Waits for a time, or for an answer at the terminal. It fails without either."
    }

    fn arguments(&self) -> &'static [Argument] {
        PauseArguments::ARGUMENTS
    }

    fn exclusive(&self) -> &'static [Exclusive] {
        &[&[&["minutes"], &["seconds"]]]
    }

    fn check_mode(&self) -> CheckMode {
        CheckMode::Skips
    }
}

#[async_trait]
impl Action for Pause {
    fn check(&self, named: &Map<String, Value>) -> Result<()> {
        PauseArguments::read(named).map(drop)
    }

    fn runs_once(&self) -> bool {
        true
    }

    async fn run(&self, context: &mut Context<'_, '_>, given: Given) -> Result<TaskEnd, Stop> {
        let (arguments, time) = PauseArguments::read(&given.named)?;
        if context.checks_only() {
            return Ok(TaskEnd::skipped());
        }
        let prompt = arguments.prompt.map(|prompt| prompt.0);
        if let Some(time) = time {
            if let Some(prompt) = prompt {
                context.note(prompt);
            }
            let what = format!("the end of a pause of {} s on `{}`", time.as_secs_f64(), context.host());
            event::waiting(what, tokio::time::sleep(time)).await;
            let said = format!("Paused for {} seconds", time.as_secs_f64());
            return Ok(TaskEnd::of_result([("stdout", said.into())]));
        }
        let question = prompt.unwrap_or_else(|| "Press enter to continue, Ctrl-C to stop".to_owned());
        let echo = arguments.echo.0;
        Ok(match context.question(&question, echo).await {
            Some(answer) => TaskEnd::of_result([("user_input", answer.into()), ("echo", echo.into())]),
            // Ansible goes on with a warning; what follows such a question is seldom harmless.
            None => TaskEnd::failed(format!(
                "`pause` asks `{question}`, and there is no terminal to answer at: give `seconds`, or a condition for runs \
                 without a terminal"
            )),
        })
    }
}
