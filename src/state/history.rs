//! What was done to an environment, by whom and when: one line of JSON a command. It outlives the environment.

use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Store, backend::Expect, process::whoami};
use crate::{clock::Clock, error::Result};

/// How a command ended that was killed.
const UNFINISHED: &str = "it did not come to its end";

/// One command that changed an environment, or tried to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// `apply` or `destroy`.
    pub command: String,
    /// `user@machine`.
    pub who: String,
    /// When it began.
    pub at: Timestamp,
    /// How long it took.
    pub seconds: f64,
    /// The commit of the project's git repository, when there is one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub commit: Option<String>,
    /// Whether files of the project differed from that commit; nothing where git does not say it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub dirty: Option<bool>,
    /// The digest of the environment's files.
    pub digest: String,
    /// What was planned, as `+ vm.app-1`.
    pub changes: Vec<String>,
    /// What of it was done; a command that was killed could not say it, and earlier versions did not.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub done: Option<Vec<String>>,
    /// What of it failed, or was interrupted.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub failed: Vec<String>,
    /// How it ended: `done`, or the error.
    pub outcome: String,
    /// The account that everything is removed from by its labels, for the next command that finds nothing there.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub account: Option<String>,
}

impl HistoryEntry {
    /// A command that begins now.
    #[must_use]
    pub fn begin(command: &str, project: &Path, digest: &str, changes: Vec<String>) -> Self {
        Self {
            command: command.to_owned(),
            who: whoami(),
            at: Clock::System.now(),
            seconds: 0.0,
            commit: commit(project),
            dirty: is_dirty(project),
            digest: digest.to_owned(),
            changes,
            done: None,
            failed: Vec::new(),
            outcome: String::new(),
            account: None,
        }
    }
}

/// Whether files of a folder differ from its commit, but for those that infra itself writes; nothing without a repository or git.
#[expect(clippy::disallowed_types, reason = "git alone knows which files it would commit")]
fn is_dirty(folder: &Path) -> Option<bool> {
    use std::process::{Command, Stdio};

    let mut git = Command::new("git");
    git.arg("-C").arg(folder).args([
        "--no-optional-locks",
        "-c",
        "core.fsmonitor=false",
        "status",
        "--porcelain",
        "--",
    ]);
    git.args([".", ":(exclude).infra", ":(exclude).infra-project"]).stdin(Stdio::null()).stderr(Stdio::null());
    let output = git.output().ok().filter(|output| output.status.success())?;
    Some(!output.stdout.is_empty())
}

/// The commit that is checked out in a folder's git repository. Read from its files: git itself may not be there.
fn commit(folder: &Path) -> Option<String> {
    let git = folder.ancestors().map(|folder| folder.join(".git")).find(|git| git.is_dir())?;
    let head = std::fs::read_to_string(git.join("HEAD")).ok()?;
    let Some(branch) = head.trim().strip_prefix("ref: ") else { return Some(head.trim().to_owned()) };
    if let Ok(commit) = std::fs::read_to_string(git.join(branch)) {
        return Some(commit.trim().to_owned());
    }
    let packed = std::fs::read_to_string(git.join("packed-refs")).ok()?;
    packed.lines().find_map(|line| line.strip_suffix(branch)).map(|commit| commit.trim().to_owned())
}

impl Store {
    /// Writes down that a command begins: one that is killed is in the history, too.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn begin(&self, entry: &HistoryEntry) -> Result<()> {
        self.remember(&HistoryEntry { outcome: UNFINISHED.to_owned(), ..entry.clone() }).await
    }

    /// Writes down what was done.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn remember(&self, entry: &HistoryEntry) -> Result<()> {
        let (key, line) = (self.key("history.jsonl"), serde_json::to_string(entry)?);
        loop {
            let (text, expect) = match self.backend().get(&key).await? {
                Some((text, tag)) => (text, Expect::Tag(tag)),
                None => (String::new(), Expect::Absent),
            };
            let break_between = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
            if self.backend().put(&key, &format!("{text}{break_between}{line}\n"), &expect).await?.is_some() {
                return Ok(());
            }
        }
    }

    /// Keeps how the last run went: a text that `ui` understands.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn keep_trace(&self, text: &str) -> Result<()> {
        let key = self.key("trace.json");
        loop {
            let expect = self.backend().get(&key).await?.map_or(Expect::Absent, |(_, tag)| Expect::Tag(tag));
            if self.backend().put(&key, text, &expect).await?.is_some() {
                return Ok(());
            }
        }
    }

    /// How the last run went.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn trace(&self) -> Result<Option<String>> {
        Ok(self.backend().get(&self.key("trace.json")).await?.map(|(text, _)| text).filter(|text| !text.is_empty()))
    }

    /// What was done, the oldest first. A line that a crash has cut short is passed by.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn history(&self) -> Result<Vec<HistoryEntry>> {
        let found = self.backend().get(&self.key("history.jsonl")).await?;
        let text = found.map(|(text, _)| text).unwrap_or_default();
        let mut entries: Vec<HistoryEntry> = Vec::new();
        for entry in text.lines().filter_map(|line| serde_json::from_str::<HistoryEntry>(line).ok()) {
            // Each is written when it begins and again when it ends.
            let same = |known: &HistoryEntry| {
                known.outcome == UNFINISHED
                    && entry.outcome != UNFINISHED
                    && (known.at, &known.who, &known.command) == (entry.at, &entry.who, &entry.command)
            };
            match entries.iter().rposition(same) {
                Some(begun) => entries[begun] = entry,
                None => entries.push(entry),
            }
        }
        Ok(entries)
    }
}

