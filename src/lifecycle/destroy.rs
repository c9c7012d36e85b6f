//! Removes everything of an environment and proves it.

use super::{PlanOptions, Site, Stop, locked::phase, review::Goal};
use crate::{
    apply::{Run, Tally},
    config::Environment,
    error::{Error, Result},
    event::Events,
    name::Name,
    plan::{Plan, terms},
    provider::Object,
    state::State,
};

/// What a destruction is asked to do.
#[derive(Clone, Debug, Default)]
pub struct DestroyOptions {
    /// The name of a protected environment that is meant all the same.
    pub force_protected: Option<Name>,
    /// Whether to go on although all that the state knows is gone.
    pub forget: bool,
    /// Whether no last copy of managed databases is made.
    pub allow_data_loss: bool,
}

/// Whether an environment is protected: by its file here, by the file that it was last applied from, or by what its labels
/// say.
///
/// # Errors
/// When it is, and its name was not repeated.
pub(super) fn check_protection(
    environment: &Environment, state: Option<&State>, observed: &[Object], force: Option<&Name>,
) -> Result<()> {
    let name = &environment.name;
    let by = if environment.protect {
        "its file"
    } else if state.is_some_and(|state| state.terms.protect) {
        "its state: the file that it was last applied from says `protect: true`"
    } else if terms(observed).protect {
        "the labels of its objects"
    } else {
        return Ok(());
    };
    if force == Some(name) {
        return Ok(());
    }
    Err(Error::usage(format!("the environment `{name}` is protected by {by}")).hint(format!(
        "write `protect: false` into its file and run `infra apply {name}` first, or say `--force-protected {name}`"
    )))
}

impl Site {
    /// Whether the environment is protected, as far as its file and its state know.
    ///
    /// # Errors
    /// When it is, and its name was not repeated.
    pub fn check_protected(&self, options: &DestroyOptions) -> Result<()> {
        check_protection(&self.environment, self.state.as_ref(), &[], options.force_protected.as_ref())
    }
}

/// What a destruction of a locked environment will remove; `None` when nothing of it exists, and its state is removed then.
///
/// # Errors
/// When it is protected, when the provider does not answer, and when no state here knows what exists.
pub async fn propose_destroy(site: &mut Site, options: &DestroyOptions) -> Result<Option<Plan>> {
    let observed = site.observe().await?;
    check_protection(&site.environment, site.state.as_ref(), &observed, options.force_protected.as_ref())?;
    site.check_not_all_gone(&observed, options.forget)?;
    let plan_options = PlanOptions { allow_data_loss: options.allow_data_loss, ..PlanOptions::default() };
    let plan = site.plan(&Goal::Absent, &observed, site.terms(&observed, None)?, &plan_options)?;
    if plan.changes.is_empty() {
        site.store.remove().await?;
        return Ok(None);
    }
    site.check_known(&plan)?;
    Ok(Some(plan))
}

/// Removes all that a plan says of a locked environment, its state last.
///
/// # Errors
/// When something could not be removed, or the provider still lists objects; each is named.
pub async fn destroy(site: &mut Site, plan: &Plan, events: &Events, stop: &Stop) -> Result<Tally> {
    if stop.is_over() {
        return Err(Error::interrupted("nothing was changed"));
    }
    site.begin_record("destroy", plan, events).await;
    // What is set over the file is that of the last apply, which the next one may go on from.
    let state = site.state.clone().unwrap_or_else(|| site.initial_state(&plan.terms));
    let cancel = stop.token().clone();
    let run = Run::new(site.provider.as_ref(), &site.store, state, site.vault.clone(), events, cancel);
    let tally = phase(events, "remove", run.remove(plan)).await?;
    phase(events, "prove", run.prove_gone(plan)).await?;
    Ok(tally)
}
