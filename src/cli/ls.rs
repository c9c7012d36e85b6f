//! `infra ls`: which environments there are.

use std::{collections::BTreeSet, path::Path};

use clap::Args;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{arguments::current_dir, context::Context};
use crate::{
    clock::Clock,
    config,
    cost::PriceList,
    error::{Error, Result},
    lifecycle::{accounts, stores},
    plan::Listed,
    project,
    provider::{MEMBERS, Object, Provider},
    resource::{Address, KindName, Resource, Terms},
    state::State,
    ui::{self, Mode},
};

/// List the environments that exist: what the state knows and what the providers show
#[derive(Args, Debug)]
pub(super) struct Ls {}

/// A line of the list.
#[derive(Debug, Serialize)]
struct Line {
    environment: String,
    template: String,
    provider: String,
    hosts: BTreeSet<String>,
    objects: usize,
    age_seconds: Option<i64>,
    expires: Option<jiff::Timestamp>,
    seconds_left: Option<i64>,
    protected: bool,
    cost_per_day: Option<f64>,
    currency: Option<String>,
    owner: String,
    project: String,
    state: bool,
    in_pool: bool,
    /// What is not as it should be, and how it is.
    remarks: Vec<String>,
}

impl Ls {
    pub(super) async fn run(&self, context: &Context) -> Result<u8> {
        let ui = &context.ui;
        let project = config::project_of(&current_dir()?);
        let prices = PriceList::load(&project, None)?;
        let (mut states, unreadable) = stores::states(&project).await;
        let mut lines = Vec::new();
        let id = project::read(&project)?;
        let accounts = accounts::open(&project, None).await?;
        accounts.warnings.iter().for_each(|warning| context.warn(warning));
        // An account that does not answer hides nothing that the state knows.
        let warn = |error: &Error| context.warn(error);
        unreadable.iter().chain(&accounts.failures).for_each(warn);
        for account in accounts.open {
            let environments = account.environments().await.unwrap_or_else(|error| {
                warn(&error);
                Vec::new()
            });
            for listed in environments {
                let own = |state: &State| account.has(&listed, state, id.as_ref(), &project);
                let state = states.iter().position(own).map(|at| states.swap_remove(at));
                lines.push(line(Some((&listed, account.provider.as_ref())), state.as_ref(), &project, &prices));
            }
        }
        // What no account shows, the state still knows.
        lines.extend(states.iter().map(|state| line(None, Some(state), &project, &prices)));
        lines.sort_by(|a, b| (&a.project, &a.environment).cmp(&(&b.project, &b.environment)));
        if ui.mode() == Mode::Json {
            ui.json(&serde_json::to_value(&lines)?);
            return Ok(0);
        }
        if lines.is_empty() {
            ui.say("no environment exists");
            return Ok(0);
        }
        ui.result(&table(&lines));
        for line in &lines {
            line.remarks.iter().for_each(|remark| ui.say(&format!("{}: {remark}", line.environment)));
        }
        Ok(0)
    }
}

/// The machines that an object is: one, or the members of a group, which have numbers.
fn machines(address: &Address, attributes: &Map<String, Value>) -> Vec<String> {
    let members = || attributes.get(MEMBERS).and_then(Value::as_array).map_or(0, Vec::len);
    match address.kind {
        KindName::VM => vec![address.name.to_string()],
        KindName::INSTANCE_GROUP => (1..=members()).map(|number| format!("{}-{number}", address.name)).collect(),
        _ => Vec::new(),
    }
}

