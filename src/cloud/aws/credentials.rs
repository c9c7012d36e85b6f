//! Who calls: the variables, the shared files with their profiles (keys, assumed roles, single sign-on), the container's or
//! the machine's metadata service, in the order of Amazon's own tools.
//!
//! Source: <https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html>.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;
use tokio::sync::Mutex;

use crate::{
    clock::Clock,
    encoding,
    error::{Context, Error, Result, did_you_mean},
    event, files,
    secret::Secret,
};

/// Keys are replaced this long before they expire, in seconds.
const MARGIN: i64 = 5 * 60;
/// The metadata service of a machine.
const METADATA: &str = "http://169.254.169.254";
/// The metadata service of a container.
const CONTAINER: &str = "http://169.254.170.2";
/// How deep profiles may refer to each other.
const DEPTH: u32 = 5;

/// A pair of keys.
#[derive(Clone, Debug)]
pub struct Keys {
    /// The access key's id.
    pub id: String,
    /// The secret key.
    pub secret: Secret,
    /// The token of a session, when the keys are temporary.
    pub session: Option<Secret>,
    /// When they expire, in seconds since the epoch.
    pub expires: Option<i64>,
}

/// Profiles by name, with their settings.
type Profiles = BTreeMap<String, BTreeMap<String, String>>;

/// The variables and files that tell who calls; tests give their own.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// Variables, by name.
    pub variables: BTreeMap<String, String>,
    /// The home folder.
    pub home: Option<PathBuf>,
    /// The profile, when the file names one.
    pub profile: Option<String>,
    /// Where the file names it, for messages.
    pub place: Option<String>,
}

/// The variables that matter.
const VARIABLES: &[&str] = &[
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_PROFILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_CONFIG_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_EC2_METADATA_DISABLED",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_EC2",
    "AWS_ENDPOINT_URL_S3",
    "AWS_ENDPOINT_URL_SSM",
    "AWS_ENDPOINT_URL_STS",
    "AWS_ENDPOINT_URL_SSO",
    "AWS_ENDPOINT_URL_ELASTIC_LOAD_BALANCING_V2",
];

impl Sources {
    /// Those of this process.
    #[must_use]
    pub fn of_process(profile: Option<String>) -> Self {
        #[expect(clippy::disallowed_methods, reason = "the variables that every tool of this cloud honours")]
        let read = |name: &&str| Some(((*name).to_owned(), std::env::var(name).ok().filter(|v| !v.is_empty())?));
        Self {
            variables: VARIABLES.iter().filter_map(read).collect(),
            home: std::env::home_dir(),
            profile,
            place: None,
        }
    }

