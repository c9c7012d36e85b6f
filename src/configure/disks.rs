//! The disks of a cloud's machines, from within: each has a file system that is as large as the disk, mounted at its folder. What
//! cloud-init does at the first boot is not done again for a disk that grows later, or that was lost and created again.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use sha2::{Digest, Sha256};

use super::Pool;
use crate::{
    config::Environment,
    encoding,
    error::{Error, Result, count},
    event::Events,
    provider::{IS_BLANK, Provider},
    remote::{Script, Transport},
    resource::{Address, DiskSpec, Resource, VmSpec},
    state::State,
};

/// Makes the disks of a machine usable, and changes nothing when they are.
const SCRIPT: &str = include_str!("disks.sh");
/// How many seconds a machine has to see a disk that was attached, or its new size.
const PATIENCE: u32 = 60;
/// How long file systems may take to be made, checked and grown: those of large disks take hours.
const LIMIT: Duration = Duration::from_hours(6);

/// What is to be looked at on machines, by their names.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Disks(BTreeMap<String, String>);

/// What is to be looked at before anything else is done on the machines: further disks always, the first disk of a machine once
/// after it was made larger. Machines without any are not connected to for this.
///
/// # Errors
/// When the state does not know a disk of a machine.
pub fn disks(environment: &Environment, state: &State, provider: &dyn Provider) -> Result<Disks> {
    let mut machines = BTreeMap::new();
    if provider.devices(&[]).is_none() {
        return Ok(Disks(machines));
    }
    let wanted: BTreeMap<&Address, &Resource> =
        environment.resources.iter().map(|resource| (&resource.address, resource)).collect();
    for host in environment.hosts.keys() {
        let address = Address::vm(host);
        let Some(machine) = wanted.get(&address).filter(|_| state.resources.contains_key(&address)) else { continue };
        let spec: VmSpec = machine.spec()?;
        let (mut ids, mut places) = (Vec::new(), Vec::new());
        for disk in &spec.disks {
            let address = Address::disk(disk);
            let known = wanted.get(&address).zip(state.resources.get(&address));
            let (wanted, entry) =
                known.ok_or_else(|| Error::new(format!("the state does not know `{address}` of `{host}`")))?;
            ids.push(entry.id.as_str());
            places.push(format!("/mnt/{disk} {}", wanted.spec::<DiskSpec>()?.size_gb));
        }
        let devices = provider.devices(&ids).unwrap_or_default();
        let first = state.grown.contains(&address).then(|| format!("first / {}", spec.disk_gb));
        let further = devices.iter().zip(places).map(|(device, place)| format!("{device} {place}"));
        let list: Vec<String> = first.into_iter().chain(further).collect();
        if !list.is_empty() {
            machines.insert(host.to_string(), script(&list));
        }
    }
    Ok(Disks(machines))
}

fn script(list: &[String]) -> String {
    let list = list.join("\n");
    // A text does not hold its own digest.
    let mark = encoding::hex(&Sha256::digest(&list)[..16]);
    let script = SCRIPT.replace("@MARK@", &format!("END-OF-DISKS-{mark}")).replace("@DISKS@", &list);
    format!("patience={PATIENCE}\n{IS_BLANK}{script}")
}

impl Disks {
    /// The machines that are looked at, each with the script that does it.
    pub fn scripts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(host, script)| (host.as_str(), script.as_str()))
    }

    /// Makes them usable, on all machines at once; the machines on which nothing is left to be done.
    ///
    /// # Errors
    /// When a disk is not usable: what a playbook writes would be on the first disk.
    pub async fn settle(&self, pool: &Pool, events: &Events) -> Result<BTreeSet<String>> {
        let machines = self.scripts().map(|(host, script)| async move {
            let settled = settle(&*pool.ssh(host).await?, host, script, events).await?;
            Ok(Some(host.to_owned()).filter(|_| settled))
        });
        let mut settled = BTreeSet::new();
        let mut failures: Vec<Error> = Vec::new();
        for machine in futures::future::join_all(machines).await {
            match machine {
                Ok(host) => settled.extend(host),
                Err(error) => failures.push(error),
            }
        }
        let others = failures.len().saturating_sub(1) as u64;
        match failures.into_iter().next() {
            None => Ok(settled),
            Some(first) if others == 0 => Err(first),
            Some(first) => {
                Err(first.hint(format!("the disks of {} are not usable either", count(others, "other machine"))))
            }
        }
    }
}

