//! Handlers that are to run, kept on the hosts themselves until they have run.
//!
//! A task that changes something and notifies a handler writes a small file in the same request, before its change; the file
//! goes when the handler has run. Whatever happens in between (the program is killed, the host fails or cannot be reached),
//! the next run finds the file with its first request to the host and runs the handler. Files belong to the user that the
//! task runs as: root's are in a folder of root, those of others in their home folders.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::model::Task;
use crate::remote::quote;

/// Where notifications are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notified {
    /// The folder of root.
    pub root: String,
    /// The folder of other users; `~/` is their home.
    pub home: String,
    /// Whose notifications these are: another environment's are not looked at.
    pub owner: String,
}

impl Notified {
    /// The usual folders, for an environment.
    #[must_use]
    pub fn of(owner: impl Into<String>) -> Self {
        Self {
            root: "/var/lib/infra/notified".to_owned(),
            home: "~/.local/state/infra/notified".to_owned(),
            owner: owner.into(),
        }
    }
}

/// The longest answer that is looked at: a host that answers more has other troubles.
const MOST: usize = 256 * 1024;

/// A handler that is to run on a host.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) struct Notification {
    /// Whose it is.
    pub(super) owner: String,
    /// The host on which the handler is to run.
    pub(super) host: String,
    /// The play.
    pub(super) play: String,
    /// The role of the handler.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) role: Option<String>,
    /// Its name.
    pub(super) handler: String,
}

impl Notification {
    pub(super) fn new(notified: &Notified, host: &str, play: &str, handler: &Task) -> Self {
        Self {
            owner: notified.owner.clone(),
            host: host.to_owned(),
            play: play.to_owned(),
            role: handler.common.role.as_ref().map(|role| role.name.clone()),
            handler: handler.name.clone(),
        }
    }

    /// Whether it is for this handler, whatever the play is called.
    pub(super) fn is_for(&self, handler: &Task) -> bool {
        self.handler == handler.name && self.role == handler.common.role.as_ref().map(|role| role.name.clone())
    }

    /// How it is called in messages.
    pub(super) fn title(&self) -> String {
        match &self.role {
            Some(role) => format!("{role} : {}", self.handler),
            None => self.handler.clone(),
        }
    }

    /// The name of its file: the same for the same notification.
    fn file(&self) -> String {
        let text = serde_json::to_string(self).unwrap_or_default();
        Sha256::digest(text).iter().take(16).fold(String::new(), |mut name, byte| {
            // Writing into a text never fails.
            let _ = write!(name, "{byte:02x}");
            name
        })
    }
}

impl Notified {
    /// Shell text that puts the folder of the user into `$n`.
    fn folder(&self) -> String {
        let home = match self.home.strip_prefix("~/") {
            Some(rest) => format!("\"${{HOME:-/nonexistent}}\"/{}", quote(rest)),
            None => quote(&self.home),
        };
        format!("if [ \"$(id -u)\" = 0 ]; then n={}; else n={home}; fi", quote(&self.root))
    }

    /// The script that writes notifications. It is atomic: a file is there with its content, or not.
    pub(super) fn write(&self, notifications: &[Notification]) -> String {
        let mut script = format!("{}; umask 022; mkdir -p -- \"$n\" && cd -- \"$n\" || exit 1", self.folder());
        for one in notifications {
            let (file, text) = (one.file(), serde_json::to_string(one).unwrap_or_default());
            let _ = write!(
                script,
                "\nprintf '%s\\n' {} >.{file}.new && mv -f -- .{file}.new {file} || exit 1",
                quote(&text)
            );
        }
        script
    }

    /// The script that removes notifications whose handlers have run.
    pub(super) fn remove(&self, notifications: &[Notification]) -> String {
        let files: String = notifications.iter().fold(String::new(), |mut files, one| {
            let _ = write!(files, " \"$n\"/{}", one.file());
            files
        });
        format!("{}; rm -f --{files}", self.folder())
    }

    /// The script that prints all notifications that the user can see.
    pub(super) fn read(&self) -> String {
        format!(
            "{}; for f in {}/* \"$n\"/*; do [ -f \"$f\" ] && [ ! -L \"$f\" ] && head -c 8192 -- \"$f\" && echo; done; :",
            self.folder(),
            quote(&self.root)
        )
    }

    /// What that script has printed. Whatever is no notification of ours is passed over: it is data of a host, which is only
    /// ever compared.
    pub(super) fn parse(&self, host: &str, out: &str) -> Vec<Notification> {
        let mut found: Vec<Notification> = Vec::new();
        for line in out.get(..MOST).unwrap_or(out).lines() {
            if let Ok(one) = serde_json::from_str::<Notification>(line)
                && one.owner == self.owner
                && one.host == host
                && !found.contains(&one)
            {
                found.push(one);
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::{Notification, Notified};
    use crate::remote::{Local, Script, Transport};

    #[tokio::test]
    async fn notifications_are_written_read_and_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let notified = Notified { root: path("root's folder"), home: path("home"), owner: "o".into() };
        let one = |handler: &str| Notification {
            owner: "o".into(),
            host: "a".into(),
            play: "it's \"{{ a }}\" play".into(),
            role: None,
            handler: handler.into(),
        };
        let all = [one("restart"), one("it's $(id) `x`\nsecond line")];
        let local = Local::default();
        let run = async |text: String| local.exec(None, &[Script::probe(text)]).await.unwrap().remove(0);
        assert!(run(notified.write(&all)).await.succeeded());
        let mut found = notified.parse("a", &run(notified.read()).await.out());
        found.sort();
        let mut wanted = all.to_vec();
        wanted.sort();
        assert_eq!(found, wanted);
        assert!(notified.parse("b", &run(notified.read()).await.out()).is_empty());
        assert!(run(notified.remove(&all[..1])).await.succeeded());
        assert_eq!(notified.parse("a", &run(notified.read()).await.out()), all[1..]);
    }

    #[test]
    fn garbage_is_no_notification() {
        let notified = Notified::of("o");
        let line = r#"{"owner":"o","host":"a","play":"p","handler":"h"}"#;
        let out = format!("\u{0}\nnull\n{{}}\n{line}\n{line}\n{}", line.replace("\"o\"", "\"x\""));
        assert_eq!(notified.parse("a", &out).len(), 1);
    }
}
