//! What of a machine is open to the world in a cloud: port 22 of the way in, by the group that the network has for that; other
//! ports by a group for each set of ports.

use sha2::{Digest, Sha256};

use super::layout::name;
use crate::{
    config::Environment,
    encoding,
    name::Name,
    resource::{SSH_GROUP, VmSpec},
};

/// How long the list of ports in a name is at most.
const LONGEST_LIST: usize = 50;

/// The name of the security group that opens these ports: the ports, and where they are too many for a name, a digest of them.
pub(super) fn group(kind: &str, ports: &[u16]) -> Name {
    let list = ports.iter().map(u16::to_string).collect::<Vec<_>>().join("-");
    if list.len() <= LONGEST_LIST {
        return name(&format!("{kind}-{list}"));
    }
    let digest = encoding::hex(&Sha256::digest(&list)[..4]);
    let (shown, _) = list[..LONGEST_LIST - digest.len()].rsplit_once('-').unwrap_or_default();
    name(&format!("{kind}-{shown}-{digest}"))
}

/// Gives a machine of a cloud its security groups, beside that of the network; the one that opens its ports is the answer.
/// `machine` is the machine, or one of those of a group.
pub(super) fn open(environment: &Environment, machines: &[Name], spec: &mut VmSpec) -> Option<Name> {
    let is_way_in = environment.bastion().is_some_and(|bastion| machines.contains(bastion));
    spec.ports.retain(|port| *port != 22 || is_way_in);
    let ports: Vec<u16> = spec.ports.iter().filter(|port| **port != 22).copied().collect();
    let opens = (!ports.is_empty()).then(|| group("ports", &ports));
    spec.security_groups = opens.iter().cloned().chain(is_way_in.then(|| name(SSH_GROUP))).collect();
    opens
}

#[cfg(test)]
mod tests {
    use super::group;

    #[test]
    fn other_ports_have_another_group() {
        assert_eq!(group("ports", &[80, 443]).as_str(), "ports-80-443");
        let many: Vec<u16> = (10_001..=10_009).collect();
        let others: Vec<u16> = (10_001..=10_008).chain([10_099]).collect();
        let (many, others) = (group("ports", &many), group("ports", &others));
        assert_ne!(many, others);
        assert!(many.as_str().starts_with("ports-10001-10002-10003-10004-10005-10006-10007-"), "{many}");
        assert!(many.as_str().len() <= 63);
    }
}
