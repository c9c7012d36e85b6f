//! The inventory of an environment: what playbooks and templates see of it. No address and no member count is written
//! anywhere else.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use serde_json::{Map, Value, json};

use super::{
    certificates::AUTHORITY,
    machine,
    values::{EnvironmentValue, EnvironmentValues, FrontValue, HostValue, PostgresValue, TlsValue, UserValue},
};
use crate::{
    config::{Environment, Front, Host, PostgresService},
    encoding::encode,
    error::Error,
    name::Name,
    playbook::Inventory,
    resource::{Address, KindName, VmSpec},
    state::{State, Vault, secret_name},
    template::{Authored, Var, Vars},
};

/// The groups that `site.yml` has plays for: every environment has them, with or without machines.
const SHIPPED: &[&str] = &["app", "monitoring", "nginx", "postgres"];

/// The variables that every environment has.
pub(super) const VARIABLES: &[&str] = &["env", "hosts", "nginx", "postgres", "secret", "tls"];

/// The inventory of an environment as it is in the state.
#[must_use]
pub fn inventory(environment: &Environment, state: &State, vault: &Vault) -> Inventory {
    let view = View { environment, state, vault };
    let hosts: Vec<String> = environment.hosts.keys().map(Name::to_string).collect();
    let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
    groups.insert("all".to_owned(), hosts.clone());
    // Groups that no one is in now are there all the same, so that templates need not ask.
    for front in environment.nginx.values() {
        for upstream in front.upstreams.values() {
            groups.entry(upstream.group.clone()).or_default();
        }
    }
    for group in SHIPPED {
        groups.entry((*group).to_owned()).or_default();
    }
    for (name, host) in &environment.hosts {
        for group in &host.groups {
            let members = groups.entry(group.clone()).or_default();
            if !members.iter().any(|member| member == name.as_str()) {
                members.push(name.to_string());
            }
        }
    }
    let mut vars = Vars::default();
    let secrets: BTreeMap<String, String> = environment
        .secrets
        .keys()
        .filter_map(|name| Some((name.clone(), vault.get(&secret_name(name))?.expose().to_owned())))
        .collect();
    vars.insert(
        "secret",
        Var::function(move |name| {
            secrets
                .get(name)
                .cloned()
                .ok_or_else(|| Error::usage(format!("there is no secret `{name}` in the environment file")))
        }),
    );
    if let Value::Object(values) = json!(view.values()) {
        for (name, value) in values {
            vars.insert_data(&name, value);
        }
    }
    vars.extend(written(&environment.vars));
    Inventory {
        host_vars: environment.hosts.keys().map(|name| (name.to_string(), view.host_vars(name))).collect(),
        services: services(environment),
        hosts,
        groups,
        vars,
        group_vars: environment.group_vars.iter().map(|(group, vars)| (group.clone(), written(vars))).collect(),
        extra_vars: written(&environment.extra_vars),
    }
}

/// The machines that a variable of the environment speaks of: those of its databases, of its fronts, all of them.
fn services(environment: &Environment) -> BTreeMap<String, Vec<String>> {
    let of = |groups: &[&str]| -> Vec<String> {
        let serves =
            |host: &&Name| environment.hosts[*host].groups.iter().any(|group| groups.contains(&group.as_str()));
        environment.hosts.keys().filter(serves).map(Name::to_string).collect()
    };
    let fronts = environment.nginx.values().flat_map(|front| front.nodes.iter().map(Name::to_string));
    BTreeMap::from([
        ("hosts".to_owned(), environment.hosts.keys().map(Name::to_string).collect()),
        ("nginx".to_owned(), fronts.chain(of(&["nginx"])).collect()),
        ("postgres".to_owned(), of(&["postgres"])),
    ])
}

/// Variables of the environment's files, and those of `--var`: the author's.
fn written(vars: &Map<String, Value>) -> Vars {
    Authored::written(vars.clone()).into()
}

struct View<'a> {
    environment: &'a Environment,
    state: &'a State,
    vault: &'a Vault,
}

