//! Parts of paths and of addresses.

use minijinja::{Error, Value};

use super::{Answer, defined, list, text, wrong};
use crate::template::lazy;

pub(super) fn basename(path: String) -> String {
    path.rsplit('/').next().unwrap_or_default().to_owned()
}

pub(super) fn dirname(path: String) -> String {
    match path.rsplit_once('/') {
        Some(("", _)) => "/".to_owned(),
        Some((folder, _)) => folder.to_owned(),
        None => String::new(),
    }
}

pub(super) fn splitext(path: String) -> Value {
    let name = path.rsplit('/').next().unwrap_or_default();
    let dot = name.rfind('.').filter(|at| !name[..*at].trim_start_matches('.').is_empty());
    let at = dot.map_or(path.len(), |at| path.len() - name.len() + at);
    Value::from(vec![path[..at].to_owned(), path[at..].to_owned()])
}

pub(super) fn urlencode(value: &Value) -> Result<String, Error> {
    minijinja::filters::urlencode(defined(value)?)
}

pub(super) fn path_join(value: &Value) -> Answer {
    let parts = list(value)?;
    let mut joined = std::path::PathBuf::new();
    for part in &parts {
        joined.push(text(part)?);
    }
    Ok(Value::from(joined.display().to_string()))
}

pub(super) fn urlsplit(url: String, part: Option<String>) -> Answer {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", &url));
    let (rest, fragment) = rest.split_once('#').unwrap_or((rest, ""));
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (netloc, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    let (user, host) = netloc.rsplit_once('@').unwrap_or(("", netloc));
    let (hostname, port) = host.rsplit_once(':').map_or((host, None), |(name, port)| (name, port.parse::<u16>().ok()));
    let parts = serde_json::json!({
        "scheme": scheme, "netloc": netloc, "path": path, "query": query, "fragment": fragment,
        "username": user.split(':').next(), "hostname": hostname, "port": port,
    });
    match part {
        None => Ok(lazy::from_json(&parts)),
        Some(name) => parts.get(&name).map(lazy::from_json).ok_or_else(|| wrong(format!("urlsplit: no part `{name}`"))),
    }
}
