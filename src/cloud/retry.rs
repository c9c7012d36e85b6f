//! Pauses between attempts: exponential with jitter, as Amazon's architecture blog describes it ("Exponential Backoff And
//! Jitter", 2015), but never shorter than the first step, and bounded by a budget of time.

use std::time::Duration;

use tokio::time::Instant;

use crate::event::{self, Wait};

/// No pause is shorter. What is added to it at random is at most as long at first, and may be twice as long each time.
const FIRST: Duration = Duration::from_millis(200);
/// No pause is longer, unless the server asks for it.
const LONGEST: Duration = Duration::from_secs(20);

/// How long a host is asked for that no name server knows: it is mostly a typing error, and sometimes a network that has just
/// been switched on.
const UNKNOWN_HOST: Duration = Duration::from_secs(20);

tokio::task_local! {
    /// When the command that a call belongs to must have ended, whatever the call would still try.
    static DEADLINE: Option<Instant>;
}

/// Runs a piece of work whose calls are not tried again after this moment. Each command has its own: several may run in one
/// process.
pub async fn until<T>(deadline: Option<Instant>, work: impl Future<Output = T>) -> T {
    let earliest = match (deadline, self::deadline()) {
        (Some(own), Some(outer)) => Some(own.min(outer)),
        (own, outer) => own.or(outer),
    };
    DEADLINE.scope(earliest, work).await
}

/// Runs what ends a command, which has until then, whatever is left of the command's own time.
pub async fn ending<T>(end: Option<Instant>, work: impl Future<Output = T>) -> T {
    DEADLINE.scope(end, work).await
}

/// When the command that this is called in must have ended.
fn deadline() -> Option<Instant> {
    DEADLINE.try_with(|deadline| *deadline).ok().flatten()
}

/// The attempts of one call.
#[derive(Debug)]
pub struct Attempts {
    made: u32,
    begun: Instant,
    deadline: Instant,
    /// What the pauses are for, from the first of them on.
    wait: Option<Wait>,
}

impl Attempts {
    /// Attempts that may go on for this long.
    #[must_use]
    pub fn within(budget: Duration) -> Self {
        let begun = Instant::now();
        let own = begun + budget;
        Self { made: 0, begun, deadline: deadline().map_or(own, |deadline| own.min(deadline)), wait: None }
    }

    /// Notes why the last attempt failed: a host that no name server knows is not asked for as long as one that does not answer.
    pub fn failed(&mut self, error: &reqwest::Error) {
        if is_unknown_host(error) {
            self.deadline = self.deadline.min(self.begun + UNKNOWN_HOST);
        }
    }

    /// Lets the attempts go on for longer: for as long as something else was waited for.
    pub fn extend(&mut self, by: Duration) {
        self.deadline = deadline().map_or(self.deadline + by, |deadline| deadline.min(self.deadline + by));
    }

    /// Waits before the next attempt, for as long as the server asked or for a random time; `false` when the budget is used
    /// up, and nothing was waited for. `what` is reported as that which is waited for since the first of these pauses.
    pub async fn pause(&mut self, what: impl Into<String>, asked: Option<Duration>) -> bool {
        let ceiling = FIRST.saturating_mul(1 << self.made.min(10)).min(LONGEST);
        self.made += 1;
        // Without random numbers the whole pause is as good as any.
        let share = getrandom::u32().map_or(1.0, |random| f64::from(random) / f64::from(u32::MAX));
        let pause = asked.map_or_else(|| FIRST + ceiling.mul_f64(share), |asked| asked.max(FIRST));
        if Instant::now() + pause >= self.deadline {
            return false;
        }
        match &self.wait {
            Some(wait) => wait.is_for(what),
            None => self.wait = Some(event::wait_for(what)),
        }
        tokio::time::sleep(pause).await;
        true
    }
}

/// Whether a call failed because no name server knows its host. The HTTP library says so in words only.
#[must_use]
pub fn is_unknown_host(error: &reqwest::Error) -> bool {
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    error.is_connect() && causes.into_iter().any(|cause| cause.to_string().contains("dns error"))
}

