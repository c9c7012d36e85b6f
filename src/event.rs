//! What the program reports about its progress while it runs. Data moves down once; events leave sideways on a channel that
//! `ui` drains; nothing calls back up.

mod wait;

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use self::wait::Waits;
pub use self::wait::{Wait, wait_for, waiting};

/// How often a step that takes long says so.
const REMINDER: Duration = Duration::from_secs(30);

tokio::task_local! {
    static STEP: Events;
}

/// Warns about something in the step that this is called in.
pub fn warn(message: impl Into<String>) {
    let _ = STEP.try_with(|events| events.warn(message));
}

/// Runs a piece of work and reports what it waits for, whenever it has waited for half a minute. Steps that are watched
/// report their own waits.
pub async fn reminded<T>(subject: &str, doing: &str, report: impl Fn(Event), work: impl Future<Output = T>) -> T {
    let begun = std::time::Instant::now();
    let waits = Waits::default();
    let mut work = std::pin::pin!(waits.clone().scope(work));
    loop {
        tokio::select! {
            result = &mut work => return result,
            () = tokio::time::sleep(REMINDER) => {
                let waits = waits.now();
                // One that has only just begun is none yet.
                if waits.first().is_some_and(|wait| wait.seconds >= 1.0) {
                    report(Event::waiting(subject, doing, waits, begun.elapsed()));
                }
            }
        }
    }
}

/// The form of events, as a JSON Schema.
#[must_use]
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(Event).to_value()
}

/// How one step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// Nothing had to be done.
    Ok,
    /// Something was changed.
    Changed,
    /// The step was not for this host.
    Skipped,
    /// The step failed.
    Failed,
    /// The step failed, and the playbook says to go on.
    Ignored,
    /// The host could not be reached.
    Unreachable,
}

/// Something that is waited for.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Waited {
    /// What it is, as `the operation fhm...`.
    pub what: String,
    /// How long it has been waited for.
    pub seconds: f64,
}

/// One event. `subject` is an address such as `vm.app-1`, or a host.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A phase of the command begins: `image`, `resources`, `connect`, `configure`, `remove`.
    PhaseStarted {
        /// Its name.
        phase: &'static str,
    },
    /// A phase has ended.
    PhaseEnded {
        /// Its name.
        phase: &'static str,
        /// How long it took.
        seconds: f64,
    },
    /// Something that takes a while has begun.
    Started {
        /// On what.
        subject: String,
        /// What is being done, as `creating`.
        doing: String,
    },
    /// What had begun has ended.
    Finished {
        /// On what.
        subject: String,
        /// What was done, as `created`.
        done: String,
        /// How it ended.
        ended: Ended,
        /// How long it took.
        seconds: f64,
        /// What the host or the service said, when it failed.
        #[serde(skip_serializing_if = "Option::is_none")]
        detail: Option<String>,
    },
    /// A step takes long. This comes every half a minute.
    Waiting {
        /// What it is about.
        subject: String,
        /// What is being done, as `creating`.
        doing: String,
        /// What it has waited for longest, when it waits for something.
        #[serde(skip_serializing_if = "Option::is_none")]
        what: Option<String>,
        /// All that it waits for, the longest wait first.
        #[serde(skip_serializing_if = "Vec::is_empty", default)]
        waits: Vec<Waited>,
        /// How long it has taken so far.
        seconds: f64,
    },
    /// A task of a playbook has begun on a host.
    TaskStarted {
        /// The host.
        host: String,
        /// The role and the task's name.
        task: String,
    },
    /// A task of a playbook has ended on a host.
    TaskEnded {
        /// The host.
        host: String,
        /// The role and the task's name.
        task: String,
        /// How it ended.
        ended: Ended,
        /// How long it took.
        seconds: f64,
        /// The message or the output of the host, when it failed or when the task prints something.
        #[serde(skip_serializing_if = "Option::is_none")]
        detail: Option<String>,
        /// The change of each file, as unified diffs.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        diffs: Vec<String>,
    },
    /// Something the user should know.
    Warning {
        /// The text.
        message: String,
    },
    /// Something worth a line.
    Note {
        /// The text.
        message: String,
    },
}

