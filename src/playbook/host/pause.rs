//! `pause`: waits, or asks the person at the terminal.

use std::{sync::Arc, time::Duration};

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{HostRun, TaskEnd, TaskScope, web_arguments::seconds};
use crate::{
    error::Result,
    modules::{self, Flag, Text},
    playbook::model::Task,
};

/// The arguments of `pause`.
#[derive(Deserialize)]
pub(super) struct PauseArguments {
    minutes: Option<Text>,
    seconds: Option<Text>,
    prompt: Option<Text>,
    echo: Option<Flag>,
}

impl PauseArguments {
    /// The arguments, and how long they say to wait.
    pub(super) fn read(named: &Map<String, Value>) -> Result<(Self, Option<Duration>)> {
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

impl HostRun<'_> {
    pub(super) async fn pause(
        &self, named: &Map<String, Value>, task: &Arc<Task>, scope: &TaskScope,
    ) -> Result<TaskEnd> {
        let (arguments, time) = PauseArguments::read(named)?;
        if self.checks_only(task, scope) {
            return Ok(TaskEnd::skipped());
        }
        let prompt = arguments.prompt.map(|prompt| prompt.0);
        if let Some(time) = time {
            if let Some(prompt) = prompt {
                self.shared.events.note(prompt);
            }
            tokio::time::sleep(time).await;
            let said = format!("Paused for {} seconds", time.as_secs_f64());
            return Ok(TaskEnd { result: Map::from_iter([("stdout".to_owned(), said.into())]), ..TaskEnd::default() });
        }
        let question = prompt.unwrap_or_else(|| "Press enter to continue, Ctrl-C to stop".to_owned());
        let echo = arguments.echo.is_none_or(|echo| echo.0);
        let answer = match &self.shared.options.asker {
            Some(asker) => asker.ask(&question, echo).await,
            None => None,
        };
        Ok(match answer {
            Some(answer) => TaskEnd {
                result: Map::from_iter([("user_input".to_owned(), answer.into()), ("echo".to_owned(), echo.into())]),
                ..TaskEnd::default()
            },
            // Ansible goes on with a warning; what stands behind such a question is seldom harmless.
            None => TaskEnd::failed(format!(
                "`pause` asks `{question}`, and there is no terminal to answer at: give `seconds`, or a condition for runs \
                 without a terminal"
            )),
        })
    }
}
