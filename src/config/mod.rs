//! From an environment file to an [`Environment`]: parse, resolve, and collect every mistake with its place.
//! May import `resource`, `yaml` and the vocabulary.

mod check;
mod file;
mod places;
mod postgresql;
mod readable;
mod resolve;
mod state;
mod units;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use indexmap::IndexMap;
use serde::Serialize;
use serde_json::{Map, Value};

pub use self::{
    file::{Managed, SecretSource},
    postgresql::{Feature, Unknown},
    state::{PostgresSettings, S3Settings, StateSettings},
    units::Cidr,
};
pub use crate::cloud::ProviderName;
use crate::{
    cloud::{self, Sections},
    error::{Context, Diagnostic, Error, Result, Severity, count, did_you_mean},
    name::Name,
    resource::{HealthCheck, KindName, Resource, VmSpec},
    yaml::{self, Content, Key, Node, Source},
};

/// A resolved environment: the only thing that is made from an environment file, and immutable.
#[derive(Clone, Debug)]
pub struct Environment {
    /// Its name, unique per provider account or engine.
    pub name: Name,
    /// The folder of its file.
    pub folder: PathBuf,
    /// The folder that holds `envs/`, where state and shared playbooks lie.
    pub project: PathBuf,
    /// Where its machines run.
    pub provider: ProviderName,
    /// Settings of the providers.
    pub sections: Sections,
    /// The network's name, when the file gives it one.
    pub network: Option<Name>,
    /// Where the file names its subnets.
    pub subnet_marks: BTreeMap<Name, yaml::Mark>,
    /// Where port 22 of the bastion may be reached from.
    pub ssh_from: Vec<Cidr>,
    /// Subnets, disks and machines. What else a provider needs for them is the provider's own affair.
    pub resources: Vec<Resource>,
    /// Groups of equal machines.
    pub groups: IndexMap<Name, Group>,
    /// Service accounts and their roles, each with its place.
    pub service_accounts: IndexMap<Name, (Vec<String>, yaml::Mark)>,
    /// Zones of names, with what their records point to.
    pub dns: IndexMap<Name, Zone>,
    /// Its machines, in the order of the file.
    pub hosts: IndexMap<Name, Host>,
    /// Its databases.
    pub postgres: IndexMap<Name, PostgresService>,
    /// Its HTTP(S) fronts.
    pub nginx: IndexMap<Name, Front>,
    /// The playbooks, as the file names them, each with its place.
    pub playbooks: Vec<(String, yaml::Mark)>,
    /// Variables of all hosts, `--var` over those of the file.
    pub vars: Map<String, Value>,
    /// Variables of groups, from `group_vars/`.
    pub group_vars: IndexMap<String, Map<String, Value>>,
    /// Variables of hosts, from `host_vars/`.
    pub host_vars: IndexMap<String, Map<String, Value>>,
    /// Variables from `--var`, which win over all others.
    pub extra_vars: Map<String, Value>,
    /// Secrets, by name, and where they come from.
    pub secrets: IndexMap<String, SecretSource>,
    /// Where the file asks for each of them.
    pub secret_marks: IndexMap<String, yaml::Mark>,
    /// Templates of the outputs.
    pub outputs: IndexMap<String, String>,
    /// The templates of the outputs, each with its place.
    pub output_marks: Vec<(String, yaml::Mark)>,
    /// The variables of the file and of `group_vars/` and `host_vars/`, as they are written.
    pub written_vars: Vec<yaml::Node>,
    /// Where an Ansible inventory is written after `apply`.
    pub inventory_file: Option<PathBuf>,
    /// Whether `destroy` is refused.
    pub protect: bool,
    /// How many warm copies of it are kept ready, when there is a pool.
    pub pool: Option<usize>,
    /// Where its state is kept.
    pub state: StateSettings,
    /// Where the section `state` says so, by the names of its keys: `key_file`, `recipients[0]`.
    pub state_marks: IndexMap<String, yaml::Mark>,
    /// How long it lives, from its first apply on.
    pub ttl: Option<std::time::Duration>,
    /// The kinds of things that the file asks a provider for, beside machines, subnets and disks.
    pub asked: Vec<AskedKind>,
    /// Settings of the file that mean something in a cloud only, with their places.
    pub cloud_only: Vec<(String, yaml::Mark)>,
    /// What the user should know about the file.
    pub warnings: Vec<Diagnostic>,
    /// The file as it is written.
    pub text: Node,
}

