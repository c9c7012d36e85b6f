//! What most commands begin with: the environment, its provider, its state and its secrets.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::{accounts, ownership::Ownership};
use crate::{
    clock::Clock,
    cloud::retry,
    config::{self, Environment, LoadOptions},
    error::{Context, Diagnostic, Error, Result},
    event::Events,
    name::Name,
    plan::{self, Action, Change, Configure, DataPolicy, Known, Plan, Selection},
    provider::{self, Object, Provider},
    resource::{Address, Resource, Terms},
    secret::Redactor,
    state::{self, Deed, Lease, State, Store, Vault},
    ui::{Report, Ui},
};

/// Which environment a command is about.
#[derive(Args, Clone, Debug)]
pub(super) struct EnvironmentArgs {
    /// The environment: a folder of `envs/`, a path to one, or the name of one that was made from it
    pub(super) environment: String,
    #[command(flatten)]
    pub(super) overlay: OverlayArgs,
}

/// What is laid over an environment file.
#[derive(Args, Clone, Debug)]
pub(super) struct OverlayArgs {
    /// Another name, for an independent environment from the same file
    #[arg(long)]
    pub(super) name: Option<Name>,
    /// Set a value over that of the file, as `instances.app.resources.cores=4`; later commands use the values of the last apply
    #[arg(long, value_name = "KEY.PATH=VALUE")]
    pub(super) set: Vec<String>,
    /// Use the file as it is, without the `--set` and `--files-root` values of earlier applies
    #[arg(long, conflicts_with_all = ["set", "files_root"])]
    pub(super) unset: bool,
    /// Set a variable of playbooks and templates, over all others
    #[arg(long, value_name = "KEY=VALUE")]
    pub(super) var: Vec<String>,
    /// Where relative file paths in the file start, instead of its own folder
    #[arg(long, value_name = "DIR")]
    pub(super) files_root: Option<PathBuf>,
}

impl OverlayArgs {
    /// Whether this command line says what is set over the file, so that an earlier apply does not.
    fn is_given(&self) -> bool {
        !self.set.is_empty() || self.files_root.is_some() || self.unset
    }
}

/// Which part of a plan is wanted.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct SelectionArgs {
    /// Only this resource and what it needs, as `vm.app-1`; may be given several times
    #[arg(long = "target", value_name = "ADDRESS")]
    targets: Vec<Address>,
    /// Not this resource, nor what needs it
    #[arg(long, value_name = "ADDRESS")]
    exclude: Vec<Address>,
    /// Recreate this resource and what is on it
    #[arg(long, value_name = "ADDRESS")]
    replace: Vec<Address>,
}

impl SelectionArgs {
    pub(super) fn selection(&self) -> Selection {
        Selection { targets: self.targets.clone(), excluded: self.exclude.clone(), replaced: self.replace.clone() }
    }
}

impl EnvironmentArgs {
    /// The environment of a name, with nothing laid over its file.
    pub(super) fn named(environment: &str) -> Self {
        let overlay = OverlayArgs { name: None, set: Vec::new(), unset: false, var: Vec::new(), files_root: None };
        Self { environment: environment.to_owned(), overlay }
    }

    /// The folder of the environment's file, and the environment's name. The argument names a file, or an environment that
    /// was made from one under another name.
    async fn locate(&self) -> Result<(PathBuf, Option<Name>)> {
        let start = std::env::current_dir().context(|| "the current directory cannot be determined")?;
        let found = config::find(&self.environment, &start);
        if found.is_err()
            && self.overlay.name.is_none()
            && let Ok(name) = self.environment.parse::<Name>()
            && let Some(folder) = accounts::folder_of(&config::project_of(&start), &name).await?
        {
            return Ok((folder, Some(name)));
        }
        let missing = |error: Error, gone: &Path| {
            error
                .hint(format!(
                    "`{}` exists, and was made from `{}`, which is gone: put that folder back",
                    self.environment,
                    gone.display()
                ))
                .hint(format!("or name the file that it is made from now: `envs/OTHER --name {}`", self.environment))
        };
        let folder = match found {
            Ok(folder) => folder,
            Err(error) => {
                let gone = match self.environment.parse::<Name>() {
                    Ok(name) => accounts::recorded_folder(&config::project_of(&start), &name).await?,
                    Err(_) => None,
                };
                return Err(match gone {
                    Some(gone) => missing(error, &gone),
                    None => error,
                });
            }
        };
        Ok((folder, self.overlay.name.clone()))
    }

