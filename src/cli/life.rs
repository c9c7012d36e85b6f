//! How long an environment lives, as an apply finds and leaves it.

use std::time::Duration;

use super::session::Session;
use crate::{
    clock::Clock,
    error::{Error, Result},
    plan,
    provider::Object,
};

/// The time that an apply gives to an environment that has a state: what the command line says, or the file's where its time has
/// not begun yet, or begins again because nothing of it is left.
///
/// # Errors
/// When its time is over: whatever were created would be removed by the next `infra gc`.
pub(super) fn begins(session: &Session, observed: &[Object], given: Option<Duration>) -> Result<Option<Duration>> {
    let Some(state) = session.state.as_ref().filter(|_| given.is_none()) else { return Ok(given) };
    let (environment, name) = (&session.environment, &session.environment.name);
    if state.awaits_ttl {
        return Ok(environment.ttl);
    }
    let expired = plan::terms_in_force(Some(state), observed).expires.filter(|expires| *expires <= Clock::System.now());
    let Some(expired) = expired.filter(|_| !environment.protect) else { return Ok(None) };
    if observed.is_empty() && environment.ttl.is_some() {
        return Ok(environment.ttl);
    }
    let at = expired.strftime("%Y-%m-%d %H:%M:%S UTC");
    let error = Error::usage(format!("`{name}` expired at {at}: `infra gc` would remove it; nothing was changed"))
        .hint(format!("give it more time: `infra apply {name} --ttl 2h`"));
    Err(if observed.is_empty() { error } else { error.hint(format!("or `infra extend {name} 2h`")) })
}

/// A warning, when the file gives a time to an environment that was created without one.
pub(super) fn late_ttl(session: &Session) -> Option<String> {
    let state = session.state.as_ref().filter(|state| state.terms.expires.is_none() && !state.awaits_ttl)?;
    let ttl = session.environment.ttl.filter(|_| state.pool.is_none())?;
    let name = &session.environment.name;
    let ttl = format!("{}s", ttl.as_secs());
    Some(format!(
        "warning: `ttl` counts from an environment's first apply, and `{name}` was created without one: it never expires. \
         `infra extend {name} {ttl} --shorten` gives it that time"
    ))
}
