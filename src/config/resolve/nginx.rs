//! HTTPS fronts and their machines.

use indexmap::IndexMap;

use super::{Resolver, group_name, machines::Machine};
use crate::{
    config::{
        Front, FrontLocation, FrontUpstream,
        file::{File, Metadata, Nginx},
    },
    error::Diagnostic,
    name::Name,
};

impl Resolver<'_> {
    pub(super) fn nginx(&mut self, file: &File) -> IndexMap<Name, Front> {
        let mut fronts = IndexMap::new();
        for (name, front) in &file.nginx {
            let section = ["nginx", name.as_str()];
            let Ok(base) = format!("nginx-{name}").parse::<Name>() else {
                self.mistake(&section, format!("`{name}` is too long: its machine is called `nginx-{name}`"));
                continue;
            };
            let mut groups = vec!["nginx".to_owned(), format!("nginx_{}", group_name(name))];
            groups.extend(front.ansible_groups.iter().cloned());
            let mut network = front.network.clone().unwrap_or_default();
            // Behind a balancer the address is the balancer's.
            let address = if front.nodes > 1 { network.address.take() } else { None };
            let address = address.and_then(|address| self.balancer_address(name, address));
            let says_nat = ["nginx", name.as_str(), "network", "nat"];
            let says_nat = says_nat.iter().try_fold(self.root, |node, key| node.get(key)).is_some();
            if !says_nat && front.nodes == 1 {
                let message = format!("`nginx.{name}` has no public address: only the network reaches it");
                let place = self.mark(&section).location();
                let hint = "`network: {nat: true}` gives it one; `network: {nat: false}` says that it is meant so";
                self.found.push(Diagnostic::warning(place, message).hint(hint));
            }
            if says_nat && front.nodes > 1 && !network.nat {
                let message =
                    format!("the balancer of `nginx.{name}` has a public address: `nat: false` is about its machines");
                let place = self.mark(&["nginx", name.as_str(), "network", "nat"]).location();
                let hint = "a front that only the network reaches has one machine: `nodes: 1`";
                self.found.push(Diagnostic::warning(place, message).hint(hint));
            }
            let mut nodes = Vec::new();
            for number in 1..=front.nodes {
                // The first one is called the same however many there are: it stays when a front grows or shrinks.
                let node = if number == 1 { Some(base.clone()) } else { self.numbered(&base, number, &section) };
                let Some(node) = node else { break };
                self.machine(Machine {
                    name: node.clone(),
                    section,
                    resources: &front.resources,
                    image_family: front.image_family.as_deref(),
                    network: &network,
                    metadata: &Metadata::default(),
                    groups: groups.clone(),
                    zone: None,
                    ports: vec![front.listen.http, front.listen.https],
                    balanced: front.nodes > 1,
                });
                nodes.push(node);
            }
            fronts.insert(name.clone(), self.front(name, nodes, front, address));
        }
        // All machines are known now.
        self.firewall(file);
        fronts
    }

    /// The reserved address of the balancer before a front, when it exists and nothing else has it.
    fn balancer_address(&mut self, front: &Name, address: Name) -> Option<Name> {
        let path = ["nginx", front.as_str(), "network", "address"];
        let known = self.check_address(&path, &address);
        if known {
            self.balanced.push((address.clone(), front.clone()));
        }
        known.then_some(address)
    }

    fn front(&mut self, name: &Name, nodes: Vec<Name>, front: &Nginx, address: Option<Name>) -> Front {
        let known: Vec<String> = front.upstreams.keys().map(Name::to_string).collect();
        for (path, location) in &front.locations {
            if !front.upstreams.contains_key(&location.upstream) {
                let at = ["nginx", name.as_str(), "locations", path, "upstream"];
                self.unknown(&at, "upstream", location.upstream.as_str(), &known);
            }
            if !is_location(path) {
                let at = ["nginx", name.as_str(), "locations", path];
                let message = format!("a location is a path that begins with `/`, not `{}`", path.escape_debug());
                self.mistake(&at, message).hint =
                    Some("white space, quotes, `;`, `#` and braces would end it in nginx's configuration".to_owned());
            }
        }
        for host in &front.tls.names {
            if !is_server_name(host) {
                let at = ["nginx", name.as_str(), "tls", "names", host];
                self.mistake(&at, format!("`{}` is not a host name or an IP address", host.escape_debug()));
            }
        }
        Front {
            nodes,
            public: front.nodes > 1 || front.network.as_ref().is_some_and(|network| network.nat),
            address,
            http_port: front.listen.http,
            https_port: front.listen.https,
            names: front.tls.names.clone(),
            upstreams: front
                .upstreams
                .iter()
                .map(|(name, upstream)| {
                    let resolved = FrontUpstream {
                        group: upstream.group.clone(),
                        port: upstream.port,
                        max_fails: upstream.max_fails,
                        fail_timeout: upstream.fail_timeout.0.as_secs(),
                    };
                    (name.to_string(), resolved)
                })
                .collect(),
            locations: front
                .locations
                .iter()
                .map(|(path, location)| FrontLocation {
                    path: path.clone(),
                    upstream: location.upstream.to_string(),
                    cache: location.cache.map(|span| span.0.as_secs()),
                })
                .collect(),
        }
    }
}

/// Whether a path can be written into nginx's configuration as it is. nginx has no escapes that work outside of quotes, so what
/// would end the word or begin a comment is refused.
fn is_location(path: &str) -> bool {
    let special = |c: char| c.is_whitespace() || c.is_control() || "\"'`;#{}\\".contains(c);
    path.starts_with('/') && !path.contains(special)
}

/// A host name, with `*.` before it or not, or an IP address.
fn is_server_name(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
            && !label.starts_with('-')
    };
    name.parse::<std::net::IpAddr>().is_ok()
        || (name.len() <= 253 && name.strip_prefix("*.").unwrap_or(name).split('.').all(label))
}

#[cfg(test)]
mod tests {
    use super::{is_location, is_server_name};

    #[test]
    fn what_would_change_the_configuration_is_refused() {
        for path in ["/", "/api/v1", "/a-b_c.d~e", "/caf\u{e9}", "/50%25"] {
            assert!(is_location(path), "{path}");
        }
        for path in ["", "api", "/ { return 200; } #", "/a b", "/a;", "/a\nb", "/a'b", "/a\\b", "= /x"] {
            assert!(!is_location(path), "{path}");
        }
        for name in ["example.org", "*.example.org", "localhost", "10.0.0.1", "::1", "_x.example"] {
            assert!(is_server_name(name), "{name}");
        }
        for name in ["", "a b", "a;b", "a..b", "-a.b", "a\n", "x{}"] {
            assert!(!is_server_name(name), "{name}");
        }
    }
}
