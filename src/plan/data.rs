//! What of a plan loses data: objects that hold what the file cannot bring back, and that go or are made again.

use serde::{Deserialize, Serialize};
use serde_json::Map;

use super::{Change, Known, Plan};
use crate::{
    error::{Error, Result},
    provider::{Health, Object},
    resource::{KindName, Resource},
};

/// What becomes of data whose object goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DataPolicy {
    /// A plan that loses data is refused.
    #[default]
    Refuse,
    /// It goes, and a last copy of it is kept where the provider makes one.
    Copy,
    /// It goes, and a last copy of it is kept where the provider can make one of the object as it is now.
    CopyIfPossible,
    /// It goes.
    Lose,
}

impl DataPolicy {
    /// The policy of a command that changes an environment.
    #[must_use]
    pub fn of_apply(allow_data_loss: bool) -> Self {
        if allow_data_loss { Self::CopyIfPossible } else { Self::Refuse }
    }

    /// The policy of a command that removes an environment, which is asked for its end.
    #[must_use]
    pub fn of_removal(allow_data_loss: bool) -> Self {
        if allow_data_loss { Self::Lose } else { Self::Copy }
    }
}

/// The data that an object holds: what its kind says, what the state has written down, and what the file keeps on it.
pub(super) fn held(object: &Object, wanted: Option<&Resource>, known: Known<'_>) -> Vec<String> {
    let address = &object.address;
    // What is being removed cannot be kept, and what is left of a lost service is no data.
    if matches!(object.health, Health::Leaving | Health::Incomplete) {
        return Vec::new();
    }
    let entry = known.state.and_then(|state| state.resources.get(address)).filter(|entry| entry.id == object.id);
    // What an interrupted call has made was never used.
    if entry.is_none() && known.pending.get(address).is_some_and(|intent| intent.token == object.token) {
        return Vec::new();
    }
    let (nothing, kind) = (Map::new(), address.kind.kind());
    let spec = entry.map(|entry| &entry.spec).or(wanted.map(|wanted| &wanted.spec)).unwrap_or(&nothing);
    let mut data: Vec<String> = kind.data(spec).map(|what| format!("{address} ({what})")).into_iter().collect();
    // States of earlier versions did not write it down: then it is what the file keeps there now.
    let written = entry.map(|entry| &entry.data).filter(|data| !data.is_empty());
    data.extend(written.or(wanted.map(|wanted| &wanted.data)).into_iter().flatten().cloned());
    data
}

impl Change {
    /// Whether data goes with it.
    #[must_use]
    pub fn loses_data(&self) -> bool {
        self.action.removes() && !self.data.is_empty()
    }
}

impl Plan {
    /// The changes with which data goes.
    pub fn losses(&self) -> impl Iterator<Item = &Change> {
        self.changes.iter().filter(|change| change.loses_data())
    }

    /// The data that goes, in words.
    #[must_use]
    pub fn lost(&self) -> Vec<String> {
        let mut lost: Vec<String> = Vec::new();
        for data in self.losses().flat_map(|change| &change.data) {
            if !lost.contains(data) {
                lost.push(data.clone());
            }
        }
        lost
    }

