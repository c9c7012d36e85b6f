//! From the file as written to the resolved [`Environment`]: defaults filled in, references checked, sections expanded into
//! resources and hosts.

use std::{collections::BTreeSet, path::PathBuf};

use indexmap::IndexMap;
use serde_json::{Map, Value};

use super::{
    BackupPolicy, Database, Environment, Front, FrontLocation, FrontUpstream, Group, Host, LoadOptions, Managed,
    PostgresService, ProviderName, Record, Target, YandexSettings, Zone,
    file::{File, InstanceGroup, Metadata, Nginx, Nic, Postgres, PostgresUser, Resources},
    units::Cidr,
};
use crate::{
    error::{Context, Diagnostic, Result, did_you_mean},
    name::Name,
    resource::{
        Address, AddressSpec, BackupSpec, DatabaseSpec, DiskSpec, HealthCheck, KindName, PostgresSpec, RegistrySpec,
        Resource, SubnetSpec, VmSpec, spec_fields,
    },
    yaml::{self, Mark, Node},
};

/// The login of a machine whose section names none.
const LOGIN: &str = "infra";
/// The subnet's range where the file gives none.
const DEFAULT_CIDR: &str = "10.5.0.0/24";
/// The image family of a machine whose section names none.
const DEFAULT_IMAGE: &str = "debian-12";

pub(super) fn resolve(
    file: File, root: &Node, options: &LoadOptions, found: &mut Vec<Diagnostic>,
) -> Result<Environment> {
    let source = root.mark.source();
    let folder = std::path::absolute(source.folder()).context(|| "cannot tell the present folder")?;
    let template: String = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let name = match options.name.clone().map_or_else(|| template.parse::<Name>(), Ok) {
        Ok(name) => name,
        Err(message) => {
            found.push(Diagnostic::error(None, format!("the folder names the environment, and {message}")));
            "invalid".parse().expect("a valid name")
        }
    };
    let provider = match (file.provider, file.folder_id.as_ref().or(file.yandex.folder_id.as_ref())) {
        (Some(provider), _) => provider,
        (None, Some(_)) => ProviderName::Yandex,
        (None, None) => ProviderName::Docker,
    };
    let mut resolver = Resolver {
        provider,
        root,
        files_root: options.files_root.clone().unwrap_or_else(|| folder.clone()),
        found,
        resources: Vec::new(),
        hosts: IndexMap::new(),
        groups: IndexMap::new(),
        subnets: Vec::new(),
        firewall: Vec::new(),
    };
    resolver.network(&file);
    resolver.addresses(&file);
    resolver.machines(&file);
    let postgres = resolver.postgres(&file);
    let nginx = resolver.nginx(&file);
    resolver.references(&file, &nginx);
    let dns = resolver.dns(&file);
    let cloud_only = resolver.cloud_only(&file);
    if file.state.is_ambiguous() {
        let place = resolver.mark(&["state", "postgres"]).location();
        let message = "a state lies in a bucket or in a database, not in both";
        resolver.found.push(Diagnostic::error(place, message).hint("remove one of them"));
    }
    let accounts = file.service_accounts.iter().map(|(name, account)| {
        (name.clone(), (account.roles.clone(), resolver.mark(&["service_accounts", name.as_str()])))
    });
    let service_accounts = accounts.collect();
    let Resolver { resources, hosts, groups, .. } = resolver;

    let extra_vars = super::parse_vars(&options.vars)?;
    let mut vars = file.vars;
    vars.extend(extra_vars.clone());
    let mut secrets = file.secrets;
    for password in postgres.values().flat_map(|service| service.users.values()) {
        secrets.entry(password.clone()).or_insert(super::SecretSource::Generate(24));
    }
    let playbook_marks = root.get("playbooks").and_then(Node::items).unwrap_or_default();
    let environment = Environment {
        name,
        project: super::project_of(&folder),
        provider,
        docker: file.docker,
        yandex: YandexSettings { folder_id: file.yandex.folder_id.or(file.folder_id), ..file.yandex },
        aws: file.aws,
        network: file.network.name,
        resources,
        hosts,
        groups,
        service_accounts,
        dns,
        postgres,
        nginx,
        playbooks: file.playbooks.into_iter().zip(playbook_marks.iter().map(|node| node.mark.clone())).collect(),
        vars,
        group_vars: read_vars(&folder.join("group_vars"), found)?,
        host_vars: read_vars(&folder.join("host_vars"), found)?,
        extra_vars,
        secrets,
        outputs: file.outputs,
        output_marks: root.get("outputs").map(marked_texts).unwrap_or_default(),
        var_marks: root.get("vars").map(marked_texts).unwrap_or_default(),
        inventory_file: file.inventory_file.map(|path| folder.join(path)),
        protect: file.protect,
        ttl: file.ttl.map(|span| span.0),
        pool: file.pool.map(|pool| pool.min as usize),
        state: file.state.settings(&folder),
        cloud_only,
        warnings: Vec::new(),
        folder,
    };
    check_var_files(&environment, found);
    Ok(environment)
}

