//! Handlers: which are notified, what of that is kept on the hosts, and when it goes.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde_json::Value;

use super::{Finish, HostRun, Place, TaskScope};
use crate::{
    error::{Error, Result},
    playbook::{
        model::Task,
        notified::{Folder, Notification},
        questions,
    },
    remote::{CHANGE_LIMIT, Output, Script, Sh, sh},
    template::{is_true, text_of},
};

const HELD: &str = "no task panics while it holds its notifications";

/// What is printed, with the reason behind it, when notifications cannot be written.
const NOT_KEPT: &str = "infra: the notification is not kept: ";

/// The notifications of a host in a play that are kept on hosts.
#[derive(Default)]
pub(super) struct Notices {
    /// What is kept, and where.
    kept: BTreeMap<Notification, Vec<Place>>,
    /// What the task at hand has written before it was known whether it changes anything.
    tentative: Vec<Notification>,
    /// What an earlier run has left and this play has taken up.
    taken: BTreeSet<Notification>,
    /// What the next request to a place has to do.
    errands: Vec<(Place, Errand)>,
}

/// What a request has to do about notifications, beside what it is made for.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Errand {
    /// Ask what an earlier run has left.
    Read,
    Write(Vec<Notification>),
    Remove(Vec<Notification>),
}

/// Notes one more place of a notification.
fn add(places: &mut Vec<Place>, place: &Place) {
    if !places.contains(place) {
        places.push(place.clone());
    }
}

/// Takes the line out of what a step has printed that says why notifications could not be written.
fn take_reason(output: &mut Output) -> Option<String> {
    let at = output.stderr.windows(NOT_KEPT.len()).position(|text| text == NOT_KEPT.as_bytes())?;
    let rest = &output.stderr[at..];
    let end = rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |end| end + 1);
    let line: Vec<u8> = output.stderr.drain(at..at + end).collect();
    Some(String::from_utf8_lossy(&line[NOT_KEPT.len()..]).trim().to_owned())
}

