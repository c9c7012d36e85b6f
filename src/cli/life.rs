//! How long an environment lives, as an apply finds and leaves it.

use std::time::Duration;

use super::session::Session;
use crate::{
    clock::Clock,
    error::{Error, Result},
    plan,
    provider::Object,
    resource::Terms,
    state::State,
};

/// The terms that hold now: labels may say more than the state, when another command without it has given them.
pub(super) fn terms_in_force(state: Option<&State>, objects: &[Object]) -> Terms {
    let labels = plan::terms(objects);
    match state {
        Some(state) if labels.since > state.terms.since => {
            Terms { expires: labels.expires, since: labels.since, ..state.terms.clone() }
        }
        Some(state) => state.terms.clone(),
        None => labels,
    }
}

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
    let expired = terms_in_force(Some(state), observed).expires.filter(|expires| *expires <= Clock::System.now());
    let Some(expired) = expired.filter(|_| !environment.protect) else { return Ok(None) };
    if observed.is_empty() && environment.ttl.is_some() {
        return Ok(environment.ttl);
    }
    let at = expired.strftime("%Y-%m-%d %H:%M:%S UTC");
    let error = Error::usage(format!("`{name}` expired at {at}: `infra gc` would remove it; nothing was changed"))
        .hint(format!("give it more time: `infra apply {name} --ttl 2h`"));
    Err(if observed.is_empty() { error } else { error.hint(format!("or `infra extend {name} 2h`")) })
}
