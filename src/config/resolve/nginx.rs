//! HTTPS fronts and their machines.

use indexmap::IndexMap;

use super::{Resolver, group_name, machines::Machine};
use crate::{
    config::{
        Front, FrontLocation, FrontUpstream,
        file::{File, Metadata, Nginx},
    },
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
            let mut nodes = Vec::new();
            for number in 1..=front.nodes {
                let node = if front.nodes == 1 { Some(base.clone()) } else { self.numbered(&base, number, &section) };
                let Some(node) = node else { break };
                self.machine(Machine {
                    name: node.clone(),
                    section,
                    resources: &front.resources,
                    image_family: front.image_family.as_deref(),
                    network: &front.network,
                    metadata: &Metadata::default(),
                    groups: groups.clone(),
                    zone: None,
                    ports: vec![front.listen.http, front.listen.https],
                });
                nodes.push(node);
            }
            fronts.insert(name.clone(), self.front(name, nodes, front));
        }
        fronts
    }

    fn front(&mut self, name: &Name, nodes: Vec<Name>, front: &Nginx) -> Front {
        let known: Vec<String> = front.upstreams.keys().map(Name::to_string).collect();
        for (path, location) in &front.locations {
            if !front.upstreams.contains_key(&location.upstream) {
                let at = ["nginx", name.as_str(), "locations", path, "upstream"];
                self.unknown(&at, "upstream", location.upstream.as_str(), &known);
            }
            if !path.starts_with('/') {
                let at = ["nginx", name.as_str(), "locations", path];
                self.mistake(&at, format!("a location is a path that begins with `/`, not `{path}`"));
            }
        }
        Front {
            nodes,
            public: front.network.nat,
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
