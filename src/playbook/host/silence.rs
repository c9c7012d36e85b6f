//! Machines that do not answer: said after some seconds, long before the connection is given up.

use std::time::Duration;

use super::{HostRun, Place};
use crate::remote::Transport;

/// How long nothing is asked, and then how long a sign of life may take.
const QUIET: Duration = Duration::from_secs(5);

impl HostRun<'_> {
    /// Waits for work on a host. A task that takes long is no silence: the machine still answers. One that does not is named.
    pub(super) async fn attend<T>(
        &self, place: &Place, connection: &dyn Transport, work: impl Future<Output = T>,
    ) -> T {
        tokio::pin!(work);
        let mut silent = false;
        loop {
            tokio::select! {
                done = &mut work => return done,
                () = tokio::time::sleep(QUIET) => {}
            }
            let answer = tokio::select! {
                done = &mut work => return done,
                answer = tokio::time::timeout(QUIET, connection.ping()) => answer,
            };
            let (host, task) = (&place.host, &self.current);
            match (&answer, silent) {
                (Err(_), false) => self.shared.events.warn(format!(
                    "`{host}` has been silent for {} s during `{task}`; without an answer it is given up after 60 s",
                    2 * QUIET.as_secs()
                )),
                (Ok(Ok(())), true) => self.shared.events.note(format!("`{host}` answers again")),
                _ => {}
            }
            silent = answer.is_err();
        }
    }
}
