//! `group_by`: groups of hosts, made of what is known of them.

use async_trait::async_trait;
use serde_json::{Map, Value, json};

use super::{Action, Given};
use crate::{
    error::{Error, Result},
    modules::{Argument, Call, CheckMode, Defines, Form},
    playbook::{
        host::context::{Context, Stop},
        task_end::TaskEnd,
    },
    template::text_of,
};

pub(super) struct GroupBy;

impl Call for GroupBy {
    fn name(&self) -> &'static str {
        "group_by"
    }

    fn about(&self) -> &'static str {
        "Adds the host to a group, for later tasks and plays."
    }

    fn arguments(&self) -> &'static [Argument] {
        const ALL: &[Argument] = &[
            Argument::new("key", Form::Text).about("The name of the group; spaces become dashes.").required(),
            Argument::new("parents", Form::List).about("Groups that the host is in too; `all` is always one."),
        ];
        ALL
    }

    fn defines(&self) -> Defines {
        Defines::Hosts
    }

    fn check_mode(&self) -> CheckMode {
        CheckMode::Runs
    }
}

/// The groups that a task asks for, that of the key first.
fn groups(named: &Map<String, Value>) -> Result<Vec<String>> {
    let key = named.get("key").map(text_of).filter(|key| !key.is_empty());
    let key = key.ok_or_else(|| Error::usage("`key` is missing"))?;
    let parents = match named.get("parents") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(parents)) => parents.iter().map(text_of).collect(),
        Some(parent) => vec![text_of(parent)],
    };
    let parents = parents.into_iter().filter(|parent| parent != "all");
    Ok(std::iter::once(key).chain(parents).map(|name| name.replace(' ', "-")).collect())
}

#[async_trait]
impl Action for GroupBy {
    fn check(&self, named: &Map<String, Value>) -> Result<()> {
        groups(named).map(drop)
    }

    fn keeps_answers(&self) -> bool {
        true
    }

    async fn run(&self, context: &mut Context<'_, '_>, given: Given) -> Result<TaskEnd, Stop> {
        let groups = groups(&given.named)?;
        let changed = context.world().add_to_groups(context.host(), &groups);
        let parents: Vec<&String> = groups[1..].iter().collect();
        let parents = if parents.is_empty() { json!(["all"]) } else { json!(parents) };
        Ok(TaskEnd { changed, ..TaskEnd::of_result([("add_group", json!(groups[0])), ("parent_groups", parents)]) })
    }
}
