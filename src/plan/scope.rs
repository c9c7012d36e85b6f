//! Where a command works: the project, the provider and the account; and whether a state belongs there. What a path, a name or
//! an empty list says never decides whose object something is.

use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::{
    error::{Error, Result},
    name::Name,
    project::{self, ProjectId},
    provider::{Object, Owner},
    state::State,
};

/// The project, the provider and the account that a command works with.
#[derive(Clone, Debug)]
pub struct Scope {
    /// The folder of the project.
    pub folder: PathBuf,
    /// The id of the project; none before the first command that changes something.
    pub project: Option<ProjectId>,
    /// What an earlier version wrote into the project label of objects of a project in this folder.
    pub path_label: String,
    /// The provider.
    pub provider: &'static str,
    /// Where the provider works, as its settings say.
    pub place: String,
}

/// Whether a state belongs to the project of this folder and id.
///
/// # Errors
/// When it belongs to another one, or the folder does not say which project it is.
pub fn check_project(folder: &Path, ours: Option<&ProjectId>, state: &State) -> Result<()> {
    let Some(theirs) = &state.project else { return Ok(()) };
    let file = project::file(folder);
    let (name, file) = (&state.environment, file.display());
    let elsewhere = "if this is another project, keep its states elsewhere: another `prefix` under `state: s3:` in its files, \
                         another table, or another bucket";
    match ours {
            Some(ours) if ours == theirs => Ok(()),
            Some(ours) => Err(Error::usage(format!(
                "the state of `{name}` belongs to the project `{theirs}`, and this is the project `{ours}`; nothing was changed"
            ))
            .hint(format!("if they are one project, the one line of `{file}` must be `{theirs}`"))
            .hint(elsewhere)),
            None => Err(Error::usage(format!(
                "the state of `{name}` belongs to the project `{theirs}`, and this folder has no `{}`; nothing was changed",
                project::FILE
            ))
            .hint(format!("if this is that project, write this line into `{file}` and commit it: {theirs}"))
            .hint(elsewhere)),
        }
}

impl Scope {
    /// Whether a state belongs to this project.
    ///
    /// # Errors
    /// As [`check_project`].
    pub fn check_project(&self, state: &State) -> Result<()> {
        check_project(&self.folder, self.project.as_ref(), state)
    }

    /// Whether the objects of a state are at this provider and, once it has said who it is, in this account.
    ///
    /// # Errors
    /// When they are elsewhere.
    pub fn check_account(&self, state: &State, account: Option<&str>) -> Result<()> {
        let id = account.map(|account| format!("{account}, ")).unwrap_or_default();
        let here = format!("{} ({id}{})", self.provider, self.place);
        let there = match &state.account {
            _ if state.provider != self.provider => {
                state.account.as_ref().map_or_else(|| state.provider.clone(), |id| format!("{} ({id})", state.provider))
            }
            Some(known) if account.is_some_and(|account| account != known) => format!("{} ({known})", state.provider),
            _ => return Ok(()),
        };
        let name = &state.environment;
        Err(Error::usage(format!("`{name}` is in {there}, and this command would work in {here}; nothing was changed"))
            .hint(format!(
                "to move it, destroy it where it is first: put the old settings back and run `infra destroy {name}`"
            ))
            .hint("check `provider` and its settings in the file, and variables such as DOCKER_HOST and AWS_PROFILE")
            .hint(format!("if the other account is gone for good, `infra state rm {name}` forgets what was there")))
    }

    /// What the project label of an environment's objects says, where that is not the project's id: objects that an earlier
    /// version made keep their labels for as long as they exist.
    #[must_use]
    pub fn kept_label(&self, state: Option<&State>, labelled: &[Object]) -> Option<String> {
        let ours = |label: &str| self.project.as_ref().is_some_and(|id| id.as_str() == label);
        let known = |state: &State, object: &Object| state.known(object.address.kind, &object.id).is_some();
        let by_path =
            || labelled.iter().any(|object| object.project == self.path_label).then(|| self.path_label.clone());
        match state {
            Some(state) if state.project.is_some() => state.project_label.clone(),
            // The path may have been another one: the objects that the state knows have it.
            Some(state) => match labelled.iter().find(|object| known(state, object)) {
                Some(object) => Some(object.project.clone()).filter(|label| !ours(label)),
                None => by_path(),
            },
            None if labelled.iter().any(|object| ours(&object.project)) => None,
            None => by_path(),
        }
    }

