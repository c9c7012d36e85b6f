//! `pause`: waits, or asks the person at the terminal.

use std::{sync::Arc, time::Duration};

use serde_json::{Map, Value};

use super::{HostRun, TaskEnd, TaskScope, web_arguments::seconds};
use crate::{
    error::Result,
    playbook::model::Task,
    template::{is_true, text_of},
};

impl HostRun<'_> {
    pub(super) async fn pause(
        &self, named: &Map<String, Value>, task: &Arc<Task>, scope: &TaskScope,
    ) -> Result<TaskEnd> {
        if self.checks_only(task, scope) {
            return Ok(TaskEnd::skipped());
        }
        let mut time = None;
        for (name, unit) in [("minutes", 60.0), ("seconds", 1.0)] {
            if let Some(value) = named.get(name) {
                let given = seconds(name, &text_of(value))?.as_secs_f64() * unit;
                time = Some(time.unwrap_or_default() + Duration::from_secs_f64(given));
            }
        }
        let prompt = named.get("prompt").map(text_of);
        if let Some(time) = time {
            if let Some(prompt) = prompt {
                self.shared.events.note(prompt);
            }
            tokio::time::sleep(time).await;
            let said = format!("Paused for {} seconds", time.as_secs_f64());
            return Ok(TaskEnd { result: Map::from_iter([("stdout".to_owned(), said.into())]), ..TaskEnd::default() });
        }
        let question = prompt.unwrap_or_else(|| "Press enter to continue, Ctrl-C to stop".to_owned());
        let echo = named.get("echo").is_none_or(is_true);
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
