//! From the file as written to the resolved [`Environment`]: defaults filled in, references checked, sections expanded into
//! resources and hosts.

mod dns;
mod groups;
mod machines;
mod nginx;
mod postgres;
mod secrets;
mod vars;

use std::{collections::BTreeSet, path::PathBuf};

use indexmap::IndexMap;

use self::vars::{check_var_files, read_vars};
use super::{
    AskedKind, Cidr, Environment, Front, Group, Host, LoadOptions, ProviderName,
    file::{File, Managed, Metadata, Written},
};
use crate::{
    error::{Context, Diagnostic, Result, did_you_mean},
    name::Name,
    resource::{Address, AddressSpec, KindName, RegistrySpec, Resource, spec_fields},
    yaml::{Mark, Node},
};

/// Longer spans are typing errors, and the longest cannot be added to today.
const LONGEST_LIFE: std::time::Duration = std::time::Duration::from_hours(10 * 366 * 24);

/// The name of an environment that has that of its folder.
fn named_by_folder(folder: &str, found: &mut Vec<Diagnostic>) -> Name {
    folder.parse().unwrap_or_else(|message| {
        found.push(Diagnostic::error(None, format!("the folder names the environment, and {message}")));
        "invalid".parse().expect("a valid name")
    })
}

pub(super) fn resolve(
    written: Written, root: &Node, options: &LoadOptions, found: &mut Vec<Diagnostic>,
) -> Result<Environment> {
    let Written { provider, sections, file } = written;
    let source = root.mark.source();
    let folder = std::path::absolute(source.folder()).context(|| "the current directory cannot be determined")?;
    let template: String = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let name = options.name.clone().unwrap_or_else(|| named_by_folder(&template, found));
    let files_root = options.files_root.clone().unwrap_or_else(|| folder.clone());
    let mut resolver = Resolver::new(provider, root, files_root, found);
    if file.ttl.as_ref().is_some_and(|ttl| ttl.0 > LONGEST_LIFE) {
        let hint = "an environment without `ttl` lives until it is destroyed";
        resolver.mistake(&["ttl"], "`ttl` is longer than ten years").hint = Some(hint.to_owned());
    }
    resolver.network(&file);
    resolver.addresses(&file);
    resolver.machines(&file);
    let postgres = resolver.postgres(&file);
    let nginx = resolver.nginx(&file);
    resolver.references(&file, &nginx);
    let dns = resolver.dns(&file);
    resolver.bastion();
    let (asked, cloud_only) = (resolver.asked(&file, &nginx), resolver.cloud_only(&file));
    if file.network.ssh_from.as_ref().is_some_and(Vec::is_empty) {
        let hint =
            "name the ranges from which you work, as `[203.0.113.0/24]`; without `ssh_from` it is open to the world";
        resolver.mistake(&["network", "ssh_from"], "`ssh_from` is empty: nothing could reach the bastion").hint =
            Some(hint.to_owned());
    }
    if file.state.is_ambiguous() {
        let place = resolver.mark(&["state", "postgres"]).location();
        let message = "a state is kept in a bucket or in a database, not in both";
        resolver.found.push(Diagnostic::error(place, message).hint("remove one of them"));
    }
    if let Some(wrong) = file.ttl.and_then(|span| super::check_lifetime(span.0)) {
        let place = resolver.mark(&["ttl"]).location();
        resolver.found.push(Diagnostic::error(place, format!("`ttl` {wrong}")).hint("write `2h` or `7d`"));
    }
    let accounts = file.service_accounts.iter().map(|(name, account)| {
        (name.clone(), (account.roles.clone(), resolver.mark(&["service_accounts", name.as_str()])))
    });
    let service_accounts = accounts.collect();
    resolver.passwords(&file);
    let marked = |name: &Name| (name.clone(), resolver.mark(&["network", "subnets", name.as_str()]));
    let subnet_marks = file.network.subnets.keys().map(marked).collect();
    let Resolver { resources, hosts, groups, .. } = resolver;

    let extra_vars = super::parse_vars(&options.vars)?;
    let mut vars = file.vars;
    vars.extend(extra_vars.clone());
    let (secrets, secret_marks) = secrets::resolve(file.secrets, &postgres, root);
    let mut written_vars: Vec<Node> = root.get("vars").into_iter().cloned().collect();
    let playbook_marks = root.get("playbooks").and_then(Node::items).unwrap_or_default();
    let environment = Environment {
        name,
        project: super::project_of(&folder),
        provider,
        sections,
        network: file.network.name,
        subnet_marks,
        ssh_from: file.network.ssh_from.clone().unwrap_or_else(|| vec![Cidr::ANYWHERE]),
        resources,
        hosts,
        groups,
        service_accounts,
        dns,
        postgres,
        nginx,
        playbooks: file.playbooks.into_iter().zip(playbook_marks.iter().map(|node| node.mark.clone())).collect(),
        vars,
        group_vars: read_vars(&folder.join("group_vars"), &mut written_vars, found)?,
        host_vars: read_vars(&folder.join("host_vars"), &mut written_vars, found)?,
        extra_vars,
        secrets,
        secret_marks,
        outputs: file.outputs,
        output_marks: root.get("outputs").map(Node::texts).unwrap_or_default(),
        written_vars,
        inventory_file: file.inventory_file.map(|path| folder.join(path)),
        protect: file.protect,
        ttl: file.ttl.map(|span| span.0),
        pool: file.pool.map(|pool| pool.min as usize),
        state: file.state.settings(&folder),
        state_marks: state_marks(root),
        asked,
        cloud_only,
        warnings: Vec::new(),
        text: root.clone(),
        folder,
    };
    check_var_files(&environment, found);
    Ok(environment)
}

