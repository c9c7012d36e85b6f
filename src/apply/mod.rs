//! Walks a [`Plan`] through the drivers of a provider. It looks at nothing but the plan; destroy is a plan of removals.
//! May import `plan`, `provider`, `state`, `graph` and the vocabulary.

mod host_keys;
mod settle;
mod sweep;
mod twins;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard},
    task::Poll,
    time::Duration,
};

use tokio::sync::{Semaphore, SemaphorePermit, SetOnce};
use tokio_util::sync::CancellationToken;

use self::twins::may_hold_data;
pub use self::{
    host_keys::{Keeper, Notes, Pins, host_key, keeper, pins},
    settle::Configured,
    sweep::{Swept, sweep},
};

use crate::{
    clock::Clock,
    error::{Error, Result},
    event::{self, Events},
    graph::{Graph, Outcome},
    identity,
    name::Name,
    plan::{self, Action, Change, DataPolicy, Plan},
    provider::{Boot, Driver, Health, LastCopy, Object, Owner, Provider, Request},
    resource::{Address, KindName, Resource},
    secret::Secret,
    state::{Entry, Intent, State, Store, Vault, secret_name},
};

/// The vault's name for the key that opens all machines of an environment.
pub const LOGIN_KEY: &str = "ssh";

/// What the key that opens all machines says of itself.
const LOGIN: &str = "infra";

/// How long a call may go on after the command was asked to stop.
const GRACE: Duration = Duration::from_secs(1);

/// What an apply works with: everything that is written is written through it.
pub struct Run<'a> {
    provider: &'a dyn Provider,
    store: &'a Store,
    events: &'a Events,
    cancel: CancellationToken,
    books: Mutex<Books>,
    /// As many calls run at once as the provider takes: what is written for the next ones is written meanwhile.
    calls: Semaphore,
    /// The serial that was written last. Whoever holds it writes, for all who wait for it meanwhile.
    written: tokio::sync::Mutex<u64>,
}

/// The state and its secrets: changed together, under one lock that is never held over a call.
struct Books {
    state: State,
    vault: Vault,
    /// The secrets as they are encrypted in the state.
    sealed: Vault,
}

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Objects made.
    pub created: usize,
    /// Objects changed in place.
    pub changed: usize,
    /// Objects removed.
    pub destroyed: usize,
}

impl Tally {
    /// The sum of two.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            created: self.created + other.created,
            changed: self.changed + other.changed,
            destroyed: self.destroyed + other.destroyed,
        }
    }
}

impl<'a> Run<'a> {
    /// A run over this state.
    #[must_use]
    pub fn new(
        provider: &'a dyn Provider, store: &'a Store, state: State, vault: Vault, events: &'a Events,
        cancel: CancellationToken,
    ) -> Self {
        let sealed = if state.secrets.is_empty() { Vault::default() } else { vault.clone() };
        let written = tokio::sync::Mutex::new(0);
        let calls = Semaphore::new(provider.concurrency().max(1));
        let books = Mutex::new(Books { state, vault, sealed });
        Self { provider, store, events, cancel, books, calls, written }
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().expect("no task panics while it holds the books")
    }

    /// The state as it is now.
    #[must_use]
    pub fn state(&self) -> State {
        self.books().state.clone()
    }

    /// The secrets as they are now.
    #[must_use]
    pub fn vault(&self) -> Vault {
        self.books().vault.clone()
    }

    /// Uses the secrets, then writes them if they changed.
    ///
    /// # Errors
    /// Those of the work, or when the state cannot be written.
    pub async fn with_vault<T>(&self, work: impl FnOnce(&mut Vault) -> Result<T>) -> Result<T> {
        let result = work(&mut self.books().vault)?;
        self.save(|_| ()).await?;
        Ok(result)
    }

    /// Changes the state and writes it. Changes that are made while another write is under way are written together: a store
    /// far away is asked once for all of them.
    async fn save(&self, change: impl FnOnce(&mut State)) -> Result<()> {
        let serial = {
            let mut books = self.books();
            change(&mut books.state);
            books.state.serial += 1;
            books.state.serial
        };
        // Whoever else is just changing the state is let go first: then one write serves all.
        in_order().await;
        let mut written = self.written.lock().await;
        if *written >= serial {
            return Ok(());
        }
        let (serial, writing) = {
            let mut books = self.books();
            // Sealing them again gives other bytes for the same secrets, so it is done only when they differ.
            if !books.sealed.same_as(&books.vault) {
                books.state.secrets = books.vault.seal(self.store.keys())?;
                books.sealed = books.vault.clone();
            }
            (books.state.serial, self.store.write(&books.state))
        };
        writing.await?;
        *written = serial;
        Ok(())
    }

