//! One play on one host: an interpreter that takes one task after the other from a list of work, and a look-ahead that makes
//! it fast.
//!
//! When a task's probe is needed, the probes of the tasks behind it travel in the same request, as far as their text is
//! known; when a task must change something, fresh probes of the rest travel with its steps. The look-ahead only guesses:
//! an answer is used when its task asks for exactly that text and nothing was changed since, so a wrong guess costs a few
//! bytes and never a wrong decision.

mod act;
mod ahead;
pub(super) mod context;
mod fate;
mod handlers;
mod meta;
mod once;
mod operate;
mod place;
mod says;
mod silence;

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::{Map, Value, json};

pub(super) use self::fate::Finish;
use self::handlers::Notices;
use super::{
    batch::Batch,
    calls::{self, Way},
    connection::{Place, Reach},
    directives::Directive,
    facts,
    load::count,
    loops,
    model::{Block, Entry, Task},
    recap::HostTally,
    shared::{PlayRun, Shared},
    task_end::TaskEnd,
    vars::TaskScope,
    world::HostMemory,
};
use crate::{
    error::Result,
    event,
    remote::{Locale, Output, ReadOnly, Script, Transport},
    template::{Authored, Engine, is_true, text_of},
};

/// How many probes travel in one request at most.
const BATCH: usize = 100;
/// How many entries the look-ahead goes through at most.
const AHEAD: usize = 300;

/// What is left to do.
enum Item {
    Entry(Entry),
    /// A handler that was notified.
    Handler(Arc<Task>),
    /// The end of a part of a block.
    Guard(Arc<Block>, Part, Option<Box<Failure>>),
    /// Notified handlers run, from this one on.
    Flush(usize),
    /// What earlier runs have left for handlers of this play is taken up, whatever has notified them.
    TakeUp,
    /// A handler has run.
    Ran(usize),
    /// The end of a host that has failed, after its handlers.
    Failed(Box<Failure>),
}

/// A failure on its way to what makes up for it.
struct Failure {
    end: TaskEnd,
    /// Whether it is one of this host, not one of another host that is one of all.
    own: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Body,
    Rescue,
    Always,
}

pub(super) struct HostRun<'a> {
    shared: &'a Shared,
    play: &'a PlayRun,
    batch: &'a Batch,
    host: String,
    /// What is known of it.
    memory: Arc<HostMemory>,
    work: VecDeque<Item>,
    handlers: Vec<Arc<Task>>,
    notified: BTreeSet<usize>,
    /// The tasks and handlers that are behind the host.
    passed: BTreeSet<String>,
    /// What of that is kept on hosts.
    notices: Mutex<Notices>,
    /// Whether it has failed, and nothing makes up for it.
    failed: bool,
    /// How many failures of all it has seen.
    fatals: usize,
    /// Answers of probes that are still true.
    seen: HashMap<(Place, ReadOnly), Output>,
    /// The plays beside this one that had ended before any of them was asked.
    seen_after: BTreeSet<usize>,
    /// How often each place has been visited: `run_once` in a file that is included twice runs twice.
    visits: HashMap<String, usize>,
    /// The roles of which a task has run.
    roles: BTreeSet<String>,
    /// What `rescue` gets.
    rescued: Map<String, Value>,
    /// The task at hand, for messages about its host.
    current: String,
    /// How many requests have been sent to hosts.
    pub(super) execs: AtomicUsize,
}

impl<'a> HostRun<'a> {
    /// A host at the beginning of a play.
    ///
    /// # Errors
    /// When there is no such host.
    pub(super) fn new(shared: &'a Shared, play: &'a PlayRun, batch: &'a Batch, host: &str) -> Result<Self> {
        let mut work = VecDeque::new();
        let sections = &play.scope.play.sections;
        let last = sections.iter().rposition(|section| !section.is_empty()).unwrap_or_default();
        for (at, section) in sections.iter().enumerate() {
            work.extend(section.iter().cloned().map(Item::Entry));
            work.extend((at == last).then_some(Item::TakeUp));
            work.push_back(Item::Flush(0));
        }
        Ok(Self {
            shared,
            play,
            batch,
            host: host.to_owned(),
            memory: shared.world.memory_of(host)?,
            work,
            handlers: play.scope.play.handlers.clone(),
            notified: BTreeSet::new(),
            passed: BTreeSet::new(),
            notices: Mutex::default(),
            failed: false,
            fatals: 0,
            seen: HashMap::new(),
            seen_after: fate::ended(play),
            visits: HashMap::new(),
            roles: BTreeSet::new(),
            rescued: Map::new(),
            current: "Gathering Facts".to_owned(),
            execs: AtomicUsize::new(0),
        })
    }