fn line(listed: Option<(&Listed, &dyn Provider)>, state: Option<&State>, project: &Path, prices: &PriceList) -> Line {
    let objects = listed.map(|(listed, _)| listed.objects.as_slice()).unwrap_or_default();
    let seen = objects.iter().map(|object| (&object.address, &object.attributes));
    let entries = state.iter().flat_map(|state| &state.resources);
    // What the account shows of a group is newer than what the state knows of it.
    let shows_members = |object: &Object| object.attributes.contains_key(MEMBERS);
    let is_seen = |address: &Address| objects.iter().any(|object| object.address == *address && shows_members(object));
    let known = entries.filter(|(address, _)| !is_seen(address)).map(|(address, entry)| (address, &entry.attributes));
    let hosts = seen.chain(known).flat_map(|(address, attributes)| machines(address, attributes));
    let oldest = objects.iter().map(|object| object.created).filter(|created| *created > 0).min();
    let created = state.map(|state| state.created.as_second()).or(oldest);
    let now = Clock::System.now().as_second();
    let terms = listed.map(|(listed, _)| &listed.terms).or(state.map(|state| &state.terms));
    let terms = terms.cloned().unwrap_or_default();
    let text = |of: fn(&Terms) -> &String| {
        let own = state.map(|state| of(&state.terms).clone()).filter(|text| !text.is_empty());
        own.unwrap_or_else(|| of(&terms).clone())
    };
    let estimate = listed.zip(state).map(|((_, provider), state)| {
        let resources = state.resources.iter().map(|(address, entry)| Resource {
            address: address.clone(),
            spec: entry.spec.clone(),
            needs: entry.needs.clone(),
            origin: String::new(),
            data: Vec::new(),
        });
        prices.estimate(provider.name(), provider.bill(&resources.collect::<Vec<_>>()))
    });
    let estimate = estimate.filter(|estimate| estimate.lines.iter().any(|line| line.hourly.is_some()));
    Line {
        environment: match (state, listed) {
            (Some(state), _) => state.environment.to_string(),
            (None, Some((listed, _))) => listed.environment.clone(),
            (None, None) => String::new(),
        },
        template: text(|terms| &terms.template),
        provider: listed.map_or_else(
            || state.map(|state| state.provider.clone()).unwrap_or_default(),
            |(_, provider)| provider.name().to_owned(),
        ),
        hosts: hosts.collect(),
        objects: objects.len(),
        age_seconds: created.map(|created| (now - created).max(0)),
        expires: terms.expires,
        seconds_left: terms.expires.map(|expires| expires.as_second() - now),
        protected: terms.protect,
        cost_per_day: estimate.as_ref().map(|estimate| estimate.hourly() * 24.0),
        currency: estimate.and_then(|estimate| estimate.currency),
        owner: text(|terms| &terms.owner),
        project: match state {
            Some(_) => project.display().to_string(),
            None => listed.map(|(listed, _)| listed.project.clone()).unwrap_or_default(),
        },
        state: state.is_some(),
        in_pool: state.is_some_and(|state| state.pool.is_some()),
        remarks: (objects.iter())
            .filter_map(|object| Some(format!("`{}`: {}", object.address, object.health.remark()?)))
            .collect(),
    }
}

fn table(lines: &[Line]) -> String {
    #[expect(clippy::cast_precision_loss, reason = "spans of time in seconds")]
    let span = |seconds: i64| ui::duration(seconds as f64);
    let header = ["environment", "template", "provider", "machines", "age", "left", "cost a day", "owner", "project"];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    for line in lines {
        let left = match line.seconds_left {
            _ if line.in_pool => "in the pool".to_owned(),
            _ if line.protected => "protected".to_owned(),
            None => "-".to_owned(),
            Some(left) if left <= 0 => "expired".to_owned(),
            Some(left) => span(left),
        };
        let cost = line.cost_per_day.map_or_else(
            || "-".to_owned(),
            |cost| format!("{cost:.2} {}", line.currency.as_deref().unwrap_or_default()),
        );
        rows.push(vec![
            line.environment.clone(),
            line.template.clone(),
            line.provider.clone(),
            line.hosts.len().to_string(),
            line.age_seconds.map_or_else(|| "?".to_owned(), span),
            left,
            cost,
            line.owner.clone(),
            line.project.clone(),
        ]);
    }
    ui::table(&rows)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::machines;

    #[test]
    fn the_members_of_a_group_are_machines() {
        let of = |address: &str, attributes: serde_json::Value| {
            machines(&address.parse().unwrap(), attributes.as_object().unwrap())
        };
        assert_eq!(of("vm.gate", json!({})), ["gate"]);
        assert_eq!(of("instance_group.app", json!({ "members": [{ "id": "a" }, { "id": "b" }] })), ["app-1", "app-2"]);
        assert!(of("instance_group.app", json!({})).is_empty() && of("subnet.a", json!({})).is_empty());
    }
}
