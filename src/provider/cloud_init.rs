//! The user-data that a cloud image's cloud-init acts on at the first boot: the login and its keys, the host key that we know
//! already, the disks, a Compose file, and the user's own script.
//!
//! Source: <https://cloudinit.readthedocs.io/en/latest/reference/modules.html> and the page "User-data formats" beside it.

use serde_json::{Value, json};

use super::Boot;
use crate::resource::VmSpec;

/// Installs an engine where there is none, and runs the Compose file as a service.
const COMPOSE: &str = include_str!("compose.sh");
/// The unit of that service.
const COMPOSE_UNIT: &str = include_str!("compose.service");
/// Mounts disks that are attached while the machine boots already.
const DISKS: &str = include_str!("disks.sh");
/// Separates the parts of the user-data.
const BOUNDARY: &str = "==infra-user-data==";

/// The paths of a machine's further disks, in the order of the specification.
pub(super) enum Devices {
    /// They are there when the machine boots.
    Present(Vec<String>),
    /// They are attached when it runs.
    Later(Vec<String>),
}

/// The user-data of a machine.
pub(super) fn user_data(spec: &VmSpec, boot: &Boot, devices: &Devices) -> String {
    let present = match devices {
        Devices::Present(devices) => devices.as_slice(),
        Devices::Later(_) => &[],
    };
    // JSON is YAML, and needs no rules of quoting of its own.
    let ours = format!("#cloud-config\n{}\n", cloud_config(spec, boot, present));
    let mut parts = vec![("cloud-config", ours)];
    if let Devices::Later(devices) = devices
        && !devices.is_empty()
    {
        let lines: String =
            devices.iter().zip(&spec.disks).map(|(device, disk)| format!("{device} /mnt/{disk}\n")).collect();
        parts.push(("x-shellscript", DISKS.replace("@DISKS@\n", &lines)));
    }
    if spec.compose.is_some() {
        parts.push(("x-shellscript", COMPOSE.to_owned()));
    }
    if let Some(script) = &spec.user_data {
        let kind = if script.starts_with("#cloud-config") { "cloud-config" } else { "x-shellscript" };
        parts.push((kind, script.clone()));
    }
    if let [(_, only)] = parts.as_slice() {
        return only.clone();
    }
    let mut text = format!("Content-Type: multipart/mixed; boundary=\"{BOUNDARY}\"\nMIME-Version: 1.0\n\n");
    for (kind, content) in parts {
        let merge = if kind == "cloud-config" { "Merge-Type: list(append)+dict(recurse_array)+str()\n" } else { "" };
        text += &format!("--{BOUNDARY}\nContent-Type: text/{kind}; charset=\"utf-8\"\n{merge}\n{content}\n");
    }
    text + &format!("--{BOUNDARY}--\n")
}

fn cloud_config(spec: &VmSpec, boot: &Boot, devices: &[String]) -> Value {
    let mut user = json!({ "name": spec.login, "ssh_authorized_keys": boot.authorized_keys });
    if spec.login != "root" {
        user["shell"] = "/bin/bash".into();
        user["sudo"] = "ALL=(ALL) NOPASSWD:ALL".into();
        user["lock_passwd"] = true.into();
    }
    let mut config = json!({
        "users": [user],
        "disable_root": spec.login != "root",
        "ssh_pwauth": false,
        // Only the host key that we made: it is known before the first connection.
        "ssh_deletekeys": true,
        "ssh_keys": { "ed25519_private": boot.host_key.expose(), "ed25519_public": boot.host_key_public },
    });
    if !devices.is_empty() {
        let mounts = devices.iter().zip(&spec.disks);
        config["fs_setup"] = devices
            .iter()
            .map(|device| json!({ "device": device, "filesystem": "ext4", "partition": "none", "overwrite": false }))
            .collect();
        config["mounts"] = mounts
            .map(|(device, disk)| json!([device, format!("/mnt/{disk}"), "ext4", "defaults,nofail", "0", "2"]))
            .collect();
    }
    if let Some(compose) = &spec.compose {
        config["write_files"] = json!([
            { "path": "/etc/infra/compose.yml", "content": compose, "permissions": "0600" },
            { "path": "/etc/systemd/system/infra-compose.service", "content": COMPOSE_UNIT },
        ]);
    }
    config
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Boot, Devices, user_data};
    use crate::{resource::VmSpec, secret::Secret};

    fn spec(more: Value) -> VmSpec {
        let mut spec = json!({
            "image": "debian-12", "cores": 2, "core_fraction": 100, "memory_mb": 1024, "disk_gb": 10, "subnet": "main",
            "public": false, "ports": [], "login": "infra", "authorized_keys": [], "disks": ["db-data"],
        });
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(spec).unwrap()
    }

    fn boot() -> Boot {
        Boot {
            authorized_keys: vec!["ssh-ed25519 AAAA infra".to_owned()],
            host_key: Secret::new("PRIVATE"),
            host_key_public: "ssh-ed25519 BBBB db".to_owned(),
        }
    }

    #[test]
    fn a_plain_machine_has_one_part() {
        let devices = Devices::Present(vec!["/dev/disk/by-id/virtio-data0".to_owned()]);
        let text = user_data(&spec(json!({})), &boot(), &devices);
        let config: Value = serde_json::from_str(text.strip_prefix("#cloud-config\n").unwrap()).unwrap();
        assert_eq!(config["ssh_keys"]["ed25519_private"], "PRIVATE");
        assert_eq!(config["users"][0]["name"], "infra");
        assert_eq!(config["ssh_pwauth"], false);
        assert_eq!(config["mounts"][0][1], "/mnt/db-data");
    }

    #[test]
    fn a_script_and_a_compose_file_are_parts_of_their_own() {
        let more = json!({ "user_data": "#!/bin/sh\necho hello\n", "compose": "services: {}\n" });
        let text = user_data(&spec(more), &boot(), &Devices::Later(Vec::new()));
        assert_eq!(text.matches("text/x-shellscript").count(), 2);
        assert_eq!(text.matches("text/cloud-config").count(), 1);
        assert!(text.contains("echo hello") && text.contains("infra-compose.service"));
    }

    #[test]
    fn a_disk_that_comes_later_is_waited_for() {
        let text = user_data(&spec(json!({})), &boot(), &Devices::Later(vec!["/dev/disk/by-id/nvme-x".to_owned()]));
        assert!(text.contains("\n/dev/disk/by-id/nvme-x /mnt/db-data\n"), "{text}");
        assert!(!text.contains("fs_setup"));
    }
}
