//! What is checked before the first write: everything that is wrong is said at once, and nothing has been begun then.

use super::Site;
use crate::{
    config::{self, Environment},
    configure,
    error::{Diagnostic, Error, Location, Result, Severity},
    plan::{Action, Change, Plan},
    provider::Finding,
    resource::Resource,
    state::{Keys, Vault},
    yaml::Mark,
};

/// The mistakes as one error, together with the warnings; the warnings when there are no mistakes.
pub(super) fn refuse(environment: &Environment, found: Vec<Diagnostic>) -> Result<Vec<Diagnostic>> {
    if found.iter().all(|diagnostic| diagnostic.severity != Severity::Error) {
        return Ok(found);
    }
    Err(config::mistakes(&environment.folder.join("config.yaml"), found))
}

/// What is wrong with what the file needs of this machine: the values of its secrets, and the keys of its state. `severity` is
/// that of what may be there where an apply runs.
#[must_use]
pub fn surroundings(environment: &Environment, severity: Severity) -> Vec<Diagnostic> {
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

/// The fields that name something of the account, which a change may name too, or whose change the account may refuse.
const NAMING: &[&str] = &[
    "cidr",
    "cidrs",
    "class",
    "cores",
    "disk_type",
    "image",
    "machine",
    "memory_mb",
    "more_cidrs",
    "roles",
    "version",
    "zone",
    "zones",
];

/// Asks the provider for what a plan needs: quotas, names that are taken, room, and what its resources name. What a plan keeps
/// needs nothing more.
pub(super) async fn account(site: &Site, plan: &Plan) -> Result<()> {
    let names = |change: &&Change| change.fields().iter().any(|(field, ..)| NAMING.contains(&field.as_str()));
    let after = |change: &Change| change.after.clone();
    let of = |action: Action| plan.changes.iter().filter(move |change| change.action == action);
    let created: Vec<Resource> = of(Action::Create).filter_map(after).collect();
    let changed = of(Action::Replace).chain(of(Action::Update)).filter(names);
    let changed: Vec<Resource> = changed.filter_map(after).collect();
    if created.is_empty() && changed.is_empty() {
        return Ok(());
    }
    let findings = site.provider.diagnose(&plan.owner(), &created, &changed).await;
    let missing = findings.iter().filter(|finding| finding.needed && !finding.ok);
    let mut missing: Vec<Diagnostic> = missing.flat_map(|finding| mistakes(&site.environment, finding)).collect();
    missing.sort_by(|a, b| (&a.location, &a.message).cmp(&(&b.location, &b.message)));
    missing.dedup();
    if missing.is_empty() {
        return Ok(());
    }
    let summary = format!("{} lacks what this plan needs; nothing was changed", site.provider.name());
    // Nothing is wrong with the command: the same file may be applied in another account.
    Err(Error::from_diagnostics(summary, missing).begun())
}

/// What an account does not have, at each place that asks for it.
fn mistakes(environment: &Environment, finding: &Finding) -> Vec<Diagnostic> {
    let hint = Some(finding.hint.clone()).filter(|hint| !hint.is_empty());
    let mistake = |location: Option<Location>| Diagnostic {
        hint: hint.clone(),
        ..Diagnostic::error(location, format!("{}: {}", finding.check, finding.detail))
    };
    let asked = finding.asked.as_ref();
    let places = asked.map(|asked| environment.places_of(&asked.sections, &asked.value)).unwrap_or_default();
    if places.is_empty() { vec![mistake(None)] } else { places.into_iter().map(|place| mistake(Some(place))).collect() }
}
