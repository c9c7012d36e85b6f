//! Databases, on machines of their own or managed by the provider.

use indexmap::IndexMap;
use serde_json::Value;

use super::{
    Resolver, group_name,
    machines::{DEFAULT_IMAGE, Machine},
};
use crate::{
    config::{
        BackupPolicy, Database, Feature, Managed, PostgresService,
        file::{File, Metadata, Postgres, PostgresUser},
    },
    error::{Diagnostic, Severity},
    name::Name,
    resource::{Address, BackupSpec, DatabaseSpec, KindName, PostgresSpec, databases_of},
};

/// The version of PostgreSQL in each distribution's own packages.
/// Sources: <https://packages.debian.org/postgresql>, <https://packages.ubuntu.com/postgresql>.
const PACKAGED: &[(&str, u32)] = &[
    ("debian-11", 13),
    ("debian-12", 15),
    ("debian-13", 17),
    ("ubuntu-2004", 12),
    ("ubuntu-20.04", 12),
    ("ubuntu-2204", 14),
    ("ubuntu-22.04", 14),
    ("ubuntu-2404", 16),
    ("ubuntu-24.04", 16),
];

/// Logins that the server has of its own, or that the role `postgresql` creates, and why they cannot be asked for.
const OWN_LOGINS: &[(&str, &str)] = &[
    ("none", "PostgreSQL keeps the name for itself"),
    ("postgres", "it is the administrator's, with which infra sets up the server"),
    ("prometheus", "it is the login of the metrics exporter"),
    ("public", "PostgreSQL keeps the name for itself"),
];

/// Settings that decide where the server is found and where its files are: they are set by the role `postgresql`.
const OWN_SETTINGS: &[&str] = &["config_file", "data_directory", "external_pid_file", "hba_file", "ident_file", "port"];