/// The place of the deepest node on a path that a file has.
fn mark_of(root: &Node, path: &[&str]) -> Mark {
    let mut mark = root.mark.clone();
    let mut node = root;
    for part in path {
        match node.entries().and_then(|entries| entries.iter().find(|(key, _)| key.name == *part)) {
            Some((key, value)) => {
                mark =
                    if value.entries().is_some() || value.items().is_some() { &key.mark } else { &value.mark }.clone();
                node = value;
            }
            None => match node.items().and_then(|items| items.iter().find(|item| item.as_str() == Some(part))) {
                Some(item) => {
                    mark = item.mark.clone();
                    node = item;
                }
                None => break,
            },
        }
    }
    mark
}

/// The places of what the section `state` says about keys.
fn state_marks(root: &Node) -> IndexMap<String, Mark> {
    let Some(section) = root.get("state") else { return IndexMap::new() };
    let file = section.get("key_file").map(|node| ("key_file".to_owned(), node.mark.clone()));
    let recipients = section.get("recipients").and_then(Node::items).unwrap_or_default().iter().enumerate();
    let recipients = recipients.map(|(at, node)| (format!("recipients[{at}]"), node.mark.clone()));
    file.into_iter().chain(recipients).collect()
}

struct Resolver<'a> {
    provider: ProviderName,
    root: &'a Node,
    files_root: PathBuf,
    found: &'a mut Vec<Diagnostic>,
    resources: Vec<Resource>,
    hosts: IndexMap<Name, Host>,
    groups: IndexMap<Name, Group>,
    subnets: Vec<Name>,
    firewall: Vec<(Vec<String>, Vec<u16>)>,
    /// The reserved addresses of balancers, with their fronts.
    balanced: Vec<(Name, Name)>,
}

impl<'a> Resolver<'a> {
    fn new(provider: ProviderName, root: &'a Node, files_root: PathBuf, found: &'a mut Vec<Diagnostic>) -> Self {
        Self {
            provider,
            root,
            files_root,
            found,
            resources: Vec::new(),
            hosts: IndexMap::new(),
            groups: IndexMap::new(),
            subnets: Vec::new(),
            firewall: Vec::new(),
            balanced: Vec::new(),
        }
    }
}

