//! `uri`: a request that travels through the connection of the host.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{
    HostRun, Place, TaskEnd, TaskScope, ask,
    web_arguments::{UriArguments, WebArguments, file, file_name},
};
use crate::{
    error::{Error, Result},
    modules,
    playbook::{
        model::Task,
        web::{self, Answer, Ask},
    },
    remote::{Output, Transport},
};

/// How many values the JSON of an answer may have: each takes many times the memory of its text.
const JSON_LIMIT: usize = 500_000;
/// What the result of `uri` says itself, and no header of a server may.
const RESERVED: &[&str] = &[
    "changed",
    "failed",
    "skipped",
    "msg",
    "status",
    "url",
    "redirected",
    "json",
    "content",
    "path",
    "rc",
    "stdout",
    "stderr",
    "results",
    "item",
    "exception",
    "warnings",
    "deprecations",
    "invocation",
    "ansible_facts",
];

impl HostRun<'_> {
    /// A request with the authorities that it trusts, which are files on the host.
    pub(super) async fn web(&self, arguments: &WebArguments, mut ask: Ask, place: &Place) -> Result<Result<Ask>> {
        if let Some(path) = &arguments.ca_path {
            let answer = self.ask(place, ask::content(path.as_str())).await?;
            if !answer.succeeded() {
                let why = answer.failure.clone().unwrap_or_else(|| answer.err().trim().to_owned());
                return Ok(Err(Error::new(format!("`ca_path` cannot be read: {why}"))));
            }
            ask.authorities.push(answer.out());
        }
        Ok(Ok(ask))
    }

    pub(super) async fn uri(
        &mut self, named: &Map<String, Value>, task: &Arc<Task>, scope: &TaskScope,
    ) -> Result<TaskEnd> {
        let (arguments, ask, wanted) = match UriArguments::read(named) {
            Ok(read) => read,
            Err(error) => return Ok(TaskEnd::failed(format!("{}: {error}", task.mark))),
        };
        if self.checks_only(task, scope) {
            // Whether a request changes something is known to the server alone.
            let mut end = TaskEnd::skipped();
            end.result.insert("msg".to_owned(), "remote module (uri) does not support check mode".into());
            return Ok(end);
        }
        let place = self.place(task, scope)?;
        if let Some(end) = self.is_done(&arguments, &place).await? {
            return Ok(end);
        }
        let ask = match self.web(&arguments.web, ask, &place).await? {
            Ok(ask) => ask,
            Err(error) => return Ok(TaskEnd::failed(format!("{}: {error}", task.mark))),
        };
        let url = ask.url.clone();
        self.keep_before(task, scope, &place).await?;
        let connection = self.connection(&place).await?;
        let fetched = self.attend(&place, connection.as_ref(), fetch(connection.as_ref(), ask)).await;
        let (answer, body) = match fetched {
            Ok(fetched) => fetched,
            Err(error) => {
                let mut end = TaskEnd::failed(format!("Status code was -1 and not {wanted:?}: {error}"));
                end.result.extend([("status".to_owned(), json!(-1)), ("url".to_owned(), url.into())]);
                return Ok(end);
            }
        };
        let accepted = wanted.contains(&answer.status);
        let mut end = TaskEnd { result: headers(&answer), ..TaskEnd::default() };
        if !accepted {
            end.failure = Some(format!("Status code was {} and not {wanted:?}", answer.status));
        }
        if let Err(error) = describe(&answer, &body, arguments.return_content.0 || !accepted, &mut end.result) {
            end.failure.get_or_insert(error.to_string());
        }
        match &arguments.dest {
            Some(dest) if end.failure.is_none() => {
                let written = self.keep(dest.as_str(), &url, body, named, &place, task, scope).await?;
                end.result.extend(written.result.clone());
                if written.failure.is_some() {
                    // What the answer was is not what the task failed of.
                    end.result.remove("msg");
                }
                Ok(TaskEnd { result: end.result, ..written })
            }
            _ => Ok(end),
        }
    }

    /// Whether `creates` or `removes` say that nothing is left to do.
    async fn is_done(&self, arguments: &UriArguments, place: &Place) -> Result<Option<TaskEnd>> {
        for (path, done_when, is) in
            [(&arguments.creates, true, "exists"), (&arguments.removes, false, "does not exist")]
        {
            let Some(path) = path else { continue };
            let answer = self.ask(place, ask::exists(path.as_str())).await?;
            match answer.out().trim() {
                "yes" | "no" if (answer.out().trim() == "yes") == done_when => {
                    let said = format!("skipped, since '{path}' {is}", path = path.as_str());
                    let result =
                        Map::from_iter([("stdout".to_owned(), said.clone().into()), ("msg".to_owned(), said.into())]);
                    return Ok(Some(TaskEnd { result, ..TaskEnd::default() }));
                }
                "yes" | "no" => {}
                _ => return Ok(Some(TaskEnd::failed(unanswered(&answer)))),
            }
        }
        Ok(None)
    }

    /// Writes the body of an answer to a file, or into a folder under the last name of the address.
    async fn keep(
        &mut self, dest: &str, url: &str, body: bytes::Bytes, named: &Map<String, Value>, place: &Place,
        task: &Arc<Task>, scope: &TaskScope,
    ) -> Result<TaskEnd> {
        let inner = format!("{}/{}", dest.trim_end_matches('/'), file_name(url));
        let answer = self.ask(place, ask::is_folder(dest)).await?;
        let path = match answer.out().trim() {
            "folder" => inner.as_str(),
            "file" => dest,
            _ => return Ok(TaskEnd::failed(unanswered(&answer))),
        };
        let operation = match file(named).and_then(|file| modules::write_file(path, None, body, &file, None)) {
            Ok(operation) => operation,
            Err(error) => return Ok(TaskEnd::failed(format!("{}: {error}", task.mark))),
        };
        let mut end = self.operate(operation.as_ref(), "", place, &[], task, scope).await?;
        end.result.insert("path".to_owned(), path.into());
        Ok(end)
    }
}

