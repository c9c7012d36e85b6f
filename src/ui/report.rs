//! What a command has done, as it says at its end.

use serde_json::json;

use super::{EVENTS_VERSION, Mode, RED, Ui, duration, table};
use crate::{
    apply::Tally,
    event::{Ended, Event},
    playbook::Recap,
    trace::Trace,
};

/// What was reported while a command ran.
#[derive(Clone, Debug, Default)]
pub struct Report {
    phases: Vec<(&'static str, f64)>,
    resources: Vec<(String, String, f64)>,
    tasks: Vec<(String, String, Ended, f64)>,
    /// All that took a while, with its times.
    pub trace: Trace,
}

impl Report {
    pub(super) fn take(&mut self, event: &Event) {
        match event {
            Event::PhaseEnded { phase, seconds } => self.phases.push((phase, *seconds)),
            Event::Finished { subject, done, seconds, .. } => {
                self.resources.push((subject.clone(), done.clone(), *seconds));
            }
            Event::TaskEnded { host, task, ended, seconds, .. } => {
                self.tasks.push((host.clone(), task.clone(), *ended, *seconds));
            }
            _ => {}
        }
    }

    /// The steps that the whole had to wait for: those of the machine that was ready last, but for the short ones.
    fn critical_path(&self) -> Option<String> {
        let (last, ..) = self.tasks.last()?;
        let total: f64 = self.tasks.iter().filter(|(host, ..)| host == last).map(|(.., seconds)| seconds).sum();
        let machine = format!("vm.{last}");
        let made = self.resources.iter().filter(|(subject, ..)| *subject == machine || subject == last);
        let made = made.map(|(_, done, seconds)| (done.clone(), *seconds));
        let tasks =
            self.tasks.iter().filter(|(host, ..)| host == last).map(|(_, task, _, seconds)| (task.clone(), *seconds));
        let long: Vec<String> = made
            .chain(tasks)
            .filter(|(_, seconds)| *seconds >= (total / 20.0).max(0.1))
            .map(|(what, seconds)| format!("{what} {}", duration(seconds)))
            .collect();
        (!long.is_empty()).then(|| format!("{last}: {}", long.join(" > ")))
    }
}

/// The last words of `apply`, `destroy` and `run`.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// The environment.
    pub environment: String,
    /// What happened to resources.
    pub tally: Tally,
    /// What happened on machines.
    pub recap: Recap,
    /// The outputs.
    pub outputs: Vec<(String, String)>,
    /// Seconds from the start to the end.
    pub seconds: f64,
}

impl Summary {
    /// Prints it.
    pub fn print(&self, ui: &Ui, report: &Report) {
        let outputs: serde_json::Map<String, serde_json::Value> =
            self.outputs.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
        if ui.mode() == Mode::Json {
            let phases: serde_json::Map<String, serde_json::Value> =
                report.phases.iter().map(|(name, seconds)| ((*name).to_owned(), json!(seconds))).collect();
            let value = json!({
                "v": EVENTS_VERSION, "event": "summary", "environment": self.environment, "created": self.tally.created,
                "changed": self.tally.changed, "destroyed": self.tally.destroyed, "hosts": self.recap.hosts,
                "phases": phases, "seconds": self.seconds, "outputs": outputs,
            });
            ui.json_line(&value);
            return;
        }
        let mut text = String::from("\n");
        if !self.recap.hosts.is_empty() {
            let mut rows =
                vec![["machine", "ok", "changed", "failed", "skipped", "ignored"].map(str::to_owned).to_vec()];
            for (host, tally) in &self.recap.hosts {
                let failed = if tally.unreachable > 0 { "unreachable".to_owned() } else { tally.failed.to_string() };
                rows.push(vec![
                    host.clone(),
                    tally.ok.to_string(),
                    tally.changed.to_string(),
                    failed,
                    tally.skipped.to_string(),
                    tally.ignored.to_string(),
                ]);
            }
            text += &table(&rows);
            text.push('\n');
        }
        text += &format!(
            "resources: {} created, {} changed, {} destroyed\n",
            self.tally.created, self.tally.changed, self.tally.destroyed
        );
        let phases: Vec<String> =
            report.phases.iter().map(|(name, seconds)| format!("{name} {}", duration(*seconds))).collect();
        text += &format!("time:      {} ({})\n", duration(self.seconds), phases.join(", "));
        if let Some(path) = report.critical_path() {
            text += &format!("slowest:   {path}\n");
        }
        if !self.recap.succeeded() {
            let failed: Vec<&str> = (self.recap.hosts.iter())
                .filter(|(_, tally)| tally.failed + tally.unreachable > 0)
                .map(|(host, _)| host.as_str())
                .collect();
            text += &format!("{} {}\n", ui.paint(RED, "failed:   "), failed.join(", "));
        }
        ui.say(text.trim_end_matches('\n'));
        if !self.outputs.is_empty() {
            let rows: Vec<Vec<String>> = (self.outputs.iter())
                .map(|(name, value)| {
                    // A certificate of many lines is asked for by name.
                    let shown = if value.contains('\n') {
                        format!("(infra output {} {name})", self.environment)
                    } else {
                        value.clone()
                    };
                    vec![format!("{name}:"), shown]
                })
                .collect();
            ui.say("");
            ui.result(&table(&rows));
        }
    }
}
