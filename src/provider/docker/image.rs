//! The base image of machines: Debian 12 with systemd, sshd and sudo.
//!
//! It is pulled and extended where a registry answers, otherwise built from Debian's packages with `mmdebstrap`. Its tag is
//! a digest of all that goes into it, so that it is made once and recreated only when something of that changes.

use std::{path::Path, process::Stdio};

use sha2::{Digest, Sha256};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio_util::io::ReaderStream;

use crate::{
    cloud::docker::{Client, DockerSettings},
    error::{Context, Error, Result},
    event::Events,
    remote::{Sh, sh},
};

/// The image family that is built here.
pub(super) const BASE_FAMILY: &str = "debian-12";
/// Where machines find the package downloads that they share.
pub(super) const PACKAGE_CACHE_PATH: &str = "/var/cache/infra";

const REPOSITORY: &str = "infra-base";
const SUITE: &str = "bookworm";
/// What a machine has beyond Debian's essential packages.
const PACKAGES: &[&str] =
    &["ca-certificates", "dbus", "iproute2", "openssh-server", "procps", "sudo", "systemd", "systemd-sysv", "udev"];
/// Turns a bare Debian into a machine; runs as root inside it.
const SETUP: &str = include_str!("setup.sh");
/// Shares the downloads of packages between machines.
const PACKAGE_CACHE: &str = include_str!("package-cache.sh");

/// The image of a family: the user's own, or the base image.
pub(super) fn reference(settings: &DockerSettings, family: &str) -> Result<String> {
    match settings.images.get(family) {
        Some(image) => Ok(image.clone()),
        None => Ok(format!("{REPOSITORY}:{SUITE}-{}", digest(&setup_script()?))),
    }
}

/// The base image of this version, which machines boot that name no image of their own.
///
/// # Errors
/// When what goes into it cannot be read on this machine.
pub fn base_image() -> Result<String> {
    reference(&DockerSettings::default(), BASE_FAMILY)
}

fn digest(script: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(PACKAGES.join(" "));
    hash.update(script);
    crate::encoding::hex(&hash.finalize()[..6])
}

/// Makes sure that the engine has an image.
pub(super) async fn ensure(client: &Client, image: &str, own: bool, events: &Events) -> Result<()> {
    if client.has_image(image).await? {
        return Ok(());
    }
    if own {
        let (repository, tag) =
            image.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')).unwrap_or((image, "latest"));
        let pull = async { client.pull_image(repository, tag, |_| ()).await.map_err(Error::from) };
        return events.watch(image, "pulling", "pulled", pull).await;
    }
    match events.watch("image", "asking the registry for Debian 12", "found", pulled(client, image)).await {
        Ok(()) => Ok(()),
        Err(_) => events.watch("image", "building Debian 12 with mmdebstrap", "built", built(client, image)).await,
    }
}

/// Debian's image from the registry, extended.
async fn pulled(client: &Client, image: &str) -> Result<()> {
    client.pull_image("debian", &format!("{SUITE}-slim"), |_| ()).await?;
    let dockerfile = format!(
        "FROM debian:{SUITE}-slim\nCOPY setup.sh /setup.sh\n\
         RUN apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends {} \\\n \
         && rm -f /etc/apt/apt.conf.d/docker-* && sh /setup.sh && rm /setup.sh\nCMD [\"/sbin/init\"]\n",
        PACKAGES.join(" ")
    );
    let mut archive = tar::Builder::new(Vec::new());
    for (path, text) in [("Dockerfile", &dockerfile), ("setup.sh", &setup_script()?)] {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, path, text.as_bytes()).context(|| "cannot write a tar archive")?;
    }
    let archive = archive.into_inner().context(|| "cannot write a tar archive")?;
    let mut last = String::new();
    client.build_image(image, archive, |line| line.clone_into(&mut last)).await.map_err(Error::from).context(|| last)
}

