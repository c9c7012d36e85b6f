//! `infra extend`: gives an environment more time.

use std::time::Duration;

use clap::Args;
use jiff::Timestamp;

use super::session::{EnvironmentArgs, Session};
use crate::{
    clock::Clock,
    config,
    error::{Error, Result},
    event::Events,
    plan,
    resource::Terms,
    secret::Redactor,
    ui::{Mode, Ui},
};

/// Let an environment live longer: for this long from now on, or without an end
#[derive(Args, Debug)]
pub(super) struct Extend {
    #[command(flatten)]
    environment: EnvironmentArgs,
    /// How long from now on, as `2h` or `7d`; `never` to expire
    #[arg(value_name = "TIME", value_parser = life)]
    time: Life,
    /// Also when the environment would have lived longer than that
    #[arg(long)]
    shorten: bool,
}

/// How long an environment is to live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    For(Duration),
    Endless,
}

fn life(text: &str) -> Result<Life, String> {
    if text == "never" {
        return Ok(Life::Endless);
    }
    config::lifetime(text).map(Life::For).map_err(|error| format!("{error}, or `never`"))
}

impl Life {
    /// When an environment expires that expires then now; `None` is never.
    fn expires(self, known: Option<Timestamp>, shorten: bool, now: Timestamp) -> Result<Option<Timestamp>> {
        let Self::For(span) = self else { return Ok(None) };
        let end = now.checked_add(span).map_err(|_| Error::usage("no calendar holds the end of such a time"))?;
        Ok(match known {
            _ if shorten => Some(end),
            None => None,
            Some(known) => Some(known.max(end)),
        })
    }
}

/// When an environment expires, as a sentence has it.
fn tell(expires: Option<Timestamp>) -> String {
    let moment = |expires: Timestamp| format!("expires at {}", expires.strftime("%Y-%m-%d %H:%M:%S UTC"));
    expires.map_or_else(|| "never expires".to_owned(), moment)
}

impl Extend {
    pub(super) async fn run(&self, ui: &Ui, redactor: &Redactor) -> Result<u8> {
        let mut session = Session::open(&self.environment, redactor).await?;
        let name = session.environment.name.clone();
        // Whoever works on it right now is waited for: the lock is short, and time may be.
        let wait = Duration::from_mins(10);
        let extended = async {
            session.lock(&format!("infra extend {name}"), wait, redactor, &Events::ignored()).await?;
            self.extend(&mut session).await
        }
        .await;
        session.unlock().await;
        let (before, after) = extended?;
        if ui.mode() == Mode::Json {
            ui.json(&serde_json::json!({ "environment": name, "expires": after, "changed": before != after }));
            return Ok(0);
        }
        if before == after && self.time != Life::Endless {
            ui.say(&format!(
                "`{name}` would have lived longer: nothing was changed, `--shorten` changes it all the same"
            ));
        }
        ui.result(&format!("`{name}` {}\n", tell(after)));
        Ok(0)
    }

    /// When it expired before, and when it does now.
    async fn extend(&self, session: &mut Session) -> Result<(Option<Timestamp>, Option<Timestamp>)> {
        let objects = session.observe().await?;
        if objects.is_empty() {
            let name = &session.environment.name;
            return Err(Error::usage(format!("nothing of `{name}` exists")).hint(format!("infra apply {name}")));
        }
        let known = plan::terms_in_force(session.state.as_ref(), &objects);
        let expires = self.time.expires(known.expires, self.shorten, Clock::System.now())?;
        if expires != known.expires {
            let terms = session.given(Terms { expires, ..known.clone() });
            session.settle(&terms, &objects).await?;
        }
        Ok((known.expires, expires))
    }
}

#[cfg(test)]
mod tests {
    use super::{Life, Timestamp, life, tell};

    #[test]
    fn what_is_no_time_is_refused() {
        assert_eq!(life("never"), Ok(Life::Endless));
        assert!(matches!(life("2h"), Ok(Life::For(_))));
        for (nonsense, why) in [
            ("0", "no time at all"),
            ("0h", "no time at all"),
            ("soon", "not a duration"),
            ("99999999999d", "too long"),
            ("1001d1001d365000d", "too long"),
        ] {
            let said = life(nonsense).unwrap_err();
            assert!(said.contains(why) && said.ends_with("or `never`"), "{said}");
        }
    }

    #[test]
    fn nothing_is_shortened_by_accident() {
        let now: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
        let (early, late): (Timestamp, Timestamp) =
            ("2026-11-21T13:00:00Z".parse().unwrap(), "2026-11-22T12:00:00Z".parse().unwrap());
        let two_hours = life("2h").unwrap();
        let end = now.checked_add(std::time::Duration::from_hours(2)).unwrap();
        let expires = |life: Life, known, shorten| life.expires(known, shorten, now).unwrap();
        assert_eq!(expires(two_hours, Some(early), false), Some(end));
        assert_eq!(expires(two_hours, Some(late), false), Some(late));
        assert_eq!(expires(two_hours, None, false), None, "what never expires gets no end");
        assert_eq!(expires(two_hours, Some(late), true), Some(end));
        assert_eq!(expires(two_hours, None, true), Some(end));
        assert_eq!(expires(Life::Endless, Some(late), false), None);
        assert_eq!(tell(None), "never expires");
        assert_eq!(tell(Some(end)), "expires at 2026-11-21 14:00:00 UTC");
    }
}
