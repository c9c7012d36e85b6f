//! From an environment file to an [`Environment`]: parse, resolve, and collect every mistake with its place.
//! May import `resource`, `yaml` and the vocabulary.

mod check;
mod environment;
mod file;
mod places;
mod postgresql;
mod readable;
mod resolve;
mod schema;
mod state;
mod units;

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use self::schema::plain_schema;
pub use self::{
    environment::{
        AskedKind, BackupPolicy, Database, Environment, Front, FrontLocation, FrontUpstream, Group, Host,
        PostgresService, Record, Target, Zone,
    },
    file::{Managed, SecretSource},
    postgresql::{Feature, Unknown},
    schema::schema,
    state::{PostgresSettings, S3Settings, StateSettings},
    units::Cidr,
};
pub use crate::cloud::ProviderName;
use crate::{
    cloud::Sections,
    error::{Context, Diagnostic, Error, Result, Severity, count, did_you_mean},
    name::Name,
    yaml::{self, Content, Key, Node, Source},
};

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