impl Environment {
    /// The settings of a provider.
    #[must_use]
    pub fn section<T: cloud::Section>(&self) -> &T {
        self.sections.of()
    }

    /// The way in: the first public machine of the group `bastion`, or the first public machine.
    #[must_use]
    pub fn bastion(&self) -> Option<&Name> {
        bastion_of(&self.hosts, |_, host| host.public)
    }

    /// The way in if these machines had a public address, and no others.
    #[must_use]
    pub fn bastion_among(&self, is_public: impl Fn(&Name) -> bool) -> Option<&Name> {
        bastion_of(&self.hosts, |name, _| is_public(name))
    }

    /// Where its port 22 may be reached from; nothing when there is no way in.
    #[must_use]
    pub fn ssh_ranges(&self) -> Vec<String> {
        let mut ranges: Vec<String> = self.ssh_from.iter().map(Cidr::to_string).collect();
        ranges.sort();
        if self.bastion().is_some() { ranges } else { Vec::new() }
    }
}

/// The first public machine of the group `bastion`, or the first public machine.
fn bastion_of(hosts: &IndexMap<Name, Host>, is_public: impl Fn(&Name, &Host) -> bool) -> Option<&Name> {
    let public = || hosts.iter().filter(|(name, host)| is_public(name, host));
    let named = public().find(|(_, host)| host.groups.iter().any(|group| group == "bastion"));
    named.or_else(|| public().next()).map(|(name, _)| name)
}

/// Something that a file asks for, and that a provider may not have.
#[derive(Clone, Debug)]
pub struct AskedKind {
    /// Its kind.
    pub kind: KindName,
    /// What it is, as in "the registry `images`".
    pub what: String,
    /// Where the file asks for it.
    pub mark: yaml::Mark,
    /// How to do without it, where the environment does not work otherwise.
    pub instead: Option<String>,
}

/// A machine, as playbooks see it.
#[derive(Clone, Debug)]
pub struct Host {
    /// Its groups, without `all`.
    pub groups: Vec<String>,
    /// Whether it has a public address.
    pub public: bool,
    /// The login on it.
    pub login: String,
    /// Where the file asks for it.
    pub mark: yaml::Mark,
}

/// A group of equal machines, which some providers keep alive by themselves.
#[derive(Clone, Debug)]
pub struct Group {
    /// Its machines.
    pub members: Vec<Name>,
    /// What each of them is.
    pub machine: VmSpec,
    /// The zones that they are spread over.
    pub zones: Vec<String>,
    /// How many may be missing while the group is changed.
    pub max_unavailable: u32,
    /// How many may be surplus while the group is changed.
    pub max_expansion: u32,
    /// The service account that manages them.
    pub service_account: Option<Name>,
    /// How the provider finds out that one of them works.
    pub health_check: Option<HealthCheck>,
    /// Where the file asks for it.
    pub mark: yaml::Mark,
}

/// A zone of names.
#[derive(Clone, Debug)]
pub struct Zone {
    /// Its name, with a dot at the end.
    pub zone: String,
    /// Whether only the machines of the environment see it.
    pub private: bool,
    /// Its records.
    pub records: Vec<Record>,
    /// Where the file asks for it.
    pub mark: yaml::Mark,
}

/// A record of a zone.
#[derive(Clone, Debug)]
pub struct Record {
    /// The whole name, with a dot at the end.
    pub name: String,
    /// `A`, `CNAME`, ...
    pub kind: String,
    /// How long others may remember it, in seconds.
    pub ttl: u64,
    /// What it says.
    pub values: Vec<String>,
    /// What it points to, instead.
    pub to: Option<Target>,
}

/// What a record may point to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A machine.
    Host(Name),
    /// An HTTP(S) front.
    Front(Name),
    /// A reserved address.
    Address(Name),
}

/// A database service: on a machine of the environment, or managed by the provider.
#[derive(Clone, Debug)]
pub struct PostgresService {
    /// The machine; none when the provider manages the service.
    pub node: Option<Name>,
    /// The major version.
    pub version: u32,
    /// The TCP port on its machine.
    pub port: u16,
    /// Server settings.
    pub settings: IndexMap<String, Value>,
    /// Logins and the secrets that hold their passwords.
    pub users: IndexMap<String, String>,
    /// Databases.
    pub databases: IndexMap<String, Database>,
    /// Dumps, when they are made.
    pub backup: Option<BackupPolicy>,
    /// Where the file asks for it.
    pub mark: yaml::Mark,
}

