//! What was done to a container beside infra: other limits, another name. Lists do not show the limits, so each machine of an
//! environment is inspected.

use serde_json::{Map, Value};

use super::{Health, Object, vm::limits};
use crate::{
    cloud::docker::{Client, ContainerDetails, Info},
    error::Result,
    resource::{KindName, VmSpec},
};

/// The attribute with the container's name.
pub(super) const CONTAINER: &str = "container";
/// What the engine shows, before it is compared with a specification.
const ENGINE: &str = "engine";
const NANO_CPUS: &str = "nano_cpus";
const MEMORY: &str = "memory";

/// Inspects the machines among these objects.
pub(super) async fn inspect(client: &Client, objects: &mut [Object]) -> Result<()> {
    let machines: Vec<&mut Object> = objects.iter_mut().filter(|object| object.address.kind == KindName::VM).collect();
    if machines.is_empty() {
        return Ok(());
    }
    let info = client.info().await?;
    let inspections = machines.into_iter().map(|machine| async {
        match client.inspect_container(&machine.id).await {
            Ok(details) => note(machine, &details, &info),
            // One that is removed in this moment has no limits any more.
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    });
    futures::future::try_join_all(inspections).await.map(drop)
}

/// Notes what an inspection shows of a machine. Limits that the engine cannot hold are not looked at.
fn note(object: &mut Object, details: &ContainerDetails, info: &Info) {
    if info.cpu_cfs_quota {
        object.actual.insert(NANO_CPUS.to_owned(), details.host_config.nano_cpus.into());
    }
    if info.memory_limit {
        object.actual.insert(MEMORY.to_owned(), details.host_config.memory.into());
    }
    object.actual.insert(ENGINE.to_owned(), info.ncpu.into());
}

/// Turns what was noted into fields of the specification that the machine was made from, where they differ from it.
pub(super) fn compare(spec: &Map<String, Value>, attributes: &Map<String, Value>, object: &mut Object) {
    let noted = |name: &str| object.actual.get(name).and_then(Value::as_u64);
    let (ncpu, nano_cpus, memory) = (noted(ENGINE), noted(NANO_CPUS), noted(MEMORY));
    for name in [ENGINE, NANO_CPUS, MEMORY] {
        object.actual.remove(name);
    }
    let Ok(wanted) = serde_json::from_value::<VmSpec>(Value::Object(spec.clone())) else { return };
    let info = (u32::try_from(ncpu.unwrap_or(0)).unwrap_or(u32::MAX), true, true);
    let (cpu_wanted, memory_wanted) = limits(&wanted, info);
    if let Some(nano_cpus) = nano_cpus.filter(|there| *there != cpu_wanted) {
        // The share of each processor is taken as it should be: the number of processors then says the rest.
        #[expect(clippy::cast_precision_loss, reason = "a number for people")]
        let cores = nano_cpus as f64 / (f64::from(wanted.core_fraction.max(1)) * 10_000_000.0);
        object.actual.insert("cores".to_owned(), cores.into());
    }
    if let Some(memory) = memory.filter(|there| *there != memory_wanted) {
        object.actual.insert("memory_mb".to_owned(), (memory / (1024 * 1024)).into());
    }
    let renamed = attributes.get(CONTAINER).is_some_and(|name| object.attributes.get(CONTAINER) != Some(name));
    if renamed && object.health == Health::Ready {
        object.health = Health::Renamed;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value, json};

    use super::{Health, Object, compare};
    use crate::resource::Terms;

    fn map(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    fn spec() -> Map<String, Value> {
        map(json!({
            "image": "debian-12", "cores": 4, "core_fraction": 50, "memory_mb": 512, "disk_gb": 10, "subnet": "main",
            "public": false, "ports": [], "login": "infra", "authorized_keys": [], "disks": [],
        }))
    }

    fn seen(attributes: Value, actual: Value) -> Object {
        Object {
            environment: "dev".into(),
            address: "vm.a".parse().unwrap(),
            project: "p".into(),
            id: "1".into(),
            token: "t".into(),
            created: 0,
            health: Health::Ready,
            terms: Terms::default(),
            attributes: map(attributes),
            actual: map(actual),
            links: None,
            outdated: None,
        }
    }

    #[test]
    fn limits_that_were_changed_are_fields_of_the_specification() {
        // The engine has two processors: a machine of four gets two, at half of their time.
        let as_made = json!({ "engine": 2, "nano_cpus": 1_000_000_000, "memory": 512 << 20 });
        let mut object = seen(json!({}), as_made);
        compare(&spec(), &Map::new(), &mut object);
        assert_eq!((object.actual, object.health), (Map::new(), Health::Ready));
        let changed = json!({ "engine": 2, "nano_cpus": 500_000_000, "memory": 256 << 20 });
        let mut object = seen(json!({}), changed);
        compare(&spec(), &Map::new(), &mut object);
        assert_eq!(object.actual, map(json!({ "cores": 1.0, "memory_mb": 256 })));
    }

    #[test]
    fn a_container_that_was_renamed_is_seen() {
        let known = map(json!({ "container": "infra-dev-a" }));
        let mut object = seen(json!({ "container": "mine" }), json!({}));
        compare(&spec(), &known, &mut object);
        assert_eq!(object.health, Health::Renamed);
        let mut object = seen(json!({ "container": "mine" }), json!({}));
        compare(&spec(), &Map::new(), &mut object);
        assert_eq!(object.health, Health::Ready, "a state of an earlier version does not know the name");
    }
}
