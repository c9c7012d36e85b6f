//! What is checked before the first write: everything that is wrong is told at once, and nothing has been begun then.

use super::session::Session;
use crate::{
    config::{self, Environment},
    configure,
    error::{Diagnostic, Error, Result, Severity},
    plan::{Action, Plan},
    playbook::{Loader, Play},
    provider::Provider,
    resource::Resource,
    template::Engine,
    ui::Ui,
};

/// Reads the playbooks and asks the provider about the file: the mistakes of both are one error, warnings are printed.
pub(super) fn files(
    environment: &Environment, provider: Option<&dyn Provider>, loader: &Loader, engine: &Engine, ui: &Ui,
) -> Result<Vec<Play>> {
    let mut found = provider.map(|provider| provider.check(environment)).unwrap_or_default();
    let (plays, said) = configure::load_plays(environment, loader, engine)?;
    found.extend(said);
    report(environment, found, ui)?;
    Ok(plays)
}

/// Checks plays that are not those of the environment's file as those are: the mistakes are one error, warnings are printed.
pub(super) fn plays(
    environment: &Environment, plays: &mut [Play], loader: &Loader, engine: &Engine, ui: &Ui,
) -> Result<()> {
    report(environment, configure::check_plays(environment, plays, loader, engine), ui)
}

fn report(environment: &Environment, found: Vec<Diagnostic>, ui: &Ui) -> Result<()> {
    let (errors, warnings): (Vec<Diagnostic>, Vec<Diagnostic>) =
        found.into_iter().partition(|diagnostic| diagnostic.severity == Severity::Error);
    ui.warnings(&warnings);
    if errors.is_empty() { Ok(()) } else { Err(config::mistakes(&environment.folder.join("config.yaml"), errors)) }
}

/// Asks the provider for what is to be made: quotas, names that are taken, room. What a plan keeps needs nothing more.
pub(super) async fn account(session: &Session, plan: &Plan) -> Result<()> {
    let made = plan.changes.iter().filter(|change| change.action == Action::Create);
    let wanted: Vec<Resource> = made.filter_map(|change| change.after.clone()).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let findings = session.provider.diagnose(&plan.owner(), &wanted).await;
    let missing: Vec<_> = findings.iter().filter(|finding| finding.needed && !finding.ok).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let mut lines = String::new();
    for finding in &missing {
        lines += &format!("\n  {}: {}", finding.check, finding.detail);
    }
    let error =
        Error::new(format!("{} lacks what this plan needs; nothing was changed{lines}", session.provider.name()));
    let mends = missing.iter().map(|finding| finding.mend.clone()).filter(|mend| !mend.is_empty());
    Err(mends.fold(error, Error::hint))
}