/// A database of a service.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct Database {
    /// Its owner.
    pub owner: Option<String>,
    /// Its extensions.
    pub extensions: Vec<String>,
}

/// When dumps are made and how long they are kept.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct BackupPolicy {
    /// In the five fields of crontab(5).
    pub schedule: String,
    /// In minutes.
    pub keep_minutes: u64,
}

/// An HTTP(S) front.
#[derive(Clone, Debug)]
pub struct Front {
    /// Its machines.
    pub nodes: Vec<Name>,
    /// Whether the world can reach it.
    pub public: bool,
    /// The reserved address of the balancer before several machines; a single machine has its own.
    pub address: Option<Name>,
    /// The HTTP port on the machine.
    pub http_port: u16,
    /// The HTTPS port on the machine.
    pub https_port: u16,
    /// Host names of its certificate.
    pub names: Vec<String>,
    /// What it balances.
    pub upstreams: IndexMap<String, FrontUpstream>,
    /// Where requests go.
    pub locations: Vec<FrontLocation>,
}

/// What a front balances.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct FrontUpstream {
    /// The group of machines.
    pub group: String,
    /// Their port.
    pub port: u16,
    /// How many failures take a machine out.
    pub max_fails: u32,
    /// For how many seconds.
    pub fail_timeout: u64,
}

/// Where requests of one path go.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct FrontLocation {
    /// The path.
    pub path: String,
    /// The upstream.
    pub upstream: String,
    /// How long answers are kept, in seconds.
    pub cache: Option<u64>,
}

/// How an environment file is loaded.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// The environment's name, when it is not the folder's.
    pub name: Option<Name>,
    /// `key.path=value` set over the file.
    pub set: Vec<String>,
    /// `key=value` variables over all others.
    pub vars: Vec<String>,
    /// Where relative file paths of the file start; the file's folder without it.
    pub files_root: Option<PathBuf>,
}

/// The longest life of an environment that expires; what ends later has no moment that labels could hold.
const LONGEST_LIFE: std::time::Duration = std::time::Duration::from_hours(1000 * 365 * 24);

/// Keys that were written otherwise by earlier tools: section pattern, old key, right key.
const ALIASES: &[(&[&str], &str, &str)] =
    &[(&["instances", "*"], "family_id", "image_family"), (&["instance_groups", "*"], "family_id", "image_family")];

/// The JSON Schema of environment files.
///
/// # Panics
/// Never: the schema of our own types is an object.
#[must_use]
pub fn schema() -> Value {
    let mut schema = plain_schema();
    schema["title"] = "infra environment".into();
    let definitions = schema["$defs"].clone();
    accept_nothing(&mut schema, &definitions);
    schema
}

/// The schema as the types have it, which the loader's own check follows.
fn plain_schema() -> Value {
    let mut generator = schemars::SchemaGenerator::default();
    generator.subschema_for::<ProviderName>();
    let mut sections = cloud::section_properties(&mut generator);
    let mut schema = generator.into_root_schema_for::<file::File>().to_value();
    // The sections of providers come after the key that names one of them.
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        for (key, property) in std::mem::take(properties) {
            let is_provider = key == "provider";
            properties.insert(key, property);
            let after = sections.drain(..if is_provider { sections.len() } else { 0 });
            properties.extend(after.map(|(key, property)| (key.to_owned(), property)));
        }
    }
    schema
}

