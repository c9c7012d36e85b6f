//! What this machine needs for the local provider.

use super::{INSTALL_TOOLS, endpoint, missing_tools};
use crate::{
    cloud::docker::{Client, DockerSettings, Endpoint},
    error::Result,
    provider::Finding,
};

/// What an apply needs of this machine.
pub(super) async fn check() -> Result<Vec<Finding>> {
    let missing = missing_tools();
    Ok(vec![
        engine(&endpoint(&DockerSettings::default())?).await?,
        Finding {
            check: "mmdebstrap".to_owned(),
            ok: missing.is_empty(),
            needed: false,
            detail: "builds the base image where no image registry answers".to_owned(),
            hint: INSTALL_TOOLS.to_owned(),
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