    /// Makes, changes and replaces what the plan says; removals are left for [`Self::remove`].
    ///
    /// # Errors
    /// The first failures, when any call failed; everything that was done is in the state.
    pub async fn build(&self, plan: &Plan) -> Result<Tally> {
        plan.check_losses()?;
        let wanted: Vec<&Resource> = plan.changes.iter().filter_map(|change| change.after.as_ref()).collect();
        if plan.changes.iter().any(|change| matches!(change.action, Action::Create | Action::Replace)) {
            self.until_stopped(self.provider.prepare(&wanted, self.events)).await?;
        }
        self.forget(plan).await?;
        let replaced: Vec<&Change> = plan.of(Action::Replace).collect();
        let removed = self.remove_all(&replaced, plan.data).await?;
        let by_address: BTreeMap<&Address, &Change> =
            plan.changes.iter().map(|change| (&change.address, change)).collect();
        let wanted = by_address.values().filter(|change| change.after.is_some());
        let graph = Graph::new(wanted.map(|change| (change.address.clone(), change.needs.clone())))?;
        let tally = Mutex::new(Tally::default());
        let keys_made = SetOnce::new();
        let walk = graph.walk(self.width(), |address| {
            let change = by_address[&address];
            let (tally, keys_made) = (&tally, &keys_made);
            async move {
                if change.address.kind.boots() {
                    keys_made.wait().await;
                }
                self.check_cancelled()?;
                let done = self.build_one(plan, change).await?;
                let mut tally = tally.lock().expect("no task panics while it counts");
                *tally = tally.plus(done);
                Ok(())
            }
        });
        let keys = async {
            let made = self.make_keys(plan).await;
            keys_made.set(()).expect("it is set once");
            made
        };
        let (outcomes, made) = tokio::join!(walk, keys);
        finish(outcomes)?;
        made?;
        let was_begun = |change: &Change| change.object.as_ref().is_some_and(|object| is_begun(change, object));
        if plan.changes.iter().any(|change| change.token.is_some() || was_begun(change)) {
            self.remove_twins(plan).await?;
        }
        let tally = *tally.lock().expect("no task panics while it counts");
        Ok(tally.plus(Tally { destroyed: removed, ..Tally::default() }))
    }

    /// Makes the host keys of all machines that have none yet, on a thread of their own and while what the machines need
    /// is made, so that they are encrypted together. A machine whose key could not be made here makes its own, and says why
    /// that fails.
    async fn make_keys(&self, plan: &Plan) -> Result<()> {
        let names: Vec<Name> = {
            let books = self.books();
            let made = |change: &&Change| matches!(change.action, Action::Create | Action::Replace);
            let machines = plan.changes.iter().filter(|change| change.address.kind.boots()).filter(made);
            // A machine that is made again gets another key: those who could read the user-data of the one before know its key.
            // Only a call that may have been carried out already is made again with the same one.
            let again = |change: &Change| change.action == Action::Create && change.token.is_some();
            let wanted = machines
                .filter(|change| !again(change) || !books.vault.has_ssh_key(&host_key(change.address.name.as_str())));
            wanted.map(|change| change.address.name.clone()).collect()
        };
        let make = move || names.into_iter().filter_map(|name| Some((identity::ssh_key(name.as_str()).ok()?, name)));
        let made = tokio::task::spawn_blocking(move || make().collect::<Vec<_>>()).await.unwrap_or_default();
        if made.is_empty() {
            return Ok(());
        }
        {
            let mut books = self.books();
            books.vault.ssh_key(LOGIN_KEY, LOGIN)?;
            for (key, name) in made {
                books.vault.keep_ssh_key(&host_key(name.as_str()), &key);
            }
        }
        self.save(|_| ()).await
    }

    /// How many steps are under way: those whose calls run, and as many that are written down before or after theirs.
    fn width(&self) -> usize {
        self.provider.concurrency().max(1) * 2
    }

