//! Makes an environment what its file says: create, change, configure, judge, and remove what is not wanted any more.

use std::{sync::Arc, time::Duration};

use super::{PlanOptions, Playbooks, Site, Stop, locked::phase, preflight, review::Goal, review::digest};
use crate::{
    apply::{self, Configured, Run, Tally},
    configure::{self, Pool},
    error::{Error, Result},
    event::Events,
    name::Name,
    plan::{Configure, Plan},
    playbook::{Asker, Options, Recap},
    provider::Object,
    resource::Terms,
    state::{State, Vault, pool::Member},
    template::Engine,
};

/// What an apply is asked to do.
#[derive(Clone, Debug)]
pub struct ApplyOptions {
    /// The part that is meant, and whether data may be lost.
    pub plan: PlanOptions,
    /// How long the environment lives from now on.
    pub ttl: Option<Duration>,
    /// Whether to go on although all that the state knows is gone, or no state knows what exists.
    pub forget: bool,
    /// Whether machines are connected to and configured; without it only resources are made.
    pub configure: bool,
    /// Only tasks with these tags.
    pub tags: Vec<String>,
    /// No tasks with these tags.
    pub skip_tags: Vec<String>,
    /// Whether the text of changed files is shown.
    pub diff: bool,
    /// How long to wait until the machines are healthy; they are not waited for without it.
    pub wait_healthy: Option<Duration>,
    /// Whether a member of a pool is made, which no one has asked for yet.
    pub member: bool,
    /// Who answers the questions of playbooks.
    pub asker: Option<Arc<dyn Asker>>,
}

impl Default for ApplyOptions {
    fn default() -> Self {
        Self {
            plan: PlanOptions::default(),
            ttl: None,
            forget: false,
            configure: true,
            tags: Vec::new(),
            skip_tags: Vec::new(),
            diff: false,
            wait_healthy: None,
            member: false,
            asker: None,
        }
    }
}

/// What an apply is about to do: to be looked at, then carried out by [`apply`].
pub struct Proposal {
    /// The plan.
    pub plan: Plan,
    /// What exists.
    observed: Vec<Object>,
    /// How long the environment lives from the moment on in which it is carried out.
    ttl: Option<Duration>,
    /// The member of the pool that the environment was until now.
    pub claimed: Option<Name>,
}

/// What came of an apply.
#[derive(Clone, Debug, Default)]
pub struct Applied {
    /// What happened to resources.
    pub tally: Tally,
    /// What happened on machines.
    pub recap: Recap,
    /// The outputs; none where only a part was applied.
    pub outputs: Vec<(String, String)>,
}

/// What an apply of a locked environment will do. It may be taken over from a pool first; `may_claim` says whether.
///
/// # Errors
/// When the provider does not answer, when everything is gone that the state knows, when the environment's time is over, and
/// when the file asks for what cannot be done to what exists.
pub async fn propose(
    site: &mut Site, playbooks: &Playbooks, options: &ApplyOptions, may_claim: bool, events: &Events,
) -> Result<Proposal> {
    let mut ttl = options.ttl;
    let mut claimed = None;
    if may_claim && site.state.is_none() && !options.member && site.environment.pool.is_some() {
        let digest = digest(&site.environment)?;
        if let Some(member) = site.claim(&digest).await? {
            events.note(format!("`{member}` is taken over from the pool"));
            claimed = Some(member);
        }
    }
    let observed = site.observe().await?;
    site.check_not_all_gone(&observed, options.forget)?;
    if !options.member {
        ttl = site.time_to_live(&observed, ttl)?;
    }
    if claimed.is_some() {
        // Its time begins now, whatever becomes of this command: `infra gc` finds it.
        let terms = site.terms(&observed, ttl.take())?;
        site.settle(&terms, &observed).await?;
    }
    let terms = terms(site, &observed, ttl, options)?;
    let mut plan = site.plan(&Goal::Present(playbooks), &observed, terms, &options.plan)?;
    site.choose(&mut plan).await?;
    if !options.configure {
        plan.configure = Configure::default();
    }
    Ok(Proposal { plan, observed, ttl, claimed })
}

/// The terms under which the environment lives from now on.
fn terms(site: &Site, observed: &[Object], ttl: Option<Duration>, options: &ApplyOptions) -> Result<Terms> {
    if options.member { site.terms_without_end() } else { site.terms(observed, ttl) }
}

impl Proposal {
    /// Whether it may be carried out as things are.
    ///
    /// # Errors
    /// When another checkout may work with what would be replaced, or data would be lost.
    pub fn check(&self, site: &Site, options: &ApplyOptions) -> Result<()> {
        site.check_not_unknown(&self.plan, options.forget)?;
        self.plan.check_losses()
    }
}

/// Carries out a proposal on a locked environment.
///
/// # Errors
/// The first failures; everything that was done is in the state. Failures of machines are in the recap.
pub async fn apply(
    site: &mut Site, playbooks: Playbooks, proposal: Proposal, options: &ApplyOptions, events: &Events, stop: &Stop,
) -> Result<Applied> {
    if stop.is_over() {
        return Err(Error::interrupted("nothing was changed"));
    }
    proposal.check(site, options)?;
    let Proposal { plan, observed, ttl, .. } = proposal;
    site.establish(events).await?;
    // The project has its id now, if it had none, and the environment's time begins: the question may have been open for long.
    let plan = Plan { project: site.owner().project, terms: terms(site, &observed, ttl, options)?, ..plan };
    preflight::account(site, &plan).await?;
    if site.state.is_some() {
        site.settle(&plan.terms, &observed).await?;
    }
    site.begin_record("apply", &plan, events).await;
    let applied = Box::pin(carry_out(site, playbooks, &plan, options, events, stop)).await.map_err(Error::begun)?;
    if !applied.recap.succeeded() {
        site.record_failure("machines could not be configured");
    } else if options.member {
        join_pool(site, &plan.digest).await?;
    }
    Ok(applied)
}

