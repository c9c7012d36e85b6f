//! `infra history`: what was done to an environment, by whom and when.

use clap::Args;

use super::{arguments::current_dir, context::Context};
use crate::{
    config,
    error::{Error, Result},
    lifecycle::stores,
    name::Name,
    state::HistoryEntry,
    ui::{self, Mode},
};

/// Show every apply and destroy of an environment: who, when, what was done, how long, from which commit
#[derive(Args, Debug)]
pub(super) struct History {
    /// The environment's name; it may be gone already
    environment: Name,
}

/// What a command has done, in a few words; of one that was killed, only what it had planned is known.
fn changes(entry: &HistoryEntry) -> String {
    let few = |lines: &[String]| match lines.len() {
        0 => "none".to_owned(),
        1..=3 => lines.join(", "),
        many => format!("{}, and {} more", lines[..2].join(", "), many - 2),
    };
    match &entry.done {
        Some(done) if entry.failed.is_empty() && done.is_empty() && !entry.changes.is_empty() => {
            format!("none of {}", entry.changes.len())
        }
        Some(done) if entry.failed.is_empty() => few(done),
        Some(done) => format!("{}; failed: {}", few(done), few(&entry.failed)),
        // Entries of earlier versions have only the plan.
        None if entry.outcome == "done" || entry.changes.is_empty() => few(&entry.changes),
        None => format!("planned: {}", few(&entry.changes)),
    }
}

impl History {
    pub(super) async fn run(&self, context: &Context) -> Result<u8> {
        let ui = &context.ui;
        let entries = stores::history(&config::project_of(&current_dir()?), &self.environment).await?;
        if ui.mode() == Mode::Json {
            ui.json(&serde_json::to_value(&entries)?);
            return Ok(0);
        }
        if entries.is_empty() {
            let error = Error::usage(format!("nothing was done to an environment `{}` here", self.environment));
            return Err(error.hint("the history is in `.infra/` of the project that applied it"));
        }
        let mut rows = vec![["when", "what", "who", "took", "commit", "changes", "ended"].map(str::to_owned).to_vec()];
        for entry in &entries {
            let commit: String = entry.commit.as_deref().unwrap_or("-").chars().take(8).collect();
            let dirty = if entry.dirty == Some(true) { " (dirty)" } else { "" };
            rows.push(vec![
                entry.at.strftime("%Y-%m-%d %H:%M:%S").to_string(),
                entry.command.clone(),
                entry.who.clone(),
                ui::duration(entry.seconds),
                commit + dirty,
                changes(entry),
                entry.outcome.lines().next().unwrap_or_default().to_owned(),
            ]);
        }
        ui.result(&ui::table(&rows));
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use super::{HistoryEntry, changes};

    #[test]
    fn what_was_done_is_listed_and_not_what_was_planned() {
        let words = |list: &[&str]| list.iter().map(|&one| one.to_owned()).collect::<Vec<_>>();
        let planned = words(&["+ vm.a", "+ vm.b", "- vm.c"]);
        let folder = tempfile::tempdir().unwrap();
        let killed = HistoryEntry::begin("apply", folder.path(), "", planned.clone());
        assert_eq!(changes(&killed), "planned: + vm.a, + vm.b, - vm.c");
        let ended = |done: &[&str], failed: &[&str]| {
            changes(&HistoryEntry {
                done: Some(words(done)),
                failed: words(failed),
                outcome: "no room".into(),
                ..killed.clone()
            })
        };
        assert_eq!(ended(&["+ vm.a"], &["+ vm.b"]), "+ vm.a; failed: + vm.b");
        assert_eq!(ended(&[], &[]), "none of 3");
        assert_eq!(ended(&["+ vm.a"], &[]), "+ vm.a");
        assert_eq!(changes(&HistoryEntry { outcome: "done".into(), ..killed }), "+ vm.a, + vm.b, - vm.c");
    }
}
