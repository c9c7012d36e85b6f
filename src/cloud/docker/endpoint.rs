//! Where an engine listens, as the variables and contexts of Docker's own client say it.
//!
//! Source: <https://docs.docker.com/reference/cli/docker/#environment-variables>,
//! <https://docs.docker.com/engine/manage-resources/contexts/>.

use std::{
    fmt,
    net::IpAddr,
    path::{Path, PathBuf},
};

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{
    encoding::hex,
    error::{Context, Error, Result},
};

/// Where an engine listens when nothing says otherwise.
const SOCKET: &str = "/var/run/docker.sock";

/// Where an engine listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// A Unix socket.
    Unix(PathBuf),
    /// Plain HTTP on this machine, as `http://127.0.0.1:2375`.
    Http(String),
    /// HTTP over TLS, with certificates for both sides.
    Https {
        /// The address, as `https://engine.example:2376`.
        base: String,
        /// The folder of `ca.pem`, `cert.pem` and `key.pem`.
        certificates: PathBuf,
    },
}

/// What the environment of a process says about its engine.
#[derive(Clone, Debug, Default)]
pub struct Variables {
    /// `DOCKER_HOST`.
    pub host: Option<String>,
    /// `DOCKER_CONTEXT`.
    pub context: Option<String>,
    /// Whether `DOCKER_TLS_VERIFY` is set to anything.
    pub tls: bool,
    /// `DOCKER_CERT_PATH`.
    pub certificates: Option<PathBuf>,
    /// `DOCKER_CONFIG`, or `~/.docker`.
    pub config: Option<PathBuf>,
}

impl Variables {
    /// Those of this process.
    #[must_use]
    pub fn of_process() -> Self {
        #[expect(clippy::disallowed_methods, reason = "the variables that every Docker client honours")]
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self {
            host: variable("DOCKER_HOST"),
            context: variable("DOCKER_CONTEXT"),
            tls: variable("DOCKER_TLS_VERIFY").is_some(),
            certificates: variable("DOCKER_CERT_PATH").map(PathBuf::from),
            config: variable("DOCKER_CONFIG")
                .map(PathBuf::from)
                .or_else(|| variable("HOME").map(|home| Path::new(&home).join(".docker"))),
        }
    }

    /// The folder of the certificates, when TLS is asked for.
    fn certificates(&self) -> Option<PathBuf> {
        self.tls.then(|| self.certificates.clone().or_else(|| self.config.clone()).unwrap_or_default())
    }
}

impl Endpoint {
    /// The engine that a file names, otherwise `DOCKER_HOST`, otherwise the context of Docker's client, otherwise the usual
    /// socket.
    ///
    /// # Errors
    /// When the address cannot be used: another scheme than `unix`, `tcp` or `http`, a connection over a network without TLS, or
    /// a context that does not exist.
    pub fn find(setting: Option<&str>, variables: &Variables) -> Result<Self> {
        if let Some(host) = setting.or(variables.host.as_deref()).filter(|host| !host.is_empty()) {
            return Self::parse(host, variables.certificates());
        }
        match variables.context.clone().or_else(|| current_context(variables.config.as_deref()?)) {
            Some(name) if name != "default" => of_context(&name, variables),
            _ => Ok(Self::Unix(SOCKET.into())),
        }
    }

    fn parse(host: &str, certificates: Option<PathBuf>) -> Result<Self> {
        let (scheme, address) = host.split_once("://").unwrap_or_default();
        let address = address.trim_end_matches('/');
        match (scheme, certificates) {
            ("unix", _) => Ok(Self::Unix(address.into())),
            ("tcp" | "http" | "https", Some(certificates)) => {
                Ok(Self::Https { base: format!("https://{}", with_port(address, 2376)), certificates })
            }
            ("tcp" | "http", None) if is_loopback(address) => Ok(Self::Http(format!("http://{}", with_port(address, 2375)))),
            ("tcp" | "http" | "https", None) => Err(Error::usage(format!(
                "the Docker Engine at `{host}` is on another machine, and the connection is not protected by TLS"
            ))
            .hint("anyone on the network path could read the keys of machines and use the engine as root")
            .hint("with TLS: set `DOCKER_TLS_VERIFY=1` and `DOCKER_CERT_PATH` to the folder of `ca.pem`, `cert.pem` and `key.pem`")
            .hint(
                "over SSH: `ssh -nNT -L /tmp/docker.sock:/var/run/docker.sock USER@HOST`, then \
                 `DOCKER_HOST=unix:///tmp/docker.sock`",
            )),
            ("ssh", _) => Err(Error::usage(format!("`{host}`: engines are not reached over SSH by infra itself")).hint(
                "forward the socket: `ssh -nNT -L /tmp/docker.sock:/var/run/docker.sock USER@HOST`, then \
                 `DOCKER_HOST=unix:///tmp/docker.sock`",
            )),
            _ => Err(Error::usage(format!("`{host}` is not the address of a Docker Engine"))
                .hint("write `unix:///path/to/docker.sock` or `tcp://host:port`")),
        }
    }

