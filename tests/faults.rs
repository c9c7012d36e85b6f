//! Every failure point of an apply and a destroy, injected by a loop on the strict in-memory cloud: at each call the call
//! fails, takes effect and then fails, or the process is gone before or after it. Afterwards one plain apply converges, one
//! destroy leaves nothing, and no object was made twice.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use infra::{
    apply::Tally,
    config::Environment,
    error::Error,
    plan::{Action, Known, diff},
    provider::{
        docker::Docker,
        fake::{Call, Fake, Hook},
    },
    state::Store,
};
use tokio::sync::Notify;

use crate::{
    e2e::left,
    support::{
        commands::{command, destroy_by_label, environment},
        engine::{self, Engine},
        repository,
    },
};

const FILE: &str = "
network: {subnets: {a: {v4_cidr_blocks: [10.1.0.0/24]}, b: {v4_cidr_blocks: [10.2.0.0/24]}}}
instances:
  bastion: {network: {subnet: a, nat: true}}
  db: {network: {subnet: b}, resources: {secondary_disk_size: 5}}
instance_groups:
  app: {node_count: 2, network: {subnet: a}}
";

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    /// The call is refused, and nothing was done: 429, 503.
    FailsBefore,
    /// The call is carried out, and its answer is an error: 500.
    FailsAfter,
    /// The connection breaks before anybody knows whether the call was carried out, and it was not.
    Reset,
    /// It is accepted, and what was begun ends in an error and is undone.
    EndsInError,
    /// It is answered late, when everything else has gone on.
    Late,
    /// The process is killed before the call.
    KilledBefore,
    /// The process is killed after the call, before its answer is stored.
    KilledAfter,
    /// The process is killed when the answer of the call before is stored.
    KilledStored,
}

const FAULTS: [(Fault, &str); 8] = [
    (Fault::FailsBefore, "refused before anything is done (429, 503)"),
    (Fault::FailsAfter, "carried out, answered with an error (500)"),
    (Fault::Reset, "connection reset, not carried out"),
    (Fault::EndsInError, "accepted, then ended in an error"),
    (Fault::Late, "answered late"),
    (Fault::KilledBefore, "killed before the call"),
    (Fault::KilledAfter, "killed after the call, before its answer is stored"),
    (Fault::KilledStored, "killed when its answer is stored"),
];

/// A hook that strikes at the nth call that changes something.
fn strike(nth: usize, fault: Fault, killed: Arc<Notify>, struck: Arc<AtomicUsize>) -> Hook {
    let count = Arc::new(AtomicUsize::new(0));
    Arc::new(move |call: Call| {
        let (killed, struck, count) = (Arc::clone(&killed), Arc::clone(&struck), Arc::clone(&count));
        Box::pin(async move {
            let after = matches!(fault, Fault::FailsAfter | Fault::KilledAfter | Fault::Late);
            // What is stored is stored when the next call begins.
            let at = if fault == Fault::KilledStored { nth + 1 } else { nth };
            if call.verb == "list" || call.done != after || count.fetch_add(1, Ordering::SeqCst) != at {
                return Ok(());
            }
            struck.fetch_add(1, Ordering::SeqCst);
            match fault {
                Fault::FailsBefore => Err(Error::new("429: too many requests")),
                Fault::FailsAfter => Err(Error::new("500: internal error")),
                Fault::Reset => Err(Error::new("connection reset by peer")),
                Fault::EndsInError => Err(Error::new("the operation ended in an error").settled()),
                Fault::Late => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    Ok(())
                }
                Fault::KilledBefore | Fault::KilledAfter | Fault::KilledStored => {
                    killed.notify_one();
                    std::future::pending().await
                }
            }
        })
    })
}

/// Runs a command with a fault in it; `false` when there are fewer calls than that.
fn with_fault(
    project: &Path, environment: &Environment, cloud: &Fake, destroy: bool, nth: usize, fault: Fault,
) -> bool {
    let (killed, struck) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
    let faulty = Arc::new(cloud.with_hook(strike(nth, fault, Arc::clone(&killed), Arc::clone(&struck))));
    // A runtime of its own ends with all that it has begun, as a process does.
    std::thread::scope(|scope| {
        let process = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                tokio::select! {
                    result = command(project, environment, &faulty, destroy) => {
                        let hit = struck.load(Ordering::SeqCst) > 0;
                        assert_eq!(result.is_err(), hit && fault != Fault::Late, "{fault:?} at {nth}: {result:?}");
                        hit
                    }
                    // The future is dropped where it stands: nothing after the call happens, as after `kill -9`.
                    () = killed.notified() => true,
                }
            })
        });
        process.join().unwrap()
    })
}

