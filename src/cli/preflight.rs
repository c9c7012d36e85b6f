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
    state::{Keys, Vault},
    template::Engine,
    ui::Ui,
    yaml::Mark,
};

/// Reads the playbooks and asks the provider about the file: the mistakes of both, and those that are known already, are one
/// error, warnings are printed.
pub(super) fn files(
    environment: &Environment, provider: Option<&dyn Provider>, loader: &Loader, engine: &Engine,
    known: Vec<Diagnostic>, ui: &Ui,
) -> Result<Vec<Play>> {
    let mut found = known;
    found.extend(provider.map(|provider| provider.check(environment)).unwrap_or_default());
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

/// What is wrong with what the file needs of this machine: the values of its secrets, and the keys of its state. `severity` is
/// that of what may be there where an apply runs.
pub(super) fn surroundings(environment: &Environment, severity: Severity) -> Vec<Diagnostic> {
    let (_, mut found) = configure::review_secrets(environment, &Vault::default());
    for mistake in &mut found {
        mistake.severity = severity;
    }
    for (key, error) in Keys::of(environment).mistakes() {
        let place = environment.state_marks.get(&key).map(Mark::location);
        let mut mistake = Diagnostic::error(place, error.to_string());
        mistake.hint = error.hints().first().cloned();
        if key == "key_file" {
            mistake.severity = severity;
        }
        found.push(mistake);
    }
    found
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
