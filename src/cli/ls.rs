//! `infra ls`: which environments there are.

use std::collections::{BTreeMap, BTreeSet};

use clap::Args;
use serde_json::json;

use crate::{
    clock::Clock,
    config::{self, DockerSettings},
    error::{Context, Result},
    name::Name,
    provider::{Object, Provider, docker::Docker},
    resource::KindName,
    state::Store,
    ui::{self, Mode, Ui},
};

/// List the environments that exist: what the state knows and what the engine shows
#[derive(Args, Debug)]
pub(super) struct Ls {}

impl Ls {
    pub(super) async fn run(&self, ui: &Ui) -> Result<u8> {
        let start = std::env::current_dir().context(|| "cannot tell the present folder")?;
        let project = config::project_of(&start);
        // An engine that does not answer hides nothing that the state knows.
        let listed = Docker::open(&DockerSettings::default())?.list(None).await;
        if let Err(error) = &listed {
            ui.say(&format!("warning: {error}"));
        }
        let objects = listed.unwrap_or_default();
        let mut found: BTreeMap<(String, String), Vec<&Object>> = BTreeMap::new();
        for object in &objects {
            found.entry((object.project.clone(), object.environment.clone())).or_default().push(object);
        }
        let here = project.display().to_string();
        for name in Store::list(&project) {
            found.entry((here.clone(), name.to_string())).or_default();
        }
        let mut entries = Vec::new();
        for ((project_name, name), objects) in &found {
            let state = match name.parse::<Name>() {
                Ok(name) if *project_name == here => Store::new(&project, &name).read().ok().flatten(),
                _ => None,
            };
            let hosts: BTreeSet<String> = objects
                .iter()
                .filter(|object| object.address.kind == KindName::VM)
                .map(|object| object.address.name.to_string())
                .collect();
            // Other providers are not asked: what the state knows of them is shown.
            let known = state.iter().flat_map(|state| state.resources.keys());
            let known = known.filter(|address| address.kind == KindName::VM).map(|address| address.name.to_string());
            let hosts: BTreeSet<String> = hosts.into_iter().chain(known).collect();
            let oldest = objects.iter().map(|object| object.created).min();
            let created = state.as_ref().map(|state| state.created.as_second()).or(oldest);
            let age = created.map(|created| u64::try_from(Clock::System.now().as_second() - created).unwrap_or(0));
            let provider = state.as_ref().map_or("docker", |state| state.provider.as_str()).to_owned();
            entries.push(json!({
                "environment": name, "provider": provider, "hosts": hosts, "objects": objects.len(), "age_seconds": age,
                "project": project_name, "state": state.is_some(),
            }));
        }
        if ui.mode() == Mode::Json {
            ui.json(&entries.into());
            return Ok(0);
        }
        if entries.is_empty() {
            ui.say("no environment exists");
            return Ok(0);
        }
        let mut rows = vec![["environment", "provider", "machines", "age", "project"].map(str::to_owned).to_vec()];
        for entry in &entries {
            #[expect(clippy::cast_precision_loss, reason = "an age in seconds")]
            let age = entry["age_seconds"].as_u64().map_or_else(|| "?".to_owned(), |age| ui::duration(age as f64));
            let text = |field: &str| entry[field].as_str().unwrap_or_default().to_owned();
            let hosts = entry["hosts"].as_array().map_or(0, Vec::len).to_string();
            rows.push(vec![text("environment"), text("provider"), hosts, age, text("project")]);
        }
        ui.result(&ui::table(&rows));
        Ok(0)
    }
}
