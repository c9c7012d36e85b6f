//! The arguments of `uri` and `get_url`, and the request that they make.

use std::time::Duration;

use bytes::Bytes;
use hyper::{
    Method,
    header::{HeaderName, HeaderValue},
};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::checksum::Checksum;
use crate::{
    encoding::encode_form,
    error::{Error, Result},
    modules::{self, FileCopy, Flag, List, Text},
    playbook::web::{self, Ask, Follow, Login},
    template::text_of,
};

/// What `uri` and `get_url` have in common.
#[derive(Deserialize)]
pub(super) struct WebArguments {
    url: Text,
    #[serde(default)]
    headers: Map<String, Value>,
    validate_certs: Option<Flag>,
    timeout: Option<Text>,
    #[serde(alias = "user", alias = "username")]
    url_username: Option<Text>,
    #[serde(alias = "password")]
    url_password: Option<Text>,
    #[serde(default)]
    force_basic_auth: Flag,
    pub(super) ca_path: Option<Text>,
    http_agent: Option<Text>,
    use_proxy: Option<Flag>,
    #[serde(default)]
    pub(super) force: Flag,
}

/// The arguments of `uri`.
#[derive(Deserialize)]
pub(super) struct UriArguments {
    #[serde(flatten)]
    pub(super) web: WebArguments,
    method: Option<Text>,
    body: Option<Value>,
    body_format: Option<Text>,
    status_code: Option<List>,
    #[serde(default)]
    pub(super) return_content: Flag,
    follow_redirects: Option<Text>,
    pub(super) creates: Option<Text>,
    pub(super) removes: Option<Text>,
    pub(super) dest: Option<Text>,
}

/// The arguments of `get_url`.
#[derive(Deserialize)]
pub(super) struct GetUrlArguments {
    #[serde(flatten)]
    pub(super) web: WebArguments,
    pub(super) dest: Text,
    pub(super) checksum: Option<Text>,
    pub(super) sha256sum: Option<Text>,
    pub(super) tmp_dest: Option<Text>,
}

/// The arguments of both that say how a file is written: `copy` and `file` read them.
const OF_FILE: &[&str] = &["mode", "owner", "group", "backup"];

/// The arguments that say how a file is written, among all of them.
pub(super) fn file_arguments(named: &Map<String, Value>) -> Map<String, Value> {
    let of_file = named.iter().filter(|(name, _)| OF_FILE.contains(&name.as_str()));
    of_file.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// How the arguments say that a file is written.
pub(super) fn file(named: &Map<String, Value>) -> Result<FileCopy> {
    modules::read(&file_arguments(named))
}

impl UriArguments {
    /// The arguments, the request that they make, and the statuses that are no failure.
    pub(super) fn read(named: &Map<String, Value>) -> Result<(Self, Ask, Vec<u16>)> {
        let arguments: Self = modules::read(named)?;
        file(named)?;
        let wanted = arguments.wanted_status()?;
        let ask = arguments.ask()?;
        Ok((arguments, ask, wanted))
    }

    fn ask(&self) -> Result<Ask> {
        let mut ask = self.web.ask(Duration::from_secs(30))?;
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

impl GetUrlArguments {
    /// The arguments, the request that they make, and the checksum that the file must have.
    pub(super) fn read(named: &Map<String, Value>) -> Result<(Self, Ask, Option<Checksum>)> {
        let arguments: Self = modules::read(named)?;
        file(named)?;
        let checksum = Checksum::read(arguments.checksum.as_ref(), arguments.sha256sum.as_ref())?;
        let ask = arguments.web.ask(Duration::from_secs(10))?;
        Ok((arguments, ask, checksum))
    }
}

fn has(headers: &[(String, String)], wanted: &str) -> bool {
    headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(wanted))
}

impl WebArguments {
    /// A request without a body that only reads, with this limit where the arguments name none.
    fn ask(&self, timeout: Duration) -> Result<Ask> {
        if self.use_proxy.is_some_and(|wanted| wanted.0) {
            return Err(Error::usage(
                "`use_proxy: true` is not supported: requests go through the connection of the host, and through no proxy",
            ));
        }
        let mut headers: Vec<(String, String)> =
            self.headers.iter().map(|(name, value)| (name.clone(), text_of(value))).collect();
        if let Some(agent) = self.http_agent.as_ref().filter(|_| !has(&headers, "user-agent")) {
            headers.push(("User-Agent".to_owned(), agent.0.clone()));
        }
        if self.force.0 && !has(&headers, "cache-control") {
            headers.push(("Cache-Control".to_owned(), "no-cache".to_owned()));
        }
        for (name, value) in &headers {
            if name.parse::<HeaderName>().is_err() || HeaderValue::from_str(value).is_err() {
                return Err(Error::usage(format!("`headers`: `{name}` cannot be sent as it is written")));
            }
        }
        let login = self.url_username.as_ref().map(|user| Login {
            user: user.0.clone(),
            password: self.url_password.as_ref().map(|password| password.0.clone()).unwrap_or_default(),
            at_once: self.force_basic_auth.0,
        });
        let timeout = self.timeout.as_ref().map_or(Ok(timeout), |text| seconds("timeout", text.as_str()))?;
        web::parse(self.url.as_str())?;
        Ok(Ask {
            method: Method::GET,
            url: self.url.0.clone(),
            headers,
            body: Bytes::new(),
            verify: self.validate_certs.is_none_or(|wanted| wanted.0),
            authorities: Vec::new(),
            follow: Follow::Safe,
            timeout,
            login,
        })
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
    use serde_json::json;

    use super::{GetUrlArguments, UriArguments, encode_form, file_name, seconds};

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
        let named = json!({"url": "http://x", "dest": "/x", "checksum": "sha3:00"});
        assert!(GetUrlArguments::read(named.as_object().unwrap()).is_err());
        assert!(seconds("x", "inf").is_err() && seconds("x", "-1").is_err());
    }

    #[test]
    fn forms_are_encoded_as_browsers_do() {
        assert_eq!(encode_form("a b&c=\u{e9}~*"), "a+b%26c%3D%C3%A9~%2A");
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
