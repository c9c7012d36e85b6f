//! `infra trace` and `infra graph`: what the last run of an environment was made of.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{
    arguments::{EnvironmentArgs, current_dir},
    context::Context,
};
use crate::{
    error::{Context as _, Error, Result},
    lifecycle::{Playbooks, Site, stores},
    playbook::match_hosts,
    resource::{Address, KindName},
    state::Store,
    trace::{Span, Trace},
    ui::{Diagram, Node},
};

/// Print the last run of an environment for Chrome's trace viewer or Perfetto
#[derive(Args, Debug)]
pub(super) struct TraceCommand {
    /// The environment; it may be gone already
    environment: String,
}

impl TraceCommand {
    pub(super) async fn run(&self, context: &Context) -> Result<u8> {
        let store = stores::store_that_was(&self.environment, &current_dir()?).await?;
        let trace = last(&store).await?.ok_or_else(|| {
            Error::usage(format!("no run of `{}` is known here", self.environment))
                .hint(format!("infra apply {}", self.environment))
        })?;
        context.ui.json_line(&trace.to_chrome());
        Ok(0)
    }
}

/// The last run, when there was one.
async fn last(store: &Store) -> Result<Option<Trace>> {
    let Some(text) = store.trace().await? else { return Ok(None) };
    serde_json::from_str(&text).map(Some).context(|| "the last run cannot be read")
}

/// Draw an environment: its resources, machines and plays, with the longest path of the last run
#[derive(Args, Debug)]
pub(super) struct Graph {
    #[command(flatten)]
    environment: EnvironmentArgs,
    /// The form
    #[arg(long, value_enum, default_value = "svg")]
    format: Format,
    /// Where it is written; without it, standard output
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// The form of a graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A picture.
    Svg,
    /// A text for Graphviz.
    Dot,
}

impl Graph {
    pub(super) async fn run(&self, context: &Context) -> Result<u8> {
        let ui = &context.ui;
        let site = context.open(&self.environment.target()?).await?;
        let playbooks = Playbooks::of(&site)?;
        ui.warnings(&playbooks.warnings);
        let trace = last(&site.store).await?.unwrap_or_default();
        let diagram = draw(&site, &playbooks, &trace);
        let text = match self.format {
            Format::Svg => diagram.to_svg(),
            Format::Dot => diagram.to_dot(),
        };
        match &self.out {
            Some(path) => std::fs::write(path, text).context(|| format!("cannot write `{}`", path.display()))?,
            None => ui.result(&text),
        }
        Ok(0)
    }
}

/// Resources below what they need, machines below their resource, plays below their machines.
fn draw(site: &Site, playbooks: &Playbooks, trace: &Trace) -> Diagram {
    let seconds = |matches: &dyn Fn(&Span) -> bool| {
        let found: Vec<f64> = trace.spans.iter().filter(|span| matches(span)).map(|span| span.seconds).collect();
        (!found.is_empty()).then(|| found.iter().sum::<f64>())
    };
    let mut nodes: Vec<Node> = (site.resources().iter())
        .map(|resource| {
            let name = resource.address.to_string();
            let seconds = seconds(&|span| !span.task && span.subject == name);
            let needs = resource.needs.iter().map(Address::to_string).collect();
            Node { name, kind: "resource", seconds, needs }
        })
        .collect();
    let environment = &site.environment;
    for name in environment.hosts.keys() {
        let group = environment.groups.iter().find(|(_, group)| group.members.contains(name)).map(|(group, _)| group);
        let mut needs = vec![Address::vm(name).to_string()];
        needs.extend(group.map(|group| KindName::INSTANCE_GROUP.named(group).to_string()));
        let seconds = seconds(&|span| span.subject == name.as_str());
        nodes.push(Node { name: name.to_string(), kind: "host", seconds, needs });
    }
    let hosts: Vec<String> = environment.hosts.keys().map(ToString::to_string).collect();
    let inventory = crate::configure::inventory(
        environment,
        &crate::state::State::nothing(environment),
        &crate::state::Vault::default(),
    );
    for play in &playbooks.plays {
        let needs = match_hosts(&play.hosts, &hosts, &inventory.groups);
        nodes.push(Node { name: format!("play: {}", play.name), kind: "play", seconds: None, needs });
    }
    Diagram { nodes }
}