impl Event {
    /// A step that takes long, and what it waits for.
    fn waiting(subject: &str, doing: &str, waits: Vec<Waited>, elapsed: Duration) -> Self {
        let what = waits.first().map(|wait| wait.what.clone());
        let (subject, doing) = (subject.to_owned(), doing.to_owned());
        Self::Waiting { subject, doing, what, waits, seconds: elapsed.as_secs_f64() }
    }

    /// The same event with other texts: what a redactor makes of each, before any of them is escaped.
    #[must_use]
    pub fn map_texts(self, change: impl Fn(&str) -> String) -> Self {
        let change = |text: String| change(&text);
        match self {
            Self::PhaseStarted { .. } | Self::PhaseEnded { .. } => self,
            Self::Started { subject, doing } => Self::Started { subject: change(subject), doing: change(doing) },
            Self::Finished { subject, done, ended, seconds, detail } => Self::Finished {
                subject: change(subject),
                done: change(done),
                ended,
                seconds,
                detail: detail.map(change),
            },
            Self::Waiting { subject, doing, what, waits, seconds } => Self::Waiting {
                subject: change(subject),
                doing: change(doing),
                what: what.map(change),
                waits: waits.into_iter().map(|wait| Waited { what: change(wait.what), ..wait }).collect(),
                seconds,
            },
            Self::TaskStarted { host, task } => Self::TaskStarted { host: change(host), task: change(task) },
            Self::TaskEnded { host, task, ended, seconds, detail, diffs } => Self::TaskEnded {
                host: change(host),
                task: change(task),
                ended,
                seconds,
                detail: detail.map(change),
                diffs: diffs.into_iter().map(change).collect(),
            },
            Self::Warning { message } => Self::Warning { message: change(message) },
            Self::Note { message } => Self::Note { message: change(message) },
        }
    }
}

/// The sending end. Clones go wherever something happens; a program that does not listen loses nothing but the news.
#[derive(Clone, Debug)]
pub struct Events(UnboundedSender<Event>);

impl Events {
    /// A channel of events.
    #[must_use]
    pub fn channel() -> (Self, UnboundedReceiver<Event>) {
        let (sender, receiver) = unbounded_channel();
        (Self(sender), receiver)
    }

    /// A channel without a listener.
    #[must_use]
    pub fn ignored() -> Self {
        Self::channel().0
    }

    /// Sends an event.
    pub fn emit(&self, event: Event) {
        // A closed channel has no listener any more, which is the listener's business.
        let _ = self.0.send(event);
    }

    /// Reports something worth a line.
    pub fn note(&self, message: impl Into<String>) {
        self.emit(Event::Note { message: message.into() });
    }

    /// Reports a warning.
    pub fn warn(&self, message: impl Into<String>) {
        self.emit(Event::Warning { message: message.into() });
    }

    /// Runs a piece of work between `Started` and `Finished`.
    ///
    /// # Errors
    /// What the work returns.
    pub async fn watch<T>(
        &self, subject: &str, doing: &str, done: &str, work: impl Future<Output = crate::error::Result<T>>,
    ) -> crate::error::Result<T> {
        let begun = std::time::Instant::now();
        self.emit(Event::Started { subject: subject.to_owned(), doing: doing.to_owned() });
        let waits = Waits::default();
        let result = {
            let mut work = std::pin::pin!(STEP.scope(self.clone(), waits.clone().scope(work)));
            loop {
                tokio::select! {
                    result = &mut work => break result,
                    () = tokio::time::sleep(REMINDER) => {
                        self.emit(Event::waiting(subject, doing, waits.now(), begun.elapsed()));
                    }
                }
            }
        };
        let (ended, detail) = match &result {
            Ok(_) => (Ended::Changed, None),
            Err(error) => (Ended::Failed, Some(error.to_string())),
        };
        let seconds = begun.elapsed().as_secs_f64();
        self.emit(Event::Finished { subject: subject.to_owned(), done: done.to_owned(), ended, seconds, detail });
        result
    }
}