/// The whole seconds of a `Retry-After` header; dates are not used by the clouds we talk to.
#[must_use]
pub fn retry_after(headers: &reqwest::header::HeaderMap) -> Option<Duration> {
    let text = headers.get(reqwest::header::RETRY_AFTER)?.to_str().ok()?;
    text.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::{Attempts, FIRST};
    use crate::event::{Event, Events};

    #[tokio::test(start_paused = true)]
    async fn pauses_end_with_the_budget() {
        let mut attempts = Attempts::within(Duration::from_mins(1));
        let mut made = 0;
        while attempts.pause("the test", None).await {
            made += 1;
        }
        assert!(made >= 4, "{made} attempts in a minute");
        assert!(!attempts.pause("the test", Some(Duration::from_mins(5))).await);
    }

    #[tokio::test]
    async fn a_host_that_no_name_server_knows_is_not_asked_for_long() {
        let client = crate::cloud::builder().no_proxy().build().unwrap();
        // RFC 6761: this name is never given to anyone.
        let error = client.get("http://nowhere.invalid/").send().await.unwrap_err();
        assert!(super::is_unknown_host(&error), "{error:?}");
        let mut attempts = Attempts::within(Duration::from_mins(5));
        attempts.failed(&error);
        assert!(attempts.deadline <= Instant::now() + super::UNKNOWN_HOST);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let error = client.get(format!("http://{address}/")).send().await.unwrap_err();
        assert!(error.is_connect() && !super::is_unknown_host(&error), "{error:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn commands_in_one_process_have_deadlines_of_their_own() {
        let tries = async |time: Option<Duration>| {
            let deadline = time.map(|time| Instant::now() + time);
            super::until(deadline, async {
                let (begun, mut attempts) = (Instant::now(), Attempts::within(Duration::from_mins(1)));
                while attempts.pause("the test", None).await {}
                begun.elapsed()
            })
            .await
        };
        let (short, none) = tokio::join!(tries(Some(Duration::from_secs(2))), tries(None));
        assert!(short <= Duration::from_secs(2) && none > Duration::from_secs(20), "{short:?} {none:?}");
        let inner =
            super::until(Some(Instant::now() + Duration::from_secs(1)), tries(Some(Duration::from_mins(1)))).await;
        assert!(inner <= Duration::from_secs(1), "a part of a command has no more time than all of it: {inner:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_pauses_are_for_is_reported_since_the_first_of_them() {
        let (events, mut heard) = Events::channel();
        let throttled = async {
            let mut attempts = Attempts::within(Duration::from_secs(70));
            while attempts.pause("the cloud (slow down)", Some(Duration::from_secs(5))).await {}
            drop(attempts);
            tokio::time::sleep(Duration::from_mins(1)).await;
            Ok(())
        };
        events.watch("vm.a", "creating", "created", throttled).await.unwrap();
        drop(events);
        let mut waits = Vec::new();
        while let Some(event) = heard.recv().await {
            if let Event::Waiting { waits: now, .. } = event {
                waits.push(now.into_iter().map(|wait| (wait.what, wait.seconds)).collect::<Vec<_>>());
            }
        }
        let slow = |seconds: f64| vec![("the cloud (slow down)".to_owned(), seconds)];
        assert_eq!(waits, [slow(30.0), slow(60.0), Vec::new(), Vec::new()]);
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_for_something_else_takes_no_time_of_the_budget() {
        let mut attempts = Attempts::within(Duration::from_mins(1));
        tokio::time::sleep(Duration::from_mins(10)).await;
        attempts.extend(Duration::from_mins(10));
        assert!(attempts.pause("the test", None).await);
        tokio::time::sleep(Duration::from_mins(1)).await;
        assert!(!attempts.pause("the test", None).await);
    }

    #[tokio::test(start_paused = true)]
    async fn no_pause_is_shorter_than_the_first_step_or_than_the_server_asks() {
        for asked in [None, Some(Duration::ZERO), Some(Duration::from_secs(7))] {
            for _ in 0..50 {
                let begun = Instant::now();
                assert!(Attempts::within(Duration::from_mins(1)).pause("the test", asked).await);
                assert!(begun.elapsed() >= asked.unwrap_or_default().max(FIRST), "{asked:?}: {:?}", begun.elapsed());
            }
        }
    }
}
