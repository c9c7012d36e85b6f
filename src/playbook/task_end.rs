//! How a task ended on a host, for those who register it and for those who read of it.

use serde_json::{Map, Value};

use crate::{modules::Outcome, playbook::model::Task, template::Authored};

/// Variables of a host that a task has defined.
#[derive(Clone, Debug)]
pub(super) enum Defined {
    /// Data, as from `set_fact`.
    Set(Map<String, Value>),
    /// Facts, under their names without `ansible_`.
    Facts(Map<String, Value>),
    /// What an author has written, with templates in it.
    Included(Authored<Map<String, Value>>),
}

/// How a task ended on a host.
#[derive(Clone, Debug, Default)]
pub(super) struct TaskEnd {
    pub(super) changed: bool,
    pub(super) failure: Option<String>,
    pub(super) skipped: bool,
    pub(super) result: Map<String, Value>,
    /// The variables that it has defined, beside its registered result.
    pub(super) defined: Vec<Defined>,
    pub(super) diffs: Vec<String>,
    /// What is shown although nothing failed: `debug`.
    pub(super) message: Option<String>,
}

impl TaskEnd {
    pub(super) fn failed(message: impl Into<String>) -> Self {
        Self { failure: Some(message.into()), ..Self::default() }
    }

    /// A success with this result.
    pub(super) fn of_result<'n>(result: impl IntoIterator<Item = (&'n str, Value)>) -> Self {
        let result = result.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Self { result, ..Self::default() }
    }

    /// A success that has defined variables, which are in its result too.
    pub(super) fn defining(defined: Defined) -> Self {
        let facts = match &defined {
            Defined::Set(map) | Defined::Facts(map) => map.clone(),
            Defined::Included(vars) => (**vars).clone(),
        };
        Self { defined: vec![defined], ..Self::of_result([("ansible_facts", facts.into())]) }
    }

    pub(super) fn skipped() -> Self {
        Self { skipped: true, ..Self::default() }
    }

    /// What `register` keeps.
    pub(super) fn registered(&self) -> Value {
        let mut result = self.result.clone();
        result.insert("changed".to_owned(), self.changed.into());
        result.insert("failed".to_owned(), self.failure.is_some().into());
        if self.skipped {
            result.insert("skipped".to_owned(), true.into());
        }
        if let Some(failure) = &self.failure {
            result.entry("msg").or_insert_with(|| failure.as_str().into());
        }
        Value::Object(result)
    }

    /// The end of what a module has concluded.
    pub(super) fn of(outcome: Outcome, diffs: Vec<String>) -> Self {
        Self {
            changed: outcome.changed,
            failure: outcome.failure,
            skipped: false,
            result: outcome.result,
            defined: Vec::new(),
            diffs,
            message: None,
        }
    }

    /// What is shown of it: why it failed with the host's output, or what it prints.
    pub(super) fn detail(&self, task: &Task) -> Option<String> {
        let Some(failure) = &self.failure else { return self.message.clone() };
        let mut text = failure.clone();
        for stream in ["stdout", "stderr"] {
            if let Some(output) = self.result.get(stream).and_then(Value::as_str).filter(|output| !output.is_empty())
                && !text.contains(output)
            {
                text += &format!("\n{stream}: {}", output.trim_end());
            }
        }
        if !text.contains(&task.mark.to_string()) {
            text += &format!("\nat {}", task.mark);
        }
        Some(text)
    }
}