    fn engine(&self) -> &Engine {
        &self.shared.world.engine
    }

    fn scope(&self, task: &Arc<Task>) -> TaskScope {
        TaskScope {
            world: Arc::clone(&self.shared.world),
            host: self.host.clone(),
            play: Some(Arc::clone(&self.play.scope)),
            beside: None,
            task: Some(Arc::clone(task)),
            locals: Arc::new(self.rescued.clone()),
            looked: None,
        }
    }

    /// Whether a keyword that is true or false is true; one that cannot be resolved is not.
    fn holds(&self, value: Option<&Authored>, scope: &TaskScope) -> bool {
        value.is_some_and(|value| self.engine().resolve(value, &scope.shared()).is_ok_and(|value| is_true(&value)))
    }

    /// Runs the play. An error means that the host cannot be reached; failures of tasks are counted.
    pub(super) async fn play(&mut self, tally: &mut HostTally) -> Result<Finish> {
        if self.play.scope.play.gather_facts && !self.has_facts() {
            self.gather_first(tally).await?;
        }
        let finish = self.walk(tally).await?;
        if finish != Finish::Stopped {
            self.settle(finish).await;
        }
        Ok(finish)
    }

    async fn walk(&mut self, tally: &mut HostTally) -> Result<Finish> {
        while let Some(item) = self.work.pop_front() {
            if self.shared.cancel.is_cancelled() {
                return Ok(Finish::Stopped);
            }
            match item {
                Item::Entry(Entry::Block(block)) => {
                    self.push_front(&block.body, Item::Guard(Arc::clone(&block), Part::Body, None));
                }
                Item::Entry(Entry::Task(task)) => {
                    if self.has_wanted_tags(&task.common.tags) && !self.in_turn(&task, tally).await? {
                        return Ok(Finish::Stopped);
                    }
                    self.passed.insert(task.title());
                }
                // Handlers run whatever tags are asked for, as in Ansible: what notifies them has those tags.
                Item::Handler(task) => {
                    if !self.in_turn(&task, tally).await? {
                        return Ok(Finish::Stopped);
                    }
                    self.passed.insert(task.title());
                }
                Item::Guard(block, part, failure) => self.leave(&block, part, failure, tally),
                Item::Flush(from) => {
                    let left = self.take_up(|task| task.is_some_and(|task| self.passed.contains(task)));
                    self.notified.extend(left);
                    if let Some(next) = self.notified.range(from..).next().copied() {
                        self.notified.remove(&next);
                        self.work.push_front(Item::Flush(next + 1));
                        self.work.push_front(Item::Ran(next));
                        self.work.push_front(Item::Handler(Arc::clone(&self.handlers[next])));
                    }
                }
                Item::TakeUp => {
                    let left = self.take_up(|_| true);
                    self.notified.extend(left);
                }
                Item::Ran(handler) => self.has_run(handler),
                Item::Failed(failure) => {
                    self.work.clear();
                    self.has_failed(&failure, tally);
                }
            }
        }
        Ok(if self.failed { Finish::Failed } else { Finish::Done })
    }

    /// How much work is left, the task at hand included: the same for all hosts that are at the same place.
    fn left(&self) -> usize {
        let items = self.work.iter().map(|item| match item {
            Item::Entry(entry) => entry.weight(),
            Item::Ran(_) | Item::Failed(_) | Item::TakeUp => 0,
            Item::Guard(block, Part::Body | Part::Rescue, _) => block.ending(),
            Item::Handler(_) | Item::Guard(_, Part::Always, _) => 1,
            Item::Flush(from) => 1 + self.play.scope.play.handlers.len().saturating_sub(*from),
        });
        1 + items.sum::<usize>()
    }

    fn push_front(&mut self, entries: &[Entry], last: Item) {
        self.work.push_front(last);
        for entry in entries.iter().rev() {
            self.work.push_front(Item::Entry(entry.clone()));
        }
    }

    fn has_wanted_tags(&self, tags: &[String]) -> bool {
        is_chosen(tags, &self.shared.options.tags, &self.shared.options.skip_tags)
    }