    /// The address alone, for messages.
    #[must_use]
    pub fn address(&self) -> String {
        match self {
            Self::Unix(path) => path.display().to_string(),
            Self::Http(base) | Self::Https { base, .. } => base.clone(),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Http(base) | Self::Https { base, .. } => f.write_str(base),
        }
    }
}

/// The host of `host:port`, where the host may be an IPv6 address in brackets.
fn host_of(address: &str) -> &str {
    match address.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, _)) => host,
        None => address.split(':').next().unwrap_or_default(),
    }
}

fn is_loopback(address: &str) -> bool {
    let host = host_of(address);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn with_port(address: &str, port: u16) -> String {
    let after = address.rsplit(']').next().unwrap_or_default();
    if after.contains(':') { address.to_owned() } else { format!("{address}:{port}") }
}

/// What `docker context use` has chosen.
fn current_context(config: &Path) -> Option<String> {
    let text = std::fs::read_to_string(config.join("config.json")).ok()?;
    let config: Value = serde_json::from_str(&text).ok()?;
    config.get("currentContext")?.as_str().filter(|name| !name.is_empty()).map(str::to_owned)
}

/// The engine of a context: its address, and its certificates where it has some.
fn of_context(name: &str, variables: &Variables) -> Result<Endpoint> {
    let folder = variables.config.clone().unwrap_or_default().join("contexts");
    let id = hex(&Sha256::digest(name.as_bytes()));
    let meta = folder.join("meta").join(&id).join("meta.json");
    let text = std::fs::read_to_string(&meta)
        .context(|| format!("the Docker context `{name}` cannot be read from `{}`", meta.display()))
        .map_err(|error| error.hint("`docker context ls` lists those that exist"))?;
    let meta: Value = serde_json::from_str(&text).context(|| format!("the Docker context `{name}` cannot be read"))?;
    let host = meta.pointer("/Endpoints/docker/Host").and_then(Value::as_str).unwrap_or_default();
    let certificates = Some(folder.join("tls").join(&id).join("docker")).filter(|folder| folder.is_dir());
    Endpoint::parse(host, certificates.or_else(|| variables.certificates()))
        .map_err(|error| error.at(&format!("the Docker context `{name}`")))
}

#[cfg(test)]
mod tests {
    use super::{Digest, Endpoint, Sha256, Variables, hex};

    fn found(host: &str, variables: &Variables) -> Result<String, String> {
        Endpoint::find(Some(host), variables).map(|endpoint| endpoint.to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn an_engine_on_another_machine_needs_tls() {
        let plain = Variables::default();
        for (host, means) in [
            ("unix:///run/user/1000/docker.sock", "unix:///run/user/1000/docker.sock"),
            ("tcp://127.0.0.1:2375", "http://127.0.0.1:2375"),
            ("tcp://localhost", "http://localhost:2375"),
            ("tcp://[::1]:2375", "http://[::1]:2375"),
        ] {
            assert_eq!(found(host, &plain).unwrap(), means);
        }
        for host in
            ["tcp://10.0.0.5:2375", "tcp://docker:2375", "http://[2001:db8::1]", "tcp://127.0.0.1.example.com:2375"]
        {
            let error = Endpoint::find(Some(host), &plain).unwrap_err();
            assert!(error.message().contains("not protected by TLS"), "{error}");
            assert!(error.hints().iter().any(|hint| hint.contains("DOCKER_TLS_VERIFY")), "{error}");
        }
        assert!(found("ftp://x", &plain).unwrap_err().contains("not the address"));
        assert!(found("docker:2375", &plain).unwrap_err().contains("not the address"));
        let tls = Variables { tls: true, certificates: Some("/certs/client".into()), ..Variables::default() };
        let endpoint = Endpoint::find(Some("tcp://docker"), &tls).unwrap();
        let certificates = "/certs/client".into();
        assert_eq!(endpoint, Endpoint::Https { base: "https://docker:2376".to_owned(), certificates });
    }

    #[test]
    fn variables_come_before_contexts() {
        let folder = tempfile::tempdir().unwrap();
        let variables = Variables { config: Some(folder.path().to_owned()), ..Variables::default() };
        let of = |variables: &Variables| Endpoint::find(None, variables).map(|endpoint| endpoint.to_string());
        assert_eq!(of(&variables).unwrap(), "unix:///var/run/docker.sock");
        std::fs::write(folder.path().join("config.json"), r#"{"currentContext": "colima"}"#).unwrap();
        assert!(of(&variables).unwrap_err().message().contains("`colima`"));
        let meta = folder.path().join("contexts/meta").join(hex(&Sha256::digest(b"colima")));
        std::fs::create_dir_all(&meta).unwrap();
        let text = r#"{"Name": "colima", "Endpoints": {"docker": {"Host": "unix:///home/me/.colima/docker.sock"}}}"#;
        std::fs::write(meta.join("meta.json"), text).unwrap();
        assert_eq!(of(&variables).unwrap(), "unix:///home/me/.colima/docker.sock");
        let chosen = Variables { context: Some("default".to_owned()), ..variables.clone() };
        assert_eq!(of(&chosen).unwrap(), "unix:///var/run/docker.sock");
        let host = Variables { host: Some("unix:///other.sock".to_owned()), ..variables };
        assert_eq!(of(&host).unwrap(), "unix:///other.sock");
    }
}