    /// Whose the objects of an environment are, given what their project label keeps.
    #[must_use]
    pub fn owner(&self, environment: &Name, kept_label: Option<&str>) -> Owner {
        let project = kept_label.or(self.project.as_ref().map(ProjectId::as_str)).unwrap_or(&self.path_label);
        Owner { environment: environment.clone(), project: project.to_owned() }
    }

    /// Refuses to believe that everything is gone: a list may come from another account, or from credentials that see little.
    /// Objects that carry the labels and that the state does not know prove nothing about those that it knows. Only what this
    /// environment's own removals have begun to remove may be gone.
    ///
    /// # Errors
    /// When the state knows objects, and none of them exists.
    pub fn check_not_all_gone(&self, state: Option<&State>, observed: &[Object], now: Timestamp) -> Result<()> {
        let Some(state) = state else { return Ok(()) };
        let known = state.resources.keys().filter(|address| !state.removing.contains(*address)).count();
        let is_known = |object: &Object| {
            state.known(object.address.kind, &object.id).is_some()
                // An interrupted command created it.
                || state.pending.values().any(|intent| intent.token == object.token)
        };
        if known == 0 || observed.iter().any(is_known) {
            return Ok(());
        }
        let others: Vec<String> = observed.iter().map(|object| format!("`{}`", object.address)).collect();
        let others = match others.len() {
            0 => String::new(),
            _ => format!(", only {}, which the state does not know", others.join(", ")),
        };
        let (name, account) =
            (&state.environment, state.account.as_deref().unwrap_or("an account that is not recorded"));
        let error = Error::usage(format!(
            "the state of `{name}` knows {known} objects in {} ({account}), and none of them exists in {}{others}; nothing was changed",
            state.provider, self.place
        ))
        .hint("if this is not the account that they were created in, use the right one");
        Err(match state.terms.expires.filter(|expires| *expires <= now) {
            Some(_) => error.hint("it has expired: if `infra gc` removed them from elsewhere, `--forget` goes on"),
            None => error.hint("if they were removed without infra, `--forget` goes on"),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::Map;

    use super::Scope;
    use crate::{
        clock::Clock,
        provider::Object,
        resource::Terms,
        state::{Entry, Intent, State},
    };

    const PATH: &str = "/home/ann/shop";

    fn site(project: Option<&str>) -> Scope {
        Scope {
            folder: PATH.into(),
            project: project.map(|id| id.parse().unwrap()),
            path_label: PATH.into(),
            provider: "docker",
            place: "unix:///var/run/docker.sock".into(),
        }
    }

    fn object(id: &str, project: &str) -> Object {
        Object { project: project.into(), ..Object::sample("subnet.a", id) }
    }

    fn state(project: Option<&str>) -> State {
        let entry = Entry {
            id: "1".into(),
            token: String::new(),
            spec: Map::new(),
            needs: Vec::new(),
            attributes: Map::new(),
            created: Clock::System.now(),
            data: Vec::new(),
        };
        State {
            project: project.map(|id| id.parse().unwrap()),
            provider: "docker".into(),
            resources: BTreeMap::from([("subnet.a".parse().unwrap(), entry)]),
            ..State::of_name("dev".parse().unwrap())
        }
    }

    #[test]
    fn a_state_of_another_project_is_refused_with_both_named() {
        let theirs = state(Some("shop-k3x9q2ab"));
        site(Some("shop-k3x9q2ab")).check_project(&theirs).unwrap();
        site(None).check_project(&state(None)).unwrap();
        site(Some("shop-k3x9q2ac")).check_project(&state(None)).unwrap();
        let other = site(Some("blog-aaaaaaaa")).check_project(&theirs).unwrap_err();
        assert!(other.to_string().contains("the project `shop-k3x9q2ab`, and this is the project `blog-aaaaaaaa`"));
        let none = site(None).check_project(&theirs).unwrap_err();
        assert!(none.to_string().contains("has no `.infra-project`"), "{none}");
        assert!(none.hints()[0].ends_with("and commit it: shop-k3x9q2ab"), "{:?}", none.hints());
    }

    #[test]
    fn a_state_of_another_account_is_refused_with_both_named() {
        let known = State { account: Some("engine A".into()), ..state(None) };
        site(None).check_account(&known, Some("engine A")).unwrap();
        site(None).check_account(&known, None).unwrap();
        site(None).check_account(&state(None), Some("engine B")).unwrap();
        let other = site(None).check_account(&known, Some("engine B")).unwrap_err().to_string();
        assert!(other.contains("docker (engine A)") && other.contains("docker (engine B, unix:///"), "{other}");
        let cloud = State { provider: "aws".into(), ..state(None) };
        let other = site(None).check_account(&cloud, None).unwrap_err().to_string();
        assert!(other.contains("`dev` is in aws, and"), "{other}");
        let moved = site(None).check_account(&known, Some("engine B")).unwrap_err();
        assert!(moved.hints()[0].starts_with("to move it, destroy it where it is first"), "{:?}", moved.hints());
    }

    #[test]
    fn objects_of_earlier_versions_keep_their_label_and_others_are_no_business_of_ours() {
        let (ours, theirs) = ("shop-k3x9q2ab", "shop-k3x9q2ac");
        let kept =
            |project: Option<&str>, state: Option<&State>, objects: &[Object]| site(project).kept_label(state, objects);
        let path = Some(PATH.to_owned());
        // Nothing was ever made: another project's environment of the name is not seen.
        assert_eq!(kept(Some(ours), None, &[object("1", theirs), object("2", "/elsewhere")]), None);
        // Without a state, what an earlier version made at this path is ours, but for a project that has objects by its id.
        assert_eq!(kept(None, None, &[object("1", PATH)]), path);
        assert_eq!(kept(Some(ours), None, &[object("1", PATH)]), path);
        assert_eq!(kept(Some(ours), None, &[object("1", PATH), object("2", ours)]), None);
        // A state of an earlier version: the objects that it knows say which path it was.
        let old = state(None);
        let elsewhere = [object("7", PATH), object("1", "/ci/build")];
        assert_eq!(kept(Some(ours), Some(&old), &elsewhere), Some("/ci/build".to_owned()));
        assert_eq!(kept(None, Some(&old), &[object("7", PATH)]), path);
        // Later the state says it.
        let taken = State { project_label: Some("/ci/build".into()), ..state(Some(ours)) };
        assert_eq!(kept(Some(ours), Some(&taken), &[object("7", PATH)]), Some("/ci/build".to_owned()));
        assert_eq!(kept(Some(ours), Some(&state(Some(ours))), &[object("7", PATH)]), None);
        let name = "dev".parse().unwrap();
        assert_eq!(site(Some(ours)).owner(&name, None).project, ours);
        assert_eq!(site(Some(ours)).owner(&name, Some(PATH)).project, PATH);
        assert_eq!(site(None).owner(&name, None).project, PATH);
    }

    #[test]
    fn a_list_of_nothing_known_is_not_believed() {
        let (now, address) = (Clock::System.now(), "subnet.a".parse().unwrap());
        let gone = |state: &State, objects: &[Object]| site(None).check_not_all_gone(Some(state), objects, now);
        let known = State { account: Some("engine A".into()), ..state(None) };
        let said = gone(&known, &[]).unwrap_err().to_string();
        assert!(said.contains("knows 1 objects in docker (engine A), and none of them exists"), "{said}");
        gone(&known, &[object("1", PATH)]).unwrap();
        let said = gone(&known, &[object("2", PATH)]).unwrap_err().to_string();
        assert!(said.contains("only `subnet.a`, which the state does not know"), "{said}");
        gone(&known, &[object("2", PATH), object("1", PATH)]).unwrap();
        let begun = Intent { token: "t".into(), spec: Map::new(), needs: Vec::new() };
        let created = Object { token: "t".into(), ..object("2", PATH) };
        gone(&State { pending: [("subnet.a".parse().unwrap(), begun)].into(), ..known.clone() }, &[created]).unwrap();
        gone(&State { removing: [address].into(), ..known.clone() }, &[]).unwrap();
        let expired = Terms { expires: Some(now), ..Terms::default() };
        let asked = gone(&State { terms: expired, ..known }, &[]).unwrap_err();
        assert!(asked.hints()[1].contains("`infra gc`"), "{:?}", asked.hints());
        site(None).check_not_all_gone(None, &[], now).unwrap();
    }
}