/// Offers the environment to those who need one that was made from the files of this digest.
async fn join_pool(site: &Site, digest: &str) -> Result<()> {
    let Some(mut state) = site.store.read().await? else { return Ok(()) };
    if let Some(member) = &mut state.pool {
        digest.clone_into(&mut member.digest);
    }
    state.serial += 1;
    site.store.write(&state).await
}

async fn carry_out(
    site: &Site, playbooks: Playbooks, plan: &Plan, options: &ApplyOptions, events: &Events, stop: &Stop,
) -> Result<Applied> {
    let environment = &site.environment;
    let mut state = site.initial_state(&plan.terms);
    if options.member {
        // It is ready when it has its digest.
        state.pool = Some(Member { template: site.template(), digest: String::new(), claimed_by: None });
    }
    let (provider, cancel) = (site.provider.as_ref(), stop.token().clone());
    let run = Run::new(provider, &site.store, state, site.vault.clone(), events, cancel);
    for warning in run.with_vault(|vault| configure::prepare_secrets(environment, vault)).await? {
        events.warn(warning);
    }
    let mut tally = phase(events, "resources", run.build(plan)).await?;
    let state = run.state();
    run.with_vault(|vault| configure::prepare_certificates(environment, &state, vault, site.clock)).await?;
    let selection = &options.plan.selection;
    let recap = if selection.is_partial() {
        events.warn("only a part was applied: machines are configured when all of it is");
        Recap::default()
    } else if !options.configure {
        Recap::default()
    } else {
        configure_machines(site, playbooks, plan, &run, options, events, stop).await?
    };
    if stop.is_requested() {
        return Err(Error::interrupted("stopped before the end; what was done is in the state")
            .hint(format!("`infra apply {}` goes on where this one stopped", environment.name)));
    }
    if recap.succeeded() {
        phase(events, "health", run.finish(plan, configured(site, options))).await?;
        // What is not wanted any more goes last: the machines that used it have just been changed.
        tally = tally.plus(phase(events, "remove", run.remove(plan)).await?);
    }
    if selection.is_partial() {
        return Ok(Applied { tally, recap, outputs: Vec::new() });
    }
    let outputs = finish(site, &run.state(), &run.vault(), &recap, options, events, stop).await?;
    Ok(Applied { tally, recap, outputs })
}

/// Machines that nothing configures are judged at once; others when all is installed.
fn configured(site: &Site, options: &ApplyOptions) -> Configured {
    let has_playbooks = !site.environment.playbooks.is_empty();
    let left_out = options.plan.selection.is_partial() || !options.configure;
    if left_out && has_playbooks { Configured::Former } else { Configured::All }
}

/// Puts disks and software of the machines in order.
async fn configure_machines(
    site: &Site, playbooks: Playbooks, plan: &Plan, run: &Run<'_>, options: &ApplyOptions, events: &Events, stop: &Stop,
) -> Result<Recap> {
    let (state, vault) = (run.state(), run.vault());
    let (keeper, notes) = apply::keeper();
    let pool = connections(site, &state, &vault, events)?;
    let pool = Arc::new(pool.with_keeper(Some(keeper)).until(stop.token().clone()));
    let disks = configure::disks(&site.environment, &state, site.provider.as_ref())?;
    let has_playbooks = !plan.configure.playbooks.is_empty();
    let work = async {
        // What playbooks write belongs on the disks.
        run.disks_are_settled(&disks.settle(&pool, events).await?).await?;
        if !has_playbooks {
            // A machine that was made is one that can be logged in to, whether it is configured or not.
            return pool.connect_all().await.map(|()| Recap::default());
        }
        let options = Options {
            check: false,
            diff: options.diff,
            tags: options.tags.clone(),
            skip_tags: options.skip_tags.clone(),
            asker: options.asker.clone(),
            ..Options::default()
        };
        playbooks.run(site, &state, &vault, Arc::clone(&pool), options, events, stop).await
    };
    let name = if has_playbooks { "configure" } else { "connect" };
    phase(events, name, run.keeping(notes, work)).await
}

/// Connections to the machines as they are in this state.
pub(super) fn connections(site: &Site, state: &State, vault: &Vault, events: &Events) -> Result<Pool> {
    Pool::new(&site.environment, state, vault, Arc::clone(&site.provider), events)
}

/// What follows when everything was done: the inventory file, the wait for healthy machines, the outputs.
async fn finish(
    site: &Site, state: &State, vault: &Vault, recap: &Recap, options: &ApplyOptions, events: &Events, stop: &Stop,
) -> Result<Vec<(String, String)>> {
    let environment = &site.environment;
    if let Some(path) = &environment.inventory_file {
        configure::write_inventory(path, environment, state, vault, &site.store.login_files())?;
    }
    let inventory = configure::inventory(environment, state, vault);
    if let Some(time) = options.wait_healthy.filter(|_| recap.succeeded()) {
        let pool = connections(site, state, vault, events)?;
        let waiting = async {
            tokio::select! {
                healthy = configure::wait_until_healthy(environment, &inventory, &pool, time, events) => healthy,
                () = stop.requested() => Err(Error::interrupted("stopped before all machines were healthy")),
            }
        };
        phase(events, "health", waiting).await?;
    }
    configure::outputs(environment, inventory, &Engine::default())
}
