//! From resources to configured machines: secrets and certificates, the inventory, connections, playbooks, outputs.
//! May import `apply`, `playbook`, `remote`, `provider`, `state`, `config` and the vocabulary.

mod certificates;
mod connections;
mod health;
mod host_keys;
mod inventory;
mod machines;

use std::{collections::BTreeMap, sync::Arc};

use tokio_util::sync::CancellationToken;

pub use self::{
    certificates::prepare_certificates, connections::Pool, health::wait_until_healthy, inventory::inventory,
};
pub(crate) use self::{connections::bastion, machines::machine};
use crate::{
    apply,
    config::{Environment, SecretSource},
    error::{Context, Diagnostic, Error, Result},
    event::Events,
    files, identity,
    playbook::{self, Inventory, Loader, Options, Play, Recap, SearchPath, TaskScope, Use, Words, World},
    secret::Secret,
    state::{State, Vault},
    template::{Authored, Engine, Scope},
    yaml::Mark,
};

/// Makes or reads every secret of the environment: the provider may be told some of them. The answer warns of those that are
/// not hidden.
///
/// # Errors
/// When a variable or a file of a secret is missing.
pub fn prepare_secrets(environment: &Environment, vault: &mut Vault) -> Result<Vec<String>> {
    let mut warnings = Vec::new();
    let mut given = |vault: &mut Vault, name: &str, value: Secret| {
        warnings.extend(value.weakness().map(|weakness| format!("the secret `{name}` {weakness}")));
        vault.put(&apply::secret(name), value);
    };
    for (name, source) in &environment.secrets {
        match source {
            SecretSource::Generate(length) => {
                drop(vault.ensure(&apply::secret(name), || identity::random_text(*length as usize))?);
            }
            SecretSource::Env(variable) => {
                #[expect(clippy::disallowed_methods, reason = "the file says that this secret is in the environment")]
                let value = std::env::var(variable).map_err(|_| {
                    Error::usage(format!(
                        "the secret `{name}` is read from the variable `{variable}`, which is not set"
                    ))
                })?;
                given(vault, name, Secret::new(value));
            }
            SecretSource::File(path) => {
                let path = environment.folder.join(path);
                let text = std::fs::read_to_string(&path)
                    .context(|| format!("the secret `{name}` cannot be read from `{}`", path.display()))?;
                given(vault, name, Secret::new(text.strip_suffix('\n').unwrap_or(&text)));
            }
        }
    }
    Ok(warnings)
}

/// The loader of an environment's playbooks.
#[must_use]
pub fn loader(environment: &Environment, engine: &Engine) -> Loader {
    Loader::new(SearchPath::of(&environment.folder, &environment.project), engine.clone())
}

