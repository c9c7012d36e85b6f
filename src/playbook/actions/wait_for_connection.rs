//! `wait_for_connection`: waits until a host answers.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Map, Value};
use tokio::time::Instant;

use super::{Action, Given, web_arguments::seconds};
use crate::{
    error::Result,
    event,
    modules::{Argument, Call, CheckMode, Form},
    playbook::{
        host::context::{Context, Stop},
        questions,
        task_end::TaskEnd,
    },
    template::text_of,
};

pub(super) struct WaitForConnection;

impl Call for WaitForConnection {
    fn name(&self) -> &'static str {
        "wait_for_connection"
    }

    fn about(&self) -> &'static str {
        "Waits until a host answers."
    }

    fn arguments(&self) -> &'static [Argument] {
        const ALL: &[Argument] = &[
            Argument { default: || Some("600".to_owned()), ..Argument::new("timeout", Form::Seconds) },
            Argument { default: || Some("0".to_owned()), ..Argument::new("delay", Form::Seconds) },
            Argument { default: || Some("1".to_owned()), ..Argument::new("sleep", Form::Seconds) },
            Argument::new("connect_timeout", Form::Seconds),
        ];
        ALL
    }

    fn no_effect(&self) -> &'static [(&'static str, &'static str)] {
        &[("connect_timeout", "`timeout` ends the whole of the wait")]
    }

    fn check_mode(&self) -> CheckMode {
        CheckMode::Runs
    }
}

#[async_trait]
impl Action for WaitForConnection {
    fn check(&self, named: &Map<String, Value>) -> Result<()> {
        waits(named).map(drop)
    }

    async fn run(&self, context: &mut Context<'_, '_>, given: Given) -> Result<TaskEnd, Stop> {
        let [delay, timeout, pause] = waits(&given.named)?;
        let _wait = event::wait_for(format!("`{}` to answer", context.host()));
        tokio::time::sleep(delay).await;
        let deadline = Instant::now() + timeout;
        let place = context.place()?;
        loop {
            let why = match context.ask(&place, questions::is_there()).await {
                Ok(answer) => answer.failure,
                Err(stop) => Some(stop.into_error().to_string()),
            };
            match why {
                None => return Ok(TaskEnd::default()),
                Some(why) if Instant::now() >= deadline => return Ok(TaskEnd::failed(why)),
                Some(_) => tokio::time::sleep(pause).await,
            }
        }
    }
}

/// How long it waits: before it asks first, in all, and between two attempts.
fn waits(named: &Map<String, Value>) -> Result<[Duration; 3]> {
    let time = |name: &str, usual: u64| match named.get(name) {
        Some(value) => seconds(name, &text_of(value)),
        None => Ok(Duration::from_secs(usual)),
    };
    Ok([time("delay", 0)?, time("timeout", 600)?, time("sleep", 1)?])
}