impl Resolver<'_> {
    /// The place of the deepest node on a path that the file has.
    fn mark(&self, path: &[&str]) -> Mark {
        mark_of(self.root, path)
    }

    /// The place of the deepest key on a path that the file has.
    fn key(&self, path: &[&str]) -> Mark {
        super::places::key(self.root, path).clone()
    }

    fn mistake(&mut self, path: &[&str], message: impl Into<String>) -> &mut Diagnostic {
        let mistake = Diagnostic::error(self.mark(path).location(), message);
        // Each machine of a group has the mistakes of its section: they are said once.
        let same = |one: &Diagnostic| one.location == mistake.location && one.message == mistake.message;
        let at = self.found.iter().position(same).unwrap_or(self.found.len());
        if at == self.found.len() {
            self.found.push(mistake);
        }
        &mut self.found[at]
    }

    /// Reports a name that refers to nothing, with the closest one that exists.
    fn unknown(&mut self, path: &[&str], what: &str, name: &str, known: &[String]) {
        let hint = match did_you_mean(name, known.iter().map(String::as_str)) {
            Some(close) => format!("did you mean `{close}`?"),
            None if known.is_empty() => format!("there is no {what} at all"),
            None => format!("known: {}", known.join(", ")),
        };
        self.mistake(path, format!("there is no {what} `{name}`")).hint = Some(hint);
    }

    fn add<T: serde::Serialize>(&mut self, address: Address, spec: &T, needs: Vec<Address>, section: &[&str]) {
        let origin = self.mark(section).to_string();
        self.resources.push(Resource { address, spec: spec_fields(spec), needs, origin, data: Vec::new() });
    }

    /// Reserved addresses and registries: they need nothing.
    fn addresses(&mut self, file: &File) {
        for (name, address) in &file.addresses {
            let spec = AddressSpec { zone: address.zone.clone(), front: None };
            self.add(KindName::ADDRESS.named(name), &spec, Vec::new(), &["addresses", name.as_str()]);
        }
        for name in file.registries.keys() {
            let section = ["registries", name.as_str()];
            self.add(KindName::REGISTRY.named(name), &RegistrySpec {}, Vec::new(), &section);
        }
    }

    /// The kinds of things that a provider may not have.
    fn asked(&self, file: &File, fronts: &IndexMap<Name, Front>) -> Vec<AskedKind> {
        let named = |kind: KindName, what: &'static str, section: &'static str, names: Vec<&Name>| {
            let one = |name: &Name| AskedKind {
                kind,
                what: format!("the {what} `{name}`"),
                mark: self.mark(&[section, name.as_str()]),
                instead: None,
            };
            names.into_iter().map(one).collect::<Vec<_>>()
        };
        let accounts = file.service_accounts.keys().collect();
        let mut asked = named(KindName::SERVICE_ACCOUNT, "service account", "service_accounts", accounts);
        asked.extend(named(KindName::ADDRESS, "reserved address", "addresses", file.addresses.keys().collect()));
        asked.extend(named(KindName::DNS_ZONE, "zone", "dns", file.dns.keys().collect()));
        asked.extend(named(KindName::REGISTRY, "registry", "registries", file.registries.keys().collect()));
        asked.extend(fronts.iter().filter(|(_, front)| front.nodes.len() > 1).map(|(name, front)| AskedKind {
            kind: KindName::LOAD_BALANCER,
            what: format!("the network load balancer that the {} nodes of `nginx.{name}` need", front.nodes.len()),
            mark: self.mark(&["nginx", name.as_str(), "nodes"]),
            instead: Some("set `nodes: 1`".to_owned()),
        }));
        let always = file.postgres.iter().filter(|(_, service)| service.managed == Managed::Always);
        asked.extend(always.map(|(name, _)| AskedKind {
            kind: KindName::POSTGRES,
            what: format!("the managed database `{name}`"),
            mark: self.mark(&["postgres", name.as_str(), "managed"]),
            instead: Some("`managed: auto` and `managed: false` run it on a machine of its own".to_owned()),
        }));
        asked
    }

    /// Settings that a provider without such things does not act on.
    fn cloud_only(&self, file: &File) -> Vec<(String, Mark)> {
        let composed = |section: &'static str, name: &Name, metadata: &Metadata| {
            let path = [section, name.as_str(), "metadata", "docker-compose"];
            metadata.docker_compose.as_ref().map(|_| (format!("the Compose file of `{name}`"), self.mark(&path)))
        };
        let instances = file.instances.iter().filter_map(|(name, one)| composed("instances", name, &one.metadata));
        let groups =
            file.instance_groups.iter().filter_map(|(name, one)| composed("instance_groups", name, &one.metadata));
        let ssh_from =
            file.network.ssh_from.iter().map(|_| ("`ssh_from`".to_owned(), self.mark(&["network", "ssh_from"])));
        instances.chain(groups).chain(ssh_from).chain(self.cloud_settings()).collect()
    }

    /// Settings of machines and subnets that only a cloud has.
    fn cloud_settings(&self) -> Vec<(String, Mark)> {
        const SETTINGS: &[(&str, &[&str])] = &[
            ("instances", &["placement"]),
            ("instance_groups", &["deploy_policy", "allocation_policy", "health_check"]),
            ("postgres", &[]),
            ("nginx", &[]),
        ];
        let mut found = Vec::new();
        for (section, settings) in SETTINGS {
            for (name, node) in self.root.get(section).and_then(Node::entries).unwrap_or_default() {
                let resources = node.get("resources").into_iter().flat_map(|node| node.entries().unwrap_or_default());
                let resources = resources.filter(|(key, _)| matches!(key.name.as_str(), "class" | "disk_type"));
                let own = node.entries().unwrap_or_default().iter();
                let own = own.filter(|(key, _)| settings.contains(&key.name.as_str()));
                for (key, _) in own.chain(resources) {
                    found.push((format!("`{}` of `{}`", key.name, name.name), key.mark.clone()));
                }
            }
        }
        found
    }

    /// References that can only be checked when every machine is known.
    fn references(&mut self, file: &File, fronts: &IndexMap<Name, Front>) {
        let mut groups: BTreeSet<String> = self.hosts.values().flat_map(|host| host.groups.iter().cloned()).collect();
        // A group of no machines is still a group: it may be scaled up again.
        groups.extend(
            file.instance_groups.iter().flat_map(|(name, group)| {
                std::iter::once(group_name(name)).chain(group.ansible_groups.iter().cloned())
            }),
        );
        let known: Vec<String> = groups.iter().cloned().collect();
        for (name, front) in fronts {
            for (upstream, settings) in &front.upstreams {
                if !groups.contains(&settings.group) {
                    let path = ["nginx", name.as_str(), "upstreams", upstream, "group"];
                    self.unknown(&path, "group", &settings.group, &known);
                }
            }
        }
        for (name, rule) in &file.network.firewall {
            for group in rule.groups.iter().filter(|group| *group != "all" && !groups.contains(*group)) {
                self.unknown(&["network", "firewall", name.as_str(), "groups", group], "group", group, &known);
            }
        }
    }
}

/// A group name as playbooks may use it in an expression: `dev-bingo` is `dev_bingo`.
fn group_name(name: &Name) -> String {
    name.as_str().replace('-', "_")
}