    /// Waits until one more call may run.
    async fn call(&self) -> Result<SemaphorePermit<'_>> {
        let turn = event::waiting("its turn: as many calls run as the provider takes", self.calls.acquire());
        let permit = turn.await.map_err(|error| Error::new(error.to_string()))?;
        self.check_cancelled()?;
        Ok(permit)
    }

    fn check_cancelled(&self) -> Result<()> {
        check_not_stopped(&self.cancel)
    }

    /// A call, which is given up soon after the command was asked to stop.
    async fn until_stopped<T>(&self, call: impl Future<Output = Result<T>>) -> Result<T> {
        until_stopped(&self.cancel, call).await
    }

    async fn build_one(&self, plan: &Plan, change: &Change) -> Result<Tally> {
        let resource = change.after.as_ref().ok_or_else(|| Error::new("the plan does not say what to make"))?;
        let driver = self.driver(&change.address)?;
        let subject = change.address.to_string();
        let at_once = change.action.removes() || change.action == Action::Update && driver.updates_in_transition();
        let found = match &change.object {
            // Only what has come to rest has all its addresses, and can be changed.
            Some(object) if object.health == Health::Transient && !at_once => {
                match self.at_rest(change, object, driver).await? {
                    Some(settled) => Some(settled),
                    None => return Ok(Tally::default()),
                }
            }
            found => found.clone(),
        };
        match (change.action, &found) {
            (Action::Keep, Some(object)) => {
                // Reality moves: an address or a port may be another one after the machine was restarted.
                let unchanged = {
                    let state = &self.books().state;
                    let entry = state.resources.get(&change.address);
                    // What stays is not being removed any more.
                    let is_noted = [&state.removing, &state.changing].iter().any(|set| set.contains(&change.address));
                    !is_noted && entry.is_some_and(|entry| same(entry, resource, object))
                };
                if !unchanged {
                    self.record(resource, object).await?;
                }
                Ok(Tally::default())
            }
            (Action::Adopt, Some(object)) => {
                self.record(resource, object).await?;
                Ok(Tally::default())
            }
            (Action::Update, Some(object)) if is_begun(change, object) => {
                let work = self.resume(plan, resource, object, driver);
                self.events.watch(&subject, "creating", "created", work).await?;
                Ok(Tally { created: 1, ..Tally::default() })
            }
            (Action::Update, Some(object)) => {
                let work = async {
                    let token = token()?;
                    if self.provider.devices(&[]).is_some() && grows(change) {
                        self.books().state.grown.insert(change.address.clone());
                    }
                    // Whoever is killed on the way leaves something that is changed in part.
                    self.books().state.changing.insert(change.address.clone());
                    self.keys(resource).await?;
                    let request = self.request_with_passwords(plan, resource, &token, &object.id)?;
                    let _call = self.call().await?;
                    self.until_stopped(driver.update(object, &request)).await
                };
                let object = self.events.watch(&subject, "changing", "changed", work).await?;
                self.record_with_passwords(resource, &object).await?;
                Ok(Tally { changed: 1, ..Tally::default() })
            }
            (Action::Create | Action::Replace, _) => {
                self.events.watch(&subject, "creating", "created", self.create(plan, change, resource, driver)).await?;
                Ok(Tally { created: 1, ..Tally::default() })
            }
            _ => Ok(Tally::default()),
        }
    }

    async fn create(&self, plan: &Plan, change: &Change, resource: &Resource, driver: &dyn Driver) -> Result<()> {
        let reused = change.token.clone().filter(|_| change.action == Action::Create);
        let is_again = reused.is_some();
        let token = reused.map_or_else(token, Ok)?;
        let intent = Intent { token: token.clone(), spec: resource.spec.clone(), needs: resource.needs.clone() };
        self.books().state.pending.insert(change.address.clone(), intent);
        self.keys(resource).await?;
        let mut request = self.request(plan, resource, &token)?;
        if is_again {
            // The call may have been carried out already, with the passwords of then.
            request.unset = resource.logins()?.unwrap_or_default().into_keys().collect();
        }
        let made = {
            let _call = self.call().await?;
            self.until_stopped(driver.create(&request)).await
        };
        let made = self.ended(&change.address, made).await?;
        for (field, planned) in &change.chosen {
            if let Some(got) = made.attributes.get(field).filter(|got| *got != planned) {
                let message =
                    format!("`{}`: `{field}` is {got} and not {planned}, which was taken meanwhile", change.address);
                self.events.warn(message);
            }
        }
        self.record_with_passwords(resource, &made).await
    }

    /// Goes on with what an interrupted run has begun.
    async fn resume(&self, plan: &Plan, resource: &Resource, object: &Object, driver: &dyn Driver) -> Result<()> {
        self.keys(resource).await?;
        let request = self.request_with_passwords(plan, resource, &object.token, &object.id)?;
        let made = {
            let _call = self.call().await?;
            self.until_stopped(driver.resume(object, &request)).await
        };
        let made = self.ended(&resource.address, made).await?;
        self.record_with_passwords(resource, &made).await
    }

    /// What a call that creates something has come to: when the provider says that it is over, nothing is pending any more.
    async fn ended<T>(&self, address: &Address, made: Result<T>) -> Result<T> {
        if made.as_ref().is_err_and(Error::is_settled) {
            self.save(|state| drop(state.pending.remove(address))).await?;
        }
        made
    }

    /// Makes the keys of a machine, and writes what has changed: a crash never leaves a machine that we cannot trust.
    async fn keys(&self, resource: &Resource) -> Result<()> {
        boot(&mut self.books().vault, resource)?;
        self.save(|_| ()).await
    }

    /// What a driver needs to know to make or change an object: keys and secrets too.
    fn request<'r>(&self, plan: &'r Plan, resource: &'r Resource, token: &'r str) -> Result<Request<'r>> {
        let request = self.request_of(plan, resource, token)?;
        let mut books = self.books();
        Ok(Request { boot: boot(&mut books.vault, resource)?, secrets: secrets(&books.vault, resource)?, ..request })
    }

    /// The same for a database that exists, whose logins may have other passwords than the vault.
    fn request_with_passwords<'r>(
        &self, plan: &'r Plan, resource: &'r Resource, token: &'r str, id: &str,
    ) -> Result<Request<'r>> {
        let unset = resource.logins()?.map(|users| self.books().vault.unset_passwords(id, &users));
        Ok(Request { unset: unset.unwrap_or_default(), ..self.request(plan, resource, token)? })
    }

    /// What a driver needs to know of an object.
    fn request_of<'r>(&self, plan: &'r Plan, resource: &'r Resource, token: &'r str) -> Result<Request<'r>> {
        Ok(Request {
            environment: &plan.labelled,
            project: &plan.project,
            token,
            resource,
            needs: needs(&self.books().state, plan, resource)?,
            boot: None,
            terms: &plan.terms,
            secrets: BTreeMap::new(),
            unset: BTreeSet::new(),
        })
    }

    /// Writes down what an object is that was created or updated: its logins have the passwords that they should have.
    async fn record_with_passwords(&self, resource: &Resource, object: &Object) -> Result<()> {
        if let Some(users) = resource.logins()? {
            self.books().vault.passwords_are_set(&object.id, &users);
        }
        self.record(resource, object).await
    }

    /// Writes down what an object is; nothing is pending for its address any more.
    async fn record(&self, resource: &Resource, object: &Object) -> Result<()> {
        self.save(|state| {
            let known = state.resources.get(&resource.address).filter(|entry| entry.id == object.id);
            let made = entry(resource, object);
            let created = known.map_or(made.created, |entry| entry.created);
            let data = known.map_or_else(Vec::new, |entry| entry.data.clone());
            let data = held(data, &made.data);
            state.resources.insert(resource.address.clone(), Entry { created, data, ..made });
            state.pending.remove(&resource.address);
            state.removing.remove(&resource.address);
            state.changing.remove(&resource.address);
        })
        .await
    }

    /// Takes over an object that was made elsewhere, and writes down what it is: the next plan shows what of it differs from
    /// the file.
    ///
    /// # Errors
    /// When the provider cannot take it over, or something that the resource needs is not known.
    pub async fn adopt(&self, plan: &Plan, resource: &Resource, id: &str) -> Result<()> {
        let token = token()?;
        // Nothing is made, so that neither keys nor secrets are needed.
        let request = self.request_of(plan, resource, &token)?;
        let object = self.provider.adopt(id, &request).await?;
        // What the file does not name can be any way.
        let shown = object.actual.iter().filter(|(field, _)| resource.spec.contains_key(*field));
        let shown = shown.map(|(field, value)| (field.clone(), value.clone()));
        let spec = resource.spec.clone().into_iter().chain(shown).collect();
        self.record(&Resource { spec, ..resource.clone() }, &object).await
    }

    /// Notes that nothing is left to be done on the disks of these machines.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn disks_are_settled(&self, machines: &BTreeSet<String>) -> Result<()> {
        let is_settled = |address: &Address| machines.contains(address.name.as_str());
        if !self.books().state.grown.iter().any(is_settled) {
            return Ok(());
        }
        self.save(|state| state.grown.retain(|address| !is_settled(address))).await
    }

    /// Removes what the plan says, those that need others first.
    ///
    /// # Errors
    /// When a call failed; what was removed is out of the state.
    pub async fn remove(&self, plan: &Plan) -> Result<Tally> {
        plan.check_losses()?;
        let removed: Vec<&Change> = plan.of(Action::Delete).collect();
        let destroyed = self.remove_all(&removed, plan.data).await?;
        self.forget(plan).await?;
        Ok(Tally { destroyed, ..Tally::default() })
    }

    /// Takes out of the state what is gone.
    async fn forget(&self, plan: &Plan) -> Result<()> {
        for change in plan.of(Action::Forget) {
            self.save(|state| state.remove(&change.address)).await?;
        }
        Ok(())
    }

    async fn remove_all(&self, changes: &[&Change], data: DataPolicy) -> Result<usize> {
        let by_address: BTreeMap<&Address, &Change> = changes.iter().map(|change| (&change.address, *change)).collect();
        let graph = Graph::new(changes.iter().map(|change| (change.address.clone(), change.needs.clone())))?.reversed();
        if !changes.is_empty() {
            // Whoever is killed on the way finds things gone that the state still knows.
            let begun = changes.iter().map(|change| change.address.clone());
            self.save(|state| state.removing.extend(begun)).await?;
        }
        let outcomes = graph
            .walk(self.width(), |address| {
                let change = by_address[&address];
                async move {
                    let Some(object) = &change.object else { return Ok(()) };
                    {
                        let _call = self.call().await?;
                        self.store.confirm().await?;
                        let subject = change.address.to_string();
                        self.until_stopped(delete(self.provider, change, data, &subject, self.events)).await?;
                    }
                    if change.address.kind.boots() {
                        host_keys::forget(&mut self.books().vault, &object.id);
                    }
                    self.books().vault.forget_passwords(&object.id);
                    self.save(|state| {
                        state.remove(&change.address);
                        state.pending.remove(&change.address);
                    })
                    .await
                }
            })
            .await;
        let count = outcomes.len();
        finish_removals(outcomes)?;
        Ok(count)
    }

    fn driver(&self, address: &Address) -> Result<&dyn Driver> {
        driver(self.provider, address)
    }

    /// Proves that nothing of the environment is left, then forgets it.
    ///
    /// # Errors
    /// When the provider still lists objects; each is named.
    pub async fn prove_gone(&self, plan: &Plan) -> Result<()> {
        // What holds data is in a plan that was reviewed before it goes: the next command's, which lists it.
        let planned = |object: &Object| {
            !may_hold_data(object) && plan.changes.iter().any(|change| change.address == object.address)
        };
        self.store.confirm().await?;
        let left = self.until_stopped(left(self.provider, &plan.owner(), planned)).await?;
        if left.is_empty() {
            for kept in self.provider.kept(&plan.owner()).await? {
                self.events.note(format!("kept, and paid for until someone deletes it: {kept}"));
            }
            return self.store.remove().await;
        }
        Err(left_over(&left)
            .hint(format!("run `infra destroy {}` again; it goes on where this one stopped", plan.environment)))
    }
}