/// A folder that no disk has to be waited for, where there is one: thousands of states are written into it, each for good.
fn in_memory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

async fn assert_matches(project: &Path, environment: &Environment, cloud: &Fake, what: &str) {
    let objects = cloud.objects();
    let mut addresses: Vec<_> = objects.iter().map(|object| object.address.clone()).collect();
    addresses.sort();
    let mut wanted: Vec<_> = environment.resources.iter().map(|resource| resource.address.clone()).collect();
    wanted.sort();
    assert_eq!(addresses, wanted, "{what}");
    let state = Store::new(project, &environment.name).read().await.unwrap().unwrap();
    for object in objects {
        assert_eq!(
            state.resources[&object.address].id, object.id,
            "{what}: the state knows another `{}`",
            object.address
        );
    }
}

/// What was tried.
#[derive(Default)]
struct Tried {
    steps: usize,
    faults: BTreeMap<&'static str, usize>,
}

/// Tries every fault at every call of a command, then converges, destroys, and counts what is left and what is double.
async fn every_fault(prepare: Option<&str>, file: &str, destroy: bool, tried: &mut Tried) {
    for (fault, name) in FAULTS {
        for nth in 0.. {
            let folder = in_memory();
            let project = folder.path();
            let cloud = Arc::new(Fake::default());
            if let Some(first) = prepare {
                command(project, &environment(project, first), &cloud, false).await.unwrap();
            }
            let environment = environment(project, file);
            if !with_fault(project, &environment, &cloud, destroy, nth, fault) {
                if fault == Fault::FailsBefore {
                    tried.steps += nth;
                }
                break;
            }
            *tried.faults.entry(name).or_default() += 1;
            let what = format!("{fault:?} at call {nth}");
            if !destroy {
                command(project, &environment, &cloud, false).await.unwrap_or_else(|error| panic!("{what}: {error}"));
                assert_matches(project, &environment, &cloud, &what).await;
                let again = command(project, &environment, &cloud, false).await.unwrap();
                assert_eq!(again, Tally::default(), "{what}: the second apply changed something");
            }
            command(project, &environment, &cloud, true).await.unwrap_or_else(|error| panic!("{what}: {error}"));
            assert!(cloud.objects().is_empty(), "{what}: orphans {:?}", cloud.objects());
            assert!(Store::new(project, &environment.name).read().await.unwrap().is_none());
        }
    }
}

/// The plans that faults are tried in: what is made, what is changed, what is destroyed.
fn corpus() -> Vec<(&'static str, String)> {
    let shipped = include_str!("../envs/dev/config.yaml").to_owned();
    let original = include_str!("golden/original/config.yaml");
    // The files that it names are not there, and no cloud is asked.
    let elsewhere = ["folder_id:", "metadata:", "ssh-keys:", "docker-compose:", "username:", "file:"];
    let lines: Vec<&str> = original
        .lines()
        .filter(|line| line.starts_with("inventory_file") || !elsewhere.iter().any(|word| line.contains(word)))
        .collect();
    let original = lines.join("\n");
    vec![("a small one", FILE.to_owned()), ("envs/dev", shipped), ("the original environment", original)]
}

