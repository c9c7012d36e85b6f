//! The bracket around every command that writes: the lease, what makes it stop, and its line in the history.

use std::time::{Duration, Instant};

use super::{
    Site,
    recorder::{Record, Recorder},
    stop::Stop,
};
use crate::{
    cloud::retry,
    error::{Error, Result},
    event::{Ended, Event, Events},
    plan::{Action, Plan},
    state::HistoryEntry,
    trace::Trace,
};

impl Site {
    /// Runs a command under the environment's lease: takes it, reads the state again, and gives it back however the command
    /// ends. The work is asked to stop when the caller asks, when its time is up and when the lease is lost; what it did is in
    /// the history when it began an entry there.
    ///
    /// # Errors
    /// When another command holds the lease for longer than `wait`, and those of the work.
    pub async fn locked<T>(
        &mut self, what: &str, wait: Duration, events: &Events, stop: &Stop,
        work: impl AsyncFnOnce(&mut Self, &Events, &Stop) -> Result<T>,
    ) -> Result<T> {
        // What a command has left that was dropped half-way ends by itself.
        drop((self.lease.take(), self.record.take()));
        let (recorded, recorder) = Recorder::start(events, &self.redactor);
        let result = Box::pin(retry::until(stop.deadline(), async {
            tokio::select! {
                locked = self.lock(what, wait, &recorded) => locked?,
                () = stop.requested() => return Err(Error::interrupted("nothing was changed")),
                () = stop.time_is_up() => return Err(Error::interrupted("nothing was changed: the time is up")),
            }
            let lost = self.lease.as_ref().map(|lease| lease.lost().clone());
            stop.watched(what, lost, &recorded, work(self, &recorded, stop)).await
        }))
        .await;
        drop(recorded);
        let trace = recorder.finish().await;
        // Whatever made it end, there is time to write that down and to give the lease back.
        let ended = stop.ending(async {
            self.end_record(&trace, result.as_ref().err(), events).await;
            self.unlock().await;
        });
        if ended.await.is_none() {
            events.warn("the place of the state does not answer: the lease of this command ends by itself in a minute");
        }
        result
    }

    /// Writes down that a command begins: one that is killed is in the history, too.
    pub(super) async fn begin_record(&mut self, command: &str, plan: &Plan, events: &Events) {
        let changes = plan.changes.iter().filter(|change| change.action != Action::Keep);
        let lines = changes.map(|change| format!("{} {}", change.action.sign(), change.address)).collect();
        let entry = HistoryEntry::begin(command, &self.environment.project, &plan.digest, lines);
        if let Err(error) = self.store.begin(&entry).await {
            events.warn(error.to_string());
        }
        self.record = Some(Record { entry, begun: Instant::now() });
    }

    /// Lets the history say that the command has failed, although it came to its end.
    pub(super) fn record_failure(&mut self, failure: &str) {
        if let Some(record) = &mut self.record {
            failure.clone_into(&mut record.entry.outcome);
        }
    }

    /// Writes down what a command has done and how it ended. A history that cannot be written is no reason to fail.
    async fn end_record(&mut self, trace: &Trace, failure: Option<&Error>, events: &Events) {
        let Some(Record { entry, begun }) = self.record.take() else { return };
        let outcome = match failure {
            Some(error) => self.redactor.redact(&error.to_string()),
            None if entry.outcome.is_empty() => "done".to_owned(),
            None => entry.outcome.clone(),
        };
        let written = async {
            self.store.keep_trace(&serde_json::to_string(trace)?).await?;
            let (done, failed) = what_was_done(&entry.changes, trace, failure.is_none());
            let seconds = begun.elapsed().as_secs_f64();
            self.store.remember(&HistoryEntry { seconds, outcome, done: Some(done), failed, ..entry }).await
        };
        if let Err(error) = written.await {
            events.warn(error.to_string());
        }
    }
}

/// What of a plan was done, and what failed or was interrupted; the lines are those of the plan, as `+ vm.app-1`. What has no call
/// of its own was done when the command `succeeded`.
fn what_was_done(planned: &[String], trace: &Trace, succeeded: bool) -> (Vec<String>, Vec<String>) {
    let (mut done, mut failed) = (Vec::new(), Vec::new());
    for line in planned {
        let Some((sign, address)) = line.split_once(' ') else { continue };
        let steps = || trace.spans.iter().filter(|span| !span.task && span.subject == address);
        let ended_well = |what: &str| steps().any(|span| span.ended != Ended::Failed && span.what == what);
        // What is replaced is removed first.
        let is_replaced = sign == Action::Replace.sign();
        let is_done = if is_replaced { ended_well("created") } else { steps().next().is_some() || succeeded };
        if is_replaced && !is_done && ended_well("removed") {
            done.push(format!("{} {address}", Action::Delete.sign()));
        }
        if steps().any(|span| span.ended == Ended::Failed) {
            failed.push(line.clone());
        } else if is_done {
            done.push(line.clone());
        }
    }
    (done, failed)
}

/// Runs one phase of a command between its two events.
pub(super) async fn phase<T>(events: &Events, phase: &'static str, work: impl Future<Output = Result<T>>) -> Result<T> {
    let begun = Instant::now();
    events.emit(Event::PhaseStarted { phase });
    let result = work.await;
    events.emit(Event::PhaseEnded { phase, seconds: begun.elapsed().as_secs_f64() });
    result
}

#[cfg(test)]
mod tests {
    use super::{Ended, Event, Trace, what_was_done};

    #[test]
    fn what_a_trace_shows_was_done_and_the_rest_was_not() {
        let mut trace = Trace::default();
        let steps = [
            ("vm.a", "created", Ended::Changed),
            ("vm.b", "created", Ended::Failed),
            ("vm.c", "removed", Ended::Changed),
            ("vm.c", "created", Ended::Failed),
            ("vm.d", "removed", Ended::Changed),
        ];
        for (subject, done, ended) in steps {
            let (subject, done) = (subject.to_owned(), done.to_owned());
            trace.take(&Event::Finished { subject, done, ended, seconds: 1.0, detail: None }, 2.0);
        }
        let words = |list: &[&str]| list.iter().map(|&one| one.to_owned()).collect::<Vec<_>>();
        let planned = words(&["+ vm.a", "+ vm.b", "\u{b1} vm.c", "\u{b1} vm.d", "+ vm.e", ". vm.f"]);
        let (done, failed) = what_was_done(&planned, &trace, false);
        assert_eq!(done, words(&["+ vm.a", "- vm.c", "- vm.d"]));
        assert_eq!(failed, words(&["+ vm.b", "\u{b1} vm.c"]));
        assert!(what_was_done(&planned, &trace, true).0.contains(&". vm.f".to_owned()));
    }
}