impl HostRun<'_> {
    /// A change notifies handlers by their names or topics.
    pub(super) fn notify(&mut self, task: &Arc<Task>, scope: &TaskScope) -> Result<()> {
        let handlers = self.handlers_of(task, scope)?;
        let more: Vec<Notification> = {
            let notices = self.notices.lock().expect(HELD);
            self.notifications(task, &handlers).into_iter().filter(|one| !notices.kept.contains_key(one)).collect()
        };
        if !more.is_empty() && !self.shared.options.check {
            // The task has no steps on a host, or they were not known to notify.
            let place = self.place(task, scope)?;
            self.notices.lock().expect(HELD).errands.push((place, Errand::Write(more)));
        }
        self.notified.extend(handlers);
        Ok(())
    }

    /// The handlers that a task notifies when it changes something.
    fn handlers_of(&self, task: &Task, scope: &TaskScope) -> Result<BTreeSet<usize>> {
        let mut found = BTreeSet::new();
        for topic in &task.notify {
            let topics = match self.engine().resolve(topic, &scope.shared())? {
                Value::Array(items) => items.iter().map(text_of).collect(),
                other => vec![text_of(&other)],
            };
            for topic in topics {
                // A later handler of one name replaces an earlier one; every listener of a topic runs.
                let named = self.handlers.iter().rposition(|handler| handler.name == topic || handler.title() == topic);
                let listen = self.handlers.iter().enumerate().filter(|(_, handler)| handler.listen.contains(&topic));
                let before = found.len();
                let all: Vec<usize> = named.into_iter().chain(listen.map(|(at, _)| at)).collect();
                found.extend(&all);
                if all.is_empty() && found.len() == before {
                    return Err(Error::new(format!("{}: there is no handler `{topic}`", task.mark)));
                }
            }
        }
        Ok(found)
    }

    fn notifications(&self, task: &Task, handlers: &BTreeSet<usize>) -> Vec<Notification> {
        let Some(notified) = &self.shared.options.notified else { return Vec::new() };
        let play = &self.play.scope.play.name;
        handlers.iter().map(|at| Notification::new(notified, &self.host, play, task, &self.handlers, *at)).collect()
    }

    /// The text that goes before the first step of a task, when it notifies handlers that nothing is kept of. What it says
    /// itself is one line on standard error. A handler that does not exist matters once something has changed.
    pub(super) fn before_steps(&self, task: &Task, scope: &TaskScope) -> Option<(Sh, Vec<Notification>)> {
        let never =
            task.changed_when.as_ref().is_some_and(|value| !matches!(**value, Value::String(_)) && !is_true(value));
        let notified = self.shared.options.notified.as_ref().filter(|_| !never && !task.notify.is_empty())?;
        let mut more = self.notifications(task, &self.handlers_of(task, scope).ok()?);
        more.retain(|one| !self.notices.lock().expect(HELD).kept.contains_key(one));
        let text = sh!(
            "( why=$( ( {0} ) </dev/null 2>&1 >/dev/null ) || \
             printf '%s%s\\n' {1} \"$(printf %s \"$why\" | tr '\\n' ' ')\" >&2 )\n",
            notified.write(&more),
            NOT_KEPT
        );
        (!more.is_empty()).then_some((text, more))
    }

    /// What was written before the first step of a task, and what that step has printed: of that, ours is taken out.
    pub(super) fn is_kept(&self, place: &Place, notifications: Vec<Notification>, output: &mut Output) {
        if let Some(why) = take_reason(output) {
            self.cannot_keep(&notifications, &why);
            return;
        }
        let mut notices = self.notices.lock().expect(HELD);
        notices.tentative.extend(notifications.iter().cloned());
        for one in notifications {
            add(notices.kept.entry(one).or_default(), place);
        }
    }

    fn cannot_keep(&self, notifications: &[Notification], why: &str) {
        for one in notifications {
            self.shared.events.warn(format!(
                "{}: the notification of the handler `{}` cannot be written: {}; it is lost if the run does not reach it",
                self.host,
                one.title(),
                why.trim()
            ));
        }
    }

    /// A task is over. What it wrote in advance goes if it has not changed anything, and stays if it failed half-way: then
    /// something may have changed.
    pub(super) fn confirm(&self, changed: bool, failed: bool) {
        let mut notices = self.notices.lock().expect(HELD);
        if failed {
            return;
        }
        let tentative = std::mem::take(&mut notices.tentative);
        if !changed {
            drop(notices);
            self.remove(tentative);
        }
    }

    /// A `rescue` makes up for the task that has failed: it notifies nothing.
    pub(super) fn made_up_for(&self) {
        let tentative = std::mem::take(&mut self.notices.lock().expect(HELD).tentative);
        self.remove(tentative);
    }

    /// Nothing makes up for the task that has failed: what it wrote stays.
    pub(super) fn keep_tentative(&self) {
        self.notices.lock().expect(HELD).tentative.clear();
    }

    /// These notifications go with the next request to where they are.
    fn remove(&self, notifications: Vec<Notification>) {
        let mut notices = self.notices.lock().expect(HELD);
        for one in notifications {
            for place in notices.kept.remove(&one).unwrap_or_default() {
                notices.errands.push((place, Errand::Remove(vec![one.clone()])));
            }
        }
    }

    /// Takes up what an earlier run has left for the handlers of this play, if its task fits: before that task, what made a
    /// handler fail may still be there.
    pub(super) fn take_up(&self, fits: impl Fn(Option<&str>) -> bool) -> BTreeSet<usize> {
        let play = &self.play.scope.play.name;
        let mut found = BTreeSet::new();
        let left = self.shared.left.lock().expect(HELD);
        let mut notices = self.notices.lock().expect(HELD);
        for (one, places) in left.found.iter().filter(|(one, _)| one.host == self.host && fits(one.task.as_deref())) {
            // The play that it is from takes it up itself, if it is for this host at all.
            let of_another =
                one.play != *play && self.play.hosts_of(&one.play).is_some_and(|hosts| hosts.contains(&self.host));
            if of_another || notices.taken.contains(one) {
                continue;
            }
            if let Some(at) = one.handler_of(&self.handlers) {
                notices.taken.insert(one.clone());
                let kept = notices.kept.entry(one.clone()).or_default();
                for place in places {
                    add(kept, place);
                }
                if !self.notified.contains(&at) && found.insert(at) {
                    self.shared.events.note(format!(
                        "{}: the handler `{}` is left from an earlier run, which has not run it to its end",
                        self.host,
                        one.title()
                    ));
                }
            }
        }
        found
    }

    /// A handler has run: nothing is kept of it any more.
    pub(super) fn has_run(&self, handler: usize) {
        let kept: Vec<Notification> = {
            let notices = self.notices.lock().expect(HELD);
            notices.kept.keys().filter(|one| one.handler_of(&self.handlers) == Some(handler)).cloned().collect()
        };
        let mut left = self.shared.left.lock().expect(HELD);
        left.found.retain(|one, _| !kept.contains(one));
        drop(left);
        if !self.shared.options.check {
            self.remove(kept);
        }
    }

    /// What a request to a place has to do beside what it is made for.
    pub(super) fn errands(&self, place: &Place) -> Vec<Errand> {
        if self.shared.options.notified.is_none() {
            return Vec::new();
        }
        let asked = (self.host.clone(), place.clone());
        let read = !self.shared.left.lock().expect(HELD).asked.contains(&asked);
        let notices = self.notices.lock().expect(HELD);
        let waiting =
            notices.errands.iter().filter(|(where_to, _)| where_to == place).map(|(_, errand)| errand.clone());
        read.then_some(Errand::Read).into_iter().chain(waiting).collect()
    }

    pub(super) fn script(&self, errand: &Errand) -> Script {
        let Some(notified) = &self.shared.options.notified else { return Script::probe(questions::is_there()) };
        match errand {
            Errand::Read => Script::probe(notified.read()),
            Errand::Write(notifications) => Script::change(notified.write(notifications), CHANGE_LIMIT),
            Errand::Remove(notifications) => Script::change(notified.remove(notifications), CHANGE_LIMIT),
        }
    }

    /// What came of the errands of a request.
    pub(super) fn done(&self, place: &Place, errands: &[Errand], outputs: &[Output]) {
        for (errand, output) in errands.iter().zip(outputs) {
            match errand {
                Errand::Read => self.found(place, output),
                Errand::Write(notifications) if output.succeeded() => {
                    let mut notices = self.notices.lock().expect(HELD);
                    for one in notifications {
                        add(notices.kept.entry(one.clone()).or_default(), place);
                    }
                }
                Errand::Write(notifications) => self.cannot_keep(notifications, &output.err()),
                Errand::Remove(_) => {}
            }
        }
        let mut notices = self.notices.lock().expect(HELD);
        notices.errands.retain(|(where_to, errand)| where_to != place || !errands.contains(errand));
    }

    /// What an earlier run has left in a place.
    fn found(&self, place: &Place, output: &Output) {
        let Some(notified) = &self.shared.options.notified else { return };
        let found = notified.parse(&self.host, &output.out());
        let mut left = self.shared.left.lock().expect(HELD);
        left.asked.insert((self.host.clone(), place.clone()));
        let notices = self.notices.lock().expect(HELD);
        for (one, folder) in found {
            if !notices.kept.contains_key(&one) {
                // Only root removes what is in the folder of root.
                let place = match folder {
                    Folder::Own => place.clone(),
                    Folder::Root => Place { user: Some("root".to_owned()), ..place.clone() },
                };
                add(left.found.entry(one).or_default(), &place);
            }
        }
    }

    /// Writes what is to be kept before something that changes without steps on a host, such as a request of `uri`.
    pub(super) async fn keep_before(&self, task: &Task, scope: &TaskScope, place: &Place) -> Result<()> {
        if self.shared.options.check {
            return Ok(());
        }
        if let Some((text, notifications)) = self.before_steps(task, scope) {
            let outputs = self.exec(place, &[Script::change(text, CHANGE_LIMIT)]).await?;
            self.is_kept(place, notifications, &mut outputs.into_iter().next().unwrap_or_default());
        }
        Ok(())
    }

    /// The end of a play on a host: what is still to be said about notifications is said.
    pub(super) async fn settle(&mut self, finish: Finish) {
        if finish != Finish::Done {
            self.cut_short();
        } else if !self.shared.options.check {
            self.drop_outdated();
        }
        loop {
            let next = self.notices.lock().expect(HELD).errands.first().map(|(place, _)| place.clone());
            let Some(place) = next else { return };
            if let Err(error) = self.exec(&place, &[]).await {
                self.shared.events.warn(format!(
                    "{}: the notifications of handlers cannot be updated: {error}; handlers may run once more",
                    self.host
                ));
                return;
            }
        }
    }

    /// A play ends on this host before its end: what it has not taken up stays for the next run.
    pub(super) fn cut_short(&self) {
        self.shared.left.lock().expect(HELD).cut_short.insert(self.host.clone());
    }

    /// Notifications whose handlers are not there any more: those of this play, and at the end of the last play of a host in
    /// a complete run those that no play has taken up.
    fn drop_outdated(&mut self) {
        let options = &self.shared.options;
        if !options.tags.is_empty() || !options.skip_tags.is_empty() {
            return;
        }
        let play = &self.play.scope.play.name;
        let last = options.complete && self.play.is_last(&self.host);
        let mut left = self.shared.left.lock().expect(HELD);
        if left.cut_short.contains(&self.host) {
            return;
        }
        let mut notices = self.notices.lock().expect(HELD);
        left.found.retain(|one, places| {
            if one.host != self.host || notices.taken.contains(one) || !(last || one.play == *play) {
                return true;
            }
            self.shared.events.warn(format!(
                "{}: the handler `{}` of the play `{}` was notified by an earlier run and is not there any more",
                self.host,
                one.title(),
                one.play
            ));
            let gone = places.iter().map(|place| (place.clone(), Errand::Remove(vec![one.clone()])));
            notices.errands.extend(gone);
            false
        });
    }
}