#[tokio::test]
async fn every_step_of_every_plan_survives_every_fault() {
    let mut table = String::from(
        "# Faults that are tried\n\n`tests/faults.rs` writes this table. In each line every fault is tried at every call of the plan, \
         on a strict cloud in memory; afterwards one plain `apply` converges, a second one changes nothing, one `destroy` leaves \
         nothing, and no object was made twice.\n\n| plan | calls | faults tried | orphans | doubles |\n|---|---|---|---|---|\n",
    );
    let mut all: BTreeMap<&str, usize> = BTreeMap::new();
    for (name, file) in corpus() {
        let changed = file
            .replace("node_count: 2", "node_count: 3")
            .replace("10.2.0.0", "10.3.0.0")
            .replace("secondary_disk_size: 5", "secondary_disk_size: 6");
        let runs = [
            ("apply", None, &file, false),
            ("change", Some(&file), &changed, false),
            ("destroy", Some(&file), &file, true),
        ];
        for (what, prepare, file, destroy) in runs {
            let mut tried = Tried::default();
            Box::pin(every_fault(prepare.map(String::as_str), file, destroy, &mut tried)).await;
            let faults: usize = tried.faults.values().sum();
            assert!(tried.steps > 0 && faults >= tried.steps * (FAULTS.len() - 1), "{name}: {what}");
            table += &format!("| {what} of {name} | {} | {faults} | 0 | 0 |\n", tried.steps);
            for (fault, count) in tried.faults {
                *all.entry(fault).or_default() += count;
            }
        }
    }
    table += "\n| fault | times tried |\n|---|---|\n";
    for (_, name) in FAULTS {
        table += &format!("| {name} | {} |\n", all[name]);
    }
    table += "\nA sample with real containers: the calls of an apply and of a destroy to the engine are, in turn, refused with 429, 500 or \
              503, cut off before or after they are carried out, carried out but answered with an error, or answered late \
              (`e2e_an_engine_that_fails_anywhere_is_gone_on_from`); and the program is killed after each write of its state \
              (`e2e_an_apply_that_is_killed_anywhere_is_gone_on_from`).\n";
    table += "\n# Classes of mistakes, and what holds them\n\n| what must not happen | held in | tried by |\n|---|---|---|\n";
    for (mistake, places, tests) in CLASSES {
        let list = |names: &[&str]| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        table += &format!("| {mistake} | {} | {} |\n", list(places), list(tests));
    }
    table += "\nA machine that answers keepalives and never ends a step holds a play with `strategy: linear` until `timeout` of the task or an \
              interrupt ends it: as in Ansible, a task has no limit of its own. Each other wait is limited \
              ([0018](../adr/0018-what-a-machine-may-cost.md)).\n";
    println!("{table}");
    crate::docs::page("faults.md", &table);
}

#[tokio::test]
async fn what_is_lost_behind_our_back_is_made_anew_and_reads_are_few() {
    let folder = tempfile::tempdir().unwrap();
    let environment = environment(folder.path(), FILE);
    let cloud = Arc::new(Fake::default());
    command(folder.path(), &environment, &cloud, false).await.unwrap();
    cloud.lose("vm.app-2");
    let before = cloud.calls().len();
    let tally = command(folder.path(), &environment, &cloud, false).await.unwrap();
    assert_eq!(tally, Tally { created: 1, ..Tally::default() });
    let calls: Vec<_> = cloud.calls()[before..].iter().map(|call| format!("{} {}", call.verb, call.subject)).collect();
    assert_eq!(calls, ["list all", "create vm.app-2"]);
    assert_matches(folder.path(), &environment, &cloud, "after a loss").await;
}

#[tokio::test]
async fn a_lost_state_leaves_nothing_that_destroy_does_not_find() {
    let folder = tempfile::tempdir().unwrap();
    let environment = environment(folder.path(), FILE);
    let cloud = Arc::new(Fake::default());
    command(folder.path(), &environment, &cloud, false).await.unwrap();
    std::fs::remove_dir_all(folder.path().join(".infra")).unwrap();
    // Another checkout may work with what no state here knows: only who says that it is lost removes it.
    let error = command(folder.path(), &environment, &cloud, true).await.unwrap_err();
    assert!(error.hints().iter().any(|hint| hint.contains("--by-label")), "{error}");
    destroy_by_label(folder.path(), &environment, &cloud).await.unwrap();
    assert!(cloud.objects().is_empty());
}

#[tokio::test]
async fn a_plan_says_everything() {
    let folder = tempfile::tempdir().unwrap();
    let environment = environment(folder.path(), FILE);
    let known =
        Known { state: None, pending: &BTreeMap::new(), observed: &[], policy: infra::resource::Policy::default() };
    let changes = diff(&environment.resources, known).unwrap();
    assert!(changes.iter().all(|change| change.action == Action::Create && change.after.is_some()));
    let text = serde_json::to_string(&changes).unwrap();
    assert_eq!(serde_json::from_str::<Vec<infra::plan::Change>>(&text).unwrap(), changes);
}