pub(super) fn unanswered(answer: &Output) -> String {
    answer.failure.clone().unwrap_or_else(|| "the host did not answer what it was asked".to_owned())
}

/// Sends a request and reads the whole answer.
async fn fetch(connection: &dyn Transport, ask: Ask) -> Result<(Answer, bytes::Bytes)> {
    let mut answer = web::send(connection, ask).await?;
    let body = answer.read(web::BODY_LIMIT).await?;
    Ok((answer, body))
}

/// The headers of an answer under the names that Ansible gives them, but for those that would pass for the task's own.
fn headers(answer: &Answer) -> Map<String, Value> {
    let names = answer.headers.iter().map(|(name, value)| (name.replace('-', "_"), value.as_str()));
    let kept = names.filter(|(name, _)| !RESERVED.contains(&name.as_str()) && !name.starts_with("ansible_"));
    kept.map(|(name, value)| (name, value.into())).collect()
}

/// What an answer says, as `register` keeps it.
fn describe(answer: &Answer, body: &[u8], content: bool, result: &mut Map<String, Value>) -> Result<()> {
    result.insert("status".to_owned(), answer.status.into());
    result.insert("url".to_owned(), answer.url.as_str().into());
    result.insert("redirected".to_owned(), answer.redirected.into());
    result.insert("msg".to_owned(), format!("OK ({} bytes)", body.len()).into());
    let text = String::from_utf8_lossy(body);
    let kind = answer.header("content-type").unwrap_or_default().to_ascii_lowercase();
    if kind.contains("json") || kind.contains("javascript") {
        let values = text.bytes().filter(|byte| b",[{".contains(byte)).count();
        if values > JSON_LIMIT {
            return Err(Error::new(format!("the JSON of the answer has more than {JSON_LIMIT} values")));
        }
        if let Ok(json) = serde_json::from_str::<Value>(&text) {
            result.insert("json".to_owned(), json);
        }
    }
    if content {
        result.insert("content".to_owned(), text.into());
    }
    Ok(())
}