/// Reads and checks the environment's playbooks, and the templates of its file.
///
/// # Errors
/// One usage error with every mistake.
pub fn load_plays(environment: &Environment, loader: &Loader, engine: &Engine) -> Result<Vec<Play>> {
    let mut found = Vec::new();
    let mut paths = Vec::new();
    for (name, mark) in &environment.playbooks {
        match loader.search().playbook(name) {
            Ok(path) => paths.push(path),
            Err(error) => {
                let mut diagnostic = Diagnostic::error(mark.location(), error.message());
                diagnostic.hint = error.hints().first().cloned();
                found.push(diagnostic);
            }
        }
    }
    let mut plays = Vec::new();
    if !paths.is_empty() {
        match loader.playbooks(&paths) {
            Ok(read) => plays = read,
            Err(error) if !error.diagnostics().is_empty() => found.extend(error.diagnostics().iter().cloned()),
            Err(error) => return Err(error),
        }
    }
    let known = playbook::check::Known::of(
        &inventory(environment, &State::nothing(environment), &Vault::default()),
        environment.secrets.keys().cloned().collect(),
    );
    let uses = |texts: &[(String, Mark)], conditional: bool| -> Vec<Use> {
        let one = |(text, mark): &(String, Mark)| Use {
            text: text.clone(),
            expression: false,
            conditional,
            mark: mark.clone(),
        };
        texts.iter().map(one).collect()
    };
    found.extend(playbook::check::texts(&uses(&environment.output_marks, false), &Words::default(), &known, engine));
    let mut kept = Words::default();
    for play in &mut plays {
        play.words.keep(&kept);
        kept.kept.extend(play.words.kept.iter().cloned());
        kept.keeps_more |= play.words.keeps_more;
        for mistake in playbook::check::play(play, &known, engine) {
            if !found.contains(&mistake) {
                found.push(mistake);
            }
        }
    }
    // Templates that the environment brings may be named by a variable: whatever any play knows, they may use.
    let mut words = Words::default();
    for play in &plays {
        words.defined.extend(play.words.defined.iter().cloned());
        words.optional.extend(play.words.optional.iter().cloned());
        words.open |= play.words.open;
    }
    found.extend(playbook::check::texts(&uses(&environment.var_marks, true), &words, &known, engine));
    let folder = environment.folder.join("templates");
    for file in files::walk(&folder).unwrap_or_default() {
        let path = folder.join(file);
        let rendered = path.extension().is_some_and(|extension| extension == "j2");
        if rendered && !plays.iter().any(|play| play.words.templates.contains_key(&path)) {
            found.extend(playbook::check::template(&path, true, &words, &known, engine));
        }
    }
    if found.is_empty() {
        Ok(plays)
    } else {
        Err(crate::config::mistakes(&environment.folder.join("config.yaml"), found))
    }
}

/// Host patterns of plays that name nothing of the environment, as warnings; wrong ones are errors.
#[must_use]
pub fn unmatched(environment: &Environment, plays: &[Play]) -> Vec<Diagnostic> {
    let inventory = inventory(environment, &State::nothing(environment), &Vault::default());
    playbook::unmatched(plays, &inventory.hosts, &inventory.groups)
}

/// A world with these hosts in which nothing is known yet.
#[must_use]
pub fn world(inventory: Inventory, search: SearchPath, engine: &Engine, check: bool) -> Arc<World> {
    let names = inventory.hosts.iter().cloned().chain(["localhost".to_owned()]);
    let memory: BTreeMap<_, _> = names.map(|name| (name, Arc::default())).collect();
    Arc::new(World { engine: engine.clone(), inventory, memory, search, check })
}

/// Configures the machines: everything that one run of playbooks needs.
pub struct Configuration {
    /// The hosts and all that is known of them.
    pub world: Arc<World>,
    /// The loader, which dynamic includes use.
    pub loader: Arc<Loader>,
    /// The plays.
    pub plays: Vec<Play>,
    /// Connections to the hosts.
    pub pool: Arc<Pool>,
    /// How the run goes.
    pub options: Options,
}

impl Configuration {
    /// Connects to all hosts that have something to do, then runs the plays.
    ///
    /// # Errors
    /// When the plays are wrong; failures of hosts are in the recap.
    pub async fn run(self, events: &Events, cancel: CancellationToken) -> Result<Recap> {
        playbook::run(self.world, self.loader, self.plays, self.pool, self.options, events, cancel).await
    }
}

/// The outputs of an environment, resolved.
///
/// # Errors
/// When a template is wrong.
pub fn outputs(environment: &Environment, inventory: Inventory, engine: &Engine) -> Result<Vec<(String, String)>> {
    let world = world(inventory, SearchPath::of(&environment.folder, &environment.project), engine, false);
    let scope: Arc<dyn Scope> = TaskScope {
        world,
        host: String::new(),
        play: None,
        beside: None,
        task: None,
        locals: Arc::default(),
        looked: None,
    }
    .shared();
    let outputs = environment.outputs.iter();
    outputs
        .map(|(name, template)| {
            let value =
                engine.text(&Authored::written(template.clone()), &scope).context(|| format!("the output `{name}`"))?;
            Ok((name.clone(), value))
        })
        .collect()
}