#[tokio::test]
async fn a_destroy_that_cannot_end_names_what_is_left_and_what_keeps_it() {
    let folder = tempfile::tempdir().unwrap();
    let environment = environment(folder.path(), FILE);
    let cloud = Arc::new(Fake::default());
    command(folder.path(), &environment, &cloud, false).await.unwrap();
    let stuck: Hook = Arc::new(|call: Call| {
        Box::pin(async move {
            match (call.verb, call.subject.as_str()) {
                ("delete", "vm.db") => Err(Error::new("a snapshot of it is being made")),
                _ => Ok(()),
            }
        })
    });
    let error =
        command(folder.path(), &environment, &Arc::new(cloud.with_hook(stuck)), true).await.unwrap_err().to_string();
    let expected = "3 objects are left:\n  `disk.db-data`: `vm.db` is left and needs it\n  `subnet.b`: `vm.db` is left and needs \
                    it\n  `vm.db`: a snapshot of it is being made";
    assert_eq!(error, expected);
    let lists = cloud.calls().iter().filter(|call| call.verb == "list").count();
    assert_eq!(lists, 2, "one list an apply, one the destroy: nothing is polled");
    command(folder.path(), &environment, &cloud, true).await.unwrap();
    assert!(cloud.objects().is_empty());
}

/// A sample with real containers: each call of an apply and of a destroy to the engine goes wrong in two of the ways in which
/// calls do. Afterwards one plain apply converges, one destroy leaves nothing, and no object was made twice.
#[tokio::test(flavor = "multi_thread")]
async fn e2e_an_engine_that_fails_anywhere_is_gone_on_from() {
    use engine::Fault::{FailAfter, Late, LoseAnswer, Refuse, Reset};
    let faults = [Refuse(500), FailAfter, Reset, LoseAnswer, Refuse(503), Late, Refuse(429)];
    let engine = Engine::start().await;
    let name = format!("e2e-{}-faults", std::process::id());
    let file = format!(
        "docker: {{host: '{}'}}\ninstances:\n  a: {{network: {{nat: true}}, resources: {{memory: 128M}}}}\n  \
         b: {{resources: {{memory: 128M, secondary_disk_size: 1}}}}\n",
        engine.host
    );
    let folder = tempfile::tempdir().unwrap();
    let environment = Environment { name: name.parse().unwrap(), ..environment(folder.path(), &file) };
    let cloud = Arc::new(Docker::open(environment.section()).unwrap());
    let run = async |destroy: bool| command(folder.path(), &environment, &cloud, destroy).await;
    let mut tried = 0;
    for destroys in [false, true] {
        for round in 0..2 {
            for nth in 0.. {
                let fault = faults[(nth + round * 3) % faults.len()];
                let what = format!("{fault:?} at call {nth} of {}", if destroys { "a destroy" } else { "an apply" });
                if destroys {
                    engine.strike(None);
                    run(false).await.unwrap();
                }
                engine.strike(Some((nth, fault)));
                let result = run(destroys).await;
                if !engine.has_struck() {
                    assert!(result.is_ok(), "{what}: {result:?}");
                    engine.strike(None);
                    run(true).await.unwrap();
                    break;
                }
                tried += 1;
                engine.strike(None);
                run(false).await.unwrap_or_else(|error| panic!("{what}: {error}"));
                assert_eq!(left(&name).await.len(), 4, "{what}");
                assert_eq!(run(false).await.unwrap(), Tally::default(), "{what}");
                run(true).await.unwrap_or_else(|error| panic!("{what}: {error}"));
                assert_eq!(left(&name).await, Vec::<String>::new(), "{what}");
            }
        }
    }
    println!("{tried} faults of the engine were tried");
    assert!(tried >= 24, "{tried}");
}