/// Debian from its packages, without a registry.
async fn built(client: &Client, image: &str) -> Result<()> {
    if let Some(tool) = missing_tools().first() {
        return Err(Error::new(format!(
            "no registry answers, and `{tool}` is not installed to build the base image without one"
        ))
        .hint(format!("install it: `{INSTALL_TOOLS}`")));
    }
    let folder = tempfile::tempdir().context(|| "cannot make a temporary folder")?;
    let script = folder.path().join("setup.sh");
    std::fs::write(&script, setup_script()?).context(|| format!("cannot write `{}`", script.display()))?;
    let hook =
        format!("cp '{0}' \"$1/setup.sh\" && chroot \"$1\" sh /setup.sh && rm \"$1/setup.sh\"", script.display());
    #[expect(clippy::disallowed_types, reason = "the one program that this provider needs, where no registry answers")]
    let mut child = tokio::process::Command::new("mmdebstrap")
        .args(["--variant=minbase", "--format=tar", "--skip=cleanup/apt", &format!("--include={}", PACKAGES.join(","))])
        .arg(format!("--customize-hook={hook}"))
        .args([SUITE, "-"])
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context(|| "cannot start `mmdebstrap`")?;
    let stdout = child.stdout.take().ok_or_else(|| Error::new("mmdebstrap has no output"))?;
    let stderr = child.stderr.take().ok_or_else(|| Error::new("mmdebstrap has no messages"))?;
    let messages = tokio::spawn(async move {
        let mut lines = BufReader::new(stderr).lines();
        let mut last = Vec::new();
        while let Ok(Some(line)) = lines.next_line().await {
            last.push(line);
            if last.len() > 20 {
                last.remove(0);
            }
        }
        last.join("\n")
    });
    // The archive goes under a name of its own first: a build that is killed leaves no image that looks whole.
    let unfinished = format!("{image}-unfinished");
    let (repository, tag) = unfinished.rsplit_once(':').unwrap_or((REPOSITORY, "unfinished"));
    let body = reqwest::Body::wrap_stream(ReaderStream::with_capacity(stdout, 1 << 20));
    let imported = client.import_image(repository, tag, body).await;
    let status = child.wait().await.context(|| "mmdebstrap did not end")?;
    let messages = messages.await.unwrap_or_default();
    if !status.success() {
        // Half an image is none.
        let _ = client.untag_image(&unfinished).await;
        return Err(Error::new(format!("mmdebstrap failed: {messages}"))
            .hint("it needs Debian's package archive within reach, and root or user namespaces"));
    }
    imported?;
    let (repository, tag) = image.rsplit_once(':').unwrap_or((REPOSITORY, "latest"));
    client.tag_image(&unfinished, repository, tag).await?;
    client.untag_image(&unfinished).await?;
    Ok(())
}

/// What installs the programs that build the base image without a registry.
pub const INSTALL_TOOLS: &str = "sudo apt-get install --no-install-recommends mmdebstrap debian-archive-keyring uidmap";

/// The programs that are missing to build the base image without a registry.
#[must_use]
pub fn missing_tools() -> Vec<&'static str> {
    #[expect(clippy::disallowed_methods, reason = "the search path is where programs are looked for")]
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = |tool: &&str| std::env::split_paths(&path).any(|folder| folder.join(tool).is_file());
    // Without root, mmdebstrap works in a user namespace.
    let needed: &[&'static str] =
        if rustix::process::geteuid().is_root() { &["mmdebstrap"] } else { &["mmdebstrap", "newuidmap"] };
    needed.iter().copied().filter(|tool| !found(tool)).collect()
}

/// The set-up script, with this machine's own authorities and proxies before it.
fn setup_script() -> Result<String> {
    let mut script = vec![Sh::literal("set -e")];
    let folder = Path::new("/usr/local/share/ca-certificates");
    let mut authorities: Vec<_> =
        std::fs::read_dir(folder).map(|entries| entries.filter_map(Result::ok).collect()).unwrap_or_default();
    authorities.sort_by_key(std::fs::DirEntry::file_name);
    for entry in authorities {
        let path = entry.path();
        if path.extension().is_none_or(|extension| extension != "crt") {
            continue;
        }
        let bytes = std::fs::read(&path).context(|| format!("cannot read `{}`", path.display()))?;
        script.push(file(&path, &bytes));
    }
    let proxies = proxy_settings().into_iter().filter(|(_, value)| !has_login(value));
    let proxies: Vec<String> = proxies.map(|(name, value)| format!("{name}={value}")).collect();
    if !proxies.is_empty() {
        script.push(sh!("printf '%s\\n' {0} >>/etc/environment", proxies));
    }
    let apt: Vec<String> = apt_proxies().into_iter().filter(|line| !has_login(line)).collect();
    if !apt.is_empty() {
        script.push(sh!("printf '%s\\n' {0} >/etc/apt/apt.conf.d/95proxy", apt));
    }
    let cache = Sh::print(PACKAGE_CACHE.as_bytes());
    script.push(sh!("mkdir -p /usr/local/lib/infra\n{0} >/usr/local/lib/infra/package-cache", cache));
    script.push(Sh::literal(SETUP));
    Ok(Sh::join(script, "\n").into())
}

/// Writes a file.
fn file(path: &Path, bytes: &[u8]) -> Sh {
    sh!("{0} >{1}", Sh::print(bytes), path.to_string_lossy().into_owned())
}

/// `http_proxy` and its like, as this process has them.
fn proxy_settings() -> Vec<(&'static str, String)> {
    ["http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"]
        .into_iter()
        .filter_map(|name| {
            #[expect(clippy::disallowed_methods, reason = "proxies are passed on to machines")]
            let value = std::env::var(name).ok().filter(|value| !value.is_empty())?;
            Some((name, value))
        })
        .collect()
}

