//! The arguments of `uri` and `get_url`, and the request that they make.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{
    error::{Error, Result},
    modules::{self, Flag, List, Text},
    playbook::web::{Ask, Follow, Login},
    template::text_of,
};

/// The arguments of both; which of them an action takes stands in its table.
#[derive(Deserialize)]
pub(super) struct WebArguments {
    pub(super) url: Text,
    pub(super) method: Option<Text>,
    pub(super) body: Option<Value>,
    pub(super) body_format: Option<Text>,
    #[serde(default)]
    pub(super) headers: Map<String, Value>,
    pub(super) status_code: Option<List>,
    #[serde(default)]
    pub(super) return_content: Flag,
    pub(super) validate_certs: Option<Flag>,
    pub(super) timeout: Option<Text>,
    #[serde(alias = "user", alias = "username")]
    pub(super) url_username: Option<Text>,
    #[serde(alias = "password")]
    pub(super) url_password: Option<Text>,
    #[serde(default)]
    pub(super) force_basic_auth: Flag,
    pub(super) follow_redirects: Option<Text>,
    pub(super) creates: Option<Text>,
    pub(super) removes: Option<Text>,
    pub(super) dest: Option<Text>,
    pub(super) ca_path: Option<Text>,
    pub(super) http_agent: Option<Text>,
    pub(super) use_proxy: Option<Flag>,
    #[serde(default)]
    pub(super) force: Flag,
    pub(super) checksum: Option<Text>,
    pub(super) sha256sum: Option<Text>,
    pub(super) tmp_dest: Option<Text>,
}

/// The arguments that say how a file is written, among all of them.
pub(super) fn file_arguments(named: &Map<String, Value>) -> Map<String, Value> {
    let of_file = |name: &str| matches!(name, "mode" | "owner" | "group" | "backup");
    named.iter().filter(|(name, _)| of_file(name)).map(|(name, value)| (name.clone(), value.clone())).collect()
}

impl WebArguments {
    pub(super) fn read(named: &Map<String, Value>) -> Result<Self> {
        let known: Map<String, Value> = named
            .iter()
            .filter(|(name, _)| !matches!(name.as_str(), "mode" | "owner" | "group" | "backup"))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        let arguments: Self = modules::read(&known)?;
        if arguments.use_proxy.is_some_and(|wanted| wanted.0) {
            return Err(Error::usage(
                "`use_proxy: true` is not supported: requests go through the connection of the host, and through no proxy",
            ));
        }
        Ok(arguments)
    }

    pub(super) fn ask(&self, timeout: Duration) -> Result<Ask> {
        let mut headers: Vec<(String, String)> =
            self.headers.iter().map(|(name, value)| (name.clone(), text_of(value))).collect();
        let format = self.body_format.as_ref().map_or("raw", Text::as_str);
        let (body, kind) = match (&self.body, format) {
            (None, "raw" | "json" | "form-urlencoded") => (String::new(), None),
            (Some(body), "raw") => (text_or_json(body)?, None),
            (Some(body), "json") => (text_or_json(body)?, Some("application/json")),
            (Some(body), "form-urlencoded") => (form(body)?, Some("application/x-www-form-urlencoded")),
            (_, other) => return Err(Error::usage(format!("`body_format: {other}` is not supported"))),
        };
        let has = |headers: &[(String, String)], wanted: &str| {
            headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(wanted))
        };
        if let Some(kind) = kind.filter(|_| !has(&headers, "content-type")) {
            headers.push(("Content-Type".to_owned(), kind.to_owned()));
        }
        if let Some(agent) = self.http_agent.as_ref().filter(|_| !has(&headers, "user-agent")) {
            headers.push(("User-Agent".to_owned(), agent.0.clone()));
        }
        if self.force.0 && !has(&headers, "cache-control") {
            headers.push(("Cache-Control".to_owned(), "no-cache".to_owned()));
        }
        let follow = match self.follow_redirects.as_ref().map_or("safe", Text::as_str).to_ascii_lowercase().as_str() {
            "safe" => Follow::Safe,
            "all" | "yes" | "true" => Follow::Always,
            "none" | "no" | "false" => Follow::Never,
            other => return Err(Error::usage(format!("`follow_redirects: {other}` is not supported"))),
        };
        let login = self.url_username.as_ref().map(|user| Login {
            user: user.0.clone(),
            password: self.url_password.as_ref().map(|password| password.0.clone()).unwrap_or_default(),
            at_once: self.force_basic_auth.0,
        });
        Ok(Ask {
            method: self.method.as_ref().map_or("GET", Text::as_str).to_ascii_uppercase(),
            url: self.url.0.clone(),
            headers,
            body: body.into(),
            verify: self.validate_certs.is_none_or(|wanted| wanted.0),
            authorities: Vec::new(),
            follow,
            timeout: self.timeout.as_ref().map_or(Ok(timeout), |text| seconds("timeout", text.as_str()))?,
            login,
        })
    }

    pub(super) fn wanted_status(&self) -> Result<Vec<u16>> {
        let Some(list) = &self.status_code else { return Ok(vec![200]) };
        let status = |text: &String| text.trim().parse().ok().filter(|status| (100..1000).contains(status));
        let wrong = |text: &String| Error::usage(format!("`status_code`: `{text}` is not a status"));
        list.0.iter().map(|text| status(text).ok_or_else(|| wrong(text))).collect()
    }
}