/// What must not happen, where in `src/` and elsewhere that is held, and the tests that try to break it.
const CLASSES: &[(&str, &[&str], &[&str])] = &[
    (
        "another project's objects are taken for ours",
        &["src/project.rs", "src/plan/scope.rs"],
        &[
            "ownership_two_projects_at_one_path_do_not_see_each_other",
            "ownership_removals_and_their_proof_look_at_the_project",
        ],
    ),
    (
        "a command works in another account than the state's",
        &["src/lifecycle/ownership.rs"],
        &["ownership_another_account_is_refused_with_both_named"],
    ),
    (
        "a state is forgotten because a list has nothing that it knows",
        &["src/plan/scope.rs"],
        &["ownership_an_empty_list_forgets_nothing", "a_list_of_nothing_known_is_not_believed"],
    ),
    (
        "two commands write one state",
        &["src/state/lease.rs", "src/state/store.rs"],
        &["state_in_files_conforms", "state_in_a_bucket_conforms", "whoever_lost_the_lease_removes_nothing"],
    ),
    (
        "data is lost by a plan that nobody read",
        &["src/plan/data.rs"],
        &["a_plan_that_loses_data_is_refused_before_anything_is_done", "a_plan_names_the_data_that_it_loses"],
    ),
    (
        "a database or its dumps are lost with its machine",
        &["playbooks/roles/postgresql", "templates/postgresql"],
        &[
            "e2e_a_database_outlives_its_machine_and_is_restored_from_a_dump",
            "old_dumps_are_removed_only_after_a_good_one",
        ],
    ),
    (
        "a key is thrown away that a state still needs",
        &["src/state/key.rs", "src/cli/state.rs"],
        &["a_key_is_not_replaced_when_a_state_may_be_overlooked"],
    ),
    (
        "what a machine answers is evaluated",
        &["src/template/authored.rs"],
        &["no_answer_of_any_module_is_evaluated", "few_places_say_that_the_author_wrote_something"],
    ),
    (
        "a machine costs the program its memory, its time or its terminal",
        &["src/remote", "src/playbook/web.rs", "src/ui"],
        &[
            "every_module_and_action_against_every_answer",
            "a_gigabyte_costs_little_memory",
            "floods_are_cut_off",
            "a_step_that_never_ends_is_ended_by_its_timeout",
        ],
    ),
    (
        "a user of a machine leads a task of root elsewhere",
        &["src/modules/content.rs", "src/modules/writer.sh"],
        &[
            "a_race_in_a_folder_of_another_user_is_not_won",
            "links_of_another_user_lead_nowhere",
            "archives_follow_no_links_of_another_user",
        ],
    ),
    (
        "an action follows a link of a machine's user",
        &["src/modules/content.rs", "src/modules/receive.rs"],
        &["actions_follow_no_links_of_another_user", "races_against_actions_are_not_won"],
    ),
    (
        "a machine forges the packages that others install",
        &["src/provider/docker/package-cache.sh"],
        &[
            "a_machine_installs_nothing_that_another_one_forged",
            "what_another_machine_puts_into_the_shared_cache_is_neither_followed_nor_waited_for",
        ],
    ),
    (
        "root runs a file that an application's user can replace",
        &["playbooks/roles", "templates"],
        &["root_runs_nothing_that_an_application_can_replace"],
    ),
    (
        "a machine keeps the host key that its user-data shows",
        &["src/configure/host_keys.rs", "src/configure/connections.rs"],
        &["nobody_is_locked_out_wherever_a_command_is_killed", "few_files_make_questions"],
    ),
    (
        "a play begins before what it needs has ended",
        &["src/playbook/order.rs", "src/playbook/host/fate.rs"],
        &["a_task_waits_for_the_play_that_it_needs", "a_play_that_needs_a_failed_one_stops"],
    ),
    (
        "a protected environment is removed",
        &["src/lifecycle/destroy.rs", "src/plan/sweep.rs"],
        &["ownership_protection_is_that_of_file_state_and_labels", "only_what_has_expired_as_a_whole_is_swept"],
    ),
    (
        "`extend` shortens a life, or accepts what is no time",
        &["src/lifecycle/lifetime.rs"],
        &["nothing_is_shortened_by_accident", "what_is_no_time_is_refused"],
    ),
    (
        "a managed database is deleted without a last copy",
        &["src/apply/mod.rs", "src/provider/yandex/postgres.rs", "src/provider/aws/postgres.rs"],
        &["yandex_a_managed_database", "yandex_a_database_that_cannot_be_backed_up_is_kept_without_the_flag"],
    ),
    ("a value becomes a command of a shell", &["src/modules/script.rs"], &["values_are_words"]),
    (
        "a probe or `--check` changes something",
        &["src/modules/probe.rs", "src/remote/mod.rs", "src/playbook/questions.rs", "src/playbook/web.rs"],
        &["probes_can_only_read", "few_files_make_questions", "check_mode_sends_nothing"],
    ),
    (
        "a keyword or an argument is accepted and ignored",
        &["src/playbook/load", "src/modules/call.rs", "src/playbook/actions"],
        &[
            "every_keyword_that_is_done_has_a_case_in_each_place",
            "every_argument_of_a_module_has_a_case_in_which_it_counts",
            "every_argument_of_an_action_is_read_and_has_a_case",
        ],
    ),
    (
        "a notified handler never runs",
        &["src/playbook"],
        &["a_killed_run_never_loses_a_handler", "a_rotated_password_reaches_the_service"],
    ),
    (
        "a secret is printed or kept in clear",
        &["src/secret", "src/state/sealed.rs"],
        &["e2e_canaries_are_seen_nowhere"],
    ),
    (
        "what a machine or a file says is a command of a pipeline",
        &["src/ui/annotation.rs"],
        &["nothing_that_others_say_is_a_command_of_a_workflow"],
    ),
    (
        "a mistake is found only when its task runs",
        &["src/playbook/literal.rs", "src/playbook/connection.rs"],
        &[
            "validate_finds_arguments_of_actions_that_cannot_work",
            "validate_finds_connection_variables_that_cannot_work",
            "one_mistake_does_not_hide_the_others",
        ],
    ),
    (
        "a command waits and does not say for what and since when",
        &["src/event/wait.rs", "src/cloud/retry.rs"],
        &[
            "steps_and_whole_commands_say_what_they_wait_for_and_since_when",
            "what_the_pauses_are_for_is_reported_since_the_first_of_them",
        ],
    ),
    (
        "a stop is not heard",
        &["src/lifecycle/stop.rs", "src/apply/sweep.rs"],
        &[
            "stopping_ends_a_command_whose_call_does_not_end",
            "stopping_ends_removals_by_label_and_the_next_one_goes_on",
        ],
    ),
    (
        "someone else has the name of what is created",
        &["src/provider/yandex/names.rs"],
        &["yandex_names_that_are_taken_are_found_in_one_run_before_the_first_write"],
    ),
    (
        "input makes the program panic, hang or overflow",
        &["src/yaml", "src/template", "src/state", "src/remote/frame.rs"],
        &[
            "deep_yaml_is_answered",
            "deep_templates_are_answered",
            "state_documents_are_answered",
            "framing_is_answered",
        ],
    ),
];

