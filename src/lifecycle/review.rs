//! The plan of a command, complete: what is printed, asked about, saved to a file and carried out is one value that nothing
//! changes afterwards.

use std::{collections::BTreeMap, path::PathBuf};

use sha2::{Digest, Sha256};

use super::{Playbooks, Site};
use crate::{
    config::Environment,
    configure, encoding,
    error::{Error, Result},
    files,
    name::Name,
    plan::{self, Action, Change, Configure, DataPolicy, Known, Plan, Selection},
    provider::Object,
    resource::{Address, Terms},
    state::State,
};

/// What a plan is for.
pub enum Goal<'a> {
    /// What the file asks for, configured by these playbooks.
    Present(&'a Playbooks),
    /// Nothing: everything is removed.
    Absent,
}

/// How far a plan goes.
#[derive(Clone, Debug, Default)]
pub struct PlanOptions {
    /// The part of the environment that is meant.
    pub selection: Selection,
    /// Whether data may be lost.
    pub allow_data_loss: bool,
}

impl Site {
    /// The plan from what exists to what is wanted, under these terms.
    ///
    /// # Errors
    /// When the file asks for what cannot be done to what exists, or the secrets cannot be decrypted.
    pub(super) fn plan(
        &self, goal: &Goal<'_>, observed: &[Object], terms: Terms, options: &PlanOptions,
    ) -> Result<Plan> {
        let pending = self.state.as_ref().map(|state| state.pending.clone()).unwrap_or_default();
        let known = Known { state: self.state.as_ref(), pending: &pending, observed, policy: self.provider.policy() };
        let select = |changes| options.selection.of(changes, self.state.as_ref(), known.policy);
        let plan = self.empty_plan(terms);
        match goal {
            Goal::Absent => {
                let mut changes = select(plan::diff(&[], known)?)?;
                self.complete_data(&mut changes);
                for change in changes.iter_mut().filter(|change| change.action == Action::Delete) {
                    "the environment is destroyed".clone_into(&mut change.reason);
                }
                let warnings = plan::warnings(&changes, observed, self.state.as_ref(), false);
                let digest = digest(&self.environment).unwrap_or_default();
                let data = DataPolicy::of_removal(options.allow_data_loss);
                Ok(Plan { digest, changes, data, warnings, ..plan })
            }
            Goal::Present(playbooks) => {
                self.state.iter().try_for_each(State::check_decrypted)?;
                let changes = select(plan::diff(&self.resources(), known)?)?;
                let configure = self.configured_by(playbooks, &options.selection);
                let data = DataPolicy::of_apply(options.allow_data_loss);
                let digest = digest(&self.environment)?;
                let has_playbooks = !self.environment.playbooks.is_empty();
                let mut warnings = plan::warnings(&changes, observed, self.state.as_ref(), has_playbooks);
                warnings.extend(self.other_bastion());
                let mut plan = Plan { digest, changes, configure, data, warnings, ..plan };
                plan.add_secrets(configure::review_secrets(&self.environment, &self.vault).0, &self.vault);
                Ok(plan)
            }
        }
    }

    /// A plan that does nothing.
    pub(super) fn empty_plan(&self, terms: Terms) -> Plan {
        Plan {
            version: plan::VERSION,
            environment: self.environment.name.clone(),
            labelled: self.label(),
            project: self.owner().project,
            terms,
            serial: self.state.as_ref().map_or(0, |state| state.serial),
            digest: String::new(),
            changes: Vec::new(),
            secrets: Vec::new(),
            configure: Configure::default(),
            data: DataPolicy::default(),
            warnings: Vec::new(),
        }
    }

    /// Which machines are configured, and by which playbooks. Machines that a part leaves out cannot be configured, and the
    /// others may need them.
    fn configured_by(&self, playbooks: &Playbooks, selection: &Selection) -> Configure {
        let names: Vec<String> = self.environment.playbooks.iter().map(|(name, _)| name.clone()).collect();
        if names.is_empty() || selection.is_partial() {
            return Configure::default();
        }
        let reached = configure::reached(&self.environment, &playbooks.plays);
        let hosts = self.environment.hosts.keys().filter(|host| reached.contains(host.as_str()));
        Configure { hosts: hosts.cloned().collect(), playbooks: names }
    }