    /// Refuses a plan that loses data without having been made for that.
    ///
    /// # Errors
    /// When it does; the data is named.
    pub fn check_losses(&self) -> Result<()> {
        let lost = self.lost();
        if self.data != DataPolicy::Refuse || lost.is_empty() {
            return Ok(());
        }
        let error = Error::usage(format!("this plan loses data: {}", lost.join(", ")));
        // A managed service keeps its backups itself.
        let on_machines = self.losses().filter(|change| change.address.kind != KindName::POSTGRES);
        let mut databases = on_machines.flat_map(|change| &change.data);
        let error = match databases.find_map(|what| what.strip_prefix("postgres.")?.split(' ').next()) {
            Some(name) => error.hint(format!(
                "`infra ssh {} postgres-{name} -- sudo postgresql-backup` makes a dump; docs/databases.md says how to take it along",
                self.environment
            )),
            None => error,
        };
        Err(error
            .hint("make a copy of it first; `--allow-data-loss` carries the plan out, and keeps no more than a last copy of managed databases")
            .hint("`--exclude ADDRESS` leaves an object as it is, with all that it is in"))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::{DataPolicy, Known, Plan};
    use crate::{
        name::Name,
        plan::{Action, Configure, VERSION, diff},
        provider::{Health, Object},
        resource::{Policy, Resource, Terms},
        state::{Entry, Intent, Overlay, State},
    };

    fn resource(address: &str, spec: serde_json::Value, data: &[&str]) -> Resource {
        Resource {
            address: address.parse().unwrap(),
            spec: spec.as_object().unwrap().clone(),
            needs: Vec::new(),
            origin: String::new(),
            data: data.iter().map(|&text| text.to_owned()).collect(),
        }
    }

    fn object(resource: &Resource) -> Object {
        let address = resource.address.to_string();
        Object { token: "t".into(), ..Object::sample(&address, &address) }
    }

    fn state(resources: &[Resource]) -> State {
        let text = json!({
            "version": 2, "environment": "dev", "provider": "fake", "folder": "envs/dev", "overlay": Overlay::default(),
            "serial": 1, "created": "2026-01-01T00:00:00Z", "resources": {},
        });
        let entry = |one: &Resource| Entry {
            id: one.address.to_string(),
            token: "t".into(),
            spec: one.spec.clone(),
            needs: Vec::new(),
            attributes: serde_json::Map::new(),
            created: "2026-01-01T00:00:00Z".parse().unwrap(),
            data: one.data.clone(),
        };
        let resources = resources.iter().map(|one| (one.address.clone(), entry(one))).collect();
        State { resources, ..serde_json::from_value(text).unwrap() }
    }

    fn plan(wanted: &[Resource], known: Known<'_>, data: DataPolicy) -> Plan {
        let name: Name = "dev".parse().unwrap();
        Plan {
            version: VERSION,
            environment: name.clone(),
            labelled: name,
            project: String::new(),
            terms: Terms::default(),
            serial: 1,
            digest: String::new(),
            changes: diff(wanted, known).unwrap(),
            secrets: Vec::new(),
            configure: Configure::default(),
            warnings: Vec::new(),
            data,
        }
    }

    /// What is lost on the way from what is there to what is wanted.
    fn lost(there: &[Resource], wanted: &[Resource]) -> Vec<String> {
        let (state, pending) = (state(there), BTreeMap::new());
        let observed: Vec<Object> = there.iter().map(object).collect();
        let known = Known { state: Some(&state), pending: &pending, observed: &observed, policy: Policy::default() };
        let plan = plan(wanted, known, DataPolicy::Refuse);
        assert_eq!(plan.check_losses().is_err(), !plan.lost().is_empty());
        assert!(Plan { data: DataPolicy::Lose, ..plan.clone() }.check_losses().is_ok());
        plan.lost()
    }

    #[test]
    fn what_holds_data_is_named_when_it_goes_or_is_replaced() {
        let disk = resource("disk.db-data", json!({"size_gb": 20, "zone": "a"}), &[]);
        let db = resource("postgres.main", json!({"disk_gb": 10, "zone": "a", "databases": {"app": {}}}), &[]);
        let vm = resource("vm.postgres-log", json!({"image": "x", "cores": 2}), &["postgres.log (databases a, b)"]);
        let web = resource("vm.web", json!({"image": "x"}), &[]);
        let all = [disk.clone(), db.clone(), vm.clone(), web.clone()];
        assert_eq!(lost(&all, &all), Vec::<String>::new());
        let everything = ["disk.db-data (20 GB)", "postgres.main (database app)", "postgres.log (databases a, b)"];
        assert_eq!(lost(&all, &[]), everything);
        let changed = |one: &Resource, field: &str, value: serde_json::Value| {
            let mut one = one.clone();
            one.spec.insert(field.to_owned(), value);
            all.iter()
                .map(|other| if other.address == one.address { one.clone() } else { other.clone() })
                .collect::<Vec<_>>()
        };
        assert_eq!(lost(&all, &changed(&disk, "zone", "b".into())), everything[..1]);
        assert_eq!(lost(&all, &changed(&db, "zone", "b".into())), everything[1..2]);
        assert_eq!(lost(&all, &changed(&vm, "image", "y".into())), everything[2..]);
        assert_eq!(lost(&all, &changed(&vm, "cores", 4.into())), Vec::<String>::new(), "changed in place");
        assert_eq!(lost(&all, &changed(&web, "image", "y".into())), Vec::<String>::new(), "it holds nothing");
    }

    #[test]
    fn the_refusal_says_how_a_database_on_a_machine_is_dumped() {
        let hints = |there: &Resource| {
            let there = std::slice::from_ref(there);
            let (state, pending) = (state(there), BTreeMap::new());
            let observed: Vec<Object> = there.iter().map(object).collect();
            let known =
                Known { state: Some(&state), pending: &pending, observed: &observed, policy: Policy::default() };
            plan(&[], known, DataPolicy::Refuse).check_losses().unwrap_err().hints().join("\n")
        };
        let vm = resource("vm.postgres-log", json!({"image": "x"}), &["postgres.log (databases a, b)"]);
        let dump = "`infra ssh dev postgres-log -- sudo postgresql-backup` makes a dump";
        assert!(hints(&vm).contains(dump), "{}", hints(&vm));
        let managed = resource("postgres.log", json!({"databases": {"app": {}}}), &[]);
        assert!(!hints(&managed).contains("postgresql-backup"), "{}", hints(&managed));
    }

    #[test]
    fn what_is_left_of_a_lost_service_holds_nothing_and_is_completed() {
        let db = resource("postgres.main", json!({"databases": {"app": {}}}), &[]);
        let observed = [Object { health: Health::Incomplete, ..object(&db) }];
        let (state, pending) = (state(std::slice::from_ref(&db)), BTreeMap::new());
        let known = Known { state: Some(&state), pending: &pending, observed: &observed, policy: Policy::default() };
        for (wanted, action) in [(std::slice::from_ref(&db), Action::Update), (&[], Action::Delete)] {
            let plan = plan(wanted, known, DataPolicy::Refuse);
            assert_eq!((plan.changes[0].action, plan.lost()), (action, Vec::new()));
        }
    }

    #[test]
    fn a_state_of_an_earlier_version_is_completed_from_the_file() {
        let vm = resource("vm.postgres-main", json!({"image": "x"}), &["postgres.main (database app)"]);
        let there = [Resource { data: Vec::new(), ..vm.clone() }];
        let wanted = [Resource { spec: resource("vm.a", json!({"image": "y"}), &[]).spec, ..vm }];
        assert_eq!(lost(&there, &wanted), ["postgres.main (database app)"]);
    }

    #[test]
    fn what_an_interrupted_call_made_holds_nothing_and_a_stranger_may() {
        let db = resource("postgres.main", json!({"databases": {}}), &[]);
        let observed = [Object { health: Health::Unfinished, ..object(&db) }];
        let intent = Intent { token: "t".into(), spec: db.spec.clone(), needs: Vec::new() };
        let ours = BTreeMap::from([(db.address.clone(), intent)]);
        let wanted = std::slice::from_ref(&db);
        let stranger = (&BTreeMap::new(), Action::Replace, vec!["postgres.main (the whole server)".to_owned()]);
        for (pending, action, lost) in [(&ours, Action::Update, Vec::new()), stranger] {
            let known = Known { state: None, pending, observed: &observed, policy: Policy::default() };
            let plan = plan(wanted, known, DataPolicy::Refuse);
            assert_eq!((plan.changes[0].action, plan.lost()), (action, lost));
        }
    }
}