/// The table names what exists.
#[test]
fn classes_of_mistakes_are_held_where_the_table_says() {
    let root = repository();
    let read = |folder: &str| -> String {
        let files = infra::files::walk(&root.join(folder)).unwrap();
        let sources = files.iter().filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
        sources.map(|path| std::fs::read_to_string(root.join(folder).join(path)).unwrap()).collect()
    };
    let sources = read("tests") + &read("src");
    for (mistake, places, tests) in CLASSES {
        for place in *places {
            assert!(root.join(place).exists(), "{mistake}: there is no {place}");
        }
        for test in *tests {
            assert!(sources.contains(&format!("fn {test}(")), "{mistake}: there is no test {test}");
        }
    }
}

/// What is not to be changed and never comes to rest is waited for, but not for ever, and all else is done.
#[tokio::test(start_paused = true)]
async fn faults_what_is_unchanged_and_never_at_rest_fails_nothing() {
    let (folder, cloud) = (tempfile::tempdir().unwrap(), Arc::new(Fake::default()));
    let text = FILE.replace("secondary_disk_size: 5", "secondary_disk_size: 5, memory: 1");
    let apply = async |text: &str| command(folder.path(), &environment(folder.path(), text), &cloud, false).await;
    apply(&text).await.unwrap();
    cloud.unsettle("subnet.a");
    cloud.unsettle("vm.bastion");
    let tally = apply(&text.replace("memory: 1", "memory: 2")).await.unwrap();
    assert_eq!(tally, Tally { created: 0, changed: 1, destroyed: 0 });
    // What is to be changed is waited for by its own driver.
    let text = text.replace("nat: true}", "nat: true}, resources: {memory: 4}");
    assert!(tokio::time::timeout(Duration::from_hours(2), apply(&text)).await.is_err());
}
