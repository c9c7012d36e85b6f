//! `infra doctor`: what is missing on this machine, and the command that installs it.

use clap::Args;

use super::{arguments::OverlayArgs, context::Context};
use crate::{
    config::Environment,
    error::{Error, Result},
    provider::{Entry, Finding},
    resource::Resource,
    ui::Mode,
};

/// Check what an apply needs: this machine's tools and engine, or a cloud's credentials, permissions and quotas
#[derive(Args, Debug)]
pub(super) struct Doctor {
    /// An environment, to check what its apply would need of its provider
    environment: Option<String>,
    #[arg(long, value_name = "NAME", help = provider_help())]
    provider: Option<String>,
    #[command(flatten)]
    overlay: OverlayArgs,
}

fn provider_help() -> String {
    let here: Vec<String> = Entry::here().map(|(name, _)| format!("`{name}`")).collect();
    format!("The provider to check it for; without an environment only {} can be checked", here.join(", "))
}

impl Doctor {
    pub(super) async fn run(&self, context: &Context) -> Result<u8> {
        let ui = &context.ui;
        let findings = match (&self.environment, self.provider.as_deref()) {
            (None, provider) => {
                let mut findings = Vec::new();
                for (_, here) in Entry::here().filter(|(name, _)| provider.is_none_or(|provider| provider == *name)) {
                    findings.extend((here.check)().await?);
                }
                match provider {
                    Some(provider) if findings.is_empty() => {
                        return Err(Error::usage(format!("`{provider}` is checked for an environment"))
                            .hint(format!("infra doctor ENV --provider {provider}")));
                    }
                    _ => findings,
                }
            }
            (Some(environment), provider) => {
                let mut overlay = self.overlay.clone();
                overlay.set.extend(provider.map(|provider| format!("provider={provider}")));
                let mut site = context.open(&overlay.over(environment)?).await?;
                let here = Entry::here().find(|(name, _)| *name == site.provider.name());
                if let Some((_, here)) = here {
                    (here.check)().await?
                } else {
                    // What exists takes nothing more of a quota. An account that cannot be listed is a finding of its own.
                    let there = site.observe().await.unwrap_or_default();
                    let exists = |one: &Resource| there.iter().any(|object| object.address == one.address);
                    let (existing, new): (Vec<_>, Vec<_>) = site.resources().into_iter().partition(exists);
                    let found = site.provider.diagnose(&site.owner(), &new, &existing).await;
                    found.into_iter().map(|finding| placed(&site.environment, finding)).collect()
                }
            }
        };
        let failed = findings.iter().any(|finding| finding.needed && !finding.ok);
        if ui.mode() == Mode::Json {
            let mut value = serde_json::to_value(&findings)?;
            // The name that the hint had in earlier versions.
            for finding in value.as_array_mut().into_iter().flatten() {
                finding["mend"] = finding["hint"].clone();
            }
            ui.json(&value);
        } else {
            for finding in &findings {
                let sign = match (finding.ok, finding.needed) {
                    (true, _) => "ok     ",
                    (false, true) => "missing",
                    (false, false) => "warning",
                };
                let mut line = format!("{sign}  {}: {}\n", finding.check, finding.detail);
                if !finding.ok && !finding.hint.is_empty() {
                    line += &format!("         hint: {}\n", finding.hint);
                }
                ui.result(&line);
            }
        }
        Ok(u8::from(failed))
    }
}

/// A finding whose detail says which places of the file ask for what is missing.
fn placed(environment: &Environment, finding: Finding) -> Finding {
    let asked = finding.asked.as_ref().filter(|_| !finding.ok);
    let places = asked.map(|asked| environment.places_of(&asked.sections, &asked.value)).unwrap_or_default();
    if places.is_empty() {
        return finding;
    }
    let places: Vec<String> =
        places.iter().map(|at| format!("{}:{}:{}", at.file.display(), at.line, at.column)).collect();
    Finding { detail: format!("{}; asked for at {}", finding.detail, places.join(", ")), ..finding }
}