#[cfg(test)]
mod tests {
    use super::{HistoryEntry, Store, commit, is_dirty};

    #[tokio::test]
    async fn what_was_done_outlives_the_environment() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path(), &"dev".parse().unwrap());
        assert_eq!(store.history().await.unwrap(), []);
        let entry = HistoryEntry {
            outcome: "done".into(),
            ..HistoryEntry::begin("apply", folder.path(), "abc", vec!["+ vm.a".into()])
        };
        store.remember(&entry).await.unwrap();
        store.remove().await.unwrap();
        std::fs::OpenOptions::new()
            .append(true)
            .open(store.folder().join("history.jsonl"))
            .and_then(|mut file| std::io::Write::write_all(&mut file, b"{\"command\": \"app"))
            .unwrap();
        assert_eq!(store.history().await.unwrap(), std::slice::from_ref(&entry));
    }

    #[tokio::test]
    async fn a_command_that_was_killed_is_in_the_history() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path(), &"dev".parse().unwrap());
        let [killed, other] = [(); 2].map(|()| HistoryEntry::begin("apply", folder.path(), "", Vec::new()));
        store.begin(&killed).await.unwrap();
        store.begin(&other).await.unwrap();
        store.remember(&HistoryEntry { outcome: "done".into(), ..other }).await.unwrap();
        let outcomes: Vec<String> = store.history().await.unwrap().into_iter().map(|entry| entry.outcome).collect();
        assert_eq!(outcomes, ["it did not come to its end", "done"]);
    }

    #[test]
    fn the_commit_is_read_from_the_repository() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(commit(folder.path()), None);
        let git = folder.path().join(".git");
        std::fs::create_dir_all(git.join("refs/heads")).unwrap();
        std::fs::write(git.join("HEAD"), "ref: refs/heads/main\n").unwrap();
        std::fs::write(git.join("packed-refs"), "# pack-refs\nabc123 refs/heads/main\n").unwrap();
        assert_eq!(commit(&folder.path().join("envs/dev")).as_deref(), Some("abc123"));
        std::fs::write(git.join("refs/heads/main"), "def456\n").unwrap();
        assert_eq!(commit(folder.path()).as_deref(), Some("def456"));
        std::fs::write(git.join("HEAD"), "0a1b2c\n").unwrap();
        assert_eq!(commit(folder.path()).as_deref(), Some("0a1b2c"));
    }

    #[test]
    #[expect(clippy::disallowed_types, reason = "the repository is one of git's own")]
    fn files_that_are_not_in_the_commit_are_seen() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(is_dirty(folder.path()), None);
        let git = |arguments: &[&str]| {
            let mut git = std::process::Command::new("git");
            git.arg("-C").arg(folder.path()).args(["-c", "user.name=a", "-c", "user.email=a@b.c"]).args(arguments);
            assert!(git.output().unwrap().status.success(), "{arguments:?}");
        };
        let write = |name: &str| std::fs::write(folder.path().join(name), name).unwrap();
        git(&["init"]);
        write("a");
        assert_eq!(is_dirty(folder.path()), Some(true));
        git(&["add", "a"]);
        git(&["commit", "-m", "a"]);
        assert_eq!(is_dirty(folder.path()), Some(false));
        write(".infra-project");
        std::fs::create_dir(folder.path().join(".infra")).unwrap();
        write(".infra/state");
        assert_eq!(is_dirty(folder.path()), Some(false), "what infra writes itself is no change");
        write("b");
        assert_eq!(is_dirty(folder.path()), Some(true));
    }
}
