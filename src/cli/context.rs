//! What every command gets beside its arguments.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::task::AbortOnDropHandle;

use crate::{
    error::Result,
    event::Events,
    lifecycle::{Reason, Secrets, Site, Stop, Target},
    plan::Plan,
    secret::Redactor,
    ui::{self, Mode, Progress, Report, Ui},
};

/// The terminal, what must not be shown on it, and when the command has to end.
pub(super) struct Context {
    pub(super) ui: Ui,
    pub(super) redactor: Redactor,
    /// Whether the text of changed files is shown.
    pub(super) diff: bool,
    pub(super) stop: Stop,
    pub(super) watched: Arc<Watched>,
}

impl Context {
    /// Opens an environment.
    ///
    /// # Errors
    /// As [`Site::open`].
    pub(super) async fn open(&self, target: &Target) -> Result<Site> {
        Box::pin(Site::open(target, &self.redactor, Secrets::Needed)).await
    }

    /// Opens an environment and prints what the user should know about its file.
    ///
    /// # Errors
    /// As [`Site::open`].
    pub(super) async fn review(&self, target: &Target) -> Result<Site> {
        let site = self.open(target).await?;
        self.ui.warnings(&site.environment.warnings);
        Ok(site)
    }

    /// Prints a warning that no file is the cause of.
    pub(super) fn warn(&self, message: impl std::fmt::Display) {
        self.ui.say(&format!("warning: {message}"));
    }

    /// Shows a plan before it is carried out; its warnings are events where its text is not shown.
    pub(super) fn show(&self, plan: &Plan, is_shown: bool, events: &Events) {
        if is_shown {
            self.ui.say(ui::plan_text(&self.ui, plan).trim_end());
        }
        if !is_shown || self.ui.mode() == Mode::Json {
            for warning in &plan.warnings {
                events.warn(warning);
            }
        }
    }

    /// Runs work on an environment under its lease and shows how it goes on; what was shown is returned beside the result.
    pub(super) async fn locked<T>(
        &self, site: &mut Site, command: &str, wait: Duration,
        work: impl AsyncFnOnce(&mut Site, &Events, &Stop) -> Result<T>,
    ) -> (Result<T>, Report) {
        let what = format!("infra {command} {}", site.environment.name);
        self.shown(async |events| site.locked(&what, wait, events, &self.stop, work).await).await
    }

    /// Shows how a piece of work goes on; what was shown is returned beside the result.
    pub(super) async fn shown<T>(&self, work: impl AsyncFnOnce(&Events) -> T) -> (T, Report) {
        let (events, progress) = Progress::start(&self.ui);
        let result = work(&events).await;
        drop(events);
        (result, progress.finish().await)
    }

    /// The same without showing it: for commands that are done in a moment.
    pub(super) async fn quietly<T>(
        &self, site: &mut Site, command: &str, wait: Duration, work: impl AsyncFnOnce(&mut Site) -> Result<T>,
    ) -> Result<T> {
        let what = format!("infra {command} {}", site.environment.name);
        site.locked(&what, wait, &Events::ignored(), &self.stop, async |site, _, _| work(site).await).await
    }

    /// Lets Ctrl-C and SIGTERM ask the command to stop, for as long as the value lives. A second one ends the program at once:
    /// what is about to be done is in the state before every call, so even that can be gone on from.
    ///
    /// Before that and after it, they end the program as they end any other.
    pub(super) fn watch_signals(&self) -> Watching {
        let (watched, stop) = (Arc::clone(&self.watched), self.stop.clone());
        watched.count.fetch_add(1, Ordering::SeqCst);
        // From the first one on the runtime catches them, for good.
        let listened = Arc::clone(&watched);
        watched.listener.get_or_init(|| {
            AbortOnDropHandle::new(tokio::spawn(async move {
                let Ok(mut terminate) = signal(SignalKind::terminate()) else { return };
                loop {
                    let reason = tokio::select! {
                        _ = tokio::signal::ctrl_c() => Reason::Interrupted,
                        _ = terminate.recv() => Reason::Terminated,
                    };
                    let is_second = stop.is_requested();
                    stop.request(reason);
                    if is_second || listened.count.load(Ordering::SeqCst) == 0 {
                        std::process::exit(i32::from(stopped_code(&stop)));
                    }
                }
            }))
        });
        Watching(watched)
    }
}

/// Whether signals ask a command to stop, and what listens to them.
#[derive(Default)]
pub(super) struct Watched {
    count: AtomicUsize,
    listener: OnceLock<AbortOnDropHandle<()>>,
}

/// As long as it lives, signals ask the command to stop.
pub(super) struct Watching(Arc<Watched>);

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The exit code of a program that was asked to stop: 128 and the number of the signal, or that of a failure when its time was
/// up.
pub(super) fn stopped_code(stop: &Stop) -> u8 {
    match stop.reason() {
        Some(Reason::TimedOut) => 1,
        Some(Reason::Terminated) => 143,
        Some(Reason::Interrupted | Reason::LeaseLost) | None => 130,
    }
}