    /// Adds what the provider chooses for what is created.
    ///
    /// # Errors
    /// When the provider does not answer.
    pub(super) async fn choose(&self, plan: &mut Plan) -> Result<()> {
        let created = plan.changes.iter().filter(|change| matches!(change.action, Action::Create | Action::Replace));
        let wanted: Vec<_> =
            created.filter_map(|change| Some((change.after.as_ref()?, change.object.as_ref()))).collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let mut chosen = self.provider.choose(&plan.owner(), &wanted).await?;
        for change in &mut plan.changes {
            let Some(fields) = chosen.remove(&change.address) else { continue };
            for (field, value) in &fields {
                let wanted = change.after.as_ref().and_then(|resource| resource.spec.get(field));
                if let Some(wanted) = wanted.filter(|wanted| *wanted != value) {
                    let [wanted, value] = [wanted, value].map(crate::template::text_of);
                    change.reason += &format!("; `{field}` will be {value}, because {wanted} is in use");
                }
            }
            change.chosen = fields;
        }
        Ok(())
    }

    /// Says when another machine becomes the way in than that of the last apply.
    fn other_bastion(&self) -> Option<String> {
        let state = self.state.as_ref()?;
        let environment = &self.environment;
        let spec = |name: &Name| state.resources.get(&Address::vm(name)).map(|entry| &entry.spec);
        // What the state does not know is as the file has it.
        let was_public = |name: &Name| match spec(name) {
            Some(spec) => spec.get("public").and_then(serde_json::Value::as_bool).unwrap_or(false),
            None => environment.hosts.get(name).is_some_and(|host| host.public),
        };
        let former = environment.bastion_among(was_public).filter(|name| spec(name).is_some())?;
        let why = if environment.hosts[former].public { "" } else { ", which no longer has a public address" };
        match environment.bastion() {
            Some(now) if now == former => None,
            Some(now) => Some(format!("the bastion will be `{now}` instead of `{former}`{why}")),
            None => Some(format!("nothing will lead to the machines: the bastion was `{former}`{why}")),
        }
    }

    /// Adds what the file keeps on machines that are to go: states of earlier versions did not write that down.
    fn complete_data(&self, changes: &mut [Change]) {
        let kept: BTreeMap<Address, Vec<String>> =
            self.resources().into_iter().map(|resource| (resource.address, resource.data)).collect();
        for change in changes.iter_mut().filter(|change| change.data.is_empty()) {
            change.data = kept.get(&change.address).cloned().unwrap_or_default();
        }
    }

    /// What a command on this environment would do, without a lock and without changing anything: for `infra plan`. Where
    /// `refresh` is false the state is believed, and the provider need not answer.
    ///
    /// # Errors
    /// When the provider does not answer, or the file asks for what cannot be done to what exists.
    pub async fn preview(&mut self, goal: &Goal<'_>, options: &PlanOptions, refresh: bool) -> Result<Preview> {
        let observed = if refresh { self.observe().await? } else { self.remembered() };
        let mut plan = self.plan(goal, &observed, self.terms(&observed, None)?, options)?;
        match self.choose(&mut plan).await {
            Err(error) if refresh => return Err(error),
            _ => {}
        }
        let check = || {
            self.check_not_all_gone(&observed, false)?;
            match goal {
                Goal::Absent => self.check_known(&plan),
                Goal::Present(_) => self.check_not_unknown(&plan, false),
            }
        };
        let refusal = if refresh { check().err() } else { None };
        Ok(Preview { plan, refusal })
    }
}

/// A plan that was made to be looked at.
pub struct Preview {
    /// The plan.
    pub plan: Plan,
    /// Why the command would be refused as things are.
    pub refusal: Option<Error>,
}

/// A digest of the files of an environment and of its playbooks.
///
/// # Errors
/// When one of them cannot be read.
pub(super) fn digest(environment: &Environment) -> Result<String> {
    let mut hash = Sha256::new();
    let mut folders: Vec<PathBuf> = vec![environment.folder.clone()];
    folders.extend(["playbooks", "templates"].map(|name| environment.project.join(name)));
    for folder in folders.iter().filter(|folder| folder.is_dir()) {
        for file in files::walk(folder)? {
            hash.update(file.to_string_lossy().as_bytes());
            hash.update(files::read(&folder.join(&file))?);
        }
    }
    hash.update(format!("{:?}", environment.extra_vars));
    let specs: Vec<_> = environment.resources.iter().map(|resource| &resource.spec).collect();
    hash.update(serde_json::to_string(&specs)?);
    Ok(encoding::hex(&hash.finalize()[..16]))
}