/// Lets all others go first that can go on, and keeps their order, in which what most wait for comes first: tokio's own
/// `yield_now` turns it round.
async fn in_order() {
    let mut has_waited = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut has_waited, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// A call, which is given up soon after the command was asked to stop: it may go on at the provider, and what is about to be
/// done is in the state, so that the next command finds how it ended.
async fn until_stopped<T>(cancel: &CancellationToken, call: impl Future<Output = Result<T>>) -> Result<T> {
    let stopped = async {
        cancel.cancelled().await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        done = call => done,
        () = stopped => Err(Error::interrupted("it goes on at the provider; the next command finds how it ended")),
    }
}

/// Nothing is begun any more once the command was asked to stop.
fn check_not_stopped(cancel: &CancellationToken) -> Result<()> {
    if cancel.is_cancelled() { Err(Error::interrupted("not begun, because you asked to stop")) } else { Ok(()) }
}

/// Whether a change makes the first disk of a machine larger, whose file system then is not as large.
fn grows(change: &Change) -> bool {
    change.address.kind == KindName::VM && change.fields().iter().any(|(field, ..)| field == "disk_gb")
}

/// Whether an object is one that an interrupted run has begun, and that is completed.
fn is_begun(change: &Change, object: &Object) -> bool {
    object.health == Health::Unfinished && change.token.as_ref() == Some(&object.token)
}

/// The driver of an address.
fn driver<'p>(provider: &'p dyn Provider, address: &Address) -> Result<&'p dyn Driver> {
    provider
        .driver(address.kind)
        .ok_or_else(|| Error::usage(format!("provider `{}` has no such thing as `{address}`", provider.name())))
}

