//! Whose objects are whose, which account they are in, and how long they live: the real program against engines in memory.

use std::{process::Stdio, sync::Arc};

use infra::{
    apply::sweep,
    config::StateSettings,
    event::Events,
    plan::{DataPolicy, Listed},
    provider::{Driver as _, Owner, Provider as _, Request, fake::Fake},
    resource::{Policy, Resource, Terms},
    state::{
        Backend, Expect, LocalBackend, State, Store, Tag,
        pool::{Member, Pool},
    },
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::support::{
    Printed, Sandbox,
    bucket::{self, Bucket},
    commands::{PROJECT, command, environment},
    stub_engine::StubEngine,
};

const FILE: &str = "network: {subnets: {a: {v4_cidr_blocks: [10.91.0.0/24]}, b: {v4_cidr_blocks: [10.92.0.0/24]}}}\n";

/// A project whose environment `dev` is two networks of an engine.
pub(crate) struct Project {
    pub(crate) sandbox: Sandbox,
}

impl Project {
    pub(crate) fn new(file: &str) -> Self {
        Self { sandbox: Sandbox::new().file("envs/dev/config.yaml", file) }
    }

    /// Runs the program with an engine; it may take the engine's other threads to answer.
    pub(crate) fn run(&self, engine: &StubEngine, arguments: &[&str], code: i32) -> Printed {
        tokio::task::block_in_place(|| {
            let mut command = self.sandbox.command(arguments);
            command.env("DOCKER_HOST", &engine.host).stdin(Stdio::null());
            self.sandbox.finish(command, arguments, code)
        })
    }

    pub(crate) fn state(&self, name: &str) -> Value {
        let text = std::fs::read_to_string(self.sandbox.path(&format!(".infra/{name}/state.json"))).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    pub(crate) fn edit_state(&self, name: &str, change: impl FnOnce(&mut Value)) {
        let mut state = self.state(name);
        change(&mut state);
        self.sandbox.write(&format!(".infra/{name}/state.json"), &state.to_string());
    }

    pub(crate) fn id(&self) -> String {
        infra::project::read(self.sandbox.folder.path()).unwrap().unwrap().to_string()
    }

    pub(crate) fn rename(&self, from: &str, to: &str) {
        std::fs::rename(self.sandbox.path(from), self.sandbox.path(to)).unwrap();
    }

    /// Makes everything as an earlier version left it: labels with the path, names without the project, a state without
    /// either.
    fn make_old(&self, engine: &StubEngine) {
        let path = std::fs::canonicalize(self.sandbox.folder.path()).unwrap().display().to_string();
        engine.edit(|network| {
            network["Labels"]["infra-project"] = path.as_str().into();
            let name = format!("infra-dev-{}", network["Labels"]["infra-id"].as_str().unwrap().replace("subnet.", ""));
            network["Name"] = name.into();
        });
        self.edit_state("dev", |state| {
            for field in ["project", "account"] {
                state.as_object_mut().unwrap().remove(field);
            }
        });
        std::fs::remove_file(self.sandbox.path(".infra-project")).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ownership_two_projects_at_one_path_do_not_see_each_other() {
    let (engine, project) = (StubEngine::start("A").await, Project::new(FILE));
    let run = |arguments: &[&str], code: i32| project.run(&engine, arguments, code);
    // Commands that only read make no id.
    run(&["plan", "dev"], 0).silent();
    assert!(!project.sandbox.path(".infra-project").exists());
    let said = run(&["apply", "dev", "--yes"], 0).err;
    assert!(said.contains("`.infra-project` was created") && said.contains("Commit that file"), "{said}");
    assert!(!run(&["apply", "dev", "--yes"], 0).err.contains(".infra-project"), "it is said once");
    let text = std::fs::read_to_string(project.sandbox.path(".infra-project")).unwrap();
    assert!(text.starts_with("# The id of this project") && text.ends_with(&format!("\n{}\n", project.id())), "{text}");
    assert_eq!(
        (&project.state("dev")["project"], &project.state("dev")["account"]),
        (&json!(project.id()), &json!("engine A"))
    );

    // Another repository is checked out here: its `dev` is another one.
    project.rename(".infra-project", "first-project");
    project.rename(".infra", "first-state");
    let planned = run(&["plan", "dev"], 0).out;
    let said = run(&["destroy", "dev", "--yes"], 0).err;
    assert!(said.contains("`dev` does not exist") && said.contains("this folder has no `.infra-project`"), "{said}");
    assert_eq!(engine.names().len(), 2);
    assert!(planned.contains("+ subnet.a") && planned.contains("+ subnet.b") && !planned.contains("- "), "{planned}");
    run(&["apply", "dev", "--yes"], 0).silent();
    assert_eq!(engine.names().len(), 4, "both have a `dev`: {:?}", engine.names());
    let both: Vec<Value> = serde_json::from_str(&run(&["ls", "--json"], 0).out).unwrap();
    assert_eq!(both.iter().filter(|line| line["environment"] == "dev").count(), 2, "{both:?}");
    run(&["destroy", "dev", "--yes"], 0).silent();
    let names = engine.names();
    std::fs::rename(project.sandbox.path("first-project"), project.sandbox.path(".infra-project")).unwrap();
    assert!(names.len() == 2 && names.iter().all(|name| name.contains(&project.id())), "{names:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn ownership_one_project_at_two_paths_is_one() {
    let engine = StubEngine::start("A").await;
    let (here, there) = (Project::new(FILE), Project::new(FILE));
    here.run(&engine, &["apply", "dev", "--yes"], 0).silent();
    let state = std::fs::read_to_string(here.sandbox.path(".infra/dev/state.json")).unwrap();
    there.sandbox.write(".infra/dev/state.json", &state);

    // A state that another project may have left there is not adopted silently.
    let changes = engine.changes();
    for command in [&["plan", "dev"][..], &["apply", "dev", "--yes"], &["destroy", "dev", "--yes"], &["output", "dev"]]
    {
        let said = there.run(&engine, command, 2).err;
        assert!(said.contains(&format!("belongs to the project `{}`", here.id())), "{said}");
        assert!(
            said.contains("`$PROJECT/.infra-project` and commit it: ") && said.contains("has no `.infra-project`"),
            "{said}"
        );
    }
    there.sandbox.write(".infra-project", "other-k3x9q2ab\n");
    let said = there.run(&engine, &["apply", "dev", "--yes"], 2).err;
    assert!(said.contains(&here.id()) && said.contains("this is the project `other-k3x9q2ab`"), "{said}");
    assert_eq!(engine.changes(), changes);

    there.sandbox.write(".infra-project", &format!("{}\n", here.id()));
    assert!(there.run(&engine, &["plan", "dev"], 0).out.contains("resources: nothing to do"));
    there.run(&engine, &["destroy", "dev", "--yes"], 0).silent();
    assert_eq!(engine.names(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn ownership_another_account_is_refused_with_both_named() {
    let (engine, other) = (StubEngine::start("A").await, StubEngine::start("B").await);
    let project = Project::new(FILE);
    project.run(&engine, &["apply", "dev", "--yes"], 0).silent();
    let (state, changes) = (project.state("dev"), engine.changes());
    for command in [
        &["plan", "dev"][..],
        &["apply", "dev", "--yes"],
        &["destroy", "dev", "--yes"],
        &["destroy", "dev", "--yes", "--forget"],
        &["refresh", "dev"],
        &["extend", "dev", "2h"],
        &["import", "dev", "--scan"],
    ] {
        let said = project.run(&other, command, 2).err;
        assert!(said.contains("`dev` is in docker (engine A)") && said.contains("docker (engine B, http://"), "{said}");
    }
    let after = project.state("dev");
    assert_eq!((&after["resources"], &after["secrets"]), (&state["resources"], &state["secrets"]));
    assert_eq!((engine.changes(), other.changes()), (changes, 0));
    // Another provider is another account too, whatever its credentials would say.
    project.sandbox.write("envs/dev/config.yaml", &format!("provider: yandex\nfolder_id: b1g\n{FILE}"));
    let said = project.run(&engine, &["destroy", "dev", "--yes"], 2).err;
    assert!(!said.contains("is left") && project.state("dev")["resources"] == state["resources"], "{said}");
    // What only reads the state says so, too.
    for command in ["output", "inventory", "ssh-config"] {
        let said = project.run(&engine, &[command, "dev"], 2).err;
        assert!(said.contains("`dev` is in docker (engine A), and this command would work in yandex"), "{said}");
    }
    project.sandbox.write("envs/dev/config.yaml", FILE);
    project.run(&engine, &["destroy", "dev", "--yes"], 0).silent();
    assert_eq!(engine.names(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn ownership_an_empty_list_forgets_nothing() {
    let (engine, project) = (StubEngine::start("A").await, Project::new(FILE));
    let run = |arguments: &[&str], code: i32| project.run(&engine, arguments, code);
    run(&["apply", "dev", "--yes"], 0).silent();
    engine.lose_everything();
    for (recorded, command) in [true, false].into_iter().flat_map(|recorded| {
        [&["destroy", "dev", "--yes"][..], &["apply", "dev", "--yes"], &["refresh", "dev"]]
            .map(|command| (recorded, command))
    }) {
        // Also where an earlier version did not write down the account.
        project.edit_state("dev", |state| {
            let fields = state.as_object_mut().unwrap();
            let account = recorded.then(|| ("account".to_owned(), json!("engine A")));
            fields.remove("account");
            fields.extend(account);
        });
        let said = run(command, 2).err;
        assert!(said.contains("knows 2 objects in docker") && said.contains("none of them exists"), "{said}");
        assert!(said.contains("--forget"), "{said}");
        let state = project.state("dev");
        assert_eq!(state["resources"].as_object().unwrap().len(), 2);
    }
    assert_eq!(engine.names(), Vec::<String>::new());
    // Whoever knows better says so: it is created again, or forgotten.
    let said = run(&["apply", "dev", "--yes", "--forget"], 0).err;
    assert!(said.contains("2 created"), "{said}");
    engine.lose_everything();
    let said = run(&["destroy", "dev", "--yes", "--forget"], 0).err;
    assert!(said.contains("nothing of `dev` is left"), "{said}");
    assert!(!project.sandbox.path(".infra/dev/state.json").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn ownership_a_destroy_that_was_killed_at_its_end_is_gone_on_from() {
    let (engine, project) = (StubEngine::start("A").await, Project::new(FILE));
    project.run(&engine, &["apply", "dev", "--yes"], 0).silent();
    engine.lose_everything();
    project.edit_state("dev", |state| state["removing"] = json!(["subnet.a", "subnet.b"]));
    project.run(&engine, &["destroy", "dev", "--yes"], 0).silent();
    assert!(!project.sandbox.path(".infra/dev/state.json").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn ownership_what_an_earlier_version_made_is_taken_over_and_nothing_is_replaced() {
    let (engine, project) = (StubEngine::start("A").await, Project::new(FILE));
    let run = |arguments: &[&str], code: i32| project.run(&engine, arguments, code);
    run(&["apply", "dev", "--yes"], 0).silent();
    project.make_old(&engine);
    assert!(run(&["plan", "dev"], 0).out.contains("resources: nothing to do"));
    let three = FILE.replace("}}}", "}, c: {v4_cidr_blocks: [10.93.0.0/24]}}}");
    project.sandbox.write("envs/dev/config.yaml", &three);
    let said = run(&["apply", "dev", "--yes"], 0).err;
    assert!(
        said.contains("was created by an earlier version of infra") && said.contains("it is taken over into"),
        "{said}"
    );
    assert!(said.contains("1 created, 0 changed, 0 destroyed"), "{said}");
    let said = run(&["apply", "dev", "--yes"], 0).err;
    assert!(!said.contains("earlier version") && said.contains("0 created, 0 changed, 0 destroyed"), "{said}");
    // What is added stays with the rest, by its label and by its name.
    let path = std::fs::canonicalize(project.sandbox.folder.path()).unwrap().display().to_string();
    assert!(engine.labels("infra-project").iter().all(|label| *label == path));
    assert_eq!(engine.names(), ["infra-dev-a", "infra-dev-b", "infra-dev-c"]);
    let state = project.state("dev");
    assert_eq!((&state["project"], &state["project_label"]), (&json!(project.id()), &json!(path)));

    // The state says it at any other path too; another project with an `dev` of its own does not matter.
    let elsewhere = Project::new(&three);
    elsewhere.sandbox.write(".infra/dev/state.json", &state.to_string());
    elsewhere.sandbox.write(".infra-project", &project.id());
    assert!(elsewhere.run(&engine, &["plan", "dev"], 0).out.contains("resources: nothing to do"));

    // Without a state they are ours at this path, and nothing of them is lost.
    std::fs::remove_dir_all(project.sandbox.path(".infra")).unwrap();
    let said = run(&["apply", "dev", "--yes"], 0).err;
    assert!(said.contains("0 created, 0 changed, 0 destroyed") && said.contains("earlier version"), "{said}");
    run(&["destroy", "dev", "--yes"], 0).silent();
    assert_eq!(engine.names(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn ownership_protection_is_that_of_file_state_and_labels() {
    let (engine, project) = (StubEngine::start("A").await, Project::new(&format!("protect: true\n{FILE}")));
    let run = |arguments: &[&str], code: i32| project.run(&engine, arguments, code);
    run(&["apply", "dev", "--yes"], 0).silent();
    assert!(run(&["destroy", "dev", "--yes"], 2).err.contains("is protected by its file"));
    // An older branch.
    project.sandbox.write("envs/dev/config.yaml", FILE);
    let said = run(&["destroy", "dev", "--yes"], 2).err;
    assert!(said.contains("is protected by its state") && said.contains("--force-protected dev"), "{said}");
    project.rename(".infra/dev", "put-aside");
    assert!(run(&["destroy", "dev", "--yes"], 2).err.contains("is protected by the labels of its objects"));
    std::fs::remove_dir_all(project.sandbox.path(".infra/dev")).unwrap();
    project.rename("put-aside", ".infra/dev");
    assert_eq!(engine.names().len(), 2);
    // An apply of the file without it lifts it, from the state and from the labels.
    run(&["apply", "dev", "--yes"], 0).silent();
    run(&["destroy", "dev", "--yes"], 0).silent();
    assert_eq!(engine.names(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn ownership_time_is_given_and_never_taken_by_accident() {
    let (engine, project) = (StubEngine::start("A").await, Project::new(FILE));
    let run = |arguments: &[&str], code: i32| project.run(&engine, arguments, code);
    let left = || -> Value {
        let all: Vec<Value> = serde_json::from_str(&run(&["ls", "--json"], 0).out).unwrap();
        all.iter().find(|line| line["environment"] == "dev").unwrap()["seconds_left"].clone()
    };
    run(&["apply", "dev", "--yes"], 0).silent();
    let endless = run(&["extend", "dev", "2h"], 0);
    assert!(endless.out.contains("`dev` never expires") && endless.err.contains("--shorten"), "{}", endless.err);
    assert!(run(&["extend", "dev", "2h", "--shorten"], 0).out.contains("`dev` expires at 2"));
    assert!((7100..=7200).contains(&left().as_i64().unwrap()));
    assert!(run(&["extend", "dev", "1h"], 0).err.contains("would have lived longer: nothing was changed"));
    assert!(left().as_i64().unwrap() > 7000);
    run(&["extend", "dev", "3h"], 0).silent();
    assert!(left().as_i64().unwrap() > 10_700);
    run(&["extend", "dev", "1h", "--shorten"], 0).silent();
    assert!(left().as_i64().unwrap() <= 3600, "what was given last holds, also where it is earlier");
    for nonsense in ["0", "0h", "99999999999d", "soon"] {
        run(&["extend", "dev", nonsense], 2).silent();
        run(&["apply", "dev", "--yes", "--ttl", nonsense], 2).silent();
    }
    assert!(run(&["extend", "dev", "never"], 0).out.contains("`dev` never expires"));
    assert!(left().is_null());
    assert!(!run(&["gc"], 0).err.contains("`dev`"));
    // The file is checked for the same.
    project.sandbox.write("envs/dev/config.yaml", &format!("ttl: 99999999999d\n{FILE}"));
    let said = run(&["validate", "dev"], 2).err;
    assert!(said.contains("envs/dev/config.yaml:1:6: error: `ttl` is too long"), "{said}");
    project.sandbox.write("envs/dev/config.yaml", FILE);
    run(&["destroy", "dev", "--yes"], 0).silent();
}

#[tokio::test(flavor = "multi_thread")]
async fn ownership_a_member_of_a_pool_is_never_destroyed_under_its_old_name() {
    let (engine, project) = (StubEngine::start("A").await, Project::new(&format!("pool: {{min: 1}}\n{FILE}")));
    let run = |arguments: &[&str], code: i32| project.run(&engine, arguments, code);
    run(&["pool", "fill", "dev"], 0).silent();
    let members = || -> Vec<String> {
        let folders = std::fs::read_dir(project.sandbox.path(".infra")).unwrap().map(|entry| entry.unwrap());
        let named = folders.filter(|folder| folder.path().join("state.json").exists());
        let names = named.map(|folder| folder.file_name().into_string().unwrap());
        names.filter(|name| name.starts_with("dev-pool-")).collect()
    };
    let member = members().remove(0);
    assert!(run(&["apply", "dev", "--name", "pr-1", "--yes"], 0).err.contains("is taken over from the pool"));
    assert_eq!(members(), Vec::<String>::new());
    for command in [&["destroy", &member, "--yes"][..], &["apply", "dev", "--name", &member, "--yes"]] {
        let said = run(command, 2).err;
        assert!(said.contains("`pr-1` has taken it over") && said.contains("infra destroy pr-1"), "{said}");
    }
    assert_eq!(engine.names().len(), 2);

    // A claim that was killed before anything came of it: the member is free again.
    run(&["pool", "fill", "dev"], 0).silent();
    let member = members().remove(0);
    project.edit_state(&member, |state| state["pool"]["claimed_by"] = "pr-2".into());
    let said = run(&["gc"], 0).err;
    assert!(said.contains(&format!("`{member}` is free again")), "{said}");
    assert!(project.state(&member)["pool"].get("claimed_by").is_none());
    // One that was killed when only the member's state was left to be removed.
    let taken = State {
        environment: "pr-3".parse().unwrap(),
        labelled: Some(member.parse().unwrap()),
        pool: None,
        ..serde_json::from_value(project.state(&member)).unwrap()
    };
    project.sandbox.write(".infra/pr-3/state.json", &serde_json::to_string(&taken).unwrap());
    project.edit_state(&member, |state| state["pool"]["claimed_by"] = "pr-3".into());
    let said = run(&["pool", "drain", "dev"], 0).err;
    assert!(said.contains(&format!("`{member}` was taken over by `pr-3`")) && said.contains("0 removed"), "{said}");
    assert_eq!((members().len(), engine.names().len()), (0, 4));
    for name in ["pr-1", "pr-3"] {
        run(&["destroy", name, "--yes"], 0).silent();
    }
    assert_eq!(engine.names(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn ownership_accounts_are_told_apart_by_what_they_say_they_are() {
    let (one, two) = (StubEngine::start("A").await, StubEngine::start("B").await);
    let host = |engine: &StubEngine| format!("docker: {{host: '{}'}}\n{FILE}", engine.host);
    let project = Project::new(&host(&one));
    // The same engine under another address, and another one.
    let alias = host(&one).replace("127.0.0.1", "localhost");
    project.sandbox.write("envs/alias/config.yaml", &alias);
    project.sandbox.write("envs/prod/config.yaml", &host(&two));
    for name in ["dev", "prod"] {
        project.run(&one, &["apply", name, "--yes", "--ttl", "1s"], 0).silent();
    }
    let expired = || async {
        let all: Vec<Value> = serde_json::from_str(&project.run(&one, &["ls", "--json"], 0).out).unwrap();
        assert_eq!(all.len(), 2, "each engine is listed once: {all:?}");
        all.iter().all(|line| line["seconds_left"].as_i64().unwrap() <= 0)
    };
    crate::e2e::eventually("their time is over", 10, expired).await;
    let said = project.run(&one, &["gc", "--json"], 0).out;
    // Events come first, one a line.
    let swept: Value = serde_json::from_str(&said[said.rfind("\n{\n").unwrap()..]).unwrap();
    let accounts: Vec<&str> =
        swept["swept"].as_array().unwrap().iter().map(|one| one["account"].as_str().unwrap()).collect();
    assert_eq!(accounts, ["engine A", "engine B"]);
    assert_eq!((one.names(), two.names()), (Vec::new(), Vec::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn ownership_gc_leaves_the_state_of_another_account_alone() {
    let (old, new) = (StubEngine::start("A").await, StubEngine::start("B").await);
    let project = Project::new(FILE);
    project.run(&old, &["apply", "dev", "--yes", "--ttl", "1s"], 0).silent();
    project.rename(".infra/dev", "put-aside");
    project.run(&new, &["apply", "dev", "--yes"], 0).silent();
    let expired = || async { project.run(&old, &["gc"], 0).err.contains("2 objects removed") };
    crate::e2e::eventually("its time is over", 10, expired).await;
    assert_eq!((old.names().len(), new.names().len()), (0, 2));
    assert!(
        project.run(&new, &["plan", "dev"], 0).out.contains("resources: nothing to do"),
        "its state is there still"
    );
}

#[test]
fn ownership_a_state_that_cannot_be_read_drops_nothing_silently() {
    let sandbox = Sandbox::new().file("envs/dev/config.yaml", FILE);
    sandbox.write(".infra/dev/state.json", "not json");
    let said = sandbox.run(&["validate", "dev"], 0).err;
    assert!(said.contains("cannot be read") && said.contains("without the values of an earlier `--set`"), "{said}");
    for command in [&["plan", "dev"][..], &["output", "dev"], &["ssh", "dev", "a"]] {
        let said = sandbox.run(command, 1).err;
        assert!(said.contains("cannot be read"), "{said}");
    }
}

/// Makes one object of an environment of a project, behind the back of whoever works there.
async fn make(cloud: &Fake, environment: &str, project: &str, address: &str, terms: &Terms) {
    let resource = Resource {
        address: address.parse().unwrap(),
        spec: serde_json::Map::new(),
        needs: Vec::new(),
        origin: String::new(),
        data: Vec::new(),
    };
    let request = Request {
        environment: &environment.parse().unwrap(),
        project,
        token: &format!("{environment}-{project}-{address}"),
        resource: &resource,
        needs: std::collections::BTreeMap::new(),
        boot: None,
        terms,
        secrets: std::collections::BTreeMap::new(),
        unset: std::collections::BTreeSet::new(),
    };
    cloud.create(&request).await.unwrap();
}

#[tokio::test]
async fn ownership_removals_and_their_proof_look_at_the_project() {
    let folder = tempfile::tempdir().unwrap();
    let (environment, cloud) = (environment(folder.path(), FILE), Arc::new(Fake::default()));
    let theirs = || async { cloud.labelled(None).await.unwrap().iter().filter(|one| one.project != PROJECT).count() };
    make(&cloud, "dev", "other-k3x9q2ab", "subnet.a", &Terms::default()).await;
    command(folder.path(), &environment, &cloud, false).await.unwrap();
    // After an interrupted run twins are removed: of ours only.
    let store = Store::new(folder.path(), &environment.name);
    let mut state = store.read().await.unwrap().unwrap();
    let entry = state.resources.remove(&"subnet.b".parse().unwrap()).unwrap();
    let intent = infra::state::Intent { token: entry.token, spec: entry.spec, needs: entry.needs };
    state.pending.insert("subnet.b".parse().unwrap(), intent);
    store.write(&state).await.unwrap();
    command(folder.path(), &environment, &cloud, false).await.unwrap();
    assert_eq!((cloud.objects().len(), theirs().await), (3, 1));
    // A destroy proves that nothing of ours is left.
    command(folder.path(), &environment, &cloud, true).await.unwrap();
    assert_eq!((cloud.objects().len(), theirs().await), (1, 1));
    // So does a sweep.
    let now = infra::clock::Clock::System.now();
    let expired = Terms { expires: Some(now), ..Terms::default() };
    make(&cloud, "dev", PROJECT, "subnet.a", &expired).await;
    let listed = Listed::of(cloud.objects()).into_iter().find(|listed| listed.has_expired(now)).unwrap();
    let owner = Owner { environment: "dev".parse().unwrap(), project: listed.project.clone() };
    let changes = listed.removal(Policy::default()).unwrap();
    let (events, cancel) = (Events::ignored(), CancellationToken::new());
    let swept = sweep(cloud.as_ref(), &owner, &changes, DataPolicy::Lose, None, &events, &cancel).await;
    swept.ended.unwrap();
    assert_eq!(swept.removed.len(), 1);
    assert_eq!((cloud.objects().len(), theirs().await), (1, 1));
}

#[tokio::test]
async fn ownership_a_copy_of_labels_is_no_twin() {
    let folder = tempfile::tempdir().unwrap();
    let file = format!(
        "{FILE}instances: {{db: {{network: {{subnet: a}}, resources: {{memory: 1, secondary_disk_size: 5}}}}}}\n"
    );
    let (environment, cloud) = (environment(folder.path(), &file), Arc::new(Fake::default()));
    command(folder.path(), &environment, &cloud, false).await.unwrap();
    let known: Vec<String> = cloud.objects().into_iter().map(|object| object.id).collect();
    // The creation of `subnet.b` and of the disk was interrupted, and both were created after all; beside them a service has
    // restored a copy of `subnet.a` with its labels.
    let store = Store::new(folder.path(), &environment.name);
    let mut state = store.read().await.unwrap().unwrap();
    for address in ["subnet.b", "disk.db-data"] {
        let entry = &state.resources[&address.parse().unwrap()];
        let token = format!("dev-{PROJECT}-{address}");
        let intent = infra::state::Intent { token, spec: entry.spec.clone(), needs: entry.needs.clone() };
        state.pending.insert(address.parse().unwrap(), intent);
    }
    store.write(&State { serial: state.serial + 1, ..state }).await.unwrap();
    for (address, aside) in [("subnet.a", "subnet.x"), ("subnet.b", "subnet.y"), ("disk.db-data", "disk.z")] {
        cloud.rename(address, aside);
        make(&cloud, "dev", PROJECT, address, &Terms::default()).await;
    }
    let others = || -> Vec<String> {
        let objects = cloud.objects().into_iter().filter(|object| !known.contains(&object.id));
        objects.map(|object| object.address.to_string()).collect()
    };
    command(folder.path(), &environment, &cloud, false).await.unwrap();
    // Only what the interrupted call has created goes, and nothing that may hold data.
    assert_eq!(others(), ["disk.db-data", "subnet.a"]);
    assert_eq!(cloud.objects().len(), known.len() + 2);
    // A destroy does not remove a disk that was in no plan; the next one has it in its own.
    let error = command(folder.path(), &environment, &cloud, true).await.unwrap_err();
    assert!(error.to_string().contains("1 objects are left: `disk.db-data`"), "{error}");
    assert_eq!((others().as_slice(), cloud.objects().len()), (["disk.db-data".to_owned()].as_slice(), 1));
    command(folder.path(), &environment, &cloud, true).await.unwrap();
    assert!(cloud.objects().is_empty());
}

/// Labels may be copied, as by a service that restores a disk: a removal without a state names every object that it removes.
#[tokio::test]
async fn ownership_a_sweep_names_all_that_it_removes() {
    let cloud = Arc::new(Fake::default());
    let now = infra::clock::Clock::System.now();
    let expired = Terms { expires: Some(now), ..Terms::default() };
    let owner = Owner { environment: "dev".parse().unwrap(), project: PROJECT.to_owned() };
    let copies = async || {
        for address in ["disk.db-data", "subnet.a"] {
            make(&cloud, "dev", PROJECT, address, &expired).await;
            cloud.rename(address, &address.replace('.', ".copy-of-"));
            make(&cloud, "dev", PROJECT, address, &expired).await;
        }
    };
    copies().await;
    let removal = || Listed::of(cloud.objects()).remove(0).removal(Policy::default()).unwrap();
    let planned = removal();
    assert_eq!(planned.len(), 4, "{planned:?}");
    assert_eq!(planned.iter().filter(|change| !change.data.is_empty()).count(), 2);
    // What appears after the plan goes too, unless it may hold data: no one has seen that.
    let seen: Vec<_> = planned.into_iter().filter(|change| change.address.to_string() == "subnet.a").take(1).collect();
    let (events, cancel) = (Events::ignored(), CancellationToken::new());
    let swept = sweep(cloud.as_ref(), &owner, &seen, DataPolicy::Lose, None, &events, &cancel).await;
    let error = swept.ended.unwrap_err();
    assert!(error.to_string().contains("2 objects are left: `disk.db-data`"), "{error}");
    let swept = sweep(cloud.as_ref(), &owner, &removal(), DataPolicy::Lose, None, &events, &cancel).await;
    swept.ended.unwrap();
    assert_eq!((swept.removed.len(), cloud.objects().len()), (2, 0));
}

/// A store of states in which the claim of a member is freed by another command at the moment before its taker writes its own state.
#[derive(Debug)]
struct Meddling {
    backend: LocalBackend,
    /// Whether the other command has come to its end: the member's state is gone then, and the other one's is there.
    to_the_end: bool,
}

#[async_trait::async_trait]
impl Backend for Meddling {
    fn place(&self) -> String {
        self.backend.place()
    }

    async fn get(&self, key: &str) -> infra::error::Result<Option<(String, Tag)>> {
        self.backend.get(key).await
    }

    async fn put(&self, key: &str, text: &str, expect: &Expect) -> infra::error::Result<Option<Tag>> {
        if key == "pr-1/state.json" && text.contains("labelled") {
            let (member, tag) = self.backend.get("member/state.json").await?.unwrap();
            let freed = member.replace("\"claimed_by\": \"pr-1\"", "\"claimed_by\": \"pr-2\"");
            assert_ne!(freed, member);
            let freed = self.backend.put("member/state.json", &freed, &Expect::Tag(tag)).await?.unwrap();
            if self.to_the_end {
                let other = text.replace("\"environment\": \"pr-1\"", "\"environment\": \"pr-2\"");
                assert_ne!(other, text);
                self.backend.put("pr-2/state.json", &other, &Expect::Absent).await?.unwrap();
                assert!(self.backend.delete("member/state.json", &freed).await?);
            }
        }
        self.backend.put(key, text, expect).await
    }

    async fn delete(&self, key: &str, tag: &Tag) -> infra::error::Result<bool> {
        self.backend.delete(key, tag).await
    }

    async fn list(&self, name: &str) -> infra::error::Result<Vec<String>> {
        self.backend.list(name).await
    }

    async fn probe(&self) -> infra::error::Result<()> {
        self.backend.probe().await
    }

    fn poll(&self) -> std::time::Duration {
        self.backend.poll()
    }
}

#[tokio::test]
async fn ownership_a_claim_that_was_overtaken_has_nothing() {
    for to_the_end in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let backend = LocalBackend::new(folder.path().join(".infra"));
        let backend: Arc<dyn Backend> = Arc::new(Meddling { backend, to_the_end });
        let settings = StateSettings::default();
        let store = |name: &str| Store::over(Arc::clone(&backend), folder.path(), &name.parse().unwrap(), &settings);
        let member = Member { template: "dev".into(), digest: "d".into(), claimed_by: None };
        let state = State { pool: Some(member), ..State::of_name("member".parse().unwrap()) };
        store("member").write(&state).await.unwrap();
        let pool = Pool::new(Arc::clone(&backend), folder.path(), &settings, None);
        let target = store("pr-1");
        let (lease, _) = target.lease("a test", std::time::Duration::ZERO, &Events::ignored()).await.unwrap();
        let claimed = pool.claim(&target, &"pr-1".parse().unwrap(), "dev", "d", "engine A").await.unwrap();
        assert_eq!(claimed, None, "another environment has the member");
        target.release(lease).await;
        assert_eq!(store("pr-1").read().await.unwrap(), None);
        let (member, other) = (store("member").read().await.unwrap(), store("pr-2").read().await.unwrap());
        assert_eq!((member.is_some(), other.is_some()), (!to_the_end, to_the_end));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_shows_the_range_that_a_subnet_gets() {
    let (engine, project) = (StubEngine::start("A").await, Project::new(FILE));
    let run = |arguments: &[&str], code: i32| project.run(&engine, arguments, code);
    assert!(!run(&["plan", "dev"], 0).out.contains("is in use"));
    run(&["apply", "dev", "--yes"], 0).silent();

    // Another environment of the same file: its ranges are in use.
    let planned = run(&["plan", "dev", "--name", "other", "--json"], 0).out;
    let planned: Value = serde_json::from_str(&planned).unwrap();
    let changes = planned["changes"].as_array().unwrap();
    let chosen: Vec<&str> = changes.iter().filter_map(|change| change["chosen"]["cidr"].as_str()).collect();
    assert!(
        chosen.len() == 2 && chosen.iter().all(|range| range.starts_with("10.") && range.ends_with(".0/24")),
        "{planned}"
    );
    assert_ne!(chosen[0], "10.91.0.0/24");
    let shown = run(&["plan", "dev", "--name", "other"], 0).out;
    let says = format!("`cidr` will be {}, because 10.91.0.0/24 is in use", chosen[0]);
    assert!(shown.contains(&says), "{says}\n{shown}");
    run(&["apply", "dev", "--name", "other", "--yes"], 0).silent();
    let state = project.state("other");
    let got = |name: &str| state["resources"][name]["attributes"]["cidr"].clone();
    assert_eq!([got("subnet.a"), got("subnet.b")], [json!(chosen[0]), json!(chosen[1])]);
    let again = run(&["plan", "dev", "--name", "other", "--json"], 0).out;
    assert!(!again.contains("\"chosen\""), "{again}");
}

#[tokio::test(flavor = "multi_thread")]
async fn run_checks_a_playbook_as_apply_does() {
    let engine = StubEngine::start("A").await;
    let project = Project::new(FILE);
    project.sandbox.write(
        "envs/dev/other.yml",
        "- hosts: alll\n  tasks:\n    - debug: {msg: \"{{ nobody_defines }}\"}\n    - copy: {src: missing, dest: /x}\n",
    );
    let run = |arguments: &[&str], code: i32| project.run(&engine, arguments, code);
    run(&["apply", "dev", "--yes"], 0).silent();
    let said = run(&["run", "dev", "other.yml"], 2).err;
    for says in ["1:10: error: the pattern `alll`", "error: the variable `", "there is no file `missing`"] {
        assert!(said.contains(says), "{says}\n{said}");
    }
    let said = run(&["run", "dev", "-m", "service", "-a", "name=a state=runing"], 2).err;
    assert!(said.contains("`runing` is not one of"), "{said}");
    let said = run(&["run", "dev", "-m", "ping", "--limit", "wbe"], 2).err;
    assert!(said.contains("`--limit`: `wbe` matches no host and no group of `dev`"), "{said}");
    let said = run(&["run", "dev", "-m", "ping", "--limit", "all:!all"], 2).err;
    assert!(said.contains("`--limit all:!all` leaves no machine of `dev`"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_without_authorities_reaches_its_engine() {
    let engine = StubEngine::start("A").await;
    let project = Project::new(FILE);
    let commands: [(&[&str], i32); 3] = [(&["plan", "dev"], 0), (&["apply", "dev", "--yes"], 0), (&["doctor"], 1)];
    for (arguments, code) in commands {
        let printed = tokio::task::block_in_place(|| {
            let mut command = project.sandbox.command(arguments);
            command.env("DOCKER_HOST", &engine.host).stdin(Stdio::null());
            command.env("SSL_CERT_FILE", "/nonexistent").env("SSL_CERT_DIR", "/nonexistent");
            command.output().unwrap()
        });
        let said = String::from_utf8_lossy(&printed.stderr);
        let done = printed.status.code() == Some(0) || (code == 1 && printed.status.code() == Some(1));
        assert!(done && !said.contains("error:"), "{arguments:?}\n{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ownership_what_is_removed_by_label_is_what_a_readable_state_says() {
    let (engine, other) = (StubEngine::start("A").await, StubEngine::start("B").await);
    let project = Project::new(FILE);
    let run = |arguments: &[&str], code: i32| project.run(&engine, arguments, code);
    run(&["apply", "dev", "--yes"], 0).silent();
    let by_label = ["destroy", "dev", "--by-label", "--yes"];
    let said = project.run(&other, &by_label, 2).err;
    assert!(said.contains("`dev` is in docker (engine A)") && said.contains("run `infra destroy dev`"), "{said}");
    let id = project.id();
    project.sandbox.write(".infra-project", "other-k3x9q2ab\n");
    for command in [&by_label[..], &["state", "rm", "dev", "--yes"]] {
        let said = run(command, 2).err;
        assert!(said.contains(&format!("belongs to the project `{id}`")), "{said}");
    }
    project.sandbox.write(".infra-project", &id);
    engine.lose_everything();
    assert!(run(&by_label, 2).err.contains("none of them exists"));
    assert_eq!(project.state("dev")["resources"].as_object().unwrap().len(), 2);
    // A state that cannot be read says less; an empty list is not believed either.
    let state = project.state("dev").to_string();
    project.sandbox.write(".infra/dev/state.json", "{");
    let said = run(&by_label, 2).err;
    assert!(said.contains("cannot be read, and nothing that carries its labels exists in docker"), "{said}");
    project.sandbox.write(".infra/dev/state.json", &state);
    run(&["destroy", "dev", "--by-label", "--yes", "--forget"], 0).silent();
    assert!(!project.sandbox.path(".infra/dev/state.json").exists());
    // As if it had been killed before it put the state aside: that all is gone was proven.
    project.sandbox.write(".infra/dev/state.json", "{");
    run(&by_label, 0).silent();
    assert!(!project.sandbox.path(".infra/dev/state.json").exists());
    // What may be forgotten is forgotten, whether it can be read or not.
    for text in [state.as_str(), "{"] {
        project.sandbox.write(".infra/dev/state.json", text);
        assert!(run(&["state", "rm", "dev", "--yes"], 0).err.contains("forgotten, and kept as"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ownership_a_second_checkout_removes_nothing_of_the_first() {
    let engine = StubEngine::start("A").await;
    let (here, there) = (Project::new(FILE), Project::new(FILE));
    here.run(&engine, &["apply", "dev", "--yes"], 0).silent();
    there.sandbox.write(".infra-project", &here.id());
    there.sandbox.write("envs/dev/config.yaml", &FILE.replace(", b: {v4_cidr_blocks: [10.92.0.0/24]}", ""));
    let changes = engine.changes();
    let said = there.run(&engine, &["apply", "dev", "--yes"], 2).err;
    assert!(
        said.contains("`dev` exists already (2 objects: subnet.a, subnet.b), and there is no state of it in")
            && said.contains("--name NAME")
            && said.contains("--forget"),
        "{said}"
    );
    assert_eq!(engine.changes(), changes);
    let said = there.run(&engine, &["apply", "dev", "--yes", "--forget"], 0).err;
    assert!(said.contains("0 created, 0 changed, 1 destroyed"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn ownership_an_apply_after_the_end_needs_more_time() {
    let (engine, project) = (StubEngine::start("A").await, Project::new(FILE));
    let run = |arguments: &[&str], code: i32| project.run(&engine, arguments, code);
    let expire = || project.edit_state("dev", |state| state["terms"]["expires"] = "2026-01-02T03:04:05Z".into());
    let expires = || project.state("dev")["terms"]["expires"].as_str().map(str::to_owned);
    run(&["apply", "dev", "--yes", "--ttl", "1h"], 0).silent();
    expire();
    let changes = engine.changes();
    let said = run(&["apply", "dev", "--yes"], 2).err;
    assert!(said.contains("`dev` expired at 2026-01-02 03:04:05 UTC: `infra gc` would remove it"), "{said}");
    assert!(said.contains("infra apply dev --ttl 2h") && said.contains("infra extend dev 2h"), "{said}");
    assert_eq!(engine.changes(), changes);
    run(&["apply", "dev", "--yes", "--ttl", "2h"], 0).silent();
    assert_ne!(expires().unwrap(), "2026-01-02T03:04:05Z");
    // Nothing of it is left: it lives for as long as the file says, if that says it.
    expire();
    engine.lose_everything();
    // That it expired is no proof that its objects were removed: an empty list may come from elsewhere.
    let said = run(&["apply", "dev", "--yes"], 2).err;
    assert!(said.contains("none of them exists") && said.contains("`infra gc`"), "{said}");
    let said = run(&["apply", "dev", "--yes", "--forget"], 2).err;
    assert!(said.contains("`dev` expired at") && !said.contains("infra extend"), "{said}");
    project.sandbox.write("envs/dev/config.yaml", &format!("ttl: 3h\n{FILE}"));
    run(&["apply", "dev", "--yes", "--forget"], 0).silent();
    assert_ne!(expires().unwrap(), "2026-01-02T03:04:05Z");
}

#[tokio::test(flavor = "multi_thread")]
async fn ownership_another_bastion_is_said_by_the_plan() {
    let (engine, project) = (StubEngine::start("A").await, Project::new(FILE));
    project.run(&engine, &["apply", "dev", "--yes"], 0).silent();
    let machines = "instances:\n  gate: {network: {subnet: a, nat: true}}\n  web: {network: {subnet: a, nat: true}}\n";
    let public = json!({
        "id": "1", "token": "t", "needs": [], "attributes": {}, "created": "2026-01-01T00:00:00Z",
        "spec": { "public": true },
    });
    project.edit_state("dev", |state| {
        state["resources"]["vm.gate"] = public.clone();
        state["resources"]["vm.web"] = public;
    });
    let said = |file: &str| {
        project.sandbox.write("envs/dev/config.yaml", &format!("{FILE}{file}"));
        project.run(&engine, &["plan", "dev", "--refresh=false"], 0).out
    };
    assert!(!said(machines).contains("bastion"));
    let other = said(&machines.replacen(", nat: true", "", 1));
    assert!(
        other.contains("the bastion will be `web` instead of `gate`, which no longer has a public address"),
        "{other}"
    );
    let none = said(&machines.replace(", nat: true", ""));
    assert!(none.contains("nothing will lead to the machines: the bastion was `gate`"), "{none}");
}

#[tokio::test(flavor = "multi_thread")]
async fn ownership_what_stays_is_not_being_removed() {
    let (engine, project) = (StubEngine::start("A").await, Project::new(FILE));
    project.run(&engine, &["apply", "dev", "--yes"], 0).silent();
    project.edit_state("dev", |state| state["removing"] = json!(["subnet.a", "subnet.b"]));
    project.run(&engine, &["apply", "dev", "--yes"], 0).silent();
    assert_eq!(project.state("dev").get("removing"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn ownership_a_member_that_was_taken_over_gets_its_time_by_the_next_apply() {
    let (engine, project) = (StubEngine::start("A").await, Project::new(&format!("ttl: 1h\npool: {{min: 1}}\n{FILE}")));
    project.run(&engine, &["pool", "fill", "dev"], 0).silent();
    // There is no one who could say yes. Its time has begun all the same, unless the command was killed before it could say so.
    project.run(&engine, &["apply", "dev", "--name", "pr-1"], 2).silent();
    project.edit_state("pr-1", |state| {
        state["awaits_ttl"] = true.into();
        state["terms"].as_object_mut().unwrap().remove("expires");
    });
    project.run(&engine, &["apply", "pr-1", "--yes"], 0).silent();
    let state = project.state("pr-1");
    assert!(state["terms"]["expires"].is_string() && state.get("awaits_ttl").is_none(), "{state}");
}

#[tokio::test(flavor = "multi_thread")]
async fn ownership_a_project_whose_states_are_shared_has_one_id() {
    let (engine, project) = (StubEngine::start("A").await, Project::new(FILE));
    let bucket = Bucket::start(bucket::Store::Strict, project.sandbox.folder.path()).await;
    let state = format!(
        "state: {{s3: {{bucket: states, prefix: team, region: eu-central-1, endpoint: '{}', profile: test, \
         shared_credentials_file: {}}}}}\n",
        bucket.settings.endpoint.as_ref().unwrap(),
        bucket.settings.shared_credentials_file.as_ref().unwrap().display()
    );
    let elsewhere = Project::new(FILE);
    for one in [&project, &elsewhere] {
        one.sandbox.write("envs/dev/config.yaml", &format!("{state}{FILE}"));
        one.sandbox.write("envs/other/config.yaml", &format!("{state}{FILE}"));
    }
    // What a pipeline makes goes with its checkout.
    let arguments = ["apply", "dev", "--yes"];
    let said = tokio::task::block_in_place(|| {
        let mut command = project.sandbox.command(&arguments);
        command.env("DOCKER_HOST", &engine.host).env("CI", "true").stdin(Stdio::null());
        project.sandbox.finish(command, &arguments, 2).err
    });
    assert!(said.contains("an id that is made in a pipeline is lost with its checkout"), "{said}");
    assert!(!project.sandbox.path(".infra-project").exists() && engine.changes() == 0);
    project.run(&engine, &arguments, 0).silent();
    // Another checkout, without that file, makes no second one.
    let said = elsewhere.run(&engine, &["apply", "other", "--yes"], 2).err;
    assert!(said.contains(&format!("the state of `dev` belongs to the project `{}`", project.id())), "{said}");
    assert!(said.contains(&format!("and commit it: {}", project.id())), "{said}");
    assert!(!elsewhere.sandbox.path(".infra-project").exists());
    project.run(&engine, &["destroy", "dev", "--yes"], 0).silent();
}
