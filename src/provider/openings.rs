//! What of a machine is open to the world in a cloud: port 22 of the way in, by the group that the network has for that; other
//! ports by a group for each set of ports.

use crate::{
    config::Environment,
    name::Name,
    resource::{SSH_GROUP, VmSpec},
};

fn name(text: &str) -> Name {
    text.parse().expect("a valid name")
}

/// Gives a machine of a cloud its security groups, beside that of the network; the one that opens its ports is the answer.
/// `machine` is the machine, or one of those of a group.
pub(super) fn open(environment: &Environment, machines: &[Name], spec: &mut VmSpec) -> Option<Name> {
    let is_way_in = environment.bastion().is_some_and(|bastion| machines.contains(bastion));
    spec.ports.retain(|port| *port != 22 || is_way_in);
    let ports: Vec<String> = spec.ports.iter().filter(|port| **port != 22).map(u16::to_string).collect();
    let list = ports.join("-");
    let group = || name(&format!("ports-{}", list.chars().take(50).collect::<String>().trim_end_matches('-')));
    let opens = (!ports.is_empty()).then(group);
    spec.security_groups = opens.iter().cloned().chain(is_way_in.then(|| name(SSH_GROUP))).collect();
    opens
}