/// What is left of an environment. A call of a killed command may have been carried out after we had looked: what that has
/// made is removed too, once, where it may be.
async fn left(provider: &dyn Provider, owner: &Owner, may_go: impl Fn(&Object) -> bool) -> Result<Vec<Object>> {
    let left = provider.list(owner).await?;
    if left.is_empty() {
        return Ok(left);
    }
    for object in left.iter().filter(|object| may_go(object)) {
        driver(provider, &object.address)?.delete(&object.id).await?;
    }
    provider.list(owner).await
}

/// The error that objects are left.
fn left_over(left: &[Object]) -> Error {
    let names: Vec<String> = left.iter().map(|object| format!("`{}` ({})", object.address, object.id)).collect();
    Error::new(format!("{} objects are left: {}", left.len(), names.join(", ")))
}

/// A token that no other intent has; the labels of some clouds hold small letters only.
fn token() -> Result<String> {
    Ok(identity::random_text(24)?.to_ascii_lowercase())
}

/// The secrets that a resource names.
fn secrets(vault: &Vault, resource: &Resource) -> Result<BTreeMap<String, Secret>> {
    let Some(users) = resource.logins()? else { return Ok(BTreeMap::new()) };
    let named = |name: &String| {
        let value = vault.get(&secret_name(name)).cloned();
        Ok((name.clone(), value.ok_or_else(|| Error::new(format!("the secret `{name}` was never made")))?))
    };
    users.values().map(named).collect()
}