    /// The environment, and what an earlier apply laid over its file: that is laid over it again, unless this command line lays
    /// something else over it.
    async fn load(&self) -> Result<(Environment, Option<state::Overlay>)> {
        let (folder, name) = self.locate().await?;
        let overlay = self.remembered(&folder, name.as_ref()).await?;
        Ok((self.load_with(&folder, name, overlay.clone())?, overlay))
    }

    /// The same for commands that look at the file only: where the state cannot be read, the file is looked at as it is.
    pub(super) async fn load_or_warn(&self, ui: &Ui) -> Result<Environment> {
        let (folder, name) = self.locate().await?;
        let overlay = self.remembered(&folder, name.as_ref()).await.unwrap_or_else(|error| {
            ui.say(&format!("warning: {error}; the file is checked without the values of an earlier `--set`"));
            None
        });
        self.load_with(&folder, name, overlay)
    }

    fn load_with(&self, folder: &Path, name: Option<Name>, remembered: Option<state::Overlay>) -> Result<Environment> {
        let given = state::Overlay { set: self.overlay.set.clone(), files_root: self.overlay.files_root.clone() };
        let earlier: Vec<Diagnostic> = (remembered.iter().flat_map(|overlay| &overlay.set))
            .map(|value| {
                Diagnostic::warning(None, format!("`--set {value}` of an earlier apply is used"))
                    .hint("`--unset` uses the file as it is")
            })
            .collect();
        let state::Overlay { set, files_root } = remembered.unwrap_or(given);
        let loaded = config::load(folder, &LoadOptions { name, set, vars: self.overlay.var.clone(), files_root })?;
        Ok(Environment { warnings: earlier.into_iter().chain(loaded.warnings).collect(), ..loaded })
    }

    /// What an earlier apply laid over the file; `None` where this command line says it.
    ///
    /// # Errors
    /// When the state cannot be read: without what it says, the file would mean something else.
    async fn remembered(&self, folder: &Path, name: Option<&Name>) -> Result<Option<state::Overlay>> {
        if self.overlay.is_given() {
            return Ok(None);
        }
        let own = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let Some(name) = name.cloned().or_else(|| own.parse().ok()) else { return Ok(None) };
        let project = config::project_of(&std::path::absolute(folder)?);
        let store = Store::open(&project, &name, &config::state_settings(folder))?;
        Ok(store.read().await?.map(|state| state.overlay))
    }
}

/// An environment with everything that is known of it.
pub(super) struct Session {
    pub(super) environment: Environment,
    pub(super) provider: Arc<dyn Provider>,
    pub(super) store: Store,
    pub(super) state: Option<State>,
    pub(super) vault: Vault,
    pub(super) ownership: Ownership,
    lease: Option<Lease>,
    /// What an earlier apply laid over the file when it was loaded; nothing where this command line says it.
    loaded_with: Option<state::Overlay>,
    /// Whether the command has no use for secrets, so that it works without their key too.
    without_secrets: bool,
}

impl Session {
    /// Loads an environment as [`Self::open`] does, and prints what the user should know about its file.
    pub(super) async fn review(arguments: &EnvironmentArgs, ui: &Ui, redactor: &Redactor) -> Result<Self> {
        let session = Self::open(arguments, redactor).await?;
        ui.warnings(&session.environment.warnings);
        Ok(session)
    }

    /// Loads an environment, its provider, its state and its secrets; all mistakes of the file are one error.
    pub(super) async fn open(arguments: &EnvironmentArgs, redactor: &Redactor) -> Result<Self> {
        Self::open_with(arguments, redactor, false).await
    }

    /// The same for a command that only removes things: without its secrets, when their key is lost.
    pub(super) async fn open_for_removal(arguments: &EnvironmentArgs, redactor: &Redactor) -> Result<Self> {
        Self::open_with(arguments, redactor, true).await
    }

    async fn open_with(arguments: &EnvironmentArgs, redactor: &Redactor, without_secrets: bool) -> Result<Self> {
        let (environment, loaded_with) = arguments.load().await?;
        let provider: Arc<dyn Provider> = Arc::from(provider::open(&environment)?);
        let store = Store::open(&environment.project, &environment.name, &environment.state)?;
        let mut state = store.read().await?;
        let mut ownership = Ownership::of(&environment.project, provider.as_ref())?;
        ownership.recognise(state.as_ref())?;
        let mut vault = match vault_of(state.as_ref(), &store, redactor) {
            Err(_) if without_secrets => Vault::default(),
            opened => opened?,
        };
        super::state::first_nodes(&environment, state.as_mut(), &mut vault)?;
        Ok(Self { environment, provider, store, state, vault, ownership, lease: None, loaded_with, without_secrets })
    }