impl Resolver<'_> {
    pub(super) fn postgres(&mut self, file: &File) -> IndexMap<Name, PostgresService> {
        let mut services = IndexMap::new();
        for (name, service) in &file.postgres {
            let section = ["postgres", name.as_str()];
            self.postgres_words(name, service);
            if service.managed != Managed::Never && self.provider.capabilities().manages_postgres {
                self.managed_postgres(name, service);
                services.insert(name.clone(), self.postgres_service(name, None, service));
                continue;
            }
            let Ok(node) = format!("postgres-{name}").parse::<Name>() else {
                self.mistake(&section, format!("`{name}` is too long: its machine is called `postgres-{name}`"));
                continue;
            };
            // A playbook of the user's before it may bring packages from elsewhere.
            let is_packaged = file.playbooks.first().is_none_or(|first| first == "site.yml");
            if is_packaged {
                self.postgres_version(name, service);
            }
            self.postgres_features(name, service, is_packaged);
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
                balanced: false,
            });
            // The built-in role keeps databases and dumps on the machine's second disk, where there is one.
            let data = format!("postgres.{name} ({})", databases_of(service.databases.keys()));
            let disk = self
                .resources
                .iter()
                .find(|one| one.address == Address::vm(&node))
                .and_then(|machine| machine.needs.iter().find(|need| need.kind == KindName::DISK).cloned());
            let address = disk.unwrap_or_else(|| Address::vm(&node));
            self.resources.iter_mut().filter(|one| one.address == address).for_each(|one| one.data.push(data.clone()));
            services.insert(name.clone(), self.postgres_service(name, Some(node), service));
        }
        services
    }

    /// Mistakes of names and settings that PostgreSQL cannot have, or that would mean something else in its files.
    fn postgres_words(&mut self, name: &Name, service: &Postgres) {
        let base = ["postgres", name.as_str()];
        // A provider says itself what its service cannot have.
        let is_managed = service.managed != Managed::Never && self.provider.capabilities().manages_postgres;
        for (setting, value) in &service.settings {
            let at = [base[0], base[1], "settings", setting];
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
            if setting.is_empty() || !setting.chars().all(plain) {
                self.mistake(&at, format!("`{}` is not the name of a setting", setting.escape_debug()));
            } else if !is_managed && OWN_SETTINGS.contains(&setting.to_ascii_lowercase().as_str()) {
                self.mistake(&at, format!("`{setting}` is set by infra and cannot be changed"));
            }
            match value {
                Value::String(text) if text.contains(char::is_control) => {
                    self.mistake(
                        &at,
                        format!("the value of `{setting}` has a line break or another control character"),
                    );
                }
                Value::Array(_) | Value::Object(_) | Value::Null => {
                    self.mistake(&at, format!("the value of `{setting}` must be a text, a number or a boolean"));
                }
                _ => {}
            }
        }
        for user in service.users.keys() {
            self.identifier(&[base[0], base[1], "users", user], "login", user);
        }
        for (database, settings) in &service.databases {
            self.identifier(&[base[0], base[1], "databases", database], "database", database);
            for extension in &settings.extensions {
                let at = [base[0], base[1], "databases", database, "extensions", extension];
                self.identifier(&at, "extension", extension);
            }
        }
    }

    /// What a server of one's own does not have: settings, extensions and logins. Where a playbook brings other packages than the
    /// distribution's, they may have more.
    fn postgres_features(&mut self, name: &Name, service: &Postgres, is_packaged: bool) {
        let base = ["postgres", name.as_str()];
        let extensions = service.databases.iter().flat_map(|(database, settings)| {
            let at = |extension: &String| {
                vec!["databases".to_owned(), database.clone(), "extensions".to_owned(), extension.clone()]
            };
            settings.extensions.iter().map(move |extension| (Feature::Extension, at(extension)))
        });
        let settings =
            service.settings.keys().map(|name| (Feature::Setting, vec!["settings".to_owned(), name.clone()]));
        for (feature, path) in settings.chain(extensions) {
            let Some(unknown) = path.last().and_then(|name| feature.unknown(name, service.version, &[])) else {
                continue;
            };
            let path: Vec<&str> = base.into_iter().chain(path.iter().map(String::as_str)).collect();
            let package = "an extension of another package is installed by a playbook of yours before `site.yml`";
            let is_elsewhere = feature == Feature::Extension && is_packaged;
            let hint = unknown.hint.or_else(|| is_elsewhere.then(|| package.to_owned()));
            let severity = if is_packaged { Severity::Error } else { Severity::Warning };
            let place = self.key(&path).location();
            self.found.push(Diagnostic { severity, hint, ..Diagnostic::error(place, unknown.message) });
        }
        for login in service.users.keys() {
            let own = OWN_LOGINS.iter().find(|(own, _)| own == login).map(|(_, why)| *why);
            let why =
                own.or_else(|| login.starts_with("pg_").then_some("PostgreSQL keeps names with `pg_` for itself"));
            if let Some(why) = why {
                let place = self.key(&[base[0], base[1], "users", login]).location();
                self.found
                    .push(Diagnostic::error(place, format!("the login `{login}`: {why}")).hint("choose another name"));
            }
        }
    }

    /// A distribution has one version of PostgreSQL, so the image of a machine decides which one it can run.
    fn postgres_version(&mut self, name: &Name, service: &Postgres) {
        let image = service.image_family.as_deref().unwrap_or(DEFAULT_IMAGE);
        let packaged = PACKAGED.iter().find(|(family, _)| image == *family || image.starts_with(&format!("{family}-")));
        if let Some((family, version)) = packaged.filter(|(_, version)| *version != service.version) {
            let at = ["postgres", name.as_str(), "version"];
            let message = format!("`{family}` has packages of PostgreSQL {version}, not of {}", service.version);
            let others = PACKAGED.iter().filter(|(_, version)| *version == service.version).map(|(family, _)| *family);
            let others = others.map(|family| format!("`image_family: {family}`")).collect::<Vec<_>>().join(", ");
            let own = "a playbook before `site.yml` that adds a repository with it";
            let hint = if others.is_empty() { own.to_owned() } else { format!("{others}, or {own}") };
            self.mistake(&at, message).hint = Some(format!("write `version: {version}`, {hint}"));
        }
    }

    /// Names are quoted wherever they are used, so PostgreSQL's own limits are the only ones.
    fn identifier(&mut self, at: &[&str], what: &str, name: &str) {
        if name.is_empty() || name.len() > 63 || name.contains(char::is_control) {
            let message = format!("`{}` cannot be the name of a {what}", name.escape_debug());
            self.mistake(at, message).hint = Some("it has 1 to 63 bytes, and no control characters".to_owned());
        }
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
            balanced: false,
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
            // A second disk is where data is kept.
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
}

/// The secret that holds the password of a login.
fn password_of(service: &Name, user: &str, settings: &PostgresUser) -> String {
    settings.password.clone().unwrap_or_else(|| format!("postgres_{service}_{user}"))
}
