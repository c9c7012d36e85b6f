//! `infra extend`: gives an environment more time.

use std::time::Duration;

use clap::Args;
use jiff::Timestamp;

use super::{arguments::EnvironmentArgs, context::Context};
use crate::{
    config,
    error::Result,
    lifecycle::{self, Extended, Lifetime},
    ui::Mode,
};

/// Commands that work on the environment right now are waited for: the change takes a moment, and time may be short.
const WAIT: Duration = Duration::from_mins(10);

/// Let an environment live longer: for this long from now on, or without an end
#[derive(Args, Debug)]
pub(super) struct Extend {
    #[command(flatten)]
    environment: EnvironmentArgs,
    /// How long from now on, as `2h` or `7d`; `never` to expire
    #[arg(value_name = "TIME", value_parser = lifetime)]
    time: Lifetime,
    /// Also when the environment would have lived longer than that
    #[arg(long)]
    shorten: bool,
}

fn lifetime(text: &str) -> Result<Lifetime, String> {
    if text == "never" {
        return Ok(Lifetime::Endless);
    }
    config::lifetime(text).map(Lifetime::For).map_err(|error| format!("{error}, or `never`"))
}

/// When an environment expires, as a sentence has it.
fn sentence(expires: Option<Timestamp>) -> String {
    let moment = |expires: Timestamp| format!("expires at {}", expires.strftime("%Y-%m-%d %H:%M:%S UTC"));
    expires.map_or_else(|| "never expires".to_owned(), moment)
}

impl Extend {
    pub(super) async fn run(&self, context: &Context) -> Result<u8> {
        let ui = &context.ui;
        let mut site = context.open(&self.environment.target()?).await?;
        let work = async |site: &mut _| lifecycle::extend(site, self.time, self.shorten).await;
        let Extended { before, after } = context.quietly(&mut site, "extend", WAIT, work).await?;
        let name = &site.environment.name;
        if ui.mode() == Mode::Json {
            ui.json(&serde_json::json!({ "environment": name, "expires": after, "changed": before != after }));
            return Ok(0);
        }
        if before == after && self.time != Lifetime::Endless {
            ui.say(&format!(
                "`{name}` would have lived longer: nothing was changed, `--shorten` changes it all the same"
            ));
        }
        ui.result(&format!("`{name}` {}\n", sentence(after)));
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use super::{Lifetime, Timestamp, lifetime, sentence};

    #[test]
    fn what_is_no_time_is_refused() {
        assert_eq!(lifetime("never"), Ok(Lifetime::Endless));
        assert!(matches!(lifetime("2h"), Ok(Lifetime::For(_))));
        for (nonsense, why) in [
            ("0", "no time at all"),
            ("0h", "no time at all"),
            ("soon", "not a duration"),
            ("99999999999d", "too long"),
            ("1001d1001d365000d", "too long"),
        ] {
            let said = lifetime(nonsense).unwrap_err();
            assert!(said.contains(why) && said.ends_with("or `never`"), "{said}");
        }
    }

    #[test]
    fn an_end_is_a_sentence() {
        let end: Timestamp = "2026-11-21T14:00:00Z".parse().unwrap();
        assert_eq!(sentence(None), "never expires");
        assert_eq!(sentence(Some(end)), "expires at 2026-11-21 14:00:00 UTC");
    }
}
