//! Actions: calls that need more than a host's answer, such as variables, files of this machine, the network or the person at the
//! terminal. One file each; what they may use is [`Context`].

mod add_host;
mod assert;
mod checksum;
mod debug;
mod fail;
mod gather_facts;
mod get_url;
mod group_by;
mod include_vars;
mod pause;
mod ping;
mod set_fact;
mod setup;
mod uri;
mod validate_argument_spec;
mod wait_for_connection;
mod web_arguments;

use async_trait::async_trait;
use serde_json::{Map, Value};

pub(super) use self::validate_argument_spec::ValidateArgumentSpec;
use super::{
    host::context::{Context, Stop},
    task_end::TaskEnd,
};
use crate::{error::Result, modules::Call};

/// An action.
#[async_trait]
pub(super) trait Action: Call {
    /// Reads arguments as they will be read when the task runs: what is wrong with them is known before.
    ///
    /// # Errors
    /// When one is missing or of the wrong kind.
    fn check(&self, _named: &Map<String, Value>) -> Result<()> {
        Ok(())
    }

    /// Whether it resolves its arguments by itself, because it may not need all of them or takes expressions.
    fn is_lazy(&self) -> bool {
        false
    }

    /// Whether it runs once for all hosts of a linear play.
    fn runs_once(&self) -> bool {
        false
    }

    /// Whether what hosts have answered before is still true after it: it changes nothing on any host but by the steps of a module, and
    /// waits for nothing.
    fn keeps_answers(&self) -> bool {
        false
    }

    /// Runs it on a host.
    ///
    /// # Errors
    /// When the task fails, or the host cannot be reached.
    async fn run(&self, context: &mut Context<'_, '_>, given: Given) -> Result<TaskEnd, Stop>;
}

/// The arguments of a task, resolved; none for an action that resolves them by itself.
#[derive(Debug, Default)]
pub(super) struct Given {
    pub(super) named: Map<String, Value>,
    pub(super) free_form: Option<String>,
}

/// All actions.
pub(super) const ACTIONS: &[&dyn Action] = &[
    &add_host::AddHost,
    &assert::Assert,
    &debug::Debug,
    &fail::Fail,
    &gather_facts::GatherFacts,
    &get_url::GetUrl,
    &group_by::GroupBy,
    &include_vars::IncludeVars,
    &pause::Pause,
    &ping::Ping,
    &set_fact::SetFact,
    &setup::Setup,
    &uri::Uri,
    &ValidateArgumentSpec,
    &wait_for_connection::WaitForConnection,
];
