//! The user-data that a cloud image's cloud-init acts on at the first boot: the login and its keys, the host key that we know
//! already, the disks, a Compose file, and the user's own script.
//!
//! Source: <https://cloudinit.readthedocs.io/en/latest/reference/modules.html> and the page "User-data formats" beside it.

use serde_json::{Value, json};

use super::Boot;
use crate::{remote::quote, resource::VmSpec};

/// Installs an engine where there is none, and runs the Compose file as a service.
const COMPOSE: &str = include_str!("compose.sh");
/// The unit of that service.
const COMPOSE_UNIT: &str = include_str!("compose.service");
/// Mounts the further disks, also those that are attached while the machine boots already.
const DISKS: &str = include_str!("disks.sh");
/// A function of the shell, `is_blank DEVICE`: all that gives a disk a file system asks it.
pub const IS_BLANK: &str = include_str!("is_blank.sh");
/// Separates the parts of the user-data.
const BOUNDARY: &str = "==infra-user-data==";

/// The user-data of a machine; `devices` are the paths of its further disks, in the order of the specification.
pub(super) fn user_data(spec: &VmSpec, boot: &Boot, devices: &[String]) -> String {
    // JSON is YAML, and needs no rules of quoting of its own.
    let ours = format!("#cloud-config\n{}\n", cloud_config(spec, boot));
    let mut parts = vec![("cloud-config", ours)];
    if !devices.is_empty() {
        let lines = devices.iter().zip(&spec.disks).map(|(device, disk)| quote(&format!("{device} /mnt/{disk}")));
        let lines = lines.collect::<Vec<_>>().join(" ");
        parts.push(("x-shellscript", DISKS.replace("@IS_BLANK@\n", IS_BLANK).replace("@DISKS@", &lines)));
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

fn cloud_config(spec: &VmSpec, boot: &Boot) -> Value {
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
    if let Some(compose) = &spec.compose {
        config["write_files"] = json!([
            { "path": "/etc/infra/compose.yml", "content": compose, "permissions": "0600" },
            { "path": "/etc/systemd/system/infra-compose.service", "content": COMPOSE_UNIT },
        ]);
    }
    config
}

/// Whether a machine with this user-data formats its disks at a first boot, whatever they hold: earlier versions asked cloud-init to
/// do it (`fs_setup`), which never looks at a disk without partitions. What the user's own part asks for is the user's.
pub(super) fn formats(user_data: &str) -> bool {
    let ours = user_data.lines().find(|line| line.starts_with('{'));
    let ours = ours.and_then(|line| serde_json::from_str::<Value>(line).ok());
    ours.is_some_and(|config| config.get("fs_setup").is_some())
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{File, Permissions},
        os::unix::fs::{FileExt, PermissionsExt},
        path::PathBuf,
    };

    use serde_json::{Value, json};

    use super::{Boot, formats, user_data};
    use crate::{
        remote::{Local, Output, Script, Transport},
        resource::VmSpec,
        secret::Secret,
    };

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
        let text = user_data(&spec(json!({ "disks": [] })), &boot(), &[]);
        let config: Value = serde_json::from_str(text.strip_prefix("#cloud-config\n").unwrap()).unwrap();
        assert_eq!(config["ssh_keys"]["ed25519_private"], "PRIVATE");
        assert_eq!(config["users"][0]["name"], "infra");
        assert_eq!(config["ssh_pwauth"], false);
    }

    #[test]
    fn a_script_and_a_compose_file_are_parts_of_their_own() {
        let more = json!({ "user_data": "#!/bin/sh\necho hello\n", "compose": "services: {}\n" });
        let text = user_data(&spec(more), &boot(), &[]);
        assert_eq!(text.matches("text/x-shellscript").count(), 2);
        assert_eq!(text.matches("text/cloud-config").count(), 1);
        assert!(text.contains("echo hello") && text.contains("infra-compose.service"));
    }

    #[test]
    fn cloud_init_itself_never_formats_a_disk() {
        let device = "/dev/disk/by-id/virtio-data0".to_owned();
        let text = user_data(&spec(json!({ "compose": "services: {}\n" })), &boot(), std::slice::from_ref(&device));
        assert!(!text.contains("fs_setup") && !text.contains("\"mounts\""), "{text}");
        assert!(text.contains(" '/dev/disk/by-id/virtio-data0 /mnt/db-data' >/etc/infra-disks\n"), "{text}");
        // What the Compose file writes belongs on the disk.
        assert!(text.find("infra-disks") < text.find("enable --now docker"), "{text}");
        let former = json!([{ "device": device, "filesystem": "ext4", "partition": "none", "overwrite": false }]);
        let former = format!("#cloud-config\n{}\n", json!({ "users": [], "fs_setup": former }));
        assert!(formats(&former) && formats(&format!("Content-Type: multipart/mixed\n\n--x\n{former}\n--x--\n")));
        let of_the_user = "#cloud-config\nfs_setup: [{device: /dev/vdc, filesystem: xfs}]\n";
        assert!(!formats(&user_data(&spec(json!({ "user_data": of_the_user })), &boot(), &[device])));
    }

    /// A machine whose disks are files with real file systems, in a folder that is taken for `/`.
    struct Machine(tempfile::TempDir);

    impl Machine {
        /// A machine with a blank disk of 64 MiB.
        fn new() -> Self {
            let machine = Self(tempfile::tempdir().unwrap());
            for folder in ["bin", "dev", "etc", "mnt", "run", "usr/local/sbin"] {
                std::fs::create_dir_all(machine.path(folder)).unwrap();
            }
            for (name, text) in [
                ("blockdev", r#"stat -c %s "$2""#),
                ("mountpoint", r#"grep -qxF "$2" mounts"#),
                ("mount", r#"echo "$1" >>mounts"#),
                ("systemd-run", r#"echo "$*" >>begun; for script; do :; done; exec "$script""#),
            ] {
                machine.write(
                    &format!("bin/{name}"),
                    &format!("#!/bin/sh\ncd '{}'\n{text}\n", machine.path("").display()),
                );
                std::fs::set_permissions(machine.path(&format!("bin/{name}")), Permissions::from_mode(0o755)).unwrap();
            }
            for name in ["mounts", "etc/fstab", "begun"] {
                machine.write(name, "");
            }
            machine.disk().set_len(64 << 20).unwrap();
            machine
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn write(&self, name: &str, text: &str) {
            std::fs::write(self.path(name), text).unwrap();
        }

        fn read(&self, name: &str) -> String {
            std::fs::read_to_string(self.path(name)).unwrap().replace(&self.0.path().display().to_string(), "")
        }

        fn disk(&self) -> File {
            File::options().create(true).truncate(false).read(true).write(true).open(self.path("dev/data0")).unwrap()
        }

        async fn run(&self, script: &str) -> Output {
            let script = format!("set -e\nexport PATH=\"{}:$PATH\"\n{script}", self.path("bin").display());
            Local::default()
                .exec(None, &[Script::change(script, std::time::Duration::from_mins(1))])
                .await
                .unwrap()
                .remove(0)
        }

        /// What cloud-init does at a first boot, and at what it takes for one.
        async fn boots(&self) -> Output {
            let text = user_data(&spec(json!({})), &boot(), &["/dev/data0".to_owned()]);
            let script = text.split("text/x-shellscript; charset=\"utf-8\"\n\n").nth(1).unwrap();
            let mut script =
                script.split("\n--==").next().unwrap().replace("[ -b ", "[ -e ").replace("/dev/null", "\0");
            for folder in ["/dev/", "/etc/", "/mnt/", "/run/", "/usr/local/sbin/"] {
                script = script.replace(folder, &format!("{}{folder}", self.0.path().display()));
            }
            self.run(&script.replace('\0', "/dev/null")).await
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_blank_disk_gets_a_file_system_and_a_kept_one_stays() {
        let machine = Machine::new();
        assert!(machine.boots().await.succeeded());
        let label = |text: &str| format!("e2label '{}' {text}", machine.path("dev/data0").display());
        assert!(machine.run(&label("kept")).await.succeeded(), "it is ext4");
        let entry = "/dev/data0 /mnt/db-data ext4 defaults,nofail 0 2\n";
        assert_eq!((machine.read("etc/fstab").as_str(), machine.read("mounts").as_str()), (entry, "/mnt/db-data\n"));
        // Another machine gets the disk, or cloud-init begins again.
        machine.write("etc/fstab", "");
        machine.write("mounts", "");
        assert!(machine.boots().await.succeeded());
        assert_eq!(machine.run(&label("")).await.out().trim(), "kept");
        assert_eq!((machine.read("etc/fstab").as_str(), machine.read("mounts").as_str()), (entry, "/mnt/db-data\n"));
        assert_eq!(machine.read("begun"), "", "what follows in the user-data finds it mounted");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_disk_of_bytes_that_no_program_knows_stays_as_it_is() {
        // An encrypted disk, or the raw one of a database; what was written is at its beginning, its end or between.
        for place in [0, 32 << 20, (64 << 20) - (1 << 20)] {
            let machine = Machine::new();
            machine.disk().write_all_at(&vec![0xa5; 1 << 20], place).unwrap();
            let before = std::fs::read(machine.path("dev/data0")).unwrap();
            let output = machine.boots().await;
            assert!(output.err().contains("holds something that is not a file system"), "{place}: {}", output.err());
            assert!(std::fs::read(machine.path("dev/data0")).unwrap() == before, "{place}");
            assert_eq!(machine.read("etc/fstab"), "", "{place}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_disk_that_comes_later_is_waited_for_beside_the_boot() {
        let machine = Machine::new();
        std::fs::rename(machine.path("dev/data0"), machine.path("dev/aside")).unwrap();
        machine.write(
            "bin/sleep",
            &format!("#!/bin/sh\nmv '{0}/dev/aside' '{0}/dev/data0'\n", machine.0.path().display()),
        );
        std::fs::set_permissions(machine.path("bin/sleep"), Permissions::from_mode(0o755)).unwrap();
        assert!(machine.boots().await.succeeded());
        assert_eq!(machine.read("mounts"), "/mnt/db-data\n");
        let begun = machine.read("begun");
        assert!(begun.contains("--no-block") && begun.contains("Before=infra-compose.service"), "{begun}");
    }
}
