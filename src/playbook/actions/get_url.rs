//! `get_url`: a file that comes through the connection of the host, of which nothing is kept here.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Map, Value};

use super::{
    Action, Given,
    checksum::{Checksum, Digest},
    web_arguments::{WebArguments, file_name},
};
use crate::{
    error::{Error, Result},
    identity::random_text,
    modules::{self, Algorithm, Argument, Call, Declared, Exclusive, FetchedFile, Probe, Text, receive},
    playbook::{
        connection::Place,
        host::context::{Context, Stop, not_written},
        questions::unanswered,
        task_end::TaskEnd,
        web::{self, Ask},
    },
    remote::{CHANGE_LIMIT, Script, Sh, Transport, sh},
};

pub(super) struct GetUrl;

modules::arguments! {
    pub(super) struct GetUrlArguments {
        #[serde(flatten)]
        web: WebArguments,
        #[serde(alias = "username")]
        url_username: Option<Text>,
        /// The file or the folder of the host.
        dest: Text,
        /// `sha256:` and a digest, or the address of a list of digests.
        checksum: Option<Text>,
        sha256sum: Option<Text>,
        /// The folder of the host in which the file is kept until it is complete.
        tmp_dest: Option<Text>,
        #[serde(flatten)]
        file: FetchedFile,
    }
}

impl GetUrlArguments {
    /// The arguments, the request that they make, and the checksum that the file must have.
    pub(super) fn read(named: &Map<String, Value>) -> Result<(Self, Ask, Option<Checksum>)> {
        let arguments: Self = modules::read(named)?;
        arguments.file.check()?;
        let checksum = Checksum::read(arguments.checksum.as_ref(), arguments.sha256sum.as_ref())?;
        let ask = arguments.web.ask(Duration::from_secs(10), arguments.url_username.as_ref())?;
        Ok((arguments, ask, checksum))
    }
}

impl Call for GetUrl {
    fn name(&self) -> &'static str {
        "get_url"
    }

    fn about(&self) -> &'static str {
        "Fetches a file over HTTP onto the host. One that is there is fetched again with `force`, or when its checksum is another one."
    }

    fn arguments(&self) -> &'static [Argument] {
        GetUrlArguments::ARGUMENTS
    }

    fn exclusive(&self) -> &'static [Exclusive] {
        &[&[&["checksum"], &["sha256sum"]]]
    }
}

/// How long a list of checksums may be.
const CHECKSUMS_LIMIT: usize = 1 << 20;

#[async_trait]
impl Action for GetUrl {
    fn check(&self, named: &Map<String, Value>) -> Result<()> {
        GetUrlArguments::read(named).map(drop)
    }

    fn keeps_answers(&self) -> bool {
        true
    }

