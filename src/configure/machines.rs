//! Where the machines of an environment are, as the state knows: each by itself, or as a member of an instance group.

use serde_json::{Map, Value};

use crate::{
    config::Environment,
    name::Name,
    provider::MEMBERS,
    resource::{Address, KindName},
    state::State,
};

/// A machine that exists.
pub(crate) struct Machine<'a> {
    /// The provider's id.
    pub(crate) id: &'a str,
    /// The resource that it is, or that it is a member of.
    pub(crate) address: Address,
    /// Its addresses and ports.
    pub(crate) attributes: &'a Map<String, Value>,
    /// The name under which its host key was made: the members of a group share one, since they share their user-data.
    pub(crate) key_name: &'a str,
}

impl Machine<'_> {
    /// A text attribute.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.attributes.get(name)?.as_str()
    }

    /// The port of the public address under which SSH is reached.
    pub(crate) fn ssh_port(&self) -> u16 {
        let port = self.attributes.get("ports").and_then(|ports| ports.get("22")?.as_u64());
        port.and_then(|port| u16::try_from(port).ok()).unwrap_or(22)
    }
}

/// The machine of a host, when it exists.
pub(crate) fn machine<'a>(environment: &'a Environment, state: &'a State, host: &'a Name) -> Option<Machine<'a>> {
    let address = Address::vm(host);
    if let Some(entry) = state.resources.get(&address) {
        return Some(Machine { id: &entry.id, address, attributes: &entry.attributes, key_name: host.as_str() });
    }
    let (group, settings) = environment.groups.iter().find(|(_, group)| group.members.contains(host))?;
    let address = KindName::INSTANCE_GROUP.named(group);
    let entry = state.resources.get(&address)?;
    let at = settings.members.iter().position(|member| member == host)?;
    let attributes = entry.attributes.get(MEMBERS)?.get(at)?.as_object()?;
    let id = attributes.get("id").and_then(Value::as_str).unwrap_or_default();
    Some(Machine { id, address, attributes, key_name: group.as_str() })
}