/// Removes what a change says, with or without a last copy of the data that it holds.
async fn delete(
    provider: &dyn Provider, change: &Change, data: DataPolicy, subject: &str, events: &Events,
) -> Result<()> {
    let Some(object) = &change.object else { return Ok(()) };
    let driver = driver(provider, &change.address)?;
    let call = async {
        let copy = match data {
            DataPolicy::Copy => LastCopy::Needed,
            DataPolicy::CopyIfPossible => LastCopy::IfPossible,
            DataPolicy::Refuse | DataPolicy::Lose => return driver.delete(&object.id).await.map(|()| None),
        };
        if change.data.is_empty() {
            return driver.delete(&object.id).await.map(|()| None);
        }
        driver.delete_keeping(&object.id, copy).await
    };
    if let Some(kept) = events.watch(subject, "removing", "removed", call).await? {
        events.note(format!("{}: kept as {kept}", change.data.join(", ")));
    }
    Ok(())
}

/// Whether the state says of an object what there is to say.
fn same(entry: &Entry, resource: &Resource, object: &Object) -> bool {
    entry.attributes == object.attributes
        && entry.spec == resource.spec
        && entry.needs == resource.needs
        && held(entry.data.clone(), &resource.data) == entry.data
}

/// The data that an object holds: what was put on it stays there when the file does not ask for it any more. Each is named
/// as `postgres.main (database app)`, and what the file says of one now takes the place of what it said before.
fn held(known: Vec<String>, now: &[String]) -> Vec<String> {
    let name = |data: &String| data.split(" (").next().unwrap_or_default().to_owned();
    let gone = known.into_iter().filter(|one| now.iter().all(|other| name(other) != name(one)));
    gone.chain(now.iter().cloned()).collect()
}

