//! `get_url`: a file that comes through the connection of the host, of which nothing is kept here.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::{
    HostRun, Place, TaskEnd, TaskScope,
    checksum::{Checksum, Digest},
    operate::not_written,
    uri::unanswered,
    web_arguments::{GetUrlArguments, file_arguments, file_name},
};
use crate::{
    error::{Error, Result},
    identity::random_text,
    modules::{self, Algorithm, Arguments, Probe, receive},
    playbook::{
        model::Task,
        web::{self, Ask},
    },
    remote::{CHANGE_LIMIT, Script, Sh, Transport, sh},
};

/// How long a list of checksums may be.
const CHECKSUMS_LIMIT: usize = 1 << 20;

impl HostRun<'_> {
    /// Fetches a file through the host's connection into a folder of its own on the host, and puts it in its place as `copy`
    /// would. A file that is there is fetched again only by `force`, or when its checksum is another one.
    pub(super) async fn get_url(
        &mut self, named: Map<String, Value>, task: &Arc<Task>, scope: &TaskScope,
    ) -> Result<TaskEnd> {
        let (arguments, ask, checksum) = match GetUrlArguments::read(&named) {
            Ok(read) => read,
            Err(error) => return Ok(TaskEnd::failed(format!("{}: {error}", task.mark))),
        };
        let dest = arguments.dest.0.clone();
        let place = self.place(task, scope)?;
        let ask = match self.web(&arguments.web, ask, &place).await? {
            Ok(ask) => ask,
            Err(error) => return Ok(TaskEnd::failed(format!("{}: {error}", task.mark))),
        };
        let check = self.checks_only(task, scope);
        let (url, name) = (ask.url.clone(), file_name(&ask.url));
        let algorithm = checksum.as_ref().map_or("sha256", |checksum| checksum.algorithm);
        let Some(known) = Algorithm::of(algorithm) else {
            return Ok(TaskEnd::failed(format!("`{algorithm}` is not a checksum algorithm")));
        };
        let seen = self.look(&place, "", &Probe::destination(&dest, &name, known), &[], task).await?;
        let out = seen.out();
        let mut lines = out.lines();
        let (Some(path), Some(present)) = (lines.next().map(str::to_owned), lines.next()) else {
            return Ok(TaskEnd::failed(unanswered(&seen)));
        };
        let connection = self.connection(&place).await?;
        let digest = match checksum.as_ref().map(|checksum| (checksum, &checksum.digest)) {
            None => None,
            Some((_, Digest::Known(digest))) => Some(digest.clone()),
            // In check mode nothing is sent, so the digest is not known.
            Some((_, Digest::At(_))) if check => Some(String::new()),
            Some((checksum, Digest::At(list))) => {
                let ask = Ask { url: list.clone(), ..ask.clone() };
                match listed(connection.as_ref(), ask, checksum, &name).await {
                    Ok(digest) => Some(digest),
                    Err(error) => return Ok(TaskEnd::failed(error.to_string())),
                }
            }
        };
        let current = match (present, &digest) {
            ("-", _) => false,
            (present, Some(digest)) => present == digest,
            (_, None) => !arguments.web.force.0,
        };
        let mut result =
            Map::from_iter([("url".to_owned(), url.as_str().into()), ("dest".to_owned(), path.as_str().into())]);
        let mut file = file_arguments(&named);
        let mut end = if current {
            file.remove("backup");
            if file.is_empty() {
                return Ok(TaskEnd { result, ..TaskEnd::default() });
            }
            file.insert("path".to_owned(), path.into());
            self.run_module("file", &file, &place, task, scope).await?
        } else if check {
            TaskEnd { changed: true, ..TaskEnd::default() }
        } else {
            file.insert("dest".to_owned(), path.as_str().into());
            let tmp = arguments.tmp_dest.as_ref().map_or("/var/tmp", |folder| folder.as_str().trim_end_matches('/'));
            let name_of_folder = format!("infra-{}", random_text(20)?);
            let into_folder = path != dest;
            let kept = receive(if tmp.is_empty() { "/" } else { tmp }, &name_of_folder, known);
            let fetched = self.download(ask, kept, digest.as_deref(), into_folder.then_some(&*name), &place);
            let put = match fetched.await {
                Ok(Err(why)) => Ok(TaskEnd::failed(why)),
                Ok(Ok(kept)) => {
                    file.insert("src".to_owned(), kept.into());
                    file.insert("remote_src".to_owned(), true.into());
                    result.insert("status_code".to_owned(), 200.into());
                    self.run_module("copy", &file, &place, task, scope).await
                }
                Err(error) => Err(error),
            };
            // Whatever happened, the folder goes.
            let removed = self
                .exec(&place, &[Script::change(sh!("rm -rf -- {0}", format!("{tmp}/{name_of_folder}")), CHANGE_LIMIT)])
                .await;
            let end = put?;
            removed?;
            end
        };
        end.result.extend(result);
        Ok(end)
    }

    /// Fetches a file onto the host by a script that keeps it and prints where; nothing of it is kept here. The file, or why it is
    /// not there.
    async fn download(
        &self, ask: Ask, kept: Sh, digest: Option<&str>, name: Option<&str>, place: &Place,
    ) -> Result<std::result::Result<String, String>> {
        let url = web::shown(&ask.url);
        let connection = self.connection(place).await?;
        let answer = match web::send(connection.as_ref(), ask).await {
            Ok(answer) if answer.status == 200 => answer,
            Ok(answer) => return Ok(Err(format!("`{url}` answered with status {}", answer.status))),
            Err(error) => return Ok(Err(error.to_string())),
        };
        let disposition = answer.header("content-disposition").unwrap_or_default();
        if let (Some(name), Some((_, other))) = (name, disposition.split_once("filename="))
            && other.trim_matches(['"', ' ', ';']) != name
        {
            return Ok(Err(format!("the server names the file {other}: give its whole path as `dest`")));
        }
        let (script, mut reader) = (Script::step(kept), answer.reader());
        let pour = connection.pour(place.user.as_deref(), &script, &mut reader);
        let pour = tokio::time::timeout(web::DOWNLOAD_TIME, self.attend(place, connection.as_ref(), pour));
        let output = match pour.await {
            Ok(Ok(output)) => output,
            Ok(Err(error)) => return Ok(Err(format!("`{url}` cannot be fetched: {error}"))),
            Err(_) => return Ok(Err(format!("`{url}` took longer than {} s", web::DOWNLOAD_TIME.as_secs()))),
        };
        if let Some(why) = not_written(&output, &url) {
            return Ok(Err(why));
        }
        let (wanted, out) = (digest.unwrap_or_default(), output.out());
        let Some((file, sum)) = out.trim_end().rsplit_once('\n') else { return Ok(Err(unanswered(&output))) };
        if !wanted.is_empty() && sum != wanted {
            return Ok(Err(format!("`{url}` has the checksum {sum}, not {wanted}")));
        }
        Ok(Ok(file.to_owned()))
    }

    /// Runs a module with arguments that are resolved already.
    async fn run_module(
        &mut self, name: &str, arguments: &Map<String, Value>, place: &Place, task: &Arc<Task>, scope: &TaskScope,
    ) -> Result<TaskEnd> {
        let module = modules::find(name).ok_or_else(|| Error::new(format!("`{name}` is no module")))?;
        match module.prepare(&Arguments { named: arguments, free_form: None, sources: scope }) {
            Ok(operation) => self.operate(operation.as_ref(), "", place, &[], task, scope).await,
            Err(error) => Ok(TaskEnd::failed(format!("{}: {error}", task.mark))),
        }
    }
}

/// The digest of a file from a list at another address.
async fn listed(connection: &dyn Transport, ask: Ask, checksum: &Checksum, name: &str) -> Result<String> {
    let url = web::shown(&ask.url);
    let mut answer = web::send(connection, ask).await?;
    if answer.status != 200 {
        return Err(Error::new(format!("`{url}` answered with status {}", answer.status)));
    }
    let body = answer.read(CHECKSUMS_LIMIT).await?;
    checksum.find(&String::from_utf8_lossy(&body), name)
}
