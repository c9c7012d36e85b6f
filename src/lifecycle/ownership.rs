//! Whose an environment is: which project and account a command works in, and that its state belongs there.

use super::{Site, stores};
use crate::{
    config,
    error::{Error, Result},
    event::Events,
    name::Name,
    plan::Plan,
    project,
    provider::{Object, Owner},
    state::{self, State},
};

/// How many objects an error names.
const NAMED: usize = 5;

impl Site {
    /// The name that the labels of the environment's objects have.
    #[must_use]
    pub fn label(&self) -> Name {
        self.state.as_ref().map_or(&self.environment.name, |state| state.label()).clone()
    }

    /// Whose the environment's objects are.
    #[must_use]
    pub fn owner(&self) -> Owner {
        self.ownership.scope.owner(&self.label(), self.ownership.kept_label.as_deref())
    }

    /// Asks which account the provider works in.
    ///
    /// # Errors
    /// When the state's objects are in another one.
    pub async fn reach(&mut self) -> Result<String> {
        let account = match &self.ownership.account {
            Some(account) => account.clone(),
            None => self.provider.account().await?,
        };
        self.in_account(account.clone())?;
        Ok(account)
    }

    fn in_account(&mut self, account: String) -> Result<()> {
        if let Some(state) = &self.state {
            self.ownership.scope.check_account(state, Some(&account))?;
        }
        self.ownership.account = Some(account);
        Ok(())
    }

    /// What exists of this environment. What another project has under its name is none of it.
    ///
    /// # Errors
    /// When the provider does not answer, works in another account than the state's objects are in, or what exists was taken
    /// over by another environment.
    pub async fn observe(&mut self) -> Result<Vec<Object>> {
        // Another provider need not be asked: its credentials may not even be at hand.
        if let Some(state) = &self.state {
            self.ownership.scope.check_account(state, None)?;
        }
        let label = self.label();
        let account = async {
            match &self.ownership.account {
                Some(account) => Ok(account.clone()),
                None => self.provider.account().await,
            }
        };
        let (account, mut objects) = tokio::try_join!(account, self.provider.labelled(Some(&label)))?;
        self.in_account(account)?;
        self.ownership.kept_label = self.ownership.scope.kept_label(self.state.as_ref(), &objects);
        let owner = self.owner();
        let others = objects.iter().filter(|object| !owner.owns(object));
        self.ownership.others = others.map(|object| object.project.clone()).collect();
        objects.retain(|object| owner.owns(object));
        for object in &mut objects {
            let known = self.state.as_ref().and_then(|state| state.known(object.address.kind, &object.id));
            if let Some((_, entry)) = known {
                self.provider.compare(&entry.spec, &entry.attributes, object);
            }
        }
        if self.state.is_none() && !objects.is_empty() {
            self.check_not_taken_over().await?;
        }
        Ok(objects)
    }

    /// Objects of a member of a pool keep its labels when another environment takes it over.
    async fn check_not_taken_over(&self) -> Result<()> {
        let name = &self.environment.name;
        let states = stores::stores(&self.environment.project).await?;
        let taker = states
            .iter()
            .map(|(_, state)| state)
            .find(|state| state.labelled.as_ref() == Some(name) && state.project == self.ownership.scope.project);
        let Some(taker) = taker else { return Ok(()) };
        let taker = &taker.environment;
        Err(Error::usage(format!(
            "`{name}` was a member of a pool, and `{taker}` has taken it over: what is labelled `{name}` belongs to `{taker}`; \
             nothing was changed"
        ))
        .hint(format!("use its new name: `infra destroy {taker}`")))
    }

    /// What another project has under the environment's name, as a sentence; nothing when there is none.
    #[must_use]
    pub fn namesakes(&self) -> Option<String> {
        let others: Vec<String> = self.ownership.others.iter().map(|project| format!("`{project}`")).collect();
        let here = self.ownership.scope.project.as_ref().map_or_else(
            || format!("this folder has no `{}`: if it is that project, write its id into that file", project::FILE),
            |id| format!("this is the project `{id}`"),
        );
        let name = &self.environment.name;
        (!others.is_empty())
            .then(|| format!("there is a `{name}` of the project {}, and {here}", others.join(" and of the project ")))
    }

    /// Refuses to believe that everything is gone, unless the user says so.
    ///
    /// # Errors
    /// When the state knows objects, and none of them exists.
    pub fn check_not_all_gone(&self, observed: &[Object], forget: bool) -> Result<()> {
        if forget {
            return Ok(());
        }
        self.ownership.scope.check_not_all_gone(self.state.as_ref(), observed, self.clock.now())
    }

    /// Refuses to remove what another checkout may work with: it exists, and no state here knows it.
    ///
    /// # Errors
    /// When there is no state, and the plan replaces or deletes something; unless the user says that the state is lost.
    pub fn check_not_unknown(&self, plan: &Plan, forget: bool) -> Result<()> {
        if forget || self.state.is_some() || !plan.changes.iter().any(|change| change.action.removes()) {
            return Ok(());
        }
        Err(self
            .unknown(plan)
            .hint("to work on it from several places, share its state: `state: {s3: ...}`, and `infra state mv-backend` where it is")
        .hint("to have an environment of your own, give it another name: `--name NAME`")
        .hint("if its state is lost for good, `--forget` recreates what cannot be taken over without it"))
    }

