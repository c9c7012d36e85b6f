//! `add_host`: a host that the run did not know, for later tasks and plays.

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

pub(super) struct AddHost;

const NAMES: &[&str] = &["name", "hostname", "host"];
const GROUPS: &[&str] = &["groups", "group", "groupname"];

impl Call for AddHost {
    fn name(&self) -> &'static str {
        "add_host"
    }

    fn about(&self) -> &'static str {
        "Adds a host to the run and to groups, for later tasks and plays; what is no argument is a variable of the host."
    }

    fn arguments(&self) -> &'static [Argument] {
        const ALL: &[Argument] = &[
            Argument::new("name", Form::Text).also(&["hostname", "host"]).about("Its name, or `NAME:PORT`.").required(),
            Argument::new("groups", Form::List).also(&["group", "groupname"]).about("The groups that it is in."),
        ];
        ALL
    }

    fn takes_any_argument(&self) -> bool {
        true
    }

    fn defines(&self) -> Defines {
        Defines::Hosts
    }

    fn check_mode(&self) -> CheckMode {
        CheckMode::Runs
    }
}

/// What a task says of a host.
#[derive(Debug, PartialEq)]
struct NewHost {
    name: String,
    groups: Vec<String>,
    vars: Map<String, Value>,
}

impl NewHost {
    /// # Errors
    /// When it has no name, or groups are no list.
    fn read(mut named: Map<String, Value>) -> Result<Self> {
        let mut first = |names: &[&str]| {
            let given: Vec<Value> = names.iter().filter_map(|name| named.remove(*name)).collect();
            given.into_iter().find(|value| !value.is_null())
        };
        let groups = match first(GROUPS) {
            None => Vec::new(),
            Some(Value::Array(groups)) => groups.iter().map(text_of).collect(),
            Some(Value::String(groups)) => groups.split(',').map(str::to_owned).collect(),
            Some(other) => {
                return Err(Error::usage(format!(
                    "`groups` must be a list or a text with commas, not {}",
                    text_of(&other)
                )));
            }
        };
        let groups = groups.iter().map(|group| group.trim().to_owned()).filter(|group| !group.is_empty()).collect();
        let name = first(NAMES).map(|name| text_of(&name)).filter(|name| !name.is_empty());
        let name = name.ok_or_else(|| Error::usage("`name` is missing"))?;
        let mut vars = named;
        // An address of IPv6 has more colons than one.
        let name = match name.split_once(':') {
            Some((host, port)) if !port.is_empty() && port.chars().all(|c| c.is_ascii_digit()) => {
                vars.insert(
                    "ansible_port".to_owned(),
                    port.parse::<u16>().map_or_else(|_| json!(port), |port| json!(port)),
                );
                host.to_owned()
            }
            _ => name,
        };
        Ok(Self { name, groups, vars })
    }
}

#[async_trait]
impl Action for AddHost {
    fn check(&self, named: &Map<String, Value>) -> Result<()> {
        NewHost::read(named.clone()).map(drop)
    }

    fn runs_once(&self) -> bool {
        true
    }

    fn keeps_answers(&self) -> bool {
        true
    }

    async fn run(&self, context: &mut Context<'_, '_>, given: Given) -> Result<TaskEnd, Stop> {
        let NewHost { name, groups, vars } = NewHost::read(given.named)?;
        let added = json!({ "host_name": name, "groups": groups, "host_vars": vars });
        let changed = context.world().add_host(&name, &groups, vars);
        Ok(TaskEnd { changed, ..TaskEnd::of_result([("add_host", added)]) })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::NewHost;

    fn read(given: &Value) -> Result<NewHost, String> {
        NewHost::read(given.as_object().unwrap().clone()).map_err(|error| error.to_string())
    }

    #[test]
    fn hosts_have_names_groups_and_variables() {
        let host = read(&json!({ "hostname": "a:2222", "groups": "x, y", "colour": "red" })).unwrap();
        assert_eq!((host.name.as_str(), host.groups.as_slice()), ("a", ["x".to_owned(), "y".to_owned()].as_slice()));
        assert_eq!(json!(host.vars), json!({ "colour": "red", "ansible_port": 2222 }));
        assert_eq!(read(&json!({ "name": "fe80::1", "group": ["x"] })).unwrap().name, "fe80::1");
        assert!(read(&json!({ "groups": ["x"] })).unwrap_err().contains("`name` is missing"));
        assert!(read(&json!({ "name": "a", "groups": { "x": 1 } })).unwrap_err().contains("`groups` must be a list"));
    }
}
