//! Handlers that are to run, kept on the hosts themselves until they have run.
//!
//! A task that changes something and notifies a handler writes a small file in the same request, before its change; the file
//! goes when the handler has run. Whatever happens in between (the program is killed, the host fails or cannot be reached),
//! the next run finds the file with its first request to the host and runs the handler. Files belong to the user that the
//! task runs as: root's are in a folder of root, those of others in their home folders.

use std::{collections::BTreeSet, fmt::Write as _, sync::Arc};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::model::Task;
use crate::remote::{ReadOnly, Sh, sh};

/// Where notifications are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notified {
    /// The folder of root.
    pub root: String,
    /// The folder of other users; `~/` is their home.
    pub home: String,
    /// Whose notifications these are: another environment's are not looked at.
    pub owner: String,
    /// Under which name the same environment has written them before.
    pub former: Option<String>,
}

impl Notified {
    /// The usual folders, for an environment of a project. The project may have been without an id when it wrote some.
    #[must_use]
    pub fn of(project: Option<&str>, environment: &str) -> Self {
        let owner = |project: &str| format!("{project}/{environment}");
        Self {
            root: "/var/lib/infra/notified".to_owned(),
            home: "~/.local/state/infra/notified".to_owned(),
            owner: owner(project.unwrap_or_default()),
            former: project.map(|_| owner("")),
        }
    }

    fn owns(&self, one: &Notification) -> bool {
        one.owner == self.owner || self.former.as_ref() == Some(&one.owner)
    }
}

/// The longest answer that is looked at: a host that answers more has other troubles.
const MOST: usize = 256 * 1024;
/// How many notifications of a host are looked at.
const COUNT: usize = 1000;

/// In which of the folders that a user can see a notification was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Folder {
    /// The one that the user writes to.
    Own,
    /// That of root, seen by another user.
    Root,
}

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
    /// Which of the handlers of this name.
    #[serde(default, skip_serializing_if = "is_first")]
    pub(super) nth: usize,
    /// The task that notified it; earlier versions did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) task: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_first(nth: &usize) -> bool {
    *nth == 0
}

impl Notification {
    /// What a task leaves for the handler at this place.
    pub(super) fn new(
        notified: &Notified, host: &str, play: &str, task: &Task, handlers: &[Arc<Task>], at: usize,
    ) -> Self {
        let handler = &handlers[at];
        let mut one = Self {
            owner: notified.owner.clone(),
            host: host.to_owned(),
            play: play.to_owned(),
            role: handler.common.role.as_ref().map(|role| role.name.clone()),
            handler: handler.name.clone(),
            nth: 0,
            task: Some(task.title()),
        };
        one.nth = handlers[..at].iter().filter(|handler| one.names(handler)).count();
        one
    }

    /// Which handler it is for, whatever the play is called.
    pub(super) fn handler_of(&self, handlers: &[Arc<Task>]) -> Option<usize> {
        let named = handlers.iter().enumerate().filter(|(_, handler)| self.names(handler));
        named.map(|(at, _)| at).nth(self.nth)
    }

