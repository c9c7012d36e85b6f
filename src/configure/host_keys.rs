//! A machine gets a host key of its own, over the first connection to it.
//!
//! Whoever is killed between two of the steps is not locked out: the state accepts the next key before the machine shows it, and
//! the first one until the machine has shown the next one.

use crate::{
    apply::{Keeper, Pins},
    error::{Context, Error, Result},
    remote::{CHANGE_LIMIT, Script, Sh, Transport, sh},
};

/// Makes the next key, beside the one that is in use, and prints its public half. Where the key in use is not the first one any
/// more, an earlier command was killed before sshd read it: that one is the next.
const MAKE: &str = r#"set -e
umask 077
key=/etc/ssh/ssh_host_ed25519_key
if [ "$(ssh-keygen -y -f "$key" | cut -d' ' -f2)" != "$first" ]; then
    ssh-keygen -y -f "$key"
    exit
fi
rm -f "$key.next" "$key.next.pub"
ssh-keygen -q -t ed25519 -N '' -C "$(hostname)" -f "$key.next" </dev/null
chmod 644 "$key.next.pub"
cat "$key.next.pub"
"#;

/// Puts the next key in the place of the first one, and lets sshd read it. Open connections stay.
const USE: &str = r#"set -e
key=/etc/ssh/ssh_host_ed25519_key
if [ -e "$key.next" ]; then
    mv -f "$key.next.pub" "$key.pub"
    mv -f "$key.next" "$key"
fi
if [ -d /run/systemd/system ]; then
    systemctl reload ssh 2>/dev/null || systemctl reload sshd
else
    service ssh reload 2>/dev/null || service sshd reload
fi
"#;

/// Gives a machine a key of its own in the place of the first one that is accepted. The answer is the new one, which the machine shows
/// from now on and which is accepted too.
///
/// # Errors
/// When a step fails; the machine is reached all the same, by one of the keys that the state accepts.
pub(super) async fn change(machine: &dyn Transport, id: &str, keeper: &Keeper, pins: &mut Pins) -> Result<String> {
    let first = pins.accepted.first().and_then(|key| key.split_whitespace().nth(1)).unwrap_or_default();
    let made = as_root(machine, sh!("first={0}\n{1}", first, Sh::literal(MAKE)).text()).await?;
    let key =
        public(&made).ok_or_else(|| Error::new("the machine has not shown the public half of its new host key"))?;
    keeper.expect(id, &key).await?;
    pins.accepted.truncate(1);
    pins.accepted.push(key.clone());
    as_root(machine, USE).await.context(|| "sshd does not read its new host key")?;
    Ok(key)
}

/// The Ed25519 key that a program has printed, without its comment.
fn public(printed: &str) -> Option<String> {
    let mut words = printed.lines().find(|line| line.starts_with("ssh-ed25519 "))?.split_whitespace();
    Some(format!("{} {}", words.next()?, words.next()?))
}

