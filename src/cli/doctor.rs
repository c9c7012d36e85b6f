//! `infra doctor`: what is missing on this machine, and the command that mends it.

use clap::Args;
use serde_json::json;

use crate::{
    cloud::docker::{Client, Endpoint},
    config::DockerSettings,
    error::Result,
    provider::docker,
    ui::{Mode, Ui},
};

/// Check what this machine needs for the local provider, and tell what mends what is missing
#[derive(Args, Debug)]
pub(super) struct Doctor {}

struct Finding {
    what: &'static str,
    good: bool,
    /// Whether nothing works without it.
    needed: bool,
    detail: String,
    mend: String,
}

impl Doctor {
    pub(super) async fn run(&self, ui: &Ui) -> Result<u8> {
        let endpoint = docker::endpoint(&DockerSettings::default())?;
        let mut findings = vec![engine(&endpoint).await?];
        let missing = docker::missing_tools();
        findings.push(Finding {
            what: "mmdebstrap",
            good: missing.is_empty(),
            needed: false,
            detail: "builds the base image where no image registry answers".to_owned(),
            mend: docker::INSTALL_TOOLS.to_owned(),
        });
        findings.push(inotify());
        let failed = findings.iter().any(|finding| finding.needed && !finding.good);
        if ui.mode() == Mode::Json {
            let list: Vec<_> = findings
                .iter()
                .map(|f| json!({ "check": f.what, "ok": f.good, "needed": f.needed, "detail": f.detail, "mend": f.mend }))
                .collect();
            ui.json(&list.into());
        } else {
            for finding in &findings {
                let sign = match (finding.good, finding.needed) {
                    (true, _) => "ok     ",
                    (false, true) => "missing",
                    (false, false) => "warning",
                };
                let mut line = format!("{sign}  {}: {}\n", finding.what, finding.detail);
                if !finding.good {
                    line += &format!("         mend it: {}\n", finding.mend);
                }
                ui.result(&line);
            }
        }
        Ok(u8::from(failed))
    }
}

async fn engine(endpoint: &Endpoint) -> Result<Finding> {
    let mut finding =
        Finding { what: "Docker Engine", good: true, needed: true, detail: String::new(), mend: String::new() };
    match Client::new(endpoint)?.info().await {
        Ok(info) => {
            let memory = info.mem_total / (1 << 20);
            finding.detail = format!(
                "version {}, {} processors, {memory} MB, cgroup version {}, at {endpoint}",
                info.server_version, info.ncpu, info.cgroup_version
            );
        }
        Err(error) => {
            finding.good = false;
            finding.detail = error.to_string();
            let Endpoint::Unix(path) = endpoint else {
                "start the engine there, or unset DOCKER_HOST".clone_into(&mut finding.mend);
                return Ok(finding);
            };
            finding.mend = match std::os::unix::net::UnixStream::connect(path).map_err(|error| error.kind()) {
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
        what: "inotify instances",
        good: limit >= 512,
        needed: false,
        detail: format!("{limit} a user, enough for about {} machines", limit / 5),
        mend: "sudo sysctl fs.inotify.max_user_instances=1024".to_owned(),
    }
}