/// Makes the disks of one machine usable, and says whether nothing is left to be done.
async fn settle(machine: &dyn Transport, host: &str, script: &str, events: &Events) -> Result<bool> {
    let outputs = machine.exec(Some("root"), &[Script::change(script, LIMIT)]).await?;
    let output = outputs.into_iter().next().unwrap_or_default();
    let mut settled = true;
    for line in output.out().lines() {
        match line.strip_prefix("warning: ") {
            Some(warning) => {
                settled = false;
                events.warn(format!("`{host}`: {warning}"));
            }
            None => events.note(format!("`{host}`: {line}")),
        }
    }
    if output.succeeded() {
        return Ok(settled);
    }
    let said = output.failure.clone().unwrap_or_else(|| output.err().trim().replace('\n', "; "));
    Err(Error::new(format!("`{host}`: {said}")))
}

#[cfg(test)]
mod tests {
    use std::{
        os::unix::fs::{FileExt, PermissionsExt},
        path::PathBuf,
    };

    use async_trait::async_trait;

    use super::{Error, Events, Result, Script, Transport, script, settle};
    use crate::{
        event::Event,
        remote::{Local, Output, Source, Stream},
    };

    /// The programs of a machine. A device is a file, with files beside it: `.gib` is its size, `.fs` the signature on it and
    /// `.grown` the size of its file system.
    const PROGRAMS: &[(&str, &str)] = &[
        ("blockdev", r#"echo $(($(cat "$2.gib") * 1073741824))"#),
        (
            "blkid",
            r#"for device; do :; done
            [ -e "$device.fs" ] || exit 2
            [ "$(cat "$device.fs")" != ambivalent ] || exit 8
            case $5 in TYPE) cat "$device.fs" ;; USAGE) grep -q '^LVM' "$device.fs" && echo raid || echo filesystem ;; esac"#,
        ),
        ("mkfs.ext4", r#"echo "mkfs $2" >>log; echo ext4 >"$2.fs"; cp "$2.gib" "$2.grown""#),
        (
            "resize2fs",
            r#"cmp -s "$1.gib" "$1.grown" || { [ ! -e busy ] || { echo busy >&2; exit 1; }; echo "resize2fs $1" >>log; cp "$1.gib" "$1.grown"; }"#,
        ),
        (
            "findmnt",
            r#"case "$3 $4" in
            "SOURCE --mountpoint") awk -v at="$5" '$2 == at { print $1 }' mounts ;;
            "TARGET --source") awk -v from="$5" '$1 == from { print $2 }' mounts ;;
            "FSTYPE /") echo ext4 ;;
            esac"#,
        ),
        ("mountpoint", r#"case $1 in -q) grep -q " $2$" mounts ;; -d) echo 8:1 ;; esac"#),
        ("mount", r#"echo "mount $1" >>log; awk -v at="$1" '$2 == at { print $1, $2 }' etc/fstab >>mounts"#),
        ("umount", r#"echo "umount $2" >>log; grep -v " $2$" mounts >left; mv left mounts"#),
        ("lsblk", r#"case $2 in -s) basename "$6"; [ "$6" != "$PWD/dev/mapper" ] || echo data0 ;; esac"#),
        ("stat", r#"cat "$(awk -v at="$4" '$2 == at { print $1 }' mounts).grown""#),
        (
            "growpart",
            r#"[ ! -e growpart-fails ] || { echo "FAILED: no room for the new table" >&2; exit 2; }
            ! cmp -s "$1.gib" "$1$2.gib" || { echo "NOCHANGE: partition $2 is that large"; exit 1; }
            echo "growpart $*" >>log; cp "$1.gib" "$1$2.gib""#,
        ),
    ];

    /// A machine whose `/dev`, `/etc` and `/sys` are folders.
    struct Machine {
        folder: tempfile::TempDir,
        local: Local,
    }

    impl Machine {
        fn new() -> Self {
            let machine = Self { folder: tempfile::tempdir().unwrap(), local: Local::default() };
            for (name, text) in PROGRAMS {
                machine.write(&format!("bin/{name}"), &format!("#!/bin/sh\ncd '{}'\n{text}\n", machine.here("")));
                let path = machine.path(&format!("bin/{name}"));
                std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
            }
            machine.write("etc/fstab", ENTRIES);
            machine.write("mounts", &format!("{} /\n", machine.here("/dev/vda1")));
            machine.write("sys/devices/vda/vda1/partition", "1\n");
            std::fs::create_dir_all(machine.path("sys/dev/block")).unwrap();
            std::fs::create_dir_all(machine.path("run")).unwrap();
            std::os::unix::fs::symlink(machine.path("sys/devices/vda/vda1"), machine.path("sys/dev/block/8:1"))
                .unwrap();
            machine
        }

        fn path(&self, name: &str) -> PathBuf {
            self.folder.path().join(name)
        }

        fn here(&self, path: &str) -> String {
            format!("{}{path}", self.folder.path().display())
        }

        fn write(&self, name: &str, text: &str) {
            let path = self.path(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }

        /// What a file says, with `~` for the folder.
        fn read(&self, name: &str) -> String {
            std::fs::read_to_string(self.path(name)).unwrap_or_default().replace(&self.here(""), "~")
        }

        /// A device of this size, with what is written on it.
        fn device(&self, name: &str, gib: u32, content: &[u8]) {
            self.write(&format!("dev/{name}.gib"), &format!("{gib}\n"));
            let path = self.path(&format!("dev/{name}"));
            std::fs::write(&path, content).unwrap();
            // What is not written is zeros, and takes no room.
            std::fs::File::options().write(true).open(path).unwrap().set_len(u64::from(gib) << 30).unwrap();
        }

        /// A device with a file system of some size, or with something else.
        fn signature(&self, name: &str, signature: &str, gib: u32) {
            self.write(&format!("dev/{name}.fs"), &format!("{signature}\n"));
            self.write(&format!("dev/{name}.grown"), &format!("{gib}\n"));
        }

        /// Looks at these disks: whether all is settled or what is wrong, what was printed, and which programs changed something.
        async fn look(&self, list: &str) -> (Result<bool>, String, String) {
            let _ = std::fs::remove_file(self.path("log"));
            let (events, mut told) = Events::channel();
            let list: Vec<String> = list.lines().map(str::to_owned).collect();
            let script = script(&list).replace("patience=60", "patience=0");
            let settled = settle(self, "db", &script, &events).await;
            let mut said = String::new();
            while let Ok(event) = told.try_recv() {
                match event {
                    Event::Note { message } => said += &(message + "\n"),
                    Event::Warning { message } => said += &format!("warning: {message}\n"),
                    _ => {}
                }
            }
            (settled, said.replace(&self.here(""), "~"), self.read("log"))
        }
    }

    #[async_trait]
    impl Transport for Machine {
        async fn exec(&self, user: Option<&str>, scripts: &[Script]) -> Result<Vec<Output>> {
            assert_eq!(user, Some("root"));
            let scripts: Vec<Script> = scripts
                .iter()
                .map(|script| {
                    let mut text = script.text.replace("-b \"$", "-e \"$").replace("/sys/dev/", "\0sys\0dev\0");
                    text = text.replace("/dev/null", "\0null");
                    for folder in ["/dev/", "/etc/", "/run/", "/mnt/"] {
                        text = text.replace(folder, &self.here(folder));
                    }
                    let text = text.replace("\0null", "/dev/null");
                    let text = text.replace("\0sys\0dev\0", &self.here("/sys/dev/"));
                    Script { text: format!("PATH='{}':$PATH\n{text}", self.here("/bin")), ..script.clone() }
                })
                .collect();
            self.local.exec(None, &scripts).await
        }

        async fn pour(&self, _: Option<&str>, script: &Script, _: &mut Source<'_>) -> Result<Output> {
            Err(Error::new(format!("nothing sends to `{}`", script.text)))
        }

        async fn dial(&self, host: &str, _port: u16) -> Result<Box<dyn Stream>> {
            Err(Error::new(format!("nothing calls `{host}`")))
        }
    }

    const DATA: &str = "/dev/data0 /mnt/db-data 20";
    /// What `/etc/fstab` says at first.
    const ENTRIES: &str = "# /dev/old /mnt/db-data ext4 defaults 0 2\nUUID=1 / ext4 defaults 0 1\n";

    /// A machine that uses a data disk of 20 GiB.
    async fn used() -> Machine {
        let machine = Machine::new();
        machine.device("data0", 20, &[]);
        machine.look(DATA).await.0.unwrap();
        machine
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_empty_disk_gets_a_file_system_once() {
        let machine = Machine::new();
        machine.device("data0", 20, &[]);
        let (settled, said, done) = machine.look(DATA).await;
        assert!(settled.unwrap());
        assert_eq!(done, "mkfs ~/dev/data0\nmount ~/mnt/db-data\n");
        let new = "`db`: the disk at `~/mnt/db-data` was empty and has a file system now\n";
        assert_eq!(said, format!("{new}`db`: the disk at `~/mnt/db-data` is mounted\n"));
        let fstab = machine.read("etc/fstab");
        assert!(fstab.ends_with("~/dev/data0 ~/mnt/db-data ext4 defaults,nofail 0 2\n"), "{fstab}");
        let (settled, said, done) = machine.look(DATA).await;
        assert!(settled.unwrap());
        assert_eq!((said.as_str(), done.as_str(), machine.read("etc/fstab")), ("", "", fstab));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_file_system_grows_with_its_disk() {
        let machine = used().await;
        let larger = DATA.replace("20", "50");
        let error = machine.look(&larger).await.0.unwrap_err().to_string();
        assert!(error.contains("does not see the new size of the disk") && error.contains("(50 GiB)"), "{error}");
        machine.write("dev/data0.gib", "50\n");
        machine.write("busy", "");
        let error = machine.look(&larger).await.0.unwrap_err().to_string();
        assert!(error.contains("cannot be made larger: busy"), "{error}");
        std::fs::remove_file(machine.path("busy")).unwrap();
        let (settled, said, done) = machine.look(&larger).await;
        assert!(settled.unwrap());
        assert_eq!(said, "`db`: the file system at `~/mnt/db-data` was made larger\n");
        assert_eq!(done, "resize2fs ~/dev/data0\n");
        assert_eq!(machine.look(&larger).await.2, "");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_disk_in_the_place_of_a_lost_one_is_mounted_there() {
        // Under the name of the lost one, as on Yandex Cloud, or under another, as on AWS; with and without a restart.
        for (name, mounted) in [("data0", false), ("data1", false), ("data1", true)] {
            let machine = used().await;
            for part in ["", ".fs", ".gib", ".grown"] {
                std::fs::remove_file(machine.path(&format!("dev/data0{part}"))).unwrap();
            }
            if !mounted {
                machine.write("mounts", &format!("{} /\n", machine.here("/dev/vda1")));
                machine.write("mnt/db-data/left", "");
            }
            machine.device(name, 20, &[]);
            let (settled, said, done) = machine.look(&DATA.replace("data0", name)).await;
            assert_eq!(settled.unwrap(), mounted, "{said}");
            assert_eq!(said.contains("is on the first disk, hidden below"), !mounted, "{said}");
            let unmounted = if mounted { "umount ~/mnt/db-data\n" } else { "" };
            assert_eq!(done, format!("{unmounted}mkfs ~/dev/{name}\nmount ~/mnt/db-data\n"));
            let entry = format!("~/dev/{name} ~/mnt/db-data ext4 defaults,nofail 0 2\n");
            assert_eq!(machine.read("etc/fstab").replace(ENTRIES, ""), entry);
            assert_eq!(machine.look(&DATA.replace("data0", name)).await.2, "");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_disk_that_holds_anything_gets_no_file_system() {
        let cases: [(&[u8], Option<&str>); 4] =
            [(b"raw data", None), (&[], Some("LVM2_member")), (&[], Some("ambivalent")), (&[], Some("ext4"))];
        for (content, signature) in cases {
            let machine = Machine::new();
            machine.device("data0", 20, content);
            if let Some(signature) = signature {
                machine.signature("data0", signature, 20);
            }
            let (settled, _, done) = machine.look(DATA).await;
            if signature == Some("ext4") {
                assert_eq!((settled.unwrap(), done.as_str()), (true, "mount ~/mnt/db-data\n"));
                continue;
            }
            let error = settled.unwrap_err().to_string();
            assert!(error.contains("holds something that is not a file system"), "{signature:?}: {error}");
            assert_eq!(done, "", "{signature:?}");
        }
        // Bytes that no program knows at the end of a device, or at one of the places in the midst of it.
        let blocks = 20_u64 << 18;
        for place in [(blocks << 12) - 9, ((blocks - 64) * 64 / 127) << 12] {
            let machine = Machine::new();
            machine.device("data0", 20, &[]);
            let disk = std::fs::File::options().write(true).open(machine.path("dev/data0")).unwrap();
            disk.write_all_at(b"raw data.", place).unwrap();
            assert!(machine.look(DATA).await.0.is_err(), "{place}");
            assert_eq!(machine.read("log"), "", "{place}");
        }
        // A device that is not there, and one that cannot be read as far as a new one can.
        let machine = Machine::new();
        assert!(machine.look(DATA).await.0.unwrap_err().to_string().contains("is not attached"));
        machine.device("data0", 20, &[]);
        std::fs::write(machine.path("dev/data0"), "").unwrap();
        assert!(machine.look(DATA).await.0.is_err());
        assert_eq!(machine.read("log"), "");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_an_admin_has_mounted_stays() {
        // A volume of the disk at its folder; the disk elsewhere; something else at its folder.
        for (source, at, settled) in
            [("/dev/mapper", "/mnt/db-data", true), ("/dev/data0", "/srv", true), ("/dev/other", "/mnt/db-data", false)]
        {
            let machine = Machine::new();
            machine.device("data0", 20, &[]);
            machine.signature("data0", if source == "/dev/mapper" { "LVM2_member" } else { "ext4" }, 20);
            for device in ["mapper", "other"] {
                machine.device(device, 20, &[]);
            }
            machine.write("mounts", &format!("{} {}\n", machine.here(source), machine.here(at).replace("//", "/")));
            let (is_settled, said, done) = machine.look(DATA).await;
            assert_eq!((is_settled.unwrap(), done.as_str()), (settled, ""), "{source}: {said}");
            assert_eq!(said.contains("where the disk `~/dev/data0` belongs"), !settled, "{said}");
        }
        let machine = Machine::new();
        machine.device("data0", 20, &[]);
        machine.device("other", 20, &[]);
        machine.write(
            "etc/fstab",
            &format!("{} {} ext4 defaults 0 2\n", machine.here("/dev/other"), machine.here("/mnt/db-data")),
        );
        let error = machine.look(DATA).await.0.unwrap_err().to_string();
        assert!(error.contains("fstab mounts"), "{error}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn entries_of_others_in_fstab_stay() {
        for entry in [
            "nas:/export ~ nfs defaults 0 0",
            "tmpfs ~ tmpfs size=1g 0 0",
            "/srv ~ none bind 0 0",
            "UUID=9 ~ xfs defaults 0 2",
        ] {
            let machine = Machine::new();
            machine.device("data0", 20, &[]);
            machine.signature("data0", "ext4", 20);
            let fstab = entry.replace('~', &machine.here("/mnt/db-data")) + "\n";
            machine.write("etc/fstab", &fstab);
            let error = machine.look(DATA).await.0.unwrap_err().to_string();
            let named = entry.split(' ').next().unwrap();
            assert!(error.contains(&format!("/etc/fstab mounts `{named}` at")), "{error}");
            assert!(error.contains("take that entry out"), "{error}");
            assert_eq!(std::fs::read_to_string(machine.path("etc/fstab")).unwrap(), fstab);
            assert_eq!(machine.read("log"), "");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_first_disk_grows_with_its_partition() {
        let machine = Machine::new();
        machine.device("vda", 30, &[]);
        machine.device("vda1", 10, &[]);
        machine.signature("vda1", "ext4", 10);
        let list = "first / 30";
        // The partition grows first, as the kernel shows it.
        let (settled, said, done) = machine.look(list).await;
        assert!(settled.unwrap());
        assert_eq!(said, "`db`: the file system at `/` was made larger\n");
        assert_eq!(done, "growpart ~/dev/vda 1\nresize2fs ~/dev/vda1\n");
        assert_eq!(machine.look(list).await.2, "");
        machine.write("growpart-fails", "");
        let error = machine.look(list).await.0.unwrap_err().to_string();
        assert!(error.contains("cannot be made larger: FAILED: no room for the new table"), "{error}");
        std::fs::remove_file(machine.path("sys/devices/vda/vda1/partition")).unwrap();
        let (settled, said, _) = machine.look(list).await;
        assert!(!settled.unwrap() && said.contains("`/` is not a partition of it: grow it by hand"), "{said}");
    }
}
