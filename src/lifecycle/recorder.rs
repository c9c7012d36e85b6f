//! What a command leaves behind: its line in the history, and the times of all that it did.

use std::time::Instant;

use tokio::task::JoinHandle;

use crate::{event::Events, secret::Redactor, state::HistoryEntry, trace::Trace};

/// The line of a command in the history, which is completed when it ends.
pub(super) struct Record {
    pub(super) entry: HistoryEntry,
    pub(super) begun: Instant,
}

/// Listens to the events of one command.
#[must_use]
pub(super) struct Recorder(JoinHandle<Trace>);

impl Recorder {
    /// Starts to listen: what is sent to the events that are returned is recorded and passed on to `listener`.
    pub(super) fn start(listener: &Events, redactor: &Redactor) -> (Events, Self) {
        let (events, mut receiver) = Events::channel();
        let (listener, redactor, begun) = (listener.clone(), redactor.clone(), Instant::now());
        let recording = tokio::spawn(async move {
            let mut trace = Trace::default();
            while let Some(event) = receiver.recv().await {
                trace.take(&event, begun.elapsed().as_secs_f64());
                listener.emit(event);
            }
            // Before it is escaped for the format that it is kept in.
            trace.map_texts(|text| redactor.redact(text))
        });
        (events, Self(recording))
    }

    /// What was recorded. The events' senders must be dropped first.
    pub(super) async fn finish(self) -> Trace {
        self.0.await.unwrap_or_default()
    }
}