/// `key:` with nothing behind it means the defaults of that key, as the loader has it: the schema of every key that may be left out,
/// and of every mapping that a user names, also accepts `null`.
fn accept_nothing(schema: &mut Value, definitions: &Value) {
    match schema {
        Value::Object(map) => {
            let required = map.get("required").cloned().unwrap_or_default();
            let is_required = |key: &str| required.as_array().is_some_and(|keys| keys.iter().any(|name| name == key));
            for (keyword, inner) in map.iter_mut() {
                accept_nothing(inner, definitions);
                match (keyword.as_str(), inner) {
                    ("properties", Value::Object(properties)) => {
                        for (_, property) in properties.iter_mut().filter(|(key, _)| !is_required(key)) {
                            or_null(property);
                        }
                    }
                    ("patternProperties", Value::Object(patterns)) => {
                        patterns.values_mut().filter(|value| is_mapping(value, definitions)).for_each(or_null);
                    }
                    ("additionalProperties", value) if is_mapping(value, definitions) => or_null(value),
                    _ => {}
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| accept_nothing(item, definitions)),
        _ => {}
    }
}

/// Whether a schema, or the definition that it refers to, is that of a mapping.
fn is_mapping(schema: &Value, definitions: &Value) -> bool {
    let name = schema["$ref"].as_str().and_then(|reference| reference.rsplit('/').next());
    let schema = name.map_or(schema, |name| &definitions[name]);
    schema["type"] == "object"
}

fn or_null(schema: &mut Value) {
    let null = Value::String("null".to_owned());
    match schema.get_mut("type") {
        Some(Value::Array(types)) if types.contains(&null) => return,
        Some(Value::Array(types)) => return types.push(null),
        Some(one) => return *one = Value::Array(vec![one.take(), null]),
        None => {}
    }
    let has_null = schema["anyOf"].as_array().is_some_and(|any| any.iter().any(|one| one["type"] == null));
    if let Value::Object(map) = schema
        && !map.is_empty()
        && !has_null
    {
        // What is said of the key stays where editors look for it.
        let said: Vec<(String, Value)> =
            ["description", "default"].iter().filter_map(|word| map.remove_entry(*word)).collect();
        *schema = serde_json::json!({ "anyOf": [schema.take(), { "type": "null" }] });
        for (word, value) in said {
            schema[word] = value;
        }
    }
}

/// A span of time as command lines and files have it: `90s`, `10m`, or a number of seconds.
///
/// # Errors
/// When it is none.
pub fn duration(text: &str) -> Result<std::time::Duration, String> {
    text.parse::<units::Span>().map(|span| span.0)
}

/// How long an environment lives, as command lines have it: a span of time that ends some day.
///
/// # Errors
/// When it is none, is 0, or ends beyond what any calendar holds.
pub fn lifetime(text: &str) -> Result<std::time::Duration, String> {
    let span = duration(text)?;
    check_lifetime(span).map_or(Ok(span), |wrong| Err(format!("`{text}` {wrong}")))
}

/// What is wrong with a span of time as the life of an environment.
fn check_lifetime(span: std::time::Duration) -> Option<&'static str> {
    if span.is_zero() {
        return Some("is no time at all: an environment lives for a second at least");
    }
    (span > LONGEST_LIFE).then_some("is too long: an environment lives for 1000 years at most, or without an end")
}

/// The environment folder that a command line names: a name below the nearest `envs/`, or a path.
///
/// # Errors
/// When there is no such environment; a close name is suggested.
pub fn find(name: &str, start: &Path) -> Result<PathBuf> {
    let direct = start.join(name);
    if name.contains('/') || direct.join("config.yaml").is_file() {
        let folder = if direct.is_file() { direct.parent().unwrap_or(start).to_owned() } else { direct };
        return if folder.join("config.yaml").is_file() {
            Ok(folder)
        } else {
            Err(Error::usage(format!("there is no `{}`", folder.join("config.yaml").display())))
        };
    }
    let root = project_of(start);
    let folder = root.join("envs").join(name);
    if folder.join("config.yaml").is_file() {
        return Ok(folder);
    }
    let known = list(&root);
    let mut error =
        Error::usage(format!("there is no environment `{name}`: no `{}`", folder.join("config.yaml").display()));
    error = match did_you_mean(name, known.iter().map(String::as_str)) {
        Some(close) => error.hint(format!("did you mean `{close}`?")),
        None if known.is_empty() => error.hint("run it in the folder that holds `envs/<name>/config.yaml`"),
        None => error.hint(format!("known environments: {}", known.join(", "))),
    };
    Err(error)
}

/// Where the state of an environment is kept, by its file alone: what else is wrong with that is reported when it is loaded.
#[must_use]
pub fn state_settings(folder: &Path) -> StateSettings {
    checked_state_settings(folder).unwrap_or_else(|_| state::StateSection::default().settings(folder))
}

/// Where the state of an environment is kept, for those who must not miss one.
///
/// # Errors
/// When the file cannot be read, or its section `state` cannot be understood.
pub fn checked_state_settings(folder: &Path) -> Result<StateSettings> {
    let path = folder.join("config.yaml");
    let (root, _) = yaml::parse(&read(folder)?)?;
    let section = match root.get("state") {
        None => state::StateSection::default(),
        Some(section) => serde_json::from_value::<state::StateSection>(section.to_value())
            .map_err(|error| Error::usage(format!("{}: `state`: {error}", path.display())))?,
    };
    Ok(section.settings(folder))
}

/// The names of the environment folders of a project.
#[must_use]
pub fn list(project: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(project.join("envs")) else { return Vec::new() };
    let mut names: Vec<String> = entries
        .filter_map(Result::ok)
        .filter(|entry| entry.path().join("config.yaml").is_file())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// The nearest folder upwards that holds `envs/`, or the start itself.
#[must_use]
pub fn project_of(start: &Path) -> PathBuf {
    let found = start.ancestors().find(|folder| folder.join("envs").is_dir());
    found.unwrap_or(start).to_owned()
}

/// Loads an environment and checks all of it.
///
/// # Errors
/// One usage error with every mistake of the file and the files it names.
pub fn load(folder: &Path, options: &LoadOptions) -> Result<Environment> {
    load_source(&read(folder)?, options)
}

/// An environment file is written by hand: a larger one is another file under its name.
const MAX_BYTES: u64 = 1024 * 1024;

/// Reads the file of an environment folder.
fn read(folder: &Path) -> Result<std::sync::Arc<Source>> {
    let path = folder.join("config.yaml");
    match std::fs::metadata(&path) {
        Ok(metadata) if metadata.len() > MAX_BYTES => Err(Error::usage(format!(
            "`{}` has {} bytes; an environment file has {MAX_BYTES} at most",
            path.display(),
            metadata.len()
        ))),
        _ => yaml::read(&path),
    }
}

/// Loads an environment from a text that is already read.
///
/// # Errors
/// As [`load`].
pub fn load_source(source: &std::sync::Arc<Source>, options: &LoadOptions) -> Result<Environment> {
    let (mut root, mut found) = yaml::parse(source)?;
    if matches!(root.content, Content::Null) {
        root.content = Content::Mapping(Vec::new());
    }
    for overlay in &options.set {
        set(&mut root, overlay)?;
    }
    apply_aliases(&mut root, &mut found);
    let schema = plain_schema();
    let mut checker = check::Checker { schema: &schema, found };
    checker.check(&root, &schema, "the environment");
    let mut found = checker.found;
    if has_errors(&found) {
        found.extend(mistakes_of_the_rest(&root, &schema, options, &found));
        return Err(mistakes(&source.file, found));
    }
    let written =
        read_file(&root).context(|| format!("`{}` passed its check but could not be read", source.file.display()))?;
    let environment = resolve::resolve(written, &root, options, &mut found)?;
    if has_errors(&found) {
        Err(mistakes(&source.file, found))
    } else {
        Ok(Environment { warnings: found, ..environment })
    }
}

fn read_file(root: &Node) -> serde_json::Result<file::Written> {
    let mut written = match without_nulls(root.to_value()) {
        Value::Object(written) => written,
        _ => Map::new(),
    };
    let implied = ProviderName::implied(&written);
    let sections = Sections::take(&mut written)?;
    let file: file::File = serde_json::from_value(Value::Object(written))?;
    Ok(file::Written { provider: file.provider.unwrap_or(implied), sections, file })
}

/// Wrong references in a file whose shape is wrong elsewhere, so that one run reports all mistakes.
fn mistakes_of_the_rest(root: &Node, schema: &Value, options: &LoadOptions, found: &[Diagnostic]) -> Vec<Diagnostic> {
    let Some(readable) = readable::Readable::new(root, schema, found) else { return Vec::new() };
    let Ok(written) = read_file(&readable.root) else { return Vec::new() };
    let mut more = Vec::new();
    // What ends the resolving early is reported when the shape is right.
    let _ = resolve::resolve(written, &readable.root, options, &mut more);
    more.retain(|mistake| mistake.severity == Severity::Error && readable.holds(mistake));
    more
}

fn has_errors(found: &[Diagnostic]) -> bool {
    found.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
}

/// All mistakes of a file as one error, in the order of their lines.
#[must_use]
pub fn mistakes(file: &Path, mut found: Vec<Diagnostic>) -> Error {
    found.sort_by(|a, b| (a.severity, &a.location).cmp(&(b.severity, &b.location)));
    let errors = || found.iter().filter(|diagnostic| diagnostic.severity == Severity::Error);
    let mut files: Vec<&Path> = Vec::new();
    for diagnostic in errors() {
        let place = diagnostic.location.as_ref().map_or(file, |location| &location.file);
        if !files.contains(&place) {
            files.push(place);
        }
    }
    let mistakes = count(errors().count() as u64, "mistake");
    let summary = match files.split_first() {
        Some((only, [])) => format!("`{}` has {mistakes}", only.display()),
        Some((first, [second])) => format!("`{}` and `{}` have {mistakes}", first.display(), second.display()),
        Some((first, others)) => format!("`{}` and {} other files have {mistakes}", first.display(), others.len()),
        None => format!("`{}` has {mistakes}", file.display()),
    };
    Error::from_diagnostics(summary, found)
}

/// `section:` with nothing behind it means a section of defaults; variables and settings keep their nulls.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(
            map.into_iter()
                .filter_map(|(key, value)| match value {
                    Value::Null => None,
                    kept if key == "vars" || key == "settings" => Some((key, kept)),
                    Value::Object(inner) if key != "outputs" => {
                        let inner = inner
                            .into_iter()
                            .map(|(k, v)| (k, if v.is_null() { Value::Object(Map::new()) } else { without_nulls(v) }));
                        Some((key, Value::Object(inner.collect())))
                    }
                    other => Some((key, without_nulls(other))),
                })
                .collect(),
        ),
        other => other,
    }
}