    /// A variable.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    fn profile_name(&self) -> &str {
        self.profile.as_deref().or_else(|| self.variable("AWS_PROFILE")).unwrap_or("default")
    }

    /// The profile that the file or `AWS_PROFILE` names, and where. It may be none.
    fn named_profile(&self) -> Option<(&str, &str)> {
        let place = self.place.as_deref().unwrap_or("`aws.profile`");
        let own = self.profile.as_deref().map(|name| (name, place));
        own.or_else(|| Some((self.variable("AWS_PROFILE")?, "AWS_PROFILE")))
    }

    /// The files that hold profiles, each with what stands before the name of a profile there.
    fn files(&self) -> Vec<(PathBuf, &'static str)> {
        let files = [("AWS_CONFIG_FILE", "config", "profile "), ("AWS_SHARED_CREDENTIALS_FILE", "credentials", "")];
        let path = |(variable, usual, prefix): (&str, &str, &'static str)| match (self.variable(variable), &self.home) {
            (Some(path), _) => Some((PathBuf::from(path), prefix)),
            (None, Some(home)) => Some((home.join(".aws").join(usual), prefix)),
            (None, None) => None,
        };
        files.into_iter().filter_map(path).collect()
    }

    /// A profile that is named and that no file has.
    fn unknown_profile(&self, name: &str, place: &str, profiles: &Profiles) -> Error {
        let shown = |path: &Path| match self.home.as_ref().and_then(|home| path.strip_prefix(home).ok()) {
            Some(rest) => format!("`~/{}`", rest.display()),
            None => format!("`{}`", path.display()),
        };
        let files: Vec<String> = self.files().iter().map(|(path, _)| shown(path)).collect();
        let known = profiles.keys().filter(|name| !name.starts_with("sso-session ")).map(String::as_str);
        let hint = match did_you_mean(name, known.clone()) {
            Some(close) => format!("did you mean `{close}`?"),
            None if known.clone().next().is_none() => {
                format!("there is none at all; `aws configure --profile {name}` makes one")
            }
            None => format!("there are: {}", known.collect::<Vec<_>>().join(", ")),
        };
        Error::usage(format!("aws: the profile `{name}` ({place}) is not in {}", files.join(" or "))).hint(hint)
    }

    /// Profiles of both files, by name: keys of the credentials file win over those of the configuration.
    fn profiles(&self) -> Result<Profiles> {
        let mut profiles = Profiles::new();
        for (path, prefix) in self.files() {
            if path.is_file() {
                for (section, pairs) in sections(&files::read_text(&path)?) {
                    let name = section.strip_prefix(prefix).unwrap_or(&section).trim().to_owned();
                    profiles.entry(name).or_default().extend(pairs);
                }
            }
        }
        Ok(profiles)
    }

    /// A setting of the profile, such as `region`.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn setting(&self, name: &str) -> Result<Option<String>> {
        Ok(self.profiles()?.get(self.profile_name()).and_then(|profile| profile.get(name)).cloned())
    }
}

/// The sections of a file in the form of `~/.aws/config`, with their pairs.
fn sections(text: &str) -> Vec<(String, BTreeMap<String, String>)> {
    let mut sections: Vec<(String, BTreeMap<String, String>)> = Vec::new();
    for line in text.lines() {
        let indented = line.starts_with([' ', '\t']);
        let line = line.split(" #").next().unwrap_or_default().trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            sections.push((name.trim().to_owned(), BTreeMap::new()));
        } else if let (Some((_, pairs)), Some((key, value)), false) =
            (sections.last_mut(), line.split_once('='), indented)
        {
            pairs.insert(key.trim().to_owned(), value.trim().to_owned());
        }
    }
    sections
}

/// The present keys: had once, however many calls wait for them.
pub(super) struct Chain {
    sources: Sources,
    present: Mutex<Option<Keys>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Served {
    access_key_id: String,
    secret_access_key: Secret,
    token: Secret,
    expiration: jiff::Timestamp,
}

impl From<Served> for Keys {
    fn from(served: Served) -> Self {
        Self {
            id: served.access_key_id,
            secret: served.secret_access_key,
            session: Some(served.token),
            expires: Some(served.expiration.as_second()),
        }
    }
}

impl Chain {
    pub(super) fn new(sources: Sources) -> Self {
        Self { sources, present: Mutex::default() }
    }

    pub(super) async fn keys(&self, client: &super::Client) -> Result<Keys> {
        let mut present = event::waiting("credentials of AWS", self.present.lock()).await;
        let now = Clock::System.now().as_second();
        if let Some(keys) = present.as_ref().filter(|keys| keys.expires.is_none_or(|at| now + MARGIN < at)) {
            return Ok(keys.clone());
        }
        let keys = self.find(client).await?;
        *present = Some(keys.clone());
        Ok(keys)
    }