impl View<'_> {
    fn attribute(&self, host: &Name, name: &str) -> Value {
        let machine = machine(self.environment, self.state, host);
        machine.and_then(|machine| machine.attributes.get(name).cloned()).unwrap_or(Value::Null)
    }

    /// What the file asks of a machine; `None` for a member of an instance group.
    fn spec(&self, host: &Name) -> Option<VmSpec> {
        let address = Address::vm(host);
        let resource = self.environment.resources.iter().find(|resource| resource.address == address)?;
        resource.spec().ok()
    }

    /// The outer ports of a public machine, by its own: the same ones, unless the provider says otherwise.
    fn ports(&self, host: &Name) -> Value {
        let published = self.attribute(host, "ports");
        match self.spec(host) {
            Some(spec) if published.is_null() && spec.public => {
                Value::Object(spec.ports.iter().map(|port| (port.to_string(), (*port).into())).collect())
            }
            _ => published,
        }
    }

    fn secret(&self, name: &str) -> Option<String> {
        self.vault.get(name).map(|secret| secret.expose().to_owned())
    }

    fn values(&self) -> EnvironmentValues {
        let environment = self.environment;
        EnvironmentValues {
            env: EnvironmentValue {
                name: environment.name.clone(),
                provider: environment.provider.as_str().to_owned(),
            },
            hosts: environment.hosts.iter().map(|(name, host)| (name.clone(), self.host(name, host))).collect(),
            postgres: environment.postgres.iter().map(|(name, it)| (name.clone(), self.postgres(name, it))).collect(),
            nginx: environment.nginx.iter().map(|(name, front)| (name.clone(), self.front(name, front))).collect(),
            tls: TlsValue { ca: self.secret(&format!("{AUTHORITY}/certificate")) },
        }
    }

    fn host(&self, name: &Name, host: &Host) -> HostValue {
        HostValue {
            name: name.clone(),
            address: text(self.attribute(name, "address")),
            public_address: text(self.attribute(name, "public_address")),
            ports: self.ports(name),
            // Every provider mounts a second disk under its own name.
            disks: self
                .spec(name)
                .map_or_else(Vec::new, |spec| spec.disks.iter().map(|disk| format!("/mnt/{disk}")).collect()),
            groups: host.groups.clone(),
        }
    }

    /// What Ansible itself needs to reach a host, beside the variables of `host_vars/`.
    fn host_vars(&self, name: &Name) -> Vars {
        let mut vars = Vars::default();
        let host = &self.environment.hosts[name];
        vars.insert_data("ansible_host", self.attribute(name, "address"));
        vars.insert_data("ansible_user", host.login.as_str().into());
        vars.insert_data("ansible_port", 22.into());
        vars.extend(self.environment.host_vars.get(name.as_str()).map(written).unwrap_or_default());
        vars
    }

    fn postgres(&self, name: &Name, service: &PostgresService) -> PostgresValue {
        let managed = self.state.resources.get(&KindName::POSTGRES.named(name)).map(|entry| &entry.attributes);
        let attribute = |name: &str| managed.and_then(|attributes| attributes.get(name).cloned());
        let host = match &service.node {
            Some(node) => text(self.attribute(node, "address")),
            None => attribute("host").and_then(text),
        };
        let port = attribute("port").and_then(|port| u16::try_from(port.as_u64()?).ok()).unwrap_or(service.port);
        let users: IndexMap<String, UserValue> = service
            .users
            .iter()
            .map(|(user, name)| (user.clone(), UserValue { password: self.secret(&secret_name(name)) }))
            .collect();
        // The first database and its owner are what most applications want.
        let first = service.databases.first();
        let user = first.and_then(|(_, database)| database.owner.clone()).or_else(|| users.keys().next().cloned());
        let password = user.as_ref().and_then(|user| users.get(user)?.password.clone());
        let usable = first.zip(user.as_ref()).map(|((database, _), user)| (database, user));
        let dsn = usable.map(|(database, user)| {
            let (password, host) = (password.as_deref().unwrap_or_default(), host.as_deref().unwrap_or_default());
            format!("postgres://{}:{}@{host}:{port}/{}", encode(user), encode(password), encode(database))
        });
        PostgresValue {
            node: service.node.clone(),
            managed: service.node.is_none(),
            version: service.version,
            database: usable.map(|(database, _)| database.clone()),
            host,
            port,
            user,
            password,
            dsn,
            users,
            databases: service.databases.clone(),
            settings: service.settings.clone(),
            backup: service.backup.clone(),
        }
    }

    fn front(&self, name: &Name, front: &Front) -> FrontValue {
        let node = front.nodes.first();
        let public = |port: u16| {
            let outer =
                node.map(|node| self.attribute(node, "ports")).and_then(|ports| ports.get(port.to_string())?.as_u64());
            outer.unwrap_or(u64::from(port))
        };
        let field = if front.public { "public_address" } else { "address" };
        let address = node.map_or(Value::Null, |node| self.attribute(node, field));
        // Several machines are reached through the balancer before them.
        let balancer = self.state.resources.get(&KindName::LOAD_BALANCER.named(name));
        let address = balancer.and_then(|balancer| balancer.attributes.get(field).cloned()).unwrap_or(address);
        let address = address.as_str().unwrap_or_default();
        let url = |scheme: &str, port: u16, usual: u64| match public(port) {
            port if port == usual => format!("{scheme}://{address}"),
            port => format!("{scheme}://{address}:{port}"),
        };
        FrontValue {
            nodes: front.nodes.clone(),
            url: url("https", front.https_port, 443),
            http_url: url("http", front.http_port, 80),
            http_port: front.http_port,
            https_port: front.https_port,
            names: front.names.clone(),
            certificate: self.secret(&format!("front/{name}/certificate")),
            private_key: self.secret(&format!("front/{name}/key")),
            upstreams: front.upstreams.clone(),
            locations: front.locations.clone(),
        }
    }
}

/// The text of a value that is one.
fn text(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text),
        _ => None,
    }
}