async fn as_root(machine: &dyn Transport, text: &str) -> Result<String> {
    let outputs = machine.exec(Some("root"), &[Script::change(text, CHANGE_LIMIT)]).await?;
    let output = outputs.into_iter().next().unwrap_or_default();
    if output.succeeded() {
        return Ok(output.out());
    }
    Err(Error::new(output.err().trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use std::{
        os::unix::fs::PermissionsExt,
        sync::{Arc, Mutex},
    };

    use async_trait::async_trait;

    use super::{Error, Result, Script, Transport, change};
    use crate::{
        apply::{keeper, pins},
        remote::{Local, Output, Source, Stream},
        state::Vault,
    };

    /// Where a command is killed.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Killed {
        /// Before the nth request to the machine.
        Before(usize),
        /// After it, before its answer came.
        After(usize),
        /// When the next key should be written into the state.
        WhileWriting,
        /// When the key is in its place, before sshd reads it.
        BeforeReload,
    }

    /// A machine whose `/etc/ssh` is a folder, and whose programs are small scripts: a private key is its public half.
    struct Machine {
        folder: tempfile::TempDir,
        local: Local,
        killed: Option<Killed>,
        asked: Mutex<usize>,
    }

    impl Machine {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let programs = [
                (
                    "ssh-keygen",
                    "case $1 in -y) cat \"$3\" ;; *) for last; do :; done; n=$(cat count); echo $((n + 1)) >count\n\
                     echo \"ssh-ed25519 KEY$n\" >\"$last\"; cp \"$last\" \"$last.pub\" ;; esac",
                ),
                ("systemctl", "[ ! -e broken ] || exit 1; cp ssh/ssh_host_ed25519_key shown"),
                ("hostname", "echo a"),
            ];
            for name in ["bin", "ssh", "systemd"] {
                std::fs::create_dir(folder.path().join(name)).unwrap();
            }
            for (name, text) in programs {
                let path = folder.path().join("bin").join(name);
                std::fs::write(&path, format!("#!/bin/sh\ncd '{}'\n{text}\n", folder.path().display())).unwrap();
                std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
            }
            for (name, text) in
                [("ssh/ssh_host_ed25519_key", "ssh-ed25519 FIRST"), ("shown", "ssh-ed25519 FIRST"), ("count", "1")]
            {
                std::fs::write(folder.path().join(name), format!("{text}\n")).unwrap();
            }
            Self { folder, local: Local::default(), killed: None, asked: Mutex::default() }
        }

        fn read(&self, name: &str) -> String {
            std::fs::read_to_string(self.folder.path().join(name)).unwrap().trim().to_owned()
        }

        fn broken(&self) -> std::path::PathBuf {
            self.folder.path().join("broken")
        }
    }

    #[async_trait]
    impl Transport for Machine {
        async fn exec(&self, user: Option<&str>, scripts: &[Script]) -> Result<Vec<Output>> {
            assert_eq!(user, Some("root"));
            let number = {
                let mut asked = self.asked.lock().unwrap();
                *asked += 1;
                *asked
            };
            if self.killed == Some(Killed::Before(number)) {
                return Err(Error::new("killed"));
            }
            let here = |name: &str| self.folder.path().join(name).display().to_string();
            let scripts: Vec<Script> = scripts
                .iter()
                .map(|script| {
                    let text =
                        script.text.replace("/etc/ssh", &here("ssh")).replace("/run/systemd/system", &here("systemd"));
                    Script { text: format!("PATH='{}':$PATH\n{text}", here("bin")), ..script.clone() }
                })
                .collect();
            let outputs = self.local.exec(None, &scripts).await?;
            if self.killed == Some(Killed::After(number)) {
                return Err(Error::new("killed"));
            }
            Ok(outputs)
        }

        async fn pour(&self, _: Option<&str>, script: &Script, _: &mut Source<'_>) -> Result<Output> {
            Err(Error::new(format!("nothing sends to `{}`", script.text)))
        }

        async fn dial(&self, host: &str, _port: u16) -> Result<Box<dyn Stream>> {
            Err(Error::new(format!("nothing calls `{host}`")))
        }
    }

    /// One command that lets the machine change its key, and is killed somewhere.
    async fn command(machine: &mut Machine, vault: &Arc<Mutex<Vault>>, killed: Option<Killed>) -> bool {
        machine.killed = killed;
        *machine.asked.lock().unwrap() = 0;
        let broken = machine.broken();
        if killed == Some(Killed::BeforeReload) {
            std::fs::write(&broken, "").unwrap();
        } else {
            let _ = std::fs::remove_file(&broken);
        }
        let mut known = pins(&vault.lock().unwrap(), "a", "id-1").unwrap();
        let accepted = known.accepted.clone();
        let shown = machine.read("shown");
        assert!(
            accepted.contains(&shown),
            "{killed:?}: locked out of a machine that shows {shown}, accepted {accepted:?}"
        );
        let (keeper, notes) = keeper();
        let writing = tokio::spawn(notes.into_vault(Arc::clone(vault), move || killed == Some(Killed::WhileWriting)));
        let done = if accepted.get(1) == Some(&shown) {
            keeper.pin("id-1", &shown).await.is_ok()
        } else {
            match change(&*machine, "id-1", &keeper, &mut known).await {
                Ok(own) => {
                    assert_eq!(machine.read("shown"), own);
                    keeper.pin("id-1", &own).await.is_ok()
                }
                Err(_) => false,
            }
        };
        drop(keeper);
        writing.await.unwrap();
        done
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn nobody_is_locked_out_wherever_a_command_is_killed() {
        use Killed::{After, Before, BeforeReload, WhileWriting};
        let places = [Before(1), After(1), WhileWriting, Before(2), After(2), BeforeReload];
        let pairs = places.iter().flat_map(|place| [(*place, BeforeReload), (BeforeReload, *place)]);
        for (one, other) in pairs {
            for restarted in [false, true] {
                let mut machine = Machine::new();
                let vault = Arc::new(Mutex::new(Vault::default()));
                vault.lock().unwrap().put_public("host/a/public", "ssh-ed25519 FIRST");
                for killed in [one, other] {
                    command(&mut machine, &vault, Some(killed)).await;
                    if restarted {
                        let from = machine.folder.path().join("ssh/ssh_host_ed25519_key");
                        std::fs::copy(from, machine.folder.path().join("shown")).unwrap();
                    }
                }
                assert!(command(&mut machine, &vault, None).await, "{one:?}, {other:?}: the third command ends well");
                let known = pins(&vault.lock().unwrap(), "a", "id-1").unwrap();
                assert!(known.own && known.accepted == [machine.read("shown")], "{one:?}, {other:?}: {known:?}");
                assert_ne!(machine.read("shown"), "ssh-ed25519 FIRST");
                assert!(!machine.folder.path().join("ssh/ssh_host_ed25519_key.next").exists());
            }
        }
    }
}