    /// The state, or the error that there is none.
    pub(super) fn applied(&self) -> Result<&State> {
        self.state.as_ref().ok_or_else(|| {
            Error::usage(format!("the environment `{}` has not been applied here", self.environment.name))
                .hint(format!("`infra apply {}` creates it", self.environment.name))
                .hint("if it was applied from another checkout, its state is there: share it with `state:` in the file")
        })
    }

    /// The state, for commands that use what it knows without asking the provider.
    ///
    /// # Errors
    /// When there is none, or its objects are at another provider than the file names now.
    pub(super) fn applied_here(&self) -> Result<&State> {
        let state = self.applied()?;
        self.ownership.site.check_account(state, None)?;
        Ok(state)
    }

    /// Takes the environment's lease, then reads the state again: another command may have written it meanwhile.
    pub(super) async fn lock(
        &mut self, what: &str, wait: Duration, redactor: &Redactor, events: &Events,
    ) -> Result<CancellationToken> {
        let (lease, mut state) = self.store.lease(what, wait, events).await?;
        let lost = lease.lost().clone();
        self.lease = Some(lease);
        self.ownership.recognise(state.as_ref())?;
        let overlay = state.as_ref().map(|state| &state.overlay);
        let before = self.loaded_with.as_ref();
        if overlay.zip(before).is_some_and(|(now, before)| now != before) {
            let name = &self.environment.name;
            return Err(Error::new(format!(
                "another command has applied `{name}` with other `--set` or `--files-root` values meanwhile; nothing was changed"
            ))
            .hint("run the same command again: it takes them over"));
        }
        self.vault = match vault_of(state.as_ref(), &self.store, redactor) {
            Err(_) if self.without_secrets => Vault::default(),
            opened => opened?,
        };
        super::state::first_nodes(&self.environment, state.as_mut(), &mut self.vault)?;
        self.state = state;
        Ok(lost)
    }

    /// Gives the lease back, if it is held.
    pub(super) async fn unlock(&mut self) {
        if let Some(lease) = self.lease.take() {
            self.store.release(lease).await;
        }
    }

    /// What this command line, or the one before it, laid over the file.
    pub(super) fn overlay(&self, arguments: &EnvironmentArgs) -> Result<state::Overlay> {
        let given = &arguments.overlay;
        if !given.is_given() {
            return Ok(self.state.as_ref().map(|state| state.overlay.clone()).unwrap_or_default());
        }
        let files_root = given.files_root.as_ref().map(std::path::absolute).transpose()?;
        Ok(state::Overlay { set: given.set.clone(), files_root })
    }

    /// The state to begin with.
    pub(super) fn initial_state(&self, overlay: state::Overlay, terms: &Terms) -> State {
        let known = self.state.clone().map(|state| State { overlay: overlay.clone(), ..state });
        let new = || State { overlay, terms: terms.clone(), ..State::nothing(&self.environment) };
        known.unwrap_or_else(|| self.owned(new()))
    }

