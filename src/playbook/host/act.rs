//! What the actions do on a host: variables, conditions, includes, and HTTP through the host's connection.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::{Map, Value, json};

use super::{HostRun, Item, TaskEnd, TaskScope};
use crate::{
    error::{Error, Result},
    files,
    modules::{self, Algorithm, Arguments, FileCopy, Probe},
    playbook::{actions::Kind, argument_specs, model::Task, web},
    remote::Script,
    template::{Authored, Scope, is_template, is_true, text_of},
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
                self.exec(&place, &[Script::probe(":")]).await?;
                let data = named.get("data").cloned().unwrap_or_else(|| "pong".into());
                Ok(TaskEnd { result: Map::from_iter([("ping".to_owned(), data)]), ..TaskEnd::default() })
            }
            Kind::Pause => {
                let number =
                    |name: &str| named.get(name).and_then(|value| text_of(value).parse::<f64>().ok()).unwrap_or(0.0);
                let seconds = number("seconds") + number("minutes") * 60.0;
                tokio::time::sleep(Duration::from_secs_f64(seconds.max(0.0))).await;
                Ok(TaskEnd::default())
            }
            Kind::Setup => {
                self.gather(task, scope).await?;
                let memory = self.memory_of(task, scope)?;
                let facts = memory.facts.read().expect("no task panics while it holds a host's memory").clone();
                Ok(TaskEnd {
                    result: Map::from_iter([("ansible_facts".to_owned(), facts.into())]),
                    ..TaskEnd::default()
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
        let number =
            |name: &str, usual: u64| named.get(name).and_then(|value| text_of(value).parse().ok()).unwrap_or(usual);
        tokio::time::sleep(Duration::from_secs(number("delay", 0))).await;
        let deadline = Instant::now() + Duration::from_secs(number("timeout", 600));
        let place = self.place(task, scope)?;
        loop {
            match self.exec(&place, &[Script::probe(":")]).await {
                Ok(_) => return Ok(TaskEnd::default()),
                Err(error) if Instant::now() >= deadline => return Ok(TaskEnd::failed(error.to_string())),
                Err(_) => tokio::time::sleep(Duration::from_secs(number("sleep", 1))).await,
            }
        }
    }

    pub(super) fn ask(&self, named: &Map<String, Value>) -> Result<web::Ask> {
        let text = |name: &str| named.get(name).map(text_of);
        let mut headers: Vec<(String, String)> = match named.get("headers") {
            Some(Value::Object(map)) => map.iter().map(|(name, value)| (name.clone(), text_of(value))).collect(),
            _ => Vec::new(),
        };
        let format = text("body_format").unwrap_or_else(|| "raw".to_owned());
        let body = match (named.get("body"), format.as_str()) {
            (None, _) => String::new(),
            (Some(Value::String(text)), _) => text.clone(),
            (Some(Value::Object(map)), "form-urlencoded") => map
                .iter()
                .map(|(name, value)| format!("{}={}", encode(name), encode(&text_of(value))))
                .collect::<Vec<_>>()
                .join("&"),
            (Some(other), _) => serde_json::to_string(other)?,
        };
        let kind = match format.as_str() {
            "json" => Some("application/json"),
            "form-urlencoded" => Some("application/x-www-form-urlencoded"),
            _ => None,
        };
        if let Some(kind) = kind.filter(|_| !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")))
        {
            headers.push(("Content-Type".to_owned(), kind.to_owned()));
        }
        let user = text("url_username").or_else(|| text("user")).or_else(|| text("username"));
        let password = text("url_password").or_else(|| text("password")).unwrap_or_default();
        Ok(web::Ask {
            method: text("method").unwrap_or_else(|| "GET".to_owned()).to_ascii_uppercase(),
            url: text("url").ok_or_else(|| Error::usage("`url` is missing"))?,
            headers,
            body: body.into(),
            verify: named.get("validate_certs").is_none_or(is_true),
            authorities: named
                .get("ca_path")
                .map(|path| std::fs::read_to_string(text_of(path)))
                .transpose()?
                .into_iter()
                .collect(),
            follow: !matches!(text("follow_redirects").as_deref(), Some("none" | "no" | "false" | "False")),
            timeout: Duration::from_secs(text("timeout").and_then(|text| text.parse().ok()).unwrap_or(30)),
            login: user.map(|user| (user, password)),
        })
    }

    pub(super) async fn uri(
        &mut self, named: &Map<String, Value>, task: &Arc<Task>, scope: &TaskScope,
    ) -> Result<TaskEnd> {
        let place = self.place(task, scope)?;
        self.keep_before(task, scope, &place).await?;
        let connection = self.connection(&place).await?;
        let ask = self.ask(named)?;
        let wanted: Vec<u16> = match named.get("status_code") {
            None => vec![200],
            Some(Value::Array(items)) => items.iter().filter_map(|item| text_of(item).parse().ok()).collect(),
            Some(other) => text_of(other).split(',').filter_map(|part| part.trim().parse().ok()).collect(),
        };
        let url = ask.url.clone();
        let answer = match web::send(connection.as_ref(), ask).await {
            Ok(answer) => answer,
            Err(error) => {
                let mut end = TaskEnd::failed(format!("Status code was -1 and not {wanted:?}: {error}"));
                end.result.extend([("status".to_owned(), json!(-1)), ("url".to_owned(), url.into())]);
                return Ok(end);
            }
        };
        let mut result = Map::new();
        for (name, value) in &answer.headers {
            result.insert(name.replace('-', "_"), value.as_str().into());
        }
        result.insert("status".to_owned(), answer.status.into());
        result.insert("url".to_owned(), answer.url.into());
        result.insert("redirected".to_owned(), false.into());
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        if let Ok(json) = serde_json::from_str::<Value>(&text) {
            result.insert("json".to_owned(), json);
        }
        let failure =
            (!wanted.contains(&answer.status)).then(|| format!("Status code was {} and not {wanted:?}", answer.status));
        if named.get("return_content").is_some_and(is_true) || failure.is_some() {
            result.insert("content".to_owned(), text.into());
        }
        Ok(TaskEnd { failure, result, ..TaskEnd::default() })
    }

    /// Fetches a file through the host's connection, then writes it as `copy` would. A file that is there is fetched again
    /// only by `force`, or when its checksum is another one.
    pub(super) async fn get_url(
        &mut self, mut named: Map<String, Value>, task: &Arc<Task>, scope: &TaskScope,
    ) -> Result<TaskEnd> {
        let ask = match self.ask(&named) {
            Ok(ask) => ask,
            Err(error) => return Ok(TaskEnd::failed(error.to_string())),
        };
        let place = self.place(task, scope)?;
        let dest = named.get("dest").map(text_of).unwrap_or_default();
        let url = ask.url.clone();
        let name = url.split(['?', '#']).next().and_then(|path| path.rsplit('/').next()).unwrap_or("index").to_owned();
        let checksum =
            named.get("checksum").or_else(|| named.get("sha256sum")).map(text_of).filter(|text| !text.is_empty());
        let (algorithm, digest) = match checksum.as_deref().map(|text| text.split_once(':').unwrap_or(("sha256", text)))
        {
            Some((algorithm, digest)) => (algorithm.to_owned(), Some(digest.trim().to_ascii_lowercase())),
            None => ("sha256".to_owned(), None),
        };
        let Some(known) = Algorithm::of(&algorithm) else {
            return Ok(TaskEnd::failed(format!("`{algorithm}` is not a checksum algorithm")));
        };
        let probe = Probe::destination(dest.trim_end_matches('/'), &name, known);
        let seen = self.look(&place, "", &probe, &[], task).await?;
        let out = seen.out();
        let mut lines = out.lines();
        let path = lines.next().unwrap_or(&dest).to_owned();
        let present = lines.next().filter(|sum| *sum != "-").map(str::to_owned);
        let force = named.get("force").is_some_and(is_true);
        let current = match (&present, &digest) {
            (Some(present), Some(digest)) => present == digest,
            (Some(_), None) => !force,
            (None, _) => false,
        };
        for fetched in [
            "url",
            "dest",
            "checksum",
            "sha256sum",
            "timeout",
            "headers",
            "validate_certs",
            "url_username",
            "url_password",
            "username",
            "password",
            "force",
            "http_agent",
            "tmp_dest",
        ] {
            named.remove(fetched);
        }
        let file: FileCopy = match modules::read(&named) {
            Ok(file) => file,
            Err(error) => return Ok(TaskEnd::failed(error.to_string())),
        };
        let mut result =
            Map::from_iter([("url".to_owned(), url.as_str().into()), ("dest".to_owned(), path.as_str().into())]);
        if current {
            let attributes: Map<String, Value> =
                named.into_iter().filter(|(name, _)| matches!(name.as_str(), "mode" | "owner" | "group")).collect();
            if attributes.is_empty() {
                return Ok(TaskEnd { result, ..TaskEnd::default() });
            }
            let mut arguments = attributes;
            arguments.insert("path".to_owned(), path.into());
            let module = modules::find("file").ok_or_else(|| Error::new("`file` is no module"))?;
            let operation = module.prepare(&Arguments { named: &arguments, free_form: None, sources: scope })?;
            return self.operate(operation.as_ref(), "", &place, &[], task, scope).await;
        }
        if self.shared.options.check {
            return Ok(TaskEnd { changed: true, result, ..TaskEnd::default() });
        }
        let connection = self.connection(&place).await?;
        let answer = match web::send(connection.as_ref(), ask).await {
            Ok(answer) if answer.status == 200 => answer,
            Ok(answer) => return Ok(TaskEnd::failed(format!("`{url}` answered with status {}", answer.status))),
            Err(error) => return Ok(TaskEnd::failed(error.to_string())),
        };
        if let Some(digest) = &digest {
            let sum = crate::template::checksum(&algorithm, &answer.body);
            if sum.as_ref() != Some(digest) {
                return Ok(TaskEnd::failed(format!(
                    "`{url}` has the checksum {}, not {digest}",
                    sum.unwrap_or_default()
                )));
            }
        }
        let operation = match modules::write_file(&path, None, answer.body, &file, None) {
            Ok(operation) => operation,
            Err(error) => return Ok(TaskEnd::failed(error.to_string())),
        };
        let mut end = self.operate(operation.as_ref(), "", &place, &[], task, scope).await?;
        result.append(&mut end.result);
        Ok(TaskEnd { result, ..end })
    }
}

fn encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
            b' ' => "+".to_owned(),
            other => format!("%{other:02X}"),
        })
        .collect()
}