    /// Fetches a file through the host's connection into a folder of its own on the host, and puts it in its place as `copy`
    /// would.
    async fn run(&self, context: &mut Context<'_, '_>, given: Given) -> Result<TaskEnd, Stop> {
        let (arguments, ask, checksum) = GetUrlArguments::read(&given.named)?;
        let dest = arguments.dest.0.clone();
        let place = context.place()?;
        let ask = arguments.web.trusted(context, ask, &place).await?;
        let check = context.checks_only();
        let (url, name) = (ask.url.clone(), file_name(&ask.url));
        let algorithm = checksum.as_ref().map_or("sha256", |checksum| checksum.algorithm);
        let Some(known) = Algorithm::of(algorithm) else {
            return Ok(TaskEnd::failed(format!("`{algorithm}` is not a checksum algorithm")));
        };
        let seen = context.look(&place, &Probe::destination(&dest, &name, known)).await?;
        let out = seen.out();
        let mut lines = out.lines();
        let (Some(path), Some(present)) = (lines.next().map(str::to_owned), lines.next()) else {
            return Ok(TaskEnd::failed(unanswered(&seen)));
        };
        let digest = match checksum {
            None => None,
            // In check mode nothing is sent, so a digest in a list is not known.
            Some(Checksum { digest: Digest::At(_), .. }) if check => Some(String::new()),
            Some(checksum) => match wanted(context, checksum, &ask, &name, &place).await? {
                Ok(digest) => Some(digest),
                Err(error) => return Ok(TaskEnd::failed(error.to_string())),
            },
        };
        let current = match (present, &digest) {
            ("-", _) => false,
            (present, Some(digest)) => present == digest,
            (_, None) => !arguments.web.force.0,
        };
        let mut result =
            Map::from_iter([("url".to_owned(), url.as_str().into()), ("dest".to_owned(), path.as_str().into())]);
        let mut end = if current {
            match arguments.file.change(&path) {
                Some(operation) => context.operate(operation.as_ref(), &place).await?,
                None => TaskEnd::default(),
            }
        } else if check {
            TaskEnd { changed: true, ..TaskEnd::default() }
        } else {
            let fetched =
                Fetched { arguments: &arguments, algorithm: known, digest, name: (path != dest).then_some(name) };
            let (end, is_here) = fetched.put(context, ask, &path, &place).await?;
            result.extend(is_here.then(|| ("status_code".to_owned(), 200.into())));
            end
        };
        end.result.extend(result);
        Ok(end)
    }
}

/// The digest that a file must have.
async fn wanted(
    context: &Context<'_, '_>, checksum: Checksum, ask: &Ask, name: &str, place: &Place,
) -> Result<Result<String>, Stop> {
    let list = match &checksum.digest {
        Digest::Known(digest) => return Ok(Ok(digest.clone())),
        Digest::At(list) => list.clone(),
    };
    let connection = context.connection(place).await?;
    Ok(listed(connection.as_ref(), Ask { url: list, ..ask.clone() }, &checksum, name).await)
}

/// A file that is fetched.
struct Fetched<'a> {
    arguments: &'a GetUrlArguments,
    algorithm: Algorithm,
    /// What it must have.
    digest: Option<String>,
    /// Its name, where `dest` is a folder.
    name: Option<String>,
}

impl Fetched<'_> {
    /// Fetches it into a folder of its own on the host, and puts it in its place; and whether it came.
    async fn put(
        self, context: &mut Context<'_, '_>, ask: Ask, path: &str, place: &Place,
    ) -> Result<(TaskEnd, bool), Stop> {
        let tmp = self.arguments.tmp_dest.as_ref().map_or("/var/tmp", |folder| folder.as_str().trim_end_matches('/'));
        let folder = format!("infra-{}", random_text(20)?);
        let kept = receive(if tmp.is_empty() { "/" } else { tmp }, &folder, self.algorithm);
        let put = match download(context, ask, kept, self.digest.as_deref(), self.name.as_deref(), place).await {
            Ok(Err(why)) => Ok((TaskEnd::failed(why), false)),
            Ok(Ok(kept)) => {
                let operation = modules::copy_on_host(&kept, path, &self.arguments.file.copy());
                context.operate(operation.as_ref(), place).await.map(|end| (end, true))
            }
            Err(error) => Err(error),
        };
        // Whatever happened, the folder goes.
        let script = Script::change(sh!("rm -rf -- {0}", format!("{tmp}/{folder}")), CHANGE_LIMIT);
        let removed = context.exec(place, &[script]).await;
        let put = put?;
        removed?;
        Ok(put)
    }
}

/// Fetches a file onto the host by a script that keeps it and prints where; nothing of it is kept here. The file, or why it is
/// not there.
async fn download(
    context: &Context<'_, '_>, ask: Ask, kept: Sh, digest: Option<&str>, name: Option<&str>, place: &Place,
) -> Result<std::result::Result<String, String>, Stop> {
    let url = web::shown(&ask.url);
    let connection = context.connection(place).await?;
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
    let pour = tokio::time::timeout(web::DOWNLOAD_TIME, context.attend(place, connection.as_ref(), pour));
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