    fn names(&self, handler: &Task) -> bool {
        let role = handler.common.role.as_ref().map(|role| role.name.as_str());
        self.handler == handler.name && self.role.as_deref() == role
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
    fn folder(&self) -> Sh {
        let home = match self.home.strip_prefix("~/") {
            Some(rest) => sh!("\"${HOME:-/nonexistent}\"/{0}", rest),
            None => sh!("{0}", self.home),
        };
        sh!("if [ \"$(id -u)\" = 0 ]; then n={0}; else n={1}; fi", self.root, home)
    }

    /// The script that writes notifications. It is atomic: a file is there with its content, or not.
    pub(super) fn write(&self, notifications: &[Notification]) -> Sh {
        let folder = sh!("{0}; umask 022; mkdir -p -- \"$n\" && cd -- \"$n\" || exit 1", self.folder());
        let files = notifications.iter().map(|one| {
            let text = serde_json::to_string(one).unwrap_or_default();
            sh!("printf '%s\\n' {0} >.{1}.new && mv -f -- .{1}.new {1} || exit 1", text, one.file())
        });
        Sh::join(std::iter::once(folder).chain(files), "\n")
    }

    /// The script that removes notifications whose handlers have run.
    pub(super) fn remove(&self, notifications: &[Notification]) -> Sh {
        let files = Sh::join(notifications.iter().map(|one| sh!("\"$n\"/{0}", one.file())), " ");
        sh!("{0}; rm -f -- {1}", self.folder(), files)
    }

    /// The script that prints all notifications that the user can see, behind a word that says whose folder they are in.
    pub(super) fn read(&self) -> ReadOnly {
        ReadOnly::of(sh!(
            "{0}; r={1}; for w in own root; do d=$n; \
             if [ $w = root ]; then [ \"$n\" != \"$r\" ] || continue; d=$r; fi; \
             for f in \"$d\"/*; do if [ -f \"$f\" ] && [ ! -L \"$f\" ]; then printf '%s ' $w; \
             head -c 8192 -- \"$f\" | head -n 1; echo; fi; done; done; :",
            self.folder(),
            self.root
        ))
    }

    /// What that script has printed. Whatever is no notification of ours is passed over: it is data of a host, which is only
    /// ever compared.
    pub(super) fn parse(&self, host: &str, out: &str) -> BTreeSet<(Notification, Folder)> {
        let mut found = BTreeSet::new();
        for line in out[..out.floor_char_boundary(MOST)].lines() {
            let (folder, text) = match line.split_once(' ') {
                Some(("own", text)) => (Folder::Own, text),
                Some(("root", text)) => (Folder::Root, text),
                _ => continue,
            };
            if let Ok(one) = serde_json::from_str::<Notification>(text)
                && self.owns(&one)
                && one.host == host
            {
                found.insert((one, folder));
            }
            if found.len() == COUNT {
                break;
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::{COUNT, Folder, MOST, Notification, Notified};
    use crate::remote::{CHANGE_LIMIT, Local, Script, Sh, Transport};

    #[tokio::test]
    async fn notifications_are_written_read_and_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let notified = Notified { root: path("root's folder"), home: path("home"), owner: "o".into(), former: None };
        let one = |handler: &str| Notification {
            owner: "o".into(),
            host: "a".into(),
            play: "it's \"{{ a }}\" play".into(),
            role: None,
            handler: handler.into(),
            nth: 0,
            task: None,
        };
        let all = [one("restart"), one("it's $(id) `x`\nsecond line")];
        let local = Local::default();
        let as_user = async |id: u32, text: &str| {
            let text = format!("id() {{ echo {id}; }}; {text}");
            local.exec(None, &[Script::change(text, CHANGE_LIMIT)]).await.unwrap().remove(0)
        };
        let run = async |text: Sh| as_user(0, text.text()).await;
        let read = async || as_user(0, notified.read().text()).await;
        assert!(run(notified.write(&all)).await.succeeded());
        let found = notified.parse("a", &read().await.out());
        assert_eq!(found, all.clone().map(|one| (one, Folder::Own)).into());
        // Another user sees what is in the folder of root, too.
        let found = notified.parse("a", &as_user(7, notified.read().text()).await.out());
        assert_eq!(found, all.clone().map(|one| (one, Folder::Root)).into());
        assert!(notified.parse("b", &read().await.out()).is_empty());
        assert!(run(notified.remove(&all[..1])).await.succeeded());
        assert_eq!(notified.parse("a", &read().await.out()), [(all[1].clone(), Folder::Own)].into());
    }

    /// The project gets its id after the first run has begun.
    #[test]
    fn notifications_from_before_the_project_had_an_id_are_found() {
        let line = r#"own {"owner":"/dev","host":"a","play":"p","handler":"h"}"#;
        for (notified, found) in [
            (Notified::of(None, "dev"), 1),
            (Notified::of(Some("shop-1"), "dev"), 1),
            (Notified::of(Some("shop-1"), "prod"), 0),
        ] {
            assert_eq!(notified.parse("a", line).len(), found, "{notified:?}");
        }
    }

    #[test]
    fn garbage_is_no_notification() {
        let notified = Notified::of(Some("o"), "dev");
        let line = r#"{"owner":"o/dev","host":"a","play":"p","handler":"h"}"#;
        let out =
            format!("\u{0}\nown null\n{{}}\nown {line}\nown {line}\n{line}\nown {}", line.replace("o/dev", "x/dev"));
        let found = notified.parse("a", &out);
        assert_eq!(found.iter().map(|(one, _)| one.nth).collect::<Vec<_>>(), [0]);
        // Much is cut off, within a character or between two.
        for first in ["", "x"] {
            assert!(notified.parse("a", &format!("{first}{}\nown {line}", "é".repeat(MOST))).is_empty());
        }
        let many: String =
            (0..=COUNT).map(|nth| format!("own {}\n", line.replace("\"h\"", &format!("\"{nth}\"")))).collect();
        assert_eq!(notified.parse("a", &many).len(), COUNT);
    }
}