/// Every text of a value, with its place.
fn marked_texts(node: &Node) -> Vec<(String, Mark)> {
    if let Some(text) = node.as_str() {
        return vec![(text.to_owned(), node.mark.clone())];
    }
    let items = node.items().unwrap_or_default().iter();
    let values = node.entries().unwrap_or_default().iter().map(|(_, value)| value);
    items.chain(values).flat_map(marked_texts).collect()
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
}

/// One machine before its defaults are filled in.
struct Machine<'a> {
    name: Name,
    section: [&'a str; 2],
    resources: &'a Resources,
    image_family: Option<&'a str>,
    network: &'a Nic,
    metadata: &'a Metadata,
    groups: Vec<String>,
    zone: Option<&'a str>,
    ports: Vec<u16>,
}

impl Resolver<'_> {
    /// The place of the deepest node on a path that the file has.
    fn mark(&self, path: &[&str]) -> Mark {
        let mut mark = self.root.mark.clone();
        let mut node = self.root;
        for part in path {
            match node.entries().and_then(|entries| entries.iter().find(|(key, _)| key.name == *part)) {
                Some((key, value)) => {
                    mark = if value.entries().is_some() || value.items().is_some() { &key.mark } else { &value.mark }
                        .clone();
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

    fn mistake(&mut self, path: &[&str], message: impl Into<String>) -> &mut Diagnostic {
        let location = self.mark(path).location();
        self.found.push(Diagnostic::error(location, message));
        self.found.last_mut().expect("one was pushed")
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
        self.resources.push(Resource { address, spec: spec_fields(spec), needs, origin });
    }

    fn network(&mut self, file: &File) {
        self.firewall = file.network.firewall.values().map(|rule| (rule.groups.clone(), rule.ports.clone())).collect();
        let mut ranges: Vec<(Name, Cidr)> = Vec::new();
        if file.network.subnets.is_empty() {
            let main: Name = "main".parse().expect("a valid name");
            let spec = SubnetSpec { cidr: DEFAULT_CIDR.to_owned(), zone: None };
            self.add(Address::subnet(&main), &spec, Vec::new(), &["network"]);
            self.subnets.push(main);
        }
        for (name, subnet) in &file.network.subnets {
            let path = ["network", "subnets", name.as_str(), "v4_cidr_blocks"];
            let cidr = match subnet.v4_cidr_blocks.as_slice() {
                [] => DEFAULT_CIDR.parse().expect("a valid range"),
                [only] => *only,
                [_, ..] => {
                    self.mistake(&path, "a subnet has exactly one address range for now");
                    continue;
                }
            };
            if cidr.prefix > 28 {
                self.mistake(&path, format!("`{cidr}` is too small: a subnet needs at least 16 addresses (`/28`)"));
            }
            if let Some((other, range)) = ranges.iter().find(|(_, range)| range.overlaps(cidr)).cloned() {
                self.mistake(&path, format!("`{cidr}` overlaps `{range}` of the subnet `{other}`"));
            }
            ranges.push((name.clone(), cidr));
            let spec = SubnetSpec { cidr: cidr.to_string(), zone: subnet.zone.clone() };
            self.add(Address::subnet(name), &spec, Vec::new(), &["network", "subnets", name.as_str()]);
            self.subnets.push(name.clone());
        }
    }

    fn machines(&mut self, file: &File) {
        for (name, instance) in &file.instances {
            self.machine(Machine {
                name: name.clone(),
                section: ["instances", name.as_str()],
                resources: &instance.resources,
                image_family: instance.image_family.as_deref(),
                network: &instance.network,
                metadata: &instance.metadata,
                groups: instance.ansible_groups.clone(),
                zone: instance.placement.zone.as_deref(),
                ports: Vec::new(),
            });
        }
        for (name, group) in &file.instance_groups {
            let mut groups = vec![group_name(name)];
            groups
                .extend(group.ansible_groups.iter().filter(|other| **other != groups[0]).cloned().collect::<Vec<_>>());
            let section = ["instance_groups", name.as_str()];
            if let Some(account) = &group.service_account
                && !file.service_accounts.contains_key(account)
            {
                let known: Vec<String> = file.service_accounts.keys().map(Name::to_string).collect();
                self.unknown(&[section[0], section[1], "service_account"], "service account", account.as_str(), &known);
            }
            for number in 1..=group.node_count {
                let Some(name) = self.numbered(name, number, &section) else { break };
                self.machine(Machine {
                    name,
                    section,
                    resources: &group.resources,
                    image_family: group.image_family.as_deref(),
                    network: &group.network,
                    metadata: &group.metadata,
                    groups: groups.clone(),
                    zone: None,
                    ports: Vec::new(),
                });
            }
            self.group(name, group);
        }
    }

    /// The group as a whole, for providers that have such things: its first machine tells what each of them is.
    fn group(&mut self, name: &Name, group: &InstanceGroup) {
        let members: Vec<Name> =
            (1..=group.node_count).filter_map(|number| format!("{name}-{number}").parse().ok()).collect();
        let first = members.first().map(Address::vm);
        let resource = self.resources.iter().find(|resource| Some(&resource.address) == first.as_ref());
        let Some(machine) = resource.and_then(|resource| resource.spec().ok()) else { return };
        let group = Group {
            members,
            machine,
            zones: group.allocation_policy.clone(),
            max_unavailable: group.deploy_policy.max_unavailable,
            max_expansion: group.deploy_policy.max_expansion,
            service_account: group.service_account.clone(),
            health_check: group.health_check.as_ref().map(|check| HealthCheck {
                port: check.port,
                path: check.path.clone(),
                interval: check.interval.0.as_secs(),
                timeout: check.timeout.0.as_secs(),
                failures: check.failures,
                patience: check.patience.0.as_secs(),
            }),
            mark: self.mark(&["instance_groups", name.as_str()]),
        };
        self.groups.insert(name.clone(), group);
    }

    fn numbered(&mut self, name: &Name, number: u32, section: &[&str]) -> Option<Name> {
        match format!("{name}-{number}").parse() {
            Ok(name) => Some(name),
            Err(message) => {
                self.mistake(section, message);
                None
            }
        }
    }

    fn machine(&mut self, machine: Machine<'_>) {
        let section = machine.section;
        let mark = self.mark(&section);
        if let Some(other) = self.hosts.get(&machine.name).map(|host| host.mark.to_string()) {
            self.mistake(&section, format!("two machines are called `{}`; the other one is at {other}", machine.name));
            return;
        }
        let Some(subnet) = self.subnet_of(&machine) else { return };
        let mut needs = vec![Address::subnet(&subnet)];
        let mut disks = Vec::new();
        if let Some(size) = machine.resources.secondary_disk_size {
            match format!("{}-data", machine.name).parse::<Name>() {
                Ok(name) => {
                    let spec =
                        DiskSpec { size_gb: size.gb(), disk_type: machine.resources.disk_type.clone(), zone: None };
                    self.add(Address::disk(&name), &spec, Vec::new(), &section);
                    needs.push(Address::disk(&name));
                    disks.push(name);
                }
                Err(message) => drop(self.mistake(&section, message)),
            }
        }
        if let Some(reserved) = self.reserved(&machine) {
            needs.push(KindName::ADDRESS.named(&reserved));
        }
        let (login, authorized_keys) = self.login(&machine);
        let spec = VmSpec {
            image: machine.image_family.unwrap_or(DEFAULT_IMAGE).to_owned(),
            cores: machine.resources.cores,
            core_fraction: machine.resources.core_fraction,
            memory_mb: machine.resources.memory.mb,
            disk_gb: machine.resources.disk_size.gb(),
            subnet,
            public: machine.network.nat,
            ports: self.open_ports(&machine),
            login: login.clone(),
            authorized_keys,
            disks,
            user_data: machine.metadata.user_data.clone(),
            compose: machine
                .metadata
                .docker_compose
                .as_ref()
                .and_then(|compose| std::fs::read_to_string(self.path(&compose.file)).ok()),
            zone: machine.zone.map(str::to_owned),
            disk_type: machine.resources.disk_type.clone(),
            class: machine.resources.class.clone(),
            reserved_address: machine.network.address.clone(),
            security_groups: Vec::new(),
        };
        self.add(Address::vm(&machine.name), &spec, needs, &section);
        self.hosts.insert(machine.name, Host { groups: machine.groups, public: spec.public, login, mark });
    }

    /// Reserved addresses and registries: they need nothing.
    fn addresses(&mut self, file: &File) {
        for (name, address) in &file.addresses {
            let spec = AddressSpec { zone: address.zone.clone() };
            self.add(KindName::ADDRESS.named(name), &spec, Vec::new(), &["addresses", name.as_str()]);
        }
        for name in file.registries.keys() {
            let section = ["registries", name.as_str()];
            self.add(KindName::REGISTRY.named(name), &RegistrySpec {}, Vec::new(), &section);
        }
    }

    /// The reserved address of a machine, when it exists and nobody else has it.
    fn reserved(&mut self, machine: &Machine<'_>) -> Option<Name> {
        let wanted = machine.network.address.clone()?;
        let section = machine.section;
        let path = [section[0], section[1], "network", "address"];
        let addresses = self.resources.iter().filter(|one| one.address.kind == KindName::ADDRESS);
        let known: Vec<String> = addresses.map(|one| one.address.name.to_string()).collect();
        if !known.contains(&wanted.to_string()) {
            self.unknown(&path, "address", wanted.as_str(), &known);
            return None;
        }
        if !machine.network.nat {
            self.mistake(&path, format!("`{}` has a reserved address, but no `nat: true`", machine.name));
        }
        let taken = self.resources.iter().find(|one| one.needs.contains(&KindName::ADDRESS.named(&wanted)));
        if let Some(other) = taken.map(|one| one.address.to_string()) {
            self.mistake(&path, format!("`{wanted}` is the address of `{other}` already"));
        }
        Some(wanted)
    }

    fn dns(&mut self, file: &File) -> IndexMap<Name, Zone> {
        let mut zones = IndexMap::new();
        for (name, zone) in &file.dns {
            let domain = zone.zone.trim_end_matches('.').to_ascii_lowercase();
            let valid = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
            if domain.is_empty() || !domain.chars().all(valid) {
                let path = ["dns", name.as_str(), "zone"];
                self.mistake(&path, format!("`{}` is not a domain like `example.org`", zone.zone));
            }
            let section = ["dns", name.as_str(), "records"];
            let mut records = Vec::new();
            for record in &zone.records {
                if record.values.is_empty() == record.to.is_none() {
                    let message = format!("the record `{}` has either `values` or `to`", record.name);
                    self.mistake(&section, message);
                }
                let to = record.to.as_ref().and_then(|to| self.target(file, &section, to));
                let full = match record.name.trim_end_matches('.') {
                    "@" => format!("{domain}."),
                    name => format!("{name}.{domain}."),
                };
                let kind = record.kind.to_ascii_uppercase();
                records.push(Record {
                    name: full,
                    kind,
                    ttl: record.ttl.0.as_secs(),
                    values: record.values.clone(),
                    to,
                });
            }
            let mark = self.mark(&["dns", name.as_str()]);
            zones.insert(name.clone(), Zone { zone: format!("{domain}."), private: zone.private, records, mark });
        }
        zones
    }

    /// What the `to` of a record names.
    fn target(&mut self, file: &File, section: &[&str], to: &Name) -> Option<Target> {
        let grouped = self.groups.values().any(|group| group.members.contains(to));
        if grouped {
            let message = format!("`{to}` is one of a group's machines, which come and go with other addresses");
            self.mistake(section, message).hint = Some("point to the front before them".to_owned());
            return None;
        }
        if self.hosts.contains_key(to) {
            return Some(Target::Host(to.clone()));
        }
        if file.nginx.contains_key(to) {
            return Some(Target::Front(to.clone()));
        }
        if file.addresses.contains_key(to) {
            return Some(Target::Address(to.clone()));
        }
        let names = self.hosts.keys().chain(file.nginx.keys()).chain(file.addresses.keys());
        let known: Vec<String> = names.map(Name::to_string).collect();
        self.unknown(section, "machine, front or address", to.as_str(), &known);
        None
    }

    fn subnet_of(&mut self, machine: &Machine<'_>) -> Option<Name> {
        let section = machine.section;
        let path = [section[0], section[1], "network", "subnet"];
        match &machine.network.subnet {
            Some(subnet) if self.subnets.contains(subnet) => Some(subnet.clone()),
            Some(subnet) => {
                let known: Vec<String> = self.subnets.iter().map(Name::to_string).collect();
                self.unknown(&path, "subnet", subnet.as_str(), &known);
                None
            }
            None if self.subnets.len() == 1 => Some(self.subnets[0].clone()),
            None => {
                let known = self.subnets.iter().map(Name::to_string).collect::<Vec<_>>().join(", ");
                self.mistake(&section, format!("`{}` names no subnet, and there are several: {known}", machine.name));
                None
            }
        }
    }

    /// The login of a machine and the user's own keys for it. A key file that is not there is a warning: the
    /// environment's own key opens the machine in any case.
    fn login(&mut self, machine: &Machine<'_>) -> (String, Vec<String>) {
        let section = machine.section;
        if let Some(compose) = &machine.metadata.docker_compose {
            let path = self.path(&compose.file);
            if !path.is_file() {
                let at = [section[0], section[1], "metadata", "docker-compose", "file"];
                let hint = "paths start in the folder of the file; `--files-root DIR` names another one";
                self.mistake(&at, format!("there is no file `{}`", path.display())).hint = Some(hint.to_owned());
            }
        }
        let Some(keys) = &machine.metadata.ssh_keys else { return (LOGIN.to_owned(), Vec::new()) };
        let Some(file) = &keys.file else { return (keys.username.clone(), Vec::new()) };
        let path = self.path(file);
        let text = std::fs::read_to_string(&path);
        let location = self.mark(&[section[0], section[1], "metadata", "ssh-keys", "file"]).location();
        let authorized = match text {
            Ok(text) if text.contains("PRIVATE KEY") => {
                self.found
                    .push(Diagnostic::error(location, format!("`{file}` is a private key; name its `.pub` file")));
                Vec::new()
            }
            Ok(text) => text
                .lines()
                .map(str::trim)
                .filter(|l| !l.is_empty() && !l.starts_with('#'))
                .map(str::to_owned)
                .collect(),
            Err(error) => {
                let message = format!("`{file}` is not installed as a key: {error}");
                let hint = "the environment's own key opens the machine: use `infra ssh`";
                self.found.push(Diagnostic::warning(location, message).hint(hint));
                Vec::new()
            }
        };
        (keys.username.clone(), authorized)
    }

    fn path(&self, path: &str) -> PathBuf {
        match (path.strip_prefix("~/"), std::env::home_dir()) {
            (Some(rest), Some(home)) => home.join(rest),
            _ => self.files_root.join(path),
        }
    }

    fn open_ports(&self, machine: &Machine<'_>) -> Vec<u16> {
        let mut ports: BTreeSet<u16> = machine.ports.iter().copied().collect();
        if machine.network.nat {
            for (groups, opened) in &self.firewall {
                if groups.iter().any(|group| machine.groups.contains(group) || group == "all") {
                    ports.extend(opened);
                }
            }
            ports.insert(22);
        } else {
            ports.clear();
        }
        ports.into_iter().collect()
    }

    fn postgres(&mut self, file: &File) -> IndexMap<Name, PostgresService> {
        let mut services = IndexMap::new();
        for (name, service) in &file.postgres {
            let section = ["postgres", name.as_str()];
            let provider = self.provider;
            if service.managed == Managed::Always && !provider.manages_postgres() {
                let message = format!("provider `{}` has no managed database", provider.as_str());
                self.mistake(&["postgres", name.as_str(), "managed"], message).hint =
                    Some("`managed: auto` and `managed: false` run it on a machine of its own".to_owned());
            }
            if service.managed != Managed::Never && provider.manages_postgres() {
                self.managed_postgres(name, service);
                services.insert(name.clone(), self.postgres_service(name, None, service));
                continue;
            }
            let Ok(node) = format!("postgres-{name}").parse::<Name>() else {
                self.mistake(&section, format!("`{name}` is too long: its machine is called `postgres-{name}`"));
                continue;
            };
            let mut groups = vec!["postgres".to_owned(), format!("postgres_{}", group_name(name))];
            groups.extend(service.ansible_groups.iter().cloned());
            self.machine(Machine {
                name: node.clone(),
                section,
                resources: &service.resources,
                image_family: service.image_family.as_deref(),
                network: &service.network,
                metadata: &Metadata::default(),
                groups,
                zone: None,
                ports: Vec::new(),
            });
            services.insert(name.clone(), self.postgres_service(name, Some(node), service));
        }
        services
    }

    /// A service that the provider runs: no machine of ours.
    fn managed_postgres(&mut self, name: &Name, service: &Postgres) {
        let section = ["postgres", name.as_str()];
        let machine = Machine {
            name: name.clone(),
            section,
            resources: &service.resources,
            image_family: None,
            network: &service.network,
            metadata: &Metadata::default(),
            groups: Vec::new(),
            zone: None,
            ports: Vec::new(),
        };
        let Some(subnet) = self.subnet_of(&machine) else { return };
        if service.users.is_empty() && !service.databases.is_empty() {
            let mistake =
                self.mistake(&section, format!("the databases of `{name}` need an owner, and it has no users"));
            mistake.hint = Some("name one: `users: {app: }`".to_owned());
        }
        let first = service.users.keys().next().cloned().unwrap_or_default();
        let databases = service.databases.iter().map(|(database, settings)| {
            let owner = settings.owner.clone().unwrap_or_else(|| first.clone());
            (database.clone(), DatabaseSpec { owner, extensions: settings.extensions.clone() })
        });
        let backup = service.backup.as_ref().map(|backup| {
            // The service asks for a time of day; days of the week are its own affair.
            let mut fields = backup.schedule.0.split_whitespace().map(|field| field.parse().ok());
            let [minute, hour] = [fields.next().flatten(), fields.next().flatten()];
            let keep_days = (backup.keep.0.as_secs() / 86400).max(1);
            BackupSpec { hour: hour.unwrap_or(0), minute: minute.unwrap_or(0), keep_days }
        });
        let resources = &service.resources;
        let spec = PostgresSpec {
            version: service.version,
            cores: resources.cores,
            memory_mb: resources.memory.mb,
            class: resources.class.clone(),
            // A second disk is where data lies.
            disk_gb: resources.secondary_disk_size.unwrap_or(resources.disk_size).gb(),
            disk_type: resources.disk_type.clone(),
            subnet: subnet.clone(),
            zone: None,
            public: service.network.nat,
            settings: service.settings.clone().into_iter().collect(),
            users: service.users.iter().map(|(user, login)| (user.clone(), password_of(name, user, login))).collect(),
            databases: databases.collect(),
            backup,
        };
        self.add(KindName::POSTGRES.named(name), &spec, vec![Address::subnet(&subnet)], &section);
    }

    fn postgres_service(&mut self, name: &Name, node: Option<Name>, service: &Postgres) -> PostgresService {
        let users: Vec<String> = service.users.keys().cloned().collect();
        for (database, settings) in &service.databases {
            if let Some(owner) = settings.owner.as_ref().filter(|owner| !users.contains(owner)) {
                let path = ["postgres", name.as_str(), "databases", database, "owner"];
                self.unknown(&path, "user", owner, &users);
            }
        }
        PostgresService {
            mark: self.mark(&["postgres", name.as_str()]),
            node,
            version: service.version,
            port: 5432,
            settings: service.settings.clone(),
            users: service
                .users
                .iter()
                .map(|(user, settings)| (user.clone(), password_of(name, user, settings)))
                .collect(),
            databases: service
                .databases
                .iter()
                .map(|(name, database)| {
                    let resolved = Database { owner: database.owner.clone(), extensions: database.extensions.clone() };
                    (name.clone(), resolved)
                })
                .collect(),
            backup: service.backup.as_ref().map(|backup| BackupPolicy {
                schedule: backup.schedule.0.clone(),
                keep_minutes: backup.keep.0.as_secs() / 60,
            }),
        }
    }

    fn nginx(&mut self, file: &File) -> IndexMap<Name, Front> {
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

    /// What a provider without such things does not act on.
    fn cloud_only(&self, file: &File) -> Vec<(String, Mark)> {
        let accounts = file
            .service_accounts
            .keys()
            .map(|name| (format!("the service account `{name}`"), self.mark(&["service_accounts", name.as_str()])));
        let composed = |section: &'static str, name: &Name, metadata: &Metadata| {
            let path = [section, name.as_str(), "metadata", "docker-compose"];
            metadata.docker_compose.as_ref().map(|_| (format!("the Compose file of `{name}`"), self.mark(&path)))
        };
        let instances = file.instances.iter().filter_map(|(name, one)| composed("instances", name, &one.metadata));
        let groups =
            file.instance_groups.iter().filter_map(|(name, one)| composed("instance_groups", name, &one.metadata));
        let named = |what: &'static str, section: &'static str, names: Vec<&Name>| -> Vec<(String, Mark)> {
            let one = |name: &Name| (format!("the {what} `{name}`"), self.mark(&[section, name.as_str()]));
            names.into_iter().map(one).collect()
        };
        let addresses = named("reserved address", "addresses", file.addresses.keys().collect());
        let zones = named("zone", "dns", file.dns.keys().collect());
        let registries = named("registry", "registries", file.registries.keys().collect());
        let others = addresses.into_iter().chain(zones).chain(registries);
        accounts.chain(instances).chain(groups).chain(others).collect()
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

/// The secret that holds the password of a login.
fn password_of(service: &Name, user: &str, settings: &PostgresUser) -> String {
    settings.password.clone().unwrap_or_else(|| format!("postgres_{service}_{user}"))
}

/// A group name as playbooks may use it in an expression: `dev-bingo` is `dev_bingo`.
fn group_name(name: &Name) -> String {
    name.as_str().replace('-', "_")
}

fn read_vars(folder: &std::path::Path, found: &mut Vec<Diagnostic>) -> Result<IndexMap<String, Map<String, Value>>> {
    let mut vars = IndexMap::new();
    let Ok(entries) = std::fs::read_dir(folder) else { return Ok(vars) };
    let mut paths: Vec<PathBuf> = entries.filter_map(std::result::Result::ok).map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
        if !path.is_file() || !matches!(extension, "yml" | "yaml" | "json" | "") {
            continue;
        }
        let (node, duplicates) = yaml::parse(&yaml::read(&path)?)?;
        found.extend(duplicates);
        let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        match node.to_value() {
            Value::Object(map) => drop(vars.insert(name, map)),
            Value::Null => drop(vars.insert(name, Map::new())),
            _ => found.push(node.error("a variables file is a mapping of names and values")),
        }
    }
    Ok(vars)
}

fn check_var_files(environment: &Environment, found: &mut Vec<Diagnostic>) {
    let groups: BTreeSet<&str> =
        environment.hosts.values().flat_map(|host| host.groups.iter().map(String::as_str)).chain(["all"]).collect();
    for name in environment.group_vars.keys().filter(|name| !groups.contains(name.as_str())) {
        let message = format!("`group_vars/{name}` is for a group that no machine is in");
        found.push(Diagnostic::warning(None, message));
    }
    for name in environment.host_vars.keys().filter(|name| !environment.hosts.contains_key(name.as_str())) {
        found.push(Diagnostic::warning(None, format!("`host_vars/{name}` is for a machine that does not exist")));
    }
}
