//! `uri`: a request that travels through the connection of the host.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Map, Value, json};

use super::{
    Action, Given,
    web_arguments::{WebArguments, file_name, has},
};
use crate::{
    encoding::encode_form,
    error::{Error, Result},
    modules::{self, Argument, Call, CheckMode, Declared, FetchedFile, Flag, List, Text},
    playbook::{
        connection::Place,
        host::context::{Context, Stop},
        questions::{self, unanswered},
        task_end::TaskEnd,
        web::{self, Answer, Ask, Follow},
    },
    remote::Transport,
    template::text_of,
};

pub(super) struct Uri;

modules::arguments! {
    struct UriArguments {
        #[serde(flatten)]
        web: WebArguments,
        #[serde(alias = "user")]
        url_username: Option<Text>,
        method: Option<Text>,
        body: Option<Value>,
        /// `raw`, `json` or `form-urlencoded`.
        body_format: Option<Text>,
        /// The statuses that are no failure, 200 where nothing is said.
        status_code: Option<List>,
        /// Whether the result has the text of the answer.
        #[serde(default)]
        return_content: Flag,
        /// `safe`, `all` or `none`.
        follow_redirects: Option<Text>,
        /// A path: nothing is sent when it exists.
        creates: Option<Text>,
        /// A path: nothing is sent when it does not exist.
        removes: Option<Text>,
        /// The file or the folder of the host that gets the answer.
        dest: Option<Text>,
        #[serde(flatten)]
        file: FetchedFile,
    }
}

impl Call for Uri {
    fn name(&self) -> &'static str {
        "uri"
    }

    fn about(&self) -> &'static str {
        "Sends a request over HTTP from the host, and may keep the answer in a file of it."
    }

    fn arguments(&self) -> &'static [Argument] {
        UriArguments::ARGUMENTS
    }

    fn check_mode(&self) -> CheckMode {
        CheckMode::Skips
    }
}

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

#[async_trait]
impl Action for Uri {
    fn check(&self, named: &Map<String, Value>) -> Result<()> {
        UriArguments::read(named).map(drop)
    }

    async fn run(&self, context: &mut Context<'_, '_>, given: Given) -> Result<TaskEnd, Stop> {
        let (arguments, ask, wanted) = UriArguments::read(&given.named)?;
        if context.checks_only() {
            // Whether a request changes something is known to the server alone.
            let mut end = TaskEnd::skipped();
            end.result.insert("msg".to_owned(), "remote module (uri) does not support check mode".into());
            return Ok(end);
        }
        let place = context.place()?;
        if let Some(end) = is_done(context, &arguments, &place).await? {
            return Ok(end);
        }
        let ask = arguments.web.trusted(context, ask, &place).await?;
        let url = ask.url.clone();
        context.keep_before(&place).await?;
        let connection = context.connection(&place).await?;
        let fetched = context.attend(&place, connection.as_ref(), fetch(connection.as_ref(), ask)).await;
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
                let written = keep(context, dest.as_str(), &url, body, &arguments.file, &place).await?;
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
}

/// Whether `creates` or `removes` say that nothing is left to do.
async fn is_done(context: &Context<'_, '_>, arguments: &UriArguments, place: &Place) -> Result<Option<TaskEnd>, Stop> {
    for (path, done_when, is) in [(&arguments.creates, true, "exists"), (&arguments.removes, false, "does not exist")] {
        let Some(path) = path else { continue };
        let answer = context.ask(place, questions::exists(path.as_str())).await?;
        match answer.out().trim() {
            "yes" | "no" if (answer.out().trim() == "yes") == done_when => {
                let said = format!("skipped, since '{path}' {is}", path = path.as_str());
                return Ok(Some(TaskEnd::of_result([("stdout", said.clone().into()), ("msg", said.into())])));
            }
            "yes" | "no" => {}
            _ => return Ok(Some(TaskEnd::failed(unanswered(&answer)))),
        }
    }
    Ok(None)
}

/// Writes the body of an answer to a file, or into a folder under the last name of the address.
async fn keep(
    context: &mut Context<'_, '_>, dest: &str, url: &str, body: bytes::Bytes, file: &FetchedFile, place: &Place,
) -> Result<TaskEnd, Stop> {
    let inner = format!("{}/{}", dest.trim_end_matches('/'), file_name(url));
    let answer = context.ask(place, questions::is_folder(dest)).await?;
    let path = match answer.out().trim() {
        "folder" => inner.as_str(),
        "file" => dest,
        _ => return Ok(TaskEnd::failed(unanswered(&answer))),
    };
    let operation = modules::write_file(path, None, body, &file.copy(), None);
    let mut end = context.operate(operation.as_ref(), place).await?;
    end.result.insert("path".to_owned(), path.into());
    Ok(end)
}

impl UriArguments {
    /// The arguments, the request that they make, and the statuses that are no failure.
    fn read(named: &Map<String, Value>) -> Result<(Self, Ask, Vec<u16>)> {
        let arguments: Self = modules::read(named)?;
        arguments.file.check()?;
        let wanted = arguments.wanted_status()?;
        let ask = arguments.ask()?;
        Ok((arguments, ask, wanted))
    }