    fn has_facts(&self) -> bool {
        let facts = self.memory.facts.read().expect("no task panics while it holds a host's memory");
        !facts.is_empty()
    }

    /// Gathers facts, or says why the host does not give them.
    async fn gather(&mut self, task: &Task, scope: &TaskScope) -> Result<Option<String>> {
        let place = self.place(task, scope)?;
        // The environment is a fact, and with it the language.
        let outputs = self.exec(&place, &[Script::probe(facts::question()).in_locale(Locale::Machine)]).await?;
        let answer = outputs.into_iter().next().unwrap_or_default();
        if answer.failure.is_some() {
            return Ok(answer.failure);
        }
        let facts = facts::parse(&answer.out());
        let memory = self.memory_of(task, scope)?;
        *memory.facts.write().expect("no task panics while it holds a host's memory") = facts;
        Ok(None)
    }

    /// Nothing that was seen is true any more.
    fn forget_seen(&mut self) {
        self.seen.clear();
        self.seen_after = fate::ended(self.play);
    }

    async fn connection(&self, place: &Place) -> Result<Arc<dyn Transport>> {
        match &place.reach {
            reach if *reach == Reach::default() => self.shared.connections.connect(&place.host).await,
            reach => self.shared.connections.reach(&place.host, reach).await,
        }
    }

    /// One request to a host: all of these scripts travel in it, behind what has to be said about notifications.
    async fn exec(&self, place: &Place, scripts: &[Script]) -> Result<Vec<Output>> {
        let connection = self.connection(place).await?;
        let errands = self.errands(place);
        self.execs.fetch_add(1, Ordering::Relaxed);
        let all: Vec<Script> =
            errands.iter().map(|errand| self.script(errand)).chain(scripts.iter().cloned()).collect();
        let work = connection.exec(place.user.as_deref(), &all);
        let mut outputs = self.attend(place, connection.as_ref(), work).await?;
        let mut rest = outputs.split_off(errands.len().min(outputs.len()));
        // What fails with an errand fails for all that comes behind it.
        if let (Some(first), Some(why)) = (rest.first_mut(), outputs.iter().find_map(|output| output.failure.clone())) {
            first.failure.get_or_insert(why);
        }
        self.done(place, &errands, &outputs);
        Ok(rest)
    }

    fn is_hidden(&self, task: &Task, scope: &TaskScope) -> bool {
        match &task.common.no_log {
            None => false,
            // A condition that cannot be resolved is no reason to show a secret.
            Some(value) => self.engine().resolve(value, &scope.shared()).map_or(true, |value| is_true(&value)),
        }
    }

    /// Lets time pass before something of the task at hand.
    async fn wait(&self, what: &str, time: Duration) {
        event::waiting(format!("{what} of `{}` on `{}`", self.current, self.host), tokio::time::sleep(time)).await;
    }

