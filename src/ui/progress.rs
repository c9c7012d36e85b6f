//! Shows events as they come: moving lines on a terminal, plain lines in a pipe, JSON for programs.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde::Serialize;
use tokio::{sync::mpsc::UnboundedReceiver, task::JoinHandle};

use super::{
    CYAN, DIM, EVENTS_VERSION, GREEN, Mode, RED, Report, Ui, YELLOW, annotation, command, duration, escape, write,
};
use crate::event::{Ended, Event, Events};

/// The listener of one command. It ends when all senders are gone.
#[must_use]
pub struct Progress {
    task: JoinHandle<Report>,
}

impl Progress {
    /// Starts to listen.
    pub fn start(ui: &Ui) -> (Events, Self) {
        let (events, receiver) = Events::channel();
        let ui = ui.clone();
        (events, Self { task: tokio::spawn(listen(ui, receiver)) })
    }

    /// Waits for the last event and returns what was reported. The events' sender must be dropped first.
    pub async fn finish(self) -> Report {
        self.task.await.unwrap_or_default()
    }
}

async fn listen(ui: Ui, mut events: UnboundedReceiver<Event>) -> Report {
    let begun = Instant::now();
    let mut report = Report::default();
    let mut screen = Screen { bars: ui.bars.clone(), ui, running: HashMap::new() };
    while let Some(event) = events.recv().await {
        // Here and nowhere later: whatever is made of an event (JSON, XML, annotations, the trace) escapes its texts.
        let event = event.map_texts(|text| screen.ui.redactor.redact(text));
        report.take(&event);
        report.trace.take(&event, begun.elapsed().as_secs_f64());
        screen.show(&event);
    }
    for bar in screen.running.values() {
        bar.finish_and_clear();
    }
    if let Some(path) = &screen.ui.junit
        && let Err(error) = std::fs::write(path, report.trace.to_junit())
    {
        screen.ui.say(&format!("warning: cannot write `{}`: {error}", path.display()));
    }
    report
}

impl Ui {
    /// Shows an event that came outside of what a [`Progress`] listens to.
    pub fn aside(&self, event: Event) {
        let event = event.map_texts(|text| self.redactor.redact(text));
        if self.mode == Mode::Json {
            // What is on standard output may be one document.
            write(&mut std::io::stderr(), &format!("{}\n", stamped(&event)));
            return;
        }
        let mut screen = Screen { bars: self.bars.clone(), ui: self.clone(), running: HashMap::new() };
        self.bars.suspend(|| screen.show(&event));
    }
}

/// An event as it is in the stream.
#[derive(Serialize)]
struct Stamped<'a> {
    v: u32,
    at: jiff::Timestamp,
    #[serde(flatten)]
    event: &'a Event,
}

/// The line of an event.
fn stamped(event: &Event) -> String {
    let at = jiff::Timestamp::now().round(jiff::Unit::Millisecond).unwrap_or_default();
    serde_json::to_string(&Stamped { v: EVENTS_VERSION, at, event }).unwrap_or_default()
}

struct Screen {
    ui: Ui,
    bars: MultiProgress,
    running: HashMap<String, ProgressBar>,
}

impl Screen {
    fn show(&mut self, event: &Event) {
        if self.ui.annotate
            && let Some(line) = annotation::of_event(event)
        {
            command(&line);
        }
        match self.ui.mode {
            Mode::Json => {
                write(&mut std::io::stdout(), &format!("{}\n", stamped(event)));
            }
            Mode::Terminal => {
                self.move_lines(event);
                if let Some(text) = self.text(event) {
                    // With no line moving, the lines go out by themselves.
                    if self.running.is_empty()
                        || self.bars.is_hidden()
                        || self.bars.println(escape::printable(&text)).is_err()
                    {
                        write(&mut std::io::stderr(), &format!("{text}\n"));
                    }
                }
            }
            Mode::Plain => {
                if let Some(text) = self.text(event) {
                    let time = crate::clock::Clock::System.now().strftime("%H:%M:%S").to_string();
                    write(&mut std::io::stderr(), &format!("{time} {text}\n"));
                }
            }
        }
    }

    fn move_lines(&mut self, event: &Event) {
        match event {
            Event::Started { subject, doing } => self.begin(subject, doing),
            Event::TaskStarted { host, task } => self.begin(host, task),
            Event::Finished { subject, .. } => self.end(subject),
            Event::TaskEnded { host, .. } => self.end(host),
            _ => {}
        }
    }

