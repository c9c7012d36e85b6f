//! The arguments that `uri` and `get_url` have in common, and the request that they make.

use std::time::Duration;

use bytes::Bytes;
use hyper::{
    Method,
    header::{HeaderName, HeaderValue},
};
use serde_json::{Map, Value};

use crate::{
    error::{Error, Result},
    modules::{self, Flag, Text},
    playbook::{
        connection::Place,
        host::context::{Context, Stop},
        questions,
        web::{self, Ask, Follow, Login},
    },
    template::text_of,
};

modules::arguments! {
    /// What `uri` and `get_url` have in common.
    pub(super) struct WebArguments {
        pub(super) url: Text,
        #[serde(default)]
        headers: Map<String, Value>,
        validate_certs: Option<Flag>,
        /// In seconds.
        timeout: Option<Text>,
        #[serde(alias = "password")]
        url_password: Option<Text>,
        /// Whether the login is sent before it is asked for.
        #[serde(default)]
        force_basic_auth: Flag,
        /// The certificate authorities to trust, in a file of the host.
        pub(super) ca_path: Option<Text>,
        http_agent: Option<Text>,
        use_proxy: Option<Flag>,
        #[serde(default)]
        pub(super) force: Flag,
    }
}

pub(super) fn has(headers: &[(String, String)], wanted: &str) -> bool {
    headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(wanted))
}

impl WebArguments {
    /// A request with the authorities that it trusts, which are files on the host.
    pub(super) async fn trusted(&self, context: &Context<'_, '_>, mut ask: Ask, place: &Place) -> Result<Ask, Stop> {
        if let Some(path) = &self.ca_path {
            let answer = context.ask(place, questions::content(path.as_str())).await?;
            if !answer.succeeded() {
                let why = answer.failure.clone().unwrap_or_else(|| answer.err().trim().to_owned());
                return Err(Error::new(format!("`ca_path` cannot be read: {why}")).into());
            }
            ask.authorities.push(answer.out());
        }
        Ok(ask)
    }

    /// A request without a body that only reads, with this limit where the arguments name none, and as this user.
    pub(super) fn ask(&self, timeout: Duration, user: Option<&Text>) -> Result<Ask> {
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
        let login = user.map(|user| Login {
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
    use super::{file_name, seconds};

    #[test]
    fn a_time_is_a_number_of_seconds() {
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