    /// The terms under which the environment lives: those of its first apply, unless this command gives it another span of
    /// time or its file protects it now.
    pub(super) fn terms(&self, observed: &[Object], ttl: Option<Duration>) -> Result<Terms> {
        let known = self.state.as_ref().map(|state| plan::terms_in_force(Some(state), observed));
        let span = if known.is_some() { ttl } else { ttl.or(self.environment.ttl) };
        let terms = known.unwrap_or_else(|| Terms {
            owner: state::whoami(),
            template: super::pool::template(self),
            ..Terms::default()
        });
        let expires = match span {
            None => terms.expires,
            Some(span) => Some(Clock::System.now().checked_add(span).map_err(|_| {
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
        terms.given(Clock::System.now())
    }

    /// The terms of a member of a pool: it waits for as long as nobody needs it.
    pub(super) fn terms_without_end(&self) -> Result<Terms> {
        Ok(self.given(Terms { expires: None, ..self.terms(&[], None)? }))
    }

    /// Offers the environment to whoever needs one of these files.
    pub(super) async fn join_pool(&self, digest: &str) -> Result<()> {
        let Some(mut state) = self.store.read().await? else { return Ok(()) };
        if let Some(member) = &mut state.pool {
            digest.clone_into(&mut member.digest);
        }
        state.serial += 1;
        self.store.write(&state).await
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

    /// What exists as far as the state knows: nobody is asked.
    pub(super) fn remembered(&self) -> Vec<Object> {
        let Some(state) = &self.state else { return Vec::new() };
        let project = self.owner().project;
        state.resources.keys().filter_map(|address| plan::believed(state, &project, address)).collect()
    }

    /// Writes down that a command begins: one that is killed is in the history, too.
    pub(super) async fn begin(&self, deed: &Deed, events: &Events) {
        if let Err(error) = self.store.begin(deed).await {
            events.warn(error.to_string());
        }
    }

    /// Writes down what a command has done, how it went and how it ended. A history that cannot be written is no reason to
    /// fail.
    pub(super) async fn remember(
        &self, deed: Option<Deed>, report: &Report, seconds: f64, failure: Option<&Error>, redactor: &Redactor, ui: &Ui,
    ) {
        let Some(deed) = deed else { return };
        let outcome = failure.map_or_else(|| "done".to_owned(), |error| redactor.redact(&error.to_string()));
        let written = async {
            let trace = serde_json::to_string(&report.trace)?;
            self.store.keep_trace(&trace).await?;
            self.store.remember(&Deed { seconds, outcome, ..deed }).await
        };
        if let Err(error) = written.await {
            ui.say(&format!("warning: {error}"));
        }
    }

    /// What the provider makes of the environment. Names of objects follow its label.
    pub(super) fn resources(&self) -> Vec<Resource> {
        self.provider.resources(&Environment { name: self.label(), ..self.environment.clone() })
    }

    /// Takes an environment over from the pool of this file, when there is one that was made from the same files.
    pub(super) async fn claim(&mut self, digest: &str, redactor: &Redactor) -> Result<Option<Name>> {
        let account = self.reach().await?;
        let Some(state) = super::pool::claim(self, digest, &account).await? else { return Ok(None) };
        self.ownership.recognise(Some(&state))?;
        self.vault = vault_of(Some(&state), &self.store, redactor)?;
        let label = state.label().clone();
        self.state = Some(state);
        Ok(Some(label))
    }

    /// Adds to a plan what the provider chooses for what is created.
    ///
    /// # Errors
    /// When the provider does not answer.
    pub(super) async fn choose(&self, plan: &mut Plan) -> Result<()> {
        let created = plan.changes.iter().filter(|change| matches!(change.action, Action::Create | Action::Replace));
        let wanted: Vec<_> =
            created.filter_map(|change| Some((change.after.as_ref()?, change.object.as_ref()))).collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let mut chosen = self.provider.choose(&plan.owner(), &wanted).await?;
        for change in &mut plan.changes {
            let Some(fields) = chosen.remove(&change.address) else { continue };
            for (field, value) in &fields {
                let wanted = change.after.as_ref().and_then(|resource| resource.spec.get(field));
                if let Some(wanted) = wanted.filter(|wanted| *wanted != value) {
                    let [wanted, value] = [wanted, value].map(crate::template::text_of);
                    change.reason += &format!("; `{field}` will be {value}, because {wanted} is in use");
                }
            }
            change.chosen = fields;
        }
        Ok(())
    }

    /// The plan from what exists to what the file asks for, or to nothing.
    pub(super) fn plan(&self, observed: &[Object], destroy: bool, selection: &Selection) -> Result<Plan> {
        let pending = self.state.as_ref().map(|state| state.pending.clone()).unwrap_or_default();
        let known = Known { state: self.state.as_ref(), pending: &pending, observed, policy: self.provider.policy() };
        let desired = if destroy { Vec::new() } else { self.resources() };
        let playbooks: Vec<String> = self.environment.playbooks.iter().map(|(name, _)| name.clone()).collect();
        // Machines that a part leaves out cannot be configured, and the others may need them.
        let configure = if destroy || playbooks.is_empty() || selection.is_partial() {
            Configure::default()
        } else {
            Configure { hosts: self.environment.hosts.keys().cloned().collect(), playbooks }
        };
        if !destroy {
            self.state.iter().try_for_each(State::check_decrypted)?;
        }
        let mut changes = selection.of(plan::diff(&desired, known)?, self.state.as_ref(), known.policy)?;
        if destroy {
            self.complete_data(&mut changes);
        }
        Ok(Plan {
            version: plan::VERSION,
            environment: self.environment.name.clone(),
            labelled: self.label(),
            project: self.owner().project,
            terms: self.terms(observed, None)?,
            serial: self.state.as_ref().map_or(0, |state| state.serial),
            digest: String::new(),
            changes,
            secrets: Vec::new(),
            configure,
            data: DataPolicy::default(),
        })
    }

    /// Adds what the file keeps on machines that are to go: states of earlier versions did not write that down.
    fn complete_data(&self, changes: &mut [Change]) {
        let kept: BTreeMap<Address, Vec<String>> =
            self.resources().into_iter().map(|resource| (resource.address, resource.data)).collect();
        for change in changes.iter_mut().filter(|change| change.data.is_empty()) {
            change.data = kept.get(&change.address).cloned().unwrap_or_default();
        }
    }
}

/// The secrets of a state; none without one.
fn vault_of(state: Option<&State>, store: &Store, redactor: &Redactor) -> Result<Vault> {
    let secrets = state.map(|state| state.secrets.as_str()).unwrap_or_default();
    Vault::open(secrets, store.keys(), redactor.clone())
}

/// Whether it was SIGTERM that asked the program to stop: whoever sent it expects another exit code.
static TERMINATED: AtomicBool = AtomicBool::new(false);

/// Whether it was the end of the command's time.
static TIMED_OUT: AtomicBool = AtomicBool::new(false);

/// The exit code of a program that was asked to stop: 128 and the number of the signal, or that of a failure when its time
/// was up.
pub(super) fn stopped_code() -> u8 {
    match (TIMED_OUT.load(Ordering::SeqCst), TERMINATED.load(Ordering::SeqCst)) {
        (true, _) => 1,
        (false, true) => 143,
        (false, false) => 130,
    }
}

/// Waits for the end of the command's time, which may never come.
async fn time_is_up() {
    match retry::deadline() {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Watches for Ctrl-C and SIGTERM as long as it lives.
pub(super) struct Interrupt {
    /// Cancelled by the first of them.
    pub(super) token: CancellationToken,
    watcher: tokio::task::JoinHandle<()>,
}

impl Drop for Interrupt {
    fn drop(&mut self) {
        // The watcher holds a sender of events, whose listener would wait for it.
        self.watcher.abort();
    }
}

impl Interrupt {
    /// Begins to watch. The first signal asks everything to stop; the second one ends the program at once: what is
    /// about to be done is in the state before every call, so even that can be gone on from.
    ///
    /// So does the loss of the lease: somebody else works on the environment by now.
    pub(super) fn watch(events: &Events, lost: CancellationToken) -> Self {
        let token = CancellationToken::new();
        let (cancel, events) = (token.clone(), events.clone());
        let watcher = tokio::spawn(async move {
            let Ok(mut terminate) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) else {
                return;
            };
            loop {
                tokio::select! {
                    _ = tokio::signal::ctrl_c() => {}
                    _ = terminate.recv() => TERMINATED.store(true, Ordering::SeqCst),
                    () = time_is_up(), if !cancel.is_cancelled() => {
                        TIMED_OUT.store(true, Ordering::SeqCst);
                        events.warn("stopping: the time of `--timeout` is up; calls that run are ended, nothing new is begun");
                        cancel.cancel();
                        continue;
                    }
                    () = lost.cancelled(), if !cancel.is_cancelled() => {
                        events.warn("stopping: another command has taken over the environment");
                        cancel.cancel();
                        continue;
                    }
                }
                if cancel.is_cancelled() {
                    std::process::exit(i32::from(stopped_code()));
                }
                events.warn("stopping: calls that run are ended, nothing new is begun; once more stops at once");
                cancel.cancel();
            }
        });
        Self { token, watcher }
    }
}

/// Runs one phase of a command and tells how long it took.
pub(super) async fn phase<T>(events: &Events, phase: &'static str, work: impl Future<Output = Result<T>>) -> Result<T> {
    let begun = std::time::Instant::now();
    events.tell(crate::event::Event::PhaseStarted { phase });
    let result = work.await;
    events.tell(crate::event::Event::PhaseEnded { phase, seconds: begun.elapsed().as_secs_f64() });
    result
}