/// Lays `a.b.c=value` over the tree; the value is YAML.
fn set(root: &mut Node, overlay: &str) -> Result<()> {
    let wrong = || Error::usage(format!("`--set {overlay}` is not `key.path=value`"));
    let (path, value) = overlay.split_once('=').ok_or_else(wrong)?;
    if path.is_empty() || path.split('.').any(str::is_empty) {
        return Err(wrong());
    }
    let name = format!("--set {path}");
    let (mut tree, _) = yaml::parse(&Source::new(&name, format!("{path}: {value}")))?;
    // A mistake in it is shown in the argument, as the command line has it.
    tree.relocate(&Source::new(&name, overlay), path.chars().count() + 1);
    let Content::Mapping(entries) = &mut tree.content else { return Err(wrong()) };
    let (key, value) = entries.pop().ok_or_else(wrong)?;
    let mut node = root;
    let mut parts = path.split('.').peekable();
    while let Some(part) = parts.next() {
        if !matches!(node.content, Content::Mapping(_)) {
            node.content = Content::Mapping(Vec::new());
        }
        let Content::Mapping(entries) = &mut node.content else { return Err(wrong()) };
        let at = entries.iter().position(|(key, _)| key.name == part).unwrap_or(entries.len());
        if at == entries.len() {
            let key = Key { name: part.to_owned(), mark: key.mark.clone() };
            entries.push((key, Node { content: Content::Null, mark: value.mark.clone() }));
        }
        let (there, inner) = &mut entries[at];
        if parts.peek().is_none() {
            there.mark = key.mark.clone();
        }
        node = inner;
    }
    *node = value;
    Ok(())
}