    /// Refuses to destroy what another checkout may work with.
    ///
    /// # Errors
    /// When there is no state, and something exists.
    pub fn check_known(&self, plan: &Plan) -> Result<()> {
        if self.state.is_some() || plan.changes.iter().all(|change| change.object.is_none()) {
            return Ok(());
        }
        let name = &plan.environment;
        Err(self
            .unknown(plan)
            .hint(format!("run `infra destroy {name}` in the checkout that applied it, or share its state: `state: {{s3: ...}}`"))
            .hint(format!(
                "if its state is lost for good, `infra destroy {name} --by-label` removes everything that carries its labels"
            )))
    }

    /// The error that objects exist which no state here knows.
    fn unknown(&self, plan: &Plan) -> Error {
        let existing = plan.changes.iter().filter(|change| change.object.is_some());
        let existing: Vec<String> = existing.map(|change| change.address.to_string()).collect();
        let named = existing[..existing.len().min(NAMED)].join(", ");
        let more = if existing.len() > NAMED { ", ..." } else { "" };
        let (name, place, count) = (&plan.environment, self.store.backend().place(), existing.len());
        Error::usage(format!(
            "`{name}` exists already ({count} objects: {named}{more}), and there is no state of it in {place}; nothing was changed"
        ))
    }

    /// Warnings of environments of this project whose folder is gone, when this one is new: it may have been renamed. States
    /// that cannot be read are the concern of other commands.
    pub async fn orphans(&self) -> Vec<String> {
        if self.state.is_some() {
            return Vec::new();
        }
        let stores = stores::stores(&self.environment.project).await.unwrap_or_default();
        let gone = stores.iter().map(|(_, state)| state).filter(|state| {
            let here = self.environment.project.join("envs").join(&state.terms.template);
            !state.resources.is_empty() && state.pool.is_none() && !state.folder.is_dir() && !here.is_dir()
        });
        let name = &self.environment.name;
        let warning = |state: &State| {
            let (old, folder) = (&state.environment, state.folder.display());
            format!(
                "`{old}` exists and the folder that it was made from is gone (`{folder}`); `{name}` is another environment \
                 beside it. If you renamed the folder, `infra destroy {name} --name {old}` removes the old one"
            )
        };
        gone.map(warning).collect()
    }

    /// Called when something is about to be changed: the project gets its id if it has none yet, and what an earlier version
    /// made is taken over.
    ///
    /// # Errors
    /// When the file with the id cannot be written, or the id would be another one than the project's elsewhere.
    pub(super) async fn establish(&mut self, events: &Events) -> Result<()> {
        if self.ownership.scope.project.is_none() {
            self.check_may_make_id(events).await?;
        }
        let scope = &mut self.ownership.scope;
        let id = match &scope.project {
            Some(id) => id.clone(),
            None => {
                let (id, made) = project::read_or_make(&scope.folder)?;
                if made {
                    events.note(format!(
                        "`{}` was created: this project is `{id}`. Commit that file, so that colleagues and pipelines work on the \
                         same environments",
                        project::FILE
                    ));
                }
                scope.project = Some(id.clone());
                id
            }
        };
        let (name, kept) = (&self.environment.name, &self.ownership.kept_label);
        let is_recorded = self.state.as_ref().is_some_and(|state| state.project.is_some());
        if !is_recorded && (self.state.is_some() || kept.is_some()) {
            let label = kept.as_ref().map(|kept| format!("; its objects keep the label `{kept}`")).unwrap_or_default();
            events.note(format!(
                "`{name}` was created by an earlier version of infra, which knew projects by their paths: it is taken over into the \
                 project `{id}`{label}"
            ));
        }
        if let Some(state) = &mut self.state {
            if !is_recorded {
                state.project = Some(id);
                state.project_label.clone_from(kept);
            }
            if state.account.is_none() {
                state.account.clone_from(&self.ownership.account);
            }
        }
        Ok(())
    }

    /// Whether an id that is made here is the project's: where states are shared, others may have made one, or must be able to
    /// learn it.
    async fn check_may_make_id(&self, events: &Events) -> Result<()> {
        let environment = &self.environment;
        if !environment.state.is_shared() {
            return Ok(());
        }
        let files = config::list(&environment.project);
        let (states, failures) = stores::states(&environment.project).await;
        for error in &failures {
            events.warn(error.to_string());
        }
        let same = states.iter().filter(|state| files.contains(&state.terms.template));
        same.into_iter().try_for_each(|state| self.ownership.scope.check_project(state))?;
        if state::is_pipeline() {
            return Err(Error::usage(format!(
                "this project has no `{}`, and an id that is made in a pipeline is lost with its checkout; nothing was changed",
                project::FILE
            ))
            .hint(format!("run one apply elsewhere and commit `{}`", project::FILE)));
        }
        Ok(())
    }

    /// A state that says whose the environment is.
    pub(super) fn owned(&self, state: State) -> State {
        State {
            provider: self.provider.name().to_owned(),
            project: self.ownership.scope.project.clone(),
            project_label: self.ownership.kept_label.clone(),
            account: self.ownership.account.clone(),
            ..state
        }
    }
}