/// A number of seconds, as it may be slept.
pub(super) fn seconds(name: &str, text: &str) -> Result<Duration> {
    let number = text.trim().parse::<f64>().ok().filter(|number| (0.0..=31_536_000.0).contains(number));
    let number =
        number.ok_or_else(|| Error::usage(format!("`{name}`: `{text}` is not a number of seconds of a year")))?;
    Ok(Duration::from_secs_f64(number))
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
            values.iter().map(|value| format!("{}={}", encode(name), encode(&text_of(value)))).collect()
        }
        value => vec![format!("{}={}", encode(name), encode(&text_of(value)))],
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

fn encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
            b' ' => "+".to_owned(),
            other => format!("%{other:02X}"),
        })
        .collect()
}

/// The last part of an address: the name of a file in a folder.
pub(super) fn file_name(url: &str) -> String {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    let path = path.split_once("://").map_or(path, |(_, rest)| rest);
    match path.split('/').skip(1).last() {
        None | Some("" | "." | "..") => "index.html".to_owned(),
        Some(name) => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{WebArguments, file_name, seconds};

    fn arguments(value: Value) -> crate::error::Result<WebArguments> {
        WebArguments::read(value.as_object().unwrap())
    }

    #[test]
    fn what_is_not_done_is_refused_by_name() {
        for (name, value) in [
            ("use_proxy", json!(true)),
            ("follow_redirects", json!("urllib2")),
            ("body_format", json!("form-multipart")),
            ("timeout", json!("soon")),
            ("timeout", json!(1e300)),
        ] {
            let read = arguments(json!({"url": "http://x", name: value}));
            let error = match read.and_then(|read| read.ask(std::time::Duration::ZERO)) {
                Ok(_) => panic!("`{name}` is accepted"),
                Err(error) => error.to_string(),
            };
            assert!(error.contains(name), "{error}");
        }
        assert!(arguments(json!({"url": "http://x", "status_code": "200,many"})).unwrap().wanted_status().is_err());
        assert_eq!(
            arguments(json!({"url": "http://x", "status_code": [200, "404"]})).unwrap().wanted_status().unwrap(),
            [200, 404]
        );
        assert!(seconds("x", "inf").is_err() && seconds("x", "-1").is_err());
    }

    #[test]
    fn a_file_has_the_last_name_of_its_address() {
        for (url, name) in [
            ("http://x/a/b.tar?c=/d", "b.tar"),
            ("http://x", "index.html"),
            ("http://x/a/", "index.html"),
            ("http://x/..", "index.html"),
        ] {
            assert_eq!(file_name(url), name);
        }
    }
}