    /// A task with its loop.
    async fn run(&mut self, task: &Arc<Task>, scope: &TaskScope) -> Result<TaskEnd> {
        let Some(r#loop) = &task.r#loop else { return self.item(task, scope, &[]).await };
        let items = match loops::items(r#loop, self.engine(), scope) {
            Ok(items) => items,
            // A loop over something undefined is skipped when its condition says so, as in Ansible.
            Err(error) => {
                return Ok(match self.condition(task, scope) {
                    Ok(false) => TaskEnd::skipped(),
                    _ => TaskEnd::failed(error.to_string()),
                });
            }
        };
        let scopes: Vec<TaskScope> = (0..items.len()).map(|at| scope.with(item_vars(r#loop, &items, at))).collect();
        if is_include(task) {
            return self.include_loop(task, &scopes);
        }
        let mut all = TaskEnd { skipped: true, ..TaskEnd::default() };
        let mut results = Vec::new();
        for (at, scope) in scopes.iter().enumerate() {
            let mut end = self.item(task, scope, &scopes[at + 1..]).await?;
            let mut one = end.registered();
            if let Value::Object(map) = &mut one {
                map.insert(r#loop.var.clone(), items[at].clone());
                map.insert("ansible_loop_var".to_owned(), r#loop.var.as_str().into());
            }
            results.push(one);
            all.changed |= end.changed;
            all.skipped &= end.skipped;
            all.diffs.append(&mut end.diffs);
            all.defined.append(&mut end.defined);
            if let Some(message) = end.message {
                all.message =
                    Some(all.message.map_or_else(|| message.clone(), |before| format!("{before}\n{message}")));
            }
            if let Some(failure) = end.failure {
                let label = match &r#loop.label {
                    Some(label) => self
                        .engine()
                        .resolve(label, &scope.shared())
                        .map_or_else(|_| String::new(), |label| text_of(&label)),
                    None => text_of(&items[at]),
                };
                let shown = format!("item `{label}`: {failure}");
                all.failure = Some(all.failure.map_or_else(|| shown.clone(), |before| format!("{before}\n{shown}")));
            }
            match self.breaks(task, r#loop, scope, results.last()) {
                Ok(false) => {}
                Ok(true) => break,
                Err(error) => return Ok(TaskEnd::failed(format!("`break_when` cannot be evaluated: {error}"))),
            }
            if let Some(pause) = r#loop.pause.filter(|_| at + 1 < scopes.len()) {
                self.wait("the next item", Duration::from_secs_f64(pause)).await;
            }
        }
        if all.skipped && results.is_empty() {
            all.result.insert("skipped_reason".to_owned(), "No items in the list".into());
        }
        all.result.insert("results".to_owned(), results.into());
        Ok(all)
    }

    /// Whether a loop ends after an item with this result.
    fn breaks(
        &self, task: &Task, r#loop: &super::model::Loop, scope: &TaskScope, result: Option<&Value>,
    ) -> Result<bool> {
        let registered = task.register.iter().cloned().zip(result.cloned());
        let scope = scope.with(registered).shared();
        for condition in &r#loop.break_when {
            if !self.engine().condition(condition, &scope)? {
                return Ok(false);
            }
        }
        Ok(!r#loop.break_when.is_empty())
    }

    fn include_loop(&mut self, task: &Arc<Task>, scopes: &[TaskScope]) -> Result<TaskEnd> {
        let mut entries = Vec::new();
        for scope in scopes {
            match self.condition(task, scope) {
                Ok(true) => match self.include(task, scope) {
                    Ok(more) => entries.extend(more),
                    Err(error) => return Ok(TaskEnd::failed(error.to_string())),
                },
                Ok(false) => {}
                Err(error) => return Ok(TaskEnd::failed(error.to_string())),
            }
        }
        for entry in entries.into_iter().rev() {
            self.work.push_front(Item::Entry(entry));
        }
        Ok(TaskEnd::default())
    }

    fn condition(&self, task: &Task, scope: &TaskScope) -> Result<bool> {
        Ok(self.false_condition(task, scope)?.is_none())
    }

    /// The first condition of a task that does not hold.
    fn false_condition<'t>(&self, task: &'t Task, scope: &TaskScope) -> Result<Option<&'t Authored>> {
        let shared = scope.shared();
        for condition in &task.common.when {
            if !self.engine().condition(condition, &shared)? {
                return Ok(Some(condition));
            }
        }
        Ok(None)
    }

    /// One item of a task, with its condition and its repetitions. `rest` are the items behind it.
    async fn item(&mut self, task: &Arc<Task>, scope: &TaskScope, rest: &[TaskScope]) -> Result<TaskEnd> {
        match self.false_condition(task, scope) {
            Ok(None) => {}
            Ok(Some(condition)) => {
                let mut end = TaskEnd::skipped();
                end.result.insert("false_condition".to_owned(), (**condition).clone());
                end.result.insert("skip_reason".to_owned(), "Conditional result was False".into());
                return Ok(end);
            }
            Err(error) => return Ok(TaskEnd::failed(format!("the condition cannot be evaluated: {error}"))),
        }
        let number = |keyword: &str, value: &Option<Authored>, usual: u64| {
            let value = value.as_ref().map(|value| self.engine().resolve(value, &scope.shared())).transpose()?;
            value.filter(|value| !value.is_null()).map_or(Ok(usual), |value| count(keyword, &text_of(&value)))
        };
        let usual = if task.until.is_some() { 3 } else { 0 };
        let numbers = number("retries", &task.retries, usual).and_then(|r| Ok((r, number("delay", &task.delay, 5)?)));
        let (retries, delay) = match numbers {
            Ok(numbers) => numbers,
            Err(error) => return Ok(TaskEnd::failed(format!("{}: {error}", task.mark))),
        };
        let mut attempt = 0;
        loop {
            attempt += 1;
            let mut end = self.attempt(task, scope, rest).await?;
            if retries == 0 || end.skipped {
                return Ok(end);
            }
            end.result.insert("attempts".to_owned(), attempt.into());
            let holds = match &task.until {
                None => end.failure.is_none(),
                Some(until) => {
                    let scope = self.with_result(task, scope, &end);
                    match self.engine().condition(until, &scope.shared()) {
                        Ok(holds) => holds,
                        // Until the command succeeds its output may lack what the condition looks at.
                        Err(_) if end.failure.is_some() => false,
                        Err(error) => return Ok(TaskEnd::failed(format!("`until` cannot be evaluated: {error}"))),
                    }
                }
            };
            if holds {
                return Ok(end);
            }
            if attempt <= retries && !self.shared.cancel.is_cancelled() {
                self.forget_seen();
                self.wait(&format!("attempt {}", attempt + 1), Duration::from_secs(delay)).await;
                continue;
            }
            // As in Ansible: how often it was tried again.
            end.result.insert("attempts".to_owned(), retries.into());
            if end.failure.is_none() {
                end.failure = Some(format!("`until` did not hold after {attempt} attempts"));
            }
            return Ok(end);
        }
    }

    /// The scope in which `until`, `changed_when` and `failed_when` are decided: with the result under its name.
    fn with_result(&self, task: &Task, scope: &TaskScope, end: &TaskEnd) -> TaskScope {
        let registered = end.registered();
        let mut more = registered.as_object().cloned().unwrap_or_default();
        more.retain(|name, _| matches!(name.as_str(), "rc" | "stdout" | "stderr" | "stdout_lines" | "msg" | "status"));
        match &task.register {
            Some(name) => {
                let mut only = Map::new();
                only.insert(name.clone(), registered);
                scope.with(only)
            }
            None => scope.with(more),
        }
    }

    async fn attempt(&mut self, task: &Arc<Task>, scope: &TaskScope, rest: &[TaskScope]) -> Result<TaskEnd> {
        let mut end = match self.seconds(task, scope) {
            Ok(None) => self.act(task, scope, rest).await?,
            Ok(Some(limit)) => match tokio::time::timeout(limit, self.act(task, scope, rest)).await {
                Ok(end) => end?,
                Err(_) => self.timed_out(task, scope, limit).await,
            },
            Err(error) => TaskEnd::failed(error.to_string()),
        };
        if end.skipped {
            return Ok(end);
        }
        let told = self.with_result(task, scope, &end).shared();
        if let Some(condition) = &task.failed_when {
            let holds = self.engine().condition(condition, &told);
            end.result.insert("failed_when_result".to_owned(), holds.as_ref().is_ok_and(|holds| *holds).into());
            match holds {
                Ok(true) => drop(end.failure.get_or_insert_with(|| "`failed_when` holds".to_owned())),
                Ok(false) => end.failure = None,
                Err(error) => end.failure = Some(format!("`failed_when` cannot be evaluated: {error}")),
            }
        }
        if let Some(condition) = &task.changed_when {
            match self.engine().condition(condition, &told) {
                Ok(changed) => end.changed = changed,
                Err(error) => end.failure = Some(format!("`changed_when` cannot be evaluated: {error}")),
            }
        }
        Ok(end)
    }

    async fn act(&mut self, task: &Arc<Task>, scope: &TaskScope, rest: &[TaskScope]) -> Result<TaskEnd> {
        match calls::way(task) {
            Some(Way::Module(_)) => self.module(task, scope, rest).await,
            Some(Way::Action(action)) => self.action(action, task, scope).await,
            Some(Way::Directive(directive, _)) => Ok(self.follow(directive, task, scope).await),
            None => Ok(TaskEnd::failed(format!("{}: `{}` is not a module", task.mark, task.module))),
        }
    }

    /// A directive.
    async fn follow(&mut self, directive: Directive, task: &Arc<Task>, scope: &TaskScope) -> TaskEnd {
        let end = match directive {
            Directive::IncludeTasks | Directive::IncludeRole => self.include(task, scope).map(|entries| {
                for entry in entries.into_iter().rev() {
                    self.work.push_front(Item::Entry(entry));
                }
                TaskEnd::default()
            }),
            // It has been replaced when the play was read.
            Directive::ImportTasks | Directive::ImportRole => Ok(TaskEnd::default()),
            Directive::Meta => self.meta(task, scope).await,
        };
        end.unwrap_or_else(|error| TaskEnd::failed(format!("{}: {error}", task.mark)))
    }

    fn include(&mut self, task: &Task, scope: &TaskScope) -> Result<Vec<Entry>> {
        let included = self.open(task, scope)?;
        let mut public = self.play.scope.public.write().expect("no task panics while it holds the list");
        public.extend(included.public);
        drop(public);
        for handler in included.handlers {
            if !self
                .handlers
                .iter()
                .any(|known| known.title() == handler.title() && known.mark.to_string() == handler.mark.to_string())
            {
                self.handlers.push(handler);
            }
        }
        Ok(included.entries)
    }
}

/// Whether a task with these tags runs, as Ansible decides it.
fn is_chosen(tags: &[String], only: &[String], skip: &[String]) -> bool {
    let is = |name: &str| tags.iter().any(|tag| tag == name);
    let asks = |list: &[String], name: &str| list.iter().any(|tag| tag == name);
    let among = |list: &[String]| match tags {
        [] => asks(list, "untagged"),
        tags => tags.iter().any(|tag| asks(list, tag)),
    };
    // Nothing asked for means `all`.
    let chosen = is("always")
        || ((only.is_empty() || asks(only, "all")) && !is("never"))
        || among(only)
        || (asks(only, "tagged") && !tags.is_empty() && !is("never"));
    let skipped = if asks(skip, "all") {
        !is("always") || asks(skip, "always")
    } else {
        among(skip) || (asks(skip, "tagged") && !tags.is_empty())
    };
    chosen && !skipped
}

fn is_include(task: &Task) -> bool {
    calls::directive(task).is_some_and(Directive::is_include)
}

/// The variables of one item of a loop.
fn item_vars(r#loop: &super::model::Loop, items: &[Value], at: usize) -> Map<String, Value> {
    let mut vars = Map::new();
    vars.insert(r#loop.var.clone(), items[at].clone());
    vars.insert("ansible_loop_var".to_owned(), r#loop.var.as_str().into());
    if let Some(name) = &r#loop.index_var {
        vars.insert(name.clone(), at.into());
    }
    if r#loop.extended {
        let length = items.len();
        vars.insert(
            "ansible_loop".to_owned(),
            json!({
                "index": at + 1, "index0": at, "revindex": length - at, "revindex0": length - at - 1, "first": at == 0,
                "last": at + 1 == length, "length": length,
            }),
        );
        if r#loop.all_items {
            vars["ansible_loop"]["allitems"] = items.into();
        }
        // At the ends there is no neighbour, not one that is nothing.
        let mut neighbour = |name: &str, item: Option<&Value>| {
            if let Some(item) = item {
                vars["ansible_loop"][name] = item.clone();
            }
        };
        neighbour("previtem", at.checked_sub(1).map(|before| &items[before]));
        neighbour("nextitem", items.get(at + 1));
    }
    vars
}

#[cfg(test)]
mod tests {
    use super::is_chosen;

    /// The answers are those of ansible-core 2.19 (`Taggable.evaluate_tags`).
    #[test]
    fn tags_choose_as_in_ansible() {
        let list = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let chosen = |tags: &str, only: &str, skip: &str| is_chosen(&list(tags), &list(only), &list(skip));
        for (tags, only, skip, wanted) in [
            ("", "", "", true),
            ("a", "", "", true),
            ("never", "", "", false),
            ("never a", "a", "", true),
            ("never a", "never", "", true),
            ("never a", "tagged", "", false),
            ("never a", "all", "", false),
            ("never always", "", "", true),
            ("a", "tagged", "", true),
            ("", "tagged", "", false),
            ("", "untagged", "", true),
            ("a", "untagged", "", false),
            ("always", "untagged", "", true),
            ("always", "b", "", true),
            ("always", "", "always", false),
            ("always", "", "all", true),
            ("a", "", "all", false),
            ("", "", "untagged", false),
            ("a", "", "tagged", false),
            ("", "", "tagged", true),
            ("", "all", "", true),
        ] {
            assert_eq!(chosen(tags, only, skip), wanted, "tags `{tags}`, --tags `{only}`, --skip-tags `{skip}`");
        }
    }
}