    async fn find(&self, client: &super::Client) -> Result<Keys> {
        let sources = &self.sources;
        if sources.profile.is_none()
            && let (Some(id), Some(secret)) =
                (sources.variable("AWS_ACCESS_KEY_ID"), sources.variable("AWS_SECRET_ACCESS_KEY"))
        {
            let session = sources.variable("AWS_SESSION_TOKEN").map(Secret::new);
            return Ok(Keys { id: id.to_owned(), secret: Secret::new(secret), session, expires: None });
        }
        let profiles = sources.profiles()?;
        if let Some((name, place)) = sources.named_profile()
            && !profiles.contains_key(name)
        {
            return Err(sources.unknown_profile(name, place, &profiles));
        }
        if profiles.contains_key(sources.profile_name())
            && let Some(keys) = Box::pin(self.of_profile(client, &profiles, sources.profile_name(), DEPTH)).await?
        {
            return Ok(keys);
        }
        let http = crate::cloud::metadata()?;
        let uri = match sources.variable("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") {
            Some(path) => Some(format!("{CONTAINER}{path}")),
            None => sources.variable("AWS_CONTAINER_CREDENTIALS_FULL_URI").map(str::to_owned),
        };
        if let Some(uri) = uri {
            let mut request = http.get(uri).timeout(Duration::from_secs(5));
            if let Some(token) = sources.variable("AWS_CONTAINER_AUTHORIZATION_TOKEN") {
                request = request.header("Authorization", token);
            }
            let served: Served = request.send().await?.error_for_status()?.json().await?;
            return Ok(served.into());
        }
        let found = if sources.variable("AWS_EC2_METADATA_DISABLED") == Some("true") {
            Err(Error::new("the metadata service is switched off"))
        } else {
            of_machine(&http).await
        };
        found.map_err(|error| {
            error.context("aws: no credentials are configured, and this machine has no role").hint(
                "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a profile: `aws: {profile: NAME}` or AWS_PROFILE",
            )
        })
    }

    /// The keys of a profile: its own, those of a role that another profile assumes, or those of single sign-on.
    async fn of_profile(
        &self, client: &super::Client, profiles: &Profiles, name: &str, depth: u32,
    ) -> Result<Option<Keys>> {
        let profile = profiles.get(name).ok_or_else(|| Error::usage(format!("aws: there is no profile `{name}`")))?;
        let value = |key: &str| profile.get(key).map(String::as_str);
        if depth == 0 {
            return Err(Error::usage(format!("aws: the profile `{name}` refers to itself")));
        }
        if let Some(role) = value("role_arn") {
            let base = match value("source_profile") {
                Some(source) if source != name => {
                    Box::pin(self.of_profile(client, profiles, source, depth - 1)).await?
                }
                _ => own_keys(profile),
            };
            let base =
                base.ok_or_else(|| Error::usage(format!("aws: the profile `{name}` names no keys to begin with")))?;
            return client.assume_role(&base, role, value("external_id")).await.map(Some);
        }
        if let Some(keys) = own_keys(profile) {
            return Ok(Some(keys));
        }
        match (value("sso_account_id"), value("sso_role_name")) {
            (Some(account), Some(role)) => self.of_sign_on(client, profiles, name, account, role).await.map(Some),
            _ => Ok(None),
        }
    }

    /// Keys for the token that `aws sso login` has left in its cache.
    async fn of_sign_on(
        &self, client: &super::Client, profiles: &Profiles, name: &str, account: &str, role: &str,
    ) -> Result<Keys> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Cached {
            access_token: Secret,
            expires_at: String,
        }
        let profile = &profiles[name];
        let session = profile.get("sso_session");
        let settings = session.and_then(|session| profiles.get(&format!("sso-session {session}"))).unwrap_or(profile);
        let incomplete = || Error::usage(format!("aws: the profile `{name}` has no `sso_start_url` and `sso_region`"));
        let start = settings.get("sso_start_url").ok_or_else(incomplete)?;
        let region = settings.get("sso_region").ok_or_else(incomplete)?;
        let home = self.sources.home.as_deref().unwrap_or_else(|| Path::new("/"));
        let digest: String = {
            use sha1::{Digest, Sha1};
            encoding::hex(&Sha1::digest(session.unwrap_or(start)))
        };
        let path = home.join(".aws/sso/cache").join(format!("{digest}.json"));
        let again = || format!("log in: `aws sso login --profile {name}`");
        let text = files::read_text(&path).map_err(|error| error.hint(again()))?;
        let cached: Cached = serde_json::from_str(&text).context(|| format!("`{}`", path.display()))?;
        let expired = cached.expires_at.parse::<jiff::Timestamp>().is_ok_and(|at| at < Clock::System.now());
        if expired {
            return Err(Error::usage(format!("aws: the login of the profile `{name}` has expired")).hint(again()));
        }
        client.role_credentials(region, &cached.access_token, account, role).await
    }
}