/// Whether a text names a proxy with a login: `http://user:password@host`.
fn has_login(text: &str) -> bool {
    text.split_once("://").is_some_and(|(_, rest)| rest.split('/').next().unwrap_or_default().contains('@'))
}

/// Says which proxies are not passed on to machines, because everyone there could read the password.
pub(super) fn warn_of_proxies(events: &Events) {
    let named = proxy_settings().into_iter().filter(|(_, value)| has_login(value)).map(|(name, _)| name.to_owned());
    let apt = apt_proxies().into_iter().filter(|line| has_login(line));
    let apt = apt.map(|line| line.split_whitespace().next().unwrap_or_default().to_owned());
    let kept: Vec<String> = named.chain(apt).map(|name| format!("`{name}`")).collect();
    if !kept.is_empty() {
        events.warn(format!(
            "{} holds a password, and is not put into the image of machines, where every user could read it: set the proxy on \
             the machines that need it, in a playbook",
            kept.join(", ")
        ));
    }
}

/// The `Acquire::...::Proxy` lines of this machine's apt.
fn apt_proxies() -> Vec<String> {
    let files =
        std::fs::read_dir("/etc/apt/apt.conf.d").map(|entries| entries.filter_map(Result::ok).collect::<Vec<_>>());
    let mut paths: Vec<_> = files.unwrap_or_default().iter().map(std::fs::DirEntry::path).collect();
    paths.push("/etc/apt/apt.conf".into());
    paths.sort();
    let texts = paths.iter().filter_map(|path| std::fs::read_to_string(path).ok());
    let lines = texts.flat_map(|text| text.lines().map(|line| line.trim().to_owned()).collect::<Vec<_>>());
    lines.filter(|line| line.starts_with("Acquire::") && line.contains("Proxy") && line.ends_with(';')).collect()
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::PermissionsExt, path::Path, process::Output};

    use sha2::{Digest, Sha256};

    use super::{PACKAGE_CACHE, file, has_login};
    use crate::encoding::hex;

    /// What is in a file of this machine, and its name, is no command of the script that builds the image.
    #[test]
    fn files_are_written_as_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("it's $(touch pwned).crt");
        let content = b"a\nEND-OF-FILE\ntouch pwned\n$(touch pwned) `touch pwned`";
        let script = file(&path, content);
        #[expect(clippy::disallowed_types, reason = "a shell reads it, as where the image is built")]
        let ran = std::process::Command::new("sh").args(["-c", script.text()]).current_dir(folder.path()).status();
        assert!(ran.unwrap().success());
        assert_eq!(std::fs::read(&path).unwrap(), content);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_proxy_with_a_login_is_known() {
        for text in
            ["http://me:secret@proxy:3128", "Acquire::http::Proxy \"http://me:secret@proxy:3128/\";", "http://me@proxy"]
        {
            assert!(has_login(text), "{text}");
        }
        for text in ["http://proxy:3128", "localhost,.example.com", "http://proxy/path@x"] {
            assert!(!has_login(text), "{text}");
        }
    }

    /// The script with folders of its own, an index that names one package, and an `apt-get` that downloads it.
    struct Machine {
        folder: tempfile::TempDir,
    }

    impl Machine {
        fn new(shared: &Path, package: &str) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let path = |name: &str| folder.path().join(name);
            std::fs::create_dir_all(path("archives")).unwrap();
            std::fs::create_dir_all(path("bin")).unwrap();
            let script = PACKAGE_CACHE
                .replace("cache=/var/cache/infra", &format!("cache={}", shared.display()))
                .replace("archive=/var/cache/apt/archives", &format!("archive={}", path("archives").display()));
            let sum = hex(&Sha256::digest(package));
            let size = package.len();
            let asked = "[ \"$2\" = hello:amd64=1:2.10-3 ]";
            for (name, text) in [
                ("package-cache", script),
                (
                    "bin/apt-cache",
                    format!("#!/bin/sh\n{asked} && printf 'Package: hello\\nSize: {size}\\nSHA256: {sum}\\n'\n"),
                ),
                ("bin/apt-get", format!("#!/bin/sh\nprintf '%s' '{package}' >hello_1%3a2.10-3_amd64.deb\n")),
            ] {
                std::fs::write(path(name), text).unwrap();
                std::fs::set_permissions(path(name), std::fs::Permissions::from_mode(0o755)).unwrap();
            }
            Self { folder }
        }

        fn archive(&self) -> std::path::PathBuf {
            self.folder.path().join("archives/hello_1%3a2.10-3_amd64.deb")
        }

        fn run(&self, what: &str) -> Output {
            let path = format!("{}:/usr/bin:/bin", self.folder.path().join("bin").display());
            let feed = format!(
                "echo '{}' | '{}/package-cache' {what}",
                self.archive().display(),
                self.folder.path().display()
            );
            #[expect(clippy::disallowed_types, reason = "the script is what is tested")]
            let output = std::process::Command::new("sh").args(["-c", &feed]).env("PATH", path).output().unwrap();
            output
        }
    }

    #[test]
    fn a_machine_installs_nothing_that_another_one_forged() {
        let shared = tempfile::tempdir().unwrap();
        let [first, second] = ["genuine", "genuine"].map(|package| Machine::new(shared.path(), package));
        std::fs::write(first.archive(), "genuine").unwrap();
        assert!(first.run("give").status.success());
        let pooled = shared.path().join("pool/hello_1%3a2.10-3_amd64.deb");
        assert_eq!(std::fs::read_to_string(&pooled).unwrap(), "genuine");

        // A genuine package is taken, and what is installed is a copy that the other machine cannot change any more.
        assert!(second.run("take").status.success());
        assert!(second.archive().is_symlink());
        assert!(second.run("check").status.success());
        assert!(!second.archive().is_symlink());
        std::fs::write(&pooled, "forgery").unwrap();
        assert_eq!(std::fs::read_to_string(second.archive()).unwrap(), "genuine");

        // A forged one of the same size is not installed: it is downloaded instead.
        std::fs::remove_file(second.archive()).unwrap();
        assert!(second.run("take").status.success());
        assert_eq!(std::fs::read_to_string(second.archive()).unwrap(), "forgery");
        let output = second.run("check");
        assert!(output.status.success() && String::from_utf8_lossy(&output.stderr).contains("it is downloaded"));
        assert!(!second.archive().is_symlink());
        assert_eq!(std::fs::read_to_string(second.archive()).unwrap(), "genuine");
        // The forged one is gone for the others too.
        assert!(!pooled.exists());
        assert!(second.run("give").status.success());
        assert_eq!(std::fs::read_to_string(&pooled).unwrap(), "genuine");
    }

    #[test]
    fn a_machine_without_the_shared_cache_installs_what_it_has_downloaded() {
        let folder = tempfile::tempdir().unwrap();
        let machine = Machine::new(&folder.path().join("not-there"), "genuine");
        std::fs::write(machine.archive(), "genuine").unwrap();
        for what in ["take", "check", "give"] {
            let output = machine.run(what);
            assert!(output.status.success() && output.stderr.is_empty(), "{what}: {output:?}");
            assert_eq!(std::fs::read_to_string(machine.archive()).unwrap(), "genuine");
        }
        assert!(!folder.path().join("not-there").exists());
    }

    #[test]
    fn what_another_machine_puts_into_the_shared_cache_is_neither_followed_nor_waited_for() {
        use std::os::unix::fs::symlink;

        let shared = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        let machine = Machine::new(shared.path(), "genuine");
        let pooled = shared.path().join("pool/hello_1%3a2.10-3_amd64.deb");
        let own = elsewhere.path().join("hello_1%3a2.10-3_amd64.deb");
        let fifo = |path: &std::path::Path| {
            rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, 0o666.into(), 0).unwrap();
        };

        // The folder of packages is a link to a folder of the machine: nothing is written or removed there.
        symlink(elsewhere.path(), shared.path().join("pool")).unwrap();
        std::fs::write(machine.archive(), "genuine").unwrap();
        assert!(machine.run("give").status.success());
        assert!(!own.exists());
        std::fs::write(&own, "own").unwrap();
        std::fs::remove_file(machine.archive()).unwrap();
        symlink(&pooled, machine.archive()).unwrap();
        assert!(machine.run("check").status.success());
        assert_eq!(std::fs::read_to_string(&own).unwrap(), "own");
        assert_eq!(std::fs::read_to_string(machine.archive()).unwrap(), "genuine");
        std::fs::remove_file(shared.path().join("pool")).unwrap();
        std::fs::create_dir(shared.path().join("pool")).unwrap();

        // A package that is a link is not written through.
        symlink(&own, &pooled).unwrap();
        assert!(machine.run("give").status.success());
        assert_eq!(std::fs::read_to_string(&own).unwrap(), "own");

        // A pipe and a file without end are downloaded instead.
        for endless in [true, false] {
            std::fs::remove_file(machine.archive()).unwrap();
            let _ = std::fs::remove_file(&pooled);
            if endless {
                symlink("/dev/zero", &pooled).unwrap();
            } else {
                fifo(&pooled);
            }
            symlink(&pooled, machine.archive()).unwrap();
            let output = machine.run("check");
            assert!(output.status.success(), "{output:?}");
            assert_eq!(std::fs::read_to_string(machine.archive()).unwrap(), "genuine");
            assert!(!machine.archive().is_symlink() && !pooled.is_symlink() && !pooled.exists());
        }
    }
}
