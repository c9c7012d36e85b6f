//! `infra state`: what is known of environments, for those who must look at it or put it right.

use std::{io::Read, path::PathBuf, time::Duration};

use clap::{Args, Subcommand};
use serde_json::json;

use super::{
    arguments::{self, EnvironmentArgs, current_dir},
    context::Context,
};
use crate::{
    clock::Clock,
    config::{self, PostgresSettings, S3Settings, StateSettings},
    error::{Context as _, Error, Result},
    event::Events,
    lifecycle::{self, rename, stores},
    name::Name,
    plan, project,
    resource::{self, Address},
    secret::Redactor,
    state::{self, State, Store, Vault},
    ui::{self, Mode, Ui},
};

/// How long these commands wait for others.
const PATIENCE: Duration = Duration::from_mins(1);

/// Look at what is known of environments, and put it right
#[derive(Args, Debug)]
pub(super) struct StateCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the resources that the state knows
    List {
        #[command(flatten)]
        environment: EnvironmentArgs,
    },
    /// Show all that the state knows of a resource
    Show {
        /// The environment: a folder of `envs/`, or the name of one that was made
        environment: String,
        /// The resource, as `vm.app-1`
        address: Address,
    },
    /// Forget a resource without touching it, or all of a state that cannot be read
    Rm {
        /// The environment
        environment: String,
        /// The resources; without any, the whole state, which is kept beside it as a file
        addresses: Vec<Address>,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
    /// Let the state know a resource by another name
    Mv {
        /// The environment
        environment: String,
        /// The name that it has
        from: Address,
        /// The name that it gets: of the same kind
        to: Address,
    },
    /// Print the state as it is kept: secrets stay encrypted
    Pull {
        /// The environment
        environment: String,
    },
    /// Write a state that `pull` has printed; one that is older than what is there is refused
    Push {
        /// The environment
        environment: String,
        /// The file; `-` is standard input
        file: PathBuf,
        /// Also when what is there is newer
        #[arg(long)]
        force: bool,
    },
    /// Take the environment from a command that cannot be running any more
    Unlock {
        /// The environment
        environment: String,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
    /// Move the state and the history from where they were to where the file says now
    MvBackend {
        /// The environment
        environment: String,
        /// Where they lie: `local`, `s3://bucket/prefix` or `postgres://...`
        #[arg(long, value_name = "PLACE")]
        from: String,
    },
    /// Replace the key that secrets are encrypted with, and encrypt all states of the project again
    Rekey {
        /// Only encrypt again: the new key is already the first one in its file or variable
        #[arg(long)]
        keep_key: bool,
    },
}

impl StateCommand {
    pub(super) async fn run(&self, context: &Context) -> Result<u8> {
        let ui = &context.ui;
        match &self.action {
            Action::List { environment } => list(environment, context).await?,
            Action::Show { environment, address } => {
                let site = context.open(&arguments::named(environment)?).await?;
                let entry = rename::known(site.applied()?, address)?;
                let known = &site.applied()?.resources[&entry];
                let shown = state::Entry { spec: resource::shown(entry.kind, &known.spec), ..known.clone() };
                ui.json(&serde_json::to_value(&shown)?);
            }
            Action::Rm { environment, addresses, yes } if addresses.is_empty() => {
                forget(environment, *yes, ui).await?;
            }
            Action::Rm { environment, addresses, yes } => {
                let question = format!("Forget {} resources? They are not destroyed.", addresses.len());
                if !yes && !ui.confirm(&question)? {
                    return Err(Error::interrupted("nothing was changed"));
                }
                edit(environment, "state rm", context, |state, _| {
                    for address in addresses {
                        let address = rename::known(state, address)?;
                        state.remove(&address);
                        state.pending.remove(&address);
                    }
                    Ok(())
                })
                .await?;
                ui.say("forgotten. What still exists is found by its labels: `infra plan` shows it");
            }
            Action::Mv { environment, from, to } => {
                edit(environment, "state mv", context, |state, vault| rename::rename(state, vault, from, to)).await?;
                ui.say(&format!("`{from}` is `{to}` now; its labels keep the old name until it is recreated"));
            }
            Action::Pull { environment } => {
                let store = stores::store(environment, &current_dir()?).await?;
                let state = store.read().await?.ok_or_else(|| unknown(environment))?;
                ui.json(&store.document(&state)?);
            }
            Action::Push { environment, file, force } => push(environment, file, *force, ui).await?,
            Action::Unlock { environment, yes } => unlock(environment, *yes, ui).await?,
            Action::MvBackend { environment, from } => move_backend(environment, from, ui).await?,
            Action::Rekey { keep_key } => rekey(*keep_key, ui).await?,
        }
        Ok(0)
    }
}

fn unknown(environment: &str) -> Error {
    Error::usage(format!("nothing is known of an environment `{environment}` here"))
        .hint("`infra ls` shows those that are known")
}

async fn list(environment: &EnvironmentArgs, context: &Context) -> Result<()> {
    let ui = &context.ui;
    let site = context.open(&environment.target()?).await?;
    let state = site.applied()?;
    if ui.mode() == Mode::Json {
        let entries = state.resources.iter();
        let entries =
            entries.map(|(address, entry)| json!({ "address": address, "id": entry.id, "created": entry.created }));
        ui.json(&entries.collect());
        return Ok(());
    }
    let mut rows = vec![["resource", "id", "made"].map(str::to_owned).to_vec()];
    for (address, entry) in &state.resources {
        let id: String = entry.id.chars().take(24).collect();
        rows.push(vec![address.to_string(), id, entry.created.strftime("%Y-%m-%d %H:%M:%S").to_string()]);
    }
    ui.result(&ui::table(&rows));
    Ok(())
}

/// Changes the state under its lease.
async fn edit(
    environment: &str, command: &str, context: &Context, change: impl FnOnce(&mut State, &mut Vault) -> Result<()>,
) -> Result<()> {
    let mut site = context.open(&arguments::named(environment)?).await?;
    site.applied()?;
    context.quietly(&mut site, command, PATIENCE, async |site| lifecycle::edit(site, change).await).await
}

/// Puts a whole state aside. It need not be one that can be read.
async fn forget(environment: &str, yes: bool, ui: &Ui) -> Result<()> {
    let start = current_dir()?;
    let folder = config::project_of(&start);
    let id = project::read(&folder)?;
    let store = stores::store(environment, &current_dir()?).await?;
    if store.backend().get(&format!("{environment}/state.json")).await?.is_none() {
        return Err(unknown(environment));
    }
    let read = store.read().await;
    if let Ok(Some(state)) = &read {
        plan::check_project(&folder, id.as_ref(), state)?;
    }
    let question = format!("Forget all that is known of `{environment}`, its keys and secrets with it?");
    if !yes && !ui.confirm(&question)? {
        return Err(Error::interrupted("nothing was changed"));
    }
    let (what, events) = (format!("infra state rm {environment}"), Events::ignored());
    let (lease, state) = match read {
        Ok(_) => store.lease(&what, PATIENCE, &events).await?,
        Err(_) => (store.lease_blindly(&what, PATIENCE, &events).await?, None),
    };
    let aside = async {
        state.iter().try_for_each(|state| plan::check_project(&folder, id.as_ref(), state))?;
        store.put_aside().await
    }
    .await;
    store.release(lease).await;
    let Some(aside) = aside? else { return Err(unknown(environment)) };
    ui.say(&format!(
        "forgotten, and kept as `{}`. What still exists is found by its labels: machines whose keys are not known are recreated \
         by `infra apply {environment} --forget`",
        aside.display()
    ));
    Ok(())
}

async fn push(environment: &str, file: &PathBuf, force: bool, ui: &Ui) -> Result<()> {
    let mut text = String::new();
    if file.as_os_str() == "-" {
        std::io::stdin().read_to_string(&mut text).context(|| "cannot read standard input")?;
    } else {
        text = std::fs::read_to_string(file).context(|| format!("cannot read `{}`", file.display()))?;
    }
    let store = stores::store(environment, &current_dir()?).await?;
    let pushed = store.parse(&text)?.ok_or_else(|| Error::usage("this is no state"))?;
    if pushed.environment.as_str() != environment {
        return Err(Error::usage(format!("this is the state of `{}`, not of `{environment}`", pushed.environment)));
    }
    let start = current_dir()?;
    let folder = config::project_of(&start);
    let id = project::read(&folder)?;
    plan::check_project(&folder, id.as_ref(), &pushed)?;
    let (lease, there) = store.lease(&format!("infra state push {environment}"), PATIENCE, &Events::ignored()).await?;
    let result = async {
        there.iter().try_for_each(|there| plan::check_project(&folder, id.as_ref(), there))?;
        if let Some(there) = there
            && there.serial > pushed.serial
            && !force
        {
            return Err(Error::usage(format!(
                "what is there is newer: it was changed {} times, this one {} times",
                there.serial, pushed.serial
            ))
            .hint("`--force` overwrites it all the same"));
        }
        // Secrets that cannot be decrypted here would be found out about by the next apply only.
        Vault::open(&pushed.secrets, store.keys(), Redactor::default())?;
        store.write(&State { serial: pushed.serial + 1, ..pushed.clone() }).await
    }
    .await;
    store.release(lease).await;
    result?;
    ui.say(&format!("written: {} resources", pushed.resources.len()));
    Ok(())
}

async fn unlock(environment: &str, yes: bool, ui: &Ui) -> Result<()> {
    let store = stores::store(environment, &current_dir()?).await?;
    let name: Name = environment.parse().map_err(Error::usage)?;
    if state::is_readable(store.backend().as_ref(), &name).await? {
        let Some(holder) = state::look(store.backend().as_ref(), &name).await?.holder else {
            ui.say(&format!("no one holds `{environment}`: there is nothing to unlock"));
            return Ok(());
        };
        let silent = Clock::System.seconds_since(holder.renewed);
        ui.say(&format!("`{environment}` is held by {holder}"));
        ui.say(&format!(
            "it was renewed {} ago; a lease that is not renewed for 30 s ends by itself, and every command takes it then.\n\
             Unlocking is for one that is being renewed by a command you cannot reach. That command stops when it notices, and \
             can write no more; what it has begun in the cloud is found by the next apply.",
            ui::duration(f64::from(u32::try_from(silent).unwrap_or(u32::MAX)))
        ));
    } else {
        ui.say(&format!(
            "the lease of `{environment}` cannot be read, so its holder is not known; a new one takes its place"
        ));
    }
    if !yes && !ui.confirm("Take it away?")? {
        return Err(Error::interrupted("nothing was changed"));
    }
    state::unlock(store.backend().as_ref(), &name).await?;
    // Whoever held it knows the version of the state that was there: another one takes its place.
    let (lease, _) = store.lease(&format!("infra state unlock {environment}"), PATIENCE, &Events::ignored()).await?;
    store.release(lease).await;
    ui.say("unlocked");
    Ok(())
}

/// The settings that a place on the command line means.
fn place(text: &str, like: &StateSettings) -> Result<StateSettings> {
    let base = StateSettings { s3: None, postgres: None, ..like.clone() };
    if text == "local" {
        return Ok(base);
    }
    if let Some(path) = text.strip_prefix("s3://") {
        let (bucket, prefix) = path.split_once('/').unwrap_or((path, ""));
        let known = like.s3.clone().unwrap_or_default();
        let s3 = S3Settings { bucket: bucket.to_owned(), prefix: prefix.to_owned(), ..known };
        return Ok(StateSettings { s3: Some(s3), ..base });
    }
    if text.starts_with("postgres://") || text.starts_with("postgresql://") {
        let known = like.postgres.clone().unwrap_or_default();
        return Ok(StateSettings { postgres: Some(PostgresSettings { url: text.to_owned(), ..known }), ..base });
    }
    Err(Error::usage(format!("`{text}` is no place of states"))
        .hint("write `local`, `s3://bucket/prefix` or `postgres://user@host/database`"))
}

async fn move_backend(environment: &str, from: &str, ui: &Ui) -> Result<()> {
    let start = current_dir()?;
    let project = config::project_of(&start);
    let name: Name = environment.parse().map_err(Error::usage)?;
    // An environment of another name than its file has its state at the old place still, which says which file it is.
    let folder = match config::find(environment, &start) {
        Ok(folder) => folder,
        Err(error) => {
            let old = Store::open(&project, &name, &place(from, &StateSettings::default())?)?;
            let template = old.read().await?.map(|state| state.terms.template);
            let folder = template.map(|template| project.join("envs").join(template)).filter(|folder| folder.is_dir());
            folder.ok_or(error)?
        }
    };
    let settings = config::state_settings(&folder);
    let source = Store::open(&project, &name, &place(from, &settings)?)?;
    let target = Store::open(&project, &name, &settings)?;
    if source.backend().place() == target.backend().place() {
        return Err(Error::usage(format!(
            "the file says that the state is in {}, where it is",
            target.backend().place()
        ))
        .hint("write the new place into `state:` of the file first"));
    }
    let what = format!("infra state mv-backend {environment}");
    let (old, state) = source.lease(&what, PATIENCE, &Events::ignored()).await?;
    let moved = async {
        let state = state.ok_or_else(|| unknown(environment).hint(format!("it was looked for in {from}")))?;
        let (new, there) = target.lease(&what, PATIENCE, &Events::ignored()).await?;
        let copied = async {
            if let Some(there) = there {
                return Err(Error::usage(format!(
                    "there is a state of `{environment}` in {} already, of {} resources",
                    target.backend().place(),
                    there.resources.len()
                ))
                .hint("nothing was moved"));
            }
            target.write(&state).await?;
            for entry in source.history().await? {
                target.remember(&entry).await?;
            }
            let read = target.read().await?;
            if read.as_ref().map(|read| (&read.resources, &read.secrets)) != Some((&state.resources, &state.secrets)) {
                return Err(Error::new("what was written reads otherwise; the old state is kept"));
            }
            Ok(())
        }
        .await;
        target.release(new).await;
        copied?;
        source.remove().await?;
        source.forget_history().await?;
        Ok::<State, Error>(state)
    }
    .await;
    source.release(old).await;
    let state = moved?;
    ui.say(&format!(
        "moved to {}: {} resources, the history and the secrets",
        target.backend().place(),
        state.resources.len()
    ));
    Ok(())
}

async fn rekey(keep_key: bool, ui: &Ui) -> Result<()> {
    let start = current_dir()?;
    let project = config::project_of(&start);
    let all = stores::all_stores(&project).await?;
    let mut rotated: Vec<PathBuf> = Vec::new();
    for (store, _) in all.iter().filter(|_| !keep_key) {
        if !rotated.contains(&store.keys().own_file()) {
            store.keys().rotate()?;
            rotated.push(store.keys().own_file());
        }
    }
    for (store, state) in &all {
        let what = format!("infra state rekey {}", state.environment);
        let (lease, state) = store.lease(&what, PATIENCE, &Events::ignored()).await?;
        let sealed = async {
            let Some(state) = state else { return Ok::<(), Error>(()) };
            let secrets = match state.secrets.as_str() {
                "" => String::new(),
                sealed => Vault::open(sealed, store.keys(), Redactor::default())?.seal(store.keys())?,
            };
            store.write(&State { secrets, serial: state.serial + 1, ..state }).await?;
            store.forget_previous();
            Ok(())
        }
        .await;
        store.release(lease).await;
        sealed?;
    }
    if !rotated.is_empty()
        && let Some((store, _)) = all.first()
    {
        store.keys().retire()?;
    }
    let names: Vec<String> = all.iter().map(|(_, state)| format!("`{}`", state.environment)).collect();
    ui.say(&format!("encrypted with the new key: the states of {} environments ({})", names.len(), names.join(", ")));
    if let Some((store, _)) = all.first().filter(|_| !rotated.is_empty()) {
        ui.say(&format!(
            "the old keys are kept in `{}` and still decrypt: a state on another branch or in a place that no file names now may \
             need them. Remove the file when no state needs them any more.",
            store.keys().old_file().display()
        ));
    }
    Ok(())
}