    fn begin(&mut self, subject: &str, what: &str) {
        let style = ProgressStyle::with_template("  {spinner} {msg} {elapsed:.dim}")
            .unwrap_or_else(|_| ProgressStyle::default_spinner());
        let bar = self.bars.add(
            ProgressBar::new_spinner()
                .with_style(style)
                .with_message(escape::visible(&format!("{subject}: {what}")).replace('\n', " ")),
        );
        bar.enable_steady_tick(Duration::from_millis(120));
        if let Some(old) = self.running.insert(subject.to_owned(), bar) {
            old.finish_and_clear();
        }
    }

    fn end(&mut self, subject: &str) {
        if let Some(bar) = self.running.remove(subject) {
            bar.finish_and_clear();
        }
    }

    /// What is said about an event; most of what went well and changed nothing is not worth a line.
    fn text(&self, event: &Event) -> Option<String> {
        let ui = &self.ui;
        let took = |seconds: f64| ui.paint(DIM, &format!("({})", duration(seconds)));
        match event {
            Event::Finished { subject, done, ended, seconds, detail } => match ended {
                Ended::Failed => {
                    let detail = detail.as_deref().unwrap_or_default();
                    // An image that no registry has is built instead; the failed question is no failure.
                    (subject != "image")
                        .then(|| format!("{} {subject} {}: {detail}", ui.paint(RED, "✗"), took(*seconds)))
                }
                _ => Some(format!("{} {subject} {done} {}", ui.paint(GREEN, "✓"), took(*seconds))),
            },
            Event::TaskEnded { host, task, ended, seconds, detail, diffs } => {
                let (sign, color) = match ended {
                    Ended::Changed => ("~", YELLOW),
                    Ended::Failed | Ended::Unreachable => ("✗", RED),
                    Ended::Ignored => ("!", CYAN),
                    Ended::Ok | Ended::Skipped if detail.is_some() => ("·", DIM),
                    Ended::Ok | Ended::Skipped => return None,
                };
                let mut text = format!("{} {host}: {task} {}", ui.paint(color, sign), took(*seconds));
                if *ended == Ended::Unreachable {
                    text += " unreachable";
                }
                if let Some(detail) = detail {
                    for line in detail.lines() {
                        text += &format!("\n    {line}");
                    }
                }
                if ui.diff {
                    for line in diffs.iter().flat_map(|diff| diff.lines()) {
                        let color = match line.chars().next() {
                            Some('+') => GREEN,
                            Some('-') => RED,
                            Some('@') => CYAN,
                            _ => "",
                        };
                        text += &format!(
                            "\n    {}",
                            if color.is_empty() { line.to_owned() } else { ui.paint(color, line) }
                        );
                    }
                }
                Some(text)
            }
            Event::Warning { message } => Some(format!("{} {message}", ui.paint(YELLOW, "warning:"))),
            Event::Note { message } => Some(message.clone()),
            Event::Waiting { subject, doing, waits, seconds, .. } => {
                let waits = waits.iter().map(|wait| format!("{} (for {})", wait.what, duration(wait.seconds)));
                let waits = waits.collect::<Vec<_>>().join("; ");
                let what = if waits.is_empty() { waits } else { format!(": waiting for {waits}") };
                Some(format!("{} {subject}: still {doing} after {}{what}", ui.paint(DIM, "·"), duration(*seconds)))
            }
            Event::PhaseStarted { .. }
            | Event::PhaseEnded { .. }
            | Event::Started { .. }
            | Event::TaskStarted { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Ended, Event, Progress, Ui};
    use crate::secret::Redactor;

    #[tokio::test]
    async fn texts_are_redacted_before_they_are_escaped() {
        let secret = "p&ss<w>\"1%x\\y";
        let redactor = Redactor::default();
        redactor.learn(secret);
        let folder = tempfile::tempdir().unwrap();
        let junit = folder.path().join("junit.xml");
        let ui = Ui::new(false, true, true, redactor).with_junit(Some(junit.clone()));
        let (events, progress) = Progress::start(&ui);
        events.emit(Event::TaskEnded {
            host: "a".into(),
            task: format!("uses {secret}"),
            ended: Ended::Failed,
            seconds: 1.0,
            detail: Some(format!("it said {secret}")),
            diffs: vec![format!("+{secret}\n")],
        });
        drop(events);
        let report = progress.finish().await;
        let xml = std::fs::read_to_string(junit).unwrap();
        assert!(xml.contains("name=\"uses [secret]\"") && xml.contains("it said [secret]"), "{xml}");
        assert!(!xml.contains("1%x"), "{xml}");
        let trace = serde_json::to_string(&report.trace).unwrap();
        assert!(trace.contains("it said [secret]") && !trace.contains("1%x"), "{trace}");
    }
}