fn own_keys(profile: &BTreeMap<String, String>) -> Option<Keys> {
    Some(Keys {
        id: profile.get("aws_access_key_id")?.clone(),
        secret: Secret::new(profile.get("aws_secret_access_key")?.clone()),
        session: profile.get("aws_session_token").map(|token| Secret::new(token.clone())),
        expires: None,
    })
}

/// The role of the machine, from version 2 of its metadata service.
async fn of_machine(http: &reqwest::Client) -> Result<Keys> {
    let token = http.put(format!("{METADATA}/latest/api/token"));
    let token = token.header("X-aws-ec2-metadata-token-ttl-seconds", "300").timeout(Duration::from_secs(2));
    let token = token.send().await?.error_for_status()?.text().await?;
    let get = |path: String| {
        let request = http.get(format!("{METADATA}{path}")).header("X-aws-ec2-metadata-token", &token);
        async move { request.timeout(Duration::from_secs(5)).send().await?.error_for_status() }
    };
    let base = "/latest/meta-data/iam/security-credentials/";
    let role = get(base.to_owned()).await?.text().await?;
    let role = role.lines().next().unwrap_or_default().to_owned();
    let served: Served = get(format!("{base}{role}")).await?.json().await?;
    Ok(served.into())
}

#[cfg(test)]
mod tests {
    use super::{Sources, sections};

    #[test]
    fn both_files_make_one_profile() {
        let folder = tempfile::tempdir().unwrap();
        let aws = folder.path().join(".aws");
        std::fs::create_dir(&aws).unwrap();
        std::fs::write(
            aws.join("config"),
            "[default]\nregion = eu-central-1 # near\n[profile work]\nregion=us-east-2\n",
        )
        .unwrap();
        std::fs::write(aws.join("credentials"), "[work]\naws_access_key_id = A\naws_secret_access_key=B\n").unwrap();
        let sources =
            Sources { home: Some(folder.path().to_owned()), profile: Some("work".into()), ..Sources::default() };
        assert_eq!(sources.setting("region").unwrap().as_deref(), Some("us-east-2"));
        assert_eq!(sources.setting("aws_access_key_id").unwrap().as_deref(), Some("A"));
        let default = Sources { home: Some(folder.path().to_owned()), ..Sources::default() };
        assert_eq!(default.setting("region").unwrap().as_deref(), Some("eu-central-1"));
    }

    #[test]
    fn a_profile_that_no_file_has_is_named() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join(".aws")).unwrap();
        std::fs::write(folder.path().join(".aws/config"), "[profile work]\nregion = x\n[sso-session all]\n").unwrap();
        let home = Some(folder.path().to_owned());
        let sources =
            Sources { home, profile: Some("wrok".into()), place: Some("config.yaml:2:7".into()), ..Sources::default() };
        let (name, place) = sources.named_profile().unwrap();
        let error = sources.unknown_profile(name, place, &sources.profiles().unwrap());
        assert_eq!(
            error.to_string(),
            "aws: the profile `wrok` (config.yaml:2:7) is not in `~/.aws/config` or `~/.aws/credentials`"
        );
        assert_eq!(error.hints(), ["did you mean `work`?"]);
    }

    #[test]
    fn nested_settings_are_not_settings_of_the_profile() {
        let found = sections("[a]\ns3 =\n  region = x\nregion = y\n; comment\n");
        assert_eq!(found[0].1["region"], "y");
    }
}