fn apply_aliases(root: &mut Node, found: &mut Vec<Diagnostic>) {
    for (path, old, right) in ALIASES {
        rename(root, path, old, right, found);
    }
}

fn rename(node: &mut Node, path: &[&str], old: &str, right: &str, found: &mut Vec<Diagnostic>) {
    let Content::Mapping(entries) = &mut node.content else { return };
    if let Some((head, rest)) = path.split_first() {
        for (_, child) in entries.iter_mut().filter(|(key, _)| *head == "*" || key.name == *head) {
            rename(child, rest, old, right, found);
        }
        return;
    }
    if entries.iter().any(|(key, _)| key.name == right) {
        return;
    }
    for (key, _) in entries.iter_mut().filter(|(key, _)| key.name == old) {
        let message = format!("`{old}` is read as `{right}`");
        found.push(Diagnostic::warning(key.mark.location(), message).hint(format!("write `{right}`")));
        right.clone_into(&mut key.name);
    }
}

/// Parses `key=value` arguments; a value is YAML, so `n=3` is a number.
///
/// # Errors
/// When there is no `=`, or the value is not YAML.
pub fn parse_vars(arguments: &[String]) -> Result<Map<String, Value>> {
    arguments
        .iter()
        .map(|argument| {
            let (key, value) = argument
                .split_once('=')
                .ok_or_else(|| Error::usage(format!("`--var {argument}` is not `key=value`")))?;
            let (node, _) = yaml::parse(&Source::new("--var", value))?;
            Ok((key.to_owned(), node.to_value()))
        })
        .collect()
}
