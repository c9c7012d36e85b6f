//! What the hosts of a run share, and what those of one of its plays do.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::{Arc, Mutex},
};

use tokio_util::sync::CancellationToken;

use super::{
    ask::Asker,
    connection::{Connections, Place},
    load::Loader,
    notified::{Notification, Notified},
    roster::{Ending, Roster},
    vars::PlayScope,
    world::World,
};
use crate::event::Events;

/// How a run goes.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Nothing is changed.
    pub check: bool,
    /// The changes of files are shown.
    pub diff: bool,
    /// Only tasks with one of these tags, when there are any.
    pub tags: Vec<String>,
    /// No tasks with one of these tags.
    pub skip_tags: Vec<String>,
    /// Where notifications of handlers are kept until they have run; without it they are lost with the run.
    pub notified: Option<Notified>,
    /// Whether these are all plays of the environment: then a notification of a play that is not among them is out of date.
    pub complete: bool,
    /// Who answers the questions of `pause`.
    pub asker: Option<Arc<dyn Asker>>,
}

/// What the hosts of a run share.
pub(super) struct Shared {
    pub(super) world: Arc<World>,
    pub(super) loader: Arc<Loader>,
    pub(super) connections: Arc<dyn Connections>,
    pub(super) options: Options,
    pub(super) events: Events,
    pub(super) cancel: CancellationToken,
    pub(super) roster: Arc<Roster>,
    /// Notifications that earlier runs have left on the hosts, and the hosts and users that were asked for them.
    pub(super) left: Mutex<Left>,
}

/// What earlier runs have left on the hosts.
#[derive(Default)]
pub(super) struct Left {
    /// Who was asked, for the sake of which host.
    pub(super) asked: HashSet<(String, Place)>,
    /// Notifications, and where they were found.
    pub(super) found: BTreeMap<Notification, Vec<Place>>,
    /// Hosts on which a play ended before its end: what they did not take up is not out of date.
    pub(super) cut_short: BTreeSet<String>,
}

/// One play of a run.
pub(super) struct PlayRun {
    pub(super) scope: Arc<PlayScope>,
    pub(super) max_fail_percentage: Option<f64>,
    pub(super) force_handlers: bool,
    /// Earlier plays that run beside it.
    pub(super) beside: Vec<Arc<Ending>>,
    /// The hosts of all plays of the run, by the names of the plays.
    pub(super) plays: Arc<BTreeMap<String, BTreeSet<String>>>,
    /// The hosts for which there is no later play.
    pub(super) last: BTreeSet<String>,
}

impl PlayRun {
    /// The hosts of the plays of a name; `None` when there are none.
    pub(super) fn hosts_of(&self, name: &str) -> Option<&BTreeSet<String>> {
        self.plays.get(name)
    }

    /// Whether this is the last play of a host.
    pub(super) fn is_last(&self, host: &str) -> bool {
        self.last.contains(host)
    }
}
