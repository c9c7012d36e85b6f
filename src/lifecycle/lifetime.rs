//! How long an environment lives: what an apply begins, and what is given later.

use std::time::Duration;

use jiff::Timestamp;

use super::Site;
use crate::{
    error::{Error, Result},
    plan,
    provider::Object,
    resource::Terms,
    state,
};

impl Site {
    /// The terms under which the environment lives: those of its first apply, unless this command gives it another span of
    /// time or its file protects it now.
    pub(super) fn terms(&self, observed: &[Object], ttl: Option<Duration>) -> Result<Terms> {
        let known = self.state.as_ref().map(|state| plan::terms_in_force(Some(state), observed));
        let span = if known.is_some() { ttl } else { ttl.or(self.environment.ttl) };
        let terms =
            known.unwrap_or_else(|| Terms { owner: state::whoami(), template: self.template(), ..Terms::default() });
        let expires = match span {
            None => terms.expires,
            Some(span) => Some(self.clock.now().checked_add(span).map_err(|_| {
                Error::usage(format!("{} seconds are too long for an environment to live", span.as_secs()))
            })?),
        };
        Ok(self.given(Terms { expires, protect: self.environment.protect, ..terms }))
    }

    /// Terms that hold from now on, unless they are those that the state has.
    pub(super) fn given(&self, terms: Terms) -> Terms {
        let known = self.state.as_ref().map(|state| &state.terms);
        if known.is_some_and(|known| known.say_the_same_as(&terms)) {
            return terms;
        }
        terms.given(self.clock.now())
    }

    /// The terms of a member of a pool: it waits until someone needs it.
    pub(super) fn terms_without_end(&self) -> Result<Terms> {
        Ok(self.given(Terms { expires: None, ..self.terms(&[], None)? }))
    }

    /// Makes new terms hold: on what exists already, then in the state.
    pub(super) async fn settle(&mut self, terms: &Terms, objects: &[Object]) -> Result<()> {
        let is_new = self.state.as_ref().is_none_or(|state| state.terms != *terms);
        if is_new {
            self.provider.mark(&self.owner(), terms, objects).await?;
        }
        if let Some(state) = self.state.as_mut().filter(|state| is_new || state.awaits_ttl) {
            state.terms = terms.clone();
            state.awaits_ttl = false;
            state.serial += 1;
            self.store.write(state).await?;
        }
        Ok(())
    }

    /// The time that an apply gives to an environment that has a state: what the command says, or the file's where its time has
    /// not begun yet, or begins again because nothing of it is left.
    ///
    /// # Errors
    /// When its time is over: whatever were created would be removed by the next `infra gc`.
    pub(super) fn time_to_live(&self, observed: &[Object], given: Option<Duration>) -> Result<Option<Duration>> {
        let Some(state) = self.state.as_ref().filter(|_| given.is_none()) else { return Ok(given) };
        let (environment, name) = (&self.environment, &self.environment.name);
        if state.awaits_ttl {
            return Ok(environment.ttl);
        }
        let expires = plan::terms_in_force(Some(state), observed).expires;
        let expired = expires.filter(|expires| *expires <= self.clock.now() && !environment.protect);
        let Some(expired) = expired else { return Ok(None) };
        if observed.is_empty() && environment.ttl.is_some() {
            return Ok(environment.ttl);
        }
        let at = expired.strftime("%Y-%m-%d %H:%M:%S UTC");
        let error = Error::usage(format!("`{name}` expired at {at}: `infra gc` would remove it; nothing was changed"))
            .hint(format!("give it more time: `infra apply {name} --ttl 2h`"));
        Err(if observed.is_empty() { error } else { error.hint(format!("or `infra extend {name} 2h`")) })
    }

    /// A warning, when the file gives a time to an environment that was created without one.
    #[must_use]
    pub fn late_ttl(&self) -> Option<String> {
        let state = self.state.as_ref().filter(|state| state.terms.expires.is_none() && !state.awaits_ttl)?;
        let ttl = self.environment.ttl.filter(|_| state.pool.is_none())?;
        let name = &self.environment.name;
        let ttl = format!("{}s", ttl.as_secs());
        Some(format!(
            "`ttl` counts from an environment's first apply, and `{name}` was created without one: it never expires. \
             `infra extend {name} {ttl} --shorten` gives it that time"
        ))
    }
}

/// How long an environment is to live from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// For this long.
    For(Duration),
    /// Without an end.
    Endless,
}

impl Lifetime {
    /// When an environment expires that expires at `known` now; `None` is never.
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

/// When an environment expires, before and after a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extended {
    /// Before; `None` is never.
    pub before: Option<Timestamp>,
    /// Now.
    pub after: Option<Timestamp>,
}

/// Gives a locked environment more time; less of it only where `shorten` says so.
///
/// # Errors
/// When nothing of it exists, or its labels or its state cannot be written.
pub async fn extend(site: &mut Site, lifetime: Lifetime, shorten: bool) -> Result<Extended> {
    let objects = site.observe().await?;
    if objects.is_empty() {
        let name = &site.environment.name;
        return Err(Error::usage(format!("nothing of `{name}` exists")).hint(format!("infra apply {name}")));
    }
    let known = plan::terms_in_force(site.state.as_ref(), &objects);
    let expires = lifetime.expires(known.expires, shorten, site.clock.now())?;
    if expires != known.expires {
        let terms = site.given(Terms { expires, ..known.clone() });
        site.settle(&terms, &objects).await?;
    }
    Ok(Extended { before: known.expires, after: expires })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Lifetime, Timestamp};

    #[test]
    fn nothing_is_shortened_by_accident() {
        let now: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
        let (early, late): (Timestamp, Timestamp) =
            ("2026-11-21T13:00:00Z".parse().unwrap(), "2026-11-22T12:00:00Z".parse().unwrap());
        let two_hours = Lifetime::For(Duration::from_hours(2));
        let end = now.checked_add(Duration::from_hours(2)).unwrap();
        let expires = |lifetime: Lifetime, known, shorten| lifetime.expires(known, shorten, now).unwrap();
        assert_eq!(expires(two_hours, Some(early), false), Some(end));
        assert_eq!(expires(two_hours, Some(late), false), Some(late));
        assert_eq!(expires(two_hours, None, false), None, "what never expires gets no end");
        assert_eq!(expires(two_hours, Some(late), true), Some(end));
        assert_eq!(expires(two_hours, None, true), Some(end));
        assert_eq!(expires(Lifetime::Endless, Some(late), false), None);
    }
}
