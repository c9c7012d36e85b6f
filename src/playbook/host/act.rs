//! What the actions do on a host: variables, conditions and includes.

use std::{sync::Arc, time::Duration};

use serde_json::{Map, Value};
use tokio::time::Instant;

use super::{
    HostRun, Item, TaskEnd, TaskScope, ask,
    pause::PauseArguments,
    template::TemplateArguments,
    web_arguments::{GetUrlArguments, UriArguments, seconds},
};
use crate::{
    error::{Error, Result},
    files,
    playbook::{
        actions::{self, Kind},
        argument_specs,
        model::Task,
    },
    template::{Authored, Scope, is_template, text_of},
    yaml,
};

impl HostRun<'_> {
    pub(super) async fn action(&mut self, kind: Kind, task: &Arc<Task>, scope: &TaskScope) -> Result<TaskEnd> {
        let resolved = match kind {
            Kind::Debug | Kind::Assert | Kind::ValidateArgumentSpec | Kind::IncludeTasks | Kind::IncludeRole => {
                Ok((Map::new(), None))
            }
            _ => self.arguments(task, scope),
        };
        let (named, free) = match resolved {
            Ok(resolved) => resolved,
            Err(error) => return Ok(TaskEnd::failed(format!("{}: {error}", task.mark))),
        };
        let known = actions::find(&task.module).map_or(Ok(()), |action| action.check_names(&named, free.is_some()));
        if let Err(error) = known {
            return Ok(TaskEnd::failed(format!("{}: {error}", task.mark)));
        }
        let end = match kind {
            Kind::SetFact => self.set_fact(named, task, scope),
            Kind::Debug => self.debug(task, scope),
            Kind::Assert => self.assert(task, scope),
            Kind::Fail => {
                let message = named.get("msg").map_or_else(|| "Failed as requested from task".to_owned(), text_of);
                Ok(TaskEnd::failed(message))
            }
            Kind::Meta => self.meta(free.as_deref().unwrap_or_default(), task, scope).await,
            Kind::IncludeTasks | Kind::IncludeRole => self.include(task, scope).map(|entries| {
                for entry in entries.into_iter().rev() {
                    self.work.push_front(Item::Entry(entry));
                }
                TaskEnd::default()
            }),
            Kind::IncludeVars => self.include_vars(&named, free.as_deref(), task, scope),
            Kind::Import => Ok(TaskEnd::default()),
            Kind::ValidateArgumentSpec => self.validate_argument_spec(task, scope),
            Kind::Ping => {
                let place = self.place(task, scope)?;
                if let Some(why) = self.ask(&place, ask::is_there()).await?.failure {
                    return Ok(TaskEnd::failed(why));
                }
                let data = named.get("data").cloned().unwrap_or_else(|| "pong".into());
                Ok(TaskEnd { result: Map::from_iter([("ping".to_owned(), data)]), ..TaskEnd::default() })
            }
            Kind::Pause => self.pause(&named, task, scope).await,
            Kind::Setup => {
                let failure = self.gather(task, scope).await?;
                let memory = self.memory_of(task, scope)?;
                let facts = memory.facts.read().expect("no task panics while it holds a host's memory").clone();
                let result = Map::from_iter([("ansible_facts".to_owned(), facts.into())]);
                Ok(if failure.is_some() {
                    TaskEnd { failure, ..TaskEnd::default() }
                } else {
                    TaskEnd { result, ..TaskEnd::default() }
                })
            }
            Kind::WaitForConnection => self.wait_for_connection(&named, task, scope).await,
            Kind::Uri => self.uri(&named, task, scope).await,
            Kind::GetUrl => return self.get_url(named, task, scope).await,
            Kind::Template => return self.module(task, scope, &[]).await,
        };
        Ok(end.unwrap_or_else(|error| TaskEnd::failed(format!("{}: {error}", task.mark))))
    }

    pub(super) fn set_fact(&self, mut named: Map<String, Value>, task: &Task, scope: &TaskScope) -> Result<TaskEnd> {
        named.remove("cacheable");
        let memory = self.memory_of(task, scope)?;
        memory.set.write().expect("no task panics while it holds a host's memory").extend(named.clone());
        Ok(TaskEnd { result: Map::from_iter([("ansible_facts".to_owned(), named.into())]), ..TaskEnd::default() })
    }

    pub(super) fn debug(&self, task: &Task, scope: &TaskScope) -> Result<TaskEnd> {
        let shared = scope.shared();
        let (name, value) = match (task.arguments.authored("var"), task.arguments.authored("msg")) {
            (Some(var), _) => match var.text() {
                Some(name) if !is_template(&name) => {
                    let value = self.engine().evaluate(&name, &shared);
                    (name.into_inner(), value.unwrap_or_else(|_| "VARIABLE IS NOT DEFINED!".into()))
                }
                _ => {
                    let value = self.engine().resolve(&var, &shared)?;
                    (text_of(&value), value)
                }
            },
            (None, Some(message)) => ("msg".to_owned(), self.engine().resolve(&message, &shared)?),
            (None, None) => ("msg".to_owned(), "Hello world!".into()),
        };
        let shown = match &value {
            Value::String(text) => text.clone(),
            other => serde_json::to_string_pretty(other)?,
        };
        let message = if name == "msg" { shown } else { format!("{name}: {shown}") };
        let verbose = task.arguments.get("verbosity").is_some_and(|level| text_of(level) != "0");
        let result = Map::from_iter([(name, value)]);
        Ok(TaskEnd { result, message: (!verbose).then_some(message), ..TaskEnd::default() })
    }

    pub(super) fn assert(&self, task: &Task, scope: &TaskScope) -> Result<TaskEnd> {
        let shared = scope.shared();
        for condition in task.arguments.authored("that").unwrap_or_default().items() {
            if !self.engine().condition(&condition, &shared)? {
                let message = task.arguments.authored("fail_msg").or_else(|| task.arguments.authored("msg"));
                let message = match message {
                    Some(message) => text_of(&self.engine().resolve(&message, &shared)?),
                    None => "Assertion failed".to_owned(),
                };
                let mut end = TaskEnd::failed(format!("{message} (`{}` does not hold)", text_of(&condition)));
                end.result.insert("msg".to_owned(), message.into());
                end.result.insert("assertion".to_owned(), condition.into_inner());
                return Ok(end);
            }
        }
        let message = task
            .arguments
            .authored("success_msg")
            .map_or_else(|| Ok("All assertions passed".into()), |message| self.engine().resolve(&message, &shared))?;
        Ok(TaskEnd { result: Map::from_iter([("msg".to_owned(), message)]), ..TaskEnd::default() })
    }

    /// Whether the variables of a role fit what it declares. The declaration itself is no template.
    fn validate_argument_spec(&self, task: &Task, scope: &TaskScope) -> Result<TaskEnd> {
        let shared = scope.shared();
        let resolved =
            |name: &str| task.arguments.authored(name).map(|value| self.engine().resolve(&value, &shared)).transpose();
        let options = match task.arguments.get("argument_spec") {
            Some(Value::String(_)) => resolved("argument_spec")?.unwrap_or_default(),
            Some(options) => options.clone(),
            None => return Err(Error::usage("`argument_spec` is missing")),
        };
        let provided = resolved("provided_arguments")?.unwrap_or_default();
        let mut failed = Vec::new();
        let mut values = Map::new();
        for name in options.as_object().into_iter().flat_map(Map::keys) {
            if let Some(value) = provided.get(name) {
                values.insert(name.clone(), value.clone());
            } else if scope.get(name).is_some() {
                match self.engine().variable(name, &shared) {
                    Ok(value) => values.extend(value.map(|value| (name.clone(), value))),
                    Err(error) => failed.push(format!("argument `{name}`: {error}")),
                }
            }
        }
        failed.extend(argument_specs::mistakes(&options, |name| values.get(name).cloned()));
        if failed.is_empty() {
            let message = "The arg spec validation passed";
            return Ok(TaskEnd { result: Map::from_iter([("msg".to_owned(), message.into())]), ..TaskEnd::default() });
        }
        let mut end = TaskEnd::failed(format!("Validation of arguments failed:\n{}", failed.join("\n")));
        end.result.insert("argument_errors".to_owned(), failed.into());
        if let Some(context) = resolved("validate_args_context")? {
            end.result.insert("validate_args_context".to_owned(), context);
        }
        Ok(end)
    }

    pub(super) fn include_vars(
        &self, named: &Map<String, Value>, free: Option<&str>, task: &Task, scope: &TaskScope,
    ) -> Result<TaskEnd> {
        let folders = scope.folders("vars");
        let looked = || folders.iter().map(|folder| folder.display().to_string()).collect::<Vec<_>>().join(", ");
        let file = named.get("file").map(text_of).or_else(|| free.map(str::to_owned));
        let paths = match (file, named.get("dir").map(text_of)) {
            (Some(file), None) => vec![files::find(&folders, std::path::Path::new(&file)).ok_or_else(|| {
                Error::new(format!("there is no variables file `{file}`")).hint(format!("looked in: {}", looked()))
            })?],
            (None, Some(name)) => {
                let candidates = folders.iter().map(|folder| folder.join(&name));
                let folder = candidates.into_iter().find(|path| files::is_dir(path)).ok_or_else(|| {
                    Error::new(format!("there is no folder `{name}`")).hint(format!("looked in: {}", looked()))
                })?;
                let known = |path: &std::path::PathBuf| {
                    path.extension()
                        .is_some_and(|extension| ["yml", "yaml", "json"].iter().any(|known| extension == *known))
                };
                files::walk(&folder)?.into_iter().filter(known).map(|file| folder.join(file)).collect()
            }
            _ => return Err(Error::usage("`include_vars` takes a file or `dir`")),
        };
        let mut vars: Authored<Map<String, Value>> = Authored::default();
        for path in paths {
            let (node, _) = yaml::parse(&yaml::Source::new(path.clone(), files::read_text(&path)?))?;
            match (node.entries(), &node.content) {
                (Some(entries), _) => vars.extend(Authored::entries(entries)),
                (None, yaml::Content::Null) => {}
                _ => return Err(Error::new(format!("`{}` is not a mapping", path.display()))),
            }
        }
        let vars = match named.get("name").map(text_of) {
            Some(name) => {
                let mut named: Authored<Map<String, Value>> = Authored::default();
                named.insert(name, vars.into());
                named
            }
            None => vars,
        };
        let memory = self.memory_of(task, scope)?;
        let mut included = memory.included.write().expect("no task panics while it holds a host's memory");
        included.extend(vars.clone().into());
        drop(included);
        let result = Map::from_iter([("ansible_facts".to_owned(), Value::Object((*vars).clone()))]);
        Ok(TaskEnd { result, included: vars.into(), ..TaskEnd::default() })
    }

    pub(super) async fn wait_for_connection(
        &mut self, named: &Map<String, Value>, task: &Arc<Task>, scope: &TaskScope,
    ) -> Result<TaskEnd> {
        let [delay, timeout, pause] = waits(named)?;
        tokio::time::sleep(delay).await;
        let deadline = Instant::now() + timeout;
        let place = self.place(task, scope)?;
        loop {
            let why = match self.ask(&place, ask::is_there()).await {
                Ok(answer) => answer.failure,
                Err(error) => Some(error.to_string()),
            };
            match why {
                None => return Ok(TaskEnd::default()),
                Some(why) if Instant::now() >= deadline => return Ok(TaskEnd::failed(why)),
                Some(_) => tokio::time::sleep(pause).await,
            }
        }
    }
}

/// How long `wait_for_connection` waits: before it asks first, in all, and between two attempts.
fn waits(named: &Map<String, Value>) -> Result<[Duration; 3]> {
    let time = |name: &str, usual: u64| match named.get(name) {
        Some(value) => seconds(name, &text_of(value)),
        None => Ok(Duration::from_secs(usual)),
    };
    Ok([time("delay", 0)?, time("timeout", 600)?, time("sleep", 1)?])
}

/// Reads the arguments of an action as they are read when its task runs: what is wrong with them is known before.
pub(in crate::playbook) fn check_arguments(kind: Kind, named: &Map<String, Value>) -> Result<()> {
    match kind {
        Kind::Assert if !named.contains_key("that") => Err(Error::usage("`that` is missing")),
        Kind::GetUrl => GetUrlArguments::read(named).map(drop),
        Kind::Pause => PauseArguments::read(named).map(drop),
        Kind::Template => TemplateArguments::read(named).map(drop),
        Kind::Uri => UriArguments::read(named).map(drop),
        Kind::WaitForConnection => waits(named).map(drop),
        _ => Ok(()),
    }
}