    fn ask(&self) -> Result<Ask> {
        let mut ask = self.web.ask(Duration::from_secs(30), self.url_username.as_ref())?;
        let format = self.body_format.as_ref().map_or("raw", Text::as_str);
        let (body, kind) = match (&self.body, format) {
            (None, "raw" | "json" | "form-urlencoded") => (String::new(), None),
            (Some(body), "raw") => (text_or_json(body)?, None),
            (Some(body), "json") => (text_or_json(body)?, Some("application/json")),
            (Some(body), "form-urlencoded") => (form(body)?, Some("application/x-www-form-urlencoded")),
            (_, other) => return Err(Error::usage(format!("`body_format: {other}` is not supported"))),
        };
        if let Some(kind) = kind.filter(|_| !has(&ask.headers, "content-type")) {
            ask.headers.push(("Content-Type".to_owned(), kind.to_owned()));
        }
        ask.body = body.into();
        ask.follow = match self.follow_redirects.as_ref().map_or("safe", Text::as_str).to_ascii_lowercase().as_str() {
            "safe" => Follow::Safe,
            "all" | "yes" | "true" => Follow::Always,
            "none" | "no" | "false" => Follow::Never,
            other => return Err(Error::usage(format!("`follow_redirects: {other}` is not supported"))),
        };
        let method = self.method.as_ref().map_or("GET", Text::as_str).to_ascii_uppercase();
        ask.method = method
            .parse()
            .map_err(|_| Error::usage(format!("`method`: `{method}` cannot be the method of a request")))?;
        Ok(ask)
    }

    fn wanted_status(&self) -> Result<Vec<u16>> {
        let Some(list) = &self.status_code else { return Ok(vec![200]) };
        let status = |text: &String| text.trim().parse().ok().filter(|status| (100..1000).contains(status));
        let wrong = |text: &String| Error::usage(format!("`status_code`: `{text}` is not a status"));
        list.0.iter().map(|text| status(text).ok_or_else(|| wrong(text))).collect()
    }
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
fn text_or_json(body: &Value) -> Result<String> {
    match body {
        Value::String(text) => Ok(text.clone()),
        other => Ok(serde_json::to_string(other)?),
    }
}

fn form(body: &Value) -> Result<String> {
    let pair = |name: &str, value: &Value| match value {
        Value::Array(values) => {
            values.iter().map(|value| format!("{}={}", encode_form(name), encode_form(&text_of(value)))).collect()
        }
        value => vec![format!("{}={}", encode_form(name), encode_form(&text_of(value)))],
    };
    match body {
        Value::String(text) => Ok(text.clone()),
        Value::Object(map) => Ok(map.iter().flat_map(|(name, value)| pair(name, value)).collect::<Vec<_>>().join("&")),
        Value::Array(pairs) => {
            let pairs = pairs.iter().map(|entry| match entry.as_array().map(Vec::as_slice) {
                Some([name, value]) => Ok(pair(&text_of(name), value)),
                _ => Err(Error::usage("`body`: a form is a mapping, or a list of pairs")),
            });
            Ok(pairs.collect::<Result<Vec<_>>>()?.concat().join("&"))
        }
        _ => Err(Error::usage("`body`: a form is a mapping, or a list of pairs")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{UriArguments, encode_form};

    #[test]
    fn what_is_not_done_is_refused_by_name() {
        for (name, value) in [
            ("use_proxy", json!(true)),
            ("follow_redirects", json!("urllib2")),
            ("body_format", json!("form-multipart")),
            ("timeout", json!("soon")),
            ("timeout", json!(1e300)),
            ("method", json!("GE T")),
            ("headers", json!({"X Y": "z"})),
            ("mode", json!("rw")),
            ("status_code", json!("200,many")),
            ("url", json!("ftp://x")),
        ] {
            let mut named = json!({"url": "http://x"});
            named[name] = value;
            let error = match UriArguments::read(named.as_object().unwrap()) {
                Ok(_) => panic!("`{name}` is accepted"),
                Err(error) => error.to_string(),
            };
            assert!(error.contains(name) || name == "url", "{error}");
        }
        let named = json!({"url": "http://x", "status_code": [200, "404"]});
        assert_eq!(UriArguments::read(named.as_object().unwrap()).unwrap().2, [200, 404]);
    }

    #[test]
    fn forms_are_encoded_as_browsers_do() {
        assert_eq!(encode_form("a b&c=\u{e9}~*"), "a+b%26c%3D%C3%A9~%2A");
    }
}