/// What the state keeps of an object that was made, or was found, just now.
#[must_use]
pub fn entry(resource: &Resource, object: &Object) -> Entry {
    Entry {
        id: object.id.clone(),
        token: object.token.clone(),
        spec: resource.spec.clone(),
        needs: resource.needs.clone(),
        attributes: object.attributes.clone(),
        created: Clock::System.now(),
        data: resource.data.clone(),
    }
}

/// The keys of a machine, made on first use and kept for as long as the environment lives.
fn boot(vault: &mut Vault, resource: &Resource) -> Result<Option<Boot>> {
    let Some((spec, _)) = resource.machines()? else { return Ok(None) };
    let login = vault.ssh_key(LOGIN_KEY, LOGIN)?;
    let host = vault.ssh_key(&host_key(resource.address.name.as_str()), resource.address.name.as_str())?;
    let mut authorized_keys = vec![login.public];
    authorized_keys.extend(spec.authorized_keys);
    authorized_keys.dedup();
    Ok(Some(Boot { authorized_keys, host_key: host.private, host_key_public: host.public }))
}

/// The objects that a resource needs, as the state knows them.
fn needs(state: &State, plan: &Plan, resource: &Resource) -> Result<BTreeMap<Address, Object>> {
    resource
        .needs
        .iter()
        .map(|need| {
            let object = plan::believed(state, &plan.project, need)
                .ok_or_else(|| Error::new(format!("`{}` needs `{need}`, which does not exist", resource.address)))?;
            Ok((need.clone(), object))
        })
        .collect()
}

/// What is left after a walk of removals, as one error: each object with what keeps it.
fn finish_removals<T>(outcomes: BTreeMap<Address, Outcome<Address, T>>) -> Result<()> {
    let mut first = None;
    let mut left = Vec::new();
    for (address, outcome) in outcomes {
        match outcome {
            Outcome::Done(_) => {}
            Outcome::Skipped(needed_by) => left.push(format!("`{address}`: `{needed_by}` is left and needs it")),
            Outcome::Failed(error) => {
                left.push(format!("`{address}`: {error}"));
                first.get_or_insert((address, error));
            }
        }
    }
    let Some((address, error)) = first else { return Ok(()) };
    if left.len() == 1 {
        return Err(error.context(format!("`{address}`")));
    }
    let text = format!("{} objects are left:\n  {}", left.len(), left.join("\n  "));
    Err(error.renamed(text))
}

/// The failures of a walk as one error; what was skipped because of them is only counted.
fn finish<T>(outcomes: BTreeMap<Address, Outcome<Address, T>>) -> Result<()> {
    let mut failures = Vec::new();
    let mut skipped = 0;
    for (address, outcome) in outcomes {
        match outcome {
            Outcome::Done(_) => {}
            Outcome::Skipped(_) => skipped += 1,
            Outcome::Failed(error) => failures.push((address, error)),
        }
    }
    let count = failures.len();
    let Some((address, first)) = failures.into_iter().next() else { return Ok(()) };
    let error = first.context(format!("`{address}`"));
    Err(match (count, skipped) {
        (1, 0) => error,
        (1, skipped) => error.hint(format!("{skipped} more were not begun because of it")),
        (count, skipped) => error.hint(format!("{} more failed, {skipped} were not begun", count - 1)),
    })
}

#[cfg(test)]
mod tests {
    use super::held;

    #[test]
    fn data_stays_on_an_object_when_the_file_does_not_ask_for_it_any_more() {
        let words = |list: &[&str]| list.iter().map(|&one| one.to_owned()).collect::<Vec<_>>();
        let (app, both) = ("postgres.main (database app)", "postgres.main (databases app, log)");
        assert_eq!(held(words(&[]), &words(&[app])), words(&[app]));
        assert_eq!(held(words(&[app]), &words(&[both])), words(&[both]), "what is there now is said once");
        assert_eq!(held(words(&[app]), &[]), words(&[app]));
        let other = "postgres.log (the whole server)";
        assert_eq!(held(words(&[app]), &words(&[other])), words(&[app, other]));
    }
}
