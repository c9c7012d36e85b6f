//! `infra doctor`: what is missing on this machine, and the command that installs it.

use clap::Args;

use super::{arguments::OverlayArgs, context::Context};
use crate::{
    cloud::docker::{Client, Endpoint},
    config::{DockerSettings, Environment},
    error::{Error, Result},
    provider::{Finding, docker},
    resource::Resource,
    ui::Mode,
};

/// Check what an apply needs: this machine's tools and engine, or a cloud's credentials, permissions and quotas
#[derive(Args, Debug)]
pub(super) struct Doctor {
    /// An environment, to check what its apply would need of its provider
    environment: Option<String>,
    /// The provider to check it for; without an environment only `docker` can be checked
    #[arg(long, value_name = "NAME")]
    provider: Option<String>,
    #[command(flatten)]
    overlay: OverlayArgs,
}

impl Doctor {
    pub(super) async fn run(&self, context: &Context) -> Result<u8> {
        let ui = &context.ui;
        let findings = match (&self.environment, self.provider.as_deref()) {
            (None, None | Some("docker")) => machine().await?,
            (None, Some(provider)) => {
                return Err(Error::usage(format!("`{provider}` is checked for an environment"))
                    .hint(format!("infra doctor ENV --provider {provider}")));
            }
            (Some(environment), provider) => {
                let mut overlay = self.overlay.clone();
                overlay.set.extend(provider.map(|provider| format!("provider={provider}")));
                let mut site = context.open(&overlay.over(environment)?).await?;
                if site.provider.name() == "docker" {
                    machine().await?
                } else {
                    // What exists takes nothing more of a quota. An account that cannot be listed is a finding of its own.
                    let there = site.observe().await.unwrap_or_default();
                    let exists = |one: &Resource| there.iter().any(|object| object.address == one.address);
                    let (existing, new): (Vec<_>, Vec<_>) = site.resources().into_iter().partition(exists);
                    let found = site.provider.diagnose(&site.owner(), &new, &existing).await;
                    found.into_iter().map(|finding| placed(&site.environment, finding)).collect()
                }
            }
        };
        let failed = findings.iter().any(|finding| finding.needed && !finding.ok);
        if ui.mode() == Mode::Json {
            let mut value = serde_json::to_value(&findings)?;
            // The name that the hint had in earlier versions.
            for finding in value.as_array_mut().into_iter().flatten() {
                finding["mend"] = finding["hint"].clone();
            }
            ui.json(&value);
        } else {
            for finding in &findings {
                let sign = match (finding.ok, finding.needed) {
                    (true, _) => "ok     ",
                    (false, true) => "missing",
                    (false, false) => "warning",
                };
                let mut line = format!("{sign}  {}: {}\n", finding.check, finding.detail);
                if !finding.ok && !finding.hint.is_empty() {
                    line += &format!("         hint: {}\n", finding.hint);
                }
                ui.result(&line);
            }
        }
        Ok(u8::from(failed))
    }
}

/// A finding whose detail says which places of the file ask for what is missing.
fn placed(environment: &Environment, finding: Finding) -> Finding {
    let asked = finding.asked.as_ref().filter(|_| !finding.ok);
    let places = asked.map(|asked| environment.places_of(&asked.sections, &asked.value)).unwrap_or_default();
    if places.is_empty() {
        return finding;
    }
    let places: Vec<String> =
        places.iter().map(|at| format!("{}:{}:{}", at.file.display(), at.line, at.column)).collect();
    Finding { detail: format!("{}; asked for at {}", finding.detail, places.join(", ")), ..finding }
}

/// What this machine needs for the local provider.
async fn machine() -> Result<Vec<Finding>> {
    let missing = docker::missing_tools();
    Ok(vec![
        engine(&docker::endpoint(&DockerSettings::default())?).await?,
        Finding {
            check: "mmdebstrap".to_owned(),
            ok: missing.is_empty(),
            needed: false,
            detail: "builds the base image where no image registry answers".to_owned(),
            hint: docker::INSTALL_TOOLS.to_owned(),
            asked: None,
        },
        inotify(),
    ])
}

async fn engine(endpoint: &Endpoint) -> Result<Finding> {
    let mut finding = Finding::of("Docker Engine", Ok(String::new()));
    match Client::new(endpoint)?.info().await {
        Ok(info) => {
            let memory = info.mem_total / (1 << 20);
            finding.detail = format!(
                "version {}, {} processors, {memory} MB, cgroup version {}, at {endpoint}",
                info.server_version, info.ncpu, info.cgroup_version
            );
        }
        Err(error) => {
            finding.ok = false;
            finding.detail = error.to_string();
            let Endpoint::Unix(path) = endpoint else {
                "start the engine there, or unset DOCKER_HOST".clone_into(&mut finding.hint);
                return Ok(finding);
            };
            finding.hint = match std::os::unix::net::UnixStream::connect(path).map_err(|error| error.kind()) {
                Err(std::io::ErrorKind::PermissionDenied) => {
                    "sudo usermod -aG docker $USER, then log in again".to_owned()
                }
                Err(std::io::ErrorKind::ConnectionRefused) => "sudo systemctl start docker".to_owned(),
                _ => "sudo apt-get install --no-install-recommends docker.io && sudo systemctl start docker".to_owned(),
            };
        }
    }
    Ok(finding)
}

fn inotify() -> Finding {
    let text = std::fs::read_to_string("/proc/sys/fs/inotify/max_user_instances").unwrap_or_default();
    let limit: u32 = text.trim().parse().unwrap_or(0);
    Finding {
        check: "inotify instances".to_owned(),
        ok: limit >= 512,
        needed: false,
        detail: format!("{limit} a user, enough for about {} machines", limit / 5),
        hint: "sudo sysctl fs.inotify.max_user_instances=1024".to_owned(),
        asked: None,
    }
}
